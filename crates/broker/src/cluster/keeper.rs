//! What a broker among others does all the time: renews its leases, gives back what nobody needs, reads its inbox, and asks
//! itself whether it still hears it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use linkup_proto::PeerId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::call::{BUCKETS, Call, Item, MAX_ITEMS, Operation, Verdict, Verdicts, bucket};
use super::{Chore, Chores, Cluster, Event, Message, Unreachable, lock};
use crate::metrics::Count;
use crate::outbox::End;
use crate::router::Router;

/// Calls and messages under way at once. With more, the inbox waits.
const MAX_FLYING: usize = 512;

/// Leases are renewed so many times before they run out.
const RENEWALS: u32 = 3;

/// The looks at what is due in the time of a lease. Between two of them one bucket is renewed, so that Redis is never busy
/// with many while signals wait, and a wiped registry does not go unnoticed for longer.
const LOOKS: u32 = RENEWALS * BUCKETS as u32;

/// How long a probe may be under way.
const PROBE: Duration = Duration::from_secs(2);

type Flight = std::pin::Pin<Box<dyn Future<Output = Landed> + Send>>;

/// What came of something.
enum Landed {
    Renewed(Vec<(PeerId, u64)>, Instant, Result<Verdicts, Unreachable>),
    Probed(Result<u64, Unreachable>),
    Done,
}

/// The leases of one bucket.
struct Bucket {
    held: Vec<(PeerId, u64)>,
    due: Instant,
    /// Its turn was the same as that of all others. From then on they take turns, so that something is asked all the time, and
    /// a wiped registry is noticed soon.
    bunched: bool,
}

struct Keeper {
    router: Arc<Router>,
    flying: FuturesUnordered<Flight>,
    buckets: Vec<Bucket>,
    releases: Vec<Vec<(PeerId, u64)>>,
    flushing: Vec<oneshot::Sender<()>>,
    /// The probe under way, and when it must be here.
    probe: Option<(u64, Instant)>,
    next_probe: Instant,
}

/// Runs as long as the broker.
pub(crate) async fn keep(router: Arc<Router>, mut events: mpsc::Receiver<Event>, chores: Chores) {
    let Some(cluster) = router.cluster().cloned() else { return };
    let Chores(mut chores) = chores;
    let now = Instant::now();
    let mut keeper = Keeper {
        router,
        flying: FuturesUnordered::new(),
        buckets: (0..BUCKETS).map(|_| Bucket { held: Vec::new(), due: now, bunched: true }).collect(),
        releases: vec![Vec::new(); BUCKETS],
        flushing: Vec::new(),
        probe: None,
        next_probe: now,
    };
    let mut tick = tokio::time::interval((cluster.lease / LOOKS).max(Duration::from_millis(1)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(landed) = keeper.flying.next(), if !keeper.flying.is_empty() => keeper.land(&cluster, landed),
            Some(chore) = chores.recv() => {
                keeper.chore(&cluster, chore);
                while let Ok(chore) = chores.try_recv() {
                    keeper.chore(&cluster, chore);
                }
                keeper.send_releases(&cluster);
            }
            _ = tick.tick() => keeper.look(&cluster),
            event = events.recv(), if keeper.flying.len() < MAX_FLYING => match event {
                Some(event) => keeper.event(&cluster, event),
                None => return,
            },
        }
        if keeper.flying.is_empty() {
            for done in keeper.flushing.drain(..) {
                let _ = done.send(());
            }
        }
    }
}

/// Calls the script, whatever it answers.
fn call(cluster: &Arc<Cluster>, call: Call) -> Flight {
    let cluster = cluster.clone();
    Box::pin(async move {
        let _ = cluster.script(&call).await;
        Landed::Done
    })
}

impl Keeper {
    fn chore(&mut self, cluster: &Arc<Cluster>, chore: Chore) {
        match chore {
            Chore::Keep(id, generation) => self.buckets[bucket(&id)].held.push((id, generation)),
            Chore::Release(id, generation) => self.releases[bucket(&id)].push((id, generation)),
            Chore::Tell(to, message) => self.tell(cluster, to, &message),
            Chore::Reassert => self.all_due(),
            Chore::Flush(done) => self.flushing.push(done),
        }
    }

