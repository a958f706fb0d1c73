//! Hygon CSV: attestation reports signed with SM2.
//!
//! A report (version 1, 2,548 bytes, little-endian) is signed by the platform's endorsement key (PEK), whose certificate it carries; above it
//! stand the chip's key (CEK), Hygon's signing key (HSK) and Hygon's root key (HRK), which is pinned. Certificates are a binary format of
//! Hygon's own without dates and without revocation, so neither is checked, and a caller who must revoke lists chips. Numbers are
//! little-endian in slots of 72 bytes; the SM2 user id is the signer's, as its certificate says. Fields, and the certificate inside,
//! are masked with a 32-bit number that stands in the report; signature and MAC cover them masked. The rest of the report is under an HMAC-SM3 keyed with the report's own
//! nonce, which whoever sees the report can make anew: it is compared and proves nothing.
//!
//! A report of version 2 (3,380 bytes; firmware from build 2337 on) masks nothing and has five run-time registers, of which the first is the measurement.
//! Source: `csv-rs` (Hygon), `TeeInfoV2`.

use hmac::{Hmac, Mac};
use jiff::Timestamp;
use sm2::dsa::{Signature, VerifyingKey, signature::Verifier};
use sm3::Sm3;
use subtle::ConstantTimeEq;

use crate::{
    Tier,
    platform::{Assurance, Claim, Genuine, Platform, Refusal, Register, Steps, claim, claim_hex, register},
    reader::{FormatError, Reader},
};

/// A report and the certificates that its platform does not carry in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvEvidence {
    /// The report: [`REPORT`] bytes, or [`EXTENDED_REPORT`] of version 2.
    pub report: Vec<u8>,
    /// The chip's certificate (CEK), 2,084 bytes.
    pub cek: Vec<u8>,
    /// Hygon's signing key (HSK), 832 bytes.
    pub hsk: Vec<u8>,
}

/// Why a report is refused. Numbers are the steps of `docs/spec/platforms/hygon-csv.md`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// Step 1.
    #[error("the Evidence cannot be read")]
    Malformed(#[source] FormatError),
    /// Step 2: a link of the chain.
    #[error("the {0} is not signed by the key above it")]
    Chain(Link),
    /// Step 3.
    #[error("the report's signature does not verify under the platform's key")]
    Signature,
    /// Step 4.
    #[error("the report's outer part is not under its MAC")]
    Mac,
    /// Step 5.
    #[error("the machine may be debugged by its host")]
    Debug,
}

/// A link of Hygon's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// The root's own signature.
    Root,
    /// Hygon's signing key.
    SigningKey,
    /// The chip's key.
    ChipKey,
    /// The platform's key.
    PlatformKey,
}

impl Refusal for CsvError {
    fn step(&self) -> u8 {
        match self {
            CsvError::Malformed(_) => 1,
            CsvError::Chain(_) => 2,
            CsvError::Signature => 3,
            CsvError::Mac => 4,
            CsvError::Debug => 5,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            CsvError::Malformed(_) => "evidence-malformed",
            CsvError::Chain(Link::SigningKey) => "root-not-trusted",
            CsvError::Chain(_) => "chain-invalid",
            CsvError::Signature => "report-signature-invalid",
            CsvError::Mac => "report-mac-invalid",
            CsvError::Debug => "debug-enabled",
        }
    }

    fn is_malformed(&self) -> bool {
        self.step() == 1
    }
}

impl From<FormatError> for CsvError {
    fn from(error: FormatError) -> CsvError {
        CsvError::Malformed(error)
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Link::Root => "root key",
            Link::SigningKey => "signing key",
            Link::ChipKey => "chip's key",
            Link::PlatformKey => "platform's key",
        })
    }
}

/// Hygon's root key as it is published, in Hygon's certificate format.
pub const HYGON_ROOT: &[u8] = include_bytes!("../roots/hygon_hrk.cert");

