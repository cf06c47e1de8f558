//! Submissions: planned beside the driver, answered when the job is in the scheduler's hands.

use std::sync::Arc;

use tracing::info;

use super::{Done, Driver, PlannedSubmission, answer};
use crate::runtime::handle::{Accepted, MasterGone, Submission, SubmitRefusal};
use crate::runtime::jobs::{Admission, MAX_OPEN_JOBS, Submitter};
use crate::runtime::prepare::{PreparedJob, SubmitError, fresh_job_id, prepare};
use crate::scheduler::Event;

impl Driver {
    pub(super) fn on_submit(&mut self, mut submission: Submission, reply: Submitter) {
        if self.closing.is_some() {
            return answer(reply, Err(MasterGone.into()));
        }
        let clock = self.clock;
        let job = match self.jobs.admit(&submission.key, reply, || fresh_job_id(&clock)) {
            Admission::Known(accepted, reply) => return answer(reply, Ok(accepted)),
            Admission::Waiting => return,
            Admission::Busy(reply) => return answer(reply, Err(SubmitRefusal::Busy { limit: MAX_OPEN_JOBS })),
            Admission::Plan(job) => job,
        };
        // A worker's machine may fail after its report; what counts must be on disk by then.
        submission.spec.fsync = true;
        let Submission { key, spec, binary_sha256 } = submission;
        let planning = Arc::clone(&self.planning);
        self.tasks.spawn(async move {
            let _permit = planning.acquire().await.expect("it is never closed");
            let result = tokio::task::spawn_blocking(move || prepare(spec, job)).await;
            let result = result.unwrap_or_else(|error| Err(SubmitError::Broken { reason: error.to_string() }));
            Done::Planned { submission: PlannedSubmission { key, binary_sha256 }, result: Box::new(result) }
        });
    }

    pub(super) fn on_planned(&mut self, submission: PlannedSubmission, result: Result<PreparedJob, SubmitError>) {
        let waiting = self.jobs.planned(&submission.key);
        let answers = match result {
            Ok(prepared) if self.closing.is_none() => Ok(self.accept(submission, prepared)),
            Ok(_given_up) => Err(MasterGone.into()),
            Err(error) => {
                info!(reason = %error, "job rejected");
                Err(SubmitRefusal::Rejected(Arc::new(error)))
            }
        };
        for reply in waiting {
            answer(reply, answers.clone());
        }
    }

    fn accept(&mut self, submission: PlannedSubmission, prepared: PreparedJob) -> Accepted {
        let (job, request) = (prepared.job, Arc::clone(&prepared.request));
        let accepted = Accepted { job, warnings: prepared.plan.warnings.clone() };
        info!(
            %job,
            name = prepared.spec.job,
            output = %prepared.spec.output,
            maps = request.split_bytes.len(),
            reducers = request.reducers,
            "job accepted"
        );
        self.jobs.insert(&submission.key, submission.binary_sha256, prepared, self.clock.wall());
        self.step(Event::JobSubmitted { job, request });
        accepted
    }
}
