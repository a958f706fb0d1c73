//! `tpm` Evidence: a quote with its registers, by a key that was enrolled here.
//!
//! The attestation key inside the Evidence counts for nothing: it must be one that was enrolled before, by credential activation
//! ([`crate::enrol`]), and the quote must be of the very boot in which it was enrolled. Register 8 binds initial data, as far as the guest's own
//! software is believed: whoever can write to the TPM can extend it.

use std::collections::BTreeSet;

use attest::{
    AppraisalError, HashAlgorithm, PcrValue, Tier,
    platform::Assurance,
    tpm::{Quote, Signature, check_quote},
};
use serde::Deserialize;
use serde_json::Value;
use wire::kbs::InitData;

use super::{
    evidence::{Endorsements, EvidenceRefusal, Examined, Tee, members, standard},
    init_data,
};
use crate::refusal::words;

/// A quote and the key that is said to have made it.
pub(crate) struct TpmEvidence {
    signature: Vec<u8>,
    message: Vec<u8>,
    pcrs: Vec<String>,
    spki: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
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

impl TpmEvidence {
    /// `{"tpm_quote": {"signature", "message", "pcrs"}, "ak_public"}`.
    pub(super) fn read(evidence: &Value) -> Result<TpmEvidence, EvidenceRefusal> {
        let Members { tpm_quote: TpmQuote { signature, message, pcrs }, ak_public } =
            members(evidence, "`tpm_quote` and `ak_public` are needed")?;
        let bytes = |text: &str, what| {
            if text.len() > MAX_PART { Err(EvidenceRefusal::Form(what)) } else { standard(text, what) }
        };
        Ok(TpmEvidence {
            signature: bytes(&signature, "`signature`")?,
            message: bytes(&message, "`message`")?,
            spki: bytes(&ak_public, "`ak_public`")?,
            pcrs,
        })
    }

    pub(super) fn examine(
        &self,
        endorsements: &Endorsements<'_>,
        report_data: &[u8],
        init_data: Option<&InitData>,
    ) -> Result<Examined, EvidenceRefusal> {
        let found = (endorsements.enrolled)(&self.spki).map_err(|_| EvidenceRefusal::Store)?;
        let (enrolment, enrolled) = found.ok_or(EvidenceRefusal::NotEnrolled)?;
        let ak = enrolled.ak();
        let key = ak.public().key();
        if key.spki() != self.spki {
            return Err(EvidenceRefusal::NotEnrolled);
        }
        let appraisal = |error: AppraisalError| EvidenceRefusal::Appraisal(words(&error));
        let parsed = Signature::parse(&self.signature).map_err(|error| appraisal(error.into()))?;
        if parsed.scheme() != ak.scheme() {
            return Err(appraisal(AppraisalError::SignatureScheme));
        }
        // What is quoted decides which of the values are looked at; its signature is checked below, together with them.
        let values = quoted(&self.message, &self.pcrs)?;
        let quote = check_quote(key, &self.message, &self.signature, report_data, &values).map_err(appraisal)?;
        let then = enrolled.enrolment();
        if (then.reset_count, then.restart_count) != (quote.reset_count, quote.restart_count) {
            return Err(EvidenceRefusal::Restarted);
        }
        let mut claims = BTreeSet::from([
            format!("firmware={:016x}", quote.firmware_version),
            format!("clock_safe={}", quote.clock_is_safe),
            format!("ak_name={}", hex::encode(ak.public().name().as_bytes())),
        ]);
        if let Some(init_data) = init_data {
            let named = |name: &str| values.iter().find(|value| named(value) == name).map(|value| value.value.clone());
            claims.insert(init_data::bound(Tee::Tpm, init_data, &named)?);
        }
        let measurements = values.iter().map(|value| format!("{}={}", named(value), hex::encode(&value.value)));
        Ok(Examined {
            tee: Tee::Tpm,
            assurance: Assurance::Affirmed.name().to_owned(),
            // Who made the TPM is for the owner to say, by its endorsement key; unsaid, it may be software.
            tier: Tier::SoftwareTpm,
            hardware_id: Some(enrolled.ek().digest().to_string()),
            measurements: measurements.collect(),
            claims,
            enrolment: Some(enrolment),
        })
    }
}

fn named(value: &PcrValue) -> String {
    format!("pcr{}", value.index)
}

/// The values of the registers that are quoted, all of one bank: SHA-256.
pub(super) fn quoted(message: &[u8], pcrs: &[String]) -> Result<Vec<PcrValue>, EvidenceRefusal> {
    let quote = Quote::parse(message).map_err(|error| EvidenceRefusal::Appraisal(words(&error)))?;
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

const MAX_PART: usize = 8 << 10;
