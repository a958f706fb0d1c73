//! `evidence reference` and `evidence endorse`: an auditor's word on what machines measure, and its way to a broker.
//!
//! An auditor looks at Evidence, at a program or at another provider's CoRIM, finds the state good, and signs that for a while. An agreement can
//! ask for that word before any key leaves. Whoever has the document can bring it to the broker: it says itself whose it is. The auditor
//! withdraws it with `glovebox revoke --endorsement`.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use agreement::documents::ReferenceDeposit;
use attest::{
    events::RoleName,
    keys::VerificationKey,
    platform::{Assurance, Platform},
    reference::{Provided, ReferenceValues},
    snp::SnpPolicy,
};
use envelope::{
    Digest, canonical,
    statement::{Envelope, Signed},
};
use jiff::{Timestamp, ToSpan as _};
use serde_json::json;
use wire::messages::{Accepted, path};

use super::evidence::EvidenceError;
use crate::{
    args::Context,
    evidence::{
        examine::{ExamineError, Shelf, examine},
        gather::Pieces,
        reference::{self, Source},
    },
    exit::CliError,
    files::{self, Readers, Taken},
    home::BrokerAddress,
    output::Report,
    room::Room,
};

/// State, under this party's key, what a machine in a good state measures
///
/// From genuine Evidence, from a program that workers run, or from a signed CoRIM. Agreements can ask for an auditor's document before a key leaves.
#[derive(Debug, clap::Args)]
pub(crate) struct Reference {
    /// The Evidence, with what belongs to it
    #[arg(required_unless_present_any = ["program", "corim"], conflicts_with_all = ["program", "corim"], value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A program as it was built; a launcher measures it before it starts it
    #[arg(long, value_name = "FILE", conflicts_with = "corim")]
    program: Option<PathBuf>,
    /// As what the program is started
    #[arg(long, value_name = "NAME", default_value = "worker", requires = "program")]
    role: String,
    /// Another provider's Reference Values: a signed CoRIM
    #[arg(long, value_name = "FILE", requires_all = ["corim_key", "platform"])]
    corim: Option<PathBuf>,
    /// The key of the CoRIM's provider (PEM, or a JWK)
    #[arg(long, value_name = "FILE", requires = "corim")]
    corim_key: Option<PathBuf>,
    /// Which class of the CoRIM, as it writes it; needed where it has several
    #[arg(long, value_name = "CLASS", requires = "corim")]
    class: Option<String>,
    /// The platform that the CoRIM's values are of, such as `tpm` or `sev-snp`
    #[arg(long, value_name = "NAME", requires = "corim")]
    platform: Option<String>,
    /// Where the signed document goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What these are values of, in your words
    #[arg(long, value_name = "TEXT")]
    what: String,
    /// Only these registers; all if left out. `NAME=AS` states NAME under the name AS
    #[arg(long, value_name = "NAME", num_args = 1..)]
    register: Vec<String>,
    /// For how many days it counts
    #[arg(long, value_name = "DAYS", default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=730))]
    days: u16,
    /// Until when it counts, in place of a number of days
    #[arg(long, value_name = "TIME", conflicts_with = "days")]
    expires: Option<Timestamp>,
    /// Endorsements: a folder of files, or the directory of `glovebox endorsements`
    #[arg(long, value_name = "DIR")]
    endorsements: Option<PathBuf>,
    /// The time to appraise at; now if left out
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// Replace the file
    #[arg(long)]
    force: bool,
}

/// Bring an auditor's signed Reference Values to the broker, where agreements ask for them
///
/// Whoever has the document can. It counts once it is in the log, until it expires or its auditor withdraws it with `glovebox revoke --endorsement`.
#[derive(Debug, clap::Args)]
pub(crate) struct Endorse {
    /// The document that `glovebox evidence reference` wrote
    #[arg(value_name = "FILE")]
    document: PathBuf,
    /// The broker, where this home does not know it
    #[arg(long, value_name = "FILE|KEY@HOST:PORT")]
    broker: Option<String>,
}

