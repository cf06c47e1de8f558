//! The memory that what an attempt collects may take: a part of the attempt's budget, less what
//! reading and writing need at the same time.

use gristmill_common::failure::Failure;

use super::shuffle::BLOCK_BYTES;
use super::{AttemptContext, failures};

/// How much an attempt may collect before it spills.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    total: usize,
    read_buffer: usize,
    /// Size of the largest record so far.
    largest: usize,
    most: usize,
}

impl Room {
    /// Three quarters of the attempt's budget; the last one is for what cannot be counted exactly.
    pub(super) fn new(context: &AttemptContext<'_>) -> Self {
        let total = context.spec.attempt_bytes.as_usize() / 4 * 3;
        Self { total, read_buffer: 0, largest: 2 * BLOCK_BYTES, most: context.spec.max_record_bytes().as_usize() }
    }

    /// All of it, in bytes.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Says that what is read lies in this many bytes.
    pub(super) fn reading(&mut self, read_buffer: usize) {
        self.read_buffer = read_buffer;
    }

    /// Bytes that may be collected now: what is left besides the read buffer and what records of the
    /// largest size so far take while they are written.
    #[inline]
    pub(super) fn limit(&self) -> usize {
        self.total.saturating_sub(self.read_buffer + 2 * self.largest).max(self.total / 16)
    }

    /// Takes note of a pair's size.
    ///
    /// # Errors
    ///
    /// If it is larger than a record may be.
    #[inline]
    pub(super) fn admit(&mut self, bytes: usize, context: &AttemptContext<'_>) -> Result<(), Failure> {
        if bytes > self.largest {
            self.check(bytes, context, || "an emitted pair of key and value".to_owned())?;
            self.largest = bytes;
        }
        Ok(())
    }

    /// Checks the size of `what`: a pair, or the key of one.
    ///
    /// # Errors
    ///
    /// If it is larger than a record may be.
    #[inline]
    pub(super) fn check(
        &self,
        bytes: usize,
        context: &AttemptContext<'_>,
        what: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        if bytes <= self.most {
            return Ok(());
        }
        Err(failures::record_too_large(&what(), bytes, context.spec.max_record_bytes()))
    }
}
