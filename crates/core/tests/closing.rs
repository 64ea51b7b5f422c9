//! Every end of a connection and of a peer: one rule a test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::*;
use linkup_core::{
    BrokerCommand, BrokerInput, Command, ConnectionId, Event, Output, Token, TransportCommand, TransportInput,
};
use linkup_proto::broker::{Frame, Request};
use linkup_proto::signal::Body;
use linkup_proto::{Error, ErrorCode};
use linkup_testkit::Solo;

const ONE: ConnectionId = ConnectionId(1);

fn byes(solo: &Solo) -> Vec<(ErrorCode, String)> {
    let byes = solo.signals().into_iter().filter_map(|(_, signal)| match signal.body {
        Body::Bye { code, reason } => Some((code, reason)),
        _ => None,
    });
    byes.collect()
}

fn finished(error: Option<Error>) -> TransportInput {
    TransportInput::Finished { error }
}

#[test]
fn a_close_delivers_first_and_says_goodbye_last() {
    let mut solo = solo(|_| {});
    let (transport, session) = open(&mut solo, 1, "bob");
    close(&mut solo, ONE, None);
    close(&mut solo, ONE, None);
    assert_eq!(solo.take(), [Output::Transport { transport, command: TransportCommand::Close }]);
    // The other side may close as well; ours decides.
    solo.transport(transport, TransportInput::Closed);
    solo.signal(&id("bob"), &bye(&session, "ERR_CONNECTION_CLOSED", ""));
    assert_eq!(solo.said(), []);
    solo.transport(transport, finished(None));
    assert_eq!(closed(&solo, ONE), Some(None));
    assert_eq!(byes(&solo), [(ErrorCode::ConnectionClosed, String::new())]);
    assert_eq!(solo.transports(), [], "it is gone by itself");
}

#[test]
fn a_remote_that_closes_its_peer_meanwhile_does_not_spoil_a_close() {
    let mut solo = solo(|_| {});
    let (transport, session) = open(&mut solo, 1, "bob");
    close(&mut solo, ONE, None);
    solo.signal(&id("bob"), &bye(&session, "ERR_PEER_CLOSED", ""));
    assert_eq!(closed(&solo, ONE), None, "whether all was delivered, our own flush says");
    solo.transport(transport, finished(None));
    assert_eq!(closed(&solo, ONE), Some(None));
}

#[test]
fn what_could_not_be_delivered_is_told() {
    let error = Error::new(ErrorCode::CloseTimeout, "3 messages are unconfirmed");
    for input in [finished(Some(error.clone())), TransportInput::Failed { error: error.clone() }] {
        let mut solo = solo(|_| {});
        let (transport, _) = open(&mut solo, 1, "bob");
        close(&mut solo, ONE, None);
        solo.transport(transport, input);
        assert_eq!(closed(&solo, ONE), Some(Some(error.clone())));
    }
}

#[test]
fn a_transport_that_never_finishes_is_given_up() {
    let mut solo = solo(|_| {});
    let (transport, _) = open(&mut solo, 1, "bob");
    close(&mut solo, ONE, None);
    solo.run(ms(5999));
    assert_eq!(closed(&solo, ONE), None);
    solo.run(ms(1));
    assert_eq!(closed_code(&solo, ONE), Some(ErrorCode::CloseTimeout));
    assert!(is_aborted(&solo, transport));
}

#[test]
fn a_close_with_an_error_is_at_once_and_the_remote_hears_it() {
    for closing in [false, true] {
        let mut solo = solo(|_| {});
        let (transport, _) = open(&mut solo, 1, "bob");
        if closing {
            close(&mut solo, ONE, None);
        }
        close(&mut solo, ONE, Some((ErrorCode::Protocol, "nonsense")));
        assert!(is_aborted(&solo, transport));
        assert_eq!(closed_code(&solo, ONE), Some(ErrorCode::Protocol));
        assert_eq!(byes(&solo), [(ErrorCode::Protocol, "nonsense".into())]);
    }
}

#[test]
fn an_attempt_can_be_given_up() {
    for (error, code) in [(None, ErrorCode::ConnectionClosed), (Some((ErrorCode::Aborted, "")), ErrorCode::Aborted)] {
        let mut solo = solo(|_| {});
        let (transport, session) = call(&mut solo, 1, "bob");
        solo.signal(&id("bob"), &answer(&session));
        solo.take();
        close(&mut solo, ONE, error);
        assert!(is_aborted(&solo, transport));
        assert_eq!(closed_code(&solo, ONE), Some(code));
        assert_eq!(byes(&solo)[0].0, code);
    }
}

#[test]
fn closing_what_is_not_there_is_nothing() {
    let mut solo = solo(|_| {});
    close(&mut solo, ConnectionId(99), None);
    assert_eq!(solo.said(), []);
}

#[test]
fn the_remotes_close_is_the_transports_word_where_it_comes() {
    let mut solo = solo(|_| {});
    let (transport, _) = open(&mut solo, 1, "bob");
    solo.transport(transport, TransportInput::Closed);
    assert_eq!(closed(&solo, ONE), Some(None));
    assert!(is_aborted(&solo, transport), "so that it is freed");
    assert_eq!(byes(&solo), []);
}

