//! What must hold after each step, worked out from events and commands alone: which attempt is in
//! force, which is committed, who holds what. It shares no code with the scheduler.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_common::counters::Counters;
use gristmill_common::failure::{Disposition, Failure};
use gristmill_common::ids::{AttemptId, JobAttempt, JobId, MasterEpoch, SessionId, Stage, TaskId};
use gristmill_common::task::{AttemptReport, SegmentSource};
use gristmill_master::scheduler::{AttemptWork, Command, Event, JobResult, JobState, Scheduler, WorkerReport};

/// The shadow of a scheduler.
#[derive(Debug)]
pub(super) struct Oracle {
    epoch: MasterEpoch,
    places_per_slot: u32,
    sessions: BTreeMap<SessionId, Session>,
    jobs: BTreeMap<JobId, Job>,
    /// Committed map outputs that were lost and had to be made again.
    pub(super) outputs_lost: u64,
}

#[derive(Debug)]
struct Session {
    slots: u32,
    open: bool,
    suspect: bool,
    holds: BTreeSet<JobAttempt>,
    jobs: BTreeSet<JobId>,
}

#[derive(Debug)]
struct Job {
    reducers: u32,
    tasks: BTreeMap<TaskId, Task>,
    state: JobState,
    decided: bool,
    released: BTreeSet<SessionId>,
}

#[derive(Debug, Default)]
struct Task {
    used: BTreeSet<u32>,
    in_force: Option<(u32, SessionId)>,
    committed: Option<(u32, SessionId)>,
    /// Counters of the attempt committed last, whether or not its output is still there.
    counters: Option<Counters>,
}

type Check = Result<(), String>;

impl Oracle {
    /// The shadow of a new scheduler.
    pub(super) fn new(epoch: MasterEpoch, max_queue_per_slot: u32) -> Self {
        let (sessions, jobs) = (BTreeMap::new(), BTreeMap::new());
        Self { epoch, places_per_slot: 1 + max_queue_per_slot, sessions, jobs, outputs_lost: 0 }
    }

    /// Follows one step and checks it.
    pub(super) fn follow(&mut self, event: &Event, commands: &[Command], scheduler: &Scheduler) -> Check {
        self.take_event(event);
        for command in commands {
            self.take_command(command, event).map_err(|wrong| format!("{command:?}: {wrong}"))?;
        }
        self.check_states(scheduler)
    }

    fn take_event(&mut self, event: &Event) {
        match event {
            Event::JobSubmitted { job, request } => {
                let maps = (0..request.split_bytes.len()).map(|index| TaskId::map(index as u32));
                let reduces = (0..request.reducers).map(TaskId::reduce);
                let tasks = maps.chain(reduces).map(|task| (task, Task::default())).collect();
                let (reducers, state) = (request.reducers, JobState::Queued);
                self.jobs.insert(*job, Job { reducers, tasks, state, decided: false, released: BTreeSet::new() });
            }
            Event::WorkerRegistered { session, profile, .. } => {
                let (holds, jobs) = (BTreeSet::new(), BTreeSet::new());
                let new = Session { slots: profile.slots, open: true, suspect: false, holds, jobs };
                self.sessions.insert(*session, new);
            }
            Event::StreamBroken { session } => self.set_suspect(*session, true),
            Event::StreamResumed { epoch, session } if *epoch == self.epoch => self.set_suspect(*session, false),
            Event::WorkerReported { epoch, session, report } if *epoch == self.epoch => {
                if self.sessions.get(session).is_some_and(|session| session.open) {
                    self.take_report(*session, report);
                }
            }
            Event::StreamResumed { .. }
            | Event::WorkerReported { .. }
            | Event::CancelRequested { .. }
            | Event::JobPublished { .. }
            | Event::PublishFailed { .. }
            | Event::DeadlineReached => {}
        }
    }

    fn set_suspect(&mut self, session: SessionId, suspect: bool) {
        if let Some(session) = self.sessions.get_mut(&session) {
            session.suspect = suspect;
        }
    }

