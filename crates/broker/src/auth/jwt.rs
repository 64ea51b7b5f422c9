//! JSON Web Tokens (RFC 7519) in their compact form, signed (RFC 7515). Pure: keys and the time are arguments.

use serde_json::{Map, Value};

use super::keys::Key;
use super::pattern;

/// Seconds by which the clock of who has made a token may be wrong.
const LEEWAY: u64 = 60;

/// What a token must say.
pub(super) struct Expected<'a> {
    pub(super) audience: Option<&'a str>,
    pub(super) issuer: Option<&'a str>,
    /// Seconds since 1970.
    pub(super) now: u64,
}

/// What a good token says.
#[derive(Debug)]
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    /// Whether it is for an id: `ids` is a pattern or a list of them. Without, it is for every id.
    pub(super) fn may_have(&self, id: &str) -> bool {
        let fits = |value: &Value| value.as_str().is_some_and(|wanted| pattern::matches(wanted, id));
        match self.0.get("ids") {
            None => true,
            Some(Value::Array(list)) => list.iter().any(fits),
            Some(one) => fits(one),
        }
    }
}

/// Reads a token. An error is for whoever sent it.
pub(super) fn verify(token: &str, keys: &[Key], expected: &Expected<'_>) -> Result<Claims, String> {
    let malformed = || "the token is no JWT".to_owned();
    let (message, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
    let (header, payload) = message.split_once('.').ok_or_else(malformed)?;
    let header = object(header).ok_or_else(malformed)?;
    let signature = base64url(signature).ok_or_else(malformed)?;
    // RFC 7515, section 4.1.11: what we do not understand and must, we refuse.
    if header.contains_key("crit") {
        return Err("the token asks for an extension of JWT".to_owned());
    }
    let algorithm = header.get("alg").and_then(Value::as_str).unwrap_or_default();
    let mut fitting = keys.iter().filter(|key| key.algorithm() == algorithm);
    if !fitting.any(|key| key.verify(message.as_bytes(), &signature)) {
        return Err("the token is not signed with a key of this broker".to_owned());
    }
    let claims = object(payload).ok_or_else(malformed)?;
    let time = |name: &str| claims.get(name).map(|value| value.as_f64().ok_or_else(malformed)).transpose();
    if time("exp")?.is_some_and(|end| end + LEEWAY as f64 <= expected.now as f64) {
        return Err("the token has expired".to_owned());
    }
    if time("nbf")?.is_some_and(|begin| begin > (expected.now + LEEWAY) as f64) {
        return Err("the token is not valid yet".to_owned());
    }
    let says = |name: &str, wanted: &str| match claims.get(name) {
        Some(Value::Array(list)) => list.iter().any(|value| value.as_str() == Some(wanted)),
        value => value.and_then(Value::as_str) == Some(wanted),
    };
    for (name, wanted) in [("aud", expected.audience), ("iss", expected.issuer)] {
        if wanted.is_some_and(|wanted| !says(name, wanted)) {
            return Err(format!("the token has another `{name}` than this broker asks for"));
        }
    }
    Ok(Claims(claims))
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&base64url(part)?).ok()
}

