//! SEV-SNP under a forged AMD: each report, certificate and list is wrong in one thing, and the refusal names it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use attest::{
    FormatError, Tier,
    azure::{AzureError, AzureSnpGenuine, SnpEndorsements, examine_snp},
    certificate::{CertificateFault, ChainError},
    platform::{HardwareIds, Platform, PlatformPolicy, Refusal, Unfit},
    snp::{
        Generation::{self, Genoa, Milan, Turin},
        Report, SigningKey, SnpError, SnpEvidence, SnpGenuine, SnpPolicy, SnpUnfit, Tcb, anchors, claimed_generation,
        examine, examine_authorities, examine_key,
    },
};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::json;
use testkit::snp::{Amd, ChipKey, KeyFields, at, integer, put, tcb};

/// A report and all that vouches for it.
struct Scene {
    amd: Amd,
    key: ChipKey,
    report: Vec<u8>,
}

impl Scene {
    fn new(generation: Generation) -> Scene {
        Scene::with(generation, |_| {}, |_| {})
    }

    /// With a certificate and a report that differ from good ones, and are signed as they are.
    fn with(generation: Generation, key: impl FnOnce(&mut KeyFields), change: impl FnOnce(&mut Vec<u8>)) -> Scene {
        let amd = Amd::new(generation);
        let mut fields = amd.chip_fields();
        key(&mut fields);
        let key = amd.key(&fields);
        let mut report = amd.report();
        change(&mut report);
        key.sign(&mut report);
        Scene { amd, key, report }
    }

    /// A report signed by a cloud's key.
    fn cloud(generation: Generation, key: impl FnOnce(&mut KeyFields), change: impl FnOnce(&mut Vec<u8>)) -> Scene {
        let amd = Amd::for_clouds(generation);
        let mut fields = amd.cloud_fields();
        key(&mut fields);
        let key = amd.key(&fields);
        let mut report = amd.report();
        put(&mut report, at::FLAGS, &[1 << 2]);
        put(&mut report, at::CHIP_ID, &[0; 64]);
        change(&mut report);
        key.sign(&mut report);
        Scene { amd, key, report }
    }

    fn examine(&self) -> Result<SnpGenuine, SnpError> {
        self.examine_with(&self.amd.chain(), None, now())
    }

    fn examine_with(&self, chain: &[u8], list: Option<&[u8]>, now: Timestamp) -> Result<SnpGenuine, SnpError> {
        let key = Some(self.key.certificate.as_slice());
        let evidence = SnpEvidence { report: &self.report, key, chain: Some(chain), list };
        examine(&evidence, &self.amd.anchors(), now)
    }

    /// What the policy says of it.
    fn admitted(&self, policy: &SnpPolicy) -> Result<(), SnpUnfit> {
        self.examine().unwrap().admit(policy).map(|_| ())
    }
}

fn changed(generation: Generation, at: usize, bytes: &[u8]) -> Scene {
    Scene::with(generation, |_| {}, |report| put(report, at, bytes))
}

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn chain_fault(refused: Result<SnpGenuine, SnpError>) -> (usize, CertificateFault) {
    match refused {
        Err(SnpError::Chain(ChainError { at, fault, .. })) => (at, fault),
        other => panic!("{other:?}"),
    }
}

/// A file of the corpus, or `None` where it is not here.
fn corpus(path: &str) -> Option<Vec<u8>> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var("GLOVEBOX_VECTORS").unwrap_or_else(|_| "../shared/vectors".to_owned());
    let folder = workspace.join(folder);
    let found = std::fs::read(folder.join(path)).ok();
    if found.is_none() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no test vectors at {}", folder.display());
        println!("skipped: no test vectors at {}", folder.display());
    }
    found
}

