//! An open connection until its end, and both ways to end it in order.
//!
//! Between two linkup peers each side sends a FIN after its last message, and confirms the other's FIN when it has
//! handed everything before it to its application ([`linkup_proto::frame`]). So both directions are delivered, also
//! where both sides close at once, and the answer is the application's, not SCTP's. Whoever hears a FIN sends what it
//! has taken and its own FIN.
//!
//! A plain simple-peer client knows no FIN: there the channel is closed when the remote's SCTP has acknowledged
//! everything, and the client then closes the connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use linkup_proto::{Error, ErrorCode};
use rtc::data_channel::RTCDataChannelId;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::flow::{Flow, Mark};
use super::negotiate::Channels;
use super::pc::{Pc, Signal};
use super::{End, Order};
use crate::link::{Link, Wire};
use crate::options::Options;

/// How long a plain client may take to close its end once it has everything.
const PLAIN_CLOSE: Duration = Duration::from_secs(1);

/// How far our own end is.
enum Ours {
    /// Messages may still come, or are still being handed to SCTP.
    Sending,
    /// Said; a linkup peer will confirm it.
    Said,
    /// Said to a plain client, which may take so long to close its end. None: it has not acknowledged everything.
    Leaving(Option<Instant>),
    Confirmed,
}

struct Session<'a> {
    options: &'a Options,
    pc: &'a mut Pc,
    /// What we write to, and what we read from: the remote may speak over a channel of its own.
    channel: RTCDataChannelId,
    reading: RTCDataChannelId,
    link: Arc<Link>,
    flow: Flow,
    ours: Ours,
    /// The other side has sent its last message, and it was handed over.
    theirs: bool,
    /// The channel that we read from is closed.
    gone: bool,
    /// The machine asked for the end, and waits to hear how it went.
    asked: bool,
    deadline: Option<Instant>,
}

/// Carries messages until the connection ends.
pub(super) async fn run(
    options: &Options,
    pc: &mut Pc,
    channels: Channels,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    link: Arc<Link>,
    wire: &Arc<Wire>,
) -> End {
    let (ask, questions) = mpsc::unbounded_channel();
    let _ = wire.stats.set(ask);
    let flow = Flow::new(Arc::clone(&link), Arc::clone(wire), options.limits.message_bytes, options.assembly.clone());
    let mut session = Session {
        options,
        pc,
        channel: channels.first,
        reading: channels.first,
        link,
        flow,
        ours: Ours::Sending,
        theirs: false,
        gone: false,
        asked: false,
        deadline: None,
    };
    let end = session.run(channels.second, orders, questions).await;
    session.link.close();
    if !matches!(end, End::Aborted) {
        for message in session.flow.take_held() {
            session.link.deliver(message);
        }
    }
    end
}

