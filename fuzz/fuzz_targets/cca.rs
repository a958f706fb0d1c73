//! Arm CCA: a token under the key beside it; and claims of platform and realm, each signed here.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::cca, bytes));
