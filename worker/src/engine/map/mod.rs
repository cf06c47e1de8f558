//! A map attempt: blocks of records to `map`, what it emits to a folder's table or the sort buffer,
//! full ones to spills, and all of it to one map output. A job that allows bad records is handed them
//! one by one instead (`forgiving`), and what a record emits is held back until it is done (`held`).

#[cfg(feature = "bench")]
pub mod bench;
mod emitter;
mod forgiving;
mod held;
mod partitioner;
mod sort_buffer;
mod sorter;

use std::sync::atomic::Ordering;

use gristmill_common::counters::Counters;
use gristmill_common::failure::{Disposition, Failure, FailureCode, InputPosition};
use gristmill_common::input::{Block, Heading, Input, Provenance, RecordError};
use gristmill_common::job::{JobError, MapOnly, MapReduce};
use gristmill_common::spec::OnBadFile;
use gristmill_common::task::{AttemptOutput, AttemptReport, AttemptStats, Piece, Split};

use self::emitter::Emitter;
use self::forgiving::map_forgiving;
use self::held::{HeldPairs, HeldRecords};
use self::partitioner::Partitioner;
pub(super) use self::sort_buffer::SortBuffer;
use super::dead_letters::DeadLetters;
use super::input::{PieceRecords, RawBlock, ReadBuffer, Reading, heading_of};
use super::kept::Kept;
use super::output::{PartSink, PartWriter, RowFormat};
use super::{AttemptContext, failures};

/// What a map attempt reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct MapInput<'a> {
    /// The pieces.
    pub(super) split: &'a Split,
    /// Records among them that are passed over, because they ended processes before.
    pub(super) skip: &'a [InputPosition],
}

/// Runs one map attempt of a job with a reduce.
pub(super) fn run<J: MapReduce>(
    job: &J,
    kept: &Kept<J>,
    input: MapInput<'_>,
    partitions: u32,
    context: &AttemptContext<'_>,
) -> Result<AttemptReport, Failure> {
    let partitioner = Partitioner::new(job, partitions, context)?;
    let mut emitter = Emitter::new(partitioner, kept, context);
    let mut stats = AttemptStats::default();
    let mut letters = DeadLetters::new(context.staging, context.id.attempt).in_scratch(context.is_spooled());
    if context.spec.max_bad_records == 0 {
        let how = reading::<J::Input>(context, input.split.role, job.columns(input.split.role));
        for_each_block(input.split, &how, context, (&mut stats, &mut letters), |raw, _| {
            let _turn = context.position.user_turn();
            let mut block = raw.records::<J::Input>(context);
            let result = job.map_block(&mut block, &mut emitter);
            // A failure of the engine is the cause whatever user code made of it.
            if let Some(failure) = emitter.take_failure() {
                return Err(failure);
            }
            result.map_err(|error| map_failed(&error))?;
            emitter.end_block(raw.buffer_bytes)?;
            Ok(block.records_read())
        })?;
    } else {
        check_record_by_record(J::RECORD_BY_RECORD)?;
        let mut pairs = HeldPairs::new(&mut emitter, context);
        let map = |block: &mut Block<'_, J::Input>, pairs: &mut HeldPairs<'_, '_, J>| job.map_block(block, pairs);
        let how = reading::<J::Input>(context, input.split.role, job.columns(input.split.role));
        map_forgiving((input, &how), context, &mut stats, (&mut letters, &mut pairs), map)?;
    }
    {
        let _turn = context.position.user_turn();
        let result = job.finish_map(&mut emitter);
        emitter.take_failure().map_or(Ok(()), Err)?;
        result.map_err(|error| failures::user_failed("finish_map", &error))?;
    }
    let mut counters = emitter.take_counters();
    let made = emitter.finish(&mut stats)?;
    let bad = letters.finish(&mut counters)?.map(Box::new);
    Ok(AttemptReport { output: AttemptOutput::MapOutput(made), counters, stats, bad })
}

