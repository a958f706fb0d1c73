//! Receipts that are wrong in one thing: each is refused at the step, and for the reason, that the specification names.
//!
//! The first table tells the story wrongly at one moment and correctly from there on, with everything signed and logged by
//! whoever should; the second takes a good receipt and changes it afterwards, as somebody would who holds the file.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use agreement::{in_force::NotInForce, offers::Clause, permit::RunRefusal, shape::ShapeError, sources::VersionFault};
use attest::{AppraisalError, Evidence, binding::Purpose};
use common::{Found, failure, found};
use envelope::{Digest, statement::StatementError, text::Bytes32};
use jiff::SignedDuration;
use receipt::{Anchors, GroundsError, Reason, Receipt, verify};
use testkit::{Room, Slot, Twists};
use tlog::{LogSigner, TlogError};

#[test]
fn a_receipt_in_which_everything_is_right_verifies() {
    let mut room = Room::new();
    let receipt = room.receipt();
    let anchors = Anchors {
        agreement: Some(receipt.grounds.agreement.digest().unwrap()),
        parties: vec![room.hospital.identity.clone(), room.registry.identity.clone()],
    };
    let bytes = receipt.to_bytes().unwrap();
    let read = Receipt::parse(&bytes).unwrap();
    assert_eq!(read, receipt);
    let verified = verify(&read, &anchors, Some(&room.output())).unwrap();
    let steps: Vec<_> = verified.steps().iter().map(|step| (step.number, step.name)).collect();
    let names = [
        "agreement",
        "parties",
        "release statement",
        "grounds",
        "enrolment",
        "evidence",
        "release",
        "result",
        "rules",
        "output",
        "auditors",
    ];
    assert_eq!(steps, (1..).zip(names).collect::<Vec<_>>());
    assert_eq!(verified.rollback(), tlog::Rollback::NotWitnessed);
    let grounds = &verified.steps()[3].words;
    assert!(grounds.starts_with("2 consents and 1 offers") && grounds.contains("rollback: not witnessed"), "{grounds}");
    verify(&read, &Anchors::default(), None).unwrap();
}

/// A story that goes wrong at one moment.
macro_rules! told {
    ($($name:ident: $number:literal $step:literal, $at:ident = $twist:expr => $reason:pat,)*) => {$(
        #[test]
        fn $name() {
            let mut room = Room::new();
            let receipt = room.twisted(&Twists { $at: $twist, ..Twists::default() });
            let failure = failure(&receipt, &Anchors::default(), Some(&room.output()));
            assert_eq!((failure.number, failure.name), ($number, $step), "{failure:?}");
            let found = found(&failure);
            assert!(matches!(found, $reason), "{found:?}");
        }
    )*};
}

