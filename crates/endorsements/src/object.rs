//! Which objects there are, their names, and where the makers' services have them.
//!
//! A name such as `tdx/tcb/b0c06f000000` is what people type and what files are called; a target is the path and query of a request. Both
//! lead to the same type, and nothing else does, so what comes from a request cannot name a file.
//! Sources: Intel, "Provisioning Certification Service" API version 4; AMD, "VCEK Certificate and KDS Interface Specification" (57230), chapter 4;
//! NVIDIA, "RIM Service API", version 1.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One object of a maker's service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectId {
    /// Intel: the security versions of processors with this FMSPC.
    TcbInfo {
        /// SGX or TDX.
        tee: Tee,
        /// Family, model, stepping, platform type and custom SKU.
        fmspc: [u8; 6],
        /// Which of Intel's two schedules.
        update: Update,
    },
    /// Intel: the identity of the quoting enclave.
    QeIdentity {
        /// SGX or TDX.
        tee: Tee,
        /// Which of Intel's two schedules.
        update: Update,
    },
    /// Intel: the revocation list of a PCK authority.
    PckCrl(PckAuthority),
    /// Intel: the revocation list of the root.
    RootCaCrl,
    /// AMD: the certificate of a chip's key at one security version.
    Vcek {
        /// The processors' family.
        product: Product,
        /// Which chip.
        chip: ChipId,
        /// Which security version.
        tcb: AmdTcb,
    },
    /// AMD: the certificates between such keys and the root, with the root.
    AmdChain {
        /// Which kind of key.
        kind: SigningKind,
        /// The processors' family.
        product: Product,
    },
    /// AMD: the revocation list of a family's root.
    AmdCrl {
        /// Which kind of key.
        kind: SigningKind,
        /// The processors' family.
        product: Product,
    },
    /// NVIDIA: a signed manifest of Reference Values, in the service's answer.
    Rim(RimId),
}

/// Intel's two platforms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tee {
    /// Enclaves.
    Sgx,
    /// Trust domains.
    Tdx,
}

/// Intel publishes each recovery twice: early, and when platforms have had time to take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Update {
    /// What the service gives when it is not asked otherwise.
    Standard,
    /// As soon as it is public.
    Early,
}

/// The two authorities that certify PCKs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PckAuthority {
    /// For machines with one processor.
    Processor,
    /// For machines with several.
    Platform,
}

/// AMD's families, as its key service names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// Third generation.
    Milan,
    /// Fourth generation (also Bergamo and Siena).
    Genoa,
    /// Fifth generation.
    Turin,
}

/// AMD's two kinds of keys that sign reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SigningKind {
    /// Of a chip.
    Vcek,
    /// Of a cloud provider's machines.
    Vlek,
}

/// A chip: 64 bytes, or 8 from Turin on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChipId(Vec<u8>);

/// AMD's security version, by component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AmdTcb {
    /// The FMC; from Turin on.
    pub fmc: Option<u8>,
    /// The boot loader.
    pub boot_loader: u8,
    /// The trusted execution environment of the secure processor.
    pub tee: u8,
    /// The SNP firmware.
    pub snp: u8,
    /// The microcode.
    pub microcode: u8,
}

/// The name of a manifest: letters, digits, `_`, `.` and `-`, at most 128.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RimId(String);

/// How a revocation list is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is kept.
    AsKept,
    /// In PEM armour.
    Pem,
    /// In hexadecimal.
    Hexadecimal,
}

/// No object has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no Endorsement\nhint: such as `tdx/tcb/FMSPC`, `sgx/qe`, `sgx/crl/platform`, `sgx/crl/root`, `amd/chain/Genoa`, `amd/crl/Genoa`, `amd/vcek/Genoa/CHIP/BL-TEE-SNP-UCODE`, `nvidia/rim/ID`"
)]
pub struct NotAnObject(String);

