//! A whole master over real sockets, with a client and with workers that are played.

mod certificates;
mod files;
mod restart;

use std::fs::{self, File};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::{JobAttempt, JobId};
use gristmill_common::naming::{Uri, staged_part_name};
use gristmill_common::spec::{JobShape, JobSpec};
use gristmill_common::storage::{Stores, content_of};
use gristmill_common::task::{AttemptOutput, AttemptReport, AttemptStats, MapOutputSummary, PartSummary, TaskInput};
use gristmill_common::tls::Credentials;
use gristmill_common::wire::v1::control_client::ControlClient;
use gristmill_common::wire::v1::master_message::Body as ToWorker;
use gristmill_common::wire::v1::worker_message::Body as FromWorker;
use gristmill_common::wire::{WIRE_VERSION, transport, v1};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{MasterConfig, MasterError, run_master};
use crate::client::{ClientError, JobWatch, JobsClient, WatchUpdate};
use crate::runtime::{JobStatus, OpenJobs, Submission};
use crate::scheduler::{JobState, SchedulerConfig};

/// The binary of jobs: this very program's, which a master needs not be sent.
fn binary() -> String {
    static ID: OnceLock<String> = OnceLock::new();
    let id = || {
        let own = std::env::current_exe().and_then(File::open).expect("this test's own file");
        content_of(own).expect("readable").0.to_string()
    };
    ID.get_or_init(id).clone()
}

/// Longer than anything here takes, on a machine however busy.
const PATIENCE: Duration = Duration::from_secs(60);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// A master in this process, on a free port, with a folder for inputs and outputs.
struct Cluster {
    dir: tempfile::TempDir,
    url: String,
    epoch: u64,
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), MasterError>>,
    process: Process,
}

fn folder_with_input() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("scratch");
    fs::create_dir(dir.path().join("in")).expect("created");
    fs::write(dir.path().join("in/a.txt"), "one\ntwo\n").expect("written");
    dir
}

/// What stands for the process of a master: all its tasks end with it, wherever they are.
struct Process(Option<Runtime>);

