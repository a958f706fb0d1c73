//! COSE messages and keys, and with them CBOR in its strict reading.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::evidence::cose, bytes));
