//! Secrets in custody: who may put, replace, list and destroy them, and the log of all that.
//!
//! A secret is its owner's alone. The first party that pushes into a repository owns the repository; nobody else can put, replace or destroy
//! anything in it, and whoever asks is told the same whether something is there or not. Conditions are kept by their digest. Each effect and
//! its entry in the log are one change of the store; a release is logged before anybody has the secret.
//!
//! The log holds paths and digests of conditions, never a secret, its digest, or the statement that carried it: the log forgets nothing, and an owner
//! may want a secret gone.
//!
//! Deliberately absent: versions to go back to, sharing of ownership, and a way to read a secret other than a release.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, PoisonError},
};

use agreement::documents::{SecretPath, SecretPolicy, SecretPush, SecretRemoval};
use envelope::{
    Digest, PublicKey, canonical,
    statement::{Addressed, Signed},
};
use jiff::Timestamp;
use receipt::{SecretDestroyed, SecretPolicySet, SecretReleased, SecretStored};
use serde::{Deserialize, Serialize};
use wire::messages::{Accepted, SecretEntry, Secrets};
use zeroize::Zeroizing;

use super::{
    policy::{Compiled, Conditions, Denial},
    refusal::KbsRefusal,
    release_secret::Held,
    token::Attested,
};
use crate::{
    clock::Clock,
    enrol,
    identity::Keys,
    parties::speaker,
    records::{Records, log, pair, put, redeem, table},
    refusal::{Refusal, words},
    standing::Line,
    store::{StoreError, Tx},
};

/// A secret as it is kept; its value lies beside it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SecretRecord {
    pub(crate) owner: PublicKey,
    pub(crate) version: u64,
    value: Digest,
    policy: Option<Digest>,
    since: Timestamp,
}

/// A secret on its way in.
pub(crate) struct Incoming {
    pub(crate) path: SecretPath,
    pub(crate) value: Zeroizing<Vec<u8>>,
    /// Text whose conditions were compiled.
    pub(crate) policy: Option<String>,
    pub(crate) owner: PublicKey,
    /// The owner's statement, if there was one.
    pub(crate) push: Option<Digest>,
}

/// The last denial of each secret since the start, for its owner.
#[derive(Default)]
pub(crate) struct Denials {
    last: Mutex<HashMap<SecretPath, String>>,
}

/// Takes an owner's statement apart: the value unwrapped, the conditions compiled.
pub(crate) fn open_push(
    keys: &Keys,
    compiled: &Compiled,
    signed: &Signed<Addressed<SecretPush>>,
) -> Result<Incoming, Refusal> {
    let SecretPush { path, value, policy } = &signed.value().body;
    let owner = *signed.signer();
    let context = SecretPush::context(path, &owner, &keys.public);
    let value = keys
        .encapsulation
        .unwrap(value, SecretPush::PURPOSE, &context)
        .map_err(|_| Refusal::Malformed("the secret was not wrapped to this broker for this path".to_owned()))?;
    if let Some(policy) = policy {
        compile(compiled, policy)?;
    }
    Ok(Incoming { path: path.clone(), value, policy: policy.clone(), owner, push: Some(*signed.digest()) })
}

/// Compiles conditions.
pub(crate) fn compile(compiled: &Compiled, text: &str) -> Result<(), Refusal> {
    let conditions = Conditions::compile(text)
        .map_err(|error| Refusal::Malformed(format!("the conditions are not valid: {}", words(&error))))?;
    compiled.keep(conditions);
    Ok(())
}

/// Puts a secret into custody on its owner's statement.
pub(crate) fn push(
    tx: &mut Tx<'_, '_>,
    keys: &Keys,
    signed: &Signed<Addressed<SecretPush>>,
    incoming: Incoming,
    now: Timestamp,
) -> Result<Accepted, Refusal> {
    speaker(tx, keys, signed.signer())?;
    redeem(tx, signed, now)?;
    let leaf = store(tx, keys, incoming, now)?;
    Ok(Accepted { statement: *signed.digest(), leaf })
}

/// Destroys a secret on its owner's statement.
pub(crate) fn remove(
    tx: &mut Tx<'_, '_>,
    keys: &Keys,
    signed: &Signed<Addressed<SecretRemoval>>,
    now: Timestamp,
) -> Result<Accepted, Refusal> {
    redeem(tx, signed, now)?;
    let leaf = destroy(tx, keys, &signed.value().body.path, signed.signer(), now)?;
    Ok(Accepted { statement: *signed.digest(), leaf })
}

