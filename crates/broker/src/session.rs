//! One WebSocket, from the upgrade to its end: frames in and out, heartbeat, and a last word to the client.
//! What the frames mean is the router's matter.
//!
//! A session is one task that never waits for its client: while the client does not read, nothing is read from
//! it either, and what the others send to it waits in its outbox, whose bound ends it.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream};
use linkup_proto::broker::Response;
use linkup_proto::{Error as LinkupError, ErrorCode, limits::MAX_BROKER_FRAME_BYTES};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::outbox::End;
use crate::router::{Answer, Router, Seat};

/// The close code for a socket whose id was taken over by another socket with the same secret: the page was
/// reloaded, or the network changed. Its client must not connect again, or the two would take turns for ever.
pub const CLOSE_TAKEN_OVER: u16 = 4001;

const CLOSE_GOING_AWAY: u16 = 1001;
const CLOSE_PROTOCOL: u16 = 1002;
const CLOSE_UNSUPPORTED: u16 = 1003;
const CLOSE_INVALID: u16 = 1007;
const CLOSE_TOO_BIG: u16 = 1009;

/// Bytes of the read buffer, allocated per socket.
const READ_BUFFER: usize = 2048;

/// Bytes that are collected before a write. More only matters under load, and each socket keeps it.
const WRITE_BUFFER: usize = 4096;

/// Bytes that tungstenite may hold for a client that does not read: two of the largest frames.
const MAX_WRITE_BUFFER: usize = 3 * MAX_BROKER_FRAME_BYTES;

/// Frames of one socket that are handled before the others have their turn, and the bytes of them.
const TURN_FRAMES: usize = 16;
const TURN_BYTES: usize = MAX_BROKER_FRAME_BYTES;

/// How long the last words may take, the client's own close included.
const FAREWELL: Duration = Duration::from_secs(1);

/// Makes a WebSocket of a TCP connection after its handshake. `read` is what came behind the handshake.
pub(crate) async fn web_socket(tcp: TcpStream, read: Bytes) -> WebSocketStream<TcpStream> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(Some(MAX_BROKER_FRAME_BYTES))
        .max_frame_size(Some(MAX_BROKER_FRAME_BYTES));
    WebSocketStream::from_partially_read(tcp, read.to_vec(), Role::Server, Some(config)).await
}

/// How a session ends.
enum Over {
    /// The connection is gone.
    Gone,
    /// The client closed it.
    Closed,
    /// Dropped without a word, which would not be heard: the reason for the log.
    Dropped(&'static str),
    /// With a close frame.
    Close(Close),
}

/// The last words to a client.
struct Close {
    code: u16,
    reason: &'static str,
    error: Option<Response>,
}

impl Over {
    fn close(code: u16, reason: &'static str) -> Self {
        Self::Close(Close { code, reason, error: None })
    }

    fn close_with_error(code: u16, reason: &'static str, message: String) -> Self {
        let error = Some(Response::error(None, LinkupError::new(ErrorCode::Protocol, message)));
        Self::Close(Close { code, reason, error })
    }
}

/// Runs a WebSocket until it is over. `ping_interval` is at least 1 ms and at most a day.
pub(crate) async fn run(web_socket: WebSocketStream<TcpStream>, router: Arc<Router>, ping_interval: Duration) {
    let Some(seat) = router.seat() else {
        let close = Close { code: CLOSE_GOING_AWAY, reason: "going away", error: None };
        return Box::pin(say_farewell(web_socket, VecDeque::new(), close)).await;
    };
    drop(router);
    let now = Instant::now();
    let next_ping = now + ping_interval;
    let mut session =
        Session { web_socket, seat, ping_interval, heard: now, next_ping, ping_due: false, blocked: false };
    let over = {
        let mut timer = pin!(sleep_until(next_ping));
        std::future::poll_fn(|cx| session.poll(cx, timer.as_mut())).await
    };
    let Session { web_socket, seat, .. } = session;
    let rest = std::iter::from_fn(|| seat.outbox().pop()).collect();
    // The id is free before the last words: they may take a second, and who hears them may register again at once.
    drop(seat);
    match over {
        Over::Gone => {}
        Over::Closed => Box::pin(answer_close(web_socket)).await,
        Over::Dropped(why) => tracing::info!("dropped a socket: {why}"),
        Over::Close(close) => Box::pin(say_farewell(web_socket, rest, close)).await,
    }
}

struct Session {
    web_socket: WebSocketStream<TcpStream>,
    seat: Seat,
    ping_interval: Duration,
    /// When the last frame of any kind came.
    heard: Instant,
    next_ping: Instant,
    ping_due: bool,
    /// The client does not take what was written: nothing is read from it until it does.
    blocked: bool,
}

impl Session {
    fn poll(&mut self, cx: &mut Context<'_>, timer: Pin<&mut Sleep>) -> Poll<Over> {
        if let Some(end) = self.seat.outbox().watch(cx) {
            return Poll::Ready(match end {
                End::TakenOver => Over::close(CLOSE_TAKEN_OVER, "taken over"),
                End::GoingAway => Over::close(CLOSE_GOING_AWAY, "going away"),
                End::TooSlow => Over::Dropped("it does not read what is sent to it"),
            });
        }
        if let Poll::Ready(over) = self.poll_traffic(cx) {
            return Poll::Ready(over);
        }
        // After the reading: a broker that slept itself must not take its clients for dead.
        if let Poll::Ready(over) = self.poll_heartbeat(cx, timer) {
            return Poll::Ready(over);
        }
        match self.poll_flush(cx) {
            Poll::Ready(Err(over)) => Poll::Ready(over),
            _ => Poll::Pending,
        }
    }

