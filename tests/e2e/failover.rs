//! Masters and workers that are killed, stopped and resumed in the middle of a job: the answer stays the
//! same.

use std::path::Path;

use gristmill_tests::cluster::{Cluster, run_to_end};
use gristmill_tests::data::parts;
use serde_json::Value;

use crate::{GRISTMILL, arg, generated_text, succeed};

/// A job of many small map tasks, so that something always runs when a worker goes.
fn word_count<'a>(text: &'a Path, output: &'a Path) -> Vec<&'a str> {
    vec!["word-count", "-i", arg(text), "-o", arg(output), "--split-size", "512KiB", "--reducers", "3"]
}

fn done(status: &Value) -> u64 {
    status["stats"]["map"]["done"].as_u64().unwrap_or(0)
}

/// Runs the job here, for comparison.
fn reference(dir: &Path, text: &Path) -> std::path::PathBuf {
    let here = dir.join("here");
    succeed(&[&["run"], &word_count(text, &here)[..]].concat());
    here
}

#[test]
fn a_killed_worker_costs_no_byte() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let text = generated_text(dir.path(), 24);
    let here = reference(dir.path(), &text);
    let mut cluster = Cluster::start(GRISTMILL, 3);
    let there = dir.path().join("there");
    let job = cluster.submit_detached(&word_count(&text, &there));
    cluster.wait_for_job(&job, "some map tasks done", |status| done(status) >= 5 || status["state"] == "succeeded");
    cluster.kill_worker(1);
    cluster.wait_for_job(&job, "success", |status| status["state"] == "succeeded");
    assert_eq!(parts(&here), parts(&there));
    cluster.wait_for_live_workers(2);
}

#[test]
fn a_worker_that_is_told_to_end_gives_its_work_back_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let text = generated_text(dir.path(), 24);
    let here = reference(dir.path(), &text);
    let cluster = Cluster::start(GRISTMILL, 3);
    let there = dir.path().join("there");
    let job = cluster.submit_detached(&word_count(&text, &there));
    cluster.wait_for_job(&job, "some map tasks done", |status| done(status) >= 5 || status["state"] == "succeeded");
    cluster.signal_worker(1, "TERM");
    let status = cluster.wait_for_job(&job, "success", |status| status["state"] == "succeeded");
    assert_eq!(status["stats"]["map"]["failed_attempts"], 0, "{status:#}");
    assert_eq!(parts(&here), parts(&there));
    cluster.wait_for_live_workers(2);
    let scratch = std::fs::read_dir(cluster.worker_dir(1).join("scratch")).expect("a folder");
    assert_eq!(scratch.count(), 0);
}

#[test]
fn reports_of_a_worker_that_was_stopped_past_its_lease_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let text = generated_text(dir.path(), 24);
    let here = reference(dir.path(), &text);
    let cluster = Cluster::start(GRISTMILL, 3);
    let there = dir.path().join("there");
    let job = cluster.submit_detached(&word_count(&text, &there));
    cluster.wait_for_job(&job, "some map tasks done", |status| done(status) >= 5 || status["state"] == "succeeded");
    cluster.signal_worker(2, "STOP");
    cluster.wait_for_job(&job, "success", |status| status["state"] == "succeeded");
    cluster.wait_for_live_workers(2);
    cluster.signal_worker(2, "CONT");
    cluster.wait_for_live_workers(3);
    assert_eq!(parts(&here), parts(&there));
}

#[test]
fn a_job_without_workers_waits_says_so_and_goes_on() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let text = generated_text(dir.path(), 12);
    let here = reference(dir.path(), &text);
    let mut cluster = Cluster::start(GRISTMILL, 2);
    let there = dir.path().join("there");
    let job = cluster.submit_detached(&word_count(&text, &there));
    cluster.wait_for_job(&job, "some map tasks done", |status| done(status) >= 2);
    cluster.kill_worker(0);
    cluster.kill_worker(1);
    let says = |status: &Value| status["waiting"].as_str().is_some_and(|why| why.contains("no worker"));
    cluster.wait_for_job(&job, "a reason to wait", says);
    cluster.start_worker(0);
    cluster.wait_for_job(&job, "success", |status| status["state"] == "succeeded");
    assert_eq!(parts(&here), parts(&there));
}

#[test]
fn a_cancelled_job_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let text = generated_text(dir.path(), 24);
    let cluster = Cluster::start(GRISTMILL, 1);
    let out = dir.path().join("out");
    std::fs::create_dir(&out).expect("a scratch folder");
    let there = out.join("there");
    let job = cluster.submit_detached(&word_count(&text, &there));
    cluster.wait_for_job(&job, "a map task done", |status| done(status) >= 1);
    let cancelled = cluster.run(&["cancel", &job]);
    assert!(cancelled.status.success(), "{}", String::from_utf8_lossy(&cancelled.stderr));
    cluster.wait_for_job(&job, "the end", |status| status["state"] == "cancelled");
    let left = || std::fs::read_dir(&out).expect("a scratch folder").count();
    assert!(gristmill_tests::cluster::eventually(|| left() == 0), "{} entries are left", left());
}

#[test]
fn a_master_that_ends_loses_no_job_and_no_committed_task_and_whoever_waits_for_the_job_goes_on_waiting() {
    for end in [Cluster::kill_master, Cluster::stop_master] {
        check_that_a_job_survives_its_master(end);
    }
}

fn check_that_a_job_survives_its_master(end: fn(&mut Cluster)) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let text = generated_text(dir.path(), 24);
    let here = reference(dir.path(), &text);
    let mut cluster = Cluster::start(GRISTMILL, 3);
    let there = dir.path().join("there");
    let submit = cluster.command(&[&["submit"], &word_count(&text, &there)[..]].concat());
    let waiting = std::thread::spawn(|| run_to_end(submit));
    let mut jobs = Value::Null;
    let some_done = || {
        jobs = cluster.json(&["jobs"]);
        done(&jobs["jobs"][0]) >= 5
    };
    assert!(gristmill_tests::cluster::eventually(some_done), "{jobs:#}\n{}", cluster.logs());
    let job = jobs["jobs"][0]["job"].as_str().expect("an id").to_owned();
    let done_before = done(&jobs["jobs"][0]);
    assert_eq!(jobs["jobs"][0]["state"], "running", "the job is too short for this test");

    end(&mut cluster);
    cluster.restart_master();
    let submitted = waiting.join().expect("the command is waited for");
    let said = String::from_utf8_lossy(&submitted.stderr).into_owned();
    assert!(submitted.status.success(), "{said}\n{}", cluster.logs());
    assert!(said.contains("lost the master"), "{said}");
    assert!(String::from_utf8_lossy(&submitted.stdout).contains(&job), "it is still the same job");
    assert_eq!(parts(&here), parts(&there));

    let status = cluster.json(&["status", &job]);
    let tasks = |stage: &str| status["stats"][stage]["tasks"].as_u64().expect("a number");
    let workers = cluster.json(&["workers"]);
    let committed = workers["workers"].as_array().expect("workers").iter().map(|worker| worker["committed"].as_u64());
    let committed: u64 = committed.map(|count| count.expect("a number")).sum();
    let left = tasks("map") + tasks("reduce") - done_before;
    assert!(committed <= left, "{committed} tasks were done after {done_before} before\n{}", cluster.logs());
}
