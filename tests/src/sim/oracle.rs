//! What must hold after each step, worked out from events and commands alone: which attempt is in
//! force, which is committed, who holds what. It shares no code with the scheduler.

use std::collections::{BTreeMap, BTreeSet};

use gristmill_common::counters::Counters;
use gristmill_common::failure::{Disposition, Failure, FailureCode};
use gristmill_common::ids::{AttemptId, JobAttempt, JobId, MasterEpoch, SessionId, Stage, TaskId, WorkerId};
use gristmill_common::task::{AttemptOutput, Offer, SegmentSource};
use gristmill_master::scheduler::{AttemptWork, Command, Event, JobResult, JobState, Record, Scheduler, WorkerReport};

/// The shadow of a scheduler.
#[derive(Debug)]
pub(super) struct Oracle {
    epoch: MasterEpoch,
    places_per_slot: u32,
    sessions: BTreeMap<SessionId, Session>,
    jobs: BTreeMap<JobId, Job>,
    /// What open sessions offered and nobody refused.
    offered: BTreeSet<(SessionId, JobAttempt)>,
    /// The finished attempt that the event under way reports.
    finishing: Option<(SessionId, JobAttempt)>,
    /// Map outputs that somebody could not reach: they may be made again.
    doubted: BTreeSet<JobAttempt>,
    /// Committed map outputs that were lost and had to be made again.
    pub(super) outputs_lost: u64,
    /// Offers that were adopted or taken back.
    pub(super) adopted: u64,
    /// Second attempts beside a first one.
    pub(super) twins: u64,
    /// Committed reduce attempts that were revoked.
    pub(super) revoked: u64,
}

#[derive(Debug)]
struct Session {
    worker: WorkerId,
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
    /// Numbers ever given, under any master.
    used: BTreeSet<u32>,
    in_force: BTreeMap<u32, SessionId>,
    committed: Option<(u32, SessionId)>,
    /// The attempt committed last and the hash of its map output.
    last: Option<(u32, u64)>,
    /// What each reduce attempt was given to read: the hashes of all map outputs.
    read: BTreeMap<u32, Vec<u64>>,
    /// Counters of the attempt committed last, whether or not its output is still there.
    counters: Option<Counters>,
}

type Check = Result<(), String>;

impl Oracle {
    /// The shadow of a new scheduler.
    pub(super) fn new(epoch: MasterEpoch, max_queue_per_slot: u32) -> Self {
        let (sessions, jobs) = (BTreeMap::new(), BTreeMap::new());
        Self {
            epoch,
            places_per_slot: 1 + max_queue_per_slot,
            sessions,
            jobs,
            offered: BTreeSet::new(),
            finishing: None,
            doubted: BTreeSet::new(),
            outputs_lost: 0,
            adopted: 0,
            twins: 0,
            revoked: 0,
        }
    }

    /// The master died and another one begins, of which all is known that is in the journal: the
    /// records of each job, in order. A job whose acceptance is not in it never was.
    pub(super) fn restart(&mut self, epoch: MasterEpoch, journal: &BTreeMap<JobId, Vec<Record>>) {
        self.epoch = epoch;
        self.sessions.clear();
        self.offered.clear();
        self.jobs.retain(|id, _| journal.contains_key(id));
        for (id, job) in &mut self.jobs {
            job.state = JobState::Running;
            job.decided = false;
            job.released.clear();
            for task in job.tasks.values_mut() {
                (task.committed, task.last, task.counters) = (None, None, None);
                task.in_force.clear();
            }
            for record in &journal[id] {
                job.remember(record);
            }
        }
    }

    /// Follows one step and checks it.
    pub(super) fn follow(&mut self, event: &Event, commands: &[Command], scheduler: &Scheduler) -> Check {
        self.take_event(event);
        self.follow_commands(event, commands)?;
        if let Some((session, id)) = self.finishing.take() {
            let left = self.task(id).is_ok_and(|task| task.in_force.get(&id.attempt.number) == Some(&session));
            ensure(!left, "an attempt in force finished and is neither committed nor stopped")?;
        }
        self.check_states(scheduler)
    }

