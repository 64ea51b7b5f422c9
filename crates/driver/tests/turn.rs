//! Peers that know no ICE server but those of their broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod common;

use std::time::Instant;

use common::{options, pair_of, text};
use linkup_broker::{Broker, TurnOptions};
use linkup_proto::ErrorCode;
use linkup_proto::PeerId;
use tokio::runtime::Handle;

use crate::common::Testee;

/// A broker that relays, also to loopback.
fn relaying() -> (Broker, String) {
    let mut turn = TurnOptions::default();
    turn.host = Some("127.0.0.1".into());
    turn.port = 0;
    turn.allow = vec!["127.0.0.0/8".parse().unwrap()];
    let mut options = linkup_broker::Options::default();
    options.turn = Some(turn);
    let listeners = Broker::listen(Some("127.0.0.1"), 0).unwrap();
    let broker = Broker::start(listeners, options, &Handle::current()).unwrap();
    let url = format!("ws://{}", broker.addresses()[0]);
    (broker, url)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_relay_through_their_broker_and_know_it() {
    let (broker, url) = relaying();
    let (mut a, mut b) = (options(&url, "a"), options(&url, "b"));
    a.relay_only = true;
    b.relay_only = true;
    let start = Instant::now();
    let pair = pair_of(a, b).await;
    println!("relayed after {:?}", start.elapsed());
    let (ab, ba) = (pair.a.link(pair.ab), pair.b.link(pair.ba));
    ab.send(text("x".repeat(100_000))).unwrap();
    ba.send(text("back")).unwrap();
    pair.a.received(1).await;
    pair.b.received(1).await;
    assert_eq!((ab.path(), ba.path()), ("turn", "turn"));
    let stats = broker.turn_stats().unwrap();
    assert!(stats.allocations >= 2 && stats.bytes_up > 100_000, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_path_is_taken_where_there_is_one() {
    let (_broker, url) = relaying();
    let pair = pair_of(options(&url, "a"), options(&url, "b")).await;
    assert_eq!((pair.a.link(pair.ab).path(), pair.b.link(pair.ba).path()), ("direct", "direct"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_names_no_server_at_all_gets_none() {
    let (_broker, url) = relaying();
    let mut a = options(&url, "a");
    a.ice_servers = Some(Vec::new());
    a.relay_only = true;
    a.timeouts.connect = std::time::Duration::from_secs(2);
    let _b = Testee::registered(options(&url, "b")).await;
    let mut a = Testee::registered(a).await;
    a.peer.connect(PeerId::new("b").unwrap());
    let error = a.closed().await.unwrap();
    assert!(matches!(error.code, ErrorCode::ConnectTimeout | ErrorCode::IceFailed), "{error:?}");
}
