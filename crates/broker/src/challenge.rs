//! Challenges that cost nothing until they are redeemed.
//!
//! A challenge is a nonce with its use and its end under a MAC. The broker recognises its own by the MAC, whose key is drawn
//! anew at each start, so a challenge of another broker, or from before a restart, is unknown. That each is redeemed once
//! is decided in the store, together with the effect.
//!
//! The secret of an enrolment is derived from its challenge, so that the exchange of credential activation needs no memory either.
//!
//! Deliberately absent: any list of challenges that are under way.

use aws_lc_rs::hmac;
use envelope::{Digest, text::Bytes32};
use jiff::{SignedDuration, Timestamp};
use wire::messages::{Challenge, ChallengeUse};
use zeroize::Zeroizing;

/// How long a challenge lives, in seconds.
pub const LIFETIME_SECONDS: i64 = 60;

/// Issues challenges and recognises them.
pub struct Challenges {
    key: hmac::Key,
}

/// A challenge that this broker issued since its start, for this use, and that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recognised {
    nonce: Bytes32,
    expires: Timestamp,
}

/// Why a challenge is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChallengeError {
    /// Another broker's, of before a restart, altered, or meant for another use.
    #[error("this broker has not given that challenge for this use since it started\nhint: ask for a new one")]
    Unknown,
    /// Too late.
    #[error("the challenge expired at {0}\nhint: ask for a new one")]
    Expired(Timestamp),
}

impl Challenges {
    /// Draws a key.
    #[must_use]
    pub fn new() -> Challenges {
        let seed = Zeroizing::new(Bytes32::random().0);
        Challenges { key: hmac::Key::new(hmac::HMAC_SHA256, seed.as_slice()) }
    }

    /// A new challenge of 256 random bits.
    pub fn issue(&self, purpose: ChallengeUse, now: Timestamp) -> Challenge {
        let nonce = Bytes32::random();
        let expires = now.saturating_add(SignedDuration::from_secs(LIFETIME_SECONDS)).unwrap_or(Timestamp::MAX);
        let mac = Bytes32(self.tag("challenge", &parts(purpose, &nonce, expires)));
        Challenge { purpose, nonce, expires, mac }
    }

    /// Recognises a challenge.
    ///
    /// # Errors
    /// [`ChallengeError`].
    pub fn recognise(
        &self,
        challenge: &Challenge,
        purpose: ChallengeUse,
        now: Timestamp,
    ) -> Result<Recognised, ChallengeError> {
        let Challenge { purpose: stated, nonce, expires, mac } = challenge;
        let message = message("challenge", &parts(*stated, nonce, *expires));
        if *stated != purpose || hmac::verify(&self.key, &message, &mac.0).is_err() {
            return Err(ChallengeError::Unknown);
        }
        if now > *expires {
            return Err(ChallengeError::Expired(*expires));
        }
        Ok(Recognised { nonce: *nonce, expires: *expires })
    }

    /// A value that only this broker can compute, and computes again from the same parts.
    pub(crate) fn derive(&self, label: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.tag(label, &parts.concat()))
    }

    /// Whether `tag` is the value of the same parts. In constant time.
    pub(crate) fn is_derived(&self, label: &str, parts: &[&[u8]], tag: &[u8]) -> bool {
        hmac::verify(&self.key, &message(label, &parts.concat()), tag).is_ok()
    }

    fn tag(&self, label: &str, parts: &[u8]) -> [u8; 32] {
        let tag = hmac::sign(&self.key, &message(label, parts));
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        bytes
    }
}

impl Default for Challenges {
    fn default() -> Challenges {
        Challenges::new()
    }
}

impl Recognised {
    /// The nonce, as it enters the binding.
    pub const fn nonce(&self) -> &Bytes32 {
        &self.nonce
    }

    /// The last moment at which it may be redeemed.
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }
}

/// Labels have no zero byte and parts of one label have fixed lengths, so no two messages meet.
fn message(label: &str, parts: &[u8]) -> Vec<u8> {
    [b"glovebox broker v1 ", label.as_bytes(), &[0], parts].concat()
}

fn parts(purpose: ChallengeUse, nonce: &Bytes32, expires: Timestamp) -> Vec<u8> {
    let purpose = match purpose {
        ChallengeUse::WorkerEnrol => 1,
        ChallengeUse::WorkerRelease => 2,
        ChallengeUse::WorkerRenew => 3,
    };
    let expires = Digest::of(expires.to_string().as_bytes());
    [&[purpose], nonce.0.as_slice(), expires.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;
    use std::collections::HashSet;

    const USE: ChallengeUse = ChallengeUse::WorkerRelease;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn later(seconds: i64) -> Timestamp {
        now() + SignedDuration::from_secs(seconds)
    }

    #[test]
    fn a4_a_challenge_that_expired_a_second_ago_is_refused() {
        let challenges = Challenges::new();
        let challenge = challenges.issue(USE, now());
        assert!(challenges.recognise(&challenge, USE, later(60)).is_ok());
        assert_eq!(challenges.recognise(&challenge, USE, later(61)), Err(ChallengeError::Expired(later(60))));
    }

    #[test]
    fn a4_a_challenge_of_another_broker_or_of_before_a_restart_is_unknown() {
        let challenge = Challenges::new().issue(USE, now());
        assert_eq!(Challenges::new().recognise(&challenge, USE, now()), Err(ChallengeError::Unknown));
    }

    #[test]
    fn a4_an_altered_challenge_is_unknown() {
        let challenges = Challenges::new();
        let good = challenges.issue(USE, now());
        let mut other_use = good.clone();
        other_use.purpose = ChallengeUse::WorkerRenew;
        assert_eq!(challenges.recognise(&other_use, ChallengeUse::WorkerRenew, now()), Err(ChallengeError::Unknown));
        assert_eq!(challenges.recognise(&good, ChallengeUse::WorkerRenew, now()), Err(ChallengeError::Unknown));
        let longer = Challenge { expires: later(3600), ..good.clone() };
        assert_eq!(challenges.recognise(&longer, USE, now()), Err(ChallengeError::Unknown));
        for bit in 0..256 {
            let mut altered = good.clone();
            altered.nonce.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(challenges.recognise(&altered, USE, now()), Err(ChallengeError::Unknown));
        }
    }

    #[test]
    fn a5_a_hundred_thousand_nonces_are_unique() {
        let challenges = Challenges::new();
        let nonces: HashSet<[u8; 32]> = (0..100_000).map(|_| challenges.issue(USE, now()).nonce.0).collect();
        assert_eq!(nonces.len(), 100_000);
    }
}