    fn tell(&self, cluster: &Cluster, to: super::Name, message: &Message) {
        let sent = cluster.bus.publish(to, message.encode());
        self.flying.push(Box::pin(async move {
            // A broker that is gone needs not know. One that cannot be told finds out at its next renewal.
            let _ = sent.await;
            Landed::Done
        }));
    }

    fn send_releases(&mut self, cluster: &Arc<Cluster>) {
        for (bucket, releases) in self.releases.iter_mut().enumerate() {
            let releases = std::mem::take(releases);
            if !cluster.up.get() {
                // They run out by themselves.
                continue;
            }
            for some in releases.chunks(MAX_ITEMS) {
                let item = |(id, generation): &(PeerId, u64)| Item {
                    id: id.clone(),
                    generation: *generation,
                    since: 0,
                    secret: None,
                };
                let items = some.iter().map(item).collect();
                self.flying.push(call(cluster, Call { operation: Operation::Release, bucket, items }));
            }
        }
    }

    fn event(&mut self, cluster: &Arc<Cluster>, event: Event) {
        match event {
            Event::Up => {
                self.all_due();
                self.send_probe(cluster);
                self.look(cluster);
            }
            Event::Down => {
                self.probe = None;
                cluster.settled.iter().for_each(|settled| settled.store(0, Ordering::Relaxed));
                if self.cut_off(cluster) {
                    tracing::warn!("cut off from the other brokers: Redis does not answer");
                }
            }
            Event::Message(bytes) => match Message::decode(&bytes) {
                Some(message) => self.message(cluster, message),
                None => tracing::warn!(bytes = bytes.len(), "nonsense in the inbox: does somebody else write there?"),
            },
        }
    }

    fn message(&mut self, cluster: &Arc<Cluster>, message: Message) {
        match message {
            Message::Signal { from, request, generation, to, frame } => {
                let delivered = self.router.deliver(&to, generation, frame);
                if delivered {
                    self.router.metrics().count(Count::Delivered);
                }
                if request != 0 {
                    self.tell(cluster, from, &Message::Ack { request, delivered });
                }
            }
            Message::Ack { request, delivered } => {
                let waiting = lock(&cluster.acks).remove(&request);
                // It may have given up.
                let _ = waiting.map(|waiting| waiting.send(delivered));
            }
            Message::Displaced { generation, id } => self.router.revoke(&id, generation, End::TakenOver),
            Message::Probe { nonce } => {
                if self.probe.take_if(|(expected, _)| *expected == nonce).is_some() && !cluster.up.set(true) {
                    tracing::info!("connected with the other brokers");
                }
            }
        }
    }

    fn send_probe(&mut self, cluster: &Arc<Cluster>) {
        let (nonce, now) = (cluster.number(), Instant::now());
        self.probe = Some((nonce, now + PROBE));
        self.next_probe = now + cluster.lease / (2 * RENEWALS);
        let sent = cluster.bus.publish(cluster.name, Message::Probe { nonce }.encode());
        self.flying.push(Box::pin(async move { Landed::Probed(sent.await) }));
    }

    fn all_due(&mut self) {
        let now = Instant::now();
        self.buckets.iter_mut().for_each(|bucket| (bucket.due, bucket.bunched) = (now, true));
    }

    /// Begins what is due.
    fn look(&mut self, cluster: &Arc<Cluster>) {
        let now = Instant::now();
        if self.probe.is_some_and(|(_, until)| until <= now) {
            self.deaf(cluster);
        }
        if self.probe.is_none() && cluster.up.get() && self.next_probe <= now {
            self.send_probe(cluster);
        }
        let mut due = Vec::new();
        let turn = cluster.lease / RENEWALS;
        for (number, bucket) in self.buckets.iter_mut().enumerate() {
            if bucket.due <= now {
                let spread = turn.mul_f64((number + 1) as f64 / BUCKETS as f64);
                bucket.due = now + if std::mem::take(&mut bucket.bunched) { spread } else { turn };
                due.push(number);
            }
        }
        for bucket in due {
            self.renew(cluster, bucket, now);
        }
    }

