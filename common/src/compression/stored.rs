//! The bytes of an object in order, as they are stored: read in large pieces, handed out in whatever
//! pieces a decoder likes.

use std::io;

use crate::failure::{Failure, InputPosition};
use crate::objects::{OpenObject, ended_early, failure_of};
use crate::task::InputObject;

/// Bytes read at once. More cost memory in every attempt, fewer cost calls.
const READ_BYTES: usize = 128 << 10;

/// How far ahead of reading the system is asked to load; as for plain objects.
const READ_AHEAD_BYTES: u64 = 8 << 20;

/// Bytes handed out that can be given back.
pub(super) const KEPT_BYTES: usize = 16;

/// Reads an object from some byte on.
pub(super) struct StoredBytes<'a> {
    open: &'a dyn OpenObject,
    object: &'a InputObject,
    buffer: Vec<u8>,
    /// `buffer[used..filled]` comes next.
    used: usize,
    filled: usize,
    /// The offset of what is read next.
    read_to: u64,
    advised: u64,
    /// Where reading ahead ends.
    until: u64,
}

impl<'a> StoredBytes<'a> {
    /// The bytes from `start` on; those behind `until` are hardly wanted.
    pub(super) fn new(open: &'a dyn OpenObject, object: &'a InputObject, start: u64, until: u64) -> Self {
        let (used, filled) = (0, 0);
        Self { open, object, buffer: Vec::new(), used, filled, read_to: start, advised: start, until }
    }

    /// The offset of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.read_to - (self.filled - self.used) as u64
    }

    /// The object.
    pub(super) fn object(&self) -> &'a InputObject {
        self.object
    }

    /// Bytes of memory taken.
    pub(super) fn memory(&self) -> usize {
        self.buffer.capacity() + usize::try_from(self.open.ahead_bytes()).unwrap_or(usize::MAX)
    }

    /// Whether no byte is left.
    pub(super) fn is_at_end(&self) -> bool {
        self.offset() >= self.object.size
    }

    /// Some of the next bytes; none only at the end.
    pub(super) fn fill(&mut self) -> Result<&[u8], Failure> {
        if self.used == self.filled {
            self.read_more()?;
        }
        Ok(&self.buffer[self.used..self.filled])
    }

    /// The next bytes that are here already.
    pub(super) fn here(&self) -> &[u8] {
        &self.buffer[self.used..self.filled]
    }

    /// The next bytes, `count` of them or all that are left; `count` is small.
    pub(super) fn peek(&mut self, count: usize) -> Result<&[u8], Failure> {
        while self.filled - self.used < count && self.read_more()? {}
        let end = self.filled.min(self.used + count);
        Ok(&self.buffer[self.used..end])
    }

    /// Passes the next bytes, which are here.
    pub(super) fn consume(&mut self, count: usize) {
        self.used += count;
        assert!(self.used <= self.filled, "only what is here is passed");
    }

    /// Gives back the last bytes that were passed, at most [`KEPT_BYTES`].
    pub(super) fn give_back(&mut self, count: usize) {
        assert!(count <= self.used.min(KEPT_BYTES), "only what was passed just now is given back");
        self.used -= count;
    }

    /// Takes the next bytes; fewer than fit only at the end. Tells how many.
    pub(super) fn take(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        let mut filled = 0;
        while filled < into.len() {
            let next = self.fill()?;
            if next.is_empty() {
                break;
            }
            let count = next.len().min(into.len() - filled);
            into[filled..filled + count].copy_from_slice(&next[..count]);
            filled += count;
            self.consume(count);
        }
        Ok(filled)
    }

    /// The next `N` bytes; `None` if there are not as many.
    pub(super) fn take_array<const N: usize>(&mut self) -> Result<Option<[u8; N]>, Failure> {
        let mut bytes = [0; N];
        Ok((self.take(&mut bytes)? == N).then_some(bytes))
    }

    /// Passes `count` bytes without a look at them; whether there are as many.
    pub(super) fn skip(&mut self, count: u64) -> bool {
        let here = ((self.filled - self.used) as u64).min(count);
        self.used += here as usize;
        let rest = count - here;
        if rest > self.object.size.saturating_sub(self.read_to) {
            return false;
        }
        if rest > 0 {
            self.read_to += rest;
            (self.used, self.filled) = (0, 0);
        }
        true
    }

    /// Reads on; whether there was anything.
    fn read_more(&mut self) -> Result<bool, Failure> {
        let want = (self.object.size.saturating_sub(self.read_to)).min(READ_BYTES as u64) as usize;
        if want == 0 {
            return Ok(false);
        }
        self.advise();
        let keep_from = self.used.saturating_sub(KEPT_BYTES);
        self.buffer.copy_within(keep_from..self.filled, 0);
        self.used -= keep_from;
        self.filled -= keep_from;
        if self.buffer.len() < self.filled + want {
            self.buffer.resize(self.filled + want, 0);
        }
        loop {
            match self.open.read_at(&mut self.buffer[self.filled..self.filled + want], self.read_to) {
                Ok(0) => return Err(ended_early(self.object, self.read_to)),
                Ok(got) => {
                    self.filled += got;
                    self.read_to += got as u64;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let position = InputPosition { object: self.object.uri.to_string(), offset: self.read_to };
                    return Err(failure_of(self.object, error).at(position));
                }
            }
        }
    }

    /// Asks the system to load what is read next.
    fn advise(&mut self) {
        let ahead = READ_AHEAD_BYTES.max(self.open.ahead_bytes());
        if self.read_to + ahead / 2 < self.advised || self.advised >= self.until {
            return;
        }
        let from = self.advised.max(self.read_to);
        let until = (self.read_to + ahead).min(self.until);
        self.open.will_read(from, until.saturating_sub(from));
        self.advised = until;
    }
}
