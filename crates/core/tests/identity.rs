//! Who says what: signatures, keys that are known before, and a broker that changes, forges and repeats.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::sync::Arc;

use common::*;
use linkup_core::{BrokerInput, Command, Config, ConnectionId, Event, Identity, TransportCommand, TransportInput};
use linkup_proto::broker::Request;
use linkup_proto::signal::{Body, Signal};
use linkup_proto::{Error, ErrorCode, PublicKey};
use linkup_testkit::Solo;
use serde_json::{Value, json};

const ALICE: ConnectionId = ConnectionId(1);

fn key(name: &str) -> Identity {
    Identity::from_seed(&[name.as_bytes()[0]; 32])
}

fn with_key(config: &mut Config) {
    config.identity = Some(Arc::new(key("me")));
}

/// What `name` says to us, signed with its key.
fn says(name: &str, text: &str) -> String {
    signed(&key(name), name, "me", text)
}

/// What somebody else says in the name of `name`, signed with a key of its own.
fn forges(name: &str, text: &str) -> String {
    signed(&key("mallory"), name, "me", text)
}

fn signed(by: &Identity, from: &str, to: &str, text: &str) -> String {
    let mut text: Value = serde_json::from_str(text).unwrap();
    text["linkup"]["key"] = by.public().to_string().into();
    by.sign(&id(from), &id(to), &text.to_string())
}

/// The signals as they were sent.
fn texts(solo: &Solo) -> Vec<String> {
    let texts = solo.frames().into_iter().filter_map(|frame| match frame.request {
        Request::Signal(signal) => Some(signal.signal),
        _ => None,
    });
    texts.collect()
}

/// An answer to our last offer.
fn answer_to(solo: &Solo, session: &str) -> String {
    let offer =
        texts(solo).into_iter().rev().find(|text| matches!(Signal::parse(text).unwrap().body, Body::Offer { .. }));
    answer_to_text(&offer.unwrap(), session)
}

fn answer_to_text(offer: &str, session: &str) -> String {
    let mut answer: Value = serde_json::from_str(&answer(session)).unwrap();
    answer["linkup"]["offer"] = digest_of(offer).into();
    answer.to_string()
}

