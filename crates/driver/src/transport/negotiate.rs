//! From a fresh peer connection to an open data channel: descriptions, addresses, and why it did not work.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use linkup_core::TransportInput;
use linkup_proto::frame::{MAX_HEADER, MAX_PAYLOAD};
use linkup_proto::limits::{MAX_FRAME_BYTES, MAX_REMOTE_CANDIDATES};
use linkup_proto::signal::Candidate;
use linkup_proto::{Error, ErrorCode};
use rtc::data_channel::RTCDataChannelId;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::shared::error::Result as RtcResult;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::pc::{Pc, Signal};
use super::{End, Order, Reports, Role, Step, internal, sdp};
use crate::link::{Link, Path, Wire};
use crate::mdns;
use crate::options::Options;

/// How long a trickled description waits for the addresses that are there at once. They save a message each.
const FIRST_ADDRESSES: Duration = Duration::from_millis(20);

/// The same where servers are asked: their answers take longer than is worth waiting for.
const FIRST_ADDRESSES_WITH_SERVERS: Duration = Duration::from_millis(5);

/// Bytes of a channel's random name: simple-peer has 40 hexadecimal digits.
const NAME_BYTES: usize = 20;

/// The open channel, and another one that the remote has opened.
pub(super) struct Channels {
    pub(super) first: RTCDataChannelId,
    pub(super) second: Option<RTCDataChannelId>,
}

struct Negotiation<'a> {
    options: &'a Options,
    pc: &'a mut Pc,
    orders: &'a mut mpsc::UnboundedReceiver<Order>,
    wire: &'a Wire,
    reports: &'a Reports,
    /// The channel that we have made, or the remote.
    channel: Option<RTCDataChannelId>,
    second: Option<RTCDataChannelId>,
    opened: bool,
    /// Our addresses that the remote does not have yet.
    local: Vec<RTCIceCandidateInit>,
    /// The remote's that came before its description.
    remote: Vec<Candidate>,
    knows_remote: bool,
    gathered: bool,
    mid: Option<String>,
    ice_connected: bool,
    /// It was, and the remote is not heard any more.
    ice_lost: bool,
    /// All addresses of both sides, in words.
    ours: Vec<Value>,
    theirs: Vec<Value>,
}

/// Brings the channel up and waits for leave to use it.
pub(super) async fn negotiate(
    options: &Options,
    role: Role,
    pc: &mut Pc,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    wire: &Wire,
    reports: &Reports,
) -> Step<(Channels, Arc<Link>)> {
    let mut negotiation = Negotiation {
        options,
        pc,
        orders,
        wire,
        reports,
        channel: None,
        second: None,
        opened: false,
        local: Vec::new(),
        remote: Vec::new(),
        knows_remote: false,
        gathered: false,
        mid: None,
        ice_connected: false,
        ice_lost: false,
        ours: Vec::new(),
        theirs: Vec::new(),
    };
    negotiation.describe(role).await?;
    negotiation.open().await
}

fn broken(what: &str, error: impl std::fmt::Display) -> End {
    End::Failed(Error::new(ErrorCode::Protocol, format!("the remote's {what} cannot be used: {error}")))
}

