//! What the driver tells a worker: the scheduler's commands to workers, completed with what only
//! the runtime knows (specs, splits, staging folders). The RPC side turns them into messages.

use std::sync::Arc;

use gristmill_common::ids::{JobAttempt, JobId};
use gristmill_common::spec::JobSpec;
use gristmill_common::task::TaskInput;

use crate::scheduler::CloseReason;

/// One message to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// Comes before the first `Start` of a job on a session.
    OpenJob {
        /// The job.
        job: JobId,
        /// Its spec.
        spec: Arc<JobSpec>,
        /// The binary it was submitted with.
        binary_sha256: String,
        /// The folder in which attempts stage parts; empty if these go to an object store.
        staging: String,
    },
    /// Run an attempt.
    Start {
        /// The attempt.
        id: JobAttempt,
        /// What it works on.
        input: TaskInput,
    },
    /// Stop an attempt and throw its output away.
    Cancel {
        /// The attempt.
        id: JobAttempt,
    },
    /// Throw the output of a finished attempt away.
    Discard {
        /// The attempt.
        id: JobAttempt,
    },
    /// What an attempt is about to upload is recorded.
    UploadsNoted {
        /// The attempt.
        id: JobAttempt,
        /// Which of its requests.
        batch: u32,
    },
    /// The job is over.
    Release {
        /// The job.
        job: JobId,
    },
    /// The session is over; nothing follows.
    Close {
        /// Why.
        reason: CloseReason,
    },
}