/// Signs Reference Values.
pub(super) fn state(args: Reference, context: &Context) -> Result<Report, CliError> {
    let Source { platform, measurements, evidence, until } = source(&args)?;
    let measurements = reference::chosen(&measurements, &args.register).map_err(EvidenceError::NoRegister)?;
    let wallet = context.home.wallet(&context.passphrase)?;
    let issued = Timestamp::now();
    let days = issued.checked_add((24 * i64::from(args.days)).hours()).unwrap_or(issued);
    // Nobody's word outlasts what it was taken from.
    let expires = args.expires.unwrap_or(days).min(until.unwrap_or(Timestamp::MAX));
    let values =
        ReferenceValues { provider: *wallet.key(), platform, what: args.what, measurements, evidence, issued, expires };
    let provided = Provided::new(Signed::sign(values, wallet.signing())?).map_err(EvidenceError::Provided)?;
    let signed = provided.signed();
    let bytes = serde_json::to_vec_pretty(signed.envelope()).map_err(CliError::Json)?;
    let taken = if args.force { Taken::Replace } else { Taken::Keep };
    files::write(&args.out, &bytes, Readers::Everyone, taken)?;
    let mut words = format!("reference values  {}\nexpires           {expires}", signed.digest());
    for (register, values) in &provided.values().measurements {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let _ = write!(words, "\n{register:<17} {}", values.join(" "));
    }
    let document = json!({ "statement": signed.digest(), "values": provided.values() });
    Ok(Report::done(words, document))
}

/// Signs the request and brings the document.
pub(super) async fn endorse(args: Endorse, context: &Context) -> Result<Report, CliError> {
    let unfit = |reason: String| EvidenceError::NotReferenceValues { path: args.document.clone(), reason };
    let envelope: Envelope =
        canonical::from_slice_loose(&files::read(&args.document)?).map_err(|error| unfit(error.to_string()))?;
    let signed = Signed::<ReferenceValues>::open(&envelope)?;
    let provided = Provided::new(signed).map_err(EvidenceError::Provided)?;
    let wallet = context.home.wallet(&context.passphrase)?;
    let broker = match &args.broker {
        Some(text) => BrokerAddress::named(text)?,
        None => context.home.broker()?,
    };
    let mut room = Room::enter(&broker).await?;
    let statement = room.sign(ReferenceDeposit { document: envelope }, &wallet)?;
    let accepted: Accepted = room.post(path::REFERENCE_VALUES, &statement).await?;
    let ReferenceValues { provider, expires, .. } = provided.values();
    let words = format!(
        "endorsed {} (log entry {})\nauditor  {provider}\nexpires  {expires}",
        provided.signed().digest(),
        accepted.leaf
    );
    let document = json!({
        "reference_values": provided.signed().digest(),
        "auditor": provider,
        "expires": expires,
        "leaf": accepted.leaf,
    });
    Ok(Report::done(words, document))
}

fn source(args: &Reference) -> Result<Source, CliError> {
    let now = args.at.unwrap_or_else(Timestamp::now);
    match (&args.program, &args.corim, &args.corim_key, &args.platform) {
        (Some(program), _, _, _) => {
            let role = RoleName::try_from(args.role.as_str()).map_err(EvidenceError::Role)?;
            Ok(reference::of_program(&role, files::digest(program)?))
        }
        (None, Some(corim), Some(key), Some(platform)) => {
            if !Platform::ALL.iter().any(|known| known.name() == platform) {
                return Err(EvidenceError::Platform(platform.clone()).into());
            }
            let bytes = files::read(corim)?;
            let imported =
                reference::of_corim(&bytes, provider_key(key)?, args.class.as_deref(), platform.clone(), now);
            Ok(imported.map_err(EvidenceError::Import)?)
        }
        (None, _, _, _) => {
            let mut pieces = Pieces::gather(&args.files).map_err(ExamineError::from).map_err(EvidenceError::from)?;
            let shelf = Shelf::open(args.endorsements.as_deref(), &mut pieces).map_err(EvidenceError::from)?;
            let examined = examine(&pieces, &shelf, &SnpPolicy::default(), now).map_err(EvidenceError::from)?;
            let genuine = examined.outcome.map_err(|refused| EvidenceError::NotGenuine(refused.code))?;
            if genuine.assurance() != Assurance::Affirmed {
                return Err(EvidenceError::NotAffirmed(genuine.assurance()).into());
            }
            let evidence = pieces.0.iter().find(|piece| piece.kind == examined.kind);
            let evidence = Digest::of(evidence.map_or(&[], |piece| piece.bytes.as_slice()));
            Ok(reference::of_evidence(&genuine, evidence))
        }
    }
}

fn provider_key(file: &Path) -> Result<VerificationKey, CliError> {
    let bytes = files::read(file)?;
    let key = match serde_json::from_slice(&bytes) {
        Ok(jwk) => VerificationKey::from_jwk(&jwk),
        Err(_) => VerificationKey::from_spki(&bytes),
    };
    Ok(key.map_err(|error| EvidenceError::ProviderKey { path: file.to_owned(), reason: error.to_string() })?)
}
