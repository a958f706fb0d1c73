//! What parties state, and what it does: proposals, consents, deposits, offers, revocations, rotations.
//!
//! Every one is a signed statement, addressed to this broker, used once. Each is checked, redeemed, kept, logged and takes its
//! effect in one change of the store, so that a crash, a replay or a failing log leaves nothing half done.
//!
//! An unknown agreement and one that the signer is no party to are refused alike. Deliberately absent: accounts; whoever is named in an
//! agreement by key is a party to it.

use std::collections::{BTreeMap, BTreeSet};

use agreement::{
    documents::{Consent, Contents, DatasetSource, Deposit, Manifest, Offer, Proposal, Revocation, Revoked, Rotation},
    in_force::Ground,
    keys::KeyHistory,
    shape::SoundAgreement,
};
use attest::reference::ReferenceValues;
use envelope::{
    Digest, PublicKey,
    statement::{Addressed, Envelope, Predicate, Signed},
};
use jiff::{SignedDuration, Timestamp};
use wire::messages::{Accepted, AgreementStatus, Standing};
use zeroize::Zeroizing;

use crate::{
    auditors,
    identity::Keys,
    records::{AgreementRecord, Deposited, Records, keep, log, pair, put, redeem, table, touch},
    refusal::{Refusal, words},
    standing::{Known, Line, MANY, settle, settle_one},
    store::{Table, Tx},
};

/// Statements are good for at most this long.
pub const LONGEST: SignedDuration = SignedDuration::from_mins(10);

/// Checks a statement: its signature, its type, its audience and its time. That it is new is decided with its effect.
pub(crate) fn open<T: Predicate>(
    envelope: &Envelope,
    keys: &Keys,
    now: Timestamp,
) -> Result<Signed<Addressed<T>>, Refusal> {
    let signed = Signed::<Addressed<T>>::open(envelope).map_err(|error| Refusal::Statement(words(&error)))?;
    signed.value().check(&keys.public, now, LONGEST)?;
    Ok(signed)
}

/// Takes a proposal: it binds nobody, and is kept so that the other parties can read it here.
pub(crate) fn propose(
    tx: &mut Tx<'_, '_>,
    keys: &Keys,
    signed: &Signed<Addressed<Proposal>>,
    now: Timestamp,
) -> Result<AgreementStatus, Refusal> {
    let Proposal { agreement, manifests } = &signed.value().body;
    let sound = SoundAgreement::new(agreement.clone()).map_err(Refusal::Shape)?;
    if agreement.broker.key != keys.public {
        return Err(Refusal::Conflict("the agreement names another broker"));
    }
    if agreement.broker.log != keys.log.to_string() {
        return Err(Refusal::Conflict("the agreement names another log than this broker's"));
    }
    let parties: BTreeSet<PublicKey> = agreement.parties.values().map(|party| *party.identity.signing()).collect();
    let signer = speaker(tx, keys, signed.signer())?;
    if signer.keys.is_disjoint(&parties) {
        return Err(Refusal::NotPermitted("only a party to an agreement can propose it"));
    }
    redeem(tx, signed, now)?;
    for envelope in manifests {
        let manifest = Signed::<Manifest>::open(envelope).map_err(|error| Refusal::Statement(words(&error)))?;
        let wanted = agreement.datasets.values().any(|terms| covers(&terms.source, &manifest));
        if !wanted {
            return Err(Refusal::Conflict("a manifest is not of the agreement's datasets"));
        }
        // Anybody could write the owner's name into a manifest, and would take the place of the owner's own, or of its series.
        let owner = &manifest.value().owner;
        if !Line::of(tx, [*owner])?.history(&keys.public)?.succeeds(manifest.signer(), owner) {
            return Err(Refusal::NotPermitted("a manifest is not signed by the owner that it names"));
        }
        keep_manifest(tx, &manifest)?;
    }
    if tx.get(table::AGREEMENTS, sound.digest().as_bytes())?.is_none() {
        // Counted for whoever proposes: a count for whoever is named would let strangers use it up.
        let mut proposed = 0;
        for key in &signer.keys {
            proposed += tx.scan(table::PROPOSED_BY, key.as_bytes(), MOST_AGREEMENTS)?.len();
        }
        if proposed >= MOST_AGREEMENTS {
            return Err(Refusal::Conflict("this party has proposed as many agreements to this broker as it may"));
        }
        tx.put(table::PROPOSED_BY, &pair(signed.signer().as_bytes(), sound.digest().as_bytes()), b"")?;
        for party in &parties {
            tx.put(table::AGREEMENTS_OF, &pair(party.as_bytes(), sound.digest().as_bytes()), b"")?;
        }
        auditors::expect(tx, agreement, sound.digest())?;
        let record = AgreementRecord { agreement: agreement.clone(), in_force: None, superseded_by: None };
        put(tx, table::AGREEMENTS, sound.digest().as_bytes(), &record)?;
    }
    touch(tx)?;
    settle_one(tx, keys, sound.digest(), now)?;
    status(tx, keys, sound.digest(), signed.signer(), now)
}

