//! Identities, digests and keys as people paste them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<agreement::documents::Identity>();
        let _ = text.parse::<envelope::Digest>();
        let _ = text.parse::<envelope::PublicKey>();
    }
});
