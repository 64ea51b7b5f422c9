//! Brokers that share a Redis: inside the test, or as programs that can be killed and paused; and a way to Redis that can
//! be cut.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use linkup_broker::{Broker, Options, RedisOptions};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Client, start, until};

pub fn options(url: &str, lease: Duration) -> Options {
    let mut redis = RedisOptions::new(url);
    redis.lease = lease;
    let mut options = Options::default();
    options.redis = Some(redis);
    options
}

/// Says that this Redis is not new, so that a test need not wait for the end of its quarantine.
pub fn settle(redis: &super::redis::RedisServer) {
    let info: String = redis::from_redis_value(redis.command(&["INFO", "server"])).unwrap();
    let run = info.lines().find_map(|line| line.trim().strip_prefix("run_id:")).unwrap();
    for bucket in 0..64 {
        redis.command(&["SET", &format!("linkup:{{{bucket}}}:epoch"), &format!("{run} 1")]);
    }
}

/// A broker that gives ids: the quarantine of a new Redis is over.
pub async fn node(url: &str, lease: Duration) -> Broker {
    let broker = start(options(url, lease));
    until(|| async { broker.is_ready() }).await;
    broker
}

/// A broker as a program of its own.
pub struct Program {
    child: Child,
    pub address: SocketAddr,
}

impl Program {
    pub fn start(url: &str, lease: Duration) -> Self {
        Self::with(url, lease, &[])
    }

    pub fn with(url: &str, lease: Duration, variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_linkup-broker"))
            .args(["--host", "127.0.0.1", "--port", "0", "--log", "warn", "--redis", url, "--redis-lease"])
            .arg(lease.as_secs_f64().to_string())
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split_once("ws://").unwrap().1.split_whitespace().next().unwrap().parse().unwrap();
        Self { child, address }
    }

    pub fn signal(&self, name: &str) {
        super::redis::signal(self.child.id(), name);
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until it has ended by itself, and says whether it did so well.
    pub fn ended(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A registered client; tries again while the brokers cannot give ids.
pub async fn registered(address: SocketAddr, id: &str, secret: Option<&str>) -> Client {
    let mut client = Client::try_connect(address).await.unwrap();
    let mut answer = Value::Null;
    let asking = super::within(async {
        loop {
            answer = client.register(id, secret).await;
            match answer["error"]["code"].as_str() {
                Some("ERR_BROKER_UNREACHABLE") => tokio::time::sleep(Duration::from_millis(10)).await,
                _ => break,
            }
        }
    });
    asking.await;
    assert_eq!(answer["message"], id, "{answer}");
    client
}

impl Client {
    pub async fn register(&mut self, id: &str, secret: Option<&str>) -> Value {
        self.ask(json!({"type": "register", "id": id, "secret": secret})).await
    }

    /// Sends a signal that is to be confirmed; the code of the error, or `""`.
    pub async fn signal(&mut self, to: &str, signal: &str) -> String {
        let answer = self.ask(json!({"type": "signal", "to": to, "signal": signal})).await;
        answer["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A TCP proxy to Redis: while it is cut, it passes nothing on and closes nothing, as a network that is down.
pub struct Way {
    pub url: String,
    cut: Arc<watch::Sender<bool>>,
    task: tokio::task::JoinHandle<()>,
}

impl Way {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let cut = Arc::new(watch::Sender::new(false));
        let open = cut.clone();
        let task = tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = TcpStream::connect(("127.0.0.1", port)).await;
                let Ok(far) = far else { continue };
                let ((r1, w1), (r2, w2)) = (near.into_split(), far.into_split());
                tokio::spawn(pump(r1, w2, open.subscribe()));
                tokio::spawn(pump(r2, w1, open.subscribe()));
            }
        });
        Self { url, cut, task }
    }

    pub fn cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut cut: watch::Receiver<bool>,
) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        // What was under way when it was cut comes later, as TCP would send it again.
        if cut.wait_for(|cut| !cut).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
