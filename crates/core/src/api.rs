//! The words between the machine and its driver: what goes in, what comes out.
//!
//! ```text
//!   application --Command--> +------+ --Output::Event-----> application
//!   broker -----BrokerInput-> | Peer | --Output::Broker----> broker's socket
//!   transport --TransportInput| .... | --Output::Transport-> webrtc
//!   clock ------Instant-----> +------+ --poll_timeout------> clock
//! ```

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use linkup_proto::broker::IceServer;
use linkup_proto::signal::{Candidate, Receive};
use linkup_proto::{Error, PeerId, PublicKey};
use serde_json::Value;

use crate::Identity;

/// A connection, as the application knows it: made by the driver, unique in the process, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u32);

/// One WebRTC transport. A connection may go through several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransportId(pub u32);

/// A question of the application that waits for [`Event::Settled`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u32);

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// From `connect()` to a connection that messages can flow through, counted from the registration.
    pub connect: Duration,
    /// Silence after which a remote counts as gone.
    pub idle: Duration,
    /// From `close()` until the remote has everything.
    pub close: Duration,
    /// Until a broker must have answered.
    pub broker: Duration,
    /// From the loss of a connection's transport until there is another one: zero ends the connection at once.
    pub resume: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(15), idle: seconds(10), close: seconds(5), broker: seconds(10), resume: seconds(30) }
    }
}

/// What a Peer is made of.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its id.
    pub id: PeerId,
    /// Proves to the broker that it is us who come back. Random.
    pub secret: String,
    /// Authorisation for the broker.
    pub token: Option<String>,
    /// How many brokers there are to try, in order: at least 1.
    pub brokers: usize,
    /// See [`Timeouts`].
    pub timeouts: Timeouts,
    /// Whether transports use the ICE servers that the broker gives: [`Output::IceServers`].
    pub ice_from_broker: bool,
    /// Sent along with offers and answers.
    pub metadata: Option<Value>,
    /// Its key, which signs what it says. Without one nobody can tell who it is.
    pub identity: Option<Arc<Identity>>,
    /// An ID token that says whose key that is. Sent along with offers and answers.
    pub login: Option<String>,
    /// Whether the application judges the logins of others: [`Event::Request`].
    pub verifies: bool,
    /// What this side takes on a data channel.
    pub receive: Receive,
    /// False: a description waits until it has all its candidates.
    pub trickle: bool,
    /// Whether the application wants to decide about callers: [`Event::Request`].
    pub asks: bool,
    /// Whether the application wants to change descriptions: [`Event::Transform`].
    pub transforms: bool,
    /// How many connections there may be at once.
    pub max_connections: usize,
    /// Seeds the jitter and the session names.
    pub seed: u64,
    /// Gives the names of incoming connections and of transports: unique in the process.
    pub ids: Arc<AtomicU32>,
}

/// What the application wants.
#[derive(Clone, Debug)]
pub enum Command {
    /// Connect to `to`; `connection` is a fresh name for what comes of it. Answered by [`Event::Open`],
    /// [`Event::Joined`] or [`Event::Closed`].
    Connect {
        /// The name of the connection to be.
        connection: ConnectionId,
        /// The peer to call.
        to: PeerId,
        /// Its key, where the application knows that.
        key: Option<PublicKey>,
    },
    /// Close a connection, or give up an attempt. What was accepted is delivered first, unless `error` is given.
    /// Answered by [`Event::Closed`].
    Close {
        /// The connection.
        connection: ConnectionId,
        /// Why, where it is not an orderly close: an abort, a broken protocol. Reaches the remote.
        error: Option<Error>,
    },
    /// Is a peer with that id registered? Answered by [`Event::Settled`] with a boolean.
    Find {
        /// Comes back.
        token: Token,
        /// The id looked for.
        id: PeerId,
    },
    /// The application's decision about [`Event::Request`].
    Answer {
        /// The connection that it is about.
        connection: ConnectionId,
        /// `Err` denies: [`linkup_proto::ErrorCode::Denied`], or `IdentityMismatch` for a login that is wrong. The message goes to the
        /// remote as the reason.
        verdict: Result<(), Error>,
    },
    /// From now on this is the login that goes along with offers and answers.
    SetLogin {
        /// The ID token.
        login: Option<String>,
    },
    /// The description that [`Event::Transform`] asked for.
    Transformed {
        /// The transport that it is about.
        transport: TransportId,
        /// The new description.
        sdp: String,
    },
    /// Close everything. Answered by [`Event::PeerClosed`] when all is flushed and unregistered; nothing follows it.
    ClosePeer,
}

