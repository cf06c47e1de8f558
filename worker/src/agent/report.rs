//! What the worker tells its master and is told by it, in domain types.

use gristmill_common::failure::Failure;
use gristmill_common::ids::{JobAttempt, JobId, MasterEpoch, SessionId};
use gristmill_common::spec::JobSpec;
use gristmill_common::task::{AttemptReport, OpenUpload, TaskInput};
use gristmill_common::wire::{WireError, required, v1};

/// The registration in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) epoch: MasterEpoch,
    pub(super) id: SessionId,
}

/// About one attempt.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Report {
    /// Its executor began it.
    Started(JobAttempt),
    /// It has begun uploads, and sends nothing before the master has noted them.
    UploadsOpened { id: JobAttempt, batch: u32, uploads: Vec<OpenUpload> },
    /// It finished or failed.
    Ended { id: JobAttempt, result: Result<AttemptReport, Failure> },
}

impl Report {
    pub(super) fn to_wire(&self) -> v1::worker_message::Body {
        match self {
            Report::Started(id) => v1::worker_message::Body::Started(v1::AttemptStarted { id: Some(id.into()) }),
            Report::UploadsOpened { id, batch, uploads } => v1::worker_message::Body::Uploads(v1::UploadsOpened {
                id: Some(id.into()),
                batch: *batch,
                uploads: uploads.iter().map(Into::into).collect(),
            }),
            Report::Ended { id, result: Ok(report) } => v1::worker_message::Body::Finished(v1::AttemptFinished {
                id: Some(id.into()),
                report: Some(report.into()),
            }),
            Report::Ended { id, result: Err(failure) } => v1::worker_message::Body::Failed(v1::AttemptFailed {
                id: Some(id.into()),
                failure: Some(failure.into()),
            }),
        }
    }
}

/// What the master wants done under a session.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Order {
    OpenJob { job: JobId, spec: Box<JobSpec>, binary_sha256: String, staging: String },
    Start { id: JobAttempt, input: TaskInput },
    Cancel(JobAttempt),
    Discard(JobAttempt),
    UploadsNoted { id: JobAttempt, batch: u32 },
    Release(JobId),
}

/// A message of the master under the session in force.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum FromMaster {
    Order(Order),
    Close(v1::CloseSession),
    /// The answer to `Register` and `Resume`, which is no order.
    Registered(v1::Registered),
}

impl TryFrom<v1::master_message::Body> for FromMaster {
    type Error = WireError;

    fn try_from(body: v1::master_message::Body) -> Result<Self, WireError> {
        use v1::master_message::Body;
        Ok(FromMaster::Order(match body {
            Body::Registered(registered) => return Ok(FromMaster::Registered(registered)),
            Body::Close(close) => return Ok(FromMaster::Close(close)),
            Body::OpenJob(open) => Order::OpenJob {
                job: JobId(open.job),
                spec: Box::new(required("OpenJob.spec", open.spec)?.try_into()?),
                binary_sha256: open.binary_sha256,
                staging: open.staging,
            },
            Body::Start(start) => Order::Start {
                id: required("StartAttempt.id", start.id)?.try_into()?,
                input: required("StartAttempt.input", start.input)?.try_into()?,
            },
            Body::Cancel(cancel) => Order::Cancel(required("CancelAttempt.id", cancel.id)?.try_into()?),
            Body::Discard(discard) => Order::Discard(required("DiscardOutput.id", discard.id)?.try_into()?),
            Body::Noted(noted) => {
                Order::UploadsNoted { id: required("UploadsNoted.id", noted.id)?.try_into()?, batch: noted.batch }
            }
            Body::Release(release) => Order::Release(JobId(release.job)),
        }))
    }
}
