//! What two peers say to each other.

use std::fmt;

use bytes::Bytes;
use linkup_proto::{Error, ErrorCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A message: JSON, or bytes.
///
/// ```
/// use linkup_peer::Message;
/// use serde_json::json;
///
/// assert_eq!(Message::from("hi"), Message::Json(json!("hi")));
/// assert_eq!(Message::from(json!({"hi": 1})).to::<std::collections::HashMap<String, u8>>()?["hi"], 1);
/// assert_eq!(Message::from(vec![1, 2]).bytes(), Some(&[1, 2][..]));
/// # Ok::<(), linkup_peer::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Anything JSON: what a program in JavaScript has sent as an object, a string, a number, …
    Json(Value),
    /// Bytes: there they are a `Buffer` or a typed array.
    Binary(Bytes),
}

impl Message {
    /// Anything that serde makes JSON of.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidMessage`] where it cannot be JSON, as a map whose keys are no strings.
    pub fn json(value: &impl Serialize) -> Result<Self, Error> {
        serde_json::to_value(value).map(Self::Json).map_err(|error| invalid(&error))
    }

    /// Reads the JSON as a type of the application.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidMessage`] where it is not of that type, or is bytes.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T, Error> {
        match self {
            Self::Json(value) => T::deserialize(value).map_err(|error| invalid(&error)),
            Self::Binary(_) => Err(Error::new(ErrorCode::InvalidMessage, "a binary message is no JSON")),
        }
    }

    /// The bytes, where it is binary.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Json(_) => None,
            Self::Binary(bytes) => Some(bytes),
        }
    }
}

fn invalid(error: &serde_json::Error) -> Error {
    Error::new(ErrorCode::InvalidMessage, error.to_string())
}

/// As JSON; of bytes their number.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(value) => value.fmt(f),
            Self::Binary(bytes) => write!(f, "{} bytes", bytes.len()),
        }
    }
}

/// The JSON string.
impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self::Json(text.into())
    }
}

/// The JSON string.
impl From<String> for Message {
    fn from(text: String) -> Self {
        Self::Json(text.into())
    }
}

impl From<Value> for Message {
    fn from(value: Value) -> Self {
        Self::Json(value)
    }
}

impl From<Vec<u8>> for Message {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Binary(bytes.into())
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Binary(bytes)
    }
}
