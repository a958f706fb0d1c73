//! Security versions: which level of Intel's list a platform reaches, and what Intel says of it.
//!
//! Levels stand from the newest down, and the first that the platform reaches in *every* part is its own; comparing is per component, never as
//! one number. For a TDX module of version 1.5 and later (`tee_tcb_svn[1] > 0`) the components 0 and 1 are the module's own, which
//! its identity `TDX_xx` judges instead. The words on platform, module and quoting enclave converge to the worst of them.
//! Source: Intel, "Get TCB Info" of the Provisioning Certification Service, appendix on comparing; Intel's quote verification
//! library (`TcbLevelCheck`, `QuoteVerifier`), for the order and for how statuses converge.

use std::fmt;

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use super::{
    Document, IntelError, ModuleField, Rules,
    collateral::{Head, bytes, masked},
    pck::PckExtension,
    quote::{TdReport, Tee},
};
use crate::platform::TcbStatus;

/// A signature-checked TCB info of this platform, current.
pub(super) struct TcbInfo<'a> {
    pub(super) version: u32,
    pub(super) evaluation: u32,
    pub(super) next_update: &'a str,
    levels: Vec<Level<'a>>,
    module: Option<ModuleDocument<'a>>,
    modules: Vec<ModuleDocument<'a>>,
}

struct Level<'a> {
    components: [u8; 16],
    tdx_components: Option<[u8; 16]>,
    pce_svn: u16,
    verdict: Verdict<'a>,
}

/// What Intel says of one level.
#[derive(Debug, Clone)]
pub(super) struct Verdict<'a> {
    pub(super) status: TcbStatus,
    pub(super) date: &'a str,
    pub(super) advisories: Vec<&'a str>,
}

impl<'a> TcbInfo<'a> {
    /// Reads a document whose signature was checked, and holds it against the platform and the time.
    pub(super) fn read(
        text: &'a str,
        tee: Tee,
        pck: &PckExtension,
        rules: &Rules,
        now: Timestamp,
    ) -> Result<TcbInfo<'a>, IntelError> {
        let document: TcbInfoDocument<'a> = serde_json::from_str(text).map_err(|_| MALFORMED)?;
        match (document.version, document.id, tee) {
            (2, None, Tee::Sgx) | (3, Some("SGX"), Tee::Sgx) | (3, Some("TDX"), Tee::Tdx) => {}
            (2 | 3, ..) => return Err(IntelError::DocumentKind(Document::TcbInfo)),
            (version, ..) => return Err(IntelError::DocumentVersion(Document::TcbInfo, version)),
        }
        if document.tcb_type != 0 {
            return Err(IntelError::DocumentKind(Document::TcbInfo));
        }
        let head = Head {
            issue_date: document.issue_date,
            next_update: document.next_update,
            evaluation: document.tcb_evaluation_data_number,
        };
        head.check(Document::TcbInfo, rules, now)?;
        if bytes(Document::TcbInfo, document.fmspc)? != pck.fmspc {
            return Err(IntelError::Fmspc);
        }
        if bytes(Document::TcbInfo, document.pce_id)? != pck.pce_id {
            return Err(IntelError::PceId);
        }
        let levels: Result<Vec<_>, _> =
            document.tcb_levels.into_iter().map(|level| level.checked(document.version, tee)).collect();
        Ok(TcbInfo {
            version: document.version,
            evaluation: head.evaluation,
            next_update: document.next_update,
            levels: levels?,
            module: document.tdx_module,
            modules: document.tdx_module_identities,
        })
    }

    /// The first level that the platform reaches.
    pub(super) fn platform(&self, pck: &PckExtension, td: Option<&TdReport<'_>>) -> Result<&Verdict<'a>, IntelError> {
        let reached = |level: &&Level<'_>| {
            let processor = reaches(&pck.components, &level.components) && pck.pce_svn >= level.pce_svn;
            let module = match (td, &level.tdx_components) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(td), Some(needed)) => {
                    let own = if module_version(td) > 0 { 2 } else { 0 };
                    let pairs = td.tee_tcb_svn.iter().zip(needed);
                    pairs.skip(own).all(|(has, needs)| has >= needs)
                }
            };
            processor && module
        };
        self.levels.iter().find(reached).map(|level| &level.verdict).ok_or(IntelError::TcbNotSupported)
    }

    /// What Intel says of the TDX module, which must be one that it describes; `None` where the platform's level says it all.
    pub(super) fn module(&self, td: &TdReport<'_>) -> Result<Option<(String, Verdict<'a>)>, IntelError> {
        let version = module_version(td);
        let unknown = IntelError::TdxModule(ModuleField::Version);
        if version == 0 {
            self.module.as_ref().ok_or(unknown)?.describes(td)?;
            return Ok(None);
        }
        let name = format!("TDX_{version:02X}");
        let named = |module: &&ModuleDocument<'_>| module.id.is_some_and(|id| id.eq_ignore_ascii_case(&name));
        let mut found = self.modules.iter().filter(named);
        let (Some(module), None) = (found.next(), found.next()) else { return Err(unknown) };
        module.describes(td)?;
        let [svn, ..] = td.tee_tcb_svn;
        let level = module.tcb_levels.iter().find(|level| u16::from(*svn) >= level.tcb.isvsvn);
        let level = level.ok_or(IntelError::TdxModuleSvn(*svn))?;
        Ok(Some((name, level.verdict(Document::TcbInfo)?)))
    }
}