impl ObjectId {
    /// The path and query that the maker's service has it under.
    pub(crate) fn target(&self) -> String {
        match self {
            ObjectId::TcbInfo { tee, fmspc, update } => {
                format!("/{}/certification/v4/tcb?fmspc={}{}", tee.name(), hex::encode(fmspc), update.query('&'))
            }
            ObjectId::QeIdentity { tee, update } => {
                format!("/{}/certification/v4/qe/identity{}", tee.name(), update.query('?'))
            }
            ObjectId::PckCrl(authority) => {
                format!("/sgx/certification/v4/pckcrl?ca={}&encoding=der", authority.name())
            }
            ObjectId::RootCaCrl => ROOT_CRL.to_owned(),
            ObjectId::Vcek { product, chip, tcb } => {
                let fmc = tcb.fmc.map(|fmc| format!("fmcSPL={fmc:02}&")).unwrap_or_default();
                format!(
                    "/vcek/v1/{product}/{}?{fmc}blSPL={:02}&teeSPL={:02}&snpSPL={:02}&ucodeSPL={:02}",
                    hex::encode(&chip.0),
                    tcb.boot_loader,
                    tcb.tee,
                    tcb.snp,
                    tcb.microcode
                )
            }
            ObjectId::AmdChain { kind, product } => format!("/{}/v1/{product}/cert_chain", kind.name()),
            ObjectId::AmdCrl { kind, product } => format!("/{}/v1/{product}/crl", kind.name()),
            ObjectId::Rim(id) => format!("/v1/rim/{}", id.0),
        }
    }

