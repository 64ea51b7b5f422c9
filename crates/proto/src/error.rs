//! The error that the whole of linkup speaks.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What went wrong, as a stable name. Each is documented for users in `index.d.ts`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// The name as JavaScript and the wire know it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The code of a name, if it is one of ours.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// The message cannot be carried.
    InvalidMessage = "ERR_INVALID_MESSAGE",
    /// The message is larger than the limit.
    MessageTooLarge = "ERR_MESSAGE_TOO_LARGE",
    /// The id belongs to another peer.
    IdTaken = "ERR_ID_TAKEN",
    /// The broker refuses: not registered, forged, or not authorised.
    NotAuthorized = "ERR_NOT_AUTHORIZED",
    /// No broker could be reached, or it did not answer in time.
    BrokerUnreachable = "ERR_BROKER_UNREACHABLE",
    /// Nobody is registered with that id.
    PeerNotFound = "ERR_PEER_NOT_FOUND",
    /// The remote peer does not want the connection.
    Denied = "ERR_DENIED",
    /// A peer cannot connect to itself.
    ConnectSelf = "ERR_CONNECT_SELF",
    /// The connection did not come up in time.
    ConnectTimeout = "ERR_CONNECT_TIMEOUT",
    /// No pair of addresses works.
    IceFailed = "ERR_ICE_FAILED",
    /// An open connection broke.
    ConnectionLost = "ERR_CONNECTION_LOST",
    /// The connection is closed.
    ConnectionClosed = "ERR_CONNECTION_CLOSED",
    /// The peer is closed.
    PeerClosed = "ERR_PEER_CLOSED",
    /// More is buffered than the limit allows.
    BufferFull = "ERR_BUFFER_FULL",
    /// The remote did not confirm the close in time.
    CloseTimeout = "ERR_CLOSE_TIMEOUT",
    /// The caller gave up.
    Aborted = "ERR_ABORTED",
    /// The other side is not who it says it is.
    IdentityMismatch = "ERR_IDENTITY_MISMATCH",
    /// The other side broke the protocol.
    Protocol = "ERR_PROTOCOL",
    /// The other side, or this version, cannot do that.
    Unsupported = "ERR_UNSUPPORTED",
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        // A newer broker may have codes that we do not know: still an error, not a parse failure.
        Ok(Self::parse(&text).unwrap_or(Self::Protocol))
    }
}

/// An error with its code and a sentence that says what happened and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// What went wrong.
    pub code: ErrorCode,
    /// For a human.
    pub message: String,
    /// Numbers and facts, where a code promises some: see `index.d.ts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<serde_json::Value>>,
}

impl Error {
    /// Makes an error.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), details: None }
    }

    /// The same error with facts for a program to read.
    #[must_use]
    pub fn with_details(mut self, details: serde_json::Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for Error {}
