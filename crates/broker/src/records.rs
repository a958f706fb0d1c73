//! What the broker remembers: its tables, and how records lie in them.
//!
//! Statements are kept once, as they were signed, under their digest; everything else points at them. What bears upon a decision
//! is always read from the signed statement again, so that a pointer that leads astray cannot make a decision
//! pass. Each statement that has an effect is appended to the log in the change that keeps it.
//!
//! Deliberately absent: decisions.

use std::collections::BTreeSet;

use agreement::documents::Agreement;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use envelope::{
    Digest, PublicKey,
    statement::{Addressed, Envelope, Predicate, Signed, Subject},
    text::Bytes32,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    clock::Clock,
    refusal::Refusal,
    store::{Store, StoreError, Stored, Table, Tx},
};

/// The broker's tables. Keys are raw digests and public keys, one after another.
pub(crate) mod table {
    use crate::store::Table;

    /// Digest → [`super::Kept`].
    pub(crate) const STATEMENTS: Table = Table::new("statements");
    /// Agreement → [`super::AgreementRecord`].
    pub(crate) const AGREEMENTS: Table = Table::new("agreements");
    /// Party ‖ agreement.
    pub(crate) const AGREEMENTS_OF: Table = Table::new("agreements-of");
    /// Manifest → envelope.
    pub(crate) const MANIFESTS: Table = Table::new("manifests");
    /// Digest of the series' text ‖ manifest.
    pub(crate) const SERIES: Table = Table::new("series");
    /// Proposer ‖ agreement.
    pub(crate) const PROPOSED_BY: Table = Table::new("proposed-by");
    /// Agreement ‖ consent.
    pub(crate) const CONSENTS: Table = Table::new("consents");
    /// Signer ‖ offer.
    pub(crate) const OFFERS: Table = Table::new("offers");
    /// Offer → runs admitted, eight bytes.
    pub(crate) const OFFER_RUNS: Table = Table::new("offer-runs");
    /// What is revoked ‖ revocation.
    pub(crate) const REVOCATIONS: Table = Table::new("revocations");
    /// Auditor ‖ agreement that names them.
    pub(crate) const AUDITORS: Table = Table::new("auditors");
    /// Auditor ‖ their document.
    pub(crate) const REFERENCE_VALUES: Table = Table::new("reference-values");
    /// Key that ended → rotation.
    pub(crate) const ROTATED_FROM: Table = Table::new("rotated-from");
    /// Key that took its place → rotation.
    pub(crate) const ROTATED_INTO: Table = Table::new("rotated-into");
    /// Manifest → the data key itself.
    pub(crate) const DEPOSITS: Table = Table::new("deposits");
    /// Run → [`crate::runs::RunRecord`].
    pub(crate) const RUNS: Table = Table::new("runs");
    /// Party ‖ run.
    pub(crate) const RUNS_OF: Table = Table::new("runs-of");
    /// Leaf of the run → run; those that wait for a worker or have one.
    pub(crate) const QUEUE: Table = Table::new("queue");
    /// Run → the sealed result.
    pub(crate) const RESULTS: Table = Table::new("results");
    /// Enrolment → [`crate::enrol::EnrolmentRecord`].
    pub(crate) const ENROLMENTS: Table = Table::new("enrolments");
    /// Attestation key's name → its newest enrolment.
    pub(crate) const ENROLMENT_OF: Table = Table::new("enrolment-of");
    /// Time ‖ enrolment: those that no release has used.
    pub(crate) const UNUSED_ENROLMENTS: Table = Table::new("unused-enrolments");
    /// SHA-256 of an attestation key's SubjectPublicKeyInfo → its name.
    pub(crate) const ENROLLED_KEY: Table = Table::new("enrolled-key");
    /// Repository → the signing key of its owner.
    pub(crate) const REPOSITORIES: Table = Table::new("repositories");
    /// Path → [`crate::kbs::secrets::SecretRecord`].
    pub(crate) const SECRETS: Table = Table::new("secrets");
    /// Path → the secret itself.
    pub(crate) const SECRET_VALUES: Table = Table::new("secret-values");
    /// Owner ‖ path.
    pub(crate) const SECRETS_OF: Table = Table::new("secrets-of");
    /// Owner ‖ repository.
    pub(crate) const REPOSITORIES_OF: Table = Table::new("repositories-of");
    /// Owner ‖ digest → the text of conditions.
    pub(crate) const CONDITIONS: Table = Table::new("conditions");
    /// Owner → the digest of the conditions of secrets that have none of their own.
    pub(crate) const CONDITIONS_OF: Table = Table::new("conditions-of");
    /// Party ‖ leaf: the log's records that concern it.
    pub(crate) const CONCERNS: Table = Table::new("concerns");
    /// One record, rewritten by everything that can change whether an agreement is in force.
    pub(crate) const STANDING: Table = Table::new("standing");
    /// The high-water mark of time, milliseconds.
    pub(crate) const CLOCK: Table = Table::new("clock");
    /// The broker's own keys.
    pub(crate) const KEYS: Table = Table::new("keys");
}

