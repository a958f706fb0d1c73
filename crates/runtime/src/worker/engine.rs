//! From a permitted run to a sealed result: the plan, its sources, its execution, the exit.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::Path,
    sync::Arc,
};

use agreement::{
    documents::{Contents, Engine},
    permit::{Input, Permitted},
};
use envelope::{blob::Recipient, canonical, keys::ColumnKey};
use object_store::local::LocalFileSystem;
use wire::messages::{FileKeys, Keys};

use super::fetch::Fetched;
use crate::{
    release,
    sql::{self, CheckedPlan, Limits, OpenFile, RunError, SourceTable, Sources, TableTerms},
};

pub(super) use crate::sql::Answer;

/// Why the engine gives no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EngineError {
    /// The query does not pass the rules.
    Rules,
    /// It reads more than the agreement records.
    Columns,
    /// Keys are missing.
    Keys,
    /// The ciphertext does not open or is not what it should be.
    Ciphertext,
    /// The result cannot be sealed.
    Seal,
    /// The engine's own code.
    Run(&'static str),
}

/// Where a run's files lie until it is over.
pub(super) struct Opened {
    sources: Sources,
    /// Removed from disk when the run is over.
    _files: Vec<Fetched>,
}

/// Plans the run's query under the owners' rules. What it reads must be what the agreement records, neither more nor less:
/// the parties consented to that list.
pub(super) async fn plan(permitted: &Permitted) -> Result<CheckedPlan, EngineError> {
    let Engine::Sql = permitted.computation().engine;
    let mut tables = Vec::new();
    for (name, input) in permitted.inputs() {
        let Contents::Table { columns, rules } = &input.manifest.contents else { return Err(EngineError::Rules) };
        tables.push(TableTerms { name, columns, rules, owner: &input.owner });
    }
    let plan = sql::check(&permitted.computation().text, &tables).await.map_err(|_| EngineError::Rules)?;
    if *plan.columns() == permitted.computation().columns { Ok(plan) } else { Err(EngineError::Columns) }
}

/// The rules that will be applied, in canonical form; the result's statement has the digest.
pub(super) fn rules(plan: &CheckedPlan) -> Result<String, EngineError> {
    let bytes = canonical::to_vec(plan.explanation()).map_err(|_| EngineError::Rules)?;
    String::from_utf8(bytes).map_err(|_| EngineError::Rules)
}

/// Opens every file with the keys that were released for it. The whole of it is checked before the engine sees any.
pub(super) fn sources(
    permitted: &Permitted,
    mut fetched: BTreeMap<String, Vec<Fetched>>,
    keys: &Keys,
) -> Result<Opened, EngineError> {
    let (mut sources, mut files) = (Sources::new(), Vec::new());
    for (name, input) in permitted.inputs() {
        let here = fetched.remove(name).ok_or(EngineError::Ciphertext)?;
        let released = keys.tables.get(&input.digest).ok_or(EngineError::Keys)?;
        if here.len() != input.manifest.files.len() || released.len() != here.len() {
            return Err(EngineError::Keys);
        }
        let mut open = Vec::new();
        for (index, (file, keys)) in here.iter().zip(released).enumerate() {
            open.push(open_file(input, index, &file.path, keys)?);
        }
        let store = LocalFileSystem::new();
        sources = sources.with(name, SourceTable::Sealed { store: Arc::new(store), files: open });
        files.extend(here);
    }
    Ok(Opened { sources, _files: files })
}

/// Runs the plan.
pub(super) async fn execute(_permitted: Permitted, plan: CheckedPlan, opened: Opened) -> Result<Answer, EngineError> {
    sql::execute(&plan, &opened.sources, &Limits::default()).await.map_err(|error| EngineError::Run(code(error)))
}

/// Through the exit: canonical, padded, sealed to the recipients that the agreement names.
pub(super) fn seal(permitted: &Permitted, answer: Answer) -> Result<Vec<u8>, EngineError> {
    let recipients = permitted.recipients().values().map(|identity| identity.recipient().parse::<Recipient>());
    let recipients = recipients.collect::<Result<Vec<_>, _>>().map_err(|_| EngineError::Seal)?;
    let limit = permitted.release().max_result_bytes;
    let sealed = release::seal_result(&answer, &recipients, limit).map_err(|error| EngineError::Run(code(error)))?;
    Ok(sealed.bytes)
}

fn open_file(input: &Input, index: usize, path: &Path, keys: &FileKeys) -> Result<OpenFile, EngineError> {
    let described = input.manifest.files.get(index).ok_or(EngineError::Ciphertext)?;
    let id = input.manifest.file(u32::try_from(index).map_err(|_| EngineError::Ciphertext)?);
    let held: BTreeSet<&String> = keys.columns.keys().collect();
    if held != input.columns.iter().collect() {
        return Err(EngineError::Keys);
    }
    let footer = ColumnKey::from_bytes(keys.footer.0);
    let columns: BTreeMap<String, ColumnKey> =
        keys.columns.iter().map(|(name, key)| (name.clone(), ColumnKey::from_bytes(key.0))).collect();
    let contents = table::Contents { bytes: described.bytes, digest: described.digest };
    let mut file = File::open(path).map_err(|_| EngineError::Ciphertext)?;
    let sealed = table::Sealed::check(&mut file, &contents, &id, &footer).map_err(|_| EngineError::Ciphertext)?;
    sealed.check_columns(&mut file, &columns).map_err(|_| EngineError::Ciphertext)?;
    let decryption = sealed.decryption_properties(&columns).map_err(|_| EngineError::Keys)?;
    let path = object_store::path::Path::from_absolute_path(path).map_err(|_| EngineError::Ciphertext)?;
    Ok(OpenFile { path, bytes: described.bytes, decryption })
}

const fn code(error: RunError) -> &'static str {
    match error {
        RunError::Inputs => "inputs",
        RunError::Execution => "execution",
        RunError::TooLarge => "too-large",
        RunError::Sealing => "sealing",
    }
}
