//! The desk's executors: one for each job, started when an attempt needs it.

use std::io;
use std::path::PathBuf;

use gristmill_common::failure::{Disposition, Failure, FailureCode};
use gristmill_common::ids::{JobAttempt, JobId};
use gristmill_common::spec::JobSpec;

use super::Desk;
use crate::agent::crash::{Death, judge};
use crate::agent::job::Executor;
use crate::agent::process::{ExecutorEvent, ExecutorKey};
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
        let handle = self.launcher.launch(key, open)?;
        let slots = vec![None; self.config.slots as usize];
        job.executor = Some(Executor { key, handle, opened: false, killed: None, slots });
        Ok(())
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
            ExecutorEvent::Gone { cause } => self.on_executor_gone(id, cause),
        }
    }

    fn on_executor_gone(&mut self, id: JobId, cause: String) {
        let job = self.jobs.get_mut(&id).expect("the caller found it");
        let executor = job.executor.take().expect("the caller found it");
        let death = Death { cause, opened: executor.opened, killed: executor.killed.clone() };
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
