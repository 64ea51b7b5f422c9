//! The functions that JavaScript calls. Each takes handles, returns at once, and never unwinds into Node.js.

use std::cell::Cell;
use std::sync::Arc;

use linkup_driver::core::{ConnectionId, Token, TransportId};
use linkup_driver::{IceServer, Message, Options, Peer, outcome};
use linkup_proto::{Error, ErrorCode, PeerId, PublicKey};
use napi::Env;
use napi::bindgen_prelude::{Either, Function};
use napi_derive::napi;
use serde::Deserialize;
use serde_json::json;

use crate::embedded::{self, EmbeddedKeeper};
use crate::mailbox::{Batch, Kind, Mailbox, Value};
use crate::registry::{self, PeerEntry};
use crate::runtime;
use crate::sink::PeerSink;

thread_local! {
    /// Nothing was sent since events were drained: what is sent next may be the answer to one of them.
    static ANSWERS: Cell<bool> = const { Cell::new(false) };
}

fn failed(error: impl std::fmt::Display) -> napi::Error {
    napi::Error::from_reason(error.to_string())
}

/// Opens the mailbox of this environment. `ring` is called when there is something to drain.
#[napi(catch_unwind)]
pub fn open(env: Env, ring: Function<'_, (), ()>) -> napi::Result<u32> {
    let handle = registry::add_mailbox(Arc::new(Mailbox::new(&ring)?));
    // The environment may end with live connections: a worker that is terminated, `process.exit()`.
    env.add_env_cleanup_hook(handle, registry::remove_mailbox)?;
    Ok(handle)
}

/// Takes the next events: a flat array of kind, handle, a, b.
#[napi(catch_unwind, ts_return_type = "Array<number | string | Uint8Array | null>")]
pub fn drain(mailbox: u32) -> napi::Result<Batch> {
    let batch = registry::mailbox(mailbox).ok_or_else(|| failed("no such mailbox"))?.drain();
    ANSWERS.set(!batch.is_empty());
    Ok(batch)
}

/// What the addon has beside the driver's options.
#[derive(Deserialize)]
struct Own {
    /// The first peer serves a broker where there is none.
    #[serde(default)]
    embedded: bool,
}

/// Starts a Peer.
#[napi(catch_unwind)]
pub fn create_peer(mailbox: u32, options: String) -> napi::Result<u32> {
    let mailbox_handle = mailbox;
    let mailbox = registry::mailbox(mailbox).ok_or_else(|| failed("no such mailbox"))?;
    let lease = serde_json::from_str::<Own>(&options).map_err(failed)?.embedded.then(embedded::lease);
    let mut options = Options::from_json(&options).map_err(failed)?;
    options.keeper = lease.as_ref().map(|lease| Arc::new(EmbeddedKeeper(Arc::downgrade(lease))) as _);
    let handle = linkup_driver::next_id();
    let sink = Arc::new(PeerSink { mailbox, peer: handle });
    let peer = Peer::start(&runtime::handle().map_err(failed)?, options, sink);
    registry::add_peer(handle, PeerEntry { peer, mailbox: mailbox_handle, _lease: lease });
    Ok(handle)
}

/// Connects to a peer, which must have the key given; what comes of it is an event of the connection whose handle is
/// returned. 0 where the Peer is closed.
#[napi(catch_unwind)]
pub fn connect(peer: u32, remote: String, key: Option<String>) -> napi::Result<u32> {
    let remote = PeerId::new(&remote).map_err(failed)?;
    let key = key.map(|key| PublicKey::parse(&key).ok_or_else(|| failed("no key"))).transpose()?;
    let Some(entry) = registry::peer(peer) else { return Ok(0) };
    let connection = entry.peer.connect_to(remote, key);
    registry::add_connection(connection, peer);
    Ok(connection.0)
}

/// Sends a message: 0 done, 1 done and DRAINED follows, -1 closed, -2 buffer full, -3 too large, -4 unsupported. With a
/// token that is not 0, SETTLED follows when the remote has it.
#[napi(catch_unwind)]
pub fn send(connection: u32, data: Either<String, &[u8]>, token: u32) -> i32 {
    let Some(link) = registry::link(connection) else { return -1 };
    let message = match data {
        Either::A(text) => Message::Text(text),
        // The one copy: the application may change its bytes as soon as this returns.
        Either::B(bytes) => Message::Binary(bytes.to_vec().into()),
    };
    let token = (token != 0).then_some(Token(token));
    // The first one only: JavaScript has better things to do than to encrypt what it sends to everybody.
    outcome(if ANSWERS.take() { link.send_here(message, token) } else { link.send_for(message, token) })
}

/// Sends a frame of a stream: 0 done, 1 done and DRAINED with 1 follows, -1 closed, -4 unsupported.
#[napi(catch_unwind)]
pub fn frame(connection: u32, kind: u32, stream: u32, body: Option<&[u8]>) -> i32 {
    let Some(link) = registry::link(connection) else { return -1 };
    let Ok(kind) = u8::try_from(kind) else { return -4 };
    outcome(link.send_stream(kind, stream, body.unwrap_or_default()))
}

