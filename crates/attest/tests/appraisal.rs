//! The appraisal of TPM Evidence against everything that must be refused, each with the exact reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod forge;

use attest::{
    AppraisalError, AppraisalPolicy, Bank, ChainFault, Clock, EndorsementKeys, Endorsements, Evidence, FormatError,
    HashAlgorithm, PcrValue, PolicyDocument, PolicyError, ReferenceValue, Tier, Verifier,
    binding::Purpose,
    event_log::{EventLog, ReplayError},
    events::{Event, RoleName},
    tpm::{Activation, AkFault, EnrolledAk, Vouching},
};
use envelope::{Digest, SigningKey, statement::Signed, text::Bytes};
use forge::{
    AK_ATTRIBUTES, Authority, Room, SALT, ecdsa_key, enrol, enrolment_evidence, name_of, now, parts, tpm_name, worker,
};
use zeroize::Zeroizing;

#[test]
fn evidence_in_which_all_is_right_passes_fifteen_steps() {
    let room = Room::new();
    let result = room.appraise().unwrap();
    assert_eq!(result.tier(), Tier::Tpm);
    assert_eq!(result.role(), "worker");
    assert_eq!(result.role_binary(), &Digest::of(b"the worker's binary"));
    assert_eq!(result.ak_name(), &name_of(&room.ak_public));
    assert_eq!((result.reset_count(), result.restart_count()), (3, 1));
    assert_eq!(result.firmware(), "2019102300163636");
    assert_eq!(result.runs_since_start(), 2);
    assert_eq!(result.measurements().len(), 4);
    assert_eq!(result.binding(), &Digest::from_bytes(*room.binding().sha256()));
    let numbers: Vec<u8> = result.steps().iter().map(|step| step.number).collect();
    assert_eq!(numbers, (1..=15).collect::<Vec<u8>>());
    assert!(serde_json::to_string(&result).unwrap().contains("\"tier\":\"tpm\""));
}

#[test]
fn both_banks_can_be_appraised() {
    let mut room = Room::new();
    room.policy.tpm.bank = Bank::Sha384;
    room.fields.selections = vec![
        (HashAlgorithm::Sha1, vec![0, 8]),
        (HashAlgorithm::Sha256, vec![0, 8]),
        (HashAlgorithm::Sha384, vec![8, 12]),
    ];
    assert!(room.appraise().is_ok());
    room.policy.tpm.bank = Bank::Sha256;
    assert_eq!(room.appraise(), Err(AppraisalError::PcrNotQuoted(12)));
}

/// Flips every bit of `bytes` and returns the offsets, in bits, at which the changed Evidence is still accepted.
fn survivors(bytes: &[u8], mut accepted: impl FnMut(Vec<u8>) -> bool) -> Vec<usize> {
    (0..bytes.len() * 8)
        .filter(|bit| {
            let mut changed = bytes.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            accepted(changed)
        })
        .collect()
}

