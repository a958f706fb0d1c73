//! Enrolment of a worker's attestation key.
//!
//! The worker proves by credential activation that its attestation key lives in the TPM of its endorsement key, and by a first
//! quote, bound to this connection, that it holds the key now. The broker remembers nothing in between: the secret is derived from the
//! challenge. What it signs then is an Endorsement, not a permission. Whether an agreement accepts that TPM is decided
//! by its own policy at each release, from the same certificates.
//!
//! One key has one enrolment at a time. Nobody replaces it from another TPM; the same TPM does, after a reset. An enrolment
//! enters the log with the first release that rests on it, so that strangers cannot fill the log, and of those that no
//! release has used only the newest are kept.

use std::collections::BTreeSet;

use attest::{
    binding::{BindingParts, ChannelKeys, Purpose},
    tpm::{Activation, EnrolledAk, Enrolment, KeyClaim, TpmName},
};
use envelope::{
    Digest, PublicKey, canonical,
    statement::{Envelope, Signed},
    text::Bytes,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use wire::{
    channel::Peer,
    messages::{self, ChallengeUse, EnrolChallenge, EnrolProof, EnrolRequest},
};
use zeroize::Zeroizing;

use crate::{
    challenge::{Challenges, Recognised},
    identity::Keys,
    records::{Records, log, put, redeem_challenge, table},
    refusal::Refusal,
    store::{StoreError, Tx},
};

/// A worker that proved its keys, and not yet in the store.
pub(crate) struct Proved {
    enrolment: Enrolment,
    ak_name: TpmName,
    keys: ChannelKeys,
    challenge: Recognised,
}

/// An enrolment as it is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnrolmentRecord {
    pub(crate) envelope: Envelope,
    /// The signing key to which the first quote was bound.
    pub(crate) signing: PublicKey,
    /// Once a release rests on it.
    pub(crate) leaf: Option<u64>,
    enrolled: Timestamp,
}

/// Makes the challenge.
pub(crate) fn begin(
    challenges: &Challenges,
    request: &EnrolRequest,
    now: Timestamp,
) -> Result<EnrolChallenge, Refusal> {
    let challenge = challenges.issue(ChallengeUse::WorkerEnrol, now);
    let claim = digest(request)?;
    let (_, made) = activation(challenges, request, &challenge.nonce.0, &claim)?;
    let token = challenges.derive(TOKEN, &[&challenge.nonce.0, claim.as_bytes()]).to_vec();
    let credential = messages::Activation { id_object: made.id_object, encrypted_secret: made.encrypted_secret };
    Ok(EnrolChallenge { credential, token: Bytes(token), challenge })
}

/// Checks the answer and the first quote, on the worker's own connection.
pub(crate) fn prove(
    challenges: &Challenges,
    proof: &EnrolProof,
    peer: &Peer,
    now: Timestamp,
) -> Result<Proved, Refusal> {
    let EnrolProof { request, token, challenge, secret, evidence, keys } = proof;
    check_certificate(peer, keys)?;
    let recognised = challenges.recognise(challenge, ChallengeUse::WorkerEnrol, now)?;
    let claim = digest(request)?;
    if !challenges.is_derived(TOKEN, &[&challenge.nonce.0, claim.as_bytes()], &token.0) {
        return Err(Refusal::Challenge(crate::challenge::ChallengeError::Unknown));
    }
    let (activation, _) = activation(challenges, request, &challenge.nonce.0, &claim)?;
    let ak_name = key_claim(request).ak_name().map_err(Refusal::Evidence)?;
    let binding = BindingParts {
        purpose: Purpose::WorkerEnrol { ak_name: ak_name.clone() },
        keys: keys.clone(),
        exporter: peer.exporter,
        nonce: recognised.nonce().0,
    };
    let enrolled = activation.complete(&secret.0, evidence.tpm(), &binding.bind()).map_err(Refusal::Evidence)?;
    Ok(Proved { enrolment: enrolled.enrolment().clone(), ak_name, keys: keys.clone(), challenge: recognised })
}

