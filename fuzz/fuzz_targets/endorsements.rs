//! Objects of makers' services as they come, and files of many of them, which are imported.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::documents::endorsements, bytes));
