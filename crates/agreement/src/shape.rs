//! Whether an agreement makes sense by itself: names, references, bounds.
//!
//! An [`Agreement`] is plain data that anybody can write. [`SoundAgreement`] is one whose names are names, whose references lead
//! somewhere and whose numbers can be meant; everything that decides takes this type. What needs other documents (do the
//! columns exist, did the owner sign) is decided in [`crate::in_force`].
//!
//! Everything here is shown to people before they consent, so text that would show itself as something else is refused:
//! control characters, marks that turn the direction of writing, invisible ones. Bounds keep a hostile proposal small.

use std::collections::{BTreeMap, BTreeSet};

use attest::AppraisalPolicy;
use envelope::{Digest, PublicKey};

use crate::documents::{
    Agreement, BrokerTerms, Computation, DatasetSource, DatasetTerms, PartyTerms, ReleaseTerms, SeriesId, WitnessTerms,
};

/// An agreement that makes sense by itself, with its digest.
#[derive(Debug, Clone, PartialEq)]
pub struct SoundAgreement {
    agreement: Agreement,
    digest: Digest,
}

/// Which thing carries a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The agreement itself.
    Agreement,
    /// A party's local name.
    Party,
    /// A dataset's table name.
    Dataset,
    /// A computation's name.
    Computation,
    /// A column's name.
    Column,
}

/// Why a text cannot be shown to people as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    /// Nothing to read.
    #[error("is empty")]
    Empty,
    /// Longer than admitted.
    #[error("is longer than {0} bytes")]
    Long(usize),
    /// A control character, an invisible one, or one that turns the direction of writing.
    #[error("holds the character U+{0:04X}, which hides or rearranges what is shown")]
    Character(u32),
}

/// Why an agreement makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShapeError {
    /// Not a name.
    #[error("{} is not a name for {of}\nhint: use 1 to {MAX_NAME} lower-case letters, digits{}, beginning with a letter", crate::words::quoted(name), of.marks())]
    Name {
        /// What it should name.
        of: Named,
        /// What it says.
        name: String,
    },
    /// The purpose cannot be shown.
    #[error("the purpose {0}")]
    Purpose(TextFault),
    /// A computation's text cannot be shown.
    #[error("the text of computation `{computation}` {fault}")]
    ComputationText {
        /// Its name.
        computation: String,
        /// Why.
        fault: TextFault,
    },
    /// Too many of something.
    #[error("the agreement has {found} {what}; 1 to {most} are admitted")]
    Count {
        /// Parties, datasets, computations.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// Two parties with one signing key.
    #[error("parties `{first}` and `{second}` have the same signing key")]
    SameParty {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// An owner that is no party.
    #[error("dataset `{dataset}` belongs to `{owner}`, who is not a party to the agreement")]
    UnknownOwner {
        /// The dataset.
        dataset: String,
        /// Who is said to own it.
        owner: String,
    },
    /// One dataset under two names.
    #[error("datasets `{first}` and `{second}` are the same")]
    SameDataset {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// A computation that reads nothing, or a dataset that the agreement lacks.
    #[error("computation `{computation}` reads `{dataset}`, which is not a dataset of the agreement")]
    UnknownDataset {
        /// The computation.
        computation: String,
        /// The name it reads.
        dataset: String,
    },
    /// A computation that reads no dataset.
    #[error("computation `{0}` reads no dataset")]
    ReadsNothing(String),
    /// Nobody would get the result.
    #[error("computation `{0}` has no recipient")]
    NoRecipient(String),
    /// A recipient that is no party.
    #[error("computation `{computation}` is for `{recipient}`, who is not a party to the agreement")]
    UnknownRecipient {
        /// The computation.
        computation: String,
        /// The recipient.
        recipient: String,
    },
    /// An address that is no `host:port`.
    #[error("{} is not the address of a broker\nhint: write `host:port`", crate::words::quoted(.0))]
    BrokerAddress(String),
    /// Auditors of the broker's machine, whom nobody would ask.
    #[error(
        "the broker's own policy asks for auditors\nhint: auditors vouch for workers; compare what the broker measured with `reference_values`"
    )]
    BrokerAuditors,
    /// The broker vouches for the workers to which it releases.
    #[error("the broker is listed as an auditor of workers\nhint: name auditors who do not also release the keys")]
    BrokerAsAuditor,
    /// A text that is no C2SP verifier key.
    #[error("{} is not a verifier key of a log or witness\nhint: it has the form `name+id+key`", crate::words::quoted(.0))]
    VerifierKey(String),
    /// More cosignatures than witnesses, or one witness twice.
    #[error("{required} cosignatures of {witnesses} different witnesses cannot be had")]
    Witnesses {
        /// How many are required.
        required: u32,
        /// How many different ones are listed.
        witnesses: usize,
    },
    /// A release term of zero.
    #[error("`{0}` must be at least 1")]
    Zero(&'static str),
    /// Cannot be digested.
    #[error("the agreement cannot be written as canonical JSON")]
    Unwritable,
}

impl SoundAgreement {
    /// Checks an agreement's shape.
    ///
    /// # Errors
    /// The first fault, in the order of the document's fields.
    pub fn new(agreement: Agreement) -> Result<SoundAgreement, ShapeError> {
        let Agreement {
            name,
            purpose,
            parties,
            datasets,
            computations,
            broker,
            workers,
            witnesses,
            release,
            expires: _,     // decided with the time
            predecessor: _, // a digest
        } = &agreement;
        check_name(Named::Agreement, name)?;
        check_text(purpose, MAX_PURPOSE).map_err(ShapeError::Purpose)?;
        check_parties(parties)?;
        check_datasets(datasets, parties)?;
        check_computations(computations, datasets, parties)?;
        check_broker(broker)?;
        check_auditors(broker, workers)?;
        check_witnesses(witnesses)?;
        check_release(release)?;
        let digest = agreement.digest().map_err(|_| ShapeError::Unwritable)?;
        Ok(SoundAgreement { agreement, digest })
    }

    /// The document.
    pub const fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// Its name: the digest of its canonical JSON.
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The local name of the party with this signing key, as the agreement has it (rotations not considered).
    pub fn party(&self, key: &PublicKey) -> Option<&str> {
        let mut parties = self.agreement.parties.iter();
        parties.find(|(_, terms)| terms.identity.signing() == key).map(|(name, _)| name.as_str())
    }
}

/// Whether a text is a name for such a thing: a lower-case letter, then letters, digits and marks that the thing admits.
///
/// # Errors
/// [`ShapeError::Name`].
pub fn check_name(of: Named, name: &str) -> Result<(), ShapeError> {
    let mark = |c: char| match of {
        Named::Agreement | Named::Party | Named::Computation => c == '-' || c == '_',
        Named::Dataset | Named::Column => c == '_',
    };
    let good = name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || mark(c));
    if good { Ok(()) } else { Err(ShapeError::Name { of, name: name.to_owned() }) }
}

