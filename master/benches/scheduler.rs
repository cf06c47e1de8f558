//! How much one scheduler takes: a whole job over very many tasks and workers, event by event, as
//! fast as it goes. Prints events per second, bytes per task, and what heartbeats cost; judges
//! nothing.
//!
//! ```text
//! cargo bench -p gristmill-master --bench scheduler -- [MAPS [REDUCES [WORKERS [SLOTS]]]]
//! ```
//!
//! The times include making the reports and taking the commands in.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::counters::Counters;
use gristmill_common::ids::{AttemptId, JobAttempt, JobId, MasterEpoch, SessionId, Stage, WorkerId};
use gristmill_common::naming::staged_part_name;
use gristmill_common::task::{AttemptOutput, AttemptReport, AttemptStats, MapOutputSummary, PartSummary};
use gristmill_common::time::{Clock, Timestamp};
use gristmill_master::scheduler::{
    Command, Event, JobRequest, JobState, Scheduler, SchedulerConfig, WorkerProfile, WorkerReport,
};

const JOB: JobId = JobId(1);

/// What passes between two events; a lease of virtual time holds far more of them than there are
/// workers.
const STEP: Duration = Duration::from_micros(2);

/// How often each worker says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Rounds of heartbeats that are timed.
const HEARTBEAT_ROUNDS: u32 = 20;

/// How large the cluster and its job are.
#[derive(Debug, Clone, Copy)]
struct Scale {
    maps: u32,
    reduces: u32,
    workers: u32,
    slots: u32,
}

impl Scale {
    /// From the command line; `cargo bench` adds options of its own, which mean nothing here.
    fn from_args() -> Self {
        let numbers: Vec<u32> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
        let number = |place: usize, usual: u32| numbers.get(place).copied().unwrap_or(usual);
        Self { maps: number(0, 1_000_000), reduces: number(1, 5_000), workers: number(2, 10_000), slots: number(3, 4) }
    }
}

/// A scheduler, and workers that do what it says at once and well.
struct Cluster {
    scale: Scale,
    scheduler: Scheduler,
    now: Timestamp,
    events: u64,
    /// Attempts handed out, the oldest first.
    assigned: VecDeque<(SessionId, JobAttempt)>,
    publishing: bool,
    next_heartbeat: Timestamp,
}

impl Cluster {
    fn new(scale: Scale) -> Self {
        Self {
            scale,
            scheduler: Scheduler::new(SchedulerConfig::default()),
            now: Timestamp::ZERO,
            events: 0,
            assigned: VecDeque::new(),
            publishing: false,
            next_heartbeat: Timestamp::ZERO + HEARTBEAT,
        }
    }

    /// Takes one event in, as a master's driver does.
    fn step(&mut self, event: Event) {
        self.now = self.now + STEP;
        self.events += 1;
        for command in self.scheduler.step(self.now, event) {
            match command {
                Command::StartAttempt { session, id, .. } => self.assigned.push_back((session, id)),
                Command::PublishJob { .. } => self.publishing = true,
                Command::CloseSession { session, .. } => panic!("{session} was lost: its heartbeats came too late"),
                Command::CancelAttempt { .. }
                | Command::DiscardOutput { .. }
                | Command::ProceedUpload { .. }
                | Command::ReleaseJob { .. }
                | Command::UndoJob { .. }
                | Command::Record(_)
                | Command::NotifyWatchers { .. } => {}
            }
        }
        if self.scheduler.next_deadline().is_some_and(|deadline| deadline <= self.now) {
            self.step(Event::DeadlineReached);
        }
    }

    fn report(&mut self, session: SessionId, report: WorkerReport) {
        self.step(Event::WorkerReported { epoch: MasterEpoch(1), session, report });
    }

    fn register_workers(&mut self) {
        for worker in 1..=self.scale.workers {
            let profile = WorkerProfile {
                worker: WorkerId(worker),
                slots: self.scale.slots,
                address: format!("http://worker-{worker}.example:7421"),
                machine: format!("worker-{worker}"),
                scratch: "/var/scratch".to_owned(),
            };
            let session = SessionId(u64::from(worker));
            self.step(Event::WorkerRegistered { session, profile: Arc::new(profile), offers: Vec::new() });
        }
    }

    fn submit(&mut self) {
        let Scale { maps, reduces, .. } = self.scale;
        let request = JobRequest::new(vec![64 << 20; maps as usize], reduces);
        self.step(Event::JobSubmitted { job: JOB, request: Arc::new(request) });
    }

    /// Works on until so many tasks of the stage are done, or the job is decided.
    fn work(&mut self, stage: Stage, done: u32) {
        let mut left = done - self.done(stage);
        while left > 0 {
            let (session, id) = self.assigned.pop_front().expect("an open job has attempts in force");
            self.report(session, WorkerReport::AttemptStarted { id });
            self.report(session, WorkerReport::AttemptFinished { id, report: self.finished(id.attempt) });
            left -= u32::from(id.attempt.task.stage == stage);
            if self.now >= self.next_heartbeat {
                self.beat();
            }
        }
    }

