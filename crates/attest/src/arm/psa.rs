//! The PSA attestation token (RFC 9783 and the drafts before it): what a device's root of trust says of its firmware.
//!
//! Known profiles: `PSA_IOT_PROFILE_1` (labels from −75000), `http://arm.com/psa/2.0.0` and `tag:psacertified.org,2023:psa#tfm`. A token under COSE_Mac0 is
//! refused by name: whoever can check a MAC can also make one.

use jiff::Timestamp;

use super::{
    ClaimFault, Claims, Component, HASHES, Lifecycle, MAX_TOKEN, component_claims, component_registers, printable,
};
use crate::{
    CoseError, Tier,
    cbor::{Form, Value},
    cose::Sign1,
    keys::VerificationKey,
    platform::{Assurance, Claim, Genuine, Platform, Refusal, Steps, claim, claim_hex},
};

/// What a device sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PsaEvidence {
    /// COSE_Sign1.
    pub token: Vec<u8>,
}

/// Why a PSA token is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PsaError {
    /// More bytes than a token has.
    #[error("the token has {0} bytes; at most 64 KiB are read")]
    TooLarge(usize),
    /// The signed envelope.
    #[error("the token's envelope")]
    Envelope(#[source] CoseError),
    /// Nobody named a key.
    #[error("no attestation key of this device is known\nhint: give its initial attestation key")]
    KeyUnknown,
    /// The signature.
    #[error("the token's signature does not verify under any attestation key at hand")]
    Signature,
    /// A claim.
    #[error("the token's claims")]
    Claims(#[source] ClaimFault),
    /// The device can be debugged.
    #[error("the device is in the debug lifecycle {0:#06x}")]
    Debug(u16),
    /// The device is not secured.
    #[error("the device is in the lifecycle {0:#06x}, which is not secured")]
    NotSecured(u16),
}

impl Refusal for PsaError {
    fn step(&self) -> u8 {
        match self {
            PsaError::TooLarge(_) | PsaError::Envelope(_) => 1,
            PsaError::KeyUnknown | PsaError::Signature => 2,
            PsaError::Claims(_) => 3,
            PsaError::Debug(_) | PsaError::NotSecured(_) => 4,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            PsaError::TooLarge(_) => "too-large",
            PsaError::Envelope(error) => error.code(),
            PsaError::KeyUnknown => "verification-key-unknown",
            PsaError::Signature => "signature",
            PsaError::Claims(fault) => fault.code(),
            PsaError::Debug(_) => "debug-lifecycle",
            PsaError::NotSecured(_) => "lifecycle-not-secured",
        }
    }

    fn is_malformed(&self) -> bool {
        match self {
            PsaError::TooLarge(_) | PsaError::Claims(_) => true,
            PsaError::Envelope(error) => error.is_malformed(),
            PsaError::KeyUnknown | PsaError::Signature | PsaError::Debug(_) | PsaError::NotSecured(_) => false,
        }
    }
}

/// Examines a PSA token under the attestation keys that the caller trusts.
///
/// # Errors
/// The first step that fails.
pub fn examine(evidence: &PsaEvidence, keys: &[VerificationKey], now: Timestamp) -> Result<Genuine, PsaError> {
    let mut steps = Steps::default();
    if evidence.token.len() > MAX_TOKEN {
        return Err(PsaError::TooLarge(evidence.token.len()));
    }
    let envelope = Sign1::parse(&evidence.token).map_err(PsaError::Envelope)?;
    steps.pass(1, format!("a COSE_Sign1 with {}", envelope.algorithm().name()));
    if keys.is_empty() {
        return Err(PsaError::KeyUnknown);
    }
    if !keys.iter().any(|key| envelope.verify(key).is_ok()) {
        return Err(PsaError::Signature);
    }
    steps.pass(2, "a trusted attestation key signed the token");
    let token = Token::read(envelope.payload()).map_err(PsaError::Claims)?;
    steps.pass(3, format!("every claim is what the profile `{}` says", token.profile));
    match Lifecycle::of(token.lifecycle) {
        Lifecycle::Secured => {}
        Lifecycle::Debug => return Err(PsaError::Debug(token.lifecycle)),
        Lifecycle::Other => return Err(PsaError::NotSecured(token.lifecycle)),
    }
    steps.pass(4, "the device is secured");
    Ok(Genuine {
        platform: Platform::Psa,
        assurance: Assurance::Affirmed,
        tier: Tier::Tpm,
        debug: false,
        bound: token.nonce.clone(),
        hardware_id: Some(hex::encode(&token.instance_id)),
        registers: component_registers("", &token.components),
        claims: token.claims(),
        steps: steps.done(),
        examined_at: now,
    })
}

struct Token {
    profile: &'static str,
    nonce: Vec<u8>,
    instance_id: Vec<u8>,
    implementation_id: Vec<u8>,
    client_id: i64,
    lifecycle: u16,
    boot_seed: Option<Vec<u8>>,
    certification: Option<String>,
    components: Vec<Component>,
    unknown: Vec<Claim>,
}

/// The labels of one profile, and what it makes mandatory.
struct Profile {
    name: &'static str,
    label: i64,
    client_id: i64,
    lifecycle: i64,
    implementation_id: i64,
    boot_seed: i64,
    certification: i64,
    components: i64,
    /// The label that says, by the number 1, that no software is measured; it stands in place of components.
    no_components: Option<i64>,
    nonce: i64,
    instance_id: i64,
    service: i64,
    signer_is_needed: bool,
}

impl Token {
    fn read(payload: &[u8]) -> Result<Token, ClaimFault> {
        let value = Value::parse(payload, Form::Deterministic)?;
        let claims = Claims::new(&value)?;
        let profile = Profile::of(&claims)?;
        let client_id = claims.need(profile.client_id, "client_id")?.integer();
        let client_id = client_id.filter(|id| i32::try_from(*id).is_ok()).ok_or(ClaimFault::Invalid("client_id"))?;
        let boot_seed = match value.at(profile.boot_seed) {
            None => None,
            Some(seed) => {
                let seed = seed.bytes().filter(|seed| (8..=32).contains(&seed.len()));
                Some(seed.ok_or(ClaimFault::Invalid("boot_seed"))?.to_vec())
            }
        };
        let certification = claims.text(profile.certification, "certification_reference")?;
        if certification.as_ref().is_some_and(|text| !is_certification(text)) {
            return Err(ClaimFault::Invalid("certification_reference"));
        }
        claims.text(profile.service, "verification_service")?;
        Ok(Token {
            profile: profile.name,
            nonce: claims.bytes(profile.nonce, "nonce", &HASHES)?,
            instance_id: claims.instance_id(profile.instance_id)?,
            implementation_id: claims.bytes(profile.implementation_id, "implementation_id", &[32])?,
            client_id,
            lifecycle: claims.lifecycle(profile.lifecycle)?,
            boot_seed,
            certification,
            components: profile.components(&claims)?,
            unknown: claims.unknown(&profile.labels()),
        })
    }

    fn claims(self) -> Vec<Claim> {
        let mut claims = vec![
            claim("profile", self.profile, "the profile of the token"),
            claim_hex("nonce", &self.nonce, "the challenge that the token answers"),
            claim_hex("instance_id", &self.instance_id, "the identity of this very device, from its attestation key"),
            claim_hex("implementation_id", &self.implementation_id, "the make of the root of trust"),
            claim("client_id", self.client_id, "who asked: negative for the non-secure side"),
            claim("lifecycle", self.lifecycle, "the security lifecycle: secured"),
        ];
        claims.extend(self.boot_seed.map(|seed| claim_hex("boot_seed", &seed, "drawn at each boot")));
        let certification = self.certification;
        claims
            .extend(certification.map(|text| claim("certification_reference", text, "a certificate of the platform")));
        if self.components.is_empty() {
            let words = "no software is measured, so that no policy can admit the device";
            claims.push(claim("no_software_measurements", 1, words));
        }
        claims.extend(component_claims(&self.components));
        claims.extend(self.unknown);
        claims
    }
}

impl Profile {
    fn of(claims: &Claims<'_, '_>) -> Result<&'static Profile, ClaimFault> {
        // The first profile's own claim may be absent; its challenge has a label of its own.
        let name = match (claims.text(265, "profile")?, claims.text(-75000, "profile")?) {
            (Some(name), None) | (None, Some(name)) => name,
            (None, None) if claims.0.at(-75008).is_some() => FIRST.to_owned(),
            (None, None) => return Err(ClaimFault::Missing("profile")),
            (Some(_), Some(_)) => return Err(ClaimFault::Invalid("profile")),
        };
        let known = PROFILES.iter().find(|profile| profile.name == name);
        known.ok_or_else(|| ClaimFault::Profile(printable(&name)))
    }

    /// The measured software; none where the token says so in the way that the first profile has for it.
    fn components(&self, claims: &Claims<'_, '_>) -> Result<Vec<Component>, ClaimFault> {
        let Some(flag) = self.no_components.and_then(|label| claims.0.at(label)) else {
            return claims.components(self.components, self.signer_is_needed);
        };
        let alone = claims.0.at(self.components).is_none();
        if alone && flag.unsigned() == Some(1) {
            Ok(Vec::new())
        } else {
            Err(ClaimFault::Invalid("no_software_measurements"))
        }
    }

    const fn labels(&self) -> [i64; 11] {
        [
            self.label,
            self.client_id,
            self.lifecycle,
            self.implementation_id,
            self.boot_seed,
            self.certification,
            self.components,
            match self.no_components {
                Some(label) => label,
                None => self.components,
            },
            self.nonce,
            self.instance_id,
            self.service,
        ]
    }
}

