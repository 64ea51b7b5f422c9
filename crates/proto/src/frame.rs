//! The frames of the data channel between two linkup peers, as docs/protocol.md specifies them: binary frames, beside
//! the text frames that are the messages.
//!
//! They are used only where both sides named [`crate::signal::VERSION`] in their signals. What a stream's frames say is
//! read by whoever keeps the streams.

use crate::{Error, ErrorCode};

/// Bytes after a frame's header: what is larger goes in pieces, so that streams and messages share the channel fairly.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// Bytes of the longest header, BEGIN's.
pub const MAX_HEADER: usize = 6;

/// A receiver confirms at least after so many data frames, and after this part of its window.
pub const ACK_EVERY: u64 = 2048;
/// See [`ACK_EVERY`].
pub const ACKS_PER_WINDOW: u64 = 8;

/// Data frames that may be under way without an ACK. SCTP numbers the messages of a stream with 16 bits (RFC 9260,
/// section 3.3.1), and a receiver that has 32,768 of them unread can no longer tell the old from the new.
pub const MAX_UNCONFIRMED: u64 = 24 * 1024;

/// What a message frame costs besides its payload: empty messages need room, too.
pub const FRAME_COST: u64 = 64;

/// Our window: the cost of what may be on its way to an application that does not read. It fills a path of 100 Mbit/s
/// with a round trip of 600 ms.
pub const WINDOW: u64 = 8 << 20;

/// The least window: a frame with all that may be behind it.
pub const MIN_WINDOW: u64 = 256 * 1024;

/// Bytes of a message that travels in a bundle with others, and of a bundle: enough to make the cost of a frame small
/// beside that of its messages, and not so many that one lost packet holds up hundreds.
pub const BUNDLED_MESSAGE: usize = 2 * 1024;
/// See [`BUNDLED_MESSAGE`].
pub const BUNDLE: usize = 16 * 1024;

const ACK: u8 = 1;
const FIN: u8 = 2;
const FIN_ACK: u8 = 3;
const BINARY: u8 = 4;
const BEGIN: u8 = 5;
const MORE: u8 = 6;
const PING: u8 = 7;
const BUNDLE_KIND: u8 = 13;
/// Of the number before a message in a bundle: it is bytes, not text.
const IS_BINARY: u16 = 1 << 15;

/// The kinds of frames that belong to streams: OPEN, DATA, END, RESET, CREDIT.
pub const STREAM_KINDS: std::ops::RangeInclusive<u8> = 8..=12;
/// The first of a stream, and the one that ends it at once.
pub const STREAM_OPEN: u8 = 8;
/// See [`STREAM_OPEN`].
pub const STREAM_RESET: u8 = 11;

