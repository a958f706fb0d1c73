//! Why Evidence of an Intel platform is refused: one variant per check, in the order of `docs/spec/platforms/intel.md`.

use crate::{
    certificate::{CertificateFault, ChainError},
    platform::{Platform, Refusal},
    reader::FormatError,
};

use super::pck::PckFault;

/// The first check that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntelError {
    /// Step 1: the bytes are not a quote.
    #[error("the quote cannot be read")]
    Malformed(#[from] FormatError),
    /// Step 1: a version that is not known.
    #[error("the quote is of version {0}; versions 3, 4 and 5 are read")]
    Version(u16),
    /// Step 2: a quote of the other platform.
    #[error("the quote is of `{found}`, not of `{expected}`")]
    OtherPlatform {
        /// Whose examination was asked for.
        expected: Platform,
        /// Whose quote it is.
        found: Platform,
    },
    /// Step 2: an attestation key that is not verified.
    #[error("the attestation key is of type {0}; only type 2, ECDSA on P-256, is verified")]
    KeyType(u16),
    /// Step 2: another's quoting enclave.
    #[error("the quoting enclave's vendor is not Intel")]
    QeVendor,
    /// Step 3: the quote names its platform and brings no certificate.
    #[error(
        "the quote carries certification data of type {0}, which hold no certificate chain\nhint: give the platform's PCK certificate chain as an Endorsement"
    )]
    PckChainMissing(u16),
    /// Step 3: the chain of the provisioning certification key.
    #[error("the PCK certificate chain does not hold")]
    PckChain(#[source] ChainError),
    /// Step 3: certificates of other purposes.
    #[error("the chain is not one of a PCK certificate, a PCK authority and the root")]
    PckRoles,
    /// Step 3: what the certificate should say of the platform.
    #[error("the PCK certificate does not describe its platform")]
    PckExtension(#[source] PckFault),
    /// Step 4.
    #[error("the signature on the quoting enclave's report does not verify under the PCK certificate's key")]
    QeReportSignature,
    /// Step 5.
    #[error("the attestation key is not the one that the quoting enclave reported")]
    AttestationKey,
    /// Step 6.
    #[error("the signature on the quote does not verify under the attestation key")]
    QuoteSignature,
    /// Step 7: the enclave or trust domain can be looked into.
    #[error("debugging is enabled: its memory can be read from outside")]
    Debug,
    /// Step 7: the quoting enclave can be looked into.
    #[error("debugging is enabled in the quoting enclave: its keys can be read from outside")]
    QeDebug,
    /// Step 7: attributes without a meaning.
    #[error("the trust domain has attributes whose meaning is not known: {0:#018x}")]
    TdAttributes(u64),
    /// Step 8: a list that must be there.
    #[error(
        "the revocation list of the {0} is missing\nhint: fetch it with the other Endorsements; it can be used offline until its next update"
    )]
    RevocationListMissing(Lister),
    /// Step 8: a list that does not hold.
    #[error("the revocation list of the {0} does not hold")]
    RevocationList(Lister, #[source] CertificateFault),
    /// Step 8: a certificate that its issuer took back.
    #[error("the {0} was revoked")]
    Revoked(Holder),
    /// Step 9: a part of the TCB collateral, where other parts were given.
    #[error("the {0} is missing, though other parts of the TCB collateral are there")]
    EndorsementMissing(Part),
    /// Step 9: the chain of the key that signs TCB collateral.
    #[error("the chain that signs the {0} does not hold")]
    TcbChain(Document, #[source] ChainError),
    /// Step 9: certificates of other purposes.
    #[error("the {0} is not signed by a TCB signing certificate that the root issued")]
    TcbRoles(Document),
    /// Step 9: not a signed document.
    #[error("the {0} is not the JSON document that it should be")]
    DocumentMalformed(Document),
    /// Step 9: the signature over its exact bytes.
    #[error("the signature on the {0} does not verify")]
    DocumentSignature(Document),
    /// Step 10.
    #[error("the {0} is of version {1}, which is not read")]
    DocumentVersion(Document, u32),
    /// Step 10: of another platform, enclave or kind.
    #[error("the {0} is for something else than this quote's platform")]
    DocumentKind(Document),
    /// Step 10.
    #[error("the {0} has expired\nhint: fetch the current one")]
    DocumentExpired(Document),
    /// Step 10.
    #[error("the {0} is not valid yet\nhint: check the clock")]
    DocumentNotYetValid(Document),
    /// Step 10: an older evaluation than one that was seen.
    #[error("the {document} is of TCB evaluation {number}; {floor} was already seen")]
    DocumentOlder {
        /// Which.
        document: Document,
        /// Its number.
        number: u32,
        /// The caller's floor.
        floor: u32,
    },
    /// Step 10: a level with another number of components than 16.
    #[error("a TCB level lists {0} components; there are 16")]
    ComponentCount(usize),
    /// Step 10: a status without a meaning.
    #[error("the {0} uses the status `{1}`, which is not known")]
    UnknownStatus(Document, String),
    /// Step 10.
    #[error("the TCB info is for another processor (FMSPC) than the PCK certificate")]
    Fmspc,
    /// Step 10.
    #[error("the TCB info is for another provisioning certification enclave (PCEID) than the PCK certificate")]
    PceId,
    /// Step 11: another enclave than Intel's.
    #[error("the quoting enclave is not the one that Intel describes: its {0} differs")]
    QeIdentity(QeField),
    /// Step 11: older than any that Intel describes.
    #[error("the quoting enclave's security version {0} is below every one that Intel lists")]
    QeSvn(u16),
    /// Step 12: below every level.
    #[error("the platform's security versions are below every level that Intel lists for it")]
    TcbNotSupported,
    /// Step 12: the module is not one of Intel's.
    #[error("the TDX module is not one that the TCB info describes: its {0} differs")]
    TdxModule(ModuleField),
    /// Step 12: below every level of its module.
    #[error("the TDX module's security version {0} is below every one that Intel lists")]
    TdxModuleSvn(u8),
    /// Step 13.
    #[error("Intel has revoked this security version")]
    TcbRevoked,
}

/// Whose revocation list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lister {
    /// The root's.
    Root,
    /// The PCK authority's.
    PckAuthority,
}

