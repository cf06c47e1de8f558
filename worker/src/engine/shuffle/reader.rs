//! Reading one segment, block after block.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use gristmill_common::key::key_prefix;

use super::SegmentError;
use super::block::{self, BlockHeader, HEADER_BYTES};

/// A position in a segment. Holds one block in memory.
#[derive(Debug)]
pub(in super::super) struct SegmentCursor {
    file: Arc<File>,
    name: Arc<str>,
    /// Next byte to read from the file, and the end of the segment.
    next: u64,
    end: u64,
    payload: Vec<u8>,
    raw: Vec<u8>,
    /// Where the record in hand and the next record lie in `raw`.
    key: (u32, u32),
    value_end: u32,
    prefix: u64,
    exhausted: bool,
}

impl SegmentCursor {
    /// A cursor over `bytes` at `offset` of `file`, on the segment's first record.
    ///
    /// # Errors
    ///
    /// If the first block cannot be read or is damaged.
    pub(in super::super) fn open(
        file: Arc<File>,
        name: Arc<str>,
        offset: u64,
        bytes: u64,
    ) -> Result<Self, SegmentError> {
        let mut cursor = Self {
            file,
            name,
            next: offset,
            end: offset + bytes,
            payload: Vec::new(),
            raw: Vec::new(),
            key: (0, 0),
            value_end: 0,
            prefix: 0,
            exhausted: false,
        };
        cursor.advance()?;
        Ok(cursor)
    }

    /// Whether the segment is read to its end: then there is no record in hand.
    #[inline]
    pub(in super::super) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// The key of the record in hand.
    #[inline]
    pub(in super::super) fn key(&self) -> &[u8] {
        &self.raw[self.key.0 as usize..self.key.1 as usize]
    }

    /// The value of the record in hand.
    #[inline]
    pub(in super::super) fn value(&self) -> &[u8] {
        &self.raw[self.key.1 as usize..self.value_end as usize]
    }

    /// The first bytes of the key as a number; the greatest number at the end.
    #[inline]
    pub(in super::super) fn prefix(&self) -> u64 {
        self.prefix
    }

    /// Moves to the next record, or to the end.
    ///
    /// # Errors
    ///
    /// If the next block cannot be read or is damaged.
    #[inline]
    pub(in super::super) fn advance(&mut self) -> Result<(), SegmentError> {
        if self.value_end as usize == self.raw.len() {
            if self.next == self.end {
                self.exhausted = true;
                self.prefix = u64::MAX;
                return Ok(());
            }
            self.load_block()?;
        }
        let mut at = self.value_end as usize;
        let Some(record) = block::record_at(&self.raw, &mut at) else {
            return Err(self.damaged("a record is malformed"));
        };
        let value_len = record.value.len() as u32;
        self.prefix = key_prefix(record.key);
        let key_len = record.key.len() as u32;
        self.value_end = at as u32;
        let key_end = self.value_end - value_len;
        self.key = (key_end - key_len, key_end);
        Ok(())
    }

    #[cold]
    fn load_block(&mut self) -> Result<(), SegmentError> {
        if self.end - self.next < HEADER_BYTES as u64 {
            return Err(self.damaged("a block's header is cut short"));
        }
        let mut header = [0; HEADER_BYTES];
        self.read_at(&mut header, self.next)?;
        let header = BlockHeader::parse(&header);
        let body = self.next + HEADER_BYTES as u64;
        if header.stored() as u64 > self.end - body || header.raw() == 0 {
            return Err(self.damaged("a block's length is impossible"));
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(header.stored(), 0);
        self.read_at(&mut payload, body)?;
        let opened = header.open(&mut payload, &mut self.raw);
        self.payload = payload;
        opened.map_err(|reason| self.damaged(reason))?;
        self.next = body + header.stored() as u64;
        self.value_end = 0;
        Ok(())
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> Result<(), SegmentError> {
        self.file
            .read_exact_at(into, offset)
            .map_err(|source| SegmentError::Read { path: self.name.to_string(), source })
    }

    fn damaged(&self, reason: &'static str) -> SegmentError {
        SegmentError::Damaged { path: self.name.to_string(), offset: self.next, reason }
    }
}

/// The largest block of a segment that lies in a file without an index, by its block headers. Only
/// a hint for memory: the headers are checked when the blocks are read.
pub(in super::super) fn largest_block(file: &File, offset: u64, bytes: u64) -> u64 {
    let (mut at, end) = (offset, offset + bytes);
    let mut largest = 0;
    let mut header = [0; HEADER_BYTES];
    while at < end && file.read_exact_at(&mut header, at).is_ok() {
        let parsed = BlockHeader::parse(&header);
        largest = largest.max(parsed.raw() as u64);
        at += (HEADER_BYTES + parsed.stored()) as u64;
    }
    largest
}
