//! Whole jobs through the engine, against the sequential reference, under budgets so small that
//! everything spills and merges in passes.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gristmill_common::counters::NAMED_PARTS;
use gristmill_common::failure::{Disposition, Failure, FailureCode, InputPosition};
use gristmill_common::ids::{AttemptId, JobAttempt, JobId, TaskId};
use gristmill_common::naming::{Uri, staged_named_dir};
use gristmill_common::objects::LocalObjects;
use gristmill_common::partition::Partitioning;
use gristmill_common::prelude::*;
use gristmill_common::program::JobVisitor;
use gristmill_common::reference::{ReferenceInput, ReferenceOutput};
use gristmill_common::setup::ShippedPaths;
use gristmill_common::size::ByteSize;
use gristmill_common::spec::{JobShape, JobSpec};
use gristmill_common::task::{AttemptOutput, AttemptReport, AttemptStats, InputObject, JobPlan, Piece, Split};
use gristmill_common::text::LineRule;
use gristmill_sys::positions::RecordPosition;
use proptest::prelude::*;

use super::shuffle::{MapOutputPack, MapOutputs, SegmentRange};
use super::{AnyJob, AttemptContext, Compression, EngineTask, IntoAnyJob, LocalSegment, Reads, range_partitioning};

mod bad_records;
mod compressed;
mod formats;
mod limits;
mod named;
mod shapes;

/// One engine run in folders of its own.
struct Bench {
    dir: tempfile::TempDir,
    spec: JobSpec,
    compression: Compression,
    partitions: u32,
    split_size: u64,
    /// Whether segments are moved to another file before they are reduced.
    moved: bool,
    stats: AttemptStats,
    pack: MapOutputPack,
    /// Passed over by every map attempt.
    skip: Vec<InputPosition>,
    /// Shipped with the job.
    files: ShippedPaths,
}

