//! The task of one Peer: feeds the machine with what happens and does what it says, in that order.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use linkup_core::{
    BrokerCommand, BrokerInput, Command, Config, ConnectionId, Event, Output, Peer as Machine, TransportCommand,
    TransportId, TransportInput,
};
use linkup_proto::{Error, ErrorCode};
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};

use crate::broker_socket::BrokerSocket;
use crate::link::Link;
use crate::options::{IceServer, Options, Sink};
use crate::transport::{Call, Order, Reports, Role, Transport};

/// The open connections of a Peer, shared with its handles.
pub(crate) type Links = Arc<RwLock<HashMap<ConnectionId, Arc<Link>>>>;

/// The ICE servers of a Peer, the application's or the broker's; none while the broker has not named its own.
pub(crate) type Servers = Option<Arc<[IceServer]>>;

/// What a Peer's handles see of its task.
pub(crate) struct Shared {
    pub(crate) links: Links,
    /// Its end is the task's.
    pub(crate) servers: watch::Sender<Servers>,
}

pub(crate) struct Actor {
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) options: Arc<Options>,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) links: Links,
    pub(crate) machine: Machine,
    transports: HashMap<TransportId, Transport>,
    servers: watch::Sender<Servers>,
    /// Where transports put their inputs.
    inputs: mpsc::UnboundedSender<(TransportId, TransportInput)>,
    broker: Option<BrokerSocket>,
    /// Said by a socket that was cut off here, for the machine.
    broker_lost: Option<String>,
    /// The broker's socket is being closed.
    goodbye: BoxFuture<'static, ()>,
    /// The last event.
    end: Option<Event>,
}

/// Runs a Peer until it is closed, or until its handle is gone.
pub(crate) async fn run(
    runtime: tokio::runtime::Handle,
    options: Arc<Options>,
    config: Config,
    sink: Arc<dyn Sink>,
    shared: Shared,
    commands: mpsc::UnboundedReceiver<Command>,
    handle: oneshot::Receiver<()>,
) {
    let Shared { links, servers } = shared;
    let (inputs, transport_inputs) = mpsc::unbounded_channel();
    let actor = Actor {
        runtime,
        servers,
        options,
        sink: Arc::clone(&sink),
        links: Arc::clone(&links),
        machine: Machine::new(config, Instant::now()),
        transports: HashMap::new(),
        inputs,
        broker: None,
        broker_lost: None,
        goodbye: Box::pin(std::future::ready(())),
        end: None,
    };
    let run = AssertUnwindSafe(actor.run(commands, transport_inputs, handle)).catch_unwind();
    let panicked = run.await.is_err();
    // Nobody is left who could say that they are closed.
    for (_, link) in links.write().unwrap_or_else(PoisonError::into_inner).drain() {
        link.mute();
    }
    if panicked {
        let error = Error::new(ErrorCode::PeerClosed, "a bug in linkup ended this peer");
        sink.event(Event::PeerClosed { error: Some(error) });
    }
}

