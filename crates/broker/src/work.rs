//! Which run a worker is shown next.
//!
//! A worker sees a run only if the run's agreement admits its TPM: enrolment alone shows nobody's agreement to anybody. A
//! run whose agreement has ended in the meantime is refused here, with the reason.

use std::{collections::BTreeSet, time::Duration};

use attest::tpm::EnrolledAk;
use envelope::{
    Digest,
    statement::{Addressed, Signed},
};
use jiff::Timestamp;
use wire::{
    channel::Peer,
    messages::{NextRun, RunRefusal, WorkOrder},
};

use crate::{
    enrol, receipts,
    records::{Records as _, put, table},
    refusal::Refusal,
    runs::{RunRecord, RunState},
    service::Broker,
    standing::Known,
};

impl Broker {
    /// The next run for a worker, or nothing after [`PATIENCE`].
    pub(crate) async fn next_run(&self, request: NextRun, peer: &Peer) -> Result<Option<WorkOrder>, Refusal> {
        let (_, enrolled) = enrol::of_peer(&self.store, &request.enrolment, peer)?;
        let patience = tokio::time::sleep(PATIENCE);
        tokio::pin!(patience);
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // Registered before looking, so that what happens in between is not missed.
            news.as_mut().enable();
            let now = self.clock.now()?;
            if let Some(order) = self.find_work(&request.enrolment, &enrolled, now).await? {
                return Ok(Some(order));
            }
            tokio::select! {
                () = &mut patience => return Ok(None),
                () = news => {}
                // Leases end without anybody telling.
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    async fn find_work(
        &self,
        enrolment: &Digest,
        enrolled: &EnrolledAk,
        now: Timestamp,
    ) -> Result<Option<WorkOrder>, Refusal> {
        // Strangers can fill the front of the queue with runs that no worker here may serve; each of their agreements is looked at once.
        let (mut foreign, mut swept) = (BTreeSet::new(), 0);
        for (_, stored) in self.store.scan(table::QUEUE, b"", LOOK_AT)? {
            let Ok(run) = stored.record.try_into().map(Digest::from_bytes) else { continue };
            let Some((record, _)) = self.store.read::<RunRecord>(table::RUNS, run.as_bytes())? else { continue };
            if !record.is_open(now) || foreign.contains(&record.agreement) {
                continue;
            }
            let known = self.remembered.load(&self.store, &record.agreement, &record.versions)?;
            let Some(known) = known else { continue };
            let is_over = now > known.record.agreement.expires && swept < SWEEP;
            if !is_over && enrolled.admitted_by(&known.record.agreement.workers, now).is_err() {
                foreign.insert(record.agreement);
                continue;
            }
            swept += usize::from(is_over);
            if let Err(refusal) = self.still_admitted(&known, &record.offers, &run, now) {
                self.end_run(run, refusal).await?;
                continue;
            }
            if self.claims.claim(&run, enrolment) {
                return Ok(Some(WorkOrder { run, grounds: receipts::grounds(&self.store, &run, &record, now)? }));
            }
        }
        Ok(None)
    }

    fn still_admitted(
        &self,
        known: &Known,
        offers: &BTreeSet<Digest>,
        run: &Digest,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let in_force = known.decide_again(offers, &self.keys.public, now).map_err(Refusal::NotInForce)?;
        let (run, _): (Signed<Addressed<agreement::documents::Run>>, _) =
            self.store.statement(run)?.ok_or(Refusal::NotFound)?;
        in_force.permit(&run, now).map_err(Refusal::Run)?;
        Ok(())
    }

    async fn end_run(&self, run: Digest, refusal: Refusal) -> Result<(), Refusal> {
        let refusal = match refusal {
            Refusal::NotInForce(_) | Refusal::Run(_) => {
                RunRefusal { code: refusal.code().as_str().to_owned(), words: refusal.to_string() }
            }
            fault => return Err(fault),
        };
        self.store
            .commit(move |tx| -> Result<(), Refusal> {
                let Some((mut record, _)) = tx.read::<RunRecord>(table::RUNS, run.as_bytes())? else { return Ok(()) };
                if matches!(record.state, RunState::Approved {} | RunState::Running(_)) {
                    tx.remove(table::QUEUE, &record.leaf.to_be_bytes());
                    record.state = RunState::Refused(refusal);
                    put(tx, table::RUNS, run.as_bytes(), &record)?;
                }
                Ok(())
            })
            .await
    }
}

/// How long a worker's question is held open.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_secs(1);
const LOOK_AT: usize = 16_384;
/// Runs of expired agreements that one look ends, whichever worker looks.
const SWEEP: usize = 16;
