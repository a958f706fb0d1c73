//! TPM structures: quotes, signatures, public areas.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::evidence::quote, bytes));
