//! An open connection until its end, and both ways to end it in order.
//!
//! Between two linkup peers each side says that it has sent its last message by opening one more channel, whose label
//! holds the number of its messages ([`FIN`]); the other side closes that channel when it has handed so many to its
//! application. So both directions are delivered, also where both sides close at once, and the answer is the
//! application's, not SCTP's. Whoever hears a FIN sends what it has taken and its own FIN.
//!
//! A plain simple-peer client knows no FIN: there the channel is closed when the remote's SCTP has acknowledged
//! everything, and the client then closes the connection.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use linkup_proto::{Error, ErrorCode};
use rtc::peer_connection::transport::RTCDtlsTransportState;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use webrtc::data_channel::{DataChannel, DataChannelEvent};
use webrtc::peer_connection::PeerConnection;

use super::build::{Built, Signal};
use super::flow::{self, Flow, Owned};
use super::{End, Order, negotiate};
use crate::link::{Link, Wire};
use crate::options::Options;

/// The label of the channel that says "these were all", before the number of messages.
const FIN: &str = "linkup:fin:";

/// How long a plain client may take to close its end once it has everything.
const PLAIN_CLOSE: Duration = Duration::from_secs(1);

/// Between two looks at a state that tells nobody when it changes.
const LOOK: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_millis(20);

type Confirmation = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How far our own FIN is.
enum Ours {
    /// Messages may still come, or are still being handed to SCTP.
    Sending,
    /// Said; done when the other side has confirmed it.
    Said(Confirmation),
    Confirmed,
}

/// How far the other side's FIN is.
enum Theirs {
    Sending,
    /// Said, and not yet all of them handed over. Holds the channel that is our answer.
    Said(Arc<dyn DataChannel>),
    Delivered,
}

struct Session<'a> {
    options: &'a Options,
    built: &'a mut Built,
    channel: Arc<dyn DataChannel>,
    link: Arc<Link>,
    flow: Arc<Flow>,
    ours: Ours,
    theirs: Theirs,
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
    let flow = Arc::new(Flow::default());
    let (reader_link, writer_link) = (Arc::clone(&link), Arc::clone(&link));
    let pulse = Arc::clone(&built.pulse);
    let reader = Owned::spawn(flow::read(Arc::clone(&channel), reader_link, Arc::clone(&flow), pulse));
    let writer = Owned::spawn(flow::write(Arc::clone(&channel), writer_link, Arc::clone(&flow), Arc::clone(wire)));
    let session = Session {
        options,
        built,
        channel,
        link: Arc::clone(&link),
        flow,
        ours: Ours::Sending,
        theirs: Theirs::Sending,
        asked: false,
        deadline: None,
    };
    let end = session.run(orders, reader, writer).await;
    link.close();
    end
}

impl Session<'_> {
    async fn run(
        mut self,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        mut reader: Owned<Result<(), Error>>,
        mut writer: Owned<()>,
    ) -> End {
        let mut writing = true;
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Close) => {
                        self.asked = true;
                        self.begin_close();
                    }
                    Some(Order::AddCandidate(candidate)) => negotiate::add_candidate(self.built, candidate).await,
                    Some(Order::SetAnswer(_) | Order::Start(_)) => {}
                    None => return End::Aborted,
                },
                signal = self.built.signals.recv() => match signal {
                    Some(Signal::Channel(channel)) => self.handle_channel(channel).await,
                    Some(Signal::Failed) => return lost("the remote has not been heard for too long"),
                    Some(_) => {}
                    None => return lost("the transport stopped"),
                },
                _ = writer.done(), if writing => {
                    writing = false;
                    self.say_fin().await;
                }
                () = self.flow.reached.notified() => {
                    if let Theirs::Said(answer) = &self.theirs {
                        let _ = answer.close().await;
                        self.theirs = Theirs::Delivered;
                    }
                }
                () = confirmed(&mut self.ours) => self.ours = Ours::Confirmed,
                read = reader.done() => match read {
                    // Closing the channel of a plain client ends our reader, too.
                    Some(Ok(())) if self.asked && !self.has_fin() && matches!(self.ours, Ours::Said(_)) => {
                        confirmed(&mut self.ours).await;
                        return End::Finished(None);
                    }
                    Some(Ok(())) => return self.remote_is_gone().await,
                    Some(Err(error)) => return End::Failed(error),
                    None => return lost("its task failed"),
                },
                () = until(self.deadline) => return self.too_late().await,
            }
            let delivered = matches!(self.theirs, Theirs::Delivered) || !self.has_fin();
            if matches!(self.ours, Ours::Confirmed) && delivered {
                return if self.asked { End::Finished(None) } else { End::Closed };
            }
        }
    }

    /// Whether both sides know what a FIN is, and all messages arrive, so that counting them makes sense.
    fn has_fin(&self) -> bool {
        self.link.is_linkup() && self.options.channel.is_reliable()
    }

    fn begin_close(&mut self) {
        self.link.close();
        self.deadline.get_or_insert_with(|| Instant::now() + self.options.timeouts.close);
    }

    async fn handle_channel(&mut self, channel: Arc<dyn DataChannel>) {
        let label = channel.label().await.unwrap_or_default();
        let count = label.strip_prefix(FIN).and_then(|count| count.parse().ok());
        match (count, &self.theirs) {
            (Some(count), Theirs::Sending) => {
                self.theirs = Theirs::Said(channel);
                self.begin_close();
                self.flow.expect(count);
            }
            // One channel is a connection; what else a remote opens means nothing here.
            _ => {
                let _ = channel.close().await;
            }
        }
    }

    /// Everything was handed to SCTP.
    async fn say_fin(&mut self) {
        if !self.has_fin() {
            let (pc, channel) = (Arc::clone(&self.built.pc), Arc::clone(&self.channel));
            self.ours = Ours::Said(Box::pin(close_plain(pc, channel)));
            return;
        }
        let label = format!("{FIN}{}", self.flow.written());
        match self.built.pc.create_data_channel(&label, None).await {
            Ok(fin) => self.ours = Ours::Said(Box::pin(closed(fin))),
            // The reader hears the same of its channel.
            Err(error) => tracing::debug!(%error, "the end cannot be announced"),
        }
    }

    /// The channel was closed from outside.
    async fn remote_is_gone(&mut self) -> End {
        if !self.asked {
            return End::Closed;
        }
        // With its FIN behind it, a linkup peer goes only when it has ours.
        if matches!(self.theirs, Theirs::Delivered) {
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
        End::Finished(Some(Error::new(ErrorCode::CloseTimeout, message)))
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

async fn confirmed(ours: &mut Ours) {
    match ours {
        Ours::Said(confirmation) => confirmation.await,
        Ours::Sending | Ours::Confirmed => std::future::pending().await,
    }
}

/// Returns when the remote has closed a channel.
async fn closed(channel: Arc<dyn DataChannel>) {
    while let Some(event) = channel.poll().await {
        if matches!(event, DataChannelEvent::OnClose) {
            return;
        }
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
