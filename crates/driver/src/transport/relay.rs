//! A transport over the broker, where two peers have no other way: an ordered channel of encrypted packets inside of signals
//! (docs/protocol.md). The broker sees whom they are for, and how long they are.
//!
//! Whoever owns it polls it, as a [`super::pc::Pc`].

use std::collections::VecDeque;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::BytesMut;
use linkup_core::wire::Message;
use linkup_core::{RELAY_DESCRIPTION, TransportInput};
use linkup_proto::frame::{MAX_HEADER, MAX_PAYLOAD};
use linkup_proto::{Error, ErrorCode};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::SystemRandom;
use rtc::data_channel::RTCDataChannelMessage;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::pc::Signal;
use super::watch::Watch;
use super::{End, Order, Reports, Role, Step};
use crate::link::{Link, Path, Wire};

/// Bytes of one packet: with its cover it is within a frame of the broker.
const PACKET: usize = 32 * 1024;

/// Bytes that may be under way without an answer: little, as a broker has little patience with slow readers.
pub(super) const WINDOW: usize = 128 * 1024;

/// An answer goes after so many bytes, or so long after whatever has none.
const ANSWER_EVERY: u64 = 16 * 1024;
const ANSWER_AFTER: Duration = Duration::from_millis(50);

/// What a packet costs of the broker's rate besides its bytes.
const COVER: usize = 400;

/// Messages that may wait to be read, in bytes: the remote's window bounds what comes; this bounds a remote that has none.
const MAX_UNREAD: usize = 4 << 20;

/// Kinds of packets. The first byte is one of these; of a message the last packet has `LAST`.
const TEXT: u8 = 0;
const BINARY: u8 = 1;
const ANSWER: u8 = 2;
const LAST: u8 = 4;

/// See the module.
pub(super) struct Relay {
    reports: Reports,
    keys: Option<Keys>,
    incoming: VecDeque<RTCDataChannelMessage>,
    /// Bytes of `incoming`.
    unread: usize,
    partial: BytesMut,
    out: VecDeque<Vec<u8>>,
    queued: usize,
    /// Bytes sent, and those of them that the remote has.
    sent: u64,
    had: u64,
    /// Bytes received, and those of them that the remote has heard of.
    received: u64,
    answered: u64,
    answer_at: Option<Instant>,
    /// What the broker takes, in bytes a second; what may go at once, as of then.
    rate: f64,
    allowance: f64,
    filled: Instant,
    watch: Option<Watch>,
    alarm: Option<Instant>,
    signals: VecDeque<Signal>,
    messages: (u64, u64),
}

struct Keys {
    seal: LessSafeKey,
    sealed: u64,
    open: LessSafeKey,
    opened: u64,
}

impl Keys {
    /// Of both sides' public keys: each direction has a key of its own.
    fn agree(private: EphemeralPrivateKey, ours: &[u8], theirs: &[u8], calls: bool) -> Result<Self, Error> {
        let (caller, called) = if calls { (ours, theirs) } else { (theirs, ours) };
        let wrong = || Error::new(ErrorCode::Protocol, "the remote's key for the way over the broker is none");
        let keys = agree_ephemeral(private, &UnparsedPublicKey::new(&ECDH_P256, theirs), |shared| {
            let secret = Salt::new(HKDF_SHA256, &[caller, called].concat()).extract(shared);
            let key = |info: &'static [u8]| {
                let info = [info];
                let okm = secret.expand(&info, &AES_256_GCM).ok()?;
                Some(LessSafeKey::new(UnboundKey::from(okm)))
            };
            key(b"linkup relay, from the caller").zip(key(b"linkup relay, to the caller"))
        });
        let (from, to) = keys.ok().flatten().ok_or_else(wrong)?;
        let (seal, open) = if calls { (from, to) } else { (to, from) };
        Ok(Self { seal, sealed: 0, open, opened: 0 })
    }

    fn seal(&mut self, mut packet: Vec<u8>) -> Option<Vec<u8>> {
        self.seal.seal_in_place_append_tag(nonce(self.sealed), Aad::empty(), &mut packet).ok()?;
        self.sealed += 1;
        Some(packet)
    }

    fn open<'a>(&mut self, packet: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let opened = self.open.open_in_place(nonce(self.opened), Aad::empty(), packet).ok()?;
        self.opened += 1;
        Some(opened)
    }
}

