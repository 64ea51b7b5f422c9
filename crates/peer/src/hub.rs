//! Where the events of one Peer go: to whoever waits for a connection, for a message, or for an answer.
//!
//! Every lock here is held for a few lines, and none while another part of linkup is called that could call back.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use linkup_driver::core::{ConnectionId, Event, Token};
use linkup_driver::{Link, Message, Sink};
use linkup_proto::{Error, ErrorCode, PeerId};
use tokio::sync::{Notify, oneshot, watch};

use crate::builder::{Hooks, Request};
use crate::connection::{About, Connection, Inbox};
use crate::peer::State;

/// Who waits for what becomes of a call.
type Caller = oneshot::Sender<Result<Connection, Error>>;

#[derive(Default)]
struct Tables {
    calls: HashMap<ConnectionId, Caller>,
    open: HashMap<ConnectionId, Connection>,
    /// Those that called, and that nobody has taken yet. No more than there may be connections.
    callers: VecDeque<ConnectionId>,
    questions: HashMap<Token, oneshot::Sender<Result<bool, Error>>>,
    receipts: HashMap<Token, (ConnectionId, oneshot::Sender<Result<(), Error>>)>,
    over: bool,
}

pub(crate) struct Hub {
    hooks: Hooks,
    runtime: tokio::runtime::Handle,
    peer: OnceLock<Weak<linkup_driver::Peer>>,
    me: Weak<Self>,
    tables: Mutex<Tables>,
    /// Somebody has called, or nobody will.
    called: Notify,
    state: watch::Sender<State>,
    /// Why it is not registered, where that will not change by itself.
    refused: watch::Sender<Option<Error>>,
    closed: watch::Sender<Option<Option<Error>>>,
}

fn peer_closed() -> Error {
    Error::new(ErrorCode::PeerClosed, "the peer is closed")
}

impl Hub {
    pub(crate) fn new(hooks: Hooks, runtime: tokio::runtime::Handle) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            hooks,
            runtime,
            peer: OnceLock::new(),
            tables: Mutex::default(),
            called: Notify::new(),
            state: watch::Sender::new(State::Connecting),
            refused: watch::Sender::new(None),
            closed: watch::Sender::new(None),
        })
    }

    /// Starts the driver, whose events come here.
    pub(crate) fn start(
        self: &Arc<Self>,
        start: impl FnOnce(Arc<dyn Sink>) -> linkup_driver::Peer,
    ) -> Arc<linkup_driver::Peer> {
        let peer = Arc::new(start(Arc::clone(self) as Arc<dyn Sink>));
        // There is one, and its first connection takes longer than this.
        let _ = self.peer.set(Arc::downgrade(&peer));
        peer
    }

    fn peer(&self) -> Option<Arc<linkup_driver::Peer>> {
        self.peer.get()?.upgrade()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(crate) fn refused(&self) -> watch::Receiver<Option<Error>> {
        self.refused.subscribe()
    }

    pub(crate) fn closed(&self) -> watch::Receiver<Option<Option<Error>>> {
        self.closed.subscribe()
    }

    /// Calls; `call` gives the name of the connection to be. What becomes of it may be there before this returns.
    pub(crate) fn call(
        &self,
        call: impl FnOnce() -> ConnectionId,
    ) -> (ConnectionId, oneshot::Receiver<Result<Connection, Error>>) {
        let (told, outcome) = oneshot::channel();
        let mut tables = self.tables();
        let connection = call();
        if tables.over {
            let _ = told.send(Err(peer_closed()));
        } else {
            tables.calls.insert(connection, told);
        }
        (connection, outcome)
    }

    pub(crate) fn ask(&self, ask: impl FnOnce(Token)) -> oneshot::Receiver<Result<bool, Error>> {
        let (told, answer) = oneshot::channel();
        let token = Token(linkup_driver::next_id());
        let mut tables = self.tables();
        if tables.over {
            let _ = told.send(Err(peer_closed()));
        } else {
            tables.questions.insert(token, told);
            drop(tables);
            ask(token);
        }
        answer
    }

    /// A name for a message whose arrival is waited for.
    pub(crate) fn expect(&self, connection: ConnectionId) -> (Token, oneshot::Receiver<Result<(), Error>>) {
        let (told, arrived) = oneshot::channel();
        let token = Token(linkup_driver::next_id());
        self.tables().receipts.insert(token, (connection, told));
        (token, arrived)
    }

    pub(crate) fn forget(&self, token: Token) {
        self.tables().receipts.remove(&token);
    }

    /// The next one that has called and is still open. None: there will be no more.
    pub(crate) async fn accept(&self) -> Option<Connection> {
        loop {
            let called = self.called.notified();
            tokio::pin!(called);
            called.as_mut().enable();
            {
                let mut tables = self.tables();
                if let Some(connection) = tables.callers.pop_front() {
                    return tables.open.get(&connection).cloned();
                }
                if tables.over {
                    return None;
                }
            }
            called.await;
        }
    }

    pub(crate) fn connections(&self) -> Vec<Connection> {
        self.tables().open.values().cloned().collect()
    }

    /// Nothing follows.
    pub(crate) fn end(&self, error: Option<Error>) {
        let mut tables = self.tables();
        let old = std::mem::replace(&mut *tables, Tables { over: true, ..Tables::default() });
        drop(tables);
        for (_, call) in old.calls {
            let _ = call.send(Err(peer_closed()));
        }
        for (_, question) in old.questions {
            let _ = question.send(Err(peer_closed()));
        }
        for (_, (_, receipt)) in old.receipts {
            let _ = receipt.send(Err(peer_closed()));
        }
        for (_, connection) in old.open {
            connection.inbox().end(Some(peer_closed()));
        }
        self.state.send_replace(State::Closed);
        self.closed.send_replace(Some(error));
        self.called.notify_waiters();
    }

    fn opened(&self, connection: ConnectionId, about: About, incoming: bool) {
        let Some(link) = self.peer().and_then(|peer| peer.link(connection)) else { return };
        let driver = self.peer.get().cloned().unwrap_or_default();
        let made = Connection::new(connection, about, link, driver, self.me.clone());
        let mut tables = self.tables();
        if tables.over {
            return;
        }
        tables.open.insert(connection, made.clone());
        let caller = tables.calls.remove(&connection);
        if incoming {
            tables.callers.push_back(connection);
        }
        drop(tables);
        if let Some(caller) = caller {
            // Who has given up since has said so.
            let _ = caller.send(Ok(made));
        }
        self.called.notify_waiters();
    }

    fn joined(&self, connection: ConnectionId, existing: ConnectionId) {
        let mut tables = self.tables();
        let open = tables.open.get(&existing).cloned();
        if let Some(caller) = tables.calls.remove(&connection) {
            let gone = || Error::new(ErrorCode::ConnectionClosed, "the connection has closed meanwhile");
            let _ = caller.send(open.ok_or_else(gone));
        }
    }

    fn ended(&self, connection: ConnectionId, error: Option<Error>) {
        let mut tables = self.tables();
        let why =
            || error.clone().unwrap_or_else(|| Error::new(ErrorCode::ConnectionClosed, "the connection is closed"));
        if let Some(caller) = tables.calls.remove(&connection) {
            let _ = caller.send(Err(why()));
        }
        let lost: Vec<Token> =
            tables.receipts.iter().filter(|(_, (of, _))| *of == connection).map(|(token, _)| *token).collect();
        for token in lost {
            if let Some((_, receipt)) = tables.receipts.remove(&token) {
                let _ = receipt.send(Err(why()));
            }
        }
        let open = tables.open.remove(&connection);
        tables.callers.retain(|caller| *caller != connection);
        drop(tables);
        if let Some(open) = open {
            open.inbox().end(error);
        }
    }

    fn decide(&self, connection: ConnectionId, request: Request) {
        let (Some(accept), Some(peer)) = (self.hooks.accept.clone(), self.peer.get().cloned()) else { return };
        self.runtime.spawn(async move {
            let verdict = accept(request).await.map_err(|reason| Error::new(ErrorCode::Denied, reason));
            if let Some(peer) = peer.upgrade() {
                peer.answer(connection, verdict);
            }
        });
    }

    fn inbox(&self, connection: ConnectionId) -> Option<(Arc<Inbox>, Arc<Link>)> {
        let tables = self.tables();
        let open = tables.open.get(&connection)?;
        Some((Arc::clone(open.inbox()), Arc::clone(open.link())))
    }
}

