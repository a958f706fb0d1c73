//! A party's conversation with its broker.
//!
//! Whoever deposits a key first appraises the broker on the same connection ([`wire::attested`] has the steps, which workers take
//! too); beside that, the broker's log must be the one that the agreement names.
//!
//! [`Attested`] is the proof that all this happened; it holds the only encapsulation key to which anything is wrapped, and it
//! ends with the connection. Deliberately absent: a deposit without it.

use attest::{AppraisalError, AppraisalPolicy, AttestationResult};
use envelope::{
    Digest,
    statement::{Addressed, Predicate, Signed, StatementError},
    text::Bytes32,
    wrap::{WrapError, Wrapped},
};
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;
use wire::{
    attested::{AttestedBroker, BrokerError},
    client::{Broker, ClientError},
    messages::{BrokerDescription, path},
};

use crate::{home::BrokerAddress, output, wallet::Wallet};

/// A connection on which the broker's key is known and its machine is not.
pub(crate) struct Room {
    broker: Broker,
    description: BrokerDescription,
}

/// A connection to a broker whose Evidence passed the policy.
pub(crate) struct Attested {
    room: Room,
    proven: AttestedBroker,
}

/// Why the broker could not be reached or was not good enough.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoomError {
    /// The channel, or a refusal.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Its Evidence does not pass. Nothing was deposited.
    #[error(
        "the broker's Evidence was refused; no key was deposited\nhint: compare the agreement's `broker` policy with what the broker's operator says it runs"
    )]
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
}

impl From<BrokerError> for RoomError {
    fn from(error: BrokerError) -> RoomError {
        match error {
            BrokerError::Client(error) => RoomError::Client(error),
            BrokerError::Appraisal(error) => RoomError::Appraisal(error),
            BrokerError::Other => RoomError::Client(ClientError::Answer("it describes another broker".to_owned())),
        }
    }
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
    pub(crate) async fn find<A: DeserializeOwned>(
        &mut self,
        path: &str,
        wallet: &Wallet,
    ) -> Result<Option<A>, RoomError> {
        match self.read(path, wallet).await {
            Ok(found) => Ok(Some(found)),
            Err(RoomError::Client(ClientError::Refused(problem))) if problem.code == wire::Code::NotFound.as_str() => {
                Ok(None)
            }
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
    pub(crate) async fn post<T, A: DeserializeOwned>(
        &mut self,
        path: &str,
        statement: &Signed<T>,
    ) -> Result<A, RoomError> {
        Ok(self.broker.post(path, statement.envelope()).await?)
    }

    /// Posts a statement that somebody signed.
    pub(crate) async fn forward<A: DeserializeOwned>(
        &mut self,
        path: &str,
        statement: &envelope::statement::Envelope,
    ) -> Result<A, RoomError> {
        Ok(self.broker.post(path, statement).await?)
    }

    /// Appraises the broker for this party under a policy.
    pub(crate) async fn appraise(
        mut self,
        wallet: &Wallet,
        policy: &AppraisalPolicy,
        log: &str,
    ) -> Result<Attested, RoomError> {
        if self.description.log != log {
            return Err(RoomError::OtherLog { expected: log.to_owned(), found: self.description.log });
        }
        let now = Timestamp::now();
        let proven = AttestedBroker::appraise(&mut self.broker, &self.description, policy, wallet.key(), now).await?;
        Ok(Attested { room: self, proven })
    }
}

impl Attested {
    /// The connection.
    pub(crate) fn room(&mut self) -> &mut Room {
        &mut self.room
    }

    /// What the appraisal found.
    pub(crate) const fn result(&self) -> &AttestationResult {
        self.proven.result()
    }

    /// The digest in the TPM name of the attestation key that this party activated.
    pub(crate) const fn ak(&self) -> Digest {
        *self.proven.ak()
    }

    /// Wraps a secret to the encapsulation key that the Evidence was bound to.
    pub(crate) fn wrap(&self, secret: &[u8], purpose: &str, context: &[u8]) -> Result<Wrapped, RoomError> {
        Ok(self.proven.wrap(secret, purpose, context)?)
    }
}

/// Addresses a statement to a broker, for [`VALID`] from now.
pub(crate) fn address<T>(
    body: T,
    audience: &envelope::PublicKey,
    wallet: &Wallet,
) -> Result<Signed<Addressed<T>>, StatementError>
where
    Addressed<T>: Predicate,
{
    let addressed =
        Addressed { audience: *audience, nonce: Bytes32::random(), expires: Timestamp::now() + VALID, body };
    Signed::sign(addressed, wallet.signing())
}

/// How long a statement may be on its way; the broker admits ten minutes.
const VALID: SignedDuration = SignedDuration::from_secs(9 * 60);

/// Seconds by which clocks may differ before the user is told.
const CLOCK_TOLERANCE: i64 = 30;
