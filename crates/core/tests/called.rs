//! Being called: one rule a test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::*;
use linkup_core::{BrokerInput, Command, ConnectionId, Event, Output, TransportCommand, TransportInput};
use linkup_proto::limits::{MAX_INCOMING_ATTEMPTS, MAX_REMOTE_CANDIDATES};
use linkup_proto::signal::Body;
use linkup_proto::{Error, ErrorCode};
use linkup_testkit::Solo;
use serde_json::json;

#[test]
fn a_caller_that_says_it_again_is_answered_again() {
    let mut solo = solo(|_| {});
    solo.signal(&id("bob"), &offer("s"));
    let transport = made(&solo);
    solo.transport(transport, described("our answer"));
    solo.take();
    solo.signal(&id("bob"), &offer("s"));
    assert_eq!(solo.transports(), []);
    assert_eq!(bodies(&solo), [Body::Answer { sdp: "our answer".into() }]);
}

#[test]
fn nothing_leaves_before_the_application_has_agreed() {
    let mut solo = solo(|config| config.asks = true);
    solo.signal(&id("bob"), &offer("s"));
    solo.signal(&id("bob"), &candidate("s", "early"));
    solo.signal(&id("bob"), &offer("s"));
    let connection = requests(&solo)[0];
    let request = Event::Request {
        connection,
        from: id("bob"),
        metadata: Some(json!({"of": "s"})),
        identity: None,
        login: None,
        wanted: false,
    };
    assert_eq!(solo.take(), [Output::Event(request)]);
    solo.command(Command::Answer { connection, verdict: Ok(()) });
    solo.command(Command::Answer { connection, verdict: Err(Error::new(ErrorCode::Denied, "too late")) });
    let transport = made(&solo);
    let expected = [
        TransportCommand::Answer { sdp: "offer s".into(), linkup: true, rate: None },
        TransportCommand::AddCandidate(address("early")),
    ];
    assert_eq!(solo.transports(), expected.map(|command| (transport, command)));
    solo.transport(transport, described("our answer"));
    assert_eq!(bodies(&solo), [Body::Answer { sdp: "our answer".into() }]);
    assert_eq!(session(&solo, "bob"), "s");
    solo.transport(transport, TransportInput::Open);
    assert!(matches!(solo.events()[..], [Event::Open { connection: c, incoming: true, .. }] if c == connection));
}

#[test]
fn a_denial_is_told_with_its_reason() {
    let mut called = solo(|config| config.asks = true);
    called.signal(&id("bob"), &offer("s"));
    let connection = requests(&called)[0];
    called.take();
    called.command(Command::Answer { connection, verdict: Err(Error::new(ErrorCode::Denied, "busy")) });
    assert_eq!(bodies(&called), [bye_body(ErrorCode::Denied, "busy")]);
    assert_eq!((called.events(), called.transports()), (vec![], vec![]));

    let mut caller = solo(|_| {});
    let (transport, session) = call(&mut caller, 1, "bob");
    caller.signal(&id("bob"), &bye(&session, "ERR_DENIED", "busy"));
    let error = closed(&caller, ConnectionId(1)).unwrap().unwrap();
    assert_eq!(error.code, ErrorCode::Denied);
    assert!(error.message.contains("busy"), "{error}");
    assert!(is_aborted(&caller, transport));
}

#[test]
fn a_call_that_nobody_decides_about_is_forgotten() {
    let mut solo = solo(|config| config.asks = true);
    solo.signal(&id("bob"), &offer("s"));
    let connection = requests(&solo)[0];
    solo.take();
    solo.run(ms(15_000));
    solo.command(Command::Answer { connection, verdict: Ok(()) });
    assert_eq!((solo.events(), solo.transports(), solo.signals()), (vec![], vec![], vec![]));
}

#[test]
fn a_call_that_comes_to_nothing_is_forgotten() {
    let mut solo = solo(|_| {});
    solo.signal(&id("bob"), &offer("s"));
    let transport = made(&solo);
    solo.run(ms(15_000));
    assert!(is_aborted(&solo, transport));
    assert_eq!((solo.events(), solo.signals()), (vec![], vec![]));
    // And one that its caller takes back.
    solo.signal(&id("bob"), &offer("t"));
    let transport = made(&solo);
    solo.signal(&id("bob"), &bye("t", "ERR_ABORTED", ""));
    assert!(is_aborted(&solo, transport));
    assert_eq!(solo.events(), []);
}

#[test]
fn broken_calls_are_reported() {
    let mut solo = solo(|_| {});
    let reported = |solo: &Solo| match &solo.events()[..] {
        [Event::Error { remote: Some(remote), error }] => remote == &id("bob") && error.code == ErrorCode::Protocol,
        _ => false,
    };
    solo.signal(&id("bob"), "{}");
    assert!(reported(&solo));
    solo.take();
    solo.signal(&id("bob"), &offer("s"));
    let transport = made(&solo);
    solo.transport(transport, failed(ErrorCode::Protocol));
    assert!(reported(&solo));
    assert!(is_aborted(&solo, transport));
    assert_eq!(bodies(&solo), [bye_body(ErrorCode::Protocol, "")]);
}

