//! What `make bench` measures, and against what.
//!
//! Speed is stated as ratios taken in one run on one machine, or as limits that hold on two cores: absolute times of another
//! machine say little. Every measurement gives [`report::Row`]s; a row with a limit that is not kept, or that could not be measured,
//! fails the whole run. Rows without a limit stand there for scale.
//!
//! | module | what it compares |
//! |---|---|
//! | [`tpch`] | 22 queries, sealed and guarded, with the same engine on plain Parquet, and with DuckDB |
//! | [`sealing`] | sealing a table with writing the same Parquet unencrypted |
//! | [`release`] | challenge, Evidence, appraisal and release over the real channel, with software TPMs, with limits |
//! | [`kbs`] | exchanges of the KBS protocol with SNP Evidence, with limits |
//! | [`run`] | a whole run on a tiny table with the TPMs' own share of it |
//! | [`programs`] | the demo's time and the size of the broker's dependency tree, with limits |
//!
//! A measurement that fails ends with a message for the person who started it; nobody decides by its kind, so there is no enum of errors.
//! Deliberately absent: anything that `make test` times. Its part in the tests is that the 22 results are equal.

pub mod kbs;
pub mod measure;
pub mod programs;
pub mod release;
pub mod report;
pub mod room;
pub mod run;
pub mod sealing;
pub mod tpch;

/// Why a measurement could not be made, in words.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
