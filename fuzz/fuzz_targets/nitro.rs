//! Documents of Nitro Enclaves.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::nitro, bytes));
