//! A master that is killed at random moments of running jobs, and started again on its folder and port.

use std::thread;
use std::time::Duration;

use gristmill_common::time::Clock;
use serde::Serialize;
use serde_json::Value;

use super::campaign::{JobData, lost_attempts, words};
use super::leftovers::Leftovers;
use super::options::ChaosOptions;
use crate::cluster::{Cluster, run_to_end};
use crate::random::Random;

/// How long after it serves a master is killed, in milliseconds: from when it has only begun to hear of its
/// workers to when some tasks were done under it.
const GAP_MS: (u64, u64) = (20, 2500);

/// How often it is looked whether the job has ended.
const TICK: Duration = Duration::from_millis(5);

/// Where every job puts its output.
const OUTPUT: &str = "counts";

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Moments {
    /// Masters killed.
    pub kills: u32,
    /// Jobs that ran meanwhile.
    pub jobs: usize,
    /// Their seconds, in order.
    pub seconds: Vec<f64>,
    /// Jobs that were lost, failed or gave another output than the embedded run, and how they ended.
    pub wrong: Vec<String>,
    /// Attempts that were lost though all workers lived: work that was done again.
    pub attempts_lost: u64,
    /// What was left when all had ended.
    pub leftovers: Leftovers,
}

impl Moments {
    /// Whether no job was lost, no work done again and nothing left.
    pub fn is_clean(&self) -> bool {
        let Self { kills, wrong, attempts_lost, leftovers, .. } = self;
        *kills > 0 && wrong.is_empty() && *attempts_lost == 0 && leftovers.is_empty()
    }
}

/// Runs jobs, one after the other, until `kills` masters were killed while one ran.
///
/// # Panics
///
/// If a process cannot be started, or a job does not end in time.
pub fn moments(options: &ChaosOptions, kills: u32) -> Moments {
    let mut random = Random::new(options.seed);
    let mut cluster = Cluster::start(&options.binary, options.workers);
    let data = JobData::prepare(&cluster, options.megabytes);
    let (clock, mut moments) = (Clock::start(), Moments::default());
    let now = || Duration::from_micros(clock.now().as_micros());
    while moments.kills < kills {
        let started = now();
        let job = cluster.submit_detached(&words(&data.submission(OUTPUT, &[])));
        let watch = cluster.command(&["watch", &job]);
        let watched = thread::spawn(|| run_to_end(watch));
        let mut next = now() + gap(&mut random);
        while !watched.is_finished() {
            if next <= now() && moments.kills < kills {
                cluster.kill_master();
                cluster.restart_master();
                moments.kills += 1;
                next = now() + gap(&mut random);
            }
            thread::park_timeout(TICK);
        }
        let ended = watched.join().expect("clients end");
        moments.seconds.push((now() - started).as_secs_f64());
        moments.look_at(&cluster, &data, &job, &String::from_utf8_lossy(&ended.stderr));
    }
    moments.leftovers = Leftovers::at_the_end(&mut cluster, Some(data.outputs()), &JobData::FOLDERS);
    moments
}

fn gap(random: &mut Random) -> Duration {
    Duration::from_millis(random.within(GAP_MS.0, GAP_MS.1))
}

impl Moments {
    fn look_at(&mut self, cluster: &Cluster, data: &JobData, job: &str, said: &str) {
        self.jobs += 1;
        let status: Value = cluster.json(&["status", job]);
        self.attempts_lost += lost_attempts(&status, &["map", "reduce"]);
        if status["state"] != "succeeded" || !data.is_right(OUTPUT) {
            self.wrong.push(format!("{job} is {}: {said}", status["state"]));
        }
        data.remove(OUTPUT);
    }
}
