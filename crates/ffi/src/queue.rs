//! What waits to be taken by C, with its bounds.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use linkup_driver::core::{ConnectionId, Event, Token};
use linkup_driver::{Message, Sink};
use tokio::sync::Notify;

use crate::events::{ARRIVED, Body, DRAINED, Taken};

/// Bytes of messages above which no more are taken from the network, and what a message costs besides its bytes.
const HIGH: usize = 1 << 20;
const COST: usize = 64;

/// Events that may wait; `linkup.h` says so. A program that works takes them long before.
const MOST: usize = 65_536;

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Taken>,
    bytes: usize,
    over: bool,
}

/// The events of one peer.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    room: Notify,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn post(&self, event: Taken) {
        let mut state = self.state();
        if state.over {
            return;
        }
        state.over = event.closed;
        state.events.push_back(event);
        if state.events.len() >= MOST && !state.over {
            state.over = true;
            state.events.push_back(Taken::overrun());
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// The next event, or none until then, or none any more.
    pub(crate) fn next(&self, until: Option<Instant>) -> Option<Taken> {
        let mut state = self.state();
        loop {
            if let Some(event) = state.events.pop_front() {
                let before = state.bytes;
                state.bytes -= if is_message(&event) { event.body.len() + COST } else { 0 };
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

fn is_message(event: &Taken) -> bool {
    event.kind == crate::events::MESSAGE
}

impl Sink for Queue {
    fn event(&self, event: Event) {
        if let Some(event) = Taken::from_machine(event) {
            self.post(event);
        }
    }

    fn message(&self, connection: ConnectionId, message: Message) -> bool {
        self.state().bytes += message.len() + COST;
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
