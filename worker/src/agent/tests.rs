//! The agent against a master of paper: real sockets, real executor processes, fake jobs.

mod offers;

use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use gristmill_common::failure::{Disposition, Failure, FailureCode};
use gristmill_common::ids::{JobAttempt, JobId, SessionId};
use gristmill_common::naming::staged_part_name;
use gristmill_common::size::ByteSize;
use gristmill_common::spec::JobSpec;
use gristmill_common::task::{InputObject, Piece, SegmentSource, Split, TaskInput};
use gristmill_common::wire::v1::control_server::{Control, ControlServer};
use gristmill_common::wire::v1::master_message::Body as Say;
use gristmill_common::wire::v1::worker_message::Body as Hear;
use gristmill_common::wire::{transport, v1};
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::fs::FileTypeExt as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

mod misbehaving;
mod named;

use super::config::tests::config;
use super::{ExecutorTerms, WorkerConfig, WorkerError, own_binary, run_with_executors};
use crate::executor::run_child;
use crate::testing::{FakeJobs, fake_report, fake_spec, hand_made_output, within};

const JOB: JobId = JobId(0x68ff_1a2b_3c4d);
/// The epoch of masters, unless a session says otherwise.
const EPOCH: u64 = 3;

/// What the executors of these tests run: their standard input is a socket. Nothing when it is run
/// as a test.
#[test]
fn be_an_executor() {
    let stdin = std::fs::metadata("/proc/self/fd/0");
    if std::env::args().any(|arg| arg == "--exact") && stdin.is_ok_and(|file| file.file_type().is_socket()) {
        let _ = run_child(&FakeJobs { socket: std::io::stdin().as_fd().try_clone_to_owned().ok() }, None);
    }
}

type Answers = mpsc::Sender<Result<v1::MasterMessage, Status>>;

struct PaperMaster {
    streams: mpsc::Sender<(Streaming<v1::WorkerMessage>, Answers)>,
}

