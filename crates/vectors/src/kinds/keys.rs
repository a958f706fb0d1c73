//! The keys that a case trusts, in the forms in which keys are handed around: PEM, DER, JWK, a set of JWKs, COSE_Key, a point.

use attest::{
    ear::jwt::TokenKey,
    keys::{KeyError, VerificationKey},
};
use serde_json::Value;

use super::Stop;
use crate::{Case, Report};

/// The keys in this role, or none.
pub(super) fn keys(case: &Case, role: &str) -> Result<Vec<VerificationKey>, Stop> {
    Ok(named(case, role)?.into_iter().map(|known| known.key).collect())
}

/// The same, with their names.
pub(super) fn named(case: &Case, role: &str) -> Result<Vec<TokenKey>, Stop> {
    let Some(file) = case.file(role)? else { return Ok(Vec::new()) };
    read(&file).map_err(|error| {
        let words = format!("the file `{role}`: {error}");
        Stop::Refused(Box::new(Report::coded("key-malformed", words, error == KeyError::Malformed)))
    })
}

fn read(file: &[u8]) -> Result<Vec<TokenKey>, KeyError> {
    let unnamed = |key| vec![TokenKey { id: None, key }];
    let text = file.trim_ascii();
    match text.first() {
        Some(b'{') => {
            let json: Value = serde_json::from_slice(text).map_err(|_| KeyError::Malformed)?;
            match json.get("keys").and_then(Value::as_array) {
                Some(set) => set.iter().map(named_key).collect(),
                // One key is tried whatever its name.
                None => VerificationKey::from_jwk(&json).map(unnamed),
            }
        }
        Some(b'-') => VerificationKey::from_spki(text).map(unnamed),
        Some(0xA0..=0xBF) => VerificationKey::from_cose_key(file).map(unnamed),
        Some(0x04) => VerificationKey::from_point(file).map(unnamed),
        _ => VerificationKey::from_spki(file).map(unnamed),
    }
}

fn named_key(jwk: &Value) -> Result<TokenKey, KeyError> {
    let id = jwk.get("kid").and_then(Value::as_str).map(str::to_owned);
    Ok(TokenKey { id, key: VerificationKey::from_jwk(jwk)? })
}
