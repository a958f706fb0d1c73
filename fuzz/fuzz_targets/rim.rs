//! Manifests of Reference Values: XML, canonical form, signature, content.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::makers::rim, bytes));
