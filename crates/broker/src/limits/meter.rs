//! What one socket has used up, of its own limits and of its address'.

use std::time::Instant;

use super::{Bucket, Limits, Rate, Visit, rate};

/// Messages over a limit that are answered with an error before the socket is closed. Forgiven with each ping.
const STRIKES: u8 = 32;

/// The limits of every socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    messages: Option<Rate>,
    bytes: Option<Rate>,
}

/// Which limit a socket is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    SocketMessages,
    SocketBytes,
    AddressMessages,
    AddressBytes,
}

impl Over {
    /// For the client.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::SocketMessages => "too many messages: this socket has sent more than the broker takes of one",
            Self::SocketBytes => "too many bytes: this socket has sent more than the broker takes of one",
            Self::AddressMessages => "too many messages: this network has sent more than the broker takes of one",
            Self::AddressBytes => "too many bytes: this network has sent more than the broker takes of one",
        }
    }
}

impl Rates {
    pub(crate) fn new(limits: &Limits) -> Self {
        let frame = limits.frame_bytes as u64;
        Self { messages: rate(limits.socket_messages, 1), bytes: rate(limits.socket_bytes, 2 * frame) }
    }
}

/// One socket's use.
pub(crate) struct Meter {
    messages: Bucket,
    bytes: Bucket,
    strikes: u8,
}

impl Meter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { messages: Bucket::new(now), bytes: Bucket::new(now), strikes: 0 }
    }

    /// Counts what has come; an error is the limit that it is over.
    pub(crate) fn take(
        &mut self,
        messages: u64,
        bytes: u64,
        rates: &Rates,
        visit: &Visit,
        now: Instant,
    ) -> Result<(), Over> {
        let own =
            |bucket: &mut Bucket, tokens, rate: Option<Rate>| rate.is_none_or(|rate| bucket.take(tokens, rate, now));
        if !own(&mut self.messages, messages, rates.messages) {
            return Err(Over::SocketMessages);
        }
        if !own(&mut self.bytes, bytes, rates.bytes) {
            return Err(Over::SocketBytes);
        }
        if visit.is_metered() {
            if !visit.take_messages(messages, now) {
                return Err(Over::AddressMessages);
            }
            if !visit.take_bytes(bytes, now) {
                return Err(Over::AddressBytes);
            }
        }
        Ok(())
    }

    /// It was over a limit once more. Whether that is once too often.
    pub(crate) fn strike(&mut self) -> bool {
        self.strikes += 1;
        self.strikes > STRIKES
    }

    /// Some time has passed.
    pub(crate) fn forgive(&mut self) {
        self.strikes = 0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::super::{BURST_SECONDS, Clients};
    use super::*;

    /// How many of `count` messages of `bytes` go through, and what stops the next.
    fn through(limits: &Limits, address: &str, count: u64, bytes: u64) -> (u64, Option<Over>) {
        let now = Instant::now();
        let visit = Clients::new(limits).enter(address.parse().unwrap(), now).unwrap();
        let (rates, mut meter) = (Rates::new(limits), Meter::new(now));
        for sent in 0..count {
            if let Err(over) = meter.take(1, bytes, &rates, &visit, now) {
                return (sent, Some(over));
            }
        }
        (count, None)
    }

    #[test]
    fn each_limit_stops_what_is_over_it() {
        let none = || Limits {
            socket_messages: 0,
            socket_bytes: 0,
            address_messages: 0,
            address_bytes: 0,
            ..Limits::default()
        };
        let burst = 100 * BURST_SECONDS;
        let remote = "192.0.2.1";
        let cases: [(fn(&mut Limits), _, _); 4] = [
            (|limits| limits.socket_messages = 100, burst, Over::SocketMessages),
            (|limits| limits.socket_bytes = 100_000, burst, Over::SocketBytes),
            // To connect was a message.
            (|limits| limits.address_messages = 100, burst - 1, Over::AddressMessages),
            (|limits| limits.address_bytes = 100_000, burst, Over::AddressBytes),
        ];
        assert_eq!(through(&none(), remote, 10_000, 1_000), (10_000, None));
        for (set, allowed, over) in cases {
            let mut limits = none();
            set(&mut limits);
            assert_eq!(through(&limits, remote, 10_000, 1_000), (allowed, Some(over)));
        }
        let limits = Limits { address_messages: 1, ..none() };
        assert_eq!(through(&limits, "127.0.0.1", 10_000, 1_000), (10_000, None));
    }

    #[test]
    fn the_largest_frame_fits_into_the_slowest_rate() {
        let limits = Limits { socket_bytes: 1, address_bytes: 1, ..Limits::default() };
        assert_eq!(through(&limits, "192.0.2.1", 2, limits.frame_bytes as u64), (2, None));
    }

    #[test]
    fn sockets_of_one_address_share_its_limits() {
        let limits = Limits { address_messages: 10, ..Limits::default() };
        let (clients, now) = (Clients::new(&limits), Instant::now());
        let rates = Rates::new(&limits);
        let sockets: Vec<_> = (0..10).map(|_| clients.enter([192, 0, 2, 1].into(), now).unwrap()).collect();
        let mut sent = 0;
        for visit in &sockets {
            let mut meter = Meter::new(now);
            sent += (0..1_000).filter(|_| meter.take(1, 100, &rates, visit, now).is_ok()).count();
        }
        assert_eq!(sent, 190);
        let another = clients.enter([192, 0, 2, 2].into(), now).unwrap();
        assert_eq!(Meter::new(now).take(1, 100, &rates, &another, now), Ok(()));
        let later = now + Duration::from_secs(1);
        assert_eq!(Meter::new(now).take(1, 100, &rates, &sockets[0], later), Ok(()));
    }

    #[test]
    fn strikes_are_forgiven() {
        let mut meter = Meter::new(Instant::now());
        assert!((0..STRIKES).all(|_| !meter.strike()) && meter.strike());
        meter.forgive();
        assert!(!meter.strike());
    }
}