impl Bench {
    fn new(attempt_bytes: u64, split_size: u64) -> Self {
        let dir = tempfile::tempdir().expect("scratch");
        for name in ["in", "scratch", "staging"] {
            fs::create_dir(dir.path().join(name)).expect("scratch");
        }
        let uri = Uri::from_path(dir.path());
        let mut spec = JobSpec::new("test", JobShape::MapReduce, vec![uri.clone()], uri);
        spec.attempt_bytes = ByteSize(attempt_bytes);
        let stats = AttemptStats::default();
        let pack = MapOutputPack::new(&dir.path().join("scratch"));
        let compression = Compression::Lz4;
        Self {
            dir,
            spec,
            compression,
            partitions: 3,
            split_size,
            moved: false,
            stats,
            pack,
            skip: Vec::new(),
            files: ShippedPaths::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn splits(&self, objects: &[(&str, &[u8])]) -> Vec<Split> {
        let mut splits = vec![];
        for (name, bytes) in objects {
            let path = self.path("in").join(name);
            fs::write(&path, bytes).expect("scratch");
            let size = bytes.len() as u64;
            let object =
                InputObject { uri: Uri::from_path(&path), size, modified_micros: None, etag: None, form: None };
            let object = Arc::new(object);
            let mut start = 0;
            while start < size {
                let end = (start + self.split_size).min(size);
                splits.push(Split { pieces: vec![Piece { object: Arc::clone(&object), start, end }], role: 0 });
                start = end;
            }
        }
        splits
    }

    fn attempt(&mut self, job: &dyn AnyJob, task: TaskId, input: &EngineTask<'_>) -> Result<AttemptReport, Failure> {
        let id = JobAttempt { job: JobId(1), attempt: AttemptId { task, number: 0 } };
        let context = AttemptContext {
            id,
            spec: &self.spec,
            scratch: &self.path("scratch"),
            staging: &self.path("staging"),
            pack: &self.pack,
            compression: self.compression,
            cancelled: &Arc::default(),
            files: &self.files,
            objects: &LocalObjects::shared(),
            position: &RecordPosition::new(),
        };
        let report = job.run(input, &context)?;
        self.stats.merge(&report.stats);
        Ok(report)
    }

    /// Takes in what the attempt that writes part `index` staged.
    fn add(&self, output: &mut ReferenceOutput, index: u32, report: &AttemptReport) {
        let AttemptOutput::Part(part) = &report.output else { panic!("not a part: {report:?}") };
        let staged = |name: &Path, bytes: u64, checksum: u64| {
            let content = fs::read(self.path("staging").join(name)).expect("the part is staged");
            assert_eq!((bytes, checksum), (content.len() as u64, xxhash_rust::xxh3::xxh3_64(&content)));
            content
        };
        output.parts.push(staged(part.staged_name.as_ref(), part.bytes, part.checksum));
        let folder = PathBuf::from(staged_named_dir(&part.staged_name));
        for (number, named) in part.named.iter().enumerate() {
            let content = staged(&folder.join(number.to_string()), named.bytes, named.checksum);
            output.named.entry(named.name.to_string()).or_default().insert(index, content);
        }
        assert_eq!(report.stats.output_bytes, part.total_bytes());
        assert_eq!(report.counters.get(NAMED_PARTS), part.named.len() as u64);
    }

    fn run(&mut self, job: &dyn AnyJob, objects: &[(&str, &[u8])]) -> Result<ReferenceOutput, Failure> {
        let mut output = ReferenceOutput::default();
        let (splits, skip) = (self.splits(objects), self.skip.clone());
        for (index, split) in splits.iter().enumerate() {
            let input = EngineTask::Map { split, partitions: self.partitions, skip: &skip };
            let report = self.attempt(job, TaskId::map(index as u32), &input)?;
            output.counters.merge(&report.counters);
            if job.shape() == JobShape::MapOnly {
                self.add(&mut output, index as u32, &report);
            }
        }
        if job.shape() == JobShape::MapReduce {
            for partition in 0..self.partitions {
                let segments = self.segments(splits.len(), partition);
                let report =
                    self.attempt(job, TaskId::reduce(partition), &EngineTask::Reduce { segments: &segments })?;
                output.counters.merge(&report.counters);
                self.add(&mut output, partition, &report);
            }
        }
        Ok(output)
    }

    fn segments(&self, maps: usize, partition: u32) -> Vec<LocalSegment> {
        let attempts = (0..maps as u32).map(|index| AttemptId { task: TaskId::map(index), number: 0 });
        let mut outputs = MapOutputs::new(&self.path("scratch"));
        let segments = attempts.flat_map(|attempt| {
            let output = outputs.open(attempt).expect("the map output is whole");
            let runs = output.segment(partition).expect("each partition has a segment");
            let path = output.path().to_owned();
            runs.into_iter().map(move |run| LocalSegment {
                attempt,
                path: path.clone(),
                offset: run.offset,
                bytes: run.bytes,
            })
        });
        let segments = segments.collect();
        if self.moved { self.moved(segments, partition) } else { segments }
    }

    /// The segments one behind the other in a new file, each whole, as they come over the network.
    fn moved(&self, runs: Vec<LocalSegment>, partition: u32) -> Vec<LocalSegment> {
        let path = self.path(&format!("moved-{partition}"));
        let (mut file, mut segments) = (Vec::new(), Vec::new());
        for segment in runs.chunk_by(|a, b| a.attempt == b.attempt) {
            let (attempt, offset) = (segment[0].attempt, file.len() as u64);
            for run in segment {
                let bytes = fs::read(&run.path).expect("the map output is there");
                file.extend_from_slice(&bytes[run.offset as usize..][..run.bytes as usize]);
            }
            segments.push(LocalSegment { attempt, path: path.clone(), offset, bytes: file.len() as u64 - offset });
        }
        fs::write(path, file).expect("scratch");
        segments
    }

    fn check(&mut self, job: Arc<dyn AnyJob>, objects: &[(&str, &[u8])], expect: &ReferenceOutput) {
        let output = self.run(&*job, objects).expect("the job succeeds");
        assert_eq!(output.counters, expect.counters);
        for (part, (seen, expect)) in output.parts.iter().zip(&expect.parts).enumerate() {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            assert_eq!(text(seen), text(expect), "part {part}");
        }
        assert!(output.named == expect.named, "named outputs differ");
        let left: Vec<_> = fs::read_dir(self.path("scratch"))
            .expect("scratch")
            .map(|entry| entry.expect("scratch").file_name().into_string().expect("text"))
            .filter(|name| !name.ends_with(".out") && !name.starts_with("pack-"))
            .collect();
        assert!(left.is_empty(), "left in scratch: {left:?}");
    }
}

fn reference<P: Fn(ReferenceInput<'_>) -> Result<ReferenceOutput>>(
    objects: &[(&str, &[u8])],
    partitions: u32,
    run: P,
) -> ReferenceOutput {
    run(ReferenceInput { objects, rule: &LineRule::Lf, partitions }).expect("no user error")
}

struct WordCount;

impl MapReduce for WordCount {
    type Input = Lines;
    type Key = [u8];
    type Value = u64;
    type Combine = Sum;
    type Output = Text<[u8], u64>;

    fn map(&self, line: &[u8], out: &mut impl Emit<[u8], u64>) -> Result<()> {
        out.count("lines", 1);
        words(line).try_for_each(|word| out.emit(word, 1))
    }

    fn reduce(&self, word: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
        out.put(word, counts.sum())
    }
}

/// Depends on the order of the values, so any deviation from the canonical order shows.
struct Concat;

impl MapReduce for Concat {
    type Input = Lines;
    type Key = Pair<[u8], u32>;
    type Value = [u8];
    type Combine = NoCombine;
    type Output = Text<Pair<[u8], u32>, [u8]>;

    fn map(&self, line: &[u8], out: &mut impl Emit<Pair<[u8], u32>, [u8]>) -> Result<()> {
        words(line).try_for_each(|word| out.emit((&word[..word.len().min(2)], word.len() as u32 % 3), word))
    }

    fn reduce(
        &self,
        key: (&[u8], u32),
        mut values: Values<[u8]>,
        out: &mut impl Sink<Pair<[u8], u32>, [u8]>,
    ) -> Result<()> {
        let mut all = Vec::new();
        while let Some(value) = values.next_ref() {
            all.extend_from_slice(value);
            all.push(b',');
            if all.len() > 100_000 {
                break; // What is left unread must not disturb the next group.
            }
        }
        out.put(key, &all)
    }
}

struct Copy;

impl MapOnly for Copy {
    type Input = Lines;
    type Output = Text<[u8]>;

    fn map(&self, line: &[u8], out: &mut impl Sink<[u8]>) -> Result<()> {
        out.put(line, ())
    }
}

fn text(seed: u64, words: usize) -> Vec<u8> {
    let mut state = seed;
    let mut text = Vec::new();
    for n in 0..words {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let word = state >> 40;
        text.extend_from_slice(format!("w{:x}", word % (1 + word % 5000)).as_bytes());
        if word.is_multiple_of(97) {
            text.extend_from_slice(b"-a-much-longer-word-than-sixteen-bytes");
        }
        text.push(if n % 11 == 0 { b'\n' } else { b' ' });
    }
    text
}

#[test]
fn jobs_equal_the_reference_however_small_the_memory() {
    let (a, b) = (text(1, 60_000), text(2, 30_000));
    let objects: [(&str, &[u8]); 3] = [("a", &a), ("empty", b""), ("b", &b)];
    let counts = reference(&objects, 3, |input| input.map_reduce(WordCount));
    let concats = reference(&objects, 3, |input| input.map_reduce(Concat));
    for (attempt_bytes, compression, spills) in [
        (64 << 20, Compression::None, false),
        (1 << 20, Compression::Lz4, true),
        (600 << 10, Compression::None, true),
        (20 << 10, Compression::None, true),
    ] {
        for (job, expect) in [(IntoAnyJob.map_reduce(Concat), &concats), (IntoAnyJob.map_reduce(WordCount), &counts)] {
            let is_count = std::ptr::eq(expect, &counts);
            if is_count && attempt_bytes < 512 << 10 {
                continue; // The smallest table is larger than half of that.
            }
            let mut bench = Bench::new(attempt_bytes, 200_000);
            bench.compression = compression;
            bench.check(job, &objects, expect);
            assert_eq!(bench.stats.spills > 0, spills, "{attempt_bytes} {is_count}");
            assert_eq!(bench.stats.merge_passes > 0, spills, "{attempt_bytes} {is_count}");
        }
    }
}

#[test]
fn a_few_full_buffers_are_runs_that_the_reduce_merges_wherever_they_are_moved() {
    let (a, b) = (text(1, 60_000), text(2, 3_000));
    let objects: [(&str, &[u8]); 2] = [("a", &a), ("b", &b)];
    let expect = reference(&objects, 3, |input| input.map_reduce(Concat));
    for moved in [false, true] {
        // The second object fits into the buffer, the first one fills it some times.
        let mut bench = Bench::new(2 << 20, 1 << 20);
        bench.moved = moved;
        bench.check(IntoAnyJob.map_reduce(Concat), &objects, &expect);
        let AttemptStats { spills, spilled_bytes, merge_passes, .. } = bench.stats;
        assert!((1..16).contains(&spills), "{spills}");
        assert_eq!((spilled_bytes, merge_passes), (0, 0));
    }
}

#[test]
fn merging_in_passes_reads_no_more_than_it_must() {
    // Half of the memory holds the blocks of a few segments less than there are.
    let words = text(1, 2_000);
    let names: Vec<String> = (0..40).map(|n| format!("{n:02}")).collect();
    let objects: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), words.as_slice())).collect();
    let expect = reference(&objects, 1, |input| input.map_reduce(Concat));
    let mut bench = Bench::new(4 << 20, 1 << 20);
    (bench.partitions, bench.compression) = (1, Compression::None);
    bench.check(IntoAnyJob.map_reduce(Concat), &objects, &expect);
    let segments = bench.segments(40, 0).iter().map(|segment| segment.bytes).sum::<u64>();
    let spilled = bench.stats.spilled_bytes;
    assert!(spilled > 0 && spilled < segments / 4, "{spilled} of {segments} bytes");
}

