//! What `map` emits into: a folder where the job combines, a sorter where it does not. What they
//! spilled is merged at the end into one map output.

use gristmill_common::combine::Combine;
use gristmill_common::counters::Counters;
use gristmill_common::datum::{Datum, Value};
use gristmill_common::failure::Failure;
use gristmill_common::job::{Emit, JobError, MapReduce, Result as JobResult};
use gristmill_common::key::Key;
use gristmill_common::task::{AttemptStats, MapOutputSummary};

use super::partitioner::Partitioner;
use super::sorter::Sorter;
use crate::engine::fold::{Folder, Placement, Side};
use crate::engine::kept::Kept;
use crate::engine::runs::{merge_segment, narrow};
use crate::engine::shuffle::{RecordOrder, RecordRef, SegmentWriter};
use crate::engine::{AttemptContext, failures, map_output_path};

/// Takes the pairs of one map attempt.
pub(super) struct Emitter<'a, J: MapReduce> {
    partitioner: Partitioner<'a, J>,
    context: &'a AttemptContext<'a>,
    folder: Folder<'a, J>,
    sorter: Sorter<'a>,
    key: Vec<u8>,
    value: Vec<u8>,
    emitted: u64,
    counters: Counters,
    failure: Option<Failure>,
}

impl<'a, J: MapReduce> Emitter<'a, J> {
    pub(super) fn new(partitioner: Partitioner<'a, J>, kept: &'a Kept<J>, context: &'a AttemptContext<'a>) -> Self {
        Self {
            partitioner,
            context,
            folder: Folder::new(Side::Map, &kept.tables, context),
            sorter: Sorter::new(&kept.buffers, context),
            key: Vec::new(),
            value: Vec::new(),
            emitted: 0,
            counters: Counters::default(),
            failure: None,
        }
    }

    /// Finishes what a block of records emitted; `read_buffer` bytes held the block.
    pub(super) fn end_block(&mut self, read_buffer: usize) -> Result<(), Failure> {
        self.sorter.reading(read_buffer);
        self.folder.reading(read_buffer);
        self.folder.flush(&self.partitioner)
    }

    /// The engine's own failure, if one interrupted user code.
    pub(super) fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// Takes in pairs that were encoded before, and what user code counted with them.
    pub(super) fn take_in<'p>(
        &mut self,
        mut pairs: impl Iterator<Item = RecordRef<'p>>,
        counters: &Counters,
    ) -> Result<(), Failure> {
        self.counters.merge(counters);
        pairs.try_for_each(|pair| {
            self.emitted += 1;
            match J::Combine::ACTIVE {
                true => self.folder.add_encoded(pair, &self.partitioner),
                false => self.sorter.add::<J>(pair.key, pair.value, &self.partitioner),
            }
        })
    }

    /// What user code counted.
    pub(super) fn take_counters(&mut self) -> Counters {
        std::mem::take(&mut self.counters)
    }

    /// Writes the map output: what is in memory, merged with the spills if there are any. Leaves none if
    /// it fails.
    pub(super) fn finish(mut self, stats: &mut AttemptStats) -> Result<MapOutputSummary, Failure> {
        let mut runs = match J::Combine::ACTIVE {
            true => self.folder.take_runs(&self.partitioner, stats)?,
            false => self.sorter.take_runs::<J>(&self.partitioner, stats)?,
        };
        if !runs.is_empty() {
            narrow::<J>(&mut runs, self.context, stats)?;
            stats.merge_passes += 1;
        }
        let partitions = self.partitioner.partitions();
        let path = map_output_path(self.context.scratch, self.context.id.attempt);
        let output = |order| SegmentWriter::map_output(path.clone(), partitions, self.context.compression, order);
        let writer = match (runs.is_empty(), J::Combine::ACTIVE) {
            (true, true) => {
                let mut writer = output(Folder::<J>::WRITES);
                self.folder.write(&mut writer, &self.partitioner)?;
                writer
            }
            (true, false) => self.sorter.finish(&self.partitioner, stats)?,
            (false, _) => {
                let mut writer = output(RecordOrder::ByKey);
                (0..partitions as usize)
                    .try_for_each(|partition| merge_segment::<J>(&runs, partition, &mut writer, self.context))?;
                writer
            }
        };
        let (made, bytes) = writer
            .finish_output(self.context.pack, self.context.id.attempt)
            .map_err(|error| failures::scratch_failed("map output", &path, &error))?;
        (stats.output_records, stats.output_bytes) = (self.emitted, bytes);
        Ok(made)
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
            self.folder.add(encoded, value, &self.partitioner)
        } else if let Some(value) = <J::Value as Value>::as_encoded(&value) {
            self.sorter.add::<J>(encoded, value, &self.partitioner)
        } else {
            let mut value_bytes = std::mem::take(&mut self.value);
            value_bytes.clear();
            let result = <J::Value as Value>::encode(&value, &mut value_bytes)
                .map_err(|error| failures::undecodable(error.to_string()))
                .and_then(|()| self.sorter.add::<J>(encoded, &value_bytes, &self.partitioner));
            self.value = value_bytes;
            result
        };
        self.key = key_bytes;
        self.interrupt(result)
    }

    fn count(&mut self, name: &str, by: u64) {
        self.counters.count(name, by);
    }
}
