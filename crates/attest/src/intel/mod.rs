//! Evidence of Intel's platforms: quotes of SGX enclaves ([`sgx`]) and of TDX trust domains ([`tdx`]).
//!
//! Both are quotes by a quoting enclave: an attestation key signs the report, the quoting enclave vouches for that key in a report of its own,
//! and a provisioning certification key (PCK) that Intel certified for this processor signs the latter. From there a chain leads to Intel's
//! root. What Intel knows of security versions comes beside it, in documents that it signs.
//!
//! The steps below have the numbers of `docs/spec/platforms/intel.md`. Nothing is read from bytes before what vouches for them
//! was checked, except their form; what is debugged is refused after its signature, so that the reason is honest. Absent:
//! EPID, quotes signed on P-384, fetching, the clock, and words on a trust domain's attributes that only its owner can judge
//! (they are claims, and registers that a policy can pin).

mod certification;
mod collateral;
mod error;
mod identity;
mod pck;
mod quote;
pub mod sgx;
mod tcb;
pub mod tdx;

use aws_lc_rs::{
    digest,
    signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey},
};
use jiff::Timestamp;

pub use collateral::IntelEndorsements;
pub use error::{Document, Holder, IntelError, Lister, ModuleField, Part, QeField};
pub use pck::{PckExtension, PckFault};
pub use quote::{Body, Certification, EnclaveReport, Quote, TdInstance, TdReport, TdReportExtension, Tee};

use crate::{
    certificate::{Certificate, ChainError, RevocationList, TrustAnchor, check_chain},
    platform::{Assurance, Claim, Platform, Steps, TcbStatus, claim, claim_hex},
};
use collateral::Signer;
use identity::QeIdentity;
use tcb::{TcbInfo, Verdict, converge};

/// What a caller says of how Endorsements count. Every field is a decision; none has a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The highest `tcbEvaluationDataNumber` that the caller has seen; documents below it are refused. 0: none was seen.
    pub evaluation_floor: u32,
    /// Which revocation lists must be there.
    pub revocation: Revocation,
}

/// Which revocation lists must be there, once a security version is judged. A list that is there is always used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// The root's and the PCK authority's.
    Complete,
    /// The root's, which takes back authorities and signers. Whether the one platform's certificate was taken back is then not known here: for
    /// callers that learn it otherwise, such as from a register of platforms. The claim `pck_revocation` says so.
    Authorities,
}

/// The platform that a quote names, and the authority that certified its key: where to look for Endorsements, and nothing to believe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedPlatform {
    /// SGX or TDX.
    pub tee: Tee,
    /// Family, model, stepping, platform and custom SKU.
    pub fmspc: [u8; 6],
    /// The common name of the PCK authority.
    pub authority: String,
}

/// Reads from a quote which platform it names, without checking anything.
///
/// # Errors
/// [`IntelError`] of steps 1 and 3: no quote, or one without a certificate of its platform.
pub fn claimed_platform(quote: &[u8]) -> Result<ClaimedPlatform, IntelError> {
    let quote = Quote::parse(quote)?;
    let Certification { kind: 5, data: pem } = quote.certification else {
        return Err(IntelError::PckChainMissing(quote.certification.kind));
    };
    let unreadable = |fault| IntelError::PckChain(ChainError { at: 0, subject: String::new(), fault });
    let ders = certification::chain(pem).map_err(unreadable)?;
    let [pck, authority, _] = ders.as_slice() else { return Err(IntelError::PckRoles) };
    let pck = Certificate::parse(pck).map_err(unreadable)?;
    let authority = Certificate::parse(authority).map_err(unreadable)?;
    let extension = PckExtension::of(&pck).map_err(IntelError::PckExtension)?;
    Ok(ClaimedPlatform { tee: quote.tee(), fmspc: extension.fmspc, authority: authority.common_name() })
}

/// What both platforms' examinations establish.
struct Examined {
    assurance: Assurance,
    ppid: Option<String>,
    claims: Vec<Claim>,
    steps: Steps,
}

