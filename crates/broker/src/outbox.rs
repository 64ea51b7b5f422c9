//! What waits to be sent to one socket. Knows frames and bounds; what a frame says is not its matter.
//!
//! Anybody may put something in, from any thread, and never waits for it: a socket that does not keep up is
//! ended, so that one slow consumer costs neither memory nor the time of the others.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Instant;

use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::limits::Limits;

/// How much may wait for one socket: see [`Limits`](crate::Limits).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    frames: u32,
    bytes: u32,
}

impl Bounds {
    pub(crate) fn new(limits: &Limits) -> Self {
        let saturated = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        Self { frames: saturated(limits.queue_frames), bytes: saturated(limits.queue_bytes) }
    }
}

/// An emptied queue with room for more frames than this gives its memory back.
const KEPT_CAPACITY: usize = 4;

/// Why a socket is ended by others than its own client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Another socket proved by its secret that it owns the id.
    TakenOver,
    /// This broker was cut off from the others for so long that somebody else could have the id.
    Lost,
    /// The broker closes.
    GoingAway,
    /// The broker closes, and asks to connect again: to another one, or to itself when it is back.
    Restarting,
    /// The client does not read what is sent to it.
    TooSlow,
}

/// The frames for one socket.
pub(crate) struct Outbox {
    state: Mutex<State>,
    bounds: Bounds,
}

/// A frame and when it came.
type Waiting = (Utf8Bytes, Instant);

#[derive(Default)]
struct State {
    frames: VecDeque<Waiting>,
    bytes: usize,
    end: Option<End>,
    waker: Option<Waker>,
}

impl Outbox {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { state: Mutex::default(), bounds }
    }

    /// Queues a frame. False where the socket is ended, or is so by this one frame too many.
    pub(crate) fn push(&self, frame: Utf8Bytes) -> bool {
        let now = Instant::now();
        let mut state = self.lock();
        if state.end.is_some() {
            return false;
        }
        let Bounds { frames, bytes } = self.bounds;
        let fits = state.frames.len() < frames as usize && state.bytes + frame.len() <= bytes as usize;
        if fits {
            state.bytes += frame.len();
            state.frames.push_back((frame, now));
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

    /// The next frame, and when it came.
    pub(crate) fn pop(&self) -> Option<Waiting> {
        let mut state = self.lock();
        let frame = state.frames.pop_front();
        match &frame {
            Some((frame, _)) => state.bytes -= frame.len(),
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

    const MAX_FRAMES: u32 = 100;
    const MAX_BYTES: u32 = 1000;

    fn outbox() -> Outbox {
        Outbox::new(Bounds { frames: MAX_FRAMES, bytes: MAX_BYTES })
    }

    fn pop(outbox: &Outbox) -> Option<Utf8Bytes> {
        outbox.pop().map(|(frame, _)| frame)
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn keeps_the_order_and_gives_memory_back() {
        let outbox = outbox();
        for frame in ["a", "b", "c", "d", "e"] {
            assert!(outbox.push(frame.into()));
        }
        let frames: Vec<_> = std::iter::from_fn(|| pop(&outbox)).collect();
        assert_eq!(frames, ["a", "b", "c", "d", "e"]);
        let state = outbox.lock();
        assert_eq!((state.bytes, state.frames.capacity()), (0, 0));
    }

    #[test]
    fn too_many_frames_end_the_socket() {
        let outbox = outbox();
        assert!((0..MAX_FRAMES).all(|_| outbox.push("".into())));
        assert!(!outbox.push("".into()));
        assert!(!outbox.push("".into()));
        assert_eq!(outbox.watch(&Context::from_waker(Waker::noop())), Some(End::TooSlow));
        assert_eq!(pop(&outbox), None);
    }

    #[test]
    fn too_many_bytes_end_the_socket() {
        let outbox = outbox();
        let half: Utf8Bytes = "a".repeat(MAX_BYTES as usize / 2).into();
        assert!(outbox.push(half.clone()) && outbox.push(half));
        assert!(!outbox.push("a".into()));
    }

    #[test]
    fn the_first_end_counts_and_what_was_queued_before_stays() {
        let outbox = outbox();
        outbox.push("a".into());
        outbox.end(End::GoingAway);
        outbox.end(End::TakenOver);
        assert_eq!(outbox.watch(&Context::from_waker(Waker::noop())), Some(End::GoingAway));
        assert!(!outbox.push("b".into()));
        assert_eq!(pop(&outbox), Some("a".into()));
    }

    #[test]
    fn wakes_once_for_each_time_that_it_was_watched() {
        let (outbox, count) = (outbox(), Arc::new(Count::default()));
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
