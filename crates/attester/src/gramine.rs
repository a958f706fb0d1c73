//! Gramine's `/dev/attestation`: an enclave asks its library operating system for a quote by files.
//!
//! `user_report_data` takes the bytes to be bound and `quote` gives the quote for whatever was written last, so the report data in
//! the quote is compared with what was asked for. `attestation_type` says whether there are quotes at all.
//! Source: Gramine documentation, "Attestation and Secret Provisioning".

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use attest::platform::Platform;

use crate::{AttesterError, PlatformAttester, PlatformEvidence, read, read_text, write};

/// Quotes through Gramine.
#[derive(Debug)]
pub struct Gramine {
    directory: PathBuf,
}

impl Gramine {
    /// The interface under `root`, which is `/` in an enclave.
    ///
    /// # Errors
    /// [`AttesterError::Absent`]; [`AttesterError::UnknownProvider`] where quotes are not DCAP's.
    pub fn open(root: &Path) -> Result<Gramine, AttesterError> {
        let directory = root.join(DIRECTORY);
        if !directory.is_dir() {
            return Err(AttesterError::Absent(directory));
        }
        match read_text(&directory.join("attestation_type"), "attestation_type")?.as_str() {
            "dcap" => Ok(Gramine { directory }),
            other => Err(AttesterError::UnknownProvider(other.to_owned())),
        }
    }
}

impl PlatformAttester for Gramine {
    fn platform(&self) -> Platform {
        Platform::Sgx
    }

    fn attest(&mut self, report_data: &[u8; 64]) -> Result<PlatformEvidence, AttesterError> {
        write(&self.directory.join("user_report_data"), report_data)?;
        let quote = read(&self.directory.join("quote"), "quote", MAX_QUOTE)?;
        // Another thread of this enclave may have written in between.
        if quote.get(REPORT_DATA..REPORT_DATA + 64) != Some(report_data.as_slice()) {
            return Err(AttesterError::NotBound);
        }
        Ok(PlatformEvidence { platform: Platform::Sgx, parts: BTreeMap::from([("quote", quote)]) })
    }
}

pub(crate) const DIRECTORY: &str = "dev/attestation";
/// Header of 48 bytes, then the report with its data at 320.
const REPORT_DATA: usize = 48 + 320;
const MAX_QUOTE: usize = 16 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn emulated(kind: &str, bound: u8) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join(DIRECTORY);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("attestation_type"), kind).unwrap();
        fs::write(directory.join("user_report_data"), [0; 64]).unwrap();
        fs::write(directory.join("quote"), [vec![3; REPORT_DATA], vec![bound; 64], vec![4; 600]].concat()).unwrap();
        root
    }

    #[test]
    fn a_quote_for_other_data_is_refused() {
        let root = emulated("dcap", 7);
        let mut gramine = Gramine::open(root.path()).unwrap();
        assert_eq!(gramine.attest(&[7; 64]).unwrap().parts.len(), 1);
        assert_eq!(fs::read(root.path().join(DIRECTORY).join("user_report_data")).unwrap(), [7; 64]);
        assert!(matches!(gramine.attest(&[8; 64]), Err(AttesterError::NotBound)));
    }

    #[test]
    fn an_enclave_without_quotes_is_named() {
        let refused = Gramine::open(emulated("none", 0).path());
        assert!(matches!(refused, Err(AttesterError::UnknownProvider(kind)) if kind == "none"));
        assert!(matches!(Gramine::open(Path::new("/nowhere")), Err(AttesterError::Absent(_))));
    }
}
