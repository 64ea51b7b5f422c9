//! The running broker: accepts connections, counts them, and ends them all. What one of them does is in `http` and
//! then in `session`.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::files::Files;
use crate::ice::Ice;
use crate::router::Router;
use crate::session::Session;
use crate::turn::{Secret, Turn, TurnStats};
use crate::{Options, http, listen};

/// How long [`Broker::close`] waits for the sockets.
const CLOSE: Duration = Duration::from_secs(1);

/// The pause after a failed `accept`, as where there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bounds of [`Options::ping_interval`].
const PING_INTERVALS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(24 * 60 * 60));

/// What a client hears where there are [`Options::max_sockets`] already.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) router: Arc<Router>,
    pub(crate) options: Options,
    pub(crate) files: Option<Files>,
    connections: AtomicUsize,
}

/// A running broker. Dropped, it stops at once; [`close`](Self::close) tells the peers first.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    closing: watch::Sender<bool>,
    acceptors: Vec<JoinHandle<()>>,
    turn: Option<Turn>,
}

impl Broker {
    /// Binds the listeners for [`start`](Self::start), all on one port. Port 0 picks a free one.
    ///
    /// `None` is all interfaces and `"localhost"` the loopback ones, in both cases of IPv4 and, where the machine has
    /// it, of IPv6. An address is taken literally, any other name is resolved, which may block.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] where another program has the port on one of the addresses; whatever the system
    /// says where no address can be had.
    pub fn listen(host: Option<&str>, port: u16) -> io::Result<Vec<TcpListener>> {
        listen::listen(host, port)
    }

    /// Starts a broker on listeners, in tasks of a runtime that has IO and time enabled.
    ///
    /// # Errors
    /// Where `options.files` is no directory, an option of STUN and TURN is wrong, or a listener cannot be used.
    pub fn start(
        listeners: Vec<TcpListener>,
        mut options: Options,
        runtime: &tokio::runtime::Handle,
    ) -> io::Result<Self> {
        options.ping_interval = options.ping_interval.clamp(PING_INTERVALS.0, PING_INTERVALS.1);
        let files = options.files.as_deref().map(Files::new).transpose()?;
        let _inside = runtime.enter();
        let secret = options.turn_secret.clone().map_or_else(Secret::random, Ok)?;
        let turn = start_turn(&options, &secret)?;
        let router = Arc::new(Router::new(Ice::new(&options, Some(secret), turn.as_ref())?));
        let shared = Arc::new(Shared { router, options, files, connections: AtomicUsize::new(0) });
        let mut bound = Vec::new();
        let mut addresses = Vec::new();
        for listener in listeners {
            listener.set_nonblocking(true)?;
            addresses.push(listener.local_addr()?);
            bound.push(tokio::net::TcpListener::from_std(listener)?);
        }
        let closing = watch::Sender::new(false);
        let accept = |listener| runtime.spawn(accept(listener, shared.clone(), closing.subscribe()));
        let acceptors = bound.into_iter().map(accept).collect();
        tracing::info!(?addresses, "the broker listens");
        Ok(Self { shared, addresses, closing, acceptors, turn })
    }

    /// The addresses that it listens on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The addresses on which STUN and TURN listen, of UDP and TCP alike. Empty where they do not.
    pub fn turn_addresses(&self) -> &[SocketAddr] {
        self.turn.as_ref().map_or(&[], Turn::addresses)
    }

    /// What TURN has done so far. `None` where there is none.
    pub fn turn_stats(&self) -> Option<TurnStats> {
        self.turn.as_ref().map(Turn::stats)
    }

    /// The number of open WebSockets.
    pub fn sockets(&self) -> usize {
        self.shared.router.sockets()
    }

    /// The number of registered ids.
    pub fn peers(&self) -> usize {
        self.shared.router.peers()
    }

    /// Stops to accept, tells every peer to move on (close code 1001), ends what TURN relays, and waits until all are
    /// gone, but no longer than a second. Must be called inside a runtime that has time enabled.
    pub async fn close(mut self) {
        self.closing.send_replace(true);
        self.shared.router.close();
        self.turn.as_ref().inspect(|turn| turn.stop());
        let gone = async {
            for acceptor in &mut self.acceptors {
                // One that was aborted with its runtime is gone as well.
                let _ = acceptor.await;
            }
            if let Some(turn) = &self.turn {
                turn.stopped().await;
            }
        };
        if tokio::time::timeout(CLOSE, gone).await.is_err() {
            tracing::info!(sockets = self.sockets(), "cut the connections that did not close in time");
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
    }
}

fn start_turn(options: &Options, secret: &Secret) -> io::Result<Option<Turn>> {
    let Some(turn) = &options.turn else { return Ok(None) };
    match Turn::start(turn, secret.clone()) {
        Ok(turn) => Ok(Some(turn)),
        Err(error) if turn.optional && error.kind() == io::ErrorKind::AddrInUse => {
            tracing::warn!(port = turn.port, "no STUN and TURN: the port is in use");
            Ok(None)
        }
        Err(error) => Err(io::Error::new(error.kind(), format!("STUN and TURN on port {}: {error}", turn.port))),
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

/// Accepts until the broker closes, and then waits for what it accepted. Aborted, all of that is aborted too.
async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>, closing: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let mut closed = closing.clone();
    loop {
        tokio::select! {
            () = closes(&mut closed) => break,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection failed: this is a bug of linkup");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((tcp, _)) => {
                    if let Some(counted) = Counted::take(&shared) {
                        connections.spawn(connection(tcp, counted, closing.clone()));
                    } else {
                        tracing::warn!(max_sockets = shared.options.max_sockets, "refused a connection: full");
                        let _ = SockRef::from(&tcp).send(FULL);
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn closes(closing: &mut watch::Receiver<bool>) {
    // An error is a broker that was dropped: the task is being aborted.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// One connection: HTTP, and then perhaps a WebSocket.
async fn connection(tcp: TcpStream, counted: Counted, mut closing: watch::Receiver<bool>) {
    // Without it, small frames wait for the acknowledgement of those before them. A failure only costs time.
    let _ = tcp.set_nodelay(true);
    let shared = counted.0.clone();
    // Boxed: HTTP needs kilobytes, which an idle WebSocket must not keep.
    let beginning = Box::pin(async move {
        let web_socket = tokio::select! {
            web_socket = http::serve(tcp, shared.clone()) => web_socket?,
            () = closes(&mut closing) => return None,
        };
        Session::begin(web_socket, &shared.router, shared.options.ping_interval).await
    });
    let Some(mut session) = beginning.await else { return };
    let over = session.run().await;
    Box::pin(session.end(over)).await;
}

/// A connection's part of [`Options::max_sockets`].
struct Counted(Arc<Shared>);

impl Counted {
    fn take(shared: &Arc<Shared>) -> Option<Self> {
        let counted = Self(shared.clone());
        let before = shared.connections.fetch_add(1, Ordering::Relaxed);
        (before < shared.options.max_sockets).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A broker holds as many of these as it has peers. Grown, look for what lives across an `await` twice.
    #[tokio::test]
    async fn the_task_of_a_socket_is_small() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let router = Arc::new(Router::new(Ice::new(&Options::default(), None, None).unwrap()));
        let connections = AtomicUsize::new(0);
        let shared = Arc::new(Shared { router, options: Options::default(), files: None, connections });
        let closing = watch::Sender::new(false);
        let task = connection(tcp, Counted::take(&shared).unwrap(), closing.subscribe());
        assert!(size_of_val(&task) <= 800, "{} bytes", size_of_val(&task));
    }
}
