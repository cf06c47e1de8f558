//! The runtime: carries out what the scheduler commands, and decides nothing. What waits, reads or
//! writes is here and in `rpc`; what must be right under any order of events is in `scheduler`.
//!
//! | file | responsibility |
//! |---|---|
//! | `prepare.rs` | a spec becomes a planned job with a claim on its output; for embedded runs too |
//! | `look.rs` | the form of large inputs that do not tell it |
//! | `output.rs`, `manifest.rs` | staging, publishing and undoing outputs; `_SUCCESS` |
//! | `verify.rs` | whether a published output is still what its `_SUCCESS` says |
//! | `driver/` | the one task that owns the scheduler and carries out its commands |
//! | `journal/` | what outlives the master |
//! | `recovery.rs` | from a journal to the first state of a master |
//! | `handle.rs` | what the rest of the master asks the driver for |
//! | `sessions.rs` | the streams of open sessions and the names of workers |
//! | `jobs.rs` | what only the runtime knows of jobs: specs, plans, claims, watchers |
//! | `shipped.rs` | files that travel with jobs |
//! | `join_tokens.rs` | which tokens to join with were given out and used |
//! | `recipe.rs` | what a job was made of, for whoever runs one of its tasks again |
//! | `order.rs` | messages to workers |
//! | `status.rs` | what is shown of jobs and workers |
//! | `state_dir.rs` | the state folder: lock, epoch, journal |
//! | `random.rs` | random numbers |

mod driver;
mod handle;
mod jobs;
mod join_tokens;
pub mod journal;
mod look;
pub mod manifest;
mod order;
pub mod output;
mod prepare;
pub(crate) mod random;
mod recipe;
mod recovery;
mod sessions;
mod shipped;
mod state_dir;
mod status;
pub mod verify;

pub use driver::{OpenJobs, start_driver};
pub use handle::{Accepted, MasterGone, MasterHandle, Submission, SubmitRefusal};
pub(crate) use handle::{Hello, Welcome};
pub use join_tokens::{JoinTokens, TokenRefusal, TokensError};
pub(crate) use order::Order;
pub use prepare::{PreparedJob, RefusalClass, SubmitError, fresh_job_id, list_and_plan, prepare};
pub use recipe::Recipe;
pub use recovery::{RecoverError, Recovered, recover};
pub(crate) use sessions::MAX_WAITING_ORDERS;
pub use shipped::{JobFiles, ShippedError, ShippedFiles};
pub use state_dir::{StateDir, StateError};
pub use status::{ClusterStatus, JobStatus};

/// An error with its causes in one line.
pub(crate) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}
