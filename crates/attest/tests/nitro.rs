//! Documents of Nitro Enclaves: real ones changed in one thing, and forged ones that AWS would never sign.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod cbor;

use std::path::Path;

use attest::{
    certificate::{CertificateFault, ChainError, TrustAnchor},
    nitro::{NitroError, NitroEvidence, NitroTpmEvidence, NitroTpmQuote, examine, examine_tpm},
    platform::{HardwareIds, Platform, PlatformPolicy, Refusal, Unfit},
    roots::Authority,
};
use aws_lc_rs::{
    digest::{SHA256, SHA384, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
    date_time_ymd,
};

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

/// A hypervisor of our own: root, two authorities, and a leaf that signs documents.
struct Forge {
    certificates: Vec<Vec<u8>>,
    leaf: Vec<u8>,
    key: EcdsaKeyPair,
    fields: Vec<(&'static str, Vec<u8>)>,
    protected: Vec<u8>,
    unprotected: Vec<u8>,
}

impl Forge {
    fn new() -> Forge {
        Forge::with(|_| {}, |_| {})
    }

    fn with(leaf: impl FnOnce(&mut CertificateParams), authority: impl FnOnce(&mut CertificateParams)) -> Forge {
        let named = |name: &str, ca: bool| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.not_before = date_time_ymd(2025, 1, 1);
            params.not_after = date_time_ymd(2027, 1, 1);
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            if ca {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
                params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            }
            params
        };
        let key = || KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let (root, root_key) = (named("root", true), key());
        let (mut middle, middle_key) = (named("zone", true), key());
        authority(&mut middle);
        let (mut end, end_key) = (named("enclave", false), key());
        leaf(&mut end);
        let certificates = vec![
            root.self_signed(&root_key).unwrap().der().to_vec(),
            middle.signed_by(&middle_key, &Issuer::from_params(&root, &root_key)).unwrap().der().to_vec(),
        ];
        let leaf = end.signed_by(&end_key, &Issuer::from_params(&middle, &middle_key)).unwrap().der().to_vec();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &end_key.serialize_der()).unwrap();
        let bundle: Vec<Vec<u8>> = certificates.iter().map(|der| cbor::bytes(der)).collect();
        let fields = vec![
            ("module_id", cbor::text("i-0123-enc456")),
            ("digest", cbor::text("SHA384")),
            ("timestamp", cbor::head(0, u64::try_from(now().as_millisecond()).unwrap())),
            ("pcrs", pcrs(0x11)),
            ("certificate", cbor::bytes(&leaf)),
            ("cabundle", cbor::array(&bundle)),
            ("nonce", cbor::bytes(b"a nonce of this exchange")),
        ];
        // Algorithm (1): ES384 (-35).
        let protected = cbor::map(&[(vec![0x01], vec![0x38, 0x22])]);
        Forge { certificates, leaf, key, fields, protected, unprotected: vec![0xA0] }
    }

    fn set(&mut self, name: &'static str, value: Vec<u8>) {
        self.fields.retain(|(known, _)| *known != name);
        self.fields.push((name, value));
    }

    fn bundle(&mut self, certificates: &[Vec<u8>]) {
        let bundle: Vec<Vec<u8>> = certificates.iter().map(|der| cbor::bytes(der)).collect();
        self.set("cabundle", cbor::array(&bundle));
    }

    fn document(&self) -> Vec<u8> {
        let entries: Vec<_> = self.fields.iter().map(|(name, value)| (cbor::text(name), value.clone())).collect();
        self.signed(&cbor::map(&entries))
    }

    fn signed(&self, payload: &[u8]) -> Vec<u8> {
        let sign = |message: &[u8]| self.key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
        cbor::sign1(&self.protected, &self.unprotected, payload, sign)
    }

    fn anchors(&self) -> Vec<TrustAnchor> {
        vec![TrustAnchor::pin(&self.certificates[0]).unwrap()]
    }

    fn refusal(&self) -> NitroError {
        self.refusal_of(self.document())
    }

    fn refusal_of(&self, document: Vec<u8>) -> NitroError {
        examine(&NitroEvidence { document }, &self.anchors(), now()).unwrap_err()
    }
}

