//! Our own addresses, and the way through TURN servers (RFC 8445 section 5.1.1, RFC 8656). Sans-IO, but that names of
//! servers are looked up and streams to servers opened in tasks.
//!
//! A relayed address looks to ICE like a socket of ours: what ICE sends from it comes here ([`Gatherer::relay`]), goes to
//! the server in a frame of TURN, and what the server sends comes back as a packet to that address.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::ice::candidate::CandidateConfig;
use rtc::ice::url::{ProtoType, SchemeType, Url};
use rtc::peer_connection::transport::{
    CandidateHostConfig, CandidateRelayConfig, CandidateServerReflexiveConfig, RTCIceCandidate, RTCIceCandidateInit,
};
use rtc::sansio::Protocol;
use rtc::shared::error::Error;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};
use rtc::stun::message::TransactionId;
use rtc::turn::client::{Client, ClientConfig, Event};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::stream;
use crate::options::IceServer;

/// A dead name server must not keep the application waiting for the other addresses.
const RESOLVE: Duration = Duration::from_secs(5);

/// How often a relayed address is refreshed at least. `rtc-turn` does not repeat a refresh that the server refuses because its
/// nonce is too old (438), it takes the new nonce for the next one: that has to come before the address is given up, ten
/// minutes after the last one that was taken (RFC 8656, section 3.2).
const REFRESH: Duration = Duration::from_secs(120);

/// Packets to one remote that wait for the TURN server's leave to send there; checks are repeated.
const MAX_WAITING: usize = 32;

/// What comes from a task.
pub(super) enum Late {
    /// The addresses of a server.
    Resolved { server: usize, addresses: Vec<IpAddr> },
    /// A stream to a server, or none.
    Stream { server: usize, stream: Option<stream::Stream> },
    /// What came over a stream.
    Packet { local: SocketAddr, remote: SocketAddr, bytes: BytesMut },
    /// An address of the remote's, whose name is resolved.
    Candidate(RTCIceCandidateInit),
}

/// What is new.
pub(super) enum Found {
    Candidate(RTCIceCandidateInit),
    Complete,
}

/// A server that is to be asked.
struct Wanted {
    url: Url,
    username: String,
    credential: String,
    /// It has said something from one of our addresses; what, where it was no.
    answered: bool,
    error: Option<String>,
}

/// A server that is asked from one of our addresses.
struct Asked {
    client: Client,
    server: usize,
    local: SocketAddr,
    remote: SocketAddr,
    /// The request for a relayed address; none where it is only asked how it sees us.
    allocate: Option<TransactionId>,
    relayed: Option<SocketAddr>,
    answered: bool,
    /// Packets that wait for leave to send to their remote, and the requests for it.
    waiting: HashMap<SocketAddr, VecDeque<TaggedBytesMut>>,
    permissions: HashMap<TransactionId, SocketAddr>,
}

/// See the module.
pub(super) struct Gatherer {
    wanted: Vec<Wanted>,
    relay_only: bool,
    asked: Vec<Asked>,
    streams: Vec<stream::Stream>,
    /// Look-ups and streams under way.
    pending: usize,
    started: bool,
    complete: bool,
    /// No more addresses are wanted.
    settled: bool,
    locals: Vec<SocketAddr>,
    found: VecDeque<Found>,
    packets: VecDeque<TaggedBytesMut>,
    /// Last words to servers that we are done with.
    partings: VecDeque<TaggedBytesMut>,
    late: mpsc::Sender<Late>,
}

/// Why a server cannot be asked.
fn problem(url: &Url, server: &IceServer) -> Option<&'static str> {
    match (url.scheme, url.proto) {
        (SchemeType::Stun, _) => None,
        (SchemeType::Turn | SchemeType::Turns, _) if server.username.is_empty() => Some("no username"),
        (SchemeType::Turn | SchemeType::Turns, _) if server.credential.is_empty() => Some("no credential"),
        (SchemeType::Turn, _) | (SchemeType::Turns, ProtoType::Tcp) => None,
        _ => Some("only stun:, turn: and turns: over TCP are supported"),
    }
}

