//! Cases of the kind `eat`: tokens of attestation services.

use attest::{ear::jwt::Unverified, platform::Assurance};

use super::ear::{claim, keys, text};
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    let token = text(case, "token")?;
    let keys = keys(case, &token)?;
    Ok(match Unverified::parse(&token).and_then(|token| token.verify(&keys, case.now())) {
        Err(refusal) => Report::refused(&refusal),
        Ok(verified) => {
            let names = ["iss", "iat", "exp", "nbf", "eat_profile", "eat_nonce"];
            let told = names.into_iter().filter_map(|name| {
                let value = verified.claims().get(name)?;
                Some(claim(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            });
            Report::accepted(Assurance::Affirmed, told.collect())
        }
    })
}
