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

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]
    use testkit::intel::element;

    use super::*;

    fn pair(arcs: &[u8], value: &[u8]) -> Vec<u8> {
        element(SEQUENCE, &[element(OBJECT_IDENTIFIER, &[OID_SGX, arcs].concat()), value.to_vec()].concat())
    }

    /// The pairs of the second list.
    fn versions() -> Vec<Vec<u8>> {
        let components = (1..=16).map(|at| pair(&[2, at], &element(INTEGER, &[at])));
        let others = [pair(&[2, 17], &element(INTEGER, &[13])), pair(&[2, 18], &element(OCTET_STRING, &[18; 16]))];
        components.chain(others).collect()
    }

    fn flags(values: [u8; 3]) -> Vec<u8> {
        let pairs = (1..).zip(values).map(|(arc, value)| pair(&[7, arc], &element(BOOLEAN, &[value])));
        pair(&[7], &element(SEQUENCE, &pairs.collect::<Vec<_>>().concat()))
    }

    /// All seven values of a platform of several packages.
    fn whole() -> Vec<Vec<u8>> {
        vec![
            pair(&[1], &element(OCTET_STRING, &[1; 16])),
            pair(&[2], &element(SEQUENCE, &versions().concat())),
            pair(&[3], &element(OCTET_STRING, &[3; 2])),
            pair(&[4], &element(OCTET_STRING, &[4; 6])),
            pair(&[5], &element(ENUMERATED, &[1])),
            pair(&[6], &element(OCTET_STRING, &[6; 16])),
            flags([0xFF, 0x00, 0xFF]),
        ]
    }

    fn parsed(pairs: &[Vec<u8>]) -> Result<PckExtension, PckFault> {
        PckExtension::parse(&element(SEQUENCE, &pairs.concat()))
    }

    /// The whole with one of its values, counted from zero, written otherwise.
    fn with(at: usize, value: Vec<u8>) -> Result<PckExtension, PckFault> {
        parsed(
            &whole()
                .into_iter()
                .enumerate()
                .map(|(index, old)| if index == at { value.clone() } else { old })
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn every_value_of_the_extension_is_read_from_its_own_place() {
        let expected = PckExtension {
            ppid: [1; 16],
            components: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
            pce_svn: 13,
            cpu_svn: [18; 16],
            pce_id: [3; 2],
            fmspc: [4; 6],
            sgx_type: 1,
            platform_instance: Some([6; 16]),
            dynamic_platform: Some(true),
            cached_keys: Some(false),
            smt_enabled: Some(true),
        };
        assert_eq!(parsed(&whole()), Ok(expected.clone()));
        let inverse = PckExtension {
            dynamic_platform: Some(false),
            cached_keys: Some(true),
            smt_enabled: Some(false),
            ..expected.clone()
        };
        assert_eq!(with(6, flags([0x00, 0xFF, 0x00])), Ok(inverse));
        // A processor's certificate has the first five; what is not known is passed over.
        let processor = PckExtension {
            platform_instance: None,
            dynamic_platform: None,
            cached_keys: None,
            smt_enabled: None,
            ..expected
        };
        let mut some = whole();
        some.truncate(5);
        assert_eq!(parsed(&some), Ok(processor.clone()));
        some.push(pair(&[8], &element(BOOLEAN, &[0xFF])));
        assert_eq!(parsed(&some), Ok(processor));
    }

    #[test]
    fn a_value_twice_or_missing_is_refused_by_its_name() {
        let names = ["PPID", "component", "PCEID", "FMSPC", "SGX type", "platform instance", "configuration"];
        for (value, name) in whole().into_iter().zip(names) {
            let twice = [whole(), vec![value.clone()]].concat();
            assert_eq!(parsed(&twice), Err(PckFault::Twice(name)));
            let mut missing = whole();
            missing.retain(|other| *other != value);
            let optional = name == "platform instance" || name == "configuration";
            let expected = if optional { None } else { Some(PckFault::Missing(name)) };
            assert_eq!(parsed(&missing).err(), expected);
        }
        let listed = |pairs: &[Vec<u8>]| with(1, pair(&[2], &element(SEQUENCE, &pairs.concat())));
        for (at, name) in (0..18).map(|at| (at, ["component", "PCESVN", "CPUSVN"][(at + 1_usize).saturating_sub(16)])) {
            let mut pairs = versions();
            let one = pairs.remove(at);
            assert_eq!(listed(&pairs), Err(PckFault::Missing(name)));
            assert_eq!(listed(&[versions(), vec![one]].concat()), Err(PckFault::Twice(name)));
        }
    }

    #[test]
    fn values_have_one_type_and_one_form() {
        let version = |value: Vec<u8>| {
            let mut pairs = versions();
            pairs.remove(16);
            pairs.push(pair(&[2, 17], &value));
            with(1, pair(&[2], &element(SEQUENCE, &pairs.concat()))).map(|extension| extension.pce_svn)
        };
        let forms: [(&[u8], u16); 6] = [
            (&[0], 0),
            (&[0x7F], 0x7F),
            (&[0, 0x80], 0x80),
            (&[1, 0], 0x100),
            (&[0x7F, 0xFF], 0x7FFF),
            (&[0, 0x80, 0], 0x8000),
        ];
        for (content, number) in forms {
            assert_eq!(version(element(INTEGER, content)), Ok(number));
            assert_eq!(version(element(ENUMERATED, content)), Err(PckFault::Malformed));
        }
        // Negative, longer than needed, beyond 16 bits, none.
        for content in [&[0x80][..], &[0, 0x7F], &[0x80, 0], &[0, 0x7F, 0], &[1, 0, 0], &[]] {
            assert_eq!(version(element(INTEGER, content)), Err(PckFault::Malformed), "{content:?}");
        }
        assert_eq!(with(4, pair(&[5], &element(ENUMERATED, &[0, 0xFF]))).map(|extension| extension.sgx_type), Ok(0xFF));
        let malformed = Err(PckFault::Malformed);
        assert_eq!(with(4, pair(&[5], &element(ENUMERATED, &[1, 0]))), malformed);
        assert_eq!(with(4, pair(&[5], &element(INTEGER, &[1]))), malformed);
        for flag in [1, 0x7F, 0x80, 0xFE] {
            assert_eq!(with(6, flags([flag, 0, 0])), malformed);
        }
        for (at, size) in [(0, 16), (2, 2), (3, 6), (5, 16)] {
            let arc = at as u8 + 1;
            for other in [size - 1, size + 1] {
                assert_eq!(with(at, pair(&[arc], &element(OCTET_STRING, &vec![0; other]))), malformed);
            }
            assert_eq!(with(at, pair(&[arc], &element(SEQUENCE, &vec![0; size]))), malformed);
        }
        assert_eq!(with(1, pair(&[2], &element(OCTET_STRING, &versions().concat()))), malformed);
        assert_eq!(with(6, pair(&[7], &element(OCTET_STRING, &[]))), malformed);
        // A pair of three, of one, and of another type of identifier; bytes behind the list.
        let value = element(OCTET_STRING, &[1; 16]);
        let identifier = |tag: u8| element(tag, &[OID_SGX, &[1]].concat());
        for parts in
            [vec![identifier(6), value.clone(), vec![5, 0]], vec![identifier(6)], vec![identifier(4), value.clone()]]
        {
            assert_eq!(with(0, element(SEQUENCE, &parts.concat())), malformed);
        }
        assert_eq!(with(0, element(0x31, &[identifier(6), value].concat())), malformed);
        assert_eq!(PckExtension::parse(&[element(SEQUENCE, &whole().concat()), vec![0]].concat()), malformed);
        assert_eq!(PckExtension::parse(&element(0x31, &whole().concat())), malformed);
    }

    #[test]
    fn lengths_are_definite_and_have_their_shortest_form() {
        let read = |bytes: &[u8]| {
            let mut rest = bytes;
            next(&mut rest).map(|(tag, contents)| (tag, contents.len(), rest.len()))
        };
        let of = |head: &[u8], size: usize| read(&[head, &vec![7; size]].concat());
        assert_eq!(of(&[4, 0], 0), Ok((4, 0, 0)));
        assert_eq!(of(&[4, 0x7F], 0x80), Ok((4, 0x7F, 1)));
        assert_eq!(of(&[4, 0x81, 0x80], 0x80), Ok((4, 0x80, 0)));
        assert_eq!(of(&[4, 0x81, 0xFF], 0x100), Ok((4, 0xFF, 1)));
        assert_eq!(of(&[4, 0x82, 1, 0], 0x100), Ok((4, 0x100, 0)));
        for head in [&[4, 0x81, 0x7F][..], &[4, 0x82, 0, 0xFF], &[4, 0x83, 0, 1, 0], &[4, 0x80], &[4]] {
            assert_eq!(of(head, if head.len() > 2 { 0x200 } else { 0 }), Err(PckFault::Malformed), "{head:?}");
        }
        assert_eq!(of(&[4, 0x82, 1], 0), Err(PckFault::Malformed));
        assert_eq!(of(&[4, 3], 2), Err(PckFault::Malformed));
        assert_eq!(read(&[]), Err(PckFault::Malformed));
    }
}
