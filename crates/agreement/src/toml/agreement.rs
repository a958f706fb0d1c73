//! The text of an agreement, as one party writes it and sends it to the others.
//!
//! A [`Draft`] is what the file and the files it names say. It lacks one thing, which nobody writes by hand: the columns that each
//! computation reads. `check` derives them from the program and the manifests, and [`Draft::with_columns`] makes the agreement.
//! Since the agreement carries identities, programs and policies themselves, it does not depend on those files afterwards.

use std::collections::{BTreeMap, BTreeSet};

use attest::AppraisalPolicy;
use envelope::{
    Digest, PublicKey, canonical,
    statement::{Envelope, Signed},
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::{
    policy::{policy, workers},
    reader::{Document, Table, TomlError, Value},
};
use crate::{
    documents::{
        Agreement, BrokerTerms, Charge, Computation, DatasetSource, DatasetTerms, Engine, Identity, Manifest,
        PartyTerms, ReleaseTerms, WitnessTerms,
    },
    shape::{MAX_PROGRAM, MAX_PURPOSE, Named, ShapeError, SoundAgreement, check_name, check_text},
};

/// Reads agreement files.
pub struct AgreementFile;

/// An agreement without the columns of its computations.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    agreement: Agreement,
    manifests: BTreeMap<String, Signed<Manifest>>,
}

/// Why the derived columns do not complete a draft.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// No columns were given for a computation.
    #[error("the columns of computation `{0}` have not been derived")]
    NotDerived(String),
    /// The whole makes no sense.
    #[error("the agreement is not sound")]
    Shape(#[source] ShapeError),
}

/// Reads the files that a file names, and says why it could not.
pub(super) type ReadFile<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

#[derive(Clone, Copy)]
pub(super) struct Files<'a>(ReadFile<'a>);

impl AgreementFile {
    /// Reads the text of an agreement. `file` is its name, for messages; `read` gives the contents of a file that it names.
    ///
    /// # Errors
    /// The first mistake, with its place.
    pub fn parse<E: std::fmt::Display>(
        file: &str,
        bytes: &[u8],
        read: impl Fn(&str) -> Result<Vec<u8>, E>,
    ) -> Result<Draft, TomlError> {
        let read = |path: &str| read(path).map_err(|error| error.to_string());
        let files = Files(&read);
        let document = Document::parse(file, bytes)?;
        let root = document.root();
        root.only(&[
            "name",
            "purpose",
            "expires",
            "predecessor",
            "parties",
            "datasets",
            "computations",
            "broker",
            "workers",
            "witnesses",
            "release",
        ])?;
        let name = named(&root.need("name", "name = \"readmissions\"")?, Named::Agreement)?;
        let purpose = root.need("purpose", "purpose = \"why the parties compute\"")?;
        check_text(purpose.string()?, MAX_PURPOSE).map_err(|fault| purpose.value_error(fault.to_string(), None))?;
        let expires = time(&root.need("expires", "expires = 2027-06-30T00:00:00Z")?)?;
        let predecessor = root.get("predecessor").map(|digest| digest.parsed::<Digest>()).transpose()?;
        let parties = parties(&root.need("parties", "[parties]")?.table()?, files)?;
        let broker = broker(&root.need("broker", "[broker]")?.table()?, files)?;
        let (datasets, manifests) = datasets(&root, &parties, &broker.key, files)?;
        let agreement = Agreement {
            name,
            purpose: purpose.string()?.to_owned(),
            computations: computations(&root, &parties, files)?,
            parties,
            datasets,
            broker,
            workers: workers(&root.need("workers", "[workers]")?.table()?, files)?,
            witnesses: witnesses(root.get("witnesses"))?,
            release: release(root.get("release"))?,
            expires,
            predecessor,
        };
        Ok(Draft { agreement, manifests })
    }
}

impl Draft {
    /// The agreement so far: its computations read no column yet.
    pub const fn agreement(&self) -> &Agreement {
        &self.agreement
    }

    /// The signed manifests that the file names, by dataset; those named by digest alone are not here.
    pub const fn manifests(&self) -> &BTreeMap<String, Signed<Manifest>> {
        &self.manifests
    }

