//! A reduce attempt: merges the segments of its partition, or folds them in a table where the job
//! combines, hands each key group to `reduce`, and stages the part.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use gristmill_common::combine::Combine;
use gristmill_common::counters::Counters;
use gristmill_common::failure::Failure;
use gristmill_common::job::{Grouping, JobError, KeptRoom, MapReduce, ValueSource, Values, ValuesFailure, grouped_key};
use gristmill_common::key::{Key, KeyArena};
use gristmill_common::task::{AttemptOutput, AttemptReport, AttemptStats};

use super::fold::{Folder, KeyRoom, OnePartition, Side};
use super::kept::Kept;
use super::output::{PartSink, PartWriter, RowFormat};
use super::panics::KeyInHand;
use super::runs::{self, Run, RunMerge, fold_group, narrow, shown};
use super::shuffle::RecordOrder;
use super::{AttemptContext, LocalSegment, failures};

/// Groups between two looks at the cancel flag.
const CANCEL_CHECK_GROUPS: u64 = 1024;

/// Values of one group between two signs of life. More often costs a store in the loop over values;
/// more rarely, and a long group of slow values is taken for an endless loop.
const STEP_VALUES: u64 = 256;

/// The part of an attempt's memory that values which `reduce` keeps may take.
const KEPT_SHARE: usize = 4;

/// Blocks between two looks at the cancel flag.
const CANCEL_CHECK_BLOCKS: u64 = 8;

/// Runs one reduce attempt.
pub(super) fn run<J: MapReduce>(
    job: &J,
    kept: &Kept<J>,
    segments: &[LocalSegment],
    context: &AttemptContext<'_>,
) -> Result<AttemptReport, Failure> {
    let mut stats = AttemptStats::default();
    let mut counters = Counters::default();
    let runs = runs::fetched(segments)?;
    stats.input_bytes = runs.iter().map(Run::bytes).sum();
    let groups = Groups::<J>::gather(runs, kept, context, &mut stats)?;
    let mut part = PartWriter::create(context, RowFormat::of::<J::Output>(context.spec, || job.schema())?)?;
    part.begin(|bytes| job.begin_part(bytes));
    if !job.has_main_output() {
        part.leave_out_if_empty();
    }
    let mut sink = PartSink::<J::Output>::new(&mut part, &mut counters);
    let mut reducer = Reducer { job, sink: &mut sink, arena: KeyArena::new(), context, stats: &mut stats };
    match groups {
        Groups::Folded(folder) => reducer.folded(&folder)?,
        Groups::Sorted(runs) => reducer.merged(RunMerge::open(&runs, 0)?)?,
    }
    {
        let _turn = context.position.user_turn();
        let result = job.finish_reduce(&mut sink);
        sink.failure.take().map_or(Ok(()), Err)?;
        result.map_err(|error| failures::user_failed("finish_reduce", &error))?;
    }
    let part = part.finish(context, &mut stats, &mut counters)?;
    Ok(AttemptReport { output: AttemptOutput::Part(part), counters, stats, bad: None })
}

/// The segments of a reduce attempt, ready to be read group by group in key order.
enum Groups<'a, J: MapReduce> {
    /// All in memory, one state for each key.
    Folded(Box<Folder<'a, J>>),
    /// Sorted runs, few enough to be merged at once.
    Sorted(Vec<Run>),
}

impl<'a, J: MapReduce> Groups<'a, J> {
    fn gather(
        mut runs: Vec<Run>,
        kept: &'a Kept<J>,
        context: &'a AttemptContext<'a>,
        stats: &mut AttemptStats,
    ) -> Result<Self, Failure> {
        if runs.iter().any(|run| run.order() == RecordOrder::Unsorted) {
            let mut folder = Folder::new(Side::Reduce, &kept.tables, context);
            fold_runs(&runs, &mut folder, context)?;
            runs = folder.take_runs(&OnePartition, stats)?;
            if runs.is_empty() {
                return Ok(Groups::Folded(Box::new(folder)));
            }
        }
        // Merging needs the memory that tables and buffers were given.
        kept.clear();
        narrow::<J>(&mut runs, context, stats)?;
        Ok(Groups::Sorted(runs))
    }
}

