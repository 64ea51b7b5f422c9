//! A connection that loses its transport and gets another: one rule a test. What follows of them all is in `simulation`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::*;
use linkup_core::{
    BrokerCommand, BrokerInput, Command, ConnectionId, Event, Output, TransportCommand, TransportId, TransportInput,
};
use linkup_proto::broker::Request;
use linkup_proto::signal::{Body, Signal};
use linkup_proto::{Error, ErrorCode};
use linkup_testkit::Solo;
use serde_json::{Value, json};

const ONE: ConnectionId = ConnectionId(1);

fn lost() -> TransportInput {
    TransportInput::Lost { error: Error::new(ErrorCode::ConnectionLost, "the cable is out") }
}

/// A signal about the transport `number` of a session.
fn numbered(mut signal: Value, session: &str, number: u32) -> String {
    signal["linkup"] = json!({"v": 1, "session": session, "transport": number});
    signal.to_string()
}

fn offer_of(session: &str, number: u32) -> String {
    numbered(json!({"type": "offer", "sdp": format!("offer {number}")}), session, number)
}

fn answer_of(session: &str, number: u32) -> String {
    numbered(json!({"type": "answer", "sdp": format!("answer {number}")}), session, number)
}

/// What was said to remotes about which transport.
fn said(solo: &Solo) -> Vec<(u32, Body)> {
    let about = |signal: &Signal| signal.linkup.as_ref().unwrap().transport;
    solo.signals().iter().map(|(_, signal)| (about(signal), signal.body.clone())).collect()
}

fn offered(sdp: &str) -> Body {
    Body::Offer { sdp: sdp.into() }
}

/// What the application has heard of connections.
fn told(solo: &Solo) -> Vec<Event> {
    let events = solo.events().into_iter();
    events.filter(|event| !matches!(event, Event::Offline { .. } | Event::Registered | Event::Error { .. })).collect()
}

/// An open connection of ours that has lost its transport, and calls for another one with `sdp`.
fn interrupted() -> (Solo, TransportId, String) {
    let mut solo = solo(|_| {});
    let (transport, session) = open(&mut solo, 1, "bob");
    solo.run(ms(10));
    solo.transport(transport, lost());
    let next = made(&solo);
    (solo, next, session)
}

#[test]
fn the_caller_calls_for_another_transport_and_the_application_hears_both() {
    let (mut solo, next, session) = interrupted();
    assert_eq!(solo.events(), [Event::Reconnecting { connection: ONE }]);
    solo.take();
    solo.transport(next, described("another"));
    assert_eq!(said(&solo), [(1, offered("another"))]);
    assert_eq!(common::session(&solo, "bob"), session);
    solo.take();
    let candidate = json!({"candidate": {"candidate": "candidate:1", "sdpMid": "0", "sdpMLineIndex": 0}});
    solo.signal(&id("bob"), &numbered(candidate.clone(), &session, 0));
    solo.signal(&id("bob"), &numbered(candidate, &session, 1));
    solo.signal(&id("bob"), &answer_of(&session, 0));
    assert_eq!(solo.transports(), [], "not yet, and nothing of another one");
    solo.signal(&id("bob"), &answer_of(&session, 1));
    let answered = TransportCommand::SetAnswer { sdp: "answer 1".into(), linkup: true };
    let added = TransportCommand::AddCandidate(address("candidate:1"));
    assert_eq!(solo.transports(), [(next, answered), (next, added)]);
    solo.take();
    solo.transport(next, TransportInput::Open);
    let started = Output::Transport { transport: next, command: TransportCommand::Start { connection: ONE } };
    assert_eq!(solo.take(), [started, Output::Event(Event::Reconnected { connection: ONE })]);
    solo.run(ms(60_000));
    assert!(told(&solo).is_empty() && solo.transports().is_empty() && said(&solo).is_empty(), "nothing waits any more");
}

