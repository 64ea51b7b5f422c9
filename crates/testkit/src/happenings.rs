//! What happens in a world when its time comes: tasks, and what the peers said because of them.

use std::time::Duration;

use linkup_core::{BrokerCommand, BrokerInput, Command, Event, Output, Peer, TransportInput};
use linkup_proto::{Error, ErrorCode};

use crate::broker::Socket;
use crate::check::Ledger;
use crate::transport::Saying;
use crate::world::{Act, Manners, NodeId, Pipe, Task, World};

impl World {
    pub(crate) fn perform(&mut self, task: Task) {
        if let Some(node) = self.network_of(&task).filter(|node| self.transports.is_dark(*node)) {
            return self.held.push((node, task));
        }
        match task {
            Task::Act(act) => self.act(act),
            Task::ToBroker { socket, text } => {
                let Some((_, broker)) = self.sockets.get(&socket).copied() else { return };
                for (receiver, text) in self.brokers[broker].handle(socket, &text) {
                    let delay = self.moment(self.delay);
                    let at = self.pipes.through(Pipe::Down(receiver), self.now, delay);
                    self.agenda.plan(at, Task::FromBroker { socket: receiver, text });
                }
            }
            Task::BrokerLearnsClose { socket } => {
                if let Some((_, broker)) = self.sockets.get(&socket).copied() {
                    self.brokers[broker].close(socket);
                }
            }
            Task::Opened { socket } => {
                let Some((_, broker)) = self.sockets.get(&socket).copied() else { return };
                if self.brokers[broker].down {
                    let broken = Task::Broken { socket, reason: "connection refused", failed: true };
                    return self.agenda.plan(self.now, broken);
                }
                self.brokers[broker].open(socket);
                self.tell(socket, BrokerInput::Connected);
            }
            Task::FromBroker { socket, text } => {
                // What a dead broker had not delivered is lost.
                if self.sockets.get(&socket).is_some_and(|(_, broker)| self.brokers[*broker].is_open(socket)) {
                    self.tell(socket, BrokerInput::Text(text));
                }
            }
            Task::Broken { socket, reason, failed } => {
                let reason = reason.to_owned();
                let input = if failed { BrokerInput::Failed { reason } } else { BrokerInput::Closed { reason } };
                self.tell(socket, input);
            }
            Task::Transport { transport, input } => {
                let Some(node) = self.transports.node(transport) else { return };
                if self.transports.says(transport, &input) {
                    let now = self.instant();
                    self.nodes[node].peer.handle_transport(now, transport, input);
                    self.drain(node);
                }
            }
        }
    }

    /// Whose network a task goes over.
    fn network_of(&self, task: &Task) -> Option<NodeId> {
        match task {
            Task::ToBroker { socket, .. }
            | Task::BrokerLearnsClose { socket }
            | Task::Opened { socket }
            | Task::FromBroker { socket, .. }
            | Task::Broken { socket, failed: true, .. } => self.sockets.get(socket).map(|(node, _)| *node),
            _ => None,
        }
    }

    fn say_later(&mut self, sayings: Vec<Saying>) {
        for (after, transport, input) in sayings {
            self.agenda.plan(self.now + after, Task::Transport { transport, input });
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Command(node, command) => {
                if let Command::Connect { connection, .. } = &command {
                    self.nodes[node].ledger.connect(*connection);
                }
                let now = self.instant();
                self.nodes[node].peer.handle_command(now, command);
                self.drain(node);
            }
            Act::BrokerUp(broker) => self.brokers[broker].down = false,
            Act::BrokerDown(broker) => {
                self.brokers[broker].down = true;
                for socket in self.brokers[broker].crash() {
                    let at = self.now + self.moment(self.delay);
                    self.agenda.plan(at, Task::Broken { socket, reason: "broker went away", failed: false });
                }
            }
            Act::CutSocket(node) => {
                if let Some(socket) = self.nodes[node].socket {
                    let learns = self.now + self.moment(Duration::from_secs(1));
                    self.agenda.plan(learns, Task::BrokerLearnsClose { socket });
                    let broken = Task::Broken { socket, reason: "cut", failed: false };
                    self.agenda.plan(self.now, broken);
                }
            }
            Act::Dark(node) => {
                let sayings = self.transports.darken(node);
                self.say_later(sayings);
            }
            Act::Light(node) => {
                let sayings = self.transports.lighten(node);
                self.say_later(sayings);
                for (_, task) in self.held.extract_if(.., |(of, _)| *of == node).collect::<Vec<_>>() {
                    self.agenda.plan(self.now, task);
                }
            }
            Act::Restart(node) => {
                self.kill(node);
                self.drain(node);
            }
            Act::Kill(node) => {
                self.kill(node);
                let now = self.instant();
                self.nodes[node].peer.handle_command(now, Command::ClosePeer);
                self.drain(node);
            }
        }
    }

