//! What `{type: 'ice'}` is answered: the STUN and TURN servers, with credentials of the peer that asks. Pure.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use linkup_proto::PeerId;
use linkup_proto::broker::{IceServer, IceServers};

use crate::Options;
use crate::turn::{Secret, Turn};

/// The bounds of [`Options::turn_ttl`]. A client renews its credentials before they expire, which takes a moment.
const TTLS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(7 * 24 * 60 * 60));

/// Bytes of a URL, and how many there may be: all of them are in every answer.
const MAX_URL: usize = 512;
const MAX_URLS: usize = 32;

/// The servers that peers are told of.
pub(crate) struct Ice {
    /// Of the credentials; none where there is no TURN.
    secret: Option<Secret>,
    ttl: Duration,
    own: Option<Own>,
    /// Other servers, with the same secret.
    urls: Vec<String>,
    /// See [`Options::relay`].
    relay: Option<u32>,
}

/// The server of this process.
struct Own {
    host: Option<String>,
    port: u16,
    tls: bool,
}

impl Ice {
    /// Checks the options.
    ///
    /// # Errors
    /// A sentence about the URL that is wrong, or that needs a secret.
    pub(crate) fn new(options: &Options, secret: Option<Secret>, turn: Option<&Turn>) -> io::Result<Self> {
        let wrong = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
        let urls = &options.ice_urls;
        if urls.len() > MAX_URLS {
            return Err(wrong(format!("there are more than {MAX_URLS} ICE URLs")));
        }
        for url in urls {
            let is_turn = ["turn:", "turns:"].iter().any(|scheme| url.starts_with(scheme));
            let known = is_turn || ["stun:", "stuns:"].iter().any(|scheme| url.starts_with(scheme));
            let plain = url.len() <= MAX_URL && url.bytes().all(|byte| byte.is_ascii_graphic());
            if !known || !plain || url.contains("://") || url.ends_with(':') {
                return Err(wrong(format!("{url:?} is no ICE URL such as turn:turn.example.org:3478")));
            }
            if is_turn && options.turn_secret.is_none() {
                return Err(wrong(format!("{url} needs the secret that it shares with this broker")));
            }
        }
        let is_turn = |url: &String| url.starts_with("turn");
        let secret = secret.filter(|_| turn.is_some() || urls.iter().any(is_turn));
        let own = turn.zip(options.turn.as_ref()).and_then(|(turn, options)| {
            let port = turn.addresses().first()?.port();
            let host = options.name.clone().or_else(|| options.address.map(host));
            Some(Own { host, port, tls: turn.has_tls() })
        });
        Ok(Self { secret, ttl: options.turn_ttl.clamp(TTLS.0, TTLS.1), own, urls: urls.clone(), relay: options.relay })
    }

    /// The servers for a peer, whose socket has reached us at `local`. `now` is in seconds since 1970.
    pub(crate) fn servers(&self, peer: &PeerId, local: Option<IpAddr>, now: u64) -> IceServers {
        let mut urls = Vec::new();
        if let Some(own) = &self.own
            && let Some(host) = own.host.clone().or_else(|| local.map(host))
        {
            let at = format!("{host}:{}", own.port);
            urls.push(format!("stun:{at}"));
            urls.push(format!("turn:{at}?transport=udp"));
            urls.push(format!("turn:{at}?transport=tcp"));
            if own.tls {
                urls.push(format!("turns:{at}?transport=tcp"));
            }
        }
        urls.extend_from_slice(&self.urls);
        if urls.is_empty() {
            return IceServers { relay: self.relay, ..IceServers::default() };
        }
        let credentials =
            self.secret.as_ref().map(|secret| secret.credentials(peer.as_str(), now + self.ttl.as_secs()));
        let ttl = credentials.is_some().then_some(self.ttl.as_secs());
        let (username, credential) = credentials.unzip();
        IceServers { ice_servers: vec![IceServer { urls, username, credential }], ttl, relay: self.relay }
    }
}

/// An address as it stands in a URL.
fn host(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn alice() -> PeerId {
        PeerId::new("alice").unwrap()
    }

    fn ice(urls: &[&str], secret: Option<&str>) -> io::Result<Ice> {
        let secret = secret.map(Secret::new);
        let urls = urls.iter().map(|url| (*url).to_owned()).collect();
        let options = Options { ice_urls: urls, turn_secret: secret.clone(), ..Options::default() };
        Ice::new(&options, secret, None)
    }

    #[test]
    fn there_may_be_none() {
        let mut ice = ice(&[], Some("north")).unwrap();
        let relay = Some(64 * 1024);
        assert_eq!(ice.servers(&alice(), None, 0), IceServers { relay, ..IceServers::default() });
        ice.relay = None;
        assert_eq!(ice.servers(&alice(), None, 0), IceServers::default());
    }

    #[test]
    fn other_servers_share_the_secret() {
        let servers =
            ice(&["turn:t.example:3478", "stun:s.example"], Some("north")).unwrap().servers(&alice(), None, 100);
        let (username, credential) = Secret::new("north").credentials("alice", 3_700);
        let [server] = &servers.ice_servers[..] else { unreachable!() };
        assert_eq!(server.urls, ["turn:t.example:3478", "stun:s.example"]);
        assert_eq!((server.username.as_ref(), server.credential.as_ref()), (Some(&username), Some(&credential)));
        assert_eq!(servers.ttl, Some(3_600));
        let stun = ice(&["stun:s.example"], None).unwrap().servers(&alice(), None, 100);
        assert_eq!((stun.ttl, stun.ice_servers[0].username.as_ref()), (None, None));
    }

    #[test]
    fn says_which_url_is_wrong() {
        for url in ["http://h", "turn://h", "turn:", "stun:h h", "h:3478", "", "turn:h"] {
            assert!(ice(&[url], None).is_err_and(|error| error.to_string().contains(url)), "{url}");
        }
    }

    #[test]
    fn the_host_is_the_name_the_address_or_the_sockets_end() {
        let own = |host: Option<&str>, tls| Ice {
            secret: Some(Secret::new("s")),
            ttl: Duration::from_secs(60),
            own: Some(Own { host: host.map(Into::into), port: 3478, tls }),
            urls: Vec::new(),
            relay: None,
        };
        let urls = |ice: Ice, local: &str| ice.servers(&alice(), local.parse().ok(), 0).ice_servers[0].urls.clone();
        let expected =
            ["stun:h:3478", "turn:h:3478?transport=udp", "turn:h:3478?transport=tcp", "turns:h:3478?transport=tcp"];
        assert_eq!(urls(own(Some("h"), true), "192.0.2.1"), expected);
        assert_eq!(urls(own(None, false), "::ffff:192.0.2.1")[0], "stun:192.0.2.1:3478");
        assert_eq!(urls(own(None, false), "2001:db8::1")[2], "turn:[2001:db8::1]:3478?transport=tcp");
    }
}
