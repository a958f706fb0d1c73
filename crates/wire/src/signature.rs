//! HTTP Message Signatures (RFC 9421) on reads: method, path and query, audience, created and nonce, by a party's Ed25519 key.
//!
//! Only reads are authenticated like this; a statement with an effect signs its own contents. The covered components are fixed,
//! so there is nothing to negotiate: `"@method"`, `"@path"`, `"@query"` and the header `glovebox-audience`, with the
//! parameters `created`, `nonce`, `keyid` and `alg="ed25519"`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use envelope::{PublicKey, SigningKey, text::Bytes32};
use jiff::Timestamp;

/// The header that names the broker the request is for.
pub const AUDIENCE_HEADER: &str = "glovebox-audience";
/// The header of the covered components and parameters (RFC 9421, section 4.1).
pub const INPUT_HEADER: &str = "signature-input";
/// The header of the signature (RFC 9421, section 4.2).
pub const SIGNATURE_HEADER: &str = "signature";
/// How far `created` may lie from the broker's clock, in seconds, either way.
pub const WINDOW_SECONDS: i64 = 60;

const COVERED: &str = "(\"@method\" \"@path\" \"@query\" \"glovebox-audience\")";

/// The three headers of a signed read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeaders {
    /// `glovebox-audience`.
    pub audience: String,
    /// `signature-input`.
    pub input: String,
    /// `signature`.
    pub signature: String,
}

/// A read whose signature verified. The nonce is for the broker's replay window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    key: PublicKey,
    nonce: Bytes32,
}

/// Why a read is not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is missing or occurs twice.
    #[error("the request is not signed as RFC 9421 describes, with the components that this broker expects")]
    Form,
    /// Meant for another broker.
    #[error("the request is addressed to another broker")]
    Audience,
    /// `created` is too far from the broker's clock.
    #[error(
        "the request was signed more than {WINDOW_SECONDS} seconds before or after this broker's time\nhint: check this machine's clock"
    )]
    Created,
    /// It does not verify.
    #[error("the request's signature does not verify")]
    Signature,
}

/// Signs a read.
pub fn sign(
    key: &SigningKey,
    audience: &PublicKey,
    method: &str,
    path_and_query: &str,
    now: Timestamp,
) -> SignedHeaders {
    let audience = audience.to_string();
    let nonce = envelope::text::encode(&Bytes32::random().0);
    let parameters =
        format!("{COVERED};created={};nonce=\"{nonce}\";keyid=\"{}\";alg=\"ed25519\"", now.as_second(), key.public());
    let base = signature_base(method, path_and_query, &audience, &parameters);
    let signature = STANDARD.encode(key.sign(base.as_bytes()));
    SignedHeaders { audience, input: format!("glovebox={parameters}"), signature: format!("glovebox=:{signature}:") }
}

impl Reader {
    /// Checks a read against the broker's own key and clock.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn check(
        headers: &SignedHeaders,
        broker: &PublicKey,
        method: &str,
        path_and_query: &str,
        now: Timestamp,
    ) -> Result<Reader, SignatureError> {
        if headers.audience != broker.to_string() {
            return Err(SignatureError::Audience);
        }
        let parameters = headers.input.strip_prefix("glovebox=").ok_or(SignatureError::Form)?;
        let rest = parameters.strip_prefix(COVERED).ok_or(SignatureError::Form)?;
        let (created, key, nonce) = parse_parameters(rest).ok_or(SignatureError::Form)?;
        let age = i128::from(now.as_second()) - i128::from(created);
        if age.unsigned_abs() > WINDOW_SECONDS.unsigned_abs().into() {
            return Err(SignatureError::Created);
        }
        let signature = headers
            .signature
            .strip_prefix("glovebox=:")
            .and_then(|rest| rest.strip_suffix(':'))
            .and_then(|text| STANDARD.decode(text).ok())
            .ok_or(SignatureError::Form)?;
        let base = signature_base(method, path_and_query, &headers.audience, parameters);
        if !key.verifies(base.as_bytes(), &signature) {
            return Err(SignatureError::Signature);
        }
        Ok(Reader { key, nonce })
    }

    /// Who reads.
    pub const fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The nonce of the request.
    pub const fn nonce(&self) -> &Bytes32 {
        &self.nonce
    }
}

/// RFC 9421, section 2.5.
fn signature_base(method: &str, path_and_query: &str, audience: &str, parameters: &str) -> String {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    format!(
        "\"@method\": {method}\n\"@path\": {path}\n\"@query\": ?{query}\n\"glovebox-audience\": {audience}\n\"@signature-params\": {parameters}"
    )
}

/// `;created=N;nonce="…";keyid="…";alg="ed25519"`, in this order.
fn parse_parameters(rest: &str) -> Option<(i64, PublicKey, Bytes32)> {
    let mut parts = rest.strip_prefix(';')?.split(';');
    let created = parts.next()?.strip_prefix("created=")?.parse().ok()?;
    let nonce = quoted(parts.next()?, "nonce=")?;
    let key = quoted(parts.next()?, "keyid=")?.parse().ok()?;
    if parts.next()? != "alg=\"ed25519\"" || parts.next().is_some() {
        return None;
    }
    let nonce = envelope::text::decode(nonce)?.try_into().ok()?;
    Some((created, key, Bytes32(nonce)))
}

fn quoted<'a>(part: &'a str, name: &str) -> Option<&'a str> {
    part.strip_prefix(name)?.strip_prefix('"')?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_signed_read_is_for_one_request_at_one_broker_in_one_window() {
        let (key, broker) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]).public());
        let headers = sign(&key, &broker, "GET", "/v1/runs/x?wait=1", now());
        let check =
            |broker: &PublicKey, method: &str, path: &str, at| Reader::check(&headers, broker, method, path, at);
        assert_eq!(check(&broker, "GET", "/v1/runs/x?wait=1", now()).unwrap().key(), &key.public());
        assert_eq!(check(&key.public(), "GET", "/v1/runs/x?wait=1", now()), Err(SignatureError::Audience));
        assert_eq!(check(&broker, "POST", "/v1/runs/x?wait=1", now()), Err(SignatureError::Signature));
        assert_eq!(check(&broker, "GET", "/v1/runs/y?wait=1", now()), Err(SignatureError::Signature));
        assert_eq!(check(&broker, "GET", "/v1/runs/x", now()), Err(SignatureError::Signature));
        for seconds in [-61, 61] {
            let then = now() + jiff::SignedDuration::from_secs(seconds);
            assert_eq!(check(&broker, "GET", "/v1/runs/x?wait=1", then), Err(SignatureError::Created));
        }
    }

    #[test]
    fn another_algorithm_or_other_components_are_refused() {
        let (key, broker) = (SigningKey::from_seed(&[1; 32]), SigningKey::from_seed(&[2; 32]).public());
        let headers = sign(&key, &broker, "GET", "/", now());
        for (from, to) in [("ed25519\"", "none\""), ("\"@path\" ", ""), ("created=", "made="), ("glovebox=", "sig1=")] {
            let input = headers.input.replacen(from, to, 1);
            let altered = SignedHeaders { input, ..headers.clone() };
            assert!(Reader::check(&altered, &broker, "GET", "/", now()).is_err(), "{from}");
        }
    }
}
