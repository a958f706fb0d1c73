//! What an Attester has proved, and the token that says so: an EAR for this broker, signed by a key of its own.
//!
//! The token is checked against one constant header and this broker's key; nothing in it chooses an algorithm or a key. Stolen, it is
//! of little use: secrets are encrypted to the key that it confirms.
//!
//! Deliberately absent: tokens of other verifiers.

use std::collections::BTreeMap;

use attest::ear::issue::{self, Claims, Confirmation, PROFILE, Submodule, Vector, VerifierId};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
    },
};
use envelope::{
    Digest, PublicKey, canonical,
    text::{Bytes32, decode, encode},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use wire::kbs::TeeKey;

use super::{evidence::Examined, jwe::Recipient, policy::SCHEMA_TEXT, refusal::KbsRefusal, session::Session};

/// What the holder of a key has proved, until when.
#[derive(Debug)]
pub struct Attested {
    id: String,
    recipient: Recipient,
    holder: String,
    examined: Examined,
    expires: i64,
}

/// The key that signs tokens.
pub(crate) struct TokenKey {
    pair: EcdsaKeyPair,
    name: String,
    issuer: String,
}

impl Attested {
    /// Names the attestation.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What secrets are encrypted to.
    pub const fn recipient(&self) -> &Recipient {
        &self.recipient
    }

    /// The SHA-256 thumbprint of that key (RFC 7638), base64url.
    pub fn holder(&self) -> &str {
        &self.holder
    }

    /// What was found.
    pub const fn examined(&self) -> &Examined {
        &self.examined
    }

    /// Whether it still counts.
    pub fn is_live(&self, now: Timestamp) -> bool {
        now.as_second() <= self.expires
    }
}

impl TokenKey {
    /// A new key, PKCS #8.
    pub(crate) fn generate() -> Option<Vec<u8>> {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).ok()?;
        Some(document.as_ref().to_vec())
    }

    /// The key of this broker.
    pub(crate) fn new(pkcs8: &[u8], broker: &PublicKey) -> Option<TokenKey> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()?;
        let name = encode(Digest::of(pair.public_key().as_ref()).as_bytes());
        Some(TokenKey { pair, name, issuer: broker.to_string() })
    }

    /// The public half as a JWK set, for whoever checks tokens elsewhere.
    pub(crate) fn jwks(&self) -> Value {
        let point = self.pair.public_key().as_ref().to_vec();
        let half = |from: usize| encode(point.get(from..from.saturating_add(32)).unwrap_or_default());
        let key = json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.name, "x": half(1), "y": half(33) });
        json!({ "keys": [key] })
    }

    /// Takes down what a session proved, and writes the token that says so.
    pub(crate) fn issue(
        &self,
        session: &Session,
        key: TeeKey,
        examined: Examined,
        now: Timestamp,
    ) -> Result<(Attested, String), KbsRefusal> {
        let fault = || KbsRefusal::Fault("a token cannot be issued");
        let recipient = Recipient::new(key).map_err(|error| KbsRefusal::Key(error.to_string()))?;
        let vector = Vector::of(examined.tier(), assurance(&examined), examined.hardware_id().is_some());
        let evidence = json!({
            "glovebox": examined,
            "runtime_data_claims": { "nonce": session.nonce(), "tee-pubkey": recipient.key() },
        });
        let part = Submodule { status: vector.status(), vector, policy: Digest::of(SCHEMA_TEXT.as_bytes()), evidence };
        let id = encode(&Bytes32::random().0);
        let claims = Claims {
            eat_profile: PROFILE.to_owned(),
            iss: self.issuer.clone(),
            aud: self.issuer.clone(),
            jti: id.clone(),
            iat: now.as_second(),
            exp: session.deadline(),
            cnf: Confirmation { jwk: serde_json::to_value(recipient.key()).map_err(|_| fault())? },
            verifier: VerifierId { developer: "glovebox".to_owned(), build: env!("CARGO_PKG_VERSION").to_owned() },
            submods: BTreeMap::from([("cpu0".to_owned(), part)]),
        };
        let random = SystemRandom::new();
        let sign = |message: &[u8]| Some(self.pair.sign(&random, message).ok()?.as_ref().to_vec());
        let token = issue::jwt(&claims, &self.name, sign).map_err(|_| fault())?;
        let holder = thumbprint(recipient.key()).ok_or_else(fault)?;
        Ok((Attested { id, recipient, holder, examined, expires: session.deadline() }, token))
    }

    /// Checks a token of this broker.
    pub(crate) fn check(&self, token: &str, now: Timestamp) -> Result<Attested, KbsRefusal> {
        let refuse = || KbsRefusal::Token;
        if token.len() > MAX_TOKEN {
            return Err(refuse());
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(refuse)?;
        let (header, payload) = signed.split_once('.').ok_or_else(refuse)?;
        if header != issue::header(&self.name) {
            return Err(refuse());
        }
        let signature = decode(signature).ok_or_else(refuse)?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref())
            .verify(signed.as_bytes(), &signature)
            .map_err(|_| refuse())?;
        let claims: Claims =
            decode(payload).and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or_else(refuse)?;
        let Claims { eat_profile, iss, aud, jti, iat, exp, cnf, verifier: _, mut submods } = claims;
        let seconds = now.as_second();
        if eat_profile != PROFILE || iss != self.issuer || aud != self.issuer || seconds > exp || seconds < iat {
            return Err(refuse());
        }
        let mut part = submods.remove("cpu0").ok_or_else(refuse)?;
        let examined = part.evidence.get_mut("glovebox").map(Value::take).ok_or_else(refuse)?;
        let examined = serde_json::from_value(examined).map_err(|_| refuse())?;
        let key: TeeKey = serde_json::from_value(cnf.jwk).map_err(|_| refuse())?;
        let recipient = Recipient::new(key).map_err(|_| refuse())?;
        let holder = thumbprint(recipient.key()).ok_or_else(refuse)?;
        Ok(Attested { id: jti, recipient, holder, examined, expires: exp })
    }
}

