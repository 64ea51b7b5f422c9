//! The UDP sockets below the facade: large kernel buffers, small ones of our own, and a way to wake their reader.

use std::cell::RefCell;
use std::io::{self, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

use futures_util::task::AtomicWaker;
use socket2::SockRef;
use webrtc::runtime::{AsyncUdpSocket, RecvMeta, Transmit};

/// What we ask of the kernel for each direction of a socket. The default of Linux, 208 KiB, is a fifth of what SCTP
/// has under way; each datagram that the kernel drops then costs a retransmission time-out.
const BUFFER: usize = 4 << 20;

/// Kernel memory of one datagram of [`DATAGRAM`] bytes of payload, as Linux accounts it.
const TRUESIZE: usize = 2304;
const DATAGRAM: usize = 1200;

/// Bounds of SCTP's receive window. The upper one is what the kernel's buffer of [`BUFFER`] holds; the lower one is
/// one message: a smaller window could never take it.
const WINDOW: std::ops::RangeInclusive<usize> = 256 * 1024..=4 << 20;

/// Datagrams that the driver takes at once. It allocates 1,500 bytes for each, twice per socket and for good, while
/// the kernel hands over up to 64: see [`Socket::poll_recv`].
const SEGMENTS: usize = 8;
const SCRATCH: usize = 64 * 1500;

thread_local! {
    /// Where the kernel writes; one for each thread instead of one for each socket.
    static BUFFERS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Asks the kernel for room. What it does not grant, it does not grant.
pub(crate) fn enlarge(socket: &UdpSocket) {
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

/// Wakes a reader of a connection's sockets without a packet.
#[derive(Debug, Default)]
pub(crate) struct Poke {
    poked: Arc<AtomicBool>,
    ears: Mutex<Vec<Weak<AtomicWaker>>>,
}

/// One socket's end of a [`Poke`].
#[derive(Debug)]
pub(crate) struct Ear {
    poked: Arc<AtomicBool>,
    waker: Arc<AtomicWaker>,
}

impl Poke {
    /// The next reader that looks gets one datagram that is nothing.
    pub(crate) fn poke(&self) {
        self.poked.store(true, Ordering::Release);
        let mut ears = self.ears.lock().unwrap_or_else(PoisonError::into_inner);
        ears.retain(|ear| ear.upgrade().inspect(|waker| waker.wake()).is_some());
    }

    pub(crate) fn ear(&self) -> Ear {
        let waker = Arc::new(AtomicWaker::new());
        self.ears.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&waker));
        Ear { poked: Arc::clone(&self.poked), waker }
    }
}

/// Datagrams of one read that did not fit into what the driver offered.
#[derive(Debug)]
struct Rest {
    bytes: Vec<u8>,
    start: usize,
    meta: RecvMeta,
}

/// See the module.
pub(crate) struct Socket {
    inner: Arc<dyn AsyncUdpSocket>,
    ear: Ear,
    on_packet: Box<dyn Fn() + Send + Sync>,
    rest: Mutex<Option<Rest>>,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Socket {
    pub(crate) fn new(inner: Arc<dyn AsyncUdpSocket>, ear: Ear, on_packet: Box<dyn Fn() + Send + Sync>) -> Self {
        Self { inner, ear, on_packet, rest: Mutex::new(None) }
    }

    /// Copies as many whole datagrams as fit, and keeps the others.
    fn hand_out(&self, mut rest: Rest, buffer: &mut [u8], meta: &mut RecvMeta) {
        let left = rest.bytes.len() - rest.start;
        let whole = (buffer.len() / rest.meta.stride).max(1) * rest.meta.stride;
        let taken = left.min(whole);
        let copied = taken.min(buffer.len());
        buffer[..copied].copy_from_slice(&rest.bytes[rest.start..rest.start + copied]);
        *meta = rest.meta;
        meta.len = copied;
        rest.start += taken;
        if rest.start < rest.bytes.len() {
            *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(rest);
        }
    }

    /// Reads into the thread's buffer, which holds whatever the kernel has put together.
    fn read(&self, cx: &mut Context<'_>, buffer: &mut [u8], meta: &mut RecvMeta) -> Poll<io::Result<usize>> {
        BUFFERS.with_borrow_mut(|scratch| {
            scratch.resize(SCRATCH, 0);
            let read = {
                let mut slices = [IoSliceMut::new(scratch)];
                std::task::ready!(self.inner.poll_recv(cx, &mut slices, std::slice::from_mut(meta)))
            };
            read?;
            let (length, stride) = (meta.len.min(SCRATCH), meta.stride.max(1));
            meta.stride = stride;
            if length <= buffer.len() {
                buffer[..length].copy_from_slice(&scratch[..length]);
                meta.len = length;
            } else {
                let rest = Rest { bytes: scratch[..length].to_vec(), start: 0, meta: *meta };
                self.hand_out(rest, buffer, meta);
            }
            Poll::Ready(Ok(1))
        })
    }
}

impl AsyncUdpSocket for Socket {
    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    fn max_gso_segments(&self) -> usize {
        self.inner.max_gso_segments()
    }

    fn max_gro_segments(&self) -> usize {
        self.inner.max_gro_segments().min(SEGMENTS)
    }

    fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit<'_>) -> Poll<io::Result<usize>> {
        self.inner.poll_send(cx, transmit)
    }

    /// The kernel puts up to 64 datagrams together and cuts off what does not fit, so it always gets a buffer for 64,
    /// and the driver gets them in portions.
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let (Some(buffer), Some(meta)) = (bufs.first_mut(), meta.first_mut()) else { return Poll::Ready(Ok(0)) };
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(rest) = rest {
            self.hand_out(rest, buffer, meta);
            return Poll::Ready(Ok(1));
        }
        let read = self.read(cx, buffer, meta);
        if read.is_ready() {
            (self.on_packet)();
            return read;
        }
        // The driver also looks without a waker, for more of a burst. It has not emptied its queue of messages then,
        // so a poke would be spent for nothing.
        if cx.waker().will_wake(Waker::noop()) {
            return Poll::Pending;
        }
        self.ear.waker.register(cx.waker());
        if self.ear.poked.swap(false, Ordering::AcqRel) && !buffer.is_empty() {
            // A byte that begins no STUN, DTLS or RTP packet (RFC 7983).
            buffer[0] = 0xff;
            *meta = RecvMeta::default();
            (meta.len, meta.stride) = (1, 1);
            return Poll::Ready(Ok(1));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_within_its_bounds() {
        assert!(WINDOW.contains(&(receive_window() as usize)));
    }
}