/// One side is content with a new transport and the other never got it open, and closes it: that side goes on.
#[test]
fn a_transport_that_the_remote_gives_up_is_no_end_where_the_remote_goes_on() {
    let mut solo = solo(|_| {});
    let (transport, session) = open(&mut solo, 1, "bob");
    solo.transport(transport, TransportInput::Cut);
    solo.take();
    solo.run(ms(200));
    solo.signal(&id("bob"), &numbered(json!({"type": "resume"}), &session, 0));
    let next = made(&solo);
    assert_eq!(told(&solo), [Event::Reconnecting { connection: ONE }]);
    solo.take();
    solo.run(ms(1_000));
    solo.transport(next, described("another"));
    solo.signal(&id("bob"), &answer_of(&session, 1));
    solo.transport(next, TransportInput::Open);
    assert_eq!(told(&solo), [Event::Reconnected { connection: ONE }]);
}

#[test]
fn what_is_closed_here_meanwhile_does_not_come_back() {
    for whole in [false, true] {
        let mut solo = solo(|_| {});
        let (transport, session) = open(&mut solo, 1, "bob");
        solo.transport(transport, TransportInput::Cut);
        solo.command(if whole { Command::ClosePeer } else { Command::Close { connection: ONE, error: None } });
        solo.signal(&id("bob"), &numbered(json!({"type": "resume"}), &session, 0));
        solo.run(ms(300));
        assert_eq!(closed_code(&solo, ONE), Some(ErrorCode::ConnectionLost));
        assert!(!told(&solo).contains(&Event::Reconnecting { connection: ONE }));
    }
}

#[test]
fn so_it_is_where_the_caller_gives_it_up() {
    let mut solo = solo(|_| {});
    let (connection, transport) = open_incoming(&mut solo, "bob", "s");
    solo.transport(transport, TransportInput::Cut);
    solo.take();
    solo.run(ms(200));
    solo.signal(&id("bob"), &offer_of("s", 1));
    let next = made(&solo);
    solo.transport(next, described("our answer"));
    solo.transport(next, TransportInput::Open);
    assert_eq!(told(&solo), [Event::Reconnecting { connection }, Event::Reconnected { connection }]);
    // Without a word it is the end.
    solo.take();
    solo.transport(next, TransportInput::Cut);
    solo.run(ms(300));
    assert_eq!(closed_code(&solo, connection), Some(ErrorCode::ConnectionLost));
}

#[test]
fn the_called_side_asks_until_it_is_called() {
    let mut solo = solo(|_| {});
    let (connection, transport) = open_incoming(&mut solo, "bob", "s");
    solo.transport(transport, lost());
    assert_eq!(said(&solo), [(0, Body::Resume)]);
    assert!(solo.transports().is_empty());
    solo.take();
    solo.run(ms(2_000));
    assert_eq!(said(&solo), [(0, Body::Resume)], "again");
    solo.take();
    solo.signal(&id("bob"), &offer_of("s", 1));
    let next = made(&solo);
    solo.transport(next, described("our answer"));
    assert_eq!(said(&solo), [(1, Body::Answer { sdp: "our answer".into() })]);
    solo.take();
    solo.signal(&id("bob"), &offer_of("s", 1));
    assert_eq!(said(&solo).len(), 1, "it may have missed our answer");
    assert!(solo.transports().is_empty());
    solo.transport(next, TransportInput::Open);
    assert_eq!(solo.events(), [Event::Reconnected { connection }]);
}

#[test]
fn a_side_that_has_noticed_nothing_follows_the_other() {
    let mut called = solo(|_| {});
    let (_, transport) = open_incoming(&mut called, "bob", "s");
    called.signal(&id("bob"), &offer_of("s", 1));
    let next = made(&called);
    assert!(!is_aborted(&called, transport), "the old one is kept until the new one is there");
    called.transport(next, TransportInput::Open);
    assert!(is_aborted(&called, transport));

    let mut caller = solo(|_| {});
    let (_, session) = open(&mut caller, 1, "bob");
    let ask = numbered(json!({"type": "resume"}), &session, 0);
    caller.signal(&id("bob"), &ask);
    let next = made(&caller);
    caller.transport(next, described("another"));
    caller.take();
    caller.signal(&id("bob"), &ask);
    assert!(caller.transports().is_empty(), "one that it does not know of is on its way");
}