impl Process {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self(Some(runtime.expect("threads are to be had")))
    }

    fn runtime(&self) -> &Runtime {
        self.0.as_ref().expect("it ends when it is dropped")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Cluster {
    async fn start() -> Self {
        Self::start_in(folder_with_input(), "127.0.0.1:0").await.map_err(|(_, error)| error).expect("it serves")
    }

    /// Starts a master on a folder that another one may have used, and on its address. Told to end, it
    /// keeps its jobs.
    async fn start_in(dir: tempfile::TempDir, listen: &str) -> Result<Self, (tempfile::TempDir, MasterError)> {
        Self::start_with(dir, listen, OpenJobs::Keep).await
    }

    async fn start_with(
        dir: tempfile::TempDir,
        listen: &str,
        open_jobs: OpenJobs,
    ) -> Result<Self, (tempfile::TempDir, MasterError)> {
        Self::start_certified(dir, listen, open_jobs, None).await
    }

    async fn start_certified(
        dir: tempfile::TempDir,
        listen: &str,
        open_jobs: OpenJobs,
        credentials: Option<Arc<Credentials>>,
    ) -> Result<Self, (tempfile::TempDir, MasterError)> {
        let scheduler = SchedulerConfig { lease: PATIENCE, resume_grace: PATIENCE, ..SchedulerConfig::default() };
        let listen = listen.parse().expect("an address");
        let state = dir.path().join("state");
        let config = MasterConfig {
            listen,
            state,
            insecure_listen: false,
            credentials,
            scheduler,
            open_jobs,
            stores: Stores::without_environment(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, ready) = oneshot::channel();
        let run = run_master(
            config,
            async {
                let _stopped_or_dropped = stopped.await;
            },
            |ready| tell.send(ready).expect("the test waits"),
        );
        let process = Process::start();
        let task = process.runtime().spawn(run);
        match soon("the master", ready).await {
            Ok(ready) => Ok(Self { dir, url: ready.url, epoch: ready.epoch.0, stop, task, process }),
            Err(_ended) => Err((dir, task.await.expect("no panic").expect_err("it did not serve"))),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Names in the folder that holds input and output.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path()).expect("it exists");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn submission(&self, key: &str, shape: JobShape) -> Submission {
        let uri = |name: &str| Uri::from_path(&self.path(name));
        let spec = JobSpec::new("copy", shape, vec![uri("in")], uri("out"));
        Submission { key: key.to_owned(), spec, binary_sha256: binary() }
    }

    async fn client(&self) -> JobsClient {
        soon("the connection", JobsClient::connect(&self.url, PATIENCE)).await.expect("it serves")
    }

    async fn stop(self) -> tempfile::TempDir {
        self.stop.send(()).expect("it still runs");
        soon("the end", self.task).await.expect("no panic").expect("in order");
        drop(self.process);
        self.dir
    }
}

/// A worker that does what the test says.
struct PlayedWorker {
    epoch: u64,
    session: u64,
    to_master: mpsc::Sender<v1::WorkerMessage>,
    from_master: Streaming<v1::MasterMessage>,
}

impl PlayedWorker {
    async fn open(cluster: &Cluster, epoch: u64, session: u64, first: FromWorker) -> Self {
        let channel = transport::endpoint(&cluster.url).expect("a URL").connect().await.expect("it serves");
        let (to_master, messages) = mpsc::channel(64);
        to_master.send(v1::WorkerMessage { epoch, session, body: Some(first) }).await.expect("room");
        let stream = soon("the stream", ControlClient::new(channel).session(ReceiverStream::new(messages))).await;
        Self { epoch, session, to_master, from_master: stream.expect("it serves").into_inner() }
    }

    async fn register(cluster: &Cluster) -> Self {
        let mut worker = Self::open(cluster, 0, 0, FromWorker::Register(registration())).await;
        let message = worker.message().await.expect("an answer");
        let Some(ToWorker::Registered(registered)) = message.body else { panic!("{message:?}") };
        assert_eq!((registered.worker, registered.heartbeat_ms), (1, 1000));
        (worker.epoch, worker.session) = (message.epoch, message.session);
        worker
    }

    async fn message(&mut self) -> Option<v1::MasterMessage> {
        soon("a message to the worker", self.from_master.message()).await.expect("the connection holds")
    }

    async fn order(&mut self) -> ToWorker {
        self.message().await.expect("the stream is open").body.expect("a body")
    }

    async fn say(&self, body: FromWorker) {
        let message = v1::WorkerMessage { epoch: self.epoch, session: self.session, body: Some(body) };
        self.to_master.send(message).await.expect("the connection holds");
    }

    /// Takes the first attempt of a job: its staging folder, its id and its input.
    async fn take_first(&mut self) -> (PathBuf, JobAttempt, TaskInput) {
        let open = self.order().await;
        let ToWorker::OpenJob(open) = open else { panic!("{open:?}") };
        let spec = JobSpec::try_from(open.spec.expect("a spec")).expect("valid");
        assert_eq!((open.binary_sha256, spec.fsync), (binary(), true));
        let (id, input) = self.take().await;
        assert_eq!(id.job, JobId(open.job));
        (PathBuf::from(open.staging), id, input)
    }

    async fn take(&mut self) -> (JobAttempt, TaskInput) {
        let order = self.order().await;
        let ToWorker::Start(start) = order else { panic!("{order:?}") };
        let id = start.id.expect("an id").try_into().expect("valid");
        (id, start.input.expect("an input").try_into().expect("valid"))
    }

    async fn finish(&self, id: JobAttempt, output: AttemptOutput) {
        let counters = [("records", 2)].into_iter().collect();
        let report = AttemptReport { output, counters, stats: AttemptStats::default(), bad: None };
        let (id, report) = (Some((&id).into()), Some((&report).into()));
        self.say(FromWorker::Started(v1::AttemptStarted { id })).await;
        self.say(FromWorker::Finished(v1::AttemptFinished { id, report })).await;
    }
}

fn registration() -> v1::Register {
    v1::Register {
        worker_key: "played".into(),
        wire_version: WIRE_VERSION,
        version: "0".into(),
        binary_sha256: binary(),
        slots: 1,
        address: "http://127.0.0.1:9".into(),
        machine: "here".into(),
        scratch: "/scratch".into(),
        offers: Vec::new(),
    }
}

fn map_output() -> AttemptOutput {
    AttemptOutput::MapOutput(MapOutputSummary { partitions: 1, bytes: 10, content_hash: 3 })
}

fn stage_part(staging: &Path, id: JobAttempt, text: &str) -> AttemptOutput {
    let staged_name = staged_part_name(id.attempt.task.index, id.attempt);
    fs::write(staging.join(&staged_name), text).expect("the staging folder exists");
    let named = Box::default();
    AttemptOutput::Part(PartSummary {
        staged_name,
        bytes: text.len() as u64,
        records: 2,
        checksum: 7,
        named,
        upload: None,
        left_out: false,
    })
}

async fn status(watch: &mut JobWatch) -> JobStatus {
    match soon("a status", watch.next()).await.expect("it is served") {
        Some(WatchUpdate::Status(status)) => *status,
        other => panic!("{other:?}"),
    }
}

async fn last_status(watch: &mut JobWatch) -> JobStatus {
    loop {
        let status = status(watch).await;
        if status.view.state.is_terminal() {
            assert_eq!(soon("the end", watch.next()).await, Ok(None));
            return status;
        }
    }
}

#[tokio::test]
async fn a_job_runs_to_its_published_output() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let mut worker = PlayedWorker::register(&cluster).await;
    let accepted = client.submit(&cluster.submission("key", JobShape::MapReduce)).await.expect("accepted");
    let mut watch = client.watch(accepted.job);

    let (staging, map, input) = worker.take_first().await;
    let TaskInput::Map { split, partitions: 1, .. } = input else { panic!("{input:?}") };
    assert_eq!((split.bytes(), split.pieces.len()), (8, 1));
    assert_eq!(status(&mut watch).await.view.state, JobState::Running);
    worker.finish(map, map_output()).await;
    let (reduce, input) = worker.take().await;
    let TaskInput::Reduce { sources } = input else { panic!("{input:?}") };
    assert_eq!((sources.len(), sources[0].attempts.as_slice()), (1, [map.attempt].as_slice()));
    assert_eq!((sources[0].address.as_str(), sources[0].session.0), ("http://127.0.0.1:9", worker.session));
    worker.finish(reduce, stage_part(&staging, reduce, "one\ntwo\n")).await;
    assert!(matches!(worker.order().await, ToWorker::Release(release) if release.job == accepted.job.0));

    let status = last_status(&mut watch).await;
    assert_eq!((status.view.state, status.view.failure), (JobState::Succeeded, None));
    assert_eq!((status.name.as_str(), status.view.counters.get("records")), ("copy", 4));
    assert!(status.finished.is_some_and(|finished| finished >= status.submitted));
    assert_eq!(fs::read_to_string(cluster.path("out/part-00000")).expect("published"), "one\ntwo\n");
    let manifest = fs::read_to_string(cluster.path("out/_SUCCESS")).expect("published");
    assert!(manifest.contains(&accepted.job.to_string()), "{manifest}");
    assert_eq!(cluster.names(), ["in", "out", "state"]);
    assert_eq!(client.list().await.expect("served"), [client.status(accepted.job).await.expect("known")]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_job_without_input_needs_no_worker() {
    let cluster = Cluster::start().await;
    fs::write(cluster.path("in/a.txt"), "").expect("written");
    let client = cluster.client().await;
    let accepted = client.submit(&cluster.submission("key", JobShape::MapOnly)).await.expect("accepted");
    let status = last_status(&mut client.watch(accepted.job)).await;
    assert_eq!(status.view.state, JobState::Succeeded);
    assert!(cluster.path("out/_SUCCESS").exists());
    cluster.stop().await;
}

#[tokio::test]
async fn a_cancelled_job_leaves_nothing() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let mut worker = PlayedWorker::register(&cluster).await;
    let accepted = client.submit(&cluster.submission("key", JobShape::MapOnly)).await.expect("accepted");
    let (staging, map, _) = worker.take_first().await;
    stage_part(&staging, map, "half");
    let mut watch = client.watch(accepted.job);
    status(&mut watch).await;
    assert_eq!(client.cancel(accepted.job).await.expect("known").view.state, JobState::Cancelled);
    assert_eq!(last_status(&mut watch).await.view.state, JobState::Cancelled);
    assert_eq!(cluster.names(), ["in", "state"]);
    assert!(matches!(worker.order().await, ToWorker::Cancel(cancel) if cancel.id == Some((&map).into())));
    assert!(matches!(worker.order().await, ToWorker::Release(_)));
    worker.finish(map, AttemptOutput::MapOutput(MapOutputSummary::default())).await;
    assert!(matches!(worker.order().await, ToWorker::Discard(discard) if discard.id == Some((&map).into())));
    cluster.stop().await;
}

#[tokio::test]
async fn a_failed_job_says_why_and_leaves_nothing() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let mut worker = PlayedWorker::register(&cluster).await;
    let accepted = client.submit(&cluster.submission("key", JobShape::MapOnly)).await.expect("accepted");
    let (_, map, _) = worker.take_first().await;
    let failure = Failure::new(FailureCode::InputChanged, "input a.txt changed");
    let (id, failure) = (Some((&map).into()), Some((&failure).into()));
    worker.say(FromWorker::Failed(v1::AttemptFailed { id, failure })).await;
    let status = last_status(&mut client.watch(accepted.job)).await;
    let failure = status.view.failure.expect("it failed");
    assert_eq!((status.view.state, failure.code), (JobState::Failed, FailureCode::InputChanged));
    assert!(failure.message.ends_with("input a.txt changed"), "{failure}");
    assert_eq!(cluster.names(), ["in", "state"]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_part_that_is_not_there_fails_the_commit() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let mut worker = PlayedWorker::register(&cluster).await;
    let accepted = client.submit(&cluster.submission("key", JobShape::MapOnly)).await.expect("accepted");
    let (staging, map, _) = worker.take_first().await;
    let part = stage_part(&staging, map, "text");
    fs::remove_dir_all(&staging).expect("it was there");
    worker.finish(map, part).await;
    let status = last_status(&mut client.watch(accepted.job)).await;
    assert_eq!(status.view.failure.expect("it failed").code, FailureCode::CommitFailed);
    assert_eq!(cluster.names(), ["in", "state"]);
    cluster.stop().await;
}

#[tokio::test]
async fn equal_keys_are_one_job() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let submission = cluster.submission("same", JobShape::MapReduce);
    let (first, second) = tokio::join!(client.submit(&submission), client.submit(&submission));
    let first = first.expect("accepted");
    assert_eq!(second, Ok(first.clone()));
    assert_eq!(client.submit(&submission).await, Ok(first));
    assert_eq!(client.list().await.expect("served").len(), 1);
    let other = client.submit(&cluster.submission("other", JobShape::MapReduce)).await.expect_err("claimed");
    assert!(matches!(&other, ClientError::Rejected { message, hint: Some(_) } if message.contains("is claimed by")));
    cluster.stop().await;
}

#[tokio::test]
async fn refusals_keep_their_kind() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let mut submission = cluster.submission("key", JobShape::MapReduce);
    submission.spec.reducers = Some(0);
    let error = client.submit(&submission).await.expect_err("no reducers");
    let message = "cannot run with 0 reducers (1 to 10000)".to_owned();
    assert_eq!(error, ClientError::Usage { message, hint: None });
    submission.spec.reducers = None;
    submission.spec.inputs = vec![Uri::from_path(&cluster.path("missing"))];
    let error = client.submit(&submission).await.expect_err("no input");
    let message = format!("no such input: {}", cluster.path("missing").display());
    assert_eq!(error, ClientError::Rejected { message, hint: None });
    let error = client.status(JobId(1)).await.expect_err("unknown");
    assert!(matches!(&error, ClientError::NotFound { message, .. } if message == "unknown job j-000000000001"));
    assert!(matches!(client.watch(JobId(1)).next().await, Err(ClientError::NotFound { .. })));
    assert!(matches!(client.cancel(JobId(1)).await, Err(ClientError::NotFound { .. })));
    cluster.stop().await;
}

#[tokio::test]
async fn what_is_stale_is_refused_and_counted() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let mut worker = PlayedWorker::register(&cluster).await;
    client.submit(&cluster.submission("key", JobShape::MapReduce)).await.expect("accepted");
    let (_, map, _) = worker.take_first().await;
    worker.epoch += 1;
    worker.finish(map, map_output()).await;
    worker.epoch -= 1;
    // The right report comes behind the stale ones: when its effect is seen, they were looked at.
    worker.finish(map, map_output()).await;
    worker.take().await;
    let seen = client.workers().await.expect("served");
    assert_eq!((seen.epoch.0, seen.stale_refusals), (cluster.epoch, vec![("epoch".to_owned(), 2)]));
    assert_eq!((seen.workers.len(), seen.workers[0].committed), (1, 1));

    let mut old = PlayedWorker::open(&cluster, 77, worker.session, FromWorker::Resume(v1::Resume {})).await;
    let close = old.order().await;
    assert!(matches!(&close, ToWorker::Close(close) if close.reason == "unknown"), "{close:?}");
    assert_eq!(old.message().await, None);
    let seen = client.workers().await.expect("served");
    assert_eq!(seen.stale_refusals, [("epoch".to_owned(), 3)]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_resumed_session_hears_of_its_attempts_again() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let mut worker = PlayedWorker::register(&cluster).await;
    client.submit(&cluster.submission("key", JobShape::MapReduce)).await.expect("accepted");
    let (_, map, _) = worker.take_first().await;
    let (epoch, session) = (worker.epoch, worker.session);
    drop(worker);
    let mut resumed = PlayedWorker::open(&cluster, epoch, session, FromWorker::Resume(v1::Resume {})).await;
    let welcome = resumed.message().await.expect("an answer");
    assert_eq!((welcome.epoch, welcome.session), (epoch, session));
    assert!(matches!(welcome.body, Some(ToWorker::Registered(_))), "{welcome:?}");
    assert_eq!(resumed.take_first().await.1, map);
    cluster.stop().await;
}

#[tokio::test]
async fn a_worker_that_registers_anew_ends_its_old_session() {
    let cluster = Cluster::start().await;
    let mut old = PlayedWorker::register(&cluster).await;
    let mut new = PlayedWorker::register(&cluster).await;
    assert!(matches!(old.order().await, ToWorker::Close(close) if close.reason == "superseded"));
    assert_eq!(old.message().await, None);
    assert_ne!(new.session, old.session);
    new.say(FromWorker::Leave(v1::Leave {})).await;
    assert!(matches!(new.order().await, ToWorker::Close(close) if close.reason == "left"));
    cluster.stop().await;
}

#[tokio::test]
async fn strangers_are_sent_away_with_a_reason() {
    let cluster = Cluster::start().await;
    let register = v1::Register { wire_version: WIRE_VERSION + 1, ..registration() };
    let mut stranger = PlayedWorker::open(&cluster, 0, 0, FromWorker::Register(register)).await;
    let close = stranger.order().await;
    let ToWorker::Close(close) = close else { panic!("{close:?}") };
    assert_eq!(close.reason, "incompatible");
    assert!(close.message.contains(&format!("wire version {WIRE_VERSION}")), "{}", close.message);
    assert_eq!(stranger.message().await, None);

    let mut worker = PlayedWorker::register(&cluster).await;
    worker.say(FromWorker::Started(v1::AttemptStarted { id: None })).await;
    let close = worker.order().await;
    assert!(matches!(&close, ToWorker::Close(close) if close.reason == "incompatible"), "{close:?}");
    cluster.stop().await;
}

#[tokio::test]
async fn a_master_without_a_future_undoes_its_jobs_when_it_stops_and_ends_all_streams() {
    let started = Cluster::start_with(folder_with_input(), "127.0.0.1:0", OpenJobs::Cancel).await;
    let cluster = started.map_err(|(_, error)| error).expect("it serves");
    let client = cluster.client().await;
    let mut worker = PlayedWorker::register(&cluster).await;
    let accepted = client.submit(&cluster.submission("key", JobShape::MapReduce)).await.expect("accepted");
    let mut watch = client.watch(accepted.job);
    status(&mut watch).await;
    worker.take_first().await;
    assert_eq!(cluster.names(), [".out.gristmill", "in", "state"]);
    let (dir, ended) = tokio::join!(cluster.stop(), async {
        loop {
            match soon("the end of the job", watch.next()).await {
                Ok(Some(WatchUpdate::Status(status))) if status.view.state.is_terminal() => return true,
                Ok(Some(WatchUpdate::Status(_))) => {}
                other => panic!("{other:?}"),
            }
        }
    });
    assert!(ended);
    let entries = fs::read_dir(dir.path()).expect("it exists").map(|entry| entry.expect("readable").file_name());
    let mut names: Vec<_> = entries.collect();
    names.sort();
    assert_eq!(names, ["in", "state"]);
    let error = JobsClient::connect(watch_url(&client), PATIENCE).await.expect_err("nobody listens");
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
}

fn watch_url(client: &JobsClient) -> &str {
    client.url()
}

/// Passes connections on to a master, until they are cut.
struct Wire {
    url: String,
    listener: TcpListener,
    master: String,
}

impl Wire {
    async fn to(cluster: &Cluster) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let master = cluster.url.trim_start_matches("http://").to_owned();
        Self { url, listener, master }
    }

    /// Passes on until the future is dropped, which cuts every connection.
    async fn pass_on(&self) {
        let mut connections = JoinSet::new();
        loop {
            let (mut near, _) = self.listener.accept().await.expect("it listens");
            let master = self.master.clone();
            connections.spawn(async move {
                let mut far = TcpStream::connect(master).await.expect("it serves");
                let _cut = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    }
}

#[tokio::test]
async fn watchers_and_submitters_survive_a_cut_connection() {
    let cluster = Cluster::start().await;
    let wire = Wire::to(&cluster).await;
    let submission = cluster.submission("key", JobShape::MapReduce);
    let (client, mut watch, accepted) = {
        let before = async {
            let client = JobsClient::connect(&wire.url, PATIENCE).await.expect("it serves");
            let accepted = client.submit(&submission).await.expect("accepted");
            let mut watch = client.watch(accepted.job);
            status(&mut watch).await;
            (client, watch, accepted)
        };
        tokio::select! {
            () = wire.pass_on() => unreachable!("it passes on for ever"),
            done = before => done,
        }
    };
    let cut = soon("the cut", watch.next()).await.expect("within patience");
    assert!(matches!(cut, Some(WatchUpdate::Disconnected { .. })), "{cut:?}");
    let after = async {
        assert_eq!(client.submit(&submission).await, Ok(accepted.clone()));
        assert_eq!(status(&mut watch).await.view.state, JobState::Queued);
        client.cancel(accepted.job).await.expect("known");
        assert_eq!(last_status(&mut watch).await.view.state, JobState::Cancelled);
    };
    tokio::select! {
        () = wire.pass_on() => unreachable!("it passes on for ever"),
        () = after => {}
    }
    cluster.stop().await;
}

#[tokio::test]
async fn patience_with_a_lost_master_ends() {
    let cluster = Cluster::start().await;
    let client = soon("the connection", JobsClient::connect(&cluster.url, Duration::from_millis(1))).await;
    let client = client.expect("it serves");
    cluster.stop().await;
    let error = soon("the end of patience", client.list()).await.expect_err("nobody listens");
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    let bad = JobsClient::connect("localhost", PATIENCE).await.expect_err("no URL");
    assert_eq!(bad.to_string(), "\"localhost\" is not the URL of a master such as http://127.0.0.1:7420");
}
