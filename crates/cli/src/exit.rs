//! Everything that can end a command early, and the one table from it to an exit status.
//!
//! 0: done. 1: refused: a policy, a rule, a signature, a taken name or a person said no, and trying again changes nothing. 2: any other
//! error: something could not be read, reached or understood.

use std::{io, path::PathBuf, process::ExitCode};

use agreement::toml::TomlError;
use envelope::{Digest, blob::BlobError, canonical::CanonicalError, statement::StatementError};
use jiff::Timestamp;
use wire::client::ClientError;

use crate::{
    evidence::reference::ImportError,
    files::FileError,
    heads::LogFault,
    home::HomeError,
    launch::LaunchError,
    room::RoomError,
    storage::StorageError,
    terms::TermsError,
    verbs::{demo::DemoError, endorsements::EndorsementsError, evidence::EvidenceError, secret::SecretError},
    wallet::WalletError,
};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// 0.
    Done,
    /// 1.
    Refused,
    /// 2.
    Error,
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The party's directory.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The party's keys.
    #[error(transparent)]
    Wallet(#[from] WalletError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A place for ciphertext, or a source.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A TOML file.
    #[error("{0}")]
    Toml(Box<TomlError>),
    /// An agreement that is not one to consent to.
    #[error(transparent)]
    Terms(#[from] TermsError),
    /// The broker.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// A room of one's own.
    #[error("the room cannot be kept up")]
    Launch(#[from] LaunchError),
    /// Secrets.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The demo.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// Evidence in somebody's hands.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// Endorsements that are kept.
    #[error(transparent)]
    Endorsements(#[from] EndorsementsError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogFault),
    /// A statement that does not verify.
    #[error("a statement does not verify")]
    Statement(#[from] StatementError),
    /// A table that cannot be sealed.
    #[error("cannot seal `{input}`")]
    Seal {
        /// As given.
        input: String,
        /// Why.
        source: table::SealError,
    },
    /// A blob that cannot be sealed.
    #[error("cannot seal `{input}`")]
    SealBlob {
        /// As given.
        input: String,
        /// Why.
        source: BlobError,
    },
    /// This build does not encrypt.
    #[error("this program must not be used to seal anything")]
    SelfCheck(#[source] table::SelfCheckError),
    /// The keys of an encrypted input.
    #[error("`{path}` does not hold the keys of a Parquet file\nhint: write {{\"footer\": \"HEX\", \"columns\": {{\"NAME\": \"HEX\"}}, \"aad_prefix\": \"HEX\"}}", path = .0.display())]
    SourceKeys(PathBuf),
    /// What should be a receipt is none.
    #[error("`{path}` is not a whole receipt\nhint: ask for the file again; a run leaves it as `NAME.receipt` beside `NAME.result`", path = .path.display())]
    NotAReceipt {
        /// Which.
        path: PathBuf,
        /// Why.
        source: CanonicalError,
    },
    /// A file that does not open.
    #[error("cannot open `{path}`", path = .path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: BlobError,
    },
    /// A result for others.
    #[error("`{path}` is not sealed to this party\nhint: only the recipients that the agreement lists can open a result; use the `--home` of one of them", path = .0.display())]
    NotARecipient(PathBuf),
    /// A document that cannot be written.
    #[error("a document cannot be written")]
    Unwritable(#[source] CanonicalError),
    /// JSON that cannot be read or written.
    #[error("a JSON document cannot be read or written: {0}")]
    Json(serde_json::Error),
    /// The place for a result is taken.
    #[error("`{path}` exists already and was not touched\nhint: `--force` replaces it; `{option}` names another place", path = .path.display())]
    Taken {
        /// Which.
        path: PathBuf,
        /// The option that names another.
        option: &'static str,
    },
    /// Sealed to nobody.
    #[error("`{path}` is a receipt, which is not sealed\nhint: `glovebox verify` checks it; the result lies beside it as `{result}`", path = .0.display(), result = .0.with_extension("result").display())]
    OpenReceipt(PathBuf),
    /// Neither an agreement nor a query.
    #[error("nothing to check\nhint: name an agreement, or a query with `--sql FILE --manifest FILE`")]
    NothingToCheck,
    /// Neither a run to submit nor one to resume.
    #[error("nothing to run\nhint: `glovebox run NAME --computation C`, or `glovebox run --resume RUN`")]
    NothingToRun,
    /// No such computation.
    #[error("agreement `{agreement}` has no computation `{name}`; it has {known}\nhint: did you mean `{nearest}`?")]
    NoComputation {
        /// As given.
        name: String,
        /// The agreement.
        agreement: String,
        /// The nearest name.
        nearest: String,
        /// All.
        known: String,
    },
    /// No version of a series is with the broker.
    #[error("no version of dataset `{0}` has been deposited\nhint: its owner deposits one with `glovebox agree`")]
    NoVersion(String),
    /// No such dataset.
    #[error("no dataset `{0}` of this party is known here\nhint: `glovebox status` lists them")]
    NoDataset(String),
    /// Somebody else's agreement.
    #[error(
        "this party is not a party to `{0}`\nhint: check `--home`, or have the agreement name this party's identity"
    )]
    NotAParty(String),
    /// A party without data has nothing to offer.
    #[error(
        "`{0}` owns no dataset of this agreement, so there is nothing to offer\nhint: consent with `glovebox agree`"
    )]
    NothingToOffer(String),
    /// Too late.
    #[error("it expired at {0}\nhint: choose a later expiry, or check this machine's clock")]
    AgreementExpired(Timestamp),
    /// The broker sent another document than was asked for.
    #[error("the broker sent the agreement `{found}` in place of `{expected}`")]
    OtherAgreement {
        /// As asked for.
        expected: Digest,
        /// As sent.
        found: Digest,
    },
    /// No terminal.
    #[error("there is no terminal to ask on\nhint: pass `--yes` if you mean it")]
    NobodyToAsk,
    /// The person said no.
    #[error("declined; nothing was signed")]
    Declined,
    /// The broker knows no such run.
    #[error("the broker does not know the run `{0}`\nhint: submit it again with `glovebox run NAME --computation C`")]
    RunUnknown(Digest),
    /// The run ended without a result.
    #[error("the run was refused ({code}): {words}{hint}", hint = run_hint(.code))]
    RunRefused {
        /// Which.
        run: Digest,
        /// The code.
        code: String,
        /// The words.
        words: String,
    },
    /// The run goes on.
    #[error("the run goes on without this command ({phase})\nhint: `glovebox run --resume {run}` fetches it")]
    RunUnfinished {
        /// Which.
        run: Digest,
        /// Its phase in words.
        phase: &'static str,
    },
    /// The result is not the one in its receipt.
    #[error(
        "what the broker sent is not the result of the run `{0}`\nhint: nothing was written; keep this output and ask the broker's operator"
    )]
    OtherResult(Digest),
    /// A receipt that does not verify.
    #[error("the receipt does not verify")]
    Receipt(#[source] Box<receipt::Failure>),
    /// A record of an unknown kind.
    #[error(
        "the broker's log holds a record of the unknown kind `{0}`\nhint: this version of glovebox may be older than the broker"
    )]
    UnknownRecord(String),
    /// The user asked to end.
    #[error("interrupted; nothing was left half-written")]
    Interrupted,
    /// The user asked to end while a run was under way.
    #[error("interrupted; the run goes on without this command\nhint: `glovebox run --resume {0}` fetches it")]
    InterruptedRun(Digest),
    /// Standard output.
    #[error("cannot write to standard output: {0}")]
    Stdout(io::Error),
    /// Standard input.
    #[error("cannot read the answer: {0}")]
    Stdin(io::Error),
    /// No threads.
    #[error("the program could not be started")]
    Runtime(#[source] io::Error),
}

