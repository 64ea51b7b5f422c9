//! Whether the remote of an open connection is heard. Knows times; packets and what follows from silence are others'.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// How long the remote may owe us an answer before it counts as silent: SCTP has asked twice then.
const SILENCE: Duration = Duration::from_secs(2);

/// Whoever hears nothing asks for an answer after so much of [`SILENCE`]: keep-alives come a little more often.
const QUIET: f32 = 1.1;

/// What there is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// Nothing has been heard for a while, and nothing asks the remote for an answer.
    Quiet,
    /// It does not answer.
    Silent,
    /// It is heard again.
    Heard,
}

/// See the module.
pub(super) struct Watch {
    /// What comes from others does not count.
    remote: SocketAddr,
    /// Something came from another address: perhaps the remote has changed over to it.
    strange: bool,
    silence: Duration,
    heard: Instant,
    /// Since when it owes us an answer.
    asked: Option<Instant>,
    /// When [`News::Quiet`] was said, and [`News::Silent`].
    quiet: Option<Instant>,
    silent: Option<Instant>,
}

impl Watch {
    /// `idle`: the application's bound of silence; this one is a fifth of it, at most.
    pub(super) fn new(now: Instant, remote: SocketAddr, idle: Duration) -> Self {
        Self {
            remote,
            strange: false,
            silence: SILENCE.min(idle / 5),
            heard: now,
            asked: None,
            quiet: None,
            silent: None,
        }
    }

    /// A packet came.
    pub(super) fn handle_packet(&mut self, now: Instant, from: SocketAddr) {
        if from == self.remote {
            self.heard = now;
        } else {
            self.strange = true;
        }
    }

    /// True once after something has come from another address.
    pub(super) fn is_strange(&mut self) -> bool {
        std::mem::take(&mut self.strange)
    }

    /// The remote is there now.
    pub(super) fn set_remote(&mut self, now: Instant, remote: SocketAddr) {
        if self.remote != remote {
            (self.remote, self.heard) = (remote, now);
        }
    }

    /// Whether the remote has to acknowledge something.
    pub(super) fn set_asked(&mut self, asked: bool) {
        match (asked, self.asked) {
            (true, None) => self.asked = Some(Instant::now()),
            (false, Some(_)) => self.asked = None,
            _ => {}
        }
    }

    /// When there is news, if nothing is heard.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.next().map(|(_, at)| at)
    }

    /// The news that is due.
    pub(super) fn poll(&mut self, now: Instant) -> Option<News> {
        let (news, _) = self.next().filter(|(_, at)| *at <= now)?;
        match news {
            News::Quiet => self.quiet = Some(now),
            News::Silent => self.silent = Some(now),
            News::Heard => self.silent = None,
        }
        Some(news)
    }

    fn next(&self) -> Option<(News, Instant)> {
        if let Some(silent) = self.silent {
            return (self.heard > silent).then_some((News::Heard, self.heard));
        }
        match self.asked {
            Some(asked) => Some((News::Silent, self.heard.max(asked) + self.silence)),
            None if self.quiet.is_some_and(|quiet| quiet >= self.heard) => None,
            None => Some((News::Quiet, self.heard + self.silence.mul_f32(QUIET))),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn watch() -> (Watch, Instant, SocketAddr) {
        let (now, remote) = (Instant::now(), SocketAddr::from(([127, 0, 0, 1], 9)));
        (Watch::new(now, remote, 10 * SECOND), now, remote)
    }

    #[test]
    fn asks_once_and_counts_the_silence_from_then() {
        let (mut watch, begin, remote) = watch();
        let quiet = watch.poll_timeout().unwrap();
        assert!(quiet > begin + 2 * SECOND && quiet < begin + 3 * SECOND);
        assert_eq!([watch.poll(quiet), watch.poll(quiet)], [Some(News::Quiet), None]);
        watch.asked = Some(quiet);
        assert_eq!(watch.poll_timeout(), Some(quiet + 2 * SECOND));
        assert_eq!(watch.poll(quiet + 2 * SECOND), Some(News::Silent));
        assert_eq!(watch.poll(quiet + 9 * SECOND), None);
        watch.handle_packet(quiet + 9 * SECOND, remote);
        assert_eq!(watch.poll(quiet + 9 * SECOND), Some(News::Heard));
        assert_eq!(watch.poll_timeout(), Some(quiet + 11 * SECOND), "it may fall silent again");
    }

    #[test]
    fn an_answer_in_time_is_enough() {
        let (mut watch, begin, remote) = watch();
        watch.asked = Some(begin);
        for second in 1..10 {
            watch.handle_packet(begin + second * SECOND, remote);
            assert_eq!(watch.poll(begin + second * SECOND), None);
        }
    }

    #[test]
    fn who_has_nothing_to_answer_is_not_silent() {
        let (mut watch, begin, remote) = watch();
        watch.handle_packet(begin + 9 * SECOND, remote);
        watch.set_asked(true);
        watch.asked = Some(begin + 10 * SECOND);
        assert_eq!(watch.poll(begin + 11 * SECOND), None);
        watch.set_asked(false);
        assert!(watch.poll_timeout().unwrap() > begin + 11 * SECOND);
    }

    #[test]
    fn strangers_do_not_count() {
        let (mut watch, begin, _) = watch();
        watch.asked = Some(begin);
        watch.handle_packet(begin + SECOND, SocketAddr::from(([127, 0, 0, 1], 10)));
        assert_eq!(watch.poll(begin + 2 * SECOND), Some(News::Silent));
    }

    #[test]
    fn the_bound_follows_that_of_the_application() {
        let now = Instant::now();
        let mut watch = Watch::new(now, SocketAddr::from(([127, 0, 0, 1], 9)), SECOND);
        watch.asked = Some(now);
        assert_eq!(watch.poll_timeout(), Some(now + SECOND / 5));
    }
}