    /// What is sent to us does not arrive, although Redis answers: no message must be believed to be on its way any more.
    fn deaf(&mut self, cluster: &Cluster) {
        tracing::warn!("the inbox of this broker is not heard any more: connecting to Redis anew");
        self.probe = None;
        self.cut_off(cluster);
        cluster.bus.reset();
    }

    /// Whether that is new.
    fn cut_off(&self, cluster: &Cluster) -> bool {
        let before = cluster.up.set(false);
        if before {
            self.router.metrics().count(Count::CutOff);
        }
        before
    }

    fn renew(&mut self, cluster: &Arc<Cluster>, bucket: usize, now: Instant) {
        let held = std::mem::take(&mut self.buckets[bucket].held);
        if held.is_empty() {
            // A bucket that was wiped begins its quarantine now, not at the first claim that comes.
            self.flying.push(call(cluster, Call { operation: Operation::Find, bucket, items: Vec::new() }));
        }
        for some in held.chunks(MAX_ITEMS) {
            let mut ours = Vec::new();
            let mut items = Vec::new();
            let mut state = self.router.lock();
            for (id, generation) in some {
                // Others are free, or somebody else's.
                let Some(lease) = state.registry.lease_mut(id, *generation) else { continue };
                let since = if lease.until > now { lease.since } else { 0 };
                items.push(Item { id: id.clone(), generation: *generation, since, secret: lease.secret });
                ours.push((id.clone(), *generation));
            }
            drop(state);
            if items.is_empty() {
                continue;
            }
            let (cluster, call) = (cluster.clone(), Call { operation: Operation::Renew, bucket, items });
            self.flying.push(Box::pin(async move {
                let verdicts = cluster.script(&call).await;
                Landed::Renewed(ours, now, verdicts)
            }));
        }
    }

    fn land(&mut self, cluster: &Arc<Cluster>, landed: Landed) {
        match landed {
            Landed::Renewed(some, sent, Ok(verdicts)) => {
                for ((id, generation), verdict) in some.into_iter().zip(verdicts.of) {
                    self.renewed(cluster, id, generation, sent, verdict);
                }
            }
            Landed::Renewed(some, _, Err(Unreachable)) => {
                for (id, generation) in some {
                    self.buckets[bucket(&id)].held.push((id, generation));
                }
            }
            // Nobody listens to our inbox: not even we.
            Landed::Probed(Ok(0)) => self.deaf(cluster),
            Landed::Probed(_) | Landed::Done => {}
        }
    }

    fn renewed(&mut self, cluster: &Arc<Cluster>, id: PeerId, generation: u64, sent: Instant, verdict: Verdict) {
        match verdict {
            Verdict::Granted { since, displaced } => {
                if let Some(lease) = self.router.lock().registry.lease_mut(&id, generation) {
                    lease.since = since;
                    lease.until = lease.until.max(cluster.until(sent));
                } else {
                    // Its socket is gone meanwhile. Where that was said before, this has brought it back.
                    cluster.release(id, generation);
                    return;
                }
                if let Some((holder, generation)) = displaced {
                    cluster.displace(&self.router, holder, &id, generation);
                }
            }
            Verdict::Moved => return self.router.revoke(&id, generation, End::TakenOver),
            Verdict::Taken | Verdict::Lost => return self.router.revoke(&id, generation, End::Lost),
            Verdict::Wait(ms) => {
                // It has run out, and can be had again when the registry is settled.
                let due = Instant::now() + Duration::from_millis(ms).min(cluster.lease / RENEWALS);
                let bucket = &mut self.buckets[bucket(&id)];
                bucket.due = bucket.due.min(due);
            }
            Verdict::Released | Verdict::At(..) | Verdict::None => {}
        }
        self.buckets[bucket(&id)].held.push((id, generation));
    }
}
