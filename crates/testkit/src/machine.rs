//! A forged TPM and the authority that certifies it: keys, certificates, credentials and quotes with any contents, signed correctly.

use attest::{
    AppraisalPolicy, Bank, Clock, EndorsementKeys, EndorsementRoot, HashAlgorithm, PcrValue, PolicyDocument, Tier,
    TpmEvidence, TpmPolicy,
    binding::BindingParts,
    event_log::EventLog,
    events::{Event, RoleName},
    tpm::{KeyClaim, TpmName, credential::MadeCredential},
};
use aws_lc_rs::{
    agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey},
    cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey},
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use envelope::{
    Digest,
    text::{Bytes, Bytes32},
};
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, Issuer, KeyUsagePurpose};

/// restricted, sign, fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth.
pub const AK_ATTRIBUTES: u32 = 0x0005_0072;
/// restricted, decrypt, fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy.
const EK_ATTRIBUTES: u32 = 0x0003_00B2;

/// An authority that certifies endorsement keys.
pub struct Authority {
    certificate: Vec<u8>,
    issuer: Issuer<'static, rcgen::KeyPair>,
}

/// A machine with a TPM, a role that was started on it, and an event log.
pub struct Machine {
    ak: EcdsaKeyPair,
    ek: PrivateKey,
    claim: KeyClaim,
    role: RoleName,
    binary: Digest,
    /// What was measured since the start. Whoever adds to it extends the registers too.
    pub log: EventLog,
    /// How often the TPM was reset and restarted.
    pub counts: (u32, u32),
}

/// Every field of a quote, free to be wrong.
#[derive(Debug, Clone)]
pub struct QuoteFields {
    /// TPM_GENERATED.
    pub magic: u32,
    /// TPM_ST_ATTEST_QUOTE.
    pub kind: u16,
    /// The qualifying data.
    pub extra_data: Vec<u8>,
    /// TPMS_CLOCK_INFO.resetCount.
    pub reset_count: u32,
    /// TPMS_CLOCK_INFO.restartCount.
    pub restart_count: u32,
    /// TPMS_CLOCK_INFO.safe.
    pub safe: u8,
    /// The banks and registers that are quoted.
    pub selections: Vec<(HashAlgorithm, Vec<u8>)>,
}

impl Authority {
    /// An authority of that name.
    pub fn new(name: &str) -> Authority {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().to_vec();
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    /// A new endorsement key: its private half, its TPMT_PUBLIC and its certificate.
    fn endorse(&self) -> (PrivateKey, Vec<u8>, Vec<u8>) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(9999, 12, 31);
        params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1])];
        params.custom_extensions.push(tpm_name("id:4E544300", "NPCT75x"));
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().to_vec();
        let symmetric = [0x00, 0x06, 0x00, 0x80, 0x00, 0x43];
        let public = ecc_public(EK_ATTRIBUTES, &symmetric, &[0x00, 0x10], key.public_key_raw());
        let private = PrivateKey::from_private_key_der(&ECDH_P256, &key.serialize_der()).unwrap();
        (private, public, certificate)
    }

    /// A policy that pins this authority and admits one machine's endorsement key, role and binary.
    pub fn policy(&self, machine: &Machine) -> AppraisalPolicy {
        AppraisalPolicy::new(PolicyDocument {
            tier_floor: Tier::Tpm,
            tpm: TpmPolicy {
                roots: vec![EndorsementRoot { certificate: Bytes(self.certificate.clone()), tier: Tier::Tpm }],
                endorsement_keys: EndorsementKeys::Listed(vec![machine.claim.ek_digest().unwrap()]),
                bank: Bank::Sha256,
                role: machine.role.clone(),
                binaries: vec![machine.binary],
                reference_values: Vec::new(),
                clock: Clock::Safe,
            },
            hardware: std::collections::BTreeMap::new(),
            auditors: None,
        })
        .unwrap()
    }
}

impl Machine {
    /// A machine on which this role was started and is ready.
    pub fn new(authority: &Authority, role: &str) -> Machine {
        let (ek, ek_public, certificate) = authority.endorse();
        let ak = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let ak_public = ecc_public(AK_ATTRIBUTES, &[0x00, 0x10], &[0x00, 0x18, 0x00, 0x0B], ak.public_key().as_ref());
        let claim = KeyClaim {
            ak_public: Bytes(ak_public),
            ek_public: Bytes(ek_public),
            ek_certificates: vec![Bytes(certificate)],
        };
        let role = RoleName::try_from(role).unwrap();
        let binary = Digest::of(format!("the binary of the {role}").as_bytes());
        let mut log = EventLog::new(&[HashAlgorithm::Sha1, HashAlgorithm::Sha256]);
        log.append(&Event::role(&role, &binary));
        log.append(&Event::system_ready());
        Machine { ak, ek, claim, role, binary, log, counts: (3, 1) }
    }

    /// Both keys and the certificate.
    pub const fn claim(&self) -> &KeyClaim {
        &self.claim
    }

    /// The attestation key's name.
    pub fn ak_name(&self) -> TpmName {
        self.claim.ak_name().unwrap()
    }

