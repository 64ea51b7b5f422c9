//! The UDP sockets of a connection: large kernel buffers, and as many datagrams in one system call as the kernel takes
//! (UDP_SEGMENT and UDP_GRO, by `quinn-udp`).

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use socket2::SockRef;
use tokio::io::Interest;

/// What we ask of the kernel for each direction of a socket. The default of Linux, 208 KiB, is a fifth of what SCTP
/// has under way; each datagram that the kernel drops then costs a retransmission time-out.
const BUFFER: usize = 4 << 20;

/// Kernel memory of one datagram of [`DATAGRAM`] bytes of payload, as Linux accounts it.
const TRUESIZE: usize = 2304;
const DATAGRAM: usize = 1200;

/// Bounds of SCTP's receive window. The upper one is what the kernel's buffer of [`BUFFER`] holds; the lower one is
/// one message: a smaller window could never take it.
const WINDOW: std::ops::RangeInclusive<usize> = 256 * 1024..=4 << 20;

/// What the kernel puts together is at most so long.
const SCRATCH: usize = 64 * 1500;

/// Reads of one socket in one go: the others, and what is to be sent, have their turn then.
const BURST: usize = 4;

/// Datagrams that go to the kernel together: at most so many, and so many bytes.
const SEGMENTS: usize = 64;
const SEGMENT_BYTES: usize = 60_000;

thread_local! {
    /// Where the kernel writes, and from where it reads; one for each thread instead of one for each socket.
    static SCRATCHES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static RUNS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Asks the kernel for room. What it does not grant, it does not grant.
fn enlarge(socket: &UdpSocket) {
    let socket = SockRef::from(socket);
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
}

/// How many bytes SCTP may let the remote have under way, so that the kernel's buffer holds them.
pub(crate) fn receive_window() -> u32 {
    static WINDOW_GRANTED: OnceLock<u32> = OnceLock::new();
    *WINDOW_GRANTED.get_or_init(|| {
        let granted = granted_buffer().unwrap_or(0);
        let holds = granted / TRUESIZE * DATAGRAM;
        u32::try_from(holds.clamp(*WINDOW.start(), *WINDOW.end())).unwrap_or(u32::MAX)
    })
}

/// What the kernel really gives to a socket that asks for [`BUFFER`]. Linux reports, and accounts with, the double.
fn granted_buffer() -> io::Result<usize> {
    let any = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), SocketAddr::from((Ipv6Addr::LOCALHOST, 0))];
    let socket = UdpSocket::bind(&any[..])?;
    enlarge(&socket);
    SockRef::from(&socket).recv_buffer_size()
}

/// A datagram on its way out: from where, to whom.
pub(crate) trait Datagram {
    fn route(&self) -> (SocketAddr, SocketAddr);
    fn bytes(&self) -> &[u8];
}

struct Socket {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
    address: SocketAddr,
}

/// See the module. Must be made and used inside a runtime.
pub(crate) struct Sockets(Vec<Socket>);

impl Sockets {
    /// A socket for each address. Those that cannot be had are passed over.
    ///
    /// # Errors
    /// There is none that works.
    pub(crate) fn bind(addresses: &[IpAddr]) -> io::Result<Self> {
        let mut sockets = Vec::with_capacity(addresses.len());
        let mut last = None;
        for address in addresses {
            match Socket::bind(*address) {
                Ok(socket) => sockets.push(socket),
                Err(error) => {
                    tracing::debug!(%error, %address, "an address cannot be used");
                    last = Some(error);
                }
            }
        }
        match last {
            Some(error) if sockets.is_empty() => Err(error),
            _ => Ok(Self(sockets)),
        }
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        self.0.iter().map(|socket| socket.address)
    }

    /// Hands datagrams that have come to `take(to, from, bytes)`. Ready: there may be more.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(SocketAddr, SocketAddr, &[u8]),
    ) -> Poll<()> {
        SCRATCHES.with_borrow_mut(|scratch| {
            scratch.resize(SCRATCH, 0);
            let mut any = Poll::Pending;
            for socket in &self.0 {
                for _ in 0..BURST {
                    match socket.poll_receive(cx, scratch) {
                        Poll::Pending => break,
                        Poll::Ready(Ok(meta)) => {
                            any = Poll::Ready(());
                            for datagram in scratch[..meta.len.min(SCRATCH)].chunks(meta.stride.max(1)) {
                                take(socket.address, meta.addr, datagram);
                            }
                        }
                        // An answer of the network to what we sent (ICMP): ICE notices by itself what does not arrive.
                        Poll::Ready(Err(error)) => {
                            any = Poll::Ready(());
                            tracing::trace!(%error, "receiving");
                        }
                    }
                }
            }
            any
        })
    }

    /// Sends the first of the datagrams, and those behind it that may go in the same system call; how many they are.
    /// Pending: the kernel has no room. What cannot be sent is lost, as it may be anywhere on its way.
    pub(crate) fn poll_send<'a, D: Datagram + 'a>(
        &self,
        cx: &mut Context<'_>,
        datagrams: impl Iterator<Item = &'a D> + Clone,
    ) -> Poll<usize> {
        let Some(first) = datagrams.clone().next() else { return Poll::Ready(0) };
        let (from, to) = first.route();
        let Some(socket) = self.0.iter().find(|socket| socket.address == from) else { return Poll::Ready(1) };
        let size = first.bytes().len();
        let most = socket.state.max_gso_segments().min(SEGMENTS);
        let (mut count, mut bytes, mut short) = (0, 0, false);
        for datagram in datagrams.clone().take(most.max(1)) {
            let length = datagram.bytes().len();
            let fits = datagram.route() == (from, to) && length <= size && bytes + length <= SEGMENT_BYTES.max(size);
            if short || !fits || length == 0 && count > 0 {
                break;
            }
            // Only the last one may be shorter.
            short = length < size;
            count += 1;
            bytes += length;
        }
        if count == 1 {
            ready!(socket.poll_send(cx, to, first.bytes(), None));
            return Poll::Ready(1);
        }
        RUNS.with_borrow_mut(|run| {
            run.clear();
            datagrams.take(count).for_each(|datagram| run.extend_from_slice(datagram.bytes()));
            ready!(socket.poll_send(cx, to, run, Some(size)));
            Poll::Ready(count)
        })
    }
}

