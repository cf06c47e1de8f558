//! The table of a fold: one running state for each distinct key, in a hash table with open addressing
//! and linear probing. Keys of up to 16 bytes lie inside their slot, longer ones in an arena; states
//! lie inside the slot too, so an update touches one cache line. The order of its slots depends on
//! what was added and on nothing else.

use std::num::NonZeroU32;

use gristmill_sys::memory;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::engine::kept::Pool;

/// Slots of a new table. More cost a small task more than its records, fewer grow once more.
const FIRST_SLOTS: usize = 1 << 8;

/// Slots that are worth keeping for the next table, and worth reserving room for all there may be.
const WORTH_KEEPING: usize = 1 << 13;

/// Keys up to this length lie inside their slot.
const INLINE_BYTES: usize = 16;

/// Bytes that sorting takes for each entry.
const SORT_ENTRY_BYTES: usize = 20;

/// The part of its room that a table may take for long keys and heap memory besides slots that an
/// earlier one left. Less is given back more often, more is not within the budget.
const SHED_ABOVE: usize = 8;

/// Room for a copy of a short key.
pub(in super::super) type KeyRoom = [u8; INLINE_BYTES];

#[derive(Debug)]
pub(in super::super) struct Slot<A> {
    /// Inline: the key's bytes, little endian, zero padded. Long: its hash and its place in the arena.
    words: [u64; 2],
    /// Key length plus one, so that an absent slot takes no room of its own.
    len: NonZeroU32,
    state: A,
}

/// Memory of tables between the attempts of one job: memory that was touched before costs nothing,
/// and fresh memory is slower than all that a table does with it.
pub(in super::super) type Tables<A> = Pool<Slots<A>>;

/// The slots of a table. The capacity is for all there may ever be: the system gives memory only for
/// what is touched, so nothing is copied or given back and forth as a table grows.
#[derive(Debug)]
pub(in super::super) struct Slots<A> {
    in_use: Vec<Option<Slot<A>>>,
    /// Slots whose memory is there, in use or not.
    touched: usize,
}

impl<A> Default for Slots<A> {
    fn default() -> Self {
        Self { in_use: Vec::new(), touched: 0 }
    }
}

/// The states of distinct keys.
#[derive(Debug)]
pub(super) struct CombineTable<'a, A> {
    tables: &'a Tables<A>,
    seed: u64,
    slots: Vec<Option<Slot<A>>>,
    /// Slots whose memory is there.
    touched: usize,
    used: usize,
    /// The long keys; its capacity too is reserved once for all.
    arena: Vec<u8>,
    /// Bytes that slots or arena may take at most.
    room: usize,
    heap_bytes: usize,
}

/// A key made ready for probing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    words: [u64; 2],
    len: NonZeroU32,
    hash: u64,
}

/// What a look-up found.
pub(super) enum Entry<'a, A> {
    /// The key's state.
    Occupied(&'a mut A),
    /// The key is new; an `insert` takes its first state.
    Vacant(Vacancy),
}

/// Where a new key belongs.
pub(super) struct Vacancy {
    probe: Probe,
    slot: usize,
}

impl<'a, A> CombineTable<'a, A> {
    /// A table that takes at most about `room` bytes, whose hash function depends on `seed`.
    pub(super) fn new(tables: &'a Tables<A>, room: usize, seed: u64) -> Self {
        let Slots { in_use: slots, touched } = tables.take();
        Self { slots, touched, tables, seed, used: 0, arena: Vec::new(), room, heap_bytes: 0 }
    }

    /// Distinct keys.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Makes a key ready that is short enough to lie inside its slot.
    #[inline]
    pub(super) fn inline_probe(&self, key: &[u8]) -> Option<Probe> {
        (key.len() <= INLINE_BYTES).then(|| inline_probe(key, self.seed))
    }

    /// Memory in use, with what sorting the entries will take.
    pub(super) fn bytes(&self) -> usize {
        self.slots.len() * size_of::<Option<Slot<A>>>()
            + self.used * SORT_ENTRY_BYTES
            + self.arena.len()
            + self.heap_bytes
    }

    /// Memory in use once one more key is in.
    pub(super) fn bytes_after_insert(&self, key_len: usize) -> usize {
        let grown = if self.must_grow() { self.slots.len().max(FIRST_SLOTS) * size_of::<Option<Slot<A>>>() } else { 0 };
        self.bytes() + grown + if key_len > INLINE_BYTES { key_len } else { 0 }
    }

