//! Fetching from real and from misbehaving services.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::sync::Mutex;

use futures::StreamExt as _;
use gristmill_common::ids::SessionId;
use gristmill_common::tls::Dialer;
use gristmill_common::wire::transport;
use gristmill_common::wire::v1::shuffle_client::ShuffleClient;
use gristmill_common::wire::v1::shuffle_server::{Shuffle, ShuffleServer};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::{Request, Response, Status};

use super::*;
use crate::scratch::Scratch;
use crate::serve::ShuffleService;
use crate::testing::{hand_made_output, hand_made_runs, within};

const JOB: JobId = JobId(7);

fn attempt(text: &str) -> AttemptId {
    text.parse().expect("an attempt")
}

async fn serve<S>(service: S) -> String
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S: NamedService + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    let server = transport::server().add_service(service);
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
        spare: None,
        progress_timeout: Duration::from_secs(10),
        dialer: Dialer::plain(),
    }
}

async fn fetch_all(order: &FetchOrder) -> Fetched {
    within(fetch(order, &CancellationToken::new())).await.expect("writable")
}

fn attempts(reasons: &[(AttemptId, String)]) -> Vec<String> {
    reasons.iter().map(|(attempt, _)| attempt.to_string()).collect()
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
    let fetched = fetch_all(&order).await;
    let expect = BTreeMap::from([("m-0.0".to_owned(), b"zero".to_vec()), ("m-2.1".to_owned(), large)]);
    assert_eq!(contents(&fetched), expect);
    assert_eq!(attempts(&fetched.lost), ["m-9.0", "m-3.0"], "{:?}", fetched.lost);
    assert_eq!(fetched.unreachable, []);
}

#[tokio::test]
async fn the_runs_of_a_segment_come_one_behind_the_other() {
    let (there, here) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let scratch = Scratch::at(there.path());
    scratch.open_job(JOB).expect("folders");
    let runs: [&[u8]; 6] = [b"other", b"one", b"other", b"", b"other", b"three"];
    hand_made_runs(&scratch.map_output(JOB, attempt("m-0.0")), 2, &runs);
    let address = serve(service(&scratch)).await;
    let fetched = fetch_all(&order(&address, here.path(), &["m-0.0"])).await;
    assert_eq!(contents(&fetched), BTreeMap::from([("m-0.0".to_owned(), b"onethree".to_vec())]));
}

#[tokio::test]
async fn of_a_worker_that_is_not_there_nothing_is_known() {
    let here = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let fetched = fetch_all(&order(&address, here.path(), &["m-0.0", "m-1.0"])).await;
    assert_eq!(attempts(&fetched.unreachable), ["m-0.0", "m-1.0"]);
    assert_eq!((fetched.lost, fetched.segments), (vec![], vec![]));
    assert!(fetched.unreachable[0].1.starts_with("cannot connect: "), "{:?}", fetched.unreachable);
}

#[tokio::test]
async fn an_output_that_cannot_be_read_now_is_not_lost() {
    let (there, here) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let scratch = Scratch::at(there.path());
    scratch.open_job(JOB).expect("folders");
    hand_made_output(&scratch.map_output(JOB, attempt("m-0.0")), &[b"other", b"zero"]);
    // It opens, and every read fails.
    std::fs::create_dir(scratch.map_output(JOB, attempt("m-1.0"))).expect("a folder");
    let address = serve(service(&scratch)).await;
    let fetched = fetch_all(&order(&address, here.path(), &["m-0.0", "m-9.0", "m-1.0"])).await;
    assert_eq!(contents(&fetched), BTreeMap::from([("m-0.0".to_owned(), b"zero".to_vec())]));
    assert_eq!((attempts(&fetched.lost), attempts(&fetched.unreachable)), (vec!["m-9.0".into()], vec!["m-1.0".into()]));
}

#[tokio::test]
async fn a_cancelled_fetch_leaves_its_file_to_whoever_removes_it() {
    let here = tempfile::tempdir().expect("a folder");
    let silent = vec![head("m-0.0", 4), data(b"ze"), SILENCE];
    let address = serve(ShuffleServer::new(Scripted(Mutex::new(vec![silent])))).await;
    let order = order(&address, here.path(), &["m-0.0", "m-1.0"]);
    for cancelled_before in [true, false] {
        let cancel = CancellationToken::new();
        let watch = async {
            while !cancelled_before && std::fs::metadata(&order.file).map_or(0, |file| file.len()) < 2 {
                tokio::task::yield_now().await;
            }
            cancel.cancel();
        };
        let ((), fetched) = within(async { tokio::join!(biased; watch, fetch(&order, &cancel)) }).await;
        assert_eq!(fetched.expect("writable"), Fetched::default());
        std::fs::remove_file(&order.file).expect("there by now, and not made later");
    }
}

