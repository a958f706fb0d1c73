//! Evidence documents as they travel.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = envelope::canonical::from_slice_loose::<attest::Evidence>(bytes);
    let _ = envelope::canonical::from_slice_loose::<attest::AppraisalPolicy>(bytes);
});