/// The platform's certificate chain, found good.
struct Platforms<'a> {
    pck: &'a Certificate<'a>,
    authority: &'a Certificate<'a>,
    issuer: &'static str,
    root: &'a Certificate<'a>,
    extension: PckExtension,
}

/// Steps 2 to 13. `state` is step 7 for the report itself.
fn examine(
    quote: &Quote<'_>,
    expected: Platform,
    state: impl FnOnce() -> Result<(), IntelError>,
    endorsements: &IntelEndorsements<'_>,
    anchors: &[TrustAnchor],
    rules: &Rules,
    now: Timestamp,
) -> Result<Examined, IntelError> {
    let mut steps = Steps::default();
    steps.pass(1, format!("the bytes are a quote of version {}", quote.version));
    check_kind(quote, expected)?;
    steps.pass(2, format!("it is of {expected}, by Intel's quoting enclave, with an ECDSA key on P-256"));

    let pem = match (quote.certification.kind, endorsements.pck_chain) {
        (5, _) => quote.certification.data,
        (1..=4, Some(chain)) => chain,
        (kind, _) => return Err(IntelError::PckChainMissing(kind)),
    };
    let unreadable = |fault| IntelError::PckChain(ChainError { at: 0, subject: String::new(), fault });
    let ders = certification::chain(pem).map_err(unreadable)?;
    let certificates: Result<Vec<_>, _> = ders.iter().map(|der| Certificate::parse(der)).collect();
    let certificates = certificates.map_err(unreadable)?;
    let platform = check_pck_chain(&certificates, anchors, now)?;
    steps.pass(3, "the platform's certificate leads to the pinned root");

    check_signatures(quote, &platform, &mut steps)?;
    // Without a word on its security version it can be shown only, debugged or not: `Genuine::debug` keeps it from any appraisal.
    match state() {
        Err(IntelError::Debug) if endorsements.has_no_tcb_part() => {}
        state => state?,
    }
    if quote.qe_report.is_debug() {
        return Err(IntelError::QeDebug);
    }
    steps.pass(7, "whether it can be debugged is told by its attributes; the quoting enclave cannot be");

    let mut claims = claims_of(quote, &platform);
    let revocation = check_revocation(&platform, endorsements, rules, now)?;
    claims.push(claim("pck_revocation", revocation.told(), "whether Intel took the platform's certificate back"));
    steps.pass(8, revocation.words());
    let status = judge(quote, &platform, &revocation, endorsements, anchors, rules, now, &mut claims, &mut steps)?;
    let assurance = match status {
        None => Assurance::SignatureOnly,
        Some(TcbStatus::UpToDate) => Assurance::Affirmed,
        Some(
            status @ (TcbStatus::SWHardeningNeeded
            | TcbStatus::ConfigurationNeeded
            | TcbStatus::ConfigurationAndSWHardeningNeeded),
        ) => Assurance::Conditional(status),
        Some(status @ (TcbStatus::OutOfDate | TcbStatus::OutOfDateConfigurationNeeded)) => Assurance::OutOfDate(status),
        Some(TcbStatus::Revoked) => return Err(IntelError::TcbRevoked),
    };
    let ppid = platform.extension.ppid;
    let ppid = ppid.iter().any(|byte| *byte != 0).then(|| hex::encode(ppid));
    Ok(Examined { assurance, ppid, claims, steps })
}

/// Step 2.
fn check_kind(quote: &Quote<'_>, expected: Platform) -> Result<(), IntelError> {
    let found = match quote.tee() {
        Tee::Sgx => Platform::Sgx,
        Tee::Tdx => Platform::Tdx,
    };
    if found != expected {
        return Err(IntelError::OtherPlatform { expected, found });
    }
    if quote.key_type != ECDSA_P256 {
        return Err(IntelError::KeyType(quote.key_type));
    }
    if *quote.qe_vendor != INTEL {
        return Err(IntelError::QeVendor);
    }
    Ok(())
}

