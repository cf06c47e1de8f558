//! Outputs: published and undone beside the driver, since disks may be slow.

use std::sync::Arc;

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::JobId;
use tracing::info;

use super::{Done, Driver, NotPublished};
use crate::runtime::describe;
use crate::runtime::manifest::{JobTimes, Manifest, ManifestStats};
use crate::scheduler::JobResult;

impl Driver {
    pub(super) fn publish(&mut self, job: JobId, result: JobResult) {
        let record = self.jobs.get_mut(job).expect("the scheduler publishes open jobs only");
        let mut claim = record.claim.take().expect("a job is published once, before it is over");
        let (spec, plan) = (Arc::clone(&record.spec), Arc::clone(&record.plan));
        let times = JobTimes { started: record.submitted, finished: self.clock.wall() };
        info!(%job, parts = result.parts.len(), "job decided");
        self.tasks.spawn(async move {
            let publish = move || {
                let JobResult { parts, bad, counters, map_stats, reduce_stats } = result;
                let stats = ManifestStats { map: map_stats, reduce: reduce_stats };
                let manifest =
                    Manifest::new(job, &spec, &plan, times).with_result(&parts, counters, stats).with_bad(&bad);
                match claim.publish(&parts, &bad, &manifest) {
                    Ok(()) => Ok(()),
                    Err(error) => Err(Box::new(NotPublished { failure: error.to_failure(), claim: Some(claim) })),
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
        let record = self.jobs.get_mut(job).expect("the scheduler undoes jobs that just ended");
        // Absent if publishing panicked: then it was dropped, which undoes it.
        let Some(claim) = record.claim.take() else { return };
        record.undoing = true;
        self.tasks.spawn(async move {
            let undo = move || claim.undo().map_err(|error| describe(&error));
            let result = tokio::task::spawn_blocking(undo).await;
            Done::Undone { job, result: result.unwrap_or_else(|error| Err(error.to_string())) }
        });
    }
}
