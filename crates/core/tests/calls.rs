//! Calling: one rule a test. What two peers make of each other's timing is in `simulation`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::*;
use linkup_core::{BrokerInput, Command, ConnectionId, Event, Output, TransportCommand, TransportInput};
use linkup_proto::signal::{Body, VERSION};
use linkup_proto::{Error, ErrorCode};
use linkup_testkit::Solo;
use serde_json::{Value, json};

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
    let expected = [TransportCommand::SetAnswer { sdp, linkup: true }, add("early"), add("late")];
    assert_eq!(solo.transports(), expected.map(|command| (transport, command)));
    solo.take();
    solo.transport(transport, TransportInput::Open);
    let open = Event::Open {
        connection: ConnectionId(1),
        remote: id("bob"),
        incoming: false,
        metadata: Some(json!({"of": session})),
        identity: None,
        linkup: Some(linkup_testkit::RECEIVE),
        caller: true,
    };
    let start = TransportCommand::Start { connection: ConnectionId(1) };
    assert_eq!(solo.take(), [Output::Event(open), Output::Transport { transport, command: start }]);
    solo.transport(transport, TransportInput::Candidate(address("ours, late")));
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
fn an_answer_that_is_faster_than_the_brokers_gets_the_lost_candidates() {
    let mut solo = back_after_an_outage();
    connect(&mut solo, 1, "bob");
    let transport = made(&solo);
    solo.transport(transport, described("our offer"));
    solo.transport(transport, TransportInput::Candidate(address("one")));
    solo.answer_last(Value::Null);
    let session = session(&solo, "bob");
    solo.take();
    solo.signal(&id("bob"), &answer(&session));
    assert_eq!(bodies(&solo), [Body::Candidate(address("one"))]);
    solo.run(ms(1000));
    assert!(finds(&solo).is_empty());
}

#[test]
fn the_broker_is_asked_one_question_at_a_time() {
    let mut solo = back_after_an_outage();
    connect(&mut solo, 1, "bob");
    solo.answer_last(Value::Null);
    solo.broker(BrokerInput::Closed { reason: "again".into() });
    solo.take();
    while sockets(&solo).is_empty() {
        solo.run(ms(1));
    }
    solo.register();
    solo.run(ms(100));
    assert_eq!(finds(&solo), ["bob"]);
}

#[test]
fn a_call_goes_on_after_an_outage() {
    let mut solo = solo(|_| {});
    solo.run(ms(3000));
    call(&mut solo, 1, "bob");
    solo.broker(BrokerInput::Closed { reason: "restart".into() });
    solo.run(ms(100));
    solo.take();
    solo.register();
    assert_eq!(finds(&solo), ["bob"]);
    assert_eq!(bodies(&solo), [Body::Offer { sdp: "our offer".into() }]);
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
fn a_call_that_takes_too_long_says_how_far_it_got() {
    for (answers, said) in [(false, "it did not answer"), (true, "it answered, and no channel has opened")] {
        let mut solo = solo(|_| {});
        let (_, session) = call(&mut solo, 1, "bob");
        if answers {
            solo.signal(&id("bob"), &answer(&session));
        }
        solo.run(ms(15_000));
        let error = closed(&solo, ConnectionId(1)).flatten().expect("an error");
        assert_eq!(error.code, ErrorCode::ConnectTimeout);
        assert!(error.message.ends_with(said), "{}", error.message);
    }
}

#[test]
fn a_transport_that_fails_ends_the_attempt_and_both_sides_hear_why() {
    let mut solo = solo(|_| {});
    let (transport, session) = call(&mut solo, 1, "bob");
    solo.signal(&id("bob"), &answer(&session));
    solo.run(ms(7_501));
    solo.take();
    solo.transport(transport, failed(ErrorCode::IceFailed));
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::IceFailed));
    assert!(is_aborted(&solo, transport));
    // The error's text may name our addresses: it stays here.
    assert_eq!(bodies(&solo), [bye_body(ErrorCode::IceFailed, "")]);
    // An answer that cannot be read is reported by the call, and by nothing else.
    let (transport, session) = call(&mut solo, 2, "bob");
    solo.signal(&id("bob"), &answer(&session));
    solo.take();
    solo.transport(transport, failed(ErrorCode::Protocol));
    assert_eq!(closed_code(&solo, ConnectionId(2)), Some(ErrorCode::Protocol));
    assert_eq!(solo.events().len(), 1);
}

#[test]
fn a_path_that_is_not_found_soon_is_looked_for_once_more() {
    for remote_says_so in [false, true] {
        let fail = |solo: &mut Solo, transport, session: &str| match remote_says_so {
            true => solo.signal(&id("bob"), &bye(session, "ERR_ICE_FAILED", "")),
            false => solo.transport(transport, failed(ErrorCode::IceFailed)),
        };
        let mut solo = solo(|_| {});
        let (first, session) = call(&mut solo, 1, "bob");
        solo.signal(&id("bob"), &answer(&session));
        solo.run(ms(5_000));
        solo.take();
        fail(&mut solo, first, &session);
        assert_eq!(closed(&solo, ConnectionId(1)), None);
        assert!(is_aborted(&solo, first));
        let said = if remote_says_so { vec![] } else { vec![bye_body(ErrorCode::IceFailed, "")] };
        assert_eq!(bodies(&solo), said, "the remote's side of the first attempt ends");
        let second = made(&solo);
        assert_ne!(second, first);
        solo.take();
        solo.transport(second, described("again"));
        let again = common::session(&solo, "bob");
        assert_ne!(again, session);
        solo.signal(&id("bob"), &answer(&again));
        solo.take();
        fail(&mut solo, second, &again);
        if remote_says_so {
            assert_eq!(closed(&solo, ConnectionId(1)), None, "our own transport knows more about it");
            solo.run(ms(1_000));
        }
        assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::IceFailed), "once");
    }
}

#[test]
fn a_remote_that_closes_before_it_is_open_is_called_once_more() {
    let mut solo = solo(|_| {});
    let (first, session) = call(&mut solo, 1, "bob");
    solo.signal(&id("bob"), &answer(&session));
    solo.take();
    solo.transport(first, TransportInput::Closed);
    assert_eq!(closed(&solo, ConnectionId(1)), None);
    let second = made(&solo);
    assert_ne!(second, first);
    solo.signal(&id("bob"), &bye(&session, "ERR_ICE_FAILED", "why, and late"));
    assert_eq!(closed(&solo, ConnectionId(1)), None);
    solo.take();
    solo.transport(second, described("again"));
    let again = common::session(&solo, "bob");
    solo.signal(&id("bob"), &answer(&again));
    solo.transport(second, TransportInput::Closed);
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::ConnectionClosed), "once");
}

#[test]
fn a_second_attempt_without_time_left_fails_as_the_first() {
    let mut solo = solo(|_| {});
    let (transport, session) = call(&mut solo, 1, "bob");
    solo.signal(&id("bob"), &answer(&session));
    solo.run(ms(5_000));
    solo.transport(transport, failed(ErrorCode::IceFailed));
    solo.run(ms(9_999));
    assert_eq!(closed(&solo, ConnectionId(1)), None);
    solo.run(ms(1));
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::IceFailed));
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
