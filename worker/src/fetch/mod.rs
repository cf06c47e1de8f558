//! Fetching segments of one partition from one other worker into one local file. Checks what the
//! stream promises (order, lengths, frame sizes, what was asked for); the blocks are checked by the engine on use.

mod file;

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use gristmill_common::backoff::Backoff;
use gristmill_common::ids::{AttemptId, JobId, MasterEpoch};
use gristmill_common::tls::Dialer;
use gristmill_common::wire::transport::SEGMENT_FRAME_BYTES;
use gristmill_common::wire::v1;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use self::file::SegmentFile;
use crate::engine::LocalSegment;
use crate::rpc::{self, Messages};

/// How long a fetch waits for the next bytes. Raised, a silent worker holds its readers up for
/// longer; lowered, a loaded one is given up although it would have answered.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(10);

/// Tries in a row without a single new segment before the other worker counts as unreachable. The
/// master hears of a dead worker from its broken stream anyway; these are for a network that stumbles.
const TRIES: u32 = 3;

/// The waits between tries.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(1) };

/// What to fetch, from where, to where.
#[derive(Debug, Clone)]
pub(crate) struct FetchOrder {
    pub(crate) epoch: MasterEpoch,
    pub(crate) job: JobId,
    pub(crate) partition: u32,
    /// Where the other worker's shuffle service listens.
    pub(crate) address: String,
    pub(crate) attempts: Vec<AttemptId>,
    /// The file to write; replaced if it exists.
    pub(crate) file: PathBuf,
    /// A file that may become the one to write.
    pub(crate) spare: Option<PathBuf>,
    pub(crate) progress_timeout: Duration,
    /// How the other worker is reached.
    pub(crate) dialer: Dialer,
}

impl FetchOrder {
    /// How long to wait for the next bytes, unless a test is in a hurry.
    pub(crate) const PROGRESS_TIMEOUT: Duration = PROGRESS_TIMEOUT;
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// The segments that have bytes, in the order asked for.
    pub(crate) segments: Vec<LocalSegment>,
    /// The attempts of which the other worker has no whole output, and why.
    pub(crate) lost: Vec<(AttemptId, String)>,
    /// The attempts that could not be asked for, and why: their outputs may be well.
    pub(crate) unreachable: Vec<(AttemptId, String)>,
}

/// Why one try ended before everything was there.
#[derive(Debug, thiserror::Error)]
enum TryError {
    #[error("cannot connect: {reason}")]
    Connect { reason: String },
    #[error("{}", status.message())]
    Refused { status: Box<tonic::Status> },
    #[error("no bytes for {waited:?}")]
    Stalled { waited: Duration },
    #[error("the stream is not as promised: {what}")]
    Broken { what: &'static str },
    /// The file says why when it is closed.
    #[error("cannot write")]
    Write,
}

impl From<tonic::Status> for TryError {
    fn from(status: tonic::Status) -> Self {
        TryError::Refused { status: Box::new(status) }
    }
}

/// Fetches what is ordered, in several tries if need be, or less if `cancel` is set. Nobody writes to
/// the file any more when this returns: who removes it then removes it for good.
///
/// # Errors
///
/// If the local file cannot be written. What the other worker does not give is no error here.
pub(crate) async fn fetch(order: &FetchOrder, cancel: &CancellationToken) -> io::Result<Fetched> {
    let file = SegmentFile::create(order.file.clone(), order.spare.clone());
    let pending = order.attempts.iter().copied().collect();
    let mut fetch = Fetch { order, file, written: 0, pending, done: Fetched::default() };
    let _whole = cancel.run_until_cancelled(Box::pin(fetch.run())).await;
    fetch.file.close().await?;
    Ok(fetch.done)
}

struct Fetch<'a> {
    order: &'a FetchOrder,
    file: SegmentFile,
    /// Bytes of whole segments in the file.
    written: u64,
    /// The attempts still to come; the first one is next.
    pending: VecDeque<AttemptId>,
    done: Fetched,
}

