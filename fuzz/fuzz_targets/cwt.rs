//! EAR in CWT: as they come, and as claims that a trusted key signed.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::evidence::cwt, bytes));
