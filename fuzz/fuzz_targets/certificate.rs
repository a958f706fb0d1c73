//! Certificates, chains and revocation lists, in DER and PEM.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| glovebox_fuzz::run(hostile::evidence::certificate, bytes));
