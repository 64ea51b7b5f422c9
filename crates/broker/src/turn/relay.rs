//! One allocation with its socket: carries datagrams between a client and its peers until it ends.
//!
//! Nothing here waits for a receiver: what a socket or a stream does not take at once is lost, as on any network.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, watch};

use super::allocation::{Allocation, HEADROOM, Outgoing, TAILROOM};
use super::policy::Target;
use super::quota::Lease;
use super::server::{Shared, closes};
use super::stream::Outbox;
use super::udp::Listener;

/// Datagrams of one allocation before the others have their turn.
const TURN: usize = 32;

/// Ports that are tried before there is none.
const PORTS: u16 = 256;

const MAX_DATAGRAM: usize = 65_535;

thread_local! {
    /// Where datagrams of peers are wrapped: one a thread, rather than one an allocation.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; HEADROOM + MAX_DATAGRAM + TAILROOM]);
}

/// The way to a client.
#[derive(Clone)]
pub(crate) enum Path {
    /// The listening socket, the client, and the address of ours that it knows.
    Datagrams(Arc<Listener>, SocketAddr, IpAddr),
    Stream(Arc<Outbox>),
}

impl Path {
    /// Whether it was taken.
    pub(crate) fn send(&self, packet: &[u8]) -> bool {
        match self {
            Self::Datagrams(listener, client, local) => listener.send(packet, *client, *local),
            Self::Stream(outbox) => outbox.push(packet),
        }
    }
}

/// An allocation and all that belongs to it.
pub(crate) struct Relay {
    allocation: Mutex<Allocation>,
    socket: UdpSocket,
    /// As peers see it.
    pub(crate) address: SocketAddr,
    pub(crate) path: Path,
    ended: Notify,
    _leases: (Lease<Box<str>>, Lease<IpAddr>),
}

impl Relay {
    pub(crate) fn new(
        allocation: Allocation,
        socket: UdpSocket,
        path: Path,
        leases: (Lease<Box<str>>, Lease<IpAddr>),
    ) -> Self {
        let address = allocation.relayed;
        Self { allocation: Mutex::new(allocation), socket, address, path, ended: Notify::new(), _leases: leases }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Allocation> {
        self.allocation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its time is over, although its task may not have noticed.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().expires <= Instant::now()
    }

    /// Ends it, soon.
    pub(crate) fn end(&self) {
        self.ended.notify_one();
    }

    /// Sends a client's data to its peer: by the network, or to another allocation of this server.
    pub(crate) fn forward(&self, outgoing: &Outgoing<'_>, shared: &Shared) {
        let Outgoing { peer, target, data } = *outgoing;
        shared.counters.up.add(data.len());
        if matches!(target, Target::Relayed | Target::Either) {
            if let Some(other) = shared.relay_at(peer) {
                return BUFFER.with_borrow_mut(|buffer| {
                    buffer[HEADROOM..HEADROOM + data.len()].copy_from_slice(data);
                    other.deliver(self.address, buffer, data.len(), shared);
                });
            }
            if target == Target::Relayed {
                return shared.counters.dropped.add(1);
            }
        }
        if self.socket.try_send_to(data, peer).is_err() {
            shared.counters.dropped.add(1);
        }
    }

    /// Hands the client what a peer has sent, which lies in the buffer behind [`HEADROOM`] bytes.
    fn deliver(&self, peer: SocketAddr, buffer: &mut [u8], length: usize, shared: &Shared) {
        let sent = match self.lock().wrap(peer, buffer, length, Instant::now()) {
            Ok(packet) => self.path.send(packet),
            Err(_) => false,
        };
        if sent { shared.counters.down.add(length) } else { shared.counters.dropped.add(1) }
    }

    /// Carries what peers send until the allocation expires or is ended.
    pub(crate) async fn run(self: Arc<Self>, shared: Arc<Shared>, mut closing: watch::Receiver<bool>) {
        let expires = self.lock().expires;
        let mut timer = pin!(tokio::time::sleep_until(expires.into()));
        loop {
            tokio::select! {
                readable = self.socket.readable() => match readable {
                    Ok(()) => self.receive(&shared),
                    Err(_) => break,
                },
                () = timer.as_mut() => {
                    let expires = self.lock().expires;
                    if expires <= Instant::now() {
                        break;
                    }
                    timer.as_mut().reset(expires.into());
                }
                () = self.ended.notified() => break,
                () = closes(&mut closing) => break,
            }
        }
        shared.forget(&self);
    }

    fn receive(&self, shared: &Shared) {
        BUFFER.with_borrow_mut(|buffer| {
            for _ in 0..TURN {
                match self.socket.try_recv_from(&mut buffer[HEADROOM..HEADROOM + MAX_DATAGRAM]) {
                    // Without the scope and the flow of IPv6, which addresses in messages lack.
                    Ok((length, peer)) => {
                        self.deliver(SocketAddr::new(peer.ip(), peer.port()), buffer, length, shared);
                    }
                    Err(_) => break,
                }
            }
        });
    }
}

/// Opens a socket for an allocation, whose client has reached us at `reached`. An error is the code of the answer.
pub(crate) fn open(shared: &Shared, reached: IpAddr, v6: bool, even: bool) -> Result<(UdpSocket, SocketAddr), u16> {
    let ip = local_ip(reached, v6).ok_or(440_u16)?;
    let public = shared.options.address.filter(|address| address.is_ipv6() == v6).unwrap_or(ip);
    let (first, last) = (*shared.options.relay_ports.start(), *shared.options.relay_ports.end());
    let count = u32::from(last.saturating_sub(first)) + 1;
    let random = super::credentials::random::<4>().map_err(|_| 508_u16)?;
    let start = u32::from_be_bytes(random) % count;
    for step in 0..u32::from(PORTS).min(count) {
        let Ok(offset) = u16::try_from((start + step) % count) else { break };
        let port = first.saturating_add(offset);
        if even && !port.is_multiple_of(2) {
            continue;
        }
        match bind(SocketAddr::new(ip, port)) {
            Ok(socket) => return Ok((socket, SocketAddr::new(public, port))),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            Err(error) => {
                tracing::warn!(%error, %ip, "cannot open a relay socket");
                break;
            }
        }
    }
    Err(508)
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // Or `::ffff:` addresses would be a way into IPv4.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// The address to relay on: the one that the client has reached, or, for the other family, the one with which this
/// machine would go out.
fn local_ip(reached: IpAddr, v6: bool) -> Option<IpAddr> {
    if reached.is_ipv6() == v6 {
        return Some(reached);
    }
    if reached.is_loopback() {
        return Some(if v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() });
    }
    // Addresses of documents, to which nothing is sent: only the routing table is asked.
    let anywhere: IpAddr =
        if v6 { Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into() } else { Ipv4Addr::new(192, 0, 2, 1).into() };
    source_to(anywhere).filter(|ip| !ip.is_loopback())
}

/// Whether an address is one of this machine: then datagrams to it would come from it.
pub(crate) fn is_own(ip: IpAddr) -> bool {
    source_to(ip) == Some(ip)
}

fn source_to(ip: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect((ip, 9)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}
