//! Everything that can happen to the scheduler, in the past tense. Reports of workers carry the
//! epoch and session they were made under; judging them stale is the scheduler's business.

use std::sync::Arc;

use gristmill_common::failure::Failure;
use gristmill_common::ids::{JobAttempt, JobId, MasterEpoch, SessionId, WorkerId};
use gristmill_common::spec::{DEFAULT_MAX_ATTEMPTS, JobSpec, Share};
use gristmill_common::task::{AttemptReport, JobPlan, Offer, OpenUpload, Split};
use xxhash_rust::xxh3::xxh3_64;

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
    /// A finished attempt has begun uploads to an object store, and waits for them to be noted.
    UploadsOpened {
        /// The attempt.
        id: JobAttempt,
        /// Counts the requests of the attempt; a repeated one has the same number.
        batch: u32,
        /// The uploads.
        uploads: Vec<OpenUpload>,
    },
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
    /// What the job may take of a shared cluster.
    pub share: Share,
    /// Whether stragglers get a second attempt.
    pub speculation: bool,
    /// Whether a map task whose attempts differ fails the job.
    pub require_deterministic: bool,
    /// Records that may be skipped before the job fails.
    pub max_bad_records: u64,
    /// What each map task reads, hashed, in task order: tasks that read the same go to the same
    /// workers where that costs nothing. Empty if it does not matter.
    pub affinity: Vec<u64>,
}

impl JobRequest {
    /// The request of a planned job.
    pub fn of(spec: &JobSpec, plan: &JobPlan) -> Self {
        let first_object = |split: &Split| split.pieces.first().map_or(0, |piece| hash(piece.object.uri.to_string()));
        Self {
            max_attempts: spec.max_attempts,
            share: spec.share,
            speculation: spec.speculation,
            require_deterministic: spec.require_deterministic,
            max_bad_records: spec.max_bad_records,
            affinity: plan.splits.iter().map(first_object).collect(),
            ..Self::new(plan.splits.iter().map(Split::bytes).collect(), plan.reducers)
        }
    }

    /// A request with every setting at its default.
    pub fn new(split_bytes: Vec<u64>, reducers: u32) -> Self {
        Self {
            split_bytes,
            reducers,
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            share: Share::default(),
            speculation: true,
            require_deterministic: false,
            max_bad_records: 0,
            affinity: Vec::new(),
        }
    }
}

fn hash(text: String) -> u64 {
    xxh3_64(text.as_bytes())
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
