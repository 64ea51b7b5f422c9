//! What a request of a client does (RFC 8489, sections 6 and 9.2; RFC 8656, sections 7 to 12). Pure: time and sockets
//! are the shell's, which opens the socket of a [`Wish`].

use std::net::{IpAddr, SocketAddr};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use super::allocation::{Allocation, CHANNEL_NUMBERS, Denied};
use super::credentials::{Key, Nonces, Secret, user_of};
use super::message::{self, Class, Message, Writer, attribute};
use super::policy::{Policy, Target};

/// The realm of the credentials. It means nothing: there is only one.
pub(crate) const REALM: &str = "linkup";

/// The lifetime of an allocation whose client asks for none or less (RFC 8656, section 3.2).
const DEFAULT_LIFETIME: Duration = Duration::from_secs(600);

/// Addresses in one CreatePermission.
const MAX_PEERS: usize = 64;

/// RequestedTransport: the only one that is relayed.
const UDP: u8 = 17;

/// What every signed request has.
const SIGNED: [u16; 4] = [attribute::USERNAME, attribute::REALM, attribute::NONCE, attribute::MESSAGE_INTEGRITY];

/// The rules of a server, for all its clients.
pub(crate) struct Rules {
    pub(crate) secret: Secret,
    pub(crate) nonces: Nonces,
    pub(crate) policy: RwLock<Policy>,
    pub(crate) max_lifetime: Duration,
    pub(crate) bandwidth: u64,
}

/// Who asks, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asking {
    /// The client's address as we see it, unwrapped.
    pub(crate) client: SocketAddr,
    pub(crate) now: Instant,
    /// Seconds since 1970.
    pub(crate) unix: u64,
}

/// What the shell has to do.
#[derive(Debug)]
pub(crate) enum Answer {
    Nothing,
    /// To a client that has shown that it has credentials.
    Reply(Vec<u8>),
    /// To whoever wrote that address into a datagram: bound it.
    Unproven(Vec<u8>),
    /// Refused to a client with credentials.
    Refused(Vec<u8>),
    /// Open a socket, and go on with [`Wish::granted`] or [`Wish::refused`].
    Allocate(Box<Wish>),
    /// Send this and drop the allocation.
    Delete(Vec<u8>),
}

/// A valid request for an allocation.
#[derive(Debug)]
pub(crate) struct Wish {
    asked: Asked,
    username: Box<str>,
    key: Key,
    lifetime: Duration,
    /// The user behind the username.
    pub(crate) user: Box<str>,
    pub(crate) v6: bool,
    pub(crate) even: bool,
}

/// What an answer repeats of its request.
#[derive(Clone, Copy, Debug)]
struct Asked {
    method: u16,
    transaction: message::TransactionId,
    fingerprint: bool,
}

impl Asked {
    fn success(self) -> Writer {
        Writer::new(Class::Success, self.method, self.transaction)
    }

    fn error(self, code: u16) -> Writer {
        let [class, number] = [code / 100, code % 100].map(|part| u8::try_from(part).unwrap_or(0));
        let value = [&[0, 0, class, number], reason(code).as_bytes()].concat();
        Writer::new(Class::Error, self.method, self.transaction).attribute(attribute::ERROR_CODE, &value)
    }
}

fn reason(code: u16) -> &'static str {
    match code {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        420 => "Unknown Attribute",
        437 => "Allocation Mismatch",
        438 => "Stale Nonce",
        440 => "Address Family not Supported",
        441 => "Wrong Credentials",
        442 => "Unsupported Transport Protocol",
        443 => "Peer Address Family Mismatch",
        486 => "Allocation Quota Reached",
        508 => "Insufficient Capacity",
        _ => "Error",
    }
}

impl Wish {
    /// The allocation, and the answer that says so.
    pub(crate) fn granted(self, relayed: SocketAddr, rules: &Rules, asking: Asking) -> (Allocation, Vec<u8>) {
        let Self { asked, username, key, lifetime, .. } = self;
        let allocation =
            Allocation::new(username, key, asked.transaction, relayed, lifetime, rules.bandwidth, asking.now);
        let answer = allocated(asked, &allocation, asking);
        (allocation, answer)
    }

