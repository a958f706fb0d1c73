//! A quote of a TPM as Evidence of its own: by a key that somebody vouches for, over registers that are shown.
//!
//! This is what a quote proves wherever its key comes from: [`QuoteEvidence::check`] takes the attestation key as an argument, and who
//! vouches for it is told by the caller (a certificate chain, the report of a confidential machine, an enrolment). The signature
//! comes in several spellings in the field: TPMT_SIGNATURE, bare RSA, or ECDSA in DER or as r ‖ s; each is brought to the first, and the key decides
//! which schemes can be meant. Registers of the SHA-1 bank are shown as claims and offered to no policy.

use jiff::Timestamp;
use x509_parser::{prelude::FromDer, x509::SubjectPublicKeyInfo};

use super::{Curve, PublicKey, Quote, QuoteError, check_quote};
use crate::{
    AppraisalError, HashAlgorithm, PcrValue, Tier,
    event_log::{EventLog, ReplayError},
    platform::{Assurance, Claim, Genuine, Platform, Refusal, Register, Steps, claim, claim_hex},
    reader::FormatError,
};

/// A quote with its registers.
#[derive(Debug, Clone, Copy)]
pub struct QuoteEvidence<'a> {
    /// TPMS_ATTEST.
    pub message: &'a [u8],
    /// The signature: TPMT_SIGNATURE, bare RSA, or ECDSA in DER or as r ‖ s of the curve's size.
    pub signature: &'a [u8],
    /// The value of every selected register.
    pub pcrs: &'a [PcrValue],
    /// The firmware's log, where there is one.
    pub event_log: Option<&'a [u8]>,
}

/// Why a quote is refused. Numbers are the steps of `docs/spec/platforms/tpm.md`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuoteFault {
    /// Step 1: the key is no key of a kind that is accepted.
    #[error("the attestation key is not RSA of at least 2048 bits with exponent 65537, nor on P-256 or P-384")]
    Key,
    /// Step 1: the signature is no signature of that key's kind.
    #[error("the signature is not one that this key could make")]
    SignatureForm,
    /// Steps 2 to 4.
    #[error("the quote does not hold")]
    Quote(#[source] AppraisalError),
    /// Step 5: the log is no log.
    #[error("the event log cannot be read")]
    Log(#[source] FormatError),
    /// Step 5: the log replays to other values.
    #[error("the event log does not replay to register {0}")]
    Replay(u8),
    /// Step 5: the log cannot be replayed, or its data is not what was measured.
    #[error("the event log does not stand for the registers")]
    LogReplay(#[source] ReplayError),
}

impl Refusal for QuoteFault {
    fn step(&self) -> u8 {
        match self {
            QuoteFault::Key | QuoteFault::SignatureForm => 1,
            QuoteFault::Quote(AppraisalError::Signature) => 2,
            QuoteFault::Quote(AppraisalError::PcrDigest) => 4,
            QuoteFault::Quote(AppraisalError::PcrValueMissing { .. } | AppraisalError::PcrValueUnexpected { .. }) => 4,
            QuoteFault::Quote(_) => 3,
            QuoteFault::Log(_) | QuoteFault::Replay(_) | QuoteFault::LogReplay(_) => 5,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            QuoteFault::Key => "attestation-key-unfit",
            QuoteFault::SignatureForm | QuoteFault::Quote(AppraisalError::Signature) => "signature-invalid",
            QuoteFault::Quote(AppraisalError::PcrDigest) => "pcr-digest-mismatch",
            QuoteFault::Quote(AppraisalError::PcrValueMissing { .. } | AppraisalError::PcrValueUnexpected { .. }) => {
                "pcr-values-mismatch"
            }
            QuoteFault::Quote(AppraisalError::Malformed(_)) => "quote-malformed",
            QuoteFault::Quote(_) => "not-a-quote",
            QuoteFault::Log(FormatError::Truncated { .. }) => "log-truncated",
            QuoteFault::Log(_) => "log-malformed",
            QuoteFault::LogReplay(ReplayError::Data { .. }) => "event-data-mismatch",
            QuoteFault::Replay(_) | QuoteFault::LogReplay(_) => "event-log-replay-mismatch",
        }
    }

    fn is_malformed(&self) -> bool {
        matches!(self, QuoteFault::SignatureForm | QuoteFault::Quote(AppraisalError::Malformed(_)) | QuoteFault::Log(_))
    }
}

/// A quote that its key made over the registers that are shown. Made by [`QuoteEvidence::check`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedQuote {
    pub(crate) quote: Quote,
    pub(crate) registers: Vec<Register>,
    pub(crate) claims: Vec<Claim>,
}

impl QuoteEvidence<'_> {
    /// Checks the quote under its key, the registers under the quote, and the log, if there is one, under the registers.
    ///
    /// # Errors
    /// The first step that fails.
    pub fn check(&self, key: &PublicKey) -> Result<CheckedQuote, QuoteFault> {
        let candidates = candidates(key, self.signature);
        if candidates.is_empty() {
            return Err(QuoteFault::SignatureForm);
        }
        // What is cut or longer is told apart from what was changed; what else its form says counts only once it is signed.
        if let Err(QuoteError::Format(fault @ (FormatError::Truncated { .. } | FormatError::Trailing { .. }))) =
            Quote::parse(self.message)
        {
            return Err(QuoteFault::Quote(AppraisalError::Malformed(fault)));
        }
        let mut outcome = Err(AppraisalError::Signature);
        for candidate in candidates {
            // What was bound is for whoever uses the quote to compare; here it is taken as it is signed.
            let extra = Quote::parse(self.message).map(|quote| quote.extra_data).unwrap_or_default();
            outcome = check_quote(key, self.message, &candidate, &extra, self.pcrs);
            if outcome != Err(AppraisalError::Signature) {
                break;
            }
        }
        let quote = outcome.map_err(QuoteFault::Quote)?;
        if let Some(log) = self.event_log {
            check_log(log, self.pcrs)?;
        }
        Ok(CheckedQuote { registers: registers(self.pcrs), claims: claims(&quote, self.pcrs), quote })
    }
}

