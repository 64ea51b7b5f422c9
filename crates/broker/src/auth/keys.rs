//! The keys that tokens are signed with. A key fixes its algorithm: what a token says of itself decides nothing.

use std::io;
use std::path::Path;

use ring::{hmac, signature};
use tokio_rustls::rustls::pki_types::SubjectPublicKeyInfoDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// RFC 7518, section 3.2: a key of HS256 is as long as its hash.
const MIN_SECRET: usize = 32;

/// The algorithms of public keys, DER of their object identifiers: rsaEncryption, id-ecPublicKey, prime256v1, Ed25519.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];

/// A key to verify with.
pub(super) enum Key {
    Secret(hmac::Key),
    Public { algorithm: &'static str, verify: &'static dyn signature::VerificationAlgorithm, key: Vec<u8> },
}

impl Key {
    /// For HS256.
    pub(super) fn secret(secret: &str) -> io::Result<Self> {
        if secret.len() < MIN_SECRET {
            let why = format!("a secret that tokens are signed with has at least {MIN_SECRET} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        Ok(Self::Secret(hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())))
    }

    /// All public keys of a PEM file: during a change there are two.
    pub(super) fn read(path: &Path) -> io::Result<Vec<Self>> {
        let wrong =
            |why: String| io::Error::new(io::ErrorKind::InvalidInput, format!("cannot use {}: {why}", path.display()));
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let mut keys = Vec::new();
        for info in SubjectPublicKeyInfoDer::pem_slice_iter(&pem) {
            let info = info.map_err(|error| wrong(error.to_string()))?;
            let key = Self::public(info.as_ref());
            keys.push(key.ok_or_else(|| wrong("a key in it is neither RSA, P-256 nor Ed25519".to_owned()))?);
        }
        if keys.is_empty() { Err(wrong("there is no PUBLIC KEY in it".to_owned())) } else { Ok(keys) }
    }

    /// RFC 5280, section 4.1.2.7: `SEQUENCE { SEQUENCE { OBJECT IDENTIFIER, parameters }, BIT STRING }`.
    fn public(info: &[u8]) -> Option<Self> {
        let (info, _) = value(0x30, info)?;
        let (algorithm, rest) = value(0x30, info)?;
        // The first octet says how many bits of the last are none: none.
        let key = value(0x03, rest)?.0.strip_prefix(&[0])?.to_vec();
        let (name, parameters) = value(0x06, algorithm)?;
        let (algorithm, verify): (_, &'static dyn signature::VerificationAlgorithm) = match name {
            RSA => ("RS256", &signature::RSA_PKCS1_2048_8192_SHA256),
            EC if value(0x06, parameters)?.0 == P256 => ("ES256", &signature::ECDSA_P256_SHA256_FIXED),
            ED25519 => ("EdDSA", &signature::ED25519),
            _ => return None,
        };
        Some(Self::Public { algorithm, verify, key })
    }

    /// The name in RFC 7518 and RFC 8037.
    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => "HS256",
            Self::Public { algorithm, .. } => algorithm,
        }
    }

    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Self::Public { verify, key, .. } => {
                signature::UnparsedPublicKey::new(*verify, key).verify(message, signature).is_ok()
            }
        }
    }
}

/// The value of the DER element with that tag at the beginning, and what is behind it. Lengths up to 64 KiB.
fn value(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = der.strip_prefix(&[tag])?;
    let (length, rest) = match rest {
        [short @ ..=0x7f, rest @ ..] => (usize::from(*short), rest),
        [0x81, a, rest @ ..] => (usize::from(*a), rest),
        [0x82, a, b, rest @ ..] => (usize::from(*a) << 8 | usize::from(*b), rest),
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn takes_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(Key::public(&bytes).is_none());
        }
    }
}
