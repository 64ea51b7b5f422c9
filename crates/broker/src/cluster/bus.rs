//! What carries the common registry and the messages between brokers: Redis, or the simulation's. Knows nothing of peers.

use std::pin::Pin;

use super::call::{Call, Name};

/// Something that is answered later.
pub(crate) type Later<T> = Pin<Box<dyn Future<Output = Result<T, Unreachable>> + Send>>;

/// There is no answer: what was asked may have been done, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unreachable;

/// What comes by itself.
#[derive(Debug)]
pub(crate) enum Event {
    /// Connected anew, and the inbox is open. Whatever was there before may be gone.
    Up,
    /// Not connected.
    Down,
    /// In the inbox.
    Message(Vec<u8>),
}

/// How a broker reaches the others. No call takes for ever, and one that fails because nobody answers ends the
/// connection: those after it fail at once, until [`Event::Up`].
pub(crate) trait Bus: Send + Sync + 'static {
    /// Runs the script in the common registry.
    fn script(&self, call: &Call) -> Later<Vec<String>>;

    /// Leaves a message in the inbox of a broker. How many listen there: 0 where it is gone.
    fn publish(&self, to: Name, message: Vec<u8>) -> Later<u64>;

    /// Ends the connection, for a new one: this one is of no use.
    fn reset(&self);
}

/// A bus that carries nothing.
#[cfg(test)]
pub(crate) struct Nowhere;

#[cfg(test)]
impl Bus for Nowhere {
    fn script(&self, _: &Call) -> Later<Vec<String>> {
        Box::pin(std::future::ready(Err(Unreachable)))
    }

    fn publish(&self, _: Name, _: Vec<u8>) -> Later<u64> {
        Box::pin(std::future::ready(Err(Unreachable)))
    }

    fn reset(&self) {}
}
