//! What a peer wants that concerns other brokers: to have an id, to find one, to send a signal.

use std::sync::Arc;
use std::time::Duration;

use linkup_proto::broker::Signal;
use linkup_proto::{Error, ErrorCode, PeerId};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::call::{Call, Operation, SecretHash, Verdict};
use super::{Chore, Cluster, Lease, Message, Name, Unreachable, lock};
use crate::metrics::Count;
use crate::outbox::End;
use crate::registry::{Granted, Key};
use crate::router::Router;

/// How long a claim waits for a broker that is just connecting, and a signal for the word of the broker that has the id.
const PATIENCE: Duration = Duration::from_secs(2);

impl From<Unreachable> for Error {
    fn from(Unreachable: Unreachable) -> Self {
        cut_off()
    }
}

/// What a peer hears while Redis cannot be reached.
pub(crate) fn cut_off() -> Error {
    let message = "this broker is cut off from the others: only peers that it has itself can be reached; try again";
    Error::new(ErrorCode::BrokerUnreachable, message)
}

fn young(ms: u64) -> Error {
    let seconds = ms.div_ceil(1000);
    let message = format!("the brokers' registry was lost and is being rebuilt: try again in {seconds} s");
    Error::new(ErrorCode::BrokerUnreachable, message)
}

pub(crate) fn taken(id: &PeerId) -> Error {
    Error::new(ErrorCode::IdTaken, format!("the id {id:?} is taken: another peer that is connected now has it"))
}

pub(crate) fn not_found(id: &PeerId) -> Error {
    Error::new(ErrorCode::PeerNotFound, format!("nobody is registered with the id {id:?}"))
}

/// Claims an id for a socket. Goes on when nobody waits any more: what was granted is to be kept or given back.
pub(crate) async fn claim(router: Arc<Router>, key: Key, id: PeerId, secret: Option<String>) -> Result<(), Error> {
    let claim = tokio::spawn(async move {
        let cluster = router.cluster().ok_or(Unreachable)?;
        cluster.claim(&router, key, &id, secret.as_deref()).await
    });
    claim.await.map_err(|_| cut_off())?
}

impl Cluster {
    async fn claim(&self, router: &Router, key: Key, id: &PeerId, secret: Option<&str>) -> Result<(), Error> {
        let secret = SecretHash::new(id, secret);
        timeout(PATIENCE, self.up.wait()).await.map_err(|_| cut_off())?;
        let held = router.lock().registry.generation(key, id);
        let generation = held.unwrap_or_else(|| self.number());
        let sent = Instant::now();
        let verdict = self.one(Call::one(Operation::Claim, id, generation, secret)).await;
        match verdict {
            Ok(Verdict::Granted { since, displaced }) => {
                let lease = Lease { generation, since, until: self.until(sent), secret };
                let granted = router.lock().registry.grant(key, id, lease);
                if let Some((holder, generation)) = displaced {
                    self.displace(router, holder, id, generation);
                }
                match granted {
                    Granted::Done { displaced, freed } => {
                        if let Some(outbox) = displaced {
                            outbox.end(End::TakenOver);
                        }
                        if let Some((freed, generation)) = freed.and_then(|freed| Some((freed.id, freed.generation?))) {
                            self.release(freed, generation);
                        }
                        if held.is_none() {
                            self.to_do(Chore::Keep(id.clone(), generation));
                        }
                        Ok(())
                    }
                    Granted::NoSuchSocket => {
                        self.release(id.clone(), generation);
                        Err(Error::new(ErrorCode::NotAuthorized, "this socket is being closed"))
                    }
                    Granted::Outdated => Err(taken(id)),
                }
            }
            Ok(Verdict::Wait(ms)) => Err(young(ms)),
            Ok(_) => Err(taken(id)),
            Err(Unreachable) => {
                // It may have been granted: nobody should wait until that has run out.
                if held.is_none() {
                    self.release(id.clone(), generation);
                }
                Err(cut_off())
            }
        }
    }

    /// Tells a broker that an id which it had is elsewhere.
    pub(super) fn displace(&self, router: &Router, holder: Name, id: &PeerId, generation: u64) {
        if holder == self.name {
            router.revoke(id, generation, End::TakenOver);
        } else {
            self.to_do(Chore::Tell(holder, Message::Displaced { generation, id: id.clone() }));
        }
    }

    /// Asks the registry about one id.
    async fn one(&self, call: Call) -> Result<Verdict, Unreachable> {
        self.script(&call).await?.of.pop().ok_or(Unreachable)
    }

    async fn locate(&self, id: &PeerId) -> Result<Option<(Name, u64)>, Error> {
        match self.one(Call::one(Operation::Find, id, 0, None)).await? {
            Verdict::At(name, generation) => Ok(Some((name, generation))),
            Verdict::Wait(ms) => Err(young(ms)),
            _ => Ok(None),
        }
    }

    /// Whether somebody has an id.
    pub(crate) async fn find(&self, id: &PeerId) -> Result<bool, Error> {
        Ok(self.locate(id).await?.is_some())
    }

    /// Passes a signal on to whichever broker has the id. With `confirmed`, waits until it is in the socket's queue.
    ///
    /// # Errors
    /// Where it was not delivered, or where that is not known.
    pub(crate) async fn pass_on(&self, router: &Router, signal: &Signal, confirmed: bool) -> Result<(), Error> {
        let to = &signal.to;
        let Some((holder, generation)) = self.locate(to).await? else { return Err(not_found(to)) };
        let frame = signal.to_text();
        if holder == self.name {
            return if router.deliver(to, generation, frame) { Ok(()) } else { Err(not_found(to)) };
        }
        let ack = confirmed.then(|| Ack::new(self));
        let request = ack.as_ref().map_or(0, |ack| ack.request);
        let message = Message::Signal { from: self.name, request, generation, to: to.clone(), frame };
        if self.bus.publish(holder, message.encode()).await? == 0 {
            // That broker is gone, and so are its peers.
            return Err(not_found(to));
        }
        router.metrics().count(Count::PassedOn);
        let Some(mut ack) = ack else { return Ok(()) };
        match timeout(PATIENCE, &mut ack.word).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(not_found(to)),
            _ => {
                let message = format!("the broker that has {to:?} did not confirm the signal: perhaps it is lost");
                Err(Error::new(ErrorCode::BrokerUnreachable, message))
            }
        }
    }
}

/// A request whose [`Message::Ack`] is waited for.
struct Ack<'a> {
    cluster: &'a Cluster,
    request: u64,
    word: oneshot::Receiver<bool>,
}

impl<'a> Ack<'a> {
    fn new(cluster: &'a Cluster) -> Self {
        let (sender, word) = oneshot::channel();
        let request = cluster.number();
        lock(&cluster.acks).insert(request, sender);
        Self { cluster, request, word }
    }
}

impl Drop for Ack<'_> {
    fn drop(&mut self) {
        lock(&self.cluster.acks).remove(&self.request);
    }
}