impl Socket {
    fn bind(address: IpAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind((address, 0))?;
        enlarge(&socket);
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        let address = socket.local_addr()?;
        Ok(Self { io: tokio::net::UdpSocket::from_std(socket)?, state, address })
    }

    fn poll_receive(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<RecvMeta>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let mut meta = [RecvMeta::default()];
            let read = self.io.try_io(Interest::READABLE, || {
                self.state.recv(UdpSockRef::from(&self.io), &mut [IoSliceMut::new(into)], &mut meta)
            });
            match read {
                // The runtime knows now that there is nothing.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read.map(|_| meta[0])),
            }
        }
    }

    fn poll_send(&self, cx: &mut Context<'_>, to: SocketAddr, contents: &[u8], size: Option<usize>) -> Poll<()> {
        let transmit = Transmit { destination: to, ecn: None, contents, segment_size: size, src_ip: None };
        loop {
            let sent =
                self.io.try_io(Interest::WRITABLE, || self.state.try_send(UdpSockRef::from(&self.io), &transmit));
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Registers for the time when there is room.
                    if ready!(self.io.poll_send_ready(cx)).is_err() {
                        return Poll::Ready(());
                    }
                }
                Err(error) => {
                    tracing::trace!(%error, %to, "sending");
                    return Poll::Ready(());
                }
                Ok(()) => return Poll::Ready(()),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    struct Packet(SocketAddr, SocketAddr, Vec<u8>);

    impl Datagram for Packet {
        fn route(&self) -> (SocketAddr, SocketAddr) {
            (self.0, self.1)
        }
        fn bytes(&self) -> &[u8] {
            &self.2
        }
    }

    #[test]
    fn the_window_is_within_its_bounds() {
        assert!(WINDOW.contains(&(receive_window() as usize)));
    }

    #[tokio::test]
    async fn runs_arrive_as_the_datagrams_that_they_were() {
        let localhost = IpAddr::from(Ipv4Addr::LOCALHOST);
        let (one, two) = (Sockets::bind(&[localhost]).unwrap(), Sockets::bind(&[localhost]).unwrap());
        let (from, to) = (one.addresses().next().unwrap(), two.addresses().next().unwrap());
        // Full ones, a short one that ends the first run, a longer one that begins another, an empty one, many.
        let sizes = [1200, 1200, 1200, 77, 1200, 1300, 1300, 0, 5, 5].into_iter().chain([1000; 100]);
        let sent: Vec<Vec<u8>> = sizes.enumerate().map(|(n, size)| vec![n as u8; size]).collect();
        let packets: Vec<_> = sent.iter().map(|bytes| Packet(from, to, bytes.clone())).collect();
        let mut at = 0;
        let mut calls = 0;
        while at < packets.len() {
            at += poll_fn(|cx| one.poll_send(cx, packets[at..].iter())).await;
            calls += 1;
        }
        assert!(calls < sent.len() / 2, "{calls} system calls");
        let mut came = Vec::new();
        // The kernel says nothing of an empty one.
        while came.len() < sent.len() - 1 {
            poll_fn(|cx| {
                two.poll_receive(cx, |local, remote, bytes| {
                    assert_eq!((local, remote), (to, from));
                    came.push(bytes.to_vec());
                })
            })
            .await;
        }
        let expected: Vec<_> = sent.into_iter().filter(|bytes| !bytes.is_empty()).collect();
        assert_eq!(came, expected);
    }

    #[tokio::test]
    async fn an_address_that_is_not_ours_is_passed_over() {
        let (ours, other) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from([192, 0, 2, 250]));
        assert_eq!(Sockets::bind(&[other, ours]).unwrap().addresses().count(), 1);
        assert!(Sockets::bind(&[other]).is_err());
    }
}
