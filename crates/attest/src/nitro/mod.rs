//! AWS Nitro Enclaves and NitroTPM: what a document signed by the Nitro hypervisor proves.
//!
//! A document is a COSE_Sign1 whose leaf certificate travels inside it and lives three hours. So there are two times, and both count: every
//! certificate is valid at the *given* time, and the document's own time lies within the leaf's validity and not after the given time.
//! An old document can be shown with the time at which it was received; it cannot be replayed today. Freshness within the three
//! hours is the nonce's.
//!
//! The numbered steps are those of `docs/spec/platforms/nitro.md`. Format: "Nitro Enclaves Attestation Process"
//! (aws-nitro-enclaves-nsm-api), sections 2.2 and 3. What the Attester binds is `nonce`, whole: `user_data` and `public_key` are shown as
//! claims, and bind nothing by themselves. Absent: revocation (AWS publishes no lists for these authorities, and leaves are short-lived), and an
//! identity of the hardware (the documents have none).

mod document;
mod error;
pub mod image;
mod tpm;

use jiff::Timestamp;

pub use error::NitroError;
pub use tpm::{NitroTpmEvidence, NitroTpmQuote, examine_tpm};

use crate::{
    Tier,
    certificate::TrustAnchor,
    platform::{Assurance, Claim, Genuine, Platform, Register, Steps, claim, claim_hex, register},
};
use document::Document;

/// What an enclave sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NitroEvidence {
    /// The attestation document as the security module returned it.
    pub document: Vec<u8>,
}

/// Examines the document of a Nitro Enclave.
///
/// # Errors
/// The first step that fails.
pub fn examine(evidence: &NitroEvidence, anchors: &[TrustAnchor], now: Timestamp) -> Result<Genuine, NitroError> {
    let mut steps = Steps::default();
    let document = Document::open(&evidence.document, Kind::Enclave, anchors, now, &mut steps)?;
    // Step 6. The hypervisor reports zeros for the image of an enclave in debug mode; no image hashes to zeros.
    for index in 0..3 {
        let value = document.pcr(index).ok_or(NitroError::PcrMissing(index))?;
        if value.iter().all(|byte| *byte == 0) {
            return Err(NitroError::Debug);
        }
    }
    steps.pass(6, "the enclave is not in debug mode");
    let mut claims = document.claims();
    claims.push(claim("debug", false, "whether the enclave's console can be read and its image is not measured"));
    Ok(genuine(Platform::NitroEnclave, Tier::ConfidentialVm, &document, claims, steps, now))
}

/// Which document is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Enclave,
    Tpm,
}

fn genuine(
    platform: Platform,
    tier: Tier,
    document: &Document,
    claims: Vec<Claim>,
    steps: Steps,
    now: Timestamp,
) -> Genuine {
    Genuine {
        platform,
        assurance: Assurance::Affirmed,
        tier,
        debug: false,
        bound: document.nonce.clone().unwrap_or_default(),
        hardware_id: None,
        registers: document.registers(),
        claims,
        steps: steps.done(),
        examined_at: now,
    }
}

impl Document {
    fn registers(&self) -> Vec<Register> {
        self.pcrs.iter().map(|(index, value)| register(&format!("pcr{index}"), value)).collect()
    }

    fn claims(&self) -> Vec<Claim> {
        let mut claims = vec![
            claim(
                "module_id",
                &self.module_id,
                "the hypervisor's name for this enclave or machine: instance, then enclave",
            ),
            claim("timestamp_ms", self.timestamp, "when the document was made, in milliseconds since 1970"),
            claim("digest", "SHA384", "the hash function of the registers"),
        ];
        let optional = [
            ("nonce", &self.nonce, "what the Attester bound into the document"),
            ("user_data", &self.user_data, "other bytes that the Attester put in"),
            ("public_key", &self.public_key, "a key that the Attester put in"),
        ];
        for (name, value, words) in optional {
            claims.extend(value.as_ref().map(|value| claim_hex(name, value, words)));
        }
        for (index, value) in &self.pcrs {
            claims.push(claim_hex(&format!("pcr{index}"), value, pcr_words(*index)));
        }
        claims
    }
}

const fn pcr_words(index: u8) -> &'static str {
    match index {
        0 => "the whole image of an enclave",
        1 => "its kernel and boot RAM disk",
        2 => "its application",
        3 => "the IAM role of the parent instance",
        4 => "the identity of the parent instance",
        8 => "the certificate that signed the image",
        _ => "a register",
    }
}
