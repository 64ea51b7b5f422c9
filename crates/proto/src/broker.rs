//! The broker's messages: the six documented shapes, and the additions that a client of those six never sees.
//!
//! | from a peer | answer |
//! |---|---|
//! | `{id, message: {type: 'ping'}}` | `{id, message: 'pong', error: null}` |
//! | `{id, message: {type: 'find', id}}` | `{id, message: peer id or null, error: null}` |
//! | `{id, message: {type: 'register', id}}` | `{id, message: peer id, error: null}` or `{id, message: null, error}` |
//! | `{message: {type: 'signal', from, to, signal}}` | none; the same shape goes to the peer `to` |
//!
//! Additions: `register` may carry `secret`, `token`, `version` and `proof`. A `signal` with an `id` is answered with `to`, or
//! with an error where nobody has that id. `{type: 'unregister'}` is answered with the id that is free now, or null.
//! `{type: 'ice'}` is answered with [`IceServers`], or with an error where the socket has no id.
//! An `error` is `{code, message}`; one about a frame without an `id` comes with the `id` null.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::{Error, ErrorCode, PeerId};

/// The close code for a socket whose id was taken over by another socket with the same secret: the page was
/// reloaded, or the network changed. Its client must not connect again, or the two would take turns for ever.
pub const CLOSE_TAKEN_OVER: u16 = 4001;

/// What the owner of a key signs to register the id that is that key: the broker's challenge, which is the socket's own, and the
/// id (docs/protocol.md).
pub fn register_statement(challenge: &str, id: &PeerId) -> Vec<u8> {
    [b"linkup register 1\0", challenge.as_bytes(), b"\0", id.as_str().as_bytes()].concat()
}

/// What a peer asks of the broker.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Is the broker there?
    Ping,
    /// Is a peer with that id registered?
    Find {
        /// The id looked for.
        id: PeerId,
    },
    /// Take an id.
    Register {
        /// The id to take.
        id: PeerId,
        /// Proves later that it is the same owner who comes back.
        secret: Option<String>,
        /// Authorisation, for brokers that ask for it.
        token: Option<String>,
        /// The protocol version of a linkup client. A client of the documented shapes sends none.
        version: Option<u32>,
        /// For an id that is a key: the signature of [`register_statement`], in Base64.
        proof: Option<String>,
    },
    /// Give up the registered id.
    Unregister,
    /// Pass a signal on to another peer.
    Signal(Signal),
    /// Which STUN and TURN servers are there, and with which credentials?
    Ice,
}

/// The answer to [`Request::Ice`], with the names of an `RTCConfiguration`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceServers {
    /// The servers; none where the broker has none.
    pub ice_servers: Vec<IceServer>,
    /// Seconds for which the credentials are good: ask again before they have passed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    /// Bytes a second of signals that a peer may send for connections that go over the broker itself, where it takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<u32>,
}

/// One `RTCIceServer`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// Its URLs: `stun:`, `turn:` and `turns:`.
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// A signal under way from one peer to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// The sender. The broker puts the registered id here, whatever the client wrote.
    pub from: Option<PeerId>,
    /// The receiver.
    pub to: PeerId,
    /// What simple-peer made, as text; see [`crate::signal`].
    pub signal: String,
}

/// One frame of a peer.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Present where the peer waits for an answer. Any JSON string; ours are UUIDs.
    pub id: Option<String>,
    /// What it asks.
    pub request: Request,
}

/// A frame that could not be understood, with its `id` where it had one, so that the answer finds its question.
#[derive(Clone, Debug, PartialEq)]
pub struct BadFrame {
    /// The frame's `id`.
    pub id: Option<String>,
    /// What is wrong with it.
    pub error: Error,
    /// False where it is not JSON at all: then nothing that this socket sends makes sense.
    pub is_json: bool,
}

/// A frame before its `message` is read, so that a bad message is still answered under its `id`.
#[derive(Deserialize)]
struct RawFrame<'a> {
    #[serde(default)]
    id: Option<Value>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

/// Every member that some type of message has. Unknown ones are skipped: a newer client may send more.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RawMessage {
    r#type: Option<String>,
    id: Option<String>,
    secret: Option<String>,
    token: Option<String>,
    version: Option<Value>,
    proof: Option<String>,
    from: Option<String>,
    to: Option<String>,
    signal: Option<String>,
}

