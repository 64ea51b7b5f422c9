//! What clients send to a broker, and a broker to its clients.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linkup_proto::broker::{Frame, FromBroker};

fuzz_target!(|text: &str| {
    if let Ok(frame) = Frame::parse(text) {
        let written = frame.to_text();
        assert_eq!(Frame::parse(&written).as_ref(), Ok(&frame), "{written}");
    }
    let _ = FromBroker::parse(text);
});
