//! Which attempt goes where: jobs by turns, tasks in order, workers by load.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::failure::InputPosition;
use gristmill_common::ids::{AttemptId, JobAttempt, JobId, SessionId, Stage, TaskId};
use gristmill_common::task::SegmentSource;

use super::Scheduler;
use super::command::{AttemptWork, Command};
use super::job::{Job, JobStep};
use super::policy::{Candidate, Choose as _, Placement, affinity};
use super::stage::StageTasks;
use super::task::Task;
use super::view::JobState;
use super::workers::Session;

/// Equally loaded sessions that are compared by what they have. Of so many, none holds a notable share; comparing more would cost every reduce task as much as there are workers.
const MAX_COMPARED: usize = 64;

impl Scheduler {
    /// Grants attempts until no worker has room or no task is ready.
    pub(super) fn assign_ready_tasks(&mut self) {
        let (mut unplaceable, mut placed) = (BTreeSet::new(), false);
        while self.sessions.with_room().next().is_some() {
            let assignable = |(id, job): (&JobId, &Job)| {
                let stage = job.assignable().or_else(|| self.too_early(job)).filter(|_| !unplaceable.contains(id))?;
                Some((job.turn(), job.order, *id, stage))
            };
            let Some((_, _, id, stage)) = self.jobs.iter().filter_map(assignable).min() else {
                if !placed || unplaceable.is_empty() {
                    return;
                }
                // Slow workers may be worth their while, now that fast ones have more to do.
                unplaceable.clear();
                placed = false;
                continue;
            };
            match self.place_one(id, &self.jobs[&id], stage) {
                Some((index, session)) => {
                    self.assign(id, TaskId { stage, index }, session);
                    placed = true;
                    if self.jobs.get(&id).is_none_or(|job| job.assignable().is_none()) {
                        // The last job that has tasks to send may send more of them ahead.
                        unplaceable.clear();
                    }
                }
                None => {
                    unplaceable.insert(id);
                }
            }
        }
    }

    /// What an attempt of the task works on now.
    pub(super) fn work_of(&mut self, job: JobId, task: TaskId) -> AttemptWork {
        match task.stage {
            Stage::Map => AttemptWork::Map { skip: self.skipped(job, task) },
            Stage::Reduce => AttemptWork::Reduce { sources: self.sources(job) },
        }
    }

    /// Records that an attempt of the task skips.
    pub(super) fn skipped(&self, job: JobId, task: TaskId) -> Vec<InputPosition> {
        let allows = |job: &&Job| job.request.max_bad_records > 0;
        let known = self.jobs.get(&job).filter(allows).and_then(|job| job.get(task));
        known.map(|task| task.trouble().skipped()).unwrap_or_default()
    }

    /// Sessions that may be given an attempt of the stage now, the least loaded first, with their
    /// load.
    pub(super) fn with_room_for(&self, stage: &StageTasks) -> impl Iterator<Item = (u64, SessionId, &Session)> {
        let full = Session::full(self.queue_depth(stage));
        self.sessions.with_room().take_while(move |(load, _, _)| *load < full)
    }

    /// Assignments of the stage sent ahead for each slot.
    ///
    /// Short attempts are sent far ahead only while no other job has any to send: what is sent cannot
    /// be shared any more, and a job that may send less would find every worker full. The tasks of a job
    /// that has none to send now, such as its reduce tasks, will come to wait behind what is sent, so that it
    /// is less while any other job is open.
    fn queue_depth(&self, stage: &StageTasks) -> u32 {
        let ahead = if self.jobs.len() <= 1 {
            self.config.queue_ahead
        } else if self.jobs.values().filter(|job| job.assignable().is_some()).nth(1).is_none() {
            self.config.queue_ahead_shared
        } else {
            Duration::ZERO
        };
        stage.queue_depth(ahead, &self.config)
    }

    /// The first ready task for which a worker has room now.
    pub(super) fn place_one(&self, id: JobId, job: &Job, stage: Stage) -> Option<(u32, SessionId)> {
        job.stage(stage).place_first(|index, task| self.best_session(id, job, TaskId { stage, index }, task))
    }

