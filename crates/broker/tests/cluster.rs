//! Several brokers that are one, over a real redis-server: what peers see, and what they see when something fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::nodes::{Program, Way, node, options, registered, settle};
use common::redis::RedisServer;
use common::{Client, code, start, until};
use linkup_proto::broker::CLOSE_TAKEN_OVER;
use serde_json::json;

/// So long that nothing runs out, or is renewed, while a test waits.
const LONG: Duration = Duration::from_secs(120);

/// Long enough for a slow machine to renew in time, short enough to wait for it.
const LEASE: Duration = Duration::from_secs(2);

const NOT_FOUND: &str = "ERR_PEER_NOT_FOUND";
const UNREACHABLE: &str = "ERR_BROKER_UNREACHABLE";
const TAKEN: &str = "ERR_ID_TAKEN";

async fn two(redis: &RedisServer, lease: Duration) -> (linkup_broker::Broker, linkup_broker::Broker) {
    let url = redis.url();
    settle(redis);
    tokio::join!(node(&url, lease), node(&url, lease))
}

/// The first of them by a way to Redis that can be cut.
async fn two_by_a_way(redis: &RedisServer, lease: Duration) -> (Way, linkup_broker::Broker, linkup_broker::Broker) {
    let url = redis.url();
    settle(redis);
    let way = Way::to(redis.port).await;
    let (first, second) = tokio::join!(node(&way.url, lease), node(&url, lease));
    (way, first, second)
}