/// The name of a text, which may be signed.
fn digest_of(text: &str) -> String {
    let cut = text.find(r#","signature":"#).map_or(text.to_owned(), |at| format!("{}}}", &text[..at]));
    linkup_proto::key::encode(ring::digest::digest(&ring::digest::SHA256, cut.as_bytes()).as_ref())
}

fn call_pinned(solo: &mut Solo, to: &str, pinned: Option<PublicKey>) -> (linkup_core::TransportId, String) {
    solo.command(Command::Connect { connection: ALICE, to: id(to), key: pinned });
    let transport = made(solo);
    solo.answer_last(json!(to));
    solo.transport(transport, described("our offer"));
    (transport, session(solo, to))
}

fn mismatch(solo: &Solo) -> bool {
    closed_code(solo, ALICE) == Some(ErrorCode::IdentityMismatch)
}

fn told(solo: &Solo) -> Vec<ErrorCode> {
    let errors = solo.events().into_iter().filter_map(|event| match event {
        Event::Error { error, .. } => Some(error.code),
        _ => None,
    });
    errors.collect()
}

fn identity(solo: &Solo) -> Option<PublicKey> {
    let found = solo.events().into_iter().find_map(|event| match event {
        Event::Open { identity, .. } => Some(identity),
        _ => None,
    });
    found.expect("it is not open")
}

fn set_answers(solo: &Solo) -> usize {
    solo.transports().iter().filter(|(_, command)| matches!(command, TransportCommand::SetAnswer { .. })).count()
}

#[test]
fn all_that_leaves_is_signed_over_both_ids_and_the_whole_text() {
    let mut solo = solo(with_key);
    let (transport, _) = call(&mut solo, 1, "alice");
    solo.transport(transport, TransportInput::Candidate(address("one")));
    close(&mut solo, ALICE, None);
    let texts = texts(&solo);
    assert_eq!(texts.len(), 2, "{texts:?}");
    for text in texts {
        // The other side takes it so, and no other way.
        for (sent, from, to, right) in [
            (text.clone(), "me", "alice", true),
            (text.clone(), "you", "alice", false),
            (text.clone(), "me", "bob", false),
            (text.replacen("\"v\":1", "\"v\":2", 1), "me", "alice", false),
            (text.replacen("{", "{ ", 1), "me", "alice", false),
        ] {
            let mut other = Solo::registered(&id(to), |_| {});
            other.signal(&id(from), &sent);
            let offered = sent.contains("our offer");
            assert_eq!(told(&other) == [ErrorCode::IdentityMismatch], !right && offered, "{from} {to} {sent}");
            assert_eq!(other.transports().len(), usize::from(right && offered), "{from} {to} {sent}");
        }
    }
}

#[test]
fn both_sides_know_the_key_of_the_other() {
    let mut caller = solo(with_key);
    let (transport, session) = call(&mut caller, 1, "alice");
    let answer = answer_to(&caller, &session);
    caller.signal(&id("alice"), &says("alice", &answer));
    caller.transport(transport, TransportInput::Open);
    assert_eq!(identity(&caller), Some(key("alice").public()));

    let mut called = solo(|config| config.asks = true);
    called.signal(&id("bob"), &says("bob", &offer("s")));
    let Some(Event::Request { connection, identity: asked, .. }) = called.events().pop() else { panic!("no request") };
    assert_eq!(asked, Some(key("bob").public()));
    called.command(Command::Answer { connection, verdict: Ok(()) });
    let transport = made(&called);
    called.transport(transport, described("our answer"));
    called.transport(transport, TransportInput::Open);
    assert_eq!(identity(&called), Some(key("bob").public()));
}

#[test]
fn who_does_not_sign_has_no_identity() {
    let mut caller = solo(with_key);
    let (transport, session) = call(&mut caller, 1, "alice");
    caller.signal(&id("alice"), &answer(&session));
    caller.transport(transport, TransportInput::Open);
    assert_eq!(identity(&caller), None);
}

#[test]
fn a_key_that_is_known_must_have_signed_the_answer() {
    let pinned = key("alice").public();
    type Answer = fn(&Solo, &str) -> String;
    let answers: [(&str, Answer); 5] = [
        ("not signed", |_, session| answer(session)),
        ("of another key", |solo, session| forges("alice", &answer_to(solo, session))),
        ("to another peer", |solo, session| signed(&key("alice"), "alice", "bob", &answer_to(solo, session))),
        ("of another peer", |solo, session| signed(&key("alice"), "bob", "me", &answer_to(solo, session))),
        ("changed", |solo, session| says("alice", &answer_to(solo, session)).replace("answer ", "Answer ")),
    ];
    for (what, answer) in answers {
        let mut solo = solo(with_key);
        let (transport, session) = call_pinned(&mut solo, "alice", Some(pinned));
        let answer = answer(&solo, &session);
        solo.signal(&id("alice"), &answer);
        assert!(mismatch(&solo), "{what}");
        assert!(is_aborted(&solo, transport), "{what}");
        assert_eq!(set_answers(&solo), 0, "{what}");
        assert_eq!(bodies(&solo).pop(), Some(bye_body(ErrorCode::IdentityMismatch, "")), "{what}");
    }
    let mut solo = solo(with_key);
    let (transport, session) = call_pinned(&mut solo, "alice", Some(pinned));
    let answer = answer_to(&solo, &session);
    solo.signal(&id("alice"), &says("alice", &answer));
    solo.transport(transport, TransportInput::Open);
    assert_eq!(identity(&solo), Some(pinned));
}

#[test]
fn an_id_that_is_a_key_is_that_key_s() {
    let alice = format!("key:{}", key("alice").public());
    for (by, right) in [("alice", true), ("mallory", false)] {
        let mut caller = solo(with_key);
        let (_, session) = call(&mut caller, 1, &alice);
        let answer = answer_to(&caller, &session);
        caller.signal(&id(&alice), &signed(&key(by), &alice, "me", &answer));
        assert_eq!((mismatch(&caller), set_answers(&caller)), (!right, usize::from(right)), "{by}");

        let mut called = solo(with_key);
        called.signal(&id(&alice), &signed(&key(by), &alice, "me", &offer("s")));
        assert_eq!(told(&called).len(), usize::from(!right), "{by}");
        assert_eq!(called.transports().len(), usize::from(right), "{by}");
    }
    let mut called = solo(with_key);
    called.signal(&id(&alice), &offer("s"));
    assert_eq!((told(&called), called.transports().len()), (vec![ErrorCode::IdentityMismatch], 0), "unsigned");
}

#[test]
fn an_answer_is_to_the_very_words_of_the_offer() {
    // The broker has put its own key and fingerprint into our offer; the remote has answered in good faith.
    let mut solo = solo(with_key);
    let (_, session) = call(&mut solo, 1, "alice");
    let forged = signed(&key("broker"), "me", "alice", &offer(&session));
    let answer = answer_to_text(&forged, &session);
    solo.signal(&id("alice"), &says("alice", &answer));
    assert!(mismatch(&solo));
    assert_eq!(set_answers(&solo), 0);
}

#[test]
fn an_old_answer_is_none() {
    let mut solo = solo(with_key);
    let (_, old) = call_pinned(&mut solo, "alice", Some(key("alice").public()));
    let recorded = says("alice", &answer_to(&solo, &old));
    close(&mut solo, ALICE, None);
    solo.take();
    solo.command(Command::Connect { connection: ConnectionId(2), to: id("alice"), key: Some(key("alice").public()) });
    let transport = made(&solo);
    solo.transport(transport, described("our offer"));
    let new = session(&solo, "alice");
    // Under its own session it is about nothing; under the new one it is not what was signed.
    solo.signal(&id("alice"), &recorded);
    assert_eq!((set_answers(&solo), closed(&solo, ConnectionId(2))), (0, None));
    solo.signal(&id("alice"), &recorded.replace(&old, &new));
    assert_eq!(closed_code(&solo, ConnectionId(2)), Some(ErrorCode::IdentityMismatch));
}

#[test]
fn an_old_offer_is_none() {
    let mut solo = solo(with_key);
    let recorded = says("bob", &offer("s"));
    solo.signal(&id("bob"), &recorded);
    let transport = made(&solo);
    solo.transport(transport, described("our answer"));
    solo.transport(transport, TransportInput::Open);
    solo.transport(transport, TransportInput::Closed);
    solo.take();
    solo.signal(&id("bob"), &recorded);
    assert_eq!(solo.transports(), [], "no address leaves");
    assert_eq!(bodies(&solo), [bye_body(ErrorCode::IdentityMismatch, "this offer was used before")]);
    solo.take();
    solo.signal(&id("bob"), &says("bob", &offer("another")));
    assert_eq!(solo.transports().len(), 1);
}

#[test]
fn of_those_old_offers_not_more_than_a_thousand_are_remembered() {
    let mut solo = solo(with_key);
    for call in 0..1_100 {
        solo.signal(&id("bob"), &says("bob", &offer(&format!("session {call}"))));
        let transport = made(&solo);
        solo.transport(transport, failed(ErrorCode::IceFailed));
        solo.take();
    }
    for (call, known) in [(1_099, true), (100, true), (3, false)] {
        solo.take();
        solo.signal(&id("bob"), &says("bob", &offer(&format!("session {call}"))));
        assert_eq!(solo.transports().is_empty(), known, "{call}");
    }
}

#[test]
fn a_session_has_one_key() {
    // Nothing that others sign, or nobody, moves an open connection.
    let mut caller = solo(with_key);
    let (transport, session) = call(&mut caller, 1, "alice");
    let said = texts(&caller).remove(0);
    let answer = answer_to(&caller, &session);
    caller.signal(&id("alice"), &says("alice", &answer));
    caller.transport(transport, TransportInput::Open);
    caller.take();
    let resume = json!({"type": "resume", "linkup": {"v": 1, "session": session, "transport": 0}}).to_string();
    for text in [bye(&session, "ERR_CONNECTION_CLOSED", ""), resume.clone(), candidate(&session, "far")] {
        for forged in [text.clone(), forges("alice", &text)] {
            caller.signal(&id("alice"), &forged);
            assert_eq!(told(&caller), [ErrorCode::IdentityMismatch], "{forged}");
            assert_eq!(caller.take().len(), 1, "{forged}");
        }
    }
    caller.signal(&id("alice"), &says("alice", &resume));
    assert!(caller.transports().iter().any(|(_, command)| *command == TransportCommand::Offer));
    caller.signal(&id("alice"), &bye_about("alice", &session, Some(&said)));
    assert_eq!(closed(&caller, ALICE), Some(None));
}

#[test]
fn another_transport_is_offered_and_answered_by_the_same_keys() {
    let mut called = solo(with_key);
    called.signal(&id("bob"), &says("bob", &offer("s")));
    let transport = made(&called);
    called.transport(transport, described("our answer"));
    called.transport(transport, TransportInput::Open);
    called.take();
    let next = json!({"type": "offer", "sdp": "next", "linkup": {"v": 1, "session": "s", "transport": 1}}).to_string();
    for forged in [next.clone(), forges("bob", &next)] {
        called.signal(&id("bob"), &forged);
        assert_eq!((told(&called), called.transports().len()), (vec![ErrorCode::IdentityMismatch], 0));
        called.take();
    }
    let next = says("bob", &next);
    called.signal(&id("bob"), &next);
    let transport = made(&called);
    called.transport(transport, described("next answer"));
    let answer = called.signals().pop().unwrap().1.linkup.unwrap();
    let mut caller = solo(with_key);
    let expected = answer_to_text(&next, "s");
    let expected: Value = serde_json::from_str(&expected).unwrap();
    assert_eq!(
        answer.offer.map(|offer| linkup_proto::key::encode(&offer)),
        expected["linkup"]["offer"].as_str().map(str::to_owned)
    );

    // The caller's side: an answer to other words is none, and the connection waits for the right one.
    let (transport, session) = call(&mut caller, 1, "alice");
    let first = answer_to(&caller, &session);
    caller.signal(&id("alice"), &says("alice", &first));
    caller.transport(transport, TransportInput::Open);
    caller.transport(transport, TransportInput::Silent);
    let second = made(&caller);
    caller.transport(second, described("next offer"));
    let number = |text: &str| {
        let mut text: Value = serde_json::from_str(text).unwrap();
        text["linkup"]["transport"] = 1.into();
        text.to_string()
    };
    let right = says("alice", &number(&answer_to(&caller, &session)));
    caller.take();
    caller.signal(&id("alice"), &says("alice", &number(&first)));
    assert_eq!((told(&caller), caller.transports()), (vec![ErrorCode::IdentityMismatch], vec![]));
    caller.signal(&id("alice"), &right);
    assert_eq!(set_answers(&caller), 1);
}

#[test]
fn a_call_that_takes_the_place_of_ours_is_of_the_peer_that_we_meant() {
    for (by, right) in [("alice", true), ("mallory", false)] {
        // "me" is larger than "alice", so that her offer counts.
        let mut solo = solo(with_key);
        call_pinned(&mut solo, "alice", Some(key("alice").public()));
        solo.take();
        solo.signal(&id("alice"), &signed(&key(by), "alice", "me", &offer("theirs")));
        let answers = solo.transports().iter().any(|(_, command)| matches!(command, TransportCommand::Answer { .. }));
        assert_eq!((answers, mismatch(&solo)), (right, !right), "{by}");
    }
}

#[test]
fn a_denial_is_signed_too() {
    let pinned = Some(key("alice").public());
    let mut solo = solo(with_key);
    let (_, session) = call_pinned(&mut solo, "alice", pinned);
    solo.signal(&id("alice"), &says("alice", &bye(&session, "ERR_DENIED", "busy")));
    assert_eq!(closed_code(&solo, ALICE), Some(ErrorCode::Denied));
    let mut solo = common::solo(with_key);
    let (_, session) = call_pinned(&mut solo, "alice", pinned);
    solo.signal(&id("alice"), &bye(&session, "ERR_DENIED", "busy"));
    assert!(mismatch(&solo));
}

fn with_login(text: &str) -> String {
    let mut text: Value = serde_json::from_str(text).unwrap();
    text["linkup"]["login"] = "token".into();
    text.to_string()
}

fn judges(config: &mut Config) {
    with_key(config);
    config.verifies = true;
    config.login = Some("mine".into());
}

#[test]
fn a_login_travels_with_descriptions_and_is_judged_before_anything_follows() {
    let wrong = || Error::new(ErrorCode::IdentityMismatch, "expired");
    for verdict in [Ok(()), Err(wrong())] {
        let mut caller = solo(judges);
        let (transport, session) = call(&mut caller, 1, "alice");
        assert_eq!(caller.signals()[0].1.linkup.as_ref().unwrap().login.as_deref(), Some("mine"));
        caller.transport(transport, TransportInput::Candidate(address("one")));
        assert_eq!(caller.signals()[1].1.linkup.as_ref().unwrap().login, None);
        let answer = with_login(&answer_to(&caller, &session));
        caller.take();
        caller.signal(&id("alice"), &says("alice", &answer));
        caller.signal(&id("alice"), &says("alice", &candidate(&session, "far")));
        let Some(Event::Request { connection, identity, login, wanted: true, .. }) = caller.events().pop() else {
            panic!("nobody is asked")
        };
        assert_eq!((connection, identity, login.as_deref()), (ALICE, Some(key("alice").public()), Some("token")));
        assert_eq!(caller.transports(), []);
        caller.command(Command::Answer { connection, verdict: verdict.clone() });
        let commands = caller.transports().len();
        // The answer and the candidate, or the end.
        assert_eq!(commands, if verdict.is_ok() { 2 } else { 1 });
        assert_eq!(closed(&caller, ALICE), verdict.clone().err().map(Some));
        if verdict.is_err() {
            assert_eq!(bodies(&caller).pop(), Some(bye_body(ErrorCode::IdentityMismatch, "expired")));
        }

        let mut called = solo(judges);
        called.signal(&id("bob"), &says("bob", &with_login(&offer("s"))));
        let Some(Event::Request { connection, wanted: false, .. }) = called.events().pop() else { panic!("not asked") };
        assert_eq!(called.transports(), []);
        called.command(Command::Answer { connection, verdict: verdict.clone() });
        assert_eq!(called.transports().len(), usize::from(verdict.is_ok()));
    }
}

#[test]
fn a_login_without_a_key_says_nothing() {
    let mut called = solo(judges);
    called.signal(&id("bob"), &with_login(&offer("s")));
    assert_eq!(requests(&called), []);
    assert_eq!(called.transports().len(), 1);
}

#[test]
fn calling_is_accepting_but_not_whoever_it_is() {
    let wrong = Error::new(ErrorCode::IdentityMismatch, "expired");
    let denied = Error::new(ErrorCode::Denied, "no");
    // The remote was faster, and we have called since; or its call took the place of ours.
    for faster in [true, false] {
        for (verdict, right) in [(Ok(()), true), (Err(denied.clone()), true), (Err(wrong.clone()), false)] {
            let mut solo = solo(judges);
            if !faster {
                call(&mut solo, 1, "alice");
                solo.take();
            }
            solo.signal(&id("alice"), &says("alice", &with_login(&offer("theirs"))));
            if faster {
                connect(&mut solo, 1, "alice");
            }
            let connection = requests(&solo).pop().unwrap();
            let answers = |solo: &Solo| {
                solo.transports()
                    .iter()
                    .filter(|(_, command)| matches!(command, TransportCommand::Answer { .. }))
                    .count()
            };
            assert_eq!((connection, answers(&solo)), (ALICE, 0));
            solo.command(Command::Answer { connection, verdict });
            assert_eq!((answers(&solo), mismatch(&solo)), (usize::from(right), !right));
        }
    }
}

#[test]
fn a_login_may_be_renewed() {
    let mut solo = solo(judges);
    solo.command(Command::SetLogin { login: Some("newer".into()) });
    call(&mut solo, 1, "alice");
    assert_eq!(solo.signals()[0].1.linkup.as_ref().unwrap().login.as_deref(), Some("newer"));
}

#[test]
fn an_id_that_is_our_key_is_proven_to_the_broker_once_a_socket() {
    let own = format!("key:{}", key("me").public());
    let challenge = |solo: &Solo, challenge: &str| {
        let id =
            solo.frames().into_iter().rev().find(|frame| matches!(frame.request, Request::Register { .. })).unwrap().id;
        let error = json!({"code": "ERR_NOT_AUTHORIZED", "message": "prove it", "details": {"challenge": challenge}});
        BrokerInput::Text(json!({"id": id, "message": null, "error": error}).to_string())
    };
    let proofs = |solo: &Solo| {
        let proofs = solo.frames().into_iter().filter_map(|frame| match frame.request {
            Request::Register { proof, .. } => Some(proof),
            _ => None,
        });
        proofs.collect::<Vec<_>>()
    };
    let mut solo = Solo::new(&id(&own), with_key);
    solo.broker(BrokerInput::Connected);
    assert_eq!(proofs(&solo), [None]);
    solo.broker(challenge(&solo, "sign this"));
    let [None, Some(proof)] = &proofs(&solo)[..] else { panic!("no proof") };
    let proof: [u8; 64] = linkup_proto::key::decode(proof).unwrap();
    let statement = linkup_proto::broker::register_statement("sign this", &id(&own));
    let public =
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key("me").public().as_bytes().to_vec());
    assert!(public.verify(&statement, &proof).is_ok());
    // A broker that asks again is not satisfied at all.
    solo.broker(challenge(&solo, "and this"));
    assert_eq!(proofs(&solo).len(), 2);
    assert_eq!(told(&solo), [ErrorCode::NotAuthorized]);

    // Whose id is none, and who has no key, signs nothing that a broker makes up.
    for (name, tweak) in [("me", with_key as fn(&mut Config)), (own.as_str(), |_| {})] {
        let mut solo = Solo::new(&id(name), tweak);
        solo.broker(BrokerInput::Connected);
        solo.broker(challenge(&solo, "sign this"));
        assert_eq!(proofs(&solo), [None], "{name}");
        assert_eq!(told(&solo), [ErrorCode::NotAuthorized], "{name}");
    }
    let mut solo = Solo::new(&id(&own), with_key);
    solo.broker(BrokerInput::Connected);
    solo.broker(challenge(&solo, &"x".repeat(257)));
    assert_eq!(proofs(&solo), [None]);
}

