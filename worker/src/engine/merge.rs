//! K-way merge of sorted segments in canonical order: by key, then by the segments' order (map task,
//! or spill), then by emission. A loser tree (Knuth, TAOCP vol. 3, 5.4.1) makes each step cost
//! `log2(k)` comparisons, nearly all of them of eight-byte key prefixes.

use super::shuffle::{SegmentCursor, SegmentError};

/// A failure of one of the merged segments.
#[derive(Debug)]
pub(super) struct MergeError {
    /// Position of the segment among those given.
    pub(super) segment: usize,
    /// What is wrong with it.
    pub(super) error: SegmentError,
}

/// A segment in the tree, with the beginning of its key, so that most matches touch the tree alone.
#[derive(Debug, Clone, Copy, Default)]
struct Runner {
    /// The greatest number if the segment is exhausted.
    prefix: u64,
    segment: u32,
}

/// Several sorted segments read as one.
#[derive(Debug)]
pub(super) struct Merge {
    cursors: Vec<SegmentCursor>,
    /// `tree[0]` is the winner; `tree[n]` the loser at inner node `n`, whose children are `2n` and
    /// `2n + 1`; the leaf of segment `i` is node `cursors.len() + i`.
    tree: Vec<Runner>,
}

impl Merge {
    /// A merge over `cursors`, in canonical order.
    pub(super) fn new(cursors: Vec<SegmentCursor>) -> Self {
        let k = cursors.len();
        let mut merge = Self { cursors, tree: vec![Runner::default(); k.max(1)] };
        if k > 0 {
            merge.tree[0] = merge.build(1);
        }
        merge
    }

    /// Plays the matches below `node` and returns the winner.
    fn build(&mut self, node: usize) -> Runner {
        let k = self.cursors.len();
        if node >= k {
            let segment = node - k;
            return Runner { prefix: self.cursors[segment].prefix(), segment: segment as u32 };
        }
        let (left, right) = (self.build(2 * node), self.build(2 * node + 1));
        let (winner, loser) = if self.precedes(left, right) { (left, right) } else { (right, left) };
        self.tree[node] = loser;
        winner
    }

    #[inline]
    fn precedes(&self, a: Runner, b: Runner) -> bool {
        if a.prefix == b.prefix { self.precedes_by_key(a.segment, b.segment) } else { a.prefix < b.prefix }
    }

    fn precedes_by_key(&self, a: u32, b: u32) -> bool {
        let (x, y) = (&self.cursors[a as usize], &self.cursors[b as usize]);
        if x.is_exhausted() || y.is_exhausted() {
            return !x.is_exhausted() || (y.is_exhausted() && a < b);
        }
        match x.key().cmp(y.key()) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            std::cmp::Ordering::Equal => a < b,
        }
    }

    /// The cursor on the first record not yet passed; `None` at the end.
    #[inline]
    pub(super) fn head(&self) -> Option<&SegmentCursor> {
        let cursor = self.cursors.get(self.tree[0].segment as usize)?;
        (!cursor.is_exhausted()).then_some(cursor)
    }

    /// Passes the record in hand.
    ///
    /// # Errors
    ///
    /// If its segment cannot be read on.
    #[inline]
    pub(super) fn advance(&mut self) -> Result<(), MergeError> {
        let segment = self.tree[0].segment as usize;
        let cursor = &mut self.cursors[segment];
        cursor.advance().map_err(|error| MergeError { segment, error })?;
        let mut winner = Runner { prefix: cursor.prefix(), segment: segment as u32 };
        let mut node = (segment + self.cursors.len()) / 2;
        while node > 0 {
            let other = self.tree[node];
            let (next, loser) = if self.precedes(other, winner) { (other, winner) } else { (winner, other) };
            self.tree[node] = loser;
            winner = next;
            node /= 2;
        }
        self.tree[0] = winner;
        Ok(())
    }
}

/// The most segments merged at once: each holds a file open. Raising it saves passes over very many
/// segments, lowering it leaves more descriptors to others.
pub(super) const MAX_FAN_IN: usize = 256;

/// How many of the segments that lie first may be merged at once when each needs
/// `largest + overhead` bytes of `budget`; at least two, or nothing would ever shrink.
pub(super) fn fan_in(largest: impl Iterator<Item = u64>, overhead: u64, budget: u64) -> usize {
    let mut left = budget;
    largest
        .take_while(|bytes| {
            let need = bytes + overhead;
            let fits = need <= left;
            left = left.saturating_sub(need);
            fits
        })
        .take(MAX_FAN_IN)
        .count()
        .max(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Compression;
    use crate::engine::shuffle::{RecordOrder, RecordRef, SegmentBlocks, SegmentWriter};
    use std::sync::Arc;

    fn cursor(records: &[(&str, &str)]) -> SegmentCursor {
        let file = Arc::new(tempfile::tempfile().expect("scratch"));
        let mut writer = SegmentWriter::new(Arc::clone(&file), 0, 1, Compression::Lz4, RecordOrder::ByKey);
        writer.begin_segment().expect("writes");
        for (key, value) in records {
            writer.push(RecordRef { key: key.as_bytes(), value: value.as_bytes() }).expect("writes");
        }
        let (index, _) = writer.finish().expect("writes");
        let blocks = SegmentBlocks::new(file, "test".into(), index[0].offset, index[0].bytes);
        SegmentCursor::open(blocks).expect("reads")
    }

    fn check(segments: &[&[(&str, &str)]], expect: &str) {
        let mut merge = Merge::new(segments.iter().map(|records| cursor(records)).collect());
        let mut seen = String::new();
        while let Some(head) = merge.head() {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
            seen.push_str(&format!("{}={} ", text(head.key()), text(head.value())));
            merge.advance().expect("reads");
        }
        assert_eq!(seen.trim_end(), expect);
    }

    #[test]
    fn equal_keys_come_in_segment_order() {
        check(&[], "");
        check(&[&[]], "");
        check(&[&[("a", "1"), ("b", "2")]], "a=1 b=2");
        check(&[&[("b", "1"), ("b", "2")], &[], &[("a", "3"), ("b", "4")]], "a=3 b=1 b=2 b=4");
        check(&[&[("k", "1")], &[("k", "2")], &[("k", "3")], &[("k", "4")], &[("j", "5")]], "j=5 k=1 k=2 k=3 k=4");
        let long = [("long key 1", "1"), ("long key 2", "2")];
        check(&[&long, &[("long key 1", "3")], &[("", "4")]], "=4 long key 1=1 long key 1=3 long key 2=2");
    }

    #[test]
    fn fan_in_follows_the_budget() {
        let sizes = |n: usize| std::iter::repeat_n(100_u64, n);
        assert_eq!(fan_in(sizes(10), 10, 550), 5);
        assert_eq!(fan_in(sizes(3), 10, 550), 3);
        assert_eq!(fan_in(sizes(10), 10, 50), 2);
        assert_eq!(fan_in(sizes(1000), 0, u64::MAX), MAX_FAN_IN);
    }
}