/// What peers of two brokers can do together.
async fn are_one(first: &linkup_broker::Broker, second: &linkup_broker::Broker) {
    let mut a = Client::registered(first, "a").await;
    let mut b = Client::registered(second, "b").await;
    assert!(a.find("b").await && b.find("a").await && a.find("a").await);
    assert!(!a.find("c").await);
    assert_eq!(a.signal("b", "1").await, "");
    assert_eq!(b.text().await, r#"{"message":{"type":"signal","from":"a","to":"b","signal":"1"}}"#);
    b.send(r#"{"message":{"type":"signal","from":"x","to":"a","signal":"2"}}"#).await;
    assert_eq!(a.text().await, r#"{"message":{"type":"signal","from":"b","to":"a","signal":"2"}}"#);
    assert_eq!(a.signal("c", "").await, NOT_FOUND);
    // A notification to nobody is dropped in silence: the next is the answer to another question.
    a.send(r#"{"message":{"type":"signal","to":"c","signal":""}}"#).await;
    assert_eq!(a.ask(json!({"type": "ping"})).await["message"], "pong");
    // In the order in which they were sent.
    for n in 0..50 {
        a.send(json!({"message": {"type": "signal", "to": "b", "signal": n.to_string()}}).to_string()).await;
    }
    for n in 0..50 {
        assert_eq!(b.json().await["message"]["signal"], n.to_string());
    }

    let mut other = Client::connect(second).await;
    assert_eq!(code(&other.register("a", None).await), TAKEN);
    assert_eq!(code(&other.register("a", Some("s")).await), TAKEN);
    assert_eq!(a.ask(json!({"type": "unregister"})).await["message"], "a");
    until(async || other.register("a", Some("s")).await["message"] == "a").await;
    assert_eq!(b.signal("a", "3").await, "");
    assert_eq!(other.json().await["message"]["signal"], "3");
}

#[tokio::test]
async fn two_brokers_are_one() {
    let Some(redis) = RedisServer::start(&["--requirepass", "p"]) else { return };
    let url = format!("redis://:p@127.0.0.1:{}/3", redis.port);
    let (first, second) = tokio::join!(node(&url, LEASE), node(&url, LEASE));
    are_one(&first, &second).await;
    first.close().await;
    second.close().await;
}

#[tokio::test]
async fn the_metrics_say_how_the_brokers_are_connected() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let (way, first, second) = two_by_a_way(&redis, LONG).await;
    let mut a = Client::registered(&first, "a").await;
    let mut b = Client::registered(&second, "b").await;
    assert_eq!(a.signal("b", "1").await, "");
    b.text().await;
    assert_eq!(b.signal("a", "2").await, "");
    assert_eq!(b.signal("a", "3").await, "");
    for signal in ["2", "3"] {
        assert_eq!(a.json().await["message"]["signal"], signal);
    }
    let count = |name| (common::metric(&first, name), common::metric(&second, name));
    assert_eq!(count("linkup_cluster_signals_total{direction=\"out\"}"), (1, 2));
    assert_eq!(count("linkup_cluster_signals_total{direction=\"in\"}"), (2, 1));
    assert_eq!(count("linkup_cluster_up"), (1, 1));
    assert_eq!(count("linkup_cluster_ready"), (1, 1));
    assert_eq!(count("linkup_cluster_cuts_total"), (0, 0));
    way.cut(true);
    until(|| async { common::metric(&first, "linkup_cluster_up") == 0 }).await;
    assert_eq!(count("linkup_cluster_cuts_total"), (1, 0));
    assert_eq!(count("linkup_cluster_ready"), (0, 1));
    assert_eq!(a.signal("b", "4").await, UNREACHABLE);
    assert_eq!(common::refused(&first, "broker_unreachable"), 1);
    let alone = start(linkup_broker::Options::default());
    assert!(!alone.metrics().contains("linkup_cluster_up"));
}

#[tokio::test]
async fn the_secret_takes_an_id_over_from_another_broker() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    // Nothing is renewed: the old broker must be told.
    let (first, second) = two(&redis, Duration::from_secs(3_600)).await;
    let mut old = registered(first.addresses()[0], "x", Some("s")).await;
    let mut new = registered(second.addresses()[0], "x", Some("s")).await;
    assert_eq!(old.close_frame().await, (CLOSE_TAKEN_OVER, "taken over".to_owned()));
    let mut b = Client::registered(&first, "b").await;
    assert_eq!(b.signal("x", "1").await, "");
    assert_eq!(new.json().await["message"]["signal"], "1");
    // And within one broker, where the same rules hold.
    let mut newer = registered(second.addresses()[0], "x", Some("s")).await;
    assert_eq!(new.close_frame().await.0, CLOSE_TAKEN_OVER);
    assert_eq!(b.signal("x", "2").await, "");
    assert_eq!(newer.json().await["message"]["signal"], "2");
    // A second id frees the first, everywhere.
    assert_eq!(newer.register("y", None).await["message"], "y");
    until(|| async { first.peers() == 1 && second.peers() == 1 }).await;
    until(async || !b.find("x").await).await;
    assert!(b.find("y").await);
}

#[tokio::test]
async fn a_broker_that_ends_gives_its_ids_back_at_once() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let (first, second) = two(&redis, LONG).await;
    let mut clients = Vec::new();
    for n in 0..20 {
        clients.push(Client::registered(&first, &format!("id-{n}")).await);
    }
    let closed = tokio::spawn(first.close());
    for client in &mut clients {
        assert_eq!(client.close_frame().await.0, 1001);
    }
    drop(clients);
    common::within(closed).await.unwrap();
    for n in 0..20 {
        Client::registered(&second, &format!("id-{n}")).await;
    }
}

#[tokio::test]
async fn a_killed_broker_takes_nobody_with_it() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    settle(&redis);
    let mut program = Program::start(&redis.url(), LEASE);
    let second = node(&redis.url(), LEASE).await;
    let mut mine = Client::registered(&second, "b").await;
    let _owned = registered(program.address, "owned", Some("s")).await;
    let _plain = registered(program.address, "plain", None).await;
    assert_eq!(mine.signal("plain", "").await, "");
    program.kill();
    // Redis knows by itself that nobody reads that inbox any more.
    until(async || mine.signal("plain", "").await == NOT_FOUND).await;
    let mut heir = registered(second.addresses()[0], "owned", Some("s")).await;
    assert_eq!(mine.signal("owned", "1").await, "");
    assert_eq!(heir.json().await["message"]["signal"], "1");
    // The id of who has no secret is kept for a lease, and is then free.
    let mut stranger = Client::connect(&second).await;
    until(async || stranger.register("plain", None).await["message"] == "plain").await;
}

