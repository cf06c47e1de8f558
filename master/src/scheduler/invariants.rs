//! What must hold between two events. Tests and the simulation ask after every step; it looks at
//! everything, so a master does not.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_common::counters::Counters;
use gristmill_common::ids::{JobAttempt, JobId, SessionId, Stage, TaskId};
use gristmill_common::task::AttemptStats;

use super::Scheduler;
use super::job::Job;
use super::stage::StageTasks;
use super::task::{Task, TaskState};
use super::view::JobState;

impl Scheduler {
    /// Says which invariant is broken, if any is.
    ///
    /// # Errors
    ///
    /// If the queues, indexes and sums disagree with the tasks, if an attempt is in force on two
    /// sides differently, if a running job has nothing that could make it progress, or if a worker
    /// is idle while a task could run on it.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.sessions.check(&self.config)?;
        let mut attempts: BTreeMap<SessionId, BTreeSet<JobAttempt>> = BTreeMap::new();
        for (id, job) in &self.jobs {
            check_job(job).map_err(|broken| format!("{id}: {broken}"))?;
            for (session, attempt) in job.active_attempts(*id) {
                attempts.entry(session).or_default().insert(attempt);
            }
        }
        for (id, session) in self.sessions.iter() {
            let by_tasks = attempts.remove(&id).unwrap_or_default();
            ensure(by_tasks == session.active, || format!("{id} holds {:?}, tasks say {by_tasks:?}", session.active))?;
            let queued = self.config.queue_per_slot.max(self.config.max_queue_per_slot);
            let room = u64::from(session.profile.slots) * (1 + u64::from(queued));
            ensure(session.active.len() as u64 <= room, || format!("{id} holds more than its {room} places"))?;
        }
        ensure(attempts.is_empty(), || format!("attempts in force on unknown sessions: {attempts:?}"))?;
        self.check_resting()?;
        self.check_holders()?;
        self.check_ended()?;
        self.check_nothing_idles()?;
        ensure(self.commands.is_empty() && self.notify.is_empty(), || "commands are left over".to_owned())
    }

    fn check_resting(&self) -> Result<(), String> {
        let mut resting = BTreeSet::new();
        for (id, job) in &self.jobs {
            for stage in [&job.map, &job.reduce] {
                resting.extend(stage.resting().map(|(until, index)| (until, *id, stage.id(index))));
            }
        }
        ensure(resting == self.resting, || format!("tasks that rest are {resting:?}, not {:?}", self.resting))
    }

    fn check_holders(&self) -> Result<(), String> {
        for (id, job) in &self.jobs {
            let mut holders: BTreeMap<SessionId, BTreeSet<u32>> = BTreeMap::new();
            let tasks = (0..).zip(&job.map.tasks).filter(|_| !job.is_map_only());
            for (index, commit) in tasks.filter_map(|(index, task)| Some((index, task.commit()?))) {
                holders.entry(commit.session).or_default().insert(index);
            }
            ensure(holders == job.holders, || format!("{id}: holders are {holders:?}, not {:?}", job.holders))?;
            let gone = holders.keys().find(|session| self.sessions.open(**session).is_none());
            ensure(gone.is_none() || !job.needs_map_outputs(), || format!("{id} counts on outputs of {gone:?}"))?;
            let known = job.sources.as_ref().filter(|_| job.needs_map_outputs());
            ensure(known.is_none_or(|known| *known == self.list_sources(job)), || format!("{id}: stale sources"))?;
        }
        Ok(())
    }

    fn check_ended(&self) -> Result<(), String> {
        let terminal = self.ended.values().all(|job| job.view.state.is_terminal());
        ensure(terminal, || "an ended job is not in its last state".to_owned())?;
        let open_too: Vec<&JobId> = self.ended.keys().filter(|id| self.jobs.contains_key(id)).collect();
        ensure(open_too.is_empty(), || format!("jobs both open and ended: {open_too:?}"))?;
        let order: BTreeSet<JobId> = self.ended_order.iter().copied().collect();
        let same = order.len() == self.ended_order.len() && order.iter().eq(self.ended.keys());
        ensure(same && order.len() <= self.config.ended_jobs_kept, || format!("ended jobs are {:?}", self.ended_order))
    }

    fn check_nothing_idles(&self) -> Result<(), String> {
        for (id, job) in &self.jobs {
            let idle = job.assignable().and_then(|stage| Some((stage, self.place_one(*id, job, stage)?)));
            ensure(idle.is_none(), || format!("{id}: a task could run: {idle:?}"))?;
        }
        Ok(())
    }
}

fn check_job(job: &Job) -> Result<(), String> {
    check_stage(&job.map)?;
    check_stage(&job.reduce)?;
    let pending = job.map.has_ready() || job.reduce.has_ready();
    let rests = job.map.resting().next().is_some() || job.reduce.resting().next().is_some();
    match job.state {
        JobState::Queued => ensure(job.active() == 0, || "a queued job has attempts".to_owned()),
        // Every running job has something that will bring the next event.
        JobState::Running => ensure(job.active() > 0 || pending || rests, || "nothing can happen to it".to_owned()),
        JobState::Committing => {
            ensure(job.last_stage().is_done() && job.active() == 0, || "it commits with work left".to_owned())
        }
        JobState::Succeeded | JobState::Failed | JobState::Cancelled => Err("it is over but not ended".to_owned()),
    }
}

fn check_stage(stage: &StageTasks) -> Result<(), String> {
    let (mut ready, mut done, mut active, mut done_bytes) = (BTreeSet::new(), 0, 0, 0);
    let (mut counters, mut stats) = (Counters::default(), AttemptStats::default());
    for (index, task) in (0..).zip(&stage.tasks) {
        match &task.state {
            TaskState::Pending { rests_until: None } => {
                ready.insert(index);
            }
            TaskState::Pending { rests_until: Some(_) } => {}
            TaskState::Active(_) => active += stage.attempts(index).count() as u32,
            TaskState::Done(commit) => {
                done += 1;
                done_bytes += commit.bytes;
            }
        }
        if let Some(committed) = &task.committed {
            counters.merge(&committed.report.counters);
            stats.merge(&committed.report.stats);
        }
        check_task(stage.id(index), task)?;
    }
    let idle = stage.twins().keys().find(|index| stage.get(**index).is_none_or(|task| task.active().is_none()));
    ensure(idle.is_none(), || format!("{idle:?} has a twin and no attempt"))?;
    let name = stage.stage;
    ensure(ready == stage.ready(), || format!("ready {name} tasks are {ready:?}, not {:?}", stage.ready()))?;
    ensure((done, active) == (stage.done, stage.active), || format!("{name} tasks are miscounted"))?;
    ensure(done_bytes == stage.done_bytes, || format!("bytes of done {name} tasks are {done_bytes}"))?;
    ensure(counters == stage.counters && stats == stage.stats, || format!("sums of {name} tasks are wrong"))
}

fn check_task(id: TaskId, task: &Task) -> Result<(), String> {
    let number = task.active().map(|attempt| attempt.number);
    ensure(number.is_none_or(|number| number < task.next_number), || format!("{id} will use a number again"))?;
    let lost_reduce = id.stage == Stage::Reduce && task.committed.is_some() && task.commit().is_none();
    ensure(!lost_reduce, || format!("{id} was committed and is no longer"))
}

fn ensure(holds: bool, broken: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken()) }
}
