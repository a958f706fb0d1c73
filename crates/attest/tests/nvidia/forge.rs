//! A maker of devices and manifests that exists in tests only: every part can be made wrong in one thing.

use attest::{
    HashAlgorithm,
    certificate::{Certificate, TrustAnchor},
    nvidia::{Device, DeviceEvidence, Endorsements, Kind, NvidiaError, References, Rim, RimError, Statements},
};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

pub(crate) const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
pub(crate) const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";

/// A device with its certificates and what it says.
pub(crate) struct Room {
    root: (CertificateParams, KeyPair),
    device: (CertificateParams, KeyPair),
    pub(crate) leaf: CertificateParams,
    key: KeyPair,
    pub(crate) nonce: [u8; 32],
    pub(crate) measurements: Vec<[u8; 48]>,
    pub(crate) opaque: Vec<(u16, Vec<u8>)>,
    pub(crate) lists: Vec<Vec<u8>>,
    pub(crate) responses: Vec<Vec<u8>>,
    pub(crate) kind: Kind,
}

impl Room {
    pub(crate) fn new() -> Room {
        Room::of("GH100", "41431d480fe5e87274")
    }

    pub(crate) fn of(model: &str, chip: &str) -> Room {
        let mut device = authority("BROM");
        device.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 5]), chip);
        let mut leaf = named("FMC LF");
        leaf.serial_number = Some(SerialNumber::from_slice(&[7]));
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.subject_alt_names = vec![device_info(&format!("NVIDIA:{model}:48B02D92494BADF4"))];
        leaf.custom_extensions = vec![composite_device_id(&[5; 48])];
        Room {
            root: (authority("Device Root"), key()),
            device: (device, key()),
            leaf,
            key: key(),
            nonce: [9; 32],
            measurements: (0..8).map(|index| [index; 48]).collect(),
            opaque: vec![
                (6, vec![0x00, 0x9f, 0x00, 0x96, 0x01, 0, 0, 0]),
                (3, b"550.90.07\0".to_vec()),
                (20, vec![5; 48]),
                (21, vec![0x55]),
                (36, vec![0, 0]),
            ],
            lists: Vec::new(),
            responses: Vec::new(),
            kind: Kind::Gpu,
        }
    }

    pub(crate) fn certificates(&self) -> Vec<Vec<u8>> {
        let root = Issuer::from_params(&self.root.0, &self.root.1);
        let device = self.device.0.signed_by(&self.device.1, &root).unwrap();
        let issuer = Issuer::from_params(&self.device.0, &self.device.1);
        let leaf = self.leaf.signed_by(&self.key, &issuer).unwrap();
        let root = self.root.0.self_signed(&self.root.1).unwrap();
        vec![leaf.der().to_vec(), device.der().to_vec(), root.der().to_vec()]
    }

    pub(crate) fn report(&self) -> Vec<u8> {
        let mut report = vec![0x11, 0xE0, 0x01, 0xFF];
        report.extend(self.nonce);
        report.extend([0, 0x11, 0x60, 0, 0]);
        report.push(self.measurements.len() as u8);
        report.extend(&((self.measurements.len() * 55) as u32).to_le_bytes()[..3]);
        for (index, value) in self.measurements.iter().enumerate() {
            report.extend([index as u8 + 1, 1, 51, 0, 1, 48, 0]);
            report.extend(value);
        }
        report.extend([3; 32]);
        let opaque: Vec<u8> = self
            .opaque
            .iter()
            .flat_map(|(kind, value)| [&kind.to_le_bytes()[..], &(value.len() as u16).to_le_bytes(), value].concat())
            .collect();
        report.extend((opaque.len() as u16).to_le_bytes());
        report.extend(opaque);
        let signature = sign(&self.key, &report);
        report.extend(signature);
        report
    }

    pub(crate) fn evidence(&self) -> DeviceEvidence {
        DeviceEvidence { report: self.report(), certificates: self.certificates().concat() }
    }

    pub(crate) fn anchors(&self) -> Vec<TrustAnchor> {
        vec![TrustAnchor::pin(self.certificates().last().unwrap()).unwrap()]
    }

    pub(crate) fn examine(&self) -> Result<Device, NvidiaError> {
        self.examine_evidence(&self.evidence())
    }

    pub(crate) fn examine_evidence(&self, evidence: &DeviceEvidence) -> Result<Device, NvidiaError> {
        let endorsements = Endorsements {
            anchors: self.anchors(),
            revocation: Statements {
                lists: self.lists.iter().map(Vec::as_slice).collect(),
                responses: self.responses.iter().map(Vec::as_slice).collect(),
            },
            references: References::Policy,
        };
        Device::examine(self.kind, evidence, &endorsements, now())
    }

    /// A list of the device's certificate authority, current from year to year, that names these serial numbers.
    pub(crate) fn list(&self, years: (i32, i32), serials: &[u8]) -> Vec<u8> {
        list(&self.device, years, serials)
    }

    /// A list of the root, which names nobody.
    pub(crate) fn root_list(&self, years: (i32, i32)) -> Vec<u8> {
        list(&self.root, years, &[])
    }
}

