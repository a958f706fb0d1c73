//! Tiles: the tree and its entries as files that never change (C2SP tlog-tiles).
//!
//! A tile of hashes holds up to 256 consecutive hashes of one level; levels are eight tree levels apart. An entry bundle
//! holds up to 256 entries. A tile with fewer is partial and carries its width in its path. Each tile has exactly one path:
//! what is not in its shortest form is refused, so that caches and access rules see one name per thing.

use std::fmt;
use std::str::FromStr;

use crate::tree::hash_number;
use crate::{HashReader, TlogError, TreeHash};

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TileKind {
    /// Hashes of one level: 0 for leaf hashes, 1 for roots of 256 entries, and so on up to 7.
    Hashes(u8),
    /// The entries themselves.
    Entries,
}

/// The name of a tile. [`Tile::new`] and parsing a path are its constructors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tile {
    kind: TileKind,
    index: u64,
    width: u16,
}

impl Tile {
    /// The `index`-th tile of a kind, with `width` (1 to 256; 256 is full) items.
    pub fn new(kind: TileKind, index: u64, width: u16) -> Result<Self, TlogError> {
        let tile = Self { kind, index, width };
        let level = tile.level();
        let fits = index.checked_mul(u64::from(FULL)).is_some_and(|first| first <= u64::MAX >> (8 * level.min(7)));
        if level > 7 || width == 0 || width > FULL || !fits {
            return Err(TlogError::MalformedTilePath(tile.to_string()));
        }
        Ok(tile)
    }

    /// What it holds.
    pub fn kind(&self) -> TileKind {
        self.kind
    }

    /// Its index within its level.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How many items it holds, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// The indexes of its items within their level: entries, leaf hashes or hashes of complete subtrees. Refuses a
    /// tile that a tree of `size` entries does not have in this width.
    pub fn items(&self, size: u64) -> Result<std::ops::Range<u64>, TlogError> {
        let available = size >> (8 * self.level());
        let first = self.index * u64::from(FULL);
        let end = first + u64::from(self.width);
        if end > available {
            return Err(TlogError::NoSuchTile(size));
        }
        Ok(first..end)
    }

    /// The bytes of a tile of hashes in the tree of `size` entries: 32 for each hash. Entry bundles are
    /// [`encode_bundle`]'s work, since entries are not hashes.
    pub fn read<R: HashReader>(&self, reader: &R, size: u64) -> Result<Vec<u8>, TlogError> {
        if self.kind == TileKind::Entries {
            return Err(TlogError::NoSuchTile(size));
        }
        let level = 8 * self.level();
        let numbers: Vec<u64> = self.items(size)?.map(|item| hash_number(level, item)).collect();
        let hashes = reader.read_hashes(&numbers)?;
        Ok(hashes.iter().flat_map(TreeHash::as_bytes).copied().collect())
    }

    fn level(&self) -> u8 {
        match self.kind {
            TileKind::Hashes(level) => level,
            TileKind::Entries => 0,
        }
    }
}

/// The path of a tile of hashes, relative to the log's prefix: `tile/0/x001/x234/067.p/8`.
pub fn tile_path(level: u8, index: u64, width: u16) -> Result<String, TlogError> {
    Tile::new(TileKind::Hashes(level), index, width).map(|tile| tile.to_string())
}

/// Writes an entry bundle: each entry behind its length as a 16-bit big-endian number; 1 to 256 entries.
pub fn encode_bundle<E: AsRef<[u8]>>(entries: &[E]) -> Result<Vec<u8>, TlogError> {
    if entries.is_empty() || entries.len() > usize::from(FULL) {
        return Err(TlogError::MalformedBundle);
    }
    let mut bundle = Vec::new();
    for entry in entries {
        let entry = entry.as_ref();
        let length = u16::try_from(entry.len()).map_err(|_| TlogError::EntryTooLong(entry.len()))?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Ok(bundle)
}

/// Reads an entry bundle of `width` entries.
pub fn decode_bundle(bundle: &[u8], width: u16) -> Result<Vec<Vec<u8>>, TlogError> {
    let mut entries = Vec::new();
    let mut rest = bundle;
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk::<2>().ok_or(TlogError::MalformedBundle)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (entry, after) = after.split_at_checked(length).ok_or(TlogError::MalformedBundle)?;
        entries.push(entry.to_vec());
        rest = after;
        if entries.len() > usize::from(width) {
            return Err(TlogError::MalformedBundle);
        }
    }
    let sound = entries.len() == usize::from(width) && (1..=FULL).contains(&width);
    if sound { Ok(entries) } else { Err(TlogError::MalformedBundle) }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let mut groups = vec![self.index % 1000];
        let mut rest = self.index / 1000;
        while rest > 0 {
            groups.push(rest % 1000);
            rest /= 1000;
        }
        for (position, group) in groups.iter().enumerate().rev() {
            let separator = if position == 0 { "" } else { "/" };
            let mark = if position == 0 { "" } else { "x" };
            write!(f, "{mark}{group:03}{separator}")?;
        }
        if self.width < FULL { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

impl FromStr for Tile {
    type Err = TlogError;

    /// Reads a path relative to the log's prefix, such as `tile/0/x001/067` or `tile/entries/000.p/3`.
    fn from_str(path: &str) -> Result<Self, TlogError> {
        let malformed = || TlogError::MalformedTilePath(path.chars().take(MAX_PATH).collect());
        let tile = parse_path(path).ok_or_else(malformed)?;
        // Only the shortest form of a path names a tile.
        if tile.to_string() == path { Ok(tile) } else { Err(malformed()) }
    }
}

fn parse_path(path: &str) -> Option<Tile> {
    if path.len() > MAX_PATH {
        return None;
    }
    let (kind, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => TileKind::Hashes(level.parse().ok()?),
    };
    let (groups, width) = match rest.split_once(".p/") {
        Some((groups, width)) => (groups, width.parse().ok()?),
        None => (rest, FULL),
    };
    let mut index = 0_u64;
    for group in groups.split('/') {
        let digits: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
        index = index.checked_mul(1000)?.checked_add(digits)?;
    }
    Tile::new(kind, index, width).ok()
}

const FULL: u16 = 256;
const MAX_PATH: usize = 64;
