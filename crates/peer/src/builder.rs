//! What a Peer is made of.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use linkup_driver::IceServer;
use linkup_driver::Options;
use linkup_proto::limits::MAX_METADATA_BYTES;
use linkup_proto::{Error, ErrorCode, PeerId, PublicKey};
use serde_json::Value;

use crate::peer::Peer;

/// Somebody wants to connect.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Request {
    /// Who says so: the id at the broker.
    pub from: String,
    /// What the caller gave as its metadata.
    pub metadata: Option<Value>,
    /// The caller's key. Only the open connection proves it ([`crate::Connection::public_key`]).
    pub public_key: Option<PublicKey>,
}

type Verdict = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Who decides about callers, and hears of errors.
#[derive(Clone)]
pub(crate) struct Hooks {
    pub(crate) accept: Option<Arc<dyn Fn(Request) -> Verdict + Send + Sync>>,
    pub(crate) error: Arc<dyn Fn(Error) + Send + Sync>,
}

/// Makes a [`Peer`]: [`Peer::builder`].
#[must_use]
pub struct Builder {
    options: Options,
    brokers: Vec<String>,
    hooks: Hooks,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("options", &self.options).finish_non_exhaustive()
    }
}

/// An id as the wires have it.
pub(crate) fn id(text: &str) -> Result<PeerId, Error> {
    PeerId::new(text).map_err(|error| Error::new(ErrorCode::Protocol, error.to_string()))
}

impl Builder {
    pub(crate) fn new(name: &str) -> Result<Self, Error> {
        let error = |error: Error| tracing::warn!(%error, "linkup");
        let hooks = Hooks { accept: None, error: Arc::new(error) };
        Ok(Self { options: Options::new(id(name)?), brokers: Vec::new(), hooks })
    }

    /// A broker, `ws://` or `wss://`; more of them are tried in order. Without one it is `ws://localhost:5000`.
    pub fn broker(mut self, url: &str) -> Self {
        self.brokers.push(url.to_owned());
        self
    }

    /// What the broker asks for where not everybody may register.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.options.token = Some(token.into());
        self
    }

    /// What the other side sees as the connection's metadata: any JSON, up to 16 KiB.
    ///
    /// # Errors
    /// [`ErrorCode::MessageTooLarge`] where it is more.
    pub fn metadata(mut self, metadata: Value) -> Result<Self, Error> {
        if metadata.to_string().len() > MAX_METADATA_BYTES {
            let message = format!("metadata has more than {MAX_METADATA_BYTES} bytes");
            return Err(Error::new(ErrorCode::MessageTooLarge, message));
        }
        self.options.metadata = Some(metadata);
        Ok(self)
    }

    /// The seed of its Ed25519 key (RFC 8032, section 5.1.5): 32 random bytes, secret. Without one it has a new key, by which
    /// nobody knows it again.
    pub fn identity(mut self, seed: [u8; 32]) -> Self {
        self.options.identity = Some(seed);
        self
    }

    /// STUN and TURN servers. Without them they are the broker's.
    pub fn ice_servers(mut self, servers: Vec<IceServer>) -> Self {
        self.options.ice_servers = Some(servers);
        self
    }

    /// How long [`Peer::connect`] may take, from the registration on: 15 s without this.
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.options.timeouts.connect = time;
        self
    }

    /// How long a connection that has lost its way through the network may look for another one: 30 s without this, and none
    /// with zero.
    pub fn resume_timeout(mut self, time: Duration) -> Self {
        self.options.timeouts.resume = time;
        self
    }

    /// How large a message may be that this side takes: 64 MiB without this.
    pub fn message_bytes(mut self, bytes: usize) -> Self {
        self.options.limits.message_bytes = bytes;
        self
    }

    /// Decides about callers, before anything about this peer leaves the machine. The error is the reason that the caller
    /// hears: [`ErrorCode::Denied`]. Without this everybody may connect.
    ///
    /// ```
    /// # use linkup_peer::Peer;
    /// let builder = Peer::builder("bob")?.on_request(|request| async move {
    ///     if request.from.starts_with("team-") { Ok(()) } else { Err("only for the team".to_owned()) }
    /// });
    /// # Ok::<(), linkup_peer::Error>(())
    /// ```
    pub fn on_request<F, V>(mut self, decide: F) -> Self
    where
        F: Fn(Request) -> V + Send + Sync + 'static,
        V: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.options.asks = true;
        self.hooks.accept = Some(Arc::new(move |request| Box::pin(decide(request))));
        self
    }

    /// Hears what no future reports: the id is taken, the broker talks nonsense. Without this it is a warning of `tracing`. Must
    /// not block.
    pub fn on_error(mut self, hear: impl Fn(Error) + Send + Sync + 'static) -> Self {
        self.hooks.error = Arc::new(hear);
        self
    }

    /// Starts it on the tokio runtime of this task, or of [`tokio::runtime::Handle::enter`]. It registers by itself, and again
    /// whenever it has lost its broker: [`Peer::registered`] waits for that.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(mut self) -> Peer {
        if !self.brokers.is_empty() {
            self.options.brokers = self.brokers;
        }
        Peer::start(self.options, self.hooks)
    }
}
