//! The loop: takes the next thing from the calendar, lets the worker or the master act, and sends
//! what they say. The master's side does here what the real runtime does, and decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::{AttemptId, JobAttempt, JobId, SessionId, TaskId, WorkerId};
use gristmill_common::time::Timestamp;
use gristmill_master::scheduler::{
    Command, Event, JobRequest, JobResult, JobState, Scheduler, SchedulerConfig, StaleReason, WorkerProfile,
};

use super::agent::EPOCH;
use super::calendar::Calendar;
use super::data;
use super::network::{Network, StreamId, ToMaster, ToWorker};
use super::options::{Fate, SimOptions};
use super::oracle::Oracle;
use super::worker::Worker;
use crate::random::Random;

/// How long after the last fault all jobs must have ended: the work of the largest run on its
/// slowest cluster, several times over.
const LIVENESS_BOUND: Duration = Duration::from_secs(400);

/// How long a run goes on after the last job and fault, so that late messages arrive and whatever
/// is left over shows.
const SETTLING: Duration = Duration::from_secs(20);

/// What happened in a run that broke no rule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// Events given to the scheduler.
    pub events: u64,
    /// Faults that happened.
    pub faults: u64,
    /// Sessions that ended.
    pub sessions_ended: u64,
    /// Committed map outputs that were lost and had to be made again.
    pub outputs_lost: u64,
    /// Reports refused.
    pub refused: BTreeMap<StaleReason, u64>,
    /// Last states of the jobs, in the order of submission.
    pub states: Vec<JobState>,
}

/// Something in the calendar. What belongs to a process names its life.
#[derive(Debug)]
pub(super) enum Incident {
    Submit(usize),
    Cancel(usize),
    Published(JobId),
    ToMaster(StreamId, ToMaster),
    ToWorker(StreamId, ToWorker),
    MasterSeesBreak(StreamId),
    WorkerSeesBreak(StreamId),
    Start(usize),
    Connect { worker: usize, life: u64 },
    Heartbeat { worker: usize, life: u64 },
    Fetch { worker: usize, life: u64, id: JobAttempt, holder: SessionId, map: AttemptId, tries: u32 },
    Finish { worker: usize, life: u64, id: JobAttempt },
    Fault,
    Heal,
}

/// Everything there is in one run.
pub(super) struct Cluster<'a> {
    pub(super) options: &'a SimOptions,
    pub(super) random: Random,
    pub(super) now: Timestamp,
    pub(super) calendar: Calendar<Incident>,
    pub(super) network: Network,
    pub(super) workers: Vec<Worker>,
    /// Which worker each session belongs to.
    pub(super) session_workers: BTreeMap<SessionId, usize>,
    /// Staged parts by job and name: they outlive their worker.
    pub(super) staged: BTreeMap<(JobId, String), String>,
    /// Jobs whose staging folder is gone: it was published, or removed.
    pub(super) unstaged: BTreeSet<JobId>,
    /// Counted failures that were brought about on purpose, by task.
    pub(super) failed: BTreeMap<(JobId, TaskId), u32>,
    pub(super) summary: Summary,
    scheduler: Scheduler,
    oracle: Oracle,
    results: BTreeMap<JobId, JobResult>,
}

/// Runs one simulation to its end.
///
/// # Errors
///
/// The first rule that is broken, and when.
pub fn simulate(options: &SimOptions) -> Result<Summary, String> {
    let mut cluster = Cluster::new(options);
    cluster.run().map_err(|wrong| format!("at {}: {wrong}", cluster.now))?;
    let states = (0..options.jobs.len()).filter_map(|index| Some(cluster.scheduler.job(job_id(index))?.state));
    cluster.summary.states = states.collect();
    cluster.summary.outputs_lost = cluster.oracle.outputs_lost;
    cluster.summary.refused = cluster.scheduler.stale_refusals().clone();
    Ok(cluster.summary)
}

/// Assignments sent ahead for each slot of a stage whose attempts are short, beyond the usual.
const MORE_QUEUED: u32 = 2;

/// The id of the job at an index of the options.
fn job_id(index: usize) -> JobId {
    JobId(index as u64 + 1)
}