    /// What a request for this path and query means.
    pub(crate) fn of_target(path: &str, query: &str) -> Option<(ObjectId, Form)> {
        if path.len() + query.len() > MAX_TARGET {
            return None;
        }
        let parameter = |name: &str| {
            query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name)).map(|pair| pair.1)
        };
        let update = match parameter("update") {
            None | Some("standard") => Update::Standard,
            Some("early") => Update::Early,
            Some(_) => return None,
        };
        let mut parts = path.strip_prefix('/')?.split('/');
        let mut next = || parts.next();
        let id = match [next(), next(), next(), next(), next(), next()] {
            [Some(tee), Some("certification"), Some("v4"), Some("tcb"), None, None] => {
                // A number that the caller chose is not what is kept here.
                if parameter("tcbEvaluationDataNumber").is_some() {
                    return None;
                }
                ObjectId::TcbInfo { tee: Tee::of(tee)?, fmspc: bytes(parameter("fmspc")?)?, update }
            }
            [Some(tee), Some("certification"), Some("v4"), Some("qe"), Some("identity"), None] => {
                ObjectId::QeIdentity { tee: Tee::of(tee)?, update }
            }
            [Some("sgx"), Some("certification"), Some("v4"), Some("pckcrl"), None, None] => {
                let form = match parameter("encoding") {
                    Some("der") => Form::AsKept,
                    None | Some("pem") => Form::Pem,
                    Some(_) => return None,
                };
                return Some((ObjectId::PckCrl(PckAuthority::of(parameter("ca")?)?), form));
            }
            [Some("sgx"), Some("certification"), Some("v4"), Some("rootcacrl"), None, None] => {
                return Some((ObjectId::RootCaCrl, Form::Hexadecimal));
            }
            [Some("IntelSGXRootCA.der"), None, ..] => ObjectId::RootCaCrl,
            [Some(kind), Some("v1"), Some(product), Some("cert_chain"), None, None] => {
                ObjectId::AmdChain { kind: SigningKind::of(kind)?, product: Product::of(product)? }
            }
            [Some(kind), Some("v1"), Some(product), Some("crl"), None, None] => {
                ObjectId::AmdCrl { kind: SigningKind::of(kind)?, product: Product::of(product)? }
            }
            [Some("vcek"), Some("v1"), Some(product), Some(chip), None, None] => {
                let part = |name| parameter(name).and_then(|value| value.parse().ok());
                let product = Product::of(product)?;
                let fmc = if product == Product::Turin { Some(part("fmcSPL")?) } else { None };
                let (boot_loader, tee) = (part("blSPL")?, part("teeSPL")?);
                let (snp, microcode) = (part("snpSPL")?, part("ucodeSPL")?);
                let tcb = AmdTcb { fmc, boot_loader, tee, snp, microcode };
                ObjectId::Vcek { product, chip: ChipId::of(product, chip)?, tcb }
            }
            [Some("v1"), Some("rim"), Some(id), None, ..] => ObjectId::Rim(RimId::of(id)?),
            _ => return None,
        };
        Some((id, Form::AsKept))
    }

    /// The header in which Intel's service sends the chain of the signer.
    pub(crate) const fn chain_header(&self) -> Option<&'static str> {
        match self {
            ObjectId::TcbInfo { .. } => Some("TCB-Info-Issuer-Chain"),
            ObjectId::QeIdentity { .. } => Some("SGX-Enclave-Identity-Issuer-Chain"),
            ObjectId::PckCrl(_) => Some("SGX-PCK-CRL-Issuer-Chain"),
            ObjectId::RootCaCrl
            | ObjectId::Vcek { .. }
            | ObjectId::AmdChain { .. }
            | ObjectId::AmdCrl { .. }
            | ObjectId::Rim(_) => None,
        }
    }

    /// What its bytes are, as an HTTP content type.
    pub(crate) const fn content_type(&self, form: Form) -> &'static str {
        match (self, form) {
            (_, Form::Pem) => "application/x-pem-file",
            (_, Form::Hexadecimal) => "text/plain",
            (ObjectId::TcbInfo { .. } | ObjectId::QeIdentity { .. } | ObjectId::Rim(_), _) => "application/json",
            (ObjectId::PckCrl(_) | ObjectId::RootCaCrl | ObjectId::AmdCrl { .. }, _) => "application/pkix-crl",
            (ObjectId::Vcek { .. }, _) => "application/pkix-cert",
            (ObjectId::AmdChain { .. }, _) => "application/x-pem-file",
        }
    }

    /// The name of the file that it is kept in.
    pub(crate) fn file_name(&self) -> String {
        format!("{}.json", self.to_string().replace('/', "~"))
    }

    /// What a machine's appraisal needs, by a short name: `sgx/FMSPC`, `tdx/FMSPC` or `amd/PRODUCT`; else the one object of that name.
    ///
    /// # Errors
    /// [`NotAnObject`].
    pub fn group(text: &str) -> Result<Vec<ObjectId>, NotAnObject> {
        let parts: Vec<&str> = text.split('/').collect();
        if let [tee, fmspc] = parts.as_slice()
            && let (Some(tee), Some(fmspc)) = (Tee::of(tee), bytes(fmspc))
        {
            let update = Update::Standard;
            return Ok(vec![
                ObjectId::RootCaCrl,
                ObjectId::PckCrl(PckAuthority::Platform),
                ObjectId::PckCrl(PckAuthority::Processor),
                ObjectId::QeIdentity { tee, update },
                ObjectId::TcbInfo { tee, fmspc, update },
            ]);
        }
        if let ["amd", product] = parts.as_slice()
            && let Some(product) = Product::of(product)
        {
            let kind = SigningKind::Vcek;
            return Ok(vec![ObjectId::AmdChain { kind, product }, ObjectId::AmdCrl { kind, product }]);
        }
        Ok(vec![text.parse()?])
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ObjectId::TcbInfo { tee, fmspc, update } => {
                write!(f, "{}/tcb/{}{}", tee.name(), hex::encode(fmspc), update.suffix())
            }
            ObjectId::QeIdentity { tee, update } => write!(f, "{}/qe{}", tee.name(), update.suffix()),
            ObjectId::PckCrl(authority) => write!(f, "sgx/crl/{}", authority.name()),
            ObjectId::RootCaCrl => f.write_str("sgx/crl/root"),
            ObjectId::Vcek { product, chip, tcb } => {
                write!(f, "amd/vcek/{product}/{}/", hex::encode(&chip.0))?;
                if let Some(fmc) = tcb.fmc {
                    write!(f, "{fmc}-")?;
                }
                write!(f, "{}-{}-{}-{}", tcb.boot_loader, tcb.tee, tcb.snp, tcb.microcode)
            }
            ObjectId::AmdChain { kind: SigningKind::Vcek, product } => write!(f, "amd/chain/{product}"),
            ObjectId::AmdChain { kind: SigningKind::Vlek, product } => write!(f, "amd/chain/{product}/vlek"),
            ObjectId::AmdCrl { kind: SigningKind::Vcek, product } => write!(f, "amd/crl/{product}"),
            ObjectId::AmdCrl { kind: SigningKind::Vlek, product } => write!(f, "amd/crl/{product}/vlek"),
            ObjectId::Rim(id) => write!(f, "nvidia/rim/{}", id.0),
        }
    }
}

