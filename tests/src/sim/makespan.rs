//! How long jobs take on simulated clusters without faults of the network: what placement policies,
//! second attempts and killed workers cost. Only the scheduler is real.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::counters::Counters;
use gristmill_common::ids::{JobAttempt, JobId, SessionId, Stage, WorkerId};
use gristmill_common::naming::staged_part_name;
use gristmill_common::task::{AttemptOutput, AttemptReport, AttemptStats, MapOutputSummary, Offer, PartSummary};
use gristmill_common::time::Timestamp;
use gristmill_master::scheduler::{
    Command, Event, JobRequest, Placement, Scheduler, SchedulerConfig, WorkerProfile, WorkerReport,
};

use super::calendar::Calendar;
use crate::random::Random;

const JOB: JobId = JobId(1);

/// One trial.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Slots of each worker.
    pub slots: u32,
    /// The speed of each worker, 1 being the usual one.
    pub speeds: Vec<f64>,
    /// Map tasks, and how long one takes.
    pub maps: (u32, Duration),
    /// Reduce tasks, and how long one takes.
    pub reduces: (u32, Duration),
    /// When how many workers' processes are killed; each starts again a second later with its disk.
    pub killed: Option<(Duration, usize)>,
    /// Whether stragglers get a second attempt.
    pub speculation: bool,
    /// Which worker gets an attempt.
    pub placement: Placement,
    /// Assignments sent ahead for each slot.
    pub queue_per_slot: u32,
}

impl Trial {
    /// A cluster of equal workers and a job of maps of 30 s and reduces of 100 s.
    pub fn new(workers: usize, maps: u32, reduces: u32) -> Self {
        Self {
            slots: 2,
            speeds: vec![1.0; workers],
            maps: (maps, Duration::from_secs(30)),
            reduces: (reduces, Duration::from_secs(100)),
            killed: None,
            speculation: true,
            placement: Placement::default(),
            queue_per_slot: 0,
        }
    }

    /// Four workers of one slot and a job of short attempts, which are sent ahead.
    pub fn small() -> Self {
        Self {
            slots: 1,
            maps: (60, Duration::from_millis(500)),
            reduces: (16, Duration::from_millis(500)),
            queue_per_slot: 1,
            ..Self::new(4, 0, 0)
        }
    }

    /// The same with one worker in a hundred at a tenth of the speed, as a bad disk makes it.
    #[must_use]
    pub fn with_stragglers(mut self) -> Self {
        self.speeds.iter_mut().step_by(100).for_each(|speed| *speed = 0.1);
        self
    }

    /// The same with every fourth worker at half speed and every eighth at double speed.
    #[must_use]
    pub fn heterogeneous(mut self) -> Self {
        for (index, speed) in self.speeds.iter_mut().enumerate() {
            *speed = match index % 8 {
                0 | 4 => 0.5,
                1 => 2.0,
                _ => 1.0,
            };
        }
        self
    }
}

/// A worker's process.
#[derive(Debug, Default)]
struct Process {
    session: u64,
    running: BTreeSet<JobAttempt>,
    queue: VecDeque<JobAttempt>,
    outputs: BTreeSet<JobAttempt>,
}

#[derive(Debug)]
enum Happens {
    Begin { session: u64, id: JobAttempt },
    Finish { worker: usize, session: u64, id: JobAttempt },
    Kill(usize),
    Start(usize),
}

struct Run<'a> {
    trial: &'a Trial,
    scheduler: Scheduler,
    calendar: Calendar<Happens>,
    workers: Vec<Process>,
    sessions: u64,
    by_session: BTreeMap<SessionId, usize>,
    now: Timestamp,
    done: bool,
}

/// How long the trial's job takes, from its submission to its decision.
pub fn makespan(trial: &Trial) -> Duration {
    let config = SchedulerConfig {
        lease: Duration::MAX,
        records: false,
        placement: trial.placement,
        queue_per_slot: trial.queue_per_slot,
        max_queue_per_slot: trial.queue_per_slot,
        ..SchedulerConfig::default()
    };
    let mut run = Run {
        trial,
        scheduler: Scheduler::new(config),
        calendar: Calendar::new(),
        workers: trial.speeds.iter().map(|_| Process::default()).collect(),
        sessions: 0,
        by_session: BTreeMap::new(),
        now: Timestamp::ZERO,
        done: false,
    };
    run.begin();
    while !run.done {
        run.advance();
    }
    run.now.since(Timestamp::ZERO)
}