told! {
    // Manifests.
    a_manifest_signed_by_a_stranger: 4 "grounds",
        manifests = |room, said| said[0].1 = room.stranger.signing.clone()
        => Found::NotInForce(NotInForce::ManifestSigner { .. }),
    a_manifest_of_a_series_signed_by_another_party: 4 "grounds",
        manifests = |room, said| said[1].1 = room.hospital.signing.clone()
        => Found::NotInForce(NotInForce::ManifestSigner { .. }),
    a_manifest_for_another_broker: 4 "grounds",
        manifests = |room, said| said[1].0.broker = room.stranger.signing.public()
        => Found::NotInForce(NotInForce::ManifestBroker { .. }),
    a_manifest_of_another_version: 4 "grounds",
        manifests = |_, said| said[0].0.version = 2
        => Found::NotInForce(NotInForce::ManifestMissing { .. }),
    a_manifest_of_another_series: 4 "grounds",
        manifests = |_, said| said[1].0.name = "others".to_owned()
        => Found::NotInForce(NotInForce::ManifestMissing { .. }),
    a_manifest_that_is_missing: 4 "grounds",
        manifests = |_, said| { said.pop(); }
        => Found::NotInForce(NotInForce::ManifestMissing { .. }),

    // The agreement.
    an_agreement_with_another_broker: 3 "release statement",
        agreement = |room, agreement| agreement.broker.key = room.stranger.signing.public()
        => Found::Statement("release", StatementError::Signer { .. }),
    an_agreement_with_another_log: 4 "grounds",
        agreement = |_, agreement| agreement.broker.log = other_log("glovebox.example/log").key().to_string()
        => Found::Checkpoint(TlogError::NotSignedByLog(_)),
    an_agreement_that_asks_for_witnesses: 4 "grounds",
        agreement = |_, agreement| {
            let witness = tlog::WitnessSigner::new("witness.example", ed25519(40)).unwrap();
            agreement.witnesses.required = 1;
            agreement.witnesses.keys = vec![witness.key().to_string()];
        }
        => Found::Checkpoint(TlogError::TooFewWitnesses { needed: 1, found: 0 }),
    an_agreement_with_another_worker_policy: 6 "evidence",
        agreement = |room, agreement| agreement.workers = room.broker_policy()
        => Found::Appraisal(AppraisalError::EndorsementKeyNotListed(_)),
    an_agreement_over_a_hidden_column: 4 "grounds",
        agreement = |_, agreement| {
            let computation = agreement.computations.get_mut("by-arm").unwrap();
            computation.columns.get_mut("admissions").unwrap().insert("name".to_owned());
        }
        => Found::NotInForce(NotInForce::Column { .. }),
    an_agreement_that_replaces_one_is_no_match_for_an_offer: 4 "grounds",
        agreement = |_, agreement| agreement.predecessor = Some(Digest::of(b"an older one"))
        => Found::Clause("registry", Clause::Predecessor),

    // Consents.
    a_consent_to_another_agreement: 4 "grounds",
        consents = |_, _, said| said[0].0.body.agreement = Digest::of(b"another")
        => Found::Missing("hospital"),
    a_consent_to_another_broker: 4 "grounds",
        consents = |room, _, said| said[0].0.audience = room.stranger.signing.public()
        => Found::Missing("hospital"),
    a_consent_by_a_stranger_in_place_of_a_party: 4 "grounds",
        consents = |room, _, said| said[1].1 = room.stranger.signing.clone()
        => Found::Missing("university"),
    a_consent_by_another_party_in_place_of_one: 4 "grounds",
        consents = |room, _, said| said[1].1 = room.hospital.signing.clone()
        => Found::Missing("university"),
    a_consent_that_is_missing: 4 "grounds",
        consents = |_, _, said| { said.pop(); }
        => Found::Missing("university"),
    a_consent_of_a_stranger_beside_the_others: 4 "grounds",
        consents = |room, digest, said| {
            let body = agreement::documents::Consent { agreement: *digest, broker_ak: room.broker_machine.ak_digest() };
            said.push((room.addressed("stray", body), room.stranger.signing.clone()));
        }
        => Found::Grounds(GroundsError::Stray("consent")),
    a_second_consent_of_one_party: 4 "grounds",
        consents = |_, _, said| {
            let (mut again, key) = said[0].clone();
            again.nonce = Bytes32([9; 32]);
            said.push((again, key));
        }
        => Found::Grounds(GroundsError::Stray("consent")),

    // Offers.
    an_offer_by_a_stranger: 4 "grounds",
        offers = |room, said| said[0].1 = room.stranger.signing.clone()
        => Found::Missing("registry"),
    an_offer_that_is_missing: 4 "grounds",
        offers = |_, said| said.clear()
        => Found::Missing("registry"),
    an_offer_to_another_broker: 4 "grounds",
        offers = |room, said| said[0].0.audience = room.stranger.signing.public()
        => Found::Clause("registry", Clause::Audience),
    an_offer_without_runs: 4 "grounds",
        offers = |_, said| said[0].0.body.max_runs = 0
        => Found::Clause("registry", Clause::Runs),
    an_offer_that_ended: 4 "grounds",
        offers = |_, said| said[0].0.body.expires = testkit::now() - SignedDuration::from_secs(1)
        => Found::Clause("registry", Clause::Expiry),
    an_offer_at_a_price: 4 "grounds",
        offers = |_, said| said[0].0.body.price = 1
        => Found::Clause("registry", Clause::Price),
    an_offer_for_another_purpose: 4 "grounds",
        offers = |_, said| said[0].0.body.purpose.push('!')
        => Found::Clause("registry", Clause::Purpose),
    an_offer_without_these_parties: 4 "grounds",
        offers = |_, said| said[0].0.body.parties.clear()
        => Found::Clause("registry", Clause::Parties),
    an_offer_for_other_datasets: 4 "grounds",
        offers = |_, said| said[0].0.body.datasets.clear()
        => Found::Clause("registry", Clause::Datasets),
    an_offer_with_other_co_datasets: 4 "grounds",
        offers = |_, said| said[0].0.body.co_datasets.clear()
        => Found::Clause("registry", Clause::CoDatasets),
    an_offer_for_other_programs: 4 "grounds",
        offers = |_, said| said[0].0.body.computations.clear()
        => Found::Clause("registry", Clause::Computations),
    an_offer_of_fewer_columns: 4 "grounds",
        offers = |_, said| said[0].0.body.computations.values_mut().flat_map(|by| by.values_mut()).for_each(|columns| {
            columns.remove("died");
        })
        => Found::Clause("registry", Clause::Columns),
    an_offer_to_other_recipients: 4 "grounds",
        offers = |room, said| said[0].0.body.recipients = [room.hospital.signing.public()].into()
        => Found::Clause("registry", Clause::Recipients),
    an_offer_of_shorter_leases: 4 "grounds",
        offers = |_, said| said[0].0.body.release.lease_seconds -= 1
        => Found::Clause("registry", Clause::Lease),
    an_offer_with_a_slower_tick: 4 "grounds",
        offers = |_, said| said[0].0.body.release.tick_ms += 1
        => Found::Clause("registry", Clause::Tick),
    an_offer_for_another_broker_key: 4 "grounds",
        offers = |_, said| said[0].0.body.brokers.clear()
        => Found::Clause("registry", Clause::Broker),
    an_offer_for_another_log: 4 "grounds",
        offers = |_, said| said[0].0.body.brokers.values_mut().for_each(|log| log.push('x'))
        => Found::Clause("registry", Clause::BrokerLog),
    an_offer_with_another_worker_policy: 4 "grounds",
        offers = |room, said| said[0].0.body.worker_policy = room.broker_policy()
        => Found::Clause("registry", Clause::WorkerPolicy),
    an_offer_that_does_not_count_beside_one_that_does: 4 "grounds",
        offers = |room, said| {
            let (mut another, _) = said[0].clone();
            another.nonce = Bytes32([9; 32]);
            said.push((another, room.stranger.signing.clone()));
        }
        => Found::Grounds(GroundsError::Stray("offer")),

    // Rotations.
    a_rotation_into_a_party_that_did_not_accept: 4 "grounds",
        rotations = |room, said| {
            let (thief, victim) = (&room.stranger.signing, room.registry.identity.clone());
            let body = agreement::documents::Rotation::new(thief.public(), victim, thief);
            said.push((room.addressed("rotation", body), thief.clone()));
        }
        => Found::NotInForce(NotInForce::Rotation(agreement::keys::RotationError::NotAccepted(_))),
    a_run_by_a_key_that_was_rotated_away: 4 "grounds",
        rotations = |room, said| {
            let next = &room.stranger;
            let previous = &room.university.signing;
            let body = agreement::documents::Rotation::new(previous.public(), next.identity.clone(), &next.signing);
            said.push((room.addressed("rotation", body), previous.clone()));
        }
        => Found::Run(RunRefusal::EndedKey(..)),

    // The statement of force.
    a_statement_of_force_on_another_consent: 4 "grounds",
        in_force = |_, stated, _| { stated.grounds.insert("hospital".to_owned(), Digest::of(b"another")); }
        => Found::Grounds(GroundsError::InForceStatement),
    a_statement_of_force_that_leaves_a_party_out: 4 "grounds",
        in_force = |_, stated, _| { stated.grounds.remove("registry"); }
        => Found::Grounds(GroundsError::InForceStatement),
    a_statement_of_force_of_another_agreement: 4 "grounds",
        in_force = |_, stated, _| stated.agreement = Digest::of(b"another")
        => Found::Grounds(GroundsError::InForceStatement),
    a_statement_of_force_by_a_stranger: 4 "grounds",
        in_force = |room, _, key| *key = room.stranger.signing.clone()
        => Found::Statement("statement of force", StatementError::Signer { .. }),

    // The run.
    a_run_by_a_stranger: 4 "grounds",
        run = |room, _, key| *key = room.stranger.signing.clone()
        => Found::Run(RunRefusal::NotAParty(_)),
    a_run_at_another_broker: 4 "grounds",
        run = |room, run, _| run.audience = room.stranger.signing.public()
        => Found::Run(RunRefusal::OtherBroker(_)),
    a_run_of_another_agreement: 4 "grounds",
        run = |_, run, _| run.body.agreement = Digest::of(b"another")
        => Found::Run(RunRefusal::OtherAgreement(_)),
    a_run_of_an_unknown_computation: 4 "grounds",
        run = |_, run, _| run.body.computation = "by-name".to_owned()
        => Found::Run(RunRefusal::UnknownComputation(_)),
    a_run_of_another_program: 4 "grounds",
        run = |_, run, _| run.body.program = Digest::of(b"SELECT *")
        => Found::Run(RunRefusal::Program { .. }),
    a_run_without_one_of_its_inputs: 4 "grounds",
        run = |_, run, _| { run.body.versions.remove("outcomes"); }
        => Found::Run(RunRefusal::VersionMissing(_)),
    a_run_with_one_input_more: 4 "grounds",
        run = |_, run, _| { run.body.versions.insert("more".to_owned(), Digest::of(b"more")); }
        => Found::Run(RunRefusal::VersionNotRead(_)),
    a_run_over_a_version_that_is_not_covered: 4 "grounds",
        run = |_, run, _| { run.body.versions.insert("outcomes".to_owned(), Digest::of(b"more")); }
        => Found::Run(RunRefusal::Version { fault: VersionFault::NotCovered, .. }),

    // The log.
    a_checkpoint_by_another_key_of_that_name: 4 "grounds",
        log = |_| other_log("glovebox.example/log") => Found::Checkpoint(TlogError::NotSignedByLog(_)),
    a_checkpoint_of_another_log: 4 "grounds",
        log = |_| other_log("another.example/log") => Found::Checkpoint(TlogError::OtherLog { .. }),
    a_consent_that_was_never_logged: 4 "grounds",
        order = |order| without(order, Slot::Consent(0)) => Found::NotLogged("consent", TlogError::NotIncluded),
    an_offer_that_was_never_logged: 4 "grounds",
        order = |order| without(order, Slot::Offer(0)) => Found::NotLogged("offer", TlogError::NotIncluded),
    a_statement_of_force_that_was_never_logged: 4 "grounds",
        order = |order| without(order, Slot::InForce) => Found::NotLogged("statement of force", TlogError::NotIncluded),
    a_run_that_was_never_logged: 4 "grounds",
        order = |order| without(order, Slot::Run) => Found::NotLogged("run", TlogError::NotIncluded),
    an_enrolment_that_was_never_logged: 5 "enrolment",
        order = |order| without(order, Slot::Enrolment) => Found::NotLogged("enrolment", TlogError::NotIncluded),
    l6_a_release_that_was_never_logged: 7 "release",
        order = |order| without(order, Slot::Released) => Found::NotLogged("release", TlogError::NotIncluded),
    a_result_that_was_never_logged: 8 "result",
        order = |order| without(order, Slot::Result) => Found::NotLogged("result", TlogError::NotIncluded),
    a_consent_after_the_statement_of_force: 4 "grounds",
        order = |order| last(order, Slot::Consent(0)) => Found::Order("a consent or offer", "the statement of force"),
    an_offer_after_the_statement_of_force: 4 "grounds",
        order = |order| last(order, Slot::Offer(0)) => Found::Order("a consent or offer", "the statement of force"),
    a_statement_of_force_after_the_run: 4 "grounds",
        order = |order| last(order, Slot::InForce) => Found::Order("the statement of force", "the run"),
    a_run_after_its_release: 7 "release",
        order = |order| last(order, Slot::Run) => Found::Order("the run", "the release"),
    an_enrolment_after_the_release: 7 "release",
        order = |order| last(order, Slot::Enrolment) => Found::Order("the enrolment", "the release"),
    a_release_after_its_result: 8 "result",
        order = |order| last(order, Slot::Released) => Found::Order("the release", "the result"),

    // The enrolment.
    an_enrolment_by_another_broker: 5 "enrolment",
        enrolment = |room, _, key| *key = room.stranger.signing.clone()
        => Found::Statement("enrolment", StatementError::Signer { .. }),
    p1_an_enrolment_of_another_machine: 6 "evidence",
        enrolment = |room, enrolment, _| enrolment.keys = room.broker_machine.claim().clone()
        => Found::Appraisal(AppraisalError::NotEnrolled { .. }),
    p1_an_enrolment_of_this_key_under_another_machines_certificate: 6 "evidence",
        enrolment = |room, enrolment, _| {
            enrolment.keys.ek_certificates = room.broker_machine.claim().ek_certificates.clone();
        }
        => Found::Appraisal(AppraisalError::CertificateKey),
    p6_a_machine_that_was_reset_since_its_enrolment: 6 "evidence",
        enrolment = |_, enrolment, _| enrolment.reset_count -= 1
        => Found::Appraisal(AppraisalError::Restarted { .. }),

    // The Evidence.
    evidence_signed_by_somebody_else: 6 "evidence",
        evidence = |_, evidence| *evidence.signature.last_mut().unwrap() ^= 1
        => Found::Appraisal(AppraisalError::Signature),
    evidence_without_the_runs_salt: 6 "evidence",
        evidence = |_, evidence| evidence.run_salt = None
        => Found::Appraisal(AppraisalError::RunSalt),
    evidence_with_another_salt: 6 "evidence",
        evidence = |_, evidence| evidence.run_salt = Some(Bytes32([9; 32]))
        => Found::Appraisal(AppraisalError::RunNotMeasured),
    evidence_with_another_register_value: 6 "evidence",
        evidence = |_, evidence| evidence.pcrs[0].value[0] ^= 1
        => Found::Appraisal(AppraisalError::PcrDigest),
    evidence_without_a_register_value: 6 "evidence",
        evidence = |_, evidence| { evidence.pcrs.pop(); }
        => Found::Appraisal(AppraisalError::PcrValueMissing { .. }),

    // C7, second half: the machine quoted everything but one part of the binding.
    c7_purpose_is_bound: 6 "evidence",
        quoted = |_, parts| {
            let Purpose::WorkerRelease { agreement, run } = parts.purpose else { panic!() };
            parts.purpose = Purpose::WorkerRenew { agreement, run };
        }
        => Found::Appraisal(AppraisalError::Binding),
    c7_agreement_in_the_context_is_bound: 6 "evidence",
        quoted = |_, parts| {
            let Purpose::WorkerRelease { run, .. } = parts.purpose else { panic!() };
            parts.purpose = Purpose::WorkerRelease { agreement: Digest::of(b"another"), run };
        }
        => Found::Appraisal(AppraisalError::Binding),
    c7_run_in_the_context_is_bound: 6 "evidence",
        quoted = |_, parts| {
            let Purpose::WorkerRelease { agreement, .. } = parts.purpose else { panic!() };
            parts.purpose = Purpose::WorkerRelease { agreement, run: Digest::of(b"another") };
        }
        => Found::Appraisal(AppraisalError::Binding),
    c7_channel_key_is_bound: 6 "evidence",
        quoted = |_, parts| parts.keys.channel[0] ^= 1 => Found::Appraisal(AppraisalError::Binding),
    c7_encapsulation_key_is_bound: 6 "evidence",
        quoted = |_, parts| parts.keys.encapsulation[0] ^= 1 => Found::Appraisal(AppraisalError::Binding),
    c7_signing_key_is_bound: 6 "evidence",
        quoted = |room, parts| parts.keys.signing = *room.stranger.signing.public().as_bytes()
        => Found::Appraisal(AppraisalError::Binding),
    c7_exporter_is_bound: 6 "evidence",
        quoted = |_, parts| parts.exporter[0] ^= 1 => Found::Appraisal(AppraisalError::Binding),
    c7_nonce_is_bound: 6 "evidence",
        quoted = |_, parts| parts.nonce[0] ^= 1 => Found::Appraisal(AppraisalError::Binding),
    c7_keys_cannot_change_places: 6 "evidence",
        quoted = |_, parts| std::mem::swap(&mut parts.keys.channel, &mut parts.keys.encapsulation)
        => Found::Appraisal(AppraisalError::Binding),
    c7_exporter_and_nonce_cannot_change_places: 6 "evidence",
        quoted = |_, parts| std::mem::swap(&mut parts.exporter, &mut parts.nonce)
        => Found::Appraisal(AppraisalError::Binding),

    // What the receipt says was bound is another use.
    c3_evidence_that_a_broker_showed_to_a_party: 6 "evidence",
        shown = |room, parts| parts.purpose = Purpose::BrokerDeposit { party: *room.hospital.signing.public().as_bytes() }
        => Found::Other(Reason::Purpose),
    evidence_of_another_run: 6 "evidence",
        shown = |_, parts| {
            let Purpose::WorkerRelease { agreement, .. } = parts.purpose else { panic!() };
            parts.purpose = Purpose::WorkerRelease { agreement, run: Digest::of(b"another") };
        }
        => Found::Other(Reason::Purpose),
    evidence_for_a_renewal: 6 "evidence",
        shown = |_, parts| {
            let Purpose::WorkerRelease { agreement, run } = parts.purpose else { panic!() };
            parts.purpose = Purpose::WorkerRenew { agreement, run };
        }
        => Found::Other(Reason::Purpose),

    // The release.
    a_release_by_a_stranger: 3 "release statement",
        released = |room, _, key| *key = room.stranger.signing.clone()
        => Found::Statement("release", StatementError::Signer { .. }),
    a_release_after_the_agreement_ended: 4 "grounds",
        released = |_, stated, _| stated.appraised = testkit::now() + SignedDuration::from_hours(24 * 31)
        => Found::NotInForce(NotInForce::Expired(_)),
    a_release_for_another_run: 7 "release",
        released = |_, stated, _| stated.run = Digest::of(b"another")
        => Found::Other(Reason::Released("it is of another run")),
    a_release_for_another_agreement: 7 "release",
        released = |_, stated, _| stated.agreement = Digest::of(b"another")
        => Found::Other(Reason::Released("it is of another run")),
    a_release_to_another_binding: 7 "release",
        released = |_, stated, _| stated.binding = Digest::of(b"another")
        => Found::Other(Reason::Released("it was made to other Evidence")),
    a_release_to_other_evidence: 7 "release",
        released = |_, stated, _| stated.evidence = Digest::of(b"another")
        => Found::Other(Reason::Released("it was made to other Evidence")),
    a_release_under_another_enrolment: 7 "release",
        released = |_, stated, _| stated.enrolment = Digest::of(b"another")
        => Found::Other(Reason::Released("it names another enrolment")),
    a_release_of_one_column_more: 7 "release",
        released = |_, stated, _| stated.columns.values_mut().for_each(|columns| { columns.insert("name".to_owned()); })
        => Found::Other(Reason::Columns),
    a_release_of_another_dataset: 7 "release",
        released = |_, stated, _| { stated.columns.insert(Digest::of(b"another"), ["arm".to_owned()].into()); }
        => Found::Other(Reason::Columns),

    // The result.
    a_result_signed_by_another_key: 8 "result",
        result = |room, _, key| *key = room.stranger.signing.clone()
        => Found::Statement("result", StatementError::Signer { .. }),
    a_result_signed_by_the_broker: 8 "result",
        result = |room, _, key| *key = room.broker.clone()
        => Found::Statement("result", StatementError::Signer { .. }),
    a_result_for_another_broker: 8 "result",
        result = |room, result, _| result.audience = room.stranger.signing.public()
        => Found::Other(Reason::Result("it is addressed to another broker")),
    a_result_of_another_run: 8 "result",
        result = |_, result, _| result.body.run = Digest::of(b"another")
        => Found::Other(Reason::Result("it is of another run")),
    a_result_under_another_lease: 8 "result",
        result = |_, result, _| result.body.lease = Bytes32([9; 32])
        => Found::Other(Reason::Result("it was made under another lease")),
    a_result_under_other_rules: 9 "rules",
        result = |_, result, _| result.body.rules = Digest::of(b"{}")
        => Found::Other(Reason::Rules),
    another_result_file: 10 "output",
        result = |_, result, _| result.body.output = Digest::of(b"another")
        => Found::Other(Reason::Output { .. }),
}

