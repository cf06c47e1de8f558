//! A job with its options: what `--help` shows, the command line parses, the spec carries and a
//! worker builds the job from. Knows neither engine nor command line; both visit a [`Program`].

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::job::{MapOnly, MapReduce};

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

/// Options of a job, and the job they make.
///
/// The struct is its own `clap::Args` and serde type: `JOB --help` shows its fields, and a cluster
/// receives it.
pub trait Program: clap::Args + Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
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
