//! The head of a log, signed.
//!
//! A checkpoint (C2SP tlog-checkpoint) is a log's name, its size and its root; a signed note around it carries the log's
//! signature and those of witnesses. Nothing in it may be believed before [`SignedCheckpoint::verify`], which is why only
//! [`VerifiedCheckpoint`] hands out size and root. Extension lines are refused: our log writes none, and nobody would
//! audit them.

use crate::{Cosigned, LogKey, LogSigner, Rollback, TlogError, TreeHash, WitnessPolicy, WitnessSigner};

/// A log's name, size and root, as the log itself states them before it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: TreeHash,
}

/// The bytes of a signed note around a checkpoint, not yet checked by anyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint(Vec<u8>);

/// A checkpoint whose log signature and witness policy were checked. [`SignedCheckpoint::verify`] is its one constructor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedCheckpoint {
    log: LogKey,
    checkpoint: Checkpoint,
    cosigned: Vec<Cosigned>,
    rollback: Rollback,
    bytes: Vec<u8>,
}

impl Checkpoint {
    /// The head of the log `origin` at `size` entries with this root.
    pub fn new(origin: &str, size: u64, root: TreeHash) -> Result<Self, TlogError> {
        if origin.is_empty() || origin.chars().any(char::is_control) {
            return Err(TlogError::MalformedCheckpoint);
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Signs as the log. Refuses to sign for another log than the signer's.
    pub fn sign(&self, signer: &LogSigner) -> Result<SignedCheckpoint, TlogError> {
        if self.origin != signer.key().origin() {
            return Err(TlogError::OtherLog { expected: signer.key().origin().to_owned(), found: self.origin.clone() });
        }
        let text = self.text();
        let signature = signer.sign(&text)?;
        let note = signed_note::Note::new(&text, &[signature]).map_err(|_| TlogError::MalformedCheckpoint)?;
        Ok(SignedCheckpoint(note.to_bytes()))
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many entries the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The tree's root.
    pub fn root(&self) -> TreeHash {
        self.root
    }

    fn parse(text: &[u8]) -> Result<Self, TlogError> {
        let parsed = tlog_tiles::Checkpoint::from_bytes(text).map_err(|_| TlogError::MalformedCheckpoint)?;
        let checkpoint = Self::new(parsed.origin(), parsed.size(), (*parsed.hash()).into())?;
        // One text per head: whatever the parser tolerates beyond that, extension lines included, is refused.
        if checkpoint.text() == text { Ok(checkpoint) } else { Err(TlogError::MalformedCheckpoint) }
    }

    fn text(&self) -> Vec<u8> {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root).into_bytes()
    }
}

impl SignedCheckpoint {
    /// Takes bytes from outside. At most 64 KiB.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TlogError> {
        if bytes.len() > MAX_BYTES {
            return Err(TlogError::MalformedCheckpoint);
        }
        Ok(Self(bytes.to_vec()))
    }

    /// The note's bytes, as served at `/log/checkpoint`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds a witness's cosignature, made at `time` (seconds since 1970). The witness must have checked consistency first:
    /// see [`crate::Head::advance`].
    pub fn cosign(&self, witness: &WitnessSigner, time: u64) -> Result<Self, TlogError> {
        let note = parse_note(&self.0)?;
        let mut bytes = self.0.clone();
        bytes.extend_from_slice(&witness.cosign(note.text(), time)?.to_bytes());
        Self::from_bytes(&bytes)
    }

    /// Checks that `bytes` are a checkpoint of this log under this policy:
    ///
    /// 1. a well-formed signed note whose text is a well-formed checkpoint without extension lines;
    /// 2. of the log that the key names;
    /// 3. every line with the log's name and key id verifies, and there is one;
    /// 4. every line with a listed witness's name and key id verifies, and there are lines of k distinct ones.
    pub fn verify(bytes: &[u8], log: &LogKey, policy: &WitnessPolicy) -> Result<VerifiedCheckpoint, TlogError> {
        let note = parse_note(bytes)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        if checkpoint.origin != log.origin() {
            return Err(TlogError::OtherLog { expected: log.origin().to_owned(), found: checkpoint.origin });
        }
        let signatures = signatures(bytes)?;
        let mut signed = false;
        for line in signatures.iter().filter(|line| line.name() == log.origin() && line.id() == log.id()) {
            if !log.verifies(note.text(), line.signature()) {
                return Err(TlogError::BadSignature(log.origin().to_owned()));
            }
            signed = true;
        }
        if !signed {
            return Err(TlogError::NotSignedByLog(log.origin().to_owned()));
        }
        let cosigned = policy.check(log, note.text(), &signatures)?;
        let rollback = if policy.k() == 0 { Rollback::NotWitnessed } else { Rollback::Witnessed(cosigned.len()) };
        Ok(VerifiedCheckpoint { log: log.clone(), checkpoint, cosigned, rollback, bytes: bytes.to_vec() })
    }
}

impl VerifiedCheckpoint {
    /// The key under which this was verified.
    pub fn log(&self) -> &LogKey {
        &self.log
    }

    /// How many entries the tree has.
    pub fn size(&self) -> u64 {
        self.checkpoint.size
    }

    /// The tree's root.
    pub fn root(&self) -> TreeHash {
        self.checkpoint.root
    }

    /// The listed witnesses that cosigned, in the policy's order.
    pub fn cosigned(&self) -> &[Cosigned] {
        &self.cosigned
    }

    /// What this proves about rollback under the policy it was verified with.
    pub fn rollback(&self) -> Rollback {
        self.rollback
    }

    /// The signed note, to be kept and verified again later.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn parse_note(bytes: &[u8]) -> Result<signed_note::Note, TlogError> {
    if bytes.len() > MAX_BYTES {
        return Err(TlogError::MalformedCheckpoint);
    }
    signed_note::Note::from_bytes(bytes).map_err(|_| TlogError::MalformedCheckpoint)
}

/// The signature lines of a note that [`parse_note`] has accepted; the library keeps them to itself.
fn signatures(bytes: &[u8]) -> Result<Vec<signed_note::Signature>, TlogError> {
    let text = std::str::from_utf8(bytes).map_err(|_| TlogError::MalformedCheckpoint)?;
    let (_, block) = text.rsplit_once("\n\n").ok_or(TlogError::MalformedCheckpoint)?;
    block
        .lines()
        .map(|line| signed_note::Signature::from_bytes(line.as_bytes()).map_err(|_| TlogError::MalformedCheckpoint))
        .collect()
}

const MAX_BYTES: usize = 64 * 1024;
