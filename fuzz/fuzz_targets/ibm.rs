//! IBM's host-key documents, under the anchor that comes with them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::ibm, bytes));