    /// Writes and reads as much as goes without waiting.
    fn poll_traffic(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        let mut bytes = 0;
        for _ in 0..TURN_FRAMES {
            if self.blocked
                && let Err(over) = ready!(self.poll_flush(cx))
            {
                return Poll::Ready(over);
            }
            loop {
                if let Err(error) = ready!(Pin::new(&mut self.web_socket).poll_ready(cx)) {
                    return Poll::Ready(over_of(error));
                }
                let Some(frame) = self.seat.outbox().pop() else { break };
                if let Err(over) = self.write(Message::Text(frame)) {
                    return Poll::Ready(over);
                }
            }
            let message = match ready!(Pin::new(&mut self.web_socket).poll_next(cx)) {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Poll::Ready(over_of(error)),
                None => return Poll::Ready(Over::Gone),
            };
            self.heard = Instant::now();
            bytes += message.len();
            if let Some(over) = self.receive(message) {
                return Poll::Ready(over);
            }
            if bytes > TURN_BYTES {
                break;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn receive(&mut self, message: Message) -> Option<Over> {
        let answer = match message {
            Message::Text(text) => self.seat.hear(&text),
            Message::Binary(_) => {
                let message = "a frame is JSON text, not binary".to_owned();
                return Some(Over::close_with_error(CLOSE_UNSUPPORTED, "binary", message));
            }
            Message::Close(_) => return Some(Over::Closed),
            // tungstenite answers a ping by itself.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return None,
        };
        match answer {
            Answer::None => None,
            Answer::Response(response) => self.write(Message::text(response.to_text())).err(),
            Answer::NotJson(response) => {
                Some(Over::Close(Close { code: CLOSE_INVALID, reason: "not JSON", error: Some(response) }))
            }
        }
    }

    fn poll_heartbeat(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<Over> {
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let dead = self.heard + 2 * self.ping_interval;
            if now >= dead {
                return Poll::Ready(Over::Dropped("nothing was heard of it for two ping intervals"));
            }
            if now >= self.next_ping {
                self.next_ping = now + self.ping_interval;
                self.ping_due = true;
            }
            timer.as_mut().reset(self.next_ping.min(dead));
        }
        // A client that does not read needs no ping: it would only wait behind the rest.
        if std::mem::take(&mut self.ping_due)
            && !self.blocked
            && let Err(over) = self.write(Message::Ping(Bytes::new()))
        {
            return Poll::Ready(over);
        }
        Poll::Pending
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Over>> {
        let result = Pin::new(&mut self.web_socket).poll_flush(cx);
        self.blocked = result.is_pending();
        result.map_err(over_of)
    }

    fn write(&mut self, message: Message) -> Result<(), Over> {
        Pin::new(&mut self.web_socket).start_send(message).map_err(over_of)
    }
}

/// What an error of the WebSocket means for the session.
fn over_of(error: Error) -> Over {
    match error {
        Error::Capacity(_) => {
            let message = format!("a frame has at most {MAX_BROKER_FRAME_BYTES} bytes");
            Over::close_with_error(CLOSE_TOO_BIG, "too large", message)
        }
        Error::Utf8(_) => Over::close_with_error(CLOSE_INVALID, "not UTF-8", "this is not UTF-8".to_owned()),
        Error::WriteBufferFull(_) => Over::Dropped("it does not read what is sent to it"),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Over::Gone,
        Error::Protocol(_) => Over::close(CLOSE_PROTOCOL, "protocol error"),
        _ => Over::Gone,
    }
}

/// Sends the answer to the client's close frame, which tungstenite has made.
async fn answer_close(mut web_socket: WebSocketStream<TcpStream>) {
    // A client that does not wait for it does not hear it.
    let _ = timeout(FAREWELL, web_socket.flush()).await;
}

/// Sends what still waits, the error and the close frame, and gives the client a second to read them.
async fn say_farewell(mut web_socket: WebSocketStream<TcpStream>, rest: VecDeque<Utf8Bytes>, close: Close) {
    let Close { code, reason, error } = close;
    tracing::debug!(code, reason, "closing a socket");
    let words = async {
        for frame in rest {
            web_socket.feed(Message::Text(frame)).await?;
        }
        if let Some(error) = error {
            web_socket.feed(Message::text(error.to_text())).await?;
        }
        let frame = CloseFrame { code: code.into(), reason: Utf8Bytes::from_static(reason) };
        web_socket.send(Message::Close(Some(frame))).await?;
        let mut tcp = web_socket.into_inner();
        tcp.shutdown().await?;
        // To close while bytes of the client are unread resets the connection, and our last words are lost with it.
        let mut unread = [0; 1024];
        while tcp.read(&mut unread).await? > 0 {}
        Ok::<_, Error>(())
    };
    // A client that is gone, or takes longer, does not hear them.
    let _ = timeout(FAREWELL, words).await;
}