    /// Accounts for heap memory behind states.
    pub(super) fn add_heap_bytes(&mut self, before: usize, after: usize) {
        self.heap_bytes = (self.heap_bytes + after).saturating_sub(before);
        self.shed();
    }

    /// Asks for the memory in which a key's slot lies.
    #[inline]
    pub(super) fn prefetch(&self, probe: &Probe) {
        let mask = self.slots.len().wrapping_sub(1);
        if let Some(slot) = self.slots.get(probe.hash as usize & mask) {
            memory::prefetch(slot);
        }
    }

    /// Looks a short key up.
    #[inline]
    pub(super) fn inline_entry(&mut self, probe: &Probe) -> Entry<'_, A> {
        let same = |slot: &Slot<A>| slot.words == probe.words && slot.len == probe.len;
        let (at, found) = self.find(probe.hash, same);
        self.entry_at(at, found, *probe)
    }

    /// Looks a long key up.
    pub(super) fn long_entry(&mut self, key: &[u8]) -> Entry<'_, A> {
        let probe = long_probe(key, self.seed);
        let same =
            |slot: &Slot<A>| slot.words[0] == probe.words[0] && slot.len == probe.len && self.long_key(slot) == key;
        let (at, found) = self.find(probe.hash, same);
        self.entry_at(at, found, probe)
    }

    /// Where the key is, or where it belongs.
    #[inline]
    fn find(&self, hash: u64, same: impl Fn(&Slot<A>) -> bool) -> (usize, bool) {
        if self.slots.is_empty() {
            return (0, false);
        }
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            match &self.slots[at] {
                None => return (at, false),
                Some(slot) if same(slot) => return (at, true),
                Some(_) => at = (at + 1) & mask,
            }
        }
    }

    #[inline]
    fn entry_at(&mut self, slot: usize, found: bool, probe: Probe) -> Entry<'_, A> {
        match self.slots.get_mut(slot) {
            Some(Some(slot)) if found => Entry::Occupied(&mut slot.state),
            _ => Entry::Vacant(Vacancy { probe, slot }),
        }
    }

    /// Puts a new short key in, which was found vacant.
    pub(super) fn insert_inline(&mut self, vacancy: Vacancy, state: A) {
        self.insert(vacancy, state, |_| None);
    }

    /// Puts a new long key in, which was found vacant.
    pub(super) fn insert_long(&mut self, vacancy: Vacancy, key: &[u8], state: A) {
        self.insert(vacancy, state, |table| Some(table.keep_key(key)));
    }

    fn insert(&mut self, vacancy: Vacancy, state: A, keep: impl FnOnce(&mut Self) -> Option<u64>) {
        let Vacancy { mut probe, mut slot } = vacancy;
        if self.must_grow() {
            self.grow();
            slot = self.first_free(probe.hash);
        }
        if let Some(place) = keep(self) {
            probe.words[1] = place;
        }
        self.slots[slot] = Some(Slot { words: probe.words, len: probe.len, state });
        self.used += 1;
    }

    /// Three quarters full: fuller tables probe much longer, emptier ones spill earlier.
    fn must_grow(&self) -> bool {
        (self.used + 1) * 4 > self.slots.len() * 3
    }

    #[cold]
    fn grow(&mut self) {
        let old = self.slots.len();
        let size = (2 * old).max(FIRST_SLOTS);
        if self.slots.capacity() < size {
            let most = self.room / size_of::<Option<Slot<A>>>();
            // Most tables stay as they begin.
            self.replace_slots(if size < WORTH_KEEPING { size } else { size.max(most) });
        }
        self.slots.resize_with(size, || None);
        self.touched = self.touched.max(size);
        self.spread(old);
    }

    /// Moves the slots to fresh memory.
    fn replace_slots(&mut self, capacity: usize) {
        let mut slots = Vec::with_capacity(capacity);
        memory::prefer_huge_pages(&mut slots);
        slots.append(&mut self.slots);
        self.touched = slots.len();
        self.slots = slots;
    }

    /// Gives memory back that an earlier table left and this one does not need, once it needs memory
    /// for other things: then both would not fit.
    #[inline]
    fn shed(&mut self) {
        if self.touched > self.slots.len() && self.arena.len() + self.heap_bytes > self.room / SHED_ABOVE {
            self.replace_slots(self.slots.capacity());
        }
    }

    /// Moves the entries of the first `old` slots to where they belong among all slots. One that is
    /// not yet moved never lies between a moved one and its home: they move in the order of their
    /// slots, beginning after an empty one, and what may have come around the end moves last.
    fn spread(&mut self, old: usize) {
        let start = self.slots[..old].iter().position(Option::is_none).unwrap_or(old);
        let around: Vec<Slot<A>> = self.slots[..start].iter_mut().filter_map(Option::take).collect();
        for at in start..old {
            if let Some(slot) = self.slots[at].take() {
                self.settle(slot);
            }
        }
        around.into_iter().for_each(|slot| self.settle(slot));
    }

    fn settle(&mut self, slot: Slot<A>) {
        let inline = slot.len.get() as usize <= INLINE_BYTES + 1;
        let free = self.first_free(if inline { fold(slot.words, self.seed) } else { slot.words[0] });
        self.slots[free] = Some(slot);
    }

    fn first_free(&self, hash: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at].is_some() {
            at = (at + 1) & mask;
        }
        at
    }

    fn keep_key(&mut self, key: &[u8]) -> u64 {
        if self.arena.capacity() == 0 {
            self.arena.reserve_exact(self.room);
        }
        let at = self.arena.len();
        self.arena.extend_from_slice(key);
        self.shed();
        at as u64
    }

    fn long_key(&self, slot: &Slot<A>) -> &[u8] {
        let at = slot.words[1] as usize;
        &self.arena[at..at + slot.len.get() as usize - 1]
    }

    /// Positions of all entries, for [`key`](Self::key) and [`state`](Self::state), in the order of
    /// the slots.
    pub(super) fn positions(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.is_some()).map(|(at, _)| at as u32)
    }

    /// The key at a position; short ones are copied into `room`.
    #[inline]
    pub(super) fn key<'k>(&'k self, position: u32, room: &'k mut KeyRoom) -> &'k [u8] {
        let slot = self.slot(position);
        let len = slot.len.get() as usize - 1;
        if len > INLINE_BYTES {
            return self.long_key(slot);
        }
        room[..8].copy_from_slice(&slot.words[0].to_le_bytes());
        room[8..].copy_from_slice(&slot.words[1].to_le_bytes());
        &room[..len]
    }

    /// Asks for the memory of the entry at a position.
    #[inline]
    pub(super) fn prefetch_position(&self, position: u32) {
        memory::prefetch(&self.slots[position as usize]);
    }

    /// The state at a position.
    pub(super) fn state(&self, position: u32) -> &A {
        &self.slot(position).state
    }

    fn slot(&self, position: u32) -> &Slot<A> {
        self.slots[position as usize].as_ref().expect("positions name entries")
    }

    /// Empties the table and keeps its slots for reuse.
    pub(super) fn clear(&mut self) {
        self.slots.iter_mut().for_each(|slot| *slot = None);
        self.used = 0;
        self.heap_bytes = 0;
        self.arena.clear();
    }

    /// Empties the table and gives its memory back to the system.
    pub(super) fn free(&mut self) {
        self.slots = Vec::new();
        self.touched = 0;
        self.arena = Vec::new();
        self.used = 0;
        self.heap_bytes = 0;
    }
}

