//! Pipelines of the shipped program: the expected answer, and processes that are killed between and within
//! stages.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gristmill_tests::cluster::{Cluster, eventually, run_to_end};
use gristmill_tests::data::{parts, trial_data};
use gristmill_tests::docs::sh_commands;
use serde_json::Value;

use crate::{GRISTMILL, arg, gristmill, root, succeed};

/// Nodes and ranks of an output.
fn ranks(output: &Path) -> BTreeMap<String, f64> {
    let text = String::from_utf8(parts(output).into_values().flatten().collect()).expect("text");
    let row = |line: &str| {
        let (node, rank) = line.split_once('\t').unwrap_or_else(|| panic!("no rank in {line:?}"));
        (node.to_owned(), rank.parse().expect("a number"))
    };
    text.lines().map(row).collect()
}

/// Lines of all parts, sorted.
fn lines(output: &Path) -> Vec<Vec<u8>> {
    let text: Vec<u8> = parts(output).into_values().flatten().collect();
    let mut lines: Vec<Vec<u8>> = text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    lines.sort();
    lines
}

/// A graph of some thousand edges, some nodes without any that lead away.
fn edges(dir: &Path) -> PathBuf {
    let path = dir.join("edges.tsv");
    let mut text = String::new();
    for n in 0..4000_u64 {
        writeln!(text, "{}\t{}", n * n % 997, n * 7919 % 1499).expect("a String takes all");
    }
    fs::write(&path, text).expect("written");
    path
}

/// What lies beside an output.
fn neighbours(output: &Path) -> Vec<String> {
    let folder = fs::read_dir(output.parent().expect("a folder")).expect("readable");
    let mut names: Vec<String> =
        folder.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn page_rank_gives_the_expected_answer_here_and_on_a_cluster_that_loses_a_worker() {
    let Some(data) = trial_data() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (here, there, other) = (dir.path().join("here"), dir.path().join("there"), dir.path().join("other"));
    let input = data.join("graph");
    let command =
        |verb, output| [verb, "page-rank", "-i", arg(&input), "-o", output, "--reducers", "3", "--split-size", "60KiB"];
    succeed(&command("run", arg(&here)));
    let found = ranks(&here);
    let answer = fs::read_to_string(data.join("expected/graph-pagerank20.top")).expect("the data has its answers");
    assert!(answer.lines().count() >= 50 && found.len() == 2771, "{} nodes", found.len());
    for (node, rank) in answer.lines().filter_map(|line| line.split_once('\t')) {
        let rank: f64 = rank.parse().expect("a number");
        assert!((found[node] - rank).abs() < 1e-9, "{node} has {} and not {rank}", found[node]);
    }
    assert!((found.values().sum::<f64>() - 1.0).abs() < 1e-9);
    succeed(&["run", "page-rank", "-i", arg(&input), "-o", arg(&other), "--iterations", "20", "--reducers", "1"]);
    assert_eq!(lines(&here), lines(&other), "splits and reduce tasks are a matter of speed");

    let mut cluster = Cluster::start(GRISTMILL, 3);
    let driver = cluster.command(&command("submit", arg(&there))).stderr(Stdio::null()).spawn().expect("it starts");
    let mut driver = Driver { child: driver, state: state(&there) };
    driver.wait_for_stages(4);
    cluster.kill_worker(1);
    let ended = driver.child.wait().expect("it ends");
    assert!(ended.success(), "{ended}\n{}", cluster.logs());
    assert_eq!(parts(&here), parts(&there), "here and on the cluster");
    assert_eq!(neighbours(&here), ["here", "other", "there"]);
}

/// Where the driver of a pipeline notes what is done.
fn state(output: &Path) -> PathBuf {
    let name = output.file_name().expect("a name").to_string_lossy().into_owned();
    output.with_file_name(format!(".{name}.pipeline")).join("state")
}

/// A process that runs a pipeline.
struct Driver {
    child: Child,
    state: PathBuf,
}

impl Driver {
    fn start(mut command: Command, output: &Path) -> Self {
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: command.spawn().expect("it starts"), state: state(output) }
    }

    /// Waits until so many stages are done; gives their jobs.
    fn wait_for_stages(&mut self, count: usize) -> Vec<String> {
        let mut jobs = vec![];
        let reached = eventually(|| {
            jobs = finished_jobs(&self.state);
            jobs.len() >= count || self.child.try_wait().expect("a child can be asked").is_some()
        });
        assert!(reached && jobs.len() >= count, "{jobs:?}");
        jobs
    }

    fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it can be waited for");
    }
}

/// The jobs that a state lists as finished; none if there is no state.
fn finished_jobs(state: &Path) -> Vec<String> {
    let text = fs::read_to_string(state).unwrap_or_default();
    let Ok(state) = serde_json::from_str::<Value>(text.lines().next().unwrap_or_default()) else { return vec![] };
    let job = |run: &Value| run["job"].as_str().map(str::to_owned);
    state["finished"].as_array().into_iter().flatten().filter_map(job).collect()
}