/// Sets an owner's conditions on the owner's statement.
pub(crate) fn set_policy(
    tx: &mut Tx<'_, '_>,
    keys: &Keys,
    signed: &Signed<Addressed<SecretPolicy>>,
    now: Timestamp,
) -> Result<Accepted, Refusal> {
    redeem(tx, signed, now)?;
    let leaf = govern(tx, keys, &signed.value().body.policy, signed.signer(), now)?;
    Ok(Accepted { statement: *signed.digest(), leaf })
}

/// Puts a secret into custody. Who speaks was checked.
pub(crate) fn store(tx: &mut Tx<'_, '_>, keys: &Keys, incoming: Incoming, now: Timestamp) -> Result<u64, Refusal> {
    let Incoming { path, value, policy, owner, push } = incoming;
    if value.len() > SecretPush::MAX_SECRET {
        return Err(Refusal::TooLarge(SecretPush::MAX_SECRET));
    }
    let line = speaker(tx, keys, &owner)?;
    take_repository(tx, &line, &path, &owner)?;
    let row = path.as_str().as_bytes();
    let before = tx.read::<SecretRecord>(table::SECRETS, row)?.map(|(record, _)| record);
    if before.is_none() && secrets_of(tx, &line)?.len() >= MOST_SECRETS {
        return Err(Refusal::Conflict("this party has as many secrets at this broker as it may"));
    }
    if let Some(before) = &before {
        tx.remove(table::SECRETS_OF, &owned(&before.owner, row));
    }
    let policy = policy.map(|text| keep_conditions(tx, &line, &owner, &text)).transpose()?;
    // Versions are the store's own, which never come back: what was destroyed and pushed again is another version.
    let version = tx.put(table::SECRET_VALUES, row, &value)?;
    let record = SecretRecord { owner, version, value: Digest::of(&value), policy, since: now };
    put(tx, table::SECRETS, row, &record)?;
    tx.put(table::SECRETS_OF, &owned(&owner, row), b"")?;
    let stored = SecretStored { path: path.to_string(), owner, version, push, policy, since: now };
    Ok(log(tx, &sign(stored, keys)?, &line.keys)?)
}

/// Destroys a secret. What is not there and what is another's are told alike.
pub(crate) fn destroy(
    tx: &mut Tx<'_, '_>,
    keys: &Keys,
    path: &SecretPath,
    owner: &PublicKey,
    now: Timestamp,
) -> Result<u64, Refusal> {
    let line = speaker(tx, keys, owner)?;
    let row = path.as_str().as_bytes();
    let (record, _) = tx.read::<SecretRecord>(table::SECRETS, row)?.ok_or(Refusal::NotFound)?;
    if !line.keys.contains(&record.owner) {
        return Err(Refusal::NotFound);
    }
    tx.remove(table::SECRETS, row);
    tx.remove(table::SECRET_VALUES, row);
    tx.remove(table::SECRETS_OF, &owned(&record.owner, row));
    let gone = SecretDestroyed { path: path.to_string(), owner: *owner, version: record.version, at: now };
    Ok(log(tx, &sign(gone, keys)?, &line.keys)?)
}

/// Sets the conditions of those of an owner's secrets that have none of their own.
pub(crate) fn govern(
    tx: &mut Tx<'_, '_>,
    keys: &Keys,
    text: &str,
    owner: &PublicKey,
    now: Timestamp,
) -> Result<u64, Refusal> {
    let line = speaker(tx, keys, owner)?;
    let policy = keep_conditions(tx, &line, owner, text)?;
    for key in &line.keys {
        tx.remove(table::CONDITIONS_OF, key.as_bytes());
    }
    put(tx, table::CONDITIONS_OF, owner.as_bytes(), &policy)?;
    let set = SecretPolicySet { owner: *owner, policy, since: now };
    Ok(log(tx, &sign(set, keys)?, &line.keys)?)
}

