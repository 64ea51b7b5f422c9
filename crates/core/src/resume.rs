//! A connection that outlives its transports: calling for another one when the old is silent or gone, and moving over.
//!
//! The caller of a connection makes all its transports; the other side asks for them. So there is no glare, and a number
//! says which transport a signal is about. What was sent and is not confirmed the driver sends again
//! ([`crate::wire::Outgoing`]).

use std::time::{Duration, Instant};

use linkup_proto::broker::Request;
use linkup_proto::signal::{Body, Candidate, Linkup};
use linkup_proto::{Error, ErrorCode, PeerId};

use crate::attempt::REPEAT_AFTER;
use crate::identity::Digest;
use crate::io::Timer;
use crate::link::{Addresses, Key, Kind, Local, Phase, State, Way};
use crate::peer::{Peer, Question};
use crate::{Event, RELAY_DESCRIPTION, TransportCommand, TransportInput};

/// The time of one transport to come up: more than a bad path needs, and little enough for several in the whole time. The
/// called side waits a little longer, so that it is the caller who begins anew.
const ATTEMPT: Duration = Duration::from_secs(7);
const ANSWER: Duration = Duration::from_secs(9);

/// Between an attempt that failed at once, as where there is no network, and the next.
const PAUSE: Duration = Duration::from_millis(500);

/// How often it is looked whether the remote is still registered; so often in vain, and it is gone.
const LOOK_AGAIN: Duration = Duration::from_millis(1500);
const MISSING: u32 = 3;

impl Peer {
    /// A connection's transport has heard nothing for a while. It is kept: it may come back before another is there.
    pub(crate) fn handle_silence(&mut self, now: Instant, key: Key) {
        if let Some(link) = self.links.get_mut(&key) {
            link.audible = false;
        }
        self.be_loud(now, key);
        if self.may_resume(key) {
            self.interrupt(now, key);
        }
    }

    /// The silent transport hears again. Another one that is coming up goes on: the remote may not hear us.
    pub(crate) fn handle_heard(&mut self, now: Instant, key: Key) {
        let Some(link) = self.links.get_mut(&key) else { return };
        link.audible = true;
        if link.next.is_none() {
            self.go_on(now, key);
        }
    }

    /// A connection's transport has broken.
    pub(crate) fn handle_lost(&mut self, now: Instant, key: Key, error: Error) {
        let enabled = self.may_resume(key);
        let Some(link) = self.links.get_mut(&key) else { return };
        // It has ended by itself.
        if let Some(transport) = link.transport.take() {
            self.by_transport.remove(&transport);
        }
        if !enabled || link.is_attempt() || matches!(link.state, State::Leaving { .. }) {
            return self.handle_failure(now, key, error);
        }
        link.lost = Some(error);
        link.audible = false;
        // Without silence before: the remote has moved over already.
        if let State::Resuming { phase: Phase::Connecting | Phase::Answering, .. } = link.state
            && link.quiet
        {
            return;
        }
        self.be_loud(now, key);
        self.interrupt(now, key);
    }

    pub(crate) fn may_resume(&self, key: Key) -> bool {
        !self.config.timeouts.resume.is_zero() && self.links.get(&key).is_some_and(|link| link.can_resume())
    }

    /// From now on the connection waits for another transport, and calls for one.
    pub(crate) fn interrupt(&mut self, now: Instant, key: Key) {
        if self.rest(now, key) {
            self.renew(now, key);
        }
    }

    /// From now on the connection waits for another transport. False: it does so already, or will not.
    fn rest(&mut self, now: Instant, key: Key) -> bool {
        let Some(link) = self.links.get_mut(&key) else { return false };
        let closing = match link.state {
            State::Open => false,
            State::Closing if !link.quiet => true,
            _ => return false,
        };
        let quiet = link.quiet;
        tracing::debug!(own = %self.config.id, remote = %link.remote, lost = ?link.lost, quiet, "a connection is interrupted");
        link.state = State::Resuming { phase: Phase::Waiting, closing };
        link.audible = quiet;
        // Where it is only looked for a better one, nobody is told.
        if !quiet {
            self.wait(now, key, closing);
        }
        true
    }

