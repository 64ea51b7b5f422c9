//! A client of the TURN server, with credentials and without: nothing it sends may reach what is refused, make an
//! amplifier of us, or panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linkup_broker::turn_fuzzing::Client;
use linkup_fuzz::steps;

fuzz_target!(|data: &[u8]| {
    let Ok(mut client) = Client::new() else { return };
    for ([kind, _], step) in steps(data) {
        match (kind % 5, step) {
            (0, packet) => client.packet(packet),
            (1, [method, attributes @ ..]) => client.signed(*method % 16, attributes),
            (2, [a, b, c, d, p1, p2, data @ ..]) => client.peer([*a, *b, *c, *d], u16::from_be_bytes([*p1, *p2]), data),
            (3, [seconds, ..]) => client.wait(*seconds),
            (_, bytes) => client.stream(bytes),
        }
    }
});
