//! `status`: what this party has here, and how it stands with its brokers. A broker that is away is a fact, not an error.

use std::collections::BTreeMap;

use envelope::{Digest, PublicKey};
use serde_json::{Value, json};
use wire::messages::{AgreementStatus, Standing, path};

use crate::{
    args::Context,
    exit::CliError,
    home::BrokerAddress,
    output::{self, Report},
    room::Room,
    wallet::{self, Wallet},
};

/// Show this party, its datasets, its agreements and how they stand
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Ask no broker
    #[arg(long)]
    offline: bool,
}

/// What one broker says.
enum Told {
    Reached(Vec<AgreementStatus>),
    Away(String),
}

/// Shows.
pub(crate) async fn run(args: Args, context: &Context) -> Result<Report, CliError> {
    let (name, identity) = wallet::public(&context.home.identity_file())?;
    let mut words = vec![format!("party {name} {}", identity.signing())];
    let datasets = datasets(context, &mut words)?;
    let proposals = context.home.proposals()?;
    let mut brokers: BTreeMap<PublicKey, String> = proposals
        .iter()
        .map(|(_, proposal)| (proposal.agreement.broker.key, proposal.agreement.broker.address.clone()))
        .collect();
    if let Ok(default) = context.home.broker() {
        brokers.entry(default.key).or_insert(default.address);
    }
    let mut told = BTreeMap::new();
    if !args.offline && !brokers.is_empty() {
        let wallet = context.home.wallet(&context.passphrase)?;
        for (key, address) in &brokers {
            told.insert(*key, ask(&BrokerAddress { key: *key, address: address.clone() }, &wallet).await);
        }
    }
    let mut known: BTreeMap<Digest, (String, PublicKey)> = proposals
        .iter()
        .map(|(digest, proposal)| (*digest, (proposal.agreement.name.clone(), proposal.agreement.broker.key)))
        .collect();
    for (broker, told) in &told {
        if let Told::Reached(statuses) = told {
            known.extend(statuses.iter().map(|status| (status.digest, (status.name.clone(), *broker))));
        }
    }
    let mut agreements = Vec::new();
    for (digest, (name, broker)) in &known {
        let (line, document) = agreement(digest, name, told.get(broker));
        words.push(line);
        agreements.push(document);
    }
    let mut broker_documents = Vec::new();
    for (key, address) in &brokers {
        let state = match told.get(key) {
            None => "not asked".to_owned(),
            Some(Told::Reached(_)) => "reached".to_owned(),
            Some(Told::Away(reason)) => reason.clone(),
        };
        words.push(format!("broker {key} at {}: {state}", output::plain(address)));
        broker_documents.push(json!({ "key": key.to_string(), "address": address, "state": state }));
    }
    let document = json!({
        "party": { "name": name, "identity": identity.to_string() },
        "datasets": datasets,
        "agreements": agreements,
        "brokers": broker_documents,
    });
    Ok(Report::done(words.join("\n"), document))
}

fn datasets(context: &Context, words: &mut Vec<String>) -> Result<Vec<Value>, CliError> {
    let mut documents = Vec::new();
    for name in context.home.datasets() {
        for manifest in context.home.manifests(&name)? {
            let value = manifest.value();
            let has_key = context.home.has_key(manifest.digest());
            let key = if has_key { "" } else { ", its key is not here" };
            words.push(format!(
                "dataset {} version {} {} at {}{key}",
                value.name,
                value.version,
                manifest.digest().short(),
                value.location
            ));
            documents.push(json!({
                "name": value.name,
                "version": value.version,
                "manifest": manifest.digest(),
                "series": value.series().ok(),
                "location": value.location,
                "key": has_key,
            }));
        }
    }
    Ok(documents)
}

async fn ask(broker: &BrokerAddress, wallet: &Wallet) -> Told {
    let statuses = async {
        let mut room = Room::enter(broker).await?;
        room.read(path::AGREEMENTS, wallet).await
    };
    match statuses.await {
        Ok(statuses) => Told::Reached(statuses),
        Err(error) => Told::Away(output::plain(error.to_string().lines().next().unwrap_or_default())),
    }
}

fn agreement(digest: &Digest, name: &str, told: Option<&Told>) -> (String, Value) {
    let status = match told {
        Some(Told::Reached(statuses)) => statuses.iter().find(|status| status.digest == *digest),
        Some(Told::Away(_)) | None => None,
    };
    let Some(status) = status else {
        let standing =
            if matches!(told, Some(Told::Reached(_))) { "the broker does not have it" } else { "standing unknown" };
        let line = format!("agreement {name} {}: {standing}", digest.short());
        return (line, json!({ "name": name, "agreement": digest, "standing": null, "words": standing }));
    };
    let standing = match &status.standing {
        Standing::InForce {} => "in force".to_owned(),
        Standing::NotInForce { reason } => {
            format!("not in force: {}", output::plain(reason.lines().next().unwrap_or_default()))
        }
    };
    let consented: Vec<&str> = status.consented.iter().map(String::as_str).collect();
    let offered: Vec<&str> = status.offered.keys().map(String::as_str).collect();
    let by = [("consented", consented), ("offered", offered)];
    let by: Vec<String> = by
        .iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{what}: {}", names.join(", ")))
        .collect();
    let line = format!("agreement {} {}: {standing} ({})", output::plain(name), digest.short(), by.join("; "));
    let document = json!({
        "name": name,
        "agreement": digest,
        "standing": status.standing,
        "consented": status.consented,
        "offered": status.offered,
    });
    (line, document)
}
