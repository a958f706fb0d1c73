//! Requests that a broker reads.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    use wire::messages::{EnrolProof, EvidenceRequest, Finished, ReleaseRequest, RenewRequest};
    let _ = envelope::canonical::from_slice_loose::<EnrolProof>(bytes);
    let _ = envelope::canonical::from_slice_loose::<EvidenceRequest>(bytes);
    let _ = envelope::canonical::from_slice_loose::<ReleaseRequest>(bytes);
    let _ = envelope::canonical::from_slice_loose::<RenewRequest>(bytes);
    let _ = envelope::canonical::from_slice_loose::<Finished>(bytes);
});
