//! Masters that end at once, and those that come after them on the same folder and address.

use gristmill_common::ids::{AttemptId, MasterEpoch, TaskId, WorkerId};
use gristmill_common::spec::StoreOptions;
use gristmill_common::storage::Stores;
use gristmill_common::task::JobPlan;
use gristmill_common::time::{Clock, WallTime};

use super::*;
use crate::runtime::journal::{AcceptedJob, Change, Journal, JournalError, JournalRecord, MemoryJournal, RedbJournal};
use crate::runtime::output::OutputClaim;
use crate::runtime::{
    MasterHandle, OpenJobs, Recipe, RecoverError, ShippedFiles, list_and_plan, recover, start_driver,
};
use crate::scheduler::Record;

const JOB: JobId = JobId(0x6920_9f00_0001);

impl Cluster {
    /// Ends the master the way `kill -9` does, and starts the next one on its folder and address.
    async fn kill_and_restart(self) -> Self {
        let Self { mut dir, url, epoch, process, .. } = self;
        drop(process);
        let listen = url.trim_start_matches("http://").to_owned();
        let restarted = async {
            // Until the last thread of the old one has let go of port, lock and journal.
            loop {
                match Self::start_in(dir, &listen).await {
                    Ok(cluster) => return cluster,
                    Err((back, _in_use)) => dir = back,
                }
                tokio::task::yield_now().await;
            }
        };
        let restarted = soon("the next master", restarted).await;
        assert!(restarted.epoch > epoch);
        restarted
    }
}

fn offer(id: JobAttempt, content_hash: Option<u64>) -> v1::Offer {
    v1::Offer { id: Some((&id).into()), content_hash }
}

async fn register_with(cluster: &Cluster, offers: Vec<v1::Offer>) -> PlayedWorker {
    let register = v1::Register { offers, ..registration() };
    let mut worker = PlayedWorker::open(cluster, 0, 0, FromWorker::Register(register)).await;
    let message = worker.message().await.expect("an answer");
    let Some(ToWorker::Registered(registered)) = message.body else { panic!("{message:?}") };
    assert_eq!(registered.worker, 1, "it keeps its name");
    (worker.epoch, worker.session) = (message.epoch, message.session);
    worker
}

#[tokio::test]
async fn a_job_goes_on_under_the_next_master_and_what_was_committed_is_not_done_again() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let mut worker = PlayedWorker::register(&cluster).await;
    let submission = cluster.submission("key", JobShape::MapReduce);
    let accepted = client.submit(&submission).await.expect("accepted");
    let mut watch = client.watch(accepted.job);
    let (_, map, _) = worker.take_first().await;
    worker.finish(map, map_output()).await;
    let (reduce, _) = worker.take().await;
    assert_eq!(reduce.attempt.number, 0);

    let cluster = cluster.kill_and_restart().await;
    let mut worker = register_with(&cluster, vec![offer(map, Some(3))]).await;
    let (staging, next, input) = worker.take_first().await;
    let TaskInput::Reduce { sources } = input else { panic!("the map task is done again: {input:?}") };
    assert_eq!((sources[0].attempts.as_slice(), sources[0].session.0), ([map.attempt].as_slice(), worker.session));
    assert!(next.attempt.number >= 1000, "{next}: numbers of another master are not used again");
    worker.finish(next, stage_part(&staging, next, "one\ntwo\n")).await;
    let status = loop {
        match soon("a status", watch.next()).await.expect("it is served again") {
            Some(WatchUpdate::Status(status)) if status.view.state.is_terminal() => break status,
            Some(_) => {}
            None => panic!("the watch ended too early"),
        }
    };
    assert_eq!((status.view.state, status.view.counters.get("records")), (JobState::Succeeded, 4));
    assert_eq!(fs::read_to_string(cluster.path("out/part-00000")).expect("published"), "one\ntwo\n");
    assert_eq!(cluster.names(), ["in", "out", "state"]);

    let cluster = cluster.kill_and_restart().await;
    let client = cluster.client().await;
    assert_eq!(client.list().await.expect("served"), [*status.clone()], "what is shown outlives masters");
    assert_eq!(client.submit(&submission).await, Ok(accepted), "and so do the keys of submissions");
    assert_eq!(last_status(&mut client.watch(status.view.job)).await, *status);
    cluster.stop().await;
}