fn list((params, key): &(CertificateParams, KeyPair), years: (i32, i32), serials: &[u8]) -> Vec<u8> {
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(years.0, 1, 1),
        next_update: date_time_ymd(years.1, 1, 1),
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: serials
            .iter()
            .map(|serial| RevokedCertParams {
                serial_number: SerialNumber::from_slice(&[*serial]),
                revocation_time: date_time_ymd(2025, 6, 1),
                reason_code: None,
                invalidity_date: None,
            })
            .collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&Issuer::from_params(params, key)).unwrap().der().to_vec()
}

/// An OCSP response about the leaf, with everything that may be wrong in it.
pub(crate) struct Ocsp {
    pub(crate) hash: HashAlgorithm,
    pub(crate) serial: u8,
    /// The content of the status: good, revoked or unknown by its tag.
    pub(crate) status: Vec<u8>,
    pub(crate) from: &'static str,
    pub(crate) until: Option<&'static str>,
    pub(crate) extensions: Vec<u8>,
    /// A responder of its own, with this name, certified by the authority for signing OCSP or not.
    pub(crate) responder: Option<bool>,
    /// By which name and which key the issuer is told: those of this certificate of the chain.
    pub(crate) issuer: (usize, usize),
    pub(crate) responder_id: Vec<u8>,
    /// What of the signed part is replaced before it is signed, where it first stands, by what.
    pub(crate) replaced: Option<(Vec<u8>, Vec<u8>)>,
}

impl Ocsp {
    pub(crate) fn good() -> Ocsp {
        Ocsp {
            hash: HashAlgorithm::Sha384,
            serial: 7,
            status: der(0x80, &[]),
            from: "20260501000000Z",
            until: Some("20260701000000Z"),
            extensions: Vec::new(),
            responder: None,
            issuer: (1, 1),
            responder_id: der(0xA2, &[&der(0x04, &[&[1; 20]])[..]]),
            replaced: None,
        }
    }
}

impl Room {
    /// Makes the response, signed by the device's authority or by its responder.
    pub(crate) fn respond(&self, ocsp: &Ocsp) -> Vec<u8> {
        let certificates = self.certificates();
        let [issuer_name, issuer_key] =
            [ocsp.issuer.0, ocsp.issuer.1].map(|place| Certificate::parse(&certificates[place]).unwrap());
        let hash: &[u8] = match ocsp.hash {
            HashAlgorithm::Sha256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01],
            HashAlgorithm::Sha384 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02],
            _ => &[0x2B, 0x0E, 0x03, 0x02, 0x1A],
        };
        let id = der(
            0x30,
            &[
                &der(0x30, &[&der(0x06, &[hash])[..]])[..],
                &der(0x04, &[&ocsp.hash.hash(&[issuer_name.parsed().subject().as_raw()])]),
                &der(0x04, &[&ocsp.hash.hash(&[issuer_key.key_bits()])]),
                &der(0x02, &[&[ocsp.serial]]),
            ],
        );
        let until = ocsp.until.map(|until| der(0xA0, &[&der(0x18, &[until.as_bytes()])[..]])).unwrap_or_default();
        let from = der(0x18, &[ocsp.from.as_bytes()]);
        let single = der(0x30, &[&id[..], &ocsp.status, &from, &until, &ocsp.extensions]);
        let produced = der(0x18, &[b"20260501000000Z"]);
        let mut data = der(0x30, &[&ocsp.responder_id[..], &produced, &der(0x30, &[&single[..]])]);
        if let Some((from, to)) = &ocsp.replaced {
            data = replaced(&data, from, to);
        }
        let responder = ocsp.responder.map(|certified| {
            let (mut params, key) = (named("Responder"), key());
            params.extended_key_usages =
                if certified { vec![ExtendedKeyUsagePurpose::OcspSigning] } else { Vec::new() };
            let certificate = params.signed_by(&key, &Issuer::from_params(&self.device.0, &self.device.1)).unwrap();
            (key, certificate.der().to_vec())
        });
        let key = responder.as_ref().map_or(&self.device.1, |(key, _)| key);
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, key.serialized_der()).unwrap();
        let signature = key.sign(&SystemRandom::new(), &data).unwrap();
        let certs = responder.map(|(_, certificate)| der(0xA0, &[&der(0x30, &[&certificate[..]])[..]]));
        let ecdsa_sha384 = der(0x30, &[&[0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x03]]);
        let signature = der(0x03, &[&[0], signature.as_ref()]);
        let basic = der(0x30, &[&data[..], &ecdsa_sha384, &signature, &certs.unwrap_or_default()]);
        let kind = der(0x06, &[&[0x2B, 0x06, 0x01, 0x05, 0x05, 0x07, 0x30, 0x01, 0x01]]);
        let bytes = der(0x30, &[&kind[..], &der(0x04, &[&basic])]);
        der(0x30, &[&der(0x0A, &[&[0]])[..], &der(0xA0, &[&bytes[..]])])
    }
}

