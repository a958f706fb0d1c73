//! The decision to release a secret, on one screen.
//!
//! Beside [`crate::release`], and apart from it: no key of a dataset can come here, and no condition of one owner counts for another's
//! secret. Whoever calls holds what only checks can make: what an Attester has proved ([`Attested`]), the secret with its owner's
//! conditions as they stand ([`Held`]). What is left is that they speak of one another, that the time is right, and that the conditions are met.
//! What leaves is encrypted to the very key that the Evidence was bound to.
//!
//! Deliberately absent: I/O, clocks, a default for absent conditions, and the release's place in the log, which comes after the decision
//! and before anybody hears of it (`kbs::secrets`).

use std::sync::Arc;

use agreement::documents::SecretPath;
use envelope::Digest;
use jiff::Timestamp;
use wire::kbs::Jwe;
use zeroize::Zeroizing;

use super::{
    policy::{Conditions, Denial},
    token::Attested,
};

/// A secret in custody, with the conditions that its owner set.
pub struct Held {
    /// Where it lies.
    pub path: SecretPath,
    /// Which version it is.
    pub version: u64,
    /// The secret.
    pub value: Zeroizing<Vec<u8>>,
    /// The conditions that its owner's record names: the digest of their text. `None`: the owner set none.
    pub policy: Option<Digest>,
    /// These conditions.
    pub conditions: Option<Arc<Conditions>>,
}

/// A secret that only the attested key opens, and under which conditions it leaves. Nobody has it before the release is logged.
pub struct Released {
    jwe: Jwe,
    policy: Digest,
}

/// Why no secret leaves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretRefusal {
    /// The attestation is over.
    #[error("the attestation is over")]
    Expired,
    /// Another path was asked for.
    #[error("the secret is another one than was asked for")]
    OtherSecret,
    /// No conditions are set, so none can be met.
    #[error("the owner has set no conditions for this secret")]
    NoConditions,
    /// The conditions at hand are not those that the record names.
    #[error("the conditions are not those that the owner set")]
    OtherConditions,
    /// They are not met.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// It could not be encrypted.
    #[error("the secret could not be encrypted")]
    Encrypt,
}

/// Releases a secret to the holder of an attested key.
///
/// # Errors
/// The first thing that does not fit, by name.
pub fn release_secret(
    asked: &SecretPath,
    attested: &Attested,
    held: &Held,
    now: Timestamp,
) -> Result<Released, SecretRefusal> {
    if !attested.is_live(now) {
        return Err(SecretRefusal::Expired);
    }
    if held.path != *asked {
        return Err(SecretRefusal::OtherSecret);
    }
    let (Some(policy), Some(conditions)) = (&held.policy, &held.conditions) else {
        return Err(SecretRefusal::NoConditions);
    };
    if conditions.digest() != policy {
        return Err(SecretRefusal::OtherConditions);
    }
    conditions.decide(attested.holder(), attested.examined(), asked)?;
    let jwe = attested.recipient().encrypt(&held.value).map_err(|_| SecretRefusal::Encrypt)?;
    Ok(Released { jwe, policy: *policy })
}

impl Released {
    /// The secret, for the holder of the key alone.
    pub fn into_jwe(self) -> Jwe {
        self.jwe
    }

    /// The conditions that were met.
    pub const fn policy(&self) -> &Digest {
        &self.policy
    }
}
