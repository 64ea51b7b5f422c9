//! From messages to frames: what is sent next.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};
use linkup_proto::frame::{self, BUNDLE, BUNDLED_MESSAGE, Frame, MAX_HEADER, MAX_PAYLOAD};

use super::{Ledger, Message, cost};
use crate::Token;

/// A PING for somebody who waits goes out at the latest after so many frames.
const PING_AFTER: u32 = 256;

/// What is to be sent next.
#[derive(Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The frame.
    pub body: Message,
    /// What it is of.
    pub what: What,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Bytes of messages.
    Message {
        /// How many.
        payload: usize,
        /// How many messages are complete with them.
        complete: usize,
        /// For a message in pieces: how many of its bytes were sent with these, and how many it has.
        progress: Option<(u32, u32)>,
    },
    /// Something of a stream.
    Stream,
    /// Something that was sent over another transport, and did not arrive.
    Again,
    /// A word to the remote's linkup.
    Control,
}

/// The data frames that the remote has not confirmed, for another transport.
#[derive(Debug, Default)]
struct Kept {
    frames: VecDeque<Message>,
    /// How many frames were confirmed before these.
    confirmed: u64,
    /// The first of them that this transport has not got.
    next: usize,
    /// It is not known yet which of them have arrived.
    waits: bool,
}

/// A message in pieces.
#[derive(Debug)]
struct Cut {
    rest: Bytes,
    total: u32,
    token: Option<Token>,
}

/// The queues of one connection, of which the next frame is picked.
#[derive(Debug)]
pub struct Outgoing {
    /// Messages, and who waits for their arrival.
    pub messages: VecDeque<(Message, Option<Token>)>,
    /// Frames of streams, encoded.
    pub streams: VecDeque<Vec<u8>>,
    cut: Option<Cut>,
    max_payload: usize,
    /// Both sides know frames. Otherwise messages go as they are.
    framed: bool,
    /// It is the streams' turn, where both have something.
    streams_turn: bool,
    /// Frames since somebody began to wait.
    ping: Option<u32>,
    kept: Option<Kept>,
}

impl Outgoing {
    /// Empty queues. `max_message`: bytes of one message that the remote's data channel takes.
    pub fn new(framed: bool, max_message: usize) -> Self {
        Self {
            messages: VecDeque::new(),
            streams: VecDeque::new(),
            cut: None,
            max_payload: max_message.saturating_sub(MAX_HEADER).clamp(1, MAX_PAYLOAD),
            framed,
            streams_turn: false,
            ping: None,
            kept: None,
        }
    }

    /// The same, which keeps what it has sent until that is confirmed, so that it can [`Outgoing::resume`].
    #[must_use]
    pub fn keeping(self) -> Self {
        Self { kept: Some(Kept::default()), ..self }
    }

    /// Whether nothing waits, not even the rest of a message.
    pub fn is_empty(&self) -> bool {
        let again = self.kept.as_ref().is_some_and(|kept| kept.waits || kept.next < kept.frames.len());
        self.messages.is_empty() && self.streams.is_empty() && self.cut.is_none() && self.ping.is_none() && !again
    }

    /// There is another transport. Nothing goes over it before the remote has said, by an ACK, what it has; then what it
    /// has not goes first.
    pub fn resume(&mut self) {
        if let Some(kept) = &mut self.kept {
            (kept.next, kept.waits) = (0, true);
        }
    }

    /// The remote has so many data frames, since the connection opened.
    pub fn confirm(&mut self, received: u64) {
        let Some(kept) = &mut self.kept else { return };
        let count = usize::try_from(received.saturating_sub(kept.confirmed)).unwrap_or(usize::MAX);
        let count = count.min(kept.frames.len());
        kept.frames.drain(..count);
        kept.confirmed += count as u64;
        kept.next = kept.next.saturating_sub(count);
        kept.waits = false;
        if kept.frames.is_empty() && kept.frames.capacity() > 1024 {
            kept.frames = VecDeque::new();
        }
    }

    /// Somebody wants to know whether the remote is there.
    pub fn ask(&mut self) {
        self.ping.get_or_insert(PING_AFTER);
    }

    /// The next frame, where the remote takes one: it counts as sent.
    pub fn poll(&mut self, ledger: &mut Ledger) -> Option<Transmit> {
        if !self.framed {
            let (body, _) = self.messages.pop_front()?;
            let what = What::Message { payload: body.len(), complete: 1, progress: None };
            return Some(Transmit { body, what });
        }
        if let Some(kept) = &mut self.kept {
            if kept.waits {
                return None;
            }
            if let Some(body) = kept.frames.get(kept.next).cloned() {
                kept.next += 1;
                return Some(Transmit { body, what: What::Again });
            }
        }
        if let Some(frames) = &mut self.ping {
            *frames += 1;
            if *frames > PING_AFTER {
                return Some(self.take_ping());
            }
        }
        let first = if self.streams_turn { self.poll_stream(ledger) } else { self.poll_message(ledger) };
        let next =
            first.or_else(|| if self.streams_turn { self.poll_message(ledger) } else { self.poll_stream(ledger) });
        let Some(next) = next else { return self.ping.is_some().then(|| self.take_ping()) };
        self.streams_turn = matches!(next.what, What::Message { .. });
        if let Some(kept) = &mut self.kept {
            kept.frames.push_back(next.body.clone());
            kept.next += 1;
        }
        Some(next)
    }

