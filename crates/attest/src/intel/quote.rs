//! The bytes of a quote, taken apart and not yet believed.
//!
//! A quote is a header, a report of the enclave or trust domain, and signature data, all little-endian. What the attestation key signs is
//! header and report; the signature data carry that key and how it is certified. In version 3 the certification stands in the signature
//! data; from version 4 on it is wrapped once, as certification data of type 6. Version 5 says the type and size of its report, and these
//! six bytes are signed with it.
//!
//! Stores pad quotes with zeros, so zeros may follow and nothing else. Every length must use up exactly the bytes it speaks of.
//! Source: Intel, "SGX ECDSA Quote Library Reference", appendix A; "TDX DCAP Quoting Library API", appendix A.

use crate::reader::{FormatError, Reader};

use super::IntelError;

/// Which kind of isolation a report is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tee {
    /// An SGX enclave.
    Sgx,
    /// A TDX trust domain.
    Tdx,
}

/// A quote whose form is right. It says nothing about who made it.
#[derive(Debug, Clone)]
pub struct Quote<'a> {
    /// 3, 4 or 5.
    pub version: u16,
    /// The type of the attestation key; 2 is ECDSA P-256, the only one that is verified.
    pub key_type: u16,
    /// Who made the quoting enclave.
    pub qe_vendor: &'a [u8; 16],
    /// The report.
    pub body: Body<'a>,
    /// Header and report (with its type and size in version 5), which the attestation key signs.
    pub(crate) signed: &'a [u8],
    /// r and s.
    pub(crate) signature: &'a [u8; 64],
    /// The point's two coordinates.
    pub(crate) attestation_key: &'a [u8; 64],
    /// The quoting enclave's report of itself.
    pub qe_report: EnclaveReport<'a>,
    /// r and s, by the provisioning certification key.
    pub(crate) qe_report_signature: &'a [u8; 64],
    /// What the quoting enclave hashes after the attestation key.
    pub(crate) authentication_data: &'a [u8],
    /// How the provisioning certification key is named or certified.
    pub certification: Certification<'a>,
    /// The count of zeros after the quote.
    pub padding: usize,
}

/// The report inside a quote.
#[derive(Debug, Clone)]
pub enum Body<'a> {
    /// Of an enclave.
    Enclave(EnclaveReport<'a>),
    /// Of a trust domain.
    TrustDomain(TdReport<'a>),
}

/// A report of an SGX enclave (384 bytes).
#[derive(Debug, Clone)]
pub struct EnclaveReport<'a> {
    pub(crate) bytes: &'a [u8],
    /// The processor's security version.
    pub cpu_svn: &'a [u8; 16],
    /// Extended features.
    pub misc_select: &'a [u8; 4],
    /// Extended product identity.
    pub isv_ext_prod_id: &'a [u8; 16],
    /// Flags and XFRM.
    pub attributes: &'a [u8; 16],
    /// Measurement of the code.
    pub mr_enclave: &'a [u8; 32],
    /// Measurement of the signer's key.
    pub mr_signer: &'a [u8; 32],
    /// Identity of the configuration.
    pub config_id: &'a [u8; 64],
    /// Product, as its signer numbers it.
    pub isv_prod_id: u16,
    /// Security version, as its signer numbers it.
    pub isv_svn: u16,
    /// Security version of the configuration.
    pub config_svn: u16,
    /// Family of products.
    pub isv_family_id: &'a [u8; 16],
    /// What the enclave put in.
    pub report_data: &'a [u8; 64],
}

