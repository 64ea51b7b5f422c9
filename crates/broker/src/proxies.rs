//! Whose word is taken for a client's address: `X-Forwarded-For` and `Forwarded` (RFC 7239) of named proxies. Pure.

use std::net::IpAddr;

use hyper::HeaderMap;
use hyper::header::HeaderValue;

use crate::turn::Cidr;

const FORWARDED: &str = "forwarded";
const X_FORWARDED_FOR: &str = "x-forwarded-for";

/// Whether an address is in one of the blocks.
pub(crate) fn is_in(blocks: &[Cidr], ip: IpAddr) -> bool {
    blocks.iter().any(|block| block.contains(ip))
}

/// Whether somebody has passed the request on, trusted or not.
pub(crate) fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED) || headers.contains_key(X_FORWARDED_FOR)
}

/// The client behind a trusted proxy: the last address of the list that is none of the proxies. What a client writes into
/// the header itself stands before it, and is not believed. `None` where the proxy says nothing, or nothing readable.
pub(crate) fn client(headers: &HeaderMap, trusted: &[Cidr]) -> Option<IpAddr> {
    let list = |name| headers.get_all(name).iter().map(HeaderValue::to_str);
    let mut chain: Vec<Option<IpAddr>> = Vec::new();
    // One of the two: a proxy that writes one leaves what a client has written into the other.
    let name = if headers.contains_key(X_FORWARDED_FOR) { X_FORWARDED_FOR } else { FORWARDED };
    for value in list(name) {
        for element in value.ok()?.split(',') {
            chain.push(if name == FORWARDED { of_forwarded(element) } else { node(element) });
        }
    }
    let mut farthest = None;
    for hop in chain.into_iter().rev() {
        let hop = hop?;
        farthest = Some(hop);
        if !is_in(trusted, hop) {
            break;
        }
    }
    farthest
}

/// The `for` of one element of `Forwarded`.
fn of_forwarded(element: &str) -> Option<IpAddr> {
    let pair = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    pair.filter(|(name, _)| name.eq_ignore_ascii_case("for")).map(|(_, value)| node(value.trim_matches('"'))).next()?
}

/// An address as proxies write it: with a port, in brackets, or plain.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let ip = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0.parse().ok()?,
        None => match text.parse::<IpAddr>() {
            Ok(ip) => ip,
            Err(_) => text.rsplit_once(':')?.0.parse().ok()?,
        },
    };
    Some(IpAddr::to_canonical(&ip))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn behind(headers: &[(&'static str, &str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8", "2001:db8:1::/48"].map(|block| block.parse().unwrap());
        client(&map, &trusted).map(|ip| ip.to_string())
    }

    #[test]
    fn the_client_is_the_last_that_is_no_proxy() {
        for (value, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1, 10.0.0.2, 10.0.0.3", Some("192.0.2.1")),
            // What stands before was written by the client.
            ("127.0.0.1, 198.51.100.7, 192.0.2.1, 10.0.0.2", Some("192.0.2.1")),
            ("10.0.0.2", Some("10.0.0.2")),
            ("192.0.2.1:4711", Some("192.0.2.1")),
            ("[2001:db8::1]:4711", Some("2001:db8::1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1, 2001:db8:1::5", Some("192.0.2.1")),
            ("192.0.2.1, unknown", None),
            ("192.0.2.1,", None),
            ("", None),
        ] {
            assert_eq!(behind(&[("x-forwarded-for", value)]).as_deref(), expected, "{value}");
        }
        let two = [("x-forwarded-for", "127.0.0.1, 192.0.2.1"), ("x-forwarded-for", "10.0.0.2")];
        assert_eq!(behind(&two).as_deref(), Some("192.0.2.1"));
        assert_eq!(behind(&[]), None);
    }

    #[test]
    fn reads_the_standard_header_too() {
        for (value, expected) in [
            ("for=192.0.2.1", Some("192.0.2.1")),
            ("by=10.0.0.1; For=\"192.0.2.1:80\";proto=https, for=10.0.0.2", Some("192.0.2.1")),
            ("for=\"[2001:db8::1]:4711\"", Some("2001:db8::1")),
            ("for=_hidden", None),
            ("proto=https", None),
        ] {
            assert_eq!(behind(&[("forwarded", value)]).as_deref(), expected, "{value}");
        }
        let both = [("forwarded", "for=127.0.0.1"), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(behind(&both).as_deref(), Some("192.0.2.1"));
    }
}
