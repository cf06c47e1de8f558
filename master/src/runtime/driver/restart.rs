//! The first steps of a driver: what an earlier master recorded and did not come to do.

use tracing::info;

use super::effects::Effect;
use super::{Done, Driver, MAX_PLANNING};
use crate::failpoint::failpoint;
use crate::runtime::describe;
use crate::runtime::journal::Change;
use crate::runtime::output::Leftover;
use crate::scheduler::Command;

impl Driver {
    /// Records what became clear when the journal was replayed, goes on with decided jobs, and removes
    /// what jobs without a future left.
    pub(super) fn restart(&mut self, changes: Vec<Change>, commands: Vec<Command>, leftovers: Vec<Leftover>) {
        info!(open_jobs = self.jobs.open.len(), leftovers = leftovers.len(), "journal replayed");
        changes.into_iter().for_each(|change| self.outbox.record(change));
        self.enqueue(commands);
        for job in self.jobs.over_and_not_closed() {
            if !leftovers.iter().any(|leftover| leftover.job == job) {
                self.close(job);
            }
        }
        for leftover in leftovers {
            self.jobs.begin_undoing(leftover.job);
            self.sweeping.insert(leftover.job);
            self.outbox.push(Effect::Sweep(leftover));
        }
        self.open_planning();
    }

    /// Removes what a job without a future left, which the journal knows by now: else the next master
    /// would miss it.
    pub(super) fn sweep(&mut self, leftover: Leftover) {
        let (job, stores) = (leftover.job, self.stores.clone());
        self.tasks.spawn(async move {
            let remove = move || {
                failpoint("driver.sweep").map_err(|error| error.to_string())?;
                leftover.remove(&stores).map_err(|error| describe(&error))
            };
            let result = tokio::task::spawn_blocking(remove).await;
            Done::Undone { job, result: result.unwrap_or_else(|error| Err(error.to_string())) }
        });
    }

    /// Lets jobs be planned, unless leftovers are still being removed.
    pub(super) fn open_planning(&mut self) {
        if self.sweeping.is_empty() {
            self.planning.add_permits(MAX_PLANNING);
        }
    }
}
