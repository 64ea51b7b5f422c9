//! Calling and being called: one rule a test. What two peers make of each other's timing is in `simulation`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::*;
use linkup_core::{BrokerInput, Command, ConnectionId, Event, Output, TransportCommand, TransportInput};
use linkup_proto::limits::{MAX_INCOMING_ATTEMPTS, MAX_REMOTE_CANDIDATES};
use linkup_proto::signal::{Body, VERSION};
use linkup_proto::{Error, ErrorCode};
use linkup_testkit::Solo;
use serde_json::{Value, json};

fn requests(solo: &Solo) -> Vec<ConnectionId> {
    let requests = solo.events().into_iter().filter_map(|event| match event {
        Event::Request { connection, .. } => Some(connection),
        _ => None,
    });
    requests.collect()
}

fn bodies(solo: &Solo) -> Vec<Body> {
    solo.signals().into_iter().map(|(_, signal)| signal.body).collect()
}

fn bye_body(code: ErrorCode, reason: &str) -> Body {
    Body::Bye { code, reason: reason.into() }
}

#[test]
fn nobody_calls_himself() {
    let mut solo = solo(|_| {});
    connect(&mut solo, 1, "me");
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::ConnectSelf));
    solo.take();
    solo.signal(&id("me"), &offer("s"));
    assert_eq!(solo.said(), []);
}

#[test]
fn question_and_offer_leave_in_one_flight() {
    let mut solo = solo(|config| config.metadata = Some(json!({"name": "Me"})));
    connect(&mut solo, 1, "bob");
    assert_eq!(finds(&solo), ["bob"]);
    let transport = made(&solo);
    // One candidate is faster than the description.
    solo.transport(transport, TransportInput::Candidate(address("one")));
    assert_eq!(solo.signals(), []);
    solo.transport(transport, described("our offer"));
    solo.transport(transport, TransportInput::Candidate(address("two")));
    solo.transport(transport, TransportInput::Candidate(address("")));
    let offer = Body::Offer { sdp: "our offer".into() };
    let candidates = ["one", "two"].map(|text| Body::Candidate(address(text)));
    assert_eq!(bodies(&solo), [vec![offer], candidates.to_vec()].concat());
    for (index, (to, signal)) in solo.signals().into_iter().enumerate() {
        assert_eq!(to, id("bob"));
        let linkup = signal.linkup.unwrap();
        assert_eq!((linkup.version, linkup.session.len()), (VERSION, 32));
        assert_eq!(linkup.metadata, (index == 0).then(|| json!({"name": "Me"})));
    }
}

#[test]
fn without_trickle_the_description_has_everything() {
    let mut solo = solo(|config| config.trickle = false);
    let (transport, _) = call(&mut solo, 1, "bob");
    solo.transport(transport, TransportInput::Candidate(address("one")));
    assert_eq!(bodies(&solo).len(), 1);
}

#[test]
fn the_application_may_change_the_description() {
    let mut solo = solo(|config| config.transforms = true);
    connect(&mut solo, 1, "bob");
    let transport = made(&solo);
    solo.transport(transport, described("as made"));
    solo.transport(transport, TransportInput::Candidate(address("one")));
    assert!(solo.events().contains(&Event::Transform { transport, sdp: "as made".into() }));
    assert_eq!(solo.signals(), []);
    for sdp in ["changed", "changed again"] {
        solo.command(Command::Transformed { transport, sdp: sdp.into() });
    }
    assert_eq!(bodies(&solo), [Body::Offer { sdp: "changed".into() }, Body::Candidate(address("one"))]);
}

#[test]
fn an_answered_call_opens_before_it_starts() {
    let mut solo = solo(|_| {});
    let (transport, session) = call(&mut solo, 1, "bob");
    solo.take();
    solo.signal(&id("bob"), &candidate(&session, "early"));
    assert_eq!(solo.said(), []);
    solo.signal(&id("bob"), &answer(&session));
    solo.signal(&id("bob"), &candidate(&session, "late"));
    solo.signal(&id("bob"), &answer(&session));
    let sdp = format!("answer {session}");
    let add = |text: &str| TransportCommand::AddCandidate(address(text));
    let expected = [TransportCommand::SetAnswer { sdp }, add("early"), add("late")];
    assert_eq!(solo.transports(), expected.map(|command| (transport, command)));
    solo.take();
    solo.transport(transport, TransportInput::Open);
    let open = Event::Open {
        connection: ConnectionId(1),
        remote: id("bob"),
        incoming: false,
        metadata: Some(json!({"of": session})),
        linkup: true,
    };
    let start = TransportCommand::Start { connection: ConnectionId(1) };
    assert_eq!(solo.take(), [Output::Event(open), Output::Transport { transport, command: start }]);
    solo.run(ms(20_000));
    assert_eq!((solo.events(), solo.signals()), (vec![], vec![]), "no deadline of the attempt is left");
}

