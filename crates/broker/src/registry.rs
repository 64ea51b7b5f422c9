//! Who has which id. Pure: it knows no socket, no clock and no JSON; `H` is whatever a socket is reached by.
//!
//! A socket holds one id at a time, and an id belongs to one socket. Where there are several brokers, who gets an id is
//! decided in their common registry; this one then keeps the [`Lease`] that was granted there.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher;

use linkup_proto::PeerId;
use tokio::time::Instant;

use crate::cluster::Lease;

/// A socket, as the registry names it. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(pub(crate) u64);

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
    tenure: Tenure,
}

/// By what right a socket has its id.
enum Tenure {
    /// It came first: this is the only broker. The hash of the secret.
    First(Option<u64>),
    /// The registry that several brokers share has granted it. Boxed: the only broker has none, and pays nothing.
    Leased(Box<Lease>),
}

/// An id that is free now.
#[derive(Debug, PartialEq)]
pub(crate) struct Freed {
    pub(crate) id: PeerId,
    /// That of the lease, where there was one: it is to be given back.
    pub(crate) generation: Option<u64>,
}

/// What became of a lease that was granted to a socket.
#[derive(Debug, PartialEq)]
pub(crate) enum Granted<H> {
    /// The socket has the id; `displaced` had it before, and `freed` is the one that the socket had before.
    Done { displaced: Option<H>, freed: Option<Freed> },
    /// The socket is gone.
    NoSuchSocket,
    /// A later one was granted to another socket here.
    Outdated,
}

