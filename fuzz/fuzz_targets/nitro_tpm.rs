//! Documents of NitroTPM, with a quote.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::nitro_tpm, bytes));