#[test]
fn an_unknown_peer_is_refused_in_one_round_trip() {
    let mut solo = solo(|_| {});
    connect(&mut solo, 1, "bob");
    let transport = made(&solo);
    solo.answer_last(Value::Null);
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::PeerNotFound));
    assert!(is_aborted(&solo, transport));
}

#[test]
fn the_brokers_error_about_a_peer_keeps_its_code() {
    let mut solo = solo(|_| {});
    connect(&mut solo, 1, "bob");
    let asked = solo.frames().pop().unwrap().id;
    let error = json!({"code": "ERR_NOT_AUTHORIZED", "message": "no"});
    solo.broker(BrokerInput::Text(json!({"id": asked, "message": null, "error": error}).to_string()));
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::NotAuthorized));
}

#[test]
fn a_broker_that_does_not_say_whether_the_peer_is_there() {
    let mut solo = solo(|_| {});
    connect(&mut solo, 1, "bob");
    solo.run(ms(9_999));
    assert_eq!(closed(&solo, ConnectionId(1)), None);
    solo.run(ms(1));
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::BrokerUnreachable));
}

fn back_after_an_outage() -> Solo {
    let mut solo = solo(|_| {});
    solo.run(ms(3000));
    solo.broker(BrokerInput::Closed { reason: "restart".into() });
    solo.run(ms(100));
    solo.register();
    solo.take();
    solo
}

#[test]
fn after_an_outage_others_get_time_to_come_back() {
    let mut solo = back_after_an_outage();
    connect(&mut solo, 1, "bob");
    let transport = made(&solo);
    solo.transport(transport, described("our offer"));
    for asked in 1..=20 {
        assert_eq!(finds(&solo).len(), asked);
        assert_eq!(closed(&solo, ConnectionId(1)), None);
        solo.answer_last(Value::Null);
        solo.run(ms(100));
    }
    solo.answer_last(Value::Null);
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::PeerNotFound));
}

#[test]
fn who_comes_back_late_gets_the_offer_again() {
    let mut solo = back_after_an_outage();
    connect(&mut solo, 1, "bob");
    let transport = made(&solo);
    solo.transport(transport, described("our offer"));
    solo.transport(transport, TransportInput::Candidate(address("one")));
    let everything = bodies(&solo);
    solo.answer_last(Value::Null);
    solo.run(ms(100));
    let before = bodies(&solo).len();
    solo.answer_last(json!("bob"));
    assert_eq!(bodies(&solo)[before..], everything);
}

#[test]
fn an_attempts_time_counts_from_the_registration() {
    let mut solo = Solo::new(&id("me"), |_| {});
    connect(&mut solo, 1, "bob");
    solo.run(ms(9_000));
    solo.register();
    solo.answer_last(json!("bob"));
    let transport = made(&solo);
    solo.run(ms(14_999));
    assert_eq!(closed(&solo, ConnectionId(1)), None);
    solo.run(ms(1));
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::ConnectTimeout));
    assert!(is_aborted(&solo, transport));
}

#[test]
fn a_transport_that_fails_ends_the_attempt_and_both_sides_hear_why() {
    let mut solo = solo(|_| {});
    let (transport, session) = call(&mut solo, 1, "bob");
    solo.signal(&id("bob"), &answer(&session));
    solo.take();
    solo.transport(transport, failed(ErrorCode::IceFailed));
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::IceFailed));
    assert!(is_aborted(&solo, transport));
    // The error's text may name our addresses: it stays here.
    assert_eq!(bodies(&solo), [bye_body(ErrorCode::IceFailed, "")]);
}