#[test]
fn only_so_many_strangers_may_be_calling() {
    let mut solo = solo(|config| config.max_connections = 100_000);
    for number in 0..MAX_INCOMING_ATTEMPTS {
        solo.signal(&id(&format!("caller {number}")), &offer("s"));
    }
    assert_eq!(solo.transports().len(), MAX_INCOMING_ATTEMPTS);
    solo.take();
    solo.signal(&id("bob"), &offer("s"));
    assert_eq!(bodies(&solo), [bye_body(ErrorCode::Denied, "too many connections")]);
    assert_eq!(solo.transports(), []);
}

#[test]
fn the_number_of_connections_is_limited_and_ours_come_first() {
    let mut solo = solo(|config| config.max_connections = 2);
    open(&mut solo, 1, "ann");
    solo.signal(&id("ben"), &offer("s"));
    let transport = made(&solo);
    solo.take();
    solo.signal(&id("cid"), &offer("s"));
    assert_eq!(bodies(&solo), [bye_body(ErrorCode::Denied, "too many connections")]);
    solo.take();
    // Our own call takes the place of the stranger who is only calling.
    connect(&mut solo, 2, "dot");
    assert!(is_aborted(&solo, transport));
    assert_eq!(bodies(&solo), [bye_body(ErrorCode::Denied, "too many connections")]);
    connect(&mut solo, 3, "eve");
    let error = closed(&solo, ConnectionId(3)).unwrap().unwrap();
    assert_eq!(error.code, ErrorCode::Denied);
    assert!(error.message.contains('2'), "{error}");
}

#[test]
fn candidates_are_bounded_and_taken_once() {
    for asks in [false, true] {
        let mut solo = solo(|config| config.asks = asks);
        solo.signal(&id("bob"), &offer("s"));
        for number in 0..3 * MAX_REMOTE_CANDIDATES {
            solo.signal(&id("bob"), &candidate("s", ""));
            for _ in 0..2 {
                solo.signal(&id("bob"), &candidate("s", &format!("number {number}")));
            }
        }
        if let Some(connection) = requests(&solo).pop() {
            solo.command(Command::Answer { connection, verdict: Ok(()) });
        }
        let transport = made(&solo);
        let added = |solo: &Solo| {
            let adds = solo.transports().into_iter().filter_map(|(_, command)| match command {
                TransportCommand::AddCandidate(candidate) => Some(candidate.candidate),
                _ => None,
            });
            let adds: Vec<String> = adds.collect();
            let different: std::collections::BTreeSet<_> = adds.iter().filter(|text| !text.is_empty()).collect();
            assert_eq!(different.len(), adds.len());
            adds.len()
        };
        assert_eq!(added(&solo), MAX_REMOTE_CANDIDATES);
        solo.transport(transport, described("our answer"));
        solo.transport(transport, TransportInput::Open);
        solo.signal(&id("bob"), &candidate("s", "one more"));
        assert_eq!(added(&solo), MAX_REMOTE_CANDIDATES);
    }
}

#[test]
fn signals_of_no_known_attempt_are_dropped_and_an_answer_gets_a_bye() {
    let mut solo = solo(|_| {});
    solo.signal(&id("bob"), &candidate("s", "one"));
    solo.signal(&id("bob"), &bye("s", "ERR_DENIED", ""));
    assert_eq!(solo.said(), []);
    solo.signal(&id("bob"), &answer("s"));
    assert_eq!(bodies(&solo), [bye_body(ErrorCode::ConnectionClosed, "")]);
    assert_eq!(session(&solo, "bob"), "s");
    solo.take();
    // Another peer cannot speak for bob.
    let (_, session) = call(&mut solo, 1, "bob");
    solo.take();
    solo.signal(&id("eve"), &bye(&session, "ERR_DENIED", ""));
    solo.signal(&id("eve"), &answer(&session));
    assert_eq!((solo.events(), solo.transports()), (vec![], vec![]));
}

#[test]
fn what_was_said_during_an_outage_is_said_after_it() {
    let mut solo = solo(|_| {});
    solo.run(ms(3000));
    solo.signal(&id("bob"), &offer("s"));
    let transport = made(&solo);
    solo.broker(BrokerInput::Closed { reason: "restart".into() });
    solo.take();
    solo.transport(transport, described("our answer"));
    solo.transport(transport, TransportInput::Candidate(address("one")));
    assert_eq!(solo.said(), []);
    solo.run(ms(100));
    solo.register();
    assert_eq!(bodies(&solo), [Body::Answer { sdp: "our answer".into() }, Body::Candidate(address("one"))]);
}
