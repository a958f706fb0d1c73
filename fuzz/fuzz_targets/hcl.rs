//! Azure's report: parsed, its binding held, a quote checked under its key, and examined whole.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::hcl, bytes));
