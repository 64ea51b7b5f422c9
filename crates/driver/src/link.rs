//! The application's end of an open connection: the queue of what it sends.
//!
//! Knows the bounds of the queue and who waits for it; the transport empties it and knows how bytes travel.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use linkup_core::ConnectionId;
use linkup_proto::limits::MAX_FRAME_BYTES;
use serde_json::Value;
use tokio::sync::Notify;
use webrtc::peer_connection::PeerConnection;

use crate::options::{Limits, Message, Sink};
use crate::stats;

/// What a queued message costs besides its bytes: empty messages need room, too.
const MESSAGE_COST: usize = 64;

/// What a transport knows about its connection, for whoever holds a [`Link`].
#[derive(Default)]
pub(crate) struct Wire {
    /// Bytes of the largest message that goes through.
    pub(crate) max_message: AtomicUsize,
    /// Handed to SCTP, not yet acknowledged by the remote's.
    pub(crate) unacknowledged: AtomicUsize,
    /// Messages may be lost or overtake each other, so that nothing counts them.
    pub(crate) unreliable: AtomicBool,
    pub(crate) pc: OnceLock<Arc<dyn PeerConnection>>,
}

/// A message was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// There is room for more.
    Done,
    /// The queue is over its mark: wait for [`Sink::drained`] before sending more.
    Full,
}

/// A message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The connection is closing or closed.
    Closed,
    /// `limits.buffered_bytes` are waiting already.
    BufferFull,
    /// The remote does not take messages of that size.
    TooLarge {
        /// The largest that it takes.
        limit: usize,
    },
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection is closed"),
            Self::BufferFull => f.write_str("the send buffer is full"),
            Self::TooLarge { limit } => write!(f, "the remote takes messages of at most {limit} bytes"),
        }
    }
}

impl std::error::Error for SendError {}

/// An open connection, for sending. Cheap to share; may be used from any thread.
pub struct Link {
    connection: ConnectionId,
    sink: Arc<dyn Sink>,
    limits: Limits,
    wire: Arc<Wire>,
    queue: Mutex<Queue>,
    /// In the queue or taken by the writer, not yet handed to SCTP.
    queued: AtomicUsize,
    /// The same, in messages.
    waiting: AtomicUsize,
    /// [`Sent::Full`] was said; [`Sink::drained`] is owed.
    full: AtomicBool,
    wake: Notify,
    /// Whether messages may reach the application, held while one is handed over: after [`Link::mute`] none does.
    listening: Mutex<bool>,
    /// The remote is a linkup peer: it confirms a close.
    linkup: AtomicBool,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Message>,
    closed: bool,
    /// The writer waits to be woken.
    asleep: bool,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("connection", &self.connection).finish_non_exhaustive()
    }
}

impl Link {
    pub(crate) fn new(connection: ConnectionId, sink: Arc<dyn Sink>, limits: Limits, wire: Arc<Wire>) -> Self {
        Self {
            connection,
            sink,
            limits,
            wire,
            queue: Mutex::default(),
            queued: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            wake: Notify::new(),
            listening: Mutex::new(true),
            linkup: AtomicBool::new(false),
        }
    }

    /// Queues a message. Never blocks.
    ///
    /// # Errors
    /// [`SendError`]; the message was not taken then.
    pub fn send(&self, message: Message) -> Result<Sent, SendError> {
        let length = message.len();
        // Between linkup peers a byte before it says that it is a message.
        let limit = self.max_message().saturating_sub(usize::from(matches!(message, Message::Binary(_))));
        if length > limit {
            return Err(SendError::TooLarge { limit });
        }
        let mut queue = self.queue();
        if queue.closed {
            return Err(SendError::Closed);
        }
        let cost = self.buffered() + self.waiting() * MESSAGE_COST;
        if cost + length > self.limits.buffered_bytes {
            return Err(SendError::BufferFull);
        }
        queue.messages.push_back(message);
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let queued = self.queued.fetch_add(length, Ordering::SeqCst) + length;
        let wake = std::mem::take(&mut queue.asleep);
        drop(queue);
        if wake {
            self.wake.notify_one();
        }
        if queued <= self.limits.high_water_mark {
            return Ok(Sent::Done);
        }
        self.full.store(true, Ordering::SeqCst);
        // The writer may have emptied the queue before it could see that somebody waits.
        let drained = self.queued.load(Ordering::SeqCst) <= self.limits.high_water_mark;
        if drained && self.full.swap(false, Ordering::SeqCst) { Ok(Sent::Done) } else { Ok(Sent::Full) }
    }

    /// Messages that SCTP does not have yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Bytes that were sent and that the remote's transport has not acknowledged.
    pub fn buffered(&self) -> usize {
        self.queued.load(Ordering::SeqCst) + self.wire.unacknowledged.load(Ordering::Relaxed)
    }

    /// Bytes of the largest message that the remote takes.
    pub fn max_message(&self) -> usize {
        self.wire.max_message.load(Ordering::Relaxed).min(MAX_FRAME_BYTES)
    }

    /// Measures the connection: `path`, `roundTripTime` in seconds, `bytesSent`, `bytesReceived`, `messagesSent`,
    /// `messagesReceived`, `localCandidate`, `remoteCandidate`. What is not known is absent.
    pub async fn stats(&self) -> Value {
        match self.wire.pc.get() {
            Some(pc) => stats::measure(&**pc).await,
            None => Value::Object(serde_json::Map::new()),
        }
    }

    pub(crate) fn sink(&self) -> &Arc<dyn Sink> {
        &self.sink
    }

    /// Waits for messages and takes all there are, in exchange for an empty queue. False: there will be no more.
    pub(crate) async fn take(&self, batch: &mut VecDeque<Message>) -> bool {
        loop {
            {
                let mut queue = self.queue();
                if !queue.messages.is_empty() {
                    std::mem::swap(&mut queue.messages, batch);
                    return true;
                }
                if queue.closed {
                    return false;
                }
                queue.asleep = true;
            }
            self.wake.notified().await;
        }
    }

    /// A message went to SCTP.
    pub(crate) fn handed(&self, length: usize) {
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        let left = self.queued.fetch_sub(length, Ordering::SeqCst) - length;
        if left <= self.limits.high_water_mark && self.full.swap(false, Ordering::SeqCst) {
            self.sink.drained(self.connection);
        }
    }

    /// From now on nothing more is taken; what is there still goes out.
    pub(crate) fn close(&self) {
        self.queue().closed = true;
        self.wake.notify_one();
    }

    /// From now on nothing more reaches the application.
    pub(crate) fn mute(&self) {
        *self.listening.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.close();
    }

    /// Hands a message to the application. False: it has no room for another.
    pub(crate) fn deliver(&self, message: Message) -> bool {
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        !*listening || self.sink.message(self.connection, message)
    }

    pub(crate) fn set_linkup(&self, linkup: bool) {
        self.linkup.store(linkup, Ordering::Release);
    }

    pub(crate) fn is_linkup(&self) -> bool {
        self.linkup.load(Ordering::Acquire)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
