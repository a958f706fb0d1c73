//! The TPM's keys: who it is, what it signs with, and the proof that both belong together.
//!
//! The endorsement key names the TPM and is certified by its maker; it never signs. The attestation key signs quotes;
//! [`Tpm::activate_credential`] opens a challenge that only a TPM holding *both* can open, which is how a broker comes to
//! know whose attestation key it sees. Attestation keys are saved as blobs that only the same TPM can load again.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::command::{Authorization, Code};
use crate::error::{AUTH_FAIL, BAD_AUTH, ECC_POINT, FAILURE, HANDLE, INTEGRITY, SIZE, TpmError, VALUE};
use crate::marshal::{Malformed, Reader, Writer};
use crate::pcr::PcrSelection;
use crate::template::{self, EndorsementKind};
use crate::tpm::Tpm;

/// The key that names a TPM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndorsementKey {
    /// Which template it was made from.
    pub kind: EndorsementKind,
    /// The public area (TPMT_PUBLIC).
    pub public: Vec<u8>,
    /// The maker's certificate (DER), when the TPM carries one; its public key is this key's.
    pub certificate: Option<Vec<u8>>,
}

/// The kinds of attestation key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// NIST P-256, ECDSA with SHA-256: five times as fast as RSA in a TPM.
    #[default]
    EccP256,
    /// RSA with 2048 bits, RSASSA with SHA-256.
    Rsa2048,
}

/// A key's blobs: loadable only by the TPM that made it. The private part is encrypted by the TPM and needs no secrecy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedKey {
    /// The public area (TPMT_PUBLIC).
    #[serde(with = "hex_bytes")]
    pub(crate) public: Vec<u8>,
    /// The private area (content of TPM2B_PRIVATE).
    #[serde(with = "hex_bytes")]
    pub(crate) private: Vec<u8>,
    /// The persistent handle of the storage key above it; without one, the key made from our own template.
    pub(crate) parent: Option<u32>,
}

impl SavedKey {
    /// The public area (TPMT_PUBLIC).
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The private area (content of TPM2B_PRIVATE), which only the TPM that made it can read.
    #[must_use]
    pub fn private(&self) -> &[u8] {
        &self.private
    }
}

/// An attestation key that is loaded in a TPM. It stays loaded until [`Tpm::flush`], or until the connection's end
/// where the kernel manages the TPM.
pub struct AttestationKey {
    handle: u32,
    name: Vec<u8>,
    saved: SavedKey,
}

impl AttestationKey {
    /// The public area (TPMT_PUBLIC).
    #[must_use]
    pub fn public(&self) -> &[u8] {
        &self.saved.public
    }

    /// The Name: algorithm number (two bytes) and digest of the public area (TPM 2.0 Part 1, section 16).
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// What to keep in order to load the key again.
    #[must_use]
    pub fn saved(&self) -> &SavedKey {
        &self.saved
    }
}

impl fmt::Debug for AttestationKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "AttestationKey({})", hex::encode(&self.name))
    }
}

/// What the TPM says about its registers, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// The signed statement (TPMS_ATTEST), byte for byte as the TPM made it.
    pub attest: Vec<u8>,
    /// The signature over it (TPMT_SIGNATURE).
    pub signature: Vec<u8>,
}

impl Tpm {
    /// The endorsement key, with its certificate where the TPM carries one. A key with a certificate goes before one
    /// without; among several the order of [`EndorsementKind::ALL`] decides.
    ///
    /// # Errors
    /// [`TpmError::EndorsementMismatch`] when a certificate is not for the key; [`TpmError::NoEndorsementKey`] when no
    /// known template works.
    pub fn endorsement_key(&mut self) -> Result<EndorsementKey, TpmError> {
        for kind in EndorsementKind::ALL {
            if let Some(key) = self.endorsement_key_of(kind)?.filter(|key| key.certificate.is_some()) {
                return Ok(key);
            }
        }
        for kind in [EndorsementKind::EccP256, EndorsementKind::Rsa2048] {
            match self.endorsement_public(kind) {
                Ok(public) => {
                    return Ok(EndorsementKey { kind, public, certificate: None });
                }
                Err(TpmError::Refused { code, .. }) if !matches!(code.base(), AUTH_FAIL | BAD_AUTH) => {}
                Err(error) => return Err(error),
            }
        }
        Err(TpmError::NoEndorsementKey)
    }

