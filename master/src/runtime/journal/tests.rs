//! Both engines keep what they are given; bytes never change under one format; damage is told, never
//! read.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use gristmill_common::counters::Counters;
use gristmill_common::failure::{Failure, FailureCode, InputPosition};
use gristmill_common::ids::{AttemptId, ContentId, JobAttempt, JobId, MasterEpoch, TaskId, WorkerId};
use gristmill_common::naming::Uri;
use gristmill_common::spec::{JobShape, JobSpec, StoreOptions};
use gristmill_common::task::{
    AttemptOutput, AttemptReport, AttemptStats, BadRecords, InputObject, JobPlan, MapOutputSummary, NamedPart,
    OpenUpload, PartSummary, Piece, SentUpload, Split,
};
use gristmill_common::time::WallTime;

use super::error::RecordKey;
use super::*;
use crate::runtime::status::JobStatus;
use crate::scheduler::{JobState, JobView, Record, StageView};

const JOB: JobId = JobId(0x6920_9f00_0001);
const OTHER: JobId = JobId(0x6920_9f00_0002);

fn uri(text: &str) -> Uri {
    text.parse().expect("a URI")
}

fn accepted(job: JobId) -> JournalRecord {
    let object = |name: &str, size| {
        Arc::new(InputObject { uri: uri(name), size, modified_micros: Some(5), etag: None, form: None })
    };
    let (a, b) = (object("/in/a", 100), object("/in/b", 7));
    let piece = |object: &Arc<InputObject>, start, end| Piece { object: Arc::clone(object), start, end };
    let splits = vec![
        Split { pieces: vec![piece(&a, 0, 60)], role: 0 },
        Split { pieces: vec![piece(&a, 60, 100), piece(&b, 0, 7)], role: 1 },
    ];
    let warnings = vec!["look out".to_owned()];
    let plan = JobPlan { splits, reducers: 2, objects: 2, input_bytes: 107, warnings };
    JournalRecord::Accepted(Box::new(AcceptedJob {
        job,
        key: "key-1".to_owned(),
        spec: Arc::new(JobSpec::new("word-count", JobShape::MapReduce, vec![uri("/in")], uri("/out"))),
        binary_sha256: "cafe".to_owned(),
        plan: Arc::new(plan),
        submitted: WallTime { unix_millis: 1_795_232_712_345 },
        epoch: MasterEpoch(3),
        recipe: None,
    }))
}

fn committed(job: JobId, task: TaskId, output: AttemptOutput) -> JournalRecord {
    let counters: Counters = [("lines", 5)].into_iter().collect();
    let stats = AttemptStats { input_bytes: 60, ..AttemptStats::default() };
    let report = AttemptReport { output, counters, stats, bad: None };
    let id = JobAttempt { job, attempt: AttemptId { task, number: 1 } };
    JournalRecord::Fact(Box::new(Record::Committed { id, worker: WorkerId(2), report }))
}

fn map_committed(job: JobId) -> JournalRecord {
    let output = MapOutputSummary { partitions: 2, bytes: 33, content_hash: 0xabcd };
    committed(job, TaskId::map(1), AttemptOutput::MapOutput(output))
}

/// The end of a job.
fn succeeded() -> JobStatus {
    let view = JobView {
        job: JOB,
        state: JobState::Succeeded,
        map: StageView { tasks: 2, done: 2, ..StageView::default() },
        reduce: StageView { tasks: 2, done: 2, ..StageView::default() },
        counters: [("lines", 10)].into_iter().collect(),
        map_stats: AttemptStats::default(),
        reduce_stats: AttemptStats::default(),
        differed: vec![TaskId::map(1)],
        failure: None,
        waiting: None,
    };
    JobStatus {
        view,
        name: "word-count".to_owned(),
        output: uri("/out"),
        submitted: WallTime { unix_millis: 1_795_232_712_345 },
        finished: Some(WallTime { unix_millis: 1_795_232_713_000 }),
        warnings: vec!["look out".to_owned()],
        recipe: None,
    }
}

