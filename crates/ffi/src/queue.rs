//! What waits to be taken by C, with its bounds.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use linkup_driver::core::{ConnectionId, Event, Token};
use linkup_driver::{Message, Sink};
use tokio::sync::Notify;

use crate::events::{ARRIVED, Body, CLOSED, DRAINED, MESSAGE, OPEN, Taken};

/// Bytes of messages above which no more are taken from the network, and what a message costs besides its bytes.
const HIGH: usize = 1 << 20;
const COST: usize = 64;

/// Events that may wait; `linkup.h` says so. A program that works takes them long before.
const MOST: usize = 65_536;

#[derive(Default)]
struct State {
    events: VecDeque<Taken>,
    /// Of messages that wait.
    bytes: usize,
    /// Connections of which more is to be said.
    open: HashSet<u32>,
    over: bool,
}

/// The events of one peer.
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    room: Notify,
    /// Ends the peer, whose events nobody takes.
    overrun: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl Queue {
    pub(crate) fn new(overrun: impl Fn() + Send + Sync + 'static) -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), room: Notify::new(), overrun: Box::new(overrun) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post(&self, event: Taken) {
        let mut state = self.state();
        if state.over {
            return;
        }
        match event.kind {
            OPEN => drop(state.open.insert(event.handle)),
            CLOSED => drop(state.open.remove(&event.handle)),
            // Its transport may say so a moment after its end.
            DRAINED if !state.open.contains(&event.handle) => return,
            MESSAGE => state.bytes += event.body.len() + COST,
            _ => {}
        }
        state.over = event.is_last();
        state.events.push_back(event);
        let overrun = state.events.len() >= MOST && !state.over;
        if overrun {
            state.over = true;
            state.events.push_back(Taken::overrun());
        }
        drop(state);
        self.arrived.notify_one();
        if overrun {
            // What waits for room is not taken any more: its sender keeps it.
            (self.overrun)();
        }
    }

    /// The next event, or none until then, or none any more.
    pub(crate) fn next(&self, until: Option<Instant>) -> Option<Taken> {
        let mut state = self.state();
        loop {
            if let Some(event) = state.events.pop_front() {
                let before = state.bytes;
                state.bytes -= if event.kind == MESSAGE { event.body.len() + COST } else { 0 };
                if before > HIGH && state.bytes <= HIGH {
                    self.room.notify_waiters();
                }
                return Some(event);
            }
            if state.over {
                return None;
            }
            state = match until {
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.checked_duration_since(Instant::now())?;
                    self.arrived.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Nothing more is taken, and nobody waits.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.over = true;
        state.events.clear();
        state.bytes = 0;
        drop(state);
        self.arrived.notify_all();
        self.room.notify_waiters();
    }

    fn is_full(&self) -> bool {
        let state = self.state();
        state.bytes > HIGH && !state.over
    }
}

impl Sink for Queue {
    fn event(&self, event: Event) {
        if let Some(event) = Taken::from_machine(event) {
            self.post(event);
        }
    }

    fn message(&self, connection: ConnectionId, message: Message) -> bool {
        self.post(Taken::message(connection.0, message));
        !self.is_full()
    }

    fn room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            loop {
                let room = self.room.notified();
                tokio::pin!(room);
                // Before looking: it may be made meanwhile.
                room.as_mut().enable();
                if !self.is_full() {
                    return;
                }
                room.await;
            }
        })
    }

    fn drained(&self, connection: ConnectionId) {
        self.post(Taken::new(DRAINED, connection.0, Body::Nothing));
    }

    fn arrived(&self, token: Token) {
        self.post(Taken::new(ARRIVED, token.0, Body::Nothing));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use linkup_proto::PeerId;

    use super::*;
    use crate::events::PEER_CLOSED;

    fn opened(connection: u32) -> Event {
        let remote = PeerId::new("bob").unwrap();
        let connection = ConnectionId(connection);
        Event::Open { connection, remote, incoming: true, metadata: None, identity: None, linkup: None, caller: false }
    }

    #[test]
    fn who_takes_no_events_loses_the_peer() {
        let lost = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&lost);
        let queue = Queue::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        for _ in 0..2 * MOST {
            queue.event(Event::Registered);
        }
        assert_eq!(lost.load(Ordering::SeqCst), 1);
        let now = Some(Instant::now());
        let kinds: Vec<u32> = std::iter::from_fn(|| queue.next(now)).map(|taken| taken.kind).collect();
        assert_eq!((kinds.len(), kinds.last()), (MOST + 1, Some(&PEER_CLOSED)));
    }

    #[test]
    fn nothing_is_said_of_a_connection_after_its_end() {
        let queue = Queue::new(|| {});
        queue.event(opened(1));
        queue.drained(ConnectionId(1));
        queue.event(Event::Closed { connection: ConnectionId(1), error: None });
        queue.drained(ConnectionId(1));
        let now = Some(Instant::now());
        let kinds: Vec<u32> = std::iter::from_fn(|| queue.next(now)).map(|taken| taken.kind).collect();
        assert_eq!(kinds, [OPEN, DRAINED, CLOSED]);
    }

    #[test]
    fn messages_that_wait_are_full_until_they_are_taken() {
        let queue = Queue::new(|| {});
        queue.event(opened(1));
        let message = || Message::Text("x".repeat(HIGH / 2));
        assert!(queue.message(ConnectionId(1), message()));
        assert!(!queue.message(ConnectionId(1), message()), "with what each costs");
        while queue.next(Some(Instant::now())).is_some() {}
        assert!(!queue.is_full());
        assert!(queue.message(ConnectionId(1), message()));
    }
}
