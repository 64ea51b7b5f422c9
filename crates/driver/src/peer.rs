//! The handle of a Peer.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, PoisonError};

use linkup_core::wire::Budget;
use linkup_core::{Command, Config, ConnectionId, Identity, Token, TransportId};
use linkup_proto::frame::WINDOW;
use linkup_proto::signal::Receive;
use linkup_proto::{Error, PeerId, PublicKey};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{mpsc, oneshot, watch};

use crate::actor::{self, Links, Servers, Shared};
use crate::link::Link;
use crate::options::{IceServer, Options, Sink};

/// The names of connections, transports and whatever else needs one.
static IDS: LazyLock<Arc<AtomicU32>> = LazyLock::new(|| Arc::new(AtomicU32::new(1)));

/// Messages of the largest size that may be unfinished at once in all connections of a Peer.
const UNFINISHED: usize = 4;

/// A number that this process has not used before. Never 0.
pub fn next_id() -> u32 {
    // After four thousand million of them the first are long forgotten.
    loop {
        let id = IDS.fetch_add(1, Ordering::Relaxed);
        if id != 0 {
            return id;
        }
    }
}

/// `None` where the system has no random numbers: then nobody can tell who it is.
fn new_seed() -> Option<[u8; 32]> {
    let mut seed = [0; 32];
    SystemRandom::new().fill(&mut seed).ok()?;
    Some(seed)
}

/// A Peer that runs. Dropping it ends it abruptly: connections are cut, nothing more is heard of it.
pub struct Peer {
    commands: mpsc::UnboundedSender<Command>,
    links: Links,
    servers: watch::Receiver<Servers>,
    /// Its end ends the task.
    _alive: oneshot::Sender<()>,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").finish_non_exhaustive()
    }
}

impl Peer {
    /// Starts a Peer on `runtime`. What becomes of it is heard through `sink`.
    pub fn start(runtime: &tokio::runtime::Handle, mut options: Options, sink: Arc<dyn Sink>) -> Self {
        options.assembly = Budget::new(options.limits.message_bytes.saturating_mul(UNFINISHED));
        let config = Config {
            id: options.id.clone(),
            secret: uuid::Uuid::new_v4().to_string(),
            token: options.token.clone(),
            brokers: options.brokers.len().max(1),
            timeouts: options.timeouts,
            ice_from_broker: options.ice_servers.is_none(),
            metadata: options.metadata.clone(),
            identity: options.identity.or_else(new_seed).map(|seed| Arc::new(Identity::from_seed(&seed))),
            login: options.login.clone(),
            verifies: options.verifies,
            receive: Receive {
                message: options.limits.message_bytes as u64,
                window: WINDOW,
                resume: !options.timeouts.resume.is_zero(),
                relay: true,
            },
            trickle: options.trickle,
            asks: options.asks,
            transforms: options.transforms,
            max_connections: options.limits.connections,
            seed: fastrand::u64(..),
            ids: Arc::clone(&IDS),
        };
        let (commands, received) = mpsc::unbounded_channel();
        let (alive, handle) = oneshot::channel();
        let links = Links::default();
        let (named, servers) = watch::channel(options.ice_servers.as_deref().map(Arc::from));
        let shared = Shared { links: Arc::clone(&links), servers: named };
        let task = actor::run(runtime.clone(), Arc::new(options), config, sink, shared, received, handle);
        runtime.spawn(task);
        Self { commands, links, servers, _alive: alive }
    }

    /// Connects to a peer. The outcome is an event of the connection whose name is returned.
    pub fn connect(&self, to: PeerId) -> ConnectionId {
        self.connect_to(to, None)
    }

    /// The same, to a peer that must have that key, where one is given.
    pub fn connect_to(&self, to: PeerId, key: Option<PublicKey>) -> ConnectionId {
        let connection = ConnectionId(next_id());
        self.command(Command::Connect { connection, to, key });
        connection
    }

    /// Closes a connection or gives up an attempt: in order without an error, at once with one.
    pub fn close(&self, connection: ConnectionId, error: Option<Error>) {
        self.command(Command::Close { connection, error });
    }

    /// Asks whether a peer is registered.
    pub fn find(&self, token: Token, id: PeerId) {
        self.command(Command::Find { token, id });
    }

    /// The decision that was asked for: [`Command::Answer`].
    pub fn answer(&self, connection: ConnectionId, verdict: Result<(), Error>) {
        self.command(Command::Answer { connection, verdict });
    }

    /// From now on this is the login that others hear of.
    pub fn set_login(&self, login: Option<String>) {
        self.command(Command::SetLogin { login });
    }

    /// The description that was asked for.
    pub fn transformed(&self, transport: TransportId, sdp: String) {
        self.command(Command::Transformed { transport, sdp });
    }

    /// Closes everything in order.
    pub fn close_peer(&self) {
        self.command(Command::ClosePeer);
    }

    /// The open connection of that name, for sending.
    pub fn link(&self, connection: ConnectionId) -> Option<Arc<Link>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).get(&connection).cloned()
    }

    /// The STUN and TURN servers that are used: waits until the broker has named them, where it is asked; it may be one that
    /// never does. `None` where the Peer ends before.
    pub fn ice_servers(&self) -> impl Future<Output = Option<Arc<[IceServer]>>> + Send + use<> {
        let mut servers = self.servers.clone();
        async move { servers.wait_for(Option::is_some).await.ok()?.clone() }
    }

    fn command(&self, command: Command) {
        // A Peer that is closed has said so.
        let _ = self.commands.send(command);
    }
}
