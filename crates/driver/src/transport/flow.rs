//! The two streams of an open channel: [`write`] empties the link's queue into SCTP, [`read`] hands messages to the
//! application. Neither waits for the other, and both wait for whoever is slow.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use linkup_proto::{Error, ErrorCode};
use tokio::sync::Notify;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelMessage};

use super::build::SEND_LIMIT;
use crate::link::{Link, Wire};
use crate::options::Message;
use crate::runtime::Pulse;

/// After so many messages in one go SCTP may have kept more back: its reader stops at 256 and goes on only when
/// another packet comes, which may be seconds later.
const SUSPICIOUS: u32 = 128;

/// How often an idle writer looks whether the rest has been acknowledged.
const ACKNOWLEDGED: std::ops::RangeInclusive<Duration> = Duration::from_millis(5)..=Duration::from_millis(200);

/// What is under way in both directions, for whoever closes the channel.
#[derive(Default)]
pub(super) struct Flow {
    /// Sizes of the messages that SCTP has, oldest first.
    flight: Mutex<Flight>,
    written: AtomicU64,
    received: AtomicU64,
    /// `received` to wait for, plus one; zero: none.
    awaited: AtomicU64,
    pub(super) reached: Notify,
}

#[derive(Default)]
struct Flight {
    lengths: VecDeque<usize>,
    bytes: usize,
}

impl Flow {
    /// Messages handed to SCTP.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }

    /// Makes `reached` tell when `count` messages have been handed to the application.
    pub(super) fn expect(&self, count: u64) {
        self.awaited.store(count.saturating_add(1), Ordering::SeqCst);
        self.check();
    }

    fn check(&self) {
        let awaited = self.awaited.load(Ordering::SeqCst);
        if awaited != 0 && self.received.load(Ordering::SeqCst) >= awaited - 1 {
            self.reached.notify_one();
        }
    }

    fn launched(&self, length: usize) {
        let mut flight = self.flight.lock().unwrap_or_else(PoisonError::into_inner);
        flight.lengths.push_back(length);
        flight.bytes += length;
        self.written.fetch_add(1, Ordering::SeqCst);
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

    /// Messages that the remote's SCTP may not have, those included that never got to ours.
    pub(super) async fn undelivered(&self, channel: &dyn DataChannel, link: &Link) -> usize {
        // A channel that is closed says nothing more: what was last known counts.
        let in_flight = match channel.outstanding_bytes().await {
            Ok(outstanding) => self.landed(outstanding),
            Err(_) => self.flight.lock().unwrap_or_else(PoisonError::into_inner).lengths.len(),
        };
        in_flight + link.waiting()
    }
}

/// Sends until the link's queue is closed and empty.
pub(super) async fn write(channel: Arc<dyn DataChannel>, link: Arc<Link>, flow: Arc<Flow>, wire: Arc<Wire>) {
    let mut batch = VecDeque::new();
    let mut pause = *ACKNOWLEDGED.start();
    // Never less than what SCTP has: looking takes the connection's lock.
    let mut outstanding = 0;
    loop {
        let taken = if outstanding == 0 {
            link.take(&mut batch).await
        } else if let Ok(taken) = tokio::time::timeout(pause, link.take(&mut batch)).await {
            taken
        } else {
            let Ok(now) = channel.outstanding_bytes().await else { return };
            outstanding = now;
            wire.unacknowledged.store(now, Ordering::Relaxed);
            flow.landed(now);
            pause = (pause * 2).min(*ACKNOWLEDGED.end());
            continue;
        };
        if !taken {
            return;
        }
        pause = *ACKNOWLEDGED.start();
        for message in batch.drain(..) {
            let length = message.len();
            let sent = if outstanding + length <= SEND_LIMIT {
                outstanding += length;
                send(&*channel, message, false).await
            } else {
                let sent = send(&*channel, message, true).await;
                outstanding = channel.outstanding_bytes().await.unwrap_or(0);
                flow.landed(outstanding);
                sent
            };
            if let Err(error) = sent {
                // The reader hears the same from the channel, and says so.
                tracing::debug!(%error, "a message cannot be sent");
                return;
            }
            flow.launched(length);
            wire.unacknowledged.store(outstanding, Ordering::Relaxed);
            link.handed(length);
        }
        // A burst of small messages must not keep its memory for good.
        if batch.capacity() > 1024 {
            batch = VecDeque::new();
        }
    }
}

/// Sends one message, and waits for room only where that is wanted.
async fn send(channel: &dyn DataChannel, message: Message, wait: bool) -> webrtc::error::Result<()> {
    match message {
        Message::Text(text) if wait => channel.send_text(&text).await,
        Message::Text(text) => channel.try_send_text(&text).await,
        Message::Binary(bytes) => {
            let bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            if wait { channel.send(bytes).await } else { channel.try_send(bytes).await }
        }
    }
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
) -> Result<(), Error> {
    let mut in_a_row = 0;
    loop {
        let event = match channel.poll().now_or_never() {
            Some(event) => event,
            None => {
                if in_a_row >= SUSPICIOUS {
                    in_a_row = 0;
                    pulse.poke();
                }
                channel.poll().await
            }
        };
        match event {
            Some(DataChannelEvent::OnMessage(message)) => {
                in_a_row += 1;
                deliver(&link, &flow, message).await?;
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
                deliver(&link, &flow, message).await?;
            }
        }
        if !any {
            return Ok(());
        }
    }
}

async fn deliver(link: &Link, flow: &Flow, message: RTCDataChannelMessage) -> Result<(), Error> {
    let message = if message.is_string {
        let text = String::from_utf8(message.data.into())
            .map_err(|_| Error::new(ErrorCode::Protocol, "the remote sent a text that is not UTF-8"))?;
        Message::Text(text)
    } else {
        Message::Binary(message.data.freeze())
    };
    let room = link.deliver(message);
    flow.received.fetch_add(1, Ordering::SeqCst);
    flow.check();
    if !room {
        // SCTP's window closes behind us, so the remote waits, too.
        link.sink().room().await;
    }
    Ok(())
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
        let flow = Flow::default();
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