/// A statement, and its leaf where it is logged.
pub(crate) type Found<T> = (Signed<T>, Option<u64>);

/// Reading, from the last durable state or from within a change.
pub(crate) trait Records {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Stored>, StoreError>;
    fn scan(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Stored)>, StoreError>;

    /// A record written by [`put`].
    fn read<T: DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<(T, u64)>, StoreError> {
        let Some(stored) = self.get(table, key)? else { return Ok(None) };
        let value = serde_json::from_slice(&stored.record).map_err(|_| StoreError::Altered(table.name().to_owned()))?;
        Ok(Some((value, stored.version)))
    }

    /// The digests that follow a prefix of 32 bytes, in order.
    fn digests_after(&self, table: Table, prefix: &[u8; 32], limit: usize) -> Result<Vec<Digest>, StoreError> {
        let rows = self.scan(table, prefix, limit)?;
        let digest = |(key, _): &(Vec<u8>, Stored)| key.get(32..)?.try_into().ok().map(Digest::from_bytes);
        Ok(rows.iter().filter_map(digest).collect())
    }

    /// A statement of a known type with its leaf, its signature checked again.
    fn statement<T: Predicate>(&self, digest: &Digest) -> Result<Option<Found<T>>, StoreError> {
        let Some((kept, _)) = self.read::<Kept>(table::STATEMENTS, digest.as_bytes())? else { return Ok(None) };
        let altered = || StoreError::Altered(table::STATEMENTS.name().to_owned());
        let signed = Signed::open(&kept.envelope).map_err(|_| altered())?;
        if signed.digest() == digest { Ok(Some((signed, kept.leaf))) } else { Err(altered()) }
    }

    /// The version of everything that decides whether agreements are in force.
    fn standing_version(&self) -> Result<u64, StoreError> {
        Ok(self.get(table::STANDING, b"")?.map_or(0, |stored| stored.version))
    }
}

impl Records for Store {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        Store::get(self, table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Stored)>, StoreError> {
        Store::scan(self, table, prefix, limit)
    }
}

impl Records for Tx<'_, '_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Stored>, StoreError> {
        Tx::get(self, table, key)
    }

    fn scan(&self, table: Table, prefix: &[u8], limit: usize) -> Result<Vec<(Vec<u8>, Stored)>, StoreError> {
        Tx::scan(self, table, prefix, limit)
    }
}

/// A statement as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept {
    pub(crate) kind: String,
    pub(crate) envelope: Envelope,
    pub(crate) leaf: Option<u64>,
}

/// An agreement that was put before the broker.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgreementRecord {
    pub(crate) agreement: Agreement,
    /// The broker's statement, once it was in force.
    pub(crate) in_force: Option<Digest>,
    pub(crate) superseded_by: Option<Digest>,
}

/// The broker's statement that it holds a key. The deposit itself is not logged, since the log forgets nothing and an owner
/// may want the key erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deposited {
    pub(crate) manifest: Digest,
    pub(crate) deposit: Digest,
    pub(crate) owner: PublicKey,
    pub(crate) since: Timestamp,
}

