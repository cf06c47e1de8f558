//! Reading one segment, block after block.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use gristmill_common::key::key_prefix;
use gristmill_sys::memory::prefetch;

use super::block::{self, BlockHeader, HEADER_BYTES, RecordRef};
use super::{RecordOrder, SegmentError};

/// Bytes that a cache line holds.
const CACHE_LINE: usize = 64;

/// A segment, block by block.
#[derive(Debug)]
pub(in super::super) struct SegmentBlocks {
    file: Arc<File>,
    name: Arc<str>,
    /// Next byte to read from the file, and the end of the segment.
    next: u64,
    end: u64,
    payload: Vec<u8>,
    /// How the records of the block read last follow each other.
    order: RecordOrder,
    /// Whether that block is the first of a further run.
    begins_run: bool,
}

/// The records of one block.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Block<'a>(&'a [u8]);

impl<'a> Block<'a> {
    /// The records in the order of the block; a malformed one is an error and the last.
    #[inline]
    pub(in super::super) fn records(&self) -> impl Iterator<Item = Result<RecordRef<'a>, &'static str>> + use<'a> {
        let (raw, mut at) = (self.0, 0);
        std::iter::from_fn(move || {
            (at < raw.len()).then(|| {
                block::record_at(raw, &mut at).ok_or_else(|| {
                    at = raw.len();
                    MALFORMED
                })
            })
        })
    }
}

const MALFORMED: &str = "a record is malformed";

impl SegmentBlocks {
    /// The blocks in `bytes` at `offset` of `file`, which errors call `name`.
    pub(in super::super) fn new(file: Arc<File>, name: Arc<str>, offset: u64, bytes: u64) -> Self {
        let (payload, order) = (Vec::new(), RecordOrder::ByKey);
        Self { file, name, next: offset, end: offset + bytes, payload, order, begins_run: false }
    }

    /// Reads the next block into `raw`; `None` at the end.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is damaged.
    pub(in super::super) fn next<'r>(&mut self, raw: &'r mut Vec<u8>) -> Result<Option<Block<'r>>, SegmentError> {
        if self.next == self.end {
            return Ok(None);
        }
        self.load(raw)?;
        Ok(Some(Block(raw)))
    }

    #[cold]
    fn load(&mut self, raw: &mut Vec<u8>) -> Result<(), SegmentError> {
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
        let opened = header.open(&mut payload, raw);
        self.payload = payload;
        opened.map_err(|reason| self.damaged(reason))?;
        self.next = body + header.stored() as u64;
        (self.order, self.begins_run) = (header.order(), header.begins_run());
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

/// A position in a run of a segment. Holds one block in memory.
#[derive(Debug)]
pub(in super::super) struct SegmentCursor {
    blocks: SegmentBlocks,
    raw: Vec<u8>,
    /// Where the record in hand and the next record lie in `raw`.
    key: (u32, u32),
    value_end: u32,
    prefix: u64,
    exhausted: bool,
}

impl SegmentCursor {
    /// A cursor on the run's first record.
    ///
    /// # Errors
    ///
    /// If the first block cannot be read or is damaged.
    pub(in super::super) fn open(blocks: SegmentBlocks) -> Result<Self, SegmentError> {
        let mut cursor = Self { blocks, raw: Vec::new(), key: (0, 0), value_end: 0, prefix: 0, exhausted: false };
        cursor.advance()?;
        Ok(cursor)
    }

    /// Whether the run is read to its end: then there is no record in hand.
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
            let first = self.raw.is_empty();
            if self.blocks.next(&mut self.raw)?.is_none() {
                self.exhausted = true;
                self.prefix = u64::MAX;
                return Ok(());
            }
            if self.blocks.order == RecordOrder::Unsorted {
                return Err(self.blocks.damaged("unsorted records are among sorted ones"));
            }
            if self.blocks.begins_run && !first {
                return Err(self.blocks.damaged("a run begins inside another one"));
            }
            self.value_end = 0;
        }
        let mut at = self.value_end as usize;
        let Some(record) = block::record_at(&self.raw, &mut at) else {
            return Err(self.blocks.damaged(MALFORMED));
        };
        let value_len = record.value.len() as u32;
        self.prefix = key_prefix(record.key);
        let key_len = record.key.len() as u32;
        self.value_end = at as u32;
        let key_end = self.value_end - value_len;
        self.key = (key_end - key_len, key_end);
        self.prefetch_next();
        Ok(())
    }

    /// Asks for the first two cache lines of the next record. A merge of many runs comes back to this
    /// one after so many others that neither the caches nor the processor remember it.
    #[inline]
    fn prefetch_next(&self) {
        let next = self.value_end as usize;
        for line in [next, next + CACHE_LINE] {
            if let Some(byte) = self.raw.get(line) {
                prefetch(byte);
            }
        }
    }
}

/// What is to be known of a run before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Survey {
    /// Where it begins in the file.
    pub(in super::super) offset: u64,
    /// Its length in bytes.
    pub(in super::super) bytes: u64,
    /// Bytes of the largest block's records.
    pub(in super::super) largest: u64,
    /// How its records follow each other.
    pub(in super::super) order: RecordOrder,
}

/// Looks at the block headers of a segment that lies in a file without an index, and gives its runs.
/// Headers are checked when the blocks are read: whatever is wrong with them is noticed then.
///
/// # Errors
///
/// If a header cannot be read.
pub(in super::super) fn survey(file: &File, offset: u64, bytes: u64) -> io::Result<Vec<Survey>> {
    let (mut at, end) = (offset, offset + bytes);
    let mut runs: Vec<Survey> = Vec::new();
    let mut header = [0; HEADER_BYTES];
    while at < end {
        file.read_exact_at(&mut header, at)?;
        let parsed = BlockHeader::parse(&header);
        if parsed.begins_run() || runs.is_empty() {
            runs.push(Survey { offset: at, bytes: 0, largest: 0, order: RecordOrder::ByKey });
        }
        let run = runs.last_mut().expect("one was just begun, if there was none");
        at = end.min(at + (HEADER_BYTES + parsed.stored()) as u64);
        run.bytes = at - run.offset;
        run.largest = run.largest.max(parsed.raw() as u64);
        if parsed.order() == RecordOrder::Unsorted {
            run.order = RecordOrder::Unsorted;
        }
    }
    Ok(runs)
}
