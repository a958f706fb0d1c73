//! A party's conversation with its broker.
//!
//! Whoever deposits a key first appraises the broker, in this order and on the same connection:
//!
//! 1. the TLS handshake proves the broker's signing key (the agreement names it);
//! 2. its endorsement key's certificate leads to a root of the agreement's policy, and its TPM opens a credential that this
//!    party made for its attestation key;
//! 3. its Evidence is bound to this connection, this party and a fresh nonce, and passes the agreement's policy.
//!
//! [`Attested`] is the proof that all this happened; it holds the only encapsulation key to which anything is wrapped, and it
//! ends with the connection. Deliberately absent: a deposit without it.

use attest::{
    AppraisalError, AppraisalPolicy, AttestationResult, Endorsements, Evidence, Verifier,
    binding::{BindingParts, ChannelKeys, Purpose},
    tpm::{self, KeyClaim},
};
use envelope::{
    Digest,
    statement::{Addressed, Predicate, Signed, StatementError},
    text::Bytes32,
    wrap::{EncapsulationKey, WrapError, Wrapped},
};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use wire::{
    client::{Broker, ClientError},
    messages::{Activated, Activation, BrokerDescription, BrokerEvidence, EvidenceRequest, path},
};
use zeroize::Zeroizing;

use crate::{home::BrokerAddress, output, wallet::Wallet};

/// A connection on which the broker's key is known and its machine is not.
pub(crate) struct Room {
    broker: Broker,
    description: BrokerDescription,
}

/// A connection to a broker whose Evidence passed the policy.
pub(crate) struct Attested {
    room: Room,
    result: AttestationResult,
    ak: Digest,
}

