//! Reference Values as documents, and the auditors whose word on a measurement a policy can ask for.
//!
//! A Reference Value Provider (RFC 9334, section 4.2) states for a while which values the registers of a platform should have:
//! [`ReferenceValues`], signed. [`Provided`] is such a document by the very provider that it names. A policy can name auditors ([`AuditorRule`]):
//! beyond its own Reference Values, so many of them must then vouch, each for every register, with documents that count at the time of the
//! appraisal. [`Vouched`] is an Attestation Result for which they do, and what a release of keys needs.
//!
//! Register names are those of the platform: `pcr8` (SHA-256) or `sha384:pcr8` for a `tpm`, `measurement` for `sev-snp`, and so on. The register of
//! runs can be nobody's Reference Value, since every run extends it.
//!
//! Deliberately absent: what an auditor looked at. The document is their word; the Evidence only shows that the machine is what they spoke of.

use std::{collections::BTreeSet, fmt};

use envelope::{
    Digest, PublicKey,
    statement::{Predicate, Signed, Subject},
    text::shown,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    AppraisalPolicy, AttestationResult, HashAlgorithm,
    event_log::EventLog,
    events::{Event, ROLE_PCR, RUN_PCR, RoleName},
    platform::{MeasurementRule, Platform},
};

/// What a provider states. Signed by the provider's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceValues {
    /// Who states it.
    pub provider: PublicKey,
    /// The platform's name.
    pub platform: String,
    /// What the values are of, in the provider's words.
    pub what: String,
    /// Accepted values by register, lower-case hexadecimal.
    pub measurements: MeasurementRule,
    /// The digest of what they were taken from: Evidence, a CoRIM or a program.
    pub evidence: Digest,
    /// From when on it counts.
    pub issued: Timestamp,
    /// Until when it counts; that moment included.
    pub expires: Timestamp,
}

/// Reference Values that are signed by the provider that they name, and can be meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Provided(Signed<ReferenceValues>);

/// Why a signed document gives no Reference Values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProvidedError {
    /// Signed by somebody else.
    #[error("the Reference Values name the provider `{provider}`, and `{signer}` signed them")]
    Provider {
        /// Who is named.
        provider: PublicKey,
        /// Who signed.
        signer: PublicKey,
    },
    /// No end, or one before the beginning.
    #[error("the Reference Values end at {expires}, which is not after they begin at {issued}")]
    Term {
        /// The beginning.
        issued: Timestamp,
        /// The end.
        expires: Timestamp,
    },
    /// Nothing is stated.
    #[error("the Reference Values name no register")]
    Nothing,
    /// A register without a value, or a value that can never be found.
    #[error("the values of `{0}` are missing, or not lower-case hexadecimal of whole bytes")]
    Value(String),
    /// Words that cannot be shown to people.
    #[error("what the Reference Values are of is told in more than {MAX_WHAT} bytes, or not in one plain line")]
    What,
}

/// Which auditors must vouch for what a policy's Evidence shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditorRule {
    /// Who may vouch, by signing key; at least one.
    pub keys: BTreeSet<PublicKey>,
    /// How many of them must; 1 to all.
    pub required: u32,
    /// For which registers of the TPM; at least one, and never that of runs. Of confidential hardware it is every register that the policy lists.
    pub pcrs: BTreeSet<u8>,
}

/// Why a rule about auditors cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditorRuleError {
    /// Nobody, or more than is looked at.
    #[error("{0} auditors are listed; 1 to {MAX_AUDITORS} can be")]
    Auditors(usize),
    /// More than there are, or nobody.
    #[error(
        "{required} of {listed} auditors cannot be required\nhint: `required` is 1 for any one of them, {listed} for all"
    )]
    Required {
        /// How many are required.
        required: u32,
        /// How many are listed.
        listed: usize,
    },
    /// Nothing to vouch for.
    #[error("the auditors have no register to vouch for\nhint: register {ROLE_PCR} holds which program was started")]
    NoRegister,
    /// A register that does not exist or is different for every run.
    #[error(
        "nobody can vouch for register {0}\nhint: registers are 0 to 23, and register {RUN_PCR} is different for every run"
    )]
    Register(u8),
}