impl Fetch<'_> {
    /// Tries until nothing is pending.
    async fn run(&mut self) {
        let mut failures = 0;
        while !self.pending.is_empty() {
            if failures > 0 {
                tokio::time::sleep(BACKOFF.delay(failures, crate::random::random())).await;
            }
            let before = self.pending.len();
            let error = match self.try_once().await {
                Ok(()) | Err(TryError::Write) => break,
                Err(error) => error,
            };
            if let TryError::Refused { status } = &error
                && status.code() == Code::DataLoss
            {
                // It began to send a segment and cannot read the rest of it.
                self.done.lost.extend(self.pending.pop_front().map(|attempt| (attempt, error.to_string())));
            }
            failures = if self.pending.len() < before { 1 } else { failures + 1 };
            tracing::debug!(address = self.order.address, job = %self.order.job, failures, %error, "fetch failed");
            if failures >= TRIES {
                let reason = error.to_string();
                self.done.unreachable.extend(self.pending.drain(..).map(|attempt| (attempt, reason.clone())));
            }
        }
    }

    /// Asks for everything pending and takes what comes.
    async fn try_once(&mut self) -> Result<(), TryError> {
        let mut messages = self.in_time(self.open()).await??;
        while !self.pending.is_empty() {
            match self.in_time(messages.next()).await?? {
                Some(v1::FetchFrame { body: Some(v1::fetch_frame::Body::Header(header)) }) => {
                    self.take_segment(header, &mut messages).await?;
                }
                Some(_) => return Err(TryError::Broken { what: "bytes without a header" }),
                None => return Err(TryError::Broken { what: "it ended early" }),
            }
        }
        Ok(())
    }

    async fn open(&self) -> Result<Messages, TryError> {
        let connected = self.order.dialer.connect_to_worker(&self.order.address).await;
        let channel = connected.map_err(|error| TryError::Connect { reason: error.to_string() })?;
        let request = v1::FetchRequest {
            epoch: self.order.epoch.0,
            job: self.order.job.0,
            partition: self.order.partition,
            attempts: self.pending.iter().map(v1::AttemptId::from).collect(),
        };
        Ok(rpc::call(channel, &request).await?)
    }

    async fn take_segment(&mut self, header: v1::SegmentHeader, messages: &mut Messages) -> Result<(), TryError> {
        let attempt = *self.pending.front().ok_or(TryError::Broken { what: "a segment too many" })?;
        if header.attempt != Some((&attempt).into()) {
            return Err(TryError::Broken { what: "segments out of order" });
        }
        let seal = header.seal;
        let header = rpc::sealed(self.order.job, self.order.partition, header);
        if header.seal != seal {
            return Err(TryError::Broken { what: "a header that does not answer the request" });
        }
        if header.missing {
            self.done.lost.push((attempt, header.reason));
            self.pending.pop_front();
            return Ok(());
        }
        // What an earlier try left of this segment is written over.
        let mut left = header.bytes;
        while left > 0 {
            let data = match self.in_time(messages.next()).await?? {
                Some(v1::FetchFrame { body: Some(v1::fetch_frame::Body::Data(data)) }) => data,
                Some(_) => return Err(TryError::Broken { what: "a header inside a segment" }),
                None => return Err(TryError::Broken { what: "it ended inside a segment" }),
            };
            let offset = self.written + (header.bytes - left);
            left = take_frame(&data, left)?;
            self.file.write_at(data, offset).await.map_err(|_| TryError::Write)?;
        }
        if header.bytes > 0 {
            let path = self.order.file.clone();
            self.done.segments.push(LocalSegment { attempt, path, offset: self.written, bytes: header.bytes });
            self.written += header.bytes;
        }
        self.pending.pop_front();
        Ok(())
    }

    async fn in_time<T>(&self, wait: impl Future<Output = T>) -> Result<T, TryError> {
        let waited = self.order.progress_timeout;
        timeout(waited, wait).await.map_err(|_| TryError::Stalled { waited })
    }
}

/// The bytes of a segment that are left after this frame.
fn take_frame(data: &Bytes, left: u64) -> Result<u64, TryError> {
    if data.is_empty() || data.len() > SEGMENT_FRAME_BYTES {
        return Err(TryError::Broken { what: "a frame of a size that cannot be" });
    }
    left.checked_sub(data.len() as u64).ok_or(TryError::Broken { what: "a segment longer than its header says" })
}

/// The message of the cause that says most: transport errors wrap the system's several times.
pub(crate) fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
