//! STUN messages (RFC 8489, section 5) as bytes: reads them where they lie, writes answers. Knows no rule of TURN.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ring::hmac;

use super::credentials::Key;

/// Bytes of the header, and of what an attribute has before its value.
pub(crate) const HEADER: usize = 20;
const ATTRIBUTE_HEADER: usize = 4;

const COOKIE: [u8; 4] = 0x2112_a442_u32.to_be_bytes();
const FINGERPRINT_XOR: u32 = 0x5354_554e;
const FINGERPRINT_BYTES: usize = 8;
const INTEGRITY_BYTES: usize = 20;

pub(crate) const BINDING: u16 = 0x001;
pub(crate) const ALLOCATE: u16 = 0x003;
pub(crate) const REFRESH: u16 = 0x004;
pub(crate) const SEND: u16 = 0x006;
pub(crate) const DATA: u16 = 0x007;
pub(crate) const CREATE_PERMISSION: u16 = 0x008;
pub(crate) const CHANNEL_BIND: u16 = 0x009;

/// Attribute types: RFC 8489, section 18.3, and RFC 8656, section 18. Below 0x8000 a server must understand them.
pub(crate) mod attribute {
    pub(crate) const USERNAME: u16 = 0x0006;
    pub(crate) const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub(crate) const ERROR_CODE: u16 = 0x0009;
    pub(crate) const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub(crate) const CHANNEL_NUMBER: u16 = 0x000c;
    pub(crate) const LIFETIME: u16 = 0x000d;
    pub(crate) const XOR_PEER_ADDRESS: u16 = 0x0012;
    pub(crate) const DATA: u16 = 0x0013;
    pub(crate) const REALM: u16 = 0x0014;
    pub(crate) const NONCE: u16 = 0x0015;
    pub(crate) const XOR_RELAYED_ADDRESS: u16 = 0x0016;
    pub(crate) const REQUESTED_ADDRESS_FAMILY: u16 = 0x0017;
    pub(crate) const EVEN_PORT: u16 = 0x0018;
    pub(crate) const REQUESTED_TRANSPORT: u16 = 0x0019;
    pub(crate) const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub(crate) const RESERVATION_TOKEN: u16 = 0x0022;
    pub(crate) const FINGERPRINT: u16 = 0x8028;
}

pub(crate) type TransactionId = [u8; 12];

/// What kind of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Request,
    Indication,
    Success,
    Error,
}

/// A message in a buffer: its lengths fit, its fingerprint is right where it has one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    bytes: &'a [u8],
    pub(crate) class: Class,
    pub(crate) method: u16,
    pub(crate) transaction: TransactionId,
    pub(crate) fingerprint: bool,
    /// Where MESSAGE-INTEGRITY begins. What comes after it does not count (RFC 8489, section 14.5).
    integrity: Option<usize>,
}

impl<'a> Message<'a> {
    /// Reads a message that fills `bytes`. `None` for everything else.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER>()?;
        let [t1, t2, l1, l2, c1, c2, c3, c4, transaction @ ..] = *header;
        let (kind, length) = (u16::from_be_bytes([t1, t2]), u16::from_be_bytes([l1, l2]));
        let whole = usize::from(length) + HEADER == bytes.len() && length.is_multiple_of(4);
        if kind & 0xc000 != 0 || [c1, c2, c3, c4] != COOKIE || !whole {
            return None;
        }
        let class = match kind & 0x0110 {
            0x0000 => Class::Request,
            0x0010 => Class::Indication,
            0x0100 => Class::Success,
            _ => Class::Error,
        };
        // The bits of the class lie between those of the method: section 5.
        let method = (kind & 0x000f) | ((kind & 0x00e0) >> 1) | ((kind & 0x3e00) >> 2);
        let mut message = Self { bytes, class, method, transaction, fingerprint: false, integrity: None };
        let mut at = HEADER;
        while at < bytes.len() {
            let (kind, value) = message.attribute_at(at)?;
            let next = at + ATTRIBUTE_HEADER + value.len().next_multiple_of(4);
            if next > bytes.len() {
                return None;
            }
            if kind == attribute::MESSAGE_INTEGRITY && message.integrity.is_none() {
                message.integrity = Some(at);
            } else if kind == attribute::FINGERPRINT && next == bytes.len() {
                if *value != fingerprint(&bytes[..at]).to_be_bytes() {
                    return None;
                }
                message.fingerprint = true;
            }
            at = next;
        }
        Some(message)
    }

    fn attribute_at(&self, at: usize) -> Option<(u16, &'a [u8])> {
        let [k1, k2, l1, l2] = *self.bytes.get(at..)?.first_chunk()?;
        let length = usize::from(u16::from_be_bytes([l1, l2]));
        let value = self.bytes.get(at + ATTRIBUTE_HEADER..)?.get(..length)?;
        Some((u16::from_be_bytes([k1, k2]), value))
    }

    /// The attributes before MESSAGE-INTEGRITY, as types and values.
    pub(crate) fn attributes(&self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let end = self.integrity.unwrap_or(self.bytes.len());
        let mut at = HEADER;
        let message = *self;
        std::iter::from_fn(move || {
            if at >= end {
                return None;
            }
            let (kind, value) = message.attribute_at(at)?;
            at += ATTRIBUTE_HEADER + value.len().next_multiple_of(4);
            Some((kind, value))
        })
    }

    /// The value of the first attribute of a type.
    pub(crate) fn get(&self, kind: u16) -> Option<&'a [u8]> {
        self.attributes().find(|(k, _)| *k == kind).map(|(_, value)| value)
    }

    /// The text of the first attribute of a type.
    pub(crate) fn text(&self, kind: u16) -> Option<&'a str> {
        std::str::from_utf8(self.get(kind)?).ok()
    }

    pub(crate) fn has_integrity(&self) -> bool {
        self.integrity.is_some()
    }

    /// Whether MESSAGE-INTEGRITY is there and was made with the key.
    pub(crate) fn is_signed_with(&self, key: &Key) -> bool {
        let Some(at) = self.integrity else { return false };
        let Some((_, value)) = self.attribute_at(at) else { return false };
        hmac::verify(&key.hmac(), &signed(&self.bytes[..at]), value).is_ok()
    }

    /// The types that a server must understand and this one does not, at most as many as an answer needs.
    pub(crate) fn unknown(&self, known: &[u16]) -> Vec<u16> {
        let unknown = |kind: &u16| *kind < 0x8000 && !known.contains(kind);
        self.attributes().map(|(kind, _)| kind).filter(unknown).take(16).collect()
    }
}

