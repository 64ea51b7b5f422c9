//! One relation to one remote peer, from the first thought of calling it to the last byte: its data and states.
//! The rules are in `attempt`, `glare` and `closing`.

use linkup_proto::signal::{Body, Candidate, Receive};
use linkup_proto::{Error, PeerId, limits};
use serde_json::Value;

use crate::{ConnectionId, TransportId};

/// The machine's own name for a link. Unlike a [`ConnectionId`] it never changes hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(pub(crate) u64);

/// Where a link is.
///
/// ```text
///   ours:    Waiting -> Calling -> Connecting --+
///   theirs:  [Asking ->] Answering -------------+-> Open -> Closing | Leaving
/// ```
#[derive(Debug)]
pub(crate) enum State {
    /// Ours: until there is a registration, and nothing old with that peer is still being flushed.
    Waiting,
    /// Ours: the offer is being made or is under way.
    Calling,
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
    /// The remote's.
    pub(crate) metadata: Option<Value>,
    /// What the remote takes, as it says.
    pub(crate) receive: Option<Receive>,
    pub(crate) transport: Option<TransportId>,
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
            connection,
            also: Vec::new(),
            remote,
            wanted,
            state: State::Waiting,
            session: String::new(),
            kind: Kind::Unknown,
            metadata: None,
            receive: None,
            transport: None,
            local: Local::default(),
            addresses: Addresses::default(),
            question: None,
            missed: false,
            accepted: false,
            retried: false,
            pathless: None,
        }
    }

    pub(crate) fn is_attempt(&self) -> bool {
        !matches!(self.state, State::Open | State::Closing | State::Leaving { .. })
    }

    /// Whether it is the one that a new call concerns: there is at most one of these for a remote.
    pub(crate) fn is_current(&self) -> bool {
        !matches!(self.state, State::Closing | State::Leaving { .. })
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
        matches!(self.state, State::Connecting | State::Answering | State::Open)
    }
}