#[tonic::async_trait]
impl Control for PaperMaster {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<v1::MasterMessage, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<v1::WorkerMessage>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (answers, stream) = mpsc::channel(64);
        self.streams.send((request.into_inner(), answers)).await.map_err(|_| Status::unavailable("over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// A worker and the master it serves.
struct Stage {
    dir: tempfile::TempDir,
    streams: mpsc::Receiver<(Streaming<v1::WorkerMessage>, Answers)>,
    stop: Option<oneshot::Sender<()>>,
    worker: tokio::task::JoinHandle<Result<(), WorkerError>>,
}

impl Stage {
    async fn set(change: impl FnOnce(&mut WorkerConfig)) -> Self {
        Self::set_with(Duration::from_secs(30), change).await
    }

    async fn set_with(cancel_grace: Duration, change: impl FnOnce(&mut WorkerConfig)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let (sender, streams) = mpsc::channel(8);
        let server = transport::server().add_service(ControlServer::new(PaperMaster { streams: sender }));
        tokio::spawn(server.serve_with_incoming(transport::incoming(listener)));
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("staging")).expect("a folder");
        let mut config = config(&url, dir.path().join("w"));
        change(&mut config);
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = run_with_executors(config, terms(cancel_grace), async {
            let _ = stopped.await;
        });
        Self { dir, streams, stop: Some(stop), worker: tokio::spawn(worker) }
    }

    /// The worker's next stream, and its first message.
    async fn stream(&mut self) -> (Session, Hear) {
        let (incoming, answers) = within(self.streams.recv()).await.expect("the server runs");
        let mut session = Session { incoming, answers, epoch: EPOCH, id: 0 };
        let message = within(session.incoming.message()).await.expect("a stream").expect("a message");
        session.id = message.session;
        (session, message.body.expect("a meaning"))
    }

    /// Lets the worker register under this session.
    async fn register(&mut self, id: u64) -> (Session, v1::Register) {
        self.register_in(EPOCH, id).await
    }

    async fn register_in(&mut self, epoch: u64, id: u64) -> (Session, v1::Register) {
        let (mut session, first) = self.stream().await;
        let Hear::Register(register) = first else { panic!("{first:?}") };
        (session.epoch, session.id) = (epoch, id);
        session.welcome().await;
        (session, register)
    }

    fn scratch(&self) -> PathBuf {
        self.dir.path().join("w/scratch")
    }

    fn output(&self, attempt: &str) -> PathBuf {
        self.scratch().join(JOB.to_string()).join(format!("{attempt}.out"))
    }

    fn log(&self, attempt: &str) -> PathBuf {
        self.dir.path().join("w/logs").join(JOB.to_string()).join(format!("{attempt}.log"))
    }

    fn staging(&self) -> PathBuf {
        self.dir.path().join("staging")
    }

    async fn open(&self, session: &Session, spec: &JobSpec) {
        let binary_sha256 = own_binary().expect("this test").to_string();
        let staging = self.staging().to_string_lossy().into_owned();
        session.say(Say::OpenJob(v1::OpenJob { job: JOB.0, spec: Some(spec.into()), binary_sha256, staging })).await;
    }

    /// Stops the worker; `session` hears it leave.
    async fn stop(mut self, mut session: Session) -> tempfile::TempDir {
        self.stop.take().expect("stopped once").send(()).expect("the worker runs");
        let last = session.hear().await;
        assert!(matches!(last, Hear::Leave(_)), "{last:?}");
        session.say(close("left")).await;
        within(self.worker).await.expect("no panic").expect("an orderly end");
        assert_eq!(fs::read_dir(self.dir.path().join("w/scratch")).expect("a folder").count(), 0);
        self.dir
    }
}

fn terms(cancel_grace: Duration) -> ExecutorTerms {
    let args = ["--exact", "agent::tests::be_an_executor", "--nocapture", "--test-threads", "1"];
    ExecutorTerms { args: args.map(Into::into).to_vec(), cancel_grace }
}

/// The master's end of one stream.
struct Session {
    incoming: Streaming<v1::WorkerMessage>,
    answers: Answers,
    epoch: u64,
    id: u64,
}

impl Session {
    /// Answers the first message, and waits until the worker knows its session.
    async fn welcome(&mut self) {
        self.say(Say::Registered(v1::Registered { worker: 1, heartbeat_ms: 20, lease_ms: 5000 })).await;
        let message = within(self.incoming.message()).await.expect("a stream").expect("a message");
        assert!(matches!(message.body, Some(Hear::Heartbeat(_))), "{message:?}");
    }

    async fn say(&self, body: Say) {
        let message = v1::MasterMessage { epoch: self.epoch, session: self.id, body: Some(body) };
        within(self.answers.send(Ok(message))).await.expect("the worker listens");
    }

    /// The next message that is no heartbeat.
    async fn hear(&mut self) -> Hear {
        within(self.hear_at_last()).await
    }

    async fn hear_at_last(&mut self) -> Hear {
        loop {
            let message = self.incoming.message().await.expect("a stream").expect("a message");
            assert_eq!((message.epoch, message.session), (self.epoch, self.id));
            match message.body.expect("a meaning") {
                Hear::Heartbeat(_) => {}
                body => return body,
            }
        }
    }

    async fn start(&self, attempt: &str) {
        self.start_with(attempt, &TaskInput::Map { split: split(), partitions: 1, skip: Vec::new() }).await;
    }

    async fn start_with(&self, attempt: &str, input: &TaskInput) {
        self.say(Say::Start(v1::StartAttempt { id: Some((&id(attempt)).into()), input: Some(input.into()) })).await;
    }

    async fn started(&mut self, attempt: &str) {
        let heard = self.hear().await;
        assert_eq!(heard, Hear::Started(v1::AttemptStarted { id: Some((&id(attempt)).into()) }));
    }

    async fn finished(&mut self, attempt: &str) {
        let report = Some((&fake_report()).into());
        let heard = self.hear().await;
        assert_eq!(heard, Hear::Finished(v1::AttemptFinished { id: Some((&id(attempt)).into()), report }));
    }

    async fn failed(&mut self, attempt: &str) -> Failure {
        let heard = self.hear().await;
        let Hear::Failed(failed) = heard else { panic!("{heard:?}") };
        assert_eq!(failed.id, Some((&id(attempt)).into()));
        failed.failure.expect("a failure").try_into().expect("a meaning")
    }
}

fn id(attempt: &str) -> JobAttempt {
    JobAttempt { job: JOB, attempt: attempt.parse().expect("an attempt") }
}

fn split() -> Split {
    let uri = "/in/a.txt".parse().expect("a location");
    let object = Arc::new(InputObject { uri, size: 9, modified_micros: None, etag: None, form: None });
    Split { pieces: vec![Piece { object, start: 0, end: 9 }], role: 0 }
}

/// The input of a reduce attempt from what this worker holds.
fn reduce(holder: &v1::Register, attempts: &[&str]) -> TaskInput {
    let source = SegmentSource {
        session: SessionId(1),
        address: holder.address.clone(),
        machine: holder.machine.clone(),
        scratch: holder.scratch.clone(),
        attempts: attempts.iter().map(|attempt| attempt.parse().expect("an attempt")).collect(),
    };
    TaskInput::Reduce { sources: [source].into() }
}

fn close(reason: &str) -> Say {
    Say::Close(v1::CloseSession { reason: reason.to_owned(), message: format!("said {reason}") })
}

fn attempt_body(attempt: &str) -> Option<v1::JobAttempt> {
    Some((&id(attempt)).into())
}

/// Waits until `holds`, not for ever.
async fn until(what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "never: {what}");
}

/// The executor that works in the job's folder under `scratch`.
fn executor_pid(scratch: &Path) -> Option<Pid> {
    let folder = scratch.join(JOB.to_string());
    let folder = fs::canonicalize(folder).ok()?;
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let works_there = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder);
        works_there.then(|| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).flatten()
    })
}

