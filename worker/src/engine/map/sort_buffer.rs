//! The sort buffer: records as they are emitted, framed as in a block, and an entry for each with
//! its partition and key prefix. Sorting moves entries, never records.

use gristmill_common::key::key_prefix;
use gristmill_sys::memory::{prefer_huge_pages, prefetch};

use crate::engine::shuffle::{frame, read_varint};

/// The most bytes one buffer can address.
const MOST_BYTES: usize = u32::MAX as usize;

/// Entries between a record that is read and one whose memory is asked for. More hide memory latency
/// better, until the lines asked for push each other out of the first-level cache.
const PREFETCH_AHEAD: usize = 16;

/// Bytes that a cache line holds.
const CACHE_LINE: usize = 64;

/// Bytes of a key that an entry holds.
const PREFIX: usize = 8;

/// The most bytes that keys may share before they are compared as a whole. More bytes help keys that
/// share even longer beginnings, and cost a look at each key for every eight.
const MOST_DEPTH: usize = 64;

/// Bytes of a buffer that is worth keeping.
const WORTH_KEEPING: usize = 256 << 10;

/// Entries that are compared as a whole rather than given other prefixes first.
const SMALL_GROUP: usize = 16;

/// A record's partition (32 bits), key prefix (64) and offset (32) in one number, so that sorting
/// compares numbers. Offsets grow, so they also are the order of emission.
type Entry = u128;

#[inline]
fn entry(partition: u32, prefix: u64, offset: u32) -> Entry {
    u128::from(partition) << 96 | u128::from(prefix) << 32 | u128::from(offset)
}

#[inline]
fn offset(entry: Entry) -> usize {
    entry as u32 as usize
}

/// Records of one map attempt until they are spilled.
#[derive(Debug, Default)]
pub(in super::super) struct SortBuffer {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// The most bytes and entries there ever were: their memory is there.
    touched: (usize, usize),
}

/// A record in the buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Framed<'a> {
    /// The record with its lengths in front.
    pub(super) framed: &'a [u8],
    /// Bytes of those lengths.
    pub(super) lengths: usize,
}

impl SortBuffer {
    /// An empty buffer.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Reserves room for `limit` bytes of records and entries. The system gives memory only for what
    /// is touched, in large pages because sorted records are read at random, and nothing is copied as
    /// the buffer fills.
    #[cold]
    fn reserve(&mut self, limit: usize) {
        self.bytes.reserve_exact(limit.min(MOST_BYTES));
        self.entries.reserve_exact(limit / (size_of::<Entry>() + 2));
        prefer_huge_pages(&mut self.bytes);
        prefer_huge_pages(&mut self.entries);
    }

    /// Whether `record_bytes` more fit into `limit`.
    #[inline]
    pub(super) fn fits(&mut self, record_bytes: usize, limit: usize) -> bool {
        if self.bytes.capacity() == 0 {
            self.reserve(limit);
        }
        let (bytes, entries) = (self.bytes.len() + record_bytes + 10, self.entries.len() + 1);
        let fits = bytes + entries * size_of::<Entry>() <= limit && bytes <= MOST_BYTES;
        let memory = bytes.max(self.touched.0) + entries.max(self.touched.1) * size_of::<Entry>();
        if fits && memory > limit {
            self.shed(limit);
        }
        fits
    }

    /// Takes a record in.
    #[inline]
    pub(super) fn push(&mut self, partition: u32, key: &[u8], value: &[u8]) {
        self.entries.push(entry(partition, key_prefix(key), self.bytes.len() as u32));
        if key.len() < 0x80 && value.len() < 0x80 {
            self.bytes.reserve(2 + key.len() + value.len());
            self.bytes.extend_from_slice(&[key.len() as u8, value.len() as u8]);
        } else {
            frame(key.len(), value.len(), &mut self.bytes);
        }
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
    }

    /// Sorts by partition, key and emission.
    pub(super) fn sort(&mut self) {
        sort_entries(&self.bytes, &mut self.entries, 0);
    }

    /// All records in their order, with their partitions.
    pub(super) fn records(&self) -> impl Iterator<Item = (u32, Framed<'_>)> {
        self.entries.iter().enumerate().map(|(index, entry)| {
            if let Some(soon) = self.entries.get(index + PREFETCH_AHEAD) {
                self.prefetch(offset(*soon));
            }
            let start = offset(*entry);
            let (key_at, key_len, value_len) = lengths_at(&self.bytes, start);
            let framed = &self.bytes[start..key_at + key_len + value_len];
            ((entry >> 96) as u32, Framed { framed, lengths: key_at - start })
        })
    }

    /// Asks for the first two cache lines of a record, which hold most records whole.
    #[inline]
    fn prefetch(&self, start: usize) {
        for line in [start, start + CACHE_LINE] {
            if let Some(byte) = self.bytes.get(line) {
                prefetch(byte);
            }
        }
    }

    /// Gives back what earlier records touched and these do not need.
    #[cold]
    fn shed(&mut self, limit: usize) {
        let full = std::mem::take(self);
        self.reserve(limit);
        self.bytes.extend_from_slice(&full.bytes);
        self.entries.extend_from_slice(&full.entries);
    }

    /// Whether its memory is worth handing on: making a small one anew costs nothing.
    pub(super) fn is_worth_keeping(&self) -> bool {
        self.memory() >= WORTH_KEEPING
    }

