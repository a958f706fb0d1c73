//! `identity`: shows one's own public identity, and keeps those of others.

use std::path::{Path, PathBuf};

use agreement::documents::Identity;
use serde_json::json;

use crate::{
    args::Context,
    exit::CliError,
    files::{self, Readers, Taken},
    home::{HomeError, check_name},
    output::Report,
    wallet,
};

/// Print this party's public identity, or keep another party's under a name
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A party that is known here; this party itself if left out
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Keep this identity under NAME: the line itself, a file that holds it, or `-` for standard input
    #[arg(long, value_name = "LINE|FILE", requires = "name")]
    add: Option<String>,
    /// Replace the identity that is kept under NAME, or the file
    #[arg(long)]
    force: bool,
    /// Also write the line into a file that can be sent to others
    #[arg(long, value_name = "FILE", conflicts_with_all = ["add", "list", "age_secret"])]
    out: Option<PathBuf>,
    /// List all parties that are known here
    #[arg(long, conflicts_with_all = ["name", "add", "age_secret"])]
    list: bool,
    /// Print the secret age identity, so that any age tool opens this party's results. Whoever sees it can, too
    #[arg(long, conflicts_with_all = ["name", "add"])]
    age_secret: bool,
}

/// Shows or keeps.
pub(crate) fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    match (args.name, args.add) {
        (Some(name), Some(source)) => add(&name, &source, args.force, context),
        (Some(name), None) => write(&name, &context.home.contact(&name)?, args.out.as_deref(), args.force),
        (None, _) if args.list => Ok(list(context)),
        (None, _) if args.age_secret => {
            let wallet = context.home.wallet(&context.passphrase)?;
            let secret = wallet.age().to_text();
            Ok(Report::done(secret.as_str(), json!({ "age_secret": secret.as_str() })))
        }
        (None, _) => {
            let (name, identity) = wallet::public(&context.home.identity_file())?;
            write(&name, &identity, args.out.as_deref(), args.force)
        }
    }
}

fn write(name: &str, identity: &Identity, out: Option<&Path>, force: bool) -> Result<Report, CliError> {
    if let Some(out) = out {
        let taken = if force { Taken::Replace } else { Taken::Keep };
        files::write(out, format!("{identity}\n").as_bytes(), Readers::Everyone, taken)?;
    }
    Ok(show(name, identity))
}

fn add(name: &str, source: &str, force: bool, context: &Context) -> Result<Report, CliError> {
    check_name(name)?;
    let path = Path::new(source);
    let text = if source.starts_with("glovebox1.") { source.to_owned() } else { files::read_text(path)? };
    let identity: Identity = text.parse().map_err(|source| HomeError::Contact { path: path.to_owned(), source })?;
    let taken = if force { Taken::Replace } else { Taken::Keep };
    let line = format!("{identity}\n");
    files::write(&context.home.contact_file(name), line.as_bytes(), Readers::Everyone, taken)?;
    crate::output::note(format!(
        "compare this key with `{name}` by another way than the one the line came by: {}",
        identity.signing()
    ));
    Ok(show(name, &identity))
}

fn list(context: &Context) -> Report {
    let contacts = context.home.contacts();
    let words: Vec<String> = contacts.iter().map(|(name, identity)| format!("{name} {}", identity.signing())).collect();
    let document: serde_json::Map<_, _> =
        contacts.iter().map(|(name, identity)| (name.clone(), json!(identity.to_string()))).collect();
    Report::done(words.join("\n"), json!({ "parties": document }))
}

fn show(name: &str, identity: &Identity) -> Report {
    let document = json!({
        "name": name,
        "identity": identity.to_string(),
        "signing_key": identity.signing().to_string(),
        "recipient": identity.recipient(),
    });
    Report::done(identity.to_string(), document)
}