    /// Follows what is to be done at once after a restart.
    pub(super) fn follow_commands(&mut self, event: &Event, commands: &[Command]) -> Check {
        for command in commands {
            self.take_command(command, event).map_err(|wrong| format!("{wrong}, in {command:?}"))?;
        }
        Ok(())
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
            Event::WorkerRegistered { session, profile, offers } => {
                let (holds, jobs) = (BTreeSet::new(), BTreeSet::new());
                let (worker, slots) = (profile.worker, profile.slots);
                let new = Session { worker, slots, open: true, suspect: false, holds, jobs };
                self.end_sessions_of(worker);
                self.sessions.insert(*session, new);
                offers.iter().for_each(|offer| self.take_offer(*session, offer));
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
        let offered = self.offered.contains(&(session, *id));
        if task.in_force.get(&id.attempt.number) != Some(&session) && !offered {
            return;
        }
        match report {
            WorkerReport::AttemptFinished { .. } => self.finishing = Some((session, *id)),
            WorkerReport::AttemptFailed { failure, .. } => {
                task.in_force.remove(&id.attempt.number);
                self.sessions.get_mut(&session).expect("it was open").holds.remove(id);
                self.lose_named(id.job, failure);
            }
            WorkerReport::Heartbeat
            | WorkerReport::AttemptStarted { .. }
            | WorkerReport::UploadsOpened { .. }
            | WorkerReport::WorkerLeft => {}
        }
    }

    /// A worker that registers again ends its earlier session.
    fn end_sessions_of(&mut self, worker: WorkerId) {
        let of_worker =
            |(id, session): (&SessionId, &Session)| (session.worker == worker && session.open).then_some(*id);
        let earlier: Vec<SessionId> = self.sessions.iter().filter_map(of_worker).collect();
        earlier.into_iter().for_each(|session| self.close(session));
    }

    /// A map output that is the one committed last counts again; anything else may be adopted.
    fn take_offer(&mut self, session: SessionId, offer: &Offer) {
        self.offered.insert((session, offer.id));
        let Some(job) = self.jobs.get_mut(&offer.id.job) else { return };
        let open = !job.decided && !job.state.is_terminal();
        let Some(task) = job.tasks.get_mut(&offer.id.attempt.task).filter(|_| open) else { return };
        let same = offer.content_hash.is_some_and(|hash| task.last == Some((offer.id.attempt.number, hash)));
        if same && task.committed.is_none() {
            task.committed = Some((offer.id.attempt.number, session));
            self.adopted += 1;
        }
    }

    fn lose_named(&mut self, job: JobId, failure: &Failure) {
        if failure.disposition != Disposition::RedoInput {
            return;
        }
        if failure.code == FailureCode::SourceUnreachable {
            let lost = failure.lost_outputs.iter();
            self.doubted.extend(lost.map(|attempt| JobAttempt { job, attempt: *attempt }));
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
                let adopted = self.offered.remove(&(*session, *id));
                let in_force = self.task(*id)?.in_force.remove(&id.attempt.number);
                ensure(adopted || in_force == Some(*session), "it is not in force there")
            }
            Command::DiscardOutput { session, id } => {
                self.open_session(*session)?;
                self.offered.remove(&(*session, *id));
                let Ok(task) = self.task(*id) else { return Ok(()) };
                let committed = task.committed.is_some_and(|(number, _)| number == id.attempt.number);
                let Job { reducers, state, .. } = &self.jobs[&id.job];
                // Map outputs are of no use once the job is over; parts of a succeeded job are.
                let is_part = id.attempt.task.stage == Stage::Reduce || *reducers == 0;
                let matters = !state.is_terminal() || (is_part && *state == JobState::Succeeded);
                ensure(!committed || !matters, "it is the result")
            }
            Command::ReleaseJob { session, job } => {
                self.open_session(*session)?;
                self.offered.retain(|(at, id)| (at, &id.job) != (session, job));
                if let Some(job) = self.jobs.get_mut(job) {
                    job.released.insert(*session);
                }
                Ok(())
            }
            Command::CloseSession { session, .. } => {
                self.close(*session);
                Ok(())
            }
            Command::ProceedUpload { .. } => Err("nobody uploads".to_owned()),
            Command::PublishJob { job, result } => self.on_publish(*job, result),
            Command::UndoJob { job } => {
                let job = self.jobs.get(job).ok_or("unknown job")?;
                ensure(job.state != JobState::Succeeded, "it had succeeded")
            }
            Command::Record(record) => self.on_record(record),
            Command::NotifyWatchers { .. } => Ok(()),
        }
    }

