//! The Attester on real software TPMs, judged by the Verifier.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod common;

use attest::binding::{Binding, BindingParts, ChannelKeys, Purpose};
use attest::events::RoleName;
use attest::tpm::{Activation, EnrolledAk};
use attest::{
    AppraisalError, AppraisalPolicy, Bank, Clock, EndorsementKeys, EndorsementRoot, Endorsements, HashAlgorithm,
    PolicyDocument, Tier, TpmPolicy, Verifier,
};
use common::bench;
use envelope::Digest;
use envelope::text::Bytes;
use jiff::Timestamp;
use tpm::{Attester, AttesterError, KeyKind, SoftwareTpm, TpmError, measure};
use zeroize::Zeroizing;

/// An Attester that was launched as a worker, with what it takes to appraise it.
struct Room {
    attester: Attester,
    policy: AppraisalPolicy,
    issuers: Vec<Vec<u8>>,
    software: SoftwareTpm,
    _files: tempfile::TempDir,
}

fn room(kind: KeyKind) -> Option<Room> {
    let common::Bench { mut tpm, software, files, authority } = bench()?;
    let authority = SoftwareTpm::ca_certificates(authority.path()).unwrap();
    let role = RoleName::try_from("worker").unwrap();
    let binary = Digest::of(b"the worker's binary");
    let log = measure::launch(&mut tpm, &role, &binary).unwrap();
    let key = tpm.attestation_key(kind).unwrap();
    let attester = Attester::new(tpm, key, log, "sha256:0,8,12".parse().unwrap()).unwrap();
    let issuers = authority[1..].to_vec();
    let policy = AppraisalPolicy::new(PolicyDocument {
        tier_floor: Tier::SoftwareTpm,
        tpm: TpmPolicy {
            roots: vec![EndorsementRoot { certificate: Bytes(authority[0].clone()), tier: Tier::SoftwareTpm }],
            endorsement_keys: EndorsementKeys::Listed(vec![attester.key_claim(&issuers).ek_digest().unwrap()]),
            bank: Bank::Sha256,
            role,
            binaries: vec![binary],
            reference_values: vec![],
            clock: Clock::Safe,
        },
        hardware: std::collections::BTreeMap::new(),
        auditors: None,
    })
    .unwrap();
    Some(Room { attester, policy, issuers, software, _files: files })
}

fn bind(purpose: Purpose) -> Binding {
    let keys = ChannelKeys { channel: vec![1], encapsulation: vec![2], signing: [3; 32] };
    BindingParts { purpose, keys, exporter: [4; 32], nonce: [5; 32] }.bind()
}

fn release(run: &Digest) -> Binding {
    bind(Purpose::WorkerRelease { agreement: Digest::of(b"agreement"), run: *run })
}

impl Room {
    fn enrol(&self) -> EnrolledAk {
        let claim = self.attester.key_claim(&self.issuers);
        let ak_name = claim.ak_name().unwrap();
        let secret = Zeroizing::new([6; 32]);
        let (activation, made) =
            Activation::begin(claim, &self.policy, Timestamp::now(), secret, &Zeroizing::new([7; 48])).unwrap();
        let answer = self.attester.activate(&made).unwrap();
        let binding = bind(Purpose::WorkerEnrol { ak_name });
        let evidence = self.attester.evidence(&binding).unwrap().tpm().clone();
        activation.complete(&answer, &evidence, &binding).unwrap()
    }
}

