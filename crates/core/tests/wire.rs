//! An open channel between two linkup peers: whatever is sent arrives, whole and in order, within the agreed bounds; and
//! whatever a hostile remote sends ends in an error. Virtual time, seeded chance.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, missing_docs)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use linkup_core::Token;
use linkup_core::wire::{Arrival, Budget, Incoming, Ledger, Message, Outgoing, Receipt, What};
use linkup_proto::frame::{ACK_EVERY, FRAME_COST, Frame, MAX_PAYLOAD, MAX_UNCONFIRMED, MIN_WINDOW};
use linkup_proto::{Error, ErrorCode};

const MAX_MESSAGE: usize = 4 << 20;

/// One side: what it sends, and what it hears of the other.
struct Side {
    outgoing: Outgoing,
    ledger: Ledger,
    incoming: Incoming,
    /// Messages that the application has not got.
    unread: VecDeque<(Message, Receipt)>,
    read: Vec<Message>,
    streams: Vec<Bytes>,
    arrived: Vec<Token>,
    /// On their way to this side.
    wire: VecDeque<Message>,
}

impl Side {
    fn new(window: u64, budget: &Budget, max_frame: usize) -> Self {
        Self {
            outgoing: Outgoing::new(true, max_frame).keeping(),
            ledger: Ledger::new(window),
            incoming: Incoming::new(window, MAX_MESSAGE, budget.clone()),
            unread: VecDeque::new(),
            read: Vec::new(),
            streams: Vec::new(),
            arrived: Vec::new(),
            wire: VecDeque::new(),
        }
    }

    /// Takes one frame from the wire; what is to be answered is returned.
    fn receive(&mut self, now: Instant) -> Result<Option<Message>, Error> {
        let Some(frame) = self.wire.pop_front() else { return Ok(None) };
        let arrival = match frame {
            Message::Text(text) => self.incoming.handle_text(now, text)?,
            Message::Binary(bytes) => self.incoming.handle_frame(now, bytes)?,
        };
        match arrival {
            Arrival::Message(message, receipt) => self.unread.push_back((message, receipt)),
            Arrival::Bundle(messages) => self.unread.extend(messages),
            Arrival::Stream(frame) => self.streams.push(frame),
            Arrival::Ack { received, handed } => {
                self.ledger.handle_ack(received, handed)?;
                self.outgoing.confirm(received);
                self.arrived.extend(std::iter::from_fn(|| self.ledger.poll_arrived()));
            }
            Arrival::Part(..) | Arrival::Ping | Arrival::Fin | Arrival::FinAck => {}
        }
        Ok(self.ack(now))
    }

    fn ack(&mut self, now: Instant) -> Option<Message> {
        self.incoming.poll_ack(now).map(|ack| Message::Binary(ack.encode().into()))
    }

    fn read_one(&mut self, now: Instant) -> Option<Message> {
        let (message, receipt) = self.unread.pop_front()?;
        self.read.push(message);
        self.incoming.handed(now, &receipt);
        self.ack(now)
    }

    /// Bytes that the application has not got.
    fn kept(&self) -> usize {
        self.unread.iter().map(|(message, _)| message.len()).sum()
    }
}

fn random_message(rng: &mut fastrand::Rng) -> Message {
    let edge = [0, 1, MAX_PAYLOAD - 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 2 * MAX_PAYLOAD, 3 * MAX_PAYLOAD + 7];
    let size = match rng.u8(..10) {
        0 => edge[rng.usize(..edge.len())],
        1 => rng.usize(..1 << 20),
        _ => rng.usize(..300),
    };
    if rng.bool() {
        Message::Binary(std::iter::repeat_with(|| rng.u8(..)).take(size).collect())
    } else {
        // Characters of two bytes, so that pieces cut some.
        Message::Text(std::iter::repeat_n(if rng.bool() { 'ä' } else { '\u{0}' }, size / 2).collect())
    }
}

