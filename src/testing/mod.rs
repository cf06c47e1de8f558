//! For the tests of jobs: runs one over records in memory, by the sequential reference and without
//! files, threads or a cluster.
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
//! ```

use gristmill_common::counters::Counters;
use gristmill_common::job::{JobError, MapOnly, MapReduce};
use gristmill_common::reference::{self, ReferenceInput, ReferenceOutput};
use gristmill_common::text::LineRule;

/// What a job gave.
#[derive(Debug)]
pub struct Outcome(Result<ReferenceOutput, JobError>);

/// Runs a job over one object that holds `input`, with one reduce task.
pub fn run<J: MapReduce>(job: &J, input: impl AsRef<[u8]>) -> Outcome {
    run_files(job, &[("input", input.as_ref())])
}

/// Runs a job over several objects, by name and content, in this order, with one reduce task.
pub fn run_files<J: MapReduce>(job: &J, files: &[(&str, &[u8])]) -> Outcome {
    Outcome(reference::run_map_reduce(job, &whole(files)))
}

/// Runs a job without a reduce over one object that holds `input`.
pub fn run_map_only<J: MapOnly>(job: &J, input: impl AsRef<[u8]>) -> Outcome {
    Outcome(reference::run_map_only(job, &whole(&[("input", input.as_ref())])))
}

fn whole<'a>(objects: &'a [(&'a str, &'a [u8])]) -> ReferenceInput<'a> {
    ReferenceInput { objects, rule: &LineRule::Lf, partitions: 1 }
}

impl Outcome {
    /// The output's bytes.
    ///
    /// # Panics
    ///
    /// If the job failed.
    pub fn bytes(&self) -> Vec<u8> {
        match &self.0 {
            Ok(output) => output.parts.concat(),
            Err(error) => panic!("the job failed: {error}"),
        }
    }

    /// The output as text.
    ///
    /// # Panics
    ///
    /// If the job failed, or its output is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8(self.bytes()).expect("the output is UTF-8")
    }

    /// What the job counted.
    ///
    /// # Panics
    ///
    /// If the job failed.
    pub fn counters(&self) -> &Counters {
        match &self.0 {
            Ok(output) => &output.counters,
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
