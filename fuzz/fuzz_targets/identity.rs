//! Identities, digests and keys as people paste them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::documents::identity, bytes));
