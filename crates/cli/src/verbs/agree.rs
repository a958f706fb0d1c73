//! `agree`: reads an agreement, says in plain words what it means, and on consent signs it and deposits the keys.
//!
//! Nothing is signed before the person has seen the words, and no key leaves before the broker's own Evidence has passed the
//! agreement's policy on the very connection on which the key is sent. It may be repeated at any time: what the broker has
//! already is not sent again.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
};

use agreement::{
    documents::{BrokerTerms, Consent, Deposit, Manifest},
    shape::SoundAgreement,
    words::Summary,
};
use envelope::{
    Digest,
    statement::{Envelope, Signed},
};
use jiff::Timestamp;
use serde_json::json;
use wire::messages::{Accepted, AgreementStatus, Standing, path};
use zeroize::Zeroizing;

use crate::{
    args::Context,
    exit::CliError,
    files::{self, Readers, Taken},
    heads::Watched,
    home::{BrokerAddress, Exchange, ExchangeFormat, HomeError, Opener, read_exchange},
    output::{self, Report},
    room::{Attested, Room},
    terms::{self, Terms},
    wallet::Wallet,
};

/// Read an agreement in plain words, consent to it, and deposit the keys of your datasets
///
/// The parties may do so in any order. Each takes the same text, a file that another party exported, or the digest.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The agreement: a text (TOML), a file exported by another party (JSON), or the digest or name of one that is known
    #[arg(value_name = "FILE|DIGEST|NAME")]
    agreement: String,
    /// Consent without being asked. The words are printed all the same
    #[arg(long)]
    yes: bool,
    /// Do not consent; write a file for the other parties
    #[arg(long, value_name = "FILE", conflicts_with_all = ["yes", "only_sign"])]
    export: Option<PathBuf>,
    /// Consent, and write the signed consent into a file for somebody else to hand in within ten minutes; deposit nothing
    #[arg(long, value_name = "FILE")]
    only_sign: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    force: bool,
    /// The broker that knows the digest, if this home does not; the home's default if left out
    #[arg(long, value_name = "FILE|KEY@HOST:PORT")]
    broker: Option<String>,
}

/// Reads, asks, signs, deposits.
pub(crate) async fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    let wallet = context.home.wallet(&context.passphrase)?;
    let (terms, consents) = load(&args, &wallet, context).await?;
    let taken = if args.force { Taken::Replace } else { Taken::Keep };
    if let Some(out) = &args.export {
        context.home.store_proposal(terms.digest(), &terms.proposal())?;
        write_exchange(out, &terms, consents, taken)?;
        let words = format!("agreement {}\nfile      {}", terms.digest(), out.display());
        return Ok(Report::done(words, json!({ "agreement": terms.digest(), "file": out })));
    }
    let party =
        terms.party(wallet.key()).ok_or_else(|| CliError::NotAParty(terms.agreement().name.clone()))?.to_owned();
    if Timestamp::now() > terms.agreement().expires {
        return Err(CliError::AgreementExpired(terms.agreement().expires));
    }
    let keys = own_keys(&terms, &wallet, context)?;
    tell(&terms, &wallet, context)?;
    ask(&args, &terms, &party)?;
    context.home.store_proposal(terms.digest(), &terms.proposal())?;
    if let Some(out) = &args.only_sign {
        return only_sign(out, &terms, consents, &wallet, taken, context).await;
    }
    hand_in(&terms, &party, consents, keys, &wallet, context).await
}

/// From a text, a file, this home, or the broker; with the consents that came with it.
async fn load(args: &Args, wallet: &Wallet, context: &Context) -> Result<(Terms, Vec<Envelope>), CliError> {
    let home = &context.home;
    if let Some(path) = terms::as_file(&args.agreement) {
        if path.extension().is_some_and(|ending| ending == "json") {
            let (_, exchange) = read_exchange(&path)?;
            return Ok((Terms::from_proposal(&exchange.proposal, home).await?, exchange.consents));
        }
        return Ok((Terms::from_toml(&path, home).await?, Vec::new()));
    }
    match home.proposal(&args.agreement) {
        Ok((_, proposal)) => Ok((Terms::from_proposal(&proposal, home).await?, Vec::new())),
        Err(HomeError::NoAgreement(_)) if args.agreement.starts_with("sha256:") => {
            let digest: Digest = args.agreement.parse().map_err(HomeError::from)?;
            let broker: BrokerAddress =
                args.broker.as_ref().map_or_else(|| home.broker(), |text| BrokerAddress::named(text))?;
            let mut room = Room::enter(&broker).await?;
            let path = path::AGREEMENT.replace("{digest}", &digest.to_string());
            let status: AgreementStatus =
                room.find(&path, wallet).await?.ok_or_else(|| HomeError::NoAgreement(args.agreement.clone()))?;
            let proposal = agreement::documents::Proposal { agreement: status.agreement, manifests: status.manifests };
            let terms = Terms::from_proposal(&proposal, home).await?;
            if *terms.digest() != digest {
                return Err(CliError::OtherAgreement { expected: digest, found: *terms.digest() });
            }
            Ok((terms, Vec::new()))
        }
        Err(error) => Err(error.into()),
    }
}

