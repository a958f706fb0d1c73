//! Proofs: this record is in that head, and that head extends the one I know.
//!
//! Both are lists of at most 63 hashes, which is more than any tree of 64-bit size that could exist needs. A proof by
//! itself says nothing; [`Included`] and [`Head`] are what a successful check returns, and the only way to get one.

use std::fmt;
use std::marker::PhantomData;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::{Opening, Record, Rollback, TlogError, TreeHash, VerifiedCheckpoint};

/// The most hashes in a proof.
pub const MAX_PROOF_LINES: usize = 63;

/// The audit path of one entry, from its sibling up to the root's child (RFC 6962, section 2.1.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "InclusionParts", try_from = "InclusionParts")]
pub struct InclusionProof {
    index: u64,
    path: Vec<TreeHash>,
}

/// The hashes that show one tree to be a prefix of another (RFC 6962, section 2.1.2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<TreeHash>", try_from = "Vec<TreeHash>")]
pub struct ConsistencyProof(Vec<TreeHash>);

/// A record that is in a verified head of a log. `T` names the type of record once [`Included::resolve`] has compared it.
pub struct Included<T = Opening> {
    opening: Opening,
    index: u64,
    size: u64,
    rollback: Rollback,
    record: PhantomData<fn() -> T>,
}

/// The last head of one log that somebody saw. It only moves forward, and never to another tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head(VerifiedCheckpoint);

/// A file that proves inclusion offline (C2SP tlog-proof): proof, signed checkpoint and unauthenticated extra data, none of it
/// checked yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogProof {
    /// Data that helps to rebuild the entry. Not authenticated by the proof.
    pub extra: Option<Vec<u8>>,
    /// Where the entry is.
    pub inclusion: InclusionProof,
    /// The signed note.
    pub checkpoint: Vec<u8>,
}

impl InclusionProof {
    /// A path of at most [`MAX_PROOF_LINES`] hashes for entry `index`.
    pub fn new(index: u64, path: Vec<TreeHash>) -> Result<Self, TlogError> {
        Ok(Self { index, path: bounded(path)? })
    }

    /// The entry's index.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The hashes, from the entry's sibling upwards.
    pub fn path(&self) -> &[TreeHash] {
        &self.path
    }
}

impl ConsistencyProof {
    /// At most [`MAX_PROOF_LINES`] hashes.
    pub fn new(path: Vec<TreeHash>) -> Result<Self, TlogError> {
        bounded(path).map(Self)
    }

    /// The hashes.
    pub fn path(&self) -> &[TreeHash] {
        &self.0
    }
}

impl Included {
    /// Checks that the entry which `opening` discloses stands at the proof's index in the checkpoint's tree.
    pub fn check(opening: Opening, proof: &InclusionProof, head: &VerifiedCheckpoint) -> Result<Self, TlogError> {
        if proof.index >= head.size() {
            return Err(TlogError::OutsideTree { index: proof.index, size: head.size() });
        }
        let path = proof.path.iter().map(|hash| hash.inner()).collect();
        let leaf = opening.commitment().leaf_hash();
        tlog_tiles::check_record(&path, head.size(), head.root().inner(), proof.index, leaf.inner())
            .map_err(|_| TlogError::NotIncluded)?;
        Ok(Self { opening, index: proof.index, size: head.size(), rollback: head.rollback(), record: PhantomData })
    }

    /// Compares the opening with the record that it is said to disclose: kind and digest.
    pub fn resolve<T: Record>(self, record: &T) -> Result<Included<T>, TlogError> {
        if self.opening.kind != T::KIND {
            return Err(TlogError::OtherKind { expected: T::KIND, found: self.opening.kind });
        }
        if self.opening.record != record.digest() {
            return Err(TlogError::OtherRecord);
        }
        let Self { opening, index, size, rollback, .. } = self;
        Ok(Included { opening, index, size, rollback, record: PhantomData })
    }
}

impl<T> Included<T> {
    /// The disclosed entry.
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The entry's index in the log.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The size of the tree in which it was found.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What the head proves about rollback.
    pub fn rollback(&self) -> Rollback {
        self.rollback
    }
}

impl<T> Clone for Included<T> {
    fn clone(&self) -> Self {
        Self {
            opening: self.opening.clone(),
            index: self.index,
            size: self.size,
            rollback: self.rollback,
            record: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Included<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Included({} at {} of {})", self.opening.kind, self.index, self.size)
    }
}

impl Head {
    /// The first head of a log that somebody sees: trusted on first use, or since the party pinned it.
    pub fn first(checkpoint: VerifiedCheckpoint) -> Self {
        Self(checkpoint)
    }

