//! Which sealed versions an agreement may read: signed by the owner, held by the broker, deposited, not revoked, and with
//! the columns that the agreement speaks of.
//!
//! The owner of a dataset is the agreement's party; after a rotation its older manifests stay its own, and a manifest that
//! names an earlier key of the party as owner may be signed by a later one (so that a series can go on). Of a
//! series, versions that fail a test are left out and remembered with the reason; a named version that fails stops the agreement.

use std::collections::{BTreeMap, BTreeSet};

use envelope::{Digest, PublicKey, statement::Signed};

use crate::{
    documents::{Agreement, ColumnRule, Computation, Contents, DatasetId, DatasetSource, Manifest, Revoked},
    in_force::{Facts, NotInForce},
    keys::KeyHistory,
    shape::SoundAgreement,
};

/// The usable versions of each dataset of an agreement.
#[derive(Debug, Clone, PartialEq)]
pub struct Sources {
    datasets: BTreeMap<String, Source>,
}

/// The versions of one dataset.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    id: DatasetId,
    usable: BTreeMap<Digest, Manifest>,
    unusable: BTreeMap<Digest, VersionFault>,
}

/// Why a version cannot be read under an agreement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionFault {
    /// The manifest's owner is not the party that the agreement names, or another key signed it.
    #[error("its manifest is signed by `{0}`, who is not its owner")]
    Signer(PublicKey),
    /// The manifest names another broker.
    #[error("its key is held by another broker, `{0}`")]
    OtherBroker(PublicKey),
    /// Its owner revoked it.
    #[error("its owner revoked it")]
    Revoked,
    /// Its key has not been deposited.
    #[error(
        "its key has not been deposited with the broker\nhint: its owner deposits it with `glovebox agree` or `glovebox offer`"
    )]
    NotDeposited,
    /// It is not the version, or not of the series, that the agreement names; or its manifest is unknown.
    #[error("the agreement does not cover it")]
    NotCovered,
}

impl Sources {
    /// Sorts the facts' manifests by the agreement's datasets.
    ///
    /// # Errors
    /// The datasets' refusals of [`NotInForce`].
    pub fn of(
        sound: &SoundAgreement,
        facts: &Facts<'_>,
        keys: &KeyHistory,
        broker: &PublicKey,
    ) -> Result<Sources, NotInForce> {
        let agreement = sound.agreement();
        let mut datasets = BTreeMap::new();
        let mut seen: BTreeMap<DatasetId, String> = BTreeMap::new();
        for (name, terms) in &agreement.datasets {
            let owner = agreement.parties.get(&terms.owner).map(|party| party.identity.signing());
            let owner = owner.ok_or_else(|| NotInForce::ManifestMissing { dataset: name.clone() })?;
            let source = Source::of(name, &terms.source, owner, facts, keys, broker)?;
            if let Some(first) = seen.insert(source.id, name.clone()) {
                return Err(NotInForce::SameDataset { first, second: name.clone() });
            }
            datasets.insert(name.clone(), source);
        }
        let sources = Sources { datasets };
        for (name, computation) in &agreement.computations {
            sources.check_columns(name, computation)?;
        }
        Ok(sources)
    }

    /// A dataset by its name in the agreement.
    pub fn get(&self, dataset: &str) -> Option<&Source> {
        self.datasets.get(dataset)
    }

    /// The columns that a computation reads must exist in every usable version, and hidden ones cannot be read.
    fn check_columns(&self, computation: &str, terms: &Computation) -> Result<(), NotInForce> {
        for (dataset, columns) in &terms.columns {
            let manifests = self.datasets.get(dataset).into_iter().flat_map(|source| source.usable.values());
            for manifest in manifests {
                check_columns_of(manifest, columns).map_err(|fault| NotInForce::Column {
                    computation: computation.to_owned(),
                    dataset: dataset.clone(),
                    fault,
                })?;
            }
        }
        Ok(())
    }
}

impl Source {
    /// The dataset across its versions.
    pub const fn id(&self) -> &DatasetId {
        &self.id
    }

    /// The usable versions, by the digest of the signed manifest; at least one.
    pub const fn usable(&self) -> &BTreeMap<Digest, Manifest> {
        &self.usable
    }

    /// One version.
    ///
    /// # Errors
    /// Why it is not usable.
    pub fn version(&self, manifest: &Digest) -> Result<&Manifest, VersionFault> {
        self.usable
            .get(manifest)
            .ok_or_else(|| self.unusable.get(manifest).cloned().unwrap_or(VersionFault::NotCovered))
    }

