//! Azure's confidential virtual machines: the report of the hardware lies in the vTPM's NV, made by the paravisor.
//!
//! 64 bytes that are written to one index go into the runtime data, whose digest the hardware report binds; the other index gives the report.
//! The paravisor makes a new one some time after the write, so it is read until it shows what was written. For TDX the report holds a TDREPORT;
//! the quote comes from the machine's metadata service, which is the caller's to ask. A quote by the vTPM's attestation key is crate `tpm`'s.
//! Source: Microsoft, "Azure confidential VM guest attestation design", HCL report structure.

use std::{collections::BTreeMap, thread, time::Duration};

use attest::platform::Platform;
use tpm::Tpm;

use crate::{AttesterError, PlatformAttester, PlatformEvidence};

/// Reports through the vTPM.
#[derive(Debug)]
pub struct Azure {
    tpm: Tpm,
    platform: Platform,
    pause: Duration,
}

impl Azure {
    /// Takes an open TPM, which is Azure's exactly if it holds such a report.
    ///
    /// # Errors
    /// [`AttesterError::UnknownProvider`]; what the TPM meets.
    pub fn new(mut tpm: Tpm) -> Result<Azure, AttesterError> {
        let report = tpm.read_nv(REPORT)?.unwrap_or_default();
        let platform = match (report.get(..4), report.get(TYPE..TYPE + 4)) {
            (Some(b"HCLA"), Some([2, 0, 0, 0])) => Platform::AzureSnp,
            (Some(b"HCLA"), Some([4, 0, 0, 0])) => Platform::AzureTdx,
            _ => return Err(AttesterError::UnknownProvider("a TPM without Azure's report".to_owned())),
        };
        Ok(Azure { tpm, platform, pause: Duration::from_millis(500) })
    }
}

impl PlatformAttester for Azure {
    fn platform(&self) -> Platform {
        self.platform
    }

    fn attest(&mut self, report_data: &[u8; 64]) -> Result<PlatformEvidence, AttesterError> {
        self.tpm.write_nv(USER_DATA, report_data)?;
        let shown = hex::encode(report_data);
        for _ in 0..ATTEMPTS {
            let report = self.tpm.read_nv(REPORT)?.unwrap_or_default();
            let runtime = String::from_utf8_lossy(report.get(RUNTIME..).unwrap_or_default()).to_lowercase();
            if runtime.contains(&shown) {
                return Ok(PlatformEvidence {
                    platform: self.platform,
                    parts: BTreeMap::from([("hcl_report", report)]),
                });
            }
            thread::sleep(self.pause);
        }
        Err(AttesterError::NotBound)
    }
}

const REPORT: u32 = 0x0140_0001;
const USER_DATA: u32 = 0x0140_0002;
/// The kind of hardware report: in the header of the runtime data, which follows the hardware report.
const TYPE: usize = 1216 + 8;
const RUNTIME: usize = 1236;
const ATTEMPTS: usize = 10;