#[tokio::test]
async fn what_a_job_is_made_of_is_kept_when_it_is_over_and_under_the_next_master() {
    let mut cluster = Cluster::start().await;
    let client = cluster.client().await;
    let submission = cluster.submission("key", JobShape::MapReduce);
    let job = client.submit(&submission).await.expect("accepted").job;
    let (plan, path) = (
        list_and_plan(&submission.spec, &Stores::without_environment()).expect("it was planned before"),
        cluster.path("recipe"),
    );
    let made_of = async |client: &JobsClient| {
        let id = client.status(job).await.expect("served").recipe.expect("it is kept");
        client.download(id, &path).await.expect("it is there");
        let recipe = Recipe::decode(&fs::read(&path).expect("just written")).expect("kept by this build");
        assert_eq!((&recipe.binary_sha256, &*recipe.plan), (&submission.binary_sha256, &plan));
        assert_eq!((&recipe.spec.inputs, recipe.spec.reducers), (&submission.spec.inputs, Some(plan.reducers)));
    };
    made_of(&client).await;
    cluster = cluster.kill_and_restart().await;
    let client = cluster.client().await;
    made_of(&client).await;
    client.cancel(job).await.expect("served");
    assert_eq!(last_status(&mut client.watch(job)).await.view.state, JobState::Cancelled);
    made_of(&client).await;
    cluster = cluster.kill_and_restart().await;
    let client = cluster.client().await;
    made_of(&client).await;
    let (unknown, _) = content_of(b"unknown".as_slice()).expect("in memory");
    let error = client.download(unknown, &path).await.expect_err("nobody sent it");
    assert!(matches!(error, ClientError::NotFound { .. }), "{error:?}");
    cluster.stop().await;
}

/// A job of which a map task is committed and the reduce task runs, and its worker.
async fn half_done(cluster: &Cluster) -> (JobId, JobAttempt, PlayedWorker) {
    let mut worker = PlayedWorker::register(cluster).await;
    let submission = cluster.submission("key", JobShape::MapReduce);
    let accepted = cluster.client().await.submit(&submission).await.expect("accepted");
    let (_, map, _) = worker.take_first().await;
    worker.finish(map, map_output()).await;
    worker.take().await;
    (accepted.job, map, worker)
}

#[tokio::test]
async fn a_master_that_is_stopped_keeps_its_jobs_for_the_next_one() {
    let cluster = Cluster::start().await;
    let (job, map, mut worker) = half_done(&cluster).await;
    let listen = cluster.url.trim_start_matches("http://").to_owned();
    let mut watch = cluster.client().await.watch(job);
    status(&mut watch).await;

    let dir = cluster.stop().await;
    assert!(soon("the end of the stream", worker.from_master.message()).await.is_ok_and(|said| said.is_none()));
    assert!(dir.path().join(".out.gristmill").join(job.to_string()).is_dir(), "what is staged stays");

    let cluster = Cluster::start_in(dir, &listen).await.map_err(|(_, error)| error).expect("it serves");
    let mut worker = register_with(&cluster, vec![offer(map, Some(3))]).await;
    let (staging, reduce, _) = worker.take_first().await;
    assert_eq!(reduce.job, job);
    worker.finish(reduce, stage_part(&staging, reduce, "one\ntwo\n")).await;
    let state = loop {
        match soon("a status", watch.next()).await.expect("it is served again") {
            Some(WatchUpdate::Status(status)) if status.view.state.is_terminal() => break status.view.state,
            Some(_) => {}
            None => panic!("the watch ended too early"),
        }
    };
    assert_eq!(state, JobState::Succeeded);
    cluster.stop().await;
}

#[tokio::test]
async fn a_master_that_cannot_have_its_address_takes_nothing_from_its_jobs() {
    let cluster = Cluster::start().await;
    let (job, ..) = half_done(&cluster).await;
    let dir = cluster.stop().await;
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let listen = taken.local_addr().expect("bound").to_string();
    let (dir, error) = Cluster::start_in(dir, &listen).await.map(|_| ()).expect_err("the address is taken");
    assert!(matches!(error, MasterError::Listen { .. }), "{error}");
    assert!(dir.path().join(".out.gristmill").join(job.to_string()).is_dir(), "what is staged stays");
}

