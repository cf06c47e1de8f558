//! What the rest of the master asks the driver for: one message each, answered once. The channel is
//! bounded, so whoever asks faster than the driver answers waits.

use std::sync::Arc;

use gristmill_common::ids::{JobId, MasterEpoch, SessionId, WorkerId};
use gristmill_common::spec::JobSpec;
use gristmill_common::task::Offer;
use tokio::sync::{mpsc, oneshot, watch};

use super::driver::OpenJobs;
use super::order::Order;
use super::prepare::SubmitError;
use super::sessions::StreamId;
use super::status::{ClusterStatus, JobStatus};
use crate::scheduler::{CloseReason, WorkerReport};

/// Messages that may wait for the driver. More only delays everybody's answers.
const MAX_WAITING_MESSAGES: usize = 1024;

/// The driver ended: the master shuts down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the master is shutting down")]
pub struct MasterGone;

/// A job handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// Two submissions with one key are one job, so that a client may ask again when it got no answer.
    pub key: String,
    /// What to run.
    pub spec: JobSpec,
    /// The binary it was submitted with.
    pub binary_sha256: String,
}

/// A job taken on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its id.
    pub job: JobId,
    /// What its user should know.
    pub warnings: Vec<String>,
}

/// Why a job was not taken on.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SubmitRefusal {
    /// Spec, inputs or output do not allow it. Shared by all who submitted it with the same key.
    #[error(transparent)]
    Rejected(Arc<SubmitError>),
    /// Too many jobs are open or being planned.
    #[error("the master has {limit} jobs already")]
    Busy {
        /// The bound.
        limit: usize,
    },
    /// The master is shutting down.
    #[error(transparent)]
    Gone(#[from] MasterGone),
}

/// A worker that registers.
#[derive(Debug)]
pub(crate) struct Hello {
    /// Stays the same when the worker restarts.
    pub(crate) worker_key: String,
    /// Attempts it runs at once.
    pub(crate) slots: u32,
    /// Where its shuffle service listens.
    pub(crate) address: String,
    /// Names its machine.
    pub(crate) machine: String,
    /// Its scratch folder.
    pub(crate) scratch: String,
    /// What it has of earlier sessions.
    pub(crate) offers: Vec<Offer>,
}

/// What a worker is told when it has registered or resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// Its session.
    pub(crate) session: SessionId,
    /// Its name.
    pub(crate) worker: WorkerId,
    /// Names this very stream of the session.
    pub(crate) stream: StreamId,
}

/// A message to the driver.
#[derive(Debug)]
pub(super) enum Request {
    Submit {
        submission: Box<Submission>,
        reply: oneshot::Sender<Result<Accepted, SubmitRefusal>>,
    },
    Cancel {
        job: JobId,
        reply: oneshot::Sender<Option<JobStatus>>,
    },
    Job {
        job: JobId,
        reply: oneshot::Sender<Option<JobStatus>>,
    },
    Watch {
        job: JobId,
        reply: oneshot::Sender<Option<watch::Receiver<Arc<JobStatus>>>>,
    },
    Jobs {
        reply: oneshot::Sender<Vec<JobStatus>>,
    },
    Workers {
        reply: oneshot::Sender<ClusterStatus>,
    },
    Register {
        hello: Hello,
        orders: mpsc::Sender<Order>,
        reply: oneshot::Sender<Welcome>,
    },
    Resume {
        epoch: MasterEpoch,
        session: SessionId,
        orders: mpsc::Sender<Order>,
        reply: oneshot::Sender<Result<Welcome, CloseReason>>,
    },
    Report {
        epoch: MasterEpoch,
        session: SessionId,
        report: WorkerReport,
    },
    StreamEnded {
        session: SessionId,
        stream: StreamId,
    },
    Shutdown {
        open_jobs: OpenJobs,
    },
}

/// The way to the driver; clones share it. The driver ends when it is told to, or when no handle is
/// left.
#[derive(Debug, Clone)]
pub struct MasterHandle {
    requests: mpsc::Sender<Request>,
    epoch: MasterEpoch,
}

