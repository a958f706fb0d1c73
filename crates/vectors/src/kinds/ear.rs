//! Cases of the kind `ear`: Attestation Results in JWT, or in CWT where the file is CBOR.

use attest::{
    ear::{
        jwt::{TokenKey, Unverified},
        verify::VerifiedEar,
    },
    keys::VerificationKey,
    platform::{Assurance, Claim, Register},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{Stop, keys::named};
use crate::{Case, Report};

pub(super) fn run(case: &Case) -> Result<Report, Stop> {
    let file = case.need("token")?;
    let is_cbor = file.first().is_some_and(|first| !first.is_ascii());
    let outcome = if is_cbor {
        VerifiedEar::from_cwt(&file, &named(case, "key")?, case.now())
    } else {
        let token = text(&file);
        VerifiedEar::from_jwt(&token, &keys(case, &token)?, case.now())
    };
    let verified = match outcome {
        Ok(verified) => verified,
        Err(refusal) => return Ok(Report::refused(&refusal)),
    };
    let ear = verified.ear();
    let mut claims = vec![
        claim("iat", ear.issued_at.to_string()),
        claim("eat_profile", ear.profile.clone()),
        claim("alg", verified.algorithm().name().to_owned()),
        claim("status", verified.status().name().to_owned()),
        claim("developer", ear.verifier.developer.clone()),
        claim("build", ear.verifier.build.clone()),
    ];
    claims.extend(ear.nonces.iter().map(|nonce| claim("eat_nonce", nonce.clone())));
    let texts = [("iss", &ear.issuer), ("aud", &ear.audience), ("jti", &ear.token_id)];
    claims.extend(texts.into_iter().filter_map(|(name, text)| Some(claim(name, text.clone()?))));
    let times = [("exp", ear.expires), ("nbf", ear.not_before)];
    claims.extend(times.into_iter().filter_map(|(name, time)| Some(claim(name, time?.to_string()))));
    // In a CWT nonces are bytes.
    let nonces = ear.nonces.iter().filter(|_| is_cbor).filter_map(|nonce| URL_SAFE_NO_PAD.decode(nonce).ok());
    let nonces = nonces.map(|value| Register { name: "eat_nonce".to_owned(), value });
    Ok(Report::accepted(Assurance::Affirmed, claims).with_values(nonces))
}

/// The keys that the case trusts. A case that brings none vouches for the key inside its token: the runner makes it the anchor, since the
/// Verifier itself never takes a key from a token.
pub(super) fn keys(case: &Case, token: &str) -> Result<Vec<TokenKey>, Stop> {
    if case.has("key") {
        return named(case, "key");
    }
    let unverified = Unverified::parse(token).ok();
    let inside = unverified.as_ref().and_then(|token| token.header().get("jwk"));
    let key = inside.and_then(|jwk| VerificationKey::from_jwk(jwk).ok());
    Ok(key.map(|key| TokenKey { id: None, key }).into_iter().collect())
}

/// A file of text, without the end of its last line. Bytes that are no text become characters that no token has.
pub(super) fn text(file: &[u8]) -> String {
    String::from_utf8_lossy(file.trim_ascii_end()).into_owned()
}

pub(super) fn claim(name: &str, value: String) -> Claim {
    Claim { name: name.to_owned(), value, words: String::new() }
}
