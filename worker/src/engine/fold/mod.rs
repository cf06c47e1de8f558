//! Folding by key within a memory budget, for jobs that combine: what `map` emits inside a map
//! attempt, and the segments of a reduce attempt. Values meet in a hash table; when it is full it is
//! spilled in canonical order, and all spills are merged at the end.

mod table;

use gristmill_common::combine::{Combine, FoldError};
use gristmill_common::datum::{Datum, Value};
use gristmill_common::failure::Failure;
use gristmill_common::job::MapReduce;
use gristmill_common::key::key_prefix;
use gristmill_common::task::AttemptStats;

use self::table::{CombineTable, Entry, Probe};
pub(super) use self::table::{KeyRoom, Tables};
use super::room::Room;
use super::runs::{Run, folded_pair, shown};
use super::shuffle::{Block, RecordOrder, RecordRef, SegmentWriter};
use super::spills::Spills;
use super::{AttemptContext, failures};

/// Short keys whose slots are loaded at once. More hide memory latency better, until their slots no
/// longer fit into the first-level cache.
const BATCH: usize = 32;

/// Entries between one that is read and one whose memory is asked for.
const PREFETCH_AHEAD: usize = 16;

/// The running state of one key.
pub(super) type Acc<J> = <<J as MapReduce>::Combine as Combine<<J as MapReduce>::Value>>::Acc;

type ValueRef<'v, J> = <<J as MapReduce>::Value as Datum>::Ref<'v>;

/// Which partition a key belongs to.
pub(super) trait Placement {
    /// How many partitions there are.
    fn partitions(&self) -> u32;

    /// The partition of an encoded key.
    fn of(&self, key: &[u8]) -> u32;
}

/// All keys in one partition: a reduce attempt's placement.
#[derive(Debug, Clone, Copy)]
pub(super) struct OnePartition;

impl Placement for OnePartition {
    fn partitions(&self) -> u32 {
        1
    }

    #[inline]
    fn of(&self, _key: &[u8]) -> u32 {
        0
    }
}

/// Whose values are folded. Keys that come in one table's order must not be put into a table of the
/// same hash function: they would all crowd at one place of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// What `map` emits.
    Map,
    /// What map attempts wrote.
    Reduce,
}

impl Side {
    fn seed(self) -> u64 {
        match self {
            Side::Map => 0,
            Side::Reduce => 0x6a09_e667_f3bc_c908,
        }
    }
}

/// Folds values by key.
pub(super) struct Folder<'a, J: MapReduce> {
    context: &'a AttemptContext<'a>,
    room: Room,
    batch: Vec<(Probe, Acc<J>)>,
    table: CombineTable<'a, Acc<J>>,
    value: Vec<u8>,
    spills: Spills,
}

/// What is on its way into the table: a state, or a value that needs none if its key is there.
trait Incoming<J: MapReduce> {
    fn into_state(self) -> Acc<J>;

    fn merge_into(self, state: &mut Acc<J>) -> Result<(), Failure>;
}

struct State<J: MapReduce>(Acc<J>);

impl<J: MapReduce> Incoming<J> for State<J> {
    #[inline]
    fn into_state(self) -> Acc<J> {
        self.0
    }

    #[inline]
    fn merge_into(self, state: &mut Acc<J>) -> Result<(), Failure> {
        let failed = |error: FoldError| failures::user_error(format!("combine failed: {error}"));
        J::Combine::merge(state, self.0).map_err(failed)
    }
}

/// A value as a map attempt wrote it.
struct Written<'v, J: MapReduce> {
    key: &'v [u8],
    value: ValueRef<'v, J>,
}

impl<J: MapReduce> Incoming<J> for Written<'_, J> {
    #[inline]
    fn into_state(self) -> Acc<J> {
        J::Combine::start(self.value)
    }

    #[inline]
    fn merge_into(self, state: &mut Acc<J>) -> Result<(), Failure> {
        let failed = |error: FoldError| failures::user_error(format!("{error} (key {})", shown(self.key)));
        J::Combine::fold(state, self.value).map_err(failed)
    }
}

