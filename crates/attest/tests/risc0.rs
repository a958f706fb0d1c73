//! RISC Zero receipts against everything that must be refused, each with the exact reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod corpus;

use std::sync::LazyLock;

use attest::{
    FormatError, Tier,
    platform::{HardwareIds, PlatformPolicy, Refusal, Unfit},
    risc0::{Parameters, Receipt, Risc0Error, Version, examine},
};
use corpus::{Case, flip};
use jiff::Timestamp;

fn receipt(case: &Case) -> Receipt {
    let params: serde_json::Value = serde_json::from_slice(&case.bytes("params")).unwrap();
    let mut image_id = [0; 32];
    hex::decode_to_slice(params["image_id"].as_str().unwrap(), &mut image_id).unwrap();
    Receipt { seal: case.bytes("seal"), journal: case.bytes("journal"), image_id }
}

fn verify(receipt: &Receipt, version: Version) -> Result<(), Risc0Error> {
    static ALL: LazyLock<[Parameters; 3]> =
        LazyLock::new(|| Version::ALL.map(|version| Parameters::of(version).unwrap()));
    let at = Version::ALL.iter().position(|known| *known == version).unwrap();
    examine(receipt, &ALL[at..=at], Timestamp::UNIX_EPOCH).map(|_| ())
}

#[test]
fn receipts_hold_under_the_shipped_parameters_of_their_version() {
    let versions = [("2.0", Version::V2_0), ("3.0", Version::V3_0), ("5.0", Version::V5_0)];
    for (name, version) in versions {
        let Some(case) = Case::one(&format!("risc0/groth16-v{name}")) else { return };
        let receipt = receipt(&case);
        assert_eq!(verify(&receipt, version), Ok(()));
        for (_, other) in versions.into_iter().filter(|(_, other)| *other != version) {
            assert!(matches!(verify(&receipt, other), Err(Risc0Error::Selector(_))));
            // Under the selector of another version it proves nothing.
            let mut relabelled = receipt.clone();
            relabelled.seal[..4].copy_from_slice(Parameters::of(other).unwrap().selector());
            assert_eq!(verify(&relabelled, other), Err(Risc0Error::Proof));
        }
        let sound = examine(&receipt, &Parameters::sound(), Timestamp::UNIX_EPOCH).map(|_| ());
        assert_eq!(sound.is_ok(), version.advisory().is_none());
    }
}

