//! The one way into the store: an object is what its name says, signed by its maker, and current.
//!
//! The checks are the Verifier's: the same chains under the same pinned keys, the same signatures over the same exact bytes. What the
//! appraisal of one machine decides beyond them stays there: whether a signer was revoked, and whether a security version is good enough.

use attest::{
    certificate::{Certificate, CertificateFault, ChainError, RevocationList, TrustAnchor, check_chain},
    roots::Authority,
};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    object::{AmdTcb, ObjectId, Product, Tee},
    store::Received,
};

/// The makers' roots, each one certificate (PEM or DER).
#[derive(Debug, Clone)]
pub struct Anchors {
    /// Intel's, for SGX and TDX.
    pub intel: Vec<u8>,
    /// AMD's for Milan.
    pub milan: Vec<u8>,
    /// AMD's for Genoa.
    pub genoa: Vec<u8>,
    /// AMD's for Turin.
    pub turin: Vec<u8>,
    /// NVIDIA's for manifests.
    pub nvidia_rim: Vec<u8>,
}

/// What an object says of itself, once its signature was checked and it was found current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// When it was issued.
    pub issued: Timestamp,
    /// Until when it counts.
    pub until: Timestamp,
    /// Intel's number of the recovery that it speaks for.
    pub evaluation: Option<u32>,
}

/// What an object says of itself, once its signature was checked, whatever the time. It tells what is older; it is no leave to use the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// When it was issued.
    pub(crate) issued: Timestamp,
    /// Intel's number of the recovery that it speaks for.
    pub(crate) evaluation: Option<u32>,
}