#[test]
fn an_attempt_says_everything_again_until_it_is_through() {
    let mut solo = solo(|_| {});
    let (transport, session) = call(&mut solo, 1, "bob");
    solo.transport(transport, TransportInput::Candidate(address("one")));
    let everything = bodies(&solo);
    solo.take();
    solo.run(ms(2000));
    assert_eq!(bodies(&solo), everything);
    solo.signal(&id("bob"), &answer(&session));
    solo.take();
    solo.run(ms(2000));
    assert_eq!(bodies(&solo), everything[1..], "an answered offer stays answered");
}

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
    let request = Event::Request { connection, from: id("bob"), metadata: Some(json!({"of": "s"})) };
    assert_eq!(solo.take(), [Output::Event(request)]);
    solo.command(Command::Answer { connection, verdict: Ok(()) });
    solo.command(Command::Answer { connection, verdict: Err("too late".into()) });
    let transport = made(&solo);
    let expected =
        [TransportCommand::Answer { sdp: "offer s".into() }, TransportCommand::AddCandidate(address("early"))];
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
    called.command(Command::Answer { connection, verdict: Err("busy".into()) });
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
            for _ in 0..2 {
                solo.signal(&id("bob"), &candidate("s", &format!("number {number}")));
            }
            solo.signal(&id("bob"), &candidate("s", ""));
        }
        if let Some(connection) = requests(&solo).pop() {
            solo.command(Command::Answer { connection, verdict: Ok(()) });
        }
        let transport = made(&solo);
        let added = |solo: &Solo| {
            let adds = |command: &TransportCommand| matches!(command, TransportCommand::AddCandidate(_));
            solo.transports().iter().filter(|(_, command)| adds(command)).count()
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
fn calls_to_one_peer_share_one_attempt() {
    let mut solo = solo(|_| {});
    let (transport, session) = call(&mut solo, 1, "bob");
    for connection in 2..5 {
        connect(&mut solo, connection, "bob");
    }
    assert_eq!(solo.transports().len(), 1);
    // The first one is given up; the others go on.
    close(&mut solo, ConnectionId(1), Some((ErrorCode::Aborted, "enough")));
    close(&mut solo, ConnectionId(4), None);
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::Aborted));
    assert_eq!(closed_code(&solo, ConnectionId(4)), Some(ErrorCode::ConnectionClosed));
    solo.signal(&id("bob"), &answer(&session));
    solo.take();
    solo.transport(transport, TransportInput::Open);
    let existing = ConnectionId(2);
    connect(&mut solo, 6, "bob");
    let events = solo.events();
    assert!(matches!(events[0], Event::Open { connection, incoming: false, .. } if connection == existing));
    assert_eq!(events[1..], [3, 6].map(|number| Event::Joined { connection: ConnectionId(number), existing }));
}

#[test]
fn a_shared_attempt_fails_for_everybody() {
    let mut solo = solo(|_| {});
    connect(&mut solo, 1, "bob");
    connect(&mut solo, 2, "bob");
    let asked = solo.frames().pop().unwrap().id;
    solo.broker(BrokerInput::Text(json!({"id": asked, "message": null, "error": null}).to_string()));
    for connection in [1, 2] {
        assert_eq!(closed_code(&solo, ConnectionId(connection)), Some(ErrorCode::PeerNotFound));
    }
}

#[test]
fn who_calls_a_caller_agrees() {
    for asks in [false, true] {
        let mut solo = solo(|config| config.asks = asks);
        solo.signal(&id("bob"), &offer("s"));
        let old = requests(&solo).pop();
        connect(&mut solo, 1, "bob");
        assert!(finds(&solo).is_empty(), "there is an offer already");
        let transport = made(&solo);
        if let Some(connection) = old {
            solo.command(Command::Answer { connection, verdict: Err("no".into()) });
        }
        solo.transport(transport, described("our answer"));
        assert_eq!(bodies(&solo), [Body::Answer { sdp: "our answer".into() }]);
        solo.transport(transport, TransportInput::Open);
        let ours = |event: &Event| matches!(event, Event::Open { connection: ConnectionId(1), incoming: false, .. });
        assert!(solo.events().iter().any(ours));
    }
}

#[test]
fn who_calls_a_connected_peer_joins_it() {
    let mut solo = solo(|_| {});
    let (existing, _) = open_incoming(&mut solo, "bob", "s");
    connect(&mut solo, 1, "bob");
    assert_eq!(solo.take(), [Output::Event(Event::Joined { connection: ConnectionId(1), existing })]);
}

#[test]
fn the_smaller_id_wins_and_says_so_again() {
    // "me" is smaller than "zoe".
    let mut solo = solo(|config| config.asks = true);
    let (transport, _) = call(&mut solo, 1, "zoe");
    let ours = bodies(&solo);
    solo.take();
    solo.signal(&id("zoe"), &offer("hers"));
    assert_eq!((solo.events(), solo.transports(), bodies(&solo)), (vec![], vec![], ours));
    solo.signal(&id("zoe"), &candidate("hers", "one"));
    assert_eq!(solo.transports(), []);
    // "ann" is smaller than "me".
    connect(&mut solo, 2, "ann");
    let loser = made(&solo);
    assert_ne!(loser, transport);
    solo.transport(loser, described("our offer"));
    solo.take();
    solo.signal(&id("ann"), &offer("hers"));
    let winner = made(&solo);
    let answer = TransportCommand::Answer { sdp: "offer hers".into() };
    assert_eq!(solo.transports(), [(loser, TransportCommand::Abort), (winner, answer)]);
    solo.transport(winner, described("our answer"));
    assert_eq!(session(&solo, "ann"), "hers");
    solo.transport(winner, TransportInput::Open);
    assert!(matches!(solo.events()[..], [Event::Open { connection: ConnectionId(2), incoming: false, .. }]));
}

