//! `revoke`: ends an agreement, an offer, a dataset version or an auditor's word; `--erase` also destroys this party's keys at the broker.
//!
//! From then on no run starts and no lease is renewed. What has left already cannot be called back.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use agreement::{
    documents::{Revocation, Revoked},
    in_force::NotInForce,
};
use envelope::Digest;
use serde_json::json;
use wire::messages::{Accepted, AgreementStatus, Standing, path};

use crate::{
    args::Context,
    exit::CliError,
    home::{BrokerAddress, HomeError},
    output::{self, Report},
    room::Room,
    wallet::Wallet,
};

/// End an agreement, an offer, a dataset version or an auditor's word for good
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name or digest of an agreement; with `--dataset`, `--offer` or `--endorsement` that of one of those
    #[arg(value_name = "NAME|DIGEST")]
    what: String,
    /// Revoke a dataset of one's own: its name, for all its versions, or the digest of one manifest
    #[arg(long, conflicts_with_all = ["offer", "endorsement"])]
    dataset: bool,
    /// Revoke an offer, by its digest
    #[arg(long, conflicts_with = "endorsement")]
    offer: bool,
    /// Withdraw Reference Values of one's own that were brought to the broker, by their digest
    #[arg(long)]
    endorsement: bool,
    /// Also destroy this party's keys at the broker. They cannot be brought back from there
    #[arg(long)]
    erase: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// The broker, where this home does not know it
    #[arg(long, value_name = "FILE|KEY@HOST:PORT")]
    broker: Option<String>,
}

/// Ends it.
pub(crate) async fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    let wallet = context.home.wallet(&context.passphrase)?;
    let (broker, targets) = targets(&args, context)?;
    ask(&args, targets.len())?;
    let mut room = Room::enter(&broker).await?;
    let (mut words, mut documents) = (Vec::new(), Vec::new());
    for what in targets {
        if !args.erase && is_revoked(&what, &mut room, &wallet).await? {
            words.push(format!("{} was revoked by this party already; nothing was logged", what.digest()));
            documents.push(json!({ "revoked": what.digest(), "already": true, "erased": false }));
            continue;
        }
        let statement = room.sign(Revocation { what, erase: args.erase }, &wallet)?;
        let accepted: Accepted = room.post(path::REVOCATIONS, &statement).await?;
        if let Revoked::Agreement(digest) = &what {
            context.home.remove_consent(digest)?;
        }
        let erased = if args.erase { ", keys erased" } else { "" };
        words.push(format!("revoked {}{erased} (log entry {})", what.digest(), accepted.leaf));
        documents.push(json!({ "revoked": what.digest(), "statement": accepted.statement, "leaf": accepted.leaf, "erased": args.erase }));
    }
    Ok(Report::done(words.join("\n"), json!({ "revocations": documents })))
}

/// Whether the broker says that this very party revoked the agreement. Of anything else it does not say so, and another entry does no harm.
async fn is_revoked(what: &Revoked, room: &mut Room, wallet: &Wallet) -> Result<bool, CliError> {
    let Revoked::Agreement(digest) = what else { return Ok(false) };
    let path = path::AGREEMENT.replace("{digest}", &digest.to_string());
    let Some(status) = room.find::<AgreementStatus>(&path, wallet).await? else { return Ok(false) };
    let mut parties = status.agreement.parties.iter();
    let Some((me, _)) = parties.find(|(_, terms)| terms.identity.signing() == wallet.key()) else { return Ok(false) };
    let revoked = NotInForce::Revoked { by: me.clone() }.to_string();
    Ok(matches!(status.standing, Standing::NotInForce { reason } if reason == revoked))
}

fn targets(args: &Args, context: &Context) -> Result<(BrokerAddress, Vec<Revoked>), CliError> {
    let given = args.broker.as_ref().map(|text| BrokerAddress::named(text)).transpose()?;
    let digest = args.what.parse::<Digest>();
    if args.offer || args.endorsement {
        let broker = given.map_or_else(|| context.home.broker(), Ok)?;
        let kind = if args.offer { Revoked::Offer } else { Revoked::ReferenceValues };
        return Ok((broker, vec![kind(digest?)]));
    }
    if args.dataset {
        return dataset(&args.what, digest.ok(), given, context);
    }
    match context.home.proposal(&args.what) {
        Ok((digest, proposal)) => {
            let terms = &proposal.agreement.broker;
            let known = BrokerAddress { key: terms.key, address: terms.address.clone() };
            Ok((given.unwrap_or(known), vec![Revoked::Agreement(digest)]))
        }
        Err(HomeError::NoAgreement(_)) if digest.is_ok() && given.is_some() => {
            let broker = given.map_or_else(|| context.home.broker(), Ok)?;
            Ok((broker, vec![Revoked::Agreement(digest?)]))
        }
        Err(error) => Err(error.into()),
    }
}

fn dataset(
    what: &str,
    digest: Option<Digest>,
    given: Option<BrokerAddress>,
    context: &Context,
) -> Result<(BrokerAddress, Vec<Revoked>), CliError> {
    let mut manifests = Vec::new();
    for name in context.home.datasets() {
        manifests.extend(context.home.manifests(&name)?);
    }
    manifests.retain(|manifest| match &digest {
        Some(digest) => manifest.digest() == digest,
        None => manifest.value().name == what,
    });
    let Some(last) = manifests.last() else { return Err(CliError::NoDataset(what.to_owned())) };
    let key = last.value().broker;
    let address = context
        .home
        .proposals()?
        .into_iter()
        .map(|(_, proposal)| proposal.agreement.broker)
        .find(|broker| broker.key == key);
    let known = address.map(|broker| BrokerAddress { key, address: broker.address });
    let broker = match given.or(known) {
        Some(broker) => broker,
        None => context.home.broker()?,
    };
    Ok((broker, manifests.iter().map(|manifest| Revoked::Manifest(*manifest.digest())).collect()))
}

fn ask(args: &Args, count: usize) -> Result<(), CliError> {
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(CliError::NobodyToAsk);
    }
    let erase = if args.erase { " and erase the keys for good" } else { "" };
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "revoke `{}` ({count} in all){erase}? [y/N] ", output::plain(&args.what));
    let _ = stderr.flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(CliError::Stdin)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(CliError::Declined) }
}
