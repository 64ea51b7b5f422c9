//! How long a socket and its id live: closed, silent, slow, too many, and the broker's own end.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::{Duration, Instant};

use common::turn::{self, SECRET};
use common::{Client, broker, code, start, status, until, within};
use futures_util::{SinkExt, StreamExt};
use linkup_broker::{Broker, Options, Secret, TurnOptions};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{Bytes, Message};

#[tokio::test]
async fn a_closed_socket_frees_its_id_at_once() {
    let broker = broker();
    let mut b = Client::connect(&broker).await;
    for _ in 0..50 {
        let mut a = Client::registered(&broker, "x").await;
        within(a.0.close(None)).await.unwrap();
        assert!(matches!(a.next().await, Some(Message::Close(_))));
        // Who has heard the answer to its close may register at once.
        assert_eq!(b.ask(json!({"type": "register", "id": "x"})).await["message"], "x");
        b.ask(json!({"type": "unregister"})).await;
    }
}

#[tokio::test]
async fn a_broken_connection_frees_its_id() {
    let broker = broker();
    let a = Client::registered(&broker, "x").await;
    drop(a);
    until(|| async { broker.peers() == 0 && broker.sockets() == 0 }).await;
}

#[tokio::test]
async fn a_silent_socket_is_dropped_and_one_that_answers_pings_is_not() {
    let interval = Duration::from_millis(250);
    let mut options = Options::default();
    options.ping_interval = interval;
    let broker = start(options);
    // It only reads, and tungstenite answers the pings.
    let mut idle = Client::registered(&broker, "idle").await;
    let (pinged, mut pings) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(Ok(message)) = idle.0.next().await {
            assert!(message.is_ping());
            let _ = pinged.send(());
        }
    });
    let began = Instant::now();
    // It neither reads nor writes, but its connection stands.
    let _silent = Client::registered(&broker, "silent").await;
    assert_eq!(broker.peers(), 2);
    until(|| async { broker.peers() == 1 }).await;
    assert!(began.elapsed() >= 2 * interval, "too early: {:?}", began.elapsed());
    let mut finder = Client::connect(&broker).await;
    assert!(!finder.find("silent").await);
    for _ in 0..3 {
        within(pings.recv()).await.unwrap();
    }
    assert!(Client::connect(&broker).await.find("idle").await);
}

#[tokio::test]
async fn a_slow_consumer_is_dropped_and_the_others_go_on() {
    let broker = broker();
    let mut slow = Client::with_small_buffers(&broker).await;
    slow.ask(json!({"type": "register", "id": "slow"})).await;
    let (mut a, mut b) = (Client::registered(&broker, "a").await, Client::registered(&broker, "b").await);
    let signal = "s".repeat(60_000);
    let mut sent = 0;
    loop {
        let answer = a.ask(json!({"type": "signal", "to": "slow", "signal": signal})).await;
        if answer["message"] != "slow" {
            assert_eq!(code(&answer), "ERR_PEER_NOT_FOUND");
            break;
        }
        sent += 1;
        // Its queue is bounded, and so is what the kernel holds: some megabytes.
        assert!(sent < 1000, "the queue has no bound");
        a.ask(json!({"type": "signal", "to": "b", "signal": "s"})).await;
        assert_eq!(b.json().await["message"]["from"], "a");
    }
    until(|| async { broker.peers() == 2 }).await;
    let mut again = Client::connect(&broker).await;
    assert_eq!(again.ask(json!({"type": "register", "id": "slow"})).await["message"], "slow");
}

/// Sends a frame again and again to the broker, and reads nothing. Returns how often, when the broker takes no more.
async fn flood(client: &mut Client, frame: Message) -> usize {
    for sent in 1..1_000_000 {
        // Fed and flushed: when it is stuck it must be clear how many went.
        client.0.start_send_unpin(frame.clone()).unwrap();
        if tokio::time::timeout(Duration::from_secs(1), client.0.flush()).await.is_err() {
            return sent;
        }
    }
    panic!("the broker reads without bound");
}

/// One that takes as much of a socket as it can.
fn unlimited() -> Broker {
    let mut options = Options::default();
    (options.limits.socket_messages, options.limits.socket_bytes) = (0, 0);
    start(options)
}

