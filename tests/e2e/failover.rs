//! Workers that are killed, stopped and resumed in the middle of a job: the answer stays the same.

use std::path::Path;

use gristmill_tests::cluster::Cluster;
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
