//! What the kinds with a TPM's quote share: its files, and what their verifiers ask for.

use std::collections::BTreeMap;

use attest::{
    PcrValue,
    tpm::{PublicKey, QuoteFault},
};

use super::Stop;
use crate::{Case, Report, names::bank};

/// The files of a quote.
pub(crate) struct QuoteFiles {
    pub(crate) message: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) pcrs: Vec<PcrValue>,
    pub(crate) event_log: Option<Vec<u8>>,
}

impl QuoteFiles {
    /// Those whose names begin with `prefix`, if the case has any.
    pub(crate) fn read(case: &Case, prefix: &str) -> Result<Option<QuoteFiles>, Stop> {
        let Some(message) = case.file(&format!("{prefix}quote_msg"))? else { return Ok(None) };
        Ok(Some(QuoteFiles {
            message,
            // What is missing is refused as a signature that is none, and as registers that are not shown.
            signature: case.file(&format!("{prefix}quote_sig"))?.unwrap_or_default(),
            pcrs: case.file("pcrs")?.map(|json| values(&json)).transpose().map_err(unreadable)?.unwrap_or_default(),
            event_log: case.file("event_log")?,
        }))
    }

    pub(crate) fn evidence(&self) -> attest::tpm::QuoteEvidence<'_> {
        attest::tpm::QuoteEvidence {
            message: &self.message,
            signature: &self.signature,
            pcrs: &self.pcrs,
            event_log: self.event_log.as_deref(),
        }
    }
}

/// The attestation key of a case.
pub(super) fn key(case: &Case) -> Result<PublicKey, Stop> {
    let spki = case.file("ak_pub")?.unwrap_or_default();
    PublicKey::from_spki(&spki).ok_or_else(|| Stop::refused(&QuoteFault::Key))
}

fn unreadable(words: String) -> Stop {
    Stop::Refused(Box::new(Report::coded("registers-malformed", format!("the shown registers: {words}"), true)))
}

fn values(json: &[u8]) -> Result<Vec<PcrValue>, String> {
    let banks: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let mut values = Vec::new();
    for (name, registers) in &banks {
        let bank = bank(name).ok_or_else(|| format!("`{name}` is no bank"))?;
        for (index, value) in registers {
            let index = index.parse().map_err(|_| format!("`{index}` is no register"))?;
            values.push(PcrValue { bank, index, value: hex::decode(value).map_err(|error| error.to_string())? });
        }
    }
    Ok(values)
}