/// Whether a text shows itself as what it is: line feeds and tabs only, nothing invisible, nothing that turns direction.
///
/// # Errors
/// [`TextFault`], the first one.
pub fn check_text(text: &str, longest: usize) -> Result<(), TextFault> {
    if text.trim().is_empty() {
        return Err(TextFault::Empty);
    }
    if text.len() > longest {
        return Err(TextFault::Long(longest));
    }
    match text.chars().find(|c| deceives(*c) && !matches!(c, '\n' | '\t')) {
        Some(c) => Err(TextFault::Character(u32::from(c))),
        None => Ok(()),
    }
}

/// Whether a character hides, breaks or rearranges what is shown around it (controls; Unicode bidi and format characters).
pub(crate) fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
            | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
            | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
            | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

fn check_parties(parties: &BTreeMap<String, PartyTerms>) -> Result<(), ShapeError> {
    count("parties", parties.len(), MAX_PARTIES)?;
    let mut seen = BTreeMap::new();
    for (name, PartyTerms { identity }) in parties {
        check_name(Named::Party, name)?;
        if let Some(first) = seen.insert(identity.signing(), name) {
            return Err(ShapeError::SameParty { first: first.clone(), second: name.clone() });
        }
    }
    Ok(())
}

fn check_datasets(
    datasets: &BTreeMap<String, DatasetTerms>,
    parties: &BTreeMap<String, PartyTerms>,
) -> Result<(), ShapeError> {
    count("datasets", datasets.len(), MAX_DATASETS)?;
    let mut versions: BTreeMap<&Digest, &String> = BTreeMap::new();
    let mut series: BTreeMap<&SeriesId, &String> = BTreeMap::new();
    for (name, DatasetTerms { owner, source }) in datasets {
        check_name(Named::Dataset, name)?;
        if !parties.contains_key(owner) {
            return Err(ShapeError::UnknownOwner { dataset: name.clone(), owner: clip(owner) });
        }
        let twin = match source {
            DatasetSource::Version(digest) => versions.insert(digest, name),
            DatasetSource::Series(id) => series.insert(id, name),
        };
        if let Some(first) = twin {
            return Err(ShapeError::SameDataset { first: first.clone(), second: name.clone() });
        }
    }
    Ok(())
}

fn check_computations(
    computations: &BTreeMap<String, Computation>,
    datasets: &BTreeMap<String, DatasetTerms>,
    parties: &BTreeMap<String, PartyTerms>,
) -> Result<(), ShapeError> {
    count("computations", computations.len(), MAX_COMPUTATIONS)?;
    for (name, computation) in computations {
        let Computation { engine: _, text, columns, recipients, charge: _ } = computation;
        check_name(Named::Computation, name)?;
        check_text(text, MAX_PROGRAM)
            .map_err(|fault| ShapeError::ComputationText { computation: name.clone(), fault })?;
        if columns.is_empty() {
            return Err(ShapeError::ReadsNothing(name.clone()));
        }
        for (dataset, columns) in columns {
            if !datasets.contains_key(dataset) {
                return Err(ShapeError::UnknownDataset { computation: name.clone(), dataset: clip(dataset) });
            }
            columns.iter().try_for_each(|column| check_column(column))?;
        }
        if recipients.is_empty() {
            return Err(ShapeError::NoRecipient(name.clone()));
        }
        if let Some(recipient) = recipients.iter().find(|recipient| !parties.contains_key(*recipient)) {
            return Err(ShapeError::UnknownRecipient { computation: name.clone(), recipient: clip(recipient) });
        }
    }
    Ok(())
}