#[test]
fn an_attempt_that_fails_after_its_first_run_leaves_nothing() {
    struct Ending;
    impl MapReduce for Ending {
        type Input = Lines;
        type Key = [u8];
        type Value = ();
        type Combine = NoCombine;
        type Output = Text<[u8]>;

        fn map(&self, line: &[u8], out: &mut impl Emit<[u8], ()>) -> Result<()> {
            if line == b"end" { Err(JobError::new("asked to")) } else { out.emit(line, ()) }
        }

        fn reduce(&self, _: &[u8], _: Values<()>, _: &mut impl Sink<[u8]>) -> Result<()> {
            Ok(())
        }
    }
    let mut lines = text(1, 300_000);
    lines.extend_from_slice(b"\nend\n");
    let mut bench = Bench::new(2 << 20, 1 << 30);
    let splits = bench.splits(&[("a", &lines)]);
    let input = EngineTask::Map { split: &splits[0], partitions: 3, skip: &[] };
    let failure = bench.attempt(&*IntoAnyJob.map_reduce(Ending), TaskId::map(0), &input).expect_err("it fails");
    assert_eq!(failure.code, FailureCode::UserError, "{failure}");
    assert_eq!(fs::read_dir(bench.path("scratch")).expect("scratch").count(), 0);
}