/// Step 3: exactly the three certificates of a platform, each of its own purpose, ending in a pinned key.
fn check_pck_chain<'a>(
    certificates: &'a [Certificate<'a>],
    anchors: &[TrustAnchor],
    now: Timestamp,
) -> Result<Platforms<'a>, IntelError> {
    check_chain(certificates, anchors, now).map_err(IntelError::PckChain)?;
    let [pck, authority, root] = certificates else { return Err(IntelError::PckRoles) };
    let anchored = anchors.iter().any(|anchor| anchor.spki() == root.key().raw);
    let issuer = PCK_AUTHORITIES.into_iter().find(|name| is_named(authority, name)).ok_or(IntelError::PckRoles)?;
    if !is_named(pck, PCK) || !anchored {
        return Err(IntelError::PckRoles);
    }
    let extension = PckExtension::of(pck).map_err(IntelError::PckExtension)?;
    Ok(Platforms { pck, authority, issuer, root, extension })
}

/// Whether the subject has exactly this common name.
fn is_named(certificate: &Certificate<'_>, name: &str) -> bool {
    let mut names = certificate.parsed().subject().iter_common_name();
    let first = names.next().and_then(|attribute| attribute.as_str().ok());
    first == Some(name) && names.next().is_none()
}

/// Steps 4 to 6: from the platform's key through the quoting enclave to the quote.
fn check_signatures(quote: &Quote<'_>, platform: &Platforms<'_>, steps: &mut Steps) -> Result<(), IntelError> {
    let pck = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, platform.pck.key_bits());
    pck.verify(quote.qe_report.bytes, quote.qe_report_signature).map_err(|_| IntelError::QeReportSignature)?;
    steps.pass(4, "the platform's key signed the quoting enclave's report");

    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(quote.attestation_key);
    hash.update(quote.authentication_data);
    let bound = quote.qe_report.report_data.split_at_checked(32);
    if bound != Some((hash.finish().as_ref(), &[0; 32])) {
        return Err(IntelError::AttestationKey);
    }
    steps.pass(5, "the quoting enclave reported this attestation key");

    let mut point = [4; 65];
    for (to, from) in point.iter_mut().skip(1).zip(quote.attestation_key) {
        *to = *from;
    }
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point);
    key.verify(quote.signed, quote.signature).map_err(|_| IntelError::QuoteSignature)?;
    steps.pass(6, "the attestation key signed the report");
    Ok(())
}

/// What the revocation lists say.
struct Lists<'a> {
    root: Option<RevocationList<'a>>,
    pck: Option<RevocationList<'a>>,
}

impl Lists<'_> {
    const fn told(&self) -> &'static str {
        if self.pck.is_some() { "not-revoked" } else { "not-checked" }
    }

    const fn words(&self) -> &'static str {
        match (&self.root, &self.pck) {
            (Some(_), Some(_)) => "neither the platform's certificate nor its authority was revoked",
            (Some(_), None) => {
                "the authority was not revoked; whether the platform's certificate was is not checked here"
            }
            (None, Some(_)) => {
                "the platform's certificate was not revoked; whether its authority was is not checked here"
            }
            (None, None) => "no revocation list is there; nothing is known of revocation",
        }
    }
}

/// Step 8: each list that is there holds and does not name the chain. Which must be there is decided where a security version is judged.
fn check_revocation<'a>(
    platform: &Platforms<'_>,
    endorsements: &IntelEndorsements<'a>,
    rules: &Rules,
    now: Timestamp,
) -> Result<Lists<'a>, IntelError> {
    let list = |der: Option<&'a [u8]>, issuer, lister| {
        der.map(|der| {
            RevocationList::check(der, issuer, now).map_err(|fault| IntelError::RevocationList(lister, fault))
        })
        .transpose()
    };
    let root = list(endorsements.root_ca_crl, platform.root, Lister::Root)?;
    if root.as_ref().is_some_and(|list| list.revokes(platform.authority)) {
        return Err(IntelError::Revoked(Holder::PckAuthority));
    }
    let pck = list(endorsements.pck_crl, platform.authority, Lister::PckAuthority)?;
    if pck.as_ref().is_some_and(|list| list.revokes(platform.pck)) {
        return Err(IntelError::Revoked(Holder::Pck));
    }
    if !endorsements.has_no_tcb_part() {
        if root.is_none() {
            return Err(IntelError::RevocationListMissing(Lister::Root));
        }
        if pck.is_none() && rules.revocation == Revocation::Complete {
            return Err(IntelError::RevocationListMissing(Lister::PckAuthority));
        }
    }
    Ok(Lists { root, pck })
}

