//! The document that both kinds share: form, chain, signature and time (steps 1 to 5).

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Kind, NitroError};
use crate::{
    cbor::{Form, Value},
    certificate::{Certificate, CertificateFault, ChainError, TrustAnchor, check_chain},
    cose::Sign1,
    keys::{Algorithm, VerificationKey},
    platform::Steps,
};

/// A document whose origin and time have been checked.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) module_id: String,
    pub(super) timestamp: u64,
    pub(super) pcrs: BTreeMap<u8, Vec<u8>>,
    pub(super) nonce: Option<Vec<u8>>,
    pub(super) user_data: Option<Vec<u8>>,
    pub(super) public_key: Option<Vec<u8>>,
    certificate: Vec<u8>,
    cabundle: Vec<Vec<u8>>,
}

impl Document {
    pub(super) fn open(
        bytes: &[u8],
        kind: Kind,
        anchors: &[TrustAnchor],
        now: Timestamp,
        steps: &mut Steps,
    ) -> Result<Document, NitroError> {
        if bytes.len() > MAX_SIZE {
            return Err(NitroError::TooLarge(bytes.len()));
        }
        let envelope = Sign1::parse(bytes).map_err(NitroError::Envelope)?;
        if envelope.algorithm() != Algorithm::Es384 {
            return Err(NitroError::Algorithm(envelope.algorithm().name()));
        }
        if !envelope.unprotected_is_empty() {
            return Err(NitroError::Unprotected);
        }
        steps.pass(1, "a COSE_Sign1 with ES384 and nothing outside of the signature");
        let document = Document::read(envelope.payload(), kind)?;
        steps.pass(2, "every field is of its specified type and size, and none is unknown");
        document.check_origin(&envelope, anchors, now, steps)?;
        Ok(document)
    }

    pub(super) fn pcr(&self, index: u8) -> Option<&[u8]> {
        self.pcrs.get(&index).map(Vec::as_slice)
    }

    /// Step 2. Lengths may be indefinite inside the signature: NitroTPM and newer enclaves write them so; the envelope is strict.
    fn read(payload: &[u8], kind: Kind) -> Result<Document, NitroError> {
        let registers = match kind {
            Kind::Enclave => "pcrs",
            Kind::Tpm => "nitrotpm_pcrs",
        };
        let value = Value::parse(payload, Form::Plain).map_err(NitroError::Payload)?;
        let entries = value.map().ok_or(NitroError::Field("payload"))?;
        let known = |key: &Value<'_>| key.text().is_some_and(|key| FIELDS.contains(&key) || key == registers);
        let need = |name| value.named(name).ok_or(NitroError::Missing(name));
        let pcrs = pcrs(need(registers)?, registers)?;
        if !entries.iter().all(|(key, _)| known(key)) {
            return Err(NitroError::UnknownField);
        }
        let module_id = need("module_id")?.text().filter(|id| !id.is_empty() && id.len() <= MAX_MODULE_ID);
        let module_id = module_id.filter(|id| id.bytes().all(|byte| byte.is_ascii_graphic()));
        let timestamp = need("timestamp")?.unsigned().filter(|time| *time > 0);
        if need("digest")?.text() != Some("SHA384") {
            return Err(NitroError::Field("digest"));
        }
        let certificate = bytes(need("certificate")?, "certificate", 1..=MAX_CERTIFICATE)?;
        let bundle = need("cabundle")?.array().ok_or(NitroError::Field("cabundle"))?;
        if !(1..=MAX_BUNDLE).contains(&bundle.len()) {
            return Err(NitroError::Field("cabundle"));
        }
        let cabundle =
            bundle.iter().map(|item| bytes(item, "cabundle", 1..=MAX_CERTIFICATE)).collect::<Result<_, _>>()?;
        let optional = |name, range| match value.named(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => bytes(value, name, range).map(Some),
        };
        Ok(Document {
            module_id: module_id.ok_or(NitroError::Field("module_id"))?.to_owned(),
            timestamp: timestamp.ok_or(NitroError::Field("timestamp"))?,
            pcrs,
            nonce: optional("nonce", 0..=MAX_DATA)?,
            user_data: optional("user_data", 0..=MAX_DATA)?,
            public_key: optional("public_key", 1..=MAX_DATA)?,
            certificate,
            cabundle,
        })
    }

