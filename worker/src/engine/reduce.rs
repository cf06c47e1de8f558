//! A reduce attempt: merges the segments of its partition, hands each key group to `reduce`, and
//! stages the part.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use gristmill_common::combine::Combine;
use gristmill_common::counters::Counters;
use gristmill_common::failure::Failure;
use gristmill_common::job::{JobError, MapReduce, ValueSource, Values, ValuesFailure};
use gristmill_common::key::{Key, KeyArena};
use gristmill_common::task::{AttemptOutput, AttemptReport, AttemptStats};

use super::output::{PartSink, PartWriter};
use super::runs::{self, Run, RunMerge, fold_group, narrow, shown};
use super::{AttemptContext, LocalSegment, failures};

/// Groups between two looks at the cancel flag.
const CANCEL_CHECK_GROUPS: u64 = 1024;

/// Runs one reduce attempt.
pub(super) fn run<J: MapReduce>(
    job: &J,
    segments: &[LocalSegment],
    context: &AttemptContext<'_>,
) -> Result<AttemptReport, Failure> {
    let mut stats = AttemptStats::default();
    let mut counters = Counters::default();
    let mut runs = runs::fetched(segments)?;
    stats.input_bytes = runs.iter().map(Run::bytes).sum();
    narrow::<J>(&mut runs, context, &mut stats)?;
    let mut part = PartWriter::create(context.staging, context.id.attempt)?;
    part.begin(|bytes| job.begin_part(bytes));
    let mut sink = PartSink::<J::Output>::new(&mut part, &mut counters);
    reduce_groups(job, RunMerge::open(&runs, 0)?, &mut sink, context, &mut stats)?;
    stats.output_records = sink.records();
    let part = part.finish(context.spec.fsync)?;
    stats.output_bytes = part.bytes;
    Ok(AttemptReport { output: AttemptOutput::Part(part), counters, stats })
}

fn reduce_groups<J: MapReduce>(
    job: &J,
    mut merge: RunMerge<'_>,
    sink: &mut PartSink<'_, J::Output>,
    context: &AttemptContext<'_>,
    stats: &mut AttemptStats,
) -> Result<(), Failure> {
    let (mut key, mut folded) = (Vec::new(), Vec::new());
    let mut arena = KeyArena::new();
    while let Some(head) = merge.head() {
        if stats.groups.is_multiple_of(CANCEL_CHECK_GROUPS) && context.cancelled.load(Ordering::Relaxed) {
            return Err(failures::cancelled());
        }
        stats.groups += 1;
        key.clear();
        key.extend_from_slice(head.key());
        let decoded = <J::Key as Key>::decode(&key, &arena)
            .map_err(|error| failures::undecodable(format!("{error} (key {})", shown(&key))))?;
        let (result, failure) = if <J::Combine as Combine<J::Value>>::ACTIVE {
            fold_group::<J>(&mut merge, &key, &mut folded)?;
            let mut values = FoldedValue { bytes: &folded, taken: false, failure: RefCell::default() };
            let result = job.reduce(decoded, Values::new(&mut values), sink);
            stats.input_records += 1;
            (result, values.failure.into_inner().map(|failure| unusable(&failure, &key)))
        } else {
            let mut values = GroupValues::new(&mut merge, &key);
            let result = job.reduce(decoded, Values::new(&mut values), sink);
            values.pass_rest();
            stats.input_records += values.records;
            (result, values.take_failure())
        };
        if let Some(failure) = failure {
            return Err(failure);
        }
        result.map_err(|error| reduce_failed(&error, &key, sink))?;
        arena.reset();
    }
    Ok(())
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
struct GroupValues<'m, 'r> {
    merge: &'m mut RunMerge<'r>,
    key: &'m [u8],
    /// Whether the merge is on a value already given.
    given: bool,
    ended: bool,
    records: u64,
    values_failure: RefCell<Option<ValuesFailure>>,
    merge_failure: Option<Failure>,
}

impl<'m, 'r> GroupValues<'m, 'r> {
    fn new(merge: &'m mut RunMerge<'r>, key: &'m [u8]) -> Self {
        let values_failure = RefCell::default();
        Self { merge, key, given: false, ended: false, records: 0, values_failure, merge_failure: None }
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

impl ValueSource for GroupValues<'_, '_> {
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
        let more = self.merge.head().is_some_and(|head| head.key() == self.key);
        self.ended = !more;
        self.records += u64::from(more);
        more
    }

    #[inline]
    fn value(&self) -> &[u8] {
        self.merge.head().map_or(&[], |head| head.value())
    }

    fn fail(&self, failure: ValuesFailure) {
        self.values_failure.borrow_mut().get_or_insert(failure);
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
