//! A forger's workshop for tests: keys, certificates and quotes with any contents, signed correctly.
//!
//! Everything a real TPM would never do can be done here, so that each check is met by Evidence that is wrong in one thing only.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, unreachable_pub)]

use attest::{
    AppraisalError, AppraisalPolicy, AttestationResult, Bank, Clock, EndorsementKeys, EndorsementRoot, Endorsements,
    Evidence, HashAlgorithm, PcrValue, PolicyDocument, Tier, TpmEvidence, TpmPolicy, Verifier,
    binding::{Binding, BindingParts, ChannelKeys, Purpose},
    event_log::EventLog,
    events::{Event, RoleName},
    tpm::{Activation, EnrolledAk, KeyClaim, TpmPublic},
};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use envelope::{
    Digest,
    text::{Bytes, Bytes32},
};
use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyUsagePurpose};
use zeroize::Zeroizing;

/// restricted, sign, fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth.
pub const AK_ATTRIBUTES: u32 = 0x0005_0072;
/// restricted, decrypt, fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy.
pub const EK_ATTRIBUTES: u32 = 0x0003_00B2;
pub const SALT: [u8; 32] = [7; 32];

pub fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

pub fn worker() -> RoleName {
    RoleName::try_from("worker").unwrap()
}

pub fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

/// A TPMT_PUBLIC of an ECC P-256 key.
pub fn ecc_public(attributes: u32, symmetric: &[u8], scheme: &[u8], point: &[u8]) -> Vec<u8> {
    let mut out = vec![0x00, 0x23, 0x00, 0x0B];
    out.extend(attributes.to_be_bytes());
    out.extend(sized(&[]));
    out.extend(symmetric);
    out.extend(scheme);
    out.extend([0x00, 0x03, 0x00, 0x10]);
    out.extend(sized(&point[1..33]));
    out.extend(sized(&point[33..65]));
    out
}

/// Every field of a quote, free to be wrong.
#[derive(Clone)]
pub struct QuoteFields {
    pub magic: u32,
    pub kind: u16,
    pub extra_data: Vec<u8>,
    pub reset_count: u32,
    pub restart_count: u32,
    pub safe: u8,
    pub selections: Vec<(HashAlgorithm, Vec<u8>)>,
    pub pcr_digest: Option<Vec<u8>>,
}

/// A machine with a forged TPM, its policy, and the exchange it takes part in.
pub struct Room {
    pub ak: EcdsaKeyPair,
    pub ak_public: Vec<u8>,
    pub claim: KeyClaim,
    pub policy: PolicyDocument,
    pub parts: BindingParts,
    pub enrolled: EnrolledAk,
    pub log: EventLog,
    pub fields: QuoteFields,
    pub run_salt: Option<[u8; 32]>,
    pub bank: HashAlgorithm,
}

pub fn ecdsa_key() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

pub fn ak_public(key: &EcdsaKeyPair, attributes: u32) -> Vec<u8> {
    ecc_public(attributes, &[0x00, 0x10], &[0x00, 0x18, 0x00, 0x0B], key.public_key().as_ref())
}

pub struct Authority {
    pub certificate: Vec<u8>,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    /// An endorsement key with its certificate; `adjust` may spoil the certificate.
    pub fn endorse(&self, adjust: impl FnOnce(&mut CertificateParams)) -> (Vec<u8>, Vec<u8>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(9999, 12, 31);
        params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1])];
        params.custom_extensions.push(tpm_name("id:4E544300", "NPCT75x"));
        adjust(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        let symmetric = [0x00, 0x06, 0x00, 0x80, 0x00, 0x43];
        let public = ecc_public(EK_ATTRIBUTES, &symmetric, &[0x00, 0x10], key.public_key_raw());
        (public, certificate)
    }
}

