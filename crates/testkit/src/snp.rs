//! A forged AMD: root, intermediate and chip keys of any generation, and reports with any contents, signed correctly.
//!
//! AMD's own authorities have RSA keys; here all are P-384, since which keys count is an argument of the examination. Names, extensions and
//! layouts are AMD's (publications 56860 and 57230), each free to be wrong.

use attest::{certificate::TrustAnchor, snp::Generation};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair},
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384, RevokedCertParams, SerialNumber, date_time_ymd,
};

/// Where the fields of a report stand.
pub mod at {
    #![allow(missing_docs)]
    pub const VERSION: usize = 0x000;
    pub const POLICY: usize = 0x008;
    pub const VMPL: usize = 0x030;
    pub const ALGORITHM: usize = 0x034;
    pub const CURRENT_TCB: usize = 0x038;
    pub const PLATFORM_INFO: usize = 0x040;
    pub const FLAGS: usize = 0x048;
    pub const REPORT_DATA: usize = 0x050;
    pub const MEASUREMENT: usize = 0x090;
    pub const REPORTED_TCB: usize = 0x180;
    pub const CPUID: usize = 0x188;
    pub const CHIP_ID: usize = 0x1A0;
    pub const COMMITTED_TCB: usize = 0x1E0;
    pub const LAUNCH_TCB: usize = 0x1F0;
    pub const SIGNATURE: usize = 0x2A0;
    pub const END: usize = 0x4A0;
}

/// Root and intermediate of one generation.
pub struct Amd {
    generation: Generation,
    root: (CertificateParams, KeyPair),
    intermediate: (CertificateParams, KeyPair),
}

/// What the certificate of a signing key says, free to be wrong.
#[derive(Debug, Clone)]
pub struct KeyFields {
    /// `SEV-VCEK` or `SEV-VLEK`.
    pub common_name: String,
    /// The years in which it is valid: from the first day of one to the first of the other.
    pub years: (i32, i32),
    /// The last arcs below 1.3.6.1.4.1.3704.1, with the DER of each value.
    pub extensions: Vec<(Vec<u64>, Vec<u8>)>,
}

/// A key that signs reports, with its certificate (DER).
pub struct ChipKey {
    /// Its certificate.
    pub certificate: Vec<u8>,
    pair: EcdsaKeyPair,
}

impl Amd {
    /// Authorities over chips' own keys (ASK).
    pub fn new(generation: Generation) -> Amd {
        Amd::named(generation, &format!("SEV-{}", generation.name()))
    }

    /// Authorities over clouds' keys (ASVK).
    pub fn for_clouds(generation: Generation) -> Amd {
        Amd::named(generation, &format!("SEV-VLEK-{}", generation.name()))
    }

