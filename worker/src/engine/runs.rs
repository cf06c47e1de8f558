//! Sorted runs in files, and merging them: spills of a map attempt into its map output, runs of a
//! reduce attempt's segments into fewer ones. A fold that may run early runs here too.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gristmill_common::combine::Combine;
use gristmill_common::datum::Value;
use gristmill_common::failure::Failure;
use gristmill_common::ids::AttemptId;
use gristmill_common::job::MapReduce;
use gristmill_common::task::AttemptStats;

use super::merge::{MAX_FAN_IN, Merge, fan_in};
use super::shuffle::{
    self, BLOCK_BYTES, RecordOrder, RecordRef, SegmentBlocks, SegmentCursor, SegmentRange, SegmentWriter,
};
use super::{AttemptContext, LocalSegment, failures};

/// Bytes a cursor needs besides its block.
pub(super) const CURSOR_BYTES: u64 = 512;

/// Files with several map outputs that a reduce attempt holds open. Raised, a merge over very many
/// small outputs opens fewer files; lowered, it leaves more descriptors to others.
const MAX_HELD_FILES: usize = 64;

/// Records between two looks at the cancel flag.
const CANCEL_CHECK_RECORDS: u64 = 1 << 16;

/// One sequence of records for each partition, in one file; sorted, except where another attempt left
/// that to its reader.
#[derive(Debug)]
pub(super) struct Run {
    place: Place,
    segments: Vec<SegmentRange>,
    order: RecordOrder,
}

#[derive(Debug, Clone)]
enum Place {
    /// A spill or merge of this very attempt, in a file without a name.
    Own(Arc<File>),
    /// Another attempt's map output. A file with several of them may be held open; any other is opened
    /// only while it is read, since there may be more than a process may hold open.
    MapOutput { path: PathBuf, held: Option<Arc<File>>, attempt: AttemptId },
}

/// The runs of other attempts' segments, in order, each with one partition; empty ones are left out.
pub(super) fn fetched(segments: &[LocalSegment]) -> Result<Vec<Run>, Failure> {
    let mut shared: BTreeMap<&Path, usize> = BTreeMap::new();
    for segment in segments {
        *shared.entry(&segment.path).or_default() += 1;
    }
    let several = shared.into_iter().filter(|(_, count)| *count > 1).take(MAX_HELD_FILES);
    // One that cannot be opened is tried again for each of its segments, which are then lost.
    let held: BTreeMap<&Path, Arc<File>> =
        several.filter_map(|(path, _)| Some((path, Arc::new(File::open(path).ok()?)))).collect();
    let mut runs = Vec::with_capacity(segments.len());
    for segment in segments {
        Run::fetched(segment, held.get(segment.path.as_path()).cloned(), &mut runs)?;
    }
    Ok(runs)
}

impl Run {
    /// Adds the runs of another attempt's segment to `runs`.
    fn fetched(segment: &LocalSegment, held: Option<Arc<File>>, runs: &mut Vec<Self>) -> Result<(), Failure> {
        let place = Place::MapOutput { path: segment.path.clone(), held, attempt: segment.attempt };
        let found = shuffle::survey(&*place.file()?, segment.offset, segment.bytes);
        for run in found.map_err(|error| place.failed(&error))? {
            let shuffle::Survey { offset, bytes, largest, order } = run;
            let range = SegmentRange { offset, bytes, largest, ..SegmentRange::default() };
            runs.push(Self { place: place.clone(), segments: vec![range], order });
        }
        Ok(())
    }

    /// Bytes of all its segments.
    pub(super) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// How its records follow each other.
    pub(super) fn order(&self) -> RecordOrder {
        self.order
    }

    /// Memory that merging it with others takes.
    fn need(&self) -> u64 {
        self.largest() + CURSOR_BYTES
    }

    /// Memory that reading any one of its segments takes: a block as stored and as read.
    pub(super) fn largest(&self) -> u64 {
        2 * self.segments.iter().map(|segment| segment.largest).max().unwrap_or(0)
    }