/// What MESSAGE-INTEGRITY covers: all before it, with a length as if it were the last attribute.
fn signed(before: &[u8]) -> Vec<u8> {
    let mut bytes = before.to_vec();
    set_length(&mut bytes, ATTRIBUTE_HEADER + INTEGRITY_BYTES);
    bytes
}

fn set_length(bytes: &mut [u8], more: usize) {
    let length = u16::try_from((bytes.len() + more).saturating_sub(HEADER)).unwrap_or(u16::MAX);
    if let Some(field) = bytes.get_mut(2..4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

fn fingerprint(before: &[u8]) -> u32 {
    const CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    CRC.checksum(before) ^ FINGERPRINT_XOR
}

/// Reads an address attribute that is XORed with the cookie and the transaction (RFC 8489, section 14.2).
pub(crate) fn xor_address(value: &[u8], transaction: &TransactionId) -> Option<SocketAddr> {
    let (&[_, family, p1, p2], ip) = value.split_first_chunk()?;
    let port = u16::from_be_bytes([p1 ^ COOKIE[0], p2 ^ COOKIE[1]]);
    let ip = match family {
        1 => IpAddr::V4(Ipv4Addr::from(xored(<[u8; 4]>::try_from(ip).ok()?, transaction))),
        2 => IpAddr::V6(Ipv6Addr::from(xored(<[u8; 16]>::try_from(ip).ok()?, transaction))),
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn xored<const N: usize>(mut bytes: [u8; N], transaction: &TransactionId) -> [u8; N] {
    for (byte, mask) in bytes.iter_mut().zip(COOKIE.iter().chain(transaction)) {
        *byte ^= mask;
    }
    bytes
}

/// A message being written.
pub(crate) struct Writer {
    bytes: Vec<u8>,
    transaction: TransactionId,
}

impl Writer {
    pub(crate) fn new(class: Class, method: u16, transaction: TransactionId) -> Self {
        let class = match class {
            Class::Request => 0x0000,
            Class::Indication => 0x0010,
            Class::Success => 0x0100,
            Class::Error => 0x0110,
        };
        let kind = (method & 0x000f) | ((method & 0x0070) << 1) | ((method & 0x0f80) << 2) | class;
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&COOKIE);
        bytes.extend_from_slice(&transaction);
        Self { bytes, transaction }
    }

    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.bytes.extend_from_slice(&kind.to_be_bytes());
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(&value[..usize::from(length)]);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn address(self, kind: u16, address: SocketAddr) -> Self {
        let mut value = Vec::with_capacity(20);
        let [p1, p2] = address.port().to_be_bytes();
        value.extend_from_slice(&[0, if address.is_ipv4() { 1 } else { 2 }, p1 ^ COOKIE[0], p2 ^ COOKIE[1]]);
        match address.ip() {
            IpAddr::V4(ip) => value.extend_from_slice(&xored(ip.octets(), &self.transaction)),
            IpAddr::V6(ip) => value.extend_from_slice(&xored(ip.octets(), &self.transaction)),
        }
        self.attribute(kind, &value)
    }

    /// Signs and ends it: with MESSAGE-INTEGRITY where there is a key, and with FINGERPRINT where it is wanted.
    pub(crate) fn finish(mut self, key: Option<&Key>, with_fingerprint: bool) -> Vec<u8> {
        if let Some(key) = key {
            let mac = hmac::sign(&key.hmac(), &signed(&self.bytes));
            self = self.attribute(attribute::MESSAGE_INTEGRITY, mac.as_ref());
        }
        if with_fingerprint {
            set_length(&mut self.bytes, FINGERPRINT_BYTES);
            let value = fingerprint(&self.bytes).to_be_bytes();
            self = self.attribute(attribute::FINGERPRINT, &value);
        }
        set_length(&mut self.bytes, 0);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    /// RFC 5769, section 2.4: a request with long-term credentials.
    const SAMPLE: &str = "000100602112a44278ad3433c6ad72c029da412e00060012e3839ee38388e383aae38383e382af\
        e382b900000015001c662f2f3439396b39353464364f4c33346f4c394653547679363473410014000b6578616d706c652e6f726700\
        00080014f67024656dd64a3e02b8e0712e85c9a28ca89666";

    fn sample() -> Vec<u8> {
        (0..SAMPLE.len()).step_by(2).map(|i| u8::from_str_radix(&SAMPLE[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn reads_the_sample_of_rfc_5769() {
        let bytes = sample();
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.class, message.method), (Class::Request, BINDING));
        assert_eq!(message.text(attribute::USERNAME), Some("マトリックス"));
        assert_eq!(message.text(attribute::REALM), Some("example.org"));
        assert!(message.is_signed_with(&Key::new("マトリックス", "example.org", "TheMatrIX")));
        assert!(!message.is_signed_with(&Key::new("マトリックス", "example.org", "TheMatrix")));
    }

    #[test]
    fn a_signed_message_cannot_be_changed_or_extended() {
        let key = Key::new("u", "r", "p");
        let signed = Writer::new(Class::Request, REFRESH, [7; 12]).attribute(attribute::LIFETIME, &[0, 0, 2, 88]);
        let bytes = signed.finish(Some(&key), true);
        let message = Message::parse(&bytes).unwrap();
        assert!(message.is_signed_with(&key) && message.fingerprint);
        for at in 0..bytes.len() - FINGERPRINT_BYTES {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Message::parse(&changed).is_none_or(|message| !message.is_signed_with(&key)), "{at}");
        }
        // What follows the integrity does not count.
        let mut extended = Writer::new(Class::Request, REFRESH, [7; 12]).finish(Some(&key), false);
        extended.extend_from_slice(&[0, 0x0d, 0, 4, 0, 0, 0, 0]);
        set_length(&mut extended, 0);
        let message = Message::parse(&extended).unwrap();
        assert!(message.is_signed_with(&key) && message.get(attribute::LIFETIME).is_none());
    }

    #[test]
    fn methods_and_classes_survive() {
        for method in [BINDING, ALLOCATE, REFRESH, SEND, DATA, CREATE_PERMISSION, CHANNEL_BIND, 0xabc, 0xfff] {
            for class in [Class::Request, Class::Indication, Class::Success, Class::Error] {
                let bytes = Writer::new(class, method, [1; 12]).finish(None, false);
                let message = Message::parse(&bytes).unwrap();
                assert_eq!((message.class, message.method), (class, method));
            }
        }
    }

    proptest! {
        #[test]
        fn addresses_survive(ip: IpAddr, port: u16, transaction: [u8; 12]) {
            let address = SocketAddr::new(ip, port);
            let writer = Writer::new(Class::Success, BINDING, transaction);
            let bytes = writer.address(attribute::XOR_MAPPED_ADDRESS, address).finish(None, false);
            let value = Message::parse(&bytes).unwrap().get(attribute::XOR_MAPPED_ADDRESS).unwrap();
            prop_assert_eq!(xor_address(value, &transaction), Some(address));
        }

        #[test]
        fn reads_any_bytes(bytes: Vec<u8>) {
            let _ = Message::parse(&bytes);
        }

        #[test]
        fn reads_any_attributes(mut body: Vec<u8>) {
            let mut bytes = Writer::new(Class::Request, ALLOCATE, [1; 12]).finish(None, false);
            body.truncate(body.len() / 4 * 4);
            bytes.extend(body);
            set_length(&mut bytes, 0);
            if let Some(message) = Message::parse(&bytes) {
                let values: usize = message.attributes().map(|(_, value)| value.len() + 4).sum();
                prop_assert!(values <= bytes.len());
            }
        }
    }
}
