//! Jobs of one process, and what must hold when one of their operations goes wrong.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::tracer::{Program, Traced, trace};
use super::{BadRun, Fault, OperationsOptions, OperationsVerdict, PANICKED, Struck, wrong_error};
use crate::data::parts;

/// How long one run may take; undisturbed it takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(60);

/// A job, and its arguments besides input and output.
struct Job {
    name: &'static str,
    args: &'static [&'static str],
    /// Its input, in one or more files.
    input: [&'static str; 4],
}

/// Small, so that a run is short; with as little memory as may be, so that the sort spills.
const JOBS: [Job; 2] = [
    Job {
        name: "word-count",
        args: &["--reducers", "2", "--split-size", "256KiB", "--fsync"],
        input: ["--bytes", "1MB", "--files", "2"],
    },
    Job {
        name: "sort-lines",
        args: &["--reducers", "2", "--memory", "32MiB", "--overwrite"],
        input: ["--bytes", "20MB", "--files", "1"],
    },
];

/// Fails operations of each job, each once.
pub(super) fn all(options: &OperationsOptions, verdict: &mut OperationsVerdict) {
    for job in &JOBS {
        let bench = Bench::new(&options.binary, job);
        let (undisturbed, printed) = bench.run(Fault::NEVER);
        let wrong = bench.wrong(&undisturbed, &printed);
        assert!(wrong.is_empty(), "{}, undisturbed: {wrong:?}\n{printed}", job.name);
        for fault in options.faults(&undisturbed.operations) {
            bench.fail(fault, verdict);
        }
    }
}

/// Where the runs of a job take place.
struct Bench<'a> {
    binary: &'a Path,
    job: &'a Job,
    /// Holds the root, and beside it what the program prints.
    dir: tempfile::TempDir,
    reference: BTreeMap<String, Vec<u8>>,
}

impl<'a> Bench<'a> {
    fn new(binary: &'a Path, job: &'a Job) -> Self {
        let dir = tempfile::Builder::new().prefix("operations-").tempdir().expect("a temporary folder");
        let mut bench = Self { binary, job, dir, reference: BTreeMap::new() };
        for folder in [bench.root(), bench.scratch()] {
            fs::create_dir(folder).expect("a scratch folder");
        }
        let input = bench.input().display().to_string();
        bench.succeed(&[&["generate", "text", "-o", &input], &job.input[..]].concat());
        bench.before();
        let output = bench.output().display().to_string();
        bench.succeed(&[&["run", job.name, "-i", &input, "-o", &output], job.args].concat());
        bench.reference = parts(&bench.output());
        bench
    }

    fn succeed(&self, args: &[&str]) {
        let output =
            Command::new(self.binary).args(args).env("TMPDIR", self.dir.path()).output().expect("the program starts");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn input(&self) -> PathBuf {
        self.root().join("in")
    }

    /// In a folder that the job makes, unless it replaces an output.
    fn output(&self) -> PathBuf {
        if self.replaces() { self.root().join("out") } else { self.root().join("new/out") }
    }

    fn scratch(&self) -> PathBuf {
        self.root().join("scratch")
    }

    fn replaces(&self) -> bool {
        self.job.args.contains(&"--overwrite")
    }

    /// Makes the output that the job replaces.
    fn before(&self) {
        let made = if self.replaces() { self.output() } else { self.root().join("new") };
        // The first run finds none.
        let _ = fs::remove_dir_all(made);
        if self.replaces() {
            fs::create_dir(self.output()).expect("a scratch folder");
            fs::write(self.output().join("old"), "old").expect("a scratch file");
        }
    }

    /// One run; gives also what it printed.
    fn run(&self, fault: Fault) -> (Traced, String) {
        self.before();
        let [input, output, scratch] =
            [self.input(), self.output(), self.scratch()].map(|path| path.display().to_string());
        let args = ["run", self.job.name, "-i", &input, "-o", &output, "--dir", &scratch, "--threads", "1"];
        let args = [&args, self.job.args].concat();
        let (root, printed) = (self.root(), self.dir.path().join("printed"));
        let program = Program { binary: self.binary, args: &args, root: &root, printed: &printed, patience: PATIENCE };
        let traced = trace(&program, fault, |_| {}).expect("this process may trace its children");
        (traced, fs::read_to_string(printed).expect("the program prints text"))
    }

    /// One run in which the fault strikes, and what came of it.
    fn fail(&self, fault: Fault, verdict: &mut OperationsVerdict) {
        let (traced, printed) = self.run(fault);
        let wrong = self.wrong(&traced, &printed);
        verdict.runs += 1;
        if let Some(struck) = &traced.struck {
            *verdict.calls.entry(struck.call).or_default() += 1;
        }
        match (wrong.is_empty(), traced.exit) {
            (false, _) => {
                let Fault { nth, effect } = fault;
                let (subject, struck) = (self.job.name.to_owned(), traced.struck);
                verdict.bad.push(BadRun { subject, effect, nth, struck, wrong, printed });
                self.tidy_up();
            }
            (true, Some(0)) => verdict.succeeded += 1,
            (true, _) => verdict.refused += 1,
        }
    }

    /// What is not as it must be after a run.
    fn wrong(&self, traced: &Traced, printed: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        match traced.exit {
            Some(0) if parts(&self.output()) != self.reference => wrong.push("the output is wrong".to_owned()),
            Some(0) if !self.output().join("_SUCCESS").is_file() => wrong.push("there is no _SUCCESS".to_owned()),
            Some(0) => {}
            Some(PANICKED) => wrong.push("it panicked".to_owned()),
            None => wrong.push("a signal ended it, perhaps because it took too long".to_owned()),
            Some(_) => wrong.extend(self.wrong_refusal(traced.struck.as_ref(), printed)),
        }
        if printed.contains("panicked at") {
            wrong.push("it tells of a panic".to_owned());
        }
        wrong.extend(self.leftovers().into_iter().map(|path| format!("left: {}", path.display())));
        wrong
    }

    /// What is not as it must be when the program said that it cannot.
    fn wrong_refusal(&self, struck: Option<&Struck>, printed: &str) -> Vec<String> {
        let mut wrong = wrong_error(struck, printed);
        let kept =
            if self.replaces() { self.output().join("old").is_file() } else { !self.root().join("new").exists() };
        if !kept {
            wrong.push("the output was touched".to_owned());
        }
        wrong
    }

    /// What lies in the root besides input, scratch and output, and in scratch.
    fn leftovers(&self) -> Vec<PathBuf> {
        let entries = |dir: &Path| -> Vec<PathBuf> {
            fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        };
        let (input, scratch, output) = (self.input(), self.scratch(), self.output());
        let mut left = [entries(&self.root()), entries(&self.root().join("new")), entries(&scratch)].concat();
        left.retain(|path| ![&input, &scratch, &output].contains(&path) && !output.starts_with(path));
        left
    }

    /// Removes what a bad run left, so that the next one is judged by itself.
    fn tidy_up(&self) {
        for path in self.leftovers() {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.expect("what lies in a scratch folder can be removed");
        }
    }
}
