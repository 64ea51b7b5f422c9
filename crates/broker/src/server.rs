//! The running broker: accepts connections, counts them, and ends them all. What one of them does is in `http` and
//! then in `session`.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::admission::{Slot, admit};
use crate::auth::Guard;
use crate::cluster::{self, Cluster};
use crate::files::Files;
use crate::ice::Ice;
use crate::limits::{Clients, Rates, Visit};
use crate::metrics::{Count, Gauges, render};
use crate::router::Router;
use crate::session::Session;
use crate::stream::Stream;
use crate::tls::Certificate;
use crate::turn::{Secret, Turn, TurnStats};
use crate::{Options, drain, http, listen};

/// How long [`Broker::close`] waits for the sockets.
const CLOSE: Duration = Duration::from_secs(1);

/// The pause after a failed `accept`, as where there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The bounds of [`Options::ping_interval`].
const PING_INTERVALS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(24 * 60 * 60));

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) router: Arc<Router>,
    pub(crate) options: Options,
    pub(crate) files: Option<Files>,
    pub(crate) clients: Arc<Clients>,
    pub(crate) rates: Rates,
    pub(crate) tls: Option<TlsAcceptor>,
    turn: Option<Arc<Turn>>,
    /// Those that there are: see [`Slot`].
    pub(crate) connections: AtomicUsize,
    draining: AtomicBool,
}

impl Shared {
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// For tests of what a connection consists of.
    #[cfg(test)]
    #[allow(clippy::expect_used)]
    pub(crate) fn of(options: Options) -> Arc<Self> {
        let ice = Ice::new(&options, None, None).expect("no URL is wrong");
        let guard = Guard::new(&options.auth).expect("no key is wrong");
        Arc::new(Self {
            router: Arc::new(Router::new(ice, guard, &options.limits, None)),
            files: None,
            clients: Clients::new(&options.limits),
            rates: Rates::new(&options.limits),
            tls: None,
            turn: None,
            connections: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            options,
        })
    }

    pub(crate) fn gauges(&self) -> Gauges {
        Gauges {
            connections: self.connections.load(Ordering::Relaxed),
            sockets: self.router.sockets(),
            peers: self.router.peers(),
            addresses: self.clients.known(),
            draining: self.is_draining(),
            cluster: self.router.cluster().map(|cluster| (cluster.is_up(), cluster.is_ready())),
            turn: self.turn.as_ref().map(|turn| turn.stats()),
        }
    }
}

/// A running broker. Dropped, it stops at once; [`close`](Self::close) tells the peers first.
#[derive(Debug)]
pub struct Broker {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    closing: watch::Sender<bool>,
    acceptors: Vec<JoinHandle<()>>,
    certificates: Vec<Arc<Certificate>>,
    /// Keeps what this broker shares with others.
    keeper: Option<JoinHandle<()>>,
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
    /// Where `options.files` is no directory, a certificate or key cannot be used, an option of STUN and TURN is wrong, or a
    /// listener cannot be used.
    pub fn start(
        listeners: Vec<TcpListener>,
        mut options: Options,
        runtime: &tokio::runtime::Handle,
    ) -> io::Result<Self> {
        options.ping_interval = options.ping_interval.clamp(PING_INTERVALS.0, PING_INTERVALS.1);
        options.limits = options.limits.clamped();
        let files = options.files.as_deref().map(Files::new).transpose()?;
        let _inside = runtime.enter();
        let secret = options.turn_secret.clone().map_or_else(Secret::random, Ok)?;
        let load = |files: &Option<(PathBuf, PathBuf)>| {
            files.as_ref().map(|(chain, key)| Certificate::load(chain, key)).transpose()
        };
        let certificate = load(&options.tls)?;
        let of_turn = load(&options.turn.as_ref().and_then(|turn| turn.tls.clone()))?;
        let turn = start_turn(&options, &secret, of_turn.as_ref().or(certificate.as_ref()))?.map(Arc::new);
        let ice = Ice::new(&options, Some(secret), turn.as_deref())?;
        let guard = Guard::new(&options.auth)?;
        let (router, keeper) = match &options.redis {
            None => (Arc::new(Router::new(ice, guard, &options.limits, None)), None),
            Some(redis) => {
                let (cluster, chores, events) = Cluster::over_redis(redis)?;
                let router = Arc::new(Router::new(ice, guard, &options.limits, Some(Arc::new(cluster))));
                let keeper = runtime.spawn(cluster::keep(router.clone(), events, chores));
                (router, Some(keeper))
            }
        };
        let shared = Arc::new(Shared {
            router,
            files,
            clients: Clients::new(&options.limits),
            rates: Rates::new(&options.limits),
            tls: certificate.as_ref().map(|certificate| certificate.acceptor(&[b"http/1.1"])).transpose()?,
            turn,
            connections: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            options,
        });
        let certificates = certificate.into_iter().chain(of_turn).collect();
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
        Ok(Self { shared, addresses, closing, acceptors, certificates, keeper })
    }

    /// The addresses that it listens on.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The addresses on which STUN and TURN listen, of UDP and TCP alike. Empty where they do not.
    pub fn turn_addresses(&self) -> &[SocketAddr] {
        self.shared.turn.as_ref().map_or(&[], |turn| turn.addresses())
    }

    /// What TURN has done so far. `None` where there is none.
    pub fn turn_stats(&self) -> Option<TurnStats> {
        self.shared.turn.as_ref().map(|turn| turn.stats())
    }

    /// What it has done, in the text format of Prometheus: what `/metrics` answers.
    pub fn metrics(&self) -> String {
        render(self.shared.router.metrics(), &self.shared.gauges())
    }

