//! IMA's measurement lists: parsed, replayed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::evidence::ima, bytes));
