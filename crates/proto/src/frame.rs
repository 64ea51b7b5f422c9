//! The binary frames between two linkup peers, beside the text frames that are the messages.
//!
//! | first byte | frame | rest |
//! |---|---|---|
//! | 1 | ACK | u64, big endian: how many messages the receiver has handed to its application since the start |
//! | 2 | FIN | nothing: the sender has sent its last message |
//! | 3 | FIN-ACK | nothing: the receiver of a FIN has handed over everything before it |
//! | 4 | BINARY | a binary message |
//!
//! They are used only where both sides named [`crate::signal::VERSION`] in their signals.

use crate::{Error, ErrorCode};

/// A receiver confirms at least after so many messages.
pub const ACK_EVERY: u64 = 2048;

/// Messages that may be under way without an ACK. SCTP numbers the messages of a stream with 16 bits (RFC 9260,
/// section 3.3.1), and a receiver that has 32,768 of them unread can no longer tell the old from the new.
pub const MAX_UNCONFIRMED: u64 = 24 * 1024;

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// So many messages were handed to the application.
    Ack(u64),
    /// No message follows.
    Fin,
    /// Everything before the FIN was handed over.
    FinAck,
    /// A message.
    Binary(&'a [u8]),
}

impl<'a> Frame<'a> {
    /// Reads a frame.
    ///
    /// # Errors
    /// [`ErrorCode::Protocol`] where it is of no known kind or of the wrong length.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Error> {
        match bytes {
            [1, count @ ..] => match <[u8; 8]>::try_from(count) {
                Ok(count) => Ok(Self::Ack(u64::from_be_bytes(count))),
                Err(_) => Err(wrong("an ACK that has not 9 bytes")),
            },
            [2] => Ok(Self::Fin),
            [3] => Ok(Self::FinAck),
            [4, message @ ..] => Ok(Self::Binary(message)),
            _ => Err(wrong("a binary frame of no known kind")),
        }
    }

    /// The frame as it travels.
    pub fn encode(self) -> Vec<u8> {
        match self {
            Self::Ack(count) => [&[1], &count.to_be_bytes()[..]].concat(),
            Self::Fin => vec![2],
            Self::FinAck => vec![3],
            Self::Binary(message) => [&[4], message].concat(),
        }
    }
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorCode::Protocol, format!("the remote sent {what}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Vector {
        hex: String,
        frame: Option<String>,
        count: Option<u64>,
        message: Option<String>,
    }

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn agrees_with_the_vectors() {
        let vectors: Vec<Vector> = serde_json::from_str(include_str!("../../../vectors/frames.json")).unwrap();
        assert!(vectors.len() > 5);
        for Vector { hex, frame, count, message } in vectors {
            let (bytes, message) = (bytes(&hex), message.as_deref().map(bytes));
            let expected = match frame.as_deref() {
                Some("ack") => Some(Frame::Ack(count.unwrap())),
                Some("fin") => Some(Frame::Fin),
                Some("fin-ack") => Some(Frame::FinAck),
                Some("binary") => Some(Frame::Binary(message.as_deref().unwrap())),
                _ => None,
            };
            assert_eq!(Frame::decode(&bytes).ok(), expected, "{hex}");
            if let Some(frame) = expected {
                assert_eq!(frame.encode(), bytes);
            }
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
