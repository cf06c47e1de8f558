//! User code that misbehaves on a cluster: the job fails by file and offset, workers live, neighbours
//! are not disturbed; where a job allows bad records, exactly those are missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gristmill_tests::cluster::Cluster;
use gristmill_tests::data::parts;
use serde_json::Value;

use crate::{arg, example, generated_text, succeed};

/// The six ways in which user code fails, the code by which each is told, and what the message says.
const KINDS: [(&str, &str, &str); 6] = [
    ("error", "USER_ERROR", "told to fail"),
    ("panic", "USER_PANIC", "told to panic"),
    ("abort", "EXECUTOR_CRASH", "executor died: signal 6 (SIGABRT)"),
    ("segv", "EXECUTOR_CRASH", "executor died: signal 11 (SIGSEGV)"),
    ("loop", "RECORD_TIMEOUT", "one record kept user code busy for longer than 1s"),
    ("memory", "OUT_OF_MEMORY", "since an executor may have 400 MiB for its data"),
];

/// Memory of workers that is used up soon.
const LITTLE_MEMORY: [&str; 4] = ["--memory", "200MiB", "--executor-memory", "400MiB"];

/// How often each kind is tried; `GRISTMILL_TEST_ROUNDS` asks for more.
fn rounds() -> usize {
    std::env::var("GRISTMILL_TEST_ROUNDS").map_or(1, |text| text.parse().expect("a number of rounds"))
}

/// A short time for what never ends, and for nothing else: a busy machine takes its time.
fn patience(what: &str) -> &'static [&'static str] {
    if what == "loop" { &["--record-timeout", "1s"] } else { &[] }
}

/// A file in which one line, at an offset that depends on the round, is `what`.
fn poisoned(dir: &Path, what: &str, round: usize) -> (PathBuf, usize) {
    let before = "fine\n".repeat(2 + 7 * round);
    let input = dir.join(format!("{what}-{round}.txt"));
    fs::write(&input, format!("{before}{what}\nfine\n")).expect("a scratch file");
    (input, before.len())
}

#[test]
fn misbehaving_records_are_named_by_file_and_offset_and_disturb_nobody() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let text = generated_text(dir.path(), 16);
    let count = |verb: &str, output: &Path| -> Vec<String> {
        let args =
            [verb, "word-count", "-i", arg(&text), "-o", arg(output), "--split-size", "256KiB", "--reducers", "3"];
        args.map(ToOwned::to_owned).to_vec()
    };
    let here = dir.path().join("here");
    succeed(&count("run", &here).iter().map(String::as_str).collect::<Vec<_>>());
    let cluster = Cluster::start_with(example("misbehaving"), 2, &LITTLE_MEMORY);
    for round in 0..rounds() {
        let there = dir.path().join(format!("there-{round}"));
        let neighbour = count("submit", &there);
        let neighbour = cluster.submit_detached(&neighbour[1..].iter().map(String::as_str).collect::<Vec<_>>());
        for (what, code, message) in KINDS {
            let (input, offset) = poisoned(dir.path(), what, round);
            let output = dir.path().join("out");
            let job = ["submit", "misbehaving", "-i", arg(&input), "-o", arg(&output), "--json"];
            let submitted: Output = cluster.run(&[&job[..], patience(what)].concat());
            let said = String::from_utf8_lossy(&submitted.stderr).into_owned();
            assert_eq!(submitted.status.code(), Some(1), "{what}: {said}\n{}", cluster.logs());
            let error: Value = serde_json::from_slice(&submitted.stdout).expect("an error in JSON");
            assert_eq!(error["error"]["code"], code, "{what}: {said}");
            assert!(said.contains(message), "{what}: {said}");
            assert!(said.contains(&format!("{}:{offset})", arg(&input))), "{what} at byte {offset}: {said}");
            assert!(!output.exists(), "{what} left an output");
        }
        let status = cluster.wait_for_job(&neighbour, "success", |status| status["state"] == "succeeded");
        for stage in ["map", "reduce"] {
            let failed = &status["stats"][stage]["failed_attempts"];
            assert_eq!((failed, &status["stats"][stage]["lost_attempts"]), (&0.into(), &0.into()), "{stage}: {status}");
        }
        assert_eq!(parts(&here), parts(&there));
        cluster.wait_for_live_workers(2);
    }
}

