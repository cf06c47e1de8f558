//! Jobs, one after the other, against a seeded schedule of faults.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use gristmill_common::time::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::arena::Arena;
use super::disk::SmallDisk;
use super::leftovers::Leftovers;
use super::options::{ChaosOptions, FaultKind};
use crate::cluster::{Cluster, run_to_end};
use crate::data::parts;
use crate::random::Random;

/// Pause between two faults, in milliseconds.
const GAP_MS: (u64, u64) = (300, 2000);

/// How often the campaign looks around.
const TICK: Duration = Duration::from_millis(10);

/// What lies in the cluster's folder besides what the processes keep there.
const OURS: [&str; 3] = ["text", "reference", "outputs"];

/// A file, and what it says, that an output may replace.
const ANOTHER: (&str, &str) = ("part-00000", "what was there before\n");

/// What came of a campaign.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// The seed.
    pub seed: u64,
    /// How long it took, until the last process had ended.
    pub seconds: f64,
    /// Jobs that ended.
    pub jobs: u64,
    /// How long each took, from `submit` to its end.
    pub job_seconds: Vec<f64>,
    /// Faults by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Kinds of faults that could not be, and why.
    pub skipped: BTreeMap<FaultKind, String>,
    /// Jobs that succeeded with an output other than the embedded run's, by number from 0.
    pub wrong_outputs: Vec<u64>,
    /// Jobs that did not succeed, and what `submit` said.
    pub failed_jobs: Vec<String>,
    /// Processes that ended though nobody killed them.
    pub unexplained: Vec<String>,
    /// What was left.
    pub leftovers: Leftovers,
}

impl Verdict {
    /// Whether all is as it must be.
    pub fn is_clean(&self) -> bool {
        self.jobs > 0
            && self.wrong_outputs.is_empty()
            && self.failed_jobs.is_empty()
            && self.unexplained.is_empty()
            && self.leftovers.is_empty()
    }
}

/// Runs a campaign. On anything wrong the processes' logs are copied to `keep_logs`, if given.
///
/// # Panics
///
/// If a process cannot be started, or the cluster does not come to rest in time.
pub fn campaign(options: &ChaosOptions, keep_logs: Option<&Path>) -> Verdict {
    let (disks, skipped) = match options.mix.contains(&FaultKind::Full) {
        true => match (0..options.workers).map(|_| SmallDisk::mount()).collect() {
            Ok(disks) => (disks, BTreeMap::new()),
            Err(why) => (vec![], BTreeMap::from([(FaultKind::Full, why)])),
        },
        false => (vec![], BTreeMap::new()),
    };
    let arena = Arena::new(&options.binary, options.workers, disks);
    let data = JobData::prepare(&arena.cluster, options.megabytes);
    let mut run = Run { options, skipped, arena, data, job: None, job_seconds: vec![], wrong: vec![], failed: vec![] };
    run.disturb();
    let verdict = run.conclude();
    if let (false, Some(to)) = (verdict.is_clean(), keep_logs) {
        run.arena.cluster.copy_logs(to);
    }
    verdict
}

/// The input of the jobs, and the output they must have.
#[derive(Debug)]
pub(super) struct JobData {
    text: PathBuf,
    outputs: PathBuf,
    reference: BTreeMap<String, Vec<u8>>,
}

impl JobData {
    /// What it keeps in the cluster's folder.
    pub(super) const FOLDERS: [&str; 3] = OURS;

    /// Generates the input and runs the job embedded, in the cluster's folder.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub(super) fn prepare(cluster: &Cluster, megabytes: u32) -> Self {
        let [text, here, outputs] = OURS.map(|name| cluster.dir().join(name));
        let succeed = |args: &[&str]| {
            let output = run_to_end(cluster.embedded(args));
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        };
        succeed(&["generate", "text", "-o", arg(&text), "--bytes", &format!("{megabytes}MB"), "--files", "4"]);
        fs::create_dir(&outputs).expect("a scratch folder");
        let mut data = Self { text, outputs, reference: BTreeMap::new() };
        succeed(&[&["run"], &data.word_count(&here)[..]].concat());
        data.reference = parts(&here);
        data
    }

    /// Starts the job with its output in a folder of this name, as `submit` with these flags.
    pub(super) fn submit(&self, cluster: &Cluster, name: &str, flags: &[String]) -> JoinHandle<Output> {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let submission = self.submission(name, &flags);
        let command = cluster.command(&[&["submit"], &words(&submission)[..]].concat());
        thread::spawn(|| run_to_end(command))
    }

    /// The arguments of a `submit` with these flags, whose output gets this name.
    pub(super) fn submission(&self, name: &str, flags: &[&str]) -> Vec<String> {
        let output = self.output(name);
        self.word_count(&output).iter().chain(flags).map(|word| (*word).to_owned()).collect()
    }

    /// The folder in which outputs lie, and nothing else.
    pub(super) fn outputs(&self) -> &Path {
        &self.outputs
    }

    /// Puts something else in the place of an output, which a job may replace.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub(super) fn place_another(&self, name: &str) {
        fs::create_dir(self.output(name)).expect("a scratch folder");
        fs::write(self.output(name).join(ANOTHER.0), ANOTHER.1).expect("a scratch file");
    }

    /// Whether what was put in the place of an output is there, and nothing else.
    pub(super) fn is_another(&self, name: &str) -> bool {
        let names = fs::read_dir(self.output(name)).map_or(0, Iterator::count);
        names == 1 && fs::read_to_string(self.output(name).join(ANOTHER.0)).is_ok_and(|text| text == ANOTHER.1)
    }

    /// Whether the output of this name is there and the reference's.
    pub(super) fn is_right(&self, name: &str) -> bool {
        self.output(name).is_dir() && parts(&self.output(name)) == self.reference
    }

    /// Removes whatever is in the place of an output.
    pub(super) fn remove(&self, name: &str) {
        // What cannot be removed is found as a leftover.
        let _ = fs::remove_dir_all(self.output(name));
    }

    /// Whether the output of this name is the reference's; it is removed.
    ///
    /// # Panics
    ///
    /// If there is no such output.
    pub(super) fn check_and_remove(&self, name: &str) -> bool {
        let same = parts(&self.output(name)) == self.reference;
        fs::remove_dir_all(self.output(name)).expect("an output can be removed");
        same
    }

    fn output(&self, name: &str) -> PathBuf {
        self.outputs.join(name)
    }

    /// A job of many small tasks, so that something always runs when a fault comes.
    fn word_count<'a>(&'a self, output: &'a Path) -> Vec<&'a str> {
        vec!["word-count", "-i", arg(&self.text), "-o", arg(output), "--split-size", "512KiB", "--reducers", "3"]
    }
}