/// A binary frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// What has arrived.
    Ack {
        /// Data frames received.
        received: u64,
        /// Cost of the message frames that the application has got.
        handed: u64,
    },
    /// No data frame follows.
    Fin,
    /// Everything before the FIN was handed over.
    FinAck,
    /// A message.
    Binary(&'a [u8]),
    /// The first piece of a message.
    Begin {
        /// Whether it is bytes, not text.
        binary: bool,
        /// Bytes of the whole message.
        total: u32,
        /// Its first bytes: at least one, and not all.
        bytes: &'a [u8],
    },
    /// The next bytes of a message: at least one.
    More(&'a [u8]),
    /// Asks for an ACK at once.
    Ping,
    /// Several messages: see [`unbundle`].
    Bundle(&'a [u8]),
    /// A frame of a stream.
    Stream {
        /// One of [`STREAM_KINDS`].
        kind: u8,
        /// Which stream.
        stream: u32,
        /// What the kind has to say.
        body: &'a [u8],
    },
}

impl<'a> Frame<'a> {
    /// Reads a frame.
    ///
    /// # Errors
    /// [`ErrorCode::Protocol`] where it is of no known kind or of the wrong length.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        let (kind, rest) = bytes.split_first().ok_or_else(|| wrong("an empty frame"))?;
        match *kind {
            ACK => match (u64_at(rest, 0), u64_at(rest, 8), rest.len()) {
                (Some(received), Some(handed), 16) => Ok(Self::Ack { received, handed }),
                _ => Err(wrong("an ACK that has not 17 bytes")),
            },
            FIN if rest.is_empty() => Ok(Self::Fin),
            FIN_ACK if rest.is_empty() => Ok(Self::FinAck),
            PING if rest.is_empty() => Ok(Self::Ping),
            BINARY if rest.len() <= MAX_PAYLOAD => Ok(Self::Binary(rest)),
            BEGIN => match rest {
                [kind @ 0..=1, a, b, c, d, bytes @ ..] => {
                    let total = u32::from_be_bytes([*a, *b, *c, *d]);
                    if bytes.is_empty() || bytes.len() > MAX_PAYLOAD || bytes.len() as u64 >= u64::from(total) {
                        return Err(wrong("a first piece that is none"));
                    }
                    Ok(Self::Begin { binary: *kind == 1, total, bytes })
                }
                _ => Err(wrong("a first piece without its length")),
            },
            MORE if !rest.is_empty() && rest.len() <= MAX_PAYLOAD => Ok(Self::More(rest)),
            BUNDLE_KIND if !rest.is_empty() && rest.len() <= MAX_PAYLOAD => Ok(Self::Bundle(rest)),
            kind if STREAM_KINDS.contains(&kind) => match rest {
                [a, b, c, d, body @ ..] if body.len() <= MAX_PAYLOAD && !(kind == 9 && body.is_empty()) => {
                    Ok(Self::Stream { kind, stream: u32::from_be_bytes([*a, *b, *c, *d]), body })
                }
                _ => Err(wrong("a frame of a stream of the wrong length")),
            },
            _ => Err(wrong("a binary frame of no known kind or of the wrong length")),
        }
    }

    /// The frame as it travels.
    pub fn encode(self) -> Vec<u8> {
        match self {
            Self::Ack { received, handed } => [&[ACK], &received.to_be_bytes()[..], &handed.to_be_bytes()].concat(),
            Self::Fin => vec![FIN],
            Self::FinAck => vec![FIN_ACK],
            Self::Ping => vec![PING],
            Self::Binary(message) => [&[BINARY], message].concat(),
            Self::Begin { binary, total, bytes } => {
                [&[BEGIN, u8::from(binary)], &total.to_be_bytes()[..], bytes].concat()
            }
            Self::Bundle(messages) => [&[BUNDLE_KIND], messages].concat(),
            Self::More(bytes) => [&[MORE], bytes].concat(),
            Self::Stream { kind, stream, body } => [&[kind], &stream.to_be_bytes()[..], body].concat(),
        }
    }
}

/// Adds a message to a bundle; `bundle` is the frame as it travels, empty at the beginning.
pub fn bundle(frame: &mut Vec<u8>, binary: bool, message: &[u8]) {
    if frame.is_empty() {
        frame.push(BUNDLE_KIND);
    }
    // No message in a bundle comes near 32 KiB.
    let length = u16::try_from(message.len()).unwrap_or(IS_BINARY) & !IS_BINARY;
    frame.extend_from_slice(&(length | if binary { IS_BINARY } else { 0 }).to_be_bytes());
    frame.extend_from_slice(message);
}

/// The messages of a bundle: whether they are bytes, and what they are.
///
/// # Errors
/// [`ErrorCode::Protocol`] where one is cut off; nothing follows then.
pub fn unbundle(mut rest: &[u8]) -> impl Iterator<Item = Result<(bool, &[u8]), Error>> {
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((head, tail)) = rest.split_first_chunk::<2>() else {
            rest = &[];
            return Some(Err(wrong("a message without its length")));
        };
        let head = u16::from_be_bytes(*head);
        let Some((message, next)) = tail.split_at_checked(usize::from(head & !IS_BINARY)) else {
            rest = &[];
            return Some(Err(wrong("a message that is cut off")));
        };
        rest = next;
        Some(Ok((head & IS_BINARY != 0, message)))
    })
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes)
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorCode::Protocol, format!("the remote sent {what}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::Value;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn agrees_with_the_vectors() {
        let vectors: Vec<Value> = serde_json::from_str(include_str!("../../../vectors/frames.json")).unwrap();
        assert!(vectors.len() > 30);
        for vector in vectors {
            let hex = vector["hex"].as_str().unwrap();
            let (bytes, body) = (bytes(hex), bytes(vector["body"].as_str().unwrap_or_default()));
            let number = |name: &str| vector[name].as_u64().unwrap();
            let stream = |kind: u8| {
                let stream = u32::try_from(number("stream")).unwrap();
                Some(Frame::Stream { kind, stream, body: &body })
            };
            let expected = match vector["frame"].as_str() {
                None => None,
                Some("ack") => Some(Frame::Ack { received: number("received"), handed: number("handed") }),
                Some("fin") => Some(Frame::Fin),
                Some("fin-ack") => Some(Frame::FinAck),
                Some("binary") => Some(Frame::Binary(&body)),
                Some("begin") => Some(Frame::Begin {
                    binary: vector["binary"].as_bool().unwrap(),
                    total: u32::try_from(number("total")).unwrap(),
                    bytes: &body,
                }),
                Some("more") => Some(Frame::More(&body)),
                Some("bundle") => Some(Frame::Bundle(&body)),
                Some("ping") => Some(Frame::Ping),
                Some("open") => stream(8),
                Some("data") => stream(9),
                Some("end") => stream(10),
                Some("reset") => stream(11),
                Some("credit") => stream(12),
                Some(other) => unreachable!("{other}"),
            };
            assert_eq!(Frame::decode(&bytes).ok(), expected, "{hex}");
            if let Some(frame) = expected {
                assert_eq!(frame.encode(), bytes);
            }
        }
    }

    #[test]
    fn takes_no_more_than_a_frame_may_carry() {
        let longest = vec![7; MAX_PAYLOAD];
        let longer = vec![7; MAX_PAYLOAD + 1];
        for (right, wrong) in [
            (Frame::Binary(&longest), Frame::Binary(&longer)),
            (Frame::More(&longest), Frame::More(&longer)),
            (
                Frame::Begin { binary: true, total: u32::MAX, bytes: &longest },
                Frame::Begin { binary: true, total: u32::MAX, bytes: &longer },
            ),
            (Frame::Stream { kind: 9, stream: 1, body: &longest }, Frame::Stream { kind: 9, stream: 1, body: &longer }),
        ] {
            assert_eq!(Frame::decode(&right.encode()).unwrap(), right);
            assert!(Frame::decode(&wrong.encode()).is_err());
        }
    }

    proptest::proptest! {
        #[test]
        fn decodes_only_what_it_encodes(bytes: Vec<u8>) {
            if let Ok(frame) = Frame::decode(&bytes) {
                assert_eq!(frame.encode(), bytes);
            }
        }
    }
}