/// Examines a report. `root` is the pinned root key in Hygon's format, such as [`HYGON_ROOT`].
///
/// # Errors
/// The first step that fails.
pub fn examine(evidence: &CsvEvidence, root: &[u8], now: Timestamp) -> Result<Genuine, CsvError> {
    let mut steps = Steps::default();
    let report = Report::parse(&evidence.report)?;
    let root = Certificate::authority(root, USAGE_ROOT)?;
    let signing = Certificate::authority(&evidence.hsk, USAGE_SIGNING)?;
    let chip = Certificate::platform(&evidence.cek, USAGE_CHIP)?;
    let platform = Certificate::platform(&report.pek, USAGE_PLATFORM)?;
    steps.pass(1, "the report and the certificates are of Hygon's formats");
    let links = [(&root, &root, Link::Root), (&root, &signing, Link::SigningKey), (&signing, &chip, Link::ChipKey)];
    for (above, below, link) in links.into_iter().chain([(&chip, &platform, Link::PlatformKey)]) {
        if !below.signatures.iter().any(|signature| above.signed(below.signed, signature)) {
            return Err(CsvError::Chain(link));
        }
    }
    steps.pass(2, "platform key, chip key and signing key lead to the pinned root key");
    if !platform.signed(report.signed, &report.signature) {
        return Err(CsvError::Signature);
    }
    steps.pass(3, "the platform's key signed the report");
    let body = Body::unmask(&report)?;
    if !is_under_mac(&report, &body.mnonce) {
        return Err(CsvError::Mac);
    }
    steps.pass(4, "the outer part is under the report's MAC, which anybody could make");
    // Bit 0 of the policy is NODBG: the host may not debug.
    if body.policy & 1 == 0 {
        return Err(CsvError::Debug);
    }
    steps.pass(5, "the host may not debug the machine");
    let serial = report.serial(body.mask);
    Ok(Genuine {
        platform: Platform::HygonCsv,
        assurance: Assurance::Affirmed,
        tier: Tier::ConfidentialVm,
        debug: false,
        bound: body.report_data.to_vec(),
        hardware_id: Some(hex::encode(chip.key_bytes())),
        registers: registers(&body),
        claims: claims(&body, &serial),
        steps: steps.done(),
        examined_at: now,
    })
}

/// What a policy can pin: what was started, how the host and the owner set it up, each as its claim is written, and what was measured since.
fn registers(body: &Body) -> Vec<Register> {
    let mut registers = vec![
        register("measure", &body.measure),
        register("policy", &body.policy.to_le_bytes()),
        register("vm_id", &body.vm_id),
        register("vm_version", &body.vm_version),
        register("user_pubkey_digest", &body.user_key_digest),
    ];
    if let Some(extension) = &body.extension {
        let named = RTMR.into_iter().zip(&extension.registers);
        registers.extend(named.map(|(name, value)| register(name, value)));
    }
    registers
}

fn claims(body: &Body, serial: &str) -> Vec<Claim> {
    let mut claims = vec![
        claim_hex("measure", &body.measure, "the measurement of the machine as it was started (SM3)"),
        claim_hex("report_data", &body.report_data, "what the machine put into its report"),
        claim_hex("vm_id", &body.vm_id, "the id that the host gave the machine"),
        claim_hex("vm_version", &body.vm_version, "the version that the host gave the machine"),
        claim_hex(
            "user_pubkey_digest",
            &body.user_key_digest,
            "the digest of the owner's key at launch; zero if there was none",
        ),
        claim_hex("mnonce", &body.mnonce, "the nonce of this report, which keys its MAC"),
        claim_hex("policy", &body.policy.to_le_bytes(), "what the host may do with the machine"),
        claim("anonce", body.mask, "the number with which the fields are masked"),
        claim("serial", serial, "the serial number of the chip, under the MAC only"),
    ];
    if let Some(extension) = &body.extension {
        claims.push(claim("build", extension.build, "the build of the firmware"));
        claims.push(claim("rtmr_version", extension.version, "the version of the run-time registers"));
    }
    claims
}

struct Report<'a> {
    /// The masked body, which is what is signed.
    signed: &'a [u8],
    mask: u32,
    signature: [u8; 64],
    /// The platform key's certificate, unmasked.
    pek: Vec<u8>,
    serial: &'a [u8],
    /// Certificate, serial number and reserved bytes: under the MAC.
    outer: &'a [u8],
    mac: [u8; 32],
}

struct Body {
    mask: u32,
    user_key_digest: [u8; 32],
    vm_id: [u8; 16],
    vm_version: [u8; 16],
    report_data: [u8; 64],
    mnonce: [u8; 16],
    measure: [u8; 32],
    policy: u32,
    extension: Option<Extension>,
}

/// What version 2 has beyond version 1.
struct Extension {
    build: u32,
    version: u16,
    registers: [[u8; 32]; 5],
}

