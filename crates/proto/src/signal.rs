//! The text inside a `signal`: simple-peer's JSON, with one extra member that simple-peer ignores.
//!
//! ```json
//! {"type": "offer", "sdp": "v=0…", "linkup": {"v": 1, "session": "5f0c…", "metadata": {…}}}
//! {"type": "candidate", "candidate": {"candidate": "candidate:…", "sdpMid": "0", "sdpMLineIndex": 0}, "linkup": {…}}
//! {"type": "bye", "linkup": {"v": 1, "session": "5f0c…", "bye": {"code": "ERR_DENIED", "reason": "busy"}}}
//! ```
//!
//! `session` names one attempt to connect, and the connection that comes of it: made by the caller, repeated by the
//! called. A connection may outlive its transport: `transport` counts those that came after the first. A signal without
//! `linkup` comes from a plain simple-peer client and belongs to whatever is under way with that peer.
//! A `bye` is sent to linkup peers only: simple-peer fails on what it does not know.

use serde_json::{Map, Value, json};

use crate::key::{decode, encode};
use crate::{Error, ErrorCode, PublicKey, frame, limits};

/// The version of what linkup peers say to each other.
pub const VERSION: u32 = 1;

/// A signal of one peer for another.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// The addition of linkup; `None` from a plain simple-peer client.
    pub linkup: Option<Linkup>,
    /// What it says.
    pub body: Body,
}

/// The member `linkup`.
#[derive(Clone, Debug, PartialEq)]
pub struct Linkup {
    /// The sender's [`VERSION`].
    pub version: u32,
    /// The attempt that this signal belongs to.
    pub session: String,
    /// Which transport of that connection it is about: 0 is the first one.
    pub transport: u32,
    /// The sender's `options.metadata`, in offers and answers: any JSON.
    pub metadata: Option<Value>,
    /// What the sender takes, in offers and answers.
    pub receive: Option<Receive>,
    /// Whose signature the text ends with.
    pub key: Option<PublicKey>,
    /// The sender's ID token (OpenID Connect Core 1.0), in the first offer and its answer.
    pub login: Option<String>,
    /// In an answer: SHA-256 of the offer's text, without its signature.
    pub offer: Option<[u8; 32]>,
}

impl Linkup {
    /// Of a session, without more.
    pub fn new(session: String) -> Self {
        Self {
            version: VERSION,
            session,
            transport: 0,
            metadata: None,
            receive: None,
            key: None,
            login: None,
            offer: None,
        }
    }
}

/// What a peer takes on the data channel; see docs/protocol.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receive {
    /// Bytes of its largest message.
    pub message: u64,
    /// What message frames may cost that its application has not got yet.
    pub window: u64,
    /// The connection may go on over another transport.
    pub resume: bool,
    /// It may go over the broker itself.
    pub relay: bool,
}

impl Receive {
    /// Of a peer that does not say.
    pub const UNKNOWN: Self = Self { message: 256 * 1024, window: 1024 * 1024, resume: false, relay: false };

    fn parse(value: &Value) -> Self {
        let number = |name: &str, otherwise| value.get(name).and_then(Value::as_u64).unwrap_or(otherwise);
        let (message, window) = (number("message", Self::UNKNOWN.message), number("window", Self::UNKNOWN.window));
        // A message's length is written with 32 bits; and nobody needs a window that its books cannot count.
        Self {
            message: message.min(u32::MAX.into()),
            window: window.clamp(frame::MIN_WINDOW, 1 << 40),
            resume: value.get("resume") == Some(&Value::Bool(true)),
            relay: value.get("relay") == Some(&Value::Bool(true)),
        }
    }
}

/// What a signal says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// The caller's description.
    Offer {
        /// RFC 8829 session description.
        sdp: String,
    },
    /// The called side's description.
    Answer {
        /// RFC 8829 session description.
        sdp: String,
    },
    /// One address of the sender (RFC 8838).
    Candidate(Candidate),
    /// The attempt or the connection is over.
    Bye {
        /// Why, as a code.
        code: ErrorCode,
        /// Why, as the other application said it.
        reason: String,
    },
    /// What a transport over the broker carries: encrypted, in Base64.
    Relay {
        /// The packet.
        data: String,
    },
    /// To the caller of a connection: it needs another transport than the one that the signal names.
    Resume,
    /// `renegotiate`, `transceiverRequest` and what else a simple-peer says about media: of no use here.
    Ignored,
}