/// Enrols the key, or returns the enrolment that stands.
pub(crate) fn record(tx: &mut Tx<'_, '_>, keys: &Keys, proved: &Proved, now: Timestamp) -> Result<Envelope, Refusal> {
    redeem_challenge(tx, &proved.challenge, now)?;
    let name = proved.ak_name.as_bytes();
    let signing = PublicKey::from_bytes(proved.keys.signing).map_err(|_| Refusal::Certificate)?;
    if let Some((known, _)) = tx.read::<Digest>(table::ENROLMENT_OF, name)? {
        let standing = tx.read::<EnrolmentRecord>(table::ENROLMENTS, known.as_bytes())?;
        if let Some((mut standing, _)) = standing {
            let signed = opened(&standing)?;
            if signed.value().keys.ek_public != proved.enrolment.keys.ek_public {
                return Err(Refusal::Conflict("this attestation key is enrolled with another endorsement key"));
            }
            if *signed.value() == proved.enrolment {
                standing.signing = signing;
                put(tx, table::ENROLMENTS, known.as_bytes(), &standing)?;
                return Ok(standing.envelope);
            }
        }
    }
    let signed = Signed::sign(proved.enrolment.clone(), &keys.signing)
        .map_err(|_| Refusal::Internal("an enrolment cannot be signed"))?;
    // The same enrolment may have stood before another one of this key; what the log has of it stays.
    let before = tx.read::<EnrolmentRecord>(table::ENROLMENTS, signed.digest().as_bytes())?.map(|(before, _)| before);
    let (leaf, enrolled) = before.map_or((None, now), |before| (before.leaf, before.enrolled));
    let record = EnrolmentRecord { envelope: signed.envelope().clone(), signing, leaf, enrolled };
    put(tx, table::ENROLMENTS, signed.digest().as_bytes(), &record)?;
    put(tx, table::ENROLMENT_OF, name, signed.digest())?;
    if let Some(key) = key_row(signed.value()) {
        tx.put(table::ENROLLED_KEY, key.as_bytes(), name)?;
    }
    if leaf.is_none() {
        tx.put(table::UNUSED_ENROLMENTS, &waiting(enrolled, signed.digest()), name)?;
    }
    forget_unused(tx)?;
    Ok(record.envelope)
}

/// The enrolment that a worker names, if the connection is the worker's own.
pub(crate) fn of_peer(
    records: &impl Records,
    enrolment: &Digest,
    peer: &Peer,
) -> Result<(EnrolmentRecord, EnrolledAk), Refusal> {
    let leaf = peer.client.as_ref().ok_or(Refusal::Certificate)?;
    let (record, _) =
        records.read::<EnrolmentRecord>(table::ENROLMENTS, enrolment.as_bytes())?.ok_or(Refusal::NotEnrolled)?;
    if record.signing != leaf.issuer {
        return Err(Refusal::Certificate);
    }
    let signed = opened(&record)?;
    let enrolled = EnrolledAk::vouched(&signed, signed.signer()).map_err(Refusal::Evidence)?;
    Ok((record, enrolled))
}

/// The newest enrolment of a key, by its SubjectPublicKeyInfo.
pub(crate) fn of_key(records: &impl Records, spki: &[u8]) -> Result<Option<(Digest, EnrolledAk)>, Refusal> {
    let Some(name) = records.get(table::ENROLLED_KEY, Digest::of(spki).as_bytes())? else { return Ok(None) };
    let Some((digest, _)) = records.read::<Digest>(table::ENROLMENT_OF, &name.record)? else { return Ok(None) };
    let Some((record, _)) = records.read::<EnrolmentRecord>(table::ENROLMENTS, digest.as_bytes())? else {
        return Ok(None);
    };
    let signed = opened(&record)?;
    let enrolled = EnrolledAk::vouched(&signed, signed.signer()).map_err(Refusal::Evidence)?;
    Ok(Some((digest, enrolled)))
}

