//! The two streams of an open channel: [`write`] empties the link's queue into SCTP, [`read`] hands messages to the
//! application. Neither waits for the other, and both wait for whoever is slow.
//!
//! Only the writer sends: what the reader has to say to the remote (ACK, FIN-ACK) it leaves in [`Flow`].

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use linkup_proto::frame::{ACK_EVERY, Frame, MAX_UNCONFIRMED};
use linkup_proto::{Error, ErrorCode};
use tokio::sync::{Notify, mpsc};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelMessage};

use super::build::SEND_LIMIT;
use crate::link::{Link, Wire};
use crate::options::Message;
use crate::runtime::Pulse;

/// After so many messages in one go SCTP may have kept more back: its reader stops at 256 and goes on only when
/// another packet comes, which may be seconds later.
const SUSPICIOUS: u32 = 128;

/// Messages that SCTP may have without an acknowledgement, where the remote confirms none; see [`MAX_UNCONFIRMED`].
const MAX_FLIGHT: usize = 8 * 1024;

/// How often a writer looks whether there is room under [`MAX_FLIGHT`].
const LOOK_FOR_ROOM: Duration = Duration::from_millis(1);

/// How often an idle writer looks whether the rest has been acknowledged.
const ACKNOWLEDGED: std::ops::RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_millis(200);

/// How long messages stay unconfirmed when no more come.
const ACK_AFTER: Duration = Duration::from_millis(100);

/// What the remote says about the end.
pub(super) enum Mark {
    /// It has sent its last message, and all of them were handed over.
    Fin,
    /// It has handed over all of ours.
    FinAck,
}

/// What is under way in both directions.
pub(super) struct Flow {
    /// Whether both sides are linkup peers on an ordered, reliable channel, so that there are binary frames.
    framed: bool,
    /// Sizes of the messages that SCTP has, oldest first; kept only where the remote confirms none.
    flight: Mutex<Flight>,
    written: AtomicU64,
    /// Messages of ours that the remote has handed to its application, as it says.
    confirmed: AtomicU64,
    /// To be sent before anything else.
    replies: Mutex<Replies>,
    /// There is a reply to send, or room for more messages.
    changed: Notify,
    /// The queue is closed and empty, and the FIN, where there is one, was handed to SCTP.
    said_all: AtomicBool,
    /// The FIN-ACK was handed to SCTP.
    confirmed_fin: AtomicBool,
    /// One of the two has become true.
    pub(super) progress: Notify,
}

#[derive(Default)]
struct Flight {
    lengths: VecDeque<usize>,
    bytes: usize,
}

#[derive(Default)]
struct Replies {
    ack: Option<u64>,
    fin_ack: bool,
}

impl Flow {
    pub(super) fn new(framed: bool) -> Self {
        Self {
            framed,
            flight: Mutex::default(),
            written: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            replies: Mutex::default(),
            changed: Notify::new(),
            said_all: AtomicBool::new(false),
            confirmed_fin: AtomicBool::new(false),
            progress: Notify::new(),
        }
    }

    pub(super) fn is_framed(&self) -> bool {
        self.framed
    }

    pub(super) fn has_said_all(&self) -> bool {
        self.said_all.load(Ordering::Acquire)
    }

    pub(super) fn has_confirmed_fin(&self) -> bool {
        self.confirmed_fin.load(Ordering::Acquire)
    }

    fn reached(&self, what: &AtomicBool) {
        what.store(true, Ordering::Release);
        self.progress.notify_one();
    }

    fn launched(&self, length: usize) {
        self.written.fetch_add(1, Ordering::SeqCst);
        if !self.framed {
            let mut flight = self.flight.lock().unwrap_or_else(PoisonError::into_inner);
            flight.lengths.push_back(length);
            flight.bytes += length;
        }
    }

    /// Messages of which the remote has not said that its application has them.
    fn unconfirmed(&self) -> u64 {
        self.written.load(Ordering::SeqCst).saturating_sub(self.confirmed.load(Ordering::SeqCst))
    }

