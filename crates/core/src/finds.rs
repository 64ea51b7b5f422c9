//! The application's questions to the broker: is that peer there?

use std::time::Instant;

use linkup_proto::broker::Request;
use linkup_proto::{Error, PeerId};

use crate::io::Timer;
use crate::peer::{Peer, Question, peer_closed};
use crate::{Event, Token};

/// One of them.
pub(crate) struct Find {
    pub(crate) id: PeerId,
    /// The request, where it was sent to the present socket.
    pub(crate) asked: Option<String>,
}

impl Peer {
    pub(crate) fn find(&mut self, now: Instant, token: Token, id: PeerId) {
        if self.closing {
            self.io.event(Event::Settled { token, result: Err(peer_closed()) });
            return;
        }
        // As with the names of connections: one meaning each.
        if self.finds.contains_key(&token) {
            return;
        }
        self.finds.insert(token, Find { id, asked: None });
        if self.registration.was_registered() {
            self.io.timers.set(Timer::Find(token), now, self.config.timeouts.broker);
        }
        self.ask_find(now, token);
    }

    pub(crate) fn ask_find(&mut self, now: Instant, token: Token) {
        let Some(find) = self.finds.get(&token).filter(|_| self.registration.is_registered()) else { return };
        let request = Request::Find { id: find.id.clone() };
        let asked = self.request(request, Question::Find(token));
        if let Some(find) = self.finds.get_mut(&token) {
            find.asked = Some(asked);
        }
        self.io.timers.set_once(Timer::Find(token), now, self.config.timeouts.broker);
    }

    pub(crate) fn settle(&mut self, token: Token, result: Result<bool, Error>) {
        let Some(find) = self.finds.remove(&token) else { return };
        if let Some(asked) = find.asked {
            self.questions.remove(&asked);
        }
        self.io.timers.clear(Timer::Find(token));
        self.io.event(Event::Settled { token, result });
    }
}
