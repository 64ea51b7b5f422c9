//! `createBroker()`: brokers that run in this process because somebody asked for them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use linkup_broker::{Broker, Options};
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
}

/// Starts a broker; SETTLED with JSON `{handle, addresses}` follows.
#[napi(catch_unwind)]
pub fn create_broker(mailbox: u32, token: u32, options: String) -> napi::Result<()> {
    let options: BrokerOptions =
        serde_json::from_str(&options).map_err(|error| napi::Error::from_reason(error.to_string()))?;
    let runtime = runtime::handle().map_err(|error| napi::Error::from_reason(error.to_string()))?;
    let box_handle = mailbox;
    let Some(mailbox) = registry::mailbox(mailbox) else { return Ok(()) };
    let port = options.port;
    let started = Broker::listen(options.host.as_deref(), port).and_then(|listeners| {
        let mut settings = Options::default();
        settings.files = options.files;
        Broker::start(listeners, settings, &runtime)
    });
    let (value, error) = match started {
        Ok(broker) => {
            let addresses: Vec<String> = broker.addresses().iter().map(ToString::to_string).collect();
            let handle = linkup_driver::next_id();
            with(|brokers| brokers.insert(handle, (box_handle, broker)));
            (Value::Text(json!({"handle": handle, "addresses": addresses}).to_string()), Value::Null)
        }
        Err(error) => {
            let message = format!("the broker cannot listen on port {port}: {error}");
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
