//! A simulated Redis on the virtual clock of a paused tokio: the model of the script, inboxes, and all that can go wrong
//! between it and a broker.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::super::bus::{Bus, Event, Later, Unreachable};
use super::super::call::{Call, Name};
use super::super::model::Model;

pub(super) const LEASE: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(2);
const LATENCY: u64 = 30;

/// What brokers share.
pub(super) struct World {
    pub(super) model: Model,
    pub(super) rng: fastrand::Rng,
    snapshot: Option<Model>,
    /// Of the server: new at each start.
    run: u64,
    running: bool,
    /// It takes commands, and does nothing.
    paused: bool,
    cut: BTreeSet<Name>,
    dead: BTreeSet<Name>,
    inboxes: BTreeMap<Name, Inbox>,
    began: Instant,
}

struct Inbox {
    /// Of the broker's connection.
    number: u64,
    connected: bool,
    subscribed: bool,
    /// The server believes in a subscriber that hears nothing.
    mute: bool,
    events: mpsc::Sender<Event>,
    broken: Arc<Notify>,
}

#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World {
            model: Model::new(),
            rng: fastrand::Rng::with_seed(seed),
            snapshot: None,
            run: 1,
            running: true,
            paused: false,
            cut: BTreeSet::new(),
            dead: BTreeSet::new(),
            inboxes: BTreeMap::new(),
            began: Instant::now(),
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A broker's way to the server. The task that keeps it connected ends with the world.
    pub(super) fn bus(&self, name: Name) -> (SimBus, mpsc::Receiver<Event>) {
        let (events, heard) = mpsc::channel(64);
        let broken = Arc::new(Notify::new());
        let (number, connected, subscribed, mute) = (0, false, false, false);
        let inbox = Inbox { number, connected, subscribed, mute, events, broken };
        self.lock().inboxes.insert(name, inbox);
        tokio::spawn(self.clone().stay_connected(name));
        (SimBus { world: self.clone(), name }, heard)
    }

    async fn stay_connected(self, name: Name) {
        loop {
            let (connected, events, broken) = {
                let mut world = self.lock();
                if world.dead.contains(&name) {
                    return;
                }
                let reaches = world.reaches(name);
                let Some(inbox) = world.inboxes.get_mut(&name) else { return };
                if reaches {
                    inbox.number += 1;
                    (inbox.connected, inbox.subscribed, inbox.mute) = (true, true, false);
                }
                (reaches, inbox.events.clone(), inbox.broken.clone())
            };
            if connected {
                if events.send(Event::Up).await.is_err() {
                    return;
                }
                broken.notified().await;
                if events.send(Event::Down).await.is_err() {
                    return;
                }
            }
            self.latency().await;
        }
    }

    async fn latency(&self) {
        let ms = self.lock().rng.u64(0..LATENCY);
        sleep(Duration::from_millis(ms)).await;
    }

    /// Waits until something does as a server that answers: for ever where it does not.
    async fn exchange<T>(&self, name: Name, act: impl FnOnce(&mut World) -> T) -> Result<T, Unreachable> {
        let number = self.lock().connection(name).ok_or(Unreachable)?;
        let all = async {
            self.latency().await;
            while self.lock().paused {
                sleep(Duration::from_millis(100)).await;
            }
            let done = {
                let mut world = self.lock();
                let served = world.reaches(name) && world.inboxes[&name].number == number;
                served.then(|| act(&mut world))
            };
            self.latency().await;
            let back = self.lock().reaches(name) && self.lock().connection(name) == Some(number);
            match done {
                Some(done) if back => done,
                _ => std::future::pending().await,
            }
        };
        match timeout(ANSWER, all).await {
            Ok(done) => Ok(done),
            Err(_) => {
                self.lock().disconnect(name, Some(number));
                Err(Unreachable)
            }
        }
    }
}

impl World {
    fn reaches(&self, name: Name) -> bool {
        self.running && !self.cut.contains(&name) && !self.dead.contains(&name)
    }

    fn connection(&self, name: Name) -> Option<u64> {
        self.inboxes.get(&name).filter(|inbox| inbox.connected).map(|inbox| inbox.number)
    }

    fn disconnect(&mut self, name: Name, number: Option<u64>) {
        if let Some(inbox) = self.inboxes.get_mut(&name)
            && inbox.connected
            && number.is_none_or(|number| number == inbox.number)
        {
            (inbox.connected, inbox.subscribed) = (false, false);
            inbox.broken.notify_one();
        }
    }

    fn us(&self) -> u64 {
        1_000_000_000_000 + u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The server ends. Its connections are reset, where packets pass.
    pub(super) fn stop(&mut self) {
        self.running = false;
        let names: Vec<_> = self.inboxes.keys().copied().collect();
        for name in names {
            if !self.cut.contains(&name) {
                self.disconnect(name, None);
            }
        }
    }

    /// It starts: empty, or with what was saved.
    pub(super) fn start(&mut self, saved: bool) {
        (self.running, self.paused) = (true, false);
        self.run += 1;
        match self.snapshot.take().filter(|_| saved) {
            Some(snapshot) => self.model = snapshot,
            None => self.model.wipe(),
        }
    }

    pub(super) fn save(&mut self) {
        self.snapshot = Some(self.model.snapshot());
    }

    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    pub(super) fn cut(&mut self, name: Name, cut: bool) {
        if cut {
            self.cut.insert(name);
        } else {
            self.cut.remove(&name);
        }
    }

    pub(super) fn kill(&mut self, name: Name) {
        self.dead.insert(name);
        self.disconnect(name, None);
    }

    /// The subscription is lost and nobody says so: the server has forgotten it, or still counts it.
    pub(super) fn lose_inbox(&mut self, name: Name, counted: bool) {
        if let Some(inbox) = self.inboxes.get_mut(&name) {
            (inbox.subscribed, inbox.mute) = (counted && inbox.subscribed, true);
        }
    }

    pub(super) fn heal(&mut self) {
        self.cut.clear();
        self.paused = false;
        if !self.running {
            self.start(false);
        }
    }
}

pub(super) struct SimBus {
    world: Shared,
    name: Name,
}

impl Bus for SimBus {
    fn script(&self, call: &Call) -> Later<Vec<String>> {
        let (world, name, call) = (self.world.clone(), self.name, call.clone());
        Box::pin(async move {
            let lease = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
            let run = |world: &mut World| {
                let (run, us) = (world.run.to_string(), world.us());
                world.model.run(&call, &name.to_string(), lease, &run, us)
            };
            world.exchange(name, run).await
        })
    }

    fn publish(&self, to: Name, message: Vec<u8>) -> Later<u64> {
        let (world, name) = (self.world.clone(), self.name);
        Box::pin(async move {
            let courier = world.clone();
            let publish = move |world: &mut World| {
                let Some(inbox) = world.inboxes.get(&to).filter(|inbox| inbox.subscribed) else { return 0 };
                if !inbox.mute {
                    let (events, number) = (inbox.events.clone(), inbox.number);
                    tokio::spawn(async move {
                        courier.latency().await;
                        let arrives = courier.lock().reaches(to) && courier.lock().connection(to) == Some(number);
                        if arrives {
                            let _ = events.try_send(Event::Message(message));
                        }
                    });
                }
                1
            };
            world.exchange(name, publish).await
        })
    }

    fn reset(&self) {
        self.world.lock().disconnect(self.name, None);
    }
}
