//! The embedded broker: where nobody serves the default address, this process does, for as long as it has a Peer
//! that uses it. When it ends, the other processes' peers lose their sockets and the first of them takes over.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use linkup_broker::{Broker, Options, Origin};
use linkup_driver::Keeper;
use tokio::net::TcpStream;

/// The port of the specification's `http://localhost:5000`.
pub const DEFAULT_PORT: u16 = 5000;

/// On loopback a listener answers at once; what takes longer is no listener.
const PROBE: Duration = Duration::from_millis(250);

/// A Peer's share in the embedded broker. The broker ends with the last one.
pub type Lease = Arc<Embedded>;

/// The embedded broker of this process, running or ready to run.
pub struct Embedded {
    broker: tokio::sync::Mutex<Option<Broker>>,
}

/// The share for one more Peer.
pub fn lease() -> Lease {
    static SHARED: Mutex<Weak<Embedded>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(embedded) = shared.upgrade() {
        return embedded;
    }
    let embedded = Arc::new(Embedded { broker: tokio::sync::Mutex::new(None) });
    *shared = Arc::downgrade(&embedded);
    embedded
}

/// Keeps the embedded broker for one Peer. Holds no share of its own: a Peer's task may outlive the Peer a little.
pub struct EmbeddedKeeper(pub Weak<Embedded>);

impl Keeper for EmbeddedKeeper {
    fn ensure(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            if let Some(embedded) = self.0.upgrade() {
                embedded.ensure().await;
            }
        })
    }
}

impl Embedded {
    async fn ensure(&self) {
        let mut broker = self.broker.lock().await;
        if broker.is_some() {
            return;
        }
        // Asked first, because some systems let two listeners share a port when one has the more exact address.
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, DEFAULT_PORT));
        if matches!(tokio::time::timeout(PROBE, TcpStream::connect(address)).await, Ok(Ok(_))) {
            return;
        }
        // Whatever page somebody looks at can reach this machine's ports: it shall not speak with its peers.
        let mut options = Options::default();
        options.origins = Some(Origin::local());
        let started = Broker::listen(Some("localhost"), DEFAULT_PORT)
            .and_then(|listeners| Broker::start(listeners, options, &tokio::runtime::Handle::current()));
        match started {
            Ok(running) => *broker = Some(running),
            // Another process was faster: that one serves.
            Err(error) => tracing::debug!(%error, "no embedded broker"),
        }
    }
}