#[tokio::test]
async fn attempts_run_and_what_they_leave_goes_when_told() {
    let mut stage = Stage::set(|_| {}).await;
    let (mut session, register) = stage.register(1).await;
    assert_eq!((register.slots, register.binary_sha256), (2, own_binary().expect("this test").to_string()));
    assert_eq!(Path::new(&register.scratch), fs::canonicalize(stage.scratch()).expect("a folder"));
    stage.open(&session, &fake_spec("print")).await;
    for attempt in ["m-0.0", "m-1.0"] {
        session.start(attempt).await;
        session.started(attempt).await;
        session.finished(attempt).await;
        assert!(stage.output(attempt).exists());
    }
    assert_eq!(fs::read_to_string(stage.log("m-1.0")).expect("a log"), "hello from m-1.0\n");

    session.say(Say::Discard(v1::DiscardOutput { id: attempt_body("m-0.0") })).await;
    until("the output is discarded", || !stage.output("m-0.0").exists()).await;
    assert!(stage.output("m-1.0").exists());
    session.say(Say::Release(v1::ReleaseJob { job: JOB.0 })).await;
    until("the job's scratch is gone", || !stage.scratch().join(JOB.to_string()).exists()).await;
    assert_eq!(executor_pid(&stage.scratch()), None);
    stage.stop(session).await;
}

#[tokio::test]
async fn jobs_that_cannot_run_here_are_refused() {
    let mut stage = Stage::set(|config| config.memory = ByteSize::mib(100)).await;
    let (mut session, _) = stage.register(1).await;
    session.start("m-0.0").await;
    let failure = session.failed("m-0.0").await;
    assert_eq!((failure.code, failure.disposition), (FailureCode::WorkerLost, Disposition::NotCounted));

    stage.open(&session, &fake_spec("fake")).await;
    session.start("m-0.0").await;
    let failure = session.failed("m-0.0").await;
    assert_eq!(failure.disposition, Disposition::Abort);
    let start = "one attempt needs 160 MiB and this worker has 100 MiB for all";
    assert!(failure.message.starts_with(start), "{}", failure.message);

    let spec = Some((&JobSpec { attempt_bytes: ByteSize::mib(16), ..fake_spec("fake") }).into());
    let staging = stage.staging().to_string_lossy().into_owned();
    let other = JobId(9);
    session.say(Say::OpenJob(v1::OpenJob { job: other.0, spec, binary_sha256: "abc".into(), staging })).await;
    let id = Some(v1::JobAttempt { job: other.0, ..attempt_body("m-0.0").expect("some") });
    let input = Some((&TaskInput::Map { split: split(), partitions: 1, skip: Vec::new() }).into());
    session.say(Say::Start(v1::StartAttempt { id, input })).await;
    let Hear::Failed(failed) = session.hear().await else { panic!("no failure") };
    assert_eq!(failed.failure.expect("a failure").code, "WRONG_BINARY");
    stage.stop(session).await;
}