impl MasterHandle {
    /// A handle, and the driver's end of it.
    pub(super) fn new(epoch: MasterEpoch) -> (Self, mpsc::Receiver<Request>) {
        let (requests, inbox) = mpsc::channel(MAX_WAITING_MESSAGES);
        (Self { requests, epoch }, inbox)
    }

    /// The epoch of this master.
    pub fn epoch(&self) -> MasterEpoch {
        self.epoch
    }

    /// Plans a job and takes it on; returns when it is accepted.
    ///
    /// # Errors
    ///
    /// Why it was not taken on; then nothing of it is left.
    pub async fn submit(&self, submission: Submission) -> Result<Accepted, SubmitRefusal> {
        let submission = Box::new(submission);
        self.ask(|reply| Request::Submit { submission, reply }).await?
    }

    /// Asks for a job's end. A job that is over or commits already stays as it is.
    ///
    /// # Errors
    ///
    /// If the driver ended.
    pub async fn cancel(&self, job: JobId) -> Result<Option<JobStatus>, MasterGone> {
        self.ask(|reply| Request::Cancel { job, reply }).await
    }

    /// One job; `None` if it is unknown or forgotten.
    ///
    /// # Errors
    ///
    /// If the driver ended.
    pub async fn job(&self, job: JobId) -> Result<Option<JobStatus>, MasterGone> {
        self.ask(|reply| Request::Job { job, reply }).await
    }

    /// Follows one job. A terminal state shows only when nothing is left to be undone.
    ///
    /// # Errors
    ///
    /// If the driver ended.
    pub async fn watch(&self, job: JobId) -> Result<Option<watch::Receiver<Arc<JobStatus>>>, MasterGone> {
        self.ask(|reply| Request::Watch { job, reply }).await
    }

    /// All remembered jobs, oldest first.
    ///
    /// # Errors
    ///
    /// If the driver ended.
    pub async fn jobs(&self) -> Result<Vec<JobStatus>, MasterGone> {
        self.ask(|reply| Request::Jobs { reply }).await
    }

    /// The workers.
    ///
    /// # Errors
    ///
    /// If the driver ended.
    pub async fn workers(&self) -> Result<ClusterStatus, MasterGone> {
        self.ask(|reply| Request::Workers { reply }).await
    }

    /// Ends the driver, and with it all streams of workers and watchers, when what it has begun is done
    /// and what becomes of open jobs is recorded, or a bound is reached.
    pub async fn shutdown(&self, open_jobs: OpenJobs) {
        // The driver may have ended before: then there is nothing to wait for.
        let _gone = self.requests.send(Request::Shutdown { open_jobs }).await;
        self.requests.closed().await;
    }

    pub(crate) async fn register(&self, hello: Hello, orders: mpsc::Sender<Order>) -> Result<Welcome, MasterGone> {
        self.ask(|reply| Request::Register { hello, orders, reply }).await
    }

    pub(crate) async fn resume(
        &self,
        epoch: MasterEpoch,
        session: SessionId,
        orders: mpsc::Sender<Order>,
    ) -> Result<Result<Welcome, CloseReason>, MasterGone> {
        self.ask(|reply| Request::Resume { epoch, session, orders, reply }).await
    }

    pub(crate) async fn report(
        &self,
        epoch: MasterEpoch,
        session: SessionId,
        report: WorkerReport,
    ) -> Result<(), MasterGone> {
        self.requests.send(Request::Report { epoch, session, report }).await.map_err(|_| MasterGone)
    }

    pub(crate) async fn stream_ended(&self, session: SessionId, stream: StreamId) -> Result<(), MasterGone> {
        self.requests.send(Request::StreamEnded { session, stream }).await.map_err(|_| MasterGone)
    }

    /// Returns when the driver has ended.
    pub(crate) async fn gone(&self) {
        self.requests.closed().await;
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, MasterGone> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| MasterGone)?;
        answer.await.map_err(|_| MasterGone)
    }
}
