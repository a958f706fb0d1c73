//! Evidence in the JSON of KBS clients.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(untrusted::entry("kbs_evidence"), bytes));
