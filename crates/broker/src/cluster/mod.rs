//! Many brokers that are one: an id that is claimed at one of them is claimed at all, and signals find their way.
//!
//! What is common is in Redis. A *registry* there knows who has which id: a claim is a lease, which its broker renews, and
//! which another owner cannot have before it has run out. Signals go to the *inbox* of the broker that has the id, and name
//! the very claim that they are for. docs/nodes.md says what follows from that, and what happens in which outage.
//!
//! From the inside out: `call` and `registry.lua` are the registry's rules, `message` what brokers tell each other, `bus`
//! how that travels, `redis` the real one; `ask` does what a peer wants, `keeper` what is to be done all the time.

mod ask;
mod bus;
mod call;
mod keeper;
mod message;
#[cfg(test)]
mod model;
mod options;
mod redis;
#[cfg(test)]
mod script_test;
#[cfg(test)]
#[path = "../../tests/common/redis.rs"]
mod server;
#[cfg(test)]
mod sim;

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use linkup_proto::PeerId;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

pub(crate) use self::ask::{claim, cut_off, not_found, taken};
use self::bus::Bus;
pub(crate) use self::bus::Event;
use self::bus::Unreachable;
use self::call::{BUCKETS, Call, Name, SecretHash, Verdicts};
pub(crate) use self::keeper::keep;
use self::message::Message;
pub use self::options::RedisOptions;
use self::redis::Redis;
use crate::turn::random;

/// The part of a lease by which a broker lets go of it earlier than the registry does: their clocks do not run exactly alike.
const MARGIN: u32 = 50;

/// By what right a broker has an id.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    /// Names the claim among all of this broker.
    pub(crate) generation: u64,
    /// When it was granted, on the registry's clock.
    pub(crate) since: u64,
    /// Until when nobody else can have it.
    pub(crate) until: Instant,
    pub(crate) secret: Option<SecretHash>,
}

/// What is to be done beside the peers' questions.
enum Chore {
    /// Renew this lease from now on.
    Keep(PeerId, u64),
    /// Give it back.
    Release(PeerId, u64),
    /// Leave a message.
    Tell(Name, Message),
    /// The registry was wiped: assert all leases now.
    Reassert,
    /// Say when all before this is done.
    Flush(oneshot::Sender<()>),
}

/// This broker's side of it.
pub(crate) struct Cluster {
    bus: Arc<dyn Bus>,
    name: Name,
    lease: Duration,
    numbers: AtomicU64,
    /// For each bucket, what [`Verdicts::settled`] was last on this connection; 0 where that is not known.
    settled: [AtomicU64; BUCKETS],
    /// Whether the bus carries, and our inbox is heard.
    up: Up,
    /// Until when the registry takes no new claims, as far as we know.
    young: Mutex<Option<Instant>>,
    /// Who waits for the [`Message::Ack`] of which request.
    acks: Mutex<HashMap<u64, oneshot::Sender<bool>>>,
    chores: mpsc::UnboundedSender<Chore>,
}

/// What [`keep`] works off.
pub(crate) struct Chores(mpsc::UnboundedReceiver<Chore>);

impl Cluster {
    fn new(bus: Arc<dyn Bus>, name: Name, lease: Duration) -> (Self, Chores) {
        let (chores, to_do) = mpsc::unbounded_channel();
        let cluster = Self {
            bus,
            name,
            lease,
            numbers: AtomicU64::new(0),
            settled: [const { AtomicU64::new(0) }; BUCKETS],
            up: Up::default(),
            young: Mutex::default(),
            acks: Mutex::default(),
            chores,
        };
        (cluster, Chores(to_do))
    }

    /// One that begins to connect to Redis.
    ///
    /// # Errors
    /// A sentence about the option that is wrong; where the system has no random numbers.
    pub(crate) fn over_redis(options: &RedisOptions) -> io::Result<(Self, Chores, mpsc::Receiver<Event>)> {
        let name = Name(random()?);
        let (redis, events) = Redis::start(options, name)?;
        let lease = redis.lease();
        let (cluster, chores) = Self::new(Arc::new(redis), name, lease);
        Ok((cluster, chores, events))
    }

    /// One that never reaches another.
    #[cfg(test)]
    pub(crate) fn alone() -> Self {
        Self::new(Arc::new(bus::Nowhere), Name([0; 16]), Duration::from_secs(1)).0
    }

    /// Whether it reaches the others.
    pub(crate) fn is_up(&self) -> bool {
        self.up.get()
    }

    /// Whether peers may be sent to this broker: it reaches the others, and ids can be had.
    pub(crate) fn is_ready(&self) -> bool {
        let known = || self.settled.iter().all(|settled| settled.load(Ordering::Relaxed) != 0);
        self.up.get() && known() && lock(&self.young).is_none_or(|until| until <= Instant::now())
    }

    /// Gives a lease back, some time.
    pub(crate) fn release(&self, id: PeerId, generation: u64) {
        self.to_do(Chore::Release(id, generation));
    }

    /// Waits until what was given back is so, if the registry answers.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        self.to_do(Chore::Flush(done));
        // An error is a keeper that has ended already.
        let _ = flushed.await;
    }

    fn to_do(&self, chore: Chore) {
        // Where nobody works them off any more, the broker has ended.
        let _ = self.chores.send(chore);
    }

    /// A number that this broker has not used yet.
    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Asks the registry.
    async fn script(&self, call: &Call) -> Result<Verdicts, Unreachable> {
        let answer = self.bus.script(call).await?;
        let Some(verdicts) = Verdicts::read(&answer, call.items.len()) else {
            tracing::error!(?answer, "the registry in Redis answers nonsense");
            return Err(Unreachable);
        };
        let before = self.settled[call.bucket].swap(verdicts.settled, Ordering::Relaxed);
        if before != 0 && before != verdicts.settled {
            tracing::warn!("the registry in Redis was wiped: asserting all ids again");
            self.to_do(Chore::Reassert);
        }
        if verdicts.wait > 0 {
            let until = Instant::now() + Duration::from_millis(verdicts.wait);
            let mut young = lock(&self.young);
            *young = (*young).max(Some(until));
        }
        Ok(verdicts)
    }

    /// Until when a lease is ours that was asked for at `sent`.
    fn until(&self, sent: Instant) -> Instant {
        sent + self.lease - self.lease / MARGIN
    }
}

/// Whether the others can be reached.
#[derive(Default)]
struct Up {
    is: AtomicBool,
    changed: Notify,
}

impl Up {
    fn get(&self) -> bool {
        self.is.load(Ordering::Acquire)
    }

    /// Returns what it was before.
    fn set(&self, up: bool) -> bool {
        let before = self.is.swap(up, Ordering::AcqRel);
        self.changed.notify_waiters();
        before
    }

    async fn wait(&self) {
        loop {
            let changed = self.changed.notified();
            if self.get() {
                return;
            }
            changed.await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
