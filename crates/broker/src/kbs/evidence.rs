//! From the Evidence of a client to what it proves: the one place where kinds of Evidence are told apart.
//!
//! Each kind that is served has an arm of `Primary`; every other kind is refused by its name. An examination compares the whole report data
//! with what the Attester had to bind: nothing is cut to the width of a field. Evidence that is not signed by hardware (`sample`) proves nothing
//! and is refused by name.
//!
//! Three steps, the middle one alone with I/O: `Primary::read` takes the client's JSON apart, `endorsements` fetches from this machine what makers sign
//! about such hardware, and `Primary::examine` decides on both. What clients of each kind write, and what vouches for it, is told in the
//! kind's own module: `tpm`, `snp`, `intel`, `azure`, `arm`, `hygon`.
//!
//! Deliberately absent: I/O, a clock, and a policy; whether a result is good enough is for the secret's owner to say. IBM Secure Execution is
//! absent too: its Evidence is a MAC under a key that only the requester of the measurement has.

use std::collections::BTreeSet;

use attest::{
    Tier,
    certificate::TrustAnchor,
    keys::VerificationKey,
    platform::{Genuine, Refusal as PlatformRefusal},
    roots::Authority,
    tpm::EnrolledAk,
};
use aws_lc_rs::digest::{SHA256, SHA384, digest};
use base64::{
    Engine as _,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use envelope::{Digest, canonical};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use wire::kbs::{BoundData, InitData, TeeKey};

use super::{
    arm, azure,
    endorsements::{Collected, Needs},
    hygon, init_data, intel, snp, tpm,
};
use crate::refusal::Refusal;

/// A kind of Evidence, as clients name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tee {
    /// An Azure confidential machine on SEV-SNP.
    AzSnpVtpm,
    /// An Azure confidential machine on TDX.
    AzTdxVtpm,
    /// Intel SGX.
    Sgx,
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
    /// Arm CCA.
    Cca,
    /// Hygon CSV.
    Csv,
    /// IBM Secure Execution.
    Se,
    /// A TPM 2.0.
    Tpm,
}

/// What the examination of Evidence found. It is read back only from results that this broker signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Examined {
    pub(super) tee: Tee,
    pub(super) assurance: String,
    pub(super) tier: Tier,
    pub(super) hardware_id: Option<String>,
    pub(super) measurements: BTreeSet<String>,
    pub(super) claims: BTreeSet<String>,
    pub(super) enrolment: Option<Digest>,
}

/// An enrolment and its key, if there is one.
pub(crate) type FoundKey = Result<Option<(Digest, EnrolledAk)>, Refusal>;

/// The authorities that count for each maker of hardware.
#[derive(Debug, Clone)]
pub struct Makers {
    /// AMD's root keys.
    pub amd: Vec<TrustAnchor>,
    /// Intel's root key for SGX and TDX.
    pub intel: Vec<TrustAnchor>,
    /// Hygon's root key, in Hygon's format.
    pub hygon: Vec<u8>,
    /// Attestation keys of CCA platforms. Their makers publish no root; an operator names those that count.
    pub cca: Vec<VerificationKey>,
}

/// What vouches for Evidence, as far as this broker has it.
pub(crate) struct Endorsements<'a> {
    /// The enrolment of an attestation key, by its SubjectPublicKeyInfo.
    pub(crate) enrolled: &'a dyn Fn(&[u8]) -> FoundKey,
    /// The roots.
    pub(crate) makers: &'a Makers,
    /// What makers sign about this hardware.
    pub(crate) collected: &'a Collected,
}

/// Primary Evidence whose form is right. It proves nothing yet.
pub(crate) enum Primary {
    Tpm(tpm::TpmEvidence),
    Snp(snp::SnpReport),
    Tdx(intel::Quoted),
    Sgx(intel::Quoted),
    AzSnpVtpm(azure::OnSnp),
    AzTdxVtpm(azure::OnTdx),
    Cca(arm::RealmToken),
    Csv(hygon::CsvReport),
}

