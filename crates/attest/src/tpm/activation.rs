//! Enrolment of an attestation key: the proof that it lives in the TPM of a certified endorsement key.
//!
//! Credential activation convinces whoever made the credential and leaves nothing that a third party could check. So there are
//! two ways to an [`EnrolledAk`], and it remembers which: [`Activation`], which one does oneself, and the [`Enrolment`] that a broker
//! signed after doing it. Either way the certificate chain travels along and is appraised again each time; only the
//! activation itself rests on the signer.

use envelope::{
    Digest, PublicKey,
    statement::{Predicate, Signed, Subject},
    text::Bytes,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::appraise::signed_quote;
use super::credential::{self, MadeCredential};
use crate::{
    AppraisalError, AppraisalPolicy, Tier, TpmEvidence,
    binding::{Binding, Purpose},
    tpm::{AkPublic, EkPublic, TpmName, TpmPublic, endorsement::appraise_endorsement},
};

/// What a machine claims of its keys before anything is proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyClaim {
    /// The attestation key: TPM2B_PUBLIC or TPMT_PUBLIC.
    pub ak_public: Bytes,
    /// The endorsement key: TPM2B_PUBLIC or TPMT_PUBLIC.
    pub ek_public: Bytes,
    /// The endorsement key's certificate, then its issuers below the root; DER.
    pub ek_certificates: Vec<Bytes>,
}

/// A claim that was proved by activation, with the TPM's counters at that time. A broker signs and logs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// The keys.
    pub keys: KeyClaim,
    /// TPMS_CLOCK_INFO.resetCount at enrolment.
    pub reset_count: u32,
    /// TPMS_CLOCK_INFO.restartCount at enrolment.
    pub restart_count: u32,
}

/// An attestation key that is known to live in the TPM of its endorsement key.
#[derive(Debug, Clone, PartialEq)]
pub struct EnrolledAk {
    enrolment: Enrolment,
    ak: AkPublic,
    ek: EkPublic,
    vouching: Vouching,
}

/// On whom the activation rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vouching {
    /// On nobody: the one who appraises did it.
    Activated,
    /// On the broker with this signing key.
    Broker(PublicKey),
}

/// An activation that waits for its answer.
#[derive(Debug)]
pub struct Activation {
    claim: KeyClaim,
    ak: AkPublic,
    ek: EkPublic,
    secret: ActivationSecret,
}

struct ActivationSecret(Zeroizing<[u8; 32]>);

impl Activation {
    /// Checks both keys and the certificate chain (steps 1, 2 and 4) and makes the credential that the TPM must open.
    ///
    /// `secret` and `randomness` are fresh random bytes. With the same arguments the same activation results, so a broker may
    /// derive them from its challenge instead of remembering them.
    ///
    /// # Errors
    /// The step that failed.
    pub fn begin(
        claim: KeyClaim,
        policy: &AppraisalPolicy,
        now: Timestamp,
        secret: Zeroizing<[u8; 32]>,
        randomness: &Zeroizing<[u8; 48]>,
    ) -> Result<(Activation, MadeCredential), AppraisalError> {
        let (ak, ek) = claim.keys()?;
        let tier = appraise_endorsement(&ek, &claim.ek_certificates, policy, now)?;
        if tier < policy.tpm_floor() {
            return Err(AppraisalError::Tier { floor: policy.tpm_floor(), actual: tier });
        }
        Activation::make(claim, ak, ek, secret, randomness)
    }

    /// As [`Activation::begin`] with steps 1 and 2 alone, for a broker that enrols a key before any agreement speaks of it. Such
    /// an enrolment permits nothing: each appraisal makes steps 4 and 5 under its own policy.
    ///
    /// # Errors
    /// The step that failed.
    pub fn begin_unappraised(
        claim: KeyClaim,
        secret: Zeroizing<[u8; 32]>,
        randomness: &Zeroizing<[u8; 48]>,
    ) -> Result<(Activation, MadeCredential), AppraisalError> {
        let (ak, ek) = claim.keys()?;
        Activation::make(claim, ak, ek, secret, randomness)
    }

    fn make(
        claim: KeyClaim,
        ak: AkPublic,
        ek: EkPublic,
        secret: Zeroizing<[u8; 32]>,
        randomness: &Zeroizing<[u8; 48]>,
    ) -> Result<(Activation, MadeCredential), AppraisalError> {
        let made = credential::make(&ek, &ak.public().name(), secret.as_slice(), randomness)
            .map_err(|_| AppraisalError::EndorsementKey)?;
        Ok((Activation { claim, ak, ek, secret: ActivationSecret(secret) }, made))
    }