/// Why an object is not kept, or not given out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    /// Larger than such an object is.
    #[error("it has {size} bytes; at most {limit} are taken")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// It does not parse.
    #[error("it is not what its name says: it cannot be read")]
    Malformed,
    /// It came without the certificates of its signer.
    #[error("the certificates of its signer did not come with it")]
    ChainMissing,
    /// A certificate of a chip's key needs its issuers first.
    #[error("its issuers' certificates are not at hand\nhint: take `{0}` first")]
    IssuersMissing(ObjectId),
    /// The certificates of its signer lead nowhere.
    #[error("the certificates of its signer do not hold")]
    Chain(#[source] ChainError),
    /// A certificate of another purpose.
    #[error("it was signed by `{0}`, whose purpose is another")]
    Signer(String),
    /// The signature.
    #[error("its signature does not verify")]
    Signature,
    /// A revocation list that does not hold.
    #[error("the revocation list does not hold")]
    List(#[source] CertificateFault),
    /// It speaks of another platform, chip or version than it was asked for.
    #[error("it speaks of another {0} than it was asked for")]
    OtherObject(&'static str),
    /// Too old.
    #[error("it expired at {since}\nhint: fetch it again; check this machine's clock")]
    Expired {
        /// Since when.
        since: Timestamp,
    },
    /// Too new.
    #[error("it counts from {from} on\nhint: check this machine's clock")]
    NotYetValid {
        /// From when.
        from: Timestamp,
    },
    /// No check exists for it, so it cannot be kept.
    #[error("this version cannot check such an object, and keeps nothing unchecked")]
    NoCheck,
}

impl Anchors {
    /// The roots that ship inside.
    pub fn shipped() -> Anchors {
        Anchors {
            intel: Authority::IntelSgx.certificate().to_vec(),
            milan: Authority::AmdMilan.certificate().to_vec(),
            genoa: Authority::AmdGenoa.certificate().to_vec(),
            turin: Authority::AmdTurin.certificate().to_vec(),
            nvidia_rim: Authority::NvidiaRim.certificate().to_vec(),
        }
    }

    fn amd(&self, product: Product) -> &[u8] {
        match product {
            Product::Milan => &self.milan,
            Product::Genoa => &self.genoa,
            Product::Turin => &self.turin,
        }
    }
}

/// Checks one object as it came. `others` gives what is at hand already: a chip's certificate needs its issuers'.
///
/// # Errors
/// The first check that fails.
pub fn check_before_store(
    id: &ObjectId,
    received: &Received,
    others: impl Fn(&ObjectId) -> Option<Received>,
    anchors: &Anchors,
    now: Timestamp,
) -> Result<Checked, CheckError> {
    check(id, received, others, anchors, When::Now(now))
}

/// The same checks but for the time: whether the maker ever issued it under this name, and when.
///
/// # Errors
/// The first check that fails.
pub(crate) fn check_ever(
    id: &ObjectId,
    received: &Received,
    others: impl Fn(&ObjectId) -> Option<Received>,
    anchors: &Anchors,
) -> Result<Seen, CheckError> {
    let Checked { issued, evaluation, until: _ } = check(id, received, others, anchors, When::Ever)?;
    Ok(Seen { issued, evaluation })
}

/// As of when an object must count.
#[derive(Debug, Clone, Copy)]
enum When {
    /// As of now.
    Now(Timestamp),
    /// At some time: its certificates when the last of them began, and itself when it was issued.
    Ever,
}

fn check(
    id: &ObjectId,
    received: &Received,
    others: impl Fn(&ObjectId) -> Option<Received>,
    anchors: &Anchors,
    when: When,
) -> Result<Checked, CheckError> {
    let limit = limit(id);
    if received.body.len() > limit {
        return Err(CheckError::TooLarge { size: received.body.len(), limit });
    }
    match id {
        ObjectId::TcbInfo { tee, fmspc, .. } => tcb_info(received, *tee, fmspc, anchors, when),
        ObjectId::QeIdentity { tee, .. } => qe_identity(received, *tee, anchors, when),
        ObjectId::PckCrl(authority) => {
            let ders = issuer_chain(received)?;
            let chain = parse(&ders)?;
            check_chain(&chain, &pinned(&anchors.intel)?, when.of(&chain)?).map_err(CheckError::Chain)?;
            let issuer = chain.first().ok_or(CheckError::ChainMissing)?;
            if issuer.common_name() != authority.common_name() {
                return Err(CheckError::Signer(issuer.common_name()));
            }
            list(&received.body, issuer, when)
        }
        ObjectId::RootCaCrl => list_of_root(&received.body, &anchors.intel, when),
        ObjectId::AmdCrl { product, .. } => list_of_root(&received.body, anchors.amd(*product), when),
        ObjectId::AmdChain { product, .. } => {
            let ders = split(&received.body)?;
            let chain = parse(&ders)?;
            if chain.len() != 2 {
                return Err(CheckError::Malformed);
            }
            current(&chain, &pinned(anchors.amd(*product))?, when)
        }
        ObjectId::Vcek { product, chip, tcb } => {
            let needed = ObjectId::AmdChain { kind: crate::SigningKind::Vcek, product: *product };
            let above = others(&needed).ok_or(CheckError::IssuersMissing(needed))?;
            let mut ders = vec![received.body.clone()];
            ders.extend(split(&above.body)?);
            let chain = parse(&ders)?;
            let checked = current(&chain, &pinned(anchors.amd(*product))?, when)?;
            let leaf = chain.first().ok_or(CheckError::Malformed)?;
            if !leaf.extension(HARDWARE_ID).is_some_and(|value| value.ends_with(chip.bytes())) {
                return Err(CheckError::OtherObject("chip"));
            }
            if !speaks_of(leaf, tcb) {
                return Err(CheckError::OtherObject("security version"));
            }
            Ok(checked)
        }
        ObjectId::Rim(_) => Err(CheckError::NoCheck),
    }
}

/// The largest such object that is taken, in bytes.
pub(crate) const fn limit(id: &ObjectId) -> usize {
    match id {
        ObjectId::PckCrl(_) | ObjectId::RootCaCrl | ObjectId::AmdCrl { .. } => 4 << 20,
        ObjectId::Rim(_) => 2 << 20,
        ObjectId::TcbInfo { .. } | ObjectId::QeIdentity { .. } => 512 << 10,
        ObjectId::Vcek { .. } | ObjectId::AmdChain { .. } => 64 << 10,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TcbInfoEnvelope<'a> {
    #[serde(borrow, rename = "tcbInfo")]
    body: &'a RawValue,
    signature: &'a str,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QeIdentityEnvelope<'a> {
    #[serde(borrow, rename = "enclaveIdentity")]
    body: &'a RawValue,
    signature: &'a str,
}

/// The members that decide which document it is and when it counts. An identity has no FMSPC.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow)]
    id: &'a str,
    issue_date: Timestamp,
    next_update: Timestamp,
    tcb_evaluation_data_number: u32,
    #[serde(default)]
    fmspc: Option<&'a str>,
}

fn tcb_info(
    received: &Received,
    tee: Tee,
    fmspc: &[u8; 6],
    anchors: &Anchors,
    when: When,
) -> Result<Checked, CheckError> {
    let envelope: TcbInfoEnvelope<'_> = serde_json::from_slice(&received.body).map_err(|_| CheckError::Malformed)?;
    let head = signed(received, envelope.body, envelope.signature, anchors, when)?;
    if head.id
        != (match tee {
            Tee::Sgx => "SGX",
            Tee::Tdx => "TDX",
        })
    {
        return Err(CheckError::OtherObject("platform"));
    }
    if !head.fmspc.is_some_and(|found| found.eq_ignore_ascii_case(&hex::encode(fmspc))) {
        return Err(CheckError::OtherObject("FMSPC"));
    }
    head.current(when)
}

fn qe_identity(received: &Received, tee: Tee, anchors: &Anchors, when: When) -> Result<Checked, CheckError> {
    let envelope: QeIdentityEnvelope<'_> = serde_json::from_slice(&received.body).map_err(|_| CheckError::Malformed)?;
    let head = signed(received, envelope.body, envelope.signature, anchors, when)?;
    if head.id
        != (match tee {
            Tee::Sgx => "QE",
            Tee::Tdx => "TD_QE",
        })
    {
        return Err(CheckError::OtherObject("platform"));
    }
    head.current(when)
}

/// Reads a document's members once the signature over its exact bytes was checked.
fn signed<'a>(
    received: &Received,
    body: &'a RawValue,
    signature: &str,
    anchors: &Anchors,
    when: When,
) -> Result<Head<'a>, CheckError> {
    let ders = issuer_chain(received)?;
    let chain = parse(&ders)?;
    check_chain(&chain, &pinned(&anchors.intel)?, when.of(&chain)?).map_err(CheckError::Chain)?;
    let signer = chain.first().ok_or(CheckError::ChainMissing)?;
    if signer.common_name() != TCB_SIGNER {
        return Err(CheckError::Signer(signer.common_name()));
    }
    let mut bytes = [0; 64];
    hex::decode_to_slice(signature, &mut bytes).map_err(|_| CheckError::Malformed)?;
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, signer.key_bits());
    key.verify(body.get().as_bytes(), &bytes).map_err(|_| CheckError::Signature)?;
    serde_json::from_str(body.get()).map_err(|_| CheckError::Malformed)
}