#[test]
fn a_receipt_is_for_its_program_and_its_journal() {
    let Some(case) = Case::one("risc0/groth16-v3.0") else { return };
    let receipt = receipt(&case);
    let genuine = examine(&receipt, &Parameters::sound(), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(genuine.register("image_id"), Some(&receipt.image_id[..]));
    assert_eq!(genuine.claim("journal"), Some("just a simple receipt"));
    assert_eq!(genuine.tier(), Tier::SoftwareTpm);
    let numbers: Vec<u8> = genuine.steps().iter().map(|step| step.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    let policy = PlatformPolicy {
        tier_floor: Tier::SoftwareTpm,
        admits: ["affirmed".to_owned()].into(),
        hardware: HardwareIds::Any,
        measurements: [("image_id".to_owned(), [hex::encode(receipt.image_id)].into())].into(),
    };
    let digest = attest::HashAlgorithm::Sha256.hash(&[&receipt.journal]);
    assert!(genuine.clone().appraise(&digest, &policy).is_ok());
    assert_eq!(genuine.clone().appraise(&[0; 32], &policy).err(), Some(Unfit::NotBound));
    let refused = genuine.clone().appraise(&digest, &PlatformPolicy { tier_floor: Tier::Tpm, ..policy.clone() });
    assert_eq!(refused.err(), Some(Unfit::Tier { floor: Tier::Tpm, actual: Tier::SoftwareTpm }));
    let mut other = policy;
    other.measurements = [("image_id".to_owned(), [hex::encode([0; 32])].into())].into();
    assert!(matches!(genuine.appraise(&digest, &other), Err(Unfit::Measurement { .. })));
}

#[test]
fn a1_every_bit_of_a_receipt_counts() {
    let Some(case) = Case::one("risc0/groth16-v3.0") else { return };
    let good = receipt(&case);
    for bit in 0..good.seal.len() * 8 {
        let refused = verify(&Receipt { seal: flip(&good.seal, bit), ..good.clone() }, Version::V3_0).err().unwrap();
        let expected = if bit < 32 { "selector-not-accepted" } else { "proof-point-invalid" };
        assert_eq!(refused.code(), expected, "bit {bit}");
    }
    for bit in 0..good.journal.len() * 8 {
        let changed = Receipt { journal: flip(&good.journal, bit), ..good.clone() };
        assert_eq!(verify(&changed, Version::V3_0), Err(Risc0Error::Proof), "bit {bit}");
    }
    for bit in 0..256 {
        let image_id = flip(&good.image_id, bit).try_into().unwrap();
        let changed = Receipt { image_id, ..good.clone() };
        assert_eq!(verify(&changed, Version::V3_0), Err(Risc0Error::Proof), "bit {bit}");
    }
}

#[test]
fn a2_truncated_or_lengthened_receipts_are_refused() {
    let Some(case) = Case::one("risc0/groth16-v3.0") else { return };
    let good = receipt(&case);
    for size in 0..good.seal.len() {
        let refused = verify(&Receipt { seal: good.seal[..size].to_vec(), ..good.clone() }, Version::V3_0);
        assert!(matches!(refused, Err(Risc0Error::Seal(FormatError::Truncated { .. }))), "size {size}");
    }
    let longer = Receipt { seal: [good.seal.as_slice(), &[0]].concat(), ..good.clone() };
    let trailing = FormatError::Trailing { structure: "the seal", count: 1 };
    assert_eq!(verify(&longer, Version::V3_0), Err(Risc0Error::Seal(trailing)));
    let longer = Receipt { journal: [good.journal.as_slice(), &[0]].concat(), ..good.clone() };
    assert_eq!(verify(&longer, Version::V3_0), Err(Risc0Error::Proof));
    let longer = Receipt { journal: vec![0; 1024 * 1024 + 1], ..good };
    assert_eq!(verify(&longer, Version::V3_0), Err(Risc0Error::JournalTooLarge(1024 * 1024 + 1)));
}

#[test]
fn a_journal_is_read_up_to_1_mib_and_no_further() {
    // Without a seal a journal that is taken is refused for its seal.
    let sized = |size: usize| {
        let receipt = Receipt { seal: Vec::new(), journal: vec![0; size], image_id: [0; 32] };
        verify(&receipt, Version::V3_0)
    };
    let no_seal = FormatError::Truncated { structure: "the seal", at: 0, needed: 4 };
    assert_eq!(sized(1_048_576), Err(Risc0Error::Seal(no_seal.clone())));
    assert_eq!(sized(1_048_577), Err(Risc0Error::JournalTooLarge(1_048_577)));
    assert_eq!(sized(1_048_578), Err(Risc0Error::JournalTooLarge(1_048_578)));
    assert_eq!(sized(0), Err(Risc0Error::Seal(no_seal)));
}

#[test]
fn a_seal_is_a_selector_and_eight_words() {
    let sized = |size: usize| {
        let seal = [&Parameters::of(Version::V3_0).unwrap().selector()[..], &[0; 300]].concat()[..size].to_vec();
        verify(&Receipt { seal, journal: Vec::new(), image_id: [0; 32] }, Version::V3_0)
    };
    let short = FormatError::Truncated { structure: "the seal", at: 228, needed: 32 };
    assert_eq!(sized(259), Err(Risc0Error::Seal(short)));
    assert_eq!(sized(260), Err(Risc0Error::Point("A")));
    for more in 1..3 {
        let long = FormatError::Trailing { structure: "the seal", count: more };
        assert_eq!(sized(260 + more), Err(Risc0Error::Seal(long)));
    }
}

#[test]
fn a_proof_of_points_that_are_valid_and_other_is_refused() {
    let Some(case) = Case::one("risc0/groth16-v3.0") else { return };
    let good = receipt(&case);
    // C in the place of A, and A in that of C: on the curve, and no proof.
    let mut seal = good.seal.clone();
    seal.copy_within(196..260, 4);
    assert_eq!(verify(&Receipt { seal, ..good.clone() }, Version::V3_0), Err(Risc0Error::Proof));
    // The points at infinity, and coordinates that are the same modulo the prime.
    for (range, point) in [(4..68, "A"), (68..196, "B"), (196..260, "C")] {
        let mut seal = good.seal.clone();
        seal[range.clone()].fill(0);
        assert_eq!(verify(&Receipt { seal, ..good.clone() }, Version::V3_0), Err(Risc0Error::Point(point)));
        let mut seal = good.seal.clone();
        add_modulus(&mut seal[range.start..range.start + 32]);
        assert_eq!(verify(&Receipt { seal, ..good.clone() }, Version::V3_0), Err(Risc0Error::Point(point)));
    }
}

#[test]
fn a7_evidence_of_a_platform_is_no_receipt() {
    for kind in ["snp", "tdx", "nitro", "nvidia-gpu"] {
        let Some(cases) = Case::all(kind) else { return };
        let case = cases.first().unwrap();
        for (role, file) in case.entry["files"].as_object().unwrap() {
            if file.is_object() {
                let receipt = Receipt { seal: case.bytes(role), journal: Vec::new(), image_id: [0; 32] };
                assert!(verify(&receipt, Version::V3_0).err().unwrap().is_malformed(), "{kind} {role}");
            }
        }
    }
}

/// Adds the field's modulus to a coordinate.
fn add_modulus(number: &mut [u8]) {
    let mut modulus = [0; 32];
    hex::decode_to_slice("30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47", &mut modulus).unwrap();
    let mut carry = 0;
    for (byte, add) in number.iter_mut().zip(modulus).rev() {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = (sum & 0xFF) as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
}
