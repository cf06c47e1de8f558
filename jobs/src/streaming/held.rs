//! Map output that waits for a combiner: as much as fits into a bounded buffer, then in key order
//! through the command, whose output goes on in its place.

use std::ops::Range;

use gristmill_common::job::Result;

/// Bytes of keys and values that are combined at once. More combine better; every map attempt of a job
/// with a combiner takes so much memory besides its own.
const HELD_BYTES: usize = 16 << 20;

/// Bytes that a record takes besides its key and value.
const RECORD_BYTES: usize = size_of::<Held>();

/// Records in memory.
#[derive(Debug, Default)]
pub(super) struct HeldRecords {
    bytes: Vec<u8>,
    records: Vec<Held>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    start: u32,
    key: u32,
    value: u32,
}

impl Held {
    fn key(self) -> Range<usize> {
        self.start as usize..(self.start + self.key) as usize
    }

    fn value(self) -> Range<usize> {
        (self.start + self.key) as usize..(self.start + self.key + self.value) as usize
    }
}

impl HeldRecords {
    /// Whether a record of this size has no room beside the others.
    pub(super) fn is_full(&self, key: usize, value: usize) -> bool {
        let taken = self.bytes.len() + self.records.len() * RECORD_BYTES;
        !self.records.is_empty() && taken + key + value + RECORD_BYTES > HELD_BYTES
    }

    /// Whether a record of this size could have room at all.
    pub(super) fn could_hold(key: usize, value: usize) -> bool {
        key + value + RECORD_BYTES <= HELD_BYTES
    }

    /// Takes a record that has room.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        let length = |bytes: &[u8]| bytes.len() as u32;
        self.records.push(Held { start: length(&self.bytes), key: length(key), value: length(value) });
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
    }

    /// Hands all records to `to`, in the order of their keys and then in that in which they came, and
    /// forgets them.
    ///
    /// # Errors
    ///
    /// That of `to`.
    pub(super) fn drain(&mut self, mut to: impl FnMut(&[u8], &[u8]) -> Result<()>) -> Result<()> {
        let bytes = &self.bytes;
        self.records.sort_by(|one, other| bytes[one.key()].cmp(&bytes[other.key()]));
        self.records.iter().try_for_each(|record| to(&bytes[record.key()], &bytes[record.value()]))?;
        self.bytes.clear();
        self.records.clear();
        Ok(())
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_leave_in_key_order_and_none_is_lost() {
        let mut held = HeldRecords::default();
        for (key, value) in [("b", "1"), ("a", "2"), ("b", "0"), ("", "3")] {
            held.push(key.as_bytes(), value.as_bytes());
        }
        let mut seen = String::new();
        let mut to = |key: &[u8], value: &[u8]| {
            seen += &format!("{}={} ", String::from_utf8_lossy(key), String::from_utf8_lossy(value));
            Ok(())
        };
        held.drain(&mut to).expect("taken");
        assert!(held.is_empty());
        assert_eq!(seen, "=3 a=2 b=1 b=0 ");
        let mut records = 0;
        while !held.is_full(500, 500) {
            held.push(&[0; 500], &[0; 500]);
            records += 1;
        }
        assert_eq!(records, HELD_BYTES / (1000 + RECORD_BYTES));
        assert!(!HeldRecords::could_hold(HELD_BYTES, 0));
    }
}