#[test]
fn a_bye_waits_for_what_was_sent_before_it() {
    let cases = [("ERR_CONNECTION_CLOSED", None), ("ERR_PROTOCOL", Some(ErrorCode::Protocol))];
    for (code, expected) in cases {
        for by_transport in [None, Some(TransportInput::Closed), Some(failed(ErrorCode::ConnectionLost))] {
            let mut solo = solo(|_| {});
            let (transport, session) = open(&mut solo, 1, "bob");
            solo.signal(&id("bob"), &bye(&session, code, "why"));
            close(&mut solo, ONE, None);
            solo.run(ms(999));
            assert_eq!(solo.said(), []);
            match by_transport {
                Some(input) => solo.transport(transport, input),
                None => solo.run(ms(1)),
            }
            let error = closed(&solo, ONE).unwrap();
            assert_eq!(error.as_ref().map(|error| error.code), expected);
            assert!(error.is_none_or(|error| error.message.contains("why")));
            assert!(is_aborted(&solo, transport));
        }
    }
}

#[test]
fn a_remote_that_is_gone_without_its_last_word_is_lost_unless_it_says_why() {
    for (said, expected) in [
        (None, Some(ErrorCode::ConnectionLost)),
        (Some("ERR_DENIED"), Some(ErrorCode::Denied)),
        (Some("ERR_CONNECTION_CLOSED"), None),
    ] {
        let mut solo = solo(|_| {});
        let (transport, session) = open(&mut solo, 1, "bob");
        solo.transport(transport, TransportInput::Cut);
        solo.run(ms(299));
        assert_eq!(closed(&solo, ONE), None, "it may come yet");
        match said {
            Some(code) => solo.signal(&id("bob"), &bye(&session, code, "")),
            None => solo.run(ms(1)),
        }
        assert_eq!(closed(&solo, ONE).unwrap().map(|error| error.code), expected);
    }
    // What was said before counts.
    let mut solo = solo(|_| {});
    let (transport, session) = open(&mut solo, 1, "bob");
    solo.signal(&id("bob"), &bye(&session, "ERR_DENIED", ""));
    solo.transport(transport, TransportInput::Cut);
    assert_eq!(closed_code(&solo, ONE), Some(ErrorCode::Denied));
}

#[test]
fn a_broken_transport_is_a_lost_connection() {
    let mut solo = solo(|_| {});
    let (transport, _) = open(&mut solo, 1, "bob");
    solo.transport(transport, failed(ErrorCode::IceFailed));
    assert_eq!(closed_code(&solo, ONE), Some(ErrorCode::ConnectionLost));
    assert!(is_aborted(&solo, transport));
    assert_eq!(byes(&solo)[0].0, ErrorCode::ConnectionLost);
}

#[test]
fn a_new_call_waits_until_the_old_connection_is_flushed() {
    let mut solo = solo(|_| {});
    let (old, _) = open(&mut solo, 1, "bob");
    close(&mut solo, ONE, None);
    connect(&mut solo, 2, "bob");
    solo.take();
    solo.run(ms(1000));
    assert_eq!(solo.said(), [], "a new offer would end what is still being delivered");
    solo.transport(old, finished(None));
    let (bye, find) = (&solo.frames()[0], &solo.frames()[1]);
    assert!(matches!(bye.request, Request::Signal(_)) && matches!(find.request, Request::Find { .. }));
    assert!(solo.transports().contains(&(made(&solo), TransportCommand::Offer)));
}

#[test]
fn the_remotes_new_call_is_taken_beside_the_closing_connection() {
    let mut solo = solo(|_| {});
    let (old, _) = open(&mut solo, 1, "bob");
    close(&mut solo, ONE, None);
    connect(&mut solo, 2, "bob");
    solo.signal(&id("bob"), &offer("anew"));
    let new = made(&solo);
    solo.transport(new, TransportInput::Open);
    assert!(!is_aborted(&solo, old));
    let ours = |event: &Event| matches!(event, Event::Open { connection: ConnectionId(2), incoming: false, .. });
    assert!(solo.events().iter().any(ours), "it answers our own call, which had to wait");
    solo.transport(old, finished(None));
    assert_eq!(closed(&solo, ONE), Some(None));
    assert_eq!(closed(&solo, ConnectionId(2)), None);
}