    fn take_ping(&mut self) -> Transmit {
        self.ping = None;
        control(Frame::Ping)
    }

    fn poll_stream(&mut self, ledger: &mut Ledger) -> Option<Transmit> {
        if !ledger.takes_frame() {
            return None;
        }
        let frame = self.streams.pop_front()?;
        ledger.stream();
        Some(Transmit { body: Message::Binary(frame.into()), what: What::Stream })
    }

    fn poll_message(&mut self, ledger: &mut Ledger) -> Option<Transmit> {
        let length = match &self.cut {
            Some(cut) => cut.rest.len(),
            None => self.messages.front()?.0.len(),
        };
        let payload = length.min(self.max_payload);
        if !ledger.takes_message(payload) {
            return None;
        }
        if let Some(cut) = &mut self.cut {
            let frame = Frame::More(&cut.rest[..payload]).encode();
            cut.rest.advance(payload);
            return Some(self.sent_piece(ledger, frame, payload));
        }
        if let Some(bundle) = self.poll_bundle(ledger) {
            return Some(bundle);
        }
        let (message, token) = self.messages.pop_front()?;
        if length <= self.max_payload {
            ledger.message(length, true, token);
            if token.is_some() {
                self.ping.get_or_insert(0);
            }
            let body = match message {
                Message::Text(_) => message,
                Message::Binary(bytes) => Message::Binary(Frame::Binary(&bytes).encode().into()),
            };
            let what = What::Message { payload: length, complete: 1, progress: None };
            return Some(Transmit { body, what });
        }
        let (binary, mut rest) = match message {
            Message::Text(text) => (false, Bytes::from(text.into_bytes())),
            Message::Binary(bytes) => (true, bytes),
        };
        // What is longer was refused when it was sent.
        let total = u32::try_from(length).unwrap_or(u32::MAX);
        let frame = Frame::Begin { binary, total, bytes: &rest[..payload] }.encode();
        rest.advance(payload);
        self.cut = Some(Cut { rest, total, token });
        Some(self.sent_piece(ledger, frame, payload))
    }

    /// The messages that wait, where there are several small ones: a frame takes as long as making ten of them.
    fn poll_bundle(&mut self, ledger: &mut Ledger) -> Option<Transmit> {
        let most = BUNDLE.min(self.max_payload);
        let (mut count, mut bytes, mut payload, mut costs) = (0, 0, 0, 0);
        for (message, _) in &self.messages {
            let length = message.len();
            // Two bytes say how long each one is.
            if length > BUNDLED_MESSAGE || bytes + 2 + length > most || !ledger.has_room(costs + cost(length)) {
                break;
            }
            count += 1;
            bytes += 2 + length;
            payload += length;
            costs += cost(length);
        }
        if count < 2 {
            return None;
        }
        let mut encoded = Vec::with_capacity(1 + bytes);
        let mut tokens = Vec::new();
        for (message, token) in self.messages.drain(..count) {
            match &message {
                Message::Text(text) => frame::bundle(&mut encoded, false, text.as_bytes()),
                Message::Binary(bytes) => frame::bundle(&mut encoded, true, bytes),
            }
            tokens.extend(token);
        }
        if !tokens.is_empty() {
            self.ping.get_or_insert(0);
        }
        ledger.bundle(costs, count as u64, tokens);
        let what = What::Message { payload, complete: count, progress: None };
        Some(Transmit { body: Message::Binary(encoded.into()), what })
    }

    fn sent_piece(&mut self, ledger: &mut Ledger, frame: Vec<u8>, payload: usize) -> Transmit {
        let (left, total, token) = match &self.cut {
            Some(cut) => (cut.rest.len(), cut.total, cut.token),
            None => (0, 0, None),
        };
        let last = left == 0;
        ledger.message(payload, last, token);
        if last {
            self.cut = None;
            if token.is_some() {
                self.ping.get_or_insert(0);
            }
        }
        let done = total - u32::try_from(left).unwrap_or(total);
        let what = What::Message { payload, complete: usize::from(last), progress: Some((done, total)) };
        Transmit { body: Message::Binary(frame.into()), what }
    }
}

/// A frame that nobody counts.
pub(super) fn control(frame: Frame<'_>) -> Transmit {
    Transmit { body: Message::Binary(frame.encode().into()), what: What::Control }
}
