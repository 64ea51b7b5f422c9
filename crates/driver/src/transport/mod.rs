//! One WebRTC transport: commands of the machine in, [`TransportInput`] out, and the messages of its data channel.
//!
//! The only part that knows `rtc`, the sans-IO core of webrtc-rs, with `stats`. One task runs all of it: `pc` is a peer
//! connection with its sockets, `negotiate` brings its channel up, `session` carries messages until its end.

mod flow;
mod gather;
mod negotiate;
mod pc;
mod sdp;
mod session;
mod stream;

use std::sync::Arc;

use linkup_core::{TransportId, TransportInput};
use linkup_proto::signal::Candidate;
use linkup_proto::{Error, ErrorCode};
use tokio::sync::mpsc;

use crate::link::{Link, Wire};
use crate::options::{IceServer, Options};
use crate::runner::Runner;

/// Who begins.
pub(crate) enum Role {
    /// We call.
    Caller,
    /// We are called, with this description.
    Called {
        /// The caller's description.
        sdp: String,
        /// The caller is a linkup peer.
        linkup: bool,
    },
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
}

/// How a transport ended.
enum End {
    Aborted,
    /// By the remote, in order.
    Closed,
    /// By a linkup remote, without its last word.
    Cut,
    /// By us, in order or not.
    Finished(Option<Error>),
    Failed(Error),
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
        let task = run(options, servers, role, received, Arc::clone(&wire), reports);
        let _ = wire.runner.set(Runner::spawn(runtime, task));
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
    mut orders: mpsc::UnboundedReceiver<Order>,
    wire: Arc<Wire>,
    reports: Reports,
) {
    let mut pc = match pc::Pc::new(&options, &servers) {
        Ok(pc) => pc,
        Err(error) => return reports.send(TransportInput::Failed { error: cannot(error) }),
    };
    let open = negotiate::negotiate(&options, role, &mut pc, &mut orders, &wire, &reports).await;
    let end = match open {
        Ok((channels, link)) => session::run(&options, &mut pc, channels, &mut orders, link, &wire).await,
        Err(end) => end,
    };
    match end {
        End::Aborted => pc.close().await,
        // What the other side waits for goes out before anybody here hears that this is over and exits.
        End::Closed | End::Cut => {
            let cut = matches!(end, End::Cut);
            pc.close().await;
            reports.send(if cut { TransportInput::Cut } else { TransportInput::Closed });
            // The machine may just have asked for the same, and then waits for an answer to that.
            while let Some(order) = orders.recv().await {
                if matches!(order, Order::Close) {
                    let lost = || Error::new(ErrorCode::ConnectionLost, "the remote was gone before the close");
                    reports.send(TransportInput::Finished { error: cut.then(lost) });
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
    }
}