/// The secrets of a party.
pub(crate) fn list(
    records: &impl Records,
    keys: &Keys,
    asker: &PublicKey,
    denials: &Denials,
) -> Result<Secrets, Refusal> {
    let line = speaker(records, keys, asker)?;
    let mut secrets = Vec::new();
    for path in secrets_of(records, &line)? {
        let Some((record, _)) = records.read::<SecretRecord>(table::SECRETS, path.as_str().as_bytes())? else {
            continue;
        };
        let SecretRecord { owner: _, version, value, policy, since } = record;
        let denied = denials.of(&path);
        secrets.push(SecretEntry { path: path.to_string(), value, policy, version, since, denied });
    }
    Ok(Secrets { policy: common(records, &line)?, secrets })
}

/// A secret with its owner's conditions as they stand.
pub(crate) fn held(
    records: &impl Records,
    compiled: &Compiled,
    path: &SecretPath,
) -> Result<(Held, PublicKey), KbsRefusal> {
    let row = path.as_str().as_bytes();
    let (record, _) = records.read::<SecretRecord>(table::SECRETS, row)?.ok_or(KbsRefusal::NoResource)?;
    let value = records.get(table::SECRET_VALUES, row)?.ok_or(KbsRefusal::NoResource)?;
    if value.version != record.version {
        // It was replaced between the two readings; asking again reads the new one.
        return Err(KbsRefusal::Fault("a secret was replaced while it was read"));
    }
    let line = Line::of(records, [record.owner])?;
    let policy = match record.policy {
        Some(policy) => Some(policy),
        None => common(records, &line)?,
    };
    let text = |policy: &Digest| {
        let texts =
            line.keys.iter().map(|key| records.get(table::CONDITIONS, &pair(key.as_bytes(), policy.as_bytes())));
        texts.filter_map(Result::ok).flatten().next().and_then(|stored| String::from_utf8(stored.record).ok())
    };
    let conditions = policy.as_ref().and_then(|policy| compiled.of(policy, || text(policy)));
    let value = Zeroizing::new(value.record);
    Ok((Held { path: path.clone(), version: record.version, value, policy, conditions }, record.owner))
}

/// Logs a release, if the secret and its conditions still are what was decided on.
pub(crate) fn log_release(
    tx: &mut Tx<'_, '_>,
    keys: &Keys,
    compiled: &Compiled,
    released: &Release,
    now: Timestamp,
) -> Result<(), KbsRefusal> {
    let Release { path, version, policy, attestation, holder, result, tee, enrolment } = released;
    let (held, owner) = held(tx, compiled, path)?;
    if held.version != *version || held.policy != Some(*policy) {
        return Err(KbsRefusal::Fault("a secret was replaced while it was released"));
    }
    let line = Line::of(tx, [owner])?;
    if let Some(enrolment) = enrolment {
        enrol::log_first_use(tx, enrolment, &line.keys)?;
    }
    let statement = SecretReleased {
        path: path.to_string(),
        owner,
        version: *version,
        policy: *policy,
        attestation: attestation.clone(),
        holder: holder.clone(),
        result: *result,
        tee: tee.clone(),
        at: now,
    };
    let signed = sign(statement, keys)?;
    // The same release, asked for twice at once, is in the log already.
    if tx.get(table::STATEMENTS, signed.digest().as_bytes())?.is_none() {
        log(tx, &signed, &line.keys)?;
        Clock::mark(tx, now)?;
    }
    Ok(())
}

/// A release that was decided and is to be logged.
pub(crate) struct Release {
    path: SecretPath,
    version: u64,
    policy: Digest,
    attestation: String,
    holder: String,
    result: Digest,
    tee: String,
    enrolment: Option<Digest>,
}

impl Release {
    pub(crate) fn of(attested: &Attested, held: &Held, policy: &Digest) -> Result<Release, KbsRefusal> {
        let examined = attested.examined();
        Ok(Release {
            path: held.path.clone(),
            version: held.version,
            policy: *policy,
            attestation: attested.id().to_owned(),
            holder: attested.holder().to_owned(),
            result: canonical::digest(examined).map_err(|_| KbsRefusal::Fault("a result cannot be digested"))?,
            tee: examined.tee().to_owned(),
            enrolment: examined.enrolment().copied(),
        })
    }

    /// By what the same release is known.
    pub(crate) fn digest(&self) -> Digest {
        let version = self.version.to_be_bytes();
        let parts: [&[u8]; 4] =
            [self.path.as_str().as_bytes(), &version, self.policy.as_bytes(), self.attestation.as_bytes()];
        Digest::of_parts("glovebox secret release v1", &parts)
    }
}

