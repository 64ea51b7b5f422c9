//! Clients over TCP and TLS: one connection each, with one allocation at most. Both on one port: the first byte tells.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::framing::{Frame, MAX_FRAME, TLS, frame};
use super::quota::Lease;
use super::relay::{Path, Relay};
use super::server::{Change, Origin, Shared, closes};
use crate::limits::network;

/// Bytes that wait for a client that does not read. What does not fit is lost: the relay carries datagrams, and
/// their senders know how to slow down.
const MAX_PENDING: usize = 256 * 1024;

/// Bytes that are read at once.
const READ: usize = 4096;

/// How long a connection may be silent that has no allocation.
const IDLE: Duration = Duration::from_secs(30);

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The pause after a failed `accept`, as where there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What waits to be written to one client.
#[derive(Default)]
pub(crate) struct Outbox {
    pending: Mutex<Vec<u8>>,
    wake: Notify,
}

impl Outbox {
    /// Whether there was room.
    pub(crate) fn push(&self, packet: &[u8]) -> bool {
        let mut pending = self.lock();
        if pending.len() + packet.len() > MAX_PENDING {
            return false;
        }
        pending.extend_from_slice(packet);
        drop(pending);
        self.wake.notify_one();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what is pushed. With `records`, each frame by itself: of a TLS record some clients, coturn's among them,
    /// read only the first.
    async fn write_to(&self, mut writer: impl AsyncWrite + Unpin, records: bool) -> io::Result<()> {
        loop {
            let pending = std::mem::take(&mut *self.lock());
            if pending.is_empty() {
                self.wake.notified().await;
                continue;
            }
            let mut rest = &pending[..];
            while let (true, Frame::Whole(_, padded)) = (records, frame(rest)) {
                let (first, more) = rest.split_at(padded);
                writer.write_all(first).await?;
                rest = more;
            }
            writer.write_all(rest).await?;
            writer.flush().await?;
        }
    }
}

/// Accepts connections until the server closes.
pub(crate) async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut closing = shared.closing();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closes(&mut closing) => return,
        };
        match accepted {
            Ok((tcp, client)) => match shared.connections.take(network(client.ip())) {
                Ok(lease) => drop(tokio::spawn(connection(tcp, client, shared.clone(), lease))),
                Err(full) => tracing::debug!(?full, "refused a TURN connection"),
            },
            Err(error) => {
                tracing::warn!(%error, "cannot accept TURN connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(tcp: TcpStream, client: SocketAddr, shared: Arc<Shared>, _lease: Lease<IpAddr>) {
    let mut closing = shared.closing();
    let served = async {
        tcp.set_nodelay(true)?;
        let client = SocketAddr::new(client.ip().to_canonical(), client.port());
        let local = tcp.local_addr()?.ip().to_canonical();
        let mut first = [0];
        if timeout(IDLE, tcp.peek(&mut first)).await?? == 0 {
            return Ok(());
        }
        match &shared.tls {
            Some(acceptor) if first == [TLS] => {
                // Boxed: a session of TLS has kilobytes, which those without should not hold.
                let tls = timeout(HANDSHAKE, Box::pin(acceptor.accept(tcp))).await??;
                Box::pin(serve(tls, true, client, local, &shared)).await
            }
            _ => serve(tcp, false, client, local, &shared).await,
        }
    };
    let result: io::Result<()> = tokio::select! {
        result = served => result,
        () = closes(&mut closing) => Ok(()),
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a TURN connection ended");
    }
}

/// The allocation of a connection. Dropped with it, also where the server closes, it ends.
struct Owned<'a> {
    relay: Option<Arc<Relay>>,
    shared: &'a Arc<Shared>,
}

impl Owned<'_> {
    fn live(&self) -> Option<&Arc<Relay>> {
        self.relay.as_ref().filter(|relay| !relay.has_ended())
    }
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        if let Some(relay) = &self.relay {
            self.shared.forget(relay);
            relay.end();
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    is_tls: bool,
    client: SocketAddr,
    local: IpAddr,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let (reader, writer) = tokio::io::split(stream);
    let outbox = Arc::new(Outbox::default());
    let origin = Origin { client, local, path: Path::Stream(outbox.clone()) };
    let mut owned = Owned { relay: None, shared };
    tokio::select! {
        result = read(reader, &origin, &mut owned) => result,
        result = outbox.write_to(writer, is_tls) => result,
    }
}

async fn read(mut reader: impl AsyncRead + Unpin, origin: &Origin, owned: &mut Owned<'_>) -> io::Result<()> {
    let mut bytes = BytesMut::new();
    loop {
        // A large frame has made it grow: idle connections must not keep that.
        if bytes.is_empty() && bytes.capacity() > 4 * READ {
            bytes = BytesMut::new();
        }
        bytes.reserve(READ);
        match timeout(IDLE, reader.read_buf(&mut bytes)).await {
            Ok(read) => {
                if read? == 0 {
                    return Ok(());
                }
            }
            Err(elapsed) if owned.live().is_none() => return Err(elapsed.into()),
            Err(_) => {}
        }
        loop {
            match frame(&bytes) {
                Frame::More => break,
                Frame::Wrong => return Err(io::Error::new(io::ErrorKind::InvalidData, "neither STUN nor ChannelData")),
                Frame::Whole(whole, padded) => {
                    match owned.shared.receive(&bytes[..whole], owned.live(), origin) {
                        Change::None => {}
                        Change::New(relay) => owned.relay = Some(relay),
                        Change::Deleted => owned.relay = None,
                    }
                    bytes.advance(padded);
                }
            }
        }
        debug_assert!(bytes.len() < MAX_FRAME);
    }
}
