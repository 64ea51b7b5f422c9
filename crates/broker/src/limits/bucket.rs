//! How much of a rate is used up. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// So many tokens a second, and so many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    per_second: u64,
    /// How long an empty bucket takes to be whole again.
    depth: Duration,
}

impl Rate {
    /// `per_second` is at least 1.
    pub(crate) const fn new(per_second: u64, burst: u64) -> Self {
        let per_second = if per_second == 0 { 1 } else { per_second };
        Self { per_second, depth: time(burst, per_second) }
    }
}

/// The time in which so many tokens come.
const fn time(tokens: u64, per_second: u64) -> Duration {
    Duration::from_nanos(tokens.saturating_mul(1_000_000_000) / per_second)
}

/// A token bucket of some [`Rate`], which its owner knows: many buckets have the same.
#[derive(Debug)]
pub(crate) struct Bucket {
    whole_at: Instant,
}

impl Bucket {
    /// A whole one.
    pub(crate) fn new(now: Instant) -> Self {
        Self { whole_at: now }
    }

    /// Takes tokens if they are there.
    pub(crate) fn take(&mut self, tokens: u64, rate: Rate, now: Instant) -> bool {
        let Some(whole_at) = self.whole_at.max(now).checked_add(time(tokens, rate.per_second)) else { return false };
        let enough = whole_at - now <= rate.depth;
        if enough {
            self.whole_at = whole_at;
        }
        enough
    }

    /// Whether nothing is missing: a new one would be the same.
    pub(crate) fn is_whole(&self, now: Instant) -> bool {
        self.whole_at <= now
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bucket_gives_its_rate() {
        let start = Instant::now();
        let rate = Rate::new(1_000, 1_000);
        let mut bucket = Bucket::new(start);
        assert!(bucket.take(1_000, rate, start) && !bucket.take(1, rate, start));
        assert!(!bucket.take(101, rate, start + Duration::from_millis(100)));
        assert!(bucket.take(100, rate, start + Duration::from_millis(100)));
        assert!(!bucket.is_whole(start + Duration::from_millis(999)));
        assert!(bucket.is_whole(start + Duration::from_millis(1_100)));
        assert!(bucket.take(1_000, rate, start + Duration::from_secs(60)));
        assert!(!bucket.take(1, rate, start + Duration::from_secs(60)));
    }

    #[test]
    fn a_slow_one_still_fills_when_it_is_asked_often() {
        let start = Instant::now();
        let rate = Rate::new(1, 1);
        let mut slow = Bucket::new(start);
        assert!(slow.take(1, rate, start));
        assert!((1..2_000).filter(|ms| slow.take(1, rate, start + Duration::from_millis(*ms))).count() == 1);
    }

    #[test]
    fn no_number_is_too_large() {
        let now = Instant::now();
        assert!(!Bucket::new(now).take(u64::MAX, Rate::new(0, 1), now));
        assert!(!Bucket::new(now).take(u64::MAX, Rate::new(1, 5), now));
    }

    proptest! {
        /// Over any time no more than the burst and what came meanwhile is given.
        #[test]
        fn never_gives_more(
            per_second in 1_u64..100_000,
            burst in 1_u64..100_000,
            steps in prop::collection::vec((0_u64..50, 1_u64..1_000), 1..200),
        ) {
            let start = Instant::now();
            let (rate, mut bucket) = (Rate::new(per_second, burst), Bucket::new(start));
            let (mut now, mut given) = (start, 0);
            for (milliseconds, tokens) in steps {
                now += Duration::from_millis(milliseconds);
                given += if bucket.take(tokens, rate, now) { tokens } else { 0 };
                let came = burst as f64 + (now - start).as_secs_f64() * per_second as f64;
                // Each take may be short of a nanosecond.
                prop_assert!(given as f64 <= came + 1.0, "{given} > {came}");
            }
        }
    }
}