/// Examines a quote whose key the caller vouches for.
///
/// # Errors
/// The first step that fails.
pub fn examine(evidence: &QuoteEvidence<'_>, key: &PublicKey, now: Timestamp) -> Result<Genuine, QuoteFault> {
    let checked = evidence.check(key)?;
    let mut steps = Steps::default();
    steps.pass(1, "the attestation key is of a kind that is accepted; who vouches for it is for the caller to say");
    steps.pass(2, "the key signed the quote");
    steps.pass(3, "the signed bytes are a quote that a TPM made");
    steps.pass(4, "the registers' values hash to the quoted digest");
    if evidence.event_log.is_some() {
        steps.pass(5, "the event log replays to the registers");
    }
    Ok(Genuine {
        platform: Platform::Tpm,
        assurance: Assurance::Affirmed,
        tier: Tier::Tpm,
        debug: false,
        bound: checked.quote.extra_data.clone(),
        hardware_id: Some(hex::encode(HashAlgorithm::Sha256.hash(&[&key.spki()]))),
        registers: checked.registers,
        claims: checked.claims,
        steps: steps.done(),
        examined_at: now,
    })
}

impl PublicKey {
    /// The key of a SubjectPublicKeyInfo, DER or PEM; `None` if it is of a kind that is not accepted.
    pub fn from_spki(spki: &[u8]) -> Option<PublicKey> {
        let contents;
        let der = if spki.first() == Some(&0x30) {
            spki
        } else {
            let (_, pem) = x509_parser::pem::parse_x509_pem(spki).ok()?;
            contents = pem.contents;
            contents.as_slice()
        };
        let (rest, parsed) = SubjectPublicKeyInfo::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let key = match parsed.parsed().ok()? {
            x509_parser::public_key::PublicKey::RSA(rsa) => {
                let zeros = rsa.modulus.iter().take_while(|byte| **byte == 0).count();
                PublicKey::Rsa { modulus: rsa.modulus.get(zeros..)?.to_vec() }
            }
            x509_parser::public_key::PublicKey::EC(point) => {
                let curve = match point.data().len() {
                    65 => Curve::P256,
                    97 => Curve::P384,
                    _ => return None,
                };
                PublicKey::Ecc { curve, point: point.data().to_vec() }
            }
            _ => return None,
        };
        // Only a key that is spelt the one way that this key is spelt; that compares exponent and curve, too.
        (key.spki() == der).then_some(key)
    }
}

