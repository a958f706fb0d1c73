//! CoRIMs, bare and signed, and with them CBOR in its lenient reading.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::evidence::corim, bytes));