/// The critical subject alternative name of an endorsement certificate: a directory name with maker and model.
pub fn tpm_name(manufacturer: &str, model: &str) -> CustomExtension {
    fn der(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
        let contents = parts.concat();
        [vec![tag, contents.len() as u8], contents].concat()
    }
    let attribute = |last: u8, value: &str| {
        let oid = der(0x06, &[vec![0x67, 0x81, 0x05, 0x02, last]]);
        der(0x31, &[der(0x30, &[oid, der(0x0C, &[value.as_bytes().to_vec()])])])
    };
    let name = der(0x30, &[attribute(1, manufacturer), attribute(2, model)]);
    let names = der(0x30, &[der(0xA4, &[name])]);
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], names);
    extension.set_criticality(true);
    extension
}

impl Room {
    /// A machine on which everything is right.
    pub fn new() -> Room {
        Room::with_tpm(Tier::Tpm, |_| {})
    }

    pub fn with_tpm(tier: Tier, adjust: impl FnOnce(&mut CertificateParams)) -> Room {
        let authority = Authority::new("a maker of TPMs");
        let (ek_public, certificate) = authority.endorse(adjust);
        let ak = ecdsa_key();
        let ak_public = ak_public(&ak, AK_ATTRIBUTES);
        let claim = KeyClaim {
            ak_public: Bytes(ak_public.clone()),
            ek_public: Bytes(ek_public),
            ek_certificates: vec![Bytes(certificate)],
        };
        let binary = Digest::of(b"the worker's binary");
        let policy = PolicyDocument {
            tier_floor: tier,
            tpm: TpmPolicy {
                roots: vec![EndorsementRoot { certificate: Bytes(authority.certificate), tier }],
                endorsement_keys: EndorsementKeys::Listed(vec![claim.ek_digest().unwrap()]),
                bank: Bank::Sha256,
                role: worker(),
                binaries: vec![binary],
                reference_values: Vec::new(),
                clock: Clock::Safe,
            },
            hardware: std::collections::BTreeMap::new(),
            auditors: None,
        };
        let run = Digest::of(b"a run");
        let parts = parts(Purpose::WorkerRelease { agreement: Digest::of(b"an agreement"), run });
        let mut log = EventLog::new(&[HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384]);
        log.append(&Event::role(&worker(), &binary));
        log.append(&Event::system_ready());
        log.append(&Event::run(&[1; 32], &Digest::of(b"an earlier run")));
        log.append(&Event::run(&SALT, &run));
        let fields = QuoteFields {
            magic: 0xFF54_4347,
            kind: 0x8018,
            extra_data: parts.bind().sha256().to_vec(),
            reset_count: 3,
            restart_count: 1,
            safe: 1,
            selections: vec![(HashAlgorithm::Sha256, vec![0, 7, 8, 12])],
            pcr_digest: None,
        };
        let enrolled = enrol(&ak, &claim, &policy, &fields).unwrap();
        let bank = HashAlgorithm::Sha256;
        Room { ak, ak_public, claim, policy, parts, enrolled, log, fields, run_salt: Some(SALT), bank }
    }

    pub fn binding(&self) -> Binding {
        self.parts.bind()
    }

    pub fn evidence(&self) -> TpmEvidence {
        let pcrs: Vec<PcrValue> = self
            .fields
            .selections
            .iter()
            .flat_map(|(bank, pcrs)| {
                let replayed = self.log.replay(*bank).unwrap_or_default();
                pcrs.iter()
                    .map(move |pcr| PcrValue {
                        bank: *bank,
                        index: *pcr,
                        value: replayed.get(pcr).cloned().unwrap_or_else(|| vec![0; bank.size()]),
                    })
                    .collect::<Vec<_>>()
            })
            .collect();
        let quote = quote(&self.fields, &pcrs);
        TpmEvidence {
            ak_public: self.ak_public.clone(),
            signature: sign(&self.ak, &quote),
            quote,
            pcrs,
            event_log: self.log.encode(),
            run_salt: self.run_salt.map(Bytes32),
        }
    }

