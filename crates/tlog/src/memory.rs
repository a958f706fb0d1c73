//! A whole log in memory, for tests and for whoever rebuilds a tree from its entries.

use crate::{
    Appender, Checkpoint, Commitment, ConsistencyProof, HashReader, InclusionProof, LogSigner, SignedCheckpoint, Tile,
    TileKind, TlogError, TreeHash, encode_bundle, prove_consistency, prove_inclusion, root,
};

/// A log's entries and hashes. Memory grows by about 100 bytes for each entry.
#[derive(Debug, Clone, Default)]
pub struct LogTree {
    entries: Vec<Commitment>,
    hashes: Vec<TreeHash>,
}

impl LogTree {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry and returns its index.
    pub fn append(&mut self, entry: Commitment) -> Result<u64, TlogError> {
        let mut appender = Appender::new(self, self.size());
        let index = appender.append(&entry)?;
        let appended = appender.finish()?;
        self.hashes.extend(appended.hashes);
        self.entries.push(entry);
        Ok(index)
    }

    /// How many entries there are.
    pub fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The root of the first `size` entries.
    pub fn root(&self, size: u64) -> Result<TreeHash, TlogError> {
        root(self, size)
    }

    /// The signed head over all entries.
    pub fn checkpoint(&self, signer: &LogSigner) -> Result<SignedCheckpoint, TlogError> {
        Checkpoint::new(signer.key().origin(), self.size(), self.root(self.size())?)?.sign(signer)
    }

    /// Proves that entry `index` is in the tree of the first `size`.
    pub fn prove_inclusion(&self, size: u64, index: u64) -> Result<InclusionProof, TlogError> {
        prove_inclusion(self, size, index)
    }

    /// Proves that the first `from` entries are a prefix of the first `size`.
    pub fn prove_consistency(&self, size: u64, from: u64) -> Result<ConsistencyProof, TlogError> {
        prove_consistency(self, size, from)
    }

    /// The bytes of a tile or of an entry bundle.
    pub fn tile(&self, tile: &Tile) -> Result<Vec<u8>, TlogError> {
        if tile.kind() != TileKind::Entries {
            return tile.read(self, self.size());
        }
        let items = tile.items(self.size())?;
        let first = usize::try_from(items.start).map_err(|_| TlogError::NoSuchTile(self.size()))?;
        let entries: Vec<&[u8; 32]> =
            self.entries.iter().skip(first).take(usize::from(tile.width())).map(Commitment::as_bytes).collect();
        encode_bundle(&entries)
    }
}

impl HashReader for LogTree {
    fn read_hashes(&self, numbers: &[u64]) -> Result<Vec<TreeHash>, TlogError> {
        let hash = |&number| {
            let at = usize::try_from(number).ok();
            at.and_then(|at| self.hashes.get(at)).copied().ok_or(TlogError::MissingHash(number))
        };
        numbers.iter().map(hash).collect()
    }
}
