//! From two ids to a connection.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Testee, broker, options, pair, pair_of, text};
use linkup_driver::core::{Event, Identity, Token};
use linkup_driver::{ChannelOptions, IceServer, Message};
use linkup_proto::{Error, ErrorCode, PeerId};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_peers_talk_both_ways() {
    let (broker, url) = broker();
    let pair = pair(&url).await;
    let (ab, ba) = (pair.a.link(pair.ab), pair.b.link(pair.ba));
    ab.send(text("hello ü \u{0}")).unwrap();
    ab.send(text("")).unwrap();
    ab.send(Message::Binary(Bytes::from_static(&[0, 255, 1]))).unwrap();
    ba.send(text("back")).unwrap();
    pair.b.received(3).await;
    pair.a.received(1).await;
    let expected = [text("hello ü \u{0}"), text(""), Message::Binary(Bytes::from_static(&[0, 255, 1]))];
    assert_eq!(pair.b.take_messages(), expected);
    assert_eq!(pair.a.take_messages(), [text("back")]);
    assert_eq!(ab.max_message(), 64 << 20);
    let stats = ab.stats().await;
    assert_eq!(stats["path"], json!("direct"));
    // Three of the application in one or more of the transport.
    assert!(stats["messagesSent"].as_u64().is_some_and(|sent| (1..=3).contains(&sent)), "{stats}");
    assert_eq!(stats["messagesReceived"], json!(1));
    assert!(stats["remoteCandidate"]["port"].is_number(), "{stats}");
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_and_the_direction_are_told() {
    let (_broker, url) = broker();
    let (mut a, mut b) = (options(&url, "a"), options(&url, "b"));
    a.metadata = Some(json!({"name": "Anna"}));
    b.metadata = Some(json!([1, null]));
    b.identity = Some([7; 32]);
    let mut b = Testee::registered(b).await;
    let mut a = Testee::registered(a).await;
    let asked = a.peer.connect(PeerId::new("b").unwrap());
    let event = a.until(|event| matches!(event, Event::Open { .. }).then_some(event)).await;
    let Event::Open { connection, remote, incoming, metadata, identity, linkup, caller } = event else {
        unreachable!()
    };
    assert_eq!((connection, remote.as_str(), incoming, linkup.is_some(), caller), (asked, "b", false, true, true));
    assert_eq!(metadata, Some(json!([1, null])));
    assert_eq!(identity, Some(Identity::from_seed(&[7; 32]).public()));
    let event = b.until(|event| matches!(event, Event::Open { .. }).then_some(event)).await;
    let Event::Open { incoming, metadata, identity, .. } = event else { unreachable!() };
    assert!(incoming && identity.is_some(), "a peer has a key of its own");
    assert_eq!(metadata, Some(json!({"name": "Anna"})));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_id_is_refused_at_once() {
    let (_broker, url) = broker();
    let mut a = Testee::registered(options(&url, "a")).await;
    let start = Instant::now();
    a.peer.connect(PeerId::new("nobody").unwrap());
    let error = a.closed().await.unwrap();
    assert_eq!(error.code, ErrorCode::PeerNotFound);
    println!("unknown id refused in {:?}", start.elapsed());
    a.peer.find(Token(7), PeerId::new("nobody").unwrap());
    let found = a.until(|event| match event {
        Event::Settled { token: Token(7), result } => Some(result),
        _ => None,
    });
    assert_eq!(found.await, Ok(false));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_caller_hears_the_reason() {
    let (_broker, url) = broker();
    let mut b = options(&url, "b");
    b.asks = true;
    let mut b = Testee::registered(b).await;
    let mut a = Testee::registered(options(&url, "a")).await;
    a.peer.connect(PeerId::new("b").unwrap());
    let connection = b
        .until(|event| match event {
            Event::Request { connection, .. } => Some(connection),
            _ => None,
        })
        .await;
    b.peer.answer(connection, Err(Error::new(ErrorCode::Denied, "busy")));
    let error = a.closed().await.unwrap();
    assert_eq!(error.code, ErrorCode::Denied);
    assert!(error.message.contains("busy"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_at_once_get_one_connection() {
    let (_broker, url) = broker();
    for round in 0..200 {
        let (a_id, b_id) = (format!("a{round}"), format!("b{round}"));
        let mut a = Testee::registered(options(&url, &a_id)).await;
        let mut b = Testee::registered(options(&url, &b_id)).await;
        a.peer.connect(PeerId::new(&b_id).unwrap());
        b.peer.connect(PeerId::new(&a_id).unwrap());
        let (ab, ba) = (a.opened().await, b.opened().await);
        a.link(ab).send(text("from a")).unwrap();
        b.link(ba).send(text("from b")).unwrap();
        a.received(1).await;
        b.received(1).await;
        assert_eq!(a.take_messages(), [text("from b")]);
        assert_eq!(b.take_messages(), [text("from a")]);
        a.peer.close_peer();
        b.peer.close_peer();
        for mut peer in [a, b] {
            while !matches!(peer.events.recv().await.unwrap(), Event::PeerClosed { .. }) {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connects_without_trickle() {
    let (_broker, url) = broker();
    let (mut a, mut b) = (options(&url, "a"), options(&url, "b"));
    a.trickle = false;
    b.trickle = false;
    let pair = pair_of(a, b).await;
    pair.a.link(pair.ab).send(text("x")).unwrap();
    pair.b.received(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_trickle_a_dead_server_is_waited_for_only_so_long() {
    let (_broker, url) = broker();
    let (mut a, mut b) = (options(&url, "a"), options(&url, "b"));
    for options in [&mut a, &mut b] {
        options.trickle = false;
        options.ice_complete_timeout = Duration::from_millis(100);
        let urls = vec!["stun:127.0.0.1:9".to_owned(), "turns:nowhere.invalid".to_owned(), "nonsense".to_owned()];
        options.ice_servers = Some(vec![IceServer { urls, ..IceServer::default() }]);
    }
    let pair = pair_of(a, b).await;
    pair.a.link(pair.ab).send(text("x")).unwrap();
    pair.b.received(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_negotiated_and_an_unreliable_channel_work() {
    let (_broker, url) = broker();
    let negotiated = ChannelOptions { negotiated: Some(5), ..ChannelOptions::default() };
    let unreliable = ChannelOptions { ordered: false, max_retransmits: Some(0), ..ChannelOptions::default() };
    let ordered = ChannelOptions { max_retransmits: Some(9), ..ChannelOptions::default() };
    for channel in [negotiated, unreliable, ordered] {
        let (mut a, mut b) = (options(&url, "a"), options(&url, "b"));
        a.channel = channel.clone();
        b.channel = channel;
        let mut pair = pair_of(a, b).await;
        pair.a.link(pair.ab).send(text("there")).unwrap();
        pair.b.link(pair.ba).send(text("back")).unwrap();
        pair.b.received(1).await;
        pair.a.received(1).await;
        // Long enough for what linkup itself has to say on the channel: none of it is a message.
        tokio::time::sleep(Duration::from_millis(250)).await;
        assert_eq!(pair.a.take_messages(), [text("back")]);
        assert_eq!(pair.b.take_messages(), [text("there")]);
        pair.a.peer.close(pair.ab, None);
        assert_eq!(pair.a.closed().await, None);
        assert_eq!(pair.b.closed().await, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relay_only_without_a_relay_fails_and_says_why() {
    let (_broker, url) = broker();
    let mut a = options(&url, "a");
    a.relay_only = true;
    a.timeouts.idle = Duration::from_secs(1);
    let _b = Testee::registered(options(&url, "b")).await;
    let mut a = Testee::registered(a).await;
    a.peer.connect(PeerId::new("b").unwrap());
    let error = a.closed().await.unwrap();
    assert_eq!(error.code, ErrorCode::IceFailed);
    println!("{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_description_can_be_changed() {
    let (_broker, url) = broker();
    let mut a = options(&url, "a");
    a.transforms = true;
    let mut b = Testee::registered(options(&url, "b")).await;
    let mut a = Testee::registered(a).await;
    a.peer.connect(PeerId::new("b").unwrap());
    let (transport, sdp) = a
        .until(|event| match event {
            Event::Transform { transport, sdp } => Some((transport, sdp)),
            _ => None,
        })
        .await;
    a.peer.transformed(transport, sdp.replace("a=max-message-size:262144", "a=max-message-size:1000"));
    a.opened().await;
    let connection = b.opened().await;
    let link = b.link(connection);
    link.send(text("x".repeat(5000))).unwrap();
    a.received(1).await;
    assert_eq!(a.take_messages(), [text("x".repeat(5000))]);
    // In pieces of at most 1,000 bytes with their headers.
    let sent = link.stats().await["messagesSent"].as_u64().unwrap();
    assert!(sent >= 6, "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_long_connecting_takes() {
    let (_broker, url) = broker();
    let mut times = Vec::new();
    let mut b = Testee::registered(options(&url, "b")).await;
    for round in 0..100 {
        let mut a = Testee::registered(options(&url, &format!("a{round}"))).await;
        let start = Instant::now();
        a.peer.connect(PeerId::new("b").unwrap());
        a.opened().await;
        times.push(start.elapsed());
        b.until(|event| matches!(event, Event::Open { .. }).then_some(())).await;
    }
    times.sort();
    println!("connect: p50 {:?}, p95 {:?}, max {:?}", times[50], times[95], times[99]);
}
