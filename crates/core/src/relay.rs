//! Ways that are not direct: when a connection begins over the broker, because there is no other way, and when a better one
//! than that, or than one over a TURN server, is looked for.
//!
//! The transports take turns with others as [`crate::resume`] does it; over the broker they encrypt what they carry.

use std::time::{Duration, Instant};

use linkup_proto::signal::{Body, Linkup};
use linkup_proto::{Error, ErrorCode, PeerId};

use crate::io::Timer;
use crate::link::{Key, Kind, State, Way};
use crate::peer::Peer;
use crate::{RELAY_DESCRIPTION, TransportCommand};

/// After the answer: most ways through routers are found by then.
const NO_PATH_AFTER: Duration = Duration::from_secs(4);

/// From a connection that is not direct until another way is looked for: first and at most, doubling.
const LOOK_FIRST: Duration = Duration::from_secs(5);
const LOOK_LAST: Duration = Duration::from_secs(300);

impl Peer {
    /// What begins a call's transport.
    pub(crate) fn offer(&self, by_relay: bool) -> TransportCommand {
        match self.relay {
            Some(rate) if by_relay => TransportCommand::OfferRelay { rate },
            _ => TransportCommand::Offer,
        }
    }

    /// What answers a description.
    pub(crate) fn answer_to(&self, sdp: String, linkup: bool) -> TransportCommand {
        let rate = self.relay.filter(|_| sdp.starts_with(RELAY_DESCRIPTION));
        TransportCommand::Answer { sdp, linkup, rate }
    }

    /// Whether this link could go over the broker.
    pub(crate) fn may_relay(&self, key: Key) -> bool {
        let able = self.links.get(&key).is_some_and(|link| link.can_relay());
        able && self.relay.is_some() && !self.config.timeouts.resume.is_zero()
    }

    /// Our call is answered: it does not wait for ever for a direct way.
    pub(crate) fn expect_path(&mut self, now: Instant, key: Key) {
        if self.may_relay(key) && self.links.get(&key).is_some_and(|link| link.wanted && !link.by_relay) {
            self.io.timers.set(Timer::Path(key), now, NO_PATH_AFTER);
        }
    }

    /// Our call begins anew, over the broker. False: that cannot be.
    pub(crate) fn call_over_broker(&mut self, now: Instant, key: Key) -> bool {
        if !self.may_relay(key) {
            return false;
        }
        let Some(link) = self.links.get_mut(&key).filter(|link| link.wanted && !link.by_relay) else { return false };
        if !matches!(link.state, State::Calling | State::Connecting) {
            return false;
        }
        let (remote, session, first) = (link.remote.clone(), link.session.clone(), link.first);
        link.by_relay = true;
        let body = Body::Bye { code: ErrorCode::IceFailed, reason: String::new() };
        self.send_bye(&remote, &session, Kind::Linkup, body, first);
        self.call_again(now, key);
        true
    }

    /// Another way is due: over the broker, or away from it.
    pub(crate) fn handle_path(&mut self, now: Instant, key: Key) {
        let Some(link) = self.links.get_mut(&key) else { return };
        match link.state {
            State::Connecting => drop(self.call_over_broker(now, key)),
            State::Open if link.way != Way::Direct && link.caller => {
                link.quiet = true;
                link.direct = link.way == Way::Turn;
                self.interrupt(now, key);
            }
            _ => {}
        }
    }

    /// A transport goes over a TURN server that the application would leave, or no longer.
    pub(crate) fn handle_turn(&mut self, now: Instant, key: Key, turn: bool) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let before = std::mem::replace(&mut link.way, if turn { Way::Turn } else { Way::Direct });
        if link.way != before && matches!(link.state, State::Open) {
            self.note_path(now, key);
        }
    }

    /// A connection has a transport that works.
    pub(crate) fn note_path(&mut self, now: Instant, key: Key) {
        let may = self.may_resume(key);
        let Some(link) = self.links.get_mut(&key) else { return };
        if may && link.way != Way::Direct && link.caller {
            let pause = LOOK_LAST.min(LOOK_FIRST * (1 << link.looks.min(8)));
            link.looks += 1;
            self.io.timers.set(Timer::Path(key), now, pause);
        } else {
            self.io.timers.clear(Timer::Path(key));
        }
    }

    /// A transport has a packet for the broker.
    pub(crate) fn handle_relay(&mut self, key: Key, next: bool, data: String) {
        let Some(link) = self.links.get(&key) else { return };
        let number = if next { link.number } else { link.carried };
        let (remote, session) = (link.remote.clone(), link.session.clone());
        self.send_signal(&remote, &session, number, Kind::Linkup, Body::Relay { data });
    }

    /// The broker has a packet for a transport.
    pub(crate) fn handle_relayed(&mut self, from: &PeerId, linkup: &Linkup, data: String) {
        let Some(key) = self.link_of_session(from, &linkup.session) else { return };
        let Some(link) = self.links.get(&key) else { return };
        let next = link.next.filter(|_| linkup.transport == link.number);
        let transport = next.or(link.transport.filter(|_| linkup.transport == link.carried));
        if let Some(transport) = transport {
            self.io.transport(transport, TransportCommand::Relayed { data });
        }
    }

    /// The broker is lost, with all that was on its way through it.
    pub(crate) fn lose_relays(&mut self, now: Instant) {
        let keys: Vec<Key> =
            self.links.iter().filter(|(_, link)| link.way == Way::Broker).map(|(key, _)| *key).collect();
        for key in keys {
            self.stop_transport(key);
            let error = Error::new(ErrorCode::ConnectionLost, "it went over the broker, which is lost");
            self.handle_lost(now, key, error);
        }
    }
}
