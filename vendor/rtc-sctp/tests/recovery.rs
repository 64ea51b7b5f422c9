//! Recovery from losses, in simulated time: two associations joined by links that delay, drop and overflow.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtc_sctp::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event,
    Payload, PayloadProtocolIdentifier, ServerConfig, StreamEvent, TransportConfig,
};
use shared::TransportProtocol;

const PPI: PayloadProtocolIdentifier = PayloadProtocolIdentifier::Binary;

/// One direction of the path: a receiver's buffer of `capacity` bytes that is emptied at `rate` bytes a second, behind
/// `delay`; and `loss`, the part of the packets that never come.
#[derive(Clone, Copy)]
struct Link {
    delay: Duration,
    rate: u64,
    capacity: usize,
    loss: f64,
}

const LAN: Link = Link {
    delay: Duration::from_micros(50),
    rate: 200_000_000,
    capacity: usize::MAX,
    loss: 0.0,
};

struct Path {
    link: Link,
    /// When the receiver has handled everything that is in its buffer.
    busy: Instant,
    dropped: usize,
    /// The next chunk is dropped so many times, whatever the link does.
    doom: usize,
    doomed: Option<Bytes>,
}

impl Path {
    fn new(link: Link, now: Instant) -> Self {
        Self {
            link,
            busy: now,
            dropped: 0,
            doom: 0,
            doomed: None,
        }
    }

    /// When a packet arrives, or nothing when it does not.
    fn carry(&mut self, now: Instant, packet: &Bytes, random: &mut Random) -> Option<Instant> {
        let bytes = packet.len();
        let verdict = self.is_doomed(packet);
        let waiting = self.busy.saturating_duration_since(now);
        let queued = (waiting.as_secs_f64() * self.link.rate as f64) as usize;
        if verdict || random.chance(self.link.loss) || queued + bytes > self.link.capacity {
            self.dropped += 1;
            return None;
        }
        self.busy =
            self.busy.max(now) + Duration::from_secs_f64(bytes as f64 / self.link.rate as f64);
        Some(self.busy + self.link.delay)
    }
}

impl Path {
    /// A packet of one DATA chunk, behind a header of 12 bytes: its TSN is in bytes 16 to 19 (RFC 9260 §3.3.1).
    fn is_doomed(&mut self, packet: &Bytes) -> bool {
        if self.doom == 0 || packet.get(12) != Some(&0) {
            return false;
        }
        let tsn = packet.slice(16..20);
        let doomed = *self.doomed.get_or_insert_with(|| tsn.clone()) == tsn;
        if doomed {
            self.doom -= 1;
        }
        doomed
    }
}

struct Random(u64);

impl Random {
    fn chance(&mut self, part: f64) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64 * 1.0 < part
    }
}

struct End {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    received: Vec<usize>,
    /// How much the application takes out of the association, all unless said otherwise.
    reads: bool,
}

struct World {
    start: Instant,
    now: Instant,
    ends: [End; 2],
    paths: [Path; 2],
    arrivals: BinaryHeap<Reverse<(Instant, u64, usize, Bytes)>>,
    packets: u64,
    random: Random,
}

fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5000 + end as u16))
}

impl World {
    /// Two ends with stream 0 open between them, `links[0]` from the caller to the called.
    fn new(links: [Link; 2], seed: u64) -> Self {
        Self::with_window(links, seed, 1 << 20)
    }