#[tokio::test]
async fn an_output_that_is_out_of_reach_keeps_the_master_from_starting_and_costs_nothing() {
    let left = Left::deep();
    let records = [left.accepted(), fact(left.claim("one\ntwo\n")), fact(Record::Decided { job: JOB })];
    let (there, away) = (left.dir.path().join("mount"), left.dir.path().join("away"));
    let unmounted = || fs::rename(&there, &away).expect("renamed");
    let empty = || fs::create_dir(&there).expect("created");
    let no_folder = || fs::remove_dir(&there).and_then(|()| fs::write(&there, "")).expect("written");
    let missing = "/mount/.out.gristmill is not there; is its file system mounted?";
    let troubles: [(&dyn Fn(), &str); 3] = [(&unmounted, missing), (&empty, missing), (&no_folder, "cannot look at")];
    let mut dir = left.write(&records);
    for (trouble, expect) in troubles {
        trouble();
        let (back, error) = Cluster::start_in(dir, "127.0.0.1:0").await.map(|_| ()).expect_err("out of reach");
        let MasterError::Recover(RecoverError::Output { job: JOB, source }) = &error else { panic!("{error}") };
        assert!(crate::runtime::describe(source).contains(expect), "{source}");
        assert!(error.hint().is_some_and(|hint| hint.starts_with("no job was touched: mount or repair")));
        dir = back;
    }
    fs::remove_file(&there).expect("removed");
    fs::rename(&away, &there).expect("renamed back");
    let cluster = Cluster::start_in(dir, "127.0.0.1:0").await.map_err(|(_, error)| error).expect("it serves");
    let last = last_status(&mut cluster.client().await.watch(JOB)).await;
    assert_eq!(last.view.state, JobState::Succeeded);
    assert_eq!(fs::read_to_string(cluster.path("mount/out/part-00000")).expect("published"), "one\ntwo\n");
    cluster.stop().await;
}

#[tokio::test]
async fn an_attempt_that_runs_is_adopted() {
    let cluster = Cluster::start().await;
    let client = cluster.client().await;
    let mut worker = PlayedWorker::register(&cluster).await;
    client.submit(&cluster.submission("key", JobShape::MapOnly)).await.expect("accepted");
    let (_, map, _) = worker.take_first().await;
    let cluster = cluster.kill_and_restart().await;
    let mut worker = register_with(&cluster, vec![offer(map, None)]).await;
    let (staging, adopted, _) = worker.take_first().await;
    assert_eq!(adopted, map);
    worker.finish(map, stage_part(&staging, map, "one\ntwo\n")).await;
    assert!(matches!(worker.order().await, ToWorker::Release(_)));
    let client = cluster.client().await;
    let jobs = client.list().await.expect("served");
    assert_eq!(last_status(&mut client.watch(jobs[0].view.job)).await.view.state, JobState::Succeeded);
    cluster.stop().await;
}

/// A folder that a master left, with these records in its journal.
struct Left {
    dir: tempfile::TempDir,
    spec: JobSpec,
}

impl Left {
    fn new() -> Self {
        Self::with_output("out")
    }

    /// The same with the output in a folder of its own.
    fn deep() -> Self {
        Self::with_output("mount/out")
    }

    fn with_output(output: &str) -> Self {
        let dir = folder_with_input();
        fs::create_dir_all(dir.path().join("state")).expect("created");
        let output = dir.path().join(output);
        fs::create_dir_all(output.parent().expect("it is in a folder")).expect("created");
        let input = Uri::from_path(&dir.path().join("in"));
        let spec = JobSpec::new("copy", JobShape::MapOnly, vec![input], Uri::from_path(&output));
        Self { spec, dir }
    }

    fn accepted(&self) -> JournalRecord {
        JournalRecord::Accepted(Box::new(AcceptedJob {
            job: JOB,
            key: "key".to_owned(),
            spec: std::sync::Arc::new(self.spec.clone()),
            binary_sha256: super::binary(),
            plan: std::sync::Arc::new(
                list_and_plan(&self.spec, &Stores::without_environment()).unwrap_or_else(|_| JobPlan::default()),
            ),
            submitted: WallTime { unix_millis: 1000 },
            epoch: MasterEpoch(1),
            recipe: None,
        }))
    }

