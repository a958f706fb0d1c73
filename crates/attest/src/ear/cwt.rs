//! EAR in a CWT (RFC 8392): the same claims under integer labels, in deterministic CBOR, signed as COSE_Sign1.
//!
//! What is not known keeps its JSON form under a text key; integer keys that are not known are kept under their decimal name.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Value as Json, json};

use super::{
    Appraisal, Ear, Status, TokenError, TrustVector, VerifierId,
    error::quoted,
    jwt::{TokenKey, check_signature, check_times},
};
use crate::{
    CborError, CoseError,
    cbor::{Encoder, Form, Value},
    cose::{self, Sign1},
    keys::Algorithm,
};

/// Why an EAR cannot be written as a CWT.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError<E> {
    /// COSE does not have the algorithm.
    #[error("COSE has no `{}`", .0.name())]
    Algorithm(Algorithm),
    /// The key to confirm is not a JWK of EC, OKP or RSA.
    #[error("the key to confirm cannot be written as a COSE_Key")]
    Confirmation,
    /// The nonce is not base64url of bytes.
    #[error("the nonce is not base64url without padding")]
    Nonce,
    /// The signer.
    #[error("the token cannot be signed")]
    Sign(#[source] E),
}

impl Ear {
    /// The EAR as a CWT; `sign` signs the bytes it is given, with r ‖ s for ECDSA.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn to_cwt<E>(
        &self,
        algorithm: Algorithm,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, IssueError<E>> {
        let token = cose::sign(algorithm, &self.claims_set()?, sign).map_err(IssueError::Sign)?;
        token.ok_or(IssueError::Algorithm(algorithm))
    }

    fn claims_set<E>(&self) -> Result<Vec<u8>, IssueError<E>> {
        let texts = [(1, &self.issuer), (3, &self.audience)];
        let texts: Vec<(i64, &String)> =
            texts.iter().filter_map(|(label, text)| Some((*label, (*text).as_ref()?))).collect();
        let times = [(4, self.expires), (5, self.not_before), (6, Some(self.issued_at))];
        let times: Vec<(i64, i64)> = times.iter().filter_map(|(label, time)| Some((*label, (*time)?))).collect();
        let optional = [self.token_id.is_some(), self.confirmation.is_some(), !self.nonces.is_empty()];
        let optional = optional.iter().filter(|present| **present).count();
        let mut encoder = Encoder::default();
        encoder.map(texts.len() + times.len() + optional + 3 + self.extensions.len());
        for (label, text) in texts {
            encoder.integer(label);
            encoder.text(text);
        }
        for (label, time) in times {
            encoder.integer(label);
            encoder.integer(time);
        }
        if let Some(id) = &self.token_id {
            encoder.integer(7);
            encoder.bytes(id.as_bytes());
        }
        if let Some(jwk) = &self.confirmation {
            encoder.integer(8);
            encoder.map(1);
            encoder.integer(1);
            write_key(&mut encoder, jwk).ok_or(IssueError::Confirmation)?;
        }
        if !self.nonces.is_empty() {
            encoder.integer(10);
        }
        if self.nonces.len() > 1 {
            encoder.array(self.nonces.len());
        }
        for nonce in &self.nonces {
            encoder.bytes(&URL_SAFE_NO_PAD.decode(nonce).map_err(|_| IssueError::Nonce)?);
        }
        encoder.integer(265);
        encoder.text(&self.profile);
        encoder.integer(266);
        encoder.map(self.submodules.len());
        for (name, appraisal) in &self.submodules {
            encoder.text(name);
            write_appraisal(&mut encoder, appraisal);
        }
        encoder.integer(1004);
        encoder.map(2);
        encoder.integer(0);
        encoder.text(&self.verifier.developer);
        encoder.integer(1);
        encoder.text(&self.verifier.build);
        write_extensions(&mut encoder, &self.extensions);
        Ok(encoder.done())
    }
}