impl CliError {
    /// The table.
    pub(crate) fn status(&self) -> Status {
        match self {
            CliError::Home(error) => of_home(error),
            CliError::Wallet(error) => of_wallet(error),
            CliError::File(error) => of_file(error),
            CliError::Storage(error) => match error {
                StorageError::Exists(_) => Status::Refused,
                StorageError::File(error) => of_file(error),
                StorageError::Url(_) | StorageError::Service { .. } | StorageError::Interrupted => Status::Error,
            },
            CliError::Terms(error) => match error {
                TermsError::Query { .. } | TermsError::ManifestMissing { .. } | TermsError::Draft(_) => Status::Error,
                TermsError::Shape(_)
                | TermsError::ManifestStatement(_)
                | TermsError::ManifestSigner { .. }
                | TermsError::Refused { .. }
                | TermsError::Columns { .. } => Status::Refused,
            },
            CliError::Room(error) => match error {
                RoomError::Client(error) => of_client(error),
                RoomError::Appraisal(_) | RoomError::OtherLog { .. } => Status::Refused,
                RoomError::Statement(_) | RoomError::Wrap(_) => Status::Error,
            },
            CliError::Secret(error) => match error {
                SecretError::None(_) | SecretError::TooLarge => Status::Refused,
                _ => Status::Error,
            },
            CliError::Launch(error) => match error {
                LaunchError::NotLoopback(_) | LaunchError::Runs(_) => Status::Refused,
                LaunchError::File(error) => of_file(error),
                _ => Status::Error,
            },
            CliError::Demo(error) => error.status(),
            CliError::Endorsements(error) => error.status(),
            CliError::Evidence(
                EvidenceError::NotGenuine(_)
                | EvidenceError::NotAffirmed(_)
                | EvidenceError::Provided(_)
                | EvidenceError::Import(ImportError::Corim(_)),
            ) => Status::Refused,
            CliError::Evidence(_) => Status::Error,
            CliError::Open { source, .. } => match source {
                BlobError::Altered | BlobError::OtherRecipients => Status::Refused,
                _ => Status::Error,
            },
            CliError::Log(LogFault::Refused(_))
            | CliError::Statement(_)
            | CliError::SelfCheck(_)
            | CliError::NotARecipient(_)
            | CliError::Taken { .. }
            | CliError::NotAParty(_)
            | CliError::NothingToOffer(_)
            | CliError::AgreementExpired(_)
            | CliError::OtherAgreement { .. }
            | CliError::Declined
            | CliError::RunRefused { .. }
            | CliError::OtherResult(_)
            | CliError::NotAReceipt { .. }
            | CliError::Receipt(_) => Status::Refused,
            CliError::Toml(error) if error.is_refusal() => Status::Refused,
            CliError::Toml(_)
            | CliError::Log(LogFault::Terms(_) | LogFault::Busy)
            | CliError::Seal { .. }
            | CliError::SealBlob { .. }
            | CliError::SourceKeys(_)
            | CliError::Unwritable(_)
            | CliError::Json(_)
            | CliError::OpenReceipt(_)
            | CliError::NothingToCheck
            | CliError::NothingToRun
            | CliError::NoComputation { .. }
            | CliError::NoVersion(_)
            | CliError::NoDataset(_)
            | CliError::NobodyToAsk
            | CliError::RunUnknown(_)
            | CliError::RunUnfinished { .. }
            | CliError::UnknownRecord(_)
            | CliError::Interrupted
            | CliError::InterruptedRun(_)
            | CliError::Stdout(_)
            | CliError::Stdin(_)
            | CliError::Runtime(_) => Status::Error,
        }
    }
}

