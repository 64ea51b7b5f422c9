//! Keeps a server that introduces peers busy, and counts: registers peers, which send signals to each other.
//!
//! ```text
//! load linkup|peer URL...
//! ```
//!
//! Peer `n` is at the URL `n` modulo their number, and its partner is its neighbour: with two servers each signal passes
//! from one to the other. Commands come and answers go as those of lib/child.js, over the socket that Node.js gives to a
//! child. WebSocket frames are made here and once: a library would take more of the machine than the server that is
//! measured. Such a client's mask is zero, which RFC 6455, section 5.3, lets a server not see.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::FromRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::task::{JoinSet, LocalSet, spawn_local};
use tokio::time::MissedTickBehavior;

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Registrations, and signals of a flood, that are under way at a time.
const REGISTERING: usize = 20;
const SIGNALS: usize = 200;
/// Bytes of a signal's frame without its header.
const SIZE: usize = 600;
/// Sockets that share an address of ours: there are some 28,000 ports for one.
const PER_ADDRESS: usize = 10_000;
/// What is read at a time, at least; the largest that may come and is no whole frame.
const READ: usize = 4096;
const LARGEST: usize = 32 * 1024;

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

#[derive(Clone, Copy)]
enum Protocol {
    Linkup,
    PeerJs,
}

impl Protocol {
    fn path(self, id: &str) -> String {
        match self {
            Self::Linkup => "/".into(),
            Self::PeerJs => format!("/peerjs?key=peerjs&id={id}&token={id}"),
        }
    }

    /// What a peer says first.
    fn register(self, id: &str) -> Option<Value> {
        match self {
            Self::Linkup => Some(json!({"id": "1", "message": {"type": "register", "id": id}})),
            Self::PeerJs => None,
        }
    }

    fn is_registered(self, id: &str, text: &[u8]) -> bool {
        let said: Value = serde_json::from_slice(text).unwrap_or_default();
        match self {
            Self::Linkup => said["message"] == id,
            Self::PeerJs => said["type"] == "OPEN",
        }
    }

    /// A signal of `SIZE` bytes.
    fn signal(self, from: &str, to: &str) -> String {
        let filled = |filling: &str| match self {
            Self::Linkup => json!({"message": {"type": "signal", "from": from, "to": to, "signal": filling}}),
            Self::PeerJs => json!({"type": "OFFER", "src": from, "dst": to, "payload": filling}),
        };
        let without = filled("").to_string().len();
        filled(&"x".repeat(SIZE - without)).to_string()
    }
}

/// A frame as a client sends it.
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The first frame of what a server has sent: its kind, where its payload begins and ends. None: it is not whole.
fn first_frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (start, length) = match *bytes.get(1)? {
        126 => (4, u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?) as usize),
        length => (2, length as usize),
    };
    (bytes.len() >= start + length).then_some((bytes[0], start, start + length))
}

struct Peer {
    stream: TcpStream,
    signal: Vec<u8>,
    sent: Cell<Option<Instant>>,
}

