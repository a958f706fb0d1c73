//! The worker: attesters, engines, and one exit through which every result leaves.
//!
//! [`sql`] decides what may be computed and computes it; [`release`] is the exit.

pub mod release;
pub mod sql;
pub mod worker;