    /// The session for an attempt of the task: of those on whose worker it had the least trouble, the
    /// one that the policy chooses.
    fn best_session(&self, job_id: JobId, job: &Job, id: TaskId, task: &Task) -> Option<SessionId> {
        let stage = id.stage;
        let known = task.trouble();
        let unfit = known.prefers_workers() || !job.suspects.is_empty();
        // A worker that the job distrusts is as one on which the task failed.
        let trouble = |session: &Session| {
            let worker = session.profile.worker;
            if unfit { known.on(worker) + usize::from(self.distrusts(job, worker)) } else { 0 }
        };
        let with_room = || self.with_room_for(job.stage(stage));
        let least_trouble = if !unfit {
            0
        } else if known.waits_for_better() || !known.prefers_workers() {
            let live = self.sessions.iter().filter(|(_, session)| session.is_live());
            least(live.map(|(_, session)| trouble(session)))?
        } else {
            least(with_room().map(|(_, _, session)| trouble(session)))?
        };
        let may = |session: &Session| trouble(session) == least_trouble;
        let outpaced = |session: &Session| self.is_outpaced(job_id, job, job.stage(stage), session, may);
        let fit = with_room().filter(|(_, _, it)| may(it) && !outpaced(it));
        match self.config.placement {
            Placement::LeastLoaded => self.least_loaded(job, id, fit),
            policy => {
                let number = task.next_number;
                let attempt = JobAttempt { job: JobId(job.order), attempt: AttemptId { task: id, number } };
                let full = Session::full(self.config.queue_per_slot);
                let candidate = |(load, session, at): (u64, SessionId, &Session)| {
                    let room = u64::from(at.profile.slots) * full.saturating_sub(load);
                    Candidate { session, load, room: room.max(1) }
                };
                policy.choose(attempt, self.placed, &fit.map(candidate).collect::<Vec<_>>())
            }
        }
    }

    /// The first of the least loaded that has most of what the task reads: segments for a reduce task,
    /// the objects that belong to its worker for a map task. Only so many are compared.
    fn least_loaded<'a>(
        &self,
        job: &Job,
        id: TaskId,
        mut fit: impl Iterator<Item = (u64, SessionId, &'a Session)>,
    ) -> Option<SessionId> {
        let key = job.request.affinity.get(id.index as usize).filter(|_| id.stage == Stage::Map);
        let has = |session: SessionId, at: &Session| match (id.stage, key) {
            (Stage::Map, Some(key)) => affinity(*key, u64::from(at.profile.worker.0)),
            (Stage::Map, None) => 0,
            (Stage::Reduce, _) => job.held_by(session) as u64,
        };
        let (least_load, first, at) = fit.next()?;
        if id.stage == Stage::Map && key.is_none() {
            return Some(first);
        }
        let equals = fit.take_while(|(load, _, _)| *load == least_load).take(MAX_COMPARED);
        let rank = |best: (u64, SessionId), (_, session, at): (u64, SessionId, &Session)| {
            let has = has(session, at);
            if has > best.0 { (has, session) } else { best }
        };
        Some(equals.fold((has(first, at), first), rank).1)
    }

    fn assign(&mut self, id: JobId, task: TaskId, session: SessionId) {
        if let Some(failure) = self.jobs.get(&id).and_then(|job| job.out_of_numbers(task)) {
            return self.end_job(id, JobStep::Fail, Some(failure));
        }
        let job = self.jobs.get_mut(&id).expect("the caller found the job");
        if job.state == JobState::Queued {
            job.step(JobStep::Begin);
            self.notify.insert(id);
        }
        let number = job.stage_mut(task.stage).assign(task.index, session, self.now);
        self.placed += 1;
        let attempt = JobAttempt { job: id, attempt: AttemptId { task, number } };
        self.sessions.update(session, &self.config, |session| {
            session.active.insert(attempt);
            session.jobs.insert(id);
        });
        let work = self.work_of(id, task);
        self.commands.push(Command::StartAttempt { session, id: attempt, work });
    }

    /// Every map output in force, grouped by holder; made once for all attempts that see the same.
    fn sources(&mut self, id: JobId) -> Arc<[SegmentSource]> {
        if let Some(known) = &self.jobs[&id].sources {
            return Arc::clone(known);
        }
        let sources = self.list_sources(&self.jobs[&id]);
        self.jobs.get_mut(&id).expect("it was there before").sources = Some(Arc::clone(&sources));
        sources
    }

    /// Every map output in force, grouped by holder.
    pub(super) fn list_sources(&self, job: &Job) -> Arc<[SegmentSource]> {
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

/// The least of `troubles`, which is looked for no further than to the first 0: only few workers ever
/// gave a task trouble.
fn least(troubles: impl Iterator<Item = usize>) -> Option<usize> {
    let mut least = None;
    for trouble in troubles {
        least = Some(least.map_or(trouble, |least: usize| least.min(trouble)));
        if trouble == 0 {
            break;
        }
    }
    least
}