    /// Bytes of memory that the buffer has touched.
    #[inline]
    fn memory(&self) -> usize {
        let (bytes, entries) = self.touched;
        self.bytes.len().max(bytes) + self.entries.len().max(entries) * size_of::<Entry>()
    }

    /// Empties the buffer and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.touched = (self.touched.0.max(self.bytes.len()), self.touched.1.max(self.entries.len()));
        self.bytes.clear();
        self.entries.clear();
    }
}

/// Sorts entries whose keys agree up to byte `depth`, from which on their prefixes are taken.
fn sort_entries(bytes: &[u8], entries: &mut [Entry], depth: usize) {
    entries.sort_unstable();
    let depth = depth + PREFIX;
    for group in entries.chunk_by_mut(|a, b| a >> 32 == b >> 32).filter(|group| group.len() > 1) {
        let key = |entry: &Entry| key_at(bytes, offset(*entry));
        let goes_on =
            depth <= MOST_DEPTH && group.len() > SMALL_GROUP && group.iter().any(|one| key(one).len() > depth);
        if goes_on {
            // Prefixes are only needed for sorting, so the next ones may take their place.
            for one in &mut *group {
                let next = key(one).get(depth..).unwrap_or_default();
                *one = entry((*one >> 96) as u32, key_prefix(next), *one as u32);
            }
            sort_entries(bytes, group, depth);
        } else {
            group.sort_unstable_by(|a, b| key(a).cmp(key(b)).then(offset(*a).cmp(&offset(*b))));
        }
    }
}

#[inline]
fn lengths_at(bytes: &[u8], start: usize) -> (usize, usize, usize) {
    let mut at = start;
    let mut next = || read_varint(bytes, &mut at).expect("the buffer framed the record itself") as usize;
    let (key_len, value_len) = (next(), next());
    (at, key_len, value_len)
}

fn key_at(bytes: &[u8], start: usize) -> &[u8] {
    let (at, key_len, _) = lengths_at(bytes, start);
    &bytes[at..at + key_len]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kept::Pool;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_that_share_long_beginnings_sort_too(
            keys in proptest::collection::vec((0_u32..2, 0_usize..12, "[ab\0]{0,4}"), 0..200),
        ) {
            let mut buffer = SortBuffer::new();
            let mut expect = vec![];
            for (index, (partition, shared, end)) in keys.into_iter().enumerate() {
                let key = format!("{}{end}", "shared ".repeat(shared));
                buffer.push(partition, key.as_bytes(), &(index as u32).to_be_bytes());
                expect.push((partition, key.into_bytes(), index as u32));
            }
            expect.sort();
            buffer.sort();
            let seen: Vec<(u32, Vec<u8>)> =
                buffer.records().map(|(partition, r)| (partition, r.framed[r.lengths..].to_vec())).collect();
            let joined = |(partition, key, index): (u32, Vec<u8>, u32)| (partition, [&key[..], &index.to_be_bytes()].concat());
            prop_assert_eq!(seen, expect.into_iter().map(joined).collect::<Vec<_>>());
        }
    }

    #[test]
    fn kept_memory_is_given_back_when_records_need_it_otherwise() {
        let limit = 1 << 20;
        let buffers = Pool::<SortBuffer>::new();
        let fill = |buffer: &mut SortBuffer, value: &[u8]| {
            let mut records = 0;
            while buffer.fits(3 + value.len(), limit) {
                buffer.push(0, b"key", value);
                records += 1;
                assert!(buffer.memory() <= limit);
            }
            records
        };
        let alone = |value: &[u8]| fill(&mut SortBuffer::new(), value);
        for value in [&[7; 1000][..], b"", &[7; 1000], b"1"] {
            let mut buffer = buffers.take();
            assert_eq!(fill(&mut buffer, value), alone(value), "{} bytes a value", value.len());
            assert_eq!(buffer.records().count(), alone(value));
            buffer.clear();
            assert!(buffer.is_worth_keeping());
            buffers.give(buffer);
        }
        assert!(buffers.take().memory() > limit / 2, "the last buffer was kept");
        buffers.clear();
        assert_eq!(buffers.take().memory(), 0);
    }

    #[test]
    fn records_sort_by_partition_key_and_emission() {
        let mut buffer = SortBuffer::new();
        let long = "long value ".repeat(12);
        let records = [
            (1, "b", "1"),
            (0, "long key b", "2"),
            (0, "long key a", "3"),
            (0, "long key b", "4"),
            (1, "", "5"),
            (1, "b", "6"),
            (1, "b\0", &long),
            (u32::MAX, "\u{ff}", "7"),
        ];
        for (partition, key, value) in records {
            assert!(buffer.fits(key.len() + value.len(), 1 << 10));
            buffer.push(partition, key.as_bytes(), value.as_bytes());
        }
        buffer.sort();
        let seen: Vec<(u32, String)> = buffer
            .records()
            .map(|(partition, r)| (partition, String::from_utf8_lossy(&r.framed[r.lengths..]).into_owned()))
            .collect();
        let last = format!("b\0{long}");
        let expect = [
            (0, "long key a3"),
            (0, "long key b2"),
            (0, "long key b4"),
            (1, "5"),
            (1, "b1"),
            (1, "b6"),
            (1, &last),
            (u32::MAX, "\u{ff}7"),
        ];
        assert_eq!(seen, expect.map(|(partition, text)| (partition, text.to_owned())));
        assert!(!buffer.fits(1 << 10, 1 << 10));
        buffer.clear();
        assert_eq!(buffer.records().count(), 0);
    }
}
