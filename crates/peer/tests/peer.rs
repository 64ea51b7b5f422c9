//! Two peers by the public API, and a real broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use linkup_broker::Broker;
use linkup_peer::{Builder, Connection, ErrorCode, Message, Peer, State};
use serde_json::json;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// Longer than anything here takes, also on a busy machine.
const LONG: Duration = Duration::from_secs(30);

fn broker() -> (Broker, String) {
    let listeners = Broker::listen(Some("127.0.0.1"), 0).unwrap();
    let broker = Broker::start(listeners, linkup_broker::Options::default(), &Handle::current()).unwrap();
    let url = format!("ws://{}", broker.addresses()[0]);
    (broker, url)
}

fn peer(url: &str, id: &str) -> Builder {
    Peer::builder(id).unwrap().broker(url)
}

/// Both ends of a connection, the caller's first.
async fn connected(alice: &Peer, bob: &Peer) -> (Connection, Connection) {
    bob.registered().await.unwrap();
    let (there, here) = tokio::join!(alice.connect(bob.id()), bob.accept());
    (there.unwrap(), here.unwrap())
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(LONG, what).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_all_kinds_arrive_in_order() {
    let (_broker, url) = broker();
    let alice = peer(&url, "alice").metadata(json!({"name": "Alice"})).unwrap().start();
    let bob = peer(&url, "bob").start();
    let (there, here) = soon(connected(&alice, &bob)).await;
    assert_eq!((here.id(), here.metadata()), ("alice", Some(&json!({"name": "Alice"}))));
    assert_eq!((there.id(), there.metadata()), ("bob", None));
    let all: Vec<Message> =
        vec!["text".into(), json!({"a": [1, null]}).into(), vec![0, 255].into(), vec![7; 1 << 20].into(), "".into()];
    for message in &all {
        there.send(message.clone()).await.unwrap();
    }
    for message in &all {
        assert_eq!(soon(here.recv()).await.unwrap().as_ref(), Some(message));
    }
    here.send_acknowledged("back").await.unwrap();
    assert_eq!(soon(there.recv()).await.unwrap(), Some("back".into()));
    assert_eq!(there.stats().await["path"], "direct");
    soon(there.close()).await.unwrap();
    assert_eq!(soon(here.recv()).await.unwrap(), None);
    assert_eq!(there.send("late").await.unwrap_err().code, ErrorCode::ConnectionClosed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_connects_twice_gets_the_same_connection() {
    let (_broker, url) = broker();
    let (alice, bob) = (peer(&url, "alice").start(), peer(&url, "bob").start());
    soon(bob.registered()).await.unwrap();
    let (one, two) = tokio::join!(alice.connect("bob"), alice.connect("bob"));
    let three = soon(alice.connect("bob")).await.unwrap();
    let caller = soon(bob.accept()).await.unwrap();
    for (n, connection) in [one.unwrap(), two.unwrap(), three].iter().enumerate() {
        connection.send(json!(n)).await.unwrap();
        assert_eq!(soon(caller.recv()).await.unwrap(), Some(json!(n).into()));
    }
    assert_eq!((alice.connections().len(), bob.connections().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_say_what_happened() {
    let (_broker, url) = broker();
    let alice = peer(&url, "alice").start();
    soon(alice.registered()).await.unwrap();
    assert_eq!(alice.state(), State::Registered);
    assert_eq!(soon(alice.connect("nobody")).await.unwrap_err().code, ErrorCode::PeerNotFound);
    assert_eq!(soon(alice.connect("alice")).await.unwrap_err().code, ErrorCode::ConnectSelf);
    assert_eq!(Peer::builder("").unwrap_err().code, ErrorCode::Protocol);
    let large = peer(&url, "a").metadata(json!("x".repeat(16_383)));
    assert_eq!(large.unwrap_err().code, ErrorCode::MessageTooLarge);
    assert!(!soon(alice.find("nobody")).await.unwrap());
    assert!(soon(alice.find("alice")).await.unwrap());

    let heard = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&heard);
    let second = peer(&url, "alice")
        .on_error(move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        })
        .start();
    assert_eq!(soon(second.registered()).await.unwrap_err().code, ErrorCode::IdTaken);
    assert_eq!(heard.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_are_decided_about() {
    let (_broker, url) = broker();
    let bob = peer(&url, "bob").on_request(|request| async move {
        let known = request.metadata == Some(json!("please"));
        if known { Ok(()) } else { Err(format!("not {}", request.from)) }
    });
    let bob = bob.start();
    soon(bob.registered()).await.unwrap();
    let refused = soon(peer(&url, "mallory").start().connect("bob")).await.unwrap_err();
    assert_eq!((refused.code, refused.message.contains("not mallory")), (ErrorCode::Denied, true));
    let alice = peer(&url, "alice").metadata(json!("please")).unwrap().start();
    soon(alice.send("bob", "hi")).await.unwrap();
    assert_eq!(soon(bob.accept()).await.unwrap().id(), "alice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_pinned_and_proven() {
    let (_broker, url) = broker();
    let (seed, other) = ([7; 32], [8; 32]);
    let (right, wrong) = (Peer::public_key_of(&seed), Peer::public_key_of(&other));
    let bob = peer(&url, &format!("key:{right}")).identity(seed).start();
    let alice = peer(&url, "alice").start();
    soon(bob.registered()).await.unwrap();
    let refused = soon(alice.connect_to_key(bob.id(), wrong)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::IdentityMismatch);
    let connection = soon(alice.connect_to_key(bob.id(), right)).await.unwrap();
    assert_eq!(connection.public_key(), Some(right));
    let refused = soon(alice.connect_to_key(bob.id(), wrong)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::IdentityMismatch, "the open connection is not that one's either");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_slows_the_sender_down() {
    const COUNT: usize = 400;
    let (_broker, url) = broker();
    let (alice, bob) = (peer(&url, "alice").start(), peer(&url, "bob").start());
    let (there, here) = soon(connected(&alice, &bob)).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let sender = tokio::spawn(async move {
        for n in 0..COUNT {
            there.send(vec![n as u8; 64 << 10]).await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
        }
        there
    });
    // It stands still before it is through: then nothing moves any more.
    let mut before = usize::MAX;
    soon(async {
        while sent.load(Ordering::SeqCst) != before || before == 0 {
            before = sent.load(Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    })
    .await;
    assert!(before < COUNT / 2, "{before} messages of 64 KiB");
    for n in 0..COUNT {
        let message = soon(here.recv()).await.unwrap().unwrap();
        assert_eq!(message.bytes(), Some(&vec![n as u8; 64 << 10][..]));
    }
    soon(sender).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_that_is_dropped_is_given_up() {
    let (_broker, url) = broker();
    let asked = Arc::new(tokio::sync::Notify::new());
    let signal = Arc::clone(&asked);
    let bob = peer(&url, "bob").on_request(move |_| {
        signal.notify_one();
        std::future::pending()
    });
    let bob = bob.start();
    let alice = peer(&url, "alice").start();
    soon(bob.registered()).await.unwrap();
    let mut attempt = Box::pin(alice.connect("bob"));
    soon(async {
        tokio::select! {
            outcome = &mut attempt => panic!("{outcome:?}"),
            () = asked.notified() => {}
        }
    })
    .await;
    drop(attempt);
    soon(alice.close()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_peer_ends_what_waits_for_it() {
    let (_broker, url) = broker();
    let (alice, bob) = (peer(&url, "alice").start(), peer(&url, "bob").start());
    let (there, here) = soon(connected(&alice, &bob)).await;
    there.send("the last one").await.unwrap();
    soon(alice.close()).await.unwrap();
    assert_eq!(soon(here.recv()).await.unwrap(), Some("the last one".into()));
    assert_eq!(soon(here.recv()).await.unwrap(), None);
    let waiting = here.clone();
    drop(bob);
    assert_eq!(soon(waiting.send_acknowledged("x")).await.unwrap_err().code, ErrorCode::ConnectionClosed);
    assert_eq!(there.send("x").await.unwrap_err().code, ErrorCode::ConnectionClosed);
}

/// Who closes has delivered: also to one who takes the connection only afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_said_before_the_end_waits_to_be_accepted() {
    let (_broker, url) = broker();
    let bob = peer(&url, "bob").start();
    soon(bob.registered()).await.unwrap();
    for id in ["alice", "carol"] {
        let caller = peer(&url, id).start();
        soon(caller.send("bob", id)).await.unwrap();
        soon(caller.close()).await.unwrap();
    }
    for id in ["alice", "carol"] {
        let connection = soon(bob.accept()).await.unwrap();
        assert_eq!(connection.id(), id);
        assert_eq!(soon(connection.recv()).await.unwrap(), Some(id.into()));
        assert_eq!(soon(connection.recv()).await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_is_taken_is_heard_by_all_who_wait() {
    let (_broker, url) = broker();
    let first = peer(&url, "alice").start();
    soon(first.registered()).await.unwrap();
    let second = peer(&url, "alice").on_error(|_| {}).start();
    let (call, registered) = soon(async { tokio::join!(second.connect("bob"), second.registered()) }).await;
    assert_eq!(call.unwrap_err().code, ErrorCode::IdTaken);
    assert_eq!(registered.unwrap_err().code, ErrorCode::IdTaken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_panics_about_a_caller_denies() {
    let (_broker, url) = broker();
    let bob = peer(&url, "bob").on_request(|_| async { panic!("on purpose") }).start();
    soon(bob.registered()).await.unwrap();
    let refused = soon(peer(&url, "alice").start().connect("bob")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Denied);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_dropped_when_it_is_through_cuts_nobody_off() {
    let (_broker, url) = broker();
    let (alice, bob) = (peer(&url, "alice").start(), peer(&url, "bob").start());
    soon(bob.registered()).await.unwrap();
    let mut first = Box::pin(alice.connect("bob"));
    // It has begun, and is not looked at any more.
    assert!(timeout(Duration::ZERO, &mut first).await.is_err());
    let second = soon(alice.connect("bob")).await.unwrap();
    drop(first);
    let caller = soon(bob.accept()).await.unwrap();
    second.send_acknowledged("still there").await.unwrap();
    assert_eq!(soon(caller.recv()).await.unwrap(), Some("still there".into()));
    assert_eq!(alice.connections().len(), 1);
}