    /// Messages of which SCTP has no complete acknowledgement, `outstanding` bytes being open.
    fn landed(&self, outstanding: usize) -> usize {
        let mut flight = self.flight.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(first) = flight.lengths.front().copied() {
            if flight.bytes - first < outstanding || outstanding > 0 && flight.lengths.len() == 1 {
                break;
            }
            flight.lengths.pop_front();
            flight.bytes -= first;
        }
        flight.lengths.len()
    }

    /// Messages that the remote may not have, those included that never got to SCTP.
    pub(super) async fn undelivered(&self, channel: &dyn DataChannel, link: &Link) -> usize {
        if self.framed {
            return usize::try_from(self.unconfirmed()).unwrap_or(usize::MAX).saturating_add(link.waiting());
        }
        // A channel that is closed says nothing more: what was last known counts.
        let in_flight = match channel.outstanding_bytes().await {
            Ok(outstanding) => self.landed(outstanding),
            Err(_) => self.flight.lock().unwrap_or_else(PoisonError::into_inner).lengths.len(),
        };
        in_flight + link.waiting()
    }

    fn reply(&self, change: impl FnOnce(&mut Replies)) {
        change(&mut self.replies.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// Confirms the remote's FIN.
    pub(super) fn confirm_fin(&self) {
        self.reply(|replies| replies.fin_ack = true);
    }

    fn next_reply(&self) -> Option<Frame<'static>> {
        let mut replies = self.replies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = replies.ack.take() {
            return Some(Frame::Ack(count));
        }
        std::mem::take(&mut replies.fin_ack).then_some(Frame::FinAck)
    }

    fn has_credit(&self) -> bool {
        if !self.framed {
            return self.flight.lock().unwrap_or_else(PoisonError::into_inner).lengths.len() < MAX_FLIGHT;
        }
        self.unconfirmed() < MAX_UNCONFIRMED
    }

    fn handle_ack(&self, count: u64) -> Result<(), Error> {
        let known = self.confirmed.load(Ordering::SeqCst)..=self.written.load(Ordering::SeqCst);
        if !known.contains(&count) {
            return Err(Error::new(ErrorCode::Protocol, "the remote confirmed messages that it was not sent"));
        }
        self.confirmed.store(count, Ordering::SeqCst);
        self.changed.notify_one();
        Ok(())
    }
}

/// Sends messages and replies until it is dropped.
///
/// # Errors
/// Where the channel takes nothing more; `Ok` where that is because it is closed, which the reader hears, too.
pub(super) async fn write(
    channel: Arc<dyn DataChannel>,
    link: Arc<Link>,
    flow: Arc<Flow>,
    wire: Arc<Wire>,
) -> Result<(), Error> {
    let mut writer = Writer { channel, link, flow, wire, outstanding: 0 };
    match writer.run().await {
        Ok(()) | Err(webrtc::error::Error::ErrDataChannelClosed) => Ok(()),
        Err(error) => Err(Error::new(ErrorCode::ConnectionLost, format!("nothing more can be sent: {error}"))),
    }
}

struct Writer {
    channel: Arc<dyn DataChannel>,
    link: Arc<Link>,
    flow: Arc<Flow>,
    wire: Arc<Wire>,
    /// Never less than what SCTP has: looking takes the connection's lock.
    outstanding: usize,
}

impl Writer {
    async fn run(&mut self) -> webrtc::error::Result<()> {
        let mut batch = VecDeque::new();
        let (mut closed, mut said) = (false, false);
        let mut pause = *ACKNOWLEDGED.start();
        loop {
            while let Some(frame) = self.flow.next_reply() {
                self.say(frame).await?;
                if frame == Frame::FinAck {
                    self.flow.reached(&self.flow.confirmed_fin);
                }
            }
            if !batch.is_empty() {
                if self.flow.has_credit() {
                    if let Some(message) = batch.pop_front() {
                        self.send(message).await?;
                    }
                } else if self.flow.framed {
                    self.flow.changed.notified().await;
                } else {
                    tokio::time::sleep(LOOK_FOR_ROOM).await;
                    self.look().await?;
                }
                continue;
            }
            // A burst of small messages must not keep its memory for good.
            if batch.capacity() > 1024 {
                batch = VecDeque::new();
            }
            if closed && !said {
                if self.flow.framed {
                    self.say(Frame::Fin).await?;
                }
                said = true;
                self.flow.reached(&self.flow.said_all);
            }
            tokio::select! {
                taken = self.link.take(&mut batch), if !closed => {
                    closed = !taken;
                    pause = *ACKNOWLEDGED.start();
                }
                () = self.flow.changed.notified() => {}
                () = tokio::time::sleep(pause), if self.outstanding > 0 => {
                    self.look().await?;
                    pause = (pause * 2).min(*ACKNOWLEDGED.end());
                }
            }
        }
    }

