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

    /// What another peer has sent as text.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let read = serde_json::from_str(text).or_else(|error| match whole(text) {
            Some(text) => serde_json::from_str(&text),
            None => Err(error),
        });
        read.map(Self::Json).map_err(|error| invalid(&error))
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

/// The text with a replacement character for each half of one: a string in JavaScript may have half a character, one in Rust may
/// not. `None`: it has none.
fn whole(text: &str) -> Option<String> {
    let surrogate = |at: usize| {
        let escape = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(escape, 16).ok().filter(|code| (0xd800..0xe000).contains(code))
    };
    let (mut at, mut from) = (0, 0);
    let mut made = String::new();
    while let Some(next) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += next;
        match (surrogate(at), surrogate(at + 6)) {
            (Some(0xd800..0xdc00), Some(0xdc00..)) => at += 12,
            (Some(_), _) => {
                made += &text[from..at];
                made += "\\ufffd";
                at += 6;
                from = at;
            }
            // Another escape, whose second character may be a backslash, too.
            _ => at += 2,
        }
    }
    (from > 0).then(|| made + &text[from..])
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn half_a_character_of_javascript_is_replaced() {
        for (text, expected) in [
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""a\ude00b""#, "a\u{fffd}b"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}"),
            (r#""\\ud83d""#, "\\ud83d"),
            (r#""\ud83d\\\ude00""#, "\u{fffd}\\\u{fffd}"),
            (r#""\ud83d\ude00 \n é""#, "\u{1f600} \n é"),
        ] {
            assert_eq!(Message::parse(text).unwrap(), Message::from(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for text in ["", "{", r#""\ud8""#, r#""\""#, "\\", r"\ud83d", &"[".repeat(200)] {
            assert_eq!(Message::parse(text).unwrap_err().code, ErrorCode::InvalidMessage, "{text}");
        }
    }
}
