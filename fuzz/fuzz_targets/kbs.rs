//! Bodies of the KBS protocol.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::documents::kbs, bytes));
