//! What linkup itself reads in or changes of a session description.

use linkup_proto::limits::{MAX_FRAME_BYTES, MAX_REMOTE_CANDIDATES};
use serde_json::{Value, json};

/// Says in an offer that messages may be lost or overtake each other. A browser sees that in the channel;
/// webrtc-rs tells the called side nothing of it.
const UNRELIABLE: &str = "a=x-linkup-unreliable";

/// Says in an offer that neither side uses a TURN server: there is one on the way already.
const DIRECT: &str = "a=x-linkup-direct";

/// What a description without `a=max-message-size` takes (RFC 8841, section 6.1).
const DEFAULT_MAX_MESSAGE: usize = 65536;

fn attribute<'a>(sdp: &'a str, name: &str) -> Option<&'a str> {
    sdp.lines().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Bytes of the largest message that the description's author takes, as far as we would send it.
pub(super) fn max_message(sdp: &str) -> usize {
    match attribute(sdp, "max-message-size").and_then(|size| size.parse().ok()) {
        // Zero: any size (RFC 8841, section 6).
        Some(0) => MAX_FRAME_BYTES,
        Some(size) => MAX_FRAME_BYTES.min(size),
        None => DEFAULT_MAX_MESSAGE,
    }
}

/// The description with another size of the largest message that its author takes. It has one media section.
pub(super) fn with_max_message(sdp: &str, bytes: usize) -> String {
    const NAME: &str = "a=max-message-size:";
    let mut changed: String = sdp.split_inclusive('\n').filter(|line| !line.starts_with(NAME)).collect();
    if !changed.ends_with('\n') {
        changed.push_str("\r\n");
    }
    changed + &format!("{NAME}{bytes}\r\n")
}

/// Whether the offer is for a channel that loses no message.
pub(super) fn is_reliable(offer: &str) -> bool {
    !has_line(offer, UNRELIABLE)
}

fn has_line(sdp: &str, wanted: &str) -> bool {
    sdp.lines().any(|line| line.trim_end() == wanted)
}

/// The offer for a channel that may lose messages.
pub(super) fn unreliable(offer: String) -> String {
    offer + UNRELIABLE + "\r\n"
}

/// Whether the offer is for a way without TURN servers.
pub(super) fn is_direct(offer: &str) -> bool {
    has_line(offer, DIRECT)
}

/// The offer for a way without TURN servers.
pub(super) fn direct(offer: String) -> String {
    offer + DIRECT + "\r\n"
}

/// The name of the media section that candidates belong to.
pub(super) fn mid(sdp: &str) -> Option<&str> {
    attribute(sdp, "mid")
}

/// The candidates in the description.
pub(super) fn candidates(sdp: &str) -> impl Iterator<Item = &str> {
    sdp.lines().filter(|line| line.starts_with("a=candidate:"))
}

/// A candidate's line in words, as `stats()` has them. `null` where it is none.
pub(super) fn candidate(line: &str) -> Value {
    let value = line.strip_prefix("a=").unwrap_or(line);
    let fields: Vec<&str> = value.split_ascii_whitespace().collect();
    match fields[..] {
        [_, _, protocol, _, address, port, "typ", kind, ..] => json!({
            "type": kind,
            "address": address,
            "port": port.parse::<u16>().ok(),
            "protocol": protocol.to_ascii_lowercase(),
        }),
        _ => Value::Null,
    }
}

/// The description without the candidates that are too many: each makes us send packets where it says.
pub(super) fn limit_candidates(sdp: String) -> String {
    if candidates(&sdp).count() <= MAX_REMOTE_CANDIDATES {
        return sdp;
    }
    let mut seen = 0;
    let keep = |line: &&str| {
        let candidate = line.starts_with("a=candidate:");
        seen += usize::from(candidate);
        !candidate || seen <= MAX_REMOTE_CANDIDATES
    };
    sdp.split_inclusive('\n').filter(keep).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_size_as_rfc_8841_means_it() {
        assert_eq!(max_message("v=0\r\na=max-message-size:262144\r\n"), 262_144);
        assert_eq!(max_message("a=max-message-size:1073741823\r\n"), MAX_FRAME_BYTES);
        assert_eq!(max_message("a=max-message-size:0\r\n"), MAX_FRAME_BYTES);
        assert_eq!(max_message("a=max-message-size:1200\n"), 1200);
        assert_eq!(max_message("v=0\r\n"), 65536);
        assert_eq!(max_message("a=max-message-size:many\r\n"), 65536);
    }

    #[test]
    fn announces_another_size() {
        let changed = "v=0\r\na=mid:0\r\na=max-message-size:1001\r\n";
        for sdp in ["v=0\r\na=max-message-size:786432\r\na=mid:0\r\n", "v=0\r\na=mid:0\r\n", "v=0\r\na=mid:0"] {
            assert_eq!(with_max_message(sdp, 1001), changed);
        }
    }

    #[test]
    fn an_offer_says_what_its_channel_is() {
        assert!(is_reliable("v=0\r\n"));
        assert!(!is_reliable(&unreliable("v=0\r\n".to_owned())));
        assert!(!is_direct("v=0\r\n"));
        assert!(is_direct(&direct("v=0\r\n".to_owned())));
    }

    #[test]
    fn says_what_a_candidate_is() {
        let line = "a=candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ srflx raddr 0.0.0.0 rport 0";
        let words = json!({"type": "srflx", "address": "192.0.2.1", "port": 5000, "protocol": "udp"});
        assert_eq!(candidate(line), words);
        assert_eq!(candidate(line.strip_prefix("a=").unwrap()), words);
        assert_eq!(candidate("a=candidate:1 1 udp"), Value::Null);
    }

    #[test]
    fn cuts_a_crowd_of_candidates() {
        let sdp: String = (0..1000).map(|n| format!("a=candidate:{n} 1 udp 1 10.0.0.1 {n} typ host\r\n")).collect();
        let cut = limit_candidates(format!("v=0\r\n{sdp}a=mid:0\r\n"));
        assert_eq!(candidates(&cut).count(), MAX_REMOTE_CANDIDATES);
        assert!(cut.starts_with("v=0\r\n") && cut.ends_with("a=mid:0\r\n"));
        assert_eq!(mid(&cut), Some("0"));
    }
}
