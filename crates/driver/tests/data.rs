//! What goes through a connection, and what is left of it when it closes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, missing_docs)]

mod common;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Testee, broker, options, pair, pair_of, text};
use linkup_driver::core::Token;
use linkup_driver::{Direction, Message, SendError, Sent};
use linkup_proto::{Error, ErrorCode};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_messages_arrive_in_order() {
    const COUNT: usize = 100_000;
    let (_broker, url) = broker();
    let pair = pair(&url).await;
    let link = pair.a.link(pair.ab);
    let start = Instant::now();
    for n in 0..COUNT {
        pair.a.send(&link, text(format!("{n:0100}"))).await;
    }
    pair.b.received(COUNT).await;
    println!("{:.0} messages of 100 bytes a second", COUNT as f64 / start.elapsed().as_secs_f64());
    for (n, message) in pair.b.take_messages().into_iter().enumerate() {
        assert_eq!(message, text(format!("{n:0100}")));
    }
    // Acknowledged, which may take SCTP 200 ms.
    let mut rounds = 0;
    while link.buffered() > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        rounds += 1;
        assert!(rounds < 100, "{} bytes are never acknowledged", link.buffered());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_arrive_in_both_directions_at_once() {
    const COUNT: usize = 400;
    let (_broker, url) = broker();
    let pair = pair(&url).await;
    let (ab, ba) = (pair.a.link(pair.ab), pair.b.link(pair.ba));
    let body = |n: usize| Message::Binary(Bytes::from(vec![n as u8; 64 * 1024 + n]));
    let start = Instant::now();
    let there = async {
        for n in 0..COUNT {
            pair.a.send(&ab, body(n)).await;
        }
    };
    let back = async {
        for n in 0..COUNT {
            pair.b.send(&ba, body(n)).await;
        }
    };
    tokio::join!(there, back);
    pair.a.received(COUNT).await;
    pair.b.received(COUNT).await;
    println!("{:.0} MB/s in sum", 2.0 * COUNT as f64 * 65.5e3 / 1e6 / start.elapsed().as_secs_f64());
    for side in [&pair.a, &pair.b] {
        for (n, message) in side.take_messages().into_iter().enumerate() {
            assert_eq!(message, body(n));
        }
    }
}

/// Sizes that fill SCTP's buffer to the last byte, with the confirmations of the other direction in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_sctp_takes_no_message_for_nothing() {
    let (_broker, url) = broker();
    let pair = pair(&url).await;
    let (ab, ba) = (pair.a.link(pair.ab), pair.b.link(pair.ba));
    for size in [64 * 1024, 64 * 1024 - 1, 4096, 1000] {
        let count = (32 << 20) / size;
        let before = pair.a.ear.count.load(Ordering::SeqCst);
        let body = Message::Binary(Bytes::from(vec![1; size]));
        let there = async {
            for _ in 0..count {
                pair.a.send(&ab, body.clone()).await;
            }
        };
        let back = async {
            for _ in 0..count {
                pair.b.send(&ba, body.clone()).await;
            }
        };
        tokio::join!(there, back);
        pair.a.received(before + count).await;
        pair.b.received(before + count).await;
        assert!(pair.a.take_messages().into_iter().chain(pair.b.take_messages()).all(|message| message == body));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_message_arrives_and_a_larger_one_is_refused() {
    let (_broker, url) = broker();
    let pair = pair(&url).await;
    let link = pair.a.link(pair.ab);
    let limit = link.max_message();
    assert_eq!(limit, 64 << 20);
    let binary = |length: usize| Message::Binary(Bytes::from(vec![7; length]));
    assert_eq!(link.send(text("x".repeat(limit + 1))), Err(SendError::TooLarge { limit }));
    assert_eq!(link.send(binary(limit + 1)), Err(SendError::TooLarge { limit }));
    pair.a.send(&link, text("x".repeat(limit))).await;
    pair.a.send(&link, binary(limit)).await;
    pair.b.received(2).await;
    let [first, second] = &pair.b.take_messages()[..] else { panic!("two messages") };
    assert!(*first == text("x".repeat(limit)) && *second == binary(limit));
}

/// 50 x 64 KiB and then `close()`, one way, the other way, and both ways at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_before_the_close_arrives() {
    const COUNT: usize = 50;
    let (_broker, url) = broker();
    for round in 0..50 {
        for (from_a, from_b) in [(true, false), (false, true), (true, true)] {
            let mut pair = pair(&url).await;
            let (ab, ba) = (pair.a.link(pair.ab), pair.b.link(pair.ba));
            for n in 0..COUNT {
                if from_a {
                    ab.send(text(format!("{n}").repeat(64 * 1024 / 2))).unwrap();
                }
                if from_b {
                    ba.send(text(format!("{n}").repeat(64 * 1024 / 2))).unwrap();
                }
            }
            if from_a {
                pair.a.peer.close(pair.ab, None);
            }
            if from_b {
                pair.b.peer.close(pair.ba, None);
            }
            assert_eq!(pair.a.closed().await, None, "round {round} {from_a} {from_b}");
            assert_eq!(pair.b.closed().await, None, "round {round} {from_a} {from_b}");
            // No waiting: everything came before `Closed`.
            let counts = (pair.a.ear.count.load(Ordering::SeqCst), pair.b.ear.count.load(Ordering::SeqCst));
            let expected = (if from_b { COUNT } else { 0 }, if from_a { COUNT } else { 0 });
            assert_eq!(counts, expected, "round {round} {from_a} {from_b}");
            assert_eq!(ab.send(text("late")), Err(SendError::Closed));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_closed_on_still_delivers_what_it_had_taken() {
    let (_broker, url) = broker();
    let mut pair = pair(&url).await;
    let ba = pair.b.link(pair.ba);
    for _ in 0..100 {
        ba.send(text("y".repeat(60_000))).unwrap();
    }
    pair.a.peer.close(pair.ab, None);
    assert_eq!(pair.a.closed().await, None);
    assert_eq!(pair.b.closed().await, None);
    assert_eq!(pair.a.ear.count.load(Ordering::SeqCst), 100);
}

/// A reader that stops makes the sender stop, and when it goes on nothing is lost and nothing dawdles.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_slows_the_sender() {
    let (_broker, url) = broker();
    for (size, total) in [(100, 200_000), (60_000, 2_000)] {
        let mut a = options(&url, "a");
        a.limits.buffered_bytes = 4 << 20;
        let pair = pair_of(a, options(&url, "b")).await;
        let link = pair.a.link(pair.ab);
        pair.b.ear.forget.store(true, Ordering::SeqCst);
        pair.b.stop_reading();
        let body = "z".repeat(size);
        // A receiver whose window is closed still takes a packet now and then: the sender asks whether it is open.
        let (mut sent, mut refusals, mut at_first_refusal) = (0, 0, 0);
        while sent < total && refusals < 20 {
            match link.send(text(body.clone())) {
                Ok(_) => sent += 1,
                Err(SendError::BufferFull) => {
                    if sent > at_first_refusal + 10 {
                        (refusals, at_first_refusal) = (0, sent);
                    }
                    refusals += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        let handed = pair.b.ear.count.load(Ordering::SeqCst);
        println!("{size} bytes: {sent} of {total} taken while nobody read, {handed} handed over");
        assert!(sent < total, "the sender was never stopped");
        let start = Instant::now();
        pair.b.go_on_reading();
        pair.b.received(sent).await;
        println!("{size} bytes: the rest came in {:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(10), "something waited for a timer: {:?}", start.elapsed());
    }
}

/// Bursts that end: the last messages of each must not wait for the next packet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_burst_comes_at_once() {
    let (_broker, url) = broker();
    let pair = pair(&url).await;
    let link = pair.a.link(pair.ab);
    let mut worst = Duration::ZERO;
    for round in 1..=30 {
        let start = Instant::now();
        for _ in 0..5_000 {
            pair.a.send(&link, text("x".repeat(20))).await;
        }
        pair.b.received(round * 5_000).await;
        worst = worst.max(start.elapsed());
    }
    println!("the slowest burst of 5,000 took {worst:?}");
    assert!(worst < Duration::from_millis(900), "{worst:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_buffer_says_so_and_says_when_it_is_not() {
    let (_broker, url) = broker();
    let mut a = options(&url, "a");
    a.limits.high_water_mark = 100_000;
    a.limits.buffered_bytes = 8 << 20;
    let pair = pair_of(a, options(&url, "b")).await;
    let link = pair.a.link(pair.ab);
    let mut full = 0;
    for _ in 0..200 {
        if link.send(text("x".repeat(50_000))).unwrap() == Sent::Full {
            full += 1;
            pair.a.drained().await;
        }
    }
    assert!(full > 0);
    pair.b.received(200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_close_that_nobody_confirms_ends_all_the_same() {
    let (_broker, url) = broker();
    let mut a = options(&url, "a");
    a.timeouts.close = Duration::from_millis(500);
    let mut pair = pair_of(a, options(&url, "b")).await;
    let link = pair.a.link(pair.ab);
    pair.b.stop_reading();
    for _ in 0..1000 {
        link.send(text("x".repeat(10_000))).unwrap();
    }
    pair.a.peer.close(pair.ab, None);
    let error = pair.a.closed().await.unwrap();
    assert_eq!(error.code, ErrorCode::CloseTimeout);
    println!("{error}");
    pair.b.go_on_reading();
    // Nor does the remote believe that it has everything.
    assert_eq!(pair.b.closed().await.unwrap().code, ErrorCode::ConnectionLost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_comes_back_in_time_gets_everything() {
    let (_broker, url) = broker();
    let mut pair = pair(&url).await;
    let link = pair.a.link(pair.ab);
    pair.b.stop_reading();
    for _ in 0..20_000 {
        link.send(text("x".repeat(100))).unwrap();
    }
    pair.a.peer.close(pair.ab, None);
    tokio::time::sleep(Duration::from_millis(700)).await;
    pair.b.go_on_reading();
    assert_eq!(pair.a.closed().await, None);
    assert_eq!(pair.b.closed().await, None);
    assert_eq!(pair.b.ear.count.load(Ordering::SeqCst), 20_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_heard_after_an_abort() {
    let (_broker, url) = broker();
    let mut pair = pair(&url).await;
    let ba = pair.b.link(pair.ba);
    for _ in 0..2_000 {
        ba.send(text("x".repeat(1_000))).unwrap();
    }
    pair.a.received(10).await;
    let reason = Error::new(ErrorCode::Aborted, "enough");
    pair.a.peer.close(pair.ab, Some(reason.clone()));
    assert_eq!(pair.a.closed().await, Some(reason));
    let count = pair.a.ear.count.load(Ordering::SeqCst);
    pair.b.closed().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(pair.a.ear.count.load(Ordering::SeqCst), count);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closing_peer_delivers_for_all_its_connections() {
    let (_broker, url) = broker();
    let mut hub = Testee::registered(options(&url, "hub")).await;
    let mut others = Vec::new();
    for n in 0..10 {
        let mut other = Testee::registered(options(&url, &format!("other{n}"))).await;
        other.peer.connect(linkup_proto::PeerId::new("hub").unwrap());
        other.opened().await;
        others.push(other);
    }
    for _ in 0..10 {
        let connection = hub.opened().await;
        let link = hub.link(connection);
        for _ in 0..20 {
            link.send(text("x".repeat(50_000))).unwrap();
        }
    }
    hub.peer.close_peer();
    assert_eq!(hub.peer_closed().await, None);
    for mut other in others {
        other.closed().await;
        assert_eq!(other.ear.count.load(Ordering::SeqCst), 20);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_message_hears_when_the_remote_has_it() {
    let (_broker, url) = broker();
    let pair = pair(&url).await;
    let link = pair.a.link(pair.ab);
    for n in 1..=10 {
        let size = if n % 2 == 0 { 10 } else { 300_000 };
        link.send_for(text("x".repeat(size)), Some(Token(n))).unwrap();
        link.send(text("in between")).unwrap();
    }
    assert!(pair.a.heard(|ear| ear.tokens.lock().unwrap().len() == 10).await);
    assert_eq!(*pair.a.ear.tokens.lock().unwrap(), (1..=10).map(Token).collect::<Vec<_>>());
    assert!(pair.b.ear.count.load(Ordering::SeqCst) >= 19, "the remote has it before we hear so");
    // Not by the next ACK that is due anyway.
    let start = Instant::now();
    for n in 0..20 {
        link.send_for(text("x"), Some(Token(100 + n))).unwrap();
        assert!(pair.a.heard(|ear| ear.tokens.lock().unwrap().len() == 11 + n as usize).await);
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

/// An application that wants no messages for a while: the sender stops at the window, streams go on, nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_connection_stops_its_sender_and_no_stream() {
    let (_broker, url) = broker();
    let mut pair = pair(&url).await;
    let (link, other) = (pair.a.link(pair.ab), pair.b.link(pair.ba));
    other.flow(false);
    const COUNT: usize = 400;
    for _ in 0..COUNT {
        link.send(text("x".repeat(50_000))).unwrap();
    }
    for n in 0..100 {
        assert_eq!(link.send_stream(9, 2, &[n; 1000]), Ok(Sent::Done));
    }
    assert!(pair.b.heard(|ear| ear.streams.lock().unwrap().len() == 100).await);
    assert_eq!(pair.b.ear.streams.lock().unwrap()[99][..6], [9, 0, 0, 0, 2, 99]);
    let waits = link.buffered();
    assert!(waits > 10_000_000, "{waits} bytes wait: the remote's window is 8 MiB");
    assert_eq!(pair.b.ear.count.load(Ordering::SeqCst), 0);
    other.flow(true);
    pair.b.received(COUNT).await;
    // What it had not taken when the connection closes reaches it before the end.
    other.flow(false);
    link.send(text("late")).unwrap();
    pair.a.peer.close(pair.ab, None);
    assert_eq!(pair.a.closed().await.unwrap().code, ErrorCode::CloseTimeout);
    pair.b.closed().await;
    assert_eq!(pair.b.take_messages().last(), Some(&text("late")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_no_streams_resets_those_of_the_remote() {
    let (_broker, url) = broker();
    let pair = pair(&url).await;
    pair.b.ear.streamless.store(true, Ordering::Relaxed);
    let link = pair.a.link(pair.ab);
    link.send_stream(8, 2, br#"{"name":"film"}"#).unwrap();
    link.send_stream(9, 2, &[0; 100]).unwrap();
    assert!(pair.a.heard(|ear| !ear.streams.lock().unwrap().is_empty()).await);
    let answers = pair.a.ear.streams.lock().unwrap().clone();
    assert_eq!((answers.len(), &answers[0][..5]), (1, &[11, 0, 0, 0, 2][..]));
    assert!(pair.b.ear.streams.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_frames_of_streams_say_when_they_are_too_many() {
    let (_broker, url) = broker();
    let pair = pair(&url).await;
    let link = pair.a.link(pair.ab);
    let mut full = 0;
    for _ in 0..2_000 {
        if link.send_stream(9, 2, &[0; 60_000]).unwrap() == Sent::Full {
            full += 1;
            pair.a.streams_drained().await;
        }
    }
    assert!(full > 10, "{full}");
    assert!(pair.b.heard(|ear| ear.streams.lock().unwrap().len() == 2_000).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_message_reports_its_progress_on_both_sides() {
    let (_broker, url) = broker();
    let pair = pair(&url).await;
    pair.a.link(pair.ab).send_for(text("x".repeat(5_000_000)), Some(Token(1))).unwrap();
    assert!(pair.a.heard(|ear| !ear.tokens.lock().unwrap().is_empty()).await);
    for (side, direction) in [(&pair.a, Direction::Sending), (&pair.b, Direction::Receiving)] {
        let progress = side.ear.progress.lock().unwrap();
        assert!((10..=21).contains(&progress.len()), "{progress:?}");
        assert_eq!(progress[0], (direction, 65_536, 5_000_000));
        assert!(progress.is_sorted_by_key(|(_, done, _)| *done));
        assert_eq!(progress[progress.len() - 1], (direction, 5_000_000, 5_000_000));
    }
}

/// What a remote takes says nothing of what it sends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_little_may_send_much() {
    let (_broker, url) = broker();
    let mut a = options(&url, "a");
    a.limits.message_bytes = 1000;
    let pair = pair_of(a, options(&url, "b")).await;
    let (link, other) = (pair.a.link(pair.ab), pair.b.link(pair.ba));
    assert_eq!((link.max_message(), other.max_message()), (64 << 20, 1000));
    for size in [1000, 1000, 5000, 200_000] {
        link.send(text("x".repeat(size))).unwrap();
    }
    pair.b.received(4).await;
}
