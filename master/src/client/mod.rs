//! The client of a master: submits and follows jobs, and outlives dropped connections. Prints
//! nothing and never gives up before its patience ends.

mod download;
mod members;
mod upload;

use std::path::PathBuf;
use std::time::Duration;

use gristmill_common::backoff::Backoff;
use gristmill_common::ids::JobId;
use gristmill_common::time::{Clock, Timestamp};
use gristmill_common::tls::{DialError, Dialer};
use gristmill_common::wire::v1::jobs_client::JobsClient as Rpc;
use gristmill_common::wire::{WIRE_VERSION, WireError, transport, v1};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::rpc::refusal;
use crate::runtime::random::random_u64;
use crate::runtime::{Accepted, ClusterStatus, JobStatus, Submission, describe};

/// How long a client looks for a master that it has lost, unless told otherwise.
pub const DEFAULT_RECONNECT: Duration = Duration::from_secs(60);

/// The waits between two tries: short, since a master is back within a second or two.
const RETRY: Backoff = Backoff { base: Duration::from_millis(50), cap: Duration::from_secs(1) };

/// How long a question may take. Listing the inputs of a large job is the slowest of them.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(600);
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a master did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// It does not answer.
    #[error("cannot reach the master at {url}: {reason}")]
    Unreachable {
        /// Its URL.
        url: String,
        /// What went wrong last.
        reason: String,
    },
    /// A certificate or a right is missing: the master refuses the caller, or the caller the master.
    #[error("{message}")]
    Denied {
        /// Who refuses what, and why.
        message: String,
        /// What to try.
        hint: Option<String>,
    },
    /// The URL is none.
    #[error("{url:?} is not the URL of a master such as http://127.0.0.1:7420")]
    BadUrl {
        /// What was given.
        url: String,
    },
    /// The request itself cannot be.
    #[error("{message}")]
    Usage {
        /// What the master says.
        message: String,
        /// What to try.
        hint: Option<String>,
    },
    /// Inputs, output or the master's state do not allow it.
    #[error("{message}")]
    Rejected {
        /// What the master says.
        message: String,
        /// What to try.
        hint: Option<String>,
    },
    /// A file that was to be sent cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// It does not know the job.
    #[error("{message}")]
    NotFound {
        /// What the master says.
        message: String,
        /// What to try.
        hint: Option<String>,
    },
    /// It answers in a way that this build does not understand.
    #[error("cannot understand the master at {url}")]
    Incompatible {
        /// Its URL.
        url: String,
        /// What is wrong.
        source: WireError,
    },
}

impl ClientError {
    /// What to try, where there is something to say.
    pub fn hint(&self) -> Option<&str> {
        match self {
            ClientError::Usage { hint, .. }
            | ClientError::Denied { hint, .. }
            | ClientError::Rejected { hint, .. }
            | ClientError::NotFound { hint, .. } => hint.as_deref(),
            ClientError::Unreadable { .. } => None,
            ClientError::Unreachable { .. } => Some("is it running? start one with: gristmill master"),
            ClientError::BadUrl { .. } => {
                Some("give --master https://HOST:PORT, or http://127.0.0.1:PORT on this machine")
            }
            ClientError::Incompatible { .. } => Some("use the same version of gristmill on both ends"),
        }
    }
}

/// A connection to a master. Clones share it.
#[derive(Debug, Clone)]
pub struct JobsClient {
    url: String,
    channel: Channel,
    reconnect: Duration,
    clock: Clock,
}

impl JobsClient {
    /// Connects to the master at `url`. A connection that is lost later is looked for up to
    /// `reconnect`; this first one is tried once.
    ///
    /// # Errors
    ///
    /// If the URL is none or nobody answers there.
    pub async fn connect(url: &str, reconnect: Duration) -> Result<Self, ClientError> {
        Self::connect_with(&Dialer::plain(), url, reconnect).await
    }

