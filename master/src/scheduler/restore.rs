//! A scheduler from what an earlier master recorded. Nothing that was recorded is done again; what was
//! not may still be with a worker, so every other task rests until the workers had time to come back.

use std::collections::BTreeMap;

use gristmill_common::ids::{JobAttempt, JobId, MasterEpoch, SessionId, Stage};
use gristmill_common::time::Timestamp;

use super::Scheduler;
use super::command::{AttemptFailure, Command};
use super::config::SchedulerConfig;
use super::job::{Job, JobStep};
use super::planted::Bug;
use super::record::{RestoredFailure, RestoredJob};
use super::task::TaskState;
use super::view::JobState;

/// Attempts of one task under one master. A number is never given twice, and nobody recorded which
/// ones were: each master has a range of its own. A task that needs more fails its job.
pub(super) const NUMBERS_PER_EPOCH: u32 = 100_000;

impl Scheduler {
    /// A scheduler that goes on where an earlier one of the same cluster stopped, with the jobs in the
    /// order of their submission. Returns what is to be done at once.
    ///
    /// # Panics
    ///
    /// If a job comes twice.
    pub fn restore(config: SchedulerConfig, now: Timestamp, jobs: Vec<RestoredJob>) -> (Self, Vec<Command>) {
        let mut scheduler = Scheduler::new(config);
        scheduler.now = now;
        for job in jobs {
            scheduler.restore_job(job);
        }
        scheduler.wait_for_workers();
        // Nobody watches yet.
        scheduler.notify.clear();
        let commands = std::mem::take(&mut scheduler.commands);
        (scheduler, commands)
    }

    fn restore_job(&mut self, restored: RestoredJob) {
        // Uploads are the runtime's business, as are the files that attempts stage elsewhere.
        let RestoredJob { job, request, accepted, commits, uploads: _, failures, differed, rounds, decided, ended } =
            restored;
        self.submitted += 1;
        let reuses = self.config.has(Bug::ReuseNumbers);
        let first = if reuses { 0 } else { first_number(self.config.epoch, accepted) };
        let mut open = Job::new(self.submitted, request, first);
        let decided = decided && !self.config.has(Bug::ForgetDecision);
        let ended = ended.filter(|_| !self.config.has(Bug::ForgetEnd));
        let commits = if self.config.has(Bug::ForgetCommits) { BTreeMap::new() } else { commits };
        open.step(JobStep::Begin);
        open.differed = differed;
        open.rounds = rounds;
        for failure in failures {
            self.restore_failure(&mut open, job, failure);
        }
        if ended.is_none() && !decided {
            let holders = commits.iter().filter(|(task, _)| task.stage == Stage::Map && !open.is_map_only());
            self.expected.extend(holders.map(|(_, commit)| commit.worker));
        }
        for (task, commit) in commits {
            if open.get(task).is_some() {
                open.restore(task, commit);
            }
        }
        match ended {
            Some((state, failure)) => {
                open.state = state;
                self.remember_ended(job, open.into_ended(job, failure));
            }
            None if decided => {
                open.step(JobStep::Decide);
                let result = open.result();
                self.jobs.insert(job, open);
                self.commands.push(Command::PublishJob { job, result });
            }
            None if open.last_stage().is_done() => {
                self.jobs.insert(job, open);
                self.decide(job);
            }
            None => {
                self.jobs.insert(job, open);
            }
        }
    }

    fn restore_failure(&self, open: &mut Job, job: JobId, restored: RestoredFailure) {
        let RestoredFailure { attempt, worker, failure } = restored;
        let allows_bad = open.request.max_bad_records > 0;
        if open.get(attempt.task).is_none() {
            return;
        }
        let stage = open.stage_mut(attempt.task.stage);
        stage.task(attempt.task.index).trouble_mut().count(worker, &failure, allows_bad);
        stage.failed_attempts += 1;
        let id = JobAttempt { job, attempt };
        open.failures.push(AttemptFailure { id, session: SessionId(0), failure, counted: true });
        if open.failures.len() > self.config.failures_kept {
            open.failures.remove(0);
        }
    }

    /// Lets every task that has no result in place rest until the workers had time to come back.
    fn wait_for_workers(&mut self) {
        let until = self.now + self.config.adoption_wait;
        for (id, job) in &mut self.jobs {
            if job.state != JobState::Running {
                continue;
            }
            for stage in [&mut job.map, &mut job.reduce] {
                for index in 0..stage.len() {
                    if matches!(stage.task(index).state, TaskState::Pending { .. }) {
                        stage.rest(index, until);
                        self.resting.insert((until, *id, stage.id(index)));
                    }
                }
            }
        }
        let waits = !self.resting.is_empty();
        self.adoption_ends = waits.then_some(until);
    }
}

/// The first number that attempts get under this master, of a job that was accepted by that one.
fn first_number(epoch: MasterEpoch, accepted: MasterEpoch) -> u32 {
    let masters = u32::try_from(epoch.0.saturating_sub(accepted.0)).unwrap_or(u32::MAX);
    masters.saturating_mul(NUMBERS_PER_EPOCH)
}
