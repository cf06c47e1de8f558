//! The engine: from records to map outputs, from map outputs to parts. Synchronous; runs one attempt
//! on the calling thread and knows neither tokio nor the network.
//!
//! | module | the record's way |
//! |---|---|
//! | `input` | pinned objects, read ahead, blocks of whole records |
//! | `map` | `map`, partition, sort buffer |
//! | `fold` | folding by key in a table, on both sides of the shuffle |
//! | `spills`, `room`, `kept` | what does not fit into memory, what does, and what is used again |
//! | [`shuffle`] | blocks, segments, the map output file and its index |
//! | `runs`, `merge` | k-way merge in canonical order, in several passes when wide |
//! | `reduce` | key groups, `reduce` |
//! | `output` | part files |
//! | `dead_letters` | what becomes of records that `map` fails on, where the job allows some |
//! | `sample` | keys of a sample of the input, and the ranges they make |
//! | `typed`, `panics` | one dynamic call per attempt, and what user code may do in it |

mod dead_letters;
mod failures;
mod fold;
mod input;
mod kept;
mod map;
mod merge;
mod output;
mod panics;
mod reduce;
mod room;
mod runs;
mod sample;
pub mod shuffle;
mod spills;
#[cfg(test)]
mod tests;
mod typed;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gristmill_common::failure::{Failure, InputPosition};
use gristmill_common::ids::{AttemptId, JobAttempt};
use gristmill_common::job::PartOrder;
use gristmill_common::objects::ObjectReader;
use gristmill_common::program::OptionError;
use gristmill_common::setup::{ShippedPaths, TaskContext};
use gristmill_common::spec::{JobShape, JobSpec, OutputFormat};
use gristmill_common::task::{AttemptReport, JobPlan, Split};
use gristmill_sys::positions::RecordPosition;

use self::shuffle::MapOutputPack;

#[cfg(feature = "bench")]
#[doc(hidden)]
pub use self::map::bench;
pub use self::panics::install_panic_hook;
pub use self::sample::range_partitioning;
pub use self::typed::IntoAnyJob;

/// A job of any type, ready to run attempts. The only dynamic call of an attempt is
/// [`run`](Self::run).
pub trait AnyJob: Send + Sync {
    /// Whether there is a reduce.
    fn shape(&self) -> JobShape;

    /// Runs one attempt to its end on the calling thread, catching panics of user code.
    ///
    /// Leaves a map output in `context.scratch` or a staged part in `context.staging`, and nothing
    /// at all if it fails.
    ///
    /// # Errors
    ///
    /// Why the attempt failed, with file and offset where a record was in hand.
    fn run(&self, task: &EngineTask<'_>, context: &AttemptContext<'_>) -> Result<AttemptReport, Failure>;

    /// Gives memory back that is kept for attempts to come; called while none runs.
    fn rest(&self) {}

    /// Whether the parts are to be in order; by default they are not.
    fn order(&self) -> PartOrder {
        PartOrder::ByHash
    }

    /// The format that its records are in, if it is one that a job may be asked for.
    fn output_format(&self) -> Option<OutputFormat> {
        None
    }

    /// Checks that its records can be written in the format, and with the compression, that the spec asks for.
    ///
    /// # Errors
    ///
    /// If they cannot.
    fn check_output(&self, spec: &JobSpec) -> Result<(), Failure> {
        let _ = spec;
        Ok(())
    }

    /// Whether it can leave bad records out: each record is mapped by itself.
    fn maps_record_by_record(&self) -> bool {
        true
    }

    /// Encoded keys that `map` emits for records spread evenly over the input, as many as fit into
    /// memory easily; by default none. The same for the same spec and plan, whatever the machine.
    ///
    /// # Errors
    ///
    /// `INPUT_UNREADABLE` or `INPUT_CHANGED` if an object cannot be read or is not what was planned.
    fn sample_keys(&self, spec: &JobSpec, plan: &JobPlan, reads: &Reads<'_>) -> Result<Vec<Vec<u8>>, Failure> {
        let _ = (spec, plan, reads);
        Ok(Vec::new())
    }
}