    /// The number of open WebSockets.
    pub fn sockets(&self) -> usize {
        self.shared.router.sockets()
    }

    /// The number of registered ids.
    pub fn peers(&self) -> usize {
        self.shared.router.peers()
    }

    /// Whether it speaks TLS: `wss:`.
    pub fn has_tls(&self) -> bool {
        self.shared.tls.is_some()
    }

    /// Whether there is something to [`reload`](Self::reload).
    pub fn has_certificates(&self) -> bool {
        !self.certificates.is_empty()
    }

    /// Whether peers may be sent to this broker, which `/readyz` says too. False while it drains, and while one among several
    /// does not reach the others or cannot give ids yet.
    pub fn is_ready(&self) -> bool {
        !self.shared.is_draining() && self.shared.router.is_ready()
    }

    /// Reads the certificates and their keys again, of the broker and of TURN. Those that cannot be used are left as they
    /// were. Open connections go on.
    ///
    /// # Errors
    /// The first file that cannot be used.
    pub fn reload(&self) -> io::Result<()> {
        let results: Vec<_> = self.certificates.iter().map(|certificate| certificate.reload()).collect();
        results.into_iter().collect()
    }

    /// Moves the peers to another broker, and closes. Takes no more WebSockets and no more TURN allocations, and `/readyz`
    /// answers `503`; tells the peers to connect again (close code 1012), spread over some seconds; waits until the
    /// allocations have ended, but in all no longer than `limit`. Must be called inside a runtime that has time enabled.
    pub async fn drain(self, limit: Duration) {
        let deadline = tokio::time::Instant::now() + limit;
        self.shared.draining.store(true, Ordering::Relaxed);
        self.shared.turn.as_ref().inspect(|turn| turn.drain());
        let outboxes = self.shared.router.refuse();
        tracing::info!(sockets = outboxes.len(), ?limit, "draining");
        drain::tell(&outboxes, deadline).await;
        drop(outboxes);
        let allocations = || self.turn_stats().map_or(0, |stats| stats.allocations);
        if !drain::wait(deadline, || self.sockets() == 0 && allocations() == 0).await {
            tracing::info!(sockets = self.sockets(), allocations = allocations(), "cut what did not end in time");
        }
        self.close().await;
    }

    /// Stops to accept, tells every peer to move on (close code 1001), ends what TURN relays, and waits until all are
    /// gone, but no longer than a second. Must be called inside a runtime that has time enabled.
    pub async fn close(mut self) {
        self.closing.send_replace(true);
        self.shared.router.close();
        self.shared.turn.as_ref().inspect(|turn| turn.stop());
        let gone = async {
            for acceptor in &mut self.acceptors {
                // One that was aborted with its runtime is gone as well.
                let _ = acceptor.await;
            }
            // Their ids can be had at the other brokers at once.
            if let Some(cluster) = self.shared.router.cluster() {
                cluster.flush().await;
            }
            if let Some(turn) = &self.shared.turn {
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
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
        // The aborted tasks hold what all share a little longer.
        self.shared.turn.as_ref().inspect(|turn| turn.stop());
    }
}

fn start_turn(options: &Options, secret: &Secret, certificate: Option<&Arc<Certificate>>) -> io::Result<Option<Turn>> {
    let Some(turn) = &options.turn else { return Ok(None) };
    match Turn::start(turn, secret.clone(), certificate) {
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
                Ok((tcp, client)) => {
                    if let Some((slot, ip, visit)) = admit(&tcp, client.ip().to_canonical(), &shared) {
                        connections.spawn(connection(tcp, slot, ip, visit, closing.clone()));
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
async fn connection(tcp: TcpStream, slot: Slot, ip: IpAddr, visit: Option<Visit>, mut closing: watch::Receiver<bool>) {
    // Boxed: HTTP needs kilobytes, which an idle WebSocket must not keep.
    let beginning = Box::pin(async move {
        // Without it, small frames wait for the acknowledgement of those before them. A failure only costs time.
        let _ = tcp.set_nodelay(true);
        let begun = async {
            let stream = stream(tcp, slot.shared()).await?;
            http::serve(stream, slot, ip, visit).await
        };
        let (web_socket, guest) = tokio::select! {
            begun = begun => begun?,
            () = closes(&mut closing) => return None,
        };
        Session::begin(web_socket, guest).await
    });
    let Some(mut session) = beginning.await else { return };
    let over = session.run().await;
    Box::pin(session.end(over)).await;
}

/// The bytes of a connection: after the handshake of TLS, where the broker speaks it.
async fn stream(tcp: TcpStream, shared: &Arc<Shared>) -> Option<Stream> {
    let Some(acceptor) = &shared.tls else { return Some(tcp.into()) };
    let handshake = tokio::time::timeout(shared.options.handshake_timeout, acceptor.accept(tcp));
    if let Ok(Ok(tls)) = handshake.await {
        return Some(tls.into());
    }
    shared.router.metrics().count(Count::RefusedHandshake);
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Instant;

    use super::*;

    /// A broker holds as many of these as it has peers. Grown, look for what lives across an `await` twice.
    #[tokio::test]
    async fn the_task_of_a_socket_is_small() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let slot = Slot::take(&Shared::of(Options::default())).unwrap();
        let ip = IpAddr::from([127, 0, 0, 1]);
        let visit = slot.shared().clients.enter(ip, Instant::now()).unwrap();
        let closing = watch::Sender::new(false);
        let task = connection(tcp, slot, ip, Some(visit), closing.subscribe());
        assert!(size_of_val(&task) <= 800, "{} bytes", size_of_val(&task));
    }
}
