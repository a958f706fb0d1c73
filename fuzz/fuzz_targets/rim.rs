//! Manifests of Reference Values: XML, canonical form, signature, content.
#![no_main]

use attest::nvidia::{Rim, Statements};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let anchors = attest::roots::Authority::NvidiaRim.anchors();
    // A time at which the signers of the seeds are certified, so that the input gets past them.
    let now = jiff::Timestamp::from_second(1_780_272_000).unwrap();
    let _ = Rim::verify(bytes, &anchors, &Statements::default(), now);
});