/// Folds all records of `runs`, in their order.
fn fold_runs<J: MapReduce>(
    runs: &[Run],
    folder: &mut Folder<'_, J>,
    context: &AttemptContext<'_>,
) -> Result<(), Failure> {
    folder.reading(runs.iter().map(Run::largest).max().unwrap_or(0) as usize);
    let mut raw = Vec::new();
    let mut read = 0_u64;
    for run in runs {
        let mut blocks = run.blocks(0)?;
        while let Some(block) = blocks.next(&mut raw).map_err(|error| run.failed(&error))? {
            if read.is_multiple_of(CANCEL_CHECK_BLOCKS) && context.cancelled.load(Ordering::Relaxed) {
                return Err(failures::cancelled());
            }
            read += 1;
            context.position.step();
            // The fold may be user code too.
            let _turn = context.position.user_turn();
            folder.add_block(&block, &OnePartition)?;
        }
    }
    Ok(())
}

/// Hands key groups to `reduce`.
struct Reducer<'r, 's, J: MapReduce> {
    job: &'r J,
    sink: &'r mut PartSink<'s, J::Output>,
    arena: KeyArena,
    context: &'r AttemptContext<'r>,
    stats: &'r mut AttemptStats,
}

impl<J: MapReduce> Reducer<'_, '_, J> {
    /// Reduces what a folder holds.
    fn folded(&mut self, folder: &Folder<'_, J>) -> Result<(), Failure> {
        let (mut room, mut value) = (KeyRoom::default(), Vec::new());
        let order = folder.sorted(&OnePartition);
        for index in 0..order.len() {
            let key = folder.read(&order, index, &mut room, &mut value)?;
            self.folded_group(key, &value)?;
        }
        Ok(())
    }

    /// Reduces what a merge gives.
    fn merged(&mut self, mut merge: RunMerge<'_>) -> Result<(), Failure> {
        let (mut key, mut folded) = (Vec::new(), Vec::new());
        while let Some(head) = merge.head() {
            key.clear();
            key.extend_from_slice(head.key());
            if <J::Combine as Combine<J::Value>>::ACTIVE {
                fold_group::<J>(&mut merge, &key, &mut folded, self.context)?;
                self.folded_group(&key, &folded)?;
            } else {
                let group = grouped_key::<J>(&key).map_err(|error| failures::undecodable(error.to_string()))?.grouped();
                let mut values = GroupValues::<J>::new(&mut merge, group, self.context);
                let result = self.group(&key, &mut values);
                values.pass_rest();
                self.stats.input_records += values.records;
                values.take_failure().map_or(Ok(()), Err)?;
                result?.map_err(|error| reduce_failed(&error, &key, self.sink))?;
            }
        }
        Ok(())
    }

    fn folded_group(&mut self, key: &[u8], folded: &[u8]) -> Result<(), Failure> {
        let mut values = FoldedValue { bytes: folded, taken: false, failure: RefCell::default() };
        let result = self.group(key, &mut values);
        self.stats.input_records += 1;
        values.failure.into_inner().map_or(Ok(()), |failure| Err(unusable(&failure, key)))?;
        result?.map_err(|error| reduce_failed(&error, key, self.sink))
    }

    /// Calls `reduce`; the inner result is user code's.
    #[inline]
    fn group(&mut self, key: &[u8], values: &mut impl ValueSource) -> Result<Result<(), JobError>, Failure> {
        if self.stats.groups.is_multiple_of(CANCEL_CHECK_GROUPS) && self.context.cancelled.load(Ordering::Relaxed) {
            return Err(failures::cancelled());
        }
        self.stats.groups += 1;
        self.arena.reset();
        let decoded = <J::Key as Key>::decode(key, &self.arena)
            .map_err(|error| failures::undecodable(format!("{error} (key {})", shown(key))))?;
        self.context.position.step();
        let _turn = self.context.position.user_turn();
        let in_hand = KeyInHand(key);
        let result = self.job.reduce(decoded, Values::new(values), self.sink);
        in_hand.done();
        Ok(result)
    }
}

