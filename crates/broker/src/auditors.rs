//! Auditors' documents: who may bring them, and which of them bear upon an agreement.
//!
//! An agreement can ask that auditors vouch for what its workers measured. Their Reference Values are signed and name their provider, so it does
//! not matter who brings them; they are logged before they count, and count until they expire or their provider withdraws them. What a
//! document vouches for, and whether that is enough, is decided with each appraisal ([`attest::reference::Vouched`]).
//!
//! Deliberately absent: documents of auditors whom no agreement here names. An auditor's key that was rotated is another auditor: the
//! agreement names the old one.

use std::collections::BTreeSet;

use agreement::documents::{Agreement, ReferenceDeposit};
use attest::reference::{Provided, ReferenceValues};
use envelope::{
    Digest, PublicKey,
    statement::{Addressed, Signed},
};
use jiff::Timestamp;
use wire::messages::Accepted;

use crate::{
    identity::Keys,
    parties::speaker,
    records::{Records, log, pair, redeem, table, touch},
    refusal::{Refusal, words},
    store::{StoreError, Tx},
};

/// Takes an auditor's document, whoever brings it. The same document again is the same entry of the log.
pub(crate) fn admit(
    tx: &mut Tx<'_, '_>,
    keys: &Keys,
    signed: &Signed<Addressed<ReferenceDeposit>>,
    now: Timestamp,
) -> Result<Accepted, Refusal> {
    speaker(tx, keys, signed.signer())?;
    let ReferenceDeposit { document } = &signed.value().body;
    let document = Signed::<ReferenceValues>::open(document).map_err(|error| Refusal::Statement(words(&error)))?;
    let document = Provided::new(document).map_err(|error| Refusal::Statement(words(&error)))?;
    let (provider, digest) = (document.values().provider, *document.signed().digest());
    if tx.scan(table::AUDITORS, provider.as_bytes(), 1)?.is_empty() {
        return Err(Refusal::NotPermitted(
            "no agreement at this broker names this auditor\nhint: a party to it proposes the agreement first, with `glovebox agree`",
        ));
    }
    if now > document.values().expires {
        return Err(Refusal::Conflict("the document has expired\nhint: ask the auditor for a new one"));
    }
    if is_withdrawn(tx, &digest)? {
        return Err(Refusal::Conflict("the auditor has withdrawn this document"));
    }
    redeem(tx, signed, now)?;
    let known = tx.statement::<ReferenceValues>(&digest)?.and_then(|(_, leaf)| leaf);
    let leaf = match known {
        Some(leaf) => leaf,
        None => {
            make_room(tx, &provider, now)?;
            log(tx, document.signed(), &BTreeSet::from([provider, *signed.signer()]))?
        }
    };
    tx.put(table::REFERENCE_VALUES, &pair(provider.as_bytes(), digest.as_bytes()), b"")?;
    touch(tx)?;
    Ok(Accepted { statement: digest, leaf })
}

/// Notes whom an agreement names, so that their documents are taken.
pub(crate) fn expect(tx: &mut Tx<'_, '_>, agreement: &Agreement, digest: &Digest) -> Result<(), StoreError> {
    for auditor in agreement.workers.auditors().into_iter().flat_map(|rule| &rule.keys) {
        tx.put(table::AUDITORS, &pair(auditor.as_bytes(), digest.as_bytes()), b"")?;
    }
    Ok(())
}

/// The digests of the documents of an agreement's auditors that were not withdrawn.
pub(crate) fn documents(records: &impl Records, agreement: &Agreement) -> Result<Vec<Digest>, StoreError> {
    let mut found = Vec::new();
    for auditor in agreement.workers.auditors().into_iter().flat_map(|rule| &rule.keys) {
        for digest in records.digests_after(table::REFERENCE_VALUES, auditor.as_bytes(), MOST_DOCUMENTS)? {
            if !is_withdrawn(records, &digest)? {
                found.push(digest);
            }
        }
    }
    Ok(found)
}

/// Only its provider's revocation of a document is ever taken.
fn is_withdrawn(records: &impl Records, digest: &Digest) -> Result<bool, StoreError> {
    Ok(!records.scan(table::REVOCATIONS, digest.as_bytes(), 1)?.is_empty())
}

/// An auditor's documents that no longer count give their places to new ones.
fn make_room(tx: &mut Tx<'_, '_>, auditor: &PublicKey, now: Timestamp) -> Result<(), Refusal> {
    let all = tx.digests_after(table::REFERENCE_VALUES, auditor.as_bytes(), MOST_DOCUMENTS)?;
    if all.len() < MOST_DOCUMENTS {
        return Ok(());
    }
    let mut left = all.len();
    for digest in all {
        let document = tx.statement::<ReferenceValues>(&digest)?;
        let counts = document.is_some_and(|(document, _)| document.value().expires >= now);
        if !counts || is_withdrawn(tx, &digest)? {
            tx.remove(table::REFERENCE_VALUES, &pair(auditor.as_bytes(), digest.as_bytes()));
            left -= 1;
        }
    }
    if left < MOST_DOCUMENTS {
        Ok(())
    } else {
        Err(Refusal::Conflict("this auditor has as many documents at this broker as it may have"))
    }
}

/// Documents of one auditor that count at the same time.
const MOST_DOCUMENTS: usize = 64;