#[test]
fn offers_of_the_called_side_and_of_transports_that_are_over_mean_nothing() {
    let mut caller = solo(|_| {});
    let (_, session) = open(&mut caller, 1, "bob");
    caller.signal(&id("bob"), &offer_of(&session, 1));
    let mut called = solo(|_| {});
    open_incoming(&mut called, "bob", "s");
    called.signal(&id("bob"), &numbered(json!({"type": "resume"}), "s", 0));
    for solo in [&caller, &called] {
        assert!(solo.transports().is_empty() && solo.events().is_empty());
    }
    called.signal(&id("bob"), &offer_of("s", 2));
    called.take();
    called.signal(&id("bob"), &offer_of("s", 1));
    assert!(called.transports().is_empty());
}

#[test]
fn who_knows_nothing_of_the_connection_says_that_it_is_lost() {
    let mut solo = solo(|_| {});
    solo.signal(&id("bob"), &offer_of("s", 1));
    solo.signal(&id("bob"), &numbered(json!({"type": "resume"}), "s", 1));
    let bye = Body::Bye { code: ErrorCode::ConnectionLost, reason: String::new() };
    assert_eq!(said(&solo), [(0, bye.clone()), (0, bye)]);
    assert!(solo.events().is_empty());
    let (mut solo, _, session) = interrupted();
    solo.signal(&id("bob"), &common::bye(&session, "ERR_CONNECTION_LOST", ""));
    assert_eq!(closed_code(&solo, ONE), Some(ErrorCode::ConnectionLost));
}

#[test]
fn a_silent_transport_may_come_back() {
    let mut solo = solo(|_| {});
    let (connection, transport) = open_incoming(&mut solo, "bob", "s");
    solo.transport(transport, TransportInput::Silent);
    solo.transport(transport, TransportInput::Silent);
    solo.transport(transport, TransportInput::Heard);
    solo.transport(transport, TransportInput::Heard);
    assert_eq!(solo.events(), [Event::Reconnecting { connection }, Event::Reconnected { connection }]);
    solo.take();
    solo.run(ms(60_000));
    assert!(told(&solo).is_empty() && solo.transports().is_empty());
}

#[test]
fn a_transport_that_comes_back_is_kept_where_the_other_does_not_come() {
    let mut solo = solo(|_| {});
    let (transport, _) = open(&mut solo, 1, "bob");
    solo.transport(transport, TransportInput::Silent);
    let next = made(&solo);
    solo.transport(transport, TransportInput::Heard);
    assert!(!is_aborted(&solo, next), "the remote may not hear us");
    solo.run(ms(7_000));
    assert!(is_aborted(&solo, next) && !is_aborted(&solo, transport));
    assert_eq!(solo.events().last(), Some(&Event::Reconnected { connection: ONE }));
}

/// The broker shows that it is there.
fn alive(solo: &mut Solo) {
    solo.broker(BrokerInput::Text(json!({"id": "x", "message": null, "error": null}).to_string()));
}

#[test]
fn the_caller_tries_again_until_the_time_is_over() {
    let (mut solo, mut next, _) = interrupted();
    for _ in 0..3 {
        solo.take();
        solo.transport(next, failed(ErrorCode::IceFailed));
        assert!(solo.transports().iter().all(|(_, command)| *command == TransportCommand::Abort), "a pause");
        alive(&mut solo);
        solo.run(ms(500));
        next = made(&solo);
    }
    solo.take();
    alive(&mut solo);
    solo.run(ms(7_000));
    assert!(is_aborted(&solo, next) && made(&solo) != next, "one that does not come up in time");
    alive(&mut solo);
    solo.run(ms(14_000));
    alive(&mut solo);
    solo.run(ms(30_000 - 1_500 - 21_000 - 1));
    assert_eq!(closed(&solo, ONE), None);
    solo.run(ms(1));
    assert_eq!(closed_code(&solo, ONE), Some(ErrorCode::ConnectionLost));
    assert!(closed(&solo, ONE).unwrap().unwrap().message.contains("the cable is out"));
}

