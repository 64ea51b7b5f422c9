//! One relation to one remote peer, from the first thought of calling it to the last byte: its data and states.
//! The rules are in `attempt`, `glare` and `closing`.

use linkup_proto::signal::{Body, Candidate, Receive};
use linkup_proto::{Error, PeerId, PublicKey, limits};
use serde_json::Value;

use crate::identity::Digest;
use crate::{ConnectionId, TransportId};

/// The machine's own name for a link. Unlike a [`ConnectionId`] it never changes hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(pub(crate) u64);

/// Where a link is.
///
/// ```text
///   ours:    Waiting -> Calling -> [Judging ->] Connecting --+
///   theirs:  [Asking ->] Answering --------------------------+-> Open -> Closing | Leaving
///                                                                Open <-> Resuming
/// ```
#[derive(Debug)]
pub(crate) enum State {
    /// Ours: until there is a registration, and nothing old with that peer is still being flushed.
    Waiting,
    /// Ours: the offer is being made or is under way.
    Calling,
    /// Ours: answered; the application thinks about the login of who answered.
    Judging {
        /// The answer.
        sdp: String,
    },
    /// Ours: answered, the transport is coming up.
    Connecting,
    /// Theirs: the application thinks about it. Nothing has left this machine.
    Asking {
        /// The caller's description.
        sdp: String,
    },
    /// Theirs: accepted, the answer is being made or is under way.
    Answering,
    /// Messages flow.
    Open,
    /// The transport is silent or gone: [`Link::next`] is to take its place.
    Resuming {
        /// How far that is.
        phase: Phase,
        /// It was closed here: that goes on with the new transport.
        closing: bool,
    },
    /// Closed here; the transport delivers the rest.
    Closing,
    /// Closed by the remote; what it sent before is still on its way to us.
    Leaving {
        /// What the application will hear.
        error: Option<Error>,
        /// The transport is gone already, and the remote has not said why.
        cut: bool,
    },
}

/// How far the transport is that a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// There is none: no broker, a pause, or the caller's turn.
    Waiting,
    /// Ours: the offer is being made or is under way.
    Calling,
    /// Ours: answered.
    Connecting,
    /// Theirs: the answer is being made or is under way.
    Answering,
}

/// How the messages of an open connection get to the remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Direct,
    /// Over a TURN server.
    Turn,
    Broker,
}

/// What the remote is, as far as its signals have told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unknown,
    /// A plain simple-peer client: gets no `linkup` member and never a bye.
    Plain,
    Linkup,
}

/// What we say to the remote during an attempt.
#[derive(Debug, Default)]
pub(crate) struct Local {
    /// The application changes the description at the moment.
    pub(crate) transforming: bool,
    /// The description and then the candidates, in the order of sending. Kept until the link is open: a broker
    /// that restarts forgets what it was to deliver.
    pub(crate) said: Vec<Body>,
    /// How many of these were handed to the broker's socket.
    pub(crate) passed: usize,
    /// Candidates that came before the description was ready.
    pub(crate) held: Vec<Candidate>,
}

/// The remote's candidates for one attempt.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    seen: Vec<Candidate>,
    count: usize,
}

impl Addresses {
    /// Takes a candidate; false where it is to be passed over: known, empty, or one too many.
    pub(crate) fn take(&mut self, candidate: &Candidate) -> bool {
        let wanted = !candidate.candidate.is_empty()
            && self.count < limits::MAX_REMOTE_CANDIDATES
            && !self.seen.contains(candidate);
        if wanted {
            self.count += 1;
            self.seen.push(candidate.clone());
        }
        wanted
    }

    pub(crate) fn seen(&self) -> &[Candidate] {
        &self.seen
    }

