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

use linkup_core::TransportInput;
use linkup_proto::{Error, ErrorCode};
use rtc::data_channel::RTCDataChannelId;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::carrier::Carrier;
use super::flow::{Flow, Mark};
use super::negotiate::Channels;
use super::pc::Signal;
use super::watch::News;
use super::{End, Order, Reports};
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

/// What outlives a transport: where both directions are, and how far the end is.
pub(crate) struct Talk {
    flow: Flow,
    ours: Ours,
    /// The other side has sent its last message, and it was handed over.
    theirs: bool,
    /// The machine asked for the end, and waits to hear how it went.
    asked: bool,
    deadline: Option<Instant>,
    /// It goes on over another transport: what the other side said last it may say again.
    resumed: bool,
    /// The machine asked for the end before this transport could hear it.
    close: bool,
}

impl Talk {
    fn new(flow: Flow) -> Self {
        Self { flow, ours: Ours::Sending, theirs: false, asked: false, deadline: None, resumed: false, close: false }
    }

    fn resume(mut self) -> Self {
        self.flow.resume(Instant::now(), !matches!(self.ours, Ours::Confirmed));
        self.resumed = true;
        self
    }

    /// The application gets what it did not want yet: no more will come.
    pub(crate) fn deliver_held(&mut self, link: &Link) {
        for message in self.flow.take_held() {
            link.deliver(message);
        }
    }

    /// Messages that the remote may not have.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.flow.unconfirmed()
    }
}

struct Session<'a> {
    options: &'a Options,
    pc: &'a mut Carrier,
    reports: &'a Reports,
    /// What we write to, and what we read from: the remote may speak over a channel of its own.
    channel: RTCDataChannelId,
    reading: RTCDataChannelId,
    link: Arc<Link>,
    talk: Talk,
    /// The channel that we read from is closed.
    gone: bool,
}

/// Carries messages until the connection ends.
pub(super) async fn run(
    options: &Options,
    pc: &mut Carrier,
    channels: Channels,
    (orders, questions): (&mut mpsc::UnboundedReceiver<Order>, mpsc::UnboundedReceiver<oneshot::Sender<Value>>),
    link: Arc<Link>,
    wire: &Arc<Wire>,
    reports: &Reports,
) -> End {
    let talk = if link.begins() {
        let bytes = options.limits.message_bytes;
        Talk::new(Flow::new(Arc::clone(&link), Arc::clone(wire), bytes, options.assembly.clone()))
    } else {
        match unpark(&link, orders).await {
            Some(talk) => talk.resume(),
            None => return End::Aborted,
        }
    };
    if link.can_resume() {
        pc.watch(options.timeouts.idle);
    }
    let (channel, reading) = (channels.first, channels.first);
    let mut session = Session { options, pc, reports, channel, reading, link, talk, gone: false };
    let end = match session.run(channels.second, orders, questions).await {
        End::Failed(error) if error.code != ErrorCode::Protocol && session.link.can_resume() => End::Lost(error),
        end => end,
    };
    let Session { link, mut talk, .. } = session;
    // Cut: the remote may have moved over to another transport before us.
    if matches!(end, End::Aborted | End::Lost(_) | End::Cut(_)) && link.can_resume() {
        link.park(talk);
        return end;
    }
    link.close();
    if !matches!(end, End::Aborted) {
        talk.deliver_held(&link);
    }
    end
}

/// Takes over what the last transport has left, once that has ended. None: this one is not wanted any more.
async fn unpark(link: &Link, orders: &mut mpsc::UnboundedReceiver<Order>) -> Option<Talk> {
    let mut close = false;
    loop {
        tokio::select! {
            mut talk = link.unpark() => {
                talk.close |= close;
                return Some(talk);
            }
            order = orders.recv() => match order {
                Some(Order::Close) => close = true,
                Some(_) => {}
                None => return None,
            },
        }
    }
}

