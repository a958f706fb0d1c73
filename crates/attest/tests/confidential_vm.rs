//! Hardware beneath a virtual TPM (step 16): asked for, there, on the same exchange, and as listed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod forge;

use std::collections::{BTreeMap, BTreeSet};

use attest::{
    AppraisalError, AppraisalPolicy, ConfidentialVmEvidence, EndorsementKeys, Endorsements, Evidence, HardwareEvidence,
    HardwareRule, PolicyDocument, PolicyError, Tier, Verifier,
    platform::{Anchors, HardwareFault, HardwareIds, Platform, PlatformPolicy, Unfit},
    snp::{Generation, SnpUnfit},
};
use envelope::text::Bytes;
use forge::{Room, now};
use testkit::snp;

#[test]
fn hardware_that_is_asked_for_must_be_there_and_other_hardware_must_not() {
    let values = BTreeSet::from(["00".to_owned()]);
    let rule = HardwareRule {
        anchors: Anchors::Makers,
        policy: PlatformPolicy {
            tier_floor: Tier::ConfidentialVm,
            admits: BTreeSet::from(["affirmed".to_owned()]),
            hardware: HardwareIds::Any,
            measurements: BTreeMap::from([("measurement".to_owned(), values)]),
        },
        snp: attest::snp::SnpPolicy::default(),
        evaluation_floor: 0,
    };
    let appraise = |room: &Room, evidence: &Evidence| {
        let policy = AppraisalPolicy::new(room.policy.clone()).unwrap();
        Verifier::appraise(evidence, &Endorsements::tpm(room.enrolled.clone()), &room.binding(), &policy, now())
    };
    let mut room = Room::new();
    let inside = |platform| {
        let hardware = HardwareEvidence { platform, files: BTreeMap::new() };
        Evidence::ConfidentialVm(ConfidentialVmEvidence { tpm: room.evidence(), hardware })
    };
    let (snp, tdx) = (inside(Platform::SevSnp), inside(Platform::Tdx));
    assert_eq!(appraise(&room, &snp), Err(AppraisalError::HardwareUnexpected));
    room.policy.hardware.insert(Platform::SevSnp, rule.clone());
    let alone = Evidence::Tpm(room.evidence());
    assert_eq!(appraise(&room, &alone), Err(AppraisalError::HardwareMissing));
    assert_eq!(appraise(&room, &tdx), Err(AppraisalError::HardwareNotListed(Platform::Tdx)));
    let refused = appraise(&room, &snp).unwrap_err();
    assert!(matches!(refused, AppraisalError::Hardware(_)), "{refused:?}");
    assert_eq!((refused.step(), refused.code()), (16, "hardware-refused"));
    // Such a policy pins authorities of hardware, and at least one.
    let nobody = HardwareRule { anchors: Anchors::Pinned(vec![]), ..rule.clone() };
    room.policy.hardware.insert(Platform::SevSnp, nobody);
    assert_eq!(AppraisalPolicy::new(room.policy.clone()), Err(PolicyError::NoAnchors(Platform::SevSnp)));
    let nonsense = HardwareRule { anchors: Anchors::Pinned(vec![envelope::text::Bytes(vec![0x30])]), ..rule };
    room.policy.hardware.insert(Platform::SevSnp, nonsense);
    assert_eq!(AppraisalPolicy::new(room.policy.clone()), Err(PolicyError::Anchor(Platform::SevSnp)));
}

#[test]
fn what_is_asked_beyond_the_default_is_written_and_read_again() {
    let plain = HardwareRule {
        anchors: Anchors::Makers,
        policy: PlatformPolicy {
            tier_floor: Tier::ConfidentialVm,
            admits: BTreeSet::from(["affirmed".to_owned()]),
            hardware: HardwareIds::Any,
            measurements: BTreeMap::new(),
        },
        snp: attest::snp::SnpPolicy::default(),
        evaluation_floor: 0,
    };
    let strict = attest::snp::SnpPolicy { generations: [Generation::Turin].into(), ..plain.snp.clone() };
    let written = |rule: &HardwareRule| {
        let value = serde_json::to_value(rule).unwrap();
        assert_eq!(serde_json::from_value::<HardwareRule>(value.clone()).unwrap(), *rule);
        (value.get("snp").is_some(), value.get("evaluation_floor").cloned())
    };
    assert_eq!(written(&plain), (false, None));
    assert_eq!(written(&HardwareRule { evaluation_floor: 18, ..plain.clone() }), (false, Some(18.into())));
    assert_eq!(written(&HardwareRule { snp: strict, ..plain }), (true, None));
}

