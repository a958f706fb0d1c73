//! Which signing keys are one party: the history of rotations.
//!
//! A rotation hands a party's place from one identity to the next. Both must want it: the key that ends signs it, and the one that
//! follows accepts it, for past keys of a party may still revoke, and what they offered stands. [`KeyHistory`]
//! is a set of such steps in which every key ends at most once, no two keys end in the same one, and nothing comes round
//! again; so each key has exactly one current identity, and each identity one line of ancestors.
//!
//! What an ended key signed before it ended keeps its force: a manifest, a consent, an offer. That a *new* statement is not
//! signed by an ended key is for whoever accepts it ([`KeyHistory::is_ended`]), since no document proves when it was signed.

use std::collections::BTreeMap;

use envelope::{
    PublicKey,
    statement::{Addressed, Signed},
};

use crate::documents::{Identity, Rotation};

/// Rotations that fit one another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyHistory {
    next: BTreeMap<PublicKey, Identity>,
    previous: BTreeMap<PublicKey, PublicKey>,
}

/// Why a rotation is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    /// Meant for another broker.
    #[error("the rotation of `{0}` is addressed to another broker")]
    Audience(PublicKey),
    /// Signed by another key than the one that ends.
    #[error("the rotation of `{previous}` is signed by `{signer}`; only the key that ends can sign it")]
    Signer {
        /// The key that would end.
        previous: PublicKey,
        /// Who signed.
        signer: PublicKey,
    },
    /// The next key did not accept to follow this one: anybody could have written its identity there.
    #[error(
        "`{0}` has not accepted to take the place of another key\nhint: rotate with the program that made the next key"
    )]
    NotAccepted(PublicKey),
    /// The key ended already, in another identity.
    #[error("`{0}` was rotated already\nhint: rotate the identity that took its place")]
    AlreadyEnded(PublicKey),
    /// The next key has a party's past already.
    #[error("`{0}` has taken the place of another key already")]
    AlreadyTaken(PublicKey),
    /// The next key is an ancestor of the one that ends, or itself.
    #[error("`{0}` would come round again")]
    Cycle(PublicKey),
}

impl KeyHistory {
    /// The history that these rotations make, in the order in which they were accepted.
    ///
    /// # Errors
    /// The first that does not fit those before it.
    pub fn of(rotations: &[Signed<Addressed<Rotation>>], broker: &PublicKey) -> Result<KeyHistory, RotationError> {
        let mut history = KeyHistory::default();
        rotations.iter().try_for_each(|rotation| history.admit(rotation, broker))?;
        Ok(history)
    }

    /// Adds one rotation; the same one again changes nothing.
    ///
    /// # Errors
    /// Named in [`RotationError`]; the history is then as before.
    pub fn admit(&mut self, rotation: &Signed<Addressed<Rotation>>, broker: &PublicKey) -> Result<(), RotationError> {
        let Rotation { previous, next, acceptance: _ } = &rotation.value().body;
        if rotation.value().audience != *broker {
            return Err(RotationError::Audience(*previous));
        }
        if rotation.signer() != previous {
            return Err(RotationError::Signer { previous: *previous, signer: *rotation.signer() });
        }
        if !rotation.value().body.is_accepted() {
            return Err(RotationError::NotAccepted(*next.signing()));
        }
        match self.next.get(previous) {
            Some(known) if known == next => return Ok(()),
            Some(_) => return Err(RotationError::AlreadyEnded(*previous)),
            None => {}
        }
        if self.line(previous).contains(next.signing()) {
            return Err(RotationError::Cycle(*next.signing()));
        }
        if self.previous.contains_key(next.signing()) {
            return Err(RotationError::AlreadyTaken(*next.signing()));
        }
        self.next.insert(*previous, next.clone());
        self.previous.insert(*next.signing(), *previous);
        Ok(())
    }

    /// The identity that stands in this one's place today.
    pub fn current<'a>(&'a self, identity: &'a Identity) -> &'a Identity {
        let mut current = identity;
        while let Some(next) = self.next.get(current.signing()) {
            current = next;
        }
        current
    }