impl Head<'_> {
    fn current(&self, when: When) -> Result<Checked, CheckError> {
        if let When::Now(now) = when {
            within(self.issue_date, self.next_update, now)?;
        }
        Ok(Checked {
            issued: self.issue_date,
            until: self.next_update,
            evaluation: Some(self.tcb_evaluation_data_number),
        })
    }
}

fn within(from: Timestamp, until: Timestamp, now: Timestamp) -> Result<(), CheckError> {
    if now < from {
        return Err(CheckError::NotYetValid { from });
    }
    if now > until { Err(CheckError::Expired { since: until }) } else { Ok(()) }
}

fn list_of_root(der: &[u8], root: &[u8], when: When) -> Result<Checked, CheckError> {
    let ders = split(root)?;
    let chain = parse(&ders)?;
    list(der, chain.first().ok_or(CheckError::ChainMissing)?, when)
}

fn list(der: &[u8], issuer: &Certificate<'_>, when: When) -> Result<Checked, CheckError> {
    let at = match when {
        When::Now(now) => now,
        When::Ever => RevocationList::claimed_period(der).ok_or(CheckError::Malformed)?.0,
    };
    let list = RevocationList::check(der, issuer, at).map_err(|fault| {
        // The fault comes after the signature was found right, so what the list says of its own time is its issuer's word.
        let claimed = RevocationList::claimed_period(der);
        match (fault, claimed) {
            (CertificateFault::Expired, Some((_, since))) => CheckError::Expired { since },
            (CertificateFault::NotYetValid, Some((from, _))) => CheckError::NotYetValid { from },
            (fault, _) => CheckError::List(fault),
        }
    })?;
    Ok(Checked { issued: list.last_update(), until: list.next_update(), evaluation: None })
}

