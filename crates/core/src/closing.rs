//! Open connections and every end: of an attempt, of a connection, of the peer.

use std::time::{Duration, Instant};

use linkup_proto::signal::{Body, Receive};
use linkup_proto::{Error, ErrorCode};

use crate::io::Timer;
use crate::link::{Key, Kind, Local, Phase, State};
use crate::peer::{CLOSE_GRACE, Peer, peer_closed};
use crate::{ConnectionId, Event, Token, TransportCommand};

/// How long the words of a remote that has cut the connection may take through the broker.
const WORDS: Duration = Duration::from_millis(300);

impl Peer {
    pub(crate) fn handle_open(&mut self, now: Instant, key: Key) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let Some(transport) = link.transport.filter(|_| matches!(link.state, State::Connecting | State::Answering))
        else {
            return;
        };
        let caller = matches!(link.state, State::Connecting);
        let remote = link.remote.clone();
        for other in self.others(key, &remote) {
            self.replace(now, other);
        }
        let Some(link) = self.links.get_mut(&key) else { return };
        link.state = State::Open;
        link.caller = caller;
        link.way = link.newest_way();
        link.local = Local::default();
        link.addresses.forget();
        let connection = link.connection;
        self.io.timers.clear_link(key);
        self.io.event(Event::Open {
            connection,
            remote: link.remote.clone(),
            incoming: !link.wanted,
            metadata: link.metadata.take(),
            identity: link.identity,
            linkup: (link.kind == Kind::Linkup).then(|| link.receive.unwrap_or(Receive::UNKNOWN)),
            caller,
        });
        self.io.transport(transport, TransportCommand::Start { connection });
        for other in std::mem::take(&mut link.also) {
            self.by_connection.remove(&other);
            self.io.event(Event::Joined { connection: other, existing: connection });
        }
        self.note_path(now, key);
    }

    /// The transport says that the remote closed it in order.
    pub(crate) fn handle_remote_close(&mut self, now: Instant, key: Key) {
        let Some(link) = self.links.get_mut(&key) else { return };
        match &mut link.state {
            State::Open | State::Resuming { closing: false, .. } => self.end(now, key, None, None),
            State::Leaving { error, .. } => {
                let error = error.take();
                self.end(now, key, error, None);
            }
            // Our own close says how it ended.
            State::Closing | State::Resuming { closing: true, .. } => {}
            _ => {
                // Perhaps it does not like the path, or has given up a call of its own: it says so by the broker, which is slower.
                let may_come = link.wanted && link.kind == Kind::Linkup;
                let message = format!("{:?} closed the connection before it was open", link.remote);
                if !may_come || !self.call_once_more(now, key) {
                    self.give_up(now, key, Error::new(ErrorCode::ConnectionClosed, message));
                }
            }
        }
    }

    /// The transport is gone without the remote's last word. The remote may have something to say about it.
    pub(crate) fn handle_cut(&mut self, now: Instant, key: Key) {
        let Some(link) = self.links.get_mut(&key) else { return };
        // The remote has moved over, or is about to.
        if let State::Resuming { phase, .. } = link.state {
            self.stop_transport(key);
            if phase == Phase::Waiting {
                self.be_loud(now, key);
            }
            return;
        }
        if !matches!(link.state, State::Open) {
            return self.handle_remote_close(now, key);
        }
        let message = format!("{:?} is gone without a last word", link.remote);
        link.state = State::Leaving { error: Some(Error::new(ErrorCode::ConnectionLost, message)), cut: true };
        self.io.timers.set(Timer::Link(key), now, WORDS);
    }

    /// The transport is broken.
    pub(crate) fn handle_failure(&mut self, now: Instant, key: Key, error: Error) {
        let Some(link) = self.links.get_mut(&key) else { return };
        match &mut link.state {
            State::Open => {
                // How a transport breaks says nothing to an application; that the remote broke the protocol does.
                let code = if error.code == ErrorCode::Protocol { error.code } else { ErrorCode::ConnectionLost };
                self.give_up(now, key, Error { code, ..error });
            }
            State::Resuming { .. } if error.code != ErrorCode::Protocol => {
                self.stop_transport(key);
                self.be_loud(now, key);
            }
            State::Resuming { closing: false, .. } => self.give_up(now, key, error),
            State::Closing | State::Resuming { .. } => {
                self.end(now, key, Some(error), Some((ErrorCode::ConnectionLost, "")));
            }
            State::Leaving { error, .. } => {
                let error = error.take();
                self.end(now, key, error, None);
            }
            _ => {
                if !link.wanted && error.code == ErrorCode::Protocol {
                    let remote = Some(link.remote.clone());
                    self.io.event(Event::Error { remote, error: error.clone() });
                }
                let (remote, session, first) = (link.remote.clone(), link.session.clone(), link.first);
                if self.look_for_another_path(now, key, &error) {
                    let body = Body::Bye { code: error.code, reason: String::new() };
                    return self.send_bye(&remote, &session, Kind::Linkup, body, first);
                }
                self.give_up(now, key, error);
            }
        }
    }

    /// The transport has delivered what it could.
    pub(crate) fn handle_finished(&mut self, now: Instant, key: Key, error: Option<Error>) {
        let Some(link) = self.links.get_mut(&key).filter(|link| link.is_closing()) else { return };
        // It is gone by itself.
        if let Some(transport) = link.transport.take() {
            self.by_transport.remove(&transport);
        }
        // The remote shall not take for an end in order what has lost it messages.
        let code = if error.is_some() { ErrorCode::ConnectionLost } else { ErrorCode::ConnectionClosed };
        self.end(now, key, error, Some((code, "")));
    }

    /// The time of an attempt or of a close is over.
    pub(crate) fn handle_deadline(&mut self, now: Instant, key: Key) {
        let Some(link) = self.links.get_mut(&key) else { return };
        match &mut link.state {
            State::Open | State::Resuming { closing: false, .. } => {}
            State::Closing | State::Resuming { .. } => {
                let message = format!("{:?} did not confirm the close", link.remote);
                let error = Error::new(ErrorCode::CloseTimeout, message);
                self.end(now, key, Some(error), Some((ErrorCode::ConnectionLost, "")));
            }
            State::Leaving { error, .. } => {
                let error = error.take();
                self.end(now, key, error, None);
            }
            _ if link.wanted => {
                let within = self.config.timeouts.connect;
                let so_far = match link.state {
                    State::Waiting => "the call did not begin",
                    State::Calling => "it did not answer",
                    _ => "it answered, and no channel has opened",
                };
                let message = format!("no connection to {:?} within {within:?}: {so_far}", link.remote);
                let late = || Error::new(ErrorCode::ConnectTimeout, message);
                let error = link.pathless.take().unwrap_or_else(late);
                self.give_up(now, key, error);
            }
            // The caller's time is over, too.
            _ => self.end(now, key, None, None),
        }
    }

    pub(crate) fn close(&mut self, now: Instant, connection: ConnectionId, error: Option<Error>) {
        let Some(key) = self.by_connection.get(&connection).copied() else { return };
        let Some(link) = self.links.get_mut(&key) else { return };
        match (&link.state, error) {
            (State::Open | State::Resuming { closing: false, .. }, None) => self.flush(now, key),
            (State::Closing | State::Resuming { .. }, None) => {}
            (State::Leaving { .. }, None) => link.stay_away(),
            (State::Open | State::Resuming { .. } | State::Closing | State::Leaving { .. }, Some(error)) => {
                self.cut(now, key, error);
            }
            (_, error) => {
                let error = error.unwrap_or_else(|| {
                    Error::new(ErrorCode::ConnectionClosed, "the connection was closed before it was open")
                });
                if link.connection == connection && link.also.is_empty() {
                    return self.cut(now, key, error);
                }
                // Others wait for the same attempt: it goes on for them.
                if link.connection == connection {
                    link.connection = link.also.remove(0);
                } else {
                    link.also.retain(|other| *other != connection);
                }
                self.by_connection.remove(&connection);
                self.io.event(Event::Closed { connection, error: Some(error) });
            }
        }
    }

    /// Ends a link at once; the remote hears the application's words.
    fn cut(&mut self, now: Instant, key: Key, error: Error) {
        let reason = error.message.clone();
        let code = error.code;
        self.end(now, key, Some(error), Some((code, &reason)));
    }

    /// Closes an open connection in order.
    fn flush(&mut self, now: Instant, key: Key) {
        let Some(link) = self.links.get_mut(&key) else { return };
        match &mut link.state {
            // Where another transport is in time, it is told then.
            State::Resuming { closing, .. } => *closing = true,
            state => *state = State::Closing,
        }
        self.io.timers.set(Timer::Link(key), now, self.config.timeouts.close.saturating_add(CLOSE_GRACE));
        if let Some(transport) = link.transport {
            self.io.transport(transport, TransportCommand::Close);
        }
    }

    /// The end of every link: the transport vanishes, the remote hears `bye` where it would understand it, and the
    /// application hears `error` where it knows of the link.
    pub(crate) fn end(&mut self, now: Instant, key: Key, error: Option<Error>, bye: Option<(ErrorCode, &str)>) {
        self.stop_transport(key);
        self.stop_next(key);
        let Some(link) = self.remove(key) else { return };
        if matches!(link.state, State::Resuming { .. }) {
            self.calm_down();
        }
        tracing::debug!(own = %self.config.id, remote = %link.remote, ?error, "the end of a link");
        if let Some((code, reason)) = bye {
            let body = Body::Bye { code, reason: reason.to_owned() };
            self.send_bye(&link.remote, &link.session, link.kind, body, link.first);
        }
        if link.is_known() {
            for connection in std::iter::once(link.connection).chain(link.also.iter().copied()) {
                self.io.event(Event::Closed { connection, error: error.clone() });
            }
        }
        if self.closing {
            if link.is_closing() && self.close_error.is_none() {
                self.close_error = error;
            }
            self.finish_if_done();
        } else if let Some(next) = self.current(&link.remote)
            && matches!(self.links.get(&next), Some(next) if matches!(next.state, State::Waiting))
        {
            self.start(now, next);
        }
    }

    /// Closes everything. Each link has a deadline of its own, none later than `timeouts.close` and its grace.
    pub(crate) fn close_peer(&mut self, now: Instant) {
        if std::mem::replace(&mut self.closing, true) {
            return;
        }
        if !self.registration.is_registered() {
            self.registration.stop(&mut self.io);
        }
        let tokens: Vec<Token> = self.finds.keys().copied().collect();
        for token in tokens {
            self.settle(token, Err(peer_closed()));
        }
        let keys: Vec<Key> = self.links.keys().copied().collect();
        for key in keys {
            match self.links.get_mut(&key) {
                Some(link) if link.is_attempt() => self.give_up(now, key, peer_closed()),
                Some(link) if matches!(link.state, State::Open | State::Resuming { closing: false, .. }) => {
                    self.flush(now, key);
                }
                Some(link) => link.stay_away(),
                None => {}
            }
        }
        self.finish_if_done();
    }
}