/// The signature as each TPMT_SIGNATURE that it can be.
fn candidates(key: &PublicKey, signature: &[u8]) -> Vec<Vec<u8>> {
    let wrapped = |algorithm: u16, hash: HashAlgorithm, parts: &[&[u8]]| {
        let mut out = [algorithm.to_be_bytes(), hash.id().to_be_bytes()].concat();
        for part in parts {
            out.extend_from_slice(&u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(part);
        }
        out
    };
    if super::Signature::parse(signature).is_ok() {
        return vec![signature.to_vec()];
    }
    match key {
        PublicKey::Rsa { modulus } if signature.len() == modulus.len() => {
            let schemes =
                [(RSASSA, HashAlgorithm::Sha256), (RSAPSS, HashAlgorithm::Sha256), (RSASSA, HashAlgorithm::Sha384)];
            schemes.into_iter().map(|(algorithm, hash)| wrapped(algorithm, hash, &[signature])).collect()
        }
        PublicKey::Ecc { curve, .. } => {
            let hash = match curve {
                Curve::P256 => HashAlgorithm::Sha256,
                Curve::P384 => HashAlgorithm::Sha384,
            };
            // DER, or r ‖ s of the curve's size (IEEE P1363), whichever it reads as.
            let bare = signature.split_at_checked(curve.size()).filter(|(_, s)| s.len() == curve.size());
            halves(signature).into_iter().chain(bare).map(|(r, s)| wrapped(ECDSA, hash, &[r, s])).collect()
        }
        PublicKey::Rsa { .. } => Vec::new(),
    }
}

/// r and s of an ECDSA signature in DER (RFC 3279, section 2.2.3).
fn halves(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let integer = |bytes: &'_ [u8]| -> Option<usize> {
        match bytes {
            [0x02, size, rest @ ..] if usize::from(*size) <= rest.len() && (1..=49).contains(size) => {
                Some(usize::from(*size))
            }
            _ => None,
        }
    };
    let [0x30, size, rest @ ..] = der else { return None };
    if usize::from(*size) != rest.len() || *size >= 0x80 {
        return None;
    }
    let first = integer(rest)?;
    let (r, rest) = rest.get(2..)?.split_at_checked(first)?;
    let second = integer(rest)?;
    let (s, rest) = rest.get(2..)?.split_at_checked(second)?;
    let positive = |number: &[u8]| number.first().is_some_and(|byte| *byte < 0x80);
    (rest.is_empty() && positive(r) && positive(s)).then_some((trimmed(r), trimmed(s)))
}

fn trimmed(number: &[u8]) -> &[u8] {
    match number {
        [0, rest @ ..] => rest,
        other => other,
    }
}

/// Every register that is shown and that the log speaks of, in every bank that both have, and the data of events that promise it.
fn check_log(bytes: &[u8], pcrs: &[PcrValue]) -> Result<(), QuoteFault> {
    let log = EventLog::parse(bytes).map_err(QuoteFault::Log)?;
    for bank in log.banks() {
        let shown: Vec<&PcrValue> = pcrs.iter().filter(|value| value.bank == bank).collect();
        if shown.is_empty() {
            continue;
        }
        let replayed = log.replay(bank).map_err(QuoteFault::LogReplay)?;
        for value in shown {
            if replayed.get(&value.index).is_some_and(|found| *found != value.value) {
                return Err(QuoteFault::Replay(value.index));
            }
        }
        log.check_data(bank).map_err(QuoteFault::LogReplay)?;
    }
    Ok(())
}

/// `pcr0` in the SHA-256 bank, `sha384:pcr0` in others; none of the SHA-1 bank.
fn registers(pcrs: &[PcrValue]) -> Vec<Register> {
    let register = |value: &PcrValue| {
        let name = match value.bank {
            HashAlgorithm::Sha1 => return None,
            HashAlgorithm::Sha256 => format!("pcr{}", value.index),
            other => format!("{}:pcr{}", other.name(), value.index),
        };
        Some(Register { name, value: value.value.clone() })
    };
    pcrs.iter().filter_map(register).collect()
}