/// A report of a TDX trust domain (584 bytes for TDX 1.0, 648 for 1.5).
#[derive(Debug, Clone)]
pub struct TdReport<'a> {
    /// Security versions of the TDX module (bytes 0 and 1) and of what it stands on.
    pub tee_tcb_svn: &'a [u8; 16],
    /// Measurement of the TDX module.
    pub mr_seam: &'a [u8; 48],
    /// Measurement of the TDX module's signer; zero for Intel.
    pub mr_signer_seam: &'a [u8; 48],
    /// The TDX module's attributes.
    pub seam_attributes: &'a [u8; 8],
    /// The trust domain's attributes.
    pub td_attributes: &'a [u8; 8],
    /// Extended features that are enabled.
    pub xfam: &'a [u8; 8],
    /// Measurement of the initial contents.
    pub mr_td: &'a [u8; 48],
    /// Identity of the configuration.
    pub mr_config_id: &'a [u8; 48],
    /// Identity of the owner.
    pub mr_owner: &'a [u8; 48],
    /// Identity of the owner's configuration.
    pub mr_owner_config: &'a [u8; 48],
    /// The registers that grow while it runs.
    pub rtmr: [&'a [u8; 48]; 4],
    /// What the trust domain put in.
    pub report_data: &'a [u8; 64],
    /// What TDX 1.5 adds.
    pub extension: Option<TdReportExtension<'a>>,
    /// What its longest form adds to that.
    pub instance: Option<TdInstance<'a>>,
}

/// What a report of TDX 1.5 has beyond one of 1.0.
#[derive(Debug, Clone)]
pub struct TdReportExtension<'a> {
    /// The security versions now; `tee_tcb_svn` are those at the trust domain's launch.
    pub tee_tcb_svn2: &'a [u8; 16],
    /// The service trust domains bound to it (which can migrate it), or zero.
    pub mr_service_td: &'a [u8; 48],
}

/// What the longest report of TDX 1.5 has beyond the others: which instance of a trust domain it is, and what it was launched on.
#[derive(Debug, Clone)]
pub struct TdInstance<'a> {
    /// 0 for a trust domain that is not partitioned or for its first level, 1 to 3 for a virtual machine in it.
    pub vm_index: u8,
    /// Another at each launch.
    pub td_id: &'a [u8; 32],
    /// The hash of what is said of its devices.
    pub device_info: &'a [u8; 48],
    /// The service trust domains bound at its launch: their hash and attributes.
    pub initial_service_td: (&'a [u8; 48], &'a [u8; 8]),
    /// The processor's security version at its launch.
    pub initial_cpu_svn: &'a [u8; 16],
    /// The security versions of the TDX module at its launch.
    pub initial_tee_tcb_svn: &'a [u8; 16],
    /// The kind of platform of that launch.
    pub initial_fmspc: &'a [u8; 12],
    /// The service trust domains bound now: their hash and attributes.
    pub service_td: (&'a [u8; 48], &'a [u8; 8]),
}

/// Certification data: the innermost.
#[derive(Debug, Clone, Copy)]
pub struct Certification<'a> {
    /// 1 to 3 name the platform by its PPID; 4 is one certificate; 5 is a chain, PEM; 7 is a platform manifest.
    pub kind: u16,
    /// The data.
    pub data: &'a [u8],
}

