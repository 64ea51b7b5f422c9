//! Transports that never leave the process: two connect once each has the other's description and one of its
//! addresses. Says what they say and when; the world delivers it.

use std::collections::BTreeMap;
use std::time::Duration;

use linkup_core::{ConnectionId, TransportCommand, TransportId, TransportInput};
use linkup_proto::signal::Candidate;
use linkup_proto::{Error, ErrorCode};

/// Without an answer from the other side.
const ICE_FAILS_AFTER: Duration = Duration::from_secs(8);
/// The driver's own bound of a close.
const CLOSE_FAILS_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Transport {
    node: usize,
    remote: Option<TransportId>,
    /// Addresses of the remote.
    reachable: bool,
    connected: bool,
    opened: bool,
    closing: bool,
    started: Option<ConnectionId>,
}

/// All transports of the world.
pub(crate) struct Transports {
    all: BTreeMap<TransportId, Transport>,
    pub(crate) trickle: bool,
    /// Descriptions can be exchanged, but no packet arrives.
    pub(crate) blocked: bool,
    pub(crate) rng: fastrand::Rng,
    pub(crate) broken: Vec<String>,
}

/// Something that a transport will say.
pub(crate) type Saying = (Duration, TransportId, TransportInput);

fn description(transport: TransportId) -> String {
    format!("v=0\r\no=- {} 1 IN IP4 0.0.0.0\r\n", transport.0)
}

/// Which transport made a description.
fn maker(sdp: &str) -> Option<TransportId> {
    let origin = sdp.lines().find_map(|line| line.strip_prefix("o=- "))?;
    origin.split(' ').next()?.parse().ok().map(TransportId)
}

fn lost(code: ErrorCode) -> TransportInput {
    TransportInput::Failed { error: Error::new(code, "the other side is gone") }
}

