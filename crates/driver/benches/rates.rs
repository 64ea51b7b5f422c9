//! How fast it is, in Rust alone: `cargo bench -p linkup-driver --bench rates`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs, dead_code)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use common::{Pair, broker, pair, text};
use linkup_driver::Message;

/// CPU seconds of this process: both ends and the broker.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

async fn flood(pair: &Pair, message: Message, count: usize) {
    let link = pair.a.link(pair.ab);
    let before = pair.b.ear.count.load(Ordering::SeqCst);
    pair.b.ear.forget.store(true, Ordering::SeqCst);
    let size = message.len();
    let (start, cpu_start) = (Instant::now(), cpu());
    for _ in 0..count {
        pair.a.send(&link, message.clone()).await;
    }
    pair.b.received(before + count).await;
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu() - cpu_start);
    let (rate, megabytes) = (count as f64 / seconds, (count * size) as f64 / 1e6);
    let (per_message, per_gigabyte) = (cpu * 1e6 / count as f64, cpu * 1e3 / megabytes);
    println!(
        "{size:6} bytes: {rate:9.0}/s, {:5.0} MB/s, {per_message:6.2} us CPU each, {per_gigabyte:5.1} CPU s/GB",
        megabytes / seconds
    );
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    let (_broker, url) = broker();
    let pair = pair(&url).await;
    for _ in 0..2 {
        flood(&pair, Message::Binary(Bytes::from(vec![1; 64 * 1024])), 10_000).await;
        flood(&pair, text("x".repeat(100)), 500_000).await;
        flood(&pair, text("x".repeat(10)), 500_000).await;
    }
    let (ab, ba) = (pair.a.link(pair.ab), pair.b.link(pair.ba));
    let mut trips = Vec::new();
    for _ in 0..2_000 {
        let (there, back) = (pair.b.ear.count.load(Ordering::SeqCst) + 1, pair.a.ear.count.load(Ordering::SeqCst) + 1);
        let start = Instant::now();
        ab.send(text("ping")).unwrap();
        pair.b.received(there).await;
        ba.send(text("pong")).unwrap();
        pair.a.received(back).await;
        trips.push(start.elapsed());
    }
    trips.sort();
    println!("ping-pong: p50 {:?}, p95 {:?}", trips[trips.len() / 2], trips[trips.len() * 95 / 100]);
}