/// Reads a JSON object. `serde` alone would also take an array for a struct.
fn parse_object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    if !text.trim_start().starts_with('{') {
        return Err("this is not an object".into());
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

impl Frame {
    /// Reads what a peer sent.
    ///
    /// # Errors
    /// [`BadFrame`] where it is not JSON, of an unknown type, or lacks a member.
    ///
    /// ```
    /// use linkup_proto::broker::{Frame, Request};
    ///
    /// let frame = Frame::parse(r#"{"id": "1", "message": {"type": "ping"}}"#).unwrap();
    /// assert_eq!(frame, Frame { id: Some("1".into()), request: Request::Ping });
    /// ```
    pub fn parse(text: &str) -> Result<Self, BadFrame> {
        let bad = |id: &Option<String>, message: String| BadFrame {
            id: id.clone(),
            error: Error::new(ErrorCode::Protocol, message),
            is_json: true,
        };
        let raw: RawFrame = parse_object(text).map_err(|why| {
            // `IgnoredAny` takes whatever is JSON: lone surrogates and any depth too.
            let is_json = serde_json::from_str::<IgnoredAny>(text).is_ok();
            let what = if is_json { "a frame is a JSON object" } else { "this is not JSON" };
            BadFrame { id: None, error: Error::new(ErrorCode::Protocol, format!("{what}: {why}")), is_json }
        })?;
        let id = match raw.id {
            None | Some(Value::Null) => None,
            Some(Value::String(id)) if id.len() <= crate::limits::MAX_ID_BYTES => Some(id),
            Some(_) => return Err(bad(&None, "`id` is a string: a UUID".into())),
        };
        let message: RawMessage = parse_object(raw.message.map_or("", RawValue::get))
            .map_err(|why| bad(&id, format!("`message` is an object with a `type`: {why}")))?;
        let need = |name: &str, value: Option<String>| value.ok_or_else(|| bad(&id, format!("`{name}` is missing")));
        let peer_id = |name: &str, value: Option<String>| {
            PeerId::new(&need(name, value)?).map_err(|why| bad(&id, format!("`{name}`: {why}")))
        };
        let request = match need("type", message.r#type)?.as_str() {
            "ping" => Request::Ping,
            "find" => Request::Find { id: peer_id("id", message.id)? },
            "register" => Request::Register {
                id: peer_id("id", message.id)?,
                secret: message.secret,
                token: message.token,
                version: message.version.as_ref().and_then(Value::as_u64).and_then(|v| u32::try_from(v).ok()),
                proof: message.proof,
            },
            "unregister" => Request::Unregister,
            "ice" => Request::Ice,
            "signal" => Request::Signal(Signal {
                // A forged or broken `from` does not matter: the broker overwrites it.
                from: message.from.and_then(|from| PeerId::new(&from).ok()),
                to: peer_id("to", message.to)?,
                signal: need("signal", message.signal)?,
            }),
            other => {
                let shown: String = other.chars().take(40).collect();
                return Err(bad(&id, format!("unknown type {shown:?}: ping, find, register, unregister, signal, ice")));
            }
        };
        Ok(Self { id, request })
    }

    /// The frame as the client sends it.
    pub fn to_text(&self) -> String {
        let message = match &self.request {
            Request::Ping => json!({"type": "ping"}),
            Request::Find { id } => json!({"type": "find", "id": id.as_str()}),
            Request::Register { id, secret, token, version, proof } => {
                let mut message = json!({"type": "register", "id": id.as_str()});
                for (name, value) in [("secret", secret), ("token", token), ("proof", proof)] {
                    if let Some(value) = value {
                        message[name] = json!(value);
                    }
                }
                if let Some(version) = version {
                    message["version"] = json!(version);
                }
                message
            }
            Request::Unregister => json!({"type": "unregister"}),
            Request::Ice => json!({"type": "ice"}),
            Request::Signal(signal) => json!(signal.message()),
        };
        match &self.id {
            Some(id) => json!({"id": id, "message": message}).to_string(),
            None => json!({"message": message}).to_string(),
        }
    }
}

/// The `message` of a signal, with its members in the order that the specification writes them.
#[derive(Serialize)]
struct SignalMessage<'a> {
    r#type: &'static str,
    from: Option<&'a str>,
    to: &'a str,
    signal: &'a str,
}

