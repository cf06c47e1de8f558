//! What `map` emits into: the combiner table where the job folds, the sort buffer where it does not.
//! Either is spilled, sorted, when it is full, and all spills are merged at the end.

use gristmill_common::codec::EncodeError;
use gristmill_common::combine::Combine;
use gristmill_common::counters::Counters;
use gristmill_common::datum::{Datum, Value};
use gristmill_common::failure::Failure;
use gristmill_common::job::{Emit, JobError, MapReduce, Result as JobResult};
use gristmill_common::key::{Key, key_prefix};
use gristmill_common::task::{AttemptStats, MapOutputSummary};

use super::partitioner::Partitioner;
use super::sort_buffer::SortBuffer;
use super::spills::Spills;
use super::table::{CombineTable, Entry, Probe};
use crate::engine::runs::{merge_segment, narrow};
use crate::engine::shuffle::{self, BLOCK_BYTES, RecordRef, SegmentRange, SegmentWriter};
use crate::engine::{AttemptContext, failures, map_output_path};

/// Short keys whose slots are loaded at once. More hide memory latency better, until their slots no
/// longer fit into the first-level cache.
const BATCH: usize = 32;

/// Entries between one that is written and one whose memory is asked for.
const PREFETCH_AHEAD: usize = 16;

type Acc<J> = <<J as MapReduce>::Combine as Combine<<J as MapReduce>::Value>>::Acc;

/// Takes the pairs of one map attempt.
pub(super) struct Emitter<'a, J: MapReduce> {
    partitioner: Partitioner<'a, J>,
    partitions: u32,
    context: &'a AttemptContext<'a>,
    /// Bytes that table or buffer may take besides the read buffer and what records of the largest
    /// size so far take while they are written.
    room: usize,
    read_buffer: usize,
    largest: usize,
    batch: Vec<(Probe, Acc<J>)>,
    table: CombineTable<Acc<J>>,
    buffer: SortBuffer,
    key: Vec<u8>,
    value: Vec<u8>,
    spills: Spills,
    emitted: u64,
    counters: Counters,
    failure: Option<Failure>,
}

impl<'a, J: MapReduce> Emitter<'a, J> {
    pub(super) fn new(partitioner: Partitioner<'a, J>, context: &'a AttemptContext<'a>) -> Self {
        let room = context.spec.attempt_bytes.as_usize() / 4 * 3;
        Self {
            partitions: partitioner.partitions(),
            partitioner,
            context,
            room,
            read_buffer: 0,
            largest: 2 * BLOCK_BYTES,
            batch: Vec::with_capacity(BATCH),
            table: CombineTable::new(room),
            buffer: SortBuffer::new(),
            key: Vec::new(),
            value: Vec::new(),
            spills: Spills::new(),
            emitted: 0,
            counters: Counters::default(),
            failure: None,
        }
    }

    /// Bytes that table or buffer may take now.
    #[inline]
    fn limit(&self) -> usize {
        self.room.saturating_sub(self.read_buffer + 2 * self.largest).max(self.room / 16)
    }

    /// Finishes what a block of records emitted; `read_buffer` bytes held the block.
    pub(super) fn end_block(&mut self, read_buffer: usize) -> Result<(), Failure> {
        self.read_buffer = read_buffer;
        self.flush_batch()
    }

    /// The engine's own failure, if one interrupted user code.
    pub(super) fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// What user code counted.
    pub(super) fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// Short keys wait in a batch while their slots are loaded; long ones are rare.
    #[inline]
    fn combine(&mut self, key: &[u8], value: <J::Value as Datum>::Ref<'_>) -> Result<(), Failure> {
        let acc = J::Combine::start(value);
        let Some(probe) = Probe::inline(key) else {
            return self.combine_long(key, acc);
        };
        self.table.prefetch(&probe);
        self.batch.push((probe, acc));
        if self.batch.len() == BATCH { self.flush_batch() } else { Ok(()) }
    }

    fn flush_batch(&mut self) -> Result<(), Failure> {
        let mut batch = std::mem::take(&mut self.batch);
        let result = batch.drain(..).try_for_each(|(probe, acc)| self.combine_short(&probe, acc));
        self.batch = batch;
        result
    }

    #[inline]
    fn combine_short(&mut self, probe: &Probe, acc: Acc<J>) -> Result<(), Failure> {
        match self.table.inline_entry(probe) {
            Entry::Occupied(old) => {
                let (before, after) = merge_states::<J>(old, acc)?;
                self.grew(before, after)
            }
            Entry::Vacant(vacancy) => {
                let heap = J::Combine::heap_bytes(&acc);
                if !self.make_room(0, heap)? {
                    self.table.insert_inline(vacancy, acc);
                } else if let Entry::Vacant(vacancy) = self.table.inline_entry(probe) {
                    self.table.insert_inline(vacancy, acc);
                }
                self.table.add_heap_bytes(0, heap);
                Ok(())
            }
        }
    }

