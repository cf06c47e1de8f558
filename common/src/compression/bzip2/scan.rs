//! Where blocks may begin: what marks the beginning of one is looked for at every bit. The mark may occur
//! by chance, about once in 32 TiB; whoever decodes what follows finds out.

use std::ops::Range;

use super::BLOCK_MAGIC;
use crate::failure::Failure;
use crate::objects::{OpenObject, ended_early, failure_of};
use crate::task::InputObject;

/// Bytes looked at at once.
const READ_BYTES: u64 = 64 << 10;

/// Bytes of a mark, and of a mark that does not begin with a byte.
const MAGIC_BYTES: u64 = 6;

const MAGIC_MASK: u64 = (1 << 48) - 1;

/// For each value of the byte that lies in any mark that ends up to seven bits before the last 8 bytes do,
/// 16 bits above their end: at how many bits before that end a mark may end.
static MAY_END: [u8; 256] = may_end();

const fn may_end() -> [u8; 256] {
    let mut shifts = [0; 256];
    let mut shift = 0;
    while shift < 8 {
        shifts[(BLOCK_MAGIC >> (16 - shift)) as usize & 0xff] |= 1 << shift;
        shift += 1;
    }
    shifts
}

/// Finds the beginnings of blocks that lie in a range of an object.
pub(in crate::compression) struct BlockScan<'a> {
    open: &'a dyn OpenObject,
    object: &'a InputObject,
    /// Bits at which a block may begin.
    range: Range<u64>,
    buffer: Vec<u8>,
    /// The next byte to look at is `buffer[used]`, and lies at `at` in the object.
    used: usize,
    at: u64,
    /// Where the last byte lies that a mark in the range may have.
    until: u64,
    last: u64,
    /// Shifts of the last byte looked at that are still to be tried.
    shifts: u8,
}

impl<'a> BlockScan<'a> {
    pub(in crate::compression) fn new(open: &'a dyn OpenObject, object: &'a InputObject, range: Range<u64>) -> Self {
        let until = range.end.saturating_add(MAGIC_BYTES).min(object.size);
        let (at, range) = (range.start, range.start * 8..range.end * 8);
        Self { open, object, range, buffer: Vec::new(), used: 0, at, until, last: 0, shifts: 0 }
    }

    /// The bit at which the next block may begin, counted from the beginning of the object.
    ///
    /// # Errors
    ///
    /// If the object cannot be read.
    pub(in crate::compression) fn next_block(&mut self) -> Result<Option<u64>, Failure> {
        loop {
            while self.shifts != 0 {
                // The largest shift is the earliest place.
                let shift = self.shifts.ilog2();
                self.shifts &= !(1 << shift);
                let begin = (self.at * 8).checked_sub(u64::from(shift) + 48);
                let begin = begin.filter(|begin| self.range.contains(begin));
                if self.last >> shift & MAGIC_MASK == BLOCK_MAGIC && begin.is_some() {
                    return Ok(begin);
                }
            }
            let Some(&byte) = self.buffer.get(self.used) else {
                if self.at >= self.until {
                    return Ok(None);
                }
                self.read_more()?;
                continue;
            };
            self.used += 1;
            self.at += 1;
            self.last = self.last << 8 | u64::from(byte);
            self.shifts = MAY_END[(self.last >> 16) as usize & 0xff];
        }
    }

    fn read_more(&mut self) -> Result<(), Failure> {
        let want = (self.until - self.at).min(READ_BYTES) as usize;
        self.buffer.resize(want, 0);
        self.used = 0;
        let mut filled = 0;
        while filled < want {
            match self.open.read_at(&mut self.buffer[filled..], self.at + filled as u64) {
                Ok(0) => return Err(ended_early(self.object, self.at + filled as u64)),
                Ok(got) => filled += got,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failure_of(self.object, error)),
            }
        }
        Ok(())
    }
}
