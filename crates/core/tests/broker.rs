//! The session with the broker: one rule a test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::*;
use linkup_core::{BrokerCommand, BrokerInput, Command, ConnectionId, Event, Output, Token};
use linkup_proto::ErrorCode;
use linkup_proto::broker::Request;
use linkup_testkit::Solo;
use serde_json::{Value, json};

fn gone(solo: &mut Solo) {
    solo.broker(BrokerInput::Closed { reason: "restart".into() });
}

fn refuse(solo: &mut Solo) {
    solo.broker(BrokerInput::Failed { reason: "nobody listens".into() });
}

fn offline(solo: &Solo) -> Vec<String> {
    let reasons = solo.events().into_iter().filter_map(|event| match event {
        Event::Offline { reason, .. } => Some(reason),
        _ => None,
    });
    reasons.collect()
}

fn settled(solo: &Solo, token: u32) -> Option<Result<bool, ErrorCode>> {
    solo.events().into_iter().find_map(|event| match event {
        Event::Settled { token: Token(t), result } if t == token => Some(result.map_err(|error| error.code)),
        _ => None,
    })
}

fn find(solo: &mut Solo, token: u32) {
    solo.command(Command::Find { token: Token(token), id: id("bob") });
}

fn errors(solo: &Solo) -> Vec<ErrorCode> {
    let errors = solo.events().into_iter().filter_map(|event| match event {
        Event::Error { error, remote: None } => Some(error.code),
        _ => None,
    });
    errors.collect()
}

fn pings(solo: &Solo) -> usize {
    solo.frames().into_iter().filter(|frame| frame.request == Request::Ping).count()
}

#[test]
fn registers_with_everything_that_the_broker_wants_to_know() {
    let mut solo = Solo::new(&id("me"), |config| config.token = Some("let me in".into()));
    assert_eq!(solo.take(), [Output::Broker(BrokerCommand::Connect { index: 0 })]);
    solo.broker(BrokerInput::Connected);
    let frame = solo.frames().remove(0);
    let request = Request::Register {
        id: id("me"),
        secret: Some("secret of me".into()),
        token: Some("let me in".into()),
        version: Some(1),
        proof: None,
    };
    assert_eq!(frame.request, request);
    let request_id = frame.id.unwrap();
    assert_eq!(request_id.len(), 36);
    solo.broker(BrokerInput::Text(json!({"id": "another", "message": "me", "error": null}).to_string()));
    assert_eq!(solo.events(), []);
    solo.broker(BrokerInput::Text(json!({"id": request_id, "message": "me", "error": null}).to_string()));
    assert_eq!(solo.events(), [Event::Registered]);
}

#[test]
fn a_broker_that_says_nothing_is_given_up() {
    for opens in [false, true] {
        let mut solo = Solo::new(&id("me"), |_| {});
        if opens {
            solo.run(ms(5000));
            solo.broker(BrokerInput::Connected);
        }
        solo.take();
        solo.run(ms(9_999));
        assert_eq!(solo.said(), []);
        solo.run(ms(1));
        assert_eq!(solo.said()[0], Output::Broker(BrokerCommand::Close));
        assert_eq!(offline(&solo).len(), 1);
        solo.run(ms(100));
        assert_eq!(sockets(&solo), [0]);
    }
}

#[test]
fn a_quiet_broker_is_pinged_and_a_dead_one_is_left() {
    let mut solo = solo(|_| {});
    solo.run(ms(14_999));
    assert_eq!(pings(&solo), 0);
    solo.run(ms(1));
    assert_eq!(pings(&solo), 1);
    solo.answer_last(json!("pong"));
    solo.take();
    solo.run(ms(14_999));
    assert_eq!(pings(&solo), 0);
    solo.run(ms(1 + 9_999));
    assert_eq!((pings(&solo), offline(&solo).len()), (1, 0));
    solo.run(ms(1));
    assert!(solo.said().contains(&Output::Broker(BrokerCommand::Close)));
    assert_eq!(offline(&solo).len(), 1);
}