impl Signal {
    fn message(&self) -> SignalMessage<'_> {
        SignalMessage {
            r#type: "signal",
            from: self.from.as_ref().map(PeerId::as_str),
            to: self.to.as_str(),
            signal: &self.signal,
        }
    }

    /// The frame that the broker sends to the receiver.
    pub fn to_text(&self) -> String {
        #[derive(Serialize)]
        struct Notification<'a> {
            message: SignalMessage<'a>,
        }
        to_text(&Notification { message: self.message() })
    }
}

/// JSON of what is made of strings, numbers and such: that cannot fail.
fn to_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The broker's answer to a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Response {
    /// The request's `id`. `None` only for errors about frames that had none.
    pub id: Option<String>,
    /// The result; null where there is an error.
    pub message: Value,
    /// What went wrong, or null.
    pub error: Option<Error>,
}

impl Response {
    /// A request that succeeded.
    pub fn ok(id: Option<String>, message: impl Into<Value>) -> Self {
        Self { id, message: message.into(), error: None }
    }

    /// A request that failed.
    pub fn error(id: Option<String>, error: Error) -> Self {
        Self { id, message: Value::Null, error: Some(error) }
    }

    /// The frame as the broker sends it.
    pub fn to_text(&self) -> String {
        to_text(self)
    }
}

/// What a client hears from a broker.
#[derive(Clone, Debug, PartialEq)]
pub enum FromBroker {
    /// An answer to one of our requests.
    Response(Response),
    /// A signal of another peer.
    Signal {
        /// The sender, as the broker knows it.
        from: PeerId,
        /// See [`crate::signal`].
        signal: String,
    },
    /// A notification of a kind that we do not know: from a newer broker, and harmless.
    Unknown,
}

impl FromBroker {
    /// Reads what a broker sent. A broker may be anybody's: `error` may be an object, a text, or anything.
    ///
    /// # Errors
    /// [`ErrorCode::Protocol`] where it is neither an answer nor a notification.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |what: &str| Error::new(ErrorCode::Protocol, format!("the broker sent {what}"));
        let value: Value = serde_json::from_str(text).map_err(|error| wrong(&format!("no JSON: {error}")))?;
        let Value::Object(mut frame) = value else { return Err(wrong("JSON that is not an object")) };
        let message = frame.remove("message").unwrap_or(Value::Null);
        if let Some(id) = frame.remove("id") {
            let id = match id {
                Value::String(id) => Some(id),
                Value::Null => None,
                _ => return Err(wrong("an `id` that is not a string")),
            };
            let error = frame.remove("error").and_then(parse_error);
            return Ok(Self::Response(Response { id, message, error }));
        }
        let Value::Object(mut message) = message else { return Err(wrong("neither an answer nor a notification")) };
        if message.get("type").and_then(Value::as_str) != Some("signal") {
            return Ok(Self::Unknown);
        }
        match (message.remove("from"), message.remove("signal")) {
            (Some(Value::String(from)), Some(Value::String(signal))) => {
                let from = PeerId::new(&from).map_err(|why| wrong(&format!("a signal from nobody: {why}")))?;
                Ok(Self::Signal { from, signal })
            }
            _ => Err(wrong("a signal without `from` or `signal`")),
        }
    }
}