    /// [`JobsClient::connect`] with a certificate.
    ///
    /// # Errors
    ///
    /// As there, and if one end refuses the other one's certificate.
    pub async fn connect_with(dialer: &Dialer, url: &str, reconnect: Duration) -> Result<Self, ClientError> {
        let channel = dialer.connect_to_master(url).await.map_err(|error| of_dialling(url, error))?;
        Ok(Self { url: url.to_owned(), channel, reconnect, clock: Clock::start() })
    }

    /// The master's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Submits a job. Asks again with the same key when the answer is lost, which makes it one job.
    ///
    /// # Errors
    ///
    /// If the master refuses the job or stays unreachable.
    pub async fn submit(&self, submission: &Submission) -> Result<Accepted, ClientError> {
        let request = v1::SubmitRequest {
            idempotency_key: submission.key.clone(),
            spec: Some((&submission.spec).into()),
            binary_sha256: submission.binary_sha256.clone(),
            wire_version: WIRE_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let ask = async |rpc: Channel| jobs(rpc).submit(timed(request.clone(), SUBMIT_TIMEOUT)).await;
        let reply = self.ask(ask).await?;
        Ok(Accepted { job: JobId(reply.job), warnings: reply.warnings })
    }

    /// One job as it is now.
    ///
    /// # Errors
    ///
    /// If the master does not know the job or stays unreachable.
    pub async fn status(&self, job: JobId) -> Result<JobStatus, ClientError> {
        let ask = async |rpc: Channel| jobs(rpc).status(timed(job_ref(job), QUESTION_TIMEOUT)).await;
        self.understand(self.ask(ask).await?)
    }

    /// Asks for a job's end; returns how it is now. A job that is over or commits stays as it is.
    ///
    /// # Errors
    ///
    /// If the master does not know the job or stays unreachable.
    pub async fn cancel(&self, job: JobId) -> Result<JobStatus, ClientError> {
        let ask = async |rpc: Channel| jobs(rpc).cancel(timed(job_ref(job), QUESTION_TIMEOUT)).await;
        self.understand(self.ask(ask).await?)
    }

    /// All jobs that the master remembers, oldest first.
    ///
    /// # Errors
    ///
    /// If the master stays unreachable.
    pub async fn list(&self) -> Result<Vec<JobStatus>, ClientError> {
        let ask = async |rpc: Channel| jobs(rpc).list(timed(v1::ListRequest {}, QUESTION_TIMEOUT)).await;
        self.ask(ask).await?.jobs.into_iter().map(|job| self.understand(job)).collect()
    }

    /// The workers.
    ///
    /// # Errors
    ///
    /// If the master stays unreachable.
    pub async fn workers(&self) -> Result<ClusterStatus, ClientError> {
        let ask = async |rpc: Channel| jobs(rpc).workers(timed(v1::WorkersRequest {}, QUESTION_TIMEOUT)).await;
        self.understand(self.ask(ask).await?)
    }

    /// Follows a job to its end.
    pub fn watch(&self, job: JobId) -> JobWatch {
        JobWatch { client: self.clone(), job, statuses: None, trouble: None, over: false }
    }

    /// Asks until there is an answer or the patience ends.
    async fn ask<T>(&self, question: impl AsyncFn(Channel) -> Result<Response<T>, Status>) -> Result<T, ClientError> {
        let mut trouble = None;
        loop {
            match question(self.channel.clone()).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => self.endure(&status, &mut trouble).await?,
            }
        }
    }

    /// Waits before the next try after a failure of the connection; returns every other failure,
    /// and that of the connection when the patience ends.
    async fn endure(&self, status: &Status, trouble: &mut Option<Trouble>) -> Result<(), ClientError> {
        if let Some(refusal) = refused(status) {
            return Err(refusal);
        }
        let now = self.clock.now();
        let trouble = trouble.get_or_insert(Trouble { since: now, failures: 0 });
        let left = self.reconnect.saturating_sub(now.since(trouble.since));
        if left.is_zero() {
            return Err(ClientError::Unreachable { url: self.url.clone(), reason: reason_of(status) });
        }
        let wait = RETRY.delay(trouble.failures, random_u64());
        trouble.failures += 1;
        tokio::time::sleep(wait.min(left)).await;
        Ok(())
    }

