//! What is shown of jobs, and when watchers are told.

use std::sync::Arc;

use gristmill_common::ids::JobId;
use tokio::sync::watch;
use tracing::{info, warn};

use super::effects::Effect;
use super::{Driver, PROGRESS_INTERVAL};
use crate::runtime::jobs::JobRecord;
use crate::runtime::status::JobStatus;
use crate::scheduler::JobView;

impl Driver {
    pub(super) fn status(&self, job: JobId) -> Option<JobStatus> {
        self.dress(self.scheduler.job(job)?)
    }

    /// Of all jobs, oldest first. Ids alone do not say which of two of the same second came first.
    pub(super) fn statuses(&self) -> Vec<JobStatus> {
        let views = self.scheduler.jobs();
        let mut statuses: Vec<JobStatus> = views.into_iter().filter_map(|view| self.dress(view)).collect();
        statuses.sort_by_key(|status| (status.submitted, status.view.job));
        statuses
    }

    fn dress(&self, view: JobView) -> Option<JobStatus> {
        Some(self.jobs.get(view.job)?.status(view))
    }

    pub(super) fn on_watch(&mut self, job: JobId) -> Option<watch::Receiver<Arc<JobStatus>>> {
        self.tell_watchers(job);
        Some(self.jobs.get(job)?.watch())
    }

    /// Tells watchers of a new state at once, of mere progress not too often.
    pub(super) fn on_notify(&mut self, job: JobId) {
        let Some(state) = self.scheduler.job_state(job) else { return };
        let now = self.clock.now();
        let Some(record) = self.jobs.get(job) else { return };
        let (shown, at) = record.shown();
        let watched = record.is_watched();
        if state.is_terminal() && self.jobs.open.contains(&job) {
            self.on_ended(job);
        }
        if shown != state {
            self.tell_watchers(job);
        } else if watched && now.since(at) >= PROGRESS_INTERVAL {
            self.untold.remove(&job);
            self.tell_watchers(job);
        } else if watched {
            self.untold.insert(job);
        }
    }

    fn on_ended(&mut self, job: JobId) {
        self.jobs.end(job, self.clock.wall());
        let Some(view) = self.scheduler.job(job) else { return };
        match &view.failure {
            Some(failure) => warn!(%job, state = ?view.state, code = %failure.code, %failure, "job ended"),
            None => info!(%job, state = ?view.state, "job ended"),
        }
        self.outbox.push(Effect::Settle { job });
        if self.jobs.get(job).is_some_and(|record| !record.is_undoing()) {
            self.close(job);
        }
    }

    /// Watchers see a terminal state only when nothing is left of what was staged.
    pub(super) fn tell_watchers(&mut self, job: JobId) {
        if self.jobs.get(job).is_none_or(JobRecord::is_undoing) {
            return;
        }
        let Some(status) = self.status(job) else { return };
        self.jobs.show(job, status.view.state, self.clock.now());
        self.outbox.push(Effect::Tell { job, status: Box::new(status) });
    }
}