/// A good receipt that somebody changed afterwards.
macro_rules! changed {
    ($($name:ident: $number:literal $step:literal, $change:expr => $reason:pat,)*) => {$(
        #[test]
        fn $name() {
            let mut room = Room::new();
            let mut receipt = room.receipt();
            let change: fn(&Room, &mut Receipt) = $change;
            change(&room, &mut receipt);
            let failure = failure(&receipt, &Anchors::default(), Some(&room.output()));
            assert_eq!((failure.number, failure.name), ($number, $step), "{failure:?}");
            let found = found(&failure);
            assert!(matches!(found, $reason), "{found:?}");
        }
    )*};
}

changed! {
    a_changed_party_name_that_would_deceive_is_refused_before_it_is_shown: 1 "agreement",
        |_, receipt| {
            let party = receipt.grounds.agreement.parties.remove("hospital").unwrap();
            receipt.grounds.agreement.parties.insert("\u{1b}[2Jhospital".to_owned(), party);
        }
        => Found::Other(Reason::Agreement(ShapeError::Name { .. })),
    a_changed_purpose: 4 "grounds",
        |_, receipt| receipt.grounds.agreement.purpose.push('!')
        => Found::Grounds(GroundsError::OtherText { .. }),
    a_changed_expiry: 4 "grounds",
        |_, receipt| receipt.grounds.agreement.expires = testkit::now()
        => Found::Grounds(GroundsError::OtherText { .. }),
    a_changed_name: 4 "grounds",
        |_, receipt| receipt.grounds.agreement.name.push('x')
        => Found::Grounds(GroundsError::OtherText { .. }),
    a_changed_result_size: 4 "grounds",
        |_, receipt| receipt.grounds.agreement.release.max_result_bytes += 1
        => Found::Grounds(GroundsError::OtherText { .. }),
    a_recipient_put_in: 4 "grounds",
        |_, receipt| {
            let computation = receipt.grounds.agreement.computations.get_mut("by-arm").unwrap();
            computation.recipients.insert("hospital".to_owned());
        }
        => Found::Grounds(GroundsError::OtherText { .. }),
    the_salt_of_a_consent: 4 "grounds",
        |_, receipt| receipt.grounds.consents[0].salt.0[0] ^= 1 => Found::NotLogged("consent", TlogError::NotIncluded),
    the_salt_of_the_run: 4 "grounds",
        |_, receipt| receipt.grounds.run.salt.0[31] ^= 1 => Found::NotLogged("run", TlogError::NotIncluded),
    the_salt_of_the_enrolment: 5 "enrolment",
        |_, receipt| receipt.enrolment.salt.0[0] ^= 1 => Found::NotLogged("enrolment", TlogError::NotIncluded),
    the_salt_of_the_release: 7 "release",
        |_, receipt| receipt.released.salt.0[0] ^= 1 => Found::NotLogged("release", TlogError::NotIncluded),
    the_salt_of_the_result: 8 "result",
        |_, receipt| receipt.result.salt.0[0] ^= 1 => Found::NotLogged("result", TlogError::NotIncluded),
    the_proof_of_another_leaf: 4 "grounds",
        |_, receipt| receipt.grounds.run.proof = receipt.grounds.in_force.proof.clone()
        => Found::NotLogged("run", TlogError::NotIncluded),
    a_proof_outside_the_tree: 8 "result",
        |_, receipt| receipt.result.proof = tlog::InclusionProof::new(1 << 40, Vec::new()).unwrap()
        => Found::NotLogged("result", TlogError::OutsideTree { .. }),
    a_smaller_checkpoint_of_the_same_log: 4 "grounds",
        |room, receipt| {
            let mut tree = tlog::LogTree::new();
            tree.append(tlog::Commitment::from_bytes([1; 32])).unwrap();
            receipt.grounds.checkpoint = text(&tree, &room.log);
        }
        => Found::NotLogged("consent", TlogError::OutsideTree { .. }),
    a_checkpoint_with_another_size: 4 "grounds",
        |_, receipt| receipt.grounds.checkpoint = receipt.grounds.checkpoint.replacen("\n12\n", "\n13\n", 1)
        => Found::Checkpoint(TlogError::BadSignature(_)),
    a_checkpoint_with_a_signature_line_of_nobody_we_know: 4 "grounds",
        |_, receipt| {
            let line = receipt.grounds.checkpoint.lines().last().unwrap().replace("glovebox.example", "nobody.example");
            receipt.grounds.checkpoint.push_str(&format!("{line}\n"));
        }
        => Found::Grounds(GroundsError::CheckpointLines),
    a_checkpoint_signed_twice: 4 "grounds",
        |_, receipt| {
            let line = receipt.grounds.checkpoint.lines().last().unwrap().to_owned();
            receipt.grounds.checkpoint.push_str(&format!("{line}\n"));
        }
        => Found::Grounds(GroundsError::CheckpointLines),
    a_checkpoint_that_is_none: 4 "grounds",
        |_, receipt| receipt.grounds.checkpoint.clear() => Found::Checkpoint(TlogError::MalformedCheckpoint),
    a_consent_in_place_of_an_offer: 4 "grounds",
        |_, receipt| receipt.grounds.offers[0] = receipt.grounds.consents[0].clone()
        => Found::Statement("offer", StatementError::Type { .. }),
    a_release_in_place_of_the_enrolment: 5 "enrolment",
        |_, receipt| receipt.enrolment = receipt.released.clone()
        => Found::Statement("enrolment", StatementError::Type { .. }),
    a_signature_taken_off: 4 "grounds",
        |_, receipt| receipt.grounds.run.statement.signatures.clear()
        => Found::Statement("run", StatementError::Signatures(0)),
    a_second_signature: 4 "grounds",
        |_, receipt| {
            let again = receipt.grounds.run.statement.signatures[0].clone();
            receipt.grounds.run.statement.signatures.push(again);
        }
        => Found::Statement("run", StatementError::Signatures(2)),
    the_signer_exchanged: 4 "grounds",
        |room, receipt| {
            receipt.grounds.run.statement.signatures[0].keyid = room.hospital.signing.public().to_string();
        }
        => Found::Statement("run", StatementError::Signature(_)),
    evidence_of_another_machine: 6 "evidence",
        |_, receipt| receipt.worker = Room::new().receipt().worker => Found::Other(Reason::Purpose),
    evidence_of_the_brokers_machine: 6 "evidence",
        |room, receipt| {
            let parts = receipt.worker.binding.clone();
            receipt.worker.evidence = Evidence::Tpm(room.broker_machine.evidence(&parts, None));
        }
        => Found::Appraisal(AppraisalError::NotEnrolled { .. }),
    evidence_quoted_again: 7 "release",
        |room, receipt| {
            let parts = receipt.worker.binding.clone();
            let evidence = receipt.worker.evidence.tpm();
            let salt = evidence.run_salt.map(|salt| salt.0);
            receipt.worker.evidence = Evidence::Tpm(room.worker_machine.evidence(&parts, salt));
        }
        => Found::Other(Reason::Released("it was made to other Evidence")),
    the_rules: 9 "rules", |_, receipt| receipt.rules.push(' ') => Found::Other(Reason::Rules),
}