/// One record of each kind and form, by name.
fn samples() -> Vec<(&'static str, JournalRecord)> {
    let fact = |fact| JournalRecord::Fact(Box::new(fact));
    let part = PartSummary {
        staged_name: "part-00001.r-1.1".into(),
        bytes: 9,
        records: 2,
        checksum: 0xfeed,
        named: Box::default(),
        upload: None,
        left_out: false,
    };
    let attempt = |text: &str| text.parse::<AttemptId>().expect("an attempt");
    let at = InputPosition { object: "/in/a".into(), offset: 42 };
    let failure = Failure::new(FailureCode::UserError, "no such word").at(at);
    let by_task = failure.clone().of_task(TaskId::map(1));
    let status = succeeded();
    let recipe = Some(ContentId([0xab; 32]));
    let JournalRecord::Accepted(replayable) = accepted(JOB) else { unreachable!("it is one") };
    vec![
        ("worker_named", JournalRecord::WorkerNamed { key: "a-worker".to_owned(), worker: WorkerId(1) }),
        (
            "claiming",
            JournalRecord::Claiming {
                job: JOB,
                output: uri("/a/b/out"),
                missing: vec!["/a".into(), "/a/b".into()],
                store: StoreOptions::default(),
            },
        ),
        ("accepted", accepted(JOB)),
        ("map_committed", map_committed(JOB)),
        ("part_committed", committed(JOB, TaskId::reduce(1), AttemptOutput::Part(part))),
        (
            "failed",
            fact(Record::Failed {
                id: JobAttempt { job: JOB, attempt: attempt("m-0.0") },
                worker: WorkerId(1),
                failure: failure.clone(),
            }),
        ),
        (
            "revoked",
            fact(Record::Revoked { job: JOB, map: TaskId::map(1), reduces: vec![attempt("r-1.1")], rounds: 2 }),
        ),
        ("decided", fact(Record::Decided { job: JOB })),
        ("ended", fact(Record::Ended { job: JOB, state: JobState::Failed, failure: Some(failure) })),
        ("closed", JournalRecord::Closed { key: "key-1".to_owned(), status: Box::new(status.clone()) }),
        ("accepted_replayable", JournalRecord::Accepted(Box::new(AcceptedJob { recipe, ..*replayable }))),
        ("ended_by_task", fact(Record::Ended { job: JOB, state: JobState::Failed, failure: Some(by_task) })),
        (
            "closed_replayable",
            JournalRecord::Closed { key: "key-1".to_owned(), status: Box::new(JobStatus { recipe, ..status }) },
        ),
    ]
}

/// What the golden file has: fields that came later are in records behind the others.
fn golden_samples() -> Vec<(&'static str, JournalRecord)> {
    let named = |name: &str, bytes| {
        let name = name.parse().expect("a name");
        NamedPart { name, bytes, records: 1, checksum: 0xbeef, upload: None }
    };
    let part = PartSummary {
        staged_name: "part-00001.r-1.1".into(),
        bytes: 9,
        records: 2,
        checksum: 0xfeed,
        named: [named("b", 4), named("a/b=c", 5)].into(),
        upload: None,
        left_out: false,
    };
    let store = StoreOptions { endpoint: Some("http://127.0.0.1:9".to_owned()), region: None, anonymous: true };
    let open = |object: &str, id: &str| OpenUpload { object: object.to_owned(), id: id.to_owned() };
    let uploads = vec![open("part-00001", "upload-1"), open("a/b=c/part-00001", "upload-2")];
    let sent = |id: &str, pieces: &[&str]| {
        let pieces = pieces.iter().map(|piece| (*piece).to_owned()).collect();
        Some(Box::new(SentUpload { id: id.to_owned(), pieces, checksum: 0xcafe }))
    };
    let mut uploaded = part.clone();
    uploaded.upload = sent("upload-1", &["\"a\"", "\"b\""]);
    uploaded.named[1].upload = sent("upload-2", &[]);
    let bad =
        BadRecords { staged_name: "b".to_owned(), records: 1, objects: 4, bytes: 2, upload: sent("upload-3", &["c"]) };
    let mut with_bad = committed(JOB, TaskId::reduce(1), AttemptOutput::Part(uploaded));
    if let JournalRecord::Fact(fact) = &mut with_bad
        && let Record::Committed { report, .. } = &mut **fact
    {
        report.bad = Some(Box::new(bad));
    }
    let id = JobAttempt { job: JOB, attempt: AttemptId { task: TaskId::reduce(1), number: 1 } };
    let claiming = JournalRecord::Claiming { job: JOB, output: uri("s3://a/out"), missing: Vec::new(), store };
    let later = [
        ("named_committed", committed(JOB, TaskId::reduce(1), AttemptOutput::Part(part))),
        ("claiming_in_store", claiming),
        ("uploading", JournalRecord::Fact(Box::new(Record::Uploading { id, uploads }))),
        ("uploaded_committed", with_bad),
    ];
    samples().into_iter().chain(later).collect()
}