#[tokio::test]
async fn a_paused_broker_has_lost_what_it_had() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    settle(&redis);
    let program = Program::start(&redis.url(), LEASE);
    let second = node(&redis.url(), LEASE).await;
    let mut mine = Client::registered(&second, "b").await;
    let mut old = registered(program.address, "x", None).await;
    let mut neighbour = registered(program.address, "y", None).await;
    program.signal("STOP");
    // Redis takes the message, and the broker does not confirm it.
    assert_eq!(mine.signal("x", "lost").await, UNREACHABLE);
    let mut stranger = Client::connect(&second).await;
    until(async || stranger.register("x", Some("t")).await["message"] == "x").await;
    // Said before it wakes, and read after: it must not go to the old owner, who is still there.
    let signal = json!({"id": "u", "message": {"type": "signal", "to": "x", "signal": "to whom"}});
    neighbour.send(signal.to_string()).await;
    program.signal("CONT");
    assert_eq!(code(&neighbour.json().await), UNREACHABLE);
    assert_eq!(old.close_frame().await, (1001, "the id is somebody else's now".to_owned()));
    // The neighbour's id was nobody else's: it has it again.
    until(async || neighbour.signal("x", "1").await.is_empty()).await;
    assert_eq!(stranger.json().await["message"]["signal"], "1");
    assert_eq!(mine.signal("y", "2").await, "");
    assert_eq!(neighbour.json().await["message"]["signal"], "2");
}

/// What holds while Redis is away, for less than a lease; and that all is as before when `back` has been called.
async fn outage(redis: &mut RedisServer, lease: Duration, away: fn(&mut RedisServer), back: fn(&mut RedisServer)) {
    let (first, second) = two(redis, lease).await;
    let mut a = Client::registered(&first, "a").await;
    let mut b = Client::registered(&first, "b").await;
    let mut c = Client::registered(&second, "c").await;
    away(redis);
    // The first may wait for an answer; then it is known.
    until(async || a.signal("c", "").await == UNREACHABLE).await;
    assert_eq!(a.signal("b", "1").await, "");
    assert_eq!(b.json().await["message"]["signal"], "1");
    assert_eq!(code(&a.ask(json!({"type": "find", "id": "c"})).await), UNREACHABLE);
    assert!(a.find("b").await);
    a.send(r#"{"message":{"type":"signal","to":"c","signal":""}}"#).await;
    let complaint = a.json().await;
    assert_eq!((&complaint["id"], code(&complaint)), (&json!(null), UNREACHABLE));
    let mut new = Client::connect(&first).await;
    assert_eq!(code(&new.register("d", None).await), UNREACHABLE);
    assert!(!first.is_ready());
    back(redis);
    // Nobody does anything for it.
    until(async || c.signal("a", "2").await.is_empty()).await;
    assert_eq!(a.json().await["message"]["signal"], "2");
    until(async || a.signal("c", "3").await.is_empty()).await;
    until(async || new.register("d", None).await["message"] == "d").await;
    assert_eq!(code(&new.register("a", None).await), TAKEN);
    assert_eq!((first.peers(), second.peers()), (3, 1));
    until(|| async { first.is_ready() && second.is_ready() }).await;
}

#[tokio::test]
async fn redis_may_be_paused() {
    let Some(mut redis) = RedisServer::start(&[]) else { return };
    outage(&mut redis, Duration::from_secs(5), |redis| redis.signal("STOP"), |redis| redis.signal("CONT")).await;
}

#[tokio::test]
async fn redis_may_come_back_empty() {
    let Some(mut redis) = RedisServer::start(&[]) else { return };
    outage(&mut redis, Duration::from_secs(5), RedisServer::kill, RedisServer::start_again).await;
}

#[tokio::test]
async fn redis_may_come_later() {
    let Some(mut redis) = RedisServer::start(&[]) else { return };
    redis.kill();
    let broker = start(options(&redis.url(), LEASE));
    let mut client = Client::connect(&broker).await;
    assert_eq!(code(&client.register("a", None).await), UNREACHABLE);
    redis.start_again();
    until(async || client.register("a", None).await["message"] == "a").await;
}

#[tokio::test]
async fn after_a_flush_holders_come_first() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let (first, second) = two(&redis, LONG).await;
    let mut a = Client::registered(&first, "a").await;
    let mut b = Client::registered(&second, "b").await;
    let mut stranger = Client::connect(&second).await;
    redis.command(&["FLUSHALL"]);
    // Never `a`: first because nobody gets a new id, then because it has its holder again.
    until(async || {
        let code = code(&stranger.register("a", None).await).to_owned();
        assert!(code == UNREACHABLE || code == TAKEN, "{code}");
        code == TAKEN
    })
    .await;
    until(async || b.signal("a", "1").await.is_empty()).await;
    assert_eq!(a.json().await["message"]["signal"], "1");
}