/// Logs an enrolment when the first release rests on it.
pub(crate) fn log_first_use(
    tx: &mut Tx<'_, '_>,
    enrolment: &Digest,
    parties: &BTreeSet<PublicKey>,
) -> Result<(), Refusal> {
    let (mut record, _) =
        tx.read::<EnrolmentRecord>(table::ENROLMENTS, enrolment.as_bytes())?.ok_or(Refusal::NotEnrolled)?;
    if record.leaf.is_none() {
        let signed = opened(&record)?;
        record.leaf = Some(log(tx, &signed, parties)?);
        put(tx, table::ENROLMENTS, enrolment.as_bytes(), &record)?;
        tx.remove(table::UNUSED_ENROLMENTS, &waiting(record.enrolled, enrolment));
    }
    Ok(())
}

/// The worker's leaf must be issued by the key that it binds, and be the key that it binds.
pub(crate) fn check_certificate(peer: &Peer, keys: &ChannelKeys) -> Result<(), Refusal> {
    match &peer.client {
        Some(leaf) if leaf.spki == keys.channel && *leaf.issuer.as_bytes() == keys.signing => Ok(()),
        Some(_) | None => Err(Refusal::Certificate),
    }
}

fn opened(record: &EnrolmentRecord) -> Result<Signed<Enrolment>, Refusal> {
    Signed::open(&record.envelope).map_err(|_| Refusal::Store(StoreError::Altered(table::ENROLMENTS.name().to_owned())))
}

/// The oldest enrolments that no release used make room.
fn forget_unused(tx: &mut Tx<'_, '_>) -> Result<(), Refusal> {
    let unused = tx.scan(table::UNUSED_ENROLMENTS, b"", MAX_UNUSED + 1)?;
    if unused.len() <= MAX_UNUSED {
        return Ok(());
    }
    let Some((row, name)) = unused.into_iter().next() else { return Ok(()) };
    let oldest = row.get(8..).unwrap_or_default().to_vec();
    let record = tx.read::<EnrolmentRecord>(table::ENROLMENTS, &oldest)?;
    tx.remove(table::UNUSED_ENROLMENTS, &row);
    tx.remove(table::ENROLMENTS, &oldest);
    let current = tx.read::<Digest>(table::ENROLMENT_OF, &name.record)?;
    if current.is_some_and(|(current, _)| current.as_bytes().as_slice() == oldest) {
        tx.remove(table::ENROLMENT_OF, &name.record);
        if let Some((record, _)) = record
            && let Some(key) = key_row(opened(&record)?.value())
        {
            tx.remove(table::ENROLLED_KEY, key.as_bytes());
        }
    }
    Ok(())
}

/// Where the name of the attestation key stands.
fn key_row(enrolment: &Enrolment) -> Option<Digest> {
    let public = attest::tpm::TpmPublic::parse(&enrolment.keys.ak_public.0).ok()?;
    Some(Digest::of(&public.key().spki()))
}

fn waiting(enrolled: Timestamp, enrolment: &Digest) -> Vec<u8> {
    [enrolled.as_millisecond().to_be_bytes().as_slice(), enrolment.as_bytes()].concat()
}

fn key_claim(request: &EnrolRequest) -> KeyClaim {
    let EnrolRequest { ak_public, ek_public, ek_chain } = request.clone();
    KeyClaim { ak_public, ek_public, ek_certificates: ek_chain }
}

fn digest(request: &EnrolRequest) -> Result<Digest, Refusal> {
    canonical::digest(request).map_err(|_| Refusal::Malformed("the keys cannot be digested".to_owned()))
}

/// The activation of a challenge: the same each time, from the challenge and the broker's own key.
fn activation(
    challenges: &Challenges,
    request: &EnrolRequest,
    nonce: &[u8; 32],
    claim: &Digest,
) -> Result<(Activation, attest::credential::MadeCredential), Refusal> {
    let parts: [&[u8]; 2] = [nonce, claim.as_bytes()];
    let secret = challenges.derive("enrol secret", &parts);
    let halves = [challenges.derive("enrol randomness 1", &parts), challenges.derive("enrol randomness 2", &parts)];
    let mut randomness = Zeroizing::new([0; 48]);
    let random = halves.iter().flat_map(|half| half.iter());
    randomness.iter_mut().zip(random).for_each(|(to, from)| *to = *from);
    Activation::begin_unappraised(key_claim(request), secret, &randomness).map_err(Refusal::Evidence)
}

const TOKEN: &str = "enrol token";
const MAX_UNUSED: usize = 1_024;
