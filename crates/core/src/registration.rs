//! The session with the broker: finding one that works, registering, noticing that it is gone, coming back.
//!
//! Knows nothing of connections: it tells the peer what changed ([`Change`]).

use std::time::{Duration, Instant};

use linkup_proto::broker::{Frame, FromBroker, Request, Response};
use linkup_proto::{Error, ErrorCode, PeerId, PublicKey, signal};
use serde_json::Value;

use crate::io::{Io, Timer};
use crate::{BrokerCommand, BrokerInput, Config, Event};

/// Silence after which the broker is asked whether it is there.
const PING_AFTER: Duration = Duration::from_secs(15);
/// How long the broker may take to show that it is there where a connection has just fallen silent.
const PROBE: Duration = Duration::from_secs(1);
/// How long one may take to be reached, and to answer, while a connection waits for it. The network may come back at any
/// moment, and TCP tries less and less often.
const HURRY: Duration = Duration::from_secs(2);
/// The pause after a round of all brokers in vain; doubles up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Under a second, so that everybody is back within a second of the broker's return.
const MAX_PAUSE: Duration = Duration::from_millis(800);
/// A lost broker's peers come back spread over this time, not in one millisecond.
const SPREAD: Duration = Duration::from_millis(100);
/// Who has not come back to a broker by then is not on its way.
const SETTLED: Duration = Duration::from_secs(30);
/// A registration that ended sooner counts as a failure: a broker that takes and drops us is not to be hammered.
const STABLE_AFTER: Duration = Duration::from_secs(1);
/// For so long after coming back, a peer that the broker does not know may be on its way back, too.
const RETURN_WINDOW: Duration = Duration::from_secs(2);
/// Bytes of a broker's challenge.
const MAX_CHALLENGE: usize = 256;

/// What the peer has to know.
pub(crate) enum Change {
    /// Nothing that concerns anybody else.
    Nothing,
    /// A socket is open, and the id was asked for.
    Registering,
    /// The id is ours.
    Registered,
    /// A registered socket is gone.
    Lost,
    /// Every broker was tried in vain, and there never was a registration.
    Unreachable(Error),
    /// The broker does not want us.
    Refused(Error),
    /// An answer to a request that is not the session's own.
    Answer(Response),
    /// A signal of another peer.
    Signal { from: PeerId, signal: String },
}

enum State {
    /// No socket; the timer says when to try again.
    Idle,
    Opening,
    Registering {
        request: String,
        /// The broker's challenge is answered.
        proven: bool,
    },
    Registered {
        since: Instant,
        pinged: Option<Instant>,
    },
    /// For good.
    Stopped,
}

/// See the module.
pub(crate) struct Registration {
    state: State,
    index: usize,
    /// Brokers tried in this round.
    tried: usize,
    /// Rounds in vain since the last stable registration.
    rounds: u32,
    ever: bool,
    heard: Instant,
    return_until: Option<Instant>,
    reason: String,
    /// Told once an outage.
    told_offline: bool,
    told_error: bool,
    /// Told once a socket.
    told_nonsense: bool,
    told_complaint: bool,
    /// A connection waits for us.
    hurries: bool,
    /// See [`Registration::count`].
    count: u32,
}

