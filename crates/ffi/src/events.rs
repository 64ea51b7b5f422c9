//! What happened, as C sees it: a kind, a handle, and JSON or bytes.

use std::ffi::{CString, c_char};

use bytes::Bytes;
use linkup_driver::Message;
use linkup_driver::core::Event as Machine;
use linkup_proto::{Error, ErrorCode};
use serde_json::{Value, json};

pub(crate) const REGISTERED: u32 = 1;
pub(crate) const OFFLINE: u32 = 2;
pub(crate) const OPEN: u32 = 3;
pub(crate) const JOINED: u32 = 4;
pub(crate) const MESSAGE: u32 = 5;
pub(crate) const CLOSED: u32 = 6;
pub(crate) const DRAINED: u32 = 7;
pub(crate) const ARRIVED: u32 = 8;
pub(crate) const FOUND: u32 = 9;
pub(crate) const REQUEST: u32 = 10;
pub(crate) const RECONNECTING: u32 = 11;
pub(crate) const RECONNECTED: u32 = 12;
pub(crate) const ERROR: u32 = 13;
pub(crate) const PEER_CLOSED: u32 = 14;

/// One that waits in the queue.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) kind: u32,
    pub(crate) handle: u32,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    Nothing,
    Text(String),
    Binary(Bytes),
}

impl Body {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

impl Taken {
    pub(crate) fn new(kind: u32, handle: u32, body: Body) -> Self {
        Self { kind, handle, body }
    }

    pub(crate) fn is_last(&self) -> bool {
        self.kind == PEER_CLOSED
    }

    pub(crate) fn message(connection: u32, message: Message) -> Self {
        let body = match message {
            Message::Text(text) => Body::Text(text),
            Message::Binary(bytes) => Body::Binary(bytes),
        };
        Self::new(MESSAGE, connection, body)
    }

    /// The peer's end, because nobody takes its events.
    pub(crate) fn overrun() -> Self {
        let error = Error::new(ErrorCode::BufferFull, "nobody takes the events of this peer");
        Self::new(PEER_CLOSED, 0, text(&json!(error)))
    }

    /// What the machine says; None: nothing for C.
    pub(crate) fn from_machine(event: Machine) -> Option<Self> {
        let key = |key: Option<linkup_proto::PublicKey>| key.map(|key| key.to_string());
        Some(match event {
            Machine::Registered => Self::new(REGISTERED, 0, Body::Nothing),
            Machine::Offline { reason, retry_in } => {
                Self::new(OFFLINE, 0, text(&json!({"reason": reason, "retryIn": retry_in.as_millis() as u64})))
            }
            Machine::Open { connection, remote, incoming, metadata, identity, .. } => {
                let about = json!({
                    "id": remote.as_str(), "incoming": incoming, "metadata": metadata, "publicKey": key(identity),
                });
                Self::new(OPEN, connection.0, text(&about))
            }
            Machine::Joined { connection, existing } => {
                Self::new(JOINED, connection.0, text(&json!({"existing": existing.0})))
            }
            Machine::Closed { connection, error } => Self::new(CLOSED, connection.0, failure(error)),
            Machine::Reconnecting { connection } => Self::new(RECONNECTING, connection.0, Body::Nothing),
            Machine::Reconnected { connection } => Self::new(RECONNECTED, connection.0, Body::Nothing),
            Machine::Settled { token, result } => {
                let about = match result {
                    Ok(found) => json!({"found": found}),
                    Err(error) => json!({"error": error}),
                };
                Self::new(FOUND, token.0, text(&about))
            }
            Machine::Request { connection, from, metadata, identity, .. } => {
                let about = json!({"from": from.as_str(), "metadata": metadata, "publicKey": key(identity)});
                Self::new(REQUEST, connection.0, text(&about))
            }
            Machine::Error { remote, error } => {
                let mut about = json!(error);
                if let (Some(remote), Value::Object(about)) = (remote, &mut about) {
                    about.insert("peerId".to_owned(), remote.as_str().into());
                }
                Self::new(ERROR, 0, text(&about))
            }
            Machine::PeerClosed { error } => Self::new(PEER_CLOSED, 0, failure(error)),
            // Nobody asks for it here.
            Machine::Transform { .. } => return None,
        })
    }
}

fn text(value: &Value) -> Body {
    Body::Text(value.to_string())
}

fn failure(error: Option<Error>) -> Body {
    error.map_or(Body::Nothing, |error| text(&json!(error)))
}

/// An event that C holds: the first five are the struct of `linkup.h`.
#[repr(C)]
#[derive(Debug)]
pub struct Event {
    kind: u32,
    handle: u32,
    text: *const c_char,
    data: *const u8,
    length: usize,
    kept_text: Option<CString>,
    kept_bytes: Bytes,
}

impl Event {
    pub(crate) fn new(taken: Taken) -> Self {
        let mut event = Self {
            kind: taken.kind,
            handle: taken.handle,
            text: std::ptr::null(),
            data: std::ptr::null(),
            length: 0,
            kept_text: None,
            kept_bytes: Bytes::new(),
        };
        match taken.body {
            Body::Nothing => {}
            Body::Text(body) => {
                // The text of another peer may have a zero byte only where it is no JSON.
                let kept = event.kept_text.insert(crate::owned(&body));
                event.text = kept.as_ptr();
                event.length = kept.as_bytes().len();
            }
            Body::Binary(bytes) => {
                event.kept_bytes = bytes;
                event.data = event.kept_bytes.as_ptr();
                event.length = event.kept_bytes.len();
            }
        }
        event
    }
}