/// A worker's Attestation Result for which auditors vouch as its policy asks. [`Vouched::check`] is the constructor.
#[derive(Debug, Clone, PartialEq)]
pub struct Vouched {
    result: AttestationResult,
    vouchers: Vec<Voucher>,
}

/// An auditor who vouches for every register that the policy asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Voucher {
    /// Who.
    pub auditor: PublicKey,
    /// The digests of the documents that say so.
    pub documents: BTreeSet<Digest>,
    /// When the first of these expires.
    pub until: Timestamp,
}

/// Why auditors do not vouch as the policy asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VouchError {
    /// The policy is not the one under which the Evidence was appraised.
    #[error("the Attestation Result was earned under another policy")]
    Policy,
    /// Too few.
    #[error(
        "{found} of the auditors vouch for this worker, and {required} must: {}\nhint: {}",
        lacking.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        remedy(lacking)
    )]
    TooFew {
        /// How many must.
        required: u32,
        /// How many do.
        found: usize,
        /// What each of the others lacks.
        lacking: Vec<Lacking>,
    },
}

/// What an auditor's documents lack first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// Who.
    pub auditor: PublicKey,
    /// Of which platform.
    pub platform: Platform,
    /// Which register.
    pub register: String,
    /// What of it.
    pub lack: Lack,
}

/// What is lacking of a register.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// No document speaks of it.
    Unstated,
    /// Those that count list other values than this one, which the Evidence shows.
    OtherValue(String),
    /// The one that lists its value counts only from this time on.
    NotYet(Timestamp),
    /// The one that lists its value counted until then.
    Expired(Timestamp),
}

impl Predicate for ReferenceValues {
    const TYPE: &'static str = "urn:glovebox:reference-values:v1";

    fn subject(&self) -> Subject {
        Subject { name: self.platform.clone(), digest: self.evidence }
    }
}

impl ReferenceValues {
    /// The measurements of a TPM after a launcher started this program as this role and nothing else: the register of roles, in both banks.
    pub fn of_program(role: &RoleName, program: &Digest) -> MeasurementRule {
        let banks = [HashAlgorithm::Sha256, HashAlgorithm::Sha384];
        let mut log = EventLog::new(&banks);
        log.append(&Event::role(role, program));
        log.append(&Event::system_ready());
        let value = |bank: HashAlgorithm| Some(hex::encode(log.replay(bank).ok()?.get(&ROLE_PCR)?));
        banks.into_iter().filter_map(|bank| Some((pcr_name(bank, ROLE_PCR), BTreeSet::from([value(bank)?])))).collect()
    }
}

impl Provided {
    /// Takes a signed document for its provider's word.
    ///
    /// # Errors
    /// Named in [`ProvidedError`]. Whether it counts at a time is for [`Vouched::check`].
    pub fn new(signed: Signed<ReferenceValues>) -> Result<Provided, ProvidedError> {
        let ReferenceValues { provider, platform: _, what, measurements, evidence: _, issued, expires } =
            signed.value();
        if provider != signed.signer() {
            return Err(ProvidedError::Provider { provider: *provider, signer: *signed.signer() });
        }
        if expires <= issued {
            return Err(ProvidedError::Term { issued: *issued, expires: *expires });
        }
        if what.len() > MAX_WHAT || shown(what, MAX_WHAT) != *what {
            return Err(ProvidedError::What);
        }
        if measurements.is_empty() {
            return Err(ProvidedError::Nothing);
        }
        let bad = |values: &BTreeSet<String>| values.is_empty() || !values.iter().all(|value| is_hexadecimal(value));
        match measurements.iter().find(|(_, values)| bad(values)) {
            Some((register, _)) => Err(ProvidedError::Value(shown(register, 80))),
            None => Ok(Provided(signed)),
        }
    }

    /// What is stated.
    pub const fn values(&self) -> &ReferenceValues {
        self.0.value()
    }

    /// The statement.
    pub const fn signed(&self) -> &Signed<ReferenceValues> {
        &self.0
    }