/// Where the holder of an id is.
#[derive(Debug, PartialEq)]
pub(crate) enum Reach<'a, H> {
    Here(&'a H),
    /// Here, but the lease has run out: perhaps another broker has given the id to somebody else.
    Lapsed,
    NotHere,
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
    pub(crate) fn remove(&mut self, key: Key) -> Option<Freed> {
        let id = self.sockets.remove(&key)?.id?;
        Some(self.free(id))
    }

    fn free(&mut self, id: PeerId) -> Freed {
        let generation = match self.peers.remove(&id) {
            Some(Claim { tenure: Tenure::Leased(lease), .. }) => Some(lease.generation),
            _ => None,
        };
        Freed { id, generation }
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
                vacant.insert(Claim { owner: key, tenure: Tenure::First(secret) });
                None
            }
            Entry::Occupied(mut occupied) => {
                let claim = occupied.get_mut();
                let Tenure::First(proof) = &mut claim.tenure else { return Err(Refused::Taken) };
                if claim.owner == key {
                    *proof = secret.or(*proof);
                    return Ok(None);
                }
                if secret.is_none() || *proof != secret {
                    return Err(Refused::Taken);
                }
                Some(std::mem::replace(&mut claim.owner, key))
            }
        };
        if let Some(before) = self.sockets.get_mut(&key).and_then(|socket| socket.id.replace(id.clone())) {
            self.peers.remove(&before);
        }
        Ok(self.displace(displaced))
    }

    /// Takes its id from a socket that has lost it, and returns its handle.
    fn displace(&mut self, loser: Option<Key>) -> Option<H> {
        let socket = self.sockets.get_mut(&loser?)?;
        socket.id = None;
        Some(socket.handle.clone())
    }

    /// Frees the id of a socket, which is returned.
    pub(crate) fn unregister(&mut self, key: Key) -> Option<Freed> {
        let id = self.sockets.get_mut(&key)?.id.take()?;
        Some(self.free(id))
    }

    /// Gives an id to a socket that the common registry has leased it to. Of two leases the one that was granted
    /// later counts, in whatever order they come here.
    pub(crate) fn grant(&mut self, key: Key, id: &PeerId, lease: Lease) -> Granted<H> {
        if !self.sockets.contains_key(&key) {
            return Granted::NoSuchSocket;
        }
        let before = self.peers.get(id).map(|claim| (claim.owner, &claim.tenure));
        if let Some((owner, Tenure::Leased(held))) = before
            && owner != key
            && held.since > lease.since
        {
            return Granted::Outdated;
        }
        let loser = before.map(|(owner, _)| owner).filter(|owner| *owner != key);
        self.peers.insert(id.clone(), Claim { owner: key, tenure: Tenure::Leased(Box::new(lease)) });
        let before = self.sockets.get_mut(&key).and_then(|socket| socket.id.replace(id.clone()));
        let freed = before.filter(|before| before != id).map(|before| self.free(before));
        Granted::Done { displaced: self.displace(loser), freed }
    }

    /// The lease of an id, if this broker has it.
    pub(crate) fn lease_mut(&mut self, id: &PeerId, generation: u64) -> Option<&mut Lease> {
        match &mut self.peers.get_mut(id)?.tenure {
            Tenure::Leased(lease) if lease.generation == generation => Some(lease),
            _ => None,
        }
    }

    /// The generation of the lease by which a socket has this very id.
    pub(crate) fn generation(&self, key: Key, id: &PeerId) -> Option<u64> {
        match self.peers.get(id)? {
            Claim { owner, tenure: Tenure::Leased(lease) } if *owner == key => Some(lease.generation),
            _ => None,
        }
    }

    /// Takes the id from its socket, whose handle is returned, unless it has a new lease by now.
    pub(crate) fn revoke(&mut self, id: &PeerId, generation: u64) -> Option<H> {
        self.lease_mut(id, generation)?;
        let loser = self.peers.remove(id)?.owner;
        self.displace(Some(loser))
    }

    /// The id of a socket.
    pub(crate) fn id_of(&self, key: Key) -> Option<&PeerId> {
        self.sockets.get(&key)?.id.as_ref()
    }

    /// The socket that has an id. The time is only asked for where it matters.
    pub(crate) fn find(&self, id: &PeerId, now: impl FnOnce() -> Instant) -> Reach<'_, H> {
        let Some(claim) = self.peers.get(id) else { return Reach::NotHere };
        if let Tenure::Leased(lease) = &claim.tenure
            && lease.until <= now()
        {
            return Reach::Lapsed;
        }
        self.sockets.get(&claim.owner).map_or(Reach::NotHere, |socket| Reach::Here(&socket.handle))
    }

    /// The socket that has an id by this very lease.
    pub(crate) fn find_leased(&self, id: &PeerId, generation: u64, now: Instant) -> Option<&H> {
        match self.peers.get(id)? {
            Claim { owner, tenure: Tenure::Leased(lease) } if lease.generation == generation && lease.until > now => {
                self.sockets.get(owner).map(|socket| &socket.handle)
            }
            _ => None,
        }
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

    use std::time::Duration;

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

    fn holder(registry: &Registry<&'static str>, name: &str) -> Option<&'static str> {
        match registry.find(&id(name), Instant::now) {
            Reach::Here(handle) => Some(*handle),
            _ => None,
        }
    }

    #[test]
    fn gives_an_id_and_finds_it() {
        let (mut registry, a, _) = two();
        assert_eq!(holder(&registry, "x"), None);
        assert_eq!(registry.register(a, &id("x"), None), Ok(None));
        assert_eq!(holder(&registry, "x"), Some("a"));
        assert_eq!(registry.id_of(a), Some(&id("x")));
        assert_eq!((registry.sockets(), registry.peers()), (2, 1));
    }

    #[test]
    fn the_first_owner_keeps_a_taken_id() {
        for (first, second) in [(None, None), (None, Some("s")), (Some("s"), None), (Some("s"), Some("t"))] {
            let (mut registry, a, b) = two();
            registry.register(a, &id("x"), first).unwrap();
            assert_eq!(registry.register(b, &id("x"), second), Err(Refused::Taken));
            assert_eq!(holder(&registry, "x"), Some("a"));
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
        assert_eq!(holder(&registry, "x"), Some("b"));
        assert_eq!((registry.id_of(a), holder(&registry, "y")), (None, None));
        // What the old socket still does must not hurt the new one.
        assert_eq!(registry.unregister(a), None);
        assert_eq!(registry.remove(a), None);
        assert_eq!(holder(&registry, "x"), Some("b"));
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
        assert_eq!(holder(&registry, "x"), Some("a"));
        assert_eq!(registry.register(a, &id("z"), None), Ok(None));
        assert_eq!((holder(&registry, "x"), holder(&registry, "z")), (None, Some("a")));
        assert_eq!(registry.peers(), 2);
    }

    #[test]
    fn an_id_is_free_after_unregister_and_after_remove() {
        let (mut registry, a, b) = two();
        registry.register(a, &id("x"), None).unwrap();
        assert_eq!(registry.unregister(a), Some(Freed { id: id("x"), generation: None }));
        assert_eq!(registry.unregister(a), None);
        assert_eq!(registry.register(b, &id("x"), None), Ok(None));
        assert_eq!(registry.remove(b).map(|freed| freed.id), Some(id("x")));
        assert_eq!(registry.register(a, &id("x"), None), Ok(None));
        assert_eq!(registry.register(b, &id("y"), None), Err(Refused::NoSuchSocket));
        assert_eq!(registry.handles().collect::<Vec<_>>(), [&"a"]);
    }

    fn lease(generation: u64, since: u64, until: Instant) -> Lease {
        Lease { generation, since, until, secret: None }
    }

    const DONE: Granted<&str> = Granted::Done { displaced: None, freed: None };

    #[test]
    fn a_lease_counts_until_it_has_run_out() {
        let (mut registry, a, _) = two();
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(registry.grant(a, &id("x"), lease(1, 1, now + second)), DONE);
        assert_eq!(registry.find(&id("x"), || now), Reach::Here(&"a"));
        assert_eq!(registry.find(&id("x"), || now + second), Reach::Lapsed);
        assert_eq!(registry.find_leased(&id("x"), 1, now), Some(&"a"));
        assert_eq!(registry.find_leased(&id("x"), 1, now + second), None);
        // Another claim of the same id, before or after: what was sent to that one is not for this one.
        assert_eq!(registry.find_leased(&id("x"), 2, now), None);
        registry.lease_mut(&id("x"), 1).unwrap().until = now + 2 * second;
        assert_eq!(registry.find(&id("x"), || now + second), Reach::Here(&"a"));
        assert!(registry.lease_mut(&id("x"), 2).is_none());
    }

    #[test]
    fn of_two_leases_the_later_counts_whichever_comes_first() {
        let until = Instant::now() + Duration::from_secs(1);
        let (mut registry, a, b) = two();
        assert_eq!(registry.grant(a, &id("x"), lease(1, 10, until)), DONE);
        assert_eq!(
            registry.grant(b, &id("x"), lease(2, 11, until)),
            Granted::Done { displaced: Some("a"), freed: None }
        );
        assert_eq!((registry.id_of(a), registry.generation(b, &id("x"))), (None, Some(2)));
        assert_eq!(registry.grant(a, &id("x"), lease(1, 10, until)), Granted::Outdated);
        assert_eq!(registry.remove(a), None);
        assert_eq!(registry.grant(a, &id("z"), lease(3, 12, until)), Granted::NoSuchSocket);
        assert_eq!(registry.remove(b), Some(Freed { id: id("x"), generation: Some(2) }));
    }

    #[test]
    fn a_second_lease_frees_the_first() {
        let until = Instant::now() + Duration::from_secs(1);
        let (mut registry, a, _) = two();
        registry.grant(a, &id("x"), lease(1, 10, until));
        let freed = Some(Freed { id: id("x"), generation: Some(1) });
        assert_eq!(registry.grant(a, &id("y"), lease(2, 11, until)), Granted::Done { displaced: None, freed });
        assert_eq!(registry.find(&id("x"), Instant::now), Reach::NotHere);
        assert_eq!(registry.unregister(a).and_then(|freed| freed.generation), Some(2));
    }

    #[test]
    fn only_the_very_lease_is_revoked() {
        let until = Instant::now() + Duration::from_secs(1);
        let (mut registry, a, _) = two();
        registry.grant(a, &id("x"), lease(2, 10, until));
        assert_eq!(registry.revoke(&id("x"), 1), None);
        assert_eq!(registry.revoke(&id("x"), 2), Some("a"));
        assert_eq!((registry.id_of(a), registry.peers()), (None, 0));
        assert_eq!(registry.revoke(&id("x"), 2), None);
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