/// `stun:` has no query (RFC 7064), but configurations do.
fn without_query_of_stun(url: &str) -> &str {
    if url.starts_with("stun:") { url.split('?').next().unwrap_or(url) } else { url }
}

/// The servers that can be asked. The others are passed over: one of them must not spoil the rest.
fn usable(servers: &[IceServer]) -> Vec<Wanted> {
    let mut usable = Vec::new();
    for server in servers {
        for text in &server.urls {
            let problem = match Url::parse_url(without_query_of_stun(text)) {
                Err(error) => error.to_string(),
                Ok(url) => match problem(&url, server) {
                    Some(problem) => problem.to_owned(),
                    None => {
                        let (username, credential) = (server.username.clone(), server.credential.clone());
                        usable.push(Wanted { url, username, credential, answered: false, error: None });
                        continue;
                    }
                },
            };
            tracing::warn!(url = text, problem, "this ICE server is passed over");
        }
    }
    usable
}

fn base(address: SocketAddr) -> CandidateConfig {
    CandidateConfig {
        network: "udp".to_owned(),
        address: address.ip().to_string(),
        port: address.port(),
        component: 1,
        ..CandidateConfig::default()
    }
}

fn written(candidate: &rtc::ice::candidate::Candidate) -> Result<RTCIceCandidateInit, Error> {
    RTCIceCandidate::from(candidate).to_json()
}

fn host(address: SocketAddr) -> Result<RTCIceCandidateInit, Error> {
    written(&CandidateHostConfig { base_config: base(address), ..CandidateHostConfig::default() }.new_candidate_host()?)
}

fn reflexive(address: SocketAddr, local: SocketAddr) -> Result<RTCIceCandidateInit, Error> {
    let config = CandidateServerReflexiveConfig {
        base_config: base(address),
        rel_addr: local.ip().to_string(),
        rel_port: local.port(),
        ..CandidateServerReflexiveConfig::default()
    };
    written(&config.new_candidate_server_reflexive()?)
}

/// The type preference of a relayed address (RFC 8445, section 5.1.2.2), as browsers have it: over UDP nothing holds up what is
/// behind a lost packet, and TLS encrypts once more.
fn preference(url: &Url) -> u32 {
    match (url.scheme, url.proto) {
        (SchemeType::Turns, _) => 0,
        (_, ProtoType::Tcp) => 1,
        _ => 2,
    }
}

fn relayed(address: SocketAddr, local: SocketAddr, url: &Url) -> Result<RTCIceCandidateInit, Error> {
    let priority = (preference(url) << 24) + (65_535 << 8) + 255;
    let url = url.to_string();
    let config = CandidateRelayConfig {
        base_config: CandidateConfig { priority, ..base(address) },
        rel_addr: local.ip().to_string(),
        rel_port: local.port(),
        url: Some(url.clone()),
    };
    let mut candidate = written(&config.new_candidate_relay()?)?;
    candidate.url = Some(url);
    Ok(candidate)
}

impl Gatherer {
    /// `late`: where tasks say what they have found; it comes back with [`Gatherer::handle_late`].
    /// `direct`: without those that relay.
    pub(super) fn new(servers: &[IceServer], relay_only: bool, direct: bool, late: mpsc::Sender<Late>) -> Self {
        let mut wanted = usable(servers);
        wanted.retain(|wanted| !direct || wanted.url.scheme == SchemeType::Stun);
        Self {
            wanted,
            relay_only,
            asked: Vec::new(),
            streams: Vec::new(),
            pending: 0,
            started: false,
            complete: false,
            settled: false,
            locals: Vec::new(),
            found: VecDeque::new(),
            packets: VecDeque::new(),
            partings: VecDeque::new(),
            late,
        }
    }