#[tokio::test]
async fn a_broker_that_is_cut_off_lets_go_in_time() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let (way, first, second) = two_by_a_way(&redis, LEASE).await;
    let mut old = Client::registered(&first, "x").await;
    let mut neighbour = Client::registered(&first, "y").await;
    let mut stranger = Client::connect(&second).await;
    way.cut(true);
    until(async || stranger.register("x", None).await["message"] == "x").await;
    // From here on nothing may come to the first one.
    assert_eq!(neighbour.signal("x", "to whom").await, UNREACHABLE);
    assert_eq!(old.signal("y", "from whom").await, UNREACHABLE);
    way.cut(false);
    assert_eq!(old.close_frame().await.0, 1001);
    until(async || neighbour.signal("x", "1").await.is_empty()).await;
    assert_eq!(stranger.json().await["message"]["signal"], "1");
}

/// A Redis Cluster of three nodes, each with a third of the slots.
fn redis_cluster() -> Option<Vec<RedisServer>> {
    let arguments = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
    let servers: Vec<_> = (0..3).map(|_| RedisServer::start(&arguments)).collect::<Option<_>>()?;
    let mut create = std::process::Command::new("redis-cli");
    create.args(["--cluster", "create"]).args(servers.iter().map(|server| format!("127.0.0.1:{}", server.port)));
    let created = create.args(["--cluster-replicas", "0", "--cluster-yes"]).output().unwrap();
    assert!(created.status.success(), "{created:?}");
    Some(servers)
}

#[tokio::test]
async fn redis_may_be_a_cluster() {
    let Some(servers) = redis_cluster() else { return };
    let url = servers[0].url();
    let (first, second) = tokio::join!(node(&url, LEASE), node(&url, LEASE));
    are_one(&first, &second).await;
    // Ids of all its nodes.
    let mut peers = Vec::new();
    for n in 0..40 {
        peers.push(Client::registered(if n % 2 == 0 { &first } else { &second }, &format!("id-{n}")).await);
    }
    let spread = servers.iter().filter(|server| {
        let keys: Vec<String> = redis::from_redis_value(server.command(&["KEYS", "linkup:*:id:*"])).unwrap();
        !keys.is_empty()
    });
    assert_eq!(spread.count(), 3);
    // One of them loses what it has: what was there is asserted again.
    servers[1].command(&["FLUSHALL"]);
    for n in 0..40 {
        let (to, mut from) = (format!("id-{}", (n + 1) % 40), peers.remove(n));
        until(async || from.signal(&to, &n.to_string()).await.is_empty()).await;
        peers.insert(n, from);
        assert_eq!(peers[(n + 1) % 40].json().await["message"]["signal"], n.to_string());
    }
}

/// TLS to Redis, which its certificate must prove: here by a file of roots, as the system has one.
#[tokio::test]
async fn redis_may_speak_tls() {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = std::env::temp_dir().join(format!("linkup-redis-tls-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    std::fs::write(&cert, signed.cert.pem()).unwrap();
    std::fs::write(&key, signed.signing_key.serialize_pem()).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let files = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &cert];
    let tls = [&["--tls-port", &port, "--tls-auth-clients", "no"][..], &files].concat();
    let Some(redis) = RedisServer::start(&tls) else { return };
    settle(&redis);
    let url = format!("rediss://localhost:{port}");
    let program = Program::with(&url, LEASE, &[("SSL_CERT_FILE", &cert)]);
    let mut a = registered(program.address, "a", None).await;
    assert!(a.find("a").await);
    // One that does not trust the certificate has no Redis, and lives.
    let distrusts = Program::start(&url, LEASE);
    let mut b = Client::try_connect(distrusts.address).await.unwrap();
    assert_eq!(code(&b.register("b", None).await), UNREACHABLE);
    std::fs::remove_dir_all(&directory).unwrap();
}