    fn on_start(&mut self, session: SessionId, id: JobAttempt, work: &AttemptWork, event: &Event) -> Check {
        let places = self.places_per_slot;
        let job = self.jobs.get(&id.job).ok_or("unknown job")?;
        ensure(!job.decided && !job.state.is_terminal(), "the job is decided")?;
        match (work, id.attempt.task.stage) {
            (AttemptWork::Map { .. }, Stage::Map) => {}
            (AttemptWork::Reduce { sources }, Stage::Reduce) => self.check_sources(id.job, job, sources)?,
            (AttemptWork::Map { .. }, Stage::Reduce) | (AttemptWork::Reduce { .. }, Stage::Map) => {
                return Err("work of the other stage".into());
            }
        }
        let read: Vec<u64> = job.map_hashes();
        let adopted = self.offered.contains(&(session, id));
        let holder = self.open_session(session)?;
        ensure(!holder.suspect, "the session is suspect")?;
        let resumed = matches!(event, Event::StreamResumed { session: resumed, .. } if *resumed == session);
        if holder.holds.contains(&id) {
            return ensure(resumed || adopted, "it was assigned before");
        }
        let worker = holder.worker;
        holder.holds.insert(id);
        holder.jobs.insert(id.job);
        let room = holder.holds.len() <= (holder.slots * places) as usize;
        let beside = self.task(id)?.in_force.values().copied().collect::<Vec<_>>();
        let doubted = self.doubted.clone();
        let sessions = &self.sessions;
        let elsewhere = beside.iter().all(|other| sessions.get(other).is_some_and(|other| other.worker != worker));
        self.adopted += u64::from(adopted);
        self.twins += u64::from(!beside.is_empty());
        let task = self.task(id)?;
        if let Some((number, _)) = task.committed {
            let attempt = AttemptId { task: id.attempt.task, number };
            if doubted.contains(&JobAttempt { job: id.job, attempt }) {
                task.committed = None;
            }
        }
        ensure(adopted || task.used.insert(id.attempt.number), "its number was used before")?;
        ensure(adopted || room, "the session has no room")?;
        ensure(task.committed.is_none(), "the task has a committed attempt in force")?;
        ensure(beside.len() < 2, "the task has two other attempts in force")?;
        ensure(adopted || elsewhere, "its twin runs on the same worker")?;
        task.in_force.insert(id.attempt.number, session);
        task.read.entry(id.attempt.number).or_insert(read);
        Ok(())
    }

