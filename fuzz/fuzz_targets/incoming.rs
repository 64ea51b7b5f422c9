//! A hostile remote on an open data channel: any sequence of frames, with pauses, read by a slow application.
//!
//! The input is a list of steps: a byte that says what, a byte for the length of a frame (or the pause), the frame.
#![no_main]

use std::time::{Duration, Instant};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use linkup_core::wire::{Arrival, Budget, Incoming, Ledger};
use linkup_fuzz::steps;
use linkup_proto::frame::MIN_WINDOW;

const MESSAGE_BYTES: usize = 10_000;

fuzz_target!(|input: &[u8]| {
    let mut incoming = Incoming::new(MIN_WINDOW, MESSAGE_BYTES, Budget::new(2 * MESSAGE_BYTES));
    let mut ledger = Ledger::new(MIN_WINDOW);
    let mut now = Instant::now();
    let mut unread = Vec::new();
    for ([what, length], frame) in steps(input) {
        let arrival = match what % 4 {
            0 | 1 => incoming.handle_frame(now, Bytes::copy_from_slice(frame)),
            2 => incoming.handle_text(now, String::from_utf8_lossy(frame).into_owned()),
            _ => {
                now += Duration::from_millis(u64::from(length) * 100);
                if let Some((_, receipt)) = unread.pop() {
                    incoming.handed(now, &receipt);
                }
                if incoming.handle_timeout(now).is_err() {
                    return;
                }
                let _ = incoming.poll_ack(now);
                continue;
            }
        };
        match arrival {
            Ok(Arrival::Message(message, receipt)) => {
                assert!(message.len() <= MESSAGE_BYTES);
                unread.push((message, receipt));
            }
            Ok(Arrival::Bundle(messages)) => {
                assert!(messages.iter().all(|(message, _)| message.len() <= MESSAGE_BYTES));
                unread.extend(messages);
            }
            Ok(Arrival::Ack { received, handed }) => {
                if ledger.handle_ack(received, handed).is_err() {
                    return;
                }
            }
            Ok(_) => {}
            Err(_) => return,
        }
        let kept: usize = unread.iter().map(|(message, _)| message.len()).sum();
        assert!(kept as u64 <= MIN_WINDOW + MESSAGE_BYTES as u64, "{kept} bytes are kept");
    }
});
