//! From the Evidence of a client to what it proves: the one place where kinds of Evidence are told apart.
//!
//! Each kind that is served has an arm in `examine`; every other kind is refused by its name. An examination compares the whole report data
//! with what the Attester had to bind: nothing is cut to the width of a field. Evidence that is not signed by hardware (`sample`) proves nothing
//! and is refused by name.
//!
//! For `snp` the chip's key must stand under AMD's roots, and the report must meet the strict defaults of [`attest::snp::SnpPolicy`].
//!
//! For `tpm` the attestation key inside the Evidence counts for nothing: it must be one that was enrolled here before, by credential
//! activation (`crate::enrol`). The quote must be of the very boot in which it was enrolled.
//!
//! Deliberately absent: I/O, a clock, and a policy; whether a result is good enough is for the secret's owner to say.

use std::collections::BTreeSet;

use attest::{
    AppraisalError, HashAlgorithm, PcrValue, Tier,
    certificate::TrustAnchor,
    platform::{Assurance, Genuine},
    tpm::{EnrolledAk, Quote, Signature, check_quote},
};
use aws_lc_rs::digest::{SHA256, SHA384, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use envelope::{Digest, canonical};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::kbs::{BoundData, TeeKey};

use super::snp;
use crate::refusal::{Refusal, words};

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
    tee: Tee,
    assurance: String,
    tier: Tier,
    hardware_id: Option<String>,
    measurements: BTreeSet<String>,
    claims: BTreeSet<String>,
    enrolment: Option<Digest>,
}

/// An enrolment and its key, if there is one.
type FoundKey = Result<Option<(Digest, EnrolledAk)>, Refusal>;