    /// The application hears of it, and it does not last for ever.
    fn wait(&mut self, now: Instant, key: Key, closing: bool) {
        let Some(link) = self.links.get_mut(&key) else { return };
        (link.missing, link.looks) = (0, 0);
        self.io.timers.set(Timer::Resume(key), now, self.config.timeouts.resume);
        if !closing {
            self.io.event(Event::Reconnecting { connection: link.connection });
        }
        self.registration.probe(now, &self.config, &mut self.io);
        self.look_whether_gone(now, key);
    }

    /// What was looked for quietly is needed now.
    pub(crate) fn be_loud(&mut self, now: Instant, key: Key) {
        let Some(link) = self.links.get_mut(&key).filter(|link| link.quiet) else { return };
        link.quiet = false;
        if let State::Resuming { closing, .. } = link.state {
            self.wait(now, key, closing);
            self.take_any_way(now, key);
        }
    }

    /// The network may be one that only a TURN server leads out of.
    fn take_any_way(&mut self, now: Instant, key: Key) {
        let Some(link) = self.links.get_mut(&key) else { return };
        if let (true, Some(_), State::Resuming { phase, .. }) =
            (std::mem::take(&mut link.direct), link.next, &mut link.state)
        {
            *phase = Phase::Waiting;
            self.stop_next(key);
            self.renew(now, key);
        }
    }

    /// The connection has a transport that works.
    fn go_on(&mut self, now: Instant, key: Key) {
        self.stop_looking(key);
        let Some(link) = self.links.get_mut(&key) else { return };
        let (State::Resuming { closing, .. }, Some(_)) = (&link.state, link.transport) else { return };
        let closing = *closing;
        (link.lost, link.tries, link.direct) = (None, 0, false);
        link.local = Local::default();
        link.addresses.forget();
        for timer in [Timer::Resume, Timer::Renew, Timer::Gone, Timer::Repeat] {
            self.io.timers.clear(timer(key));
        }
        let quiet = std::mem::take(&mut link.quiet);
        if closing {
            link.state = State::Closing;
        } else {
            link.state = State::Open;
            if !quiet {
                self.io.event(Event::Reconnected { connection: link.connection });
            }
        }
        self.note_path(now, key);
        self.calm_down();
    }

    /// Without a connection that waits, the broker may take its time again.
    pub(crate) fn calm_down(&mut self) {
        let any = self.links.values().any(|link| matches!(link.state, State::Resuming { .. }));
        self.registration.hurry(any);
    }

    /// Calls for another transport, or has the remote do so.
    pub(crate) fn renew(&mut self, now: Instant, key: Key) {
        let registered = self.registration.is_registered();
        let Some(link) = self.links.get_mut(&key) else { return };
        let State::Resuming { phase: phase @ Phase::Waiting, .. } = &mut link.state else { return };
        if !registered {
            return;
        }
        if link.caller {
            *phase = Phase::Calling;
            link.number += 1;
            link.tries += u32::from(!link.quiet);
            // By turns: without a network that carries UDP there may still be one that carries the broker's words.
            let by_relay = !link.quiet && link.tries.is_multiple_of(2);
            let by_relay = by_relay && self.may_relay(key);
            let Some(link) = self.links.get_mut(&key) else { return };
            link.by_relay = by_relay;
            let offer = if link.direct { TransportCommand::OfferDirect } else { self.offer(by_relay) };
            self.begin_next(now, key, offer, ATTEMPT);
        } else {
            let (remote, session, number) = (link.remote.clone(), link.session.clone(), link.number);
            self.io.timers.set(Timer::Repeat(key), now, REPEAT_AFTER);
            self.send_signal(&remote, &session, number, Kind::Linkup, Body::Resume);
        }
    }

    fn begin_next(&mut self, now: Instant, key: Key, command: TransportCommand, time: Duration) {
        self.stop_next(key);
        let transport = self.next_transport();
        let Some(link) = self.links.get_mut(&key) else { return };
        link.next = Some(transport);
        link.local = Local::default();
        link.addresses = Addresses::default();
        self.by_transport.insert(transport, key);
        self.io.timers.set(Timer::Renew(key), now, time);
        self.io.transport(transport, command);
    }

    /// Takes away the transport that is coming up.
    pub(crate) fn stop_next(&mut self, key: Key) {
        let Some(transport) = self.links.get_mut(&key).and_then(|link| link.next.take()) else { return };
        self.by_transport.remove(&transport);
        self.io.transport(transport, TransportCommand::Abort);
    }