/// `error` of a response: `{code, message}` from a linkup broker; anything from another one.
fn parse_error(value: Value) -> Option<Error> {
    match value {
        Value::Null => None,
        Value::String(message) => Some(Error::new(ErrorCode::NotAuthorized, message)),
        Value::Object(object) => {
            let text = |name: &str| object.get(name).and_then(Value::as_str);
            let code = text("code").and_then(ErrorCode::parse).unwrap_or(ErrorCode::NotAuthorized);
            let message = text("message").map_or_else(|| Value::Object(object.clone()).to_string(), str::to_owned);
            let details = object.get("details").filter(|details| details.is_object()).cloned().map(Box::new);
            Some(Error { code, message, details })
        }
        other => Some(Error::new(ErrorCode::NotAuthorized, other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn id(id: &str) -> PeerId {
        PeerId::new(id).unwrap()
    }

    fn bad(text: &str) -> BadFrame {
        Frame::parse(text).unwrap_err()
    }

    #[test]
    fn reads_the_documented_requests() {
        let parse = |text| Frame::parse(text).unwrap();
        let frame = |request| Frame { id: Some("u".into()), request };
        assert_eq!(parse(r#"{"id":"u","message":{"type":"ping"}}"#), frame(Request::Ping));
        assert_eq!(parse(r#"{"id":"u","message":{"type":"find","id":"bob"}}"#), frame(Request::Find { id: id("bob") }));
        assert_eq!(
            parse(r#"{"id":"u","message":{"type":"register","id":"bob"}}"#),
            frame(Request::Register { id: id("bob"), secret: None, token: None, version: None, proof: None })
        );
        assert_eq!(
            parse(r#"{"message":{"type":"signal","from":"a","to":"b","signal":"{}"}}"#),
            Frame {
                id: None,
                request: Request::Signal(Signal { from: Some(id("a")), to: id("b"), signal: "{}".into() })
            }
        );
    }

    #[test]
    fn reads_what_it_writes() {
        let register = Request::Register {
            id: id("é\"\n"),
            secret: Some("s".into()),
            token: Some("t".into()),
            version: Some(1),
            proof: Some("p".into()),
        };
        let signal = Request::Signal(Signal { from: None, to: id("b"), signal: "x".into() });
        let find = Request::Find { id: id("b") };
        for request in [Request::Ping, find, register, Request::Unregister, signal, Request::Ice] {
            for id in [None, Some("7".to_owned())] {
                let frame = Frame { id, request: request.clone() };
                assert_eq!(Frame::parse(&frame.to_text()).unwrap(), frame);
            }
        }
    }

    #[test]
    fn writes_the_documented_shapes_byte_for_byte() {
        let signal = Signal { from: Some(id("a")), to: id("b"), signal: "{\"sdp\":\"\"}".into() };
        assert_eq!(signal.to_text(), r#"{"message":{"type":"signal","from":"a","to":"b","signal":"{\"sdp\":\"\"}"}}"#);
        let text = |response: Response| response.to_text();
        assert_eq!(text(Response::ok(Some("u".into()), "pong")), r#"{"id":"u","message":"pong","error":null}"#);
        assert_eq!(text(Response::ok(Some("u".into()), Value::Null)), r#"{"id":"u","message":null,"error":null}"#);
        assert_eq!(
            text(Response::error(None, Error::new(ErrorCode::IdTaken, "no"))),
            r#"{"id":null,"message":null,"error":{"code":"ERR_ID_TAKEN","message":"no"}}"#
        );
    }

    #[test]
    fn a_bad_message_keeps_the_id_of_its_frame() {
        for message in [
            "{}",
            "[]",
            "5",
            "null",
            r#"{"type":5}"#,
            r#"{"type":"dance"}"#,
            r#"{"type":"find"}"#,
            r#"{"type":"find","id":""}"#,
            r#"{"type":"find","id":"\ud800"}"#,
            r#"{"type":"find","id":"a","id":"b"}"#,
            r#"{"type":"signal","to":"b"}"#,
            r#"["ping","a","b","c",1,"d","e","f"]"#,
        ] {
            let bad = bad(&format!(r#"{{"id":"u","message":{message}}}"#));
            assert_eq!((bad.id.as_deref(), bad.is_json), (Some("u"), true), "{message}");
            assert_eq!(bad.error.code, ErrorCode::Protocol);
        }
        assert_eq!(bad(r#"{"id":"u"}"#).id.as_deref(), Some("u"));
    }

    #[test]
    fn tells_json_that_is_no_frame_from_what_is_not_json() {
        let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
        for text in ["5", "[]", "null", "\"\"", "[\"u\",{}]", "{\"id\":5}", "{\"\\ud800\":1}", &deep] {
            assert!(bad(text).is_json, "{text}");
        }
        for text in ["", "{", "ping", "{}{}", "{\"id\":\"u\"", "'a'"] {
            assert!(!bad(text).is_json, "{text}");
        }
    }

    #[test]
    fn an_id_over_the_limit_is_refused() {
        let long = "a".repeat(crate::limits::MAX_ID_BYTES + 1);
        assert!(Frame::parse(&format!(r#"{{"id":"{long}","message":{{"type":"ping"}}}}"#)).is_err());
        assert!(Frame::parse(&format!(r#"{{"id":"u","message":{{"type":"find","id":"{long}"}}}}"#)).is_err());
    }

    #[test]
    fn a_forged_from_and_a_strange_version_do_no_harm() {
        let long = "a".repeat(300);
        let text = format!(r#"{{"message":{{"type":"signal","from":"{long}","to":"b","signal":""}}}}"#);
        assert!(matches!(Frame::parse(&text).unwrap().request, Request::Signal(Signal { from: None, .. })));
        let text = r#"{"message":{"type":"register","id":"a","version":"new"}}"#;
        assert!(matches!(Frame::parse(text).unwrap().request, Request::Register { version: None, .. }));
    }

    #[test]
    fn ice_servers_have_the_names_of_an_rtc_configuration() {
        assert_eq!(json!(IceServers::default()), json!({"iceServers": []}));
        let [username, credential] = ["u", "p"].map(|text| Some(text.to_owned()));
        let server = IceServer { urls: vec!["turn:h".into()], username, credential };
        let servers = IceServers { ice_servers: vec![server], ttl: Some(60), relay: Some(4096) };
        let json =
            json!({"iceServers": [{"urls": ["turn:h"], "username": "u", "credential": "p"}], "ttl": 60, "relay": 4096});
        assert_eq!(json!(servers), json);
        assert_eq!(serde_json::from_value::<IceServers>(json).unwrap(), servers);
    }

    #[test]
    fn a_client_reads_every_answer() {
        let parse = |text: &str| FromBroker::parse(text).unwrap();
        let response = Response::error(Some("u".into()), Error::new(ErrorCode::PeerNotFound, "nobody"));
        assert_eq!(FromBroker::parse(&response.to_text()).unwrap(), FromBroker::Response(response));
        // A broker that is not ours may put anything into `error`.
        for error in [r#""taken""#, r#"{"name":"Error"}"#, "5", "true"] {
            let text = format!(r#"{{"id":"u","message":null,"error":{error}}}"#);
            assert!(matches!(parse(&text), FromBroker::Response(Response { error: Some(_), .. })), "{error}");
        }
        assert_eq!(
            parse(r#"{"message":{"type":"signal","from":"a","to":"b","signal":"x"}}"#),
            FromBroker::Signal { from: id("a"), signal: "x".into() }
        );
        assert_eq!(parse(r#"{"message":{"type":"news"}}"#), FromBroker::Unknown);
        for text in ["", "[]", "{}", r#"{"id":5}"#, r#"{"message":{"type":"signal","from":"","signal":"x"}}"#] {
            assert!(FromBroker::parse(text).is_err(), "{text}");
        }
    }

    /// Text that is nearly a frame: random values under the names that matter.
    fn nearly_a_frame() -> impl Strategy<Value = String> {
        let value = prop_oneof![
            Just("null".to_owned()),
            Just("{}".to_owned()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<String>().prop_map(|text| json!(text).to_string()),
            prop::sample::select(vec!["ping", "find", "register", "unregister", "signal", "ice"])
                .prop_map(|kind| json!(kind).to_string()),
        ];
        let names = vec!["type", "id", "secret", "token", "version", "from", "to", "signal", "error", "x"];
        let object = prop::collection::vec((prop::sample::select(names), value.clone()), 0..6).prop_map(|members| {
            let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        });
        (value, object).prop_map(|(id, message)| format!(r#"{{"id":{id},"message":{message}}}"#))
    }

    proptest! {
        #[test]
        fn never_panics_on_any_text(text in any::<String>()) {
            let _ = Frame::parse(&text);
            let _ = FromBroker::parse(&text);
        }

        #[test]
        fn never_panics_on_nearly_a_frame(text in nearly_a_frame()) {
            if let Ok(frame) = Frame::parse(&text) {
                prop_assert_eq!(Frame::parse(&frame.to_text()), Ok(frame));
            }
            let _ = FromBroker::parse(&text);
        }
    }
}
