//! The certificate of a key that signs reports: VCEK or VLEK (AMD publication 57230, "Certificate Extensions").

use super::{Generation, Report, SigningKey, SnpError, Tcb};
use crate::certificate::Certificate;

/// What such a certificate states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) kind: SigningKey,
    pub(super) generation: Generation,
    pub(super) product: String,
    tcb: Tcb,
    /// The chip: 64 bytes, or 8 from Turin on. A VLEK has none.
    chip: Option<Vec<u8>>,
}

impl Key {
    pub(super) fn read(certificate: &Certificate<'_>) -> Result<Key, SnpError> {
        let kind = match certificate.common_name().as_str() {
            "SEV-VCEK" => SigningKey::Vcek,
            "SEV-VLEK" => SigningKey::Vlek,
            _ => return Err(SnpError::Extension("common name")),
        };
        let product = text(certificate, PRODUCT)?;
        let generation = generation(&product).ok_or(SnpError::Extension("product name"))?;
        let level = |oid| number(certificate, oid);
        let fmc = match generation {
            Generation::Turin => Some(level(FMC)?),
            Generation::Milan | Generation::Genoa => None,
        };
        for reserved in RESERVED {
            if certificate.extension(reserved).is_some() && level(reserved)? != 0 {
                return Err(SnpError::Extension("reserved security version"));
            }
        }
        let tcb = Tcb {
            fmc,
            bootloader: level(BOOTLOADER)?,
            tee: level(TEE)?,
            snp: level(SNP)?,
            microcode: level(MICROCODE)?,
        };
        let chip = match kind {
            SigningKey::Vcek => Some(chip(certificate, generation)?),
            SigningKey::Vlek if certificate.extension(HARDWARE_ID).is_some() => {
                return Err(SnpError::Extension("hardware id"));
            }
            SigningKey::Vlek => None,
        };
        Ok(Key { kind, generation, product, tcb, chip })
    }

    /// Whether the report is of the chip, version and product that the certificate is for.
    pub(super) fn check_report(&self, report: &Report) -> Result<(), SnpError> {
        if report.cpuid.is_some_and(|(family, model, _)| of_cpuid(family, model) != Some(self.generation)) {
            return Err(SnpError::Product);
        }
        if Tcb::read(report.reported_tcb, self.generation) != Some(self.tcb) {
            return Err(SnpError::Version);
        }
        let masked = report.chip_id.iter().all(|byte| *byte == 0);
        match &self.chip {
            None if masked => Ok(()),
            // With MASK_CHIP_ID the firmware writes zeros and signs all the same: the key is one chip's, the report does not say whose.
            Some(_) if masked => Ok(()),
            Some(chip) => {
                let (id, rest) = report.chip_id.split_at_checked(chip.len()).ok_or(SnpError::Chip)?;
                if id == chip.as_slice() && rest.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(SnpError::Chip) }
            }
            None => Err(SnpError::Chip),
        }
    }
}

/// A product name begins with that of its generation; Bergamo and Siena have Genoa's keys.
fn generation(product: &str) -> Option<Generation> {
    let name = product.split('-').next()?;
    match name {
        "Milan" => Some(Generation::Milan),
        "Genoa" | "Bergamo" | "Siena" => Some(Generation::Genoa),
        "Turin" => Some(Generation::Turin),
        _ => None,
    }
}

/// CPUID family and model (AMD publication 57230, "Product names").
pub(super) const fn of_cpuid(family: u8, model: u8) -> Option<Generation> {
    match (family, model) {
        (0x19, 0x00..=0x0F) => Some(Generation::Milan),
        (0x19, 0x10..=0x1F | 0xA0..=0xAF) => Some(Generation::Genoa),
        (0x1A, 0x00..=0x1F) => Some(Generation::Turin),
        _ => None,
    }
}

/// The value of an INTEGER of one byte (0 to 255, so possibly behind a zero).
fn number(certificate: &Certificate<'_>, oid: &str) -> Result<u8, SnpError> {
    match certificate.extension(oid) {
        Some([0x02, 0x01, value @ 0x00..=0x7F]) => Ok(*value),
        Some([0x02, 0x02, 0x00, value @ 0x80..=0xFF]) => Ok(*value),
        _ => Err(SnpError::Extension("security version")),
    }
}

/// The value of an IA5String of at most 32 characters.
fn text(certificate: &Certificate<'_>, oid: &str) -> Result<String, SnpError> {
    match certificate.extension(oid) {
        Some([0x16, size, text @ ..]) if usize::from(*size) == text.len() && text.len() <= 32 && text.is_ascii() => {
            Ok(text.iter().map(|byte| char::from(*byte)).collect())
        }
        _ => Err(SnpError::Extension("product name")),
    }
}

/// The chip's id stands in the extension bare, or as an OCTET STRING.
fn chip(certificate: &Certificate<'_>, generation: Generation) -> Result<Vec<u8>, SnpError> {
    let size = match generation {
        Generation::Milan | Generation::Genoa => 64,
        Generation::Turin => 8,
    };
    match certificate.extension(HARDWARE_ID) {
        Some(id) if id.len() == size => Ok(id.to_vec()),
        Some([0x04, length, id @ ..]) if usize::from(*length) == size && id.len() == size => Ok(id.to_vec()),
        _ => Err(SnpError::Extension("hardware id")),
    }
}

const PRODUCT: &str = "1.3.6.1.4.1.3704.1.2";
const BOOTLOADER: &str = "1.3.6.1.4.1.3704.1.3.1";
const TEE: &str = "1.3.6.1.4.1.3704.1.3.2";
const SNP: &str = "1.3.6.1.4.1.3704.1.3.3";
const RESERVED: [&str; 4] =
    ["1.3.6.1.4.1.3704.1.3.4", "1.3.6.1.4.1.3704.1.3.5", "1.3.6.1.4.1.3704.1.3.6", "1.3.6.1.4.1.3704.1.3.7"];
const MICROCODE: &str = "1.3.6.1.4.1.3704.1.3.8";
const FMC: &str = "1.3.6.1.4.1.3704.1.3.9";
const HARDWARE_ID: &str = "1.3.6.1.4.1.3704.1.4";