impl FromStr for ObjectId {
    type Err = NotAnObject;

    fn from_str(text: &str) -> Result<ObjectId, NotAnObject> {
        named(text).ok_or_else(|| NotAnObject(envelope::text::shown(text, 80)))
    }
}

fn named(text: &str) -> Option<ObjectId> {
    if text.len() > MAX_TARGET {
        return None;
    }
    let parts: Vec<&str> = text.split('/').collect();
    let update = |parts: &[&str]| match parts {
        [] => Some(Update::Standard),
        ["early"] => Some(Update::Early),
        _ => None,
    };
    let kind = |parts: &[&str]| match parts {
        [] => Some(SigningKind::Vcek),
        ["vlek"] => Some(SigningKind::Vlek),
        _ => None,
    };
    match parts.as_slice() {
        ["sgx", "crl", "root"] => Some(ObjectId::RootCaCrl),
        ["sgx", "crl", authority] => Some(ObjectId::PckCrl(PckAuthority::of(authority)?)),
        [tee, "tcb", fmspc, rest @ ..] => {
            Some(ObjectId::TcbInfo { tee: Tee::of(tee)?, fmspc: bytes(fmspc)?, update: update(rest)? })
        }
        [tee, "qe", rest @ ..] => Some(ObjectId::QeIdentity { tee: Tee::of(tee)?, update: update(rest)? }),
        ["amd", "vcek", product, chip, tcb] => {
            let product = Product::of(product)?;
            let numbers: Vec<u8> = tcb.split('-').map(|part| part.parse().ok()).collect::<Option<_>>()?;
            let tcb = match (product, numbers.as_slice()) {
                (Product::Turin, &[fmc, boot_loader, tee, snp, microcode]) => {
                    AmdTcb { fmc: Some(fmc), boot_loader, tee, snp, microcode }
                }
                (Product::Milan | Product::Genoa, &[boot_loader, tee, snp, microcode]) => {
                    AmdTcb { fmc: None, boot_loader, tee, snp, microcode }
                }
                _ => return None,
            };
            Some(ObjectId::Vcek { product, chip: ChipId::of(product, chip)?, tcb })
        }
        ["amd", "chain", product, rest @ ..] => {
            Some(ObjectId::AmdChain { kind: kind(rest)?, product: Product::of(product)? })
        }
        ["amd", "crl", product, rest @ ..] => {
            Some(ObjectId::AmdCrl { kind: kind(rest)?, product: Product::of(product)? })
        }
        ["nvidia", "rim", id] => Some(ObjectId::Rim(RimId::of(id)?)),
        _ => None,
    }
}

impl Serialize for ObjectId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<ObjectId, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Tee {
    const fn name(self) -> &'static str {
        match self {
            Tee::Sgx => "sgx",
            Tee::Tdx => "tdx",
        }
    }

    fn of(name: &str) -> Option<Tee> {
        [Tee::Sgx, Tee::Tdx].into_iter().find(|tee| tee.name() == name)
    }
}

impl Update {
    const fn suffix(self) -> &'static str {
        match self {
            Update::Standard => "",
            Update::Early => "/early",
        }
    }

    fn query(self, before: char) -> String {
        match self {
            Update::Standard => String::new(),
            Update::Early => format!("{before}update=early"),
        }
    }
}

