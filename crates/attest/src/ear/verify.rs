//! The check that makes an EAR believable.
//!
//! Steps: 1. form; 2. algorithm and critical headers; 3. a key that the caller trusts; 4. its signature; 5. `exp`, `nbf` and `iat` at the given time;
//! 6. the claims of an EAR: profile, time, Verifier and at least one appraisal with a known status. What is not known is kept under its name and has no
//! influence; a status or a trustworthiness claim that is not known is refused, since it might have said no; 7. for a use: whom it is for, and that it
//! was not used before.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{
    Appraisal, Ear, Status, TokenError, TrustVector, VerifierId, cwt,
    error::quoted,
    jwt::{TokenKey, Unverified, time},
};
use crate::keys::Algorithm;

/// An EAR whose signature was checked under a trusted key and whose time is now.
#[derive(Debug, Clone, PartialEq)]
pub struct VerifiedEar {
    ear: Ear,
    algorithm: Algorithm,
}

impl VerifiedEar {
    /// Checks an EAR in a JWT.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn from_jwt(token: &str, keys: &[TokenKey], now: Timestamp) -> Result<VerifiedEar, TokenError> {
        let token = Unverified::parse(token)?.verify(keys, now)?;
        Ok(VerifiedEar { ear: read(token.claims())?, algorithm: token.algorithm() })
    }

    /// Checks an EAR in a CWT: COSE_Sign1 with or without its tag, which may stand in the tag of a CWT (61).
    ///
    /// # Errors
    /// The first step that fails.
    pub fn from_cwt(token: &[u8], keys: &[TokenKey], now: Timestamp) -> Result<VerifiedEar, TokenError> {
        let (ear, algorithm) = cwt::verify(token, keys, now)?;
        Ok(VerifiedEar { ear, algorithm })
    }

    /// Takes the result for one use (step 7): it is for this audience and was not taken before. `spend` records its identity, among those of
    /// this issuer, and tells whether it was new; it is asked last, so that a result for somebody else is not spent.
    ///
    /// # Errors
    /// [`TokenError::Missing`], [`TokenError::Audience`], [`TokenError::Replayed`].
    pub fn take(self, audience: &str, spend: impl FnOnce(&str) -> bool) -> Result<Ear, TokenError> {
        let meant = self.ear.audience.as_deref().ok_or(TokenError::Missing("aud"))?;
        if meant != audience {
            return Err(TokenError::Audience);
        }
        let id = self.ear.token_id.as_deref().filter(|id| !id.is_empty()).ok_or(TokenError::Missing("jti"))?;
        if spend(id) { Ok(self.ear) } else { Err(TokenError::Replayed) }
    }

    /// What the Verifier said.
    pub const fn ear(&self) -> &Ear {
        &self.ear
    }

    /// The algorithm of its signature.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The worst of the signed statuses.
    pub fn status(&self) -> Status {
        self.ear.submodules.values().map(|appraisal| appraisal.status).max().unwrap_or(Status::None)
    }
}

fn read(claims: &Map<String, Value>) -> Result<Ear, TokenError> {
    let submods = claims.get("submods").ok_or(TokenError::Missing("submods"))?;
    let submods = submods.as_object().ok_or(TokenError::Claim("submods"))?;
    let profile = text(claims, "eat_profile")?.ok_or(TokenError::Missing("eat_profile"))?;
    let issued_at = time(claims, "iat")?.ok_or(TokenError::Missing("iat"))?;
    let verifier = verifier(claims)?;
    if submods.is_empty() {
        return Err(TokenError::Missing("submods"));
    }
    let mut submodules = BTreeMap::new();
    for (name, appraisal) in submods {
        let appraisal = appraisal.as_object().ok_or(TokenError::Claim("submods"))?;
        submodules.insert(name.clone(), read_appraisal(appraisal)?);
    }
    let confirmation = match claims.get("cnf") {
        None => None,
        Some(cnf) => Some(cnf.get("jwk").filter(|jwk| jwk.is_object()).ok_or(TokenError::Claim("cnf"))?.clone()),
    };
    Ok(Ear {
        profile,
        issued_at,
        expires: time(claims, "exp")?,
        not_before: time(claims, "nbf")?,
        issuer: text(claims, "iss")?,
        audience: single(claims, "aud")?,
        token_id: text(claims, "jti")?,
        nonces: nonces(claims)?,
        verifier,
        confirmation,
        submodules,
        extensions: rest(claims, &KNOWN),
    })
}