/// Why Evidence proves nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceRefusal {
    /// Evidence that no hardware signs.
    #[error("`{0}` Evidence is signed by no hardware, and proves nothing")]
    Unsigned(&'static str),
    /// A name that the protocol does not have.
    #[error("`{0}` is no kind of Evidence that is known")]
    UnknownTee(String),
    /// A kind that is known and not examined here.
    #[error("`{0}` Evidence is not examined by this broker")]
    NotServed(String),
    /// Evidence of devices beside the processor.
    #[error("Evidence of devices (`additional_evidence`) is not examined by this broker")]
    Device,
    /// Initial data in another format.
    #[error("`init-data` of the format `{0}` is not known: only `toml` is")]
    InitDataFormat(String),
    /// A kind whose hardware has no field for it.
    #[error("`{0}` Evidence has no place that binds `init-data`")]
    InitDataUnbindable(&'static str),
    /// The hardware carries something else.
    #[error("the Evidence does not carry a digest of this `init-data`")]
    InitData,
    /// It does not have the form of its kind.
    #[error("the Evidence does not have the form of its kind: {0}")]
    Form(&'static str),
    /// What is bound cannot be written.
    #[error("the bound data cannot be written in canonical form")]
    Bound,
    /// An attestation key that was not enrolled.
    #[error("the attestation key is not enrolled\nhint: enrol it with `glovebox secret enrol --tpm ADDRESS`")]
    NotEnrolled,
    /// A TPM that was restarted since.
    #[error("the TPM was reset or restarted since its key was enrolled\nhint: enrol it again")]
    Restarted,
    /// The platform's own checks.
    #[error("the Evidence does not hold: {0}")]
    Appraisal(String),
    /// What the makers sign about such hardware is missing here, or cannot be used.
    #[error("what vouches for this hardware is not at hand: {0}")]
    Endorsement(String),
    /// An event log that does not stand for the registers.
    #[error("the event log does not stand for what the hardware reports: {0}")]
    EventLog(String),
    /// The report data are of something else.
    #[error("the report data are not bound to this nonce and key")]
    Binding,
    /// The store.
    #[error("the enrolment cannot be read")]
    Store,
}

impl Tee {
    /// Reads a name.
    ///
    /// # Errors
    /// A name that is unknown, or of Evidence that stands for nothing, or only for a device beside a processor.
    pub fn named(name: &str) -> Result<Tee, EvidenceRefusal> {
        Ok(match name {
            "az-snp-vtpm" => Tee::AzSnpVtpm,
            "az-tdx-vtpm" => Tee::AzTdxVtpm,
            "sgx" => Tee::Sgx,
            "snp" => Tee::Snp,
            "tdx" => Tee::Tdx,
            "cca" => Tee::Cca,
            "csv" => Tee::Csv,
            "se" => Tee::Se,
            "tpm" => Tee::Tpm,
            "sample" => return Err(EvidenceRefusal::Unsigned("sample")),
            "sampledevice" => return Err(EvidenceRefusal::Unsigned("sampledevice")),
            "nvidia" | "hygondcu" | "nvidia-dpu" | "nvidiadpu" => return Err(EvidenceRefusal::Device),
            other => return Err(EvidenceRefusal::UnknownTee(envelope::text::shown(other, 40))),
        })
    }

    /// The name.
    pub const fn name(self) -> &'static str {
        match self {
            Tee::AzSnpVtpm => "az-snp-vtpm",
            Tee::AzTdxVtpm => "az-tdx-vtpm",
            Tee::Sgx => "sgx",
            Tee::Snp => "snp",
            Tee::Tdx => "tdx",
            Tee::Cca => "cca",
            Tee::Csv => "csv",
            Tee::Se => "se",
            Tee::Tpm => "tpm",
        }
    }

    /// The number by which a session remembers it.
    pub(crate) const fn number(self) -> u8 {
        match self {
            Tee::AzSnpVtpm => 1,
            Tee::AzTdxVtpm => 2,
            Tee::Sgx => 3,
            Tee::Snp => 4,
            Tee::Tdx => 5,
            Tee::Cca => 6,
            Tee::Csv => 7,
            Tee::Se => 8,
            Tee::Tpm => 9,
        }
    }

    pub(crate) fn numbered(number: u8) -> Option<Tee> {
        ALL.into_iter().find(|tee| tee.number() == number)
    }

    /// The hash over what is bound, as a client is told it. A TPM's qualifying data hold 32 bytes.
    pub(crate) const fn hash(self) -> &'static str {
        match self {
            Tee::Tpm => "sha256",
            _ => "sha384",
        }
    }

    /// Whether [`Primary`] has an arm for it.
    pub(crate) const fn is_served(self) -> bool {
        !matches!(self, Tee::Se)
    }
}