/// How the description of a transport over the broker begins; a public key follows (docs/protocol.md).
pub const RELAY_DESCRIPTION: &str = "relay:";

/// What the broker's socket says.
#[derive(Clone, Debug)]
pub enum BrokerInput {
    /// The socket asked for by [`BrokerCommand::Connect`] is open.
    Connected,
    /// It could not be opened.
    Failed {
        /// Why.
        reason: String,
    },
    /// A text frame came.
    Text(String),
    /// The open socket is gone.
    Closed {
        /// Why.
        reason: String,
    },
}

/// What the broker's socket shall do. At most one socket is open or being opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerCommand {
    /// Open a socket to the broker with this index in the list.
    Connect {
        /// Index in the list of brokers.
        index: usize,
    },
    /// Send a text frame.
    Send(String),
    /// Send what is queued, then close the socket. No [`BrokerInput::Closed`] follows.
    Close,
}

/// What a transport says.
#[derive(Clone, Debug)]
pub enum TransportInput {
    /// The description asked for. Without trickle it already has all candidates.
    Description {
        /// The session description.
        sdp: String,
    },
    /// An address was gathered; only with trickle. An empty `candidate` ends them.
    Candidate(Candidate),
    /// The data channel is open. Messages wait until the machine says [`TransportCommand::Start`].
    Open,
    /// After [`TransportInput::Open`], and again whenever it changes: whether a TURN server is on the way that the
    /// application would leave for a direct one.
    Path {
        /// It is.
        turn: bool,
    },
    /// A packet for the broker.
    Relay {
        /// In Base64.
        data: String,
    },
    /// Open, it has heard nothing for a while: it may be dead, or its network.
    Silent,
    /// It has heard something again.
    Heard,
    /// Open, it has broken, and what was under way is kept for another transport.
    Lost {
        /// Why.
        error: Error,
    },
    /// The remote closed it in order, everything before was delivered.
    Closed,
    /// A linkup remote has ended it without its last word ([`linkup_proto::frame`], FIN).
    Cut,
    /// Setting it up, or keeping it up, failed. `error` says how: [`linkup_proto::ErrorCode::IceFailed`],
    /// `Protocol` for a broken description, `ConnectionLost` once it was open.
    Failed {
        /// What happened.
        error: Error,
    },
    /// [`TransportCommand::Close`] is done: all delivered (`None`), or not.
    Finished {
        /// Why not all was delivered.
        error: Option<Error>,
    },
}

/// What a transport shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportCommand {
    /// Come to be, as the caller: answer with [`TransportInput::Description`].
    Offer,
    /// The same without a TURN server on either side: there is one on the way of the transport that it is to replace. Its
    /// description says so, and who answers it keeps to that.
    OfferDirect,
    /// The same over the broker: its description is not of ICE, and its packets are [`TransportInput::Relay`].
    OfferRelay {
        /// Bytes a second that the broker takes of us.
        rate: u32,
    },
    /// Come to be, as the called: answer with [`TransportInput::Description`].
    Answer {
        /// The caller's description.
        sdp: String,
        /// The caller is a linkup peer: see [`TransportCommand::SetAnswer`].
        linkup: bool,
        /// Bytes a second that the broker takes of us, where the description is one of a transport over the broker.
        rate: Option<u32>,
    },
    /// The called side's description.
    SetAnswer {
        /// The session description.
        sdp: String,
        /// The called side is a linkup peer, so that no frame of it is larger than
        /// [`linkup_proto::frame::MAX_PAYLOAD`] and a header where the channel is reliable.
        linkup: bool,
    },
    /// An address of the remote. One that makes no sense is passed over with [`TransportInput::Failed`] never sent.
    AddCandidate(Candidate),
    /// Hand the messages of this transport to the application, as those of `connection`; where that had another one
    /// before, go on where that one ended.
    Start {
        /// Its connection.
        connection: ConnectionId,
    },
    /// A packet has come over the broker.
    Relayed {
        /// In Base64.
        data: String,
    },
    /// Deliver what was accepted, then close: [`TransportInput::Finished`] follows, within `timeouts.close`.
    Close,
    /// Vanish at once. Nothing follows.
    Abort,
}

