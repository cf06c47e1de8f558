//! MapReduce in ordinary Rust crates: at hardware speed on a laptop, the same binary on a cluster.
//!
//! A job author depends on this crate alone, implements [`MapReduce`](prelude::MapReduce) or
//! [`MapOnly`](prelude::MapOnly), and makes a program of it with [`main`]:
//!
//! ```no_run
//! use gristmill::prelude::*;
//!
//! /// Counts how often each word occurs.
//! struct WordCount;
//!
//! impl MapReduce for WordCount {
//!     type Input = Lines;
//!     type Key = [u8];
//!     type Value = u64;
//!     type Combine = Sum;
//!     type Output = Text<[u8], u64>;
//!
//!     fn map(&self, line: &[u8], out: &mut impl Emit<[u8], u64>) -> Result<()> {
//!         for word in words(line) {
//!             out.emit(word, 1)?;
//!         }
//!         Ok(())
//!     }
//!
//!     fn reduce(&self, word: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
//!         out.put(word, counts.sum())
//!     }
//! }
//!
//! fn main() -> ExitCode {
//!     gristmill::main([job("word-count", WordCount)])
//! }
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`prelude`] | everything a job author names |
//! | [`entry`] | the jobs of a binary: [`job`](entry::job), [`map_only_job`], [`job_with_options`], [`pipeline`](entry::pipeline) |
//! | `local` | embedded runs: planner, scheduler and engine in one process |
//! | `pipeline` | several jobs, one after the other: which is next, and what is done |
//! | `cli` | the command line, one file a verb |
//! | `render` | what people and programs see: progress, tables, JSON, errors |
//! | [`testing`] | a job over records in memory, for its own tests |
//! | `words`, `tera` | generated text and TeraGen records |

mod cli;
pub mod entry;
mod local;
mod pipeline;
mod render;
mod tera;
pub mod testing;
mod words;

pub use cli::main;

#[cfg(feature = "allocator")]
#[global_allocator]
static ALLOCATOR: gristmill_sys::allocator::Allocator = gristmill_sys::allocator::Allocator;

pub use entry::{JobEntry, job, job_with_options, map_only_job, pipeline, ready_made_jobs};
pub use gristmill_common::{
    codec, combine, counters, datum, failure, input, job, key, key_values, output, partition, program, reference, text,
};

/// Everything a job author names, in one `use`.
pub mod prelude {
    pub use std::process::ExitCode;

    pub use gristmill_common::prelude::*;
    pub use gristmill_derive::Key;

    pub use crate::entry::{JobEntry, job, job_with_options, map_only_job, pipeline};
}

/// The code in the documents is compiled and run like that of these pages.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../docs/pipelines.md")]
    struct Pipelines;

    #[doc = include_str!("../docs/testing.md")]
    struct Testing;

    #[doc = include_str!("../docs/writing-jobs.md")]
    struct WritingJobs;
}