#[test]
fn without_a_broker_it_waits_for_one() {
    let mut solo = solo(|_| {});
    let (transport, _) = open(&mut solo, 1, "bob");
    solo.broker(BrokerInput::Closed { reason: "gone".into() });
    solo.transport(transport, lost());
    assert!(solo.transports().is_empty());
    solo.run(ms(100));
    solo.broker(BrokerInput::Connected);
    solo.answer_last(json!("me"));
    made(&solo);
}

#[test]
fn the_broker_is_asked_at_once_whether_it_is_there_and_left_where_it_is_not() {
    let (mut solo, ..) = interrupted();
    assert!(solo.frames().iter().any(|frame| frame.request == Request::Ping));
    solo.take();
    solo.run(ms(1_000));
    let commands = |solo: &Solo, wanted: &BrokerCommand| {
        solo.said().iter().filter(|output| matches!(output, Output::Broker(command) if command == wanted)).count()
    };
    assert_eq!(commands(&solo, &BrokerCommand::Close), 1);
    solo.take();
    // One that cannot be reached is tried again soon: the network may be back at any moment.
    solo.run(ms(2_200));
    assert_eq!(commands(&solo, &BrokerCommand::Close), 1);
    solo.run(ms(1_000));
    assert!(commands(&solo, &BrokerCommand::Connect { index: 0 }) >= 2);
}

/// Answers the broker's questions after `id`, as long as there are any.
fn answer_finds(solo: &mut Solo, there: bool) -> usize {
    let answer = if there { json!("bob") } else { Value::Null };
    let asked = solo.frames().into_iter().filter(|frame| matches!(frame.request, Request::Find { .. }));
    let ids: Vec<_> = asked.filter_map(|frame| frame.id).collect();
    solo.take();
    for id in &ids {
        let response = json!({"id": id, "message": answer, "error": null});
        solo.broker(BrokerInput::Text(response.to_string()));
    }
    ids.len()
}

#[test]
fn a_remote_that_is_not_registered_any_more_is_gone() {
    let (mut solo, ..) = interrupted();
    assert_eq!(answer_finds(&mut solo, false), 1);
    for _ in 0..2 {
        assert_eq!(closed(&solo, ONE), None, "it may be about to come back");
        solo.run(ms(1_500));
        assert_eq!(answer_finds(&mut solo, false), 1);
    }
    assert_eq!(closed_code(&solo, ONE), Some(ErrorCode::ConnectionLost));
}

#[test]
fn a_remote_that_is_registered_is_waited_for() {
    let (mut solo, ..) = interrupted();
    for round in 0..10 {
        assert_eq!(answer_finds(&mut solo, round % 2 == 1), 1);
        // The broker shows that it is there.
        solo.run(ms(1_500));
    }
    assert_eq!(closed(&solo, ONE), None);
}

#[test]
fn a_broker_that_has_forgotten_everybody_is_not_asked() {
    let mut solo = solo(|_| {});
    let (transport, _) = open(&mut solo, 1, "bob");
    solo.broker(BrokerInput::Closed { reason: "restart".into() });
    solo.run(ms(100));
    solo.broker(BrokerInput::Connected);
    solo.answer_last(json!("me"));
    solo.take();
    solo.transport(transport, lost());
    assert_eq!(finds(&solo).len(), 0);
    // Whoever has spoken through it is known to it.
    solo.signal(&id("bob"), &numbered(json!({"type": "resume"}), "s", 7));
    solo.run(ms(2_000));
    assert_eq!(finds(&solo).len(), 1);
}

#[test]
fn a_close_goes_on_over_the_next_transport() {
    let (mut solo, next, session) = interrupted();
    close(&mut solo, ONE, None);
    solo.transport(next, described("another"));
    solo.signal(&id("bob"), &answer_of(&session, 1));
    solo.take();
    solo.transport(next, TransportInput::Open);
    let start = TransportCommand::Start { connection: ONE };
    assert_eq!(solo.transports(), [(next, start), (next, TransportCommand::Close)]);
    assert!(solo.events().is_empty(), "nobody waits for messages any more");
    solo.transport(next, TransportInput::Finished { error: None });
    assert_eq!(closed(&solo, ONE), Some(None));
}

