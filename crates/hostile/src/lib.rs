//! One function for each parser that meets bytes of others.
//!
//! An entry takes any bytes, hands them to a parser as a stranger could, and asks nothing of the outcome but that there is one: no panic, no
//! more than 64 MiB of memory, no more than a second. `fuzz/` runs each under libFuzzer (`make fuzz`), and the test `regressions` replays
//! what was found earlier, so both meet the same code.
//!
//! Where a parser stands behind a signature, the entry signs the input itself, with a key that it pins (`signed`). Where it reads several files, they
//! follow one another as [`Fields`].
//!
//! Deliberately absent: SQL text, which the engine's own parser reads (`runtime/tests/sql_random.rs` is its test), and answers of a TPM.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is a finding

pub mod documents;
pub mod evidence;
pub mod makers;
mod signed;

use jiff::Timestamp;

/// Meets a parser with some bytes.
pub type Entry = fn(&[u8]);

/// Every target, by the name of its file in `fuzz/fuzz_targets` and of its folder in `fuzz/regressions`. Those that face a network stand first.
pub const TARGETS: [(&str, Entry); 45] = [
    ("intel", makers::intel),
    ("snp", makers::snp),
    ("quote", evidence::quote),
    ("corim", evidence::corim),
    ("cose", evidence::cose),
    ("jwt", evidence::jwt),
    ("cwt", evidence::cwt),
    ("kbs", documents::kbs),
    ("kbs_evidence", documents::kbs_evidence),
    ("statement", documents::statement),
    ("requests", documents::requests),
    ("http_signature", documents::http_signature),
    ("evidence", evidence::evidence),
    ("certificate", evidence::certificate),
    ("keys", evidence::keys),
    ("vtpm", evidence::vtpm),
    ("event_log", evidence::event_log),
    ("ccel", evidence::ccel),
    ("ima", evidence::ima),
    ("detect", evidence::detect),
    ("collateral", makers::collateral),
    ("nitro", makers::nitro),
    ("nitro_tpm", makers::nitro_tpm),
    ("nitro_image", makers::nitro_image),
    ("azure", makers::azure),
    ("hcl", makers::hcl),
    ("cca", makers::cca),
    ("psa", makers::psa),
    ("spdm", makers::spdm),
    ("collected", makers::collected),
    ("rim", makers::rim),
    ("hygon", makers::hygon),
    ("ibm", makers::ibm),
    ("keystone", makers::keystone),
    ("risc0", makers::risc0),
    ("endorsements", documents::endorsements),
    ("cedar", documents::cedar),
    ("rules", documents::rules),
    ("agreement", documents::agreement),
    ("receipt", documents::receipt),
    ("responses", documents::responses),
    ("log", documents::log),
    ("identity", documents::identity),
    ("sealed", documents::sealed),
    ("source", documents::source),
];

/// Several files in one input, each behind two bytes of length, little-endian.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// An input of files alone.
    pub const fn new(input: &'a [u8]) -> Fields<'a> {
        Fields(input)
    }

    /// An input that begins with a time, in four bytes of seconds, little-endian; certificates are valid at some times only.
    pub fn at_a_time(input: &'a [u8]) -> Option<(Timestamp, Fields<'a>)> {
        let (seconds, rest) = input.split_first_chunk()?;
        let now = Timestamp::from_second(u32::from_le_bytes(*seconds).into()).ok()?;
        Some((now, Fields(rest)))
    }

    /// The next file, if there is one.
    pub fn file(&mut self) -> Option<&'a [u8]> {
        let (size, rest) = self.0.split_first_chunk::<2>()?;
        let (file, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*size)))?;
        self.0 = rest;
        Some(file)
    }

    /// The next file, or an empty one.
    pub fn file_or_empty(&mut self) -> &'a [u8] {
        self.file().unwrap_or_default()
    }

    /// What follows the files read so far.
    pub const fn rest(self) -> &'a [u8] {
        self.0
    }
}
