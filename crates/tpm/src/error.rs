//! What can go wrong between a role and its TPM.
//!
//! A TPM's answer "no" is a number; [`ResponseCode`] gives it the specification's name and plain words. Refusals that a
//! caller must tell apart from a defect (a policy no longer met, a credential for other keys, a blob of another TPM)
//! have variants of their own.

use std::fmt;
use std::io;

use attest::HashAlgorithm;

use crate::address::Address;
use crate::marshal::Malformed;

/// Why an operation on a TPM failed.
#[derive(Debug, thiserror::Error)]
pub enum TpmError {
    /// The device or socket could not be opened.
    #[error("cannot open the TPM at `{address}`{}", hint_for_open(.address, .source))]
    Open {
        /// Where it was looked for.
        address: Address,
        /// The system's reason.
        source: io::Error,
    },
    /// The TPM closed the connection: a software TPM ended, or a device went away.
    #[error("the TPM at `{address}` closed the connection\nhint: if it is a software TPM, see whether it still runs")]
    Closed {
        /// Where it was.
        address: Address,
    },
    /// No answer within 30 seconds.
    #[error(
        "the TPM at `{address}` does not answer\nhint: a software TPM serves one connection at a time; see who else uses it"
    )]
    TimedOut {
        /// Where it is.
        address: Address,
    },
    /// Reading or writing failed in another way.
    #[error("the connection to the TPM at `{address}` broke")]
    Broken {
        /// Where it is.
        address: Address,
        /// The system's reason.
        source: io::Error,
    },
    /// The answer is not what the specification says.
    #[error("the TPM's answer to {command} is malformed at: {what}\nhint: see whether a TPM 2.0 is at that address")]
    Malformed {
        /// The command's name in the specification.
        command: &'static str,
        /// The part that could not be read.
        what: &'static str,
    },
    /// The TPM refused a command.
    #[error("the TPM refused {command}: {code}{}", hint_for_code(*.code))]
    Refused {
        /// The command's name in the specification.
        command: &'static str,
        /// Its reason.
        code: ResponseCode,
    },
    /// The policy of a sealed secret or key is not met: the PCRs are not as they were when it was made.
    #[error(
        "the TPM's state is not the one that the secret was sealed to\nhint: start the same program on the same measured state"
    )]
    PolicyFailed,
    /// The credential was not made for this endorsement key and this attestation key together.
    #[error("the credential was not made for these two keys ({code})")]
    CredentialRefused {
        /// The TPM's reason.
        code: ResponseCode,
    },
    /// A part of the credential is not a buffer with its length in front.
    #[error("the credential is malformed at: {what}")]
    CredentialMalformed {
        /// The part.
        what: &'static str,
    },
    /// A saved key or sealed secret belongs to another TPM, or was altered.
    #[error(
        "the TPM does not recognise the blob as its own\nhint: a saved key or sealed secret opens only in the TPM that made it, and not after that was cleared"
    )]
    ForeignBlob,
    /// The TPM has no endorsement key of a known template.
    #[error("the TPM offers no endorsement key of a known kind")]
    NoEndorsementKey,
    /// The certificate in the TPM is not for its endorsement key.
    #[error("the certificate at NV index {index:#010x} is not for the endorsement key of this TPM")]
    EndorsementMismatch {
        /// Where the certificate lies.
        index: u32,
    },
    /// The certificate in the TPM cannot be read as X.509.
    #[error("the certificate at NV index {index:#010x} is not readable as X.509")]
    EndorsementUnreadable {
        /// Where the certificate lies.
        index: u32,
    },
    /// A PCR bank was named that the TPM does not keep.
    #[error("the TPM does not keep the {} bank of PCR {index}", .bank.name())]
    InactiveBank {
        /// The bank.
        bank: HashAlgorithm,
        /// The register.
        index: u8,
    },
    /// A digest has not the length of its bank.
    #[error("a digest for the {} bank has {length} bytes, not {}", .bank.name(), .bank.size())]
    DigestLength {
        /// The bank.
        bank: HashAlgorithm,
        /// The length given, in bytes.
        length: usize,
    },
    /// More than [`crate::MAX_SEALED`] bytes were to be sealed.
    #[error(
        "{length} bytes do not fit into one sealed secret of at most {}\nhint: seal a key and encrypt with it",
        crate::MAX_SEALED
    )]
    SecretTooLong {
        /// The length given, in bytes.
        length: usize,
    },
    /// The qualifying data of a quote has more than 64 bytes.
    #[error("qualifying data of {length} bytes is longer than 64")]
    QualifyingTooLong {
        /// The length given, in bytes.
        length: usize,
    },
}