impl PckAuthority {
    const fn name(self) -> &'static str {
        match self {
            PckAuthority::Processor => "processor",
            PckAuthority::Platform => "platform",
        }
    }

    /// The common name of its certificate.
    pub(crate) const fn common_name(self) -> &'static str {
        match self {
            PckAuthority::Processor => "Intel SGX PCK Processor CA",
            PckAuthority::Platform => "Intel SGX PCK Platform CA",
        }
    }

    fn of(name: &str) -> Option<PckAuthority> {
        [PckAuthority::Processor, PckAuthority::Platform].into_iter().find(|authority| authority.name() == name)
    }
}

impl Product {
    /// As the key service writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Product::Milan => "Milan",
            Product::Genoa => "Genoa",
            Product::Turin => "Turin",
        }
    }

    fn of(name: &str) -> Option<Product> {
        [Product::Milan, Product::Genoa, Product::Turin].into_iter().find(|product| product.name() == name)
    }
}

impl fmt::Display for Product {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl SigningKind {
    const fn name(self) -> &'static str {
        match self {
            SigningKind::Vcek => "vcek",
            SigningKind::Vlek => "vlek",
        }
    }

    fn of(name: &str) -> Option<SigningKind> {
        [SigningKind::Vcek, SigningKind::Vlek].into_iter().find(|kind| kind.name() == name)
    }
}

impl ChipId {
    /// From hexadecimal: 16 characters for Turin, 128 before.
    pub fn of(product: Product, text: &str) -> Option<ChipId> {
        let size = if product == Product::Turin { 8 } else { 64 };
        hex::decode(text).ok().filter(|bytes| bytes.len() == size).map(ChipId)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl RimId {
    /// The name, if it can be one.
    pub fn of(text: &str) -> Option<RimId> {
        let fits = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
        let good = (1..=128).contains(&text.len()) && text.chars().all(fits) && !text.starts_with('.');
        good.then(|| RimId(text.to_owned()))
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(bytes)
}

const ROOT_CRL: &str = "/IntelSGXRootCA.der";
const MAX_TARGET: usize = 512;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_and_targets_lead_back_to_the_same_object() {
        let chip = "ab".repeat(64);
        let names = [
            "sgx/tcb/00906ed50000".to_owned(),
            "tdx/tcb/b0c06f000000/early".to_owned(),
            "tdx/qe".to_owned(),
            "sgx/qe/early".to_owned(),
            "sgx/crl/processor".to_owned(),
            "sgx/crl/root".to_owned(),
            format!("amd/vcek/Genoa/{chip}/7-0-14-72"),
            "amd/vcek/Turin/0123456789abcdef/1-1-1-4-80".to_owned(),
            "amd/chain/Milan".to_owned(),
            "amd/chain/Milan/vlek".to_owned(),
            "amd/crl/Turin".to_owned(),
            "nvidia/rim/NV_GPU_DRIVER_GH100_550.90.07".to_owned(),
        ];
        for name in names {
            let id: ObjectId = name.parse().unwrap();
            assert_eq!(id.to_string(), name);
            let target = id.target();
            let (path, query) = target.split_once('?').unwrap_or((&target, ""));
            assert_eq!(ObjectId::of_target(path, query), Some((id, Form::AsKept)), "{target}");
        }
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for name in
            ["", "sgx", "sgx/tcb/0090", "sgx/tcb/00906ed50000/late", "nvidia/rim/../x", "amd/chain/Rome", "/sgx/qe"]
        {
            assert!(name.parse::<ObjectId>().is_err(), "{name}");
        }
        for (path, query) in [
            ("/sgx/certification/v4/tcb", ""),
            ("/sgx/certification/v4/tcb", "fmspc=00906ed50000&tcbEvaluationDataNumber=3"),
            ("/sgx/certification/v4/pckcrl", "ca=nobody"),
            ("/vcek/v1/Genoa/ab", "blSPL=1&teeSPL=1&snpSPL=1&ucodeSPL=1"),
            ("/v1/rim/a%2fb", ""),
        ] {
            assert_eq!(ObjectId::of_target(path, query), None, "{path}");
        }
    }
}
