//! Peers that know no ICE server but those of their broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod common;

use std::time::Instant;

use common::{options, pair_of, text};
use linkup_broker::{Broker, TurnOptions};
use linkup_driver::IceServer;
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

/// UDP and TCP are asked for on each of the machine's addresses: what is not needed any more is somebody else's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_that_are_not_needed_are_given_back() {
    let (broker, url) = relaying();
    for relay_only in [false, true] {
        let (mut a, mut b) = (options(&url, "a"), options(&url, "b"));
        a.relay_only = relay_only;
        b.relay_only = relay_only;
        let before = broker.turn_stats().unwrap().allocated;
        let pair = pair_of(a, b).await;
        // Two a peer, while it was not known which path it would be.
        until(|| broker.turn_stats().unwrap().allocated - before >= 4).await;
        let most = if relay_only { 4 } else { 2 };
        until(|| broker.turn_stats().unwrap().allocations <= most).await;
        // Those that are left are good.
        let (ab, ba) = (pair.a.link(pair.ab), pair.b.link(pair.ba));
        ab.send(text("there")).unwrap();
        ba.send(text("back")).unwrap();
        pair.a.received(1).await;
        pair.b.received(1).await;
        pair.a.peer.close(pair.ab, None);
        until(|| broker.turn_stats().unwrap().allocations == 0).await;
    }
}

/// Waits for something that tells nobody.
async fn until(done: impl Fn() -> bool) {
    let soon = async {
        while !done() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(common::LONG, soon).await.unwrap();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_says_which_servers_it_uses() {
    let (broker, url) = relaying();
    let a = Testee::registered(options(&url, "a")).await;
    let servers = a.peer.ice_servers().await.unwrap();
    let [server] = &servers[..] else { unreachable!("{servers:?}") };
    assert_eq!(server.urls[0], format!("stun:{}", broker.turn_addresses()[0]));
    assert!(server.username.ends_with(":a") && !server.credential.is_empty());
    let mut own = options(&url, "own");
    own.ice_servers = Some(vec![IceServer { urls: vec!["stun:192.0.2.1".into()], ..IceServer::default() }]);
    let own = Testee::start(own);
    assert_eq!(own.peer.ice_servers().await.unwrap()[0].urls, ["stun:192.0.2.1"]);
    // Nobody is there who could name them.
    let alone = Testee::start(options("ws://127.0.0.1:1", "alone"));
    let servers = alone.peer.ice_servers();
    drop(alone);
    assert_eq!(servers.await, None);
}
