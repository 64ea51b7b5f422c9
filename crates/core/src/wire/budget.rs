//! How much memory unfinished messages may take together. Shared by the connections of a Peer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes for messages that have not arrived completely.
#[derive(Clone, Debug)]
pub struct Budget {
    left: Arc<AtomicUsize>,
}

/// A part of a [`Budget`], given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Budget,
    bytes: usize,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self { left: Arc::new(AtomicUsize::new(bytes)) }
    }

    pub(super) fn take(&self, bytes: usize) -> Option<Share> {
        let taken = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(bytes));
        taken.is_ok().then(|| Share { budget: self.clone(), bytes })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.bytes, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn gives_no_more_than_there_is_and_takes_it_back() {
        let budget = Budget::new(10);
        let seven = budget.take(7).unwrap();
        assert!(budget.clone().take(4).is_none());
        let three = budget.take(3).unwrap();
        drop(seven);
        assert!(budget.take(8).is_none());
        assert!(budget.take(7).is_some());
        drop(three);
        assert!(budget.take(10).is_some());
    }
}
