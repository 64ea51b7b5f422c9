//! What each message of a peer does. Knows the registry and the outboxes; WebSockets are the session's matter, and what other
//! brokers have a part in is that of `cluster`.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use linkup_proto::broker::{Frame, Request, Response, Signal, register_statement};
use linkup_proto::{Error, ErrorCode, PeerId, PublicKey, key};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::auth::{Guard, Verdict};
use crate::cluster::{self, Cluster};
use crate::ice::Ice;
use crate::limits::Limits;
use crate::metrics::{Count, Metrics};
use crate::outbox::{Bounds, End, Outbox};
use crate::registry::{Freed, Key, Reach, Refused, Registry};

/// What all sockets share: who has which id.
pub(crate) struct Router {
    state: Mutex<State>,
    ice: Ice,
    guard: Guard,
    bounds: Bounds,
    metrics: Metrics,
    /// Where there are other brokers.
    cluster: Option<Arc<Cluster>>,
    /// Makes the sockets' challenges.
    challenges: hmac::Key,
}

pub(crate) struct State {
    pub(crate) registry: Registry<Arc<Outbox>>,
    closed: bool,
}

/// An answer for which other brokers are asked. Never another `Later`.
pub(crate) type Later = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What a frame gets.
pub(crate) enum Answer {
    /// Nothing: it was a notification.
    None,
    /// A response.
    Response(Response),
    /// A response, and then the end: what this client sends is no JSON.
    NotJson(Response),
    /// The servers of [`Seat::ice`] for this peer, as response to this frame.
    Ice(String, PeerId),
    /// A registration about which somebody else decides: then [`Seat::decided`].
    Ask(Box<Claim>),
    /// That is not known yet.
    Later(Later),
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Response(response) | Self::NotJson(response) => response.fmt(f),
            Self::Ice(..) => f.write_str("Ice"),
            Self::Ask(_) => f.write_str("Ask"),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// A registration that waits for a decision.
pub(crate) struct Claim {
    frame: Option<String>,
    pub(crate) id: PeerId,
    secret: Option<String>,
    pub(crate) token: Option<String>,
}

impl Router {
    pub(crate) fn new(ice: Ice, guard: Guard, limits: &Limits, cluster: Option<Arc<Cluster>>) -> Self {
        let state = Mutex::new(State { registry: Registry::new(), closed: false });
        #[expect(clippy::expect_used, reason = "a system without random numbers runs no server")]
        let challenges = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).expect("random numbers");
        let (bounds, metrics) = (Bounds::new(limits), Metrics::new());
        Self { state, ice, guard, bounds, metrics, cluster, challenges }
    }

