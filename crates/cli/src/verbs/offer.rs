//! `offer`: standing terms, so that the owner's machine may be off when others agree and run.
//!
//! The terms are taken from the text of an agreement: every agreement that is as strict or stricter in every field matches, any
//! other is refused with the clause that failed. The words shown are those of that agreement; what an offer adds is how
//! many runs it admits and until when. The key is deposited under the offer, with the broker appraised first.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, IsTerminal as _, Write as _},
    path::PathBuf,
};

use agreement::documents::{Charge, DatasetId, Offer};
use envelope::{Digest, PublicKey};
use jiff::Timestamp;
use serde_json::json;
use wire::messages::{Accepted, path};

use crate::{
    args::Context,
    exit::CliError,
    heads::Watched,
    output::{self, Report},
    terms::Terms,
    verbs::agree,
};

/// Consent in advance to agreements like this one, so that your machine may be off
///
/// Deposits the keys of your datasets. An agreement matches only if no field of it is looser.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The text of an agreement (TOML) that says what is admitted
    #[arg(value_name = "AGREEMENT")]
    agreement: PathBuf,
    /// How many runs the offer admits, over all agreements
    #[arg(long, value_name = "COUNT")]
    max_runs: u64,
    /// Until when; the agreement's own expiry if left out
    #[arg(long, value_name = "TIME")]
    expires: Option<Timestamp>,
    /// Sign without being asked. The words are printed all the same
    #[arg(long)]
    yes: bool,
}

/// Shows, asks, signs, deposits.
pub(crate) async fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    let wallet = context.home.wallet(&context.passphrase)?;
    let terms = Terms::from_toml(&args.agreement, &context.home).await?;
    let party =
        terms.party(wallet.key()).ok_or_else(|| CliError::NotAParty(terms.agreement().name.clone()))?.to_owned();
    let expires = args.expires.unwrap_or(terms.agreement().expires);
    if Timestamp::now() > expires {
        return Err(CliError::AgreementExpired(expires));
    }
    let offer =
        offer_of(&terms, wallet.key(), args.max_runs, expires).ok_or(CliError::NothingToOffer(party.clone()))?;
    let keys = agree::own_keys(&terms, &wallet, context)?;
    output::note(terms.summary(wallet.key()).to_string());
    for subtraction in terms.subtractions() {
        output::warn(subtraction);
    }
    output::note(format!(
        "\nas an offer: every agreement that is no looser matches, for at most {} runs over all of them, until {expires}",
        args.max_runs
    ));
    ask(&args, &party)?;
    let mut attested = agree::appraise(&terms, &wallet).await?;
    let watched = Watched::of(terms.agreement())?;
    watched.look(attested.room(), &context.home).await?;
    let deposited = agree::deposit(&mut attested, keys, &wallet).await?;
    let statement = attested.room().sign(offer, &wallet)?;
    let accepted: Accepted = attested.room().post(path::OFFERS, &statement).await?;
    watched.look(attested.room(), &context.home).await?;
    let words = format!("offer    {}\nruns     {}\nexpires  {expires}", statement.digest(), args.max_runs);
    let document = json!({
        "offer": statement.digest(),
        "leaf": accepted.leaf,
        "max_runs": args.max_runs,
        "expires": expires,
        "deposited": deposited,
    });
    Ok(Report::done(words, document))
}

/// Exactly the terms of an agreement, seen by one of its owners. `None` for a party that owns nothing in it.
fn offer_of(terms: &Terms, owner: &PublicKey, max_runs: u64, expires: Timestamp) -> Option<Offer> {
    let agreement = terms.agreement();
    let is_mine = |name: &str| terms.manifests().get(name).is_some_and(|manifest| manifest.value().owner == *owner);
    let key_of = |party: &String| agreement.parties.get(party).map(|terms| *terms.identity.signing());
    let (mine, others): (Vec<_>, Vec<_>) = agreement.datasets.iter().partition(|(name, _)| is_mine(name));
    if mine.is_empty() {
        return None;
    }
    let mut computations: BTreeMap<Digest, BTreeMap<DatasetId, BTreeSet<String>>> = BTreeMap::new();
    for computation in agreement.computations.values() {
        let read = computation.columns.iter().filter(|(name, _)| is_mine(name));
        let read =
            read.filter_map(|(name, columns)| Some((terms.manifests().get(name)?.value().dataset(), columns.clone())));
        computations.insert(computation.digest(), read.collect());
    }
    Some(Offer {
        datasets: mine.iter().map(|(_, dataset)| dataset.source).collect(),
        purpose: agreement.purpose.clone(),
        computations,
        recipients: agreement
            .computations
            .values()
            .flat_map(|computation| &computation.recipients)
            .filter_map(key_of)
            .collect(),
        co_datasets: others.iter().map(|(_, dataset)| dataset.source).collect(),
        parties: agreement.parties.values().map(|party| *party.identity.signing()).filter(|key| key != owner).collect(),
        brokers: BTreeMap::from([(agreement.broker.key, agreement.broker.log.clone())]),
        broker_policy: agreement.broker.policy.clone(),
        worker_policy: agreement.workers.clone(),
        witnesses: agreement.witnesses.clone(),
        release: agreement.release,
        charge: Charge::Thresholds {},
        max_runs,
        price: 0,
        expires,
    })
}

fn ask(args: &Args, party: &str) -> Result<(), CliError> {
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(CliError::NobodyToAsk);
    }
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "\noffer this as `{party}`? [y/N] ");
    let _ = stderr.flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(CliError::Stdin)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(CliError::Declined) }
}
