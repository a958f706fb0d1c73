//! The headers of a signed read: path, `signature-input`, `signature`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(untrusted::entry("http_signature"), bytes));