#[tokio::test]
async fn a_client_that_asks_and_does_not_read_is_not_read_either() {
    let broker = unlimited();
    let mut client = Client::with_small_buffers(&broker).await;
    let asked = flood(&mut client, Message::text(r#"{"id":"u","message":{"type":"ping"}}"#)).await;
    // Then it reads, and nothing was lost.
    let (mut sink, mut stream) = client.0.split();
    let flush = tokio::spawn(async move { sink.flush().await });
    for _ in 0..asked {
        assert!(within(stream.next()).await.unwrap().unwrap().is_text());
    }
    within(flush).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_pings_and_does_not_read_is_not_read_either() {
    let broker = unlimited();
    let mut client = Client::with_small_buffers(&broker).await;
    flood(&mut client, Message::Ping(Bytes::from_static(&[0; 125]))).await;
    assert_eq!(Client::connect(&broker).await.ask(json!({"type": "ping"})).await["message"], "pong");
}

#[tokio::test]
async fn more_sockets_than_allowed_are_refused_until_one_goes() {
    let mut options = Options::default();
    options.max_sockets = 2;
    let broker = start(options);
    let (a, _b) = (Client::connect(&broker).await, Client::connect(&broker).await);
    assert!(Client::try_connect(broker.addresses()[0]).await.is_err());
    drop(a);
    until(|| async { Client::try_connect(broker.addresses()[0]).await.is_ok() }).await;
}

#[tokio::test]
async fn close_tells_the_clients_and_ends_everything() {
    let broker = broker();
    let address = broker.addresses()[0];
    let mut clients = Vec::new();
    for id in ["a", "b", "c"] {
        clients.push(Client::registered(&broker, id).await);
    }
    let closing = tokio::spawn(broker.close());
    for client in &mut clients {
        assert_eq!(client.close_frame().await, (1001, "going away".to_owned()));
        assert_eq!(client.next().await, None);
    }
    within(closing).await.unwrap();
    assert!(Client::try_connect(address).await.is_err());
}

#[tokio::test]
async fn close_does_not_wait_for_a_client_that_does_not_answer() {
    let broker = broker();
    let _deaf = Client::registered(&broker, "deaf").await;
    let began = Instant::now();
    broker.close().await;
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn close_does_not_wait_for_http() {
    let mut took = Duration::MAX;
    // The limit is what it waits for WebSockets. A machine may be busy for a second, but not each time.
    for _ in 0..5 {
        let broker = broker();
        let _waiting = tokio::net::TcpStream::connect(broker.addresses()[0]).await.unwrap();
        // It is answered after the other was accepted.
        drop(Client::connect(&broker).await);
        let began = Instant::now();
        broker.close().await;
        took = took.min(began.elapsed());
    }
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn what_was_under_way_arrives_before_the_close() {
    let broker = broker();
    let (mut a, mut b) = (Client::registered(&broker, "a").await, Client::registered(&broker, "b").await);
    assert_eq!(a.ask(json!({"type": "signal", "to": "b", "signal": "last"})).await["message"], "b");
    let closing = tokio::spawn(broker.close());
    assert_eq!(b.json().await["message"]["signal"], "last");
    assert_eq!(b.close_frame().await.0, 1001);
    drop(a);
    drop(b);
    within(closing).await.unwrap();
}

#[tokio::test]
async fn a_dropped_broker_stops() {
    let broker = broker();
    let address = broker.addresses()[0];
    let mut client = Client::registered(&broker, "a").await;
    drop(broker);
    assert_eq!(client.next().await, None);
    until(|| async { Client::try_connect(address).await.is_err() }).await;
}

#[tokio::test]
async fn two_families_are_one_broker() {
    let listeners = Broker::listen(Some("localhost"), 0).unwrap();
    let broker = Broker::start(listeners, Options::default(), &tokio::runtime::Handle::current()).unwrap();
    let mut clients = Vec::new();
    for address in broker.addresses() {
        let mut client = Client::try_connect(*address).await.unwrap();
        client.ask(json!({"type": "register", "id": address.to_string()})).await;
        assert!(client.find(&broker.addresses()[0].to_string()).await);
        clients.push(client);
    }
}

/// Frames of every kind with anything in them.
fn garbage() -> impl Strategy<Value = Message> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..120).prop_map(Bytes::from);
    let kinds = prop::sample::select(vec!["ping", "find", "register", "unregister", "signal", "x"]);
    prop_oneof![
        ".{0,200}".prop_map(Message::text),
        bytes().prop_map(Message::binary),
        bytes().prop_map(Message::Ping),
        bytes().prop_map(Message::Pong),
        (kinds, any::<Option<String>>(), "[a-z]{0,3}").prop_map(|(kind, id, to)| {
            let message = json!({"type": kind, "id": to, "to": to, "signal": to, "secret": id});
            Message::text(json!({"id": id, "message": message}).to_string())
        }),
    ]
}

/// Runs `test` on many inputs against one broker, which must still answer afterwards each time.
fn survives<S: Strategy>(strategy: S, test: impl AsyncFn(&Broker, S::Value)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let inside = runtime.enter();
    let broker = broker();
    drop(inside);
    let mut good = runtime.block_on(Client::connect(&broker));
    let mut runner = TestRunner::new(Config { cases: 100, failure_persistence: None, ..Config::default() });
    let result = runner.run(&strategy, |input| {
        runtime.block_on(test(&broker, input));
        Ok(())
    });
    result.unwrap();
    assert_eq!(runtime.block_on(good.ask(json!({"type": "ping"})))["message"], "pong");
    runtime.block_on(until(|| async { broker.sockets() == 1 && broker.peers() == 0 }));
}

#[test]
fn survives_garbage_in_frames() {
    survives(prop::collection::vec(garbage(), 0..20), async |broker, frames| {
        let mut client = Client::connect(broker).await;
        for frame in frames {
            // It may have closed the socket already.
            if within(client.0.send(frame)).await.is_err() {
                break;
            }
        }
    });
}

#[test]
fn survives_garbage_instead_of_frames() {
    survives(prop::collection::vec(any::<u8>(), 0..300), async |broker, bytes| {
        let mut client = Client::connect(broker).await;
        let tcp = client.0.get_mut();
        let _ = tcp.write_all(&bytes).await;
        let _ = tcp.shutdown().await;
        // Whatever it answers, it comes to an end.
        let _ = within(tcp.read_to_end(&mut Vec::new())).await;
    });
}

#[test]
fn survives_garbage_instead_of_http() {
    let line = "(GET|POST|X) [/a-z%.]{0,20} HTTP/1.[01]\r\n";
    let head = (line, "([A-Za-z-]{1,20}: .{0,20}\r\n){0,5}(\r\n)?").prop_map(|(line, rest)| line + &rest);
    let any_bytes = prop::collection::vec(any::<u8>(), 0..300);
    survives(prop_oneof![head.prop_map(String::into_bytes), any_bytes], async |broker, bytes| {
        let mut tcp = tokio::net::TcpStream::connect(broker.addresses()[0]).await.unwrap();
        let _ = tcp.write_all(&bytes).await;
        let _ = tcp.shutdown().await;
        let _ = within(tcp.read_to_end(&mut Vec::new())).await;
    });
}

#[tokio::test]
async fn a_drain_moves_the_clients_and_takes_no_new_ones() {
    let mut options = Options::default();
    let mut turn = TurnOptions::default();
    (turn.host, turn.port) = (Some("127.0.0.1".to_owned()), 0);
    options.turn = Some(turn);
    options.turn_secret = Some(Secret::new(SECRET));
    let broker = start(options);
    let (address, turn) = (broker.addresses()[0], broker.turn_addresses()[0]);
    let mut relayed = turn::Client::udp(turn, turn::credentials("alice")).await;
    relayed.allocate().await.unwrap();
    let mut peer = Client::registered(&broker, "a").await;
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200 "));
    let draining = tokio::spawn(broker.drain(Duration::from_secs(60)));
    let (code, reason) = peer.close_frame().await;
    assert_eq!(code, 1012, "{reason}");
    // Until the allocation has ended it goes on so.
    assert_eq!(status(Client::try_connect(address).await), 503);
    assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 503 "));
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
    assert!(get(address, "/metrics").await.contains("linkup_draining 1\n"));
    let mut late = turn::Client::udp(turn, turn::credentials("bob")).await;
    assert_eq!(late.allocate().await, Err(508));
    assert!(!draining.is_finished());
    relayed.refresh(0).await.unwrap();
    within(draining).await.unwrap();
    assert!(Client::try_connect(address).await.is_err());
}

#[tokio::test]
async fn a_drain_ends_in_time_whoever_stays() {
    let broker = broker();
    let mut deaf = Client::registered(&broker, "deaf").await;
    within(broker.drain(Duration::from_millis(10))).await;
    assert_eq!(deaf.close_frame().await.0, 1012);
}

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    tcp.write_all(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
    let mut response = String::new();
    within(tcp.read_to_string(&mut response)).await.unwrap();
    response
}
