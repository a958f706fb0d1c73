//! Evidence of each maker's platform, and what its maker signs.

use std::sync::LazyLock;

use attest::{
    arm::{
        cca::{CcaEvidence, examine as examine_cca},
        psa::{PsaEvidence, examine as examine_psa},
    },
    azure::{HclReport, SnpEndorsements, examine_snp, examine_tdx},
    certificate::TrustAnchor,
    hygon::CsvEvidence,
    ibm::HostKeyDocument,
    intel::{IntelEndorsements, PckExtension, Quote, Revocation, Rules, sgx, tdx},
    nitro::{NitroEvidence, NitroTpmEvidence, NitroTpmQuote},
    nvidia::{Device, DeviceEvidence, Endorsements, Kind, References, Report, Rim, Statements},
    risc0::{Parameters, Receipt, Version},
    roots::Authority,
    snp::SnpEvidence,
    tpm::QuoteEvidence,
};
use jiff::Timestamp;

use crate::{Fields, evidence::pcrs, signed};

/// Quotes of SGX and TDX with all that comes beside them, as it comes.
pub fn intel(bytes: &[u8]) {
    let Some((now, mut fields)) = Fields::at_a_time(bytes) else { return };
    let quote = fields.file_or_empty();
    let _ = Quote::parse(quote);
    let _ = PckExtension::parse(quote);
    let endorsements = endorsements(&mut fields);
    let _ = sgx::examine(quote, &endorsements, &INTEL, &RULES, now);
    let _ = tdx::examine(quote, &endorsements, &INTEL, &RULES, now);
}

/// Intel's TCB info and identities, signed here: quote, TCB info, identity, root's list.
pub fn collateral(bytes: &[u8]) {
    let Some((now, mut fields)) = Fields::at_a_time(bytes) else { return };
    let signer = signed::DocumentSigner::get();
    let quote = fields.file_or_empty();
    let info = signer.envelope("tcbInfo", fields.file_or_empty());
    let identity = signer.envelope("enclaveIdentity", fields.file_or_empty());
    let endorsements = IntelEndorsements {
        tcb_info: Some(&info),
        qe_identity: Some(&identity),
        tcb_signing_chain: Some(&signer.chain),
        root_ca_crl: fields.file(),
        ..IntelEndorsements::default()
    };
    let anchors: Vec<_> = INTEL.iter().chain([&signer.anchor]).cloned().collect();
    let _ = sgx::examine(quote, &endorsements, &anchors, &RULES, now);
    let _ = tdx::examine(quote, &endorsements, &anchors, &RULES, now);
}

/// SEV-SNP: a report, its key, the chain and a list.
pub fn snp(bytes: &[u8]) {
    let mut fields = Fields::new(bytes);
    let Some(report) = fields.file() else { return };
    let evidence = SnpEvidence { report, key: fields.file(), chain: fields.file(), list: fields.file() };
    let _ = attest::snp::examine(&evidence, &AMD, MID_2025);
    let _ = attest::snp::Report::parse(bytes);
}

/// Documents of Nitro Enclaves.
pub fn nitro(bytes: &[u8]) {
    let Some((now, fields)) = Fields::at_a_time(bytes) else { return };
    let evidence = NitroEvidence { document: fields.rest().to_vec() };
    let _ = attest::nitro::examine(&evidence, &AWS, now);
}

/// Documents of NitroTPM, with a quote.
pub fn nitro_tpm(bytes: &[u8]) {
    let Some((now, mut fields)) = Fields::at_a_time(bytes) else { return };
    let document = fields.file_or_empty().to_vec();
    let quote = fields
        .file()
        .map(|message| NitroTpmQuote { message: message.to_vec(), signature: fields.file_or_empty().to_vec() });
    let _ = attest::nitro::examine_tpm(&NitroTpmEvidence { document, quote }, &AWS, now);
}

/// Images of Nitro Enclaves: as they come, and with the checksum that belongs to them.
pub fn nitro_image(bytes: &[u8]) {
    let _ = attest::nitro::image::measure(bytes);
    let mut image = bytes.to_vec();
    if let Some((header, contents)) = image.split_at_mut_checked(EIF_HEADER) {
        let (start, checksum) = header.split_at_mut(EIF_HEADER - 4);
        checksum.copy_from_slice(&crc32(start.iter().chain(contents.iter())).to_be_bytes());
        let _ = attest::nitro::image::measure(&image);
    }
}