/// A version of one's own dataset, and its key.
pub(crate) type OwnKey = (Signed<Manifest>, Zeroizing<Vec<u8>>);

/// The keys to be deposited: those of every version of the party's own datasets that the agreement may read.
pub(crate) fn own_keys(terms: &Terms, wallet: &Wallet, context: &Context) -> Result<Vec<OwnKey>, CliError> {
    let opener = Opener::of(&context.home, wallet, &context.passphrase);
    let mut keys = Vec::new();
    for (name, newest) in terms.manifests() {
        let Some(dataset) = terms.agreement().datasets.get(name) else { continue };
        if newest.value().owner != *wallet.key() {
            continue;
        }
        let versions = context.home.manifests(&newest.value().name)?;
        // A version that was sealed for an earlier broker has its key there.
        let broker = terms.agreement().broker.key;
        let fitting = versions
            .into_iter()
            .filter(|manifest| terms::fits(manifest, &dataset.source) && manifest.value().broker == broker);
        let mut fitting: Vec<_> = fitting.filter(|manifest| context.home.has_key(manifest.digest())).collect();
        if !fitting.iter().any(|manifest| manifest.digest() == newest.digest()) {
            fitting.push(newest.clone());
        }
        for manifest in fitting {
            let key = context.home.key(name, manifest.digest(), &opener)?;
            let key = key
                .deposit()
                .ok_or_else(|| HomeError::NoKey { dataset: name.clone(), manifest: *manifest.digest() })?;
            keys.push((manifest, key));
        }
    }
    Ok(keys)
}

/// Prints what would be agreed, and what differs from the agreement that it replaces.
fn tell(terms: &Terms, wallet: &Wallet, context: &Context) -> Result<(), CliError> {
    let summary = terms.summary(wallet.key());
    output::note(summary.to_string());
    for (name, explanation) in terms.explanations() {
        output::note(format!("\n{name}, column by column:\n{}", explanation.to_string().trim_end()));
    }
    for subtraction in terms.subtractions() {
        output::warn(subtraction);
    }
    let Some(predecessor) = terms.agreement().predecessor else { return Ok(()) };
    let old = context.home.proposals()?.into_iter().find(|(digest, _)| *digest == predecessor);
    match old.and_then(|(_, proposal)| SoundAgreement::new(proposal.agreement).ok()) {
        None => output::warn(format!("the agreement that this one replaces, {predecessor}, is not known here")),
        Some(old) => {
            let manifests =
                terms.manifests().iter().map(|(name, manifest)| (name.clone(), manifest.value().clone())).collect();
            let old = Summary::of(&old, &manifests, Some(wallet.key()));
            output::note("\nwhat changes:");
            for change in summary.changes_from(&old) {
                let before = change.before.as_deref().unwrap_or("(nothing)");
                let after = change.after.as_deref().unwrap_or("(nothing)");
                output::note(format!("  {}\n    before: {before}\n    after:  {after}", change.about));
            }
        }
    }
    Ok(())
}

fn ask(args: &Args, terms: &Terms, party: &str) -> Result<(), CliError> {
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(CliError::NobodyToAsk);
    }
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "\nconsent as `{party}` to {}? [y/N] ", terms.digest());
    let _ = stderr.flush();
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(CliError::Stdin)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { Err(CliError::Declined) }
}

/// Appraises the broker of an agreement. Whoever has the result may send it keys.
pub(crate) async fn appraise(terms: &Terms, wallet: &Wallet) -> Result<Attested, CliError> {
    appraise_broker(&terms.agreement().broker, wallet).await
}

/// Appraises a broker under these terms, and tells on which tier it is.
pub(crate) async fn appraise_broker(broker: &BrokerTerms, wallet: &Wallet) -> Result<Attested, CliError> {
    let room = Room::enter(&BrokerAddress { key: broker.key, address: broker.address.clone() }).await?;
    let attested = room.appraise(wallet, &broker.policy, &broker.log).await?;
    let tier = attested.result().tier();
    output::note(format!(
        "the broker's Evidence was appraised: {} {} on the tier {tier}: {}",
        attested.result().role(),
        attested.result().role_binary().short(),
        tier.words()
    ));
    Ok(attested)
}

