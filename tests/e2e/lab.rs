//! The seven tests of a distributed systems course's MapReduce lab (MIT 6.5840, "lab 1"), restated with
//! real processes: word count, indexer, map and reduce parallelism, job count, early exit, crash.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use gristmill_tests::chaos::crash_run;
use gristmill_tests::cluster::{Cluster, run_to_end};
use gristmill_tests::data::parts;
use serde_json::Value;

use crate::{arg, example};

/// A folder of a job's input and output, on a cluster.
struct Lab {
    dir: tempfile::TempDir,
    cluster: Cluster,
}

impl Lab {
    /// A cluster of so many workers, with these lines as input, a file and so a map task each.
    fn new(workers: usize, lines: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for name in ["in", "seen"] {
            fs::create_dir(dir.path().join(name)).expect("a scratch folder");
        }
        for (index, line) in lines.iter().enumerate() {
            fs::write(dir.path().join(format!("in/{index}.txt")), format!("{line}\n")).expect("a scratch file");
        }
        Self { dir, cluster: Cluster::start(example("lab"), workers) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The arguments of a job, after `submit`.
    fn args(&self, job: &str, more: &[&str]) -> Vec<String> {
        let (input, output) = (self.path("in"), self.path("out"));
        let shape = ["--split-size", "1", "--reducers", "2"];
        let args = [&[job, "-i", arg(&input), "-o", arg(&output)], &shape[..], more].concat();
        args.into_iter().map(str::to_owned).collect()
    }

    /// The arguments of the job `lab`.
    fn trial(&self, trial: &str) -> Vec<String> {
        self.args("lab", &["--trial", trial, "--folder", arg(&self.path("seen"))])
    }

    /// Runs a job, which must succeed; gives the lines of its output in order.
    fn answer(&self, args: &[String]) -> Vec<String> {
        let args: Vec<&str> = ["submit"].into_iter().chain(args.iter().map(String::as_str)).collect();
        let ended = self.cluster.run(&args);
        assert!(ended.status.success(), "{}\n{}", String::from_utf8_lossy(&ended.stderr), self.cluster.logs());
        lines(&self.path("out"))
    }

    /// The names of the files that user code left.
    fn seen(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.path("seen")).expect("a scratch folder");
        entries.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8")).collect()
    }
}

/// The lines of an output in order.
fn lines(output: &Path) -> Vec<String> {
    let text: Vec<u8> = parts(output).into_values().flatten().collect();
    let mut lines: Vec<String> = String::from_utf8(text).expect("UTF-8").lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

const TEXT: [&str; 4] = ["the quick brown fox", "jumps over", "the lazy dog and the fox", "over and out"];

#[test]
fn words_are_counted() {
    let lab = Lab::new(2, &TEXT);
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    TEXT.iter().flat_map(|line| line.split(' ')).for_each(|word| *counts.entry(word).or_default() += 1);
    let expect: Vec<String> = counts.iter().map(|(word, count)| format!("{word}\t{count}")).collect();
    assert_eq!(lab.answer(&lab.args("word-count", &[])), expect);
}

#[test]
fn words_are_indexed() {
    let lab = Lab::new(2, &TEXT);
    let mut files: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (index, line) in TEXT.iter().enumerate() {
        for word in line.split(' ') {
            files.entry(word).or_default().insert(format!("{index}.txt"));
        }
    }
    let line = |(word, files): (&&str, &BTreeSet<String>)| {
        format!("{word}\t{}", files.iter().map(String::as_str).collect::<Vec<_>>().join(","))
    };
    assert_eq!(lab.answer(&lab.args("inverted-index", &[])), files.iter().map(line).collect::<Vec<_>>());
}

#[test]
fn map_tasks_run_at_the_same_time() {
    let lab = Lab::new(2, &["a", "b"]);
    assert_eq!(lab.answer(&lab.trial("maps-meet")), ["a\t1", "b\t1"]);
    assert_eq!(lab.seen().len(), 2);
}

#[test]
fn reduce_tasks_run_at_the_same_time() {
    let lab = Lab::new(2, &["a b"]);
    assert_eq!(lab.answer(&lab.trial("reduces-meet")), ["a\t1", "b\t1"]);
    assert_eq!(lab.seen().len(), 2);
}

#[test]
fn every_task_runs_once() {
    let lines = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let lab = Lab::new(3, &lines);
    assert_eq!(lab.answer(&lab.trial("tally")), lines.map(|line| format!("{line}\t1")));
    let once = lines.iter().flat_map(|line| [format!("map {line} 0"), format!("reduce {line} 0")]);
    assert_eq!(lab.seen(), once.collect());
}

#[test]
fn nobody_goes_before_the_job_is_over() {
    let mut lab = Lab::new(3, &["a", "held"]);
    let args = lab.trial("hold");
    let args: Vec<&str> = ["submit"].into_iter().chain(args.iter().map(String::as_str)).collect();
    let submit = lab.cluster.command(&args);
    let waiting = std::thread::spawn(|| run_to_end(submit));
    let jobs = || lab.cluster.json(&["jobs"])["jobs"][0].clone();
    let mut last = Value::Null;
    // One reduce task has ended, and with it all that can end.
    let held = gristmill_tests::cluster::eventually(|| {
        last = jobs();
        last["stats"]["reduce"]["done"] == 1
    });
    assert!(held && last["state"] == "running", "{last:#}\n{}", lab.cluster.logs());
    assert!(!waiting.is_finished(), "submit ended before the job");
    assert!(!lab.path("out").exists(), "there is an output before the job is over");
    assert_eq!(lab.cluster.ended_by_themselves(), [""; 0]);

    fs::write(lab.path("seen/go"), "").expect("a scratch file");
    let ended = waiting.join().expect("submit is waited for");
    // At this very moment the output is complete, and nobody has left.
    let (output, gone) = (lines(&lab.path("out")), lab.cluster.ended_by_themselves());
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!((output, gone), (vec!["a\t1".to_owned(), "held\t1".to_owned()], vec![]));
}

#[test]
fn crashes_cost_no_answer() {
    let run = crash_run(&example("lab"), 3, 1);
    assert_eq!(run.wrong, None);
    // A run in which nothing goes wrong would prove nothing.
    assert!(run.user_code_ended > 0 && run.workers_killed > 0, "{run:?}");
}