/// Runs one attempt of a map-only job.
pub(super) fn run_map_only<J: MapOnly>(
    job: &J,
    input: MapInput<'_>,
    context: &AttemptContext<'_>,
) -> Result<AttemptReport, Failure> {
    let mut stats = AttemptStats::default();
    let mut counters = Counters::default();
    let mut part = PartWriter::create(context, RowFormat::of::<J::Output>(context.spec, || job.schema())?)?;
    part.begin(|bytes| job.begin_part(bytes));
    if !job.has_main_output() {
        part.leave_out_if_empty();
    }
    let mut letters = DeadLetters::new(context.staging, context.id.attempt).in_scratch(context.is_spooled());
    if context.spec.max_bad_records == 0 {
        let mut sink = PartSink::<J::Output>::new(&mut part, &mut counters);
        let how = reading::<J::Input>(context, input.split.role, job.columns(input.split.role));
        for_each_block(input.split, &how, context, (&mut stats, &mut letters), |raw, _| {
            let _turn = context.position.user_turn();
            let mut block = raw.records::<J::Input>(context);
            let result = job.map_block(&mut block, &mut sink);
            if let Some(failure) = sink.failure.take() {
                return Err(failure);
            }
            result.map_err(|error| map_failed(&error))?;
            Ok(block.records_read())
        })?;
    } else {
        check_record_by_record(J::RECORD_BY_RECORD)?;
        let mut records = HeldRecords::<J::Output>::new(&mut part, &mut counters, context);
        let map =
            |block: &mut Block<'_, J::Input>, records: &mut HeldRecords<'_, J::Output>| job.map_block(block, records);
        let how = reading::<J::Input>(context, input.split.role, job.columns(input.split.role));
        map_forgiving((input, &how), context, &mut stats, (&mut letters, &mut records), map)?;
    }
    {
        let _turn = context.position.user_turn();
        let mut sink = PartSink::<J::Output>::new(&mut part, &mut counters);
        let result = job.finish_map(&mut sink);
        sink.failure.take().map_or(Ok(()), Err)?;
        result.map_err(|error| failures::user_failed("finish_map", &error))?;
    }
    let part = part.finish(context, &mut stats, &mut counters)?;
    let bad = letters.finish(&mut counters)?.map(Box::new);
    Ok(AttemptReport { output: AttemptOutput::Part(part), counters, stats, bad })
}

/// Whole records of one object, as they were read.
#[derive(Debug, Clone, Copy)]
struct RawRecords<'a> {
    bytes: &'a [u8],
    /// Where the first one lies.
    from: Provenance<'a>,
    /// Whether that is the first one of its object.
    beginning: bool,
    /// Memory that the read buffer takes.
    buffer_bytes: usize,
}

impl<'a> RawRecords<'a> {
    /// The records, followed by the attempt's position.
    fn records<I: Input>(&self, context: &'a AttemptContext<'_>) -> Block<'a, I> {
        let block = Block::new(self.bytes, &context.spec.line_rule, self.from, context.position.offset());
        if self.beginning { block.beginning_object() } else { block }
    }
}

/// How records of a type are read; of files of columns, those of these names, or all.
fn reading<'c, I: Input>(context: &'c AttemptContext<'_>, role: u32, columns: Option<Vec<String>>) -> Reading<'c> {
    Reading::of::<I>(context.spec, role, columns, &**context.objects)
}