    #[cold]
    fn combine_long(&mut self, key: &[u8], acc: Acc<J>) -> Result<(), Failure> {
        match self.table.long_entry(key) {
            Entry::Occupied(old) => {
                let (before, after) = merge_states::<J>(old, acc)?;
                self.grew(before, after)
            }
            Entry::Vacant(vacancy) => {
                self.check_size(key.len())?;
                let heap = J::Combine::heap_bytes(&acc);
                if !self.make_room(key.len(), heap)? {
                    self.table.insert_long(vacancy, key, acc);
                } else if let Entry::Vacant(vacancy) = self.table.long_entry(key) {
                    self.table.insert_long(vacancy, key, acc);
                }
                self.table.add_heap_bytes(0, heap);
                Ok(())
            }
        }
    }

    /// Accounts for a state whose heap memory changed.
    #[inline]
    fn grew(&mut self, before: usize, after: usize) -> Result<(), Failure> {
        if before == after {
            return Ok(());
        }
        self.table.add_heap_bytes(before, after);
        if after > before && self.table.bytes() > self.limit() { self.spill() } else { Ok(()) }
    }

    /// Spills if a new key would not fit; tells whether it did, for then the key belongs elsewhere.
    #[inline]
    fn make_room(&mut self, key_len: usize, heap: usize) -> Result<bool, Failure> {
        let full = self.table.bytes_after_insert(key_len) + heap > self.limit() && self.table.len() > 0;
        if full {
            self.spill()?;
        }
        Ok(full)
    }

    #[inline]
    fn keep(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let size = key.len() + value.len();
        if size > self.largest {
            self.check_size(size)?;
            self.largest = size;
        }
        if !self.buffer.fits(size, self.limit()) {
            self.spill()?;
        }
        self.buffer.push(self.partitioner.of(key), key, value);
        Ok(())
    }

    fn check_size(&self, bytes: usize) -> Result<(), Failure> {
        let most = self.context.spec.max_record_bytes();
        if bytes > most.as_usize() { Err(failures::record_too_large("an emitted pair", bytes, most)) } else { Ok(()) }
    }

    #[cold]
    fn spill(&mut self) -> Result<(), Failure> {
        let mut spills = std::mem::take(&mut self.spills);
        let spilled = spills.add::<J>(self.partitions, self.context, |writer| self.write_sorted(writer));
        self.spills = spills;
        spilled
    }

    /// Writes what table or buffer holds, sorted, and empties it.
    fn write_sorted(&mut self, writer: &mut SegmentWriter) -> Result<(), Failure> {
        if J::Combine::ACTIVE { self.write_table(writer) } else { self.write_buffer(writer) }
            .map_err(|error| error.into_failure(self.context))
    }

    fn write_buffer(&mut self, writer: &mut SegmentWriter) -> Result<(), SpillError> {
        self.buffer.sort();
        let mut begun = 0;
        for (partition, record) in self.buffer.records() {
            while begun <= partition {
                writer.begin_segment()?;
                begun += 1;
            }
            writer.push_framed(record.framed, record.lengths)?;
        }
        for _ in begun..self.partitions {
            writer.begin_segment()?;
        }
        self.buffer.clear();
        Ok(())
    }

    fn write_table(&mut self, writer: &mut SegmentWriter) -> Result<(), SpillError> {
        let table = &self.table;
        let (mut room, mut other) = ([0; 16], [0; 16]);
        let mut order: Vec<(u32, u64, u32)> = table
            .positions()
            .map(|at| {
                let key = table.key(at, &mut room);
                (self.partitioner.of(key), key_prefix(key), at)
            })
            .collect();
        order.sort_unstable_by(|a, b| {
            (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| table.key(a.2, &mut room).cmp(table.key(b.2, &mut other)))
        });
        let mut begun = 0;
        for (index, &(partition, _, at)) in order.iter().enumerate() {
            if let Some(&(_, _, soon)) = order.get(index + PREFETCH_AHEAD) {
                table.prefetch_position(soon);
            }
            while begun <= partition {
                writer.begin_segment()?;
                begun += 1;
            }
            self.value.clear();
            J::Combine::encode(table.acc(at), &mut self.value)?;
            let key = table.key(at, &mut room);
            self.check_size(key.len() + self.value.len())?;
            writer.push(RecordRef { key, value: &self.value })?;
        }
        for _ in begun..self.partitions {
            writer.begin_segment()?;
        }
        self.table.clear();
        Ok(())
    }

