//! Collecting what `map` emits for jobs that do not combine: every pair in the sort buffer, which is
//! spilled in canonical order when it is full.

use gristmill_common::failure::Failure;
use gristmill_common::job::MapReduce;
use gristmill_common::task::AttemptStats;

use super::sort_buffer::SortBuffer;
use crate::engine::fold::Placement;
use crate::engine::kept::Pool;
use crate::engine::room::Room;
use crate::engine::runs::Run;
use crate::engine::shuffle::SegmentWriter;
use crate::engine::spills::Spills;
use crate::engine::{AttemptContext, failures};

/// Sorts pairs within a memory budget.
pub(super) struct Sorter<'a> {
    context: &'a AttemptContext<'a>,
    room: Room,
    buffers: &'a Pool<SortBuffer>,
    buffer: SortBuffer,
    spills: Spills,
}

impl<'a> Sorter<'a> {
    /// A sorter for one attempt; its buffer's memory comes from `buffers` and returns there.
    pub(super) fn new(buffers: &'a Pool<SortBuffer>, context: &'a AttemptContext<'a>) -> Self {
        Self { context, room: Room::new(context), buffers, buffer: buffers.take(), spills: Spills::new() }
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
            self.spill::<J>(placement)?;
        }
        self.buffer.push(placement.of(key), key, value);
        Ok(())
    }

    #[cold]
    fn spill<J: MapReduce>(&mut self, placement: &impl Placement) -> Result<(), Failure> {
        let _turn = self.context.position.engine_turn();
        let mut spills = std::mem::take(&mut self.spills);
        let spilled = spills.add::<J>(placement.partitions(), self.context, |writer| self.write(writer, placement));
        self.spills = spills;
        spilled
    }

    /// All spills, once everything is added; none if all of it is in memory.
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
    pub(super) fn write(&mut self, writer: &mut SegmentWriter, placement: &impl Placement) -> Result<(), Failure> {
        let failed = |error: std::io::Error| failures::write_failed("map output in", self.context.scratch, &error);
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

impl Drop for Sorter<'_> {
    fn drop(&mut self) {
        self.buffer.clear();
        if self.buffer.is_worth_keeping() {
            self.buffers.give(std::mem::take(&mut self.buffer));
        }
    }
}
