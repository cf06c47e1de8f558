//! The simulated master process: the scheduler, and around it what the real runtime does. Records go to
//! a journal that takes time; whatever follows from them waits. When the process dies, what was not in
//! the journal is gone, and of what was being written some may be there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::ids::{JobId, MasterEpoch};
use gristmill_common::time::Timestamp;
use gristmill_master::scheduler::{
    Command, Event, JobRequest, JobResult, JobState, Record, RestoredJob, Scheduler, SchedulerConfig,
};

use super::cluster::{Cluster, Incident, MORE_QUEUED, job_id};
use super::options::{FaultKind, Planted, SimOptions};

/// The master's process, or the place where it will start again.
#[derive(Debug)]
pub(super) struct Master {
    /// Whether the process exists.
    pub(super) up: bool,
    /// Counts starts of the process.
    pub(super) life: u64,
    pub(super) epoch: MasterEpoch,
    pub(super) scheduler: Scheduler,
    /// What waits for the journal, in order.
    outbox: VecDeque<Entry>,
    /// How many of those are being written.
    writing: usize,
    /// What is in the journal: of each job its request, the epoch that accepted it, and its records.
    journal: BTreeMap<JobId, (Arc<JobRequest>, MasterEpoch, Vec<Record>)>,
    /// Jobs that were handed in and not acknowledged.
    unacknowledged: BTreeSet<usize>,
    /// Jobs that were acknowledged.
    pub(super) acknowledged: BTreeSet<usize>,
    /// Last states that somebody was told.
    told: BTreeMap<JobId, JobState>,
    /// Results being put in place.
    pub(super) publishing: BTreeMap<JobId, JobResult>,
}

/// Something that waits its turn.
#[derive(Debug)]
enum Entry {
    Accepted(usize, Arc<JobRequest>),
    Record(Record),
    Do(Command),
    /// Watchers are told this state.
    Tell(JobId, JobState),
    Acknowledge(usize),
}

impl Master {
    /// A master with an empty journal.
    pub(super) fn new(options: &SimOptions) -> Self {
        let epoch = MasterEpoch(3);
        Self {
            up: true,
            life: 0,
            epoch,
            scheduler: Scheduler::new(config(options, epoch)),
            outbox: VecDeque::new(),
            writing: 0,
            journal: BTreeMap::new(),
            unacknowledged: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            told: BTreeMap::new(),
            publishing: BTreeMap::new(),
        }
    }

    /// When the scheduler is due, if there is one.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.scheduler.next_deadline().filter(|_| self.up)
    }

    /// The records in the journal.
    fn records(&self) -> BTreeMap<JobId, Vec<Record>> {
        self.journal.iter().map(|(id, (_, _, records))| (*id, records.clone())).collect()
    }

    /// Writes an entry down, if it is one for the journal.
    fn write_down(&mut self, entry: &Entry) {
        match entry {
            Entry::Accepted(index, request) => {
                self.journal.insert(job_id(*index), (Arc::clone(request), self.epoch, Vec::new()));
            }
            Entry::Record(record) => {
                if let Some((_, _, records)) = self.journal.get_mut(&record.job()) {
                    records.push(record.clone());
                }
            }
            Entry::Do(_) | Entry::Tell(..) | Entry::Acknowledge(_) => {}
        }
    }
}

impl Entry {
    fn is_for_the_journal(&self) -> bool {
        matches!(self, Entry::Accepted(..) | Entry::Record(_))
    }
}

/// The constants of a run's scheduler.
fn config(options: &SimOptions, epoch: MasterEpoch) -> SchedulerConfig {
    SchedulerConfig {
        epoch,
        queue_per_slot: options.queue_per_slot,
        max_queue_per_slot: options.queue_per_slot + MORE_QUEUED,
        planted: match options.planted {
            Some(Planted::Scheduler(bug)) => Some(bug),
            Some(_) | None => None,
        },
        ..SchedulerConfig::default()
    }
}