    /// The transport that is coming up says something.
    pub(crate) fn handle_next(&mut self, now: Instant, key: Key, input: TransportInput) {
        match input {
            TransportInput::Description { sdp } => self.handle_description(now, key, sdp),
            TransportInput::Candidate(candidate) => self.handle_own_candidate(key, candidate),
            TransportInput::Open => self.move_over(now, key),
            TransportInput::Relay { data } => self.handle_relay(key, true, data),
            TransportInput::Silent | TransportInput::Heard | TransportInput::Path { .. } => {}
            TransportInput::Closed
            | TransportInput::Cut
            | TransportInput::Failed { .. }
            | TransportInput::Lost { .. }
            | TransportInput::Finished { .. } => self.fail_next(now, key),
        }
    }

    fn move_over(&mut self, now: Instant, key: Key) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let State::Resuming { closing, .. } = link.state else { return };
        let connection = link.connection;
        let next = link.next.take();
        self.stop_transport(key);
        let Some(link) = self.links.get_mut(&key) else { return };
        link.transport = next;
        link.carried = link.number;
        link.way = link.newest_way();
        if let Some(transport) = next {
            self.io.transport(transport, TransportCommand::Start { connection });
            if closing {
                self.io.transport(transport, TransportCommand::Close);
            }
        }
        self.go_on(now, key);
    }

    /// Nothing takes the place of the transport that it has. False: that one does not work.
    fn stay(&mut self, now: Instant, key: Key) -> bool {
        self.stop_next(key);
        let Some(link) = self.links.get_mut(&key).filter(|link| link.audible && link.transport.is_some()) else {
            return false;
        };
        link.by_relay = link.way == Way::Broker;
        self.go_on(now, key);
        true
    }

    /// The transport that was coming up does not.
    fn fail_next(&mut self, now: Instant, key: Key) {
        if self.stay(now, key) {
            return;
        }
        let Some(link) = self.links.get_mut(&key) else { return };
        if let State::Resuming { phase, .. } = &mut link.state {
            *phase = Phase::Waiting;
            self.io.timers.clear(Timer::Repeat(key));
            self.io.timers.set(Timer::Renew(key), now, PAUSE);
            self.be_loud(now, key);
        }
    }

    /// The time of a transport, or of a pause, is over.
    pub(crate) fn handle_renew(&mut self, now: Instant, key: Key) {
        if self.stay(now, key) {
            return;
        }
        let Some(link) = self.links.get_mut(&key) else { return };
        if let State::Resuming { phase, .. } = &mut link.state {
            *phase = Phase::Waiting;
            self.be_loud(now, key);
            self.renew(now, key);
        }
    }

    /// The time in which a connection may find another transport is over.
    pub(crate) fn handle_resume_deadline(&mut self, now: Instant, key: Key) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let why = link.lost.take().map_or_else(|| "nothing is heard of it".to_owned(), |lost| lost.message);
        let message = format!("no way to {:?} within {:?}: {why}", link.remote, self.config.timeouts.resume);
        self.give_up(now, key, Error::new(ErrorCode::ConnectionLost, message));
    }

    /// The remote, which is called, needs another transport than the one it names.
    pub(crate) fn handle_resume(&mut self, now: Instant, from: PeerId, linkup: &Linkup, digest: Digest) {
        let Some(key) = self.resumed(&from, linkup, digest) else { return };
        let Some(link) = self.links.get_mut(&key) else { return };
        // A direct way is looked for, and the remote takes any.
        if link.direct && linkup.transport.checked_add(1) == Some(link.number) {
            return self.take_any_way(now, key);
        }
        // One that it does not know of is on its way.
        if !link.caller || linkup.transport != link.number {
            return;
        }
        link.quiet |= matches!(link.state, State::Open);
        self.come_back(key);
        self.interrupt(now, key);
        self.renew(now, key);
    }

    /// The remote has cut the transport, and now says that it goes on over another one.
    fn come_back(&mut self, key: Key) {
        let Some(link) = self.links.get_mut(&key) else { return };
        if let State::Leaving { error, cut: true } = &mut link.state {
            link.lost = error.take();
            link.state = State::Open;
            self.io.timers.clear(Timer::Link(key));
            self.stop_transport(key);
        }
    }

    /// The remote, which made the connection, offers another transport.
    pub(crate) fn handle_next_offer(
        &mut self,
        now: Instant,
        from: PeerId,
        linkup: &Linkup,
        digest: Digest,
        sdp: String,
    ) {
        let Some(key) = self.resumed(&from, linkup, digest) else { return };
        let Some(link) = self.links.get_mut(&key) else { return };
        if link.caller || linkup.transport <= link.number {
            if linkup.transport == link.number {
                self.repeat(key);
            }
            return;
        }
        link.quiet |= matches!(link.state, State::Open);
        self.come_back(key);
        // It is offered already: asking for another one would say that this one will not do.
        self.rest(now, key);
        let Some(link) = self.links.get_mut(&key) else { return };
        let State::Resuming { phase, .. } = &mut link.state else { return };
        *phase = Phase::Answering;
        link.number = linkup.transport;
        link.heard = Some(digest);
        link.by_relay = sdp.starts_with(RELAY_DESCRIPTION);
        self.io.timers.clear(Timer::Repeat(key));
        let answer = self.answer_to(sdp, true);
        self.begin_next(now, key, answer, ANSWER);
    }

    pub(crate) fn handle_next_answer(&mut self, from: &PeerId, linkup: &Linkup, sdp: String) {
        let Some(key) = self.link_of_session(from, &linkup.session) else { return };
        let Some(link) = self.links.get_mut(&key) else { return };
        let Some(transport) = link.next.filter(|_| linkup.transport == link.number) else { return };
        if let State::Resuming { phase: phase @ Phase::Calling, .. } = &mut link.state {
            *phase = Phase::Connecting;
            self.io.transport(transport, TransportCommand::SetAnswer { sdp, linkup: true });
            self.hand_candidates(key);
        }
    }

    /// The link that is to get another transport. Where there is none any more, the remote hears that.
    fn resumed(&mut self, from: &PeerId, linkup: &Linkup, digest: Digest) -> Option<Key> {
        let key = self.link_of_session(from, &linkup.session);
        match key.and_then(|key| self.links.get(&key)) {
            Some(link)
                if matches!(
                    link.state,
                    State::Open | State::Closing | State::Resuming { .. } | State::Leaving { cut: true, .. }
                ) =>
            {
                key.filter(|key| self.may_resume(*key))
            }
            Some(_) => None,
            None => {
                let body = Body::Bye { code: ErrorCode::ConnectionLost, reason: String::new() };
                self.send_bye(from, &linkup.session, Kind::Linkup, body, Some(digest));
                None
            }
        }
    }

    /// Asks the broker whether the remote is still registered: then it may come back.
    pub(crate) fn look_whether_gone(&mut self, now: Instant, key: Key) {
        let again = LOOK_AGAIN.min(self.config.timeouts.idle.mul_f32(0.15));
        self.io.timers.set(Timer::Gone(key), now, again);
        let Some(link) = self.links.get(&key) else { return };
        // A broker that has come back, or that we have come back to, may not know everybody yet.
        if link.question.is_some() || !self.registration.would_know(now, link.heard_in) {
            return;
        }
        let request = Request::Find { id: link.remote.clone() };
        let question = self.request(request, Question::Gone(key));
        if let Some(link) = self.links.get_mut(&key) {
            link.question = Some(question);
        }
    }

    fn stop_looking(&mut self, key: Key) {
        if let Some(question) = self.links.get_mut(&key).and_then(|link| link.question.take()) {
            self.questions.remove(&question);
        }
    }

    pub(crate) fn handle_gone(&mut self, now: Instant, key: Key, there: Result<bool, Error>) {
        let Some(link) = self.links.get_mut(&key) else { return };
        link.question = None;
        if !matches!(link.state, State::Resuming { .. }) {
            return;
        }
        match there {
            Ok(false) => link.missing += 1,
            Ok(true) => link.missing = 0,
            Err(_) => {}
        }
        if link.missing >= MISSING {
            let message = format!("{:?} is gone: it is not heard, and not registered any more", link.remote);
            self.give_up(now, key, Error::new(ErrorCode::ConnectionLost, message));
        }
    }

    /// An address of the transport that is coming up.
    pub(crate) fn handle_own_candidate(&mut self, key: Key, candidate: Candidate) {
        // An empty one ends them, which simple-peer does not know.
        if !candidate.candidate.is_empty() && self.config.trickle {
            self.handle_local_candidate(key, candidate);
        }
    }
}
