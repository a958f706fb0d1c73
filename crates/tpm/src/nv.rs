//! Writing a small value into NV, for the one interface that takes its input there: Azure's vTPM.
//!
//! The index is made with the owner's empty authorization if it is not there, readable and writable without a secret: what is written is
//! meant to be seen. Nothing that must stay secret or must not change belongs there.

use crate::command::{Authorization, Code};
use crate::error::TpmError;
use crate::keys::absent;
use crate::marshal::Writer;
use crate::tpm::Tpm;

impl Tpm {
    /// Writes `data` (at most 512 bytes) as the whole content of an NV index, which is made if need be.
    ///
    /// # Errors
    /// What the connection or the TPM meets; a TPM refuses where the owner has a password or the index is smaller.
    pub fn write_nv(&mut self, index: u32, data: &[u8]) -> Result<(), TpmError> {
        let known = self.run(Code::NvReadPublic, &[index], &[], Writer::new(), |_, _| Ok(()));
        if absent(known)?.is_none() {
            let size = u16::try_from(data.len()).unwrap_or(u16::MAX);
            let public = Writer::new().u32(index).u16(SHA256).u32(ATTRIBUTES).sized(&[]).u16(size);
            let parameters = Writer::new().sized(&[]).sized(public.as_bytes());
            self.run(Code::NvDefineSpace, &[OWNER], &[Authorization::Empty], parameters, |_, _| Ok(()))?;
        }
        let parameters = Writer::new().sized(data).u16(0);
        self.run(Code::NvWrite, &[OWNER, index], &[Authorization::Empty], parameters, |_, _| Ok(()))
    }
}

const OWNER: u32 = 0x4000_0001;
const SHA256: u16 = 0x000b;
/// OWNERWRITE, AUTHWRITE, OWNERREAD, AUTHREAD (TPM 2.0 Part 2, "TPMA_NV").
const ATTRIBUTES: u32 = 0x0006_0006;
