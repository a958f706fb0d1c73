//! Azure's reports with a quote, and the Endorsements of either processor.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::azure, bytes));
