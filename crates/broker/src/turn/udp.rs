//! Clients over UDP: one socket for all of them, and a table of those that have an allocation.

use std::collections::HashMap;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;

use super::relay::{Path, Relay};
use super::server::{Change, Origin, Shared, closes};

/// Buffers that are filled by one system call. Of each only what was needed is memory.
const BATCH: usize = 8;

/// Bytes of a buffer: what the kernel puts together of one client's datagrams fits (UDP_GRO).
const BUFFER: usize = 64 * 1024;

/// Bytes that wait in the kernel, where it allows that many: a burst of a few hundred clients.
const KERNEL_BUFFER: usize = 1024 * 1024;

/// The pause after an error of the socket that is not one datagram's.
const PAUSE: Duration = Duration::from_millis(10);

/// A client and the address of ours that it talks to: with the socket, its 5-tuple.
type Key = (SocketAddr, IpAddr);

/// A listening UDP socket.
pub(crate) struct Listener {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    relays: Mutex<HashMap<Key, Arc<Relay>>>,
}

pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

impl Listener {
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // Less is slower, and no error.
        let _ = SockRef::from(&socket).set_recv_buffer_size(KERNEL_BUFFER);
        let _ = SockRef::from(&socket).set_send_buffer_size(KERNEL_BUFFER);
        let local = socket.local_addr()?;
        Ok(Self { io: tokio::net::UdpSocket::from_std(socket)?, state, local, relays: Mutex::default() })
    }

    /// Sends a datagram to a client, from the address that it knows. Whether it was taken.
    pub(crate) fn send(&self, packet: &[u8], client: SocketAddr, local: IpAddr) -> bool {
        let src_ip = self.local.ip().is_unspecified().then_some(local);
        let transmit = Transmit { destination: client, ecn: None, contents: packet, segment_size: None, src_ip };
        let send = || self.state.try_send(UdpSockRef::from(&self.io), &transmit);
        self.io.try_io(Interest::WRITABLE, send).is_ok()
    }

    fn relays(&self) -> MutexGuard<'_, HashMap<Key, Arc<Relay>>> {
        self.relays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an allocation out of the table.
    pub(crate) fn forget(&self, client: SocketAddr, local: IpAddr, relay: &Arc<Relay>) {
        let mut relays = self.relays();
        if relays.get(&(client, local)).is_some_and(|known| Arc::ptr_eq(known, relay)) {
            relays.remove(&(client, local));
        }
    }

    fn receive(self: &Arc<Self>, packet: &[u8], client: SocketAddr, local: IpAddr, shared: &Arc<Shared>) {
        let relay = self.relays().get(&(client, local)).filter(|relay| !relay.has_ended()).cloned();
        let origin = Origin { client, local, path: Path::Datagrams(self.clone(), client, local) };
        if let Change::New(relay) = shared.receive(packet, relay.as_ref(), &origin) {
            self.relays().insert((client, local), relay);
        }
    }
}

/// Serves the clients of a socket until the server closes.
pub(crate) async fn serve(listener: Arc<Listener>, shared: Arc<Shared>) {
    let mut memory = vec![0; BATCH * BUFFER];
    let mut metas = [RecvMeta::default(); BATCH];
    let mut closing = shared.closing();
    loop {
        tokio::select! {
            _ = listener.io.readable() => {}
            () = closes(&mut closing) => return,
        }
        let received = {
            let mut buffers = memory.chunks_exact_mut(BUFFER).map(IoSliceMut::new);
            let mut buffers: [_; BATCH] =
                std::array::from_fn(|_| buffers.next().unwrap_or_else(|| IoSliceMut::new(&mut [])));
            let receive = || listener.state.recv(UdpSockRef::from(&listener.io), &mut buffers, &mut metas);
            listener.io.try_io(Interest::READABLE, receive)
        };
        match received {
            Ok(count) => {
                for (meta, buffer) in metas.iter().zip(memory.chunks_exact(BUFFER)).take(count) {
                    let client = SocketAddr::new(meta.addr.ip(), meta.addr.port());
                    let local = meta.dst_ip.filter(|_| listener.local.ip().is_unspecified());
                    let local = local.unwrap_or(listener.local.ip()).to_canonical();
                    let whole = buffer.get(..meta.len).unwrap_or_default();
                    for packet in whole.chunks(meta.stride.max(1)) {
                        listener.receive(packet, client, local, &shared);
                    }
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                tracing::debug!(%error, "cannot receive datagrams");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
