//! ICE servers from the broker: asked for, waited for, renewed, bounded.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::time::Duration;

use common::*;
use linkup_core::{BrokerInput, Command, Output, TransportCommand};
use linkup_proto::broker::{IceServer, Request, Response};
use linkup_proto::{Error, ErrorCode};
use linkup_testkit::Solo;
use serde_json::{Value, json};

fn servers(solo: &Solo) -> Vec<Vec<IceServer>> {
    let servers = solo.said().iter().filter_map(|output| match output {
        Output::IceServers(servers) => Some(servers.clone()),
        _ => None,
    });
    servers.collect()
}

fn questions(solo: &Solo) -> usize {
    solo.frames().iter().filter(|frame| frame.request == Request::Ice).count()
}

fn answer_of(ttl: Value) -> Value {
    json!({"iceServers": [{"urls": ["turn:192.0.2.1"], "username": "u", "credential": "c"}], "ttl": ttl})
}

/// A peer that has asked for the servers when it registered. What it said is still there.
fn asking() -> Solo {
    let mut solo = Solo::new(&id("me"), |config| config.ice_from_broker = true);
    solo.register();
    assert_eq!(questions(&solo), 1);
    solo
}

#[test]
fn the_question_goes_with_the_registration() {
    let mut solo = Solo::new(&id("me"), |config| config.ice_from_broker = true);
    solo.broker(BrokerInput::Connected);
    let kinds: Vec<_> = solo.frames().into_iter().map(|frame| frame.request).collect();
    assert!(matches!(kinds[..], [Request::Register { .. }, Request::Ice]), "{kinds:?}");
}

#[test]
fn attempts_wait_for_the_first_answer_and_use_it() {
    let mut solo = asking();
    connect(&mut solo, 1, "bob");
    solo.signal(&id("carol"), &offer("s"));
    assert_eq!(solo.transports(), []);
    // The last request is the question: nobody asks for bob before.
    solo.answer_last(answer_of(json!(60)));
    let server =
        IceServer { urls: vec!["turn:192.0.2.1".into()], username: Some("u".into()), credential: Some("c".into()) };
    assert_eq!(servers(&solo), [vec![server]]);
    let made: Vec<_> = solo.transports().into_iter().map(|(_, command)| command).collect();
    assert_eq!(
        made,
        [TransportCommand::Offer, TransportCommand::Answer { sdp: "offer s".into(), linkup: true, rate: None }]
    );
    let at = |wanted: fn(&Output) -> bool| solo.said().iter().position(wanted);
    let known = at(|output| matches!(output, Output::IceServers(_)));
    assert!(known < at(|output| matches!(output, Output::Transport { .. })));
}

#[test]
fn a_broker_that_says_nothing_or_an_error_holds_up_nobody_for_long() {
    let mut solo = asking();
    connect(&mut solo, 1, "bob");
    solo.run(Duration::from_millis(299));
    assert_eq!(solo.transports(), []);
    solo.run(Duration::from_millis(1));
    assert_eq!(solo.transports().len(), 1);

    let mut solo = asking();
    connect(&mut solo, 1, "bob");
    let question = solo.frames().into_iter().rev().find_map(|frame| frame.id);
    let error = Error::new(ErrorCode::Unsupported, "unknown type");
    solo.broker(BrokerInput::Text(Response::error(question, error).to_text()));
    assert_eq!(solo.transports().len(), 1);
    assert_eq!(servers(&solo), Vec::<Vec<IceServer>>::new());
}

#[test]
fn who_has_not_accepted_a_caller_does_not_by_waiting() {
    let mut solo = Solo::new(&id("me"), |config| {
        config.ice_from_broker = true;
        config.asks = true;
    });
    solo.register();
    solo.signal(&id("bob"), &offer("s"));
    solo.signal(&id("carol"), &offer("t"));
    let [bob, _] = requests(&solo)[..] else { panic!("two requests") };
    solo.command(Command::Answer { connection: bob, verdict: Ok(()) });
    assert_eq!(solo.transports(), []);
    solo.answer_last(answer_of(Value::Null));
    assert_eq!(solo.transports().len(), 1, "only the one that was accepted");
}

#[test]
fn credentials_are_renewed_before_they_end_and_nobody_waits_for_that() {
    let mut solo = asking();
    // Before the broker is pinged, which nobody answers here.
    solo.answer_last(answer_of(json!(16)));
    solo.take();
    solo.run(Duration::from_millis(11_999));
    assert_eq!(questions(&solo), 0);
    solo.run(Duration::from_millis(1));
    assert_eq!(questions(&solo), 1);
    connect(&mut solo, 1, "bob");
    assert_eq!(solo.transports().len(), 1);
    // Without an answer, what is there is used on; with one, it goes on.
    let question = solo.frames().into_iter().find(|frame| frame.request == Request::Ice).and_then(|frame| frame.id);
    solo.broker(BrokerInput::Text(Response::ok(question, answer_of(json!(16))).to_text()));
    assert_eq!(servers(&solo).len(), 1);
}

#[test]
fn credentials_that_never_last_do_not_make_us_ask_all_the_time() {
    let mut solo = asking();
    solo.answer_last(answer_of(json!(0)));
    solo.take();
    solo.run(Duration::from_millis(9_999));
    assert_eq!(questions(&solo), 0);
}

#[test]
fn a_crowd_of_servers_is_cut() {
    let mut solo = asking();
    let server = json!({"urls": vec!["stun:192.0.2.1"; 100]});
    solo.answer_last(json!({"iceServers": vec![server; 100]}));
    let [servers] = &servers(&solo)[..] else { panic!("one answer") };
    assert_eq!((servers.len(), servers[0].urls.len()), (8, 8));
    // Nonsense is no answer.
    let mut solo = asking();
    solo.answer_last(json!({"iceServers": 7}));
    assert!(solo.said().iter().all(|output| !matches!(output, Output::IceServers(_))));
}

#[test]
fn whose_application_names_servers_does_not_ask() {
    let mut solo = Solo::new(&id("me"), |_| {});
    solo.register();
    assert_eq!(questions(&solo), 0);
    connect(&mut solo, 1, "bob");
    assert_eq!(solo.transports().len(), 1);
}

#[test]
fn after_an_outage_it_asks_again_and_uses_what_it_has_meanwhile() {
    let mut solo = asking();
    solo.answer_last(answer_of(json!(3600)));
    solo.run(Duration::from_secs(2));
    solo.broker(BrokerInput::Closed { reason: "gone".into() });
    solo.take();
    solo.run(Duration::from_secs(1));
    solo.register();
    assert_eq!(questions(&solo), 1);
    connect(&mut solo, 1, "bob");
    assert_eq!(solo.transports().len(), 1);
}
