//! From a fresh peer connection to an open data channel: descriptions, addresses, and why it did not work.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use linkup_core::TransportInput;
use linkup_proto::frame::{MAX_HEADER, MAX_PAYLOAD};
use linkup_proto::limits::MAX_FRAME_BYTES;
use linkup_proto::signal::Candidate;
use linkup_proto::{Error, ErrorCode};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::{PeerConnection, RTCIceCandidateInit, RTCSessionDescription};

use super::build::{Built, Signal};
use super::{End, Order, Reports, Role, Step, internal, sdp};
use crate::link::{Link, Wire};
use crate::mdns;
use crate::options::Options;
use crate::runtime::Pulse;
use crate::stats;

/// How long a trickled description waits for the addresses that are there at once. They save a message each.
const FIRST_ADDRESSES: Duration = Duration::from_millis(20);

/// The same where servers are asked: their answers take longer than is worth waiting for.
const FIRST_ADDRESSES_WITH_SERVERS: Duration = Duration::from_millis(5);

/// Bytes of a channel's random name: simple-peer has 40 hexadecimal digits.
const NAME_BYTES: usize = 20;

struct Negotiation<'a> {
    options: &'a Options,
    built: &'a mut Built,
    orders: &'a mut mpsc::UnboundedReceiver<Order>,
    wire: &'a Wire,
    reports: &'a Reports,
    channel: Option<Arc<dyn DataChannel>>,
    /// Our addresses that the remote does not have yet.
    local: Vec<RTCIceCandidateInit>,
    /// The remote's that came before its description.
    remote: Vec<Candidate>,
    knows_remote: bool,
    gathered: bool,
    mid: Option<String>,
    ice_connected: bool,
    local_count: usize,
    remote_count: usize,
}

/// Brings the channel up and waits for leave to use it.
pub(super) async fn negotiate(
    options: &Options,
    role: Role,
    built: &mut Built,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    wire: &Wire,
    reports: &Reports,
) -> Step<(Arc<dyn DataChannel>, Arc<Link>)> {
    let mut negotiation = Negotiation {
        options,
        built,
        orders,
        wire,
        reports,
        channel: None,
        local: Vec::new(),
        remote: Vec::new(),
        knows_remote: false,
        gathered: false,
        mid: None,
        ice_connected: false,
        local_count: 0,
        remote_count: 0,
    };
    negotiation.describe(role).await?;
    negotiation.open().await
}

fn broken(what: &str, error: impl std::fmt::Display) -> End {
    End::Failed(Error::new(ErrorCode::Protocol, format!("the remote's {what} cannot be used: {error}")))
}