    fn understand<W, T: TryFrom<W, Error = WireError>>(&self, wire: W) -> Result<T, ClientError> {
        T::try_from(wire).map_err(|source| ClientError::Incompatible { url: self.url.clone(), source })
    }
}

/// A connection that fails.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    since: Timestamp,
    failures: u32,
}

/// What a watcher hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchUpdate {
    /// How the job is; the last one is terminal.
    Status(Box<JobStatus>),
    /// The master was lost and is looked for. Said once each time.
    Disconnected {
        /// What went wrong.
        reason: String,
    },
}

/// Follows one job to its end, over any number of connections.
#[derive(Debug)]
pub struct JobWatch {
    client: JobsClient,
    job: JobId,
    statuses: Option<Streaming<v1::JobStatus>>,
    trouble: Option<Trouble>,
    over: bool,
}

impl JobWatch {
    /// The next update; `None` after the terminal state. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// If the master does not know the job or stays unreachable.
    pub async fn next(&mut self) -> Result<Option<WatchUpdate>, ClientError> {
        while !self.over {
            match self.receive().await {
                Ok(status) => {
                    self.trouble = None;
                    let status: JobStatus = self.client.understand(status)?;
                    self.over = status.view.state.is_terminal();
                    return Ok(Some(WatchUpdate::Status(Box::new(status))));
                }
                Err(failure) => {
                    self.statuses = None;
                    if self.trouble.is_some() {
                        self.client.endure(&failure, &mut self.trouble).await?;
                        continue;
                    }
                    if let Some(refusal) = refused(&failure) {
                        return Err(refusal);
                    }
                    self.trouble = Some(Trouble { since: self.client.clock.now(), failures: 0 });
                    return Ok(Some(WatchUpdate::Disconnected { reason: reason_of(&failure) }));
                }
            }
        }
        Ok(None)
    }

    async fn receive(&mut self) -> Result<v1::JobStatus, Status> {
        if self.statuses.is_none() {
            let opened = jobs(self.client.channel.clone()).watch(Request::new(job_ref(self.job))).await?;
            self.statuses = Some(opened.into_inner());
        }
        let statuses = self.statuses.as_mut().expect("it was just opened");
        statuses.message().await?.ok_or_else(|| Status::unavailable("the master ended the stream"))
    }
}

/// Why there is no connection to the master at `url`.
fn of_dialling(url: &str, error: DialError) -> ClientError {
    let url = url.to_owned();
    match error {
        DialError::Url { .. } => ClientError::BadUrl { url },
        DialError::Unreachable { reason } => ClientError::Unreachable { url, reason },
        refused => {
            let hint = refused.hint().map(ToOwned::to_owned);
            ClientError::Denied { message: format!("no connection to the master at {url}: {refused}"), hint }
        }
    }
}

fn job_ref(job: JobId) -> v1::JobRef {
    v1::JobRef { job: job.0 }
}

fn timed<T>(message: T, timeout: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    request
}

/// The service of jobs on a connection.
fn jobs(channel: Channel) -> Rpc<Channel> {
    Rpc::new(channel)
        .max_decoding_message_size(transport::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(transport::MAX_MESSAGE_BYTES)
}

/// The master's refusal; `None` if the status is the connection's, and worth another try.
fn refused(status: &Status) -> Option<ClientError> {
    let (message, hint) = (status.message().to_owned(), refusal::hint_of(status));
    match status.code() {
        Code::InvalidArgument | Code::OutOfRange => Some(ClientError::Usage { message, hint }),
        Code::PermissionDenied | Code::Unauthenticated => Some(ClientError::Denied { message, hint }),
        Code::NotFound => Some(ClientError::NotFound { message, hint }),
        Code::FailedPrecondition
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::DataLoss
        | Code::Unimplemented => Some(ClientError::Rejected { message, hint }),
        // The transport reports its own trouble as any of these.
        Code::Ok | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded | Code::Internal | Code::Unavailable => {
            None
        }
    }
}

fn reason_of(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(source) => describe(source),
        None => status.message().to_owned(),
    }
}