impl TpmError {
    /// Reports a part of `command`'s answer that could not be read.
    pub(crate) fn malformed(command: &'static str) -> impl Fn(Malformed) -> TpmError {
        move |Malformed(what)| TpmError::Malformed { command, what }
    }

    /// The TPM's return code with handle, parameter and session numbers taken off, if it refused.
    pub(crate) fn base_code(&self) -> Option<u32> {
        match self {
            TpmError::Refused { code, .. } | TpmError::CredentialRefused { code } => Some(code.base()),
            _ => None,
        }
    }
}

/// A TPM's return code (TPM 2.0 Part 2, "TPM_RC"); zero never occurs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResponseCode(pub u32);

impl ResponseCode {
    /// The code with the number of the handle, parameter or session taken off.
    #[must_use]
    pub fn base(self) -> u32 {
        if self.0 & FORMAT_ONE != 0 { self.0 & 0xbf } else { self.0 }
    }

    /// The specification's name and what it means, when the code is a common one.
    fn words(self) -> Option<(&'static str, &'static str)> {
        let found = WORDS.iter().find(|(code, ..)| *code == self.base());
        found.map(|(_, name, meaning)| (*name, *meaning))
    }

    /// Which handle, parameter or session the code is about.
    fn subject(self) -> Option<(&'static str, u32)> {
        if self.0 & FORMAT_ONE == 0 {
            return None;
        }
        let number = (self.0 >> 8) & 0xf;
        match (self.0 & 0x40 != 0, number) {
            (_, 0) => None,
            (true, number) => Some(("parameter", number)),
            (false, number @ 1..=7) => Some(("handle", number)),
            (false, number) => Some(("session", number - 8)),
        }
    }
}

impl fmt::Display for ResponseCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.words() {
            Some((name, meaning)) => write!(out, "{meaning} ({name}, {:#05x}", self.0)?,
            None => write!(out, "an uncommon reason ({:#05x}", self.0)?,
        }
        match self.subject() {
            Some((what, number)) => write!(out, ", {what} {number})"),
            None => write!(out, ")"),
        }
    }
}

fn hint_for_open(address: &Address, source: &io::Error) -> &'static str {
    match (address, source.kind()) {
        (Address::Device(_), io::ErrorKind::NotFound) => {
            "\nhint: this machine may have no TPM, or its driver is not loaded"
        }
        (Address::Device(_), io::ErrorKind::PermissionDenied) => {
            "\nhint: add the user to the group `tss`, or run as root"
        }
        (Address::Device(_), io::ErrorKind::ResourceBusy) => "\nhint: use the shared device `/dev/tpmrm0`",
        (Address::UnixSocket(_) | Address::Tcp(_), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            "\nhint: start the software TPM first"
        }
        _ => "",
    }
}

fn hint_for_code(code: ResponseCode) -> &'static str {
    match code.base() {
        AUTH_FAIL | BAD_AUTH => {
            "\nhint: an owner or endorsement password is set on this TPM; Glovebox uses it only without one, or with a storage key at 0x81000001"
        }
        LOCKOUT => "\nhint: wait for the TPM's lockout to pass, or clear it as its owner",
        OBJECT_MEMORY | SESSION_MEMORY => "\nhint: use the shared device `/dev/tpmrm0`",
        INITIALIZE => "\nhint: start the software TPM with `--flags not-need-init,startup-clear`",
        _ => "",
    }
}

const FORMAT_ONE: u32 = 0x80;
pub(crate) const VALUE: u32 = 0x84;
pub(crate) const HANDLE: u32 = 0x8b;
pub(crate) const AUTH_FAIL: u32 = 0x8e;
pub(crate) const SIZE: u32 = 0x95;
pub(crate) const POLICY_FAIL: u32 = 0x9d;
pub(crate) const INTEGRITY: u32 = 0x9f;
pub(crate) const BAD_AUTH: u32 = 0xa2;
pub(crate) const ECC_POINT: u32 = 0xa7;
pub(crate) const INITIALIZE: u32 = 0x100;
pub(crate) const FAILURE: u32 = 0x101;
const OBJECT_MEMORY: u32 = 0x902;
const SESSION_MEMORY: u32 = 0x903;
pub(crate) const YIELDED: u32 = 0x908;
pub(crate) const TESTING: u32 = 0x90a;
pub(crate) const NV_RATE: u32 = 0x920;
const LOCKOUT: u32 = 0x921;
pub(crate) const RETRY: u32 = 0x922;