/// One ICE candidate, as `RTCIceCandidateInit` has it. An empty `candidate` is the end of candidates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The candidate line, with or without the leading `candidate:`.
    pub candidate: String,
    /// `sdpMid`.
    pub mid: Option<String>,
    /// `sdpMLineIndex`.
    pub mline_index: Option<u16>,
}

impl Signal {
    /// Reads a signal.
    ///
    /// # Errors
    /// [`ErrorCode::Protocol`] where it is not JSON, not a signal, or larger than the limits.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |what: &str| Error::new(ErrorCode::Protocol, format!("a signal {what}"));
        if text.len() > limits::MAX_BROKER_FRAME_BYTES {
            return Err(wrong("is too large"));
        }
        let value: Value = serde_json::from_str(text).map_err(|error| wrong(&format!("is not JSON: {error}")))?;
        let Value::Object(mut object) = value else { return Err(wrong("is not an object")) };
        let mut bye = None;
        let linkup = match object.remove("linkup") {
            Some(Value::Object(mut linkup)) => {
                bye = linkup.remove("bye");
                let session = match linkup.remove("session") {
                    Some(Value::String(session)) if !session.is_empty() && session.len() <= 64 => session,
                    _ => return Err(wrong("has no `linkup.session`")),
                };
                let version = linkup.get("v").and_then(Value::as_u64).and_then(|v| u32::try_from(v).ok());
                let Some(version) = version else { return Err(wrong("has no `linkup.v`")) };
                let receive = linkup.get("receive").map(Receive::parse);
                let transport = linkup.get("transport").and_then(Value::as_u64).unwrap_or(0);
                let Ok(transport) = u32::try_from(transport) else { return Err(wrong("counts too many transports")) };
                let key = match linkup.get("key").map(|key| key.as_str().and_then(PublicKey::parse)) {
                    Some(None) => return Err(wrong("has a `linkup.key` that is none")),
                    key => key.flatten(),
                };
                let login = match linkup.remove("login") {
                    Some(Value::String(login)) if login.len() <= limits::MAX_LOGIN_BYTES => Some(login),
                    None => None,
                    _ => return Err(wrong("has a `linkup.login` that is no token")),
                };
                Some(Linkup {
                    version,
                    session,
                    transport,
                    metadata: linkup.remove("metadata"),
                    receive,
                    key,
                    login,
                    offer: linkup.get("offer").and_then(Value::as_str).and_then(decode),
                })
            }
            None => None,
            Some(_) => return Err(wrong("has a `linkup` that is not an object")),
        };
        if let Some(Value::Object(bye)) = bye {
            let text = |name: &str| bye.get(name).and_then(Value::as_str);
            let code = text("code").and_then(ErrorCode::parse).unwrap_or(ErrorCode::ConnectionClosed);
            let reason = truncate(text("reason").unwrap_or_default(), limits::MAX_REASON_BYTES).to_owned();
            return Ok(Self { linkup, body: Body::Bye { code, reason } });
        }
        // simple-peer itself tells the kinds apart by their members, not by `type`.
        let body = match (object.remove("candidate"), object.remove("sdp")) {
            (Some(Value::Object(candidate)), _) => Body::Candidate(parse_candidate(&candidate).map_err(wrong)?),
            (None, Some(Value::String(sdp))) => match object.get("type").and_then(Value::as_str) {
                Some("offer") => Body::Offer { sdp },
                Some("answer" | "pranswer") => Body::Answer { sdp },
                _ => return Err(wrong("with `sdp` has a `type` of offer or answer")),
            },
            (None, None) if object.contains_key("renegotiate") || object.contains_key("transceiverRequest") => {
                Body::Ignored
            }
            (None, None) if linkup.is_some() && object.get("type") == Some(&Value::from("relay")) => {
                match object.remove("data") {
                    Some(Value::String(data)) => Body::Relay { data },
                    _ => return Err(wrong("relays nothing")),
                }
            }
            (None, None) if linkup.is_some() && object.get("type") == Some(&Value::from("resume")) => Body::Resume,
            // A newer linkup may say more than we know.
            (None, None) if linkup.is_some() => Body::Ignored,
            _ => return Err(wrong("has neither an `sdp` nor a `candidate`")),
        };
        Ok(Self { linkup, body })
    }

    /// The signal as text.
    pub fn to_text(&self) -> String {
        let mut object = match &self.body {
            Body::Offer { sdp } => json!({"type": "offer", "sdp": sdp}),
            Body::Answer { sdp } => json!({"type": "answer", "sdp": sdp}),
            Body::Candidate(candidate) => json!({"type": "candidate", "candidate": {
                "candidate": candidate.candidate,
                "sdpMid": candidate.mid,
                "sdpMLineIndex": candidate.mline_index,
            }}),
            Body::Bye { .. } => json!({"type": "bye"}),
            Body::Relay { data } => json!({"type": "relay", "data": data}),
            Body::Resume => json!({"type": "resume"}),
            Body::Ignored => json!({}),
        };
        if let Some(linkup) = &self.linkup {
            let mut member = json!({"v": linkup.version, "session": linkup.session});
            if let Some(metadata) = &linkup.metadata {
                member["metadata"] = metadata.clone();
            }
            if linkup.transport > 0 {
                member["transport"] = linkup.transport.into();
            }
            if let Some(Receive { message, window, resume, relay }) = linkup.receive {
                member["receive"] = json!({"message": message, "window": window, "resume": resume, "relay": relay});
            }
            if let Some(key) = linkup.key {
                member["key"] = key.to_string().into();
            }
            if let Some(login) = &linkup.login {
                member["login"] = login.as_str().into();
            }
            if let Some(offer) = &linkup.offer {
                member["offer"] = encode(offer).into();
            }
            if let Body::Bye { code, reason } = &self.body {
                let reason = truncate(reason, limits::MAX_REASON_BYTES);
                member["bye"] = json!({"code": code.as_str(), "reason": reason});
            }
            object["linkup"] = member;
        }
        object.to_string()
    }
}

