//! Sampling: the keys that a job's `map` emits for records spread evenly over its input, and the
//! ranges of even size that they make. A function of spec and input alone: no randomness, no clock.
//!
//! A record that `map` refuses is passed over: the attempt that reads it reports it, and every sample
//! lacks it. An object that cannot be read ends the sampling: without it the parts would begin and end
//! at other keys than those of a run that could read it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use gristmill_common::datum::Datum;
use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::{AttemptId, TaskId};
use gristmill_common::input::{Block, Input, Provenance};
use gristmill_common::job::{Emit, MapReduce, Result as JobResult};
use gristmill_common::key::Key;
use gristmill_common::objects::OpenObject;
use gristmill_common::partition::{MAX_SPLITTER_BYTES, Partitioning};
use gristmill_common::setup::TaskContext;
use gristmill_common::spec::JobSpec;
use gristmill_common::task::{JobPlan, Piece};

use super::input::{PieceReader, ReadBuffer};
use super::{AnyJob, Reads, failures, panics};

/// Places of the input that are looked at. More follow an input whose keys change along the way more
/// closely, and cost a read from disk each.
const PLACES: u64 = 256;

/// Records taken at each place. Together with [`PLACES`] this decides how evenly parts are divided:
/// of `n` records in all and `r` parts, a part is off by about `sqrt(r / n)` of its size.
const RECORDS_PER_PLACE: usize = 64;

/// The most keys taken at each place, for jobs that emit many for a record.
const KEYS_PER_PLACE: usize = 1024;

/// Bytes read at once: most places need no more.
const READ_BYTES: usize = 16 << 10;

/// The ranges for a planned job whose parts are to be in order, which reads that besides.
///
/// # Errors
///
/// `INPUT_UNREADABLE` or `INPUT_CHANGED` if an object cannot be read or is not what was planned; names
/// it.
pub fn range_partitioning(
    job: &dyn AnyJob,
    spec: &JobSpec,
    plan: &JobPlan,
    reads: &Reads<'_>,
) -> Result<Partitioning, Failure> {
    let keys = if plan.reducers > 1 { job.sample_keys(spec, plan, reads)? } else { Vec::new() };
    Ok(Partitioning::ranges(keys, plan.reducers))
}

/// See [`AnyJob::sample_keys`].
pub(super) fn sample_keys<J: MapReduce>(
    job: &J,
    spec: &JobSpec,
    plan: &JobPlan,
    reads: &Reads<'_>,
) -> Result<Vec<Vec<u8>>, Failure> {
    let folder = std::env::temp_dir().join(format!("gristmill-sample-{}", std::process::id()));
    let first = AttemptId { task: TaskId::map(0), number: 0 };
    let task = TaskContext::new(first, plan.reducers, reads.files, folder).reading(Arc::clone(reads.objects));
    let own = panics::catch(|| job.setup(&task)).map_err(|message| failures::user_panic(&message))?;
    let own = own.map_err(|error| failures::user_failed("setup", &error))?;
    let job = own.as_ref().unwrap_or(job);

    let mut keys = Vec::new();
    let mut buffer = ReadBuffer::reading(READ_BYTES);
    for place in places(plan) {
        let mut found = SampledKeys { keys: &mut keys, left: KEYS_PER_PLACE };
        let mut records = RECORDS_PER_PLACE;
        for (role, piece) in &place {
            let piece = (*role, piece);
            match panics::catch(|| sample_piece(job, (spec, reads), piece, &mut buffer, &mut records, &mut found)) {
                Ok(Err(failure)) if is_of_object(&failure) => return Err(failure),
                // What cannot be framed or mapped is the attempts' business; here it is only not found.
                Ok(Ok(()) | Err(_)) | Err(_) => {}
            }
            if records == 0 {
                break;
            }
        }
    }
    Ok(keys)
}

/// Whether a failure tells of an object as a whole, and not of what is in it.
fn is_of_object(failure: &Failure) -> bool {
    matches!(failure.code, FailureCode::InputUnreadable | FailureCode::InputChanged)
}

