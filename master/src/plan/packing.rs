//! Collects pieces into splits: consecutive small objects share one, so that a million files are
//! not a million tasks. Keeps the order of the pieces.

use gristmill_common::size::ByteSize;
use gristmill_common::task::{Piece, Split};

/// The most objects packed into one split. Raising it makes assignments of many tiny objects large
/// messages; lowering it makes more tasks of them.
pub(super) const MAX_PIECES: usize = 10_000;

/// Splits under construction.
#[derive(Debug)]
pub(super) struct Packer {
    split_size: ByteSize,
    done: Vec<Split>,
    open: Split,
    open_bytes: u64,
    role: u32,
}

impl Packer {
    pub(super) fn new(split_size: ByteSize) -> Self {
        Self { split_size, done: Vec::new(), open: Split::default(), open_bytes: 0, role: 0 }
    }

    /// Says which input of the job the pieces to come belong to; splits of different inputs differ.
    pub(super) fn begin_role(&mut self, role: u32) {
        self.close();
        self.role = role;
    }

    /// Adds a whole object, to the split before it if both fit.
    pub(super) fn pack(&mut self, whole: Piece) {
        let bytes = whole.end - whole.start;
        if self.open.pieces.len() >= MAX_PIECES || self.open_bytes.saturating_add(bytes) > self.split_size.bytes() {
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
