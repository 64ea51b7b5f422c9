//! What is asked of the common registry of ids, and what it answers, as `registry.lua` reads and writes it. Pure.

use std::fmt;
use std::str::FromStr;

use linkup_proto::PeerId;
use ring::digest;

/// The ids are spread over so many parts, each with its own epoch, so that a Redis cluster can spread them too.
pub(crate) const BUCKETS: usize = 64;

/// Ids in one call: Redis does nothing else meanwhile, a third of a millisecond.
pub(crate) const MAX_ITEMS: usize = 128;

/// A running broker, as the others name it: 128 random bits, new at each start, so that nobody is taken for an earlier one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name(pub(crate) [u8; 16]);

/// The hash of an owner's secret, different for each id. The secret itself leaves this process for nobody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SecretHash([u8; 16]);

impl SecretHash {
    /// An empty secret is none.
    pub(crate) fn new(id: &PeerId, secret: Option<&str>) -> Option<Self> {
        let secret = secret.filter(|secret| !secret.is_empty())?;
        let mut context = digest::Context::new(&digest::SHA256);
        for part in ["linkup owner\0", id.as_str(), "\0", secret] {
            context.update(part.as_bytes());
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(context.finish().as_ref().first_chunk::<16>()?);
        Some(Self(hash))
    }
}

fn write_hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0[..4], f)
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

impl FromStr for Name {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.len() != 32 || !text.is_ascii() {
            return Err(());
        }
        u128::from_str_radix(text, 16).map(|name| Self(name.to_be_bytes())).map_err(drop)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Take the id for a socket.
    Claim,
    /// Go on having it, or say so to a registry that has forgotten it.
    Renew,
    /// Give it back.
    Release,
    /// Who has it?
    Find,
}

impl Operation {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Find => "find",
        }
    }
}

/// One id of a call.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) id: PeerId,
    pub(crate) generation: u64,
    /// When it was granted; 0 where its lease has run out.
    pub(crate) since: u64,
    pub(crate) secret: Option<SecretHash>,
}

/// One call of the script. Its ids are of one bucket.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) operation: Operation,
    pub(crate) bucket: usize,
    pub(crate) items: Vec<Item>,
}

impl Call {
    pub(crate) fn one(operation: Operation, id: &PeerId, generation: u64, secret: Option<SecretHash>) -> Self {
        let items = vec![Item { id: id.clone(), generation, since: 0, secret }];
        Self { operation, bucket: bucket(id), items }
    }
}

/// The bucket of an id: FNV-1a, which every broker computes alike.
pub(crate) fn bucket(id: &PeerId) -> usize {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    id.as_str().bytes().fold(0x811c_9dc5, step) as usize % BUCKETS
}

/// What the registry says of one id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The broker has it, since that time of Redis' clock in microseconds, and nobody or this one had it before.
    Granted { since: u64, displaced: Option<(Name, u64)> },
    /// Somebody else has it, and this is not its secret.
    Taken,
    /// The same owner has claimed it elsewhere.
    Moved,
    /// Another owner has it.
    Lost,
    /// The registry is new, and takes no new claims for so many milliseconds.
    Wait(u64),
    /// It is free now, or was not ours any more.
    Released,
    /// That broker has it, by that generation of its own.
    At(Name, u64),
    /// Nobody has it.
    None,
}

impl FromStr for Verdict {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        fn number(word: Option<&str>) -> Result<u64, ()> {
            word.ok_or(())?.parse().map_err(drop)
        }
        let mut words = text.split(' ');
        Ok(match words.next().unwrap_or_default() {
            "granted" => {
                let since = number(words.next())?;
                let holder = words.next().filter(|holder| *holder != "-").map(str::parse).transpose()?;
                let generation = number(words.next())?;
                Self::Granted { since, displaced: holder.map(|holder| (holder, generation)) }
            }
            "taken" => Self::Taken,
            "moved" => Self::Moved,
            "lost" => Self::Lost,
            "wait" => Self::Wait(number(words.next())?),
            "free" | "other" => Self::Released,
            "at" => Self::At(words.next().ok_or(())?.parse()?, number(words.next())?),
            "none" => Self::None,
            _ => return Err(()),
        })
    }
}

/// The answer to a call.
#[derive(Debug, PartialEq)]
pub(crate) struct Verdicts {
    /// When the bucket takes new claims, in ms of Redis' clock. Another value than before: it was wiped.
    pub(crate) settled: u64,
    /// How many ms that still takes.
    pub(crate) wait: u64,
    pub(crate) of: Vec<Verdict>,
}

impl Verdicts {
    /// Reads what the script answered about that many ids. `None` where it is no such answer.
    pub(crate) fn read(answer: &[String], items: usize) -> Option<Self> {
        let (head, rest) = answer.split_first()?;
        let (settled, now) = head.split_once(' ')?;
        let (settled, now): (u64, u64) = (settled.parse().ok()?, now.parse().ok()?);
        let of: Vec<_> = rest.iter().map(|text| text.parse().ok()).collect::<Option<_>>()?;
        (of.len() == items).then_some(Self { settled, wait: settled.saturating_sub(now), of })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_hash_of_a_secret_differs_for_each_id() {
        let hash = |id: &str, secret| SecretHash::new(&PeerId::new(id).unwrap(), secret);
        assert_eq!(hash("a", None), None);
        assert_eq!(hash("a", Some("")), None);
        assert_eq!(hash("a", Some("s")), hash("a", Some("s")));
        assert_ne!(hash("a", Some("s")), hash("b", Some("s")));
        assert_ne!(hash("a", Some("s")), hash("a", Some("t")));
    }

    #[test]
    fn reads_answers_and_refuses_nonsense() {
        let read = |texts: &[&str]| {
            let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
            Verdicts::read(&texts, texts.len().saturating_sub(1))
        };
        let name = Name(*b"0123456789abcdef");
        let granted = Verdict::Granted { since: 7, displaced: Some((name, 3)) };
        let text = format!("granted 7 {name} 3");
        assert_eq!(read(&["5 3", &text]), Some(Verdicts { settled: 5, wait: 2, of: vec![granted] }));
        assert_eq!(read(&["5 6", &format!("at {name} 9"), "none"]).unwrap().of, [Verdict::At(name, 9), Verdict::None]);
        for wrong in ["", "granted", "granted x - 0", "at - 1", "at 0é 1", "wait", "hello"] {
            assert_eq!(read(&["5 5", wrong]), None, "{wrong}");
        }
        assert_eq!(Verdicts::read(&["5 5".to_owned()], 1), None);
        assert_eq!(Verdicts::read(&["5".to_owned()], 0), None);
        assert_eq!(Verdicts::read(&[], 0), None);
    }
}
