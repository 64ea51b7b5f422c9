//! What `stats()` says of a connection, out of the report of webrtc-rs.

use std::time::Instant;

use rtc::statistics::StatsSelector;
use serde_json::{Map, Value, json};
use webrtc::peer_connection::{PeerConnection, RTCIceCandidateType, RTCStatsReportEntry};

/// Measures a connection. What is not known is absent.
pub(crate) async fn measure(pc: &dyn PeerConnection) -> Value {
    let report = pc.get_stats(Instant::now(), StatsSelector::None).await;
    let mut stats = Map::new();
    let channel = report.data_channels().max_by_key(|channel| channel.messages_sent + channel.messages_received);
    if let Some(channel) = channel {
        stats.insert("bytesSent".into(), json!(channel.bytes_sent));
        stats.insert("bytesReceived".into(), json!(channel.bytes_received));
        stats.insert("messagesSent".into(), json!(channel.messages_sent));
        stats.insert("messagesReceived".into(), json!(channel.messages_received));
    }
    if let Some(pair) = report.candidate_pairs().find(|pair| pair.nominated) {
        if pair.current_round_trip_time > 0.0 {
            stats.insert("roundTripTime".into(), json!(pair.current_round_trip_time));
        }
        let mut relayed = false;
        for (name, id) in [("localCandidate", &pair.local_candidate_id), ("remoteCandidate", &pair.remote_candidate_id)]
        {
            let Some(
                RTCStatsReportEntry::LocalCandidate(candidate) | RTCStatsReportEntry::RemoteCandidate(candidate),
            ) = report.get(id)
            else {
                continue;
            };
            relayed |= candidate.candidate_type == RTCIceCandidateType::Relay;
            let description = json!({
                "type": candidate.candidate_type.to_string(),
                "address": candidate.address,
                "port": candidate.port,
                "protocol": candidate.protocol,
            });
            stats.insert(name.into(), description);
        }
        stats.insert("path".into(), json!(if relayed { "turn" } else { "direct" }));
    }
    Value::Object(stats)
}
