//! Who says a signal: every text that goes to another peer through the broker ends with a signature of the sender's key
//! over all of it and both ids, so that a broker can keep it back and do nothing else to it (docs/protocol.md,
//! "Signatures"). Knows texts and keys; what follows from a wrong one is in `signaling`.

use std::fmt;

use linkup_proto::broker::register_statement;
use linkup_proto::key::{decode, encode};
use linkup_proto::{PeerId, PublicKey};
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// What signatures are made for here, so that none serves for anything else.
const PURPOSE: &[u8] = b"linkup signal 1\0";

/// How the text of a signed signal ends: this, the signature, and `"}`.
const MEMBER: &str = r#","signature":""#;
const END: &str = r#""}"#;
/// Characters of a signature: 64 bytes in Base64.
const SIGNATURE: usize = 86;

/// The key of a peer: Ed25519 (RFC 8032).
pub struct Identity {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// What was said, as a name for it.
pub(crate) type Digest = [u8; 32];

impl Identity {
    /// The key of a seed, its secret half.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        #[expect(clippy::expect_used, reason = "every 32 bytes are the seed of a key (RFC 8032, section 5.1.5)")]
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("a seed of 32 bytes");
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        Self { pair, public: PublicKey::new(public) }
    }

    /// Its public half.
    pub const fn public(&self) -> PublicKey {
        self.public
    }

    /// Proves to a broker that the id of this key is ours: the signature, as text.
    pub(crate) fn prove(&self, challenge: &str, id: &PeerId) -> String {
        encode(self.pair.sign(&register_statement(challenge, id)).as_ref())
    }

    /// `text`, a JSON object, with the signature as its last member.
    pub fn sign(&self, from: &PeerId, to: &PeerId, text: &str) -> String {
        let signature = encode(self.pair.sign(&signed(from, to, text)).as_ref());
        let open = text.strip_suffix('}').unwrap_or(text);
        format!("{open}{MEMBER}{signature}{END}")
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.public)
    }
}

/// A text, and the signature that it ends with.
pub(crate) struct Signed {
    body: String,
    signature: Option<[u8; 64]>,
}

impl Signed {
    pub(crate) fn read(text: &str) -> Self {
        let end = text.strip_suffix(END);
        let split = end.and_then(|rest| rest.split_at_checked(rest.len().checked_sub(SIGNATURE)?));
        if let Some((start, signature)) = split
            && let (Some(open), Some(signature)) = (start.strip_suffix(MEMBER), decode(signature))
        {
            return Self { body: format!("{open}}}"), signature: Some(signature) };
        }
        Self { body: text.to_owned(), signature: None }
    }

    /// Whether `key` has signed it, on its way from one to the other.
    pub(crate) fn is_by(&self, key: &PublicKey, from: &PeerId, to: &PeerId) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, key.as_bytes());
        self.signature.is_some_and(|signature| key.verify(&signed(from, to, &self.body), &signature).is_ok())
    }

    /// The name of what was said, whoever said it.
    pub(crate) fn digest(&self) -> Digest {
        digest_of(&self.body)
    }
}

/// The name of a text without a signature.
pub(crate) fn digest_of(text: &str) -> Digest {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    out
}

fn signed(from: &PeerId, to: &PeerId, body: &str) -> Vec<u8> {
    let mut bytes = PURPOSE.to_vec();
    for id in [from, to] {
        // An id has at most 256 bytes.
        bytes.extend_from_slice(&(id.as_str().len() as u16).to_be_bytes());
        bytes.extend_from_slice(id.as_str().as_bytes());
    }
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::Value;

    #[test]
    fn what_is_signed_and_what_is_not() {
        let vectors: Vec<Value> = serde_json::from_str(include_str!("../../../vectors/identity.json")).unwrap();
        for vector in &vectors {
            let text = |name: &str| vector[name].as_str().unwrap().to_owned();
            let id = |name: &str| PeerId::new(&text(name)).unwrap();
            let signed = Signed::read(&text("text"));
            let key = PublicKey::parse(&text("key"));
            let valid = key.is_some_and(|key| signed.is_by(&key, &id("from"), &id("to")));
            assert_eq!(Value::Bool(valid), vector["valid"], "{}", text("name"));
        }
    }
}