#[test]
fn a1_every_bit_of_the_signed_bytes_counts() {
    let room = Room::new();
    let good = room.evidence();
    for bit in 0..good.quote.len() * 8 {
        let mut evidence = good.clone();
        evidence.quote[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(room.appraise_evidence(evidence), Err(AppraisalError::Signature), "bit {bit}");
    }
}

#[test]
fn a1_every_bit_of_the_signature_the_key_and_the_registers_counts() {
    let room = Room::new();
    let good = room.evidence();
    let signature = survivors(&good.signature, |signature| {
        room.appraise_evidence(attest::TpmEvidence { signature, ..good.clone() }).is_ok()
    });
    assert!(signature.is_empty(), "{signature:?}");
    let ak_public = survivors(&good.ak_public, |ak_public| {
        room.appraise_evidence(attest::TpmEvidence { ak_public, ..good.clone() }).is_ok()
    });
    assert!(ak_public.is_empty(), "{ak_public:?}");
    for index in 0..good.pcrs.len() {
        let value = survivors(&good.pcrs[index].value, |value| {
            let mut evidence = good.clone();
            evidence.pcrs[index].value = value;
            room.appraise_evidence(evidence) != Err(AppraisalError::PcrDigest)
        });
        assert!(value.is_empty(), "{value:?}");
    }
}

#[test]
fn a1_the_unsigned_bytes_of_an_event_log_are_these() {
    let room = Room::new();
    let good = room.evidence();
    let survivors = survivors(&good.event_log, |event_log| {
        room.appraise_evidence(attest::TpmEvidence { event_log, ..good.clone() }).is_ok()
    });
    let bytes: std::collections::BTreeSet<usize> = survivors.iter().map(|bit| bit / 8).collect();
    // In the header: the digest field that is never extended (8 to 27), the platform class (48 to 51), minor version,
    // errata and integer size (52, 54, 55). In each event: the digests of the banks that were not appraised.
    let mut expected: std::collections::BTreeSet<usize> = (8..28).chain(48..53).chain(54..56).collect();
    let header = 32 + 28 + 3 * 4 + 1;
    let mut at = header;
    for entry in room.log.entries() {
        let digests = at + 12;
        expected.extend(digests + 2..digests + 22); // sha1
        expected.extend(digests + 22 + 34 + 2..digests + 22 + 34 + 50); // sha384
        at = digests + 22 + 34 + 50 + 4 + entry.data.len();
    }
    assert_eq!(at, good.event_log.len());
    assert_eq!(bytes, expected);
}

#[test]
fn a2_truncated_or_lengthened_parts_are_refused() {
    let room = Room::new();
    let good = room.evidence();
    for size in 0..good.quote.len() {
        let evidence = attest::TpmEvidence { quote: good.quote[..size].to_vec(), ..good.clone() };
        assert_eq!(room.appraise_evidence(evidence), Err(AppraisalError::Signature));
    }
    type Part = fn(&mut attest::TpmEvidence) -> &mut Vec<u8>;
    let parts: [Part; 3] = [|e| &mut e.ak_public, |e| &mut e.signature, |e| &mut e.event_log];
    for part in parts {
        let mut longer = good.clone();
        part(&mut longer).push(0);
        assert!(matches!(room.appraise_evidence(longer), Err(AppraisalError::Malformed(_))));
        for size in 0..part(&mut good.clone()).len() {
            let mut shorter = good.clone();
            part(&mut shorter).truncate(size);
            let error = room.appraise_evidence(shorter).unwrap_err();
            // A log that ends between two events is a shorter log, and no longer replays.
            let whole = matches!(error, AppraisalError::ReplayMismatch(_));
            assert!(whole || matches!(error, AppraisalError::Malformed(_)), "{size}: {error:?}");
        }
    }
}

#[test]
fn a2_signed_bytes_with_a_byte_too_many_are_refused() {
    let room = Room::new();
    let mut evidence = room.evidence();
    evidence.quote.push(0);
    evidence.signature = forge::sign(&room.ak, &evidence.quote);
    let error = FormatError::Trailing { structure: "TPMS_ATTEST", count: 1 };
    assert_eq!(room.appraise_evidence(evidence), Err(AppraisalError::Malformed(error)));
}

#[test]
fn a3_a_quote_for_another_nonce_is_refused() {
    let mut room = Room::new();
    room.parts.nonce = [6; 32];
    assert_eq!(room.appraise(), Err(AppraisalError::Binding));
}

#[test]
fn c7_every_part_of_the_binding_counts() {
    let good = Room::new();
    let changes: [fn(&mut attest::binding::BindingParts); 8] = [
        |parts| parts.keys.channel[0] ^= 1,
        |parts| parts.keys.encapsulation[0] ^= 1,
        |parts| parts.keys.signing[0] ^= 1,
        |parts| parts.exporter[0] ^= 1,
        |parts| parts.nonce[0] ^= 1,
        |parts| {
            let Purpose::WorkerRelease { agreement, run } = parts.purpose else { panic!() };
            parts.purpose = Purpose::WorkerRenew { agreement, run };
        },
        |parts| {
            let Purpose::WorkerRelease { run, .. } = parts.purpose else { panic!() };
            parts.purpose = Purpose::WorkerRelease { agreement: Digest::of(b"another"), run };
        },
        |parts| {
            let Purpose::WorkerRelease { agreement, .. } = parts.purpose else { panic!() };
            parts.purpose = Purpose::WorkerRelease { agreement, run: Digest::of(b"another") };
        },
    ];
    let evidence = good.evidence();
    let mut seen = vec![*good.binding().sha512()];
    let mut room = good;
    let parts = room.parts.clone();
    for change in changes {
        room.parts = parts.clone();
        change(&mut room.parts);
        assert_eq!(room.appraise_evidence(evidence.clone()), Err(AppraisalError::Binding));
        assert!(!seen.contains(room.binding().sha512()));
        seen.push(*room.binding().sha512());
    }
}

#[test]
fn c3_evidence_of_a_broker_is_no_evidence_of_a_worker() {
    let mut room = Room::new();
    let purpose = Purpose::BrokerDeposit { party: [8; 32] };
    room.fields.extra_data = parts(purpose).bind().sha256().to_vec();
    assert_eq!(room.appraise(), Err(AppraisalError::Binding));
}

#[test]
fn a6_a_policy_has_no_expectation_that_may_be_left_out() {
    let policy = serde_json::to_value(Room::new().policy).unwrap();
    for field in ["roots", "endorsement_keys", "bank", "role", "binaries", "clock"] {
        let mut partial = policy.clone();
        partial["tpm"].as_object_mut().unwrap().remove(field);
        let error = serde_json::from_value::<AppraisalPolicy>(partial).unwrap_err().to_string();
        assert_eq!(error, format!("missing field `{field}`"));
    }
    let mut default = policy.clone();
    default.as_object_mut().unwrap().remove("tier_floor");
    assert_eq!(serde_json::from_value::<AppraisalPolicy>(default).unwrap().tier_floor(), Tier::Tpm);
    let mut unknown = policy;
    unknown["tpm"]["skip"] = true.into();
    assert!(serde_json::from_value::<AppraisalPolicy>(unknown).is_err());
}

#[test]
fn a6_empty_qualifying_data_is_refused() {
    let mut room = Room::new();
    room.fields.extra_data = Vec::new();
    assert_eq!(room.appraise(), Err(AppraisalError::Binding));
    room.fields.extra_data = room.binding().sha256()[..31].to_vec();
    assert_eq!(room.appraise(), Err(AppraisalError::Binding));
}

#[test]
fn a7_evidence_under_another_label_does_not_parse() {
    let evidence = Evidence::Tpm(Room::new().evidence());
    let good = serde_json::to_value(&evidence).unwrap();
    assert_eq!(serde_json::from_value::<Evidence>(good.clone()).unwrap(), evidence);
    for label in ["snp", "tdx", "TPM", ""] {
        let mut other = good.clone();
        other["kind"] = label.into();
        assert!(serde_json::from_value::<Evidence>(other).is_err());
    }
    let mut unknown = good;
    unknown["debug"] = true.into();
    assert!(serde_json::from_value::<Evidence>(unknown).is_err());
}

#[test]
fn a7_a_signature_labelled_with_another_scheme_is_refused() {
    let room = Room::new();
    let mut evidence = room.evidence();
    evidence.signature[3] = 0x0C; // sha384
    assert_eq!(room.appraise_evidence(evidence), Err(AppraisalError::SignatureScheme));
    let mut evidence = room.evidence();
    evidence.signature[3] = 0x04; // sha1
    let error = FormatError::Value { structure: "TPMT_SIGNATURE", field: "hash of the scheme", value: 4 };
    assert_eq!(room.appraise_evidence(evidence), Err(AppraisalError::Malformed(error)));
}

#[test]
fn a9_the_default_policy_refuses_a_tpm_in_software() {
    let mut room = Room::with_tpm(Tier::SoftwareTpm, |_| {});
    assert_eq!(room.appraise().unwrap().tier(), Tier::SoftwareTpm);
    room.policy.tier_floor = Tier::default();
    let refused = AppraisalError::Tier { floor: Tier::Tpm, actual: Tier::SoftwareTpm };
    assert_eq!(room.appraise(), Err(refused.clone()));
    assert!(refused.to_string().contains("does not prove which code ran"));
}

#[test]
fn a9_a_root_cannot_make_a_tpm_in_software_more_than_it_is() {
    let swtpm = |params: &mut rcgen::CertificateParams| {
        params.custom_extensions = vec![forge::tpm_name("id:00001014", "swtpm")];
    };
    let mut room = Room::with_tpm(Tier::SoftwareTpm, swtpm);
    room.policy.tpm.roots[0].tier = Tier::Tpm;
    assert_eq!(room.appraise().unwrap().tier(), Tier::SoftwareTpm);
    room.policy.tpm.endorsement_keys = EndorsementKeys::Any;
    assert_eq!(room.appraise(), Err(AppraisalError::SoftwareTpmNotListed));
}

#[test]
fn a9_either_part_of_a_name_tells_a_tpm_in_software() {
    let tier = |manufacturer: &str, model: &str| {
        let (mut room, authority) = (Room::new(), Authority::new("another maker"));
        let (public, certificate) =
            authority.endorse(|params| params.custom_extensions = vec![tpm_name(manufacturer, model)]);
        room.claim.ek_public = Bytes(public);
        room.claim.ek_certificates = vec![Bytes(certificate)];
        room.policy.tier_floor = Tier::SoftwareTpm;
        room.policy.tpm.roots[0].certificate = Bytes(authority.certificate);
        room.policy.tpm.endorsement_keys = EndorsementKeys::Listed(vec![room.claim.ek_digest().unwrap()]);
        room.enrolled = enrol(&room.ak, &room.claim, &room.policy, &room.fields).unwrap();
        room.appraise().map(|result| result.tier())
    };
    assert_eq!(tier("id:4E544300", "NPCT75x"), Ok(Tier::Tpm));
    for (manufacturer, model) in
        [("id:00001014", "NPCT75x"), ("ID:00001014", "NPCT75x"), ("id:4E544300", "swtpm"), ("id:4E544300", "a SWTPM 2")]
    {
        let refused = tier(manufacturer, model);
        assert!(refused == Ok(Tier::SoftwareTpm), "{manufacturer} {model}: {refused:?}");
    }
}

#[test]
fn a_tpm_above_the_floor_is_enrolled_and_one_below_is_not() {
    for (floor, refused) in [(Tier::SoftwareTpm, None), (Tier::Tpm, None), (Tier::ConfidentialVm, Some(Tier::Tpm))] {
        let mut room = Room::new();
        room.policy.tier_floor = floor;
        let enrolled = enrol(&room.ak, &room.claim, &room.policy, &room.fields).map(drop);
        let expected = refused.map_or(Ok(()), |actual| Err(AppraisalError::Tier { floor, actual }));
        assert_eq!(enrolled, expected);
    }
}

#[test]
fn up_to_eight_authorities_stand_between_a_key_and_its_root() {
    let with = |count: usize| {
        let mut room = Room::new();
        let other = Authority::new("somebody else").certificate;
        let leaf = room.claim.ek_certificates[0].clone();
        room.claim.ek_certificates = [vec![leaf], vec![Bytes(other); count]].concat();
        enrol(&room.ak, &room.claim, &room.policy, &room.fields).map(drop)
    };
    assert_eq!(with(8), Ok(()));
    for count in [9, 10] {
        assert_eq!(with(count), Err(AppraisalError::Certificate));
    }
}

#[test]
fn a9_a_root_pinned_twice_gains_no_tier() {
    let mut room = Room::with_tpm(Tier::SoftwareTpm, |_| {});
    let mut again = room.policy.tpm.roots[0].clone();
    again.tier = Tier::Tpm;
    room.policy.tpm.roots.insert(0, again);
    assert_eq!(room.appraise().unwrap().tier(), Tier::SoftwareTpm);
}

#[test]
fn a10_an_endorsement_key_outside_the_list_is_refused_and_an_empty_list_accepts_none() {
    let mut room = Room::new();
    let digest = room.claim.ek_digest().unwrap();
    room.policy.tpm.endorsement_keys = EndorsementKeys::Listed(vec![Digest::of(b"another")]);
    assert_eq!(room.appraise(), Err(AppraisalError::EndorsementKeyNotListed(digest)));
    room.policy.tpm.endorsement_keys = EndorsementKeys::Listed(Vec::new());
    assert_eq!(room.appraise(), Err(AppraisalError::EndorsementKeyNotListed(digest)));
    room.policy.tpm.endorsement_keys = EndorsementKeys::Any;
    assert!(room.appraise().is_ok());
}

#[test]
fn p1_a_certificate_of_another_endorsement_key_is_refused() {
    let room = Room::new();
    let (_, foreign) = Authority::new("a maker of TPMs").endorse(|_| {});
    let mut claim = room.claim.clone();
    claim.ek_certificates[0].0 = foreign;
    let refused = enrol(&room.ak, &claim, &room.policy, &room.fields).map(|_| ());
    assert_eq!(refused, Err(AppraisalError::CertificateKey));
}

#[test]
fn p1_a_wrong_answer_does_not_activate() {
    let room = Room::new();
    let policy = AppraisalPolicy::new(room.policy.clone()).unwrap();
    let binding = parts(Purpose::WorkerEnrol { ak_name: name_of(&room.ak_public) }).bind();
    let evidence = enrolment_evidence(&room.ak, &room.ak_public, &room.fields, &binding);
    for answer in [&[9; 31][..], &[9; 33], &[8; 32], &[]] {
        let (secret, seed) = (Zeroizing::new([9; 32]), Zeroizing::new([11; 48]));
        let begun = Activation::begin(room.claim.clone(), &policy, now(), secret, &seed).unwrap();
        assert_eq!(begun.0.complete(answer, &evidence, &binding), Err(AppraisalError::NotActivated));
    }
}

#[test]
fn p1_an_activation_is_for_its_own_key_and_purpose() {
    let room = Room::new();
    let policy = AppraisalPolicy::new(room.policy.clone()).unwrap();
    let begin = || {
        let (secret, seed) = (Zeroizing::new([9; 32]), Zeroizing::new([11; 48]));
        Activation::begin(room.claim.clone(), &policy, now(), secret, &seed).unwrap().0
    };
    let other = forge::ak_public(&ecdsa_key(), AK_ATTRIBUTES);
    let binding = parts(Purpose::WorkerEnrol { ak_name: name_of(&other) }).bind();
    let evidence = enrolment_evidence(&room.ak, &room.ak_public, &room.fields, &binding);
    assert_eq!(begin().complete(&[9; 32], &evidence, &binding), Err(AppraisalError::EnrolsAnotherKey));
    let binding = room.binding();
    let evidence = enrolment_evidence(&room.ak, &room.ak_public, &room.fields, &binding);
    assert_eq!(begin().complete(&[9; 32], &evidence, &binding), Err(AppraisalError::ActivationPurpose));
    let binding = parts(Purpose::BrokerDeposit { party: [1; 32] }).bind();
    let evidence = enrolment_evidence(&ecdsa_key(), &room.ak_public, &room.fields, &binding);
    assert_eq!(begin().complete(&[9; 32], &evidence, &binding), Err(AppraisalError::Signature));
}

#[test]
fn p1_evidence_of_a_key_that_was_not_enrolled_is_refused() {
    let mut room = Room::new();
    let enrolled = name_of(&room.ak_public);
    room.ak = ecdsa_key();
    room.ak_public = forge::ak_public(&room.ak, AK_ATTRIBUTES);
    let actual = name_of(&room.ak_public);
    assert_eq!(room.appraise(), Err(AppraisalError::NotEnrolled { enrolled, actual }));
    let policy = AppraisalPolicy::new(room.policy.clone()).unwrap();
    let none = Endorsements::default();
    let refused = Verifier::appraise(&Evidence::Tpm(room.evidence()), &none, &room.binding(), &policy, now());
    assert_eq!(refused, Err(AppraisalError::EndorsementMissing));
}

#[test]
fn p2_a_key_that_is_no_attestation_key_is_refused() {
    let cases = [
        (AK_ATTRIBUTES & !(1 << 16), AkFault::NotRestricted),
        (AK_ATTRIBUTES & !(1 << 18), AkFault::NotSigning),
        (AK_ATTRIBUTES & !(1 << 1), AkFault::NotFixedTpm),
        (AK_ATTRIBUTES & !(1 << 4), AkFault::NotFixedParent),
        (AK_ATTRIBUTES & !(1 << 5), AkFault::ForeignOrigin),
        (AK_ATTRIBUTES | 1 << 17, AkFault::Decrypts),
    ];
    for (attributes, fault) in cases {
        let mut room = Room::new();
        room.ak_public = forge::ak_public(&room.ak, attributes);
        assert_eq!(room.appraise(), Err(AppraisalError::AttestationKey(fault)));
        let mut claim = room.claim.clone();
        claim.ak_public.0 = room.ak_public.clone();
        let refused = enrol(&room.ak, &claim, &room.policy, &room.fields).map(|_| ());
        assert_eq!(refused, Err(AppraisalError::AttestationKey(fault)));
    }
    let mut room = Room::new();
    let point = aws_lc_rs::signature::KeyPair::public_key(&room.ak).as_ref().to_vec();
    room.ak_public = forge::ecc_public(AK_ATTRIBUTES, &[0, 0x10], &[0, 0x10], &point);
    assert_eq!(room.appraise(), Err(AppraisalError::AttestationKey(AkFault::NoScheme)));
}

#[test]
fn p3_signed_bytes_that_no_tpm_made_are_refused() {
    let mut room = Room::new();
    room.fields.magic = 0xFF54_4348;
    assert_eq!(room.appraise(), Err(AppraisalError::NotGenerated(0xFF54_4348)));
    let mut room = Room::new();
    room.fields.kind = 0x8017; // a certification of a key
    assert_eq!(room.appraise(), Err(AppraisalError::NotQuote(0x8017)));
}

#[test]
fn p4_a_selection_that_leaves_out_what_is_required_is_refused() {
    let mut room = Room::new();
    room.fields.selections = vec![(HashAlgorithm::Sha1, vec![0, 7, 8, 12])];
    assert_eq!(room.appraise(), Err(AppraisalError::Sha1Only));
    room.fields.selections = vec![(HashAlgorithm::Sha1, vec![8, 12]), (HashAlgorithm::Sha256, vec![])];
    assert_eq!(room.appraise(), Err(AppraisalError::Sha1Only));
    room.fields.selections = vec![(HashAlgorithm::Sha384, vec![8, 12])];
    assert_eq!(room.appraise(), Err(AppraisalError::BankNotQuoted(HashAlgorithm::Sha256)));
    room.fields.selections = vec![];
    assert_eq!(room.appraise(), Err(AppraisalError::BankNotQuoted(HashAlgorithm::Sha256)));
    for missing in [8, 12] {
        let pcrs = [0, 7, 8, 12].into_iter().filter(|pcr| *pcr != missing).collect();
        room.fields.selections = vec![(HashAlgorithm::Sha256, pcrs)];
        assert_eq!(room.appraise(), Err(AppraisalError::PcrNotQuoted(missing)));
    }
}

#[test]
fn p4_values_that_do_not_fit_the_selection_are_refused() {
    let room = Room::new();
    let bank = HashAlgorithm::Sha256;
    let mut evidence = room.evidence();
    evidence.pcrs.pop();
    assert_eq!(room.appraise_evidence(evidence), Err(AppraisalError::PcrValueMissing { bank, pcr: 12 }));
    let mut evidence = room.evidence();
    evidence.pcrs.push(evidence.pcrs[0].clone());
    assert_eq!(room.appraise_evidence(evidence), Err(AppraisalError::PcrValueUnexpected { bank, pcr: 0 }));
    let mut evidence = room.evidence();
    evidence.pcrs.push(PcrValue { bank, index: 9, value: vec![0; 32] });
    assert_eq!(room.appraise_evidence(evidence), Err(AppraisalError::PcrValueUnexpected { bank, pcr: 9 }));
    let mut evidence = room.evidence();
    evidence.pcrs[1].value.pop();
    assert_eq!(room.appraise_evidence(evidence), Err(AppraisalError::PcrValueUnexpected { bank, pcr: 7 }));
    let mut evidence = room.evidence();
    evidence.pcrs.reverse();
    assert!(room.appraise_evidence(evidence).is_ok());
}

#[test]
fn p5_an_event_of_ours_that_is_not_measured_is_refused() {
    let mut room = Room::new();
    let listed = Digest::of(b"the worker's binary").to_string();
    let unlisted = Digest::of(b"another binary");
    // The registers hold what was started; the log's text is made to name a listed binary.
    let mut log = EventLog::new(&[HashAlgorithm::Sha256]);
    log.append(&Event::role(&worker(), &unlisted));
    log.append(&Event::system_ready());
    log.append(&Event::run(&SALT, &Digest::of(b"a run")));
    room.log = log;
    let mut evidence = room.evidence();
    let place = find(&evidence.event_log, unlisted.to_string().as_bytes());
    evidence.event_log[place..place + listed.len()].copy_from_slice(listed.as_bytes());
    assert_eq!(room.appraise_evidence(evidence), Err(AppraisalError::EventNotMeasured { index: 0, pcr: 8 }));
    assert_eq!(room.appraise(), Err(AppraisalError::RoleBinary(unlisted)));
}

#[test]
fn p5_data_that_is_not_what_its_type_promises_is_refused() {
    let mut room = Room::new();
    let digest = HashAlgorithm::Sha256.hash(&[&[0; 4]]);
    room.log = EventLog::parse(&with_firmware_event(&room.log, 7, 4, &digest, &[0; 4])).unwrap();
    assert!(room.appraise().is_ok());
    let lying = with_firmware_event(&room.log, 7, 4, &digest, &[1; 4]);
    room.log = EventLog::parse(&lying).unwrap();
    let index = room.log.entries().len() - 1;
    assert_eq!(room.appraise(), Err(AppraisalError::EventData(ReplayError::Data { index, pcr: 7 })));
}

#[test]
fn p6_a_tpm_that_was_reset_or_restarted_must_enrol_again() {
    let mut room = Room::new();
    room.fields.reset_count = 4;
    let refused = AppraisalError::Restarted { enrolled: (3, 1), actual: (4, 1) };
    assert_eq!(refused.code(), "re-enrol");
    assert_eq!(room.appraise(), Err(refused));
    let mut room = Room::new();
    room.fields.restart_count = 0;
    assert_eq!(room.appraise(), Err(AppraisalError::Restarted { enrolled: (3, 1), actual: (3, 0) }));
}

#[test]
fn p6_an_unsafe_clock_is_refused_unless_the_policy_accepts_it() {
    let mut room = Room::new();
    room.fields.safe = 0;
    assert_eq!(room.appraise(), Err(AppraisalError::ClockNotSafe));
    room.policy.tpm.clock = Clock::Unsafe;
    assert!(room.appraise().is_ok());
}

#[test]
fn row_98_a_binary_or_role_that_is_not_listed_is_refused() {
    let mut room = Room::new();
    room.policy.tpm.binaries = vec![Digest::of(b"the next version")];
    assert_eq!(room.appraise(), Err(AppraisalError::RoleBinary(Digest::of(b"the worker's binary"))));
    let mut room = Room::new();
    let expected = RoleName::try_from("broker").unwrap();
    room.policy.tpm.role = expected.clone();
    assert_eq!(room.appraise(), Err(AppraisalError::Role { expected, actual: worker() }));
}

#[test]
fn row_19_a_register_with_another_value_is_refused() {
    let mut room = Room::new();
    room.policy.tpm.reference_values = vec![ReferenceValue { pcr: 7, values: vec!["00".repeat(32), "11".repeat(32)] }];
    assert!(room.appraise().is_ok());
    room.policy.tpm.reference_values[0].values.remove(0);
    let value = "00".repeat(32);
    assert_eq!(room.appraise(), Err(AppraisalError::ReferenceValue { pcr: 7, value }));
    room.policy.tpm.reference_values[0].pcr = 4;
    assert_eq!(room.appraise(), Err(AppraisalError::PcrNotQuoted(4)));
}

#[test]
fn t9_the_history_is_as_ordered_or_refused() {
    let binary = Digest::of(b"the worker's binary");
    let (role, ready) = (Event::role(&worker(), &binary), Event::system_ready());
    let run = Event::run(&SALT, &Digest::of(b"a run"));
    let with = |events: &[&Event]| {
        let mut room = Room::new();
        room.log = EventLog::new(&[HashAlgorithm::Sha256]);
        events.iter().for_each(|event| room.log.append(event));
        room.appraise().map(|_| ())
    };
    assert_eq!(with(&[&role, &ready, &run]), Ok(()));
    assert_eq!(with(&[&role, &run, &ready]), Err(AppraisalError::EventOrder { index: 1, pcr: 12 }));
    assert_eq!(with(&[&ready, &role, &run]), Err(AppraisalError::EventOrder { index: 2, pcr: 8 }));
    assert_eq!(with(&[&role, &role, &ready, &run]), Err(AppraisalError::EventOrder { index: 1, pcr: 8 }));
    assert_eq!(with(&[&role, &ready, &run, &run]), Err(AppraisalError::EventOrder { index: 4, pcr: 12 }));
    assert_eq!(with(&[&role, &ready, &run, &ready]), Err(AppraisalError::EventOrder { index: 4, pcr: 8 }));
    assert_eq!(with(&[&role]), Err(AppraisalError::NotReady(8)));
    assert_eq!(with(&[&ready, &run]), Err(AppraisalError::RoleMissing));
    assert_eq!(with(&[&role, &ready]), Err(AppraisalError::RunNotMeasured));
    assert_eq!(with(&[]), Err(AppraisalError::NotReady(8)));
}

#[test]
fn t9_a_foreign_event_in_our_registers_is_refused() {
    for pcr in [8, 12] {
        let mut room = Room::new();
        let digest = HashAlgorithm::Sha256.hash(&[b"grub_cmd"]);
        room.log = EventLog::parse(&with_firmware_event(&room.log, pcr, 0x0D, &digest, b"grub_cmd")).unwrap();
        let index = room.log.entries().len() - 1;
        assert_eq!(room.appraise(), Err(AppraisalError::ForeignEvent { index, pcr: pcr as u8 }));
    }
    // An event of ours in the other of our registers.
    let mut room = Room::new();
    let event = Event::run(&[2; 32], &Digest::of(b"hidden"));
    let digest = event.digest(HashAlgorithm::Sha256);
    room.log = EventLog::parse(&with_firmware_event(&room.log, 8, 6, &digest, &event.data())).unwrap();
    let index = room.log.entries().len() - 1;
    assert_eq!(room.appraise(), Err(AppraisalError::ForeignEvent { index, pcr: 8 }));
}

#[test]
fn t9_a_hidden_run_makes_the_replay_fail() {
    let room = Room::new();
    let mut evidence = room.evidence();
    let mut log = EventLog::new(&[HashAlgorithm::Sha256]);
    log.append(&Event::role(&worker(), &Digest::of(b"the worker's binary")));
    log.append(&Event::system_ready());
    log.append(&Event::run(&SALT, &Digest::of(b"a run")));
    evidence.event_log = log.encode();
    assert_eq!(room.appraise_evidence(evidence), Err(AppraisalError::ReplayMismatch(12)));
}

#[test]
fn a_run_is_found_by_its_own_salt_only() {
    let mut room = Room::new();
    room.run_salt = Some([1; 32]); // the salt of the earlier run
    assert_eq!(room.appraise(), Err(AppraisalError::RunNotMeasured));
    room.run_salt = None;
    assert_eq!(room.appraise(), Err(AppraisalError::RunSalt));
    room.parts.purpose = Purpose::BrokerDeposit { party: [1; 32] };
    room.fields.extra_data = room.binding().sha256().to_vec();
    assert!(room.appraise().is_ok());
    room.run_salt = Some(SALT);
    assert_eq!(room.appraise(), Err(AppraisalError::RunSalt));
}

#[test]
fn an_enrolment_counts_on_the_word_of_the_broker_that_was_named() {
    let mut room = Room::new();
    let broker = SigningKey::generate();
    let signed = Signed::sign(room.enrolled.enrolment().clone(), &broker).unwrap();
    room.enrolled = EnrolledAk::vouched(&signed, &broker.public()).unwrap();
    assert_eq!(room.enrolled.vouching(), Vouching::Broker(broker.public()));
    let result = room.appraise().unwrap();
    assert!(result.steps()[2].words.contains("rests on the attested broker"));
    let other = SigningKey::generate().public();
    assert_eq!(EnrolledAk::vouched(&signed, &other), Err(AppraisalError::EnrolmentSigner));
}

#[test]
fn an_enrolment_before_any_agreement_permits_nothing() {
    let mut room = Room::new();
    let (_, foreign) = Authority::new("nobody's authority").endorse(|_| {});
    for certificates in [vec![], vec![envelope::text::Bytes(foreign)]] {
        let claim = attest::tpm::KeyClaim { ek_certificates: certificates.clone(), ..room.claim.clone() };
        let (secret, seed) = (Zeroizing::new([9; 32]), Zeroizing::new([11; 48]));
        let (activation, _) = Activation::begin_unappraised(claim, secret, &seed).unwrap();
        let binding = parts(Purpose::WorkerEnrol { ak_name: name_of(&room.ak_public) }).bind();
        let evidence = enrolment_evidence(&room.ak, &room.ak_public, &room.fields, &binding);
        room.enrolled = activation.complete(&[9; 32], &evidence, &binding).unwrap();
        let refused =
            if certificates.is_empty() { AppraisalError::Certificate } else { AppraisalError::CertificateKey };
        assert_eq!(room.appraise(), Err(refused.clone()));
        let policy = AppraisalPolicy::new(room.policy.clone()).unwrap();
        assert_eq!(room.enrolled.admitted_by(&policy, now()), Err(refused));
    }
    let mut room = Room::with_tpm(Tier::SoftwareTpm, |_| {});
    let policy = |room: &Room| AppraisalPolicy::new(room.policy.clone()).unwrap();
    assert_eq!(room.enrolled.admitted_by(&policy(&room), now()), Ok(Tier::SoftwareTpm));
    room.policy.tier_floor = Tier::Tpm;
    let refused = AppraisalError::Tier { floor: Tier::Tpm, actual: Tier::SoftwareTpm };
    assert_eq!(room.enrolled.admitted_by(&policy(&room), now()), Err(refused));
}

#[test]
fn a_key_is_the_same_with_and_without_its_size() {
    let mut room = Room::new();
    let name = name_of(&room.ak_public);
    room.ak_public = forge::sized(&room.ak_public);
    assert_eq!(name_of(&room.ak_public), name);
    assert!(room.appraise().is_ok());
}

#[test]
fn a_result_is_written_with_all_its_steps_and_an_error_knows_its_own() {
    let room = Room::new();
    let written = serde_json::to_value(room.appraise().unwrap()).unwrap();
    assert_eq!(written["steps"].as_array().map(Vec::len), Some(15));
    assert_eq!(written["policy"], AppraisalPolicy::new(room.policy.clone()).unwrap().digest().to_string());
    assert_eq!((AppraisalError::Signature.step(), AppraisalError::Signature.code()), (6, "signature-invalid"));
    assert_eq!(AppraisalError::RunNotMeasured.step(), 15);
    // What an Attester is told does not depend on what the policy holds.
    let unlisted = |text: &[u8]| AppraisalError::RoleBinary(Digest::of(text));
    assert_eq!(unlisted(b"a").code(), unlisted(b"b").code());
}

#[test]
fn the_certificate_of_the_endorsement_key_must_lead_to_a_pinned_root() {
    let chain = |adjust: fn(&mut rcgen::CertificateParams)| {
        let room = Room::new();
        let authority = Authority::new("a maker of TPMs");
        let (ek_public, certificate) = authority.endorse(adjust);
        let mut claim = room.claim.clone();
        claim.ek_public.0 = ek_public;
        claim.ek_certificates[0].0 = certificate;
        let mut policy = room.policy.clone();
        policy.tpm.roots[0].certificate.0 = authority.certificate;
        policy.tpm.endorsement_keys = EndorsementKeys::Any;
        enrol(&room.ak, &claim, &policy, &room.fields).map(|_| ())
    };
    assert_eq!(chain(|_| {}), Ok(()));
    let expired = |params: &mut rcgen::CertificateParams| params.not_after = rcgen::date_time_ymd(2026, 11, 20);
    assert_eq!(chain(expired), Err(AppraisalError::Chain(ChainFault::Expired)));
    let early = |params: &mut rcgen::CertificateParams| params.not_before = rcgen::date_time_ymd(2026, 11, 22);
    assert_eq!(chain(early), Err(AppraisalError::Chain(ChainFault::NotYetValid)));
    let other = |params: &mut rcgen::CertificateParams| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    };
    assert_eq!(chain(other), Err(AppraisalError::Chain(ChainFault::Usage)));
    let none = |params: &mut rcgen::CertificateParams| params.extended_key_usages.clear();
    assert_eq!(chain(none), Err(AppraisalError::Chain(ChainFault::Usage)));
    let signs = |params: &mut rcgen::CertificateParams| {
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    };
    assert_eq!(chain(signs), Err(AppraisalError::Chain(ChainFault::Usage)));

    // Another authority of the same name: the key is pinned, not the name.
    let mut room = Room::new();
    room.policy.tpm.roots[0].certificate.0 = Authority::new("a maker of TPMs").certificate;
    assert_eq!(room.appraise(), Err(AppraisalError::Chain(ChainFault::Signature)));
    room.policy.tpm.roots[0].certificate.0 = Authority::new("another maker").certificate;
    assert_eq!(room.appraise(), Err(AppraisalError::Chain(ChainFault::UnknownIssuer)));
}