/// The worst of two words. What is old and also needs to be configured is both.
pub(super) fn converge(one: TcbStatus, other: TcbStatus) -> TcbStatus {
    let any = |test: fn(TcbStatus) -> bool| test(one) || test(other);
    let revoked = any(|status| status == TcbStatus::Revoked);
    let old = any(|status| matches!(status, TcbStatus::OutOfDate | TcbStatus::OutOfDateConfigurationNeeded));
    let configure = any(|status| {
        matches!(
            status,
            TcbStatus::ConfigurationNeeded
                | TcbStatus::ConfigurationAndSWHardeningNeeded
                | TcbStatus::OutOfDateConfigurationNeeded
        )
    });
    let harden =
        any(|status| matches!(status, TcbStatus::SWHardeningNeeded | TcbStatus::ConfigurationAndSWHardeningNeeded));
    match (revoked, old, configure, harden) {
        (true, ..) => TcbStatus::Revoked,
        (false, true, true, _) => TcbStatus::OutOfDateConfigurationNeeded,
        (false, true, false, _) => TcbStatus::OutOfDate,
        (false, false, true, true) => TcbStatus::ConfigurationAndSWHardeningNeeded,
        (false, false, true, false) => TcbStatus::ConfigurationNeeded,
        (false, false, false, true) => TcbStatus::SWHardeningNeeded,
        (false, false, false, false) => TcbStatus::UpToDate,
    }
}

fn reaches(has: &[u8; 16], needs: &[u8; 16]) -> bool {
    has.iter().zip(needs).all(|(has, needs)| has >= needs)
}

fn module_version(td: &TdReport<'_>) -> u8 {
    let [_, version, ..] = td.tee_tcb_svn;
    *version
}

fn status(document: Document, text: &str) -> Result<TcbStatus, IntelError> {
    match text {
        "UpToDate" => Ok(TcbStatus::UpToDate),
        "SWHardeningNeeded" => Ok(TcbStatus::SWHardeningNeeded),
        "ConfigurationNeeded" => Ok(TcbStatus::ConfigurationNeeded),
        "ConfigurationAndSWHardeningNeeded" => Ok(TcbStatus::ConfigurationAndSWHardeningNeeded),
        "OutOfDate" => Ok(TcbStatus::OutOfDate),
        "OutOfDateConfigurationNeeded" => Ok(TcbStatus::OutOfDateConfigurationNeeded),
        "Revoked" => Ok(TcbStatus::Revoked),
        other => {
            let told = other.chars().filter(|character| !character.is_control()).take(40).collect();
            Err(IntelError::UnknownStatus(document, told))
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TcbInfoDocument<'a> {
    #[serde(borrow, default)]
    id: Option<&'a str>,
    version: u32,
    issue_date: &'a str,
    next_update: &'a str,
    fmspc: &'a str,
    pce_id: &'a str,
    tcb_type: u32,
    tcb_evaluation_data_number: u32,
    #[serde(borrow, default)]
    tdx_module: Option<ModuleDocument<'a>>,
    #[serde(borrow, default)]
    tdx_module_identities: Vec<ModuleDocument<'a>>,
    #[serde(borrow)]
    tcb_levels: Vec<LevelDocument<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ModuleDocument<'a> {
    #[serde(borrow, default)]
    id: Option<&'a str>,
    mrsigner: &'a str,
    attributes: &'a str,
    attributes_mask: &'a str,
    #[serde(borrow, default)]
    tcb_levels: Vec<SvnLevel<'a>>,
}

/// A level that is one security version: of a TDX module, of a quoting enclave.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SvnLevel<'a> {
    pub(super) tcb: Svn,
    #[serde(borrow)]
    tcb_date: &'a str,
    #[serde(borrow)]
    tcb_status: &'a str,
    #[serde(borrow, default, rename = "advisoryIDs")]
    advisories: Vec<&'a str>,
}

#[derive(Deserialize)]
pub(super) struct Svn {
    pub(super) isvsvn: u16,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LevelDocument<'a> {
    tcb: Versions,
    #[serde(borrow)]
    tcb_date: &'a str,
    #[serde(borrow)]
    tcb_status: &'a str,
    #[serde(borrow, default, rename = "advisoryIDs")]
    advisories: Vec<&'a str>,
}

/// The security versions of a level: sixteen members in version 2, lists in version 3.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Versions {
    pcesvn: Option<u16>,
    sgxtcbcomponents: Option<Components>,
    tdxtcbcomponents: Option<Components>,
    sgxtcbcomp01svn: Option<u8>,
    sgxtcbcomp02svn: Option<u8>,
    sgxtcbcomp03svn: Option<u8>,
    sgxtcbcomp04svn: Option<u8>,
    sgxtcbcomp05svn: Option<u8>,
    sgxtcbcomp06svn: Option<u8>,
    sgxtcbcomp07svn: Option<u8>,
    sgxtcbcomp08svn: Option<u8>,
    sgxtcbcomp09svn: Option<u8>,
    sgxtcbcomp10svn: Option<u8>,
    sgxtcbcomp11svn: Option<u8>,
    sgxtcbcomp12svn: Option<u8>,
    sgxtcbcomp13svn: Option<u8>,
    sgxtcbcomp14svn: Option<u8>,
    sgxtcbcomp15svn: Option<u8>,
    sgxtcbcomp16svn: Option<u8>,
}

