//! A forged Intel: a whole hierarchy under a root of our own, each part free to be wrong in one thing with everything else signed correctly.
//!
//! Names, extensions and layouts are Intel's (PCK certificate profile; quotes of versions 3 and 4; TCB info and identities as the Provisioning
//! Certification Service gives them).
#![allow(missing_docs, clippy::cast_possible_truncation)] // what stands where has the names of Intel's specifications

use attest::{
    certificate::TrustAnchor,
    intel::{IntelEndorsements, IntelError, Revocation, Rules, sgx, tdx},
    platform::Genuine,
};
use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, RevokedCertParams, SerialNumber, date_time_ymd,
};
use serde_json::{Value, json};

pub const FMSPC: [u8; 6] = [0x00, 0x80, 0x6F, 0x05, 0x00, 0x00];
pub const STRICT: Rules = Rules { evaluation_floor: 0, revocation: Revocation::Complete };

/// Where things stand in a report of an enclave.
pub const QE_MISC: usize = 16;
pub const QE_ATTRIBUTES: usize = 48;
pub const QE_SIGNER: usize = 128;
pub const QE_PRODUCT: usize = 256;
pub const QE_SVN: usize = 258;
/// And in one of a trust domain.
pub const TD_SVN: usize = 0;
pub const TD_SEAM_SIGNER: usize = 64;
pub const TD_SEAM_ATTRIBUTES: usize = 112;
pub const TD_ATTRIBUTES: usize = 120;
pub const TD_CONFIG: usize = 184;
pub const TD_RTMR: usize = 328;
/// And the configuration of an enclave.
pub const ENCLAVE_CONFIG: usize = 192;

/// Everything that can be spoilt.
pub struct World {
    pub sgx: bool,
    pub now: Timestamp,
    pub rules: Rules,
    pub header: Vec<u8>,
    pub body: Vec<u8>,
    pub qe_report: Vec<u8>,
    pub authentication: Vec<u8>,
    pub pck_name: &'static str,
    pub authority_name: &'static str,
    pub signer_name: &'static str,
    pub extension: Vec<u8>,
    pub tcb_info: Value,
    pub qe_identity: Value,
    pub revoked_by_root: Vec<u64>,
    pub revoked_by_authority: Vec<u64>,
    pub crl_until: i32,
    pub root: KeyPair,
    pub authority: KeyPair,
    pub pck: KeyPair,
    pub signer: KeyPair,
    pub attestation: KeyPair,
}

/// What an attester and a cache would hand over.
pub struct Made {
    pub quote: Vec<u8>,
    pub tcb_info: Option<Vec<u8>>,
    pub qe_identity: Option<Vec<u8>>,
    pub tcb_signing_chain: Option<Vec<u8>>,
    pub pck_chain: Vec<u8>,
    /// The PCK authority's certificate and the root's, PEM.
    pub authority_chain: Vec<u8>,
    /// The root's certificate, DER.
    pub root: Vec<u8>,
    pub pck_crl: Option<Vec<u8>>,
    pub root_ca_crl: Option<Vec<u8>>,
    pub anchors: Vec<TrustAnchor>,
    pub sgx: bool,
    pub now: Timestamp,
    pub rules: Rules,
}

pub const PCK_SERIAL: u64 = 3;
pub const AUTHORITY_SERIAL: u64 = 2;
pub const SIGNER_SERIAL: u64 = 4;

impl World {
    pub fn tdx() -> World {
        World::new(false)
    }

    pub fn sgx() -> World {
        World::new(true)
    }

    fn new(sgx: bool) -> World {
        let key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let (version, tee): (u16, u32) = if sgx { (3, 0) } else { (4, 0x81) };
        let mut header = [&version.to_le_bytes()[..], &2_u16.to_le_bytes(), &tee.to_le_bytes(), &[0; 4]].concat();
        header.extend(hex::decode("939a7233f79c4ca9940a0db3957f0607").unwrap());
        header.extend([0; 20]);
        let mut qe_report = vec![0; 384];
        qe_report[QE_ATTRIBUTES] = 0x11;
        qe_report[QE_SIGNER..QE_SIGNER + 32].fill(0xDC);
        qe_report[QE_PRODUCT] = 2;
        qe_report[QE_SVN] = 6;
        let mut body = vec![0; if sgx { 384 } else { 584 }];
        if sgx {
            body[QE_ATTRIBUTES] = 0x05;
            body[64..96].fill(0xE1);
        } else {
            body[TD_SVN..TD_SVN + 3].copy_from_slice(&[5, 1, 3]);
            body[TD_ATTRIBUTES + 3] = 0x10;
            body[136..184].fill(0xE2);
        }
        let size = body.len();
        body[size - 64..].fill(0xDA);
        World {
            sgx,
            now: "2026-01-10T00:00:00Z".parse().unwrap(),
            rules: STRICT,
            header,
            body,
            qe_report,
            authentication: vec![7; 32],
            pck_name: "Intel SGX PCK Certificate",
            authority_name: "Intel SGX PCK Platform CA",
            signer_name: "Intel SGX TCB Signing",
            extension: extension(&[3; 16], 11, &FMSPC, &[0xAB; 16]),
            tcb_info: tcb_info(sgx),
            qe_identity: qe_identity(sgx),
            revoked_by_root: Vec::new(),
            revoked_by_authority: Vec::new(),
            crl_until: 2027,
            root: key(),
            authority: key(),
            pck: key(),
            signer: key(),
            attestation: key(),
        }
    }