    pub(super) fn has_servers(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// What the servers have said so far: `[{url, answered, error}]`.
    pub(super) fn servers(&self) -> Vec<Value> {
        let servers = self.wanted.iter();
        servers
            .map(|server| json!({"url": server.url.to_string(), "answered": server.answered, "error": server.error}))
            .collect()
    }

    /// Begins. `locals`: the addresses of our sockets.
    pub(super) fn start(&mut self, now: Instant, locals: Vec<SocketAddr>) {
        if !self.relay_only {
            for local in &locals {
                self.find(host(*local));
            }
        }
        self.locals = locals;
        self.started = true;
        for server in 0..self.wanted.len() {
            let url = &self.wanted[server].url;
            if self.relay_only && url.scheme == SchemeType::Stun {
                continue;
            }
            self.pending += 1;
            if let Ok(address) = url.host.parse() {
                self.resolved(now, server, &[address]);
                continue;
            }
            let (late, name, port) = (self.late.clone(), url.host.clone(), url.port);
            tokio::spawn(async move {
                let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((name.as_str(), port))).await;
                let addresses = match found {
                    Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
                    _ => {
                        tracing::warn!(name, "this ICE server's address cannot be found");
                        Vec::new()
                    }
                };
                let _ = late.send(Late::Resolved { server, addresses }).await;
            });
        }
        self.finish();
    }

    /// What a task has found out. Gives back what is none of ours.
    pub(super) fn handle_late(&mut self, now: Instant, late: Late) -> Option<Late> {
        match late {
            Late::Resolved { .. } | Late::Stream { .. } if self.settled => self.pending -= 1,
            Late::Resolved { server, addresses } => self.resolved(now, server, &addresses),
            Late::Stream { server, stream } => {
                self.pending -= 1;
                if let Some(stream) = stream {
                    let (local, remote) = stream.route();
                    self.streams.push(stream);
                    self.ask(now, server, local, remote, TransportProtocol::TCP);
                }
            }
            late => return Some(late),
        }
        self.finish();
        None
    }

    fn resolved(&mut self, now: Instant, server: usize, addresses: &[IpAddr]) {
        self.pending -= 1;
        let url = &self.wanted[server].url;
        let (port, secure) = (url.port, url.scheme == SchemeType::Turns);
        if url.scheme != SchemeType::Stun && url.proto == ProtoType::Tcp {
            // One stream is enough: it starts where the kernel says, and is only the way to the relay.
            let Some(address) = addresses.first() else { return };
            self.pending += 1;
            let (late, host) = (self.late.clone(), url.host.clone());
            let remote = SocketAddr::new(*address, port);
            tokio::spawn(async move {
                let opened = stream::open(remote, secure.then_some(host), late.clone()).await;
                let stream = opened
                    .inspect_err(|error| tracing::warn!(%error, %remote, "this TURN server cannot be reached"))
                    .ok();
                let _ = late.send(Late::Stream { server, stream }).await;
            });
            return;
        }
        for local in self.locals.clone() {
            let address = addresses.iter().find(|address| address.is_ipv4() == local.is_ipv4());
            if let Some(address) = address {
                self.ask(now, server, local, SocketAddr::new(*address, port), TransportProtocol::UDP);
            }
        }
    }

    fn ask(&mut self, now: Instant, server: usize, local: SocketAddr, remote: SocketAddr, over: TransportProtocol) {
        let wanted = &self.wanted[server];
        let is_stun = wanted.url.scheme == SchemeType::Stun;
        let same =
            |asked: &Asked| asked.local == local && asked.remote == remote && asked.allocate.is_none() == is_stun;
        if self.asked.iter().any(same) {
            return;
        }
        let name = remote.to_string();
        let config = ClientConfig {
            stun_serv_addr: name.clone(),
            turn_serv_addr: if is_stun { String::new() } else { name },
            local_addr: local,
            transport_protocol: over,
            username: wanted.username.clone(),
            password: wanted.credential.clone(),
            allocation_refresh_interval_cap: Some(REFRESH),
            ..ClientConfig::default()
        };
        let begun =
            rtc::crypto::default_provider().map_err(|error| Error::Other(error.to_string())).and_then(|crypto| {
                let mut client = Client::new(config, crypto)?;
                let request = if is_stun { client.send_binding_request(now)? } else { client.allocate(now)? };
                Ok((client, request))
            });
        match begun {
            Ok((client, request)) => self.asked.push(Asked {
                client,
                server,
                local,
                remote,
                allocate: (!is_stun).then_some(request),
                relayed: None,
                answered: false,
                waiting: HashMap::new(),
                permissions: HashMap::new(),
            }),
            Err(error) => tracing::warn!(%error, %remote, "this ICE server cannot be asked"),
        }
    }

