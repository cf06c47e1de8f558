//! Whether a master counts workers out that are only slow to answer: jobs one after the other on more slots
//! than there are processors, beside processes that take all they can get.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gristmill_common::time::Clock;
use serde::Serialize;
use serde_json::Value;

use super::campaign::{JobData, lost_attempts, words};
use super::leftovers::Leftovers;
use crate::cluster::{Cluster, run_to_end};

/// Workers, of two slots each.
const WORKERS: usize = 3;

/// Input of each job.
const MEGABYTES: u32 = 60;

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Overload {
    /// How long it lasted.
    pub seconds: f64,
    /// Jobs that ended meanwhile.
    pub jobs: usize,
    /// Jobs that failed or gave another output than the embedded run.
    pub wrong: usize,
    /// Sessions of workers that the master gave up though their processes lived.
    pub sessions_lost: usize,
    /// Attempts that were lost with them.
    pub attempts_lost: u64,
    /// What the master refused as stale, by reason. The slower of two attempts of a task may be told of its
    /// end only after it has reported; nothing is lost by that.
    pub refusals: BTreeMap<String, u64>,
    /// What was left when all had ended.
    pub leftovers: Leftovers,
}

impl Overload {
    /// Whether nobody was given up.
    pub fn is_clean(&self) -> bool {
        let Self { jobs, wrong, sessions_lost, attempts_lost, refusals, leftovers, .. } = self;
        let given_up = |reason: &str| refusals.get(reason).is_some_and(|count| *count > 0);
        let refused = given_up("session") || given_up("epoch");
        *jobs > 0 && *wrong == 0 && *sessions_lost == 0 && *attempts_lost == 0 && !refused && leftovers.is_empty()
    }
}

/// A process that takes a processor, until it is dropped.
struct Busy(Child);

impl Busy {
    fn start() -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
        Self(command.spawn().expect("sh is a standard tool"))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // One that is gone already is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs jobs for `seconds`, with as many busy processes as there are processors beside them.
///
/// # Panics
///
/// If a process cannot be started, or a job does not end in time.
pub fn overload(binary: &Path, seconds: u64) -> Overload {
    let mut cluster = Cluster::start_with(binary, WORKERS, &["--slots", "2"]);
    let data = JobData::prepare(&cluster, MEGABYTES);
    let sessions = sessions(&cluster);
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let busy: Vec<Busy> = (0..processors).map(|_| Busy::start()).collect();
    let (clock, mut overload) = (Clock::start(), Overload::default());
    while clock.now().as_micros() < seconds * 1_000_000 {
        let submission = data.submission("counts", &[]);
        let ended = run_to_end(cluster.command(&[&["submit"], &words(&submission)[..], &["--json"]].concat()));
        overload.jobs += 1;
        let job: Value = serde_json::from_slice(&ended.stdout).unwrap_or_default();
        overload.attempts_lost += lost_attempts(&job, &["map", "reduce"]);
        if !(ended.status.success() && data.check_and_remove("counts")) {
            overload.wrong += 1;
        }
    }
    overload.seconds = Duration::from_micros(clock.now().as_micros()).as_secs_f64();
    drop(busy);
    overload.sessions_lost = sessions.iter().filter(|session| !self::sessions(&cluster).contains(session)).count();
    let shown = cluster.json(&["workers"]);
    let refusals = shown["stale_refusals"].as_object().into_iter().flatten();
    overload.refusals = refusals.filter_map(|(reason, count)| Some((reason.clone(), count.as_u64()?))).collect();
    overload.leftovers = Leftovers::at_the_end(&mut cluster, Some(data.outputs()), &JobData::FOLDERS);
    overload
}

/// The sessions that are live.
fn sessions(cluster: &Cluster) -> Vec<String> {
    let shown = cluster.json(&["workers"]);
    let workers = shown["workers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let live = workers.iter().filter(|worker| worker["state"] == "live");
    live.filter_map(|worker| worker["session"].as_str()).map(str::to_owned).collect()
}