    fn on_record(&mut self, record: &Record) -> Check {
        match record {
            Record::Committed { id, .. } => {
                ensure(self.finishing.take_if(|(_, finished)| finished == id).is_some(), "it did not finish now")?;
                let (number, job) = (id.attempt.number, self.jobs.get(&id.job).ok_or("unknown job")?);
                let task = job.tasks.get(&id.attempt.task).ok_or("unknown task")?;
                ensure(!job.decided && !job.state.is_terminal(), "the job is decided")?;
                ensure(task.committed.is_none(), "the task has a committed attempt in force")?;
                let in_force = task.in_force.get(&number).copied();
                let offered = self.offered.iter().find(|(_, offered)| offered == id).map(|(session, _)| *session);
                let session = in_force.or(offered).ok_or("it is not in force")?;
                self.offered.remove(&(session, *id));
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.holds.remove(id);
                }
                let job = self.jobs.get_mut(&id.job).expect("it was there before");
                job.remember(record);
                let task = job.tasks.get_mut(&id.attempt.task).expect("it was there before");
                task.committed = Some((number, session));
                Ok(())
            }
            Record::Revoked { job, reduces, .. } => {
                self.revoked += reduces.len() as u64;
                self.jobs.get_mut(job).ok_or("unknown job")?.remember(record);
                Ok(())
            }
            Record::Decided { job } => {
                let job = self.jobs.get(job).ok_or("unknown job")?;
                ensure(!job.decided && job.state != JobState::Committing, "it was decided before")
            }
            Record::Uploading { .. } | Record::Failed { .. } | Record::Ended { .. } => Ok(()),
        }
    }

    /// Exactly one attempt of each map, the committed one, at its holder, in order.
    fn check_sources(&self, id: JobId, job: &Job, sources: &[SegmentSource]) -> Check {
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
        let replaced = |task: &TaskId| {
            let (number, _) = committed[task];
            self.doubted.contains(&JobAttempt { job: id, attempt: AttemptId { task: *task, number } })
        };
        let right = named.iter().all(|(task, attempt)| committed.get(task) == Some(attempt) || replaced(task));
        ensure(right && named.len() == committed.len(), "sources are not the committed attempts")
    }

    fn on_publish(&mut self, id: JobId, result: &JobResult) -> Check {
        let job = self.jobs.get_mut(&id).ok_or("unknown job")?;
        ensure(!job.decided, "it was decided before")?;
        job.decided = true;
        let last = if job.reducers == 0 { Stage::Map } else { Stage::Reduce };
        let mut parts = Vec::new();
        let mut counters = Counters::default();
        for (id, task) in &job.tasks {
            ensure(task.in_force.is_empty(), "an attempt is in force")?;
            counters.merge(task.counters.as_ref().ok_or("a task was never committed")?);
            if id.stage == last {
                let (number, _) = task.committed.ok_or("a part is missing")?;
                parts.push(format!("part-{:05}.{id}.{number}", id.index));
            }
        }
        let reduces = job.tasks.iter().filter(|(task, _)| task.stage == Stage::Reduce);
        let mut read = reduces.filter_map(|(_, task)| task.read.get(&task.committed?.0));
        let first = read.next();
        ensure(read.all(|it| Some(it) == first), "its parts were made of different map outputs")?;
        let published: Vec<&String> = result.parts.iter().map(|part| &part.staged_name).collect();
        ensure(published.iter().copied().eq(&parts), "parts are not those of the committed attempts")?;
        ensure(result.counters == counters, "counters are not those of the committed attempts")
    }

    fn close(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.open = false;
        session.holds.clear();
        self.offered.retain(|(at, _)| *at != id);
        for job in self.jobs.values_mut().filter(|job| !job.decided && !job.state.is_terminal()) {
            for (task, state) in &mut job.tasks {
                state.in_force.retain(|_, session| *session != id);
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
                ensure(job.tasks.values().all(|task| task.in_force.is_empty()), "a job ended with attempts in force")?;
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

impl Job {
    /// Takes in a fact, as far as it does not depend on sessions.
    fn remember(&mut self, record: &Record) {
        match record {
            Record::Committed { id, report, .. } => {
                let task = self.tasks.get_mut(&id.attempt.task).expect("facts are about known tasks");
                task.in_force.remove(&id.attempt.number);
                task.counters = Some(report.counters.clone());
                match &report.output {
                    AttemptOutput::MapOutput(made) => task.last = Some((id.attempt.number, made.content_hash)),
                    AttemptOutput::Part(_) => task.committed = Some((id.attempt.number, SessionId(0))),
                }
            }
            Record::Revoked { reduces, .. } => {
                for AttemptId { task, number } in reduces {
                    let task = self.tasks.get_mut(task).expect("facts are about known tasks");
                    if task.committed.is_some_and(|(committed, _)| committed == *number) {
                        (task.committed, task.counters) = (None, None);
                    }
                }
            }
            // The command to publish says it once more, and is checked.
            Record::Decided { .. } => self.state = JobState::Committing,
            Record::Ended { state, .. } => self.state = *state,
            Record::Uploading { .. } | Record::Failed { .. } => {}
        }
    }

    /// The hashes of the map outputs committed last, in task order.
    fn map_hashes(&self) -> Vec<u64> {
        self.tasks.values().filter_map(|task| Some(task.last?.1)).collect()
    }
}

fn ensure(holds: bool, wrong: &str) -> Check {
    if holds { Ok(()) } else { Err(wrong.to_owned()) }
}
