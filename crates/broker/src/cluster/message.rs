//! What brokers tell each other, and how it is written. Pure.
//!
//! One byte says the kind, numbers are big-endian, and the last member takes the rest. Redis carries it: who may write
//! there may say anything, so that nothing here may panic, but it is believed.

use linkup_proto::PeerId;

use super::call::Name;

/// One message, in the inbox of the broker that it is for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    /// A signal for the socket that has an id by that very lease.
    Signal { from: Name, request: u64, generation: u64, to: PeerId, frame: String },
    /// Whether the signal of a request was put into the socket's queue.
    Ack { request: u64, delivered: bool },
    /// The owner has claimed the id elsewhere.
    Displaced { generation: u64, id: PeerId },
    /// To oneself: is this inbox still heard?
    Probe { nonce: u64 },
}

const SIGNAL: u8 = 1;
const ACK: u8 = 2;
const DISPLACED: u8 = 3;
const PROBE: u8 = 4;

impl Message {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Signal { from, request, generation, to, frame } => {
                // An id has at most 256 bytes.
                let length = u16::try_from(to.as_str().len()).unwrap_or(u16::MAX).to_be_bytes();
                let (request, generation) = (request.to_be_bytes(), generation.to_be_bytes());
                [&[SIGNAL][..], &from.0, &request, &generation, &length, to.as_str().as_bytes(), frame.as_bytes()]
                    .concat()
            }
            Self::Ack { request, delivered } => [&[ACK, u8::from(*delivered)][..], &request.to_be_bytes()].concat(),
            Self::Displaced { generation, id } => {
                [&[DISPLACED][..], &generation.to_be_bytes(), id.as_str().as_bytes()].concat()
            }
            Self::Probe { nonce } => [&[PROBE][..], &nonce.to_be_bytes()].concat(),
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, mut rest) = bytes.split_first()?;
        Some(match *kind {
            SIGNAL => {
                let from = Name(take(&mut rest)?);
                let (request, generation) = (number(&mut rest)?, number(&mut rest)?);
                let length = usize::from(u16::from_be_bytes(take(&mut rest)?));
                let (to, frame) = rest.split_at_checked(length)?;
                let frame = std::str::from_utf8(frame).ok()?.to_owned();
                Self::Signal { from, request, generation, to: id(to)?, frame }
            }
            ACK => {
                let [delivered] = take(&mut rest)?;
                Self::Ack { request: number(&mut rest)?, delivered: delivered == 1 }
            }
            DISPLACED => Self::Displaced { generation: number(&mut rest)?, id: id(rest)? },
            PROBE => Self::Probe { nonce: number(&mut rest)? },
            _ => return None,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*first)
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    take(rest).map(u64::from_be_bytes)
}

fn id(bytes: &[u8]) -> Option<PeerId> {
    PeerId::new(std::str::from_utf8(bytes).ok()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn comes_back(request: u64, generation: u64, name: [u8; 16], to in ".{1,20}", frame in ".{0,99}") {
            let id = PeerId::new(&to).unwrap();
            for message in [
                Message::Signal { from: Name(name), request, generation, to: id.clone(), frame },
                Message::Ack { request, delivered: request % 2 == 0 },
                Message::Displaced { generation, id },
                Message::Probe { nonce: request },
            ] {
                prop_assert_eq!(Message::decode(&message.encode()), Some(message));
            }
        }

        #[test]
        fn survives_anything(kind in 0_u8..6, bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Message::decode(&[&[kind], &bytes[..]].concat());
        }
    }
}