fn replayed(journal: &mut dyn Journal) -> Result<Vec<JournalRecord>, JournalError> {
    let mut records = Vec::new();
    journal.replay(&mut |record| records.push(record))?;
    Ok(records)
}

/// What every engine keeps; `reopen` is what a restart does.
fn check_engine<J: Journal>(mut journal: J, reopen: impl Fn(J) -> J) {
    assert_eq!(replayed(&mut journal).expect("empty"), []);
    journal.commit(&[]).expect("nothing to do");
    let records: Vec<JournalRecord> = samples().into_iter().map(|(_, record)| record).collect();
    let append = |record: &JournalRecord| Change::Append(record.clone());
    journal.commit(&records.iter().map(append).collect::<Vec<_>>()).expect("kept");
    journal = reopen(journal);
    assert_eq!(replayed(&mut journal).expect("undamaged"), records);

    journal.commit(&[append(&map_committed(OTHER)), append(&map_committed(JOB))]).expect("kept");
    journal = reopen(journal);
    let mut expect = records.clone();
    expect.extend([map_committed(JOB), map_committed(OTHER)]);
    assert_eq!(replayed(&mut journal).expect("undamaged"), expect, "job by job, in order");

    let closed = records.last().expect("some").clone();
    journal.commit(&[Change::Forget(JOB), Change::Append(closed.clone())]).expect("kept");
    journal = reopen(journal);
    assert_eq!(replayed(&mut journal).expect("undamaged"), [records[0].clone(), closed, map_committed(OTHER)]);
    journal.commit(&[Change::Forget(JOB), Change::Forget(OTHER)]).expect("kept");
    journal = reopen(journal);
    assert_eq!(replayed(&mut journal).expect("undamaged"), records[..1]);
}

#[test]
fn engines_keep_what_they_are_given_in_order_and_forget_whole_jobs() {
    check_engine(MemoryJournal::default(), |journal| journal.clone());
    let dir = tempfile::tempdir().expect("scratch");
    let file = dir.path().join("journal.redb");
    check_engine(RedbJournal::open(&file).expect("made"), |journal| {
        drop(journal);
        RedbJournal::open(&file).expect("undamaged")
    });
    let names: BTreeSet<_> =
        fs::read_dir(dir.path()).expect("readable").map(|entry| entry.expect("readable").file_name()).collect();
    let expect = [file.clone(), file.with_extension("seen")].map(|path| path.file_name().expect("named").to_owned());
    assert_eq!(names, expect.into());
}

/// The golden file: a line for each record with its name, sequence number and bytes in hex.
fn golden_text() -> String {
    let line = |(sequence, (name, record)): (u64, (&str, JournalRecord))| {
        let key = RecordKey { job: record.job().map_or(0, |job| job.0), sequence };
        let hex: String = frame::encode(key, &record).iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{name} {sequence} {hex}\n")
    };
    (1..).zip(golden_samples()).map(line).collect()
}

#[test]
fn bytes_are_golden() {
    let golden = include_str!("golden/format_1.txt");
    assert_eq!(golden_text(), golden, "a record of format 1 is written with other bytes");
    for (line, (name, record)) in golden.lines().zip(golden_samples()) {
        let [_, sequence, hex] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
        let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
        let key = RecordKey { job: record.job().map_or(0, |job| job.0), sequence: sequence.parse().expect("a number") };
        assert_eq!(frame::decode(Path::new("golden"), key, &bytes).expect(name), record);
    }
}