impl<'a> Cluster<'a> {
    fn new(options: &'a SimOptions) -> Self {
        let epoch = EPOCH;
        let queue_per_slot = options.queue_per_slot;
        let max_queue_per_slot = queue_per_slot + MORE_QUEUED;
        let mut random = Random::new(!options.seed);
        let mut calendar = Calendar::new();
        for (index, job) in options.jobs.iter().enumerate() {
            calendar.enter(Timestamp::from_millis(job.submitted_ms), Incident::Submit(index));
            if let Fate::Cancelled { at_ms } = job.fate {
                calendar.enter(Timestamp::from_millis(job.submitted_ms + at_ms), Incident::Cancel(index));
            }
        }
        let mut workers = Vec::new();
        for slots in &options.worker_slots {
            calendar.enter(Timestamp::from_millis(random.within(0, 1000)), Incident::Start(workers.len()));
            workers.push(Worker::new(*slots, random.within(900_000, 1_100_000)));
        }
        if options.fault_ms > 0 {
            calendar.enter(Timestamp::from_millis(random.within(0, options.fault_ms)), Incident::Fault);
        }
        calendar.enter(Timestamp::from_millis(options.faults_until_ms), Incident::Heal);
        Self {
            options,
            random,
            now: Timestamp::ZERO,
            calendar,
            network: Network::new(options),
            workers,
            session_workers: BTreeMap::new(),
            staged: BTreeMap::new(),
            unstaged: BTreeSet::new(),
            failed: BTreeMap::new(),
            summary: Summary::default(),
            scheduler: Scheduler::new(SchedulerConfig {
                epoch,
                queue_per_slot,
                max_queue_per_slot,
                ..SchedulerConfig::default()
            }),
            oracle: Oracle::new(epoch, max_queue_per_slot),
            results: BTreeMap::new(),
        }
    }

    fn run(&mut self) -> Result<(), String> {
        let faults_until = Timestamp::from_millis(self.options.faults_until_ms);
        let bound = faults_until + LIVENESS_BOUND;
        let mut end = bound;
        while let Some(next) = self.calendar.next_time().filter(|next| *next <= end) {
            if let Some(deadline) = self.scheduler.next_deadline().filter(|deadline| *deadline <= next) {
                self.now = self.now.max(deadline);
                self.feed(&Event::DeadlineReached)?;
                if self.scheduler.next_deadline().is_some_and(|next| next <= self.now) {
                    return Err("a deadline that has passed is asked for again".to_owned());
                }
            } else if let Some((now, incident)) = self.calendar.pop() {
                self.now = now;
                self.handle(incident)?;
            }
            if end == bound && self.all_over() {
                end = self.now.max(faults_until) + SETTLING;
            }
        }
        self.check_end()
    }

    fn handle(&mut self, incident: Incident) -> Result<(), String> {
        match incident {
            Incident::Submit(index) => {
                let job = &self.options.jobs[index];
                let split_bytes = vec![10; job.maps as usize];
                let request =
                    JobRequest { max_attempts: job.max_attempts, ..JobRequest::new(split_bytes, job.reduces) };
                self.feed(&Event::JobSubmitted { job: job_id(index), request: Arc::new(request) })
            }
            Incident::Cancel(index) => self.feed(&Event::CancelRequested { job: job_id(index) }),
            Incident::Published(job) => self.on_published(job),
            Incident::ToMaster(stream, message) => self.on_message_to_master(stream, message),
            Incident::MasterSeesBreak(stream) => match self.network.session(stream) {
                Some(session) => self.feed(&Event::StreamBroken { session }),
                None => Ok(()),
            },
            incident => {
                self.handle_at_worker(incident);
                Ok(())
            }
        }
    }

    fn on_message_to_master(&mut self, stream: StreamId, message: ToMaster) -> Result<(), String> {
        let broken = !self.network.is_open(stream);
        match message {
            ToMaster::Register | ToMaster::Resume(_) if broken => Ok(()),
            // Of what was under way when the stream broke, some was in the master's hands already.
            ToMaster::Report(..) if broken && self.random.chance(50) => Ok(()),
            ToMaster::Register => {
                let index = self.network.worker(stream);
                let session = SessionId(self.session_workers.len() as u64 + 1);
                self.session_workers.insert(session, index);
                self.network.bind(stream, session);
                self.send_to_worker(stream, &ToWorker::Registered);
                let (worker, slots) = (WorkerId(index as u32 + 1), self.workers[index].slots);
                let (address, machine, scratch) = (String::new(), worker.to_string(), String::new());
                let profile = Arc::new(WorkerProfile { worker, slots, address, machine, scratch });
                self.feed(&Event::WorkerRegistered { session, profile, offers: Vec::new() })
            }
            ToMaster::Resume(session) => {
                self.network.bind(stream, session);
                self.feed(&Event::StreamResumed { epoch: self.scheduler.epoch(), session })
            }
            ToMaster::Report(epoch, session, report) => self.feed(&Event::WorkerReported { epoch, session, report }),
        }
    }

    /// Gives an event to the scheduler, checks what it does, and does what it says.
    fn feed(&mut self, event: &Event) -> Result<(), String> {
        self.summary.events += 1;
        let in_step = |wrong: String| format!("{wrong}, at {event:?}");
        let commands = self.scheduler.step(self.now, event.clone());
        self.scheduler.check_invariants().map_err(in_step)?;
        self.oracle.follow(event, &commands, &self.scheduler).map_err(in_step)?;
        for command in commands {
            self.carry_out(command).map_err(in_step)?;
        }
        Ok(())
    }

