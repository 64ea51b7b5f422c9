//! Who may register which id. Knows tokens and ids, nothing of sockets.
//!
//! In this order: a token must be one of the shared secrets or a JWT with a good signature, where there are such; then
//! [`Authorize`] decides, where there is one. `keys` reads keys, `jwt` tokens, `pattern` the ids that a token names.

mod jwt;
mod keys;
mod pattern;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use linkup_proto::PeerId;
use ring::hmac;

use crate::turn::Secret;
use keys::Key;

/// Bytes of a token: it stands in a frame, and what is longer is none of anybody's.
const MAX_TOKEN: usize = 16 * 1024;

/// What a broker asks of those who register. The default asks nothing: an open system.
#[derive(Clone)]
#[non_exhaustive]
pub struct Auth {
    /// A token may be one of these.
    pub secrets: Vec<Secret>,
    /// A token may be a JWT that is signed with one of these, HS256; of 32 bytes at least.
    pub jwt_secrets: Vec<Secret>,
    /// A token may be a JWT that is signed with the private key to a public one of these PEM files (`PUBLIC KEY`): RSA of
    /// 2048 bits at least is RS256, P-256 ES256, Ed25519 EdDSA.
    pub jwt_keys: Vec<PathBuf>,
    /// What a JWT must have as `aud`.
    pub audience: Option<String>,
    /// What a JWT must have as `iss`.
    pub issuer: Option<String>,
    /// Decides then.
    pub hook: Option<Arc<dyn Authorize>>,
    /// How long it may take: 10 s. Taken as at most 20, a client that waits longer seems dead.
    pub timeout: Duration,
}

impl Default for Auth {
    fn default() -> Self {
        Self {
            secrets: Vec::new(),
            jwt_secrets: Vec::new(),
            jwt_keys: Vec::new(),
            audience: None,
            issuer: None,
            hook: None,
            timeout: Duration::from_secs(10),
        }
    }
}

// By hand: nothing secret in a log.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth").field("jwt_keys", &self.jwt_keys).finish_non_exhaustive()
    }
}

/// Who wants to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthRequest {
    /// The id.
    pub id: PeerId,
    /// What the client has as `token`.
    pub token: Option<String>,
    /// The header Origin, of a page.
    pub origin: Option<String>,
    /// Where it comes from; behind a trusted proxy what that says.
    pub address: IpAddr,
}

/// What [`Authorize`] comes to: an error is the reason, for the client.
pub type Decision = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// Decides who may register.
pub trait Authorize: Send + Sync {
    /// Called once for each registration. Dropped when the client has left or the time has passed.
    fn authorize(&self, request: AuthRequest) -> Decision;
}

/// What is known without asking.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Yes,
    /// The reason, for the client.
    No(String),
    /// [`Guard::ask`] decides.
    Ask,
}

/// [`Auth`], with its keys read.
pub(crate) struct Guard {
    secrets: Vec<Secret>,
    keys: Vec<Key>,
    audience: Option<String>,
    issuer: Option<String>,
    hook: Option<Arc<dyn Authorize>>,
    timeout: Duration,
    /// Random, of this process: see [`Guard::is_secret`].
    compare: hmac::Key,
}

