//! Which web pages may use the broker: by the header Origin (RFC 6454), which browsers send and pages cannot change.

use std::net::IpAddr;
use std::str::FromStr;

/// The pages that may open a WebSocket: those of one origin, or all that come from the same machine. Programs send no
/// Origin, and are not asked.
///
/// ```
/// use linkup_broker::Origin;
///
/// assert!("https://chat.example.org".parse::<Origin>().is_ok());
/// assert!("localhost".parse::<Origin>().is_ok());
/// assert!("chat.example.org".parse::<Origin>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `scheme://host` or `scheme://host:port`, in small letters, as browsers write it; `file://`, which Chromium says of
    /// files; or `null`, which stands for all pages that a browser gives no origin: any page can have itself one of those.
    Exactly(String),
    /// `localhost`: whatever names this machine as its host, on any port.
    Localhost,
}

impl Origin {
    /// Those that the broker of a process takes which nobody has asked for one: of this machine.
    #[must_use]
    pub fn local() -> Vec<Self> {
        vec![Self::Localhost, Self::Exactly("file://".to_owned())]
    }

    pub(crate) fn is(&self, origin: &str) -> bool {
        match self {
            Self::Exactly(text) => text.eq_ignore_ascii_case(origin),
            Self::Localhost => host(origin).is_some_and(is_this_machine),
        }
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim_end_matches('/').to_ascii_lowercase();
        match text.as_str() {
            "localhost" => Ok(Self::Localhost),
            "null" => Ok(Self::Exactly(text)),
            "file:" => Ok(Self::Exactly("file://".to_owned())),
            _ if host(&text).is_some_and(|host| !host.is_empty() && !host.contains(['/', '@', ' ', '*'])) => {
                Ok(Self::Exactly(text))
            }
            _ => Err(format!("{text:?} is no origin such as https://example.org, nor localhost, file:// or null")),
        }
    }
}

/// The host of an origin, without its port.
fn host(origin: &str) -> Option<&str> {
    let (_, authority) = origin.split_once("://")?;
    match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map(|(host, _)| host),
        None => Some(authority.split_once(':').map_or(authority, |(host, _)| host)),
    }
}

fn is_this_machine(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn localhost_is_this_machine_on_any_port() {
        for origin in [
            "http://localhost",
            "http://localhost:5000",
            "https://LocalHost:8443",
            "http://app.localhost:3000",
            "http://127.0.0.1:5000",
            "http://127.9.9.9",
            "http://[::1]:5000",
            "http://[::ffff:127.0.0.1]",
        ] {
            assert!(Origin::Localhost.is(origin), "{origin}");
        }
        for origin in [
            "",
            "null",
            "localhost",
            "file://",
            "https://localhost.example.org",
            "https://example.org",
            "http://notlocalhost",
            "http://10.0.0.1",
            "http://[::2]",
            "http://127.0.0.1.example.org",
            "https://example.org/http://localhost",
        ] {
            assert!(!Origin::Localhost.is(origin), "{origin}");
        }
    }

    #[test]
    fn others_are_meant_exactly() {
        let origin: Origin = "HTTPS://Chat.Example.org/".parse().unwrap();
        assert!(origin.is("https://chat.example.org"));
        for other in ["http://chat.example.org", "https://chat.example.org:8443", "https://example.org", "null", ""] {
            assert!(!origin.is(other), "{other}");
        }
        assert!("null".parse::<Origin>().unwrap().is("null"));
        assert!("file://".parse::<Origin>().unwrap().is("file://"));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in
            ["", "*", "example.org", "https://", "https://example.org/path", "https://*.example.org", "http://a b"]
        {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
    }
}
