//! The machine's face: what goes in is handed to the room that knows the rule; the books of links are kept here.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use linkup_proto::broker::{Frame, Request, Response, Signal as BrokerSignal};
use linkup_proto::signal::{Body, Linkup, Signal};
use linkup_proto::{Error, ErrorCode, PeerId};
use serde_json::Value;

use crate::answered::Answered;
use crate::finds::Find;
use crate::identity::{Digest, digest_of};
use crate::io::{Io, Timer};
use crate::link::{Key, Kind, Link, State};
use crate::registration::{Change, Registration};
use crate::{
    BrokerCommand, BrokerInput, Command, Config, ConnectionId, Event, Output, Token, TransportCommand, TransportId,
    TransportInput,
};

/// What a transport and its driver get on top of `timeouts.close` before they count as stuck.
pub(crate) const CLOSE_GRACE: Duration = Duration::from_secs(1);

/// Who waits for the broker's answer to a request.
pub(crate) enum Question {
    Find(Token),
    Found(Key),
    Gone(Key),
    Ice,
}

/// A peer: an id at a broker, and the connections under that id. See the crate for how to run it.
pub struct Peer {
    pub(crate) config: Config,
    pub(crate) io: Io,
    pub(crate) registration: Registration,
    pub(crate) links: BTreeMap<Key, Link>,
    pub(crate) by_connection: HashMap<ConnectionId, Key>,
    pub(crate) by_transport: HashMap<TransportId, Key>,
    /// Oldest first. The first current one of a remote's is its connection, or is to be; others are closing, or may take its place.
    pub(crate) by_remote: HashMap<PeerId, Vec<Key>>,
    pub(crate) questions: HashMap<String, Question>,
    pub(crate) finds: BTreeMap<Token, Find>,
    next_key: u64,
    /// [`Command::ClosePeer`] was given.
    pub(crate) closing: bool,
    /// The first failure to deliver while closing.
    pub(crate) close_error: Option<Error>,
    closed: bool,
    /// The request for ICE servers that has no answer yet.
    pub(crate) ice_question: Option<String>,
    /// The broker has named its ICE servers once.
    pub(crate) knows_ice: bool,
    /// Attempts wait for them.
    pub(crate) waits_for_ice: bool,
    /// See its module.
    pub(crate) answered: Answered,
    /// Bytes a second that the broker carries for us between two peers that have no other way.
    pub(crate) relay: Option<u32>,
}

impl Peer {
    /// Makes a peer. Its first outputs ask for a broker's socket.
    pub fn new(config: Config, now: Instant) -> Self {
        let mut io = Io::new(config.seed);
        let mut registration = Registration::new(now);
        registration.open(now, &config, &mut io);
        Self {
            config,
            io,
            registration,
            links: BTreeMap::new(),
            by_connection: HashMap::new(),
            by_transport: HashMap::new(),
            by_remote: HashMap::new(),
            questions: HashMap::new(),
            finds: BTreeMap::new(),
            next_key: 0,
            closing: false,
            close_error: None,
            closed: false,
            ice_question: None,
            knows_ice: false,
            waits_for_ice: false,
            answered: Answered::default(),
            relay: None,
        }
    }

