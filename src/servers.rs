//! `createBroker()`: brokers that run in this process because somebody asked for them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use linkup_broker::cli::{self, Program};
use linkup_broker::{Broker, Cidr, Options, RedisOptions, Secret, TurnOptions};
use linkup_proto::{Error, ErrorCode};
use napi_derive::napi;
use serde::Deserialize;
use serde_json::json;

use crate::authorize::Hook;
use crate::mailbox::{Kind, Value};
use crate::sink::error_value;
use crate::{registry, runtime};

static BROKERS: Mutex<Option<HashMap<u32, (u32, Broker)>>> = Mutex::new(None);

fn with<T>(change: impl FnOnce(&mut HashMap<u32, (u32, Broker)>) -> T) -> T {
    change(BROKERS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

/// As `js/broker-options.js` has checked it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BrokerOptions {
    port: u16,
    host: Option<String>,
    files: Option<PathBuf>,
    origins: Option<Vec<String>>,
    turn: Option<Turn>,
    redis: Option<Redis>,
    tls: Option<Tls>,
    trusted_proxies: Option<Vec<String>>,
    metrics_from: Option<Vec<String>>,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    timeouts: Timeouts,
    auth: Option<Auth>,
    /// Whether JavaScript decides about registrations.
    #[serde(default)]
    authorize: bool,
}

/// As `js/redis-options.js` has checked it.
#[derive(Deserialize)]
struct Redis {
    urls: Vec<String>,
    prefix: Option<String>,
    lease: Option<f64>,
}

impl Redis {
    fn into_options(self) -> Result<RedisOptions, String> {
        let mut options = RedisOptions::new("");
        options.urls = self.urls;
        set(&mut options.prefix, self.prefix);
        let lease = self.lease.map(Duration::try_from_secs_f64).transpose();
        set(&mut options.lease, lease.map_err(|error| error.to_string())?);
        Ok(options)
    }
}

#[derive(Deserialize)]
struct Tls {
    cert: PathBuf,
    key: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Limits {
    sockets: Option<usize>,
    frame_bytes: Option<usize>,
    queue_frames: Option<usize>,
    queue_bytes: Option<usize>,
    socket_messages: Option<u64>,
    socket_bytes: Option<u64>,
    address_sockets: Option<usize>,
    address_messages: Option<u64>,
    address_bytes: Option<u64>,
    relay: Option<u32>,
    loopback: Option<bool>,
}

/// Milliseconds.
#[derive(Default, Deserialize)]
struct Timeouts {
    handshake: Option<u64>,
    ping: Option<u64>,
    authorize: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Auth {
    secrets: Vec<String>,
    jwt_secrets: Vec<String>,
    jwt_keys: Vec<PathBuf>,
    audience: Option<String>,
    issuer: Option<String>,
}

/// As `js/turn-options.js` has checked it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Turn {
    port: Port,
    optional: bool,
    address: Option<IpAddr>,
    name: Option<String>,
    secret: Option<String>,
    ttl: Option<u64>,
    allow: Vec<String>,
    relay_ports: Option<(u16, u16)>,
    urls: Vec<String>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    max_allocations: Option<usize>,
    max_user_allocations: Option<usize>,
    max_address_allocations: Option<usize>,
    max_connections: Option<usize>,
    bandwidth: Option<u64>,
}

/// A port, or `false` where only other servers are told of.
#[derive(Deserialize)]
#[serde(untagged)]
enum Port {
    Number(u16),
    Wanted(bool),
}

impl Default for Port {
    fn default() -> Self {
        Self::Wanted(true)
    }
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

impl BrokerOptions {
    fn into_options(self) -> Result<Options, String> {
        let mut options = Options::default();
        options.files = self.files;
        let origins = self.origins.map(|origins| origins.iter().map(|origin| origin.parse()).collect());
        options.origins = origins.transpose()?;
        options.redis = self.redis.map(Redis::into_options).transpose()?;
        options.tls = self.tls.map(|Tls { cert, key }| (cert, key));
        options.trusted_proxies = blocks(&self.trusted_proxies.unwrap_or_default())?;
        set(&mut options.metrics_from, self.metrics_from.as_deref().map(blocks).transpose()?);
        self.limits.into_options(&mut options);
        let time = |given: Option<u64>| given.map(Duration::from_millis);
        set(&mut options.handshake_timeout, time(self.timeouts.handshake));
        set(&mut options.ping_interval, time(self.timeouts.ping));
        set(&mut options.auth.timeout, time(self.timeouts.authorize));
        if let Some(Auth { secrets, jwt_secrets, jwt_keys, audience, issuer }) = self.auth {
            options.auth.secrets = secrets.into_iter().map(Secret::new).collect();
            options.auth.jwt_secrets = jwt_secrets.into_iter().map(Secret::new).collect();
            options.auth.jwt_keys = jwt_keys;
            options.auth.audience = audience;
            options.auth.issuer = issuer;
        }
        let Some(given) = self.turn else { return Ok(options) };
        options.turn_secret = given.secret.map(Secret::new);
        set(&mut options.turn_ttl, given.ttl.map(Duration::from_secs));
        options.ice_urls = given.urls;
        let mut turn = TurnOptions::default();
        match given.port {
            Port::Number(port) => turn.port = port,
            Port::Wanted(true) => {}
            Port::Wanted(false) => return Ok(options),
        }
        turn.host = self.host;
        turn.optional = given.optional;
        turn.address = given.address;
        turn.name = given.name;
        turn.allow = blocks(&given.allow)?;
        set(&mut turn.relay_ports, given.relay_ports.map(|(first, last)| first..=last));
        turn.tls = given.cert.zip(given.key);
        set(&mut turn.max_allocations, given.max_allocations);
        set(&mut turn.max_user_allocations, given.max_user_allocations);
        set(&mut turn.max_ip_allocations, given.max_address_allocations);
        set(&mut turn.max_connections, given.max_connections);
        set(&mut turn.bandwidth, given.bandwidth);
        options.turn = Some(turn);
        Ok(options)
    }
}

impl Limits {
    fn into_options(self, options: &mut Options) {
        set(&mut options.max_sockets, self.sockets);
        set(&mut options.relay, self.relay.map(|bytes| (bytes > 0).then_some(bytes)));
        let limits = &mut options.limits;
        set(&mut limits.frame_bytes, self.frame_bytes);
        set(&mut limits.queue_frames, self.queue_frames);
        set(&mut limits.queue_bytes, self.queue_bytes);
        set(&mut limits.socket_messages, self.socket_messages);
        set(&mut limits.socket_bytes, self.socket_bytes);
        set(&mut limits.address_sockets, self.address_sockets);
        set(&mut limits.address_messages, self.address_messages);
        set(&mut limits.address_bytes, self.address_bytes);
        set(&mut limits.loopback, self.loopback);
    }
}

fn blocks(list: &[String]) -> Result<Vec<Cidr>, String> {
    list.iter().map(|block| block.parse()).collect()
}

/// Runs the command `linkup broker` until a signal ends it, and returns its exit code. Meanwhile the thread does nothing
/// else: for a process that has nothing else to do. `files` are served where the arguments name none.
#[napi(catch_unwind)]
pub fn run_broker(args: Vec<String>, files: Option<String>) -> u32 {
    let program = Program { name: "linkup broker", files: files.map(PathBuf::from) };
    u32::from(cli::run(&program, args.into_iter().map(Into::into)))
}

/// Starts a broker and returns its handle; SETTLED with JSON `{addresses, turnAddresses, tls}` follows.
#[napi(catch_unwind)]
pub fn create_broker(mailbox: u32, token: u32, options: String) -> napi::Result<u32> {
    let options: BrokerOptions =
        serde_json::from_str(&options).map_err(|error| napi::Error::from_reason(error.to_string()))?;
    let runtime = runtime::handle().map_err(|error| napi::Error::from_reason(error.to_string()))?;
    let box_handle = mailbox;
    let handle = linkup_driver::next_id();
    let Some(mailbox) = registry::mailbox(mailbox) else { return Ok(handle) };
    let port = options.port;
    let hook = options.authorize.then(|| Arc::new(Hook { mailbox: mailbox.clone(), broker: handle }) as _);
    let started = Broker::listen(options.host.as_deref(), port).and_then(|listeners| {
        let mut options = options.into_options().map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        options.auth.hook = hook;
        Broker::start(listeners, options, &runtime)
    });
    let (value, error) = match started {
        Ok(broker) => {
            let text = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
            let (addresses, turn) = (text(broker.addresses()), text(broker.turn_addresses()));
            let settled = json!({"addresses": addresses, "turnAddresses": turn, "tls": broker.has_tls()});
            with(|brokers| brokers.insert(handle, (box_handle, broker)));
            (Value::Text(settled.to_string()), Value::Null)
        }
        Err(error) => {
            let message = match error.kind() {
                io::ErrorKind::InvalidInput => format!("the broker cannot start: {error}"),
                _ => format!("the broker cannot listen on port {port}: {error}"),
            };
            (Value::Null, error_value(Some(&Error::new(ErrorCode::BrokerUnreachable, message))))
        }
    };
    mailbox.post(Kind::Settled, token, value, error);
    Ok(handle)
}

/// Has a broker read its certificates again. The error is why that does not work.
#[napi(catch_unwind)]
pub fn reload_broker(handle: u32) -> napi::Result<()> {
    let result = with(|brokers| brokers.get(&handle).map_or(Ok(()), |(_, broker)| broker.reload()));
    result.map_err(|error| napi::Error::from_reason(error.to_string()))
}

/// Stops a broker; SETTLED follows when its sockets are closed. With `drain`, in milliseconds, it moves its peers to another
/// one before.
#[napi(catch_unwind)]
pub fn close_broker(mailbox: u32, token: u32, handle: u32, drain: u32) -> napi::Result<()> {
    let runtime = runtime::handle().map_err(|error| napi::Error::from_reason(error.to_string()))?;
    let Some(mailbox) = registry::mailbox(mailbox) else { return Ok(()) };
    let broker = with(|brokers| brokers.remove(&handle));
    runtime.spawn(async move {
        if let Some((_, broker)) = broker {
            match drain {
                0 => broker.close().await,
                limit => broker.drain(Duration::from_millis(limit.into())).await,
            }
        }
        mailbox.post(Kind::Settled, token, Value::Text("null".into()), Value::Null);
    });
    Ok(())
}

/// An environment ends: so do its brokers.
pub fn remove_mailbox(mailbox: u32) {
    let ended: Vec<_> = with(|brokers| brokers.extract_if(|_, (owner, _)| *owner == mailbox).collect());
    drop(ended);
}