/// RFC 4648, section 5, without padding. Bits that mean nothing are zero: there is one text for the same bytes.
fn base64url(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for digit in text.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    (count < 6 && bits == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};

    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn encode(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let part = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
            let bits = part(0) << 16 | part(1) << 8 | part(2);
            for at in 0..=chunk.len() {
                text.push(DIGITS[(bits >> (18 - 6 * at)) as usize & 63].into());
            }
        }
        text
    }

    fn unsigned(header: &str, claims: &str) -> String {
        format!("{}.{}", encode(header.as_bytes()), encode(claims.as_bytes()))
    }

    fn hs256(claims: &str) -> String {
        let message = unsigned(r#"{"alg":"HS256","typ":"JWT"}"#, claims);
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
        format!("{message}.{}", encode(ring::hmac::sign(&key, message.as_bytes()).as_ref()))
    }

    fn check(token: &str, keys: &[Key]) -> Result<Claims, String> {
        verify(token, keys, &Expected { audience: None, issuer: None, now: 1_000_000 })
    }

    fn keys() -> [Key; 1] {
        [Key::secret(SECRET).unwrap()]
    }

    /// A PEM file of a public key.
    fn pem(algorithm: &[u8], key: &[u8]) -> Key {
        let der = |tag: u8, content: &[u8]| [&[tag, content.len() as u8], content].concat();
        let bits = der(3, &[&[0], key].concat());
        let info = der(0x30, &[der(0x30, algorithm), bits].concat());
        let mut text = encode(&info).replace('-', "+").replace('_', "/");
        while !text.len().is_multiple_of(4) {
            text.push('=');
        }
        let path = std::env::temp_dir().join(format!("linkup-jwt-{}-{}.pem", std::process::id(), algorithm.len()));
        std::fs::write(&path, format!("-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n")).unwrap();
        let mut keys = Key::read(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        keys.remove(0)
    }

    /// RFC 7515, appendix A.1: the one that everybody has.
    #[test]
    fn reads_the_example_of_the_rfc() {
        let key = base64url("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow");
        let key = [Key::Secret(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key.unwrap()))];
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9l\
                     eGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let at = |now| verify(token, &key, &Expected { audience: None, issuer: Some("joe"), now });
        assert!(at(1_300_819_379).unwrap().may_have("anybody"));
        assert!(at(1_300_819_380 + LEEWAY).unwrap_err().contains("expired"));
        let other = verify(token, &key, &Expected { audience: None, issuer: Some("jo"), now: 0 });
        assert!(other.unwrap_err().contains("`iss`"));
    }

    #[test]
    fn names_the_ids_that_it_is_for() {
        for (claims, yes, no) in [
            ("{}", &["a", "b"][..], &[][..]),
            (r#"{"ids":"a"}"#, &["a"], &["b", "aa"]),
            (r#"{"ids":["a","team-*"]}"#, &["a", "team-", "team-x"], &["b", "Team-x"]),
            (r#"{"ids":[]}"#, &[], &["a"]),
            (r#"{"ids":null}"#, &[], &["a"]),
            (r#"{"ids":[1,{}]}"#, &[], &["1"]),
        ] {
            let claims = check(&hs256(claims), &keys()).unwrap();
            assert!(yes.iter().all(|id| claims.may_have(id)), "{claims:?}");
            assert!(!no.iter().any(|id| claims.may_have(id)), "{claims:?}");
        }
    }

    #[test]
    fn asks_for_times_audience_and_issuer() {
        for (claims, why) in [
            (r#"{"exp":999940}"#, "expired"),
            (r#"{"exp":"never"}"#, "no JWT"),
            (r#"{"nbf":1000061}"#, "not valid yet"),
        ] {
            assert!(check(&hs256(claims), &keys()).unwrap_err().contains(why), "{claims}");
        }
        for claims in [r#"{"exp":999941}"#, r#"{"nbf":1000060}"#, r#"{"exp":1000000.5,"nbf":1}"#] {
            assert!(check(&hs256(claims), &keys()).is_ok(), "{claims}");
        }
        let expected = Expected { audience: Some("chat"), issuer: Some("me"), now: 0 };
        for (claims, good) in [
            (r#"{"aud":"chat","iss":"me"}"#, true),
            (r#"{"aud":["mail","chat"],"iss":"me"}"#, true),
            (r#"{"aud":"mail","iss":"me"}"#, false),
            (r#"{"iss":"me"}"#, false),
            (r#"{"aud":"chat","iss":"you"}"#, false),
        ] {
            assert_eq!(verify(&hs256(claims), &keys(), &expected).is_ok(), good, "{claims}");
        }
    }

    #[test]
    fn a_token_chooses_no_algorithm_and_no_key() {
        let good = hs256("{}");
        let (message, signature) = good.rsplit_once('.').unwrap();
        let (header, payload) = message.split_once('.').unwrap();
        for token in [
            format!("{}.", unsigned(r#"{"alg":"none"}"#, "{}")),
            format!("{}.{signature}", unsigned(r#"{"alg":"none"}"#, "{}")),
            format!("{}.{signature}", unsigned("{}", "{}")),
            format!("{}.{signature}", unsigned(r#"{"alg":"RS256"}"#, "{}")),
            format!("{header}.{}.{signature}", encode(br#"{"ids":"*"}"#)),
            format!("{message}.{}", &signature[1..]),
            format!("{message}."),
            format!("{message}.{signature}="),
            format!("{header}.{payload}.{signature}.{signature}"),
            message.to_owned(),
            String::new(),
            "..".to_owned(),
        ] {
            assert!(check(&token, &keys()).is_err(), "{token}");
        }
        let extension = unsigned(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, "{}");
        assert!(check(&format!("{extension}.{signature}"), &keys()).unwrap_err().contains("extension"));
        let other = [Key::secret(&SECRET.replace('0', "1")).unwrap()];
        assert!(check(&good, &other).unwrap_err().contains("not signed"));
        let both = [other.into_iter().next().unwrap(), Key::secret(SECRET).unwrap()];
        assert!(check(&good, &both).is_ok());
    }

    #[test]
    fn public_keys_verify_what_their_private_ones_sign() {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let ec = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        let ed = Ed25519KeyPair::from_pkcs8(Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref()).unwrap();
        const EC: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        let keys = [pem(EC, ec.public_key().as_ref()), pem(&[6, 3, 0x2b, 0x65, 0x70], ed.public_key().as_ref())];
        let es256 = unsigned(r#"{"alg":"ES256"}"#, "{}");
        let signature = ec.sign(&random, es256.as_bytes()).unwrap();
        let eddsa = unsigned(r#"{"alg":"EdDSA"}"#, "{}");
        for token in [
            format!("{es256}.{}", encode(signature.as_ref())),
            format!("{eddsa}.{}", encode(ed.sign(eddsa.as_bytes()).as_ref())),
        ] {
            assert!(check(&token, &keys).is_ok());
            // RFC 8725, section 2.1: a public key is no secret of HS256.
            assert!(check(&token.replacen('.', "A.", 1), &keys).is_err());
        }
        // P-384 is none of those that we know.
        assert!(std::panic::catch_unwind(|| pem(&[6, 3, 0x2b, 0x81, 0x04], &[4; 97])).is_err());
    }

    proptest! {
        #[test]
        fn takes_any_text(token in "[A-Za-z0-9_.=-]{0,80}", bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let _ = check(&token, &keys());
            prop_assert_eq!(base64url(&encode(&bytes)), Some(bytes));
        }
    }
}
