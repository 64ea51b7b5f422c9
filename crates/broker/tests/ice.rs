//! `{type: 'ice'}`: what a registered peer is told, and that it works.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{Client, code, start, turn};
use linkup_broker::{Broker, Options, Secret, TurnOptions};
use serde_json::{Value, json};

fn options(change: impl FnOnce(&mut TurnOptions)) -> Options {
    let mut turn = TurnOptions::default();
    turn.host = Some("127.0.0.1".into());
    turn.port = 0;
    change(&mut turn);
    let mut options = Options::default();
    options.turn = Some(turn);
    options
}

async fn ice(client: &mut Client) -> Value {
    let response = client.ask(json!({"type": "ice"})).await;
    assert_eq!(response["error"], Value::Null, "{response}");
    response["message"].clone()
}

#[tokio::test]
async fn a_registered_peer_gets_credentials_that_work() {
    let broker = start(options(|_| {}));
    let port = broker.turn_addresses()[0].port();
    let mut client = Client::registered(&broker, "älice").await;
    let answer = ice(&mut client).await;
    assert_eq!(answer["ttl"], 3_600);
    let [server] = &answer["iceServers"].as_array().unwrap()[..] else { panic!("{answer}") };
    let at = format!("127.0.0.1:{port}");
    let urls = [format!("stun:{at}"), format!("turn:{at}?transport=udp"), format!("turn:{at}?transport=tcp")];
    assert_eq!(server["urls"], json!(urls));
    let credentials = ["username", "credential"].map(|name| server[name].as_str().unwrap().to_owned());
    for mut relayed in [
        turn::Client::udp(broker.turn_addresses()[0], credentials.clone().into()).await,
        turn::Client::tcp(broker.turn_addresses()[0], credentials.into()).await,
    ] {
        relayed.allocate().await.unwrap();
    }
}

#[tokio::test]
async fn only_a_registered_peer_is_told() {
    let broker = start(options(|_| {}));
    let mut client = Client::connect(&broker).await;
    assert_eq!(code(&client.ask(json!({"type": "ice"})).await), "ERR_NOT_AUTHORIZED");
    client.ask(json!({"type": "register", "id": "a"})).await;
    assert!(ice(&mut client).await["iceServers"][0]["credential"].is_string());
    client.ask(json!({"type": "unregister"})).await;
    assert_eq!(code(&client.ask(json!({"type": "ice"})).await), "ERR_NOT_AUTHORIZED");
    // Without an `id` nobody waits for the answer.
    client.ask(json!({"type": "register", "id": "a"})).await;
    client.send(r#"{"message":{"type":"ice"}}"#).await;
    assert!(client.find("a").await);
}

#[tokio::test]
async fn without_turn_there_is_nothing_to_tell() {
    let broker = common::broker();
    let mut client = Client::registered(&broker, "a").await;
    assert_eq!(ice(&mut client).await, json!({"iceServers": [], "relay": 65536}));
    assert!(broker.turn_stats().is_none() && broker.turn_addresses().is_empty());
}

#[tokio::test]
async fn external_servers_come_with_the_shared_secret() {
    let mut options = Options::default();
    options.ice_urls = vec!["turn:t.example:3478?transport=udp".into()];
    options.turn_secret = Some(Secret::new("north"));
    options.turn_ttl = Duration::from_secs(120);
    let broker = start(options);
    let mut client = Client::registered(&broker, "alice").await;
    let answer = ice(&mut client).await;
    let server = &answer["iceServers"][0];
    let username = server["username"].as_str().unwrap();
    let (expiry, name) = username.split_once(':').unwrap();
    let (_, password) = Secret::new("north").credentials(name, expiry.parse().unwrap());
    assert_eq!((answer["ttl"].as_u64(), name, &server["credential"]), (Some(120), "alice", &json!(password)));
}

#[tokio::test]
async fn a_public_address_or_a_name_is_in_the_urls() {
    let public = |turn: &mut TurnOptions| turn.address = Some("198.51.100.7".parse().unwrap());
    let named = |turn: &mut TurnOptions| turn.name = Some("turn.example".into());
    for (options, host) in [(options(public), "198.51.100.7"), (options(named), "turn.example")] {
        let broker = start(options);
        let mut client = Client::registered(&broker, "alice").await;
        let answer = ice(&mut client).await;
        let port = broker.turn_addresses()[0].port();
        assert_eq!(answer["iceServers"][0]["urls"][0], format!("stun:{host}:{port}"));
    }
}

#[tokio::test]
async fn a_taken_port_is_an_error_or_a_warning() {
    let first = start(options(|_| {}));
    let taken: SocketAddr = first.turn_addresses()[0];
    let begin = |optional| {
        let options = options(|turn| {
            turn.port = taken.port();
            turn.optional = optional;
        });
        let listeners = Broker::listen(Some("127.0.0.1"), 0).unwrap();
        Broker::start(listeners, options, &tokio::runtime::Handle::current())
    };
    let error = begin(false).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&taken.port().to_string()), "{error}");
    let without = begin(true).unwrap();
    let mut client = Client::registered(&without, "a").await;
    assert_eq!(ice(&mut client).await["iceServers"], json!([]));
}

#[tokio::test]
async fn a_wrong_url_is_an_error_of_the_start() {
    for url in ["http://t.example", "turn:t.example"] {
        let mut options = Options::default();
        options.ice_urls = vec![url.into()];
        let listeners = Broker::listen(Some("127.0.0.1"), 0).unwrap();
        let error = Broker::start(listeners, options, &tokio::runtime::Handle::current()).unwrap_err();
        assert!(error.to_string().contains(url), "{error}");
    }
}
