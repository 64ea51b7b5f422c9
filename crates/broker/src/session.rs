//! One WebSocket, from the upgrade to its end: frames in and out, heartbeat, and a last word to the client.
//! What the frames mean is the router's matter.
//!
//! A session is one task that never waits for its client: while the client does not read, nothing is read from
//! it either, and what the others send to it waits in its outbox, whose bound ends it.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream};
use linkup_proto::broker::{CLOSE_TAKEN_OVER, Frame, Response};
use linkup_proto::{Error as LinkupError, ErrorCode};
use serde_json::json;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::admission::Guest;
use crate::auth::AuthRequest;
use crate::farewell::{
    CLOSE_GOING_AWAY, CLOSE_INVALID, CLOSE_POLICY, CLOSE_PROTOCOL, CLOSE_RESTART, CLOSE_TOO_BIG, CLOSE_UNSUPPORTED,
    Close, FAREWELL, Over, say_farewell,
};
use crate::limits::{Limits, Meter, Over as Limit};
use crate::metrics::{Count, Metrics};
use crate::outbox::End;
use crate::router::{Answer, Claim, Seat};
use crate::stream::Stream as Connection;

/// Bytes of the read buffer, allocated per socket: half of what an idle one costs. A frame that is larger makes it
/// grow, and few are.
const READ_BUFFER: usize = 2048;

/// Bytes that are collected before a write. More only matters under load, and each socket keeps it.
const WRITE_BUFFER: usize = 4096;

/// Frames that tungstenite may hold for a client that does not read, of the largest: two, and what it is writing.
const WRITE_FRAMES: usize = 3;

/// Frames of one socket that are handled before the others have their turn. For large ones tokio's own budget, 128
/// reads, ends the turn earlier: long before one sender can fill the outbox of a client that does read.
const TURN_FRAMES: usize = 16;

/// Makes a WebSocket of a TCP connection after its handshake. `read` is what came behind the handshake.
pub(crate) async fn web_socket(stream: Connection, read: &[u8], limits: &Limits) -> WebSocketStream<Connection> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_FRAMES * limits.frame_bytes)
        .max_message_size(Some(limits.frame_bytes))
        .max_frame_size(Some(limits.frame_bytes));
    WebSocketStream::from_partially_read(stream, read.to_vec(), Role::Server, Some(config)).await
}

/// Something about which somebody else is asked.
type Asking = Pin<Box<dyn Future<Output = Asked> + Send>>;

enum Asked {
    /// Whether a registration is allowed.
    Decided(Box<Claim>, Result<(), String>),
    /// What other brokers have a part in.
    Answered(Answer),
}

/// One WebSocket among the others.
pub(crate) struct Session {
    web_socket: WebSocketStream<Connection>,
    seat: Seat,
    guest: Guest,
    meter: Meter,
    /// Nothing is read until that is known: what comes next may need the id, signals keep their order, and a client has no more
    /// than one such question under way.
    asking: Option<Asking>,
    /// When the last frame of any kind came.
    heard: Instant,
    next_ping: Instant,
    ping_due: bool,
    /// The client does not take what was written: nothing is read from it until it does.
    blocked: bool,
}

