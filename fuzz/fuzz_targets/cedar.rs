//! Owners' conditions in Cedar.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::documents::cedar, bytes));