#[tokio::test]
async fn a_worker_whose_disk_is_full_hands_attempts_back() {
    // More than nothing is always in use.
    let mut stage = Stage::set(|config| config.scratch_limit = 0).await;
    let (mut session, _) = stage.register(1).await;
    stage.open(&session, &fake_spec("fake")).await;
    session.start("m-0.0").await;
    let failure = session.failed("m-0.0").await;
    assert_eq!((failure.code, failure.disposition), (FailureCode::ScratchFull, Disposition::NotCounted));
    assert!(failure.message.ends_with(" % full, more than --scratch-limit 0"), "{failure}");
    stage.stop(session).await;
}

#[tokio::test]
async fn a_folder_that_could_not_be_made_is_asked_for_again() {
    let mut stage = Stage::set(|_| {}).await;
    let (mut session, _) = stage.register(1).await;
    let folder = stage.scratch().join(JOB.to_string());
    fs::write(&folder, "").expect("scratch");
    stage.open(&session, &fake_spec("fake")).await;
    session.start("m-0.0").await;
    let failure = session.failed("m-0.0").await;
    assert_eq!(failure.code, FailureCode::WriteFailed);
    assert!(failure.message.starts_with("cannot use scratch folder ") && failure.message.contains(&JOB.to_string()));
    fs::remove_file(&folder).expect("scratch");
    session.start("m-0.1").await;
    session.started("m-0.1").await;
    session.finished("m-0.1").await;
    stage.stop(session).await;
}

#[tokio::test]
async fn a_job_that_cannot_be_built_fails_for_good() {
    let mut stage = Stage::set(|_| {}).await;
    let (mut session, _) = stage.register(1).await;
    stage.open(&session, &fake_spec("missing")).await;
    session.start("m-0.0").await;
    session.started("m-0.0").await;
    let failure = session.failed("m-0.0").await;
    assert_eq!(failure.disposition, Disposition::Abort);
    assert_eq!(failure.message, "cannot build job missing: no such job: missing");
    stage.stop(session).await;
}

#[tokio::test]
async fn an_abort_is_charged_to_its_attempt_and_the_next_executor_serves_on() {
    let mut stage = Stage::set(|_| {}).await;
    let (mut session, _) = stage.register(1).await;
    stage.open(&session, &fake_spec("abort")).await;
    session.start("m-1.0").await;
    session.started("m-1.0").await;
    session.start("m-0.0").await;
    session.started("m-0.0").await;
    // Slots are told in order: the neighbour was there first.
    let neighbour = session.failed("m-1.0").await;
    assert_eq!((neighbour.code, neighbour.disposition), (FailureCode::ExecutorCrash, Disposition::NotCounted));
    let failure = session.failed("m-0.0").await;
    assert_eq!((failure.code, failure.disposition), (FailureCode::ExecutorCrash, Disposition::Retry));
    assert_eq!(failure.to_string(), "executor died: signal 6 (SIGABRT) (at /in/a.txt:1204)");
    let log = fs::read_to_string(stage.log("m-0.0")).expect("a log");
    assert!(log.contains("gristmill: SIGABRT in job abort, task m-0, at /in/a.txt:1204\n"), "{log}");

    session.start("m-2.0").await;
    session.started("m-2.0").await;
    session.say(Say::Cancel(v1::CancelAttempt { id: attempt_body("m-2.0") })).await;
    // A cancelled attempt is not reported, and its slot is free again.
    for attempt in ["m-3.0", "m-4.0"] {
        session.start(attempt).await;
        session.started(attempt).await;
    }
    stage.stop(session).await;
}

