//! What the desk's jobs need before they can run: asked for when a job's folder is there, and waited for
//! by its attempts.

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::{ContentId, JobAttempt, JobId};
use tokio_util::sync::CancellationToken;

use super::{Desk, DeskEvent};
use crate::agent::job::Attempt;
use crate::agent::supply::{Needs, Supplies};

impl Desk {
    /// Gets what the job, whose folder was just made, runs with.
    pub(super) fn supply(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let binary = match job.binary_sha256.parse::<ContentId>() {
            Ok(binary) => Some(binary).filter(|binary| *binary != self.config.binary),
            Err(error) => {
                let message = format!("the job's binary has no name: {error}");
                job.refusal = Some(Failure::new(FailureCode::WrongBinary, message));
                return;
            }
        };
        let needs = Needs { binary, files: job.spec.files.clone(), folder: self.launcher.scratch.job_dir(id) };
        if needs.is_nothing() {
            job.supplies = Some(Supplies::default());
            return;
        }
        let cancel = CancellationToken::new();
        job.supplying = Some(cancel.clone());
        let (supply, events) = (self.launcher.supply.clone(), self.launcher.events.clone());
        self.launcher.tasks.spawn(async move {
            let result = tokio::select! {
                result = supply.provide(&needs) => result,
                () = cancel.cancelled() => Err(Failure::new(FailureCode::Cancelled, "the job is over")),
            };
            // Without a desk the worker is ending.
            let _ = events.send(DeskEvent::Supplied { job: id, result }).await;
        });
    }

    /// Lets the attempts of a job start, or ends them.
    pub(super) fn on_supplied(&mut self, id: JobId, result: Result<Supplies, Failure>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.supplying = None;
        match result {
            Ok(supplies) => job.supplies = Some(supplies),
            Err(failure) => {
                tracing::warn!(job = %id, reason = failure.message, "job refused");
                job.refusal = Some(failure.clone());
                let of_job = |(other, attempt): (&JobAttempt, &Attempt)| {
                    (other.job == id && matches!(attempt, Attempt::Ready { .. })).then_some(*other)
                };
                let waiting: Vec<JobAttempt> = self.attempts.iter().filter_map(of_job).collect();
                for attempt in waiting {
                    self.end_attempt(attempt, Err(failure.clone()));
                }
            }
        }
    }
}
