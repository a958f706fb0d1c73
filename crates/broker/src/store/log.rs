//! Reading the log: for the parties concerned, proofs and the records behind entries; for everyone, checkpoint and tiles.

use tlog::{
    ConsistencyProof, InclusionProof, Opening, Tile, TileKind, encode_bundle, prove_consistency, prove_inclusion,
};

use super::error::storage;
use super::layout::{CHECKPOINT, ENTRIES, Entry, HASHES, HEAD, Hashes, Head, LEAVES, STATE};
use super::{Store, StoreError};

/// What somebody needs to check one entry: hand it to the parties concerned only.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Discloses the entry.
    pub opening: Opening,
    /// Leads from the entry to the checkpoint's root.
    pub inclusion: InclusionProof,
    /// The signed note.
    pub checkpoint: Vec<u8>,
}

/// A signed note, and for each entry asked for its opening and its path to that head.
pub type Proofs = (Vec<u8>, Vec<(Opening, InclusionProof)>);

impl Store {
    /// The newest signed checkpoint, as served at `/log/checkpoint`.
    pub fn checkpoint(&self) -> Result<Vec<u8>, StoreError> {
        self.read(|transaction| {
            let heads = transaction.open_table(HEAD).map_err(storage)?;
            let checkpoint = heads.get(CHECKPOINT).map_err(storage)?.ok_or(StoreError::OtherLog)?;
            Ok(checkpoint.value().to_vec())
        })
    }

    /// How many entries the newest checkpoint's tree has.
    pub fn size(&self) -> Result<u64, StoreError> {
        self.read(|transaction| Ok(self.head(transaction)?.0.size))
    }

    /// Proves that entry `index` is in the newest checkpoint's tree.
    pub fn prove(&self, index: u64) -> Result<Proof, StoreError> {
        self.read(|transaction| {
            let (head, checkpoint) = self.head(transaction)?;
            let entry = self.entry(transaction, head.size, index)?;
            let hashes = transaction.open_table(HASHES).map_err(storage)?;
            let inclusion = prove_inclusion(&Hashes(&hashes), head.size, index)?;
            Ok(Proof { opening: entry.opening(), inclusion, checkpoint })
        })
    }

    /// Proves several entries in one and the same head: the newest checkpoint, and for each index its opening and path.
    pub fn prove_all(&self, indices: &[u64]) -> Result<Proofs, StoreError> {
        self.read(|transaction| {
            let (head, checkpoint) = self.head(transaction)?;
            let hashes = transaction.open_table(HASHES).map_err(storage)?;
            let prove = |index: &u64| {
                let entry = self.entry(transaction, head.size, *index)?;
                Ok((entry.opening(), prove_inclusion(&Hashes(&hashes), head.size, *index)?))
            };
            let proofs = indices.iter().map(prove).collect::<Result<_, StoreError>>()?;
            Ok((checkpoint, proofs))
        })
    }

    /// Proves that the first `from` entries are a prefix of the newest checkpoint's tree, which is returned too.
    pub fn consistency(&self, from: u64) -> Result<(ConsistencyProof, Vec<u8>), StoreError> {
        self.read(|transaction| {
            let (head, checkpoint) = self.head(transaction)?;
            let hashes = transaction.open_table(HASHES).map_err(storage)?;
            Ok((prove_consistency(&Hashes(&hashes), head.size, from)?, checkpoint))
        })
    }

    /// The kind and the bytes of the record behind entry `index`.
    pub fn logged(&self, index: u64) -> Result<(String, Vec<u8>), StoreError> {
        self.read(|transaction| {
            let (head, _) = self.head(transaction)?;
            let entry = self.entry(transaction, head.size, index)?;
            Ok((entry.kind, entry.record))
        })
    }

    /// The bytes of a tile or of an entry bundle, as served at `/log/<path of the tile>`.
    pub fn tile(&self, tile: &Tile) -> Result<Vec<u8>, StoreError> {
        self.read(|transaction| {
            let (head, _) = self.head(transaction)?;
            if tile.kind() != TileKind::Entries {
                let hashes = transaction.open_table(HASHES).map_err(storage)?;
                return Ok(tile.read(&Hashes(&hashes), head.size)?);
            }
            let leaves = transaction.open_table(LEAVES).map_err(storage)?;
            let mut entries = Vec::with_capacity(usize::from(tile.width()));
            for leaf in leaves.range(tile.items(head.size)?).map_err(storage)? {
                entries.push(leaf.map_err(storage)?.1.value());
            }
            Ok(encode_bundle(&entries)?)
        })
    }

    fn head(&self, transaction: &redb::ReadTransaction) -> Result<(Head, Vec<u8>), StoreError> {
        let heads = transaction.open_table(HEAD).map_err(storage)?;
        let state = heads.get(STATE).map_err(storage)?.ok_or(StoreError::WrongKey)?;
        let head = Head::open(&self.shared.sealer, state.value()).ok_or(StoreError::Altered("head".into()))?;
        let checkpoint = heads.get(CHECKPOINT).map_err(storage)?.ok_or(StoreError::OtherLog)?;
        Ok((head, checkpoint.value().to_vec()))
    }

    fn entry(&self, transaction: &redb::ReadTransaction, size: u64, index: u64) -> Result<Entry, StoreError> {
        let entries = transaction.open_table(ENTRIES).map_err(storage)?;
        let sealed = entries.get(index).map_err(storage)?.ok_or(tlog::TlogError::OutsideTree { index, size })?;
        Entry::open(&self.shared.sealer, index, sealed.value()).ok_or(StoreError::LogMismatch(index))
    }
}