/// Packets are numbered by their order: one that is missing, or comes twice, opens none after it.
fn nonce(number: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn broken(what: &str) -> Error {
    Error::new(ErrorCode::ConnectionLost, format!("the way over the broker is broken: {what}"))
}

impl Relay {
    pub(super) fn new(rate: u32, reports: Reports) -> Self {
        Self {
            reports,
            keys: None,
            incoming: VecDeque::new(),
            unread: 0,
            partial: BytesMut::new(),
            out: VecDeque::new(),
            queued: 0,
            sent: 0,
            had: 0,
            received: 0,
            answered: 0,
            answer_at: None,
            rate: f64::from(rate.max(1024)),
            allowance: f64::from(rate),
            filled: Instant::now(),
            watch: None,
            alarm: None,
            signals: VecDeque::new(),
            messages: (0, 0),
        }
    }

    /// Agrees on keys, and waits for leave to be used.
    pub(super) async fn negotiate(
        &mut self,
        role: Role,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        wire: &Wire,
    ) -> Step<Arc<Link>> {
        let unspecified = |_| End::Failed(Error::new(ErrorCode::IceFailed, "this machine has no random numbers"));
        let private = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).map_err(unspecified)?;
        let ours = private.compute_public_key().map_err(unspecified)?;
        let description = format!("{RELAY_DESCRIPTION}{}", STANDARD_NO_PAD.encode(&ours));
        let calls = matches!(role, Role::Caller(_));
        let theirs = match role {
            Role::Caller(_) => {
                self.reports.send(TransportInput::Description { sdp: description });
                loop {
                    match orders.recv().await {
                        Some(Order::SetAnswer { sdp, .. }) => break sdp,
                        Some(Order::Close) => return Err(End::Finished(None)),
                        None => return Err(End::Aborted),
                        Some(_) => {}
                    }
                }
            }
            Role::Called { sdp, .. } => {
                self.reports.send(TransportInput::Description { sdp: description });
                sdp
            }
        };
        let theirs = theirs.strip_prefix(RELAY_DESCRIPTION).and_then(|key| STANDARD_NO_PAD.decode(key).ok());
        let keys = Keys::agree(private, ours.as_ref(), &theirs.unwrap_or_default(), calls).map_err(End::Failed)?;
        self.keys = Some(keys);
        wire.max_message.store(MAX_PAYLOAD + MAX_HEADER, Ordering::Relaxed);
        wire.set_path(Path::Broker);
        if calls {
            // The called side waits for it: then it knows that its answer has arrived.
            self.post([&[ANSWER], &[0; 8][..]].concat());
            self.reports.send(TransportInput::Open);
        }
        let mut open = calls;
        loop {
            match orders.recv().await {
                Some(Order::Start(link)) => return Ok(link),
                Some(Order::Relayed(data)) => {
                    self.relayed(&data).map_err(End::Failed)?;
                    if !std::mem::replace(&mut open, true) {
                        self.reports.send(TransportInput::Open);
                    }
                }
                Some(Order::Close) | None => return Err(End::Aborted),
                Some(_) => {}
            }
        }
    }

    /// A packet came.
    ///
    /// # Errors
    /// One is missing, or it is not of the remote.
    pub(super) fn relayed(&mut self, data: &str) -> Result<(), Error> {
        let now = Instant::now();
        let mut packet = STANDARD_NO_PAD.decode(data).map_err(|_| broken("a packet is not Base64"))?;
        let keys = self.keys.as_mut().ok_or_else(|| broken("a packet came too early"))?;
        let packet = keys.open(&mut packet).ok_or_else(|| broken("a packet is missing, or somebody else's"))?;
        if let Some(watch) = &mut self.watch {
            watch.handle_packet(now, NOBODY);
        }
        let Some((kind, rest)) = packet.split_first() else { return Err(broken("an empty packet")) };
        if *kind == ANSWER {
            let had = rest.try_into().map(u64::from_be_bytes).map_err(|_| broken("an answer of the wrong length"))?;
            if !(self.had..=self.sent).contains(&had) {
                return Err(broken("an answer to what was not sent"));
            }
            self.had = had;
            self.pump(now);
            return Ok(());
        }
        if *kind & !(BINARY | LAST) != 0 || self.unread + self.partial.len() + rest.len() > MAX_UNREAD {
            return Err(broken("a packet of no known kind, or one too many"));
        }
        self.received += rest.len() as u64;
        self.partial.extend_from_slice(rest);
        if kind & LAST != 0 {
            self.messages.1 += 1;
            self.unread += self.partial.len();
            let message = RTCDataChannelMessage { is_string: kind & BINARY == 0, data: self.partial.split() };
            self.incoming.push_back(message);
        }
        self.answer(now);
        Ok(())
    }

    /// Says what has been read, now or soon.
    fn answer(&mut self, now: Instant) {
        // A message that is not read is not answered: the remote waits then. Its first packets were.
        let read = (self.received - self.unread as u64).max(self.answered);
        if read - self.answered >= ANSWER_EVERY || self.answer_at.is_some_and(|at| at <= now) {
            self.answer_at = None;
            if read > self.answered {
                self.answered = read;
                let packet = [&[ANSWER], &read.to_be_bytes()[..]].concat();
                self.post(packet);
            }
        } else if read > self.answered {
            self.answer_at.get_or_insert(now + ANSWER_AFTER);
        }
    }

    fn post(&mut self, packet: Vec<u8>) {
        self.allowance -= (packet.len() * 4 / 3 + COVER) as f64;
        if let Some(packet) = self.keys.as_mut().and_then(|keys| keys.seal(packet)) {
            self.reports.send(TransportInput::Relay { data: STANDARD_NO_PAD.encode(packet) });
        }
    }

    /// Hands over what the broker takes.
    fn pump(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.allowance = (self.allowance + passed * self.rate).min(self.rate);
        while self.allowance > 0.0 {
            let Some(packet) = self.out.pop_front() else { return };
            let bytes = packet.len() - 1;
            self.queued -= bytes;
            self.sent += bytes as u64;
            self.post(packet);
        }
    }

    pub(super) fn send(&mut self, body: &Message) {
        let (kind, bytes) = match body {
            Message::Text(text) => (TEXT, text.as_bytes()),
            Message::Binary(bytes) => (BINARY, &bytes[..]),
        };
        self.messages.0 += 1;
        self.queued += bytes.len();
        let mut chunks = bytes.chunks(PACKET).peekable();
        if chunks.peek().is_none() {
            self.out.push_back(vec![kind | LAST]);
        }
        while let Some(chunk) = chunks.next() {
            let last = if chunks.peek().is_none() { LAST } else { 0 };
            self.out.push_back([&[kind | last], chunk].concat());
        }
        self.pump(Instant::now());
    }

    pub(super) fn read(&mut self) -> Option<RTCDataChannelMessage> {
        let message = self.incoming.pop_front()?;
        self.unread -= message.data.len();
        self.answer(Instant::now());
        Some(message)
    }

    /// Bytes that the remote does not have.
    pub(super) fn outstanding(&self) -> usize {
        self.queued + usize::try_from(self.sent - self.had).unwrap_or(usize::MAX)
    }

    pub(super) fn set_alarm(&mut self, at: Option<Instant>) {
        self.alarm = at;
    }

    pub(super) fn watch(&mut self, idle: Duration) {
        self.watch = Some(Watch::new(Instant::now(), NOBODY, idle));
    }

    pub(super) fn set_asked(&mut self, asked: bool) {
        if let Some(watch) = &mut self.watch {
            watch.set_asked(asked);
        }
    }

    pub(super) fn stats(&self) -> Value {
        json!({
            "path": "broker",
            "bytesSent": self.sent,
            "bytesReceived": self.received,
            "messagesSent": self.messages.0,
            "messagesReceived": self.messages.1,
        })
    }

    /// The same as of a [`super::pc::Pc`].
    pub(super) async fn next(&mut self) -> Signal {
        loop {
            if let Some(signal) = self.signals.pop_front() {
                return signal;
            }
            let now = Instant::now();
            // When the broker takes more.
            let refill = (!self.out.is_empty())
                .then(|| now + Duration::from_secs_f64((1.0 - self.allowance).max(0.0) / self.rate));
            let news = self.watch.as_ref().and_then(Watch::poll_timeout);
            let due = [self.alarm, self.answer_at, refill, news].into_iter().flatten().min();
            match due {
                Some(due) if due > now => tokio::time::sleep_until(due.into()).await,
                Some(_) => {}
                None => pending().await,
            }
            let now = Instant::now();
            self.pump(now);
            self.answer(now);
            if let Some(news) = self.watch.as_mut().and_then(|watch| watch.poll(now)) {
                self.signals.push_back(Signal::News(news));
            }
            self.alarm.take_if(|at| *at <= now);
            if self.signals.is_empty() {
                return Signal::Turn;
            }
        }
    }
}