impl<A> Drop for CombineTable<'_, A> {
    /// Keeps the slots for the next table, unless making them anew costs nothing.
    fn drop(&mut self) {
        if self.touched >= WORTH_KEEPING {
            self.slots.clear();
            self.tables.give(Slots { in_use: std::mem::take(&mut self.slots), touched: self.touched });
        }
    }
}

/// A short key as two words. Overlapping loads of fixed size replace a copy of variable length.
#[inline]
fn inline_probe(key: &[u8], seed: u64) -> Probe {
    let words = match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        (Some(first), Some(last)) => {
            let tail = u64::from_le_bytes(*last);
            let high = tail.checked_shr(8 * (INLINE_BYTES - key.len()) as u32).unwrap_or(0);
            [u64::from_le_bytes(*first), high]
        }
        _ => [short_word(key), 0],
    };
    Probe { words, len: NonZeroU32::MIN.saturating_add(key.len() as u32), hash: fold(words, seed) }
}

/// Up to seven bytes as a word.
#[inline]
fn short_word(key: &[u8]) -> u64 {
    match (key.first_chunk::<4>(), key.last_chunk::<4>(), key) {
        (Some(first), Some(last), _) => {
            let shift = 8 * (key.len() - 4) as u32;
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << shift
        }
        (_, _, []) => 0,
        (_, _, [a]) => u64::from(*a),
        (_, _, [a, b]) => u64::from(*a) | u64::from(*b) << 8,
        (_, _, [a, b, c, ..]) => u64::from(*a) | u64::from(*b) << 8 | u64::from(*c) << 16,
    }
}

