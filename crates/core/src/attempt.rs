//! From the wish for a connection to an open transport: our own calls, and what both sides of an attempt share.
//!
//! What the remote says is read in `signaling`; which of two calls counts is decided in `glare`.

use std::time::{Duration, Instant};

use linkup_proto::broker::Request;
use linkup_proto::signal::{Body, Candidate};
use linkup_proto::{Error, ErrorCode, PeerId, PublicKey};

use crate::io::Timer;
use crate::link::{Addresses, Key, Kind, Link, Local, Phase, State};
use crate::peer::{Peer, Question, peer_closed};
use crate::{ConnectionId, Event, RELAY_DESCRIPTION, TransportCommand};

/// How often a peer that may be on its way back to the broker is asked for.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// How often an attempt that is not through says everything again. A signal is lost where the broker, or the socket
/// that it was to leave by, dies at that moment, and nobody says so.
pub(crate) const REPEAT_AFTER: Duration = Duration::from_secs(2);

impl Peer {
    pub(crate) fn connect(&mut self, now: Instant, connection: ConnectionId, to: PeerId, pinned: Option<PublicKey>) {
        // A name in use again would be the driver's mistake; two meanings of one name would be worse.
        if self.by_connection.contains_key(&connection) {
            return;
        }
        let refusal = if self.closing {
            Some(peer_closed())
        } else if to == self.config.id {
            Some(Error::new(ErrorCode::ConnectSelf, "a peer cannot connect to itself"))
        } else if let Some(key) = self.current(&to) {
            return self.join(now, key, connection, pinned);
        } else if self.links.len() >= self.config.max_connections && !self.evict_caller(now) {
            let limit = self.config.max_connections;
            let message = format!("this peer has {limit} connections, its limit: close some, or raise the limit");
            Some(Error::new(ErrorCode::Denied, message))
        } else {
            None
        };
        if let Some(error) = refusal {
            self.io.event(Event::Closed { connection, error: Some(error) });
            return;
        }
        let mut link = Link::new(connection, to, true);
        link.pinned = pinned.or(link.pinned);
        let key = self.insert(link);
        self.start(now, key);
    }

    /// One more `Connect` to a peer with which there is something already.
    fn join(&mut self, now: Instant, key: Key, connection: ConnectionId, pinned: Option<PublicKey>) {
        let Some(link) = self.links.get_mut(&key) else { return };
        // One without a key has another one than that, too.
        let known = if link.is_attempt() { link.expected() } else { link.identity };
        if pinned.is_some() && known != pinned && (known.is_some() || !link.is_attempt()) {
            let error = Error::new(ErrorCode::IdentityMismatch, format!("{:?} has another key", link.remote));
            self.io.event(Event::Closed { connection, error: Some(error) });
            return;
        }
        if !link.is_attempt() {
            let existing = link.connection;
            self.io.event(Event::Joined { connection, existing });
            return;
        }
        if link.identity.is_none() {
            link.pinned = link.pinned.or(pinned);
        }
        self.by_connection.insert(connection, key);
        if link.wanted {
            link.also.push(connection);
            return;
        }
        // The remote was faster: its attempt becomes ours, under our name. Calling is accepting.
        self.by_connection.remove(&link.connection);
        link.connection = connection;
        link.wanted = true;
        let judged = link.login.is_some();
        self.io.timers.set(Timer::Link(key), now, self.config.timeouts.connect);
        if judged {
            self.ask(key);
        } else {
            self.accept(key);
        }
    }

    /// Makes room for a call of our own: strangers' attempts must not keep us from calling.
    fn evict_caller(&mut self, now: Instant) -> bool {
        let Some(key) = self.links.iter().find(|(_, link)| !link.is_known()).map(|(key, _)| *key) else { return false };
        self.end(now, key, None, Some((ErrorCode::Denied, "too many connections")));
        true
    }

    /// Calls, as soon as it can be done.
    pub(crate) fn start(&mut self, now: Instant, key: Key) {
        let Some(link) = self.links.get(&key) else { return };
        if !self.registration.is_registered() {
            if self.registration.was_registered() {
                self.io.timers.set_once(Timer::Found(key), now, self.config.timeouts.broker);
            }
            return;
        }
        self.io.timers.set_once(Timer::Link(key), now, self.config.timeouts.connect);
        if self.waits_for_ice {
            return;
        }
        // A new offer ends what the remote has of us: first it gets what `close()` promised to deliver.
        let others = self.by_remote.get(&link.remote).into_iter().flatten();
        if others.filter_map(|key| self.links.get(key)).any(Link::is_closing) {
            return;
        }
        let session = self.io.session_name();
        if let Some(link) = self.links.get_mut(&key) {
            link.session = session;
            link.state = State::Calling;
        }
        let by_relay = self.links.get(&key).is_some_and(|link| link.by_relay);
        let offer = self.offer(by_relay);
        self.start_transport(key, offer);
        self.ask_whether_there(now, key);
    }