/// Columns keep the names that their tables had, so only what could deceive is refused.
fn check_column(column: &str) -> Result<(), ShapeError> {
    let good = !column.is_empty() && column.len() <= MAX_COLUMN && !column.chars().any(deceives);
    if good { Ok(()) } else { Err(ShapeError::Name { of: Named::Column, name: column.to_owned() }) }
}

fn check_broker(broker: &BrokerTerms) -> Result<(), ShapeError> {
    let BrokerTerms { key: _, log, address, policy: _ } = broker;
    check_verifier_key(log)?;
    let good = address.len() <= MAX_ADDRESS
        && address.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
        && address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty()
                && port.bytes().all(|byte| byte.is_ascii_digit())
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
    if good { Ok(()) } else { Err(ShapeError::BrokerAddress(address.clone())) }
}

/// The rules about auditors are sound by the policy's own constructor; who they are is not its business.
fn check_auditors(broker: &BrokerTerms, workers: &AppraisalPolicy) -> Result<(), ShapeError> {
    if broker.policy.auditors().is_some() {
        return Err(ShapeError::BrokerAuditors);
    }
    if workers.auditors().is_some_and(|rule| rule.keys.contains(&broker.key)) {
        return Err(ShapeError::BrokerAsAuditor);
    }
    Ok(())
}

/// The outer form only (C2SP signed note: `name+id+key`); the log's own crate decides whether it is a key.
fn check_verifier_key(key: &str) -> Result<(), ShapeError> {
    let good = key.len() <= MAX_VERIFIER_KEY
        && key.chars().all(|c| c.is_ascii_graphic())
        && key.splitn(3, '+').filter(|part| !part.is_empty()).count() == 3;
    if good { Ok(()) } else { Err(ShapeError::VerifierKey(key.to_owned())) }
}

fn check_witnesses(witnesses: &WitnessTerms) -> Result<(), ShapeError> {
    let WitnessTerms { required, keys } = witnesses;
    if keys.len() > MAX_WITNESSES {
        return Err(ShapeError::Count { what: "witnesses", found: keys.len(), most: MAX_WITNESSES });
    }
    keys.iter().try_for_each(|key| check_verifier_key(key))?;
    let different = keys.iter().collect::<BTreeSet<_>>().len();
    let enough = usize::try_from(*required).is_ok_and(|required| required <= different);
    if enough && different == keys.len() {
        Ok(())
    } else {
        Err(ShapeError::Witnesses { required: *required, witnesses: different })
    }
}

fn check_release(release: &ReleaseTerms) -> Result<(), ShapeError> {
    let ReleaseTerms { tick_ms, lease_seconds, max_result_bytes } = release;
    match (tick_ms, lease_seconds, max_result_bytes) {
        (0, _, _) => Err(ShapeError::Zero("tick_ms")),
        (_, 0, _) => Err(ShapeError::Zero("lease_seconds")),
        (_, _, 0) => Err(ShapeError::Zero("max_result_bytes")),
        _ => Ok(()),
    }
}

fn count(what: &'static str, found: usize, most: usize) -> Result<(), ShapeError> {
    if (1..=most).contains(&found) { Ok(()) } else { Err(ShapeError::Count { what, found, most }) }
}

/// The beginning of a text that may be long and strange, fit for an error.
fn clip(text: &str) -> String {
    text.chars().filter(|c| !deceives(*c)).take(MAX_NAME).collect()
}

impl Named {
    const fn marks(self) -> &'static str {
        match self {
            Named::Agreement | Named::Party | Named::Computation => ", `-` and `_`",
            Named::Dataset | Named::Column => " and `_`",
        }
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Named::Agreement => "an agreement",
            Named::Party => "a party",
            Named::Dataset => "a dataset",
            Named::Computation => "a computation",
            Named::Column => "a column",
        })
    }
}

/// The longest name, in bytes.
pub const MAX_NAME: usize = 63;
/// The longest name of a column, in bytes.
pub const MAX_COLUMN: usize = 255;
/// The longest purpose, in bytes.
pub const MAX_PURPOSE: usize = 4096;
/// The longest text of a computation, in bytes.
pub const MAX_PROGRAM: usize = 256 << 10;
const MAX_PARTIES: usize = 64;
const MAX_DATASETS: usize = 256;
const MAX_COMPUTATIONS: usize = 256;
const MAX_WITNESSES: usize = 64;
const MAX_ADDRESS: usize = 261;
const MAX_VERIFIER_KEY: usize = 512;
