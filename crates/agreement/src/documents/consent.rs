//! What parties say to the broker: propose, consent, deposit a key, bring an auditor's word, revoke, rotate. Each travels [`Addressed`] and signed.
//!
//! [`Addressed`]: envelope::statement::Addressed

use envelope::{
    Digest, PublicKey, SigningKey,
    statement::{Envelope, Predicate, Subject},
    text::Bytes,
    wrap::Wrapped,
};
use serde::{Deserialize, Serialize};

use super::{Agreement, Identity};

/// Puts an agreement and its datasets' manifests before the broker. Only a party to it may; it binds nobody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proposal {
    /// The whole document.
    pub agreement: Agreement,
    /// Signed [`super::Manifest`]s of its datasets, as far as the proposer has them.
    pub manifests: Vec<Envelope>,
}

/// A party's consent to one agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Consent {
    /// The agreement's digest.
    pub agreement: Digest,
    /// The TPM name of the broker's AK that this party itself activated before it deposited anything.
    pub broker_ak: Digest,
}

/// A data key, wrapped to the attested broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deposit {
    /// The signed manifest of the version that the key opens; its owner must be the signer.
    pub manifest: Envelope,
    /// The table key or age identity, for [`Deposit::PURPOSE`] with [`Deposit::context`].
    pub key: Wrapped,
}

/// Brings an auditor's Reference Values ([`attest::reference::ReferenceValues`]) to the broker. Whoever has the document may: it says itself whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceDeposit {
    /// As the auditor signed it.
    pub document: Envelope,
}

/// Ends something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revocation {
    /// What ends.
    pub what: Revoked,
    /// Also destroys the signer's keys at the broker, for good.
    pub erase: bool,
}

/// What can be revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Revoked {
    /// An agreement, by any party to it.
    Agreement(Digest),
    /// An offer, by its owner.
    Offer(Digest),
    /// A dataset version, by its owner: its manifest's statement digest.
    Manifest(Digest),
    /// An auditor's Reference Values, by the auditor: their statement digest.
    ReferenceValues(Digest),
}

/// Replaces a party's keys. The old key signs the statement and the new one the acceptance in it: an identity is public, so without
/// its consent anybody could make themselves somebody else's past, and past keys may revoke and have made offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rotation {
    /// The signing key that ends.
    pub previous: PublicKey,
    /// What takes its place.
    pub next: Identity,
    /// 64 bytes: the next key's signature over [`Rotation::accepted_digest`].
    pub acceptance: Bytes,
}

impl Deposit {
    /// The purpose of the wrapping.
    pub const PURPOSE: &'static str = "glovebox deposit v1";

    /// The context of the wrapping: the manifest's statement digest and the broker's signing key.
    pub fn context(manifest: &Digest, broker: &PublicKey) -> Vec<u8> {
        [manifest.as_bytes().as_slice(), broker.as_bytes()].concat()
    }
}

impl Rotation {
    /// A rotation that the next key accepts; the previous one has yet to sign it.
    pub fn new(previous: PublicKey, next: Identity, next_key: &SigningKey) -> Rotation {
        let acceptance = Bytes(next_key.sign(Rotation::accepted_digest(&previous, &next).as_bytes()).to_vec());
        Rotation { previous, next, acceptance }
    }

    /// Whether the next key did accept to follow this very previous one.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        let digest = Rotation::accepted_digest(&self.previous, &self.next);
        self.next.signing().verifies(digest.as_bytes(), &self.acceptance.0)
    }

    /// What the next key signs: both keys and the recipient.
    pub fn accepted_digest(previous: &PublicKey, next: &Identity) -> Digest {
        let parts: [&[u8]; 3] = [previous.as_bytes(), next.signing().as_bytes(), next.recipient().as_bytes()];
        Digest::of_parts("glovebox succession v1", &parts)
    }
}

impl Revoked {
    /// The digest of what is revoked.
    pub const fn digest(&self) -> &Digest {
        match self {
            Revoked::Agreement(digest)
            | Revoked::Offer(digest)
            | Revoked::Manifest(digest)
            | Revoked::ReferenceValues(digest) => digest,
        }
    }
}

impl Predicate for Proposal {
    const TYPE: &'static str = "urn:glovebox:proposal:v1";

    fn subject(&self) -> Subject {
        let digest = self.agreement.digest().unwrap_or(Digest::from_bytes([0; 32]));
        Subject { name: self.agreement.name.clone(), digest }
    }
}

impl Predicate for Consent {
    const TYPE: &'static str = "urn:glovebox:consent:v1";

    fn subject(&self) -> Subject {
        Subject { name: "agreement".to_owned(), digest: self.agreement }
    }
}

impl Predicate for Deposit {
    const TYPE: &'static str = "urn:glovebox:deposit:v1";

    fn subject(&self) -> Subject {
        Subject { name: "manifest".to_owned(), digest: Digest::of(self.manifest.payload.as_bytes()) }
    }
}

impl Predicate for ReferenceDeposit {
    const TYPE: &'static str = "urn:glovebox:reference-deposit:v1";

    fn subject(&self) -> Subject {
        Subject { name: "reference-values".to_owned(), digest: Digest::of(self.document.payload.as_bytes()) }
    }
}

impl Predicate for Revocation {
    const TYPE: &'static str = "urn:glovebox:revocation:v1";

    fn subject(&self) -> Subject {
        Subject { name: "revoked".to_owned(), digest: *self.what.digest() }
    }
}

impl Predicate for Rotation {
    const TYPE: &'static str = "urn:glovebox:rotation:v1";

    fn subject(&self) -> Subject {
        Subject { name: "identity".to_owned(), digest: Digest::of(self.next.to_string().as_bytes()) }
    }
}
