//! What `stats()` says of a connection, out of the report of webrtc-rs.

use std::time::Instant;

use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::transport::{RTCIceCandidate, RTCIceCandidateType};
use rtc::statistics::StatsSelector;
use serde_json::{Map, Value, json};

/// Measures a connection. What is not known is absent.
pub(crate) fn measure(pc: &mut RTCPeerConnection) -> Value {
    let report = pc.get_stats(Instant::now(), StatsSelector::None);
    let mut stats = Map::new();
    let channel = report.data_channels().max_by_key(|channel| channel.messages_sent + channel.messages_received);
    if let Some(channel) = channel {
        stats.insert("bytesSent".into(), json!(channel.bytes_sent));
        stats.insert("bytesReceived".into(), json!(channel.bytes_received));
        stats.insert("messagesSent".into(), json!(channel.messages_sent));
        stats.insert("messagesReceived".into(), json!(channel.messages_received));
    }
    if let Some(pair) = report.candidate_pairs().find(|pair| pair.nominated)
        && pair.current_round_trip_time > 0.0
    {
        stats.insert("roundTripTime".into(), json!(pair.current_round_trip_time));
    }
    // The report's own candidates have other names than the pair says.
    if let Some(sctp) = pc.sctp()
        && let Some(pair) = sctp.transport().ice_transport().get_selected_candidate_pair()
    {
        stats.insert("path".into(), json!(if is_relayed(pc) { "turn" } else { "direct" }));
        stats.insert("localCandidate".into(), describe(pair.local()));
        stats.insert("remoteCandidate".into(), describe(pair.remote()));
    }
    Value::Object(stats)
}

/// Whether a TURN server is on the way.
pub(crate) fn is_relayed(pc: &mut RTCPeerConnection) -> bool {
    let Some(sctp) = pc.sctp() else { return false };
    let ice = sctp.transport().ice_transport();
    let Some(pair) = ice.get_selected_candidate_pair() else { return false };
    let is_relay = |candidate: &RTCIceCandidate| candidate.typ == RTCIceCandidateType::Relay;
    // What ICE has heard before it was told of it stays peer-reflexive (RFC 8445, section 7.3.1.3).
    let same = |other: &RTCIceCandidate| (&other.address, other.port) == (&pair.remote().address, pair.remote().port);
    [pair.local(), pair.remote()].into_iter().any(is_relay)
        || ice.get_remote_candidates().iter().any(|other| same(other) && is_relay(other))
}

fn describe(candidate: &RTCIceCandidate) -> Value {
    json!({
        "type": candidate.typ.to_string(),
        "address": candidate.address,
        "port": candidate.port,
        "protocol": candidate.protocol.to_string(),
    })
}
