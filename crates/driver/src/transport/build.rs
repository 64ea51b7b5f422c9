//! Makes a peer connection of the facade `webrtc`, with settings that have reasons.

use std::sync::Arc;
use std::time::Duration;

use linkup_proto::limits::MAX_FRAME_BYTES;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::ice::url::{ProtoType, SchemeType, Url};
use rtc::peer_connection::configuration::setting_engine::SctpMaxMessageSize;
use tokio::sync::mpsc;
use webrtc::data_channel::DataChannel;
use webrtc::peer_connection::{
    PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler, RTCConfigurationBuilder, RTCIceCandidateInit,
    RTCIceConnectionState, RTCIceGatheringState, RTCIceServer, RTCIceTransportPolicy, RTCPeerConnectionIceEvent,
    RTCPeerConnectionState, SettingEngine, SettingEngineBuilder,
};

use super::{Step, internal};
use crate::addresses::LocalAddresses;
use crate::options::{IceServer, Options};
use crate::runtime::{ConnectionRuntime, Pulse};
use crate::socket;

/// Between two checks of a pair of addresses. It only matters where packets are lost or come before the other side
/// is ready; whatever arrives makes the next step happen at once.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// Checks of one pair: ten seconds' worth. A remote may need that long to hear of our addresses.
const CHECKS: u16 = 200;

/// A relayed path is taken only where no other has worked by then.
const RELAY_WAIT: Duration = Duration::from_millis(200);

/// Keeps address mappings in routers alive and tells that the remote is.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// What SCTP takes before it has an acknowledgement: a little more than one window, so that it never waits for us.
pub(super) const SEND_LIMIT: usize = 2 << 20;

/// What the peer connection says. Its callbacks run inside its driver, so they only pass it on.
pub(super) enum Signal {
    Candidate(RTCIceCandidateInit),
    GatheringComplete,
    IceConnected,
    Failed,
    Channel(Arc<dyn DataChannel>),
}

/// A peer connection and the ways to it.
pub(super) struct Built {
    pub(super) pc: Arc<dyn PeerConnection>,
    pub(super) signals: mpsc::UnboundedReceiver<Signal>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) has_servers: bool,
    /// A channel of the remote's, beside the one that is there.
    pub(super) second: Option<Arc<dyn DataChannel>>,
}

struct Handler(mpsc::UnboundedSender<Signal>);

impl Handler {
    fn send(&self, signal: Signal) {
        // The transport's task may have ended before its driver.
        let _ = self.0.send(signal);
    }
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_candidate(&self, event: RTCPeerConnectionIceEvent) {
        match event.candidate.to_json() {
            Ok(candidate) if !candidate.candidate.is_empty() => self.send(Signal::Candidate(candidate)),
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "an address cannot be written down"),
        }
    }

    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            self.send(Signal::GatheringComplete);
        }
    }

    async fn on_ice_connection_state_change(&self, state: RTCIceConnectionState) {
        if matches!(state, RTCIceConnectionState::Connected | RTCIceConnectionState::Completed) {
            self.send(Signal::IceConnected);
        }
    }

    async fn on_connection_state_change(&self, state: RTCPeerConnectionState) {
        if state == RTCPeerConnectionState::Failed {
            self.send(Signal::Failed);
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        self.send(Signal::Channel(channel));
    }
}

