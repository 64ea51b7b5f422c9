//! Two brokers are restarted one after the other, under a thousand peers that go on sending signals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::nodes::{Program, settle};
use common::redis::RedisServer;
use common::{Client, allow_sockets, until};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::time::{Instant, interval_at, sleep};
use tokio_tungstenite::tungstenite::Message;

const PEERS: usize = 1000;
const LEASE: Duration = Duration::from_secs(5);

/// Between two signals of one peer: 500 a second of all.
const PAUSE: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Ledger {
    brokers: Vec<SocketAddr>,
    registered: BTreeSet<usize>,
    registrations: usize,
    next: usize,
    /// Signals that were confirmed, by their receivers.
    confirmed: BTreeMap<usize, usize>,
    refused: BTreeMap<String, usize>,
    /// Those whose sender lost its socket before the answer.
    unanswered: usize,
    /// No more are sent.
    over: bool,
    arrived: BTreeSet<usize>,
    /// Peers whose socket ended without a word: what was in its queue may be lost.
    cut: BTreeSet<usize>,
    wrong: Vec<String>,
}

type Shared = Arc<Mutex<Ledger>>;

fn name(peer: usize) -> String {
    format!("peer-{peer}")
}

/// A peer that keeps its id, at whichever broker takes it.
async fn live(peer: usize, ledger: Shared) {
    let mut choice = peer;
    loop {
        let address = {
            let brokers = &ledger.lock().unwrap().brokers;
            brokers[choice % brokers.len()]
        };
        if let Ok(client) = Client::try_connect(address).await {
            stay(peer, client, &ledger).await;
            ledger.lock().unwrap().registered.remove(&peer);
        }
        choice += 1;
        sleep(Duration::from_millis(20)).await;
    }
}

async fn stay(peer: usize, mut client: Client, ledger: &Shared) {
    let register = json!({"type": "register", "id": name(peer), "secret": format!("secret {peer}")});
    if client.0.send(Message::text(json!({"id": "r", "message": register}).to_string())).await.is_err() {
        return;
    }
    let first = Instant::now() + PAUSE.mul_f64(peer as f64 / PEERS as f64);
    let mut tick = interval_at(first, PAUSE);
    // The numbers of signals without an answer, and whom they are for.
    let mut waiting = BTreeMap::new();
    let mut registered = false;
    loop {
        tokio::select! {
            _ = tick.tick(), if registered => {
                let number = {
                    let mut ledger = ledger.lock().unwrap();
                    if ledger.over {
                        continue;
                    }
                    ledger.next += 1;
                    ledger.next
                };
                // Some far away, in no order that matters.
                let to = (peer + 1 + number * 7919) % PEERS;
                let message = json!({"type": "signal", "to": name(to), "signal": number.to_string()});
                waiting.insert(number, to);
                let frame = json!({"id": number.to_string(), "message": message}).to_string();
                let _ = client.0.send(Message::text(frame)).await;
            }
            frame = client.0.next() => match frame {
                Some(Ok(Message::Text(text))) => {
                    let mut ledger = ledger.lock().unwrap();
                    match hear(peer, &text, &mut waiting, &mut ledger) {
                        Some(true) => registered = true,
                        Some(false) => return,
                        None => {}
                    }
                }
                Some(Ok(Message::Close(_))) => {
                    ledger.lock().unwrap().unanswered += waiting.len();
                    return;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    let mut ledger = ledger.lock().unwrap();
                    ledger.unanswered += waiting.len();
                    ledger.cut.insert(peer);
                    return;
                }
            },
        }
    }
}

