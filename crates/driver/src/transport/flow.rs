//! The two streams of an open channel: [`write`] empties the link's queue into SCTP, [`read`] hands messages to the
//! application. Neither waits for the other, and both wait for whoever is slow. What frames mean is decided in
//! [`linkup_core::wire`].
//!
//! Only the writer sends: what the reader has to say to the remote (ACK, FIN-ACK) it leaves in [`Flow`].

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures_util::FutureExt;
use linkup_core::wire::{Arrival, Budget, Incoming, Ledger, Message, Outgoing, Receipt, Transmit, What};
use linkup_proto::frame::{Frame, WINDOW};
use linkup_proto::{Error, ErrorCode};
use tokio::sync::{Notify, mpsc};
use tokio::time::sleep_until;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelMessage};

use super::build::SEND_LIMIT;
use crate::link::{Link, Wire};
use crate::options::Direction;
use crate::runtime::Pulse;

/// After so many messages in one go SCTP may have kept more back: its reader stops at 256 and goes on only when
/// another packet comes, which may be seconds later.
const SUSPICIOUS: u32 = 128;

/// Messages that SCTP may have without an acknowledgement, where the remote confirms none; see
/// [`linkup_proto::frame::MAX_UNCONFIRMED`].
const MAX_FLIGHT: usize = 8 * 1024;

/// How often a writer looks whether there is room under [`MAX_FLIGHT`].
const LOOK_FOR_ROOM: Duration = Duration::from_millis(1);

/// How often an idle writer looks whether the rest has been acknowledged.
const ACKNOWLEDGED: std::ops::RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_millis(200);

