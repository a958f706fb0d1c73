//! `run`: asks for one execution, watches its phases, and fetches the sealed result and the receipt.
//!
//! The signed request is kept before it is sent, so whatever ends this command leaves a run that `--resume` can fetch. The
//! result is compared with the digest in its receipt before it gets its name.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use agreement::documents::{Agreement, Computation, DatasetSource, Manifest, ResultStatement, Run};
use envelope::{
    Digest,
    statement::{Addressed, Signed},
};
use receipt::Receipt;
use serde_json::json;
use wire::messages::{AgreementStatus, Phase, RunStatus, path};

use crate::{
    args::Context,
    exit::CliError,
    files::{self, Readers, Taken},
    heads::Watched,
    home::{BrokerAddress, HomeError, SubmittedRun},
    interrupt,
    output::{self, Report},
    room::Room,
    terms,
    wallet::Wallet,
};

/// Run a computation of an agreement and fetch its sealed result and its receipt
///
/// Only the recipients that the agreement lists can open the result, whoever asks for the run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The agreement: its name or digest
    #[arg(value_name = "NAME|DIGEST", required_unless_present = "resume", conflicts_with = "resume")]
    agreement: Option<String>,
    /// Which of its computations
    #[arg(long, value_name = "NAME", required_unless_present = "resume", conflicts_with = "resume")]
    computation: Option<String>,
    /// Fetch a run that was submitted before
    #[arg(long, value_name = "RUN")]
    resume: Option<Digest>,
    /// Wait at most so many seconds; with 0 only submit
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    wait: u64,
    /// Where the sealed result goes; `COMPUTATION.result` if left out. The receipt goes beside it, as `.receipt`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the files if they exist
    #[arg(long)]
    force: bool,
}

/// A run, where it is, and where its files go.
struct Submitted {
    id: Digest,
    computation: String,
    agreement: Agreement,
}

/// Submits, waits, fetches.
pub(crate) async fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    let wallet = context.home.wallet(&context.passphrase)?;
    let taken = if args.force { Taken::Replace } else { Taken::Keep };
    let (submitted, mut room) = match (&args.resume, &args.agreement, &args.computation) {
        (Some(id), _, _) => resume(id, &wallet, context).await?,
        (None, Some(agreement), Some(computation)) => {
            let (digest, proposal) = context.home.proposal(agreement)?;
            let Some(terms) = proposal.agreement.computations.get(computation) else {
                return Err(CliError::no_computation(computation, &proposal.agreement));
            };
            check_free(args.out.as_deref(), computation, taken)?;
            submit(digest, &proposal.agreement, (computation, terms), &wallet, context).await?
        }
        _ => return Err(CliError::NothingToRun),
    };
    check_free(args.out.as_deref(), &submitted.computation, taken)?;
    output::note(format!("run {}", submitted.id));
    interrupt::leaves_running(submitted.id);
    if args.wait == 0 {
        output::note(format!("hint: `glovebox run --resume {}` fetches it", submitted.id));
        return Ok(Report::done(submitted.id.to_string(), json!({ "run": submitted.id, "phase": "submitted" })));
    }
    wait(&submitted, &mut room, &wallet, Duration::from_secs(args.wait)).await?;
    Watched::of(&submitted.agreement)?.look(&mut room, &context.home).await?;
    fetch(&submitted, &mut room, &wallet, args.out.as_deref(), taken).await
}

async fn enter(agreement: &Agreement) -> Result<Room, CliError> {
    let broker = &agreement.broker;
    Ok(Room::enter(&BrokerAddress { key: broker.key, address: broker.address.clone() }).await?)
}