impl Negotiation<'_> {
    async fn describe(&mut self, role: Role) -> Step<()> {
        let calls = matches!(role, Role::Caller(_));
        let direct = calls && role.is_direct();
        let description = match role {
            Role::Caller(_) => {
                self.wire.unreliable.store(!self.options.channel.is_reliable(), Ordering::Relaxed);
                self.create_channel()?;
                self.pc.create_offer().map_err(internal)?
            }
            Role::Called { sdp, linkup, .. } => {
                self.wire.unreliable.store(!sdp::is_reliable(&sdp), Ordering::Relaxed);
                self.set_remote(sdp, linkup, RTCSessionDescription::offer)?;
                // A channel that nobody announces is made on both sides.
                if self.options.channel.negotiated.is_some() {
                    self.create_channel()?;
                }
                self.pc.create_answer().map_err(|error| broken("offer", error))?
            }
        };
        self.mid = sdp::mid(&description.sdp).map(str::to_owned);
        self.pc.set_local(description.clone()).map_err(internal)?;
        self.gather().await?;
        let sdp = self.pc.local().unwrap_or(description).sdp;
        let late: Vec<_> = self.local.extract_if(.., |candidate| !sdp.contains(value(&candidate.candidate))).collect();
        self.local = Vec::new();
        let sdp = sdp::with_max_message(&sdp, MAX_FRAME_BYTES.min(self.options.limits.message_bytes));
        let sdp = if calls && !self.options.channel.is_reliable() { sdp::unreliable(sdp) } else { sdp };
        let sdp = if direct { sdp::direct(sdp) } else { sdp };
        self.reports.send(TransportInput::Description { sdp });
        for candidate in late {
            self.report_candidate(candidate);
        }
        Ok(())
    }

    fn create_channel(&mut self) -> Step<()> {
        let name = self.options.channel_name.clone().unwrap_or_else(random_name);
        self.channel = Some(self.pc.create_channel(&name, &self.options.channel).map_err(internal)?);
        Ok(())
    }

    fn set_remote(
        &mut self,
        sdp: String,
        linkup: bool,
        kind: fn(String) -> RtcResult<RTCSessionDescription>,
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
        self.theirs.extend(sdp::candidates(&description.sdp).map(sdp::candidate));
        self.pc.set_remote(description).map_err(|error| broken("description", error))?;
        self.knows_remote = true;
        for candidate in std::mem::take(&mut self.remote) {
            self.add_candidate(candidate);
        }
        Ok(())
    }

    fn add_candidate(&mut self, candidate: Candidate) {
        if !self.knows_remote {
            return self.remote.push(candidate);
        }
        if !candidate.candidate.is_empty() && self.theirs.len() < MAX_REMOTE_CANDIDATES {
            self.theirs.push(sdp::candidate(&candidate.candidate));
        }
        self.pc.add_candidate(candidate);
    }

    /// Waits for our addresses: for all of them without trickle, for the first ones with it.
    async fn gather(&mut self) -> Step<()> {
        let patience = match (self.options.trickle, self.pc.has_servers()) {
            (false, _) => self.options.ice_complete_timeout,
            (true, true) => FIRST_ADDRESSES_WITH_SERVERS,
            (true, false) => FIRST_ADDRESSES,
        };
        let deadline = Instant::now() + patience;
        while !self.gathered {
            tokio::select! {
                order = self.orders.recv() => self.handle_order(order)?,
                signal = self.pc.next() => match signal {
                    Signal::Candidate(candidate) => {
                        self.ours.push(sdp::candidate(&candidate.candidate));
                        self.local.push(candidate);
                    }
                    signal => self.handle_signal(signal)?,
                },
                () = sleep_until(deadline) => break,
            }
        }
        Ok(())
    }

    /// Waits for the open channel, and then for leave to use it.
    async fn open(mut self) -> Step<(Channels, Arc<Link>)> {
        let first = loop {
            if let Some(channel) = self.channel.filter(|_| self.opened) {
                break channel;
            }
            tokio::select! {
                order = self.orders.recv() => self.handle_order(order)?,
                signal = self.pc.next() => self.handle_signal(signal)?,
            }
        };
        self.pc.established();
        // What the remote takes, and what was negotiated out of it.
        if let Some(limit) = self.pc.max_message() {
            self.wire.max_message.fetch_min(limit, Ordering::Relaxed);
        }
        let path = self.pc.path();
        self.wire.set_path(path);
        self.reports.send(TransportInput::Open);
        if path == Path::Turn {
            self.reports.path(path, self.options);
        }
        let link = self.start().await?;
        Ok((Channels { first, second: self.second }, link))
    }

    async fn start(&mut self) -> Step<Arc<Link>> {
        loop {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Start(link)) => return Ok(link),
                    Some(Order::Close) | None => return Err(End::Aborted),
                    order => self.handle_order(order)?,
                },
                signal = self.pc.next() => self.handle_signal(signal)?,
            }
        }
    }

    fn handle_order(&mut self, order: Option<Order>) -> Step<()> {
        match order {
            Some(Order::SetAnswer { sdp, linkup }) => self.set_remote(sdp, linkup, RTCSessionDescription::answer),
            Some(Order::AddCandidate(candidate)) => {
                self.add_candidate(candidate);
                Ok(())
            }
            Some(Order::Close) => Err(End::Finished(None)),
            Some(Order::Start(_) | Order::Relayed(_)) => Ok(()),
            None => Err(End::Aborted),
        }
    }

    fn handle_signal(&mut self, signal: Signal) -> Step<()> {
        match signal {
            Signal::Candidate(candidate) => {
                self.ours.push(sdp::candidate(&candidate.candidate));
                self.report_candidate(candidate);
            }
            Signal::GatheringComplete => {
                self.gathered = true;
                // Nothing will change that.
                if self.ours.is_empty() {
                    return Err(End::Failed(self.explain()));
                }
            }
            Signal::IceConnected => (self.ice_connected, self.ice_lost) = (true, false),
            Signal::IceLost => self.ice_lost = true,
            Signal::Opened(channel) => match self.channel {
                None => (self.channel, self.opened) = (Some(channel), true),
                Some(ours) if ours == channel => self.opened = true,
                Some(_) => {
                    if let Some(other) = self.second.replace(channel) {
                        self.pc.close_channel(other);
                    }
                }
            },
            Signal::Closed(channel) if self.channel == Some(channel) => return Err(End::Closed),
            Signal::Failed => return Err(End::Failed(self.explain())),
            Signal::Broken(why) => return Err(internal(why)),
            Signal::Closed(_) | Signal::News(_) | Signal::Path | Signal::Turn => {}
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
        if self.ice_connected && self.ice_lost {
            let message = "the remote vanished while the two sides agreed on encryption";
            return Error::new(ErrorCode::ConnectionLost, message);
        }
        if self.ice_connected {
            let message = "the two sides reach each other, but could not agree on encryption (DTLS): \
                           the remote's fingerprint is not the one in its description, or it speaks another version";
            return Error::new(ErrorCode::Protocol, message);
        }
        let servers = self.pc.servers();
        let silent = servers.iter().find(|server| server["answered"] == false);
        let refusing = servers.iter().find(|server| !server["error"].is_null());
        let (ours, theirs) = (self.ours.len(), self.theirs.len());
        // Where we have none of our own, it is over before the remote could have said anything.
        let advice = if theirs == 0 && ours > 0 {
            "Not one address of the remote arrived: look at its network and at its iceServers.".to_owned()
        } else if let Some(server) = refusing {
            format!("Look at the credentials for {}: it refuses.", server["url"])
        } else if let Some(server) = silent {
            format!("Look at {}, and whether this network lets you reach it: it did not answer.", server["url"])
        } else if ours == 0 {
            "This machine found no address of its own: look at its network, and at iceServers where only relays may be used."
                .to_owned()
        } else if self.pc.has_servers() {
            "Add a TURN server that both sides reach to iceServers: at least one network lets nothing else through."
                .to_owned()
        } else {
            "Where the two are not in one network they need a STUN and a TURN server in iceServers.".to_owned()
        };
        let message = format!("no path between {ours} addresses here and {theirs} of the remote works. {advice}");
        let details = json!({"local": self.ours, "remote": self.theirs, "servers": servers, "advice": advice});
        Error::new(ErrorCode::IceFailed, message).with_details(details)
    }
}

/// A candidate without its prefix, as a description has it.
fn value(candidate: &str) -> &str {
    candidate.strip_prefix("candidate:").unwrap_or(candidate)
}

fn random_name() -> String {
    (0..NAME_BYTES).map(|_| format!("{:02x}", fastrand::u8(..))).collect()
}
