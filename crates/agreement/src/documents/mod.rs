//! The documents that parties, brokers and workers sign, as they travel.
//!
//! Every type here is plain data with exactly one spelling (canonical JSON, unknown fields refused). Holding one proves
//! nothing: what proves something is [`envelope::statement::Signed`] around it, and the decisions in [`crate::in_force`].

mod agreement;
mod consent;
mod manifest;
mod offer;
mod party;
mod run;
mod secret;

pub use agreement::{
    Agreement, BrokerTerms, Charge, Computation, DatasetSource, DatasetTerms, Engine, PartyTerms, ReleaseTerms,
    WitnessTerms,
};
pub use consent::{Consent, Deposit, Proposal, ReferenceDeposit, Revocation, Revoked, Rotation};
pub use manifest::{Column, ColumnRule, ColumnType, Contents, DatasetId, Manifest, SealedFile, SeriesId, TableRules};
pub use offer::Offer;
pub use party::{Identity, IdentityError};
pub use run::{ResultStatement, Run};
pub use secret::{SecretPath, SecretPathError, SecretPolicy, SecretPush, SecretRemoval};