pub(super) fn verify(token: &[u8], keys: &[TokenKey], now: Timestamp) -> Result<(Ear, Algorithm), TokenError> {
    // Bounded before anything is hashed: the signature may be tried under each key.
    if token.len() > MAX_SIZE {
        return Err(TokenError::TooLarge(token.len()));
    }
    // 61 in three bytes: the tag of a CWT (RFC 8392, section 6).
    let token = token.strip_prefix(&[0xd8, 0x3d]).unwrap_or(token);
    let signed = Sign1::parse(token).map_err(|error| match error {
        CoseError::Algorithm(id) => TokenError::Algorithm(id.to_string()),
        CoseError::Critical => TokenError::Critical,
        other => TokenError::Cose(other),
    })?;
    check_signature(keys, None, |key| signed.verify_raw(key), signed.algorithm())?;
    let claims = Value::parse(signed.payload(), Form::Plain).map_err(TokenError::Cbor)?;
    claims.map().ok_or(TokenError::Cbor(CborError::NotWellFormed(0)))?;
    let ear = read(&claims)?;
    check_times(ear.expires, ear.not_before, Some(ear.issued_at), now)?;
    Ok((ear, signed.algorithm()))
}

fn read(claims: &Value<'_>) -> Result<Ear, TokenError> {
    let number = |label, name| match claims.at(label) {
        None => Ok(None),
        Some(value) => value.integer().map(Some).ok_or(TokenError::Claim(name)),
    };
    let text = |label, name| text(claims, label, name);
    let bytes = |label, name| match claims.at(label) {
        None => Ok(None),
        Some(value) => value.bytes().map(Some).ok_or(TokenError::Claim(name)),
    };
    let verifier = claims.at(1004).ok_or(TokenError::Missing("ear.verifier-id"))?;
    let part = |label| verifier.at(label).and_then(Value::text).map(str::to_owned);
    let (developer, build) = part(0).zip(part(1)).ok_or(TokenError::Claim("ear.verifier-id"))?;
    let submods = claims.at(266).ok_or(TokenError::Missing("submods"))?.map().ok_or(TokenError::Claim("submods"))?;
    if submods.is_empty() {
        return Err(TokenError::Missing("submods"));
    }
    let mut submodules = BTreeMap::new();
    for (name, appraisal) in submods {
        let name = name.text().ok_or(TokenError::Claim("submods"))?;
        submodules.insert(name.to_owned(), read_appraisal(appraisal)?);
    }
    let confirmation = match claims.at(8) {
        None => None,
        Some(cnf) => Some(cnf.at(1).and_then(read_key).ok_or(TokenError::Claim("cnf"))?),
    };
    let written = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let identity = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap_or_else(|_| written(bytes));
    Ok(Ear {
        profile: text(265, "eat_profile")?.ok_or(TokenError::Missing("eat_profile"))?,
        issued_at: number(6, "iat")?.ok_or(TokenError::Missing("iat"))?,
        expires: number(4, "exp")?,
        not_before: number(5, "nbf")?,
        issuer: text(1, "iss")?,
        audience: text(3, "aud")?,
        token_id: bytes(7, "cti")?.map(identity),
        nonces: nonces(claims.at(10)).ok_or(TokenError::Claim("eat_nonce"))?,
        verifier: VerifierId { developer, build },
        confirmation,
        submodules,
        extensions: extensions(claims, &[1, 3, 4, 5, 6, 7, 8, 10, 265, 266, 1004]),
    })
}

/// A byte string, or a list of them.
fn nonces(value: Option<&Value<'_>>) -> Option<Vec<String>> {
    let written = |value: &Value<'_>| value.bytes().map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
    match (value, value.and_then(Value::array)) {
        (None, _) => Some(Vec::new()),
        (_, Some([])) => None,
        (_, Some(list)) => list.iter().map(written).collect(),
        (Some(value), None) => Some(vec![written(value)?]),
    }
}

