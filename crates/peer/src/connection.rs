//! An open connection, as the application has it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use linkup_driver::core::ConnectionId;
use linkup_driver::{Link, Message as Wire, SendError, Sent};
use linkup_proto::{Error, ErrorCode, PublicKey};
use serde_json::Value;
use tokio::sync::Notify;

use crate::hub::Hub;
use crate::message::Message;

/// Bytes that wait to be read above which the other side has to wait, and under which it goes on.
const HIGH: usize = 1 << 20;
const LOW: usize = 256 << 10;

/// What a waiting message costs besides its bytes.
const COST: usize = 64;

/// Who the other side is.
pub(crate) struct About {
    pub(crate) id: String,
    pub(crate) metadata: Option<Value>,
    pub(crate) public_key: Option<PublicKey>,
}

/// What has come and is not read yet.
#[derive(Default)]
pub(crate) struct Inbox {
    kept: Mutex<Kept>,
    /// There is something to read, or it is over.
    changed: Notify,
    /// There is room to send, or it is over.
    room: Notify,
}

#[derive(Default)]
struct Kept {
    messages: VecDeque<Wire>,
    bytes: usize,
    paused: bool,
    end: Option<Option<Error>>,
}

impl Inbox {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, message: Wire, link: &Link) {
        let mut kept = self.kept();
        kept.bytes += message.len() + COST;
        kept.messages.push_back(message);
        if kept.bytes > HIGH && !kept.paused {
            kept.paused = true;
            link.flow(false);
        }
        drop(kept);
        self.changed.notify_one();
    }

    fn pop(&self, link: &Link) -> Option<Result<Wire, Option<Error>>> {
        let mut kept = self.kept();
        let Some(message) = kept.messages.pop_front() else { return kept.end.clone().map(Err) };
        kept.bytes -= message.len() + COST;
        if kept.paused && kept.bytes < LOW {
            kept.paused = false;
            link.flow(true);
        }
        if !kept.messages.is_empty() || kept.end.is_some() {
            // For whoever else reads.
            self.changed.notify_one();
        }
        Some(Ok(message))
    }

    pub(crate) fn drained(&self) {
        self.room.notify_waiters();
    }

    pub(crate) fn end(&self, error: Option<Error>) {
        self.kept().end.get_or_insert(error);
        self.changed.notify_one();
        self.room.notify_waiters();
    }

    pub(crate) fn has_unread(&self) -> bool {
        !self.kept().messages.is_empty()
    }

    pub(crate) fn ended(&self) -> Option<Option<Error>> {
        self.kept().end.clone()
    }
}

struct Inner {
    connection: ConnectionId,
    about: About,
    link: Arc<Link>,
    inbox: Arc<Inbox>,
    peer: Weak<linkup_driver::Peer>,
    hub: Weak<Hub>,
}