/// One frame. Whether the peer is registered, where it says that.
fn hear(peer: usize, text: &str, waiting: &mut BTreeMap<usize, usize>, ledger: &mut Ledger) -> Option<bool> {
    let frame: Value = serde_json::from_str(text).unwrap();
    match frame["id"].as_str() {
        Some("r") => {
            let done = frame["error"].is_null();
            if done {
                ledger.registered.insert(peer);
                ledger.registrations += 1;
            } else if frame["error"]["code"] != "ERR_BROKER_UNREACHABLE" {
                ledger.wrong.push(format!("{} is lost: {text}", name(peer)));
            }
            return Some(done);
        }
        Some(number) => {
            let number = number.parse().unwrap();
            match (waiting.remove(&number), frame["error"]["code"].as_str()) {
                (Some(to), None) => drop(ledger.confirmed.insert(number, to)),
                (Some(_), Some(code)) => *ledger.refused.entry(code.to_owned()).or_default() += 1,
                (None, _) => ledger.wrong.push(format!("an answer to no question: {text}")),
            }
        }
        None => {
            let message = &frame["message"];
            if message["to"] != name(peer) {
                ledger.wrong.push(format!("misrouted to {}: {text}", name(peer)));
            }
            if !ledger.arrived.insert(message["signal"].as_str().unwrap().parse().unwrap()) {
                ledger.wrong.push(format!("twice: {text}"));
            }
        }
    }
    None
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_brokers_are_restarted_under_a_thousand_peers() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    settle(&redis);
    allow_sockets(4096);
    let url = redis.url();
    let mut programs = [Program::start(&url, LEASE), Program::start(&url, LEASE)];
    let ledger = Shared::default();
    ledger.lock().unwrap().brokers = programs.iter().map(|program| program.address).collect();
    let peers: Vec<_> = (0..PEERS).map(|peer| tokio::spawn(live(peer, ledger.clone()))).collect();
    let all_registered = || async { ledger.lock().unwrap().registered.len() == PEERS };
    until(all_registered).await;
    for (n, program) in programs.iter_mut().enumerate() {
        // Signals go their ways before, while and after.
        let before = ledger.lock().unwrap().confirmed.len();
        until(|| async { ledger.lock().unwrap().confirmed.len() > before + 200 }).await;
        program.signal("TERM");
        let mut old = std::mem::replace(program, Program::start(&url, LEASE));
        assert!(tokio::task::spawn_blocking(move || old.ended()).await.unwrap());
        ledger.lock().unwrap().brokers[n] = program.address;
        until(all_registered).await;
    }
    let before = ledger.lock().unwrap().confirmed.len();
    until(|| async { ledger.lock().unwrap().confirmed.len() > before + 200 }).await;
    for program in &programs {
        let mut client = Client::try_connect(program.address).await.unwrap();
        for peer in 0..PEERS {
            assert!(client.find(&name(peer)).await, "{} is lost", name(peer));
        }
    }
    // What is confirmed arrives, some of it later.
    let lost = |ledger: &Ledger| -> Vec<usize> {
        let gone = |number: &usize, to: &usize| !ledger.arrived.contains(number) && !ledger.cut.contains(to);
        ledger.confirmed.iter().filter(|(number, to)| gone(number, to)).map(|(number, _)| *number).collect()
    };
    let last = ledger.lock().unwrap().next;
    until(|| async { lost(&ledger.lock().unwrap()).iter().all(|number| *number >= last) }).await;
    // Each signal had an answer, or its sender knows that there will be none.
    ledger.lock().unwrap().over = true;
    let told = |ledger: &Ledger| ledger.confirmed.len() + ledger.refused.values().sum::<usize>() + ledger.unanswered;
    until(|| async {
        let ledger = ledger.lock().unwrap();
        told(&ledger) == ledger.next
    })
    .await;
    peers.iter().for_each(tokio::task::JoinHandle::abort);
    let ledger = ledger.lock().unwrap();
    assert_eq!(ledger.wrong, [""; 0]);
    assert!(ledger.registrations >= 2 * PEERS, "{}", ledger.registrations);
    eprintln!(
        "{} signals: {} confirmed, {:?} refused, {} without an answer when their sender's socket ended; {} sockets cut",
        ledger.next,
        ledger.confirmed.len(),
        ledger.refused,
        ledger.unanswered,
        ledger.cut.len()
    );
}
