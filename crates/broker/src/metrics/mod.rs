//! What the broker has done so far, in numbers. Knows nothing of who counts; `text` writes them down for Prometheus.
//!
//! Each thread counts in a stripe of its own, so that to count is a few nanoseconds whatever the others do.

mod text;

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use linkup_proto::ErrorCode;

pub(crate) use text::{Gauges, render};

/// Stripes: threads beyond share theirs.
const STRIPES: usize = 8;

/// The upper ends of the classes of [`Metrics::routed`], in microseconds. What took longer is in one more.
const CLASSES: [u64; 12] = [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000];

macro_rules! counts {
    ($($name:ident = $family:literal $label:literal,)*) => {
        /// What is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Count { $($name,)* }

        /// The names of the counters, as Prometheus has them: the family and the label.
        const NAMES: [(&str, &str); [$($family,)*].len()] = [$(($family, $label),)*];
    };
}

counts! {
    Connected = "linkup_connections_total" "",
    Opened = "linkup_web_sockets_total" "",
    BytesIn = "linkup_bytes_total" "direction=\"in\"",
    BytesOut = "linkup_bytes_total" "direction=\"out\"",
    Ping = "linkup_messages_total" "type=\"ping\"",
    Find = "linkup_messages_total" "type=\"find\"",
    Register = "linkup_messages_total" "type=\"register\"",
    Unregister = "linkup_messages_total" "type=\"unregister\"",
    Signal = "linkup_messages_total" "type=\"signal\"",
    Ice = "linkup_messages_total" "type=\"ice\"",
    Nonsense = "linkup_messages_total" "type=\"nonsense\"",
    RefusedFull = "linkup_refused_total" "reason=\"sockets\"",
    RefusedAddressSockets = "linkup_refused_total" "reason=\"address_sockets\"",
    RefusedConnections = "linkup_refused_total" "reason=\"address_connections\"",
    RefusedDraining = "linkup_refused_total" "reason=\"draining\"",
    RefusedOrigin = "linkup_refused_total" "reason=\"origin\"",
    RefusedHandshake = "linkup_refused_total" "reason=\"handshake\"",
    RefusedSocketMessages = "linkup_refused_total" "reason=\"socket_messages\"",
    RefusedSocketBytes = "linkup_refused_total" "reason=\"socket_bytes\"",
    RefusedAddressMessages = "linkup_refused_total" "reason=\"address_messages\"",
    RefusedAddressBytes = "linkup_refused_total" "reason=\"address_bytes\"",
    RefusedFrame = "linkup_refused_total" "reason=\"frame_bytes\"",
    RefusedProtocol = "linkup_refused_total" "reason=\"protocol\"",
    RefusedUnauthorized = "linkup_refused_total" "reason=\"not_authorized\"",
    RefusedTaken = "linkup_refused_total" "reason=\"id_taken\"",
    RefusedUnknown = "linkup_refused_total" "reason=\"peer_not_found\"",
    RefusedUnreachable = "linkup_refused_total" "reason=\"broker_unreachable\"",
    RefusedOther = "linkup_refused_total" "reason=\"other\"",
    DroppedSlow = "linkup_dropped_total" "reason=\"slow\"",
    DroppedSilent = "linkup_dropped_total" "reason=\"silent\"",
    DroppedLimit = "linkup_dropped_total" "reason=\"limit\"",
    TakenOver = "linkup_dropped_total" "reason=\"taken_over\"",
    PassedOn = "linkup_cluster_signals_total" "direction=\"out\"",
    Delivered = "linkup_cluster_signals_total" "direction=\"in\"",
    CutOff = "linkup_cluster_cuts_total" "",
}

/// On a cache line of its own, and the one beside it, which processors fetch together.
#[repr(align(128))]
struct Stripe {
    counts: [AtomicU64; NAMES.len()],
    classes: [AtomicU64; CLASSES.len() + 1],
    /// Of all that is in the classes.
    nanoseconds: AtomicU64,
}

/// The counters.
pub(crate) struct Metrics {
    stripes: Box<[Stripe]>,
}

thread_local! {
    static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
}

fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    STRIPE.with(|stripe| {
        if stripe.get() == usize::MAX {
            stripe.set(NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES);
        }
        stripe.get()
    })
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let zero = |_| AtomicU64::new(0);
        let stripe = |_| Stripe {
            counts: std::array::from_fn(zero),
            classes: std::array::from_fn(zero),
            nanoseconds: AtomicU64::new(0),
        };
        Self { stripes: (0..STRIPES).map(stripe).collect() }
    }

    /// One more.
    pub(crate) fn count(&self, what: Count) {
        self.add(what, 1);
    }

    pub(crate) fn add(&self, what: Count, number: u64) {
        if let Some(count) = self.stripe().and_then(|stripe| stripe.counts.get(what as usize)) {
            count.fetch_add(number, Ordering::Relaxed);
        }
    }

    /// A request was answered with an error.
    pub(crate) fn refused(&self, code: ErrorCode) {
        self.count(match code {
            ErrorCode::Protocol => Count::RefusedProtocol,
            ErrorCode::NotAuthorized => Count::RefusedUnauthorized,
            ErrorCode::IdTaken => Count::RefusedTaken,
            ErrorCode::PeerNotFound => Count::RefusedUnknown,
            ErrorCode::BrokerUnreachable => Count::RefusedUnreachable,
            _ => Count::RefusedOther,
        });
    }

    /// A signal was on its way through the broker for so long.
    pub(crate) fn routed(&self, time: Duration) {
        let Some(stripe) = self.stripe() else { return };
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let class = CLASSES.iter().position(|end| microseconds <= *end).unwrap_or(CLASSES.len());
        if let Some(class) = stripe.classes.get(class) {
            class.fetch_add(1, Ordering::Relaxed);
        }
        stripe.nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(0), Ordering::Relaxed);
    }

    #[cfg(test)]
    fn get(&self, what: Count) -> u64 {
        self.sum(|stripe| stripe.counts.get(what as usize))
    }

    fn stripe(&self) -> Option<&Stripe> {
        self.stripes.get(stripe())
    }

    fn sum<'a>(&'a self, one: impl Fn(&'a Stripe) -> Option<&'a AtomicU64>) -> u64 {
        self.stripes.iter().filter_map(one).map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_count_together() {
        let metrics = Metrics::new();
        std::thread::scope(|scope| {
            for _ in 0..2 * STRIPES {
                scope.spawn(|| (0..100).for_each(|_| metrics.add(Count::BytesIn, 10)));
            }
        });
        assert_eq!(metrics.get(Count::BytesIn), 2 * STRIPES as u64 * 1_000);
        assert_eq!(metrics.get(Count::BytesOut), 0);
    }
}