fn read_appraisal(claims: &Value<'_>) -> Result<Appraisal, TokenError> {
    claims.map().ok_or(TokenError::Claim("submods"))?;
    let status = claims.at(1000).ok_or(TokenError::Missing("ear.status"))?;
    let status = status.integer().ok_or(TokenError::Claim("ear.status"))?;
    let status = Status::from_number(status).ok_or_else(|| TokenError::Status(status.to_string()))?;
    let vector = match claims.at(1001) {
        None => None,
        Some(vector) => {
            let mut read = TrustVector::default();
            for (label, value) in vector.map().ok_or(TokenError::Claim("ear.trustworthiness-vector"))? {
                let value = value.integer().and_then(|value| i8::try_from(value).ok());
                let set = label.integer().zip(value).and_then(|(label, value)| read.set(label, value));
                set.ok_or_else(|| TokenError::Vector(quoted(&json_of(label).to_string())))?;
            }
            Some(read)
        }
    };
    let policy_id = text(claims, 1003, "ear.appraisal-policy-id")?;
    Ok(Appraisal { status, vector, policy_id, extensions: extensions(claims, &[1000, 1001, 1003]) })
}

fn text(claims: &Value<'_>, label: i64, name: &'static str) -> Result<Option<String>, TokenError> {
    match claims.at(label) {
        None => Ok(None),
        Some(value) => {
            let text = value.text().filter(|text| !text.is_empty()).ok_or(TokenError::Claim(name))?;
            Ok(Some(text.to_owned()))
        }
    }
}

fn write_appraisal(encoder: &mut Encoder, appraisal: &Appraisal) {
    let optional = usize::from(appraisal.vector.is_some()) + usize::from(appraisal.policy_id.is_some());
    encoder.map(1 + optional + appraisal.extensions.len());
    encoder.integer(1000);
    encoder.integer(i64::from(appraisal.status.number()));
    if let Some(vector) = &appraisal.vector {
        encoder.integer(1001);
        encoder.map(vector.claims().count());
        for (label, _, value) in vector.claims() {
            encoder.integer(label);
            encoder.integer(i64::from(value));
        }
    }
    if let Some(policy) = &appraisal.policy_id {
        encoder.integer(1003);
        encoder.text(policy);
    }
    write_extensions(encoder, &appraisal.extensions);
}

fn write_extensions(encoder: &mut Encoder, extensions: &BTreeMap<String, Json>) {
    for (name, value) in extensions {
        encoder.text(name);
        write_json(encoder, value);
    }
}

fn extensions(claims: &Value<'_>, known: &[i64]) -> BTreeMap<String, Json> {
    let entries = claims.map().unwrap_or_default().iter();
    let unknown = entries.filter(|(key, _)| !key.integer().is_some_and(|label| known.contains(&label)));
    unknown.map(|(key, value)| (name_of(key), json_of(value))).collect()
}

fn write_json(encoder: &mut Encoder, value: &Json) {
    match value {
        Json::Null => encoder.null(),
        Json::Bool(value) => encoder.boolean(*value),
        Json::Number(number) => match number.as_i64() {
            Some(number) => encoder.integer(number),
            None => encoder.double(number.as_f64().unwrap_or_default()),
        },
        Json::String(text) => encoder.text(text),
        Json::Array(items) => {
            encoder.array(items.len());
            items.iter().for_each(|item| write_json(encoder, item));
        }
        Json::Object(entries) => {
            encoder.map(entries.len());
            for (name, value) in entries {
                encoder.text(name);
                write_json(encoder, value);
            }
        }
    }
}

