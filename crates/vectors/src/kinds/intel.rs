//! What the kinds `sgx` and `tdx` have in common.

use attest::{
    certificate::TrustAnchor,
    intel::{IntelEndorsements, IntelError, Revocation, Rules},
    platform::{Genuine, HardwareIds, PlatformPolicy, Unfit},
    roots::Authority,
};
use jiff::Timestamp;

use crate::{Case, Report};

/// An examination of one of the platforms.
pub(crate) type Examine =
    fn(&[u8], &IntelEndorsements<'_>, &[TrustAnchor], &Rules, Timestamp) -> Result<Genuine, IntelError>;

/// All that a case brings.
#[derive(Debug, Clone)]
pub struct Input {
    /// The quote.
    pub quote: Vec<u8>,
    /// The TCB info in its envelope.
    pub tcb_info: Option<Vec<u8>>,
    /// The identity of the quoting enclave in its envelope.
    pub qe_identity: Option<Vec<u8>>,
    /// The chain of their signer.
    pub tcb_signing_chain: Option<Vec<u8>>,
    /// The revocation list of the PCK authority.
    pub pck_crl: Option<Vec<u8>>,
    /// The revocation list of the root.
    pub root_ca_crl: Option<Vec<u8>>,
    /// The pinned authority.
    pub anchors: Vec<TrustAnchor>,
    /// The time.
    pub now: Timestamp,
}

impl Input {
    /// Reads a case's files.
    ///
    /// # Errors
    /// In words.
    pub fn of(case: &Case) -> Result<Input, String> {
        let anchors = match case.custom_anchor()? {
            Some(anchor) => vec![anchor],
            None => Authority::IntelSgx.anchors(),
        };
        Ok(Input {
            quote: case.need("quote")?,
            tcb_info: case.file("tcb_info")?,
            qe_identity: case.file("qe_identity")?,
            tcb_signing_chain: case.file("tcb_signing_chain")?,
            pck_crl: case.file("pck_crl")?,
            root_ca_crl: case.file("root_ca_crl")?,
            anchors,
            now: case.now(),
        })
    }

    /// The rules of a caller who uses what it has: without the PCK authority's list, the authorities' alone.
    pub const fn rules(&self) -> Rules {
        let revocation = if self.pck_crl.is_some() { Revocation::Complete } else { Revocation::Authorities };
        Rules { evaluation_floor: 0, revocation }
    }

    /// The Endorsements.
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
}

pub(crate) fn run(case: &Case, examine: Examine) -> Result<Report, String> {
    let input = Input::of(case)?;
    let genuine = match examine(&input.quote, &input.endorsements(), &input.anchors, &input.rules(), input.now) {
        Ok(genuine) => genuine,
        Err(refusal) => return Ok(Report::refused(&refusal)),
    };
    let report = Report::genuine(&genuine);
    match appraise(case, genuine)? {
        Some(unfit) => Ok(Report::coded(unfit.code(), unfit.to_string(), false)),
        None => Ok(report),
    }
}

/// Holds the Evidence against what the case asks for beyond it: report data, and a measurement by the name of its register.
fn appraise(case: &Case, genuine: Genuine) -> Result<Option<Unfit>, String> {
    let wanted = case.policy.as_object().into_iter().flatten();
    let wanted: Vec<(&str, &str)> =
        wanted.filter_map(|(name, value)| Some((name.strip_prefix("expected_")?, value.as_str()?))).collect();
    if wanted.is_empty() {
        return Ok(None);
    }
    let mut bound = genuine.bound().to_vec();
    let mut measurements = std::collections::BTreeMap::new();
    for (name, value) in wanted {
        if name == "report_data" {
            bound = hex::decode(value).map_err(|error| format!("expected_report_data: {error}"))?;
        } else {
            measurements.insert(name.to_owned(), [value.to_owned()].into());
        }
    }
    // A policy names at least one measurement: where the case asks for none, the Evidence's own.
    if measurements.is_empty()
        && let Some(first) = genuine.registers().first()
    {
        measurements.insert(first.name.clone(), [hex::encode(&first.value)].into());
    }
    let admits = ["affirmed", "conditional", "out-of-date", "signature-only"].map(str::to_owned).into();
    let policy = PlatformPolicy { tier_floor: genuine.tier(), admits, hardware: HardwareIds::Any, measurements };
    Ok(genuine.appraise(&bound, &policy).err())
}
