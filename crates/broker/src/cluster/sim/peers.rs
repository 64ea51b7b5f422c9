//! The peers of a story: they claim ids of which each has several owners, send signals, and come and go. The ledger
//! remembers what happened to them, and watches over what must hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use linkup_proto::PeerId;
use linkup_proto::broker::Response;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::world::LEASE;
use super::{Node, Nodes, pass};
use crate::outbox::{End, Outbox};
use crate::registry::Reach;
use crate::router::{Answer, Seat};

const IDS: usize = 4;

/// Longer than any answer may take: two waits, and two times Redis'.
const ANSWERED: Duration = Duration::from_secs(15);

fn id(number: usize) -> PeerId {
    PeerId::new(&format!("id-{number}")).unwrap()
}

/// Who wants an id. Peers with an equal secret are one owner who has come back; those without are all strangers.
#[derive(Clone, Debug, PartialEq)]
struct Owner(String);

/// A socket that has, or had, an id.
struct Socket {
    outbox: Arc<Outbox>,
    owner: Owner,
    id: PeerId,
}

#[derive(Default)]
pub(super) struct Ledger {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sockets: Vec<Socket>,
    next_signal: usize,
    /// Signals that were confirmed, and those that came to a socket.
    confirmed: Vec<usize>,
    arrived: BTreeMap<usize, Owner>,
    /// Since when the same owner has an id twice.
    twice: BTreeMap<PeerId, Instant>,
    calm: bool,
    wrong: Option<String>,
}

impl Ledger {
    fn wrong(&self, why: String) {
        let mut state = self.state.lock().unwrap();
        state.wrong.get_or_insert(why);
    }

    /// No peer goes of its own will any more.
    pub(super) fn calm(&self) {
        self.state.lock().unwrap().calm = true;
    }

    fn is_calm(&self) -> bool {
        self.state.lock().unwrap().calm
    }

    fn enter(&self, outbox: Arc<Outbox>, owner: &Owner, id: &PeerId) {
        self.state.lock().unwrap().sockets.push(Socket { outbox, owner: owner.clone(), id: id.clone() });
    }

    /// Reads what has come to all sockets that there ever were.
    fn drain(&self) {
        let mut state = self.state.lock().unwrap();
        let State { sockets, arrived, wrong, .. } = &mut *state;
        for socket in sockets {
            while let Some((frame, _)) = socket.outbox.pop() {
                let frame: Value = serde_json::from_str(&frame).unwrap();
                let message = &frame["message"];
                if message["to"] != socket.id.as_str() {
                    wrong.get_or_insert(format!("misrouted: {frame} to {}", socket.id));
                }
                let number: usize = message["signal"].as_str().unwrap().parse().unwrap();
                if arrived.insert(number, socket.owner.clone()).is_some() {
                    wrong.get_or_insert(format!("delivered twice: {frame}"));
                }
            }
        }
    }

    pub(super) fn verdict(&self) -> Result<usize, String> {
        self.drain();
        let state = self.state.lock().unwrap();
        if let Some(why) = &state.wrong {
            return Err(why.clone());
        }
        match state.confirmed.iter().find(|number| !state.arrived.contains_key(number)) {
            Some(number) => Err(format!("signal {number} was confirmed, and came to nobody")),
            None => Ok(state.arrived.len()),
        }
    }

    /// Who would get a signal now: looked at in every broker.
    fn look(&self, nodes: &[Node]) {
        for id in (0..IDS).map(id) {
            let mut state = self.state.lock().unwrap();
            let mut owners = Vec::new();
            for node in nodes {
                let router = node.router.lock();
                let Reach::Here(outbox) = router.registry.find(&id, Instant::now) else { continue };
                // A socket is entered before it asks for its id, and those that have one are mostly new.
                let socket = state.sockets.iter().rfind(|socket| Arc::ptr_eq(&socket.outbox, outbox));
                owners.push(socket.unwrap().owner.clone());
            }
            if owners.windows(2).any(|pair| pair[0] != pair[1]) {
                state.wrong.get_or_insert(format!("two owners of {id}: {owners:?}"));
            }
            if owners.len() < 2 {
                state.twice.remove(&id);
                continue;
            }
            let since = *state.twice.entry(id.clone()).or_insert_with(Instant::now);
            if since.elapsed() > LEASE {
                state.wrong.get_or_insert(format!("one owner has {id} twice for {:?}", since.elapsed()));
            }
        }
    }
}

/// Looks all the time.
pub(super) async fn watch(nodes: Arc<Nodes>, ledger: Arc<Ledger>) {
    loop {
        for _ in 0..20 {
            ledger.look(&nodes.all());
            sleep(Duration::from_millis(25)).await;
        }
        ledger.drain();
    }
}

