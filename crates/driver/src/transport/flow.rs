//! The two streams of an open channel: [`Flow::send`] empties the link's queue into SCTP, [`Flow::receive`] hands messages
//! to the application. Neither waits: where one cannot go on, the session calls it again when something has changed. What
//! frames mean is decided in [`linkup_core::wire`].

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Instant;

use linkup_core::wire::{Arrival, Budget, Incoming, Ledger, Message, Outgoing, Receipt, Transmit, What};
use linkup_proto::frame::{Frame, WINDOW};
use linkup_proto::{Error, ErrorCode};
use rtc::data_channel::{RTCDataChannelId, RTCDataChannelMessage};
use rtc::shared::error::Error as RtcError;

use super::carrier::Carrier;
use crate::link::{Link, Wire};
use crate::options::Direction;

/// Messages that SCTP may have without an acknowledgement, where the remote confirms none; see
/// [`linkup_proto::frame::MAX_UNCONFIRMED`].
const MAX_FLIGHT: usize = 8 * 1024;

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
    link: Arc<Link>,
    wire: Arc<Wire>,
    /// Whether both sides are linkup peers on an ordered, reliable channel, so that there are binary frames.
    framed: bool,
    outgoing: Outgoing,
    /// What the remote confirms, where it does.
    ledger: Ledger,
    /// Sizes of the messages that SCTP has, oldest first; kept only where the remote confirms none.
    flight: Flight,
    incoming: Incoming,
    /// Messages that came while the application wanted none.
    held: VecDeque<(Message, Receipt)>,
    /// To be sent before anything else.
    ack: Option<Frame<'static>>,
    owes_fin_ack: bool,
    /// The link's queue has ended, and is empty.
    closed: bool,
    said_all: bool,
    confirmed_fin: bool,
    /// SCTP has as much as it gets.
    limited: bool,
    /// SCTP waits for an acknowledgement.
    asking: bool,
    /// The application has no room.
    full: bool,
    /// The remote has sent its last message, and the application has not got all of them.
    ending: bool,
    /// How far a message in pieces gets before that is reported again.
    next_sent: u32,
    next_received: u32,
}

#[derive(Default)]
struct Flight {
    lengths: VecDeque<usize>,
    bytes: usize,
}

impl Flight {
    fn launched(&mut self, length: usize) {
        self.lengths.push_back(length);
        self.bytes += length;
    }

    /// Messages of which SCTP has no complete acknowledgement, `outstanding` bytes being open.
    fn landed(&mut self, outstanding: usize) -> usize {
        while let Some(first) = self.lengths.front().copied() {
            if self.bytes - first < outstanding || outstanding > 0 && self.lengths.len() == 1 {
                break;
            }
            self.lengths.pop_front();
            self.bytes -= first;
        }
        self.lengths.len()
    }
}

impl Flow {
    pub(super) fn new(link: Arc<Link>, wire: Arc<Wire>, message_bytes: usize, budget: Budget) -> Self {
        let framed = link.is_framed();
        Self {
            framed,
            outgoing: match Outgoing::new(framed, link.max_frame()) {
                outgoing if link.can_resume() => outgoing.keeping(),
                outgoing => outgoing,
            },
            ledger: Ledger::new(link.remote_window()),
            flight: Flight::default(),
            incoming: Incoming::new(WINDOW, message_bytes, budget),
            held: VecDeque::new(),
            ack: None,
            owes_fin_ack: false,
            closed: false,
            said_all: false,
            confirmed_fin: false,
            limited: false,
            asking: false,
            full: false,
            ending: false,
            next_sent: 0,
            next_received: 0,
            link,
            wire,
        }
    }

    /// Goes on over another transport; `fin`: that of ours was not confirmed.
    pub(super) fn resume(&mut self, now: Instant, fin: bool) {
        self.ack = Some(self.incoming.resume(now));
        self.outgoing.resume();
        self.limited = false;
        self.said_all &= !fin;
        self.owes_fin_ack = false;
    }

    /// Somebody wants to know whether the remote is there.
    pub(super) fn ask(&mut self) {
        self.outgoing.ask();
    }

    pub(super) fn is_framed(&self) -> bool {
        self.framed
    }

    /// The queue is closed and empty, and the FIN, where there is one, was handed to SCTP.
    pub(super) fn has_said_all(&self) -> bool {
        self.said_all
    }

    /// The FIN-ACK was handed to SCTP.
    pub(super) fn has_confirmed_fin(&self) -> bool {
        self.confirmed_fin
    }

    /// Whether the remote's SCTP has to acknowledge something.
    pub(super) fn is_asking(&self) -> bool {
        self.asking
    }

