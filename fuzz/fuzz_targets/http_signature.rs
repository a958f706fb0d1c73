//! The headers of a signed read: path, `signature-input`, `signature`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::documents::http_signature, bytes));