impl<'a, J: MapReduce> Folder<'a, J> {
    /// A folder for one attempt; its table's memory comes from `tables` and returns there.
    pub(super) fn new(side: Side, tables: &'a Tables<Acc<J>>, context: &'a AttemptContext<'a>) -> Self {
        let room = Room::new(context);
        Self {
            context,
            room,
            batch: Vec::with_capacity(BATCH),
            table: CombineTable::new(tables, room.total(), side.seed()),
            value: Vec::new(),
            spills: Spills::new(),
        }
    }

    /// Says that what is read lies in this many bytes.
    pub(super) fn reading(&mut self, read_buffer: usize) {
        self.room.reading(read_buffer);
    }

    /// Folds a value. Short keys wait in a batch while their slots are loaded; long ones are rare.
    #[inline]
    pub(super) fn add(
        &mut self,
        key: &[u8],
        value: ValueRef<'_, J>,
        placement: &impl Placement,
    ) -> Result<(), Failure> {
        let state = J::Combine::start(value);
        let Some(probe) = self.table.inline_probe(key) else {
            return self.enter_long(key, State::<J>(state), placement);
        };
        self.table.prefetch(&probe);
        self.batch.push((probe, state));
        if self.batch.len() == BATCH { self.flush(placement) } else { Ok(()) }
    }

    /// Folds a value that is encoded already.
    pub(super) fn add_encoded(&mut self, record: RecordRef<'_>, placement: &impl Placement) -> Result<(), Failure> {
        let probe = self.table.inline_probe(record.key);
        self.add_written(probe.as_ref(), record, placement)
    }

    /// Folds what waits.
    pub(super) fn flush(&mut self, placement: &impl Placement) -> Result<(), Failure> {
        let mut batch = std::mem::take(&mut self.batch);
        let result = batch.drain(..).try_for_each(|(probe, state)| self.enter(&probe, State::<J>(state), placement));
        self.batch = batch;
        result
    }

