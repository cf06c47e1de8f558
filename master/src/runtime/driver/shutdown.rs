//! The end of a driver that is told to end: what becomes of open jobs, and how long it may take.

use std::time::Duration;

use gristmill_common::ids::JobId;
use gristmill_common::time::Timestamp;
use tracing::info;

use super::Driver;
use crate::scheduler::Event;

/// How long a driver that ends waits for what it has begun. Raised, a stuck disk keeps a master from
/// ending for longer; lowered, more is left to its successor.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);

/// What becomes of the open jobs of a master that is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenJobs {
    /// They stay as they are, and go on under the next master with the same journal.
    Keep,
    /// They are cancelled and undone: there will be no next master.
    Cancel,
}

/// An end under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Closing {
    open_jobs: OpenJobs,
    /// When nothing is waited for any longer.
    pub(super) until: Timestamp,
}

impl Driver {
    pub(super) fn on_shutdown(&mut self, open_jobs: OpenJobs) {
        if self.closing.is_some() {
            return;
        }
        self.closing = Some(Closing { open_jobs, until: self.clock.now() + SHUTDOWN_PATIENCE });
        let open: Vec<JobId> = self.jobs.open.iter().copied().collect();
        match open_jobs {
            OpenJobs::Keep => info!(open_jobs = open.len(), "stopping: open jobs go on under the next master"),
            OpenJobs::Cancel => {
                info!(open_jobs = open.len(), "stopping: open jobs are cancelled");
                for job in open {
                    self.step(Event::CancelRequested { job });
                }
            }
        }
    }

    /// Whether nothing new is taken in: what is under way ends, and everything else is the next
    /// master's. Jobs that are cancelled still need their workers' answers.
    pub(super) fn hands_over(&self) -> bool {
        self.closing.is_some_and(|closing| closing.open_jobs == OpenJobs::Keep)
    }

    /// Whether an end under way is complete, or its patience over.
    pub(super) fn is_closed(&self) -> bool {
        self.closing.is_some_and(|closing| {
            let jobs_are_over = closing.open_jobs == OpenJobs::Keep || self.jobs.open.is_empty();
            let idle = jobs_are_over && self.tasks.is_empty() && self.outbox.is_empty();
            idle || self.clock.now() >= closing.until
        })
    }
}
