//! An open connection until its end, and both ways to end it in order.
//!
//! Between two linkup peers each side sends a FIN after its last message, and confirms the other's FIN when it has
//! handed everything before it to its application ([`linkup_proto::frame`]). So both directions are delivered, also
//! where both sides close at once, and the answer is the application's, not SCTP's. Whoever hears a FIN sends what it
//! has taken and its own FIN.
//!
//! A plain simple-peer client knows no FIN: there the channel is closed when the remote's SCTP has acknowledged
//! everything, and the client then closes the connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use linkup_proto::{Error, ErrorCode};
use rtc::peer_connection::transport::RTCDtlsTransportState;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use webrtc::data_channel::DataChannel;
use webrtc::peer_connection::PeerConnection;

use super::build::{Built, Signal};
use super::flow::{self, Flow, Mark, Owned};
use super::{End, Order, negotiate};
use crate::link::{Link, Wire};
use crate::options::Options;

/// How long a plain client may take to close its end once it has everything.
const PLAIN_CLOSE: Duration = Duration::from_secs(1);

/// Between two looks at a state that tells nobody when it changes.
const LOOK: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(20);

/// Reads what comes over a channel, until its end.
type Reading = Owned<Result<(), Error>>;

type Read<'a> = dyn Fn(Arc<dyn DataChannel>) -> Reading + Sync + 'a;

type Confirmation = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How far our own end is.
enum Ours {
    /// Messages may still come, or are still being handed to SCTP.
    Sending,
    /// Said; a linkup peer will confirm it.
    Said,
    /// Said to a plain client; done when it is gone.
    Leaving(Confirmation),
    Confirmed,
}

struct Session<'a> {
    options: &'a Options,
    built: &'a mut Built,
    channel: Arc<dyn DataChannel>,
    link: Arc<Link>,
    flow: Arc<Flow>,
    ours: Ours,
    /// The other side has sent its last message, and it was handed over.
    theirs: bool,
    /// The remote speaks over a channel of its own.
    has_second: bool,
    /// The machine asked for the end, and waits to hear how it went.
    asked: bool,
    deadline: Option<Instant>,
}

/// Carries messages until the connection ends.
pub(super) async fn run(
    options: &Options,
    built: &mut Built,
    channel: Arc<dyn DataChannel>,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    link: Arc<Link>,
    wire: &Arc<Wire>,
) -> End {
    let flow = Arc::new(Flow::new(link.is_framed(), link.remote_window()));
    let (marks, marked) = mpsc::unbounded_channel();
    let read = {
        let (link, flow, pulse) = (Arc::clone(&link), Arc::clone(&flow), Arc::clone(&built.pulse));
        let (budget, message_bytes) = (options.assembly.clone(), options.limits.message_bytes);
        move |channel| {
            let (link, flow, pulse) = (Arc::clone(&link), Arc::clone(&flow), Arc::clone(&pulse));
            Owned::spawn(flow::read(channel, link, flow, pulse, marks.clone(), budget.clone(), message_bytes))
        }
    };
    let mut reader = read(Arc::clone(&channel));
    let writing = flow::write(Arc::clone(&channel), Arc::clone(&link), Arc::clone(&flow), Arc::clone(wire));
    let mut writer = Owned::spawn(writing);
    let session = Session {
        options,
        built,
        channel,
        link: Arc::clone(&link),
        flow: Arc::clone(&flow),
        ours: Ours::Sending,
        theirs: false,
        has_second: false,
        asked: false,
        deadline: None,
    };
    let end = session.run(orders, &read, &mut reader, &mut writer, marked).await;
    link.close();
    reader.stop().await;
    writer.stop().await;
    if !matches!(end, End::Aborted) {
        for message in flow.take_held() {
            link.deliver(message);
        }
    }
    end
}