impl<'a> Report<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Report<'a>, FormatError> {
        let mut reader = Reader::new("CSV report", bytes);
        if bytes.len() == EXTENDED_REPORT {
            let signed = reader.take(EXTENDED_BODY)?;
            let signature = read_signature(&mut reader)?;
            return Report::rest(reader, signed, 0, signature);
        }
        let signed = reader.take(BODY)?;
        let (usage, algorithm) = (reader.u32_le()?, reader.u32_le()?);
        let mask = reader.u32_le()?;
        if usage ^ mask != USAGE_PLATFORM {
            return Err(reader.refuse("signature usage", usage ^ mask));
        }
        if algorithm ^ mask != ALGORITHM_SM2 {
            return Err(reader.refuse("signature algorithm", algorithm ^ mask));
        }
        let signature = read_signature(&mut reader)?;
        Report::rest(reader, signed, mask, signature)
    }

    /// Behind the signature.
    fn rest(
        mut reader: Reader<'a>,
        signed: &'a [u8],
        mask: u32,
        signature: [u8; 64],
    ) -> Result<Report<'a>, FormatError> {
        let mut rest = reader.clone();
        let pek = reader.take(PLATFORM_CERTIFICATE)?;
        let serial = reader.take(64)?;
        let reserved = reader.take(32)?;
        let outer = rest.take(pek.len() + serial.len() + reserved.len())?;
        let mac = reader.array()?;
        reader.finish()?;
        Ok(Report { signed, mask, signature, pek: unmask(pek, mask), serial, outer, mac })
    }

    fn serial(&self, mask: u32) -> String {
        let text = unmask(self.serial, mask);
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        let text = text.get(..end).unwrap_or_default();
        text.iter().map(|byte| char::from(*byte)).filter(char::is_ascii_alphanumeric).collect()
    }
}

impl Body {
    fn unmask(report: &Report<'_>) -> Result<Body, FormatError> {
        let clear = unmask(report.signed, report.mask);
        let mut reader = Reader::new("CSV report body", &clear);
        let body = Body {
            mask: report.mask,
            user_key_digest: reader.array()?,
            vm_id: reader.array()?,
            vm_version: reader.array()?,
            report_data: reader.array()?,
            mnonce: reader.array()?,
            measure: reader.array()?,
            policy: reader.u32_le()?,
            extension: if reader.is_empty() { None } else { Some(Extension::read(&mut reader)?) },
        };
        reader.finish()?;
        Ok(body)
    }
}

impl Extension {
    fn read(reader: &mut Reader<'_>) -> Result<Extension, FormatError> {
        expect(reader, "signature usage", USAGE_PLATFORM)?;
        expect(reader, "signature algorithm", ALGORITHM_SM2)?;
        let (build, version) = (reader.u32_le()?, reader.u16_le()?);
        reader.take(14)?;
        let mut registers = [[0; 32]; 5];
        for register in &mut registers {
            *register = reader.array()?;
        }
        reader.take(656)?;
        Ok(Extension { build, version, registers })
    }
}

struct Certificate<'a> {
    signed: &'a [u8],
    user_id: &'a str,
    /// SEC 1, uncompressed.
    point: [u8; 65],
    signatures: Vec<[u8; 64]>,
}

impl<'a> Certificate<'a> {
    /// HRK and HSK: version, key id, certifying id, usage, 24 reserved bytes, key, reserved bytes up to 576, signature.
    fn authority(bytes: &'a [u8], usage: u32) -> Result<Certificate<'a>, FormatError> {
        let mut reader = Reader::new("Hygon authority certificate", bytes);
        let signed = reader.clone().take(AUTHORITY_SIGNED)?;
        expect(&mut reader, "version", 1)?;
        reader.take(32)?;
        expect(&mut reader, "key usage", usage)?;
        reader.take(24)?;
        let (point, user_id) = read_key(&mut reader)?;
        reader.take(AUTHORITY_SIGNED - 64 - KEY)?;
        let signature = read_signature(&mut reader)?;
        zeros(&mut reader, "reserved", 112)?;
        reader.finish()?;
        Ok(Certificate { signed, user_id, point, signatures: vec![signature] })
    }

    /// CEK and PEK: version, API version, usage, algorithm, key up to 1,044, then two signatures with usage and algorithm.
    fn platform(bytes: &'a [u8], usage: u32) -> Result<Certificate<'a>, FormatError> {
        let mut reader = Reader::new("Hygon platform certificate", bytes);
        let signed = reader.clone().take(PLATFORM_SIGNED)?;
        reader.take(8)?;
        expect(&mut reader, "key usage", usage)?;
        expect(&mut reader, "key algorithm", ALGORITHM_SM2)?;
        let (point, user_id) = read_key(&mut reader)?;
        reader.take(PLATFORM_SIGNED - 16 - KEY)?;
        let mut signatures = Vec::new();
        for _ in 0..2 {
            let used = reader.u32_le()?;
            let _algorithm = reader.u32_le()?;
            let signature = read_signature(&mut reader)?;
            reader.take(512 - 144)?;
            if used != USAGE_INVALID {
                signatures.push(signature);
            }
        }
        reader.finish()?;
        Ok(Certificate { signed, user_id, point, signatures })
    }

    /// Whether this certificate's key signed the message under its own user id.
    fn signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        let key = VerifyingKey::from_sec1_bytes(self.user_id, &self.point);
        let signature = Signature::from_slice(signature);
        match (key, signature) {
            (Ok(key), Ok(signature)) => key.verify(message, &signature).is_ok(),
            _ => false,
        }
    }

    fn key_bytes(&self) -> &[u8] {
        self.point.get(1..).unwrap_or_default()
    }
}

/// Curve, coordinates, user id with its length: 404 bytes.
fn read_key<'a>(reader: &mut Reader<'a>) -> Result<([u8; 65], &'a str), FormatError> {
    expect(reader, "curve", CURVE_SM2)?;
    let x = coordinate(reader)?;
    let y = coordinate(reader)?;
    let mut point = [0; 65];
    let bytes = [4].into_iter().chain(x).chain(y);
    point.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    let size = reader.u16_le()?;
    let room = reader.take(254)?;
    let user_id = room.get(..usize::from(size)).and_then(|id| std::str::from_utf8(id).ok());
    Ok((point, user_id.ok_or_else(|| reader.refuse("user id", size))?))
}