impl Transports {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self { all: BTreeMap::new(), trickle: true, blocked: false, rng, broken: Vec::new() }
    }

    fn moment(&mut self) -> Duration {
        Duration::from_micros(self.rng.u64(1..20_000))
    }

    /// How many there are of a node's.
    pub(crate) fn count(&self, node: usize) -> usize {
        self.all.values().filter(|transport| transport.node == node).count()
    }

    pub(crate) fn node(&self, transport: TransportId) -> Option<usize> {
        self.all.get(&transport).map(|transport| transport.node)
    }

    /// The connections at both ends of the transport that carries `connection`.
    pub(crate) fn ends(&self, connection: ConnectionId) -> Option<(ConnectionId, Option<ConnectionId>)> {
        let transport = self.all.values().find(|transport| transport.started == Some(connection))?;
        let remote = transport.remote.and_then(|remote| self.all.get(&remote));
        Some((connection, remote.and_then(|remote| remote.started)))
    }

    pub(crate) fn handle(&mut self, node: usize, id: TransportId, command: TransportCommand) -> Vec<Saying> {
        let makes = matches!(command, TransportCommand::Offer | TransportCommand::Answer { .. });
        if makes == self.all.contains_key(&id) {
            self.broken.push(format!("{id:?} is made twice, or does not exist: {command:?}"));
            return Vec::new();
        }
        match command {
            TransportCommand::Offer => self.make(node, id, None),
            TransportCommand::Answer { sdp, .. } => match maker(&sdp) {
                Some(caller) => self.make(node, id, Some(caller)),
                None => {
                    self.make(node, id, None);
                    vec![(self.moment(), id, lost(ErrorCode::Protocol))]
                }
            },
            TransportCommand::SetAnswer { sdp, .. } => {
                let answerer = maker(&sdp);
                let Some(transport) = self.all.get_mut(&id) else { return Vec::new() };
                if transport.remote.is_some() {
                    self.broken.push(format!("{id:?} is answered twice"));
                }
                let Some(answerer) = answerer else { return vec![(self.moment(), id, lost(ErrorCode::Protocol))] };
                transport.remote = Some(answerer);
                let mut sayings = self.try_connect(id);
                sayings.push((ICE_FAILS_AFTER, id, lost(ErrorCode::IceFailed)));
                sayings
            }
            TransportCommand::AddCandidate(candidate) => self.add_candidate(id, &candidate),
            TransportCommand::Start { connection } => {
                let Some(transport) = self.all.get_mut(&id) else { return Vec::new() };
                if !transport.opened || transport.started.is_some() {
                    self.broken.push(format!("{id:?} is not open, or was started before"));
                }
                transport.started = Some(connection);
                Vec::new()
            }
            TransportCommand::Close => self.close(id),
            TransportCommand::Abort => self.abort(id),
        }
    }

    fn make(&mut self, node: usize, id: TransportId, remote: Option<TransportId>) -> Vec<Saying> {
        self.all.insert(
            id,
            Transport {
                node,
                remote,
                reachable: !self.trickle,
                connected: false,
                opened: false,
                closing: false,
                started: None,
            },
        );
        let mut sayings = vec![(self.moment(), id, TransportInput::Description { sdp: description(id) })];
        if self.trickle {
            for number in 0..3 {
                // The last one is the end of candidates; any may come before the description.
                let candidate = if number == 2 { String::new() } else { format!("candidate:{} {number}", id.0) };
                let candidate = Candidate { candidate, mid: Some("0".into()), mline_index: Some(0) };
                sayings.push((self.moment(), id, TransportInput::Candidate(candidate)));
            }
        }
        if remote.is_some() {
            sayings.push((ICE_FAILS_AFTER, id, lost(ErrorCode::IceFailed)));
            sayings.extend(self.try_connect(id));
        }
        sayings
    }

    fn add_candidate(&mut self, id: TransportId, candidate: &Candidate) -> Vec<Saying> {
        let Some(transport) = self.all.get_mut(&id) else { return Vec::new() };
        let from = candidate.candidate.strip_prefix("candidate:").and_then(|text| text.split(' ').next());
        let from = from.and_then(|text| text.parse().ok()).map(TransportId);
        if from.is_none() || from != transport.remote {
            let remote = transport.remote;
            self.broken.push(format!("{id:?} of {remote:?} is given {candidate:?}"));
        }
        transport.reachable = true;
        self.try_connect(id)
    }

    fn try_connect(&mut self, id: TransportId) -> Vec<Saying> {
        let pair = |id: &TransportId| {
            let transport = self.all.get(id)?;
            Some((transport.remote?, transport.reachable && !transport.connected))
        };
        let Some((remote, true)) = pair(&id).filter(|_| !self.blocked) else { return Vec::new() };
        if pair(&remote) != Some((id, true)) {
            return Vec::new();
        }
        for end in [id, remote] {
            if let Some(transport) = self.all.get_mut(&end) {
                transport.connected = true;
            }
        }
        vec![(self.moment(), id, TransportInput::Open), (self.moment(), remote, TransportInput::Open)]
    }

    fn close(&mut self, id: TransportId) -> Vec<Saying> {
        let Some(transport) = self.all.get_mut(&id) else { return Vec::new() };
        transport.closing = true;
        let remote = transport.remote.filter(|remote| self.all.contains_key(remote));
        let moment = self.moment();
        match remote {
            Some(remote) => vec![
                (moment, remote, TransportInput::Closed),
                (moment + self.moment(), id, TransportInput::Finished { error: None }),
            ],
            None => {
                let error = Some(Error::new(ErrorCode::CloseTimeout, "nobody confirms"));
                vec![(CLOSE_FAILS_AFTER, id, TransportInput::Finished { error })]
            }
        }
    }

    /// Also what happens when its process is killed.
    pub(crate) fn abort(&mut self, id: TransportId) -> Vec<Saying> {
        let Some(transport) = self.all.remove(&id) else { return Vec::new() };
        let Some(remote) = transport.remote.filter(|_| transport.connected) else { return Vec::new() };
        // Before it is open there are no heartbeats to miss.
        let earliest = if self.all.get(&remote).is_some_and(|remote| remote.opened) { 1 } else { 2000 };
        let noticed = Duration::from_millis(self.rng.u64(earliest..10_000));
        vec![(noticed, remote, lost(ErrorCode::ConnectionLost))]
    }

    pub(crate) fn kill(&mut self, node: usize) -> Vec<Saying> {
        let ids: Vec<TransportId> =
            self.all.iter().filter(|(_, transport)| transport.node == node).map(|(id, _)| *id).collect();
        ids.into_iter().flat_map(|id| self.abort(id)).collect()
    }

    /// Whether a saying still holds at the moment of its delivery; it is then said.
    pub(crate) fn says(&mut self, id: TransportId, input: &TransportInput) -> bool {
        let Some(transport) = self.all.get_mut(&id) else { return false };
        match input {
            TransportInput::Failed { error } if error.code == ErrorCode::IceFailed => !transport.connected,
            TransportInput::Open => {
                transport.opened = true;
                true
            }
            TransportInput::Finished { .. } => {
                self.all.remove(&id);
                true
            }
            _ => true,
        }
    }
}
