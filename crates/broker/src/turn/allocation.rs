//! One allocation (RFC 8656, section 3.2): whose it is, with whom it may talk, and what becomes of its data. Pure: the
//! time is an argument; sockets are the shell's.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::credentials::Key;
use super::message::{self, Class, Message, TransactionId, Writer, attribute};
use super::policy::{Policy, Target};
use crate::limits::{Bucket, Rate};

/// RFC 8656, section 9.
const PERMISSION: Duration = Duration::from_secs(300);

/// RFC 8656, section 12.
const CHANNEL: Duration = Duration::from_secs(600);

/// Permissions of one allocation: a remote peer names at most 64 candidates (`MAX_REMOTE_CANDIDATES`).
const MAX_PERMISSIONS: usize = 128;

/// Channels of one allocation, likewise.
const MAX_CHANNELS: usize = 128;

/// RFC 5766 had a wider range than RFC 8656, and its clients are still there.
pub(crate) const CHANNEL_NUMBERS: std::ops::RangeInclusive<u16> = 0x4000..=0x7fff;

/// Bytes before the data in ChannelData (RFC 8656, section 12.4).
pub(crate) const CHANNEL_HEADER: usize = 4;

/// Bytes that must be free before a peer's data for [`Allocation::wrap`]: header, an IPv6 address, the head of DATA.
pub(crate) const HEADROOM: usize = message::HEADER + 24 + 4;

/// Bytes that must be free behind it: padding.
pub(crate) const TAILROOM: usize = 3;

/// The allocation of one client.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) username: Box<str>,
    pub(crate) key: Key,
    /// Of the request that made it: it may come again, when the answer was lost.
    pub(crate) transaction: TransactionId,
    /// The relayed address, as peers see it.
    pub(crate) relayed: SocketAddr,
    pub(crate) expires: Instant,
    permissions: Vec<(IpAddr, Instant)>,
    channels: Vec<Channel>,
    bandwidth: Rate,
    up: Bucket,
    down: Bucket,
    /// The ids of Data indications.
    indications: u64,
}

#[derive(Debug)]
struct Channel {
    number: u16,
    peer: SocketAddr,
    target: Target,
    expires: Instant,
}

/// What a client wants to have sent to a peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outgoing<'a> {
    pub(crate) peer: SocketAddr,
    pub(crate) target: Target,
    pub(crate) data: &'a [u8],
}

/// Why data goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// It is not what a client sends, or not allowed.
    Refused,
    /// More than the allocation's bandwidth.
    TooMuch,
}

/// Why a permission or a channel is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// There are as many as there may be: 508.
    Full,
    /// The number or the address is bound otherwise: 400.
    Bound,
}

impl Allocation {
    pub(crate) fn new(
        username: Box<str>,
        key: Key,
        transaction: TransactionId,
        relayed: SocketAddr,
        lifetime: Duration,
        bandwidth: u64,
        now: Instant,
    ) -> Self {
        let (permissions, channels) = (Vec::new(), Vec::new());
        let (up, down) = (Bucket::new(now), Bucket::new(now));
        // A second's worth at once.
        let bandwidth = Rate::new(bandwidth, bandwidth);
        let expires = now + lifetime;
        Self {
            username,
            key,
            transaction,
            relayed,
            expires,
            permissions,
            channels,
            bandwidth,
            up,
            down,
            indications: 0,
        }
    }

    /// Installs or renews a permission.
    pub(crate) fn permit(&mut self, ip: IpAddr, now: Instant) -> Result<(), Denied> {
        self.permissions.retain(|(_, expires)| *expires > now);
        let expires = now + PERMISSION;
        if let Some(permission) = self.permissions.iter_mut().find(|(permitted, _)| *permitted == ip) {
            permission.1 = expires;
        } else if self.permissions.len() < MAX_PERMISSIONS {
            self.permissions.push((ip, expires));
        } else {
            return Err(Denied::Full);
        }
        Ok(())
    }

    /// How many permissions there is room for.
    pub(crate) fn room_for_permissions(&self, ips: &[SocketAddr], now: Instant) -> bool {
        let live = self.permissions.iter().filter(|(_, expires)| *expires > now).count();
        let new = ips.iter().filter(|address| !self.is_permitted(address.ip(), now)).count();
        live + new <= MAX_PERMISSIONS
    }

