//! Sessions: nothing is remembered of one that has not attested.
//!
//! The cookie of a new session is its challenge with kind of Evidence and deadline under the broker's MAC, whose key is drawn anew at each start
//! ([`crate::challenge`]). So a flood of `auth` costs no memory. A session is remembered from the moment its Evidence has passed, and that
//! moment redeems its nonce: of many attestations at once on one session, one gets a token. The deadline is set by `auth` and never moves.
//!
//! A redeemed nonce is remembered until its deadline, in so few bytes that no source can fill the room for them. What a session proved is remembered
//! for the sake of clients that send no token; the oldest make room.
//!
//! Deliberately absent: a list of sessions under way, and forgetting a redeemed nonce before its deadline.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use envelope::text::{Bytes32, decode, encode};
use jiff::{SignedDuration, Timestamp};

use super::{evidence::Tee, refusal::KbsRefusal, token::Attested};
use crate::challenge::Challenges;

/// From `auth` to the end of the session, and of the token that it yields.
pub const LIFETIME: SignedDuration = attest::ear::issue::LONGEST;

/// A session that this broker began since its start and that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    nonce: Bytes32,
    tee: Tee,
    deadline: i64,
}

/// The sessions that have attested.
#[derive(Default)]
pub(crate) struct Sessions {
    known: Mutex<Known>,
}

/// Both by deadline first, so that what is over comes first.
#[derive(Default)]
struct Known {
    redeemed: BTreeSet<Name>,
    attested: BTreeMap<Name, Arc<Attested>>,
}

/// A session's deadline and nonce.
type Name = (i64, [u8; 32]);

impl Session {
    /// Begins a session.
    pub(crate) fn begin(tee: Tee, now: Timestamp) -> Session {
        Session { nonce: Bytes32::random(), tee, deadline: now.as_second().saturating_add(LIFETIME.as_secs()) }
    }

    /// Recognises the session of a cookie.
    pub(crate) fn recognise(cookie: &str, challenges: &Challenges, now: Timestamp) -> Result<Session, KbsRefusal> {
        let unknown = || KbsRefusal::Session;
        let bytes: [u8; COOKIE] = decode(cookie).and_then(|bytes| bytes.try_into().ok()).ok_or_else(unknown)?;
        let (parts, mac) = bytes.split_at_checked(PARTS).ok_or_else(unknown)?;
        if !challenges.is_derived(LABEL, &[parts], mac) {
            return Err(unknown());
        }
        let (tee, rest) = parts.split_first().ok_or_else(unknown)?;
        let (deadline, nonce) = rest.split_first_chunk::<8>().ok_or_else(unknown)?;
        let session = Session {
            nonce: Bytes32(nonce.try_into().map_err(|_| unknown())?),
            tee: Tee::numbered(*tee).ok_or_else(unknown)?,
            deadline: i64::from_be_bytes(*deadline),
        };
        if now.as_second() > session.deadline { Err(unknown()) } else { Ok(session) }
    }

    /// What the client keeps.
    pub(crate) fn cookie(&self, challenges: &Challenges) -> String {
        let parts = self.parts();
        encode(&[parts.as_slice(), challenges.derive(LABEL, &[&parts]).as_slice()].concat())
    }

    /// The challenge, as it enters the report data.
    pub(crate) fn nonce(&self) -> String {
        STANDARD.encode(self.nonce.0)
    }

    /// The kind of Evidence that was announced.
    pub(crate) const fn tee(&self) -> Tee {
        self.tee
    }

    /// The last second of the session.
    pub(crate) const fn deadline(&self) -> i64 {
        self.deadline
    }

    const fn name(&self) -> Name {
        (self.deadline, self.nonce.0)
    }

    fn parts(&self) -> Vec<u8> {
        [&[self.tee.number()], self.deadline.to_be_bytes().as_slice(), &self.nonce.0].concat()
    }
}

impl Sessions {
    /// Redeems the session's nonce, once.
    pub(crate) fn redeem(&self, session: &Session, now: Timestamp) -> Result<(), KbsRefusal> {
        let mut known = self.lock();
        known.forget(now.as_second());
        if known.redeemed.contains(&session.name()) {
            return Err(KbsRefusal::Redeemed);
        }
        if known.redeemed.len() >= MOST_REDEEMED {
            return Err(KbsRefusal::Busy);
        }
        known.redeemed.insert(session.name());
        Ok(())
    }

