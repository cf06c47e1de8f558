//! Reading a split: pinned objects, positional reads into one reused buffer, blocks of whole records.
//! Where records begin and end is `common::text`'s rule; this file finds the bytes.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use gristmill_common::failure::{Failure, InputPosition};
use gristmill_common::size::ByteSize;
use gristmill_common::task::Piece;
use gristmill_common::text::LineRule;
use rustix::fs::Advice;

use super::failures;

/// Bytes read at once. Larger reads spill out of the processor's cache before they are mapped,
/// smaller ones cost calls.
const READ_BYTES: usize = 512 << 10;

/// Bytes read past a split's end in search of its last record's end.
const TAIL_BYTES: u64 = 4 << 10;

/// How far ahead of reading the system is asked to load.
const READ_AHEAD_BYTES: u64 = 8 << 20;

/// A buffer for the blocks of one attempt, kept over its pieces.
#[derive(Debug, Default)]
pub(super) struct ReadBuffer {
    bytes: Vec<u8>,
}

/// Reads the records that start inside one piece.
#[derive(Debug)]
pub(super) struct PieceReader<'a> {
    piece: &'a Piece,
    rule: &'a LineRule,
    file: File,
    buffer: &'a mut Vec<u8>,
    /// `buffer[..filled]` holds the object's bytes from `base` on; the first `given` are used up.
    base: u64,
    filled: usize,
    given: usize,
    advised: u64,
    max_record: ByteSize,
    done: bool,
}

/// Whole records, and where the first one lies in its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawBlock<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) offset: u64,
}

impl<'a> PieceReader<'a> {
    /// Opens the piece's object, checks that it is the one planned, and finds the first record.
    pub(super) fn open(
        piece: &'a Piece,
        rule: &'a LineRule,
        max_record: ByteSize,
        buffer: &'a mut ReadBuffer,
    ) -> Result<Self, Failure> {
        let file = open_pinned(piece)?;
        let mut reader = Self {
            piece,
            rule,
            file,
            buffer: &mut buffer.bytes,
            base: piece.start,
            filled: 0,
            given: 0,
            advised: piece.start,
            max_record,
            done: piece.start >= piece.end,
        };
        if !reader.done {
            reader.find_start()?;
        }
        Ok(reader)
    }

    /// Moves to the first record that starts at or after the piece's start; `done` if none does
    /// before its end.
    fn find_start(&mut self) -> Result<(), Failure> {
        let Piece { start, end, .. } = *self.piece;
        if start == 0 {
            self.fill(end)?;
            self.given = self.rule.preamble(&self.buffer[..self.filled]);
            return Ok(());
        }
        let behind = self.rule.look_behind() as u64;
        self.base = start.saturating_sub(behind);
        loop {
            self.fill(end)?;
            let from = start.saturating_sub(self.base).max(self.look_behind_in_window()) as usize;
            let limit = self.filled.min((end - self.base) as usize);
            if let Some(first) = self.rule.first_start(&self.buffer[..limit], from) {
                self.given = first;
                return Ok(());
            }
            let read_to = self.base + self.filled as u64;
            if read_to >= end || read_to >= self.piece.object.size {
                self.done = true;
                return Ok(());
            }
            // Keep what decides whether the next position is a start.
            let keep = (behind as usize + 1).min(self.filled);
            self.given = self.filled - keep;
            self.compact();
        }
    }

    /// The first position in the window that the rule may be asked for.
    fn look_behind_in_window(&self) -> u64 {
        if self.base == 0 { 1 } else { self.rule.look_behind() as u64 }
    }

