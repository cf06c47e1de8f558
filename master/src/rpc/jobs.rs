//! The service `Jobs`: what clients ask for.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt as _};
use gristmill_common::ids::JobId;
use gristmill_common::spec::JobSpec;
use gristmill_common::wire::{WIRE_VERSION, required, v1};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::refusal;
use crate::runtime::{JobStatus, MasterGone, MasterHandle, Submission};

/// The longest idempotency key and binary digest; both are made by programs.
const MAX_TOKEN_BYTES: usize = 256;

/// Answers clients.
#[derive(Debug)]
pub(super) struct JobsService {
    master: MasterHandle,
}

impl JobsService {
    /// A service that asks `master`.
    pub(super) fn new(master: MasterHandle) -> Self {
        Self { master }
    }
}

#[tonic::async_trait]
impl v1::jobs_server::Jobs for JobsService {
    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitReply>, Status> {
        let submission = submission(request.into_inner())?;
        let accepted = self.master.submit(submission).await.map_err(|error| refusal::of_submission(&error))?;
        Ok(Response::new(v1::SubmitReply { job: accepted.job.0, warnings: accepted.warnings }))
    }

    async fn status(&self, request: Request<v1::JobRef>) -> Result<Response<v1::JobStatus>, Status> {
        let job = JobId(request.into_inner().job);
        found(job, self.master.job(job).await)
    }

    type WatchStream = BoxStream<'static, Result<v1::JobStatus, Status>>;

    async fn watch(&self, request: Request<v1::JobRef>) -> Result<Response<Self::WatchStream>, Status> {
        let job = JobId(request.into_inner().job);
        let watch = self.master.watch(job).await.map_err(refusal::of_gone)?;
        let watch = watch.ok_or_else(|| refusal::of_unknown(job))?;
        Ok(Response::new(statuses(watch).boxed()))
    }

    async fn cancel(&self, request: Request<v1::JobRef>) -> Result<Response<v1::JobStatus>, Status> {
        let job = JobId(request.into_inner().job);
        found(job, self.master.cancel(job).await)
    }

    async fn list(&self, _request: Request<v1::ListRequest>) -> Result<Response<v1::ListReply>, Status> {
        let jobs = self.master.jobs().await.map_err(refusal::of_gone)?;
        Ok(Response::new(v1::ListReply { jobs: jobs.iter().map(Into::into).collect() }))
    }

    async fn workers(&self, _request: Request<v1::WorkersRequest>) -> Result<Response<v1::WorkersReply>, Status> {
        let cluster = self.master.workers().await.map_err(refusal::of_gone)?;
        Ok(Response::new((&cluster).into()))
    }
}

fn submission(request: v1::SubmitRequest) -> Result<Submission, Status> {
    if request.wire_version != WIRE_VERSION {
        return Err(Status::failed_precondition(format!(
            "the client is gristmill {} (wire version {}), the master is gristmill {} (wire version {WIRE_VERSION})",
            request.version,
            request.wire_version,
            env!("CARGO_PKG_VERSION")
        )));
    }
    for (name, text) in [("idempotency_key", &request.idempotency_key), ("binary_sha256", &request.binary_sha256)] {
        if text.is_empty() || text.len() > MAX_TOKEN_BYTES {
            return Err(Status::invalid_argument(format!("{name} must have 1 to {MAX_TOKEN_BYTES} bytes")));
        }
    }
    let spec = required("SubmitRequest.spec", request.spec).and_then(JobSpec::try_from);
    let spec = spec.map_err(|error| refusal::of_wire(&error))?;
    Ok(Submission { key: request.idempotency_key, spec, binary_sha256: request.binary_sha256 })
}

fn found(job: JobId, status: Result<Option<JobStatus>, MasterGone>) -> Result<Response<v1::JobStatus>, Status> {
    let status = status.map_err(refusal::of_gone)?.ok_or_else(|| refusal::of_unknown(job))?;
    Ok(Response::new((&status).into()))
}

/// The status now and whenever it changes, up to and with the terminal one.
fn statuses(
    watch: watch::Receiver<Arc<JobStatus>>,
) -> impl stream::Stream<Item = Result<v1::JobStatus, Status>> + Send + 'static {
    enum Next {
        Now(watch::Receiver<Arc<JobStatus>>),
        Change(watch::Receiver<Arc<JobStatus>>),
        End,
    }
    stream::unfold(Next::Now(watch), |next| async {
        let mut watch = match next {
            Next::Now(watch) => watch,
            Next::Change(mut watch) => match watch.changed().await {
                Ok(()) => watch,
                Err(_ended) => return Some((Err(refusal::of_gone(MasterGone)), Next::End)),
            },
            Next::End => return None,
        };
        let status = Arc::clone(&watch.borrow_and_update());
        let next = if status.view.state.is_terminal() { Next::End } else { Next::Change(watch) };
        Some((Ok(status.as_ref().into()), next))
    })
}
