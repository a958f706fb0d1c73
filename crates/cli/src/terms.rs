//! An agreement as a party holds it before consenting: the document, its manifests, and what its programs really read.
//!
//! It comes from a TOML text (then the columns are derived here), from another party's file, or from the broker (then the
//! recorded columns must be the derived ones). Either way [`Terms`] exists only if the document is sound, every manifest is
//! its owner's, every program passes the rules, and every recorded column is one that the program reads: the worker
//! checks with the same code.
//!
//! Deliberately absent: a way to consent to an agreement whose manifests are not at hand.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use agreement::{
    documents::{Agreement, Contents, DatasetSource, DatasetTerms, Manifest, PartyTerms, Proposal},
    shape::{ShapeError, SoundAgreement},
    toml::{AgreementFile, Draft, DraftError},
    words::Summary,
};
use envelope::{
    Digest, PublicKey,
    statement::{Envelope, Signed, StatementError},
};
use runtime::sql::{self, CheckError, CheckedPlan, Explanation, Grouping, Subtraction, TableTerms};

use crate::{
    exit::CliError,
    files::{self, FileError},
    home::Home,
};

/// By dataset.
type Manifests = BTreeMap<String, Signed<Manifest>>;

/// Columns by dataset.
pub(crate) type Columns = BTreeMap<String, BTreeSet<String>>;

/// An agreement that is sound and whose programs read what it says.
pub(crate) struct Terms {
    sound: SoundAgreement,
    manifests: Manifests,
    envelopes: Vec<Envelope>,
    checked: Checked,
}

/// What the rules say of each computation.
type Checked = BTreeMap<String, CheckedPlan>;

/// Why an agreement is not one to consent to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TermsError {
    /// The document is not sound.
    #[error("the agreement is not sound")]
    Shape(#[source] ShapeError),
    /// The draft could not be completed.
    #[error("the agreement could not be completed")]
    Draft(#[source] DraftError),
    /// A manifest is missing.
    #[error(
        "the manifest of dataset `{dataset}` is not at hand\nhint: ask its owner, `{owner}`, for the file that `glovebox seal` wrote, and name it in the agreement"
    )]
    ManifestMissing {
        /// The dataset.
        dataset: String,
        /// Its owner.
        owner: String,
    },
    /// A manifest that is not what somebody signed.
    #[error("a manifest of the proposal does not verify")]
    ManifestStatement(#[source] StatementError),
    /// A manifest that somebody else signed.
    #[error(
        "the manifest of dataset `{dataset}` is signed by `{signer}`, who is not its owner `{owner}`\nhint: ask the owner for the manifest again, or correct `owner`"
    )]
    ManifestSigner {
        /// The dataset.
        dataset: String,
        /// The owner's local name.
        owner: String,
        /// Who signed: the local name of a party, or a key.
        signer: String,
    },
    /// A program that the rules refuse.
    #[error("computation `{computation}` is refused by the rules of the data:\n{explanation}")]
    Refused {
        /// The computation.
        computation: String,
        /// Why, in words.
        explanation: String,
    },
    /// A program that is no query.
    #[error("computation `{computation}` cannot be checked")]
    Query {
        /// The computation.
        computation: String,
        /// Why.
        source: CheckError,
    },
    /// The agreement records other columns than the program reads.
    #[error(
        "computation `{computation}` reads {derived}, and the agreement records {recorded}\nhint: do not consent; ask whoever proposed it to make it again with this version of glovebox"
    )]
    Columns {
        /// The computation.
        computation: String,
        /// What the program reads.
        derived: String,
        /// What the document says.
        recorded: String,
    },
}

impl Terms {
    /// Reads the text of an agreement and derives what it leaves out.
    pub(crate) async fn from_toml(path: &Path, home: &Home) -> Result<Terms, CliError> {
        let draft = read_draft(path, home)?;
        let known = known_manifests(home)?;
        let (manifests, envelopes) =
            match_manifests(draft.agreement(), draft.manifests().values().cloned().chain(known))?;
        let checked = check_all(draft.agreement(), &manifests).await?;
        let columns = checked.iter().map(|(name, plan)| (name.clone(), plan.columns().clone())).collect();
        let sound = draft.with_columns(columns).map_err(TermsError::Draft)?;
        Ok(Terms { sound, manifests, envelopes, checked })
    }