fn pcrs(value: u8) -> Vec<u8> {
    let register = |index: u8| (vec![index], cbor::bytes(&[value; 48]));
    cbor::map(&[register(0), register(1), register(2)])
}

fn fault(error: &NitroError) -> Option<(usize, CertificateFault)> {
    match error {
        NitroError::Chain(ChainError { at, fault, .. }) => Some((*at, *fault)),
        _ => None,
    }
}

#[test]
fn a_forged_document_in_which_all_is_right_passes_six_steps() {
    let forge = Forge::new();
    let genuine = examine(&NitroEvidence { document: forge.document() }, &forge.anchors(), now()).unwrap();
    assert_eq!(genuine.bound(), b"a nonce of this exchange");
    assert_eq!(genuine.register("pcr0"), Some(&[0x11; 48][..]));
    // And is nobody's under the root that ships inside.
    let strange = examine(&NitroEvidence { document: forge.document() }, &Authority::AwsNitro.anchors(), now());
    assert_eq!(fault(&strange.unwrap_err()), Some((2, CertificateFault::Untrusted)));
}

#[test]
fn n1_registers_of_zeros_are_of_an_enclave_in_debug_mode() {
    let mut forge = Forge::new();
    forge.set("pcrs", pcrs(0));
    assert_eq!(forge.refusal(), NitroError::Debug);
    let register = |index: u8, value: u8| (vec![index], cbor::bytes(&[value; 48]));
    forge.set("pcrs", cbor::map(&[register(0, 1), register(2, 1)]));
    assert_eq!(forge.refusal(), NitroError::PcrMissing(1));
    forge.set("pcrs", cbor::map(&[(vec![0], cbor::bytes(&[1; 32])), register(1, 1), register(2, 1)]));
    assert_eq!(forge.refusal(), NitroError::Field("pcrs"));
}

#[test]
fn n2_an_envelope_of_another_spelling_algorithm_or_header_is_refused() {
    let mut forge = Forge::new();
    // ES256 instead of ES384.
    forge.protected = cbor::map(&[(vec![0x01], vec![0x26])]);
    assert_eq!(forge.refusal(), NitroError::Algorithm("ES256"));
    // An empty list of critical headers, and a critical header that is not known.
    for critical in [cbor::array(&[]), cbor::array(&[cbor::text("note")])] {
        forge.protected = cbor::map(&[(vec![0x01], vec![0x38, 0x22]), (vec![0x02], critical)]);
        assert!(matches!(forge.refusal(), NitroError::Envelope(_)), "{:?}", forge.refusal());
    }
    // The algorithm outside of the signature.
    forge.protected = vec![0xA0];
    forge.unprotected = cbor::map(&[(vec![0x01], vec![0x38, 0x22])]);
    assert!(matches!(forge.refusal(), NitroError::Envelope(_)));
    let mut forge = Forge::new();
    forge.unprotected = cbor::map(&[(vec![0x04], cbor::bytes(b"key"))]);
    assert_eq!(forge.refusal(), NitroError::Unprotected);
    // Indefinite lengths and long integers in the envelope.
    let document = Forge::new().document();
    let indefinite = [&[0x9F], &document[1..], &[0xFF]].concat();
    assert!(forge.refusal_of(indefinite).is_malformed());
    let long = [&[0x98, 0x04], &document[1..]].concat();
    assert!(forge.refusal_of(long).is_malformed());
    // A member that occurs twice, inside the signature.
    let forge = Forge::new();
    let entries: Vec<_> = forge.fields.iter().map(|(name, value)| (cbor::text(name), value.clone())).collect();
    let twice = cbor::map(&[entries.clone(), vec![entries[6].clone()]].concat());
    assert!(matches!(forge.refusal_of(forge.signed(&twice)), NitroError::Payload(_)));
}