    fn find(&mut self, candidate: Result<RTCIceCandidateInit, Error>) {
        match candidate {
            Ok(candidate) => self.found.push_back(Found::Candidate(candidate)),
            Err(error) => tracing::debug!(%error, "an address cannot be written down"),
        }
    }

    fn finish(&mut self) {
        let waits = !self.started || self.pending > 0 || self.asked.iter().any(|asked| !asked.answered);
        if !waits && !self.complete {
            self.complete = true;
            self.found.push_back(Found::Complete);
        }
    }

    /// Takes a packet that is an answer of a server; gives back what is none.
    pub(super) fn handle_packet(&mut self, packet: TaggedBytesMut) -> Option<TaggedBytesMut> {
        let TransportContext { local_addr, peer_addr, .. } = packet.transport;
        let by_route =
            |asked: &Asked| asked.local == local_addr && asked.remote == peer_addr && asked.allocate.is_some();
        let index = match packet.message.get(..20) {
            _ if self.asked.is_empty() => None,
            // STUN (RFC 8489, section 5): an answer belongs to who asked, an indication comes from a relay.
            Some(head) if head[0] < 4 => match (head[0] & 1, head[1] & 0x10) {
                (1, _) => {
                    let mut id = TransactionId::default();
                    id.0.copy_from_slice(&head[8..20]);
                    self.asked.iter().position(|asked| asked.client.has_transaction(&id))
                }
                (_, 0) => None,
                _ => self.asked.iter().position(by_route),
            },
            // ChannelData (RFC 8656, section 12.4).
            _ if packet.message.first().is_some_and(|first| (0x40..0x50).contains(first)) => {
                self.asked.iter().position(by_route)
            }
            _ => None,
        };
        let Some(index) = index else { return Some(packet) };
        if let Err(error) = self.asked[index].client.handle_read(packet) {
            tracing::debug!(%error, "a server's answer is passed over");
        }
        self.pump(index);
        None
    }

    /// Whether packets from that address go through a server.
    pub(super) fn is_relayed(&self, local: SocketAddr) -> bool {
        self.asked.iter().any(|asked| asked.relayed == Some(local))
    }

    /// Sends a packet through the server that gave us its source address.
    pub(super) fn relay(&mut self, packet: TaggedBytesMut) {
        let local = packet.transport.local_addr;
        if let Some(asked) = self.asked.iter_mut().find(|asked| asked.relayed == Some(local)) {
            asked.relay(packet);
        }
    }

