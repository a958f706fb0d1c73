//! Evidence in the JSON of KBS clients.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::documents::kbs_evidence, bytes));