    /// Binds a channel or renews it, and its permission.
    pub(crate) fn bind(&mut self, number: u16, peer: SocketAddr, target: Target, now: Instant) -> Result<(), Denied> {
        self.channels.retain(|channel| channel.expires > now);
        let by_number = self.channels.iter().position(|channel| channel.number == number);
        let by_peer = self.channels.iter().position(|channel| channel.peer == peer);
        if by_number != by_peer {
            return Err(Denied::Bound);
        }
        if by_number.is_none() && self.channels.len() >= MAX_CHANNELS {
            return Err(Denied::Full);
        }
        self.permit(peer.ip(), now)?;
        let expires = now + CHANNEL;
        match by_number.and_then(|at| self.channels.get_mut(at)) {
            Some(channel) => channel.expires = expires,
            None => self.channels.push(Channel { number, peer, target, expires }),
        }
        Ok(())
    }

    fn is_permitted(&self, ip: IpAddr, now: Instant) -> bool {
        self.permissions.iter().any(|(permitted, expires)| *permitted == ip && *expires > now)
    }

    /// What ChannelData of the client asks for (RFC 8656, section 12.6).
    pub(crate) fn channel_data<'a>(&mut self, packet: &'a [u8], now: Instant) -> Result<Outgoing<'a>, Dropped> {
        let (&[n1, n2, l1, l2], rest) = packet.split_first_chunk().ok_or(Dropped::Refused)?;
        let number = u16::from_be_bytes([n1, n2]);
        let data = rest.get(..usize::from(u16::from_be_bytes([l1, l2]))).ok_or(Dropped::Refused)?;
        let channel = self.channels.iter().find(|channel| channel.number == number && channel.expires > now);
        let Some(&Channel { peer, target, .. }) = channel else { return Err(Dropped::Refused) };
        self.outgoing(peer, target, data, now)
    }

    /// What a Send indication of the client asks for (RFC 8656, section 11.2).
    pub(crate) fn send<'a>(
        &mut self,
        message: &Message<'a>,
        policy: &Policy,
        now: Instant,
    ) -> Result<Outgoing<'a>, Dropped> {
        let peer = message.get(attribute::XOR_PEER_ADDRESS).and_then(|v| message::xor_address(v, &message.transaction));
        let (Some(peer), Some(data)) = (peer, message.get(attribute::DATA)) else { return Err(Dropped::Refused) };
        if !message.unknown(&[attribute::XOR_PEER_ADDRESS, attribute::DATA]).is_empty() {
            return Err(Dropped::Refused);
        }
        self.outgoing(peer, policy.target(peer), data, now)
    }

    fn outgoing<'a>(
        &mut self,
        peer: SocketAddr,
        target: Target,
        data: &'a [u8],
        now: Instant,
    ) -> Result<Outgoing<'a>, Dropped> {
        let family = peer.is_ipv4() == self.relayed.is_ipv4();
        if target == Target::Refused || !family || self.expires <= now || !self.is_permitted(peer.ip(), now) {
            return Err(Dropped::Refused);
        }
        if !self.up.take(data.len() as u64, self.bandwidth, now) {
            return Err(Dropped::TooMuch);
        }
        Ok(Outgoing { peer, target, data })
    }

    /// Wraps what a peer has sent, for the client: as ChannelData where a channel is bound to that peer, otherwise as
    /// a Data indication (RFC 8656, sections 11.3 and 12.7).
    ///
    /// The data lies in `buffer` behind [`HEADROOM`] bytes, which are written to, as are the [`TAILROOM`] behind it.
    pub(crate) fn wrap<'a>(
        &mut self,
        peer: SocketAddr,
        buffer: &'a mut [u8],
        length: usize,
        now: Instant,
    ) -> Result<&'a [u8], Dropped> {
        if self.expires <= now || !self.is_permitted(peer.ip(), now) {
            return Err(Dropped::Refused);
        }
        // With its headers it must fit into the length of a message, and into a datagram.
        let Ok(short) = u16::try_from(length) else { return Err(Dropped::Refused) };
        if HEADROOM + length + TAILROOM > buffer.len().min(u16::MAX.into()) {
            return Err(Dropped::Refused);
        }
        if !self.down.take(length as u64, self.bandwidth, now) {
            return Err(Dropped::TooMuch);
        }
        // Padding is required on a stream and allowed in a datagram, but a datagram can do without it.
        let end = HEADROOM + length;
        let padded = end + (length.next_multiple_of(4) - length);
        buffer[end..padded].fill(0);
        let channel = self.channels.iter().find(|channel| channel.peer == peer && channel.expires > now);
        if let Some(channel) = channel {
            let start = HEADROOM - CHANNEL_HEADER;
            buffer[start..start + 2].copy_from_slice(&channel.number.to_be_bytes());
            buffer[start + 2..HEADROOM].copy_from_slice(&short.to_be_bytes());
            return Ok(&buffer[start..padded]);
        }
        self.indications = self.indications.wrapping_add(1);
        let mut transaction = self.transaction;
        transaction[4..].copy_from_slice(&self.indications.to_be_bytes());
        let mut head = Writer::new(Class::Indication, message::DATA, transaction)
            .address(attribute::XOR_PEER_ADDRESS, peer)
            .finish(None, false);
        head.extend_from_slice(&attribute::DATA.to_be_bytes());
        head.extend_from_slice(&short.to_be_bytes());
        let start = HEADROOM - head.len();
        let Ok(rest) = u16::try_from(padded - start - message::HEADER) else { return Err(Dropped::Refused) };
        head[2..4].copy_from_slice(&rest.to_be_bytes());
        buffer[start..HEADROOM].copy_from_slice(&head);
        Ok(&buffer[start..padded])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const KIB: u64 = 1024;

    fn allocation(now: Instant) -> Allocation {
        let relayed = "198.51.100.1:50000".parse().unwrap();
        Allocation::new("u".into(), Key::new("u", "r", "p"), [9; 12], relayed, 2 * CHANNEL, 64 * KIB, now)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn channel_data(number: u16, data: &[u8]) -> Vec<u8> {
        [&number.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat()
    }

    fn send(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
        let writer = Writer::new(Class::Indication, message::SEND, [3; 12]);
        writer.address(attribute::XOR_PEER_ADDRESS, peer).attribute(attribute::DATA, data).finish(None, false)
    }

    #[test]
    fn a_channel_has_one_peer_and_a_peer_one_channel() {
        let now = Instant::now();
        let mut allocation = allocation(now);
        let (a, b) = (address("8.8.8.8:1"), address("8.8.8.8:2"));
        allocation.bind(0x4000, a, Target::Outside, now).unwrap();
        allocation.bind(0x4000, a, Target::Outside, now).unwrap();
        assert_eq!(allocation.bind(0x4000, b, Target::Outside, now), Err(Denied::Bound));
        assert_eq!(allocation.bind(0x4001, a, Target::Outside, now), Err(Denied::Bound));
        allocation.bind(0x4001, b, Target::Outside, now).unwrap();
        // When it has expired, it can be bound anew.
        assert_eq!(allocation.bind(0x4000, b, Target::Outside, now + CHANNEL), Ok(()));
    }

    #[test]
    fn permissions_and_channels_are_bounded_and_expire() {
        let now = Instant::now();
        let mut allocation = allocation(now);
        let ip = |i: usize| IpAddr::from([8, 8, (i / 256) as u8, (i % 256) as u8]);
        for i in 0..MAX_PERMISSIONS {
            allocation.permit(ip(i), now).unwrap();
        }
        assert_eq!(allocation.permit(ip(MAX_PERMISSIONS), now), Err(Denied::Full));
        assert_eq!(allocation.permit(ip(0), now), Ok(()));
        assert_eq!(allocation.permit(ip(MAX_PERMISSIONS), now + PERMISSION), Ok(()));
        assert_eq!(allocation.permissions.len(), 1);
        let peer = |i: usize| SocketAddr::new(ip(MAX_PERMISSIONS), 1 + i as u16);
        for i in 0..MAX_CHANNELS {
            allocation.bind(0x4000 + i as u16, peer(i), Target::Outside, now).unwrap();
        }
        let denied = allocation.bind(0x5000, peer(MAX_CHANNELS), Target::Outside, now);
        assert_eq!(denied, Err(Denied::Full));
    }

    #[test]
    fn data_goes_only_where_it_is_permitted() {
        let now = Instant::now();
        let mut allocation = allocation(now);
        let policy = Policy { allow: Vec::new(), relays: Vec::new(), ports: 50_000..=50_999 };
        let peer = address("8.8.8.8:1");
        let packet = send(peer, b"hello");
        let message = Message::parse(&packet).unwrap();
        assert_eq!(allocation.send(&message, &policy, now), Err(Dropped::Refused));
        allocation.permit(peer.ip(), now).unwrap();
        let expected = Outgoing { peer, target: Target::Outside, data: b"hello" };
        assert_eq!(allocation.send(&message, &policy, now), Ok(expected));
        assert_eq!(allocation.send(&message, &policy, now + PERMISSION), Err(Dropped::Refused));
        // A private address is refused at each indication, even if there were a permission.
        for private in ["127.0.0.1:1", "10.0.0.1:1", "[::ffff:127.0.0.1]:1", "8.8.8.8:0"] {
            allocation.permissions.push((address(private).ip(), now + PERMISSION));
            let packet = send(address(private), b"hello");
            let message = Message::parse(&packet).unwrap();
            assert_eq!(allocation.send(&message, &policy, now), Err(Dropped::Refused), "{private}");
        }
        allocation.bind(0x4000, peer, Target::Outside, now).unwrap();
        let packet = channel_data(0x4000, b"hello");
        assert!(allocation.channel_data(&packet, now).is_ok());
        // A channel outlives its permission, and is then no way around it.
        assert_eq!(allocation.channel_data(&packet, now + PERMISSION), Err(Dropped::Refused));
        for wrong in [&packet[..8], &packet[..3], &channel_data(0x4001, b"hello"), &[]] {
            assert_eq!(allocation.channel_data(wrong, now), Err(Dropped::Refused));
        }
    }

    #[test]
    fn what_a_peer_sends_is_wrapped() {
        let now = Instant::now();
        for length in [0, 1, 4, 1000] {
            let mut allocation = allocation(now);
            let peer = address("8.8.8.8:1");
            let mut buffer = vec![7; HEADROOM + length + TAILROOM];
            assert_eq!(allocation.wrap(peer, &mut buffer, length, now), Err(Dropped::Refused));
            allocation.permit(peer.ip(), now).unwrap();
            let packet = allocation.wrap(peer, &mut buffer, length, now).unwrap().to_vec();
            let message = Message::parse(&packet).unwrap();
            assert_eq!((message.class, message.method), (Class::Indication, message::DATA));
            let from = message::xor_address(message.get(attribute::XOR_PEER_ADDRESS).unwrap(), &message.transaction);
            assert_eq!((from, message.get(attribute::DATA)), (Some(peer), Some(&vec![7; length][..])));
            allocation.bind(0x4abc, peer, Target::Outside, now).unwrap();
            let packet = allocation.wrap(peer, &mut buffer, length, now).unwrap();
            assert_eq!(packet[..4 + length], channel_data(0x4abc, &vec![7; length]));
            assert!(packet.len().is_multiple_of(4) && packet.len() < 4 + length + 4);
        }
        let mut v6 = allocation(now);
        let peer = address("[2001:4860::1]:1");
        v6.permit(peer.ip(), now).unwrap();
        let mut buffer = vec![7; HEADROOM + 5 + TAILROOM];
        assert!(Message::parse(v6.wrap(peer, &mut buffer, 5, now).unwrap()).is_some());
        // Too large for the length of an attribute, or for the buffer.
        let mut buffer = vec![0; HEADROOM + 65_535 + TAILROOM];
        for length in [65_535, 65_536, 100_000] {
            assert_eq!(v6.wrap(peer, &mut buffer, length, now), Err(Dropped::Refused));
        }
    }

    #[test]
    fn bandwidth_is_bounded_in_each_direction() {
        let now = Instant::now();
        let mut allocation = allocation(now);
        let peer = address("8.8.8.8:1");
        allocation.bind(0x4000, peer, Target::Outside, now).unwrap();
        let packet = channel_data(0x4000, &[0; 1024]);
        let mut buffer = vec![0; HEADROOM + 1024 + TAILROOM];
        for _ in 0..64 {
            assert!(
                allocation.channel_data(&packet, now).is_ok() && allocation.wrap(peer, &mut buffer, 1024, now).is_ok()
            );
        }
        assert_eq!(allocation.channel_data(&packet, now), Err(Dropped::TooMuch));
        assert_eq!(allocation.wrap(peer, &mut buffer, 1024, now), Err(Dropped::TooMuch));
        assert!(allocation.channel_data(&packet, now + Duration::from_millis(20)).is_ok());
    }

    #[test]
    fn nothing_goes_through_what_has_expired() {
        let now = Instant::now();
        let mut allocation = allocation(now);
        let peer = address("8.8.8.8:1");
        let end = allocation.expires;
        allocation.bind(0x4000, peer, Target::Outside, end - Duration::from_secs(1)).unwrap();
        assert_eq!(allocation.channel_data(&channel_data(0x4000, b"x"), end), Err(Dropped::Refused));
        assert_eq!(allocation.wrap(peer, &mut [0; HEADROOM + 1 + TAILROOM], 1, end), Err(Dropped::Refused));
    }
}
