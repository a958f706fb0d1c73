//! Evidence from the platform that a program runs on, each platform's interface behind one trait.
//!
//! An Attester (RFC 9334) binds 64 bytes of the caller's into its Evidence and hands out the files that a Verifier needs, by role. It judges
//! nothing: whether Evidence is good is decided elsewhere, by `attest`. What it does check is that the interface answered *this* request
//! and not another program's. [`probe`] says which interfaces a machine has, without using them.
//!
//! Interfaces: [`tsm`] (the kernel's configfs-tsm: SEV-SNP, TDX, Arm CCA), [`gramine`] (`/dev/attestation`, in SGX), [`nitro`] (`/dev/nsm`),
//! [`azure`] (the vTPM's report in NV). Those of a TPM 2.0 are crate `tpm`'s. Deliberately absent: NVIDIA devices, which give reports
//! through NVML only, a C library that is loaded at run time; older device files (`/dev/sev-guest`, `/dev/tdx_guest`), which configfs-tsm replaced
//! in Linux 6.7.

pub mod azure;
pub mod gramine;
pub mod nitro;
#[allow(unsafe_code, reason = "the security module answers through one ioctl, and no safe interface to it exists")]
mod nsm_device;
mod probe;
pub mod tsm;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use attest::platform::Platform;
use tpm::TpmError;

pub use probe::{Found, Interface, State, probe};

/// Produces Evidence of one platform.
pub trait PlatformAttester {
    /// Whose Evidence it is.
    fn platform(&self) -> Platform;

    /// Evidence with these bytes bound into it.
    ///
    /// # Errors
    /// [`AttesterError`].
    fn attest(&mut self, report_data: &[u8; 64]) -> Result<PlatformEvidence, AttesterError>;
}

/// What an interface gave, by role: `report`, `quote`, `token`, `document`, `hcl_report`, `certificate_table`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformEvidence {
    /// Whose Evidence it is.
    pub platform: Platform,
    /// The files.
    pub parts: BTreeMap<&'static str, Vec<u8>>,
}

/// Why there is no Evidence.
#[derive(Debug, thiserror::Error)]
pub enum AttesterError {
    /// The interface is not there.
    #[error("this machine has no `{path}`\nhint: `glovebox doctor` tells which interfaces it has", path = .0.display())]
    Absent(PathBuf),
    /// A file of the interface cannot be read or written.
    #[error("`{path}` of the platform's interface failed: {source}{hint}", path = .path.display(), hint = hint(.source))]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It names a platform that is not known.
    #[error("the platform's interface is of the kind `{0}`, which is not known")]
    UnknownProvider(String),
    /// Somebody else used it in between, again and again.
    #[error("another program keeps writing to the same request\nhint: let each program use an entry of its own")]
    Contended,
    /// More or less than Evidence can be.
    #[error("the platform's interface gave {size} bytes as `{part}`, which cannot be it")]
    Size {
        /// Of which part.
        part: &'static str,
        /// How many.
        size: usize,
    },
    /// The Evidence does not show what was asked to be bound.
    #[error(
        "the platform did not bind what it was given\nhint: try again; if it happens again, this machine's firmware does not support it"
    )]
    NotBound,
    /// The security module says no.
    #[error("the security module refused: {0}")]
    Refused(String),
    /// Its answer cannot be read.
    #[error("the security module's answer cannot be read")]
    Answer,
    /// The TPM.
    #[error("the TPM failed")]
    Tpm(#[from] TpmError),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "\nhint: the program needs the right to use it; run it as a service that has it"
        }
        io::ErrorKind::NotFound => "\nhint: `glovebox doctor` tells which interfaces this machine has",
        _ => "",
    }
}

/// Reads a file of an interface, at most `limit` bytes and at least one.
fn read(path: &Path, part: &'static str, limit: usize) -> Result<Vec<u8>, AttesterError> {
    let failed = |source| AttesterError::Io { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    fs::File::open(path).map_err(failed)?.take(most).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.is_empty() || bytes.len() > limit {
        return Err(AttesterError::Size { part, size: bytes.len() });
    }
    Ok(bytes)
}

fn read_text(path: &Path, part: &'static str) -> Result<String, AttesterError> {
    let bytes = read(path, part, 256)?;
    Ok(String::from_utf8_lossy(&bytes).trim().chars().filter(|character| !character.is_control()).collect())
}

/// Writes to a file of an interface, in one call and without making it.
fn write(path: &Path, bytes: &[u8]) -> Result<(), AttesterError> {
    let failed = |source| AttesterError::Io { path: path.to_owned(), source };
    let mut file = fs::OpenOptions::new().write(true).open(path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)
}