    /// One heartbeat of every worker.
    fn beat(&mut self) {
        for worker in 1..=self.scale.workers {
            self.report(SessionId(u64::from(worker)), WorkerReport::Heartbeat);
        }
        self.next_heartbeat = self.now + HEARTBEAT;
    }

    fn finished(&self, attempt: AttemptId) -> AttemptReport {
        let output = match attempt.task.stage {
            Stage::Map => AttemptOutput::MapOutput(MapOutputSummary {
                partitions: self.scale.reduces,
                bytes: 8 << 20,
                content_hash: 1,
            }),
            Stage::Reduce => AttemptOutput::Part(PartSummary {
                staged_name: staged_part_name(attempt.task.index, attempt),
                bytes: 1,
                records: 1,
                checksum: 1,
                named: Box::default(),
                upload: None,
                left_out: false,
            }),
        };
        let counters = [("lines".to_owned(), 1000)].into_iter().collect::<Counters>();
        let stats = AttemptStats { input_bytes: 64 << 20, wall_micros: 1_000_000, ..AttemptStats::default() };
        AttemptReport { output, counters, stats, bad: None }
    }

    fn done(&self, stage: Stage) -> u32 {
        let job = self.scheduler.job(JOB).expect("it was submitted");
        match stage {
            Stage::Map => job.map.done,
            Stage::Reduce => job.reduce.done,
        }
    }

    fn finish(&mut self) {
        assert!(self.publishing, "all tasks are done");
        self.step(Event::JobPublished { job: JOB });
        assert_eq!(self.scheduler.job(JOB).map(|job| job.state), Some(JobState::Succeeded));
    }
}

/// Bytes of this process in memory.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

/// Prints what `work` cost for each event.
fn timed(
    cluster: &mut Cluster,
    out: &mut impl io::Write,
    what: &str,
    work: impl FnOnce(&mut Cluster),
) -> io::Result<f64> {
    let (clock, events) = (Clock::start(), cluster.events);
    work(cluster);
    let seconds = clock.now().since(Timestamp::ZERO).as_secs_f64();
    let events = (cluster.events - events) as f64;
    let (rate, each) = (events / seconds, seconds / events * 1e6);
    writeln!(out, "{what:<22}{events:>10} events in {seconds:>7.3} s{rate:>12.0} events/s{each:>8.3} us each")?;
    Ok(each)
}

fn main() -> io::Result<()> {
    let scale = Scale::from_args();
    let out = &mut io::stdout().lock();
    let Scale { maps, reduces, workers, slots } = scale;
    writeln!(out, "{maps} map tasks, {reduces} reduce tasks, {workers} workers with {slots} slots each")?;
    let mut cluster = Cluster::new(scale);
    timed(&mut cluster, out, "register", Cluster::register_workers)?;
    let before = resident_bytes();
    timed(&mut cluster, out, "submit", Cluster::submit)?;
    let waiting = resident_bytes();
    let clock = Clock::start();
    let events = cluster.events;
    timed(&mut cluster, out, "first half of the maps", |cluster| cluster.work(Stage::Map, maps / 2))?;
    let (half, half_events) = (clock.now(), cluster.events);
    let beat = timed(&mut cluster, out, "heartbeats", |cluster| (0..HEARTBEAT_ROUNDS).for_each(|_| cluster.beat()))?;
    let (rest, rest_events) = (Clock::start(), cluster.events);
    timed(&mut cluster, out, "second half of the maps", |cluster| cluster.work(Stage::Map, maps))?;
    let done = resident_bytes();
    timed(&mut cluster, out, "reduces", |cluster| cluster.work(Stage::Reduce, reduces))?;
    timed(&mut cluster, out, "end", Cluster::finish)?;

    let seconds = (half.since(Timestamp::ZERO) + rest.now().since(Timestamp::ZERO)).as_secs_f64();
    let events = (half_events - events) + (cluster.events - rest_events);
    let each = |bytes: u64| bytes.saturating_sub(before) / u64::from(maps + reduces);
    writeln!(out)?;
    writeln!(out, "tasks               {:>12}", maps + reduces)?;
    writeln!(out, "workers             {workers:>12}")?;
    writeln!(out, "events              {events:>12}")?;
    writeln!(out, "events/s            {:>12.0}", events as f64 / seconds)?;
    writeln!(out, "bytes/waiting task  {:>12}", each(waiting))?;
    writeln!(out, "bytes/finished task {:>12}", each(done))?;
    writeln!(
        out,
        "heartbeats          {beat:>12.3} us each, {:.2} % of a core at 1 Hz",
        beat * f64::from(workers) / 1e4
    )
}
