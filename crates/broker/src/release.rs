//! The decision to release keys: the heart, on one screen.
//!
//! Whoever calls [`release`] holds three things that only checks can make: an agreement in force, an Attestation Result that the
//! worker earned and that auditors vouch for where the agreement asks for them, and the proof that the run stands in the log. What is left to decide is that they speak of one another: this
//! agreement, this run, this worker's keys, this moment. Then the keys of the agreed columns are derived, and of no others, and
//! wrapped to the very encapsulation key that the Evidence was bound to.
//!
//! Deliberately absent: I/O, clocks, randomness other than the wrapping's own, and the release's place in the log, which
//! comes after the decision and before anybody hears of it ([`crate::runs`]).

use std::collections::{BTreeMap, BTreeSet};

use agreement::{
    documents::{Agreement, Run},
    in_force::InForce,
    permit::{Input, RunRefusal},
};
use attest::{
    binding::{BindingParts, Purpose},
    reference::Vouched,
};
use envelope::{
    Digest,
    keys::TableKey,
    statement::{Addressed, Predicate, Signed},
    text::Bytes32,
    wrap::{EncapsulationKey, Wrapped},
};
use jiff::{SignedDuration, Timestamp};
use tlog::{Included, Rollback};
use wire::messages::{FileKeys, Keys};
use zeroize::{Zeroize as _, Zeroizing};

/// A run as its requester signed it, and as the log knows it.
#[derive(Debug, Clone)]
pub struct RequestedRun(pub Signed<Addressed<Run>>);

/// What a worker asks for, as the broker sees it.
pub struct Request<'a> {
    /// The run.
    pub run: &'a RequestedRun,
    /// Every part of the binding, from the broker's own view of the connection.
    pub binding: &'a BindingParts,
    /// The deposited keys, by manifest.
    pub deposits: &'a BTreeMap<Digest, TableKey>,
    /// The id of the lease under which the keys will live.
    pub lease: Bytes32,
    /// The time that was given to the appraisal.
    pub now: Timestamp,
}

/// Keys that only the attested worker can unwrap. Nobody has them before the release is logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKeys {
    wrapped: Wrapped,
    columns: BTreeMap<Digest, BTreeSet<String>>,
    lasts: SignedDuration,
}

/// Why no key leaves.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseRefusal {
    /// The agreement does not permit the run.
    #[error("the agreement does not permit the run")]
    Run(#[source] RunRefusal),
    /// The log's entry is of another run.
    #[error("the run that stands in the log is another one")]
    OtherRun,
    /// The binding is for another use, agreement or run.
    #[error("the binding is not for the release of this run's keys")]
    Purpose,
    /// The Evidence was bound to other keys, another channel or another challenge.
    #[error("the Attestation Result is of another binding")]
    Binding,
    /// The Evidence was appraised under another policy than the agreement's.
    #[error("the Attestation Result was earned under another policy")]
    Policy,
    /// The Evidence was appraised at another time.
    #[error("the Attestation Result was earned at {0}, not now")]
    Stale(Timestamp),
    /// The log's head lacks cosignatures that the agreement asks for.
    #[error("the agreement asks for {required} witnesses of the log's head; {found} have cosigned it")]
    Witnesses {
        /// How many it asks for.
        required: u32,
        /// How many there are.
        found: usize,
    },
    /// No key of this version is held, or it was erased.
    #[error("the key of the dataset version `{0}` is not held")]
    KeyMissing(Digest),
    /// The worker's encapsulation key is no key.
    #[error("the worker's encapsulation key is not a key")]
    EncapsulationKey,
}

