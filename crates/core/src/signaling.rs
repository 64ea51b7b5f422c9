//! What remote peers say through the broker: offers, answers, candidates, byes. All of it may be hostile.

use std::time::{Duration, Instant};

use linkup_proto::signal::{Body, Candidate, Linkup, Receive, Signal, truncate};
use linkup_proto::{Error, ErrorCode, PeerId, limits};
use serde_json::Value;

use crate::glare::{Verdict, judge};
use crate::io::Timer;
use crate::link::{Addresses, Key, Kind, Link, Local, State};
use crate::peer::Peer;
use crate::{ConnectionId, Event, TransportCommand};

/// After a remote's bye: for what it sent before to arrive.
const LEAVE_AFTER: Duration = Duration::from_secs(1);

/// After a remote's word that no path works: for our own transport to say so, with the addresses that were tried.
const SAME_FOUND: Duration = Duration::from_secs(1);

/// A call of a remote peer.
struct Offer {
    session: String,
    kind: Kind,
    metadata: Option<Value>,
    receive: Option<Receive>,
    sdp: String,
}

impl Peer {
    pub(crate) fn handle_signal(&mut self, now: Instant, from: PeerId, text: &str) {
        // We never call ourselves: this is a broker's mistake, or somebody's joke.
        if from == self.config.id {
            return;
        }
        let signal = match Signal::parse(text) {
            Ok(signal) => signal,
            Err(error) => {
                self.io.event(Event::Error { remote: Some(from), error });
                return;
            }
        };
        let remote = from.clone();
        self.take_signal(now, from, signal);
        let heard_in = self.registration.count();
        for key in self.by_remote.get(&remote).into_iter().flatten() {
            if let Some(link) = self.links.get_mut(key) {
                link.heard_in = heard_in;
            }
        }
    }

    fn take_signal(&mut self, now: Instant, from: PeerId, signal: Signal) {
        match (signal.body, signal.linkup) {
            (Body::Relay { data }, Some(linkup)) => self.handle_relayed(&from, &linkup, data),
            (Body::Resume, Some(linkup)) => self.handle_resume(now, from, &linkup),
            (Body::Offer { sdp }, Some(linkup)) if linkup.transport > 0 => {
                self.handle_next_offer(now, from, &linkup, sdp);
            }
            (Body::Answer { sdp }, Some(linkup)) if linkup.transport > 0 => {
                self.handle_next_answer(&from, &linkup, sdp);
            }
            (Body::Offer { sdp }, linkup) => {
                let offer = match linkup {
                    Some(Linkup { session, metadata, receive, .. }) => {
                        Offer { session, kind: Kind::Linkup, metadata, receive, sdp }
                    }
                    None => {
                        let session = plain_session(&sdp);
                        Offer { session, kind: Kind::Plain, metadata: None, receive: None, sdp }
                    }
                };
                self.handle_offer(now, from, offer);
            }
            (Body::Answer { sdp }, linkup) => self.handle_answer(now, from, linkup, sdp),
            (Body::Candidate(candidate), linkup) => self.handle_candidate(&from, linkup, candidate),
            (Body::Bye { code, reason }, Some(linkup)) => {
                if let Some(key) = self.link_of_session(&from, &linkup.session) {
                    self.handle_bye(now, key, code, &reason);
                }
            }
            (Body::Bye { .. } | Body::Relay { .. } | Body::Resume | Body::Ignored, _) => {}
        }
    }

    fn handle_offer(&mut self, now: Instant, from: PeerId, offer: Offer) {
        if self.closing {
            let body = Body::Bye { code: ErrorCode::PeerClosed, reason: String::new() };
            return self.send_bye(&from, &offer.session, offer.kind, body);
        }
        let current = self.current(&from);
        let link = current.and_then(|key| self.links.get(&key));
        let verdict = judge(&self.config.id, &from, &offer.session, link);
        tracing::debug!(own = %self.config.id, %from, ?verdict, "an offer");
        match (verdict, current) {
            (Verdict::Repeated, Some(key)) => {
                // The caller came back to the broker and does not know whether our answer was lost.
                if matches!(self.links.get(&key), Some(link) if matches!(link.state, State::Answering)) {
                    self.repeat(key);
                }
            }
            (Verdict::Ours, Some(key)) => {
                // It may have missed our offer: whoever has it already passes over the second one.
                if let Some(link) = self.links.get_mut(&key).filter(|_| offer.kind == Kind::Linkup) {
                    link.kind = Kind::Linkup;
                    self.repeat(key);
                }
            }
            (Verdict::Theirs, Some(key)) => self.take_over(now, key, offer),
            (Verdict::Anew, Some(key)) => {
                let message = format!("{from:?} began a new connection: it had lost this one");
                let lost = Error::new(ErrorCode::ConnectionLost, message);
                self.end(now, key, Some(lost), None);
                self.be_called(now, from, offer);
            }
            (_, _) => self.be_called(now, from, offer),
        }
    }

