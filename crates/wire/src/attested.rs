//! A broker whose Evidence passed: what a party needs before it deposits a key, and a worker before it asks for one.
//!
//! In this order, on one connection:
//!
//! 1. the TLS handshake proved the broker's signing key ([`crate::client::Broker::connect`]);
//! 2. its endorsement key's certificate leads to a root of the policy, and its TPM opens a credential that this end made for
//!    its attestation key;
//! 3. its Evidence is bound to this connection, this end's key and a fresh nonce, and passes the policy.
//!
//! [`AttestedBroker`] is the proof that all this happened, and holds the only encapsulation key to which anything is wrapped.
//! Every part of the binding is this end's own view; what the broker says it bound is not used. The broker's log is not compared here:
//! parties compare it with the agreement's, and a worker verifies everything under the agreement's log key anyway.

use attest::{
    AppraisalError, AppraisalPolicy, AttestationResult, Endorsements, Evidence, Verifier,
    binding::{BindingParts, ChannelKeys, Purpose},
    tpm::{self, KeyClaim},
};
use envelope::{
    Digest, PublicKey,
    text::Bytes32,
    wrap::{EncapsulationKey, WrapError, Wrapped},
};
use jiff::Timestamp;
use zeroize::Zeroizing;

use crate::{
    client::{Broker, ClientError},
    messages::{Activated, Activation, BrokerDescription, BrokerEvidence, EvidenceRequest, path},
};

/// A broker whose Evidence passed a policy, on the connection where it did.
#[derive(Debug)]
pub struct AttestedBroker {
    result: AttestationResult,
    ak: Digest,
    encapsulation: EncapsulationKey,
    evidence: Evidence,
    binding: BindingParts,
}

/// Why a broker is not good enough.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The channel, or a refusal by the broker.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It is another broker. Whether its log is the one that was agreed is for the caller, who knows the agreement.
    #[error("the broker describes itself as another one than was agreed")]
    Other,
    /// Its Evidence does not pass.
    #[error(
        "the broker's Evidence was refused\nhint: compare the agreement's `broker` policy with what the broker's operator says it runs"
    )]
    Appraisal(#[source] AppraisalError),
}

impl AttestedBroker {
    /// Appraises the broker at the other end of a connection. `asker` is this end's signing key; `now` decides the validity of
    /// certificates.
    ///
    /// # Errors
    /// [`BrokerError`]; then nothing may be entrusted to it.
    pub async fn appraise(
        connection: &mut Broker,
        description: &BrokerDescription,
        policy: &AppraisalPolicy,
        asker: &PublicKey,
        now: Timestamp,
    ) -> Result<AttestedBroker, BrokerError> {
        if description.key != *connection.key() {
            return Err(BrokerError::Other);
        }
        let claim = KeyClaim {
            ak_public: description.ak_public.clone(),
            ek_public: description.ek_public.clone(),
            ek_certificates: description.ek_chain.clone(),
        };
        let name = claim.ak_name().map_err(BrokerError::Appraisal)?;
        let secret = Zeroizing::new(Bytes32::random().0);
        let (activation, made) =
            tpm::Activation::begin(claim, policy, now, secret, &randomness()).map_err(BrokerError::Appraisal)?;
        let credential = Activation { id_object: made.id_object, encrypted_secret: made.encrypted_secret };
        let answer: Activated = connection.post(path::BROKER_ACTIVATE, &credential).await?;

        let nonce = Bytes32::random();
        let request = EvidenceRequest { nonce, asker: *asker };
        let shown: BrokerEvidence = connection.post(path::BROKER_EVIDENCE, &request).await?;
        let binding = BindingParts {
            purpose: Purpose::BrokerDeposit { party: *asker.as_bytes() },
            keys: ChannelKeys {
                channel: connection.leaf_spki().to_vec(),
                encapsulation: description.encapsulation.as_bytes().to_vec(),
                signing: *description.key.as_bytes(),
            },
            exporter: *connection.exporter(),
            nonce: nonce.0,
        };
        let bound = binding.bind();
        let enrolled =
            activation.complete(&answer.secret.0, shown.evidence.tpm(), &bound).map_err(BrokerError::Appraisal)?;
        let result = Verifier::appraise(&shown.evidence, &Endorsements::tpm(enrolled), &bound, policy, now)
            .map_err(BrokerError::Appraisal)?;
        Ok(AttestedBroker {
            result,
            ak: ak_digest(name.as_bytes()),
            encapsulation: description.encapsulation.clone(),
            evidence: shown.evidence,
            binding,
        })
    }

    /// What the appraisal found.
    pub const fn result(&self) -> &AttestationResult {
        &self.result
    }

    /// The digest in the TPM name of the attestation key that this end activated; consents carry it.
    pub const fn ak(&self) -> &Digest {
        &self.ak
    }

    /// The Evidence that passed, and what it was bound to.
    pub const fn evidence(&self) -> (&Evidence, &BindingParts) {
        (&self.evidence, &self.binding)
    }

    /// Wraps a secret to the encapsulation key that the Evidence was bound to.
    ///
    /// # Errors
    /// As [`EncapsulationKey::wrap`].
    pub fn wrap(&self, secret: &[u8], purpose: &str, context: &[u8]) -> Result<Wrapped, WrapError> {
        self.encapsulation.wrap(secret, purpose, context)
    }
}

/// A TPM name is the hash algorithm's two bytes and the digest (TPM 2.0 Part 1, section 16). A name with another hash than
/// SHA-256 is digested once more, so that a consent always carries 32 bytes.
fn ak_digest(name: &[u8]) -> Digest {
    let digest = name.strip_prefix(&[0x00, 0x0b]).and_then(|digest| <[u8; 32]>::try_from(digest).ok());
    digest.map_or_else(|| Digest::of(name), Digest::from_bytes)
}

fn randomness() -> Zeroizing<[u8; 48]> {
    let mut bytes = Zeroizing::new([0; 48]);
    let (one, two) = (Bytes32::random().0, Bytes32::random().0);
    bytes.iter_mut().zip(one.iter().chain(&two)).for_each(|(to, from)| *to = *from);
    bytes
}