/// Azure's report: parsed, its binding held, a quote checked under its key, and examined whole.
pub fn hcl(bytes: &[u8]) {
    if let Ok(report) = HclReport::parse(bytes) {
        let _ = report.check_binding();
        let (message, signature) = (report.hardware, report.runtime);
        let quote = QuoteEvidence { message, signature, pcrs: &[], event_log: Some(bytes) };
        let _ = quote.check(&report.attestation_key);
    }
    let _ = examine_snp(bytes, None, &SnpEndorsements::default(), &AMD, MID_2025);
}

/// Azure's reports with a quote, and the Endorsements of either processor.
pub fn azure(bytes: &[u8]) {
    let Some((now, mut fields)) = Fields::at_a_time(bytes) else { return };
    let [report, message, signature, values] = std::array::from_fn(|_| fields.file_or_empty());
    let pcrs = pcrs(values);
    let quote = QuoteEvidence { message, signature, pcrs: &pcrs, event_log: None };
    let mut amd = fields;
    let snp = SnpEndorsements { key: amd.file(), chain: amd.file(), list: amd.file() };
    let _ = examine_snp(report, Some(&quote), &snp, &AMD, now);
    let processor = fields.file();
    let endorsements = endorsements(&mut fields);
    let _ = examine_tdx(report, processor, Some(&quote), &endorsements, &INTEL, &RULES, now);
}

/// Arm CCA: a token under the key beside it; and claims of platform and realm, each signed here.
pub fn cca(bytes: &[u8]) {
    let mut fields = Fields::new(bytes);
    let (token, key) = (fields.file_or_empty().to_vec(), fields.file_or_empty());
    let keys: Vec<_> = attest::keys::VerificationKey::from_spki(key).into_iter().collect();
    let _ = examine_cca(&CcaEvidence { token }, &keys, MID_2025);
    let token = collection(&signed::cose(fields.file_or_empty()), &signed::cose(fields.file_or_empty()));
    let _ = examine_cca(&CcaEvidence { token }, &[signed::key().clone()], MID_2025);
}

/// Arm PSA: a token under the key beside it; and claims that are signed here.
pub fn psa(bytes: &[u8]) {
    let mut fields = Fields::new(bytes);
    let (token, key) = (fields.file_or_empty().to_vec(), fields.file_or_empty());
    let keys: Vec<_> = attest::keys::VerificationKey::from_spki(key).into_iter().collect();
    let _ = examine_psa(&PsaEvidence { token }, &keys, MID_2025);
    let token = signed::cose(fields.file_or_empty());
    let _ = examine_psa(&PsaEvidence { token }, &[signed::key().clone()], MID_2025);
}

/// Reports of NVIDIA devices: the messages, and the whole examination with the input as report and as certificates.
pub fn spdm(bytes: &[u8]) {
    if let Ok(report) = Report::parse(bytes) {
        assert_eq!(report.signature().len(), 96);
        assert!(bytes.starts_with(report.signed()));
        let opaque = report.opaque();
        let _ = (opaque.driver_version(), opaque.vbios_release(), opaque.fwid());
    }
    let (report, certificates) = bytes.split_at(bytes.len() / 2);
    let evidence = DeviceEvidence { report: report.to_vec(), certificates: certificates.to_vec() };
    let anchors = NVIDIA.clone();
    let revocation = Statements { lists: vec![report], responses: vec![report] };
    let endorsements = Endorsements { anchors, revocation, references: References::Policy };
    let _ = Device::examine(Kind::Gpu, &evidence, &endorsements, MID_2026);
}

/// What NVIDIA's collectors write, and the devices in it with the statements of revocation that follow.
pub fn collected(bytes: &[u8]) {
    let mut fields = Fields::new(bytes);
    let Some(devices) = DeviceEvidence::from_collector(fields.file_or_empty()) else { return };
    let revocation =
        Statements { lists: fields.file().into_iter().collect(), responses: fields.file().into_iter().collect() };
    let anchors = NVIDIA.clone();
    let endorsements = Endorsements { anchors, revocation, references: References::Policy };
    for device in devices.iter().take(2) {
        let _ = Device::examine(Kind::Gpu, device, &endorsements, MID_2026);
        let _ = Device::examine(Kind::Switch, device, &endorsements, MID_2026);
    }
}