    /// A claim as a process leaves it that is killed, with the part of an attempt.
    fn claim(&self, part: &str) -> Record {
        let claim = OutputClaim::acquire(&self.spec, JOB, &Stores::without_environment()).expect("free");
        let id = JobAttempt { job: JOB, attempt: AttemptId { task: TaskId::map(0), number: 0 } };
        let output = stage_part(&claim.staged_parts_dir().expect("a local output"), id, part);
        claim.abandon();
        let report = AttemptReport { output, counters: Default::default(), stats: AttemptStats::default(), bad: None };
        Record::Committed { id, worker: WorkerId(1), report }
    }

    async fn start(self, records: Vec<JournalRecord>) -> Cluster {
        let dir = self.write(&records);
        Cluster::start_in(dir, "127.0.0.1:0").await.map_err(|(_, error)| error).expect("it serves")
    }

    fn write(self, records: &[JournalRecord]) -> tempfile::TempDir {
        let mut journal = RedbJournal::open(&self.dir.path().join("state/journal.redb")).expect("made");
        let changes: Vec<Change> = records.iter().cloned().map(Change::Append).collect();
        journal.commit(&changes).expect("kept");
        self.dir
    }
}

fn fact(record: Record) -> JournalRecord {
    JournalRecord::Fact(Box::new(record))
}

async fn wait_for_names(cluster: &Cluster, expect: &[&str]) {
    let come = async {
        while cluster.names() != expect {
            tokio::task::yield_now().await;
        }
    };
    soon("what is left", come).await;
}

#[tokio::test]
async fn a_decided_job_is_published_by_the_next_master() {
    let left = Left::new();
    let committed = left.claim("one\ntwo\n");
    let records = vec![left.accepted(), fact(committed), fact(Record::Decided { job: JOB })];
    let cluster = left.start(records).await;
    let client = cluster.client().await;
    assert_eq!(last_status(&mut client.watch(JOB)).await.view.state, JobState::Succeeded);
    assert_eq!(fs::read_to_string(cluster.path("out/part-00000")).expect("published"), "one\ntwo\n");
    assert_eq!(cluster.names(), ["in", "out", "state"]);
    cluster.stop().await;
}

#[tokio::test]
async fn what_jobs_without_a_future_left_is_removed() {
    let left = Left::new();
    left.claim("half");
    let claiming = JournalRecord::Claiming {
        job: JOB,
        output: left.spec.output.clone(),
        missing: Vec::new(),
        store: StoreOptions::default(),
    };
    let cluster = left.start(vec![claiming]).await;
    wait_for_names(&cluster, &["in", "state"]).await;
    assert_eq!(cluster.client().await.list().await.expect("served"), []);
    cluster.stop().await;

    let left = Left::new();
    left.claim("half");
    let ended = Record::Ended { job: JOB, state: JobState::Cancelled, failure: None };
    let records = vec![left.accepted(), fact(ended)];
    let cluster = left.start(records).await;
    let client = cluster.client().await;
    assert_eq!(last_status(&mut client.watch(JOB)).await.view.state, JobState::Cancelled);
    assert_eq!(cluster.names(), ["in", "state"]);
    cluster.stop().await;
}

#[tokio::test]
async fn a_job_whose_output_was_taken_meanwhile_fails_and_says_so() {
    let check = async |spoil: &dyn Fn(&Path), commit: bool, expect: &str| {
        let left = Left::new();
        let committed = left.claim("one\ntwo\n");
        spoil(left.dir.path());
        let records = [left.accepted(), fact(committed)];
        let cluster = left.start(records.into_iter().take(1 + usize::from(commit)).collect()).await;
        let client = cluster.client().await;
        let status = last_status(&mut client.watch(JOB)).await;
        let failure = status.view.failure.expect("it failed");
        assert_eq!((status.view.state, failure.code), (JobState::Failed, FailureCode::CommitFailed));
        assert!(failure.message.contains(expect), "{failure}");
        assert!(!cluster.path(".out.gristmill").exists());
        cluster.stop().await;
    };
    let taken = |dir: &Path| fs::create_dir_all(dir.join("out/mine")).expect("created");
    check(&taken, false, "exists and is not empty").await;
    let swept = |dir: &Path| {
        fs::remove_dir_all(dir.join(".out.gristmill")).expect("removed");
        fs::create_dir(dir.join(".out.gristmill")).expect("made anew");
    };
    check(&swept, true, "is gone: something else used that output").await;
}

