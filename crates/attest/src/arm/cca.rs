//! The Arm CCA token: a realm's claims, signed by a key that the platform vouches for.
//!
//! Two tokens in one collection. The *platform* token is signed by the platform's key, which the caller trusts; the *realm* token is
//! signed by the realm attestation key that it carries. What makes the second worth anything is that the platform token's challenge is the hash of
//! that key: without this step each signature verifies, and anybody could have written the realm's half.
//!
//! Both stand in the collection of the first drafts (tag 399) or in the conceptual message wrapper of the third (tag 907), which names the
//! media type of each; either carries tokens of any profile.
//!
//! Sources: draft-ffm-rats-cca-token (claims, labels, profiles), Realm Management Monitor specification, chapter "Realm measurement and
//! attestation" (RAK on P-384, as a raw point or, from the profile of 2023 on, as COSE_Key).

use jiff::Timestamp;

use super::{
    ClaimFault, Claims, Component, HASHES, Lifecycle, MAX_TOKEN, additions, component_claims, component_registers,
    printable,
};
use crate::{
    CborError, CoseError, HashAlgorithm, Tier,
    cbor::{Form, Value},
    cose::Sign1,
    keys::{KeyError, VerificationKey},
    platform::{Assurance, Claim, Genuine, Platform, Refusal, Steps, claim, claim_hex, register},
};

/// What a realm sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CcaEvidence {
    /// The collection (tag 399 or 907) of platform token and realm token.
    pub token: Vec<u8>,
}