/// Writes words in order over all parts.
struct SortWords;

impl MapReduce for SortWords {
    type Input = Lines;
    type Key = [u8];
    type Value = ();
    type Combine = NoCombine;
    type Output = Text<[u8]>;
    const ORDER: PartOrder = PartOrder::Total;

    fn map(&self, line: &[u8], out: &mut impl Emit<[u8], ()>) -> Result<()> {
        words(line).try_for_each(|word| out.emit(word, ()))
    }

    fn reduce(&self, word: &[u8], copies: Values<()>, out: &mut impl Sink<[u8]>) -> Result<()> {
        copies.try_for_each(|()| out.put(word, ()))
    }
}

#[test]
fn parts_in_total_order_follow_each_other_however_small_the_memory() {
    let (a, b) = (text(1, 40_000), text(2, 20_000));
    let objects: [(&str, &[u8]); 2] = [("a", &a), ("b", &b)];
    let mut expect: Vec<&[u8]> = words(&a).chain(words(&b)).collect();
    expect.sort_unstable();
    let expect = expect.into_iter().flat_map(|word| [word, b"\n"].concat()).collect::<Vec<u8>>();
    for (attempt_bytes, spills) in [(64 << 20, false), (1 << 20, true), (20 << 10, true)] {
        let mut bench = Bench::new(attempt_bytes, 200_000);
        let job = IntoAnyJob.map_reduce(SortWords);
        let plan = JobPlan { splits: bench.splits(&objects), reducers: 3, ..JobPlan::default() };
        let reads = Reads { files: &ShippedPaths::new(), objects: &LocalObjects::shared() };
        bench.spec.partitioning = range_partitioning(&*job, &bench.spec, &plan, &reads).expect("readable");
        let parts = bench.run(&*job, &objects).expect("the job succeeds").parts;
        assert!(parts.concat() == expect, "in {attempt_bytes}");
        let records = |part: &Vec<u8>| part.iter().filter(|&&byte| byte == b'\n').count();
        assert!(parts.iter().map(records).all(|n| (10_000..30_000).contains(&n)), "{:?}", parts.iter().map(records));
        assert_eq!(bench.stats.spills > 0, spills, "{attempt_bytes}");
    }
}