    /// The same where each end takes `window` bytes that the application has not read.
    fn with_window(links: [Link; 2], seed: u64, window: u32) -> Self {
        let start = Instant::now();
        let transport = || {
            Arc::new(
                TransportConfig::default()
                    .with_max_message_size(1 << 20)
                    .with_max_receive_buffer_size(window),
            )
        };
        let mut server = ServerConfig::default();
        server.transport = transport();
        let config = Arc::new(EndpointConfig::default());
        let mut caller = Endpoint::new(address(0), TransportProtocol::UDP, config.clone(), None);
        let called = Endpoint::new(
            address(1),
            TransportProtocol::UDP,
            config,
            Some(Arc::new(server)),
        );
        let association = caller
            .connect(
                start,
                ClientConfig {
                    transport: transport(),
                },
                address(1),
            )
            .expect("connect");
        let end = |endpoint, association| End {
            endpoint,
            association,
            received: Vec::new(),
            reads: true,
        };
        let quiet = Link {
            loss: 0.0,
            capacity: usize::MAX,
            ..links[0]
        };
        let mut world = Self {
            start,
            now: start,
            ends: [end(caller, Some(association)), end(called, None)],
            paths: [
                Path::new(quiet, start),
                Path::new(Link { loss: 0.0, ..quiet }, start),
            ],
            arrivals: BinaryHeap::new(),
            packets: 0,
            random: Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        };
        world.run(Duration::from_secs(5), |world| {
            world.ends.iter().all(|end| {
                end.association
                    .as_ref()
                    .is_some_and(|(_, a)| !a.is_handshaking())
            })
        });
        for end in 0..2 {
            world
                .association(end)
                .open_stream(0, PPI)
                .expect("open a stream");
        }
        for (path, link) in world.paths.iter_mut().zip(links) {
            path.link = link;
        }
        world
    }

    fn association(&mut self, end: usize) -> &mut Association {
        &mut self.ends[end]
            .association
            .as_mut()
            .expect("an association")
            .1
    }

    fn write(&mut self, end: usize, bytes: usize) {
        let now = self.now;
        let message = Bytes::from(vec![7; bytes]);
        self.association(end)
            .stream(0)
            .and_then(|mut s| s.write_chunk_with_ppi(now, &message, PPI))
            .expect("write");
    }

    fn received(&self, end: usize) -> usize {
        self.ends[end].received.iter().sum()
    }

    fn drops(&self) -> usize {
        self.paths.iter().map(|path| path.dropped).sum()
    }

    /// Sends what there is to send, as the peer connection does: until there is no more.
    fn flush(&mut self, end: usize) {
        let now = self.now;
        let Some((_, association)) = &mut self.ends[end].association else {
            return;
        };
        let mut packets = Vec::new();
        while let Some(transmit) = association.poll_transmit(now) {
            if let Payload::RawEncode(contents) = transmit.message {
                packets.extend(contents);
            }
        }
        for packet in packets {
            if let Some(at) = self.paths[end].carry(now, &packet, &mut self.random) {
                self.packets += 1;
                self.arrivals
                    .push(Reverse((at, self.packets, 1 - end, packet)));
            }
        }
    }

    fn take(&mut self, end: usize) {
        let End {
            association,
            received,
            reads,
            ..
        } = &mut self.ends[end];
        let Some((_, association)) = association else {
            return;
        };
        while let Some(event) = association.poll() {
            assert!(
                !matches!(event, Event::AssociationLost { .. }),
                "lost: {event:?}"
            );
            let _ = matches!(event, Event::Stream(StreamEvent::Readable { .. }));
        }
        if !*reads {
            return;
        }
        if let Ok(mut stream) = association.stream(0) {
            while let Ok(Some(chunks)) = stream.read_sctp() {
                received.push(chunks.len());
            }
        }
    }

    /// Goes on until `done` or until `limit` is over. Says how long it took.
    fn run(&mut self, limit: Duration, done: impl Fn(&World) -> bool) -> Option<Duration> {
        let (from, until) = (self.now, self.now + limit);
        loop {
            for end in 0..2 {
                self.take(end);
                self.flush(end);
            }
            if done(self) {
                return Some(self.now - from);
            }
            let timers = self
                .ends
                .iter()
                .filter_map(|end| end.association.as_ref()?.1.poll_timeout());
            let next = timers
                .chain(self.arrivals.peek().map(|Reverse((at, ..))| *at))
                .min();
            let next = next.filter(|next| *next <= until)?;
            self.now = self.now.max(next);
            while self
                .arrivals
                .peek()
                .is_some_and(|Reverse((at, ..))| *at <= self.now)
            {
                let Some(Reverse((_, _, end, packet))) = self.arrivals.pop() else {
                    break;
                };
                self.arrive(end, packet);
            }
            let now = self.now;
            for end in &mut self.ends {
                if let Some((_, association)) = &mut end.association
                    && association.poll_timeout().is_some_and(|at| at <= now)
                {
                    association.handle_timeout(now);
                }
            }
        }
    }