    /// Folds the records of a block as [`BATCH`]es of their own, because they lie there until the
    /// block ends.
    pub(super) fn add_block(&mut self, block: &Block<'_>, placement: &impl Placement) -> Result<u64, Failure> {
        let mut records = block.records();
        let mut count = 0;
        let mut waiting: [(Option<Probe>, RecordRef<'_>); BATCH] = [(None, RecordRef::default()); BATCH];
        loop {
            let mut filled = 0;
            for (place, record) in waiting.iter_mut().zip(&mut records) {
                let record = record.map_err(failures::undecodable)?;
                let probe = self.table.inline_probe(record.key);
                if let Some(probe) = &probe {
                    self.table.prefetch(probe);
                }
                *place = (probe, record);
                filled += 1;
            }
            for (probe, record) in &waiting[..filled] {
                self.add_written(probe.as_ref(), *record, placement)?;
            }
            count += filled as u64;
            if filled < BATCH {
                return Ok(count);
            }
        }
    }

    #[inline]
    fn add_written(
        &mut self,
        probe: Option<&Probe>,
        record: RecordRef<'_>,
        placement: &impl Placement,
    ) -> Result<(), Failure> {
        let value = <J::Value as Value>::decode(record.value)
            .map_err(|error| failures::undecodable(format!("{error} (key {})", shown(record.key))))?;
        let incoming = Written::<J> { key: record.key, value };
        match probe {
            Some(probe) => self.enter(probe, incoming, placement),
            None => self.enter_long(record.key, incoming, placement),
        }
    }

    #[inline]
    fn enter(&mut self, probe: &Probe, value: impl Incoming<J>, placement: &impl Placement) -> Result<(), Failure> {
        match self.table.inline_entry(probe) {
            Entry::Occupied(state) => {
                let (before, after) = merge::<J>(state, value)?;
                self.grew(before, after, placement)
            }
            Entry::Vacant(vacancy) => {
                let state = value.into_state();
                let heap = J::Combine::heap_bytes(&state);
                if !self.make_room(0, heap, placement)? {
                    self.table.insert_inline(vacancy, state);
                } else if let Entry::Vacant(vacancy) = self.table.inline_entry(probe) {
                    self.table.insert_inline(vacancy, state);
                }
                self.table.add_heap_bytes(0, heap);
                Ok(())
            }
        }
    }

    #[cold]
    fn enter_long(&mut self, key: &[u8], value: impl Incoming<J>, placement: &impl Placement) -> Result<(), Failure> {
        match self.table.long_entry(key) {
            Entry::Occupied(state) => {
                let (before, after) = merge::<J>(state, value)?;
                self.grew(before, after, placement)
            }
            Entry::Vacant(vacancy) => {
                self.room.check(key.len(), self.context, || "an emitted key".to_owned())?;
                let state = value.into_state();
                let heap = J::Combine::heap_bytes(&state);
                if !self.make_room(key.len(), heap, placement)? {
                    self.table.insert_long(vacancy, key, state);
                } else if let Entry::Vacant(vacancy) = self.table.long_entry(key) {
                    self.table.insert_long(vacancy, key, state);
                }
                self.table.add_heap_bytes(0, heap);
                Ok(())
            }
        }
    }

    /// Accounts for a state whose heap memory changed.
    #[inline]
    fn grew(&mut self, before: usize, after: usize, placement: &impl Placement) -> Result<(), Failure> {
        if before == after {
            return Ok(());
        }
        self.table.add_heap_bytes(before, after);
        if after > before && self.table.bytes() > self.room.limit() { self.spill(placement) } else { Ok(()) }
    }

    /// Spills if a new key would not fit; tells whether it did, for then the key belongs elsewhere.
    #[inline]
    fn make_room(&mut self, key_len: usize, heap: usize, placement: &impl Placement) -> Result<bool, Failure> {
        let full = self.table.bytes_after_insert(key_len) + heap > self.room.limit() && self.table.len() > 0;
        if full {
            self.spill(placement)?;
        }
        Ok(full)
    }

    #[cold]
    fn spill(&mut self, placement: &impl Placement) -> Result<(), Failure> {
        let _turn = self.context.position.engine_turn();
        let mut spills = std::mem::take(&mut self.spills);
        let spilled = spills.add::<J>(placement.partitions(), self.context, |writer| {
            let order = self.sorted(placement);
            self.write_in_order(&order, writer)?;
            self.table.clear();
            Ok(())
        });
        self.spills = spills;
        spilled
    }

    /// All spills, once everything is added; none if all of it is in memory.
    ///
    /// # Errors
    ///
    /// If the last spill cannot be written.
    pub(super) fn take_runs(
        &mut self,
        placement: &impl Placement,
        stats: &mut AttemptStats,
    ) -> Result<Vec<Run>, Failure> {
        self.flush(placement)?;
        if self.spills.is_empty() {
            return Ok(Vec::new());
        }
        self.spill(placement)?;
        // Merging needs the memory that the table held.
        self.table.free();
        Ok(std::mem::take(&mut self.spills).into_runs(stats))
    }

    /// The order in which [`write`](Self::write) writes. Where states have no memory of their own,
    /// the map outputs meet in a table again and sorting them before would be in vain; others are
    /// cheaper to merge one key after the other.
    pub(super) const WRITES: RecordOrder =
        if std::mem::needs_drop::<Acc<J>>() { RecordOrder::ByKey } else { RecordOrder::Unsorted };

    /// Writes what is in memory; unsorted means the table's own order within each partition.
    ///
    /// # Errors
    ///
    /// If a state cannot be encoded, or the file cannot be written.
    pub(super) fn write(&mut self, writer: &mut SegmentWriter, placement: &impl Placement) -> Result<(), Failure> {
        let order = match Self::WRITES {
            RecordOrder::ByKey => self.sorted(placement),
            RecordOrder::Unsorted => self.by_partition(placement),
        };
        self.write_in_order(&order, writer)
    }

    /// Everything in canonical order.
    pub(super) fn sorted(&self, placement: &impl Placement) -> Order {
        let (mut room, mut other) = (KeyRoom::default(), KeyRoom::default());
        let mut entries = Vec::with_capacity(self.table.len());
        entries.extend(self.table.positions().map(|at| {
            let key = self.table.key(at, &mut room);
            entry(placement.of(key), key_prefix(key), at)
        }));
        entries.sort_unstable();
        for group in entries.chunk_by_mut(|a, b| a >> 32 == b >> 32).filter(|group| group.len() > 1) {
            group.sort_unstable_by(|a, b| {
                self.table.key(*a as u32, &mut room).cmp(self.table.key(*b as u32, &mut other))
            });
        }
        let mut ends = vec![0; placement.partitions() as usize];
        entries.iter().for_each(|entry| ends[(entry >> 96) as usize] += 1);
        Order { positions: entries.iter().map(|entry| *entry as u32).collect(), ends: summed(ends) }
    }

    /// Everything by partition, and in the table's order within one.
    fn by_partition(&self, placement: &impl Placement) -> Order {
        let mut room = KeyRoom::default();
        let mut partitions = Vec::with_capacity(self.table.len());
        partitions.extend(self.table.positions().map(|at| placement.of(self.table.key(at, &mut room))));
        let mut next = vec![0; placement.partitions() as usize + 1];
        partitions.iter().for_each(|partition| next[*partition as usize + 1] += 1);
        next = summed(next);
        let mut positions = vec![0; partitions.len()];
        for (at, partition) in self.table.positions().zip(partitions) {
            let place = &mut next[partition as usize];
            positions[*place] = at;
            *place += 1;
        }
        // Each partition is filled up to where the next one begins.
        next.pop();
        Order { positions, ends: next }
    }

    fn write_in_order(&mut self, order: &Order, writer: &mut SegmentWriter) -> Result<(), Failure> {
        let failed =
            |error: std::io::Error| failures::scratch_failed("folded records in", self.context.scratch, &error);
        let mut room = KeyRoom::default();
        let mut begin = 0;
        for end in &order.ends {
            writer.begin_segment().map_err(failed)?;
            for index in begin..*end {
                self.prefetch_ahead(order, index);
                let at = order.positions[index];
                self.value.clear();
                J::Combine::encode(self.table.state(at), &mut self.value)
                    .map_err(|error| failures::undecodable(error.to_string()))?;
                let key = self.table.key(at, &mut room);
                self.room.check(key.len() + self.value.len(), self.context, || folded_pair(key))?;
                writer.push(RecordRef { key, value: &self.value }).map_err(failed)?;
            }
            begin = *end;
        }
        Ok(())
    }

    /// The key of the entry that comes at `index`, and its folded value as it would be written.
    ///
    /// # Errors
    ///
    /// If the state cannot be encoded, or is larger than a record may be.
    pub(super) fn read<'k>(
        &'k self,
        order: &Order,
        index: usize,
        room: &'k mut KeyRoom,
        value: &mut Vec<u8>,
    ) -> Result<&'k [u8], Failure> {
        self.prefetch_ahead(order, index);
        let at = order.positions[index];
        value.clear();
        J::Combine::encode(self.table.state(at), value).map_err(|error| failures::undecodable(error.to_string()))?;
        let key = self.table.key(at, room);
        self.room.check(key.len() + value.len(), self.context, || folded_pair(key))?;
        Ok(key)
    }

