//! What each message of a peer does. Knows the registry and the outboxes; WebSockets and clocks are the session's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linkup_proto::broker::{Frame, Request, Response, Signal};
use linkup_proto::{Error, ErrorCode, PeerId};
use serde_json::Value;

use crate::ice::Ice;
use crate::outbox::{End, Outbox};
use crate::registry::{Key, Refused, Registry};

/// What all sockets share: who has which id.
pub(crate) struct Router {
    registry: Mutex<State>,
    ice: Ice,
}

struct State {
    registry: Registry<Arc<Outbox>>,
    closed: bool,
}

/// What a frame gets.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// Nothing: it was a notification.
    None,
    /// A response.
    Response(Response),
    /// A response, and then the end: what this client sends is no JSON.
    NotJson(Response),
    /// The servers of [`Seat::ice`] for this peer, as response to this frame.
    Ice(String, PeerId),
}

impl Router {
    pub(crate) fn new(ice: Ice) -> Self {
        Self { registry: Mutex::new(State { registry: Registry::new(), closed: false }), ice }
    }

    /// A place for a new socket, for as long as the [`Seat`] lives. `None` where the broker closes.
    pub(crate) fn seat(self: &Arc<Self>) -> Option<Seat> {
        let outbox = Arc::new(Outbox::default());
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        let key = state.registry.add(outbox.clone());
        Some(Seat { router: self.clone(), key, outbox })
    }

    /// Ends every socket, and takes no more.
    pub(crate) fn close(&self) {
        let outboxes: Vec<_> = {
            let mut state = self.lock();
            state.closed = true;
            state.registry.handles().cloned().collect()
        };
        for outbox in outboxes {
            outbox.end(End::GoingAway);
        }
    }

    /// The number of sockets.
    pub(crate) fn sockets(&self) -> usize {
        self.lock().registry.sockets()
    }

    /// The number of registered ids.
    pub(crate) fn peers(&self) -> usize {
        self.lock().registry.peers()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One socket's place among the others. Dropped, its id is free at once.
pub(crate) struct Seat {
    router: Arc<Router>,
    key: Key,
    outbox: Arc<Outbox>,
}

impl Seat {
    /// What is to be sent to this socket.
    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The STUN and TURN servers for the one that [`Answer::Ice`] names.
    pub(crate) fn ice(&self) -> &Ice {
        &self.router.ice
    }

    /// Does what a text frame of this socket asks for.
    pub(crate) fn hear(&self, text: &str) -> Answer {
        let Frame { id, request } = match Frame::parse(text) {
            Ok(frame) => frame,
            Err(bad) => {
                let response = Response::error(bad.id, bad.error);
                return if bad.is_json { Answer::Response(response) } else { Answer::NotJson(response) };
            }
        };
        let result = match request {
            Request::Ping => Ok("pong".into()),
            Request::Find { id } => Ok(self.router.lock().registry.find(&id).map_or(Value::Null, |_| name(&id))),
            Request::Register { id, secret, .. } => self.register(&id, secret.as_deref()),
            Request::Unregister => Ok(self.unregister()),
            Request::Ice => match self.router.lock().registry.id_of(self.key).cloned() {
                Some(peer) => return id.map_or(Answer::None, |id| Answer::Ice(id, peer)),
                None => Err(Error::new(ErrorCode::NotAuthorized, "register an id before you ask for ICE servers")),
            },
            Request::Signal(signal) => match self.signal(signal) {
                // Without an `id` it is a notification: the documented client hears nothing of an unknown peer.
                Err(error) if id.is_none() && error.code == ErrorCode::PeerNotFound => return Answer::None,
                result => result,
            },
        };
        match (result, id) {
            (Ok(_), None) => Answer::None,
            (Ok(message), id) => Answer::Response(Response::ok(id, message)),
            (Err(error), id) => Answer::Response(Response::error(id, error)),
        }
    }

    fn register(&self, id: &PeerId, secret: Option<&str>) -> Result<Value, Error> {
        let result = self.router.lock().registry.register(self.key, id, secret);
        match result {
            Ok(displaced) => {
                tracing::debug!(?id, taken_over = displaced.is_some(), "registered");
                if let Some(outbox) = displaced {
                    outbox.end(End::TakenOver);
                }
                Ok(name(id))
            }
            Err(Refused::Taken) => {
                let message = format!("the id {id:?} is taken: another peer that is connected now has it");
                Err(Error::new(ErrorCode::IdTaken, message))
            }
            Err(Refused::NoSuchSocket) => Err(Error::new(ErrorCode::NotAuthorized, "this socket is being closed")),
        }
    }

    fn unregister(&self) -> Value {
        let id = self.router.lock().registry.unregister(self.key);
        id.map_or(Value::Null, |id| name(&id))
    }

    fn signal(&self, mut signal: Signal) -> Result<Value, Error> {
        let (from, target) = {
            let state = self.router.lock();
            (state.registry.id_of(self.key).cloned(), state.registry.find(&signal.to).cloned())
        };
        if from.is_none() {
            return Err(Error::new(ErrorCode::NotAuthorized, "register an id before you send signals"));
        }
        signal.from = from;
        if target.is_some_and(|outbox| outbox.push(signal.to_text().into())) {
            return Ok(name(&signal.to));
        }
        let message = format!("nobody is registered with the id {:?}", signal.to);
        Err(Error::new(ErrorCode::PeerNotFound, message))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let id = self.router.lock().registry.remove(self.key);
        if let Some(id) = id {
            tracing::debug!(?id, "freed");
        }
    }
}

fn name(id: &PeerId) -> Value {
    id.as_str().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::task::{Context, Waker};

    use super::*;

    fn router() -> Arc<Router> {
        Arc::new(Router::new(Ice::new(&crate::Options::default(), None, None).unwrap()))
    }

    #[test]
    fn close_ends_every_socket_and_takes_no_more() {
        let router = router();
        let seat = router.seat().unwrap();
        router.close();
        assert_eq!(seat.outbox().watch(&Context::from_waker(Waker::noop())), Some(End::GoingAway));
        assert!(router.seat().is_none());
        assert_eq!(router.sockets(), 1);
    }

    #[test]
    fn a_signal_to_a_socket_that_is_being_ended_is_not_delivered() {
        let router = router();
        let (a, b) = (router.seat().unwrap(), router.seat().unwrap());
        for (seat, id) in [(&a, "a"), (&b, "b")] {
            seat.hear(&format!(r#"{{"message":{{"type":"register","id":"{id}"}}}}"#));
        }
        b.outbox().end(End::TooSlow);
        let answer = a.hear(r#"{"id":"u","message":{"type":"signal","to":"b","signal":""}}"#);
        let Answer::Response(Response { error: Some(error), .. }) = answer else { unreachable!("{answer:?}") };
        assert_eq!(error.code, ErrorCode::PeerNotFound);
    }
}
