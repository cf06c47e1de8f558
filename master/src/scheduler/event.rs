//! Everything that can happen to the scheduler, in the past tense. Reports of workers carry the
//! epoch and session they were made under; judging them stale is the scheduler's business.

use std::sync::Arc;

use gristmill_common::failure::Failure;
use gristmill_common::ids::{JobAttempt, JobId, MasterEpoch, SessionId, WorkerId};
use gristmill_common::task::{AttemptReport, Offer};

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A planned job was accepted.
    JobSubmitted {
        /// Its id, never seen before.
        job: JobId,
        /// What the scheduler must know of it.
        request: Arc<JobRequest>,
    },
    /// Somebody asked for the job's end.
    CancelRequested {
        /// The job.
        job: JobId,
    },
    /// A worker process registered, under a session id never used before.
    WorkerRegistered {
        /// The new session.
        session: SessionId,
        /// Who it is and what it can do.
        profile: Arc<WorkerProfile>,
        /// What it has of earlier sessions: each is adopted, or it is told to throw it away.
        offers: Vec<Offer>,
    },
    /// A session's stream to its worker broke; only the stream opened last counts as its stream.
    StreamBroken {
        /// The session.
        session: SessionId,
    },
    /// The worker of a session opened a new stream for it. What was under way on the old one may be
    /// lost, so the scheduler repeats `StartAttempt` for every attempt in force on the session: a
    /// worker that runs it takes no notice, one that finished it or failed it repeats its report.
    StreamResumed {
        /// The epoch the worker believes in.
        epoch: MasterEpoch,
        /// The session.
        session: SessionId,
    },
    /// A worker reported.
    WorkerReported {
        /// The epoch under which the report was made.
        epoch: MasterEpoch,
        /// The session under which it was made.
        session: SessionId,
        /// The report.
        report: WorkerReport,
    },
    /// The output of a job in `Committing` is in place.
    JobPublished {
        /// The job.
        job: JobId,
    },
    /// The output of a job in `Committing` cannot be put in place.
    PublishFailed {
        /// The job.
        job: JobId,
        /// Why.
        failure: Failure,
    },
    /// The deadline that the scheduler asked for has come.
    DeadlineReached,
}

/// What workers report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkerReport {
    /// The worker lives: renews the lease.
    Heartbeat,
    /// An executor began an attempt.
    AttemptStarted {
        /// The attempt.
        id: JobAttempt,
    },
    /// An attempt finished; its output is staged or in scratch.
    AttemptFinished {
        /// The attempt.
        id: JobAttempt,
        /// Its report.
        report: AttemptReport,
    },
    /// An attempt failed, or was given back.
    AttemptFailed {
        /// The attempt.
        id: JobAttempt,
        /// Why.
        failure: Failure,
    },
    /// The worker stops in an orderly way; its session and map outputs are gone.
    WorkerLeft,
}

/// What the scheduler must know of a job. Splits, names and storage stay with the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRequest {
    /// Bytes of input of each map task, in task order.
    pub split_bytes: Vec<u64>,
    /// Reduce tasks; 0 if map-only.
    pub reducers: u32,
    /// Attempts a task may fail before the job does.
    pub max_attempts: u32,
}

/// What the scheduler must know of a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerProfile {
    /// The worker; several sessions over time may be the same one.
    pub worker: WorkerId,
    /// Attempts it runs at once.
    pub slots: u32,
    /// Where its shuffle service listens; empty in an embedded run.
    pub address: String,
    /// Names its machine.
    pub machine: String,
    /// Its scratch folder on that machine.
    pub scratch: String,
}