#[tokio::test]
async fn suspects_of_a_kill_run_alone() {
    let mut stage = Stage::set(|_| {}).await;
    let (mut session, _) = stage.register(1).await;
    stage.open(&session, &fake_spec("wait")).await;
    // Kills the executor while this attempt is in the middle of its work.
    let kill_in = |attempt: &'static str| {
        let (log, scratch) = (stage.log(attempt), stage.scratch());
        async move {
            let line = format!("{attempt} waits\n");
            until(&line, || fs::read_to_string(&log).is_ok_and(|text| text.contains(&line))).await;
            let pid = executor_pid(&scratch).expect("it works");
            kill_process(pid, Signal::KILL).expect("it is ours");
        }
    };
    for attempt in ["m-0.0", "m-1.0"] {
        session.start(attempt).await;
        session.started(attempt).await;
    }
    kill_in("m-1.0").await;
    for attempt in ["m-0.0", "m-1.0"] {
        let failure = session.failed(attempt).await;
        assert_eq!(failure.disposition, Disposition::NotCounted, "{failure}");
        assert!(failure.message.starts_with("given back to run alone: executor died: signal 9"), "{failure}");
    }
    // One after the other now, although there are two slots.
    session.start("m-0.1").await;
    session.start("m-1.1").await;
    session.started("m-0.1").await;
    kill_in("m-0.1").await;
    let failure = session.failed("m-0.1").await;
    assert_eq!(failure.disposition, Disposition::Retry);
    assert_eq!(failure.position.expect("in hand").to_string(), "/in/a.txt:1204");
    session.started("m-1.1").await;
    stage.stop(session).await;
}

#[tokio::test]
async fn a_cancelled_attempt_that_does_not_stop_costs_its_executor() {
    let mut stage = Stage::set_with(Duration::from_millis(100), |_| {}).await;
    let (mut session, _) = stage.register(1).await;
    stage.open(&session, &fake_spec("hang")).await;
    for attempt in ["m-0.0", "m-1.0"] {
        session.start(attempt).await;
        session.started(attempt).await;
    }
    session.say(Say::Cancel(v1::CancelAttempt { id: attempt_body("m-0.0") })).await;
    let failure = session.failed("m-1.0").await;
    assert_eq!(failure.disposition, Disposition::NotCounted);
    assert_eq!(failure.message, "given back: its executor was ended because m-0.0 did not stop");
    session.start("m-2.0").await;
    session.started("m-2.0").await;
    stage.stop(session).await;
}

#[tokio::test]
async fn a_broken_stream_is_resumed_and_questions_are_answered_again() {
    let mut stage = Stage::set(|_| {}).await;
    let (mut session, _) = stage.register(1).await;
    stage.open(&session, &fake_spec("fake")).await;
    session.start("m-0.0").await;
    session.started("m-0.0").await;
    session.finished("m-0.0").await;
    drop(session);
    let (mut session, first) = stage.stream().await;
    assert_eq!((first, session.id), (Hear::Resume(v1::Resume {}), 1));
    session.welcome().await;
    session.start("m-0.0").await;
    session.finished("m-0.0").await;
    session.start("m-1.0").await;
    session.started("m-1.0").await;
    session.finished("m-1.0").await;
    stage.stop(session).await;
}

#[tokio::test]
async fn a_session_that_cannot_be_resumed_is_replaced() {
    let mut stage = Stage::set(|_| {}).await;
    let (session, _) = stage.register(1).await;
    drop(session);
    let (session, first) = stage.stream().await;
    assert!(matches!(first, Hear::Resume(_)), "{first:?}");
    session.say(close("unknown")).await;
    let (session, _) = stage.register(2).await;
    stage.stop(session).await;
}