    fn arrive(&mut self, end: usize, packet: Bytes) {
        let now = self.now;
        let remote = address(1 - end);
        let End {
            endpoint,
            association,
            ..
        } = &mut self.ends[end];
        match endpoint.handle(now, remote, None, packet) {
            Some((handle, DatagramEvent::NewAssociation(new))) => {
                *association = Some((handle, new))
            }
            Some((_, DatagramEvent::AssociationEvent(event))) => {
                if let Some((_, association)) = association {
                    association.handle_event(event);
                }
            }
            _ => {}
        }
    }
}

/// A browser's socket on the same machine: 110 KiB, emptied by a busy thread.
const SMALL_BUFFER: Link = Link {
    capacity: 110 << 10,
    rate: 40_000_000,
    ..LAN
};

#[test]
fn bursts_beyond_a_small_buffer_arrive_soon() {
    for seed in 1..=20 {
        let mut world = World::new([SMALL_BUFFER, LAN], seed);
        for _ in 0..50 {
            world.write(0, 64 << 10);
        }
        let took = world.run(Duration::from_secs(60), |world| {
            world.received(1) == 50 * (64 << 10)
        });
        println!("seed {seed}: {took:?}, {} dropped", world.drops());
        assert!(world.drops() > 0);
        assert!(
            took.is_some_and(|took| took < Duration::from_secs(2)),
            "seed {seed}: {took:?}"
        );
    }
}

#[test]
fn bursts_both_ways_do_not_hold_each_other_up() {
    for seed in 1..=20 {
        let mut world = World::new([SMALL_BUFFER, SMALL_BUFFER], seed);
        for _ in 0..50 {
            world.write(0, 64 << 10);
            world.write(1, 64 << 10);
        }
        let all = 50 * (64 << 10);
        let took = world.run(Duration::from_secs(60), |world| {
            world.received(0) == all && world.received(1) == all
        });
        println!("seed {seed}: {took:?}, {} dropped", world.drops());
        assert!(
            took.is_some_and(|took| took < Duration::from_secs(3)),
            "seed {seed}: {took:?}"
        );
    }
}

#[test]
fn random_losses_cost_rate_and_not_seconds() {
    let link = Link {
        delay: Duration::from_millis(5),
        rate: 50_000_000,
        ..LAN
    };
    for (loss, limit) in [(0.01, 2), (0.05, 5), (0.1, 20)] {
        for seed in 1..=10 {
            let mut world = World::new([Link { loss, ..link }, Link { loss, ..link }], seed);
            for _ in 0..64 {
                world.write(0, 16 << 10);
            }
            let took = world.run(Duration::from_secs(120), |world| {
                world.received(1) == 64 * (16 << 10)
            });
            println!(
                "loss {loss}, seed {seed}: {took:?}, {} dropped",
                world.drops()
            );
            assert!(
                took.is_some_and(|took| took < Duration::from_secs(limit)),
                "{took:?}"
            );
        }
    }
}

#[test]
fn a_path_that_was_gone_for_half_a_minute_carries_again_soon() {
    let mut world = World::new([LAN, LAN], 1);
    for _ in 0..16 {
        world.write(0, 64 << 10);
    }
    world.paths[0].link.loss = 1.0;
    let took = world.run(Duration::from_secs(30), |world| {
        world.received(1) == 16 * (64 << 10)
    });
    assert_eq!(took, None);
    world.paths[0].link.loss = 0.0;
    let took = world.run(Duration::from_secs(60), |world| {
        world.received(1) == 16 * (64 << 10)
    });
    assert!(
        took.is_some_and(|took| took < Duration::from_secs(5)),
        "{took:?}"
    );
    assert!(world.now - world.start > Duration::from_secs(30));
}