#[test]
fn a_broker_that_talks_is_not_pinged() {
    let mut solo = solo(|_| {});
    for _ in 0..10 {
        solo.run(ms(10_000));
        solo.broker(BrokerInput::Text(json!({"message": {"type": "news"}}).to_string()));
    }
    assert_eq!(solo.said(), []);
}

#[test]
fn brokers_are_tried_in_order_at_once_and_then_with_growing_pauses() {
    let mut solo = Solo::new(&id("me"), |config| config.brokers = 3);
    for round in 0..7 {
        assert_eq!(sockets(&solo), [0], "round {round}");
        refuse(&mut solo);
        refuse(&mut solo);
        assert_eq!(sockets(&solo), [0, 1, 2]);
        solo.take();
        refuse(&mut solo);
        assert!(sockets(&solo).is_empty());
        let longest = (100 << round).min(800);
        solo.run(ms(longest / 2 - 1));
        assert!(sockets(&solo).is_empty(), "round {round} came too early");
        solo.run(ms(longest / 2 + 1));
    }
    // Who is back is back with the shortest pause.
    solo.register();
    solo.run(ms(2000));
    gone(&mut solo);
    solo.take();
    solo.run(ms(100));
    assert_eq!(sockets(&solo), [1], "the next one in the list");
    for _ in 0..3 {
        refuse(&mut solo);
    }
    solo.take();
    solo.run(ms(100));
    assert_eq!(sockets(&solo), [1]);
}

#[test]
fn a_lost_brokers_peers_do_not_come_back_in_one_millisecond() {
    let mut moments = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let mut solo = solo(|config| config.seed = seed);
        solo.run(ms(5000));
        gone(&mut solo);
        let retry = solo.events().into_iter().find_map(|event| match event {
            Event::Offline { retry_in, .. } => Some(retry_in),
            _ => None,
        });
        assert!(retry.unwrap() < ms(100));
        moments.insert(retry.unwrap().as_millis());
    }
    assert!(moments.len() > 60, "{moments:?}");
}

#[test]
fn a_broker_that_takes_and_drops_us_is_not_hammered() {
    let mut solo = solo(|_| {});
    gone(&mut solo);
    let mut sockets_asked = 0;
    for _ in 0..10_000 {
        if sockets(&solo).is_empty() {
            solo.run(ms(1));
        } else {
            sockets_asked += 1;
            solo.take();
            solo.register();
            gone(&mut solo);
        }
    }
    assert!(sockets_asked < 25, "{sockets_asked} sockets in 10 s");
}

#[test]
fn an_outage_is_told_once_and_so_is_its_end() {
    let mut solo = solo(|_| {});
    solo.run(ms(3000));
    gone(&mut solo);
    for _ in 0..20 {
        solo.run(ms(800));
        refuse(&mut solo);
    }
    assert_eq!(offline(&solo), ["restart"]);
    solo.take();
    solo.run(ms(800));
    solo.register();
    assert_eq!(solo.events(), [Event::Registered]);
    solo.run(ms(3000));
    solo.take();
    gone(&mut solo);
    assert_eq!(offline(&solo).len(), 1);
}

#[test]
fn without_any_broker_calls_fail_at_once_and_say_why() {
    let mut solo = Solo::new(&id("me"), |config| config.brokers = 2);
    connect(&mut solo, 1, "bob");
    find(&mut solo, 2);
    refuse(&mut solo);
    assert_eq!(closed(&solo, ConnectionId(1)), None, "there is another broker");
    refuse(&mut solo);
    let error = closed(&solo, ConnectionId(1)).unwrap().unwrap();
    assert_eq!(error.code, ErrorCode::BrokerUnreachable);
    assert!(error.message.contains("nobody listens"), "{error}");
    assert_eq!(settled(&solo, 2), Some(Err(ErrorCode::BrokerUnreachable)));
    assert_eq!(errors(&solo), []);
    // Later ones wait for the next round.
    solo.take();
    connect(&mut solo, 3, "bob");
    find(&mut solo, 4);
    assert_eq!(solo.said(), []);
    solo.run(ms(100));
    refuse(&mut solo);
    refuse(&mut solo);
    assert_eq!(closed_code(&solo, ConnectionId(3)), Some(ErrorCode::BrokerUnreachable));
    assert_eq!(settled(&solo, 4), Some(Err(ErrorCode::BrokerUnreachable)));
}

