//! The KBS protocol 0.4.0, for the clients that exist: challenge, attestation, secrets as JWE.
//!
//! It has a listener of its own, off unless asked for, and gives out nothing but secrets that parties pushed for it; dataset keys leave by another
//! decision that cannot be reached from here. Its binding is weaker than that of the broker's own API: the report data bind a nonce and a key,
//! not the channel, and speak of no run. `docs/spec/kbs.md` says what follows from that.
//!
//! | module | what it does |
//! |---|---|
//! | [`session`] | sessions without memory until they attest |
//! | [`evidence`] | what a client's Evidence proves |
//! | [`token`] | what was proved, and the token that says so |
//! | [`policy`] | owners' conditions in Cedar |
//! | [`release_secret`] | the decision |
//! | [`jwe`] | encryption to the attested key |
//! | `secrets` | custody and the log |
//! | `tpm`, `snp`, `intel`, `azure`, `arm`, `hygon` | Evidence of each kind, from its clients' JSON |
//! | `endorsements` | what makers sign about hardware, from this machine's files |
//! | `init_data` | documents that were measured into a guest's start |
//! | `admin` | parties with stock tools |
//! | `http`, [`refusal`] | the listener's face |
//!
//! Deliberately absent: plain HTTP, `sample` Evidence, one policy for all, and an administrator of the whole.

pub(crate) mod admin;
mod arm;
mod azure;
pub(crate) mod endorsements;
pub mod evidence;
#[cfg(test)]
mod forged;
pub(crate) mod http;
mod hygon;
mod init_data;
mod intel;
pub mod jwe;
pub mod policy;
pub mod refusal;
pub mod release_secret;
pub(crate) mod secrets;
pub mod session;
mod snp;
pub mod token;
mod tpm;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use ::endorsements::Reader;
use envelope::{Digest, PublicKey};
use jiff::Timestamp;
use zeroize::Zeroizing;

use self::{evidence::Makers, policy::Compiled, secrets::Denials, session::Sessions, token::TokenKey};
use crate::{
    records::table,
    store::{Store, StoreError, Tx},
};

/// What the listener keeps in memory. All of it is bounded.
pub(crate) struct Kbs {
    pub(crate) sessions: Sessions,
    pub(crate) tokens: TokenKey,
    pub(crate) compiled: Compiled,
    pub(crate) denials: Denials,
    pub(crate) logged: Logged,
    /// The authorities that count for each maker of hardware.
    pub(crate) makers: Makers,
    /// What makers sign about hardware.
    pub(crate) endorsements: Option<Reader>,
}

/// Releases that are in the log, until their attestations end.
#[derive(Default)]
pub(crate) struct Logged {
    known: Mutex<HashMap<Digest, i64>>,
}

impl Kbs {
    /// Reads the key of tokens, or draws it at the first start.
    pub(crate) fn start(
        store: &Store,
        broker: &PublicKey,
        makers: Makers,
        endorsements: Option<Reader>,
    ) -> Result<Kbs, StoreError> {
        let altered = || StoreError::Altered(table::KEYS.name().to_owned());
        let pkcs8 = store.commit_blocking(move |tx: &mut Tx<'_, '_>| -> Result<Zeroizing<Vec<u8>>, StoreError> {
            if let Some(stored) = tx.get(table::KEYS, TOKENS)? {
                return Ok(Zeroizing::new(stored.record));
            }
            let key = Zeroizing::new(TokenKey::generate().ok_or_else(altered)?);
            tx.put(table::KEYS, TOKENS, &key)?;
            Ok(key)
        })?;
        Ok(Kbs {
            sessions: Sessions::default(),
            tokens: TokenKey::new(&pkcs8, broker).ok_or_else(altered)?,
            compiled: Compiled::default(),
            denials: Denials::default(),
            logged: Logged::default(),
            makers,
            endorsements,
        })
    }
}

impl Logged {
    pub(crate) fn has(&self, release: &Digest) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains_key(release)
    }

    pub(crate) fn note(&self, release: Digest, now: Timestamp) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_LOGGED {
            known.retain(|_, end| *end >= now.as_second());
        }
        // Where there is no room, the same release is logged again, which says nothing wrong.
        if known.len() < MOST_LOGGED {
            known.insert(release, now.as_second().saturating_add(session::LIFETIME.as_secs()));
        }
    }
}

const TOKENS: &[u8] = b"tokens";
const MOST_LOGGED: usize = 65_536;
