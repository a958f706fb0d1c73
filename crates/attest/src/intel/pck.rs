//! What a provisioning certification key's certificate says of its platform.
//!
//! The values stand in one extension (1.2.840.113741.1.13.1), a list of pairs of identifier and value, itself with a nested list for the security
//! versions and one for the configuration. Each value is taken once; a second one, a missing one, or one of another type is refused, since
//! two readers could take different ones. Identifiers that are not known are passed over.
//! Source: Intel, "SGX PCK Certificate and Certificate Revocation List Profile Specification", section 1.3.5.

use crate::certificate::Certificate;

/// The extension of a PCK certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PckExtension {
    /// The platform's provisioning identity.
    pub ppid: [u8; 16],
    /// The security versions of the 16 components that the key was made for.
    pub components: [u8; 16],
    /// The security version of the provisioning certification enclave.
    pub pce_svn: u16,
    /// The processor's raw security version.
    pub cpu_svn: [u8; 16],
    /// The identity of the provisioning certification enclave.
    pub pce_id: [u8; 2],
    /// Family, model, stepping, platform and custom SKU.
    pub fmspc: [u8; 6],
    /// 0 standard, 1 scalable, 2 scalable with integrity.
    pub sgx_type: u8,
    /// The identity of a platform of several packages.
    pub platform_instance: Option<[u8; 16]>,
    /// Whether packages may be added.
    pub dynamic_platform: Option<bool>,
    /// Whether keys are kept by Intel's registration service.
    pub cached_keys: Option<bool>,
    /// Whether simultaneous multithreading is on.
    pub smt_enabled: Option<bool>,
}

/// What is wrong with the extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PckFault {
    /// There is none.
    #[error("it has no SGX extension")]
    Absent,
    /// It is not DER of the expected shape.
    #[error("its SGX extension is not of the specified form")]
    Malformed,
    /// A value is not there.
    #[error("its SGX extension has no {0}")]
    Missing(&'static str),
    /// A value is there twice.
    #[error("its SGX extension has more than one {0}")]
    Twice(&'static str),
}

impl PckExtension {
    /// Reads the extension of a certificate.
    ///
    /// # Errors
    /// [`PckFault`].
    pub fn of(certificate: &Certificate<'_>) -> Result<PckExtension, PckFault> {
        let extensions = certificate.parsed().extensions();
        let mut found = extensions.iter().filter(|extension| extension.oid.as_bytes() == OID_SGX);
        let extension = found.next().ok_or(PckFault::Absent)?;
        if found.next().is_some() {
            return Err(PckFault::Twice("body"));
        }
        PckExtension::parse(extension.value)
    }

    /// Reads the extension's value.
    ///
    /// # Errors
    /// [`PckFault`].
    pub fn parse(value: &[u8]) -> Result<PckExtension, PckFault> {
        let mut fields = Fields::default();
        for_each(list(value)?, OID_SGX, |arc, tag, value| match arc {
            [1] => once(&mut fields.ppid, "PPID", octets(tag, value)),
            [2] => fields.security_versions(tag, value),
            [3] => once(&mut fields.pce_id, "PCEID", octets(tag, value)),
            [4] => once(&mut fields.fmspc, "FMSPC", octets(tag, value)),
            [5] => once(&mut fields.sgx_type, "SGX type", number(tag, ENUMERATED, value).and_then(narrow)),
            [6] => once(&mut fields.platform_instance, "platform instance", octets(tag, value)),
            [7] => fields.configuration(tag, value),
            _ => Ok(()),
        })?;
        fields.finish()
    }
}

#[derive(Default)]
struct Fields {
    ppid: Option<[u8; 16]>,
    components: [Option<u8>; 16],
    pce_svn: Option<u16>,
    cpu_svn: Option<[u8; 16]>,
    pce_id: Option<[u8; 2]>,
    fmspc: Option<[u8; 6]>,
    sgx_type: Option<u8>,
    platform_instance: Option<[u8; 16]>,
    configured: Option<()>,
    dynamic_platform: Option<bool>,
    cached_keys: Option<bool>,
    smt_enabled: Option<bool>,
}

impl Fields {
    fn security_versions(&mut self, tag: u8, value: &[u8]) -> Result<(), PckFault> {
        expect(tag, SEQUENCE)?;
        for_each(value, OID_SGX_TCB, |arc, tag, value| match arc {
            [17] => once(&mut self.pce_svn, "PCESVN", number(tag, INTEGER, value)),
            [18] => once(&mut self.cpu_svn, "CPUSVN", octets(tag, value)),
            [component] => match self.components.get_mut(usize::from(component.wrapping_sub(1))) {
                Some(slot) => once(slot, "component", number(tag, INTEGER, value).and_then(narrow)),
                None => Ok(()),
            },
            _ => Ok(()),
        })
    }

    fn configuration(&mut self, tag: u8, value: &[u8]) -> Result<(), PckFault> {
        expect(tag, SEQUENCE)?;
        once(&mut self.configured, "configuration", Ok(()))?;
        for_each(value, OID_SGX_CONFIGURATION, |arc, tag, value| match arc {
            [1] => once(&mut self.dynamic_platform, "dynamic platform", boolean(tag, value)),
            [2] => once(&mut self.cached_keys, "cached keys", boolean(tag, value)),
            [3] => once(&mut self.smt_enabled, "SMT flag", boolean(tag, value)),
            _ => Ok(()),
        })
    }

    fn finish(self) -> Result<PckExtension, PckFault> {
        let mut components = [0; 16];
        for (to, from) in components.iter_mut().zip(self.components) {
            *to = from.ok_or(PckFault::Missing("component"))?;
        }
        Ok(PckExtension {
            ppid: self.ppid.ok_or(PckFault::Missing("PPID"))?,
            components,
            pce_svn: self.pce_svn.ok_or(PckFault::Missing("PCESVN"))?,
            cpu_svn: self.cpu_svn.ok_or(PckFault::Missing("CPUSVN"))?,
            pce_id: self.pce_id.ok_or(PckFault::Missing("PCEID"))?,
            fmspc: self.fmspc.ok_or(PckFault::Missing("FMSPC"))?,
            sgx_type: self.sgx_type.ok_or(PckFault::Missing("SGX type"))?,
            platform_instance: self.platform_instance,
            dynamic_platform: self.dynamic_platform,
            cached_keys: self.cached_keys,
            smt_enabled: self.smt_enabled,
        })
    }
}

/// Walks a list of pairs of identifier and value; `each` gets what follows `prefix` in the identifier.
fn for_each(
    mut items: &[u8],
    prefix: &[u8],
    mut each: impl FnMut(&[u8], u8, &[u8]) -> Result<(), PckFault>,
) -> Result<(), PckFault> {
    while !items.is_empty() {
        let (tag, mut pair) = next(&mut items)?;
        expect(tag, SEQUENCE)?;
        let (tag, identifier) = next(&mut pair)?;
        expect(tag, OBJECT_IDENTIFIER)?;
        let (tag, value) = next(&mut pair)?;
        if !pair.is_empty() {
            return Err(PckFault::Malformed);
        }
        each(identifier.strip_prefix(prefix).unwrap_or_default(), tag, value)?;
    }
    Ok(())
}

/// The contents of a sequence that is the whole input.
fn list(mut value: &[u8]) -> Result<&[u8], PckFault> {
    let (tag, contents) = next(&mut value)?;
    expect(tag, SEQUENCE)?;
    if value.is_empty() { Ok(contents) } else { Err(PckFault::Malformed) }
}

/// One element of DER: its tag and contents. Lengths are definite and in the shortest form.
fn next<'a>(input: &mut &'a [u8]) -> Result<(u8, &'a [u8]), PckFault> {
    let (tag, rest) = input.split_first().ok_or(PckFault::Malformed)?;
    let (first, rest) = rest.split_first().ok_or(PckFault::Malformed)?;
    let (size, rest) = match (first, rest) {
        (0..=0x7F, rest) => (usize::from(*first), rest),
        (0x81, [size, rest @ ..]) if *size >= 0x80 => (usize::from(*size), rest),
        (0x82, [high, low, rest @ ..]) if *high > 0 => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return Err(PckFault::Malformed),
    };
    let (contents, rest) = rest.split_at_checked(size).ok_or(PckFault::Malformed)?;
    *input = rest;
    Ok((*tag, contents))
}