impl Session<'_> {
    async fn run(
        mut self,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        read: &Read<'_>,
        reader: &mut Reading,
        writer: &mut Owned<Result<(), Error>>,
        mut marked: mpsc::UnboundedReceiver<Mark>,
    ) -> End {
        let mut writing = true;
        if let Some(channel) = self.built.second.take() {
            self.take_second(channel, read, reader).await;
        }
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Close) => {
                        self.asked = true;
                        self.begin_close();
                    }
                    Some(Order::AddCandidate(candidate)) => negotiate::add_candidate(self.built, candidate).await,
                    Some(Order::SetAnswer { .. } | Order::Start(_)) => {}
                    None => return End::Aborted,
                },
                signal = self.built.signals.recv() => match signal {
                    Some(Signal::Channel(channel)) => self.take_second(channel, read, reader).await,
                    Some(Signal::Failed) => return lost("the remote has not been heard for too long"),
                    Some(_) => {}
                    None => return lost("the transport stopped"),
                },
                Some(mark) = marked.recv() => {
                    if let Err(error) = self.handle_mark(&mark) {
                        return End::Failed(error);
                    }
                }
                () = self.flow.progress.notified() => self.handle_progress(),
                () = left(&mut self.ours) => self.ours = Ours::Confirmed,
                read = reader.done() => {
                    // What it said last comes first.
                    while let Ok(mark) = marked.try_recv() {
                        if let Err(error) = self.handle_mark(&mark) {
                            return End::Failed(error);
                        }
                    }
                    match read {
                        // Closing the channel of a plain client ends our reader, too.
                        Some(Ok(())) if self.asked && matches!(self.ours, Ours::Leaving(_)) => {
                            left(&mut self.ours).await;
                            return End::Finished(None);
                        }
                        Some(Ok(())) => return self.remote_is_gone().await,
                        Some(Err(error)) => return End::Failed(error),
                        None => return lost("its task failed"),
                    }
                }
                written = writer.done(), if writing => match written {
                    Some(Ok(())) => writing = false,
                    Some(Err(error)) => return End::Failed(error),
                    None => return lost("its task failed"),
                },
                () = until(self.deadline) => return self.too_late().await,
            }
            if matches!(self.ours, Ours::Confirmed) && (self.flow.has_confirmed_fin() || !self.flow.is_framed()) {
                return if self.asked { End::Finished(None) } else { End::Closed };
            }
        }
    }

    /// The remote has opened a channel: a called peer that cannot speak over ours does (docs/protocol.md). Otherwise one
    /// channel is a connection, and what else a remote opens means nothing.
    async fn take_second(&mut self, channel: Arc<dyn DataChannel>, read: &Read<'_>, reader: &mut Reading) {
        if self.flow.is_framed() && !std::mem::replace(&mut self.has_second, true) {
            std::mem::replace(reader, read(channel)).stop().await;
        } else {
            let _ = channel.close().await;
        }
    }

    fn begin_close(&mut self) {
        self.link.close();
        self.deadline.get_or_insert_with(|| Instant::now() + self.options.timeouts.close);
    }

    fn handle_mark(&mut self, mark: &Mark) -> Result<(), Error> {
        match (mark, &self.ours) {
            (Mark::Fin, _) if !self.theirs => {
                self.theirs = true;
                self.flow.confirm_fin();
                self.begin_close();
                Ok(())
            }
            // The answer may be faster than the word that the question is out.
            (Mark::FinAck, Ours::Said | Ours::Sending) if self.deadline.is_some() => {
                self.ours = Ours::Confirmed;
                Ok(())
            }
            _ => Err(Error::new(ErrorCode::Protocol, "the remote ended the connection twice, or confirmed no end")),
        }
    }

    fn handle_progress(&mut self) {
        if !matches!(self.ours, Ours::Sending) || !self.flow.has_said_all() {
            return;
        }
        self.ours = if self.flow.is_framed() {
            Ours::Said
        } else {
            Ours::Leaving(Box::pin(close_plain(Arc::clone(&self.built.pc), Arc::clone(&self.channel))))
        };
    }

    /// The channel was closed from outside.
    async fn remote_is_gone(&mut self) -> End {
        if !self.asked {
            return if self.flow.is_framed() && !self.theirs { End::Cut } else { End::Closed };
        }
        // With its FIN behind it, a linkup peer goes only when it has ours.
        if self.theirs {
            return End::Finished(None);
        }
        match self.flow.undelivered(&*self.channel, &self.link).await {
            0 => End::Finished(None),
            lost => {
                let message = format!("the remote was gone before it had the last {lost} messages");
                End::Finished(Some(Error::new(ErrorCode::ConnectionLost, message)))
            }
        }
    }

    /// The time for closing is over.
    async fn too_late(&mut self) -> End {
        if !self.asked {
            return End::Closed;
        }
        if matches!(self.ours, Ours::Confirmed) {
            return End::Finished(None);
        }
        let (count, within) = (self.flow.undelivered(&*self.channel, &self.link).await, self.options.timeouts.close);
        let message = format!("the remote did not confirm the close within {within:?}: {count} messages may be lost");
        let error = Error::new(ErrorCode::CloseTimeout, message).with_details(json!({"unconfirmed": count}));
        End::Finished(Some(error))
    }
}

fn lost(why: &str) -> End {
    End::Failed(Error::new(ErrorCode::ConnectionLost, format!("the connection is lost: {why}")))
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn left(ours: &mut Ours) {
    match ours {
        Ours::Leaving(confirmation) => confirmation.await,
        _ => std::future::pending().await,
    }
}

/// Closes towards a client that knows no FIN: first what it has to acknowledge, then the channel, then its own end.
async fn close_plain(pc: Arc<dyn PeerConnection>, channel: Arc<dyn DataChannel>) {
    let mut pause = *LOOK.start();
    while channel.outstanding_bytes().await.is_ok_and(|bytes| bytes > 0) {
        sleep(pause).await;
        pause = (pause * 2).min(*LOOK.end());
    }
    let _ = channel.close().await;
    let gone = async {
        let mut pause = *LOOK.start();
        while !is_closed_by_remote(&*pc).await {
            sleep(pause).await;
            pause = (pause * 2).min(*LOOK.end());
        }
    };
    let _ = timeout(PLAIN_CLOSE, gone).await;
}

async fn is_closed_by_remote(pc: &dyn PeerConnection) -> bool {
    match pc.sctp().await {
        Some(sctp) => !matches!(sctp.transport().state().await, Ok(RTCDtlsTransportState::Connected)),
        None => true,
    }
}