/// An open connection to another peer. Cheap to clone: all clones are the same connection, and it stays open when they are
/// dropped, until one side closes it.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("id", &self.0.about.id).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(
        connection: ConnectionId,
        about: About,
        link: Arc<Link>,
        peer: Weak<linkup_driver::Peer>,
        hub: Weak<Hub>,
    ) -> Self {
        Self(Arc::new(Inner { connection, about, link, inbox: Arc::default(), peer, hub }))
    }

    pub(crate) fn key(&self) -> ConnectionId {
        self.0.connection
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.0.inbox
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.0.link
    }

    /// The other peer's id.
    pub fn id(&self) -> &str {
        &self.0.about.id
    }

    /// What the other side gave as its metadata.
    pub fn metadata(&self) -> Option<&Value> {
        self.0.about.metadata.as_ref()
    }

    /// The key that the other side has proven to have. None for a plain simple-peer client.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.0.about.public_key
    }

    /// Which way the bytes go: `direct`, `turn` or `broker`.
    pub fn path(&self) -> &'static str {
        self.0.link.path()
    }

    /// Measures it: `path`, `roundTripTime` in seconds, `bytesSent`, `bytesReceived`, … What is not known is absent.
    pub async fn stats(&self) -> Value {
        self.0.link.stats().await
    }

    /// Sends a message. Waits while more than 1 MiB is on its way, so that whoever awaits it never sends faster than the other
    /// side reads. While the connection looks for another way through the network, it waits, too; nothing is lost.
    ///
    /// # Errors
    /// [`ErrorCode::ConnectionClosed`] or the reason of its end, [`ErrorCode::MessageTooLarge`],
    /// [`ErrorCode::BufferFull`] where many tasks send at once without waiting, [`ErrorCode::Unsupported`] for bytes to a plain
    /// simple-peer client.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        self.hand_over(encode(message.into()), None).await
    }

    /// The same, and waits until the other side's application has it.
    ///
    /// # Errors
    /// As [`Connection::send`], and whatever ends the connection before; then it may have arrived, or not.
    pub async fn send_acknowledged(&self, message: impl Into<Message>) -> Result<(), Error> {
        let Some(hub) = self.0.hub.upgrade() else { return Err(self.why_over()) };
        let (token, arrived) = hub.expect(self.0.connection);
        if let Err(error) = self.hand_over(encode(message.into()), Some(token)).await {
            hub.forget(token);
            return Err(error);
        }
        arrived.await.unwrap_or_else(|_| Err(self.why_over()))
    }

    async fn hand_over(&self, message: Wire, token: Option<linkup_driver::core::Token>) -> Result<(), Error> {
        let room = self.0.inbox.room.notified();
        tokio::pin!(room);
        // Before sending: it may be drained before this task is back.
        room.as_mut().enable();
        match self.0.link.send_for(message, token) {
            Ok(Sent::Done) => Ok(()),
            // It has been taken, whatever happens while it is waited for room.
            Ok(Sent::Full) if self.0.inbox.ended().is_some() => Ok(()),
            Ok(Sent::Full) => {
                room.await;
                Ok(())
            }
            Err(SendError::Closed) => Err(self.why_over()),
            Err(error @ SendError::BufferFull) => Err(Error::new(ErrorCode::BufferFull, error.to_string())),
            Err(error @ SendError::TooLarge { .. }) => Err(Error::new(ErrorCode::MessageTooLarge, error.to_string())),
            Err(error @ SendError::Unsupported) => Err(Error::new(ErrorCode::Unsupported, error.to_string())),
        }
    }

    fn why_over(&self) -> Error {
        let closed = || Error::new(ErrorCode::ConnectionClosed, "the connection is closed");
        self.0.inbox.ended().flatten().unwrap_or_else(closed)
    }

    /// The next message; `None` where the connection was closed in order, and everything has been read. While nobody reads, the
    /// other side has to wait. May be dropped and called again without losing anything.
    ///
    /// # Errors
    /// Why the connection has ended otherwise, after the last message: [`ErrorCode::ConnectionLost`], …;
    /// [`ErrorCode::InvalidMessage`] for a text that is no JSON, or is nested deeper than 127 times: the next one may be read.
    pub async fn recv(&self) -> Result<Option<Message>, Error> {
        loop {
            match self.0.inbox.pop(&self.0.link) {
                Some(Ok(Wire::Binary(bytes))) => return Ok(Some(Message::Binary(bytes))),
                Some(Ok(Wire::Text(text))) => return Message::parse(&text).map(Some),
                Some(Err(end)) => {
                    // For whoever else reads.
                    self.0.inbox.changed.notify_one();
                    return end.map_or(Ok(None), Err);
                }
                None => self.0.inbox.changed.notified().await,
            }
        }
    }

    fn end(&self, error: Option<Error>) {
        if let Some(peer) = self.0.peer.upgrade() {
            peer.close(self.0.connection, error);
        }
    }

    /// Delivers what was sent, then closes. What the other side sends meanwhile is still there to be read.
    ///
    /// # Errors
    /// [`ErrorCode::CloseTimeout`] where the other side does not confirm in time that it has everything, or why the connection
    /// broke before.
    pub async fn close(&self) -> Result<(), Error> {
        self.end(None);
        loop {
            let room = self.0.inbox.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            if let Some(end) = self.0.inbox.ended() {
                return end.map_or(Ok(()), Err);
            }
            room.await;
        }
    }
}

fn encode(message: Message) -> Wire {
    match message {
        Message::Json(value) => Wire::Text(value.to_string()),
        Message::Binary(bytes) => Wire::Binary(bytes),
    }
}