    /// Whether the nonce was redeemed.
    pub(crate) fn is_redeemed(&self, session: &Session) -> bool {
        self.lock().redeemed.contains(&session.name())
    }

    /// Remembers what the session has proved.
    pub(crate) fn keep(&self, session: &Session, attested: Arc<Attested>) {
        let mut known = self.lock();
        if known.redeemed.contains(&session.name()) {
            known.attested.insert(session.name(), attested);
        }
        if known.attested.len() > MOST_KEPT {
            known.attested.pop_first();
        }
    }

    /// What the session has proved, if it has.
    pub(crate) fn attested(&self, session: &Session) -> Option<Arc<Attested>> {
        self.lock().attested.get(&session.name()).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Forgets what is over.
    fn forget(&mut self, now: i64) {
        while self.redeemed.first().is_some_and(|(deadline, _)| *deadline < now) {
            self.redeemed.pop_first();
        }
        while self.attested.first_key_value().is_some_and(|((deadline, _), _)| *deadline < now) {
            self.attested.pop_first();
        }
    }
}

const LABEL: &str = "kbs session";
const PARTS: usize = 1 + 8 + 32;
const COOKIE: usize = PARTS + 32;
/// Redeemed nonces at once, in about sixty bytes each: more than one source's rate, or these processors, can redeem in a session's time.
const MOST_REDEEMED: usize = 1 << 20;
/// Sessions whose results are remembered at once, in two to six kilobytes each, and sixteen at most.
const MOST_KEPT: usize = 8_192;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn a4_a_cookie_is_recognised_until_its_deadline_by_the_broker_that_gave_it() {
        let challenges = Challenges::new();
        let session = Session::begin(Tee::Tpm, now());
        let cookie = session.cookie(&challenges);
        assert_eq!(Session::recognise(&cookie, &challenges, now()), Ok(session));
        assert_eq!(Session::recognise(&cookie, &challenges, now() + LIFETIME), Ok(session));
        let late = now() + LIFETIME + SignedDuration::from_secs(1);
        assert_eq!(Session::recognise(&cookie, &challenges, late), Err(KbsRefusal::Session));
        assert_eq!(Session::recognise(&cookie, &Challenges::new(), now()), Err(KbsRefusal::Session));
        assert_eq!(session.nonce().len(), 44);
    }

    #[test]
    fn a4_a_cookie_with_any_bit_flipped_is_unknown() {
        let challenges = Challenges::new();
        let cookie = decode(&Session::begin(Tee::Tpm, now()).cookie(&challenges)).unwrap();
        for bit in 0..cookie.len() * 8 {
            let mut altered = cookie.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Session::recognise(&encode(&altered), &challenges, now()), Err(KbsRefusal::Session));
        }
        for length in 0..cookie.len() {
            assert!(Session::recognise(&encode(&cookie[..length]), &challenges, now()).is_err());
        }
    }

    #[test]
    fn a_nonce_is_redeemed_once() {
        let (sessions, session) = (Sessions::default(), Session::begin(Tee::Tpm, now()));
        assert_eq!(sessions.redeem(&session, now()), Ok(()));
        assert_eq!(sessions.redeem(&session, now()), Err(KbsRefusal::Redeemed));
        assert!(sessions.attested(&session).is_none());
        assert!(sessions.is_redeemed(&session));
    }

    #[test]
    fn a_redeemed_nonce_is_remembered_until_its_deadline_and_no_longer() {
        let (sessions, first) = (Sessions::default(), Session::begin(Tee::Tpm, now()));
        assert_eq!(sessions.redeem(&first, now()), Ok(()));
        let later = now() + LIFETIME;
        assert_eq!(sessions.redeem(&first, later), Err(KbsRefusal::Redeemed));
        assert_eq!(sessions.redeem(&Session::begin(Tee::Tpm, later), later + SignedDuration::from_secs(1)), Ok(()));
        assert_eq!(sessions.lock().redeemed.len(), 1);
    }
}