    fn of(
        name: &str,
        source: &DatasetSource,
        owner: &PublicKey,
        facts: &Facts<'_>,
        keys: &KeyHistory,
        broker: &PublicKey,
    ) -> Result<Source, NotInForce> {
        let mut ids = BTreeSet::new();
        let (mut usable, mut unusable) = (BTreeMap::new(), BTreeMap::new());
        for manifest in facts.manifests.iter().filter(|manifest| covers(source, manifest)) {
            match fault_of(manifest, owner, facts, keys, broker) {
                None => {
                    ids.insert(manifest.value().dataset());
                    usable.insert(*manifest.digest(), manifest.value().clone());
                }
                Some(fault) => {
                    unusable.insert(*manifest.digest(), fault);
                }
            }
        }
        match ids.first() {
            Some(id) => Ok(Source { id: *id, usable, unusable }),
            None => Err(refusal(name, unusable.into_values().collect())),
        }
    }
}

/// Whether a manifest is the version, or of the series, that a source names. Proves nothing about its signer.
pub(crate) fn covers(source: &DatasetSource, manifest: &Signed<Manifest>) -> bool {
    match source {
        DatasetSource::Version(digest) => manifest.digest() == digest,
        DatasetSource::Series(series) => manifest.value().series().is_ok_and(|id| id == *series),
    }
}

fn fault_of(
    manifest: &Signed<Manifest>,
    owner: &PublicKey,
    facts: &Facts<'_>,
    keys: &KeyHistory,
    broker: &PublicKey,
) -> Option<VersionFault> {
    let stated = &manifest.value().owner;
    if !keys.same_party(stated, owner) || !keys.succeeds(manifest.signer(), stated) {
        return Some(VersionFault::Signer(*manifest.signer()));
    }
    if manifest.value().broker != *broker {
        return Some(VersionFault::OtherBroker(manifest.value().broker));
    }
    let revoked = facts.revocations.iter().any(|revocation| {
        revocation.value().audience == *broker
            && revocation.value().body.what == Revoked::Manifest(*manifest.digest())
            && keys.same_party(revocation.signer(), owner)
    });
    if revoked {
        return Some(VersionFault::Revoked);
    }
    (!facts.deposited.contains(manifest.digest())).then_some(VersionFault::NotDeposited)
}

/// The refusal when no version is usable: of several faults, the one that is nearest to being mended.
fn refusal(dataset: &str, faults: Vec<VersionFault>) -> NotInForce {
    let dataset = dataset.to_owned();
    let rank = |fault: &VersionFault| match fault {
        VersionFault::NotDeposited => 0,
        VersionFault::Revoked => 1,
        VersionFault::OtherBroker(_) => 2,
        VersionFault::Signer(_) => 3,
        VersionFault::NotCovered => 4,
    };
    match faults.into_iter().min_by_key(rank) {
        Some(VersionFault::NotDeposited) => NotInForce::NotDeposited { dataset },
        Some(VersionFault::Revoked) => NotInForce::ManifestRevoked { dataset },
        Some(VersionFault::OtherBroker(broker)) => NotInForce::ManifestBroker { dataset, broker },
        Some(VersionFault::Signer(signer)) => NotInForce::ManifestSigner { dataset, signer },
        Some(VersionFault::NotCovered) | None => NotInForce::ManifestMissing { dataset },
    }
}

/// Why a computation cannot read what it says it reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnFault {
    /// Not a column of the table.
    #[error("it has no column {}", crate::words::quoted(.0))]
    Unknown(String),
    /// No key of this column is ever released.
    #[error("its column {} is hidden", crate::words::quoted(.0))]
    Hidden(String),
    /// A blob has no columns.
    #[error("it is not a table")]
    NotATable,
}

fn check_columns_of(manifest: &Manifest, columns: &BTreeSet<String>) -> Result<(), ColumnFault> {
    let Contents::Table { columns: known, rules: _ } = &manifest.contents else {
        return Err(ColumnFault::NotATable);
    };
    for name in columns {
        let column = known.iter().find(|column| column.name == *name);
        match column.map(|column| &column.rule) {
            None => return Err(ColumnFault::Unknown(name.clone())),
            Some(ColumnRule::Hidden {}) => return Err(ColumnFault::Hidden(name.clone())),
            Some(
                ColumnRule::Entity { domain: _ }
                | ColumnRule::Join {}
                | ColumnRule::Group {}
                | ColumnRule::Measure { lower: _, upper: _ }
                | ColumnRule::Open {},
            ) => {}
        }
    }
    Ok(())
}

/// The columns that each computation of an agreement reads of a dataset, together.
pub fn columns_read<'a>(agreement: &'a Agreement, dataset: &str) -> BTreeSet<&'a str> {
    let computations = agreement.computations.values();
    computations.filter_map(|terms| terms.columns.get(dataset)).flatten().map(String::as_str).collect()
}
