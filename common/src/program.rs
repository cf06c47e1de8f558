//! A job with its options: what `--help` shows, the command line parses, the spec carries and a
//! worker builds the job from. Knows neither engine nor command line; both visit a [`Program`].

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::formats::schema::Schema;
use crate::job::{MapOnly, MapReduce};
use crate::spec::JobSpec;
use crate::task::InputObject;

/// Option values that cannot be (a bad regular expression).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct OptionError {
    /// What is wrong, naming the option.
    pub message: String,
}

impl OptionError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// One input of a job as it is before the job starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSample {
    /// Which input it is, as in [`Provenance`](crate::input::Provenance).
    pub role: u32,
    /// Its objects in canonical order.
    pub objects: Vec<InputObject>,
    /// The first record of the first object that is not empty, without what ends it, and the
    /// object's name.
    pub first_record: Option<(Vec<u8>, String)>,
    /// That record and those behind it, as far as they were read: a mebibyte at most.
    pub first_records: Vec<Vec<u8>>,
    /// The columns of that object, if it is a file of columns. Its records are then rows as JSON objects.
    pub schema: Option<Schema>,
}

/// Options of a job, and the job they make.
///
/// The struct is its own `clap::Args` and serde type: `JOB --help` shows its fields, and a cluster
/// receives it.
pub trait Program: clap::Args + Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Inputs that the options name besides the job's own, each as the arguments given for it (files,
    /// folders, globs, `@lists`). The first has role 1; see [`Provenance`](crate::input::Provenance).
    fn side_inputs(&self) -> Vec<Vec<String>> {
        Vec::new()
    }

    /// Whether [`look`](Self::look) wants to see the inputs. Costs a listing of them.
    fn looks_at_inputs(&self) -> bool {
        false
    }

    /// Whether [`look`](Self::look) wants to see the inputs of a job that is asked for a format of its output
    /// ([`JobSpec::output_format`]), if it does not want to otherwise.
    fn looks_if_formatted(&self) -> bool {
        false
    }

    /// Called once, when the job is asked for and before any task is planned: settles what depends on
    /// the inputs, such as where a table's columns are. Whatever it decides must be kept in options,
    /// for the tasks are built from those. The spec is complete but for options, shape and reducers
    /// that were not asked for.
    ///
    /// # Errors
    ///
    /// If the options cannot be with these inputs.
    fn look(&mut self, spec: &JobSpec, inputs: &[InputSample]) -> Result<(), OptionError> {
        let _ = (spec, inputs);
        Ok(())
    }

    /// Whether map tasks read the side input of this role; if not, the job reads it by itself. Asked
    /// after [`look`](Self::look).
    fn maps_side_input(&self, role: u32) -> bool {
        let _ = role;
        true
    }

    /// The reduce tasks of the job unless others are asked for; `None` derives them from the input.
    fn reducers(&self) -> Option<u32> {
        None
    }

    /// Builds the job and hands it, with its type, to `visitor`.
    ///
    /// # Errors
    ///
    /// If an option has a value that cannot be.
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError>;
}

/// Something to do with a job of any type.
pub trait JobVisitor {
    /// The result.
    type Output;

    /// Called for a job with a reduce.
    fn map_reduce<J: MapReduce>(self, job: J) -> Self::Output;

    /// Called for a job without.
    fn map_only<J: MapOnly>(self, job: J) -> Self::Output;
}
