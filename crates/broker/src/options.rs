//! What can be set on a broker. Knows nothing of how it is used.

use std::path::PathBuf;
use std::time::Duration;

use crate::origin::Origin;
use crate::turn::{Secret, TurnOptions};

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
    /// How long a client may take for its HTTP request: 10 s.
    pub handshake_timeout: Duration,
    /// How many connections there may be at once, of HTTP and WebSocket together: 100,000. Further ones are
    /// answered `503` and closed.
    pub max_sockets: usize,
    /// A directory of static files to serve over HTTP, for example a page whose peers use this broker. None by
    /// default. Files whose name begins with a dot, and links out of the directory, are not served.
    pub files: Option<PathBuf>,
    /// The web pages that may use the broker: others are answered `403`. None by default: all may.
    pub origins: Option<Vec<Origin>>,
    /// STUN and TURN in this process. None by default.
    pub turn: Option<TurnOptions>,
    /// Other STUN and TURN servers that peers are told of, such as `turn:turn.example.org:3478?transport=udp`. TURN
    /// servers must know `turn_secret` (coturn: `use-auth-secret`, `static-auth-secret`).
    pub ice_urls: Vec<String>,
    /// What credentials are made with. By default a new one for each broker.
    pub turn_secret: Option<Secret>,
    /// How long credentials are good: an hour. Allocations that were made with them outlive them.
    pub turn_ttl: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(15),
            handshake_timeout: Duration::from_secs(10),
            max_sockets: 100_000,
            files: None,
            origins: None,
            turn: None,
            ice_urls: Vec::new(),
            turn_secret: None,
            turn_ttl: Duration::from_secs(3_600),
        }
    }
}