/// How far a message gets between two reports of its progress: at least so much, and a part of the whole.
const PROGRESS_BYTES: u32 = 256 * 1024;
const PROGRESS_PARTS: u32 = 100;

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
    /// What the remote confirms, where it does.
    ledger: Mutex<Ledger>,
    /// Messages that came while the application wanted none.
    held: Mutex<VecDeque<(Message, Receipt)>>,
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
    ack: Option<Frame<'static>>,
    fin_ack: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flow {
    pub(super) fn new(framed: bool, remote_window: u64) -> Self {
        Self {
            framed,
            flight: Mutex::default(),
            ledger: Mutex::new(Ledger::new(remote_window)),
            held: Mutex::default(),
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

    /// What came while the application wanted nothing.
    pub(super) fn take_held(&self) -> impl Iterator<Item = Message> + use<> {
        std::mem::take(&mut *lock(&self.held)).into_iter().map(|(message, _)| message)
    }

    fn reached(&self, what: &AtomicBool) {
        what.store(true, Ordering::Release);
        self.progress.notify_one();
    }

    fn launched(&self, length: usize) {
        let mut flight = lock(&self.flight);
        flight.lengths.push_back(length);
        flight.bytes += length;
    }

    /// Messages of which SCTP has no complete acknowledgement, `outstanding` bytes being open.
    fn landed(&self, outstanding: usize) -> usize {
        let mut flight = lock(&self.flight);
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
            let unconfirmed = lock(&self.ledger).unconfirmed();
            return usize::try_from(unconfirmed).unwrap_or(usize::MAX).saturating_add(link.waiting());
        }
        // A channel that is closed says nothing more: what was last known counts.
        let in_flight = match channel.outstanding_bytes().await {
            Ok(outstanding) => self.landed(outstanding),
            Err(_) => lock(&self.flight).lengths.len(),
        };
        in_flight + link.waiting()
    }

    fn reply(&self, change: impl FnOnce(&mut Replies)) {
        change(&mut lock(&self.replies));
        self.changed.notify_one();
    }

    /// Confirms the remote's FIN.
    pub(super) fn confirm_fin(&self) {
        self.reply(|replies| replies.fin_ack = true);
    }

    fn next_reply(&self) -> Option<Frame<'static>> {
        let mut replies = lock(&self.replies);
        if let Some(ack) = replies.ack.take() {
            return Some(ack);
        }
        std::mem::take(&mut replies.fin_ack).then_some(Frame::FinAck)
    }

    fn flight_is_full(&self) -> bool {
        !self.framed && lock(&self.flight).lengths.len() >= MAX_FLIGHT
    }

    fn handle_ack(&self, received: u64, handed: u64, link: &Link) -> Result<(), Error> {
        let mut ledger = lock(&self.ledger);
        ledger.handle_ack(received, handed)?;
        let arrived: Vec<_> = std::iter::from_fn(|| ledger.poll_arrived()).collect();
        drop(ledger);
        for token in arrived {
            link.sink().arrived(token);
        }
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
    let outgoing = Outgoing::new(flow.framed, link.max_frame());
    let mut writer = Writer { channel, link, flow, wire, outgoing, outstanding: 0, next_report: 0 };
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
    outgoing: Outgoing,
    /// Never less than what SCTP has: looking takes the connection's lock.
    outstanding: usize,
    /// How far a message in pieces gets before that is reported again.
    next_report: u32,
}

impl Writer {
    async fn run(&mut self) -> webrtc::error::Result<()> {
        let (mut closed, mut said) = (false, false);
        let mut pause = *ACKNOWLEDGED.start();
        loop {
            while let Some(frame) = self.flow.next_reply() {
                self.say(frame).await?;
                if frame == Frame::FinAck {
                    self.flow.reached(&self.flow.confirmed_fin);
                }
            }
            let messages_gone = self.outgoing.messages.is_empty();
            if messages_gone || self.outgoing.streams.is_empty() && self.link.has_streams() {
                closed = !self.link.collect(&mut self.outgoing);
            }
            if self.flow.flight_is_full() {
                tokio::time::sleep(LOOK_FOR_ROOM).await;
                self.look().await?;
                continue;
            }
            let next = self.outgoing.poll(&mut lock(&self.flow.ledger));
            if let Some(next) = next {
                self.transmit(next).await?;
                pause = *ACKNOWLEDGED.start();
                continue;
            }
            if closed && !said && self.outgoing.is_empty() {
                if self.flow.framed {
                    self.say(Frame::Fin).await?;
                }
                said = true;
                self.flow.reached(&self.flow.said_all);
            }
            tokio::select! {
                // Also the end that came while messages wait for the remote: unheard, it would be news for ever.
                () = self.link.changed(&self.outgoing, closed) => closed = !self.link.collect(&mut self.outgoing),
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
        let bytes = BytesMut::from(bytes::Bytes::from(frame.encode()));
        self.outstanding += bytes.len();
        self.channel.send(bytes).await
    }

    async fn transmit(&mut self, Transmit { body, what }: Transmit) -> webrtc::error::Result<()> {
        let length = body.len();
        if !self.flow.framed {
            self.flow.launched(length);
        }
        // `try_send` throws away what it does not take: `outstanding` must never be less than what SCTP counts.
        if self.outstanding + length <= SEND_LIMIT {
            self.outstanding += length;
            match body {
                Message::Text(text) => self.channel.try_send_text(&text).await?,
                Message::Binary(bytes) => self.channel.try_send(BytesMut::from(bytes)).await?,
            }
        } else {
            match body {
                Message::Text(text) => self.channel.send_text(&text).await?,
                Message::Binary(bytes) => self.channel.send(BytesMut::from(bytes)).await?,
            }
            self.look().await?;
        }
        self.wire.unacknowledged.store(self.outstanding, Ordering::Relaxed);
        match what {
            What::Message { payload, complete, progress } => {
                self.link.handed(payload, complete);
                if let Some((done, total)) = progress {
                    report(&self.link, Direction::Sending, &mut self.next_report, done, total);
                }
            }
            What::Stream => self.link.handed_stream(length),
            What::Control => {}
        }
        Ok(())
    }
}

/// Reports the progress of a message in pieces: the first one, now and then, and the last one.
fn report(link: &Link, direction: Direction, next: &mut u32, done: u32, total: u32) {
    if done < *next && done < total {
        return;
    }
    *next = if done == total { 0 } else { done.saturating_add(PROGRESS_BYTES.max(total / PROGRESS_PARTS)) };
    link.sink().progress(link.connection(), direction, done, total);
}

/// Hands messages to the application until the channel is closed: the last one is handed over when this returns, or
/// waits in [`Flow::take_held`].
///
/// # Errors
/// Where the remote breaks the protocol, or the connection is gone without a word.
pub(super) async fn read(
    channel: Arc<dyn DataChannel>,
    link: Arc<Link>,
    flow: Arc<Flow>,
    pulse: Arc<Pulse>,
    marks: mpsc::UnboundedSender<Mark>,
    budget: Budget,
    message_bytes: usize,
) -> Result<(), Error> {
    let incoming = Incoming::new(WINDOW, message_bytes, budget);
    let mut reader = Reader { link, flow, marks, incoming, next_report: 0, holds: false, ending: false };
    let mut in_a_row = 0;
    loop {
        let event = match channel.poll().now_or_never() {
            Some(event) => event,
            None => {
                if in_a_row >= SUSPICIOUS {
                    in_a_row = 0;
                    pulse.poke();
                }
                reader.wait(&*channel).await?
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
    incoming: Incoming,
    next_report: u32,
    /// Messages wait in [`Flow::held`].
    holds: bool,
    /// The remote has sent its last message, and the application has not got all of them.
    ending: bool,
}

impl Reader {
    /// The next event; meanwhile what is due is done.
    async fn wait(&mut self, channel: &dyn DataChannel) -> Result<Option<DataChannelEvent>, Error> {
        loop {
            let due = self.incoming.poll_timeout().filter(|_| self.flow.framed);
            tokio::select! {
                event = channel.poll() => return Ok(event),
                () = self.link.resumed.notified(), if self.holds => self.release().await,
                () = until(due) => {
                    let now = Instant::now();
                    self.incoming.handle_timeout(now)?;
                    self.acknowledge(now);
                }
            }
        }
    }

    fn acknowledge(&mut self, now: Instant) {
        if let Some(ack) = self.incoming.poll_ack(now) {
            self.flow.reply(|replies| replies.ack = Some(ack));
        }
    }

    async fn handle(&mut self, message: RTCDataChannelMessage) -> Result<(), Error> {
        if !self.flow.framed {
            let message = if message.is_string { text(message)? } else { Message::Binary(message.data.freeze()) };
            self.deliver(message).await;
            return Ok(());
        }
        let now = Instant::now();
        let arrival = if message.is_string {
            match text(message)? {
                Message::Text(text) => self.incoming.handle_text(now, text)?,
                Message::Binary(_) => return Ok(()),
            }
        } else {
            self.incoming.handle_frame(now, message.data.freeze())?
        };
        match arrival {
            Arrival::Message(message, receipt) => {
                if let Some(total) = receipt.assembled() {
                    report(&self.link, Direction::Receiving, &mut self.next_report, total, total);
                }
                self.take(now, message, receipt).await;
            }
            Arrival::Bundle(messages) => {
                for (message, receipt) in messages {
                    self.take(now, message, receipt).await;
                }
            }
            Arrival::Part(done, total) => {
                report(&self.link, Direction::Receiving, &mut self.next_report, done, total);
            }
            Arrival::Stream(frame) => {
                if !self.link.deliver_stream(frame) {
                    self.wait_for_room().await;
                }
            }
            Arrival::Ack { received, handed } => self.flow.handle_ack(received, handed, &self.link)?,
            Arrival::Ping => {}
            Arrival::Fin => {
                self.ending = true;
                self.finish();
            }
            // Where nobody is left to hear it, this task ends with the session.
            Arrival::FinAck => drop(self.marks.send(Mark::FinAck)),
        }
        self.acknowledge(now);
        Ok(())
    }

    /// Passes the remote's end on, once everything before it is handed over.
    fn finish(&mut self) {
        if self.ending && !self.holds {
            self.ending = false;
            let ack = self.incoming.ack();
            self.flow.reply(|replies| replies.ack = Some(ack));
            let _ = self.marks.send(Mark::Fin);
        }
    }

    /// Hands over what waited for the application.
    async fn release(&mut self) {
        while !self.link.is_paused() {
            let Some((message, receipt)) = lock(&self.flow.held).pop_front() else {
                self.holds = false;
                break;
            };
            let now = Instant::now();
            self.hand(now, message, &receipt).await;
            self.acknowledge(now);
        }
        self.finish();
    }

    /// Hands a message over, or keeps it while the application wants none.
    async fn take(&mut self, now: Instant, message: Message, receipt: Receipt) {
        if self.holds || self.link.is_paused() {
            self.holds = true;
            lock(&self.flow.held).push_back((message, receipt));
            self.release().await;
        } else {
            self.hand(now, message, &receipt).await;
        }
    }

    async fn hand(&mut self, now: Instant, message: Message, receipt: &Receipt) {
        let room = self.link.deliver(message);
        self.incoming.handed(now, receipt);
        if !room {
            self.wait_for_room().await;
        }
    }

    async fn deliver(&mut self, message: Message) {
        if !self.link.deliver(message) {
            self.wait_for_room().await;
        }
    }

    async fn wait_for_room(&mut self) {
        if self.flow.framed {
            // Later it may take long.
            let ack = self.incoming.ack();
            self.flow.reply(|replies| replies.ack = Some(ack));
        }
        // SCTP's window closes behind us, so the remote waits, too.
        self.link.sink().room().await;
    }
}

fn text(message: RTCDataChannelMessage) -> Result<Message, Error> {
    String::from_utf8(message.data.into())
        .map(Message::Text)
        .map_err(|_| Error::new(ErrorCode::Protocol, "the remote sent a text that is not UTF-8"))
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
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

    /// Ends it, and waits until it does nothing more.
    pub(super) async fn stop(mut self) {
        if !self.0.is_finished() {
            self.0.abort();
            let _ = (&mut self.0).await;
        }
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
        let flow = Flow::new(false, 0);
        for length in [100, 200, 0, 300] {
            flow.launched(length);
        }
        assert_eq!(flow.landed(600), 4);
        assert_eq!(flow.landed(501), 4);
        assert_eq!(flow.landed(500), 3);
        assert_eq!(flow.landed(1), 1);
        assert_eq!(flow.landed(0), 0);
    }
}
