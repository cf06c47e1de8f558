//! The combiner table: one running fold for each distinct key, in a hash table with open addressing
//! and linear probing. Keys of up to 16 bytes lie inside their slot, longer ones in an arena; states
//! lie inside the slot too, so an update touches one cache line. Its order never reaches an output:
//! entries are sorted when they leave.

use std::num::NonZeroU32;

use gristmill_sys::memory;
use xxhash_rust::xxh3::xxh3_64;

/// Slots of a new table. More cost a small task more than its records, fewer grow once more.
const FIRST_SLOTS: usize = 1 << 8;

/// Keys up to this length lie inside their slot.
const INLINE_BYTES: usize = 16;

/// Bytes that sorting takes for each entry.
const SORT_ENTRY_BYTES: usize = 16;

#[derive(Debug)]
struct Slot<A> {
    /// Inline: the key's bytes, little endian, zero padded. Long: its hash and its place in the arena.
    words: [u64; 2],
    /// Key length plus one, so that an absent slot takes no room of its own.
    len: NonZeroU32,
    acc: A,
}

/// The folds of distinct keys.
#[derive(Debug)]
pub(super) struct CombineTable<A> {
    slots: Vec<Option<Slot<A>>>,
    used: usize,
    /// The long keys. Its room is reserved once for all: the system gives memory only for what is
    /// touched, and nothing is copied or given back and forth as it fills.
    arena: Vec<u8>,
    arena_room: usize,
    heap_bytes: usize,
}

/// A key made ready for probing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe {
    words: [u64; 2],
    len: NonZeroU32,
    hash: u64,
}

impl Probe {
    /// Makes a key ready that is short enough to lie inside its slot.
    #[inline]
    pub(super) fn inline(key: &[u8]) -> Option<Self> {
        (key.len() <= INLINE_BYTES).then(|| inline_probe(key))
    }
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

impl<A> CombineTable<A> {
    /// A table whose long keys take at most `arena_room` bytes.
    pub(super) fn new(arena_room: usize) -> Self {
        Self { slots: Vec::new(), used: 0, arena: Vec::new(), arena_room, heap_bytes: 0 }
    }

    /// Distinct keys.
    pub(super) fn len(&self) -> usize {
        self.used
    }

    /// Memory in use, with what sorting the entries will take.
    pub(super) fn bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Option<Slot<A>>>()
            + self.used * SORT_ENTRY_BYTES
            + self.arena.len()
            + self.heap_bytes
    }

    /// Memory that the next new key may take in use for a moment: when the table must grow, old and
    /// new slots are both there.
    pub(super) fn bytes_after_insert(&self, key_len: usize) -> usize {
        let grown =
            if self.must_grow() { 2 * self.slots.len().max(FIRST_SLOTS / 2) * size_of::<Option<Slot<A>>>() } else { 0 };
        self.bytes() + grown + if key_len > INLINE_BYTES { key_len } else { 0 }
    }