#[test]
fn a_spec_that_divides_keys_in_another_way_is_refused() {
    let check = |job: Arc<dyn AnyJob>, partitioning: Partitioning, partitions: u32, refused: bool| {
        let mut bench = Bench::new(16 << 20, 1 << 20);
        (bench.spec.partitioning, bench.partitions) = (partitioning, partitions);
        let result = bench.run(&*job, &[("a", b"b a\n")]).map_err(|failure| (failure.code, failure.disposition));
        assert_eq!(result.err(), refused.then_some((FailureCode::UserError, Disposition::Abort)));
    };
    let ranges = |count: usize| Partitioning::Range { splitters: vec![b"b".to_vec(); count] };
    check(IntoAnyJob.map_reduce(SortWords), ranges(2), 3, false);
    check(IntoAnyJob.map_reduce(SortWords), ranges(2), 2, true);
    check(IntoAnyJob.map_reduce(SortWords), Partitioning::default(), 2, true);
    check(IntoAnyJob.map_reduce(SortWords), Partitioning::default(), 1, false);
    check(IntoAnyJob.map_reduce(Concat), ranges(2), 3, true);
}

#[test]
fn map_only_jobs_write_a_part_for_each_task() {
    let objects: [(&str, &[u8]); 1] = [("a", b"one\r\ntwo\nthree")];
    let mut bench = Bench::new(16 << 20, 5);
    let output = bench.run(&*IntoAnyJob.map_only(Copy), &objects).expect("the job succeeds");
    assert_eq!(output.parts, [b"one\n".to_vec(), b"two\nthree\n".to_vec(), b"".to_vec()]);
}

#[test]
fn user_errors_and_panics_name_file_and_offset() {
    struct Fragile;
    impl MapReduce for Fragile {
        type Input = Utf8Lines;
        type Key = str;
        type Value = u64;
        type Combine = Sum;
        type Output = Text<str, u64>;

        fn map(&self, line: &str, out: &mut impl Emit<str, u64>) -> Result<()> {
            match line {
                "panic" => panic!("asked to"),
                "big" => out.emit(&"x".repeat(5 << 20), 1),
                _ => out.emit(line, line.parse()?),
            }
        }

        fn reduce(&self, key: &str, values: Values<u64>, out: &mut impl Sink<str, u64>) -> Result<()> {
            if key == "13" { Err(JobError::new("unlucky")) } else { out.put(key, values.sum()) }
        }
    }
    let check = |bytes: &[u8], code: FailureCode, message: &str, offset: Option<u64>| {
        let mut bench = Bench::new(16 << 20, 1 << 20);
        let failure = bench.run(&*IntoAnyJob.map_reduce(Fragile), &[("a.txt", bytes)]).expect_err("it fails");
        assert_eq!((failure.code, failure.position.as_ref().map(|p| p.offset)), (code, offset), "{failure}");
        assert!(failure.message.starts_with(message), "{failure}");
        assert!(failure.position.is_none_or(|p| p.object.ends_with("in/a.txt")));
        if offset.is_some() {
            assert_eq!(fs::read_dir(bench.path("staging")).expect("staging").count(), 0, "no part is left");
        }
    };
    check(b"1\nx\n", FailureCode::UserError, "map failed: invalid digit found in string", Some(2));
    check(b"1\n22\npanic\n", FailureCode::UserPanic, "user code panicked: asked to", Some(5));
    check(b"1\n\xff\n", FailureCode::BadRecord, "cannot read a record: not UTF-8", Some(2));
    check(
        b"1\nbig\n",
        FailureCode::RecordTooLarge,
        "an emitted key takes 5242880 bytes and the limit is 4194304 (4.00 MiB), a quarter",
        Some(2),
    );
    check(b"13\n", FailureCode::UserError, "reduce failed for key \"13\": unlucky", None);
    let most = b"18446744073709551615\n";
    let overflow = "combine failed: a sum overflows u64";
    check(&most.repeat(2), FailureCode::UserError, overflow, Some(21));
}

