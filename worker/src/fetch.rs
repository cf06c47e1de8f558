//! Fetching segments of one partition from one other worker into one local file. Checks what the
//! stream promises (order, lengths, frame sizes); the blocks are checked by the engine on use.

use std::collections::VecDeque;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use gristmill_common::backoff::Backoff;
use gristmill_common::ids::{AttemptId, JobId, MasterEpoch};
use gristmill_common::wire::transport::{self, MAX_SHUFFLE_MESSAGE_BYTES, SEGMENT_FRAME_BYTES};
use gristmill_common::wire::v1;
use gristmill_common::wire::v1::shuffle_client::ShuffleClient;
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::engine::LocalSegment;

/// How long a fetch waits for the next bytes. Raised, a silent worker holds its readers up for
/// longer; lowered, a loaded one is given up although it would have answered.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(10);

/// Tries in a row without a single new segment before the rest counts as lost. The master hears of
/// a dead worker from its broken stream anyway; these are for a network that stumbles.
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
    pub(crate) progress_timeout: Duration,
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
    /// The attempts whose segments cannot be had, and why.
    pub(crate) lost: Vec<(AttemptId, String)>,
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
    #[error("cannot write: {source}")]
    Write {
        #[source]
        source: io::Error,
    },
}

impl From<tonic::Status> for TryError {
    fn from(status: tonic::Status) -> Self {
        TryError::Refused { status: Box::new(status) }
    }
}

impl From<io::Error> for TryError {
    fn from(source: io::Error) -> Self {
        TryError::Write { source }
    }
}

/// Fetches what is ordered, in several tries if need be.
///
/// # Errors
///
/// If the local file cannot be written. What the other worker does not give is no error here, but
/// lost.
pub(crate) async fn fetch(order: &FetchOrder) -> io::Result<Fetched> {
    let mut options = OpenOptions::new();
    let file = options.create(true).truncate(true).write(true).mode(0o600).open(&order.file).await?;
    let pending = order.attempts.iter().copied().collect();
    let mut fetch = Fetch { order, file, written: 0, pending, done: Fetched::default() };
    let mut failures = 0;
    while !fetch.pending.is_empty() {
        let before = fetch.pending.len();
        let error = match fetch.try_once().await {
            Ok(()) => break,
            Err(TryError::Write { source }) => return Err(source),
            Err(error) => error,
        };
        failures = if fetch.pending.len() < before { 1 } else { failures + 1 };
        tracing::debug!(address = order.address, job = %order.job, failures, error = %error, "fetch failed");
        if failures >= TRIES {
            let reason = error.to_string();
            fetch.done.lost.extend(fetch.pending.drain(..).map(|attempt| (attempt, reason.clone())));
            break;
        }
        fetch.rewind().await?;
        tokio::time::sleep(BACKOFF.delay(failures, RandomState::new().build_hasher().finish())).await;
    }
    fetch.file.flush().await?;
    Ok(fetch.done)
}

struct Fetch<'a> {
    order: &'a FetchOrder,
    file: File,
    /// Bytes of whole segments in the file.
    written: u64,
    /// The attempts still to come; the first one is next.
    pending: VecDeque<AttemptId>,
    done: Fetched,
}

