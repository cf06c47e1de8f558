//! Two jobs at once: how long a short one takes beside a long one, and whether slots are shared as weights
//! say.

use std::fs;
use std::path::Path;
use std::time::Duration;

use gristmill_common::time::Clock;
use serde::Serialize;
use serde_json::Value;

use super::campaign::words;
use super::leftovers::Leftovers;
use crate::cluster::{Cluster, eventually, run_to_end};

/// Bytes of each split, and so of each map task.
const SPLIT_BYTES: usize = 16 << 10;

/// Map tasks of the short job.
const SHORT_TASKS: usize = 10;

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Sharing {
    /// Map tasks of the long job.
    pub long_tasks: usize,
    /// Seconds of each short job with nothing beside it, from `submit` to its end, the shortest first.
    pub alone_seconds: Vec<f64>,
    /// The same while the long one runs.
    pub beside_seconds: Vec<f64>,
    /// How many times longer the middle one beside the long job took.
    pub ratio: f64,
    /// Whether the long one was still at it when the last short one ended.
    pub long_ends_last: bool,
    /// Attempts in force of the two long jobs of weights 1 and 3, over all samples in which both had tasks
    /// that waited.
    pub active: [u64; 2],
    /// The samples.
    pub samples: u64,
    /// What the first job had of them.
    pub light_share: f64,
    /// What was left when all had ended.
    pub leftovers: Leftovers,
}

/// Measures on a cluster of so many workers of one slot. So many short jobs are timed each way, one after the
/// other; the middle one counts, as one job is over in a tenth of a second.
///
/// # Panics
///
/// If a process cannot be started, or a job fails or does not end in time.
pub fn sharing(binary: &Path, workers: usize, long_tasks: usize, short_jobs: usize) -> Sharing {
    let mut cluster = Cluster::start(binary, workers);
    let [long, short] = [("long", long_tasks), ("short", SHORT_TASKS)].map(|(name, tasks)| {
        let path = cluster.dir().join(name);
        let line = format!("{}\n", "word ".repeat(SPLIT_BYTES / 5));
        fs::write(&path, line.repeat(tasks * SPLIT_BYTES / line.len())).expect("a scratch file");
        path.to_str().expect("scratch paths are UTF-8").to_owned()
    });
    let split = SPLIT_BYTES.to_string();
    let job = |input: &str, name: &str, weight: &str| -> Vec<String> {
        let output = cluster.dir().join(name).to_str().expect("scratch paths are UTF-8").to_owned();
        let args = ["word-count", "-i", input, "-o", &output, "--split-size", &split, "--reducers", "2"];
        args.into_iter().chain(["--weight", weight]).map(str::to_owned).collect()
    };
    let timed = |name: String| {
        let clock = Clock::start();
        let args = job(&short, &name, "1");
        let ended = run_to_end(cluster.command(&[&["submit"], &words(&args)[..]].concat()));
        assert!(
            ended.status.success(),
            "{}: {}",
            job(&short, &name, "1").join(" "),
            String::from_utf8_lossy(&ended.stderr)
        );
        Duration::from_micros(clock.now().as_micros()).as_secs_f64()
    };
    let several = |name: &str| {
        let mut seconds: Vec<f64> = (0..short_jobs).map(|number| timed(format!("{name}-{number}"))).collect();
        seconds.sort_by(f64::total_cmp);
        seconds
    };
    let detached = |name: &str, weight: &str| {
        let args = job(&long, name, weight);
        cluster.submit_detached(&words(&args))
    };
    // Executors start with the first job.
    timed("first".to_owned());
    let alone_seconds = several("alone");
    let beside = detached("long-one", "1");
    cluster.wait_for_job(&beside, "a beginning", |status| status["stats"]["map"]["done"] != 0);
    let beside_seconds = several("beside");
    let ratio = beside_seconds[short_jobs / 2] / alone_seconds[short_jobs / 2];
    let long_ends_last = cluster.json(&["status", &beside])["state"] != "succeeded";
    cluster.wait_for_job(&beside, "success", |status| status["state"] == "succeeded");
    let both = [detached("light", "1"), detached("heavy", "3")];
    let (active, samples) = sample(&cluster, &both);
    let light_share = active[0] as f64 / (active[0] + active[1]).max(1) as f64;
    for job in both {
        // One that has succeeded by now cannot be cancelled, and says so.
        cluster.run(&["cancel", &job]);
        let over = ["cancelled", "succeeded"];
        cluster.wait_for_job(&job, "its end", |status| over.iter().any(|state| status["state"] == *state));
    }
    let ours = names(short_jobs);
    let leftovers = Leftovers::at_the_end(&mut cluster, None, &words(&ours));
    Sharing {
        long_tasks,
        alone_seconds,
        beside_seconds,
        ratio,
        long_ends_last,
        active,
        samples,
        light_share,
        leftovers,
    }
}

/// The names of all inputs and outputs.
fn names(short_jobs: usize) -> Vec<String> {
    let numbered = (0..short_jobs).flat_map(|number| ["alone", "beside"].map(|name| format!("{name}-{number}")));
    ["long", "short", "first", "long-one", "light", "heavy"].map(str::to_owned).into_iter().chain(numbered).collect()
}

/// Attempts in force of two jobs, summed over samples until one of them has nothing more to assign.
fn sample(cluster: &Cluster, jobs: &[String; 2]) -> ([u64; 2], u64) {
    let (mut active, mut samples) = ([0, 0], 0);
    let over = eventually(|| {
        let listed = cluster.json(&["jobs"]);
        let maps: Vec<&Value> = jobs.iter().filter_map(|job| map_stage(&listed, job)).collect();
        let count = |stage: &Value, field: &str| stage[field].as_u64().unwrap_or_default();
        let waits = |stage: &&Value| count(stage, "tasks") > count(stage, "done") + count(stage, "active");
        if let [light, heavy] = maps[..]
            && maps.iter().all(waits)
            && maps.iter().all(|stage| count(stage, "done") > 0)
        {
            active = [active[0] + count(light, "active"), active[1] + count(heavy, "active")];
            samples += 1;
        }
        maps.len() == jobs.len() && !maps.iter().all(waits)
    });
    assert!(over, "neither of two jobs assigned all its tasks\n{}", cluster.logs());
    (active, samples)
}

/// What a listing says of a job's map stage.
fn map_stage<'a>(listed: &'a Value, job: &str) -> Option<&'a Value> {
    let found = listed["jobs"].as_array()?.iter().find(|listed| listed["job"] == job)?;
    Some(&found["stats"]["map"])
}