    pub fn appraise(&self) -> Result<AttestationResult, AppraisalError> {
        self.appraise_evidence(self.evidence())
    }

    pub fn appraise_evidence(&self, evidence: TpmEvidence) -> Result<AttestationResult, AppraisalError> {
        let policy = AppraisalPolicy::new(self.policy.clone()).unwrap();
        let endorsements = Endorsements::tpm(self.enrolled.clone());
        Verifier::appraise(&Evidence::Tpm(evidence), &endorsements, &self.binding(), &policy, now())
    }
}

pub fn parts(purpose: Purpose) -> BindingParts {
    BindingParts {
        purpose,
        keys: ChannelKeys { channel: vec![1; 91], encapsulation: vec![2; 1216], signing: [3; 32] },
        exporter: [4; 32],
        nonce: [5; 32],
    }
}

/// Enrols by activation, with an enrolment quote that has the same counters.
pub fn enrol(
    ak: &EcdsaKeyPair,
    claim: &KeyClaim,
    policy: &PolicyDocument,
    fields: &QuoteFields,
) -> Result<EnrolledAk, AppraisalError> {
    let policy = AppraisalPolicy::new(policy.clone()).unwrap();
    let secret = Zeroizing::new([9; 32]);
    let begun = Activation::begin(claim.clone(), &policy, now(), secret, &Zeroizing::new([11; 48]))?;
    let binding = parts(Purpose::WorkerEnrol { ak_name: claim.ak_name()? }).bind();
    let evidence = enrolment_evidence(ak, &claim.ak_public.0, fields, &binding);
    begun.0.complete(&[9; 32], &evidence, &binding)
}

pub fn enrolment_evidence(ak: &EcdsaKeyPair, public: &[u8], fields: &QuoteFields, binding: &Binding) -> TpmEvidence {
    let fields = QuoteFields { extra_data: binding.sha256().to_vec(), pcr_digest: Some(vec![0; 32]), ..fields.clone() };
    let quote = quote(&fields, &[]);
    TpmEvidence {
        ak_public: public.to_vec(),
        signature: sign(ak, &quote),
        quote,
        pcrs: Vec::new(),
        event_log: Vec::new(),
        run_salt: None,
    }
}

pub fn quote(fields: &QuoteFields, pcrs: &[PcrValue]) -> Vec<u8> {
    let mut out = fields.magic.to_be_bytes().to_vec();
    out.extend(fields.kind.to_be_bytes());
    out.extend(sized(&[0x00, 0x0B, 1, 2, 3]));
    out.extend(sized(&fields.extra_data));
    out.extend(1234_u64.to_be_bytes());
    out.extend(fields.reset_count.to_be_bytes());
    out.extend(fields.restart_count.to_be_bytes());
    out.push(fields.safe);
    out.extend(0x2019_1023_0016_3636_u64.to_be_bytes());
    out.extend((fields.selections.len() as u32).to_be_bytes());
    for (bank, pcrs) in &fields.selections {
        out.extend(bank.id().to_be_bytes());
        let mut mask = [0_u8; 3];
        for pcr in pcrs {
            mask[usize::from(pcr / 8)] |= 1 << (pcr % 8);
        }
        out.push(3);
        out.extend(mask);
    }
    let values: Vec<&[u8]> = pcrs.iter().map(|value| value.value.as_slice()).collect();
    out.extend(sized(&fields.pcr_digest.clone().unwrap_or_else(|| HashAlgorithm::Sha256.hash(&values))));
    out
}

pub fn sign(ak: &EcdsaKeyPair, message: &[u8]) -> Vec<u8> {
    let signature = ak.sign(&SystemRandom::new(), message).unwrap();
    let (r, s) = signature.as_ref().split_at(32);
    [vec![0x00, 0x18, 0x00, 0x0B], sized(r), sized(s)].concat()
}

pub fn name_of(public: &[u8]) -> attest::tpm::TpmName {
    TpmPublic::parse(public).unwrap().name()
}
