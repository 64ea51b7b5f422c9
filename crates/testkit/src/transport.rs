//! Transports that never leave the process: two connect once each has the other's description and one of its
//! addresses. Says what they say and when; the world delivers it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use linkup_core::{ConnectionId, RELAY_DESCRIPTION, TransportCommand, TransportId, TransportInput};
use linkup_proto::signal::Candidate;
use linkup_proto::{Error, ErrorCode};

/// Without an answer from the other side.
const ICE_FAILS_AFTER: Duration = Duration::from_secs(8);
/// Silence of an open transport: when it is noticed, at the earliest and the latest, and when the transport is over.
const SILENT: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(4500));
const LOST_AFTER: Duration = Duration::from_secs(9);
/// The driver's own bound of a close.
const CLOSE_FAILS_AFTER: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Transport {
    node: usize,
    remote: Option<TransportId>,
    /// Addresses of the remote.
    reachable: bool,
    /// It goes over the broker.
    relay: bool,
    /// It may use no TURN server; it uses one.
    direct: bool,
    turned: bool,
    connected: bool,
    opened: bool,
    silent: bool,
    closing: bool,
    started: Option<ConnectionId>,
}

/// All transports of the world.
pub(crate) struct Transports {
    all: BTreeMap<TransportId, Transport>,
    pub(crate) trickle: bool,
    /// Descriptions can be exchanged, but no packet arrives.
    pub(crate) blocked: bool,
    /// Only a TURN server leads from one to the other.
    pub(crate) turn: bool,
    /// Nodes that have no network.
    dark: BTreeSet<usize>,
    pub(crate) rng: fastrand::Rng,
    pub(crate) broken: Vec<String>,
}

/// Something that a transport will say.
pub(crate) type Saying = (Duration, TransportId, TransportInput);

fn description(transport: TransportId, relay: bool) -> String {
    let begin = if relay { RELAY_DESCRIPTION } else { "v=0\r\n" };
    format!("{begin}o=- {} 1 IN IP4 0.0.0.0\r\n", transport.0)
}

/// Which transport made a description.
fn maker(sdp: &str) -> Option<TransportId> {
    let (_, origin) = sdp.split_once("o=- ")?;
    origin.split(' ').next()?.parse().ok().map(TransportId)
}

fn lost(code: ErrorCode) -> TransportInput {
    TransportInput::Failed { error: Error::new(code, "the other side is gone") }
}

impl Transports {
    pub(crate) fn new(seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self {
            all: BTreeMap::new(),
            trickle: true,
            blocked: false,
            turn: false,
            dark: BTreeSet::new(),
            rng,
            broken: Vec::new(),
        }
    }

    pub(crate) fn is_dark(&self, node: usize) -> bool {
        self.dark.contains(&node)
    }

    /// A node has no network from now on.
    pub(crate) fn darken(&mut self, node: usize) -> Vec<Saying> {
        self.dark.insert(node);
        let quiet: Vec<_> = self.all.keys().copied().filter(|id| self.is_cut_off(*id)).collect();
        quiet.into_iter().flat_map(|id| self.fall_silent(id)).collect()
    }

    /// It has one again.
    pub(crate) fn lighten(&mut self, node: usize) -> Vec<Saying> {
        self.dark.remove(&node);
        let ids: Vec<_> = self.all.keys().copied().collect();
        let mut sayings = Vec::new();
        for id in ids {
            sayings.extend(self.try_connect(id));
            if self.all.get(&id).is_some_and(|transport| transport.silent) && !self.is_cut_off(id) {
                sayings.push((self.moment(), id, TransportInput::Heard));
            }
        }
        sayings
    }

    /// Whether an end of a transport hears nothing of the other.
    fn is_cut_off(&self, id: TransportId) -> bool {
        let Some(transport) = self.all.get(&id) else { return false };
        let remote = transport.remote.and_then(|remote| self.all.get(&remote));
        remote.is_none_or(|remote| self.is_dark(remote.node)) || self.is_dark(transport.node)
    }

    fn fall_silent(&mut self, id: TransportId) -> Vec<Saying> {
        let span = (SILENT.1 - SILENT.0).mul_f64(self.rng.f64());
        let error = Error::new(ErrorCode::ConnectionLost, "nothing is heard any more");
        vec![(SILENT.0 + span, id, TransportInput::Silent), (LOST_AFTER, id, TransportInput::Lost { error })]
    }

    fn moment(&mut self) -> Duration {
        Duration::from_micros(self.rng.u64(1..20_000))
    }

    /// How many there are of a node's.
    pub(crate) fn count(&self, node: usize) -> usize {
        self.all.values().filter(|transport| transport.node == node).count()
    }

    /// How many of them carry a connection, and how many do not.
    pub(crate) fn started(&self, node: usize) -> (usize, usize) {
        let started = |transport: &&Transport| transport.node == node && transport.started.is_some();
        let count = self.all.values().filter(started).count();
        (count, self.count(node) - count)
    }