fn name(remote: PeerId) -> String {
    remote.as_str().to_owned()
}

impl Sink for Hub {
    fn event(&self, event: Event) {
        match event {
            Event::Registered => {
                self.refused.send_replace(None);
                self.state.send_replace(State::Registered);
            }
            Event::Offline { reason, retry_in } => {
                self.state.send_replace(State::Offline { reason, retry_in });
            }
            Event::Open { connection, remote, incoming, metadata, identity, .. } => {
                let about = About { id: name(remote), metadata, public_key: identity };
                self.opened(connection, about, incoming);
            }
            Event::Joined { connection, existing } => self.joined(connection, existing),
            Event::Closed { connection, error } => self.ended(connection, error),
            Event::Settled { token, result } => {
                if let Some(question) = self.tables().questions.remove(&token) {
                    let _ = question.send(result);
                }
            }
            Event::Request { connection, from, metadata, identity, .. } => {
                self.decide(connection, Request { from: name(from), metadata, public_key: identity });
            }
            Event::Error { remote, error } => {
                let refused = matches!(error.code, ErrorCode::IdTaken | ErrorCode::NotAuthorized) && remote.is_none();
                (self.hooks.error)(error.clone());
                if refused {
                    self.refused.send_replace(Some(error));
                }
            }
            Event::PeerClosed { error } => self.end(error),
            // What is sent meanwhile waits; descriptions are not changed here.
            Event::Reconnecting { .. } | Event::Reconnected { .. } | Event::Transform { .. } => {}
        }
    }

    fn message(&self, connection: ConnectionId, message: Message) -> bool {
        if let Some((inbox, link)) = self.inbox(connection) {
            inbox.push(message, &link);
        }
        // Each connection is slowed down by itself.
        true
    }

    fn room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }

    fn drained(&self, connection: ConnectionId) {
        if let Some((inbox, _)) = self.inbox(connection) {
            inbox.drained();
        }
    }

    fn arrived(&self, token: Token) {
        if let Some((_, receipt)) = self.tables().receipts.remove(&token) {
            let _ = receipt.send(Ok(()));
        }
    }
}
