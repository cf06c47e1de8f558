//! Pipelines: what the stages of one are, which is next, and what is kept of those that are done. The
//! command line runs them, each as a job like any other.
//!
//! | file | responsibility |
//! |---|---|
//! | `outline.rs` | stages, rounds and what reads what; what is wrong with a plan |
//! | `course.rs` | which run of a stage is next, what it reads, and what nobody reads any more [pure] |
//! | `planned.rs` | the stages of a pipeline with their jobs |
//! | `folder.rs` | what is done, on disk beside the output, for whoever goes on |
//! | `fingerprint.rs` | what the result depends on |

pub(crate) mod course;
pub(crate) mod fingerprint;
pub(crate) mod folder;
mod outline;
mod planned;

pub(crate) use outline::{Outline, Step};
pub(crate) use planned::Planned;
