//! Who has which id. Pure: it knows no socket, no clock and no JSON; `H` is whatever a socket is reached by.
//!
//! A socket holds one id at a time, and an id belongs to one socket.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;

use linkup_proto::PeerId;

/// A socket, as the registry names it. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64);

/// Why an id was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It belongs to another socket, whose secret is another or none.
    Taken,
    /// The socket is not, or no longer, in the registry.
    NoSuchSocket,
}

/// All sockets and their ids.
pub(crate) struct Registry<H> {
    sockets: HashMap<Key, Socket<H>>,
    peers: HashMap<PeerId, Claim>,
    next_key: u64,
    /// Keys the hashes of the secrets. A secret itself is not kept: nobody can read it out of the memory.
    secrets: RandomState,
}

struct Socket<H> {
    handle: H,
    id: Option<PeerId>,
}

struct Claim {
    owner: Key,
    secret: Option<u64>,
}

impl<H: Clone> Registry<H> {
    pub(crate) fn new() -> Self {
        Self { sockets: HashMap::new(), peers: HashMap::new(), next_key: 0, secrets: RandomState::new() }
    }

    /// Takes in a socket, without an id.
    pub(crate) fn add(&mut self, handle: H) -> Key {
        let key = Key(self.next_key);
        self.next_key += 1;
        self.sockets.insert(key, Socket { handle, id: None });
        key
    }

    /// Forgets a socket, and frees its id, which is returned.
    pub(crate) fn remove(&mut self, key: Key) -> Option<PeerId> {
        let id = self.sockets.remove(&key)?.id?;
        self.peers.remove(&id);
        Some(id)
    }

