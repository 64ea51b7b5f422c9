//! A stream to a TURN server, over TCP or TLS, that carries packets (RFC 8656, section 3.1): for networks that let no UDP
//! through. The relayed address is UDP all the same.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;

use super::gather::Late;

const CONNECT: Duration = Duration::from_secs(5);

/// Packets that wait for the stream. When they are more, the newest are lost, as they would be in a router: SCTP slows
/// down then.
const MAX_WAITING: usize = 512;

/// What one read takes at most.
const READ: usize = 16 * 1024;

/// See the module. Dropping it closes the stream.
pub(super) struct Stream {
    local: SocketAddr,
    remote: SocketAddr,
    packets: mpsc::Sender<BytesMut>,
}

impl Stream {
    /// Its own address and the server's.
    pub(super) fn route(&self) -> (SocketAddr, SocketAddr) {
        (self.local, self.remote)
    }

    pub(super) fn send(&self, packet: BytesMut) {
        let _ = self.packets.try_send(packet);
    }
}

/// Opens a stream; with a name over TLS, to a server that proves to have that name. What comes goes to `late`.
///
/// # Errors
/// Those of TCP and TLS, and the time is limited.
pub(super) async fn open(remote: SocketAddr, tls: Option<String>, late: mpsc::Sender<Late>) -> io::Result<Stream> {
    let opened = async {
        let stream = TcpStream::connect(remote).await?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        let (packets, waiting) = mpsc::channel(MAX_WAITING);
        match tls {
            None => start(stream, (local, remote), waiting, late),
            Some(host) => {
                let name = ServerName::try_from(host).map_err(io::Error::other)?;
                let stream =
                    TlsConnector::from(tokio::task::spawn_blocking(tls_config).await??).connect(name, stream).await?;
                start(stream, (local, remote), waiting, late);
            }
        }
        Ok(Stream { local, remote, packets })
    };
    tokio::time::timeout(CONNECT, opened).await?
}

/// The machine's certificates, as for `wss:`. Reads files.
fn tls_config() -> io::Result<Arc<rustls::ClientConfig>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn start(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    route: (SocketAddr, SocketAddr),
    mut waiting: mpsc::Receiver<BytesMut>,
    late: mpsc::Sender<Late>,
) {
    let (mut reading, mut writing) = tokio::io::split(stream);
    let reader = tokio::spawn(async move {
        let (local, remote) = route;
        let mut buffer = BytesMut::with_capacity(READ);
        while reading.read_buf(&mut buffer).await.is_ok_and(|length| length > 0) {
            while let Some(bytes) = cut(&mut buffer) {
                if late.send(Late::Packet { local, remote, bytes }).await.is_err() {
                    return;
                }
            }
            buffer.reserve(READ);
        }
    });
    tokio::spawn(async move {
        while let Some(packet) = waiting.recv().await {
            if writing.write_all(&packet).await.is_err() {
                break;
            }
        }
        // Nobody sends any more: nobody listens, either.
        let _ = writing.shutdown().await;
        reader.abort();
    });
}

/// The first packet in `buffer`, where it is whole: a message of STUN, or ChannelData with its padding (RFC 8656,
/// section 12.5).
fn cut(buffer: &mut BytesMut) -> Option<BytesMut> {
    let head = buffer.get(..4)?;
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let (whole, padding) = if head[0] < 4 { (20 + length, 0) } else { (4 + length, length.wrapping_neg() % 4) };
    if buffer.len() < whole + padding {
        return None;
    }
    let packet = buffer.split_to(whole);
    buffer.advance(padding);
    Some(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_the_stream_into_packets() {
        let mut stun = vec![1, 1, 0, 8];
        stun.extend([7; 24]);
        let channel = [0x40, 0, 0, 5, 1, 2, 3, 4, 5];
        let mut sent = stun.clone();
        sent.extend(channel);
        sent.extend([0; 3]);
        sent.extend([0x40, 1, 0, 0]);
        for piece in 1..sent.len() {
            let mut buffer = BytesMut::new();
            let mut packets = Vec::new();
            for bytes in sent.chunks(piece) {
                buffer.extend_from_slice(bytes);
                packets.extend(std::iter::from_fn(|| cut(&mut buffer)).map(|packet| packet.to_vec()));
            }
            assert_eq!(packets, [stun.clone(), channel.to_vec(), vec![0x40, 1, 0, 0]]);
            assert!(buffer.is_empty());
        }
    }
}