impl IntelEndorsements<'_> {
    /// Whether nothing at all is there of what tells a security version.
    const fn has_no_tcb_part(&self) -> bool {
        self.tcb_info.is_none()
            && self.qe_identity.is_none()
            && self.tcb_signing_chain.is_none()
            && self.qe_identity_signing_chain.is_none()
    }
}

/// Steps 9 to 13: what Intel says of the security versions; `None` where no part of the TCB collateral is there.
#[allow(clippy::too_many_arguments)] // each is one thing that the verdict depends on
fn judge(
    quote: &Quote<'_>,
    platform: &Platforms<'_>,
    lists: &Lists<'_>,
    endorsements: &IntelEndorsements<'_>,
    anchors: &[TrustAnchor],
    rules: &Rules,
    now: Timestamp,
    claims: &mut Vec<Claim>,
    steps: &mut Steps,
) -> Result<Option<TcbStatus>, IntelError> {
    if endorsements.has_no_tcb_part() {
        return Ok(None);
    }
    let need = |part: Option<_>, name| part.ok_or(IntelError::EndorsementMissing(name));
    let info = need(endorsements.tcb_info, Part::Document(Document::TcbInfo))?;
    let identity = need(endorsements.qe_identity, Part::Document(Document::QeIdentity))?;
    let chain = need(endorsements.tcb_signing_chain, Part::Chain(Document::TcbInfo))?;
    let signer = Signer::check(Document::TcbInfo, chain, lists.root.as_ref(), platform.root, anchors, now)?;
    let info = signer.open(Document::TcbInfo, info)?;
    let identity = match endorsements.qe_identity_signing_chain {
        Some(chain) if !signer.has(chain) => {
            Signer::check(Document::QeIdentity, chain, lists.root.as_ref(), platform.root, anchors, now)?
                .open(Document::QeIdentity, identity)?
        }
        _ => signer.open(Document::QeIdentity, identity)?,
    };
    steps.pass(9, "a TCB signing certificate of the root signed the TCB info and the quoting enclave's identity");

    let info = TcbInfo::read(info, quote.tee(), &platform.extension, rules, now)?;
    let identity = QeIdentity::read(identity, quote.tee(), rules, now)?;
    steps.pass(10, format!("both are current, of TCB evaluation {}, for this processor", info.evaluation));
    let enclave = identity.judge(&quote.qe_report)?;
    steps.pass(11, "the quoting enclave is the one that Intel describes");

    let td = match &quote.body {
        Body::Enclave(_) => None,
        Body::TrustDomain(td) => Some(td),
    };
    let level = info.platform(&platform.extension, td)?;
    let module = td.map(|td| info.module(td)).transpose()?.flatten();
    steps
        .pass(12, format!("the platform reaches Intel's level of {}", level.date.chars().take(30).collect::<String>()));
    let mut status = level.status;
    if let Some((_, module)) = &module {
        status = converge(status, module.status);
    }
    status = converge(status, enclave.status);
    tell_tcb(claims, &info, level, module.as_ref(), &enclave, status);
    steps.pass(13, format!("Intel says {status:?} of platform, module and quoting enclave together"));
    Ok(Some(status))
}

