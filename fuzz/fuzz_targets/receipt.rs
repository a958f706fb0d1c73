//! Receipt files: parsed, then verified.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(receipt) = receipt::Receipt::parse(bytes) {
        let _ = receipt::verify(&receipt, &receipt::Anchors::default(), None);
    }
});