/// Manifests of Reference Values: XML, canonical form, signature, content.
pub fn rim(bytes: &[u8]) {
    let _ = Rim::verify(bytes, &NVIDIA_RIM, &Statements::default(), MID_2026);
}

/// Hygon CSV: a report and three certificates in Hygon's format.
pub fn hygon(bytes: &[u8]) {
    let mut fields = Fields::new(bytes);
    let [report, cek, hsk, root] = std::array::from_fn(|_| fields.file_or_empty());
    let evidence = CsvEvidence { report: report.to_vec(), cek: cek.to_vec(), hsk: hsk.to_vec() };
    let _ = attest::hygon::examine(&evidence, root, MID_2025);
}

/// IBM's host-key documents, under the anchor that comes with them.
pub fn ibm(bytes: &[u8]) {
    let Some((now, mut fields)) = Fields::at_a_time(bytes) else { return };
    let [document, signing_key, intermediate, list, of_intermediate, of_root, anchor] =
        std::array::from_fn(|_| fields.file_or_empty().to_vec());
    let evidence = HostKeyDocument {
        document,
        signing_key,
        intermediates: vec![intermediate],
        list,
        authority_lists: vec![of_intermediate, of_root],
    };
    let anchors: Vec<_> = TrustAnchor::pin(&anchor).into_iter().collect();
    let _ = attest::ibm::examine(&evidence, &anchors, now);
}

/// Keystone: a report, and the key of a device that is pinned.
pub fn keystone(bytes: &[u8]) {
    let mut fields = Fields::new(bytes);
    let (report, device) = (fields.file_or_empty(), fields.file_or_empty());
    let devices: Vec<[u8; 32]> = device.try_into().into_iter().collect();
    let _ = attest::keystone::examine(report, &devices, MID_2025);
}

/// Receipts of RISC Zero: a seal of 260 bytes and then a journal.
pub fn risc0(bytes: &[u8]) {
    let (seal, journal) = bytes.split_at(bytes.len().min(260));
    let receipt = Receipt { seal: seal.to_vec(), journal: journal.to_vec(), image_id: [0; 32] };
    let accepted: Vec<Parameters> = Version::ALL.into_iter().filter_map(Parameters::of).collect();
    assert!(attest::risc0::examine(&receipt, &accepted, Timestamp::UNIX_EPOCH).is_err());
}

fn endorsements<'a>(fields: &mut Fields<'a>) -> IntelEndorsements<'a> {
    let [info, identity, chain, pck_list, root_list] = std::array::from_fn(|_| fields.file());
    IntelEndorsements {
        pck_chain: None,
        tcb_info: info,
        qe_identity: identity,
        tcb_signing_chain: chain,
        qe_identity_signing_chain: None,
        pck_crl: pck_list,
        root_ca_crl: root_list,
    }
}

/// The two tokens of Arm CCA as one: tag 399 around a map of 44234 and 44241.
fn collection(platform: &[u8], realm: &[u8]) -> Vec<u8> {
    let parts = [
        b"\xd9\x01\x8f\xa2\x19\xac\xca".as_slice(),
        &signed::string(platform),
        b"\x19\xac\xd1",
        &signed::string(realm),
    ];
    parts.concat()
}

/// CRC-32 as in IEEE 802.3, over the bytes in turn.
fn crc32<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

static INTEL: LazyLock<Vec<TrustAnchor>> = LazyLock::new(|| Authority::IntelSgx.anchors());
static AMD: LazyLock<Vec<TrustAnchor>> = LazyLock::new(attest::snp::anchors);
static AWS: LazyLock<Vec<TrustAnchor>> = LazyLock::new(|| Authority::AwsNitro.anchors());
static NVIDIA: LazyLock<Vec<TrustAnchor>> = LazyLock::new(|| Authority::NvidiaDevice.anchors());
static NVIDIA_RIM: LazyLock<Vec<TrustAnchor>> = LazyLock::new(|| Authority::NvidiaRim.anchors());
const RULES: Rules = Rules { evaluation_floor: 0, revocation: Revocation::Authorities };
/// Header of an image, its checksum at the end.
const EIF_HEADER: usize = 548;
/// A time at which most of the seeds' certificates are valid.
const MID_2025: Timestamp = Timestamp::constant(1_750_000_000, 0);
/// A time at which NVIDIA's are.
const MID_2026: Timestamp = Timestamp::constant(1_780_272_000, 0);
