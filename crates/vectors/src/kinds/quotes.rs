//! What the kinds with a TPM's quote share: its files, and what their verifiers ask for.

use std::collections::BTreeMap;

use attest::{PcrValue, platform::Genuine, tpm::PublicKey};

use super::tcg_eventlog::bank;
use crate::{Case, Report};

/// The files of a quote.
pub(crate) struct QuoteFiles {
    pub(crate) message: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) pcrs: Vec<PcrValue>,
    pub(crate) event_log: Option<Vec<u8>>,
}

impl QuoteFiles {
    /// Those whose names begin with `prefix`, if the case has any.
    pub(crate) fn read(case: &Case, prefix: &str) -> Result<Option<QuoteFiles>, String> {
        let Some(message) = case.file(&format!("{prefix}quote_msg"))? else { return Ok(None) };
        Ok(Some(QuoteFiles {
            message,
            signature: case.need(&format!("{prefix}quote_sig"))?,
            pcrs: values(&case.need("pcrs")?)?,
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

/// Genuine, unless the case's verifier expected another nonce.
pub(super) fn used(case: &Case, genuine: &Genuine) -> Result<Report, String> {
    let nonce = case.asks("expected_nonce").map(hex::decode).transpose().map_err(|error| error.to_string())?;
    match nonce {
        Some(nonce) if nonce != genuine.bound() => {
            Ok(Report::coded("not-bound", "the quote was made for another challenge".to_owned(), false))
        }
        _ => Ok(Report::genuine(genuine)),
    }
}

/// The attestation key of a case.
pub(super) fn key(case: &Case) -> Result<PublicKey, String> {
    PublicKey::from_spki(&case.need("ak_pub")?).ok_or_else(|| "the attestation key is not one".to_owned())
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