/// What a job may read besides the records that it is handed.
#[derive(Debug, Clone, Copy)]
pub struct Reads<'a> {
    /// Where the files that were shipped with it lie.
    pub files: &'a ShippedPaths,
    /// Opens objects.
    pub objects: &'a Arc<dyn ObjectReader>,
}

/// Builds the job that a spec names; implemented by whoever knows the jobs of the binary.
pub trait JobSource: Send + Sync {
    /// The job with the spec's options.
    ///
    /// # Errors
    ///
    /// If there is no such job, or an option has a value that cannot be.
    fn build(&self, spec: &JobSpec) -> Result<Arc<dyn AnyJob>, OptionError>;
}

/// What an attempt works on, all of it local.
#[derive(Debug, Clone, Copy)]
pub enum EngineTask<'a> {
    /// A split, into this many partitions (0: map-only).
    Map {
        /// What to read.
        split: &'a Split,
        /// Reduce tasks of the job.
        partitions: u32,
        /// Records that are not mapped because they ended processes before.
        skip: &'a [InputPosition],
    },
    /// One partition's segments.
    Reduce {
        /// In map-task order; each whole, or run by run in the order of its runs.
        segments: &'a [LocalSegment],
    },
}

/// A segment inside a local file, or one run of it: in a map output, or a file of fetched segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSegment {
    /// The map attempt that wrote it.
    pub attempt: AttemptId,
    /// The file.
    pub path: PathBuf,
    /// Where in the file it starts.
    pub offset: u64,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Whether blocks of map outputs are compressed. Never changes an output; it pays where segments
/// travel over a network slower than LZ4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Blocks are stored as they are.
    None,
    /// LZ4 blocks, where one shrinks by an eighth or more.
    Lz4,
}

/// Everything an attempt is given besides its task.
#[derive(Debug, Clone, Copy)]
pub struct AttemptContext<'a> {
    /// Which attempt this is; names its files.
    pub id: JobAttempt,
    /// The job; one with a reduce has its number of reduce tasks, asked for or not.
    pub spec: &'a JobSpec,
    /// The job's folder in scratch; exists.
    pub scratch: &'a Path,
    /// The folder for staged parts; exists.
    pub staging: &'a Path,
    /// Takes the small map outputs of this process.
    pub pack: &'a MapOutputPack,
    /// How map outputs are stored.
    pub compression: Compression,
    /// Set when the attempt is to stop; looked at about once a block.
    pub cancelled: &'a Arc<AtomicBool>,
    /// Where the files that were shipped with the job lie.
    pub files: &'a ShippedPaths,
    /// Opens what the attempt reads.
    pub objects: &'a Arc<dyn ObjectReader>,
    /// Follows the record in hand, and whose turn it is: user code's or the engine's.
    pub position: &'a RecordPosition,
}

impl<'a> AttemptContext<'a> {
    /// Whether what it writes is staged in scratch, to be sent to a store.
    fn is_spooled(&self) -> bool {
        self.spec.output.local_path().is_none()
    }

    /// What the job is told of the attempt when it is set up for it.
    fn task(&self) -> TaskContext<'a> {
        let attempt = self.id.attempt;
        TaskContext::new(
            attempt,
            self.spec.reducers.unwrap_or(0),
            self.files,
            self.scratch.join(format!("{attempt}.own")),
        )
        .of_job(self.id.job, Arc::clone(self.cancelled))
        .reading(Arc::clone(self.objects))
    }
}

/// The file of a map attempt's output inside the job's scratch folder, if it is not in a pack:
/// [`MapOutputs`](shuffle::MapOutputs) finds either.
pub fn map_output_path(scratch: &Path, attempt: AttemptId) -> PathBuf {
    scratch.join(format!("{attempt}.out"))
}
