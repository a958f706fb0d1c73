//! The manifest of a sealed dataset: what it is called, its schema and rules, the exact files, who holds its key.

use std::fmt;

use envelope::{
    Digest, PublicKey, canonical,
    keys::FileId,
    statement::{Predicate, Subject},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A signed document about one version of one dataset. Its name is the digest of the signed statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What the owner calls it: a lower-case SQL identifier.
    pub name: String,
    /// Who owns it, and must have signed this.
    pub owner: PublicKey,
    /// The version, counted from 1; each has its own random key.
    pub version: u64,
    /// When it was sealed, by the owner's clock.
    pub sealed: Timestamp,
    /// Where its ciphertext lies: a URL of a folder that `object_store` reads, ending in `/`.
    pub location: String,
    /// Exactly these files, in this order; one fewer or one more is another dataset.
    pub files: Vec<SealedFile>,
    /// The signing key of the broker that holds, or will hold, its key.
    pub broker: PublicKey,
    /// A table with its rules, or a blob.
    pub contents: Contents,
}

/// What a dataset is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Contents {
    /// Parquet under modular encryption.
    Table {
        /// The columns in order.
        columns: Vec<Column>,
        /// The thresholds.
        rules: TableRules,
    },
    /// Any file, as age.
    Blob {},
}

/// One file of ciphertext.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedFile {
    /// Its name below the location: no slash, no dot at the start.
    pub name: String,
    /// Of the ciphertext.
    pub digest: Digest,
    /// Of the ciphertext.
    pub bytes: u64,
}

/// A column and what may be done with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// As in the table.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: ColumnType,
    /// Whether it may hold NULL.
    pub nullable: bool,
    /// The rule that the owner set.
    pub rule: ColumnRule,
}

/// The types a sealed column may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnType {
    /// 64-bit signed integer.
    Bigint,
    /// 64-bit float.
    Double,
    /// UTF-8 text.
    Text,
    /// True or false.
    Boolean,
    /// Days.
    Date,
    /// Microseconds, UTC.
    Timestamp,
}

/// What a column may be used for. Enforced on the logical plan, never by matching text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ColumnRule {
    /// The privacy unit: counted distinct, joined on, never output.
    Entity {
        /// Columns of one domain name the same population, such as `patient`; thresholds combine only within one.
        domain: String,
    },
    /// In equality joins only.
    Join {},
    /// To filter and group; in output only with groups large enough.
    Group {},
    /// Inside aggregates only, clamped to these bounds.
    Measure {
        /// Smaller values count as this.
        lower: f64,
        /// Larger values count as this.
        upper: f64,
    },
    /// Freely.
    Open {},
    /// Not at all: no key is ever released.
    Hidden {},
}

/// Thresholds of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableRules {
    /// How many distinct entities of this table must stand behind each output row. At least 1.
    pub min_entities: u64,
    /// How many rows of one entity count at most. At least 1.
    pub max_rows_per_entity: u64,
}

/// A dataset across its versions: its owner and the owner's name for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DatasetId(Digest);

/// A series: owner, name, schema and rules. Versions of one series need no new consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SeriesId(Digest);

impl DatasetId {
    /// The id of an owner's dataset. Two owners' datasets of one name have different ids.
    pub fn of(owner: &PublicKey, name: &str) -> DatasetId {
        DatasetId(Digest::of_parts("glovebox dataset v1", &[owner.as_bytes(), name.as_bytes()]))
    }
}

impl fmt::Display for DatasetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Display for SeriesId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Manifest {
    /// The dataset's id.
    pub fn dataset(&self) -> DatasetId {
        DatasetId::of(&self.owner, &self.name)
    }

    /// The series it belongs to: anything in `contents` that changes, changes the series.
    ///
    /// # Errors
    /// Only if a bound is not a finite number, which JSON cannot hold.
    pub fn series(&self) -> Result<SeriesId, canonical::CanonicalError> {
        let contents = canonical::to_vec(&self.contents)?;
        let parts = [self.owner.as_bytes().as_slice(), self.name.as_bytes(), &contents];
        Ok(SeriesId(Digest::of_parts("glovebox series v1", &parts)))
    }

    /// What names the file at a place of the list: part of every key and of every AAD.
    pub fn file(&self, index: u32) -> FileId {
        FileId { dataset: self.dataset().to_string(), version: self.version, index }
    }
}

impl Predicate for Manifest {
    const TYPE: &'static str = "urn:glovebox:manifest:v1";

    fn subject(&self) -> Subject {
        Subject { name: format!("{} version {}", self.name, self.version), digest: self.dataset().0 }
    }
}