impl Session {
    /// Gives a WebSocket its place. `None` where the broker closes, of which the client was told.
    pub(crate) async fn begin(web_socket: WebSocketStream<Connection>, guest: Guest) -> Option<Self> {
        let Some(seat) = guest.slot.shared().router.seat() else {
            let close = Close { code: CLOSE_GOING_AWAY, reason: "going away", error: None };
            say_farewell(web_socket, VecDeque::new(), close).await;
            return None;
        };
        guest.shared().router.metrics().count(Count::Opened);
        let heard = Instant::now();
        let next_ping = heard + guest.shared().options.ping_interval;
        let meter = Meter::new(heard.into_std());
        Some(Self { web_socket, seat, guest, meter, asking: None, heard, next_ping, ping_due: false, blocked: false })
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
        let Self { mut web_socket, seat, guest, .. } = self;
        let rest = std::iter::from_fn(|| seat.outbox().pop()).map(|(frame, _)| frame).collect();
        let ip = guest.visit.client().ip;
        // First: the last words may take a second, and who hears them may register again at once.
        drop(seat);
        match over {
            Over::Gone => {}
            // tungstenite has made the answer to the close frame. A client that does not wait does not hear it.
            Over::Closed => drop(timeout(FAREWELL, web_socket.flush()).await),
            Over::Dropped(why) => tracing::info!(%ip, "dropped a socket: {why}"),
            Over::Close(close) => {
                tracing::debug!(%ip, code = close.code, reason = close.reason, "closing a socket");
                say_farewell(web_socket, rest, close).await;
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, timer: Pin<&mut Sleep>) -> Poll<Over> {
        if let Some(end) = self.seat.outbox().watch(cx) {
            return Poll::Ready(match end {
                End::TakenOver => {
                    self.metrics().count(Count::TakenOver);
                    Over::close(CLOSE_TAKEN_OVER, "taken over")
                }
                End::GoingAway => Over::close(CLOSE_GOING_AWAY, "going away"),
                End::Restarting => Over::close(CLOSE_RESTART, "connect again, perhaps to another broker"),
                End::Lost => Over::close(CLOSE_GOING_AWAY, "the id is somebody else's now"),
                End::TooSlow => self.too_slow(),
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
            _ => {
                let (_, written) = self.web_socket.get_mut().take_counts();
                self.metrics().add(Count::BytesOut, written);
                Poll::Pending
            }
        }
    }

    fn metrics(&self) -> &Metrics {
        self.guest.shared().router.metrics()
    }

    fn too_slow(&self) -> Over {
        self.metrics().count(Count::DroppedSlow);
        Over::Dropped("it does not read what is sent to it")
    }

    /// Writes and reads as much as goes without waiting.
    fn poll_traffic(&mut self, cx: &mut Context<'_>) -> Poll<Over> {
        for _ in 0..TURN_FRAMES {
            if self.blocked
                && let Err(over) = ready!(self.poll_flush(cx))
            {
                return Poll::Ready(over);
            }
            let mut now = None;
            loop {
                if let Err(error) = ready!(Pin::new(&mut self.web_socket).poll_ready(cx)) {
                    return Poll::Ready(self.over_of(error));
                }
                let Some((frame, came)) = self.seat.outbox().pop() else { break };
                let now = *now.get_or_insert_with(std::time::Instant::now);
                self.metrics().routed(now.saturating_duration_since(came));
                if let Err(over) = self.write(Message::Text(frame)) {
                    return Poll::Ready(over);
                }
            }
            if let Some(over) = ready!(self.poll_asking(cx)) {
                return Poll::Ready(over);
            }
            let next = Pin::new(&mut self.web_socket).poll_next(cx);
            let limit = self.measure(&next);
            let message = match next {
                Poll::Pending => match limit {
                    Some(limit) if self.meter.strike() => return Poll::Ready(self.over_limit(limit)),
                    _ => return Poll::Pending,
                },
                Poll::Ready(Some(Ok(message))) => message,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(self.over_of(error)),
                Poll::Ready(None) => return Poll::Ready(Over::Gone),
            };
            let over = match limit {
                Some(limit) => self.refuse(limit, &message),
                None => self.receive(message),
            };
            if let Some(over) = over {
                return Poll::Ready(over);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Counts what has come. `Some` where it is over a limit.
    fn measure(&mut self, next: &Poll<Option<Result<Message, Error>>>) -> Option<Limit> {
        let (read, written) = self.web_socket.get_mut().take_counts();
        let is_message = matches!(next, Poll::Ready(Some(Ok(_))));
        if read == 0 && written == 0 && !is_message {
            return None;
        }
        let shared = self.guest.slot.shared();
        let metrics = shared.router.metrics();
        metrics.add(Count::BytesOut, written);
        metrics.add(Count::BytesIn, read);
        let now = Instant::now();
        if is_message {
            self.heard = now;
        }
        let limit = self.meter.take(is_message.into(), read, &shared.rates, &self.guest.visit, now.into_std()).err()?;
        metrics.count(match limit {
            Limit::SocketMessages => Count::RefusedSocketMessages,
            Limit::SocketBytes => Count::RefusedSocketBytes,
            Limit::AddressMessages => Count::RefusedAddressMessages,
            Limit::AddressBytes => Count::RefusedAddressBytes,
        });
        Some(limit)
    }

    /// Answers a message that is over a limit.
    fn refuse(&mut self, limit: Limit, message: &Message) -> Option<Over> {
        match message {
            Message::Close(_) => Some(Over::Closed),
            _ if self.meter.strike() => Some(self.over_limit(limit)),
            Message::Text(text) => {
                let id = Frame::parse(text).map_or_else(|bad| bad.id, |frame| frame.id);
                self.write(Message::text(limit_error(limit, id).to_text())).err()
            }
            _ => None,
        }
    }

    fn over_limit(&self, limit: Limit) -> Over {
        self.metrics().count(Count::DroppedLimit);
        let ip = self.guest.visit.client().ip;
        tracing::info!(%ip, ?limit, "closed a socket that goes on over a limit");
        Over::Close(Close { code: CLOSE_POLICY, reason: "over a limit", error: Some(limit_error(limit, None)) })
    }

    /// Ready where nobody is asked, or what was decided is done.
    fn poll_asking(&mut self, cx: &mut Context<'_>) -> Poll<Option<Over>> {
        let Some(asking) = &mut self.asking else { return Poll::Ready(None) };
        let asked = ready!(asking.as_mut().poll(cx));
        self.asking = None;
        // Meanwhile it was not read.
        self.heard = Instant::now();
        Poll::Ready(match asked {
            Asked::Decided(claim, decision) => {
                let answer = self.seat.decided(*claim, decision);
                self.answer(answer)
            }
            Asked::Answered(answer) => self.answer(answer),
        })
    }

    fn ask(&mut self, claim: Box<Claim>) {
        let Some(about) = &self.guest.about else { return };
        let request = AuthRequest {
            id: claim.id.clone(),
            token: claim.token.clone(),
            origin: about.origin.as_deref().map(str::to_owned),
            address: about.address,
        };
        let decision = self.guest.shared().router.guard().ask(request);
        self.asking = Some(Box::pin(async move { Asked::Decided(claim, decision.await) }));
    }

    fn receive(&mut self, message: Message) -> Option<Over> {
        let answer = match message {
            Message::Text(text) => self.seat.hear(&text),
            Message::Binary(_) => {
                self.metrics().count(Count::RefusedProtocol);
                let message = "a frame is JSON text, not binary".to_owned();
                return Some(Over::close_with_error(CLOSE_UNSUPPORTED, "binary", message));
            }
            Message::Close(_) => return Some(Over::Closed),
            // tungstenite answers a ping by itself.
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return None,
        };
        self.answer(answer)
    }

    fn answer(&mut self, answer: Answer) -> Option<Over> {
        match answer {
            Answer::None => None,
            Answer::Ask(claim) => {
                self.ask(claim);
                None
            }
            Answer::Later(later) => {
                self.asking = Some(Box::pin(async move { Asked::Answered(later.await) }));
                None
            }
            Answer::Ice(id, peer) => {
                let local = self.web_socket.get_ref().local_addr().ok().map(|address| address.ip());
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
                let servers = json!(self.guest.shared().router.ice().servers(&peer, local, now));
                self.write(Message::text(Response::ok(Some(id), servers).to_text())).err()
            }
            Answer::Response(response) => {
                // A challenge is none.
                let denied = |error: &LinkupError| error.code == ErrorCode::NotAuthorized && error.details.is_none();
                if response.error.as_ref().is_some_and(denied) && self.meter.strike() {
                    // Somebody tries out secrets.
                    self.metrics().count(Count::DroppedLimit);
                    let close = Close { code: CLOSE_POLICY, reason: "refused too often", error: Some(response) };
                    return Some(Over::Close(close));
                }
                self.write(Message::text(response.to_text())).err()
            }
            Answer::NotJson(response) => {
                Some(Over::Close(Close { code: CLOSE_INVALID, reason: "not JSON", error: Some(response) }))
            }
        }
    }

    fn poll_heartbeat(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<Over> {
        let ping_interval = self.guest.shared().options.ping_interval;
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            // One that is not read cannot be heard.
            let heard = if self.asking.is_some() { now } else { self.heard };
            let dead = heard + 2 * ping_interval;
            if now >= dead {
                self.metrics().count(Count::DroppedSilent);
                return Poll::Ready(Over::Dropped("nothing was heard of it for two ping intervals"));
            }
            if now >= self.next_ping {
                self.next_ping = now + ping_interval;
                self.ping_due = true;
                self.meter.forgive();
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
        result.map_err(|error| self.over_of(error))
    }

    fn write(&mut self, message: Message) -> Result<(), Over> {
        let result = Pin::new(&mut self.web_socket).start_send(message);
        result.map_err(|error| self.over_of(error))
    }

    /// What an error of the WebSocket means for the session.
    fn over_of(&self, error: Error) -> Over {
        match error {
            Error::Capacity(_) => {
                self.metrics().count(Count::RefusedFrame);
                let message = format!("a frame has at most {} bytes", self.guest.shared().options.limits.frame_bytes);
                Over::close_with_error(CLOSE_TOO_BIG, "too large", message)
            }
            Error::Utf8(_) => {
                self.metrics().count(Count::RefusedProtocol);
                Over::close_with_error(CLOSE_INVALID, "not UTF-8", "this is not UTF-8".to_owned())
            }
            Error::WriteBufferFull(_) => self.too_slow(),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Over::Gone,
            Error::Protocol(_) => {
                self.metrics().count(Count::RefusedProtocol);
                Over::close(CLOSE_PROTOCOL, "protocol error")
            }
            _ => Over::Gone,
        }
    }
}

fn limit_error(limit: Limit, id: Option<String>) -> Response {
    Response::error(id, LinkupError::new(ErrorCode::Protocol, limit.text()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures_util::StreamExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::admission::Slot;
    use crate::server::Shared;

    #[tokio::test]
    async fn what_waits_is_sent_before_the_close() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        let options = crate::Options::default();
        let server = web_socket(listener.accept().await.unwrap().0.into(), &[], &options.limits).await;
        let slot = Slot::take(&Shared::of(options)).unwrap();
        let visit = slot.shared().clients.enter([127, 0, 0, 1].into(), std::time::Instant::now()).unwrap();
        let mut session = Session::begin(server, Guest { slot, visit, about: None }).await.unwrap();
        session.seat.outbox().push("last".into());
        session.guest.shared().router.close();
        let over = session.run().await;
        let end = tokio::spawn(session.end(over));
        assert_eq!(client.next().await.unwrap().unwrap(), Message::text("last"));
        assert!(client.next().await.unwrap().unwrap().is_close());
        assert!(client.next().await.is_none());
        end.await.unwrap();
    }
}
