//! TPM structures: quotes, signatures, public areas.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = attest::tpm::Quote::parse(bytes);
    let _ = attest::tpm::Signature::parse(bytes);
    let _ = attest::tpm::TpmPublic::parse(bytes);
});