/// Whose certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The platform's.
    Pck,
    /// The authority that issued it.
    PckAuthority,
    /// The signer of TCB collateral.
    TcbSigner,
}

/// A signed document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Document {
    /// Security versions per platform.
    TcbInfo,
    /// What the quoting enclave is.
    QeIdentity,
}

/// A part of the TCB collateral.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The document itself.
    Document(Document),
    /// The chain of its signer.
    Chain(Document),
}

/// A field of the quoting enclave's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QeField {
    /// MISCSELECT, under its mask.
    MiscSelect,
    /// ATTRIBUTES, under their mask.
    Attributes,
    /// MRSIGNER.
    MrSigner,
    /// ISVPRODID.
    IsvProdId,
}

/// A field of the TDX module's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModuleField {
    /// There is no identity of its version.
    Version,
    /// MRSIGNERSEAM.
    MrSigner,
    /// SEAMATTRIBUTES, under their mask.
    Attributes,
}

impl Refusal for IntelError {
    fn step(&self) -> u8 {
        match self {
            IntelError::Malformed(_) | IntelError::Version(_) => 1,
            IntelError::OtherPlatform { .. } | IntelError::KeyType(_) | IntelError::QeVendor => 2,
            IntelError::PckChainMissing(_)
            | IntelError::PckChain(_)
            | IntelError::PckRoles
            | IntelError::PckExtension(_) => 3,
            IntelError::QeReportSignature => 4,
            IntelError::AttestationKey => 5,
            IntelError::QuoteSignature => 6,
            IntelError::Debug | IntelError::QeDebug | IntelError::TdAttributes(_) => 7,
            IntelError::RevocationListMissing(_) | IntelError::RevocationList(..) | IntelError::Revoked(_) => 8,
            IntelError::EndorsementMissing(_)
            | IntelError::TcbChain(..)
            | IntelError::TcbRoles(_)
            | IntelError::DocumentMalformed(_)
            | IntelError::DocumentSignature(_) => 9,
            IntelError::DocumentVersion(..)
            | IntelError::DocumentKind(_)
            | IntelError::DocumentExpired(_)
            | IntelError::DocumentNotYetValid(_)
            | IntelError::DocumentOlder { .. }
            | IntelError::ComponentCount(_)
            | IntelError::UnknownStatus(..)
            | IntelError::Fmspc
            | IntelError::PceId => 10,
            IntelError::QeIdentity(_) | IntelError::QeSvn(_) => 11,
            IntelError::TcbNotSupported | IntelError::TdxModule(_) | IntelError::TdxModuleSvn(_) => 12,
            IntelError::TcbRevoked => 13,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            IntelError::Malformed(FormatError::Truncated { .. }) => "quote-truncated",
            IntelError::Malformed(FormatError::Trailing { .. }) => "quote-trailing-bytes",
            IntelError::Malformed(FormatError::TooLarge { .. }) => "quote-too-large",
            IntelError::Malformed(FormatError::Value { .. }) => "quote-field-invalid",
            IntelError::Version(_) => "quote-version-unknown",
            IntelError::OtherPlatform { .. } => "other-platform",
            IntelError::KeyType(_) => "attestation-key-type",
            IntelError::QeVendor => "qe-vendor",
            IntelError::PckChainMissing(_) => "pck-chain-missing",
            IntelError::PckChain(error) => chain_code(error),
            IntelError::PckRoles => "pck-chain-roles",
            IntelError::PckExtension(_) => "pck-extension",
            IntelError::QeReportSignature => "qe-report-signature",
            IntelError::AttestationKey => "attestation-key-not-bound",
            IntelError::QuoteSignature => "quote-signature",
            IntelError::Debug => "debug-enabled",
            IntelError::QeDebug => "qe-debug-enabled",
            IntelError::TdAttributes(_) => "td-attributes-unknown",
            IntelError::RevocationListMissing(_) => "revocation-list-missing",
            IntelError::RevocationList(_, CertificateFault::Expired) => "revocation-list-expired",
            IntelError::RevocationList(_, CertificateFault::NotYetValid) => "revocation-list-not-yet-valid",
            IntelError::RevocationList(_, CertificateFault::Signature) => "revocation-list-signature",
            IntelError::RevocationList(..) => "revocation-list-invalid",
            IntelError::Revoked(Holder::Pck) => "pck-revoked",
            IntelError::Revoked(Holder::PckAuthority) => "pck-authority-revoked",
            IntelError::Revoked(Holder::TcbSigner) => "tcb-signer-revoked",
            IntelError::EndorsementMissing(_) => "endorsement-missing",
            IntelError::TcbChain(_, ChainError { fault: CertificateFault::Expired, .. }) => "tcb-signing-chain-expired",
            IntelError::TcbChain(_, ChainError { fault: CertificateFault::Untrusted, .. }) => {
                "tcb-signing-chain-untrusted"
            }
            IntelError::TcbChain(..) => "tcb-signing-chain",
            IntelError::TcbRoles(_) => "tcb-signing-chain-roles",
            IntelError::DocumentMalformed(Document::TcbInfo) => "tcb-info-malformed",
            IntelError::DocumentMalformed(Document::QeIdentity) => "qe-identity-malformed",
            IntelError::DocumentSignature(Document::TcbInfo) => "tcb-info-signature",
            IntelError::DocumentSignature(Document::QeIdentity) => "qe-identity-signature",
            IntelError::DocumentVersion(Document::TcbInfo, _) => "tcb-info-version",
            IntelError::DocumentVersion(Document::QeIdentity, _) => "qe-identity-version",
            IntelError::DocumentKind(Document::TcbInfo) => "tcb-info-other-platform",
            IntelError::DocumentKind(Document::QeIdentity) => "qe-identity-other-enclave",
            IntelError::DocumentExpired(Document::TcbInfo) => "tcb-info-expired",
            IntelError::DocumentExpired(Document::QeIdentity) => "qe-identity-expired",
            IntelError::DocumentNotYetValid(Document::TcbInfo) => "tcb-info-not-yet-valid",
            IntelError::DocumentNotYetValid(Document::QeIdentity) => "qe-identity-not-yet-valid",
            IntelError::DocumentOlder { .. } => "tcb-evaluation-older",
            IntelError::ComponentCount(_) => "tcb-component-count",
            IntelError::UnknownStatus(..) => "tcb-status-unknown",
            IntelError::Fmspc => "fmspc-mismatch",
            IntelError::PceId => "pceid-mismatch",
            IntelError::QeIdentity(QeField::MiscSelect) => "qe-miscselect",
            IntelError::QeIdentity(QeField::Attributes) => "qe-attributes",
            IntelError::QeIdentity(QeField::MrSigner) => "qe-mrsigner",
            IntelError::QeIdentity(QeField::IsvProdId) => "qe-isvprodid",
            IntelError::QeSvn(_) => "qe-isvsvn",
            IntelError::TcbNotSupported => "tcb-not-supported",
            IntelError::TdxModule(_) => "tdx-module-mismatch",
            IntelError::TdxModuleSvn(_) => "tdx-module-not-supported",
            IntelError::TcbRevoked => "tcb-revoked",
        }
    }

