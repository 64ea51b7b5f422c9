//! Who may register which id: tokens, and whoever decides.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Client, code, refused, start, until, within};
use linkup_broker::{AuthRequest, Authorize, Broker, Decision, Options, Secret};
use serde_json::json;
use tokio::sync::Notify;

fn with_hook(hook: Arc<dyn Authorize>) -> Options {
    let mut options = Options::default();
    options.auth.hook = Some(hook);
    options
}

async fn register(broker: &Broker, token: Option<&str>) -> serde_json::Value {
    Client::connect(broker).await.ask(json!({"type": "register", "id": "x", "token": token})).await
}

#[tokio::test]
async fn a_shared_secret_is_asked_for() {
    let mut options = Options::default();
    options.auth.secrets = vec![Secret::new("north")];
    let broker = start(options);
    for token in [None, Some("south")] {
        let answer = register(&broker, token).await;
        assert_eq!(code(&answer), "ERR_NOT_AUTHORIZED");
        assert!(answer["error"]["message"].as_str().unwrap().contains("token"), "{answer}");
    }
    assert_eq!(refused(&broker, "not_authorized"), 2);
    assert_eq!(register(&broker, Some("north")).await["message"], "x");
}

#[tokio::test]
async fn a_token_names_the_ids_that_it_is_for() {
    let mut options = Options::default();
    options.auth.jwt_secrets = vec![Secret::new("0123456789abcdef0123456789abcdef")];
    let broker = start(options);
    // {"alg":"HS256"} and {"ids":["x","team-*"]}, made with openssl dgst -sha256 -hmac.
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJpZHMiOlsieCIsInRlYW0tKiJdfQ.QVbGtyqz1lVJmdmIeAO-OlN7qM6mdYFoV2peEaaOTPo";
    for (id, good) in [("x", true), ("team-7", true), ("y", false), ("Team-7", false)] {
        let mut client = Client::connect(&broker).await;
        let answer = client.ask(json!({"type": "register", "id": id, "token": token})).await;
        if good {
            assert_eq!(answer["message"], id);
        } else {
            assert_eq!(code(&answer), "ERR_NOT_AUTHORIZED");
        }
    }
}

/// Decides as its function says, when it is told to.
struct Judge {
    asked: Mutex<Vec<AuthRequest>>,
    go: Arc<Notify>,
    decide: fn(&AuthRequest) -> Result<(), String>,
}

impl Judge {
    fn new(decide: fn(&AuthRequest) -> Result<(), String>) -> Arc<Self> {
        Arc::new(Self { asked: Mutex::default(), go: Arc::default(), decide })
    }
}

impl Authorize for Judge {
    fn authorize(&self, request: AuthRequest) -> Decision {
        let decision = (self.decide)(&request);
        self.asked.lock().unwrap().push(request);
        let go = self.go.clone();
        Box::pin(async move {
            go.notified().await;
            decision
        })
    }
}

#[tokio::test]
async fn the_hook_hears_who_asks_and_decides() {
    let judge = Judge::new(|request| match request.token.as_deref() {
        Some("good") => Ok(()),
        _ => Err("not you".to_owned()),
    });
    let broker = start(with_hook(judge.clone()));
    let mut page = Client::with_headers(&broker, &[("origin", "https://example.org")]).await.unwrap();
    judge.go.notify_one();
    let answer = page.ask(json!({"type": "register", "id": "x", "token": "good"})).await;
    assert_eq!(answer["message"], "x");
    judge.go.notify_one();
    let answer = register(&broker, None).await;
    assert_eq!((code(&answer), &answer["error"]["message"]), ("ERR_NOT_AUTHORIZED", &json!("not you")));
    let asked = judge.asked.lock().unwrap();
    assert_eq!(asked[0].id.as_str(), "x");
    assert_eq!(asked[0].token.as_deref(), Some("good"));
    assert_eq!(asked[0].origin.as_deref(), Some("https://example.org"));
    assert_eq!(asked[0].address, std::net::IpAddr::from([127, 0, 0, 1]));
    assert_eq!((&asked[1].token, &asked[1].origin), (&None, &None));
}

#[tokio::test]
async fn what_comes_after_waits_for_the_decision_and_the_others_do_not() {
    let judge = Judge::new(|_| Ok(()));
    let broker = start(with_hook(judge.clone()));
    let mut client = Client::connect(&broker).await;
    client.send(r#"{"id":"1","message":{"type":"register","id":"x"}}"#).await;
    client.send(r#"{"id":"2","message":{"type":"ice"}}"#).await;
    until(|| async { judge.asked.lock().unwrap().len() == 1 }).await;
    let mut other = Client::connect(&broker).await;
    assert!(!other.find("x").await);
    judge.go.notify_one();
    assert_eq!(client.json().await, json!({"id": "1", "message": "x", "error": null}));
    assert_eq!(client.json().await["message"]["iceServers"], json!([]));
    assert!(other.find("x").await);
}

#[tokio::test]
async fn a_hook_that_takes_too_long_denies() {
    let judge = Judge::new(|_| Ok(()));
    let mut options = with_hook(judge);
    options.auth.timeout = Duration::from_millis(50);
    let answer = register(&start(options), None).await;
    assert_eq!(code(&answer), "ERR_NOT_AUTHORIZED");
    assert!(answer["error"]["message"].as_str().unwrap().contains("in time"), "{answer}");
}

#[tokio::test]
async fn who_waits_for_a_decision_is_not_taken_for_dead() {
    let judge = Judge::new(|_| Ok(()));
    let mut options = with_hook(judge.clone());
    options.ping_interval = Duration::from_millis(100);
    let broker = start(options);
    let mut client = Client::connect(&broker).await;
    client.send(r#"{"id":"1","message":{"type":"register","id":"x"}}"#).await;
    // Longer than two intervals, in which it is not read.
    for _ in 0..4 {
        assert!(within(futures_util::StreamExt::next(&mut client.0)).await.unwrap().unwrap().is_ping());
    }
    judge.go.notify_one();
    assert_eq!(client.json().await["message"], "x");
}

#[tokio::test]
async fn who_leaves_meanwhile_is_forgotten() {
    let judge = Judge::new(|_| Ok(()));
    let mut options = with_hook(judge.clone());
    options.ping_interval = Duration::from_millis(20);
    let broker = start(options);
    let mut leaving = Client::connect(&broker).await;
    leaving.send(r#"{"id":"1","message":{"type":"register","id":"x"}}"#).await;
    until(|| async { judge.asked.lock().unwrap().len() == 1 }).await;
    // The next ping tells that nobody is there.
    drop(leaving);
    until(|| async { broker.sockets() == 0 }).await;
    assert_eq!(broker.peers(), 0);
}

#[tokio::test]
async fn who_tries_out_secrets_is_closed() {
    let mut options = Options::default();
    options.auth.secrets = vec![Secret::new("north")];
    let broker = start(options);
    let mut client = Client::connect(&broker).await;
    for guess in 0..33 {
        let answer = client.ask(json!({"type": "register", "id": "x", "token": format!("guess{guess}")})).await;
        assert_eq!(code(&answer), "ERR_NOT_AUTHORIZED");
    }
    assert_eq!(client.close_frame().await.0, 1008);
}