#[test]
fn good_reports_of_each_generation_are_genuine_and_admitted() {
    for generation in [Genoa, Turin] {
        let scene = Scene::new(generation);
        let genuine = scene.examine().unwrap().admit(&SnpPolicy::default()).unwrap();
        assert_eq!(genuine.bound(), &[0x5A; 64]);
        assert_eq!(genuine.examined_at(), now());
        assert_eq!(genuine.register("measurement"), Some([0xA5; 48].as_slice()));
        let policy: Vec<u8> = scene.report[at::POLICY..][..8].iter().rev().copied().collect();
        assert_eq!(genuine.register("policy"), Some(policy.as_slice()));
        assert_eq!(genuine.hardware_id(), Some(hex::encode(&scene.report[at::CHIP_ID..][..64]).as_str()));
        assert_eq!(genuine.steps().iter().map(|step| step.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
    }
    assert_eq!(Scene::new(Milan).examine().unwrap().generation(), Milan);
}

#[test]
fn a1_every_bit_of_a_report_is_signed_or_must_be_what_it_is() {
    let mut scene = Scene::new(Genoa);
    scene.examine().unwrap();
    for bit in 0..at::END * 8 {
        scene.report[bit / 8] ^= 1 << (bit % 8);
        let refused = scene.examine().unwrap_err();
        // Numbers of the signature: 48 bytes of each 72. What stands around them nobody signs, and it must be zero.
        let place = (bit / 8).checked_sub(at::SIGNATURE);
        match place {
            Some(place) if place < 144 && place % 72 < 48 => assert_eq!(refused, SnpError::Signature, "bit {bit}"),
            Some(_) => assert!(refused.is_malformed(), "bit {bit}: {refused:?}"),
            None => assert!(matches!(refused.step(), 1 | 5), "bit {bit}: {refused:?}"),
        }
        scene.report[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn a1_a_real_report_keeps_none_of_its_bytes_changed() {
    let folder = "snp/trustee-turin-report";
    let file = |name: &str| corpus(&format!("{folder}/{name}"));
    let (Some(report), Some(vcek), Some(chain)) = (file("report.bin"), file("vcek.der"), file("cert_chain.pem")) else {
        return;
    };
    let time: Timestamp = "2026-07-28T08:56:51Z".parse().unwrap();
    let judged = |report: &[u8]| {
        let evidence = SnpEvidence { report, key: Some(&vcek), chain: Some(&chain), list: None };
        examine(&evidence, &anchors(), time).map(|_| ())
    };
    assert_eq!(judged(&report), Ok(()));
    for byte in (0..report.len()).step_by(5) {
        let mut changed = report.clone();
        changed[byte] ^= 0x10;
        assert!(judged(&changed).is_err(), "byte {byte}");
    }
}

#[test]
fn a2_a_report_of_another_size_is_malformed() {
    let mut scene = Scene::new(Turin);
    let whole = scene.report.clone();
    for size in 0..whole.len() {
        scene.report = whole[..size].to_vec();
        assert_eq!(scene.examine().unwrap_err().code(), "report-truncated", "{size}");
    }
    scene.report = [whole.as_slice(), &[0]].concat();
    assert_eq!(scene.examine().unwrap_err().code(), "report-too-long");
    for size in 0..scene.key.certificate.len() {
        let key = scene.key.certificate.get(..size);
        let evidence = SnpEvidence { report: &whole, key, chain: Some(&scene.amd.chain()), list: None };
        let refused = examine(&evidence, &scene.amd.anchors(), now());
        assert_eq!(refused.unwrap_err(), SnpError::Certificate(CertificateFault::Malformed), "{size}");
    }
}

#[test]
fn a7_evidence_of_other_platforms_is_malformed() {
    let others = [
        "tdx/attestation-rs-live-evidence/quote.bin",
        "nitro/attestation-doc-validation-debug-mode-attestation-doc/attestation.cbor",
        "hygon-csv/csv-rs-report/report.bin",
        "keystone/synthetic-a/report.bin",
    ];
    let mut scene = Scene::new(Genoa);
    for other in others {
        let Some(bytes) = corpus(other) else { return };
        scene.report = bytes;
        assert!(scene.examine().unwrap_err().is_malformed(), "{other}");
    }
}

#[test]
fn a10_hardware_that_is_not_listed_is_refused_and_an_empty_list_admits_none() {
    let scene = Scene::new(Genoa);
    let own = hex::encode(&scene.report[at::CHIP_ID..][..64]);
    let other = hex::encode([7; 64]);
    let listed = |ids: &[&String]| HardwareIds::Listed(ids.iter().map(|id| (*id).clone()).collect());
    assert_eq!(appraised(&scene, listed(&[&own, &other])), Ok(Tier::AllowListed));
    assert_eq!(appraised(&scene, HardwareIds::Any), Ok(Tier::ConfidentialVm));
    assert_eq!(appraised(&scene, listed(&[&other])), Err(Unfit::HardwareIdNotListed(own.clone())));
    assert_eq!(appraised(&scene, listed(&[])), Err(Unfit::HardwareIdNotListed(own)));
}

fn appraised(scene: &Scene, hardware: HardwareIds) -> Result<Tier, Unfit> {
    let lenient =
        SnpPolicy { signing_keys: BTreeSet::from([SigningKey::Vcek, SigningKey::Vlek]), ..SnpPolicy::default() };
    let genuine = scene.examine().unwrap().admit(&lenient).unwrap();
    let measurement = hex::encode(&scene.report[at::MEASUREMENT..][..48]);
    let policy = PlatformPolicy {
        tier_floor: Tier::ConfidentialVm,
        admits: ["affirmed", "revocation-unknown"].map(str::to_owned).into(),
        hardware,
        measurements: BTreeMap::from([("measurement".to_owned(), BTreeSet::from([measurement]))]),
    };
    genuine.appraise(&[0x5A; 64], &policy).map(|appraised| appraised.tier())
}

#[test]
fn s1_debug_and_migration_are_refused() {
    let policy = |bit: u32| (0x2_0000_u64 | 1 << bit).to_le_bytes();
    assert_eq!(changed(Genoa, at::POLICY, &policy(19)).examine(), Err(SnpError::Debug));
    let migrating = changed(Genoa, at::POLICY, &policy(18));
    assert_eq!(migrating.admitted(&SnpPolicy::default()), Err(SnpUnfit::Migration));
    // Whoever changes the bit afterwards is told of the signature: the state is judged once its origin is known.
    let mut unsigned = Scene::new(Genoa);
    put(&mut unsigned.report, at::POLICY, &policy(19));
    assert_eq!(unsigned.examine(), Err(SnpError::Signature));
}

#[test]
fn s2_another_privilege_level_is_refused_unless_it_is_named() {
    for level in [1_u8, 2, 3] {
        let scene = changed(Genoa, at::VMPL, &[level]);
        let level = u32::from(level);
        assert_eq!(scene.admitted(&SnpPolicy::default()), Err(SnpUnfit::Vmpl(level)));
        let named = SnpPolicy { vmpl: BTreeSet::from([level]), ..SnpPolicy::default() };
        assert_eq!(scene.admitted(&named), Ok(()));
        assert_eq!(Scene::new(Genoa).admitted(&named), Err(SnpUnfit::Vmpl(0)));
    }
}

#[test]
fn s3_a_certificate_that_lacks_or_misstates_version_or_chip_is_refused() {
    for generation in [Milan, Genoa, Turin] {
        let good = Amd::new(generation).chip_fields().extensions;
        for (index, (arcs, value)) in good.iter().enumerate() {
            let without = Scene::with(generation, |key| drop(key.extensions.remove(index)), |_| {});
            assert!(matches!(without.examine(), Err(SnpError::Extension(_))), "{generation:?} {arcs:?}");
            let other = Scene::with(generation, |key| key.extensions[index].1 = another(arcs, value), |_| {});
            let expected = match arcs[0] {
                2 => SnpError::Extension("product name"),
                3 => SnpError::Version,
                _ => SnpError::Chip,
            };
            assert_eq!(other.examine(), Err(expected), "{generation:?} {arcs:?}");
        }
        let mut raw = tcb(generation);
        raw[7] -= 1;
        assert_eq!(changed(generation, at::REPORTED_TCB, &raw).examine(), Err(SnpError::Version));
        assert_eq!(changed(generation, at::CHIP_ID, &[0xEE]).examine(), Err(SnpError::Chip));
    }
    // Turin's chips have eight bytes; what follows them is zero.
    assert_eq!(changed(Turin, at::CHIP_ID + 8, &[1]).examine(), Err(SnpError::Chip));
    let reserved = Scene::with(Genoa, |key| key.extensions.push((vec![3, 4], integer(1))), |_| {});
    assert_eq!(reserved.examine(), Err(SnpError::Extension("reserved security version")));
}

#[test]
fn s3_a_product_is_a_short_text_of_its_own_length() {
    let of = |value: &[u8]| {
        let value = value.to_vec();
        Scene::with(Genoa, |key| key.extensions[0].1 = value, |_| {}).examine().map(|_| ())
    };
    let text = |text: &[u8]| [&[0x16, u8::try_from(text.len()).unwrap()], text].concat();
    let refused = Err(SnpError::Extension("product name"));
    assert_eq!(of(&text(b"Genoa-B1")), Ok(()));
    // A length that is not the text's, more than 32 characters, and what is no ASCII; whatever they begin with.
    for bad in [&[0x16, 9][..], &[0x16, 7], &[0x16, 0]] {
        assert_eq!(of(&[bad, b"Genoa-B1"].concat()), refused, "{bad:?}");
    }
    assert_eq!(of(&text(&[b"Genoa-".as_slice(), &[b'B'; 26]].concat())), Ok(()));
    assert_eq!(of(&text(&[b"Genoa-".as_slice(), &[b'B'; 27]].concat())), refused);
    assert_eq!(of(&text("Genoa-\u{fc}".as_bytes())), refused);
    assert_eq!(of(&[&[0x0C, 8], b"Genoa-B1".as_slice()].concat()), refused);
}

#[test]
fn s3_a_chips_id_has_its_size_bare_or_as_an_octet_string() {
    for (generation, size) in [(Genoa, 64), (Turin, 8)] {
        let of = |head: &[u8], size: usize| {
            let change = |key: &mut KeyFields| {
                let found = key.extensions.iter_mut().find(|(arcs, _)| *arcs == [4]).unwrap();
                let id = found.1.iter().copied().chain([0; 2]).take(size);
                found.1 = head.iter().copied().chain(id).collect();
            };
            Scene::with(generation, change, |_| {}).examine().map(|_| ())
        };
        let told = u8::try_from(size).unwrap();
        let refused = Err(SnpError::Extension("hardware id"));
        assert_eq!((of(&[], size), of(&[4, told], size)), (Ok(()), Ok(())));
        for other in [size - 1, size + 1, 0] {
            assert_eq!(of(&[], other), refused, "{other}");
            assert_eq!(of(&[4, told], other), refused, "{other}");
        }
        assert_eq!(
            (of(&[4, told - 1], size), of(&[4, told + 1], size), of(&[5, told], size)),
            (refused.clone(), refused.clone(), refused)
        );
    }
}

/// Another value of the same form.
fn another(arcs: &[u64], value: &[u8]) -> Vec<u8> {
    match arcs[0] {
        2 => [&[0x16, 5], b"Zen-9".as_slice()].concat(),
        3 => integer(value.last().unwrap() ^ 1),
        _ => value.iter().map(|byte| byte ^ 1).collect(),
    }
}

#[test]
fn s4_a_cloud_key_where_the_chips_own_is_asked_for_is_refused() {
    let scene = Scene::cloud(Genoa, |_| {}, |_| {});
    assert_eq!(scene.admitted(&SnpPolicy::default()), Err(SnpUnfit::SigningKey(SigningKey::Vlek)));
    let named = SnpPolicy { signing_keys: BTreeSet::from([SigningKey::Vlek]), ..SnpPolicy::default() };
    assert_eq!(scene.admitted(&named), Ok(()));
    assert_eq!(Scene::new(Genoa).admitted(&named), Err(SnpUnfit::SigningKey(SigningKey::Vcek)));
    // The report must say the same of its key as the certificate, and name no chip.
    let says_chip = Scene::cloud(Genoa, |_| {}, |report| put(report, at::FLAGS, &[0]));
    assert_eq!(says_chip.examine(), Err(SnpError::SigningKey));
    assert_eq!(changed(Genoa, at::FLAGS, &[1 << 2]).examine(), Err(SnpError::SigningKey));
    let names_chip = Scene::cloud(Genoa, |_| {}, |report| put(report, at::CHIP_ID, &[1]));
    assert_eq!(names_chip.examine(), Err(SnpError::Chip));
    let with_chip = Scene::cloud(Genoa, |key| key.extensions.push((vec![4], vec![0; 64])), |_| {});
    assert_eq!(with_chip.examine(), Err(SnpError::Extension("hardware id")));
    // No other kind of key is known; 7 stands for none.
    for kind in 2..=7 {
        assert!(changed(Genoa, at::FLAGS, &[kind << 2]).examine().unwrap_err().is_malformed(), "{kind}");
    }
}

#[test]
fn s4_authorities_of_another_generation_or_kind_are_refused() {
    let scene = Scene::new(Genoa);
    for other in [Amd::new(Milan), Amd::new(Turin), Amd::for_clouds(Genoa)] {
        assert_eq!(scene.examine_with(&other.chain(), None, now()), Err(SnpError::Generation));
        let mixed = [scene.amd.intermediate(), other.root()].concat();
        let refused = scene.examine_with(&mixed, None, now());
        assert!(matches!(refused, Err(SnpError::Generation | SnpError::Chain(_))), "{refused:?}");
    }
    // A key of Genoa's hierarchy whose certificate says Turin or Milan does not pass as one.
    for product in ["Turin-B0", "Milan-B0"] {
        let text = [&[0x16, 8], product.as_bytes()].concat();
        let posing = Scene::with(
            Genoa,
            |key| {
                key.extensions[0].1 = text;
                key.extensions.push((vec![3, 9], integer(0)));
                key.extensions.retain(|(arcs, _)| product.starts_with("Milan") || arcs[0] != 4);
                if product.starts_with("Turin") {
                    key.extensions.push((vec![4], vec![1; 8]));
                }
            },
            |_| {},
        );
        assert_eq!(posing.examine(), Err(SnpError::Generation), "{product}");
    }
    let foreign = Amd::new(Genoa);
    let refused = examine(
        &SnpEvidence {
            report: &scene.report,
            key: Some(&scene.key.certificate),
            chain: Some(&scene.amd.chain()),
            list: None,
        },
        &foreign.anchors(),
        now(),
    );
    assert_eq!(chain_fault(refused), (2, CertificateFault::Untrusted));
    let refused = scene.examine_with(&foreign.chain(), None, now());
    assert_eq!(chain_fault(refused), (0, CertificateFault::Signature));
}

#[test]
fn s5_a_version_above_the_committed_one_or_below_the_floor_is_refused() {
    for generation in [Genoa, Turin] {
        let snp = if generation == Turin { 3 } else { 6 };
        let mut lower = tcb(generation);
        lower[snp] -= 1;
        let above = changed(generation, at::COMMITTED_TCB, &lower);
        assert_eq!(above.admitted(&SnpPolicy::default()), Err(SnpUnfit::AboveCommitted));
        let floor = Tcb::read(tcb(generation), generation).unwrap();
        let asked = SnpPolicy { minimum_tcb: BTreeMap::from([(generation, floor)]), ..SnpPolicy::default() };
        assert_eq!(Scene::new(generation).admitted(&asked), Ok(()));
        let launched = changed(generation, at::LAUNCH_TCB, &lower);
        let actual = Tcb::read(lower, generation).unwrap();
        assert_eq!(launched.admitted(&asked), Err(SnpUnfit::BelowFloor { floor, actual }));
        let mut reserved = tcb(generation);
        reserved[4] = 1;
        let reserved = changed(generation, at::COMMITTED_TCB, &reserved);
        assert_eq!(reserved.admitted(&SnpPolicy::default()), Err(SnpUnfit::Reserved));
    }
    // AMD-SB-3019: the forged chips stand exactly on the floor, and one step below it is refused.
    for (generation, snp) in [(Milan, 0x18), (Genoa, 0x17)] {
        assert_eq!(SnpPolicy::floor(generation).snp, snp);
        let mut old = tcb(generation);
        old[6] = snp - 1;
        let lower = |key: &mut KeyFields| {
            let found = key.extensions.iter_mut().find(|(arcs, _)| *arcs == [3, 3]).unwrap();
            found.1 = integer(snp - 1);
        };
        let scene = Scene::with(generation, lower, |report| put(report, at::REPORTED_TCB, &old));
        let policy = SnpPolicy { generations: BTreeSet::from([generation]), ..SnpPolicy::default() };
        let (floor, actual) = (SnpPolicy::floor(generation), Tcb::read(old, generation).unwrap());
        assert_eq!(scene.admitted(&policy), Err(SnpUnfit::BelowFloor { floor, actual }));
        assert_eq!(Scene::new(generation).admitted(&policy), Ok(()));
        // An owner's floor below AMD's does not lower it; of each component the higher one counts.
        let zero = Tcb { fmc: None, bootloader: 0, tee: 0, snp: 0, microcode: 0 };
        let asking = |owners: Tcb| SnpPolicy { minimum_tcb: BTreeMap::from([(generation, owners)]), ..policy.clone() };
        assert_eq!(scene.admitted(&asking(zero)), Err(SnpUnfit::BelowFloor { floor, actual }));
        assert_eq!(Scene::new(generation).admitted(&asking(zero)), Ok(()));
        let own = Tcb::read(tcb(generation), generation).unwrap();
        let raised = [
            Tcb { bootloader: own.bootloader + 1, ..zero },
            Tcb { tee: own.tee + 1, ..zero },
            Tcb { snp: own.snp + 1, ..zero },
            Tcb { microcode: own.microcode + 1, ..zero },
        ];
        for owners in raised {
            let floor = Tcb { snp: owners.snp.max(snp), ..owners };
            let refused = Scene::new(generation).admitted(&asking(owners));
            assert_eq!(refused, Err(SnpUnfit::BelowFloor { floor, actual: own }));
        }
    }
    let own = Tcb::read(tcb(Turin), Turin).unwrap();
    let floor = Tcb { fmc: own.fmc.map(|fmc| fmc + 1), bootloader: 0, tee: 0, snp: 0, microcode: 0 };
    let asked = SnpPolicy { minimum_tcb: BTreeMap::from([(Turin, floor)]), ..SnpPolicy::default() };
    assert_eq!(Scene::new(Turin).admitted(&asked), Err(SnpUnfit::BelowFloor { floor, actual: own }));
}

#[test]
fn s6_unchecked_aliases_and_unknown_platform_bits_are_refused() {
    let unchecked = changed(Genoa, at::PLATFORM_INFO, &[1]);
    assert_eq!(unchecked.admitted(&SnpPolicy::default()), Err(SnpUnfit::AliasCheck));
    for bit in [6].into_iter().chain(8..64) {
        let info = 0b10_0001 | 1_u64 << bit;
        let scene = changed(Genoa, at::PLATFORM_INFO, &info.to_le_bytes());
        assert_eq!(scene.admitted(&SnpPolicy::default()), Err(SnpUnfit::PlatformInfo(info)));
    }
}

/// A machine of Azure's on this hardware: the HCL's report of runtime claims with some RSA key, and no quote of its vTPM.
fn azure(scene: impl FnOnce(&mut dyn FnMut(&mut Vec<u8>)) -> Scene) -> Result<AzureSnpGenuine, AzureError> {
    let modulus = URL_SAFE_NO_PAD.encode([0xC5; 256]);
    let claims = json!({ "keys": [{ "kid": "HCLAkPub", "kty": "RSA", "e": "AQAB", "n": modulus }] }).to_string();
    let scene = scene(&mut |report| {
        put(report, at::REPORT_DATA, &[0; 64]);
        put(report, at::REPORT_DATA, digest(&SHA256, claims.as_bytes()).as_ref());
    });
    let mut report = [&b"HCLA\x01\0\0\0"[..], &[0; 24], &scene.report].concat();
    for number in [0, 1, 2, 1, claims.len() as u32] {
        report.extend(number.to_le_bytes());
    }
    report.extend(claims.as_bytes());
    let chain = scene.amd.chain();
    let endorsements = SnpEndorsements { key: Some(&scene.key.certificate), chain: Some(&chain), list: None };
    examine_snp(&report, None, &endorsements, &scene.amd.anchors(), now())
}

#[test]
fn s2_azures_firmware_reports_from_level_0_and_what_the_guest_asks_for_below_binds_no_vtpm() {
    let with = |at: usize, bytes: &[u8]| {
        azure(|bind| {
            Scene::with(
                Genoa,
                |_| {},
                |report| {
                    bind(report);
                    put(report, at, bytes);
                },
            )
        })
    };
    for level in 1..=3 {
        assert_eq!(with(at::VMPL, &[level]).err(), Some(AzureError::Vmpl(u32::from(level))));
    }
    assert_eq!(with(at::POLICY + 2, &[0b110]).err(), Some(AzureError::Migration));
    assert_eq!(with(at::VMPL, &[0]).unwrap().admit(&SnpPolicy::default()).unwrap().platform(), Platform::AzureSnp);
}

#[test]
fn s5_s6_s8_azures_hardware_is_held_against_the_same_policy_as_any() {
    let strict = SnpPolicy::default();
    let on = |generation, at: usize, bytes: &[u8]| {
        let scene = |bind: &mut dyn FnMut(&mut Vec<u8>)| {
            Scene::with(
                generation,
                |_| {},
                |report| {
                    bind(report);
                    put(report, at, bytes);
                },
            )
        };
        azure(scene).unwrap().admit(&strict).err()
    };
    assert_eq!(on(Genoa, at::PLATFORM_INFO, &[1]), Some(SnpUnfit::AliasCheck));
    assert_eq!(on(Milan, at::VMPL, &[0]), Some(SnpUnfit::Generation(Milan)));
    let mut lower = tcb(Genoa);
    lower[6] -= 1;
    assert_eq!(on(Genoa, at::COMMITTED_TCB, &lower), Some(SnpUnfit::AboveCommitted));
    assert!(matches!(on(Genoa, at::LAUNCH_TCB, &lower), Some(SnpUnfit::BelowFloor { .. })));
    let cloud = azure(|bind| Scene::cloud(Genoa, |_| {}, bind)).unwrap();
    assert_eq!(cloud.admit(&strict).err(), Some(SnpUnfit::SigningKey(SigningKey::Vlek)));
}

#[test]
fn s7_a_masked_chip_is_refused_where_hardware_is_listed() {
    let listed = || HardwareIds::Listed(BTreeSet::from([hex::encode([0; 64]), hex::encode([7; 64])]));
    let masked = changed(Genoa, at::CHIP_ID, &[0; 64]);
    assert_eq!(masked.examine().unwrap().genuine().hardware_id(), None);
    let cloud = Scene::cloud(Genoa, |_| {}, |_| {});
    for scene in [masked, cloud] {
        assert_eq!(appraised(&scene, listed()), Err(Unfit::HardwareIdMasked));
        assert_eq!(appraised(&scene, HardwareIds::Any), Ok(Tier::ConfidentialVm));
    }
    // With its key masked the firmware does not sign at all.
    assert_eq!(changed(Genoa, at::FLAGS, &[1 << 1]).examine(), Err(SnpError::SigningKey));
}

#[test]
fn s8_milan_is_refused_unless_it_is_named() {
    let scene = Scene::new(Milan);
    assert_eq!(scene.admitted(&SnpPolicy::default()), Err(SnpUnfit::Generation(Milan)));
    let empty: SnpPolicy = serde_json::from_str("{}").unwrap();
    assert_eq!(scene.admitted(&empty), Err(SnpUnfit::Generation(Milan)));
    let named = SnpPolicy { generations: BTreeSet::from([Milan]), ..SnpPolicy::default() };
    assert_eq!(scene.admitted(&named), Ok(()));
}

#[test]
fn the_product_of_the_report_is_that_of_the_certificate() {
    // From version 3 on the report states it; 0xA0 (Bergamo, Siena) has keys of Genoa.
    let bergamo = changed(Genoa, at::CPUID, &[0x19, 0xA0, 2]);
    assert_eq!(bergamo.admitted(&SnpPolicy::default()), Ok(()));
    for cpuid in [[0x19, 0x01, 1], [0x1A, 0x02, 1], [0x17, 0x31, 0], [0, 0, 0]] {
        assert_eq!(changed(Genoa, at::CPUID, &cpuid).examine(), Err(SnpError::Product), "{cpuid:?}");
    }
    // In version 2 its place is reserved.
    let old = Scene::with(Milan, |_| {}, |report| put(report, at::CPUID, &[0x19, 0x01, 1]));
    assert!(old.examine().unwrap_err().is_malformed());
}

#[test]
fn versions_and_algorithms_that_are_not_known_are_malformed() {
    for version in [0_u8, 1, 6, 255] {
        assert_eq!(changed(Genoa, at::VERSION, &[version]).examine().unwrap_err().code(), "unsupported-version");
    }
    for version in 3..=5 {
        assert_eq!(changed(Genoa, at::VERSION, &[version]).admitted(&SnpPolicy::default()), Ok(()), "{version}");
    }
    for algorithm in [0_u8, 2] {
        assert!(changed(Genoa, at::ALGORITHM, &[algorithm]).examine().unwrap_err().is_malformed());
    }
}

#[test]
fn the_list_must_be_the_roots_and_current_and_spare_the_intermediate() {
    let scene = Scene::new(Genoa);
    let chain = scene.amd.chain();
    let judged = |list: &[u8]| scene.examine_with(&chain, Some(list), now());
    let strict = SnpPolicy { revocation_list: true, ..SnpPolicy::default() };
    let good = scene.amd.list(false, (2026, 2027));
    judged(&good).unwrap().admit(&strict).unwrap();
    assert_eq!(scene.admitted(&strict), Err(SnpUnfit::RevocationList));
    assert_eq!(judged(&scene.amd.list(true, (2026, 2027))), Err(SnpError::Revoked));
    assert_eq!(judged(&scene.amd.list(false, (2024, 2026))), Err(SnpError::List(CertificateFault::Expired)));
    assert_eq!(judged(&scene.amd.list(false, (2027, 2028))), Err(SnpError::List(CertificateFault::NotYetValid)));
    let foreign = Amd::new(Genoa).list(false, (2026, 2027));
    assert_eq!(judged(&foreign), Err(SnpError::List(CertificateFault::Signature)));
    assert_eq!(judged(&good[..good.len() - 1]), Err(SnpError::List(CertificateFault::Malformed)));
    // Without the root's certificate the pinned key tells whose list it is, and the list says the same.
    let alone = |list: Option<&[u8]>| scene.examine_with(&scene.amd.intermediate(), list, now());
    alone(Some(&good)).unwrap().admit(&strict).unwrap();
    assert_eq!(alone(Some(&scene.amd.list(true, (2026, 2027)))), Err(SnpError::Revoked));
    assert_eq!(alone(Some(&scene.amd.list(false, (2024, 2026)))), Err(SnpError::List(CertificateFault::Expired)));
    assert_eq!(alone(Some(&foreign)), Err(SnpError::List(CertificateFault::Signature)));
    assert!(alone(None).unwrap().admit(&strict).is_err());
}

#[test]
fn certificates_out_of_time_and_missing_ones_are_named() {
    let late = Scene::with(Genoa, |key| key.years = (2020, 2026), |_| {});
    assert_eq!(chain_fault(late.examine()), (0, CertificateFault::Expired));
    let early = Scene::with(Genoa, |key| key.years = (2027, 2030), |_| {});
    assert_eq!(chain_fault(early.examine()), (0, CertificateFault::NotYetValid));
    let scene = Scene::new(Genoa);
    let chain = scene.amd.chain();
    let judged = |key: Option<&[u8]>, chain: Option<&[u8]>| {
        let evidence = SnpEvidence { report: &scene.report, key, chain, list: None };
        examine(&evidence, &scene.amd.anchors(), now()).map(|_| ())
    };
    assert_eq!(judged(None, Some(&chain)), Err(SnpError::EndorsementMissing));
    assert_eq!(judged(Some(&scene.key.certificate), None), Err(SnpError::EndorsementMissing));
    // Root first is a chain, too; a certificate twice is not.
    let reversed = [scene.amd.root(), scene.amd.intermediate()].concat();
    assert_eq!(judged(Some(&scene.key.certificate), Some(&reversed)), Ok(()));
    let twice = [chain.clone(), scene.amd.intermediate()].concat();
    assert_eq!(judged(Some(&scene.key.certificate), Some(&twice)), Err(SnpError::Generation));
    let renamed = Scene::with(Genoa, |key| key.common_name = "SEV-CEK".to_owned(), |_| {});
    assert_eq!(renamed.examine(), Err(SnpError::Extension("common name")));
}

#[test]
fn keys_and_authorities_are_examined_without_a_report_too() {
    let scene = Scene::new(Genoa);
    let (chain, roots, key) = (scene.amd.chain(), scene.amd.anchors(), &scene.key.certificate);
    assert_eq!(examine_key(key, &chain, &roots, now()), Ok(()));
    assert_eq!(examine_key(key, &Amd::new(Milan).chain(), &roots, now()), Err(SnpError::Generation));
    assert!(matches!(examine_key(key, &chain, &anchors(), now()), Err(SnpError::Chain(_))));
    assert_eq!(examine_authorities(&chain, None, &roots, now()), Ok(()));
    assert!(matches!(examine_authorities(&chain, None, &anchors(), now()), Err(SnpError::Chain(_))));
    let list = |revoked: bool| scene.amd.list(revoked, (2026, 2027));
    assert_eq!(examine_authorities(&chain, Some(&list(false)), &roots, now()), Ok(()));
    assert_eq!(examine_authorities(&chain, Some(&list(true)), &roots, now()), Err(SnpError::Revoked));
}

#[test]
fn what_a_report_reserves_is_zero_in_its_version() {
    let report = |generation: Generation, change: &dyn Fn(&mut Vec<u8>)| {
        let mut report = Amd::new(generation).report();
        change(&mut report);
        Report::parse(&report)
    };
    let policy =
        |bits: u64| report(Genoa, &|report| put(report, at::POLICY, &bits.to_le_bytes())).map(|report| report.policy);
    // Bit 17 is always one; bits 26 and above are nobody's.
    let refused = |field: &'static str, value: u64| FormatError::Value { structure: "SNP report", field, value };
    assert_eq!(policy(1 << 17), Ok(1 << 17));
    assert_eq!(policy(1 << 17 | 1 << 25), Ok(1 << 17 | 1 << 25));
    for bits in [0, 1 << 16, 1 << 17 | 1 << 26, 1 << 17 | 1 << 63, 1 << 26] {
        assert_eq!(policy(bits), Err(refused("policy", bits)));
    }
    let flags = |bits: u32| {
        let parsed = report(Genoa, &|report| put(report, at::FLAGS, &bits.to_le_bytes()));
        parsed.map(|report| (report.author_key_en, report.mask_chip_key, report.signing_key))
    };
    assert_eq!(flags(0b00000), Ok((false, false, SigningKey::Vcek)));
    assert_eq!(flags(0b00001), Ok((true, false, SigningKey::Vcek)));
    assert_eq!(flags(0b00010), Ok((false, true, SigningKey::Vcek)));
    assert_eq!(flags(0b00111), Ok((true, true, SigningKey::Vlek)));
    assert_eq!(flags(0b01000), Err(refused("signing key", 2)));
    assert_eq!(flags(0b11100), Err(refused("signing key", 7)));
    assert_eq!(flags(0b100000), Err(refused("flags", 0b100000)));
    // The fifth version has two vectors of mitigations behind the launch's security version; the second has zeros there.
    let behind = |generation: Generation, offset: usize| {
        report(generation, &|report| put(report, at::LAUNCH_TCB + 8 + offset, &[1])).map(|_| ())
    };
    for offset in 0..16 {
        assert_eq!(behind(Genoa, offset), Ok(()), "{offset}");
        assert!(behind(Milan, offset).is_err(), "{offset}");
    }
    assert!(behind(Genoa, 16).is_err());
}

#[test]
fn a_reports_generation_is_looked_for_in_its_key_and_then_in_itself() {
    for generation in [Milan, Genoa, Turin] {
        let scene = Scene::new(generation);
        let report = Report::parse(&scene.report).unwrap();
        assert_eq!(claimed_generation(&report, Some(&scene.key.certificate)), Some(generation));
        // Before the third version a report does not say.
        let said = (generation != Milan).then_some(generation);
        assert_eq!(claimed_generation(&report, None), said);
        // What is given as its key is the only thing asked, one certificate, of a key of AMD's.
        for other in [&[][..], b"no certificate", &scene.amd.root(), &scene.key.certificate.repeat(2)] {
            assert_eq!(claimed_generation(&report, Some(other)), None);
        }
    }
}
