//! The shuffle service: streams segments of this worker's finished map attempts to the workers that
//! reduce them. Takes ids only, never paths, and looks nowhere but into its own scratch; checks the
//! index of each map output and leaves the blocks to whoever uses them.

use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use gristmill_common::ids::{AttemptId, JobId, MasterEpoch, Stage};
use gristmill_common::wire::transport::SEGMENT_FRAME_BYTES;
use gristmill_common::wire::v1;
use gristmill_common::wire::v1::shuffle_server::Shuffle;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::engine::shuffle::MapOutputs;
use crate::scratch::Scratch;

/// Frames read ahead of the network for one request: disk and network overlap, and a slow reader
/// holds at most this many MiB.
const FRAMES_AHEAD: usize = 4;

/// Requests served at once; more wait. Raised, more threads read one disk at a time; lowered, one
/// slow reader holds up others.
const MAX_SERVED: usize = 64;

type Frame = Result<v1::FetchFrame, Status>;

/// The service.
#[derive(Debug)]
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
}

#[tonic::async_trait]
impl Shuffle for ShuffleService {
    type FetchStream = Pin<Box<dyn Stream<Item = Frame> + Send>>;

    async fn fetch(&self, request: Request<v1::FetchRequest>) -> Result<Response<Self::FetchStream>, Status> {
        let request = request.into_inner();
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
            for attempt in attempts {
                if send_segment(&mut outputs, attempt, partition, &frames).is_err() {
                    // The reader went away; what it did not take it will ask for again.
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// The reader of a stream is gone.
struct Gone;

fn send_segment(
    outputs: &mut MapOutputs,
    attempt: AttemptId,
    partition: u32,
    frames: &mpsc::Sender<Frame>,
) -> Result<(), Gone> {
    let send = |frame| frames.blocking_send(frame).map_err(|_| Gone);
    let opened = outputs.open(attempt).map_err(|error| error.to_string()).and_then(|output| {
        let segment = output.segment(partition);
        segment.map(|segment| (output, segment)).ok_or_else(|| format!("there is no partition {partition}"))
    });
    let (output, segment) = match opened {
        Ok(opened) => opened,
        Err(reason) => {
            tracing::warn!(%attempt, partition, reason, "map output asked for cannot be served");
            return send(Ok(header(attempt, 0, Some(reason))));
        }
    };
    send(Ok(header(attempt, segment.bytes, None)))?;
    let (mut offset, end) = (segment.offset, segment.offset + segment.bytes);
    while offset < end {
        let len = usize::try_from(end - offset).unwrap_or(usize::MAX).min(SEGMENT_FRAME_BYTES);
        let mut data = vec![0; len];
        if let Err(error) = output.file().read_exact_at(&mut data, offset) {
            // Bytes were promised: only an error of the whole stream can take that back.
            return send(Err(Status::data_loss(format!("cannot read {}: {error}", output.path().display()))));
        }
        send(Ok(v1::FetchFrame { body: Some(v1::fetch_frame::Body::Data(Bytes::from(data))) }))?;
        offset += len as u64;
    }
    Ok(())
}

fn header(attempt: AttemptId, bytes: u64, missing: Option<String>) -> v1::FetchFrame {
    let header = v1::SegmentHeader {
        attempt: Some((&attempt).into()),
        bytes,
        missing: missing.is_some(),
        reason: missing.unwrap_or_default(),
    };
    v1::FetchFrame { body: Some(v1::fetch_frame::Body::Header(header)) }
}