    pub(crate) fn refused(&self, code: u16) -> Vec<u8> {
        self.asked.error(code).finish(Some(&self.key), self.asked.fingerprint)
    }
}

/// The answer to Allocate. Also to one that comes again because the answer was lost.
fn allocated(asked: Asked, allocation: &Allocation, asking: Asking) -> Vec<u8> {
    let left = allocation.expires.saturating_duration_since(asking.now);
    asked
        .success()
        .address(attribute::XOR_RELAYED_ADDRESS, allocation.relayed)
        .address(attribute::XOR_MAPPED_ADDRESS, asking.client)
        .attribute(attribute::LIFETIME, &seconds(left))
        .finish(Some(&allocation.key), asked.fingerprint)
}

fn seconds(duration: Duration) -> [u8; 4] {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX).to_be_bytes()
}

/// A client that has shown that it knows the password.
struct Proven<'a> {
    username: &'a str,
    user: Option<&'a str>,
    key: Key,
}

/// One request being answered.
struct Request<'a> {
    rules: &'a Rules,
    asking: Asking,
    asked: Asked,
    message: &'a Message<'a>,
}

impl Rules {
    /// What a request does. `allocation` is that of its client.
    pub(crate) fn handle(
        &self,
        message: &Message<'_>,
        allocation: Option<&mut Allocation>,
        asking: Asking,
        is_own: impl Fn(IpAddr) -> bool,
    ) -> Answer {
        let Message { method, transaction, fingerprint, .. } = *message;
        let asked = Asked { method, transaction, fingerprint };
        let request = Request { rules: self, asking, asked, message };
        match method {
            _ if message.class != Class::Request => Answer::Nothing,
            message::BINDING => request.binding(),
            message::ALLOCATE | message::REFRESH | message::CREATE_PERMISSION | message::CHANNEL_BIND => {
                match request.authenticate(allocation.as_deref()) {
                    Ok(proven) => request.proven(proven, allocation, is_own).unwrap_or_else(|answer| answer),
                    Err(answer) => answer,
                }
            }
            _ => request.unproven(400),
        }
    }

