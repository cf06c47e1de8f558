//! What the records of a piece are cut from: the bytes of an object's content in order, and what is known
//! of where the piece ends. Knows no records.

use gristmill_common::failure::Failure;

/// The bytes of an object's content, from a place at or before a piece's first record on. Positions count
/// bytes of the content; where they begin to count is the source's own business.
pub(super) trait Source {
    /// The position of the first byte that [`read`](Self::read) gives.
    fn begin(&self) -> u64;

    /// Records that begin before this position belong to an earlier piece. 0 tells that the content
    /// begins in this piece.
    fn own_from(&self) -> u64;

    /// Records that begin at or behind this position belong to a later piece. `None` as long as that is
    /// not known; then it lies behind all that was read.
    fn end(&self) -> Option<u64>;

    /// Reads on into the beginning of `into`, at least one byte unless the content is at its end.
    ///
    /// # Errors
    ///
    /// `INPUT_CHANGED` if the object ends before its planned size, `INPUT_UNREADABLE` if it cannot be
    /// read, `INPUT_DAMAGED` if it is not in its form; each with an offset. All bytes before were given.
    fn read(&mut self, into: &mut [u8]) -> Result<usize, Failure>;

    /// Whether the content ends with what was read.
    fn is_at_end(&self) -> bool;

    /// Whether the content's bytes are the object's.
    fn is_plain(&self) -> bool {
        false
    }

    /// What names the record that begins at a position. It is asked for growing ones.
    fn offset_at(&mut self, position: u64) -> u64 {
        position
    }

    /// The first position behind this one from which on offsets count from another place; records on
    /// both sides of it are not in one block.
    fn next_mark(&self, position: u64) -> Option<u64> {
        let _ = position;
        None
    }

    /// Where reading has come to in the object as it is stored.
    fn stored_offset(&self) -> u64;

    /// Bytes of memory that it takes.
    fn memory(&self) -> usize {
        0
    }
}
