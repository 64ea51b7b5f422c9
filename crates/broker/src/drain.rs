//! How a broker moves its clients to another one: a few at a time, so that not all of them knock there at once. Knows
//! outboxes, nothing of why.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::outbox::{End, Outbox};

/// The time over which all clients are told. Long enough for the next broker, short enough for whoever waits for it.
const SPREAD: Duration = Duration::from_secs(4);

/// Between two groups of clients.
const TICK: Duration = Duration::from_millis(50);

/// Clients of a group, at least: few have no reason to wait.
const GROUP: usize = 20;

/// How often it is looked whether all are gone.
const LOOK: Duration = Duration::from_millis(20);

/// Tells clients to connect again, until the deadline; the last of them then together.
pub(crate) async fn tell(outboxes: &[Arc<Outbox>], deadline: Instant) {
    let time = SPREAD.min(deadline.saturating_duration_since(Instant::now()) / 2);
    let ticks = usize::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(0).max(1);
    let group = outboxes.len().div_ceil(ticks).max(GROUP);
    for (at, group) in outboxes.chunks(group).enumerate() {
        if at > 0 {
            sleep(TICK).await;
        }
        for outbox in group {
            outbox.end(End::Restarting);
        }
    }
}

/// Waits until `gone` says so, or the deadline has come. Returns whether they are gone.
pub(crate) async fn wait(deadline: Instant, gone: impl Fn() -> bool) -> bool {
    while !gone() {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(LOOK).await;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::outbox::Bounds;

    #[tokio::test]
    async fn tells_a_few_at_a_time_and_all_before_the_deadline() {
        let bounds = Bounds::new(&crate::Limits::default());
        let outboxes: Vec<_> = (0..100).map(|_| Arc::new(Outbox::new(bounds))).collect();
        let told = || {
            let ended = |outbox: &&Arc<Outbox>| outbox.watch(&Context::from_waker(Waker::noop())).is_some();
            outboxes.iter().filter(ended).count()
        };
        let deadline = Instant::now() + Duration::from_millis(400);
        let telling = tell(&outboxes, deadline);
        let mut telling = std::pin::pin!(telling);
        assert!(telling.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!((GROUP..50).contains(&told()), "{}", told());
        telling.await;
        assert_eq!(told(), 100);
    }

    #[tokio::test]
    async fn waits_no_longer_than_the_deadline() {
        assert!(wait(Instant::now(), || true).await);
        assert!(!wait(Instant::now() + LOOK, || false).await);
    }
}