/// Why the broker could not be reached or was not good enough.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoomError {
    /// The channel, or a refusal.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Its Evidence does not pass. Nothing was deposited.
    #[error("the broker's Evidence was refused; no key was deposited\nhint: compare the agreement's `broker` policy with what the broker's operator says it runs")]
    Appraisal(#[source] AppraisalError),
    /// Its log is not the one that the agreement names.
    #[error("the broker's log is `{found}`, the agreement names `{expected}`")]
    OtherLog {
        /// The agreement's.
        expected: String,
        /// The broker's.
        found: String,
    },
    /// A statement could not be signed.
    #[error("the statement could not be signed")]
    Statement(#[from] StatementError),
    /// A key could not be wrapped.
    #[error(transparent)]
    Wrap(#[from] WrapError),
    /// No randomness.
    #[error("the system's random generator failed: {0}")]
    Random(String),
}

impl Room {
    /// Connects, and asks the broker who it is. A clock that is off is told, since everything that is signed has a time.
    pub(crate) async fn enter(address: &BrokerAddress) -> Result<Room, RoomError> {
        let mut broker = Broker::connect(&address.address, &address.key, None).await?;
        let description: BrokerDescription = broker.get(path::BROKER, None).await?;
        if description.key != address.key {
            return Err(ClientError::Answer("it describes another broker".to_owned()).into());
        }
        let off = description.time.duration_since(Timestamp::now()).as_secs();
        if off.abs() > CLOCK_TOLERANCE {
            output::warn(format!(
                "this machine's clock and the broker's differ by {} seconds; the broker refuses what is signed more than a minute off",
                off.abs()
            ));
        }
        Ok(Room { broker, description })
    }

    /// Who it says it is.
    pub(crate) const fn description(&self) -> &BrokerDescription {
        &self.description
    }

    /// Reads a document as this party.
    pub(crate) async fn read<A: DeserializeOwned>(&mut self, path: &str, wallet: &Wallet) -> Result<A, RoomError> {
        Ok(self.broker.get(path, Some((wallet.signing(), Timestamp::now()))).await?)
    }

    /// Reads a document that the broker may not have for this party.
    pub(crate) async fn find<A: DeserializeOwned>(&mut self, path: &str, wallet: &Wallet) -> Result<Option<A>, RoomError> {
        match self.read(path, wallet).await {
            Ok(found) => Ok(Some(found)),
            Err(RoomError::Client(ClientError::Refused(problem))) if problem.code == wire::Code::NotFound.as_str() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads bytes as this party.
    pub(crate) async fn bytes(&mut self, path: &str, wallet: &Wallet) -> Result<Vec<u8>, RoomError> {
        Ok(self.broker.get_bytes(path, Some((wallet.signing(), Timestamp::now()))).await?.to_vec())
    }

    /// Reads a document that anyone may read.
    pub(crate) async fn public<A: DeserializeOwned>(&mut self, path: &str) -> Result<A, RoomError> {
        Ok(self.broker.get(path, None).await?)
    }

    /// Reads bytes that anyone may read.
    pub(crate) async fn public_bytes(&mut self, path: &str) -> Result<Vec<u8>, RoomError> {
        Ok(self.broker.get_bytes(path, None).await?.to_vec())
    }

    /// Addresses a statement to this broker and signs it.
    pub(crate) fn sign<T>(&self, body: T, wallet: &Wallet) -> Result<Signed<Addressed<T>>, RoomError>
    where
        Addressed<T>: Predicate,
    {
        Ok(address(body, &self.description.key, wallet)?)
    }

    /// Posts a signed statement.
    pub(crate) async fn post<T, A: DeserializeOwned>(&mut self, path: &str, statement: &Signed<T>) -> Result<A, RoomError> {
        Ok(self.broker.post(path, statement.envelope()).await?)
    }

    /// Posts a statement that somebody signed.
    pub(crate) async fn forward<A: DeserializeOwned>(&mut self, path: &str, statement: &envelope::statement::Envelope) -> Result<A, RoomError> {
        Ok(self.broker.post(path, statement).await?)
    }

    /// Appraises the broker for this party under a policy.
    pub(crate) async fn appraise(mut self, wallet: &Wallet, policy: &AppraisalPolicy, log: &str) -> Result<Attested, RoomError> {
        if self.description.log != log {
            return Err(RoomError::OtherLog { expected: log.to_owned(), found: self.description.log });
        }
        let claim = KeyClaim {
            ak_public: self.description.ak_public.clone(),
            ek_public: self.description.ek_public.clone(),
            ek_certificates: self.description.ek_chain.clone(),
        };
        let now = Timestamp::now();
        let name = claim.ak_name().map_err(RoomError::Appraisal)?;
        let (activation, credential) =
            tpm::Activation::begin(claim, policy, now, random()?, &random()?).map_err(RoomError::Appraisal)?;
        let credential = Activation { id_object: credential.id_object, encrypted_secret: credential.encrypted_secret };
        let answer: Activated = self.broker.post(path::BROKER_ACTIVATE, &credential).await?;

        let nonce = Bytes32::random();
        let request = EvidenceRequest { nonce, asker: *wallet.key() };
        let shown: BrokerEvidence = self.broker.post(path::BROKER_EVIDENCE, &request).await?;
        // Every part is this end's own view; what the broker says it bound is not used.
        let binding = BindingParts {
            purpose: Purpose::BrokerDeposit { party: *wallet.key().as_bytes() },
            keys: ChannelKeys {
                channel: self.broker.leaf_spki().to_vec(),
                encapsulation: self.description.encapsulation.as_bytes().to_vec(),
                signing: *self.description.key.as_bytes(),
            },
            exporter: *self.broker.exporter(),
            nonce: nonce.0,
        }
        .bind();
        let Evidence::Tpm(evidence) = &shown.evidence;
        let enrolled = activation.complete(&answer.secret.0, evidence, &binding).map_err(RoomError::Appraisal)?;
        let endorsements = Endorsements::tpm(enrolled);
        let result = Verifier::appraise(&shown.evidence, &endorsements, &binding, policy, Timestamp::now())
            .map_err(RoomError::Appraisal)?;
        let ak = digest_of_name(name.as_bytes());
        Ok(Attested { room: self, result, ak })
    }
}

impl Attested {
    /// The connection.
    pub(crate) fn room(&mut self) -> &mut Room {
        &mut self.room
    }

    /// What the appraisal found.
    pub(crate) const fn result(&self) -> &AttestationResult {
        &self.result
    }

    /// The digest in the TPM name of the attestation key that this party activated.
    pub(crate) const fn ak(&self) -> Digest {
        self.ak
    }

    /// Wraps a secret to the encapsulation key that the Evidence was bound to.
    pub(crate) fn wrap(&self, secret: &[u8], purpose: &str, context: &[u8]) -> Result<Wrapped, RoomError> {
        let key: &EncapsulationKey = &self.room.description.encapsulation;
        Ok(key.wrap(secret, purpose, context)?)
    }
}

/// Addresses a statement to a broker, for [`VALID`] from now.
pub(crate) fn address<T>(body: T, audience: &envelope::PublicKey, wallet: &Wallet) -> Result<Signed<Addressed<T>>, StatementError>
where
    Addressed<T>: Predicate,
{
    let addressed = Addressed { audience: *audience, nonce: Bytes32::random(), expires: Timestamp::now() + VALID, body };
    Signed::sign(addressed, wallet.signing())
}

/// TPM names are the algorithm's two bytes and the digest (TPM 2.0 Part 1, section 16). Names with another hash than SHA-256
/// are digested, so that a consent always has 32 bytes.
fn digest_of_name(name: &[u8]) -> Digest {
    let digest = name.strip_prefix(&[0x00, 0x0b]).and_then(|digest| <[u8; 32]>::try_from(digest).ok());
    digest.map_or_else(|| Digest::of(name), Digest::from_bytes)
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, RoomError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut()).map_err(|error| RoomError::Random(error.to_string()))?;
    Ok(bytes)
}

/// How long a statement may be on its way; the broker admits ten minutes.
const VALID: SignedDuration = SignedDuration::from_secs(9 * 60);

/// Seconds by which clocks may differ before the user is told.
const CLOCK_TOLERANCE: i64 = 30;
