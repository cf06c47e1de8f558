//! For the tests of jobs: runs one over records in memory, by the sequential reference and without
//! threads or a cluster; and looks for laws that a job breaks ([`check_job!`](crate::check_job)).
//!
//! ```
//! use gristmill::prelude::*;
//!
//! struct Lengths;
//!
//! impl MapReduce for Lengths {
//!     type Input = Utf8Lines;
//!     type Key = u64;
//!     type Value = u64;
//!     type Combine = Sum;
//!     type Output = Text<u64, u64>;
//!
//!     fn map(&self, line: &str, out: &mut impl Emit<u64, u64>) -> Result<()> {
//!         out.emit(line.len() as u64, 1)
//!     }
//!
//!     fn reduce(&self, length: u64, lines: Values<u64>, out: &mut impl Sink<u64, u64>) -> Result<()> {
//!         out.put(length, lines.sum())
//!     }
//! }
//!
//! assert_eq!(gristmill::testing::run(&Lengths, "one\ntwo\nthree\n").text(), "3\t2\n5\t1\n");
//! gristmill::check_job!(Lengths, "one\ntwo\nthree\n");
//! ```
//!
//! | file | responsibility |
//! |---|---|
//! | `sample.rs` | the records, side inputs and files that a job is tried on |
//! | `hooks.rs` | the macro, and what it learns of types that no bound asks for |
//! | `subject.rs` | a job of any type, a task at a time, on encoded records |
//! | `bench.rs` | runs subjects on samples, each attempt on a thread of its own |
//! | `laws/` | the laws, and how each is found to be broken |
//! | `written.rs` | what tasks write, put together and listed |
//! | `shrink.rs` | makes a sample that breaks a law smaller |
//! | `engine.rs` | a sample through the real engine |

mod bench;
mod engine;
#[doc(hidden)]
pub mod hooks;
mod laws;
mod sample;
mod shrink;
mod subject;
#[cfg(test)]
mod tests;
mod written;

use gristmill_common::counters::Counters;
use gristmill_common::job::{JobError, MapOnly, MapReduce};
use gristmill_common::reference::{self, ReferenceInput, ReferenceOutput, SidedInput};
use gristmill_common::setup::ShippedPaths;
use gristmill_common::text::LineRule;

pub use self::laws::{BrokenLaw, Law, Laws};
pub use self::sample::Sample;

/// What a job gave.
#[derive(Debug)]
pub struct Outcome(Result<ReferenceOutput, JobError>);

/// Runs a job over a sample with one reduce task. Text or bytes are a sample of one object.
///
/// # Examples
///
/// With the files and the side inputs that the job asks for:
///
/// ```
/// use gristmill::prelude::*;
/// use gristmill::testing::{self, Sample};
///
/// /// Lines but those that the file `stop` holds, and whether a side input has them too.
/// struct Marked(Vec<String>);
///
/// impl MapReduce for Marked {
///     type Input = OneOf<Utf8Lines, Utf8Lines>;
///     type Key = str;
///     type Value = bool;
///     type Combine = Max;
///     type Output = Text<str, bool>;
///
///     fn setup(&self, task: &TaskContext<'_>) -> Result<Option<Self>> {
///         let stopped = std::fs::read_to_string(task.file("stop")?)?;
///         Ok(Some(Self(stopped.lines().map(str::to_owned).collect())))
///     }
///
///     fn map(&self, line: OneOf<&str, &str>, out: &mut impl Emit<str, bool>) -> Result<()> {
///         match line {
///             OneOf::Main(line) if self.0.iter().any(|stopped| stopped == line) => Ok(()),
///             OneOf::Main(line) => out.emit(line, false),
///             OneOf::Side(line) => out.emit(line, true),
///         }
///     }
///
///     fn reduce(&self, line: &str, marks: Values<bool>, out: &mut impl Sink<str, bool>) -> Result<()> {
///         out.put(line, marks.fold(false, |any, mark| any | mark))
///     }
/// }
///
/// let sample = Sample::new().object("in.txt", "a\nthe\nb\n").side(1, "marks.txt", "b\n").file("stop", "the\n");
/// assert_eq!(testing::run(&Marked(vec![]), sample).text(), "a\tfalse\nb\ttrue\n");
/// ```
///
/// # Panics
///
/// If the sample's files cannot be written to the system's temporary folder.
pub fn run<J: MapReduce>(job: &J, sample: impl Into<Sample>) -> Outcome {
    Outcome(with_sample(&sample.into(), |sided| reference::run_sided(job, sided)))
}

/// Runs a job without a reduce over a sample.
///
/// # Panics
///
/// If the sample's files cannot be written to the system's temporary folder.
pub fn run_map_only<J: MapOnly>(job: &J, sample: impl Into<Sample>) -> Outcome {
    Outcome(with_sample(&sample.into(), |sided| reference::run_sided_map_only(job, sided)))
}

/// Calls `run` with the sample as the reference takes it, its files lying where the job finds them.
fn with_sample<T>(sample: &Sample, run: impl FnOnce(&SidedInput<'_>) -> T) -> T {
    let placed;
    let no_files = ShippedPaths::new();
    let files = if sample.has_files() {
        placed = sample.place_files().expect("the system's temporary folder takes the sample's files");
        placed.paths()
    } else {
        &no_files
    };
    let objects: Vec<(&str, &[u8])> = sample.of_role(0).map(|object| (object.name(), object.bytes())).collect();
    let side: Vec<(u32, &str, &[u8])> =
        sample.side_objects().map(|object| (object.role(), object.name(), object.bytes())).collect();
    let input = ReferenceInput { objects: &objects, rule: &LineRule::Lf, partitions: 1 };
    run(&SidedInput { input, side: &side, files })
}

impl Outcome {
    /// The output's bytes.
    ///
    /// # Panics
    ///
    /// If the job failed.
    pub fn bytes(&self) -> Vec<u8> {
        self.output().parts.concat()
    }

    /// The output as text.
    ///
    /// # Panics
    ///
    /// If the job failed, or its output is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8(self.bytes()).expect("the output is UTF-8")
    }

    /// The bytes of a named output ([`put_to`](gristmill_common::job::Sink::put_to)); none if nothing was
    /// put to it.
    ///
    /// # Panics
    ///
    /// If the job failed.
    pub fn named_bytes(&self, name: &str) -> Vec<u8> {
        self.output().named.get(name).map(|parts| parts.values().flatten().copied().collect()).unwrap_or_default()
    }

    /// A named output as text; empty if nothing was put to it.
    ///
    /// # Panics
    ///
    /// If the job failed, or the output is not UTF-8.
    pub fn named_text(&self, name: &str) -> String {
        String::from_utf8(self.named_bytes(name)).expect("the output is UTF-8")
    }

    /// The named outputs that something was put to, in order.
    ///
    /// # Panics
    ///
    /// If the job failed.
    pub fn names(&self) -> Vec<&str> {
        self.output().named.keys().map(String::as_str).collect()
    }

    /// What the job counted.
    ///
    /// # Panics
    ///
    /// If the job failed.
    pub fn counters(&self) -> &Counters {
        &self.output().counters
    }

    fn output(&self) -> &ReferenceOutput {
        match &self.0 {
            Ok(output) => output,
            Err(error) => panic!("the job failed: {error}"),
        }
    }

    /// The job's error, as people see it.
    ///
    /// # Panics
    ///
    /// If the job did not fail.
    pub fn error(&self) -> String {
        match &self.0 {
            Ok(_) => panic!("the job did not fail"),
            Err(error) => error.to_string(),
        }
    }
}
