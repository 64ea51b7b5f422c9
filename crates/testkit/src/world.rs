//! Many peers, their brokers and their network, under one clock and one seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use linkup_core::{Command, Config, ConnectionId, Event, Identity, Peer, Token, TransportId, TransportInput};
use linkup_proto::{Error, PeerId};

use crate::broker::{FakeBroker, Socket};
use crate::check::Ledger;
use crate::net::{Agenda, Pipes};
use crate::transport::Transports;

/// A peer's place in the world.
pub type NodeId = usize;

/// What a node's application does when it is asked.
#[derive(Clone, Debug, Default)]
pub enum Manners {
    /// Takes every caller, some time later.
    #[default]
    Accepts,
    /// Denies every caller, for that reason.
    Denies(String),
    /// Never says anything.
    Silent,
}

/// Something that happens from outside.
#[derive(Clone, Debug)]
pub enum Act {
    /// An application's command; `Connect` goes into its ledger.
    Command(NodeId, Command),
    /// A broker dies: its sockets break, and what was under way is lost.
    BrokerDown(usize),
    /// It is back, and knows nobody.
    BrokerUp(usize),
    /// The network drops a node's socket; the broker learns of it later.
    CutSocket(NodeId),
    /// A node has no network: whatever it sends or is sent waits, and nobody says so.
    Dark(NodeId),
    /// It has one again.
    Light(NodeId),
    /// A node's process is killed, and begins anew under the same id.
    Restart(NodeId),
    /// A node's process is killed.
    Kill(NodeId),
}

pub(crate) enum Task {
    Act(Act),
    ToBroker { socket: Socket, text: String },
    BrokerLearnsClose { socket: Socket },
    Opened { socket: Socket },
    FromBroker { socket: Socket, text: String },
    Broken { socket: Socket, reason: &'static str, failed: bool },
    Transport { transport: TransportId, input: TransportInput },
}

pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) peer: Peer,
    pub(crate) manners: Manners,
    /// The socket of this moment, and its broker.
    pub(crate) socket: Option<Socket>,
    pub(crate) ledger: Ledger,
    pub(crate) events: Vec<(Duration, Event)>,
}

#[derive(PartialEq, Eq, Hash)]
pub(crate) enum Pipe {
    Up(Socket),
    Down(Socket),
    Life(TransportId),
}

/// See the module.
pub struct World {
    /// The longest way between a peer and a broker.
    pub delay: Duration,
    /// Whether transports give their addresses one by one; set before peers are added.
    pub trickle: bool,
    /// The addresses are numbered by this, as the connections are.
    pub ids: Arc<AtomicU32>,
    pub(crate) base: Instant,
    pub(crate) now: Duration,
    pub(crate) rng: fastrand::Rng,
    pub(crate) agenda: Agenda<Task>,
    pub(crate) pipes: Pipes<Pipe>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) brokers: Vec<FakeBroker>,
    /// Every socket that there ever was: whose, and to which broker.
    pub(crate) sockets: BTreeMap<Socket, (NodeId, usize)>,
    pub(crate) transports: Transports,
    /// What waits for the network of its node.
    pub(crate) held: Vec<(NodeId, Task)>,
    pub(crate) broken: Vec<String>,
}