#[tokio::test]
async fn a_journal_that_makes_no_sense_is_refused() {
    let left = Left::new();
    let dir = left.dir.path().join("state");
    let mut journal = RedbJournal::open(&dir.join("journal.redb")).expect("made");
    journal.commit(&[Change::Append(fact(Record::Decided { job: JOB }))]).expect("kept");
    drop(journal);
    let (_dir, error) = Cluster::start_in(left.dir, "127.0.0.1:0").await.map(|_| ()).expect_err("no such job");
    let text = format!("the journal is incomplete: it has facts about job {JOB}, but not that it was accepted");
    assert_eq!(error.to_string(), text);
}

/// A journal that takes some batches and then no more.
#[derive(Debug)]
struct FullDisk {
    kept: MemoryJournal,
    batches: u32,
}

impl Journal for FullDisk {
    fn replay(&mut self, visit: &mut dyn FnMut(JournalRecord)) -> Result<(), JournalError> {
        self.kept.replay(visit)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), JournalError> {
        if self.batches == 0 {
            return Err(JournalError::Incomplete { job: JOB });
        }
        self.batches -= 1;
        self.kept.commit(changes)
    }
}

fn start_on(kept: &MemoryJournal, batches: u32) -> (MasterHandle, tokio::task::JoinHandle<Result<(), JournalError>>) {
    let mut journal = FullDisk { kept: kept.clone(), batches };
    let recovered =
        recover(&mut journal, &ShippedFiles::default(), &Stores::without_environment(), WallTime::default());
    let (config, files) = (SchedulerConfig::default(), ShippedFiles::default());
    start_driver(
        Clock::start(),
        config,
        Box::new(journal),
        recovered.expect("undamaged"),
        files,
        Stores::without_environment(),
    )
}

#[tokio::test]
async fn what_a_job_left_stays_until_it_is_recorded_that_the_job_is_over() {
    let left = Left::new();
    let committed = left.claim("one\ntwo\n");
    let staging = left.dir.path().join(".out.gristmill");
    fs::remove_dir_all(&staging).and_then(|()| fs::create_dir(&staging)).expect("made anew");
    let kept = MemoryJournal::default();
    kept.clone().commit(&[left.accepted(), fact(committed)].map(Change::Append)).expect("kept");
    let (_master, driver) = start_on(&kept, 0);
    soon("the end", driver).await.expect("no panic").expect_err("the journal failed");
    assert!(staging.exists(), "the next master takes its absence for that of a file system");
}

#[tokio::test]
async fn a_master_that_cannot_record_accepts_nothing_ends_and_loses_nothing() {
    let left = Left::new();
    let kept = MemoryJournal::default();
    let submission = Submission { key: "key".into(), spec: left.spec.clone(), binary_sha256: super::binary() };
    // The claim is recorded, the job is not.
    let (master, driver) = start_on(&kept, 1);
    master.submit(submission.clone()).await.expect_err("it is not accepted");
    soon("the end", driver).await.expect("no panic").expect_err("the journal failed");
    let (master, driver) = start_on(&kept, 100);
    assert_eq!(master.jobs().await.expect("served"), []);
    let accepted = master.submit(submission.clone()).await.expect("accepted");
    drop(master);
    soon("the end", driver).await.expect("no panic").expect("in order");
    assert!(left.dir.path().join(".out.gristmill").exists(), "the claim is the next master's");

    // The next thing to record is its end, which is lost, and so it did not end.
    let (master, driver) = start_on(&kept, 0);
    let known = master.submit(submission).await.expect("the answer needs no record");
    assert_eq!(known, accepted);
    master.cancel(accepted.job).await.expect_err("nothing that is not recorded is said");
    soon("the end", driver).await.expect("no panic").expect_err("the journal failed");
    let (master, _driver) = start_on(&kept, 100);
    let status = master.job(accepted.job).await.expect("served").expect("known");
    assert!(!status.view.state.is_terminal(), "{status:?}");
    master.shutdown(OpenJobs::Cancel).await;
    assert!(!left.dir.path().join(".out.gristmill").exists());
}
