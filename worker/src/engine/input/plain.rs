//! Objects that are what they hold: a piece is a range of bytes, known before anything is read.

use std::io;

use gristmill_common::failure::{Failure, InputPosition};
use gristmill_common::input::Framing;
use gristmill_common::objects::{OpenObject, ended_early, failure_of};
use gristmill_common::task::{InputObject, Piece};

use super::source::Source;

/// Bytes read past a split's end in search of its last record's end.
const TAIL_BYTES: u64 = 4 << 10;

/// How far ahead of reading the system is asked to load. Further ahead hides a slower disk, nearer
/// takes less of the page cache.
const READ_AHEAD_BYTES: u64 = 8 << 20;

/// The bytes of a plain object around a piece.
pub(super) struct PlainSource<'a> {
    open: &'a dyn OpenObject,
    object: &'a InputObject,
    begin: u64,
    own_from: u64,
    end: u64,
    at: u64,
    advised: u64,
}

impl<'a> PlainSource<'a> {
    pub(super) fn new(open: &'a dyn OpenObject, piece: &'a Piece, framing: Framing<'_>) -> Self {
        let end = if framing.is_splittable() { piece.end } else { piece.object.size };
        let (begin, own_from) = match framing {
            Framing::Text(rule) => (piece.start.saturating_sub(rule.look_behind() as u64), piece.start),
            Framing::Length(length) => {
                let first = piece.start.checked_next_multiple_of(length as u64).unwrap_or(u64::MAX);
                (first, first)
            }
            Framing::Whole | Framing::Warc | Framing::Rows => (0, 0),
        };
        let object = &*piece.object;
        Self { open, object, begin, own_from, end, at: begin, advised: piece.start }
    }

    /// Asks the system to load what is read next, so that reading and mapping overlap.
    fn advise(&mut self) {
        let ahead = READ_AHEAD_BYTES.max(self.open.ahead_bytes());
        // What is read past the end belongs to the last record.
        let end = self.end.saturating_add(TAIL_BYTES).min(self.object.size);
        if self.at + ahead / 2 < self.advised || self.advised >= end {
            return;
        }
        let from = self.advised.max(self.at);
        let until = (self.at + ahead).min(end);
        self.open.will_read(from, until.saturating_sub(from));
        self.advised = until;
    }
}

impl Source for PlainSource<'_> {
    fn begin(&self) -> u64 {
        self.begin
    }

    fn own_from(&self) -> u64 {
        self.own_from
    }

    fn end(&self) -> Option<u64> {
        Some(self.end)
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        let (at, most) = (self.at, into.len() as u64);
        let until = if at < self.end { self.end.saturating_add(TAIL_BYTES) } else { at + most };
        let want = until.min(self.object.size).saturating_sub(at).min(most) as usize;
        if want == 0 {
            return Ok(0);
        }
        if self.at + (want as u64) < until.min(self.object.size) {
            // What is read at once needs no advice.
            self.advise();
        }
        let mut got = 0;
        while got < want {
            match self.open.read_at(&mut into[got..want], at + got as u64) {
                Ok(0) => return Err(ended_early(self.object, at + got as u64)),
                Ok(n) => got += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let position = InputPosition { object: self.object.uri.to_string(), offset: at };
                    return Err(failure_of(self.object, error).at(position));
                }
            }
        }
        self.at += want as u64;
        Ok(want)
    }

    fn is_at_end(&self) -> bool {
        self.at >= self.object.size
    }

    fn is_plain(&self) -> bool {
        true
    }

    fn stored_offset(&self) -> u64 {
        self.at
    }

    /// What is on its way.
    fn memory(&self) -> usize {
        usize::try_from(self.open.ahead_bytes()).unwrap_or(usize::MAX)
    }
}