/// Why a CCA token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CcaError {
    /// More bytes than a token has.
    #[error("the token has {0} bytes; at most 64 KiB are read")]
    TooLarge(usize),
    /// Not CBOR.
    #[error("the collection of tokens cannot be read")]
    Collection(#[source] CborError),
    /// Not the collection of a CCA token.
    #[error("the bytes are not a collection (tag 399 or 907) of a platform token and a realm token")]
    NotCollection,
    /// The platform token's envelope.
    #[error("the platform token's envelope")]
    PlatformEnvelope(#[source] CoseError),
    /// The realm token's envelope.
    #[error("the realm token's envelope")]
    RealmEnvelope(#[source] CoseError),
    /// Nobody named a key.
    #[error("no attestation key of this platform is known\nhint: give the platform's attestation key")]
    KeyUnknown,
    /// The platform token's signature.
    #[error("the platform token's signature does not verify under any platform key at hand")]
    PlatformSignature,
    /// A claim of the platform token.
    #[error("the platform token's claims")]
    PlatformClaims(#[source] ClaimFault),
    /// A claim of the realm token.
    #[error("the realm token's claims")]
    RealmClaims(#[source] ClaimFault),
    /// The realm's key.
    #[error("the realm token's key")]
    RealmKey(#[source] KeyError),
    /// The realm token's signature.
    #[error("the realm token's signature does not verify under the key it carries")]
    RealmSignature,
    /// The platform does not vouch for the realm's key.
    #[error(
        "the platform token's challenge is not the hash of the realm's key: the platform does not vouch for this realm"
    )]
    RakUnbound,
    /// The platform can be debugged.
    #[error("the platform is in the debug lifecycle {0:#06x}")]
    Debug(u16),
    /// The platform is not secured.
    #[error("the platform is in the lifecycle {0:#06x}, which is not secured")]
    NotSecured(u16),
}

impl Refusal for CcaError {
    fn step(&self) -> u8 {
        match self {
            CcaError::TooLarge(_)
            | CcaError::Collection(_)
            | CcaError::NotCollection
            | CcaError::PlatformEnvelope(_)
            | CcaError::RealmEnvelope(_) => 1,
            CcaError::KeyUnknown | CcaError::PlatformSignature => 2,
            CcaError::PlatformClaims(_) => 3,
            CcaError::RealmClaims(_) | CcaError::RealmKey(_) => 4,
            CcaError::RealmSignature => 5,
            CcaError::RakUnbound => 6,
            CcaError::Debug(_) | CcaError::NotSecured(_) => 7,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            CcaError::TooLarge(_) => "too-large",
            CcaError::Collection(error) => error.code(),
            CcaError::NotCollection => "not-a-cca-token",
            CcaError::PlatformEnvelope(error) | CcaError::RealmEnvelope(error) => error.code(),
            CcaError::KeyUnknown => "verification-key-unknown",
            CcaError::PlatformSignature => "platform-signature",
            CcaError::PlatformClaims(fault) | CcaError::RealmClaims(fault) => fault.code(),
            CcaError::RealmKey(_) => "realm-key",
            CcaError::RealmSignature => "realm-signature",
            CcaError::RakUnbound => "rak-unbound",
            CcaError::Debug(_) => "debug-lifecycle",
            CcaError::NotSecured(_) => "lifecycle-not-secured",
        }
    }

    fn is_malformed(&self) -> bool {
        match self {
            CcaError::TooLarge(_)
            | CcaError::Collection(_)
            | CcaError::NotCollection
            | CcaError::PlatformClaims(_)
            | CcaError::RealmClaims(_)
            | CcaError::RealmKey(_) => true,
            CcaError::PlatformEnvelope(error) | CcaError::RealmEnvelope(error) => error.is_malformed(),
            CcaError::KeyUnknown
            | CcaError::PlatformSignature
            | CcaError::RealmSignature
            | CcaError::RakUnbound
            | CcaError::Debug(_)
            | CcaError::NotSecured(_) => false,
        }
    }
}

/// Examines a CCA token under the platform keys that the caller trusts.
///
/// # Errors
/// The first step that fails.
pub fn examine(evidence: &CcaEvidence, keys: &[VerificationKey], now: Timestamp) -> Result<Genuine, CcaError> {
    let mut steps = Steps::default();
    let (outer, inner) = open(&evidence.token)?;
    steps.pass(1, "a collection of a platform token and a realm token, each a COSE_Sign1");
    if keys.is_empty() {
        return Err(CcaError::KeyUnknown);
    }
    if !keys.iter().any(|key| outer.verify(key).is_ok()) {
        return Err(CcaError::PlatformSignature);
    }
    steps.pass(2, "a trusted platform key signed the platform token");
    let platform = PlatformToken::read(outer.payload()).map_err(CcaError::PlatformClaims)?;
    steps.pass(3, "every claim of the platform is what its profile says");
    let realm = RealmToken::read(inner.payload()).map_err(CcaError::RealmClaims)?;
    let key = realm.key()?;
    steps.pass(4, "every claim of the realm is what its profile says");
    inner.verify(&key).map_err(|_| CcaError::RealmSignature)?;
    steps.pass(5, "the realm's key signed the realm token");
    if realm.key_hash.hash(&[&realm.public_key]) != platform.challenge {
        return Err(CcaError::RakUnbound);
    }
    steps.pass(6, "the platform vouches for the realm's key: its challenge is the key's hash");
    match Lifecycle::of(platform.lifecycle) {
        Lifecycle::Secured => {}
        Lifecycle::Debug => return Err(CcaError::Debug(platform.lifecycle)),
        Lifecycle::Other => return Err(CcaError::NotSecured(platform.lifecycle)),
    }
    steps.pass(7, "the platform is secured");
    let mut registers = vec![register("rim", &realm.initial)];
    registers.extend(realm.extensible.iter().zip(0..).map(|(value, index)| register(&format!("rem{index}"), value)));
    registers.push(register("implementation_id", &platform.implementation_id));
    registers.push(register("platform_config", &platform.config));
    registers.extend(component_registers("platform.", &platform.components));
    let instance = hex::encode(&platform.instance_id);
    let mut claims = platform.claims();
    claims.extend(realm.claims());
    let algorithms = [("platform_alg", outer.algorithm()), ("realm_alg", inner.algorithm())];
    for (name, algorithm) in algorithms {
        claims.extend(algorithm.cose().map(|id| claim(name, id, "the algorithm of the signature, as COSE numbers it")));
    }
    Ok(Genuine {
        platform: Platform::Cca,
        assurance: Assurance::Affirmed,
        tier: Tier::ConfidentialVm,
        debug: false,
        bound: realm.challenge,
        hardware_id: Some(instance),
        registers,
        claims,
        steps: steps.done(),
        examined_at: now,
    })
}

/// Step 1.
fn open(token: &[u8]) -> Result<(Sign1, Sign1), CcaError> {
    if token.len() > MAX_TOKEN {
        return Err(CcaError::TooLarge(token.len()));
    }
    let collection = Value::parse(token, Form::Deterministic).map_err(CcaError::Collection)?;
    let (tokens, wrapped) = match collection.tagged() {
        Some((COLLECTION, tokens)) => (tokens, false),
        Some((WRAPPER, tokens)) => (tokens, true),
        _ => return Err(CcaError::NotCollection),
    };
    let part = |label| {
        let part = tokens.at(label).ok_or(CcaError::NotCollection)?;
        match part.array() {
            None if !wrapped => part.bytes(),
            Some([kind, token]) if wrapped && kind.unsigned() == Some(EAT) => token.bytes(),
            _ => None,
        }
        .ok_or(CcaError::NotCollection)
    };
    let (platform, realm) = (part(44234)?, part(44241)?);
    if tokens.map().is_none_or(|tokens| tokens.len() != 2) {
        return Err(CcaError::NotCollection);
    }
    let platform = Sign1::parse(platform).map_err(CcaError::PlatformEnvelope)?;
    Ok((platform, Sign1::parse(realm).map_err(CcaError::RealmEnvelope)?))
}

struct PlatformToken {
    profile: &'static str,
    challenge: Vec<u8>,
    implementation_id: Vec<u8>,
    instance_id: Vec<u8>,
    config: Vec<u8>,
    lifecycle: u16,
    components: Vec<Component>,
    more: Vec<Claim>,
}

struct RealmToken {
    profile: Option<&'static str>,
    challenge: Vec<u8>,
    personalization: Vec<u8>,
    public_key: Vec<u8>,
    hash: HashAlgorithm,
    key_hash: HashAlgorithm,
    initial: Vec<u8>,
    extensible: Vec<Vec<u8>>,
    more: Vec<Claim>,
}

impl PlatformToken {
    fn read(payload: &[u8]) -> Result<PlatformToken, ClaimFault> {
        let value = Value::parse(payload, Form::Deterministic)?;
        let claims = Claims::new(&value)?;
        let profile = claims.text(265, "platform_profile")?.ok_or(ClaimFault::Missing("platform_profile"))?;
        let known = PLATFORM_PROFILES.into_iter().find(|known| *known == profile);
        let mut labels = vec![265, 10, 2396, 256, 2401, 2395, 2399, 2400, 2402];
        let mut more = Vec::new();
        if known == Some(PLATFORM_2024) {
            labels.extend(additions::PLATFORM);
            more = additions::platform(&claims)?;
        }
        more.extend(claims.unknown(&labels));
        let config = claims.need(2401, "config")?.bytes().filter(|config| config.len() <= MAX_CONFIG);
        hash(claims.text(2402, "platform_hash_alg")?, "platform_hash_alg")?;
        claims.text(2400, "verification_service")?;
        Ok(PlatformToken {
            profile: known.ok_or_else(|| ClaimFault::Profile(printable(&profile)))?,
            challenge: claims.bytes(10, "platform_challenge", &HASHES)?,
            implementation_id: claims.bytes(2396, "implementation_id", &[32])?,
            instance_id: claims.instance_id(256)?,
            config: config.ok_or(ClaimFault::Invalid("config"))?.to_vec(),
            lifecycle: claims.lifecycle(2395)?,
            components: claims.components(2399, true)?,
            more,
        })
    }

    fn claims(self) -> Vec<Claim> {
        let mut claims = vec![
            claim("platform_profile", self.profile, "the profile of the platform token"),
            claim_hex("platform_challenge", &self.challenge, "the hash of the realm's key"),
            claim_hex("implementation_id", &self.implementation_id, "the make of the platform"),
            claim_hex("instance_id", &self.instance_id, "the identity of this very platform, from its attestation key"),
            claim_hex("config", &self.config, "the platform's configuration"),
            claim("lifecycle", self.lifecycle, "the platform's security lifecycle: secured"),
        ];
        claims.extend(component_claims(&self.components));
        claims.extend(self.more);
        claims
    }
}

impl RealmToken {
    fn read(payload: &[u8]) -> Result<RealmToken, ClaimFault> {
        let value = Value::parse(payload, Form::Deterministic)?;
        let claims = Claims::new(&value)?;
        let profile = match claims.text(265, "realm_profile")? {
            None => None,
            Some(profile) => {
                let known = REALM_PROFILES.into_iter().find(|known| *known == profile);
                Some(known.ok_or_else(|| ClaimFault::Profile(printable(&profile)))?)
            }
        };
        let mut labels = vec![265, 10, 44235, 44236, 44237, 44238, 44239, 44240];
        let mut more = Vec::new();
        if profile == Some(REALM_2024) {
            labels.extend(additions::REALM);
            more = additions::realm(&claims)?;
        }
        more.extend(claims.unknown(&labels));
        let public_key = claims.need(44237, "realm_public_key")?.bytes().filter(|key| key.len() <= MAX_CONFIG);
        let measurements = claims.need(44239, "rem")?.array().filter(|list| list.len() == 4);
        let measurements = measurements.ok_or(ClaimFault::Invalid("rem"))?;
        Ok(RealmToken {
            profile,
            challenge: claims.bytes(10, "realm_challenge", &[64])?,
            personalization: claims.bytes(44235, "rpv", &[64])?,
            public_key: public_key.ok_or(ClaimFault::Invalid("realm_public_key"))?.to_vec(),
            hash: hash(claims.text(44236, "realm_hash_alg")?, "realm_hash_alg")?,
            key_hash: hash(claims.text(44240, "rak_hash_alg")?, "rak_hash_alg")?,
            initial: claims.bytes(44238, "rim", &HASHES)?,
            extensible: measurements
                .iter()
                .map(|value| super::sized(value, "rem", &HASHES))
                .collect::<Result<_, _>>()?,
            more,
        })
    }

    /// A raw point before the profile of 2023, a COSE_Key in it; always on P-384.
    fn key(&self) -> Result<VerificationKey, CcaError> {
        let key = match self.profile {
            None => VerificationKey::from_point(&self.public_key),
            Some(_) => VerificationKey::from_cose_key(&self.public_key),
        };
        match key {
            Ok(key) if key.is_p384() => Ok(key),
            Ok(_) => Err(CcaError::RealmKey(KeyError::Kind)),
            Err(error) => Err(CcaError::RealmKey(error)),
        }
    }

    fn claims(&self) -> Vec<Claim> {
        let format = if self.profile.is_some() { "COSE_Key" } else { "raw EC point" };
        let mut claims = vec![
            claim_hex("realm_challenge", &self.challenge, "what the realm bound into the token"),
            claim_hex("rpv", &self.personalization, "the realm's personalization value, chosen by who started it"),
            claim_hex("rim", &self.initial, "the realm's initial measurement"),
            claim("realm_hash_alg", named(self.hash), "the hash of the realm's measurements"),
            claim("rak_hash_alg", named(self.key_hash), "the hash by which the platform vouches for the realm's key"),
            claim("rak_format", format, "how the realm's key is written"),
        ];
        claims.extend(self.profile.map(|profile| claim("realm_profile", profile, "the profile of the realm token")));
        for (index, value) in self.extensible.iter().enumerate() {
            claims.push(claim_hex(&format!("rem{index}"), value, "a measurement that the realm extends itself"));
        }
        claims.extend(self.more.iter().cloned());
        claims
    }
}

/// By its name in IANA's "Hash Function Textual Names".
pub(super) fn hash(name: Option<String>, claim: &'static str) -> Result<HashAlgorithm, ClaimFault> {
    let name = name.ok_or(ClaimFault::Missing(claim))?;
    let known = [HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512];
    known.into_iter().find(|known| named(*known) == name).ok_or(ClaimFault::Invalid(claim))
}

const fn named(hash: HashAlgorithm) -> &'static str {
    match hash {
        HashAlgorithm::Sha1 => "sha-1",
        HashAlgorithm::Sha256 => "sha-256",
        HashAlgorithm::Sha384 => "sha-384",
        HashAlgorithm::Sha512 => "sha-512",
        HashAlgorithm::Sm3 => "sm3",
    }
}

const COLLECTION: u64 = 399;
const WRAPPER: u64 = 907;
/// CoAP's content format of `application/eat+cwt`.
const EAT: u64 = 263;
const PLATFORM_2024: &str = "tag:arm.com,2024:cca_platform#2.0.0";
const PLATFORM_PROFILES: [&str; 3] =
    ["http://arm.com/CCA-SSD/1.0.0", "tag:arm.com,2023:cca_platform#1.0.0", PLATFORM_2024];
const REALM_2024: &str = "tag:arm.com,2024:realm#2.0.0";
const REALM_PROFILES: [&str; 2] = ["tag:arm.com,2023:realm#1.0.0", REALM_2024];
const MAX_CONFIG: usize = 1024;
