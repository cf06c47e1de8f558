//! Which attempt goes where: jobs by turns, tasks in order, workers by load.

use std::collections::BTreeSet;

use gristmill_common::ids::{AttemptId, JobAttempt, JobId, SessionId, Stage, TaskId};
use gristmill_common::task::SegmentSource;

use super::Scheduler;
use super::command::{AttemptWork, Command};
use super::job::{Job, JobStep};
use super::task::Task;
use super::view::JobState;
use super::workers::Session;

impl Scheduler {
    /// Grants attempts until no worker has room or no task is ready.
    pub(super) fn assign_ready_tasks(&mut self) {
        let mut unplaceable = BTreeSet::new();
        while self.sessions.with_room().next().is_some() {
            // The job with the fewest attempts in force is served first, so that jobs of any
            // length share the workers evenly.
            let assignable = |(id, job): (&JobId, &Job)| {
                let stage = job.assignable().filter(|_| !unplaceable.contains(id))?;
                Some((job.active(), job.order, *id, stage))
            };
            let Some((_, _, id, stage)) = self.jobs.iter().filter_map(assignable).min() else { return };
            match self.place_one(&self.jobs[&id], stage) {
                Some((index, session)) => self.assign(id, TaskId { stage, index }, session),
                None => {
                    unplaceable.insert(id);
                }
            }
        }
    }

    /// What an attempt of the task works on now.
    pub(super) fn work_of(&self, job: &Job, task: TaskId) -> AttemptWork {
        match task.stage {
            Stage::Map => AttemptWork::Map,
            Stage::Reduce => AttemptWork::Reduce { sources: self.sources(job) },
        }
    }

    /// The first ready task for which a worker has room now.
    pub(super) fn place_one(&self, job: &Job, stage: Stage) -> Option<(u32, SessionId)> {
        let tasks = job.stage(stage);
        // A task passed over here waits for a worker that has no room now, so this ends at the
        // first task that had no trouble.
        tasks.ready.iter().find_map(|index| {
            let session = self.best_session(job, stage, &tasks.tasks[*index as usize])?;
            Some((*index, session))
        })
    }

    /// The least loaded session on whose worker the task had the least trouble; for a reduce task
    /// the one among equals that holds most segments.
    fn best_session(&self, job: &Job, stage: Stage, task: &Task) -> Option<SessionId> {
        let trouble = |session: &Session| if task.had_trouble() { task.trouble_on(session.profile.worker) } else { 0 };
        let least_trouble = if !task.had_trouble() {
            0
        } else if task.waits_for_better() {
            self.sessions.iter().filter(|(_, session)| session.is_live()).map(|(_, session)| trouble(session)).min()?
        } else {
            self.sessions.with_room().map(|(_, _, session)| trouble(session)).min()?
        };
        let mut fit = self.sessions.with_room().filter(|(_, _, session)| trouble(session) == least_trouble);
        let (least_load, first, _) = fit.next()?;
        if stage == Stage::Map || job.is_map_only() {
            return Some(first);
        }
        let equals = fit.take_while(|(load, _, _)| *load == least_load).map(|(_, id, _)| id);
        let rank = |best: SessionId, id: SessionId| if job.held_by(id) > job.held_by(best) { id } else { best };
        Some(equals.fold(first, rank))
    }

    fn assign(&mut self, id: JobId, task: TaskId, session: SessionId) {
        let job = self.jobs.get_mut(&id).expect("the caller found the job");
        if job.state == JobState::Queued {
            job.step(JobStep::Begin);
            self.notify.insert(id);
        }
        let number = job.stage_mut(task.stage).assign(task.index, session);
        let attempt = JobAttempt { job: id, attempt: AttemptId { task, number } };
        self.sessions.update(session, &self.config, |session| {
            session.active.insert(attempt);
            session.jobs.insert(id);
        });
        let work = self.work_of(&self.jobs[&id], task);
        self.commands.push(Command::StartAttempt { session, id: attempt, work });
    }

    /// Every map output in force, grouped by holder.
    fn sources(&self, job: &Job) -> Vec<SegmentSource> {
        let source = |(session, held): (&SessionId, &BTreeSet<u32>)| {
            let profile = &self.sessions.open(*session).expect("the outputs of ended sessions are revoked").profile;
            let attempt = |index: &u32| {
                let commit = job.map.tasks[*index as usize].commit().expect("held outputs are in force");
                AttemptId { task: TaskId::map(*index), number: commit.number }
            };
            SegmentSource {
                session: *session,
                address: profile.address.clone(),
                machine: profile.machine.clone(),
                scratch: profile.scratch.clone(),
                attempts: held.iter().map(attempt).collect(),
            }
        };
        job.holders.iter().map(source).collect()
    }
}
