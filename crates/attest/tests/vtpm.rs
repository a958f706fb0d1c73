//! Virtual TPMs of clouds: Azure's, bound into a report of the hardware, and Google's, certified by Google.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod corpus;

use std::collections::BTreeMap;

use attest::{
    FormatError, HashAlgorithm, PcrValue,
    azure::{AzureError, HclReport, SnpEndorsements, examine_snp, examine_tdx},
    certificate::{Certificate, TrustAnchor},
    gcp::{self, GcpError},
    intel::{IntelEndorsements, Revocation, Rules},
    platform::{Genuine, Platform, Refusal as _},
    roots::Authority,
    snp,
    tpm::{PublicKey, Quote, QuoteError, QuoteEvidence, QuoteFault},
};
use corpus::{Case, flip};

/// Where the hardware's report, the runtime header and the claims begin.
const HARDWARE: usize = 32;
const HEADER: usize = 1216;
const CLAIMS: usize = 1236;

struct Azure {
    case: Case,
    report: Vec<u8>,
    message: Vec<u8>,
    signature: Vec<u8>,
    pcrs: Vec<PcrValue>,
}

impl Azure {
    fn of(id: &str) -> Option<Azure> {
        let case = Case::one(id)?;
        let [report, message, signature] =
            ["hcl_report", "tpm_quote_msg", "tpm_quote_sig"].map(|role| case.bytes(role));
        let pcrs = values(&case.bytes("pcrs"));
        Some(Azure { case, report, message, signature, pcrs })
    }

    fn quote(&self) -> QuoteEvidence<'_> {
        QuoteEvidence { message: &self.message, signature: &self.signature, pcrs: &self.pcrs, event_log: None }
    }

    fn snp(&self) -> Result<Genuine, AzureError> {
        let (key, chain) = (self.case.bytes("vcek"), self.case.bytes("cert_chain"));
        let endorsements = SnpEndorsements { key: Some(&key), chain: Some(&chain), list: None };
        examine_snp(&self.report, Some(&self.quote()), &endorsements, &snp::anchors(), self.case.now())
            .map(|shown| shown.genuine().clone())
    }

    fn tdx(&self, td_quote: Option<&[u8]>) -> Result<Genuine, AzureError> {
        let files = ["tcb_info", "qe_identity", "tcb_signing_chain", "pck_crl", "root_ca_crl"];
        let [tcb_info, qe_identity, chain, pck_crl, root_ca_crl] = files.map(|role| self.case.bytes(role));
        let endorsements = IntelEndorsements {
            pck_chain: None,
            tcb_info: Some(&tcb_info),
            qe_identity: Some(&qe_identity),
            tcb_signing_chain: Some(&chain),
            qe_identity_signing_chain: None,
            pck_crl: Some(&pck_crl),
            root_ca_crl: Some(&root_ca_crl),
        };
        let rules = Rules { evaluation_floor: 0, revocation: Revocation::Complete };
        let anchors = Authority::IntelSgx.anchors();
        let quote = self.quote();
        examine_tdx(&self.report, td_quote, Some(&quote), &endorsements, &anchors, &rules, self.case.now())
    }

    /// The end of the claims; zeros follow.
    fn end(&self) -> usize {
        let size: [u8; 4] = self.report[CLAIMS - 4..CLAIMS].try_into().unwrap();
        CLAIMS + u32::from_le_bytes(size) as usize
    }
}

fn values(json: &[u8]) -> Vec<PcrValue> {
    let banks: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_slice(json).unwrap();
    let known = [HashAlgorithm::Sha1, HashAlgorithm::Sha256, HashAlgorithm::Sha384];
    let bank = |name: &str| known.into_iter().find(|bank| bank.name() == name).unwrap();
    let value = |name: &str, index: &str, value: &str| PcrValue {
        bank: bank(name),
        index: index.parse().unwrap(),
        value: hex::decode(value).unwrap(),
    };
    banks.iter().flat_map(|(name, pcrs)| pcrs.iter().map(|(pcr, hex)| value(name, pcr, hex))).collect()
}

