//! Embedded runs over the real engine: what comes out, and what is left when nothing does.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::naming::Uri;
use gristmill_common::objects::LocalObjects;
use gristmill_common::prelude::*;
use gristmill_common::reference::{ReferenceInput, run_map_reduce};
use gristmill_common::setup::ShippedPaths;
use gristmill_common::storage::Stores;
use gristmill_common::text::LineRule;
use gristmill_master::runtime::{fresh_job_id, prepare};
use gristmill_master::scheduler::JobState;
use gristmill_worker::engine::{IntoAnyJob, install_panic_hook};

use super::*;

/// Counts words; what it does at the word `trouble` is up to the test.
struct Words {
    trouble: fn(u32) -> Result<()>,
    troubles: AtomicU32,
}

impl MapReduce for Words {
    type Input = Lines;
    type Key = [u8];
    type Value = u64;
    type Combine = NoCombine;
    type Output = Text<[u8], u64>;

    fn map(&self, line: &[u8], out: &mut impl Emit<[u8], u64>) -> Result<()> {
        for word in words(line) {
            if word == b"trouble" {
                (self.trouble)(self.troubles.fetch_add(1, Ordering::Relaxed))?;
            }
            out.emit(word, 1)?;
        }
        out.count("lines", 1);
        Ok(())
    }

    fn reduce(&self, word: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
        out.put(word, counts.sum())
    }
}

fn words_with(trouble: fn(u32) -> Result<()>) -> Words {
    Words { trouble, troubles: AtomicU32::new(0) }
}

/// Three lines in two files, the fourth word being `trouble`.
const TEXT: [(&str, &[u8]); 2] = [("a.txt", b"one two\none trouble\n"), ("b.txt", b"two two\n")];

struct Folder {
    dir: tempfile::TempDir,
    options: fn(&mut LocalOptions<'_>),
    spec: fn(&mut JobSpec),
}

impl Folder {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("scratch");
        fs::create_dir(dir.path().join("in")).expect("created");
        for (name, bytes) in TEXT {
            fs::write(dir.path().join("in").join(name), bytes).expect("written");
        }
        Self { dir, options: |_| {}, spec: |_| {} }
    }

    fn run(&self, job: Words, interrupted: &dyn Fn() -> bool) -> Result<JobStatus, RunError> {
        let job = gristmill_common::program::JobVisitor::map_reduce(IntoAnyJob, job);
        let uri = |name: &str| Uri::from_path(&self.dir.path().join(name));
        let mut spec = JobSpec::new("words", job.shape(), vec![uri("in")], uri("out"));
        spec.reducers = Some(2);
        (self.spec)(&mut spec);
        let clock = Clock::start();
        let scratch = self.dir.path().join("scratch");
        let submitted = clock.wall();
        let mut options = LocalOptions {
            threads: 2,
            memory: None,
            scratch: &scratch,
            files: &ShippedPaths::new(),
            objects: &LocalObjects::shared(),
            clock,
            submitted,
        };
        (self.options)(&mut options);
        let prepared = prepare(spec, fresh_job_id(&clock), &Stores::without_environment()).expect("nothing forbids it");
        run(&*job, prepared, &options, interrupted, &mut |_| {})
    }

    /// The parts, if there is an output.
    fn parts(&self) -> Vec<Vec<u8>> {
        let part = |index: u32| fs::read(self.dir.path().join("out").join(naming::part_name(index)));
        (0..).map_while(|index| part(index).ok()).collect()
    }

    /// The names in the folder.
    fn left(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(self.dir.path()).expect("readable");
        let mut names: BTreeSet<String> =
            entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
        let scratch = self.dir.path().join("scratch");
        if fs::read_dir(&scratch).is_ok_and(|mut entries| entries.next().is_none()) {
            names.remove("scratch");
        }
        names
    }
}

fn never() -> bool {
    false
}