    async fn look(&mut self) -> webrtc::error::Result<()> {
        self.outstanding = self.channel.outstanding_bytes().await?;
        self.wire.unacknowledged.store(self.outstanding, Ordering::Relaxed);
        self.flow.landed(self.outstanding);
        Ok(())
    }

    async fn say(&mut self, frame: Frame<'_>) -> webrtc::error::Result<()> {
        let bytes = encoded(frame);
        self.outstanding += bytes.len();
        self.channel.send(bytes).await
    }

    async fn send(&mut self, message: Message) -> webrtc::error::Result<()> {
        let length = message.len();
        let on_the_wire = length + usize::from(self.flow.framed && matches!(message, Message::Binary(_)));
        // Counted first: the remote may confirm it before this task runs again.
        self.flow.launched(on_the_wire);
        // `try_send` throws away what it does not take: `outstanding` must never be less than what SCTP counts.
        if self.outstanding + on_the_wire <= SEND_LIMIT {
            self.outstanding += on_the_wire;
            match message {
                Message::Text(text) => self.channel.try_send_text(&text).await?,
                Message::Binary(bytes) => self.channel.try_send(self.binary(bytes)).await?,
            }
        } else {
            match message {
                Message::Text(text) => self.channel.send_text(&text).await?,
                Message::Binary(bytes) => self.channel.send(self.binary(bytes)).await?,
            }
            self.look().await?;
        }
        self.wire.unacknowledged.store(self.outstanding, Ordering::Relaxed);
        self.link.handed(length);
        Ok(())
    }

    fn binary(&self, bytes: Bytes) -> BytesMut {
        if self.flow.framed {
            encoded(Frame::Binary(&bytes))
        } else {
            bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
        }
    }
}

/// A frame as the channel takes it, without another copy.
fn encoded(frame: Frame<'_>) -> BytesMut {
    BytesMut::from(Bytes::from(frame.encode()))
}

/// Hands messages to the application until the channel is closed: the last one is handed over when this returns.
///
/// # Errors
/// Where the remote breaks the protocol, or the connection is gone without a word.
pub(super) async fn read(
    channel: Arc<dyn DataChannel>,
    link: Arc<Link>,
    flow: Arc<Flow>,
    pulse: Arc<Pulse>,
    marks: mpsc::UnboundedSender<Mark>,
) -> Result<(), Error> {
    let mut reader = Reader { link, flow, marks, received: 0, acknowledged: 0 };
    let mut in_a_row = 0;
    loop {
        let event = match channel.poll().now_or_never() {
            Some(event) => event,
            None => {
                if in_a_row >= SUSPICIOUS {
                    in_a_row = 0;
                    pulse.poke();
                }
                reader.wait(&*channel).await
            }
        };
        match event {
            Some(DataChannelEvent::OnMessage(message)) => {
                in_a_row += 1;
                reader.handle(message).await?;
            }
            Some(DataChannelEvent::OnClose) => break,
            Some(_) => {}
            None => return Err(Error::new(ErrorCode::ConnectionLost, "the transport stopped")),
        }
    }
    // The facade looks for events before it looks for messages: what came just before the end is still inside.
    loop {
        let mut any = false;
        pulse.poke();
        pulse.settled().await;
        while let Some(Some(event)) = channel.poll().now_or_never() {
            if let DataChannelEvent::OnMessage(message) = event {
                any = true;
                reader.handle(message).await?;
            }
        }
        if !any {
            return Ok(());
        }
    }
}

struct Reader {
    link: Arc<Link>,
    flow: Arc<Flow>,
    marks: mpsc::UnboundedSender<Mark>,
    /// Messages handed to the application.
    received: u64,
    /// The same, as the remote knows it.
    acknowledged: u64,
}

impl Reader {
    /// The next event; when it takes long, the remote hears what has arrived.
    async fn wait(&mut self, channel: &dyn DataChannel) -> Option<DataChannelEvent> {
        if self.flow.framed && self.received > self.acknowledged {
            if let Ok(event) = tokio::time::timeout(ACK_AFTER, channel.poll()).await {
                return event;
            }
            self.acknowledge();
        }
        channel.poll().await
    }