/// Reads the split block by block; a failure is given the position of the record in hand. `map` tells
/// how many records a block had, and may write dead letters. Objects that are damaged are left out from
/// there on, if the job says so.
fn for_each_block(
    split: &Split,
    how: &Reading<'_>,
    context: &AttemptContext<'_>,
    (stats, letters): (&mut AttemptStats, &mut DeadLetters),
    mut map: impl FnMut(&RawRecords<'_>, &mut DeadLetters) -> Result<u64, Failure>,
) -> Result<(), Failure> {
    let mut buffer = ReadBuffer::default();
    for (index, piece) in split.pieces.iter().enumerate() {
        let object = piece.object.uri.to_string();
        context.position.enter_piece(index as u64, piece.start);
        let mut mapped = (0, 0);
        context.objects.will_open(&split.pieces[index + 1..]);
        let ended = for_each_block_of(piece, how, context, &mut buffer, |raw, of| {
            let mut from = Provenance::new(&object, raw.offset, split.role).under(of.heading);
            from.is_row = of.is_row;
            let beginning = of.beginning;
            let records = RawRecords { bytes: raw.bytes, from, beginning, buffer_bytes: raw.buffer_bytes };
            mapped.0 += map(&records, letters).map_err(|failure| match failure.position {
                Some(_) => failure,
                None => {
                    let offset = context.position.offset().load(Ordering::Relaxed);
                    let mut failure = failure;
                    if let Some(row) = raw.row_at(how.framing_of(of.is_row), offset) {
                        failure.message = format!("{} ({row})", failure.message);
                    }
                    failure.at(InputPosition { object: object.clone(), offset })
                }
            })?;
            mapped.1 += raw.bytes.len() as u64;
            Ok(())
        })?;
        stats.input_records += mapped.0;
        // Of other objects it is not known how many bytes a record takes.
        stats.input_bytes += if ended.is_plain { mapped.1 } else { piece.end - piece.start };
        if let Some(failure) = ended.damage {
            // What every piece of the object meets, at its beginning, is told by the first of them.
            let is_told = piece.start > 0 && failure.position.as_ref().is_none_or(|at| at.offset == 0);
            if !is_told {
                letters.add_object(&object, &failure)?;
            }
        }
    }
    context.position.leave();
    Ok(())
}

/// How reading a piece ended.
struct Ended {
    /// What the object is damaged by, if it is and the rest of it is left out.
    damage: Option<Failure>,
    /// Whether bytes of records are bytes of the object.
    is_plain: bool,
}

/// What is known of a block.
struct Of<'h> {
    /// Whether it begins with its object's first record.
    beginning: bool,
    /// Whether its records are rows.
    is_row: bool,
    /// The heading of its object.
    heading: Option<&'h Heading>,
}

/// Reads one piece block by block.
fn for_each_block_of(
    piece: &Piece,
    how: &Reading<'_>,
    context: &AttemptContext<'_>,
    buffer: &mut ReadBuffer,
    mut map: impl FnMut(&RawBlock<'_>, Of<'_>) -> Result<(), Failure>,
) -> Result<Ended, Failure> {
    let at_start = |failure: Failure| match failure.position {
        Some(_) => failure,
        None => failure.at(InputPosition { object: piece.object.uri.to_string(), offset: piece.start }),
    };
    let left_out =
        |failure: &Failure| failure.code == FailureCode::InputDamaged && context.spec.on_bad_file == OnBadFile::Skip;
    let open = context.objects.open(&piece.object).map_err(at_start)?;
    let mut ended = Ended { damage: None, is_plain: false };
    match PieceRecords::open(open.as_ref(), piece, how, buffer) {
        Err(failure) if left_out(&failure) => ended.damage = Some(failure),
        Err(failure) => return Err(at_start(failure)),
        Ok(mut records) => {
            ended.is_plain = records.is_plain();
            let (mut beginning, mut heading) = (piece.start == 0, None);
            let (is_row, has_columns) = (records.is_row(), records.has_columns());
            loop {
                let next = records.next_block().and_then(|block| {
                    if let Some(raw) = block.as_ref().filter(|_| heading.is_none() && !has_columns) {
                        heading = heading_of(open.as_ref(), piece, how, beginning.then_some(raw.bytes))?;
                    }
                    Ok(block)
                });
                match next {
                    Ok(Some(_)) if context.cancelled.load(Ordering::Relaxed) => return Err(failures::cancelled()),
                    Ok(Some(raw)) => {
                        let beginning = std::mem::take(&mut beginning);
                        map(&raw, Of { beginning, is_row, heading: heading.as_ref() })?;
                    }
                    Ok(None) => break,
                    Err(failure) if left_out(&failure) => {
                        ended.damage = Some(failure);
                        break;
                    }
                    Err(failure) => return Err(at_start(failure)),
                }
            }
        }
    }
    // What changed meanwhile looks like damage.
    open.check().map_err(at_start)?;
    Ok(ended)
}

/// A job that makes things of several records at once cannot leave one out: others would be missing too.
fn check_record_by_record(is: bool) -> Result<(), Failure> {
    let refused = || {
        let mut failure = failures::user_error("this job cannot leave bad records out".to_owned());
        failure.disposition = Disposition::Abort;
        failure
    };
    is.then_some(()).ok_or_else(refused)
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
