//! Quotes of SGX and TDX with all that comes beside them, as it comes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::intel, bytes));