impl World {
    /// A world with so many brokers.
    pub fn new(seed: u64, brokers: usize) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        Self {
            delay: Duration::from_millis(20),
            trickle: true,
            ids: Arc::new(AtomicU32::new(1)),
            base: Instant::now(),
            now: Duration::ZERO,
            agenda: Agenda::new(),
            pipes: Pipes::new(),
            nodes: Vec::new(),
            brokers: (0..brokers).map(|_| FakeBroker::default()).collect(),
            sockets: BTreeMap::new(),
            transports: Transports::new(rng.u64(..)),
            held: Vec::new(),
            broken: Vec::new(),
            rng,
        }
    }

    /// Adds a peer with that id, whose configuration `tweak` may change.
    pub fn add(&mut self, id: &PeerId, manners: Manners, tweak: impl FnOnce(&mut Config)) -> NodeId {
        let mut config = crate::config(id.clone(), self.rng.u64(..), &self.ids);
        config.brokers = self.brokers.len();
        config.trickle = self.trickle;
        // Some peers have no key: an old browser, a page without https.
        config.identity =
            (self.nodes.len() % 3 != 2).then(|| Arc::new(Identity::from_seed(&[self.nodes.len() as u8; 32])));
        config.ice_from_broker = self.rng.bool();
        self.transports.trickle = self.trickle;
        tweak(&mut config);
        let peer = Peer::new(config.clone(), self.instant());
        let node = Node { config, peer, manners, socket: None, ledger: Ledger::default(), events: Vec::new() };
        self.nodes.push(node);
        let node = self.nodes.len() - 1;
        self.drain(node);
        node
    }

    /// From now on no packet of a new transport arrives.
    pub fn block_transports(&mut self) {
        self.transports.blocked = true;
    }

    /// From now on only a TURN server leads from one peer to another, or no longer.
    pub fn need_turn(&mut self, need: bool) {
        self.transports.turn = need;
    }

    /// How many of a peer's connections go over a TURN server.
    pub fn turned(&self, node: NodeId) -> usize {
        self.transports.turned(node)
    }

    /// A broker takes sockets, and says nothing.
    pub fn mute_broker(&mut self, broker: usize, mute: bool) {
        self.brokers[broker].mute = mute;
    }

    /// A broker refuses every registration.
    pub fn refuse_at_broker(&mut self, broker: usize, error: Option<Error>) {
        self.brokers[broker].refuses = error;
    }

    /// Plans something, so long from now.
    pub fn plan(&mut self, after: Duration, act: Act) {
        self.agenda.plan(self.now + after, Task::Act(act));
    }

    /// Plans a `Connect`, and names it.
    pub fn plan_connect(&mut self, after: Duration, node: NodeId, to: &PeerId) -> ConnectionId {
        let connection = ConnectionId(self.ids.fetch_add(1, Ordering::Relaxed));
        self.plan(after, Act::Command(node, Command::Connect { connection, to: to.clone(), key: None }));
        connection
    }

    /// Plans a `Find`, and names it.
    pub fn plan_find(&mut self, after: Duration, node: NodeId, id: &PeerId) -> Token {
        let token = Token(self.ids.fetch_add(1, Ordering::Relaxed));
        self.plan(after, Act::Command(node, Command::Find { token, id: id.clone() }));
        token
    }

    /// A moment between zero and `most`.
    pub fn moment(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.rng.f64())
    }

    /// The world's dice.
    pub fn rng(&mut self) -> &mut fastrand::Rng {
        &mut self.rng
    }

    /// How long the world has lived.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// What a node's application has heard, and when.
    pub fn events(&self, node: NodeId) -> &[(Duration, Event)] {
        &self.nodes[node].events
    }

    /// What a node's application holds.
    pub fn ledger(&self, node: NodeId) -> &Ledger {
        &self.nodes[node].ledger
    }

    /// How a connection ended, and when: `None` while it has not.
    pub fn outcome(&self, node: NodeId, connection: ConnectionId) -> Option<(Duration, Event)> {
        let about = |event: &&(Duration, Event)| match &event.1 {
            Event::Open { connection: c, .. } | Event::Joined { connection: c, .. } => *c == connection,
            Event::Closed { connection: c, .. } => *c == connection,
            _ => false,
        };
        self.nodes[node].events.iter().find(about).cloned()
    }

    /// Lets so much time pass.
    pub fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            let timeouts = self.nodes.iter().filter_map(|node| node.peer.poll_timeout());
            let timeout = timeouts.min().map(|at| at.saturating_duration_since(self.base));
            let next = [timeout, self.agenda.next()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= until) else { break };
            self.now = self.now.max(next);
            if self.agenda.next().is_some_and(|at| at <= self.now) {
                if let Some(task) = self.agenda.pop() {
                    self.perform(task);
                }
                continue;
            }
            let now = self.instant();
            for node in 0..self.nodes.len() {
                if self.nodes[node].peer.poll_timeout().is_some_and(|at| at <= now) {
                    self.nodes[node].peer.handle_timeout(now);
                    self.drain(node);
                }
            }
        }
        self.now = until;
    }

    /// Lets everything come to rest, with every broker up; then closes every peer. Says which rules were broken.
    pub fn finish(mut self) -> Vec<String> {
        for broker in 0..self.brokers.len() {
            self.perform(Task::Act(Act::BrokerUp(broker)));
        }
        for node in 0..self.nodes.len() {
            self.perform(Task::Act(Act::Light(node)));
        }
        self.run(Duration::from_secs(60));
        for node in 0..self.nodes.len() {
            self.check_rest(node);
        }
        for node in 0..self.nodes.len() {
            let after = self.moment(Duration::from_secs(1));
            self.plan(after, Act::Command(node, Command::ClosePeer));
        }
        self.run(Duration::from_secs(10));
        for node in 0..self.nodes.len() {
            let id = self.nodes[node].config.id.clone();
            if !self.nodes[node].ledger.is_closed() {
                self.broken.push(format!("{id} never said PeerClosed"));
            }
            if self.nodes[node].peer.poll_timeout().is_some() {
                self.broken.push(format!("{id} is closed and waits for something"));
            }
            if self.transports.count(node) > 0 {
                self.broken.push(format!("{id} is closed and has transports"));
            }
            let broken = std::mem::take(&mut self.nodes[node].ledger.broken);
            self.broken.extend(broken.into_iter().map(|what| format!("{id}: {what}")));
        }
        self.broken.append(&mut self.transports.broken);
        self.broken
    }

    /// Nothing is under way any more: every call is answered, and both ends of a connection hold the same one.
    fn check_rest(&mut self, node: NodeId) {
        let Node { config, ledger, .. } = &self.nodes[node];
        let id = &config.id;
        let mut found = Vec::new();
        let unanswered = ledger.unanswered();
        if !unanswered.is_empty() {
            found.push(format!("{id} waits for {unanswered:?}"));
        }
        let interrupted: Vec<_> = ledger.interrupted().collect();
        if !interrupted.is_empty() {
            found.push(format!("{id} waits for transports of {interrupted:?}"));
        }
        let open: Vec<_> = ledger.open().collect();
        // Who has no direct path looks for another now and then.
        let (started, others) = self.transports.started(node);
        if started != open.len() || others > 0 && !(self.transports.blocked || self.transports.turn) {
            found.push(format!("{id} has {started} + {others} transports for {open:?}"));
        }
        for (connection, remote) in &open {
            if open.iter().filter(|(_, other)| other == remote).count() > 1 {
                found.push(format!("{id} has two connections with {remote}"));
            }
            let far = self.nodes.iter().find(|node| node.config.id == **remote).map(|node| &node.ledger);
            match self.transports.ends(*connection) {
                Some((_, Some(end))) if far.is_some_and(|far| far.is_open(end)) => {}
                ends => found.push(format!("{id} has {connection:?} with {remote}, who has not: {ends:?}")),
            }
        }
        self.broken.append(&mut found);
    }

    pub(crate) fn instant(&self) -> Instant {
        self.base + self.now
    }
}
