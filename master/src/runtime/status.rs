//! What is shown of jobs and workers: the scheduler's views with the names that only the runtime
//! knows. Plain values, the same for embedded runs and clusters.

use gristmill_common::ids::{ContentId, MasterEpoch};
use gristmill_common::naming::Uri;
use gristmill_common::time::WallTime;

use crate::scheduler::{JobView, WorkerView};

/// One job as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStatus {
    /// How far it is.
    pub view: JobView,
    /// Which job of the binary it runs.
    pub name: String,
    /// Where its output goes.
    pub output: Uri,
    /// When it was submitted.
    pub submitted: WallTime,
    /// When it reached its terminal state.
    pub finished: Option<WallTime>,
    /// What its user should know.
    pub warnings: Vec<String>,
    /// What the job was made of, as a file of its master; tasks of jobs without one cannot be replayed.
    pub recipe: Option<ContentId>,
}

/// The workers as people see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStatus {
    /// The sessions, in session order.
    pub workers: Vec<WorkerView>,
    /// How many reports were refused, by reason (`epoch`, `session`, `attempt`, `job`).
    pub stale_refusals: Vec<(String, u64)>,
    /// The master's epoch.
    pub epoch: MasterEpoch,
}