/// A signer of manifests.
pub(crate) struct Signer {
    root: (CertificateParams, KeyPair),
    pub(crate) params: CertificateParams,
    key: KeyPair,
}

/// What a manifest says. Its text is canonical as it stands, so that no canonicalisation of the code under test makes it.
#[derive(Clone)]
pub(crate) struct Manifest {
    pub(crate) product: String,
    pub(crate) version: String,
    /// Index, whether active, accepted values.
    pub(crate) measurements: Vec<(usize, bool, Vec<[u8; 48]>)>,
    pub(crate) payload_extra: String,
    pub(crate) reference: String,
    pub(crate) signature_method: String,
    pub(crate) transforms: String,
    /// What of the signed information is replaced before it is signed, where it first stands, by what.
    pub(crate) replaced: (String, String),
}

impl Manifest {
    pub(crate) fn vbios(measurements: Vec<(usize, bool, Vec<[u8; 48]>)>) -> Manifest {
        Manifest {
            product: "GH100".to_owned(),
            version: "96.00.9F.00.01".to_owned(),
            measurements,
            payload_extra: String::new(),
            reference: "URI=\"\"".to_owned(),
            signature_method: "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384".to_owned(),
            transforms: format!("{}{}", transform(&format!("{DSIG}enveloped-signature")), transform(C14N)),
            replaced: (String::new(), String::new()),
        }
    }

    pub(crate) fn driver(measurements: Vec<(usize, bool, Vec<[u8; 48]>)>) -> Manifest {
        Manifest { version: "550.90.07".to_owned(), ..Manifest::vbios(measurements) }
    }

    fn open() -> String {
        format!(
            "<SoftwareIdentity xmlns=\"{SWID}\" xmlns:ns0=\"{SWID}\" xmlns:ns2=\"http://www.w3.org/2001/04/xmlenc#sha384\" \
             corpus=\"false\" tagId=\"tag\">"
        )
    }

    fn content(&self) -> String {
        let mut content = format!(
            "<ns0:Meta colloquialVersion=\"{}\" edition=\"GPU\" product=\"{}\"></ns0:Meta><ns0:Payload>",
            self.version, self.product
        );
        for (index, active, values) in &self.measurements {
            let active = if *active { "True" } else { "False" };
            content += &format!(
                "<ns0:Resource active=\"{active}\" alternatives=\"{}\" index=\"{index}\" size=\"48\" type=\"Measurement\"",
                values.len()
            );
            for (number, value) in values.iter().enumerate() {
                content += &format!(" ns2:Hash{number}=\"{}\"", hex::encode(value));
            }
            content += "></ns0:Resource>";
        }
        content + &self.payload_extra + "</ns0:Payload>"
    }
}

impl Signer {
    pub(crate) fn new() -> Signer {
        let mut params = named("RIM Signer");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(SerialNumber::from_slice(&[7]));
        Signer { root: (authority("RIM Root"), key()), params, key: key() }
    }

    pub(crate) fn anchors(&self) -> Vec<TrustAnchor> {
        vec![TrustAnchor::pin(self.root.0.self_signed(&self.root.1).unwrap().der()).unwrap()]
    }

    /// The root's certificate as an element of a manifest.
    pub(crate) fn root_certificate(&self) -> String {
        let root = self.root.0.self_signed(&self.root.1).unwrap();
        format!("<ds:X509Certificate>{}</ds:X509Certificate>", STANDARD.encode(root.der()))
    }

    pub(crate) fn list(&self, years: (i32, i32), serials: &[u8]) -> Vec<u8> {
        list(&self.root, years, serials)
    }