#[test]
fn misbehaving_key_groups_fail_their_job_and_no_worker() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cluster = Cluster::start_with(example("misbehaving"), 2, &LITTLE_MEMORY);
    for (what, code, message) in KINDS {
        let (input, _) = poisoned(dir.path(), what, 0);
        let output = dir.path().join("out");
        let job = ["submit", "misbehaving-reduce", "-i", arg(&input), "-o", arg(&output), "--reducers", "1"];
        // Whatever is allowed of `map`, groups are never left out.
        let flags = ["--max-bad-records", "5", "--json"];
        let submitted = cluster.run(&[&job[..], &flags, patience(what)].concat());
        let said = String::from_utf8_lossy(&submitted.stderr).into_owned();
        let error: Value = serde_json::from_slice(&submitted.stdout).expect("an error in JSON");
        assert_eq!((submitted.status.code(), &error["error"]["code"]), (Some(1), &code.into()), "{what}: {said}");
        assert!(said.contains(&message.replace("one record kept", "one key group kept")), "{what}: {said}");
        cluster.wait_for_live_workers(2);
    }
}

#[test]
fn what_user_code_prints_is_no_part_of_the_output() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cluster = Cluster::start(example("misbehaving"), 1);
    let (input, output) = (dir.path().join("fine.txt"), dir.path().join("out"));
    fs::write(&input, "print\nfine\n").expect("a scratch file");
    let submitted = cluster.run(&["submit", "misbehaving", "-i", arg(&input), "-o", arg(&output)]);
    assert!(submitted.status.success(), "{}", String::from_utf8_lossy(&submitted.stderr));
    assert_eq!(parts(&output).into_values().collect::<Vec<_>>(), [b"print\nfine\n".to_vec()]);
}

/// What an output's `_bad` holds: file of input, offset and code of each record.
fn bad(output: &Path) -> Vec<(String, u64, String)> {
    let folder = fs::read_dir(output.join("_bad")).expect("records were skipped");
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.expect("readable").path()).collect();
    files.sort();
    let text: String = files.iter().map(|path| fs::read_to_string(path).expect("text")).collect();
    let letter = |line: &str| {
        let letter: Value = serde_json::from_str(line).expect("a line of JSON");
        let text = |field: &str| letter[field].as_str().expect(field).to_owned();
        (text("object"), letter["offset"].as_u64().expect("a number"), text("code"))
    };
    text.lines().map(letter).collect()
}

#[test]
fn allowed_bad_records_are_kept_aside_and_nothing_else_is_missing() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let input = dir.path().join("in.txt");
    fs::write(&input, b"one\nerror\ntwo\npanic\n\xff\nthree\n").expect("a scratch file");
    let (here, there) = (dir.path().join("here"), dir.path().join("there"));
    let expect = [(4, "USER_ERROR"), (14, "USER_PANIC"), (20, "BAD_RECORD")]
        .map(|(offset, code)| (arg(&input).to_owned(), offset, code.to_owned()));
    let cluster = Cluster::start(example("misbehaving"), 1);
    for output in [&here, &there] {
        let job = ["misbehaving", "-i", arg(&input), "-o", arg(output), "--max-bad-records", "3"];
        let ended = if output == &here {
            let mut run = Command::new(example("misbehaving"));
            run.env_remove("GRISTMILL_TEST_DATA").env_remove("GRISTMILL_TEST_ROUNDS");
            run.arg("run").args(job).output().expect("it starts")
        } else {
            cluster.run(&[&["submit"], &job[..]].concat())
        };
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "{said}");
        let line = format!("3 bad records skipped, kept in {}/_bad", arg(output));
        assert!(said.contains(&line), "{said}");
        assert_eq!(parts(output).into_values().collect::<Vec<_>>(), [b"one\ntwo\nthree\n".to_vec()]);
        assert_eq!(bad(output), expect);
        succeed(&["verify", arg(output)]);
    }
    let job = ["submit", "misbehaving", "-i", arg(&input), "-o", arg(&there), "--overwrite", "--max-bad-records", "2"];
    let ended = cluster.run(&job);
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("{}:20)", arg(&input))), "the third one is one too many: {said}");
}
