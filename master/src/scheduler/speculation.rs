//! Stragglers: an attempt that takes much longer than its peers took for as much input, or that waits
//! for others on its worker, gets a twin on another worker, if one is idle. The first of the two that
//! finishes is the result.

use std::time::Duration;

use gristmill_common::ids::{AttemptId, JobAttempt, JobId, SessionId, Stage, TaskId};

use super::Scheduler;
use super::attempt::AttemptState;
use super::command::Command;
use super::job::Job;
use super::stage::StageTasks;
use super::view::JobState;
use super::workers::Session;

impl Scheduler {
    /// Sets or clears the time of the next look at stragglers: there is something to look for when a
    /// job has attempts in force and none to assign, and a worker is idle.
    pub(super) fn watch_stragglers(&mut self) {
        let wanted = !self.config.speculation_interval.is_zero()
            && self.jobs.values().any(may_straggle)
            && self.idle_sessions().next().is_some();
        self.next_look = wanted.then(|| self.next_look.unwrap_or(self.now + self.config.speculation_interval));
    }

    /// Gives stragglers twins, the one furthest behind first, as long as workers are idle.
    pub(super) fn look_for_stragglers(&mut self) {
        self.next_look = None;
        let jobs: Vec<JobId> = self.jobs.iter().filter(|(_, job)| may_straggle(job)).map(|(id, _)| *id).collect();
        for job in jobs {
            for (_, task, session) in self.stragglers(job) {
                let Some(idle) = self.idle_beside(job, task, session) else { continue };
                self.assign_twin(job, task, idle);
            }
        }
    }

    /// Attempts far behind, with how far, in descending order.
    fn stragglers(&self, id: JobId) -> Vec<(Duration, TaskId, SessionId)> {
        let job = &self.jobs[&id];
        let mut found = Vec::new();
        let open = self.sessions.iter().filter(|(_, session)| session.is_open());
        for (session, at) in open {
            let queues = at.active.len() > at.profile.slots as usize;
            for attempt in at.active.range(first_of(id)..).take_while(|attempt| attempt.job == id) {
                let AttemptId { task, number } = attempt.attempt;
                let stage = job.stage(task.stage);
                let alone = !stage.twins().contains_key(&task.index);
                let Some(known) = stage.attempts(task.index).find(|it| it.number == number) else { continue };
                let limit = match known.state == AttemptState::Assigned && queues {
                    // It costs nothing to begin it elsewhere.
                    true => Some(self.config.speculation_interval),
                    false => self.straggler_limit(job, stage, task.index),
                };
                let lasts = self.now.since(known.since);
                if let (true, Some(limit)) = (alone, limit.filter(|limit| lasts > *limit)) {
                    found.push((lasts.saturating_sub(limit), task, session));
                }
            }
        }
        found.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        found
    }

    /// How long an attempt of the task may take before it is a straggler; `None` if no peer is done.
    fn straggler_limit(&self, job: &Job, stage: &StageTasks, index: u32) -> Option<Duration> {
        let usual = self.usual_time(job, stage, index)?;
        let limit = usual.saturating_mul(self.config.straggler_percent) / 100;
        Some(limit.max(self.config.straggler_floor))
    }

    /// Sessions that may be given work and have a free slot.
    fn idle_sessions(&self) -> impl Iterator<Item = SessionId> {
        // The least loaded come first: behind one without a free slot, none has one.
        self.sessions.with_room().take_while(|(load, _, _)| *load < Session::full(0)).map(|(_, id, _)| id)
    }

    /// An idle session of another worker than the one that lags, on which the task had no trouble.
    fn idle_beside(&self, job: JobId, task: TaskId, lags: SessionId) -> Option<SessionId> {
        let lagging = self.worker_of(lags);
        let open = &self.jobs[&job];
        let trouble = open.get(task)?.trouble();
        let fits = |id: &SessionId| {
            let worker = self.worker_of(*id);
            worker != lagging && trouble.on(worker) == 0 && !self.distrusts(open, worker)
        };
        self.idle_sessions().find(fits)
    }

    fn assign_twin(&mut self, job: JobId, task: TaskId, session: SessionId) {
        // A twin of a reduce attempt reads every map output, which must all be there.
        if task.stage == Stage::Reduce && !self.jobs[&job].map.is_done() {
            return;
        }
        let open = self.jobs.get_mut(&job).expect("the caller found it");
        let number = open.stage_mut(task.stage).assign_twin(task.index, session, self.now);
        let id = JobAttempt { job, attempt: AttemptId { task, number } };
        self.sessions.update(session, &self.config, |session| {
            session.active.insert(id);
            session.jobs.insert(job);
        });
        let work = self.work_of(job, task);
        self.commands.push(Command::StartAttempt { session, id, work });
        self.notify.insert(job);
    }
}

/// Whether the job has attempts in force and nothing to assign.
fn may_straggle(job: &Job) -> bool {
    job.request.speculation && job.state == JobState::Running && job.active() > 0 && job.assignable().is_none()
}

/// The least attempt id of a job.
fn first_of(job: JobId) -> JobAttempt {
    JobAttempt { job, attempt: AttemptId { task: TaskId::map(0), number: 0 } }
}
