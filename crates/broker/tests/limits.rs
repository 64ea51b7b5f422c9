//! What a client hears that asks for too much, and that the others hear nothing of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Client, behind_proxy, code, metric, refused, start, status, until};
use linkup_broker::{Broker, Limits, Options};
use serde_json::{Value, json};

fn options(change: impl FnOnce(&mut Limits)) -> Options {
    let mut options = Options::default();
    change(&mut options.limits);
    options
}

/// Sends pings until one is refused; returns how many were answered.
async fn pings(client: &mut Client) -> u64 {
    for answered in 0..1_000 {
        let answer = client.ask(json!({"type": "ping"})).await;
        if answer["error"] != Value::Null {
            assert_eq!(code(&answer), "ERR_PROTOCOL");
            assert!(answer["error"]["message"].as_str().unwrap().starts_with("too many "), "{answer}");
            return answered;
        }
    }
    panic!("there is no limit");
}

/// Goes on until the broker closes.
async fn goes_on(broker: &Broker, client: &mut Client) {
    let mut refused = 0;
    loop {
        client.send(r#"{"message":{"type":"ping"}}"#).await;
        let answer = client.json().await;
        assert_eq!((&answer["id"], code(&answer)), (&Value::Null, "ERR_PROTOCOL"));
        refused += 1;
        assert!(refused < 100, "it may go on for ever");
        if refused > 32 - 1 {
            break;
        }
    }
    assert_eq!(client.close_frame().await.0, 1008);
    assert_eq!(metric(broker, "linkup_dropped_total{reason=\"limit\"}"), 1);
}

#[tokio::test]
async fn messages_of_a_socket() {
    let broker = start(options(|limits| limits.socket_messages = 1));
    let (mut greedy, mut modest) = (Client::connect(&broker).await, Client::connect(&broker).await);
    let answered = pings(&mut greedy).await;
    assert!((20..30).contains(&answered), "{answered}");
    assert!(refused(&broker, "socket_messages") > 0);
    assert_eq!(modest.ask(json!({"type": "ping"})).await["message"], "pong");
    goes_on(&broker, &mut greedy).await;
    assert_eq!(modest.ask(json!({"type": "ping"})).await["message"], "pong");
}

#[tokio::test]
async fn bytes_of_a_socket() {
    // Two of the largest frames may always come at once.
    let broker = start(options(|limits| limits.socket_bytes = 1));
    let mut greedy = Client::connect(&broker).await;
    let find = json!({"type": "find", "id": "x", "filling": "f".repeat(30_000)});
    for _ in 0..4 {
        assert_eq!(greedy.ask(find.clone()).await["error"], Value::Null);
    }
    assert_eq!(code(&greedy.ask(find).await), "ERR_PROTOCOL");
    assert_eq!(refused(&broker, "socket_bytes"), 1);
}

#[tokio::test]
async fn bytes_that_are_no_message_count_too() {
    use tokio::io::AsyncWriteExt;
    let broker = start(options(|limits| limits.socket_bytes = 1));
    let mut client = Client::connect(&broker).await;
    // The pieces of a message that never ends, of no byte each: the WebSocket layer swallows them.
    let tcp = client.0.get_mut();
    tcp.write_all(&[0x01, 0x80, 0, 0, 0, 0]).await.unwrap();
    let pieces: Vec<u8> = [0x00, 0x80, 0, 0, 0, 0].repeat(10_000);
    while tcp.write_all(&pieces).await.is_ok() {}
    until(|| async { broker.sockets() == 0 }).await;
    assert_eq!(metric(&broker, "linkup_dropped_total{reason=\"limit\"}"), 1);
}

#[tokio::test]
async fn an_address_has_its_limits_however_many_sockets_it_has() {
    let broker = behind_proxy(options(|limits| limits.address_messages = 2));
    let mut answered = 0;
    for _ in 0..4 {
        // To connect is a message, too.
        answered += 1 + pings(&mut Client::from_address(&broker, "192.0.2.1").await).await;
        if answered >= 38 {
            break;
        }
    }
    assert!((38..60).contains(&answered), "{answered}");
    assert!(refused(&broker, "address_messages") > 0);
    assert_eq!(status(Client::try_from_address(&broker, "192.0.2.1").await), 429);
    assert_eq!(refused(&broker, "address_connections"), 1);
    let mut other = Client::from_address(&broker, "192.0.2.2").await;
    assert_eq!(other.ask(json!({"type": "ping"})).await["message"], "pong");
}

#[tokio::test]
async fn sockets_of_an_address() {
    let broker = behind_proxy(options(|limits| limits.address_sockets = 2));
    let first = Client::from_address(&broker, "2001:db8::1").await;
    let _second = Client::from_address(&broker, "2001:db8::2").await;
    assert_eq!(status(Client::try_from_address(&broker, "2001:db8::3").await), 429);
    assert_eq!(refused(&broker, "address_sockets"), 1);
    let _other = Client::from_address(&broker, "2001:db8:0:1::").await;
    drop(first);
    until(|| async { Client::try_from_address(&broker, "2001:db8::3").await.is_ok() }).await;
}

#[tokio::test]
async fn without_a_proxy_the_address_is_that_of_the_connection() {
    let broker = start(options(|limits| (limits.address_sockets, limits.loopback) = (1, true)));
    let _first = Client::connect(&broker).await;
    // What it says itself is not believed.
    assert_eq!(status(Client::try_from_address(&broker, "192.0.2.1").await), 429);
}

#[tokio::test]
async fn this_machine_is_exempt_from_the_limits_by_address() {
    let broker = start(options(|limits| (limits.address_sockets, limits.address_messages) = (1, 1)));
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = Client::connect(&broker).await;
        assert_eq!(client.ask(json!({"type": "ping"})).await["message"], "pong");
        clients.push(client);
    }
}

