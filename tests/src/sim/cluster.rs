//! The loop: takes the next thing from the calendar, lets the worker or the master act, and sends
//! what they say. The master's side does here what the real runtime does, and decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::{AttemptId, JobAttempt, JobId, MasterEpoch, SessionId, TaskId, WorkerId};
use gristmill_common::time::Timestamp;
use gristmill_master::scheduler::{Command, Event, JobResult, JobState, StaleReason, WorkerProfile};

use super::calendar::Calendar;
use super::data;
use super::master::Master;
use super::network::{Network, StreamId, ToMaster, ToWorker};
use super::options::{Fate, FaultKind, SimOptions};
use super::oracle::Oracle;
use super::worker::Worker;
use crate::random::Random;

/// How long after the last fault all jobs must have ended: the work of the largest run on its
/// slowest cluster, several times over.
const LIVENESS_BOUND: Duration = Duration::from_secs(400);

/// How long a run goes on after the last job and fault, so that late messages arrive and whatever
/// is left over shows.
const SETTLING: Duration = Duration::from_secs(20);

/// How much longer where messages overtake each other: an assignment that arrives behind its own
/// cancellation is carried out to its end, and some of them one after the other on the slowest worker.
const STRAYS: Duration = Duration::from_secs(100);

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
    /// Times the master died.
    pub masters_died: u64,
    /// Attempts and outputs of earlier sessions that went on to count.
    pub adopted: u64,
    /// Second attempts beside a first one.
    pub twins: u64,
    /// Committed reduce attempts that were revoked because a map task is not deterministic.
    pub revoked: u64,
    /// Reports refused.
    pub refused: BTreeMap<StaleReason, u64>,
    /// Last states of the jobs, in the order of submission.
    pub states: Vec<JobState>,
}

impl Summary {
    /// Adds another run.
    pub fn add(&mut self, other: &Summary) {
        self.events += other.events;
        self.faults += other.faults;
        self.sessions_ended += other.sessions_ended;
        self.outputs_lost += other.outputs_lost;
        self.masters_died += other.masters_died;
        self.adopted += other.adopted;
        self.twins += other.twins;
        self.revoked += other.revoked;
        other.refused.iter().for_each(|(reason, times)| *self.refused.entry(*reason).or_default() += times);
        self.states.extend(&other.states);
    }
}

/// Something in the calendar. What belongs to a process names its life.
#[derive(Debug)]
pub(super) enum Incident {
    Submit(usize),
    Cancel(usize),
    Published {
        job: JobId,
        life: u64,
    },
    /// What the master was writing is in its journal.
    Durable {
        life: u64,
    },
    StartMaster,
    /// The master dies in the middle of writing.
    MasterDies {
        life: u64,
    },
    ToMaster(StreamId, ToMaster),
    ToWorker(StreamId, ToWorker),
    MasterSeesBreak(StreamId),
    WorkerSeesBreak(StreamId),
    Start(usize),
    Connect {
        worker: usize,
        life: u64,
    },
    Heartbeat {
        worker: usize,
        life: u64,
    },
    Fetch {
        worker: usize,
        life: u64,
        id: JobAttempt,
        holder: (MasterEpoch, SessionId),
        map: AttemptId,
        tries: u32,
    },
    Finish {
        worker: usize,
        life: u64,
        id: JobAttempt,
    },
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
    /// Which worker each session of each master belongs to.
    pub(super) session_workers: BTreeMap<(MasterEpoch, SessionId), usize>,
    /// A worker that does not reach another one, and until when.
    pub(super) cut_pair: Option<(usize, usize, Timestamp)>,
    /// Staged parts by job and name: they outlive their worker.
    pub(super) staged: BTreeMap<(JobId, String), String>,
    /// Jobs whose staging folder is gone: it was published, or removed.
    pub(super) unstaged: BTreeSet<JobId>,
    /// Counted failures that were brought about on purpose, by task.
    pub(super) failed: BTreeMap<(JobId, TaskId), u32>,
    pub(super) summary: Summary,
    /// Faults that happened: when, which one, its kind, and the worker concerned.
    pub(super) happened: Vec<(Timestamp, u64, FaultKind, usize)>,
    pub(super) master: Master,
    pub(super) oracle: Oracle,
    /// Parts of outputs in place, by job.
    pub(super) outputs: BTreeMap<JobId, Vec<String>>,
}