/// Takes a consent.
pub(crate) fn consent(
    tx: &mut Tx<'_, '_>,
    keys: &Keys,
    signed: &Signed<Addressed<Consent>>,
    now: Timestamp,
) -> Result<AgreementStatus, Refusal> {
    let Consent { agreement, broker_ak } = &signed.value().body;
    may_see(tx, keys, table::AGREEMENTS_OF, signed.signer(), agreement)?;
    let known = Known::load(tx, agreement, None)?.ok_or(Refusal::NotFound)?;
    let signer = speaker(tx, keys, signed.signer())?;
    redeem(tx, signed, now)?;
    let mine: Vec<_> = known.consents.iter().filter(|consent| signer.keys.contains(consent.signer())).collect();
    if !mine.iter().any(|consent| consent.value().body.broker_ak == *broker_ak) {
        if mine.len() >= MOST_OF_ONE || known.consents.len() >= MANY {
            return Err(Refusal::Conflict("the agreement has as many consents as it may have"));
        }
        log(tx, signed, &known.parties())?;
        tx.put(table::CONSENTS, &pair(agreement.as_bytes(), signed.digest().as_bytes()), b"")?;
    }
    touch(tx)?;
    settle_one(tx, keys, agreement, now)?;
    status(tx, keys, agreement, signed.signer(), now)
}

/// Takes a data key into custody.
pub(crate) fn deposit(
    tx: &mut Tx<'_, '_>,
    keys: &Keys,
    signed: &Signed<Addressed<Deposit>>,
    now: Timestamp,
) -> Result<Accepted, Refusal> {
    let Deposit { manifest, key } = &signed.value().body;
    let manifest = Signed::<Manifest>::open(manifest).map_err(|error| Refusal::Statement(words(&error)))?;
    if manifest.value().broker != keys.public {
        return Err(Refusal::Conflict("the manifest names another broker"));
    }
    let signer = speaker(tx, keys, signed.signer())?;
    let history = signer.history(&keys.public)?;
    let owner = &manifest.value().owner;
    if !history.succeeds(signed.signer(), owner) || !history.succeeds(manifest.signer(), owner) {
        return Err(Refusal::NotPermitted("only the owner of a dataset can deposit its key"));
    }
    if !tx.scan(table::REVOCATIONS, manifest.digest().as_bytes(), 1)?.is_empty() {
        return Err(Refusal::Conflict("the dataset version was revoked"));
    }
    let context = Deposit::context(manifest.digest(), &keys.public);
    let secret = keys
        .encapsulation
        .unwrap(key, Deposit::PURPOSE, &context)
        .map_err(|_| Refusal::Malformed("the key was not wrapped to this broker for this dataset".to_owned()))?;
    check_secret(&manifest.value().contents, &secret)?;
    redeem(tx, signed, now)?;
    keep_manifest(tx, &manifest)?;
    tx.put(table::DEPOSITS, manifest.digest().as_bytes(), &secret)?;
    let deposited =
        Deposited { manifest: *manifest.digest(), deposit: *signed.digest(), owner: *signed.signer(), since: now };
    let deposited =
        Signed::sign(deposited, &keys.signing).map_err(|_| Refusal::Internal("a statement cannot be signed"))?;
    let leaf = log(tx, &deposited, &BTreeSet::from([*owner]))?;
    settle(tx, keys, &signer.keys, now)?;
    Ok(Accepted { statement: *signed.digest(), leaf })
}

