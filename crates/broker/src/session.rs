//! One WebSocket, from the upgrade to its end: frames in and out, heartbeat, and a last word to the client.
//! What the frames mean is the router's matter.
//!
//! A session is one task that never waits for its client: while the client does not read, nothing is read from
//! it either, and what the others send to it waits in its outbox, whose bound ends it.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream};
use linkup_proto::broker::{CLOSE_TAKEN_OVER, Response};
use linkup_proto::{Error as LinkupError, ErrorCode, limits::MAX_BROKER_FRAME_BYTES};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::outbox::End;
use crate::router::{Answer, Router, Seat};

const CLOSE_GOING_AWAY: u16 = 1001;
const CLOSE_PROTOCOL: u16 = 1002;
const CLOSE_UNSUPPORTED: u16 = 1003;
const CLOSE_INVALID: u16 = 1007;
const CLOSE_TOO_BIG: u16 = 1009;

/// Bytes of the read buffer, allocated per socket: half of what an idle one costs. A frame that is larger makes it
/// grow, and few are.
const READ_BUFFER: usize = 2048;

/// Bytes that are collected before a write. More only matters under load, and each socket keeps it.
const WRITE_BUFFER: usize = 4096;

/// Bytes that tungstenite may hold for a client that does not read: two of the largest frames.
const MAX_WRITE_BUFFER: usize = 3 * MAX_BROKER_FRAME_BYTES;

/// Frames of one socket that are handled before the others have their turn. For large ones tokio's own budget, 128
/// reads, ends the turn earlier: long before one sender can fill the outbox of a client that does read.
const TURN_FRAMES: usize = 16;

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
pub(crate) enum Over {
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
pub(crate) struct Close {
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

/// One WebSocket among the others.
pub(crate) struct Session {
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
    /// Gives a WebSocket its place. `None` where the broker closes, of which the client was told.
    ///
    /// `ping_interval` is at least 1 ms and at most a day.
    pub(crate) async fn begin(
        web_socket: WebSocketStream<TcpStream>,
        router: &Arc<Router>,
        ping_interval: Duration,
    ) -> Option<Self> {
        let Some(seat) = router.seat() else {
            let close = Close { code: CLOSE_GOING_AWAY, reason: "going away", error: None };
            say_farewell(web_socket, VecDeque::new(), close).await;
            return None;
        };
        let heard = Instant::now();
        let next_ping = heard + ping_interval;
        Some(Self { web_socket, seat, ping_interval, heard, next_ping, ping_due: false, blocked: false })
    }

    /// Serves the client until it is over, and says why it is.
    ///
    /// Borrows, for a future that owned the session would hold it twice, in each of a hundred thousand tasks.
    pub(crate) async fn run(&mut self) -> Over {
        let mut timer = pin!(sleep_until(self.next_ping));
        std::future::poll_fn(|cx| self.poll(cx, timer.as_mut())).await
    }

    /// Frees the id, and then says the last words.
    pub(crate) async fn end(self, over: Over) {
        let Self { mut web_socket, seat, .. } = self;
        let rest = std::iter::from_fn(|| seat.outbox().pop()).collect();
        // First: the last words may take a second, and who hears them may register again at once.
        drop(seat);
        match over {
            Over::Gone => {}
            // tungstenite has made the answer to the close frame. A client that does not wait does not hear it.
            Over::Closed => drop(timeout(FAREWELL, web_socket.flush()).await),
            Over::Dropped(why) => tracing::info!("dropped a socket: {why}"),
            Over::Close(close) => say_farewell(web_socket, rest, close).await,
        }
    }

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
            if let Some(over) = self.receive(message) {
                return Poll::Ready(over);
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
            Answer::Ice(id, peer) => {
                let local = self.web_socket.get_ref().local_addr().ok().map(|address| address.ip());
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
                let servers = json!(self.seat.ice().servers(&peer, local, now));
                self.write(Message::text(Response::ok(Some(id), servers).to_text())).err()
            }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::StreamExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn what_waits_is_sent_before_the_close() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        let server = web_socket(listener.accept().await.unwrap().0, Bytes::new()).await;
        let ice = crate::ice::Ice::new(&crate::Options::default(), None, None).unwrap();
        let router = Arc::new(Router::new(ice));
        let mut session = Session::begin(server, &router, Duration::from_secs(1)).await.unwrap();
        session.seat.outbox().push("last".into());
        router.close();
        let over = session.run().await;
        let end = tokio::spawn(session.end(over));
        assert_eq!(client.next().await.unwrap().unwrap(), Message::text("last"));
        assert!(client.next().await.unwrap().unwrap().is_close());
        assert!(client.next().await.is_none());
        end.await.unwrap();
    }
}
