//! Sampling: the keys that a job's `map` emits for records spread evenly over its input, and the
//! ranges of even size that they make. A function of spec and input alone: no randomness, no clock.
//!
//! A record that `map` refuses is passed over: the attempt that reads it reports it, and every sample
//! lacks it. An object that cannot be read ends the sampling: without it the parts would begin and end
//! at other keys than those of a run that could read it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use gristmill_common::content::form_of;
use gristmill_common::datum::Datum;
use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::form::{Codec, Form};
use gristmill_common::ids::{AttemptId, TaskId};
use gristmill_common::input::{Block, Heading, Provenance};
use gristmill_common::job::{Emit, MapReduce, Result as JobResult};
use gristmill_common::key::Key;
use gristmill_common::objects::OpenObject;
use gristmill_common::partition::{MAX_SPLITTER_BYTES, Partitioning};
use gristmill_common::setup::TaskContext;
use gristmill_common::spec::JobSpec;
use gristmill_common::task::{InputObject, JobPlan, Piece};

use super::input::{PieceRecords, RawBlock, ReadBuffer, Reading, heading_of};
use super::{AnyJob, Reads, failures, panics};

/// Places of the input that are looked at. More follow an input whose keys change along the way more
/// closely, and cost a read from disk each.
const PLACES: u64 = 256;

/// Records taken at each place. Together with [`PLACES`] this decides how evenly parts are divided:
/// of `n` records in all and `r` parts, a part is off by about `sqrt(r / n)` of its size.
const RECORDS_PER_PLACE: usize = 64;

/// The most keys taken at each place, for jobs that emit many for a record.
const KEYS_PER_PLACE: usize = 1024;

/// Bytes of content that may be read for each place of an object that can only be read from its beginning.
/// More finds places further behind, and takes as long as decoding that much does.
const PASSED_BYTES_PER_PLACE: u64 = 2 << 20;

/// Blocks of compressed content that are decoded for all places of an object, if it is read by blocks.
const BLOCKS: usize = 64;

/// Compressed bytes that hold hardly more blocks than that, so that all of them may be read.
const FEW_BLOCKS_BYTES: u64 = 8 << 20;

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
    let places = places(plan);
    let mut left = vec![Left { records: RECORDS_PER_PLACE, keys: KEYS_PER_PLACE }; places.len()];
    for stretch in stretches(&places) {
        let mut found = Found { keys: &mut keys, left: &mut left };
        unless_of_object(sample_stretch(job, (spec, reads), &stretch, &mut buffer, &mut found))?;
    }
    Ok(keys)
}

/// Passes over a failure that does not tell of an object as a whole. What cannot be framed, decoded or mapped
/// is the attempts' business; here it is only not found.
fn unless_of_object(sampled: Result<(), Failure>) -> Result<(), Failure> {
    sampled.or_else(|failure| match failure.code {
        FailureCode::InputUnreadable | FailureCode::InputChanged => Err(failure),
        _ => Ok(()),
    })
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

/// Pieces of one object that are read one after the other.
struct Stretch<'a> {
    role: u32,
    /// All of them.
    whole: Piece,
    /// Each with the number of its place.
    pieces: Vec<(usize, &'a Piece)>,
}

/// The pieces of all places, those of one object together.
fn stretches(places: &[Vec<(u32, Piece)>]) -> Vec<Stretch<'_>> {
    let mut stretches: Vec<Stretch<'_>> = Vec::new();
    for (place, pieces) in places.iter().enumerate() {
        for (role, piece) in pieces {
            match stretches.last_mut().filter(|last| Arc::ptr_eq(&last.whole.object, &piece.object)) {
                Some(last) if last.role == *role && last.whole.end == piece.start => {
                    last.whole.end = piece.end;
                    last.pieces.push((place, piece));
                }
                _ => stretches.push(Stretch { role: *role, whole: piece.clone(), pieces: vec![(place, piece)] }),
            }
        }
    }
    stretches
}