pub(super) async fn build(runtime: &tokio::runtime::Handle, options: &Options, servers: &[IceServer]) -> Step<Built> {
    let (connection_runtime, pulse) = ConnectionRuntime::new(runtime.clone());
    let (sender, signals) = mpsc::unbounded_channel();
    let servers = usable(servers);
    let has_servers = !servers.is_empty();
    let policy = if options.relay_only { RTCIceTransportPolicy::Relay } else { RTCIceTransportPolicy::All };
    let configuration =
        RTCConfigurationBuilder::new().with_ice_servers(servers).with_ice_transport_policy(policy).build();
    let pc = PeerConnectionBuilder::new()
        .with_configuration(configuration)
        .with_setting_engine(settings(options.timeouts.idle, options.relay_only))
        .with_runtime(connection_runtime)
        .with_handler(Arc::new(Handler(sender)))
        .with_udp_addrs(vec![LocalAddresses])
        .with_data_channel_send_buffer_limit(SEND_LIMIT)
        .build()
        .await
        .map_err(internal)?;
    pulse.relays(has_servers);
    Ok(Built { pc: Arc::new(pc), signals, pulse, has_servers, second: None })
}

fn settings(idle: Duration, relay_only: bool) -> SettingEngine {
    let at_once = Some(Duration::ZERO);
    SettingEngineBuilder::new()
        .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(CHECKS))
        // The defaults wait a second for something better than a path through a router's new mapping.
        .with_host_acceptance_min_wait(at_once)
        .with_prflx_acceptance_min_wait(at_once)
        .with_srflx_acceptance_min_wait(at_once)
        .with_relay_acceptance_min_wait(if relay_only { at_once } else { Some(RELAY_WAIT) })
        // Silence is noticed after the sum of the first two, and a little.
        .with_ice_timeouts(Some(idle.mul_f32(0.4)), Some(idle.mul_f32(0.5)), Some(KEEPALIVE.min(idle / 5)))
        .with_include_loopback_candidate(true)
        // Asking the local network for `.local` names takes a multicast socket for each connection.
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MAX_FRAME_BYTES as u32))
        .with_sctp_max_receive_buffer_size(socket::receive_window())
        .build()
}

/// The servers that the facade can talk to. The others are passed over: one of them must not spoil the rest.
fn usable(servers: &[IceServer]) -> Vec<RTCIceServer> {
    let mut usable = Vec::new();
    for server in servers {
        for url in &server.urls {
            let problem = match Url::parse_url(without_query_of_stun(url)) {
                Err(error) => error.to_string(),
                Ok(parsed) => match (parsed.scheme, parsed.proto) {
                    (SchemeType::Stun, _) => String::new(),
                    (SchemeType::Turn, ProtoType::Udp) if server.username.is_empty() => "no username".to_owned(),
                    (SchemeType::Turn, ProtoType::Udp) if server.credential.is_empty() => "no credential".to_owned(),
                    (SchemeType::Turn, ProtoType::Udp) => String::new(),
                    _ => "only stun: and turn: over UDP are supported".to_owned(),
                },
            };
            if problem.is_empty() {
                usable.push(RTCIceServer {
                    urls: vec![without_query_of_stun(url).to_owned()],
                    username: server.username.clone(),
                    credential: server.credential.clone(),
                });
            } else {
                tracing::warn!(url, problem, "this ICE server is passed over");
            }
        }
    }
    usable
}

/// `stun:` has no query (RFC 7064), but configurations do.
fn without_query_of_stun(url: &str) -> &str {
    if url.starts_with("stun:") { url.split('?').next().unwrap_or(url) } else { url }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_over_what_the_facade_cannot_do() {
        let urls = [
            "stun:192.0.2.1:3478?transport=udp",
            "turn:192.0.2.1?transport=udp",
            "turn:192.0.2.1?transport=tcp",
            "turns:192.0.2.1",
            "stuns:192.0.2.1",
            "http://192.0.2.1",
            "",
        ];
        let server = |username: &str| IceServer {
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
            username: username.to_owned(),
            credential: "secret".to_owned(),
        };
        let names = |servers: Vec<RTCIceServer>| servers.into_iter().flat_map(|s| s.urls).collect::<Vec<_>>();
        assert_eq!(names(usable(&[server("me")])), ["stun:192.0.2.1:3478", "turn:192.0.2.1?transport=udp"]);
        assert_eq!(names(usable(&[server("")])), ["stun:192.0.2.1:3478"]);
    }
}