impl Session<'_> {
    async fn run(
        &mut self,
        second: Option<RTCDataChannelId>,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        mut questions: mpsc::UnboundedReceiver<oneshot::Sender<Value>>,
    ) -> End {
        if let Some(channel) = second {
            self.take_second(channel);
        }
        loop {
            if let Err(end) = self.turn() {
                return end;
            }
            let alarm = [self.deadline, self.flow.poll_timeout(), self.leaves_at()];
            self.pc.set_alarm(alarm.into_iter().flatten().min());
            let (link, full, holds) = (&self.link, self.flow.is_full(), self.flow.holds());
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Close) => {
                        self.asked = true;
                        self.begin_close();
                    }
                    Some(Order::AddCandidate(candidate)) => self.pc.add_candidate(candidate),
                    Some(Order::SetAnswer { .. } | Order::Start(_)) => {}
                    None => return End::Aborted,
                },
                signal = self.pc.next() => match signal {
                    Signal::Opened(channel) => self.take_second(channel),
                    Signal::Closed(channel) => self.gone |= channel == self.reading,
                    Signal::Failed => return lost("the remote has not been heard for too long"),
                    Signal::Broken(why) => return lost(&why),
                    _ => {}
                },
                () = self.flow.changed() => {}
                () = async { link.sink().room().await }, if full => if let Err(end) = self.release() {
                    return end;
                },
                () = link.resumed.notified(), if holds && !full => if let Err(end) = self.release() {
                    return end;
                },
                Some(question) = questions.recv() => drop(question.send(self.pc.stats())),
            }
        }
    }

    /// Does what can be done now: reads, sends, and looks whether this is the end.
    fn turn(&mut self) -> Result<(), End> {
        let now = Instant::now();
        while !self.flow.is_full() {
            let Some((channel, message)) = self.pc.read() else { break };
            if channel == self.reading {
                let mark = self.flow.receive(now, message).map_err(End::Failed)?;
                self.handle_mark(mark)?;
            }
        }
        self.flow.handle_timeout(now).map_err(End::Failed)?;
        self.flow.send(self.pc, self.channel).map_err(End::Failed)?;
        self.go_on(now);
        if matches!(self.ours, Ours::Confirmed) && (self.flow.has_confirmed_fin() || !self.flow.is_framed()) {
            return Err(if self.asked { End::Finished(None) } else { End::Closed });
        }
        // Closing the channel of a plain client is the end of what we read, too.
        if self.gone && !self.flow.is_full() && !(self.asked && matches!(self.ours, Ours::Leaving(_))) {
            return Err(self.remote_is_gone());
        }
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(self.too_late());
        }
        Ok(())
    }

    /// The remote has opened a channel: a called peer that cannot speak over ours does (docs/protocol.md). Otherwise one
    /// channel is a connection, and what else a remote opens means nothing.
    fn take_second(&mut self, channel: RTCDataChannelId) {
        if channel == self.channel {
            return;
        }
        if self.flow.is_framed() && self.reading == self.channel {
            self.reading = channel;
        } else {
            self.pc.close_channel(channel);
        }
    }

    fn begin_close(&mut self) {
        self.link.close();
        self.deadline.get_or_insert_with(|| Instant::now() + self.options.timeouts.close);
    }

    /// There is room for messages again, or the application wants them again.
    fn release(&mut self) -> Result<(), End> {
        let mark = self.flow.release();
        self.handle_mark(mark)
    }

    fn handle_mark(&mut self, mark: Option<Mark>) -> Result<(), End> {
        match (mark, &self.ours) {
            (None, _) => {}
            (Some(Mark::Fin), _) if !self.theirs => {
                self.theirs = true;
                self.flow.confirm_fin();
                self.begin_close();
            }
            // The answer may be faster than the word that the question is out.
            (Some(Mark::FinAck), Ours::Said | Ours::Sending) if self.deadline.is_some() => self.ours = Ours::Confirmed,
            _ => {
                let message = "the remote ended the connection twice, or confirmed no end";
                return Err(End::Failed(Error::new(ErrorCode::Protocol, message)));
            }
        }
        Ok(())
    }

    /// Goes on with our own end.
    fn go_on(&mut self, now: Instant) {
        if matches!(self.ours, Ours::Sending) && self.flow.has_said_all() {
            self.ours = if self.flow.is_framed() { Ours::Said } else { Ours::Leaving(None) };
        }
        if let Ours::Leaving(until) = self.ours {
            match until {
                None if self.pc.outstanding(self.channel).is_none_or(|bytes| bytes == 0) => {
                    self.pc.close_channel(self.channel);
                    self.ours = Ours::Leaving(Some(now + PLAIN_CLOSE));
                }
                Some(until) if until <= now || !self.pc.is_connected() => self.ours = Ours::Confirmed,
                _ => {}
            }
        }
    }

    fn leaves_at(&self) -> Option<Instant> {
        match self.ours {
            Ours::Leaving(until) => until,
            _ => None,
        }
    }

    /// The channel was closed from outside.
    fn remote_is_gone(&mut self) -> End {
        if !self.asked {
            return if self.flow.is_framed() && !self.theirs { End::Cut } else { End::Closed };
        }
        // With its FIN behind it, a linkup peer goes only when it has ours.
        if self.theirs {
            return End::Finished(None);
        }
        match self.flow.undelivered(self.pc, self.channel) {
            0 => End::Finished(None),
            lost => {
                let message = format!("the remote was gone before it had the last {lost} messages");
                End::Finished(Some(Error::new(ErrorCode::ConnectionLost, message)))
            }
        }
    }

    /// The time for closing is over.
    fn too_late(&mut self) -> End {
        if !self.asked {
            return End::Closed;
        }
        let count = self.flow.undelivered(self.pc, self.channel);
        // It has everything, and we have: only its last word was lost.
        if matches!(self.ours, Ours::Confirmed) || self.theirs && count == 0 && self.flow.has_said_all() {
            return End::Finished(None);
        }
        let within = self.options.timeouts.close;
        let message = format!("the remote did not confirm the close within {within:?}: {count} messages may be lost");
        let error = Error::new(ErrorCode::CloseTimeout, message).with_details(json!({"unconfirmed": count}));
        End::Finished(Some(error))
    }
}

fn lost(why: &str) -> End {
    End::Failed(Error::new(ErrorCode::ConnectionLost, format!("the connection is lost: {why}")))
}