    /// A call that nobody here asked for.
    fn be_called(&mut self, now: Instant, from: PeerId, offer: Offer) {
        let callers = self.links.values().filter(|link| !link.is_known()).count();
        if self.links.len() >= self.config.max_connections || callers >= limits::MAX_INCOMING_ATTEMPTS {
            let body = Body::Bye { code: ErrorCode::Denied, reason: "too many connections".into() };
            return self.send_bye(&from, &offer.session, offer.kind, body);
        }
        let connection = ConnectionId(self.next_id());
        let mut link = Link::new(connection, from.clone(), false);
        link.session = offer.session;
        link.kind = offer.kind;
        link.metadata.clone_from(&offer.metadata);
        link.receive = offer.receive;
        link.state = State::Asking { sdp: offer.sdp };
        let key = self.insert(link);
        self.io.timers.set(Timer::Link(key), now, self.config.timeouts.connect);
        if self.config.asks {
            self.io.event(Event::Request { connection, from, metadata: offer.metadata });
        } else {
            self.accept(key);
        }
    }

    /// Answers a call of a peer that we want, too, under the name of our own call.
    fn take_over(&mut self, now: Instant, key: Key, offer: Offer) {
        self.stop_transport(key);
        self.stop_asking(key);
        let Some(link) = self.links.get_mut(&key) else { return };
        link.session = offer.session;
        link.kind = offer.kind;
        link.metadata = offer.metadata;
        link.receive = offer.receive;
        link.local = Local::default();
        link.addresses = Addresses::default();
        link.state = State::Asking { sdp: offer.sdp };
        self.io.timers.set_once(Timer::Link(key), now, self.config.timeouts.connect);
        self.accept(key);
    }

    /// The application's decision about a caller.
    pub(crate) fn decide(&mut self, now: Instant, connection: ConnectionId, verdict: Result<(), String>) {
        let Some(key) = self.by_connection.get(&connection).copied() else { return };
        if !matches!(self.links.get(&key), Some(link) if matches!(link.state, State::Asking { .. })) {
            return;
        }
        match verdict {
            Ok(()) => self.accept(key),
            Err(reason) => self.end(now, key, None, Some((ErrorCode::Denied, &reason))),
        }
    }

    fn handle_answer(&mut self, now: Instant, from: PeerId, linkup: Option<Linkup>, sdp: String) {
        let key = match &linkup {
            Some(linkup) => self.link_of_session(&from, &linkup.session),
            None => self.current(&from),
        };
        let Some((key, link)) = key.and_then(|key| self.links.get_mut(&key).map(|link| (key, link))) else {
            if let Some(linkup) = linkup {
                // We gave that call up before we knew that a bye would be understood: without one the other side
                // would go on, and our next call or its own would wait for an attempt that is dead.
                let body = Body::Bye { code: ErrorCode::ConnectionClosed, reason: String::new() };
                self.send_bye(&from, &linkup.session, Kind::Linkup, body);
            }
            return;
        };
        let Some(transport) = link.transport.filter(|_| matches!(link.state, State::Calling) && link.has_called())
        else {
            return;
        };
        if linkup.is_none() && link.kind == Kind::Linkup {
            return;
        }
        link.state = State::Connecting;
        link.kind = if linkup.is_some() { Kind::Linkup } else { Kind::Plain };
        link.receive = linkup.as_ref().and_then(|linkup| linkup.receive);
        link.metadata = linkup.and_then(|linkup| linkup.metadata);
        let linkup = link.kind == Kind::Linkup;
        let missed = std::mem::take(&mut link.missed);
        self.stop_asking(key);
        self.io.transport(transport, TransportCommand::SetAnswer { sdp, linkup });
        self.hand_candidates(key);
        self.expect_path(now, key);
        if missed {
            self.repeat(key);
        }
    }

