//! What is shown of jobs, and when watchers are told.

use std::sync::Arc;

use gristmill_common::ids::JobId;
use gristmill_common::time::WallTime;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{Driver, PROGRESS_INTERVAL};
use crate::runtime::status::JobStatus;
use crate::scheduler::JobView;

impl Driver {
    pub(super) fn status(&self, job: JobId) -> Option<JobStatus> {
        self.dress(self.scheduler.job(job)?)
    }

    pub(super) fn dress(&self, view: JobView) -> Option<JobStatus> {
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
        let (told, at) = record.told();
        let watched = record.is_watched();
        let new_state = told.view.state != state;
        if state.is_terminal()
            && self.jobs.open.contains(&job)
            && let Some(view) = self.scheduler.job(job)
        {
            self.on_ended(&view, self.clock.wall());
        }
        if new_state {
            self.tell_watchers(job);
        } else if watched && now.since(at) >= PROGRESS_INTERVAL {
            self.untold.remove(&job);
            self.tell_watchers(job);
        } else if watched {
            self.untold.insert(job);
        }
    }

    pub(super) fn on_ended(&mut self, view: &JobView, finished: WallTime) {
        let job = view.job;
        match &view.failure {
            Some(failure) => warn!(%job, state = ?view.state, code = %failure.code, %failure, "job ended"),
            None => info!(%job, state = ?view.state, "job ended"),
        }
        self.jobs.open.remove(&job);
        if let Some(record) = self.jobs.get_mut(job) {
            record.finished = Some(finished);
            record.shrink();
        }
        for ended in self.jobs.ended() {
            if self.scheduler.job(ended).is_none() {
                self.jobs.forget(ended);
            }
        }
    }

    /// Watchers see a terminal state only when nothing is left of what was staged.
    pub(super) fn tell_watchers(&mut self, job: JobId) {
        let now = self.clock.now();
        let Some(record) = self.jobs.get(job).filter(|record| !record.undoing) else { return };
        let Some(view) = self.scheduler.job(job) else { return };
        let status = record.status(view);
        if let Some(record) = self.jobs.get_mut(job) {
            record.tell(now, status);
        }
    }
}
