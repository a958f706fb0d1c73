//! `verify`: repeats every decision behind a result, offline, from the receipt and what the verifier trusts beforehand.

use std::path::{Path, PathBuf};

use agreement::documents::Identity;
use envelope::Digest;
use receipt::{Anchors, Receipt, Step};
use serde_json::json;

use crate::{
    args::Context,
    exit::CliError,
    files,
    home::HomeError,
    output::{self, Report},
};

/// Verify a receipt, offline and step by step
///
/// Anyone can. Exit status 1 with the name of the step that failed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The receipt
    receipt: PathBuf,
    /// The sealed result that belongs to it
    #[arg(long, value_name = "FILE")]
    result: Option<PathBuf>,
    /// The agreement must be this one: a digest, or the name of one that is known here
    #[arg(long, value_name = "DIGEST|NAME")]
    agreement: Option<String>,
    /// This must be a party to it: an identity line, a file that holds one, or the name of a party known here
    #[arg(long, value_name = "IDENTITY", num_args = 1..)]
    party: Vec<String>,
}

/// Verifies.
pub(crate) fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    let bytes = files::read(&args.receipt)?;
    let receipt =
        Receipt::parse(&bytes).map_err(|source| CliError::NotAReceipt { path: args.receipt.clone(), source })?;
    let anchors = Anchors {
        agreement: args.agreement.as_deref().map(|text| agreement(text, context)).transpose()?,
        parties: args.party.iter().map(|text| party(text, context)).collect::<Result<_, _>>()?,
    };
    // Whoever makes all parties, the broker and the worker makes a receipt that verifies by itself.
    let anchored = anchors.agreement.is_some() || !anchors.parties.is_empty();
    let output = args.result.as_deref().map(|path| files::read(path).map(|bytes| Digest::of(&bytes))).transpose()?;
    match receipt::verify(&receipt, &anchors, output.as_ref()) {
        Ok(verified) => {
            let mut words: Vec<String> = verified.steps().iter().map(line).collect();
            let rollback = match verified.rollback() {
                tlog::Rollback::NotWitnessed => "rollback: not witnessed".to_owned(),
                tlog::Rollback::Witnessed(count) => format!("rollback: witnessed by {count}"),
            };
            words.push(rollback.clone());
            if let Some(caution) = verified.caution() {
                words.push(format!("caution: {caution}"));
            }
            if !anchored {
                output::warn(UNANCHORED);
            }
            words.push("receipt verified".to_owned());
            let document = json!({
                "verified": true,
                "anchored": anchored,
                "anchored_parties": anchors.named(&receipt),
                "steps": verified.steps(),
                "rollback": rollback,
                "caution": verified.caution(),
                "attestation": verified.attestation(),
                "result": verified.result(),
            });
            Ok(Report::done(words.join("\n"), document))
        }
        Err(failure) => {
            for step in &failure.passed {
                output::note(line(step));
            }
            Err(CliError::Receipt(failure))
        }
    }
}

fn line(step: &Step) -> String {
    format!("{:>2}. {}: {}", step.number, step.name, step.words)
}

fn agreement(text: &str, context: &Context) -> Result<Digest, CliError> {
    match text.parse() {
        Ok(digest) => Ok(digest),
        Err(_) => Ok(context.home.proposal(text)?.0),
    }
}

fn party(text: &str, context: &Context) -> Result<Identity, CliError> {
    if let Ok(identity) = text.parse() {
        return Ok(identity);
    }
    let path = Path::new(text);
    if path.is_file() {
        let text = files::read_text(path)?;
        return Ok(text.parse().map_err(|source| HomeError::Contact { path: path.to_owned(), source })?);
    }
    match context.home.contact(text) {
        Err(HomeError::Name(_) | HomeError::NoContact(_)) => Err(HomeError::NoIdentity(output::plain(text)).into()),
        found => Ok(found?),
    }
}

const UNANCHORED: &str = "nothing here says whose receipt this is: somebody alone can make all of its parties\nhint: name the agreement with `--agreement`, or parties that you know with `--party`";