/// Maps the first records of each piece, as many as its place still lacks.
fn sample_stretch<J: MapReduce>(
    job: &J,
    (spec, reads): (&JobSpec, &Reads<'_>),
    stretch: &Stretch<'_>,
    buffer: &mut ReadBuffer,
    found: &mut Found<'_>,
) -> Result<(), Failure> {
    let wanted = |left: &[Left], place: usize| left[place].records > 0;
    if !stretch.pieces.iter().any(|(place, _)| wanted(found.left, *place)) {
        return Ok(());
    }
    let how = Reading::of::<J::Input>(spec, stretch.role, job.columns(stretch.role), &**reads.objects);
    let object = &*stretch.whole.object;
    let open = NoReadAhead { open: reads.objects.open(object)?, object };
    let form = form_of(object, how.form, &open)?;
    let mut sampler = Sampler { job, spec, how: &how, open: &open, role: stretch.role, found };
    match form {
        Form::Plain => {
            for (place, piece) in &stretch.pieces {
                if wanted(sampler.found.left, *place) {
                    unless_of_object(sampler.sample(piece, &[(*place, piece)], Take::AtOnce, buffer))?;
                }
            }
        }
        // To begin anywhere costs a block, so that one serves several places.
        form if is_read_by_blocks(form) && stretch.whole.end - stretch.whole.start > FEW_BLOCKS_BYTES => {
            for pieces in stretch.pieces.chunks(stretch.pieces.len().div_ceil(BLOCKS)) {
                let ends = pieces.first().zip(pieces.last());
                let Some(((_, first), (_, last))) = ends else { continue };
                let piece = Piece { object: Arc::clone(&first.object), start: first.start, end: last.end };
                unless_of_object(sampler.sample(&piece, pieces, Take::AtOnce, buffer))?;
            }
        }
        _ => sampler.sample(&stretch.whole, &stretch.pieces, Take::WhenPassed, buffer)?,
    }
    Ok(())
}

/// Whether reading may begin in the middle of an object.
fn is_read_by_blocks(form: Form) -> bool {
    form == Form::SeekableZstd || form.codec().is_some_and(Codec::is_splittable)
}

/// When the records of a place are taken from an object that is read in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Take {
    /// As soon as those of the places before have been.
    AtOnce,
    /// Once as much of the object has been read.
    WhenPassed,
}

/// What is known of a block.
struct Of<'h> {
    is_row: bool,
    heading: Option<&'h Heading>,
}

/// Maps records of one object.
struct Sampler<'s, 'f, J> {
    job: &'s J,
    spec: &'s JobSpec,
    how: &'s Reading<'s>,
    open: &'s NoReadAhead<'s>,
    role: u32,
    found: &'s mut Found<'f>,
}

impl<J: MapReduce> Sampler<'_, '_, J> {
    /// Reads a piece from its beginning and maps as many records for each place as it still lacks.
    fn sample(
        &mut self,
        piece: &Piece,
        places: &[(usize, &Piece)],
        take: Take,
        buffer: &mut ReadBuffer,
    ) -> Result<(), Failure> {
        let mut records = PieceRecords::open(self.open, piece, self.how, buffer)?;
        let (is_row, has_columns, mut heading) = (records.is_row(), records.has_columns(), None);
        let mut places = places.iter().peekable();
        let mut bytes_left = PASSED_BYTES_PER_PLACE * places.len() as u64;
        let mut beginning = piece.start == 0;
        while places.peek().is_some() && bytes_left > 0 {
            let Some(raw) = records.next_block()? else { break };
            bytes_left = bytes_left.saturating_sub(raw.bytes.len() as u64);
            if heading.is_none() && !has_columns {
                heading = heading_of(self.open, piece, self.how, beginning.then_some(raw.bytes))?;
            }
            let of = Of { is_row, heading: heading.as_ref() };
            let due = |place: &Piece| take == Take::AtOnce || place.start <= raw.stored_to;
            let mut used = 0;
            while let Some(&&(place, _)) = places.peek().filter(|(_, piece)| due(piece)) {
                used += self.map_first(&raw, &of, used, place, std::mem::take(&mut beginning));
                if take == Take::AtOnce && self.found.left[place].records > 0 && places.len() > 1 {
                    break;
                }
                places.next();
                if used == raw.bytes.len() {
                    break;
                }
            }
            beginning = false;
        }
        Ok(())
    }

