//! What the tests of single rules share: signals as remotes write them, and the way to an open connection.

#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use linkup_core::{
    BrokerCommand, Command, Config, ConnectionId, Event, Output, TransportCommand, TransportId, TransportInput,
};
use linkup_proto::broker::Request;
use linkup_proto::signal::{Body, Candidate};
use linkup_proto::{Error, ErrorCode, PeerId};
use linkup_testkit::{RECEIVE, Solo};
use serde_json::{Value, json};

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn id(text: &str) -> PeerId {
    PeerId::new(text).unwrap()
}

/// A registered peer called `me`.
pub fn solo(tweak: impl FnOnce(&mut Config)) -> Solo {
    Solo::registered(&id("me"), tweak)
}

/// A signal of a linkup peer.
pub fn linkup(mut signal: Value, session: &str) -> String {
    signal["linkup"] = json!({"v": 1, "session": session, "metadata": {"of": session},
        "receive": {"message": RECEIVE.message, "window": RECEIVE.window, "resume": RECEIVE.resume, "relay": RECEIVE.relay}});
    signal.to_string()
}

pub fn offer(session: &str) -> String {
    linkup(json!({"type": "offer", "sdp": format!("offer {session}")}), session)
}

pub fn answer(session: &str) -> String {
    linkup(json!({"type": "answer", "sdp": format!("answer {session}")}), session)
}

pub fn candidate(session: &str, text: &str) -> String {
    linkup(json!({"candidate": {"candidate": text, "sdpMid": "0", "sdpMLineIndex": 0}}), session)
}

pub fn bye(session: &str, code: &str, reason: &str) -> String {
    let linkup = json!({"v": 1, "session": session, "bye": {"code": code, "reason": reason}});
    json!({"type": "bye", "linkup": linkup}).to_string()
}

pub fn address(text: &str) -> Candidate {
    Candidate { candidate: text.into(), mid: Some("0".into()), mline_index: Some(0) }
}

pub fn described(sdp: &str) -> TransportInput {
    TransportInput::Description { sdp: sdp.into() }
}

pub fn failed(code: ErrorCode) -> TransportInput {
    TransportInput::Failed { error: Error::new(code, "broken") }
}

/// The transport that was asked for last.
pub fn made(solo: &Solo) -> TransportId {
    let makes = |command: &TransportCommand| {
        matches!(
            command,
            TransportCommand::Offer
                | TransportCommand::OfferDirect
                | TransportCommand::OfferRelay { .. }
                | TransportCommand::Answer { .. }
        )
    };
    solo.transports().into_iter().rev().find(|(_, command)| makes(command)).expect("no transport was asked for").0
}

/// The session that the last signal to that peer carries.
pub fn session(solo: &Solo, remote: &str) -> String {
    let signals = solo.signals();
    let last = signals.iter().rev().find(|(to, _)| to.as_str() == remote).expect("no signal was sent");
    last.1.linkup.as_ref().expect("the signal is plain").session.clone()
}

pub fn closed(solo: &Solo, connection: ConnectionId) -> Option<Option<Error>> {
    solo.events().into_iter().find_map(|event| match event {
        Event::Closed { connection: c, error } if c == connection => Some(error),
        _ => None,
    })
}

pub fn closed_code(solo: &Solo, connection: ConnectionId) -> Option<ErrorCode> {
    closed(solo, connection).flatten().map(|error| error.code)
}

pub fn is_aborted(solo: &Solo, transport: TransportId) -> bool {
    solo.transports().contains(&(transport, TransportCommand::Abort))
}

pub fn connect(solo: &mut Solo, connection: u32, to: &str) {
    solo.command(Command::Connect { connection: ConnectionId(connection), to: id(to), key: None });
}

/// Calls `to`, up to the offer. What was said is still there.
pub fn call(solo: &mut Solo, connection: u32, to: &str) -> (TransportId, String) {
    connect(solo, connection, to);
    let transport = made(solo);
    solo.answer_last(json!(to));
    solo.transport(transport, described("our offer"));
    (transport, session(solo, to))
}

/// Opens a connection by calling; what was said up to then is forgotten.
pub fn open(solo: &mut Solo, connection: u32, to: &str) -> (TransportId, String) {
    let (transport, session) = call(solo, connection, to);
    solo.signal(&id(to), &answer(&session));
    solo.transport(transport, TransportInput::Open);
    solo.take();
    (transport, session)
}

/// Lets `from` call us, until it is open; what was said up to then is forgotten.
pub fn open_incoming(solo: &mut Solo, from: &str, session: &str) -> (ConnectionId, TransportId) {
    solo.signal(&id(from), &offer(session));
    let transport = made(solo);
    solo.transport(transport, described("our answer"));
    solo.transport(transport, TransportInput::Open);
    let connection = solo.events().into_iter().find_map(|event| match event {
        Event::Open { connection, incoming: true, .. } => Some(connection),
        _ => None,
    });
    solo.take();
    (connection.expect("it is not open"), transport)
}

pub fn close(solo: &mut Solo, connection: ConnectionId, error: Option<(ErrorCode, &str)>) {
    let error = error.map(|(code, message)| Error::new(code, message));
    solo.command(Command::Close { connection, error });
}

/// The peers that the broker was asked for.
pub fn finds(solo: &Solo) -> Vec<String> {
    let finds = solo.frames().into_iter().filter_map(|frame| match frame.request {
        Request::Find { id } => Some(id.as_str().to_owned()),
        _ => None,
    });
    finds.collect()
}

/// The brokers whose sockets were asked for.
pub fn sockets(solo: &Solo) -> Vec<usize> {
    let sockets = solo.said().iter().filter_map(|output| match output {
        Output::Broker(BrokerCommand::Connect { index }) => Some(*index),
        _ => None,
    });
    sockets.collect()
}

/// The callers that the application was asked about.
pub fn requests(solo: &Solo) -> Vec<ConnectionId> {
    let requests = solo.events().into_iter().filter_map(|event| match event {
        Event::Request { connection, .. } => Some(connection),
        _ => None,
    });
    requests.collect()
}

/// The signals that were sent, without their addresses.
pub fn bodies(solo: &Solo) -> Vec<Body> {
    solo.signals().into_iter().map(|(_, signal)| signal.body).collect()
}

pub fn bye_body(code: ErrorCode, reason: &str) -> Body {
    Body::Bye { code, reason: reason.into() }
}