    /// The next block; `None` at the end of the piece.
    pub(super) fn next_block(&mut self) -> Result<Option<RawBlock<'_>>, Failure> {
        let Piece { end, .. } = *self.piece;
        let size = self.piece.object.size;
        while !self.done {
            let read_to = self.base + self.filled as u64;
            let rest = &self.buffer[self.given..self.filled];
            let rest_at = self.base + self.given as u64;
            let mut whole = None;
            if read_to > end {
                // The first record start at or after the end belongs to the next piece.
                let from = (end - self.base) as usize;
                let window = &self.buffer[..self.filled];
                let from = from.max(self.given + 1).max(self.look_behind_in_window() as usize);
                whole = self.rule.first_start(window, from).map(|stop| stop - self.given);
            }
            if whole.is_none() && read_to >= size {
                whole = Some(rest.len());
            }
            if let Some(whole) = whole {
                self.done = true;
                self.check_unchanged()?;
                let bytes = &self.buffer[self.given..self.given + whole];
                return Ok((!bytes.is_empty()).then_some(RawBlock { bytes, offset: rest_at }));
            }
            let whole = self.rule.whole_records(rest);
            if whole > 0 {
                let from = self.given;
                self.given += whole;
                self.done = rest_at + whole as u64 >= end;
                if self.done {
                    self.check_unchanged()?;
                }
                return Ok(Some(RawBlock { bytes: &self.buffer[from..from + whole], offset: rest_at }));
            }
            if rest.len() as u64 > self.max_record.bytes() {
                let position = InputPosition { object: self.piece.object.uri.to_string(), offset: rest_at };
                return Err(failures::record_too_large("a record", rest.len(), self.max_record).at(position));
            }
            self.compact();
            self.fill(end)?;
        }
        Ok(None)
    }

    /// Drops the bytes used up.
    fn compact(&mut self) {
        self.buffer.copy_within(self.given..self.filled, 0);
        self.base += self.given as u64;
        self.filled -= self.given;
        self.given = 0;
    }

    /// Reads on, at least one byte unless the object is at its end.
    fn fill(&mut self, end: u64) -> Result<(), Failure> {
        let at = self.base + self.filled as u64;
        let size = self.piece.object.size;
        let until = if at < end { end.saturating_add(TAIL_BYTES) } else { at + READ_BYTES as u64 };
        let want = until.min(size).saturating_sub(at).min(READ_BYTES as u64) as usize;
        if want == 0 {
            return Ok(());
        }
        self.advise(at);
        if self.buffer.len() < self.filled + want {
            self.buffer.resize((self.filled + want).next_power_of_two().max(want), 0);
        }
        let into = &mut self.buffer[self.filled..self.filled + want];
        let mut got = 0;
        while got < want {
            match self.file.read_at(&mut into[got..], at + got as u64) {
                Ok(0) => {
                    let how = format!("it ends at byte {}, not {size}", at + got as u64);
                    return Err(failures::input_changed(&self.piece.object.uri, at + got as u64, &how));
                }
                Ok(n) => got += n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failures::input_unreadable(&self.piece.object.uri, at, &error)),
            }
        }
        self.filled += want;
        Ok(())
    }

    /// Asks the system to load what is read next, so that reading and mapping overlap.
    fn advise(&mut self, at: u64) {
        if at + READ_AHEAD_BYTES / 2 < self.advised || self.advised >= self.piece.end {
            return;
        }
        let from = self.advised.max(at);
        let until = (at + READ_AHEAD_BYTES).min(self.piece.end);
        if let Some(len) = std::num::NonZeroU64::new(until.saturating_sub(from)) {
            // Advice may be refused (a pipe, an odd file system); reading works without.
            let _ = rustix::fs::fadvise(&self.file, from, Some(len), Advice::WillNeed);
        }
        self.advised = until;
    }

    /// Whether the object still is what was planned, now that it was read.
    fn check_unchanged(&self) -> Result<(), Failure> {
        check_pin(&self.file, self.piece)
    }
}

fn open_pinned(piece: &Piece) -> Result<File, Failure> {
    let uri = &piece.object.uri;
    let path = uri.local_path().ok_or_else(|| {
        let error = std::io::Error::new(std::io::ErrorKind::Unsupported, "this engine reads local files");
        failures::input_unreadable(uri, piece.start, &error)
    })?;
    let file = File::open(&path).map_err(|error| failures::input_unreadable(uri, piece.start, &error))?;
    check_pin(&file, piece)?;
    Ok(file)
}

fn check_pin(file: &File, piece: &Piece) -> Result<(), Failure> {
    let object = &piece.object;
    let metadata = file.metadata().map_err(|error| failures::input_unreadable(&object.uri, piece.start, &error))?;
    if metadata.len() != object.size {
        let how = format!("it has {} bytes, not {}", metadata.len(), object.size);
        return Err(failures::input_changed(&object.uri, piece.start, &how));
    }
    let modified = metadata.modified().ok().map(micros_since_1970);
    if object.modified_micros.is_some() && modified != object.modified_micros {
        return Err(failures::input_changed(&object.uri, piece.start, "it was modified"));
    }
    Ok(())
}

/// Microseconds since 1970, negative before; rounded towards the past as planners do.
fn micros_since_1970(time: std::time::SystemTime) -> i64 {
    match time.duration_since(std::time::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    }
}