#[test]
fn a_close_without_another_transport_is_late() {
    let (mut solo, ..) = interrupted();
    close(&mut solo, ONE, None);
    solo.run(ms(6_000));
    assert_eq!(closed_code(&solo, ONE), Some(ErrorCode::CloseTimeout));
}

#[test]
fn a_transport_that_is_lost_while_it_closes_has_a_successor() {
    let mut solo = solo(|_| {});
    let (transport, _) = open(&mut solo, 1, "bob");
    close(&mut solo, ONE, None);
    solo.transport(transport, lost());
    made(&solo);
    assert!(solo.events().is_empty());
}

#[test]
fn a_remote_that_has_moved_over_first_ends_only_the_old_transport() {
    let mut solo = solo(|_| {});
    let (connection, transport) = open_incoming(&mut solo, "bob", "s");
    solo.signal(&id("bob"), &offer_of("s", 1));
    let next = made(&solo);
    solo.transport(transport, TransportInput::Cut);
    solo.transport(next, TransportInput::Open);
    let start = TransportCommand::Start { connection };
    assert_eq!(solo.transports().last(), Some(&(next, start)));
    assert_eq!(solo.events(), [], "there was nothing to notice");
}

#[test]
fn who_cannot_resume_loses_the_connection_at_once() {
    for zero in [true, false] {
        let mut solo = solo(|config| {
            if zero {
                config.timeouts.resume = Duration::ZERO;
            }
        });
        let (transport, session) = call(&mut solo, 1, "bob");
        let linkup = json!({"v": 1, "session": session, "receive": {"message": 1, "window": 1, "resume": zero}});
        let answer = json!({"type": "answer", "sdp": "answer", "linkup": linkup});
        solo.signal(&id("bob"), &answer.to_string());
        solo.transport(transport, TransportInput::Open);
        solo.transport(transport, TransportInput::Silent);
        solo.transport(transport, lost());
        assert_eq!(closed_code(&solo, ONE), Some(ErrorCode::ConnectionLost));
        let said = solo.events();
        assert!(!said.iter().any(|event| matches!(event, Event::Reconnecting { .. })), "{said:?}");
    }
}

/// A connection of ours over a TURN server.
fn turned() -> (Solo, TransportId, String) {
    let mut solo = solo(|_| {});
    let (transport, session) = open(&mut solo, 1, "bob");
    solo.transport(transport, TransportInput::Path { turn: true });
    solo.take();
    (solo, transport, session)
}

/// The transport that is to be a direct one, where the machine has asked for it at that moment.
fn direct(solo: &Solo) -> Option<TransportId> {
    let asked = solo.transports().into_iter().find(|(_, command)| *command == TransportCommand::OfferDirect);
    asked.map(|(transport, _)| transport)
}

#[test]
fn a_turn_server_is_left_for_a_direct_way_and_nobody_is_told() {
    let (mut solo, _, session) = turned();
    solo.run(ms(4_900));
    assert_eq!(direct(&solo), None, "not yet");
    solo.run(ms(100));
    let next = direct(&solo).expect("a call without servers");
    solo.transport(next, described("direct"));
    assert_eq!(said(&solo), [(1, offered("direct"))]);
    solo.signal(&id("bob"), &answer_of(&session, 1));
    solo.take();
    solo.transport(next, TransportInput::Open);
    assert!(solo.transports().contains(&(next, TransportCommand::Start { connection: ONE })));
    assert_eq!(told(&solo), []);
    solo.take();
    solo.run(ms(600_000));
    assert_eq!(direct(&solo), None, "there is nothing better");
}

#[test]
fn a_direct_way_is_looked_for_ever_more_seldom() {
    let (mut solo, _, _) = turned();
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let asked = (1..=400).find(|_| {
            alive(&mut solo);
            solo.run(ms(1000));
            direct(&solo).is_some()
        });
        pauses.push(asked.expect("it looks again"));
        let next = made(&solo);
        solo.take();
        solo.transport(next, failed(ErrorCode::IceFailed));
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    assert_eq!(told(&solo), []);
}