    /// The endorsement key of one kind with its certificate, or nothing when the TPM carries no certificate of that kind.
    ///
    /// # Errors
    /// As [`Tpm::endorsement_key`].
    pub fn endorsement_key_of(&mut self, kind: EndorsementKind) -> Result<Option<EndorsementKey>, TpmError> {
        let index = kind.certificate_index();
        let Some(stored) = self.read_nv(index)? else {
            return Ok(None);
        };
        let unreadable = || TpmError::EndorsementUnreadable { index };
        // The area may be larger than the certificate; what follows is filling.
        let (rest, certificate) = x509_parser::parse_x509_certificate(&stored).map_err(|_| unreadable())?;
        let public = self.endorsement_public(kind)?;
        let expected = kind.subject_public_key(&public).map_err(TpmError::malformed(Code::ReadPublic.name()))?;
        if certificate.public_key().subject_public_key.data.as_ref() != expected {
            return Err(TpmError::EndorsementMismatch { index });
        }
        let length = stored.len().saturating_sub(rest.len());
        let certificate = stored.get(..length).ok_or_else(unreadable)?.to_vec();
        Ok(Some(EndorsementKey { kind, public, certificate: Some(certificate) }))
    }

    /// Makes a new attestation key and loads it.
    ///
    /// # Errors
    /// What the connection or the TPM meets; a TPM whose owner set a password is refused with a hint.
    pub fn attestation_key(&mut self, kind: KeyKind) -> Result<AttestationKey, TpmError> {
        let template = template::attestation_key(kind);
        let saved = self.with_storage_key(|tpm, storage, parent| {
            let (public, private) = tpm.create(storage, &[], &template)?;
            Ok(SavedKey { public, private, parent })
        })?;
        self.load(&saved)
    }

    /// Loads a key that was saved.
    ///
    /// # Errors
    /// [`TpmError::ForeignBlob`] when another TPM made it or it was altered.
    pub fn load(&mut self, saved: &SavedKey) -> Result<AttestationKey, TpmError> {
        let (handle, name) = self.load_blob(saved)?;
        Ok(AttestationKey { handle, name, saved: saved.clone() })
    }

    /// Removes a key from the TPM's memory; its saved form stays good.
    ///
    /// # Errors
    /// What the connection or the TPM meets.
    pub fn flush(&mut self, key: AttestationKey) -> Result<(), TpmError> {
        self.flush_handle(key.handle)
    }