/// Stretches of the input that follow each other and are even in bytes, each as pieces of objects.
/// Only their beginnings will be looked at.
fn places(plan: &JobPlan) -> Vec<Vec<(u32, Piece)>> {
    let pieces = || plan.splits.iter().flat_map(|split| split.pieces.iter().map(move |piece| (split.role, piece)));
    let total: u64 = pieces().map(|(_, piece)| piece.end - piece.start).sum();
    let count = PLACES.min(total);
    let boundary = |index: u64| (u128::from(total) * u128::from(index) / u128::from(count)) as u64;
    let mut places: Vec<Vec<(u32, Piece)>> = Vec::new();
    let (mut next, mut passed) = (0, 0);
    for (role, piece) in pieces() {
        let mut start = piece.start;
        while start < piece.end {
            let at = passed + (start - piece.start);
            if at == boundary(next) {
                places.push(Vec::new());
                next += 1;
            }
            let end = piece.end.min(start + (boundary(next) - at));
            let part = (role, Piece { object: piece.object.clone(), start, end });
            places.last_mut().expect("the first boundary is 0").push(part);
            start = end;
        }
        passed += piece.end - piece.start;
    }
    places
}

/// Maps the first records of a piece, `records` at most, and subtracts how many there were.
fn sample_piece<J: MapReduce>(
    job: &J,
    (spec, reads): (&JobSpec, &Reads<'_>),
    (role, piece): (u32, &Piece),
    buffer: &mut ReadBuffer,
    records: &mut usize,
    found: &mut SampledKeys<'_>,
) -> Result<(), Failure> {
    let open = NoReadAhead(reads.objects.open(&piece.object)?);
    let framing = J::Input::framing(&spec.line_rule, role);
    let mut reader = PieceReader::start(&open, piece, framing, spec.max_record_bytes(), buffer)?;
    let Some(raw) = reader.next_block()? else { return Ok(()) };
    let mut end = 0;
    while end < raw.bytes.len() && *records > 0 {
        end = framing.record_at(raw.bytes, end).next;
        *records -= 1;
    }
    let object = piece.object.uri.to_string();
    let (from, position) = (Provenance::new(&object, raw.offset, role), AtomicU64::new(0));
    let mut block = Block::new(&raw.bytes[..end], &spec.line_rule, from, &position);
    if piece.start == 0 {
        block = block.beginning_object();
    }
    // An error of `map` ends this place early; what was emitted before it is as good as any key.
    let _ = job.map_block(&mut block, found);
    Ok(())
}

/// Takes the keys that `map` emits, and nothing else.
struct SampledKeys<'a> {
    keys: &'a mut Vec<Vec<u8>>,
    left: usize,
}

impl<K: Key + ?Sized, V: gristmill_common::datum::Value + ?Sized> Emit<K, V> for SampledKeys<'_> {
    fn emit(&mut self, key: <K as Datum>::Ref<'_>, _value: <V as Datum>::Ref<'_>) -> JobResult<()> {
        if self.left > 0 {
            self.left -= 1;
            let mut encoded = Vec::new();
            K::encode(&key, &mut encoded);
            // No splitter is longer, so what follows decides nothing.
            encoded.truncate(MAX_SPLITTER_BYTES);
            encoded.shrink_to_fit();
            self.keys.push(encoded);
        }
        Ok(())
    }

    fn count(&mut self, _name: &str, _by: u64) {}
}

/// An object of which little is read, so that nothing is to be loaded ahead.
struct NoReadAhead(Box<dyn OpenObject>);

