//! Secrets that open only while the PCRs are as they were.
//!
//! A secret is sealed to the present values of chosen registers: the TPM gives it back only in a session in which
//! TPM2_PolicyPCR saw the same values. This protects state at rest against another program or another machine; it is no
//! protection against the return of an older blob, which opens as well as the newest.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::command::{Authorization, Code};
use crate::error::{POLICY_FAIL, TpmError};
use crate::keys::{SavedKey, Session};
use crate::marshal::Writer;
use crate::pcr::PcrSelection;
use crate::template;
use crate::tpm::Tpm;

/// The most bytes that one sealed secret holds (MAX_SYM_DATA).
pub const MAX_SEALED: usize = 128;

/// A sealed secret: opens in one TPM, in one state. It needs no secrecy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedBlob {
    object: SavedKey,
    pcrs: PcrSelection,
}

impl SealedBlob {
    /// The registers to whose values the secret is sealed.
    #[must_use]
    pub fn pcrs(&self) -> &PcrSelection {
        &self.pcrs
    }
}

impl Tpm {
    /// Seals at most [`MAX_SEALED`] bytes to the present values of the selected registers.
    ///
    /// # Errors
    /// [`TpmError::SecretTooLong`]; [`TpmError::InactiveBank`] when a register is not kept; what the connection or the
    /// TPM meets.
    pub fn seal(&mut self, secret: &[u8], pcrs: &PcrSelection) -> Result<SealedBlob, TpmError> {
        if secret.len() > MAX_SEALED {
            return Err(TpmError::SecretTooLong { length: secret.len() });
        }
        // The TPM would leave a bank that it does not keep out of the policy without a word.
        self.read_pcrs(pcrs)?;
        let session = self.start_session(Session::Trial, template::SHA256)?;
        let policy = self.with_handle(session, |tpm, session| {
            tpm.policy_pcr(session, pcrs)?;
            tpm.run(Code::PolicyGetDigest, &[session], &[], Writer::new(), |_, reader| {
                Ok(reader.sized("policy digest")?.to_vec())
            })
        })?;
        let object = template::sealed_object(&policy);
        self.with_storage_key(|tpm, storage, parent| {
            let (public, private) = tpm.create(storage, secret, &object)?;
            Ok(SealedBlob { object: SavedKey { public, private, parent }, pcrs: pcrs.clone() })
        })
    }

    /// Opens a sealed secret.
    ///
    /// # Errors
    /// [`TpmError::PolicyFailed`] when the registers have other values now; [`TpmError::ForeignBlob`] when another TPM
    /// sealed it or the blob was altered.
    pub fn unseal(&mut self, blob: &SealedBlob) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let (object, _) = self.load_blob(&blob.object)?;
        self.with_handle(object, |tpm, object| {
            let session = tpm.start_session(Session::Policy, template::SHA256)?;
            tpm.with_handle(session, |tpm, session| {
                tpm.policy_pcr(session, &blob.pcrs)?;
                tpm.run(Code::Unseal, &[object], &[Authorization::Policy(session)], Writer::new(), |_, reader| {
                    Ok(Zeroizing::new(reader.sized("secret")?.to_vec()))
                })
            })
        })
        .map_err(|error| if error.base_code() == Some(POLICY_FAIL) { TpmError::PolicyFailed } else { error })
    }

    fn policy_pcr(&mut self, session: u32, pcrs: &PcrSelection) -> Result<(), TpmError> {
        self.run(Code::PolicyPcr, &[session], &[], pcrs.write(Writer::new().sized(&[])), |_, _| Ok(()))
    }
}