impl Examined {
    /// The kind, as the client named it.
    pub const fn tee(&self) -> &'static str {
        self.tee.name()
    }

    /// How far the origin of the Evidence is established.
    pub fn assurance(&self) -> &str {
        &self.assurance
    }

    /// The tier.
    pub const fn tier(&self) -> Tier {
        self.tier
    }

    /// The identity of this very hardware.
    pub fn hardware_id(&self) -> Option<&str> {
        self.hardware_id.as_deref()
    }

    /// `REGISTER=HEX`.
    pub const fn measurements(&self) -> &BTreeSet<String> {
        &self.measurements
    }

    /// `NAME=VALUE`.
    pub const fn claims(&self) -> &BTreeSet<String> {
        &self.claims
    }

    /// The enrolment on which it rests, for a TPM.
    pub const fn enrolment(&self) -> Option<&Digest> {
        self.enrolment.as_ref()
    }

    #[cfg(test)]
    pub(crate) fn for_tests() -> Examined {
        Examined {
            tee: Tee::Tpm,
            assurance: "affirmed".to_owned(),
            tier: Tier::SoftwareTpm,
            hardware_id: Some("sha256:aa".to_owned()),
            measurements: BTreeSet::from(["pcr7=00ff".to_owned()]),
            claims: BTreeSet::from(["firmware=1".to_owned()]),
            enrolment: None,
        }
    }
}

/// What the report data must be: the digest over nonce, key and additional Evidence in canonical JSON.
///
/// # Errors
/// [`EvidenceRefusal::Bound`].
pub(crate) fn bound(tee: Tee, nonce: &str, key: &TeeKey, additional: &str) -> Result<Vec<u8>, EvidenceRefusal> {
    let data = BoundData { additional_evidence: additional, nonce, tee_pubkey: key };
    let bytes = canonical::to_vec(&data).map_err(|_| EvidenceRefusal::Bound)?;
    let algorithm = if tee.hash() == "sha256" { &SHA256 } else { &SHA384 };
    Ok(digest(algorithm, &bytes).as_ref().to_vec())
}

impl Primary {
    /// Takes the JSON of a kind apart.
    ///
    /// # Errors
    /// [`EvidenceRefusal::Form`], [`EvidenceRefusal::NotServed`].
    pub(crate) fn read(tee: Tee, evidence: &Value) -> Result<Primary, EvidenceRefusal> {
        Ok(match tee {
            Tee::Tpm => Primary::Tpm(tpm::TpmEvidence::read(evidence)?),
            Tee::Snp => Primary::Snp(snp::SnpReport::read(evidence)?),
            Tee::Tdx => Primary::Tdx(intel::Quoted::of_trust_domain(evidence)?),
            Tee::Sgx => Primary::Sgx(intel::Quoted::of_enclave(evidence)?),
            Tee::AzSnpVtpm => Primary::AzSnpVtpm(azure::OnSnp::read(evidence)?),
            Tee::AzTdxVtpm => Primary::AzTdxVtpm(azure::OnTdx::read(evidence)?),
            Tee::Cca => Primary::Cca(arm::RealmToken::read(evidence)?),
            Tee::Csv => Primary::Csv(hygon::CsvReport::read(evidence)?),
            Tee::Se => return Err(EvidenceRefusal::NotServed(tee.name().to_owned())),
        })
    }

    /// What of this machine's Endorsements the examination needs.
    ///
    /// # Errors
    /// Evidence that does not even tell of what hardware it is.
    pub(crate) fn needs(&self) -> Result<Needs, EvidenceRefusal> {
        match self {
            Primary::Tpm(_) | Primary::Cca(_) | Primary::Csv(_) => Ok(Needs::Nothing),
            Primary::Snp(report) => report.needs(),
            Primary::Tdx(quoted) => Needs::of_quote(attest::intel::Tee::Tdx, quoted.quote()),
            Primary::Sgx(quoted) => Needs::of_quote(attest::intel::Tee::Sgx, quoted.quote()),
            Primary::AzSnpVtpm(evidence) => evidence.needs(),
            Primary::AzTdxVtpm(evidence) => evidence.needs(),
        }
    }

