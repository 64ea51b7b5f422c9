//! What reads a client's bytes, for the fuzzer: a client and its allocation without sockets, and what must hold
//! whatever comes. Not an API.

use std::net::{IpAddr, SocketAddr};
use std::sync::RwLock;
use std::time::{Duration, Instant};

use super::allocation::{Allocation, HEADROOM, Outgoing, TAILROOM};
use super::credentials::{Key, Nonces, Secret};
use super::framing::{Frame, frame};
use super::message::{self, Class, Message, Writer, attribute};
use super::policy::{Policy, Target};
use super::request::{Answer, Asking, REALM, Rules};

/// A client without sockets.
pub struct Client {
    rules: Rules,
    allocation: Option<Allocation>,
    asking: Asking,
    signer: Key,
    username: String,
}

impl Client {
    /// A client of a server whose time stands still until [`Self::wait`].
    ///
    /// # Errors
    /// Where the system has no random numbers.
    pub fn new() -> std::io::Result<Self> {
        let secret = Secret::new("north");
        let asking = Asking { client: SocketAddr::from(([203, 0, 113, 1], 5000)), now: Instant::now(), unix: 1_000 };
        let (username, password) = secret.credentials("alice", 5_000);
        let signer = Key::new(&username, REALM, &password);
        let relays = vec![IpAddr::from([198, 51, 100, 1])];
        let policy = RwLock::new(Policy { allow: Vec::new(), relays, ports: 50_000..=50_999 });
        let (max_lifetime, bandwidth) = (Duration::from_secs(3_600), 1 << 20);
        let rules = Rules { secret, nonces: Nonces::new()?, policy, max_lifetime, bandwidth };
        Ok(Self { rules, allocation: None, asking, signer, username })
    }

    /// Lets time pass.
    pub fn wait(&mut self, seconds: u8) {
        self.asking.now += Duration::from_secs(seconds.into());
        self.asking.unix += u64::from(seconds);
        self.allocation = self.allocation.take().filter(|allocation| allocation.expires > self.asking.now);
    }

    /// A packet as it comes.
    ///
    /// # Panics
    /// Where it does what it must not.
    pub fn packet(&mut self, packet: &[u8]) {
        let now = self.asking.now;
        if packet.first().is_some_and(|first| first >> 6 == 1) {
            if let Some(allocation) = &mut self.allocation {
                check(allocation.channel_data(packet, now).ok());
            }
            return;
        }
        let Some(message) = Message::parse(packet) else { return };
        if (message.class, message.method) == (Class::Indication, message::SEND) {
            if let (Some(allocation), Ok(policy)) = (&mut self.allocation, self.rules.policy.read()) {
                check(allocation.send(&message, &policy, now).ok());
            }
            return;
        }
        match self.rules.handle(&message, self.allocation.as_mut(), self.asking, |_| false) {
            Answer::Nothing => {}
            Answer::Unproven(reply) => {
                assert!(Message::parse(&reply).is_some());
                assert!(reply.len() <= 160, "an amplifier: {} bytes for {}", reply.len(), packet.len());
            }
            Answer::Reply(reply) | Answer::Refused(reply) => {
                assert!(Message::parse(&reply).is_some_and(|reply| reply.has_integrity()));
            }
            Answer::Delete(_) => self.allocation = None,
            Answer::Allocate(wish) => {
                assert!(Message::parse(&wish.refused(486)).is_some());
                let relayed = SocketAddr::from(([198, 51, 100, 1], 50_001));
                self.allocation = Some(wish.granted(relayed, &self.rules, self.asking).0);
            }
        }
    }

    /// A request with good credentials: its method, and its attributes as they come.
    pub fn signed(&mut self, method: u8, attributes: &[u8]) {
        let nonce = self.rules.nonces.make(self.asking.client, self.asking.unix);
        let mut writer = Writer::new(Class::Request, method.into(), [5; 12])
            .attribute(attribute::USERNAME, self.username.as_bytes())
            .attribute(attribute::REALM, REALM.as_bytes())
            .attribute(attribute::NONCE, nonce.as_bytes());
        let mut rest = attributes;
        while let Some((&[kind, length], more)) = rest.split_first_chunk() {
            let value = more.get(..length.into()).unwrap_or(more);
            writer = writer.attribute(kind.into(), value);
            rest = more.get(value.len()..).unwrap_or_default();
        }
        let packet = writer.finish(Some(&self.signer), true);
        self.packet(&packet);
    }

    /// What a peer sends.
    pub fn peer(&mut self, ip: [u8; 4], port: u16, data: &[u8]) {
        let Some(allocation) = &mut self.allocation else { return };
        let mut buffer = vec![0; HEADROOM + data.len() + TAILROOM];
        if let Some(space) = buffer.get_mut(HEADROOM..HEADROOM + data.len()) {
            space.copy_from_slice(data);
        }
        if let Ok(packet) = allocation.wrap((ip, port).into(), &mut buffer, data.len(), self.asking.now) {
            assert_eq!(frame(packet), Frame::Whole(frame_length(packet), packet.len()));
        }
    }

    /// Bytes of a stream.
    pub fn stream(&mut self, mut bytes: &[u8]) {
        while let Frame::Whole(whole, padded) = frame(bytes) {
            self.packet(bytes.get(..whole).unwrap_or_default());
            bytes = bytes.get(padded..).unwrap_or_default();
        }
    }
}

fn frame_length(packet: &[u8]) -> usize {
    match packet {
        [first, _, l1, l2, ..] if first >> 6 == 1 => 4 + usize::from(u16::from_be_bytes([*l1, *l2])),
        _ => packet.len(),
    }
}

/// Nothing may be sent to what is refused, whatever the client says.
fn check(outgoing: Option<Outgoing<'_>>) {
    if let Some(Outgoing { peer, target, .. }) = outgoing {
        let policy = Policy { allow: Vec::new(), relays: vec![[198, 51, 100, 1].into()], ports: 50_000..=50_999 };
        assert_eq!(policy.target(peer), target, "{peer}");
        assert_ne!(target, Target::Refused, "{peer}");
    }
}
