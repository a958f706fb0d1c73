//! Why the log refused something: one comparable reason per cause.

use thiserror::Error;

/// A refusal of the log's arithmetic. Every variant is a decision, so tests and callers compare them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TlogError {
    /// A verifier key is not of the form `name+hash+base64`, or its hash does not match.
    #[error("malformed note key `{0}`")]
    MalformedKey(String),
    /// A hash is not 32 bytes of canonical base64.
    #[error("malformed hash `{0}`")]
    MalformedHash(String),
    /// The bytes are not a signed note around a checkpoint.
    #[error("malformed checkpoint")]
    MalformedCheckpoint,
    /// The checkpoint's first line names another log than the key does.
    #[error("checkpoint is of the log `{found}`, expected `{expected}`")]
    OtherLog {
        /// The name in the log's key.
        expected: String,
        /// The checkpoint's origin line.
        found: String,
    },
    /// No signature line carries the log's key.
    #[error("checkpoint is not signed by the log `{0}`")]
    NotSignedByLog(String),
    /// A line carries the name and the id of a known key, and its signature is not that key's.
    #[error("signature by `{0}` does not verify")]
    BadSignature(String),
    /// Fewer distinct witnesses cosigned than the policy asks for.
    #[error("checkpoint is cosigned by {found} of the witnesses, {needed} are needed")]
    TooFewWitnesses {
        /// The policy's `k`.
        needed: usize,
        /// Distinct listed witnesses with a valid cosignature.
        found: usize,
    },
    /// A policy asks for more witnesses than it lists, so nothing could satisfy it.
    #[error("policy asks for {needed} witnesses and lists {listed}")]
    UnsatisfiablePolicy {
        /// The policy's `k`.
        needed: usize,
        /// How many witnesses it lists.
        listed: usize,
    },
    /// One key, or one name, stands twice in a witness policy.
    #[error("witness `{0}` is listed twice")]
    DuplicateWitness(String),
    /// A listed witness signs with the log's own key and would vouch for itself.
    #[error("witness `{0}` uses the log's own key")]
    LogAsWitness(String),
    /// More than [`crate::MAX_PROOF_LINES`] hashes; no tree of 64-bit size needs them.
    #[error("proof has {0} lines, at most 63 are possible")]
    ProofTooLong(usize),
    /// A tlog-proof file that does not follow its format.
    #[error("malformed proof at line {0}")]
    MalformedProof(usize),
    /// The leaf's index does not lie in the checkpoint's tree.
    #[error("entry {index} lies outside a tree of {size}")]
    OutsideTree {
        /// The index that was asked for.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The path does not lead from this leaf to the checkpoint's root.
    #[error("proof does not lead from the entry to the checkpoint's root")]
    NotIncluded,
    /// The record that came with an opening is not the one the opening names.
    #[error("record is not the one that the log's entry names")]
    OtherRecord,
    /// The opening is of another kind than the record that is claimed.
    #[error("log entry is of kind `{found}`, expected `{expected}`")]
    OtherKind {
        /// The kind of the record type.
        expected: &'static str,
        /// The kind in the opening.
        found: String,
    },
    /// The offered tree is smaller than the one already seen: a rollback.
    #[error("log shrank: {offered} entries are offered, {known} were seen before")]
    Shrunk {
        /// The size of the remembered head.
        known: u64,
        /// The size that is offered now.
        offered: u64,
    },
    /// Two heads of one size differ: the log shows different trees to different readers.
    #[error("log forked: two different trees of {0} entries")]
    Forked(u64),
    /// The larger tree does not contain the smaller one, or the proof does not show it.
    #[error("tree of {to} entries is not shown to extend the tree of {from}")]
    NotConsistent {
        /// The size of the remembered head.
        from: u64,
        /// The size that is offered now.
        to: u64,
    },
    /// A tile path that C2SP tlog-tiles does not allow, or not its shortest form.
    #[error("malformed tile path `{0}`")]
    MalformedTilePath(String),
    /// The tile, in this width, does not exist in a tree of that size.
    #[error("no such tile in a tree of {0} entries")]
    NoSuchTile(u64),
    /// An entry bundle with a cut length or entry, or of other than 1 to 256 entries.
    #[error("malformed entry bundle")]
    MalformedBundle,
    /// An entry does not fit the 16-bit length of an entry bundle.
    #[error("entry of {0} bytes is too long for the log")]
    EntryTooLong(usize),
    /// The storage of tree hashes lacks one that the tree's size promises.
    #[error("tree hash {0} is missing")]
    MissingHash(u64),
    /// The library underneath reported what should be impossible.
    #[error("inconsistent tree hashes")]
    Inconsistent,
}