    /// Opens a challenge made for `endorsement` and `attestation` together (TPM 2.0 Part 1, section 24). `id_object` is a
    /// TPM2B_ID_OBJECT and `encrypted_secret` a TPM2B_ENCRYPTED_SECRET, with their lengths in front.
    ///
    /// # Errors
    /// [`TpmError::CredentialRefused`] when it was made for another pair of keys, or altered.
    pub fn activate_credential(
        &mut self,
        endorsement: &EndorsementKey,
        attestation: &AttestationKey,
        id_object: &[u8],
        encrypted_secret: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, TpmError> {
        let whole = |bytes, what| {
            let mut reader = Reader::new(bytes);
            reader.sized(what).and_then(|_| reader.end(what)).map_err(|_| TpmError::CredentialMalformed { what })
        };
        whole(id_object, "TPM2B_ID_OBJECT")?;
        whole(encrypted_secret, "TPM2B_ENCRYPTED_SECRET")?;
        let key = self.load_endorsement(endorsement)?;
        self.with_handle(key, |tpm, key| {
            let session = tpm.start_session(Session::Policy, endorsement.kind.name_algorithm())?;
            tpm.with_handle(session, |tpm, session| {
                tpm.satisfy_endorsement_policy(endorsement.kind, session)?;
                let authorizations = [Authorization::Empty, Authorization::Policy(session)];
                let parameters = Writer::new().bytes(id_object).bytes(encrypted_secret);
                tpm.run(
                    Code::ActivateCredential,
                    &[attestation.handle, key],
                    &authorizations,
                    parameters,
                    |_, reader| Ok(Zeroizing::new(reader.sized("credential")?.to_vec())),
                )
                .map_err(credential_error)
            })
        })
    }

    /// Signs the selected registers together with `qualifying` (at most 64 bytes, a digest that the Verifier knows).
    ///
    /// # Errors
    /// [`TpmError::QualifyingTooLong`], or what the connection or the TPM meets.
    pub fn quote(
        &mut self,
        key: &AttestationKey,
        qualifying: &[u8],
        selection: &PcrSelection,
    ) -> Result<Quote, TpmError> {
        if qualifying.len() > MAX_QUALIFYING {
            return Err(TpmError::QualifyingTooLong { length: qualifying.len() });
        }
        let parameters = selection.write(Writer::new().sized(qualifying).u16(template::NULL));
        self.run(Code::Quote, &[key.handle], &[Authorization::Empty], parameters, |_, reader| {
            Ok(Quote { attest: reader.sized("statement")?.to_vec(), signature: reader.rest().to_vec() })
        })
    }

    /// Runs `work` with the storage key's handle, and the persistent handle it has, if any.
    pub(crate) fn with_storage_key<T>(
        &mut self,
        work: impl FnOnce(&mut Tpm, u32, Option<u32>) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        match self.create_primary(OWNER, &template::storage_key()) {
            Ok((handle, _)) => self.with_handle(handle, |tpm, handle| work(tpm, handle, None)),
            // An owner password is set: the storage key that the machine keeps for everybody serves as well.
            Err(error) if matches!(error.base_code(), Some(AUTH_FAIL | BAD_AUTH)) => {
                match self.read_public(STORAGE_KEY)? {
                    Some(_) => work(self, STORAGE_KEY, Some(STORAGE_KEY)),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Creates an object under `parent`; returns its public and private area.
    pub(crate) fn create(
        &mut self,
        parent: u32,
        sensitive: &[u8],
        template: &Writer,
    ) -> Result<(Vec<u8>, Vec<u8>), TpmError> {
        let parameters = creation(sensitive, template);
        self.run(Code::Create, &[parent], &[Authorization::Empty], parameters, |_, reader| {
            let private = reader.sized("private area")?.to_vec();
            let public = reader.sized("public area")?.to_vec();
            Ok((public, private))
        })
    }

    /// Loads an object; returns its handle and name.
    pub(crate) fn load_blob(&mut self, saved: &SavedKey) -> Result<(u32, Vec<u8>), TpmError> {
        let parameters = || Writer::new().sized(&saved.private).sized(&saved.public);
        let load = |tpm: &mut Tpm, parent: u32| {
            tpm.run(Code::Load, &[parent], &[Authorization::Empty], parameters(), |handle, reader| {
                Ok((handle, reader.sized("name")?.to_vec()))
            })
        };
        let loaded = match saved.parent {
            Some(parent) => load(self, parent),
            None => {
                let (storage, _) = self.create_primary(OWNER, &template::storage_key())?;
                self.with_handle(storage, load)
            }
        };
        loaded.map_err(blob_error)
    }

    /// Opens a session whose digests are of algorithm `hash`; returns its handle.
    pub(crate) fn start_session(&mut self, kind: Session, hash: u16) -> Result<u32, TpmError> {
        // The nonce is unused without an HMAC, but the TPM wants sixteen bytes.
        let parameters = Writer::new().sized(&[0; 16]).sized(&[]).u8(kind as u8).u16(template::NULL).u16(hash);
        self.run(Code::StartAuthSession, &[NULL_HANDLE, NULL_HANDLE], &[], parameters, |handle, _| Ok(handle))
    }

    fn satisfy_endorsement_policy(&mut self, kind: EndorsementKind, session: u32) -> Result<(), TpmError> {
        let parameters = Writer::new().sized(&[]).sized(&[]).sized(&[]).u32(0);
        self.run(Code::PolicySecret, &[ENDORSEMENT, session], &[Authorization::Empty], parameters, |_, _| Ok(()))?;
        if let Some(branches) = kind.policy_branches() {
            let list = branches.iter().fold(Writer::new().u32(2), |list, branch| list.sized(branch));
            self.run(Code::PolicyOr, &[session], &[], list, |_, _| Ok(()))?;
        }
        Ok(())
    }

    /// The public area of the endorsement key of one kind: the persistent one, else the one that the template makes.
    fn endorsement_public(&mut self, kind: EndorsementKind) -> Result<Vec<u8>, TpmError> {
        for handle in kind.persistent_handles() {
            if let Some(public) = self.read_public(*handle)?.filter(|public| kind.subject_public_key(public).is_ok()) {
                return Ok(public);
            }
        }
        let (handle, public) = self.create_primary(ENDORSEMENT, &kind.template())?;
        self.flush_handle(handle)?;
        Ok(public)
    }

    fn load_endorsement(&mut self, key: &EndorsementKey) -> Result<u32, TpmError> {
        for handle in key.kind.persistent_handles() {
            if self.read_public(*handle)?.as_ref() == Some(&key.public) {
                return Ok(*handle);
            }
        }
        let (handle, public) = self.create_primary(ENDORSEMENT, &key.kind.template())?;
        if public == key.public {
            return Ok(handle);
        }
        self.flush_handle(handle)?;
        Err(TpmError::ForeignBlob)
    }

    fn create_primary(&mut self, hierarchy: u32, template: &Writer) -> Result<(u32, Vec<u8>), TpmError> {
        let parameters = creation(&[], template);
        self.run(Code::CreatePrimary, &[hierarchy], &[Authorization::Empty], parameters, |handle, reader| {
            Ok((handle, reader.sized("public area")?.to_vec()))
        })
    }

    fn read_public(&mut self, handle: u32) -> Result<Option<Vec<u8>>, TpmError> {
        let read = self.run(Code::ReadPublic, &[handle], &[], Writer::new(), |_, reader| {
            Ok(reader.sized("public area")?.to_vec())
        });
        absent(read)
    }

    /// The whole content of an NV index that anybody may read, or nothing when there is none.
    ///
    /// # Errors
    /// What the connection or the TPM meets.
    pub fn read_nv(&mut self, index: u32) -> Result<Option<Vec<u8>>, TpmError> {
        let size =
            self.run(Code::NvReadPublic, &[index], &[], Writer::new(), |_, reader| nv_size(reader.sized("NV public")?));
        let Some(size) = absent(size)? else {
            return Ok(None);
        };
        let mut content = Vec::new();
        while let Ok(offset) = u16::try_from(content.len())
            && offset < size
        {
            let count = (size - offset).min(NV_CHUNK);
            let parameters = Writer::new().u16(count).u16(offset);
            let part = self.run(Code::NvRead, &[index, index], &[Authorization::Empty], parameters, |_, reader| {
                Ok(reader.sized("NV data")?.to_vec())
            })?;
            if part.len() != usize::from(count) {
                return Err(TpmError::Malformed { command: Code::NvRead.name(), what: "NV data" });
            }
            content.extend_from_slice(&part);
        }
        Ok(Some(content))
    }
}

/// The kinds of session in use (TPM_SE).
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum Session {
    /// Authorizes a command.
    Policy = 1,
    /// Computes a policy's digest.
    Trial = 3,
}

/// Bytes as hexadecimal text in documents.
pub(crate) mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        hex::decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Parameters of TPM2_Create and TPM2_CreatePrimary: no authorization value, the secret if any, the template.
fn creation(sensitive: &[u8], template: &Writer) -> Writer {
    let secret = Writer::new().sized(&[]).sized(sensitive);
    Writer::new().sized(secret.as_bytes()).sized(template.as_bytes()).sized(&[]).u32(0)
}

/// The data size in a TPMS_NV_PUBLIC.
fn nv_size(public: &[u8]) -> Result<u16, Malformed> {
    let mut reader = Reader::new(public);
    reader.u32("NV index")?;
    reader.u16("NV name algorithm")?;
    reader.u32("NV attributes")?;
    reader.sized("NV policy")?;
    reader.u16("NV size")
}

/// An object that the TPM does not have is no error where it may be missing.
pub(crate) fn absent<T>(outcome: Result<T, TpmError>) -> Result<Option<T>, TpmError> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.base_code(), Some(HANDLE | NV_UNINITIALIZED)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// FAILURE is what libtpms says when the RSA padding is wrong; it works on. A TPM in failure mode says so again next time.
fn credential_error(error: TpmError) -> TpmError {
    match error {
        TpmError::Refused { code, .. } if matches!(code.base(), INTEGRITY | VALUE | SIZE | ECC_POINT | FAILURE) => {
            TpmError::CredentialRefused { code }
        }
        other => other,
    }
}

fn blob_error(error: TpmError) -> TpmError {
    match error.base_code() {
        Some(INTEGRITY | SIZE | VALUE) => TpmError::ForeignBlob,
        _ => error,
    }
}

const OWNER: u32 = 0x4000_0001;
const NULL_HANDLE: u32 = 0x4000_0007;
const ENDORSEMENT: u32 = 0x4000_000b;
/// The machine's shared storage key (TCG Provisioning Guidance, section 7.8).
const STORAGE_KEY: u32 = 0x8100_0001;
const NV_UNINITIALIZED: u32 = 0x14a;
/// Bytes per TPM2_NV_Read; the smallest buffer of TPMs in use.
const NV_CHUNK: u16 = 512;
/// TPM2B_DATA holds a digest of the largest kind.
const MAX_QUALIFYING: usize = 64;
