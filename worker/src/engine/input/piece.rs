//! The records that start inside one piece of an object: positional reads into one reused buffer,
//! handed on as blocks of whole records. Where records of text begin and end is `common::text`'s
//! rule; this file finds the bytes.

use gristmill_common::failure::{Failure, InputPosition};
use gristmill_common::input::{self, Framing};
use gristmill_common::objects::{OpenObject, failure_of};
use gristmill_common::size::ByteSize;
use gristmill_common::task::Piece;
use gristmill_common::text::LineRule;

use crate::engine::failures;

/// Bytes read at once. Larger reads spill out of the processor's cache before they are mapped,
/// smaller ones cost calls.
const READ_BYTES: usize = 512 << 10;

/// Bytes read past a split's end in search of its last record's end.
const TAIL_BYTES: u64 = 4 << 10;

/// How far ahead of reading the system is asked to load. Further ahead hides a slower disk, nearer
/// takes less of the page cache.
const READ_AHEAD_BYTES: u64 = 8 << 20;

/// A buffer for the blocks of one attempt, kept over its pieces.
#[derive(Debug)]
pub(in crate::engine) struct ReadBuffer {
    bytes: Vec<u8>,
    read_bytes: usize,
}

impl Default for ReadBuffer {
    fn default() -> Self {
        Self::reading(READ_BYTES)
    }
}

impl ReadBuffer {
    /// A buffer into which `read_bytes` are read at once.
    pub(in crate::engine) fn reading(read_bytes: usize) -> Self {
        Self { bytes: Vec::new(), read_bytes }
    }
}

/// Reads the records that start inside one piece.
#[derive(Debug)]
pub(in crate::engine) struct PieceReader<'a, S: ?Sized> {
    piece: &'a Piece,
    framing: Framing<'a>,
    source: &'a S,
    buffer: &'a mut Vec<u8>,
    read_bytes: usize,
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
pub(in crate::engine) struct RawBlock<'a> {
    pub(in crate::engine) bytes: &'a [u8],
    pub(in crate::engine) offset: u64,
    /// Memory that the read buffer takes.
    pub(in crate::engine) buffer_bytes: usize,
}

impl<'a, S: OpenObject + ?Sized> PieceReader<'a, S> {
    /// Finds the first record of the piece in `source`, the piece's object.
    ///
    /// # Errors
    ///
    /// As [`next_block`](Self::next_block).
    pub(in crate::engine) fn start(
        source: &'a S,
        piece: &'a Piece,
        framing: Framing<'a>,
        max_record: ByteSize,
        buffer: &'a mut ReadBuffer,
    ) -> Result<Self, Failure> {
        let mut reader = Self {
            piece,
            framing,
            source,
            buffer: &mut buffer.bytes,
            read_bytes: buffer.read_bytes,
            base: piece.start,
            filled: 0,
            given: 0,
            advised: piece.start,
            max_record,
            done: piece.start >= piece.end,
        };
        if !reader.done {
            match framing {
                Framing::Text(rule) => reader.find_start(rule)?,
                Framing::Length(length) => reader.base = piece.start.next_multiple_of(length as u64),
            }
        }
        Ok(reader)
    }