    /// A fresh process takes the place of a node's, and has not done anything yet.
    fn kill(&mut self, node: NodeId) {
        if let Some(socket) = self.nodes[node].socket.take() {
            let learns = self.now + self.moment(Duration::from_secs(1));
            self.agenda.plan(learns, Task::BrokerLearnsClose { socket });
        }
        let sayings = self.transports.kill(node);
        self.say_later(sayings);
        let now = self.instant();
        let seed = self.rng.u64(..);
        let place = &mut self.nodes[node];
        place.config.seed = seed;
        place.peer = Peer::new(place.config.clone(), now);
        let broken = std::mem::take(&mut place.ledger.broken);
        place.ledger = Ledger::default();
        place.ledger.broken = broken;
        place.events.clear();
    }

    fn tell(&mut self, socket: Socket, input: BrokerInput) {
        let Some((node, _)) = self.sockets.get(&socket).copied() else { return };
        if self.nodes[node].socket != Some(socket) {
            return;
        }
        if matches!(input, BrokerInput::Failed { .. } | BrokerInput::Closed { .. }) {
            self.nodes[node].socket = None;
        }
        let now = self.instant();
        self.nodes[node].peer.handle_broker(now, input);
        self.drain(node);
    }

    pub(crate) fn drain(&mut self, node: NodeId) {
        while let Some(output) = self.nodes[node].peer.poll_output() {
            if self.nodes[node].ledger.is_closed() {
                self.broken.push(format!("after PeerClosed: {output:?}"));
            }
            match output {
                Output::Broker(command) => self.broker_command(node, command),
                Output::Transport { transport, command } => {
                    for (after, transport, input) in self.transports.handle(node, transport, command) {
                        // A transport opens before it closes.
                        let lives = !matches!(
                            input,
                            TransportInput::Candidate(_)
                                | TransportInput::Failed { .. }
                                | TransportInput::Silent
                                | TransportInput::Lost { .. }
                        );
                        let at = match lives {
                            true => self.pipes.through(Pipe::Life(transport), self.now, after),
                            false => self.now + after,
                        };
                        self.agenda.plan(at, Task::Transport { transport, input });
                    }
                }
                Output::IceServers(_) => {}
                Output::Event(event) => self.hear(node, event),
            }
        }
    }

    fn broker_command(&mut self, node: NodeId, command: BrokerCommand) {
        match (command, self.nodes[node].socket) {
            (BrokerCommand::Connect { index }, None) => {
                let socket = self.sockets.len() as Socket;
                self.sockets.insert(socket, (node, index));
                self.nodes[node].socket = Some(socket);
                let at = self.now + self.moment(self.delay);
                self.agenda.plan(at, Task::Opened { socket });
            }
            (BrokerCommand::Send(text), Some(socket)) => {
                let delay = self.moment(self.delay);
                let at = self.pipes.through(Pipe::Up(socket), self.now, delay);
                self.agenda.plan(at, Task::ToBroker { socket, text });
            }
            (BrokerCommand::Close, Some(socket)) => {
                self.nodes[node].socket = None;
                let delay = self.moment(self.delay);
                let at = self.pipes.through(Pipe::Up(socket), self.now, delay);
                self.agenda.plan(at, Task::BrokerLearnsClose { socket });
            }
            (command, socket) => self.broken.push(format!("{command:?} with the socket {socket:?}")),
        }
    }

    fn hear(&mut self, node: NodeId, event: Event) {
        self.nodes[node].ledger.hear(&event);
        let after = self.moment(Duration::from_millis(200));
        match &event {
            Event::Request { connection, .. } => {
                let verdict = match &self.nodes[node].manners {
                    Manners::Accepts => Some(Ok(())),
                    Manners::Denies(reason) => Some(Err(Error::new(ErrorCode::Denied, reason.clone()))),
                    Manners::Silent => None,
                };
                if let Some(verdict) = verdict {
                    self.plan(after, Act::Command(node, Command::Answer { connection: *connection, verdict }));
                }
            }
            Event::Transform { transport, sdp } => {
                let sdp = format!("{sdp}a=changed\r\n");
                self.plan(after, Act::Command(node, Command::Transformed { transport: *transport, sdp }));
            }
            _ => {}
        }
        let heard = (self.now, event);
        self.nodes[node].events.push(heard);
    }
}
