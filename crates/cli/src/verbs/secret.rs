//! `secret`: secrets beside datasets, for clients of the broker's KBS listener.
//!
//! A secret is wrapped to the broker only after its Evidence was appraised, as deposits are. What comes back is never the secret: `list` and
//! `check` speak of its SHA-256. `enrol` makes a machine's attestation key known to the broker, so that the machine can attest with it.

use std::path::{Path, PathBuf};

use agreement::documents::{BrokerTerms, SecretPath, SecretPolicy, SecretPush, SecretRemoval};
use attest::{
    HashAlgorithm,
    binding::{BindingParts, ChannelKeys, Purpose},
    credential::MadeCredential,
    event_log::EventLog,
    tpm::{Enrolment, TpmPublic},
};
use clap::Subcommand;
use envelope::{
    Digest, PublicKey, SigningKey,
    statement::Signed,
    text::{Bytes, encode},
    wrap::DecapsulationKey,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tpm::{Attester, AttesterError, KeyKind, PcrSelection, Tpm, TpmError};
use wire::{
    channel::{ChannelError, LeafIdentity},
    client::{Broker, ClientError},
    messages::{Accepted, EnrolChallenge, EnrolProof, EnrolRequest, Enrolled, SecretEntry, Secrets, path},
};
use zeroize::Zeroizing;

use crate::{
    args::Context,
    exit::CliError,
    files::{self, FileError, Readers, Taken},
    home::{self, BrokerAddress, HomeError},
    output::{self, Report},
    room::{Room, RoomError},
    verbs::agree::appraise_broker,
};

/// Keep secrets at a broker for machines that attest
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Put a secret into the broker's custody, or replace it
    Push(PushArgs),
    /// Compare a file with the secret at the broker, by SHA-256
    Check(CheckArgs),
    /// Destroy a secret at the broker
    Delete(OneArgs),
    /// List your secrets at the broker, by SHA-256
    List(BrokerArgs),
    /// Set the conditions of those of your secrets that have none of their own
    Policy(PolicyArgs),
    /// Print a token with which a stock KBS tool can act on your secrets, for an hour at most
    Token(TokenArgs),
    /// Make this machine's attestation key known to the broker
    Enrol(EnrolArgs),
}

#[derive(Debug, clap::Args)]
struct BrokerArgs {
    /// The broker: its `broker.json`, or `KEY@HOST:PORT`; this home's default if left out
    #[arg(long, value_name = "FILE|KEY@HOST:PORT")]
    broker: Option<String>,
}

#[derive(Debug, clap::Args)]
struct PushArgs {
    /// Where it shall lie: `REPOSITORY/TYPE/TAG`
    #[arg(value_name = "PATH")]
    path: SecretPath,
    /// The secret, at most 64 KiB
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Under which conditions it leaves, in Cedar; those of `secret policy` if left out
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The broker's `broker.json`, which says what its Evidence must show; that of the agreements that you consented to if left out
    #[arg(long, value_name = "FILE")]
    broker: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct CheckArgs {
    /// Which: `REPOSITORY/TYPE/TAG`
    #[arg(value_name = "PATH")]
    path: SecretPath,
    /// What it should be
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// Which: `REPOSITORY/TYPE/TAG`
    #[arg(value_name = "PATH")]
    path: SecretPath,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Debug, clap::Args)]
struct PolicyArgs {
    /// The conditions, in Cedar
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Debug, clap::Args)]
struct TokenArgs {
    /// How long it is good
    #[arg(long, value_name = "MINUTES", default_value_t = 10, value_parser = clap::value_parser!(i64).range(1..=60))]
    minutes: i64,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Debug, clap::Args)]