impl Denials {
    /// Notes why a secret was denied.
    pub(crate) fn note(&self, path: &SecretPath, denial: &Denial) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= MOST_DENIALS && !last.contains_key(path) {
            last.clear();
        }
        last.insert(path.clone(), denial.to_string());
    }

    fn of(&self, path: &SecretPath) -> Option<String> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }
}

/// Whose the repository is; of the first that pushes into it.
fn take_repository(tx: &mut Tx<'_, '_>, line: &Line, path: &SecretPath, owner: &PublicKey) -> Result<(), Refusal> {
    let repository = path.repository().as_bytes();
    if let Some((of, _)) = tx.read::<PublicKey>(table::REPOSITORIES, repository)? {
        return if line.keys.contains(&of) {
            Ok(())
        } else {
            Err(Refusal::NotPermitted("the repository belongs to another party\nhint: choose another first name"))
        };
    }
    let mut mine = 0;
    for key in &line.keys {
        mine += tx.scan(table::REPOSITORIES_OF, key.as_bytes(), MOST_REPOSITORIES)?.len();
    }
    if mine >= MOST_REPOSITORIES {
        return Err(Refusal::Conflict("this party has as many repositories at this broker as it may"));
    }
    tx.put(table::REPOSITORIES_OF, &owned(owner, repository), b"")?;
    put(tx, table::REPOSITORIES, repository, owner)?;
    Ok(())
}

/// Keeps conditions under their digest; those that nothing names make room.
fn keep_conditions(tx: &mut Tx<'_, '_>, line: &Line, owner: &PublicKey, text: &str) -> Result<Digest, Refusal> {
    let digest = Digest::of(text.as_bytes());
    let row = pair(owner.as_bytes(), digest.as_bytes());
    if tx.get(table::CONDITIONS, &row)?.is_some() {
        return Ok(digest);
    }
    let kept = tx.digests_after(table::CONDITIONS, owner.as_bytes(), MOST_CONDITIONS)?;
    if kept.len() >= MOST_CONDITIONS {
        let mut named: BTreeSet<Digest> = common(tx, line)?.into_iter().collect();
        for path in secrets_of(tx, line)? {
            let record = tx.read::<SecretRecord>(table::SECRETS, path.as_str().as_bytes())?;
            named.extend(record.and_then(|(record, _)| record.policy));
        }
        for old in kept.iter().filter(|old| !named.contains(old)) {
            tx.remove(table::CONDITIONS, &pair(owner.as_bytes(), old.as_bytes()));
        }
    }
    tx.put(table::CONDITIONS, &row, text.as_bytes())?;
    Ok(digest)
}

/// The conditions of secrets that have none of their own.
fn common(records: &impl Records, line: &Line) -> Result<Option<Digest>, StoreError> {
    for key in &line.keys {
        if let Some((policy, _)) = records.read::<Digest>(table::CONDITIONS_OF, key.as_bytes())? {
            return Ok(Some(policy));
        }
    }
    Ok(None)
}

fn secrets_of(records: &impl Records, line: &Line) -> Result<BTreeSet<SecretPath>, StoreError> {
    let mut paths = BTreeSet::new();
    for key in &line.keys {
        for (row, _) in records.scan(table::SECRETS_OF, key.as_bytes(), MOST_SECRETS)? {
            let path = row.get(32..).and_then(|path| std::str::from_utf8(path).ok()).and_then(|path| path.parse().ok());
            paths.extend(path);
        }
    }
    Ok(paths)
}

fn owned(owner: &PublicKey, rest: &[u8]) -> Vec<u8> {
    [owner.as_bytes().as_slice(), rest].concat()
}

fn sign<T: envelope::statement::Predicate>(statement: T, keys: &Keys) -> Result<Signed<T>, Refusal> {
    Signed::sign(statement, &keys.signing).map_err(|_| Refusal::Internal("a statement cannot be signed"))
}

const MOST_SECRETS: usize = 512;
const MOST_REPOSITORIES: usize = 16;
/// More than secrets, so that there is always room once what nothing names is gone.
const MOST_CONDITIONS: usize = 1_024;
const MOST_DENIALS: usize = 1_024;