/// A worker inside SEV-SNP: a TPM in software that nobody lists, and the chip's report on the same exchange. The authority is the test's own, and
/// so could be anybody's: the tier stays that of software.
#[test]
fn a_virtual_tpm_and_the_report_beneath_it_are_appraised_together_and_no_stranger_makes_them_hardware() {
    let amd = snp::Amd::new(Generation::Genoa);
    let key = amd.key(&amd.chip_fields());
    let mut room = Room::with_tpm(Tier::SoftwareTpm, |_| {});
    room.policy.tpm.endorsement_keys = EndorsementKeys::Any;
    let measurement = BTreeSet::from(["ab".repeat(48)]);
    let rule = HardwareRule {
        anchors: Anchors::Pinned(vec![Bytes(amd.root())]),
        policy: PlatformPolicy {
            tier_floor: Tier::SoftwareTpm,
            admits: BTreeSet::from(["revocation-unknown".to_owned()]),
            hardware: HardwareIds::Any,
            measurements: BTreeMap::from([("measurement".to_owned(), measurement)]),
        },
        snp: attest::snp::SnpPolicy::default(),
        evaluation_floor: 0,
    };
    room.policy.hardware.insert(Platform::SevSnp, rule);
    let report = |bound: &[u8; 64], change: &dyn Fn(&mut Vec<u8>)| {
        let mut report = amd.report();
        snp::put(&mut report, snp::at::REPORT_DATA, bound);
        snp::put(&mut report, snp::at::MEASUREMENT, &[0xAB; 48]);
        change(&mut report);
        key.sign(&mut report);
        let files = [("report", report), ("vcek", key.certificate.clone()), ("cert_chain", amd.chain())];
        let files = files.into_iter().map(|(role, bytes)| (role.to_owned(), Bytes(bytes))).collect();
        HardwareEvidence { platform: Platform::SevSnp, files }
    };
    let appraise = |room: &Room, hardware: HardwareEvidence| {
        let evidence = Evidence::ConfidentialVm(ConfidentialVmEvidence { tpm: room.evidence(), hardware });
        let policy = AppraisalPolicy::new(room.policy.clone()).unwrap();
        Verifier::appraise(&evidence, &Endorsements::tpm(room.enrolled.clone()), &room.binding(), &policy, now())
    };
    let bound = *room.binding().sha512();
    let good = report(&bound, &|_| {});
    let result = appraise(&room, good.clone()).unwrap();
    assert_eq!((result.tier(), result.steps().len()), (Tier::SoftwareTpm, 16));
    assert_eq!(result.hardware().unwrap().genuine().claim("authorities"), Some("pinned"));
    assert_eq!(result.hardware().unwrap().genuine().platform(), Platform::SevSnp);

    // Who leaves AMD's list away is not affirmed.
    let mut affirmed = room.policy.clone();
    affirmed.hardware.get_mut(&Platform::SevSnp).unwrap().policy.admits = BTreeSet::from(["affirmed".to_owned()]);
    let evidence = Evidence::ConfidentialVm(ConfidentialVmEvidence { tpm: room.evidence(), hardware: good.clone() });
    let policy = AppraisalPolicy::new(affirmed).unwrap();
    let answer =
        Verifier::appraise(&evidence, &Endorsements::tpm(room.enrolled.clone()), &room.binding(), &policy, now());
    let unknown = Unfit::Assurance(attest::platform::Assurance::RevocationUnknown);
    assert_eq!(answer, Err(AppraisalError::HardwareUnfit(unknown)));

    // Nor does listing the chip, or asking for more.
    for ask in [Tier::Tpm, Tier::ConfidentialVm] {
        let refused = AppraisalError::Tier { floor: ask, actual: Tier::SoftwareTpm };
        let evidence =
            Evidence::ConfidentialVm(ConfidentialVmEvidence { tpm: room.evidence(), hardware: good.clone() });
        let policy = AppraisalPolicy::new(PolicyDocument { tier_floor: ask, ..room.policy.clone() }).unwrap();
        let answer =
            Verifier::appraise(&evidence, &Endorsements::tpm(room.enrolled.clone()), &room.binding(), &policy, now());
        assert_eq!(answer, Err(refused));
    }

    // A better TPM does not raise what the hardware counts for.
    let mut chip = Room::with_tpm(Tier::Tpm, |_| {});
    chip.policy.tpm.endorsement_keys = EndorsementKeys::Any;
    chip.policy.tier_floor = Tier::SoftwareTpm;
    chip.policy.hardware = room.policy.hardware.clone();
    let beneath = report(chip.binding().sha512(), &|_| {});
    assert_eq!(appraise(&chip, beneath).unwrap().tier(), Tier::SoftwareTpm);

    // Each half can be wrong by itself.
    let refusal = |evidence| appraise(&room, evidence).unwrap_err();
    let mut other = bound;
    other[0] ^= 1;
    assert_eq!(refusal(report(&other, &|_| {})), AppraisalError::HardwareUnfit(Unfit::NotBound));
    let measured = |report: &mut Vec<u8>| snp::put(report, snp::at::MEASUREMENT, &[0xAC; 48]);
    let found = Unfit::Measurement { register: "measurement".to_owned(), actual: "ac".repeat(48) };
    assert_eq!(refusal(report(&bound, &measured)), AppraisalError::HardwareUnfit(found));
    let vmpl = |report: &mut Vec<u8>| snp::put(report, snp::at::VMPL, &[1]);
    assert_eq!(refusal(report(&bound, &vmpl)), AppraisalError::Hardware(HardwareFault::Snp(SnpUnfit::Vmpl(1))));
    let mut unsigned = good.clone();
    unsigned.files.get_mut("report").unwrap().0[0x50] ^= 1;
    let AppraisalError::Hardware(HardwareFault::Refused { code, .. }) = refusal(unsigned) else { panic!("refused") };
    assert_eq!(code, "report-signature-invalid");
    let mut more = good.clone();
    more.files.insert("note".to_owned(), Bytes(vec![1]));
    let unknown = HardwareFault::UnknownRole { platform: Platform::SevSnp, role: "note".to_owned() };
    assert_eq!(refusal(more), AppraisalError::Hardware(unknown));
    let mut less = good.clone();
    less.files.remove("report");
    let missing = HardwareFault::MissingRole { platform: Platform::SevSnp, role: "report" };
    assert_eq!(refusal(less), AppraisalError::Hardware(missing));
    // Good hardware does not help a machine whose history is not as it should be.
    room.run_salt = Some([9; 32]);
    assert_eq!(appraise(&room, good), Err(AppraisalError::RunNotMeasured));
}
