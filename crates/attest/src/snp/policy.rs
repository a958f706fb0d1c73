//! What an owner asks of SEV-SNP beyond a genuine report. The defaults refuse what is known to be weak.
//!
//! Refused whatever the policy says: a guest that a migration agent may take elsewhere, a platform bit that is not known here, memory
//! aliases that were not checked where the report can say so (AMD-SB-3015), and a reported version above the committed one.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Generation, Report, SigningKey, Tcb};

/// An owner's expectations. Missing fields have the strict default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SnpPolicy {
    /// Which generations are accepted. Not Milan unless it is named: its keys can be extracted by software (arXiv 2605.12990).
    pub generations: BTreeSet<Generation>,
    /// Per generation the lowest accepted security versions, of the reported and the launch TCB. They can only raise the
    /// [floor](SnpPolicy::floor) of AMD-SB-3019: of each component the higher one counts.
    pub minimum_tcb: BTreeMap<Generation, Tcb>,
    /// The privilege levels from which a report is accepted: 0, unless an SVSM is expected below the guest.
    pub vmpl: BTreeSet<u32>,
    /// Which keys may have signed: the chip's own, unless VLEK is named.
    pub signing_keys: BTreeSet<SigningKey>,
    /// Whether AMD's revocation list must have been at hand.
    pub revocation_list: bool,
}

/// What is not met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnpUnfit {
    /// Not of an accepted generation.
    #[error("the chip is of the generation {0:?}, which the policy does not accept")]
    Generation(Generation),
    /// Below the floor.
    #[error("the security version ({actual}) is below the floor ({floor})")]
    BelowFloor {
        /// The floor.
        floor: Tcb,
        /// What it is.
        actual: Tcb,
    },
    /// The report claims a version that the platform has not committed to.
    #[error("the reported security version is above the committed one")]
    AboveCommitted,
    /// A raw version with reserved bytes set.
    #[error("a security version has reserved bytes set")]
    Reserved,
    /// Another privilege level.
    #[error("the report was asked for from privilege level {0}, which the policy does not accept")]
    Vmpl(u32),
    /// Another key.
    #[error("the report was signed by a {}, which the policy does not accept", .0.name())]
    SigningKey(SigningKey),
    /// The guest can be taken elsewhere.
    #[error("a migration agent may take the guest elsewhere")]
    Migration,
    /// The memory may have aliases.
    #[error("the platform did not complete its check for aliases of memory")]
    AliasCheck,
    /// A bit that nobody here knows.
    #[error("the platform's information {0:#x} has a bit that is not known here")]
    PlatformInfo(u64),
    /// No list.
    #[error("the policy asks for AMD's revocation list, and none was at hand")]
    RevocationList,
}

impl SnpPolicy {
    /// The lowest versions without known faults that AMD has published (AMD-SB-3019: SNP firmware 0x18 on Milan, 0x17 on Genoa).
    pub const fn floor(generation: Generation) -> Tcb {
        let snp = match generation {
            Generation::Milan => 0x18,
            Generation::Genoa => 0x17,
            Generation::Turin => 0,
        };
        Tcb { fmc: None, bootloader: 0, tee: 0, snp, microcode: 0 }
    }

    pub(super) fn check(&self, report: &Report, generation: Generation, listed: bool) -> Result<(), SnpUnfit> {
        if !self.generations.contains(&generation) {
            return Err(SnpUnfit::Generation(generation));
        }
        if !self.signing_keys.contains(&report.signing_key) {
            return Err(SnpUnfit::SigningKey(report.signing_key));
        }
        if report.policy_migrate_ma() {
            return Err(SnpUnfit::Migration);
        }
        if !self.vmpl.contains(&report.vmpl) {
            return Err(SnpUnfit::Vmpl(report.vmpl));
        }
        self.check_versions(report, generation)?;
        if report.platform_info & !KNOWN != 0 {
            return Err(SnpUnfit::PlatformInfo(report.platform_info));
        }
        if report.version >= 3 && report.platform_info & ALIAS_CHECK_COMPLETE == 0 {
            return Err(SnpUnfit::AliasCheck);
        }
        if self.revocation_list && !listed {
            return Err(SnpUnfit::RevocationList);
        }
        Ok(())
    }

    fn check_versions(&self, report: &Report, generation: Generation) -> Result<(), SnpUnfit> {
        let read = |raw| Tcb::read(raw, generation).ok_or(SnpUnfit::Reserved);
        let (reported, committed) = (read(report.reported_tcb)?, read(report.committed_tcb)?);
        if !committed.is_at_least(&reported) {
            return Err(SnpUnfit::AboveCommitted);
        }
        let makers = SnpPolicy::floor(generation);
        let floor = self.minimum_tcb.get(&generation).map_or(makers, |owners| owners.raised_to(&makers));
        for actual in [reported, read(report.launch_tcb)?] {
            if !actual.is_at_least(&floor) {
                return Err(SnpUnfit::BelowFloor { floor, actual });
            }
        }
        Ok(())
    }
}

impl Default for SnpPolicy {
    fn default() -> SnpPolicy {
        SnpPolicy {
            generations: BTreeSet::from([Generation::Genoa, Generation::Turin]),
            minimum_tcb: BTreeMap::new(),
            vmpl: BTreeSet::from([0]),
            signing_keys: BTreeSet::from([SigningKey::Vcek]),
            revocation_list: false,
        }
    }
}

impl SnpUnfit {
    /// The word for the expectation.
    pub const fn code(&self) -> &'static str {
        match self {
            SnpUnfit::Generation(_) => "generation-not-accepted",
            SnpUnfit::BelowFloor { .. } => "tcb-out-of-date",
            SnpUnfit::AboveCommitted => "tcb-above-committed",
            SnpUnfit::Reserved => "tcb-malformed",
            SnpUnfit::Vmpl(_) => "vmpl-not-accepted",
            SnpUnfit::SigningKey(_) => "signing-key-not-accepted",
            SnpUnfit::Migration => "migration-allowed",
            SnpUnfit::AliasCheck => "alias-check-incomplete",
            SnpUnfit::PlatformInfo(_) => "platform-info-unknown",
            SnpUnfit::RevocationList => "revocation-list-missing",
        }
    }
}

/// SMT, TSME, ECC, RAPL off, ciphertext hiding, alias check, trusted I/O.
const KNOWN: u64 = 0b1011_1111;
const ALIAS_CHECK_COMPLETE: u64 = 1 << 5;