async fn hand_in(
    terms: &Terms,
    party: &str,
    consents: Vec<Envelope>,
    keys: Vec<OwnKey>,
    wallet: &Wallet,
    context: &Context,
) -> Result<Report, CliError> {
    let mut attested = appraise(terms, wallet).await?;
    let watched = Watched::of(terms.agreement())?;
    watched.look(attested.room(), &context.home).await?;
    propose(terms, &mut attested, wallet).await?;
    let deposited = deposit(&mut attested, keys, wallet).await?;
    for consent in consents {
        if let Err(error) = attested.room().forward::<AgreementStatus>(path::CONSENTS, &consent).await {
            output::warn(format!(
                "a consent that came with the file was not taken: {}",
                first_line(&error.to_string())
            ));
        }
    }
    let consent = Consent { agreement: *terms.digest(), broker_ak: attested.ak() };
    let statement = attested.room().sign(consent, wallet)?;
    let status: AgreementStatus = attested.room().post(path::CONSENTS, &statement).await?;
    context.home.store_consent(&statement)?;
    watched.look(attested.room(), &context.home).await?;
    // What ended while it was agreed to does not come into force any more.
    let ended = matches!(status.standing, Standing::NotInForce { .. }) && Timestamp::now() > terms.agreement().expires;
    let standing = standing_words(&status.standing, ended);
    let words = format!("agreement {}\nconsented {party}\nstanding  {standing}", terms.digest());
    let document = json!({
        "agreement": terms.digest(),
        "name": terms.agreement().name,
        "party": party,
        "consent": statement.digest(),
        "broker_ak": attested.ak(),
        "tier": attested.result().tier(),
        "deposited": deposited,
        "consented": status.consented,
        "standing": status.standing,
    });
    Ok(if ended { Report::refused(words, document) } else { Report::done(words, document) })
}

/// Puts the agreement before the broker if it does not have it.
pub(crate) async fn propose(terms: &Terms, attested: &mut Attested, wallet: &Wallet) -> Result<(), CliError> {
    let path = path::AGREEMENT.replace("{digest}", &terms.digest().to_string());
    let known: Option<AgreementStatus> = attested.room().find(&path, wallet).await?;
    if known.is_none() {
        let statement = attested.room().sign(terms.proposal(), wallet)?;
        let _: AgreementStatus = attested.room().post(path::PROPOSALS, &statement).await?;
    }
    Ok(())
}

/// Wraps keys to the appraised broker and hands them in; one that it has already it takes again.
pub(crate) async fn deposit(
    attested: &mut Attested,
    keys: Vec<OwnKey>,
    wallet: &Wallet,
) -> Result<Vec<Digest>, CliError> {
    let mut deposited = Vec::new();
    for (manifest, key) in keys {
        let audience = attested.room().description().key;
        let context = Deposit::context(manifest.digest(), &audience);
        let wrapped = attested.wrap(&key, Deposit::PURPOSE, &context)?;
        let statement =
            attested.room().sign(Deposit { manifest: manifest.envelope().clone(), key: wrapped }, wallet)?;
        let _: Accepted = attested.room().post(path::DEPOSITS, &statement).await?;
        output::note(format!("deposited the key of {} version {}", manifest.value().name, manifest.value().version));
        deposited.push(*manifest.digest());
    }
    Ok(deposited)
}

/// Signs a consent for somebody else to hand in. The broker is appraised all the same, since the consent names its key.
async fn only_sign(
    out: &Path,
    terms: &Terms,
    mut consents: Vec<Envelope>,
    wallet: &Wallet,
    taken: Taken,
    context: &Context,
) -> Result<Report, CliError> {
    let mut attested = appraise(terms, wallet).await?;
    let consent = Consent { agreement: *terms.digest(), broker_ak: attested.ak() };
    let statement = attested.room().sign(consent, wallet)?;
    context.home.store_consent(&statement)?;
    consents.push(statement.envelope().clone());
    write_exchange(out, terms, consents, taken)?;
    output::note("nothing was sent; whoever has the file runs `glovebox agree` with it within ten minutes");
    let words = format!("agreement {}\nfile      {}", terms.digest(), out.display());
    Ok(Report::done(words, json!({ "agreement": terms.digest(), "file": out, "consent": statement.digest() })))
}

fn write_exchange(out: &Path, terms: &Terms, consents: Vec<Envelope>, taken: Taken) -> Result<(), CliError> {
    let exchange = Exchange { format: ExchangeFormat::V1, proposal: terms.proposal(), consents };
    let bytes = serde_json::to_vec_pretty(&exchange).map_err(CliError::Json)?;
    Ok(files::write(out, &bytes, Readers::Everyone, taken)?)
}

fn standing_words(standing: &Standing, ended: bool) -> String {
    match standing {
        Standing::InForce {} => "in force".to_owned(),
        Standing::NotInForce { reason } => {
            format!("{} in force: {}", if ended { "no longer" } else { "not yet" }, first_line(reason))
        }
    }
}

fn first_line(text: &str) -> String {
    output::plain(text.lines().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_is_not_said_to_be_still_to_come() {
        let reason = "the agreement expired at 2020-01-01T00:00:00Z\nhint: make a new one".to_owned();
        let expired = Standing::NotInForce { reason };
        assert_eq!(standing_words(&expired, true), "no longer in force: the agreement expired at 2020-01-01T00:00:00Z");
        assert_eq!(standing_words(&expired, false), "not yet in force: the agreement expired at 2020-01-01T00:00:00Z");
        assert_eq!(standing_words(&Standing::InForce {}, false), "in force");
    }
}
