//! `log`: what the broker's log holds that concerns this party, with every proof checked, and whether the log only grew.

use std::collections::BTreeMap;

use agreement::documents::{Agreement, Consent, Deposit, Offer, Proposal, ResultStatement, Revocation, Rotation, Run};
use attest::reference::ReferenceValues;
use envelope::{
    Digest, PublicKey,
    statement::{Addressed, Envelope, Predicate, Signed, StatementError, Subject},
};
use jiff::Timestamp;
use receipt::{AgreementInForce, Enrolment, Released, SecretDestroyed, SecretPolicySet, SecretReleased, SecretStored};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tlog::{Included, Opening, VerifiedCheckpoint};
use wire::messages::{LoggedRecord, Records, path};

use crate::{
    args::Context,
    exit::CliError,
    heads::{LogFault, Watched},
    home::BrokerAddress,
    output::{self, Report},
    room::Room,
    wallet::Wallet,
};

/// List what the broker's log holds about you, check every proof, and that the log only grew
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the log of this agreement's broker: its name or digest
    #[arg(value_name = "NAME|DIGEST")]
    agreement: Option<String>,
}

/// Checks and lists.
pub(crate) async fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    let wallet = context.home.wallet(&context.passphrase)?;
    let agreements = match &args.agreement {
        Some(name) => vec![context.home.proposal(name)?.1.agreement],
        None => context.home.proposals()?.into_iter().map(|(_, proposal)| proposal.agreement).collect(),
    };
    // One log per broker key: the agreements of one broker name one log.
    let brokers: BTreeMap<PublicKey, Agreement> =
        agreements.into_iter().map(|agreement| (agreement.broker.key, agreement)).collect();
    if brokers.is_empty() {
        return Ok(Report::done("no agreement is known here, so there is no log to look at", json!({ "logs": [] })));
    }
    let (mut words, mut documents) = (Vec::new(), Vec::new());
    let names = names(context)?;
    for agreement in brokers.values() {
        let broker = BrokerAddress { key: agreement.broker.key, address: agreement.broker.address.clone() };
        let mut room = Room::enter(&broker).await?;
        let watched = Watched::of(agreement)?;
        let entries = entries(&watched, &mut room, &wallet, context).await?;
        let head = watched.look(&mut room, &context.home).await?;
        words.push(format!("{} has {} entries; it only grew since it was last seen", head.log().origin(), head.size()));
        words.extend(entries.iter().map(|entry| entry.line(&names)));
        let entries: Vec<Value> = entries.iter().map(Entry::document).collect();
        documents.push(json!({
            "log": head.log().to_string(),
            "size": head.size(),
            "root": head.root().to_string(),
            "entries": entries,
        }));
    }
    Ok(Report::done(words.join("\n"), json!({ "logs": documents })))
}

/// What the agreements known here call whose key; a key that is in none, such as a worker's, has no name.
fn names(context: &Context) -> Result<BTreeMap<PublicKey, String>, CliError> {
    let mut names = BTreeMap::new();
    for (_, proposal) in context.home.proposals()? {
        names.insert(proposal.agreement.broker.key, "the broker".to_owned());
        for (name, party) in proposal.agreement.parties {
            names.entry(*party.identity.signing()).or_insert(name);
        }
    }
    Ok(names)
}

/// All of the party's records, page by page, each checked against its page's head and that against the newest one.
async fn entries(
    watched: &Watched,
    room: &mut Room,
    wallet: &Wallet,
    context: &Context,
) -> Result<Vec<Entry>, CliError> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let from = entries.last().map_or(0, |last| last.index.saturating_add(1));
        let page: Records = room.read(&format!("{}?from={from}", path::RECORDS), wallet).await?;
        if page.records.is_empty() {
            return Ok(entries);
        }
        let head = watched.place(page.checkpoint.as_bytes(), room, &context.home).await?;
        for record in &page.records {
            let entry = check(record, &head)?;
            // A page that does not go on would be read for ever.
            if entry.index < from {
                return Err(CliError::UnknownRecord("a record out of order".to_owned()));
            }
            entries.push(entry);
        }
    }
}