/// Packets come from the broker, not from an address.
const NOBODY: SocketAddr = SocketAddr::V4(std::net::SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn keys() -> (Keys, Keys) {
        let pair = || {
            let private = EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).unwrap();
            let public = private.compute_public_key().unwrap();
            (private, public)
        };
        let ((a, a_public), (b, b_public)) = (pair(), pair());
        let one = Keys::agree(a, a_public.as_ref(), b_public.as_ref(), true).unwrap();
        let two = Keys::agree(b, b_public.as_ref(), a_public.as_ref(), false).unwrap();
        (one, two)
    }

    #[test]
    fn what_one_side_seals_the_other_opens_once_and_in_order() {
        let (mut one, mut two) = keys();
        let first = one.seal(b"first".to_vec()).unwrap();
        let second = one.seal(b"second".to_vec()).unwrap();
        assert!(!first.windows(5).any(|bytes| bytes == b"first"));
        assert!(two.open(&mut second.clone()).is_none(), "not before the first");
        assert_eq!(two.open(&mut first.clone()).unwrap(), b"first");
        assert!(two.open(&mut first.clone()).is_none(), "not again");
        assert_eq!(two.open(&mut second.clone()).unwrap(), b"second");
        let mut bad = one.seal(b"third".to_vec()).unwrap();
        bad[0] ^= 1;
        assert!(two.open(&mut bad).is_none());
        let back = two.seal(b"back".to_vec()).unwrap();
        assert_eq!(one.open(&mut back.clone()).unwrap(), b"back");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let private = || EphemeralPrivateKey::generate(&ECDH_P256, &SystemRandom::new()).unwrap();
        for wrong in [&[][..], &[4; 65], &[0; 64]] {
            assert!(Keys::agree(private(), &[4; 65], wrong, true).is_err());
        }
    }
}
