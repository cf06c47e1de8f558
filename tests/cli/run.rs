//! `run` and `explain` over small inputs.

use std::process::{Child, Stdio};
use std::time::Duration;

use gristmill::reference::{ReferenceInput, run_map_reduce};
use gristmill::text::LineRule;
use gristmill_common::time::Clock;
use serde_json::json;

use crate::harness::{Called, Sandbox};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn word_count_equals_the_reference() {
    let text = "to be or not to be\nthat is\tthe question\r\n";
    let sandbox = Sandbox::new();
    sandbox.file("in.txt", text);
    let called = sandbox.call("run word-count -i in.txt -o out --reducers 1 --json").expect_code(0);
    let objects = [("in.txt", text.as_bytes())];
    let input = ReferenceInput { objects: &objects, rule: &LineRule::Lf, partitions: 1 };
    let expected = run_map_reduce(&gristmill_jobs::WordCount::default(), &input).expect("no error");
    assert_eq!(sandbox.parts("out").as_bytes(), expected.parts[0]);
    assert_eq!(sandbox.tree(), ["in.txt", "out", "out/_SUCCESS", "out/part-00000"]);
    assert_eq!(sandbox.scratch(), [""; 0]);

    let job = called.json();
    assert_eq!((&job["name"], &job["state"]), (&json!("word-count"), &json!("succeeded")));
    assert_eq!(job["output"], json!(sandbox.path("out")));
    assert_eq!((&job["parts"], &job["records"]), (&json!(1), &json!(8)));
    assert_eq!(job["bytes"], json!(expected.parts[0].len()));
    assert_eq!((&job["stats"]["map"]["tasks"], &job["stats"]["map"]["input_records"]), (&json!(1), &json!(2)));
    assert!(job["peak_rss_bytes"].as_u64() > Some(1 << 20), "{job}");
    for field in ["job", "counters", "wall_ms", "warnings", "submitted"] {
        assert!(!job[field].is_null(), "no {field} in {job}");
    }
}

#[test]
fn options_may_stand_before_or_after_the_job() {
    let sandbox = Sandbox::new();
    sandbox.file("a.txt", "x\ny\n");
    sandbox.file("b.txt", "y\n");
    sandbox.call("run -i a.txt b.txt -o one --reducers 1 word-count").expect_code(0);
    sandbox.call("--quiet run word-count -i a.txt -i b.txt -o two --reducers 1").expect_code(0);
    assert_eq!(sandbox.parts("one"), "x\t1\ny\t2\n");
    assert_eq!(sandbox.parts("two"), "x\t1\ny\t2\n");
}

#[test]
fn people_get_a_summary_unless_they_want_quiet() {
    let sandbox = Sandbox::new();
    sandbox.file("a.txt", "x\ny\n");
    let called = sandbox.call("run word-count -i a.txt -o one").expect_code(0);
    assert!(called.stderr.starts_with("word-count succeeded in "), "{}", called.stderr);
    assert!(called.stderr.contains(": 2 records, 8 B in "), "{}", called.stderr);
    assert_eq!(called.stdout, "");
    let called = sandbox.call("run word-count -i a.txt -o two --quiet").expect_code(0);
    assert_eq!((called.stdout.as_str(), called.stderr.as_str()), ("", ""));
}

#[test]
fn empty_inputs_give_an_empty_result() {
    let sandbox = Sandbox::new();
    sandbox.file("in/empty", "");
    for job in [
        "word-count",
        "distinct",
        "copy",
        "inverted-index",
        "grep --pattern x",
        "group-by --by a",
        "top --by a",
        "sort-lines",
        "tera-sort --reducers 3",
        "join --right in --on a",
    ] {
        sandbox.call(&format!("run {job} -i in -o out --overwrite")).expect_code(0);
        assert!(sandbox.path("out/_SUCCESS").exists(), "{job}");
        assert_eq!(sandbox.parts("out"), "", "{job}");
    }
}

