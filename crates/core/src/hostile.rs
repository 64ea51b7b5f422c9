//! Whatever a broker, a remote, a transport or an application does, in whatever order: the machine does not panic,
//! its books agree with each other, and none of them grows beyond its bound.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use linkup_proto::broker::{Frame, Request};
use linkup_proto::signal::{Body, Candidate, Receive};
use linkup_proto::{Error, ErrorCode, PeerId, limits};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::identity::{Digest, Signed};
use crate::link::{Link, State};
use crate::*;

const MAX_CONNECTIONS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    /// Any text from the broker.
    Text(String),
    /// A well-formed notification with anything as its signal.
    Signal {
        from: usize,
        signal: Value,
    },
    /// A signal that makes sense by itself; the session may be one of ours.
    Fitting {
        from: usize,
        kind: u8,
        session: usize,
    },
    /// An answer to one of the requests that were made.
    Answer {
        which: usize,
        message: Value,
        error: Value,
    },
    Socket(u8),
    Command {
        kind: u8,
        connection: u32,
        peer: usize,
    },
    Transport {
        which: usize,
        kind: u8,
    },
    Wait(u16),
}

fn peer_id(index: usize) -> PeerId {
    PeerId::new(["ann", "me", "zoe", "zz", "z z", "ü"][index % 6]).unwrap()
}