    fn named(generation: Generation, intermediate: &str) -> Amd {
        let authority = |name: &str, serial: u64| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.serial_number = Some(SerialNumber::from(serial));
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2045, 1, 1);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            (params, KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap())
        };
        let root = authority(&format!("ARK-{}", generation.name()), 0x1_0000);
        Amd { generation, root, intermediate: authority(intermediate, 0x1_0001) }
    }

    /// The root's certificate.
    pub fn root(&self) -> Vec<u8> {
        self.root.0.self_signed(&self.root.1).unwrap().der().to_vec()
    }

    /// The intermediate's certificate.
    pub fn intermediate(&self) -> Vec<u8> {
        let root = Issuer::from_params(&self.root.0, &self.root.1);
        self.intermediate.0.signed_by(&self.intermediate.1, &root).unwrap().der().to_vec()
    }

    /// Intermediate and root, as AMD's key distribution service bundles them.
    pub fn chain(&self) -> Vec<u8> {
        [self.intermediate(), self.root()].concat()
    }

    /// The root, pinned.
    pub fn anchors(&self) -> Vec<TrustAnchor> {
        vec![TrustAnchor::pin(&self.root()).unwrap()]
    }

    /// The root's list of revoked intermediates, valid in these years; with this one on it or not.
    pub fn list(&self, revoked: bool, years: (i32, i32)) -> Vec<u8> {
        let entry = RevokedCertParams {
            serial_number: SerialNumber::from(if revoked { 0x1_0001_u64 } else { 0x2_0002 }),
            revocation_time: date_time_ymd(2022, 10, 31),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(years.0, 1, 1),
            next_update: date_time_ymd(years.1, 1, 1),
            crl_number: SerialNumber::from(4_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![entry],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&Issuer::from_params(&self.root.0, &self.root.1)).unwrap().der().to_vec()
    }

    /// A signing key with these fields.
    pub fn key(&self, fields: &KeyFields) -> ChipKey {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, fields.common_name.as_str());
        params.not_before = date_time_ymd(fields.years.0, 1, 1);
        params.not_after = date_time_ymd(fields.years.1, 1, 1);
        for (arcs, value) in &fields.extensions {
            let oid = [&[1, 3, 6, 1, 4, 1, 3704, 1], arcs.as_slice()].concat();
            params.custom_extensions.push(CustomExtension::from_oid_content(&oid, value.clone()));
        }
        let issuer = Issuer::from_params(&self.intermediate.0, &self.intermediate.1);
        let certificate = params.signed_by(&pair, &issuer).unwrap().der().to_vec();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &pair.serialize_der()).unwrap();
        ChipKey { certificate, pair }
    }

    /// What a VCEK's certificate says of the chip and version of [`Amd::report`].
    pub fn chip_fields(&self) -> KeyFields {
        let mut fields = self.cloud_fields();
        fields.common_name = "SEV-VCEK".to_owned();
        fields.extensions.push((vec![4], chip(self.generation)));
        fields
    }

    /// What a VLEK's certificate says of the version of [`Amd::report`].
    pub fn cloud_fields(&self) -> KeyFields {
        let product = match self.generation {
            Generation::Milan => "Milan-B0",
            Generation::Genoa => "Genoa-B1",
            Generation::Turin => "Turin-B0",
        };
        let text = [&[0x16, u8::try_from(product.len()).unwrap()], product.as_bytes()].concat();
        let raw = tcb(self.generation);
        let (levels, fmc) = match self.generation {
            Generation::Turin => ([raw[1], raw[2], raw[3], raw[7]], Some(raw[0])),
            Generation::Milan | Generation::Genoa => ([raw[0], raw[1], raw[6], raw[7]], None),
        };
        let mut extensions = vec![(vec![2], text)];
        extensions.extend([1, 2, 3, 8].into_iter().zip(levels).map(|(arc, level)| (vec![3, arc], integer(level))));
        extensions.extend(fmc.map(|level| (vec![3, 9], integer(level))));
        KeyFields { common_name: "SEV-VLEK".to_owned(), years: (2025, 2032), extensions }
    }

    /// A report of version 5 (of 2 on Milan, without CPUID) that the strictest policy of its generation admits. Not signed yet.
    pub fn report(&self) -> Vec<u8> {
        let mut report = vec![0; at::END];
        let version = if self.generation == Generation::Milan { 2 } else { 5 };
        put(&mut report, at::VERSION, &[version]);
        // SMT allowed, and the bit that is always one.
        put(&mut report, at::POLICY, &0x3_0000_u64.to_le_bytes());
        put(&mut report, at::ALGORITHM, &[1]);
        // SMT, and the check for aliases is complete.
        put(&mut report, at::PLATFORM_INFO, &[0b10_0001]);
        put(&mut report, at::REPORT_DATA, &[0x5A; 64]);
        put(&mut report, at::MEASUREMENT, &[0xA5; 48]);
        match self.generation {
            Generation::Milan => {}
            Generation::Genoa => put(&mut report, at::CPUID, &[0x19, 0x11, 1]),
            Generation::Turin => put(&mut report, at::CPUID, &[0x1A, 0x02, 1]),
        }
        put(&mut report, at::CHIP_ID, &chip(self.generation));
        for field in [at::CURRENT_TCB, at::REPORTED_TCB, at::COMMITTED_TCB, at::LAUNCH_TCB] {
            put(&mut report, field, &tcb(self.generation));
        }
        report
    }
}

impl ChipKey {
    /// Signs a report in place: r and s little-endian, 72 bytes each.
    pub fn sign(&self, report: &mut [u8]) {
        let signature = self.pair.sign(&SystemRandom::new(), &report[..at::SIGNATURE]).unwrap();
        for (half, number) in signature.as_ref().chunks_exact(48).enumerate() {
            let reversed: Vec<u8> = number.iter().rev().copied().collect();
            put(report, at::SIGNATURE + 72 * half, &reversed);
        }
    }
}

/// Writes bytes into a report.
pub fn put(report: &mut [u8], at: usize, bytes: &[u8]) {
    report[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The TCB_VERSION of the forged chips, raw.
pub fn tcb(generation: Generation) -> [u8; 8] {
    match generation {
        Generation::Milan => [4, 1, 0, 0, 0, 0, 0x18, 0xDB],
        Generation::Genoa => [9, 1, 0, 0, 0, 0, 0x17, 0x54],
        Generation::Turin => [1, 3, 2, 5, 0, 0, 0, 0x62],
    }
}

/// A DER INTEGER of one byte's worth.
pub fn integer(level: u8) -> Vec<u8> {
    if level < 0x80 { vec![2, 1, level] } else { vec![2, 2, 0, level] }
}

fn chip(generation: Generation) -> Vec<u8> {
    match generation {
        Generation::Milan | Generation::Genoa => (1..=64).collect(),
        Generation::Turin => (1..=8).collect(),
    }
}