#[test]
fn azure_machines_are_genuine_and_bound_by_their_quote() {
    let Some(snp) = Azure::of("azure-snp-vtpm/trustee-evidence-v1") else { return };
    let genuine = snp.snp().unwrap();
    assert_eq!(genuine.platform(), Platform::AzureSnp);
    assert!(!genuine.bound().is_empty());
    assert!(genuine.claims().iter().any(|claim| claim.name == "hardware:platform_info"));
    let tdx = Azure::of("azure-tdx-vtpm/attestation-rs-live").unwrap();
    let genuine = tdx.tdx(Some(&tdx.case.bytes("td_quote"))).unwrap();
    assert_eq!(genuine.platform(), Platform::AzureTdx);
    assert!(genuine.register("mrtd").is_some() && genuine.register("pcr0").is_some());
}

#[test]
fn a1_what_is_not_vouched_for_in_an_azure_report_are_these_bytes() {
    let Some(azure) = Azure::of("azure-snp-vtpm/trustee-evidence-v1") else { return };
    let mut unsigned = Vec::new();
    let expensive = HARDWARE..HEADER;
    for at in (0..azure.report.len()).filter(|at| !expensive.contains(at)) {
        let mut accepted = 0;
        for bit in at * 8..at * 8 + 8 {
            let changed = flip(&azure.report, bit);
            let outcome = HclReport::parse(&changed).and_then(|report| report.check_binding());
            match outcome {
                Ok(()) => accepted += 1,
                Err(AzureError::Malformed(_) | AzureError::RuntimeClaims | AzureError::Binding) => {}
                Err(other) => panic!("byte {at}: {other:?}"),
            }
        }
        if accepted == 8 {
            unsigned.push(at);
        } else {
            // The version (1 or 2), and the type of the report, which says how the hardware's report is read: a bit or two make another known one.
            assert!(accepted == 0 || (4..8).contains(&at), "byte {at}: {accepted} bits");
        }
    }
    let header: Vec<usize> = (8..HARDWARE).chain(HEADER..HEADER + 8).collect();
    assert_eq!(unsigned, header);
    // Within the hardware's report every bit counts, by its own examination: here one bit of each byte.
    let mut changed = Azure::of("azure-snp-vtpm/trustee-evidence-v1").unwrap();
    for at in expensive.step_by(7) {
        changed.report = flip(&azure.report, at * 8 + at % 8);
        assert!(matches!(changed.snp(), Err(AzureError::Snp(_) | AzureError::Binding)), "byte {at}");
    }
}

/// Why a changed message is refused: where a length in it is another, it does not end where it should.
fn of_changed(message: &[u8]) -> &'static str {
    match Quote::parse(message) {
        Err(QuoteError::Format(FormatError::Truncated { .. } | FormatError::Trailing { .. })) => "quote-malformed",
        _ => "signature-invalid",
    }
}

#[test]
fn a1_every_bit_of_a_vtpms_quote_counts() {
    let Some(azure) = Azure::of("azure-snp-vtpm/trustee-evidence-v1") else { return };
    let report = HclReport::parse(&azure.report).unwrap();
    let check = |message: &[u8], signature: &[u8], pcrs: &[PcrValue]| {
        QuoteEvidence { message, signature, pcrs, event_log: None }
            .check(&report.attestation_key)
            .err()
            .map(|e| e.code())
    };
    assert_eq!(check(&azure.message, &azure.signature, &azure.pcrs), None);
    for bit in 0..azure.message.len() * 8 {
        let changed = flip(&azure.message, bit);
        assert_eq!(check(&changed, &azure.signature, &azure.pcrs), Some(of_changed(&changed)), "{bit}");
    }
    for bit in 0..azure.signature.len() * 8 {
        assert_eq!(
            check(&azure.message, &flip(&azure.signature, bit), &azure.pcrs),
            Some("signature-invalid"),
            "{bit}"
        );
    }
    for index in 0..azure.pcrs.len() {
        let mut pcrs = azure.pcrs.clone();
        pcrs[index].value[index % 20] ^= 1;
        assert_eq!(check(&azure.message, &azure.signature, &pcrs), Some("pcr-digest-mismatch"));
        pcrs.remove(index);
        assert_eq!(check(&azure.message, &azure.signature, &pcrs), Some("pcr-values-mismatch"));
    }
}