async fn submit(
    digest: Digest,
    agreement: &Agreement,
    (computation, terms): (&str, &Computation),
    wallet: &Wallet,
    context: &Context,
) -> Result<(Submitted, Room), CliError> {
    let mut room = enter(agreement).await?;
    let mut versions = BTreeMap::new();
    let mut known = None;
    for dataset in terms.columns.keys() {
        let source = agreement.datasets.get(dataset).map(|dataset| dataset.source);
        let version = match source {
            Some(DatasetSource::Version(digest)) => digest,
            Some(source @ DatasetSource::Series(_)) => {
                if known.is_none() {
                    known = Some(deposited_manifests(&digest, &mut room, wallet).await?);
                }
                newest(known.as_deref().unwrap_or_default(), &source, dataset)?
            }
            None => return Err(CliError::no_computation(computation, agreement)),
        };
        versions.insert(dataset.clone(), version);
    }
    let run = Run { agreement: digest, computation: computation.to_owned(), program: terms.digest(), versions };
    let statement: Signed<Addressed<Run>> = room.sign(run, wallet)?;
    let id = *statement.digest();
    let kept = SubmittedRun {
        agreement: digest,
        computation: computation.to_owned(),
        statement: statement.envelope().clone(),
    };
    context.home.store_run(&id, &kept)?;
    let _: RunStatus = room.post(path::RUNS, &statement).await?;
    Ok((Submitted { id, computation: computation.to_owned(), agreement: agreement.clone() }, room))
}

/// The manifests that the broker has for an agreement: a series may have grown since.
async fn deposited_manifests(
    agreement: &Digest,
    room: &mut Room,
    wallet: &Wallet,
) -> Result<Vec<Signed<Manifest>>, CliError> {
    let path = path::AGREEMENT.replace("{digest}", &agreement.to_string());
    let status: AgreementStatus = room.read(&path, wallet).await?;
    Ok(status.manifests.iter().map(Signed::<Manifest>::open).collect::<Result<_, _>>()?)
}

fn newest(manifests: &[Signed<Manifest>], source: &DatasetSource, dataset: &str) -> Result<Digest, CliError> {
    let fitting = manifests.iter().filter(|manifest| terms::fits(manifest, source));
    let fitting = fitting.filter(|manifest| manifest.signer() == &manifest.value().owner);
    let newest = fitting.max_by_key(|manifest| manifest.value().version);
    newest.map(|manifest| *manifest.digest()).ok_or_else(|| CliError::NoVersion(dataset.to_owned()))
}

/// Takes a run up again; a request that never arrived is sent once more.
async fn resume(id: &Digest, wallet: &Wallet, context: &Context) -> Result<(Submitted, Room), CliError> {
    let kept = context.home.run(id)?;
    let (_, proposal) = context.home.proposal(&kept.agreement.to_string())?;
    let mut room = enter(&proposal.agreement).await?;
    let known: Option<RunStatus> = room.find(&path::RUN.replace("{run}", &id.to_string()), wallet).await?;
    if known.is_none() {
        let _: RunStatus = room.forward(path::RUNS, &kept.statement).await?;
    }
    Ok((Submitted { id: *id, computation: kept.computation, agreement: proposal.agreement }, room))
}

async fn wait(submitted: &Submitted, room: &mut Room, wallet: &Wallet, patience: Duration) -> Result<(), CliError> {
    let path = path::RUN.replace("{run}", &submitted.id.to_string());
    let begun = Instant::now();
    let mut shown = None;
    loop {
        let status: RunStatus = match room.find(&path, wallet).await? {
            Some(status) => status,
            None => return Err(CliError::RunUnknown(submitted.id)),
        };
        if shown != Some(status.phase) {
            output::note(format!("  {}", words(status.phase)));
            shown = Some(status.phase);
        }
        match (status.phase, status.refusal) {
            (Phase::Released, _) => return Ok(()),
            (Phase::Refused, refusal) => {
                let refusal = refusal.map(|refusal| (refusal.code, refusal.words));
                let (code, words) = refusal.unwrap_or_else(|| ("failed".to_owned(), "no reason was given".to_owned()));
                return Err(CliError::RunRefused {
                    run: submitted.id,
                    code: output::plain(&code),
                    words: output::plain(words.lines().next().unwrap_or_default()),
                });
            }
            (Phase::Approved | Phase::Running, _) => {}
        }
        if begun.elapsed() > patience {
            return Err(CliError::RunUnfinished { run: submitted.id, phase: words(status.phase) });
        }
        tokio::time::sleep(if begun.elapsed() < PROMPT { POLL } else { POLL_LATER }).await;
    }
}

