//! `cca` Evidence: the token of a realm, as a list of numbers.
//!
//! The realm's half is worth what the platform's attestation key vouches for, and makers publish no root for these keys: those that count
//! are named by the operator (`--cca-key`). The realm's challenge is the digest followed by zeros, its personalization value binds initial data.

use attest::{
    arm::cca::{self, CcaEvidence},
    keys::VerificationKey,
    platform::Genuine,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::evidence::{EvidenceRefusal, members};

/// A realm's token.
pub(crate) struct RealmToken(CcaEvidence);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    token: Vec<u8>,
}

impl RealmToken {
    /// `{"token"}`.
    pub(super) fn read(evidence: &Value) -> Result<RealmToken, EvidenceRefusal> {
        let Members { token } = members(evidence, "`token` is needed, as a list of bytes")?;
        Ok(RealmToken(CcaEvidence { token }))
    }

    pub(super) fn examine(&self, keys: &[VerificationKey], now: Timestamp) -> Result<Genuine, EvidenceRefusal> {
        if keys.is_empty() {
            return Err(EvidenceRefusal::Endorsement(
                "no attestation key of a CCA platform is known here\nhint: start the broker with --cca-key FILE"
                    .to_owned(),
            ));
        }
        cca::examine(&self.0, keys, now).map_err(|error| EvidenceRefusal::of_platform(&error))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use serde_json::json;

    use super::*;
    use crate::kbs::{
        evidence::{Makers, Tee},
        forged::{Exchange, at, code, corpus, document},
    };

    #[test]
    fn a_recorded_token_holds_under_its_platforms_key_for_its_exchange_and_no_other() {
        let Some(token) = corpus("cca/tf-rmm-token-01/cca_token.cbor") else { return };
        let key = VerificationKey::from_spki(&corpus("cca/tf-rmm-token-01/cpak_pub.pem").unwrap()).unwrap();
        let evidence = json!({ "token": token });
        let mut exchange = Exchange::new(Tee::Cca, at("2026-01-01T00:00:00Z"));
        match exchange.examine(&evidence) {
            Err(EvidenceRefusal::Endorsement(words)) => assert!(words.contains("--cca-key FILE"), "{words}"),
            other => panic!("{other:?}"),
        }
        exchange.makers = Makers { cca: vec![key.clone()], ..Makers::shipped() };
        assert_eq!(exchange.examine(&evidence), Err(EvidenceRefusal::Binding));
        let genuine = cca::examine(&CcaEvidence { token: token.clone() }, &[key], exchange.now).unwrap();
        exchange.report_data = genuine.bound().to_vec();
        let examined = exchange.examine(&evidence).unwrap();
        assert_eq!((examined.tee(), examined.assurance()), ("cca", "affirmed"));
        assert!(examined.measurements().iter().any(|register| register.starts_with("rim=")));
        exchange.init_data = Some(document());
        assert_eq!(exchange.examine(&evidence), Err(EvidenceRefusal::InitData));
        let other = corpus("cca/tf-rmm-token-01-neg-rakswap/cca_token.cbor").unwrap();
        assert_eq!(code(exchange.examine(&json!({ "token": other }))), "rak-unbound");
    }
}