struct EnrolArgs {
    /// The TPM: `device:/dev/tpmrm0`, `unix:PATH` or `tcp:IP:PORT`
    #[arg(long, value_name = "ADDRESS")]
    tpm: tpm::Address,
    /// Where the attestation key goes: `ak.pub` and `ak.priv` as `tpm2_load` takes them, `ak.der` as Evidence carries it
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// A certificate (DER) between the endorsement key's and a root; may be given several times
    #[arg(long, value_name = "FILE")]
    issuer: Vec<PathBuf>,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// What goes wrong with secrets alone.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// Nobody says what the broker's Evidence must show.
    #[error(
        "what this broker's Evidence must show is not known: no agreement that this party consented to and that is not over says it, or they do not say the same\nhint: pass `--broker FILE` with its `broker.json`"
    )]
    NoTerms,
    /// Too large.
    #[error("a secret has at most {} bytes", SecretPush::MAX_SECRET)]
    TooLarge,
    /// Conditions that are no text.
    #[error("the conditions are not text in UTF-8")]
    NotText,
    /// No such secret.
    #[error("there is no secret `{0}` of this party at the broker")]
    None(SecretPath),
    /// The TPM.
    #[error("the TPM cannot be used")]
    Tpm(#[from] TpmError),
    /// The attestation key.
    #[error("the machine cannot attest")]
    Attester(#[from] AttesterError),
    /// The channel.
    #[error("no channel identity could be made")]
    Channel(#[from] ChannelError),
    /// The broker's answer.
    #[error("the broker's enrolment does not speak of this machine's key")]
    Enrolment,
}

/// Does one of them.
pub(crate) async fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    match args.what {
        What::Push(args) => push(args, context).await,
        What::Check(args) => check(args, context).await,
        What::Delete(args) => delete(args, context).await,
        What::List(args) => list(args, context).await,
        What::Policy(args) => policy(args, context).await,
        What::Token(args) => token(args, context),
        What::Enrol(args) => enrol(args, context).await,
    }
}

async fn push(args: PushArgs, context: &Context) -> Result<Report, CliError> {
    let wallet = context.home.wallet(&context.passphrase)?;
    let secret = read_secret(&args.file)?;
    let policy = args.policy.as_deref().map(read_text).transpose()?;
    let terms = terms(args.broker.as_deref(), wallet.key(), context)?;
    let mut attested = appraise_broker(&terms, &wallet).await?;
    let value =
        attested.wrap(&secret, SecretPush::PURPOSE, &SecretPush::context(&args.path, wallet.key(), &terms.key))?;
    let policy_digest = policy.as_ref().map(|text| Digest::of(text.as_bytes()));
    let digest = Digest::of(&secret);
    let statement = attested.room().sign(SecretPush { path: args.path.clone(), value, policy }, &wallet)?;
    let accepted: Accepted = attested.room().post(path::SECRET_PUSHES, &statement).await?;
    let conditions = policy_digest.map_or("those of `secret policy`".to_owned(), |digest| digest.to_string());
    let words = format!(
        "secret      {}\nsha256      {digest}\nconditions  {conditions}\nlog entry   {}",
        args.path, accepted.leaf
    );
    let tier = attested.result().tier();
    let document =
        json!({ "path": args.path, "value": digest, "policy": policy_digest, "leaf": accepted.leaf, "tier": tier });
    Ok(Report::done(words, document))
}

async fn check(args: CheckArgs, context: &Context) -> Result<Report, CliError> {
    let digest = Digest::of(&read_secret(&args.file)?);
    let (_, secrets) = secrets(&args.broker, context).await?;
    let found = secrets.secrets.iter().find(|secret| secret.path == args.path.as_str());
    let found = found.ok_or_else(|| SecretError::None(args.path.clone()))?;
    let same = found.value == digest;
    let document = json!({ "path": args.path, "value": found.value, "file": digest, "same": same });
    let words = format!(
        "secret  {}\nbroker  {}\nfile    {digest}\n{}",
        args.path,
        found.value,
        if same { "the same" } else { "not the same" }
    );
    Ok(if same { Report::done(words, document) } else { Report::refused(words, document) })
}

async fn delete(args: OneArgs, context: &Context) -> Result<Report, CliError> {
    let wallet = context.home.wallet(&context.passphrase)?;
    let mut room = Room::enter(&address(&args.broker, context)?).await?;
    let statement = room.sign(SecretRemoval { path: args.path.clone() }, &wallet)?;
    let accepted: Accepted = room.post(path::SECRET_REMOVALS, &statement).await?;
    let words = format!("destroyed {} (log entry {})", args.path, accepted.leaf);
    Ok(Report::done(words, json!({ "path": args.path, "leaf": accepted.leaf })))
}

async fn list(args: BrokerArgs, context: &Context) -> Result<Report, CliError> {
    let (_, secrets) = secrets(&args, context).await?;
    let mut words: Vec<String> = secrets.secrets.iter().map(line).collect();
    if words.is_empty() {
        words.push("this party has no secret at the broker".to_owned());
    }
    let document = serde_json::to_value(&secrets).unwrap_or(Value::Null);
    Ok(Report::done(words.join("\n"), document))
}

fn line(secret: &SecretEntry) -> String {
    let policy = secret.policy.map_or("common".to_owned(), |policy| policy.short());
    let denied = secret.denied.as_ref().map(|why| format!("\n    denied last: {}", output::plain(why)));
    format!(
        "{}  {}  conditions {policy}  since {}{}",
        output::plain(&secret.path),
        secret.value,
        secret.since,
        denied.unwrap_or_default()
    )
}

async fn policy(args: PolicyArgs, context: &Context) -> Result<Report, CliError> {
    let wallet = context.home.wallet(&context.passphrase)?;
    let policy = read_text(&args.file)?;
    let digest = Digest::of(policy.as_bytes());
    let mut room = Room::enter(&address(&args.broker, context)?).await?;
    let statement = room.sign(SecretPolicy { policy }, &wallet)?;
    let accepted: Accepted = room.post(path::SECRET_POLICY, &statement).await?;
    let words = format!("conditions  {digest}\nlog entry   {}", accepted.leaf);
    Ok(Report::done(words, json!({ "policy": digest, "leaf": accepted.leaf })))
}

fn token(args: TokenArgs, context: &Context) -> Result<Report, CliError> {
    let wallet = context.home.wallet(&context.passphrase)?;
    let broker = address(&args.broker, context)?;
    let now = Timestamp::now().as_second();
    let claims = json!({
        "iss": wallet.key(),
        "aud": broker.key,
        "iat": now,
        "exp": now.saturating_add(args.minutes.saturating_mul(60)),
    });
    let header = json!({ "alg": "EdDSA", "typ": "JWT" });
    let signed = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
    let token = format!("{signed}.{}", encode(&wallet.signing().sign(signed.as_bytes())));
    Ok(Report::done(token.clone(), json!({ "token": token })))
}

/// The worker's own exchange: credential activation and a first quote, on a connection with a certificate of its own.
async fn enrol(args: EnrolArgs, context: &Context) -> Result<Report, CliError> {
    let broker = address(&args.broker, context)?;
    let issuers = args.issuer.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let mut tpm = Tpm::open(&args.tpm).map_err(SecretError::Tpm)?;
    let key = tpm.attestation_key(KeyKind::EccP256).map_err(SecretError::Tpm)?;
    let saved = key.saved().clone();
    let log = EventLog::new(&[HashAlgorithm::Sha1, HashAlgorithm::Sha256]);
    let registers: Vec<u8> = (0..24).collect();
    let selection = PcrSelection::of(HashAlgorithm::Sha256, &registers).map_err(|_| SecretError::Enrolment)?;
    let attester = Attester::new(tpm, key, log, selection).map_err(SecretError::Attester)?;
    let (signing, decapsulation) = (SigningKey::generate(), DecapsulationKey::generate());
    let leaf = LeafIdentity::worker(&signing, Timestamp::now()).map_err(SecretError::Channel)?;
    let keys = ChannelKeys {
        channel: leaf.spki().to_vec(),
        encapsulation: decapsulation.public().as_bytes().to_vec(),
        signing: *signing.public().as_bytes(),
    };
    let client = |error: ClientError| CliError::Room(RoomError::Client(error));
    let mut connection = Broker::connect(&broker.address, &broker.key, Some(&leaf)).await.map_err(client)?;
    let claim = attester.key_claim(&issuers);
    let ak_name = claim.ak_name().map_err(|_| SecretError::Enrolment)?;
    let hardware = claim.ek_digest().map_err(|_| SecretError::Enrolment)?;
    let request =
        EnrolRequest { ak_public: claim.ak_public, ek_public: claim.ek_public, ek_chain: claim.ek_certificates };
    let EnrolChallenge { credential, token, challenge } =
        connection.post(path::WORKER_ENROL, &request).await.map_err(client)?;
    let made = MadeCredential { id_object: credential.id_object, encrypted_secret: credential.encrypted_secret };
    let secret = Bytes(attester.activate(&made).map_err(SecretError::Attester)?.to_vec());
    let binding = BindingParts {
        purpose: Purpose::WorkerEnrol { ak_name: ak_name.clone() },
        keys: keys.clone(),
        exporter: *connection.exporter(),
        nonce: challenge.nonce.0,
    };
    let evidence = attester.evidence(&binding.bind()).map_err(SecretError::Attester)?;
    let proof = EnrolProof { request, token, challenge, secret, evidence, keys };
    let Enrolled { enrolment } = connection.post(path::WORKER_PROVE, &proof).await.map_err(client)?;
    let enrolment = Signed::<Enrolment>::verify(&enrolment, &broker.key).map_err(|_| SecretError::Enrolment)?;
    if enrolment.value().keys.ak_name().ok().as_ref() != Some(&ak_name) {
        return Err(SecretError::Enrolment.into());
    }
    let spki = TpmPublic::parse(saved.public()).map_err(|_| SecretError::Enrolment)?.key().spki();
    files::private_directory(&args.out)?;
    for (name, bytes) in [("ak.pub", sized(saved.public())), ("ak.priv", sized(saved.private())), ("ak.der", spki)] {
        files::write(&args.out.join(name), &bytes, Readers::Owner, Taken::Replace)?;
    }
    let words = format!(
        "hardware_id  {hardware}\nenrolment    {}\nkey          {}\n\nThe key is good until this machine's TPM is reset or restarted; then enrol again.",
        enrolment.digest(),
        args.out.display()
    );
    let document = json!({ "hardware_id": hardware, "enrolment": enrolment.digest(), "out": args.out });
    Ok(Report::done(words, document))
}

/// A TPM2B structure.
fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    [length.to_be_bytes().as_slice(), bytes].concat()
}