/// For people: bytes as base64url, keys as texts, tags dropped.
fn json_of(value: &Value<'_>) -> Json {
    match value {
        Value::Unsigned(number) => json!(number),
        Value::Negative(_) => json!(value.integer()),
        Value::Bytes(bytes) => json!(URL_SAFE_NO_PAD.encode(bytes)),
        Value::Text(text) => json!(text),
        Value::Array(items) => Json::Array(items.iter().map(json_of).collect()),
        Value::Map(entries) => {
            Json::Object(entries.iter().map(|(key, value)| (name_of(key), json_of(value))).collect())
        }
        Value::Tag(_, inner) => json_of(inner),
        Value::Boolean(value) => json!(value),
        Value::Null | Value::Undefined => Json::Null,
        Value::Float(bits) => json!(f64::from_bits(*bits)),
        Value::Simple(value) => json!(value),
    }
}

fn name_of(key: &Value<'_>) -> String {
    key.text().map_or_else(|| json_of(key).to_string(), str::to_owned)
}

/// COSE_Key labels (RFC 9053, section 7; RFC 8230, section 4), with the JWK members they stand for.
fn write_key(encoder: &mut Encoder, jwk: &Json) -> Option<()> {
    let text = |name: &str| jwk.get(name).and_then(Json::as_str);
    let part = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    match text("kty")? {
        "EC" => {
            let (x, y) = (part("x")?, part("y")?);
            let (_, curve) = CURVES.iter().find(|(name, _)| Some(*name) == text("crv"))?;
            encoder.map(4);
            numbers(encoder, &[(1, 2), (-1, *curve)]);
            strings(encoder, &[(-2, x), (-3, y)]);
        }
        "OKP" if text("crv")? == "Ed25519" => {
            let x = part("x")?;
            encoder.map(3);
            numbers(encoder, &[(1, 1), (-1, 6)]);
            strings(encoder, &[(-2, x)]);
        }
        "RSA" => {
            let (n, e) = (part("n")?, part("e")?);
            encoder.map(3);
            numbers(encoder, &[(1, 3)]);
            strings(encoder, &[(-1, n), (-2, e)]);
        }
        _ => return None,
    }
    Some(())
}

fn read_key(key: &Value<'_>) -> Option<Json> {
    let number = |label| key.at(label).and_then(Value::integer);
    let part = |label| key.at(label).and_then(Value::bytes).map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
    match number(1)? {
        2 => {
            let (name, _) = CURVES.iter().find(|(_, curve)| Some(*curve) == number(-1))?;
            Some(json!({ "kty": "EC", "crv": name, "x": part(-2)?, "y": part(-3)? }))
        }
        1 if number(-1)? == 6 => Some(json!({ "kty": "OKP", "crv": "Ed25519", "x": part(-2)? })),
        3 => Some(json!({ "kty": "RSA", "n": part(-1)?, "e": part(-2)? })),
        _ => None,
    }
}

fn numbers(encoder: &mut Encoder, entries: &[(i64, i64)]) {
    for (label, number) in entries {
        encoder.integer(*label);
        encoder.integer(*number);
    }
}

fn strings(encoder: &mut Encoder, entries: &[(i64, Vec<u8>)]) {
    for (label, bytes) in entries {
        encoder.integer(*label);
        encoder.bytes(bytes);
    }
}

const CURVES: [(&str, i64); 3] = [("P-256", 1), ("P-384", 2), ("P-521", 3)];

const MAX_SIZE: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_more_bytes_than_are_hashed_is_refused_by_their_count() {
        // A byte string that fills it.
        let token = |size: usize| {
            let mut encoder = Encoder::default();
            encoder.bytes(&vec![0; size]);
            encoder.done()
        };
        let refused = |token: &[u8]| verify(token, &[], Timestamp::UNIX_EPOCH).err();
        let fits = token(MAX_SIZE - 5);
        assert_eq!(fits.len(), MAX_SIZE);
        assert!(matches!(refused(&fits), Some(TokenError::Cose(_))));
        assert_eq!(refused(&token(MAX_SIZE - 4)), Some(TokenError::TooLarge(MAX_SIZE + 1)));
    }
}
