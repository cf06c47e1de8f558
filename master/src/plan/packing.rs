//! Collects pieces into splits: consecutive small objects share one, so that a million files are
//! not a million tasks. Keeps the order of the pieces.

use gristmill_common::size::ByteSize;
use gristmill_common::task::{Piece, Split};

/// The most objects packed into one split. Raising it makes assignments of many tiny objects large
/// messages; lowering it makes more tasks of them.
pub(super) const MAX_PIECES: usize = 10_000;

/// What opening an object counts, as a part of a split: 16 KiB of one of the default size, which take about as long to
/// map as a file to open. Counted higher, small objects are spread over more tasks; not counted, ten thousand of
/// them may be the work of one core.
const OPENINGS_IN_SPLIT: u64 = 4096;

/// Up to this many splits their number is rounded up to a power of two. Machines have such numbers of
/// cores: with three splits for two of them, one would be idle half of the time.
const ROUNDED_SPLITS: u64 = 16;

/// What opening an object counts.
fn opening_bytes(split_size: ByteSize) -> u64 {
    split_size.bytes() / OPENINGS_IN_SPLIT
}

/// Splits under construction.
#[derive(Debug)]
pub(super) struct Packer {
    split_size: ByteSize,
    /// The size at which splits of packed objects come out even.
    even: u64,
    done: Vec<Split>,
    open: Split,
    open_bytes: u64,
    role: u32,
}

impl Packer {
    /// Packs so many objects that have `packed_bytes` in all.
    pub(super) fn new(split_size: ByteSize, objects: u64, packed_bytes: u64) -> Self {
        let openings = objects.saturating_mul(opening_bytes(split_size));
        let packed_bytes = packed_bytes.saturating_add(openings);
        let count = packed_bytes.div_ceil(split_size.bytes()).max(1);
        let count = if count <= ROUNDED_SPLITS { count.next_power_of_two() } else { count };
        let even = packed_bytes.div_ceil(count);
        Self { split_size, even, done: Vec::new(), open: Split::default(), open_bytes: 0, role: 0 }
    }

    /// Says which input of the job the pieces to come belong to; splits of different inputs differ.
    pub(super) fn begin_role(&mut self, role: u32) {
        self.close();
        self.role = role;
    }

    /// Adds a whole object of at most the size of a split, to the split before it if both fit and that brings it nearer to the even
    /// size than it is.
    pub(super) fn pack(&mut self, whole: Piece) {
        let bytes = whole.end - whole.start + opening_bytes(self.split_size);
        let together = self.open_bytes.saturating_add(bytes);
        let uneven = together.saturating_sub(self.even) > self.even.saturating_sub(self.open_bytes);
        if self.open.pieces.len() >= MAX_PIECES || together > self.split_size.bytes() || uneven {
            self.close();
        }
        self.open_bytes += bytes;
        self.open.role = self.role;
        self.open.pieces.push(whole);
    }

    /// Adds a piece that is a split of its own.
    pub(super) fn alone(&mut self, piece: Piece) {
        self.close();
        self.done.push(Split { pieces: vec![piece], role: self.role });
    }

    /// How many splits there are, the open one included.
    pub(super) fn len(&self) -> usize {
        self.done.len() + usize::from(!self.open.pieces.is_empty())
    }

    /// All splits, in the order of their pieces.
    pub(super) fn finish(mut self) -> Vec<Split> {
        self.close();
        self.done
    }

    fn close(&mut self) {
        if !self.open.pieces.is_empty() {
            self.done.push(std::mem::take(&mut self.open));
            self.open_bytes = 0;
        }
    }
}
