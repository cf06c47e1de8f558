//! A map attempt: blocks of records to `map`, what it emits to a folder's table or the sort buffer,
//! full ones to spills, and all of it to one map output.

#[cfg(feature = "bench")]
pub mod bench;
mod emitter;
mod partitioner;
mod sort_buffer;
mod sorter;

use std::sync::atomic::Ordering;

use gristmill_common::counters::Counters;
use gristmill_common::failure::{Failure, FailureCode, InputPosition};
use gristmill_common::input::{Block, Input, Provenance, RecordError};
use gristmill_common::job::{JobError, MapOnly, MapReduce};
use gristmill_common::pinned::{check_pinned, open_pinned};
use gristmill_common::task::{AttemptOutput, AttemptReport, AttemptStats, Split};

use self::emitter::Emitter;
use self::partitioner::Partitioner;
pub(super) use self::sort_buffer::SortBuffer;
use super::input::{PieceReader, ReadBuffer};
use super::kept::Kept;
use super::output::{PartSink, PartWriter};
use super::{AttemptContext, failures};

/// Runs one map attempt of a job with a reduce.
pub(super) fn run<J: MapReduce>(
    job: &J,
    kept: &Kept<J>,
    split: &Split,
    partitions: u32,
    context: &AttemptContext<'_>,
) -> Result<AttemptReport, Failure> {
    let partitioner = Partitioner::new(job, partitions, context)?;
    let mut emitter = Emitter::new(partitioner, kept, context);
    let mut stats = AttemptStats::default();
    for_each_block::<J::Input>(split, context, &mut stats, |block, buffer_bytes| {
        let result = job.map_block(block, &mut emitter);
        // A failure of the engine is the cause whatever user code made of it.
        if let Some(failure) = emitter.take_failure() {
            return Err(failure);
        }
        result.map_err(|error| map_failed(&error))?;
        emitter.end_block(buffer_bytes)
    })?;
    let counters = emitter.take_counters();
    let made = emitter.finish(&mut stats)?;
    Ok(AttemptReport { output: AttemptOutput::MapOutput(made), counters, stats, bad: None })
}

/// Runs one attempt of a map-only job.
pub(super) fn run_map_only<J: MapOnly>(
    job: &J,
    split: &Split,
    context: &AttemptContext<'_>,
) -> Result<AttemptReport, Failure> {
    let mut stats = AttemptStats::default();
    let mut counters = Counters::default();
    let mut part = PartWriter::create(context.staging, context.id.attempt)?;
    part.begin(|bytes| job.begin_part(bytes));
    let mut sink = PartSink::<J::Output>::new(&mut part, &mut counters);
    for_each_block::<J::Input>(split, context, &mut stats, |block, _| {
        let result = job.map_block(block, &mut sink);
        match sink.failure.take() {
            Some(failure) => Err(failure),
            None => result.map_err(|error| map_failed(&error)),
        }
    })?;
    stats.output_records = sink.records();
    let part = part.finish(context.spec.fsync)?;
    stats.output_bytes = part.bytes;
    Ok(AttemptReport { output: AttemptOutput::Part(part), counters, stats, bad: None })
}

/// Reads the split block by block; a failure is given the position of the record in hand.
fn for_each_block<I: Input>(
    split: &Split,
    context: &AttemptContext<'_>,
    stats: &mut AttemptStats,
    mut map_block: impl FnMut(&mut Block<'_, I>, usize) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut buffer = ReadBuffer::default();
    for (index, piece) in split.pieces.iter().enumerate() {
        let object = piece.object.uri.to_string();
        context.position.enter_piece(index as u64, piece.start);
        let max_record = context.spec.max_record_bytes();
        let at_start = |failure: Failure| failure.at(InputPosition { object: object.clone(), offset: piece.start });
        let file = open_pinned(&piece.object).map_err(at_start)?;
        let mut reader =
            PieceReader::start(&file, piece, I::framing(&context.spec.line_rule), max_record, &mut buffer)?;
        let mut first = piece.start == 0;
        while let Some(raw) = reader.next_block()? {
            if context.cancelled.load(Ordering::Relaxed) {
                return Err(failures::cancelled());
            }
            let from = Provenance { object: &object, offset: raw.offset, role: split.role };
            let mut block = Block::new(raw.bytes, &context.spec.line_rule, from, context.position.offset());
            if std::mem::take(&mut first) {
                block = block.beginning_object();
            }
            map_block(&mut block, raw.buffer_bytes).map_err(|failure| match failure.position {
                Some(_) => failure,
                None => {
                    let offset = context.position.offset().load(Ordering::Relaxed);
                    failure.at(InputPosition { object: object.clone(), offset })
                }
            })?;
            stats.input_records += block.records_read();
            stats.input_bytes += raw.bytes.len() as u64;
        }
        check_pinned(&piece.object, &file).map_err(at_start)?;
    }
    context.position.leave();
    Ok(())
}

fn map_failed(error: &JobError) -> Failure {
    // A job that reads a side input by itself knows better than the engine what failed.
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.clone();
    }
    match error.downcast_ref::<RecordError>() {
        Some(record) => Failure::new(FailureCode::BadRecord, format!("cannot read a record: {record}")),
        None => failures::user_error(format!("map failed: {error}")),
    }
}