    /// Completes the agreement with the columns that `check` derived, by computation and dataset.
    ///
    /// # Errors
    /// A computation without columns, or an agreement that is not sound.
    pub fn with_columns(
        mut self,
        mut columns: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    ) -> Result<SoundAgreement, DraftError> {
        for (name, computation) in &mut self.agreement.computations {
            computation.columns = columns.remove(name).ok_or_else(|| DraftError::NotDerived(name.clone()))?;
        }
        SoundAgreement::new(self.agreement).map_err(DraftError::Shape)
    }
}

impl Files<'_> {
    /// The contents of the file that a value names.
    pub(super) fn read(self, value: &Value<'_, '_>) -> Result<Vec<u8>, TomlError> {
        let path = value.string()?;
        (self.0)(path).map_err(|error| value.file_error(path, error))
    }

    /// An identity, or the one in the file that a value names.
    pub(super) fn identity(self, value: &Value<'_, '_>) -> Result<Identity, TomlError> {
        if value.string()?.starts_with("glovebox1.") {
            return value.parsed::<Identity>();
        }
        let bytes = self.read(value)?;
        let text = String::from_utf8_lossy(&bytes);
        text.trim().parse().map_err(|error| value.file_error(value.string().unwrap_or_default(), error))
    }

    /// The JSON document in the file that a value names, in any spelling; `hint` says what to do if it holds none.
    pub(super) fn json<T: DeserializeOwned>(self, value: &Value<'_, '_>, hint: &str) -> Result<T, TomlError> {
        let bytes = self.read(value)?;
        canonical::from_slice_loose(&bytes)
            .map_err(|error| value.file_error(value.string().unwrap_or_default(), format!("{error}\nhint: {hint}")))
    }
}

type Parties = BTreeMap<String, PartyTerms>;

fn named(value: &Value<'_, '_>, of: Named) -> Result<String, TomlError> {
    let name = value.string()?;
    check_name(of, name).map_err(|error| value.fault(error))?;
    Ok(name.to_owned())
}

fn time(value: &Value<'_, '_>) -> Result<Timestamp, TomlError> {
    value.time_text()?.parse().map_err(|_| {
        let hint = "write it with date, time and offset, as `2027-06-30T00:00:00Z`";
        value.value_error("is not a moment in time".to_owned(), Some(hint.to_owned()))
    })
}

/// Each an identity, or the file that holds one.
fn parties(table: &Table<'_, '_>, files: Files<'_>) -> Result<Parties, TomlError> {
    let mut parties = Parties::new();
    for (name, value) in table.values() {
        check_name(Named::Party, &name).map_err(|error| value.fault(error))?;
        let identity = files.identity(&value)?;
        let twin = parties.iter().find(|(_, terms)| terms.identity.signing() == identity.signing());
        if let Some((twin, _)) = twin {
            return Err(value.value_error(
                format!("is the same party as `{twin}`"),
                Some("each party has keys of its own, made with `glovebox init` in a `--home` of its own".to_owned()),
            ));
        }
        parties.insert(name, PartyTerms { identity });
    }
    Ok(parties)
}

fn party(value: &Value<'_, '_>, parties: &Parties) -> Result<String, TomlError> {
    let name = value.string()?;
    if parties.contains_key(name) {
        return Ok(name.to_owned());
    }
    let known: Vec<&str> = parties.keys().map(String::as_str).collect();
    Err(value.unknown_name("a party of this agreement", name, &known))
}

type Datasets = (BTreeMap<String, DatasetTerms>, BTreeMap<String, Signed<Manifest>>);