    fn policy<T>(&self, ask: impl FnOnce(&Policy) -> T) -> T {
        ask(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<'a> Request<'a> {
    /// RFC 8489, section 12: the answer is no larger than it must be, for it may go to a victim.
    fn binding(&self) -> Answer {
        let unknown = self.message.unknown(&SIGNED);
        if !unknown.is_empty() {
            return Answer::Unproven(self.unknown(&unknown).finish(None, self.asked.fingerprint));
        }
        let answer = self.asked.success().address(attribute::XOR_MAPPED_ADDRESS, self.asking.client);
        Answer::Unproven(answer.finish(None, self.asked.fingerprint))
    }

    fn unproven(&self, code: u16) -> Answer {
        Answer::Unproven(self.asked.error(code).finish(None, self.asked.fingerprint))
    }

    /// 401 and 438, with what the client needs to do better (RFC 8489, section 9.2.4).
    fn challenge(&self, code: u16) -> Answer {
        let nonce = self.rules.nonces.make(self.asking.client, self.asking.unix);
        let answer = self.asked.error(code);
        let answer = answer.attribute(attribute::REALM, REALM.as_bytes()).attribute(attribute::NONCE, nonce.as_bytes());
        Answer::Unproven(answer.finish(None, self.asked.fingerprint))
    }

    fn unknown(&self, types: &[u16]) -> Writer {
        let value: Vec<u8> = types.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        self.asked.error(420).attribute(attribute::UNKNOWN_ATTRIBUTES, &value)
    }

    /// RFC 8489, section 9.2.4.
    ///
    /// Credentials that expire during an allocation go on to be good for it, as with coturn: a client cannot change
    /// them, and a connection must not end because it is old.
    fn authenticate(&self, allocation: Option<&Allocation>) -> Result<Proven<'a>, Answer> {
        if !self.message.has_integrity() {
            return Err(self.challenge(401));
        }
        let text = |kind| self.message.text(kind);
        let (Some(username), Some(realm), Some(nonce)) =
            (text(attribute::USERNAME), text(attribute::REALM), text(attribute::NONCE))
        else {
            return Err(self.unproven(400));
        };
        if !self.rules.nonces.accepts(nonce, self.asking.client, self.asking.unix) {
            return Err(self.challenge(438));
        }
        let user = user_of(username, self.asking.unix);
        let key = match allocation {
            Some(allocation) if *allocation.username == *username => allocation.key.clone(),
            _ if user.is_none() => return Err(self.challenge(401)),
            _ => Key::derived(username, REALM, &self.rules.secret),
        };
        if realm != REALM || !self.message.is_signed_with(&key) {
            return Err(self.challenge(401));
        }
        Ok(Proven { username, user, key })
    }

    /// A request of who has credentials. An error is an answer as well.
    fn proven(
        &self,
        proven: Proven<'_>,
        allocation: Option<&mut Allocation>,
        is_own: impl Fn(IpAddr) -> bool,
    ) -> Result<Answer, Answer> {
        let key = proven.key.clone();
        let finish = |writer: Writer| writer.finish(Some(&key), self.asked.fingerprint);
        let refuse = |code: u16| Answer::Refused(finish(self.asked.error(code)));
        let known: &[u16] = match self.asked.method {
            message::ALLOCATE => &[
                attribute::REQUESTED_TRANSPORT,
                attribute::LIFETIME,
                attribute::REQUESTED_ADDRESS_FAMILY,
                attribute::EVEN_PORT,
                attribute::RESERVATION_TOKEN,
            ],
            message::REFRESH => &[attribute::LIFETIME, attribute::REQUESTED_ADDRESS_FAMILY],
            message::CREATE_PERMISSION => &[attribute::XOR_PEER_ADDRESS],
            _ => &[attribute::XOR_PEER_ADDRESS, attribute::CHANNEL_NUMBER],
        };
        let unknown = self.message.unknown(&[&SIGNED, known].concat());
        if !unknown.is_empty() {
            return Err(Answer::Refused(finish(self.unknown(&unknown))));
        }
        if self.asked.method == message::ALLOCATE {
            return match allocation {
                Some(allocation) if allocation.transaction == self.asked.transaction => {
                    Ok(Answer::Reply(allocated(self.asked, allocation, self.asking)))
                }
                Some(_) => Err(refuse(437)),
                None => self.allocate(proven).map_err(refuse),
            };
        }
        let now = self.asking.now;
        let allocation = allocation.filter(|allocation| allocation.expires > now).ok_or_else(|| refuse(437))?;
        if *allocation.username != *proven.username {
            return Err(refuse(441));
        }
        match self.asked.method {
            message::REFRESH => {
                let lifetime = self.refresh(allocation).map_err(refuse)?;
                let answer = finish(self.asked.success().attribute(attribute::LIFETIME, &seconds(lifetime)));
                Ok(if lifetime.is_zero() { Answer::Delete(answer) } else { Answer::Reply(answer) })
            }
            message::CREATE_PERMISSION => {
                self.create_permission(allocation, is_own).map_err(refuse)?;
                Ok(Answer::Reply(finish(self.asked.success())))
            }
            _ => {
                self.channel_bind(allocation, is_own).map_err(refuse)?;
                Ok(Answer::Reply(finish(self.asked.success())))
            }
        }
    }

    /// RFC 8656, section 7.2. An error is its code.
    fn allocate(&self, proven: Proven<'_>) -> Result<Answer, u16> {
        let get = |kind| self.message.get(kind);
        match get(attribute::REQUESTED_TRANSPORT) {
            Some([UDP, _, _, _]) => {}
            Some([_, _, _, _]) => return Err(442),
            _ => return Err(400),
        }
        // No ports are reserved for later: there are no pairs of them in WebRTC.
        let even = match (get(attribute::EVEN_PORT), get(attribute::RESERVATION_TOKEN)) {
            (None, None) => false,
            (Some([flags]), None) if flags & 0x80 == 0 => true,
            (Some([_]), None) | (None, Some(_)) => return Err(508),
            _ => return Err(400),
        };
        let v6 = match get(attribute::REQUESTED_ADDRESS_FAMILY) {
            None | Some([1, _, _, _]) => false,
            Some([2, _, _, _]) => true,
            Some(_) => return Err(440),
        };
        let lifetime = self.lifetime()?.max(DEFAULT_LIFETIME).min(self.rules.max_lifetime);
        // The username was just made sure of: without a user it has expired, and there is no allocation to go on with.
        let user = proven.user.ok_or(401_u16)?;
        let (username, user, key) = (proven.username.into(), user.into(), proven.key);
        Ok(Answer::Allocate(Box::new(Wish { asked: self.asked, username, key, lifetime, user, v6, even })))
    }

    fn lifetime(&self) -> Result<Duration, u16> {
        match self.message.get(attribute::LIFETIME) {
            None => Ok(DEFAULT_LIFETIME),
            Some(value) => {
                let value: [u8; 4] = value.try_into().map_err(|_| 400_u16)?;
                Ok(Duration::from_secs(u32::from_be_bytes(value).into()))
            }
        }
    }

    /// RFC 8656, section 8.2.
    fn refresh(&self, allocation: &mut Allocation) -> Result<Duration, u16> {
        match self.message.get(attribute::REQUESTED_ADDRESS_FAMILY) {
            None => {}
            Some([1, _, _, _]) if allocation.relayed.is_ipv4() => {}
            Some([2, _, _, _]) if allocation.relayed.is_ipv6() => {}
            Some(_) => return Err(443),
        }
        let asked = self.lifetime()?;
        if asked.is_zero() {
            allocation.expires = self.asking.now;
            return Ok(asked);
        }
        let lifetime = asked.max(DEFAULT_LIFETIME).min(self.rules.max_lifetime);
        allocation.expires = self.asking.now + lifetime;
        Ok(lifetime)
    }

    fn peer(&self, value: &[u8], allocation: &Allocation) -> Result<SocketAddr, u16> {
        let peer = message::xor_address(value, &self.asked.transaction).ok_or(400_u16)?;
        if peer.is_ipv4() == allocation.relayed.is_ipv4() { Ok(peer) } else { Err(443) }
    }

    /// RFC 8656, section 10.2: all of the addresses, or none.
    fn create_permission(&self, allocation: &mut Allocation, is_own: impl Fn(IpAddr) -> bool) -> Result<(), u16> {
        let mut peers = Vec::new();
        for (kind, value) in self.message.attributes() {
            if kind == attribute::XOR_PEER_ADDRESS {
                let peer = self.peer(value, allocation)?;
                if peers.len() == MAX_PEERS {
                    return Err(508);
                }
                if !peers.contains(&peer) {
                    peers.push(peer);
                }
            }
        }
        if peers.is_empty() {
            return Err(400);
        }
        for peer in &peers {
            if self.rules.policy(|policy| policy.peer(peer.ip(), &is_own)) == Target::Refused {
                return Err(403);
            }
        }
        if !allocation.room_for_permissions(&peers, self.asking.now) {
            return Err(508);
        }
        for peer in peers {
            allocation.permit(peer.ip(), self.asking.now).map_err(code)?;
        }
        Ok(())
    }

    /// RFC 8656, section 12.2.
    fn channel_bind(&self, allocation: &mut Allocation, is_own: impl Fn(IpAddr) -> bool) -> Result<(), u16> {
        let get = |kind| self.message.get(kind);
        let (Some(&[n1, n2, _, _]), Some(peer)) = (get(attribute::CHANNEL_NUMBER), get(attribute::XOR_PEER_ADDRESS))
        else {
            return Err(400);
        };
        let number = u16::from_be_bytes([n1, n2]);
        let peer = self.peer(peer, allocation)?;
        if !CHANNEL_NUMBERS.contains(&number) {
            return Err(400);
        }
        let (of_ip, target) = self.rules.policy(|policy| (policy.peer(peer.ip(), &is_own), policy.target(peer)));
        if of_ip == Target::Refused || target == Target::Refused {
            return Err(403);
        }
        allocation.bind(number, peer, target, self.asking.now).map_err(code)
    }
}

fn code(denied: Denied) -> u16 {
    match denied {
        Denied::Full => 508,
        Denied::Bound => 400,
    }
}
