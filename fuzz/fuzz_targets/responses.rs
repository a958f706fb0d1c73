//! Answers of a broker that parties and workers read.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::documents::responses, bytes));