    /// The digest in the attestation key's name, as consents carry it.
    pub fn ak_digest(&self) -> Digest {
        Digest::from_bytes(self.ak_name().as_bytes()[2..].try_into().unwrap())
    }

    /// Evidence of this machine, bound to these parts.
    pub fn evidence(&self, parts: &BindingParts, run_salt: Option<[u8; 32]>) -> TpmEvidence {
        self.evidence_with(parts, run_salt, |_| {})
    }

    /// As [`Machine::evidence`], with a quote that says something else and is signed all the same.
    pub fn evidence_with(
        &self,
        parts: &BindingParts,
        run_salt: Option<[u8; 32]>,
        adjust: impl FnOnce(&mut QuoteFields),
    ) -> TpmEvidence {
        let mut fields = QuoteFields {
            magic: 0xFF54_4347,
            kind: 0x8018,
            extra_data: parts.bind().sha256().to_vec(),
            reset_count: self.counts.0,
            restart_count: self.counts.1,
            safe: 1,
            selections: vec![(HashAlgorithm::Sha256, vec![0, 7, 8, 12])],
        };
        adjust(&mut fields);
        let mut pcrs = Vec::new();
        for (bank, selected) in &fields.selections {
            let replayed = self.log.replay(*bank).unwrap();
            for index in selected {
                let value = replayed.get(index).cloned().unwrap_or_else(|| vec![0; bank.size()]);
                pcrs.push(PcrValue { bank: *bank, index: *index, value });
            }
        }
        let quote = quote(&fields, &pcrs);
        TpmEvidence {
            ak_public: self.claim.ak_public.0.clone(),
            signature: self.sign(&quote),
            quote,
            pcrs,
            event_log: self.log.encode(),
            run_salt: run_salt.map(Bytes32),
        }
    }

    /// TPM2_ActivateCredential (TPM 2.0 Part 3, section 12.5) for this machine's own attestation key; nothing for any other.
    pub fn activate(&self, made: &MadeCredential) -> Option<Vec<u8>> {
        let point = unsized_part(&mut made.encrypted_secret.0.as_slice())?;
        let mut point = point.as_slice();
        let (x, y) = (unsized_part(&mut point)?, unsized_part(&mut point)?);
        let ephemeral = [[4].as_slice(), &x, &y].concat();
        let own = self.ek.compute_public_key().unwrap();
        let own_x = own.as_ref()[1..33].to_vec();
        let seed = agreement::agree(&self.ek, UnparsedPublicKey::new(&ECDH_P256, ephemeral), (), |z| {
            Ok(HashAlgorithm::Sha256.hash(&[&1_u32.to_be_bytes(), z, b"IDENTITY\0", &x, &own_x]))
        })
        .ok()?;
        let name = self.ak_name();
        let object = unsized_part(&mut made.id_object.0.as_slice())?;
        let mut object = object.as_slice();
        let integrity = unsized_part(&mut object)?;
        let integrity_key = kdf_a(&seed, "INTEGRITY", &[], 256);
        let signed = [object, name.as_bytes()].concat();
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, &integrity_key), &signed, &integrity).ok()?;
        let key = UnboundCipherKey::new(&AES_128, &kdf_a(&seed, "STORAGE", name.as_bytes(), 128)).ok()?;
        let mut secret = object.to_vec();
        let context = DecryptionContext::Iv128([0; 16].into());
        let opened = DecryptingKey::cfb128(key).ok()?.decrypt(&mut secret, context).ok()?.to_vec();
        unsized_part(&mut opened.as_slice())
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.ak.sign(&SystemRandom::new(), message).unwrap();
        let (r, s) = signature.as_ref().split_at(32);
        [vec![0x00, 0x18, 0x00, 0x0B], sized(r), sized(s)].concat()
    }
}

impl Default for QuoteFields {
    fn default() -> QuoteFields {
        QuoteFields {
            magic: 0xFF54_4347,
            kind: 0x8018,
            extra_data: Vec::new(),
            reset_count: 0,
            restart_count: 0,
            safe: 1,
            selections: Vec::new(),
        }
    }
}

/// A TPMS_ATTEST.
fn quote(fields: &QuoteFields, pcrs: &[PcrValue]) -> Vec<u8> {
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
    out.extend(sized(&HashAlgorithm::Sha256.hash(&values)));
    out
}

/// A TPMT_PUBLIC of an ECC P-256 key; `point` is uncompressed.
fn ecc_public(attributes: u32, symmetric: &[u8], scheme: &[u8], point: &[u8]) -> Vec<u8> {
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

/// The critical subject alternative name of an endorsement certificate: a directory name with maker and model.
fn tpm_name(manufacturer: &str, model: &str) -> CustomExtension {
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

/// KDFa (TPM 2.0 Part 1, section 11.4.10.2) with SHA-256, for at most one digest.
fn kdf_a(key: &[u8], label: &str, context: &[u8], bits: usize) -> Vec<u8> {
    let message = [&1_u32.to_be_bytes(), label.as_bytes(), &[0], context, &(bits as u32).to_be_bytes()].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), &message);
    tag.as_ref()[..bits / 8].to_vec()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

fn unsized_part(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let (size, rest) = bytes.split_first_chunk::<2>()?;
    let (part, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
    *bytes = rest;
    Some(part.to_vec())
}