impl Cluster<'_> {
    /// A client hands in a job, and again until it is acknowledged.
    pub(super) fn submit(&mut self, index: usize) -> Result<(), String> {
        if !self.master.up {
            let at = self.now + Duration::from_millis(self.random.within(50, 500));
            self.calendar.enter(at, Incident::Submit(index));
            return Ok(());
        }
        if self.master.journal.contains_key(&job_id(index)) {
            self.master.acknowledged.insert(index);
            return Ok(());
        }
        if self.master.scheduler.job_state(job_id(index)).is_some() {
            return Ok(());
        }
        let job = &self.options.jobs[index];
        let request =
            JobRequest { max_attempts: job.max_attempts, ..JobRequest::new(vec![10; job.maps as usize], job.reduces) };
        let request = Arc::new(request);
        if self.options.planted == Some(Planted::AckBeforeJournal) {
            self.master.acknowledged.insert(index);
        } else {
            self.master.unacknowledged.insert(index);
        }
        self.master.outbox.push_back(Entry::Accepted(index, Arc::clone(&request)));
        self.master.outbox.push_back(Entry::Acknowledge(index));
        self.feed(&Event::JobSubmitted { job: job_id(index), request })
    }

    /// A client cancels a job, and again until somebody heard it.
    pub(super) fn cancel(&mut self, index: usize) -> Result<(), String> {
        if !self.master.up || !self.master.acknowledged.contains(&index) {
            let at = self.now + Duration::from_millis(self.random.within(50, 500));
            self.calendar.enter(at, Incident::Cancel(index));
            return Ok(());
        }
        self.feed(&Event::CancelRequested { job: job_id(index) })
    }

    /// Gives an event to the scheduler, checks what it does, and sees to what it says.
    pub(super) fn feed(&mut self, event: &Event) -> Result<(), String> {
        if !self.master.up {
            return Ok(());
        }
        self.summary.events += 1;
        let in_step = |wrong: String| format!("{wrong}, at {event:?}");
        let commands = self.master.scheduler.step(self.now, event.clone());
        self.master.scheduler.check_invariants().map_err(in_step)?;
        self.oracle.follow(event, &commands, &self.master.scheduler).map_err(in_step)?;
        self.enqueue(commands).map_err(in_step)
    }

    fn enqueue(&mut self, commands: Vec<Command>) -> Result<(), String> {
        for command in commands {
            let entry = match command {
                Command::Record(record) => Entry::Record(*record),
                Command::NotifyWatchers { job } => match self.master.scheduler.job_state(job) {
                    Some(state) => Entry::Tell(job, state),
                    None => continue,
                },
                command if self.options.planted == Some(Planted::ActBeforeJournal) => {
                    self.carry_out(command)?;
                    continue;
                }
                command => Entry::Do(command),
            };
            self.master.outbox.push_back(entry);
        }
        self.pump()
    }

    /// Does what waits for nothing, and begins to write what is next.
    fn pump(&mut self) -> Result<(), String> {
        while self.master.writing == 0 {
            match self.master.outbox.front() {
                None => return Ok(()),
                Some(entry) if entry.is_for_the_journal() => {
                    self.master.writing = self.master.outbox.len();
                    let at = self.now + Duration::from_micros(self.random.within(1, self.options.journal_us + 1));
                    let life = self.master.life;
                    let dies = self.options.faults.contains(&FaultKind::MasterDies)
                        && self.now < Timestamp::from_millis(self.options.faults_until_ms)
                        && self.random.chance(self.options.die_writing);
                    let next = if dies { Incident::MasterDies { life } } else { Incident::Durable { life } };
                    self.calendar.enter(at, next);
                }
                Some(_) => {
                    let entry = self.master.outbox.pop_front().expect("it was just seen");
                    self.let_out(entry)?;
                }
            }
        }
        Ok(())
    }

    /// What was being written is in the journal.
    pub(super) fn on_durable(&mut self, life: u64) -> Result<(), String> {
        if life != self.master.life {
            return Ok(());
        }
        for _ in 0..std::mem::take(&mut self.master.writing) {
            let entry = self.master.outbox.pop_front().expect("it was there when the writing began");
            self.master.write_down(&entry);
            self.let_out(entry)?;
        }
        self.pump()
    }

    fn let_out(&mut self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Accepted(..) | Entry::Record(_) => Ok(()),
            Entry::Do(command) => self.carry_out(command),
            Entry::Acknowledge(index) => {
                self.master.unacknowledged.remove(&index);
                self.master.acknowledged.insert(index);
                Ok(())
            }
            Entry::Tell(job, state) => self.tell(job, state),
        }
    }

    /// Somebody is told a job's state: a last one must stay.
    fn tell(&mut self, job: JobId, state: JobState) -> Result<(), String> {
        if let Some(told) = self.master.told.get(&job).filter(|told| **told != state) {
            return Err(format!("{job} was said to be {told:?} and now {state:?}"));
        }
        if state.is_terminal() {
            self.master.told.insert(job, state);
        }
        Ok(())
    }

    /// The master's process dies, and starts again later.
    pub(super) fn crash_master(&mut self) {
        if !self.master.up {
            return;
        }
        self.summary.masters_died += 1;
        self.master.up = false;
        self.master.life += 1;
        let written = self.random.within(0, self.master.writing as u64 + 1) as usize;
        let outbox = std::mem::take(&mut self.master.outbox);
        outbox.iter().take(written).for_each(|entry| self.master.write_down(entry));
        self.master.writing = 0;
        // Of what was being put in place, some may be there already.
        for (job, result) in std::mem::take(&mut self.master.publishing) {
            if self.random.chance(50) {
                self.put_in_place(job, &result);
            }
        }
        for stream in self.network.open_streams() {
            self.network.break_stream(stream);
            let at = self.now + Duration::from_micros(self.random.within(100, 400_000));
            self.calendar.enter(at, Incident::WorkerSeesBreak(stream));
        }
        self.network.forget_sessions();
        for index in std::mem::take(&mut self.master.unacknowledged) {
            let at = self.now + Duration::from_millis(self.random.within(50, 500));
            self.calendar.enter(at, Incident::Submit(index));
        }
        let at = self.now + Duration::from_millis(self.random.within(10, 3000));
        self.calendar.enter(at, Incident::StartMaster);
    }

    /// The master starts again on its journal.
    pub(super) fn start_master(&mut self) -> Result<(), String> {
        if self.master.up {
            return Ok(());
        }
        self.master.up = true;
        self.master.epoch = MasterEpoch(self.master.epoch.0 + 1);
        let mut jobs = Vec::new();
        for (id, (request, accepted, records)) in &self.master.journal {
            let mut job = RestoredJob::new(*id, Arc::clone(request), *accepted);
            records.iter().for_each(|record| job.apply(record.clone()));
            jobs.push(job);
        }
        for job in &jobs {
            let undone = matches!(job.ended, Some((JobState::Failed | JobState::Cancelled, _)));
            if undone && self.options.planted != Some(Planted::ForgetCleanup) {
                self.remove_staging(job.job);
            }
        }
        let (scheduler, commands) = Scheduler::restore(config(self.options, self.master.epoch), self.now, jobs);
        self.master.scheduler = scheduler;
        self.oracle.restart(self.master.epoch, &self.master.records());
        self.master.scheduler.check_invariants().map_err(|wrong| format!("{wrong}, after a restart"))?;
        self.oracle.follow_commands(&Event::DeadlineReached, &commands)?;
        self.enqueue(commands)
    }
}
