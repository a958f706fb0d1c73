//! The first half: what must be true before anybody touches a key of a run.
//!
//! The worker checks this before it asks for keys, and `verify` checks it again from the receipt. It repeats the broker's decision
//! with the same code ([`agreement::in_force`]) from the documents themselves, so the broker's word is not needed for it. What
//! cannot be seen from the documents rests on the attested broker and is said to: that nothing was revoked, how many runs an
//! offer had admitted before, and that the keys were deposited.

use std::collections::{BTreeMap, BTreeSet};

use agreement::{
    documents::{Agreement, Consent, Manifest, Offer, Rotation, Run},
    in_force::{Facts, Ground, InForce, NotInForce},
    permit::{Permitted, RunRefusal},
};
use attest::{
    AttestationResult,
    reference::{Provided, ProvidedError, ReferenceValues, VouchError, Vouched},
};
use envelope::{
    Digest, PublicKey,
    statement::{Addressed, Predicate, Signed, StatementError},
};
use jiff::Timestamp;
use tlog::{Included, LogKey, SignedCheckpoint, TlogError, VerifiedCheckpoint, WitnessPolicy};

use crate::{AgreementInForce, Grounds, Logged, opening};

/// Grounds that hold. Private fields; [`check_grounds`] is the constructor.
#[derive(Debug)]
pub struct CheckedGrounds {
    pub(crate) in_force: InForce<Agreement>,
    pub(crate) permitted: Permitted,
    pub(crate) run: Signed<Addressed<Run>>,
    pub(crate) run_leaf: Included,
    pub(crate) rotation_leaves: Vec<Included>,
    pub(crate) checkpoint: VerifiedCheckpoint,
    pub(crate) consents: Vec<Signed<Addressed<Consent>>>,
}

