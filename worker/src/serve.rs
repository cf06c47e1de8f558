//! The shuffle service: streams segments of this worker's finished map attempts to the workers that
//! reduce them. Takes ids only, never paths, and looks nowhere but into its own scratch; checks the
//! index of each map output and leaves the blocks to whoever uses them.

use std::convert::Infallible;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use gristmill_common::ids::{AttemptId, JobId, MasterEpoch, Stage};
use gristmill_common::wire::transport::SENT_FRAME_BYTES;
use gristmill_common::wire::v1;
use gristmill_common::wire::v1::shuffle_server::SERVICE_NAME;
use tokio::sync::{Semaphore, mpsc, watch};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;

use crate::engine::shuffle::{MapOutput, MapOutputs, SegmentRange};
use crate::rpc::{FETCH_PATH, FrameBuffers, Framed, framed, read_request, respond, sealed};
use crate::scratch::Scratch;

/// Frames read ahead of the network for one request: disk and network overlap, and a slow reader
/// holds at most this many, and the few that the connection has taken.
const FRAMES_AHEAD: usize = 4;

/// Buffers kept for one request: the ones ahead, one being filled, and what the connection holds.
const BUFFERS_KEPT: usize = 2 * FRAMES_AHEAD;

/// Requests served at once; more wait. Raised, more threads read one disk at a time; lowered, one
/// slow reader holds up others.
const MAX_SERVED: usize = 64;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct ShuffleService {
    scratch: Scratch,
    /// The epoch of the master this worker serves, once there is one.
    epoch: watch::Receiver<Option<MasterEpoch>>,
    served: Arc<Semaphore>,
}

impl ShuffleService {
    pub(crate) fn new(scratch: Scratch, epoch: watch::Receiver<Option<MasterEpoch>>) -> Self {
        Self { scratch, epoch, served: Arc::new(Semaphore::new(MAX_SERVED)) }
    }

    /// Begins to answer a request; what comes of it comes through the channel.
    async fn fetch(&self, request: v1::FetchRequest) -> Result<mpsc::Receiver<Framed>, Status> {
        let epoch = *self.epoch.borrow();
        if epoch.is_none_or(|epoch| request.epoch < epoch.0) {
            return Err(Status::failed_precondition("the request was made under an older master"));
        }
        let attempts: Result<Vec<AttemptId>, _> = request.attempts.into_iter().map(AttemptId::try_from).collect();
        let attempts = attempts.map_err(|error| Status::invalid_argument(error.to_string()))?;
        if let Some(attempt) = attempts.iter().find(|attempt| attempt.task.stage != Stage::Map) {
            return Err(Status::invalid_argument(format!("{attempt} is no map attempt")));
        }
        let (job, partition) = (JobId(request.job), request.partition);
        let permit = Arc::clone(&self.served).acquire_owned().await;
        let permit = permit.map_err(|_| Status::unavailable("the worker is leaving"))?;
        let (frames, stream) = mpsc::channel(FRAMES_AHEAD);
        let scratch = self.scratch.clone();
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut outputs = MapOutputs::new(&scratch.job_dir(job));
            let sender = Sender { job, partition, frames, buffers: FrameBuffers::new(BUFFERS_KEPT) };
            for attempt in attempts {
                if sender.send_segment(&mut outputs, attempt).is_err() {
                    // What the reader did not get it will ask for again.
                    return;
                }
            }
        });
        Ok(stream)
    }
}

impl NamedService for ShuffleService {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<Request<Body>> for ShuffleService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = self.clone();
        async move {
            if request.uri().path() != FETCH_PATH {
                return Ok(Status::unimplemented("there is only Fetch").into_http());
            }
            let stream = async { service.fetch(read_request(request.into_body()).await?).await };
            Ok(stream.await.map_or_else(Status::into_http, respond))
        }
        .boxed()
    }
}

/// Nothing more is sent: the reader is gone, or was told of an error.
struct Over;

/// Answers one request, on a thread that may wait for the disk.
struct Sender {
    job: JobId,
    partition: u32,
    frames: mpsc::Sender<Framed>,
    buffers: FrameBuffers,
}

impl Sender {
    fn send(&self, frame: Framed) -> Result<(), Over> {
        self.frames.blocking_send(frame).map_err(|_| Over)
    }

    /// Ends the stream with an error.
    fn fail(&self, status: Status) -> Result<(), Over> {
        tracing::warn!(reason = status.message(), "segments cannot be served");
        self.send(Err(status))?;
        Err(Over)
    }

    fn send_segment(&self, outputs: &mut MapOutputs, attempt: AttemptId) -> Result<(), Over> {
        let partition = self.partition;
        let missing = |reason: String| {
            tracing::warn!(%attempt, partition, reason, "map output asked for cannot be served");
            self.send(Ok(self.header(attempt, 0, Some(reason))))
        };
        let output = match outputs.open(attempt) {
            Ok(output) => output,
            Err(error) if error.is_loss() => return missing(error.to_string()),
            // Too many open files, or a disk that does not answer: the output may be well.
            Err(error) => return self.fail(Status::unavailable(error.to_string())),
        };
        let Some(segment) = output.segment(partition) else {
            return missing(format!("there is no partition {partition}"));
        };
        self.send(Ok(self.header(attempt, segment.iter().map(|run| run.bytes).sum(), None)))?;
        segment.iter().try_for_each(|run| self.send_run(&output, run))
    }

    fn send_run(&self, output: &MapOutput, run: &SegmentRange) -> Result<(), Over> {
        let (mut offset, end) = (run.offset, run.offset + run.bytes);
        while offset < end {
            let len = usize::try_from(end - offset).unwrap_or(usize::MAX).min(SENT_FRAME_BYTES);
            let frame = self.buffers.data(len, |data| output.file().read_exact_at(data, offset));
            match frame {
                Ok(frame) => self.send(Ok(frame))?,
                // Bytes were promised: only an error of the whole stream can take that back.
                Err(error) => {
                    let message = format!("cannot read {}: {error}", output.path().display());
                    return self.fail(Status::data_loss(message));
                }
            }
            offset += len as u64;
        }
        Ok(())
    }

    fn header(&self, attempt: AttemptId, bytes: u64, missing: Option<String>) -> Bytes {
        let header = v1::SegmentHeader {
            attempt: Some((&attempt).into()),
            bytes,
            missing: missing.is_some(),
            reason: missing.unwrap_or_default(),
            seal: 0,
        };
        let header = sealed(self.job, self.partition, header);
        framed(&v1::FetchFrame { body: Some(v1::fetch_frame::Body::Header(header)) })
    }
}