/// Attempts of these stages that a job's status counts as lost.
pub(super) fn lost_attempts(status: &Value, stages: &[&str]) -> u64 {
    stages.iter().filter_map(|stage| status["stats"][stage]["lost_attempts"].as_u64()).sum()
}

/// Arguments as commands take them.
pub(super) fn words(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

fn arg(path: &Path) -> &str {
    path.to_str().expect("scratch paths are UTF-8")
}

/// The exit code of `submit` when there is no master.
const UNREACHABLE: i32 = 4;

/// A campaign as it runs.
struct Run<'o> {
    options: &'o ChaosOptions,
    skipped: BTreeMap<FaultKind, String>,
    arena: Arena,
    data: JobData,
    /// The job that runs, and since when.
    job: Option<(JoinHandle<Output>, Timestamp)>,
    job_seconds: Vec<f64>,
    wrong: Vec<u64>,
    failed: Vec<String>,
}

impl Run<'_> {
    /// Lets faults come until the time is over, while jobs run.
    fn disturb(&mut self) {
        let mut random = Random::new(self.options.seed);
        let end = self.arena.now() + Duration::from_secs(self.options.seconds);
        let gap = |random: &mut Random| Duration::from_millis(random.within(GAP_MS.0, GAP_MS.1));
        let mut next = self.arena.now() + gap(&mut random);
        while self.arena.now() < end {
            self.look_after_job();
            if self.job.is_none() {
                let name = self.job_seconds.len().to_string();
                self.job = Some((self.data.submit(&self.arena.cluster, &name, &[]), self.arena.now()));
            }
            if next <= self.arena.now() {
                // Drawn from the whole mix, so that a seed means the same order wherever it runs.
                let kind = *random.pick(&self.options.mix);
                if !self.skipped.contains_key(&kind) {
                    self.arena.inflict(kind, &mut random);
                }
                next = self.arena.now() + gap(&mut random);
            }
            self.arena.tend();
            thread::park_timeout(TICK);
        }
    }

    /// Checks a job that has ended.
    fn look_after_job(&mut self) {
        let Some((job, since)) = self.job.take_if(|(job, _)| job.is_finished()) else { return };
        let number = self.job_seconds.len() as u64;
        let ended = job.join();
        // The first connection is tried once: nothing was submitted, and the next look submits it anew.
        if ended.as_ref().is_ok_and(|output| output.status.code() == Some(UNREACHABLE) && output.stdout.is_empty()) {
            return;
        }
        self.job_seconds.push((self.arena.now() - since).as_secs_f64());
        match ended {
            Ok(output) if output.status.success() => {
                if !self.data.check_and_remove(&number.to_string()) {
                    self.wrong.push(number);
                }
            }
            Ok(output) => self.failed.push(format!("{number}: {}", String::from_utf8_lossy(&output.stderr))),
            Err(_) => self.failed.push(format!("{number}: submit did not end")),
        }
    }

    /// Ends the faults, waits for the last job and for all workers, ends everything and looks for what
    /// is left.
    fn conclude(&mut self) -> Verdict {
        self.arena.calm();
        while self.job.is_some() {
            self.look_after_job();
            self.arena.tend();
            thread::park_timeout(TICK);
        }
        let (arena, workers) = (&mut self.arena, self.options.workers);
        arena.cluster.wait_for_live_workers(workers);
        let leftovers = Leftovers::at_the_end(&mut arena.cluster, Some(&self.data.outputs), &OURS);
        Verdict {
            seed: self.options.seed,
            seconds: (arena.now() - Timestamp::ZERO).as_secs_f64(),
            jobs: self.job_seconds.len() as u64,
            job_seconds: std::mem::take(&mut self.job_seconds),
            faults: std::mem::take(&mut arena.faults),
            skipped: std::mem::take(&mut self.skipped),
            wrong_outputs: std::mem::take(&mut self.wrong),
            failed_jobs: std::mem::take(&mut self.failed),
            unexplained: std::mem::take(&mut arena.unexplained),
            leftovers,
        }
    }
}