/// Asks as a client does. An answer there must be.
async fn ask(seat: &Seat, ledger: &Ledger, message: Value) -> Option<Response> {
    let answer = match seat.hear(&json!({"id": "u", "message": message}).to_string()) {
        Answer::Later(later) => match timeout(ANSWERED, later).await {
            Ok(answer) => answer,
            Err(_) => {
                ledger.wrong(format!("no answer to {message}"));
                return None;
            }
        },
        answer => answer,
    };
    match answer {
        Answer::Response(response) => Some(response),
        other => {
            ledger.wrong(format!("{other:?} to {message}"));
            None
        }
    }
}

/// A signal with a number of its own; whether it was confirmed.
async fn signal(seat: &Seat, ledger: &Ledger, to: &PeerId) -> bool {
    let number = {
        let mut state = ledger.state.lock().unwrap();
        state.next_signal += 1;
        state.next_signal
    };
    let message = json!({"type": "signal", "to": to.as_str(), "signal": number.to_string()});
    let confirmed = ask(seat, ledger, message).await.is_some_and(|response| response.error.is_none());
    if confirmed {
        ledger.state.lock().unwrap().confirmed.push(number);
    }
    confirmed
}

/// One peer, from socket to socket.
pub(super) async fn live(number: usize, nodes: Arc<Nodes>, ledger: Arc<Ledger>) {
    let (mine, rival) = (id(number % IDS), number / IDS);
    loop {
        let node = nodes.any();
        let Some(seat) = node.router.seat() else {
            pass(&nodes, 10, 500).await;
            continue;
        };
        // Some have no secret now and then, as peers of the documented shapes.
        let (secret, stranger) = {
            let mut world = nodes.world.lock();
            (format!("owner {rival}"), world.rng.u32(0..4) == 0)
        };
        let owner = if stranger {
            Owner(format!("stranger {}", nodes.world.lock().rng.u64(..)))
        } else {
            Owner(secret.clone())
        };
        ledger.enter(seat.shared_outbox(), &owner, &mine);
        let register = match stranger {
            true => json!({"type": "register", "id": mine.as_str()}),
            false => json!({"type": "register", "id": mine.as_str(), "secret": secret}),
        };
        let registered = ask(&seat, &ledger, register).await;
        if registered.is_none_or(|response| response.error.is_some()) {
            drop(seat);
            pass(&nodes, 200, 3_000).await;
            continue;
        }
        if let Some(End::TakenOver | End::Lost) = stay(&seat, &nodes, &ledger).await {
            drop(seat);
        } else if nodes.world.lock().rng.bool() {
            drop(seat);
        } else {
            // Its client is gone, but the broker does not know yet.
            tokio::spawn(async move {
                sleep(Duration::from_secs(12)).await;
                drop(seat);
            });
        }
        pass(&nodes, 0, 1_000).await;
    }
}

/// Sends signals until the socket is ended, or its client goes.
async fn stay(seat: &Seat, nodes: &Nodes, ledger: &Ledger) -> Option<End> {
    loop {
        let (to, goes) = {
            let mut world = nodes.world.lock();
            (id(world.rng.usize(0..IDS)), world.rng.u32(0..12) == 0)
        };
        signal(seat, ledger, &to).await;
        pass(nodes, 10, 1_500).await;
        if let Some(end) = seat.outbox().watch(&Context::from_waker(Waker::noop())) {
            return Some(end);
        }
        if goes && !ledger.is_calm() {
            return None;
        }
    }
}

/// When all is well: each id that somebody has is found from each broker.
pub(super) async fn all_reach_all(nodes: &Nodes, ledger: &Ledger) {
    let mut held = 0;
    for node in nodes.all() {
        let Some(seat) = node.router.seat() else { return ledger.wrong("no seat".into()) };
        let probe = PeerId::new("probe").unwrap();
        ledger.enter(seat.shared_outbox(), &Owner("probe".into()), &probe);
        let registered = ask(&seat, ledger, json!({"type": "register", "id": "probe"})).await;
        if let Some(error) = registered.and_then(|response| response.error) {
            return ledger.wrong(format!("no id can be had although all is well: {error}"));
        }
        for id in (0..IDS).map(id) {
            let holds = |node: &Node| matches!(node.router.lock().registry.find(&id, Instant::now), Reach::Here(_));
            // Peers that are not registered yet come and go: only those that stay must be reached.
            let before = nodes.all().iter().any(holds);
            let reached = signal(&seat, ledger, &id).await;
            if before && nodes.all().iter().any(holds) && !reached {
                ledger.wrong(format!("{id} cannot be reached although all is well"));
            }
            held += usize::from(reached);
        }
        let _ = ask(&seat, ledger, json!({"type": "unregister"})).await;
        // What is given back is on its way.
        sleep(Duration::from_millis(200)).await;
    }
    if held == 0 {
        ledger.wrong("nobody has come back".into());
    }
}