    /// Takes in a proposal of another party's.
    pub(crate) async fn from_proposal(proposal: &Proposal, home: &Home) -> Result<Terms, CliError> {
        let sound = SoundAgreement::new(proposal.agreement.clone()).map_err(TermsError::Shape)?;
        let sent = proposal.manifests.iter().map(Signed::<Manifest>::open).collect::<Result<Vec<_>, _>>();
        let sent = sent.map_err(TermsError::ManifestStatement)?;
        let known = known_manifests(home)?;
        let (manifests, envelopes) = match_manifests(sound.agreement(), sent.into_iter().chain(known))?;
        let checked = check_all(sound.agreement(), &manifests).await?;
        for (name, computation) in &sound.agreement().computations {
            let derived = checked.get(name).map(|plan| plan.columns().clone()).unwrap_or_default();
            if derived != computation.columns {
                let (derived, recorded) = (list(&derived), list(&computation.columns));
                return Err(TermsError::Columns { computation: name.clone(), derived, recorded }.into());
            }
        }
        Ok(Terms { sound, manifests, envelopes, checked })
    }

    /// The document.
    pub(crate) const fn agreement(&self) -> &Agreement {
        self.sound.agreement()
    }

    /// Its digest.
    pub(crate) const fn digest(&self) -> &Digest {
        self.sound.digest()
    }

    /// The newest known manifest of each dataset.
    pub(crate) const fn manifests(&self) -> &Manifests {
        &self.manifests
    }

    /// What `check` says of each computation.
    pub(crate) fn explanations(&self) -> impl Iterator<Item = (&String, &Explanation)> {
        self.checked.iter().map(|(name, plan)| (name, plan.explanation()))
    }

    /// Which computations somebody can subtract from one another, in words.
    pub(crate) fn subtractions(&self) -> Vec<String> {
        let groupings = self.checked.iter().map(|(name, plan)| (name.as_str(), plan.groupings())).collect();
        subtractions(self.agreement(), &groupings)
    }

    /// The local name of the party with this key.
    pub(crate) fn party(&self, key: &PublicKey) -> Option<&str> {
        self.sound.party(key)
    }

    /// What is sent to the broker and to other parties.
    pub(crate) fn proposal(&self) -> Proposal {
        Proposal { agreement: self.agreement().clone(), manifests: self.envelopes.clone() }
    }

    /// In plain words, for one reader.
    pub(crate) fn summary(&self, reader: &PublicKey) -> Summary {
        let manifests =
            self.manifests.iter().map(|(name, manifest)| (name.clone(), manifest.value().clone())).collect();
        Summary::of(&self.sound, &manifests, Some(reader))
    }
}

/// Reads the text of an agreement. Files that it names are looked up beside it, identities in the home too.
pub(crate) fn read_draft(path: &Path, home: &Home) -> Result<Draft, CliError> {
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let read = |name: &str| -> Result<Vec<u8>, String> {
        let beside = folder.join(name);
        let contact = Path::new(name).file_name().map(|file| home.path().join("parties").join(file));
        let read = match contact {
            Some(contact) if !beside.exists() && contact.exists() => files::read(&contact),
            _ => files::read(&beside),
        };
        read.map_err(|error| unreadable(&error))
    };
    Ok(AgreementFile::parse(&path.display().to_string(), &files::read(path)?, read)?)
}

/// Why a file that an agreement names cannot be read; its name is told with the line that names it.
fn unreadable(error: &FileError) -> String {
    let told = error.to_string();
    match error {
        FileError::Read { source, .. } => {
            let hints: String = told.lines().skip(1).map(|hint| format!("\n{hint}")).collect();
            format!("it cannot be read: {source}{hints}")
        }
        _ => told,
    }
}

/// Checks one program against the manifests of an agreement's datasets.
pub(crate) async fn check(
    text: &str,
    datasets: &BTreeMap<String, DatasetTerms>,
    manifests: &Manifests,
) -> Result<CheckedPlan, CheckError> {
    let tables: Vec<TableTerms<'_>> = manifests
        .iter()
        .filter_map(|(name, manifest)| match &manifest.value().contents {
            Contents::Table { columns, rules } => {
                let owner = datasets.get(name).map_or("", |terms| terms.owner.as_str());
                Some(TableTerms { name, columns, rules, owner })
            }
            Contents::Blob {} => None,
        })
        .collect();
    sql::check(text, &tables).await
}