#[test]
fn without_any_broker_and_without_calls_there_is_one_error() {
    let mut solo = Solo::new(&id("me"), |_| {});
    for _ in 0..5 {
        refuse(&mut solo);
        solo.run(ms(800));
    }
    assert_eq!(errors(&solo), [ErrorCode::BrokerUnreachable]);
    assert_eq!(offline(&solo).len(), 1);
}

#[test]
fn during_an_outage_calls_wait_and_then_fail() {
    let mut solo = solo(|_| {});
    solo.run(ms(3000));
    find(&mut solo, 1);
    connect(&mut solo, 2, "bob");
    solo.run(ms(1000));
    gone(&mut solo);
    find(&mut solo, 3);
    connect(&mut solo, 4, "cid");
    for _ in 0..10 {
        refuse(&mut solo);
        solo.run(ms(899));
    }
    assert_eq!((settled(&solo, 1), closed(&solo, ConnectionId(2))), (None, None));
    solo.run(ms(10));
    assert_eq!(settled(&solo, 1), Some(Err(ErrorCode::BrokerUnreachable)));
    assert_eq!(closed_code(&solo, ConnectionId(2)), Some(ErrorCode::BrokerUnreachable));
    assert_eq!((settled(&solo, 3), closed(&solo, ConnectionId(4))), (None, None));
    solo.run(ms(1000));
    assert_eq!(settled(&solo, 3), Some(Err(ErrorCode::BrokerUnreachable)));
    assert_eq!(closed_code(&solo, ConnectionId(4)), Some(ErrorCode::BrokerUnreachable));
}

#[test]
fn after_an_outage_what_waited_is_asked_again() {
    let mut solo = solo(|_| {});
    solo.run(ms(3000));
    find(&mut solo, 1);
    connect(&mut solo, 2, "cid");
    gone(&mut solo);
    find(&mut solo, 3);
    connect(&mut solo, 4, "dot");
    solo.run(ms(100));
    solo.take();
    solo.register();
    assert_eq!(finds(&solo), ["bob", "bob", "cid", "dot"]);
    for frame in solo.frames() {
        if matches!(&frame.request, Request::Find { id } if id.as_str() == "bob") {
            solo.broker(BrokerInput::Text(json!({"id": frame.id, "message": "bob", "error": null}).to_string()));
        }
    }
    assert_eq!((settled(&solo, 1), settled(&solo, 3)), (Some(Ok(true)), Some(Ok(true))));
}

#[test]
fn an_outage_gives_a_question_no_more_time() {
    let mut solo = solo(|_| {});
    find(&mut solo, 1);
    solo.run(ms(5000));
    gone(&mut solo);
    solo.run(ms(100));
    solo.register();
    solo.run(ms(4899));
    assert_eq!(settled(&solo, 1), None);
    solo.run(ms(1));
    assert_eq!(settled(&solo, 1), Some(Err(ErrorCode::BrokerUnreachable)));
}

#[test]
fn a_find_is_answered_or_times_out() {
    for (message, result) in [(json!("bob"), true), (Value::Null, false)] {
        let mut solo = solo(|_| {});
        find(&mut solo, 1);
        assert_eq!(finds(&solo), ["bob"]);
        solo.answer_last(message);
        assert_eq!(settled(&solo, 1), Some(Ok(result)));
    }
    let mut solo = solo(|_| {});
    find(&mut solo, 1);
    solo.run(ms(9_999));
    assert_eq!(settled(&solo, 1), None);
    solo.run(ms(1));
    assert_eq!(settled(&solo, 1), Some(Err(ErrorCode::BrokerUnreachable)));
    let before = solo.events().len();
    solo.answer_last(json!("bob"));
    assert_eq!(solo.events().len(), before, "the late answer is passed over");
}

