//! The id of a peer.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::limits::MAX_ID_BYTES;

/// The id of a peer: any non-empty string of at most [`MAX_ID_BYTES`] bytes of UTF-8, compared byte for byte.
///
/// Cheap to clone: it is shared, not copied.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(Arc<str>);

/// Why a string is not a [`PeerId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidId {
    /// The string is empty.
    Empty,
    /// The string has this many bytes, more than [`MAX_ID_BYTES`].
    TooLong(usize),
}

impl PeerId {
    /// Checks and takes an id.
    ///
    /// # Errors
    /// [`InvalidId`] where the string is empty or too long.
    pub fn new(id: &str) -> Result<Self, InvalidId> {
        if id.is_empty() {
            return Err(InvalidId::Empty);
        }
        if id.len() > MAX_ID_BYTES {
            return Err(InvalidId::TooLong(id.len()));
        }
        Ok(Self(id.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for PeerId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("an id must not be empty"),
            Self::TooLong(bytes) => write!(f, "an id has at most {MAX_ID_BYTES} bytes of UTF-8, this one has {bytes}"),
        }
    }
}

impl std::error::Error for InvalidId {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_one_to_256_bytes() {
        assert_eq!(PeerId::new(""), Err(InvalidId::Empty));
        assert!(PeerId::new("a").is_ok());
        assert!(PeerId::new(&"é".repeat(128)).is_ok());
        assert_eq!(PeerId::new(&"a".repeat(257)), Err(InvalidId::TooLong(257)));
    }

    #[test]
    fn compares_byte_for_byte() {
        // Composed and decomposed é: equal to a reader, two ids to linkup.
        assert_ne!(PeerId::new("\u{e9}"), PeerId::new("e\u{301}"));
        assert_ne!(PeerId::new("a"), PeerId::new("A"));
    }
}
