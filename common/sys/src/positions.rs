//! Record positions: one place for each slot, in memory that may be shared with the process that
//! watches, so that a crash, a hang or a kill still tells which record was in hand, and for how long.

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
    /// Changes as a task gets on that has no records of input in hand.
    steps: AtomicU64,
    /// 0, or the bytes that the slot's thread was refused before it aborted.
    refused_bytes: AtomicU64,
    /// 0, or the fatal signal that the slot's thread received.
    fault: AtomicU32,
    /// 1 while user code has the slot's thread, 0 while the engine has it.
    in_user_code: AtomicU32,
}

/// Why a slot's thread ended its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It received this fatal signal.
    Signal(u32),
    /// It aborted because so many bytes could not be allocated.
    OutOfMemory {
        /// What was asked for.
        bytes: u64,
    },
}

/// What a slot is at: equal moments mean that nothing has moved in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Piece, offset and step, none of which means anything to the watcher.
    pub record: [u64; 3],
    /// Whether user code has the thread.
    pub in_user_code: bool,
}

/// Whose turn it is on a slot's thread, until dropped; then it is again whose it was before.
#[derive(Debug)]
pub struct Turn<'a> {
    position: &'a RecordPosition,
    before: u32,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.position.in_user_code.store(self.before, Ordering::Relaxed);
    }
}

impl RecordPosition {
    /// An idle position in this process's own memory.
    pub const fn new() -> Self {
        Self {
            piece: AtomicU64::new(0),
            offset: AtomicU64::new(0),
            steps: AtomicU64::new(0),
            refused_bytes: AtomicU64::new(0),
            fault: AtomicU32::new(0),
            in_user_code: AtomicU32::new(0),
        }
    }

    /// Says that user code runs, whose time counts.
    #[inline]
    pub fn user_turn(&self) -> Turn<'_> {
        self.turn(1)
    }

    /// Says that the engine works, though a record may be in hand: it spills, sorts or merges.
    #[inline]
    pub fn engine_turn(&self) -> Turn<'_> {
        self.turn(0)
    }

    #[inline]
    fn turn(&self, user: u32) -> Turn<'_> {
        // The slot's thread alone writes; the watcher may see either value for a moment.
        let before = self.in_user_code.load(Ordering::Relaxed);
        self.in_user_code.store(user, Ordering::Relaxed);
        Turn { position: self, before }
    }

    /// Says that the task got on, where no offset tells it.
    #[inline]
    pub fn step(&self) {
        self.steps.store(self.steps.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// What the slot is at.
    pub fn moment(&self) -> Moment {
        let record = [&self.piece, &self.offset, &self.steps].map(|cell| cell.load(Ordering::Relaxed));
        Moment { record, in_user_code: self.in_user_code.load(Ordering::Relaxed) != 0 }
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

    /// Notes that the slot's thread received a fatal signal, after it was refused so many bytes if
    /// that is why. Async-signal-safe.
    pub(crate) fn mark_fault(&self, signal: u32, refused_bytes: u64) {
        self.refused_bytes.store(refused_bytes, Ordering::Relaxed);
        self.fault.store(signal, Ordering::Release);
    }

    /// Why the slot's thread ended its process, if it did.
    pub fn fault(&self) -> Option<Fault> {
        let signal = Some(self.fault.load(Ordering::Acquire)).filter(|signal| *signal != 0)?;
        Some(match self.refused_bytes.load(Ordering::Relaxed) {
            0 => Fault::Signal(signal),
            bytes => Fault::OutOfMemory { bytes },
        })
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
        opened.slot(0).mark_fault(6, 99);
        opened.slot(2).mark_fault(6, 0);
        assert_eq!([0, 1, 2].map(|slot| created.slot(slot).get()), [None, Some((4, 1300)), None]);
        let faults = [Some(Fault::OutOfMemory { bytes: 99 }), None, Some(Fault::Signal(6))];
        assert_eq!([0, 1, 2].map(|slot| created.slot(slot).fault()), faults);
        opened.slot(1).leave();
        assert_eq!(created.slot(1).get(), None);
    }

    #[test]
    fn turns_are_given_back_and_steps_show() {
        let position = RecordPosition::new();
        let in_user_code = || position.moment().in_user_code;
        let idle = position.moment();
        {
            let _user = position.user_turn();
            assert!(in_user_code());
            {
                let _engine = position.engine_turn();
                assert!(!in_user_code());
            }
            assert!(in_user_code());
            assert_eq!(position.moment().record, idle.record);
            position.step();
            assert_ne!(position.moment().record, idle.record);
        }
        assert!(!in_user_code());
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
