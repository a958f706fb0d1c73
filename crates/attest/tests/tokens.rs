//! Attestation Results of others, in JWT and CWT, by keys of our own: each wrong in one thing, and refused for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod cbor;
mod corpus;

use std::collections::{BTreeMap, BTreeSet};

use attest::{
    CborError, CoseError, Tier,
    ear::{
        Appraisal, Ear, IssueError, Status, TokenError, TrustVector, VerifierId,
        issue::{self, Claims, Confirmation, PROFILE, Submodule, Vector},
        jwt::{TokenKey, Unverified},
        verify::VerifiedEar,
    },
    keys::{Algorithm, VerificationKey},
    platform::{Assurance, Refusal as _},
};
use aws_lc_rs::{
    encoding::{AsDer as _, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA384, RsaEncoding, RsaKeyPair,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use corpus::{Case, flip};
use jiff::Timestamp;
use serde_json::{Value, json};

/// 2026-06-01T00:00:00Z.
const NOW: i64 = 1_780_272_000;

fn now() -> Timestamp {
    at(NOW)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn ec(algorithm: &'static EcdsaSigningAlgorithm) -> EcdsaKeyPair {
    EcdsaKeyPair::generate(algorithm).unwrap()
}

fn p256() -> EcdsaKeyPair {
    ec(&ECDSA_P256_SHA256_FIXED_SIGNING)
}

fn sign(pair: &EcdsaKeyPair, message: &[u8]) -> Vec<u8> {
    pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

fn trusted(pair: &EcdsaKeyPair) -> Vec<TokenKey> {
    vec![TokenKey { id: None, key: VerificationKey::from_point(pair.public_key().as_ref()).unwrap() }]
}

fn named(id: &str, pair: &EcdsaKeyPair) -> TokenKey {
    TokenKey { id: Some(id.to_owned()), ..trusted(pair).remove(0) }
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A JWT with this header and these claims, signed by whatever signs.
fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let signature = URL_SAFE_NO_PAD.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn es256(pair: &EcdsaKeyPair, claims: &Value) -> String {
    token(&json!({ "alg": "ES256" }), claims, |message| sign(pair, message))
}

/// The claims of an EAR in which all is right.
fn claims() -> Value {
    json!({
        "eat_profile": PROFILE,
        "iss": "a verifier",
        "aud": "a relying party",
        "jti": "once",
        "iat": NOW - 10,
        "nbf": NOW - 10,
        "exp": NOW + 290,
        "eat_nonce": URL_SAFE_NO_PAD.encode([7; 32]),
        "ear.verifier-id": { "developer": "somebody", "build": "1" },
        "submods": { "cpu0": {
            "ear.status": "affirming",
            "ear.trustworthiness-vector": { "instance-identity": 2, "hardware": 2, "sourced-data": -128 },
            "ear.appraisal-policy-id": "policy:1",
            "ear.veraison.annotated-evidence": { "measurement": "00ff", "levels": [1, -2, 2.5, null, true] },
        } },
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn with_appraisal(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims["submods"]["cpu0"][name] = value;
    claims
}

/// An EAR as a structure, all of whose fields are there.
fn ear() -> Ear {
    let pair = p256();
    let point = pair.public_key().as_ref();
    let vector = TrustVector { configuration: Some(3), hardware: Some(-100), ..TrustVector::default() };
    let appraisal = Appraisal {
        status: Status::Contraindicated,
        vector: Some(vector),
        policy_id: Some("policy:2".to_owned()),
        extensions: BTreeMap::from([("note".to_owned(), json!(["text", 5, -5, 1.5, null, false, { "a": {} }]))]),
    };
    let plain = Appraisal { status: Status::Warning, vector: None, policy_id: None, extensions: BTreeMap::new() };
    Ear {
        profile: PROFILE.to_owned(),
        issued_at: NOW - 10,
        expires: Some(NOW + 290),
        not_before: Some(NOW - 10),
        issuer: Some("a verifier".to_owned()),
        audience: Some("a relying party".to_owned()),
        token_id: Some("once".to_owned()),
        nonces: vec![URL_SAFE_NO_PAD.encode([7; 32])],
        verifier: VerifierId { developer: "somebody".to_owned(), build: "1".to_owned() },
        confirmation: Some(json!({
            "kty": "EC",
            "crv": "P-256",
            "x": URL_SAFE_NO_PAD.encode(&point[1..33]),
            "y": URL_SAFE_NO_PAD.encode(&point[33..]),
        })),
        submodules: BTreeMap::from([("cpu0".to_owned(), appraisal), ("gpu0".to_owned(), plain)]),
        extensions: BTreeMap::from([("more".to_owned(), json!({ "b": "c" }))]),
    }
}

fn cwt(pair: &EcdsaKeyPair, ear: &Ear) -> Vec<u8> {
    ear.to_cwt(Algorithm::Es256, |message| Ok::<_, ()>(sign(pair, message))).unwrap()
}

fn refused(token: &str, keys: &[TokenKey]) -> TokenError {
    VerifiedEar::from_jwt(token, keys, now()).unwrap_err()
}

fn refused_cwt(token: &[u8], keys: &[TokenKey]) -> TokenError {
    VerifiedEar::from_cwt(token, keys, now()).unwrap_err()
}

#[test]
fn an_ear_survives_the_way_through_a_jwt_and_a_cwt() {
    let pair = p256();
    let read = VerifiedEar::from_jwt(&es256(&pair, &claims()), &trusted(&pair), now()).unwrap();
    assert_eq!((read.status(), read.algorithm()), (Status::Affirming, Algorithm::Es256));
    let cpu = &read.ear().submodules["cpu0"];
    let vector = TrustVector {
        instance_identity: Some(2),
        hardware: Some(2),
        sourced_data: Some(-128),
        ..TrustVector::default()
    };
    assert_eq!(cpu.vector, Some(vector));
    // The signed status counts, whatever the vector would make of it.
    assert_eq!(vector.status(), Status::Contraindicated);
    let other = cwt(&pair, read.ear());
    assert_eq!(VerifiedEar::from_cwt(&other, &trusted(&pair), now()).unwrap().ear(), read.ear());
    let ear = ear();
    let written = cwt(&pair, &ear);
    let again = VerifiedEar::from_cwt(&written, &trusted(&pair), now()).unwrap();
    assert_eq!((again.ear(), again.status()), (&ear, Status::Contraindicated));
    // In the tag of a CWT, and without the tag of a COSE_Sign1.
    for spelt in [cbor::tag(61, &written), written[1..].to_vec()] {
        assert_eq!(VerifiedEar::from_cwt(&spelt, &trusted(&pair), now()).unwrap().ear(), &ear);
    }
}

#[test]
fn what_this_program_issues_is_an_ear_to_others() {
    let pair = p256();
    let vector = Vector::of(Tier::ConfidentialVm, Assurance::Affirmed, true);
    let evidence = json!({ "measurement": "00" });
    let policy = envelope::Digest::of(b"policy");
    let part = Submodule { status: vector.status(), vector, policy, evidence: evidence.clone() };
    let claims = Claims {
        eat_profile: PROFILE.to_owned(),
        iss: "broker".to_owned(),
        aud: "broker".to_owned(),
        jti: "1".to_owned(),
        iat: NOW,
        exp: NOW + 300,
        cnf: Confirmation { jwk: json!({ "kty": "EC" }) },
        verifier: issue::VerifierId { developer: "glovebox".to_owned(), build: "1".to_owned() },
        submods: BTreeMap::from([("cpu0".to_owned(), part)]),
    };
    let text = issue::jwt(&claims, "key", |message| Some(sign(&pair, message))).unwrap();
    let read = VerifiedEar::from_jwt(&text, &[named("key", &pair)], now()).unwrap();
    assert_eq!(read.status(), Status::Affirming);
    let cpu = &read.ear().submodules["cpu0"];
    assert_eq!(cpu.extensions["ear.veraison.annotated-evidence"], evidence);
    let vector = cpu.vector.unwrap();
    assert_eq!((vector.instance_identity, vector.hardware, vector.runtime_opaque), (Some(2), Some(2), Some(2)));
    assert_eq!((vector.configuration, vector.executables), (Some(0), Some(0)));
    assert!(read.take("broker", |id| id == "1").is_ok());
}

#[test]
fn a1_every_character_of_a_jwt_and_every_bit_of_a_cwt_counts() {
    let pair = p256();
    let keys = trusted(&pair);
    let good = es256(&pair, &claims());
    let judged = |token: &str| VerifiedEar::from_jwt(token, &keys, now());
    for bit in 0..good.len() * 8 {
        // What is not UTF-8 is no text, so no token.
        if let Ok(changed) = String::from_utf8(flip(good.as_bytes(), bit)) {
            assert!(judged(&changed).is_err(), "bit {bit}");
        }
    }
    let good = cwt(&pair, &ear());
    for bit in 0..good.len() * 8 {
        assert!(VerifiedEar::from_cwt(&flip(&good, bit), &keys, now()).is_err(), "bit {bit}");
    }
    let Some(case) = Case::one("ear/rust-ear-0") else { return };
    let (token, jwk) = (case.bytes("token"), serde_json::from_slice(&case.bytes("key")).unwrap());
    let keys = [TokenKey { id: None, key: VerificationKey::from_jwk(&jwk).unwrap() }];
    let judged = |token: &[u8]| {
        let text = std::str::from_utf8(token).ok().map(str::trim_end);
        text.is_some_and(|text| VerifiedEar::from_jwt(text, &keys, case.now()).is_ok())
    };
    assert!(judged(&token));
    let length = token.trim_ascii_end().len();
    for bit in 0..length * 8 {
        assert!(!judged(&flip(&token[..length], bit)), "bit {bit}");
    }
}

#[test]
fn a2_a_token_cut_anywhere_or_with_a_byte_more_is_refused() {
    let pair = p256();
    let keys = trusted(&pair);
    let good = es256(&pair, &claims());
    let end = good.rfind('.').unwrap();
    for size in 0..good.len() {
        let error = refused(&good[..size], &keys);
        // Within the signature what is left is a shorter one, where its base64 is whole.
        assert!(error.is_malformed() || (size > end && error == TokenError::Signature), "{size}: {error:?}");
    }
    for more in ["A", ".", "=", "\n", " ", "AA", "AAAA", "\0", ".AAAA"] {
        let error = refused(&format!("{good}{more}"), &keys);
        assert!(error.is_malformed() || error == TokenError::Signature, "{more}: {error:?}");
        assert!(VerifiedEar::from_jwt(&format!("{more}{good}"), &keys, now()).is_err(), "{more}");
    }
    let good = cwt(&pair, &ear());
    for size in 0..good.len() {
        let error = refused_cwt(&good[..size], &keys);
        assert!(error.is_malformed() && error.step() == 1, "{size}: {error:?}");
    }
    assert_eq!(
        refused_cwt(&[&good[..], &[0]].concat(), &keys),
        TokenError::Cose(CoseError::Cbor(CborError::Trailing(1)))
    );
    // Claims inside that are cut, signed as they are.
    let payload = cbor::labelled(&[(265, cbor::text(PROFILE))]);
    for size in 0..payload.len() {
        let body = cbor::sign1(&cbor::protected(-7), &cbor::map(&[]), &payload[..size], |message| sign(&pair, message));
        assert!(matches!(refused_cwt(&body, &keys), TokenError::Cbor(CborError::Truncated(_))), "{size}");
    }
    assert_eq!(refused(&"A".repeat(256 * 1024 + 1), &keys), TokenError::TooLarge(256 * 1024 + 1));
    assert_eq!(refused(&"A".repeat(256 * 1024), &keys), TokenError::Parts(1));
}

#[test]
fn a_token_is_made_of_three_parts_in_one_spelling() {
    let pair = p256();
    let keys = trusted(&pair);
    let good = es256(&pair, &claims());
    let parts: Vec<&str> = good.split('.').collect();
    assert_eq!(refused("", &keys), TokenError::Parts(1));
    assert_eq!(refused(&parts[..2].join("."), &keys), TokenError::Parts(2));
    assert_eq!(refused(&format!("{good}.AAAA"), &keys), TokenError::Parts(4));
    let spelt = |header: &str, claims: &str, signature: &str| refused(&format!("{header}.{claims}.{signature}"), &keys);
    assert_eq!(spelt(&format!("{}=", parts[0]), parts[1], parts[2]), TokenError::Base64("header"));
    assert_eq!(spelt(parts[0], &format!(" {}", parts[1]), parts[2]), TokenError::Base64("claims"));
    assert_eq!(spelt(parts[0], parts[1], &format!("{}+", parts[2])), TokenError::Base64("signature"));
    let json = |text: &str| URL_SAFE_NO_PAD.encode(text);
    for text in ["[]", "1", "{}x", "{", "", "{\"alg\":\"ES256\",\"alg\":\"ES256\"}", &"[".repeat(10_000)] {
        assert_eq!(spelt(&json(text), parts[1], parts[2]), TokenError::Json("header"), "{text:.40}");
    }
    // A name twice at any depth: two readers could see two tokens.
    let twice = claims().to_string().replace("\"build\":\"1\"", "\"build\":\"1\",\"build\":\"2\"");
    assert_eq!(spelt(parts[0], &json(&twice), parts[2]), TokenError::Json("claims"));
}

#[test]
fn tokens_without_a_signature_or_by_a_shared_secret_are_refused() {
    let pair = p256();
    let keys = trusted(&pair);
    let secret = pair.public_key().as_ref().to_vec();
    for name in ["none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "ES256K", "PS1", "RS1", "es256"] {
        let header = json!({ "alg": name });
        let error = TokenError::Algorithm(name.to_owned());
        assert_eq!(refused(&token(&header, &claims(), |_| Vec::new()), &keys), error);
        // HMAC under the public key, which everybody has: what a reader that lets the token choose would take.
        let mac = |message: &[u8]| {
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &secret);
            aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
        };
        assert_eq!(refused(&token(&header, &claims(), mac), &keys), error);
    }
    for header in [json!({}), json!({ "alg": 7 }), json!({ "alg": null }), json!({ "alg": ["ES256"] })] {
        let error = refused(&token(&header, &claims(), |message| sign(&pair, message)), &keys);
        assert_eq!(error, TokenError::Algorithm(String::new()));
    }
    // The right algorithm with no signature, or half of one.
    for signature in [Vec::new(), vec![0; 64], vec![0; 32]] {
        assert_eq!(refused(&token(&json!({ "alg": "ES256" }), &claims(), |_| signature), &keys), TokenError::Signature);
    }
    // In a CWT: HMAC, a MAC's structure, and an algorithm that nobody signed.
    let payload = cbor::labelled(&[]);
    let made = |protected: &[u8], unprotected: &[u8]| {
        cbor::sign1(protected, unprotected, &payload, |message| sign(&pair, message))
    };
    let empty = cbor::map(&[]);
    assert_eq!(refused_cwt(&made(&cbor::protected(5), &empty), &keys), TokenError::Algorithm("5".to_owned()));
    assert_eq!(refused_cwt(&made(&cbor::protected(-257), &empty), &keys), TokenError::Algorithm("-257".to_owned()));
    let mac = cbor::tag(17, &made(&cbor::protected(-7), &empty));
    assert_eq!(refused_cwt(&mac, &keys), TokenError::Cose(CoseError::Type(17)));
    let outside = cbor::protected(-7);
    let unprotected = TokenError::Cose(CoseError::AlgorithmUnprotected);
    assert_eq!(refused_cwt(&made(&empty, &outside), &keys), unprotected);
    assert_eq!(refused_cwt(&made(&[], &outside), &keys), unprotected);
    assert_eq!(refused_cwt(&made(&outside, &outside), &keys), unprotected);
    let text = cbor::labelled(&[(1, cbor::text("ES256"))]);
    assert_eq!(refused_cwt(&made(&text, &empty), &keys), TokenError::Cose(CoseError::Shape("algorithm")));
}

#[test]
fn headers_that_must_be_understood_are_refused() {
    let pair = p256();
    let keys = trusted(&pair);
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", Value::Null),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
    ] {
        let header = json!({ "alg": "ES256", name: value });
        assert_eq!(refused(&token(&header, &claims(), |message| sign(&pair, message)), &keys), TokenError::Critical);
    }
    let payload = cbor::labelled(&[]);
    for critical in [cbor::array(&[]), cbor::array(&[cbor::int(4)])] {
        let listed = cbor::labelled(&[(1, cbor::int(-7)), (2, critical.clone())]);
        let inside = cbor::sign1(&listed, &cbor::map(&[]), &payload, |message| sign(&pair, message));
        let outside = cbor::labelled(&[(2, critical)]);
        let outside = cbor::sign1(&cbor::protected(-7), &outside, &payload, |message| sign(&pair, message));
        assert_eq!(refused_cwt(&inside, &keys), TokenError::Critical);
        assert_eq!(refused_cwt(&outside, &keys), TokenError::Critical);
    }
    // One label in both headers has two meanings.
    let both = cbor::labelled(&[(1, cbor::int(-7)), (4, cbor::bytes(b"a"))]);
    let twice =
        cbor::sign1(&both, &cbor::labelled(&[(4, cbor::bytes(b"b"))]), &payload, |message| sign(&pair, message));
    assert_eq!(refused_cwt(&twice, &keys), TokenError::Cose(CoseError::Shape("unprotected header")));
}

#[test]
fn keys_are_the_callers_and_of_the_algorithms_kind() {
    let (pair, other) = (p256(), p256());
    let good = es256(&pair, &claims());
    assert_eq!(refused(&good, &[]), TokenError::KeyUnknown);
    assert_eq!(refused(&good, &trusted(&other)), TokenError::Signature);
    let large = ec(&ECDSA_P384_SHA384_FIXED_SIGNING);
    assert_eq!(refused(&good, &trusted(&large)), TokenError::KeyMismatch(Algorithm::Es256));
    let both = [trusted(&large), trusted(&other)].concat();
    assert_eq!(refused(&good, &both), TokenError::Signature);
    let reversed = [trusted(&other), trusted(&large)].concat();
    assert_eq!(refused(&good, &reversed), TokenError::Signature);
    assert!(VerifiedEar::from_jwt(&good, &[both, trusted(&pair)].concat(), now()).is_ok());
    // Said to be of another algorithm than it was signed with.
    let posing = token(&json!({ "alg": "ES384" }), &claims(), |message| sign(&pair, message));
    assert_eq!(refused(&posing, &trusted(&pair)), TokenError::KeyMismatch(Algorithm::Es384));
    assert_eq!(refused(&posing, &trusted(&large)), TokenError::Signature);
    // The signer's own key in the header proves nothing.
    let point = pair.public_key().as_ref();
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(&point[1..33]), "y": URL_SAFE_NO_PAD.encode(&point[33..]) });
    let header = json!({ "alg": "ES256", "jwk": jwk });
    let own = token(&header, &claims(), |message| sign(&pair, message));
    assert_eq!(refused(&own, &[]), TokenError::KeyUnknown);
    assert_eq!(refused(&own, &trusted(&other)), TokenError::Signature);
    // Keys by name: those of that name and those without one.
    let header = json!({ "alg": "ES256", "kid": "a" });
    let by_name = token(&header, &claims(), |message| sign(&pair, message));
    assert!(VerifiedEar::from_jwt(&by_name, &[named("a", &pair)], now()).is_ok());
    assert!(VerifiedEar::from_jwt(&by_name, &trusted(&pair), now()).is_ok());
    assert_eq!(refused(&by_name, &[named("b", &pair)]), TokenError::KeyUnknown);
    assert_eq!(refused(&by_name, &[named("a", &other), named("b", &pair)]), TokenError::Signature);
    assert!(VerifiedEar::from_jwt(&good, &[named("a", &pair)], now()).is_ok());
    let odd = token(&json!({ "alg": "ES256", "kid": 1 }), &claims(), |message| sign(&pair, message));
    assert_eq!(refused(&odd, &trusted(&pair)), TokenError::Claim("kid"));
    // No more than 32 keys are tried.
    let mut many = vec![trusted(&other).remove(0); 32];
    many.extend(trusted(&pair));
    assert_eq!(refused(&good, &many), TokenError::Signature);
    assert!(VerifiedEar::from_jwt(&good, &many[1..], now()).is_ok());
    // The same for a CWT.
    let good = cwt(&pair, &ear());
    assert_eq!(refused_cwt(&good, &[]), TokenError::KeyUnknown);
    assert_eq!(refused_cwt(&good, &trusted(&other)), TokenError::Signature);
    assert_eq!(refused_cwt(&good, &trusted(&large)), TokenError::KeyMismatch(Algorithm::Es256));
}

#[test]
fn algorithms_of_other_kinds_of_key_verify_under_them_alone() {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let ed = Ed25519KeyPair::generate().unwrap();
    let large = ec(&ECDSA_P384_SHA384_FIXED_SIGNING);
    let of_rsa = |padding: &'static dyn RsaEncoding| {
        let rsa = &rsa;
        move |message: &[u8]| {
            let mut signature = vec![0; rsa.public_modulus_len()];
            rsa.sign(padding, &SystemRandom::new(), message, &mut signature).unwrap();
            signature
        }
    };
    let part = |number: &[u8]| URL_SAFE_NO_PAD.encode(number);
    let spki: PublicKeyX509Der<'_> = rsa.public_key().as_der().unwrap();
    let okp = json!({ "kty": "OKP", "crv": "Ed25519", "x": part(ed.public_key().as_ref()) });
    let key = |jwk: &Value| vec![TokenKey { id: None, key: VerificationKey::from_jwk(jwk).unwrap() }];
    let rsa_key = vec![TokenKey { id: None, key: VerificationKey::from_spki(spki.as_ref()).unwrap() }];
    let (ed_key, ec_key) = (key(&okp), trusted(&large));
    let header = |name: &str| json!({ "alg": name });
    let tokens = [
        (Algorithm::Rs256, token(&header("RS256"), &claims(), of_rsa(&RSA_PKCS1_SHA256)), &rsa_key),
        (Algorithm::Ps384, token(&header("PS384"), &claims(), of_rsa(&RSA_PSS_SHA384)), &rsa_key),
        (Algorithm::EdDsa, token(&header("EdDSA"), &claims(), |message| ed.sign(message).as_ref().to_vec()), &ed_key),
        (Algorithm::Es384, token(&header("ES384"), &claims(), |message| sign(&large, message)), &ec_key),
    ];
    for (algorithm, good, keys) in &tokens {
        assert_eq!(VerifiedEar::from_jwt(good, keys, now()).unwrap().algorithm(), *algorithm);
        for (_, _, others) in tokens.iter().filter(|(_, _, others)| !std::ptr::eq(*others, *keys)) {
            assert_eq!(refused(good, others), TokenError::KeyMismatch(*algorithm));
        }
    }
    // One padding of RSA is none of the other.
    let padded = token(&header("PS384"), &claims(), of_rsa(&RSA_PKCS1_SHA256));
    assert_eq!(refused(&padded, &rsa_key), TokenError::Signature);
    let padded = token(&header("RS256"), &claims(), of_rsa(&RSA_PSS_SHA384));
    assert_eq!(refused(&padded, &rsa_key), TokenError::Signature);
    // COSE has these but for RS256.
    let ear = ear();
    let signed = ear.to_cwt(Algorithm::Ps384, |message| Ok::<_, ()>(of_rsa(&RSA_PSS_SHA384)(message))).unwrap();
    assert_eq!(VerifiedEar::from_cwt(&signed, &rsa_key, now()).unwrap().ear(), &ear);
    let signed = ear.to_cwt(Algorithm::EdDsa, |message| Ok::<_, ()>(ed.sign(message).as_ref().to_vec())).unwrap();
    assert_eq!(VerifiedEar::from_cwt(&signed, &ed_key, now()).unwrap().ear(), &ear);
    let none = ear.to_cwt(Algorithm::Rs256, |_| Ok::<_, ()>(Vec::new()));
    assert_eq!(none, Err(IssueError::Algorithm(Algorithm::Rs256)));
    assert_eq!(ear.to_cwt(Algorithm::Es256, |_| Err("locked")), Err(IssueError::Sign("locked")));
}

#[test]
fn a_token_is_of_its_time() {
    let pair = p256();
    let keys = trusted(&pair);
    let judged =
        |claims: &Value, second: i64| VerifiedEar::from_jwt(&es256(&pair, claims), &keys, at(second)).map(|_| ());
    // `exp` is the first second in which it is over; an issuer's clock may be a minute ahead.
    assert_eq!(judged(&claims(), NOW + 289), Ok(()));
    assert_eq!(judged(&claims(), NOW + 290), Err(TokenError::Expired));
    assert_eq!(judged(&claims(), NOW + 1_000_000), Err(TokenError::Expired));
    assert_eq!(judged(&claims(), NOW - 70), Ok(()));
    assert_eq!(judged(&claims(), NOW - 71), Err(TokenError::NotYetValid));
    let late = with("nbf", json!(NOW + 60));
    assert_eq!((judged(&late, NOW), judged(&late, NOW - 1)), (Ok(()), Err(TokenError::NotYetValid)));
    let issued = with("iat", json!(NOW + 60));
    assert_eq!((judged(&issued, NOW), judged(&issued, NOW - 1)), (Ok(()), Err(TokenError::NotYetValid)));
    // Fractions of seconds count whole; what is no date is refused.
    let precise = with("exp", json!(1_780_272_000.9));
    assert_eq!((judged(&precise, NOW - 1), judged(&precise, NOW)), (Ok(()), Err(TokenError::Expired)));
    for name in ["exp", "nbf", "iat"] {
        for odd in [json!("1780272000"), json!(1e300), json!(9.0e15), json!(null), json!([NOW]), json!(u64::MAX)] {
            assert_eq!(judged(&with(name, odd.clone()), NOW), Err(TokenError::Claim(name)), "{odd}");
        }
    }
    let cases = [(NOW + 289, Ok(())), (NOW + 290, Err(TokenError::Expired)), (NOW - 71, Err(TokenError::NotYetValid))];
    let written = cwt(&pair, &ear());
    for (second, expected) in cases {
        assert_eq!(VerifiedEar::from_cwt(&written, &keys, at(second)).map(|_| ()), expected, "{second}");
    }
    for early in [Ear { not_before: Some(NOW + 61), ..ear() }, Ear { issued_at: NOW + 61, ..ear() }] {
        assert_eq!(refused_cwt(&cwt(&pair, &early), &keys), TokenError::NotYetValid);
    }
}

#[test]
fn a3_a_result_for_somebody_else_or_used_before_is_refused() {
    let pair = p256();
    let keys = trusted(&pair);
    let mut spent = BTreeSet::new();
    let mut take = |claims: &Value, audience: &str| {
        let read = VerifiedEar::from_jwt(&es256(&pair, claims), &keys, now()).unwrap();
        read.take(audience, |id| spent.insert(id.to_owned())).map(|ear| ear.token_id.unwrap())
    };
    assert_eq!(take(&claims(), "another party"), Err(TokenError::Audience));
    assert_eq!(take(&claims(), ""), Err(TokenError::Audience));
    assert_eq!(take(&claims(), "a relying party "), Err(TokenError::Audience));
    assert_eq!(take(&without("aud"), "a relying party"), Err(TokenError::Missing("aud")));
    assert_eq!(take(&without("jti"), "a relying party"), Err(TokenError::Missing("jti")));
    // None of these has spent it.
    assert_eq!(take(&claims(), "a relying party"), Ok("once".to_owned()));
    assert_eq!(take(&claims(), "a relying party"), Err(TokenError::Replayed));
    assert_eq!(take(&with("jti", json!("twice")), "a relying party"), Ok("twice".to_owned()));
    // A list of one is that one; of several nobody knows which counts.
    assert_eq!(take(&with("aud", json!(["alone"])), "alone").unwrap_err(), TokenError::Replayed);
    let several = es256(&pair, &with("aud", json!(["a relying party", "another"])));
    assert_eq!(refused(&several, &keys), TokenError::Claim("aud"));
    // A CWT is taken alike; an identity of no bytes is none.
    let again = |ear: &Ear, new: bool| {
        let read = VerifiedEar::from_cwt(&cwt(&pair, ear), &keys, now()).unwrap();
        read.take("a relying party", |_| new).map(|_| ())
    };
    assert_eq!(again(&ear(), true), Ok(()));
    assert_eq!(again(&ear(), false), Err(TokenError::Replayed));
    assert_eq!(again(&Ear { token_id: Some(String::new()), ..ear() }, true), Err(TokenError::Missing("jti")));
    assert_eq!(again(&Ear { audience: None, ..ear() }, true), Err(TokenError::Missing("aud")));
}

#[test]
fn claims_that_are_missing_or_of_another_kind_are_named() {
    let pair = p256();
    let keys = trusted(&pair);
    let judged = |claims: &Value| refused(&es256(&pair, claims), &keys);
    for name in ["eat_profile", "iat", "ear.verifier-id", "submods"] {
        assert_eq!(judged(&without(name)), TokenError::Missing(name));
    }
    for name in ["eat_profile", "iss", "aud", "jti", "eat_nonce", "ear.verifier-id", "submods", "cnf"] {
        for odd in [json!(1), json!([]), json!("")] {
            assert_eq!(judged(&with(name, odd)), TokenError::Claim(name));
        }
    }
    for (name, odd) in [("aud", json!(["a", "b"])), ("eat_nonce", json!(["a", ""])), ("eat_nonce", json!(["a", 1]))] {
        assert_eq!(judged(&with(name, odd)), TokenError::Claim(name));
    }
    for name in ["aud", "eat_nonce"] {
        for odd in [json!([""]), json!([1])] {
            assert_eq!(judged(&with(name, odd)), TokenError::Claim(name));
        }
    }
    assert_eq!(judged(&with("submods", json!({}))), TokenError::Missing("submods"));
    assert_eq!(judged(&with("submods", json!({ "cpu0": 1 }))), TokenError::Claim("submods"));
    assert_eq!(judged(&with("submods", json!({ "cpu0": {} }))), TokenError::Missing("ear.status"));
    assert_eq!(judged(&with("ear.verifier-id", json!({ "build": "1" }))), TokenError::Claim("ear.verifier-id"));
    assert_eq!(judged(&with("cnf", json!({ "jwk": "key" }))), TokenError::Claim("cnf"));
    // What is not known might have said no.
    assert_eq!(judged(&with_appraisal("ear.status", json!("great"))), TokenError::Status("great".to_owned()));
    assert_eq!(judged(&with_appraisal("ear.status", json!(2))), TokenError::Claim("ear.status"));
    let vector = |value: Value| judged(&with_appraisal("ear.trustworthiness-vector", value));
    assert_eq!(vector(json!({ "luck": 2 })), TokenError::Vector("luck".to_owned()));
    assert_eq!(vector(json!({ "hardware": 128 })), TokenError::Vector("hardware".to_owned()));
    assert_eq!(vector(json!({ "hardware": "2" })), TokenError::Vector("hardware".to_owned()));
    assert_eq!(vector(json!(2)), TokenError::Claim("ear.trustworthiness-vector"));
    assert_eq!(
        judged(&with_appraisal("ear.appraisal-policy-id", json!(2))),
        TokenError::Claim("ear.appraisal-policy-id")
    );
}

#[test]
fn claims_of_a_cwt_that_are_missing_or_of_another_kind_are_named() {
    let pair = p256();
    let keys = trusted(&pair);
    type Fields = Vec<(i64, Vec<u8>)>;
    let appraisal = || vec![(1000, cbor::int(2)), (1001, cbor::labelled(&[(4, cbor::int(2))]))];
    let submods = |appraisal: &Fields| cbor::map(&[(cbor::text("cpu0"), cbor::labelled(appraisal))]);
    let fields = || -> Fields {
        let verifier = cbor::labelled(&[(0, cbor::text("somebody")), (1, cbor::text("1"))]);
        vec![(6, cbor::int(NOW)), (265, cbor::text(PROFILE)), (266, submods(&appraisal())), (1004, verifier)]
    };
    let judged = |fields: &Fields| {
        let payload = cbor::labelled(fields);
        let token = cbor::sign1(&cbor::protected(-7), &cbor::map(&[]), &payload, |message| sign(&pair, message));
        VerifiedEar::from_cwt(&token, &keys, now()).map(|read| read.status())
    };
    assert_eq!(judged(&fields()), Ok(Status::Affirming));
    for (label, name) in [(6, "iat"), (265, "eat_profile"), (266, "submods"), (1004, "ear.verifier-id")] {
        let mut missing = fields();
        missing.retain(|(known, _)| *known != label);
        assert_eq!(judged(&missing), Err(TokenError::Missing(name)));
        missing.push((label, cbor::array(&[])));
        assert_eq!(judged(&missing), Err(TokenError::Claim(name)));
    }
    let optional = [(1, "iss"), (3, "aud"), (4, "exp"), (5, "nbf"), (7, "cti"), (8, "cnf"), (10, "eat_nonce")];
    for (label, name) in optional {
        let mut odd = fields();
        odd.push((label, cbor::array(&[])));
        assert_eq!(judged(&odd), Err(TokenError::Claim(name)));
    }
    // A key to confirm is of a kind and a curve that are known.
    let confirmed = |key: &[(i64, Vec<u8>)]| {
        let mut fields = fields();
        fields.push((8, cbor::labelled(&[(1, cbor::labelled(key))])));
        judged(&fields)
    };
    let okp = |curve: i64| confirmed(&[(1, cbor::int(1)), (-1, cbor::int(curve)), (-2, cbor::bytes(&[1]))]);
    assert_eq!((okp(6), okp(4)), (Ok(Status::Affirming), Err(TokenError::Claim("cnf"))));
    let ec = |curve: i64| {
        confirmed(&[(1, cbor::int(2)), (-1, cbor::int(curve)), (-2, cbor::bytes(&[1])), (-3, cbor::bytes(&[2]))])
    };
    assert_eq!((ec(1), ec(8)), (Ok(Status::Affirming), Err(TokenError::Claim("cnf"))));
    assert_eq!(confirmed(&[(1, cbor::int(4)), (-1, cbor::bytes(&[1]))]), Err(TokenError::Claim("cnf")));
    let changed = |label: i64, value: Vec<u8>| {
        let mut part = appraisal();
        part.retain(|(known, _)| *known != label);
        part.push((label, value));
        let mut fields = fields();
        fields.retain(|(known, _)| *known != 266);
        fields.push((266, submods(&part)));
        judged(&fields)
    };
    assert_eq!(changed(1000, cbor::int(3)), Err(TokenError::Status("3".to_owned())));
    assert_eq!(changed(1000, cbor::text("affirming")), Err(TokenError::Claim("ear.status")));
    assert_eq!(changed(1000, cbor::int(96)), Ok(Status::Contraindicated));
    assert_eq!(changed(1001, cbor::labelled(&[(8, cbor::int(2))])), Err(TokenError::Vector("8".to_owned())));
    assert_eq!(changed(1001, cbor::labelled(&[(4, cbor::int(-129))])), Err(TokenError::Vector("4".to_owned())));
    assert_eq!(changed(1001, cbor::int(1)), Err(TokenError::Claim("ear.trustworthiness-vector")));
    assert_eq!(changed(1003, cbor::int(1)), Err(TokenError::Claim("ear.appraisal-policy-id")));
    let mut empty = fields();
    empty.retain(|(label, _)| *label != 266);
    empty.push((266, cbor::map(&[])));
    assert_eq!(judged(&empty), Err(TokenError::Missing("submods")));
    let mut twice = fields();
    twice.push((6, cbor::int(NOW)));
    assert!(matches!(judged(&twice), Err(TokenError::Cbor(CborError::DuplicateKey(_)))));
    // What is no map is no set of claims.
    let list = cbor::sign1(&cbor::protected(-7), &cbor::map(&[]), &cbor::array(&[]), |message| sign(&pair, message));
    assert_eq!(refused_cwt(&list, &keys), TokenError::Cbor(CborError::NotWellFormed(0)));
}

#[test]
fn a_key_to_confirm_is_written_in_cose_or_not_at_all() {
    let pair = p256();
    let through = |jwk: Value| {
        let ear = Ear { confirmation: Some(jwk.clone()), ..ear() };
        let written = ear.to_cwt(Algorithm::Es256, |message| Ok::<_, ()>(sign(&pair, message)))?;
        let read = VerifiedEar::from_cwt(&written, &trusted(&pair), now()).unwrap();
        assert_eq!(read.ear().confirmation.as_ref(), Some(&jwk));
        Ok(())
    };
    for curve in ["P-256", "P-384", "P-521"] {
        assert_eq!(through(json!({ "kty": "EC", "crv": curve, "x": "AQ", "y": "Ag" })), Ok(()));
    }
    assert_eq!(through(json!({ "kty": "OKP", "crv": "Ed25519", "x": "AQ" })), Ok(()));
    assert_eq!(through(json!({ "kty": "RSA", "n": "AQ", "e": "AQAB" })), Ok(()));
    for odd in [
        json!({}),
        json!({ "kty": "oct", "k": "AQ" }),
        json!({ "kty": "EC", "crv": "P-224", "x": "AQ", "y": "Ag" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AQ" }),
        json!({ "kty": "OKP", "crv": "X25519", "x": "AQ" }),
        json!({ "kty": "RSA", "n": "not base64!", "e": "AQAB" }),
    ] {
        assert_eq!(through(odd), Err(IssueError::Confirmation));
    }
    let odd = Ear { nonces: vec!["not base64!".to_owned()], ..ear() };
    assert_eq!(odd.to_cwt(Algorithm::Es256, |_| Ok::<_, ()>(Vec::new())), Err(IssueError::Nonce));
}

#[test]
fn a_token_may_answer_several_challenges() {
    let pair = p256();
    let keys = trusted(&pair);
    let read = |claim: Value| VerifiedEar::from_jwt(&es256(&pair, &with("eat_nonce", claim)), &keys, now()).unwrap();
    assert_eq!(read(json!("one")).ear().nonces, ["one"]);
    assert_eq!(read(json!(["one"])).ear().nonces, ["one"]);
    assert_eq!(read(json!(["one", "two"])).ear().nonces, ["one", "two"]);
    for nonces in [vec![], vec!["AAAA".to_owned()], vec!["AAAA".to_owned(), "AQID".to_owned()]] {
        let ear = Ear { nonces, ..ear() };
        let written = cwt(&pair, &ear);
        assert_eq!(VerifiedEar::from_cwt(&written, &keys, now()).unwrap().ear(), &ear);
        // One is written bare: label 10, then three bytes.
        let is_bare = written.windows(5).any(|bytes| bytes == [0x0A, 0x43, 0, 0, 0]);
        assert_eq!(is_bare, ear.nonces.len() == 1);
    }
}

#[test]
fn a_token_that_is_no_ear_is_shown_and_proves_what_its_signer_says() {
    let pair = p256();
    let keys = [named("a", &pair)];
    let odd = json!([1, true, null]);
    let text =
        token(&json!({ "alg": "ES256", "kid": "a" }), &json!({ "iat": NOW, "x": odd }), |message| sign(&pair, message));
    let shown = Unverified::parse(&text).unwrap();
    assert_eq!(shown.header()["kid"], "a");
    assert_eq!(shown.claims()["iat"], NOW);
    let read = shown.verify(&keys, now()).unwrap();
    assert_eq!((read.key_id(), read.algorithm()), (Some("a"), Algorithm::Es256));
    assert_eq!(read.claims()["x"], odd);
    assert_eq!(refused(&text, &keys), TokenError::Missing("submods"));
    let over = token(&json!({ "alg": "ES256" }), &json!({ "exp": NOW }), |message| sign(&pair, message));
    assert_eq!(Unverified::parse(&over).unwrap().verify(&keys, now()).unwrap_err(), TokenError::Expired);
    assert_eq!(TrustVector::default().status(), Status::None);
    let tiers = [(-1, Status::None), (-2, Status::Affirming), (-33, Status::Warning), (-97, Status::Contraindicated)];
    for (value, status) in tiers {
        assert_eq!(Status::of(value), status);
    }
}