    /// Accounts for heap memory behind states.
    pub(super) fn add_heap_bytes(&mut self, before: usize, after: usize) {
        self.heap_bytes = (self.heap_bytes + after).saturating_sub(before);
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
        let probe = long_probe(key);
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
            Some(Some(slot)) if found => Entry::Occupied(&mut slot.acc),
            _ => Entry::Vacant(Vacancy { probe, slot }),
        }
    }

    /// Puts a new short key in, which was found vacant.
    pub(super) fn insert_inline(&mut self, vacancy: Vacancy, acc: A) {
        self.insert(vacancy, acc, |_| None);
    }

    /// Puts a new long key in, which was found vacant.
    pub(super) fn insert_long(&mut self, vacancy: Vacancy, key: &[u8], acc: A) {
        self.insert(vacancy, acc, |table| Some(table.keep_key(key)));
    }

    fn insert(&mut self, vacancy: Vacancy, acc: A, keep: impl FnOnce(&mut Self) -> Option<u64>) {
        let Vacancy { mut probe, mut slot } = vacancy;
        if self.must_grow() {
            self.grow();
            let mask = self.slots.len() - 1;
            slot = probe.hash as usize & mask;
            while self.slots[slot].is_some() {
                slot = (slot + 1) & mask;
            }
        }
        if let Some(place) = keep(self) {
            probe.words[1] = place;
        }
        self.slots[slot] = Some(Slot { words: probe.words, len: probe.len, acc });
        self.used += 1;
    }

    /// Three quarters full: fuller tables probe much longer, emptier ones spill earlier.
    fn must_grow(&self) -> bool {
        (self.used + 1) * 4 > self.slots.len() * 3
    }

    #[cold]
    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(FIRST_SLOTS);
        let mut slots = Vec::with_capacity(size);
        memory::prefer_huge_pages(&mut slots);
        slots.resize_with(size, || None);
        let mask = size - 1;
        for slot in self.slots.drain(..).flatten() {
            let hash = if slot.len.get() as usize <= INLINE_BYTES + 1 { fold(slot.words) } else { slot.words[0] };
            let mut at = hash as usize & mask;
            while slots[at].is_some() {
                at = (at + 1) & mask;
            }
            slots[at] = Some(slot);
        }
        self.slots = slots;
    }

    fn keep_key(&mut self, key: &[u8]) -> u64 {
        if self.arena.capacity() == 0 {
            self.arena.reserve_exact(self.arena_room);
        }
        let at = self.arena.len();
        self.arena.extend_from_slice(key);
        at as u64
    }

    fn long_key(&self, slot: &Slot<A>) -> &[u8] {
        let at = slot.words[1] as usize;
        &self.arena[at..at + slot.len.get() as usize - 1]
    }

    /// Positions of all entries, for [`key`](Self::key), [`prefix`](Self::prefix) and [`acc`](Self::acc).
    pub(super) fn positions(&self) -> impl Iterator<Item = u32> {
        self.slots.iter().enumerate().filter(|(_, slot)| slot.is_some()).map(|(at, _)| at as u32)
    }

    /// The key at a position; short ones are copied into `room`.
    #[inline]
    pub(super) fn key<'a>(&'a self, position: u32, room: &'a mut [u8; INLINE_BYTES]) -> &'a [u8] {
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
    pub(super) fn acc(&self, position: u32) -> &A {
        &self.slot(position).acc
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
}

/// A short key as two words. Overlapping loads of fixed size replace a copy of variable length.
#[inline]
fn inline_probe(key: &[u8]) -> Probe {
    let words = match (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        (Some(first), Some(last)) => {
            let tail = u64::from_le_bytes(*last);
            let high = tail.checked_shr(8 * (INLINE_BYTES - key.len()) as u32).unwrap_or(0);
            [u64::from_le_bytes(*first), high]
        }
        _ => [short_word(key), 0],
    };
    Probe { words, len: NonZeroU32::MIN.saturating_add(key.len() as u32), hash: fold(words) }
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

fn long_probe(key: &[u8]) -> Probe {
    let hash = xxh3_64(key);
    Probe { words: [hash, 0], len: NonZeroU32::MIN.saturating_add(key.len() as u32), hash }
}

/// Mixes two words by a folded 128-bit product (the step of wyhash).
#[inline]
fn fold(words: [u64; 2]) -> u64 {
    let product = u128::from(words[0] ^ 0x9e37_79b9_7f4a_7c15) * u128::from(words[1] ^ 0xd1b5_4a32_d192_ed03);
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn add(table: &mut CombineTable<u64>, key: &[u8]) {
        match Probe::inline(key) {
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

    fn content(table: &CombineTable<u64>) -> BTreeMap<Vec<u8>, u64> {
        let mut room = [0; INLINE_BYTES];
        table.positions().map(|at| (table.key(at, &mut room).to_vec(), *table.acc(at))).collect()
    }

    proptest! {
        #[test]
        fn the_table_counts_as_a_map_does(
            keys in proptest::collection::vec(proptest::collection::vec(0_u8..3, 0..20), 0..300),
        ) {
            let mut table = CombineTable::new(1 << 20);
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
    fn the_table_grows_and_says_how_much_it_takes() {
        let mut table = CombineTable::new(1 << 20);
        for n in 0..20_000_u32 {
            add(&mut table, format!("key number {n:08}").as_bytes());
        }
        assert_eq!(table.len(), 20_000);
        assert!(content(&table).values().all(|&count| count == 1));
        assert!(table.bytes() >= 20_000 * 20);
        assert_eq!(size_of::<Option<Slot<u64>>>(), 32, "an absent slot takes no room of its own");
    }
}
