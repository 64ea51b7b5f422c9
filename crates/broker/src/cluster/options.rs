//! What can be set for many brokers. Knows nothing of how it is used.

use std::fmt;
use std::time::Duration;

/// The Redis by which several brokers are one: 6.2 or newer, or Valkey; Redis Cluster from 7.0.
///
/// ```
/// let mut options = linkup_broker::Options::default();
/// options.redis = Some(linkup_broker::RedisOptions::new("redis://127.0.0.1:6379"));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct RedisOptions {
    /// `redis://[user[:password]@]host[:port][/database]`, `rediss:` with TLS, `redis+unix:///path`; of a cluster, some of its
    /// nodes. Whether it is a cluster is asked of the first.
    pub urls: Vec<String>,
    /// How the names of keys and channels begin: `linkup`. Another one for each set of brokers that shares a Redis.
    pub prefix: String,
    /// How long a broker that cannot reach Redis may go on with the ids that it has, and how long those of one that died are
    /// kept from other owners: 30 s. The same for all brokers. Taken as at least 100 ms and at most an hour.
    pub lease: Duration,
}

impl RedisOptions {
    /// The defaults, with one URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { urls: vec![url.into()], prefix: "linkup".to_owned(), lease: Duration::from_secs(30) }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URLs have passwords.
        f.debug_struct("RedisOptions").field("prefix", &self.prefix).field("lease", &self.lease).finish_non_exhaustive()
    }
}