    fn pump(&mut self, index: usize) {
        let asked = &mut self.asked[index];
        let server = &mut self.wanted[asked.server];
        let mut found = None;
        while let Some(event) = asked.client.poll_event() {
            match event {
                Event::BindingResponse(_, address) if asked.allocate.is_none() => {
                    found = Some(reflexive(address, asked.local));
                    (server.answered, asked.answered) = (true, true);
                }
                Event::AllocateResponse(id, address) if asked.allocate == Some(id) => {
                    if self.settled {
                        // Too late.
                        asked.relayed = Some(address);
                        self.give_back(Instant::now(), index);
                        return self.finish();
                    }
                    found = Some(relayed(address, asked.local, &server.url));
                    asked.relayed = Some(address);
                    (server.answered, asked.answered) = (true, true);
                }
                Event::BindingError(_, error) | Event::AllocateError(_, error) => {
                    tracing::warn!(%error, url = %server.url, "the ICE server refuses");
                    (server.answered, asked.answered) = (true, true);
                    server.error = Some(error.to_string());
                }
                Event::CreatePermissionResponse(id, _) => asked.permitted(&id, true),
                Event::CreatePermissionError(id, error) => {
                    tracing::debug!(%error, url = %server.url, "the TURN server does not relay there");
                    asked.permitted(&id, false);
                }
                Event::TransactionTimeout(id) => {
                    if asked.allocate.is_none_or(|allocate| allocate == id) || asked.relayed.is_none() {
                        asked.answered = true;
                    }
                    asked.permitted(&id, false);
                }
                Event::DataIndicationOrChannelData(_, remote, message) => {
                    if let Some(relayed) = asked.relayed {
                        let transport = TransportContext {
                            local_addr: relayed,
                            peer_addr: remote,
                            transport_protocol: TransportProtocol::UDP,
                            ecn: None,
                        };
                        self.packets.push_back(TaggedBytesMut { now: Instant::now(), transport, message });
                    }
                }
                _ => {}
            }
        }
        if let Some(candidate) = found {
            self.find(candidate);
        }
        self.finish();
    }

    pub(super) fn poll_found(&mut self) -> Option<Found> {
        self.found.pop_front()
    }

    /// A packet that a server has passed on to us.
    pub(super) fn poll_packet(&mut self) -> Option<TaggedBytesMut> {
        self.packets.pop_front()
    }

    /// A packet for a server; those that go over a stream are on their way.
    pub(super) fn poll_write(&mut self) -> Option<TaggedBytesMut> {
        if let Some(packet) = self.partings.pop_front() {
            return Some(packet);
        }
        for asked in &mut self.asked {
            while let Some(packet) = asked.client.poll_write() {
                if packet.transport.transport_protocol == TransportProtocol::UDP {
                    return Some(packet);
                }
                let route = (packet.transport.local_addr, packet.transport.peer_addr);
                if let Some(stream) = self.streams.iter().find(|stream| stream.route() == route) {
                    stream.send(packet.message);
                }
            }
        }
        None
    }

    pub(super) fn poll_timeout(&mut self) -> Option<Instant> {
        self.asked.iter_mut().filter_map(|asked| asked.client.poll_timeout()).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        // From behind: one that is done with makes place for the last.
        for index in (0..self.asked.len()).rev() {
            if let Err(error) = self.asked[index].client.handle_timeout(now) {
                tracing::debug!(%error, "a server's time-out");
            }
            self.pump(index);
        }
        // Once it has said how it sees us, a STUN server is of no more use.
        self.asked.retain(|asked| asked.allocate.is_some() || !asked.answered);
    }

    /// The connection is up, from that address of ours: gives back all relayed addresses but that one and the best of the
    /// others, which is there for a remote that changes the path. Servers count them.
    pub(super) fn settle(&mut self, now: Instant, used: Option<SocketAddr>) {
        self.settled = true;
        let best = self.asked.iter().filter(|asked| asked.relayed.is_some() && asked.relayed != used);
        let best = best.max_by_key(|asked| preference(&self.wanted[asked.server].url)).and_then(|asked| asked.relayed);
        let is_kept = |asked: &Asked| asked.relayed == used || asked.relayed == best;
        for index in (0..self.asked.len()).rev() {
            let asked = &self.asked[index];
            if asked.relayed.is_some() && !is_kept(asked) {
                self.give_back(now, index);
            }
        }
    }

    fn give_back(&mut self, now: Instant, index: usize) {
        let mut asked = self.asked.swap_remove(index);
        let _ = asked.client.close();
        if let Some(relayed) = asked.relayed
            && let Ok(mut relay) = asked.client.relay(relayed)
        {
            let _ = relay.close(now);
        }
        let route = (asked.local, asked.remote);
        while let Some(packet) = asked.client.poll_write() {
            match self.streams.iter().find(|stream| stream.route() == route) {
                Some(stream) => stream.send(packet.message),
                None => self.partings.push_back(packet),
            }
        }
        let asked = &self.asked;
        self.streams.retain(|stream| asked.iter().any(|asked| (asked.local, asked.remote) == stream.route()));
    }