/// A browser goes on checking pairs that it does not use: each check comes from another address than the data, and has the
/// driver look at the path again.
#[test]
fn a_path_that_is_said_again_puts_off_nothing() {
    let (mut solo, transport, _) = turned();
    for _ in 0..4 {
        solo.run(ms(1_200));
        solo.transport(transport, TransportInput::Path { turn: true });
    }
    assert_eq!(direct(&solo), None, "not yet");
    solo.run(ms(200));
    assert!(direct(&solo).is_some(), "a call without servers");
}

#[test]
fn what_is_silent_meanwhile_does_not_wait_for_a_direct_way() {
    let (mut solo, transport, _) = turned();
    solo.run(ms(5_000));
    let next = direct(&solo).expect("a call without servers");
    solo.take();
    solo.transport(transport, TransportInput::Silent);
    assert!(is_aborted(&solo, next));
    assert!(matches!(solo.transports().last(), Some((_, TransportCommand::Offer))), "{:?}", solo.transports());
    assert_eq!(told(&solo), [Event::Reconnecting { connection: ONE }]);
}

#[test]
fn only_the_caller_looks_for_a_direct_way_and_only_where_both_can_resume() {
    let mut called = solo(|_| {});
    let (_, transport) = open_incoming(&mut called, "bob", "s");
    let mut unable = solo(|config| config.timeouts.resume = Duration::ZERO);
    let (ours, _) = open(&mut unable, 1, "bob");
    for (solo, transport) in [(&mut called, transport), (&mut unable, ours)] {
        solo.transport(transport, TransportInput::Path { turn: true });
        solo.take();
        solo.run(ms(60_000));
        assert!(solo.transports().is_empty(), "{:?}", solo.transports());
    }
}

#[test]
fn a_called_remote_that_needs_any_way_does_not_wait_for_a_direct_one() {
    for behind in [0, 1] {
        let (mut solo, _, session) = turned();
        solo.run(ms(5_000));
        let next = direct(&solo).expect("a call without servers");
        solo.take();
        solo.signal(&id("bob"), &numbered(json!({"type": "resume"}), &session, behind));
        assert_eq!(is_aborted(&solo, next), behind == 0, "one that it does not know of is on its way");
        assert_eq!(solo.transports().iter().any(|(_, command)| *command == TransportCommand::Offer), behind == 0);
        assert_eq!(told(&solo), [], "it works here");
    }
}

#[test]
fn a_remote_that_moves_over_to_the_better_way_first_is_no_interruption() {
    for comes in [true, false] {
        let (mut solo, transport, session) = turned();
        solo.run(ms(5_000));
        let next = direct(&solo).expect("a call without servers");
        solo.transport(next, described("direct"));
        solo.signal(&id("bob"), &answer_of(&session, 1));
        solo.transport(transport, lost());
        assert_eq!(told(&solo), []);
        solo.take();
        solo.transport(next, if comes { TransportInput::Open } else { failed(ErrorCode::IceFailed) });
        let started = (next, TransportCommand::Start { connection: ONE });
        assert_eq!(solo.transports().contains(&started), comes);
        let expected = if comes { vec![] } else { vec![Event::Reconnecting { connection: ONE }] };
        assert_eq!(told(&solo), expected);
    }
}

#[test]
fn who_is_offered_another_transport_asks_for_none() {
    // A caller that looks for a direct way would drop it, and take any.
    let mut solo = solo(|_| {});
    open_incoming(&mut solo, "bob", "s");
    for number in [1, 2] {
        let next = json!({"type": "offer", "sdp": "next", "linkup": {"v": 1, "session": "s", "transport": number}});
        solo.signal(&id("bob"), &next.to_string());
        let transport = made(&solo);
        solo.transport(transport, described("next answer"));
        assert_eq!(bodies(&solo), [Body::Answer { sdp: "next answer".into() }]);
        solo.take();
    }
}
