//! `evidence`: what any piece of Evidence is, what is in it, and what it proves.
//!
//! `show` looks and judges nothing. `appraise` makes every check of the platform under the makers' anchors that ship inside: without a policy it
//! ends with whether the Evidence is genuine and affirmed, with one (and what this exchange must have bound, for no expectation may be
//! left out) with whether it is admitted. `reference` and `endorse` are about an auditor's word on measurements ([`super::reference`]).

use std::path::{Path, PathBuf};

use attest::{events::RoleNameError, platform::Assurance, reference::ProvidedError};
use clap::Subcommand;
use envelope::Digest;
use jiff::Timestamp;
use serde_json::json;

use super::reference::{self, Endorse, Reference};
use crate::{
    args::Context,
    evidence::{
        examine::{ExamineError, Shelf, examine_under},
        fields::{Field, fields},
        gather::Pieces,
        policy::{Policy, PolicyError},
        reference::ImportError,
        told::{Asked, told},
    },
    exit::CliError,
    files,
    output::Report,
};

/// Tell what Evidence is, what is in it, and what it proves
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Show(Show),
    Appraise(Appraise),
    Reference(Reference),
    Endorse(Endorse),
}

/// Tell what files are and what is in them, without judging
#[derive(Debug, clap::Args)]
struct Show {
    /// Evidence, Endorsements or Reference Values of any platform; a folder stands for the files in it
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// Make every check of the platform and tell the outcome, step by step
///
/// Without `--policy`, exit status 0 means that the Evidence is genuine and its maker affirms it, or that only revocation is not known
/// (`revocation-unknown`: no revocation list was at hand, which the first line says); with `--nonce`, that it is bound to it, too. 1 means refused: a
/// check failed, or the Evidence is genuine and `signature-only`, `conditional` or `out-of-date`.
///
/// With `--policy`, 0 means admitted by it, which takes `--nonce`, too. Without `--nonce` the outcome is told and the exit status is 1,
/// because Evidence that is bound to nothing may be replayed.
///
/// 2 means that nothing could be appraised.
#[derive(Debug, clap::Args)]
struct Appraise {
    /// The Evidence (as bytes, hexadecimal or base64), with certificates and Endorsements that belong to it; a folder stands for the files in it
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Endorsements: a folder of files, or the directory of `glovebox endorsements`
    #[arg(long, value_name = "DIR")]
    endorsements: Option<PathBuf>,
    /// What the owner asks for, TOML or JSON: `hardware` and `measurements`, and where it is wanted `tier_floor`, `admits` and a table `snp`; to be
    /// admitted takes `--nonce`, too
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// What must be bound into the Evidence, whole, in hexadecimal
    #[arg(long, value_name = "HEX")]
    nonce: Option<String>,
    /// A key that you trust by yourself: a TPM's attestation key or an Arm device's (PEM or DER), a Keystone device's (32 bytes); a TPM's quote under
    /// it has the tier `software-tpm`, since nobody else vouches for the key
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// The time to appraise at; now if left out
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
}

/// Why Evidence was not dealt with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EvidenceError {
    /// The files, or what is among them.
    #[error(transparent)]
    Examine(#[from] ExamineError),
    /// What must be bound is not hexadecimal.
    #[error(
        "the nonce is not hexadecimal\nhint: give all bytes that the Evidence must have bound, such as 128 characters for a report's 64 bytes"
    )]
    Nonce,
    /// Nothing must be bound, which anything is.
    #[error("the nonce is empty\nhint: is a variable unset? Leave `--nonce` out to ask for no binding")]
    NoNonce,
    /// The policy.
    #[error(transparent)]
    Policy(PolicyError),
    /// Nothing to state.
    #[error(
        "the Evidence is refused ({0}), so it gives no Reference Values\nhint: `glovebox evidence appraise` tells why"
    )]
    NotGenuine(String),
    /// Genuine, and the maker does not say that all is well.
    #[error(
        "the Evidence is genuine and not affirmed ({}: {}), so it gives no Reference Values\nhint: `glovebox evidence appraise` tells what is missing",
        .0.name(), .0.words()
    )]
    NotAffirmed(Assurance),
    /// A register that is not there.
    #[error("the Evidence has no register `{0}`\nhint: leave `--register` out to see all of them")]
    NoRegister(String),
    /// The document could not count.
    #[error("the Reference Values cannot be meant")]
    Provided(#[source] ProvidedError),
    /// Something else than a signed document.
    #[error("`{path}` does not hold signed Reference Values: {reason}\nhint: name the file that `glovebox evidence reference` wrote", path = .path.display())]
    NotReferenceValues {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Not a role.
    #[error(transparent)]
    Role(RoleNameError),
    /// Not a platform.
    #[error("`{0}` is not a platform\nhint: `tpm`, `sev-snp` and `tdx` are those that workers show")]
    Platform(String),
    /// A CoRIM.
    #[error(transparent)]
    Import(ImportError),
    /// The key of a CoRIM's provider.
    #[error("`{path}` is not a public key in PEM, DER or JWK: {reason}", path = .path.display())]
    ProviderKey {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// Shows, appraises, states or brings.
pub(crate) async fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    match args.verb {
        Verb::Show(args) => Ok(show(&args)?),
        Verb::Appraise(args) => appraise(&args),
        Verb::Reference(args) => reference::state(args, context),
        Verb::Endorse(args) => reference::endorse(args, context).await,
    }
}

fn show(args: &Show) -> Result<Report, EvidenceError> {
    let pieces = Pieces::gather(&args.files).map_err(ExamineError::from)?;
    let mut words = Vec::new();
    let mut documents = Vec::new();
    for piece in &pieces.0 {
        let fields = fields(piece);
        words.push(format!("{}: {}", piece.path.display(), piece.words()));
        words.extend(fields.iter().map(line));
        documents.push(json!({
            "file": piece.path.display().to_string(),
            "kind": piece.words(),
            "sha256": Digest::of(&piece.bytes),
            "fields": fields,
        }));
    }
    words.push("nothing of this was checked; `glovebox evidence appraise` does".to_owned());
    Ok(Report::done(words.join("\n"), json!({ "files": documents })))
}

fn line(field: &Field) -> String {
    let words = if field.words.is_empty() { String::new() } else { format!("  ({})", field.words) };
    format!("  {:<24} {}{words}", field.name, field.value)
}

fn appraise(args: &Appraise) -> Result<Report, CliError> {
    let now = args.at.unwrap_or_else(Timestamp::now);
    let nonce = args.nonce.as_deref().map(Nonce::read).transpose()?;
    let policy = args.policy.as_deref().map(read_policy).transpose()?;
    let keys = args.key.iter().map(|path| files::read(path)).collect::<Result<Vec<_>, _>>()?;
    let mut pieces = Pieces::gather(&args.files).map_err(ExamineError::from).map_err(EvidenceError::from)?;
    let shelf = Shelf::open(args.endorsements.as_deref(), &mut pieces).map_err(EvidenceError::from)?;
    let snp = policy.as_ref().map(|policy| policy.snp.clone()).unwrap_or_default();
    let examined = examine_under(&pieces, &shelf, &snp, &keys, now).map_err(EvidenceError::from)?;
    let asked = Asked {
        nonce: nonce.as_ref().map(|nonce| nonce.0.as_slice()),
        named: !keys.is_empty(),
        policy: policy.as_ref().map(|policy| &policy.platform),
    };
    Ok(told(&pieces.0, examined, &asked, now))
}

fn read_policy(path: &Path) -> Result<Policy, CliError> {
    let text = files::read_text(path)?;
    Ok(Policy::read(path, &text).map_err(EvidenceError::Policy)?)
}

/// What must be bound: at least one byte, since Evidence that binds nothing would be bound to nothing.
struct Nonce(Vec<u8>);

impl Nonce {
    fn read(text: &str) -> Result<Nonce, EvidenceError> {
        let bytes = hex::decode(text).map_err(|_| EvidenceError::Nonce)?;
        if bytes.is_empty() { Err(EvidenceError::NoNonce) } else { Ok(Nonce(bytes)) }
    }
}