/// An EAN-13, with or without the five digits of a version (RFC 9783, section 4.2.3).
fn is_certification(text: &str) -> bool {
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.split_once('-') {
        None => digits(text, 13),
        Some((number, version)) => digits(number, 13) && digits(version, 5),
    }
}

const FIRST: &str = "PSA_IOT_PROFILE_1";

const PROFILES: [Profile; 3] = [
    Profile {
        name: "http://arm.com/psa/2.0.0",
        label: 265,
        client_id: 2394,
        lifecycle: 2395,
        implementation_id: 2396,
        boot_seed: 2397,
        certification: 2398,
        components: 2399,
        no_components: None,
        nonce: 10,
        instance_id: 256,
        service: 2400,
        signer_is_needed: true,
    },
    Profile {
        name: "tag:psacertified.org,2023:psa#tfm",
        label: 265,
        client_id: 2394,
        lifecycle: 2395,
        implementation_id: 2396,
        boot_seed: 268,
        certification: 2398,
        components: 2399,
        no_components: None,
        nonce: 10,
        instance_id: 256,
        service: 2400,
        signer_is_needed: true,
    },
    Profile {
        name: FIRST,
        label: -75000,
        client_id: -75001,
        lifecycle: -75002,
        implementation_id: -75003,
        boot_seed: -75004,
        certification: -75005,
        components: -75006,
        no_components: Some(-75007),
        nonce: -75008,
        instance_id: -75009,
        service: -75010,
        signer_is_needed: false,
    },
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cbor::Encoder;

    /// A payload of the first profile; `flag` is what stands under -75007, `component` whether there is one.
    fn read(flag: Option<i64>, component: bool) -> Result<usize, ClaimFault> {
        let mut payload = Encoder::default();
        payload.map(6 + usize::from(flag.is_some()) + usize::from(component));
        payload.integer(-75000);
        payload.text(FIRST);
        for (label, number) in [(-75001, 1), (-75002, 0x3000)] {
            payload.integer(label);
            payload.integer(number);
        }
        payload.integer(-75003);
        payload.bytes(&[3; 32]);
        if component {
            payload.integer(-75006);
            payload.array(1);
            payload.map(1);
            payload.integer(2);
            payload.bytes(&[6; 32]);
        }
        if let Some(flag) = flag {
            payload.integer(-75007);
            payload.integer(flag);
        }
        payload.integer(-75008);
        payload.bytes(&[8; 32]);
        payload.integer(-75009);
        payload.bytes(&[&[1][..], &[9; 32]].concat());
        let token = Token::read(&payload.done())?;
        assert!(token.unknown.is_empty());
        assert_eq!(
            token.components.is_empty(),
            token.claims().iter().any(|claim| claim.name == "no_software_measurements")
        );
        Ok(usize::from(component))
    }

    #[test]
    fn a_device_of_the_first_profile_measures_software_or_says_that_it_does_not() {
        assert_eq!(read(None, true), Ok(1));
        assert_eq!(read(Some(1), false), Ok(0));
        assert_eq!(read(None, false), Err(ClaimFault::Missing("software_components")));
        let invalid = Err(ClaimFault::Invalid("no_software_measurements"));
        assert_eq!(read(Some(1), true), invalid);
        assert_eq!(read(Some(0), false), invalid);
        assert_eq!(read(Some(2), false), invalid);
    }
}
