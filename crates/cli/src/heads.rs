//! The last head that this party saw of each broker's log.
//!
//! Whenever a party talks to its broker it looks at the log's head and compares it with the one it remembers: a smaller tree,
//! another tree of the same size, or a larger one that is not shown to contain the old one is refused, and the old head stays.
//! The first head of a log is taken as it is, unless its log key or witnesses do not fit the agreement.

use agreement::documents::{Agreement, WitnessTerms};
use tlog::{
    ConsistencyProof, Head, LogKey, SignedCheckpoint, TlogError, VerifiedCheckpoint, WitnessKey, WitnessPolicy,
};
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
    #[error(
        "the broker's log was refused\nhint: keep this output, compare heads with the other parties, and do not deposit keys with this broker"
    )]
    Refused(#[source] TlogError),
    /// It grew faster than two heads could be compared.
    #[error("the broker's log grows too fast to be looked at\nhint: try again")]
    Busy,
    /// The key or the witnesses in the agreement mean nothing.
    #[error("the agreement's log key or witnesses cannot be read")]
    Terms(#[source] TlogError),
}

impl Watched {
    /// The log of an agreement's broker.
    pub(crate) fn of(agreement: &Agreement) -> Result<Watched, LogFault> {
        let WitnessTerms { required, keys } = &agreement.witnesses;
        let witnesses =
            keys.iter().map(|key| key.parse()).collect::<Result<Vec<WitnessKey>, _>>().map_err(LogFault::Terms)?;
        let required = usize::try_from(*required).unwrap_or(usize::MAX);
        let policy = WitnessPolicy::new(required, witnesses).map_err(LogFault::Terms)?;
        Ok(Watched { key: agreement.broker.log.parse().map_err(LogFault::Terms)?, policy })
    }

    /// Fetches the log's head, compares it with the remembered one, and remembers it.
    pub(crate) async fn look(&self, room: &mut Room, home: &Home) -> Result<VerifiedCheckpoint, CliError> {
        let bytes = room.public_bytes(path::LOG_CHECKPOINT).await?;
        let offered = self.verify(&bytes)?;
        let head = match self.remembered(home)? {
            None => Head::first(offered),
            Some(known) if offered.size() > known.checkpoint().size() => self.grown(&known, offered, room).await?,
            // The same, or one of the three refusals.
            Some(known) => known.advance(offered, &nothing()?).map_err(LogFault::Refused)?,
        };
        self.remember(head.checkpoint(), home)?;
        Ok(head.checkpoint().clone())
    }

    /// Checks a head that came with something else against the newest head, which is remembered.
    pub(crate) async fn place(
        &self,
        bytes: &[u8],
        room: &mut Room,
        home: &Home,
    ) -> Result<VerifiedCheckpoint, CliError> {
        let offered = self.verify(bytes)?;
        for _ in 0..ATTEMPTS {
            let newest = self.look(room, home).await?;
            let reached = if offered.size() < newest.size() {
                self.grown(&Head::first(offered.clone()), newest.clone(), room).await?
            } else {
                Head::first(newest.clone()).advance(offered.clone(), &nothing()?).map_err(LogFault::Refused)?
            };
            // The log may have grown between the two questions; then they are asked again.
            if reached.checkpoint().size() == newest.size() {
                Head::first(newest).advance(reached.checkpoint().clone(), &nothing()?).map_err(LogFault::Refused)?;
                return Ok(offered);
            }
        }
        Err(LogFault::Busy.into())
    }

    /// Moves from a head to the newest one, by the broker's proof. `offered` is what it must at least reach.
    async fn grown(&self, known: &Head, offered: VerifiedCheckpoint, room: &mut Room) -> Result<Head, CliError> {
        let from = known.checkpoint().size();
        if from == 0 {
            return Ok(known.advance(offered, &nothing()?).map_err(LogFault::Refused)?);
        }
        let path = format!("{}?from={from}&to={}", path::LOG_CONSISTENCY, offered.size());
        let answer: Consistency = room.public(&path).await?;
        let newest = self.verify(answer.checkpoint.as_bytes())?;
        if newest.size() < offered.size() {
            let refused = TlogError::Shrunk { known: offered.size(), offered: newest.size() };
            return Err(LogFault::Refused(refused).into());
        }
        Ok(known.advance(newest, &answer.proof).map_err(LogFault::Refused)?)
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

fn nothing() -> Result<ConsistencyProof, LogFault> {
    ConsistencyProof::new(Vec::new()).map_err(LogFault::Refused)
}

/// How often two heads are asked for before giving up.
const ATTEMPTS: usize = 5;
