//! Remotes that are plain simple-peer clients: they know nothing of `linkup`, and break on what they do not know.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::*;
use linkup_core::{ConnectionId, Event, TransportCommand, TransportInput};
use linkup_proto::{Error, ErrorCode};
use linkup_testkit::Solo;
use serde_json::{Value, json};

fn plain(signal: Value) -> String {
    signal.to_string()
}

fn sdp(number: u32, version: u32) -> String {
    format!("v=0\r\no=- {number} {version} IN IP4 127.0.0.1\r\ns=-\r\n")
}

fn plain_offer(number: u32, version: u32) -> String {
    plain(json!({"type": "offer", "sdp": sdp(number, version)}))
}

fn plain_answer() -> String {
    plain(json!({"type": "answer", "sdp": "their answer"}))
}

fn plain_candidate(text: &str) -> String {
    plain(json!({"type": "candidate", "candidate": {"candidate": text, "sdpMid": "0", "sdpMLineIndex": 0}}))
}

fn all_plain(solo: &Solo) -> bool {
    solo.signals().iter().all(|(_, signal)| signal.linkup.is_none())
}

#[test]
fn a_plain_client_can_be_called() {
    let mut solo = solo(|_| {});
    let (transport, _) = call(&mut solo, 1, "bob");
    solo.signal(&id("bob"), &plain_candidate("early"));
    solo.take();
    solo.signal(&id("bob"), &plain_answer());
    solo.signal(&id("bob"), &plain_candidate("late"));
    let add = |text: &str| TransportCommand::AddCandidate(address(text));
    let expected =
        [TransportCommand::SetAnswer { sdp: "their answer".into(), linkup: false }, add("early"), add("late")];
    assert_eq!(solo.transports(), expected.map(|command| (transport, command)));
    solo.transport(transport, TransportInput::Candidate(address("ours")));
    assert_eq!(solo.signals().len(), 1);
    assert!(all_plain(&solo));
    solo.take();
    solo.run(ms(2000));
    assert_eq!(solo.signals(), [], "nothing is said twice");
    solo.transport(transport, TransportInput::Open);
    assert!(matches!(solo.events()[..], [Event::Open { linkup: None, metadata: None, .. }]));
    solo.take();
    close(&mut solo, ConnectionId(1), None);
    solo.transport(transport, TransportInput::Finished { error: None });
    assert_eq!(closed(&solo, ConnectionId(1)), Some(None));
    assert_eq!(solo.signals(), [], "a bye would break it");
}

#[test]
fn a_plain_client_can_call() {
    let mut solo = solo(|config| config.metadata = Some(json!(1)));
    solo.signal(&id("bob"), &plain_offer(1, 1));
    solo.signal(&id("bob"), &plain_candidate("one"));
    let transport = made(&solo);
    assert_eq!(solo.transports()[1], (transport, TransportCommand::AddCandidate(address("one"))));
    solo.transport(transport, described("our answer"));
    solo.transport(transport, TransportInput::Candidate(address("ours")));
    assert_eq!(solo.signals().len(), 2);
    assert!(all_plain(&solo));
    solo.transport(transport, TransportInput::Open);
    let open = solo.events().pop().unwrap();
    let Event::Open { connection, incoming: true, linkup: None, .. } = open else { panic!("{open:?}") };
    solo.take();
    // An offer for media in the same session is nothing to us; one in another session is a reloaded page.
    solo.signal(&id("bob"), &plain_offer(1, 2));
    assert_eq!(solo.said(), []);
    solo.signal(&id("bob"), &plain_offer(2, 1));
    assert_eq!(closed_code(&solo, connection), Some(ErrorCode::ConnectionLost));
    assert_ne!(made(&solo), transport);
}

