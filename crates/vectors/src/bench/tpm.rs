//! Quotes of TPMs by keys on P-256: a worker's Evidence as the broker appraises it, forged; and what real TPMs quoted, with their whole event logs,
//! signed anew by a key on P-256, since the real ones' keys are RSA.

use attest::{
    AppraisalPolicy, Endorsements, Evidence, Verifier,
    binding::{Binding, Purpose},
    events::Event,
    platform::PlatformPolicy,
    tpm::{EnrolledAk, Enrolment, PublicKey, examine},
};
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use envelope::{Digest, statement::Signed};
use jiff::Timestamp;
use testkit::Room;

use super::{Subject, Subjects, accepted, appraise, policy};
use crate::{Case, Folder, kinds::quotes::QuoteFiles};

pub(super) fn subjects(folder: &Folder) -> Subjects {
    let mut subjects: Vec<Box<dyn Subject>> = vec![Box::new(Worker::forged()?)];
    for case in accepted(folder, "tpm-quote") {
        subjects.extend(Quote::of(case)?.map(|quote| Box::new(quote) as Box<dyn Subject>));
    }
    Ok(subjects)
}

/// A worker that asks for the keys of its hundredth run.
struct Worker {
    evidence: Evidence,
    endorsements: Endorsements,
    binding: Binding,
    policy: AppraisalPolicy,
    now: Timestamp,
}

impl Worker {
    fn forged() -> Result<Worker, String> {
        let mut room = Room::new();
        let (salt, run) = ([2; 32], Digest::of(b"the hundredth run"));
        for earlier in 1..100_u8 {
            room.worker_machine.log.append(&Event::run(&[1; 32], &Digest::of(&[earlier])));
        }
        room.worker_machine.log.append(&Event::run(&salt, &run));
        let parts = room.binding(Purpose::WorkerRelease { agreement: Digest::of(b"an agreement"), run });
        let (reset_count, restart_count) = room.worker_machine.counts;
        let keys = room.worker_machine.claim().clone();
        let enrolment = Signed::sign(Enrolment { keys, reset_count, restart_count }, &room.broker)
            .map_err(|error| error.to_string())?;
        let enrolled = EnrolledAk::vouched(&enrolment, &room.broker.public()).map_err(|error| error.to_string())?;
        Ok(Worker {
            evidence: Evidence::Tpm(room.worker_machine.evidence(&parts, Some(salt))),
            endorsements: Endorsements::tpm(enrolled),
            binding: parts.bind(),
            policy: room.authority.policy(&room.worker_machine),
            now: testkit::now(),
        })
    }
}

impl Subject for Worker {
    fn ours(&self) -> Result<(), String> {
        let Worker { evidence, endorsements, binding, policy, now } = self;
        let appraised = Verifier::appraise(evidence, endorsements, binding, policy, *now);
        appraised.map(drop).map_err(|error| error.to_string())
    }
}

/// What a real TPM quoted.
struct Quote {
    files: QuoteFiles,
    key: PublicKey,
    now: Timestamp,
    bound: Vec<u8>,
    policy: PlatformPolicy,
}

impl Quote {
    /// `None` where the quote answers no nonce or covers no register: such a one is examined and never appraised.
    fn of(case: &Case) -> Result<Option<Quote>, String> {
        let mut files = QuoteFiles::read(case, "")?.ok_or("the case has no quote")?;
        let fault = |_| "a quote cannot be signed".to_owned();
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(fault)?;
        files.signature = pair.sign(&SystemRandom::new(), &files.message).map_err(fault)?.as_ref().to_vec();
        let spki = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).map_err(fault)?;
        let key = PublicKey::from_spki(spki.as_ref()).ok_or("the key on P-256 is not one")?;
        let now = case.now();
        let genuine = examine(&files.evidence(), &key, now).map_err(|error| format!("{}: {error}", case.id))?;
        let (bound, policy) = (genuine.bound().to_vec(), policy(&genuine));
        Ok((!bound.is_empty() && !policy.measurements.is_empty()).then_some(Quote { files, key, now, bound, policy }))
    }
}

impl Subject for Quote {
    fn ours(&self) -> Result<(), String> {
        let genuine = examine(&self.files.evidence(), &self.key, self.now).map_err(|error| error.to_string())?;
        appraise(genuine, &self.bound, &self.policy)
    }
}
