//! Checkpoints, proofs, entry bundles and keys of a log.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::documents::log, bytes));