    /// The blocks of a partition's segment.
    pub(super) fn blocks(&self, partition: usize) -> Result<SegmentBlocks, Failure> {
        let SegmentRange { offset, bytes, .. } = self.segments[partition];
        let name = match &self.place {
            Place::Own(_) => "a spill".into(),
            Place::MapOutput { path, .. } => path.display().to_string().into(),
        };
        Ok(SegmentBlocks::new(self.place.file()?, name, offset, bytes))
    }

    fn open(&self, partition: usize) -> Result<SegmentCursor, Failure> {
        SegmentCursor::open(self.blocks(partition)?).map_err(|error| self.failed(&error))
    }

    /// What it means that this run cannot be read.
    pub(super) fn failed(&self, error: &dyn std::fmt::Display) -> Failure {
        self.place.failed(error)
    }
}

impl Place {
    fn file(&self) -> Result<Arc<File>, Failure> {
        match self {
            Place::Own(file) => Ok(Arc::clone(file)),
            Place::MapOutput { held: Some(file), .. } => Ok(Arc::clone(file)),
            Place::MapOutput { path, held: None, attempt } => File::open(path)
                .map(Arc::new)
                .map_err(|error| failures::map_output_lost(*attempt, &format_args!("{}: {error}", path.display()))),
        }
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Failure {
        match self {
            Place::Own(_) => failures::spill_unreadable(&error),
            Place::MapOutput { attempt, .. } => failures::map_output_lost(*attempt, &error),
        }
    }
}

/// A scratch file to which runs are appended. It has no name any more: whatever ends the process,
/// nothing is left of it.
#[derive(Debug)]
pub(super) struct SpillFile {
    file: Arc<File>,
    bytes: u64,
}

impl SpillFile {
    /// Creates an empty one.
    pub(super) fn create(context: &AttemptContext<'_>) -> Result<Self, Failure> {
        let path = context.scratch.join(format!("{}.spill", context.id.attempt));
        let open = |path: &Path| {
            let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
            std::fs::remove_file(path)?;
            Ok(file)
        };
        let file = open(&path).map_err(|error| failures::scratch_failed("spill", &path, &error))?;
        Ok(Self { file: Arc::new(file), bytes: 0 })
    }

    /// Makes a spill file of an unfinished map output, and gives the runs in it.
    pub(super) fn take_over(output: SegmentWriter, context: &AttemptContext<'_>) -> Result<(Self, Vec<Run>), Failure> {
        let (file, bytes, runs) =
            output.into_spills().map_err(|error| failures::scratch_failed("spill in", context.scratch, &error))?;
        let run = |segments| Run { place: Place::Own(Arc::clone(&file)), segments, order: RecordOrder::ByKey };
        let runs = runs.into_iter().map(run).collect();
        Ok((Self { file, bytes }, runs))
    }

    /// Appends a run that `write` fills.
    pub(super) fn append(
        &mut self,
        partitions: u32,
        context: &AttemptContext<'_>,
        write: impl FnOnce(&mut SegmentWriter) -> Result<(), Failure>,
    ) -> Result<(Run, u64), Failure> {
        let order = RecordOrder::ByKey;
        let mut writer = SegmentWriter::new(Arc::clone(&self.file), self.bytes, partitions, context.compression, order);
        write(&mut writer)?;
        let (segments, end) =
            writer.finish().map_err(|error| failures::scratch_failed("spill in", context.scratch, &error))?;
        let bytes = end - self.bytes;
        self.bytes = end;
        Ok((Run { place: Place::Own(Arc::clone(&self.file)), segments, order }, bytes))
    }
}

/// A merge of one partition of several runs; failures name the run they come from.
#[derive(Debug)]
pub(super) struct RunMerge<'a> {
    merge: Merge,
    runs: Vec<&'a Run>,
}

