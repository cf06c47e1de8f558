//! Jobs of a user's own crate, some of which behave badly: what their user sees, and what is left.
//!
//! This is one program with two faces: called with a verb it is the job crate's binary, which
//! workers also start as executors; called by `cargo test` it calls itself and checks.

#[path = "harness.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the other test program, which uses the rest")]
mod harness;
#[path = "user_pipelines.rs"]
mod user_pipelines;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use gristmill::prelude::*;
use harness::{Called, Sandbox};

/// The verbs with which the checks below call this program, and workers their executors.
const VERBS: [&str; 7] = ["run", "submit", "explain", "cluster", "master", "worker", "__executor"];

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|verb| VERBS.contains(&verb.as_str())) {
        let own = [
            job("counts", Counts(|_| Ok(()))).about("Counts words"),
            job("errs", Counts(|_| Err(JobError::new("no trouble, please")))),
            job("panics", Counts(|_| panic!("trouble is too much"))),
            job("aborts", Counts(|_| std::process::abort())),
            job("overflows", Counts(|_| Ok(overflow(1)?))),
            job("shrinks", Counts(shrink)),
            map_only_job("upper", Upper),
        ];
        return gristmill::main(own.into_iter().chain(user_pipelines::jobs()));
    }
    for (name, check) in CHECKS.into_iter().chain(user_pipelines::CHECKS) {
        check();
        writeln!(std::io::stdout(), "test {name} ... ok").expect("cargo test reads it");
    }
    ExitCode::SUCCESS
}

/// Counts words; what it does at the word `trouble` is its field.
struct Counts(fn(Provenance<'_>) -> Result<()>);

impl MapReduce for Counts {
    type Input = Located<Lines>;
    type Key = [u8];
    type Value = u64;
    type Combine = Sum;
    type Output = Text<[u8], u64>;

    fn map(&self, (from, line): (Provenance<'_>, &[u8]), out: &mut impl Emit<[u8], u64>) -> Result<()> {
        for word in words(line) {
            if word == b"trouble" {
                self.0(from)?;
            }
            out.emit(word, 1)?;
        }
        Ok(())
    }

    fn reduce(&self, word: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
        out.put(word, counts.sum())
    }
}

/// Writes lines in upper case.
struct Upper;

impl MapOnly for Upper {
    type Input = Utf8Lines;
    type Output = Text<str>;

    fn map(&self, line: &str, out: &mut impl Sink<str>) -> Result<()> {
        out.put(&line.to_uppercase(), ())
    }
}

/// Uses up the stack.
fn overflow(depth: u64) -> Result<(), std::io::Error> {
    let frame = std::hint::black_box([depth; 512]);
    if frame[0] == 0 { Ok(()) } else { overflow(frame[511] + 1) }
}

/// Cuts the object that is being read.
fn shrink(from: Provenance<'_>) -> Result<()> {
    fs::File::options().write(true).open(from.object)?.set_len(from.offset)?;
    Ok(())
}

type Check = (&'static str, fn());

const CHECKS: [Check; 4] = [
    ("own_jobs_run_here_and_on_a_cluster", own_jobs_run_here_and_on_a_cluster),
    ("bad_user_code_is_named_with_file_and_offset", bad_user_code_is_named_with_file_and_offset),
    ("a_fatal_signal_names_the_record", a_fatal_signal_names_the_record),
    ("an_input_that_shrinks_is_named", an_input_that_shrinks_is_named),
];

/// Two files; the record `deep trouble` begins at byte 8 of the second.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.file("in/a.txt", "one two\n");
    sandbox.file("in/b.txt", "two two\ndeep trouble\n");
    sandbox
}

fn call(sandbox: &Sandbox, args: &str) -> Called {
    let program = std::env::current_exe().expect("this program has a file");
    Called::of(sandbox.command_of(&program, args).output().expect("it starts"))
}

/// Runs `work` with the URL of a cluster of this program.
fn with_cluster(sandbox: &Sandbox, work: impl FnOnce(&str)) {
    let program = std::env::current_exe().expect("this program has a file");
    let mut command = sandbox.command_of(&program, "cluster --workers 2 --slots 1 --listen 127.0.0.1:0 --quiet");
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut url = String::new();
    BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut url).expect("it says where it serves");
    let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(url.trim())));
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill").args(["-INT", &pid]).status().expect("kill starts");
    let ended = child.wait().expect("it ends");
    assert!(sent.success() && ended.success(), "{ended}");
    if let Err(panic) = worked {
        std::panic::resume_unwind(panic);
    }
}