#[test]
fn a_record_with_any_bit_changed_cut_anywhere_or_in_another_place_is_refused() {
    let key = RecordKey { job: JOB.0, sequence: 9 };
    let bytes = frame::encode(key, &accepted(JOB));
    let refused = |key: RecordKey, bytes: &[u8]| {
        let error = frame::decode(Path::new("journal"), key, bytes).expect_err("damaged").to_string();
        let place = format!("the journal journal is damaged in record {key}: ");
        assert!(error.starts_with(&place), "{error}");
    };
    for at in 0..bytes.len() {
        refused(key, &bytes[..at]);
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            refused(key, &damaged);
        }
    }
    refused(RecordKey { sequence: 10, ..key }, &bytes);
    refused(RecordKey { job: OTHER.0, ..key }, &bytes);
    let error = frame::decode(Path::new("journal"), RecordKey { job: 0, sequence: 1 }, &[]).expect_err("damaged");
    assert_eq!(error.to_string(), "the journal journal is damaged in record 1: it has 0 bytes");
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let key = RecordKey { job: JOB.0, sequence: 9 };
    let bytes = frame::encode_as(7, key, &accepted(JOB));
    let error = frame::decode(Path::new("journal"), key, &bytes).expect_err("newer").to_string();
    let record = format!("record 9 of job {JOB}");
    assert_eq!(error, format!("the journal journal holds {record} in format 7; this build reads formats up to 1"));
}

/// A small journal in a file, and its states after each commit.
fn small_journal(file: &Path) -> Vec<Vec<JournalRecord>> {
    let mut journal = RedbJournal::open(file).expect("made");
    let mut states = vec![Vec::new()];
    for (_, record) in samples() {
        journal.commit(&[Change::Append(record)]).expect("kept");
        states.push(replayed(&mut journal).expect("undamaged"));
    }
    states
}

/// Opens and replays a file with these bytes: what it holds, or the refusal.
fn read_back(file: &Path, bytes: &[u8]) -> Result<Vec<JournalRecord>, JournalError> {
    fs::write(file, bytes).expect("written");
    replayed(&mut RedbJournal::open(file)?)
}

/// A damaged journal holds what was committed at some moment, or is refused by its name.
fn check_damaged(file: &Path, bytes: &[u8], states: &[Vec<JournalRecord>], what: &str) -> bool {
    match read_back(file, bytes) {
        Ok(records) => {
            assert!(states.contains(&records), "{what}: misread as {records:?}");
            false
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&file.display().to_string()), "{what}: {text}");
            true
        }
    }
}

/// What a failing machine may leave: the number of commits never reached the disk.
#[test]
fn a_journal_cut_anywhere_is_refused_or_shorter_but_never_misread() {
    let dir = tempfile::tempdir().expect("scratch");
    let file = dir.path().join("journal.redb");
    let states = small_journal(&file);
    fs::remove_file(file.with_extension("seen")).expect("there");
    let bytes = fs::read(&file).expect("readable");
    assert_eq!(read_back(&file, &bytes).expect("undamaged"), *states.last().expect("some"));
    let lengths = (0..512).step_by(64).chain((512..bytes.len()).step_by(bytes.len() / 64));
    let refused =
        lengths.filter(|length| check_damaged(&file, &bytes[..*length], &states, &format!("cut at {length}")));
    assert!(refused.count() > 60);
}

/// A process that was killed leaves the number of commits: then nothing that was acknowledged is given up.
#[test]
fn a_journal_with_any_byte_changed_is_refused_or_whole() {
    let dir = tempfile::tempdir().expect("scratch");
    let file = dir.path().join("journal.redb");
    let states = [small_journal(&file).pop().expect("some")];
    let bytes = fs::read(&file).expect("readable");
    // All of the header, and every byte that a commit wrote and that differs from its neighbour: what
    // is left is the middle of runs of zeros.
    let used = |at: &usize| *at < 512 || bytes[*at] != 0;
    // Each costs a file written, opened and verified; a build with optimisation looks at every one.
    let stride = if cfg!(debug_assertions) { 211 } else { 1 };
    let places: BTreeSet<usize> = (0..512)
        .step_by(if cfg!(debug_assertions) { 5 } else { 1 })
        .chain((0..bytes.len()).filter(used).step_by(stride))
        .collect();
    let mut refused = 0;
    for at in &places {
        let mut damaged = bytes.clone();
        damaged[*at] ^= 1 << (at % 8);
        refused += u32::from(check_damaged(&file, &damaged, &states, &format!("byte {at} changed")));
    }
    assert!(refused > 0, "{} places", places.len());
}
