//! `check`: what a computation would read and show, before anybody is asked to approve it.
//!
//! For each output column its origin, the rule that passes or stops it, and the smallest change that would pass. The worker
//! decides with the same code.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use agreement::documents::{Agreement, DatasetSource, DatasetTerms, Manifest};
use envelope::statement::Signed;
use runtime::sql::{CheckError, Explanation};
use serde_json::{Value, json};

use crate::{
    args::Context,
    exit::CliError,
    files,
    home::read_manifest,
    output::{self, Report},
    terms::{self, Columns},
};

/// Check computations against the rules of the data, and explain the verdict
///
/// Exit status 1 if any is refused.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// An agreement (TOML): all its computations are checked
    #[arg(value_name = "AGREEMENT", required_unless_present = "sql", conflicts_with_all = ["sql", "manifest"])]
    agreement: Option<PathBuf>,
    /// Only this computation of the agreement
    #[arg(long, value_name = "NAME", requires = "agreement")]
    computation: Option<String>,
    /// A query in a file, or `-` for standard input
    #[arg(long, value_name = "FILE", requires = "manifest")]
    sql: Option<PathBuf>,
    /// The manifest of a table that the query reads, under its own name or another: `[NAME=]FILE`
    #[arg(long, value_name = "MANIFEST", num_args = 1..)]
    manifest: Vec<String>,
}

/// What is checked: programs over tables.
struct Subject {
    programs: BTreeMap<String, String>,
    datasets: BTreeMap<String, DatasetTerms>,
    manifests: BTreeMap<String, Signed<Manifest>>,
    /// The agreement whose they are.
    agreement: Option<Agreement>,
}

/// Checks.
pub(crate) async fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    let subject = match (&args.agreement, &args.sql) {
        (Some(path), _) => Subject::of_agreement(path, args.computation.as_deref(), context)?,
        (None, Some(sql)) => Subject::of_query(sql, &args.manifest, context)?,
        (None, None) => return Err(CliError::NothingToCheck),
    };
    let (mut words, mut documents, mut all_pass) = (Vec::new(), serde_json::Map::new(), true);
    let mut passed = BTreeMap::new();
    for (name, text) in &subject.programs {
        let verdict = terms::check(text, &subject.datasets, &subject.manifests).await;
        let (columns, explanation) = match verdict {
            Ok(plan) => {
                let told = (Some(plan.columns().clone()), plan.explanation().clone());
                passed.insert(name.as_str(), plan);
                told
            }
            Err(CheckError::Refused(explanation)) => (None, *explanation),
            Err(source) => return Err(terms::TermsError::Query { computation: name.clone(), source }.into()),
        };
        all_pass &= columns.is_some();
        words.push(tell(name, columns.as_ref(), &explanation));
        documents.insert(name.clone(), document(columns.as_ref(), &explanation)?);
    }
    let groupings = passed.iter().map(|(name, plan)| (*name, plan.groupings())).collect();
    let subtractions =
        subject.agreement.as_ref().map_or_else(Vec::new, |agreement| terms::subtractions(agreement, &groupings));
    for subtraction in &subtractions {
        output::warn(subtraction);
    }
    let document = json!({ "passes": all_pass, "computations": documents, "subtractions": subtractions });
    let words = words.join("\n\n");
    Ok(if all_pass { Report::done(words, document) } else { Report::refused(words, document) })
}

impl Subject {
    fn of_agreement(path: &Path, only: Option<&str>, context: &Context) -> Result<Subject, CliError> {
        let draft = terms::read_draft(path, &context.home)?;
        let agreement = draft.agreement();
        let mut known = Vec::new();
        for name in context.home.datasets() {
            known.extend(context.home.manifests(&name)?);
        }
        let (manifests, _) = terms::match_manifests(agreement, draft.manifests().values().cloned().chain(known))?;
        let mut programs: BTreeMap<String, String> =
            agreement.computations.iter().map(|(name, computation)| (name.clone(), computation.text.clone())).collect();
        if let Some(only) = only {
            if !programs.contains_key(only) {
                return Err(CliError::no_computation(only, agreement));
            }
            programs.retain(|name, _| name == only);
        }
        Ok(Subject { programs, datasets: agreement.datasets.clone(), manifests, agreement: Some(agreement.clone()) })
    }

    fn of_query(sql: &Path, given: &[String], context: &Context) -> Result<Subject, CliError> {
        let text = files::read_text(sql)?;
        let name = sql.file_stem().map_or_else(|| "query".to_owned(), |stem| stem.to_string_lossy().into_owned());
        let (mut datasets, mut manifests) = (BTreeMap::new(), BTreeMap::new());
        for text in given {
            let (name, path) = match text.split_once('=') {
                Some((name, path)) => (Some(name.to_owned()), path),
                None => (None, text.as_str()),
            };
            let manifest = read_manifest(Path::new(path))?;
            let name = name.unwrap_or_else(|| manifest.value().name.clone());
            // Without an agreement an owner has the name that it has among the contacts, or else the key stands for it.
            let mut contacts = context.home.contacts().into_iter();
            let known = contacts.find(|(_, identity)| *identity.signing() == manifest.value().owner);
            let owner = known.map_or_else(|| manifest.value().owner.short(), |(name, _)| name);
            datasets.insert(name.clone(), DatasetTerms { owner, source: DatasetSource::Version(*manifest.digest()) });
            manifests.insert(name, manifest);
        }
        Ok(Subject { programs: BTreeMap::from([(name, text)]), datasets, manifests, agreement: None })
    }
}

fn tell(name: &str, columns: Option<&Columns>, explanation: &Explanation) -> String {
    let verdict = if columns.is_some() { "passes" } else { "refused" };
    let mut text = format!("{name}: {verdict}\n{}", indent(explanation.to_string().trim_end()));
    if let Some(columns) = columns {
        let read: Vec<String> = columns
            .iter()
            .map(|(table, columns)| format!("{table} ({})", columns.iter().cloned().collect::<Vec<_>>().join(", ")))
            .collect();
        text.push_str(&format!("\n  reads {}", read.join(", ")));
    }
    text
}

fn document(columns: Option<&Columns>, explanation: &Explanation) -> Result<Value, CliError> {
    let explanation = serde_json::to_value(explanation).map_err(CliError::Json)?;
    Ok(json!({ "passes": columns.is_some(), "columns": columns, "explanation": explanation }))
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