#[test]
fn an_old_offer_does_not_end_a_newer_connection() {
    let mut solo = solo(with_key);
    let recorded = says("bob", &offer("old"));
    for (text, session) in [(recorded.clone(), "old"), (says("bob", &offer("new")), "new")] {
        solo.signal(&id("bob"), &text);
        let transport = made(&solo);
        solo.transport(transport, described(session));
        solo.transport(transport, TransportInput::Open);
        if session == "old" {
            solo.transport(transport, TransportInput::Closed);
        }
    }
    solo.take();
    solo.signal(&id("bob"), &recorded);
    assert_eq!((solo.events(), solo.transports()), (vec![], vec![]));
    assert_eq!(bodies(&solo), [bye_body(ErrorCode::IdentityMismatch, "this offer was used before")]);
}

#[test]
fn who_forges_an_offer_gets_no_bye_that_would_end_the_connection() {
    let mut solo = solo(with_key);
    solo.signal(&id("bob"), &says("bob", &offer("s")));
    let transport = made(&solo);
    solo.transport(transport, described("our answer"));
    solo.transport(transport, TransportInput::Open);
    solo.take();
    for forged in [offer("s"), forges("bob", &offer("s")), says("bob", &offer("s")).replace("offer s", "offer S")] {
        solo.signal(&id("bob"), &forged);
        assert_eq!((told(&solo), solo.signals()), (vec![ErrorCode::IdentityMismatch], vec![]));
        solo.take();
    }
    // Where there is nothing, the caller hears it.
    solo.signal(&id("alice"), &says("alice", &offer("s")).replace("offer s", "offer S"));
    assert_eq!(bodies(&solo), [bye_body(ErrorCode::IdentityMismatch, "")]);
}