#[test]
fn a_path_that_was_gone_for_minutes_carries_again() {
    let mut world = World::new([LAN, LAN], 1);
    world.write(0, 1 << 10);
    world.paths[0].link.loss = 1.0;
    world.run(Duration::from_secs(600), |_| false);
    world.now = world.now.max(world.start + Duration::from_secs(600));
    world.paths[0].link.loss = 0.0;
    let took = world.run(Duration::from_secs(60), |world| {
        world.received(1) == 1 << 10
    });
    assert!(
        took.is_some_and(|took| took < Duration::from_secs(5)),
        "{took:?}"
    );
}

#[test]
fn a_lost_last_packet_costs_less_than_a_second() {
    let mut world = World::new([LAN, LAN], 1);
    world.write(0, 100);
    world.run(Duration::from_secs(5), |world| world.received(1) == 100);
    world.run(Duration::from_secs(5), |_| false);
    world.paths[0].doom = 1;
    world.write(0, 100);
    let took = world.run(Duration::from_secs(5), |world| world.received(1) == 200);
    assert_eq!(world.drops(), 1);
    assert!(
        took.is_some_and(|took| took < Duration::from_millis(700)),
        "{took:?}"
    );
}

#[test]
fn a_packet_lost_twice_does_not_wait_for_the_timer_while_others_arrive() {
    let link = Link {
        delay: Duration::from_millis(5),
        ..LAN
    };
    let mut world = World::with_window([link; 2], 1, 8 << 20);
    for _ in 0..1000 {
        world.write(0, 16 << 10);
    }
    // Let the window grow, then lose one packet, and what is sent again of it.
    world.run(Duration::from_secs(5), |world| {
        world.received(1) > 100 * (16 << 10)
    });
    let before = world.now;
    world.paths[0].doom = 2;
    let took = world.run(Duration::from_secs(5), |world| {
        world.received(1) == 1000 * (16 << 10)
    });
    assert_eq!(world.drops(), 2);
    assert!(
        took.is_some() && world.now - before < Duration::from_millis(390),
        "{:?}",
        world.now - before
    );
}

#[test]
fn a_reader_that_wakes_up_is_heard_at_once() {
    let mut world = World::new([LAN, LAN], 1);
    world.ends[1].reads = false;
    for _ in 0..64 {
        world.write(0, 64 << 10);
    }
    world.run(Duration::from_secs(5), |_| false);
    assert_eq!(world.received(1), 0);
    world.ends[1].reads = true;
    let took = world.run(Duration::from_secs(60), |world| {
        world.received(1) == 64 * (64 << 10)
    });
    assert!(
        took.is_some_and(|took| took < Duration::from_millis(500)),
        "{took:?}"
    );
}

#[test]
fn an_acknowledgement_goes_with_the_answer() {
    const ROUNDS: usize = 50;
    let mut world = World::new([LAN, LAN], 1);
    // What was said to come up is acknowledged.
    world.run(Duration::from_secs(1), |_| false);
    let before = world.packets;
    for round in 1..=ROUNDS {
        for end in [0, 1] {
            world.write(end, 100);
            world
                .run(Duration::from_millis(100), |world| {
                    world.received(1 - end) == round * 100
                })
                .expect("it arrives");
        }
    }
    assert_eq!(world.packets - before, 2 * ROUNDS as u64);
    // Nothing is open but the last one.
    world.run(Duration::from_secs(1), |_| false);
    for end in [0, 1] {
        assert_eq!(
            world
                .association(end)
                .stream(0)
                .unwrap()
                .buffered_amount()
                .unwrap(),
            0
        );
    }
}
