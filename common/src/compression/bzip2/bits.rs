//! Bits of an object in order, the highest of each byte first.

use crate::compression::Trouble;
use crate::compression::stored::StoredBytes;

/// The most bits that are asked for at once.
pub(super) const MOST_BITS: u32 = 48;

/// Bits that were taken from the stored bytes and are not used yet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bits {
    /// The next bits, the first one on top. What is below the first `count` is what comes next, or zero.
    word: u64,
    count: u32,
}

impl Bits {
    /// Where the next bit lies, counted from the beginning of the object.
    pub(super) fn position(&self, stored: &StoredBytes<'_>) -> u64 {
        stored.offset() * 8 - u64::from(self.count)
    }

    /// Makes at least `count` bits available, at most [`MOST_BITS`].
    #[inline]
    pub(super) fn need(&mut self, stored: &mut StoredBytes<'_>, count: u32) -> Result<(), Trouble> {
        if self.count >= count { Ok(()) } else { self.refill(stored, count) }
    }

    fn refill(&mut self, stored: &mut StoredBytes<'_>, count: u32) -> Result<(), Trouble> {
        if let Some(next) = stored.here().first_chunk::<8>() {
            self.word |= u64::from_be_bytes(*next) >> self.count;
            let bytes = (63 - self.count) / 8;
            stored.consume(bytes as usize);
            self.count += 8 * bytes;
            return Ok(());
        }
        while self.count < count {
            let Some(&byte) = stored.fill()?.first() else { return Err(Trouble::CutShort) };
            stored.consume(1);
            self.word |= u64::from(byte) << (56 - self.count);
            self.count += 8;
        }
        Ok(())
    }

    /// The next bits, the first one on top; at least as many as were needed last are there.
    #[inline]
    pub(super) fn peek(&self) -> u64 {
        self.word
    }

    /// Passes bits that are there, fewer than 64.
    #[inline]
    pub(super) fn pass(&mut self, count: u32) {
        self.word <<= count;
        self.count -= count;
    }

    /// Takes the next `count` bits, 1 to [`MOST_BITS`], as a number.
    #[inline]
    pub(super) fn take(&mut self, stored: &mut StoredBytes<'_>, count: u32) -> Result<u64, Trouble> {
        self.need(stored, count)?;
        let bits = self.word >> (64 - count);
        self.pass(count);
        Ok(bits)
    }

    /// Passes the bits up to the next whole byte and gives back what was taken behind it.
    pub(super) fn align(&mut self, stored: &mut StoredBytes<'_>) {
        stored.give_back((self.count / 8) as usize);
        *self = Self::default();
    }
}
