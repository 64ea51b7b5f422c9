//! What remote peers say through the broker: offers, answers, candidates, byes. All of it may be hostile.

use std::time::{Duration, Instant};

use linkup_proto::signal::{Body, Candidate, Linkup, Receive, Signal, truncate};
use linkup_proto::{Error, ErrorCode, PeerId, PublicKey, limits};
use serde_json::Value;

use crate::glare::{Verdict, judge};
use crate::identity::{Digest, Signed};
use crate::io::Timer;
use crate::link::{Addresses, Key, Kind, Link, Local, Phase, State};
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
    identity: Option<PublicKey>,
    login: Option<String>,
    digest: Digest,
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
        if let Signal { body: Body::Relay { data }, linkup: Some(linkup) } = signal {
            // Sealed by the transport's own keys.
            self.handle_relayed(&from, &linkup, data);
        } else {
            let text = Signed::read(text);
            let digest = text.digest();
            if self.is_authentic(&from, &text, &signal) {
                self.take_signal(now, from, digest, signal);
            } else {
                self.refuse_forgery(now, from, digest, signal);
            }
        }
        let heard_in = self.registration.count();
        for key in self.by_remote.get(&remote).into_iter().flatten() {
            if let Some(link) = self.links.get_mut(key) {
                link.heard_in = heard_in;
            }
        }
    }

    /// The link that a signal is about.
    fn link_of(&self, from: &PeerId, linkup: Option<&Linkup>) -> Option<Key> {
        match linkup {
            Some(linkup) => self.link_of_session(from, &linkup.session),
            // A plain client says nothing about a connection that has a key.
            None => self.plain(from).or_else(|| self.current(from)),
        }
    }

    fn plain(&self, from: &PeerId) -> Option<Key> {
        let is_plain = |link: &Link| link.kind == Kind::Plain && link.is_current();
        let keys = self.by_remote.get(from)?;
        keys.iter().copied().find(|key| self.links.get(key).is_some_and(is_plain))
    }

    /// Whether a signal may be what the peer `from` has said to us. Nobody signs but linkup peers with a key, so nothing is
    /// expected of others; but where a key is known, by the application, by the id or by what came before in the same
    /// session, all must be signed with it.
    fn is_authentic(&self, from: &PeerId, text: &Signed, signal: &Signal) -> bool {
        let linkup = signal.linkup.as_ref();
        let key = linkup.and_then(|linkup| linkup.key);
        if key.is_some_and(|key| !text.is_by(&key, from, &self.config.id)) {
            return false;
        }
        let link = self.link_of(from, linkup).and_then(|key| self.links.get(&key));
        let offers = matches!(signal.body, Body::Offer { .. });
        // A call of somebody whom we call, too, takes the place of ours.
        let pinned =
            self.current(from).and_then(|key| self.links.get(&key)).and_then(|link| link.pinned).filter(|_| offers);
        let expected = link.and_then(Link::expected).or(pinned).or_else(|| PublicKey::of_id(from));
        if expected.is_some() && key != expected {
            return false;
        }
        match (link, linkup) {
            // It answers the very words of ours: what reached the remote is what we have said.
            (Some(link), Some(linkup)) if key.is_some() && matches!(signal.body, Body::Answer { .. }) => {
                let calling = matches!(link.state, State::Calling | State::Resuming { phase: Phase::Calling, .. });
                !calling || linkup.transport != link.number || linkup.offer == link.offered
            }
            // Who has signed a bye before it knew of this connection, has signed nothing about it.
            (Some(link), Some(linkup)) if key.is_some() && matches!(signal.body, Body::Bye { .. }) => {
                let known = [link.first, link.offered, link.asked];
                link.is_attempt() || linkup.offer.is_some() && known.contains(&linkup.offer)
            }
            _ => true,
        }
    }

    /// Somebody else has said that, or it was changed on its way: an attempt ends by it, an open connection does not.
    fn refuse_forgery(&mut self, now: Instant, from: PeerId, digest: Digest, signal: Signal) {
        let linkup = signal.linkup.as_ref();
        let offers = matches!(signal.body, Body::Offer { .. });
        let key = self.link_of(&from, linkup).or_else(|| self.current(&from).filter(|_| offers));
        let message =
            format!("what was said in the name of {from:?} is not signed with its key, or was changed on its way");
        let error = Error::new(ErrorCode::IdentityMismatch, message);
        // Who really answered shall not wait for ever.
        let attempt = key.and_then(|key| self.links.get_mut(&key)).filter(|link| link.is_attempt());
        if let Some(link) = attempt.filter(|_| linkup.is_some()) {
            link.kind = Kind::Linkup;
        }
        let link = key.and_then(|key| self.links.get(&key).map(|link| (key, link.is_attempt(), link.wanted)));
        if let Some((key, true, wanted)) = link {
            self.give_up(now, key, error.clone());
            if wanted {
                return;
            }
        } else if link.is_none() {
            if !offers {
                return;
            }
            // Never about a connection that is there: what we sign, who has forged that could use.
            if let Some(linkup) = linkup {
                let body = Body::Bye { code: ErrorCode::IdentityMismatch, reason: String::new() };
                self.send_bye(&from, &linkup.session, Kind::Linkup, body, Some(digest));
            }
        }
        self.io.event(Event::Error { remote: Some(from), error });
    }

    fn take_signal(&mut self, now: Instant, from: PeerId, digest: Digest, signal: Signal) {
        match (signal.body, signal.linkup) {
            (Body::Resume, Some(linkup)) => self.handle_resume(now, from, &linkup, digest),
            (Body::Offer { sdp }, Some(linkup)) if linkup.transport > 0 => {
                self.handle_next_offer(now, from, &linkup, digest, sdp);
            }
            (Body::Answer { sdp }, Some(linkup)) if linkup.transport > 0 => {
                self.handle_next_answer(&from, &linkup, sdp);
            }
            (Body::Offer { sdp }, linkup) => {
                let offer = match linkup {
                    Some(Linkup { session, metadata, receive, key: identity, login, .. }) => {
                        let login = login.filter(|_| identity.is_some() && self.config.verifies);
                        Offer { session, kind: Kind::Linkup, metadata, receive, identity, login, digest, sdp }
                    }
                    None => {
                        let (session, kind) = (plain_session(&sdp), Kind::Plain);
                        let (metadata, receive, identity, login) = (None, None, None, None);
                        Offer { session, kind, metadata, receive, identity, login, digest, sdp }
                    }
                };
                self.handle_offer(now, from, offer);
            }
            (Body::Answer { sdp }, linkup) => self.handle_answer(now, from, linkup, digest, sdp),
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
            return self.send_bye(&from, &offer.session, offer.kind, body, Some(offer.digest));
        }
        let current = self.link_of_session(&from, &offer.session).or_else(|| self.current(&from));
        let link = current.and_then(|key| self.links.get(&key));
        let verdict = judge(&self.config.id, &from, &offer.session, link);
        tracing::debug!(own = %self.config.id, %from, ?verdict, "an offer");
        // The caller has made each of its sessions once.
        if verdict != Verdict::Repeated && offer.identity.is_some() && self.answered.has(&from, &offer.session) {
            let body = Body::Bye { code: ErrorCode::IdentityMismatch, reason: "this offer was used before".into() };
            return self.send_bye(&from, &offer.session, offer.kind, body, Some(offer.digest));
        }
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
                // What is open, with a remote that has a key, stays so until the new one is open, too: only who has the keys of what is
                // offered gets that far.
                if matches!(self.links.get(&key), Some(link) if link.is_attempt() || link.identity.is_none()) {
                    self.replace(now, key);
                }
                self.be_called(now, from, offer, Some(key));
            }
            (_, _) => self.be_called(now, from, offer, None),
        }
    }

    /// Another connection with the same remote takes the place of this one.
    pub(crate) fn replace(&mut self, now: Instant, key: Key) {
        let Some(link) = self.links.get(&key) else { return };
        let message = format!("{:?} began a new connection: it had lost this one", link.remote);
        self.end(now, key, Some(Error::new(ErrorCode::ConnectionLost, message)), None);
    }

    /// A call that nobody here asked for; it may take the place of a connection.
    fn be_called(&mut self, now: Instant, from: PeerId, offer: Offer, replaced: Option<Key>) {
        let callers = self.links.values().filter(|link| !link.is_known()).count();
        let others = self.links.len() - usize::from(replaced.is_some_and(|key| self.links.contains_key(&key)));
        if others >= self.config.max_connections || callers >= limits::MAX_INCOMING_ATTEMPTS {
            let body = Body::Bye { code: ErrorCode::Denied, reason: "too many connections".into() };
            self.send_bye(&from, &offer.session, offer.kind, body, Some(offer.digest));
            // Whoever keeps that bye back shall not have it for a connection that comes of the same offer later.
            return if offer.identity.is_some() {
                self.answered.add(from, offer.session)
            };
        }
        let key = self.insert(Link::new(ConnectionId(self.next_id()), from, false));
        self.note_offer(key, offer);
        self.io.timers.set(Timer::Link(key), now, self.config.timeouts.connect);
        self.ask_or_accept(key, self.config.asks);
    }

    fn note_offer(&mut self, key: Key, offer: Offer) {
        let Some(link) = self.links.get_mut(&key) else { return };
        link.session = offer.session;
        link.kind = offer.kind;
        link.identity = offer.identity;
        link.login = offer.login;
        (link.first, link.heard) = (Some(offer.digest), Some(offer.digest));
        link.metadata = offer.metadata;
        link.receive = offer.receive;
        link.state = State::Asking { sdp: offer.sdp };
    }

    /// Takes a call, after the application's word where it wants to have one.
    fn ask_or_accept(&mut self, key: Key, asks: bool) {
        let Some(link) = self.links.get(&key) else { return };
        if asks || link.login.is_some() {
            self.ask(key);
        } else {
            self.accept(key);
        }
    }

    pub(crate) fn ask(&mut self, key: Key) {
        let Some(link) = self.links.get(&key) else { return };
        self.io.event(Event::Request {
            connection: link.connection,
            from: link.remote.clone(),
            metadata: link.metadata.clone(),
            identity: link.identity,
            login: link.login.clone(),
            wanted: link.wanted,
        });
    }

    /// Answers a call of a peer that we want, too, under the name of our own call.
    fn take_over(&mut self, now: Instant, key: Key, offer: Offer) {
        self.stop_transport(key);
        self.stop_asking(key);
        self.note_offer(key, offer);
        let Some(link) = self.links.get_mut(&key) else { return };
        link.local = Local::default();
        link.addresses = Addresses::default();
        self.io.timers.set_once(Timer::Link(key), now, self.config.timeouts.connect);
        self.ask_or_accept(key, false);
    }

    /// The application's decision about a caller, or about the login of a peer that it has called.
    pub(crate) fn decide(&mut self, now: Instant, connection: ConnectionId, verdict: Result<(), Error>) {
        let Some(key) = self.by_connection.get(&connection).copied() else { return };
        let Some(link) = self.links.get_mut(&key) else { return };
        let (asking, judging) =
            (matches!(link.state, State::Asking { .. }), matches!(link.state, State::Judging { .. }));
        match verdict {
            _ if !asking && !judging => {}
            // Calling is accepting; but only the peer that was meant.
            Err(error) if !link.wanted || error.code == ErrorCode::IdentityMismatch => {
                let (code, reason) = (error.code, error.message.clone());
                let heard = Some(error).filter(|_| link.wanted);
                self.end(now, key, heard, Some((code, &reason)));
            }
            _ if asking => self.accept(key),
            _ => self.take_answer(now, key),
        }
    }

    fn handle_answer(&mut self, now: Instant, from: PeerId, linkup: Option<Linkup>, digest: Digest, sdp: String) {
        let key = self.link_of(&from, linkup.as_ref());
        let Some((key, link)) = key.and_then(|key| self.links.get_mut(&key).map(|link| (key, link))) else {
            if let Some(linkup) = linkup {
                // We gave that call up before we knew that a bye would be understood: without one the other side
                // would go on, and our next call or its own would wait for an attempt that is dead.
                let body = Body::Bye { code: ErrorCode::ConnectionClosed, reason: String::new() };
                self.send_bye(&from, &linkup.session, Kind::Linkup, body, Some(digest));
            }
            return;
        };
        if link.transport.is_none() || !matches!(link.state, State::Calling) || !link.has_called() {
            return;
        }
        if linkup.is_none() && link.kind == Kind::Linkup {
            return;
        }
        link.state = State::Judging { sdp };
        link.kind = if linkup.is_some() { Kind::Linkup } else { Kind::Plain };
        if let Some(linkup) = linkup {
            link.receive = linkup.receive;
            link.metadata = linkup.metadata;
            link.identity = linkup.key;
            link.login = linkup.login.filter(|_| linkup.key.is_some() && self.config.verifies);
        }
        let judged = link.login.is_some();
        self.stop_asking(key);
        if judged {
            self.ask(key);
        } else {
            self.take_answer(now, key);
        }
    }

    fn take_answer(&mut self, now: Instant, key: Key) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let (State::Judging { sdp }, Some(transport)) = (&mut link.state, link.transport) else { return };
        let sdp = std::mem::take(sdp);
        link.state = State::Connecting;
        let linkup = link.kind == Kind::Linkup;
        let missed = std::mem::take(&mut link.missed);
        self.io.transport(transport, TransportCommand::SetAnswer { sdp, linkup });
        self.hand_candidates(key);
        self.expect_path(now, key);
        if missed {
            self.repeat(key);
        }
    }

    fn handle_candidate(&mut self, from: &PeerId, linkup: Option<Linkup>, candidate: Candidate) {
        let Some(link) = self.link_of(from, linkup.as_ref()).and_then(|key| self.links.get_mut(&key)) else { return };
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
            // It had taken our call as the answer to its own, or it has closed what was open there.
            State::Calling | State::Connecting if changed_its_mind => {
                if !self.call_once_more(now, key) {
                    self.end(now, key, Some(error), None);
                }
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