/// The SHA-256 thumbprint of a key (RFC 7638): over its required members in canonical JSON.
fn thumbprint(key: &TeeKey) -> Option<String> {
    let TeeKey { kty, alg: _, crv, x, y, n, e } = key;
    let members = match (crv, x, y, n, e) {
        (Some(crv), Some(x), Some(y), None, None) => json!({ "kty": kty, "crv": crv, "x": x, "y": y }),
        (None, None, None, Some(n), Some(e)) => json!({ "kty": kty, "n": n, "e": e }),
        _ => return None,
    };
    Some(encode(canonical::digest(&members).ok()?.as_bytes()))
}

/// How far the origin is established, for the vector: what is not fully affirmed is a warning.
fn assurance(examined: &Examined) -> attest::platform::Assurance {
    use attest::platform::Assurance;
    match examined.assurance() {
        "affirmed" => Assurance::Affirmed,
        "parsed-only" => Assurance::ParsedOnly,
        _ => Assurance::RevocationUnknown,
    }
}

/// Tokens of this broker are a few kilobytes.
const MAX_TOKEN: usize = 64 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::kbs::evidence::Tee;
    use aws_lc_rs::agreement::{ECDH_P256, PrivateKey};
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    use jiff::SignedDuration;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn key() -> TeeKey {
        let public = PrivateKey::generate(&ECDH_P256).unwrap().compute_public_key().unwrap();
        let (x, y) = public.as_ref()[1..].split_at(32);
        let (kty, alg) = ("EC".to_owned(), "ECDH-ES+A256KW".to_owned());
        TeeKey { kty, alg, crv: Some("P-256".into()), x: Some(encode(x)), y: Some(encode(y)), n: None, e: None }
    }

    fn signer(seed: u8) -> TokenKey {
        let broker = envelope::SigningKey::from_seed(&[seed; 32]).public();
        TokenKey::new(&TokenKey::generate().unwrap(), &broker).unwrap()
    }

    fn issued(signer: &TokenKey) -> (Attested, String) {
        signer.issue(&Session::begin(Tee::Tpm, now()), key(), Examined::for_tests(), now()).unwrap()
    }

    #[test]
    fn a_token_says_what_the_session_proved_for_five_minutes() {
        let signer = signer(1);
        let (attested, token) = issued(&signer);
        let read = signer.check(&token, now()).unwrap();
        assert_eq!(
            (read.id(), read.holder(), read.examined()),
            (attested.id(), attested.holder(), attested.examined())
        );
        assert!(signer.check(&token, now() + SignedDuration::from_mins(5)).is_ok());
        let late = now() + SignedDuration::from_secs(301);
        assert_eq!(signer.check(&token, late).err(), Some(KbsRefusal::Token));
        let early = now() - SignedDuration::from_secs(1);
        assert_eq!(signer.check(&token, early).err(), Some(KbsRefusal::Token));
        assert!(!attested.is_live(late));
    }

    #[test]
    fn h1_tokens_of_another_algorithm_key_or_audience_are_refused() {
        let (signer, other) = (signer(1), signer(2));
        let (_, token) = issued(&signer);
        let [_, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
        let header = |text: String| URL_SAFE_NO_PAD.encode(text);
        let own = |name: &str| format!(r#"{{"typ":"JWT","alg":"{name}","kid":"{}"}}"#, signer.name);
        let foreign_jwk = other.jwks()["keys"][0].to_string();
        let with_jwk = format!(r#"{{"typ":"JWT","alg":"ES256","jwk":{foreign_jwk}}}"#);
        let mut forged = vec![
            format!("{}.{payload}.", header(own("none"))),
            format!("{}.{payload}.{signature}", header(own("none"))),
            format!("{}.{payload}.{signature}", header(own("HS256"))),
            format!("{}.{payload}", issue::header(&signer.name)),
            format!("{}.{payload}.", issue::header(&signer.name)),
            String::new(),
            "..".to_owned(),
            issued(&other).1,
        ];
        // Signed by the very key that its header brings.
        let message = format!("{}.{payload}", header(with_jwk));
        let own_signature = other.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        forged.push(format!("{message}.{}", encode(own_signature.as_ref())));
        for token in forged {
            assert_eq!(signer.check(&token, now()).err(), Some(KbsRefusal::Token), "{token}");
        }
        // The right key, for another audience.
        let elsewhere = TokenKey { issuer: "ed25519:elsewhere".to_owned(), ..signer };
        assert_eq!(elsewhere.check(&token, now()).err(), Some(KbsRefusal::Token));
    }

    #[test]
    fn a2_a_token_with_any_character_changed_or_cut_is_refused() {
        let signer = signer(1);
        let (_, token) = issued(&signer);
        for at in 0..token.len() {
            let mut altered = token.clone().into_bytes();
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            assert!(signer.check(&String::from_utf8(altered).unwrap(), now()).is_err(), "{at}");
            assert!(signer.check(&token[..at], now()).is_err(), "{at}");
        }
    }
}
