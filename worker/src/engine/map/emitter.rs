//! What `map` emits into: the combiner table where the job folds, the sort buffer where it does not.
//! Either is spilled, sorted, when it is full, and all spills are merged at the end.

use std::fs::File;
use std::sync::Arc;

use gristmill_common::codec::EncodeError;
use gristmill_common::combine::Combine;
use gristmill_common::counters::Counters;
use gristmill_common::datum::{Datum, Value};
use gristmill_common::failure::Failure;
use gristmill_common::job::{Emit, JobError, MapReduce, Result as JobResult};
use gristmill_common::key::{Key, key_prefix};
use gristmill_common::partition::EncodedKey;
use gristmill_common::task::{AttemptStats, SegmentSummary};

use super::sort_buffer::SortBuffer;
use super::spills::Spills;
use super::table::{CombineTable, Entry};
use crate::engine::runs::{merge_segment, narrow};
use crate::engine::shuffle::{RecordRef, SegmentRange, SegmentWriter};
use crate::engine::{AttemptContext, failures, map_output_path};

type Acc<J> = <<J as MapReduce>::Combine as Combine<<J as MapReduce>::Value>>::Acc;

/// Takes the pairs of one map attempt.
pub(super) struct Emitter<'a, J: MapReduce> {
    job: &'a J,
    partitions: u32,
    context: &'a AttemptContext<'a>,
    /// Bytes that table or buffer may take: half of the attempt's memory. The read buffer and the
    /// blocks being written share the other half.
    limit: usize,
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
    pub(super) fn new(job: &'a J, partitions: u32, context: &'a AttemptContext<'a>) -> Self {
        Self {
            job,
            partitions,
            context,
            limit: context.spec.attempt_bytes.as_usize() / 2,
            table: CombineTable::new(),
            buffer: SortBuffer::new(),
            key: Vec::new(),
            value: Vec::new(),
            spills: Spills::new(),
            emitted: 0,
            counters: Counters::default(),
            failure: None,
        }
    }

    /// The engine's own failure, if one interrupted user code.
    pub(super) fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// What user code counted.
    pub(super) fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    #[inline]
    fn combine(&mut self, key: &[u8], value: <J::Value as Datum>::Ref<'_>) -> Result<(), Failure> {
        match self.table.entry(key) {
            Entry::Occupied(acc) => {
                let before = J::Combine::heap_bytes(acc);
                J::Combine::fold(acc, value).map_err(|error| failures::user_error(format!("combine failed: {error}")))?;
                let after = J::Combine::heap_bytes(acc);
                self.table.add_heap_bytes(before, after);
                if after > before && self.table.bytes() > self.limit {
                    return self.spill();
                }
            }
            Entry::Vacant(vacancy) => {
                self.check_size(key.len())?;
                let acc = J::Combine::start(value);
                let heap = J::Combine::heap_bytes(&acc);
                if self.table.bytes_after_insert(key.len()) + heap > self.limit && self.table.len() > 0 {
                    self.spill()?;
                    // The key is new in the emptied table too, but belongs elsewhere there.
                    if let Entry::Vacant(vacancy) = self.table.entry(key) {
                        self.table.insert(vacancy, key, acc);
                    }
                } else {
                    self.table.insert(vacancy, key, acc);
                }
                self.table.add_heap_bytes(0, heap);
            }
        }
        Ok(())
    }

    #[inline]
    fn keep(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let size = key.len() + value.len();
        if !self.buffer.fits(size, self.limit) {
            self.check_size(size)?;
            self.spill()?;
        }
        let partition = self.job.partition(EncodedKey::new(key), self.partitions);
        assert!(partition < self.partitions, "the job's partitioner gave {partition} of {}", self.partitions);
        self.buffer.push(partition, key, value);
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
                let partition = self.job.partition(EncodedKey::new(key), self.partitions);
                assert!(partition < self.partitions, "the job's partitioner gave {partition} of {}", self.partitions);
                (partition, key_prefix(key), at)
            })
            .collect();
        order.sort_unstable_by(|a, b| {
            (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| table.key(a.2, &mut room).cmp(table.key(b.2, &mut other)))
        });
        let mut begun = 0;
        for (partition, _, at) in order {
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
    pub(super) fn finish(mut self, stats: &mut AttemptStats) -> Result<Vec<SegmentSummary>, Failure> {
        let path = map_output_path(self.context.scratch, self.context.id.attempt);
        let written = self.write_output(&path, stats);
        if written.is_err() {
            // Whatever was written is of no use; the job's release removes what this cannot.
            let _ = std::fs::remove_file(&path);
        }
        stats.output_records = self.emitted;
        let (segments, bytes) = written?;
        stats.output_bytes = bytes;
        Ok(segments.iter().map(SegmentRange::summary).collect())
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
            self.table = CombineTable::new();
            self.buffer = SortBuffer::new();
            runs = std::mem::take(&mut self.spills).into_runs(stats);
            narrow::<J>(&mut runs, self.context, stats)?;
            stats.merge_passes += 1;
        }
        let file = Arc::new(File::create(path).map_err(failed)?);
        let mut writer = SegmentWriter::new(file, 0, self.partitions, self.context.compression);
        if runs.is_empty() {
            self.write_sorted(&mut writer)?;
        } else {
            for partition in 0..self.partitions as usize {
                merge_segment::<J>(&runs, partition, &mut writer, self.context)?;
            }
        }
        writer.finish().map_err(failed)
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