#[test]
fn changed_inputs_and_damaged_outputs_are_found() {
    let mut bench = Bench::new(16 << 20, 1 << 20);
    let job = IntoAnyJob.map_reduce(WordCount);
    let splits = bench.splits(&[("a", b"to be or not to be\n")]);
    let map = |bench: &mut Bench| {
        let input = EngineTask::Map { split: &splits[0], partitions: 3, skip: &[] };
        bench.attempt(&*job, TaskId::map(0), &input)
    };
    map(&mut bench).expect("unchanged");
    let attempt = AttemptId { task: TaskId::map(0), number: 0 };
    let output = MapOutputs::new(&bench.path("scratch")).open(attempt).expect("just written");
    let path = output.path().to_owned();
    let whole = fs::read(&path).expect("written");
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x20;
        fs::write(&path, &damaged).expect("scratch");
        let found = match MapOutputs::new(&bench.path("scratch")).open(attempt) {
            Err(_) => true,
            Ok(output) => (0..3).any(|partition| {
                let runs = output.segment(partition).expect("three partitions");
                let segment = |run: &SegmentRange| LocalSegment {
                    attempt,
                    path: path.clone(),
                    offset: run.offset,
                    bytes: run.bytes,
                };
                let segments: Vec<LocalSegment> = runs.iter().map(segment).collect();
                let result =
                    bench.attempt(&*job, TaskId::reduce(partition), &EngineTask::Reduce { segments: &segments });
                result.is_err_and(|failure| failure.lost_outputs == [attempt])
            }),
        };
        assert!(found, "a flip at byte {at} is not found");
    }
    fs::write(bench.path("in").join("a"), b"shorter\n").expect("scratch");
    let failure = map(&mut bench).expect_err("changed");
    assert_eq!(failure.code, FailureCode::InputChanged, "{failure}");
    fs::remove_file(bench.path("in").join("a")).expect("scratch");
    assert_eq!(map(&mut bench).expect_err("gone").code, FailureCode::InputUnreadable);
}

#[test]
fn records_beyond_the_limit_are_refused_by_offset() {
    let mut bench = Bench::new(1 << 20, 1 << 30);
    let mut long = b"short\n".to_vec();
    long.resize(2 << 20, b'x');
    let failure = bench.run(&*IntoAnyJob.map_only(Copy), &[("a", &long)]).expect_err("too long");
    assert_eq!(failure.code, FailureCode::RecordTooLarge);
    assert_eq!(failure.position.map(|p| p.offset), Some(6));
    let fits = vec![b'y'; 200 << 10];
    let output = Bench::new(1 << 20, 7_000).run(&*IntoAnyJob.map_only(Copy), &[("a", &fits)]).expect("it fits");
    assert_eq!(output.parts.concat().len(), fits.len() + 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn any_split_size_reads_the_same_records(
        file in proptest::collection::vec(proptest::sample::select(b"ab\n\r\xef\xbb\xbf".to_vec()), 0..50),
        split_size in 1_u64..12,
    ) {
        let delimiter = |text: &str| LineRule::Delimiter(text.parse().expect("valid"));
        for rule in [LineRule::Lf, LineRule::Any, delimiter("ab"), delimiter("\\n")] {
            let mut bench = Bench::new(16 << 20, split_size);
            bench.spec.line_rule = rule.clone();
            let expect: Vec<u8> = rule.records(&file).flat_map(|record| [record, b"\n"].concat()).collect();
            let output = bench.run(&*IntoAnyJob.map_only(Copy), &[("a", &file)]).expect("the job succeeds");
            prop_assert_eq!(output.parts.concat(), expect, "{} in splits of {}", rule, split_size);
        }
    }
}

#[test]
fn repeated_attempts_give_the_same_segments() {
    let made = |job: Arc<dyn AnyJob>, attempt_bytes: u64, seed: u64, compression: Compression| {
        let words = text(seed, 50_000);
        let mut bench = Bench::new(attempt_bytes, 1 << 30);
        bench.compression = compression;
        let splits = bench.splits(&[("a", &words)]);
        let input = EngineTask::Map { split: &splits[0], partitions: 3, skip: &[] };
        let report = bench.attempt(&*job, TaskId::map(0), &input).expect("succeeds");
        assert!(report.stats.spills > 0);
        let AttemptOutput::MapOutput(made) = report.output else { panic!("not a map output") };
        assert_eq!(made.partitions, 3);
        made.content_hash
    };
    let jobs = [(IntoAnyJob.map_reduce(WordCount), 1 << 20), (IntoAnyJob.map_reduce(Concat), 2 << 20)];
    for (job, attempt_bytes) in jobs {
        let made = |seed, compression| made(Arc::clone(&job), attempt_bytes, seed, compression);
        assert_eq!(made(3, Compression::None), made(3, Compression::Lz4));
        assert_ne!(made(3, Compression::None), made(4, Compression::None), "different content has different hashes");
    }
}