    /// Whether the key was rotated away, so that nothing new may be signed by it.
    pub fn is_ended(&self, key: &PublicKey) -> bool {
        self.next.contains_key(key)
    }

    /// Whether `key` is `of` or one that took its place later: who may speak for a document that names `of`.
    pub fn succeeds(&self, key: &PublicKey, of: &PublicKey) -> bool {
        let mut at = Some(of);
        while let Some(step) = at {
            if step == key {
                return true;
            }
            at = self.next.get(step).map(Identity::signing);
        }
        false
    }

    /// Whether both keys are or were the same party's.
    pub fn same_party(&self, a: &PublicKey, b: &PublicKey) -> bool {
        self.succeeds(a, b) || self.succeeds(b, a)
    }

    /// The key and all its ancestors.
    fn line(&self, key: &PublicKey) -> Vec<PublicKey> {
        let mut line = vec![*key];
        let mut at = key;
        while let Some(before) = self.previous.get(at) {
            line.push(*before);
            at = before;
        }
        line
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use envelope::{SigningKey, text::Bytes32};

    const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn identity(seed: u8) -> Identity {
        Identity::vouch(&key(seed), RECIPIENT).unwrap()
    }

    fn said(body: Rotation, by: u8) -> Signed<Addressed<Rotation>> {
        let expires = "2026-11-21T12:00:00Z".parse().unwrap();
        let addressed = Addressed { audience: key(9).public(), nonce: Bytes32([0; 32]), expires, body };
        Signed::sign(addressed, &key(by)).unwrap()
    }

    #[test]
    fn nobody_becomes_the_past_of_an_identity_that_did_not_accept() {
        let (broker, mut history) = (key(9).public(), KeyHistory::default());
        // The thief knows the victim's public identity and signs the acceptance with its own key, or takes one made for another.
        let stolen = Rotation::new(key(1).public(), identity(2), &key(1));
        assert_eq!(history.admit(&said(stolen, 1), &broker), Err(RotationError::NotAccepted(key(2).public())));
        let for_another =
            Rotation { previous: key(1).public(), ..Rotation::new(key(3).public(), identity(2), &key(2)) };
        assert_eq!(history.admit(&said(for_another, 1), &broker), Err(RotationError::NotAccepted(key(2).public())));
        assert_eq!(history, KeyHistory::default());
        assert!(!history.same_party(&key(1).public(), &key(2).public()));
    }

    #[test]
    fn an_accepted_rotation_joins_both_keys_and_fits_once() {
        let (broker, mut history) = (key(9).public(), KeyHistory::default());
        let rotation = said(Rotation::new(key(1).public(), identity(2), &key(2)), 1);
        assert_eq!(history.admit(&rotation, &broker), Ok(()));
        assert!(
            history.succeeds(&key(2).public(), &key(1).public())
                && !history.succeeds(&key(1).public(), &key(2).public())
        );
        let again = said(Rotation::new(key(1).public(), identity(3), &key(3)), 1);
        assert_eq!(history.admit(&again, &broker), Err(RotationError::AlreadyEnded(key(1).public())));
        let taken = said(Rotation::new(key(4).public(), identity(2), &key(2)), 4);
        assert_eq!(history.admit(&taken, &broker), Err(RotationError::AlreadyTaken(key(2).public())));
        let back = said(Rotation::new(key(2).public(), identity(1), &key(1)), 2);
        assert_eq!(history.admit(&back, &broker), Err(RotationError::Cycle(key(1).public())));
        let by_another = said(Rotation::new(key(5).public(), identity(6), &key(6)), 6);
        let signer = RotationError::Signer { previous: key(5).public(), signer: key(6).public() };
        assert_eq!(history.admit(&by_another, &broker), Err(signer));
        assert_eq!(history.admit(&rotation, &key(8).public()), Err(RotationError::Audience(key(1).public())));
    }
}
