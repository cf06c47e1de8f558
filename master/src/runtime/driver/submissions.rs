//! Submissions: planned beside the driver, answered when the job is in the scheduler's hands and in the
//! journal.

use std::path::PathBuf;
use std::sync::Arc;

use gristmill_common::spec::JobSpec;
use tracing::info;

use super::effects::Effect;
use super::{Done, Driver, PlannedSubmission};
use crate::failpoint::failpoint;
use crate::runtime::handle::{Accepted, MasterGone, Submission, SubmitRefusal};
use crate::runtime::jobs::{Admission, MAX_OPEN_JOBS, Submitter};
use crate::runtime::journal::{AcceptedJob, Change, JournalRecord};
use crate::runtime::output::missing_folders;
use crate::runtime::prepare::{PreparedJob, SubmitError, fresh_job_id, prepare};
use crate::runtime::recipe::Recipe;
use crate::runtime::shipped::JobFiles;
use crate::scheduler::Event;

impl Driver {
    pub(super) fn on_submit(&mut self, mut submission: Submission, reply: Submitter) {
        if self.closing.is_some() {
            return self.answer(reply, Err(MasterGone.into()));
        }
        let clock = self.clock;
        let job = match self.jobs.admit(&submission.key, reply, || fresh_job_id(&clock)) {
            Admission::Known(accepted, reply) => return self.answer(reply, Ok(accepted)),
            Admission::Waiting => return,
            Admission::Busy(reply) => return self.answer(reply, Err(SubmitRefusal::Busy { limit: MAX_OPEN_JOBS })),
            Admission::Plan(job) => job,
        };
        // A worker's machine may fail after its report; what counts must be on disk by then.
        submission.spec.fsync = true;
        let Submission { key, spec, binary_sha256 } = submission;
        let submission = PlannedSubmission { job, key, binary_sha256 };
        self.tasks.spawn(async move {
            let output = spec.output.clone();
            let missing = tokio::task::spawn_blocking(move || missing_folders(&output)).await.unwrap_or_default();
            Done::Looked { submission, spec: Box::new(spec), missing }
        });
    }

    /// It is known what claiming the output would create: that is recorded before it is claimed.
    pub(super) fn on_looked(&mut self, submission: PlannedSubmission, spec: Box<JobSpec>, missing: Vec<PathBuf>) {
        let (job, output, store) = (submission.job, spec.output.clone(), spec.store.clone());
        self.outbox.record(Change::Append(JournalRecord::Claiming { job, output, missing, store }));
        self.outbox.push(Effect::Plan { submission, spec });
    }

    pub(super) fn plan(&mut self, submission: PlannedSubmission, spec: JobSpec) {
        let planning = Arc::clone(&self.planning);
        let (job, binary) = (submission.job, submission.binary_sha256.clone());
        let (files, stores) = (self.files.clone(), self.stores.clone());
        self.tasks.spawn(async move {
            let _permit = planning.acquire().await.expect("it is never closed");
            let prepare = move || {
                let interrupted = |error: std::io::Error| SubmitError::Broken { reason: error.to_string() };
                failpoint("driver.plan").map_err(interrupted)?;
                let mut held = files.hold(&binary, &spec)?;
                let prepared = prepare(spec, job, &stores)?;
                let (spec, plan) = (Arc::clone(&prepared.spec), Arc::clone(&prepared.plan));
                files.keep_recipe(&Recipe { spec, binary_sha256: binary, plan }, &mut held);
                failpoint("driver.planned").map_err(interrupted)?;
                Ok((prepared, held))
            };
            let result = tokio::task::spawn_blocking(prepare).await;
            let result = result.unwrap_or_else(|error| Err(SubmitError::Broken { reason: error.to_string() }));
            Done::Planned { submission, result: Box::new(result) }
        });
    }

    pub(super) fn on_planned(
        &mut self,
        submission: PlannedSubmission,
        result: Result<(PreparedJob, JobFiles), SubmitError>,
    ) {
        let (job, waiting) = (submission.job, self.jobs.planned(&submission.key));
        let answers = match result {
            Ok((prepared, files)) if self.closing.is_none() => Ok(self.accept(submission, prepared, files)),
            Ok((given_up, _)) => {
                // The claim is given back, which takes as long as its store does. Its record stays: if the process
                // ends before that, the next one finds it.
                tokio::task::spawn_blocking(move || drop(given_up));
                for reply in waiting {
                    self.answer(reply, Err(MasterGone.into()));
                }
                return;
            }
            Err(error) => {
                info!(reason = %error, "job rejected");
                Err(SubmitRefusal::Rejected(Arc::new(error)))
            }
        };
        let rejected = answers.is_err();
        for reply in waiting {
            self.answer(reply, answers.clone());
        }
        if rejected {
            self.outbox.record(Change::Forget(job));
        }
    }

    fn accept(&mut self, submission: PlannedSubmission, prepared: PreparedJob, files: JobFiles) -> Accepted {
        let PreparedJob { job, spec, plan, claim, request } = prepared;
        info!(
            %job,
            name = spec.job,
            output = %spec.output,
            maps = request.split_bytes.len(),
            reducers = request.reducers,
            "job accepted"
        );
        let accepted = AcceptedJob {
            job,
            key: submission.key,
            spec,
            binary_sha256: submission.binary_sha256,
            plan,
            submitted: self.clock.wall(),
            epoch: self.scheduler.epoch(),
            recipe: files.recipe(),
        };
        let warnings = accepted.plan.warnings.clone();
        self.jobs.insert(&accepted, claim, files);
        self.outbox.record(Change::Append(JournalRecord::Accepted(Box::new(accepted))));
        self.step(Event::JobSubmitted { job, request });
        Accepted { job, warnings }
    }
}
