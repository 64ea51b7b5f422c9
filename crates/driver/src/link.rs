//! The application's end of an open connection: the queue of what it sends.
//!
//! Knows the bounds of the queue and who waits for it; the transport empties it and knows how bytes travel.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use linkup_core::wire::{Message, Outgoing};
use linkup_core::{ConnectionId, Token};
use linkup_proto::frame::{Frame, STREAM_OPEN, STREAM_RESET};
use linkup_proto::limits::MAX_FRAME_BYTES;
use linkup_proto::signal::Receive;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};

use crate::options::{Limits, Sink};
use crate::runner::Runner;
use crate::transport::Talk;

/// What a queued message costs besides its bytes: empty messages need room, too.
const MESSAGE_COST: usize = 64;

/// Bytes of streams' frames above which [`Sent::Full`] is said, and under which more are taken. Few, because a stream
/// that waits in its application does not hold up the others.
const STREAMS_HIGH: usize = 256 * 1024;
const STREAMS_LOW: usize = 64 * 1024;

/// Bytes that [`Link::send_here`] sends by itself, with those under way. Encrypting more takes longer than waking a thread.
const SEND_HERE: usize = 16 * 1024;

/// What a connection's transport knows, for whoever holds a [`Link`].
#[derive(Default)]
pub(crate) struct Wire {
    /// Bytes of the largest frame that goes through.
    pub(crate) max_message: AtomicUsize,
    /// Handed to SCTP, not yet acknowledged by the remote's.
    pub(crate) unacknowledged: AtomicUsize,
    /// Messages may be lost or overtake each other, so that nothing counts them.
    pub(crate) unreliable: AtomicBool,
    /// A [`Path`].
    path: AtomicU8,
    /// Of the transport of this moment.
    pub(crate) doors: RwLock<Doors>,
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Path {
    Direct = 0,
    Turn = 1,
    Broker = 2,
}

/// The ways to a transport's task.
#[derive(Clone, Default)]
pub(crate) struct Doors {
    /// The task itself.
    pub(crate) runner: Weak<Runner>,
    /// Where to ask for numbers, once it is open.
    pub(crate) stats: Option<mpsc::UnboundedSender<oneshot::Sender<Value>>>,
}

impl Wire {
    /// The connection goes on over another transport.
    pub(crate) fn take_over(&self, other: &Self) {
        self.max_message.store(other.max_message.load(Ordering::Relaxed), Ordering::Relaxed);
        self.path.store(other.path.load(Ordering::Relaxed), Ordering::Relaxed);
        self.unacknowledged.store(0, Ordering::Relaxed);
        let doors = other.doors().clone();
        self.set_doors(doors);
    }

    pub(crate) fn set_path(&self, path: Path) {
        self.path.store(path as u8, Ordering::Relaxed);
    }

    fn doors(&self) -> RwLockReadGuard<'_, Doors> {
        self.doors.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_doors(&self, doors: Doors) {
        *self.doors.write().unwrap_or_else(PoisonError::into_inner) = doors;
    }
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
    /// It takes frames, which a plain simple-peer client does not know and an unreliable channel does not carry.
    Unsupported,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the connection is closed"),
            Self::BufferFull => f.write_str("the send buffer is full"),
            Self::TooLarge { limit } => write!(f, "the remote takes messages of at most {limit} bytes"),
            Self::Unsupported => f.write_str("the remote takes only text"),
        }
    }
}

impl std::error::Error for SendError {}

/// What sending has come to, as a number for other languages: 0 done, 1 done and wait for [`Sink::drained`], -1 closed,
/// -2 buffer full, -3 too large, -4 unsupported.
pub const fn outcome(sent: Result<Sent, SendError>) -> i32 {
    match sent {
        Ok(Sent::Done) => 0,
        Ok(Sent::Full) => 1,
        Err(SendError::Closed) => -1,
        Err(SendError::BufferFull) => -2,
        Err(SendError::TooLarge { .. }) => -3,
        Err(SendError::Unsupported) => -4,
    }
}

