//! What a peer is known by where its id is not enough: the public half of its key.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;

use crate::PeerId;

/// How an id begins that is a public key itself.
const KEY_ID: &str = "key:";

/// How the points of small order begin, in all encodings that a verifier may take: with such a key anybody can sign. No key
/// that somebody has made begins so.
const SMALL_ORDER: [u64; 7] = [
    0,
    0x0100_0000_0000_0000,
    0xecff_ffff_ffff_ffff,
    0xedff_ffff_ffff_ffff,
    0xeeff_ffff_ffff_ffff,
    0x26e8_958f_c2b2_27b0,
    0xc717_6a70_3d4d_d84f,
];

/// The public key of a peer: Ed25519 (RFC 8032). As text it is base64url without padding (RFC 4648, section 5).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// A key of these bytes. Whether it is a point of the curve shows where a signature is checked.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads its text, of which there is one only; `None` where that is no key.
    pub fn parse(text: &str) -> Option<Self> {
        decode(text).filter(|key| !has_small_order(key)).map(Self)
    }

    /// The key that an id is: `key:` and its text. `None` of any other id.
    pub fn of_id(id: &PeerId) -> Option<Self> {
        Self::parse(id.as_str().strip_prefix(KEY_ID)?)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

fn has_small_order(key: &[u8; 32]) -> bool {
    key.first_chunk().is_some_and(|start| SMALL_ORDER.contains(&u64::from_be_bytes(*start)))
}

/// Text of bytes, as keys and digests have it.
pub fn encode(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// The bytes of such a text, where there are so many of them.
pub fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    BASE64.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const TEXT: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";

    #[test]
    fn a_key_is_read_from_its_one_text() {
        let key = PublicKey::parse(TEXT).unwrap();
        assert_eq!(key.as_bytes(), &[1; 32]);
        assert_eq!(key.to_string(), TEXT);
        // The last character has two bits that mean nothing.
        for wrong in ["", "AQ", &TEXT[1..], &format!("{TEXT}="), &format!("{}F", &TEXT[..42]), &format!("{TEXT}AQEB")] {
            assert_eq!(PublicKey::parse(wrong), None, "{wrong}");
        }
        assert_eq!(PublicKey::parse(&TEXT.replace("AQ", "+/")), None);
    }

    #[test]
    fn a_key_that_everybody_has_is_none() {
        for start in SMALL_ORDER {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&start.to_be_bytes());
            assert_eq!(PublicKey::parse(&encode(&key)), None, "{start:x}");
        }
    }

    #[test]
    fn an_id_may_be_a_key() {
        let of = |id: &str| PublicKey::of_id(&PeerId::new(id).unwrap());
        assert_eq!(of(&format!("key:{TEXT}")), PublicKey::parse(TEXT));
        for other in [TEXT, "key:", "key:alice", &format!("KEY:{TEXT}"), &format!(" key:{TEXT}")] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