/// Whether messages of a connection come to the mailbox, or wait: then the remote's sender has to wait, too.
#[napi(catch_unwind)]
pub fn flow(connection: u32, open: bool) {
    if let Some(link) = registry::link(connection) {
        link.flow(open);
    }
}

/// Closes a connection or gives up an attempt: in order without a code, at once with one.
#[napi(catch_unwind)]
pub fn close(connection: u32, code: Option<String>, message: String) {
    if let Some(entry) = registry::connection_peer(connection) {
        let error =
            code.map(|code| Error::new(ErrorCode::parse(&code).unwrap_or(ErrorCode::ConnectionClosed), message));
        entry.peer.close(ConnectionId(connection), error);
    }
}

/// The decision about a REQUEST: a code with a reason denies.
#[napi(catch_unwind)]
pub fn answer(connection: u32, code: Option<String>, reason: String) {
    if let Some(entry) = registry::connection_peer(connection) {
        let code = code.map(|code| ErrorCode::parse(&code).unwrap_or(ErrorCode::Denied));
        entry.peer.answer(ConnectionId(connection), code.map_or(Ok(()), |code| Err(Error::new(code, reason))));
    }
}

/// From now on this is the login that others hear of.
#[napi(catch_unwind)]
pub fn login(peer: u32, token: Option<String>) {
    if let Some(entry) = registry::peer(peer) {
        entry.peer.set_login(token);
    }
}

/// Asks whether an id is registered; SETTLED follows.
#[napi(catch_unwind)]
pub fn find(peer: u32, token: u32, id: String) -> napi::Result<bool> {
    let id = PeerId::new(&id).map_err(failed)?;
    let Some(entry) = registry::peer(peer) else { return Ok(false) };
    entry.peer.find(Token(token), id);
    Ok(true)
}

/// The STUN and TURN servers of a Peer; SETTLED with JSON follows when the broker has named them: null where the Peer ends before.
#[napi(catch_unwind)]
pub fn ice_servers(peer: u32, token: u32) -> napi::Result<bool> {
    let Some(entry) = registry::peer(peer) else { return Ok(false) };
    let Some(mailbox) = registry::mailbox(entry.mailbox) else { return Ok(false) };
    let servers = entry.peer.ice_servers();
    runtime::handle().map_err(failed)?.spawn(async move {
        let servers = servers.await.map(|servers| servers.iter().map(server).collect::<Vec<_>>());
        mailbox.post(Kind::Settled, token, Value::Text(json!(servers).to_string()), Value::Null);
    });
    Ok(true)
}

fn server(IceServer { urls, username, credential }: &IceServer) -> serde_json::Value {
    json!({"urls": urls, "username": username, "credential": credential})
}

/// Looks a name up as Peers do, and not on Node.js' threads, whose end a process waits for; SETTLED with a JSON list of
/// addresses follows.
#[napi(catch_unwind)]
pub fn lookup(mailbox: u32, token: u32, name: String) -> napi::Result<bool> {
    let Some(mailbox) = registry::mailbox(mailbox) else { return Ok(false) };
    runtime::handle().map_err(failed)?.spawn(async move {
        let found = tokio::net::lookup_host((name, 0)).await;
        let addresses: Vec<_> = found.into_iter().flatten().map(|address| address.ip()).collect();
        mailbox.post(Kind::Settled, token, Value::Text(json!(addresses).to_string()), Value::Null);
    });
    Ok(true)
}

/// The changed description that TRANSFORM asked for.
#[napi(catch_unwind)]
pub fn transformed(peer: u32, transport: u32, sdp: String) {
    if let Some(entry) = registry::peer(peer) {
        entry.peer.transformed(TransportId(transport), sdp);
    }
}

/// Closes a Peer; `PEER_CLOSED` is its last event. False where it is closed already.
#[napi(catch_unwind)]
pub fn close_peer(peer: u32) -> bool {
    registry::peer(peer).map(|entry| entry.peer.close_peer()).is_some()
}

/// Bytes that the remote's transport has not acknowledged.
#[napi(catch_unwind)]
pub fn buffered(connection: u32) -> f64 {
    registry::link(connection).map_or(0.0, |link| link.buffered() as f64)
}

/// Which way the bytes go: `direct` or `turn`. None for an unknown connection.
#[napi(catch_unwind)]
pub fn path(connection: u32) -> Option<&'static str> {
    registry::link(connection).map(|link| link.path())
}

/// Bytes of the largest single message that the other side takes; 0 for an unknown connection.
#[napi(catch_unwind)]
pub fn max_message(connection: u32) -> f64 {
    registry::link(connection).map_or(0.0, |link| link.max_message() as f64)
}

/// Measures a connection; SETTLED with JSON follows. False where there is no such open connection.
#[napi(catch_unwind)]
pub fn stats(connection: u32, token: u32) -> napi::Result<bool> {
    let mailbox = registry::connection_peer(connection).and_then(|entry| registry::mailbox(entry.mailbox));
    let (Some(mailbox), Some(link)) = (mailbox, registry::link(connection)) else { return Ok(false) };
    runtime::handle().map_err(failed)?.spawn(async move {
        let stats = link.stats().await;
        mailbox.post(Kind::Settled, token, Value::Text(stats.to_string()), Value::Null);
    });
    Ok(true)
}
