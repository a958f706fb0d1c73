//! `seal`: encrypts a dataset on its owner's machine.
//!
//! What leaves: ciphertext, in a folder or behind a URL, and a signed manifest that says what it is and what may be done with
//! it. What stays: the key, in the owner's directory, sealed to the owner. Either all three are there in the end or none: the
//! ciphertext is written aside, then the key is stored, then the ciphertext gets its name, then the manifest; an error or
//! an interruption takes back what was done.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Seek as _,
    path::{Path, PathBuf},
};

use agreement::{
    documents::{ColumnType, Contents, DatasetId, Manifest, SealedFile},
    shape::{Named, check_name},
    toml::{RulesFile, SourceColumn},
};
use envelope::{
    blob,
    keys::{FileId, TableKey},
    statement::Signed,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;
use table::{Declared, Schema, Source, SourceKey, SqlType};
use zeroize::Zeroizing;

use crate::{
    args::Context,
    exit::CliError,
    files::{self, FileError, Readers, Taken, Unnamed},
    home::{BrokerAddress, DataKey, HomeError},
    interrupt::Abortable,
    output::{self, Report},
    progress::Bar,
    storage::{self, Folder, Published},
    wallet::Wallet,
};

/// Encrypt a table or any file on this machine; write ciphertext and a signed manifest
///
/// A table may be CSV, JSON lines, Arrow or Parquet, and needs a rules file that says what each column may be used for.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The table or file: a path or a URL (file, s3, az, gs, http, https)
    #[arg(value_name = "FILE|URL")]
    input: String,
    /// The rules of the table's columns (TOML)
    #[arg(long, value_name = "FILE", required_unless_present = "blob", conflicts_with = "blob")]
    rules: Option<PathBuf>,
    /// Seal any file, as it is, for computations that read it whole
    #[arg(long, requires = "name")]
    blob: bool,
    /// What the dataset is called; a table's rules file says it
    #[arg(long, value_name = "NAME", conflicts_with = "rules")]
    name: Option<String>,
    /// Where the ciphertext goes: a folder or a URL; `NAME.sealed` if left out
    #[arg(long, value_name = "DIR|URL")]
    out: Option<String>,
    /// Where the manifest goes; `NAME.manifest.json` if left out
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Which broker will hold the key: its `broker.json`, or `KEY@HOST:PORT`; this home's default if left out
    #[arg(long, value_name = "FILE|KEY@HOST:PORT")]
    broker: Option<String>,
    /// Keys of an encrypted Parquet input: JSON with `footer`, and `columns` and `aad_prefix` where it has them, in hexadecimal
    #[arg(long, value_name = "FILE")]
    source_keys: Option<PathBuf>,
    /// Replace the manifest file if it exists
    #[arg(long)]
    force: bool,
}

/// What is to be sealed, as meant.
struct Plan {
    name: String,
    version: u64,
    owner: Wallet,
    broker: BrokerAddress,
    folder: Folder,
    manifest: PathBuf,
    taken: Taken,
}

/// Ciphertext aside, with what the manifest and the owner need to know of it.
struct Ciphertext {
    aside: Unnamed,
    file: SealedFile,
    contents: Contents,
    key: DataKey,
    rows: Option<u64>,
}

/// Seals.
pub(crate) async fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    table::self_check().map_err(CliError::SelfCheck)?;
    let rules = args.rules.as_deref().map(read_rules).transpose()?;
    let plan = Plan::of(&args, rules.as_ref(), context)?;
    let input = storage::open(&args.input).await?;
    // Told after what is wrong with the command itself, and before anything is sealed.
    if plan.manifest.exists() && plan.taken == Taken::Keep {
        return Err(CliError::Taken { path: plan.manifest, option: "--manifest" });
    }
    let ciphertext = match &rules {
        Some(rules) => seal_table(&plan, rules, &args, input)?,
        None => seal_blob(&plan, &args.input, input)?,
    };
    finish(plan, ciphertext, context).await
}

impl Plan {
    fn of(args: &Args, rules: Option<&RulesFile>, context: &Context) -> Result<Plan, CliError> {
        let name = rules.map(|rules| rules.name().to_owned()).or_else(|| args.name.clone()).unwrap_or_default();
        check_name(Named::Dataset, &name).map_err(|_| HomeError::Name(output::plain(&name)))?;
        let broker = args.broker.as_ref().map_or_else(|| context.home.broker(), |text| BrokerAddress::named(text))?;
        let manifest = args.manifest.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.manifest.json")));
        let taken = if args.force { Taken::Replace } else { Taken::Keep };
        let owner = context.home.wallet(&context.passphrase)?;
        let version = context.home.manifests(&name)?.last().map_or(1, |last| last.value().version.saturating_add(1));
        let folder = Folder::of(args.out.as_deref().unwrap_or(&format!("{name}.sealed")))?;
        Ok(Plan { name, version, owner, broker, folder, manifest, taken })
    }