    /// Maps the first records of a block behind those `used`, as many as a place still lacks; tells how
    /// many bytes they take.
    fn map_first(&mut self, raw: &RawBlock<'_>, of: &Of<'_>, used: usize, place: usize, beginning: bool) -> usize {
        let bytes = &raw.bytes[used..];
        let left = &mut self.found.left[place];
        let mut end = 0;
        while end < bytes.len() && left.records > 0 {
            end = self.how.framing_of(of.is_row).record_at(bytes, end).next;
            left.records -= 1;
        }
        let object = self.open.object.uri.to_string();
        let mut from = Provenance::new(&object, raw.offset + used as u64, self.role).under(of.heading);
        from.is_row = of.is_row;
        let position = AtomicU64::new(0);
        let mut block = Block::new(&bytes[..end], &self.spec.line_rule, from, &position);
        if beginning {
            block = block.beginning_object();
        }
        let mut keys = SampledKeys { keys: self.found.keys, left: &mut left.keys };
        // An error of `map` ends this place early; what was emitted before it is as good as any key.
        let mapped = panics::catch(|| self.job.map_block(&mut block, &mut keys));
        let _ = mapped;
        end
    }
}

/// What a place still lacks.
#[derive(Debug, Clone, Copy)]
struct Left {
    records: usize,
    keys: usize,
}

/// The keys found so far, and what each place still lacks.
struct Found<'a> {
    keys: &'a mut Vec<Vec<u8>>,
    left: &'a mut [Left],
}

/// Takes the keys that `map` emits, and nothing else.
struct SampledKeys<'a> {
    keys: &'a mut Vec<Vec<u8>>,
    left: &'a mut usize,
}

impl<K: Key + ?Sized, V: gristmill_common::datum::Value + ?Sized> Emit<K, V> for SampledKeys<'_> {
    fn emit(&mut self, key: <K as Datum>::Ref<'_>, _value: <V as Datum>::Ref<'_>) -> JobResult<()> {
        if *self.left > 0 {
            *self.left -= 1;
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
struct NoReadAhead<'a> {
    open: Box<dyn OpenObject>,
    object: &'a InputObject,
}

impl OpenObject for NoReadAhead<'_> {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.open.read_at(into, offset)
    }

    fn will_read(&self, _offset: u64, _bytes: u64) {}

    fn check(&self) -> Result<(), Failure> {
        self.open.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::IntoAnyJob;
    use gristmill_common::compression::Encoder;
    use gristmill_common::naming::Uri;
    use gristmill_common::objects::{LocalObjects, ObjectReader};
    use gristmill_common::prelude::*;
    use gristmill_common::setup::ShippedPaths;
    use gristmill_common::size::ByteSize;
    use gristmill_common::spec::JobShape;
    use gristmill_common::task::Split;
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
    fn compressed_inputs_are_sampled_evenly_and_always_alike() {
        let lines: Vec<String> = (0..200_000).map(|n| format!("{n:06}")).collect();
        let content = lines.join("\n").into_bytes();
        for codec in [Codec::Gzip, Codec::Bzip2, Codec::Zstd] {
            let mut encoder = Encoder::new(codec, ByteSize::mib(16)).expect("it begins");
            let (mut part, mut stored) = (encoder.begin(), Vec::new());
            content.chunks(20_000).for_each(|piece| encoder.encode(&mut part, piece, &mut stored).expect("it goes on"));
            encoder.finish(&mut part, &mut stored).expect("it ends");
            let seen = sample(&[&stored], 10_000);
            assert_eq!(seen, sample(&[&stored], 1 << 20), "{codec}: the plan's splits do not matter");
            assert!(seen.len() > 5_000, "{codec}: {} keys", seen.len());
            for quarter in 1..4 {
                let key: usize = seen[seen.len() * quarter / 4].parse().expect("a line");
                assert!(key.abs_diff(quarter * 50_000) < 15_000, "{codec}: {key} at {quarter} of 4");
            }
        }
    }

    #[test]
    fn long_records_are_found_too() {
        let text: Vec<String> = (0..20).map(|n| format!("{n:02}{}", "x".repeat(100_000))).collect();
        let seen = sample(&[text.join("\n").as_bytes()], 1 << 30);
        assert_eq!(seen.len(), 20);
        assert!(seen.iter().all(|key| key.len() == MAX_SPLITTER_BYTES));
    }
}
