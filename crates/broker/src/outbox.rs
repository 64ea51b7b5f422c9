//! What waits to be sent to one socket. Knows frames and bounds; what a frame says is not its matter.
//!
//! Anybody may put something in, from any thread, and never waits for it: a socket that does not keep up is
//! ended, so that one slow consumer costs neither memory nor the time of the others.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Frames that may wait: what a thousand candidates of peers that all call at once need.
pub(crate) const MAX_FRAMES: usize = 1024;

/// Bytes that may wait.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;

/// An emptied queue with room for more frames than this gives its memory back.
const KEPT_CAPACITY: usize = 4;

/// Why a socket is ended by others than its own client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Another socket proved by its secret that it owns the id.
    TakenOver,
    /// The broker closes.
    GoingAway,
    /// The client does not read what is sent to it.
    TooSlow,
}

/// The frames for one socket.
#[derive(Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Utf8Bytes>,
    bytes: usize,
    end: Option<End>,
    waker: Option<Waker>,
}

impl Outbox {
    /// Queues a frame. False where the socket is ended, or is so by this one frame too many.
    pub(crate) fn push(&self, frame: Utf8Bytes) -> bool {
        let mut state = self.lock();
        if state.end.is_some() {
            return false;
        }
        let fits = state.frames.len() < MAX_FRAMES && state.bytes + frame.len() <= MAX_BYTES;
        if fits {
            state.bytes += frame.len();
            state.frames.push_back(frame);
        } else {
            state.frames = VecDeque::new();
            state.bytes = 0;
            state.end = Some(End::TooSlow);
        }
        wake(state);
        fits
    }

    /// Ends the socket. The first reason counts.
    pub(crate) fn end(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        wake(state);
    }

    /// Why the socket is ended, if it is; otherwise its task is woken at the next change.
    pub(crate) fn watch(&self, cx: &Context<'_>) -> Option<End> {
        let mut state = self.lock();
        if state.end.is_none() && !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        state.end
    }

    /// The next frame.
    pub(crate) fn pop(&self) -> Option<Utf8Bytes> {
        let mut state = self.lock();
        let frame = state.frames.pop_front();
        match &frame {
            Some(frame) => state.bytes -= frame.len(),
            None if state.frames.capacity() > KEPT_CAPACITY => state.frames = VecDeque::new(),
            None => {}
        }
        frame
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes after the lock is released: the woken task takes it at once.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn keeps_the_order_and_gives_memory_back() {
        let outbox = Outbox::default();
        for frame in ["a", "b", "c", "d", "e"] {
            assert!(outbox.push(frame.into()));
        }
        let frames: Vec<_> = std::iter::from_fn(|| outbox.pop()).collect();
        assert_eq!(frames, ["a", "b", "c", "d", "e"]);
        let state = outbox.lock();
        assert_eq!((state.bytes, state.frames.capacity()), (0, 0));
    }

    #[test]
    fn too_many_frames_end_the_socket() {
        let outbox = Outbox::default();
        assert!((0..MAX_FRAMES).all(|_| outbox.push("".into())));
        assert!(!outbox.push("".into()));
        assert!(!outbox.push("".into()));
        assert_eq!(outbox.watch(&Context::from_waker(Waker::noop())), Some(End::TooSlow));
        assert_eq!(outbox.pop(), None);
    }

    #[test]
    fn too_many_bytes_end_the_socket() {
        let outbox = Outbox::default();
        let half: Utf8Bytes = "a".repeat(MAX_BYTES / 2).into();
        assert!(outbox.push(half.clone()) && outbox.push(half));
        assert!(!outbox.push("a".into()));
    }

    #[test]
    fn the_first_end_counts_and_what_was_queued_before_stays() {
        let outbox = Outbox::default();
        outbox.push("a".into());
        outbox.end(End::GoingAway);
        outbox.end(End::TakenOver);
        assert_eq!(outbox.watch(&Context::from_waker(Waker::noop())), Some(End::GoingAway));
        assert!(!outbox.push("b".into()));
        assert_eq!(outbox.pop(), Some("a".into()));
    }

    #[test]
    fn wakes_once_for_each_time_that_it_was_watched() {
        let (outbox, count) = (Outbox::default(), Arc::new(Count::default()));
        let waker = count.clone().into();
        let wakes = || count.0.load(Ordering::SeqCst);
        assert_eq!(outbox.watch(&Context::from_waker(&waker)), None);
        outbox.push("a".into());
        outbox.push("b".into());
        assert_eq!(wakes(), 1);
        outbox.watch(&Context::from_waker(&waker));
        outbox.end(End::TakenOver);
        assert_eq!(wakes(), 2);
    }
}