#[test]
fn n3_bundles_in_another_order_with_others_or_out_of_time_are_refused() {
    let mut forge = Forge::new();
    let [root, zone] = [forge.certificates[0].clone(), forge.certificates[1].clone()];
    forge.bundle(&[zone.clone(), root.clone()]);
    assert_eq!(fault(&forge.refusal()), Some((0, CertificateFault::Issuer)));
    let other = Forge::new().certificates[0].clone();
    forge.bundle(&[other, root.clone(), zone.clone()]);
    assert!(fault(&forge.refusal()).is_some());
    forge.bundle(std::slice::from_ref(&root));
    assert_eq!(fault(&forge.refusal()), Some((0, CertificateFault::Issuer)));
    forge.bundle(&[]);
    assert_eq!(forge.refusal(), NitroError::Field("cabundle"));
    let plain = Forge::with(|_| {}, |authority| authority.is_ca = IsCa::NoCa);
    assert_eq!(fault(&plain.refusal()), Some((0, CertificateFault::NotAuthority)));
    let expired = Forge::with(|leaf| leaf.not_after = date_time_ymd(2025, 12, 31), |_| {});
    assert_eq!(fault(&expired.refusal()), Some((0, CertificateFault::Expired)));
    let promoted = Forge::with(|leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained), |_| {});
    assert_eq!(promoted.refusal(), NitroError::Leaf);
}

#[test]
fn a_document_is_of_its_own_time() {
    let mut forge = Forge::new();
    let at = |text: &str| cbor::head(0, u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap());
    forge.set("timestamp", at("2024-06-01T00:00:00Z"));
    assert_eq!(forge.refusal(), NitroError::Timestamp);
    forge.set("timestamp", at("2026-01-01T12:02:00Z"));
    assert_eq!(forge.refusal(), NitroError::Future);
    forge.set("timestamp", cbor::text("now"));
    assert_eq!(forge.refusal(), NitroError::Field("timestamp"));
}

#[test]
fn fields_that_are_missing_odd_or_unknown_are_named() {
    for name in ["module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle"] {
        let mut forge = Forge::new();
        forge.fields.retain(|(known, _)| *known != name);
        assert_eq!(forge.refusal(), NitroError::Missing(name));
    }
    let mut forge = Forge::new();
    forge.set("digest", cbor::text("SHA256"));
    assert_eq!(forge.refusal(), NitroError::Field("digest"));
    let mut forge = Forge::new();
    forge.set("note", cbor::text("hello"));
    assert_eq!(forge.refusal(), NitroError::UnknownField);
    let mut forge = Forge::new();
    forge.set("nonce", cbor::bytes(&[0; 1025]));
    assert_eq!(forge.refusal(), NitroError::Field("nonce"));
    let mut forge = Forge::new();
    let leaf = forge.leaf.clone();
    forge.set("certificate", cbor::bytes(&leaf[..leaf.len() - 1]));
    assert_eq!(fault(&forge.refusal()), Some((0, CertificateFault::Malformed)));
    // A document of the TPM is none of an enclave.
    let mut forge = Forge::new();
    forge.fields.retain(|(known, _)| *known != "pcrs");
    forge.set("nitrotpm_pcrs", pcrs(1));
    assert_eq!(forge.refusal(), NitroError::Missing("pcrs"));
}

