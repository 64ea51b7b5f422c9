//! More than one call between the same two peers: one rule a test. All interleavings are in `simulation`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::*;
use linkup_core::{BrokerInput, Command, ConnectionId, Event, Output, TransportCommand, TransportInput};
use linkup_proto::signal::Body;
use linkup_proto::{Error, ErrorCode};
use serde_json::{Value, json};

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
            solo.command(Command::Answer { connection, verdict: Err(Error::new(ErrorCode::Denied, "no")) });
        }
        solo.transport(transport, described("our answer"));
        assert_eq!(bodies(&solo), [Body::Answer { sdp: "our answer".into() }]);
        solo.transport(transport, TransportInput::Open);
        let ours = |event: &Event| matches!(event, Event::Open { connection: ConnectionId(1), incoming: false, .. });
        assert!(solo.events().iter().any(ours));
    }
}

#[test]
fn a_call_that_takes_over_anothers_has_all_its_time() {
    let mut solo = solo(|_| {});
    solo.signal(&id("bob"), &offer("s"));
    solo.run(ms(14_000));
    connect(&mut solo, 1, "bob");
    solo.run(ms(14_999));
    assert_eq!(closed(&solo, ConnectionId(1)), None);
    solo.run(ms(1));
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::ConnectTimeout));
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
    let answer = TransportCommand::Answer { sdp: "offer hers".into(), linkup: true, rate: None };
    assert_eq!(solo.transports(), [(loser, TransportCommand::Abort), (winner, answer)]);
    solo.transport(winner, described("our answer"));
    assert_eq!(session(&solo, "ann"), "hers");
    solo.transport(winner, TransportInput::Open);
    assert!(matches!(solo.events()[..], [Event::Open { connection: ConnectionId(2), incoming: false, .. }]));
}

#[test]
fn an_offer_that_left_before_the_outage_still_wins_after_it() {
    let mut solo = solo(|_| {});
    solo.run(ms(3000));
    call(&mut solo, 1, "zoe");
    solo.broker(BrokerInput::Closed { reason: "restart".into() });
    solo.run(ms(2000));
    solo.broker(BrokerInput::Connected);
    solo.take();
    solo.signal(&id("zoe"), &offer("hers"));
    assert_eq!(solo.transports(), []);
}

#[test]
fn a_winner_that_has_sent_nothing_yet_takes_the_others_offer() {
    let mut solo = solo(|_| {});
    connect(&mut solo, 1, "zoe");
    let transport = made(&solo);
    solo.signal(&id("zoe"), &offer("hers"));
    assert!(is_aborted(&solo, transport));
    // The broker's late answer to our question, or none, changes nothing.
    solo.run(ms(10_500));
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
fn an_answer_about_the_first_call_is_nothing_to_the_second() {
    let mut solo = solo(|_| {});
    connect(&mut solo, 1, "bob");
    let asked = solo.frames().pop().unwrap().id;
    let transport = made(&solo);
    solo.transport(transport, described("our offer"));
    let session = session(&solo, "bob");
    solo.signal(&id("bob"), &bye(&session, "ERR_ABORTED", ""));
    assert_eq!(finds(&solo), ["bob", "bob"]);
    solo.broker(BrokerInput::Text(json!({"id": asked, "message": null, "error": null}).to_string()));
    assert_eq!(closed(&solo, ConnectionId(1)), None);
}

#[test]
fn calling_again_gives_no_more_time() {
    let mut solo = solo(|_| {});
    let (_, session) = call(&mut solo, 1, "bob");
    solo.run(ms(10_000));
    solo.signal(&id("bob"), &bye(&session, "ERR_CONNECTION_CLOSED", ""));
    solo.answer_last(json!("bob"));
    solo.run(ms(4_999));
    assert_eq!(closed(&solo, ConnectionId(1)), None);
    solo.run(ms(1));
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::ConnectTimeout));
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
