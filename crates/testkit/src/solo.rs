//! One peer by the hand: every input is given, every output is looked at.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use linkup_core::{
    BrokerCommand, BrokerInput, Command, Config, Event, Output, Peer, TransportCommand, TransportId, TransportInput,
};
use linkup_proto::PeerId;
use linkup_proto::broker::{Frame, Request, Response};
use linkup_proto::signal::Signal;
use serde_json::Value;

/// See the module.
pub struct Solo {
    /// The peer.
    pub peer: Peer,
    now: Instant,
    out: Vec<Output>,
}

impl Solo {
    /// A peer with that id, whose configuration `tweak` may change. No socket yet.
    pub fn new(id: &PeerId, tweak: impl FnOnce(&mut Config)) -> Self {
        let ids = Arc::new(AtomicU32::new(1000));
        let mut config = crate::config(id.clone(), 42, &ids);
        tweak(&mut config);
        let now = Instant::now();
        let mut solo = Self { peer: Peer::new(config, now), now, out: Vec::new() };
        solo.drain();
        solo
    }

    /// The same, registered; what it said up to then is forgotten.
    pub fn registered(id: &PeerId, tweak: impl FnOnce(&mut Config)) -> Self {
        let mut solo = Self::new(id, tweak);
        solo.register();
        solo.out.clear();
        solo
    }

    /// Opens the socket asked for, and says yes to the registration.
    pub fn register(&mut self) {
        self.broker(BrokerInput::Connected);
        let asked = self.frames().into_iter().rev().find(|frame| matches!(frame.request, Request::Register { .. }));
        let id = asked.and_then(|frame| frame.id);
        self.broker(BrokerInput::Text(Response::ok(id, Value::from("registered")).to_text()));
    }

    /// Says that to the last request that was sent to the broker.
    pub fn answer_last(&mut self, message: Value) {
        let last = self.frames().into_iter().rev().find_map(|frame| frame.id);
        self.broker(BrokerInput::Text(Response::ok(last, message).to_text()));
    }

    /// Gives a command.
    pub fn command(&mut self, command: Command) {
        self.peer.handle_command(self.now, command);
        self.drain();
    }

    /// The broker's socket says something.
    pub fn broker(&mut self, input: BrokerInput) {
        self.peer.handle_broker(self.now, input);
        self.drain();
    }

    /// A transport says something.
    pub fn transport(&mut self, transport: TransportId, input: TransportInput) {
        self.peer.handle_transport(self.now, transport, input);
        self.drain();
    }

    /// A signal arrives.
    pub fn signal(&mut self, from: &PeerId, signal: &str) {
        let message = serde_json::json!({"type": "signal", "from": from.as_str(), "to": "me", "signal": signal});
        self.broker(BrokerInput::Text(serde_json::json!({ "message": message }).to_string()));
    }

    /// Lets time pass, timers included.
    pub fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while let Some(at) = self.peer.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.peer.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    fn drain(&mut self) {
        while let Some(output) = self.peer.poll_output() {
            self.out.push(output);
        }
    }

    /// Everything that was said since the last time.
    pub fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// What was said and not yet taken.
    pub fn said(&self) -> &[Output] {
        &self.out
    }

    /// The events among it.
    pub fn events(&self) -> Vec<Event> {
        let events = self.out.iter().filter_map(|output| match output {
            Output::Event(event) => Some(event.clone()),
            _ => None,
        });
        events.collect()
    }

    /// The commands to transports among it.
    pub fn transports(&self) -> Vec<(TransportId, TransportCommand)> {
        let commands = self.out.iter().filter_map(|output| match output {
            Output::Transport { transport, command } => Some((*transport, command.clone())),
            _ => None,
        });
        commands.collect()
    }

    /// The frames to the broker among it.
    pub fn frames(&self) -> Vec<Frame> {
        let frames = self.out.iter().filter_map(|output| match output {
            Output::Broker(BrokerCommand::Send(text)) => Frame::parse(text).ok(),
            _ => None,
        });
        frames.collect()
    }

    /// The signals to other peers among it.
    pub fn signals(&self) -> Vec<(PeerId, Signal)> {
        let signals = self.frames().into_iter().filter_map(|frame| match frame.request {
            Request::Signal(signal) => Some((signal.to, Signal::parse(&signal.signal).ok()?)),
            _ => None,
        });
        signals.collect()
    }
}
