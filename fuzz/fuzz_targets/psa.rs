//! Arm PSA: a token under the key beside it; and claims that are signed here.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::psa, bytes));
