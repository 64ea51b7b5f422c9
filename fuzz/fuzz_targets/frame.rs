//! Frames of the data channel: what decodes encodes to the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linkup_proto::frame::Frame;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(frame) = Frame::decode(bytes) {
        assert_eq!(frame.encode(), bytes);
    }
});