    /// Gives an id to a socket; the one that it had before is then free.
    ///
    /// An id that belongs to another socket is only given to who knows the secret that it was registered with.
    /// Then the handle of the socket that lost it is returned. An empty secret is none.
    pub(crate) fn register(&mut self, key: Key, id: &PeerId, secret: Option<&str>) -> Result<Option<H>, Refused> {
        let secret = secret.filter(|secret| !secret.is_empty()).map(|secret| self.secrets.hash_one(secret));
        if !self.sockets.contains_key(&key) {
            return Err(Refused::NoSuchSocket);
        }
        let displaced = match self.peers.entry(id.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Claim { owner: key, secret });
                None
            }
            Entry::Occupied(mut occupied) if occupied.get().owner == key => {
                let claim = occupied.get_mut();
                claim.secret = secret.or(claim.secret);
                return Ok(None);
            }
            Entry::Occupied(mut occupied) if secret.is_some() && occupied.get().secret == secret => {
                Some(std::mem::replace(&mut occupied.get_mut().owner, key))
            }
            Entry::Occupied(_) => return Err(Refused::Taken),
        };
        if let Some(before) = self.sockets.get_mut(&key).and_then(|socket| socket.id.replace(id.clone())) {
            self.peers.remove(&before);
        }
        Ok(displaced.and_then(|key| self.sockets.get_mut(&key)).map(|socket| {
            socket.id = None;
            socket.handle.clone()
        }))
    }

    /// Frees the id of a socket, which is returned.
    pub(crate) fn unregister(&mut self, key: Key) -> Option<PeerId> {
        let id = self.sockets.get_mut(&key)?.id.take()?;
        self.peers.remove(&id);
        Some(id)
    }

    /// The id of a socket.
    pub(crate) fn id_of(&self, key: Key) -> Option<&PeerId> {
        self.sockets.get(&key)?.id.as_ref()
    }

    /// The socket that has an id.
    pub(crate) fn find(&self, id: &PeerId) -> Option<&H> {
        let claim = self.peers.get(id)?;
        self.sockets.get(&claim.owner).map(|socket| &socket.handle)
    }

    /// Every socket.
    pub(crate) fn handles(&self) -> impl Iterator<Item = &H> {
        self.sockets.values().map(|socket| &socket.handle)
    }

    /// The number of sockets.
    pub(crate) fn sockets(&self) -> usize {
        self.sockets.len()
    }

    /// The number of ids.
    pub(crate) fn peers(&self) -> usize {
        self.peers.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn id(id: &str) -> PeerId {
        PeerId::new(id).unwrap()
    }

    /// A registry with the sockets "a" and "b".
    fn two() -> (Registry<&'static str>, Key, Key) {
        let mut registry = Registry::new();
        let (a, b) = (registry.add("a"), registry.add("b"));
        (registry, a, b)
    }

    #[test]
    fn gives_an_id_and_finds_it() {
        let (mut registry, a, _) = two();
        assert_eq!(registry.find(&id("x")), None);
        assert_eq!(registry.register(a, &id("x"), None), Ok(None));
        assert_eq!(registry.find(&id("x")), Some(&"a"));
        assert_eq!(registry.id_of(a), Some(&id("x")));
        assert_eq!((registry.sockets(), registry.peers()), (2, 1));
    }

    #[test]
    fn the_first_owner_keeps_a_taken_id() {
        for (first, second) in [(None, None), (None, Some("s")), (Some("s"), None), (Some("s"), Some("t"))] {
            let (mut registry, a, b) = two();
            registry.register(a, &id("x"), first).unwrap();
            assert_eq!(registry.register(b, &id("x"), second), Err(Refused::Taken));
            assert_eq!(registry.find(&id("x")), Some(&"a"));
            assert_eq!(registry.id_of(b), None);
        }
    }

    #[test]
    fn an_empty_secret_is_none() {
        let (mut registry, a, b) = two();
        registry.register(a, &id("x"), Some("")).unwrap();
        assert_eq!(registry.register(b, &id("x"), Some("")), Err(Refused::Taken));
    }

    #[test]
    fn who_knows_the_secret_takes_over() {
        let (mut registry, a, b) = two();
        registry.register(a, &id("x"), Some("s")).unwrap();
        registry.register(b, &id("y"), None).unwrap();
        assert_eq!(registry.register(b, &id("x"), Some("s")), Ok(Some("a")));
        assert_eq!(registry.find(&id("x")), Some(&"b"));
        assert_eq!((registry.id_of(a), registry.find(&id("y"))), (None, None));
        // What the old socket still does must not hurt the new one.
        assert_eq!(registry.unregister(a), None);
        assert_eq!(registry.remove(a), None);
        assert_eq!(registry.find(&id("x")), Some(&"b"));
    }

    #[test]
    fn the_owner_may_register_again_and_keeps_its_secret() {
        let (mut registry, a, b) = two();
        registry.register(a, &id("x"), Some("s")).unwrap();
        assert_eq!(registry.register(a, &id("x"), None), Ok(None));
        assert_eq!(registry.register(b, &id("x"), Some("s")), Ok(Some("a")));
    }

    #[test]
    fn a_second_id_frees_the_first_only_where_it_can_be_had() {
        let (mut registry, a, b) = two();
        registry.register(a, &id("x"), None).unwrap();
        registry.register(b, &id("y"), None).unwrap();
        assert_eq!(registry.register(a, &id("y"), None), Err(Refused::Taken));
        assert_eq!(registry.find(&id("x")), Some(&"a"));
        assert_eq!(registry.register(a, &id("z"), None), Ok(None));
        assert_eq!((registry.find(&id("x")), registry.find(&id("z"))), (None, Some(&"a")));
        assert_eq!(registry.peers(), 2);
    }

    #[test]
    fn an_id_is_free_after_unregister_and_after_remove() {
        let (mut registry, a, b) = two();
        registry.register(a, &id("x"), None).unwrap();
        assert_eq!(registry.unregister(a), Some(id("x")));
        assert_eq!(registry.unregister(a), None);
        assert_eq!(registry.register(b, &id("x"), None), Ok(None));
        assert_eq!(registry.remove(b), Some(id("x")));
        assert_eq!(registry.register(a, &id("x"), None), Ok(None));
        assert_eq!(registry.register(b, &id("y"), None), Err(Refused::NoSuchSocket));
        assert_eq!(registry.handles().collect::<Vec<_>>(), [&"a"]);
    }

    proptest! {
        /// Whatever is called in whatever order: ids and sockets point at each other.
        #[test]
        fn stays_consistent(steps in prop::collection::vec((0_u8..4, 0_u64..6, "[a-d]", "[st]{0,1}"), 0..60)) {
            let mut registry = Registry::new();
            for (step, key, name, secret) in steps {
                match step {
                    0 => { registry.add(()); }
                    1 => { registry.remove(Key(key)); }
                    2 => { registry.unregister(Key(key)); }
                    _ => { let _ = registry.register(Key(key), &id(&name), Some(&secret)); }
                }
                for (id, claim) in &registry.peers {
                    prop_assert_eq!(registry.id_of(claim.owner), Some(id));
                }
                let holding = registry.sockets.values().filter(|socket| socket.id.is_some()).count();
                prop_assert_eq!(holding, registry.peers());
            }
        }
    }
}