fn datasets(
    root: &Table<'_, '_>,
    parties: &Parties,
    broker: &PublicKey,
    files: Files<'_>,
) -> Result<Datasets, TomlError> {
    let (mut datasets, mut manifests) = Datasets::default();
    for (name, value) in root.need("datasets", "[datasets.admissions]")?.table()?.values() {
        check_name(Named::Dataset, &name).map_err(|error| value.fault(error))?;
        let table = value.table()?;
        table.only(&["owner", "manifest", "series"])?;
        let owner = party(&table.need("owner", "owner = \"hospital\"")?, parties)?;
        let (source, manifest) = match (table.get("manifest"), table.get("series")) {
            (Some(version), None) => {
                source(&version, files, |manifest| Ok(DatasetSource::Version(*manifest.digest())))?
            }
            (None, Some(series)) => source(&series, files, |manifest| {
                manifest.value().series().map(DatasetSource::Series).map_err(|error| series.fault(error))
            })?,
            (Some(_), Some(series)) => {
                let hint = "name one version with `manifest`, or all of them with `series`".to_owned();
                return Err(series.value_error("cannot stand beside `manifest`".to_owned(), Some(hint)));
            }
            (None, None) => {
                table.need("manifest", "manifest = \"admissions.manifest.json\"")?;
                continue;
            }
        };
        if let Some(manifest) = manifest {
            check_manifest(&value, &manifest, &owner, parties, broker)?;
            manifests.insert(name.clone(), manifest);
        }
        datasets.insert(name, DatasetTerms { owner, source });
    }
    Ok((datasets, manifests))
}

/// A digest, or the file of a signed manifest.
fn source(
    value: &Value<'_, '_>,
    files: Files<'_>,
    of: impl Fn(&Signed<Manifest>) -> Result<DatasetSource, TomlError>,
) -> Result<(DatasetSource, Option<Signed<Manifest>>), TomlError> {
    let text = value.string()?;
    if text.starts_with("sha256:") {
        let digest: Digest = value.parsed()?;
        // Both kinds of name are digests; which one it is follows from the key.
        let json = serde_json::Value::String(digest.to_string());
        let source = if value.key() == "series" {
            serde_json::from_value(json).map(DatasetSource::Series).map_err(|error| value.fault(error))?
        } else {
            DatasetSource::Version(digest)
        };
        return Ok((source, None));
    }
    let envelope: Envelope = files.json(value, AGAIN)?;
    let manifest = Signed::<Manifest>::open(&envelope)
        .map_err(|error| value.unsigned(Some(text), format!("{error}\nhint: {AGAIN}")))?;
    Ok((of(&manifest)?, Some(manifest)))
}

/// What can be told early; whether the agreement may read it is decided with the other facts.
fn check_manifest(
    value: &Value<'_, '_>,
    manifest: &Signed<Manifest>,
    owner: &str,
    parties: &Parties,
    broker: &PublicKey,
) -> Result<(), TomlError> {
    let stated = &manifest.value().owner;
    let key = parties.get(owner).map(|terms| terms.identity.signing());
    if key != Some(stated) && key != Some(manifest.signer()) {
        let known = parties.iter().find(|(_, terms)| terms.identity.signing() == manifest.signer());
        let signer = known.map_or_else(|| manifest.signer().to_string(), |(name, _)| name.clone());
        let hint = "ask its owner for the manifest, or correct `owner`";
        let reason = format!("its manifest is signed by `{signer}`, who is not `{owner}`\nhint: {hint}");
        return Err(value.unsigned(None, reason));
    }
    if manifest.value().broker != *broker {
        let named = &manifest.value().broker;
        let hint = "its owner seals it for this broker, or `[broker]` names that one";
        return Err(value
            .fault(format!("its manifest names the broker `{named}`, not the one of this agreement\nhint: {hint}")));
    }
    Ok(())
}