impl Run<'_> {
    fn begin(&mut self) {
        for worker in 0..self.workers.len() {
            self.register(worker);
        }
        let mut random = Random::new(1);
        if let Some((at, count)) = self.trial.killed {
            let mut victims = BTreeSet::new();
            while victims.len() < count {
                victims.insert(random.within(0, self.workers.len() as u64) as usize);
            }
            for victim in victims {
                self.calendar.enter(Timestamp::ZERO + at, Happens::Kill(victim));
            }
        }
        let request = JobRequest {
            speculation: self.trial.speculation,
            ..JobRequest::new(vec![64 << 20; self.trial.maps.0 as usize], self.trial.reduces.0)
        };
        self.feed(Event::JobSubmitted { job: JOB, request: Arc::new(request) });
    }

    fn advance(&mut self) {
        let next = self.calendar.next_time().expect("the job ends before nothing is left to happen");
        if let Some(deadline) = self.scheduler.next_deadline().filter(|deadline| *deadline <= next) {
            self.now = self.now.max(deadline);
            return self.feed(Event::DeadlineReached);
        }
        let (now, happens) = self.calendar.pop().expect("it was just seen");
        self.now = now;
        match happens {
            Happens::Finish { worker, session, id } if self.workers[worker].session == session => {
                self.finish(worker, id);
            }
            Happens::Finish { .. } => {}
            Happens::Begin { session, id } => {
                let (epoch, report) = (self.scheduler.epoch(), WorkerReport::AttemptStarted { id });
                self.feed(Event::WorkerReported { epoch, session: SessionId(session), report });
            }
            Happens::Kill(worker) => {
                let session = SessionId(self.workers[worker].session);
                (self.workers[worker].running, self.workers[worker].queue) = Default::default();
                self.workers[worker].session = 0;
                self.calendar.enter(self.now + Duration::from_secs(1), Happens::Start(worker));
                self.feed(Event::StreamBroken { session });
            }
            Happens::Start(worker) => self.register(worker),
        }
    }

    fn register(&mut self, worker: usize) {
        self.sessions += 1;
        let session = SessionId(self.sessions);
        self.workers[worker].session = self.sessions;
        self.by_session.insert(session, worker);
        let offers = self.workers[worker].outputs.iter().map(|id| Offer { id: *id, content_hash: Some(0) }).collect();
        let (id, machine) = (WorkerId(worker as u32 + 1), worker.to_string());
        let (address, scratch) = (String::new(), String::new());
        let profile = WorkerProfile { worker: id, slots: self.trial.slots, address, machine, scratch };
        self.feed(Event::WorkerRegistered { session, profile: Arc::new(profile), offers });
    }

    fn feed(&mut self, event: Event) {
        for command in self.scheduler.step(self.now, event) {
            match command {
                Command::StartAttempt { session, id, .. } => {
                    let worker = self.by_session[&session];
                    self.workers[worker].queue.push_back(id);
                    self.start_next(worker);
                }
                Command::CancelAttempt { session, id } | Command::DiscardOutput { session, id } => {
                    let worker = self.by_session[&session];
                    self.workers[worker].running.remove(&id);
                    self.workers[worker].queue.retain(|queued| *queued != id);
                    self.workers[worker].outputs.remove(&id);
                    self.start_next(worker);
                }
                Command::PublishJob { .. } => self.done = true,
                _ => {}
            }
        }
    }

    fn start_next(&mut self, worker: usize) {
        let slots = self.trial.slots as usize;
        while self.workers[worker].running.len() < slots {
            let Some(id) = self.workers[worker].queue.pop_front() else { return };
            let at = self.now + self.time_of(worker, id);
            let session = self.workers[worker].session;
            self.workers[worker].running.insert(id);
            self.calendar.enter(at, Happens::Finish { worker, session, id });
            self.calendar.enter(self.now, Happens::Begin { session, id });
        }
    }

    /// How long an attempt takes: the same on every trial of as fast a worker.
    fn time_of(&self, worker: usize, id: JobAttempt) -> Duration {
        let task = id.attempt.task;
        let (usual, salt) = match task.stage {
            Stage::Map => (self.trial.maps.1, 0),
            Stage::Reduce => (self.trial.reduces.1, 1 << 40),
        };
        let own = Random::new(salt | u64::from(task.index)).within(80, 121) as f64 / 100.0;
        usual.mul_f64(own / self.trial.speeds[worker])
    }

    fn finish(&mut self, worker: usize, id: JobAttempt) {
        if !self.workers[worker].running.remove(&id) {
            return;
        }
        let output = match id.attempt.task.stage {
            Stage::Map => {
                self.workers[worker].outputs.insert(id);
                let partitions = self.trial.reduces.0;
                AttemptOutput::MapOutput(MapOutputSummary { partitions, bytes: 1 << 20, content_hash: 0 })
            }
            Stage::Reduce => {
                let staged_name = staged_part_name(id.attempt.task.index, id.attempt);
                AttemptOutput::Part(PartSummary {
                    staged_name,
                    bytes: 1,
                    records: 1,
                    checksum: 0,
                    named: Box::default(),
                    upload: None,
                    left_out: false,
                })
            }
        };
        let wall_micros = u64::try_from(self.time_of(worker, id).as_micros()).unwrap_or(u64::MAX);
        let stats = AttemptStats { input_bytes: 1, wall_micros, ..AttemptStats::default() };
        let report = AttemptReport { output, counters: Counters::default(), stats, bad: None };
        let (epoch, session) = (self.scheduler.epoch(), SessionId(self.workers[worker].session));
        let report = WorkerReport::AttemptFinished { id, report };
        self.feed(Event::WorkerReported { epoch, session, report });
        self.start_next(worker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn killed_workers_and_stragglers_cost_little() {
        let calm = Trial::new(175, 1500, 400);
        let at = Duration::from_secs(100);
        let killed = Trial { killed: Some((at, 20)), ..calm.clone() };
        let ratio = |trial: &Trial| makespan(trial).as_secs_f64() / makespan(&calm).as_secs_f64();
        assert!(ratio(&killed) <= 1.10, "{}", ratio(&killed));
        let slow = calm.clone().with_stragglers();
        let alone = Trial { speculation: false, ..slow.clone() };
        assert!(ratio(&slow) < ratio(&alone), "{} {}", ratio(&slow), ratio(&alone));
    }

    #[test]
    fn of_few_workers_a_slow_one_costs_little_more_than_its_share() {
        let calm = Trial { speeds: vec![1.0; 3], ..Trial::small() };
        let slow = Trial::small().with_stragglers();
        let ratio = makespan(&slow).as_secs_f64() / makespan(&calm).as_secs_f64();
        assert!(ratio <= 1.1, "{ratio} times what the three others take alone");
    }
}