fn long_probe(key: &[u8], seed: u64) -> Probe {
    let hash = xxh3_64_with_seed(key, seed);
    Probe { words: [hash, 0], len: NonZeroU32::MIN.saturating_add(key.len() as u32), hash }
}

/// Mixes two words by a folded 128-bit product (the step of wyhash).
#[inline]
fn fold(words: [u64; 2], seed: u64) -> u64 {
    let product = u128::from(words[0] ^ seed ^ 0x9e37_79b9_7f4a_7c15) * u128::from(words[1] ^ 0xd1b5_4a32_d192_ed03);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn add(table: &mut CombineTable<'_, u64>, key: &[u8]) {
        match table.inline_probe(key) {
            Some(probe) => match table.inline_entry(&probe) {
                Entry::Occupied(acc) => *acc += 1,
                Entry::Vacant(vacancy) => table.insert_inline(vacancy, 1),
            },
            None => match table.long_entry(key) {
                Entry::Occupied(acc) => *acc += 1,
                Entry::Vacant(vacancy) => table.insert_long(vacancy, key, 1),
            },
        }
    }

    fn content(table: &CombineTable<'_, u64>) -> BTreeMap<Vec<u8>, u64> {
        let mut room = [0; INLINE_BYTES];
        table.positions().map(|at| (table.key(at, &mut room).to_vec(), *table.state(at))).collect()
    }

    proptest! {
        #[test]
        fn the_table_counts_as_a_map_does(
            keys in proptest::collection::vec(proptest::collection::vec(0_u8..3, 0..20), 0..300),
        ) {
            let tables = Tables::new();
            let mut table = CombineTable::new(&tables, 1 << 20, 7);
            for round in 0..2 {
                let mut expect = BTreeMap::new();
                for key in &keys {
                    add(&mut table, key);
                    *expect.entry(key.clone()).or_default() += 1;
                }
                prop_assert_eq!(content(&table), expect, "round {}", round);
                prop_assert_eq!(table.len(), content(&table).len());
                table.clear();
            }
        }
    }

    #[test]
    fn growing_moves_every_key_to_where_it_is_found() {
        let tables = Tables::new();
        for (round, seed) in [0, u64::MAX].into_iter().enumerate() {
            let mut table = CombineTable::new(&tables, 32 << 20, seed);
            for n in (0..50_000_u32).chain(0..50_000).chain(0..25_000) {
                add(&mut table, format!("{n}").as_bytes());
                add(&mut table, format!("a key too long for its slot {n}").as_bytes());
            }
            assert_eq!(table.len(), 100_000, "round {round}");
            let content = content(&table);
            assert_eq!(content.len(), 100_000);
            for (key, count) in content {
                let text = String::from_utf8(key).expect("text");
                let n: u32 = text.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a number");
                assert_eq!(count, if n < 25_000 { 3 } else { 2 }, "{text}");
            }
        }
        assert!(tables.take().touched > 1 << 17, "the memory of a table is kept for the next one");
    }

    #[test]
    fn keys_may_come_in_the_order_of_another_table() {
        let tables = Tables::new();
        let (mut first, mut second) = (CombineTable::new(&tables, 8 << 20, 1), CombineTable::new(&tables, 8 << 20, 2));
        (0..100_000_u32).for_each(|n| add(&mut first, &n.to_le_bytes()));
        let mut room = KeyRoom::default();
        let positions: Vec<u32> = first.positions().collect();
        for at in positions {
            add(&mut second, first.key(at, &mut room));
        }
        assert_eq!(content(&second), content(&first));
        assert!(second.longest_run() < 200, "keys crowd: {}", second.longest_run());
    }

    impl<A> CombineTable<'_, A> {
        /// The most used slots in a row.
        fn longest_run(&self) -> usize {
            self.slots.split(Option::is_none).map(<[_]>::len).max().unwrap_or(0)
        }
    }

    #[test]
    fn a_table_says_how_much_it_takes() {
        let tables = Tables::new();
        let mut table = CombineTable::new(&tables, 4 << 20, 0);
        for n in 0..20_000_u32 {
            add(&mut table, format!("key number {n:08}").as_bytes());
        }
        assert!(table.bytes() >= 20_000 * (20 + size_of::<Option<Slot<u64>>>()));
        assert_eq!(size_of::<Option<Slot<u64>>>(), 32, "an absent slot takes no room of its own");
        table.free();
        assert_eq!((table.bytes(), table.len()), (0, 0));
    }
}
