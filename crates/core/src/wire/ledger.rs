//! What was sent, against what the remote says of it.

use std::collections::VecDeque;

use linkup_proto::frame::MAX_UNCONFIRMED;
use linkup_proto::{Error, ErrorCode};

use super::cost;
use crate::Token;

/// The books of one direction. Numbers count from 1, in the order of sending.
#[derive(Debug)]
pub struct Ledger {
    /// The remote's.
    window: u64,
    /// Data frames sent.
    sent: u64,
    /// Of these, the ones that the remote has received.
    received: u64,
    /// Cost of the message frames sent.
    spent: u64,
    /// Of that, what the remote's application has got.
    handed: u64,
    /// Frames under way that end no message: pieces, and the frames of streams.
    partial: VecDeque<u64>,
    /// Frames under way that end more than one message: which, and how many more.
    bundles: VecDeque<(u64, u64)>,
    /// All of these.
    bundled: u64,
    /// Who waits for which frame's arrival.
    waiting: VecDeque<(u64, Token)>,
}

impl Ledger {
    /// An empty one, for a remote with that window.
    pub fn new(window: u64) -> Self {
        Self {
            window,
            sent: 0,
            received: 0,
            spent: 0,
            handed: 0,
            partial: VecDeque::new(),
            bundles: VecDeque::new(),
            bundled: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Whether another data frame may be sent.
    pub fn takes_frame(&self) -> bool {
        self.sent - self.received < MAX_UNCONFIRMED
    }

    /// Whether a message frame with so many bytes may be sent.
    pub fn takes_message(&self, payload: usize) -> bool {
        self.takes_frame() && (self.spent == self.handed || self.has_room(cost(payload)))
    }

    /// Whether message frames of that cost fit into what is left of the window.
    pub(super) fn has_room(&self, cost: u64) -> bool {
        self.spent - self.handed + cost <= self.window
    }

    /// A bundle of `count` messages is about to be sent; each of `tokens` waits for it.
    pub(super) fn bundle(&mut self, cost: u64, count: u64, tokens: impl IntoIterator<Item = Token>) {
        self.spent += cost;
        self.sent += 1;
        self.bundled += count - 1;
        self.bundles.push_back((self.sent, count - 1));
        self.waiting.extend(tokens.into_iter().map(|token| (self.sent, token)));
    }

    /// A message frame is about to be sent. `last`: it ends its message; then `token` waits for it.
    pub(super) fn message(&mut self, payload: usize, last: bool, token: Option<Token>) {
        self.spent += cost(payload);
        self.sent += 1;
        if !last {
            self.partial.push_back(self.sent);
        } else if let Some(token) = token {
            self.waiting.push_back((self.sent, token));
        }
    }

    /// The frame of a stream is about to be sent.
    pub(super) fn stream(&mut self) {
        self.sent += 1;
        self.partial.push_back(self.sent);
    }

    /// The remote has received so many data frames, and its application got messages of that cost.
    ///
    /// # Errors
    /// [`ErrorCode::Protocol`] where it says less than before, or more than was sent.
    pub fn handle_ack(&mut self, received: u64, handed: u64) -> Result<(), Error> {
        let sane = (self.received..=self.sent).contains(&received) && (self.handed..=self.spent).contains(&handed);
        if !sane {
            return Err(Error::new(ErrorCode::Protocol, "the remote confirmed what it was not sent"));
        }
        (self.received, self.handed) = (received, handed);
        let passed = self.partial.partition_point(|frame| *frame <= received);
        self.partial.drain(..passed);
        while let Some((_, more)) = self.bundles.front().filter(|(frame, _)| *frame <= received) {
            self.bundled -= more;
            self.bundles.pop_front();
        }
        if self.partial.is_empty() && self.partial.capacity() > 1024 {
            self.partial = VecDeque::new();
        }
        Ok(())
    }

    /// The next who waited for something that has arrived.
    pub fn poll_arrived(&mut self) -> Option<Token> {
        let (frame, token) = *self.waiting.front()?;
        if frame > self.received {
            return None;
        }
        self.waiting.pop_front();
        Some(token)
    }

    /// Messages sent to their end that may not have arrived.
    pub fn unconfirmed(&self) -> u64 {
        self.sent - self.received + self.bundled - self.partial.len() as u64
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use linkup_proto::frame::FRAME_COST;

    #[test]
    fn takes_only_acks_of_what_was_sent() {
        let mut ledger = Ledger::new(1000);
        for _ in 0..3 {
            ledger.message(1, true, None);
        }
        let each = 1 + FRAME_COST;
        assert!(ledger.handle_ack(2, each).is_ok());
        assert!(ledger.handle_ack(1, each).is_err(), "fewer than before");
        assert!(ledger.handle_ack(2, 0).is_err(), "less than before");
        assert!(ledger.handle_ack(4, each).is_err(), "more than there were");
        assert!(ledger.handle_ack(3, 3 * each + 1).is_err(), "more than it cost");
        assert!(ledger.handle_ack(3, 3 * each).is_ok());
    }

    #[test]
    fn stops_at_the_window_but_lets_one_go() {
        let mut ledger = Ledger::new(300);
        assert!(ledger.takes_message(1_000_000));
        ledger.message(100, true, None);
        assert!(ledger.takes_message(300 - 164 - 64));
        assert!(!ledger.takes_message(300 - 164 - 63));
        ledger.stream();
        ledger.handle_ack(2, 0).unwrap();
        assert!(!ledger.takes_message(100), "received is not handed over");
        ledger.handle_ack(2, 164).unwrap();
        assert!(ledger.takes_message(100));
    }

    #[test]
    fn stops_at_many_frames_of_any_kind() {
        let mut ledger = Ledger::new(u64::MAX);
        for n in 0..MAX_UNCONFIRMED {
            assert!(ledger.takes_frame() && ledger.takes_message(1));
            if n % 2 == 0 { ledger.stream() } else { ledger.message(0, true, None) }
        }
        assert!(!ledger.takes_frame() && !ledger.takes_message(1));
        ledger.handle_ack(1, 0).unwrap();
        assert!(ledger.takes_frame() && ledger.takes_message(1));
    }

    #[test]
    fn counts_each_message_of_a_bundle() {
        let mut ledger = Ledger::new(1000);
        ledger.bundle(500, 3, [Token(1), Token(2)]);
        ledger.bundle(400, 2, []);
        assert_eq!(ledger.unconfirmed(), 5);
        assert!(ledger.has_room(100) && !ledger.has_room(101));
        ledger.handle_ack(1, 500).unwrap();
        assert_eq!(ledger.unconfirmed(), 2);
        assert_eq!([ledger.poll_arrived(), ledger.poll_arrived()], [Some(Token(1)), Some(Token(2))]);
        ledger.handle_ack(2, 900).unwrap();
        assert_eq!(ledger.unconfirmed(), 0);
    }

    #[test]
    fn counts_messages_not_frames() {
        let mut ledger = Ledger::new(u64::MAX);
        ledger.message(5, false, None);
        ledger.stream();
        ledger.message(5, true, Some(Token(7)));
        ledger.message(5, true, None);
        assert_eq!(ledger.unconfirmed(), 2);
        ledger.handle_ack(2, 0).unwrap();
        assert_eq!((ledger.unconfirmed(), ledger.poll_arrived()), (2, None));
        ledger.handle_ack(3, 0).unwrap();
        assert_eq!((ledger.unconfirmed(), ledger.poll_arrived()), (1, Some(Token(7))));
        assert_eq!(ledger.poll_arrived(), None);
    }
}