/// JSON made of the protocol's own words, so that it gets past the first look.
fn value() -> impl Strategy<Value = Value> {
    let word = prop::sample::select(vec![
        "offer",
        "answer",
        "bye",
        "candidate",
        "signal",
        "me",
        "zoe",
        "ours",
        "ERR_DENIED",
        "v=0",
        "",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        word.prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "type",
        "sdp",
        "candidate",
        "linkup",
        "v",
        "session",
        "bye",
        "code",
        "reason",
        "id",
        "message",
        "error",
        "from",
        "to",
        "signal",
        "metadata",
        "renegotiate",
        "sdpMid",
        "sdpMLineIndex",
    ]);
    leaf.prop_recursive(4, 32, 8, move |inner| {
        prop_oneof![
            vec((key.clone(), inner.clone()), 0..8).prop_map(|members| {
                let members = members.into_iter().map(|(key, value)| (key.to_owned(), value));
                Value::Object(members.collect::<Map<_, _>>())
            }),
            vec(inner, 0..3).prop_map(Value::from),
        ]
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        1 => prop_oneof![".{0,60}", value().prop_map(|value| value.to_string())].prop_map(Step::Text),
        3 => (0..6usize, value()).prop_map(|(from, signal)| Step::Signal { from, signal }),
        12 => (0..6usize, 0..5u8, 0..8usize).prop_map(|(from, kind, session)| Step::Fitting { from, kind, session }),
        4 => (0..8usize, value(), value()).prop_map(|(which, message, error)| Step::Answer { which, message, error }),
        2 => (0..8u8).prop_map(Step::Socket),
        8 => (0..16u8, 0..12u32, 0..6usize)
            .prop_map(|(kind, connection, peer)| Step::Command { kind, connection, peer }),
        10 => (0..8usize, 0..7u8).prop_map(|(which, kind)| Step::Transport { which, kind }),
        4 => any::<u16>().prop_map(Step::Wait),
    ]
}

/// One peer in a hostile world, and what it said.
struct Victim {
    peer: Peer,
    now: Instant,
    requests: Vec<String>,
    sessions: Vec<String>,
    /// The last offer of each of them.
    offers: HashMap<String, Digest>,
    made: Vec<TransportId>,
    alive: HashSet<TransportId>,
    connections: Vec<ConnectionId>,
    closed: bool,
}

impl Victim {
    fn new(asks: bool, transforms: bool) -> Self {
        let config = Config {
            id: peer_id(1),
            secret: "secret".into(),
            token: None,
            brokers: 2,
            timeouts: Timeouts::default(),
            metadata: None,
            identity: Some(Arc::new(Identity::from_seed(&[1; 32]))),
            login: None,
            verifies: asks,
            receive: Receive::UNKNOWN,
            ice_from_broker: true,
            trickle: true,
            asks,
            transforms,
            max_connections: MAX_CONNECTIONS,
            seed: 1,
            ids: Arc::new(AtomicU32::new(100)),
        };
        let now = Instant::now();
        let peer = Peer::new(config, now);
        let (requests, sessions, made, offers) = (Vec::new(), Vec::new(), Vec::new(), HashMap::new());
        let (alive, connections) = (HashSet::new(), Vec::new());
        let mut victim = Self { peer, now, requests, sessions, offers, made, alive, connections, closed: false };
        victim.look();
        victim
    }

    fn text(&mut self, text: String) {
        self.peer.handle_broker(self.now, BrokerInput::Text(text));
    }

    fn signal(&mut self, from: usize, signal: &Value) {
        let mut text = signal.to_string();
        // Half of them have keys, and some of what they say is not theirs.
        if from.is_multiple_of(2) && signal["linkup"].is_object() {
            let mut signal = signal.clone();
            let key = Identity::from_seed(&[if self.made.len() % 8 == 7 { 99 } else { from as u8 }; 32]);
            let session = signal["linkup"]["session"].as_str().unwrap_or_default();
            let offer = self.offers.get(session).map(|offer| linkup_proto::key::encode(offer));
            signal["linkup"]["key"] = key.public().to_string().into();
            signal["linkup"]["offer"] = offer.into();
            if self.made.len().is_multiple_of(3) {
                signal["linkup"]["login"] = "token".into();
            }
            text = key.sign(&peer_id(from), &peer_id(1), &signal.to_string());
        }
        let from = peer_id(from);
        let message = json!({"type": "signal", "from": from.as_str(), "signal": text});
        self.text(json!({ "message": message }).to_string());
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Text(text) => self.text(text),
            Step::Signal { from, signal } => self.signal(from, &signal),
            Step::Fitting { from, kind, session } => {
                let ours = self.sessions.iter().rev().nth(session % 4).cloned();
                let session = ours.filter(|_| session < 4).unwrap_or_else(|| format!("theirs {session}"));
                let mut signal = match kind {
                    0 => json!({"type": "offer", "sdp": format!("o=- {session}")}),
                    1 => json!({"type": "answer", "sdp": "v=0"}),
                    2 => json!({"candidate": {"candidate": format!("number {}", self.made.len())}}),
                    _ => json!({"type": "bye"}),
                };
                if kind != 4 || session.len() % 2 == 0 {
                    signal["linkup"] = json!({"v": 1, "session": session});
                }
                if kind == 3 {
                    signal["linkup"]["bye"] = json!({"code": "ERR_CONNECTION_CLOSED", "reason": "x".repeat(3000)});
                }
                self.signal(from, &signal);
            }
            Step::Answer { which, message, error } => {
                let Some(id) = self.requests.iter().rev().nth(which).cloned() else { return };
                let error = if which % 2 == 0 { Value::Null } else { error };
                self.text(json!({"id": id, "message": message, "error": error}).to_string());
            }
            Step::Socket(kind) => {
                let reason = String::from("hostile");
                let input = match kind {
                    0 => BrokerInput::Closed { reason },
                    1 => BrokerInput::Failed { reason },
                    _ => BrokerInput::Connected,
                };
                self.peer.handle_broker(self.now, input);
                if kind > 4 {
                    let last = self.requests.last().cloned();
                    self.text(json!({"id": last, "message": "me", "error": null}).to_string());
                }
            }
            Step::Command { kind, connection, peer } => self.command(kind, connection, peer),
            Step::Transport { which, kind } => {
                let Some(transport) = self.made.iter().rev().nth(which).copied() else { return };
                let candidate = format!("local {which}");
                let error = Error::new(ErrorCode::Protocol, "hostile");
                let input = match kind {
                    0 => TransportInput::Description { sdp: "o=- 1 1".into() },
                    1 => TransportInput::Candidate(Candidate { candidate, mid: None, mline_index: None }),
                    2 | 3 if which.is_multiple_of(5) => TransportInput::Path { turn: which.is_multiple_of(2) },
                    2 | 3 => TransportInput::Open,
                    4 if which % 2 == 0 => TransportInput::Closed,
                    4 => TransportInput::Cut,
                    5 => TransportInput::Failed { error },
                    _ => TransportInput::Finished { error: Some(error).filter(|_| which % 2 == 0) },
                };
                if kind == 6 {
                    // It is gone, whether the machine had asked for that or not.
                    self.alive.remove(&transport);
                }
                self.peer.handle_transport(self.now, transport, input);
            }
            Step::Wait(millis) => {
                self.now += Duration::from_millis(u64::from(millis) / 8);
                self.peer.handle_timeout(self.now);
            }
        }
    }

    fn command(&mut self, kind: u8, connection: u32, peer: usize) {
        let known = self.connections.iter().rev().nth(connection as usize).copied();
        let connection = known.unwrap_or(ConnectionId(connection));
        let error = Error::new(ErrorCode::Aborted, "hostile");
        let command = match kind {
            0 | 1 => Command::Close { connection, error: None },
            2 | 3 => Command::Close { connection, error: Some(error) },
            4 => Command::Find { token: Token(connection.0), id: peer_id(peer) },
            5 | 6 => Command::Answer { connection, verdict: Ok(()) },
            7 => Command::Answer { connection, verdict: Err(Error::new(ErrorCode::Denied, "no")) },
            8 | 9 => {
                let Some(transport) = self.made.last().copied() else { return };
                Command::Transformed { transport, sdp: "changed".into() }
            }
            10 if connection.0 == 11 => Command::ClosePeer,
            _ => Command::Connect { connection: ConnectionId(1000 + connection.0), to: peer_id(peer), key: None },
        };
        self.peer.handle_command(self.now, command);
    }

    /// Reads everything that was said, and checks the books.
    fn look(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.peer.poll_output() {
            outputs += 1;
            assert!(!self.closed, "after PeerClosed: {output:?}");
            match output {
                Output::Broker(BrokerCommand::Send(text)) => {
                    let frame = Frame::parse(&text).expect("our own frames are fine");
                    self.requests.extend(frame.id);
                    if let Request::Signal(signal) = frame.request
                        && let Ok(parsed) = linkup_proto::signal::Signal::parse(&signal.signal)
                        && let Some(linkup) = parsed.linkup
                    {
                        if matches!(parsed.body, Body::Offer { .. }) {
                            self.offers.insert(linkup.session.clone(), Signed::read(&signal.signal).digest());
                        }
                        self.sessions.push(linkup.session);
                    }
                }
                Output::Transport { transport, command } => match command {
                    TransportCommand::Offer
                    | TransportCommand::OfferDirect
                    | TransportCommand::OfferRelay { .. }
                    | TransportCommand::Answer { .. } => {
                        self.made.push(transport);
                        assert!(self.alive.insert(transport), "made twice");
                    }
                    TransportCommand::Abort => {
                        self.alive.remove(&transport);
                    }
                    _ => {}
                },
                Output::Event(Event::Request { connection, .. } | Event::Open { connection, .. }) => {
                    self.connections.push(connection);
                }
                Output::Event(Event::PeerClosed { .. }) => self.closed = true,
                _ => {}
            }
        }
        assert!(outputs < 1000, "{outputs} outputs at once");
        self.check_books();
    }

    fn check_books(&self) {
        let peer = &self.peer;
        // One may be about to take the place of another.
        assert!(peer.links.len() <= MAX_CONNECTIONS + 1);
        assert!(self.alive.len() <= MAX_CONNECTIONS + 1, "{:?}", self.alive);
        let names: usize = peer.links.values().map(|link| 1 + link.also.len()).sum();
        assert_eq!(peer.by_connection.len(), names);
        let transports = peer.links.values().filter(|link| link.transport.is_some()).count();
        assert_eq!(peer.by_transport.len(), transports);
        assert_eq!(peer.by_remote.values().map(Vec::len).sum::<usize>(), peer.links.len());
        assert!(peer.by_remote.values().all(|keys| !keys.is_empty()));
        let asked = peer.links.values().filter(|link| link.question.is_some()).count();
        let asked = asked + peer.finds.values().filter(|find| find.asked.is_some()).count();
        assert_eq!(peer.questions.len(), asked + usize::from(peer.ice_question.is_some()));
        assert!(peer.io.timers.len() <= 2 + peer.finds.len() + 4 * peer.links.len());
        for (key, link) in &peer.links {
            let known = |other: &&Link| other.remote == link.remote && other.is_current() && other.is_known();
            assert!(peer.links.values().filter(known).count() <= 1, "two current links with {}", link.remote);
            assert!(link.addresses.seen().len() <= limits::MAX_REMOTE_CANDIDATES);
            if matches!(link.state, State::Open) {
                assert!(link.local.said.is_empty() && link.local.held.is_empty());
                assert!(!peer.io.timers.is_set(crate::io::Timer::Link(*key)));
            }
            let bounded = matches!(link.state, State::Open)
                || peer.io.timers.is_set(crate::io::Timer::Link(*key))
                || !peer.registration.is_registered();
            assert!(bounded, "{link:?} may last for ever");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn nothing_breaks_the_machine(asks: bool, transforms: bool, registers: bool, steps in vec(step(), 1..120)) {
        let mut victim = Victim::new(asks, transforms);
        if registers {
            victim.perform(Step::Socket(7));
            victim.look();
        }
        for step in steps {
            victim.perform(step);
            victim.look();
        }
        // Within a minute of silence everything that was under way is over.
        for _ in 0..600 {
            victim.perform(Step::Wait(800));
            victim.look();
        }
        assert!(victim.peer.links.values().all(|link| matches!(link.state, State::Open | State::Waiting)));
        victim.peer.handle_command(victim.now, Command::ClosePeer);
        for _ in 0..70 {
            victim.perform(Step::Wait(800));
            victim.look();
        }
        assert!(victim.closed);
        assert_eq!(victim.peer.poll_timeout(), None);
        assert!(victim.alive.is_empty(), "{:?}", victim.alive);
    }
}