fn read_appraisal(claims: &Map<String, Value>) -> Result<Appraisal, TokenError> {
    let status = text(claims, "ear.status")?.ok_or(TokenError::Missing("ear.status"))?;
    let status = Status::from_name(&status).ok_or_else(|| TokenError::Status(quoted(&status)))?;
    let vector = match claims.get("ear.trustworthiness-vector") {
        None => None,
        Some(vector) => {
            let mut read = TrustVector::default();
            let entries = vector.as_object().ok_or(TokenError::Claim("ear.trustworthiness-vector"))?;
            for (name, value) in entries {
                let value = value.as_i64().and_then(|value| i8::try_from(value).ok());
                TrustVector::label(name)
                    .zip(value)
                    .and_then(|(label, value)| read.set(label, value))
                    .ok_or_else(|| TokenError::Vector(quoted(name)))?;
            }
            Some(read)
        }
    };
    let policy_id = text(claims, "ear.appraisal-policy-id")?;
    Ok(Appraisal { status, vector, policy_id, extensions: rest(claims, &KNOWN_OF_APPRAISAL) })
}

fn verifier(claims: &Map<String, Value>) -> Result<VerifierId, TokenError> {
    let id = claims.get("ear.verifier-id").ok_or(TokenError::Missing("ear.verifier-id"))?;
    let part = |name: &str| id.get(name).and_then(Value::as_str).map(str::to_owned);
    let parts = part("developer").zip(part("build"));
    let (developer, build) = parts.ok_or(TokenError::Claim("ear.verifier-id"))?;
    Ok(VerifierId { developer, build })
}

fn text(claims: &Map<String, Value>, name: &'static str) -> Result<Option<String>, TokenError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(TokenError::Claim(name)),
    }
}

/// A text, or a list of texts.
fn nonces(claims: &Map<String, Value>) -> Result<Vec<String>, TokenError> {
    const NAME: &str = "eat_nonce";
    let one = |value: &Value| match value {
        Value::String(nonce) if !nonce.is_empty() => Ok(nonce.clone()),
        _ => Err(TokenError::Claim(NAME)),
    };
    match claims.get(NAME) {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) if !list.is_empty() => list.iter().map(one).collect(),
        Some(value) => Ok(vec![one(value)?]),
    }
}

/// A text, or a list of one text. Several are refused: which one counts would be a guess.
fn single(claims: &Map<String, Value>, name: &'static str) -> Result<Option<String>, TokenError> {
    match claims.get(name) {
        Some(Value::Array(list)) => match list.as_slice() {
            [Value::String(text)] if !text.is_empty() => Ok(Some(text.clone())),
            _ => Err(TokenError::Claim(name)),
        },
        _ => text(claims, name),
    }
}

fn rest(claims: &Map<String, Value>, known: &[&str]) -> BTreeMap<String, Value> {
    let unknown = claims.iter().filter(|(name, _)| !known.contains(&name.as_str()));
    unknown.map(|(name, value)| (name.clone(), value.clone())).collect()
}

const KNOWN: [&str; 11] =
    ["eat_profile", "iat", "exp", "nbf", "iss", "aud", "jti", "eat_nonce", "ear.verifier-id", "cnf", "submods"];

const KNOWN_OF_APPRAISAL: [&str; 3] = ["ear.status", "ear.trustworthiness-vector", "ear.appraisal-policy-id"];
