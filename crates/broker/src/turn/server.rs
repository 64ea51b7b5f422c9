//! The running STUN and TURN server: what all clients share, and what one packet of a client does.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::credentials::{Nonces, Secret};
use super::message::{self, Class, Message};
use super::options::TurnOptions;
use super::policy::Policy;
use super::quota::{Counts, Full, Lease, Throttle};
use super::relay::{Path, Relay, is_own, open};
use super::request::{Answer, Asking, Rules, Wish};
use super::{stream, udp};
use crate::limits::network;
use crate::listen;
use crate::tls::Certificate;

/// How often another free port is looked for, where the one that TCP got is used for UDP.
const ATTEMPTS: usize = 16;

/// What the server has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TurnStats {
    /// Allocations now.
    pub allocations: usize,
    /// Allocations that were made.
    pub allocated: u64,
    /// Requests that were refused although their credentials were good: no quota, no such target.
    pub refused: u64,
    /// Requests without credentials, or with wrong ones. Each client begins with one.
    pub unauthorized: u64,
    /// Bytes from clients to peers, and from peers to clients.
    pub bytes_up: u64,
    /// See `bytes_up`.
    pub bytes_down: u64,
    /// Datagrams that were not relayed: not permitted, over the bandwidth, or not taken.
    pub dropped: u64,
}

#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub(crate) struct Counters {
    allocated: Counter,
    refused: Counter,
    unauthorized: Counter,
    pub(crate) up: Counter,
    pub(crate) down: Counter,
    pub(crate) dropped: Counter,
}

/// What all clients share.
pub(crate) struct Shared {
    rules: Rules,
    pub(crate) options: TurnOptions,
    pub(crate) counters: Counters,
    pub(crate) connections: Arc<Counts<IpAddr>>,
    pub(crate) tls: Option<TlsAcceptor>,
    /// No more allocations: those that there are may end.
    draining: AtomicBool,
    users: Arc<Counts<Box<str>>>,
    ips: Arc<Counts<IpAddr>>,
    throttle: Mutex<Throttle>,
    /// By their relayed addresses, for allocations that talk to each other.
    relays: RwLock<HashMap<SocketAddr, Arc<Relay>>>,
    closing: watch::Sender<bool>,
}

/// A client as one packet of it shows it.
pub(crate) struct Origin {
    /// Its address, unwrapped.
    pub(crate) client: SocketAddr,
    /// The address of ours that it has reached, unwrapped.
    pub(crate) local: IpAddr,
    pub(crate) path: Path,
}

/// What became of a client's allocation.
pub(crate) enum Change {
    None,
    New(Arc<Relay>),
    Deleted,
}

impl Shared {
    /// Does what a packet asks for. `relay` is the client's allocation.
    pub(crate) fn receive(self: &Arc<Self>, packet: &[u8], relay: Option<&Arc<Relay>>, origin: &Origin) -> Change {
        let now = Instant::now();
        match packet.first().map(|first| first >> 6) {
            Some(1) => {
                if let Some(relay) = relay {
                    let outgoing = relay.lock().channel_data(packet, now);
                    match outgoing {
                        Ok(outgoing) => relay.forward(&outgoing, self),
                        Err(_) => self.counters.dropped.add(1),
                    }
                }
                Change::None
            }
            Some(0) => match Message::parse(packet) {
                Some(message) => self.message(&message, relay, origin, now),
                None => Change::None,
            },
            _ => Change::None,
        }
    }