    /// Writes the map output: what is in memory, merged with the spills if there are any.
    pub(super) fn finish(mut self, stats: &mut AttemptStats) -> Result<MapOutputSummary, Failure> {
        let path = map_output_path(self.context.scratch, self.context.id.attempt);
        let written = self.write_output(&path, stats);
        if written.is_err() {
            // Whatever was written is of no use; the job's release removes what this cannot.
            let _ = std::fs::remove_file(&path);
        }
        stats.output_records = self.emitted;
        let (segments, bytes) = written?;
        stats.output_bytes = bytes;
        Ok(shuffle::summary(&segments))
    }

    fn write_output(
        &mut self,
        path: &std::path::Path,
        stats: &mut AttemptStats,
    ) -> Result<(Vec<SegmentRange>, u64), Failure> {
        let failed = |error: std::io::Error| failures::write_failed("map output", path, &error);
        let mut runs = Vec::new();
        if !self.spills.is_empty() {
            self.spill()?;
            // Merging needs the memory that table and buffer held.
            self.table = CombineTable::new(0);
            self.buffer = SortBuffer::new();
            runs = std::mem::take(&mut self.spills).into_runs(stats);
            narrow::<J>(&mut runs, self.context, stats)?;
            stats.merge_passes += 1;
        }
        let mut writer = SegmentWriter::map_output(path.to_owned(), self.partitions, self.context.compression);
        if runs.is_empty() {
            self.write_sorted(&mut writer)?;
        } else {
            for partition in 0..self.partitions as usize {
                merge_segment::<J>(&runs, partition, &mut writer, self.context)?;
            }
        }
        writer.finish_output(self.context.pack, self.context.id.attempt).map_err(failed)
    }

    fn interrupt(&mut self, result: Result<(), Failure>) -> JobResult<()> {
        result.map_err(|failure| {
            self.failure = Some(failure);
            JobError::interrupted()
        })
    }
}

impl<J: MapReduce> Emit<J::Key, J::Value> for Emitter<'_, J> {
    #[inline]
    fn emit(&mut self, key: <J::Key as Datum>::Ref<'_>, value: <J::Value as Datum>::Ref<'_>) -> JobResult<()> {
        self.emitted += 1;
        // The encoded key is in `key` itself or in a buffer taken out for the call.
        let mut key_bytes = std::mem::take(&mut self.key);
        let encoded = match <J::Key as Key>::as_encoded(&key) {
            Some(encoded) => encoded,
            None => {
                key_bytes.clear();
                <J::Key as Key>::encode(&key, &mut key_bytes);
                &key_bytes
            }
        };
        let result = if J::Combine::ACTIVE {
            self.combine(encoded, value)
        } else if let Some(value) = <J::Value as Value>::as_encoded(&value) {
            self.keep(encoded, value)
        } else {
            let mut value_bytes = std::mem::take(&mut self.value);
            value_bytes.clear();
            let result = <J::Value as Value>::encode(&value, &mut value_bytes)
                .map_err(|error| unencodable(&error))
                .and_then(|()| self.keep(encoded, &value_bytes));
            self.value = value_bytes;
            result
        };
        self.key = key_bytes;
        self.interrupt(result)
    }

    fn count(&mut self, name: &'static str, by: u64) {
        self.counters.add(name, by);
    }
}

/// Merges a state into another; tells its heap memory before and after.
#[inline]
fn merge_states<J: MapReduce>(old: &mut Acc<J>, new: Acc<J>) -> Result<(usize, usize), Failure> {
    let before = J::Combine::heap_bytes(old);
    J::Combine::merge(old, new).map_err(|error| failures::user_error(format!("combine failed: {error}")))?;
    Ok((before, J::Combine::heap_bytes(old)))
}

fn unencodable(error: &EncodeError) -> Failure {
    failures::undecodable(error.to_string())
}

/// Why what was emitted cannot be written.
enum SpillError {
    Write(std::io::Error),
    Encode(EncodeError),
    Size(Failure),
}

impl SpillError {
    fn into_failure(self, context: &AttemptContext<'_>) -> Failure {
        match self {
            SpillError::Write(error) => failures::write_failed("map output in", context.scratch, &error),
            SpillError::Encode(error) => unencodable(&error),
            SpillError::Size(failure) => failure,
        }
    }
}

impl From<std::io::Error> for SpillError {
    fn from(error: std::io::Error) -> Self {
        SpillError::Write(error)
    }
}

impl From<EncodeError> for SpillError {
    fn from(error: EncodeError) -> Self {
        SpillError::Encode(error)
    }
}

impl From<Failure> for SpillError {
    fn from(failure: Failure) -> Self {
        SpillError::Size(failure)
    }
}