fn computations(
    root: &Table<'_, '_>,
    parties: &Parties,
    files: Files<'_>,
) -> Result<BTreeMap<String, Computation>, TomlError> {
    let mut computations = BTreeMap::new();
    for (name, value) in root.need("computations", "[computations.by-diagnosis]")?.table()?.values() {
        check_name(Named::Computation, &name).map_err(|error| value.fault(error))?;
        let table = value.table()?;
        table.only(&["sql", "sql_file", "recipients"])?;
        let (at, text) = match (table.get("sql"), table.get("sql_file")) {
            (Some(sql), None) => (sql.clone(), sql.string()?.to_owned()),
            (None, Some(file)) => {
                let bytes = files.read(&file)?;
                let path = file.string()?;
                (file.clone(), String::from_utf8(bytes).map_err(|_| file.file_error(path, "it is not UTF-8 text"))?)
            }
            (Some(_), Some(file)) => return Err(file.value_error("cannot stand beside `sql`".to_owned(), None)),
            (None, None) => (table.need("sql", "sql = \"\"\"SELECT …\"\"\"")?, String::new()),
        };
        // Line endings of one kind only, so that the program's digest does not depend on an editor.
        let text = text.replace("\r\n", "\n").trim().to_owned();
        check_text(&text, MAX_PROGRAM).map_err(|fault| at.fault(format!("the program {fault}")))?;
        let recipients = table.need("recipients", "recipients = [\"university\"]")?;
        let listed = recipients.list()?;
        if listed.is_empty() {
            return Err(recipients.value_error("names nobody, so nobody could open the result".to_owned(), None));
        }
        let recipients = listed.iter().map(|name| party(name, parties)).collect::<Result<_, _>>()?;
        let (columns, charge) = (BTreeMap::new(), Charge::Thresholds {});
        computations.insert(name, Computation { engine: Engine::Sql, text, columns, recipients, charge });
    }
    Ok(computations)
}

/// The terms that the broker printed, or the same spelt out.
fn broker(table: &Table<'_, '_>, files: Files<'_>) -> Result<BrokerTerms, TomlError> {
    if let Some(file) = table.get("file") {
        table.only(&["file"])?;
        return files.json(&file, "ask the broker's operator for the file, or run `glovebox up` again");
    }
    table.only(&["file", "key", "log", "address", "policy"])?;
    let policy: AppraisalPolicy = policy(&table.need("policy", "[broker.policy]")?.table()?, "broker", &[], files)?;
    Ok(BrokerTerms {
        key: table.need("key", "key = \"ed25519:…\"")?.parsed()?,
        log: table.need("log", "log = \"name+id+key\"")?.string()?.to_owned(),
        address: table.need("address", "address = \"127.0.0.1:7143\"")?.string()?.to_owned(),
        policy,
    })
}

fn witnesses(value: Option<Value<'_, '_>>) -> Result<WitnessTerms, TomlError> {
    let Some(value) = value else { return Ok(WitnessTerms { required: 0, keys: Vec::new() }) };
    let table = value.table()?;
    table.only(&["required", "keys"])?;
    let keys = table.need("keys", "keys = [\"name+id+key\"]")?;
    let listed = keys.strings()?;
    let required = table.need("required", "required = 1")?;
    let count = required.integer(0, u64::from(u32::MAX))?;
    if count > listed.len() as u64 {
        return Err(required.value_error(format!("asks for more than the {} witnesses listed", listed.len()), None));
    }
    Ok(WitnessTerms { required: u32::try_from(count).unwrap_or(u32::MAX), keys: listed })
}

fn release(value: Option<Value<'_, '_>>) -> Result<ReleaseTerms, TomlError> {
    let table = value.map(|value| value.table()).transpose()?;
    if let Some(table) = &table {
        table.only(&["tick_ms", "lease_seconds", "max_result_bytes"])?;
    }
    let get = |key: &str, most: u64, default: u64| match table.as_ref().and_then(|table| table.get(key)) {
        Some(value) => value.integer(1, most),
        None => Ok(default),
    };
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(ReleaseTerms {
        tick_ms: small(get("tick_ms", 86_400_000, DEFAULT_RELEASE.tick_ms.into())?),
        lease_seconds: small(get("lease_seconds", 86_400, DEFAULT_RELEASE.lease_seconds.into())?),
        max_result_bytes: get("max_result_bytes", 1 << 40, DEFAULT_RELEASE.max_result_bytes)?,
    })
}

/// What to do about a manifest that cannot be used.
const AGAIN: &str = "ask its owner for the manifest again";

/// Where `[release]` or a part of it is not written.
const DEFAULT_RELEASE: ReleaseTerms = ReleaseTerms { tick_ms: 1000, lease_seconds: 300, max_result_bytes: 16 << 20 };