    /// Moves to `new`, which must be of the same log and at least as large, and must contain the known tree.
    pub fn advance(&self, new: VerifiedCheckpoint, proof: &ConsistencyProof) -> Result<Self, TlogError> {
        let known = &self.0;
        if known.log() != new.log() {
            return Err(TlogError::OtherLog { expected: known.log().to_string(), found: new.log().to_string() });
        }
        let (from, to) = (known.size(), new.size());
        if to < from {
            return Err(TlogError::Shrunk { known: from, offered: to });
        }
        if to == from && known.root() != new.root() {
            return Err(TlogError::Forked(from));
        }
        let refused = TlogError::NotConsistent { from, to };
        if from == 0 || to == from {
            return if proof.0.is_empty() { Ok(Self(new)) } else { Err(refused) };
        }
        let path = proof.0.iter().map(|hash| hash.inner()).collect();
        tlog_tiles::check_tree(&path, to, new.root().inner(), from, known.root().inner()).map_err(|_| refused)?;
        Ok(Self(new))
    }

    /// The head itself. Keep its bytes, and verify them again to get this back.
    pub fn checkpoint(&self) -> &VerifiedCheckpoint {
        &self.0
    }
}

impl LogProof {
    /// Writes the file.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = format!("{PROOF_HEADER}\n");
        if let Some(extra) = &self.extra {
            text.push_str(&format!("extra {}\n", STANDARD.encode(extra)));
        }
        text.push_str(&format!("index {}\n", self.inclusion.index));
        for hash in &self.inclusion.path {
            text.push_str(&format!("{hash}\n"));
        }
        text.push('\n');
        [text.as_bytes(), &self.checkpoint].concat()
    }

    /// Reads a file of at most 1 MiB. Checks the format only: see [`Included::check`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TlogError> {
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(TlogError::MalformedProof(1));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| TlogError::MalformedProof(1))?;
        let (proof, checkpoint) = text.split_once("\n\n").ok_or(TlogError::MalformedProof(1))?;
        let mut lines = proof.split('\n').zip(1_usize..).peekable();
        if lines.next().is_none_or(|(line, _)| line != PROOF_HEADER) {
            return Err(TlogError::MalformedProof(1));
        }
        let extra = match lines.peek().and_then(|(line, at)| Some((line.strip_prefix("extra ")?, *at))) {
            Some((extra, at)) => {
                lines.next();
                Some(STANDARD.decode(extra).map_err(|_| TlogError::MalformedProof(at))?)
            }
            None => None,
        };
        let (line, at) = lines.next().ok_or(TlogError::MalformedProof(2))?;
        let index: u64 = line
            .strip_prefix("index ")
            .and_then(|digits| digits.parse().ok().filter(|index: &u64| index.to_string() == digits))
            .ok_or(TlogError::MalformedProof(at))?;
        let mut path = Vec::new();
        for (line, at) in lines {
            if path.len() == MAX_PROOF_LINES {
                return Err(TlogError::ProofTooLong(path.len() + 1));
            }
            path.push(line.parse().map_err(|_| TlogError::MalformedProof(at))?);
        }
        let inclusion = InclusionProof::new(index, path)?;
        Ok(Self { extra, inclusion, checkpoint: checkpoint.as_bytes().to_vec() })
    }
}

fn bounded(path: Vec<TreeHash>) -> Result<Vec<TreeHash>, TlogError> {
    if path.len() > MAX_PROOF_LINES { Err(TlogError::ProofTooLong(path.len())) } else { Ok(path) }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InclusionParts {
    index: u64,
    path: Vec<TreeHash>,
}

impl From<InclusionProof> for InclusionParts {
    fn from(proof: InclusionProof) -> Self {
        Self { index: proof.index, path: proof.path }
    }
}

impl TryFrom<InclusionParts> for InclusionProof {
    type Error = TlogError;

    fn try_from(parts: InclusionParts) -> Result<Self, TlogError> {
        Self::new(parts.index, parts.path)
    }
}

impl From<ConsistencyProof> for Vec<TreeHash> {
    fn from(proof: ConsistencyProof) -> Self {
        proof.0
    }
}

impl TryFrom<Vec<TreeHash>> for ConsistencyProof {
    type Error = TlogError;

    fn try_from(path: Vec<TreeHash>) -> Result<Self, TlogError> {
        Self::new(path)
    }
}

const PROOF_HEADER: &str = "c2sp.org/tlog-proof@v1";
const MAX_PROOF_BYTES: usize = 1024 * 1024;
