//! The agenda of the world, and pipes that keep their order. Knows nothing of what it carries.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::time::Duration;

/// What happens when: in order of time, then in order of planning.
pub(crate) struct Agenda<T> {
    tasks: BTreeMap<(Duration, u64), T>,
    planned: u64,
}

impl<T> Agenda<T> {
    pub(crate) fn new() -> Self {
        Self { tasks: BTreeMap::new(), planned: 0 }
    }

    pub(crate) fn plan(&mut self, at: Duration, task: T) {
        self.planned += 1;
        self.tasks.insert((at, self.planned), task);
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.tasks.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn pop(&mut self) -> Option<T> {
        self.tasks.pop_first().map(|(_, task)| task)
    }
}

/// When the last thing comes out of each pipe: as with TCP, nothing overtakes within one.
pub(crate) struct Pipes<K> {
    last: HashMap<K, Duration>,
}

impl<K: Hash + Eq> Pipes<K> {
    pub(crate) fn new() -> Self {
        Self { last: HashMap::new() }
    }

    /// When something put in at `now`, and under way for `delay` if nothing is before it, comes out.
    pub(crate) fn through(&mut self, pipe: K, now: Duration, delay: Duration) -> Duration {
        let last = self.last.entry(pipe).or_default();
        *last = (*last).max(now + delay);
        *last
    }
}