    /// Moves to the first record that starts at or after the piece's start; `done` if none does
    /// before its end.
    fn find_start(&mut self, rule: &LineRule) -> Result<(), Failure> {
        let Piece { start, end, .. } = *self.piece;
        if start == 0 {
            self.fill(end)?;
            self.given = rule.preamble(&self.buffer[..self.filled]);
            return Ok(());
        }
        let behind = rule.look_behind() as u64;
        self.base = start.saturating_sub(behind);
        loop {
            self.fill(end)?;
            let from = start.saturating_sub(self.base).max(self.look_behind_in_window(rule)) as usize;
            let limit = self.filled.min((end - self.base) as usize);
            if let Some(first) = rule.first_start(&self.buffer[..limit], from) {
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
    fn look_behind_in_window(&self, rule: &LineRule) -> u64 {
        if self.base == 0 { 1 } else { rule.look_behind() as u64 }
    }

    /// The next block; `None` at the end of the piece.
    ///
    /// # Errors
    ///
    /// `INPUT_CHANGED` if the object ends before its planned size, `INPUT_UNREADABLE` if it cannot be
    /// read, `RECORD_TOO_LARGE` at a record beyond the limit, `BAD_RECORD` at a record of fixed length
    /// that the object's end cuts short; each with its offset.
    pub(in crate::engine) fn next_block(&mut self) -> Result<Option<RawBlock<'_>>, Failure> {
        match self.framing {
            Framing::Text(rule) => self.next_lines(rule),
            Framing::Length(length) => self.next_fixed(length),
        }
    }

    /// The next records of `length` bytes. A record belongs to the piece that holds its first byte.
    fn next_fixed(&mut self, length: usize) -> Result<Option<RawBlock<'_>>, Failure> {
        let size = self.piece.object.size;
        let whole_end = size - size % length as u64;
        let end = self.piece.end.next_multiple_of(length as u64).min(whole_end);
        while !self.done {
            let at = self.base + self.given as u64;
            if at >= end {
                self.done = true;
                if whole_end < size && (self.piece.start..self.piece.end).contains(&whole_end) {
                    let reason = input::cut_short((size - whole_end) as usize, length);
                    return Err(failures::cut_short(&self.piece.object.uri, whole_end, &reason));
                }
                return Ok(None);
            }
            let have = (self.filled - self.given).min((end - at) as usize);
            let whole = have - have % length;
            if whole > 0 {
                let from = self.given;
                self.given += whole;
                let buffer_bytes = self.buffer_bytes();
                return Ok(Some(RawBlock { bytes: &self.buffer[from..from + whole], offset: at, buffer_bytes }));
            }
            if length as u64 > self.max_record.bytes() {
                return Err(self.too_large("a record", length, at));
            }
            self.compact();
            self.fill(end)?;
        }
        Ok(None)
    }

    /// The next records that `rule` ends.
    fn next_lines(&mut self, rule: &LineRule) -> Result<Option<RawBlock<'_>>, Failure> {
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
                let from = from.max(self.given + 1).max(self.look_behind_in_window(rule) as usize);
                whole = rule.first_start(window, from).map(|stop| stop - self.given);
            }
            if whole.is_none() && read_to >= size {
                whole = Some(rest.len());
            }
            if let Some(whole) = whole {
                self.check_records(whole)?;
                self.done = true;
                let bytes = &self.buffer[self.given..self.given + whole];
                return Ok((!bytes.is_empty()).then_some(RawBlock {
                    bytes,
                    offset: rest_at,
                    buffer_bytes: self.buffer_bytes(),
                }));
            }
            let whole = rule.whole_records(rest);
            if whole > 0 {
                self.check_records(whole)?;
                let from = self.given;
                self.given += whole;
                self.done = rest_at + whole as u64 >= end;
                let buffer_bytes = self.buffer_bytes();
                let bytes = &self.buffer[from..from + whole];
                return Ok(Some(RawBlock { bytes, offset: rest_at, buffer_bytes }));
            }
            // A part of what ends the record may be there already.
            if rest.len() > self.max_record.as_usize() + rule.look_behind() {
                return Err(self.too_large("a record, as far as it was read,", rest.len(), rest_at));
            }
            self.compact();
            self.fill(end)?;
        }
        Ok(None)
    }

    /// Checks the next `whole` bytes of records, of which one can be too large only if they are many.
    fn check_records(&self, whole: usize) -> Result<(), Failure> {
        let most = self.max_record.as_usize();
        let block = &self.buffer[self.given..self.given + whole];
        let mut start = 0;
        while whole > most && start < whole {
            let span = self.framing.record_at(block, start);
            if span.end - start > most {
                let offset = self.base + (self.given + start) as u64;
                return Err(self.too_large("a record", span.end - start, offset));
            }
            start = span.next;
        }
        Ok(())
    }

    #[cold]
    fn too_large(&self, what: &str, bytes: usize, offset: u64) -> Failure {
        let position = InputPosition { object: self.piece.object.uri.to_string(), offset };
        failures::record_too_large(what, bytes, self.max_record).at(position)
    }

    /// Memory that reading takes: the window, and what is on its way for it.
    fn buffer_bytes(&self) -> usize {
        self.buffer.capacity() + usize::try_from(self.source.ahead_bytes()).unwrap_or(usize::MAX)
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
        let most = self.read_bytes as u64;
        let until = if at < end { end.saturating_add(TAIL_BYTES) } else { at + most };
        let want = until.min(size).saturating_sub(at).min(most) as usize;
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
            match self.source.read_at(&mut into[got..], at + got as u64) {
                Ok(0) => {
                    let how = format!("it ends at byte {}, not {size}", at + got as u64);
                    return Err(failures::input_changed(&self.piece.object.uri, at + got as u64, &how));
                }
                Ok(n) => got += n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let position = InputPosition { object: self.piece.object.uri.to_string(), offset: at };
                    return Err(failure_of(&self.piece.object, error).at(position));
                }
            }
        }
        self.filled += want;
        Ok(())
    }

    /// Asks the system to load what is read next, so that reading and mapping overlap.
    fn advise(&mut self, at: u64) {
        let ahead = READ_AHEAD_BYTES.max(self.source.ahead_bytes());
        // What is read past the end belongs to the last record.
        let end = self.piece.end.saturating_add(TAIL_BYTES).min(self.piece.object.size);
        if at + ahead / 2 < self.advised || self.advised >= end {
            return;
        }
        let from = self.advised.max(at);
        let until = (at + ahead).min(end);
        self.source.will_read(from, until.saturating_sub(from));
        self.advised = until;
    }
}