/// What the application hears.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The id is registered; again after each re-registration.
    Registered,
    /// No broker at the moment. Once an outage, and again whenever the reason changes.
    Offline {
        /// Why.
        reason: String,
        /// When it will be tried again.
        retry_in: Duration,
    },
    /// Messages can flow.
    Open {
        /// The connection.
        connection: ConnectionId,
        /// The other side.
        remote: PeerId,
        /// True where the remote made it and nobody here asked for it: the application's event `connection`.
        incoming: bool,
        /// What the other side gave as its metadata.
        metadata: Option<Value>,
        /// The key that the other side has proven to have.
        identity: Option<PublicKey>,
        /// What the other side takes, where it is a linkup peer.
        linkup: Option<Receive>,
        /// Whether the data channel was made here.
        caller: bool,
    },
    /// `connection` was asked for while `existing`, to the same peer, had just come up by the remote's doing:
    /// use that one. `connection` is forgotten.
    Joined {
        /// The name that was given with [`Command::Connect`].
        connection: ConnectionId,
        /// The connection that is there; its [`Event::Open`] came before.
        existing: ConnectionId,
    },
    /// A connection or an attempt is over. Once for each, except after [`Event::Joined`]; never for an incoming
    /// attempt that did not open.
    Closed {
        /// The connection.
        connection: ConnectionId,
        /// `None`: closed in order, everything was delivered. Otherwise why the attempt failed or the connection broke.
        error: Option<Error>,
    },
    /// The connection's transport is silent or gone, and another one comes up. What is sent meanwhile waits.
    Reconnecting {
        /// The connection.
        connection: ConnectionId,
    },
    /// Messages flow again; none is lost, and none comes twice.
    Reconnected {
        /// The connection.
        connection: ConnectionId,
    },
    /// A [`Command::Find`] is answered.
    Settled {
        /// Of the question.
        token: Token,
        /// The answer.
        result: Result<bool, Error>,
    },
    /// Somebody wants to connect and the application wants to be asked: [`Command::Answer`]. Forgotten when the
    /// attempt's time is over.
    Request {
        /// The name that the connection will have.
        connection: ConnectionId,
        /// Who.
        from: PeerId,
        /// What the remote gave as its metadata.
        metadata: Option<Value>,
        /// The key that the remote has, as far as one can tell before the connection is open: a signature may be an old one.
        identity: Option<PublicKey>,
        /// The remote's ID token, where the application judges those.
        login: Option<String>,
        /// The application has asked for this connection itself: only the login is to be judged.
        wanted: bool,
    },
    /// A description to change: [`Command::Transformed`].
    Transform {
        /// The transport that it is about.
        transport: TransportId,
        /// The description as made.
        sdp: String,
    },
    /// Something went wrong that no question reports: the id is taken, the broker talks nonsense, a remote's signal
    /// is broken.
    Error {
        /// Which remote, if it was one.
        remote: Option<PeerId>,
        /// What happened.
        error: Error,
    },
    /// [`Command::ClosePeer`] is done. The first failure of a connection's flush, if there was one.
    PeerClosed {
        /// Why not everything was delivered.
        error: Option<Error>,
    },
}

/// What the machine wants done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// For the broker's socket.
    Broker(BrokerCommand),
    /// For a transport. `Offer` and `Answer` make it.
    Transport {
        /// Which.
        transport: TransportId,
        /// What.
        command: TransportCommand,
    },
    /// The broker's ICE servers, for the transports that are made from now on.
    IceServers(Vec<IceServer>),
    /// For the application.
    Event(Event),
}
