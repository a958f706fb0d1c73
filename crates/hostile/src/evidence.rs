//! Structures that several platforms share: TPM, logs, COSE, tokens, certificates.

use std::sync::LazyLock;

use attest::{
    HashAlgorithm, PcrValue,
    ccel::CcEventLog,
    certificate::{Certificate, RevocationList, TrustAnchor, check_chain},
    corim::{SignedCorim, UnsignedCorim},
    ear::{jwt::Unverified, verify::VerifiedEar},
    event_log::EventLog,
    ima::MeasurementList,
    keys::VerificationKey,
    roots::Authority,
    tpm::{PublicKey, QuoteEvidence, Signature, TpmPublic},
};

use crate::{Fields, signed};

/// TPM structures: quotes, signatures, public areas.
pub fn quote(bytes: &[u8]) {
    let _ = attest::tpm::Quote::parse(bytes);
    let _ = Signature::parse(bytes);
    let _ = TpmPublic::parse(bytes);
}

/// A quote with all that goes with it, under a key by itself and under one that Google certified.
pub fn vtpm(bytes: &[u8]) {
    let Some((now, mut fields)) = Fields::at_a_time(bytes) else { return };
    let [key, chain, message, signature, values] = std::array::from_fn(|_| fields.file_or_empty());
    let pcrs = pcrs(values);
    let quote = QuoteEvidence { message, signature, pcrs: &pcrs, event_log: fields.file() };
    let key = PublicKey::from_spki(key);
    if let Some(key) = &key {
        let _ = attest::tpm::examine(&quote, key, now);
    }
    let _ = attest::gcp::examine(&quote, key.as_ref(), chain, &GOOGLE, now);
}

/// Evidence documents as they travel.
pub fn evidence(bytes: &[u8]) {
    let _ = envelope::canonical::from_slice_loose::<attest::Evidence>(bytes);
    let _ = envelope::canonical::from_slice_loose::<attest::AppraisalPolicy>(bytes);
}

/// TCG event logs: parsed, replayed, their data checked and told.
pub fn event_log(bytes: &[u8]) {
    if let Ok(log) = EventLog::parse(bytes) {
        for bank in log.banks() {
            let _ = log.replay(bank);
            let _ = log.check_data(bank);
            let _ = log.describe(bank);
        }
        let _ = log.encode();
    }
}

/// Event logs of confidential machines, both forms: parsed, replayed, checked, told.
pub fn ccel(bytes: &[u8]) {
    if let Ok(log) = CcEventLog::parse(bytes) {
        let replayed = log.replay();
        let registers: Vec<&[u8]> = (0..4).map(|rtmr| replayed.get(&rtmr).map_or(&[][..], Vec::as_slice)).collect();
        assert_eq!(log.check_replay(&registers), Ok(()));
        let _ = log.check_order();
        let _ = log.check_data();
        assert_eq!(log.describe().events.len(), log.events().len());
    }
}

/// IMA's measurement lists: parsed, replayed.
pub fn ima(bytes: &[u8]) {
    if let Ok(list) = MeasurementList::parse(bytes) {
        let value = list.replay(10, HashAlgorithm::Sha256);
        assert_eq!(list.check_replay(10, HashAlgorithm::Sha256, &value), Ok(()));
    }
}

/// What kind of thing some bytes are.
pub fn detect(bytes: &[u8]) {
    assert!(!attest::detect::detect(bytes).words().is_empty());
}

/// COSE messages and keys, and with them CBOR in its strict reading.
pub fn cose(bytes: &[u8]) {
    let _ = VerificationKey::from_cose_key(bytes);
    assert!(VerifiedEar::from_cwt(bytes, &[], jiff::Timestamp::UNIX_EPOCH).is_err());
    let _ = SignedCorim::open(bytes, &[signed::key().clone()]);
}

/// CoRIMs, bare and signed, and with them CBOR in its lenient reading.
pub fn corim(bytes: &[u8]) {
    let bare = UnsignedCorim::parse(bytes);
    let signed = SignedCorim::open(&signed::cose(bytes), &[signed::key().clone()]);
    assert_eq!(bare.as_ref().ok(), signed.as_ref().ok().map(SignedCorim::corim));
    let Ok(signed) = signed else { return };
    if let Some(until) = signed.corim().not_after
        && let Ok(current) = signed.current(until)
    {
        let _ = current.reference_values_of(&"00".repeat(32));
    }
}