impl Peer {
    async fn write(&self, mut bytes: &[u8]) -> Fallible<()> {
        while !bytes.is_empty() {
            match self.stream.try_write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.stream.writable().await?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Adds what has come to what is not a whole frame yet.
async fn read(stream: &TcpStream, held: &mut Vec<u8>) -> Fallible<()> {
    loop {
        stream.readable().await?;
        held.reserve(READ);
        match stream.try_read_buf(held) {
            Ok(0) => return Err("the server has closed a socket".into()),
            Ok(_) if held.len() <= LARGEST => return Ok(()),
            Ok(_) => return Err("the server says too much".into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}

struct Load {
    protocol: Protocol,
    servers: Vec<SocketAddr>,
    peers: RefCell<Vec<Option<Rc<Peer>>>>,
    flooding: Cell<bool>,
    routed: Cell<u64>,
    taken: RefCell<Vec<Duration>>,
}

impl Load {
    /// Unlike those of any other load.
    fn id(n: usize) -> String {
        format!("peer-{}-{n}", std::process::id())
    }

    fn peer(&self, n: usize) -> Option<Rc<Peer>> {
        self.peers.borrow().get(n).cloned().flatten()
    }

    async fn open(self: &Rc<Self>, count: usize) -> Fallible<()> {
        let first = self.peers.borrow().len();
        self.peers.borrow_mut().resize_with(first + count, || None);
        let mut opening = JoinSet::new();
        for n in first..first + count {
            if opening.len() == REGISTERING {
                opening.join_next().await.ok_or("none")???;
            }
            let load = self.clone();
            opening.spawn_local(async move { load.open_one(n).await.map_err(|error| error.to_string()) });
        }
        while let Some(done) = opening.join_next().await {
            done??;
        }
        Ok(())
    }

    /// A registered peer.
    async fn open_one(self: &Rc<Self>, n: usize) -> Fallible<()> {
        let server = self.servers[n % self.servers.len()];
        let socket = TcpSocket::new_v4()?;
        let network = (std::process::id() % 250) as u8 + 1;
        socket.bind((Ipv4Addr::new(127, 0, network, (n / PER_ADDRESS) as u8), 0).into())?;
        let stream = socket.connect(server).await?;
        stream.set_nodelay(true)?;
        let id = Self::id(n);
        let partner = Self::id(n ^ 1);
        let signal = frame(TEXT, self.protocol.signal(&id, &partner).as_bytes());
        let peer = Rc::new(Peer { stream, signal, sent: Cell::default() });
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            self.protocol.path(&id)
        );
        peer.write(request.as_bytes()).await?;
        let mut held = Vec::new();
        let end = loop {
            read(&peer.stream, &mut held).await?;
            if let Some(at) = held.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
        };
        if !held.starts_with(b"HTTP/1.1 101 ") {
            return Err(format!("refused: {}", String::from_utf8_lossy(&held)).into());
        }
        held.drain(..end);
        if let Some(register) = self.protocol.register(&id) {
            peer.write(&frame(TEXT, register.to_string().as_bytes())).await?;
        }
        let (start, end) = loop {
            if let Some((TEXT, start, end)) = first_frame(&held) {
                break (start, end);
            }
            read(&peer.stream, &mut held).await?;
        };
        if !self.protocol.is_registered(&id, &held[start..end]) {
            return Err(format!("not registered: {}", String::from_utf8_lossy(&held[start..end])).into());
        }
        held.drain(..end);
        self.peers.borrow_mut()[n] = Some(peer.clone());
        let load = self.clone();
        spawn_local(async move {
            if let Err(error) = load.listen(n, &peer, held).await {
                eprintln!("Error: peer {n}: {error}");
                std::process::exit(1);
            }
        });
        Ok(())
    }

    async fn listen(&self, n: usize, peer: &Peer, mut held: Vec<u8>) -> Fallible<()> {
        loop {
            let mut at = 0;
            while let Some((kind, start, end)) = first_frame(&held[at..]) {
                match kind {
                    TEXT => self.arrived(n, peer).await?,
                    PING => peer.write(&frame(PONG, &held[at + start..at + end])).await?,
                    CLOSE => return Err(format!("closed: {:?}", &held[at + start..at + end]).into()),
                    _ => return Err(format!("a frame that begins with {kind:#x}").into()),
                }
                at += end;
            }
            if at == held.len() {
                // The memory of thousands that are at rest.
                held = Vec::new();
            } else {
                held.drain(..at);
            }
            read(&peer.stream, &mut held).await?;
        }
    }

    /// A signal has come to peer `n`: in a flood it answers with the next one.
    async fn arrived(&self, n: usize, peer: &Peer) -> Fallible<()> {
        self.routed.set(self.routed.get() + 1);
        if let Some(sent) = self.peer(n ^ 1).and_then(|partner| partner.sent.take()) {
            self.taken.borrow_mut().push(sent.elapsed());
        }
        if self.flooding.get() { peer.write(&peer.signal).await } else { Ok(()) }
    }

    async fn flood(&self) -> Fallible<()> {
        self.flooding.set(true);
        let pairs = self.peers.borrow().len() / 2;
        for n in 0..SIGNALS.min(pairs) {
            let peer = self.peer(2 * n).ok_or("no peer")?;
            peer.write(&peer.signal).await?;
        }
        Ok(())
    }

    /// So many signals a second for so many ms, each from another pair: how long they take, in ms.
    async fn pace(&self, rate: u64, ms: u64) -> Fallible<Value> {
        self.flooding.set(false);
        // What is under way comes first.
        let mut before = u64::MAX;
        while before != self.routed.get() {
            before = self.routed.get();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.taken.borrow_mut().clear();
        let pairs = self.peers.borrow().len() / 2;
        let mut ticks = tokio::time::interval(Duration::from_millis(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let start = Instant::now();
        let whole = Duration::from_millis(ms);
        let mut sent: u64 = 0;
        while start.elapsed() < whole {
            ticks.tick().await;
            while sent < start.elapsed().as_millis() as u64 * rate / 1000 {
                let peer = self.peer(2 * (sent as usize % pairs)).ok_or("no peer")?;
                if peer.sent.replace(Some(Instant::now())).is_some() {
                    return Err("a signal takes longer than all pairs' turns".into());
                }
                peer.write(&peer.signal).await?;
                sent += 1;
            }
        }
        let deadline = Instant::now() + Duration::from_secs(10);
        while (self.taken.borrow().len() as u64) < sent {
            if Instant::now() > deadline {
                return Err(format!("{} of {sent} signals have arrived", self.taken.borrow().len()).into());
            }
            ticks.tick().await;
        }
        let mut taken = std::mem::take(&mut *self.taken.borrow_mut());
        taken.sort();
        let at = |part: f64| taken[((taken.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
        Ok(json!({"sent": sent, "p50": at(0.5), "p99": at(0.99), "max": at(1.0)}))
    }

    async fn answer(self: &Rc<Self>, command: &str, args: &Value) -> Fallible<Value> {
        let number = |name: &str| args[name].as_u64().ok_or_else(|| format!("{command} without {name}"));
        match command {
            "open" => self.open(number("count")? as usize).await.map(|()| Value::Null),
            "flood" => self.flood().await.map(|()| Value::Null),
            "pace" => self.pace(number("rate")?, number("ms")?).await,
            // As in Node.js: ms since some time.
            "sample" => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
                Ok(json!({"at": since.as_secs_f64() * 1000.0, "routed": self.routed.get()}))
            }
            _ => Err(format!("no command {command}").into()),
        }
    }
}

async fn serve(load: Rc<Load>, channel: UnixStream) -> Fallible<()> {
    let (input, mut output) = channel.into_split();
    let mut lines = BufReader::new(input).lines();
    while let Some(line) = lines.next_line().await? {
        let asked: Value = serde_json::from_str(&line)?;
        let result = load.answer(asked["command"].as_str().unwrap_or_default(), &asked["args"]).await;
        let answer = match result {
            Ok(result) => json!({"id": asked["id"], "result": result}),
            Err(error) => json!({"id": asked["id"], "error": error.to_string()}),
        };
        output.write_all(format!("{answer}\n").as_bytes()).await?;
    }
    Ok(())
}

fn main() -> Fallible<()> {
    let mut args = std::env::args().skip(1);
    let protocol = match args.next().as_deref() {
        Some("linkup") => Protocol::Linkup,
        Some("peer") => Protocol::PeerJs,
        _ => return Err("load linkup|peer URL...".into()),
    };
    let servers = args.map(|url| Ok(url.trim_start_matches("ws://").parse()?)).collect::<Fallible<Vec<_>>>()?;
    let number = std::env::var("NODE_CHANNEL_FD").map_err(|_| "no NODE_CHANNEL_FD: it is a child of bench/run.js")?;
    // SAFETY: Node.js has opened it for us, and nobody else knows of it.
    let channel = unsafe { std::os::unix::net::UnixStream::from_raw_fd(number.parse()?) };
    channel.set_nonblocking(true)?;
    let load = Rc::new(Load {
        protocol,
        servers,
        peers: RefCell::default(),
        flooding: Cell::default(),
        routed: Cell::default(),
        taken: RefCell::default(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Its peers listen for ever, which does not keep the process.
    LocalSet::new().block_on(&runtime, async { serve(load, UnixStream::from_std(channel)?).await })
}