    /// Whether nothing more is read before the application has room.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Whether messages wait here until the application wants them.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// What came while the application wanted nothing.
    pub(super) fn take_held(&mut self) -> impl Iterator<Item = Message> + use<> {
        std::mem::take(&mut self.held).into_iter().map(|(message, _)| message)
    }

    /// When something is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.incoming.poll_timeout().filter(|_| self.framed)
    }

    /// # Errors
    /// The remote does not go on with its message.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Result<(), Error> {
        if self.poll_timeout().is_some_and(|due| due <= now) {
            self.incoming.handle_timeout(now)?;
            self.acknowledge(now);
        }
        Ok(())
    }

    /// Waits until the application has something to send that [`Flow::send`] has not seen, and SCTP has room for it.
    pub(super) async fn changed(&self) {
        poll_fn(
            |cx| if self.limited { Poll::Pending } else { self.link.poll_changed(cx, &self.outgoing, self.closed) },
        )
        .await;
    }

    /// Messages that the remote may not have, those included that never got to SCTP.
    pub(super) fn undelivered(&mut self, pc: &mut Carrier, channel: RTCDataChannelId) -> usize {
        if self.framed {
            return self.unconfirmed();
        }
        // A channel that is closed says nothing more: what was last known counts.
        let in_flight = match pc.outstanding(channel) {
            Some(outstanding) => self.flight.landed(outstanding),
            None => self.flight.lengths.len(),
        };
        in_flight + self.link.waiting()
    }

    /// The same between two linkup peers.
    pub(super) fn unconfirmed(&self) -> usize {
        usize::try_from(self.ledger.unconfirmed()).unwrap_or(usize::MAX).saturating_add(self.link.waiting())
    }

    /// Confirms the remote's FIN.
    pub(super) fn confirm_fin(&mut self) {
        self.owes_fin_ack = true;
    }

    /// Hands to SCTP what may go.
    ///
    /// # Errors
    /// Where the channel takes nothing more for another reason than that it is closed, which the session hears, too.
    pub(super) fn send(&mut self, pc: &mut Carrier, channel: RTCDataChannelId) -> Result<(), Error> {
        match self.fill(pc, channel) {
            Ok(()) | Err(RtcError::ErrDataChannelClosed) => Ok(()),
            Err(error) => Err(Error::new(ErrorCode::ConnectionLost, format!("nothing more can be sent: {error}"))),
        }
    }

    fn fill(&mut self, pc: &mut Carrier, channel: RTCDataChannelId) -> Result<(), RtcError> {
        let mut outstanding = pc.outstanding(channel).ok_or(RtcError::ErrDataChannelClosed)?;
        if !self.framed {
            self.flight.landed(outstanding);
        }
        let sent = self.fill_up(pc, channel, &mut outstanding);
        self.wire.unacknowledged.store(outstanding, Ordering::Relaxed);
        self.asking = outstanding > 0;
        sent
    }

    fn fill_up(
        &mut self,
        pc: &mut Carrier,
        channel: RTCDataChannelId,
        outstanding: &mut usize,
    ) -> Result<(), RtcError> {
        let mut say = |frame: Frame<'_>, outstanding: &mut usize| {
            let bytes = frame.encode();
            *outstanding += bytes.len();
            pc.send(channel, Message::Binary(bytes.into()))
        };
        if let Some(ack) = self.ack.take() {
            say(ack, outstanding)?;
        }
        if std::mem::take(&mut self.owes_fin_ack) {
            say(Frame::FinAck, outstanding)?;
            self.confirmed_fin = true;
        }
        loop {
            self.limited = *outstanding >= pc.limit() || !self.framed && self.flight.lengths.len() >= MAX_FLIGHT;
            if self.limited {
                return Ok(());
            }
            // The one must not wait until there is nothing more of the other.
            if self.outgoing.streams.is_empty() && self.link.has_streams() {
                self.collect();
            }
            let Some(Transmit { body, what }) = self.outgoing.poll(&mut self.ledger) else {
                if self.collect() {
                    continue;
                }
                break;
            };
            let length = body.len();
            if !self.framed {
                self.flight.launched(length);
            }
            *outstanding += length;
            pc.send(channel, body)?;
            match what {
                What::Message { payload, complete, progress } => {
                    self.link.handed(payload, complete);
                    if let Some((done, total)) = progress {
                        report(&self.link, Direction::Sending, &mut self.next_sent, done, total);
                    }
                }
                What::Stream => self.link.handed_stream(length),
                What::Again | What::Control => {}
            }
        }
        if self.closed && !self.said_all && self.outgoing.is_empty() {
            if self.framed {
                let bytes = Frame::Fin.encode();
                *outstanding += bytes.len();
                pc.send(channel, Message::Binary(bytes.into()))?;
            }
            self.said_all = true;
        }
        Ok(())
    }

    /// Takes what the application has sent; whether that is something to send. Hears of the end, too, also while messages
    /// wait for the remote: unheard, it would be news for ever.
    fn collect(&mut self) -> bool {
        let (messages, streams) = (self.outgoing.messages.is_empty(), self.outgoing.streams.is_empty());
        self.closed = !self.link.collect(&mut self.outgoing);
        messages && !self.outgoing.messages.is_empty() || streams && !self.outgoing.streams.is_empty()
    }

    fn acknowledge(&mut self, now: Instant) {
        if let Some(ack) = self.incoming.poll_ack(now) {
            self.ack = Some(ack);
        }
    }

    /// Takes a message from SCTP.
    ///
    /// # Errors
    /// Where the remote breaks the protocol.
    pub(super) fn receive(&mut self, now: Instant, message: RTCDataChannelMessage) -> Result<Option<Mark>, Error> {
        let mark = self.handle(now, message);
        self.acknowledge(now);
        mark
    }

    fn handle(&mut self, now: Instant, message: RTCDataChannelMessage) -> Result<Option<Mark>, Error> {
        if !self.framed {
            let message =
                if message.is_string { Message::Text(text(message)?) } else { Message::Binary(message.data.freeze()) };
            self.full |= !self.link.deliver(message);
            return Ok(None);
        }
        let arrival = if message.is_string {
            self.incoming.handle_text(now, text(message)?)?
        } else {
            self.incoming.handle_frame(now, message.data.freeze())?
        };
        match arrival {
            Arrival::Message(message, receipt) => {
                if let Some(total) = receipt.assembled() {
                    report(&self.link, Direction::Receiving, &mut self.next_received, total, total);
                }
                self.take(now, message, receipt);
            }
            Arrival::Bundle(messages) => {
                for (message, receipt) in messages {
                    self.take(now, message, receipt);
                }
            }
            Arrival::Part(done, total) => {
                report(&self.link, Direction::Receiving, &mut self.next_received, done, total);
            }
            Arrival::Stream(frame) => self.full |= !self.link.deliver_stream(frame),
            Arrival::Ack { received, handed } => self.confirmed(received, handed)?,
            Arrival::Ping => {}
            Arrival::Fin => {
                self.ending = true;
                return Ok(self.finish());
            }
            Arrival::FinAck => return Ok(Some(Mark::FinAck)),
        }
        Ok(None)
    }

    fn confirmed(&mut self, received: u64, handed: u64) -> Result<(), Error> {
        self.ledger.handle_ack(received, handed)?;
        self.outgoing.confirm(received);
        while let Some(token) = self.ledger.poll_arrived() {
            self.link.sink().arrived(token);
        }
        Ok(())
    }

    /// The remote's end, once everything before it is handed over.
    fn finish(&mut self) -> Option<Mark> {
        if !self.ending || self.holds() {
            return None;
        }
        self.ending = false;
        self.ack = Some(self.incoming.ack());
        Some(Mark::Fin)
    }

    /// The application has room again, or wants messages again: hands over what waited for it.
    pub(super) fn release(&mut self) -> Option<Mark> {
        self.full = false;
        let now = Instant::now();
        while !self.full && !self.link.is_paused() {
            let Some((message, receipt)) = self.held.pop_front() else { break };
            self.hand(now, message, &receipt);
        }
        self.acknowledge(now);
        self.finish()
    }

    /// Hands a message over, or keeps it while the application wants none or has no room. The window bounds what is kept.
    fn take(&mut self, now: Instant, message: Message, receipt: Receipt) {
        if self.full || self.holds() || self.link.is_paused() {
            self.held.push_back((message, receipt));
        } else {
            self.hand(now, message, &receipt);
        }
    }

    fn hand(&mut self, now: Instant, message: Message, receipt: &Receipt) {
        let room = self.link.deliver(message);
        self.incoming.handed(now, receipt);
        if !room {
            self.full = true;
            // Later it may take long.
            self.ack = Some(self.incoming.ack());
        }
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

fn text(message: RTCDataChannelMessage) -> Result<String, Error> {
    String::from_utf8(message.data.into())
        .map_err(|_| Error::new(ErrorCode::Protocol, "the remote sent a text that is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_has_not_landed() {
        let mut flight = Flight::default();
        for length in [100, 200, 0, 300] {
            flight.launched(length);
        }
        assert_eq!(flight.landed(600), 4);
        assert_eq!(flight.landed(501), 4);
        assert_eq!(flight.landed(500), 3);
        assert_eq!(flight.landed(1), 1);
        assert_eq!(flight.landed(0), 0);
    }
}
