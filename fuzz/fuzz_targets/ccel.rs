//! Event logs of confidential machines, both forms: parsed, replayed, checked, told.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::evidence::ccel, bytes));