    /// What of this register it lacks at this time; `None` if it vouches for the value.
    fn lack(&self, needed: &Needed, at: Timestamp) -> Option<Lack> {
        let ReferenceValues { platform, measurements, issued, expires, .. } = self.values();
        let listed = measurements.get(&needed.register).filter(|_| platform == needed.platform.name());
        match listed {
            None => Some(Lack::Unstated),
            Some(values) if !values.contains(&needed.value) => Some(Lack::OtherValue(needed.value.clone())),
            Some(_) if at < *issued => Some(Lack::NotYet(*issued)),
            Some(_) if at > *expires => Some(Lack::Expired(*expires)),
            Some(_) => None,
        }
    }
}

impl AuditorRule {
    /// The rule by itself; a policy's constructor asks.
    pub(crate) fn check(&self) -> Result<(), AuditorRuleError> {
        let AuditorRule { keys, required, pcrs } = self;
        if keys.is_empty() || keys.len() > MAX_AUDITORS {
            return Err(AuditorRuleError::Auditors(keys.len()));
        }
        if !usize::try_from(*required).is_ok_and(|required| (1..=keys.len()).contains(&required)) {
            return Err(AuditorRuleError::Required { required: *required, listed: keys.len() });
        }
        if pcrs.is_empty() {
            return Err(AuditorRuleError::NoRegister);
        }
        match pcrs.iter().find(|pcr| **pcr > 23 || **pcr == RUN_PCR) {
            Some(pcr) => Err(AuditorRuleError::Register(*pcr)),
            None => Ok(()),
        }
    }
}

impl Vouched {
    /// Holds an Attestation Result against the auditors of its policy, at the time of the appraisal. Under a policy that names none it passes as it is.
    ///
    /// Which documents count does not depend on the order in which they are given, nor on further ones beside them that expire earlier: of
    /// those that vouch for a register the one that expires last counts, and of the auditors that vouch the first as many as must, by key.
    ///
    /// # Errors
    /// [`VouchError`], with what each auditor lacks.
    pub fn check(
        result: AttestationResult,
        policy: &AppraisalPolicy,
        documents: &[Provided],
    ) -> Result<Vouched, VouchError> {
        if result.policy() != policy.digest() {
            return Err(VouchError::Policy);
        }
        let Some(rule) = policy.auditors() else { return Ok(Vouched { result, vouchers: Vec::new() }) };
        let needed = needed(&result, policy, rule);
        let enough = usize::try_from(rule.required).unwrap_or(usize::MAX);
        let (mut vouchers, mut lacking) = (Vec::new(), Vec::new());
        for auditor in &rule.keys {
            match voucher(auditor, &needed, documents, result.appraised_at()) {
                Ok(voucher) => vouchers.push(voucher),
                Err(lack) => lacking.push(lack),
            }
        }
        if vouchers.len() < enough {
            return Err(VouchError::TooFew { required: rule.required, found: vouchers.len(), lacking });
        }
        vouchers.truncate(enough);
        Ok(Vouched { result, vouchers })
    }

    /// The Attestation Result.
    pub const fn result(&self) -> &AttestationResult {
        &self.result
    }

    /// Who vouches: exactly as many as the policy asks for.
    pub fn vouchers(&self) -> &[Voucher] {
        &self.vouchers
    }

    /// Until when all of them do; the end of time where nobody must.
    pub fn until(&self) -> Timestamp {
        self.vouchers.iter().map(|voucher| voucher.until).min().unwrap_or(Timestamp::MAX)
    }

    /// The digests of the documents on which this stands.
    pub fn documents(&self) -> BTreeSet<Digest> {
        self.vouchers.iter().flat_map(|voucher| voucher.documents.iter().copied()).collect()
    }
}

/// A register that must be vouched for, with the value that the Evidence shows.
struct Needed {
    platform: Platform,
    register: String,
    value: String,
}