    /// The next thing to do. Call it until it says `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.io.out.pop_front()
    }

    /// When [`Peer::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.io.timers.next()
    }

    /// The application wants something.
    pub fn handle_command(&mut self, now: Instant, command: Command) {
        if self.closed {
            return;
        }
        match command {
            Command::Connect { connection, to, key } => self.connect(now, connection, to, key),
            Command::Close { connection, error } => self.close(now, connection, error),
            Command::Find { token, id } => self.find(now, token, id),
            Command::Answer { connection, verdict } => self.decide(now, connection, verdict),
            Command::Transformed { transport, sdp } => {
                if let Some((key, link)) = self.link_of_transport(transport)
                    && std::mem::take(&mut link.local.transforming)
                {
                    self.describe(now, key, sdp);
                }
            }
            Command::SetLogin { login } => self.config.login = login,
            Command::ClosePeer => self.close_peer(now),
        }
    }

    /// The broker's socket says something.
    pub fn handle_broker(&mut self, now: Instant, input: BrokerInput) {
        if self.closed {
            return;
        }
        let change = self.registration.handle_input(now, input, &self.config, &mut self.io);
        self.handle_change(now, change);
    }

    /// A transport says something.
    pub fn handle_transport(&mut self, now: Instant, transport: TransportId, input: TransportInput) {
        let Some((key, link)) = self.link_of_transport(transport) else { return };
        if link.next == Some(transport) {
            return self.handle_next(now, key, input);
        }
        match input {
            TransportInput::Description { sdp } => self.handle_description(now, key, sdp),
            TransportInput::Candidate(candidate) => {
                // Once open, a pair of addresses works.
                if link.is_attempt() {
                    self.handle_own_candidate(key, candidate);
                }
            }
            TransportInput::Relay { data } => self.handle_relay(key, false, data),
            TransportInput::Silent => self.handle_silence(now, key),
            TransportInput::Heard => self.handle_heard(now, key),
            TransportInput::Lost { error } => self.handle_lost(now, key, error),
            TransportInput::Open => self.handle_open(now, key),
            TransportInput::Path { turn } => self.handle_turn(now, key, turn),
            TransportInput::Closed => self.handle_remote_close(now, key),
            TransportInput::Cut => self.handle_cut(now, key),
            TransportInput::Failed { error } => self.handle_failure(now, key, error),
            TransportInput::Finished { error } => self.handle_finished(now, key, error),
        }
    }

    /// The time that [`Peer::poll_timeout`] said has come.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.io.timers.pop(now) {
            match timer {
                Timer::Session => {
                    let change = self.registration.handle_timeout(now, &self.config, &mut self.io);
                    self.handle_change(now, change);
                }
                Timer::Link(key) => self.handle_deadline(now, key),
                Timer::Found(key) => {
                    let error = self.registration.no_answer(&self.config);
                    self.give_up(now, key, error);
                }
                Timer::FindAgain(key) => self.ask_whether_there(now, key),
                Timer::Ice => self.handle_ice_timeout(now),
                Timer::Repeat(key) => self.handle_repeat(now, key),
                Timer::Resume(key) => self.handle_resume_deadline(now, key),
                Timer::Renew(key) => self.handle_renew(now, key),
                Timer::Path(key) => self.handle_path(now, key),
                Timer::Gone(key) => self.look_whether_gone(now, key),
                Timer::Find(token) => {
                    let error = self.registration.no_answer(&self.config);
                    self.settle(token, Err(error));
                }
            }
        }
    }

    fn handle_change(&mut self, now: Instant, change: Change) {
        match change {
            Change::Nothing => {}
            Change::Registering => self.ask_for_ice(),
            Change::Registered => self.handle_registered(now),
            Change::Lost => {
                self.questions.clear();
                self.forget_ice_question();
                for find in self.finds.values_mut() {
                    find.asked = None;
                }
                for link in self.links.values_mut() {
                    link.question = None;
                }
                if self.closing {
                    self.registration.stop(&mut self.io);
                }
                self.lose_relays(now);
            }
            Change::Unreachable(error) | Change::Refused(error) => {
                let told = self.fail_pending(now, &error);
                if self.registration.tell_error_once() && !told {
                    self.io.event(Event::Error { remote: None, error });
                }
            }
            Change::Answer(response) => self.handle_response(now, response),
            Change::Signal { from, signal } => self.handle_signal(now, from, &signal),
        }
    }

    fn handle_response(&mut self, now: Instant, response: Response) {
        // An answer that nobody waits for any more, or that nobody ever asked for.
        let Some(question) = response.id.and_then(|id| self.questions.remove(&id)) else { return };
        let result = match response.error {
            Some(error) => Err(error),
            None => Ok(response.message),
        };
        let found = |result: Result<Value, Error>| result.map(|message| !message.is_null());
        match question {
            Question::Find(token) => self.settle(token, found(result)),
            Question::Found(key) => self.handle_found(now, key, found(result)),
            Question::Gone(key) => self.handle_gone(now, key, found(result)),
            Question::Ice => self.handle_ice(now, result),
        }
    }

    fn handle_registered(&mut self, now: Instant) {
        self.wait_for_ice(now);
        let tokens: Vec<Token> = self.finds.keys().copied().collect();
        for token in tokens {
            self.ask_find(now, token);
        }
        let keys: Vec<Key> = self.links.keys().copied().collect();
        for key in keys {
            self.broker_is_back(now, key);
        }
    }

    /// What waits for the broker hears that there is none. Says whether anything waited.
    fn fail_pending(&mut self, now: Instant, error: &Error) -> bool {
        let tokens: Vec<Token> = self.finds.keys().copied().collect();
        let keys: Vec<Key> =
            self.links.iter().filter(|(key, link)| self.needs_broker(**key, link)).map(|(k, _)| *k).collect();
        let any = !tokens.is_empty() || !keys.is_empty();
        for token in tokens {
            self.settle(token, Err(error.clone()));
        }
        for key in keys {
            self.give_up(now, key, error.clone());
        }
        any
    }

    /// Whether a link can do nothing before the broker has answered.
    fn needs_broker(&self, key: Key, link: &Link) -> bool {
        match link.state {
            State::Waiting => true,
            State::Calling => self.io.timers.is_set(Timer::Found(key)),
            _ => false,
        }
    }

    /// Sends a request to the broker, and notes who waits for its answer.
    pub(crate) fn request(&mut self, request: Request, question: Question) -> String {
        let id = self.io.request_id();
        self.io.broker(BrokerCommand::Send(Frame { id: Some(id.clone()), request }.to_text()));
        self.questions.insert(id.clone(), question);
        id
    }

    /// Sends a signal, where there is a registration: the broker passes on nobody else's.
    pub(crate) fn send_signal(&mut self, to: &PeerId, session: &str, transport: u32, kind: Kind, body: Body) {
        self.send_about(to, session, transport, kind, body, None);
    }

    /// Says that a session is over. `about` is the first offer of that session; where we know nothing of it, the words that are
    /// answered.
    pub(crate) fn send_bye(&mut self, to: &PeerId, session: &str, kind: Kind, body: Body, about: Option<Digest>) {
        if kind == Kind::Linkup {
            self.send_about(to, session, 0, kind, body, about);
        }
    }

    fn send_about(
        &mut self,
        to: &PeerId,
        session: &str,
        transport: u32,
        kind: Kind,
        body: Body,
        about: Option<Digest>,
    ) {
        if !self.registration.is_registered() {
            return;
        }
        let describes = transport == 0 && matches!(body, Body::Offer { .. } | Body::Answer { .. });
        let relays = matches!(body, Body::Relay { .. });
        let (offers, asks) = (matches!(body, Body::Offer { .. }), matches!(body, Body::Resume));
        let answers = matches!(body, Body::Answer { .. });
        let key = self.link_of_session(to, session);
        let link = key.and_then(|key| self.links.get_mut(&key));
        let identity = self.config.identity.as_ref().filter(|_| kind != Kind::Plain && !relays);
        let heard = link.as_ref().and_then(|link| link.heard).filter(|_| answers);
        let linkup = (kind != Kind::Plain).then(|| Linkup {
            transport,
            metadata: self.config.metadata.clone().filter(|_| describes),
            receive: describes.then_some(self.config.receive),
            key: identity.map(|identity| identity.public()),
            login: self.config.login.clone().filter(|_| describes),
            offer: about.or(heard),
            ..Linkup::new(session.to_owned())
        });
        let mut signal = Signal { linkup, body }.to_text();
        if let Some(link) = link {
            let said = || Some(digest_of(&signal));
            match (offers, transport) {
                (true, 0) => (link.offered, link.first) = (said(), said()),
                (true, _) => link.offered = said(),
                _ if asks => link.asked = said(),
                _ => {}
            }
        }
        if let Some(identity) = identity {
            signal = identity.sign(&self.config.id, to, &signal);
        }
        let signal = BrokerSignal { from: Some(self.config.id.clone()), to: to.clone(), signal };
        self.io.broker(BrokerCommand::Send(Frame { id: None, request: Request::Signal(signal) }.to_text()));
    }

    pub(crate) fn next_id(&self) -> u32 {
        // Only uniqueness matters, not the order between peers.
        self.config.ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_transport(&self) -> TransportId {
        TransportId(self.next_id())
    }

    pub(crate) fn link_of_transport(&mut self, transport: TransportId) -> Option<(Key, &mut Link)> {
        let key = *self.by_transport.get(&transport)?;
        self.links.get_mut(&key).map(|link| (key, link))
    }

    /// The link with `remote` that a new call concerns.
    pub(crate) fn current(&self, remote: &PeerId) -> Option<Key> {
        let keys = self.by_remote.get(remote)?;
        keys.iter().copied().find(|key| self.links.get(key).is_some_and(Link::is_current))
    }

    /// The other links with `remote` that a new call could concern.
    pub(crate) fn others(&self, key: Key, remote: &PeerId) -> Vec<Key> {
        let keys = self.by_remote.get(remote).into_iter().flatten().copied();
        keys.filter(|other| *other != key && self.links.get(other).is_some_and(Link::is_current)).collect()
    }

    /// The link that a linkup peer's signal is about.
    pub(crate) fn link_of_session(&self, remote: &PeerId, session: &str) -> Option<Key> {
        let keys = self.by_remote.get(remote)?;
        keys.iter().copied().find(|key| self.links.get(key).is_some_and(|link| link.session == session))
    }

    pub(crate) fn insert(&mut self, link: Link) -> Key {
        let key = Key(self.next_key);
        self.next_key += 1;
        self.by_connection.insert(link.connection, key);
        self.by_remote.entry(link.remote.clone()).or_default().push(key);
        self.links.insert(key, link);
        key
    }

    /// Takes a link out of all books.
    pub(crate) fn remove(&mut self, key: Key) -> Option<Link> {
        let link = self.links.remove(&key)?;
        if link.heard.is_some() && link.identity.is_some() {
            self.answered.add(link.remote.clone(), link.session.clone());
        }
        for connection in link.also.iter().chain([&link.connection]) {
            self.by_connection.remove(connection);
        }
        for transport in [link.transport, link.next].into_iter().flatten() {
            self.by_transport.remove(&transport);
        }
        if let Some(keys) = self.by_remote.get_mut(&link.remote) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.by_remote.remove(&link.remote);
            }
        }
        if let Some(question) = &link.question {
            self.questions.remove(question);
        }
        self.io.timers.clear_link(key);
        Some(link)
    }

    /// Gives a link a transport.
    pub(crate) fn start_transport(&mut self, key: Key, command: TransportCommand) {
        let transport = self.next_transport();
        let Some(link) = self.links.get_mut(&key) else { return };
        link.transport = Some(transport);
        self.by_transport.insert(transport, key);
        self.io.transport(transport, command);
    }

    /// Takes a link's transport away.
    pub(crate) fn stop_transport(&mut self, key: Key) {
        let Some(transport) = self.links.get_mut(&key).and_then(|link| link.transport.take()) else { return };
        self.by_transport.remove(&transport);
        self.io.transport(transport, TransportCommand::Abort);
    }

    /// The last step of closing the peer, once no link is left.
    pub(crate) fn finish_if_done(&mut self) {
        if !self.closing || self.closed || !self.links.is_empty() {
            return;
        }
        self.registration.stop(&mut self.io);
        self.io.timers.clear_all();
        self.closed = true;
        self.io.event(Event::PeerClosed { error: self.close_error.take() });
    }
}

pub(crate) fn peer_closed() -> Error {
    Error::new(ErrorCode::PeerClosed, "the peer is closed")
}
