//! Everything the scheduler wants done, in the imperative. The runtime carries commands out in
//! order and decides nothing.

use std::sync::Arc;

use gristmill_common::counters::Counters;
use gristmill_common::failure::{Failure, InputPosition};
use gristmill_common::ids::{JobAttempt, JobId, SessionId, TaskId};
use gristmill_common::task::{AttemptStats, BadRecords, PartSummary, SegmentSource};

use super::record::Record;

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Make a fact durable before any later command of this or a later step is carried out.
    Record(Box<Record>),
    /// Tell a worker to run an attempt. It holds one of the worker's slots (or queue places) until it
    /// is reported finished or failed, or cancelled. It is repeated when the session's stream resumes.
    StartAttempt {
        /// The worker's session.
        session: SessionId,
        /// The attempt, new.
        id: JobAttempt,
        /// What it works on.
        work: AttemptWork,
    },
    /// Tell a worker to stop an attempt and throw its output away; no report is expected.
    CancelAttempt {
        /// The worker's session.
        session: SessionId,
        /// The attempt.
        id: JobAttempt,
    },
    /// Tell a worker that a report of it was not accepted: the attempt's output is to be thrown away.
    DiscardOutput {
        /// The worker's session.
        session: SessionId,
        /// The attempt.
        id: JobAttempt,
    },
    /// Tell a worker that what it said it has begun to upload is recorded: it may go on.
    ProceedUpload {
        /// The worker's session.
        session: SessionId,
        /// The attempt.
        id: JobAttempt,
        /// Which of its requests.
        batch: u32,
    },
    /// Tell a worker that the job is over: drop its executor, map outputs and fetched segments.
    ReleaseJob {
        /// The worker's session.
        session: SessionId,
        /// The job.
        job: JobId,
    },
    /// End a session: its worker must register again.
    CloseSession {
        /// The session.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// Put the parts in place; answer with `JobPublished` or `PublishFailed`.
    PublishJob {
        /// The job, from now on in `Committing`.
        job: JobId,
        /// What it is made of.
        result: JobResult,
    },
    /// Remove everything the failed or cancelled job staged, and its claim on the output.
    UndoJob {
        /// The job, now in a terminal state.
        job: JobId,
    },
    /// Tell whoever watches the job that its state or failure changed.
    NotifyWatchers {
        /// The job.
        job: JobId,
    },
}

/// What an attempt works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptWork {
    /// The split of the map task with the attempt's index.
    Map {
        /// Records to skip, because user code ended its process on them.
        skip: Vec<InputPosition>,
    },
    /// These segments of the partition with the attempt's index.
    Reduce {
        /// Every committed map output, grouped by holder in session order.
        sources: Arc<[SegmentSource]>,
    },
}

/// Why a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// Its lease ran out, or its stream broke and was not resumed in time.
    Lost,
    /// The same worker registered anew.
    Superseded,
    /// The worker asked for it.
    Left,
    /// It belongs to another epoch, or was never known.
    Unknown,
}

/// The result of a job whose tasks are all done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobResult {
    /// The winning parts by part number: reduce tasks, or map tasks of a map-only job.
    pub parts: Vec<PartSummary>,
    /// What the winning attempts skipped, in task order.
    pub bad: Vec<BadRecords>,
    /// Map tasks whose attempts made different outputs; the parts are those of one set of attempts.
    pub differed: Vec<TaskId>,
    /// The sum over the winning attempts.
    pub counters: Counters,
    /// The sum over the winning map attempts.
    pub map_stats: AttemptStats,
    /// The sum over the winning reduce attempts.
    pub reduce_stats: AttemptStats,
}

/// A report that was not accepted, for the counters of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StaleReason {
    /// Made under another master epoch.
    Epoch,
    /// Made under a session that is over or was never known.
    Session,
    /// About an attempt that is not in force on this session.
    Attempt,
    /// About a job that is unknown or over.
    Job,
}

/// A failure of one attempt, kept for reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptFailure {
    /// The attempt.
    pub id: JobAttempt,
    /// Where it ran.
    pub session: SessionId,
    /// Why it failed.
    pub failure: Failure,
    /// Whether it counts against the task's attempts.
    pub counted: bool,
}
