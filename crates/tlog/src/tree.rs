//! Growing a tree and proving things about it, over hashes that the caller stores.
//!
//! A tree of n entries is kept as a dense sequence of hashes: those of complete subtrees, in the order in which they
//! become complete. Appending an entry reads O(log n) of them and adds two on average. The sequence only grows and no hash
//! in it ever changes, so that a storage needs no more than "number → 32 bytes".

use std::cell::RefCell;

use crate::{Commitment, ConsistencyProof, InclusionProof, TlogError, TreeHash};

/// Access to the stored hashes of a tree.
pub trait HashReader {
    /// The hashes with these numbers, in this order. A missing one is [`TlogError::MissingHash`].
    fn read_hashes(&self, numbers: &[u64]) -> Result<Vec<TreeHash>, TlogError>;
}

/// Adds entries to a tree without writing anything: the caller stores what [`Appender::finish`] returns.
#[derive(Debug)]
pub struct Appender<'r, R> {
    reader: &'r R,
    size: u64,
    first: u64,
    added: Vec<TreeHash>,
}

/// What an [`Appender`] asks its caller to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// The tree's new size.
    pub size: u64,
    /// The tree's new root.
    pub root: TreeHash,
    /// The number of the first of `hashes`; the others follow it without a gap.
    pub first: u64,
    /// The hashes to store.
    pub hashes: Vec<TreeHash>,
}

impl<'r, R: HashReader> Appender<'r, R> {
    /// Starts from the tree of `size` entries that `reader` holds.
    pub fn new(reader: &'r R, size: u64) -> Self {
        Self { reader, size, first: tlog_tiles::stored_hash_count(size), added: Vec::new() }
    }

    /// Adds one entry and returns its index.
    pub fn append(&mut self, entry: &Commitment) -> Result<u64, TlogError> {
        let index = self.size;
        let hashes =
            run(self, |reader| tlog_tiles::stored_hashes_for_record_hash(index, entry.leaf_hash().inner(), reader))?;
        self.added.extend(hashes.into_iter().map(TreeHash::from));
        self.size += 1;
        Ok(index)
    }

    /// The size including what was added.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The new head and the hashes to store.
    pub fn finish(self) -> Result<Appended, TlogError> {
        let root = root(&self, self.size)?;
        Ok(Appended { size: self.size, root, first: self.first, hashes: self.added })
    }
}

impl<R: HashReader> HashReader for Appender<'_, R> {
    fn read_hashes(&self, numbers: &[u64]) -> Result<Vec<TreeHash>, TlogError> {
        let mut hashes = Vec::with_capacity(numbers.len());
        for &number in numbers {
            let added = number.checked_sub(self.first).and_then(|at| self.added.get(usize::try_from(at).ok()?));
            match added {
                Some(hash) => hashes.push(*hash),
                None => hashes.extend(self.reader.read_hashes(&[number])?),
            }
        }
        Ok(hashes)
    }
}

/// The root of the tree of the first `size` entries.
pub fn root<R: HashReader>(reader: &R, size: u64) -> Result<TreeHash, TlogError> {
    run(reader, |reader| tlog_tiles::tree_hash(size, reader)).map(TreeHash::from)
}

/// Proves that entry `index` is in the tree of the first `size` entries (RFC 6962, section 2.1.1).
pub fn prove_inclusion<R: HashReader>(reader: &R, size: u64, index: u64) -> Result<InclusionProof, TlogError> {
    if index >= size {
        return Err(TlogError::OutsideTree { index, size });
    }
    let path = run(reader, |reader| tlog_tiles::prove_record(size, index, reader))?;
    InclusionProof::new(index, path.into_iter().map(TreeHash::from).collect())
}

/// Proves that the tree of the first `from` entries is a prefix of the tree of the first `size` (RFC 6962, section
/// 2.1.2). The proof from the empty tree is empty.
pub fn prove_consistency<R: HashReader>(reader: &R, size: u64, from: u64) -> Result<ConsistencyProof, TlogError> {
    if from > size {
        return Err(TlogError::OutsideTree { index: from, size });
    }
    if from == 0 {
        return ConsistencyProof::new(Vec::new());
    }
    let path = run(reader, |reader| tlog_tiles::prove_tree(size, from, reader))?;
    ConsistencyProof::new(path.into_iter().map(TreeHash::from).collect())
}

/// The number under which the hash of the `index`-th complete subtree of 2^`level` entries is stored.
pub(crate) fn hash_number(level: u8, index: u64) -> u64 {
    tlog_tiles::stored_hash_index(level, index)
}

/// Lends a reader to the library, and keeps the reader's own error.
fn run<R: HashReader, T>(
    reader: &R,
    work: impl FnOnce(&Lent<'_, R>) -> Result<T, tlog_tiles::Error>,
) -> Result<T, TlogError> {
    let lent = Lent { reader, error: RefCell::new(None) };
    let outcome = work(&lent);
    outcome.map_err(|_| lent.error.into_inner().unwrap_or(TlogError::Inconsistent))
}

struct Lent<'r, R> {
    reader: &'r R,
    error: RefCell<Option<TlogError>>,
}

impl<R: HashReader> tlog_tiles::HashReader for Lent<'_, R> {
    fn read_hashes(&self, numbers: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        let hashes = match self.reader.read_hashes(numbers) {
            // The library panics when it gets another number of hashes than it asked for.
            Ok(hashes) if hashes.len() == numbers.len() => hashes,
            Ok(_) => return Err(tlog_tiles::Error::BadMath),
            Err(error) => {
                self.error.replace(Some(error));
                return Err(tlog_tiles::Error::BadMath);
            }
        };
        Ok(hashes.into_iter().map(TreeHash::inner).collect())
    }
}