fn reduce_failed<O: gristmill_common::output::Output>(
    error: &JobError,
    key: &[u8],
    sink: &mut PartSink<'_, O>,
) -> Failure {
    // A failure to write is the cause whatever user code made of it.
    sink.failure
        .take()
        .unwrap_or_else(|| failures::user_error(format!("reduce failed for key {}: {error}", shown(key))))
}

fn unusable(failure: &ValuesFailure, key: &[u8]) -> Failure {
    let message = format!("{failure} (key {})", shown(key));
    match failure {
        ValuesFailure::Decode(_) => failures::undecodable(message),
        ValuesFailure::Overflow { .. } => failures::user_error(message),
    }
}

/// The values of one key group, straight from the merge.
struct GroupValues<'m, 'r, J> {
    merge: &'m mut RunMerge<'r>,
    /// What the keys of the group have in common: all of them, or their leading members.
    key: &'m [u8],
    context: &'m AttemptContext<'m>,
    /// Whether the merge is on a value already given.
    given: bool,
    ended: bool,
    records: u64,
    values_failure: RefCell<Option<ValuesFailure>>,
    merge_failure: Option<Failure>,
    job: PhantomData<fn(&J)>,
}

impl<'m, 'r, J: MapReduce> GroupValues<'m, 'r, J> {
    fn new(merge: &'m mut RunMerge<'r>, key: &'m [u8], context: &'m AttemptContext<'m>) -> Self {
        Self {
            merge,
            key,
            context,
            given: false,
            ended: false,
            records: 0,
            values_failure: RefCell::default(),
            merge_failure: None,
            job: PhantomData,
        }
    }

    /// Whether a record with this key belongs to the group.
    #[inline]
    fn has(&self, key: &[u8]) -> bool {
        match J::GROUPING {
            Grouping::Key => key == self.key,
            // No encoding of leading members is the beginning of another.
            Grouping::Leading(_) => key.starts_with(self.key),
        }
    }

    /// Passes what user code did not read.
    fn pass_rest(&mut self) {
        while self.advance() {}
    }

    fn take_failure(&mut self) -> Option<Failure> {
        let values = self.values_failure.take().map(|failure| unusable(&failure, self.key));
        self.merge_failure.take().or(values)
    }
}

impl<J: MapReduce> ValueSource for GroupValues<'_, '_, J> {
    #[inline]
    fn advance(&mut self) -> bool {
        if self.ended {
            return false;
        }
        if !self.given {
            // The group begins where the merge stands.
            self.given = true;
            self.records += 1;
            return true;
        }
        if let Err(failure) = self.merge.advance() {
            self.merge_failure = Some(failure);
            self.ended = true;
            return false;
        }
        let more = self.merge.head().is_some_and(|head| self.has(head.key()));
        self.ended = !more;
        self.records += u64::from(more);
        if self.records.is_multiple_of(STEP_VALUES) {
            self.context.position.step();
        }
        more
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.merge.head().map_or(&[], |head| head.value())
    }

    fn fail(&self, failure: ValuesFailure) {
        self.values_failure.borrow_mut().get_or_insert(failure);
    }

    fn room(&self) -> KeptRoom {
        // The merge has its own share of the attempt's memory.
        let memory = self.context.spec.attempt_bytes.as_usize() / KEPT_SHARE;
        KeptRoom { memory, folder: self.context.scratch.to_owned() }
    }
}

/// The folded value of a group whose fold the engine ran.
struct FoldedValue<'a> {
    bytes: &'a [u8],
    taken: bool,
    failure: RefCell<Option<ValuesFailure>>,
}

impl ValueSource for FoldedValue<'_> {
    fn advance(&mut self) -> bool {
        !std::mem::replace(&mut self.taken, true)
    }

    fn value(&self) -> &[u8] {
        self.bytes
    }

    fn fail(&self, failure: ValuesFailure) {
        self.failure.borrow_mut().get_or_insert(failure);
    }
}
