//! One WebRTC transport: commands of the machine in, [`TransportInput`] out, and the messages of its data channel.
//!
//! The only part that knows `rtc`, the sans-IO core of webrtc-rs, with `stats`. One task runs all of it: `pc` is a peer
//! connection with its sockets, `negotiate` brings its channel up, `session` carries messages until its end.

mod carrier;
mod flow;
mod gather;
mod negotiate;
mod pc;
mod relay;
mod sdp;
mod session;
mod stream;
mod watch;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;

use self::carrier::Carrier;
use self::negotiate::Channels;
use self::relay::Relay;
pub(crate) use self::session::Talk;
use linkup_core::{TransportId, TransportInput};
use linkup_proto::signal::Candidate;
use linkup_proto::{Error, ErrorCode};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use crate::link::{Doors, Link, Path, Wire};
use crate::options::{IceServer, Options};
use crate::runner::Runner;

/// The ways that a call may take.
pub(crate) enum Call {
    Any,
    /// Those without a TURN server.
    Direct,
    /// Over the broker, which takes so many bytes a second.
    Relay {
        rate: u32,
    },
}

/// Who begins.
pub(crate) enum Role {
    Caller(Call),
    /// We are called, with this description.
    Called {
        /// The caller's description.
        sdp: String,
        /// The caller is a linkup peer.
        linkup: bool,
        /// Where it is to go over the broker, bytes a second.
        rate: Option<u32>,
    },
}

impl Role {
    fn rate(&self) -> Option<u32> {
        match self {
            Self::Caller(Call::Relay { rate }) => Some(*rate),
            Self::Caller(_) => None,
            Self::Called { rate, .. } => *rate,
        }
    }

    /// Whether both sides leave out TURN servers.
    fn is_direct(&self) -> bool {
        match self {
            Self::Caller(call) => matches!(call, Call::Direct),
            Self::Called { sdp, .. } => sdp::is_direct(sdp),
        }
    }
}

/// What the machine wants of a transport that exists. No more of them: vanish.
pub(crate) enum Order {
    /// The called side's description.
    SetAnswer {
        sdp: String,
        /// The remote is a linkup peer.
        linkup: bool,
    },
    /// An address of the remote.
    AddCandidate(Candidate),
    /// A packet that came over the broker.
    Relayed(String),
    /// Let messages flow.
    Start(Arc<Link>),
    /// Deliver what was taken, then close.
    Close,
}

/// A transport. Dropping it aborts it.
pub(crate) struct Transport {
    orders: mpsc::UnboundedSender<Order>,
    wire: Arc<Wire>,
}

/// Where the inputs of one transport go.
#[derive(Clone)]
pub(crate) struct Reports {
    id: TransportId,
    inputs: mpsc::UnboundedSender<(TransportId, TransportInput)>,
}

impl Reports {
    pub(crate) fn new(id: TransportId, inputs: mpsc::UnboundedSender<(TransportId, TransportInput)>) -> Self {
        Self { id, inputs }
    }

    fn send(&self, input: TransportInput) {
        // Where nobody listens any more, the orders have ended, too.
        let _ = self.inputs.send((self.id, input));
    }

    fn path(&self, path: Path, options: &Options) {
        self.send(TransportInput::Path { turn: path == Path::Turn && !options.relay_only });
    }
}

/// How a transport ended.
enum End {
    Aborted,
    /// By the remote, in order.
    Closed,
    /// By a linkup remote, without its last word. So many messages it may not have.
    Cut(usize),
    /// By us, in order or not.
    Finished(Option<Error>),
    Failed(Error),
    /// It has broken, and the connection may go on over another one.
    Lost(Error),
}

/// Shorthand of the rooms: what they make, or the end.
type Step<T> = Result<T, End>;

/// A failure of the library where the remote's bytes cannot be the reason.
fn internal(error: impl std::fmt::Display) -> End {
    End::Failed(cannot(error))
}

fn cannot(error: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::IceFailed, format!("this machine cannot open a WebRTC connection: {error}"))
}

impl Transport {
    pub(crate) fn spawn(
        runtime: &tokio::runtime::Handle,
        options: Arc<Options>,
        servers: Arc<[IceServer]>,
        role: Role,
        reports: Reports,
    ) -> Self {
        let (orders, received) = mpsc::unbounded_channel();
        let wire = Arc::new(Wire::default());
        let (ask, questions) = mpsc::unbounded_channel();
        let run = run(options, servers, role, (received, questions), Arc::clone(&wire), reports.clone());
        let task = async move {
            // Whatever a remote sends: nobody else would ever hear that this one has ended. With it has gone what another
            // transport would go on with: as a broken protocol it ends the connection.
            if AssertUnwindSafe(run).catch_unwind().await.is_err() {
                let error = Error::new(ErrorCode::Protocol, "a bug in linkup ended this connection");
                reports.send(TransportInput::Failed { error });
            }
        };
        wire.set_doors(Doors { runner: Runner::spawn(runtime, task), stats: Some(ask) });
        Self { orders, wire }
    }

    pub(crate) fn order(&self, order: Order) {
        // A transport that has ended said so; its last words are still on the way to the machine.
        let _ = self.orders.send(order);
    }

    pub(crate) fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }
}

async fn run(
    options: Arc<Options>,
    servers: Arc<[IceServer]>,
    role: Role,
    (mut orders, questions): (mpsc::UnboundedReceiver<Order>, mpsc::UnboundedReceiver<oneshot::Sender<Value>>),
    wire: Arc<Wire>,
    reports: Reports,
) {
    let mut pc = match role.rate() {
        Some(rate) => Carrier::Relay(Box::new(Relay::new(rate, reports.clone()))),
        None => match pc::Pc::new(&options, &servers, role.is_direct()) {
            Ok(pc) => Carrier::Pc(Box::new(pc)),
            Err(error) => return reports.send(TransportInput::Failed { error: cannot(error) }),
        },
    };
    let open = match &mut pc {
        Carrier::Pc(pc) => negotiate::negotiate(&options, role, pc, &mut orders, &wire, &reports).await,
        Carrier::Relay(relay) => {
            let link = relay.negotiate(role, &mut orders, &wire).await;
            link.map(|link| (Channels { first: 0, second: None }, link))
        }
    };
    let end = match open {
        Ok((channels, link)) => {
            let doors = (&mut orders, questions);
            session::run(&options, &mut pc, channels, doors, link, &wire, &reports).await
        }
        Err(end) => end,
    };
    match end {
        End::Aborted => pc.close().await,
        // What the other side waits for goes out before anybody here hears that this is over and exits.
        End::Closed | End::Cut(_) => {
            let (report, unsure) = match end {
                End::Cut(unsure) => (TransportInput::Cut, unsure),
                _ => (TransportInput::Closed, 0),
            };
            pc.close().await;
            reports.send(report);
            // The machine may just have asked for the same, and then waits for an answer to that.
            while let Some(order) = orders.recv().await {
                if matches!(order, Order::Close) {
                    reports.send(TransportInput::Finished { error: session::gone_before(unsure) });
                }
            }
        }
        End::Finished(error) => {
            pc.close().await;
            reports.send(TransportInput::Finished { error });
        }
        End::Failed(error) => {
            reports.send(TransportInput::Failed { error });
            pc.close().await;
        }
        // Without a word: the remote may still hear it, and would take it for the end.
        End::Lost(error) => {
            reports.send(TransportInput::Lost { error });
            pc.release().await;
        }
    }
}
