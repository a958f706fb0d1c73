//! NitroTPM: the document that vouches for the TPM of an EC2 instance, and a quote of that TPM beside it.
//!
//! The document alone carries the registers (`nitrotpm_pcrs`, the SHA-384 bank). A quote adds the TPM's own counters and is worth
//! something only if the document vouches for its key: `public_key` is the attestation key's point, the document's `nonce` is the quote's
//! qualifying data, and the quoted registers are the document's.

use jiff::Timestamp;

use super::{Kind, NitroError, document::Document, genuine};
use crate::{
    HashAlgorithm, PcrValue, Tier,
    certificate::TrustAnchor,
    platform::{Genuine, Platform, Steps, claim, claim_hex},
    tpm::{Curve, PublicKey, Quote, check_quote},
};

/// What an instance sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NitroTpmEvidence {
    /// The attestation document.
    pub document: Vec<u8>,
    /// A quote, where the Attester made one. It cannot be left out to hide anything: all that is appraised stands in the document.
    pub quote: Option<NitroTpmQuote>,
}

/// A quote by the key that the document names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NitroTpmQuote {
    /// TPMS_ATTEST.
    pub message: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

/// Examines the document of a NitroTPM, and the quote where there is one.
///
/// # Errors
/// The first step that fails.
pub fn examine_tpm(
    evidence: &NitroTpmEvidence,
    anchors: &[TrustAnchor],
    now: Timestamp,
) -> Result<Genuine, NitroError> {
    let mut steps = Steps::default();
    let document = Document::open(&evidence.document, Kind::Tpm, anchors, now, &mut steps)?;
    let mut claims = document.claims();
    if let Some(quote) = &evidence.quote {
        let quote = check(quote, &document)?;
        steps.pass(7, "the TPM's quote is by the key, over the nonce and the registers that the document vouches for");
        claims.push(claim_hex("tpm_quote_extra_data", &quote.extra_data, "the qualifying data of the TPM's quote"));
        claims.push(claim("tpm_reset_count", quote.reset_count, "how often the TPM was reset"));
        claims.push(claim("tpm_restart_count", quote.restart_count, "how often it was restarted since"));
    }
    Ok(genuine(Platform::NitroTpm, Tier::Tpm, &document, claims, steps, now))
}

/// Step 7.
fn check(quote: &NitroTpmQuote, document: &Document) -> Result<Quote, NitroError> {
    let (Some(point), Some(nonce)) = (&document.public_key, &document.nonce) else {
        return Err(NitroError::QuoteUnbound);
    };
    let curve = match (point.len(), point.first()) {
        (65, Some(4)) => Curve::P256,
        (97, Some(4)) => Curve::P384,
        _ => return Err(NitroError::QuoteUnbound),
    };
    let key = PublicKey::Ecc { curve, point: point.clone() };
    // A quote may select fewer registers than the document gives.
    let quoted = Quote::parse(&quote.message).map_err(NitroError::QuoteForm)?;
    let selected = document.pcrs.iter().filter(|(index, _)| quoted.covers(HashAlgorithm::Sha384, **index));
    let values: Vec<PcrValue> = selected
        .map(|(index, value)| PcrValue { bank: HashAlgorithm::Sha384, index: *index, value: value.clone() })
        .collect();
    check_quote(&key, &quote.message, &quote.signature, nonce, &values).map_err(NitroError::Quote)
}
