//! `evidence`: what any piece of Evidence is, what is in it, and what it proves.
//!
//! `show` looks and judges nothing. `appraise` makes every check of the platform under the makers' anchors that ship inside: without a policy it
//! ends with whether the Evidence is genuine and affirmed, with one (and what this exchange must have bound, for no expectation may be
//! left out) with whether it is admitted. `reference` and `endorse` are about an auditor's word on measurements ([`super::reference`]).

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use attest::{
    events::RoleNameError,
    platform::{Assurance, Genuine, PlatformPolicy},
    reference::ProvidedError,
    snp::SnpPolicy,
};
use clap::Subcommand;
use envelope::Digest;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::reference::{self, Endorse, Reference};
use crate::{
    args::Context,
    evidence::{
        examine::{ExamineError, Examined, Refused, Shelf, examine},
        fields::{Field, fields},
        gather::{Piece, Pieces},
        reference::ImportError,
    },
    exit::{CliError, Status},
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
/// Exit status 0 when the Evidence is genuine and affirmed (with a policy: admitted), 1 when it is refused, 2 when nothing could be appraised.
#[derive(Debug, clap::Args)]
struct Appraise {
    /// The Evidence, with certificates and Endorsements that belong to it; a folder stands for the files in it
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Endorsements: a folder of files, or the directory of `glovebox endorsements`
    #[arg(long, value_name = "DIR")]
    endorsements: Option<PathBuf>,
    /// What the owner asks for, TOML or JSON: `tier_floor`, `admits`, `hardware`, `measurements`, and a table `snp`
    #[arg(long, value_name = "FILE", requires = "nonce")]
    policy: Option<PathBuf>,
    /// What must be bound into the Evidence, whole, in hexadecimal
    #[arg(long, value_name = "HEX")]
    nonce: Option<String>,
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
    #[error("`{path}` is not a policy: {reason}", path = .path.display())]
    Policy {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
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
        words.push(format!("{}: {}", piece.path.display(), piece.kind.words()));
        words.extend(fields.iter().map(line));
        documents.push(json!({
            "file": piece.path.display().to_string(),
            "kind": piece.kind.words(),
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
    let (platform, snp) = policy.map_or((None, SnpPolicy::default()), |policy| (Some(policy.0), policy.1));
    let mut pieces = Pieces::gather(&args.files).map_err(ExamineError::from).map_err(EvidenceError::from)?;
    let shelf = Shelf::open(args.endorsements.as_deref(), &mut pieces).map_err(EvidenceError::from)?;
    let examined = examine(&pieces, &shelf, &snp, now).map_err(EvidenceError::from)?;
    Ok(told(&pieces.0, examined, nonce.as_ref(), platform.as_ref(), now))
}

/// What must be bound: at least one byte, since Evidence that binds nothing would be bound to nothing.
struct Nonce(Vec<u8>);

impl Nonce {
    fn read(text: &str) -> Result<Nonce, EvidenceError> {
        let bytes = hex::decode(text).map_err(|_| EvidenceError::Nonce)?;
        if bytes.is_empty() { Err(EvidenceError::NoNonce) } else { Ok(Nonce(bytes)) }
    }
}

/// A policy file: the platform's part, and SEV-SNP's own table.
fn read_policy(path: &Path) -> Result<(PlatformPolicy, SnpPolicy), CliError> {
    let text = files::read_text(path)?;
    let wrong = |reason: String| EvidenceError::Policy { path: path.to_owned(), reason };
    let mut value: Value = if text.trim_start().starts_with('{') {
        serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?
    } else {
        toml::from_str(&text).map_err(|error| wrong(error.to_string()))?
    };
    let snp = value.as_object_mut().and_then(|members| members.remove("snp"));
    let snp = snp.map_or_else(|| Ok(SnpPolicy::default()), serde_json::from_value);
    let snp = snp.map_err(|error| wrong(error.to_string()))?;
    let platform: PlatformPolicy = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
    platform.digest().map_err(|error| wrong(error.to_string()))?;
    Ok((platform, snp))
}

/// The verdict in words and as a document.
fn told(
    pieces: &[Piece],
    examined: Examined,
    nonce: Option<&Nonce>,
    policy: Option<&PlatformPolicy>,
    now: Timestamp,
) -> Report {
    let kind = examined.kind.words();
    let files: Vec<String> = pieces.iter().map(|piece| piece.path.display().to_string()).collect();
    let mut document = json!({ "evidence": kind, "files": files, "at": now });
    let genuine = match examined.outcome {
        Ok(genuine) => genuine,
        Err(refused) => return refusal(format!("{kind}\n"), document, &refused),
    };
    let mut words = format!("{kind}\n{}", described(&genuine));
    merge(&mut document, &genuine);
    let outcome = match (policy, nonce) {
        (Some(policy), nonce) => genuine
            .appraise(nonce.map(|nonce| nonce.0.as_slice()).unwrap_or_default(), policy)
            .map(|appraised| format!("appraised: admitted by the policy, tier {}", appraised.tier()))
            .map_err(|unfit| Refused::unfit(unfit.code(), &unfit)),
        // Whether a certificate was revoked is said beside the verdict; a policy decides whether that is enough.
        (None, _) if !matches!(genuine.assurance(), Assurance::Affirmed | Assurance::RevocationUnknown) => Err(Refused {
            step: None,
            code: "not-affirmed".to_owned(),
            words: format!("{}: {}\n{}", genuine.assurance().name(), genuine.assurance().words(), remedy(&genuine)),
        }),
        (None, Some(nonce)) if genuine.bound() != nonce.0 => Err(Refused {
            step: None,
            code: "not-bound".to_owned(),
            words: "what is bound into the Evidence is another\nhint: compare it whole; it was made for another exchange, or is replayed"
                .to_owned(),
        }),
        (None, Some(_)) => Ok("genuine, and bound to the nonce; no policy was given".to_owned()),
        (None, None) => Ok("genuine; neither a nonce nor a policy was given, so it is bound to nothing here".to_owned()),
    };
    match outcome {
        Ok(verdict) => {
            words.push_str(&verdict);
            put(&mut document, "verdict", json!(if policy.is_some() { "appraised" } else { "genuine" }));
            Report { words, document, status: Status::Done }
        }
        Err(refused) => refusal(words, document, &refused),
    }
}

fn refusal(mut words: String, mut document: Value, refused: &Refused) -> Report {
    let place = refused.step.map(|step| format!(" at step {step}")).unwrap_or_default();
    let _ = write!(words, "refused{place} ({}): {}", refused.code, refused.words);
    let hint = refused.words.lines().find_map(|line| line.strip_prefix("hint: "));
    if hint.is_none() {
        let _ = write!(words, "\nhint: {}", general_remedy(&refused.code));
    }
    put(&mut document, "verdict", json!("refused"));
    let failed = json!({
        "step": refused.step,
        "code": refused.code,
        "words": refused.words.lines().next(),
        "hint": hint.unwrap_or_else(|| general_remedy(&refused.code)),
    });
    put(&mut document, "failed", failed);
    Report::refused(words, document)
}

fn described(genuine: &Genuine) -> String {
    let mut text = String::new();
    for step in genuine.steps() {
        let _ = writeln!(text, "{:>3}. passed: {}", step.number, step.words);
    }
    let _ = writeln!(text, "platform   {}", genuine.platform());
    let _ = writeln!(text, "assurance  {}: {}", genuine.assurance().name(), genuine.assurance().words());
    let _ = writeln!(text, "tier       {}: {}", genuine.tier(), genuine.tier().words());
    let _ = writeln!(text, "hardware   {}", genuine.hardware_id().unwrap_or("not told"));
    let _ = writeln!(text, "bound      {}", hex::encode(genuine.bound()));
    for register in genuine.registers() {
        let _ = writeln!(text, "measured   {} {}", register.name, hex::encode(&register.value));
    }
    for claim in genuine.claims() {
        let value = envelope::text::shown(&claim.value, 160);
        let _ = writeln!(text, "claim      {} = {value}  ({})", claim.name, claim.words);
    }
    text
}

fn merge(document: &mut Value, genuine: &Genuine) {
    if let Ok(Value::Object(members)) = serde_json::to_value(genuine) {
        for (name, value) in members {
            put(document, &name, value);
        }
    }
}

/// Sets a member of a JSON object.
fn put(document: &mut Value, name: &str, value: Value) {
    if let Some(members) = document.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
}

const fn remedy(genuine: &Genuine) -> &'static str {
    match genuine.assurance() {
        Assurance::SignatureOnly => {
            "hint: give the maker's current Endorsements with `--endorsements DIR`; `glovebox endorsements fetch` takes them"
        }
        Assurance::RevocationUnknown => {
            "hint: give the makers' revocation lists with `--endorsements DIR`; `glovebox endorsements fetch` takes them"
        }
        Assurance::OutOfDate(_) => {
            "hint: the machine's operator updates firmware and microcode; a policy can admit it by name"
        }
        Assurance::Conditional(_) => "hint: do what the maker's advisories say; a policy can admit it by name",
        Assurance::Affirmed | Assurance::ParsedOnly => "hint: ask for Evidence that is signed",
    }
}

/// What to do about a refusal that brings no hint of its own.
fn general_remedy(code: &str) -> &'static str {
    let has = |word: &str| code.contains(word);
    if has("missing") {
        "give what is missing with the Evidence, or with `--endorsements DIR`; `glovebox endorsements fetch` takes it from its maker"
    } else if has("expired") || has("not-valid-at-time") || has("not-yet-valid") {
        "fetch current Endorsements, or appraise as of the time that is meant with `--at`"
    } else if has("debug") {
        "start the machine again without it: what can be looked into proves nothing"
    } else if has("measurement") {
        "compare the code that runs with the code that was agreed; `glovebox evidence reference` states a new value"
    } else if has("bound") || has("nonce") {
        "ask for new Evidence for this very exchange"
    } else if has("generation") || has("floor") || has("tcb") || has("version") {
        "use a newer machine or firmware, or admit it in a policy by name"
    } else if has("trusted") || has("chain") {
        "ask the machine's operator for certificates that lead to the maker's own root"
    } else if has("malformed") || has("truncated") || has("long") {
        "take the file again from its source; it is not whole"
    } else {
        "do not rely on this machine; ask its operator"
    }
}