#[test]
fn a_plain_client_hears_no_bye_whatever_happens() {
    let ends: [fn(&mut Solo, linkup_core::TransportId); 4] = [
        |solo, transport| solo.transport(transport, failed(ErrorCode::IceFailed)),
        |solo, _| solo.run(ms(15_000)),
        |solo, _| solo.command(linkup_core::Command::ClosePeer),
        |solo, transport| {
            solo.transport(transport, TransportInput::Open);
            solo.transport(transport, failed(ErrorCode::ConnectionLost));
        },
    ];
    for end in ends {
        let mut solo = solo(|_| {});
        solo.signal(&id("bob"), &plain_offer(1, 1));
        let transport = made(&solo);
        end(&mut solo, transport);
        assert_eq!(solo.signals(), []);
    }
    let mut solo = solo(|config| config.max_connections = 0);
    solo.signal(&id("bob"), &plain_offer(1, 1));
    solo.signal(&id("bob"), &plain_answer());
    solo.signal(&id("bob"), &plain_candidate("one"));
    assert_eq!(solo.said(), []);
}

#[test]
fn a_denied_plain_client_hears_nothing() {
    let mut solo = solo(|config| config.asks = true);
    solo.signal(&id("bob"), &plain_offer(1, 1));
    let Some(Event::Request { connection, .. }) = solo.events().pop() else { panic!("no request") };
    solo.take();
    let verdict = Err(Error::new(ErrorCode::Denied, "no"));
    solo.command(linkup_core::Command::Answer { connection, verdict });
    assert_eq!(solo.said(), []);
}

#[test]
fn plain_signals_do_not_touch_a_linkup_attempt() {
    let mut solo = solo(|_| {});
    solo.signal(&id("bob"), &offer("s"));
    solo.take();
    solo.signal(&id("bob"), &plain_candidate("one"));
    solo.signal(&id("bob"), &plain_answer());
    assert_eq!(solo.said(), []);
}

#[test]
fn a_plain_caller_meets_our_call() {
    // "me" is smaller than "zoe": ours counts, and is not said twice.
    let mut solo = solo(|_| {});
    let (transport, _) = call(&mut solo, 1, "zoe");
    solo.take();
    solo.signal(&id("zoe"), &plain_offer(1, 1));
    assert_eq!(solo.said(), []);
    solo.signal(&id("zoe"), &plain_answer());
    assert_eq!(solo.transports()[0].0, transport);
    // "ann" is smaller than "me": hers counts.
    call(&mut solo, 2, "ann");
    solo.take();
    solo.signal(&id("ann"), &plain_offer(1, 1));
    let transport = made(&solo);
    solo.transport(transport, described("our answer"));
    assert!(all_plain(&solo));
    solo.transport(transport, TransportInput::Open);
    assert!(matches!(solo.events()[..], [Event::Open { connection: ConnectionId(2), incoming: false, .. }]));
}

#[test]
fn what_comes_before_our_call_has_left_is_not_about_it() {
    let mut solo = solo(|_| {});
    connect(&mut solo, 1, "bob");
    let transport = made(&solo);
    solo.take();
    solo.signal(&id("bob"), &plain_candidate("stale"));
    solo.signal(&id("bob"), &plain_answer());
    assert_eq!(solo.said(), []);
    solo.transport(transport, described("our offer"));
    solo.signal(&id("bob"), &plain_answer());
    let answer = TransportCommand::SetAnswer { sdp: "their answer".into(), linkup: false };
    assert_eq!(solo.transports(), [(transport, answer)]);
}

#[test]
fn who_has_spoken_linkup_does_not_answer_plainly() {
    // "me" is smaller than "zoe", whose own offer loses and tells what she is.
    let mut solo = solo(|_| {});
    call(&mut solo, 1, "zoe");
    solo.signal(&id("zoe"), &offer("hers"));
    solo.take();
    solo.signal(&id("zoe"), &plain_answer());
    assert_eq!(solo.said(), []);
}

#[test]
fn talk_about_media_is_nothing_to_us() {
    let mut solo = solo(|_| {});
    solo.signal(&id("bob"), &plain(json!({"type": "renegotiate", "renegotiate": true})));
    solo.signal(&id("bob"), &plain(json!({"type": "transceiverRequest", "transceiverRequest": {"kind": "audio"}})));
    assert_eq!(solo.said(), []);
}
