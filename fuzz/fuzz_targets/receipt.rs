//! Receipt files: parsed, then verified.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(untrusted::entry("receipt"), bytes));
