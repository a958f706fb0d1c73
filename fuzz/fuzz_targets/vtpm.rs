//! A quote with all that goes with it, under a key by itself and under one that Google certified.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::evidence::vtpm, bytes));
