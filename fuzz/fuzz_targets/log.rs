//! Checkpoints, proofs, entry bundles and keys of a log.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = tlog::LogKey::try_from(text.to_owned());
        let _ = tlog::WitnessKey::try_from(text.to_owned());
    }
    let _ = tlog::LogProof::parse(bytes);
    let _ = tlog::decode_bundle(bytes, 256);
    let _ = tlog::SignedCheckpoint::from_bytes(bytes);
});
