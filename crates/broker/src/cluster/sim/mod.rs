//! Several brokers, their peers, a Redis, and everything that can go wrong, on a virtual clock: the same seed is the same
//! story. The brokers are the real ones, from the frame of a peer to the message in an inbox; Redis is the model of its
//! script. What must hold, whatever happens:
//!
//! - An id has never two owners. The same owner may have it twice, for no longer than a lease.
//! - A signal comes to a socket that has the id which it is for, and once.
//! - Each request is answered; a signal that was confirmed has been delivered.
//! - When all is well again, everybody can be reached.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod peers;
mod world;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use self::peers::Ledger;
use self::world::{LEASE, Shared};
use super::call::Name;
use super::{Cluster, keep};
use crate::auth::Guard;
use crate::ice::Ice;
use crate::router::Router;

const BROKERS: usize = 3;
const PEERS: usize = 8;
const FAULTS: usize = 8;

/// A running broker.
#[derive(Clone)]
pub(super) struct Node {
    name: Name,
    router: Arc<Router>,
    keeper: Arc<JoinHandle<()>>,
}

/// The brokers of a story, of which some die and others come.
pub(super) struct Nodes {
    world: Shared,
    alive: std::sync::Mutex<Vec<Node>>,
}

impl Nodes {
    fn begin(&self) {
        let name = Name(self.world.lock().rng.u128(..).to_be_bytes());
        let (bus, events) = self.world.bus(name);
        let (cluster, chores) = Cluster::new(Arc::new(bus), name, LEASE);
        let options = crate::Options::default();
        let ice = Ice::new(&options, None, None).unwrap();
        let guard = Guard::new(&options.auth).unwrap();
        let router = Arc::new(Router::new(ice, guard, &options.limits, Some(Arc::new(cluster))));
        let keeper = Arc::new(tokio::spawn(keep(router.clone(), events, chores)));
        self.alive.lock().unwrap().push(Node { name, router, keeper });
    }

    fn all(&self) -> Vec<Node> {
        self.alive.lock().unwrap().clone()
    }

    fn any(&self) -> Node {
        let at = self.world.lock().rng.usize(0..BROKERS);
        self.alive.lock().unwrap()[at].clone()
    }

    /// `kill -9`, and another one is started.
    fn replace_one(&self) {
        let node = {
            let at = self.world.lock().rng.usize(0..BROKERS);
            self.alive.lock().unwrap().remove(at)
        };
        self.world.lock().kill(node.name);
        node.keeper.abort();
        node.router.close();
        self.begin();
    }

    /// A broker that is told to end, and another one.
    async fn drain_one(&self) {
        let node = self.any();
        node.router.close();
        // Its sockets go, and what they had is given back.
        sleep(Duration::from_millis(200)).await;
        let _ = tokio::time::timeout(Duration::from_secs(1), node.router.cluster().unwrap().flush()).await;
        self.alive.lock().unwrap().retain(|other| other.name != node.name);
        self.world.lock().kill(node.name);
        node.keeper.abort();
        self.begin();
    }
}

/// Which faults a story has.
#[derive(Clone, Copy)]
enum Story {
    /// Only those of brokers: killed, drained, cut off, deaf.
    Brokers,
    /// Those of Redis too.
    All,
    /// Always this one.
    Only(u32),
}

const CUT: u32 = 2;
const WIPE: u32 = 7;

async fn pass(nodes: &Nodes, from: u64, to: u64) {
    let ms = nodes.world.lock().rng.u64(from..to);
    sleep(Duration::from_millis(ms)).await;
}

async fn fault(nodes: &Nodes, story: Story) {
    let kinds = match story {
        Story::Brokers => 0..5,
        Story::All => 0..10,
        Story::Only(kind) => kind..kind + 1,
    };
    let kind = nodes.world.lock().rng.u32(kinds);
    let node = nodes.any();
    match kind {
        0 => nodes.replace_one(),
        1 => nodes.drain_one().await,
        CUT => {
            nodes.world.lock().cut(node.name, true);
            pass(nodes, 500, 25_000).await;
            nodes.world.lock().cut(node.name, false);
        }
        3 | 4 => nodes.world.lock().lose_inbox(node.name, kind == 3),
        5 | 6 => {
            let saved = kind == 5;
            nodes.world.lock().save();
            pass(nodes, 0, 8_000).await;
            nodes.world.lock().stop();
            pass(nodes, 100, 15_000).await;
            nodes.world.lock().start(saved);
        }
        WIPE => nodes.world.lock().model.wipe(),
        8 => {
            nodes.world.lock().pause(true);
            pass(nodes, 500, 20_000).await;
            nodes.world.lock().pause(false);
        }
        // Somebody is cut off while the others lose the registry.
        _ => {
            nodes.world.lock().cut(node.name, true);
            pass(nodes, 0, 6_000).await;
            nodes.world.lock().model.wipe();
            pass(nodes, 0, 6_000).await;
            nodes.world.lock().cut(node.name, false);
        }
    }
}

/// Tells one story. The error is what must not be.
fn tell(seed: u64, story: Story, change: impl FnOnce(&mut super::model::Model)) -> Result<usize, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = Shared::new(seed);
        change(&mut world.lock().model);
        let nodes = Arc::new(Nodes { world, alive: std::sync::Mutex::default() });
        (0..BROKERS).for_each(|_| nodes.begin());
        let ledger = Arc::new(Ledger::default());
        let watch = tokio::spawn(peers::watch(nodes.clone(), ledger.clone()));
        let peers: Vec<_> =
            (0..PEERS).map(|number| tokio::spawn(peers::live(number, nodes.clone(), ledger.clone()))).collect();
        for _ in 0..FAULTS {
            pass(&nodes, 500, 8_000).await;
            fault(&nodes, story).await;
        }
        nodes.world.lock().heal();
        ledger.calm();
        // The longest: to notice, to connect, and the quarantine.
        sleep(2 * LEASE + Duration::from_secs(15)).await;
        peers::all_reach_all(&nodes, &ledger).await;
        peers.iter().for_each(JoinHandle::abort);
        watch.abort();
        ledger.verdict()
    })
}

fn seeds() -> u64 {
    std::env::var("LINKUP_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(40)
}

fn all_is_well(story: Story, first: u64) {
    let mut delivered = 0;
    for seed in first..first + seeds() {
        match tell(seed, story, |_| {}) {
            Ok(signals) => delivered += signals,
            Err(why) => panic!("seed {seed}: {why}"),
        }
    }
    // A story in which nothing happens shows nothing.
    assert!(delivered > 50 * seeds() as usize, "{delivered}");
}

#[test]
fn brokers_may_fail() {
    all_is_well(Story::Brokers, 0);
}

#[test]
fn everything_may_fail() {
    all_is_well(Story::All, 1_000_000);
}

/// Without a safeguard the same stories end badly: they would notice.
#[test]
fn the_safeguards_are_needed() {
    let without = |story, change: fn(&mut super::model::Model)| {
        let error = (0..500).find_map(|seed| tell(seed, story, change).err());
        assert!(error.as_ref().is_some_and(|error| error.contains("two owners")), "{error:?}");
    };
    without(Story::Only(WIPE), |model| model.rules.quarantine = false);
    without(Story::Only(CUT), |model| model.rules.hold = false);
}