    /// Asks for the memory of an entry that follows soon.
    #[inline]
    fn prefetch_ahead(&self, order: &Order, index: usize) {
        if let Some(soon) = order.positions.get(index + PREFETCH_AHEAD) {
            self.table.prefetch_position(*soon);
        }
    }
}

/// The entries of a table in some order, partition after partition.
#[derive(Debug)]
pub(super) struct Order {
    positions: Vec<u32>,
    /// Where each partition ends in `positions`.
    ends: Vec<usize>,
}

impl Order {
    /// Entries.
    pub(super) fn len(&self) -> usize {
        self.positions.len()
    }
}

/// What an entry is sorted by: partition (32 bits), key prefix (64) and position (32) in one number,
/// so that sorting compares numbers.
#[inline]
fn entry(partition: u32, prefix: u64, position: u32) -> u128 {
    u128::from(partition) << 96 | u128::from(prefix) << 32 | u128::from(position)
}

/// Sums of the first one, two, three … counts.
fn summed(mut counts: Vec<usize>) -> Vec<usize> {
    let mut sum = 0;
    for count in &mut counts {
        sum += *count;
        *count = sum;
    }
    counts
}

/// Merges into a state; tells its heap memory before and after.
#[inline]
fn merge<J: MapReduce>(state: &mut Acc<J>, value: impl Incoming<J>) -> Result<(usize, usize), Failure> {
    let before = J::Combine::heap_bytes(state);
    value.merge_into(state)?;
    Ok((before, J::Combine::heap_bytes(state)))
}