fn once<T>(slot: &mut Option<T>, name: &'static str, value: Result<T, PckFault>) -> Result<(), PckFault> {
    match slot.replace(value?) {
        None => Ok(()),
        Some(_) => Err(PckFault::Twice(name)),
    }
}

fn expect(tag: u8, expected: u8) -> Result<(), PckFault> {
    if tag == expected { Ok(()) } else { Err(PckFault::Malformed) }
}

fn octets<const N: usize>(tag: u8, value: &[u8]) -> Result<[u8; N], PckFault> {
    expect(tag, OCTET_STRING)?;
    value.try_into().map_err(|_| PckFault::Malformed)
}

/// A non-negative number of at most 16 bits, in the shortest form.
fn number(tag: u8, expected: u8, value: &[u8]) -> Result<u16, PckFault> {
    expect(tag, expected)?;
    match value {
        [low @ 0..=0x7F] => Ok(u16::from(*low)),
        [0, low @ 0x80..=0xFF] => Ok(u16::from(*low)),
        [high @ 1..=0x7F, low] => Ok(u16::from_be_bytes([*high, *low])),
        [0, high @ 0x80..=0xFF, low] => Ok(u16::from_be_bytes([*high, *low])),
        _ => Err(PckFault::Malformed),
    }
}

fn narrow(number: u16) -> Result<u8, PckFault> {
    u8::try_from(number).map_err(|_| PckFault::Malformed)
}

fn boolean(tag: u8, value: &[u8]) -> Result<bool, PckFault> {
    expect(tag, BOOLEAN)?;
    match value {
        [0x00] => Ok(false),
        [0xFF] => Ok(true),
        _ => Err(PckFault::Malformed),
    }
}

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const ENUMERATED: u8 = 0x0A;
const SEQUENCE: u8 = 0x30;
/// 1.2.840.113741.1.13.1 and its second and seventh arcs.
const OID_SGX: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF8, 0x4D, 0x01, 0x0D, 0x01];
const OID_SGX_TCB: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF8, 0x4D, 0x01, 0x0D, 0x01, 0x02];
const OID_SGX_CONFIGURATION: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF8, 0x4D, 0x01, 0x0D, 0x01, 0x07];