impl Negotiation<'_> {
    async fn describe(&mut self, role: Role) -> Step<()> {
        let pc = Arc::clone(&self.built.pc);
        let calls = matches!(role, Role::Caller);
        let description = match role {
            Role::Caller => {
                self.wire.unreliable.store(!self.options.channel.is_reliable(), Ordering::Relaxed);
                self.create_channel(&*pc).await?;
                pc.create_offer(None).await.map_err(internal)?
            }
            Role::Called { sdp, linkup } => {
                self.wire.unreliable.store(!sdp::is_reliable(&sdp), Ordering::Relaxed);
                self.set_remote(&*pc, sdp, linkup, RTCSessionDescription::offer).await?;
                // A channel that nobody announces is made on both sides.
                if self.options.channel.negotiated.is_some() {
                    self.create_channel(&*pc).await?;
                }
                pc.create_answer(None).await.map_err(|error| broken("offer", error))?
            }
        };
        self.mid = sdp::mid(&description.sdp).map(str::to_owned);
        pc.set_local_description(description.clone()).await.map_err(internal)?;
        self.gather().await?;
        let sdp = pc.local_description().await.unwrap_or(description).sdp;
        let late: Vec<_> = self.local.extract_if(.., |candidate| !sdp.contains(value(&candidate.candidate))).collect();
        self.local = Vec::new();
        let sdp = sdp::with_max_message(&sdp, MAX_FRAME_BYTES.min(self.options.limits.message_bytes));
        let sdp = if calls && !self.options.channel.is_reliable() { sdp::unreliable(sdp) } else { sdp };
        self.reports.send(TransportInput::Description { sdp });
        for candidate in late {
            self.report_candidate(candidate);
        }
        Ok(())
    }

    async fn create_channel(&mut self, pc: &dyn PeerConnection) -> Step<()> {
        let options = &self.options.channel;
        let init = RTCDataChannelInit {
            ordered: options.ordered,
            max_packet_life_time: options.max_packet_life_time,
            max_retransmits: options.max_retransmits,
            protocol: options.protocol.clone(),
            negotiated: options.negotiated,
        };
        let name = self.options.channel_name.clone().unwrap_or_else(random_name);
        self.channel = Some(pc.create_data_channel(&name, Some(init)).await.map_err(internal)?);
        Ok(())
    }

    async fn set_remote(
        &mut self,
        pc: &dyn PeerConnection,
        sdp: String,
        linkup: bool,
        kind: fn(String) -> webrtc::error::Result<RTCSessionDescription>,
    ) -> Step<()> {
        self.wire.max_message.store(sdp::max_message(&sdp), Ordering::Relaxed);
        // webrtc-rs takes the remote's limit for its own, keeps a buffer of that size for each connection, and drops
        // without a word what is larger. What the remote takes is our business; this is what it may send.
        let framed = linkup && !self.wire.unreliable.load(Ordering::Relaxed);
        let largest = if framed { MAX_PAYLOAD + MAX_HEADER } else { MAX_FRAME_BYTES };
        let sdp = sdp::with_max_message(&sdp::limit_candidates(sdp), largest);
        // webrtc-rs passes over those in the description.
        let named = sdp.lines().filter_map(|line| line.strip_prefix("a=")).filter(|line| mdns::name(line).is_some());
        self.remote.extend(named.map(|line| Candidate {
            candidate: line.to_owned(),
            mid: sdp::mid(&sdp).map(str::to_owned),
            mline_index: Some(0),
        }));
        let description = kind(sdp).map_err(|error| broken("description", error))?;
        self.remote_count += sdp::candidates(&description.sdp);
        pc.set_remote_description(description).await.map_err(|error| broken("description", error))?;
        self.knows_remote = true;
        for candidate in std::mem::take(&mut self.remote) {
            self.add_candidate(candidate).await;
        }
        Ok(())
    }

    async fn add_candidate(&mut self, candidate: Candidate) {
        if !self.knows_remote {
            return self.remote.push(candidate);
        }
        self.remote_count += usize::from(!candidate.candidate.is_empty());
        add_candidate(self.built, candidate).await;
    }

    /// Waits for our addresses: for all of them without trickle, for the first ones with it.
    async fn gather(&mut self) -> Step<()> {
        let patience = match (self.options.trickle, self.built.has_servers) {
            (false, _) => self.options.ice_complete_timeout,
            (true, true) => FIRST_ADDRESSES_WITH_SERVERS,
            (true, false) => FIRST_ADDRESSES,
        };
        let deadline = Instant::now() + patience;
        while !self.gathered {
            tokio::select! {
                order = self.orders.recv() => self.handle_order(order).await?,
                signal = self.built.signals.recv() => match signal {
                    Some(Signal::Candidate(candidate)) => {
                        self.local_count += 1;
                        self.local.push(candidate);
                    }
                    signal => self.handle_signal(signal).await?,
                },
                () = sleep_until(deadline) => break,
            }
        }
        Ok(())
    }

    /// Waits for the open channel, and then for leave to use it.
    async fn open(mut self) -> Step<(Arc<dyn DataChannel>, Arc<Link>)> {
        loop {
            tokio::select! {
                order = self.orders.recv() => self.handle_order(order).await?,
                signal = self.built.signals.recv() => self.handle_signal(signal).await?,
                channel = opened(self.channel.as_ref()) => {
                    let channel = channel?;
                    self.built.pulse.connected();
                    self.limit_messages().await;
                    if self.built.has_servers {
                        let path = &stats::measure(&*self.built.pc).await["path"];
                        let relayed = path == "turn";
                        self.wire.relayed.store(relayed, Ordering::Relaxed);
                        self.built.pulse.relays(relayed);
                    }
                    let _ = self.wire.pc.set(Arc::clone(&self.built.pc));
                    self.reports.send(TransportInput::Open);
                    return Ok((channel, self.start().await?));
                }
            }
        }
    }

    /// What the remote takes, and what was negotiated out of it.
    async fn limit_messages(&self) {
        if let Some(sctp) = self.built.pc.sctp().await
            && let Ok(limit) = sctp.max_message_size().await
        {
            self.wire.max_message.fetch_min(limit as usize, Ordering::Relaxed);
        }
    }

    async fn start(&mut self) -> Step<Arc<Link>> {
        loop {
            match self.orders.recv().await {
                Some(Order::Start(link)) => return Ok(link),
                Some(Order::Close) | None => return Err(End::Aborted),
                // Addresses that come late do no harm.
                Some(_) => {}
            }
        }
    }

    async fn handle_order(&mut self, order: Option<Order>) -> Step<()> {
        match order {
            Some(Order::SetAnswer { sdp, linkup }) => {
                let pc = Arc::clone(&self.built.pc);
                self.set_remote(&*pc, sdp, linkup, RTCSessionDescription::answer).await
            }
            Some(Order::AddCandidate(candidate)) => {
                self.add_candidate(candidate).await;
                Ok(())
            }
            Some(Order::Close) => Err(End::Finished(None)),
            Some(Order::Start(_)) => Ok(()),
            None => Err(End::Aborted),
        }
    }

    async fn handle_signal(&mut self, signal: Option<Signal>) -> Step<()> {
        match signal {
            Some(Signal::Candidate(candidate)) => {
                self.local_count += 1;
                self.report_candidate(candidate);
            }
            Some(Signal::GatheringComplete) => self.gathered = true,
            Some(Signal::IceConnected) => self.ice_connected = true,
            Some(Signal::Channel(channel)) => {
                if self.channel.is_none() {
                    self.channel = Some(channel);
                } else if let Some(other) = self.built.second.replace(channel) {
                    let _ = other.close().await;
                }
            }
            Some(Signal::Failed) => return Err(End::Failed(self.explain())),
            None => return Err(internal("its driver stopped")),
        }
        Ok(())
    }

    fn report_candidate(&self, candidate: RTCIceCandidateInit) {
        if self.options.trickle {
            self.reports.send(TransportInput::Candidate(Candidate {
                candidate: candidate.candidate,
                mid: candidate.sdp_mid.filter(|mid| !mid.is_empty()).or_else(|| self.mid.clone()),
                mline_index: candidate.sdp_mline_index.or(Some(0)),
            }));
        }
    }

    /// Why the connection failed, and what to do about it.
    fn explain(&self) -> Error {
        if self.ice_connected {
            let message = "the two sides reach each other, but could not agree on encryption (DTLS): \
                           the remote's fingerprint is not the one in its description, or it speaks another version";
            return Error::new(ErrorCode::Protocol, message);
        }
        let (ours, theirs) = (self.local_count, self.remote_count);
        let advice = if theirs == 0 {
            "Not one address of the remote arrived: look at its network and at its iceServers."
        } else if ours == 0 {
            "This machine found no address of its own: look at its network, and at iceServers where only relays may be used."
        } else if self.built.has_servers {
            "Add a TURN server that both sides reach to iceServers: at least one network lets nothing else through."
        } else {
            "Where the two are not in one network they need a STUN and a TURN server in iceServers."
        };
        let message = format!("no path between {ours} addresses here and {theirs} of the remote works. {advice}");
        Error::new(ErrorCode::IceFailed, message).with_details(serde_json::json!({"local": ours, "remote": theirs}))
    }
}