/// What vouches for Evidence, as far as this broker has it.
pub(crate) struct Endorsements<'a> {
    /// The enrolment of an attestation key, by its SubjectPublicKeyInfo.
    pub(crate) enrolled: &'a dyn Fn(&[u8]) -> FoundKey,
    /// AMD's root keys.
    pub(crate) amd: &'a [TrustAnchor],
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
    /// Initial data.
    #[error("`init-data` is not examined by this broker")]
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

    /// Whether [`examine`] has an arm for it.
    pub(crate) const fn is_served(self) -> bool {
        matches!(self, Tee::Tpm | Tee::Snp)
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

/// Examines primary Evidence that must be bound to `report_data`.
///
/// # Errors
/// [`EvidenceRefusal`].
pub(crate) fn examine(
    tee: Tee,
    evidence: &Value,
    endorsements: &Endorsements<'_>,
    report_data: &[u8],
    now: Timestamp,
) -> Result<Examined, EvidenceRefusal> {
    match tee {
        Tee::Tpm => tpm(evidence, endorsements, report_data),
        Tee::Snp => genuine(tee, snp::examine(evidence, endorsements.amd, now)?, report_data),
        Tee::AzSnpVtpm | Tee::AzTdxVtpm | Tee::Sgx | Tee::Tdx | Tee::Cca | Tee::Csv | Tee::Se => {
            Err(EvidenceRefusal::NotServed(tee.name().to_owned()))
        }
    }
}

/// What a platform's examination established, if it is bound to `report_data`: the field holds these bytes, then zeros only.
fn genuine(tee: Tee, genuine: Genuine, report_data: &[u8]) -> Result<Examined, EvidenceRefusal> {
    let rest = genuine.bound().split_at_checked(report_data.len()).filter(|(bound, _)| *bound == report_data);
    if !rest.is_some_and(|(_, rest)| rest.iter().all(|byte| *byte == 0)) {
        return Err(EvidenceRefusal::Binding);
    }
    let registers = genuine.registers().iter();
    Ok(Examined {
        tee,
        assurance: genuine.assurance().name().to_owned(),
        tier: genuine.tier(),
        hardware_id: genuine.hardware_id().map(str::to_owned),
        measurements: registers.map(|register| format!("{}={}", register.name, hex::encode(&register.value))).collect(),
        claims: genuine.claims().iter().map(|claim| format!("{}={}", claim.name, claim.value)).collect(),
        enrolment: None,
    })
}

/// `tpm` Evidence, as clients write it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TpmEvidence {
    tpm_quote: TpmQuote,
    ak_public: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TpmQuote {
    /// TPMT_SIGNATURE.
    signature: String,
    /// TPMS_ATTEST.
    message: String,
    /// Of the SHA-256 bank, from register 0.
    pcrs: Vec<String>,
}

fn tpm(evidence: &Value, endorsements: &Endorsements<'_>, report_data: &[u8]) -> Result<Examined, EvidenceRefusal> {
    let form = EvidenceRefusal::Form;
    let TpmEvidence { tpm_quote: TpmQuote { signature, message, pcrs }, ak_public } =
        TpmEvidence::deserialize(evidence).map_err(|_| form("`tpm_quote` and `ak_public` are needed"))?;
    let bytes = |text: &str, what| {
        if text.len() > MAX_PART { Err(form(what)) } else { STANDARD.decode(text).map_err(|_| form(what)) }
    };
    let (signature, message) = (bytes(&signature, "`signature`")?, bytes(&message, "`message`")?);
    let spki = bytes(&ak_public, "`ak_public`")?;
    let (enrolment, enrolled) =
        (endorsements.enrolled)(&spki).map_err(|_| EvidenceRefusal::Store)?.ok_or(EvidenceRefusal::NotEnrolled)?;
    let ak = enrolled.ak();
    let key = ak.public().key();
    if key.spki() != spki {
        return Err(EvidenceRefusal::NotEnrolled);
    }
    let appraisal = |error: AppraisalError| EvidenceRefusal::Appraisal(words(&error));
    let parsed = Signature::parse(&signature).map_err(|error| appraisal(error.into()))?;
    if parsed.scheme() != ak.scheme() {
        return Err(appraisal(AppraisalError::SignatureScheme));
    }
    // What is quoted decides which of the values are looked at; its signature is checked below, together with them.
    let claimed = Quote::parse(&message).map_err(|error| EvidenceRefusal::Appraisal(words(&error)))?;
    let values = quoted(&claimed, &pcrs)?;
    let quote = check_quote(key, &message, &signature, report_data, &values).map_err(appraisal)?;
    let then = enrolled.enrolment();
    if (then.reset_count, then.restart_count) != (quote.reset_count, quote.restart_count) {
        return Err(EvidenceRefusal::Restarted);
    }
    let measurement = |value: &PcrValue| format!("pcr{}={}", value.index, hex::encode(&value.value));
    Ok(Examined {
        tee: Tee::Tpm,
        assurance: Assurance::Affirmed.name().to_owned(),
        // Who made the TPM is for the owner to say, by its endorsement key; unsaid, it may be software.
        tier: Tier::SoftwareTpm,
        hardware_id: Some(enrolled.ek().digest().to_string()),
        measurements: values.iter().map(measurement).collect(),
        claims: BTreeSet::from([
            format!("firmware={:016x}", quote.firmware_version),
            format!("clock_safe={}", quote.clock_is_safe),
            format!("ak_name={}", hex::encode(ak.public().name().as_bytes())),
        ]),
        enrolment: Some(enrolment),
    })
}

/// The values of the registers that are quoted, all of one bank: SHA-256.
fn quoted(quote: &Quote, pcrs: &[String]) -> Result<Vec<PcrValue>, EvidenceRefusal> {
    let [selection] = quote.selections.as_slice() else { return Err(EvidenceRefusal::Form("one bank must be quoted")) };
    if selection.pcrs.is_empty() {
        return Err(EvidenceRefusal::Form("no register is quoted"));
    }
    if selection.bank != HashAlgorithm::Sha256 {
        return Err(EvidenceRefusal::Form("the quoted bank must be sha256"));
    }
    if pcrs.len() != 24 {
        return Err(EvidenceRefusal::Form("`pcrs` must have 24 values"));
    }
    let value = |index: &u8| {
        let text = pcrs.get(usize::from(*index)).ok_or(EvidenceRefusal::Form("`pcrs`"))?;
        let value = hex::decode(text).map_err(|_| EvidenceRefusal::Form("`pcrs`"))?;
        Ok(PcrValue { bank: HashAlgorithm::Sha256, index: *index, value })
    };
    selection.pcrs.iter().map(value).collect()
}

const ALL: [Tee; 9] =
    [Tee::AzSnpVtpm, Tee::AzTdxVtpm, Tee::Sgx, Tee::Snp, Tee::Tdx, Tee::Cca, Tee::Csv, Tee::Se, Tee::Tpm];
const MAX_PART: usize = 8 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_that_is_not_served_is_refused_by_its_name() {
        let endorsements = Endorsements { enrolled: &|_| Ok(None), amd: &[] };
        for tee in ALL {
            assert_eq!(Tee::named(tee.name()), Ok(tee));
            assert_eq!(Tee::numbered(tee.number()), Some(tee));
            if !tee.is_served() {
                let refused = examine(tee, &json!({}), &endorsements, &[0; 48], Timestamp::UNIX_EPOCH);
                assert_eq!(refused, Err(EvidenceRefusal::NotServed(tee.name().to_owned())));
            }
        }
        assert_eq!(Tee::named("sample"), Err(EvidenceRefusal::Unsigned("sample")));
        assert_eq!(Tee::named("nvidia"), Err(EvidenceRefusal::Device));
        assert_eq!(Tee::named("\u{1b}"), Err(EvidenceRefusal::UnknownTee("\u{fffd}".to_owned())));
    }

    #[test]
    fn a_key_that_was_not_enrolled_is_refused_whatever_it_signed() {
        let endorsements = Endorsements { enrolled: &|_| Ok(None), amd: &[] };
        let evidence = json!({ "tpm_quote": { "signature": "", "message": "", "pcrs": [] }, "ak_public": "AAAA" });
        assert_eq!(
            examine(Tee::Tpm, &evidence, &endorsements, &[0; 32], Timestamp::UNIX_EPOCH),
            Err(EvidenceRefusal::NotEnrolled)
        );
        for evidence in [json!(null), json!({}), json!({ "ak_public": "AAAA" })] {
            let refused = examine(Tee::Tpm, &evidence, &endorsements, &[0; 32], Timestamp::UNIX_EPOCH);
            assert!(matches!(refused, Err(EvidenceRefusal::Form(_))));
        }
    }
}
