//! Outputs: published and undone beside the driver, since disks may be slow; and the end of a job, when
//! nothing is left to publish or to undo.

use std::sync::Arc;

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::JobId;
use tracing::{info, warn};

use super::{Done, Driver, NotPublished};
use crate::failpoint::failpoint;
use crate::runtime::describe;
use crate::runtime::journal::{Change, JournalRecord};
use crate::runtime::manifest::{JobTimes, Manifest, ManifestStats};
use crate::scheduler::JobResult;

impl Driver {
    pub(super) fn publish(&mut self, job: JobId, result: JobResult) {
        let times = JobTimes { started: self.jobs.submitted(job), finished: self.clock.wall() };
        let work = self.jobs.work_mut(job).expect("the scheduler publishes open jobs only");
        let mut claim = work.claim.take().expect("a job is published once, before it is over");
        let (spec, plan) = (Arc::clone(&work.spec), Arc::clone(&work.plan));
        info!(%job, parts = result.parts.len(), "job decided");
        self.tasks.spawn(async move {
            let publish = move || {
                let JobResult { parts, bad, differed, counters, map_stats, reduce_stats } = result;
                let stats = ManifestStats { map: map_stats, reduce: reduce_stats };
                let manifest = Manifest::new(job, &spec, &plan, times).with_result(&parts, counters, stats);
                let manifest = manifest.with_differing(&differed).with_bad(&bad);
                let failed = |reason: std::io::Error| Failure::new(FailureCode::CommitFailed, reason.to_string());
                let result = failpoint("driver.publish").map_err(failed);
                let result =
                    result.and_then(|()| claim.publish(&parts, &bad, &manifest).map_err(|error| error.to_failure()));
                match result.and_then(|()| failpoint("driver.published").map_err(failed)) {
                    Ok(()) => Ok(()),
                    Err(failure) => Err(Box::new(NotPublished { failure, claim: Some(claim) })),
                }
            };
            let result = tokio::task::spawn_blocking(publish).await;
            let result = result.unwrap_or_else(|error| {
                let failure = Failure::new(FailureCode::CommitFailed, format!("publishing failed: {error}"));
                Err(Box::new(NotPublished { failure, claim: None }))
            });
            Done::Published { job, result }
        });
    }

    pub(super) fn undo(&mut self, job: JobId) {
        // Absent if publishing panicked: then it was dropped, which undoes it.
        let claim = self.jobs.work_mut(job).and_then(|work| work.claim.take());
        self.tasks.spawn(async move {
            let undo = move || {
                failpoint("driver.undo").map_err(|error| error.to_string())?;
                claim.map_or(Ok(()), |claim| claim.undo()).map_err(|error| describe(&error))?;
                failpoint("driver.undone").map_err(|error| error.to_string())
            };
            let result = tokio::task::spawn_blocking(undo).await;
            Done::Undone { job, result: result.unwrap_or_else(|error| Err(error.to_string())) }
        });
    }

    /// Nothing is left of what the job staged, or it cannot be removed.
    pub(super) fn on_undone(&mut self, job: JobId, result: Result<(), String>) {
        if let Err(reason) = &result {
            warn!(%job, reason, "staged output not removed");
        }
        if self.sweeping.remove(&job) {
            self.open_planning();
        }
        if !self.jobs.end_undoing(job, result.err()) {
            // It never was a job: its planning did not end.
            self.outbox.record(Change::Forget(job));
            return;
        }
        self.close(job);
        self.tell_watchers(job);
    }

    /// Keeps of a job that is over and undone or published only what is shown of it.
    pub(super) fn close(&mut self, job: JobId) {
        let Some(status) = self.status(job) else { return };
        if let Some(key) = self.jobs.close(job, status.view.clone()) {
            self.outbox.record(Change::Forget(job));
            self.outbox.record(Change::Append(JournalRecord::Closed { key, status: Box::new(status) }));
        }
    }
}