    fn take_report(&mut self, session: SessionId, report: &WorkerReport) {
        let (WorkerReport::AttemptFinished { id, .. } | WorkerReport::AttemptFailed { id, .. }) = report else {
            return;
        };
        let Some(job) = self.jobs.get_mut(&id.job).filter(|job| !job.state.is_terminal()) else { return };
        let Some(task) = job.tasks.get_mut(&id.attempt.task) else { return };
        if task.in_force != Some((id.attempt.number, session)) {
            return;
        }
        task.in_force = None;
        self.sessions.get_mut(&session).expect("it was open").holds.remove(id);
        match report {
            WorkerReport::AttemptFinished { report: AttemptReport { counters, .. }, .. } => {
                task.committed = Some((id.attempt.number, session));
                task.counters = Some(counters.clone());
            }
            WorkerReport::AttemptFailed { failure, .. } => self.lose_named(id.job, failure),
            WorkerReport::Heartbeat | WorkerReport::AttemptStarted { .. } | WorkerReport::WorkerLeft => {}
        }
    }

    fn lose_named(&mut self, job: JobId, failure: &Failure) {
        if failure.disposition != Disposition::RedoInput {
            return;
        }
        let job = self.jobs.get_mut(&job).expect("the caller found it");
        for AttemptId { task, number } in &failure.lost_outputs {
            let task = job.tasks.get_mut(task).expect("workers name known tasks");
            if task.committed.is_some_and(|(committed, _)| committed == *number) {
                task.committed = None;
                self.outputs_lost += 1;
            }
        }
    }

    fn take_command(&mut self, command: &Command, event: &Event) -> Check {
        match command {
            Command::StartAttempt { session, id, work } => self.on_start(*session, *id, work, event),
            Command::CancelAttempt { session, id } => {
                self.open_session(*session)?.holds.remove(id);
                let task = self.task(*id)?;
                ensure(task.in_force == Some((id.attempt.number, *session)), "it is not in force there")?;
                task.in_force = None;
                Ok(())
            }
            Command::DiscardOutput { session, id } => {
                self.open_session(*session)?;
                let Ok(task) = self.task(*id) else { return Ok(()) };
                let committed = task.committed == Some((id.attempt.number, *session));
                let Job { reducers, state, .. } = &self.jobs[&id.job];
                // Map outputs are of no use once the job is over; parts of a succeeded job are.
                let is_part = id.attempt.task.stage == Stage::Reduce || *reducers == 0;
                let matters = !state.is_terminal() || (is_part && *state == JobState::Succeeded);
                ensure(!committed || !matters, "it is the result")
            }
            Command::ReleaseJob { session, job } => {
                self.open_session(*session)?;
                let job = self.jobs.get_mut(job).ok_or("unknown job")?;
                job.released.insert(*session);
                Ok(())
            }
            Command::CloseSession { session, .. } => {
                self.close(*session);
                Ok(())
            }
            Command::PublishJob { job, result } => self.on_publish(*job, result),
            Command::UndoJob { job } => {
                let job = self.jobs.get(job).ok_or("unknown job")?;
                ensure(job.state != JobState::Succeeded, "it had succeeded")
            }
            Command::Record(_) | Command::NotifyWatchers { .. } => Ok(()),
        }
    }

    fn on_start(&mut self, session: SessionId, id: JobAttempt, work: &AttemptWork, event: &Event) -> Check {
        let places = self.places_per_slot;
        let job = self.jobs.get(&id.job).ok_or("unknown job")?;
        ensure(!job.decided && !job.state.is_terminal(), "the job is decided")?;
        match (work, id.attempt.task.stage) {
            (AttemptWork::Map { .. }, Stage::Map) => {}
            (AttemptWork::Reduce { sources }, Stage::Reduce) => self.check_sources(job, sources)?,
            (AttemptWork::Map { .. }, Stage::Reduce) | (AttemptWork::Reduce { .. }, Stage::Map) => {
                return Err("work of the other stage".into());
            }
        }
        let holder = self.open_session(session)?;
        ensure(!holder.suspect, "the session is suspect")?;
        let resumed = matches!(event, Event::StreamResumed { session: resumed, .. } if *resumed == session);
        if holder.holds.contains(&id) {
            return ensure(resumed, "it was assigned before");
        }
        holder.holds.insert(id);
        holder.jobs.insert(id.job);
        ensure(holder.holds.len() <= (holder.slots * places) as usize, "the session has no room")?;
        let task = self.task(id)?;
        ensure(task.used.insert(id.attempt.number), "its number was used before")?;
        ensure(task.committed.is_none(), "the task has a committed attempt in force")?;
        ensure(task.in_force.is_none(), "the task has another attempt in force")?;
        task.in_force = Some((id.attempt.number, session));
        Ok(())
    }