impl Fetch<'_> {
    /// Asks for everything pending and takes what comes.
    async fn try_once(&mut self) -> Result<(), TryError> {
        let mut stream = self.in_time(self.open()).await??;
        while !self.pending.is_empty() {
            match self.in_time(stream.message()).await?? {
                Some(v1::FetchFrame { body: Some(v1::fetch_frame::Body::Header(header)) }) => {
                    self.take_segment(header, &mut stream).await?;
                }
                Some(_) => return Err(TryError::Broken { what: "bytes without a header" }),
                None => return Err(TryError::Broken { what: "it ended early" }),
            }
        }
        Ok(())
    }

    async fn open(&self) -> Result<tonic::Streaming<v1::FetchFrame>, TryError> {
        let connect = |error: tonic::transport::Error| TryError::Connect { reason: innermost(&error) };
        let channel = transport::endpoint(&self.order.address).map_err(connect)?.connect().await.map_err(connect)?;
        let mut client = ShuffleClient::new(channel)
            .max_decoding_message_size(MAX_SHUFFLE_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_SHUFFLE_MESSAGE_BYTES);
        let request = v1::FetchRequest {
            epoch: self.order.epoch.0,
            job: self.order.job.0,
            partition: self.order.partition,
            attempts: self.pending.iter().map(v1::AttemptId::from).collect(),
        };
        Ok(client.fetch(request).await?.into_inner())
    }

    async fn take_segment(
        &mut self,
        header: v1::SegmentHeader,
        stream: &mut tonic::Streaming<v1::FetchFrame>,
    ) -> Result<(), TryError> {
        let attempt = *self.pending.front().ok_or(TryError::Broken { what: "a segment too many" })?;
        if header.attempt != Some((&attempt).into()) {
            return Err(TryError::Broken { what: "segments out of order" });
        }
        if header.missing {
            self.done.lost.push((attempt, header.reason));
            self.pending.pop_front();
            return Ok(());
        }
        let mut left = header.bytes;
        while left > 0 {
            let data = match self.in_time(stream.message()).await?? {
                Some(v1::FetchFrame { body: Some(v1::fetch_frame::Body::Data(data)) }) => data,
                Some(_) => return Err(TryError::Broken { what: "a header inside a segment" }),
                None => return Err(TryError::Broken { what: "it ended inside a segment" }),
            };
            left = take_frame(&data, left)?;
            self.file.write_all(&data).await?;
        }
        if header.bytes > 0 {
            let path = self.order.file.clone();
            self.done.segments.push(LocalSegment { attempt, path, offset: self.written, bytes: header.bytes });
            self.written += header.bytes;
        }
        self.pending.pop_front();
        Ok(())
    }

    /// Cuts a segment off that was not finished.
    async fn rewind(&mut self) -> io::Result<()> {
        self.file.flush().await?;
        self.file.set_len(self.written).await?;
        self.file.seek(io::SeekFrom::Start(self.written)).await?;
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
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;
    use std::sync::Mutex;

    use futures::StreamExt as _;
    use gristmill_common::ids::SessionId;
    use gristmill_common::wire::v1::shuffle_server::{Shuffle, ShuffleServer};
    use tokio::net::TcpListener;
    use tokio::sync::watch;
    use tonic::{Request, Response, Status};

    use super::*;
    use crate::scratch::Scratch;
    use crate::serve::ShuffleService;
    use crate::testing::{hand_made_output, within};

    const JOB: JobId = JobId(7);

    fn attempt(text: &str) -> AttemptId {
        text.parse().expect("an attempt")
    }

    async fn serve<S: Shuffle>(service: S) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let server = transport::server().add_service(ShuffleServer::new(service));
        tokio::spawn(server.serve_with_incoming(transport::incoming(listener)));
        address
    }

    fn order(address: &str, dir: &Path, attempts: &[&str]) -> FetchOrder {
        let scratch = Scratch::at(dir);
        scratch.open_job(JOB).expect("folders");
        FetchOrder {
            epoch: MasterEpoch(1),
            job: JOB,
            partition: 1,
            address: address.to_owned(),
            attempts: attempts.iter().map(|text| attempt(text)).collect(),
            file: scratch.fetch_file(JOB, attempt("r-1.0"), SessionId(3)),
            progress_timeout: Duration::from_secs(10),
        }
    }

    /// The attempts and bytes of what was fetched.
    fn contents(fetched: &Fetched) -> BTreeMap<String, Vec<u8>> {
        let read = |segment: &LocalSegment| {
            let bytes = std::fs::read(&segment.path).expect("fetched");
            let start = segment.offset as usize;
            (segment.attempt.to_string(), bytes[start..start + segment.bytes as usize].to_vec())
        };
        fetched.segments.iter().map(read).collect()
    }

    fn service(scratch: &Scratch) -> ShuffleService {
        let (_sender, epoch) = watch::channel(Some(MasterEpoch(1)));
        ShuffleService::new(scratch.clone(), epoch)
    }

    #[tokio::test]
    async fn segments_come_as_they_lie_in_the_map_outputs() {
        let (there, here) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let scratch = Scratch::at(there.path());
        scratch.open_job(JOB).expect("folders");
        let large: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
        let outputs: [(&str, [&[u8]; 2]); 3] =
            [("m-0.0", [b"other", b"zero"]), ("m-1.0", [b"other", b""]), ("m-2.1", [b"", &large])];
        for (name, segments) in &outputs {
            hand_made_output(&scratch.map_output(JOB, attempt(name)), segments);
        }
        let damaged = scratch.map_output(JOB, attempt("m-3.0"));
        hand_made_output(&damaged, &[b"a", b"b"]);
        std::fs::write(&damaged, &std::fs::read(&damaged).expect("just written")[..40]).expect("writable");

        let address = serve(service(&scratch)).await;
        let order = order(&address, here.path(), &["m-0.0", "m-1.0", "m-9.0", "m-3.0", "m-2.1"]);
        let fetched = within(fetch(&order)).await.expect("writable");
        let expect = BTreeMap::from([("m-0.0".to_owned(), b"zero".to_vec()), ("m-2.1".to_owned(), large)]);
        assert_eq!(contents(&fetched), expect);
        let lost: Vec<AttemptId> = fetched.lost.iter().map(|(attempt, _)| *attempt).collect();
        assert_eq!(lost, [attempt("m-9.0"), attempt("m-3.0")], "{:?}", fetched.lost);
    }

    #[tokio::test]
    async fn a_worker_that_is_not_there_loses_everything() {
        let here = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        drop(listener);
        let fetched = within(fetch(&order(&address, here.path(), &["m-0.0", "m-1.0"]))).await.expect("writable");
        let lost: Vec<AttemptId> = fetched.lost.iter().map(|(attempt, _)| *attempt).collect();
        assert_eq!((lost, fetched.segments), (vec![attempt("m-0.0"), attempt("m-1.0")], vec![]));
        assert!(fetched.lost[0].1.starts_with("cannot connect: "), "{:?}", fetched.lost);
    }

    #[tokio::test]
    async fn requests_under_an_older_master_and_strange_ids_are_refused() {
        let there = tempfile::tempdir().expect("a folder");
        let (_sender, epoch) = watch::channel(Some(MasterEpoch(5)));
        let service = ShuffleService::new(Scratch::at(there.path()), epoch);
        let status = |epoch, name: &str| {
            let attempts = vec![v1::AttemptId::from(&attempt(name))];
            service.fetch(Request::new(v1::FetchRequest { epoch, job: 1, partition: 0, attempts }))
        };
        let code = |result: Result<_, Status>| result.err().map(|status| status.code());
        assert_eq!(code(status(4, "m-0.0").await.map(drop)), Some(tonic::Code::FailedPrecondition));
        assert_eq!(code(status(5, "r-0.0").await.map(drop)), Some(tonic::Code::InvalidArgument));
        assert_eq!(code(status(5, "m-0.0").await.map(drop)), None);
    }

    /// Answers each request with the next script; the last one repeats.
    struct Scripted(Mutex<Vec<Vec<v1::FetchFrame>>>);

    type Frames = futures::stream::BoxStream<'static, Result<v1::FetchFrame, Status>>;

    #[tonic::async_trait]
    impl Shuffle for Scripted {
        type FetchStream = Frames;

        async fn fetch(&self, _: Request<v1::FetchRequest>) -> Result<Response<Frames>, Status> {
            let mut scripts = self.0.lock().expect("no panic");
            let script = if scripts.len() > 1 { scripts.remove(0) } else { scripts[0].clone() };
            // A script without an end is a worker that falls silent.
            let silent = script.last().is_some_and(|frame| frame.body.is_none());
            let frames = futures::stream::iter(script.into_iter().filter(|frame| frame.body.is_some()).map(Ok));
            let rest = if silent { futures::stream::pending().boxed() } else { futures::stream::empty().boxed() };
            Ok(Response::new(frames.chain(rest).boxed()))
        }
    }

    fn header(name: &str, bytes: u64) -> v1::FetchFrame {
        let header = v1::SegmentHeader { attempt: Some((&attempt(name)).into()), bytes, ..Default::default() };
        v1::FetchFrame { body: Some(v1::fetch_frame::Body::Header(header)) }
    }

    fn data(bytes: &'static [u8]) -> v1::FetchFrame {
        v1::FetchFrame { body: Some(v1::fetch_frame::Body::Data(Bytes::from_static(bytes))) }
    }

    async fn scripted(scripts: Vec<Vec<v1::FetchFrame>>) -> Fetched {
        let here = tempfile::tempdir().expect("a folder");
        let address = serve(Scripted(Mutex::new(scripts))).await;
        let mut order = order(&address, here.path(), &["m-0.0", "m-1.0"]);
        order.progress_timeout = Duration::from_millis(300);
        let fetched = within(fetch(&order)).await.expect("writable");
        let expect = [("m-0.0", b"zero".to_vec()), ("m-1.0", b"one".to_vec())];
        let expect = expect.into_iter().filter(|(name, _)| fetched.segments.iter().any(|s| s.attempt == attempt(name)));
        assert_eq!(contents(&fetched), expect.map(|(name, bytes)| (name.to_owned(), bytes)).collect());
        fetched
    }

    #[tokio::test]
    async fn a_broken_stream_is_taken_up_where_it_broke() {
        let zero = || vec![header("m-0.0", 4), data(b"ze"), data(b"ro")];
        let one = || vec![header("m-1.0", 3), data(b"one")];
        for broken in [vec![], vec![header("m-1.0", 3)], vec![header("m-1.0", 3), data(b"o")]] {
            let fetched = scripted(vec![[zero(), broken].concat(), one()]).await;
            assert_eq!((fetched.segments.len(), fetched.lost.len()), (2, 0), "{fetched:?}");
        }
        let silent = vec![header("m-1.0", 3), v1::FetchFrame { body: None }];
        let fetched = scripted(vec![[zero(), silent].concat(), one()]).await;
        assert_eq!((fetched.segments.len(), fetched.lost.len()), (2, 0), "{fetched:?}");
    }

    #[tokio::test]
    async fn streams_that_break_their_promise_are_not_believed() {
        let check = async |script: Vec<v1::FetchFrame>, what: &str| {
            let fetched = scripted(vec![script]).await;
            let reason = format!("the stream is not as promised: {what}");
            assert_eq!(fetched.lost.last(), Some(&(attempt("m-1.0"), reason)));
        };
        check(vec![header("m-1.0", 3)], "segments out of order").await;
        check(vec![data(b"x")], "bytes without a header").await;
        check(vec![header("m-0.0", 1), data(b"xy")], "a segment longer than its header says").await;
        check(vec![header("m-0.0", 1), data(b"")], "a frame of a size that cannot be").await;
        check(vec![header("m-0.0", 1), header("m-1.0", 1)], "a header inside a segment").await;
    }
}