fn deny(solo: &mut Solo, code: &str) {
    let id = solo.frames().pop().unwrap().id;
    let error = json!({"code": code, "message": "go away"});
    solo.broker(BrokerInput::Text(json!({"id": id, "message": null, "error": error}).to_string()));
}

#[test]
fn a_refusal_reaches_those_who_wait_or_the_event() {
    let mut solo = Solo::new(&id("me"), |_| {});
    connect(&mut solo, 1, "bob");
    find(&mut solo, 2);
    solo.broker(BrokerInput::Connected);
    deny(&mut solo, "ERR_ID_TAKEN");
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::IdTaken));
    assert_eq!(settled(&solo, 2), Some(Err(ErrorCode::IdTaken)));
    assert_eq!(errors(&solo), []);
    assert!(solo.said().contains(&Output::Broker(BrokerCommand::Close)));
    assert_eq!(offline(&solo), ["go away"]);

    let mut solo = Solo::new(&id("me"), |config| config.brokers = 2);
    for round in 0..4 {
        assert_eq!(sockets(&solo).len(), round + 1);
        solo.broker(BrokerInput::Connected);
        deny(&mut solo, "ERR_ID_TAKEN");
        solo.run(ms(800));
    }
    assert_eq!(errors(&solo), [ErrorCode::IdTaken], "once an outage");
    assert_eq!(sockets(&solo), [0; 5], "the id would be free at another broker, and be of no use there");
}

#[test]
fn a_refusal_after_an_outage_reaches_those_whose_question_is_open() {
    let mut solo = solo(|_| {});
    solo.run(ms(3000));
    connect(&mut solo, 1, "bob");
    gone(&mut solo);
    solo.run(ms(100));
    solo.broker(BrokerInput::Connected);
    deny(&mut solo, "ERR_ID_TAKEN");
    assert_eq!(closed_code(&solo, ConnectionId(1)), Some(ErrorCode::IdTaken));
}

#[test]
fn an_answer_that_registers_nobody_is_a_refusal() {
    let mut solo = Solo::new(&id("me"), |_| {});
    solo.broker(BrokerInput::Connected);
    solo.answer_last(Value::Null);
    assert_eq!(errors(&solo), [ErrorCode::Protocol]);
}

#[test]
fn a_brokers_nonsense_is_told_once_a_socket() {
    let mut solo = solo(|_| {});
    let complaint = json!({"id": null, "message": null, "error": "what?"}).to_string();
    for _ in 0..2 {
        solo.take();
        for _ in 0..5 {
            solo.broker(BrokerInput::Text("}{".into()));
            solo.broker(BrokerInput::Text(complaint.clone()));
        }
        assert_eq!(errors(&solo), [ErrorCode::Protocol, ErrorCode::NotAuthorized]);
        find(&mut solo, 1);
        solo.answer_last(json!("bob"));
        assert_eq!(settled(&solo, 1), Some(Ok(true)), "it goes on");
        gone(&mut solo);
        solo.run(ms(200));
        solo.register();
    }
}

#[test]
fn huge_timeouts_are_no_trap() {
    let mut solo = solo(|config| {
        let never = std::time::Duration::MAX;
        config.timeouts =
            linkup_core::Timeouts { connect: never, idle: never, close: never, broker: never, resume: never };
    });
    let (transport, _) = open(&mut solo, 1, "bob");
    find(&mut solo, 2);
    close(&mut solo, ConnectionId(1), None);
    solo.command(Command::ClosePeer);
    solo.run(ms(100_000));
    solo.transport(transport, linkup_core::TransportInput::Finished { error: None });
    assert!(solo.events().contains(&Event::PeerClosed { error: None }));
}