    /// Exactly one attempt of each map, the committed one, at its holder, in order.
    fn check_sources(&self, job: &Job, sources: &[SegmentSource]) -> Check {
        let sessions: Vec<SessionId> = sources.iter().map(|source| source.session).collect();
        ensure(sessions.is_sorted_by(|a, b| a < b), "sources are not in session order")?;
        let mut named = BTreeMap::new();
        for source in sources {
            let open = self.sessions.get(&source.session).is_some_and(|session| session.open);
            ensure(open, "a source is gone")?;
            ensure(source.attempts.is_sorted(), "a source's attempts are not in task order")?;
            for AttemptId { task, number } in &source.attempts {
                ensure(named.insert(*task, (*number, source.session)).is_none(), "a map is named twice")?;
            }
        }
        let maps = job.tasks.iter().filter(|(task, _)| task.stage == Stage::Map);
        let committed: BTreeMap<_, _> = maps.filter_map(|(task, state)| Some((*task, state.committed?))).collect();
        let all = job.tasks.keys().filter(|task| task.stage == Stage::Map).count();
        ensure(committed.len() == all, "a map is not done")?;
        ensure(named == committed, "sources are not the committed attempts")
    }

    fn on_publish(&mut self, id: JobId, result: &JobResult) -> Check {
        let job = self.jobs.get_mut(&id).ok_or("unknown job")?;
        ensure(!job.decided, "it was decided before")?;
        job.decided = true;
        let last = if job.reducers == 0 { Stage::Map } else { Stage::Reduce };
        let mut parts = Vec::new();
        let mut counters = Counters::default();
        for (id, task) in &job.tasks {
            ensure(task.in_force.is_none(), "an attempt is in force")?;
            counters.merge(task.counters.as_ref().ok_or("a task was never committed")?);
            if id.stage == last {
                let (number, _) = task.committed.ok_or("a part is missing")?;
                parts.push(format!("part-{:05}.{id}.{number}", id.index));
            }
        }
        let published: Vec<&String> = result.parts.iter().map(|part| &part.staged_name).collect();
        ensure(published.iter().copied().eq(&parts), "parts are not those of the committed attempts")?;
        ensure(result.counters == counters, "counters are not those of the committed attempts")
    }

    fn close(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.open = false;
        session.holds.clear();
        for job in self.jobs.values_mut().filter(|job| !job.decided && !job.state.is_terminal()) {
            for (task, state) in &mut job.tasks {
                state.in_force = state.in_force.filter(|(_, session)| *session != id);
                let lost = state.committed.is_some_and(|(_, session)| session == id);
                if lost && task.stage == Stage::Map && job.reducers > 0 {
                    state.committed = None;
                    self.outputs_lost += 1;
                }
            }
        }
    }

    fn check_states(&mut self, scheduler: &Scheduler) -> Check {
        for (id, job) in &mut self.jobs {
            let now = scheduler.job(*id).ok_or("a job is forgotten")?.state;
            let forward = match job.state {
                JobState::Queued => true,
                JobState::Running => now != JobState::Queued,
                JobState::Committing => matches!(now, JobState::Committing | JobState::Succeeded | JobState::Failed),
                JobState::Succeeded | JobState::Failed | JobState::Cancelled => now == job.state,
            };
            ensure(forward, &format!("{id} went from {:?} to {now:?}", job.state))?;
            if now.is_terminal() && !job.state.is_terminal() {
                ensure(job.tasks.values().all(|task| task.in_force.is_none()), "a job ended with attempts in force")?;
                let mut had = self.sessions.iter().filter(|(_, session)| session.open && session.jobs.contains(id));
                let released = had.all(|(session, _)| job.released.contains(session));
                ensure(released, &format!("{id} ended and was not released everywhere"))?;
            }
            job.state = now;
        }
        Ok(())
    }

    fn open_session(&mut self, id: SessionId) -> Result<&mut Session, String> {
        let session = self.sessions.get_mut(&id).filter(|session| session.open);
        session.ok_or_else(|| "the session is not open".to_owned())
    }

    fn task(&mut self, id: JobAttempt) -> Result<&mut Task, String> {
        let job = self.jobs.get_mut(&id.job).ok_or("unknown job")?;
        job.tasks.get_mut(&id.attempt.task).ok_or_else(|| "unknown task".to_owned())
    }
}

fn ensure(holds: bool, wrong: &str) -> Check {
    if holds { Ok(()) } else { Err(wrong.to_owned()) }
}
