//! The bus over Redis: one connection, on which commands and the inbox share RESP3; of a cluster, one to each of its nodes.
//!
//! A task connects, and connects again. What asks meanwhile is told so at once. One command without an answer in time ends
//! the connection: behind a server that hangs, everything else would wait too.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion, PushInfo,
    PushKind, RedisError, ServerErrorKind, Value,
};
use ring::digest;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::bus::{Bus, Event, Later, Unreachable};
use super::call::{Call, Name};
use super::{RedisOptions, lock};

const SCRIPT: &str = include_str!("registry.lua");

/// The bounds of how long Redis may take for a connection, or for one command; between them a part of the lease, of which
/// enough must be left to do something.
const ANSWERS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
const ANSWER_PART: u32 = 5;

/// Messages that the inbox may hold. Those beyond are lost, which their senders learn by the missing confirmation.
const INBOX: usize = 4096;

/// The pauses between two tries to connect: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The bounds of [`RedisOptions::lease`].
const LEASES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3_600));

/// See the module.
pub(crate) struct Redis {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    nodes: Vec<ConnectionInfo>,
    name: Name,
    prefix: String,
    lease: Duration,
    answer: Duration,
    sha: String,
    link: Mutex<Option<Link>>,
    /// The connection is of no use any more.
    broken: Notify,
}

