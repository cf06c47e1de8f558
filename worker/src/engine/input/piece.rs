//! The records that start inside one piece of an object: bytes of a [`Source`] in one reused buffer,
//! handed on as blocks of whole records. Where records of text begin and end is `common::text`'s
//! rule; this file finds the bytes.

use gristmill_common::failure::{Failure, InputPosition};
use gristmill_common::input::{self, Framing};
use gristmill_common::record_offset::RecordOffset;
use gristmill_common::size::ByteSize;
use gristmill_common::task::InputObject;
use gristmill_common::text::{BYTE_ORDER_MARK, LineRule};

use super::source::Source;
use crate::engine::failures;

/// Bytes read at once. Larger reads spill out of the processor's cache before they are mapped,
/// smaller ones cost calls.
const READ_BYTES: usize = 512 << 10;

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

    /// The bytes, for whoever fills them by itself.
    pub(super) fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

/// Reads the records that start inside one piece.
pub(in crate::engine) struct PieceReader<'a> {
    object: &'a InputObject,
    framing: Framing<'a>,
    source: Box<dyn Source + 'a>,
    buffer: &'a mut Vec<u8>,
    read_bytes: usize,
    /// `buffer[..filled]` holds the content from position `base` on; the first `given` are used up.
    base: u64,
    filled: usize,
    given: usize,
    max_record: ByteSize,
    done: bool,
}

/// Whole records, and where the first one lies in its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct RawBlock<'a> {
    pub(in crate::engine) bytes: &'a [u8],
    pub(in crate::engine) offset: u64,
    /// Where reading had come to in the object as it is stored.
    pub(in crate::engine) stored_to: u64,
    /// Memory that reading takes: the buffer, and what decodes into it.
    pub(in crate::engine) buffer_bytes: usize,
    /// Which row of its row group the first record is, of a file of columns.
    pub(in crate::engine) row: Option<u64>,
}

impl RawBlock<'_> {
    /// Which row the record at an offset is, of a file of columns.
    pub(in crate::engine) fn row_at(&self, framing: Framing<'_>, offset: u64) -> Option<String> {
        let RecordOffset::RowGroup { group, .. } = RecordOffset::from_bits(self.offset) else { return None };
        let (mut row, mut at) = (self.row?, 0);
        while at < self.bytes.len() && self.offset + (at as u64) < offset {
            (row, at) = (row + 1, framing.record_at(self.bytes, at).next);
        }
        Some(format!("row {row} of row group {group}"))
    }
}

impl<'a> PieceReader<'a> {
    /// Finds the first record of the piece in `source`, whose bytes are those of `object`.
    ///
    /// # Errors
    ///
    /// As [`next_block`](Self::next_block).
    pub(super) fn start(
        source: Box<dyn Source + 'a>,
        object: &'a InputObject,
        framing: Framing<'a>,
        max_record: ByteSize,
        buffer: &'a mut ReadBuffer,
    ) -> Result<Self, Failure> {
        let (base, read_bytes, buffer) = (source.begin(), buffer.read_bytes, &mut buffer.bytes);
        let (filled, given, done) = (0, 0, false);
        let mut reader = Self { object, framing, source, buffer, read_bytes, base, filled, given, max_record, done };
        match framing {
            Framing::Text(rule) => reader.find_start(rule)?,
            Framing::Length(length) => reader.find_multiple(length as u64)?,
            // What is read in order is read from the beginning.
            Framing::Whole | Framing::Warc | Framing::Rows => {}
        }
        Ok(reader)
    }

    /// Whether the bytes of its records are bytes of the object.
    pub(in crate::engine) fn is_plain(&self) -> bool {
        self.source.is_plain()
    }

