//! `createBroker()`: brokers that run in this process because somebody asked for them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use linkup_broker::{Broker, Options, Secret, TurnOptions};
use linkup_proto::{Error, ErrorCode};
use napi_derive::napi;
use serde::Deserialize;
use serde_json::json;

use crate::mailbox::{Kind, Value};
use crate::sink::error_value;
use crate::{registry, runtime};

static BROKERS: Mutex<Option<HashMap<u32, (u32, Broker)>>> = Mutex::new(None);

fn with<T>(change: impl FnOnce(&mut HashMap<u32, (u32, Broker)>) -> T) -> T {
    change(BROKERS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

#[derive(Deserialize)]
struct BrokerOptions {
    port: u16,
    host: Option<String>,
    files: Option<PathBuf>,
    origins: Option<Vec<String>>,
    turn: Option<Turn>,
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
        turn.allow = given.allow.iter().map(|block| block.parse()).collect::<Result<_, _>>()?;
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

/// Starts a broker; SETTLED with JSON `{handle, addresses, turnAddresses}` follows.
#[napi(catch_unwind)]
pub fn create_broker(mailbox: u32, token: u32, options: String) -> napi::Result<()> {
    let options: BrokerOptions =
        serde_json::from_str(&options).map_err(|error| napi::Error::from_reason(error.to_string()))?;
    let runtime = runtime::handle().map_err(|error| napi::Error::from_reason(error.to_string()))?;
    let box_handle = mailbox;
    let Some(mailbox) = registry::mailbox(mailbox) else { return Ok(()) };
    let port = options.port;
    let started = Broker::listen(options.host.as_deref(), port).and_then(|listeners| {
        let options = options.into_options().map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        Broker::start(listeners, options, &runtime)
    });
    let (value, error) = match started {
        Ok(broker) => {
            let text = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
            let (addresses, turn) = (text(broker.addresses()), text(broker.turn_addresses()));
            let handle = linkup_driver::next_id();
            with(|brokers| brokers.insert(handle, (box_handle, broker)));
            let settled = json!({"handle": handle, "addresses": addresses, "turnAddresses": turn});
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
    Ok(())
}

/// Stops a broker; SETTLED follows when its sockets are closed.
#[napi(catch_unwind)]
pub fn close_broker(mailbox: u32, token: u32, handle: u32) -> napi::Result<()> {
    let runtime = runtime::handle().map_err(|error| napi::Error::from_reason(error.to_string()))?;
    let Some(mailbox) = registry::mailbox(mailbox) else { return Ok(()) };
    let broker = with(|brokers| brokers.remove(&handle));
    runtime.spawn(async move {
        if let Some((_, broker)) = broker {
            broker.close().await;
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