impl Guard {
    /// # Errors
    /// Which key cannot be used, and why.
    pub(crate) fn new(auth: &Auth) -> io::Result<Self> {
        let mut keys = Vec::new();
        for secret in &auth.jwt_secrets {
            keys.push(Key::secret(secret.as_str())?);
        }
        for path in &auth.jwt_keys {
            keys.append(&mut Key::read(path)?);
        }
        let wrong = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, why.to_owned()));
        if keys.is_empty() && (auth.audience.is_some() || auth.issuer.is_some()) {
            return wrong("an audience or issuer of tokens needs a key that they are signed with");
        }
        if auth.secrets.iter().any(|secret| secret.as_str().is_empty()) {
            return wrong("a secret that tokens are compared with must not be empty");
        }
        let compare = hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new())
            .map_err(|_| io::Error::other("no random numbers"))?;
        let Auth { secrets, audience, issuer, hook, timeout, .. } = auth.clone();
        let timeout = timeout.min(Duration::from_secs(20));
        Ok(Self { secrets, keys, audience, issuer, hook, timeout, compare })
    }

    /// Whether a peer may have an id, as far as its token says.
    pub(crate) fn check(&self, id: &PeerId, token: Option<&str>) -> Verdict {
        let asked = if self.hook.is_some() { Verdict::Ask } else { Verdict::Yes };
        if token.is_some_and(|token| token.len() > MAX_TOKEN) {
            return Verdict::No(format!("the token has more than {MAX_TOKEN} bytes"));
        }
        if self.secrets.is_empty() && self.keys.is_empty() {
            return asked;
        }
        let Some(token) = token else {
            return Verdict::No("this broker asks for a token: see the option `token`".to_owned());
        };
        if self.is_secret(token) {
            return asked;
        }
        if self.keys.is_empty() {
            return Verdict::No("the token is wrong".to_owned());
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let expected = jwt::Expected { audience: self.audience.as_deref(), issuer: self.issuer.as_deref(), now };
        match jwt::verify(token, &self.keys, &expected) {
            Ok(claims) if claims.may_have(id.as_str()) => asked,
            Ok(_) => Verdict::No(format!("the token is not for the id {id:?}")),
            Err(why) => Verdict::No(why),
        }
    }

    /// Whether [`ask`](Self::ask) will be called, for which the client's address and origin are then kept.
    pub(crate) fn asks(&self) -> bool {
        self.hook.is_some()
    }

    /// What the hook says.
    pub(crate) fn ask(&self, request: AuthRequest) -> impl Future<Output = Result<(), String>> + Send + 'static {
        let (hook, timeout) = (self.hook.clone(), self.timeout);
        async move {
            let Some(hook) = hook else { return Ok(()) };
            let late = |_| Err("the broker could not decide about it in time".to_owned());
            tokio::time::timeout(timeout, hook.authorize(request)).await.unwrap_or_else(late)
        }
    }

    /// How long a comparison takes must not tell how much of a guess is right: what is compared is a digest of it that
    /// nobody can foresee.
    fn is_secret(&self, token: &str) -> bool {
        let tag = hmac::sign(&self.compare, token.as_bytes());
        let is = |secret: &&Secret| hmac::verify(&self.compare, secret.as_str().as_bytes(), tag.as_ref()).is_ok();
        self.secrets.iter().find(is).is_some()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn check(auth: &Auth, token: Option<&str>) -> Verdict {
        Guard::new(auth).unwrap().check(&PeerId::new("alice").unwrap(), token)
    }

    fn secrets(secrets: &[&str]) -> Auth {
        Auth { secrets: secrets.iter().map(|secret| Secret::new(*secret)).collect(), ..Auth::default() }
    }

    #[test]
    fn open_by_default() {
        assert_eq!(check(&Auth::default(), None), Verdict::Yes);
        assert_eq!(check(&Auth::default(), Some("anything")), Verdict::Yes);
        assert!(matches!(check(&Auth::default(), Some(&"t".repeat(MAX_TOKEN + 1))), Verdict::No(_)));
    }

    #[test]
    fn one_of_the_secrets_is_enough() {
        let auth = secrets(&["north", "south"]);
        assert_eq!(check(&auth, Some("north")), Verdict::Yes);
        assert_eq!(check(&auth, Some("south")), Verdict::Yes);
        for token in [None, Some(""), Some("North"), Some("north "), Some("northsouth"), Some("a.b.c")] {
            assert!(matches!(check(&auth, token), Verdict::No(_)), "{token:?}");
        }
    }

    #[test]
    fn what_cannot_work_is_an_error() {
        assert!(Guard::new(&secrets(&[""])).is_err());
        let audience = Auth { audience: Some("a".to_owned()), ..Auth::default() };
        assert!(Guard::new(&audience).is_err());
        let short = Auth { jwt_secrets: vec![Secret::new("short")], ..Auth::default() };
        assert!(Guard::new(&short).err().unwrap().to_string().contains("32"));
        let missing = Auth { jwt_keys: vec!["/does/not/exist".into()], ..Auth::default() };
        assert!(Guard::new(&missing).err().unwrap().to_string().contains("/does/not/exist"));
    }

    #[test]
    fn nothing_secret_is_printed() {
        assert!(!format!("{:?}", secrets(&["north"])).contains("north"));
    }
}