    /// This broker's part among others. `None` where it is alone.
    pub(crate) fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// Whether new peers can register.
    pub(crate) fn is_ready(&self) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| cluster.is_ready())
    }

    /// Puts a signal of another broker's peer into the queue of the socket that has an id by this very lease.
    pub(crate) fn deliver(&self, to: &PeerId, generation: u64, frame: String) -> bool {
        let outbox = self.lock().registry.find_leased(to, generation, Instant::now()).cloned();
        outbox.is_some_and(|outbox| outbox.push(frame.into()))
    }

    /// Takes an id from its socket and ends it, unless it has a new lease by now.
    pub(crate) fn revoke(&self, id: &PeerId, generation: u64, end: End) {
        let outbox = self.lock().registry.revoke(id, generation);
        if let Some(outbox) = outbox {
            tracing::debug!(?id, ?end, "revoked");
            outbox.end(end);
        }
    }

    /// Gives back what several brokers share.
    fn give_back(&self, freed: &Freed) {
        if let (Some(cluster), Some(generation)) = (&self.cluster, freed.generation) {
            cluster.release(freed.id.clone(), generation);
        }
    }

    /// The answer to a request with this id; without one only an error is told.
    fn answer(&self, id: Option<String>, result: Result<Value, Error>) -> Answer {
        match (result, id) {
            (Ok(_), None) => Answer::None,
            (Ok(message), id) => Answer::Response(Response::ok(id, message)),
            (Err(error), id) => {
                self.metrics.refused(error.code);
                // Without an `id` it is a notification: the documented client hears nothing of an unknown peer.
                if id.is_none() && error.code == ErrorCode::PeerNotFound {
                    return Answer::None;
                }
                Answer::Response(Response::error(id, error))
            }
        }
    }

    /// The same when the result is known.
    fn later(
        self: &Arc<Self>,
        id: Option<String>,
        result: impl Future<Output = Result<Value, Error>> + Send + 'static,
    ) -> Answer {
        let router = self.clone();
        Answer::Later(Box::pin(async move { router.answer(id, result.await) }))
    }

    /// A place for a new socket, for as long as the [`Seat`] lives. `None` where the broker closes.
    pub(crate) fn seat(self: &Arc<Self>) -> Option<Seat> {
        let outbox = Arc::new(Outbox::new(self.bounds));
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        let key = state.registry.add(outbox.clone());
        Some(Seat { router: self.clone(), key, outbox })
    }

    /// Ends every socket, and takes no more.
    pub(crate) fn close(&self) {
        for outbox in self.refuse() {
            outbox.end(End::GoingAway);
        }
    }

    /// Takes no more sockets. Returns those that there are.
    pub(crate) fn refuse(&self) -> Vec<Arc<Outbox>> {
        let mut state = self.lock();
        state.closed = true;
        state.registry.handles().cloned().collect()
    }

    /// The STUN and TURN servers for the one that [`Answer::Ice`] names.
    pub(crate) fn ice(&self) -> &Ice {
        &self.ice
    }

    /// Who decides where [`Answer::Ask`] asks.
    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The number of sockets.
    pub(crate) fn sockets(&self) -> usize {
        self.lock().registry.sockets()
    }

    /// The number of registered ids.
    pub(crate) fn peers(&self) -> usize {
        self.lock().registry.peers()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// The same, for who looks at it when the socket is gone.
    #[cfg(test)]
    pub(crate) fn shared_outbox(&self) -> Arc<Outbox> {
        self.outbox.clone()
    }

    /// Does what a text frame of this socket asks for.
    pub(crate) fn hear(&self, text: &str) -> Answer {
        let Frame { id, request } = match Frame::parse(text) {
            Ok(frame) => frame,
            Err(bad) => {
                self.router.metrics.count(Count::Nonsense);
                self.router.metrics.refused(bad.error.code);
                let response = Response::error(bad.id, bad.error);
                return if bad.is_json { Answer::Response(response) } else { Answer::NotJson(response) };
            }
        };
        self.router.metrics.count(kind(&request));
        let result = match request {
            Request::Ping => Ok("pong".into()),
            Request::Find { id: peer } => return self.find(id, peer),
            Request::Register { id: peer, proof, .. } if !self.is_proven(&peer, proof.as_deref()) => {
                let message = "this id is a key: its owner signs the challenge";
                let details = json!({"challenge": self.challenge()});
                Err(Error::new(ErrorCode::NotAuthorized, message).with_details(details))
            }
            Request::Register { id: peer, secret, token, .. } => match self.router.guard.check(&peer, token.as_deref())
            {
                Verdict::Yes => return self.register(id, peer, secret),
                Verdict::No(why) => Err(Error::new(ErrorCode::NotAuthorized, why)),
                Verdict::Ask => return Answer::Ask(Box::new(Claim { frame: id, id: peer, secret, token })),
            },
            Request::Unregister => Ok(self.unregister()),
            Request::Ice => match self.router.lock().registry.id_of(self.key).cloned() {
                Some(peer) => return id.map_or(Answer::None, |id| Answer::Ice(id, peer)),
                None => Err(Error::new(ErrorCode::NotAuthorized, "register an id before you ask for ICE servers")),
            },
            Request::Signal(signal) => return self.signal(id, signal),
        };
        self.router.answer(id, result)
    }

    /// Does what a registration asks for, of which [`Answer::Ask`] has asked. An error denies it.
    pub(crate) fn decided(&self, claim: Claim, decision: Result<(), String>) -> Answer {
        match decision {
            Ok(()) => self.register(claim.frame, claim.id, claim.secret),
            Err(why) => self.router.answer(claim.frame, Err(Error::new(ErrorCode::NotAuthorized, why))),
        }
    }

    /// What the owner of a key has to sign here: nothing that was signed on another socket, or at another broker.
    fn challenge(&self) -> String {
        key::encode(hmac::sign(&self.router.challenges, &self.key.0.to_be_bytes()).as_ref())
    }

    /// An id that is a key is for whoever has that key.
    fn is_proven(&self, id: &PeerId, proof: Option<&str>) -> bool {
        let Some(key) = PublicKey::of_id(id) else { return true };
        let Some(proof) = proof.and_then(key::decode::<64>) else { return false };
        let statement = register_statement(&self.challenge(), id);
        UnparsedPublicKey::new(&ED25519, key.as_bytes()).verify(&statement, &proof).is_ok()
    }

    fn find(&self, request: Option<String>, peer: PeerId) -> Answer {
        let here = matches!(self.router.lock().registry.find(&peer, Instant::now), Reach::Here(_));
        let cluster = self.router.cluster.clone().filter(|_| !here);
        let found = |found, peer: PeerId| Ok(if found { name(&peer) } else { Value::Null });
        match cluster {
            None => self.router.answer(request, found(here, peer)),
            Some(cluster) => self.router.later(request, async move { found(cluster.find(&peer).await?, peer) }),
        }
    }

    fn register(&self, request: Option<String>, peer: PeerId, secret: Option<String>) -> Answer {
        if self.router.cluster.is_some() {
            let (router, key) = (self.router.clone(), self.key);
            return self.router.later(request, async move {
                cluster::claim(router, key, peer.clone(), secret).await?;
                Ok(name(&peer))
            });
        }
        let result = self.router.lock().registry.register(self.key, &peer, secret.as_deref());
        let result = match result {
            Ok(displaced) => {
                tracing::debug!(id = ?peer, taken_over = displaced.is_some(), "registered");
                if let Some(outbox) = displaced {
                    outbox.end(End::TakenOver);
                }
                Ok(name(&peer))
            }
            Err(Refused::Taken) => Err(cluster::taken(&peer)),
            Err(Refused::NoSuchSocket) => Err(Error::new(ErrorCode::NotAuthorized, "this socket is being closed")),
        };
        self.router.answer(request, result)
    }

    fn unregister(&self) -> Value {
        let freed = self.router.lock().registry.unregister(self.key);
        freed.map_or(Value::Null, |freed| {
            self.router.give_back(&freed);
            name(&freed.id)
        })
    }

    fn signal(&self, request: Option<String>, mut signal: Signal) -> Answer {
        let (from, target) = {
            let state = self.router.lock();
            let from = state.registry.id_of(self.key).cloned();
            let speaks = from.as_ref().map(|from| state.registry.find(from, Instant::now));
            if matches!(speaks, Some(Reach::Lapsed)) {
                // Somebody else may have the id by now: whoever hears this would answer to them.
                return self.router.answer(request, Err(cluster::cut_off()));
            }
            let target = match state.registry.find(&signal.to, Instant::now) {
                Reach::Here(outbox) => Some(outbox.clone()),
                Reach::Lapsed | Reach::NotHere => None,
            };
            (from, target)
        };
        if from.is_none() {
            let error = Error::new(ErrorCode::NotAuthorized, "register an id before you send signals");
            return self.router.answer(request, Err(error));
        }
        signal.from = from;
        let result = match (target, &self.router.cluster) {
            (Some(outbox), _) if outbox.push(signal.to_text().into()) => Ok(name(&signal.to)),
            (None, Some(cluster)) => {
                let (router, cluster) = (self.router.clone(), cluster.clone());
                let confirmed = request.is_some();
                return self.router.later(request, async move {
                    cluster.pass_on(&router, &signal, confirmed).await?;
                    Ok(name(&signal.to))
                });
            }
            _ => Err(cluster::not_found(&signal.to)),
        };
        self.router.answer(request, result)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let freed = self.router.lock().registry.remove(self.key);
        if let Some(freed) = freed {
            tracing::debug!(id = ?freed.id, "freed");
            self.router.give_back(&freed);
        }
    }
}