    fn file_name(&self, ending: &str) -> String {
        format!("{}-{}-0.{ending}", self.name, self.version)
    }
}

fn read_rules(path: &Path) -> Result<RulesFile, CliError> {
    Ok(RulesFile::parse(&path.display().to_string(), &files::read(path)?)?)
}

fn seal_table(plan: &Plan, rules: &RulesFile, args: &Args, input: File) -> Result<Ciphertext, CliError> {
    let failed = |source| CliError::Seal { input: args.input.clone(), source };
    let mut source = Source::named(&args.input, input).map_err(failed)?;
    if let Some(path) = &args.source_keys {
        source = source.with_key(read_source_keys(path)?);
    }
    let (schema, columns) = settle(&mut source, rules).map_err(failed)?;
    let contents = rules.apply(&columns)?;
    let key = TableKey::generate();
    let dataset = DatasetId::of(plan.owner.key(), &plan.name).to_string();
    let file = FileId { dataset, version: plan.version, index: 0 };
    let name = plan.file_name("parquet");
    let mut aside = plan.folder.aside(&name, Readers::Everyone)?;
    let mut bar = Bar::new("sealing", source.length());
    let sealed = table::seal_table(&mut source, &schema, &key, &file, Abortable(aside.file()), |bytes| bar.at(bytes));
    let sealed = sealed.map_err(failed)?;
    let file = SealedFile { name, digest: sealed.digest, bytes: sealed.bytes };
    Ok(Ciphertext { aside, file, contents, key: DataKey::table(&key), rows: Some(sealed.rows) })
}

/// The schema in the types that manifests know: narrower numbers are widened, decimals become doubles, and the user is told.
fn settle(source: &mut Source, rules: &RulesFile) -> Result<(Schema, Vec<SourceColumn>), table::SealError> {
    let wanted = rules.types();
    let mut types: BTreeMap<String, String> =
        wanted.iter().map(|(name, kind)| ((*name).to_owned(), sql_word(*kind).to_owned())).collect();
    let declare = |types: &BTreeMap<String, String>| {
        Declared::parse(&types.iter().map(|(name, word)| (name.clone(), word.clone())).collect::<Vec<_>>())
    };
    let inferred = table::infer_schema(source, &declare(&types)?)?;
    let mut widened = false;
    for column in inferred.columns() {
        let (kind, same) = column_type(column.data_type);
        if !same {
            widened = true;
            if matches!(column.data_type, SqlType::Decimal { .. }) {
                output::warn(format!(
                    "column `{}` is sealed as double, not as {}",
                    output::plain(&column.name),
                    column.data_type
                ));
            }
            let word = sql_word(kind);
            let word = if column.nullable { word.to_owned() } else { format!("{word} not null") };
            types.insert(column.name.clone(), word);
        }
    }
    let schema = if widened { table::infer_schema(source, &declare(&types)?)? } else { inferred };
    let columns = schema.columns().iter().map(|column| SourceColumn {
        name: column.name.clone(),
        kind: column_type(column.data_type).0,
        nullable: column.nullable,
    });
    let columns = columns.collect();
    Ok((schema, columns))
}

fn seal_blob(plan: &Plan, input: &str, mut plain: File) -> Result<Ciphertext, CliError> {
    let read = |source| FileError::Read { path: PathBuf::from(input), source };
    let identity = blob::Identity::generate();
    let name = plan.file_name("age");
    let mut aside = plan.folder.aside(&name, Readers::Everyone)?;
    let length = plain.metadata().map_err(read)?.len();
    let mut bar = Bar::new("sealing", length);
    let counted = Counted { input: &mut plain, bytes: 0, bar: &mut bar };
    blob::seal_blob(counted, Abortable(aside.file()), &[identity.recipient()])
        .map_err(|source| CliError::SealBlob { input: input.to_owned(), source })?;
    let written = aside.file();
    let aside_failed = |source| FileError::Write { path: PathBuf::from(&name), source };
    written.rewind().map_err(aside_failed)?;
    let measured = table::Contents::of(written).map_err(aside_failed)?;
    let file = SealedFile { name: name.clone(), digest: measured.digest, bytes: measured.bytes };
    Ok(Ciphertext {
        aside,
        file,
        contents: Contents::Blob {},
        key: DataKey::Blob { identity: identity.to_text() },
        rows: None,
    })
}

