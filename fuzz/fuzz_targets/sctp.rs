//! A remote that has an association with us, and our secrets, and sends whatever it likes: nothing may panic, hang, or make us
//! hold more than the window.
#![no_main]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use linkup_fuzz::steps;
use rtc_sctp::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Payload,
    PayloadProtocolIdentifier, ServerConfig, TransportConfig,
};
use rtc_shared::TransportProtocol;

/// Bytes of the common header (RFC 9260, section 3.1), and where an INIT has its tag and its first TSN (3.3.2).
const HEADER: usize = 12;
const TAG: usize = 16;
const TSN: usize = 28;

fn address(end: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5000 + end as u16))
}

struct End {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
}

impl End {
    fn arrive(&mut self, now: Instant, from: usize, packet: Bytes) {
        match self.endpoint.handle(now, address(from), None, packet) {
            Some((handle, DatagramEvent::NewAssociation(new))) => self.association = Some((handle, new)),
            Some((_, DatagramEvent::AssociationEvent(event))) => {
                if let Some((_, association)) = &mut self.association {
                    association.handle_event(event);
                }
            }
            _ => {}
        }
    }

    fn packets(&mut self, now: Instant) -> Vec<Bytes> {
        let mut packets = Vec::new();
        let Some((_, association)) = &mut self.association else { return packets };
        while association.poll().is_some() {}
        while let Some(transmit) = association.poll_transmit(now) {
            if let Payload::RawEncode(contents) = transmit.message {
                packets.extend(contents);
            }
        }
        packets
    }

    fn wait(&mut self, now: Instant) {
        let Some((_, association)) = &mut self.association else { return };
        if association.poll_timeout().is_some_and(|at| at <= now) {
            association.handle_timeout(now);
        }
    }
}

fn number(packet: &[u8], at: usize) -> Option<u32> {
    packet.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// The ends, the caller's tag, and the first TSNs of both.
fn associated(now: Instant) -> Option<([End; 2], u32, [u32; 2])> {
    let transport = || Arc::new(TransportConfig::default().with_max_receive_buffer_size(1 << 16));
    let mut server = ServerConfig::default();
    server.transport = transport();
    let config = Arc::new(EndpointConfig::default());
    let mut caller = Endpoint::new(address(0), TransportProtocol::UDP, config.clone(), None);
    let called = Endpoint::new(address(1), TransportProtocol::UDP, config, Some(Arc::new(server)));
    let association = caller.connect(now, ClientConfig { transport: transport() }, address(1)).ok()?;
    let mut ends =
        [End { endpoint: caller, association: Some(association) }, End { endpoint: called, association: None }];
    let (mut tag, mut tsns) = (None, [None; 2]);
    for turn in 0..6 {
        let from = turn % 2;
        for packet in ends[from].packets(now) {
            if tsns[from].is_none() {
                tsns[from] = number(&packet, TSN);
                tag = tag.or(number(&packet, TAG));
            }
            ends[1 - from].arrive(now, from, packet);
        }
    }
    ends[0].association.as_mut()?.1.open_stream(0, PayloadProtocolIdentifier::Binary).ok()?;
    Some((ends, tag?, [tsns[0]?, tsns[1]?]))
}

/// A packet of the called side.
fn packet(tag: u32, chunks: &[u8]) -> Bytes {
    let mut packet = Vec::with_capacity(HEADER + chunks.len());
    packet.extend([0x13, 0x88, 0x13, 0x88]);
    packet.extend(tag.to_be_bytes());
    packet.extend([0; 4]);
    packet.extend(chunks);
    let checksum = crc32c::crc32c(&packet);
    packet[8..HEADER].copy_from_slice(&checksum.to_le_bytes());
    packet.into()
}

fn chunk(kind: u8, flags: u8, value: &[u8]) -> Vec<u8> {
    let mut chunk = vec![kind, flags];
    chunk.extend((4 + value.len() as u16).to_be_bytes());
    chunk.extend(value);
    chunk.resize(chunk.len().next_multiple_of(4), 0);
    chunk
}

fuzz_target!(|data: &[u8]| {
    let mut now = Instant::now();
    let Some((mut ends, tag, tsns)) = associated(now) else { panic!("no association") };
    // The TSN that is so far from the first one of an end.
    let near = |end: usize, offset: &u8| tsns[end].wrapping_add(*offset as i8 as u32).to_be_bytes();
    for ([kind, _], step) in steps(data) {
        let chunks = match (kind % 8, step) {
            (0, raw) => raw.to_vec(),
            (1, [kind, flags, value @ ..]) => chunk(*kind, *flags, value),
            // Numbers that make sense, more or less: DATA, SACK, FORWARD-TSN.
            (2, [flags, offset, stream, sequence, data @ ..]) => {
                let stream = [0, *stream, 0, *sequence, 0, 0, 0, 53];
                chunk(0, *flags, &[&near(1, offset), &stream[..], data].concat())
            }
            (3, [offset, gaps, duplicates, more @ ..]) => {
                chunk(3, 0, &[&near(0, offset)[..], &[0, 1, 0, 0, 0, *gaps, 0, *duplicates], more].concat())
            }
            (4, [offset, streams @ ..]) => chunk(192, 0, &[&near(1, offset), streams].concat()),
            (5, [hundredths, ..]) => {
                now += Duration::from_millis(10 * u64::from(*hundredths));
                ends.iter_mut().for_each(|end| end.wait(now));
                Vec::new()
            }
            (6, [length, ..]) => {
                if let Some((_, association)) = &mut ends[0].association
                    && let Ok(mut stream) = association.stream(0)
                {
                    let message = Bytes::from(vec![7; 16 * usize::from(*length)]);
                    let _ = stream.write_chunk_with_ppi(now, &message, PayloadProtocolIdentifier::Binary);
                    while let Ok(Some(_)) = stream.read_sctp() {}
                }
                Vec::new()
            }
            _ => {
                for packet in ends[1].packets(now) {
                    ends[0].arrive(now, 1, packet);
                }
                Vec::new()
            }
        };
        if !chunks.is_empty() {
            ends[0].arrive(now, 1, packet(tag, &chunks));
        }
        for packet in ends[0].packets(now) {
            ends[1].arrive(now, 0, packet);
        }
    }
});
