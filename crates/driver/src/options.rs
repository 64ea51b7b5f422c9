//! What a Peer is told when it starts, and the two doors back to its owner: [`Sink`] and [`Keeper`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use linkup_core::wire::{Budget, Message};
use linkup_core::{ConnectionId, Event, Timeouts, Token};
use linkup_proto::PeerId;
use serde_json::Value;

/// What a Peer is made of.
#[derive(Clone)]
pub struct Options {
    /// Its id.
    pub id: PeerId,
    /// Addresses of brokers, `ws://` or `wss://`, tried in order. At least one.
    pub brokers: Vec<String>,
    /// Makes sure, before each attempt, that somebody serves the broker's address.
    pub keeper: Option<Arc<dyn Keeper>>,
    /// Authorisation for the broker.
    pub token: Option<String>,
    /// Sent along with offers and answers: any JSON.
    pub metadata: Option<Value>,
    /// The seed of the Peer's key (RFC 8032, section 5.1.5): 32 random bytes, secret. Absent, it has a new one.
    pub identity: Option<[u8; 32]>,
    /// An ID token that says whose key that is.
    pub login: Option<String>,
    /// Whether the application judges the logins of others: [`Event::Request`].
    pub verifies: bool,
    /// Whether the application decides about callers: [`Event::Request`].
    pub asks: bool,
    /// Whether the application changes descriptions: [`Event::Transform`].
    pub transforms: bool,
    /// False: a description waits until it has all its candidates.
    pub trickle: bool,
    /// How long it waits for them.
    pub ice_complete_timeout: Duration,
    /// STUN and TURN servers.
    pub ice_servers: Option<Vec<IceServer>>,
    /// Only paths through a TURN server.
    pub relay_only: bool,
    /// The label of the data channel; random where absent, as simple-peer has it.
    pub channel_name: Option<String>,
    /// How the data channel carries messages.
    pub channel: ChannelOptions,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How much things may take.
    pub limits: Limits,
    /// For messages that have not arrived completely; made from the limits when the Peer starts.
    pub(crate) assembly: Budget,
}

impl Options {
    /// The defaults.
    pub fn new(id: PeerId) -> Self {
        Self {
            id,
            brokers: vec!["ws://localhost:5000".to_owned()],
            keeper: None,
            token: None,
            metadata: None,
            identity: None,
            login: None,
            verifies: false,
            asks: false,
            transforms: false,
            trickle: true,
            ice_complete_timeout: Duration::from_secs(5),
            ice_servers: None,
            relay_only: false,
            channel_name: None,
            channel: ChannelOptions::default(),
            timeouts: Timeouts::default(),
            limits: Limits::default(),
            assembly: Budget::new(0),
        }
    }
}

impl fmt::Debug for Options {
    // By hand: tokens and credentials must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("id", &self.id).field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

/// One STUN or TURN server.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct IceServer {
    /// `stun:host:port`, `turn:host:port?transport=udp` or `tcp`, `turns:host:port?transport=tcp`. Others are passed over.
    pub urls: Vec<String>,
    /// For TURN.
    pub username: String,
    /// For TURN.
    pub credential: String,
}

impl From<linkup_proto::broker::IceServer> for IceServer {
    fn from(server: linkup_proto::broker::IceServer) -> Self {
        let linkup_proto::broker::IceServer { urls, username, credential } = server;
        Self { urls, username: username.unwrap_or_default(), credential: credential.unwrap_or_default() }
    }
}

impl fmt::Debug for IceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// How the data channel carries messages: `RTCDataChannelInit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelOptions {
    /// Messages arrive in the order of sending.
    pub ordered: bool,
    /// A message is given up after so many retransmissions.
    pub max_retransmits: Option<u16>,
    /// A message is given up after so many milliseconds.
    pub max_packet_life_time: Option<u16>,
    /// The name of a subprotocol.
    pub protocol: String,
    /// The id of a channel that both sides make, so that nothing announces it.
    pub negotiated: Option<u16>,
}

impl Default for ChannelOptions {
    fn default() -> Self {
        Self {
            ordered: true,
            max_retransmits: None,
            max_packet_life_time: None,
            protocol: String::new(),
            negotiated: None,
        }
    }
}

impl ChannelOptions {
    /// Whether every message arrives, in order: then there can be frames that count them.
    pub(crate) fn is_reliable(&self) -> bool {
        self.ordered && self.max_retransmits.is_none() && self.max_packet_life_time.is_none()
    }
}

/// How much a Peer takes and keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message of the application.
    pub message_bytes: usize,
    /// Bytes that one connection keeps until the remote has them.
    pub buffered_bytes: usize,
    /// Bytes in a connection's queue above which `send` says [`crate::Sent::Full`].
    pub high_water_mark: usize,
    /// Connections at once.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { message_bytes: 64 << 20, buffered_bytes: 64 << 20, high_water_mark: 1 << 20, connections: 10_000 }
    }
}

/// Makes sure that somebody serves the broker's address, before each attempt to reach it: the embedded broker.
pub trait Keeper: Send + Sync + 'static {
    /// Returns when there is nothing more that it can do about it.
    fn ensure(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// To the remote.
    Sending,
    /// From the remote.
    Receiving,
}

/// Where a Peer's events go. Called from the runtime's threads; must not block.
pub trait Sink: Send + Sync + 'static {
    /// Something happened.
    fn event(&self, event: Event);
    /// Takes a message; false: full, [`Sink::room`] comes before the next one.
    fn message(&self, connection: ConnectionId, message: Message) -> bool;
    /// Returns when there is room for messages.
    fn room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
    /// The send buffer of a connection is under its mark again.
    fn drained(&self, connection: ConnectionId);
    /// Whether the application has streams. Without, those of the remote are reset.
    fn has_streams(&self) -> bool {
        false
    }
    /// Takes a frame of a stream, as it came; false: full, [`Sink::room`] comes before the next one.
    fn stream(&self, _connection: ConnectionId, _frame: Bytes) -> bool {
        true
    }
    /// So few frames of streams wait that there is room for more.
    fn streams_drained(&self, _connection: ConnectionId) {}
    /// The remote has the message that was sent with this token.
    fn arrived(&self, _token: Token) {}
    /// Of a message in pieces so many bytes are through, of so many. Not called for each piece.
    fn progress(&self, _connection: ConnectionId, _direction: Direction, _done: u32, _total: u32) {}
}
