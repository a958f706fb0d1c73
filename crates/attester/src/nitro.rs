//! The Nitro security module: one request of CBOR, one answer of CBOR.
//!
//! The caller's 64 bytes go into the document's `nonce`. Source: aws-nitro-enclaves-nsm-api, `api` (requests and responses), and "Nitro Enclaves
//! Attestation Process", section 2.

use std::{collections::BTreeMap, io, path::Path};

use attest::platform::Platform;

use crate::{AttesterError, PlatformAttester, PlatformEvidence, nsm_device::Device};

/// What exchanges messages with a security module.
pub trait SecurityModule {
    /// One request and its answer.
    ///
    /// # Errors
    /// What the device says.
    fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<u8>>;
}

/// Documents of the security module.
pub struct Nitro<M> {
    module: M,
}

impl Nitro<Device> {
    /// The device of this enclave, under `root`, which is `/` in one.
    ///
    /// # Errors
    /// [`AttesterError::Absent`]; [`AttesterError::Io`].
    pub fn open(root: &Path) -> Result<Nitro<Device>, AttesterError> {
        let path = root.join(DEVICE);
        if !path.exists() {
            return Err(AttesterError::Absent(path));
        }
        let module = Device::open(&path).map_err(|source| AttesterError::Io { path, source })?;
        Ok(Nitro { module })
    }
}

impl<M: SecurityModule> Nitro<M> {
    /// Any module, such as one that replays what was recorded.
    pub const fn with(module: M) -> Nitro<M> {
        Nitro { module }
    }
}

impl<M: SecurityModule> PlatformAttester for Nitro<M> {
    fn platform(&self) -> Platform {
        Platform::NitroEnclave
    }

    fn attest(&mut self, report_data: &[u8; 64]) -> Result<PlatformEvidence, AttesterError> {
        let answer = self.module.exchange(&request(report_data));
        let answer = answer.map_err(|source| AttesterError::Io { path: Path::new("/").join(DEVICE), source })?;
        let document = document(&answer)?;
        // Evidence of another request would be refused by its Verifier; better to say so here.
        if !document.windows(64).any(|window| window == report_data) {
            return Err(AttesterError::NotBound);
        }
        Ok(PlatformEvidence { platform: Platform::NitroEnclave, parts: BTreeMap::from([("document", document)]) })
    }
}

/// `{"Attestation": {"user_data": null, "nonce": h'…', "public_key": null}}` (RFC 8949).
fn request(nonce: &[u8; 64]) -> Vec<u8> {
    let text = |word: &'static str| {
        let size = u8::try_from(word.len()).unwrap_or_default();
        [&[0x60 | size], word.as_bytes()].concat()
    };
    [
        vec![0xa1],
        text("Attestation"),
        vec![0xa3],
        text("user_data"),
        vec![0xf6],
        text("nonce"),
        vec![0x58, 64],
        nonce.to_vec(),
        text("public_key"),
        vec![0xf6],
    ]
    .concat()
}

/// `{"Attestation": {"document": h'…'}}`, or `{"Error": "…"}`.
fn document(answer: &[u8]) -> Result<Vec<u8>, AttesterError> {
    if let Some(error) = answer.strip_prefix(b"\xa1\x65Error") {
        let words = error.iter().skip(1).filter(|byte| byte.is_ascii_alphanumeric()).take(60);
        return Err(AttesterError::Refused(words.map(|byte| char::from(*byte)).collect()));
    }
    let rest = answer.strip_prefix(b"\xa1\x6bAttestation\xa1\x68document").ok_or(AttesterError::Answer)?;
    let (size, bytes) = match rest {
        [0x58, size, bytes @ ..] => (usize::from(*size), bytes),
        [0x59, high, low, bytes @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), bytes),
        _ => return Err(AttesterError::Answer),
    };
    if bytes.len() == size { Ok(bytes.to_vec()) } else { Err(AttesterError::Answer) }
}

pub(crate) const DEVICE: &str = "dev/nsm";

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    /// A module that answers as a real one does, with a document around the nonce it was sent.
    struct Emulated(fn(Vec<u8>) -> Vec<u8>);

    impl SecurityModule for Emulated {
        fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
            let at = request.windows(8).position(|window| window == b"\x65nonce\x58\x40").unwrap() + 8;
            Ok((self.0)(request.get(at..at + 64).unwrap().to_vec()))
        }
    }

    fn answer(nonce: &[u8]) -> Vec<u8> {
        let document = [&[1; 100], nonce, &[2; 300]].concat();
        let size = u16::try_from(document.len()).unwrap().to_be_bytes();
        [b"\xa1\x6bAttestation\xa1\x68document\x59".as_slice(), &size, &document].concat()
    }

    #[test]
    fn the_document_is_taken_out_and_is_about_this_request() {
        let evidence = Nitro::with(Emulated(|nonce| answer(&nonce))).attest(&[7; 64]).unwrap();
        assert_eq!(evidence.parts.get("document").unwrap().len(), 464);
        let other = Nitro::with(Emulated(|_| answer(&[8; 64]))).attest(&[7; 64]);
        assert!(matches!(other, Err(AttesterError::NotBound)));
    }

    #[test]
    fn a_refusal_and_an_answer_that_is_cut_are_named() {
        let refused = Nitro::with(Emulated(|_| b"\xa1\x65Error\x6fInvalidArgument".to_vec())).attest(&[7; 64]);
        assert!(matches!(refused, Err(AttesterError::Refused(word)) if word == "InvalidArgument"));
        for size in 0..answer(&[7; 64]).len() {
            let whole = answer(&[7; 64]);
            assert!(matches!(document(whole.get(..size).unwrap()), Err(AttesterError::Answer)), "{size}");
        }
    }
}