#[test]
fn an_open_connection_is_replaced_by_an_open_one_only() {
    let mut solo = solo(|config| {
        with_key(config);
        config.asks = true;
        config.max_connections = 1;
    });
    let accept = |solo: &mut Solo| {
        let connection = requests(solo).pop().unwrap();
        solo.command(Command::Answer { connection, verdict: Ok(()) });
        let transport = made(solo);
        solo.transport(transport, described("our answer"));
        (connection, transport)
    };
    solo.signal(&id("bob"), &says("bob", &offer("old")));
    let (old, transport) = accept(&mut solo);
    solo.transport(transport, TransportInput::Open);
    solo.take();
    // Denied, or without an open channel, a call changes nothing, whoever makes it.
    for (session, text) in [("denied", offer("denied")), ("stuck", forges("bob", &offer("stuck")))] {
        solo.signal(&id("bob"), &text);
        let connection = requests(&solo).pop().unwrap();
        let denied = Err(Error::new(ErrorCode::Denied, "no"));
        let verdict = if session == "denied" { denied } else { Ok(()) };
        solo.command(Command::Answer { connection, verdict });
        if session == "stuck" {
            let transport = made(&solo);
            solo.transport(transport, described("our answer"));
            solo.transport(transport, failed(ErrorCode::IceFailed));
        }
        assert_eq!(closed(&solo, old), None, "{session}");
        assert!(!is_aborted(&solo, transport), "{session}");
        solo.take();
    }
    // What is said about the old one still finds it.
    solo.signal(&id("bob"), &says("bob", &offer("new")));
    let (_, next) = accept(&mut solo);
    assert_eq!(closed(&solo, old), None);
    solo.take();
    solo.transport(next, TransportInput::Open);
    let events = solo.events();
    assert!(matches!(&events[0], Event::Closed { connection, error: Some(error) }
        if *connection == old && error.code == ErrorCode::ConnectionLost));
    assert!(matches!(&events[1], Event::Open { incoming: true, .. }));
    assert!(is_aborted(&solo, transport));
}