#[tokio::test]
async fn the_size_of_a_frame() {
    let broker = start(options(|limits| limits.frame_bytes = 20_000));
    let frame = |size| json!({"id": "u", "message": {"type": "find", "id": "x", "filling": "f".repeat(size)}});
    let mut client = Client::connect(&broker).await;
    client.send(frame(19_000).to_string()).await;
    assert_eq!(client.json().await["error"], Value::Null);
    client.send(frame(20_000).to_string()).await;
    assert!(client.json().await["error"]["message"].as_str().unwrap().contains("20000"));
    assert_eq!(client.close_frame().await.0, 1009);
    assert_eq!(refused(&broker, "frame_bytes"), 1);
}

#[tokio::test]
async fn the_queue_of_a_client_that_does_not_read() {
    let broker = start(options(|limits| limits.queue_frames = 5));
    let mut slow = Client::with_small_buffers(&broker).await;
    slow.ask(json!({"type": "register", "id": "slow"})).await;
    let mut fast = Client::registered(&broker, "fast").await;
    let signal = json!({"type": "signal", "to": "slow", "signal": "s".repeat(60_000)});
    let mut sent = 0;
    while fast.ask(signal.clone()).await["error"] == Value::Null {
        sent += 1;
        // What the kernel holds, what tungstenite holds, and five.
        assert!(sent < 200, "the queue has another bound");
    }
    until(|| async { metric(&broker, "linkup_dropped_total{reason=\"slow\"}") == 1 }).await;
}

#[tokio::test]
async fn the_defaults_hurt_no_office_that_comes_back_at_once() {
    let broker = behind_proxy(Options::default());
    let mut office = Vec::new();
    for number in 0..500 {
        let mut client = Client::from_address(&broker, "192.0.2.1").await;
        let id = format!("peer{number}");
        assert_eq!(client.ask(json!({"type": "register", "id": id})).await["message"], id);
        office.push(client);
    }
    // One of them calls all the others, with ten signals each.
    let (caller, others) = office.split_first_mut().unwrap();
    for round in 0..10 {
        for number in 1..=others.len() {
            let to = format!("peer{number}");
            caller.send(json!({"message": {"type": "signal", "to": to, "signal": "s".repeat(600)}}).to_string()).await;
        }
        for other in &mut *others {
            assert_eq!(other.json().await["message"]["from"], "peer0", "round {round}");
        }
    }
    assert_eq!(caller.ask(json!({"type": "ping"})).await["message"], "pong");
    for reason in ["socket_messages", "socket_bytes", "address_messages", "address_bytes", "address_sockets"] {
        assert_eq!(refused(&broker, reason), 0, "{reason}");
    }
}