#[test]
fn a_peer_closes_everything_and_then_falls_silent() {
    let mut solo = solo(|config| config.asks = true);
    let (first, _) = open(&mut solo, 1, "ann");
    let (second, _) = open(&mut solo, 2, "ben");
    let (third, session) = call(&mut solo, 3, "cid");
    solo.signal(&id("cid"), &answer(&session));
    solo.signal(&id("dot"), &offer("s"));
    solo.command(Command::Find { token: Token(4), id: id("eve") });
    solo.take();
    solo.command(Command::ClosePeer);
    solo.command(Command::ClosePeer);
    let closed_peer = |event: &Event| match event {
        Event::Settled { result: Err(error), .. } | Event::Closed { error: Some(error), .. } => {
            error.code == ErrorCode::PeerClosed
        }
        _ => false,
    };
    assert_eq!(solo.events().len(), 2);
    assert!(solo.events().iter().all(closed_peer));
    let commands = [(first, TransportCommand::Close), (second, TransportCommand::Close)];
    assert!(commands.iter().all(|command| solo.transports().contains(command)));
    assert!(is_aborted(&solo, third));
    assert_eq!(byes(&solo).iter().map(|(code, _)| *code).collect::<Vec<_>>(), [ErrorCode::PeerClosed; 2]);
    solo.take();
    // Whoever comes now comes too late.
    connect(&mut solo, 5, "fay");
    solo.command(Command::Find { token: Token(6), id: id("fay") });
    assert!(solo.events().iter().all(closed_peer) && solo.events().len() == 2);
    solo.signal(&id("fay"), &offer("s"));
    assert_eq!(byes(&solo), [(ErrorCode::PeerClosed, String::new())]);
    solo.take();
    let error = Error::new(ErrorCode::CloseTimeout, "1 message");
    solo.transport(second, finished(Some(error.clone())));
    solo.take();
    solo.transport(first, finished(None));
    let said = solo.take();
    let unregisters = |output: &Output| match output {
        Output::Broker(BrokerCommand::Send(text)) => Frame::parse(text).unwrap().request == Request::Unregister,
        _ => false,
    };
    let [.., unregister, close, closed] = &said[..] else { panic!("{said:?}") };
    assert!(unregisters(unregister));
    assert_eq!(close, &Output::Broker(BrokerCommand::Close));
    assert_eq!(closed, &Output::Event(Event::PeerClosed { error: Some(error) }));
    // Nothing follows.
    assert_eq!(solo.peer.poll_timeout(), None);
    connect(&mut solo, 7, "ann");
    solo.command(Command::ClosePeer);
    solo.broker(BrokerInput::Closed { reason: "late".into() });
    solo.transport(first, TransportInput::Closed);
    solo.run(ms(100_000));
    assert_eq!(solo.said(), []);
}

#[test]
fn closing_a_peer_takes_no_longer_than_it_may() {
    let mut solo = solo(|_| {});
    let (transport, _) = open(&mut solo, 1, "ann");
    let (_, session) = open(&mut solo, 2, "ben");
    solo.signal(&id("ben"), &bye(&session, "ERR_CONNECTION_CLOSED", ""));
    solo.command(Command::ClosePeer);
    solo.run(ms(5999));
    assert_eq!(closed(&solo, ConnectionId(2)), Some(None));
    assert_eq!(closed(&solo, ONE), None);
    solo.run(ms(1));
    assert!(is_aborted(&solo, transport));
    assert_eq!(closed_code(&solo, ONE), Some(ErrorCode::CloseTimeout));
    let last = solo.events().pop();
    assert!(matches!(last, Some(Event::PeerClosed { error: Some(e) }) if e.code == ErrorCode::CloseTimeout));
}

#[test]
fn a_peer_without_a_broker_closes_at_once() {
    // Opening, registering, and waiting for the next try.
    for step in 0..3 {
        let mut solo = Solo::new(&id("me"), |_| {});
        match step {
            1 => solo.broker(BrokerInput::Connected),
            2 => solo.broker(BrokerInput::Failed { reason: "no".into() }),
            _ => {}
        }
        connect(&mut solo, 1, "bob");
        solo.take();
        solo.command(Command::ClosePeer);
        assert_eq!(closed_code(&solo, ONE), Some(ErrorCode::PeerClosed));
        assert_eq!(solo.said().contains(&Output::Broker(BrokerCommand::Close)), step < 2);
        assert_eq!(solo.said().last(), Some(&Output::Event(Event::PeerClosed { error: None })));
        assert!(solo.frames().is_empty());
        assert_eq!(solo.peer.poll_timeout(), None);
    }
}

#[test]
fn a_broker_that_was_gone_is_not_looked_for_while_the_peer_closes() {
    let mut solo = solo(|_| {});
    open(&mut solo, 1, "ann");
    solo.run(ms(3000));
    solo.broker(BrokerInput::Closed { reason: "gone".into() });
    solo.command(Command::ClosePeer);
    solo.run(ms(2000));
    assert!(sockets(&solo).is_empty());
}

#[test]
fn a_broker_that_goes_while_the_peer_closes_is_not_looked_for() {
    let mut solo = solo(|_| {});
    let (transport, _) = open(&mut solo, 1, "ann");
    solo.command(Command::ClosePeer);
    solo.broker(BrokerInput::Closed { reason: "gone".into() });
    solo.run(ms(2000));
    assert!(sockets(&solo).is_empty());
    solo.transport(transport, finished(None));
    assert_eq!(solo.said().last(), Some(&Output::Event(Event::PeerClosed { error: None })));
}