impl When {
    /// The time as of which a chain is checked.
    fn of(self, chain: &[Certificate<'_>]) -> Result<Timestamp, CheckError> {
        match self {
            When::Now(now) => Ok(now),
            When::Ever => {
                let begins = chain.iter().map(|certificate| period(certificate).map(|(from, _)| from));
                begins.collect::<Result<Vec<_>, _>>()?.into_iter().max().ok_or(CheckError::ChainMissing)
            }
        }
    }
}

/// From when until when a certificate counts.
fn period(certificate: &Certificate<'_>) -> Result<(Timestamp, Timestamp), CheckError> {
    let validity = certificate.parsed().validity();
    let at = |time: i64| Timestamp::from_second(time).map_err(|_| CheckError::Malformed);
    Ok((at(validity.not_before.timestamp())?, at(validity.not_after.timestamp())?))
}

/// A chain whose every certificate is current; it counts until the first of them ends.
fn current(chain: &[Certificate<'_>], anchors: &[TrustAnchor], when: When) -> Result<Checked, CheckError> {
    let now = when.of(chain)?;
    let (issued, mut until) = period(chain.first().ok_or(CheckError::Malformed)?)?;
    let mut ends = None;
    for certificate in chain {
        let (_, end) = period(certificate)?;
        until = until.min(end);
        if end < now {
            ends = Some(ends.map_or(end, |known: Timestamp| known.min(end)));
        }
    }
    match (check_chain(chain, anchors, now), ends) {
        (Err(ChainError { fault: CertificateFault::Expired, .. }), Some(since)) => Err(CheckError::Expired { since }),
        (checked, _) => checked.map_err(CheckError::Chain),
    }?;
    Ok(Checked { issued, until, evaluation: None })
}

/// Whether a chip's certificate is of exactly this security version (57230, table of extensions).
fn speaks_of(leaf: &Certificate<'_>, tcb: &AmdTcb) -> bool {
    let is = |oid: &str, expected: u8| match leaf.extension(oid) {
        Some([0x02, 0x01, value]) | Some([0x02, 0x02, 0x00, value]) => *value == expected,
        _ => false,
    };
    is(SPL_BOOT_LOADER, tcb.boot_loader)
        && is(SPL_TEE, tcb.tee)
        && is(SPL_SNP, tcb.snp)
        && is(SPL_MICROCODE, tcb.microcode)
        && tcb.fmc.is_none_or(|fmc| is(SPL_FMC, fmc))
}

/// The certificates that came in the header, which are percent-encoded PEM.
fn issuer_chain(received: &Received) -> Result<Vec<Vec<u8>>, CheckError> {
    split(&received.issuer_chain().ok_or(CheckError::ChainMissing)?)
}

fn split(bundle: &[u8]) -> Result<Vec<Vec<u8>>, CheckError> {
    Certificate::split(bundle).map_err(|_| CheckError::Malformed)
}

fn parse(ders: &[Vec<u8>]) -> Result<Vec<Certificate<'_>>, CheckError> {
    ders.iter().map(|der| Certificate::parse(der)).collect::<Result<_, _>>().map_err(|_| CheckError::Malformed)
}

fn pinned(root: &[u8]) -> Result<Vec<TrustAnchor>, CheckError> {
    TrustAnchor::pin(root).map(|anchor| vec![anchor]).map_err(|_| CheckError::Malformed)
}

const TCB_SIGNER: &str = "Intel SGX TCB Signing";
const HARDWARE_ID: &str = "1.3.6.1.4.1.3704.1.4";
const SPL_BOOT_LOADER: &str = "1.3.6.1.4.1.3704.1.3.1";
const SPL_TEE: &str = "1.3.6.1.4.1.3704.1.3.2";
const SPL_SNP: &str = "1.3.6.1.4.1.3704.1.3.3";
const SPL_MICROCODE: &str = "1.3.6.1.4.1.3704.1.3.8";
const SPL_FMC: &str = "1.3.6.1.4.1.3704.1.3.9";