/// The codes that occur in practice: code without numbers, name, meaning.
const WORDS: &[(u32, &str, &str)] = &[
    (0x082, "TPM_RC_ATTRIBUTES", "the key's attributes do not allow this"),
    (0x083, "TPM_RC_HASH", "the hash algorithm is not supported"),
    (VALUE, "TPM_RC_VALUE", "a value is out of range or wrong for this use"),
    (0x085, "TPM_RC_HIERARCHY", "the hierarchy is disabled or wrong for this use"),
    (0x08a, "TPM_RC_TYPE", "the key type is wrong for this use"),
    (HANDLE, "TPM_RC_HANDLE", "there is no such object"),
    (AUTH_FAIL, "TPM_RC_AUTH_FAIL", "the authorization failed"),
    (0x090, "TPM_RC_KEY", "the key does not fit"),
    (0x092, "TPM_RC_SCHEME", "the signature scheme does not fit"),
    (SIZE, "TPM_RC_SIZE", "a structure has the wrong size"),
    (0x096, "TPM_RC_SYMMETRIC", "the symmetric algorithm is not supported"),
    (0x098, "TPM_RC_SELECTOR", "a union selector is wrong"),
    (0x09a, "TPM_RC_INSUFFICIENT", "the command is too short"),
    (0x09b, "TPM_RC_SIGNATURE", "the signature is not valid"),
    (POLICY_FAIL, "TPM_RC_POLICY_FAIL", "the policy is not met"),
    (INTEGRITY, "TPM_RC_INTEGRITY", "the integrity check failed"),
    (BAD_AUTH, "TPM_RC_BAD_AUTH", "the authorization is wrong"),
    (0x0a6, "TPM_RC_CURVE", "the elliptic curve is not supported"),
    (ECC_POINT, "TPM_RC_ECC_POINT", "the point is not on the curve"),
    (INITIALIZE, "TPM_RC_INITIALIZE", "the TPM is not started, or is started already"),
    (FAILURE, "TPM_RC_FAILURE", "the TPM failed at this, or altogether"),
    (0x120, "TPM_RC_DISABLED", "the command is disabled"),
    (0x128, "TPM_RC_PCR_CHANGED", "PCRs changed since the policy was checked"),
    (0x143, "TPM_RC_COMMAND_CODE", "the command is not implemented"),
    (0x149, "TPM_RC_NV_AUTHORIZATION", "the NV index may not be read that way"),
    (0x14a, "TPM_RC_NV_UNINITIALIZED", "the NV index was never written"),
    (OBJECT_MEMORY, "TPM_RC_OBJECT_MEMORY", "the TPM has no room for another object"),
    (SESSION_MEMORY, "TPM_RC_SESSION_MEMORY", "the TPM has no room for another session"),
    (0x904, "TPM_RC_MEMORY", "the TPM is out of memory"),
    (0x907, "TPM_RC_LOCALITY", "the locality may not do this"),
    (YIELDED, "TPM_RC_YIELDED", "the TPM gave way to other work"),
    (TESTING, "TPM_RC_TESTING", "the TPM is testing itself"),
    (0x910, "TPM_RC_REFERENCE_H0", "the first handle names nothing that is loaded"),
    (0x911, "TPM_RC_REFERENCE_H1", "the second handle names nothing that is loaded"),
    (0x918, "TPM_RC_REFERENCE_S0", "the first session is not open"),
    (NV_RATE, "TPM_RC_NV_RATE", "the TPM limits how often it writes"),
    (LOCKOUT, "TPM_RC_LOCKOUT", "the TPM is locked after failed authorizations"),
    (RETRY, "TPM_RC_RETRY", "the TPM was not ready"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_given_in_words_with_their_subject() {
        assert_eq!(ResponseCode(0x99d).to_string(), "the policy is not met (TPM_RC_POLICY_FAIL, 0x99d, session 1)");
        assert_eq!(
            ResponseCode(0x1df).to_string(),
            "the integrity check failed (TPM_RC_INTEGRITY, 0x1df, parameter 1)"
        );
        assert_eq!(ResponseCode(0x18b).to_string(), "there is no such object (TPM_RC_HANDLE, 0x18b, handle 1)");
        assert_eq!(ResponseCode(0x922).to_string(), "the TPM was not ready (TPM_RC_RETRY, 0x922)");
        assert_eq!(ResponseCode(0x155).to_string(), "an uncommon reason (0x155)");
    }
}
