//! The crash application of a distributed systems course: user code that exits, aborts or stalls where a
//! seed says, on workers that are killed at random. The answer must be right all the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use gristmill_common::time::{Clock, Timestamp};
use serde::Serialize;

use super::leftovers::Leftovers;
use crate::cluster::{Cluster, run_to_end};
use crate::data::parts;
use crate::random::Random;

/// Pause between two killed workers, in milliseconds.
const KILL_GAP_MS: (u64, u64) = (300, 1500);

/// Input files, each a map task, and lines in each.
const FILES: u64 = 12;
const LINES: u64 = 6;

/// Different words.
const WORDS: u64 = 40;

/// One run.
#[derive(Debug, Serialize)]
pub struct CrashRun {
    /// Its seed.
    pub seed: u64,
    /// From `submit` to its end.
    pub seconds: f64,
    /// Times that user code ended its process.
    pub user_code_ended: u64,
    /// Workers killed, and started again at once.
    pub workers_killed: u64,
    /// Absent if the job succeeded with the right output and nothing was left.
    pub wrong: Option<String>,
}

/// Runs the job `lab` of `binary` on `workers` workers with this seed.
///
/// # Panics
///
/// If a process cannot be started.
pub fn crash_run(binary: &Path, workers: usize, seed: u64) -> CrashRun {
    let mut random = Random::new(seed);
    let mut cluster = Cluster::start(binary, workers);
    let [input, output, folder] = ["in", "out", "seen"].map(|name| cluster.dir().join(name));
    fs::create_dir(&folder).expect("a scratch folder");
    let expected = write_input(&input, &mut random);
    let seed_text = seed.to_string();
    let arg = |path: &Path| path.to_str().expect("scratch paths are UTF-8").to_owned();
    let (input, output_arg, folder_arg) = (arg(&input), arg(&output), arg(&folder));
    // A task has several records, each of which may end the process once.
    let split = ["--split-size", "128", "--reducers", "4", "--max-attempts", "50"];
    let paths = ["submit", "lab", "-i", &input, "-o", &output_arg, "--trial", "crash", "--folder", &folder_arg];
    let submit = cluster.command(&[&paths[..], &["--seed", &seed_text], &split].concat());
    let clock = Clock::start();
    let job = std::thread::spawn(|| run_to_end(submit));
    let (mut workers_killed, mut next) = (0, clock.now());
    while !job.is_finished() {
        if next <= clock.now() {
            let worker = random.within(0, workers as u64) as usize;
            cluster.kill_worker(worker);
            cluster.start_worker(worker);
            workers_killed += 1;
            next = clock.now() + Duration::from_millis(random.within(KILL_GAP_MS.0, KILL_GAP_MS.1));
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let seconds = (clock.now() - Timestamp::ZERO).as_secs_f64();
    let wrong = match job.join() {
        Ok(ended) if ended.status.success() => difference(&output, &expected),
        Ok(ended) => Some(format!("{}\n{}", String::from_utf8_lossy(&ended.stderr), cluster.logs())),
        Err(_) => Some(format!("submit did not end\n{}", cluster.logs())),
    };
    let ends = fs::read_to_string(folder.join("ends")).unwrap_or_default();
    let leftovers = Leftovers::at_the_end(&mut cluster, None, &["in", "out", "seen"]);
    let wrong = wrong.or_else(|| leftovers.found());
    CrashRun { seed, seconds, user_code_ended: ends.lines().count() as u64, workers_killed, wrong }
}

/// Writes input files of lines of two words; gives how often each word occurs.
fn write_input(dir: &Path, random: &mut Random) -> BTreeMap<String, u64> {
    fs::create_dir(dir).expect("a scratch folder");
    let mut counts = BTreeMap::new();
    for file in 0..FILES {
        let mut text = String::new();
        for line in 0..LINES {
            let words = [random.within(0, WORDS), random.within(0, WORDS)].map(|word| format!("word{word:02}"));
            // The line's own word tells it from the others: it goes wrong by itself.
            let own = format!("line{:02}", file * LINES + line);
            text.push_str(&format!("{own} {}\n", words.join(" ")));
            words.into_iter().chain([own]).for_each(|word| *counts.entry(word).or_insert(0) += 1);
        }
        fs::write(dir.join(format!("{file:02}.txt")), text).expect("a scratch file");
    }
    counts
}

/// How an output differs from these counts.
fn difference(output: &Path, expected: &BTreeMap<String, u64>) -> Option<String> {
    let mut lines: Vec<String> = parts(output).into_values().flat_map(|part| lines(&part)).collect();
    lines.sort_unstable();
    let expected: Vec<String> = expected.iter().map(|(word, count)| format!("{word}\t{count}")).collect();
    (lines != expected).then(|| format!("the output is {lines:?} and not {expected:?}"))
}

fn lines(part: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(part).lines().map(str::to_owned).collect()
}