#[test]
fn evidence_of_a_measured_run_passes_the_verifier() {
    for kind in [KeyKind::EccP256, KeyKind::Rsa2048] {
        let Some(room) = room(kind) else { return };
        let endorsements = Endorsements::tpm(room.enrol());
        let runs = [Digest::of(b"first run"), Digest::of(b"second run")];
        for run in &runs {
            room.attester.extend_run(run).unwrap();
            room.attester.extend_run(run).unwrap();
        }
        for run in &runs {
            let evidence = room.attester.evidence(&release(run)).unwrap();
            let appraised =
                Verifier::appraise(&evidence, &endorsements, &release(run), &room.policy, Timestamp::now()).unwrap();
            assert_eq!(appraised.tier(), Tier::SoftwareTpm);
            assert_eq!(appraised.runs_since_start(), 2);
        }
        let evidence = room.attester.evidence(&release(&runs[0])).unwrap();
        let refused = Verifier::appraise(&evidence, &endorsements, &release(&runs[1]), &room.policy, Timestamp::now());
        assert_eq!(refused.unwrap_err(), AppraisalError::Binding);
    }
}

#[test]
fn a_run_that_was_not_measured_gets_no_evidence() {
    let Some(room) = room(KeyKind::EccP256) else {
        return;
    };
    let run = Digest::of(b"never begun");
    let refused = room.attester.evidence(&release(&run));
    assert!(matches!(refused, Err(AttesterError::RunNotMeasured { run: named }) if named == run), "{refused:?}");
}

#[test]
fn p1_a_challenge_for_another_attesters_keys_does_not_open() {
    let (Some(one), Some(other)) = (room(KeyKind::EccP256), room(KeyKind::EccP256)) else {
        return;
    };
    let claim = attest::tpm::KeyClaim {
        ak_public: other.attester.key_claim(&[]).ak_public,
        ..one.attester.key_claim(&one.issuers)
    };
    let (_, made) =
        Activation::begin(claim, &one.policy, Timestamp::now(), Zeroizing::new([6; 32]), &Zeroizing::new([7; 48]))
            .unwrap();
    for attester in [&one.attester, &other.attester] {
        let refused = attester.activate(&made);
        assert!(matches!(refused, Err(AttesterError::Tpm(TpmError::CredentialRefused { .. }))), "{refused:?}");
    }
}

#[test]
fn concurrent_runs_and_quotes_always_replay() {
    let Some(room) = room(KeyKind::EccP256) else {
        return;
    };
    let endorsements = Endorsements::tpm(room.enrol());
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let (room, endorsements) = (&room, &endorsements);
            scope.spawn(move || {
                for number in 0..25_u8 {
                    let run = Digest::of(&[thread, number]);
                    room.attester.extend_run(&run).unwrap();
                    let evidence = room.attester.evidence(&release(&run)).unwrap();
                    let binding = release(&run);
                    Verifier::appraise(&evidence, endorsements, &binding, &room.policy, Timestamp::now()).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_log_that_does_not_explain_the_registers_is_refused_at_once() {
    let Some(mut bench) = bench() else { return };
    let role = RoleName::try_from("worker").unwrap();
    let log = measure::launch(&mut bench.tpm, &role, &Digest::of(b"binary")).unwrap();
    bench.tpm.measure(8, b"unlogged").unwrap();
    let key = bench.tpm.attestation_key(KeyKind::EccP256).unwrap();
    let refused = Attester::new(bench.tpm, key, log, "sha256:8,12".parse().unwrap());
    assert!(
        matches!(refused, Err(AttesterError::LogMismatch { bank: HashAlgorithm::Sha256, index: 8 })),
        "{refused:?}"
    );
}

#[test]
fn an_attester_whose_tpm_died_while_measuring_says_so_from_then_on() {
    let Some(room) = room(KeyKind::EccP256) else {
        return;
    };
    let number = room.software.process_id().to_string();
    std::process::Command::new("kill").args(["-KILL", &number]).status().unwrap();
    let refused = room.attester.extend_run(&Digest::of(b"run"));
    assert!(matches!(refused, Err(AttesterError::Tpm(TpmError::Closed { .. }))), "{refused:?}");
    let refused = room.attester.evidence(&bind(Purpose::BrokerDeposit { party: [0; 32] }));
    assert!(matches!(refused, Err(AttesterError::HistoryLost)), "{refused:?}");
}