    /// Frees what is no longer needed once the link is open. The count stays: the bound is per attempt.
    pub(crate) fn forget(&mut self) {
        self.seen = Vec::new();
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    /// The application's name for it.
    pub(crate) connection: ConnectionId,
    /// More `Connect`s to the same peer, made while this one was under way.
    pub(crate) also: Vec<ConnectionId>,
    pub(crate) remote: PeerId,
    /// Whether somebody here asked for it: then its failure is reported, and it does not count as incoming.
    pub(crate) wanted: bool,
    pub(crate) state: State,
    /// The name of the attempt that the signals carry. Empty while waiting.
    pub(crate) session: String,
    pub(crate) kind: Kind,
    /// The key that the remote must have: the application knows it, or the id says it.
    pub(crate) pinned: Option<PublicKey>,
    /// The one that it has shown in this session: what others sign is not the remote's.
    pub(crate) identity: Option<PublicKey>,
    /// Its ID token.
    pub(crate) login: Option<String>,
    /// The first offer of this session, ours or the remote's: a bye names it, so that it is about this connection.
    pub(crate) first: Option<Digest>,
    /// The last offer that was made here, and the last one that was heard.
    pub(crate) offered: Option<Digest>,
    pub(crate) heard: Option<Digest>,
    /// Our last word that we need another transport.
    pub(crate) asked: Option<Digest>,
    /// The remote's.
    pub(crate) metadata: Option<Value>,
    /// What the remote takes, as it says.
    pub(crate) receive: Option<Receive>,
    pub(crate) transport: Option<TransportId>,
    /// The one that is to take its place.
    pub(crate) next: Option<TransportId>,
    /// How many transports came before the newest one.
    pub(crate) number: u32,
    /// We made the first one: then we make the others, too.
    pub(crate) caller: bool,
    /// The newest transport goes over the broker.
    pub(crate) by_relay: bool,
    /// The newest transport may use no TURN server.
    pub(crate) direct: bool,
    /// What the transport that carries messages uses.
    pub(crate) way: Way,
    /// Which transport it is that carries messages.
    pub(crate) carried: u32,
    /// Transports that have been tried since the last one was lost.
    pub(crate) tries: u32,
    /// How often a better way was looked for since then.
    pub(crate) looks: u32,
    /// It is only looked for a better way: nobody is told.
    pub(crate) quiet: bool,
    /// It was silent, and is heard again.
    pub(crate) audible: bool,
    /// Why the last transport ended.
    pub(crate) lost: Option<Error>,
    /// The registration through which a signal of the remote came last.
    pub(crate) heard_in: u32,
    /// How often the broker has said that the remote is not registered.
    pub(crate) missing: u32,
    pub(crate) local: Local,
    pub(crate) addresses: Addresses,
    /// The request to the broker, whether the remote is there.
    pub(crate) question: Option<String>,
    /// The broker did not know the remote when it was asked, so our offer went nowhere.
    pub(crate) missed: bool,
    /// It was accepted, and waits for ICE servers.
    pub(crate) accepted: bool,
    /// The remote's side of our call was ended once, and we called again.
    pub(crate) retried: bool,
    /// No path was found at the first attempt, and a second one is under way.
    pub(crate) pathless: Option<Error>,
}

impl Link {
    pub(crate) fn new(connection: ConnectionId, remote: PeerId, wanted: bool) -> Self {
        Self {
            pinned: PublicKey::of_id(&remote),
            connection,
            also: Vec::new(),
            remote,
            wanted,
            state: State::Waiting,
            session: String::new(),
            kind: Kind::Unknown,
            identity: None,
            login: None,
            first: None,
            offered: None,
            heard: None,
            asked: None,
            metadata: None,
            receive: None,
            transport: None,
            next: None,
            number: 0,
            caller: false,
            by_relay: false,
            direct: false,
            way: Way::Direct,
            carried: 0,
            tries: 0,
            looks: 0,
            quiet: false,
            audible: false,
            lost: None,
            heard_in: 0,
            missing: 0,
            local: Local::default(),
            addresses: Addresses::default(),
            question: None,
            missed: false,
            accepted: false,
            retried: false,
            pathless: None,
        }
    }

    /// The key that what the remote says must be signed with, as far as it is known.
    pub(crate) fn expected(&self) -> Option<PublicKey> {
        self.identity.or(self.pinned)
    }

    pub(crate) fn is_attempt(&self) -> bool {
        !matches!(self.state, State::Open | State::Resuming { .. } | State::Closing | State::Leaving { .. })
    }

    /// What the remote has cut, and is closed here, too, does not come back.
    pub(crate) fn stay_away(&mut self) {
        if let State::Leaving { cut, .. } = &mut self.state {
            *cut = false;
        }
    }

    /// Whether it was closed here, and is not over.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.state, State::Closing | State::Resuming { closing: true, .. })
    }

    /// Whether another transport may take the place of the one that it has.
    pub(crate) fn can_resume(&self) -> bool {
        self.kind == Kind::Linkup && self.receive.is_some_and(|receive| receive.resume)
    }

    /// Whether a transport may go over the broker.
    pub(crate) fn can_relay(&self) -> bool {
        self.can_resume() && self.receive.is_some_and(|receive| receive.relay)
    }

    /// Whether a transport is coming up: that of an attempt, or the next one of a connection.
    pub(crate) fn is_negotiating(&self) -> bool {
        self.is_attempt() || matches!(self.state, State::Resuming { .. })
    }

    /// What the newest transport uses, as far as is known before it says so.
    pub(crate) fn newest_way(&self) -> Way {
        if self.by_relay { Way::Broker } else { Way::Direct }
    }

    /// The transport that signals are about.
    pub(crate) fn newest(&self) -> Option<TransportId> {
        self.next.or(self.transport)
    }

    /// Whether it is the one that a new call concerns: there is at most one of these for a remote.
    pub(crate) fn is_current(&self) -> bool {
        !self.is_closing() && !matches!(self.state, State::Leaving { .. })
    }

    /// Whether the application has heard of it and waits for its end.
    pub(crate) fn is_known(&self) -> bool {
        self.wanted || !self.is_attempt()
    }

    /// Whether our offer may be at the remote.
    pub(crate) fn has_called(&self) -> bool {
        self.local.passed > 0
    }

    /// Whether the transport can take the remote's candidates.
    pub(crate) fn knows_remote_description(&self) -> bool {
        match self.state {
            State::Connecting | State::Answering | State::Open => true,
            State::Resuming { phase, .. } => matches!(phase, Phase::Connecting | Phase::Answering),
            _ => false,
        }
    }
}