#[test]
fn an_agreement_or_a_party_that_was_not_asked_for_is_refused_first() {
    let mut room = Room::new();
    let receipt = room.receipt();
    let other = Anchors { agreement: Some(Digest::of(b"another")), parties: Vec::new() };
    let refused = failure(&receipt, &other, None);
    assert_eq!((refused.number, refused.name), (1, "agreement"));
    assert!(matches!(refused.reason, Reason::OtherAgreement { expected, .. } if expected == Digest::of(b"another")));
    let stranger = Anchors { agreement: None, parties: vec![room.stranger.identity.clone()] };
    let refused = failure(&receipt, &stranger, None);
    assert_eq!((refused.number, refused.name), (2, "parties"));
    assert!(matches!(refused.reason, Reason::NotAParty(key) if key == room.stranger.signing.public()));
}

fn ed25519(seed: u8) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[seed; 32])
}

fn other_log(origin: &str) -> LogSigner {
    LogSigner::new(origin, ed25519(99)).unwrap()
}

fn text(tree: &tlog::LogTree, signer: &LogSigner) -> String {
    String::from_utf8(tree.checkpoint(signer).unwrap().as_bytes().to_vec()).unwrap()
}

fn without(order: &mut Vec<Slot>, slot: Slot) {
    order.retain(|one| *one != slot);
}

fn last(order: &mut Vec<Slot>, slot: Slot) {
    without(order, slot);
    order.push(slot);
}