/// Which computations of an agreement a recipient of both can subtract from one another, in words. The thresholds look at each
/// result by itself, so this is for people to decide.
pub(crate) fn subtractions(agreement: &Agreement, groupings: &BTreeMap<&str, &[Grouping]>) -> Vec<String> {
    let mut told = Vec::new();
    let pairs = groupings.iter().flat_map(|coarse| groupings.iter().map(move |fine| (coarse, fine)));
    for ((coarse, coarse_groups), (fine, fine_groups)) in pairs.filter(|((coarse, _), (fine, _))| coarse != fine) {
        let Some(subtraction) = Subtraction::of(coarse_groups, fine_groups) else { continue };
        // Where groups are alike, each can be subtracted from the other, which is said once.
        if fine < coarse && Subtraction::of(fine_groups, coarse_groups).is_some() {
            continue;
        }
        let recipients = |name: &str| agreement.computations.get(name).map(|computation| &computation.recipients);
        let (Some(ours), Some(theirs)) = (recipients(coarse), recipients(fine)) else { continue };
        let both: Vec<String> =
            ours.iter().filter(|name| theirs.contains(*name)).map(|name| format!("`{name}`")).collect();
        if !both.is_empty() {
            told.push(format!(
                "{} can subtract the results of `{coarse}` and `{fine}`: {subtraction}. What is left may be about fewer entities than \
                 any threshold asks for, and no rule stops that\nhint: read the two as one computation, and consent to both only if you \
                 would show the difference",
                both.join(", ")
            ));
        }
    }
    told
}

/// Gives each dataset the newest manifest that fits it, with all that fit.
pub(crate) fn match_manifests(
    agreement: &Agreement,
    candidates: impl Iterator<Item = Signed<Manifest>>,
) -> Result<(Manifests, Vec<Envelope>), TermsError> {
    let candidates: Vec<_> = candidates.collect();
    let (mut manifests, mut envelopes) = (Manifests::new(), Vec::new());
    for (dataset, terms) in &agreement.datasets {
        let owner = agreement.parties.get(&terms.owner).map(|PartyTerms { identity }| *identity.signing());
        let mut fitting: Vec<&Signed<Manifest>> =
            candidates.iter().filter(|manifest| fits(manifest, &terms.source)).collect();
        fitting.sort_by_key(|manifest| manifest.value().version);
        fitting.dedup_by_key(|manifest| *manifest.digest());
        if let Some(other) =
            fitting.iter().find(|manifest| owner != Some(manifest.value().owner) || owner != Some(*manifest.signer()))
        {
            let mut parties = agreement.parties.iter();
            let known = parties.find(|(_, terms)| terms.identity.signing() == other.signer());
            let signer = known.map_or_else(|| other.signer().to_string(), |(name, _)| name.clone());
            return Err(TermsError::ManifestSigner { dataset: dataset.clone(), owner: terms.owner.clone(), signer });
        }
        let Some(newest) = fitting.last() else {
            return Err(TermsError::ManifestMissing { dataset: dataset.clone(), owner: terms.owner.clone() });
        };
        manifests.insert(dataset.clone(), (*newest).clone());
        envelopes.extend(fitting.iter().map(|manifest| manifest.envelope().clone()));
    }
    Ok((manifests, envelopes))
}

/// Whether a manifest is the version, or a version of the series.
pub(crate) fn fits(manifest: &Signed<Manifest>, source: &DatasetSource) -> bool {
    match source {
        DatasetSource::Version(digest) => manifest.digest() == digest,
        DatasetSource::Series(series) => manifest.value().series().is_ok_and(|found| found == *series),
    }
}

/// The party's own manifests: those of a series that came after the agreement was written are among them.
fn known_manifests(home: &Home) -> Result<Vec<Signed<Manifest>>, CliError> {
    let mut known = Vec::new();
    for name in home.datasets() {
        known.extend(home.manifests(&name)?);
    }
    Ok(known)
}

async fn check_all(agreement: &Agreement, manifests: &Manifests) -> Result<Checked, TermsError> {
    let mut checked = Checked::new();
    for (name, computation) in &agreement.computations {
        let plan = check(&computation.text, &agreement.datasets, manifests).await.map_err(|error| match error {
            CheckError::Refused(explanation) => TermsError::Refused {
                computation: name.clone(),
                explanation: explanation.to_string().trim_end().to_owned(),
            },
            source => TermsError::Query { computation: name.clone(), source },
        })?;
        checked.insert(name.clone(), plan);
    }
    Ok(checked)
}

fn list(columns: &Columns) -> String {
    let names: Vec<String> = columns
        .iter()
        .flat_map(|(table, columns)| columns.iter().map(move |column| format!("{table}.{column}")))
        .collect();
    if names.is_empty() { "no column".to_owned() } else { names.join(", ") }
}

/// A path that was typed, or a name: a file is meant if there is one.
pub(crate) fn as_file(text: &str) -> Option<PathBuf> {
    let path = PathBuf::from(text);
    (path.is_file() || text.ends_with(".toml") || text.ends_with(".json") || text.contains('/')).then_some(path)
}