/// An open connection, for sending. Cheap to share; may be used from any thread.
pub struct Link {
    connection: ConnectionId,
    sink: Arc<dyn Sink>,
    limits: Limits,
    wire: Arc<Wire>,
    queue: Mutex<Queue>,
    /// Bytes of messages in the queue or taken by the writer, not yet handed to SCTP.
    queued: AtomicUsize,
    /// The same, in messages.
    waiting: AtomicUsize,
    /// The same, in bytes of streams' frames.
    streaming: AtomicUsize,
    /// [`Sent::Full`] was said; [`Sink::drained`] is owed.
    full: AtomicBool,
    /// The same for streams.
    streams_full: AtomicBool,
    waker: AtomicWaker,
    /// Whether messages may reach the application, held while one is handed over: after [`Link::mute`] none does.
    listening: Mutex<bool>,
    /// The application wants no messages at the moment.
    paused: AtomicBool,
    /// It wants them again.
    pub(crate) resumed: Notify,
    /// What the remote takes, where it is a linkup peer.
    remote: OnceLock<Receive>,
    /// A transport has begun to carry it.
    begun: AtomicBool,
    /// What is under way, while no transport carries it.
    parked: Mutex<Parked>,
    /// It has been put there.
    arrived: Notify,
}

#[derive(Default)]
enum Parked {
    #[default]
    No,
    Talk(Box<Talk>),
    Over,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<(Message, Option<Token>)>,
    streams: VecDeque<Vec<u8>>,
    closed: bool,
    /// The writer waits to be woken, by a message or by a frame of a stream.
    wants_message: bool,
    wants_stream: bool,
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
            streaming: AtomicUsize::new(0),
            full: AtomicBool::new(false),
            streams_full: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            listening: Mutex::new(true),
            paused: AtomicBool::new(false),
            resumed: Notify::new(),
            remote: OnceLock::new(),
            begun: AtomicBool::new(false),
            parked: Mutex::default(),
            arrived: Notify::new(),
        }
    }

    /// Queues a message. Never blocks.
    ///
    /// # Errors
    /// [`SendError`]; the message was not taken then.
    pub fn send(&self, message: Message) -> Result<Sent, SendError> {
        self.send_for(message, None)
    }

    /// Queues a message; [`Sink::arrived`] hears of `token` when the remote has it.
    ///
    /// # Errors
    /// [`SendError`]; the message was not taken then.
    pub fn send_for(&self, message: Message, token: Option<Token>) -> Result<Sent, SendError> {
        self.send_from(message, token, false)
    }

    /// The same, and a small message goes to the network before this returns, where little else is under way: quicker for
    /// an answer, but it is the caller's time.
    ///
    /// # Errors
    /// [`SendError`]; the message was not taken then.
    pub fn send_here(&self, message: Message, token: Option<Token>) -> Result<Sent, SendError> {
        self.send_from(message, token, true)
    }

    fn send_from(&self, message: Message, token: Option<Token>, here: bool) -> Result<Sent, SendError> {
        if (token.is_some() || matches!(message, Message::Binary(_))) && !self.is_framed() {
            return Err(SendError::Unsupported);
        }
        let length = message.len();
        let limit = self.max_message();
        if length > limit {
            return Err(SendError::TooLarge { limit });
        }
        let mut queue = self.queue();
        if queue.closed {
            return Err(SendError::Closed);
        }
        let before = self.queued.load(Ordering::SeqCst);
        let unacknowledged = self.wire.unacknowledged.load(Ordering::Relaxed);
        let cost = before + unacknowledged + self.waiting() * MESSAGE_COST;
        // Whoever has waited for room may send any message, also one as large as the whole buffer.
        let mark = self.limits.high_water_mark;
        if cost + length > self.limits.buffered_bytes && !(length > mark && before <= mark) {
            return Err(SendError::BufferFull);
        }
        queue.messages.push_back((message, token));
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let queued = self.queued.fetch_add(length, Ordering::SeqCst) + length;
        let wake = std::mem::take(&mut queue.wants_message);
        drop(queue);
        let quiet = before == 0 && unacknowledged + length <= SEND_HERE;
        let runs = here && quiet && self.run_here();
        if wake && !runs {
            self.waker.wake();
        }
        Ok(over(&self.queued, queued, self.limits.high_water_mark, &self.full))
    }

    /// Queues a frame of a stream, which [`linkup_proto::frame`] describes.
    ///
    /// # Errors
    /// [`SendError::Closed`] and [`SendError::Unsupported`]. It is never too much: whoever heard [`Sent::Full`] waits
    /// for [`Sink::streams_drained`].
    pub fn send_stream(&self, kind: u8, stream: u32, body: &[u8]) -> Result<Sent, SendError> {
        if !self.is_framed() {
            return Err(SendError::Unsupported);
        }
        let frame = Frame::Stream { kind, stream, body }.encode();
        let length = frame.len();
        let mut queue = self.queue();
        if queue.closed {
            return Err(SendError::Closed);
        }
        queue.streams.push_back(frame);
        let streaming = self.streaming.fetch_add(length, Ordering::SeqCst) + length;
        let wake = std::mem::take(&mut queue.wants_stream);
        drop(queue);
        if wake {
            self.waker.wake();
        }
        Ok(over(&self.streaming, streaming, STREAMS_HIGH, &self.streams_full))
    }

    /// Whether messages reach the application, or wait here until it wants them: then the remote's sender waits, too.
    pub fn flow(&self, open: bool) {
        self.paused.store(!open, Ordering::SeqCst);
        if open {
            self.resumed.notify_one();
        }
    }

    /// Messages that SCTP does not have yet.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// Bytes that were sent and that the remote's transport has not acknowledged.
    pub fn buffered(&self) -> usize {
        let queued = self.queued.load(Ordering::SeqCst) + self.streaming.load(Ordering::SeqCst);
        queued + self.wire.unacknowledged.load(Ordering::Relaxed)
    }

    /// Bytes of the largest message that the remote takes.
    pub fn max_message(&self) -> usize {
        match self.remote.get() {
            Some(receive) if self.is_framed() => usize::try_from(receive.message).unwrap_or(usize::MAX),
            _ => self.max_frame().min(MAX_FRAME_BYTES),
        }
    }

    /// Bytes of the largest frame that the remote's data channel takes.
    pub(crate) fn max_frame(&self) -> usize {
        self.wire.max_message.load(Ordering::Relaxed)
    }

    /// Measures the connection: `path`, `roundTripTime` in seconds, `bytesSent`, `bytesReceived`, `messagesSent`,
    /// `messagesReceived`, `localCandidate`, `remoteCandidate`. What is not known is absent.
    pub async fn stats(&self) -> Value {
        let (answer, answered) = oneshot::channel();
        if let Some(ask) = &self.wire.doors().stats {
            // Where it has ended nobody answers.
            let _ = ask.send(answer);
        }
        answered.await.unwrap_or_else(|_| Value::Object(serde_json::Map::new()))
    }

    /// Which way the bytes go: `direct`, `turn` or `broker`.
    pub fn path(&self) -> &'static str {
        match self.wire.path.load(Ordering::Relaxed) {
            0 => "direct",
            1 => "turn",
            _ => "broker",
        }
    }

    pub(crate) fn sink(&self) -> &Arc<dyn Sink> {
        &self.sink
    }

    pub(crate) fn connection(&self) -> ConnectionId {
        self.connection
    }

    /// Moves what is there to the writer, where it has none of that kind. False: there will be no more.
    pub(crate) fn collect(&self, to: &mut Outgoing) -> bool {
        let mut queue = self.queue();
        if to.messages.is_empty() {
            // A burst of small messages must not keep its memory for good.
            if to.messages.capacity() > 1024 {
                to.messages = VecDeque::new();
            }
            std::mem::swap(&mut queue.messages, &mut to.messages);
        }
        if to.streams.is_empty() {
            std::mem::swap(&mut queue.streams, &mut to.streams);
        }
        !(queue.closed && queue.messages.is_empty() && queue.streams.is_empty())
    }

    /// Whether frames of streams wait.
    pub(crate) fn has_streams(&self) -> bool {
        self.streaming.load(Ordering::Relaxed) > 0
    }

    /// Ready when there is something that `to` has none of, or the end. One task waits at a time.
    pub(crate) fn poll_changed(&self, cx: &mut Context<'_>, to: &Outgoing, knows_end: bool) -> Poll<()> {
        self.waker.register(cx.waker());
        let mut queue = self.queue();
        let messages = to.messages.is_empty() && !queue.messages.is_empty();
        let streams = to.streams.is_empty() && !queue.streams.is_empty();
        let end = queue.closed && queue.messages.is_empty() && queue.streams.is_empty();
        if messages || streams || end && !knows_end {
            return Poll::Ready(());
        }
        queue.wants_message = to.messages.is_empty();
        queue.wants_stream = to.streams.is_empty();
        Poll::Pending
    }

    fn run_here(&self) -> bool {
        let runner = self.wire.doors().runner.upgrade();
        runner.is_some_and(|runner| runner.run_here())
    }

    /// Bytes of messages went to SCTP, and so many messages are complete with them.
    pub(crate) fn handed(&self, length: usize, complete: usize) {
        self.waiting.fetch_sub(complete, Ordering::SeqCst);
        let left = self.queued.fetch_sub(length, Ordering::SeqCst) - length;
        if left <= self.limits.high_water_mark && self.full.swap(false, Ordering::SeqCst) {
            self.sink.drained(self.connection);
        }
    }

    /// The frame of a stream went to SCTP.
    pub(crate) fn handed_stream(&self, length: usize) {
        let left = self.streaming.fetch_sub(length, Ordering::SeqCst) - length;
        if left <= STREAMS_LOW && self.streams_full.swap(false, Ordering::SeqCst) {
            self.sink.streams_drained(self.connection);
        }
    }

    /// From now on nothing more is taken; what is there still goes out.
    pub(crate) fn close(&self) {
        self.queue().closed = true;
        self.waker.wake();
    }

    /// From now on nothing more reaches the application, but what it has kept waiting.
    pub(crate) fn end(&self) {
        if let Some(mut talk) = self.take_parked() {
            talk.deliver_held(self);
        }
        self.mute();
    }

    /// From now on nothing more reaches the application.
    pub(crate) fn mute(&self) {
        *self.listening.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.close();
        let parked = std::mem::replace(&mut *self.parked(), Parked::Over);
        drop(parked);
    }

    /// Whether messages have to wait for the application.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::SeqCst)
    }

    /// Hands a message to the application. False: it has no room for another.
    pub(crate) fn deliver(&self, message: Message) -> bool {
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        !*listening || self.sink.message(self.connection, message)
    }

    /// The same for the frame of a stream.
    pub(crate) fn deliver_stream(&self, frame: Bytes) -> bool {
        if !self.sink.has_streams() {
            self.refuse_stream(&frame);
            return true;
        }
        let listening = self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        !*listening || self.sink.stream(self.connection, frame)
    }

    fn refuse_stream(&self, frame: &[u8]) {
        // Who does not read its resets gets no more of them.
        let some = self.streaming.load(Ordering::SeqCst) < STREAMS_HIGH;
        if some && let Ok(Frame::Stream { kind: STREAM_OPEN, stream, .. }) = Frame::decode(frame) {
            // A connection that is closing has no streams either.
            let _ = self.send_stream(STREAM_RESET, stream, b"no streams are taken here");
        }
    }

    /// The remote is a linkup peer that takes so much.
    pub(crate) fn set_remote(&self, receive: Receive) {
        // A connection opens once.
        let _ = self.remote.set(receive);
    }

    /// Whether another transport may go on where one has ended.
    pub(crate) fn can_resume(&self) -> bool {
        self.is_framed() && self.remote.get().is_some_and(|receive| receive.resume)
    }

    /// True for the first transport, and false for those that go on with what it began.
    pub(crate) fn begins(&self) -> bool {
        !self.begun.swap(true, Ordering::SeqCst)
    }

    /// Keeps what is under way, where a transport has ended and the connection has not.
    pub(crate) fn park(&self, talk: Talk) {
        let mut parked = self.parked();
        // Where it is over, nobody would take it out any more, and it holds us.
        if !matches!(*parked, Parked::Over) {
            *parked = Parked::Talk(Box::new(talk));
            self.arrived.notify_one();
        }
    }

    /// What the last transport has left under way, as soon as that has let go of it.
    pub(crate) async fn unpark(&self) -> Talk {
        loop {
            if let Some(talk) = self.take_parked() {
                return talk;
            }
            self.arrived.notified().await;
        }
    }

    fn take_parked(&self) -> Option<Talk> {
        let mut parked = self.parked();
        match &*parked {
            Parked::Talk(_) => match std::mem::take(&mut *parked) {
                Parked::Talk(talk) => Some(*talk),
                _ => None,
            },
            _ => None,
        }
    }

    /// Messages that the remote may not have, while no transport carries them.
    pub(crate) fn unconfirmed(&self) -> usize {
        match &*self.parked() {
            Parked::Talk(talk) => talk.unconfirmed(),
            _ => self.waiting(),
        }
    }

    fn parked(&self) -> MutexGuard<'_, Parked> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// The remote's window, where there are frames.
    pub(crate) fn remote_window(&self) -> u64 {
        self.remote.get().map_or(0, |receive| receive.window)
    }

    /// Whether both sides are linkup peers on an ordered, reliable channel, so that there are binary frames.
    pub(crate) fn is_framed(&self) -> bool {
        self.remote.get().is_some() && !self.wire.unreliable.load(Ordering::Relaxed)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to say after something was added to `count`, which is then `now`.
fn over(count: &AtomicUsize, now: usize, mark: usize, full: &AtomicBool) -> Sent {
    if now <= mark {
        return Sent::Done;
    }
    full.store(true, Ordering::SeqCst);
    // The writer may have emptied the queue before it could see that somebody waits.
    let drained = count.load(Ordering::SeqCst) <= mark;
    if drained && full.swap(false, Ordering::SeqCst) { Sent::Done } else { Sent::Full }
}