    /// Steps 3 to 5.
    fn check_origin(
        &self,
        envelope: &Sign1,
        anchors: &[TrustAnchor],
        now: Timestamp,
        steps: &mut Steps,
    ) -> Result<(), NitroError> {
        // The bundle begins with the root; the chain is walked from the leaf.
        let ders = std::iter::once(&self.certificate).chain(self.cabundle.iter().rev());
        let mut chain = Vec::new();
        for (at, der) in ders.enumerate() {
            let fault = |fault| NitroError::Chain(ChainError { at, subject: String::new(), fault });
            chain.push(Certificate::parse(der).map_err(fault)?);
        }
        check_chain(&chain, anchors, now).map_err(NitroError::Chain)?;
        let leaf = chain.first().ok_or(NitroError::Leaf)?;
        let key = leaf_key(leaf)?;
        steps.pass(
            3,
            "the certificates lead, in the bundle's order, to the pinned root and are valid at the given time",
        );
        envelope.verify(&key).map_err(|_| NitroError::Signature)?;
        steps.pass(4, "the leaf's key signed the document");
        let made = i64::try_from(self.timestamp).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
        let made = made.ok_or(NitroError::Field("timestamp"))?;
        match leaf.check_validity(made) {
            Ok(()) => {}
            Err(CertificateFault::NotYetValid | CertificateFault::Expired) => return Err(NitroError::Timestamp),
            Err(_) => return Err(NitroError::Leaf),
        }
        if made.as_second() > now.as_second().saturating_add(LEEWAY) {
            return Err(NitroError::Future);
        }
        steps.pass(5, "the document was made while its certificate was valid, and not after the given time");
        Ok(())
    }
}

/// The leaf's key, if the leaf may sign documents and nothing else.
fn leaf_key(leaf: &Certificate<'_>) -> Result<VerificationKey, NitroError> {
    let constraints = leaf.parsed().basic_constraints().map_err(|_| NitroError::Leaf)?;
    let usage = leaf.parsed().key_usage().map_err(|_| NitroError::Leaf)?;
    let is_authority = constraints.is_some_and(|constraints| constraints.value.ca);
    let signs = usage.is_none_or(|usage| usage.value.digital_signature() && !usage.value.key_cert_sign());
    let key = VerificationKey::from_info(leaf.key()).map_err(|_| NitroError::Leaf)?;
    if is_authority || !signs || !key.is_p384() { Err(NitroError::Leaf) } else { Ok(key) }
}

fn pcrs(value: &Value<'_>, name: &'static str) -> Result<BTreeMap<u8, Vec<u8>>, NitroError> {
    let entries = value.map().ok_or(NitroError::Field(name))?;
    if !(1..=32).contains(&entries.len()) {
        return Err(NitroError::Field(name));
    }
    let mut pcrs = BTreeMap::new();
    for (index, value) in entries {
        let index = index.unsigned().and_then(|index| u8::try_from(index).ok()).filter(|index| *index < 32);
        // The specification also knows 32 and 64 bytes; the only digest it admits has 48.
        let value = bytes(value, name, 48..=48)?;
        pcrs.insert(index.ok_or(NitroError::Field(name))?, value);
    }
    Ok(pcrs)
}

fn bytes(value: &Value<'_>, name: &'static str, range: std::ops::RangeInclusive<usize>) -> Result<Vec<u8>, NitroError> {
    let bytes = value.bytes().filter(|bytes| range.contains(&bytes.len()));
    bytes.map(<[u8]>::to_vec).ok_or(NitroError::Field(name))
}

const FIELDS: [&str; 8] =
    ["module_id", "digest", "timestamp", "certificate", "cabundle", "public_key", "user_data", "nonce"];
const MAX_SIZE: usize = 32 * 1024;
const MAX_MODULE_ID: usize = 256;
const MAX_CERTIFICATE: usize = 1024;
const MAX_BUNDLE: usize = 8;
const MAX_DATA: usize = 1024;
/// How far the hypervisor's clock may be ahead, in seconds.
const LEEWAY: i64 = 60;