/// Two sides that send, read and rest at random.
struct Exchange {
    rng: fastrand::Rng,
    now: Instant,
    window: u64,
    max_frame: usize,
    sides: [Side; 2],
    sent: [Vec<Message>; 2],
    /// Of `sent`, those whose last piece has left.
    left: [usize; 2],
    streams: [usize; 2],
    tokens: [Vec<Token>; 2],
    /// Messages of each side.
    count: usize,
    reluctant: bool,
}

impl Exchange {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let window = [MIN_WINDOW, 1 << 20, 8 << 20][rng.usize(..3)];
        let max_frame = [1000, MAX_PAYLOAD, 256 * 1024][rng.usize(..3)];
        let budget = Budget::new(2 * MAX_MESSAGE);
        let count = rng.usize(1..40);
        let reluctant = rng.bool();
        Self {
            rng,
            now: Instant::now(),
            window,
            max_frame,
            sides: [Side::new(window, &budget, max_frame), Side::new(window, &budget, max_frame)],
            sent: Default::default(),
            left: [0, 0],
            streams: [0, 0],
            tokens: Default::default(),
            count,
            reluctant,
        }
    }

    fn step(&mut self) -> Result<(), Error> {
        let at = self.rng.usize(..2);
        let (mine, other) = {
            let [a, b] = &mut self.sides;
            if at == 0 { (a, b) } else { (b, a) }
        };
        let all = self.sent.iter().all(|all| all.len() >= self.count);
        let sent = &mut self.sent[at];
        match self.rng.u8(..8) {
            0 if sent.len() < self.count => {
                let message = random_message(&mut self.rng);
                let token = self.rng.bool().then(|| Token(sent.len() as u32 + 1));
                self.tokens[at].extend(token);
                mine.outgoing.messages.push_back((message.clone(), token));
                sent.push(message);
            }
            1 if sent.len() < self.count => {
                let frame = Frame::Stream { kind: 9, stream: 2, body: &[self.streams[at] as u8] }.encode();
                self.streams[at] += 1;
                mine.outgoing.streams.push_back(frame);
            }
            2 | 3 => {
                for _ in 0..8 {
                    let Some(next) = mine.outgoing.poll(&mut mine.ledger) else { break };
                    assert!(next.body.len() <= self.max_frame.max(1000));
                    if let What::Message { complete, .. } = next.what {
                        self.left[at] += complete;
                    }
                    other.wire.push_back(next.body);
                }
            }
            4 | 5 => {
                let answer = mine.receive(self.now)?;
                other.wire.extend(answer);
            }
            6 if !self.reluctant || self.rng.u8(..20) == 0 || all => other.wire.extend(mine.read_one(self.now)),
            7 if self.rng.u8(..10) == 0 => {
                self.now += Duration::from_millis(self.rng.u64(..60));
                mine.incoming.handle_timeout(self.now)?;
                other.wire.extend(mine.ack(self.now));
            }
            _ => {}
        }
        // Beside what fills its window a side keeps one whole message, and the beginning of another.
        assert!(self.sides.iter().all(|side| side.kept() as u64 <= self.window + MAX_MESSAGE as u64));
        Ok(())
    }

    /// Another transport takes the place of this one, with whatever is under way; a part of that may still arrive.
    fn move_over(&mut self) -> Result<(), Error> {
        for side in &mut self.sides {
            for _ in 0..self.rng.usize(..20) {
                // The answer is lost.
                side.receive(self.now)?;
            }
            side.wire.clear();
        }
        for at in 0..2 {
            self.sides[at].outgoing.resume();
            let ack = self.sides[at].incoming.resume(self.now);
            self.sides[1 - at].wire.push_back(Message::Binary(ack.encode().into()));
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        (0..2).all(|at| {
            self.sent[at].len() >= self.count
                && self.sides[1 - at].read.len() == self.sent[at].len()
                && self.sides[1 - at].streams.len() == self.streams[at]
                && self.sides[at].arrived.len() == self.tokens[at].len()
        })
    }
}