    /// Compares the answer, and takes the TPM's counters from a quote by the new key that is bound to this exchange
    /// (steps 3, 6, 7 and 8). The caller then appraises the same Evidence in full with the key that is returned.
    ///
    /// # Errors
    /// The step that failed.
    pub fn complete(
        self,
        answer: &[u8],
        evidence: &TpmEvidence,
        binding: &Binding,
    ) -> Result<EnrolledAk, AppraisalError> {
        if !bool::from(self.secret.0.as_slice().ct_eq(answer)) {
            return Err(AppraisalError::NotActivated);
        }
        match binding.purpose() {
            Purpose::WorkerEnrol { ak_name } if *ak_name == self.ak.public().name() => {}
            Purpose::WorkerEnrol { .. } => return Err(AppraisalError::EnrolsAnotherKey),
            Purpose::BrokerDeposit { .. } => {}
            Purpose::WorkerRelease { .. } | Purpose::WorkerRenew { .. } => {
                return Err(AppraisalError::ActivationPurpose);
            }
        }
        let quote = signed_quote(evidence, &self.ak, binding)?;
        let counts = (quote.reset_count, quote.restart_count);
        let enrolment = Enrolment { keys: self.claim, reset_count: counts.0, restart_count: counts.1 };
        Ok(EnrolledAk { enrolment, ak: self.ak, ek: self.ek, vouching: Vouching::Activated })
    }
}

impl EnrolledAk {
    /// Takes an enrolment on the word of the broker that signed it.
    ///
    /// # Errors
    /// Signed by another key than `broker`, or keys that could never have been enrolled.
    pub fn vouched(enrolment: &Signed<Enrolment>, broker: &PublicKey) -> Result<EnrolledAk, AppraisalError> {
        if enrolment.signer() != broker {
            return Err(AppraisalError::EnrolmentSigner);
        }
        let (ak, ek) = enrolment.value().keys.keys()?;
        Ok(EnrolledAk { enrolment: enrolment.value().clone(), ak, ek, vouching: Vouching::Broker(*broker) })
    }

    /// Steps 4 and 5 alone: whether a policy admits the endorsement key at `now`, and on which tier.
    ///
    /// # Errors
    /// The step that failed.
    pub fn admitted_by(&self, policy: &AppraisalPolicy, now: Timestamp) -> Result<Tier, AppraisalError> {
        let tier = appraise_endorsement(&self.ek, &self.enrolment.keys.ek_certificates, policy, now)?;
        if tier < policy.tpm_floor() {
            return Err(AppraisalError::Tier { floor: policy.tpm_floor(), actual: tier });
        }
        Ok(tier)
    }

    /// The enrolment, for a broker to sign.
    pub const fn enrolment(&self) -> &Enrolment {
        &self.enrolment
    }

    /// The attestation key.
    pub const fn ak(&self) -> &AkPublic {
        &self.ak
    }

    /// The endorsement key.
    pub const fn ek(&self) -> &EkPublic {
        &self.ek
    }

    /// On whom the activation rests.
    pub const fn vouching(&self) -> Vouching {
        self.vouching
    }
}

impl KeyClaim {
    /// The name of the attestation key, by which it is enrolled.
    ///
    /// # Errors
    /// If the key cannot be read or is not fit to be one.
    pub fn ak_name(&self) -> Result<TpmName, AppraisalError> {
        Ok(self.keys()?.0.public().name())
    }

    /// The digest of the endorsement key, by which policies list it.
    ///
    /// # Errors
    /// If the key cannot be read or is not fit to be one.
    pub fn ek_digest(&self) -> Result<Digest, AppraisalError> {
        Ok(self.keys()?.1.digest())
    }

    fn keys(&self) -> Result<(AkPublic, EkPublic), AppraisalError> {
        let ak = AkPublic::new(TpmPublic::parse(&self.ak_public.0)?).map_err(AppraisalError::AttestationKey)?;
        let ek = EkPublic::new(TpmPublic::parse(&self.ek_public.0)?).ok_or(AppraisalError::EndorsementKey)?;
        Ok((ak, ek))
    }
}

impl Predicate for Enrolment {
    const TYPE: &'static str = "urn:glovebox:enrolment:v1";

    fn subject(&self) -> Subject {
        Subject { name: "attestation key".to_owned(), digest: Digest::of(&self.keys.ak_public.0) }
    }
}

impl std::fmt::Debug for ActivationSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}
