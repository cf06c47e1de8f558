//! How long a master takes to serve again with much in its journal.
//!
//! `cargo bench -p gristmill-master --bench restart` keeps a job of 100,000 map tasks of which all but
//! one are committed, opens the journal again as after `kill -9`, and prints each step's time and the
//! sum: what a client waits for.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use gristmill_common::ids::{AttemptId, JobAttempt, JobId, MasterEpoch, TaskId, WorkerId};
use gristmill_common::naming::Uri;
use gristmill_common::spec::{JobShape, JobSpec};
use gristmill_common::storage::Stores;
use gristmill_common::task::{
    AttemptOutput, AttemptReport, AttemptStats, InputObject, JobPlan, MapOutputSummary, Piece, Split,
};
use gristmill_common::time::Clock;
use gristmill_master::runtime::journal::{AcceptedJob, Change, Journal as _, JournalRecord, RedbJournal};
use gristmill_master::runtime::output::OutputClaim;
use gristmill_master::runtime::{ShippedFiles, StateDir, recover, start_driver};
use gristmill_master::scheduler::{Record, SchedulerConfig};

const JOB: JobId = JobId(0x6920_9f00_0001);
const TASKS: u32 = 100_000;

/// Records of one commit of a busy master.
const BATCH: usize = 500;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let state = dir.path().join("state");
    let clock = Clock::start();
    {
        let folder = StateDir::open(&state)?;
        let mut journal = RedbJournal::open(&folder.journal())?;
        for batch in records(dir.path()).chunks(BATCH) {
            journal.commit(batch)?;
        }
        // No orderly end: the next one has to look at everything.
        std::mem::forget(journal);
    }
    let copy = dir.path().join("copy");
    fs::create_dir(&copy)?;
    for name in ["epoch", "journal.redb"] {
        fs::copy(state.join(name), copy.join(name))?;
    }
    println!("written: {TASKS} tasks, {} bytes, in {:?}", fs::metadata(copy.join("journal.redb"))?.len(), clock.now());

    let start = clock.now();
    let mut last = start;
    let mut step = |name: &str| {
        let now = clock.now();
        println!("{name:>8}: {:?}", now.since(last));
        last = now;
    };
    let folder = StateDir::open(&copy)?;
    let mut journal = RedbJournal::open(&folder.journal())?;
    step("open");
    let recovered = recover(&mut journal, &ShippedFiles::default(), &Stores::without_environment(), clock.wall())?;
    step("recover");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let config = SchedulerConfig { epoch: folder.epoch(), ..SchedulerConfig::default() };
    runtime.block_on(async {
        let (files, stores) = (ShippedFiles::default(), Stores::without_environment());
        let (master, _driver) = start_driver(clock, config, Box::new(journal), recovered, files, stores);
        let jobs = master.jobs().await?;
        assert_eq!((jobs.len(), jobs[0].view.map.tasks), (1, TASKS));
        step("serve");
        Ok::<(), Box<dyn Error>>(())
    })?;
    let whole = clock.now().since(start);
    println!("   whole: {whole:?}");
    assert!(whole < Duration::from_secs(2) || cfg!(debug_assertions), "a restart takes at most 2 s");
    runtime.shutdown_background();
    Ok(())
}

/// One job with all but its last task committed.
fn records(dir: &Path) -> Vec<Change> {
    let object = Arc::new(InputObject {
        uri: Uri::from_path(&dir.join("in")),
        size: u64::from(TASKS) * 10,
        modified_micros: Some(1),
        etag: None,
        form: None,
    });
    let split = |index: u32| {
        let start = u64::from(index) * 10;
        Split { pieces: vec![Piece { object: Arc::clone(&object), start, end: start + 10 }], role: 0 }
    };
    let splits = (0..TASKS).map(split).collect();
    let plan = JobPlan { splits, reducers: 4, objects: 1, input_bytes: object.size, warnings: Vec::new() };
    let spec = JobSpec::new("copy", JobShape::MapReduce, vec![object.uri.clone()], Uri::from_path(&dir.join("out")));
    // What the master before this one had staged is where it left it.
    OutputClaim::acquire(&spec, JOB, &Stores::without_environment()).expect("a scratch folder").abandon();
    let accepted = JournalRecord::Accepted(Box::new(AcceptedJob {
        job: JOB,
        key: "key".to_owned(),
        spec: Arc::new(spec),
        binary_sha256: "cafe".to_owned(),
        plan: Arc::new(plan),
        submitted: Default::default(),
        epoch: MasterEpoch(1),
        recipe: None,
    }));
    let committed = |index: u32| {
        let output = MapOutputSummary { partitions: 4, bytes: 1000, content_hash: u64::from(index) };
        let report = AttemptReport {
            output: AttemptOutput::MapOutput(output),
            counters: [("lines", 5)].into_iter().collect(),
            stats: AttemptStats { input_bytes: 10, wall_micros: 1000, ..AttemptStats::default() },
            bad: None,
        };
        let id = JobAttempt { job: JOB, attempt: AttemptId { task: TaskId::map(index), number: 0 } };
        JournalRecord::Fact(Box::new(Record::Committed { id, worker: WorkerId(1 + index % 100), report }))
    };
    [accepted].into_iter().chain((0..TASKS - 1).map(committed)).map(Change::Append).collect()
}
