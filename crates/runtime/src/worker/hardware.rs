//! Evidence of the confidential hardware beneath the worker, for agreements that ask for it.
//!
//! The kernel's configfs-tsm gives the report; what vouches for its key (certificates, Intel's documents) lies in a folder that the operator fills,
//! one file for each role; it is not the directory that `glovebox endorsements` keeps. All of these are signed by the makers, so the worker believes none of
//! them; it carries them to whoever appraises.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
};

use attest::{ConfidentialVmEvidence, Evidence, HardwareEvidence, binding::Binding};
use attester::{AttesterError, PlatformAttester as _, tsm::Tsm};
use envelope::text::Bytes;

/// Where the hardware's interface and its Endorsements are.
#[derive(Debug, Clone)]
pub struct HardwareConfig {
    /// Beneath which the kernel's interface is looked for: `/` on a machine.
    pub root: PathBuf,
    /// A folder with one file for each role: `vcek`, `cert_chain`, `tcb_info` and so on, without endings.
    pub endorsements: PathBuf,
}

/// The hardware's Attester.
pub(super) struct Hardware {
    tsm: Mutex<Tsm>,
    endorsements: PathBuf,
}

/// Why there is no Evidence of hardware.
#[derive(Debug, thiserror::Error)]
pub enum HardwareError {
    /// The interface.
    #[error("the hardware's interface cannot be used")]
    Attester(#[from] AttesterError),
    /// A file of the folder.
    #[error(
        "the Endorsement `{0}` cannot be read\nhint: each file must be one document, named by its role (`vcek`, `cert_chain`, `tcb_info`, …) and of at most 1 MiB; docs/operating.md"
    )]
    Endorsement(String),
}

impl Hardware {
    pub(super) fn open(config: &HardwareConfig) -> Result<Hardware, HardwareError> {
        let tsm = Tsm::open(&config.root)?;
        Ok(Hardware { tsm: Mutex::new(tsm), endorsements: config.endorsements.clone() })
    }

    /// The TPM's Evidence with the hardware's report on the same binding.
    pub(super) fn beneath(&self, evidence: &Evidence, binding: &Binding) -> Result<Evidence, HardwareError> {
        let mut tsm = self.tsm.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let platform = tsm.platform();
        let produced = tsm.attest(binding.sha512())?;
        let mut files = read_all(&self.endorsements)?;
        let reports = produced.parts.into_iter().filter(|(role, _)| matches!(*role, "report" | "quote"));
        files.extend(reports.map(|(role, bytes)| (role.to_owned(), Bytes(bytes))));
        let hardware = HardwareEvidence { platform, files: files.into_iter().collect() };
        Ok(Evidence::ConfidentialVm(ConfidentialVmEvidence { tpm: evidence.tpm().clone(), hardware }))
    }
}

fn read_all(folder: &Path) -> Result<Vec<(String, Bytes)>, HardwareError> {
    let unread = |name: &Path| HardwareError::Endorsement(name.display().to_string());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(|_| unread(folder))? {
        let path = entry.map_err(|_| unread(folder))?.path();
        let known = fs::metadata(&path).is_ok_and(|file| file.is_file() && file.len() <= MAX_ENDORSEMENT);
        let name = path.file_name().and_then(|name| name.to_str()).filter(|_| known).ok_or_else(|| unread(&path))?;
        let bytes = fs::read(&path).map_err(|_| unread(&path))?;
        files.push((name.to_owned(), Bytes(bytes)));
    }
    Ok(files)
}

const MAX_ENDORSEMENT: u64 = 1 << 20;