    /// Examines Evidence that must be bound to `report_data`, and to `init_data` if there are some.
    ///
    /// # Errors
    /// [`EvidenceRefusal`].
    pub(crate) fn examine(
        &self,
        endorsements: &Endorsements<'_>,
        report_data: &[u8],
        init_data: Option<&InitData>,
        now: Timestamp,
    ) -> Result<Examined, EvidenceRefusal> {
        let Endorsements { makers, collected, .. } = endorsements;
        let (tee, genuine) = match self {
            Primary::Tpm(evidence) => return evidence.examine(endorsements, report_data, init_data),
            Primary::Snp(report) => (Tee::Snp, report.examine(collected, &makers.amd, now)?),
            Primary::Tdx(quoted) => (Tee::Tdx, quoted.examine_trust_domain(collected, &makers.intel, now)?),
            Primary::Sgx(quoted) => (Tee::Sgx, quoted.examine_enclave(collected, &makers.intel, now)?),
            Primary::AzSnpVtpm(evidence) => {
                (Tee::AzSnpVtpm, evidence.examine(collected, &makers.amd, report_data, now)?)
            }
            Primary::AzTdxVtpm(evidence) => {
                (Tee::AzTdxVtpm, evidence.examine(collected, &makers.intel, report_data, now)?)
            }
            Primary::Cca(token) => (Tee::Cca, token.examine(&makers.cca, now)?),
            Primary::Csv(report) => (Tee::Csv, report.examine(&makers.hygon, now)?),
        };
        taken_down(tee, &genuine, report_data, init_data)
    }
}

/// Examines Evidence under the makers' own roots, with no enrolment and no Endorsement at hand, for whoever tries this module on hostile bytes: what
/// it finds is dropped, so it lets nobody in.
///
/// # Errors
/// [`EvidenceRefusal`].
pub fn try_unvouched(tee: Tee, evidence: &Value, now: Timestamp) -> Result<(), EvidenceRefusal> {
    let primary = Primary::read(tee, evidence)?;
    let _ = primary.needs()?;
    let (makers, collected) = (Makers::shipped(), Collected::Nothing);
    let endorsements = Endorsements { enrolled: &|_| Ok(None), makers: &makers, collected: &collected };
    primary.examine(&endorsements, &[0; 48], None, now).map(drop)
}

impl Makers {
    /// The makers' own roots, which ship inside. They have none for CCA.
    pub fn shipped() -> Makers {
        Makers {
            amd: attest::snp::anchors(),
            intel: Authority::IntelSgx.anchors(),
            hygon: attest::hygon::HYGON_ROOT.to_vec(),
            cca: Vec::new(),
        }
    }
}

impl EvidenceRefusal {
    /// What a platform's examination says of itself.
    pub(super) fn of_platform(refusal: &dyn PlatformRefusal) -> EvidenceRefusal {
        let mut told = format!("{}: {refusal}", refusal.code());
        let mut source = refusal.source();
        while let Some(error) = source {
            told.push_str(": ");
            told.push_str(&error.to_string());
            source = error.source();
        }
        EvidenceRefusal::Appraisal(told)
    }
}

/// What a platform's examination established, if it is bound to `report_data`: the field holds these bytes, then zeros only.
fn taken_down(
    tee: Tee,
    genuine: &Genuine,
    report_data: &[u8],
    init_data: Option<&InitData>,
) -> Result<Examined, EvidenceRefusal> {
    if genuine.is_debug() {
        return Err(EvidenceRefusal::Appraisal("what is being debugged keeps no secret".to_owned()));
    }
    if !is_padded(genuine.bound(), report_data) {
        return Err(EvidenceRefusal::Binding);
    }
    let mut claims = BTreeSet::new();
    for claim in genuine.claims() {
        // What stands among the measurements is not said twice: tokens are sent with every request.
        let name = claim.name.strip_prefix(HARDWARE).unwrap_or(&claim.name);
        if genuine.register(name).is_none_or(|value| hex::encode(value) != claim.value) {
            claims.insert(format!("{}={}", claim.name, claim.value));
        }
    }
    if let Some(init_data) = init_data {
        let field =
            |name: &str| genuine.register(name).map(<[u8]>::to_vec).or_else(|| hex::decode(genuine.claim(name)?).ok());
        claims.insert(init_data::bound(tee, init_data, &field)?);
    }
    let registers = genuine.registers().iter();
    let measurements: BTreeSet<String> =
        registers.map(|register| format!("{}={}", register.name, hex::encode(&register.value))).collect();
    if claims.iter().chain(&measurements).map(String::len).sum::<usize>() > MOST_TAKEN {
        return Err(EvidenceRefusal::Form("it says more than is taken down"));
    }
    Ok(Examined {
        tee,
        assurance: genuine.assurance().name().to_owned(),
        tier: genuine.tier(),
        hardware_id: genuine.hardware_id().map(str::to_owned),
        measurements,
        claims,
        enrolment: None,
    })
}