#[test]
fn a_winner_that_has_sent_nothing_yet_takes_the_others_offer() {
    let mut solo = solo(|_| {});
    connect(&mut solo, 1, "zoe");
    let transport = made(&solo);
    solo.signal(&id("zoe"), &offer("hers"));
    assert!(is_aborted(&solo, transport));
    // The broker's late answer to our question changes nothing.
    solo.answer_last(Value::Null);
    assert_eq!(closed(&solo, ConnectionId(1)), None);
    let transport = made(&solo);
    solo.transport(transport, described("our answer"));
    solo.transport(transport, TransportInput::Open);
    assert!(matches!(solo.events()[..], [Event::Open { connection: ConnectionId(1), incoming: false, .. }]));
}

#[test]
fn a_caller_that_changes_its_mind_does_not_end_our_call() {
    let mut solo = solo(|_| {});
    solo.signal(&id("bob"), &offer("his"));
    connect(&mut solo, 1, "bob");
    let theirs = made(&solo);
    solo.take();
    solo.signal(&id("bob"), &bye("his", "ERR_ABORTED", ""));
    let ours = made(&solo);
    assert_eq!(solo.transports(), [(theirs, TransportCommand::Abort), (ours, TransportCommand::Offer)]);
    assert_eq!(finds(&solo), ["bob"]);
    // But there is an end to it: the same word about our own call is taken once.
    solo.transport(ours, described("our offer"));
    let called = session(&solo, "bob");
    solo.signal(&id("bob"), &bye(&called, "ERR_ABORTED", ""));
    let again = made(&solo);
    assert_ne!(again, ours);
    solo.transport(again, described("our offer"));
    let called = session(&solo, "bob");
    solo.signal(&id("bob"), &bye(&called, "ERR_ABORTED", "no"));
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::Aborted));
}

#[test]
fn a_peer_that_begins_anew_has_lost_the_old_connection() {
    let mut solo = solo(|_| {});
    let (transport, session) = open(&mut solo, 1, "zoe");
    solo.signal(&id("zoe"), &offer(&session));
    assert_eq!(solo.said(), []);
    solo.signal(&id("zoe"), &offer("anew"));
    assert!(is_aborted(&solo, transport));
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::ConnectionLost));
    let transport = made(&solo);
    solo.transport(transport, TransportInput::Open);
    assert!(matches!(solo.events()[..], [_, Event::Open { incoming: true, .. }]));
    // While it is only calling, the newest call counts.
    let mut solo = self::solo(|_| {});
    solo.signal(&id("zoe"), &offer("one"));
    let one = made(&solo);
    solo.signal(&id("zoe"), &offer("two"));
    assert!(is_aborted(&solo, one));
    assert_ne!(made(&solo), one);
    assert_eq!(solo.events(), []);
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

#[test]
fn an_open_connection_outlives_the_broker() {
    let mut solo = solo(|_| {});
    open(&mut solo, 1, "bob");
    solo.run(ms(3000));
    solo.broker(BrokerInput::Closed { reason: "gone".into() });
    for _ in 0..50 {
        solo.run(ms(800));
        solo.broker(BrokerInput::Failed { reason: "gone".into() });
    }
    assert_eq!(closed(&solo, ConnectionId(1)), None);
    connect(&mut solo, 2, "bob");
    assert!(solo.events().contains(&Event::Joined { connection: ConnectionId(2), existing: ConnectionId(1) }));
}

#[test]
fn what_a_forgotten_transport_says_is_passed_over() {
    let mut solo = solo(|_| {});
    let (transport, session) = call(&mut solo, 1, "bob");
    close(&mut solo, ConnectionId(1), None);
    solo.take();
    for input in [
        described("late"),
        TransportInput::Candidate(address("late")),
        TransportInput::Open,
        TransportInput::Closed,
        failed(ErrorCode::IceFailed),
        TransportInput::Finished { error: Some(Error::new(ErrorCode::CloseTimeout, "late")) },
    ] {
        solo.transport(transport, input);
    }
    assert_eq!(solo.said(), []);
    // The remote, whose kind was not known, hears of it when it answers.
    solo.signal(&id("bob"), &answer(&session));
    assert_eq!(bodies(&solo), [bye_body(ErrorCode::ConnectionClosed, "")]);
}
