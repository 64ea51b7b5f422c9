//! The local addresses that a connection listens on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtc::shared::ifaces::ifaces;

/// Each is a socket and a candidate: a host full of container bridges shall not open dozens for each connection.
const MAX: usize = 8;

/// All addresses of this machine that another one can reach, or loopback where there is none.
pub(crate) fn local_addresses() -> Vec<IpAddr> {
    let all = ifaces().inspect_err(|error| tracing::warn!(%error, "the network interfaces cannot be listed"));
    choose(all.unwrap_or_default().into_iter().filter_map(|interface| interface.addr).map(|addr| addr.ip()).collect())
}

fn choose(mut all: Vec<IpAddr>) -> Vec<IpAddr> {
    // IPv4 first, so that it is not IPv6's many addresses that use up the places.
    all.sort_by_key(IpAddr::is_ipv6);
    all.dedup();
    let mut chosen: Vec<IpAddr> = all.iter().copied().filter(is_reachable).take(MAX).collect();
    if chosen.is_empty() {
        chosen = all.into_iter().filter(IpAddr::is_loopback).take(2).collect();
    }
    if chosen.is_empty() {
        chosen = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    chosen
}

/// Whether another machine may reach it. A link-local address of IPv6 means nothing without its interface.
fn is_reachable(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_link_local() && !ip.is_multicast(),
        IpAddr::V6(ip) => {
            !ip.is_loopback() && !ip.is_unspecified() && !ip.is_unicast_link_local() && !ip.is_multicast()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn loopback_only_where_there_is_nothing_else() {
        assert_eq!(choose(ips(&["::1", "127.0.0.1", "fe80::1"])), ips(&["127.0.0.1", "::1"]));
        assert_eq!(choose(ips(&["127.0.0.1", "fd00::2", "192.0.2.2"])), ips(&["192.0.2.2", "fd00::2"]));
        assert_eq!(choose(Vec::new()), ips(&["127.0.0.1", "::1"]));
    }

    #[test]
    fn a_crowd_is_cut() {
        let many: Vec<IpAddr> = (1..100).map(|n| IpAddr::from([10, 0, 0, n])).collect();
        assert_eq!(choose(many).len(), MAX);
    }
}