/// Why grounds do not hold.
#[derive(Debug, thiserror::Error)]
pub enum GroundsError {
    /// The log's key or the witness policy in the agreement cannot be read.
    #[error("the agreement's log key or witness policy cannot be read")]
    LogKey(#[source] TlogError),
    /// The checkpoint is not this log's, or not witnessed as agreed.
    #[error("the log's checkpoint does not hold")]
    Checkpoint(#[source] TlogError),
    /// A statement is not what it should be.
    #[error("a {what} does not hold")]
    Statement {
        /// Which kind.
        what: &'static str,
        /// Why.
        #[source]
        error: StatementError,
    },
    /// A statement is not in the log.
    #[error("a {what} is not in the log")]
    NotLogged {
        /// Which kind.
        what: &'static str,
        /// Why.
        #[source]
        error: TlogError,
    },
    /// The broker's own statement speaks of something else.
    #[error(
        "the broker's statement that the agreement is in force does not match the consents and offers that are shown"
    )]
    InForceStatement,
    /// The agreement is not in force by these documents.
    #[error("the agreement is not in force")]
    NotInForce(#[source] NotInForce),
    /// The consents are to another text.
    #[error("the consents shown are for {shown}, and this agreement is {found}: its text was changed")]
    OtherText {
        /// What was consented to.
        shown: Digest,
        /// What the receipt's agreement is.
        found: Digest,
    },
    /// The run is not permitted.
    #[error("the run is not one that the agreement permits")]
    Run(#[source] RunRefusal),
    /// A signature line of the checkpoint that nobody here can check, so that its bytes would mean nothing.
    #[error("the checkpoint has signature lines of others than the log and the agreement's witnesses")]
    CheckpointLines,
    /// A consent or offer on which nothing stands.
    #[error("a {0} is shown on which the agreement does not stand")]
    Stray(&'static str),
    /// A document that gives no Reference Values.
    #[error("a document of an auditor does not hold")]
    Provided(#[source] ProvidedError),
    /// Too few auditors vouch for the worker.
    #[error("the auditors' word on the worker is not enough")]
    NotVouched(#[source] VouchError),
    /// The log's order is not that of cause and effect.
    #[error("the log has {later} before {earlier}")]
    Order {
        /// What should come first.
        earlier: &'static str,
        /// What should come after.
        later: &'static str,
    },
}

/// Checks the grounds of a run as of `at`, for the broker that the agreement names.
///
/// # Errors
/// The first thing that does not hold.
pub fn check_grounds(grounds: &Grounds, at: Timestamp) -> Result<CheckedGrounds, GroundsError> {
    let broker = &grounds.agreement.broker.key;
    let checkpoint = check_checkpoint(&grounds.agreement, &grounds.checkpoint)?;
    let consents = logged_all::<Addressed<Consent>>(&grounds.consents, &checkpoint, "consent")?;
    let offers = logged_all::<Addressed<Offer>>(&grounds.offers, &checkpoint, "offer")?;
    let rotations = logged_all::<Addressed<Rotation>>(&grounds.rotations, &checkpoint, "rotation")?;
    let manifests = manifests(grounds)?;
    let (in_force_statement, in_force_leaf) =
        logged::<AgreementInForce>(&grounds.in_force, Some(broker), &checkpoint, "statement of force")?;
    let (run, run_leaf) = logged::<Addressed<Run>>(&grounds.run, None, &checkpoint, "run")?;

    let facts = Facts {
        agreement: &grounds.agreement,
        manifests: &manifests,
        consents: &consents.iter().map(|(statement, _)| statement.clone()).collect::<Vec<_>>(),
        offers: &offers.iter().map(|(statement, _)| statement.clone()).collect::<Vec<_>>(),
        rotations: &rotations.iter().map(|(statement, _)| statement.clone()).collect::<Vec<_>>(),
        revocations: &[],
        runs_under_offer: BTreeMap::new(),
        deposited: &manifests.iter().map(|manifest| *manifest.digest()).collect::<BTreeSet<_>>(),
        superseded_by: None,
    };
    let in_force = InForce::decide(&facts, broker, at).map_err(|error| not_in_force(error, &facts))?;
    let permitted = in_force.permit(&run, at).map_err(GroundsError::Run)?;
    check_stated(&in_force, in_force_statement.value())?;
    let named: BTreeSet<&Digest> = in_force_statement.value().grounds.values().collect();
    check_named(consents.iter().map(|(statement, _)| statement.digest()), &named, "consent")?;
    check_named(offers.iter().map(|(statement, _)| statement.digest()), &named, "offer")?;
    for leaf in consents.iter().map(|(_, leaf)| leaf).chain(offers.iter().map(|(_, leaf)| leaf)) {
        in_order(leaf, "a consent or offer", &in_force_leaf, "the statement of force")?;
    }
    in_order(&in_force_leaf, "the statement of force", &run_leaf, "the run")?;
    let consents = consents.into_iter().map(|(statement, _)| statement).collect();
    let rotation_leaves = rotations.into_iter().map(|(_, leaf)| leaf).collect();
    Ok(CheckedGrounds { in_force, permitted, run, run_leaf, rotation_leaves, checkpoint, consents })
}

/// Holds the worker's Attestation Result against the auditors' documents beside the grounds, under the agreement's policy and at the time of the
/// appraisal. The leaves are those of all documents that are shown; whether each of them counts is in the answer.
///
/// # Errors
/// A document that does not hold or is not in the log, or too few auditors who vouch.
pub fn check_vouched(
    grounds: &Grounds,
    checked: &CheckedGrounds,
    result: AttestationResult,
) -> Result<(Vouched, Vec<Included>), GroundsError> {
    let what = "document of an auditor";
    let (mut documents, mut leaves) = (Vec::new(), Vec::new());
    for (signed, leaf) in logged_all::<ReferenceValues>(&grounds.reference_values, &checked.checkpoint, what)? {
        documents.push(Provided::new(signed).map_err(GroundsError::Provided)?);
        leaves.push(leaf);
    }
    let policy = &checked.in_force.agreement().workers;
    let vouched = Vouched::check(result, policy, &documents).map_err(GroundsError::NotVouched)?;
    Ok((vouched, leaves))
}

impl CheckedGrounds {
    /// The agreement, in force.
    pub const fn in_force(&self) -> &InForce<Agreement> {
        &self.in_force
    }

    /// What the run may do.
    pub const fn permitted(&self) -> &Permitted {
        &self.permitted
    }

    /// The run as it was signed.
    pub const fn run(&self) -> &Signed<Addressed<Run>> {
        &self.run
    }

    /// The names of the broker's attestation keys that the parties activated and that their consents carry.
    pub fn broker_aks(&self) -> BTreeSet<Digest> {
        self.consents.iter().map(|consent| consent.value().body.broker_ak).collect()
    }
}

/// A logged statement of a known or open signer, with its leaf.
pub(crate) fn logged<T: Predicate>(
    logged: &Logged,
    signer: Option<&PublicKey>,
    checkpoint: &VerifiedCheckpoint,
    what: &'static str,
) -> Result<(Signed<T>, Included), GroundsError> {
    let signed = match signer {
        Some(key) => Signed::<T>::verify(&logged.statement, key),
        None => Signed::<T>::open(&logged.statement),
    }
    .map_err(|error| GroundsError::Statement { what, error })?;
    let leaf = Included::check(opening(&signed, &logged.salt), &logged.proof, checkpoint)
        .map_err(|error| GroundsError::NotLogged { what, error })?;
    Ok((signed, leaf))
}

pub(crate) fn in_order(
    first: &Included,
    earlier: &'static str,
    second: &Included,
    later: &'static str,
) -> Result<(), GroundsError> {
    if first.index() < second.index() { Ok(()) } else { Err(GroundsError::Order { earlier, later }) }
}

fn check_checkpoint(agreement: &Agreement, checkpoint: &str) -> Result<VerifiedCheckpoint, GroundsError> {
    let log = LogKey::try_from(agreement.broker.log.clone()).map_err(GroundsError::LogKey)?;
    let keys = agreement.witnesses.keys.iter().map(|key| tlog::WitnessKey::try_from(key.clone()));
    let keys = keys.collect::<Result<Vec<_>, _>>().map_err(GroundsError::LogKey)?;
    let required = usize::try_from(agreement.witnesses.required).unwrap_or(usize::MAX);
    let policy = WitnessPolicy::new(required, keys).map_err(GroundsError::LogKey)?;
    let verified = SignedCheckpoint::verify(checkpoint.as_bytes(), &log, &policy).map_err(GroundsError::Checkpoint)?;
    let lines = checkpoint.rsplit("\n\n").next().map_or(0, |signatures| signatures.lines().count());
    if lines == 1 + verified.cosigned().len() { Ok(verified) } else { Err(GroundsError::CheckpointLines) }
}

/// Every consent or offer that is shown is one that makes the agreement be in force: what did not count is not shown beside what did.
fn check_named<'a>(
    mut shown: impl Iterator<Item = &'a Digest>,
    named: &BTreeSet<&Digest>,
    what: &'static str,
) -> Result<(), GroundsError> {
    let mut seen = BTreeSet::new();
    if shown.all(|digest| named.contains(digest) && seen.insert(digest)) {
        Ok(())
    } else {
        Err(GroundsError::Stray(what))
    }
}

type Leaves<T> = Vec<(Signed<T>, Included)>;

fn logged_all<T: Predicate>(
    all: &[Logged],
    checkpoint: &VerifiedCheckpoint,
    what: &'static str,
) -> Result<Leaves<T>, GroundsError> {
    all.iter().map(|one| logged::<T>(one, None, checkpoint, what)).collect()
}

fn manifests(grounds: &Grounds) -> Result<Vec<Signed<Manifest>>, GroundsError> {
    let open = |envelope| {
        Signed::<Manifest>::open(envelope).map_err(|error| GroundsError::Statement { what: "manifest", error })
    };
    grounds.manifests.iter().map(open).collect()
}

/// Consents that are all to another text say why they are missing to this one.
fn not_in_force(error: NotInForce, facts: &Facts<'_>) -> GroundsError {
    let shown = facts.consents.first().map(|consent| consent.value().body.agreement);
    match (&error, shown, facts.agreement.digest()) {
        (NotInForce::ConsentMissing(_), Some(shown), Ok(found))
            if facts.consents.iter().all(|consent| consent.value().body.agreement != found) =>
        {
            GroundsError::OtherText { shown, found }
        }
        _ => GroundsError::NotInForce(error),
    }
}

/// The broker stated the same grounds that these documents give.
fn check_stated(in_force: &InForce<Agreement>, stated: &AgreementInForce) -> Result<(), GroundsError> {
    let found: BTreeMap<String, Digest> = in_force
        .grounds()
        .iter()
        .map(|(party, ground)| match ground {
            Ground::Consent { statement, broker_ak: _ } | Ground::Offer { statement } => (party.clone(), *statement),
        })
        .collect();
    if stated.agreement == *in_force.digest() && stated.grounds == found {
        Ok(())
    } else {
        Err(GroundsError::InForceStatement)
    }
}