    /// How many of a node's connections go over a TURN server.
    pub(crate) fn turned(&self, node: usize) -> usize {
        let turned = |transport: &&Transport| transport.node == node && transport.started.is_some() && transport.turned;
        self.all.values().filter(turned).count()
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
        let makes = matches!(
            command,
            TransportCommand::Offer
                | TransportCommand::OfferDirect
                | TransportCommand::OfferRelay { .. }
                | TransportCommand::Answer { .. }
        );
        if makes == self.all.contains_key(&id) {
            self.broken.push(format!("{id:?} is made twice, or does not exist: {command:?}"));
            return Vec::new();
        }
        match command {
            TransportCommand::Offer => self.make(node, id, None, false),
            TransportCommand::OfferDirect => {
                let sayings = self.make(node, id, None, false);
                self.all.entry(id).and_modify(|transport| transport.direct = true);
                sayings
            }
            TransportCommand::OfferRelay { .. } => self.make(node, id, None, true),
            TransportCommand::Relayed { .. } => Vec::new(),
            TransportCommand::Answer { sdp, rate, .. } => match maker(&sdp) {
                Some(caller) => self.make(node, id, Some(caller), rate.is_some()),
                None => {
                    self.make(node, id, None, false);
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

    fn make(&mut self, node: usize, id: TransportId, remote: Option<TransportId>, relay: bool) -> Vec<Saying> {
        self.all.insert(
            id,
            Transport {
                node,
                remote,
                reachable: !self.trickle || relay,
                relay,
                direct: false,
                turned: false,
                connected: false,
                opened: false,
                silent: false,
                closing: false,
                started: None,
            },
        );
        let mut sayings = vec![(self.moment(), id, TransportInput::Description { sdp: description(id, relay) })];
        if self.trickle && !relay {
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
        // One that has given up may answer the same call again.
        if from.is_none() || from < transport.remote {
            let remote = transport.remote;
            self.broken.push(format!("{id:?} of {remote:?} is given {candidate:?}"));
        }
        transport.reachable |= from == transport.remote;
        self.try_connect(id)
    }

    fn try_connect(&mut self, id: TransportId) -> Vec<Saying> {
        let pair = |id: &TransportId| {
            let transport = self.all.get(id)?;
            Some((transport.remote?, transport.reachable && !transport.connected))
        };
        let Some((remote, true)) = pair(&id) else { return Vec::new() };
        if self.is_cut_off(id) || pair(&remote) != Some((id, true)) {
            return Vec::new();
        }
        let any = |of: fn(&Transport) -> bool| [id, remote].iter().any(|end| self.all.get(end).is_some_and(of));
        let (relay, direct) = (any(|end| end.relay), any(|end| end.direct));
        if !relay && (self.blocked || self.turn && direct) {
            return Vec::new();
        }
        let turned = !relay && self.turn;
        let mut sayings = Vec::new();
        for end in [id, remote] {
            if let Some(transport) = self.all.get_mut(&end) {
                (transport.connected, transport.turned) = (true, turned);
            }
            let moment = self.moment();
            sayings.push((moment, end, TransportInput::Open));
            if turned {
                sayings.push((moment, end, TransportInput::Path { turn: true }));
            }
        }
        sayings
    }

    fn close(&mut self, id: TransportId) -> Vec<Saying> {
        let Some(transport) = self.all.get_mut(&id) else { return Vec::new() };
        transport.closing = true;
        let far = transport.remote;
        let remote = far.filter(|_| !self.is_cut_off(id));
        let moment = self.moment();
        match remote {
            Some(remote) => vec![
                (moment, remote, TransportInput::Closed),
                (moment + self.moment(), id, TransportInput::Finished { error: None }),
            ],
            None => {
                let error = Some(Error::new(ErrorCode::CloseTimeout, "nobody confirms"));
                let mut sayings = vec![(CLOSE_FAILS_AFTER, id, TransportInput::Finished { error })];
                let noticed = far.into_iter().flat_map(|far| self.fall_silent(far));
                sayings.extend(noticed.map(|(after, far, input)| (CLOSE_FAILS_AFTER + after, far, input)));
                sayings
            }
        }
    }

    /// Also what happens when its process is killed.
    pub(crate) fn abort(&mut self, id: TransportId) -> Vec<Saying> {
        let Some(transport) = self.all.remove(&id) else { return Vec::new() };
        let Some(remote) = transport.remote.filter(|_| transport.connected) else { return Vec::new() };
        if self.all.get(&remote).is_some_and(|remote| remote.opened) {
            return self.fall_silent(remote);
        }
        // Before it is open there are no heartbeats to miss.
        let noticed = Duration::from_millis(self.rng.u64(2000..10_000));
        vec![(noticed, remote, lost(ErrorCode::ConnectionLost))]
    }

    pub(crate) fn kill(&mut self, node: usize) -> Vec<Saying> {
        let ids: Vec<TransportId> =
            self.all.iter().filter(|(_, transport)| transport.node == node).map(|(id, _)| *id).collect();
        ids.into_iter().flat_map(|id| self.abort(id)).collect()
    }

    /// Whether a saying still holds at the moment of its delivery; it is then said.
    pub(crate) fn says(&mut self, id: TransportId, input: &TransportInput) -> bool {
        let cut_off = self.is_cut_off(id);
        let Some(transport) = self.all.get_mut(&id) else { return false };
        match input {
            TransportInput::Silent => {
                let news = transport.started.is_some() && cut_off && !transport.silent;
                transport.silent |= news;
                news
            }
            TransportInput::Heard => !cut_off && std::mem::take(&mut transport.silent),
            TransportInput::Lost { .. } => {
                let over = transport.started.is_some() && cut_off;
                if over {
                    self.all.remove(&id);
                }
                over
            }
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