/// Takes standing terms.
pub(crate) fn offer(
    tx: &mut Tx<'_, '_>,
    keys: &Keys,
    signed: &Signed<Addressed<Offer>>,
    now: Timestamp,
) -> Result<Accepted, Refusal> {
    let signer = speaker(tx, keys, signed.signer())?;
    if !signed.value().body.brokers.contains_key(&keys.public) {
        return Err(Refusal::Conflict("the offer does not admit this broker"));
    }
    if tx.scan(table::OFFERS, signed.signer().as_bytes(), MOST_OFFERS)?.len() >= MOST_OFFERS {
        return Err(Refusal::Conflict("this party has as many offers at this broker as it may have"));
    }
    redeem(tx, signed, now)?;
    let leaf = log(tx, signed, &BTreeSet::from([*signed.signer()]))?;
    tx.put(table::OFFERS, &pair(signed.signer().as_bytes(), signed.digest().as_bytes()), b"")?;
    settle(tx, keys, &signer.keys, now)?;
    Ok(Accepted { statement: *signed.digest(), leaf })
}

/// Ends something, and with `erase` destroys the signer's keys of it. A key that was rotated away is heard too, since a
/// revocation only ends things.
pub(crate) fn revoke(
    tx: &mut Tx<'_, '_>,
    _keys: &Keys,
    signed: &Signed<Addressed<Revocation>>,
    now: Timestamp,
) -> Result<Accepted, Refusal> {
    let Revocation { what, erase } = &signed.value().body;
    let signer = Line::of(tx, [*signed.signer()])?;
    let (concerned, sources) = revocable(tx, what, &signer)?;
    let mut mine = 0;
    for digest in tx.digests_after(table::REVOCATIONS, what.digest().as_bytes(), MANY)? {
        let said = tx.statement::<Addressed<Revocation>>(&digest)?;
        mine += usize::from(said.is_some_and(|(said, _)| signer.keys.contains(said.signer())));
    }
    if mine >= MOST_OF_ONE {
        return Err(Refusal::Conflict("this party has revoked it as often as it may"));
    }
    redeem(tx, signed, now)?;
    let leaf = log(tx, signed, &concerned)?;
    tx.put(table::REVOCATIONS, &pair(what.digest().as_bytes(), signed.digest().as_bytes()), b"")?;
    if *erase {
        for manifest in owned(tx, &sources, &signer)? {
            tx.remove(table::DEPOSITS, manifest.as_bytes());
        }
    }
    touch(tx)?;
    Ok(Accepted { statement: *signed.digest(), leaf })
}

/// Hands a party's place to its next identity.
pub(crate) fn rotate(
    tx: &mut Tx<'_, '_>,
    keys: &Keys,
    signed: &Signed<Addressed<Rotation>>,
    now: Timestamp,
) -> Result<Accepted, Refusal> {
    let Rotation { previous, next, acceptance: _ } = &signed.value().body;
    let line = Line::of(tx, [*previous, *next.signing()])?;
    let mut rotations = line.rotations.clone();
    rotations.push(signed.clone());
    KeyHistory::of(&rotations, &keys.public)?;
    if line.history(&keys.public)?.is_ended(previous) {
        return Err(Refusal::Conflict("this rotation was accepted before"));
    }
    // Every decision about any of the line's agreements walks all of it.
    if line.rotations.len() >= MOST_ROTATIONS {
        return Err(Refusal::Conflict("this party has rotated its keys as often as it may at this broker"));
    }
    redeem(tx, signed, now)?;
    let leaf = log(tx, signed, &line.keys)?;
    tx.put(table::ROTATED_FROM, previous.as_bytes(), signed.digest().as_bytes())?;
    tx.put(table::ROTATED_INTO, next.signing().as_bytes(), signed.digest().as_bytes())?;
    settle(tx, keys, &line.keys, now)?;
    Ok(Accepted { statement: *signed.digest(), leaf })
}

