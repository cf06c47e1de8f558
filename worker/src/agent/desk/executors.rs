//! The desk's executors: one for each job, started when an attempt needs it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use gristmill_common::failure::{Disposition, Failure, FailureCode};
use gristmill_common::ids::{JobAttempt, JobId};
use gristmill_common::spec::JobSpec;

use super::{Desk, DeskEvent};
use crate::agent::crash::{Death, Ending, ProcessEnd, judge};
use crate::agent::job::Executor;
use crate::agent::process::{ExecutorEvent, ExecutorKey};
use crate::agent::watchdog::Watchdog;
use crate::executor::message::Open;

impl Desk {
    pub(super) fn ensure_executor(&mut self, id: JobId) -> io::Result<()> {
        let job = self.jobs.get_mut(&id).expect("attempts belong to open jobs");
        if job.executor.is_some() {
            return Ok(());
        }
        self.executors += 1;
        let key = ExecutorKey(self.executors);
        let open = Open {
            job: id,
            // The desk forces parts to disk itself, while the slot works on.
            spec: JobSpec { fsync: false, ..job.spec.clone() },
            slots: self.config.slots,
            scratch: self.launcher.scratch.job_dir(id),
            staging: job.staging.clone(),
            positions: PathBuf::new(),
            compress: self.config.compress,
        };
        let program = job.supplies.as_ref().and_then(|supplies| supplies.program.clone());
        let handle = self.launcher.launch(key, open, program)?;
        let slots = vec![None; self.config.slots as usize];
        let watchdog = Watchdog::new(job.spec.record_timeout, slots.len());
        let look_after = watchdog.as_ref().map(Watchdog::interval);
        job.executor = Some(Executor { key, handle, opened: false, killed: None, slots, watchdog });
        if let Some(interval) = look_after {
            self.look_later(id, key, interval);
        }
        Ok(())
    }

    /// Looks at the executor's records after `interval`.
    fn look_later(&self, job: JobId, key: ExecutorKey, interval: Duration) {
        let events = self.launcher.events.clone();
        self.launcher.tasks.spawn(async move {
            tokio::time::sleep(interval).await;
            // Without a desk the worker is ending.
            let _ = events.send(DeskEvent::Look { job, key }).await;
        });
    }

    /// Ends an executor in which a record takes too long; looks on until it has ended.
    pub(super) fn on_look(&mut self, id: JobId, key: ExecutorKey) {
        let executor = self.jobs.get_mut(&id).and_then(|job| job.executor.as_mut());
        let Some(executor) = executor.filter(|executor| executor.key == key && executor.killed.is_none()) else {
            return;
        };
        let stuck = executor.stuck();
        let Some(watchdog) = &executor.watchdog else { return };
        match stuck {
            Some(culprit) => {
                tracing::warn!(job = %id, attempt = %culprit.attempt, limit = ?watchdog.limit(), "record takes too long");
                executor.kill(Ending::TimedOut { culprit, limit: watchdog.limit() });
            }
            None => {
                let interval = watchdog.interval();
                self.look_later(id, key, interval);
            }
        }
    }

    pub(super) fn on_executor(&mut self, id: JobId, key: ExecutorKey, event: ExecutorEvent) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let Some(executor) = job.executor.as_mut().filter(|executor| executor.key == key) else { return };
        match event {
            ExecutorEvent::Opened(Ok(())) => executor.opened = true,
            ExecutorEvent::Opened(Err(message)) => {
                let message = format!("cannot build job {}: {message}", job.spec.job);
                let failure =
                    Failure { disposition: Disposition::Abort, ..Failure::new(FailureCode::UserError, message) };
                job.refusal = Some(failure.clone());
                let victims = executor.victims();
                for victim in victims {
                    self.leave_executor(victim.id);
                    self.end_attempt(victim.id, Err(failure.clone()));
                }
            }
            ExecutorEvent::Ended { id, result } => {
                self.leave_executor(id);
                self.on_ended(id, result);
            }
            ExecutorEvent::Gone { end } => self.on_executor_gone(id, end),
        }
    }

    fn on_executor_gone(&mut self, id: JobId, end: ProcessEnd) {
        let job = self.jobs.get_mut(&id).expect("the caller found it");
        let executor = job.executor.take().expect("the caller found it");
        let memory = self.launcher.executor_memory;
        let death = Death { end, opened: executor.opened, killed: executor.killed.clone(), memory };
        for verdict in judge(&death, executor.victims()) {
            if verdict.suspect {
                self.jobs.get_mut(&id).expect("the caller found it").suspects.insert(verdict.id.attempt.task);
            }
            tracing::warn!(job = %id, attempt = %verdict.id.attempt, failure = %verdict.failure, "attempt lost its executor");
            // A process that was killed cleans nothing up.
            self.delete_outputs(verdict.id);
            self.end_attempt(verdict.id, Err(verdict.failure));
        }
    }

    pub(super) fn leave_executor(&mut self, id: JobAttempt) {
        if let Some(executor) = self.jobs.get_mut(&id.job).and_then(|job| job.executor.as_mut()) {
            executor.leave_slot(id);
        }
    }

    pub(super) fn on_grace_over(&mut self, id: JobAttempt, key: ExecutorKey) {
        let Some(job) = self.jobs.get_mut(&id.job) else { return };
        let runs = |executor: &Executor| executor.slots.iter().flatten().any(|occupant| occupant.id == id);
        if job.executor.as_ref().is_some_and(|executor| executor.key == key && runs(executor)) {
            tracing::warn!(job = %id.job, attempt = %id.attempt, "cancelled attempt does not stop");
            job.kill_executor(&format!("its executor was ended because {} did not stop", id.attempt));
        }
    }
}