/// The outputs of stages that are kept beside a state.
fn kept(state: &Path) -> Vec<String> {
    let folders =
        fs::read_dir(state.with_file_name("")).expect("readable").map(|entry| entry.expect("readable").path());
    let data = folders.filter(|path| path.is_dir()).flat_map(|path| fs::read_dir(path).expect("readable"));
    let names = data.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned());
    names.filter(|name| !name.starts_with('.')).collect()
}

/// The stages of a pipeline that succeeded.
fn stages(output: &std::process::Output) -> Vec<Value> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let end: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    end["stages"].as_array().expect("stages").clone()
}

#[test]
fn a_driver_that_is_killed_or_interrupted_is_gone_on_from_and_no_stage_runs_twice() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (edges, whole, out) = (edges(dir.path()), dir.path().join("whole"), dir.path().join("out"));
    let args = |output| {
        ["run", "page-rank", "-i", arg(&edges), "-o", output, "--iterations", "60", "--reducers", "2", "--json"]
    };
    succeed(&args(arg(&whole)));
    let command = || {
        let mut command = Command::new(GRISTMILL);
        command.env_remove("GRISTMILL_TEST_DATA").env_remove("GRISTMILL_TEST_ROUNDS");
        command.args(args(arg(&out))).current_dir(root());
        command
    };
    let mut driver = Driver::start(command(), &out);
    driver.wait_for_stages(3);
    let second = gristmill(&args(arg(&out)));
    let text = String::from_utf8_lossy(&second.stderr);
    assert!(second.status.code() == Some(3) && text.contains("another process is running a pipeline"), "{text}");
    driver.kill();
    let killed_after = finished_jobs(&state(&out));
    assert!(!out.exists());
    let kept = kept(&state(&out));
    assert!((1..=2).contains(&kept.len()), "the data of two rounds at most: {kept:?}");

    let mut driver = Driver::start(command(), &out);
    let interrupted_after = driver.wait_for_stages(killed_after.len() + 3);
    let pid = driver.child.id().to_string();
    assert!(Command::new("kill").args(["-s", "INT", &pid]).status().expect("kill is a standard tool").success());
    assert_eq!(driver.child.wait().expect("it ends").code(), Some(130));

    let stages = stages(&run_to_end(command()));
    assert_eq!(stages.len(), 62, "links, 60 rounds and ranks");
    let earlier: Vec<&str> =
        stages.iter().filter(|stage| stage["earlier"] == true).filter_map(|stage| stage["job"].as_str()).collect();
    assert!(earlier.len() >= interrupted_after.len() && earlier.starts_with(&each(&killed_after)), "{earlier:?}");
    assert!(earlier.starts_with(&each(&interrupted_after)), "{earlier:?} and not {interrupted_after:?}");
    assert_eq!(parts(&whole), parts(&out));
    assert_eq!(neighbours(&out), ["edges.tsv", "out", "whole"]);
}

fn each(jobs: &[String]) -> Vec<&str> {
    jobs.iter().map(String::as_str).collect()
}

#[test]
fn a_submitting_driver_that_is_killed_is_gone_on_from_and_no_job_runs_twice() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let (edges, whole, out) = (edges(dir.path()), dir.path().join("whole"), dir.path().join("out"));
    let args = |verb, output| {
        [verb, "page-rank", "-i", arg(&edges), "-o", output, "--iterations", "12", "--reducers", "2", "--json"]
    };
    succeed(&args("run", arg(&whole)));
    let cluster = Cluster::start(GRISTMILL, 2);
    for after in [2, 5, 8] {
        let mut driver = Driver::start(cluster.command(&args("submit", arg(&out))), &out);
        driver.wait_for_stages(after);
        driver.kill();
    }
    let stages = stages(&cluster.run(&args("submit", arg(&out))));
    assert_eq!(stages.len(), 14);
    assert_eq!(parts(&whole), parts(&out));
    let jobs = cluster.run(&["jobs", "--json"]);
    let jobs: Value = serde_json::from_slice(&jobs.stdout).expect("one JSON object");
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(14), "a job for each stage and round: {jobs}");
    assert_eq!(neighbours(&out), ["edges.tsv", "out", "whole"]);
}

#[test]
fn every_command_of_the_document_runs() {
    let text = fs::read_to_string(root().join("docs/pipelines.md")).expect("the document");
    let commands = sh_commands(&text);
    assert!(commands.len() >= 2, "only {commands:?}");
    for command in &commands {
        let words: Vec<&str> = command.split_whitespace().collect();
        let (program, args) = words.split_first().expect("a program");
        assert_eq!(*program, "gristmill", "{command}");
        succeed(args);
    }
}