/// How an agreement stands, for a party to it.
pub(crate) fn status(
    records: &impl Records,
    keys: &Keys,
    digest: &Digest,
    asker: &PublicKey,
    now: Timestamp,
) -> Result<AgreementStatus, Refusal> {
    may_see(records, keys, table::AGREEMENTS_OF, asker, digest)?;
    let known = Known::load(records, digest, None)?.ok_or(Refusal::NotFound)?;
    let history = known.line.history(&keys.public)?;
    let parties = &known.record.agreement.parties;
    let consented = parties.iter().filter(|(_, terms)| {
        known.consents.iter().any(|consent| history.succeeds(consent.signer(), terms.identity.signing()))
    });
    let consented = consented.map(|(name, _)| name.clone()).collect();
    let mut offered = BTreeMap::new();
    let standing = match known.decide(&keys.public, now) {
        Ok(in_force) => {
            for (party, ground) in in_force.grounds() {
                if let Ground::Offer { statement } = ground {
                    offered.insert(party.clone(), *statement);
                }
            }
            Standing::InForce {}
        }
        Err(reason) => Standing::NotInForce { reason: words(&reason) },
    };
    Ok(AgreementStatus {
        digest: *digest,
        name: known.record.agreement.name.clone(),
        manifests: known.manifests.iter().map(|manifest| manifest.envelope().clone()).collect(),
        agreement: known.record.agreement,
        consented,
        offered,
        standing,
    })
}

/// The agreements of a party.
pub(crate) fn agreements(
    records: &impl Records,
    keys: &Keys,
    asker: &PublicKey,
    now: Timestamp,
) -> Result<Vec<AgreementStatus>, Refusal> {
    let line = speaker(records, keys, asker)?;
    let mut digests = BTreeSet::new();
    for key in &line.keys {
        digests.extend(records.digests_after(table::AGREEMENTS_OF, key.as_bytes(), MOST_AGREEMENTS)?);
    }
    digests.iter().map(|digest| status(records, keys, digest, asker, now)).collect()
}

/// Refuses whoever has nothing to do with an agreement or a run, in the same way and after the same reading whether it is there or not.
pub(crate) fn may_see(
    records: &impl Records,
    keys: &Keys,
    table: Table,
    asker: &PublicKey,
    what: &Digest,
) -> Result<(), Refusal> {
    let line = Line::of(records, [*asker])?;
    let mut seen = false;
    for key in &line.keys {
        seen |= records.get(table, &pair(key.as_bytes(), what.as_bytes()))?.is_some();
    }
    if seen && !line.history(&keys.public)?.is_ended(asker) { Ok(()) } else { Err(Refusal::NotFound) }
}

/// The line of a key that may still sign.
pub(crate) fn speaker(records: &impl Records, keys: &Keys, key: &PublicKey) -> Result<Line, Refusal> {
    let line = Line::of(records, [*key])?;
    if line.history(&keys.public)?.is_ended(key) {
        return Err(Refusal::NotPermitted("this key was rotated away\nhint: sign with the key that took its place"));
    }
    Ok(line)
}

fn covers(source: &DatasetSource, manifest: &Signed<Manifest>) -> bool {
    match source {
        DatasetSource::Version(digest) => manifest.digest() == digest,
        DatasetSource::Series(series) => manifest.value().series().is_ok_and(|id| id == *series),
    }
}

fn keep_manifest(tx: &mut Tx<'_, '_>, manifest: &Signed<Manifest>) -> Result<(), Refusal> {
    if tx.get(table::MANIFESTS, manifest.digest().as_bytes())?.is_some() {
        return Ok(());
    }
    let series = manifest.value().series().map_err(|error| Refusal::Malformed(words(&error)))?;
    let series = Digest::of(series.to_string().as_bytes());
    if tx.scan(table::SERIES, series.as_bytes(), MANY)?.len() >= MANY {
        return Err(Refusal::Conflict("the series has as many versions as it may have"));
    }
    keep(tx, manifest, None)?;
    put(tx, table::MANIFESTS, manifest.digest().as_bytes(), manifest.envelope())?;
    tx.put(table::SERIES, &pair(series.as_bytes(), manifest.digest().as_bytes()), b"")?;
    Ok(())
}