fn read_signature(reader: &mut Reader<'_>) -> Result<[u8; 64], FormatError> {
    let r = coordinate(reader)?;
    let s = coordinate(reader)?;
    let mut signature = [0; 64];
    signature.iter_mut().zip(r.into_iter().chain(s)).for_each(|(to, from)| *to = from);
    Ok(signature)
}

/// A number of 32 bytes, little-endian in a slot of 72; big-endian on return.
fn coordinate(reader: &mut Reader<'_>) -> Result<[u8; 32], FormatError> {
    let mut number: [u8; 32] = reader.array()?;
    zeros(reader, "number of more than 256 bits", 40)?;
    number.reverse();
    Ok(number)
}

fn zeros(reader: &mut Reader<'_>, field: &'static str, count: usize) -> Result<(), FormatError> {
    match reader.take(count)?.iter().find(|byte| **byte != 0) {
        Some(byte) => Err(reader.refuse(field, *byte)),
        None => Ok(()),
    }
}

fn expect(reader: &mut Reader<'_>, field: &'static str, expected: u32) -> Result<(), FormatError> {
    let value = reader.u32_le()?;
    if value == expected { Ok(()) } else { Err(reader.refuse(field, value)) }
}

fn is_under_mac(report: &Report<'_>, key: &[u8; 16]) -> bool {
    let Ok(mut mac) = Hmac::<Sm3>::new_from_slice(key) else { return false };
    mac.update(report.outer);
    bool::from(mac.finalize().into_bytes().ct_eq(&report.mac))
}

fn unmask(bytes: &[u8], mask: u32) -> Vec<u8> {
    bytes.iter().zip(mask.to_le_bytes().into_iter().cycle()).map(|(byte, mask)| byte ^ mask).collect()
}

/// The size of a report of version 1.
pub const REPORT: usize = BODY + 12 + 144 + SIGNER;
/// The size of a report of version 2.
pub const EXTENDED_REPORT: usize = EXTENDED_BODY + 144 + SIGNER;
const BODY: usize = 180;
const EXTENDED_BODY: usize = 1024;
/// Certificate, serial number, reserved bytes and MAC.
const SIGNER: usize = PLATFORM_CERTIFICATE + 64 + 32 + 32;
const RTMR: [&str; 5] = ["rtmr0", "rtmr1", "rtmr2", "rtmr3", "rtmr4"];
const KEY: usize = 4 + 72 + 72 + 256;
const AUTHORITY_SIGNED: usize = 576;
const PLATFORM_SIGNED: usize = 1044;
const PLATFORM_CERTIFICATE: usize = 2084;
const CURVE_SM2: u32 = 3;
const ALGORITHM_SM2: u32 = 4;
const USAGE_ROOT: u32 = 0;
const USAGE_SIGNING: u32 = 0x13;
const USAGE_CHIP: u32 = 0x1004;
const USAGE_PLATFORM: u32 = 0x1002;
const USAGE_INVALID: u32 = 0x1000;
