//! A store that fails now and then: what it gives is right, and takes little longer.

use std::collections::BTreeMap;
use std::time::Duration;

use gristmill_common::time::Clock;
use serde::Serialize;

use crate::stores::{FaultProxy, Rates, StoreTrial};
use crate::waiting::end_of;

/// Of a hundred requests five are refused for the moment; of a hundred writes the answer to one is lost, and
/// of a hundred answers to reads one breaks off.
pub(super) const RATES: Rates =
    Rates { internal_error: 25, slow_down: 25, truncate: 10, lose_reply: 10, conflict: 0, stall: 0, reset: 0 };

/// Bytes of each split: small, so that there are many requests.
const SPLIT: &str = "256KiB";

/// How many times longer a job may take.
const MOST: f64 = 1.5;

/// How long jobs took.
#[derive(Debug, Default, Serialize)]
pub struct FaultTimes {
    /// In one process.
    pub here: Times,
    /// On a cluster.
    pub there: Times,
    /// Requests while there were faults.
    pub requests: u64,
    /// Faults by kind.
    pub faults: BTreeMap<String, u64>,
    /// What was wrong.
    pub wrong: Vec<String>,
}

/// How long a job took without faults and with them, in seconds, the shortest first.
#[derive(Debug, Default, Serialize)]
pub struct Times {
    /// Without.
    pub clear: Vec<f64>,
    /// With.
    pub faulty: Vec<f64>,
    /// How many times longer the middle one with faults took.
    pub ratio: f64,
}

impl FaultTimes {
    /// Whether all was right, and soon enough.
    pub fn is_clean(&self) -> bool {
        self.wrong.is_empty()
            && self.faults.values().sum::<u64>() > 0
            && [&self.here, &self.there].iter().all(|times| times.ratio > 0.0 && times.ratio <= MOST)
    }
}

impl Times {
    fn conclude(&mut self) {
        for times in [&mut self.clear, &mut self.faulty] {
            times.sort_by(f64::total_cmp);
        }
        let middle = |times: &[f64]| times.get(times.len() / 2).copied().unwrap_or_default();
        self.ratio = middle(&self.faulty) / middle(&self.clear);
    }
}

/// Times the job without faults and with them in turn, so often, here and on so many workers.
///
/// # Panics
///
/// If a process cannot be started, or a job does not end in time.
pub fn faults(trial: &StoreTrial, workers: usize, repeat: u32, seed: u64) -> FaultTimes {
    let mut seen = FaultTimes::default();
    let cluster = trial.cluster(workers);
    let proxy = FaultProxy::to(&trial.server().url());
    let mut one = |round: u32, faulty: bool, is_here: bool| -> f64 {
        let folder =
            format!("{}-{round}-{}", if is_here { "run" } else { "job" }, if faulty { "faulty" } else { "clear" });
        let before = proxy.counters();
        if faulty {
            proxy.at_rates(seed.wrapping_mul(1000) + 2 * u64::from(round) + u64::from(is_here), RATES);
        } else {
            proxy.passing();
        }
        let job = [trial.job(&folder, &proxy.url()), ["--split-size", SPLIT].map(str::to_owned).to_vec()].concat();
        let clock = Clock::start();
        let output = match is_here {
            true => trial.run(&job),
            false => {
                let mut submit = trial.submit(&cluster, &job);
                end_of(&mut submit);
                submit.wait_with_output().expect("it has ended")
            }
        };
        let seconds = Duration::from_micros(clock.now().as_micros()).as_secs_f64();
        if !output.status.success() {
            seen.wrong.push(format!("{folder}: {}\n{}", String::from_utf8_lossy(&output.stderr), cluster.logs()));
        }
        seen.wrong.extend(trial.wrong_with(&folder).map(|wrong| format!("{folder}: {wrong}")));
        let after = proxy.counters();
        if faulty {
            seen.requests += after.requests - before.requests;
            for (fault, count) in &after.faults {
                let earlier = before.faults.get(fault).copied().unwrap_or_default();
                *seen.faults.entry(format!("{fault:?}")).or_default() += count - earlier;
            }
        }
        trial.server().remove(&folder);
        seconds
    };
    let (mut here, mut there) = (Times::default(), Times::default());
    // Executors start with the first job.
    one(0, false, false);
    for round in 1..=repeat {
        for (times, is_here) in [(&mut here, true), (&mut there, false)] {
            times.clear.push(one(round, false, is_here));
            times.faulty.push(one(round, true, is_here));
        }
    }
    here.conclude();
    there.conclude();
    FaultTimes { here, there, ..seen }
}
