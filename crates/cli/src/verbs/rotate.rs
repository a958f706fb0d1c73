//! `rotate`: replaces the party's keys. The old key signs who takes its place; brokers are told before the new keys are used.
//!
//! The new keys are stored first, so an interruption leaves a rotation that the next `rotate` goes on with. The old keys are
//! kept among the retired ones: they still open older results and data keys.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use agreement::documents::Rotation;
use envelope::PublicKey;
use serde_json::json;
use wire::{
    Code,
    client::ClientError,
    messages::{Accepted, AgreementStatus, path},
};

use crate::{
    args::Context,
    exit::CliError,
    files::{self, FileError},
    home::BrokerAddress,
    output::{self, Report},
    room::{Room, RoomError},
    wallet::{self, Wallet, WalletError},
};

/// Replace this party's keys, and tell its brokers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A broker to be told, besides those of the agreements known here
    #[arg(long, value_name = "FILE|KEY@HOST:PORT")]
    broker: Vec<String>,
    /// Protect the new keys with a passphrase. Keys that had one keep it
    #[arg(long)]
    passphrase: bool,
}

/// Rotates.
pub(crate) async fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    let home = &context.home;
    let old = home.wallet(&context.passphrase)?;
    let brokers = brokers(&args, context)?;
    let resumed = home.next_identity_file().exists();
    let next = next_wallet(&old, &args, context)?;
    let mut told = BTreeSet::new();
    for broker in &brokers {
        tell(broker, &old, &next, resumed).await?;
        output::note(format!("told the broker at {}", broker.address));
        told.insert(broker.key.to_string());
    }
    let retired = retire(&old, context)?;
    let line = next.identity().to_string();
    output::note(format!("the old keys are kept in {}, to open what was sealed to them", retired.display()));
    output::note("send the new line to the other parties; new agreements must name it");
    let document = json!({
        "name": next.name(),
        "previous": old.key().to_string(),
        "identity": line,
        "told": told,
        "retired": retired,
    });
    Ok(Report::done(line, document))
}

/// Every broker that knows this party.
fn brokers(args: &Args, context: &Context) -> Result<Vec<BrokerAddress>, CliError> {
    let mut brokers: BTreeMap<PublicKey, BrokerAddress> = BTreeMap::new();
    for (_, proposal) in context.home.proposals()? {
        let terms = proposal.agreement.broker;
        brokers.insert(terms.key, BrokerAddress { key: terms.key, address: terms.address });
    }
    for text in &args.broker {
        let broker = BrokerAddress::named(text)?;
        brokers.insert(broker.key, broker);
    }
    Ok(brokers.into_values().collect())
}

/// The keys of an interrupted rotation, or new ones, stored either way.
fn next_wallet(old: &Wallet, args: &Args, context: &Context) -> Result<Wallet, CliError> {
    let path = context.home.next_identity_file();
    if path.exists() {
        output::note("going on with the rotation that was interrupted");
        return Ok(Wallet::open(&path, &context.passphrase)?);
    }
    let protect = args.passphrase || wallet::is_protected(&context.home.identity_file())?;
    let passphrase = protect.then(|| context.passphrase.choose(old.name())).transpose().map_err(WalletError::from)?;
    let next = Wallet::generate(old.name())?;
    next.store(&path, passphrase.as_ref().map(|text| text.as_str()))?;
    output::note("new keys are ready; the old ones stay in use until every broker knows");
    Ok(next)
}

async fn tell(broker: &BrokerAddress, old: &Wallet, next: &Wallet, resumed: bool) -> Result<(), CliError> {
    let mut room = Room::enter(broker).await?;
    let rotation = Rotation::new(*old.key(), next.identity().clone(), next.signing());
    let statement = room.sign(rotation, old)?;
    let outcome = room.post::<_, Accepted>(path::ROTATIONS, &statement).await;
    if let Err(RoomError::Client(ClientError::Refused(_))) = &outcome
        && resumed
        && is_ended(&mut room, old).await?
    {
        return Ok(());
    }
    outcome.map(|_| ()).map_err(CliError::from)
}

/// Whether the broker no longer hears the old key, since the interrupted rotation told it.
async fn is_ended(room: &mut Room, old: &Wallet) -> Result<bool, CliError> {
    match room.read::<Vec<AgreementStatus>>(path::AGREEMENTS, old).await {
        Ok(_) => Ok(false),
        Err(RoomError::Client(ClientError::Refused(problem))) => Ok(problem.code == Code::NotPermitted.as_str()),
        Err(error) => Err(error.into()),
    }
}

/// Moves the old keys aside and the new ones into their place.
fn retire(old: &Wallet, context: &Context) -> Result<PathBuf, CliError> {
    let home = &context.home;
    files::private_directory(&home.retired_directory())?;
    let retired = home.retired_directory().join(format!("{}.json", old.key().short()));
    let current = home.identity_file();
    let failed = |source| FileError::Write { path: current.clone(), source };
    if !retired.exists() {
        // A second name first, so that at no moment the old keys have none.
        fs::hard_link(&current, &retired).or_else(|_| fs::copy(&current, &retired).map(|_| ())).map_err(failed)?;
    }
    fs::rename(home.next_identity_file(), &current).map_err(failed)?;
    fs::File::open(home.path()).and_then(|directory| directory.sync_all()).map_err(failed)?;
    Ok(retired)
}