    fn acknowledge(&mut self) {
        self.acknowledged = self.received;
        self.flow.reply(|replies| replies.ack = Some(self.received));
    }

    async fn handle(&mut self, message: RTCDataChannelMessage) -> Result<(), Error> {
        if message.is_string {
            let text = String::from_utf8(message.data.into())
                .map_err(|_| Error::new(ErrorCode::Protocol, "the remote sent a text that is not UTF-8"))?;
            self.deliver(Message::Text(text)).await;
        } else if self.flow.framed {
            let data = message.data.freeze();
            match Frame::decode(&data)? {
                Frame::Ack(count) => self.flow.handle_ack(count)?,
                // Where nobody is left to hear it, this task ends with the session.
                Frame::Fin => drop(self.marks.send(Mark::Fin)),
                Frame::FinAck => drop(self.marks.send(Mark::FinAck)),
                Frame::Binary(bytes) => self.deliver(Message::Binary(data.slice_ref(bytes))).await,
            }
        } else {
            self.deliver(Message::Binary(message.data.freeze())).await;
        }
        Ok(())
    }

    async fn deliver(&mut self, message: Message) {
        let room = self.link.deliver(message);
        self.received += 1;
        if !room {
            // SCTP's window closes behind us, so the remote waits, too.
            self.link.sink().room().await;
        }
        if self.flow.framed && self.received - self.acknowledged >= ACK_EVERY {
            self.acknowledge();
        }
    }
}

/// A task that ends with its owner.
pub(super) struct Owned<T>(tokio::task::JoinHandle<T>);

impl<T: Send + 'static> Owned<T> {
    pub(super) fn spawn(task: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(task))
    }

    /// Its result; `None` where it panicked.
    pub(super) async fn done(&mut self) -> Option<T> {
        (&mut self.0).await.ok()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_has_not_landed() {
        let flow = Flow::new(false);
        for length in [100, 200, 0, 300] {
            flow.launched(length);
        }
        assert_eq!(flow.landed(600), 4);
        assert_eq!(flow.landed(501), 4);
        assert_eq!(flow.landed(500), 3);
        assert_eq!(flow.landed(1), 1);
        assert_eq!(flow.landed(0), 0);
    }

    #[test]
    fn takes_only_acks_of_what_was_sent() {
        let flow = Flow::new(true);
        for _ in 0..3 {
            flow.launched(1);
        }
        assert!(flow.handle_ack(2).is_ok());
        assert!(flow.handle_ack(1).is_err(), "less than before");
        assert!(flow.handle_ack(4).is_err(), "more than there were");
        assert!(flow.handle_ack(3).is_ok());
    }

    #[test]
    fn waits_for_confirmation_of_many_messages() {
        let flow = Flow::new(true);
        for _ in 0..MAX_UNCONFIRMED {
            assert!(flow.has_credit());
            flow.launched(1);
        }
        assert!(!flow.has_credit());
        assert!(flow.handle_ack(ACK_EVERY).is_ok());
        assert!(flow.has_credit());
    }
}