#[test]
fn sizes_and_times_are_bounded_to_the_last() {
    let with = |name: &'static str, value: Vec<u8>| {
        let mut forge = Forge::new();
        forge.set(name, value);
        examine(&NitroEvidence { document: forge.document() }, &forge.anchors(), now()).map(|_| ())
    };
    let odd = |name: &'static str| Err(NitroError::Field(name));
    let module = |size: usize| with("module_id", cbor::text(&"m".repeat(size)));
    assert_eq!((module(256), module(257), module(0)), (Ok(()), odd("module_id"), odd("module_id")));
    assert_eq!(with("module_id", cbor::text("i 1")), odd("module_id"));
    // Registers 0 to 31, the first three of them always.
    let register = |index: u64| {
        let value = |index: u64| (cbor::head(0, index), cbor::bytes(&[1; 48]));
        with("pcrs", cbor::map(&[value(0), value(1), value(2), value(index)]))
    };
    assert_eq!((register(31), register(32), register(33)), (Ok(()), odd("pcrs"), odd("pcrs")));
    // Made up to a minute after the given time, and not before the year 1970 began.
    let made = |milliseconds: i64| with("timestamp", cbor::head(0, u64::try_from(milliseconds).unwrap()));
    let time = now().as_millisecond();
    assert_eq!((made(time + 60_999), made(time + 61_000)), (Ok(()), Err(NitroError::Future)));
    assert_eq!((made(0), made(1)), (odd("timestamp"), Err(NitroError::Timestamp)));
    // The whole, in front of anything else.
    let refusal = |size: usize| Forge::new().refusal_of(vec![0; size]);
    assert!(matches!(refusal(32 << 10), NitroError::Envelope(_)));
    for size in [(32 << 10) + 1, (32 << 10) + 2] {
        assert_eq!(refusal(size), NitroError::TooLarge(size));
    }
}

#[test]
fn a_leaf_signs_documents_and_no_certificates() {
    let with = |usages: &[KeyUsagePurpose], ca: IsCa| {
        let forge = Forge::with(
            |leaf| {
                leaf.key_usages = usages.to_vec();
                leaf.is_ca = ca;
            },
            |_| {},
        );
        examine(&NitroEvidence { document: forge.document() }, &forge.anchors(), now()).map(|_| ())
    };
    let (signs, certifies) = (KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign);
    assert_eq!(with(&[signs], IsCa::NoCa), Ok(()));
    assert_eq!(with(&[signs], IsCa::ExplicitNoCa), Ok(()));
    assert_eq!(with(&[], IsCa::NoCa), Ok(()));
    for usages in [&[signs, certifies][..], &[certifies], &[KeyUsagePurpose::KeyAgreement]] {
        assert_eq!(with(usages, IsCa::NoCa), Err(NitroError::Leaf), "{usages:?}");
    }
    assert_eq!(with(&[signs], IsCa::Ca(BasicConstraints::Unconstrained)), Err(NitroError::Leaf));
}

#[test]
fn a1_every_bit_of_a_document_counts_and_a2_its_length() {
    let forge = Forge::new();
    let (document, anchors) = (forge.document(), forge.anchors());
    for bit in 0..document.len() * 8 {
        let mut changed = document.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(examine(&NitroEvidence { document: changed }, &anchors, now()).is_err(), "bit {bit}");
    }
    for size in 0..document.len() {
        assert!(forge.refusal_of(document[..size].to_vec()).is_malformed(), "{size}");
    }
    assert!(forge.refusal_of([document.as_slice(), &[0]].concat()).is_malformed());
    assert_eq!(forge.refusal_of(vec![0; 40_000]), NitroError::TooLarge(40_000));
}

/// A quote of registers 0 to 2 in the SHA-384 bank, all of this value, by a key on a curve: message and TPMT_SIGNATURE.
fn tpm_quote(pair: &EcdsaKeyPair, hash: u16, nonce: &[u8], value: u8) -> NitroTpmQuote {
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let digest = digest(if hash == 0x000B { &SHA256 } else { &SHA384 }, &[value; 144]);
    let message = [
        &[0xFF, 0x54, 0x43, 0x47, 0x80, 0x18][..],
        &sized(&[0x00, 0x0B, 1]),
        &sized(nonce),
        &[0; 16],
        &[1],
        &[0; 8],
        &[0, 0, 0, 1, 0x00, 0x0C, 3, 0b111, 0, 0],
        &sized(digest.as_ref()),
    ]
    .concat();
    let signature = pair.sign(&SystemRandom::new(), &message).unwrap();
    let (r, s) = signature.as_ref().split_at(signature.as_ref().len() / 2);
    let signature = [&[0x00, 0x18][..], &hash.to_be_bytes(), &sized(r), &sized(s)].concat();
    NitroTpmQuote { message, signature }
}

