//! A broker and peers whose events can be waited for.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use linkup_broker::Broker;
use linkup_driver::core::{ConnectionId, Event, Token};
use linkup_driver::{Direction, Link, Message, Options, Peer, SendError, Sent, Sink};
use linkup_proto::{Error, PeerId};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};

/// Longer than anything here takes, even on a busy machine.
pub const LONG: Duration = Duration::from_secs(30);

pub fn broker() -> (Broker, String) {
    broker_at(0)
}

pub fn broker_at(port: u16) -> (Broker, String) {
    broker_with(port, linkup_broker::Options::default())
}

/// One that carries nothing between peers.
pub fn broker_without_relay() -> (Broker, String) {
    let mut options = linkup_broker::Options::default();
    options.relay = None;
    broker_with(0, options)
}

fn broker_with(port: u16, options: linkup_broker::Options) -> (Broker, String) {
    let listeners = Broker::listen(Some("127.0.0.1"), port).unwrap();
    let broker = Broker::start(listeners, options, &Handle::current()).unwrap();
    let url = format!("ws://{}", broker.addresses()[0]);
    (broker, url)
}

pub fn options(url: &str, id: &str) -> Options {
    let mut options = Options::new(PeerId::new(id).unwrap());
    options.brokers = vec![url.to_owned()];
    options
}

/// Collects what a Peer says.
pub struct Ear {
    events: mpsc::UnboundedSender<Event>,
    pub messages: Mutex<VecDeque<(ConnectionId, Message)>>,
    arrived: Notify,
    pub count: AtomicUsize,
    /// Messages are only counted.
    pub forget: AtomicBool,
    /// Takes nothing more.
    pub full: AtomicBool,
    room: Notify,
    drained: Notify,
    pub streams: Mutex<Vec<Bytes>>,
    /// Has no streams.
    pub streamless: AtomicBool,
    pub tokens: Mutex<Vec<Token>>,
    pub progress: Mutex<Vec<(Direction, u32, u32)>>,
    streams_drained: Notify,
}

impl Sink for Ear {
    fn event(&self, event: Event) {
        let _ = self.events.send(event);
    }

    fn message(&self, connection: ConnectionId, message: Message) -> bool {
        if !self.forget.load(Ordering::Relaxed) {
            self.messages.lock().unwrap().push_back((connection, message));
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        self.arrived.notify_waiters();
        !self.full.load(Ordering::SeqCst)
    }

    fn room(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            loop {
                let room = self.room.notified();
                tokio::pin!(room);
                room.as_mut().enable();
                if !self.full.load(Ordering::SeqCst) {
                    return;
                }
                room.await;
            }
        })
    }

    fn drained(&self, _: ConnectionId) {
        self.drained.notify_one();
    }

    fn has_streams(&self) -> bool {
        !self.streamless.load(Ordering::Relaxed)
    }

    fn stream(&self, _: ConnectionId, frame: Bytes) -> bool {
        self.streams.lock().unwrap().push(frame);
        self.arrived.notify_waiters();
        true
    }

    fn streams_drained(&self, _: ConnectionId) {
        self.streams_drained.notify_one();
    }

    fn arrived(&self, token: Token) {
        self.tokens.lock().unwrap().push(token);
        self.arrived.notify_waiters();
    }

    fn progress(&self, _: ConnectionId, direction: Direction, done: u32, total: u32) {
        self.progress.lock().unwrap().push((direction, done, total));
    }
}

pub struct Testee {
    pub peer: Peer,
    pub ear: Arc<Ear>,
    pub events: mpsc::UnboundedReceiver<Event>,
}

