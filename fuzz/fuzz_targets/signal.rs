//! Signals of remote peers: what parses is written as something that parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use linkup_proto::signal::{Body, Signal};

fuzz_target!(|text: &str| {
    let Ok(signal) = Signal::parse(text) else { return };
    // What is of no use here is not written again.
    if signal.body == Body::Ignored {
        return;
    }
    let written = signal.to_text();
    assert_eq!(Signal::parse(&written).as_ref(), Ok(&signal), "{written}");
});
