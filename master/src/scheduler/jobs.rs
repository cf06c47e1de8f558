//! What happens when jobs come, decide and end.

use std::sync::Arc;

use gristmill_common::failure::Failure;
use gristmill_common::ids::JobId;

use super::Scheduler;
use super::command::Command;
use super::event::JobRequest;
use super::job::{EndedJob, Job, JobStep};
use super::record::Record;
use super::view::JobState;

impl Scheduler {
    pub(super) fn on_job_submitted(&mut self, job: JobId, request: Arc<JobRequest>) {
        assert!(!self.jobs.contains_key(&job) && !self.ended.contains_key(&job), "job id {job} was used before");
        self.submitted += 1;
        let open = Job::new(self.submitted, request, 0);
        let nothing_to_do = open.last_stage().is_done();
        self.jobs.insert(job, open);
        self.notify.insert(job);
        if nothing_to_do {
            self.open_job(job).step(JobStep::Begin);
            self.decide(job);
        }
    }

    pub(super) fn on_cancel_requested(&mut self, job: JobId) {
        // Once the decision is made, the output is as good as there.
        let state = self.jobs.get(&job).map(|job| job.state);
        if state.and_then(|state| state.after(JobStep::Cancel)).is_some() {
            self.end_job(job, JobStep::Cancel, None);
        }
    }

    pub(super) fn on_job_published(&mut self, job: JobId) {
        if self.is_committing(job) {
            self.end_job(job, JobStep::Publish, None);
        }
    }

    pub(super) fn on_publish_failed(&mut self, job: JobId, failure: Failure) {
        if self.is_committing(job) {
            self.end_job(job, JobStep::Fail, Some(failure));
        }
    }

    /// The parts of the job are complete: nothing else of it matters, not even lost map outputs.
    pub(super) fn decide(&mut self, job: JobId) {
        self.cancel_attempts(job);
        self.record(|| Record::Decided { job });
        let open = self.open_job(job);
        open.step(JobStep::Decide);
        let result = open.result();
        self.commands.push(Command::PublishJob { job, result });
        self.notify.insert(job);
    }

    /// Takes the job to its last state.
    pub(super) fn end_job(&mut self, job: JobId, step: JobStep, failure: Option<Failure>) {
        self.cancel_attempts(job);
        let mut open = self.jobs.remove(&job).expect("the caller knows that the job is open");
        open.step(step);
        let state = open.state;
        self.record(|| Record::Ended { job, state, failure: failure.clone() });
        let open_sessions = self.sessions.iter().filter(|(_, session)| session.is_open());
        let with_job = open_sessions.filter(|(_, session)| session.jobs.contains(&job));
        let releases: Vec<Command> = with_job.map(|(session, _)| Command::ReleaseJob { session, job }).collect();
        self.commands.extend(releases);
        // Workers are told first, so that less is staged while the rest is removed.
        if open.state != JobState::Succeeded {
            self.commands.push(Command::UndoJob { job });
        }
        self.remember_ended(job, open.into_ended(job, failure));
        self.notify.insert(job);
    }

    /// Remembers a job that is over, and forgets the oldest ones.
    pub(super) fn remember_ended(&mut self, job: JobId, ended: EndedJob) {
        self.ended.insert(job, ended);
        self.ended_order.push_back(job);
        while self.ended_order.len() > self.config.ended_jobs_kept {
            let oldest = self.ended_order.pop_front().expect("it is not empty");
            self.ended.remove(&oldest);
            self.sessions.forget_job(oldest);
        }
    }

    /// Stops every attempt in force and every rest of the job's tasks.
    fn cancel_attempts(&mut self, job: JobId) {
        let open = self.open_job(job);
        for (session, id) in open.cancel_all(job) {
            self.cancel_attempt(session, id);
        }
        self.resting.retain(|(_, of, _)| *of != job);
    }

    fn open_job(&mut self, job: JobId) -> &mut Job {
        self.jobs.get_mut(&job).expect("the caller knows that the job is open")
    }

    fn is_committing(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|job| job.state == JobState::Committing)
    }
}