#[track_caller]
fn check_failed(folder: &Folder, job: Words, check: impl FnOnce(&Failure)) -> JobStatus {
    let outcome = folder.run(job, &never).expect("it runs");
    assert_eq!(outcome.view.state, JobState::Failed);
    check(outcome.view.failure.as_ref().expect("a failed job has a failure"));
    assert_eq!(folder.left(), BTreeSet::from(["in".to_owned()]));
    outcome
}

#[test]
fn an_embedded_run_equals_the_reference() {
    let input = ReferenceInput { objects: &TEXT, rule: &LineRule::Lf, partitions: 2 };
    let expected = run_map_reduce(&words_with(|_| Ok(())), &input).expect("no error");
    type Row = (fn(&mut LocalOptions<'_>), fn(&mut JobSpec));
    let rows: [Row; 4] = [
        (|_| {}, |_| {}),
        (|options| options.threads = 1, |spec| spec.split_size = ByteSize(1)),
        (|options| options.threads = 7, |spec| spec.split_size = ByteSize(3)),
        (|options| options.memory = Some(ByteSize::mib(32)), |spec| spec.attempt_bytes = ByteSize::mib(16)),
    ];
    for (options, spec) in rows {
        let folder = Folder { options, spec, ..Folder::new() };
        let outcome = folder.run(words_with(|_| Ok(())), &never).expect("it runs");
        let view = &outcome.view;
        assert_eq!(view.state, JobState::Succeeded, "{view:?}");
        assert_eq!(folder.parts(), expected.parts);
        assert_eq!(view.counters, expected.counters);
        assert_eq!(view.reduce.done, 2);
        assert_eq!(folder.left(), BTreeSet::from(["in".to_owned(), "out".to_owned()]));
    }
}

#[test]
fn a_failed_attempt_runs_again() {
    let folder = Folder::new();
    let job = words_with(|times| if times < 3 { Err(JobError::new(format!("try {times}"))) } else { Ok(()) });
    let outcome = folder.run(job, &never).expect("it runs");
    assert_eq!(outcome.view.state, JobState::Succeeded);
    assert_eq!(outcome.view.map.failed_attempts, 3);
    assert_eq!(outcome.view.counters.get("lines"), 3);
}

#[test]
fn user_code_that_always_fails_ends_the_job_and_leaves_nothing() {
    let folder = Folder::new();
    let place = format!("{}:8", folder.dir.path().join("in/a.txt").display());
    let outcome = check_failed(&folder, words_with(|_| Err(JobError::new("bad word"))), |failure| {
        assert_eq!(failure.code, FailureCode::UserError);
        let text = failure.to_string();
        assert!(text.contains("bad word") && text.contains(&place), "{text}");
    });
    // The same failure at the same record: a third attempt would tell nothing new.
    assert_eq!(outcome.view.map.failed_attempts, 2);

    install_panic_hook();
    check_failed(&folder, words_with(|_| panic!("worse word")), |failure| {
        assert_eq!(failure.code, FailureCode::UserPanic);
        let text = failure.to_string();
        assert!(text.contains("worse word") && text.contains("src/local/tests.rs:"), "{text}");
    });
}

#[test]
fn an_interrupted_job_is_cancelled_and_leaves_nothing() {
    let folder = Folder::new();
    let outcome = folder.run(words_with(|_| Ok(())), &|| true).expect("it runs");
    assert_eq!(outcome.view.state, JobState::Cancelled);
    assert_eq!(folder.left(), BTreeSet::from(["in".to_owned()]));
}

#[test]
fn a_job_that_does_not_fit_is_refused_and_leaves_nothing() {
    let folder = Folder { options: |options| options.memory = Some(ByteSize::mib(16)), ..Folder::new() };
    let error = folder.run(words_with(|_| Ok(())), &never).expect_err("too large");
    assert_eq!(error.to_string(), "one attempt needs 160 MiB and the process has 16.0 MiB");
    assert_eq!(folder.left(), BTreeSet::from(["in".to_owned()]));
}