async fn fetch(
    submitted: &Submitted,
    room: &mut Room,
    wallet: &Wallet,
    out: Option<&Path>,
    taken: Taken,
) -> Result<Report, CliError> {
    let id = submitted.id.to_string();
    let output = room.bytes(&path::RESULT.replace("{run}", &id), wallet).await?;
    let proof = room.bytes(&path::RECEIPT.replace("{run}", &id), wallet).await?;
    let receipt: Receipt = serde_json::from_slice(&proof).map_err(CliError::Json)?;
    let signed = Signed::<Addressed<ResultStatement>>::open(&receipt.result.statement)?;
    let stated = &signed.value().body;
    if stated.run != submitted.id || stated.output != Digest::of(&output) {
        return Err(CliError::OtherResult(submitted.id));
    }
    let (result_file, receipt_file) = places(out, &submitted.computation);
    // The file has the one spelling in which `verify` reads it, however the broker spelt it.
    let proof = receipt.to_bytes().map_err(CliError::Unwritable)?;
    files::write(&receipt_file, &proof, Readers::Everyone, taken)?;
    files::write(&result_file, &output, Readers::Everyone, taken)?;
    let recipients =
        submitted.agreement.computations.get(&submitted.computation).map(|computation| &computation.recipients);
    let recipients: Vec<&str> = recipients.into_iter().flatten().map(String::as_str).collect();
    output::note(format!("sealed to {}", recipients.join(", ")));
    let words = format!("run     {id}\nresult  {}\nreceipt {}", result_file.display(), receipt_file.display());
    let document = json!({
        "run": submitted.id,
        "phase": Phase::Released,
        "result": result_file,
        "receipt": receipt_file,
        "output": stated.output,
        "recipients": recipients,
    });
    Ok(Report::done(words, document))
}

fn places(out: Option<&Path>, computation: &str) -> (PathBuf, PathBuf) {
    let result = out.map_or_else(|| PathBuf::from(format!("{computation}.result")), Path::to_owned);
    let receipt = result.with_extension("receipt");
    (result, receipt)
}

/// Told before anything runs, not after.
fn check_free(out: Option<&Path>, computation: &str, taken: Taken) -> Result<(), CliError> {
    let (result, receipt) = places(out, computation);
    match [result, receipt].into_iter().find(|path| path.exists()) {
        Some(path) if taken == Taken::Keep => Err(CliError::Taken { path, option: "--out" }),
        Some(_) | None => Ok(()),
    }
}

fn words(phase: Phase) -> &'static str {
    match phase {
        Phase::Approved => "approved; waiting for a worker",
        Phase::Running => "running on an attested worker",
        Phase::Released => "released",
        Phase::Refused => "refused",
    }
}

/// How often the phase is asked for, at first.
const POLL: Duration = Duration::from_millis(100);

/// And after [`PROMPT`].
const POLL_LATER: Duration = Duration::from_millis(500);

/// A small run is over by then.
const PROMPT: Duration = Duration::from_secs(5);

impl CliError {
    /// A computation that an agreement does not have.
    pub(crate) fn no_computation(name: &str, agreement: &Agreement) -> CliError {
        let known: Vec<&str> = agreement.computations.keys().map(String::as_str).collect();
        let nearest = known.iter().max_by(|a, b| strsim::jaro(name, a).total_cmp(&strsim::jaro(name, b)));
        CliError::NoComputation {
            name: name.to_owned(),
            agreement: agreement.name.clone(),
            nearest: nearest.map(|nearest| (*nearest).to_owned()).unwrap_or_default(),
            known: known.join(", "),
        }
    }
}

/// A digest on the command line.
impl From<envelope::DigestError> for CliError {
    fn from(error: envelope::DigestError) -> CliError {
        HomeError::Digest(error).into()
    }
}