/// A list of components; how many there were is kept, so that another number than 16 is refused by its name.
struct Components {
    svns: [u8; 16],
    count: usize,
}

#[derive(Deserialize)]
struct Component {
    svn: u8,
}

impl<'a> LevelDocument<'a> {
    fn checked(self, version: u32, tee: Tee) -> Result<Level<'a>, IntelError> {
        let components = if version == 2 { self.tcb.members()? } else { listed(self.tcb.sgxtcbcomponents.as_ref())? };
        let tdx_components = match tee {
            Tee::Sgx => None,
            Tee::Tdx => Some(listed(self.tcb.tdxtcbcomponents.as_ref())?),
        };
        let status = status(Document::TcbInfo, self.tcb_status)?;
        Ok(Level {
            components,
            tdx_components,
            pce_svn: self.tcb.pcesvn.ok_or(MALFORMED)?,
            verdict: Verdict { status, date: self.tcb_date, advisories: self.advisories },
        })
    }
}

impl Versions {
    fn members(&self) -> Result<[u8; 16], IntelError> {
        let members = [
            self.sgxtcbcomp01svn,
            self.sgxtcbcomp02svn,
            self.sgxtcbcomp03svn,
            self.sgxtcbcomp04svn,
            self.sgxtcbcomp05svn,
            self.sgxtcbcomp06svn,
            self.sgxtcbcomp07svn,
            self.sgxtcbcomp08svn,
            self.sgxtcbcomp09svn,
            self.sgxtcbcomp10svn,
            self.sgxtcbcomp11svn,
            self.sgxtcbcomp12svn,
            self.sgxtcbcomp13svn,
            self.sgxtcbcomp14svn,
            self.sgxtcbcomp15svn,
            self.sgxtcbcomp16svn,
        ];
        let mut svns = [0; 16];
        for (to, from) in svns.iter_mut().zip(members) {
            let present = members.iter().flatten().count();
            *to = from.ok_or(IntelError::ComponentCount(present))?;
        }
        Ok(svns)
    }
}

fn listed(components: Option<&Components>) -> Result<[u8; 16], IntelError> {
    match components {
        Some(Components { svns, count: 16 }) => Ok(*svns),
        Some(Components { count, .. }) => Err(IntelError::ComponentCount(*count)),
        None => Err(IntelError::ComponentCount(0)),
    }
}

impl ModuleDocument<'_> {
    fn describes(&self, td: &TdReport<'_>) -> Result<(), IntelError> {
        if bytes(Document::TcbInfo, self.mrsigner)? != *td.mr_signer_seam {
            return Err(IntelError::TdxModule(ModuleField::MrSigner));
        }
        let (expected, mask) = (self.attributes, self.attributes_mask);
        let (expected, mask): ([u8; 8], [u8; 8]) =
            (bytes(Document::TcbInfo, expected)?, bytes(Document::TcbInfo, mask)?);
        if !masked(td.seam_attributes, &mask, &expected) {
            return Err(IntelError::TdxModule(ModuleField::Attributes));
        }
        Ok(())
    }
}

impl<'a> SvnLevel<'a> {
    pub(super) fn verdict(&self, document: Document) -> Result<Verdict<'a>, IntelError> {
        let status = status(document, self.tcb_status)?;
        Ok(Verdict { status, date: self.tcb_date, advisories: self.advisories.clone() })
    }
}

impl<'de> Deserialize<'de> for Components {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Components, D::Error> {
        deserializer.deserialize_seq(ComponentsVisitor)
    }
}

struct ComponentsVisitor;

impl<'de> Visitor<'de> for ComponentsVisitor {
    type Value = Components;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("16 components with their security versions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Components, A::Error> {
        let mut components = Components { svns: [0; 16], count: 0 };
        for slot in &mut components.svns {
            match list.next_element::<Component>()? {
                Some(component) => *slot = component.svn,
                None => return Ok(components),
            }
            components.count += 1;
        }
        while list.next_element::<IgnoredAny>()?.is_some() {
            components.count += 1;
        }
        Ok(components)
    }
}

const MALFORMED: IntelError = IntelError::DocumentMalformed(Document::TcbInfo);