#[test]
fn a_legacy_event_log_is_refused_by_name() {
    let room = Room::new();
    let mut evidence = room.evidence();
    evidence.event_log = [&8_u32.to_le_bytes()[..], &4_u32.to_le_bytes(), &[0; 20], &0_u32.to_le_bytes()].concat();
    assert_eq!(room.appraise_evidence(evidence), Err(AppraisalError::LegacyLog));
}

#[test]
fn a_policy_whose_parts_do_not_fit_is_no_policy() {
    let with = |adjust: fn(&mut PolicyDocument)| {
        let mut document = Room::new().policy;
        adjust(&mut document);
        AppraisalPolicy::new(document).map(|_| ())
    };
    assert_eq!(with(|_| {}), Ok(()));
    assert_eq!(with(|p| p.tpm.roots.clear()), Err(PolicyError::NoRoots));
    assert_eq!(with(|p| p.tpm.roots[0].certificate.0.truncate(100)), Err(PolicyError::Root(0)));
    assert_eq!(
        with(|p| p.tpm.roots[0].tier = Tier::ConfidentialVm),
        Err(PolicyError::RootTier { index: 0, tier: Tier::ConfidentialVm })
    );
    let lax = |p: &mut PolicyDocument| {
        p.tpm.roots[0].tier = Tier::SoftwareTpm;
        p.tpm.endorsement_keys = EndorsementKeys::Any;
    };
    assert_eq!(with(lax), Err(PolicyError::SoftwareTpmWithoutList));
    assert_eq!(with(|p| p.tpm.binaries.clear()), Err(PolicyError::NoBinaries(worker())));
    let reference = |p: &mut PolicyDocument, pcr, value: &str| {
        p.tpm.reference_values.push(ReferenceValue { pcr, values: vec![value.to_owned()] });
    };
    let mut document = Room::new().policy;
    reference(&mut document, 8, &"00".repeat(32));
    assert_eq!(AppraisalPolicy::new(document), Err(PolicyError::Register(8)));
    let mut document = Room::new().policy;
    reference(&mut document, 23, &"00".repeat(32));
    assert!(AppraisalPolicy::new(document).is_ok());
    let mut document = Room::new().policy;
    reference(&mut document, 24, &"00".repeat(32));
    assert_eq!(AppraisalPolicy::new(document), Err(PolicyError::Register(24)));
    let mut document = Room::new().policy;
    reference(&mut document, 4, &"00".repeat(48));
    assert_eq!(AppraisalPolicy::new(document), Err(PolicyError::Value(4)));
}

/// The log with one more event, SHA-256 digest given, the other banks' digests zero.
fn with_firmware_event(log: &EventLog, pcr: u32, kind: u32, sha256: &[u8], data: &[u8]) -> Vec<u8> {
    let mut out = log.encode();
    out.extend(pcr.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend(3_u32.to_le_bytes());
    out.extend([&[0x04, 0x00][..], &[0; 20], &[0x0B, 0x00], sha256, &[0x0C, 0x00], &[0; 48]].concat());
    out.extend((data.len() as u32).to_le_bytes());
    out.extend(data);
    out
}

fn find(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).position(|window| window == needle).unwrap()
}