/// The claims that TCB collateral adds.
fn tell_tcb(
    claims: &mut Vec<Claim>,
    info: &TcbInfo<'_>,
    level: &Verdict<'_>,
    module: Option<&(String, Verdict<'_>)>,
    enclave: &Verdict<'_>,
    status: TcbStatus,
) {
    let mut advisories: Vec<&str> = [level, enclave]
        .into_iter()
        .chain(module.map(|(_, verdict)| verdict))
        .flat_map(|verdict| verdict.advisories.iter().copied())
        .collect();
    advisories.sort_unstable();
    advisories.dedup();
    claims.push(claim(
        "tcb_status",
        format_args!("{status:?}"),
        "Intel's word on platform, module and quoting enclave",
    ));
    claims.push(claim("platform_status", format_args!("{:?}", level.status), "Intel's word on the platform"));
    claims.push(claim("tcb_date", level.date, "what Intel knew of at this date, the platform has fixed"));
    if let Some((name, verdict)) = module {
        claims.push(claim("tdx_module", name, "the identity of the TDX module"));
        claims.push(claim("module_status", format_args!("{:?}", verdict.status), "Intel's word on the TDX module"));
    }
    claims.push(claim("qe_status", format_args!("{:?}", enclave.status), "Intel's word on the quoting enclave"));
    claims.push(claim("advisory_ids", advisories.join(","), "Intel's security advisories that concern it"));
    claims.push(claim("tcb_info_version", info.version, "the form of the TCB info"));
    claims.push(claim(
        "tcb_evaluation_data_number",
        info.evaluation,
        "the number of Intel's TCB evaluation; it only grows",
    ));
    claims.push(claim("tcb_next_update", info.next_update, "until when the TCB info may be used"));
}

/// The claims that every quote makes.
fn claims_of(quote: &Quote<'_>, platform: &Platforms<'_>) -> Vec<Claim> {
    let extension = &platform.extension;
    let mut claims = Vec::with_capacity(48);
    claims.push(claim("quote_version", quote.version, "the form of the quote"));
    claims.push(claim("att_key_type", quote.key_type, "the attestation key's type; 2 is ECDSA on P-256"));
    claims.push(claim_hex("qe_vendor", quote.qe_vendor, "who made the quoting enclave: Intel"));
    claims.push(claim(
        "cert_type",
        quote.certification.kind,
        "how the platform is certified; 5 is a certificate chain",
    ));
    claims.push(claim("qe_isvsvn", quote.qe_report.isv_svn, "the quoting enclave's security version"));
    claims.push(claim_hex("fmspc", &extension.fmspc, "the kind of processor and platform"));
    claims.push(claim_hex("pceid", &extension.pce_id, "the provisioning certification enclave"));
    claims.push(claim("pck_pcesvn", extension.pce_svn, "its security version"));
    claims.push(claim_hex(
        "pck_cpusvn",
        &extension.cpu_svn,
        "the processor's security version that the key was made for",
    ));
    claims.push(claim_hex("ppid", &extension.ppid, "the identity of this very platform"));
    claims.push(claim("sgx_type", extension.sgx_type, "0 standard, 1 scalable, 2 scalable with integrity"));
    if let Some(instance) = &extension.platform_instance {
        claims.push(claim_hex("platform_instance", instance, "the identity of a platform of several processors"));
    }
    let flags = [
        ("dynamic_platform", extension.dynamic_platform, "processors may be added to the platform"),
        ("cached_keys", extension.cached_keys, "Intel's registration service keeps the platform's keys"),
        ("smt_enabled", extension.smt_enabled, "simultaneous multithreading is on"),
    ];
    for (name, value, words) in flags {
        if let Some(value) = value {
            claims.push(claim(name, value, words));
        }
    }
    claims.push(claim("pck_issuer", platform.issuer, "who issued the platform's certificate"));
    let validity = platform.pck.parsed().validity();
    let time = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::MIN);
    claims.push(claim("pck_valid_from", time(validity.not_before.timestamp()), "from when the certificate is valid"));
    claims.push(claim("pck_valid_until", time(validity.not_after.timestamp()), "until when it is valid"));
    claims
}

const ECDSA_P256: u16 = 2;
/// Intel's identifier as a vendor of quoting enclaves.
const INTEL: [u8; 16] =
    [0x93, 0x9A, 0x72, 0x33, 0xF7, 0x9C, 0x4C, 0xA9, 0x94, 0x0A, 0x0D, 0xB3, 0x95, 0x7F, 0x06, 0x07];
const PCK: &str = "Intel SGX PCK Certificate";
const PCK_AUTHORITIES: [&str; 2] = ["Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA"];