/// JWT: as they come, and as claims that a trusted key signed.
pub fn jwt(bytes: &[u8]) {
    let Some((now, fields)) = Fields::at_a_time(bytes) else { return };
    if let Ok(text) = std::str::from_utf8(fields.rest())
        && let Ok(token) = Unverified::parse(text)
    {
        assert!(token.verify(&[], now).is_err());
    }
    let token = signed::jwt(fields.rest());
    if let Ok(ear) = VerifiedEar::from_jwt(&token, &signed::issuers(), now) {
        let _ = (ear.status(), ear.ear());
    }
}

/// EAR in CWT: as they come, and as claims that a trusted key signed.
pub fn cwt(bytes: &[u8]) {
    let Some((now, fields)) = Fields::at_a_time(bytes) else { return };
    assert!(VerifiedEar::from_cwt(fields.rest(), &[], now).is_err());
    let Ok(ear) = VerifiedEar::from_cwt(&signed::cose(fields.rest()), &signed::issuers(), now) else { return };
    // What was read can be written, and says the same.
    let written = ear.ear().to_cwt(ear.algorithm(), |bytes| Ok::<_, ()>(signed::signature(bytes)));
    if let Ok(written) = written {
        let again = VerifiedEar::from_cwt(&written, &signed::issuers(), now);
        assert_eq!(again.map(|again| again.ear().clone()), Ok(ear.ear().clone()));
    }
}

/// Certificates, chains and revocation lists, in DER and PEM.
pub fn certificate(bytes: &[u8]) {
    let Some((now, mut fields)) = Fields::at_a_time(bytes) else { return };
    let (chain, list) = (fields.file_or_empty(), fields.file_or_empty());
    let _ = TrustAnchor::pin(chain);
    let _ = RevocationList::claimed_period(list);
    let _ = RevocationList::claimed_issuer(list);
    let Ok(ders) = Certificate::split(chain) else { return };
    let parsed: Result<Vec<_>, _> = ders.iter().map(|der| Certificate::parse(der)).collect();
    let Ok(certificates) = parsed else { return };
    for certificate in &certificates {
        let _ = (certificate.serial(), certificate.common_name(), certificate.check_validity(now));
        let _ = VerificationKey::from_spki(certificate.key().raw);
        let _ = attest::intel::PckExtension::of(certificate);
    }
    // The last of the input's own is pinned, so that the chain is walked to its end.
    let own = certificates.last().and_then(|last| TrustAnchor::pin(last.der()).ok());
    let _ = check_chain(&certificates, own.as_slice(), now);
    if let Some(issuer) = certificates.last()
        && let Ok(der) = RevocationList::der(list)
        && let Ok(list) = RevocationList::check(&der, issuer, now)
    {
        let _ = certificates.iter().any(|certificate| list.revokes(certificate));
    }
}

/// Public keys: SubjectPublicKeyInfo, PEM, JWK, COSE_Key, points.
pub fn keys(bytes: &[u8]) {
    let _ = VerificationKey::from_spki(bytes);
    let _ = VerificationKey::from_point(bytes);
    let _ = VerificationKey::from_cose_key(bytes);
    let _ = PublicKey::from_spki(bytes);
    // Its caller reads the JSON, and bounds it.
    if bytes.len() <= 64 << 10
        && let Ok(jwk) = serde_json::from_slice(bytes)
    {
        let _ = VerificationKey::from_jwk(&jwk);
    }
}

/// Registers of the SHA-256 bank, each an index and 32 bytes.
pub(crate) fn pcrs(bytes: &[u8]) -> Vec<PcrValue> {
    let values = bytes.chunks_exact(33).filter_map(<[u8]>::split_first);
    values
        .map(|(index, value)| PcrValue { bank: HashAlgorithm::Sha256, index: *index, value: value.to_vec() })
        .collect()
}

static GOOGLE: LazyLock<Vec<TrustAnchor>> = LazyLock::new(|| Authority::GcpVtpm.anchors());