/// A connection that works.
#[derive(Clone)]
struct Link {
    connection: Connection,
    /// Of the server, new at each start; `-` in a cluster, where there are several.
    run: Arc<str>,
    /// Whose broken connection to report: never that of a later one.
    number: u64,
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Redis {
    /// Begins to connect. Whether Redis is there or not: it may come later.
    ///
    /// # Errors
    /// A sentence about the option that is wrong.
    pub(crate) fn start(options: &RedisOptions, name: Name) -> io::Result<(Self, mpsc::Receiver<Event>)> {
        let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
        let node = |url: &String| -> io::Result<ConnectionInfo> {
            // The URL has a password perhaps: it is not told.
            let info =
                url.as_str().into_connection_info().map_err(|error| wrong(format!("the URL of Redis: {error}")))?;
            let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            Ok(info.set_redis_settings(redis))
        };
        let nodes = options.urls.iter().map(node).collect::<Result<Vec<_>, _>>()?;
        if nodes.is_empty() {
            return Err(wrong("no URL of Redis".to_owned()));
        }
        // Spaces would end up in records, and braces would choose the slot of a cluster.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
        if options.prefix.is_empty() || options.prefix.len() > 64 || !options.prefix.bytes().all(plain) {
            return Err(wrong(format!("{:?} is no prefix for Redis: letters, digits and -_.:/", options.prefix)));
        }
        let lease = options.lease.clamp(LEASES.0, LEASES.1);
        let shared = Arc::new(Shared {
            nodes,
            name,
            prefix: options.prefix.clone(),
            lease,
            answer: (lease / ANSWER_PART).clamp(ANSWERS.0, ANSWERS.1),
            sha: sha1(SCRIPT),
            link: Mutex::default(),
            broken: Notify::new(),
        });
        let (events, heard) = mpsc::channel(INBOX);
        let task = tokio::spawn(shared.clone().stay_connected(events));
        Ok((Self { shared, task }, heard))
    }

    /// The lease, within its bounds.
    pub(crate) fn lease(&self) -> Duration {
        self.shared.lease
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Bus for Redis {
    fn script(&self, call: &Call) -> Later<Vec<String>> {
        let Some(link) = lock(&self.shared.link).clone() else { return Box::pin(async { Err(Unreachable) }) };
        let shared = self.shared.clone();
        let by_hash = shared.command("EVALSHA", &shared.sha, &link.run, call);
        let by_text = {
            let (shared, run, call) = (shared.clone(), link.run.clone(), call.clone());
            move || shared.command("EVAL", SCRIPT, &run, &call)
        };
        Box::pin(async move {
            let answer = match shared.ask(&link, by_hash).await {
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    shared.ask(&link, by_text()).await
                }
                answer => answer,
            };
            let value = answer.map_err(|error| shared.failed(&link, &error))?;
            redis::from_redis_value(value).map_err(|_| Unreachable)
        })
    }

    fn publish(&self, to: Name, message: Vec<u8>) -> Later<u64> {
        let Some(link) = lock(&self.shared.link).clone() else { return Box::pin(async { Err(Unreachable) }) };
        let shared = self.shared.clone();
        let command = match link.connection {
            Connection::Single(_) => "PUBLISH",
            Connection::Cluster(_) => "SPUBLISH",
        };
        let mut publish = redis::cmd(command);
        publish.arg(shared.inbox(to)).arg(message);
        Box::pin(async move {
            let value = shared.ask(&link, publish).await.map_err(|error| shared.failed(&link, &error))?;
            redis::from_redis_value(value).map_err(|_| Unreachable)
        })
    }

    fn reset(&self) {
        self.shared.drop_link(None);
    }
}

impl Shared {
    fn inbox(&self, name: Name) -> String {
        format!("{}:inbox:{name}", self.prefix)
    }

    /// The script's command line.
    fn command(&self, eval: &str, script: &str, run: &str, call: &Call) -> Cmd {
        let slot = format!("{}:{{{}}}", self.prefix, call.bucket);
        let mut command = redis::cmd(eval);
        command.arg(script).arg(call.items.len() + 1).arg(format!("{slot}:epoch"));
        for item in &call.items {
            command.arg(format!("{slot}:id:{}", item.id));
        }
        let lease = self.lease.as_millis();
        command.arg(call.operation.as_str()).arg(run).arg(lease.to_string()).arg(self.name.to_string());
        for item in &call.items {
            command.arg(item.generation).arg(item.since);
            match item.secret {
                Some(secret) => command.arg(secret.to_string()),
                None => command.arg("-"),
            };
        }
        command
    }

    async fn ask(&self, link: &Link, command: Cmd) -> Result<Value, RedisError> {
        let mut connection = link.connection.clone();
        let answer = timeout(self.answer, async {
            match &mut connection {
                Connection::Single(connection) => connection.req_packed_command(&command).await,
                Connection::Cluster(connection) => connection.req_packed_command(&command).await,
            }
        });
        let answer = answer.await.unwrap_or_else(|_| Err((ErrorKind::Io, "no answer in time").into()));
        answer.and_then(Value::extract_error)
    }

    /// An error ends the connection.
    fn failed(&self, link: &Link, error: &RedisError) -> Unreachable {
        if self.drop_link(Some(link.number)) {
            tracing::warn!(%error, "Redis failed");
        }
        Unreachable
    }

    /// Ends a connection, unless there is a later one by now. Exactly once for each, `broken` hears of it.
    fn drop_link(&self, number: Option<u64>) -> bool {
        let dropped = lock(&self.link).take_if(|current| number.is_none_or(|number| current.number == number));
        if dropped.is_some() {
            self.broken.notify_one();
        }
        dropped.is_some()
    }

    async fn stay_connected(self: Arc<Self>, events: mpsc::Sender<Event>) {
        let mut pause = PAUSES.0;
        for number in 0.. {
            let began = Instant::now();
            match self.connect(number, &events).await {
                Ok(link) => {
                    *lock(&self.link) = Some(link);
                    if events.send(Event::Up).await.is_err() {
                        return;
                    }
                    self.broken.notified().await;
                    if events.send(Event::Down).await.is_err() {
                        return;
                    }
                }
                Err(error) => tracing::debug!(%error, "no connection to Redis"),
            }
            if began.elapsed() > PAUSES.1 {
                pause = PAUSES.0;
            }
            sleep(pause).await;
            pause = (2 * pause).min(PAUSES.1);
        }
    }

    /// Connects and opens the inbox.
    async fn connect(self: &Arc<Self>, number: u64, events: &mpsc::Sender<Event>) -> Result<Link, RedisError> {
        let all = async {
            let mut link = self.open(number, events).await?;
            let inbox = self.inbox(self.name);
            match &mut link.connection {
                Connection::Single(connection) => connection.subscribe(inbox).await?,
                Connection::Cluster(connection) => connection.ssubscribe(inbox).await?,
            }
            Ok(link)
        };
        timeout(3 * self.answer, all).await.unwrap_or_else(|_| Err((ErrorKind::Io, "no answer in time").into()))
    }

    async fn open(self: &Arc<Self>, number: u64, events: &mpsc::Sender<Event>) -> Result<Link, RedisError> {
        let mut failed = (ErrorKind::Io, "there is no node").into();
        for node in &self.nodes {
            match self.open_one(node, number, events).await {
                Ok(link) => return Ok(link),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    async fn open_one(
        self: &Arc<Self>,
        node: &ConnectionInfo,
        number: u64,
        events: &mpsc::Sender<Event>,
    ) -> Result<Link, RedisError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.answer))
            .set_response_timeout(Some(self.answer))
            .set_push_sender(self.pushed(number, events));
        let client = Client::open(node.clone())?;
        let mut single = client.get_multiplexed_async_connection_with_config(&config).await?;
        let info = redis::cmd("INFO").query_async::<String>(&mut single).await?;
        let line = |name: &str| info.lines().find_map(|line| line.trim().strip_prefix(name));
        if line("cluster_enabled:") != Some("1") {
            let run = line("run_id:").unwrap_or("-").into();
            return Ok(Link { connection: Connection::Single(single), run, number });
        }
        let cluster = ClusterClient::builder(self.nodes.clone())
            .use_protocol(ProtocolVersion::RESP3)
            .connection_timeout(self.answer)
            .response_timeout(self.answer)
            .push_sender(self.pushed(number, events))
            .build()?;
        let connection = cluster.get_async_connection().await?;
        Ok(Link { connection: Connection::Cluster(connection), run: "-".into(), number })
    }

    /// What takes the messages that Redis sends by itself.
    fn pushed(
        self: &Arc<Self>,
        number: u64,
        events: &mpsc::Sender<Event>,
    ) -> impl Fn(PushInfo) -> Result<(), Unreachable> + Send + Sync + 'static {
        let (shared, events) = (Arc::downgrade(self), events.clone());
        move |push: PushInfo| {
            match push.kind {
                PushKind::Message | PushKind::SMessage => {
                    if let Some(Value::BulkString(message)) = push.data.into_iter().nth(1) {
                        // Full: see `INBOX`.
                        let _ = events.try_send(Event::Message(message));
                    }
                }
                PushKind::Disconnection => {
                    let shared = shared.upgrade().ok_or(Unreachable)?;
                    let is_single =
                        |link: &Link| link.number == number && matches!(link.connection, Connection::Single(_));
                    // In a cluster one of several connections is gone, and is made again; the probe tells whether that worked.
                    if lock(&shared.link).as_ref().is_some_and(is_single) && shared.drop_link(Some(number)) {
                        tracing::warn!("the connection to Redis is gone");
                    }
                }
                _ => {}
            }
            Ok(())
        }
    }
}

fn sha1(text: &str) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
