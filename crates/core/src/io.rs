//! What every part of the machine shares: the queue of outputs, the timers and the dice. Knows no rule.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::link::Key;
use crate::{BrokerCommand, Event, Output, Token, TransportCommand, TransportId};

/// What a deadline is about. At most one of each is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The broker session: opening, registering, ping, or the next try.
    Session,
    /// The whole of an attempt, or of a close.
    Link(Key),
    /// The broker's answer to whether the called peer is there.
    Found(Key),
    /// Ask that again.
    FindAgain(Key),
    /// Say everything again.
    Repeat(Key),
    /// The end of the time in which a connection may find another transport.
    Resume(Key),
    /// The time of one such transport, or the pause before the next.
    Renew(Key),
    /// No path has been found so far, or only one over the broker: try the other.
    Path(Key),
    /// Look whether the remote is still registered.
    Gone(Key),
    /// The answer to the application's question.
    Find(Token),
    /// The broker's ICE servers: the end of the wait for them, or of their credentials.
    Ice,
}

/// Deadlines in order.
#[derive(Default)]
pub(crate) struct Timers {
    by_time: BTreeSet<(Instant, Timer)>,
    times: HashMap<Timer, Instant>,
}

impl Timers {
    /// Sets `timer` to `delay` after `now`; a delay beyond the clock's range is never due.
    pub(crate) fn set(&mut self, timer: Timer, now: Instant, delay: Duration) {
        self.clear(timer);
        if let Some(at) = now.checked_add(delay) {
            self.times.insert(timer, at);
            self.by_time.insert((at, timer));
        }
    }

    /// Sets `timer` where it is not running yet: a deadline that a second try does not move.
    pub(crate) fn set_once(&mut self, timer: Timer, now: Instant, delay: Duration) {
        if !self.is_set(timer) {
            self.set(timer, now, delay);
        }
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.times.contains_key(&timer)
    }

    /// How long it is until `timer` is due: for ever where it is not set.
    pub(crate) fn left(&self, timer: Timer, now: Instant) -> Duration {
        self.times.get(&timer).map_or(Duration::MAX, |at| at.saturating_duration_since(now))
    }

    pub(crate) fn clear(&mut self, timer: Timer) {
        if let Some(at) = self.times.remove(&timer) {
            self.by_time.remove(&(at, timer));
        }
    }

    pub(crate) fn clear_link(&mut self, key: Key) {
        for timer in [
            Timer::Link,
            Timer::Found,
            Timer::FindAgain,
            Timer::Repeat,
            Timer::Resume,
            Timer::Renew,
            Timer::Gone,
            Timer::Path,
        ] {
            self.clear(timer(key));
        }
    }

    pub(crate) fn clear_all(&mut self) {
        *self = Self::default();
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes a timer that is due.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = *self.by_time.first()?;
        if at > now {
            return None;
        }
        self.clear(timer);
        Some(timer)
    }
}

/// The shared part.
pub(crate) struct Io {
    pub(crate) out: VecDeque<Output>,
    pub(crate) timers: Timers,
    pub(crate) rng: fastrand::Rng,
}

impl Io {
    pub(crate) fn new(seed: u64) -> Self {
        Self { out: VecDeque::new(), timers: Timers::default(), rng: fastrand::Rng::with_seed(seed) }
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    pub(crate) fn broker(&mut self, command: BrokerCommand) {
        self.out.push_back(Output::Broker(command));
    }

    pub(crate) fn transport(&mut self, transport: TransportId, command: TransportCommand) {
        self.out.push_back(Output::Transport { transport, command });
    }

    /// A fresh id for a request to the broker: a version 4 UUID (RFC 9562, section 5.4), as documented.
    pub(crate) fn request_id(&mut self) -> String {
        let bits = self.rng.u128(..) & !(0xf << 76) & !(0b11 << 62) | 0x4 << 76 | 0b10 << 62;
        let hex = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// A fresh name for an attempt.
    pub(crate) fn session_name(&mut self) -> String {
        format!("{:032x}", self.rng.u128(..))
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_version_4_uuids() {
        let mut io = Io::new(7);
        for _ in 0..1000 {
            let id = io.request_id();
            let digits: Vec<char> = id.chars().collect();
            assert_eq!(digits.len(), 36);
            assert_eq!(digits[14], '4');
            assert!(matches!(digits[19], '8' | '9' | 'a' | 'b'), "{id}");
            assert!([8, 13, 18, 23].iter().all(|index| digits[*index] == '-'));
        }
    }

    #[test]
    fn a_timer_beyond_the_clock_is_never_due() {
        let mut timers = Timers::default();
        timers.set(Timer::Session, Instant::now(), Duration::MAX);
        assert_eq!(timers.next(), None);
    }
}
