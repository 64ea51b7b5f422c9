//! What the facade `webrtc` runs on: tokio, with the changes that make its driver loop quick and its sockets small.
//!
//! One [`ConnectionRuntime`] for each peer connection, because the facade has no other door to its driver. It knows
//! sockets and timers, and nothing of what they are for.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use webrtc::runtime::{
    AsyncInterval, AsyncTcpListener, AsyncTcpStream, AsyncUdpSocket, JoinHandle, Runtime, TokioRuntime,
};

use crate::socket::{self, Poke, Socket};

/// The facade waits for name servers inside its driver loop: a dead one must not stall the other addresses for long.
const RESOLVE: Duration = Duration::from_secs(2);

/// From the relay into the core, from the core to the relay's queue, from there to the socket.
const ROUNDS: u32 = 3;

/// How long [`Pulse::settled`] waits for a driver that may be gone.
const TURN: Duration = Duration::from_millis(100);

/// What the transport says to the driver loop of its peer connection, and hears of it.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// The data channel is not open yet. Then, and only then, each burst of packets makes the driver handle its
    /// timeouts at once: it does not notice that ICE or DTLS got ahead before its next timer, 200 ms later. On the
    /// data path the same would cost CPU for nothing.
    connecting: AtomicBool,
    activity: AtomicBool,
    /// Packets may go through a TURN server. The driver handles what comes from one at the end of a round, and what goes to
    /// one in the next round, but sleeps in between: [`ROUNDS`] more of them after each time that it wakes.
    relaying: AtomicBool,
    rounds: AtomicU32,
    nudge: Notify,
    turns: AtomicU64,
    turned: Notify,
    poke: Poke,
    driver: OnceLock<tokio::task::Id>,
}

impl Pulse {
    /// Ends the driver's present sleep: adding a remote candidate does not.
    pub(crate) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// The data channel is open.
    pub(crate) fn connected(&self) {
        self.connecting.store(false, Ordering::Release);
    }

    /// Whether packets may go through a TURN server.
    pub(crate) fn relays(&self, relays: bool) {
        self.relaying.store(relays, Ordering::Release);
    }

    /// Whether the driver has another round to go before it may sleep.
    fn has_round(&self) -> bool {
        if !self.relaying.load(Ordering::Acquire) {
            return false;
        }
        let left = self.rounds.load(Ordering::Relaxed);
        // Only the driver counts.
        self.rounds.store(if left == 0 { ROUNDS } else { left - 1 }, Ordering::Relaxed);
        left > 0
    }

    /// Makes the driver believe that a packet came, which is the only thing that makes it look for messages that it
    /// left in SCTP's queue because there were too many at once.
    pub(crate) fn poke(&self) {
        self.poke.poke();
    }

    /// Returns when the driver has gone round its loop: what it had is then in the channel's queue, or waits for room.
    pub(crate) async fn settled(&self) {
        // The round under way may be past the point that matters.
        let target = self.turns.load(Ordering::Acquire) + 2;
        loop {
            let turned = self.turned.notified();
            tokio::pin!(turned);
            turned.as_mut().enable();
            if self.turns.load(Ordering::Acquire) >= target {
                return;
            }
            self.nudge();
            if tokio::time::timeout(TURN, turned).await.is_err() {
                return;
            }
        }
    }

    fn is_driver(&self) -> bool {
        self.driver.get().copied() == tokio::task::try_id()
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct ConnectionRuntime {
    handle: tokio::runtime::Handle,
    pulse: Arc<Pulse>,
}

impl ConnectionRuntime {
    pub(crate) fn new(handle: tokio::runtime::Handle) -> (Arc<Self>, Arc<Pulse>) {
        let pulse = Arc::new(Pulse { connecting: AtomicBool::new(true), ..Pulse::default() });
        (Arc::new(Self { handle, pulse: Arc::clone(&pulse) }), pulse)
    }
}

impl Runtime for ConnectionRuntime {
    fn spawn(&self, future: Pin<Box<dyn Future<Output = ()> + Send>>) -> Box<dyn JoinHandle> {
        let task = self.handle.spawn(future);
        // The driver is the first that a peer connection spawns.
        let _ = self.pulse.driver.set(task.id());
        Box::new(Task(task))
    }

    fn wrap_udp_socket(&self, socket: std::net::UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        socket::enlarge(&socket);
        let pulse = Arc::clone(&self.pulse);
        let on_packet = move || {
            if pulse.connecting.load(Ordering::Acquire) {
                pulse.activity.store(true, Ordering::Release);
            }
        };
        let inner = TokioRuntime.wrap_udp_socket(socket)?;
        Ok(Arc::new(Socket::new(inner, self.pulse.poke.ear(), Box::new(on_packet))))
    }

    fn wrap_tcp_listener(&self, listener: std::net::TcpListener) -> io::Result<Arc<dyn AsyncTcpListener>> {
        TokioRuntime.wrap_tcp_listener(listener)
    }

    fn connect_tcp<'a>(
        &'a self,
        remote: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<Arc<dyn AsyncTcpStream>>> + Send + 'a>> {
        TokioRuntime.connect_tcp(remote)
    }

    fn resolve_host<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'a>> {
        Box::pin(async move {
            let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host(host)).await;
            Ok(found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??.collect())
        })
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        // Others sleep too: a sender that waits for room, `close()`.
        if !self.pulse.is_driver() {
            return Box::pin(tokio::time::sleep(duration));
        }
        self.pulse.turns.fetch_add(1, Ordering::AcqRel);
        self.pulse.turned.notify_waiters();
        if self.pulse.activity.swap(false, Ordering::AcqRel) || self.pulse.has_round() {
            return Box::pin(std::future::ready(()));
        }
        let pulse = Arc::clone(&self.pulse);
        Box::pin(async move {
            tokio::select! {
                () = tokio::time::sleep(duration) => {}
                () = pulse.nudge.notified() => {}
            }
        })
    }

    fn interval(&self, period: Duration) -> Box<dyn AsyncInterval> {
        TokioRuntime.interval(period)
    }

    fn block_on(&self, future: Pin<Box<dyn Future<Output = ()> + '_>>) {
        self.handle.block_on(future);
    }

    fn yield_now(&self) -> Pin<Box<dyn Future<Output = ()> + Send + 'static>> {
        Box::pin(tokio::task::yield_now())
    }

    fn name(&self) -> &'static str {
        "linkup"
    }
}

struct Task(tokio::task::JoinHandle<()>);

impl JoinHandle for Task {
    fn detach(&self) {
        // A tokio task goes on when its handle is dropped.
    }

    fn abort(&self) {
        self.0.abort();
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}
