//! What goes over an open data channel between two linkup peers: the rules of docs/protocol.md, without the channel.
//!
//! Three machines, each with one owner, so that sending and receiving need not wait for each other:
//! [`Outgoing`] cuts messages into frames and picks the next one, [`Ledger`] counts what was sent against what the
//! remote confirms, [`Incoming`] makes messages of what comes. [`Budget`] bounds what all connections put together.

mod budget;
mod incoming;
mod ledger;
mod outgoing;

pub use budget::Budget;
pub use incoming::{Arrival, Incoming, Receipt};
pub use ledger::Ledger;
pub use outgoing::{Outgoing, Transmit, What};

use bytes::Bytes;
use linkup_proto::frame::FRAME_COST;

/// One message of the data channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Bytes),
}

impl Message {
    /// Its size in bytes.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether it has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a message frame takes of the receiver's window.
fn cost(payload: usize) -> u64 {
    payload as u64 + FRAME_COST
}
