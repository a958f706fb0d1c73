//! The broker: the Relying Party that holds data keys and decides to release them.
//!
//! The decision is one function, [`release::release`]. It takes an agreement in force, an Attestation Result and a run that stands in
//! the log, none of which can be had without the check that makes it; everything else here gathers these three and keeps what
//! follows from them.
//!
//! | module | what it does |
//! |---|---|
//! | [`release`] | the decision |
//! | [`challenge`] | challenges without memory |
//! | `enrol` | workers' attestation keys, by credential activation |
//! | `standing` | from stored statements to an agreement in force |
//! | [`parties`] | what parties state |
//! | [`runs`], `work` | the life of a run, leases, results |
//! | [`kbs`] | the KBS protocol, and secrets beside datasets |
//! | `receipts` | documents for others to check |
//! | [`identity`] | TPM, sealed state, keys |
//! | [`store`] | durable state and the log |
//! | [`clock`], [`limits`], [`metrics`], [`refusal`] | time, bounds, counters, refusals |
//! | [`service`], `api` | the service and its HTTP face |
//!
//! Every effect is in the log before anybody hears of it: it is written in the same durable change. Deliberately absent: an SQL
//! engine, readers of data, accounts, an administrator's interface, and any way to read a deposited key.

mod api;
mod auditors;
pub mod challenge;
pub mod clock;
mod enrol;
pub mod identity;
pub mod kbs;
pub mod limits;
pub mod metrics;
pub mod openapi;
pub mod parties;
mod receipts;
mod records;
pub mod refusal;
pub mod release;
pub mod runs;
pub mod service;
mod standing;
pub mod store;
mod work;

pub use identity::{Place, StartError};
pub use service::{Broker, Settings};