#[tokio::test]
async fn requests_under_an_older_master_and_strange_ids_are_refused() {
    let there = tempfile::tempdir().expect("a folder");
    let (_sender, epoch) = watch::channel(Some(MasterEpoch(5)));
    let address = serve(ShuffleService::new(Scratch::at(there.path()), epoch)).await;
    // The generated client, so that the protocol is the one that everyone speaks.
    let channel = transport::endpoint(&address).expect("a URL").connect().await.expect("served");
    let code = async |epoch, name: &str| {
        let attempts = vec![v1::AttemptId::from(&attempt(name))];
        let request = v1::FetchRequest { epoch, job: 1, partition: 0, attempts };
        let answer = ShuffleClient::new(channel.clone()).fetch(request).await;
        answer.err().map(|status| status.code())
    };
    assert_eq!(code(4, "m-0.0").await, Some(tonic::Code::FailedPrecondition));
    assert_eq!(code(5, "r-0.0").await, Some(tonic::Code::InvalidArgument));
    assert_eq!(code(5, "m-0.0").await, None);
}

#[tokio::test]
async fn generated_clients_understand_the_service() {
    let there = tempfile::tempdir().expect("a folder");
    let scratch = Scratch::at(there.path());
    scratch.open_job(JOB).expect("folders");
    let large: Vec<u8> = (0..600_000_u32).map(|n| n as u8).collect();
    hand_made_output(&scratch.map_output(JOB, attempt("m-0.0")), &[&large]);
    let address = serve(service(&scratch)).await;
    let channel = transport::endpoint(&address).expect("a URL").connect().await.expect("served");
    let attempts = vec![v1::AttemptId::from(&attempt("m-0.0"))];
    let request = v1::FetchRequest { epoch: 1, job: JOB.0, partition: 0, attempts };
    let mut stream = ShuffleClient::new(channel).fetch(request).await.expect("accepted").into_inner();
    assert_eq!(stream.message().await.expect("whole"), Some(header(0, "m-0.0", 600_000)));
    let mut seen = Vec::new();
    while let Some(frame) = stream.message().await.expect("an orderly end") {
        let Some(v1::fetch_frame::Body::Data(data)) = frame.body else { panic!("a second header") };
        seen.extend_from_slice(&data);
    }
    assert_eq!(seen, large);
}

#[tokio::test]
async fn a_bit_that_is_flipped_in_a_request_never_gives_another_segment() {
    let there = tempfile::tempdir().expect("a folder");
    let scratch = Scratch::at(there.path());
    for (job, content) in [(JOB, "asked"), (JobId(JOB.0 ^ 1), "other")] {
        scratch.open_job(job).expect("folders");
        for name in ["m-2.0", "m-3.0", "m-2.1"] {
            let segments = [0, 1, 2, 3].map(|partition| format!("{content} {name} {partition}").into_bytes());
            hand_made_output(&scratch.map_output(job, attempt(name)), &segments.each_ref().map(Vec::as_slice));
        }
    }
    let address = serve(service(&scratch)).await;
    let channel = transport::endpoint(&address).expect("a URL").connect().await.expect("served");
    let attempts = vec![v1::AttemptId::from(&attempt("m-2.0"))];
    let asked = v1::FetchRequest { epoch: 1, job: JOB.0, partition: 1, attempts };
    let sent = asked.encode_to_vec();
    let (mut taken, mut refused) = (0, 0);
    for bit in 0..sent.len() * 8 {
        let mut flipped = sent.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(request) = v1::FetchRequest::decode(flipped.as_slice()) else { continue };
        let Ok(answer) = ShuffleClient::new(channel.clone()).fetch(request).await else { continue };
        let frames: Vec<Step> = within(answer.into_inner().collect()).await;
        let mut bodies = frames.into_iter().filter_map(|frame| frame.ok()?.body);
        let Some(v1::fetch_frame::Body::Header(header)) = bodies.next() else { continue };
        let answers =
            rpc::sealed(JOB, 1, header.clone()) == header && header.attempt.as_ref() == asked.attempts.first();
        if answers && !header.missing {
            let data = bodies.next();
            let expect = Bytes::from_static(b"asked m-2.0 1");
            assert_eq!(data, Some(v1::fetch_frame::Body::Data(expect)), "bit {bit}: {header:?}");
        }
        let count = if answers { &mut taken } else { &mut refused };
        *count += u32::from(!header.missing);
    }
    // A later epoch asks for the same; another job, partition or attempt does not.
    assert!(taken > 0 && refused > 4, "{taken} taken, {refused} refused");
}

/// What a stream gives next.
type Step = Result<v1::FetchFrame, Status>;