fn parse_candidate(object: &Map<String, Value>) -> Result<Candidate, &'static str> {
    let candidate = match object.get("candidate") {
        Some(Value::String(candidate)) if candidate.len() <= 1024 => candidate.clone(),
        None | Some(Value::Null) => String::new(),
        _ => return Err("has a candidate that is not a short string"),
    };
    Ok(Candidate {
        candidate,
        mid: object.get("sdpMid").and_then(Value::as_str).filter(|mid| mid.len() <= 64).map(str::to_owned),
        mline_index: object.get("sdpMLineIndex").and_then(Value::as_u64).and_then(|index| u16::try_from(index).ok()),
    })
}

/// The longest start of `text` of at most `bytes` bytes that ends between two characters.
pub fn truncate(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn linkup() -> Option<Linkup> {
        Some(Linkup {
            version: VERSION,
            session: "s".into(),
            transport: 3,
            metadata: Some(json!({"a": [null]})),
            receive: Some(Receive { message: 1 << 20, window: 8 << 20, resume: true, relay: true }),
            key: Some(PublicKey::new([7; 32])),
            login: Some("a.b.c".into()),
            offer: Some([9; 32]),
        })
    }

    #[test]
    fn reads_what_simple_peer_sends() {
        let body = |text: &str| {
            let signal = Signal::parse(text).unwrap();
            assert_eq!(signal.linkup, None);
            signal.body
        };
        assert_eq!(body(r#"{"type":"offer","sdp":"v=0"}"#), Body::Offer { sdp: "v=0".into() });
        assert_eq!(body(r#"{"type":"answer","sdp":"v=0"}"#), Body::Answer { sdp: "v=0".into() });
        assert_eq!(
            body(r#"{"type":"candidate","candidate":{"candidate":"candidate:1","sdpMLineIndex":0,"sdpMid":"0"}}"#),
            Body::Candidate(Candidate { candidate: "candidate:1".into(), mid: Some("0".into()), mline_index: Some(0) })
        );
        assert_eq!(body(r#"{"type":"renegotiate","renegotiate":true}"#), Body::Ignored);
        assert_eq!(body(r#"{"type":"transceiverRequest","transceiverRequest":{"kind":"video"}}"#), Body::Ignored);
    }

    #[test]
    fn reads_what_it_writes() {
        let candidate = Candidate { candidate: String::new(), mid: None, mline_index: None };
        for body in [
            Body::Offer { sdp: "v=0\r\n".into() },
            Body::Answer { sdp: "é".into() },
            Body::Candidate(candidate),
            Body::Bye { code: ErrorCode::Denied, reason: "busy".into() },
            Body::Relay { data: "AAEC".into() },
            Body::Resume,
            Body::Ignored,
        ] {
            let signal = Signal { linkup: linkup(), body };
            assert_eq!(Signal::parse(&signal.to_text()).unwrap(), signal);
        }
    }

    #[test]
    fn refuses_what_is_no_signal() {
        let large = format!(r#"{{"type":"offer","sdp":"{}"}}"#, "a".repeat(limits::MAX_BROKER_FRAME_BYTES));
        let candidate = format!(r#"{{"candidate":{{"candidate":"{}"}}}}"#, "a".repeat(1025));
        for text in [
            "",
            "5",
            "[]",
            "{}",
            r#"{"sdp":"v=0"}"#,
            r#"{"type":"rollback","sdp":""}"#,
            r#"{"type":"offer","sdp":5}"#,
            r#"{"candidate":"a"}"#,
            r#"{"type":"offer","sdp":"v=0","linkup":5}"#,
            r#"{"type":"offer","sdp":"v=0","linkup":{"v":1}}"#,
            r#"{"type":"offer","sdp":"v=0","linkup":{"session":"s"}}"#,
            r#"{"type":"offer","sdp":"v=0","linkup":{"v":1,"session":"s","key":"AQEB"}}"#,
            r#"{"type":"offer","sdp":"v=0","linkup":{"v":1,"session":"s","key":null}}"#,
            r#"{"type":"offer","sdp":"v=0","linkup":{"v":1,"session":"s","login":5}}"#,
            &format!(r#"{{"type":"offer","linkup":{{"v":1,"session":"s","login":"{}"}}}}"#, "a".repeat(16_385)),
            r#"{"type":"relay","linkup":{"v":1,"session":"s"}}"#,
            r#"{"type":"relay","data":1,"linkup":{"v":1,"session":"s"}}"#,
            r#"{"type":"offer","sdp":"v=0","linkup":{"v":1,"session":"s","transport":4294967296}}"#,
            &large,
            &candidate,
        ] {
            assert_eq!(Signal::parse(text).unwrap_err().code, ErrorCode::Protocol, "{text:.60}");
        }
    }

    #[test]
    fn an_unknown_reason_to_leave_is_still_a_leave() {
        let text = r#"{"type":"bye","linkup":{"v":9,"session":"s","bye":{"code":"ERR_NEW"}}}"#;
        let body = Signal::parse(text).unwrap().body;
        assert_eq!(body, Body::Bye { code: ErrorCode::ConnectionClosed, reason: String::new() });
    }

    #[test]
    fn a_reason_is_cut_between_two_characters() {
        let reason = "é".repeat(limits::MAX_REASON_BYTES);
        let signal = Signal { linkup: linkup(), body: Body::Bye { code: ErrorCode::Denied, reason } };
        let Body::Bye { reason, .. } = Signal::parse(&signal.to_text()).unwrap().body else { panic!("no bye") };
        assert_eq!(reason.len(), limits::MAX_REASON_BYTES);
        assert_eq!(truncate("aé", 2), "a");
    }

    proptest! {
        #[test]
        fn never_panics_on_any_text(text in any::<String>()) {
            let _ = Signal::parse(&text);
        }

        #[test]
        fn never_panics_on_nearly_a_signal(
            kind in "[a-z]{0,9}", sdp in any::<String>(), session in any::<String>(), index in any::<i64>(),
            reason in any::<String>(),
        ) {
            for text in [
                json!({"type": kind, "sdp": sdp}),
                json!({"type": "offer", "sdp": sdp, "linkup": {"v": index, "session": session, "metadata": reason}}),
                json!({"candidate": {"candidate": sdp, "sdpMid": session, "sdpMLineIndex": index}}),
                json!({"linkup": {"v": 1, "session": "s", "bye": {"code": kind, "reason": reason}}}),
            ] {
                if let Ok(signal) = Signal::parse(&text.to_string()) {
                    prop_assert_eq!(Signal::parse(&signal.to_text()), Ok(signal));
                }
            }
        }

        #[test]
        fn truncate_keeps_a_valid_start(text in any::<String>(), bytes in 0_usize..64) {
            let cut = truncate(&text, bytes);
            prop_assert!(cut.len() <= bytes && text.starts_with(cut));
        }
    }
}