    pub fn make(&self) -> Made {
        let root_params = named("Intel SGX Root CA", 1, true);
        let root_issuer = Issuer::from_params(&root_params, &self.root);
        let root = root_params.self_signed(&self.root).unwrap().der().to_vec();
        let authority_params = named(self.authority_name, AUTHORITY_SERIAL, true);
        let authority = authority_params.signed_by(&self.authority, &root_issuer).unwrap().der().to_vec();
        let authority_issuer = Issuer::from_params(&authority_params, &self.authority);
        let mut pck_params = named(self.pck_name, PCK_SERIAL, false);
        let oid = [1, 2, 840, 113_741, 1, 13, 1];
        pck_params.custom_extensions.push(CustomExtension::from_oid_content(&oid, self.extension.clone()));
        let pck = pck_params.signed_by(&self.pck, &authority_issuer).unwrap().der().to_vec();
        let signer = named(self.signer_name, SIGNER_SERIAL, false);
        let signer = signer.signed_by(&self.signer, &root_issuer).unwrap().der().to_vec();
        let list = |serials: &[u64], issuer: &Issuer<'_, &KeyPair>| self.list(serials, issuer);
        let chain = pem(&[&pck, &authority, &root]);
        Made {
            quote: self.quote(&chain),
            tcb_info: Some(signed("tcbInfo", &self.tcb_info.to_string(), &self.signer)),
            qe_identity: Some(signed("enclaveIdentity", &self.qe_identity.to_string(), &self.signer)),
            tcb_signing_chain: Some(pem(&[&signer, &root])),
            pck_chain: chain,
            authority_chain: pem(&[&authority, &root]),
            pck_crl: Some(list(&self.revoked_by_authority, &authority_issuer)),
            root_ca_crl: Some(list(&self.revoked_by_root, &root_issuer)),
            anchors: vec![TrustAnchor::pin(&root).unwrap()],
            sgx: self.sgx,
            now: self.now,
            rules: self.rules,
            root,
        }
    }

    pub fn examine(&self) -> Result<Genuine, IntelError> {
        self.make().examine()
    }

    fn list(&self, serials: &[u64], issuer: &Issuer<'_, &KeyPair>) -> Vec<u8> {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2025, 6, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 1, 1),
            next_update: date_time_ymd(self.crl_until, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(issuer).unwrap().der().to_vec()
    }

    /// Signs quoting enclave and report; the attestation key is bound in the former's report data.
    fn quote(&self, chain: &[u8]) -> Vec<u8> {
        let attestation = signing(&self.attestation);
        let key = &attestation.public_key().as_ref()[1..];
        let mut qe_report = self.qe_report.clone();
        let bound = digest(&SHA256, &[key, &self.authentication].concat());
        for (to, from) in qe_report[320..352].iter_mut().zip(bound.as_ref()) {
            *to ^= *from; // whatever the test put there makes it another
        }
        let mut report = [&qe_report[..], &sign(&self.pck, &qe_report)].concat();
        report.extend((self.authentication.len() as u16).to_le_bytes());
        report.extend(&self.authentication);
        report.extend(5_u16.to_le_bytes());
        report.extend((chain.len() as u32).to_le_bytes());
        report.extend(chain);
        let signed = [&self.header[..], &self.body].concat();
        let mut data = [&sign(&self.attestation, &signed)[..], key].concat();
        if !self.sgx {
            data.extend(6_u16.to_le_bytes());
            data.extend((report.len() as u32).to_le_bytes());
        }
        data.extend(report);
        [&signed[..], &(data.len() as u32).to_le_bytes(), &data].concat()
    }
}

impl Made {
    pub fn endorsements(&self) -> IntelEndorsements<'_> {
        IntelEndorsements {
            pck_chain: None,
            tcb_info: self.tcb_info.as_deref(),
            qe_identity: self.qe_identity.as_deref(),
            tcb_signing_chain: self.tcb_signing_chain.as_deref(),
            qe_identity_signing_chain: None,
            pck_crl: self.pck_crl.as_deref(),
            root_ca_crl: self.root_ca_crl.as_deref(),
        }
    }

    pub fn examine(&self) -> Result<Genuine, IntelError> {
        let examine = if self.sgx { sgx::examine } else { tdx::examine };
        examine(&self.quote, &self.endorsements(), &self.anchors, &self.rules, self.now)
    }
}

/// A document in its envelope.
pub fn signed(member: &str, document: &str, key: &KeyPair) -> Vec<u8> {
    let signature = hex::encode(sign(key, document.as_bytes()));
    format!("{{\"{member}\":{document},\"signature\":\"{signature}\"}}").into_bytes()
}

