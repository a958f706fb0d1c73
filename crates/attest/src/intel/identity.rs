//! The quoting enclave: whether the one that vouches for the attestation key is Intel's, and how old it is.
//!
//! What it must be is read from a document whose signature was checked. Its signer and product are compared whole, MISCSELECT and
//! ATTRIBUTES under the document's masks.
//! Source: Intel, "Get Quoting Enclave Identity" of the Provisioning Certification Service.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    Document, IntelError, QeField, Rules,
    collateral::{Head, bytes, masked},
    quote::{EnclaveReport, Tee},
    tcb::{SvnLevel, Verdict},
};

/// A signature-checked identity, current.
pub(super) struct QeIdentity<'a> {
    document: QeIdentityDocument<'a>,
}

impl<'a> QeIdentity<'a> {
    /// Reads a document whose signature was checked, and holds it against the time and the kind of quote.
    pub(super) fn read(text: &'a str, tee: Tee, rules: &Rules, now: Timestamp) -> Result<QeIdentity<'a>, IntelError> {
        let malformed = IntelError::DocumentMalformed(Document::QeIdentity);
        let document: QeIdentityDocument<'a> = serde_json::from_str(text).map_err(|_| malformed)?;
        if document.version != 2 {
            return Err(IntelError::DocumentVersion(Document::QeIdentity, document.version));
        }
        match (document.id, tee) {
            ("QE", Tee::Sgx) | ("TD_QE", Tee::Tdx) => {}
            _ => return Err(IntelError::DocumentKind(Document::QeIdentity)),
        }
        let head = Head {
            issue_date: document.issue_date,
            next_update: document.next_update,
            evaluation: document.tcb_evaluation_data_number,
        };
        head.check(Document::QeIdentity, rules, now)?;
        Ok(QeIdentity { document })
    }

    /// Step 11: what Intel says of this quoting enclave.
    pub(super) fn judge(&self, report: &EnclaveReport<'_>) -> Result<Verdict<'a>, IntelError> {
        let QeIdentityDocument { miscselect, miscselect_mask, attributes, attributes_mask, mrsigner, .. } =
            self.document;
        let (expected, mask): ([u8; 4], [u8; 4]) = (read(miscselect)?, read(miscselect_mask)?);
        if !masked(report.misc_select, &mask, &expected) {
            return Err(IntelError::QeIdentity(QeField::MiscSelect));
        }
        let (expected, mask): ([u8; 16], [u8; 16]) = (read(attributes)?, read(attributes_mask)?);
        if !masked(report.attributes, &mask, &expected) {
            return Err(IntelError::QeIdentity(QeField::Attributes));
        }
        if read(mrsigner)? != *report.mr_signer {
            return Err(IntelError::QeIdentity(QeField::MrSigner));
        }
        if self.document.isvprodid != report.isv_prod_id {
            return Err(IntelError::QeIdentity(QeField::IsvProdId));
        }
        let level = self.document.tcb_levels.iter().find(|level| report.isv_svn >= level.tcb.isvsvn);
        level.ok_or(IntelError::QeSvn(report.isv_svn))?.verdict(Document::QeIdentity)
    }
}

fn read<const N: usize>(text: &str) -> Result<[u8; N], IntelError> {
    bytes(Document::QeIdentity, text)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct QeIdentityDocument<'a> {
    id: &'a str,
    version: u32,
    issue_date: &'a str,
    next_update: &'a str,
    tcb_evaluation_data_number: u32,
    miscselect: &'a str,
    miscselect_mask: &'a str,
    attributes: &'a str,
    attributes_mask: &'a str,
    mrsigner: &'a str,
    isvprodid: u16,
    #[serde(borrow)]
    tcb_levels: Vec<SvnLevel<'a>>,
}