impl OpenObject for NoReadAhead {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(into, offset)
    }

    fn will_read(&self, _offset: u64, _bytes: u64) {}

    fn check(&self) -> Result<(), Failure> {
        self.0.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::IntoAnyJob;
    use gristmill_common::naming::Uri;
    use gristmill_common::objects::{LocalObjects, ObjectReader};
    use gristmill_common::prelude::*;
    use gristmill_common::setup::ShippedPaths;
    use gristmill_common::spec::JobShape;
    use gristmill_common::task::{InputObject, Split};
    use std::path::Path;

    /// Emits each line, and fails in both ways at some.
    struct Sorted;

    impl MapReduce for Sorted {
        type Input = Lines;
        type Key = [u8];
        type Value = ();
        type Combine = NoCombine;
        type Output = Text<[u8]>;
        const ORDER: PartOrder = PartOrder::Total;

        fn map(&self, line: &[u8], out: &mut impl Emit<[u8], ()>) -> Result<()> {
            match line {
                b"panic" => panic!("asked to"),
                b"error" => Err(JobError::new("asked to")),
                _ => out.emit(line, ()),
            }
        }

        fn reduce(&self, line: &[u8], copies: Values<()>, out: &mut impl Sink<[u8]>) -> Result<()> {
            copies.try_for_each(|()| out.put(line, ()))
        }
    }

    fn plan(dir: &Path, files: &[&[u8]], split_size: u64, reducers: u32) -> (JobSpec, JobPlan) {
        let mut plan = JobPlan { reducers, ..JobPlan::default() };
        for (index, bytes) in files.iter().enumerate() {
            let path = dir.join(index.to_string());
            std::fs::write(&path, bytes).expect("scratch");
            let size = bytes.len() as u64;
            let object =
                InputObject { uri: Uri::from_path(&path), size, modified_micros: None, etag: None, form: None };
            let object = Arc::new(object);
            for start in (0..size).step_by(split_size as usize) {
                let end = size.min(start + split_size);
                plan.splits.push(Split { pieces: vec![Piece { object: Arc::clone(&object), start, end }], role: 0 });
            }
        }
        let uri = Uri::from_path(dir);
        (JobSpec::new("sort", JobShape::MapReduce, vec![uri.clone()], uri), plan)
    }

    fn reads<'a>(files: &'a ShippedPaths, objects: &'a Arc<dyn ObjectReader>) -> Reads<'a> {
        Reads { files, objects }
    }

    fn sample(files: &[&[u8]], split_size: u64) -> Vec<String> {
        let dir = tempfile::tempdir().expect("scratch");
        let (spec, plan) = plan(dir.path(), files, split_size, 2);
        let keys = IntoAnyJob
            .map_reduce(Sorted)
            .sample_keys(&spec, &plan, &reads(&ShippedPaths::new(), &LocalObjects::shared()))
            .expect("readable");
        keys.into_iter().map(|key| String::from_utf8(key).expect("text")).collect()
    }

    #[test]
    fn small_inputs_are_taken_whole() {
        assert_eq!(sample(&[], 10), [""; 0]);
        assert_eq!(sample(&[b"", b"a\n", b"b\nc"], 3), ["a", "b", "c"]);
        let lines: Vec<String> = (0..5000).map(|n| format!("line {n}")).collect();
        for split_size in [100, 5000, 1 << 20] {
            assert_eq!(sample(&[lines.join("\n").as_bytes()], split_size).len(), 5000, "{split_size}");
        }
    }

    #[test]
    fn large_inputs_are_sampled_evenly_and_always_alike() {
        let lines: Vec<String> = (0..400_000).map(|n| format!("{n:06}")).collect();
        let (front, back) = lines.split_at(100_000);
        let files = [front.join("\n"), back.join("\n")];
        let files = [files[0].as_bytes(), files[1].as_bytes()];
        let seen = sample(&files, 1 << 20);
        assert_eq!(seen.len(), PLACES as usize * RECORDS_PER_PLACE);
        assert_eq!(seen, sample(&files, 1 << 16), "the plan's splits do not matter");
        for (index, key) in seen.iter().step_by(1000).enumerate() {
            let number: usize = key.parse().expect("a number");
            assert!(number.abs_diff(index * 1000 * 400_000 / seen.len()) < 4_000, "{number} at {index}");
        }
    }

    #[test]
    fn records_that_map_refuses_are_passed_over() {
        let keys = sample(&[b"a\npanic\nb\n", b"error\nc\n", b"d\n"], 100);
        assert!(keys.contains(&"a".to_owned()) && keys.contains(&"d".to_owned()), "{keys:?}");
    }

    #[test]
    fn an_object_that_cannot_be_read_is_named() {
        let dir = tempfile::tempdir().expect("scratch");
        let (spec, plan) = plan(dir.path(), &[b"a\nb\n", b"c\nd\n"], 100, 2);
        let job = IntoAnyJob.map_reduce(Sorted);
        let (files, objects) = (ShippedPaths::new(), LocalObjects::shared());
        let whole = range_partitioning(&*job, &spec, &plan, &reads(&files, &objects)).expect("readable");
        assert_eq!(whole, Partitioning::Range { splitters: vec![b"c".to_vec()] });
        std::fs::remove_file(dir.path().join("0")).expect("removed");
        let failure = range_partitioning(&*job, &spec, &plan, &reads(&files, &objects)).expect_err("an object is gone");
        let gone = format!("cannot read input {}: ", dir.path().join("0").display());
        assert!(failure.code == FailureCode::InputUnreadable && failure.message.starts_with(&gone), "{failure:?}");
        let one = JobPlan { reducers: 1, ..plan };
        let unsampled = range_partitioning(&*job, &spec, &one, &reads(&files, &objects)).expect("nothing is read");
        assert_eq!(unsampled, Partitioning::Range { splitters: vec![] });
    }

    #[test]
    fn long_records_are_found_too() {
        let text: Vec<String> = (0..20).map(|n| format!("{n:02}{}", "x".repeat(100_000))).collect();
        let seen = sample(&[text.join("\n").as_bytes()], 1 << 30);
        assert_eq!(seen.len(), 20);
        assert!(seen.iter().all(|key| key.len() == MAX_SPLITTER_BYTES));
    }
}