impl Testee {
    pub fn start(options: Options) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let ear = Arc::new(Ear {
            events: sender,
            messages: Mutex::default(),
            arrived: Notify::new(),
            count: AtomicUsize::new(0),
            forget: AtomicBool::new(false),
            full: AtomicBool::new(false),
            room: Notify::new(),
            drained: Notify::new(),
            streams: Mutex::default(),
            streamless: AtomicBool::new(false),
            tokens: Mutex::default(),
            progress: Mutex::default(),
            streams_drained: Notify::new(),
        });
        let peer = Peer::start(&Handle::current(), options, Arc::clone(&ear) as Arc<dyn Sink>);
        Self { peer, ear, events }
    }

    pub async fn registered(options: Options) -> Self {
        let mut testee = Self::start(options);
        testee.until(|event| matches!(event, Event::Registered).then_some(())).await;
        testee
    }

    /// The next event that `pick` takes; the others are dropped.
    pub async fn until<T>(&mut self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        let mut passed = Vec::new();
        let found = tokio::time::timeout(LONG, async {
            loop {
                let event = self.events.recv().await.expect("the peer lives");
                passed.push(format!("{event:?}"));
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("it never came; what came: {passed:#?}"),
        }
    }

    pub async fn opened(&mut self) -> ConnectionId {
        self.until(|event| match event {
            Event::Open { connection, .. } => Some(connection),
            Event::Closed { error, .. } => panic!("closed instead: {error:?}"),
            _ => None,
        })
        .await
    }

    pub async fn closed(&mut self) -> Option<Error> {
        self.until(|event| match event {
            Event::Closed { error, .. } => Some(error),
            _ => None,
        })
        .await
    }

    pub async fn peer_closed(&mut self) -> Option<Error> {
        self.until(|event| match event {
            Event::PeerClosed { error } => Some(error),
            _ => None,
        })
        .await
    }

    pub fn link(&self, connection: ConnectionId) -> Arc<Link> {
        self.peer.link(connection).expect("an open connection has a link")
    }

    /// Waits until `count` messages have come in all.
    pub async fn received(&self, count: usize) {
        if !self.heard(|ear| ear.count.load(Ordering::SeqCst) >= count).await {
            panic!("{} of {count} messages came", self.ear.count.load(Ordering::SeqCst));
        }
    }

    /// Waits until what has come is as `enough` wants it. False: it never was.
    pub async fn heard(&self, enough: impl Fn(&Ear) -> bool) -> bool {
        let all = async {
            loop {
                let arrived = self.ear.arrived.notified();
                tokio::pin!(arrived);
                arrived.as_mut().enable();
                if enough(&self.ear) {
                    return;
                }
                arrived.await;
            }
        };
        tokio::time::timeout(LONG, all).await.is_ok()
    }

    pub fn take_messages(&self) -> Vec<Message> {
        self.ear.messages.lock().unwrap().drain(..).map(|(_, message)| message).collect()
    }

    pub fn stop_reading(&self) {
        self.ear.full.store(true, Ordering::SeqCst);
    }

    pub fn go_on_reading(&self) {
        self.ear.full.store(false, Ordering::SeqCst);
        self.ear.room.notify_waiters();
    }

    /// Sends, and waits where the buffer is full.
    pub async fn send(&self, link: &Link, message: Message) {
        match link.send(message).expect("taken") {
            Sent::Done => {}
            Sent::Full => self.drained().await,
        }
    }

    pub async fn streams_drained(&self) {
        tokio::time::timeout(LONG, self.ear.streams_drained.notified()).await.expect("the buffer empties");
    }

    pub async fn drained(&self) {
        tokio::time::timeout(LONG, self.ear.drained.notified()).await.expect("the buffer empties");
    }
}

/// A connected pair: `a` called `b`.
pub struct Pair {
    pub a: Testee,
    pub b: Testee,
    pub ab: ConnectionId,
    pub ba: ConnectionId,
}

pub async fn pair(url: &str) -> Pair {
    pair_of(options(url, "a"), options(url, "b")).await
}

pub async fn pair_of(a: Options, b: Options) -> Pair {
    let to = b.id.clone();
    let mut b = Testee::registered(b).await;
    let mut a = Testee::registered(a).await;
    a.peer.connect(to);
    let ab = a.opened().await;
    let ba = b.opened().await;
    Pair { a, b, ab, ba }
}

pub fn text(text: impl Into<String>) -> Message {
    Message::Text(text.into())
}

pub fn try_send(link: &Link, message: &str) -> Result<Sent, SendError> {
    link.send(text(message))
}