impl Actor {
    async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut inputs: mpsc::UnboundedReceiver<(TransportId, TransportInput)>,
        mut handle: oneshot::Receiver<()>,
    ) {
        self.obey();
        while self.end.is_none() {
            let due = self.machine.poll_timeout().map(tokio::time::Instant::from_std);
            tokio::select! {
                // The handle first: what it left behind is of no interest any more.
                biased;
                _ = &mut handle => return,
                Some(command) = commands.recv() => self.machine.handle_command(Instant::now(), command),
                Some((transport, input)) = inputs.recv() => {
                    if matches!(input, TransportInput::Finished { .. } | TransportInput::Lost { .. }) {
                        self.transports.remove(&transport);
                    }
                    self.machine.handle_transport(Instant::now(), transport, input);
                }
                input = heard(&mut self.broker) => {
                    if matches!(input, BrokerInput::Closed { .. } | BrokerInput::Failed { .. }) {
                        self.broker = None;
                    }
                    self.machine.handle_broker(Instant::now(), input);
                }
                () = until(due) => self.machine.handle_timeout(Instant::now()),
            }
            self.obey();
        }
        // Who hears that a peer is closed may take its id.
        self.goodbye.await;
        if let Some(end) = self.end {
            self.sink.event(end);
        }
    }

    /// Does everything that the machine wants done.
    fn obey(&mut self) {
        loop {
            let outputs: Vec<Output> = std::iter::from_fn(|| self.machine.poll_output()).collect();
            // A connection's link is there when its `Open` is heard, which may come before its `Start`.
            for output in &outputs {
                if let Output::Transport { transport, command: TransportCommand::Start { connection } } = output {
                    self.make_link(*transport, *connection);
                }
            }
            for output in outputs {
                match output {
                    Output::Broker(command) => self.command_broker(command),
                    Output::Transport { transport, command } => self.command_transport(transport, command),
                    Output::IceServers(servers) => {
                        self.servers.send_replace(Some(servers.into_iter().map(IceServer::from).collect()));
                    }
                    Output::Event(event) => self.tell(event),
                }
            }
            let Some(reason) = self.broker_lost.take() else { return };
            self.machine.handle_broker(Instant::now(), BrokerInput::Closed { reason });
        }
    }

    fn command_broker(&mut self, command: BrokerCommand) {
        match command {
            BrokerCommand::Connect { index } => {
                let url = self.options.brokers.get(index).cloned().unwrap_or_default();
                let keeper = self.options.keeper.clone();
                self.broker = Some(BrokerSocket::open(&self.runtime, url, keeper, self.options.timeouts.broker));
            }
            BrokerCommand::Send(text) => {
                if self.broker.as_ref().is_some_and(|broker| !broker.send(text)) {
                    self.broker = None;
                    self.broker_lost = Some("the broker has stopped reading".to_owned());
                }
            }
            BrokerCommand::Close => {
                if let Some(broker) = self.broker.take() {
                    self.goodbye = Box::pin(broker.close());
                }
            }
        }
    }

    fn command_transport(&mut self, id: TransportId, command: TransportCommand) {
        let order = match command {
            TransportCommand::Offer => return self.make_transport(id, Role::Caller(Call::Any)),
            TransportCommand::OfferDirect => return self.make_transport(id, Role::Caller(Call::Direct)),
            TransportCommand::OfferRelay { rate } => {
                return self.make_transport(id, Role::Caller(Call::Relay { rate }));
            }
            TransportCommand::Answer { sdp, linkup, rate } => {
                return self.make_transport(id, Role::Called { sdp, linkup, rate });
            }
            TransportCommand::Relayed { data } => Order::Relayed(data),
            TransportCommand::Abort => {
                self.transports.remove(&id);
                return;
            }
            TransportCommand::SetAnswer { sdp, linkup } => Order::SetAnswer { sdp, linkup },
            TransportCommand::AddCandidate(candidate) => Order::AddCandidate(candidate),
            TransportCommand::Close => Order::Close,
            TransportCommand::Start { connection } => match self.link(connection) {
                Some(link) => Order::Start(link),
                None => return,
            },
        };
        if let Some(transport) = self.transports.get(&id) {
            transport.order(order);
        }
    }

    fn make_transport(&mut self, id: TransportId, role: Role) {
        let reports = Reports::new(id, self.inputs.clone());
        let servers = self.servers.borrow().clone().unwrap_or_default();
        let transport = Transport::spawn(&self.runtime, Arc::clone(&self.options), servers, role, reports);
        self.transports.insert(id, transport);
    }

    fn make_link(&mut self, transport: TransportId, connection: ConnectionId) {
        let Some(transport) = self.transports.get(&transport) else { return };
        let wire = Arc::clone(transport.wire());
        if let Some(link) = self.link(connection) {
            return link.wire().take_over(&wire);
        }
        let link = Link::new(connection, Arc::clone(&self.sink), self.options.limits, wire);
        self.links.write().unwrap_or_else(PoisonError::into_inner).insert(connection, Arc::new(link));
    }

    fn link(&self, connection: ConnectionId) -> Option<Arc<Link>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).get(&connection).cloned()
    }

    fn tell(&mut self, mut event: Event) {
        match &event {
            Event::Open { connection, linkup: Some(receive), .. } => {
                if let Some(link) = self.link(*connection) {
                    link.set_remote(*receive);
                }
            }
            // No message after the end: a reader may be about to hand one over.
            Event::Closed { connection, .. } => {
                let link = self.links.write().unwrap_or_else(PoisonError::into_inner).remove(connection);
                if let Some(link) = link {
                    if let Event::Closed { error: Some(error), .. } = &mut event
                        && error.code == ErrorCode::CloseTimeout
                        && error.details.is_none()
                    {
                        error.details = Some(Box::new(json!({"unconfirmed": link.unconfirmed()})));
                    }
                    link.end();
                }
            }
            Event::PeerClosed { .. } => {
                self.end = Some(event);
                return;
            }
            _ => {}
        }
        self.sink.event(event);
    }
}

async fn until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// What the broker's socket says; for ever silent where there is none.
async fn heard(broker: &mut Option<BrokerSocket>) -> BrokerInput {
    let Some(socket) = broker else { return std::future::pending().await };
    match socket.recv().await {
        Some(input) => input,
        // Its task was ended from outside: the runtime shuts down.
        None => BrokerInput::Closed { reason: "the socket's task ended".to_owned() },
    }
}
