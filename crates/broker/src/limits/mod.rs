//! How much one client may ask for: by socket, and by address. Pure: the time is an argument, and all state is of a
//! bounded size.
//!
//! `bucket` counts a rate, `clients` knows the addresses, `meter` puts both before each message of a socket.

mod bucket;
mod clients;
mod meter;

use std::net::{IpAddr, Ipv6Addr};

use linkup_proto::limits::MAX_BROKER_FRAME_BYTES;

pub(crate) use bucket::{Bucket, Rate};
pub(crate) use clients::{Clients, Full, Visit};
pub(crate) use meter::{Meter, Over, Rates};

/// What may come at once, in seconds of the rate: a peer that calls a thousand others in one go has ten messages for
/// each, and all peers of an office come back in the same second when its line does.
pub(crate) const BURST_SECONDS: u64 = 20;

/// The bounds of [`Limits::frame_bytes`]: a description with its candidates must fit, and a frame is held in memory.
const FRAME_BYTES: (usize, usize) = (16 * 1024, 1024 * 1024);

/// How much the clients of a broker may ask for. A rate is met on average: 20 seconds' worth may come at once. 0 is no
/// limit.
///
/// An address is an IPv4 address or an IPv6 /64, which is what one customer gets. Clients on this machine, from loopback,
/// are exempt from the limits by address.
///
/// What is over a rate is answered with an error; who goes on is closed with code 1008.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of one frame: 64 KiB, which linkup's clients never exceed. Taken as at least 16 KiB and at most 1 MiB.
    pub frame_bytes: usize,
    /// Frames that may wait for a client that does not read: 1,024. One more ends it.
    pub queue_frames: usize,
    /// Bytes that may wait for a client that does not read: 1 MiB, and at least one frame.
    pub queue_bytes: usize,
    /// Messages a second of one socket: 1,000.
    pub socket_messages: u64,
    /// Bytes a second of one socket: 1 MiB.
    pub socket_bytes: u64,
    /// Sockets of one address at once: 4,096. A whole company or a mobile network's region may have one address.
    pub address_sockets: usize,
    /// Messages a second of one address: 5,000. A new connection counts as one.
    pub address_messages: u64,
    /// Bytes a second of one address: 8 MiB.
    pub address_bytes: u64,
    /// Whether the limits by address are for loopback too: a proxy on this machine that is none of the trusted ones
    /// would be one address.
    pub loopback: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes: MAX_BROKER_FRAME_BYTES,
            queue_frames: 1024,
            queue_bytes: 1024 * 1024,
            socket_messages: 1_000,
            socket_bytes: 1024 * 1024,
            address_sockets: 4_096,
            address_messages: 5_000,
            address_bytes: 8 * 1024 * 1024,
            loopback: false,
        }
    }
}

impl Limits {
    /// With everything within its bounds.
    pub(crate) fn clamped(mut self) -> Self {
        self.frame_bytes = self.frame_bytes.clamp(FRAME_BYTES.0, FRAME_BYTES.1);
        self.queue_frames = self.queue_frames.max(1);
        self.queue_bytes = self.queue_bytes.max(self.frame_bytes);
        self
    }
}

/// A rate, with its burst; none for 0. `least` always fits into the burst.
fn rate(per_second: u64, least: u64) -> Option<Rate> {
    (per_second > 0).then(|| Rate::new(per_second, per_second.saturating_mul(BURST_SECONDS).max(least)))
}

/// The address of one customer: of IPv6, a /64 is what one gets.
pub(crate) fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        // Of loopback's there is only the one.
        IpAddr::V6(ip) if !ip.is_loopback() => Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX)).into(),
        ip => ip,
    }
}
