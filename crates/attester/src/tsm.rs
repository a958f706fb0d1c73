//! configfs-tsm: one directory per request, the same for SEV-SNP, TDX and Arm CCA.
//!
//! A request is an entry under `tsm/report`. Its `inblob` takes what is to be bound, `outblob` gives the report or quote, `auxblob` what
//! comes beside it (for SEV-SNP the table of certificates that the host supplied), and `provider` names the platform. Every write counts
//! `generation` up by one, so a report belongs to this request exactly if the number is one more after reading than it was before writing.
//! Source: Linux, Documentation/ABI/testing/configfs-tsm-report. Absent: privilege levels and service providers, which keep their defaults.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use attest::platform::Platform;

use crate::{AttesterError, PlatformAttester, PlatformEvidence, read, read_text, write};

/// Requests through configfs-tsm.
#[derive(Debug)]
pub struct Tsm {
    reports: PathBuf,
    platform: Platform,
}

impl Tsm {
    /// The interface under `root`, which is `/` on a machine.
    ///
    /// # Errors
    /// [`AttesterError::Absent`]; [`AttesterError::UnknownProvider`].
    pub fn open(root: &Path) -> Result<Tsm, AttesterError> {
        let reports = root.join(REPORTS);
        if !reports.is_dir() {
            return Err(AttesterError::Absent(reports));
        }
        let entry = Entry::create(&reports)?;
        let platform = provider(&entry.path)?;
        Ok(Tsm { reports, platform })
    }
}

impl PlatformAttester for Tsm {
    fn platform(&self) -> Platform {
        self.platform
    }

    fn attest(&mut self, report_data: &[u8; 64]) -> Result<PlatformEvidence, AttesterError> {
        let entry = Entry::create(&self.reports)?;
        request(&entry.path, report_data)
    }
}

/// One request in an entry that exists.
pub(crate) fn request(entry: &Path, report_data: &[u8; 64]) -> Result<PlatformEvidence, AttesterError> {
    let platform = provider(entry)?;
    for _ in 0..ATTEMPTS {
        let before = generation(entry)?;
        write(&entry.join("inblob"), report_data)?;
        let out = match read(&entry.join("outblob"), "outblob", MAX_REPORT) {
            // What the kernel says when a write came between.
            Err(AttesterError::Io { source, .. }) if source.kind() == std::io::ErrorKind::WouldBlock => continue,
            out => out?,
        };
        let auxiliary = entry.join("auxblob");
        let certificates = match read(&auxiliary, "auxblob", MAX_REPORT) {
            // Not every platform has one, and an empty one is none.
            Err(AttesterError::Io { .. } | AttesterError::Size { size: 0, .. }) => None,
            read => Some(read?),
        };
        if generation(entry)? != before.wrapping_add(1) {
            continue;
        }
        let mut parts = BTreeMap::from([(role(platform), out)]);
        parts.extend(certificates.map(|table| ("certificate_table", table)));
        return Ok(PlatformEvidence { platform, parts });
    }
    Err(AttesterError::Contended)
}

/// A directory of one's own for requests; it goes with its owner.
struct Entry {
    path: PathBuf,
}

impl Entry {
    fn create(reports: &Path) -> Result<Entry, AttesterError> {
        let mut name = [0; 8];
        let _ = getrandom::fill(&mut name);
        let path = reports.join(format!("glovebox-{}-{}", std::process::id(), hex::encode(name)));
        fs::create_dir(&path).map_err(|source| AttesterError::Io { path: path.clone(), source })?;
        Ok(Entry { path })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}

fn provider(entry: &Path) -> Result<Platform, AttesterError> {
    let name = read_text(&entry.join("provider"), "provider")?;
    match name.as_str() {
        "sev_guest" => Ok(Platform::SevSnp),
        "tdx_guest" => Ok(Platform::Tdx),
        "arm_cca_guest" => Ok(Platform::Cca),
        _ => Err(AttesterError::UnknownProvider(name)),
    }
}

fn generation(entry: &Path) -> Result<u64, AttesterError> {
    let text = read_text(&entry.join("generation"), "generation")?;
    text.parse().map_err(|_| AttesterError::UnknownProvider(text))
}

const fn role(platform: Platform) -> &'static str {
    match platform {
        Platform::SevSnp => "report",
        Platform::Cca => "token",
        _ => "quote",
    }
}

pub(crate) const REPORTS: &str = "sys/kernel/config/tsm/report";
const ATTEMPTS: usize = 5;
const MAX_REPORT: usize = 32 << 10;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::thread;

    use super::*;

    /// An entry that reacts as the kernel's does: the files that are written and read in turn are pipes, so that each end waits for the other.
    fn emulated(provider: &str, answers: usize, steps: &'static [u64]) -> (tempfile::TempDir, thread::JoinHandle<()>) {
        let entry = tempfile::tempdir().unwrap();
        let path = entry.path().to_owned();
        fs::write(path.join("provider"), format!("{provider}\n")).unwrap();
        fs::write(path.join("generation"), "7\n").unwrap();
        fs::write(path.join("auxblob"), "").unwrap();
        for pipe in ["inblob", "outblob"] {
            let made = std::process::Command::new("mkfifo").arg(path.join(pipe)).status().unwrap();
            assert!(made.success());
        }
        let kernel = thread::spawn(move || {
            let mut generation = 7;
            for answer in 0..answers {
                let given = fs::read(path.join("inblob")).unwrap();
                generation += steps.get(answer).copied().unwrap_or(1);
                fs::write(path.join("generation"), format!("{generation}\n")).unwrap();
                let report = [vec![2; 0x50], given, vec![9; 1184 - 0x50 - 64]].concat();
                fs::write(path.join("outblob"), report).unwrap();
            }
        });
        (entry, kernel)
    }

    #[test]
    fn a_report_is_this_requests_own() {
        let (entry, kernel) = emulated("sev_guest", 1, &[1]);
        let evidence = request(entry.path(), &[0x5a; 64]).unwrap();
        kernel.join().unwrap();
        assert_eq!(evidence.platform, Platform::SevSnp);
        let report = evidence.parts.get("report").unwrap();
        assert_eq!((report.len(), report.get(0x50..0x90)), (1184, Some([0x5a; 64].as_slice())));
        assert_eq!(evidence.parts.len(), 1);
    }

    #[test]
    fn another_writer_is_noticed_and_the_request_is_made_again() {
        let (entry, kernel) = emulated("tdx_guest", 2, &[2, 1]);
        let evidence = request(entry.path(), &[1; 64]).unwrap();
        kernel.join().unwrap();
        assert!(evidence.parts.contains_key("quote"));
        let (entry, kernel) = emulated("tdx_guest", 5, &[2; 5]);
        assert!(matches!(request(entry.path(), &[1; 64]), Err(AttesterError::Contended)));
        kernel.join().unwrap();
    }

    #[test]
    fn what_is_not_there_or_not_known_is_named() {
        let root = tempfile::tempdir().unwrap();
        assert!(matches!(Tsm::open(root.path()), Err(AttesterError::Absent(_))));
        let (entry, _) = emulated("other_guest", 0, &[]);
        match request(entry.path(), &[0; 64]) {
            Err(AttesterError::UnknownProvider(name)) => assert_eq!(name, "other_guest"),
            other => panic!("{other:?}"),
        }
    }
}