    fn message(
        self: &Arc<Self>,
        message: &Message<'_>,
        relay: Option<&Arc<Relay>>,
        origin: &Origin,
        now: Instant,
    ) -> Change {
        if (message.class, message.method) == (Class::Indication, message::SEND) {
            if let Some(relay) = relay {
                let outgoing = {
                    let policy = self.rules.policy.read().unwrap_or_else(PoisonError::into_inner);
                    relay.lock().send(message, &policy, now)
                };
                match outgoing {
                    Ok(outgoing) => relay.forward(&outgoing, self),
                    Err(_) => self.counters.dropped.add(1),
                }
            }
            return Change::None;
        }
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let asking = Asking { client: origin.client, now, unix };
        let mut allocation = relay.map(|relay| relay.lock());
        let answer = self.rules.handle(message, allocation.as_deref_mut(), asking, is_own);
        drop(allocation);
        match answer {
            Answer::Nothing => {}
            Answer::Reply(reply) => drop(origin.path.send(&reply)),
            Answer::Unproven(reply) => {
                if message.method != message::BINDING {
                    self.counters.unauthorized.add(1);
                }
                let mut throttle = self.throttle.lock().unwrap_or_else(PoisonError::into_inner);
                if throttle.allows(origin.client.ip(), now) {
                    origin.path.send(&reply);
                }
            }
            Answer::Refused(reply) => {
                self.counters.refused.add(1);
                origin.path.send(&reply);
            }
            Answer::Delete(reply) => {
                origin.path.send(&reply);
                if let Some(relay) = relay {
                    // At once: the client may allocate anew before the task has noticed.
                    self.forget(relay);
                    relay.end();
                }
                return Change::Deleted;
            }
            Answer::Allocate(wish) => return self.allocate(*wish, origin, asking),
        }
        Change::None
    }

    fn allocate(self: &Arc<Self>, wish: Wish, origin: &Origin, asking: Asking) -> Change {
        let opened =
            self.leases(&wish, origin).and_then(|leases| Ok((leases, open(self, origin.local, wish.v6, wish.even)?)));
        let (leases, (socket, address)) = match opened {
            Ok(opened) => opened,
            Err(code) => {
                self.counters.refused.add(1);
                tracing::debug!(code, user = &*wish.user, "refused an allocation");
                origin.path.send(&wish.refused(code));
                return Change::None;
            }
        };
        self.counters.allocated.add(1);
        {
            let mut policy = self.rules.policy.write().unwrap_or_else(PoisonError::into_inner);
            if !policy.relays.contains(&address.ip()) {
                policy.relays.push(address.ip());
            }
        }
        let (allocation, answer) = wish.granted(address, &self.rules, asking);
        let relay = Arc::new(Relay::new(allocation, socket, origin.path.clone(), leases));
        self.relays.write().unwrap_or_else(PoisonError::into_inner).insert(address, relay.clone());
        tokio::spawn(relay.clone().run(self.clone(), self.closing.subscribe()));
        origin.path.send(&answer);
        Change::New(relay)
    }

    /// Room in the quotas. An error is the code of the answer.
    fn leases(&self, wish: &Wish, origin: &Origin) -> Result<(Lease<Box<str>>, Lease<IpAddr>), u16> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(508);
        }
        let code = |full| if full == Full::InAll { 508_u16 } else { 486 };
        let user = self.users.take(wish.user.clone()).map_err(code)?;
        let ip = self.ips.take(network(origin.client.ip())).map_err(code)?;
        Ok((user, ip))
    }

    pub(crate) fn relay_at(&self, address: SocketAddr) -> Option<Arc<Relay>> {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        self.relays.read().unwrap_or_else(PoisonError::into_inner).get(&address).cloned()
    }

    /// Takes an allocation out of all tables.
    pub(crate) fn forget(&self, relay: &Arc<Relay>) {
        let mut relays = self.relays.write().unwrap_or_else(PoisonError::into_inner);
        // Another one may have the address by now.
        if relays.get(&relay.address).is_some_and(|known| Arc::ptr_eq(known, relay)) {
            relays.remove(&relay.address);
        }
        drop(relays);
        if let Path::Datagrams(listener, client, local) = &relay.path {
            listener.forget(*client, *local, relay);
        }
    }

    pub(crate) fn closing(&self) -> watch::Receiver<bool> {
        self.closing.subscribe()
    }
}

/// Ends when the server closes.
pub(crate) async fn closes(closing: &mut watch::Receiver<bool>) {
    // An error is a server that is gone.
    let _ = closing.wait_for(|closing| *closing).await;
}