    /// Moves to the first record that starts at or after the piece's start; `done` if none does
    /// before its end.
    fn find_start(&mut self, rule: &LineRule) -> Result<(), Failure> {
        let start = self.source.own_from();
        if start == 0 {
            while self.filled < BYTE_ORDER_MARK.len() && !self.source.is_at_end() {
                self.fill()?;
            }
            self.given = rule.preamble(&self.buffer[..self.filled]);
            return Ok(());
        }
        let behind = rule.look_behind();
        loop {
            self.fill()?;
            let end = self.source.end();
            let from = start.saturating_sub(self.base).max(self.look_behind_in_window(rule)) as usize;
            let limit = end.map_or(self.filled as u64, |end| (self.filled as u64).min(end - self.base)) as usize;
            if let Some(first) = rule.first_start(&self.buffer[..limit], from) {
                self.given = first;
                return Ok(());
            }
            let read_to = self.base + self.filled as u64;
            if end.is_some_and(|end| read_to >= end) || self.source.is_at_end() {
                self.done = true;
                return Ok(());
            }
            // Keep what decides whether the next position is a start.
            self.given = self.filled - (behind + 1).min(self.filled);
            self.compact();
        }
    }

    /// The first position in the window that the rule may be asked for.
    fn look_behind_in_window(&self, rule: &LineRule) -> u64 {
        if self.base == 0 { 1 } else { rule.look_behind() as u64 }
    }

    /// Moves to the first multiple of a length at or after the piece's start.
    fn find_multiple(&mut self, length: u64) -> Result<(), Failure> {
        let first = self.source.own_from().checked_next_multiple_of(length).unwrap_or(u64::MAX);
        if self.source.end().is_some_and(|end| first >= end) {
            self.done = true;
            return Ok(());
        }
        while self.base + (self.filled as u64) < first {
            if self.source.is_at_end() {
                self.done = true;
                return Ok(());
            }
            self.given = self.filled;
            self.compact();
            self.fill()?;
        }
        self.given = (first - self.base) as usize;
        Ok(())
    }

