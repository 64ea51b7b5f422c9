//! What can be set on a broker. Knows nothing of how it is used.

use std::path::PathBuf;
use std::time::Duration;

use crate::auth::Auth;
use crate::cluster::RedisOptions;
use crate::limits::Limits;
use crate::origin::Origin;
use crate::turn::{Cidr, Secret, TurnOptions};

/// Options of a [`Broker`](crate::Broker). The default is fit for production.
///
/// ```
/// let mut options = linkup_broker::Options::default();
/// options.max_sockets = 1_000;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// How often each WebSocket is pinged: 15 s. One from which nothing at all is heard for twice as long is
    /// dropped, so that the id of a dead peer is free within 30 s. Taken as at least 1 ms and at most a day.
    pub ping_interval: Duration,
    /// How long a client may take for its TLS handshake, and then for its HTTP request: 10 s.
    pub handshake_timeout: Duration,
    /// How many connections there may be at once, of HTTP and WebSocket together: 100,000. Further ones are
    /// answered `503` and closed.
    pub max_sockets: usize,
    /// A directory of static files to serve over HTTP, for example a page whose peers use this broker. None by
    /// default. Files whose name begins with a dot, and links out of the directory, are not served.
    pub files: Option<PathBuf>,
    /// The web pages that may use the broker: others are answered `403`. None by default: all may.
    pub origins: Option<Vec<Origin>>,
    /// How much clients may ask for.
    pub limits: Limits,
    /// Who may register which id. By default everybody every id that is free.
    pub auth: Auth,
    /// Certificate chain and key, PEM files: then the broker speaks TLS and nothing else, `wss:` and `https:`. None by
    /// default. [`Broker::reload`](crate::Broker::reload) reads them again.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Proxies before the broker, whose header `X-Forwarded-For` or `Forwarded` is believed. A proxy must set it, or
    /// remove what a client has written. None by default: a client is where its connection comes from.
    pub trusted_proxies: Vec<Cidr>,
    /// Who may read `/metrics`: by default loopback and private addresses, others are answered `404`. What a proxy passes
    /// on that is none of the trusted ones is of unknown origin, and never is answered.
    pub metrics_from: Vec<Cidr>,
    /// STUN and TURN in this process. None by default.
    pub turn: Option<TurnOptions>,
    /// Other STUN and TURN servers that peers are told of, such as `turn:turn.example.org:3478?transport=udp`. TURN
    /// servers must know `turn_secret` (coturn: `use-auth-secret`, `static-auth-secret`).
    pub ice_urls: Vec<String>,
    /// What credentials are made with. By default a new one for each broker.
    pub turn_secret: Option<Secret>,
    /// Bytes a second of signals that a peer may send for connections that go over the broker itself, because there is no
    /// other way: 64 KiB. None: there are no such connections. What they carry is encrypted from end to end.
    pub relay: Option<u32>,
    /// How long credentials are good: an hour. Allocations that were made with them outlive them.
    pub turn_ttl: Duration,
    /// The Redis by which several brokers are one. None by default.
    pub redis: Option<RedisOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(15),
            handshake_timeout: Duration::from_secs(10),
            max_sockets: 100_000,
            files: None,
            origins: None,
            limits: Limits::default(),
            auth: Auth::default(),
            tls: None,
            trusted_proxies: Vec::new(),
            metrics_from: Cidr::PRIVATE.to_vec(),
            turn: None,
            ice_urls: Vec::new(),
            turn_secret: None,
            relay: Some(64 * 1024),
            turn_ttl: Duration::from_secs(3_600),
            redis: None,
        }
    }
}