    /// Begins again with a call of our own, after the attempt of the remote that took its place came to nothing.
    pub(crate) fn call_again(&mut self, now: Instant, key: Key) {
        self.stop_transport(key);
        self.stop_asking(key);
        let Some(link) = self.links.get_mut(&key) else { return };
        link.state = State::Waiting;
        link.session.clear();
        link.kind = Kind::Unknown;
        link.identity = None;
        link.login = None;
        link.metadata = None;
        link.receive = None;
        link.local = Local::default();
        link.addresses = Addresses::default();
        self.start(now, key);
    }

    /// The same, but only once: the remote may have given up nothing but a call of its own, or may mean it. False: it was.
    pub(crate) fn call_once_more(&mut self, now: Instant, key: Key) -> bool {
        let Some(link) = self.links.get_mut(&key).filter(|link| !link.retried) else { return false };
        link.retried = true;
        self.call_again(now, key);
        true
    }

    /// The broker is back: goes on with what needs it, and says again what it may have lost.
    pub(crate) fn broker_is_back(&mut self, now: Instant, key: Key) {
        let Some(link) = self.links.get(&key) else { return };
        match link.state {
            State::Waiting => self.start(now, key),
            State::Calling => {
                self.ask_whether_there(now, key);
                self.repeat(key);
            }
            State::Judging { .. } | State::Connecting | State::Answering => self.repeat(key),
            State::Resuming { phase: Phase::Waiting, .. } => self.renew(now, key),
            State::Resuming { .. } => self.repeat(key),
            _ => {}
        }
    }

    /// Asks the broker whether the called peer is registered.
    pub(crate) fn ask_whether_there(&mut self, now: Instant, key: Key) {
        let Some(link) = self.links.get(&key) else { return };
        let is_asked = link.question.is_some();
        if is_asked || !self.registration.is_registered() || !matches!(link.state, State::Calling) {
            return;
        }
        let request = Request::Find { id: link.remote.clone() };
        let question = self.request(request, Question::Found(key));
        if let Some(link) = self.links.get_mut(&key) {
            link.question = Some(question);
        }
        self.io.timers.set_once(Timer::Found(key), now, self.config.timeouts.broker);
    }

    /// Whether the called peer is there no longer matters, or is known.
    pub(crate) fn stop_asking(&mut self, key: Key) {
        if let Some(question) = self.links.get_mut(&key).and_then(|link| link.question.take()) {
            self.questions.remove(&question);
        }
        self.io.timers.clear(Timer::Found(key));
        self.io.timers.clear(Timer::FindAgain(key));
    }

    pub(crate) fn handle_found(&mut self, now: Instant, key: Key, result: Result<bool, Error>) {
        let Some(link) = self.links.get_mut(&key) else { return };
        link.question = None;
        if !matches!(link.state, State::Calling) {
            return;
        }
        self.io.timers.clear(Timer::Found(key));
        match result {
            Ok(true) => {
                if std::mem::take(&mut link.missed) {
                    self.repeat(key);
                }
            }
            Ok(false) if self.registration.others_may_return(now) => {
                link.missed = true;
                self.io.timers.set(Timer::FindAgain(key), now, ASK_AGAIN_AFTER);
            }
            Ok(false) => {
                let message = format!("nobody is registered as {:?}", link.remote);
                self.give_up(now, key, Error::new(ErrorCode::PeerNotFound, message));
            }
            Err(error) => self.give_up(now, key, error),
        }
    }

    /// Takes a caller's offer: the transport comes to be.
    pub(crate) fn accept(&mut self, key: Key) {
        let Some(link) = self.links.get_mut(&key) else { return };
        if !matches!(link.state, State::Asking { .. }) {
            return;
        }
        link.accepted = self.waits_for_ice;
        if link.accepted {
            return;
        }
        let linkup = link.kind == Kind::Linkup;
        if let State::Asking { sdp } = std::mem::replace(&mut link.state, State::Answering) {
            link.by_relay = sdp.starts_with(RELAY_DESCRIPTION);
            let answer = self.answer_to(sdp, linkup);
            self.start_transport(key, answer);
            self.hand_candidates(key);
        }
    }