    fn carry_out(&mut self, command: Command) -> Result<(), String> {
        let (session, message) = match command {
            Command::StartAttempt { session, id, work } => (session, ToWorker::Start(id, work)),
            Command::CancelAttempt { session, id } => (session, ToWorker::Cancel(id)),
            Command::DiscardOutput { session, id } => (session, ToWorker::Discard(id)),
            Command::ReleaseJob { session, job } => (session, ToWorker::Release(job)),
            Command::CloseSession { session, .. } => {
                self.summary.sessions_ended += 1;
                (session, ToWorker::Close)
            }
            Command::PublishJob { job, result } => {
                self.check_parts(job, &result)?;
                self.results.insert(job, result);
                let at = self.now + Duration::from_micros(self.random.within(1, 50_000));
                self.calendar.enter(at, Incident::Published(job));
                return Ok(());
            }
            Command::UndoJob { job } => {
                self.remove_staging(job);
                return Ok(());
            }
            Command::Record(_) | Command::NotifyWatchers { .. } => return Ok(()),
        };
        if let Some(stream) = self.network.of_session(session) {
            self.send_to_worker(stream, &message);
        }
        Ok(())
    }

    pub(super) fn send_to_worker(&mut self, stream: StreamId, message: &ToWorker) {
        if self.network.is_open(stream) {
            for at in self.network.arrivals(stream, false, true, self.now, &mut self.random) {
                self.calendar.enter(at, Incident::ToWorker(stream, message.clone()));
            }
        }
    }

    /// The parts are moved: they must still be there.
    fn on_published(&mut self, job: JobId) -> Result<(), String> {
        let shape = &self.options.jobs[job.0 as usize - 1];
        if shape.fate == Fate::Unpublishable {
            let failure = Failure::new(FailureCode::CommitFailed, "no permission");
            return self.feed(&Event::PublishFailed { job, failure });
        }
        if let Some(result) = self.results.remove(&job) {
            self.check_parts(job, &result)?;
            self.remove_staging(job);
            if self.random.chance(self.options.repeats) {
                self.calendar.enter(self.now, Incident::Published(job));
            }
        }
        self.feed(&Event::JobPublished { job })
    }

    fn remove_staging(&mut self, job: JobId) {
        self.staged.retain(|(of, _), _| *of != job);
        self.unstaged.insert(job);
    }

    /// Each part is staged, and is what the reference says.
    fn check_parts(&self, job: JobId, result: &JobResult) -> Result<(), String> {
        let shape = &self.options.jobs[job.0 as usize - 1];
        let expected: Vec<String> = if shape.reduces == 0 {
            (0..shape.maps).map(|map| data::map_part(job, map)).collect()
        } else {
            (0..shape.reduces).map(|index| data::expected_part(job, shape.maps, shape.reduces, index)).collect()
        };
        if result.parts.len() != expected.len() {
            return Err(format!("{job} has {} parts instead of {}", result.parts.len(), expected.len()));
        }
        for (part, expected) in result.parts.iter().zip(expected) {
            let staged = self.staged.get(&(job, part.staged_name.clone()));
            if staged != Some(&expected) {
                return Err(format!("{job}: {} is {staged:?} instead of {expected:?}", part.staged_name));
            }
        }
        Ok(())
    }

    fn all_over(&self) -> bool {
        let state = |index| self.scheduler.job(job_id(index)).map(|job| job.state);
        (0..self.options.jobs.len()).all(|index| state(index).is_some_and(JobState::is_terminal))
    }

    fn check_end(&self) -> Result<(), String> {
        for (index, shape) in self.options.jobs.iter().enumerate() {
            let job = self.scheduler.job(job_id(index)).ok_or("a job was never submitted")?;
            let right = match shape.fate {
                Fate::Succeeds => job.state == JobState::Succeeded,
                Fate::Poisoned { .. } | Fate::Unpublishable => job.state == JobState::Failed,
                Fate::Cancelled { .. } => matches!(job.state, JobState::Cancelled | JobState::Succeeded),
            };
            if !right {
                return Err(format!("{:?} did not end as it must: {job:?}", shape.fate));
            }
        }
        for (index, worker) in self.workers.iter().enumerate() {
            if worker.session.is_none() || worker.is_busy() || !worker.outputs.is_empty() {
                return Err(format!("worker {index} is not at rest: {worker:?}"));
            }
        }
        if self.staged.is_empty() { Ok(()) } else { Err(format!("parts are left over: {:?}", self.staged)) }
    }
}