    pub(crate) fn sign(&self, manifest: &Manifest) -> String {
        let (open, content, close) = (Manifest::open(), manifest.content(), "</SoftwareIdentity>");
        let digest = HashAlgorithm::Sha384.hash(&[format!("{open}{content}{close}").as_bytes()]);
        let inside = format!(
            "<ds:CanonicalizationMethod Algorithm=\"{C14N}\"></ds:CanonicalizationMethod><ds:SignatureMethod \
             Algorithm=\"{}\"></ds:SignatureMethod><ds:Reference {}><ds:Transforms>{}</ds:Transforms><ds:DigestMethod \
             Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#sha384\"></ds:DigestMethod><ds:DigestValue>{}</ds:DigestValue>\
             </ds:Reference></ds:SignedInfo>",
            manifest.signature_method,
            manifest.reference,
            manifest.transforms,
            STANDARD.encode(digest)
        );
        assert!(inside.contains(&manifest.replaced.0));
        let inside = inside.replacen(&manifest.replaced.0, &manifest.replaced.1, 1);
        let signed = format!(
            "<ds:SignedInfo xmlns=\"{SWID}\" xmlns:ds=\"{DSIG}\" xmlns:ns0=\"{SWID}\" \
             xmlns:ns2=\"http://www.w3.org/2001/04/xmlenc#sha384\">{inside}"
        );
        let value = STANDARD.encode(sign(&self.key, signed.as_bytes()));
        let root = Issuer::from_params(&self.root.0, &self.root.1);
        let certificate = STANDARD.encode(self.params.signed_by(&self.key, &root).unwrap().der());
        format!(
            "{open}{content}<ds:Signature xmlns:ds=\"{DSIG}\"><ds:SignedInfo>{inside}<ds:SignatureValue>{value}</ds:SignatureValue>\
             <ds:KeyInfo><ds:X509Data><ds:X509Certificate>{certificate}</ds:X509Certificate></ds:X509Data></ds:KeyInfo>\
             </ds:Signature>{close}"
        )
    }

    pub(crate) fn verify(&self, xml: &str) -> Result<Rim, RimError> {
        Rim::verify(xml.as_bytes(), &self.anchors(), &Statements::default(), now())
    }
}

pub(crate) fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

pub(crate) fn transform(algorithm: &str) -> String {
    format!("<ds:Transform Algorithm=\"{algorithm}\"></ds:Transform>")
}

pub(crate) fn device_info(text: &str) -> SanType {
    SanType::OtherName((vec![1, 3, 6, 1, 4, 1, 412, 274, 1], text.into()))
}

/// The extension of Hopper: version, key, FWID.
pub(crate) fn composite_device_id(fwid: &[u8]) -> CustomExtension {
    let content = der(0x30, &[&[0x02, 0x01, 0x01], &der(0x30, &[])[..], &fwid_value(fwid)]);
    CustomExtension::from_oid_content(&[2, 23, 133, 5, 4, 1], content)
}

/// The extension of Blackwell, with its flags.
pub(crate) fn tcb_info(fwid: &[u8], flags: u32) -> CustomExtension {
    tcb_info_of(fwid, &[&[0], &flags.to_be_bytes()[..]].concat())
}

/// The same, with its flags as the content of a bit string.
pub(crate) fn tcb_info_of(fwid: &[u8], flags: &[u8]) -> CustomExtension {
    let fwids = der(0xA6, &[&fwid_value(fwid)[..], &fwid_value(&[0; 48])]);
    let content = der(0x30, &[&der(0x80, &[b"NVIDIA"])[..], &fwids, &der(0x87, &[flags])]);
    CustomExtension::from_oid_content(&[2, 23, 133, 5, 4, 1, 1], content)
}

pub(crate) fn fwid_value(fwid: &[u8]) -> Vec<u8> {
    let algorithm = [0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
    der(0x30, &[&algorithm[..], &der(0x04, &[fwid])])
}

pub(crate) fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = match content.len() {
        size @ 0..=0x7F => vec![size as u8],
        size @ 0x80..=0xFF => vec![0x81, size as u8],
        size => vec![0x82, (size >> 8) as u8, size as u8],
    };
    [&[tag][..], &length, &content].concat()
}

/// The bytes with what they hold of `from`, where it first stands, replaced.
pub(crate) fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

fn sign(key: &KeyPair, message: &[u8]) -> Vec<u8> {
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, key.serialized_der()).unwrap();
    key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2025, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap()
}

pub(crate) const C14N: &str = "http://www.w3.org/2006/12/xml-c14n11";