#[tokio::test]
async fn segments_reach_a_reduce_attempt_from_disk_and_through_the_network() {
    for network in [false, true] {
        let mut stage = Stage::set(|config| config.shuffle_network = network).await;
        let (mut session, register) = stage.register(1).await;
        stage.open(&session, &fake_spec("fake")).await;
        session.start("m-0.0").await;
        session.started("m-0.0").await;
        session.finished("m-0.0").await;
        for (attempt, bytes) in [("m-0.0", "zero"), ("m-1.2", "one")] {
            hand_made_output(&stage.output(attempt), &[b"", bytes.as_bytes()]);
        }
        session.start_with("r-1.0", &reduce(&register, &["m-1.2", "m-0.0"])).await;
        session.started("r-1.0").await;
        session.finished("r-1.0").await;
        let part = |attempt: &str| stage.staging().join(staged_part_name(1, id(attempt).attempt));
        assert_eq!(fs::read_to_string(part("r-1.0")).expect("a part"), "m-0.0 zero\nm-1.2 one\n");
        let fetched = stage.scratch().join(JOB.to_string()).join("fetch");
        until("fetched segments are gone", || fs::read_dir(&fetched).expect("a folder").count() == 0).await;

        session.start_with("r-1.1", &reduce(&register, &["m-0.0", "m-7.0"])).await;
        let failure = session.failed("r-1.1").await;
        assert_eq!((failure.code, failure.disposition), (FailureCode::MapOutputLost, Disposition::RedoInput));
        assert_eq!(failure.lost_outputs, ["m-7.0".parse().expect("an attempt")]);
        // A session's end leaves staged parts to the master, who alone knows which ones count.
        let dir = stage.stop(session).await;
        assert_eq!(fs::read_dir(dir.path().join("staging")).expect("a folder").count(), 1);
    }
}

#[tokio::test]
async fn parts_are_forced_to_disk_by_the_worker_before_they_are_reported() {
    let mut stage = Stage::set(|_| {}).await;
    let (mut session, _) = stage.register(1).await;
    stage.open(&session, &JobSpec { fsync: true, ..fake_spec("part") }).await;
    let input = TaskInput::Reduce { sources: [].into() };
    session.start_with("r-0.0", &input).await;
    session.started("r-0.0").await;
    let failure = session.failed("r-0.0").await;
    assert_eq!(failure.code, FailureCode::WriteFailed);
    assert!(failure.message.starts_with("a part is not safe: cannot force "), "{}", failure.message);

    session.start_with("r-0.1", &input).await;
    session.started("r-0.1").await;
    let heard = session.hear().await;
    let Hear::Finished(finished) = heard else { panic!("{heard:?}") };
    let Some(v1::attempt_report::Output::Part(part)) = finished.report.expect("a report").output else {
        panic!("a reduce attempt without a part")
    };
    assert_eq!((part.bytes, part.records), (4, 0), "the executor itself forces nothing");
    session.say(close("lost")).await;
    let (session, register) = stage.register(2).await;
    assert_eq!(register.offers, [v1::Offer { id: attempt_body("r-0.1"), content_hash: None }]);
    stage.stop(session).await;
}

#[tokio::test]
async fn without_a_master_a_worker_gives_up() {
    let dir = tempfile::tempdir().expect("a folder");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    drop(listener);
    let mut config = config(&url, dir.path().join("w"));
    config.orphan_timeout = Duration::from_millis(50);
    let run = run_with_executors(config, terms(Duration::ZERO), std::future::pending());
    let error = within(run).await.expect_err("no master").to_string();
    assert!(error.starts_with(&format!("no master answered at {url} for 50ms: ")), "{error}");
}

#[tokio::test]
async fn a_master_that_refuses_ends_the_worker() {
    for (reason, expect) in
        [("incompatible", "refuses this worker: said incompatible"), ("superseded", "another process")]
    {
        let mut stage = Stage::set(|_| {}).await;
        let session = if reason == "superseded" {
            stage.register(1).await.0
        } else {
            let (session, _) = stage.stream().await;
            session
        };
        session.say(close(reason)).await;
        let error = within(stage.worker).await.expect("no panic").expect_err("refused").to_string();
        assert!(error.contains(expect), "{error}");
    }
}
