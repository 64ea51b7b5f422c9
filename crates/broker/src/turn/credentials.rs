//! Who may relay: credentials that need no table (the TURN REST way, as coturn's `use-auth-secret` does it too), and
//! nonces that need none. Pure: the time is an argument.

use std::fmt;
use std::net::SocketAddr;

use md5::{Digest, Md5};
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac};

/// Seconds for which a client may use a nonce. Then it is told 438 and takes the new one: a recorded request is worth
/// nothing to who records it, after that.
pub(crate) const NONCE_SECONDS: u64 = 600;

/// Bytes of the username's name, for the username to fit into the 508 that RFC 8489, section 14.3, allows.
const MAX_NAME_BYTES: usize = 256;

/// A shared secret, from which every password is derived. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A secret of somebody's choice: the same as the `static-auth-secret` of a coturn beside this broker.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// A new one of 256 bits.
    ///
    /// # Errors
    /// Where the system has no random numbers.
    pub(crate) fn random() -> std::io::Result<Self> {
        Ok(Self(hex(&random::<32>()?)))
    }

    fn password(&self, username: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, self.0.as_bytes());
        base64(hmac::sign(&key, username.as_bytes()).as_ref())
    }

    /// Credentials for a name that end at a time, in seconds since 1970: a username and a password.
    pub fn credentials(&self, name: &str, expiry: u64) -> (String, String) {
        let username = format!("{expiry}:{}", plain(name));
        let password = self.password(&username);
        (username, password)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A name as it can stand in a username. Clients may normalise what is not ASCII (RFC 8265), and the password would
/// no longer fit; such names, and very long ones, are replaced by their hash.
fn plain(name: &str) -> String {
    if name.len() <= MAX_NAME_BYTES && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return name.to_owned();
    }
    hex(&digest::digest(&digest::SHA256, name.as_bytes()).as_ref()[..16])
}

/// The user that a username stands for, if it is of our form and has not expired.
pub(crate) fn user_of(username: &str, now: u64) -> Option<&str> {
    let (expiry, user) = username.split_once(':')?;
    let digits = !expiry.is_empty() && expiry.bytes().all(|byte| byte.is_ascii_digit());
    (digits && expiry.parse().is_ok_and(|expiry: u64| expiry > now)).then_some(user)
}

/// The key of one user's signatures (RFC 8489, section 9.2.2). MD5 and SHA-1 are what every client speaks.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key([u8; 16]);

impl Key {
    pub(crate) fn new(username: &str, realm: &str, password: &str) -> Self {
        let mut md5 = Md5::new();
        for part in [username, ":", realm, ":", password] {
            md5.update(part.as_bytes());
        }
        Self(md5.finalize().into())
    }

    /// The key of a username under a secret.
    pub(crate) fn derived(username: &str, realm: &str, secret: &Secret) -> Self {
        Self::new(username, realm, &secret.password(username))
    }

    pub(crate) fn hmac(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Makes nonces and recognises them, without keeping any: a nonce is a time, and a proof that this process made it
/// for that client.
pub(crate) struct Nonces(hmac::Key);

impl Nonces {
    /// # Errors
    /// Where the system has no random numbers.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &random::<32>()?)))
    }

    pub(crate) fn make(&self, client: SocketAddr, now: u64) -> String {
        let proof = hmac::sign(&self.0, &nonce_input(client, now));
        format!("{now:x}-{}", hex(&proof.as_ref()[..12]))
    }

    pub(crate) fn accepts(&self, nonce: &str, client: SocketAddr, now: u64) -> bool {
        let made = nonce.split_once('-').and_then(|(made, _)| u64::from_str_radix(made, 16).ok());
        let Some(made) = made.filter(|made| *made <= now && now - made < NONCE_SECONDS) else { return false };
        // Found by its timing, a nonce would only let its finder ask again: it proves no credentials.
        self.make(client, made) == nonce
    }
}

fn nonce_input(client: SocketAddr, time: u64) -> Vec<u8> {
    let mut input = time.to_be_bytes().to_vec();
    match client.ip() {
        std::net::IpAddr::V4(ip) => input.extend_from_slice(&ip.octets()),
        std::net::IpAddr::V6(ip) => input.extend_from_slice(&ip.octets()),
    }
    input.extend_from_slice(&client.port().to_be_bytes());
    input
}

/// Random bytes for a key.
pub(crate) fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| std::io::Error::other("the system has no random numbers"))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let part = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = (part(0) << 16) | (part(1) << 8) | part(2);
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = DIGITS[(bits >> shift) as usize & 63];
            text.push(if at <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    /// As `echo -n 1700000000:alice | openssl dgst -sha1 -hmac north -binary | base64` says.
    #[test]
    fn the_password_is_that_of_coturn() {
        let (username, password) = Secret::new("north").credentials("alice", 1_700_000_000);
        assert_eq!(username, "1700000000:alice");
        assert_eq!(password, "Cd/49soE35ICqcJF/bCTn8Z4OyE=");
    }

    #[test]
    fn names_that_clients_might_change_are_hashed() {
        let secret = Secret::new("s");
        let name = |name: &str| secret.credentials(name, 1).0;
        assert_eq!(name("a:b"), "1:a:b");
        for odd in ["é", "a b", "\n", &"a".repeat(257)] {
            let username = name(odd);
            assert!(username.len() == 34 && username.is_ascii(), "{username}");
        }
        assert_ne!(name("é"), name("è"));
    }

    #[test]
    fn a_username_has_an_expiry_in_the_future() {
        assert_eq!(user_of("101:a:b", 100), Some("a:b"));
        for username in ["100:a", "99:a", "a", ":a", "+101:a", "a:101", "", "99999999999999999999999:a"] {
            assert_eq!(user_of(username, 100), None, "{username}");
        }
    }

    #[test]
    fn a_nonce_is_for_one_client_and_some_time() {
        let (nonces, others) = (Nonces::new().unwrap(), Nonces::new().unwrap());
        let client = "192.0.2.1:5000".parse().unwrap();
        let nonce = nonces.make(client, 1_000);
        assert!(nonces.accepts(&nonce, client, 1_000) && nonces.accepts(&nonce, client, 1_599));
        assert!(!nonces.accepts(&nonce, client, 1_600) && !nonces.accepts(&nonce, client, 999));
        assert!(!nonces.accepts(&nonce, "192.0.2.1:5001".parse().unwrap(), 1_000));
        assert!(!others.accepts(&nonce, client, 1_000));
        for forged in ["", "-", "3e8", "3e8-", "ffffffffffffffffff-00", &nonce[..nonce.len() - 1]] {
            assert!(!nonces.accepts(forged, client, 1_000), "{forged}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("north")), "Secret(..)");
    }
}