impl Session<'_> {
    async fn run(
        &mut self,
        second: Option<RTCDataChannelId>,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        mut questions: mpsc::UnboundedReceiver<oneshot::Sender<Value>>,
    ) -> End {
        if let Some(channel) = second {
            self.handle_opened(channel);
        }
        if std::mem::take(&mut self.talk.close) {
            self.ask_for_end();
        }
        loop {
            if let Err(end) = self.turn() {
                return end;
            }
            let alarm = [self.talk.deadline, self.talk.flow.poll_timeout(), self.leaves_at()];
            self.pc.set_alarm(alarm.into_iter().flatten().min());
            let (link, full, holds) = (&self.link, self.talk.flow.is_full(), self.talk.flow.holds());
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Close) => self.ask_for_end(),
                    Some(Order::AddCandidate(candidate)) => if let Carrier::Pc(pc) = &mut *self.pc {
                        pc.add_candidate(candidate);
                    },
                    Some(Order::Relayed(data)) => if let Err(error) = self.pc.relayed(&data) {
                        return End::Failed(error);
                    },
                    Some(Order::SetAnswer { .. } | Order::Start(_)) => {}
                    None => return End::Aborted,
                },
                signal = self.pc.next() => match signal {
                    Signal::Opened(channel) => self.handle_opened(channel),
                    Signal::Closed(channel) => self.gone |= channel == self.reading,
                    Signal::Failed => return lost("the remote has not been heard for too long"),
                    Signal::Broken(why) => return lost(&why),
                    Signal::Path => {
                        let path = self.pc.path();
                        link.wire().set_path(path);
                        self.reports.path(path, self.options);
                    }
                    Signal::News(News::Quiet) => self.talk.flow.ask(),
                    Signal::News(News::Silent) => self.reports.send(TransportInput::Silent),
                    Signal::News(News::Heard) => self.reports.send(TransportInput::Heard),
                    _ => {}
                },
                () = self.talk.flow.changed() => {}
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
        while !self.talk.flow.is_full() {
            let Some((channel, message)) = self.pc.read() else { break };
            if self.reads(channel) {
                let mark = self.talk.flow.receive(now, message).map_err(End::Failed)?;
                self.handle_mark(mark)?;
            }
        }
        self.talk.flow.handle_timeout(now).map_err(End::Failed)?;
        self.talk.flow.send(self.pc, self.channel).map_err(End::Failed)?;
        self.pc.set_asked(self.talk.flow.is_asking());
        self.go_on(now);
        if matches!(self.talk.ours, Ours::Confirmed)
            && (self.talk.flow.has_confirmed_fin() || !self.talk.flow.is_framed())
        {
            return Err(if self.talk.asked { End::Finished(None) } else { End::Closed });
        }
        // Closing the channel of a plain client is the end of what we read, too.
        if self.gone && !self.talk.flow.is_full() && !(self.talk.asked && matches!(self.talk.ours, Ours::Leaving(_))) {
            return Err(self.remote_is_gone());
        }
        if self.talk.deadline.is_some_and(|deadline| deadline <= now) {
            return Err(self.too_late());
        }
        Ok(())
    }

    /// The remote has opened a channel: one channel is a connection, and what else it opens means nothing.
    fn handle_opened(&mut self, channel: RTCDataChannelId) {
        if channel != self.channel && !self.reads(channel) {
            self.pc.close_channel(channel);
        }
    }

    /// Whether we listen to that channel. A called peer that cannot speak over ours opens one of its own (docs/protocol.md),
    /// and what it says there may be here before we hear of the opening.
    fn reads(&mut self, channel: RTCDataChannelId) -> bool {
        if channel != self.channel && self.reading == self.channel && self.talk.flow.is_framed() {
            self.reading = channel;
        }
        channel == self.reading
    }

    fn ask_for_end(&mut self) {
        self.talk.asked = true;
        self.begin_close();
    }

    fn begin_close(&mut self) {
        self.link.close();
        self.talk.deadline.get_or_insert_with(|| Instant::now() + self.options.timeouts.close);
    }

    /// There is room for messages again, or the application wants them again.
    fn release(&mut self) -> Result<(), End> {
        let mark = self.talk.flow.release();
        self.handle_mark(mark)
    }

    fn handle_mark(&mut self, mark: Option<Mark>) -> Result<(), End> {
        match (mark, &self.talk.ours) {
            (None, _) => {}
            (Some(Mark::Fin), _) if !self.talk.theirs => {
                self.talk.theirs = true;
                self.talk.flow.confirm_fin();
                self.begin_close();
            }
            (Some(Mark::Fin), _) if self.talk.resumed => self.talk.flow.confirm_fin(),
            (Some(Mark::FinAck), Ours::Confirmed) if self.talk.resumed => {}
            // The answer may be faster than the word that the question is out.
            (Some(Mark::FinAck), Ours::Said | Ours::Sending) if self.talk.deadline.is_some() => {
                self.talk.ours = Ours::Confirmed
            }
            _ => {
                let message = "the remote ended the connection twice, or confirmed no end";
                return Err(End::Failed(Error::new(ErrorCode::Protocol, message)));
            }
        }
        Ok(())
    }

    /// Goes on with our own end.
    fn go_on(&mut self, now: Instant) {
        if matches!(self.talk.ours, Ours::Sending) && self.talk.flow.has_said_all() {
            self.talk.ours = if self.talk.flow.is_framed() { Ours::Said } else { Ours::Leaving(None) };
        }
        if let Ours::Leaving(until) = self.talk.ours {
            match until {
                None if self.pc.outstanding(self.channel).is_none_or(|bytes| bytes == 0) => {
                    self.pc.close_channel(self.channel);
                    self.talk.ours = Ours::Leaving(Some(now + PLAIN_CLOSE));
                }
                Some(until) if until <= now || !self.pc.is_connected() => self.talk.ours = Ours::Confirmed,
                _ => {}
            }
        }
    }

    fn leaves_at(&self) -> Option<Instant> {
        match self.talk.ours {
            Ours::Leaving(until) => until,
            _ => None,
        }
    }

    /// The channel was closed from outside.
    fn remote_is_gone(&mut self) -> End {
        if !self.talk.asked {
            return if self.talk.flow.is_framed() && !self.talk.theirs {
                End::Cut(self.talk.unconfirmed())
            } else {
                End::Closed
            };
        }
        // With its FIN behind it, a linkup peer goes only when it has ours.
        if self.talk.theirs {
            return End::Finished(None);
        }
        End::Finished(gone_before(self.talk.flow.undelivered(self.pc, self.channel)))
    }

    /// The time for closing is over.
    fn too_late(&mut self) -> End {
        if !self.talk.asked {
            return End::Closed;
        }
        let count = self.talk.flow.undelivered(self.pc, self.channel);
        // It has everything, and we have: only its last word was lost.
        if matches!(self.talk.ours, Ours::Confirmed) || self.talk.theirs && count == 0 && self.talk.flow.has_said_all()
        {
            return End::Finished(None);
        }
        let within = self.options.timeouts.close;
        let message = format!("the remote did not confirm the close within {within:?}: {count} messages may be lost");
        let error = Error::new(ErrorCode::CloseTimeout, message).with_details(json!({"unconfirmed": count}));
        End::Finished(Some(error))
    }
}