/// Whether a field holds exactly these bytes, then zeros.
pub(super) fn is_padded(field: &[u8], bytes: &[u8]) -> bool {
    field.strip_prefix(bytes).is_some_and(|rest| !bytes.is_empty() && rest.iter().all(|byte| *byte == 0))
}

/// Reads the members of a kind.
pub(super) fn members<T: DeserializeOwned>(evidence: &Value, what: &'static str) -> Result<T, EvidenceRefusal> {
    T::deserialize(evidence).map_err(|_| EvidenceRefusal::Form(what))
}

/// Bytes in base64 with padding.
pub(super) fn standard(text: &str, what: &'static str) -> Result<Vec<u8>, EvidenceRefusal> {
    STANDARD.decode(text).map_err(|_| EvidenceRefusal::Form(what))
}

/// Bytes in base64url, with padding or without.
pub(super) fn url_safe(text: &str, what: &'static str) -> Result<Vec<u8>, EvidenceRefusal> {
    const ENGINE: GeneralPurpose = GeneralPurpose::new(
        &URL_SAFE,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    ENGINE.decode(text).map_err(|_| EvidenceRefusal::Form(what))
}

/// What claims of the hardware beneath a vTPM begin with.
const HARDWARE: &str = "hardware:";
/// What is taken down of one machine, in bytes: it is kept until the session ends, and sent with its token. Real machines say two to six thousand.
const MOST_TAKEN: usize = 16 << 10;
const ALL: [Tee; 9] =
    [Tee::AzSnpVtpm, Tee::AzTdxVtpm, Tee::Sgx, Tee::Snp, Tee::Tdx, Tee::Cca, Tee::Csv, Tee::Se, Tee::Tpm];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_that_is_not_served_is_refused_by_its_name() {
        for tee in ALL {
            assert_eq!(Tee::named(tee.name()), Ok(tee));
            assert_eq!(Tee::numbered(tee.number()), Some(tee));
            for nothing in [json!({}), json!(null), json!([]), json!({ "quote": 1 }), json!({ "token": ["x"] })] {
                let refused = Primary::read(tee, &nothing).err().unwrap();
                if tee.is_served() {
                    assert!(matches!(refused, EvidenceRefusal::Form(_)), "{tee:?} {refused:?}");
                } else {
                    assert_eq!(refused, EvidenceRefusal::NotServed(tee.name().to_owned()));
                }
            }
        }
        assert_eq!(Tee::named("sample"), Err(EvidenceRefusal::Unsigned("sample")));
        assert_eq!(Tee::named("nvidia"), Err(EvidenceRefusal::Device));
        assert_eq!(Tee::named("\u{1b}"), Err(EvidenceRefusal::UnknownTee("\u{fffd}".to_owned())));
    }

    #[test]
    fn a_key_that_was_not_enrolled_is_refused_whatever_it_signed() {
        let (makers, collected) = (Makers::shipped(), Collected::Nothing);
        let endorsements = Endorsements { enrolled: &|_| Ok(None), makers: &makers, collected: &collected };
        let evidence = json!({ "tpm_quote": { "signature": "", "message": "", "pcrs": [] }, "ak_public": "AAAA" });
        let read = Primary::read(Tee::Tpm, &evidence).unwrap();
        assert_eq!(
            read.examine(&endorsements, &[0; 32], None, Timestamp::UNIX_EPOCH),
            Err(EvidenceRefusal::NotEnrolled)
        );
    }

    #[test]
    fn a_field_holds_the_whole_digest_and_then_zeros() {
        assert!(is_padded(&[1, 2, 0, 0], &[1, 2]));
        assert!(is_padded(&[1, 2], &[1, 2]));
        for (field, bytes) in
            [(&[1, 2, 0, 1][..], &[1, 2][..]), (&[1], &[1, 2]), (&[], &[]), (&[0, 0], &[]), (&[2, 1], &[1])]
        {
            assert!(!is_padded(field, bytes), "{field:?} {bytes:?}");
        }
    }
}
