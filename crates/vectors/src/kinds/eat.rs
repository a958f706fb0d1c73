//! Cases of the kind `eat`: tokens of attestation services.

use attest::{ear::jwt::Unverified, platform::Assurance};
use serde_json::Value;

use super::{
    Stop,
    ear::{claim, keys, text},
};
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    let token = text(&case.need("token")?);
    let keys = keys(case, &token)?;
    Ok(match Unverified::parse(&token).and_then(|token| token.verify(&keys, case.now())) {
        Err(refusal) => Report::refused(&refusal),
        Ok(verified) => {
            let told = verified.claims().iter().filter_map(|(name, value)| match value {
                Value::String(text) => Some(claim(name, text.clone())),
                Value::Bool(_) | Value::Number(_) => Some(claim(name, value.to_string())),
                Value::Null | Value::Array(_) | Value::Object(_) => None,
            });
            Report::accepted(Assurance::Affirmed, told.collect())
        }
    })
}