    /// Gives the relayed addresses back; the words to the servers come with [`Gatherer::poll_write`].
    pub(super) fn release(&mut self, now: Instant) {
        for index in (0..self.asked.len()).rev() {
            self.give_back(now, index);
        }
    }
}

impl Asked {
    fn relay(&mut self, packet: TaggedBytesMut) {
        let (Some(relayed), remote) = (self.relayed, packet.transport.peer_addr) else { return };
        let sent = self.client.relay(relayed).and_then(|mut relay| relay.send_to(packet.now, &packet.message, remote));
        match sent {
            Ok(()) => {}
            Err(Error::ErrNoPermission) => self.wait(relayed, remote, packet),
            Err(error) => tracing::debug!(%error, %remote, "not relayed"),
        }
    }

    /// Keeps a packet until the server lets us send there.
    fn wait(&mut self, relayed: SocketAddr, remote: SocketAddr, packet: TaggedBytesMut) {
        let asks = self.permissions.values().any(|asked| *asked == remote);
        if !asks {
            let asked = self.client.relay(relayed).and_then(|mut relay| relay.create_permission(packet.now, remote));
            match asked {
                Ok(Some(id)) => drop(self.permissions.insert(id, remote)),
                Ok(None) => {}
                Err(error) => return tracing::debug!(%error, %remote, "the TURN server is not asked for leave"),
            }
        }
        let waiting = self.waiting.entry(remote).or_default();
        if waiting.len() < MAX_WAITING {
            waiting.push_back(packet);
        }
    }

    fn permitted(&mut self, id: &TransactionId, permitted: bool) {
        let Some(remote) = self.permissions.remove(id) else { return };
        for packet in self.waiting.remove(&remote).into_iter().flatten().filter(|_| permitted) {
            self.relay(packet);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_better_over_udp_than_over_tcp_and_that_better_than_over_tls() {
        let address = "192.0.2.1:5000".parse().unwrap();
        let urls = ["turn:h", "turn:h?transport=tcp", "turns:h?transport=tcp"].map(|url| Url::parse_url(url).unwrap());
        let priorities = urls.map(|url| {
            let candidate = relayed(address, address, &url).unwrap().candidate;
            candidate.split(' ').nth(3).unwrap().parse::<u32>().unwrap()
        });
        assert!(priorities.is_sorted_by(|a, b| a > b), "{priorities:?}");
        assert!(priorities[0] < 100 << 24, "less than any other type");
    }

    #[test]
    fn passes_over_what_cannot_be_asked() {
        let urls = [
            "stun:192.0.2.1:3478?transport=udp",
            "stuns:192.0.2.1",
            "turn:192.0.2.1?transport=udp",
            "turn:192.0.2.1?transport=tcp",
            "turns:192.0.2.1?transport=tcp",
            "turns:192.0.2.1?transport=udp",
            "http://192.0.2.1",
            "stun:",
        ];
        let server = IceServer {
            urls: urls.map(str::to_owned).to_vec(),
            username: "someone".to_owned(),
            credential: "secret".to_owned(),
        };
        let kinds: Vec<_> = usable(&[server]).iter().map(|wanted| (wanted.url.scheme, wanted.url.proto)).collect();
        let udp = (SchemeType::Turn, ProtoType::Udp);
        let (tcp, tls) = ((SchemeType::Turn, ProtoType::Tcp), (SchemeType::Turns, ProtoType::Tcp));
        assert_eq!(kinds, [(SchemeType::Stun, ProtoType::Udp), udp, tcp, tls]);
        let nobody = IceServer { urls: vec!["turn:192.0.2.1".to_owned()], ..IceServer::default() };
        assert!(usable(&[nobody]).is_empty());
    }
}
