//! The addresses that clients come from, what each of them has used up, and how many sockets it has.
//!
//! An address outlives its sockets until its buckets are whole again: who is over a limit must not be rid of it by
//! connecting anew. So that nobody can fill the table with addresses, those without sockets are swept out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::{Bucket, Limits, Rate, network, rate};

/// Addresses without a sweep.
const FEW: usize = 1024;

/// Addresses without sockets that are kept, at most: 3 MB. Over it they are forgotten, with what they have used
/// up; better than to refuse those that come new.
const MAX_IDLE: usize = 16_384;

/// All addresses.
pub(crate) struct Clients {
    table: Mutex<Table>,
    max_sockets: usize,
    messages: Option<Rate>,
    bytes: Option<Rate>,
    loopback: bool,
}

struct Table {
    known: HashMap<IpAddr, Arc<Client>>,
    /// How many there are when it is swept next.
    sweep_at: usize,
}

/// One address.
pub(crate) struct Client {
    /// The address, of IPv6 the /64.
    pub(crate) ip: IpAddr,
    /// Changed under the table's lock only.
    sockets: AtomicUsize,
    spent: Mutex<(Bucket, Bucket)>,
    exempt: bool,
}

/// What an address has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Sockets,
    Messages,
}

impl Clients {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        let frame = limits.frame_bytes as u64;
        Arc::new(Self {
            table: Mutex::new(Table { known: HashMap::new(), sweep_at: FEW }),
            max_sockets: if limits.address_sockets == 0 { usize::MAX } else { limits.address_sockets },
            messages: rate(limits.address_messages, 1),
            bytes: rate(limits.address_bytes, 2 * frame),
            loopback: limits.loopback,
        })
    }

    /// One more socket of an address, for as long as the [`Visit`] lives.
    pub(crate) fn enter(self: &Arc<Self>, ip: IpAddr, now: Instant) -> Result<Visit, Full> {
        let ip = network(ip);
        let mut table = self.lock();
        let client = match table.known.get(&ip) {
            Some(client) => client.clone(),
            None => {
                table.sweep(now);
                let exempt = !self.loopback && ip.is_loopback();
                let spent = Mutex::new((Bucket::new(now), Bucket::new(now)));
                let client = Arc::new(Client { ip, sockets: AtomicUsize::new(0), spent, exempt });
                table.known.insert(ip, client.clone());
                client
            }
        };
        if !client.exempt {
            if client.sockets.load(Ordering::Relaxed) >= self.max_sockets {
                return Err(Full::Sockets);
            }
            if !client.take_messages(1, self.messages, now) {
                return Err(Full::Messages);
            }
        }
        client.sockets.fetch_add(1, Ordering::Relaxed);
        Ok(Visit { client, clients: self.clone() })
    }

    /// The number of addresses that are remembered.
    pub(crate) fn known(&self) -> usize {
        self.lock().known.len()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Forgets those that are like new. Now and then only: it looks at all of them.
    fn sweep(&mut self, now: Instant) {
        if self.known.len() < self.sweep_at {
            return;
        }
        let mut idle = 0;
        self.known.retain(|_, client| {
            let (here, whole) = (client.has_sockets(), client.is_whole(now));
            idle += usize::from(!here && !whole);
            here || !whole
        });
        if idle > MAX_IDLE {
            self.known.retain(|_, client| client.has_sockets());
        }
        self.known.shrink_to(FEW);
        self.sweep_at = (2 * self.known.len()).max(FEW);
    }
}

impl Client {
    fn has_sockets(&self) -> bool {
        self.sockets.load(Ordering::Relaxed) > 0
    }

    fn is_whole(&self, now: Instant) -> bool {
        let spent = self.spent();
        spent.0.is_whole(now) && spent.1.is_whole(now)
    }

    fn take_messages(&self, messages: u64, rate: Option<Rate>, now: Instant) -> bool {
        rate.is_none_or(|rate| self.spent().0.take(messages, rate, now))
    }

