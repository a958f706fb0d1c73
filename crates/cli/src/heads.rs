//! The last head that this party saw of each broker's log.
//!
//! Whenever a party talks to its broker it looks at the log's head and compares it with the one it remembers: a smaller tree,
//! another tree of the same size, or a larger one that is not shown to contain the old one is refused, and the old head stays.
//! The first head of a log is taken as it is, unless its log key or witnesses do not fit the agreement.

use agreement::documents::{Agreement, WitnessTerms};
use tlog::{ConsistencyProof, Head, LogKey, SignedCheckpoint, TlogError, VerifiedCheckpoint, WitnessKey, WitnessPolicy};
use wire::messages::{Consistency, path};

use crate::{
    exit::CliError,
    files::{self, Readers, Taken},
    home::Home,
    room::Room,
};

/// A log that this party watches: its key, and whose cosignatures its heads need.
pub(crate) struct Watched {
    key: LogKey,
    policy: WitnessPolicy,
}

/// Why a log is not believed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogFault {
    /// The head or a proof was refused.
    #[error("the broker's log was refused\nhint: keep this output, compare heads with the other parties, and do not deposit keys with this broker")]
    Refused(#[source] TlogError),
    /// The key or the witnesses in the agreement mean nothing.
    #[error("the agreement's log key or witnesses cannot be read")]
    Terms(#[source] TlogError),
}

impl Watched {
    /// The log of an agreement's broker.
    pub(crate) fn of(agreement: &Agreement) -> Result<Watched, LogFault> {
        let WitnessTerms { required, keys } = &agreement.witnesses;
        let witnesses = keys.iter().map(|key| key.parse()).collect::<Result<Vec<WitnessKey>, _>>().map_err(LogFault::Terms)?;
        let required = usize::try_from(*required).unwrap_or(usize::MAX);
        let policy = WitnessPolicy::new(required, witnesses).map_err(LogFault::Terms)?;
        Ok(Watched { key: agreement.broker.log.parse().map_err(LogFault::Terms)?, policy })
    }

    /// Fetches the log's head, compares it with the remembered one, and remembers it.
    pub(crate) async fn look(&self, room: &mut Room, home: &Home) -> Result<VerifiedCheckpoint, CliError> {
        let bytes = room.public_bytes(path::LOG_CHECKPOINT).await?;
        self.follow(&bytes, room, home).await
    }

    /// Compares a head that came with something else, and remembers it. A head older than the remembered one must be shown to
    /// lead to it.
    pub(crate) async fn follow(&self, bytes: &[u8], room: &mut Room, home: &Home) -> Result<VerifiedCheckpoint, CliError> {
        let offered = self.verify(bytes)?;
        let Some(known) = self.remembered(home)? else {
            self.remember(&offered, home)?;
            return Ok(offered);
        };
        let (from, to) = (known.checkpoint().size(), offered.size());
        let proof = if from == 0 || to <= from {
            ConsistencyProof::new(Vec::new()).map_err(LogFault::Refused)?
        } else {
            let path = format!("{}?from={from}&to={to}", path::LOG_CONSISTENCY);
            let answer: Consistency = room.public(&path).await?;
            answer.proof
        };
        let head = known.advance(offered, &proof).map_err(LogFault::Refused)?;
        self.remember(head.checkpoint(), home)?;
        Ok(head.checkpoint().clone())
    }

    fn verify(&self, bytes: &[u8]) -> Result<VerifiedCheckpoint, LogFault> {
        SignedCheckpoint::verify(bytes, &self.key, &self.policy).map_err(LogFault::Refused)
    }

    /// The remembered head. It was verified under the policy of its time, so only the log's own signature is asked for again.
    fn remembered(&self, home: &Home) -> Result<Option<Head>, CliError> {
        let path = home.head_file(&self.key.to_string());
        if !path.exists() {
            return Ok(None);
        }
        let bytes = files::read(&path)?;
        let head = SignedCheckpoint::verify(&bytes, &self.key, &WitnessPolicy::none()).map_err(LogFault::Refused)?;
        Ok(Some(Head::first(head)))
    }

    fn remember(&self, head: &VerifiedCheckpoint, home: &Home) -> Result<(), CliError> {
        let path = home.head_file(&self.key.to_string());
        Ok(files::write(&path, head.as_bytes(), Readers::Everyone, Taken::Replace)?)
    }
}
