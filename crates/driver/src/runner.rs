//! The task of a connection, which whoever sends may run, too: to wake another thread takes longer than to send a small
//! message.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::task::{Context, Poll, Waker};

use tokio::runtime::Handle;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    static HERE: Cell<bool> = const { Cell::new(false) };
}

/// Whether a task runs inside a call of the application: then it must not take long.
pub(crate) fn is_here() -> bool {
    HERE.get()
}

/// Says so, as long as it lives, also where the task panics.
struct Here;

impl Here {
    fn new() -> Self {
        HERE.set(true);
        Self
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        HERE.set(false);
    }
}

/// See the module.
pub(crate) struct Runner {
    /// None: it has ended.
    task: Mutex<Option<Task>>,
    /// Makes the runtime run it.
    waker: Mutex<Option<Waker>>,
    runtime: Handle,
}

impl Runner {
    /// Starts a task.
    pub(crate) fn spawn(runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) -> Weak<Self> {
        let runner = Arc::new(Self {
            task: Mutex::new(Some(Box::pin(task))),
            waker: Mutex::new(None),
            runtime: runtime.clone(),
        });
        let weak = Arc::downgrade(&runner);
        runtime.spawn(poll_fn(move |cx| runner.poll(cx)));
        weak
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(mut task) = self.try_task() else {
            // For some microseconds.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        let mut waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        drop(waker);
        step(&mut task, cx)
    }

    /// Runs the task here and now, but for what has come to it. False: it runs elsewhere, or has not begun, or has ended.
    pub(crate) fn run_here(&self) -> bool {
        let Some(mut task) = self.try_task() else { return false };
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (Some(waker), true) = (waker, task.is_some()) else { return false };
        let _context = self.runtime.enter();
        let _here = Here::new();
        if step(&mut task, &mut Context::from_waker(&waker)).is_ready() {
            // The runtime's task has to hear it.
            waker.wake();
        }
        true
    }

    fn try_task(&self) -> Option<MutexGuard<'_, Option<Task>>> {
        match self.task.try_lock() {
            Ok(task) => Some(task),
            Err(TryLockError::WouldBlock) => None,
            // It has panicked: that was its end.
            Err(TryLockError::Poisoned(error)) => {
                let mut task = error.into_inner();
                *task = None;
                Some(task)
            }
        }
    }
}

fn step(task: &mut Option<Task>, cx: &mut Context<'_>) -> Poll<()> {
    let Some(running) = task else { return Poll::Ready(()) };
    let polled = running.as_mut().poll(cx);
    if polled.is_ready() {
        *task = None;
    }
    polled
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_task_runs_here_and_there_and_ends_once() {
        const ROUNDS: usize = 10_000;
        let polls = Arc::new(AtomicUsize::new(0));
        let inside = Arc::new(AtomicUsize::new(0));
        let (ended, mut end) = tokio::sync::oneshot::channel();
        let mut ended = Some(ended);
        let counted = Arc::clone(&polls);
        let runner = Runner::spawn(
            &Handle::current(),
            poll_fn(move |cx| {
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two threads at once");
                let count = counted.fetch_add(1, Ordering::SeqCst);
                if count.is_multiple_of(2) {
                    cx.waker().wake_by_ref();
                }
                inside.fetch_sub(1, Ordering::SeqCst);
                if count < ROUNDS {
                    return Poll::Pending;
                }
                ended.take().unwrap().send(()).unwrap();
                Poll::Ready(())
            }),
        );
        tokio::task::spawn_blocking(move || {
            while let Some(runner) = runner.upgrade() {
                runner.run_here();
                std::hint::spin_loop();
            }
        })
        .await
        .unwrap();
        end.try_recv().unwrap();
        assert_eq!(polls.load(Ordering::SeqCst), ROUNDS + 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    #[allow(clippy::panic)]
    async fn a_task_that_panics_here_is_over() {
        let (polled, first) = tokio::sync::oneshot::channel();
        let mut polled = Some(polled);
        let runner = Runner::spawn(
            &Handle::current(),
            poll_fn(move |_| {
                if is_here() {
                    panic!("on purpose");
                }
                if let Some(polled) = polled.take() {
                    polled.send(()).unwrap();
                }
                Poll::Pending
            }),
        );
        first.await.unwrap();
        let runner = runner.upgrade().unwrap();
        // The first poll may not be over.
        let run = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runner.run_here()));
        while let Ok(ran) = run() {
            assert!(!ran, "it has not panicked");
        }
        assert!(!is_here());
        assert!(!runner.run_here());
    }
}