impl<'a> RunMerge<'a> {
    /// Opens the partition in every run, in the runs' order.
    pub(super) fn open(runs: &'a [Run], partition: usize) -> Result<Self, Failure> {
        let runs: Vec<&Run> = runs.iter().filter(|run| run.segments[partition].bytes > 0).collect();
        let cursors = runs.iter().map(|run| run.open(partition)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { merge: Merge::new(cursors), runs })
    }

    /// The cursor on the next record, if there is one.
    #[inline]
    pub(super) fn head(&self) -> Option<&SegmentCursor> {
        self.merge.head()
    }

    /// Passes the record in hand.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<(), Failure> {
        self.merge.advance().map_err(|failed| self.runs[failed.segment].failed(&failed.error))
    }
}

/// Merges groups of consecutive runs into longer ones until all that is left can be merged at once
/// in half of the attempt's memory. Merges no more of them than that takes: each is written and read
/// once more. The groups depend on the runs' sizes and order alone.
pub(super) fn narrow<J: MapReduce>(
    runs: &mut Vec<Run>,
    context: &AttemptContext<'_>,
    stats: &mut AttemptStats,
) -> Result<(), Failure> {
    let budget = context.spec.attempt_bytes.bytes() / 2;
    let fit = |runs: &[Run]| fan_in(runs.iter().map(Run::largest), CURSOR_BYTES, budget);
    while runs.len() > fit(runs) {
        let mut file = SpillFile::create(context)?;
        let mut narrowed = Vec::new();
        let mut need: u64 = runs.iter().map(Run::need).sum();
        while runs.len() > 1 && (need > budget || narrowed.len() + runs.len() > MAX_FAN_IN) {
            let most = fit(runs).min(runs.len());
            let excess = (narrowed.len() + runs.len()).saturating_sub(MAX_FAN_IN);
            let group;
            (group, need) = group_to_merge(runs[..most].iter().map(Run::need), need, budget, excess);
            let rest = runs.split_off(group);
            narrowed.push(merge_to_run::<J>(runs, &mut file, context, stats)?);
            *runs = rest;
        }
        narrowed.append(runs);
        *runs = narrowed;
    }
    Ok(())
}

/// How many of the first runs to merge: all of `needs`, or as few as bring the memory that all runs
/// take, which is `need`, within `budget` and make `excess` runs less. Also tells what all
/// runs take afterwards, at most.
fn group_to_merge(needs: impl ExactSizeIterator<Item = u64>, need: u64, budget: u64, excess: usize) -> (usize, u64) {
    let all = needs.len();
    let (mut merged, mut one) = (0, 2 * BLOCK_BYTES as u64 + CURSOR_BYTES);
    for (group, next) in (1..).zip(needs) {
        merged += next;
        one = one.max(next);
        if group > excess.max(1) && need - merged + one <= budget {
            return (group, need - merged + one);
        }
    }
    (all, need - merged + one)
}

/// Merges runs into one, appended to `file`.
pub(super) fn merge_to_run<J: MapReduce>(
    group: &[Run],
    file: &mut SpillFile,
    context: &AttemptContext<'_>,
    stats: &mut AttemptStats,
) -> Result<Run, Failure> {
    let partitions = group[0].segments.len();
    let (run, bytes) = file.append(partitions as u32, context, |writer| {
        (0..partitions).try_for_each(|partition| merge_segment::<J>(group, partition, writer, context))
    })?;
    stats.merge_passes += 1;
    stats.spilled_bytes += bytes;
    Ok(run)
}

