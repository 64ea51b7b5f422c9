//! A TURN client that does one thing at a time, and whatever a test wants it to do wrong. Its bytes are made here, not
//! by the code under test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use linkup_broker::Secret;
use md5::Digest;
use ring::hmac;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

use super::within;

/// Of the servers that the tests start.
pub const SECRET: &str = "north";

pub fn unix() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

pub fn credentials(name: &str) -> (String, String) {
    Secret::new(SECRET).credentials(name, unix() + 100)
}

pub mod method {
    pub const BINDING: u16 = 1;
    pub const ALLOCATE: u16 = 3;
    pub const REFRESH: u16 = 4;
    pub const CREATE_PERMISSION: u16 = 8;
    pub const CHANNEL_BIND: u16 = 9;
}

pub mod attribute {
    pub const USERNAME: u16 = 0x06;
    pub const INTEGRITY: u16 = 0x08;
    pub const ERROR: u16 = 0x09;
    pub const UNKNOWN: u16 = 0x0a;
    pub const CHANNEL_NUMBER: u16 = 0x0c;
    pub const LIFETIME: u16 = 0x0d;
    pub const XOR_PEER_ADDRESS: u16 = 0x12;
    pub const DATA: u16 = 0x13;
    pub const REALM: u16 = 0x14;
    pub const NONCE: u16 = 0x15;
    pub const XOR_RELAYED_ADDRESS: u16 = 0x16;
    pub const REQUESTED_ADDRESS_FAMILY: u16 = 0x17;
    pub const REQUESTED_TRANSPORT: u16 = 0x19;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x20;
}

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How the client speaks to the server.
#[derive(Clone)]
pub enum Wire {
    Udp(Arc<UdpSocket>),
    Stream(Arc<tokio::sync::Mutex<Box<dyn Stream>>>, SocketAddr),
}

#[derive(Clone)]
pub struct Client {
    wire: Wire,
    credentials: (String, String),
    realm: String,
    nonce: String,
    last: Vec<u8>,
    serial: u64,
}

/// An answer.
pub struct Answer(pub Vec<u8>);

impl Answer {
    pub fn get(&self, kind: u16) -> Option<Vec<u8>> {
        let mut at = 20;
        while let Some(&[k1, k2, l1, l2]) = self.0.get(at..).and_then(|rest| rest.first_chunk()) {
            let length = usize::from(u16::from_be_bytes([l1, l2]));
            if u16::from_be_bytes([k1, k2]) == kind {
                return Some(self.0[at + 4..at + 4 + length].to_vec());
            }
            at += 4 + length.next_multiple_of(4);
        }
        None
    }

    /// The error's code; none where it is a success.
    pub fn code(&self) -> Option<u16> {
        let is_error = self.0[0] == 1 && self.0[1] & 0x10 != 0;
        is_error.then(|| {
            let value = self.get(attribute::ERROR).expect("an error has a code");
            u16::from(value[2]) * 100 + u16::from(value[3])
        })
    }

    pub fn address(&self, kind: u16) -> Option<SocketAddr> {
        self.get(kind).map(|value| read_address(&value, &self.0[8..20]))
    }

    pub fn lifetime(&self) -> u32 {
        u32::from_be_bytes(self.get(attribute::LIFETIME).unwrap().try_into().unwrap())
    }
}

fn mask(bytes: &[u8], transaction: &[u8]) -> Vec<u8> {
    bytes.iter().zip(COOKIE.iter().chain(transaction)).map(|(byte, mask)| byte ^ mask).collect()
}

fn read_address(value: &[u8], transaction: &[u8]) -> SocketAddr {
    let port = u16::from_be_bytes([value[2] ^ COOKIE[0], value[3] ^ COOKIE[1]]);
    let ip = mask(&value[4..], transaction);
    let ip = match value[1] {
        1 => IpAddr::from(<[u8; 4]>::try_from(ip).unwrap()),
        _ => IpAddr::from(<[u8; 16]>::try_from(ip).unwrap()),
    };
    SocketAddr::new(ip, port)
}

fn write_address(address: SocketAddr, transaction: &[u8]) -> Vec<u8> {
    let port = mask(&address.port().to_be_bytes(), transaction);
    let (family, ip) = match address.ip() {
        IpAddr::V4(ip) => (1, mask(&ip.octets(), transaction)),
        IpAddr::V6(ip) => (2, mask(&ip.octets(), transaction)),
    };
    [vec![0, family], port, ip].concat()
}

fn message(kind: u16, transaction: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = [&kind.to_be_bytes()[..], &[0, 0], &COOKIE, transaction].concat();
    for (kind, value) in attributes {
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&(value.len() as u16).to_be_bytes());
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    set_length(&mut bytes, 0);
    bytes
}

fn set_length(bytes: &mut [u8], more: usize) {
    let length = (bytes.len() - 20 + more) as u16;
    bytes[2..4].copy_from_slice(&length.to_be_bytes());
}

