//! One task of a job run again on this machine, as a worker would run it: by an executor of the job's own
//! binary, with the same code around it, so that it fails with the same words at the same record. Neither
//! a master nor other workers are needed once binary and files are here.
//!
//! | file | about |
//! |---|---|
//! | `session.rs` | an executor that runs one attempt after the other, and what it died of |
//! | `segments.rs` | what a reduce task reads, made by running all map tasks |
//! | `debugged.rs` | an executor that a debugger starts |
//!
//! Writes into the folders that it is given and nowhere else: the job's output is never touched.

mod debugged;
mod segments;
mod session;

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use gristmill_common::failure::{Failure, FailureCode, InputPosition};
use gristmill_common::ids::{AttemptId, JobAttempt, JobId, Stage, TaskId};
use gristmill_common::size::ByteSize;
use gristmill_common::spec::JobSpec;
use gristmill_common::storage::{Fetcher, Stores};
use gristmill_common::task::{AttemptReport, JobPlan, Split};
use gristmill_common::wire::v1;

use self::session::{End, Session};
use crate::executor::frame;
use crate::executor::message::{Open, ToExecutor, Work};
use crate::ranges::RangeServer;

pub use crate::scratch::shipped_file;

/// What to run, and where.
#[derive(Clone, Copy)]
pub struct Replay<'a> {
    /// The job that the task belongs to.
    pub job: JobId,
    /// The attempt to run: user code may ask for its number.
    pub attempt: AttemptId,
    /// The job as it ran.
    pub spec: &'a JobSpec,
    /// Its tasks.
    pub plan: &'a JobPlan,
    /// Its binary.
    pub program: &'a Path,
    /// An empty folder of its own, in which the files that the job came with are where
    /// [`shipped_file`] says.
    pub scratch: &'a Path,
    /// The folder for the part; exists.
    pub staging: &'a Path,
    /// The most memory that the executor may have for its data.
    pub memory: ByteSize,
    /// Whether a map task passes over records as the job did; else the first bad one fails it.
    pub skips: bool,
    /// Program and arguments of a debugger to start the executor with; empty for none.
    pub debugger: &'a [String],
    /// Asked now and then whether to give up.
    pub is_interrupted: &'a (dyn Fn() -> bool + Sync),
    /// Map tasks that run at once where a reduce task needs what they make; at least one.
    pub maps_at_once: usize,
    /// Reads from object stores with this process's credentials.
    pub stores: &'a Stores,
    /// Told how many of those there are, before the first one runs.
    pub making: &'a (dyn Fn(usize) + Sync),
}

/// How the task ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Replayed {
    /// It succeeded; a part is in the staging folder.
    Finished(AttemptReport),
    /// It failed, as attempts on workers do.
    Failed(Failure),
    /// The debugger ended before the task had, with this record in hand.
    Unfinished(Option<InputPosition>),
}

/// Why the task could not be run.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The plan has no such task.
    #[error("the job has no task {task}: it has {}", tasks_of(*maps, *reducers))]
    NoSuchTask {
        /// What was asked for.
        task: TaskId,
        /// Its map tasks.
        maps: usize,
        /// Its reduce tasks.
        reducers: u32,
    },
    /// The binary, or the debugger, cannot be started.
    #[error("cannot start {program}")]
    Start {
        /// Its file, as it was called.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// The scratch folder cannot be used.
    #[error("cannot use {}", path.display())]
    Scratch {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What the reduce task reads cannot be made.
    #[error("{task} reads what {map} makes, which fails here: {failure}")]
    Input {
        /// The task that was asked for.
        task: TaskId,
        /// The map task.
        map: TaskId,
        /// What it failed of.
        failure: Box<Failure>,
    },
    /// It was told to give up.
    #[error("interrupted")]
    Interrupted,
}

/// The tasks of a job, as people count them.
fn tasks_of(maps: usize, reducers: u32) -> String {
    let stage = |letter, count: usize| match count {
        0 => format!("no {letter} tasks"),
        1 => format!("{letter}-0"),
        _ => format!("{letter}-0 to {letter}-{}", count - 1),
    };
    match reducers {
        0 => stage('m', maps),
        _ => format!("{}, and {}", stage('m', maps), stage('r', reducers as usize)),
    }
}

/// Runs the task to its end, on this thread and one process beside it.
///
/// A map task reads its pieces of the inputs. For a reduce task all map tasks run first, as the job ran
/// them, and of what each makes only the one partition is kept.
///
/// # Errors
///
/// If it cannot be run. That it fails is no error here.
pub fn replay(replay: &Replay<'_>) -> Result<Replayed, ReplayError> {
    let task = replay.attempt.task;
    let (maps, reducers) = (replay.plan.splits.len(), replay.plan.reducers);
    let known = match task.stage {
        Stage::Map => (task.index as usize) < maps,
        Stage::Reduce => task.index < reducers,
    };
    if !known {
        return Err(ReplayError::NoSuchTask { task, maps, reducers });
    }
    match task.stage {
        Stage::Map => {
            let split = &replay.plan.splits[task.index as usize];
            if !replay.debugger.is_empty() {
                return replay.debug(replay.spec_of_task(), replay.map_work(split, &[]), objects_of(split));
            }
            let skipped = AtomicU64::new(0);
            let mut maps = Maps::new(replay, replay.spec_of_task(), &skipped);
            Ok(ended(maps.run(replay.attempt, split)?.map(|ran| ran.report)))
        }
        Stage::Reduce => {
            let segments = replay.segments()?;
            let work = Work::Reduce { segments };
            let spec = replay.spec.clone();
            if !replay.debugger.is_empty() {
                return replay.debug(spec, work, Vec::new());
            }
            let mut session = match Session::start(replay, spec)? {
                Ok(session) => session,
                Err(failure) => return Ok(Replayed::Failed(failure)),
            };
            Ok(ended(session.run(replay, replay.attempt, work, Vec::new())?.into_result()))
        }
    }
}

fn ended(result: Result<AttemptReport, Failure>) -> Replayed {
    match result {
        Ok(report) => Replayed::Finished(report),
        Err(failure) => Replayed::Failed(failure),
    }
}

/// The objects that positions in a split refer to.
fn objects_of(split: &Split) -> Vec<String> {
    split.pieces.iter().map(|piece| piece.object.uri.to_string()).collect()
}

impl Replay<'_> {
    /// The spec for the task that was asked for: a map task fails at the first bad record unless it is to
    /// pass over them.
    fn spec_of_task(&self) -> JobSpec {
        let max_bad_records = if self.skips { self.spec.max_bad_records } else { 0 };
        JobSpec { max_bad_records, ..self.spec.clone() }
    }

    fn map_work(&self, split: &Split, skip: &[InputPosition]) -> Work {
        Work::Map { split: split.clone(), partitions: self.plan.reducers, skip: skip.to_vec() }
    }

    fn of_job(&self, attempt: AttemptId) -> JobAttempt {
        JobAttempt { job: self.job, attempt }
    }

    /// What its executors read from stores.
    fn store_ranges(&self) -> StoreRanges {
        let fetcher = Fetcher::new(self.stores.with_options(&self.spec.store));
        StoreRanges { fetcher, scratch: self.scratch.to_owned() }
    }

    /// The first message to an executor.
    fn open(&self, spec: JobSpec, positions: &Path) -> Open {
        Open {
            job: self.job,
            // Nothing of it has to outlive the machine.
            spec: JobSpec { fsync: false, ..spec },
            slots: 1,
            scratch: self.scratch.to_owned(),
            staging: self.staging.to_owned(),
            positions: positions.to_owned(),
            compress: false,
        }
    }
}

