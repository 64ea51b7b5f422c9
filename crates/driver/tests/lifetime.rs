//! What outlives what: peers, brokers, connections, tasks, sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod common;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Testee, broker, broker_at, broker_without_relay, options, pair, text};
use linkup_broker::Broker;
use linkup_driver::Keeper;
use linkup_driver::core::Event;
use linkup_proto::{ErrorCode, PeerId};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_dropped_is_noticed_at_once() {
    let (_broker, url) = broker();
    let mut pair = pair(&url).await;
    let start = Instant::now();
    drop(pair.a);
    pair.b.closed().await;
    println!("noticed after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vanished_remote_is_noticed_within_its_time() {
    let (_broker, url) = broker();
    let (mut a, b) = (options(&url, "a"), options(&url, "b"));
    a.timeouts.idle = Duration::from_secs(2);
    // A runtime of its own, which stops without a word: the same as kill -9.
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    process.spawn(async move {
        let mut b = Testee::registered(b).await;
        let _ = ready.send(());
        b.opened().await;
        std::future::pending::<()>().await;
    });
    is_ready.await.unwrap();
    let mut a = Testee::registered(a).await;
    a.peer.connect(PeerId::new("b").unwrap());
    let connection = a.opened().await;
    a.link(connection).send(text("x")).unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let start = Instant::now();
    process.shutdown_background();
    let error = a.closed().await.unwrap();
    println!("noticed after {:?}: {error}", start.elapsed());
    assert_eq!(error.code, ErrorCode::ConnectionLost);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_outlive_the_broker_and_the_peers_come_back() {
    let (first, url) = broker();
    let port = first.addresses()[0].port();
    let mut pair = pair(&url).await;
    first.close().await;
    for side in [&mut pair.a, &mut pair.b] {
        side.until(|event| matches!(event, Event::Offline { .. }).then_some(())).await;
    }
    pair.a.link(pair.ab).send(text("still here")).unwrap();
    pair.b.received(1).await;
    let start = Instant::now();
    let (_second, _) = broker_at(port);
    for side in [&mut pair.a, &mut pair.b] {
        side.until(|event| matches!(event, Event::Registered).then_some(())).await;
    }
    println!("registered again after {:?}", start.elapsed());
    pair.a.link(pair.ab).send(text("and here")).unwrap();
    pair.b.received(2).await;
}

/// Starts a broker when it is first asked.
struct Starter {
    port: u16,
    asked: AtomicUsize,
    broker: Mutex<Option<Broker>>,
}

impl Keeper for Starter {
    fn ensure(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            self.asked.fetch_add(1, Ordering::SeqCst);
            self.broker.lock().unwrap().get_or_insert_with(|| broker_at(self.port).0);
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keeper_is_asked_before_the_broker() {
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let keeper = Arc::new(Starter { port, asked: AtomicUsize::new(0), broker: Mutex::new(None) });
    let mut a = options(&format!("ws://127.0.0.1:{port}"), "a");
    a.keeper = Some(Arc::clone(&keeper) as Arc<dyn Keeper>);
    let _a = Testee::registered(a).await;
    assert_eq!(keeper.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_there_is_reported() {
    let mut a = Testee::start(options("ws://127.0.0.1:9", "a"));
    let reason = a
        .until(|event| match event {
            Event::Offline { reason, .. } => Some(reason),
            _ => None,
        })
        .await;
    assert!(reason.contains("127.0.0.1:9"), "{reason}");
    let mut b = Testee::start(options("wss://127.0.0.1:9", "b"));
    b.until(|event| matches!(event, Event::Offline { .. }).then_some(())).await;
    a.peer.close_peer();
    assert_eq!(a.peer_closed().await, None);
}

fn entries(of: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{of}")).unwrap().count()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn threads_and_files_stay_flat() {
    let (_broker, url) = broker();
    let mut b = Testee::registered(options(&url, "b")).await;
    let mut a = Testee::registered(options(&url, "a")).await;
    let mut flat = (0, 0, 0);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    for round in 0..200 {
        a.peer.connect(PeerId::new("b").unwrap());
        let connection = a.opened().await;
        let theirs = b.opened().await;
        a.link(connection).send(text("x")).unwrap();
        if round % 3 == 0 {
            b.peer.close(theirs, None);
        } else {
            a.peer.close(connection, None);
        }
        a.closed().await;
        b.closed().await;
        if round == 20 {
            tokio::time::sleep(Duration::from_millis(300)).await;
            flat = (entries("task"), entries("fd"), tasks());
        }
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let now = (entries("task"), entries("fd"), tasks());
    println!("threads, files, tasks: {flat:?} after 20, {now:?} after 200");
    assert!(now.0 <= flat.0 && now.1 <= flat.1 + 1 && now.2 <= flat.2 + 1, "{flat:?} {now:?}");
}

/// Attempts that are given up half way, at every moment.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_leaves_nothing_behind() {
    let (_broker, url) = broker();
    let _b = Testee::registered(options(&url, "b")).await;
    let a = Testee::registered(options(&url, "a")).await;
    let (files, threads) = (entries("fd"), entries("task"));
    for round in 0..200 {
        let connection = a.peer.connect(PeerId::new("b").unwrap());
        tokio::time::sleep(Duration::from_micros(round * 25)).await;
        let reason = linkup_proto::Error::new(ErrorCode::Aborted, "no");
        a.peer.close(connection, Some(reason));
    }
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if entries("fd") <= files + 1 {
            break;
        }
    }
    println!("files {files} then {}, threads {threads} then {}", entries("fd"), entries("task"));
    assert!(entries("fd") <= files + 1 && entries("task") <= threads);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_machine_says_why_it_cannot_connect() {
    let (_broker, url) = broker_without_relay();
    let (mut a, mut b) = (options(&url, "a"), options(&url, "b"));
    a.transforms = true;
    b.transforms = true;
    for options in [&mut a, &mut b] {
        options.timeouts.idle = Duration::from_secs(1);
        options.trickle = false;
    }
    let mut b = Testee::registered(b).await;
    let mut a = Testee::registered(a).await;
    a.peer.connect(PeerId::new("b").unwrap());
    // Addresses that nobody has: the discard port of a network that is for documentation.
    for side in [&mut a, &mut b] {
        let (transport, sdp) = side
            .until(|event| match event {
                Event::Transform { transport, sdp } => Some((transport, sdp)),
                _ => None,
            })
            .await;
        let sdp: String = sdp.split_inclusive('\n').filter(|line| !line.starts_with("a=candidate:")).collect();
        side.peer.transformed(transport, sdp + "a=candidate:1 1 udp 1 203.0.113.1 9 typ host\r\n");
    }
    let error = a.closed().await.unwrap();
    assert_eq!(error.code, ErrorCode::IceFailed);
    println!("{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_description_breaks_one_attempt_only() {
    let (_broker, url) = broker();
    let mut a = options(&url, "a");
    a.transforms = true;
    let mut b = Testee::registered(options(&url, "b")).await;
    let mut a = Testee::registered(a).await;
    a.peer.connect(PeerId::new("b").unwrap());
    let transport = a
        .until(|event| match event {
            Event::Transform { transport, .. } => Some(transport),
            _ => None,
        })
        .await;
    a.peer.transformed(transport, "nonsense".to_owned());
    let error = b
        .until(|event| match event {
            Event::Error { error, .. } => Some(error),
            _ => None,
        })
        .await;
    assert_eq!(error.code, ErrorCode::Protocol);
    a.closed().await;
    let mut c = Testee::registered(options(&url, "c")).await;
    c.peer.connect(PeerId::new("b").unwrap());
    c.opened().await;
}
