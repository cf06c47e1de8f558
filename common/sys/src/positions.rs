//! Record positions: one place for each slot, in memory that may be shared with the process that
//! watches, so that a crash, a hang or a kill still tells which record was in hand.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};

/// The most places of one board: far more than any machine has slots, and a bound on what a number
/// from outside can make this process map.
pub const MAX_SLOTS: usize = 4096;

/// The record that one slot has in hand.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct RecordPosition {
    /// 0 when idle, else the index of the piece in the task's split, plus one.
    piece: AtomicU64,
    /// Byte offset of the record in the piece's object.
    offset: AtomicU64,
    /// 0, or the fatal signal that the slot's thread received.
    fault: AtomicU32,
}

impl RecordPosition {
    /// An idle position in this process's own memory.
    pub const fn new() -> Self {
        Self { piece: AtomicU64::new(0), offset: AtomicU64::new(0), fault: AtomicU32::new(0) }
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

    /// Notes that the slot's thread received a fatal signal. Async-signal-safe.
    pub(crate) fn mark_fault(&self, signal: u32) {
        self.fault.store(signal, Ordering::Release);
    }

    /// The fatal signal that the slot's thread received, if any.
    pub fn fault(&self) -> Option<u32> {
        Some(self.fault.load(Ordering::Acquire)).filter(|signal| *signal != 0)
    }
}

/// A file of record positions that two processes have mapped: one writes, the other looks.
///
/// Both ends must agree on the number of slots and keep the file's size: a page that is cut off
/// under a mapping raises SIGBUS.
#[derive(Debug)]
pub struct PositionBoard {
    map: MmapRaw,
    slots: usize,
}

impl PositionBoard {
    /// Creates the file, readable by its owner alone, with every place idle.
    ///
    /// # Errors
    ///
    /// If the file exists or cannot be made, or there are no slots or more than [`MAX_SLOTS`].
    pub fn create(path: &Path, slots: usize) -> io::Result<Self> {
        let bytes = board_bytes(slots)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        // Blocks are allocated now, so that a full disk is an error here and not a SIGBUS later.
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes as u64)
            .or_else(|_| rustix::fs::ftruncate(&file, bytes as u64))?;
        Self::map(&file, slots)
    }

    /// Maps a file that another process created for the same number of slots.
    ///
    /// # Errors
    ///
    /// If it cannot be opened or has another size.
    pub fn open(path: &Path, slots: usize) -> io::Result<Self> {
        let bytes = board_bytes(slots)?;
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() != bytes as u64 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a board of positions with another number of slots",
            ));
        }
        Self::map(&file, slots)
    }

    fn map(file: &File, slots: usize) -> io::Result<Self> {
        let map = MmapOptions::new().len(board_bytes(slots)?).map_raw(file)?;
        Ok(Self { map, slots })
    }

    /// The number of places.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// The place of slot `index`.
    ///
    /// # Panics
    ///
    /// If there is no such slot.
    pub fn slot(&self, index: usize) -> &RecordPosition {
        assert!(index < self.slots, "slot {index} of a board of {}", self.slots);
        let places = self.map.as_mut_ptr().cast::<RecordPosition>();
        // SAFETY: the mapping is shared, readable and writable, lives as long as `self` and holds
        // `slots` places, of which `index` is one; it begins at a page, so places are aligned. A
        // place consists of atomics, for which every bit pattern is a value and whose concurrent
        // change by the other process is no data race.
        unsafe { &*places.add(index) }
    }
}

fn board_bytes(slots: usize) -> io::Result<usize> {
    if (1..=MAX_SLOTS).contains(&slots) {
        Ok(slots * size_of::<RecordPosition>())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{slots} slots (1 to {MAX_SLOTS})")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_mappings_see_the_same_places() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("positions");
        let (created, opened) =
            (PositionBoard::create(&path, 3).expect("new"), PositionBoard::open(&path, 3).expect("made"));
        assert_eq!([0, 1, 2].map(|slot| created.slot(slot).get()), [None; 3]);
        opened.slot(1).enter_piece(4, 1204);
        opened.slot(1).offset().store(1300, Ordering::Relaxed);
        opened.slot(2).mark_fault(6);
        assert_eq!([0, 1, 2].map(|slot| created.slot(slot).get()), [None, Some((4, 1300)), None]);
        assert_eq!([0, 1, 2].map(|slot| created.slot(slot).fault()), [None, None, Some(6)]);
        opened.slot(1).leave();
        assert_eq!(created.slot(1).get(), None);
    }

    #[test]
    fn boards_of_another_size_are_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("positions");
        assert!(PositionBoard::create(&path, 0).is_err());
        assert!(PositionBoard::create(&path, MAX_SLOTS + 1).is_err());
        PositionBoard::create(&path, 2).expect("new");
        assert!(PositionBoard::create(&path, 2).is_err());
        assert!(PositionBoard::open(&path, 3).is_err());
        assert!(PositionBoard::open(&dir.path().join("other"), 2).is_err());
    }

    #[test]
    #[should_panic(expected = "slot 2 of a board of 2")]
    fn places_beyond_the_board_are_a_bug() {
        let dir = tempfile::tempdir().expect("a folder");
        PositionBoard::create(&dir.path().join("positions"), 2).expect("new").slot(2);
    }
}