fn name(id: &PeerId) -> Value {
    id.as_str().into()
}

fn kind(request: &Request) -> Count {
    match request {
        Request::Ping => Count::Ping,
        Request::Find { .. } => Count::Find,
        Request::Register { .. } => Count::Register,
        Request::Unregister => Count::Unregister,
        Request::Signal(_) => Count::Signal,
        Request::Ice => Count::Ice,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::task::{Context, Waker};

    use super::*;

    fn router() -> Arc<Router> {
        let options = crate::Options::default();
        let ice = Ice::new(&options, None, None).unwrap();
        Arc::new(Router::new(ice, Guard::new(&options.auth).unwrap(), &options.limits, None))
    }

    /// What is lapsed at a broker that reaches nobody is neither spoken for nor spoken to.
    #[test]
    fn a_lapsed_id_neither_sends_nor_receives() {
        let options = crate::Options::default();
        let ice = Ice::new(&options, None, None).unwrap();
        let guard = Guard::new(&options.auth).unwrap();
        let router = Arc::new(Router::new(ice, guard, &options.limits, Some(Arc::new(Cluster::alone()))));
        let now = Instant::now();
        let (a, b) = (router.seat().unwrap(), router.seat().unwrap());
        for (seat, id, until) in [(&a, "a", now), (&b, "b", now + std::time::Duration::from_secs(60))] {
            let lease = cluster::Lease { generation: 1, since: 1, until, secret: None };
            router.lock().registry.grant(seat.key, &PeerId::new(id).unwrap(), lease);
        }
        let frame = |to: &str| format!(r#"{{"id":"u","message":{{"type":"signal","to":"{to}","signal":""}}}}"#);
        let Answer::Response(Response { error: Some(error), .. }) = a.hear(&frame("b")) else { unreachable!() };
        assert_eq!(error.code, ErrorCode::BrokerUnreachable);
        assert!(b.outbox().pop().is_none());
        // Others are asked where it is now.
        assert!(matches!(b.hear(&frame("a")), Answer::Later(_)));
        assert!(a.outbox().pop().is_none());
        assert!(matches!(b.hear(&frame("b")), Answer::Response(Response { error: None, .. })));
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
