//! How fast workers are, compared with their peers, and which of them would only hold a stage up: near
//! the end of a stage, a task waits for a fast worker if that finishes it sooner than a slow one with
//! room would.

use std::time::Duration;

use gristmill_common::ids::{AttemptId, JobAttempt, JobId, SessionId, Stage, TaskId};
use gristmill_common::time::Timestamp;

use super::Scheduler;
use super::attempt::{Attempt, AttemptState};
use super::config::SchedulerConfig;
use super::job::Job;
use super::stage::StageTasks;
use super::workers::Session;

/// Time that attempts take on the usual worker.
const USUAL_PERCENT: u64 = 100;

/// From here on a worker is slow. Lowered, what a busy machine does to times makes workers wait for
/// nothing; raised, slower ones hold their stages up.
const SLOW_PERCENT: u64 = 200;

/// A shorter time tells more of what else a machine had to do than of its speed.
const MEASURABLE: Duration = Duration::from_millis(50);

/// No worker counts as slower than this, so that sums of times stay small numbers.
const MAX_PERCENT: u64 = 1_000_000;

/// How many times an attempt's time its measurement counts, at least.
const KEPT_TIMES: u32 = 10;

/// How long a worker's attempts took lately.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// In per cent of what their peers took.
    percent: u64,
    /// Until when that says anything of the worker, which may be well again.
    until: Timestamp,
}

impl Pace {
    /// The pace of a worker that was not measured.
    pub(super) const UNKNOWN: Self = Self { percent: USUAL_PERCENT, until: Timestamp::ZERO };

    /// The time of attempts in per cent of what their peers take.
    fn percent(self, now: Timestamp) -> u64 {
        if self.until < now { USUAL_PERCENT } else { self.percent }
    }

    /// Takes note of an attempt that took so long: half of what is known is from the last one.
    fn done(self, percent: u64, took: Duration, now: Timestamp, config: &SchedulerConfig) -> Self {
        Self { percent: self.percent(now).midpoint(percent), until: now + keep(took, config) }
    }

    /// Takes note of an attempt that was not done after so long.
    fn not_done(self, percent: u64, took: Duration, now: Timestamp, config: &SchedulerConfig) -> Self {
        Self { percent: self.percent(now).max(percent), until: now + keep(took, config) }
    }
}

/// How long a measurement counts: the longer, the longer another one takes.
fn keep(took: Duration, config: &SchedulerConfig) -> Duration {
    config.pace_kept.max(took.saturating_mul(KEPT_TIMES))
}

impl Scheduler {
    /// Takes note of how long an attempt that is about to be committed took.
    pub(super) fn measure_done(&mut self, session: SessionId, id: JobAttempt, took: Duration) {
        if let Some(percent) = self.percent_of_usual(id, took) {
            let now = self.now;
            self.sessions.update(session, &self.config, |it| it.pace = it.pace.done(percent, took, now, &self.config));
        }
    }

    /// Takes note of an attempt whose twin was done before it.
    pub(super) fn measure_loser(&mut self, job: JobId, task: TaskId, loser: &Attempt) {
        let id = JobAttempt { job, attempt: AttemptId { task, number: loser.number } };
        let took = self.now.since(loser.since);
        let percent = self.percent_of_usual(id, took);
        if let (AttemptState::Running, Some(percent)) = (loser.state, percent) {
            let now = self.now;
            self.sessions
                .update(loser.session, &self.config, |it| it.pace = it.pace.not_done(percent, took, now, &self.config));
        }
    }

    /// Whether the job's fast workers, of those that may be given the task, would finish all that is left of a
    /// stage before this one, which has room, finished one more attempt.
    pub(super) fn is_outpaced(
        &self,
        id: JobId,
        job: &Job,
        stage: &StageTasks,
        at: &Session,
        may: impl Fn(&Session) -> bool,
    ) -> bool {
        let percent = self.percent_of(at);
        if percent < SLOW_PERCENT || !job.request.speculation {
            return false;
        }
        let here = percent * (1 + at.active.len() as u64 / u64::from(at.profile.slots.max(1)));
        let (mut slots, mut tasks) = (0, stage.ready_count() as u64);
        for (_, peer) in self.sessions.iter().filter(|(_, peer)| peer.is_live() && may(peer)) {
            // Nobody knows when the attempts of other jobs end.
            if self.percent_of(peer) < SLOW_PERCENT && peer.active.iter().all(|attempt| attempt.job == id) {
                slots += u64::from(peer.profile.slots);
                tasks += peer.active.len() as u64;
            }
        }
        slots > 0 && here > USUAL_PERCENT * tasks.div_ceil(slots)
    }

    /// How long an attempt of the task takes on the usual worker; `None` if no peer is done.
    pub(super) fn usual_time(&self, job: &Job, stage: &StageTasks, index: u32) -> Option<Duration> {
        let peers = u128::from(stage.stats.wall_micros);
        let share = match stage.stage {
            Stage::Map if stage.done_bytes > 0 => {
                peers * u128::from(job.request.split_bytes[index as usize]) / u128::from(stage.done_bytes)
            }
            Stage::Map | Stage::Reduce => peers.checked_div(u128::from(stage.done))?,
        };
        (stage.done > 0).then(|| Duration::from_micros(u64::try_from(share).unwrap_or(u64::MAX)))
    }

    /// A time in per cent of the usual one for the task; `None` if that is not known.
    fn percent_of_usual(&self, id: JobAttempt, took: Duration) -> Option<u64> {
        if took < MEASURABLE {
            return Some(USUAL_PERCENT);
        }
        let job = self.jobs.get(&id.job)?;
        let task = id.attempt.task;
        let usual = self.usual_time(job, job.stage(task.stage), task.index)?.as_micros();
        let percent = (took.as_micros() * u128::from(USUAL_PERCENT)).checked_div(usual)?;
        Some(u64::try_from(percent).unwrap_or(u64::MAX).min(MAX_PERCENT))
    }

    /// How slow a worker is by what it did and by what it is at.
    fn percent_of(&self, at: &Session) -> u64 {
        let runs_for = |id: &JobAttempt| {
            let stage = self.jobs.get(&id.job)?.stage(id.attempt.task.stage);
            let attempt = stage.attempts(id.attempt.task.index).find(|it| it.number == id.attempt.number)?;
            let lasts = self.now.since(attempt.since);
            let running = attempt.state == AttemptState::Running && lasts >= MEASURABLE;
            running.then(|| self.percent_of_usual(*id, lasts))?
        };
        // What was assigned first runs; the others wait behind it.
        let first = at.active.iter().take(at.profile.slots as usize);
        first.filter_map(runs_for).fold(at.pace.percent(self.now), u64::max)
    }
}