/// What a close says of a remote that may not have so many messages.
pub(super) fn gone_before(messages: usize) -> Option<Error> {
    let error = || {
        let message = format!("the remote was gone before it had the last {messages} messages");
        Error::new(ErrorCode::ConnectionLost, message)
    };
    (messages > 0).then(error)
}

fn lost(why: &str) -> End {
    End::Failed(Error::new(ErrorCode::ConnectionLost, format!("the connection is lost: {why}")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::pin::Pin;

    use linkup_core::wire::Message;
    use linkup_core::{ConnectionId, Event, TransportId};
    use linkup_proto::PeerId;
    use linkup_proto::signal::Receive;

    use super::super::pc::tests::{opened, pair};
    use super::*;
    use crate::options::{ChannelOptions, Limits, Sink};

    struct Ear(mpsc::UnboundedSender<Message>);

    impl Sink for Ear {
        fn event(&self, _: Event) {}
        fn message(&self, _: ConnectionId, message: Message) -> bool {
            self.0.send(message).is_ok()
        }
        fn room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
            Box::pin(std::future::ready(()))
        }
        fn drained(&self, _: ConnectionId) {}
    }

    #[tokio::test]
    async fn what_comes_over_a_channel_of_the_remote_is_read_before_its_opening_is_heard_of() {
        let (mut a, mut b, channel) = pair(true);
        opened(&mut a, &mut b, channel).await;
        // All of it waits at the socket when the session begins, behind what confirms our channel.
        while !matches!(b.next().await, Signal::Opened(_)) {}
        let own = b.create_channel("own", &ChannelOptions::default()).unwrap();
        while !matches!(b.next().await, Signal::Opened(opened) if opened == own) {}
        b.send(own, Message::Text("early".to_owned())).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(1), b.next()).await.is_err());

        let options = Options::new(PeerId::new("me").unwrap());
        let wire = Arc::new(Wire::default());
        let (heard, mut messages) = mpsc::unbounded_channel();
        let link = Arc::new(Link::new(ConnectionId(1), Arc::new(Ear(heard)), Limits::default(), Arc::clone(&wire)));
        link.set_remote(Receive::UNKNOWN);
        let (_orders, mut orders) = mpsc::unbounded_channel();
        let (_questions, questions) = mpsc::unbounded_channel();
        let reports = Reports::new(TransportId(1), mpsc::unbounded_channel().0);
        let channels = Channels { first: channel, second: None };
        let mut pc = Carrier::Pc(Box::new(a));
        tokio::select! {
            _ = run(&options, &mut pc, channels, (&mut orders, questions), link, &wire, &reports) => {}
            message = messages.recv() => assert_eq!(message, Some(Message::Text("early".to_owned()))),
            () = tokio::time::sleep(Duration::from_secs(5)) => panic!("it is lost"),
        }
    }
}
