//! Record positions: one place for each slot, in memory that may be shared with the process that
//! watches, so that a crash, a hang or a kill still tells which record was in hand.

use std::sync::atomic::{AtomicU64, Ordering};

/// The record that one slot has in hand.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct RecordPosition {
    /// 0 when idle, else the index of the piece in the task's split, plus one.
    piece: AtomicU64,
    /// Byte offset of the record in the piece's object.
    offset: AtomicU64,
}

impl RecordPosition {
    /// An idle position in this process's own memory.
    pub const fn new() -> Self {
        Self { piece: AtomicU64::new(0), offset: AtomicU64::new(0) }
    }

    /// Enters a piece; [`offset`](Self::offset) then follows its records.
    pub fn enter_piece(&self, index: u64, offset: u64) {
        self.offset.store(offset, Ordering::Relaxed);
        self.piece.store(index + 1, Ordering::Release);
    }

    /// No record is in hand.
    pub fn leave(&self) {
        self.piece.store(0, Ordering::Release);
    }

    /// The cell that follows the record in hand.
    pub fn offset(&self) -> &AtomicU64 {
        &self.offset
    }

    /// The piece and the offset in hand, if any.
    pub fn get(&self) -> Option<(u64, u64)> {
        let piece = self.piece.load(Ordering::Acquire);
        piece.checked_sub(1).map(|index| (index, self.offset.load(Ordering::Relaxed)))
    }
}
