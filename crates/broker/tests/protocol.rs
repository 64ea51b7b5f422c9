//! What the broker answers: the documented shapes, byte for byte, and the rules about ids and signals.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Client, broker, code, until};
use linkup_proto::broker::CLOSE_TAKEN_OVER;
use linkup_proto::limits::MAX_BROKER_FRAME_BYTES;
use serde_json::json;
use tokio_tungstenite::tungstenite::{Bytes, Message};

const UUID: &str = "7d5e1c2f-0f43-4d4c-a0a5-0a3a2a4b1c11";

#[tokio::test]
async fn the_documented_shapes() {
    let broker = broker();
    let (mut a, mut b) = (Client::connect(&broker).await, Client::connect(&broker).await);
    for (request, response) in [
        (r#"{"type":"ping"}"#, r#""pong""#),
        (r#"{"type":"find","id":"peer-a"}"#, "null"),
        (r#"{"type":"register","id":"peer-a"}"#, r#""peer-a""#),
        (r#"{"type":"find","id":"peer-a"}"#, r#""peer-a""#),
    ] {
        a.send(format!(r#"{{"id":"{UUID}","message":{request}}}"#)).await;
        assert_eq!(a.text().await, format!(r#"{{"id":"{UUID}","message":{response},"error":null}}"#));
    }
    b.ask(json!({"type": "register", "id": "peer-b"})).await;
    let signal = r#"{"message":{"type":"signal","from":"peer-b","to":"peer-a","signal":"{\"sdp\":\"é\"}"}}"#;
    b.send(signal).await;
    assert_eq!(a.text().await, signal);
    assert_eq!((broker.sockets(), broker.peers()), (2, 2));
}

#[tokio::test]
async fn a_taken_id_stays_with_its_owner() {
    let broker = broker();
    let mut owner = Client::registered(&broker, "x").await;
    let mut other = Client::registered(&broker, "y").await;
    other.send(format!(r#"{{"id":"{UUID}","message":{{"type":"register","id":"x"}}}}"#)).await;
    let text = other.text().await;
    let start = format!(r#"{{"id":"{UUID}","message":null,"error":{{"code":"ERR_ID_TAKEN","message":""#);
    assert!(text.starts_with(&start), "{text}");
    let refused = other.ask(json!({"type": "register", "id": "x", "secret": "s"})).await;
    assert_eq!(code(&refused), "ERR_ID_TAKEN");

    other.send(r#"{"message":{"type":"signal","to":"x","signal":"hello"}}"#).await;
    assert_eq!(owner.json().await["message"]["from"], "y");
}

#[tokio::test]
async fn an_id_may_be_registered_again_by_its_owner() {
    let broker = broker();
    let mut owner = Client::registered(&broker, "x").await;
    assert_eq!(owner.ask(json!({"type": "register", "id": "x"})).await["message"], "x");
    assert_eq!(broker.peers(), 1);
}

#[tokio::test]
async fn a_second_id_frees_the_first_where_it_can_be_had() {
    let broker = broker();
    let _other = Client::registered(&broker, "y").await;
    let mut peer = Client::registered(&broker, "x").await;
    assert_eq!(code(&peer.ask(json!({"type": "register", "id": "y"})).await), "ERR_ID_TAKEN");
    assert!(peer.find("x").await);
    assert_eq!(peer.ask(json!({"type": "register", "id": "z"})).await["message"], "z");
    assert!(!peer.find("x").await);
    assert!(peer.find("z").await);
}

#[tokio::test]
async fn the_secret_takes_an_id_over_at_once() {
    let broker = broker();
    let register = json!({"type": "register", "id": "x", "secret": "s"});
    let mut old = Client::connect(&broker).await;
    old.ask(register.clone()).await;
    let mut new = Client::connect(&broker).await;
    assert_eq!(new.ask(register).await["message"], "x");

    // From here on the id is the new socket's, also when the old one has gone.
    let mut other = Client::registered(&broker, "y").await;
    other.send(r#"{"message":{"type":"signal","to":"x","signal":"hello"}}"#).await;
    assert_eq!(new.json().await["message"]["signal"], "hello");
    assert_eq!(old.close_frame().await, (CLOSE_TAKEN_OVER, "taken over".to_owned()));
    assert_eq!(old.next().await, None);
    until(|| async { broker.sockets() == 2 }).await;
    assert!(other.find("x").await);
}

#[tokio::test]
async fn an_empty_secret_proves_nothing() {
    let broker = broker();
    let register = json!({"type": "register", "id": "x", "secret": ""});
    let (mut first, mut second) = (Client::connect(&broker).await, Client::connect(&broker).await);
    first.ask(register.clone()).await;
    assert_eq!(code(&second.ask(register).await), "ERR_ID_TAKEN");
}

#[tokio::test]
async fn unregister_frees_the_id() {
    let broker = broker();
    let (mut a, mut b) = (Client::registered(&broker, "x").await, Client::connect(&broker).await);
    assert_eq!(a.ask(json!({"type": "unregister"})).await, json!({"id": "u", "message": "x", "error": null}));
    assert_eq!(a.ask(json!({"type": "unregister"})).await, json!({"id": "u", "message": null, "error": null}));
    assert_eq!(b.ask(json!({"type": "register", "id": "x"})).await["message"], "x");
    let signal = a.ask(json!({"type": "signal", "to": "x", "signal": ""})).await;
    assert_eq!(code(&signal), "ERR_NOT_AUTHORIZED");
}

#[tokio::test]
async fn a_forged_from_is_overwritten() {
    let broker = broker();
    let (mut a, mut b) = (Client::registered(&broker, "a").await, Client::registered(&broker, "b").await);
    for from in [r#""from":"b","#, r#""from":"","#, ""] {
        a.send(format!(r#"{{"message":{{"type":"signal",{from}"to":"b","signal":"s"}}}}"#)).await;
        assert_eq!(b.text().await, r#"{"message":{"type":"signal","from":"a","to":"b","signal":"s"}}"#);
    }
}

#[tokio::test]
async fn an_unregistered_socket_sends_no_signal() {
    let broker = broker();
    let mut target = Client::registered(&broker, "b").await;
    let mut stranger = Client::connect(&broker).await;
    let signal = json!({"type": "signal", "from": "a", "to": "b", "signal": "s"});
    assert_eq!(code(&stranger.ask(signal.clone()).await), "ERR_NOT_AUTHORIZED");
    stranger.send(json!({"message": signal}).to_string()).await;
    let error = stranger.json().await;
    assert_eq!((&error["id"], code(&error)), (&json!(null), "ERR_NOT_AUTHORIZED"));
    // Nothing came through: the next that the target hears is the answer to its own question.
    assert_eq!(target.ask(json!({"type": "ping"})).await["message"], "pong");
}

#[tokio::test]
async fn a_signal_with_an_id_is_answered() {
    let broker = broker();
    let (mut a, mut b) = (Client::registered(&broker, "a").await, Client::registered(&broker, "b").await);
    let answer = a.ask(json!({"type": "signal", "to": "b", "signal": "s"})).await;
    assert_eq!(answer, json!({"id": "u", "message": "b", "error": null}));
    assert_eq!(b.text().await, r#"{"message":{"type":"signal","from":"a","to":"b","signal":"s"}}"#);
    let answer = a.ask(json!({"type": "signal", "to": "nobody", "signal": "s"})).await;
    assert_eq!(code(&answer), "ERR_PEER_NOT_FOUND");
}

#[tokio::test]
async fn a_signal_without_an_id_to_nobody_is_dropped_in_silence() {
    let broker = broker();
    let mut a = Client::registered(&broker, "a").await;
    a.send(r#"{"message":{"type":"signal","from":"a","to":"nobody","signal":"s"}}"#).await;
    assert_eq!(a.ask(json!({"type": "ping"})).await["message"], "pong");
}

#[tokio::test]
async fn requests_without_an_id_get_no_answer_but_an_error() {
    let broker = broker();
    let (mut a, mut b) = (Client::connect(&broker).await, Client::registered(&broker, "b").await);
    for message in [r#"{"type":"ping"}"#, r#"{"type":"find","id":"b"}"#, r#"{"type":"register","id":"a"}"#] {
        a.send(format!(r#"{{"message":{message}}}"#)).await;
    }
    assert!(a.find("a").await);
    b.send(r#"{"message":{"type":"register","id":"a"}}"#).await;
    let error = b.json().await;
    assert_eq!((&error["id"], code(&error)), (&json!(null), "ERR_ID_TAKEN"));
}

#[tokio::test]
async fn a_bad_message_is_answered_and_the_socket_stays() {
    let broker = broker();
    let mut a = Client::connect(&broker).await;
    for message in [json!({"type": "dance"}), json!({"type": "find"}), json!({"type": "find", "id": ""}), json!([])] {
        assert_eq!(code(&a.ask(message).await), "ERR_PROTOCOL");
    }
    for text in ["5", "[]", "{}", r#"{"message":{"type":"dance"}}"#, r#"{"id":"\ud800"}"#] {
        a.send(text).await;
        let error = a.json().await;
        assert_eq!((&error["id"], code(&error)), (&json!(null), "ERR_PROTOCOL"), "{text}");
    }
    assert_eq!(a.ask(json!({"type": "ping"})).await["message"], "pong");
}

#[tokio::test]
async fn the_largest_frame_is_taken() {
    let broker = broker();
    let (mut a, mut b) = (Client::registered(&broker, "a").await, Client::registered(&broker, "b").await);
    let frame = |signal: &str| json!({"message": {"type": "signal", "to": "b", "signal": signal}}).to_string();
    let signal = "s".repeat(MAX_BROKER_FRAME_BYTES - frame("").len());
    a.send(frame(&signal)).await;
    assert_eq!(b.json().await["message"]["signal"], signal);
}

/// Sends one frame, and expects an error and then a close frame with this code; and that the id is free.
async fn closes(message: Message, close_code: u16) {
    use futures_util::SinkExt;
    let broker = broker();
    let (mut a, mut b) = (Client::registered(&broker, "a").await, Client::connect(&broker).await);
    common::within(a.0.send(message)).await.unwrap();
    let error = a.json().await;
    assert_eq!((&error["id"], code(&error)), (&json!(null), "ERR_PROTOCOL"));
    assert_eq!(a.close_frame().await.0, close_code);
    assert_eq!(b.ask(json!({"type": "register", "id": "a"})).await["message"], "a");
}

#[tokio::test]
async fn what_is_not_json_gets_an_error_and_a_close() {
    closes(Message::text("hello"), 1007).await;
}

#[tokio::test]
async fn a_binary_frame_gets_an_error_and_a_close() {
    closes(Message::binary(Bytes::from_static(b"{}")), 1003).await;
}

#[tokio::test]
async fn a_frame_over_the_limit_gets_an_error_and_a_close() {
    closes(Message::text("a".repeat(MAX_BROKER_FRAME_BYTES + 1)), 1009).await;
}

#[tokio::test]
async fn the_error_arrives_also_where_much_more_is_on_its_way() {
    closes(Message::text("a".repeat(100 * MAX_BROKER_FRAME_BYTES)), 1009).await;
}

#[tokio::test]
async fn an_id_that_is_a_key_is_for_who_has_the_key() {
    use linkup_proto::broker::register_statement;
    use linkup_proto::{PeerId, key};
    use ring::signature::{Ed25519KeyPair, KeyPair};

    let broker = broker();
    let pair = |seed: u8| Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
    let owner = pair(1);
    let id = format!("key:{}", key::encode(owner.public_key().as_ref()));
    let prove = |pair: &Ed25519KeyPair, challenge: &str| {
        key::encode(pair.sign(&register_statement(challenge, &PeerId::new(&id).unwrap())).as_ref())
    };
    let mut client = Client::connect(&broker).await;
    let register = async |client: &mut Client, proof: Option<String>| {
        client.ask(json!({"type": "register", "id": id, "secret": "s", "proof": proof})).await
    };
    let refused = register(&mut client, None).await;
    assert_eq!(code(&refused), "ERR_NOT_AUTHORIZED");
    let challenge = refused["error"]["details"]["challenge"].as_str().unwrap().to_owned();
    // Another socket has another one; what was signed for it is good for nothing here.
    let mut other = Client::connect(&broker).await;
    let theirs = register(&mut other, None).await["error"]["details"]["challenge"].as_str().unwrap().to_owned();
    assert_ne!(challenge, theirs);
    for wrong in ["".to_owned(), "AAAA".to_owned(), prove(&pair(2), &challenge), prove(&owner, &theirs)] {
        let mut client = Client::connect(&broker).await;
        assert_eq!(code(&register(&mut client, Some(wrong)).await), "ERR_NOT_AUTHORIZED");
    }
    assert!(!client.find(&id).await);
    assert_eq!(register(&mut client, Some(prove(&owner, &challenge))).await["message"], *id);
    // The key is the id's: nobody else can have it, and a plain client has any other.
    assert!(client.find(&id).await);
    let plain = other.ask(json!({"type": "register", "id": "key:alice"})).await;
    assert_eq!(plain["message"], "key:alice");
}
