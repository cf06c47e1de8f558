//! What a journal keeps: the life of each job as far as a master that starts again must know it, and
//! the names of workers.

use std::path::PathBuf;
use std::sync::Arc;

use gristmill_common::ids::{ContentId, JobId, MasterEpoch, WorkerId};
use gristmill_common::naming::Uri;
use gristmill_common::spec::{JobSpec, StoreOptions};
use gristmill_common::task::JobPlan;
use gristmill_common::time::WallTime;

use crate::runtime::status::JobStatus;
use crate::scheduler::Record;

/// One record. Those of a job come as `Claiming`, `Accepted`, facts, `Closed`; the last replaces all
/// before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JournalRecord {
    /// The output is about to be claimed for a job that is being planned. Without it, nobody would
    /// know of a claim whose master dies before the job is accepted.
    Claiming {
        /// The job.
        job: JobId,
        /// Its output.
        output: Uri,
        /// Folders above the output that did not exist, topmost first. Whoever undoes the job removes
        /// them.
        missing: Vec<PathBuf>,
        /// How the output's store is reached.
        store: StoreOptions,
    },
    /// A job was taken on.
    Accepted(Box<AcceptedJob>),
    /// A worker got its name.
    WorkerNamed {
        /// What the worker calls itself.
        key: String,
        /// Its name.
        worker: WorkerId,
    },
    /// A fact about a job, from the scheduler.
    Fact(Box<Record>),
    /// A job is over, and nothing of it is left to be undone or published.
    Closed {
        /// The submission that made it.
        key: String,
        /// What is shown of it.
        status: Box<JobStatus>,
    },
}

/// A job as it was taken on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedJob {
    /// Its id.
    pub job: JobId,
    /// The submission that made it.
    pub key: String,
    /// What was asked for.
    pub spec: Arc<JobSpec>,
    /// The binary it was submitted with.
    pub binary_sha256: String,
    /// Its tasks, and what its user should know.
    pub plan: Arc<JobPlan>,
    /// When it was taken on.
    pub submitted: WallTime,
    /// The epoch of the master that took it on.
    pub epoch: MasterEpoch,
    /// The file that says what it is made of, if it could be kept.
    pub recipe: Option<ContentId>,
}

impl JournalRecord {
    /// The job that the record is about, if it is about one.
    pub fn job(&self) -> Option<JobId> {
        match self {
            JournalRecord::Claiming { job, .. } => Some(*job),
            JournalRecord::Accepted(accepted) => Some(accepted.job),
            JournalRecord::WorkerNamed { .. } => None,
            JournalRecord::Fact(fact) => Some(fact.job()),
            JournalRecord::Closed { status, .. } => Some(status.view.job),
        }
    }
}