/// A bye of `name` that names some words.
fn bye_about(name: &str, session: &str, about: Option<&str>) -> String {
    let mut text: Value = serde_json::from_str(&bye(session, "ERR_CONNECTION_CLOSED", "")).unwrap();
    if let Some(about) = about {
        text["linkup"]["offer"] = digest_of(about).into();
    }
    says(name, &text.to_string())
}

#[test]
fn a_bye_is_about_this_connection() {
    // The called side.
    let first = says("bob", &offer("s"));
    for (about, right) in [(None, false), (Some("something else"), false), (Some(first.as_str()), true)] {
        let mut solo = solo(with_key);
        solo.signal(&id("bob"), &first);
        let transport = made(&solo);
        solo.transport(transport, described("our answer"));
        solo.transport(transport, TransportInput::Open);
        let Some(Event::Open { connection, .. }) = solo.events().pop() else { panic!("it is not open") };
        solo.take();
        solo.signal(&id("bob"), &bye_about("bob", "s", about));
        assert_eq!(told(&solo).is_empty(), right, "{about:?}");
        solo.run(ms(1000));
        assert_eq!(solo.events().iter().any(|event| matches!(event, Event::Closed { .. })), right, "{about:?}");
        if right {
            return;
        }
        // Ours says what it is about, too.
        solo.take();
        close(&mut solo, connection, Some((ErrorCode::Aborted, "enough")));
        let bye = solo.signals().pop().unwrap().1;
        assert!(matches!(bye.body, Body::Bye { .. }), "{bye:?}");
        assert_eq!(bye.linkup.unwrap().offer.map(|offer| linkup_proto::key::encode(&offer)), Some(digest_of(&first)));
    }
}

