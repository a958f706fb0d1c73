//! Public keys: SubjectPublicKeyInfo, PEM, JWK, COSE_Key, points.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::evidence::keys, bytes));
