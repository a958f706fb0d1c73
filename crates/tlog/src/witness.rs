//! Witnesses: who must have seen a head before it counts.
//!
//! A log alone can show different trees to different readers, or an old tree after a restore. A witness keeps the last head
//! it saw and cosigns only larger, consistent ones; k of them together make a rollback visible. A policy lists witnesses
//! by key and says how many are needed. k may be 0: then nothing is claimed, and the result says so in a type
//! ([`Rollback::NotWitnessed`]) and in words.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{LogKey, TlogError, WitnessKey};

/// How many of which witnesses must have cosigned a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Parts", try_from = "Parts")]
pub struct WitnessPolicy {
    k: usize,
    witnesses: Vec<WitnessKey>,
}

/// What a checkpoint proves about rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rollback {
    /// The policy asks for no witness; a restored snapshot of the whole log would not be noticed by a newcomer.
    NotWitnessed,
    /// So many distinct witnesses of the policy cosigned this very head.
    Witnessed(usize),
}

/// A witness's valid cosignature on a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigned {
    pub(crate) witness: String,
    pub(crate) time: u64,
}

impl WitnessPolicy {
    /// A policy that needs `k` of `witnesses`. Refuses `k` above their number, and one key or name listed twice, since the
    /// Ed25519 cosignature does not commit to a name.
    pub fn new(k: usize, witnesses: Vec<WitnessKey>) -> Result<Self, TlogError> {
        if k > witnesses.len() {
            return Err(TlogError::UnsatisfiablePolicy { needed: k, listed: witnesses.len() });
        }
        for (position, witness) in witnesses.iter().enumerate() {
            let same = |other: &&WitnessKey| other.public() == witness.public() || other.name() == witness.name();
            if let Some(other) = witnesses.iter().take(position).find(same) {
                return Err(TlogError::DuplicateWitness(other.name().to_owned()));
            }
        }
        Ok(Self { k, witnesses })
    }

    /// The policy that asks for nobody.
    pub fn none() -> Self {
        Self { k: 0, witnesses: Vec::new() }
    }

    /// How many witnesses are needed.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The witnesses, as listed.
    pub fn witnesses(&self) -> &[WitnessKey] {
        &self.witnesses
    }

    /// Counts the distinct listed witnesses among `signatures` on `text`. A line that carries a listed key and does not
    /// verify refuses the whole note (C2SP signed-note); lines of unknown keys are ignored.
    pub(crate) fn check(
        &self,
        log: &LogKey,
        text: &[u8],
        signatures: &[signed_note::Signature],
    ) -> Result<Vec<Cosigned>, TlogError> {
        let mut cosigned = Vec::new();
        for witness in &self.witnesses {
            if witness.public() == log.public() {
                return Err(TlogError::LogAsWitness(witness.name().to_owned()));
            }
            let mut time = None;
            for line in signatures.iter().filter(|line| line.name() == witness.name() && line.id() == witness.id()) {
                let at = witness
                    .cosigned_at(text, line.signature())
                    .ok_or_else(|| TlogError::BadSignature(witness.name().to_owned()))?;
                time = time.max(Some(at));
            }
            if let Some(time) = time {
                cosigned.push(Cosigned { witness: witness.name().to_owned(), time });
            }
        }
        if cosigned.len() < self.k {
            return Err(TlogError::TooFewWitnesses { needed: self.k, found: cosigned.len() });
        }
        Ok(cosigned)
    }
}

impl Cosigned {
    /// The witness's name.
    pub fn witness(&self) -> &str {
        &self.witness
    }

    /// When the witness says it cosigned, in seconds since 1970; the latest of several. Not judged here.
    pub fn time(&self) -> u64 {
        self.time
    }
}

impl fmt::Display for Rollback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotWitnessed => f.write_str("not witnessed"),
            Self::Witnessed(count) => write!(f, "witnessed by {count}"),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    k: usize,
    witnesses: Vec<WitnessKey>,
}

impl From<WitnessPolicy> for Parts {
    fn from(policy: WitnessPolicy) -> Self {
        Self { k: policy.k, witnesses: policy.witnesses }
    }
}

impl TryFrom<Parts> for WitnessPolicy {
    type Error = TlogError;

    fn try_from(parts: Parts) -> Result<Self, TlogError> {
        Self::new(parts.k, parts.witnesses)
    }
}
