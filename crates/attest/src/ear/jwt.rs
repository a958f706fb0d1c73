//! JSON Web Tokens (RFC 7519 in the compact form of RFC 7515), as strict as a Relying Party needs them.
//!
//! Exactly three parts, base64url without padding, JSON objects in which no name stands twice. The algorithm comes from a short list that
//! has neither `none` nor HMAC (RFC 8725, sections 2.1 and 3.1) and must fit the key. Keys are arguments: `jwk`, `jku`, `x5c` and `x5u` in a header are
//! never believed, since whoever made the token put them there. A critical header is refused because none is understood.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{TokenError, error::quoted};
use crate::keys::{Algorithm, VerificationKey, VerifyError};

/// A key of an issuer that the caller trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenKey {
    /// Its `kid`, where the issuer names keys. A key without one is tried on any token.
    pub id: Option<String>,
    /// The key.
    pub key: VerificationKey,
}

/// A token that was taken apart and that nobody has vouched for. Good for showing, and for nothing else.
#[derive(Debug, Clone, PartialEq)]
pub struct Unverified<'a> {
    signed: &'a str,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signature: Vec<u8>,
}

/// A token whose signature was checked under a trusted key and whose time is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: Map<String, Value>,
}

impl<'a> Unverified<'a> {
    /// Takes a token apart (step 1).
    ///
    /// # Errors
    /// [`TokenError`] of the form.
    pub fn parse(token: &'a str) -> Result<Unverified<'a>, TokenError> {
        if token.len() > MAX_SIZE {
            return Err(TokenError::TooLarge(token.len()));
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Parts(token.split('.').count()));
        };
        let signed = token.get(..header.len() + 1 + claims.len()).ok_or(TokenError::Parts(3))?;
        Ok(Unverified {
            signed,
            header: object("header", header)?,
            claims: object("claims", claims)?,
            signature: URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Base64("signature"))?,
        })
    }

    /// Its header.
    pub const fn header(&self) -> &Map<String, Value> {
        &self.header
    }

    /// Its claims.
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// Checks algorithm, key, signature and times (steps 2 to 5).
    ///
    /// # Errors
    /// The first check that fails.
    pub fn verify(self, keys: &[TokenKey], now: Timestamp) -> Result<Token, TokenError> {
        let name = self.header.get("alg").and_then(Value::as_str).unwrap_or_default();
        let algorithm = Algorithm::from_jose(name).ok_or_else(|| TokenError::Algorithm(quoted(name)))?;
        if ["crit", "b64", "zip", "enc"].iter().any(|name| self.header.contains_key(*name)) {
            return Err(TokenError::Critical);
        }
        let id = match self.header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.as_str()),
            Some(_) => return Err(TokenError::Claim("kid")),
        };
        check_signature(keys, id, |key| key.verify(algorithm, self.signed.as_bytes(), &self.signature), algorithm)?;
        let seconds = |name| time(&self.claims, name);
        check_times(seconds("exp")?, seconds("nbf")?, seconds("iat")?, now)?;
        Ok(Token { algorithm, key_id: id.map(str::to_owned), claims: self.claims })
    }
}

impl Token {
    /// The algorithm of its signature.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The `kid` that its header names.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// What it claims.
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }
}

/// Tries the keys that the token may mean: those with its `kid`, and those without any.
pub(super) fn check_signature(
    keys: &[TokenKey],
    id: Option<&str>,
    verify: impl Fn(&VerificationKey) -> Result<(), VerifyError>,
    algorithm: Algorithm,
) -> Result<(), TokenError> {
    let means = |key: &&TokenKey| match (&key.id, id) {
        (Some(known), Some(id)) => known == id,
        _ => true,
    };
    let mut outcome = Err(TokenError::KeyUnknown);
    for key in keys.iter().filter(means).take(MAX_KEYS) {
        match verify(&key.key) {
            Ok(()) => return Ok(()),
            Err(VerifyError::Signature) => outcome = Err(TokenError::Signature),
            Err(VerifyError::Mismatch) if outcome != Err(TokenError::Signature) => {
                outcome = Err(TokenError::KeyMismatch(algorithm));
            }
            Err(VerifyError::Mismatch) => {}
        }
    }
    outcome
}

/// Holds a token's times against the given one. `exp` is exact; an issuer's clock may be ahead by [`LEEWAY`] seconds.
pub(super) fn check_times(
    expires: Option<i64>,
    not_before: Option<i64>,
    issued_at: Option<i64>,
    now: Timestamp,
) -> Result<(), TokenError> {
    let now = now.as_second();
    if expires.is_some_and(|expires| now >= expires) {
        return Err(TokenError::Expired);
    }
    let latest = now.saturating_add(LEEWAY);
    if not_before.is_some_and(|start| latest < start) || issued_at.is_some_and(|issued| latest < issued) {
        return Err(TokenError::NotYetValid);
    }
    Ok(())
}

/// A NumericDate: a number of seconds, whole or not.
pub(super) fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, TokenError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    if let Some(seconds) = value.as_i64() {
        return Ok(Some(seconds));
    }
    // Beyond 2^53 a double is no date; below it the cut to whole seconds is exact.
    match value.as_f64() {
        #[allow(clippy::cast_possible_truncation)]
        Some(seconds) if seconds.abs() < 9.0e15 => Ok(Some(seconds.floor() as i64)),
        _ => Err(TokenError::Claim(name)),
    }
}

fn object(part: &'static str, text: &str) -> Result<Map<String, Value>, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Base64(part))?;
    match serde_json::from_slice::<Strict>(&bytes) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        _ => Err(TokenError::Json(part)),
    }
}

/// A JSON value in which no name stands twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Strict, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a JSON value in which no name stands twice")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = entries.next_entry::<String, Strict>()? {
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom("a name stands twice"));
            }
        }
        Ok(Value::Object(object))
    }
}

/// How far an issuer's clock may be ahead, in seconds.
pub(super) const LEEWAY: i64 = 60;
/// What is read takes up to a hundred times as much memory: seven bytes can be an object.
const MAX_SIZE: usize = 256 * 1024;
const MAX_KEYS: usize = 32;
