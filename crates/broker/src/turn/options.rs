//! What can be set on a TURN server. Knows nothing of how it is used.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::policy::Cidr;

/// The port of STUN and TURN: RFC 8489, section 18.6.
pub const DEFAULT_TURN_PORT: u16 = 3478;

/// Options of the STUN and TURN server beside a broker. The default is fit for production.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TurnOptions {
    /// Where to listen, as for [`Broker::listen`](crate::Broker::listen): `None` is all interfaces.
    pub host: Option<String>,
    /// The port, of UDP and TCP alike: 3478. 0 picks a free one.
    pub port: u16,
    /// Go on without, with a warning, where the port is taken.
    pub optional: bool,
    /// The public address of this machine, where a 1:1 NAT is before it. Clients hear it as the relay's address, and
    /// in the URLs. By default both are the address at which a client reached us.
    pub address: Option<IpAddr>,
    /// The host in the URLs: the name in the certificate. By default `address`.
    pub name: Option<String>,
    /// What is allowed as relay target although it is a private or local address. Nothing by default.
    pub allow: Vec<Cidr>,
    /// The ports of relayed addresses: 49,152 to 65,535. Each allocation takes one.
    pub relay_ports: RangeInclusive<u16>,
    /// Certificate chain and key, PEM files: then TLS is spoken too, on the same TCP port.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Allocations at once in all: 4,096. Each is a socket.
    pub max_allocations: usize,
    /// Allocations at once of one user: 128. A peer has one for each connection that needs the relay.
    pub max_user_allocations: usize,
    /// Allocations at once of one IP address, or IPv6 /64: 512. An office has one address.
    pub max_ip_allocations: usize,
    /// TCP and TLS connections at once in all: 4,096; of one IP address as many as it may have allocations.
    pub max_connections: usize,
    /// Bytes a second of one allocation, in each direction: 4 MiB. More is dropped, which slows a sender with
    /// congestion control down.
    pub bandwidth: u64,
    /// The longest lifetime that a client can ask for at once: an hour.
    pub max_lifetime: Duration,
}

impl Default for TurnOptions {
    fn default() -> Self {
        Self {
            host: None,
            port: DEFAULT_TURN_PORT,
            optional: false,
            address: None,
            name: None,
            allow: Vec::new(),
            relay_ports: 49_152..=65_535,
            tls: None,
            max_allocations: 4_096,
            max_user_allocations: 128,
            max_ip_allocations: 512,
            max_connections: 4_096,
            bandwidth: 4 * 1024 * 1024,
            max_lifetime: Duration::from_secs(3_600),
        }
    }
}