#[test]
fn a2_azure_reports_cut_anywhere_or_padded_with_anything_are_malformed() {
    let Some(azure) = Azure::of("azure-snp-vtpm/trustee-evidence-v1") else { return };
    let end = azure.end();
    for size in 0..end {
        let refused = HclReport::parse(&azure.report[..size]).unwrap_err();
        assert_eq!((refused.step(), refused.code()), (1, "hcl-truncated"), "{size}");
    }
    for size in end..=azure.report.len() {
        assert!(HclReport::parse(&azure.report[..size]).unwrap().check_binding().is_ok());
    }
    let padded = [&azure.report[..end], &[0, 0, 1]].concat();
    assert_eq!(HclReport::parse(&padded).unwrap_err().code(), "hcl-malformed");
    for size in [0, 1, u32::MAX, u32::MAX - 1236] {
        let mut claims = azure.report.clone();
        claims[CLAIMS - 4..CLAIMS].copy_from_slice(&size.to_le_bytes());
        assert!(HclReport::parse(&claims).unwrap_err().is_malformed(), "{size}");
    }
    assert_eq!(HclReport::parse(&vec![0; 70_000]).unwrap_err().code(), "hcl-malformed");
}

#[test]
fn runtime_claims_of_another_shape_name_no_key() {
    let Some(azure) = Azure::of("azure-snp-vtpm/trustee-evidence-v1") else { return };
    let with = |json: &str| {
        let size = u32::try_from(json.len()).unwrap().to_le_bytes();
        let report = [&azure.report[..CLAIMS - 4], &size, json.as_bytes()].concat();
        HclReport::parse(&report).map(|report| report.check_binding()).map_err(|error| error.code())
    };
    // 256 bytes of ones, in the one way to write them.
    let modulus = format!("{}w", "_".repeat(341));
    let key = format!(r#"{{"kid":"HCLAkPub","kty":"RSA","e":"AQAB","n":"{modulus}"}}"#);
    // The shape is right, so the digest is what refuses.
    assert_eq!(with(&format!(r#"{{"keys":[{key}]}}"#)), Ok(Err(AzureError::Binding)));
    let malformed = Err("runtime-claims-malformed");
    for json in [
        String::new(),
        "{}".to_owned(),
        r#"{"keys":[]}"#.to_owned(),
        format!(r#"{{"keys":[{key},{key}]}}"#),
        format!(r#"{{"keys":[],"keys":[{key}]}}"#),
        format!(r#"{{"keys":[{key}]}} x"#),
        format!(r#"{{"keys":[{}]}}"#, key.replace("AQAB", "Aw")),
        format!(r#"{{"keys":[{}]}}"#, key.replace("\"RSA\"", "\"EC\"")),
        format!(r#"{{"keys":[{}]}}"#, key.replace("HCLAkPub", "HCLEkPub")),
        format!(r#"{{"keys":[{}]}}"#, key.replace(r#""kty""#, r#""kid":"HCLAkPub","kty""#)),
        format!(r#"{{"keys":[{}]}}"#, key.replace(&modulus, "AAAA")),
        "[".repeat(50_000),
    ] {
        assert_eq!(with(&json), malformed, "{:.60}", json);
    }
}

#[test]
fn a_td_quote_of_another_machine_or_none_proves_nothing_of_this_one() {
    let Some(azure) = Azure::of("azure-tdx-vtpm/attestation-rs-live") else { return };
    let td_quote = azure.case.bytes("td_quote");
    assert!(azure.tdx(Some(&td_quote)).is_ok());
    assert_eq!(azure.tdx(None).unwrap_err(), AzureError::EndorsementMissing);
    // A report that says more than its quote: each field that both have.
    let mut changed = Azure::of("azure-tdx-vtpm/attestation-rs-live").unwrap();
    for at in [264, 280, 328, 376, 512, 520, 528, 576, 624, 672, 720, 768, 816, 864, 911] {
        changed.report = flip(&azure.report, (HARDWARE + at) * 8);
        assert_eq!(changed.tdx(Some(&td_quote)).unwrap_err(), AzureError::OtherReport, "{at}");
    }
    changed.report = flip(&azure.report, (HARDWARE + 128) * 8);
    assert_eq!(changed.tdx(Some(&td_quote)).unwrap_err(), AzureError::Binding);
}

#[test]
fn a7_an_azure_report_of_the_other_hardware_is_refused_by_name() {
    let Some(mut azure) = Azure::of("azure-snp-vtpm/trustee-evidence-v1") else { return };
    let other = Azure::of("azure-tdx-vtpm/attestation-rs-live").unwrap();
    let refused = |found, expected| AzureError::OtherHardware { expected, found };
    assert_eq!(other.tdx(None).unwrap_err(), AzureError::EndorsementMissing);
    azure.report = other.report.clone();
    assert_eq!(azure.snp().unwrap_err(), refused(Platform::AzureTdx, Platform::AzureSnp));
    // The quote of one machine's vTPM with the report of another's, both genuine.
    let mut crossed = Azure::of("azure-snp-vtpm/trustee-evidence-v1").unwrap();
    (crossed.message, crossed.signature, crossed.pcrs) = (other.message, other.signature, other.pcrs);
    assert_eq!(crossed.snp().unwrap_err().code(), "tpm-quote-signature-invalid");
}

struct Google {
    case: Case,
    chain: Vec<u8>,
    key: PublicKey,
    message: Vec<u8>,
    signature: Vec<u8>,
    pcrs: Vec<PcrValue>,
}

impl Google {
    fn new() -> Option<Google> {
        let case = Case::one("gcp-vtpm/vaportpm-gcp-amd")?;
        let [chain, key, message, signature] =
            ["ak_cert_chain", "ak_pub", "quote_msg", "quote_sig"].map(|role| case.bytes(role));
        let (key, pcrs) = (PublicKey::from_spki(&key).unwrap(), values(&case.bytes("pcrs")));
        Some(Google { case, chain, key, message, signature, pcrs })
    }

    fn examine(&self) -> Result<Genuine, GcpError> {
        let quote =
            QuoteEvidence { message: &self.message, signature: &self.signature, pcrs: &self.pcrs, event_log: None };
        gcp::examine(&quote, Some(&self.key), &self.chain, &Authority::GcpVtpm.anchors(), self.case.now())
    }
}

#[test]
fn a_report_is_padded_with_zeros_up_to_64_kib_and_no_further() {
    let Some(azure) = Azure::of("azure-snp-vtpm/trustee-evidence-v1") else { return };
    let padded = |size: usize| {
        let mut report = azure.report.clone();
        report.resize(size, 0);
        HclReport::parse(&report).map(|report| report.kind)
    };
    assert!(padded(64 << 10).is_ok());
    for size in [(64 << 10) + 1, (64 << 10) + 2] {
        let refused = padded(size).unwrap_err();
        assert!(matches!(refused, AzureError::Malformed(FormatError::TooLarge { size: found, .. }) if found == size));
    }
}

#[test]
fn a1_every_bit_of_a_google_machines_quote_counts() {
    let Some(google) = Google::new() else { return };
    assert_eq!(google.examine().unwrap().platform(), Platform::GcpVtpm);
    let code = |message: &[u8], signature: &[u8]| {
        let quote = QuoteEvidence { message, signature, pcrs: &google.pcrs, event_log: None };
        quote.check(&google.key).err().map(|fault| fault.code())
    };
    for bit in 0..google.message.len() * 8 {
        let changed = flip(&google.message, bit);
        assert_eq!(code(&changed, &google.signature), Some(of_changed(&changed)), "{bit}");
    }
    for bit in 0..google.signature.len() * 8 {
        assert_eq!(code(&google.message, &flip(&google.signature, bit)), Some("signature-invalid"), "{bit}");
    }
}

#[test]
fn googles_word_is_needed_for_this_very_key() {
    let Some(mut google) = Google::new() else { return };
    let azure = Azure::of("azure-snp-vtpm/trustee-evidence-v1").unwrap();
    let stranger = HclReport::parse(&azure.report).unwrap().attestation_key;
    google.key = stranger;
    assert_eq!(google.examine().unwrap_err(), GcpError::OtherKey);
    let google = Google::new().unwrap();
    let early = "2000-01-01T00:00:00Z".parse().unwrap();
    let anchors = Authority::GcpVtpm.anchors();
    assert_eq!(gcp::certified_key(&google.chain, &anchors, early).unwrap_err().step(), 2);
    assert_eq!(
        gcp::certified_key(&google.chain, &anchors, "2199-01-01T00:00:00Z".parse().unwrap()).unwrap_err().code(),
        "certificate-expired"
    );
    let others = Authority::IntelSgx.anchors();
    assert_eq!(gcp::certified_key(&google.chain, &others, google.case.now()).unwrap_err().code(), "root-not-trusted");
    assert_eq!(gcp::certified_key(b"", &anchors, google.case.now()).unwrap_err().step(), 1);
    // An intermediate's key is certified by Google, and is no machine's.
    let pem = String::from_utf8(google.chain.clone()).unwrap();
    let above = pem.find("-----END CERTIFICATE-----").unwrap() + 25;
    assert_eq!(gcp::certified_key(&pem.as_bytes()[above..], &anchors, google.case.now()), Err(GcpError::NotAnInstance));
}

#[test]
fn a_machines_key_signs_and_its_certificate_names_the_instance() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).unwrap().der().to_vec();
    let issuer = rcgen::Issuer::new(params, key);
    let anchors = [TrustAnchor::pin(&root).unwrap()];
    let certified = |usage: rcgen::KeyUsagePurpose, of_instance: bool| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.key_usages = vec![usage];
        if of_instance {
            let id = [1, 3, 6, 1, 4, 1, 11129, 2, 1, 21];
            params.custom_extensions.push(rcgen::CustomExtension::from_oid_content(&id, vec![0x30, 0]));
        }
        let leaf = params.signed_by(&key, &issuer).unwrap().der().to_vec();
        let expected = PublicKey::from_spki(&rcgen::PublicKeyData::subject_public_key_info(&key)).unwrap();
        gcp::certified_key(&leaf, &anchors, "2026-11-21T12:00:00Z".parse().unwrap()).map(|key| key == expected)
    };
    let (signs, agrees) = (rcgen::KeyUsagePurpose::DigitalSignature, rcgen::KeyUsagePurpose::KeyAgreement);
    assert_eq!(certified(signs, true), Ok(true));
    for (usage, of_instance) in [(signs, false), (agrees, true), (agrees, false)] {
        assert_eq!(certified(usage, of_instance), Err(GcpError::NotAnInstance), "{usage:?} {of_instance}");
    }
}

#[test]
fn a2_signatures_of_another_form_are_none_of_the_keys() {
    let Some(google) = Google::new() else { return };
    for size in 0..google.signature.len() {
        let signature = &google.signature[..size];
        let quote = QuoteEvidence { message: &google.message, signature, pcrs: &google.pcrs, event_log: None };
        let fault = quote.check(&google.key).unwrap_err();
        assert!(matches!(fault.code(), "signature-invalid" | "quote-malformed"), "{size}: {fault:?}");
    }
    let longer = [google.signature.as_slice(), &[0]].concat();
    let quote = QuoteEvidence { message: &google.message, signature: &longer, pcrs: &google.pcrs, event_log: None };
    assert!(matches!(quote.check(&google.key), Err(QuoteFault::SignatureForm)));
    for size in 0..google.message.len() {
        let message = &google.message[..size];
        let quote = QuoteEvidence { message, signature: &google.signature, pcrs: &google.pcrs, event_log: None };
        assert!(quote.check(&google.key).is_err());
    }
}

/// The certificates of a bundle without the root, which is pinned and so not Evidence.
fn below_the_root(bundle: &[u8]) -> Vec<Vec<u8>> {
    let ders = Certificate::split(bundle).unwrap();
    let is_root = |der: &Vec<u8>| {
        let certificate = Certificate::parse(der).unwrap();
        certificate.parsed().subject() == certificate.parsed().issuer()
    };
    ders.into_iter().filter(|der| !is_root(der)).collect()
}

#[test]
fn a1_every_bit_of_googles_certificates_counts_and_a2_their_length() {
    let Some(google) = Google::new() else { return };
    let (anchors, now) = (Authority::GcpVtpm.anchors(), google.case.now());
    let ders = below_the_root(&google.chain);
    let whole = ders.concat();
    assert_eq!(ders.len(), 2);
    assert_eq!(gcp::certified_key(&whole, &anchors, now), Ok(google.key.clone()));
    for bit in 0..whole.len() * 8 {
        assert!(gcp::certified_key(&flip(&whole, bit), &anchors, now).is_err(), "bit {bit}");
    }
    for size in 0..whole.len() {
        let refused = gcp::certified_key(&whole[..size], &anchors, now).unwrap_err();
        // Cut behind the leaf there is a whole certificate, and nobody who is pinned issued it.
        let expected = if size == ders[0].len() { "root-not-trusted" } else { "certificate-malformed" };
        assert_eq!(refused.code(), expected, "{size}");
    }
    for more in [&[1_u8][..], &[0, 1], &[0x30], &[0x30, 0x00]] {
        let longer = [&whole[..], more].concat();
        assert_eq!(gcp::certified_key(&longer, &anchors, now).unwrap_err().code(), "certificate-malformed");
    }
    let reversed = [ders[1].as_slice(), &ders[0]].concat();
    assert!(matches!(gcp::certified_key(&reversed, &anchors, now), Err(GcpError::Chain(_))));
}

#[test]
fn a1_every_bit_of_the_certificates_under_an_azure_report_counts_and_a2_their_length() {
    let Some(azure) = Azure::of("azure-snp-vtpm/trustee-evidence-v1") else { return };
    let (key, chain) = (azure.case.bytes("vcek"), below_the_root(&azure.case.bytes("cert_chain")).concat());
    let anchors = snp::anchors();
    let judged = |key: &[u8], chain: &[u8]| {
        let endorsements = SnpEndorsements { key: Some(key), chain: Some(chain), list: None };
        examine_snp(&azure.report, Some(&azure.quote()), &endorsements, &anchors, azure.case.now()).map(|_| ())
    };
    assert_eq!(judged(&key, &chain), Ok(()));
    for bit in 0..key.len() * 8 {
        assert!(matches!(judged(&flip(&key, bit), &chain), Err(AzureError::Snp(_))), "bit {bit}");
    }
    for bit in (0..chain.len() * 8).step_by(3) {
        assert!(matches!(judged(&key, &flip(&chain, bit)), Err(AzureError::Snp(_))), "bit {bit}");
    }
    for size in 0..key.len() {
        assert!(matches!(judged(&key[..size], &chain), Err(AzureError::Snp(_))), "{size}");
    }
    for size in 0..chain.len() {
        assert!(matches!(judged(&key, &chain[..size]), Err(AzureError::Snp(_))), "{size}");
    }
    let none = SnpEndorsements::default();
    let refused = examine_snp(&azure.report, Some(&azure.quote()), &none, &anchors, azure.case.now()).unwrap_err();
    assert_eq!((refused.step(), refused.code()), (3, "endorsement-missing"));
}

#[test]
fn a1_a_trust_domains_quote_beneath_a_vtpm_counts_and_a2_its_length() {
    let Some(azure) = Azure::of("azure-tdx-vtpm/attestation-rs-live") else { return };
    let td_quote = azure.case.bytes("td_quote");
    let chain = td_quote.windows(27).position(|window| window == b"-----BEGIN CERTIFICATE-----").unwrap();
    for at in (0..chain).step_by(3) {
        let refused = azure.tdx(Some(&flip(&td_quote, at * 8 + at % 8))).unwrap_err();
        assert!(matches!(refused, AzureError::Tdx(_) | AzureError::OtherReport), "byte {at}: {refused:?}");
    }
    let end = td_quote.len() - attest::intel::Quote::parse(&td_quote).unwrap().padding;
    for size in 0..end {
        assert!(matches!(azure.tdx(Some(&td_quote[..size])), Err(AzureError::Tdx(_))), "{size}");
    }
}
