//! The STUN and TURN servers that the broker gives: asked for at each registration and before their credentials end.
//!
//! Attempts wait for the first answer, which comes right behind the registration; but not for long, since a broker that is
//! not linkup's may say nothing.

use std::time::{Duration, Instant};

use linkup_proto::Error;
use linkup_proto::broker::{IceServer, IceServers, Request};
use serde_json::Value;

use crate::Output;
use crate::io::Timer;
use crate::link::{Key, State};
use crate::peer::{Peer, Question};

/// How long attempts wait for the first answer.
const WAIT: Duration = Duration::from_millis(300);
/// When to ask again where the broker gave an error.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// The shortest life of credentials that we believe: a broker must not make us ask all the time.
const MIN_LIFE: Duration = Duration::from_secs(10);
/// Servers that are used: each makes us send packets where the broker says.
const MAX_SERVERS: usize = 8;
/// URLs of one server.
const MAX_URLS: usize = 8;

impl Peer {
    /// Asks for the servers, where the application has named none: as soon as there is a socket, so that the answer comes
    /// with that to the registration.
    pub(crate) fn ask_for_ice(&mut self) {
        if !self.config.ice_from_broker || !self.registration.has_socket() {
            return;
        }
        if let Some(unanswered) = self.ice_question.take() {
            self.questions.remove(&unanswered);
        }
        self.ice_question = Some(self.request(Request::Ice, Question::Ice));
    }

    /// Now attempts could begin.
    pub(crate) fn wait_for_ice(&mut self, now: Instant) {
        if self.ice_question.is_some() && !self.knows_ice {
            self.waits_for_ice = true;
            self.io.timers.set(Timer::Ice, now, WAIT);
        }
    }

    pub(crate) fn handle_ice(&mut self, now: Instant, answer: Result<Value, Error>) {
        self.ice_question = None;
        let answer = answer.ok().and_then(|message| serde_json::from_value::<IceServers>(message).ok());
        let again = match answer {
            Some(IceServers { ice_servers, ttl, relay }) => {
                self.knows_ice = true;
                self.relay = relay;
                self.io.out.push_back(Output::IceServers(bounded(ice_servers)));
                // With time enough to try again.
                ttl.map(|seconds| Duration::from_secs(seconds).mul_f64(0.75).max(MIN_LIFE))
            }
            // An older broker, or one that is in trouble: what we have is good for a while.
            None => Some(AGAIN_AFTER),
        };
        self.io.timers.clear(Timer::Ice);
        if let Some(again) = again {
            self.io.timers.set(Timer::Ice, now, again);
        }
        self.release(now);
    }

    /// The first answer is late, or the next question is due.
    pub(crate) fn handle_ice_timeout(&mut self, now: Instant) {
        if self.waits_for_ice {
            self.release(now);
        } else {
            self.ask_for_ice();
        }
    }

    /// Nothing more can be heard on this socket.
    pub(crate) fn forget_ice_question(&mut self) {
        self.ice_question = None;
        self.waits_for_ice = false;
        self.io.timers.clear(Timer::Ice);
    }

    /// Attempts begin that waited.
    fn release(&mut self, now: Instant) {
        if !std::mem::take(&mut self.waits_for_ice) {
            return;
        }
        let keys: Vec<Key> = self.links.keys().copied().collect();
        for key in keys {
            match self.links.get(&key) {
                Some(link) if matches!(link.state, State::Waiting) => self.start(now, key),
                Some(link) if link.accepted => self.accept(key),
                _ => {}
            }
        }
    }
}

fn bounded(mut servers: Vec<IceServer>) -> Vec<IceServer> {
    servers.truncate(MAX_SERVERS);
    for server in &mut servers {
        server.urls.truncate(MAX_URLS);
    }
    servers
}
