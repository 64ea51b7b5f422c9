//! Turns the events of one Peer into the mailbox's: handles and JSON text.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use linkup_driver::core::{ConnectionId, Event, Token};
use linkup_driver::{Direction, Message, Sink};
use linkup_proto::Error;
use serde_json::json;

use crate::mailbox::{Kind, Mailbox, Value};
use crate::registry;

/// Where the events of one Peer go.
pub struct PeerSink {
    /// The environment's mailbox.
    pub mailbox: Arc<Mailbox>,
    /// The Peer's handle.
    pub peer: u32,
}

/// An error as `js/errors.js` reads it.
pub fn error_value(error: Option<&Error>) -> Value {
    error.map_or(Value::Null, |error| Value::Text(json!(error).to_string()))
}

impl Sink for PeerSink {
    fn event(&self, event: Event) {
        let text = |value: serde_json::Value| Value::Text(value.to_string());
        let post = |kind, handle, a, b| self.mailbox.post(kind, handle, a, b);
        match event {
            Event::Registered => post(Kind::Registered, self.peer, Value::Null, Value::Null),
            Event::Offline { reason, retry_in } => {
                let retry_in = u32::try_from(retry_in.as_millis()).unwrap_or(u32::MAX);
                post(Kind::Offline, self.peer, Value::Text(reason), Value::Number(retry_in));
            }
            Event::Open { connection, remote, incoming, metadata, identity, linkup, caller } => {
                registry::add_connection(connection, self.peer);
                let info = json!({
                    "peer": self.peer, "remote": remote.as_str(), "incoming": incoming,
                    "metadata": metadata, "linkup": linkup.is_some(), "caller": caller,
                    "key": identity.map(|key| key.to_string()),
                });
                post(Kind::Open, connection.0, text(info), Value::Null);
            }
            Event::Joined { connection, existing } => {
                registry::remove_connection(connection);
                post(Kind::Joined, connection.0, Value::Number(existing.0), Value::Null);
            }
            Event::Closed { connection, error } => {
                registry::remove_connection(connection);
                post(Kind::Closed, connection.0, error_value(error.as_ref()), Value::Null);
            }
            Event::Reconnecting { connection } => post(Kind::Reconnecting, connection.0, Value::Null, Value::Null),
            Event::Reconnected { connection } => post(Kind::Reconnected, connection.0, Value::Null, Value::Null),
            Event::Settled { token, result } => {
                let (value, error) = match result {
                    Ok(found) => (Value::Text(found.to_string()), Value::Null),
                    Err(error) => (Value::Null, error_value(Some(&error))),
                };
                post(Kind::Settled, token.0, value, error);
            }
            Event::Request { connection, from, metadata, identity, login, wanted } => {
                registry::add_connection(connection, self.peer);
                let info = json!({
                    "peer": self.peer, "from": from.as_str(), "metadata": metadata, "login": login, "wanted": wanted,
                    "key": identity.map(|key| key.to_string()),
                });
                post(Kind::Request, connection.0, text(info), Value::Null);
            }
            Event::Transform { transport, sdp } => {
                post(Kind::Transform, self.peer, Value::Number(transport.0), Value::Text(sdp));
            }
            Event::Error { remote, error } => {
                let remote = remote.map_or(Value::Null, |remote| Value::Text(remote.as_str().to_owned()));
                post(Kind::Error, self.peer, error_value(Some(&error)), remote);
            }
            Event::PeerClosed { error } => {
                registry::remove_peer(self.peer);
                post(Kind::PeerClosed, self.peer, error_value(error.as_ref()), Value::Null);
            }
        }
    }

    fn message(&self, connection: ConnectionId, message: Message) -> bool {
        self.mailbox.post_message(connection.0, message)
    }

    fn room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.mailbox.room())
    }

    fn drained(&self, connection: ConnectionId) {
        self.mailbox.post(Kind::Drained, connection.0, Value::Number(0), Value::Null);
    }

    fn streams_drained(&self, connection: ConnectionId) {
        self.mailbox.post(Kind::Drained, connection.0, Value::Number(1), Value::Null);
    }

    fn has_streams(&self) -> bool {
        true
    }

    fn stream(&self, connection: ConnectionId, frame: Bytes) -> bool {
        self.mailbox.post_frame(connection.0, frame)
    }

    fn arrived(&self, token: Token) {
        self.mailbox.post(Kind::Settled, token.0, Value::Text("true".to_owned()), Value::Null);
    }

    fn progress(&self, connection: ConnectionId, direction: Direction, done: u32, total: u32) {
        let kind = match direction {
            Direction::Sending => Kind::Sending,
            Direction::Receiving => Kind::Receiving,
        };
        self.mailbox.post(kind, connection.0, Value::Number(done), Value::Number(total));
    }
}
