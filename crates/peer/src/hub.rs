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

/// So many that have closed before anybody took them are kept for what they have said.
const LEFT: usize = 64;

/// Who waits for what becomes of a call.
type Caller = oneshot::Sender<Result<Connection, Error>>;

#[derive(Default)]
struct Tables {
    calls: HashMap<ConnectionId, Caller>,
    open: HashMap<ConnectionId, Connection>,
    /// Those that called, and that nobody has taken yet: no more than there may be connections, and [`LEFT`] that have closed
    /// since and have left messages.
    callers: VecDeque<Connection>,
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

/// The broker does not want us, and trying again does not help.
fn is_refusal(error: &Error) -> bool {
    matches!(error.code, ErrorCode::IdTaken | ErrorCode::NotAuthorized)
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
        let named = self.tables();
        let peer = Arc::new(start(Arc::clone(self) as Arc<dyn Sink>));
        // There is one.
        let _ = self.peer.set(Arc::downgrade(&peer));
        drop(named);
        peer
    }

    fn peer(&self) -> Option<Arc<linkup_driver::Peer>> {
        if self.peer.get().is_none() {
            // It has just been started, and its starter holds this until it is named.
            drop(self.tables());
        }
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
        let mut tables = self.tables();
        if tables.over {
            let _ = told.send(Err(peer_closed()));
        } else {
            tables.receipts.insert(token, (connection, told));
        }
        (token, arrived)
    }

    /// Nobody waits for that call any more. False: its outcome is there already.
    pub(crate) fn give_up(&self, connection: ConnectionId) -> bool {
        self.tables().calls.remove(&connection).is_some()
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
                    return Some(connection);
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
            tables.callers.push_back(made.clone());
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
            self.note_refusal(&why());
            let _ = caller.send(Err(why()));
        }
        for (_, (_, receipt)) in tables.receipts.extract_if(|_, (of, _)| *of == connection) {
            let _ = receipt.send(Err(why()));
        }
        let open = tables.open.remove(&connection);
        if let Some(open) = &open {
            // Before it is looked who has ended.
            open.inbox().end(error.clone());
        }
        tables.callers.retain(|caller| caller.key() != connection || caller.inbox().has_unread());
        while tables.callers.iter().filter(|caller| caller.inbox().ended().is_some()).count() > LEFT {
            let oldest = tables.callers.iter().position(|caller| caller.inbox().ended().is_some());
            oldest.map(|at| tables.callers.remove(at));
        }
    }

    /// What a call or a question hears of the id, no event says again.
    fn note_refusal(&self, error: &Error) {
        if is_refusal(error) && *self.state.borrow() != State::Registered {
            self.refused.send_replace(Some(error.clone()));
        }
    }

    fn decide(&self, connection: ConnectionId, request: Request) {
        let (Some(accept), Some(peer)) = (self.hooks.accept.clone(), self.peer()) else { return };
        let peer = Arc::downgrade(&peer);
        self.runtime.spawn(async move {
            let mut answer = Answer { peer, connection, verdict: Err(String::new()) };
            answer.verdict = accept(request).await;
        });
    }

    fn inbox(&self, connection: ConnectionId) -> Option<(Arc<Inbox>, Arc<Link>)> {
        let tables = self.tables();
        let open = tables.open.get(&connection)?;
        Some((Arc::clone(open.inbox()), Arc::clone(open.link())))
    }
}

/// The application's decision, told when it is dropped: one that panics denies.
struct Answer {
    peer: Weak<linkup_driver::Peer>,
    connection: ConnectionId,
    verdict: Result<(), String>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        let verdict = std::mem::replace(&mut self.verdict, Ok(()));
        if let Some(peer) = self.peer.upgrade() {
            peer.answer(self.connection, verdict.map_err(|reason| Error::new(ErrorCode::Denied, reason)));
        }
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
                if let Err(error) = &result {
                    self.note_refusal(error);
                }
                if let Some(question) = self.tables().questions.remove(&token) {
                    let _ = question.send(result);
                }
            }
            Event::Request { connection, from, metadata, identity, .. } => {
                self.decide(connection, Request { from: name(from), metadata, public_key: identity });
            }
            Event::Error { remote, error } => {
                let refused = is_refusal(&error) && remote.is_none();
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