/// Serves the executors of a replay with ranges of objects in stores.
struct StoreRanges {
    fetcher: Fetcher,
    scratch: PathBuf,
}

impl StoreRanges {
    /// Serves the executor on the other end of `control`; `number` tells it from others.
    fn serve(&self, control: &Arc<Mutex<UnixStream>>, number: usize) -> RangeServer {
        let control = Arc::clone(control);
        let tell = move |message: &ToExecutor| say(&control, message);
        RangeServer::new(self.fetcher.clone(), self.scratch.join(format!("ranges-{number}")), Arc::new(tell))
    }
}

/// Tells an executor something, whoever does so at the same time. What a dead one does not take is told by
/// its end.
fn say(control: &Mutex<UnixStream>, message: &ToExecutor) {
    let mut control = control.lock().unwrap_or_else(PoisonError::into_inner);
    let _ = frame::write(&mut *control, &v1::ToExecutor::from(message));
}

/// Runs map tasks one after the other, and passes over records that end their executor as a job does that
/// allows some.
struct Maps<'r> {
    replay: &'r Replay<'r>,
    spec: JobSpec,
    session: Option<Session>,
    /// Records that were passed over, by all who run map tasks of this job.
    skipped: &'r AtomicU64,
}

/// A map task that has run.
struct Ran {
    attempt: AttemptId,
    report: AttemptReport,
}

impl<'r> Maps<'r> {
    fn new(replay: &'r Replay<'r>, spec: JobSpec, skipped: &'r AtomicU64) -> Self {
        Self { replay, spec, session: None, skipped }
    }

    /// Runs one to its end, as the attempt that is named or, if it had to begin anew, a later one.
    fn run(&mut self, mut attempt: AttemptId, split: &Split) -> Result<Result<Ran, Failure>, ReplayError> {
        let mut skip = Vec::new();
        loop {
            let mut session = match self.session.take() {
                Some(session) => session,
                None => match Session::start(self.replay, self.spec.clone())? {
                    Ok(session) => session,
                    Err(failure) => return Ok(Err(failure)),
                },
            };
            let work = self.replay.map_work(split, &skip);
            match session.run(self.replay, attempt, work, objects_of(split))? {
                End::Told(result) => {
                    self.session = Some(session);
                    return Ok(result.map(|report| Ran { attempt, report }));
                }
                End::Died(failure) => match self.may_be_skipped(&failure) {
                    Some(position) => {
                        skip.push(position);
                        // What the dead one began has its number.
                        attempt.number += 1;
                    }
                    None => return Ok(Err(failure)),
                },
            }
        }
    }

    /// The record to go on without, if there is one and the job allows one more. As with a scheduler, want
    /// of memory is no reason to leave records out.
    fn may_be_skipped(&self, failure: &Failure) -> Option<InputPosition> {
        let ended = matches!(failure.code, FailureCode::ExecutorCrash | FailureCode::RecordTimeout);
        let allowed = || self.skipped.fetch_add(1, Ordering::Relaxed) < self.spec.max_bad_records;
        failure.position.clone().filter(|_| ended && allowed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_is_not_there_is_told_from_those_that_are() {
        let check = |task: &str, maps, reducers, expect: &str| {
            let task = task.parse().expect("a task");
            assert_eq!(ReplayError::NoSuchTask { task, maps, reducers }.to_string(), expect);
        };
        check("m-7", 3, 0, "the job has no task m-7: it has m-0 to m-2");
        check("r-0", 1, 0, "the job has no task r-0: it has m-0");
        check("r-2", 1, 2, "the job has no task r-2: it has m-0, and r-0 to r-1");
        check("m-0", 0, 1, "the job has no task m-0: it has no m tasks, and r-0");
    }
}