/// Runs one simulation to its end.
///
/// # Errors
///
/// The first rule that is broken, and when.
pub fn simulate(options: &SimOptions) -> Result<Summary, String> {
    let mut cluster = Cluster::new(options);
    if let Err(wrong) = cluster.run() {
        let faults = cluster.happened.iter();
        let faults =
            faults.map(|(at, nth, kind, worker)| format!("\n  fault {nth} at {at}: {kind:?}, worker {worker}"));
        return Err(format!("at {}: {wrong}{}", cluster.now, faults.collect::<String>()));
    }
    let states = (0..options.jobs.len()).filter_map(|index| Some(cluster.master.scheduler.job(job_id(index))?.state));
    cluster.summary.states = states.collect();
    cluster.summary.outputs_lost = cluster.oracle.outputs_lost;
    cluster.summary.adopted = cluster.oracle.adopted;
    cluster.summary.twins = cluster.oracle.twins;
    cluster.summary.revoked = cluster.oracle.revoked;
    cluster.count_refusals();
    Ok(cluster.summary)
}

/// Assignments sent ahead for each slot of a stage whose attempts are short, beyond the usual.
pub(super) const MORE_QUEUED: u32 = 2;

/// The id of the job at an index of the options.
pub(super) fn job_id(index: usize) -> JobId {
    JobId(index as u64 + 1)
}

