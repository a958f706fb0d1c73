//! The files that people write: the rules of a dataset ([`RulesFile`]) and the text of an agreement ([`AgreementFile`]).
//!
//! Both are TOML with comments; `docs/spec/agreement.md` defines them. They are a way to *write* documents, never signed and never
//! sent: what is signed is the canonical JSON that comes of them. A mistake is told with its line and column, the line itself, what was
//! expected there and, for an unknown name, the nearest known one. Nothing is guessed and no key is ignored.
//!
//! Other files that people write can be read the same way ([`Document`]), so that a mistake is told alike everywhere.
//!
//! Pure: other files that these name (identities, manifests, certificates, programs) are read by a function that the caller gives.

mod agreement;
mod policy;
mod reader;
mod rules;

pub use agreement::{AgreementFile, Draft, DraftError};
pub use policy::{GENERATIONS, TIERS};
pub use reader::{Document, Place, Problem, Table, TomlError, Value};
pub use rules::{RulesFile, SourceColumn};