fn needed(result: &AttestationResult, policy: &AppraisalPolicy, rule: &AuditorRule) -> Vec<Needed> {
    let bank = policy.tpm().bank.algorithm();
    let shown = |pcr: u8| result.measurements().iter().find(|shown| shown.bank == bank && shown.pcr == pcr);
    // The policy has all of these quoted; a value that is not there would be one that nobody lists.
    let pcrs = rule.pcrs.iter().map(|pcr| Needed {
        platform: Platform::Tpm,
        register: pcr_name(bank, *pcr),
        value: shown(*pcr).map(|shown| shown.value.clone()).unwrap_or_default(),
    });
    let hardware = result.hardware().into_iter().flat_map(|appraised| {
        let genuine = appraised.genuine();
        let rule = policy.hardware().get(&genuine.platform());
        rule.into_iter().flat_map(|rule| rule.policy.measurements.keys()).map(|register| Needed {
            platform: genuine.platform(),
            register: register.clone(),
            value: genuine.register(register).map(hex::encode).unwrap_or_default(),
        })
    });
    pcrs.chain(hardware).collect()
}

fn voucher(auditor: &PublicKey, needed: &[Needed], documents: &[Provided], at: Timestamp) -> Result<Voucher, Lacking> {
    let mut theirs: Vec<&Provided> =
        documents.iter().filter(|document| document.signed().signer() == auditor).collect();
    theirs.sort_by_key(|document| (document.values().expires, *document.signed().digest()));
    let mut voucher = Voucher { auditor: *auditor, documents: BTreeSet::new(), until: Timestamp::MAX };
    for register in needed {
        // From the last to expire; of those that do not vouch, the nearest to doing so is told.
        let mut lack = Lack::Unstated;
        let mut found = None;
        for document in theirs.iter().rev() {
            match document.lack(register, at) {
                None => {
                    found = Some(document);
                    break;
                }
                Some(other) if other.rank() > lack.rank() => lack = other,
                Some(_) => {}
            }
        }
        let Some(document) = found else {
            let (platform, register) = (register.platform, register.register.clone());
            return Err(Lacking { auditor: *auditor, platform, register, lack });
        };
        voucher.documents.insert(*document.signed().digest());
        voucher.until = voucher.until.min(document.values().expires);
    }
    Ok(voucher)
}

impl Lack {
    const fn rank(&self) -> u8 {
        match self {
            Lack::Unstated => 0,
            Lack::OtherValue(_) => 1,
            Lack::NotYet(_) => 2,
            Lack::Expired(_) => 3,
        }
    }
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Lacking { auditor, platform, register, lack } = self;
        match lack {
            Lack::Unstated => write!(f, "`{auditor}` says nothing of `{register}` ({platform})"),
            Lack::OtherValue(value) => write!(f, "`{auditor}` lists other values of `{register}` than `{value}`"),
            Lack::NotYet(from) => write!(f, "what `{auditor}` says of `{register}` counts only from {from} on"),
            Lack::Expired(at) => write!(f, "what `{auditor}` says of `{register}` expired at {at}"),
        }
    }
}

fn remedy(lacking: &[Lacking]) -> &'static str {
    match lacking.iter().map(|lacking| &lacking.lack).max_by_key(|lack| lack.rank()) {
        Some(Lack::Expired(_)) => "ask the auditor for a new document, and bring it with `glovebox evidence endorse`",
        Some(Lack::NotYet(_)) => "wait until then, or compare the clocks",
        Some(Lack::OtherValue(_)) => {
            "the worker runs something else than the auditor looked at; ask both which it should be"
        }
        Some(Lack::Unstated) | None => {
            "the auditor makes a document with `glovebox evidence reference`; anyone brings it with `glovebox evidence endorse`"
        }
    }
}

fn pcr_name(bank: HashAlgorithm, pcr: u8) -> String {
    match bank {
        HashAlgorithm::Sha256 => format!("pcr{pcr}"),
        other => format!("{}:pcr{pcr}", other.name()),
    }
}

fn is_hexadecimal(value: &str) -> bool {
    !value.is_empty()
        && value.len().is_multiple_of(2)
        && value.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

/// The most auditors that a policy can list.
pub const MAX_AUDITORS: usize = 16;
/// The longest text of what Reference Values are of, in bytes.
pub const MAX_WHAT: usize = 500;