/// Signs the manifest and puts everything in its place, or takes it back.
async fn finish(plan: Plan, ciphertext: Ciphertext, context: &Context) -> Result<Report, CliError> {
    let Ciphertext { aside, file, contents, key, rows } = ciphertext;
    let manifest = Manifest {
        name: plan.name.clone(),
        owner: *plan.owner.key(),
        version: plan.version,
        sealed: Timestamp::now(),
        location: plan.folder.location()?,
        files: vec![file.clone()],
        broker: plan.broker.key,
        contents,
    };
    let signed = Signed::sign(manifest, plan.owner.signing())?;
    let series = signed.value().series().map_err(CliError::Unwritable)?;
    let document = json!({
        "dataset": plan.name,
        "version": plan.version,
        "manifest": signed.digest(),
        "series": series,
        "manifest_file": plan.manifest,
        "location": signed.value().location,
        "file": file,
        "rows": rows,
        "broker": plan.broker.key.to_string(),
    });
    let mut undo = Undo::default();
    let written = place(
        &plan.manifest,
        plan.taken,
        &plan.owner,
        plan.folder,
        aside,
        &file.name,
        &signed,
        &key,
        context,
        &mut undo,
    );
    if let Err(error) = written.await {
        undo.all().await;
        return Err(error);
    }
    undo.done = true;
    let rows = rows.map(|rows| format!(", {rows} rows")).unwrap_or_default();
    output::note(format!(
        "sealed {} version {}{rows}: {}{}",
        plan.name,
        plan.version,
        signed.value().location,
        file.name
    ));
    output::note(format!("send {} to the other parties; the key stays here until you agree", plan.manifest.display()));
    let words = format!("manifest {}\nseries   {series}\nfile     {}", signed.digest(), plan.manifest.display());
    Ok(Report::done(words, document))
}

#[expect(clippy::too_many_arguments, reason = "the parts of one step, each used once")]
async fn place(
    manifest_file: &Path,
    taken: Taken,
    owner: &Wallet,
    folder: Folder,
    aside: Unnamed,
    name: &str,
    signed: &Signed<Manifest>,
    key: &DataKey,
    context: &Context,
    undo: &mut Undo,
) -> Result<(), CliError> {
    undo.files.push(context.home.store_key(signed.digest(), key, owner)?);
    undo.published = Some(folder.publish(aside, name).await?);
    undo.files.push(context.home.store_manifest(signed)?);
    let bytes = serde_json::to_vec_pretty(signed.envelope()).map_err(CliError::Json)?;
    files::write(manifest_file, &bytes, Readers::Everyone, taken)?;
    Ok(())
}

/// What to take back unless everything succeeds. An interruption drops it; what lies behind a URL is taken back after an error only,
/// and no interruption can come between its upload and the end.
#[derive(Default)]
struct Undo {
    files: Vec<PathBuf>,
    published: Option<Published>,
    done: bool,
}

impl Undo {
    async fn all(mut self) {
        if let Some(published) = self.published.take() {
            published.remove().await;
        }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if !self.done {
            for file in &self.files {
                let _ = std::fs::remove_file(file);
            }
        }
    }
}

/// A reader that moves a bar and ends when the user asks.
struct Counted<'a> {
    input: &'a mut File,
    bytes: u64,
    bar: &'a mut Bar,
}

impl std::io::Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.bytes += count as u64;
        self.bar.at(self.bytes);
        Ok(count)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceKeys {
    footer: Zeroizing<String>,
    #[serde(default)]
    columns: BTreeMap<String, Zeroizing<String>>,
    #[serde(default)]
    aad_prefix: Option<String>,
}

fn read_source_keys(path: &Path) -> Result<SourceKey, CliError> {
    let wrong = || CliError::SourceKeys(path.to_owned());
    let text = Zeroizing::new(files::read_text(path)?);
    let keys: SourceKeys = serde_json::from_str(&text).map_err(|_| wrong())?;
    let key = |text: &Zeroizing<String>| hex::decode(text.as_str()).map(Zeroizing::new).map_err(|_| wrong());
    let columns = keys.columns.iter().map(|(name, text)| Ok((name.clone(), key(text)?)));
    Ok(SourceKey {
        footer: key(&keys.footer)?,
        columns: columns.collect::<Result<_, CliError>>()?,
        aad_prefix: keys.aad_prefix.map(|text| hex::decode(text).map_err(|_| wrong())).transpose()?,
    })
}

/// The type that a manifest gives a column, and whether it holds the values as they are.
fn column_type(kind: SqlType) -> (ColumnType, bool) {
    match kind {
        SqlType::Boolean => (ColumnType::Boolean, true),
        SqlType::Bigint => (ColumnType::Bigint, true),
        SqlType::Smallint | SqlType::Integer => (ColumnType::Bigint, false),
        SqlType::Double => (ColumnType::Double, true),
        SqlType::Real | SqlType::Decimal { .. } => (ColumnType::Double, false),
        SqlType::Text => (ColumnType::Text, true),
        SqlType::Date => (ColumnType::Date, true),
        SqlType::Timestamp => (ColumnType::Timestamp, true),
    }
}

fn sql_word(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Bigint => "bigint",
        ColumnType::Double => "double",
        ColumnType::Text => "text",
        ColumnType::Boolean => "boolean",
        ColumnType::Date => "date",
        ColumnType::Timestamp => "timestamp",
    }
}
