//! Tasks of a cluster's jobs, run again by `gristmill replay`: those that failed fail with the same words
//! at the same record, the first time; those that did not write what their job published.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gristmill_tests::cluster::{Cluster, run_to_end};
use gristmill_tests::random::Random;
use serde_json::Value;

use crate::{GRISTMILL, arg, example};

/// The ways of failing that leave the machine as it is. A round plants each of them in a map and in a
/// reduce: thirteen rounds are a hundred failures.
const KINDS: [&str; 4] = ["error", "panic", "abort", "segv"];

/// Rounds; `GRISTMILL_TEST_ROUNDS` asks for more.
fn rounds() -> u64 {
    std::env::var("GRISTMILL_TEST_ROUNDS").map_or(1, |text| text.parse().expect("a number of rounds"))
}

/// A folder, and a cluster of the job crate that misbehaves.
struct Bench {
    dir: tempfile::TempDir,
    cluster: Cluster,
}

impl Bench {
    fn start(worker_args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        Self { dir, cluster: Cluster::start_with(example("misbehaving"), 2, worker_args) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Submits a job that must fail; gives its error.
    fn fail(&self, args: &[&str]) -> Value {
        let submitted = self.cluster.run(&[&["submit"], args, &["--json"]].concat());
        let said = String::from_utf8_lossy(&submitted.stderr).into_owned();
        assert_eq!(submitted.status.code(), Some(1), "{args:?}: {said}\n{}", self.cluster.logs());
        let object: Value = serde_json::from_slice(&submitted.stdout).expect("an error in JSON");
        object["error"].clone()
    }

    /// Submits a job that must succeed; gives its id.
    fn submit(&self, binary: &Path, args: &[&str]) -> String {
        let output = self.call(binary, &[&["submit"], args, &["--json"]].concat());
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        let object: Value = serde_json::from_slice(&output.stdout).expect("a job in JSON");
        object["job"].as_str().expect("it has an id").to_owned()
    }

    /// Calls any program that knows the cluster's protocol.
    fn call(&self, binary: &Path, args: &[&str]) -> Output {
        let mut command = Command::new(binary);
        command.current_dir(self.dir.path()).args(args).args(["--master", self.cluster.url()]);
        command.env_remove("GRISTMILL_TEST_DATA").env_remove("GRISTMILL_TEST_ROUNDS");
        run_to_end(command)
    }

    /// Replays by the shipped program, which has not got the job; with these exit code and words.
    fn replay(&self, args: &[&str], code: i32, expect: &str) -> String {
        let output = self.call(GRISTMILL.as_ref(), &[&["replay"], args].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}\n{}", self.cluster.logs());
        assert!(said.contains(expect), "{args:?}: {said}");
        said
    }

    /// Types the command that an error proposes; gives the replay's error.
    fn replay_as_proposed(&self, error: &Value, more: &[&str]) -> Value {
        let proposed = error["replay"].as_str().unwrap_or_else(|| panic!("no command in {error:#}"));
        let words: Vec<&str> = proposed.split(' ').collect();
        assert_eq!(words[..3], ["misbehaving", "replay", error["job"].as_str().expect("an id")], "{proposed}");
        let output = run_to_end(self.cluster.embedded(&[&words[1..], more, &["--json"]].concat()));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{proposed}: {said}");
        let object: Value = serde_json::from_slice(&output.stdout).expect("an error in JSON");
        object["error"].clone()
    }
}

/// Lines of several files, one of which is `what`; gives the file and the offset where it is.
fn plant(dir: &Path, what: &str, random: &mut Random) -> (PathBuf, u64) {
    let poisoned = random.within(0, 3);
    let mut place = None;
    for file in 0..3 {
        let path = dir.join(format!("{file}.txt"));
        let (lines, mut text) = (random.within(20, 200), String::new());
        let at = random.within(0, lines);
        for line in 0..lines {
            if (file, line) == (poisoned, at) {
                place = Some((path.clone(), text.len() as u64));
                text.push_str(&format!("{what}\n"));
            }
            text.push_str(&format!("{}-{}\n", "x".repeat(random.within(0, 30) as usize), random.next_u64()));
        }
        fs::write(&path, text).expect("a scratch file");
    }
    place.expect("one of the files has it")
}

/// What a replay says after the name of the task, if it found the same as the job.
fn found_the_same(error: &Value) -> &str {
    let message = error["message"].as_str().expect("a text");
    let (_task, found) = message.split_once(" fails here as in the job: ").unwrap_or_else(|| panic!("{message}"));
    found
}

#[test]
fn planted_failures_are_replayed_with_the_same_words_at_the_same_record() {
    let bench = Bench::start(&[]);
    for round in 0..rounds() {
        for (number, what) in (0..).zip(KINDS) {
            let mut random = Random::new(1000 * round + number);
            let folder = bench.path(&format!("{what}-{round}"));
            fs::create_dir(&folder).expect("a scratch folder");
            let (object, offset) = plant(&folder, what, &mut random);
            let output = bench.path("out");
            for (job, reducers) in [("misbehaving", None), ("misbehaving-reduce", Some("3"))] {
                let args = [job, "-i", arg(&folder), "-o", arg(&output), "--split-size", "700"];
                let reducers = reducers.map_or(vec![], |reducers| vec!["--reducers", reducers]);
                let failed = bench.fail(&[&args[..], &reducers].concat());
                let replayed = bench.replay_as_proposed(&failed, &[]);
                let (recorded, found) = (failed["message"].as_str().expect("a text"), found_the_same(&replayed));
                assert!(recorded.ends_with(found), "{job} {what} {round}: {recorded}\n{found}");
                assert_eq!(failed["code"], replayed["code"], "{job} {what} {round}");
                let place = format!(" (at {}:{offset})", arg(&object));
                assert_eq!(found.ends_with(&place), reducers.is_empty(), "{job} {what} {round}: {found}");
                let keyed = !reducers.is_empty() && ["error", "panic"].contains(&what);
                assert_eq!(found.contains(&format!("key \"{what}\"")), keyed, "{job} {what} {round}: {found}");
            }
        }
    }
}

#[test]
fn what_comes_to_no_end_or_takes_too_much_memory_does_so_again() {
    let limits = ["--memory", "200MiB", "--executor-memory", "400MiB"];
    let bench = Bench::start(&limits);
    for (what, code) in [("loop", "RECORD_TIMEOUT"), ("memory", "OUT_OF_MEMORY")] {
        let input = bench.path(&format!("{what}.txt"));
        fs::write(&input, format!("fine\n{what}\nfine\n")).expect("a scratch file");
        let output = bench.path("out");
        let patience = if what == "loop" { &["--record-timeout", "1s"][..] } else { &[] };
        let failed = bench.fail(&[&["misbehaving", "-i", arg(&input), "-o", arg(&output)], patience].concat());
        let replayed = bench.replay_as_proposed(&failed, &limits[2..]);
        assert_eq!((&failed["code"], &replayed["code"]), (&code.into(), &code.into()));
        assert!(found_the_same(&replayed).ends_with(&format!(" (at {}:5)", arg(&input))), "{replayed:#}");
    }
}

#[test]
fn a_task_that_succeeded_writes_what_its_job_published_also_under_the_next_master() {
    let mut bench = Bench::start(&[]);
    for number in 0..4 {
        let lines: String = (0..50).map(|line| format!("the fox {} and dog {number}\n", line % 7)).collect();
        fs::write(bench.path(&format!("{number}.txt")), lines).expect("a scratch file");
    }
    fs::write(bench.path("words"), "the\nand\n").expect("a scratch file");
    // The binary is neither the cluster's nor the one that replays.
    let lab = example("lab");
    let counts = ["stop-words", "-i", "*.txt", "-o", "counts", "--split-size", "300", "--reducers", "2"];
    let counted = bench.submit(&lab, &[&counts[..], &["--file", "stop=words"]].concat());
    let copied = bench.submit(&lab, &["copy", "-i", "*.txt", "-o", "copied", "--split-size", "300"]);
    let tasks = [
        (counted.as_str(), "r-0", "counts/part-00000"),
        (counted.as_str(), "r-1.7", "counts/part-00001"),
        (copied.as_str(), "m-2", "copied/part-00002"),
    ];
    for restarted in [false, true] {
        if restarted {
            bench.cluster.kill_master();
            bench.cluster.restart_master();
        }
        for (job, task, published) in tasks {
            let keep = bench.path(&format!("kept-{task}-{restarted}"));
            bench.replay(&[job, task, "--keep", arg(&keep)], 0, " succeeded in ");
            let names: Vec<_> = fs::read_dir(&keep).expect("it is there").map(|file| file.expect("read")).collect();
            assert_eq!(names.len(), 1, "{names:?}");
            let kept = fs::read(keep.join(Path::new(published).file_name().expect("a file"))).expect("a part");
            assert!(!kept.is_empty() && kept == fs::read(bench.path(published)).expect("a part"), "{task} of {job}");
        }
    }
    let before = gristmill_tests::data::parts(&bench.path("counts"));
    bench.replay(&[&counted, "m-0"], 0, "m-0 succeeded in ");
    assert_eq!(gristmill_tests::data::parts(&bench.path("counts")), before, "the output stays as it is");
}

#[test]
fn records_that_the_job_passed_over_show_unless_they_are_to_be_passed_over_again() {
    let bench = Bench::start(&[]);
    fs::write(bench.path("in.txt"), "one\nabort\ntwo\nerror\nthree\n").expect("a scratch file");
    let job =
        bench.submit(&example("misbehaving"), &["misbehaving", "-i", "in.txt", "-o", "out", "--max-bad-records", "2"]);
    bench.replay(&[&job, "m-0"], 1, "m-0 failed here: executor died: signal 6 (SIGABRT) (at ");
    let keep = bench.path("kept");
    bench.replay(&[&job, "m-0", "--skip", "--keep", arg(&keep)], 0, "2 bad records skipped");
    assert_eq!(fs::read(keep.join("part-00000")).expect("a part"), b"one\ntwo\nthree\n");
}

#[test]
fn a_debugger_starts_the_task_s_process() {
    let bench = Bench::start(&[]);
    fs::write(bench.path("in.txt"), "fine\npanic\n").expect("a scratch file");
    let failed = bench.fail(&["misbehaving", "-i", arg(&bench.path("in.txt")), "-o", arg(&bench.path("out"))]);
    // Like a debugger, this runs what it is given.
    let replayed = bench.replay_as_proposed(&failed, &["--debugger", "env GRISTMILL_LOG=debug"]);
    assert!(found_the_same(&replayed).contains("told to panic"), "{replayed:#}");
    let job = failed["job"].as_str().expect("an id");
    bench.replay(&[job, "m-0", "--debugger", "true"], 1, "the debugger ended before m-0 did");
    bench.replay(&[job, "m-0", "--debugger", "no-such-debugger"], 1, "cannot start no-such-debugger");
}

#[test]
fn what_cannot_be_replayed_says_why() {
    let bench = Bench::start(&[]);
    let input = bench.path("in.txt");
    fs::write(&input, "one\ntwo\n").expect("a scratch file");
    let job = bench.submit(&example("misbehaving"), &["misbehaving", "-i", "in.txt", "-o", "out"]);
    bench.replay(&["j-000000000001", "m-0"], 1, "unknown job j-000000000001");
    bench.replay(&[&job, "x-0"], 2, "is not a task id such as m-12 or r-0");
    bench.replay(&[&job, "m-1"], 2, "the job has no task m-1: it has m-0");
    bench.replay(&[&job, "r-0"], 2, "the job has no task r-0: it has m-0");
    bench.replay(&[&job, "m-0", "--debugger", "'rust-gdb"], 2, "that is not closed");
    bench.replay(&[&job, "m-0", "--keep", arg(bench.dir.path())], 3, "is not empty");
    fs::write(&input, "one\nthree\n").expect("a scratch file");
    bench.replay(&[&job, "m-0"], 3, "changed since the job was planned");
    fs::remove_file(&input).expect("it is there");
    bench.replay(&[&job, "m-0"], 3, "m-0 failed here: cannot read input ");
    let mut command = Command::new(GRISTMILL);
    command.args(["replay", &job, "m-0", "--master", "http://127.0.0.1:1"]);
    assert_eq!(run_to_end(command).status.code(), Some(4));
}
