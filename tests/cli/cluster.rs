//! `cluster` and the verbs that ask its master.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use gristmill_common::time::{Clock, Timestamp};
use serde_json::json;

use crate::harness::{Called, Sandbox};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A cluster of two workers, killed with the value.
struct Cluster {
    child: Child,
    stdout: BufReader<ChildStdout>,
    url: String,
    worker_pids: Vec<u64>,
}

impl Cluster {
    fn start(sandbox: &Sandbox) -> Self {
        Self::start_with(sandbox, "")
    }

    /// The same with more arguments.
    fn start_with(sandbox: &Sandbox, args: &str) -> Self {
        let mut command =
            sandbox.command(&format!("cluster --workers 2 --slots 1 --listen 127.0.0.1:0 --json --quiet {args}"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("it says where it serves");
        let said: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let url = said["master"].as_str().expect("a URL").to_owned();
        let worker_pids = said["worker_pids"].as_array().expect("ids").iter().filter_map(|pid| pid.as_u64()).collect();
        Self { child, stdout, url, worker_pids }
    }

    /// Ends it as Ctrl-C does.
    fn stop(mut self) -> Called {
        let pid = self.child.id().to_string();
        let sent = std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill starts");
        assert!(sent.success());
        let stderr = std::io::read_to_string(self.child.stderr.take().expect("piped")).expect("UTF-8");
        let stdout = std::io::read_to_string(&mut self.stdout).expect("UTF-8");
        Called { code: self.child.wait().expect("it ends").code(), stdout, stderr }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Waits until a condition holds.
#[track_caller]
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let clock = Clock::start();
    while !condition() {
        assert!(clock.now().since(Timestamp::ZERO) < PATIENCE, "still waiting until {what}");
        std::thread::yield_now();
    }
}

fn is_running(pid: u64) -> bool {
    // A zombie is over, whoever has not asked for it yet.
    let stat = std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/stat")));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_submitted_job_gives_the_same_bytes_as_a_run() {
    let sandbox = Sandbox::new();
    sandbox.call("generate text -o in --bytes 300kB").expect_code(0);
    sandbox.call("run word-count -i in -o here --reducers 2 --split-size 50kB").expect_code(0);
    let cluster = Cluster::start(&sandbox);
    let call = |args: &str| sandbox.call(&format!("{args} --master {}", cluster.url));

    let called = call("submit word-count -i in -o there --reducers 2 --split-size 50kB").expect_code(0);
    assert_eq!(sandbox.parts("there"), sandbox.parts("here"));
    let id = called.stdout.trim().to_owned();
    assert!(called.stderr.contains("word-count succeeded in "), "{}", called.stderr);

    let job = call(&format!("status {id} --json")).expect_code(0).json();
    assert_eq!((&job["job"], &job["state"], &job["parts"]), (&json!(id), &json!("succeeded"), &json!(2)));
    assert!(call(&format!("status {id}")).expect_code(0).stdout.contains("succeeded"));
    let watched = call(&format!("watch {id} --json")).expect_code(0).json();
    assert_eq!(watched["bytes"], json!(sandbox.parts("here").len()));
    assert!(call("jobs").expect_code(0).stdout.contains(&id));
    let workers = call("workers --json").expect_code(0).json();
    assert_eq!(workers["workers"].as_array().map(Vec::len), Some(2), "{workers}");
    let refused = call("submit word-count -i in -o there").expect_code(3);
    assert!(refused.stderr.contains("exists and is not empty"), "{}", refused.stderr);
    call("status j-000000000001").expect_code(1);
    let late = call(&format!("cancel {id}")).expect_code(1);
    assert!(late.stderr.contains("too late to cancel it"), "{}", late.stderr);

    let pids = cluster.worker_pids.clone();
    cluster.stop().expect_code(0);
    assert!(!pids.into_iter().any(is_running));
    assert_eq!(sandbox.scratch(), [""; 0]);
}

#[test]
fn a_cancelled_job_leaves_nothing() {
    let sandbox = Sandbox::new();
    sandbox.call("generate text -o in --bytes 20MiB").expect_code(0);
    let before = sandbox.tree();
    let cluster = Cluster::start(&sandbox);
    let call = |args: &str| sandbox.call(&format!("{args} --master {}", cluster.url));
    let detached = call("submit word-count -i in -o out --split-size 16KiB --detach").expect_code(0);
    let id = detached.stdout.trim();
    call(&format!("cancel {id}")).expect_code(0);
    let watched = call(&format!("watch {id}")).expect_code(1);
    assert!(watched.stderr.contains(&format!("error: job {id} was cancelled")), "{}", watched.stderr);
    assert_eq!(sandbox.tree(), before);
    cluster.stop().expect_code(0);
}

#[test]
fn no_process_survives_a_killed_cluster() {
    let sandbox = Sandbox::new();
    let mut cluster = Cluster::start(&sandbox);
    assert_eq!(cluster.worker_pids.len(), 2);
    cluster.child.kill().expect("it runs");
    cluster.child.wait().expect("it ends");
    wait_until("the workers are gone", || !cluster.worker_pids.iter().any(|&pid| is_running(pid)));
    // The next cluster removes what the killed one left.
    Cluster::start(&sandbox).stop().expect_code(0);
    assert_eq!(sandbox.scratch(), [""; 0]);
}

#[test]
fn a_cluster_with_a_folder_goes_on_where_the_last_one_there_was_stopped() {
    let sandbox = Sandbox::new();
    sandbox.call("generate text -o in --bytes 12MiB").expect_code(0);
    sandbox.call("run word-count -i in -o here --reducers 2 --split-size 64KiB").expect_code(0);
    let job = "word-count -i in -o there --reducers 2 --split-size 64KiB";
    let cluster = Cluster::start_with(&sandbox, "--dir kept");
    let call = |args: &str| sandbox.call(&format!("{args} --master {}", cluster.url)).expect_code(0);
    let id = call(&format!("submit {job} --detach")).stdout.trim().to_owned();
    let done = || call(&format!("status {id} --json")).json()["stats"]["map"]["done"].as_u64().unwrap_or(0);
    wait_until("some of it is done", || done() >= 2);
    let before = done();
    cluster.stop().expect_code(0);
    assert!(sandbox.tree().iter().all(|path| !path.starts_with("there")), "it is not over yet");

    let cluster = Cluster::start_with(&sandbox, "--dir kept");
    let call = |args: &str| sandbox.call(&format!("{args} --master {}", cluster.url)).expect_code(0);
    call(&format!("watch {id}"));
    assert_eq!(sandbox.parts("there"), sandbox.parts("here"));
    let map = call(&format!("status {id} --json")).json()["stats"]["map"].clone();
    let workers = call("workers --json").json();
    let committed =
        workers["workers"].as_array().expect("workers").iter().filter_map(|worker| worker["committed"].as_u64());
    let left = map["tasks"].as_u64().expect("a number") + 2 - before;
    let committed: u64 = committed.sum();
    assert!(committed <= left, "{committed} tasks were done after {before} of {map} before");
    cluster.stop().expect_code(0);
}

#[test]
fn a_worker_that_dies_is_told() {
    let sandbox = Sandbox::new();
    let cluster = Cluster::start(&sandbox);
    let victim = cluster.worker_pids[0];
    let sent = std::process::Command::new("kill").args(["-9", &victim.to_string()]).status().expect("kill starts");
    assert!(sent.success());
    let workers = || sandbox.call(&format!("workers --json --master {}", cluster.url)).expect_code(0).json();
    let lost = || workers()["workers"].as_array().is_some_and(|all| all.iter().any(|worker| worker["state"] == "lost"));
    wait_until("the worker is lost", lost);
    let ended = cluster.stop().expect_code(0);
    assert!(ended.stderr.contains("worker 1 ended (signal: 9 (SIGKILL)); it is not started again"), "{}", ended.stderr);
}

#[test]
fn listening_off_loopback_must_be_asked_for() {
    let sandbox = Sandbox::new();
    for verb in ["master --listen 0.0.0.0:0 --state state", "worker --listen 0.0.0.0:0 --dir dir"] {
        let called = sandbox.call(verb).expect_code(2);
        assert!(called.stderr.contains("--insecure-listen"), "{}", called.stderr);
    }
    let called = sandbox.call("master --listen nowhere --state state").expect_code(2);
    assert!(called.stderr.contains("cannot listen on \"nowhere\""), "{}", called.stderr);
}

#[test]
fn the_demo_shows_equal_results() {
    let sandbox = Sandbox::new();
    let shown = sandbox.call("demo --bytes 24MiB --json").expect_code(0);
    assert_eq!(shown.json()["equal"], true, "{shown:#?}");
    assert!(shown.stderr.contains("kill -9 "), "{}", shown.stderr);
    assert_eq!((sandbox.tree(), sandbox.scratch()), (vec![], vec![]));
}
