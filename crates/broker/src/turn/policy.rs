//! Where the relay may send to. Pure: addresses in, a verdict out.
//!
//! A relay in a data centre is a way into it: whoever has credentials could reach what listens on loopback or on the
//! private network. What is refused, and under which disguises, is the lesson of CVE-2020-26262 and CVE-2026-27624.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A block of addresses, as in `10.0.0.0/8`; one address without a slash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    ip: IpAddr,
    prefix: u8,
}

impl Cidr {
    const fn v4(a: u8, b: u8, c: u8, prefix: u8) -> Self {
        Self { ip: IpAddr::V4(Ipv4Addr::new(a, b, c, 0)), prefix }
    }

    const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Self {
        Self { ip: IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0)), prefix }
    }

    /// Loopback, and what is nobody's outside of one network.
    pub const PRIVATE: [Self; 8] = [
        Self::v4(10, 0, 0, 8),
        Self::v4(100, 64, 0, 10),
        Self::v4(127, 0, 0, 8),
        Self::v4(172, 16, 0, 12),
        Self::v4(192, 168, 0, 16),
        Self { ip: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
        Self::v6(0xfc00, 0, 0, 7),
        Self::v6(0xfe80, 0, 0, 10),
    ];

    /// Every address.
    pub const ALL: [Self; 2] = [Self::v4(0, 0, 0, 0), Self::v6(0, 0, 0, 0)];

    /// Whether an address lies in the block.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip) {
            (IpAddr::V4(block), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                (u32::from(block) ^ u32::from(ip)) & mask == 0
            }
            (IpAddr::V6(block), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                (u128::from(block) ^ u128::from(ip)) & mask == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no block of addresses such as 10.0.0.0/8");
        let (ip, prefix) = text.split_once('/').map_or((text, None), |(ip, prefix)| (ip, Some(prefix)));
        let ip: IpAddr = ip.parse().map_err(|_| wrong())?;
        let longest = if ip.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.parse().map_err(|_| wrong()))?;
        if prefix > longest { Err(wrong()) } else { Ok(Self { ip, prefix }) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

/// What is nobody's public address: private, local, for documents and experiments, for many at once; and IPv6 blocks
/// in which an IPv4 address hides that another router would unwrap.
const REFUSED: [Cidr; 22] = [
    Cidr::v4(0, 0, 0, 8),
    Cidr::v4(10, 0, 0, 8),
    Cidr::v4(100, 64, 0, 10),
    Cidr::v4(127, 0, 0, 8),
    Cidr::v4(169, 254, 0, 16), // and the metadata services of clouds
    Cidr::v4(172, 16, 0, 12),
    Cidr::v4(192, 0, 0, 24),
    Cidr::v4(192, 168, 0, 16),
    Cidr::v4(198, 18, 0, 15),
    Cidr::v4(224, 0, 0, 4),
    Cidr::v4(240, 0, 0, 4), // and the broadcast
    Cidr::v6(0, 0, 0, 128),
    Cidr { ip: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
    Cidr::v6(0x64, 0xff9b, 0, 96), // NAT64
    Cidr::v6(0x64, 0xff9b, 1, 48), // NAT64 of one network
    Cidr::v6(0x100, 0, 0, 64),     // discarded
    Cidr::v6(0x2001, 0, 0, 32),    // Teredo
    Cidr::v6(0x2002, 0, 0, 16),    // 6to4
    Cidr::v6(0xfc00, 0, 0, 7),
    Cidr::v6(0xfe80, 0, 0, 10),
    Cidr::v6(0xfec0, 0, 0, 10), // once private
    Cidr::v6(0xff00, 0, 0, 8),
];

/// The address that is meant: IPv4 out of `::ffff:0:0/96` and `::/96`. `::` and `::1` are themselves.
fn unwrapped(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) if !v6.is_unspecified() && !v6.is_loopback() => v6.to_ipv4().map_or(ip, IpAddr::V4),
        ip => ip,
    }
}

/// A verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Refused,
    /// A peer somewhere.
    Outside,
    /// An address of this server: nothing but another allocation may be reached there.
    Relayed,
    /// An address of this server, where more may be reached because that was configured.
    Either,
}

