//! A Peer, as the application has it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use linkup_driver::Options;
use linkup_driver::core::{ConnectionId, Identity};
use linkup_proto::{Error, ErrorCode, PublicKey};

use crate::builder::{Builder, Hooks, id};
use crate::connection::Connection;
use crate::hub::Hub;
use crate::message::Message;

/// How a peer and its broker are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has not been registered yet.
    Connecting,
    /// Others find it by its id.
    Registered,
    /// There is no broker at the moment. Open connections go on; it registers again by itself.
    Offline {
        /// Why.
        reason: String,
        /// When that is tried next.
        retry_in: Duration,
    },
    /// It is closed.
    Closed,
}

/// A peer that others reach by its id. Dropping it ends it abruptly; [`Peer::close`] delivers first.
pub struct Peer {
    driver: Arc<linkup_driver::Peer>,
    hub: Arc<Hub>,
    id: String,
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Gives an attempt up whose future is dropped.
struct Attempt<'a>(&'a Peer, ConnectionId);

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let Self(peer, connection) = self;
        // Where the outcome is there already, others may have the same connection.
        if peer.hub.give_up(*connection) {
            peer.driver.close(*connection, Some(Error::new(ErrorCode::Aborted, "nobody waits for it")));
        }
    }
}

impl Peer {
    /// What a peer with that id is to be made of: 1 to 256 bytes of UTF-8, or `key:` and the key of [`Builder::identity`].
    ///
    /// # Errors
    /// [`ErrorCode::Protocol`] where that is no id.
    pub fn builder(id: &str) -> Result<Builder, Error> {
        Builder::new(id)
    }

    pub(crate) fn start(options: Options, hooks: Hooks) -> Self {
        let runtime = tokio::runtime::Handle::current();
        let id = options.id.as_str().to_owned();
        let hub = Hub::new(hooks, runtime.clone());
        let driver = hub.start(|sink| linkup_driver::Peer::start(&runtime, options, sink));
        Self { driver, hub, id }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How it and its broker are now.
    pub fn state(&self) -> State {
        self.hub.state().borrow().clone()
    }

    /// Waits until it is registered.
    ///
    /// # Errors
    /// [`ErrorCode::IdTaken`], [`ErrorCode::NotAuthorized`]: what trying again does not help against, though it does;
    /// [`ErrorCode::PeerClosed`]. A broker that is not there is waited for.
    pub async fn registered(&self) -> Result<(), Error> {
        let (mut state, mut refused) = (self.hub.state(), self.hub.refused());
        loop {
            match &*state.borrow_and_update() {
                State::Registered => return Ok(()),
                State::Closed => return Err(Error::new(ErrorCode::PeerClosed, "the peer is closed")),
                State::Connecting | State::Offline { .. } => {}
            }
            if let Some(error) = &*refused.borrow_and_update() {
                return Err(error.clone());
            }
            // Both senders live as long as this peer.
            tokio::select! {
                _ = state.changed() => {}
                _ = refused.changed() => {}
            }
        }
    }

    /// Connects to a peer: resolves when messages can flow, with the connection that there is already, if there is one.
    ///
    /// # Errors
    /// [`ErrorCode::PeerNotFound`], [`ErrorCode::Denied`], [`ErrorCode::ConnectTimeout`], [`ErrorCode::IceFailed`],
    /// [`ErrorCode::BrokerUnreachable`], [`ErrorCode::ConnectSelf`], [`ErrorCode::IdentityMismatch`],
    /// [`ErrorCode::PeerClosed`].
    pub async fn connect(&self, to: &str) -> Result<Connection, Error> {
        self.call(to, None).await
    }

    /// The same, to the peer with that key and no other.
    ///
    /// # Errors
    /// As [`Peer::connect`]; [`ErrorCode::IdentityMismatch`] where somebody else has that id.
    pub async fn connect_to_key(&self, to: &str, key: PublicKey) -> Result<Connection, Error> {
        let connection = self.call(to, Some(key)).await?;
        // It may be one that was there before.
        if connection.public_key() != Some(key) {
            return Err(Error::new(ErrorCode::IdentityMismatch, format!("{to:?} has another key")));
        }
        Ok(connection)
    }

    async fn call(&self, to: &str, key: Option<PublicKey>) -> Result<Connection, Error> {
        let to = id(to)?;
        let (connection, outcome) = self.hub.call(|| self.driver.connect_to(to, key));
        let _attempt = Attempt(self, connection);
        outcome.await.unwrap_or_else(|_| Err(Error::new(ErrorCode::PeerClosed, "the peer is closed")))
    }

    /// Connects where needed, then sends.
    ///
    /// # Errors
    /// Those of [`Peer::connect`] and [`Connection::send`].
    pub async fn send(&self, to: &str, message: impl Into<Message>) -> Result<(), Error> {
        self.connect(to).await?.send(message).await
    }

    /// Waits for the next one that calls. `None`: the peer is closed. What it sends waits, and makes it wait, until somebody
    /// reads it. May be dropped and called again without losing anything.
    pub async fn accept(&self) -> Option<Connection> {
        self.hub.accept().await
    }

    /// The open connections, whoever made them.
    pub fn connections(&self) -> Vec<Connection> {
        self.hub.connections()
    }

    /// Whether a peer is registered.
    ///
    /// # Errors
    /// [`ErrorCode::BrokerUnreachable`], [`ErrorCode::PeerClosed`].
    pub async fn find(&self, peer: &str) -> Result<bool, Error> {
        let peer = id(peer)?;
        let answer = self.hub.ask(|token| self.driver.find(token, peer));
        answer.await.unwrap_or_else(|_| Err(Error::new(ErrorCode::PeerClosed, "the peer is closed")))
    }

    /// Delivers what was sent, closes each connection and unregisters.
    ///
    /// # Errors
    /// The first reason why not everything was delivered.
    pub async fn close(self) -> Result<(), Error> {
        let mut closed = self.hub.closed();
        self.driver.close_peer();
        let end = closed.wait_for(Option::is_some).await.ok().and_then(|end| end.clone().flatten());
        end.map_or(Ok(()), Err)
    }

    /// The public half of the key of a seed: what others pin.
    pub fn public_key_of(seed: &[u8; 32]) -> PublicKey {
        Identity::from_seed(seed).public()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.hub.end(None);
    }
}
