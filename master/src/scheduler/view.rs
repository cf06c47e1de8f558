//! What the scheduler shows of itself: plain copies for status, `why` and dashboards. Nothing here
//! can change the state.

use gristmill_common::counters::Counters;
use gristmill_common::failure::Failure;
use gristmill_common::ids::{JobId, SessionId, TaskId, WorkerId};
use gristmill_common::task::AttemptStats;

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobState {
    /// Accepted; no attempt has been assigned yet.
    Queued,
    /// Attempts are assigned.
    Running,
    /// All tasks are done; the output is being put in place. Cannot be cancelled any more.
    Committing,
    /// The output is in place.
    Succeeded,
    /// It failed; nothing is left of it.
    Failed,
    /// It was cancelled; nothing is left of it.
    Cancelled,
}

impl JobState {
    /// Whether the state is the last one.
    pub fn is_terminal(self) -> bool {
        matches!(self, JobState::Succeeded | JobState::Failed | JobState::Cancelled)
    }
}

/// How far one stage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageView {
    /// Tasks in the plan.
    pub tasks: u32,
    /// Tasks with a committed output in force.
    pub done: u32,
    /// Attempts assigned and not yet reported.
    pub active: u32,
    /// Attempts that failed and counted.
    pub failed_attempts: u32,
    /// Attempts lost with their worker or handed back.
    pub lost_attempts: u32,
    /// Bytes of input of all tasks (map) or of all segments (reduce) as far as known.
    pub input_bytes: u64,
    /// Bytes of input of the tasks that are done.
    pub done_bytes: u64,
}

/// One job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobView {
    /// The job.
    pub job: JobId,
    /// Where it is in its life.
    pub state: JobState,
    /// The map stage.
    pub map: StageView,
    /// The reduce stage.
    pub reduce: StageView,
    /// Sums over committed attempts so far.
    pub counters: Counters,
    /// Sums over committed map attempts so far.
    pub map_stats: AttemptStats,
    /// Sums over committed reduce attempts so far.
    pub reduce_stats: AttemptStats,
    /// Map tasks whose attempts made different outputs, in order.
    pub differed: Vec<TaskId>,
    /// Why it failed, and of which task, as `task m-3 failed 4 attempts: …`.
    pub failure: Option<Failure>,
    /// What it waits for, if it makes no progress.
    pub waiting: Option<String>,
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionState {
    /// Its lease is good and its stream open.
    Live,
    /// Its stream broke; nothing new is assigned.
    Suspect,
    /// Its lease ran out or it was not resumed in time.
    Lost,
    /// It ended in order.
    Left,
}

/// One worker session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    /// The worker.
    pub worker: WorkerId,
    /// Its session.
    pub session: SessionId,
    /// How it stands.
    pub state: SessionState,
    /// Where its shuffle service listens.
    pub address: String,
    /// Attempts it runs at once.
    pub slots: u32,
    /// Attempts assigned to it.
    pub active: u32,
    /// Attempts of it that were committed.
    pub committed: u64,
    /// Attempts of it that failed.
    pub failed: u64,
    /// Whether it is given no work for a while because its attempts kept failing.
    pub excluded: bool,
}
