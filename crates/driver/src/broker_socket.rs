//! The WebSocket to a broker: text frames out and in. Knows nothing of what they mean, and never tries again.

use std::sync::{Arc, Once};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use linkup_core::BrokerInput;
use linkup_proto::limits::MAX_BROKER_FRAME_BYTES;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_with_config};

use crate::options::Keeper;

/// Frames on their way to the machine. A broker that is faster than it waits in TCP.
const INCOMING: usize = 64;

/// Frames on their way to the broker. One that takes no more than this is as good as dead.
const OUTGOING: usize = 1024;

/// The keeper's time: it only asks and listens on this machine.
const KEEPER: Duration = Duration::from_secs(1);

/// How long the end of a socket may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// The default of tungstenite allocates 128 KiB for each direction of each socket.
const READ_BUFFER: usize = 4096;

type Stream = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// A socket that is being opened or is open. Dropping it cuts it.
pub(crate) struct BrokerSocket {
    outgoing: Option<mpsc::Sender<String>>,
    incoming: mpsc::Receiver<BrokerInput>,
    task: Option<JoinHandle<()>>,
}

impl BrokerSocket {
    /// Opens a socket to `url`.
    pub(crate) fn open(
        runtime: &tokio::runtime::Handle,
        url: String,
        keeper: Option<Arc<dyn Keeper>>,
        limit: Duration,
    ) -> Self {
        let (outgoing, to_send) = mpsc::channel(OUTGOING);
        let (received, incoming) = mpsc::channel(INCOMING);
        let task = runtime.spawn(async move {
            if let Some(keeper) = keeper {
                let _ = timeout(KEEPER, keeper.ensure()).await;
            }
            match connect(&url, limit).await {
                Ok(stream) => {
                    if received.send(BrokerInput::Connected).await.is_ok() {
                        let reason = run(stream, to_send, &received).await;
                        let _ = received.send(BrokerInput::Closed { reason }).await;
                    }
                }
                Err(reason) => {
                    let _ = received.send(BrokerInput::Failed { reason }).await;
                }
            }
        });
        Self { outgoing: Some(outgoing), incoming, task: Some(task) }
    }

    /// What the socket says next; `None` after its end.
    pub(crate) async fn recv(&mut self) -> Option<BrokerInput> {
        self.incoming.recv().await
    }

    /// Sends a frame. False: the broker has stopped reading.
    pub(crate) fn send(&self, text: String) -> bool {
        self.outgoing
            .as_ref()
            .is_some_and(|outgoing| !matches!(outgoing.try_send(text), Err(mpsc::error::TrySendError::Full(_))))
    }

    /// Sends what is queued, then closes. The future is done when the broker has answered, or has taken too long.
    pub(crate) fn close(mut self) -> impl Future<Output = ()> + Send + use<> {
        self.outgoing = None;
        // It ends by itself, in bounded time.
        let task = self.task.take();
        async move {
            if let Some(task) = task {
                let _ = timeout(GOODBYE, task).await;
            }
        }
    }
}

impl Drop for BrokerSocket {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn connect(url: &str, limit: Duration) -> Result<Stream, String> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // The program may have chosen one already: then that one is used.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * MAX_BROKER_FRAME_BYTES)
        .max_frame_size(Some(2 * MAX_BROKER_FRAME_BYTES))
        .max_message_size(Some(2 * MAX_BROKER_FRAME_BYTES));
    match timeout(limit, connect_async_with_config(url, Some(config), true)).await {
        Ok(Ok((stream, _))) => Ok(stream),
        Ok(Err(error)) => Err(format!("{url}: {error}")),
        Err(_) => Err(format!("{url}: no answer within {limit:?}")),
    }
}

/// Runs an open socket until its end, and says why it ended.
async fn run(stream: Stream, mut to_send: mpsc::Receiver<String>, received: &mpsc::Sender<BrokerInput>) -> String {
    let (mut writer, mut reader) = stream.split();
    let write = async {
        while let Some(text) = to_send.recv().await {
            writer.feed(Message::text(text)).await?;
            if to_send.is_empty() {
                writer.flush().await?;
            }
        }
        let _ = timeout(GOODBYE, writer.close()).await;
        Ok::<_, Error>(())
    };
    let read = async {
        while let Some(frame) = reader.next().await {
            match frame? {
                Message::Text(text) => {
                    // Where nobody listens any more, the last frames may still be going out.
                    let _ = received.send(BrokerInput::Text(text.as_str().to_owned())).await;
                }
                Message::Close(Some(close)) => {
                    return Ok(format!("closed by the broker: {} {}", close.code, close.reason));
                }
                // Pings are answered below us; binary frames mean nothing here.
                _ => {}
            }
        }
        Ok::<_, Error>("closed by the broker".to_owned())
    };
    tokio::pin!(read);
    tokio::select! {
        result = write => match result {
            Ok(()) => {
                // Our close frame is out: the broker's answer ends it.
                let _ = timeout(GOODBYE, read).await;
                "closed".to_owned()
            }
            Err(error) => error.to_string(),
        },
        result = &mut read => result.unwrap_or_else(|error| error.to_string()),
    }
}