fn claims(quote: &Quote, pcrs: &[PcrValue]) -> Vec<Claim> {
    let mut claims = vec![
        claim_hex("extra_data", &quote.extra_data, "what the challenger asked to be signed along"),
        claim_hex("pcr_digest", &quote.pcr_digest, "the digest of the selected registers"),
        claim_hex("qualified_signer", &quote.qualified_signer, "the name of the key with those above it"),
        claim("clock", quote.clock, "milliseconds that the TPM has run"),
        claim("reset_count", quote.reset_count, "how often the TPM was reset"),
        claim("restart_count", quote.restart_count, "how often it was resumed since"),
        claim("firmware", format!("{:016x}", quote.firmware_version), "the version of the TPM's firmware"),
    ];
    let of_sha1 = pcrs.iter().filter(|value| value.bank == HashAlgorithm::Sha1);
    claims.extend(of_sha1.map(|value| {
        claim_hex(
            &format!("sha1:pcr{}", value.index),
            &value.value,
            "a register of the SHA-1 bank, on which nothing is decided",
        )
    }));
    claims
}

const RSASSA: u16 = 0x0014;
const RSAPSS: u16 = 0x0016;
const ECDSA: u16 = 0x0018;

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use aws_lc_rs::{
        rand::SystemRandom,
        signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
    };

    use super::*;

    #[test]
    fn a_bare_signature_of_a_curve_is_taken_in_its_own_size_only() {
        let curves = [(Curve::P256, &ECDSA_P256_SHA256_FIXED_SIGNING), (Curve::P384, &ECDSA_P384_SHA384_FIXED_SIGNING)];
        for (curve, algorithm) in curves {
            let pair = EcdsaKeyPair::generate(algorithm).expect("a key");
            let key = PublicKey::Ecc { curve, point: pair.public_key().as_ref().to_vec() };
            let bare = pair.sign(&SystemRandom::new(), b"quote").expect("a signature").as_ref().to_vec();
            let verifies = |bytes: &[u8]| {
                candidates(&key, bytes).iter().any(|candidate| {
                    crate::tpm::Signature::parse(candidate).is_ok_and(|signature| signature.verifies(&key, b"quote"))
                })
            };
            assert_eq!(bare.len(), 2 * curve.size());
            assert!(verifies(&bare));
            assert!(!verifies(&[&[0][..], &bare].concat()));
            assert!(!verifies(&[&bare[..], &[0]].concat()));
            assert!(!verifies(&bare[..bare.len() - 1]));
            let (r, s) = bare.split_at(curve.size());
            assert!(!verifies(&[s, r].concat()));
        }
    }
    #[test]
    fn a_key_is_spelt_one_way() {
        for (curve, algorithm) in
            [(Curve::P256, &ECDSA_P256_SHA256_FIXED_SIGNING), (Curve::P384, &ECDSA_P384_SHA384_FIXED_SIGNING)]
        {
            let pair = EcdsaKeyPair::generate(algorithm).expect("a key");
            let key = PublicKey::Ecc { curve, point: pair.public_key().as_ref().to_vec() };
            assert_eq!(PublicKey::from_spki(&key.spki()), Some(key));
        }
        let key = PublicKey::Rsa { modulus: vec![0xC3; 256] };
        let spki = key.spki();
        assert_eq!(PublicKey::from_spki(&spki), Some(key));
        assert_eq!(PublicKey::from_spki(&[&spki[..], &[0]].concat()), None);
        // An exponent of 65539.
        let mut other = spki;
        other.iter_mut().rev().take(1).for_each(|byte| *byte = 3);
        assert_eq!(PublicKey::from_spki(&other), None);
        assert_eq!(PublicKey::from_spki(b"no key"), None);
    }

    #[test]
    fn a_bare_signature_of_rsa_has_the_size_of_its_key() {
        let key = PublicKey::Rsa { modulus: vec![0xC3; 256] };
        let count = |size: usize| candidates(&key, &vec![0xA5; size]).len();
        assert_eq!((count(255), count(256), count(257), count(0)), (0, 3, 0, 0));
    }

    #[test]
    fn a_signature_in_der_is_two_positive_numbers_and_nothing_else() {
        fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
            let number = |bytes: &[u8]| [&[0x02, bytes.len() as u8], bytes].concat();
            let body = [number(r), number(s)].concat();
            [&[0x30, body.len() as u8][..], &body].concat()
        }
        let read = |bytes: &[u8]| halves(bytes).map(|(r, s)| (r.to_vec(), s.to_vec()));
        let taken = |r: &[u8], s: &[u8]| Some((r.to_vec(), s.to_vec()));
        assert_eq!(read(&der(&[7], &[0x7F, 2])), taken(&[7], &[0x7F, 2]));
        // The zero before a number whose first bit is set is not of the number; neither is that before any other.
        assert_eq!(read(&der(&[0, 0x80], &[0, 1])), taken(&[0x80], &[1]));
        assert_eq!(read(&der(&[1; 49], &[2; 49])), taken(&[1; 49], &[2; 49]));
        // Negative, empty, longer than any curve's.
        for bad in [&[0x80][..], &[0xFF, 1], &[], &[1; 50]] {
            assert_eq!(read(&der(bad, &[1])), None, "{bad:?}");
            assert_eq!(read(&der(&[1], bad)), None, "{bad:?}");
        }
        let good = der(&[1; 32], &[2; 32]);
        for size in 0..good.len() {
            assert_eq!(read(&good[..size]), None, "{size}");
        }
        assert_eq!(read(&[&good[..], &[0]].concat()), None);
        let with = |at: usize, byte: u8| {
            let mut changed = good.clone();
            changed[at] = byte;
            read(&changed)
        };
        for (at, byte) in
            [(0, 0x31), (1, 67), (1, 69), (2, 0x03), (3, 31), (3, 33), (36, 0x04), (37, 31), (37, 33), (37, 0xFF)]
        {
            assert_eq!(with(at, byte), None, "{at} {byte}");
        }
        // A third number, and a length that is not of the short form.
        let third = [&[0x30, 9][..], &[2, 1, 1, 2, 1, 1, 2, 1, 1]].concat();
        assert_eq!(read(&third), None);
        let long = [&[0x30, 0x80][..], &[0; 0x80]].concat();
        assert_eq!(read(&long), None);
    }

    #[test]
    fn a_log_is_held_against_every_register_that_is_shown() {
        use crate::events::{Event, RoleName};
        let bank = HashAlgorithm::Sha256;
        let mut log = EventLog::new(&[bank, HashAlgorithm::Sha384]);
        let role = RoleName::try_from("worker").expect("a name");
        log.append(&Event::role(&role, &envelope::Digest::of(b"a binary")));
        log.append(&Event::system_ready());
        let bytes = log.encode();
        let shown = |bank: HashAlgorithm| -> Vec<PcrValue> {
            let replayed = log.replay(bank).expect("a replay");
            replayed.into_iter().map(|(index, value)| PcrValue { bank, index, value }).collect()
        };
        let both = [shown(bank), shown(HashAlgorithm::Sha384)].concat();
        assert!(!shown(bank).is_empty());
        assert_eq!(check_log(&bytes, &both), Ok(()));
        assert_eq!(check_log(&bytes, &[]), Ok(()));
        for at in 0..both.len() {
            let mut changed = both.clone();
            changed[at].value[0] ^= 1;
            assert_eq!(check_log(&bytes, &changed), Err(QuoteFault::Replay(both[at].index)));
        }
        // Registers of which the log says nothing, and banks that it does not have, are for others to judge.
        let other = PcrValue { bank, index: 3, value: vec![9; 32] };
        let elsewhere = PcrValue { bank: HashAlgorithm::Sha1, index: both[0].index, value: vec![9; 20] };
        assert_eq!(check_log(&bytes, &[both.clone(), vec![other, elsewhere]].concat()), Ok(()));
        assert!(matches!(check_log(&bytes[1..], &both), Err(QuoteFault::Log(_))));
    }

    #[test]
    fn registers_of_sha1_are_shown_and_decide_nothing() {
        let value = |bank: HashAlgorithm, index: u8| PcrValue { bank, index, value: vec![index; bank.size()] };
        let pcrs = [value(HashAlgorithm::Sha1, 1), value(HashAlgorithm::Sha256, 2), value(HashAlgorithm::Sha384, 3)];
        let names: Vec<String> = registers(&pcrs).into_iter().map(|register| register.name).collect();
        assert_eq!(names, ["pcr2", "sha384:pcr3"]);
        let quote = Quote {
            qualified_signer: vec![],
            extra_data: vec![],
            clock: 0,
            reset_count: 0,
            restart_count: 0,
            clock_is_safe: true,
            firmware_version: 0,
            selections: vec![],
            pcr_digest: vec![],
        };
        let claimed: Vec<String> = claims(&quote, &pcrs).into_iter().map(|claim| claim.name).collect();
        assert!(claimed.contains(&"sha1:pcr1".to_owned()) && !claimed.iter().any(|name| name.contains("pcr2")));
    }
}