/// Merges one partition of `runs` into the next segment of `writer`, folding equal keys if the job
/// has a fold.
pub(super) fn merge_segment<J: MapReduce>(
    runs: &[Run],
    partition: usize,
    writer: &mut SegmentWriter,
    context: &AttemptContext<'_>,
) -> Result<(), Failure> {
    let failed = |error: std::io::Error| failures::scratch_failed("a merge in", context.scratch, &error);
    writer.begin_segment().map_err(failed)?;
    let mut merge = RunMerge::open(runs, partition)?;
    let mut records = 0_u64;
    let (mut key, mut folded) = (Vec::new(), Vec::new());
    while let Some(head) = merge.head() {
        if records.is_multiple_of(CANCEL_CHECK_RECORDS) && context.cancelled.load(Ordering::Relaxed) {
            return Err(failures::cancelled());
        }
        records += 1;
        if <J::Combine as Combine<J::Value>>::ACTIVE {
            key.clear();
            key.extend_from_slice(head.key());
            fold_group::<J>(&mut merge, &key, &mut folded, context)?;
            writer.push(RecordRef { key: &key, value: &folded }).map_err(failed)?;
        } else {
            writer.push(RecordRef { key: head.key(), value: head.value() }).map_err(failed)?;
            merge.advance()?;
        }
    }
    Ok(())
}

/// Folds all values of the group that `merge` is on into one, encoded in `folded`, and passes them.
///
/// # Errors
///
/// If a value does not decode, the fold fails, or what it gives is larger than a record may be.
pub(super) fn fold_group<J: MapReduce>(
    merge: &mut RunMerge<'_>,
    key: &[u8],
    folded: &mut Vec<u8>,
    context: &AttemptContext<'_>,
) -> Result<(), Failure> {
    let limit = context.spec.max_record_bytes();
    let too_large = |bytes: usize| Err(failures::record_too_large(&folded_pair(key), bytes, limit));
    let named = |error: &dyn std::fmt::Display| format!("{error} (key {})", shown(key));
    let mut acc: Option<<J::Combine as Combine<J::Value>>::Acc> = None;
    while let Some(head) = merge.head().filter(|head| head.key() == key) {
        let value = <J::Value as Value>::decode(head.value()).map_err(|e| failures::undecodable(named(&e)))?;
        match &mut acc {
            None => acc = Some(J::Combine::start(value)),
            Some(acc) => J::Combine::fold(acc, value).map_err(|e| failures::user_error(named(&e)))?,
        }
        // A state may have room for twice of what it holds.
        let heap = acc.as_ref().map_or(0, J::Combine::heap_bytes);
        if heap / 2 > limit.as_usize() {
            return too_large(heap / 2);
        }
        merge.advance()?;
    }
    folded.clear();
    let acc = acc.expect("the merge is on a record of the group");
    J::Combine::encode(&acc, folded).map_err(|e| failures::undecodable(named(&e)))?;
    let bytes = key.len() + folded.len();
    if bytes > limit.as_usize() { too_large(bytes) } else { Ok(()) }
}

/// What a fold makes of a key's values, as failures name it.
pub(super) fn folded_pair(key: &[u8]) -> String {
    format!("the folded pair of key {}", shown(key))
}

/// A key as people can read it, cut after 60 bytes.
pub(super) fn shown(key: &[u8]) -> String {
    const MOST: usize = 60;
    let text = key[..key.len().min(MOST)].escape_ascii();
    if key.len() > MOST { format!("\"{text}…\"") } else { format!("\"{text}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_as_small_as_it_can_be() {
        let block = 2 * BLOCK_BYTES as u64 + CURSOR_BYTES;
        let check = |needs: &[u64], all: u64, budget: u64, excess: usize, expect: (usize, u64)| {
            assert_eq!(group_to_merge(needs.iter().copied(), all, budget, excess), expect);
        };
        let full = [block; 10];
        check(&full, 64 * block, 63 * block, 0, (2, 63 * block));
        check(&full, 64 * block, 60 * block, 0, (5, 60 * block));
        check(&full, 64 * block, 9 * block, 0, (10, 55 * block));
        check(&full, 64 * block, u64::MAX, 3, (4, 61 * block));
        // Merged, the smallest of runs may take a whole block.
        let small = [block / 4; 10];
        check(&small, 16 * block, 15 * block, 0, (8, 15 * block));
        check(&[4 * block, block], 9 * block, 8 * block, 0, (2, 8 * block));
    }
}