#[track_caller]
fn assert_says(called: &Called, expected: &[&str]) {
    for text in expected {
        assert!(called.stderr.contains(text), "no {text:?} in:\n{}", called.stderr);
    }
}

fn own_jobs_run_here_and_on_a_cluster() {
    let sandbox = sandbox();
    call(&sandbox, "run counts -i in -o here --reducers 1").expect_code(0);
    assert_eq!(sandbox.parts("here"), "deep\t1\none\t1\ntrouble\t1\ntwo\t3\n");
    call(&sandbox, "run upper -i in -o upper").expect_code(0);
    assert_eq!(sandbox.parts("upper"), "ONE TWO\nTWO TWO\nDEEP TROUBLE\n");
    with_cluster(&sandbox, |url| {
        call(&sandbox, &format!("submit counts -i in -o there --reducers 1 --master {url}")).expect_code(0);
        assert_eq!(sandbox.parts("there"), sandbox.parts("here"));
        // The shipped binary is another program, which the cluster has never seen.
        sandbox.call(&format!("submit word-count -i in -o other --reducers 1 --master {url}")).expect_code(0);
        assert_eq!(sandbox.parts("other"), sandbox.parts("here"));
    });
}

fn bad_user_code_is_named_with_file_and_offset() {
    for (name, expected) in [("errs", "no trouble, please"), ("panics", "trouble is too much")] {
        let sandbox = sandbox();
        let before = sandbox.tree();
        let called = call(&sandbox, &format!("run {name} -i in -o out")).expect_code(1);
        let place = format!("{}:8", sandbox.path("in/b.txt").display());
        assert_says(&called, &["error: the job failed: ", expected, &place]);
        assert_eq!(called.stderr.lines().count(), 1, "one clear error:\n{}", called.stderr);
        assert_eq!((sandbox.tree(), sandbox.scratch()), (before, vec![]));
        let object = call(&sandbox, &format!("run {name} -i in -o out --json --quiet")).expect_code(1).json();
        assert!(object["error"]["code"].as_str().is_some_and(|code| code.starts_with("USER_")), "{object}");
    }
}

fn a_fatal_signal_names_the_record() {
    for (name, signal) in [("aborts", "SIGABRT"), ("overflows", "SIG")] {
        let sandbox = sandbox();
        let called = call(&sandbox, &format!("run {name} -i in -o out"));
        assert_eq!(called.code, None, "it dies of the signal: {called:#?}");
        let place = format!("{}:8", sandbox.path("in/b.txt").display());
        assert_says(&called, &[&format!("gristmill: {signal}"), &format!("job {name}, task m-0"), &place]);
        assert!(!sandbox.path("out").exists());
        // What it left is removed by the next run on the same output and scratch.
        call(&sandbox, "run counts -i in -o out --reducers 1").expect_code(0);
        assert_eq!(sandbox.tree(), ["in", "in/a.txt", "in/b.txt", "out", "out/_SUCCESS", "out/part-00000"]);
        assert_eq!(sandbox.scratch(), [""; 0]);
    }
}

fn an_input_that_shrinks_is_named() {
    let sandbox = sandbox();
    let before = sandbox.tree();
    let called = call(&sandbox, "run shrinks -i in -o out").expect_code(1);
    let changed = format!("input {} changed since the job was planned", sandbox.path("in/b.txt").display());
    assert_says(&called, &["error: the job failed: ", &changed]);
    assert_eq!((sandbox.tree(), sandbox.scratch()), (before, vec![]));
}