    fn spent(&self) -> MutexGuard<'_, (Bucket, Bucket)> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket of an address. Dropped, it is one less.
pub(crate) struct Visit {
    client: Arc<Client>,
    clients: Arc<Clients>,
}

impl Visit {
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the limits by address are for this one.
    pub(super) fn is_metered(&self) -> bool {
        !self.client.exempt && (self.clients.messages.is_some() || self.clients.bytes.is_some())
    }

    pub(super) fn take_messages(&self, messages: u64, now: Instant) -> bool {
        self.client.take_messages(messages, self.clients.messages, now)
    }

    pub(super) fn take_bytes(&self, bytes: u64, now: Instant) -> bool {
        self.clients.bytes.is_none_or(|rate| self.client.spent().1.take(bytes, rate, now))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let _table = self.clients.lock();
        self.client.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    fn clients(change: impl FnOnce(&mut Limits)) -> Arc<Clients> {
        let mut limits = Limits::default();
        change(&mut limits);
        Clients::new(&limits)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn counts_the_sockets_of_an_address() {
        let (clients, now) = (clients(|limits| limits.address_sockets = 2), Instant::now());
        let enter = |address: &str| clients.enter(ip(address), now);
        let (a, _b) = (enter("192.0.2.1").unwrap(), enter("::ffff:192.0.2.1").unwrap());
        assert_eq!(enter("192.0.2.1").err(), Some(Full::Sockets));
        drop(a);
        let _c = enter("192.0.2.1").unwrap();
        let _other = (enter("192.0.2.2").unwrap(), enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap());
        // An IPv6 /64 is one customer.
        assert_eq!(enter("2001:db8::3:4").err(), Some(Full::Sockets));
        assert!(enter("2001:db8:0:1::").is_ok());
    }

    #[test]
    fn loopback_is_exempt_unless_it_is_not() {
        for (loopback, entered) in [(false, 5), (true, 1)] {
            let clients = clients(|limits| (limits.address_sockets, limits.loopback) = (1, loopback));
            for address in ["127.0.0.1", "::1"] {
                let visits: Vec<_> = (0..5).filter_map(|_| clients.enter(ip(address), Instant::now()).ok()).collect();
                assert_eq!(visits.len(), entered, "{address}");
            }
        }
    }

    #[test]
    fn who_has_connected_too_often_has_to_wait() {
        let (clients, start) = (clients(|limits| limits.address_messages = 2), Instant::now());
        let enter = |now| clients.enter(ip("192.0.2.1"), now).is_ok();
        assert_eq!((0..100).filter(|_| enter(start)).count(), 40);
        // Nor is it forgotten while it has no socket.
        assert!(!enter(start + Duration::from_millis(499)) && enter(start + Duration::from_millis(500)));
    }

    #[test]
    fn forgets_those_that_are_like_new() {
        let (clients, now) = (clients(|_| {}), Instant::now());
        let v4 = |n: usize| IpAddr::from([10, (n >> 16) as u8, (n >> 8) as u8, n as u8]);
        let _here = clients.enter(v4(0), now).unwrap();
        for n in 1..10 * FEW {
            drop(clients.enter(v4(n), now + Duration::from_millis(n as u64)));
        }
        assert!(clients.known() <= FEW, "{}", clients.known());
        assert!(clients.lock().known.contains_key(&v4(0)));
    }

    #[test]
    fn nobody_can_fill_the_table() {
        let (clients, now) = (clients(|_| {}), Instant::now());
        let _here = clients.enter(ip("192.0.2.1"), now).unwrap();
        for n in 0..2 * MAX_IDLE as u128 + 1 {
            drop(clients.enter(std::net::Ipv6Addr::from(n << 64).into(), now));
        }
        assert!(clients.known() < FEW, "{}", clients.known());
        assert!(clients.lock().known.contains_key(&ip("192.0.2.1")));
    }
}
