//! Which connections are let in, and what each that is holds for as long as it lives. Knows the limits, nothing of what
//! comes in.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use socket2::SockRef;
use tokio::net::TcpStream;

use crate::limits::{Full, Visit};
use crate::metrics::Count;
use crate::proxies;
use crate::server::Shared;

/// What a client hears where there are [`Options::max_sockets`] already.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What a client hears whose address has too much. The body is [`refusal`].
const TOO_MANY: &str = "HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\n\r\n";

/// What a decision about a client may need to know of it.
pub(crate) struct About {
    pub(crate) address: IpAddr,
    pub(crate) origin: Option<Box<str>>,
}

/// Whose WebSocket it is, and its part of all limits.
pub(crate) struct Guest {
    pub(crate) slot: Slot,
    pub(crate) visit: Visit,
    /// Only where somebody decides about registrations.
    pub(crate) about: Option<Box<About>>,
}

impl Guest {
    pub(crate) fn shared(&self) -> &Shared {
        self.slot.shared()
    }
}

/// A connection's part of [`Options::max_sockets`](crate::Options::max_sockets).
pub(crate) struct Slot(Arc<Shared>);

impl Slot {
    pub(crate) fn take(shared: &Arc<Shared>) -> Option<Self> {
        let slot = Self(shared.clone());
        let before = shared.connections.fetch_add(1, Ordering::Relaxed);
        (before < shared.options.max_sockets).then_some(slot)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Gives a connection its place; one for which there is none is told so. Without a [`Visit`] it is a proxy's.
pub(crate) fn admit(tcp: &TcpStream, ip: IpAddr, shared: &Arc<Shared>) -> Option<(Slot, IpAddr, Option<Visit>)> {
    let metrics = shared.router.metrics();
    metrics.count(Count::Connected);
    let refuse = |answer: &[u8]| {
        // To who expects TLS this would be noise.
        if shared.tls.is_none() {
            let _ = SockRef::from(tcp).send(answer);
        }
    };
    let Some(slot) = Slot::take(shared) else {
        metrics.count(Count::RefusedFull);
        tracing::warn!(max_sockets = shared.options.max_sockets, "refused a connection: full");
        refuse(FULL);
        return None;
    };
    if proxies::is_in(&shared.options.trusted_proxies, ip) {
        return Some((slot, ip, None));
    }
    match shared.clients.enter(ip, Instant::now()) {
        Ok(visit) => Some((slot, ip, Some(visit))),
        Err(full) => {
            count_refusal(shared, full, ip);
            refuse(format!("{TOO_MANY}{}", refusal(full)).as_bytes());
            None
        }
    }
}

/// A connection was refused because of its address.
pub(crate) fn count_refusal(shared: &Shared, full: Full, ip: IpAddr) {
    tracing::debug!(%ip, ?full, "refused a connection");
    shared.router.metrics().count(match full {
        Full::Sockets => Count::RefusedAddressSockets,
        Full::Messages => Count::RefusedConnections,
    });
}

/// Why, for the client.
pub(crate) fn refusal(full: Full) -> &'static str {
    match full {
        Full::Sockets => "this network has as many sockets as the broker takes of one\n",
        Full::Messages => "this network has sent more than the broker takes of one\n",
    }
}
