//! TLS on the broker's own port.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::tls::{Files, certificate, connect_tls, renew};
use common::{Client, metric, refused, start, within};
use linkup_broker::{Broker, Options, TurnOptions};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::RootCertStore;

fn broker(files: &Files, change: impl FnOnce(&mut Options)) -> Broker {
    let mut options = Options::default();
    options.tls = Some(files.paths());
    change(&mut options);
    start(options)
}

async fn connect(broker: &Broker, roots: &RootCertStore) -> std::io::Result<TlsStream<TcpStream>> {
    connect_tls(TcpStream::connect(broker.addresses()[0]).await?, roots.clone()).await
}

async fn client(broker: &Broker, roots: &RootCertStore) -> Client<TlsStream<TcpStream>> {
    Client::over(connect(broker, roots).await.unwrap()).await.unwrap()
}

#[tokio::test]
async fn peers_and_pages_over_tls() {
    let (files, roots) = certificate();
    let broker = broker(&files, |_| {});
    let (mut a, mut b) = (client(&broker, &roots).await, client(&broker, &roots).await);
    for (client, id) in [(&mut a, "a"), (&mut b, "b")] {
        assert_eq!(client.ask(json!({"type": "register", "id": id})).await["message"], id);
    }
    let large = "s".repeat(60_000);
    assert_eq!(a.ask(json!({"type": "signal", "to": "b", "signal": large})).await["message"], "b");
    assert_eq!(b.json().await["message"]["signal"], large);
    assert!(metric(&broker, "linkup_bytes_total{direction=\"out\"}") > 60_000);
    let mut page = connect(&broker, &roots).await.unwrap();
    page.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut response = String::new();
    within(page.read_to_string(&mut response)).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK") && response.ends_with("\r\n\r\nok"), "{response}");
    within(broker.close()).await;
    assert_eq!(a.close_frame().await.0, 1001);
}

#[tokio::test]
async fn nothing_is_answered_without_tls() {
    let (files, _) = certificate();
    let broker = broker(&files, |_| {});
    let mut tcp = TcpStream::connect(broker.addresses()[0]).await.unwrap();
    tcp.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = within(tcp.read_to_end(&mut answer)).await;
    // An alert of TLS at most.
    assert!(answer.len() < 20 && !answer.starts_with(b"HTTP"), "{answer:?}");
    assert_eq!(refused(&broker, "handshake"), 1);
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_ended() {
    let (files, roots) = certificate();
    let broker = broker(&files, |options| options.handshake_timeout = Duration::from_millis(100));
    let mut silent = TcpStream::connect(broker.addresses()[0]).await.unwrap();
    silent.write_all(&[22, 3, 1]).await.unwrap();
    let _ = within(silent.read_to_end(&mut Vec::new())).await;
    let mut idle = connect(&broker, &roots).await.unwrap();
    let _ = within(idle.read_to_end(&mut Vec::new())).await;
    assert_eq!(refused(&broker, "handshake"), 2);
}

#[tokio::test]
async fn the_certificate_is_read_again_while_peers_are_connected() {
    let (files, old) = certificate();
    let broker = broker(&files, |options| {
        let mut turn = TurnOptions::default();
        (turn.host, turn.port) = (Some("127.0.0.1".to_owned()), 0);
        options.turn = Some(turn);
    });
    let mut before = client(&broker, &old).await;
    // A certificate whose key is missing yet: the old one goes on.
    std::fs::write(files.paths().1, "").unwrap();
    assert!(broker.reload().unwrap_err().to_string().contains("key.pem"));
    client(&broker, &old).await;
    let new = renew(&files);
    broker.reload().unwrap();
    client(&broker, &new).await;
    assert!(connect(&broker, &old).await.is_err());
    assert_eq!(before.ask(json!({"type": "ping"})).await["message"], "pong");
    // TURN has the same certificate.
    let tcp = TcpStream::connect(broker.turn_addresses()[0]).await.unwrap();
    connect_tls(tcp, new).await.unwrap();
}
