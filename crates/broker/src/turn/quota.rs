//! How much one client may have. Pure: the time is an argument, and all state is of a bounded size.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::limits::{Bucket, Rate, network};

/// Slots of a [`Throttle`]: addresses that share one share its tokens.
const SLOTS: usize = 4096;

/// Answers a second to one address that has not shown that it is its own: hundreds of peers behind one NAT may begin in
/// the same second, and 500 answers are half a megabit that a victim would get.
const ANSWERS: u64 = 500;

const ANSWERING: Rate = Rate::new(ANSWERS, ANSWERS);

/// Bounds what is answered to addresses that anybody can write into a datagram: who floods in the name of another
/// must not have us flood him. Forgets nothing and needs no more memory for more addresses.
pub(crate) struct Throttle {
    slots: Vec<Bucket>,
    hasher: RandomState,
}

impl Throttle {
    pub(crate) fn new(now: Instant) -> Self {
        Self { slots: (0..SLOTS).map(|_| Bucket::new(now)).collect(), hasher: RandomState::new() }
    }

    pub(crate) fn allows(&mut self, ip: IpAddr, now: Instant) -> bool {
        let slot = self.hasher.hash_one(network(ip)) as usize % SLOTS;
        self.slots.get_mut(slot).is_some_and(|bucket| bucket.take(1, ANSWERING, now))
    }
}

/// Counts something by a key, in all and for each. Its size is bounded by the leases that it gives.
#[derive(Debug)]
pub(crate) struct Counts<K: Eq + Hash + Clone> {
    counts: Mutex<(usize, HashMap<K, usize>)>,
    in_all: usize,
    each: usize,
}

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    InAll,
    Each,
}

impl<K: Eq + Hash + Clone> Counts<K> {
    pub(crate) fn new(in_all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), in_all, each })
    }

    /// Counts one more, for as long as the lease lives.
    pub(crate) fn take(self: &Arc<Self>, key: K) -> Result<Lease<K>, Full> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, each) = &mut *counts;
        if *all >= self.in_all {
            return Err(Full::InAll);
        }
        if each.get(&key).copied().unwrap_or(0) >= self.each {
            return Err(Full::Each);
        }
        *all += 1;
        *each.entry(key.clone()).or_default() += 1;
        Ok(Lease { counts: self.clone(), key })
    }

    pub(crate) fn in_all(&self) -> usize {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).0
    }
}

/// One of what is counted. Dropped, it is given back.
#[derive(Debug)]
pub(crate) struct Lease<K: Eq + Hash + Clone> {
    counts: Arc<Counts<K>>,
    key: K,
}

impl<K: Eq + Hash + Clone> Drop for Lease<K> {
    fn drop(&mut self) {
        let mut counts = self.counts.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, each) = &mut *counts;
        *all = all.saturating_sub(1);
        if let Some(count) = each.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                each.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_throttle_bounds_one_network_and_not_the_others() {
        let now = Instant::now();
        let mut throttle = Throttle::new(now);
        let allowed = |throttle: &mut Throttle, ip: &str| {
            (0..2 * ANSWERS).filter(|_| throttle.allows(ip.parse().unwrap(), now)).count()
        };
        assert_eq!(allowed(&mut throttle, "192.0.2.1"), ANSWERS as usize);
        assert_eq!(allowed(&mut throttle, "::ffff:192.0.2.1"), 0);
        assert!((0..=255).filter(|i| throttle.allows(IpAddr::from([198, 51, 100, *i]), now)).count() > 250);

        // Networks may share a slot: a throttle of its own, so that this one does not.
        let mut throttle = Throttle::new(now);
        assert_eq!(allowed(&mut throttle, "2001:db8::1"), ANSWERS as usize);
        assert_eq!(allowed(&mut throttle, "2001:db8::2"), 0);
    }

    #[test]
    fn counts_are_given_back_and_leave_nothing() {
        let counts = Counts::new(3, 2);
        let (a, _b) = (counts.take("a").unwrap(), counts.take("a").unwrap());
        assert_eq!(counts.take("a").unwrap_err(), Full::Each);
        let c = counts.take("c").unwrap();
        assert_eq!(counts.take("d").unwrap_err(), Full::InAll);
        drop((a, c));
        assert_eq!((counts.in_all(), counts.counts.lock().unwrap().1.len()), (1, 1));
        assert!(counts.take("a").is_ok());
    }
}