fn check_secret(contents: &Contents, secret: &Zeroizing<Vec<u8>>) -> Result<(), Refusal> {
    let fits = match contents {
        Contents::Table { .. } => secret.len() == 32,
        Contents::Blob {} => (1..=512).contains(&secret.len()),
    };
    if fits {
        Ok(())
    } else {
        Err(Refusal::Malformed("the deposited key is not a key of this kind of dataset".to_owned()))
    }
}

/// Whom a revocation concerns, and the datasets that it is about. Refuses whoever has no say in it as if there were nothing.
fn revocable(
    tx: &Tx<'_, '_>,
    what: &Revoked,
    signer: &Line,
) -> Result<(BTreeSet<PublicKey>, Vec<DatasetSource>), Refusal> {
    match what {
        Revoked::Agreement(digest) => {
            let known = Known::load(tx, digest, None)?.ok_or(Refusal::NotFound)?;
            if known.line.keys.is_disjoint(&signer.keys) {
                return Err(Refusal::NotFound);
            }
            let sources = known.record.agreement.datasets.values().map(|terms| terms.source).collect();
            Ok((known.parties(), sources))
        }
        Revoked::Offer(digest) => {
            let (offer, _) = tx.statement::<Addressed<Offer>>(digest).ok().flatten().ok_or(Refusal::NotFound)?;
            if !signer.keys.contains(offer.signer()) {
                return Err(Refusal::NotFound);
            }
            Ok((BTreeSet::from([*offer.signer()]), offer.value().body.datasets.clone()))
        }
        Revoked::Manifest(digest) => {
            let (envelope, _) = tx.read::<Envelope>(table::MANIFESTS, digest.as_bytes())?.ok_or(Refusal::NotFound)?;
            let manifest = Signed::<Manifest>::open(&envelope).map_err(|_| Refusal::NotFound)?;
            if !signer.keys.contains(&manifest.value().owner) {
                return Err(Refusal::NotFound);
            }
            Ok((BTreeSet::from([manifest.value().owner]), vec![DatasetSource::Version(*digest)]))
        }
        Revoked::ReferenceValues(digest) => {
            let (document, _) = tx.statement::<ReferenceValues>(digest).ok().flatten().ok_or(Refusal::NotFound)?;
            if !signer.keys.contains(document.signer()) {
                return Err(Refusal::NotFound);
            }
            Ok((BTreeSet::from([*document.signer()]), Vec::new()))
        }
    }
}

/// The manifests among these that belong to the signer.
fn owned(tx: &Tx<'_, '_>, sources: &[DatasetSource], signer: &Line) -> Result<Vec<Digest>, Refusal> {
    let mut digests = Vec::new();
    for source in sources {
        match source {
            DatasetSource::Version(digest) => digests.push(*digest),
            DatasetSource::Series(series) => {
                let series = Digest::of(series.to_string().as_bytes());
                digests.extend(tx.digests_after(table::SERIES, series.as_bytes(), MANY)?);
            }
        }
    }
    let mut mine = Vec::new();
    for digest in digests {
        let Some((envelope, _)) = tx.read::<Envelope>(table::MANIFESTS, digest.as_bytes())? else { continue };
        let Ok(manifest) = Signed::<Manifest>::open(&envelope) else { continue };
        if signer.keys.contains(&manifest.value().owner) {
            mine.push(digest);
        }
    }
    Ok(mine)
}

const MOST_AGREEMENTS: usize = 1_000;
const MOST_OFFERS: usize = 100;
const MOST_ROTATIONS: usize = 64;
/// Consents to, and revocations of, one thing by one party. Times the parties that an agreement may have, no more than is looked at.
const MOST_OF_ONE: usize = 16;
