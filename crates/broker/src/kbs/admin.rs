//! Administrators of the KBS protocol: a party with a stock tool, and rights on its own secrets only.
//!
//! The tool sends a bearer token: a JWT signed by the party's Ed25519 key (EdDSA), for this broker, for at most an hour. There is no role, no
//! identity provider and no administrator of the whole: what the token's signer does not own is not there for it. A bearer token is weaker
//! than the statements of the broker's own API, which say what they do and are good once; so is the value, which TLS alone protects.
//!
//! Deliberately absent: a token without an end, another algorithm, a key in the header.

use envelope::{PublicKey, text::decode};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::refusal::KbsRefusal;

/// The longest that an administrator's token is good.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    #[serde(default)]
    #[allow(dead_code, reason = "known, and means nothing here")]
    typ: Option<String>,
    #[serde(default)]
    #[allow(dead_code, reason = "known, and means nothing here")]
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    exp: i64,
    #[serde(default)]
    iat: Option<i64>,
    #[serde(default)]
    nbf: Option<i64>,
}

/// The party whose token this is.
///
/// # Errors
/// [`KbsRefusal::Admin`], whatever does not hold.
pub(crate) fn party(token: &str, broker: &PublicKey, now: Timestamp) -> Result<PublicKey, KbsRefusal> {
    read(token, broker, now).ok_or(KbsRefusal::Admin)
}

fn read(token: &str, broker: &PublicKey, now: Timestamp) -> Option<PublicKey> {
    if token.len() > MAX_TOKEN {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
    if header.alg != "EdDSA" {
        return None;
    }
    let claims: Claims = serde_json::from_slice(&decode(payload)?).ok()?;
    let signer: PublicKey = claims.iss.parse().ok()?;
    if !signer.verifies(signed.as_bytes(), &decode(signature)?) {
        return None;
    }
    let now = now.as_second();
    let begun = |time: Option<i64>| time.is_none_or(|time| time <= now.saturating_add(LEEWAY));
    let live = now <= claims.exp && claims.exp.saturating_sub(now) <= LONGEST.as_secs();
    (claims.aud == broker.to_string() && live && begun(claims.iat) && begun(claims.nbf)).then_some(signer)
}

const MAX_TOKEN: usize = 8 << 10;
const LEEWAY: i64 = 60;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use envelope::{SigningKey, text::encode};
    use serde_json::{Value, json};

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn token(key: &SigningKey, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let signature = encode(&key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    #[test]
    fn h1_an_administrators_token_is_for_this_broker_soon_over_and_signed_by_whom_it_names() {
        let (key, broker) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]).public());
        let header = json!({ "alg": "EdDSA", "typ": "JWT" });
        let exp = now().as_second() + 600;
        let claims = json!({ "iss": key.public().to_string(), "aud": broker.to_string(), "exp": exp, "role": "admin" });
        let check = |header: &Value, claims: &Value, at| party(&token(&key, header, claims), &broker, at);
        assert_eq!(check(&header, &claims, now()), Ok(key.public()));
        let with = |name: &str, value: Value| {
            let mut claims = claims.clone();
            claims[name] = value;
            claims
        };
        let other = SigningKey::from_seed(&[3; 32]).public().to_string();
        for claims in [
            with("iss", other.clone().into()),
            with("aud", other.into()),
            with("exp", Value::Null),
            with("exp", (now().as_second() - 1).into()),
            with("exp", (now().as_second() + 3_601).into()),
            with("nbf", (now().as_second() + 61).into()),
        ] {
            assert_eq!(check(&header, &claims, now()), Err(KbsRefusal::Admin), "{claims}");
        }
        for header in [
            json!({ "alg": "none" }),
            json!({ "alg": "HS256" }),
            json!({ "alg": "ES256" }),
            json!({ "alg": "EdDSA", "jwk": { "kty": "OKP" } }),
            json!({ "alg": "EdDSA", "crit": ["b64"], "b64": false }),
            json!({}),
        ] {
            assert_eq!(check(&header, &claims, now()), Err(KbsRefusal::Admin), "{header}");
        }
        let good = token(&key, &header, &claims);
        let unsigned = format!("{}.", good.rsplit_once('.').unwrap().0);
        assert_eq!(party(&unsigned, &broker, now()), Err(KbsRefusal::Admin));
        assert_eq!(party("", &broker, now()), Err(KbsRefusal::Admin));
    }
}
