//! Embedded runs: planner, scheduler and engine in one process, without sockets. The scheduler is
//! the cluster's; here its one worker is a rayon pool.
//!
//! | file | responsibility |
//! |---|---|
//! | `driver.rs` | carries the scheduler's commands out and tells it what happened |
//! | `attempt.rs` | runs one attempt on a thread of the pool |
//! | `upload.rs` | sends parts to an object store |
//! | `scratch.rs` | a scratch folder that no dead run leaves behind |

mod attempt;
mod driver;
mod scratch;
#[cfg(test)]
mod tests;
mod upload;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_common::naming;
use gristmill_common::objects::ObjectReader;
use gristmill_common::setup::ShippedPaths;
use gristmill_common::size::ByteSize;
use gristmill_common::spec::JobSpec;
use gristmill_common::time::{Clock, WallTime};
use gristmill_master::runtime::manifest::{JobTimes, Manifest, ManifestStats};
use gristmill_master::runtime::output::OutputError;
use gristmill_master::runtime::{JobStatus, PreparedJob};
use gristmill_master::scheduler::{JobResult, JobState, JobView};
use gristmill_sys::positions::RecordPosition;
use gristmill_worker::engine::AnyJob;
use gristmill_worker::engine::shuffle::MapOutputPack;

use attempt::Embedded;
use driver::{Hooks, Slots};
pub(crate) use scratch::{Scratch, ScratchError, lock_file};
use upload::Sender;

/// What an embedded run may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalOptions<'a> {
    /// Threads, at least one.
    pub(crate) threads: usize,
    /// Budget of the process; without one, every thread runs an attempt.
    pub(crate) memory: Option<ByteSize>,
    /// The folder in which scratch is made.
    pub(crate) scratch: &'a Path,
    /// Where the files lie that the job asks for by name.
    pub(crate) files: &'a ShippedPaths,
    /// Opens what the job reads.
    pub(crate) objects: &'a Arc<dyn ObjectReader>,
    /// This process's clock.
    pub(crate) clock: Clock,
    /// When the job was asked for.
    pub(crate) submitted: WallTime,
}

/// Why an embedded job could not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// No attempt fits the memory budget.
    #[error("one attempt needs {attempt_bytes} and the process has {budget}")]
    DoesNotFit {
        /// What an attempt needs.
        attempt_bytes: ByteSize,
        /// What there is.
        budget: ByteSize,
    },
    /// There is no scratch.
    #[error(transparent)]
    Scratch(#[from] ScratchError),
    /// The job's folder in scratch cannot be made.
    #[error("cannot create {}", path.display())]
    ScratchFolder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system gives no threads.
    #[error("cannot start {threads} threads")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// Why.
        source: rayon::ThreadPoolBuildError,
    },
    /// What a job that did not succeed staged cannot be removed.
    #[error("cannot remove what the job staged")]
    Undo(#[source] OutputError),
}

/// Runs a planned job in this process to its end.
///
/// Whatever happens, nothing of it is left but the output of a job that succeeded. `interrupted` is
/// asked now and then whether the job is to be cancelled; `progress` is shown how far it is. Returns
/// the job in its terminal state: succeeded, failed or cancelled.
///
/// # Errors
///
/// If the job could not be run at all, or could not be undone. A job that failed is no error here.
pub(crate) fn run(
    job: &dyn AnyJob,
    prepared: PreparedJob,
    options: &LocalOptions<'_>,
    interrupted: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(&JobView),
) -> Result<JobStatus, RunError> {
    let PreparedJob { job: id, spec, plan, mut claim, .. } = prepared;
    let positions: Vec<RecordPosition> = (0..slots(&spec, options)?).map(|_| RecordPosition::new()).collect();
    let scratch = Scratch::create(options.scratch, &id.to_string())?;
    let job_scratch = naming::scratch_job_dir(scratch.path(), id);
    fs::create_dir(&job_scratch).map_err(|source| RunError::ScratchFolder { path: job_scratch.clone(), source })?;
    let threads = options.threads;
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("attempt-{index}"))
        .build()
        .map_err(|source| RunError::Threads { threads, source })?;
    let sender = claim.store().map(|store| Sender::new(store, spec.part_ending(), options.memory));
    let staging = match claim.staged_parts_dir() {
        Some(staging) => staging,
        None => staging_in(&job_scratch)?,
    };
    let mut publish = |result: &JobResult| {
        let times = JobTimes { started: options.submitted, finished: options.clock.wall() };
        let stats = ManifestStats { map: result.map_stats, reduce: result.reduce_stats };
        let manifest = Manifest::new(id, &spec, &plan, times)
            .with_result(&result.parts, result.counters.clone(), stats)
            .with_bad(&result.bad);
        claim.publish(&result.parts, &result.bad, &manifest).map_err(|error| error.to_failure())
    };
    let pack = MapOutputPack::new(&job_scratch);
    let embedded = Embedded {
        id,
        spec: &spec,
        plan: &plan,
        job,
        scratch: &job_scratch,
        pack: &pack,
        staging: &staging,
        sender: sender.as_ref(),
        files: options.files,
        objects: options.objects,
    };
    let mut hooks = Hooks { clock: options.clock, is_interrupted: interrupted, progress, publish: &mut publish };
    let view = driver::drive(&embedded, &Slots { pool: &pool, positions: &positions }, &mut hooks);
    claim.note_uploads(sender.map(|sender| sender.begun()).unwrap_or_default());
    // This removes what is staged of a job that did not succeed, and nothing of an output.
    let undone = claim.undo();
    let mut warnings = plan.warnings.clone();
    match undone {
        Err(error) if view.state == JobState::Succeeded => warnings.push(error.to_string()),
        undone => undone.map_err(RunError::Undo)?,
    }
    Ok(JobStatus {
        view,
        name: spec.job.clone(),
        output: spec.output.clone(),
        submitted: options.submitted,
        finished: Some(options.clock.wall()),
        warnings,
        recipe: None,
    })
}

/// The folder in which parts are staged that are then sent to a store.
fn staging_in(scratch: &Path) -> Result<PathBuf, RunError> {
    let path = scratch.join("staged");
    fs::create_dir(&path).map_err(|source| RunError::ScratchFolder { path: path.clone(), source })?;
    Ok(path)
}

/// How many attempts may run at once.
fn slots(spec: &Arc<JobSpec>, options: &LocalOptions<'_>) -> Result<usize, RunError> {
    let Some(budget) = options.memory else { return Ok(options.threads) };
    let fit = usize::try_from(budget.bytes() / spec.attempt_bytes.bytes()).unwrap_or(usize::MAX);
    if fit == 0 {
        return Err(RunError::DoesNotFit { attempt_bytes: spec.attempt_bytes, budget });
    }
    Ok(fit.min(options.threads))
}