    /// The next block; `None` at the end of the piece.
    ///
    /// # Errors
    ///
    /// `INPUT_CHANGED` if the object ends before its planned size, `INPUT_UNREADABLE` if it cannot be
    /// read, `INPUT_DAMAGED` where it is not in its form, `RECORD_TOO_LARGE` at a record beyond the limit,
    /// `BAD_RECORD` at a record of fixed length that the object's end cuts short; each with its offset.
    pub(in crate::engine) fn next_block(&mut self) -> Result<Option<RawBlock<'_>>, Failure> {
        match self.framing {
            Framing::Text(rule) => self.next_lines(rule),
            Framing::Length(length) => self.next_fixed(length),
            Framing::Whole | Framing::Warc | Framing::Rows => self.next_in_order(),
        }
    }

    /// The next records of an object that is read from its beginning to its end.
    fn next_in_order(&mut self) -> Result<Option<RawBlock<'_>>, Failure> {
        while !self.done {
            let (rest, ended) = (self.filled - self.given, self.source.is_at_end());
            let whole = if ended { rest } else { self.framing.whole_records(&self.buffer[self.given..self.filled]) };
            if whole > 0 || ended {
                self.check_records(whole)?;
                self.done = ended;
                return Ok(self.give(whole));
            }
            if rest > self.max_record.as_usize() {
                return Err(self.too_large("a record, as far as it was read,", rest, self.position()));
            }
            self.compact();
            self.fill()?;
        }
        Ok(None)
    }

    /// The next records of `length` bytes. A record belongs to the piece that holds its first byte.
    fn next_fixed(&mut self, length: usize) -> Result<Option<RawBlock<'_>>, Failure> {
        while !self.done {
            let (at, end) = (self.position(), self.source.end());
            if end.is_some_and(|end| at >= end) {
                self.done = true;
                return Ok(None);
            }
            let until = end.and_then(|end| end.checked_next_multiple_of(length as u64)).unwrap_or(u64::MAX);
            let have = ((self.filled - self.given) as u64).min(until - at) as usize;
            let whole = have - have % length;
            if whole > 0 {
                return Ok(self.give(whole));
            }
            if self.source.is_at_end() {
                self.done = true;
                if have == 0 {
                    return Ok(None);
                }
                let offset = self.source.offset_at(at);
                return Err(failures::cut_short(&self.object.uri, offset, &input::cut_short(have, length)));
            }
            if length as u64 > self.max_record.bytes() {
                return Err(self.too_large("a record", length, at));
            }
            self.compact();
            self.fill()?;
        }
        Ok(None)
    }

    /// The next records that `rule` ends.
    fn next_lines(&mut self, rule: &LineRule) -> Result<Option<RawBlock<'_>>, Failure> {
        while !self.done {
            let rest = self.filled - self.given;
            let last = self.last_lines(rule);
            let whole = last.unwrap_or_else(|| rule.whole_records(&self.buffer[self.given..self.filled]));
            if last.is_some() || whole > 0 {
                let together = self.before_mark(rule, whole);
                self.check_records(together)?;
                self.done = last.is_some() && together == whole;
                return Ok(self.give(together));
            }
            // A part of what ends the record may be there already.
            if rest > self.max_record.as_usize() + rule.look_behind() {
                return Err(self.too_large("a record, as far as it was read,", rest, self.position()));
            }
            self.compact();
            self.fill()?;
        }
        Ok(None)
    }

    /// The bytes of the last records of the piece, once it is known where these end.
    fn last_lines(&self, rule: &LineRule) -> Option<usize> {
        let read_to = self.base + self.filled as u64;
        if let Some(end) = self.source.end().filter(|&end| read_to > end) {
            // The first record start at or after the end belongs to the next piece.
            let from = (end.saturating_sub(self.base) as usize)
                .max(self.given + 1)
                .max(self.look_behind_in_window(rule) as usize);
            if let Some(stop) = rule.first_start(&self.buffer[..self.filled], from) {
                return Some(stop - self.given);
            }
        }
        self.source.is_at_end().then_some(self.filled - self.given)
    }

    /// How many of the next `whole` bytes of records are named by offsets that count from one place.
    fn before_mark(&self, rule: &LineRule, whole: usize) -> usize {
        let at = self.position();
        let Some(mark) = self.source.next_mark(at).filter(|mark| *mark < at + whole as u64) else { return whole };
        let window = &self.buffer[..self.given + whole];
        let from = ((mark - self.base) as usize).max(self.given + 1).max(rule.look_behind());
        rule.first_start(window, from).map_or(whole, |stop| stop - self.given)
    }

    /// Hands on the next `whole` bytes; nothing if that is none.
    fn give(&mut self, whole: usize) -> Option<RawBlock<'_>> {
        if whole == 0 {
            return None;
        }
        let (from, at) = (self.given, self.position());
        self.given += whole;
        self.done |= self.source.end().is_some_and(|end| at + whole as u64 >= end);
        let buffer_bytes = self.buffer.capacity() + self.source.memory();
        let (offset, stored_to) = (self.source.offset_at(at), self.source.stored_offset());
        Some(RawBlock { bytes: &self.buffer[from..from + whole], offset, stored_to, buffer_bytes, row: None })
    }

    /// Checks the next `whole` bytes of records, of which one can be too large only if they are many.
    fn check_records(&mut self, whole: usize) -> Result<(), Failure> {
        let most = self.max_record.as_usize();
        let block = &self.buffer[self.given..self.given + whole];
        let mut start = 0;
        while whole > most && start < whole {
            let span = self.framing.record_at(block, start);
            if span.end - start > most {
                let position = self.position() + start as u64;
                return Err(self.too_large("a record", span.end - start, position));
            }
            start = span.next;
        }
        Ok(())
    }

    #[cold]
    fn too_large(&mut self, what: &str, bytes: usize, position: u64) -> Failure {
        let offset = self.source.offset_at(position);
        let position = InputPosition { object: self.object.uri.to_string(), offset };
        failures::record_too_large(what, bytes, self.max_record).at(position)
    }

    /// The position of the next record.
    fn position(&self) -> u64 {
        self.base + self.given as u64
    }

    /// Drops the bytes used up.
    fn compact(&mut self) {
        self.buffer.copy_within(self.given..self.filled, 0);
        self.base += self.given as u64;
        self.filled -= self.given;
        self.given = 0;
    }

    /// Reads on, at least one byte unless the content is at its end.
    fn fill(&mut self) -> Result<(), Failure> {
        let want = self.read_bytes;
        if self.buffer.len() < self.filled + want {
            self.buffer.resize((self.filled + want).next_power_of_two(), 0);
        }
        self.filled += self.source.read(&mut self.buffer[self.filled..self.filled + want])?;
        Ok(())
    }
}