    fn handle_candidate(&mut self, from: &PeerId, linkup: Option<Linkup>, candidate: Candidate) {
        let key = match &linkup {
            Some(linkup) => self.link_of_session(from, &linkup.session),
            None => self.current(from),
        };
        let Some(link) = key.and_then(|key| self.links.get_mut(&key)) else { return };
        let plain = linkup.is_none();
        // What comes before our call has left is about something else; only a plain client's can look otherwise.
        let ours_is_here = matches!(link.state, State::Waiting | State::Calling) && !link.has_called();
        let other = linkup.is_some_and(|linkup| linkup.transport != link.number);
        if (plain && link.kind == Kind::Linkup) || other || ours_is_here || !link.addresses.take(&candidate) {
            return;
        }
        if let Some(transport) = link.newest().filter(|_| link.knows_remote_description()) {
            self.io.transport(transport, TransportCommand::AddCandidate(candidate));
        }
    }

    fn handle_bye(&mut self, now: Instant, key: Key, code: ErrorCode, reason: &str) {
        let Some(remote) = self.links.get(&key).map(|link| &link.remote) else { return };
        let error = bye_error(remote, code, reason);
        if self.look_for_another_path(now, key, &error) {
            return;
        }
        let Some(link) = self.links.get_mut(&key) else { return };
        let changed_its_mind =
            matches!(code, ErrorCode::Aborted | ErrorCode::ConnectionClosed | ErrorCode::ConnectTimeout);
        match link.state {
            // The remote does not want its own call any more. That says nothing about ours.
            State::Answering if link.wanted && changed_its_mind => self.call_again(now, key),
            // It had taken our call as the answer to its own. Once: it may as well have closed what was open there.
            State::Calling | State::Connecting if changed_its_mind && !link.retried => {
                link.retried = true;
                self.call_again(now, key);
            }
            // We are about to find the same, and know more about it.
            State::Connecting | State::Answering if code == ErrorCode::IceFailed => {
                link.pathless = Some(error);
                self.io.timers.set(Timer::Link(key), now, SAME_FOUND);
            }
            // Nothing more can be on its way.
            State::Resuming { closing: false, .. } => {
                let error = Some(error).filter(|_| code != ErrorCode::ConnectionClosed);
                self.end(now, key, error, None);
            }
            State::Open => {
                let error = Some(error).filter(|_| code != ErrorCode::ConnectionClosed);
                link.state = State::Leaving { error, cut: false };
                self.io.timers.set(Timer::Link(key), now, LEAVE_AFTER);
            }
            // Both close: our own flush says how it ended.
            State::Closing if matches!(code, ErrorCode::ConnectionClosed | ErrorCode::PeerClosed) => {}
            // The transport is gone already, and this says why.
            State::Leaving { cut: true, .. } => {
                let error = Some(error).filter(|_| code != ErrorCode::ConnectionClosed);
                self.end(now, key, error, None);
            }
            State::Leaving { .. } => {}
            _ => self.end(now, key, Some(error), None),
        }
    }

    fn send_bye(&mut self, to: &PeerId, session: &str, kind: Kind, body: Body) {
        if kind == Kind::Linkup {
            self.send_signal(to, session, 0, kind, body);
        }
    }
}

/// What the application hears of a remote's bye.
fn bye_error(remote: &PeerId, code: ErrorCode, reason: &str) -> Error {
    let what = match code {
        ErrorCode::Denied => "denied the connection",
        ErrorCode::ConnectionClosed => "closed the connection",
        ErrorCode::PeerClosed => "is closing",
        ErrorCode::ConnectionLost => "lost the connection",
        _ => "ended the connection",
    };
    let colon = if reason.is_empty() { "" } else { ": " };
    Error::new(code, format!("{remote:?} {what}{colon}{reason}"))
}

/// What names an attempt of a plain client: the user name and session id of its `o=` line, which stay the same as
/// long as its RTCPeerConnection lives (RFC 8829, section 5.2.2). So an offer for media is known as a repetition,
/// and one after a page's reload as a new beginning.
fn plain_session(sdp: &str) -> String {
    let origin = sdp.lines().find(|line| line.starts_with("o=")).unwrap_or("o=");
    let end = origin.match_indices(' ').nth(1).map_or(origin.len(), |(end, _)| end);
    truncate(&origin[..end], 64).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_session_is_what_a_renegotiation_keeps() {
        assert_eq!(plain_session("v=0\r\no=- 42 2 IN IP4 127.0.0.1\r\ns=-\r\n"), "o=- 42");
        assert_eq!(plain_session("v=0\r\no=- 42 3 IN IP4 127.0.0.1\r\ns=x\r\n"), "o=- 42");
        assert_eq!(plain_session("nothing"), "o=");
        assert_eq!(plain_session("o="), "o=");
        assert_eq!(plain_session(&format!("o={}", "é".repeat(500))).len(), 64);
    }
}