#[test]
fn an_output_is_replaced_only_if_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.file("a.txt", "x\n");
    sandbox.file("out/old", "mine\n");
    sandbox.call("run word-count -i a.txt -o out --reducers 1").expect_code(3);
    assert!(sandbox.path("out/old").exists());
    sandbox.call("run word-count -i a.txt -o out --reducers 1 --overwrite").expect_code(0);
    assert_eq!(sandbox.tree(), ["a.txt", "out", "out/_SUCCESS", "out/part-00000"]);
}

#[test]
fn settings_are_defaults_for_flags() {
    let sandbox = Sandbox::new();
    sandbox.file("a.txt", "one two\nthree four\n");
    sandbox.file("gristmill.toml", "split-size = 5\nmemory = \"64MiB\"\n");
    let plan = |flags: &str| sandbox.call(&format!("explain word-count -i a.txt -o out --json {flags}")).json();
    assert_eq!((&plan("")["spec"]["split_size"], &plan("")["attempt_bytes"]), (&json!(5), &json!(32 << 20)));
    assert_eq!(plan("--split-size 7")["spec"]["split_size"], 7);
}

#[test]
fn explain_shows_the_plan_and_runs_nothing() {
    let sandbox = Sandbox::new();
    sandbox.file("in/a.txt", "one two\nthree four\n");
    let before = sandbox.tree();
    let called = sandbox.call("explain word-count -i in -o new/out --reducers 2").expect_code(0);
    for text in ["word-count\n", "19 B in 1 object", "1 task of 19 B", "2 tasks, a part each", "can be written"] {
        assert!(called.stdout.contains(text), "no {text:?} in {}", called.stdout);
    }
    assert_eq!(sandbox.tree(), before);
    sandbox.call("explain word-count -i in -o in/x").expect_code(3);
}

#[test]
fn an_interrupted_run_leaves_nothing() {
    let sandbox = long_job();
    let before = sandbox.tree();
    for signal in ["INT", "TERM"] {
        let child = started(&sandbox);
        send(&child, signal);
        let called = Called::of(child.wait_with_output().expect("it ends")).expect_code(130);
        assert!(called.stderr.contains("error: interrupted: the job was cancelled"), "{}", called.stderr);
        assert_eq!(sandbox.tree(), before);
        assert_eq!(sandbox.scratch(), [""; 0]);
    }
}

#[test]
fn what_a_killed_run_left_is_removed_by_the_next() {
    let sandbox = long_job();
    let mut child = started(&sandbox);
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_ne!(sandbox.scratch(), [""; 0], "the test must leave something to remove");
    sandbox.file("small", "x\n");
    sandbox.call("run word-count -i small -o out --reducers 1").expect_code(0);
    assert_eq!(sandbox.scratch(), [""; 0]);
    assert_eq!(sandbox.tree(), ["in", "out", "out/_SUCCESS", "out/part-00000", "small"]);
}

fn long_job() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.call("generate text -o in --bytes 40MiB").expect_code(0);
    sandbox
}

/// A run over many small tasks, in the middle of which it is.
fn started(sandbox: &Sandbox) -> Child {
    let mut command = sandbox.command("run word-count -i in -o out --threads 1 --split-size 16KiB");
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary starts");
    let clock = Clock::start();
    // A pack of map outputs in scratch: the first task is done, thousands are left.
    while !sandbox.scratch_now().iter().any(|name| name.ends_with(".idx")) {
        assert!(clock.now().since(gristmill_common::time::Timestamp::ZERO) < PATIENCE, "no task finished");
        assert!(child.try_wait().expect("a child").is_none(), "the run ended too early");
        std::thread::yield_now();
    }
    child
}

fn send(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    let status = std::process::Command::new("kill").args([&format!("-{signal}"), &pid]).status().expect("kill starts");
    assert!(status.success());
}
