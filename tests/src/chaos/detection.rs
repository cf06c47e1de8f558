//! How long a master takes to notice that a worker is gone: that it ended, or that it stands still.

use std::path::Path;
use std::time::Duration;

use gristmill_common::time::{Clock, Timestamp};
use serde::Serialize;

use super::leftovers::Leftovers;
use crate::cluster::{Cluster, eventually};

/// Workers of the cluster; one of them falls silent.
const WORKERS: usize = 2;

/// How a worker falls silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Silence {
    /// SIGKILL: its connections break at once.
    Killed,
    /// SIGSTOP: its connections stay, and nothing comes over them.
    Stopped,
}

impl Silence {
    const ALL: [Self; 2] = [Self::Killed, Self::Stopped];

    /// Within what time the master has to give its work to others: what a broken stream may take to be
    /// resumed, or a lease, and half a second to a second for everything else.
    fn goal(self) -> Duration {
        match self {
            Self::Killed => Duration::from_secs(1),
            Self::Stopped => Duration::from_secs(6),
        }
    }
}

/// When a master held a silent worker for lost, in seconds since the signal, run by run. It is looked
/// at from outside, so each moment is known to lie between two others.
#[derive(Debug, Serialize)]
pub struct Detection {
    /// How the worker fell silent.
    pub silence: Silence,
    /// When the last look began that did not show it lost.
    pub after: Vec<f64>,
    /// When the first look ended that did.
    pub before: Vec<f64>,
}

impl Detection {
    /// Whether no run is known to have taken longer than it may.
    pub fn is_in_time(&self) -> bool {
        self.after.iter().all(|seconds| *seconds < self.silence.goal().as_secs_f64())
    }
}

/// What came of all runs.
#[derive(Debug, Serialize)]
pub struct Detections {
    /// Each way of falling silent.
    pub silences: Vec<Detection>,
    /// What was left when all had ended.
    pub leftovers: Leftovers,
}

impl Detections {
    /// Whether all were in time and nothing was left.
    pub fn is_clean(&self) -> bool {
        self.silences.iter().all(Detection::is_in_time) && self.leftovers.is_empty()
    }
}

/// Lets a worker fall silent `repeat` times in each way.
///
/// # Panics
///
/// If a process cannot be started, or the master never notices.
pub fn detection(binary: &Path, repeat: u32) -> Detections {
    let mut cluster = Cluster::start(binary, WORKERS);
    let mut measure = |silence| {
        let (after, before) = (0..repeat).map(|_| run(&mut cluster, silence)).unzip();
        Detection { silence, after, before }
    };
    let silences = Silence::ALL.into_iter().map(&mut measure).collect();
    cluster.wait_for_live_workers(WORKERS);
    Detections { silences, leftovers: Leftovers::at_the_end(&mut cluster, None, &[]) }
}

/// Between which seconds the master noticed.
fn run(cluster: &mut Cluster, silence: Silence) -> (f64, f64) {
    cluster.wait_for_live_workers(WORKERS);
    let clock = Clock::start();
    let seconds = || (clock.now() - Timestamp::ZERO).as_secs_f64();
    match silence {
        Silence::Killed => cluster.kill_worker(0),
        Silence::Stopped => cluster.signal_worker(0, "STOP"),
    }
    let (mut after, mut before) = (0.0, 0.0);
    let noticed = eventually(|| {
        let began = seconds();
        let lost = has_lost_one(cluster);
        if lost {
            before = seconds();
        } else {
            after = began;
        }
        lost
    });
    assert!(noticed, "the master never noticed\n{}", cluster.logs());
    match silence {
        Silence::Killed => cluster.start_worker(0),
        Silence::Stopped => cluster.signal_worker(0, "CONT"),
    }
    (after, before)
}

/// Whether the master counts on fewer workers than there were.
fn has_lost_one(cluster: &Cluster) -> bool {
    let shown = cluster.json(&["workers"]);
    let workers = shown["workers"].as_array().map(Vec::as_slice).unwrap_or_default();
    workers.iter().filter(|worker| worker["state"] == "live" || worker["state"] == "suspect").count() < WORKERS
}