/// Everything arrives once, in order, and nobody keeps more than agreed.
#[test]
fn everything_arrives_in_order_within_the_window() {
    for seed in 0..150 {
        let mut exchange = Exchange::new(seed);
        let mut steps = 0;
        while !exchange.is_done() {
            steps += 1;
            assert!(steps < 400_000, "seed {seed}: it does not come to an end");
            exchange.step().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        let Exchange { sides, sent, streams, tokens, .. } = exchange;
        for at in 0..2 {
            assert!(sides[1 - at].read == sent[at], "seed {seed}");
            let numbers: Vec<u8> = sides[1 - at].streams.iter().map(|frame| frame[5]).collect();
            assert_eq!(numbers, (0..streams[at]).map(|n| n as u8).collect::<Vec<_>>());
            assert_eq!(sides[at].arrived, tokens[at]);
            assert!(sides[at].outgoing.is_empty());
        }
    }
}

/// Whenever the transport changes, and how often: everything arrives once, in order.
#[test]
fn a_connection_that_changes_its_transport_loses_and_repeats_nothing() {
    let mut moves = 0;
    for seed in 0..300 {
        let mut exchange = Exchange::new(seed);
        let mut dice = fastrand::Rng::with_seed(!seed);
        let often = dice.u32(50..2000);
        let mut steps = 0;
        while !exchange.is_done() {
            steps += 1;
            assert!(steps < 800_000, "seed {seed}: it does not come to an end");
            if dice.u32(..often) == 0 {
                moves += 1;
                exchange.move_over().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            }
            exchange.step().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        let Exchange { sides, sent, streams, tokens, .. } = exchange;
        for at in 0..2 {
            assert!(sides[1 - at].read == sent[at], "seed {seed}");
            let numbers: Vec<u8> = sides[1 - at].streams.iter().map(|frame| frame[5]).collect();
            assert_eq!(numbers, (0..streams[at]).map(|n| n as u8).collect::<Vec<_>>(), "seed {seed}");
            assert_eq!(sides[at].arrived, tokens[at], "seed {seed}");
        }
    }
    assert!(moves > 1000, "only {moves} changes");
}

/// Where the transport is lost at any moment, with all that is on its way, what has come is the beginning of what was sent;
/// what was confirmed has come; and the number of messages that may be lost is no smaller than that of those that are.
#[test]
fn a_lost_transport_leaves_the_beginning_and_says_how_much_is_missing() {
    let mut missing = 0;
    for seed in 0..300 {
        let mut exchange = Exchange::new(seed);
        for _ in 0..fastrand::Rng::with_seed(!seed).usize(..6000) {
            if exchange.is_done() {
                break;
            }
            exchange.step().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        let Exchange { mut sides, sent, left, .. } = exchange;
        for at in 0..2 {
            let other = &mut sides[1 - at];
            other.read.extend(other.unread.drain(..).map(|(message, _)| message));
            let came = other.read.len();
            assert!(other.read[..] == sent[at][..came], "seed {seed}");
            assert!(sides[at].arrived.iter().all(|token| token.0 as usize <= came), "seed {seed}");
            let unsure = sides[at].ledger.unconfirmed() as usize + sent[at].len() - left[at];
            assert!(unsure >= sent[at].len() - came, "seed {seed}: {unsure} of {} with {came}", sent[at].len());
            missing += sent[at].len() - came;
        }
    }
    assert!(missing > 1000, "only {missing} messages were lost at all");
}

/// What `side` sends until it is stopped, into nobody's hands.
fn flood(side: &mut Side, message: &Message) -> usize {
    let mut count = 0;
    loop {
        if side.outgoing.messages.is_empty() {
            side.outgoing.messages.push_back((message.clone(), None));
        }
        if side.outgoing.poll(&mut side.ledger).is_none() {
            return count;
        }
        count += 1;
    }
}

#[test]
fn a_reader_that_does_not_read_stops_its_sender() {
    let budget = Budget::new(MAX_MESSAGE);
    for (size, expected) in [
        (0, MIN_WINDOW / FRAME_COST),
        (1000, MIN_WINDOW / (1000 + FRAME_COST)),
        (MAX_PAYLOAD, MIN_WINDOW / (MAX_PAYLOAD as u64 + FRAME_COST)),
    ] {
        let mut side = Side::new(MIN_WINDOW, &budget, 256 * 1024);
        assert_eq!(flood(&mut side, &Message::Text("x".repeat(size))) as u64, expected);
    }
    let mut side = Side::new(1 << 40, &budget, 256 * 1024);
    assert_eq!(flood(&mut side, &Message::Text(String::new())) as u64, MAX_UNCONFIRMED);
}

#[test]
fn streams_and_messages_take_turns_and_streams_need_no_window() {
    let budget = Budget::new(MAX_MESSAGE);
    let mut side = Side::new(MIN_WINDOW, &budget, 256 * 1024);
    let frame = Frame::Stream { kind: 9, stream: 0, body: b"x" }.encode();
    side.outgoing.messages.push_back((Message::Text("x".repeat(1 << 20)), None));
    side.outgoing.streams.extend(std::iter::repeat_n(frame, 10));
    let mut kinds = Vec::new();
    while let Some(next) = side.outgoing.poll(&mut side.ledger) {
        kinds.push(matches!(next.what, What::Stream));
    }
    // The message stops at the window; the rest of the stream goes on.
    assert_eq!(kinds.len(), 3 + 10);
    assert_eq!(kinds[..6], [false, true, false, true, false, true]);
}

#[test]
fn confirms_in_time() {
    let budget = Budget::new(MAX_MESSAGE);
    let mut incoming = Incoming::new(8 << 20, MAX_MESSAGE, budget);
    let now = Instant::now();
    let mut acks = 0;
    for _ in 0..ACK_EVERY {
        let Ok(Arrival::Message(_, receipt)) = incoming.handle_text(now, "1".into()) else { panic!() };
        incoming.handed(now, &receipt);
        acks += usize::from(incoming.poll_ack(now).is_some());
    }
    assert_eq!(acks, 1, "after every 2,048 frames");
    // A part of the window, as soon as it is read and not before.
    let mut receipts = Vec::new();
    for _ in 0..16 {
        let Ok(Arrival::Message(_, receipt)) = incoming.handle_text(now, "x".repeat(MAX_PAYLOAD)) else { panic!() };
        receipts.push(receipt);
    }
    assert!(incoming.poll_ack(now).is_none());
    for receipt in &receipts {
        incoming.handed(now, receipt);
    }
    assert!(incoming.poll_ack(now).is_some());
    // The rest within 100 ms.
    let Ok(Arrival::Message(..)) = incoming.handle_text(now, "1".into()) else { panic!() };
    assert_eq!(incoming.poll_timeout(), Some(now + Duration::from_millis(100)));
    assert!(incoming.poll_ack(now + Duration::from_millis(99)).is_none());
    let ack = incoming.poll_ack(now + Duration::from_millis(100));
    let cost = ACK_EVERY * (1 + FRAME_COST) + 16 * (MAX_PAYLOAD as u64 + FRAME_COST);
    assert_eq!(ack, Some(Frame::Ack { received: ACK_EVERY + 17, handed: cost }));
    assert_eq!(incoming.poll_timeout(), None);
}

#[test]
fn a_ping_is_answered_at_once_and_again_when_all_before_it_is_read() {
    let mut incoming = Incoming::new(8 << 20, MAX_MESSAGE, Budget::new(MAX_MESSAGE));
    let now = Instant::now();
    let Ok(Arrival::Message(_, receipt)) = incoming.handle_text(now, "1".into()) else { panic!() };
    incoming.handle_frame(now, Frame::Ping.encode().into()).unwrap();
    assert_eq!(incoming.poll_ack(now), Some(Frame::Ack { received: 1, handed: 0 }));
    assert_eq!(incoming.poll_ack(now), None);
    incoming.handed(now, &receipt);
    assert_eq!(incoming.poll_ack(now), Some(Frame::Ack { received: 1, handed: 1 + FRAME_COST }));
}

#[test]
fn who_waits_for_its_message_asks_for_the_ack() {
    let budget = Budget::new(MAX_MESSAGE);
    let mut side = Side::new(8 << 20, &budget, 256 * 1024);
    side.outgoing.messages.push_back((Message::Text("1".into()), Some(Token(1))));
    side.outgoing.messages.push_back((Message::Text("2".into()), None));
    let sent: Vec<_> = std::iter::from_fn(|| side.outgoing.poll(&mut side.ledger)).map(|next| next.body).collect();
    let [bundle, ping] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(*ping, Message::Binary(Frame::Ping.encode().into()));
    assert_eq!(*bundle, Message::Binary(Bytes::from_static(&[13, 0, 1, b'1', 0, 1, b'2'])));
    assert!(side.outgoing.is_empty());
}

#[test]
fn small_messages_that_wait_go_together() {
    let budget = Budget::new(MAX_MESSAGE);
    let mut side = Side::new(MIN_WINDOW, &budget, 256 * 1024);
    let message = |size: usize| Message::Text("x".repeat(size));
    let sizes = [10, 2048, 0, 2049, 10, 10, 70_000, 10];
    side.outgoing.messages.extend(sizes.map(|size| (message(size), None)));
    let sent: Vec<usize> = std::iter::from_fn(|| side.outgoing.poll(&mut side.ledger))
        .map(|next| match next.what {
            What::Message { complete, .. } => complete,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sent, [3, 1, 2, 0, 1, 1], "three, the one that is too large, two, two pieces, one");
    assert_eq!(side.ledger.unconfirmed(), sizes.len() as u64);
    // Never more than 16 KiB, nor than the window takes.
    for (window, most) in [(1 << 40, 16 * 1024), (MIN_WINDOW, 16 * 1024), (1000, 1000)] {
        let mut side = Side::new(window, &budget, 256 * 1024);
        side.outgoing.messages.extend(std::iter::repeat_n((message(100), None), 10_000));
        let first = side.outgoing.poll(&mut side.ledger).unwrap().body.len();
        assert!(first <= most + 1 && first > most / 2, "{first}");
    }
}

fn begin(total: u32) -> Bytes {
    Frame::Begin { binary: true, total, bytes: &[0; 100] }.encode().into()
}

fn more(length: usize) -> Bytes {
    Frame::More(&vec![0; length]).encode().into()
}

/// Messages in pieces of several connections share a budget; who has no room waits, and is not lost.
#[test]
fn unfinished_messages_share_a_budget() {
    let now = Instant::now();
    let budget = Budget::new(1000);
    let connection = || Incoming::new(MIN_WINDOW, MAX_MESSAGE, budget.clone());
    let (mut a, mut b) = (connection(), connection());
    let cost = 100 + FRAME_COST;
    a.handle_frame(now, begin(900)).unwrap();
    assert_eq!(a.ack(), Frame::Ack { received: 1, handed: cost }, "with room it costs nothing");
    b.handle_frame(now, begin(200)).unwrap();
    assert_eq!(b.ack(), Frame::Ack { received: 1, handed: 0 }, "without room it does");
    let later = now + Duration::from_millis(50);
    assert_eq!(b.poll_timeout(), Some(later));
    b.handle_timeout(later).unwrap();
    assert_eq!(b.ack(), Frame::Ack { received: 1, handed: 0 });
    let Ok(Arrival::Message(message, receipt)) = a.handle_frame(later, more(800)) else { panic!() };
    assert_eq!((message.len(), receipt.assembled()), (900, Some(900)));
    let later = later + Duration::from_millis(50);
    b.handle_timeout(later).unwrap();
    assert_eq!(b.ack(), Frame::Ack { received: 1, handed: 0 }, "it takes room until the application has it");
    a.handed(later, &receipt);
    drop(receipt);
    b.handle_timeout(later + Duration::from_millis(50)).unwrap();
    assert_eq!(b.ack(), Frame::Ack { received: 1, handed: cost });
    let Ok(Arrival::Message(..)) = b.handle_frame(later, more(100)) else { panic!() };
}

/// A reader that is slow with large messages does not collect them either.
#[test]
fn the_next_large_message_waits_until_the_last_one_is_read() {
    let now = Instant::now();
    let mut incoming = Incoming::new(MIN_WINDOW, MAX_MESSAGE, Budget::new(4 * MAX_MESSAGE));
    let each = 100 + FRAME_COST;
    incoming.handle_frame(now, begin(200)).unwrap();
    let Ok(Arrival::Message(_, receipt)) = incoming.handle_frame(now, more(100)) else { panic!() };
    incoming.handle_frame(now, begin(200)).unwrap();
    assert_eq!(incoming.ack(), Frame::Ack { received: 3, handed: each });
    incoming.handed(now, &receipt);
    assert_eq!(incoming.ack(), Frame::Ack { received: 3, handed: 3 * each });
}

#[test]
fn a_message_that_does_not_go_on_ends_the_connection() {
    let now = Instant::now();
    let mut incoming = Incoming::new(MIN_WINDOW, MAX_MESSAGE, Budget::new(4 * MAX_MESSAGE));
    incoming.handle_frame(now, begin(300)).unwrap();
    incoming.ack();
    let later = now + Duration::from_secs(29);
    incoming.handle_timeout(later).unwrap();
    incoming.handle_frame(later, more(100)).unwrap();
    incoming.ack();
    let due = later + Duration::from_secs(30);
    assert_eq!(incoming.poll_timeout(), Some(due));
    incoming.handle_timeout(due - Duration::from_millis(1)).unwrap();
    assert_eq!(incoming.handle_timeout(due).unwrap_err().code, ErrorCode::Protocol);
}

/// Its sender may have no leave to go on, because the application reads nothing.
#[test]
fn a_message_may_rest_behind_others_that_nobody_reads() {
    let now = Instant::now();
    let mut incoming = Incoming::new(MIN_WINDOW, MAX_MESSAGE, Budget::new(4 * MAX_MESSAGE));
    let mut unread = Vec::new();
    for _ in 0..3 {
        let Ok(Arrival::Message(_, receipt)) = incoming.handle_text(now, "x".repeat(MAX_PAYLOAD)) else { panic!() };
        unread.push(receipt);
    }
    incoming.handle_frame(now, begin(300)).unwrap();
    incoming.ack();
    assert_eq!(incoming.poll_timeout(), None);
    let later = now + Duration::from_secs(100);
    incoming.handle_timeout(later).unwrap();
    incoming.handed(later, &unread[0]);
    incoming.ack();
    assert_eq!(incoming.poll_timeout(), Some(later + Duration::from_secs(30)));
    assert!(incoming.handle_timeout(later + Duration::from_secs(30)).is_err());
}

#[test]
fn what_breaks_the_rules_ends_in_an_error() {
    let text = |length: usize| Message::Text("x".repeat(length));
    let frame = |bytes: Bytes| Message::Binary(bytes);
    let binary = |length: usize| frame(Frame::Binary(&vec![0; length]).encode().into());
    let fin = || frame(Frame::Fin.encode().into());
    let stream = || frame(Frame::Stream { kind: 9, stream: 1, body: b"x" }.encode().into());
    let not_utf8 = || frame(Frame::Begin { binary: false, total: 2, bytes: &[0xff] }.encode().into());
    let last = frame(Frame::More(&[0xff]).encode().into());
    let window = usize::try_from(MIN_WINDOW).unwrap();
    let cases: Vec<(&str, Vec<Message>)> = vec![
        ("four GiB", vec![frame(begin(u32::MAX))]),
        ("more than the limit", vec![frame(begin(MAX_MESSAGE as u32 + 1))]),
        ("a text over the limit", vec![text(MAX_MESSAGE + 1)]),
        ("more than announced", vec![frame(begin(150)), frame(more(51))]),
        ("a piece of nothing", vec![frame(more(1))]),
        ("a piece after the end", vec![frame(begin(150)), frame(more(50)), frame(more(1))]),
        ("a text inside", vec![frame(begin(150)), text(1)]),
        ("bytes inside", vec![frame(begin(150)), binary(1)]),
        ("a beginning inside", vec![frame(begin(150)), frame(begin(150))]),
        ("an end inside", vec![frame(begin(150)), fin()]),
        ("no UTF-8", vec![not_utf8(), last]),
        ("a bundle inside", vec![frame(begin(150)), frame(Bytes::from_static(&[13, 0, 0]))]),
        ("a bundle that is cut off", vec![frame(Bytes::from_static(&[13, 0, 1, b'1', 0, 2, b'2']))]),
        ("a bundle with half a length", vec![frame(Bytes::from_static(&[13, 0, 0, 0]))]),
        ("a bundle of no UTF-8", vec![frame(Bytes::from_static(&[13, 0, 1, 0xff]))]),
        ("a bundle after the end", vec![fin(), frame(Bytes::from_static(&[13, 0, 0]))]),
        ("text after the end", vec![fin(), text(1)]),
        ("a stream after the end", vec![fin(), stream()]),
        ("two ends", vec![fin(), fin()]),
        ("no leave", vec![text(window), text(1)]),
        ("no leave, many", vec![text(0); window / 64 + 1]),
        ("unknown", vec![frame(Bytes::from_static(&[14, 0, 0, 0, 0]))]),
        ("empty", vec![frame(Bytes::new())]),
    ];
    for (what, frames) in cases {
        let mut incoming = Incoming::new(MIN_WINDOW, MAX_MESSAGE, Budget::new(4 * MAX_MESSAGE));
        let now = Instant::now();
        // Nothing is ever read here.
        let mut unread = Vec::new();
        let count = frames.len();
        for (at, next) in frames.into_iter().enumerate() {
            let outcome = match next {
                Message::Text(text) => incoming.handle_text(now, text),
                Message::Binary(bytes) => incoming.handle_frame(now, bytes),
            };
            match outcome {
                Ok(arrival) if at + 1 < count => unread.push(arrival),
                Err(error) if at + 1 == count => assert_eq!(error.code, ErrorCode::Protocol, "{what}"),
                other => panic!("{what}, frame {at}: {other:?}"),
            }
        }
    }
}

/// Bytes from nowhere: an error or an arrival, never a panic, and never more memory than was agreed.
#[test]
fn noise_breaks_nothing() {
    for seed in 0..2_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut incoming = Incoming::new(MIN_WINDOW, 100_000, Budget::new(300_000));
        let mut ledger = Ledger::new(MIN_WINDOW);
        let mut now = Instant::now();
        for _ in 0..100 {
            now += Duration::from_millis(rng.u64(..200));
            let length = rng.usize(..40);
            let mut bytes: Vec<u8> = std::iter::repeat_with(|| rng.u8(..4)).take(length).collect();
            if let Some(kind) = bytes.first_mut() {
                *kind = rng.u8(..14);
            }
            match incoming.handle_frame(now, bytes.into()) {
                Ok(Arrival::Message(_, receipt)) => incoming.handed(now, &receipt),
                Ok(Arrival::Ack { received, handed }) => drop(ledger.handle_ack(received, handed)),
                Ok(_) => {}
                Err(_) => break,
            }
            let _ = incoming.poll_ack(now);
            if incoming.handle_timeout(now).is_err() {
                break;
            }
        }
    }
}
