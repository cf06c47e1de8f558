//! How long a job takes disturbed and undisturbed.

use std::thread;
use std::time::Duration;

use gristmill_common::time::{Clock, Timestamp};
use rustix::process::Signal;
use serde::Serialize;

use super::campaign::JobData;
use super::options::ChaosOptions;
use super::processes::{signal, tree};
use crate::cluster::Cluster;
use crate::random::Random;

/// How often a worker is killed.
const WORKER_EVERY: Duration = Duration::from_secs(2);

/// How often the master is.
const MASTER_EVERY: Duration = Duration::from_secs(5);

/// The duty cycle of a slow worker: of each period it runs a tenth.
const PERIOD: Duration = Duration::from_millis(100);
const RUNS: Duration = Duration::from_millis(10);

/// How often it is looked whether something is due.
const TICK: Duration = Duration::from_millis(5);

/// What disturbs a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disturbance {
    /// Nothing.
    None,
    /// A random worker is killed every two seconds and started at once on its folder.
    WorkersDie,
    /// That, and the master every five seconds, on its folder and port.
    WorkersAndMasterDie,
    /// One worker with its executors runs a tenth of the time.
    OneSlow,
}

impl Disturbance {
    const ALL: [Self; 4] = [Self::None, Self::WorkersDie, Self::WorkersAndMasterDie, Self::OneSlow];
}

/// The times of one job under one disturbance.
#[derive(Debug, Serialize)]
pub struct Pace {
    /// What disturbed it.
    pub disturbance: Disturbance,
    /// From `submit` to its end, run by run.
    pub seconds: Vec<f64>,
    /// The mean, in times of the undisturbed runs' mean.
    pub ratio: f64,
    /// Runs that failed or gave another output than the embedded run.
    pub wrong: usize,
}

/// Times a job `repeat` times under each disturbance, with these flags of `submit`.
///
/// # Panics
///
/// If a process cannot be started, or a cluster does not come up in time.
pub fn pace(options: &ChaosOptions, repeat: u32, flags: &[String]) -> Vec<Pace> {
    let mut random = Random::new(options.seed);
    let mut undisturbed = None;
    let measure = |disturbance| {
        let runs: Vec<(f64, bool)> = (0..repeat).map(|_| run(options, disturbance, flags, &mut random)).collect();
        let seconds: Vec<f64> = runs.iter().map(|(seconds, _)| *seconds).collect();
        let mean = seconds.iter().sum::<f64>() / seconds.len() as f64;
        let ratio = mean / *undisturbed.get_or_insert(mean);
        Pace { disturbance, seconds, ratio, wrong: runs.iter().filter(|(_, right)| !right).count() }
    };
    Disturbance::ALL.into_iter().map(measure).collect()
}

/// One job on a new cluster: its seconds, and whether its output is right.
fn run(options: &ChaosOptions, disturbance: Disturbance, flags: &[String], random: &mut Random) -> (f64, bool) {
    let mut cluster = Cluster::start(&options.binary, options.workers);
    let data = JobData::prepare(&cluster, options.megabytes);
    let clock = Clock::start();
    let job = data.submit(&cluster, "output", flags);
    let (mut worker_dies, mut master_dies) = (clock.now() + WORKER_EVERY, clock.now() + MASTER_EVERY);
    let kills_workers = matches!(disturbance, Disturbance::WorkersDie | Disturbance::WorkersAndMasterDie);
    while !job.is_finished() {
        if kills_workers && worker_dies <= clock.now() {
            let worker = random.within(0, options.workers as u64) as usize;
            cluster.kill_worker(worker);
            cluster.start_worker(worker);
            worker_dies = worker_dies + WORKER_EVERY;
        }
        if disturbance == Disturbance::WorkersAndMasterDie && master_dies <= clock.now() {
            cluster.kill_master();
            cluster.restart_master();
            master_dies = master_dies + MASTER_EVERY;
        }
        if disturbance == Disturbance::OneSlow {
            slow_down(&cluster, &clock);
        } else {
            thread::park_timeout(TICK);
        }
    }
    let seconds = (clock.now() - Timestamp::ZERO).as_secs_f64();
    let succeeded = job.join().is_ok_and(|output| output.status.success());
    (seconds, succeeded && data.check_and_remove("output"))
}

/// One period of a worker that runs a tenth of the time.
fn slow_down(cluster: &Cluster, clock: &Clock) {
    let pause = |length: Duration| {
        let end = clock.now() + length;
        while clock.now() < end {
            thread::park_timeout(end - clock.now());
        }
    };
    let pids = tree(cluster.worker_pid(0));
    signal(&pids, Signal::STOP);
    pause(PERIOD - RUNS);
    signal(&pids, Signal::CONT);
    pause(RUNS);
}