/// What the broker's Evidence must show: as given, or as the agreements say of this home's broker that this party consented to and that are
/// not over. A proposal that somebody sent is nobody's word here, and where the agreements differ none is chosen.
fn terms(given: Option<&Path>, party: &PublicKey, context: &Context) -> Result<BrokerTerms, CliError> {
    if let Some(path) = given {
        return Ok(home::read_broker_terms(path)?);
    }
    let broker = match context.home.broker() {
        Err(HomeError::NoBroker) => return Err(SecretError::NoTerms.into()),
        broker => broker?,
    };
    let consented = context.home.consented(party, Timestamp::now())?.into_iter();
    let mut known = consented.map(|(_, proposal)| proposal.agreement.broker).filter(|terms| terms.key == broker.key);
    let first = known.next().ok_or(SecretError::NoTerms)?;
    if known.any(|other| other.policy != first.policy || other.log != first.log) {
        return Err(SecretError::NoTerms.into());
    }
    Ok(BrokerTerms { address: broker.address, ..first })
}

fn address(args: &BrokerArgs, context: &Context) -> Result<BrokerAddress, CliError> {
    Ok(args.broker.as_ref().map_or_else(|| context.home.broker(), |text| BrokerAddress::named(text))?)
}

async fn secrets(args: &BrokerArgs, context: &Context) -> Result<(BrokerAddress, Secrets), CliError> {
    let wallet = context.home.wallet(&context.passphrase)?;
    let broker = address(args, context)?;
    let mut room = Room::enter(&broker).await?;
    let secrets = room.read(path::SECRETS, &wallet).await?;
    Ok((broker, secrets))
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|source| FileError::Read { path: path.to_owned(), source }.into())
}

fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let secret = Zeroizing::new(read(path)?);
    if secret.len() > SecretPush::MAX_SECRET { Err(SecretError::TooLarge.into()) } else { Ok(secret) }
}

fn read_text(path: &Path) -> Result<String, CliError> {
    String::from_utf8(read(path)?).map_err(|_| SecretError::NotText.into())
}