impl Registration {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            state: State::Idle,
            index: 0,
            tried: 0,
            rounds: 0,
            ever: false,
            heard: now,
            return_until: None,
            reason: String::new(),
            told_offline: false,
            told_error: false,
            told_nonsense: false,
            told_complaint: false,
            hurries: false,
            count: 0,
        }
    }

    pub(crate) fn is_registered(&self) -> bool {
        matches!(self.state, State::Registered { .. })
    }

    /// Whether the broker hears what we say.
    pub(crate) fn has_socket(&self) -> bool {
        matches!(self.state, State::Registering { .. } | State::Registered { .. })
    }

    /// Whether there ever was a registration: then calls wait out an outage.
    pub(crate) fn was_registered(&self) -> bool {
        self.ever
    }

    /// Whether others may still be on their way back to a broker that we have just come back to.
    pub(crate) fn others_may_return(&self, now: Instant) -> bool {
        self.return_until.is_some_and(|until| now < until)
    }

    /// How many registrations there were.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Whether a peer that the broker does not know is not there; it was heard through the registration `heard_in`.
    pub(crate) fn would_know(&self, now: Instant, heard_in: u32) -> bool {
        let State::Registered { since, .. } = self.state else { return false };
        heard_in == self.count || now.saturating_duration_since(since) > SETTLED
    }

    /// Whether a connection waits for the broker.
    pub(crate) fn hurry(&mut self, hurries: bool) {
        self.hurries = hurries;
    }

    /// A connection has fallen silent, and waits for the broker: is that still there?
    pub(crate) fn probe(&mut self, now: Instant, config: &Config, io: &mut Io) {
        self.hurries = true;
        match &self.state {
            State::Registered { pinged, .. } if pinged.is_none_or(|at| self.heard >= at) => {
                self.ping(now, PROBE.min(config.timeouts.broker), io);
            }
            State::Opening | State::Registering { .. } => {
                let patience = self.patience(config).min(io.timers.left(Timer::Session, now));
                io.timers.set(Timer::Session, now, patience);
            }
            _ => {}
        }
    }

    fn ping(&mut self, now: Instant, patience: Duration, io: &mut Io) {
        let State::Registered { pinged, .. } = &mut self.state else { return };
        *pinged = Some(now);
        let id = Some(io.request_id());
        io.broker(BrokerCommand::Send(Frame { id, request: Request::Ping }.to_text()));
        io.timers.set(Timer::Session, now, patience);
    }

    fn patience(&self, config: &Config) -> Duration {
        if self.hurries { HURRY.min(config.timeouts.broker) } else { config.timeouts.broker }
    }

    /// Why a request has no answer.
    pub(crate) fn no_answer(&self, config: &Config) -> Error {
        let message = if self.is_registered() {
            format!("the broker did not answer within {:?}", config.timeouts.broker)
        } else {
            format!("the broker cannot be reached: {}", self.reason)
        };
        Error::new(ErrorCode::BrokerUnreachable, message)
    }

    /// True the first time in an outage.
    pub(crate) fn tell_error_once(&mut self) -> bool {
        !std::mem::replace(&mut self.told_error, true)
    }

    pub(crate) fn open(&mut self, now: Instant, config: &Config, io: &mut Io) {
        self.state = State::Opening;
        (self.told_nonsense, self.told_complaint) = (false, false);
        io.timers.set(Timer::Session, now, self.patience(config));
        io.broker(BrokerCommand::Connect { index: self.index });
    }

    /// Unregisters and closes the socket, for good.
    pub(crate) fn stop(&mut self, io: &mut Io) {
        match std::mem::replace(&mut self.state, State::Stopped) {
            State::Registered { .. } => {
                let id = Some(io.request_id());
                io.broker(BrokerCommand::Send(Frame { id, request: Request::Unregister }.to_text()));
                io.broker(BrokerCommand::Close);
            }
            State::Opening | State::Registering { .. } => io.broker(BrokerCommand::Close),
            State::Idle | State::Stopped => {}
        }
        io.timers.clear(Timer::Session);
    }

    pub(crate) fn handle_input(&mut self, now: Instant, input: BrokerInput, config: &Config, io: &mut Io) -> Change {
        match (&self.state, input) {
            (State::Opening, BrokerInput::Connected) => {
                io.timers.set(Timer::Session, now, self.patience(config));
                self.register(None, config, io)
            }
            (State::Opening, BrokerInput::Failed { reason } | BrokerInput::Closed { reason })
            | (State::Registering { .. }, BrokerInput::Closed { reason }) => self.failed(now, reason, config, io),
            (State::Registered { since, .. }, BrokerInput::Closed { reason }) => {
                self.lost(now, *since, reason, config, io)
            }
            (State::Registering { .. } | State::Registered { .. }, BrokerInput::Text(text)) => {
                self.heard = now;
                self.handle_text(now, &text, config, io)
            }
            _ => Change::Nothing,
        }
    }

    fn register(&mut self, proof: Option<String>, config: &Config, io: &mut Io) -> Change {
        let request = io.request_id();
        let proven = proof.is_some();
        let register = Request::Register {
            id: config.id.clone(),
            secret: Some(config.secret.clone()),
            token: config.token.clone(),
            version: Some(signal::VERSION),
            proof,
        };
        io.broker(BrokerCommand::Send(Frame { id: Some(request.clone()), request: register }.to_text()));
        self.state = State::Registering { request, proven };
        Change::Registering
    }

    fn handle_text(&mut self, now: Instant, text: &str, config: &Config, io: &mut Io) -> Change {
        match FromBroker::parse(text) {
            Ok(FromBroker::Response(response)) => self.handle_response(now, response, config, io),
            Ok(FromBroker::Signal { from, signal }) => Change::Signal { from, signal },
            Ok(FromBroker::Unknown) => Change::Nothing,
            Err(error) => {
                if !std::mem::replace(&mut self.told_nonsense, true) {
                    io.event(Event::Error { remote: None, error });
                }
                Change::Nothing
            }
        }
    }

    fn handle_response(&mut self, now: Instant, response: Response, config: &Config, io: &mut Io) -> Change {
        let Some(id) = &response.id else {
            if let Some(error) = response.error
                && !std::mem::replace(&mut self.told_complaint, true)
            {
                io.event(Event::Error { remote: None, error });
            }
            return Change::Nothing;
        };
        match &self.state {
            State::Registering { request, proven } if request == id => {
                let details = response.error.as_ref().and_then(|error| error.details.as_deref());
                if let Some(proof) = details.filter(|_| !proven).and_then(|details| proof(details, config)) {
                    return self.register(Some(proof), config, io);
                }
                match response.error {
                    None if !response.message.is_null() => self.registered(now, io),
                    error => self.refused(now, error, config, io),
                }
            }
            _ => Change::Answer(response),
        }
    }

    fn registered(&mut self, now: Instant, io: &mut Io) -> Change {
        self.state = State::Registered { since: now, pinged: None };
        io.timers.set(Timer::Session, now, PING_AFTER);
        self.return_until = self.ever.then(|| now + RETURN_WINDOW);
        self.ever = true;
        self.count += 1;
        self.tried = 0;
        (self.told_offline, self.told_error) = (false, false);
        tracing::debug!(broker = self.index, "registered");
        io.event(Event::Registered);
        Change::Registered
    }

    fn refused(&mut self, now: Instant, error: Option<Error>, config: &Config, io: &mut Io) -> Change {
        let error = error.unwrap_or_else(|| Error::new(ErrorCode::Protocol, "the broker registered nobody"));
        io.broker(BrokerCommand::Close);
        // Where an id is taken at one broker, a second owner at the next one would help nobody.
        if error.code != ErrorCode::IdTaken {
            self.index = (self.index + 1) % config.brokers.max(1);
        }
        self.pause_after_round(now, error.message.clone(), io);
        Change::Refused(error)
    }

    /// A broker could not be reached or did not answer: the next one, at once; after the last one, a pause.
    fn failed(&mut self, now: Instant, reason: String, config: &Config, io: &mut Io) -> Change {
        self.index = (self.index + 1) % config.brokers.max(1);
        self.tried += 1;
        if self.tried < config.brokers {
            self.open(now, config, io);
            return Change::Nothing;
        }
        self.pause_after_round(now, reason, io);
        if self.ever { Change::Nothing } else { Change::Unreachable(self.no_answer(config)) }
    }

    fn lost(&mut self, now: Instant, since: Instant, reason: String, config: &Config, io: &mut Io) -> Change {
        self.index = (self.index + 1) % config.brokers.max(1);
        if now.saturating_duration_since(since) < STABLE_AFTER {
            self.pause_after_round(now, reason, io);
        } else {
            self.rounds = 0;
            let pause = SPREAD.mul_f64(io.rng.f64());
            self.pause(now, reason, pause, io);
        }
        Change::Lost
    }

    fn pause_after_round(&mut self, now: Instant, reason: String, io: &mut Io) {
        let pause = MAX_PAUSE.min(FIRST_PAUSE * (1 << self.rounds.min(8)));
        self.rounds = self.rounds.saturating_add(1);
        let jitter = 0.5 + io.rng.f64() / 2.0;
        self.pause(now, reason, pause.mul_f64(jitter), io);
    }

    fn pause(&mut self, now: Instant, reason: String, pause: Duration, io: &mut Io) {
        self.state = State::Idle;
        self.tried = 0;
        io.timers.set(Timer::Session, now, pause);
        self.reason.clone_from(&reason);
        tracing::debug!(reason, ?pause, "no broker");
        if !std::mem::replace(&mut self.told_offline, true) {
            io.event(Event::Offline { reason, retry_in: pause });
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, config: &Config, io: &mut Io) -> Change {
        let late = || format!("the broker did not answer within {:?}", config.timeouts.broker);
        match &mut self.state {
            State::Idle => {
                self.open(now, config, io);
                Change::Nothing
            }
            State::Opening | State::Registering { .. } => {
                io.broker(BrokerCommand::Close);
                self.failed(now, late(), config, io)
            }
            State::Registered { since, pinged } => {
                // Any text shows that the broker lives, not only the answer to the ping.
                if pinged.is_some_and(|at| self.heard < at) {
                    let since = *since;
                    io.broker(BrokerCommand::Close);
                    return self.lost(now, since, late(), config, io);
                }
                let quiet = now.saturating_duration_since(self.heard);
                if quiet < PING_AFTER {
                    *pinged = None;
                    io.timers.set(Timer::Session, now, PING_AFTER - quiet);
                } else {
                    self.ping(now, config.timeouts.broker, io);
                }
                Change::Nothing
            }
            State::Stopped => Change::Nothing,
        }
    }
}

/// Our answer to a broker's challenge, where our id is our key.
fn proof(details: &Value, config: &Config) -> Option<String> {
    let identity = config.identity.as_ref()?;
    let challenge = details.get("challenge")?.as_str().filter(|text| text.len() <= MAX_CHALLENGE)?;
    (PublicKey::of_id(&config.id) == Some(identity.public())).then(|| identity.prove(challenge, &config.id))
}
