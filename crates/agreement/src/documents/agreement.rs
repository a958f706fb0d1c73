//! The agreement: an immutable document, named by its digest, that all parties read and consent to.

use std::collections::{BTreeMap, BTreeSet};

use attest::AppraisalPolicy;
use envelope::{Digest, PublicKey, canonical};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Identity, SeriesId};

/// Who may compute what, from which columns, for whom, where, until when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// A name for people, a lower-case identifier.
    pub name: String,
    /// Why, in the parties' own words; shown at consent.
    pub purpose: String,
    /// Local names of the parties and their identities. Every one must consent.
    pub parties: BTreeMap<String, PartyTerms>,
    /// By the table name that computations use.
    pub datasets: BTreeMap<String, DatasetTerms>,
    /// By name.
    pub computations: BTreeMap<String, Computation>,
    /// The broker that may hold the keys, and what its own Evidence must show.
    pub broker: BrokerTerms,
    /// What a worker's Evidence must show.
    pub workers: AppraisalPolicy,
    /// Whose cosignatures a checkpoint needs.
    pub witnesses: WitnessTerms,
    /// When results leave and how long keys live.
    pub release: ReleaseTerms,
    /// No run starts and no lease is renewed after this.
    pub expires: Timestamp,
    /// The agreement that this one replaces.
    pub predecessor: Option<Digest>,
}

/// A party to an agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartyTerms {
    /// Signing key and recipient, vouched for.
    pub identity: Identity,
}

/// A dataset in an agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetTerms {
    /// The local name of the party that owns it.
    pub owner: String,
    /// Which version or versions.
    pub source: DatasetSource,
}

/// One version, or all versions of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum DatasetSource {
    /// The statement digest of one manifest.
    Version(Digest),
    /// Any version of this series that the owner has deposited.
    Series(SeriesId),
}

/// A computation that the parties admit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Computation {
    /// What runs it.
    pub engine: Engine,
    /// The program: here the SQL text, so that whoever consents has read it.
    pub text: String,
    /// The columns that `check` derived, by dataset. No key of any other column is released for it.
    pub columns: BTreeMap<String, BTreeSet<String>>,
    /// Local names of the parties that the result is sealed to. Nobody else can open it, whoever asks for the run.
    pub recipients: BTreeSet<String>,
    /// What a run costs each dataset's privacy budget.
    pub charge: Charge,
}

/// The engine of a computation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// SQL under the column rules.
    Sql,
}

/// A privacy charge. Thresholds alone cost nothing; differential privacy has its place here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Charge {
    /// Protected by thresholds; no budget is spent.
    Thresholds {},
}

/// The broker in an agreement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BrokerTerms {
    /// Its signing key: the audience of every statement to it and the authority over its channel.
    pub key: PublicKey,
    /// Its log's verifier key (C2SP signed note: name, id, key).
    pub log: String,
    /// Where it listens: `host:port`. A hint: identity is the key.
    pub address: String,
    /// What its Evidence must show before any party deposits a key.
    pub policy: AppraisalPolicy,
}

/// The witness policy of an agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WitnessTerms {
    /// How many cosignatures a checkpoint needs. With 0, receipts say `rollback: not witnessed`.
    pub required: u32,
    /// The witnesses' verifier keys (C2SP signed note).
    pub keys: Vec<String>,
}

/// When results leave and how long keys live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseTerms {
    /// Results leave at multiples of this many milliseconds after the run began, so that duration tells little. At least 1.
    pub tick_ms: u32,
    /// A released key lives this many seconds unless its worker attests again. At least 1.
    pub lease_seconds: u32,
    /// The largest result in bytes, before padding.
    pub max_result_bytes: u64,
}

impl Agreement {
    /// The agreement's name.
    ///
    /// # Errors
    /// Only if it cannot be written as canonical JSON.
    pub fn digest(&self) -> Result<Digest, canonical::CanonicalError> {
        canonical::digest(self)
    }
}

impl Computation {
    /// The computation's name: engine and text.
    pub fn digest(&self) -> Digest {
        let engine = match self.engine {
            Engine::Sql => "sql",
        };
        Digest::of_parts("glovebox computation v1", &[engine.as_bytes(), self.text.as_bytes()])
    }
}