pub fn pem(ders: &[&[u8]]) -> Vec<u8> {
    let mut text = String::new();
    for der in ders {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in STANDARD.encode(der).as_bytes().chunks(64) {
            text.push_str(std::str::from_utf8(line).unwrap());
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text.into_bytes()
}

/// 16 components of the same security version.
pub fn components(count: usize, svn: u8) -> Value {
    Value::Array(vec![json!({"svn": svn, "category": "BIOS"}); count])
}

fn tcb_info(sgx: bool) -> Value {
    let mut needed = json!({"sgxtcbcomponents": components(16, 2), "pcesvn": 11});
    let mut info = json!({
        "id": if sgx { "SGX" } else { "TDX" }, "version": 3,
        "issueDate": "2026-01-01T00:00:00Z", "nextUpdate": "2026-02-01T00:00:00Z",
        "fmspc": hex::encode_upper(FMSPC), "pceId": "0000", "tcbType": 0, "tcbEvaluationDataNumber": 18,
    });
    if !sgx {
        let module = json!({"mrsigner": "00".repeat(48), "attributes": "0000000000000000", "attributesMask": "FFFFFFFFFFFFFFFF"});
        let mut identity = module.clone();
        identity["id"] = json!("TDX_01");
        identity["tcbLevels"] = json!([
            {"tcb": {"isvsvn": 4}, "tcbDate": "2025-01-01T00:00:00Z", "tcbStatus": "UpToDate"},
            {"tcb": {"isvsvn": 2}, "tcbDate": "2024-01-01T00:00:00Z", "tcbStatus": "OutOfDate", "advisoryIDs": ["INTEL-SA-00002"]},
        ]);
        info["tdxModule"] = module;
        info["tdxModuleIdentities"] = json!([identity]);
        // The first two are the module's own and never count beside its identity.
        let mut list = components(16, 0);
        list[0]["svn"] = json!(200);
        list[1]["svn"] = json!(200);
        list[2]["svn"] = json!(3);
        needed["tdxtcbcomponents"] = list;
    }
    info["tcbLevels"] = json!([
        {"tcb": needed, "tcbDate": "2025-01-01T00:00:00Z", "tcbStatus": "UpToDate"},
    ]);
    info
}

fn qe_identity(sgx: bool) -> Value {
    json!({
        "id": if sgx { "QE" } else { "TD_QE" }, "version": 2,
        "issueDate": "2026-01-01T00:00:00Z", "nextUpdate": "2026-02-01T00:00:00Z", "tcbEvaluationDataNumber": 18,
        "miscselect": "00000000", "miscselectMask": "FFFFFFFF",
        "attributes": "11000000000000000000000000000000", "attributesMask": "F9FFFFFFFFFFFFFF0000000000000000",
        "mrsigner": "DC".repeat(32), "isvprodid": 2,
        "tcbLevels": [
            {"tcb": {"isvsvn": 5}, "tcbDate": "2025-01-01T00:00:00Z", "tcbStatus": "UpToDate"},
            {"tcb": {"isvsvn": 3}, "tcbDate": "2024-01-01T00:00:00Z", "tcbStatus": "OutOfDate", "advisoryIDs": ["INTEL-SA-00001"]},
        ],
    })
}

/// The SGX extension of a PCK certificate.
pub fn extension(svns: &[u8], pce_svn: u8, fmspc: &[u8], ppid: &[u8]) -> Vec<u8> {
    let arc = |tail: &[u8]| element(0x06, &[&[0x2A, 0x86, 0x48, 0x86, 0xF8, 0x4D, 0x01, 0x0D, 0x01], tail].concat());
    let pair = |tail: &[u8], value: Vec<u8>| element(0x30, &[arc(tail), value].concat());
    let mut versions = Vec::new();
    for (at, svn) in svns.iter().enumerate() {
        versions.extend(pair(&[2, at as u8 + 1], element(0x02, &[*svn])));
    }
    versions.extend(pair(&[2, 17], element(0x02, &[pce_svn])));
    versions.extend(pair(&[2, 18], element(0x04, &[3; 16])));
    let fields = [
        pair(&[1], element(0x04, ppid)),
        pair(&[2], element(0x30, &versions)),
        pair(&[3], element(0x04, &[0, 0])),
        pair(&[4], element(0x04, fmspc)),
        pair(&[5], element(0x0A, &[1])),
    ];
    element(0x30, &fields.concat())
}

/// An element of DER of at most 64 KiB.
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let size = content.len();
    let head = match size {
        0..=0x7F => vec![tag, size as u8],
        0x80..=0xFF => vec![tag, 0x81, size as u8],
        _ => vec![tag, 0x82, (size >> 8) as u8, size as u8],
    };
    [&head[..], content].concat()
}

fn named(name: &str, serial: u64, authority: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    if authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    }
    params
}

pub fn sign(key: &KeyPair, message: &[u8]) -> [u8; 64] {
    signing(key).sign(&SystemRandom::new(), message).unwrap().as_ref().try_into().unwrap()
}

fn signing(key: &KeyPair) -> EcdsaKeyPair {
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der()).unwrap()
}