/// A running server. Dropped, it ends.
pub(crate) struct Turn {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
}

impl Turn {
    /// Starts a server in tasks of the runtime that is entered.
    pub(crate) fn start(
        options: &TurnOptions,
        secret: Secret,
        certificate: Option<&Arc<Certificate>>,
    ) -> io::Result<Self> {
        let ports = options.relay_ports.clone();
        if ports.is_empty() || *ports.start() == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the relay's ports are a range such as 49152-65535",
            ));
        }
        let tls = certificate.map(|certificate| certificate.acceptor(&[])).transpose()?;
        let (tcp, udp) = listen(options.host.as_deref(), options.port)?;
        let mut relays = Vec::new();
        relays.extend(options.address);
        let policy = RwLock::new(Policy { allow: options.allow.clone(), relays, ports });
        let (nonces, bandwidth, max_lifetime) = (Nonces::new()?, options.bandwidth, options.max_lifetime);
        let shared = Arc::new(Shared {
            rules: Rules { secret, nonces, policy, max_lifetime, bandwidth },
            counters: Counters::default(),
            connections: Counts::new(options.max_connections, options.max_ip_allocations),
            tls,
            draining: AtomicBool::new(false),
            users: Counts::new(options.max_allocations, options.max_user_allocations),
            ips: Counts::new(usize::MAX, options.max_ip_allocations),
            throttle: Mutex::new(Throttle::new(Instant::now())),
            relays: RwLock::default(),
            closing: watch::Sender::new(false),
            options: options.clone(),
        });
        let mut addresses = Vec::new();
        let mut listeners = Vec::new();
        for (tcp, udp) in tcp.into_iter().zip(udp) {
            addresses.push(tcp.local_addr()?);
            listeners.push((tokio::net::TcpListener::from_std(tcp)?, udp::Listener::new(udp)?));
        }
        for (tcp, udp) in listeners {
            tokio::spawn(stream::accept(tcp, shared.clone()));
            tokio::spawn(udp::serve(Arc::new(udp), shared.clone()));
        }
        tracing::info!(?addresses, tls = shared.tls.is_some(), "STUN and TURN listen");
        Ok(Self { shared, addresses })
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub(crate) fn has_tls(&self) -> bool {
        self.shared.tls.is_some()
    }

    pub(crate) fn stats(&self) -> TurnStats {
        let counters = &self.shared.counters;
        TurnStats {
            allocations: self.shared.users.in_all(),
            allocated: counters.allocated.get(),
            refused: counters.refused.get(),
            unauthorized: counters.unauthorized.get(),
            bytes_up: counters.up.get(),
            bytes_down: counters.down.get(),
            dropped: counters.dropped.get(),
        }
    }

    /// Takes no more allocations.
    pub(crate) fn drain(&self) {
        self.shared.draining.store(true, Ordering::Relaxed);
    }

    /// Ends every allocation.
    pub(crate) fn stop(&self) {
        self.shared.closing.send_replace(true);
    }

    /// Waits until they are gone.
    pub(crate) async fn stopped(&self) {
        self.shared.closing.closed().await;
    }
}

impl std::fmt::Debug for Turn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turn").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.stop();
    }
}

type Listeners = (Vec<std::net::TcpListener>, Vec<std::net::UdpSocket>);

/// Binds TCP and UDP to one port of each address.
fn listen(host: Option<&str>, port: u16) -> io::Result<Listeners> {
    // Of IPv4 and IPv6 each has its own sockets.
    let host = host.filter(|host| *host != "::");
    let mut attempt = 1;
    loop {
        let tcp = listen::listen(host, port)?;
        let bind = |tcp: &std::net::TcpListener| udp::bind(tcp.local_addr()?);
        match tcp.iter().map(bind).collect::<io::Result<Vec<_>>>() {
            Ok(udp) => return Ok((tcp, udp)),
            Err(error) if port == 0 && attempt < ATTEMPTS && error.kind() == io::ErrorKind::AddrInUse => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}