#[test]
fn who_knows_nothing_of_a_session_says_which_words_it_answers() {
    let mut solo = solo(with_key);
    let next = json!({"type": "offer", "sdp": "next", "linkup": {"v": 1, "session": "s", "transport": 1}}).to_string();
    let resume = json!({"type": "resume", "linkup": {"v": 1, "session": "s", "transport": 0}}).to_string();
    for text in [next, resume, answer("s")] {
        let text = says("bob", &text);
        solo.signal(&id("bob"), &text);
        let bye = solo.signals().pop().unwrap().1.linkup.unwrap();
        assert_eq!(bye.offer.map(|offer| linkup_proto::key::encode(&offer)), Some(digest_of(&text)), "{text}");
        solo.take();
    }
    // The other side takes that as the answer to what it has said, and as nothing else.
    let (transport, session) = call(&mut solo, 1, "bob");
    let right = says("bob", &answer_to(&solo, &session));
    solo.signal(&id("bob"), &right);
    solo.transport(transport, TransportInput::Open);
    solo.transport(transport, TransportInput::Silent);
    let transport = made(&solo);
    solo.transport(transport, described("next offer"));
    let said = texts(&solo).pop().unwrap();
    solo.signal(&id("bob"), &bye_about("bob", &session, Some(&said)));
    assert_eq!(closed(&solo, ALICE), Some(None));

    let mut called = common::solo(with_key);
    called.signal(&id("bob"), &says("bob", &offer("s")));
    let transport = made(&called);
    called.transport(transport, described("our answer"));
    called.transport(transport, TransportInput::Open);
    called.transport(transport, TransportInput::Silent);
    let said = texts(&called).pop().unwrap();
    assert_eq!(Signal::parse(&said).unwrap().body, Body::Resume);
    called.signal(&id("bob"), &bye_about("bob", "s", Some(&said)));
    assert!(called.events().iter().any(|event| matches!(event, Event::Closed { error: None, .. })));
}