impl<'a> Quote<'a> {
    /// Takes a quote apart.
    ///
    /// # Errors
    /// [`IntelError::Malformed`], [`IntelError::Version`].
    pub fn parse(bytes: &'a [u8]) -> Result<Quote<'a>, IntelError> {
        if bytes.len() > MAX_QUOTE {
            let too_large = FormatError::TooLarge { structure: QUOTE, size: bytes.len(), limit: MAX_QUOTE };
            return Err(IntelError::Malformed(too_large));
        }
        let mut reader = Reader::new(QUOTE, bytes);
        let version = reader.u16_le()?;
        if !matches!(version, 3..=5) {
            return Err(IntelError::Version(version));
        }
        let key_type = reader.u16_le()?;
        let tee = reader.u32_le()?;
        // Version 3 has the security versions of two enclaves here; they are repeated where they count.
        let reserved = reader.u32_le()?;
        if version > 3 && reserved != 0 {
            return Err(reader.refuse("reserved", reserved).into());
        }
        let qe_vendor = reader.array_ref()?;
        reader.take(20)?;
        let body = Body::read(version, tee, &mut reader)?;
        let signed = reader.behind();
        let size = reader.u32_le()?;
        let data = reader.take(usize::try_from(size).unwrap_or(usize::MAX))?;
        let padding = reader.rest();
        if padding.iter().any(|byte| *byte != 0) {
            return Err(FormatError::Trailing { structure: QUOTE, count: padding.len() }.into());
        }
        let mut data = Reader::new("signature data", data);
        let (signature, attestation_key) = (data.array_ref()?, data.array_ref()?);
        let mut inner = if version == 3 { data } else { unwrap_once(data)? };
        let qe_report = EnclaveReport::read(inner.take(ENCLAVE_REPORT)?)?;
        let qe_report_signature = inner.array_ref()?;
        let authentication = inner.u16_le()?;
        let authentication_data = inner.take(usize::from(authentication))?;
        let certification = Certification::read(&mut inner)?;
        inner.finish()?;
        if !matches!(certification.kind, 1..=5 | 7) {
            let (structure, value) = ("certification data", u64::from(certification.kind));
            return Err(FormatError::Value { structure, field: "type", value }.into());
        }
        Ok(Quote {
            version,
            key_type,
            qe_vendor,
            body,
            signed,
            signature,
            attestation_key,
            qe_report,
            qe_report_signature,
            authentication_data,
            certification,
            padding: padding.len(),
        })
    }

    /// Whose report it carries.
    pub const fn tee(&self) -> Tee {
        match self.body {
            Body::Enclave(_) => Tee::Sgx,
            Body::TrustDomain(_) => Tee::Tdx,
        }
    }
}

impl<'a> Body<'a> {
    fn read(version: u16, tee: u32, reader: &mut Reader<'a>) -> Result<Body<'a>, FormatError> {
        let (kind, size) = match (version, tee) {
            (3 | 4, TEE_SGX) => (BODY_ENCLAVE, ENCLAVE_REPORT),
            (4, TEE_TDX) => (BODY_TD_1_0, TD_REPORT_1_0),
            (5, TEE_SGX | TEE_TDX) => {
                let kind = reader.u16_le()?;
                let size = reader.u32_le()?;
                let expected = match (tee, kind) {
                    (TEE_SGX, BODY_ENCLAVE) => ENCLAVE_REPORT,
                    (TEE_TDX, BODY_TD_1_0) => TD_REPORT_1_0,
                    (TEE_TDX, BODY_TD_1_5) => TD_REPORT_1_5,
                    (TEE_TDX, BODY_TD_1_5_LONG) => TD_REPORT_1_5_LONG,
                    _ => return Err(reader.refuse("body type", kind)),
                };
                if usize::try_from(size) != Ok(expected) {
                    return Err(reader.refuse("body size", size));
                }
                (kind, expected)
            }
            _ => return Err(reader.refuse("tee type", tee)),
        };
        let bytes = reader.take(size)?;
        if kind == BODY_ENCLAVE {
            EnclaveReport::read(bytes).map(Body::Enclave)
        } else {
            TdReport::read(bytes, kind).map(Body::TrustDomain)
        }
    }
}

impl<'a> EnclaveReport<'a> {
    fn read(bytes: &'a [u8]) -> Result<EnclaveReport<'a>, FormatError> {
        let mut reader = Reader::new("enclave report", bytes);
        let (cpu_svn, misc_select) = (reader.array_ref()?, reader.array_ref()?);
        reader.take(12)?;
        let (isv_ext_prod_id, attributes, mr_enclave) = (reader.array_ref()?, reader.array_ref()?, reader.array_ref()?);
        reader.take(32)?;
        let mr_signer = reader.array_ref()?;
        reader.take(32)?;
        let config_id = reader.array_ref()?;
        let (isv_prod_id, isv_svn, config_svn) = (reader.u16_le()?, reader.u16_le()?, reader.u16_le()?);
        reader.take(42)?;
        let (isv_family_id, report_data) = (reader.array_ref()?, reader.array_ref()?);
        reader.finish()?;
        Ok(EnclaveReport {
            bytes,
            cpu_svn,
            misc_select,
            isv_ext_prod_id,
            attributes,
            mr_enclave,
            mr_signer,
            config_id,
            isv_prod_id,
            isv_svn,
            config_svn,
            isv_family_id,
            report_data,
        })
    }

    /// Whether its memory can be read with a debugger.
    pub const fn is_debug(&self) -> bool {
        let [flags, ..] = self.attributes;
        *flags & 0x02 != 0
    }
}

impl<'a> TdReport<'a> {
    fn read(bytes: &'a [u8], kind: u16) -> Result<TdReport<'a>, FormatError> {
        let mut reader = Reader::new("trust domain report", bytes);
        let mut report = TdReport {
            tee_tcb_svn: reader.array_ref()?,
            mr_seam: reader.array_ref()?,
            mr_signer_seam: reader.array_ref()?,
            seam_attributes: reader.array_ref()?,
            td_attributes: reader.array_ref()?,
            xfam: reader.array_ref()?,
            mr_td: reader.array_ref()?,
            mr_config_id: reader.array_ref()?,
            mr_owner: reader.array_ref()?,
            mr_owner_config: reader.array_ref()?,
            rtmr: [reader.array_ref()?, reader.array_ref()?, reader.array_ref()?, reader.array_ref()?],
            report_data: reader.array_ref()?,
            extension: None,
            instance: None,
        };
        if matches!(kind, BODY_TD_1_5 | BODY_TD_1_5_LONG) {
            report.extension =
                Some(TdReportExtension { tee_tcb_svn2: reader.array_ref()?, mr_service_td: reader.array_ref()? });
        }
        if kind == BODY_TD_1_5_LONG {
            report.instance = Some(TdInstance {
                vm_index: reader.u8()?,
                td_id: reader.array_ref()?,
                device_info: reader.array_ref()?,
                initial_service_td: (reader.array_ref()?, reader.array_ref()?),
                initial_cpu_svn: reader.array_ref()?,
                initial_tee_tcb_svn: reader.array_ref()?,
                initial_fmspc: reader.array_ref()?,
                service_td: (reader.array_ref()?, reader.array_ref()?),
            });
        }
        reader.finish()?;
        Ok(report)
    }
}

impl<'a> Certification<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Certification<'a>, FormatError> {
        let kind = reader.u16_le()?;
        let size = reader.u32_le()?;
        Ok(Certification { kind, data: reader.take(usize::try_from(size).unwrap_or(usize::MAX))? })
    }
}

/// Opens the wrapping of version 4 and later, which is there exactly once.
fn unwrap_once(mut data: Reader<'_>) -> Result<Reader<'_>, FormatError> {
    let outer = Certification::read(&mut data)?;
    if outer.kind != QE_REPORT_CERTIFICATION {
        return Err(data.refuse("certification data type", outer.kind));
    }
    data.finish()?;
    Ok(Reader::new("quoting enclave's certification", outer.data))
}

const QUOTE: &str = "quote";
const MAX_QUOTE: usize = 64 * 1024;
const TEE_SGX: u32 = 0;
const TEE_TDX: u32 = 0x81;
const BODY_ENCLAVE: u16 = 1;
const BODY_TD_1_0: u16 = 2;
const BODY_TD_1_5: u16 = 3;
const BODY_TD_1_5_LONG: u16 = 4;
const ENCLAVE_REPORT: usize = 384;
const TD_REPORT_1_0: usize = 584;
const TD_REPORT_1_5: usize = 648;
const TD_REPORT_1_5_LONG: usize = 885;
const QE_REPORT_CERTIFICATION: u16 = 6;