/// Adds an address of the remote; one that makes no sense is passed over. A name is resolved first, meanwhile the others
/// are tried.
pub(super) async fn add_candidate(built: &Built, candidate: Candidate) {
    match mdns::name(&candidate.candidate).map(str::to_owned) {
        None => add_address(&*built.pc, &built.pulse, candidate).await,
        Some(name) => {
            let (pc, pulse) = (Arc::clone(&built.pc), Arc::clone(&built.pulse));
            tokio::spawn(async move {
                let Some(address) = mdns::resolve(&name).await else { return };
                let line = candidate.candidate.replacen(&name, &address.to_string(), 1);
                add_address(&*pc, &pulse, Candidate { candidate: line, ..candidate }).await;
            });
        }
    }
}

async fn add_address(pc: &dyn PeerConnection, pulse: &Pulse, candidate: Candidate) {
    let candidate = RTCIceCandidateInit {
        candidate: candidate.candidate,
        sdp_mid: candidate.mid,
        sdp_mline_index: candidate.mline_index,
        ..RTCIceCandidateInit::default()
    };
    if let Err(error) = pc.add_ice_candidate(candidate).await {
        tracing::debug!(%error, "an address of the remote is passed over");
    }
    pulse.nudge();
}

async fn opened(channel: Option<&Arc<dyn DataChannel>>) -> Step<Arc<dyn DataChannel>> {
    let Some(channel) = channel else { return std::future::pending().await };
    loop {
        match channel.poll().await {
            Some(DataChannelEvent::OnOpen) => return Ok(Arc::clone(channel)),
            Some(DataChannelEvent::OnClose) => return Err(End::Closed),
            Some(_) => {}
            None => return Err(internal("its driver stopped")),
        }
    }
}

/// A candidate without its prefix, as a description has it.
fn value(candidate: &str) -> &str {
    candidate.strip_prefix("candidate:").unwrap_or(candidate)
}

fn random_name() -> String {
    (0..NAME_BYTES).map(|_| format!("{:02x}", fastrand::u8(..))).collect()
}