impl<'a> Cluster<'a> {
    fn new(options: &'a SimOptions) -> Self {
        let master = Master::new(options);
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
            // One is never slow: the bound on time is for clusters that can keep it.
            let slow = random.chance(options.slow) && !workers.is_empty();
            let slowness = if slow { 10 } else { 1 };
            workers.push(Worker::new(*slots, random.within(900_000, 1_100_000), slowness));
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
            cut_pair: None,
            staged: BTreeMap::new(),
            unstaged: BTreeSet::new(),
            failed: BTreeMap::new(),
            summary: Summary::default(),
            happened: Vec::new(),
            oracle: Oracle::new(master.epoch, options.queue_per_slot + MORE_QUEUED),
            master,
            outputs: BTreeMap::new(),
        }
    }

    fn run(&mut self) -> Result<(), String> {
        let faults_until = Timestamp::from_millis(self.options.faults_until_ms);
        let bound = faults_until + LIVENESS_BOUND;
        let mut end = bound;
        while let Some(next) = self.calendar.next_time().filter(|next| *next <= end) {
            if let Some(deadline) = self.master.next_deadline().filter(|deadline| *deadline <= next) {
                self.now = self.now.max(deadline);
                self.feed(&Event::DeadlineReached)?;
                if self.master.next_deadline().is_some_and(|next| next <= self.now) {
                    return Err("a deadline that has passed is asked for again".to_owned());
                }
            } else if let Some((now, incident)) = self.calendar.pop() {
                self.now = now;
                self.handle(incident)?;
            }
            // A job that is over runs again if the master dies before that is durable.
            match self.all_over() {
                true if end == bound => {
                    let strays = if self.options.ordered { Duration::ZERO } else { STRAYS };
                    end = self.now.max(faults_until) + SETTLING + strays;
                }
                true => {}
                false => end = bound,
            }
        }
        self.check_end()
    }

    fn handle(&mut self, incident: Incident) -> Result<(), String> {
        match incident {
            Incident::Submit(index) => self.submit(index),
            Incident::Cancel(index) => self.cancel(index),
            Incident::Durable { life } => self.on_durable(life),
            Incident::StartMaster => self.start_master(),
            Incident::MasterDies { life } => {
                if life == self.master.life {
                    self.crash_master();
                }
                Ok(())
            }
            Incident::Published { job, life } if life == self.master.life => self.on_published(job),
            Incident::Published { .. } => Ok(()),
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
            ToMaster::Register(_) | ToMaster::Resume(..) if broken => Ok(()),
            // Of what was under way when the stream broke, some was in the master's hands already.
            ToMaster::Report(..) if broken && (!self.master.up || self.random.chance(50)) => Ok(()),
            ToMaster::Register(offers) => {
                let index = self.network.worker(stream);
                let epoch = self.master.epoch;
                let earlier = self.session_workers.range((epoch, SessionId(0))..).count();
                let session = SessionId(earlier as u64 + 1);
                self.session_workers.insert((epoch, session), index);
                self.network.bind(stream, session);
                self.send_to_worker(stream, &ToWorker::Registered);
                let (worker, slots) = (WorkerId(index as u32 + 1), self.workers[index].slots);
                let (address, machine, scratch) = (String::new(), worker.to_string(), String::new());
                let profile = Arc::new(WorkerProfile { worker, slots, address, machine, scratch });
                self.feed(&Event::WorkerRegistered { session, profile, offers })
            }
            ToMaster::Resume(epoch, session) => {
                let known = self.master.scheduler.worker_of_open(session).is_some() && epoch == self.master.epoch;
                if known {
                    self.network.bind(stream, session);
                } else {
                    self.send_to_worker(stream, &ToWorker::Close);
                }
                self.feed(&Event::StreamResumed { epoch, session })
            }
            ToMaster::Report(epoch, session, report) => self.feed(&Event::WorkerReported { epoch, session, report }),
        }
    }

    pub(super) fn carry_out(&mut self, command: Command) -> Result<(), String> {
        let (session, message) = match command {
            Command::StartAttempt { session, id, work } => (session, ToWorker::Start(id, work)),
            Command::CancelAttempt { session, id } => (session, ToWorker::Cancel(id)),
            Command::DiscardOutput { session, id } => (session, ToWorker::Discard(id)),
            Command::ProceedUpload { id, .. } => return Err(format!("{id} uploads nothing")),
            Command::ReleaseJob { session, job } => (session, ToWorker::Release(job)),
            Command::CloseSession { session, .. } => {
                self.summary.sessions_ended += 1;
                (session, ToWorker::Close)
            }
            Command::PublishJob { job, result } => {
                self.check_parts(job, &result)?;
                self.master.publishing.insert(job, result);
                let at = self.now + Duration::from_micros(self.random.within(1, 50_000));
                let life = self.master.life;
                self.calendar.enter(at, Incident::Published { job, life });
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
        if let Some(result) = self.master.publishing.remove(&job) {
            self.check_parts(job, &result)?;
            self.put_in_place(job, &result);
            if self.random.chance(self.options.repeats) {
                let life = self.master.life;
                self.calendar.enter(self.now, Incident::Published { job, life });
            }
        }
        self.feed(&Event::JobPublished { job })
    }

    /// The parts become the output, unless they are it.
    pub(super) fn put_in_place(&mut self, job: JobId, result: &JobResult) {
        let names = result.parts.iter().map(|part| part.staged_name.clone()).collect();
        if self.options.jobs[job.0 as usize - 1].fate != Fate::Unpublishable {
            self.outputs.entry(job).or_insert(names);
            self.remove_staging(job);
        }
    }

    /// Adds up what the master of this life refused.
    pub(super) fn count_refusals(&mut self) {
        for (reason, times) in self.master.scheduler.stale_refusals() {
            *self.summary.refused.entry(*reason).or_default() += times;
        }
    }

    pub(super) fn remove_staging(&mut self, job: JobId) {
        self.staged.retain(|(of, _), _| *of != job);
        self.unstaged.insert(job);
    }

    /// Each part is staged, and is what the reference says.
    fn check_parts(&self, job: JobId, result: &JobResult) -> Result<(), String> {
        if let Some(names) = self.outputs.get(&job) {
            let same = result.parts.iter().map(|part| &part.staged_name).eq(names);
            return if same { Ok(()) } else { Err(format!("{job} is published twice, of other parts")) };
        }
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
            let may_differ = shape.fate == Fate::Nondeterministic && staged.is_some();
            if staged != Some(&expected) && !may_differ {
                return Err(format!("{job}: {} is {staged:?} instead of {expected:?}", part.staged_name));
            }
        }
        Ok(())
    }

    fn all_over(&self) -> bool {
        let state = |index| self.master.scheduler.job(job_id(index)).map(|job| job.state);
        self.master.up && (0..self.options.jobs.len()).all(|index| state(index).is_some_and(JobState::is_terminal))
    }

    fn check_end(&self) -> Result<(), String> {
        for (index, shape) in self.options.jobs.iter().enumerate() {
            let job = self.master.scheduler.job(job_id(index)).ok_or("a job was never submitted, or is lost")?;
            let right = match shape.fate {
                Fate::Succeeds => job.state == JobState::Succeeded,
                Fate::Nondeterministic => matches!(job.state, JobState::Succeeded | JobState::Failed),
                Fate::Poisoned { .. } | Fate::Unpublishable => job.state == JobState::Failed,
                Fate::Cancelled { .. } => matches!(job.state, JobState::Cancelled | JobState::Succeeded),
            };
            if job.state == JobState::Succeeded && !self.outputs.contains_key(&job_id(index)) {
                return Err(format!("job {index} succeeded and has no output"));
            }
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
