//! Reading a split: where bytes come from ([`ReadAt`]) and how they become blocks of whole records
//! ([`PieceReader`]).

mod piece;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::num::NonZeroU64;

use rustix::fs::Advice;

pub(super) use piece::{PieceReader, ReadBuffer};

/// An object that is read at positions of the reader's choice.
pub(super) trait ReadAt {
    /// Reads some bytes at `offset`; 0 only at the end.
    ///
    /// # Errors
    ///
    /// If the object cannot be read.
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Tells that these bytes will be read soon, so that loading and mapping overlap.
    fn will_read(&self, offset: u64, bytes: u64);
}

impl ReadAt for File {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, into, offset)
    }

    fn will_read(&self, offset: u64, bytes: u64) {
        if let Some(bytes) = NonZeroU64::new(bytes) {
            // Advice may be refused (an odd file system); reading works without.
            let _ = rustix::fs::fadvise(self, offset, Some(bytes), Advice::WillNeed);
        }
    }
}
