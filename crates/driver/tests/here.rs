//! Who sends a small message on a quiet connection sends it in its own thread.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod common;

use std::sync::mpsc;
use std::time::Duration;

use common::{Testee, broker, options, text};
use linkup_proto::PeerId;
use tokio::runtime::{Builder, Runtime};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn a_message_sent_here_needs_no_other_thread() {
    let (ours, theirs) = (runtime(), runtime());
    let _context = theirs.enter();
    let (_broker, url) = broker();
    let mut b = theirs.block_on(Testee::registered(options(&url, "b")));
    let mut a = ours.block_on(Testee::registered(options(&url, "a")));
    a.peer.connect(PeerId::new("b").unwrap());
    let ab = ours.block_on(a.opened());
    let ba = theirs.block_on(b.opened());
    let link = a.link(ab);
    // The remote's answer carries what SCTP waits for.
    link.send(text("first")).unwrap();
    theirs.block_on(b.received(1));
    b.link(ba).send(text("answer")).unwrap();
    ours.block_on(a.received(1));
    ours.block_on(async {
        while link.buffered() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    // From now on our only thread does nothing.
    let (go_on, wait) = mpsc::channel::<()>();
    let (blocked, is_blocked) = mpsc::channel();
    ours.spawn(async move {
        blocked.send(()).unwrap();
        wait.recv().unwrap();
    });
    is_blocked.recv().unwrap();
    link.send_here(text("second"), None).unwrap();
    theirs.block_on(b.received(2));
    // What is too large to be encrypted here waits for the thread, and so does what is behind it.
    link.send_here(text("x".repeat(100_000)), None).unwrap();
    link.send_here(text("third"), None).unwrap();
    assert!(link.buffered() > 100_000);
    go_on.send(()).unwrap();
    theirs.block_on(b.received(4));
    assert_eq!(b.take_messages().last(), Some(&text("third")));
}
