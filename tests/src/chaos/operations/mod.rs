//! Every file operation of a job, failed once. A run counts the operations on files in its folder; then
//! there is one run for each, in which that operation fails, is told that the disk is full, or
//! transfers less than it was asked to. Each run must give the right output, or one error that names
//! the file; and nothing else may be left of it. The operations are those of a job of one process, or of
//! the master or the worker of a cluster while it runs one.
//!
//! | file | holds |
//! |---|---|
//! | `calls.rs` | which system calls are file operations, and on what |
//! | `tracer.rs` | a process whose nth operation goes wrong |
//! | `embedded.rs` | jobs of one process, and what came of each run |
//! | `pair.rs` | a master and a worker, one of which is traced |
//! | `member.rs` | a job of theirs, and what came of each run |

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod calls;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod embedded;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod member;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod pair;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tracer;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultEffect {
    /// It is not done, and returns `EIO`.
    Io,
    /// It is not done, and returns `ENOSPC`; only operations that may need room.
    Full,
    /// It transfers half of what it was asked to, which is no error; only reads and writes.
    Short,
}

impl FaultEffect {
    const ALL: [Self; 3] = [Self::Io, Self::Full, Self::Short];
}

/// One operation that goes wrong.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Fault {
    /// Which one of those it can strike, from 1.
    nth: u64,
    effect: FaultEffect,
}

impl Fault {
    /// One that no run lives to see.
    const NEVER: Self = Self { nth: u64::MAX, effect: FaultEffect::Io };
}

/// The operation that went wrong.
#[derive(Debug, Serialize)]
pub struct Struck {
    /// The system call.
    pub call: &'static str,
    /// Its file, or both where it moves one.
    pub objects: Vec<PathBuf>,
}

/// A run that did not end as it must.
#[derive(Debug, Serialize)]
pub struct BadRun {
    /// The job, or whose operation it was.
    pub subject: String,
    /// What became of the operation.
    pub effect: FaultEffect,
    /// Which one it was, from 1.
    pub nth: u64,
    /// The operation.
    pub struck: Option<Struck>,
    /// What is wrong.
    pub wrong: Vec<String>,
    /// What the processes printed.
    pub printed: String,
}

/// What came of all runs.
#[derive(Debug, Default, Serialize)]
pub struct OperationsVerdict {
    /// Why nothing could be done, where that is so.
    pub skipped: Option<String>,
    /// Runs in which an operation went wrong.
    pub runs: u64,
    /// Of them those that succeeded, with the right output.
    pub succeeded: u64,
    /// Those that ended with an error that names the file.
    pub refused: u64,
    /// Those in which a master or a worker ended, by itself and by name, and was started again.
    pub restarted: u64,
    /// Operations that went wrong, by system call.
    pub calls: BTreeMap<&'static str, u64>,
    /// Runs that did not end as they must.
    pub bad: Vec<BadRun>,
}

impl OperationsVerdict {
    /// Whether all is as it must be.
    pub fn is_clean(&self) -> bool {
        self.bad.is_empty() && (self.runs > 0 || self.skipped.is_some())
    }
}

/// Whose operations go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationsOf {
    /// Two jobs', each of one process.
    Jobs,
    /// The master's of a cluster of one worker.
    Master,
    /// The master's that finds a job which an earlier one accepted.
    Successor,
    /// The worker's of such a cluster, and its executors'.
    Worker,
}

impl OperationsOf {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Jobs, Self::Master, Self::Successor, Self::Worker];

    /// The name in `--of` and in verdicts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Master => "master",
            Self::Successor => "successor",
            Self::Worker => "worker",
        }
    }
}

/// Exit code of a program that panicked.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
const PANICKED: i32 = 101;

/// Which operations go wrong.
#[derive(Debug, Clone)]
pub struct OperationsOptions {
    /// The program.
    pub binary: PathBuf,
    /// Whose.
    pub of: OperationsOf,
    /// Every how many-th operation is failed; 1 for all.
    pub every: u64,
    /// Which of them come first: from 1 to `every`.
    pub first: u64,
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
impl OperationsOptions {
    /// The faults, of the operations that each effect can strike.
    fn faults(&self, operations: &BTreeMap<FaultEffect, u64>) -> Vec<Fault> {
        let of = |(effect, count): (&FaultEffect, &u64)| {
            let effect = *effect;
            (self.first..=*count).step_by(self.every as usize).map(move |nth| Fault { nth, effect })
        };
        operations.iter().flat_map(of).collect()
    }
}

/// What is wrong with what a process printed that could not do its work because of what was struck.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn wrong_error(struck: Option<&Struck>, printed: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let errors = printed.lines().filter(|line| line.starts_with("error")).count();
    if errors != 1 {
        wrong.push(format!("it prints {errors} errors"));
    }
    // A file that is to replace another, `epoch.next` or `journal.next`, goes by the name that it will have.
    let is_named = |object: &PathBuf| {
        let is_draft = object.extension().is_some_and(|extension| extension == "next");
        let named = if is_draft { object.with_extension("") } else { object.clone() };
        printed.contains(&named.display().to_string())
    };
    if !struck.into_iter().flat_map(|struck| &struck.objects).any(is_named) {
        wrong.push("its error does not name the file".to_owned());
    }
    wrong
}

/// Fails operations, each once.
///
/// # Panics
///
/// If the jobs do not even succeed undisturbed, or cannot be traced.
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
pub fn operations(options: &OperationsOptions) -> OperationsVerdict {
    let mut verdict = OperationsVerdict::default();
    match options.of {
        OperationsOf::Jobs => embedded::all(options, &mut verdict),
        OperationsOf::Master => member::all(pair::Role::Master, false, options, &mut verdict),
        OperationsOf::Successor => member::all(pair::Role::Master, true, options, &mut verdict),
        OperationsOf::Worker => member::all(pair::Role::Worker, false, options, &mut verdict),
    }
    verdict
}

/// Says that it does nothing here.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
pub fn operations(_options: &OperationsOptions) -> OperationsVerdict {
    let skipped =
        Some("only on Linux on x86_64: elsewhere a system call's arguments lie in other registers".to_owned());
    OperationsVerdict { skipped, ..OperationsVerdict::default() }
}
