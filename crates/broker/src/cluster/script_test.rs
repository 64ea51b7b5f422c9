//! The script in a real Redis, and the model of it: the same answers to the same questions at the same times.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use linkup_proto::PeerId;

use super::call::{Call, Item, Name, Operation, SecretHash, bucket};
use super::model::Model;
use super::server::RedisServer;

const LEASE: u64 = 1000;
const STEPS: usize = 6000;

/// The script with a clock of ours.
fn script() -> String {
    let script = include_str!("registry.lua");
    let ours = script.replace("local time = redis.call('TIME')", "local time = { ARGV[#ARGV - 1], ARGV[#ARGV] }");
    assert_ne!(script, ours);
    ours
}

fn run(connection: &mut redis::Connection, call: &Call, broker: &str, run: &str, us: u64) -> Vec<String> {
    let mut command = redis::cmd("EVAL");
    command.arg(script()).arg(call.items.len() + 1).arg(format!("{}:epoch", call.bucket));
    for item in &call.items {
        command.arg(format!("{}:{}", call.bucket, item.id));
    }
    command.arg(call.operation.as_str()).arg(run).arg(LEASE).arg(broker);
    for item in &call.items {
        let secret = item.secret.map_or_else(|| "-".to_owned(), |secret| secret.to_string());
        command.arg(item.generation).arg(item.since).arg(secret);
    }
    command.arg(us / 1_000_000).arg(us % 1_000_000).query(connection).unwrap()
}

#[test]
fn the_model_is_the_script() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let mut connection = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut rng = fastrand::Rng::with_seed(7);
    let names = [Name([1; 16]).to_string(), Name([2; 16]).to_string()];
    let ids: Vec<_> = ["a", "b", "c", "{x}"].iter().map(|id| PeerId::new(id).unwrap()).collect();
    let mut model = Model::new();
    // Ahead of the real one, at which keys expire.
    let mut us = 4_000_000_000_000_000;
    let mut server_run = 1;
    let mut granted = vec![0];
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    for step in 0..STEPS {
        us += rng.u64(0..200_000);
        match rng.u32(0..150) {
            0 => {
                model.wipe();
                redis::cmd("FLUSHALL").exec(&mut connection).unwrap();
            }
            1 => server_run += 1,
            _ => {}
        }
        let operation =
            *rng.choice(&[Operation::Claim, Operation::Renew, Operation::Release, Operation::Find]).unwrap();
        let id = rng.choice(&ids).unwrap();
        let secret = SecretHash::new(id, *rng.choice(&[None, Some("s"), Some("t")]).unwrap());
        let since = *rng.choice(&granted[granted.len().saturating_sub(6)..]).unwrap() + rng.u64(0..2);
        let since = if rng.bool() { 0 } else { since };
        let item = Item { id: id.clone(), generation: rng.u64(1..4), since, secret };
        let items = if rng.u32(0..20) == 0 { Vec::new() } else { vec![item] };
        let call = Call { operation, bucket: bucket(id), items };
        let broker = rng.choice(&names).unwrap();
        let expected = model.run(&call, broker, LEASE, &server_run.to_string(), us);
        let answer = run(&mut connection, &call, broker, &server_run.to_string(), us);
        assert_eq!(answer, expected, "step {step}: {call:?} by {broker} at {us}");
        for text in &answer[1..] {
            let mut words = text.split(' ');
            let (kind, since) = (words.next().unwrap(), words.next());
            if kind == "granted" {
                granted.push(since.unwrap().parse().unwrap());
            }
            *seen.entry(format!("{} {kind}", operation.as_str())).or_default() += 1;
        }
    }
    // All that can be answered was: otherwise this compares little.
    let kinds: Vec<_> = seen.keys().map(String::as_str).collect();
    let expected = [
        "claim granted",
        "claim taken",
        "claim wait",
        "find at",
        "find none",
        "find wait",
        "release free",
        "release other",
        "renew granted",
        "renew lost",
        "renew moved",
        "renew wait",
    ];
    assert_eq!(kinds, expected, "{seen:?}");
}
