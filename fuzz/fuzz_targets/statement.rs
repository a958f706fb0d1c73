//! Envelopes and the statements inside, of every kind that a broker reads.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    use agreement::documents::{Consent, Deposit, Manifest, Offer, Proposal, Revocation, Rotation, Run};
    use envelope::statement::{Addressed, Envelope, Signed};
    let Ok(envelope) = envelope::canonical::from_slice_loose::<Envelope>(bytes) else { return };
    let _ = Signed::<Manifest>::open(&envelope);
    let _ = Signed::<Addressed<Proposal>>::open(&envelope);
    let _ = Signed::<Addressed<Consent>>::open(&envelope);
    let _ = Signed::<Addressed<Deposit>>::open(&envelope);
    let _ = Signed::<Addressed<Offer>>::open(&envelope);
    let _ = Signed::<Addressed<Revocation>>::open(&envelope);
    let _ = Signed::<Addressed<Rotation>>::open(&envelope);
    let _ = Signed::<Addressed<Run>>::open(&envelope);
});