    /// Hands on the remote's candidates that came before the transport could take them.
    pub(crate) fn hand_candidates(&mut self, key: Key) {
        let Some(link) = self.links.get(&key) else { return };
        let Some(transport) = link.newest() else { return };
        for candidate in link.addresses.seen() {
            self.io.transport(transport, TransportCommand::AddCandidate(candidate.clone()));
        }
    }

    pub(crate) fn handle_description(&mut self, now: Instant, key: Key, sdp: String) {
        let Some(link) = self.links.get_mut(&key) else { return };
        if !link.local.said.is_empty() || link.local.transforming {
            return;
        }
        match link.newest() {
            Some(transport) if self.config.transforms && !sdp.starts_with(RELAY_DESCRIPTION) => {
                link.local.transforming = true;
                self.io.event(Event::Transform { transport, sdp });
            }
            _ => self.describe(now, key, sdp),
        }
    }

    /// Our description is ready to leave, and with it the candidates that were faster.
    pub(crate) fn describe(&mut self, now: Instant, key: Key, sdp: String) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let body = match link.state {
            State::Calling | State::Resuming { phase: Phase::Calling, .. } => Body::Offer { sdp },
            State::Answering | State::Resuming { phase: Phase::Answering, .. } => Body::Answer { sdp },
            _ => return,
        };
        let held = std::mem::take(&mut link.local.held);
        link.local.said.push(body);
        link.local.said.extend(held.into_iter().map(Body::Candidate));
        self.io.timers.set(Timer::Repeat(key), now, REPEAT_AFTER);
        self.pass_on(key);
    }

    pub(crate) fn handle_local_candidate(&mut self, key: Key, candidate: Candidate) {
        let Some(link) = self.links.get_mut(&key) else { return };
        if link.local.said.is_empty() {
            link.local.held.push(candidate);
        } else {
            link.local.said.push(Body::Candidate(candidate));
            self.pass_on(key);
        }
    }

    /// Sends what has not been sent yet.
    fn pass_on(&mut self, key: Key) {
        if !self.registration.is_registered() {
            return;
        }
        let Some(link) = self.links.get_mut(&key) else { return };
        let bodies: Vec<Body> = link.local.said[link.local.passed..].to_vec();
        link.local.passed = link.local.said.len();
        let (remote, session, number, kind) = (link.remote.clone(), link.session.clone(), link.number, link.kind);
        for body in bodies {
            self.send_signal(&remote, &session, number, kind, body);
        }
    }

    pub(crate) fn handle_repeat(&mut self, now: Instant, key: Key) {
        match self.links.get(&key) {
            Some(Link { state: State::Resuming { phase: Phase::Waiting, .. }, .. }) => self.renew(now, key),
            Some(link) if link.is_negotiating() => {
                self.io.timers.set(Timer::Repeat(key), now, REPEAT_AFTER);
                self.repeat(key);
            }
            _ => {}
        }
    }

    /// Says everything again: the remote may have missed it. A linkup peer knows what it has heard already; a plain
    /// client would not.
    pub(crate) fn repeat(&mut self, key: Key) {
        let Some(link) = self.links.get_mut(&key).filter(|_| self.registration.is_registered()) else { return };
        if link.kind != Kind::Plain {
            // An offer that is answered stays answered: again, it would be a new call to a peer that has lost this one.
            let answered = matches!(
                link.state,
                State::Judging { .. } | State::Connecting | State::Resuming { phase: Phase::Connecting, .. }
            );
            link.local.passed = link.local.passed.min(usize::from(answered));
        }
        self.pass_on(key);
    }

    /// No path to the remote was found. Where there is as much time left as has passed, we call once more, with fresh
    /// sockets: browsers hide their addresses behind names of mDNS, which may be known too late for the first attempt.
    /// False: it is over.
    pub(crate) fn look_for_another_path(&mut self, now: Instant, key: Key, error: &Error) -> bool {
        if error.code == ErrorCode::IceFailed && self.call_over_broker(now, key) {
            return true;
        }
        let left = self.io.timers.left(Timer::Link(key), now);
        let Some(link) = self.links.get_mut(&key) else { return false };
        let may = error.code == ErrorCode::IceFailed
            && link.is_attempt()
            && link.wanted
            && link.kind == Kind::Linkup
            && link.pathless.is_none()
            && left >= self.config.timeouts.connect / 2;
        if may {
            link.pathless = Some(error.clone());
            self.call_again(now, key);
        }
        may
    }

    /// Our attempt, or the remote's, has failed: everybody who knows of it hears why.
    pub(crate) fn give_up(&mut self, now: Instant, key: Key, error: Error) {
        let code = error.code;
        self.end(now, key, Some(error), Some((code, "")));
    }
}
