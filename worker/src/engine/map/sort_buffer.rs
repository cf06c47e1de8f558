//! The sort buffer: records as they are emitted, framed as in a block, and an entry for each with
//! its partition and key prefix. Sorting moves entries, never records.

use gristmill_common::key::key_prefix;

use crate::engine::shuffle::{frame, read_varint};

/// The most bytes one buffer can address.
const MOST_BYTES: usize = u32::MAX as usize;

#[derive(Debug, Clone, Copy)]
struct Entry {
    prefix: u64,
    /// Where the record's frame starts; growing, so it also is the order of emission.
    offset: u32,
    partition: u32,
}

/// Records of one map attempt until they are spilled.
#[derive(Debug, Default)]
pub(super) struct SortBuffer {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
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
    /// is touched, and nothing is copied as the buffer fills.
    #[cold]
    fn reserve(&mut self, limit: usize) {
        self.bytes.reserve_exact(limit.min(MOST_BYTES));
        self.entries.reserve_exact(limit / (size_of::<Entry>() + 2));
    }

    /// Whether `record_bytes` more fit into `limit`.
    #[inline]
    pub(super) fn fits(&mut self, record_bytes: usize, limit: usize) -> bool {
        if self.bytes.capacity() == 0 {
            self.reserve(limit);
        }
        let bytes = self.bytes.len() + record_bytes + 10;
        bytes + (self.entries.len() + 1) * size_of::<Entry>() <= limit && bytes <= MOST_BYTES
    }

    /// Takes a record in.
    #[inline]
    pub(super) fn push(&mut self, partition: u32, key: &[u8], value: &[u8]) {
        let offset = self.bytes.len() as u32;
        self.entries.push(Entry { prefix: key_prefix(key), offset, partition });
        frame(key.len(), value.len(), &mut self.bytes);
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
    }

    /// Sorts by partition, key and emission.
    pub(super) fn sort(&mut self) {
        let bytes = &self.bytes;
        self.entries.sort_unstable_by(|a, b| {
            (a.partition, a.prefix)
                .cmp(&(b.partition, b.prefix))
                .then_with(|| key_at(bytes, a.offset).cmp(key_at(bytes, b.offset)))
                .then(a.offset.cmp(&b.offset))
        });
    }

    /// All records in their order, with their partitions.
    pub(super) fn records(&self) -> impl Iterator<Item = (u32, Framed<'_>)> {
        self.entries.iter().map(|entry| {
            let start = entry.offset as usize;
            let (key_at, key_len, value_len) = lengths_at(&self.bytes, start);
            let framed = &self.bytes[start..key_at + key_len + value_len];
            (entry.partition, Framed { framed, lengths: key_at - start })
        })
    }

    /// Empties the buffer and keeps its memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }
}

fn lengths_at(bytes: &[u8], start: usize) -> (usize, usize, usize) {
    let mut at = start;
    let mut next = || read_varint(bytes, &mut at).expect("the buffer framed the record itself") as usize;
    let (key_len, value_len) = (next(), next());
    (at, key_len, value_len)
}

fn key_at(bytes: &[u8], offset: u32) -> &[u8] {
    let (at, key_len, _) = lengths_at(bytes, offset as usize);
    &bytes[at..at + key_len]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_sort_by_partition_key_and_emission() {
        let mut buffer = SortBuffer::new();
        for (partition, key, value) in [
            (1, "b", "1"),
            (0, "long key b", "2"),
            (0, "long key a", "3"),
            (0, "long key b", "4"),
            (1, "", "5"),
            (1, "b", "6"),
        ] {
            assert!(buffer.fits(key.len() + value.len(), 1 << 10));
            buffer.push(partition, key.as_bytes(), value.as_bytes());
        }
        buffer.sort();
        let seen: Vec<(u32, String)> = buffer
            .records()
            .map(|(partition, r)| (partition, String::from_utf8_lossy(&r.framed[r.lengths..]).into_owned()))
            .collect();
        let expect = [(0, "long key a3"), (0, "long key b2"), (0, "long key b4"), (1, "5"), (1, "b1"), (1, "b6")];
        assert_eq!(seen, expect.map(|(partition, text)| (partition, text.to_owned())));
        assert!(!buffer.fits(1 << 10, 1 << 10));
        buffer.clear();
        assert_eq!(buffer.records().count(), 0);
    }
}