impl From<TomlError> for CliError {
    fn from(error: TomlError) -> CliError {
        CliError::Toml(Box::new(error))
    }
}

impl Status {
    /// The word in JSON documents.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Status::Done => "done",
            Status::Refused => "refused",
            Status::Error => "error",
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> ExitCode {
        ExitCode::from(match status {
            Status::Done => 0,
            Status::Refused => 1,
            Status::Error => 2,
        })
    }
}

/// What to do about a run that was refused, by its code. The words are the broker's; the advice is this program's own.
fn run_hint(code: &str) -> &'static str {
    match code {
        "evidence-refused" => {
            "\nhint: compare the agreement's `workers` policy with what the worker's operator says it runs"
        }
        "not-vouched" => {
            "\nhint: the auditor makes a document with `glovebox evidence reference`; anyone brings it with `glovebox evidence endorse`, and the run is asked for again"
        }
        "ciphertext-unreachable" => {
            "\nhint: the owner's `glovebox status` says where the sealed file must lie; the worker must be able to read it there"
        }
        "ciphertext-refused" => "\nhint: its owner restores the sealed file from a copy, or seals the table again",
        "broker-unreachable" | "attester-failed" | "no-room" | "failed" => {
            "\nhint: run it again; if it happens again, ask the worker's operator"
        }
        _ => "",
    }
}

fn of_home(error: &HomeError) -> Status {
    match error {
        HomeError::Statement { .. } | HomeError::ManifestSigner { .. } | HomeError::Contact { .. } => Status::Refused,
        HomeError::Key { source: BlobError::OtherRecipients | BlobError::Altered, .. } => Status::Refused,
        HomeError::File(error) => of_file(error),
        HomeError::Wallet(error) => of_wallet(error),
        HomeError::NoHome
        | HomeError::Name(_)
        | HomeError::NoContact(_)
        | HomeError::NoIdentity(_)
        | HomeError::NoAgreement(_)
        | HomeError::NoRun(_)
        | HomeError::Ambiguous { .. }
        | HomeError::NoKey { .. }
        | HomeError::NoBroker
        | HomeError::BrokerForm(_)
        | HomeError::Document { .. }
        | HomeError::Digest(_)
        | HomeError::Key { .. } => Status::Error,
    }
}

fn of_wallet(error: &WalletError) -> Status {
    match error {
        WalletError::Exists { .. } | WalletError::Exposed { .. } | WalletError::Blob(BlobError::WrongPassphrase) => {
            Status::Refused
        }
        WalletError::File(error) => of_file(error),
        WalletError::Missing(_)
        | WalletError::Form { .. }
        | WalletError::Damaged(_)
        | WalletError::Passphrase(_)
        | WalletError::Blob(_)
        | WalletError::Identity(_) => Status::Error,
    }
}

fn of_file(error: &FileError) -> Status {
    match error {
        FileError::Exists(_) => Status::Refused,
        FileError::Read { .. } | FileError::Write { .. } | FileError::TooLarge { .. } | FileError::NotText(_) => {
            Status::Error
        }
    }
}

fn of_client(error: &ClientError) -> Status {
    match error {
        ClientError::Refused(_) | ClientError::NotThatBroker { .. } => Status::Refused,
        ClientError::Unreachable { .. }
        | ClientError::Broken { .. }
        | ClientError::Answer(_)
        | ClientError::Channel(_) => Status::Error,
    }
}
