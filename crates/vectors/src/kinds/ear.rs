//! Cases of the kind `ear`: Attestation Results in JWT.

use attest::{
    ear::{
        jwt::{TokenKey, Unverified},
        verify::VerifiedEar,
    },
    keys::VerificationKey,
    platform::{Assurance, Claim},
};

use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, String> {
    let token = text(case, "token")?;
    let keys = keys(case, &token)?;
    Ok(match VerifiedEar::from_jwt(&token, &keys, case.now()) {
        Err(refusal) => Report::refused(&refusal),
        Ok(verified) => {
            let ear = verified.ear();
            let mut claims = vec![
                claim("iat", ear.issued_at.to_string()),
                claim("eat_profile", ear.profile.clone()),
                claim("alg", verified.algorithm().name().to_owned()),
            ];
            claims.extend(ear.nonce.clone().map(|nonce| claim("eat_nonce", nonce)));
            claims.extend(ear.issuer.clone().map(|issuer| claim("iss", issuer)));
            claims.extend(ear.expires.map(|time| claim("exp", time.to_string())));
            Report::accepted(Assurance::Affirmed, claims)
        }
    })
}

/// The keys that the case trusts. Where it says that the token's own key is anchored elsewhere, that anchoring is done here, by the runner: the
/// Verifier itself never takes a key from a token.
pub(super) fn keys(case: &Case, token: &str) -> Result<Vec<TokenKey>, String> {
    if let Some(jwk) = case.file("key")? {
        let jwk = serde_json::from_slice(&jwk).map_err(|error| error.to_string())?;
        let key = VerificationKey::from_jwk(&jwk).map_err(|error| error.to_string())?;
        return Ok(vec![TokenKey { id: None, key }]);
    }
    if !case.expects("signature").is_some_and(|words| words.contains("must be anchored separately")) {
        return Ok(Vec::new());
    }
    let unverified = Unverified::parse(token).map_err(|error| error.to_string())?;
    let jwk = unverified.header().get("jwk").ok_or("the token embeds no key")?;
    let key = VerificationKey::from_jwk(jwk).map_err(|error| error.to_string())?;
    Ok(vec![TokenKey { id: None, key }])
}

/// A file of text. Bytes that are none become characters that no token has.
pub(super) fn text(case: &Case, role: &str) -> Result<String, String> {
    Ok(String::from_utf8_lossy(&case.need(role)?).into_owned())
}

pub(super) fn claim(name: &str, value: String) -> Claim {
    Claim { name: name.to_owned(), value, words: String::new() }
}