#[test]
fn a_tpms_quote_is_by_the_key_and_over_the_nonce_that_its_document_names() {
    let nonce = b"a nonce of this exchange";
    for (algorithm, hash) in [(&ECDSA_P256_SHA256_FIXED_SIGNING, 0x000B), (&ECDSA_P384_SHA384_FIXED_SIGNING, 0x000C)] {
        let pair = EcdsaKeyPair::generate(algorithm).unwrap();
        let with = |point: &[u8], quote: NitroTpmQuote| {
            let mut forge = Forge::new();
            forge.fields.retain(|(name, _)| *name != "pcrs");
            forge.set("nitrotpm_pcrs", pcrs(0x11));
            forge.set("public_key", cbor::bytes(point));
            let evidence = NitroTpmEvidence { document: forge.document(), quote: Some(quote) };
            examine_tpm(&evidence, &forge.anchors(), now()).map(|genuine| genuine.platform())
        };
        let point = pair.public_key().as_ref();
        assert_eq!(with(point, tpm_quote(&pair, hash, nonce, 0x11)), Ok(Platform::NitroTpm));
        // Another key, another nonce, other registers; what is no point.
        let other = EcdsaKeyPair::generate(algorithm).unwrap();
        assert!(matches!(with(point, tpm_quote(&other, hash, nonce, 0x11)), Err(NitroError::Quote(_))));
        assert!(matches!(with(point, tpm_quote(&pair, hash, b"another", 0x11)), Err(NitroError::Quote(_))));
        assert!(matches!(with(point, tpm_quote(&pair, hash, nonce, 0x12)), Err(NitroError::Quote(_))));
        for bad in [&point[1..], &[&[2][..], &point[1..]].concat(), &[point, &[0]].concat()] {
            assert_eq!(with(bad, tpm_quote(&pair, hash, nonce, 0x11)), Err(NitroError::QuoteUnbound));
        }
    }
}

#[test]
fn a_document_for_another_nonce_is_not_bound() {
    let forge = Forge::new();
    let genuine = examine(&NitroEvidence { document: forge.document() }, &forge.anchors(), now()).unwrap();
    let policy = PlatformPolicy {
        tier_floor: attest::Tier::ConfidentialVm,
        admits: ["affirmed".to_owned()].into(),
        hardware: HardwareIds::Any,
        measurements: [("pcr0".to_owned(), ["11".repeat(48)].into())].into(),
    };
    assert!(genuine.clone().appraise(b"a nonce of this exchange", &policy).is_ok());
    assert_eq!(genuine.appraise(b"a nonce of another", &policy).err(), Some(Unfit::NotBound));
}

#[test]
fn a7_real_evidence_of_other_platforms_is_malformed() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = workspace.join(std::env::var("GLOVEBOX_VECTORS").unwrap_or_else(|_| "../shared/vectors".to_owned()));
    for file in
        ["snp/trustee-turin-report/report.bin", "sgx/dcap-qvl-sgx-quote/quote.bin", "keystone/synthetic-a/report.bin"]
    {
        let Ok(document) = std::fs::read(folder.join(file)) else {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no test vectors at {}", folder.display());
            println!("skipped: no test vectors at {}", folder.display());
            return;
        };
        let refused = examine(&NitroEvidence { document }, &Authority::AwsNitro.anchors(), now()).unwrap_err();
        assert!(refused.is_malformed(), "{file}: {refused:?}");
    }
}