impl Client {
    fn new(wire: Wire, credentials: (String, String)) -> Self {
        Self { wire, credentials, realm: "linkup".into(), nonce: String::new(), last: Vec::new(), serial: 0 }
    }

    pub async fn udp(server: SocketAddr, credentials: (String, String)) -> Self {
        let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).await.unwrap();
        // Connected: it hears only what comes from the very address that it asked.
        socket.connect(server).await.unwrap();
        Self::new(Wire::Udp(Arc::new(socket)), credentials)
    }

    pub async fn tcp(server: SocketAddr, credentials: (String, String)) -> Self {
        let tcp = TcpStream::connect(server).await.unwrap();
        let address = tcp.local_addr().unwrap();
        Self::stream(Box::new(tcp), address, credentials)
    }

    pub fn stream(stream: Box<dyn Stream>, address: SocketAddr, credentials: (String, String)) -> Self {
        Self::new(Wire::Stream(Arc::new(tokio::sync::Mutex::new(stream)), address), credentials)
    }

    /// Somebody else on the same 5-tuple.
    pub fn with_credentials(&self, credentials: (String, String)) -> Self {
        Self { credentials, serial: self.serial + 1_000, ..self.clone() }
    }

    pub fn address(&self) -> SocketAddr {
        match &self.wire {
            Wire::Udp(socket) => socket.local_addr().unwrap(),
            Wire::Stream(_, address) => *address,
        }
    }

    pub fn nonce(&self) -> String {
        self.nonce.clone()
    }

    pub fn set_nonce(&mut self, nonce: &str) {
        nonce.clone_into(&mut self.nonce);
    }

    pub async fn send_raw(&self, bytes: &[u8]) {
        match &self.wire {
            Wire::Udp(socket) => drop(socket.send(bytes).await.unwrap()),
            Wire::Stream(stream, _) => {
                let mut stream = stream.lock().await;
                stream.write_all(bytes).await.unwrap();
                stream.flush().await.unwrap();
            }
        }
    }

    /// The next STUN message or ChannelData.
    pub async fn receive(&self) -> Vec<u8> {
        within(async {
            match &self.wire {
                Wire::Udp(socket) => {
                    let mut buffer = vec![0; 70_000];
                    let length = socket.recv(&mut buffer).await.unwrap();
                    buffer[..length].to_vec()
                }
                Wire::Stream(stream, _) => {
                    let mut stream = stream.lock().await;
                    let mut bytes = vec![0; 4];
                    stream.read_exact(&mut bytes).await.unwrap();
                    let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
                    let rest = if bytes[0] >> 6 == 1 { length.next_multiple_of(4) } else { 16 + length };
                    bytes.resize(4 + rest, 0);
                    stream.read_exact(&mut bytes[4..]).await.unwrap();
                    bytes
                }
            }
        })
        .await
    }

    /// Whether the server has closed the connection.
    pub async fn is_closed(&self) -> bool {
        let Wire::Stream(stream, _) = &self.wire else { panic!("UDP has no end") };
        let read = within(async { stream.lock().await.read(&mut [0; 64]).await }).await;
        !matches!(read, Ok(1..))
    }

    fn transaction(&mut self) -> [u8; 12] {
        self.serial += 1;
        let mut transaction = [7; 12];
        transaction[4..].copy_from_slice(&self.serial.to_be_bytes());
        transaction
    }

    async fn exchange(&mut self, packet: Vec<u8>) -> Answer {
        self.send_raw(&packet).await;
        let transaction = packet[8..20].to_vec();
        self.last = packet;
        loop {
            let answer = self.receive().await;
            if answer[0] >> 6 == 0 && answer[8..20] == transaction {
                return Answer(answer);
            }
        }
    }

    /// A request without credentials.
    pub async fn ask(&mut self, method: u16, attributes: &[(u16, &[u8])]) -> Answer {
        let transaction = self.transaction();
        self.exchange(message(method, &transaction, attributes)).await
    }

    pub async fn send_request(&mut self, method: u16) {
        let transaction = self.transaction();
        self.send_raw(&message(method, &transaction, &[])).await;
    }

    pub async fn count_answers(&self, time: Duration) -> usize {
        let mut count = 0;
        while tokio::time::timeout(time, self.receive()).await.is_ok() {
            count += 1;
        }
        count
    }

    fn sign(&self, method: u16, transaction: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let (username, password) = &self.credentials;
        let signed = [
            (attribute::USERNAME, username.as_bytes()),
            (attribute::REALM, self.realm.as_bytes()),
            (attribute::NONCE, self.nonce.as_bytes()),
        ];
        let mut bytes = message(method, transaction, &[attributes, &signed].concat());
        set_length(&mut bytes, 24);
        let key = md5::Md5::digest(format!("{username}:{}:{password}", self.realm));
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key), &bytes);
        bytes.extend_from_slice(&[0, 8, 0, 20]);
        bytes.extend_from_slice(mac.as_ref());
        bytes
    }

    /// One signed request, whatever the answer.
    pub async fn signed(&mut self, method: u16, attributes: &[(u16, &[u8])]) -> Answer {
        let transaction = self.transaction();
        let packet = self.sign(method, &transaction, attributes);
        self.exchange(packet).await
    }

    /// A signed request, with a new nonce where the server wants that.
    async fn request(&mut self, method: u16, attributes: &[(u16, &[u8])]) -> Answer {
        if self.nonce.is_empty() {
            let answer = self.ask(method, attributes).await;
            assert_eq!(answer.code(), Some(401));
            self.take_nonce(&answer);
        }
        let answer = self.signed(method, attributes).await;
        if answer.code() != Some(438) {
            return answer;
        }
        self.take_nonce(&answer);
        self.signed(method, attributes).await
    }

    fn take_nonce(&mut self, answer: &Answer) {
        self.realm = String::from_utf8(answer.get(attribute::REALM).unwrap()).unwrap();
        self.nonce = String::from_utf8(answer.get(attribute::NONCE).unwrap()).unwrap();
    }

    pub async fn repeat(&mut self) -> Answer {
        let last = self.last.clone();
        self.exchange(last).await
    }

    async fn try_allocate(&mut self, more: &[(u16, &[u8])]) -> Result<SocketAddr, u16> {
        let transport = (attribute::REQUESTED_TRANSPORT, &[17, 0, 0, 0][..]);
        let answer = self.request(method::ALLOCATE, &[&[transport], more].concat()).await;
        match answer.code() {
            Some(code) => Err(code),
            None => Ok(answer.address(attribute::XOR_RELAYED_ADDRESS).unwrap()),
        }
    }

    pub async fn allocate(&mut self) -> Result<SocketAddr, u16> {
        self.try_allocate(&[]).await
    }

    pub async fn allocate_v6(&mut self) -> Result<SocketAddr, u16> {
        self.try_allocate(&[(attribute::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0])]).await
    }

    pub async fn refresh(&mut self, seconds: u32) -> Result<u32, u16> {
        let answer = self.request(method::REFRESH, &[(attribute::LIFETIME, &seconds.to_be_bytes())]).await;
        answer.code().map_or_else(|| Ok(answer.lifetime()), Err)
    }

    /// The code where it is refused.
    pub async fn permit(&mut self, peer: SocketAddr) -> Option<u16> {
        self.about(method::CREATE_PERMISSION, peer, &[]).await
    }

    /// The code where it is refused.
    pub async fn bind(&mut self, channel: u16, peer: SocketAddr) -> Option<u16> {
        let [n1, n2] = channel.to_be_bytes();
        self.about(method::CHANNEL_BIND, peer, &[(attribute::CHANNEL_NUMBER, &[n1, n2, 0, 0])]).await
    }

    async fn about(&mut self, method: u16, peer: SocketAddr, more: &[(u16, &[u8])]) -> Option<u16> {
        // The address is masked with the transaction, which is the next one.
        for _ in 0..2 {
            let transaction = self.transaction();
            let peer = write_address(peer, &transaction);
            let attributes = [&[(attribute::XOR_PEER_ADDRESS, &peer[..])], more].concat();
            let packet = self.sign(method, &transaction, &attributes);
            let answer = self.exchange(packet).await;
            if answer.code() != Some(438) {
                return answer.code();
            }
            self.take_nonce(&answer);
        }
        Some(438)
    }

    pub async fn send_indication(&mut self, peer: SocketAddr, data: &[u8]) {
        let transaction = self.transaction();
        let peer = write_address(peer, &transaction);
        let attributes = [(attribute::XOR_PEER_ADDRESS, &peer[..]), (attribute::DATA, data)];
        self.send_raw(&message(0x0016, &transaction, &attributes)).await;
    }

    pub async fn send_channel(&mut self, channel: u16, data: &[u8]) {
        let mut bytes = [&channel.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        self.send_raw(&bytes).await;
    }

    /// The next Data indication: from whom, and what.
    pub async fn data(&mut self) -> (SocketAddr, Vec<u8>) {
        let answer = Answer(self.receive().await);
        assert_eq!(answer.0[..2], [0x00, 0x17]);
        (answer.address(attribute::XOR_PEER_ADDRESS).unwrap(), answer.get(attribute::DATA).unwrap())
    }

    /// The next ChannelData: its channel, and what.
    pub async fn channel_data(&mut self) -> (u16, Vec<u8>) {
        let bytes = self.receive().await;
        assert_eq!(bytes[0] >> 6, 1, "{bytes:?}");
        let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        (u16::from_be_bytes([bytes[0], bytes[1]]), bytes[4..4 + length].to_vec())
    }
}