impl Predicate for Deposited {
    const TYPE: &'static str = "urn:glovebox:deposited:v1";

    fn subject(&self) -> Subject {
        Subject { name: "manifest".to_owned(), digest: self.manifest }
    }
}

/// Writes a record as JSON and returns its version.
pub(crate) fn put<T: Serialize>(tx: &mut Tx<'_, '_>, table: Table, key: &[u8], value: &T) -> Result<u64, StoreError> {
    let bytes = serde_json::to_vec(value).map_err(|_| StoreError::Altered(table.name().to_owned()))?;
    tx.put(table, key, &bytes)
}

/// Keeps a statement without logging it.
pub(crate) fn keep<T: Predicate>(tx: &mut Tx<'_, '_>, signed: &Signed<T>, leaf: Option<u64>) -> Result<(), StoreError> {
    let kept = Kept { kind: T::TYPE.to_owned(), envelope: signed.envelope().clone(), leaf };
    put(tx, table::STATEMENTS, signed.digest().as_bytes(), &kept).map(|_| ())
}

/// Keeps a statement, logs it, and notes whom it concerns. Returns its leaf.
///
/// A statement's name is the digest of its payload, whoever signed it. So one that is known already is refused as replayed: a copy
/// of the payload under another signature would otherwise take the first one's place.
pub(crate) fn log<T: Predicate>(
    tx: &mut Tx<'_, '_>,
    signed: &Signed<T>,
    concerns: &BTreeSet<PublicKey>,
) -> Result<u64, StoreError> {
    if tx.get(table::STATEMENTS, signed.digest().as_bytes())?.is_some() {
        return Err(StoreError::NonceUsed);
    }
    // The entry commits to the digest of the payload, which is the statement's name.
    let payload = STANDARD
        .decode(&signed.envelope().payload)
        .map_err(|_| StoreError::Altered(table::STATEMENTS.name().to_owned()))?;
    let leaf = tx.append(T::TYPE, &payload)?;
    keep(tx, signed, Some(leaf))?;
    for party in concerns {
        tx.put(
            table::CONCERNS,
            &[party.as_bytes().as_slice(), &leaf.to_be_bytes()].concat(),
            signed.digest().as_bytes(),
        )?;
    }
    Ok(leaf)
}

/// Redeems the nonce of an addressed statement, and keeps the time.
pub(crate) fn redeem<T>(tx: &mut Tx<'_, '_>, signed: &Signed<Addressed<T>>, now: Timestamp) -> Result<(), Refusal> {
    let Addressed { nonce, expires, .. } = signed.value();
    let name = Digest::of_parts("glovebox statement nonce v1", &[signed.signer().as_bytes(), &nonce.0]);
    redeem_nonce(tx, name.as_bytes(), *expires, now)
}

/// Redeems the nonce of a challenge, and keeps the time.
pub(crate) fn redeem_challenge(
    tx: &mut Tx<'_, '_>,
    challenge: &crate::challenge::Recognised,
    now: Timestamp,
) -> Result<(), Refusal> {
    let Bytes32(nonce) = challenge.nonce();
    let name = Digest::of_parts("glovebox challenge nonce v1", &[nonce]);
    redeem_nonce(tx, name.as_bytes(), challenge.expires(), now)
}

fn redeem_nonce(tx: &mut Tx<'_, '_>, name: &[u8], expires: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    let seconds = |time: Timestamp| u64::try_from(time.as_second()).unwrap_or(0);
    // The last second belongs to the statement.
    tx.redeem(name, seconds(expires).saturating_add(1), seconds(now))?;
    Clock::mark(tx, now)?;
    Ok(())
}

/// Two digests or keys, one after another.
pub(crate) fn pair(first: &[u8; 32], second: &[u8; 32]) -> Vec<u8> {
    [first.as_slice(), second.as_slice()].concat()
}

/// Notes that something changed on which the standing of agreements depends.
pub(crate) fn touch(tx: &mut Tx<'_, '_>) -> Result<(), StoreError> {
    tx.put(table::STANDING, b"", b"").map(|_| ())
}