/// The rules of one server.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// What is allowed although it would be refused.
    pub(crate) allow: Vec<Cidr>,
    /// The addresses on which this server relays, as clients see them.
    pub(crate) relays: Vec<IpAddr>,
    /// The ports on which it relays.
    pub(crate) ports: RangeInclusive<u16>,
}

impl Policy {
    /// What an address is, for a permission: these are without ports (RFC 8656, section 9).
    ///
    /// `is_own` says whether an address is one of this machine. It may be slow: it is asked only where all else says
    /// yes.
    pub(crate) fn peer(&self, ip: IpAddr, is_own: impl FnOnce(IpAddr) -> bool) -> Target {
        let ip = unwrapped(ip);
        let allowed = self.allow.iter().any(|block| block.contains(ip));
        match (self.relays.contains(&ip), allowed) {
            (true, true) => Target::Either,
            (true, false) => Target::Relayed,
            (false, true) => Target::Outside,
            (false, false) if REFUSED.iter().any(|block| block.contains(ip)) || is_own(ip) => Target::Refused,
            (false, false) => Target::Outside,
        }
    }

    /// What an address is, for a datagram to it or a channel. Of other addresses of this machine [`Self::peer`] knows,
    /// without whose consent there is no permission for them.
    pub(crate) fn target(&self, address: SocketAddr) -> Target {
        match self.peer(address.ip(), |_| false) {
            _ if address.port() == 0 => Target::Refused,
            Target::Relayed if !self.ports.contains(&address.port()) => Target::Refused,
            Target::Either if !self.ports.contains(&address.port()) => Target::Outside,
            target => target,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn policy(allow: &[&str]) -> Policy {
        let allow = allow.iter().map(|block| block.parse().unwrap()).collect();
        Policy { allow, relays: vec!["198.51.100.1".parse().unwrap()], ports: 50_000..=50_999 }
    }

    /// Addresses at both ends of every block, and beside it.
    const TABLE: [(&str, &[&str], &[&str]); 22] = [
        ("0.0.0.0/8", &["0.0.0.0", "0.255.255.255"], &["1.0.0.0"]),
        ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255"], &["9.255.255.255", "11.0.0.0"]),
        ("100.64.0.0/10", &["100.64.0.0", "100.127.255.255"], &["100.63.255.255", "100.128.0.0"]),
        ("127.0.0.0/8", &["127.0.0.1", "127.255.255.255"], &["126.255.255.255", "128.0.0.0"]),
        ("169.254.0.0/16", &["169.254.0.0", "169.254.169.254"], &["169.253.255.255", "169.255.0.0"]),
        ("172.16.0.0/12", &["172.16.0.0", "172.31.255.255"], &["172.15.255.255", "172.32.0.0"]),
        ("192.0.0.0/24", &["192.0.0.0", "192.0.0.255"], &["191.255.255.255", "192.0.1.0"]),
        ("192.168.0.0/16", &["192.168.0.0", "192.168.255.255"], &["192.167.255.255", "192.169.0.0"]),
        ("198.18.0.0/15", &["198.18.0.0", "198.19.255.255"], &["198.17.255.255", "198.20.0.0"]),
        ("224.0.0.0/4", &["224.0.0.0", "239.255.255.255"], &["223.255.255.255"]),
        ("240.0.0.0/4", &["240.0.0.0", "255.255.255.255"], &[]),
        ("::/128", &["::"], &[]),
        ("::1/128", &["::1"], &[]),
        ("64:ff9b::/96", &["64:ff9b::", "64:ff9b::7f00:1"], &["64:ff9a::1", "64:ff9b:2::1"]),
        ("64:ff9b:1::/48", &["64:ff9b:1::", "64:ff9b:1:ffff::1"], &["64:ff9b:2::"]),
        ("100::/64", &["100::1"], &["100:0:0:1::1"]),
        ("2001::/32", &["2001::1", "2001:0:ffff::1"], &["2001:1::1", "2001:4860::1"]),
        ("2002::/16", &["2002:7f00:1::", "2002:ffff::1"], &["2003::1"]),
        ("fc00::/7", &["fc00::1", "fdff::1"], &["fb00::1"]),
        ("fe80::/10", &["fe80::1", "febf::1"], &["fe00::1"]),
        ("fec0::/10", &["fec0::1", "feff::1"], &[]),
        ("ff00::/8", &["ff00::1", "ffff::1"], &[]),
    ];

    /// An address and the forms in which it may come.
    fn forms(ip: &str) -> Vec<IpAddr> {
        let ip: IpAddr = ip.parse().unwrap();
        let mut forms = vec![ip];
        if let IpAddr::V4(v4) = ip {
            forms.push(v4.to_ipv6_mapped().into());
            forms.push(format!("::{v4}").parse().unwrap());
        }
        forms
    }

    #[test]
    fn refuses_every_block_in_every_form() {
        assert_eq!(TABLE.map(|(block, ..)| block.to_owned()), REFUSED.map(|block| block.to_string()));
        for (block, inside, beside) in TABLE {
            for ip in inside.iter().flat_map(|ip| forms(ip)) {
                assert_eq!(policy(&[]).peer(ip, |_| false), Target::Refused, "{ip} of {block}");
                assert_eq!(policy(&[]).target(SocketAddr::new(ip, 50_000)), Target::Refused, "{ip} of {block}");
            }
            for ip in beside.iter().flat_map(|ip| forms(ip)) {
                assert_eq!(policy(&[]).peer(ip, |_| false), Target::Outside, "{ip} beside {block}");
                assert_eq!(policy(&[]).target(SocketAddr::new(ip, 1)), Target::Outside, "{ip} beside {block}");
            }
        }
    }

    #[test]
    fn what_is_configured_is_allowed_and_no_more() {
        let policy = policy(&["10.1.0.0/16", "::1"]);
        for ip in forms("10.1.2.3").into_iter().chain(["::1".parse().unwrap()]) {
            assert_eq!(policy.peer(ip, |_| true), Target::Outside, "{ip}");
        }
        for ip in forms("10.2.0.1").into_iter().chain(["::".parse().unwrap()]) {
            assert_eq!(policy.peer(ip, |_| false), Target::Refused, "{ip}");
        }
    }

    #[test]
    fn own_addresses_are_refused_but_for_the_relay_ports() {
        for ip in forms("8.8.8.8") {
            assert_eq!(policy(&[]).peer(ip, |own| own == IpAddr::from([8, 8, 8, 8])), Target::Refused);
        }
        for ip in forms("198.51.100.1") {
            assert_eq!(policy(&[]).peer(ip, |_| true), Target::Relayed);
            for (port, target) in [(50_000, Target::Relayed), (50_999, Target::Relayed), (22, Target::Refused)] {
                assert_eq!(policy(&[]).target(SocketAddr::new(ip, port)), target, "{ip} {port}");
            }
            for (port, target) in [(50_000, Target::Either), (22, Target::Outside)] {
                assert_eq!(policy(&["198.51.100.0/24"]).target(SocketAddr::new(ip, port)), target, "{ip} {port}");
            }
        }
    }

    #[test]
    fn nothing_goes_to_port_0() {
        assert_eq!(policy(&[]).target("8.8.8.8:0".parse().unwrap()), Target::Refused);
    }

    #[test]
    fn reads_blocks() {
        let block = |text: &str| text.parse::<Cidr>();
        assert_eq!(block("10.0.0.0/8").map(|block| block.to_string()), Ok("10.0.0.0/8".to_owned()));
        assert!(block("0.0.0.0/0").unwrap().contains([8, 8, 8, 8].into()));
        assert!(block("::/0").unwrap().contains("2001:db8::1".parse().unwrap()));
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "/8", "10.0.0/8", "a", "10.0.0.0/-1"] {
            assert!(block(text).is_err(), "{text}");
        }
    }
}
