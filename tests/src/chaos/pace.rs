//! How long a job takes disturbed and undisturbed.

use std::thread;
use std::time::Duration;

use gristmill_common::time::{Clock, Timestamp};
use rustix::process::Signal;
use serde::Serialize;

use super::campaign::JobData;
use super::leftovers::Leftovers;
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

    fn kills_workers(self) -> bool {
        matches!(self, Self::WorkersDie | Self::WorkersAndMasterDie)
    }
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
    /// What was left of runs, where anything was.
    pub left: Vec<String>,
}

impl Pace {
    fn new(disturbance: Disturbance) -> Self {
        Self { disturbance, seconds: vec![], ratio: 1.0, wrong: 0, left: vec![] }
    }

    fn mean(&self) -> f64 {
        self.seconds.iter().sum::<f64>() / self.seconds.len() as f64
    }
}

/// Of how many rounds one has the runs that vary little: undisturbed, and with a slow worker.
const STEADY: u32 = 3;

/// Times a job under each disturbance, with these flags of `submit`, each time on a new cluster: `repeat`
/// rounds of one run with each, in turn, so that what else the machine does is spread over all of them.
///
/// # Panics
///
/// If a process cannot be started, or a cluster does not come up in time.
pub fn pace(options: &ChaosOptions, repeat: u32, flags: &[String]) -> Vec<Pace> {
    let mut random = Random::new(options.seed);
    let home = Cluster::without_workers(&options.binary);
    let data = JobData::prepare(&home, options.megabytes);
    let mut paces: Vec<Pace> = Disturbance::ALL.into_iter().map(Pace::new).collect();
    for round in 0..repeat {
        for pace in &mut paces {
            if round % STEADY == 0 || pace.disturbance.kills_workers() {
                let (seconds, right, left) = run(options, &data, pace.disturbance, flags, &mut random);
                pace.seconds.push(seconds);
                pace.wrong += usize::from(!right);
                pace.left.extend(left);
            }
        }
    }
    let undisturbed = paces[0].mean();
    for pace in &mut paces {
        pace.ratio = pace.mean() / undisturbed;
    }
    paces
}

/// One job on a new cluster: its seconds, whether its output is right, and what was left, if anything was.
fn run(
    options: &ChaosOptions,
    data: &JobData,
    disturbance: Disturbance,
    flags: &[String],
    random: &mut Random,
) -> (f64, bool, Option<String>) {
    let mut cluster = Cluster::start(&options.binary, options.workers);
    let clock = Clock::start();
    let job = data.submit(&cluster, "output", flags);
    let (mut worker_dies, mut master_dies) = (clock.now() + WORKER_EVERY, clock.now() + MASTER_EVERY);
    while !job.is_finished() {
        if disturbance.kills_workers() && worker_dies <= clock.now() {
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
    let right = succeeded && data.check_and_remove("output");
    let left = Leftovers::at_the_end(&mut cluster, Some(data.outputs()), &[]).found();
    (seconds, right, left)
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
