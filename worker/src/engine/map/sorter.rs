//! Collecting what `map` emits for jobs that do not combine: every pair in the sort buffer, which is
//! written in canonical order when it is full. A few full buffers are runs of the map output, which
//! the reduce merges anyway; more are spills, which are merged here.

use std::io;

use gristmill_common::failure::Failure;
use gristmill_common::job::MapReduce;
use gristmill_common::task::AttemptStats;

use super::sort_buffer::SortBuffer;
use crate::engine::fold::Placement;
use crate::engine::kept::Pool;
use crate::engine::room::Room;
use crate::engine::runs::Run;
use crate::engine::shuffle::{RecordOrder, SegmentWriter};
use crate::engine::spills::Spills;
use crate::engine::{AttemptContext, failures, map_output_path};

/// The most runs of a map output. More save merging the spills of longer splits, and make each segment
/// consist of more and smaller pieces; every run has an index, and merging is no longer saved where a
/// reduce attempt is given more runs than it can merge at once.
const MAX_OUTPUT_RUNS: usize = 16;

/// The least bytes of an attempt's memory for each partition if its output is to have several runs.
/// With less, merging in the reduce would save less than reading so many small runs costs.
const RUN_BYTES_PER_PARTITION: u64 = 64 << 10;

/// Sorts pairs within a memory budget.
pub(super) struct Sorter<'a> {
    context: &'a AttemptContext<'a>,
    room: Room,
    buffers: &'a Pool<SortBuffer>,
    buffer: SortBuffer,
    /// The map output, if it has runs already; then there are no spills.
    output: Option<SegmentWriter>,
    spills: Spills,
}

impl<'a> Sorter<'a> {
    /// A sorter for one attempt; its buffer's memory comes from `buffers` and returns there.
    pub(super) fn new(buffers: &'a Pool<SortBuffer>, context: &'a AttemptContext<'a>) -> Self {
        let (room, buffer) = (Room::new(context), buffers.take());
        Self { context, room, buffers, buffer, output: None, spills: Spills::new() }
    }

    /// Says that what is read lies in this many bytes.
    pub(super) fn reading(&mut self, read_buffer: usize) {
        self.room.reading(read_buffer);
    }

    /// Takes a pair in.
    #[inline]
    pub(super) fn add<J: MapReduce>(
        &mut self,
        key: &[u8],
        value: &[u8],
        placement: &impl Placement,
    ) -> Result<(), Failure> {
        let size = key.len() + value.len();
        self.room.admit(size, self.context)?;
        if !self.buffer.fits(size, self.room.limit()) {
            self.make_room::<J>(placement)?;
        }
        self.buffer.push(placement.of(key), key, value);
        Ok(())
    }

    /// Makes room: by a run of the output if it may have one more besides the last, or by a spill.
    #[cold]
    fn make_room<J: MapReduce>(&mut self, placement: &impl Placement) -> Result<(), Failure> {
        let partitions = placement.partitions();
        let runs_are_long = u64::from(partitions) * RUN_BYTES_PER_PARTITION <= self.context.spec.attempt_bytes.bytes();
        let runs = self.output.as_ref().map_or(0, SegmentWriter::runs);
        if self.spills.is_empty() && runs_are_long && runs + 1 < MAX_OUTPUT_RUNS {
            let mut output = self.take_output(partitions);
            self.write(&mut output, placement)?;
            output.rest().map_err(|error| scratch_failed(self.context, &error))?;
            self.output = Some(output);
            return Ok(());
        }
        if let Some(output) = self.output.take() {
            self.spills = Spills::from_output(output, self.context)?;
        }
        self.spill::<J>(placement)
    }

    fn spill<J: MapReduce>(&mut self, placement: &impl Placement) -> Result<(), Failure> {
        let _turn = self.context.position.engine_turn();
        let mut spills = std::mem::take(&mut self.spills);
        let spilled = spills.add::<J>(placement.partitions(), self.context, |writer| self.write(writer, placement));
        self.spills = spills;
        spilled
    }

    /// The map output if there are no spills: what is in memory becomes its only run, or its last.
    pub(super) fn finish(
        &mut self,
        placement: &impl Placement,
        stats: &mut AttemptStats,
    ) -> Result<SegmentWriter, Failure> {
        let mut output = self.take_output(placement.partitions());
        stats.spills += output.runs() as u64;
        self.write(&mut output, placement)?;
        Ok(output)
    }

    /// The map output with the runs written so far, or a fresh one.
    fn take_output(&mut self, partitions: u32) -> SegmentWriter {
        self.output.take().unwrap_or_else(|| {
            let path = map_output_path(self.context.scratch, self.context.id.attempt);
            SegmentWriter::map_output(path, partitions, self.context.compression, RecordOrder::ByKey)
        })
    }

    /// All spills, once everything is added; none if what is not in memory is in the output.
    pub(super) fn take_runs<J: MapReduce>(
        &mut self,
        placement: &impl Placement,
        stats: &mut AttemptStats,
    ) -> Result<Vec<Run>, Failure> {
        if self.spills.is_empty() {
            return Ok(Vec::new());
        }
        self.spill::<J>(placement)?;
        // Merging needs the memory that the buffer held.
        self.buffer = SortBuffer::new();
        Ok(std::mem::take(&mut self.spills).into_runs(stats))
    }

    /// Writes what is in memory, sorted, and empties it.
    fn write(&mut self, writer: &mut SegmentWriter, placement: &impl Placement) -> Result<(), Failure> {
        let context = self.context;
        let failed = |error: io::Error| scratch_failed(context, &error);
        self.buffer.sort();
        let mut begun = 0;
        for (partition, record) in self.buffer.records() {
            while begun <= partition {
                writer.begin_segment().map_err(failed)?;
                begun += 1;
            }
            writer.push_framed(record.framed, record.lengths).map_err(failed)?;
        }
        (begun..placement.partitions()).try_for_each(|_| writer.begin_segment().map_err(failed))?;
        self.buffer.clear();
        Ok(())
    }
}

fn scratch_failed(context: &AttemptContext<'_>, error: &io::Error) -> Failure {
    failures::scratch_failed("map output in", context.scratch, error)
}

impl Drop for Sorter<'_> {
    fn drop(&mut self) {
        self.buffer.clear();
        if self.buffer.is_worth_keeping() {
            self.buffers.give(std::mem::take(&mut self.buffer));
        }
    }
}