    fn is_malformed(&self) -> bool {
        let unreadable = |error: &ChainError| error.fault == CertificateFault::Malformed;
        match self {
            IntelError::Malformed(_) | IntelError::Version(_) | IntelError::DocumentMalformed(_) => true,
            IntelError::PckChain(error) | IntelError::TcbChain(_, error) => unreadable(error),
            IntelError::RevocationList(_, fault) => *fault == CertificateFault::Malformed,
            _ => false,
        }
    }
}

/// The word for what is wrong with the PCK chain.
fn chain_code(error: &ChainError) -> &'static str {
    match (error.fault, error.at) {
        (CertificateFault::Malformed, _) => "pck-chain-malformed",
        (CertificateFault::Expired, 0) => "pck-expired",
        (CertificateFault::Expired, _) => "pck-chain-expired",
        (CertificateFault::NotYetValid, _) => "pck-chain-not-yet-valid",
        (CertificateFault::Signature, _) => "pck-chain-signature",
        (CertificateFault::Untrusted, _) => "root-not-trusted",
        (
            CertificateFault::CriticalExtension
            | CertificateFault::NotAuthority
            | CertificateFault::Issuer
            | CertificateFault::Algorithm
            | CertificateFault::Revoked,
            _,
        ) => "pck-chain-invalid",
    }
}

impl std::fmt::Display for Lister {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Lister::Root => "root authority",
            Lister::PckAuthority => "PCK authority",
        })
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Holder::Pck => "platform's PCK certificate",
            Holder::PckAuthority => "PCK authority's certificate",
            Holder::TcbSigner => "TCB signing certificate",
        })
    }
}

impl std::fmt::Display for Document {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Document::TcbInfo => "TCB info",
            Document::QeIdentity => "quoting enclave's identity",
        })
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Part::Document(document) => document.fmt(f),
            Part::Chain(document) => write!(f, "chain of the {document}'s signer"),
        }
    }
}

impl std::fmt::Display for QeField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            QeField::MiscSelect => "MISCSELECT",
            QeField::Attributes => "ATTRIBUTES",
            QeField::MrSigner => "MRSIGNER",
            QeField::IsvProdId => "ISVPRODID",
        })
    }
}

impl std::fmt::Display for ModuleField {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ModuleField::Version => "version",
            ModuleField::MrSigner => "MRSIGNERSEAM",
            ModuleField::Attributes => "SEAMATTRIBUTES",
        })
    }
}