/// Releases the keys of a run's columns to an attested worker.
///
/// # Errors
/// The first thing that does not fit, by name.
pub fn release(
    request: &Request<'_>,
    agreement: &InForce<Agreement>,
    worker: &Vouched,
    run: &Included<RequestedRun>,
) -> Result<WrappedKeys, ReleaseRefusal> {
    let (worker, vouched_until) = (worker.result(), worker.until());
    let permitted = agreement.permit(&request.run.0, request.now).map_err(ReleaseRefusal::Run)?;
    if run.opening().record != *permitted.run() {
        return Err(ReleaseRefusal::OtherRun);
    }
    let purpose = Purpose::WorkerRelease { agreement: *agreement.digest(), run: *permitted.run() };
    if request.binding.purpose != purpose {
        return Err(ReleaseRefusal::Purpose);
    }
    if worker.binding().as_bytes() != request.binding.bind().sha256() {
        return Err(ReleaseRefusal::Binding);
    }
    if worker.policy() != agreement.agreement().workers.digest() {
        return Err(ReleaseRefusal::Policy);
    }
    if worker.appraised_at() != request.now {
        return Err(ReleaseRefusal::Stale(worker.appraised_at()));
    }
    check_witnesses(agreement.agreement().witnesses.required, run.rollback())?;
    let mut keys = Keys { tables: BTreeMap::new() };
    let mut columns = BTreeMap::new();
    for input in permitted.inputs().values() {
        let key = request.deposits.get(&input.digest).ok_or(ReleaseRefusal::KeyMissing(input.digest))?;
        keys.tables.insert(input.digest, file_keys(key, input));
        columns.insert(input.digest, input.columns.clone());
    }
    let wrapped = wrap(keys, request, permitted.run(), worker.binding())?;
    let lease = SignedDuration::from_secs(permitted.release().lease_seconds.into());
    let lasts = lease.min(permitted.expires().min(vouched_until).duration_since(request.now));
    Ok(WrappedKeys { wrapped, columns, lasts })
}

impl WrappedKeys {
    /// The keys, for the worker alone.
    pub const fn wrapped(&self) -> &Wrapped {
        &self.wrapped
    }

    /// By manifest: the columns whose keys are inside.
    pub const fn columns(&self) -> &BTreeMap<Digest, BTreeSet<String>> {
        &self.columns
    }

    /// How long the lease lasts: as agreed, and beyond neither the agreement nor the auditors' word.
    pub const fn lasts(&self) -> SignedDuration {
        self.lasts
    }
}

impl tlog::Record for RequestedRun {
    const KIND: &'static str = <Addressed<Run> as Predicate>::TYPE;

    fn digest(&self) -> Digest {
        *self.0.digest()
    }
}

fn check_witnesses(required: u32, rollback: Rollback) -> Result<(), ReleaseRefusal> {
    let found = match rollback {
        Rollback::NotWitnessed => 0,
        Rollback::Witnessed(count) => count,
    };
    if u32::try_from(found).unwrap_or(u32::MAX) < required {
        return Err(ReleaseRefusal::Witnesses { required, found });
    }
    Ok(())
}

/// The footer's key of each file, and the keys of the columns that the run may read.
fn file_keys(key: &TableKey, input: &Input) -> Vec<FileKeys> {
    let files = (0..).zip(&input.manifest.files).map(|(index, _)| {
        let file = input.manifest.file(index);
        let column = |name: &String| (name.clone(), Bytes32(*key.column(&file, name).as_bytes()));
        FileKeys { footer: Bytes32(*key.footer(&file).as_bytes()), columns: input.columns.iter().map(column).collect() }
    });
    files.collect()
}

fn wrap(mut keys: Keys, request: &Request<'_>, run: &Digest, binding: &Digest) -> Result<Wrapped, ReleaseRefusal> {
    let encapsulation = EncapsulationKey::from_bytes(request.binding.keys.encapsulation.clone())
        .map_err(|_| ReleaseRefusal::EncapsulationKey)?;
    let written = envelope::canonical::to_vec(&keys);
    for file in keys.tables.values_mut().flatten() {
        file.footer.0.zeroize();
        file.columns.values_mut().for_each(|key| key.0.zeroize());
    }
    let plaintext = Zeroizing::new(written.map_err(|_| ReleaseRefusal::EncapsulationKey)?);
    let context = Keys::context(run, &request.lease, binding);
    encapsulation.wrap(&plaintext, Keys::PURPOSE, &context).map_err(|_| ReleaseRefusal::EncapsulationKey)
}