/// The end of the script of a worker that falls silent.
const SILENCE: Step = Ok(v1::FetchFrame { body: None });

/// Answers each request with the next script; the last one repeats.
struct Scripted(Mutex<Vec<Vec<Step>>>);

type Frames = futures::stream::BoxStream<'static, Result<v1::FetchFrame, Status>>;

#[tonic::async_trait]
impl Shuffle for Scripted {
    type FetchStream = Frames;

    async fn fetch(&self, _: Request<v1::FetchRequest>) -> Result<Response<Frames>, Status> {
        let mut scripts = self.0.lock().expect("no panic");
        let script = if scripts.len() > 1 { scripts.remove(0) } else { scripts[0].clone() };
        let is_silence = |step: &Step| step.as_ref().is_ok_and(|frame| frame.body.is_none());
        let silent = script.last().is_some_and(is_silence);
        let frames = futures::stream::iter(script.into_iter().filter(move |step| !is_silence(step)));
        let rest = if silent { futures::stream::pending().boxed() } else { futures::stream::empty().boxed() };
        Ok(Response::new(frames.chain(rest).boxed()))
    }
}

fn header(partition: u32, name: &str, bytes: u64) -> v1::FetchFrame {
    let header = v1::SegmentHeader { attempt: Some((&attempt(name)).into()), bytes, ..Default::default() };
    let header = rpc::sealed(JOB, partition, header);
    v1::FetchFrame { body: Some(v1::fetch_frame::Body::Header(header)) }
}

fn head(name: &str, bytes: u64) -> Step {
    Ok(header(1, name, bytes))
}

fn data(bytes: &'static [u8]) -> Step {
    Ok(v1::FetchFrame { body: Some(v1::fetch_frame::Body::Data(Bytes::from_static(bytes))) })
}

async fn scripted(scripts: Vec<Vec<Step>>) -> Fetched {
    let here = tempfile::tempdir().expect("a folder");
    let address = serve(ShuffleServer::new(Scripted(Mutex::new(scripts)))).await;
    let mut order = order(&address, here.path(), &["m-0.0", "m-1.0"]);
    order.progress_timeout = Duration::from_millis(300);
    let fetched = fetch_all(&order).await;
    let expect = [("m-0.0", b"zero".to_vec()), ("m-1.0", b"one".to_vec())];
    let expect = expect.into_iter().filter(|(name, _)| fetched.segments.iter().any(|s| s.attempt == attempt(name)));
    assert_eq!(contents(&fetched), expect.map(|(name, bytes)| (name.to_owned(), bytes)).collect());
    fetched
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_where_it_broke() {
    let zero = || vec![head("m-0.0", 4), data(b"ze"), data(b"ro")];
    let one = || vec![head("m-1.0", 3), data(b"one")];
    for broken in [vec![], vec![head("m-1.0", 3)], vec![head("m-1.0", 3), data(b"o")]] {
        let fetched = scripted(vec![[zero(), broken].concat(), one()]).await;
        assert_eq!((fetched.segments.len(), fetched.unreachable.len()), (2, 0), "{fetched:?}");
    }
    let silent = vec![head("m-1.0", 3), SILENCE];
    let fetched = scripted(vec![[zero(), silent].concat(), one()]).await;
    assert_eq!((fetched.segments.len(), fetched.unreachable.len()), (2, 0), "{fetched:?}");
}

#[tokio::test]
async fn a_segment_that_its_holder_cannot_read_is_lost_alone() {
    let unreadable = vec![head("m-0.0", 4), data(b"ze"), Err(Status::data_loss("cannot read"))];
    let fetched = scripted(vec![unreadable, vec![head("m-1.0", 3), data(b"one")]]).await;
    assert_eq!(fetched.lost, [(attempt("m-0.0"), "cannot read".to_owned())]);
    assert_eq!((fetched.segments.len(), fetched.unreachable.len()), (1, 0));
}

#[tokio::test]
async fn streams_that_break_their_promise_are_not_believed() {
    let check = async |script: Vec<Step>, what: &str| {
        let fetched = scripted(vec![script]).await;
        let reason = format!("the stream is not as promised: {what}");
        assert_eq!(fetched.unreachable.last(), Some(&(attempt("m-1.0"), reason)));
    };
    check(vec![head("m-1.0", 3)], "segments out of order").await;
    check(vec![data(b"x")], "bytes without a header").await;
    check(vec![Ok(header(2, "m-0.0", 1)), data(b"x")], "a header that does not answer the request").await;
    check(vec![head("m-0.0", 1), data(b"xy")], "a segment longer than its header says").await;
    check(vec![head("m-0.0", 1), data(b"")], "a frame of a size that cannot be").await;
    check(vec![head("m-0.0", 1), head("m-1.0", 1)], "a header inside a segment").await;
}