/// A statement whose signature and place in the log were checked.
struct Entry {
    index: u64,
    kind: String,
    digest: Digest,
    signer: PublicKey,
    name: String,
}

impl Entry {
    fn line(&self, names: &BTreeMap<PublicKey, String>) -> String {
        // A name is an agreement's own; the key says who it is.
        let signer = match names.get(&self.signer) {
            Some(name) => format!("{name} ({})", self.signer.short()),
            None => self.signer.short(),
        };
        format!("  {:>6} {:<12} {} by {signer}", self.index, self.kind, self.digest.short())
    }

    fn document(&self) -> Value {
        json!({
            "index": self.index,
            "kind": self.kind,
            "statement": self.digest,
            "signer": self.signer.to_string(),
            "about": self.name,
        })
    }
}

fn check(record: &LoggedRecord, head: &VerifiedCheckpoint) -> Result<Entry, CliError> {
    let (digest, signer, name) = open(&record.kind, &record.logged.statement)?;
    let opening = Opening { kind: record.kind.clone(), record: digest, salt: record.logged.salt.0 };
    let included = Included::check(opening, &record.logged.proof, head).map_err(LogFault::Refused)?;
    let kind = record.kind.trim_start_matches("urn:glovebox:").trim_end_matches(":v1");
    Ok(Entry { index: included.index(), kind: output::plain(kind), digest, signer, name: output::plain(&name) })
}

/// The broker's statement that it holds a key. Deposits themselves are not logged, since the log forgets nothing.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deposited {
    manifest: Digest,
    deposit: Digest,
    owner: PublicKey,
    since: Timestamp,
}

impl Predicate for Deposited {
    const TYPE: &'static str = "urn:glovebox:deposited:v1";

    fn subject(&self) -> Subject {
        Subject { name: "manifest".to_owned(), digest: self.manifest }
    }
}

/// Opens a statement of any kind that brokers log.
fn open(kind: &str, envelope: &Envelope) -> Result<(Digest, PublicKey, String), CliError> {
    fn facts<T: Predicate>(envelope: &Envelope) -> Result<(Digest, PublicKey, String), StatementError> {
        let signed = Signed::<T>::open(envelope)?;
        Ok((*signed.digest(), *signed.signer(), signed.value().subject().name))
    }
    type Opener = fn(&Envelope) -> Result<(Digest, PublicKey, String), StatementError>;
    let openers: [(&str, Opener); 17] = [
        (Proposal::TYPE, facts::<Addressed<Proposal>>),
        (Consent::TYPE, facts::<Addressed<Consent>>),
        (Deposit::TYPE, facts::<Addressed<Deposit>>),
        (Offer::TYPE, facts::<Addressed<Offer>>),
        (Revocation::TYPE, facts::<Addressed<Revocation>>),
        (Rotation::TYPE, facts::<Addressed<Rotation>>),
        (ReferenceValues::TYPE, facts::<ReferenceValues>),
        (Run::TYPE, facts::<Addressed<Run>>),
        (ResultStatement::TYPE, facts::<Addressed<ResultStatement>>),
        (Enrolment::TYPE, facts::<Enrolment>),
        (AgreementInForce::TYPE, facts::<AgreementInForce>),
        (Released::TYPE, facts::<Released>),
        (Deposited::TYPE, facts::<Deposited>),
        (SecretStored::TYPE, facts::<SecretStored>),
        (SecretDestroyed::TYPE, facts::<SecretDestroyed>),
        (SecretPolicySet::TYPE, facts::<SecretPolicySet>),
        (SecretReleased::TYPE, facts::<SecretReleased>),
    ];
    let found = openers.iter().find(|(known, _)| *known == kind);
    let (_, opener) = found.ok_or_else(|| CliError::UnknownRecord(output::plain(kind)))?;
    Ok(opener(envelope)?)
}
