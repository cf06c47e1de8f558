//! The table of frames at the end of a zstd object (the seekable format 0.1.0 of the zstd project): a frame
//! that decoders skip, so that tasks find the frames from which to read.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `5e 2a 4d 18`: a frame to be skipped |
//! | 4 | bytes of what follows, little endian as all numbers |
//! | 8 or 12 for each frame | its bytes, those of its content, and a checksum if there are any |
//! | 4 | the number of frames |
//! | 1 | 80 if there are checksums, else 00 |
//! | 4 | `b1 ea 92 8f` |
//!
//! A table may lie; whoever reads by it checks that frames end where it says that the next ones begin.

use std::io;

use crate::failure::Failure;
use crate::objects::{OpenObject, ended_early, failure_of};
use crate::task::InputObject;

/// What the frame of the table begins with.
const FRAME_MAGIC: [u8; 4] = 0x184d_2a5e_u32.to_le_bytes();

/// What it ends with.
const TABLE_MAGIC: [u8; 4] = 0x8f92_eab1_u32.to_le_bytes();

/// Bytes behind the entries.
const FOOTER_BYTES: usize = 9;

/// Bytes before them.
const HEADER_BYTES: usize = 8;

/// Bytes of one, without a checksum.
const ENTRY_BYTES: usize = 8;

/// Says that there are checksums.
const CHECKSUMS: u8 = 1 << 7;

/// Bits of that byte that mean something else, so that this table is none that is known.
const RESERVED: u8 = 0x7c;

/// Entries read at once.
const READ_ENTRIES: u64 = 8 << 10;

/// The most frames that a table is written for; its entries are kept in memory until then.
const MOST_WRITTEN: usize = 128 << 10;

/// Where a table lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeekTable {
    /// Where its frame begins, which is where the frames of the content end.
    begin: u64,
    frames: u64,
    entry_bytes: u64,
}

/// The frames of a piece of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frames {
    /// The first one: where it begins in the object, and where its content does in that of the object.
    pub first: (u64, u64),
    /// The same of the first one behind the piece; the ends of frames and content if there is none.
    pub next: (u64, u64),
}

impl SeekTable {
    /// Looks for a table at an object's end. Reads a few bytes.
    ///
    /// # Errors
    ///
    /// If the object cannot be read; names it.
    pub fn find(object: &InputObject, open: &dyn OpenObject) -> Result<Option<Self>, Failure> {
        let Some(footer_at) = object.size.checked_sub(FOOTER_BYTES as u64) else { return Ok(None) };
        let mut footer = [0; FOOTER_BYTES];
        read(object, open, &mut footer, footer_at)?;
        let [a, b, c, d, flags, magic @ ..] = footer;
        if magic != TABLE_MAGIC || flags & RESERVED != 0 {
            return Ok(None);
        }
        let frames = u64::from(u32::from_le_bytes([a, b, c, d]));
        let entry_bytes = ENTRY_BYTES as u64 + if flags & CHECKSUMS != 0 { 4 } else { 0 };
        let body = frames * entry_bytes + FOOTER_BYTES as u64;
        let Some(begin) = object.size.checked_sub(body + HEADER_BYTES as u64) else { return Ok(None) };
        let mut header = [0; HEADER_BYTES];
        read(object, open, &mut header, begin)?;
        let [a, b, c, d, length @ ..] = header;
        let is_one = [a, b, c, d] == FRAME_MAGIC && u64::from(u32::from_le_bytes(length)) == body;
        Ok(is_one.then_some(Self { begin, frames, entry_bytes }))
    }

    /// The frames that begin in a range of the object's bytes; `None` if none does, or if the table does not
    /// tell of all bytes before it.
    ///
    /// # Errors
    ///
    /// If the object cannot be read; names it.
    pub fn frames(
        &self,
        object: &InputObject,
        open: &dyn OpenObject,
        range: std::ops::Range<u64>,
    ) -> Result<Option<Frames>, Failure> {
        let (mut first, mut next) = (None, None);
        let (mut at, mut content) = (0_u64, 0_u64);
        let mut buffer = Vec::new();
        let mut index = 0;
        while index < self.frames {
            let count = (self.frames - index).min(READ_ENTRIES);
            buffer.resize((count * self.entry_bytes) as usize, 0);
            let offset = self.begin + HEADER_BYTES as u64 + index * self.entry_bytes;
            read(object, open, &mut buffer, offset)?;
            for entry in buffer.chunks_exact(self.entry_bytes as usize) {
                let Some(&[a, b, c, d, e, f, g, h]) = entry.first_chunk() else { break };
                if first.is_none() && at >= range.start {
                    first = Some((at, content));
                }
                if next.is_none() && at >= range.end {
                    next = Some((at, content));
                }
                at += u64::from(u32::from_le_bytes([a, b, c, d]));
                content += u64::from(u32::from_le_bytes([e, f, g, h]));
            }
            index += count;
        }
        let next = next.unwrap_or((at, content));
        let first = first.filter(|(first, _)| *first < range.end && at == self.begin);
        Ok(first.map(|first| Frames { first, next }))
    }

    /// Whether the table tells of all bytes before it, and so of all frames.
    ///
    /// # Errors
    ///
    /// If the object cannot be read; names it.
    pub fn is_whole(&self, object: &InputObject, open: &dyn OpenObject) -> Result<bool, Failure> {
        Ok(self.frames(object, open, 0..u64::MAX)?.is_some_and(|frames| frames.first == (0, 0)))
    }
}

/// Fills `into` from `offset` on.
fn read(object: &InputObject, open: &dyn OpenObject, into: &mut [u8], offset: u64) -> Result<(), Failure> {
    let mut filled = 0;
    while filled < into.len() {
        match open.read_at(&mut into[filled..], offset + filled as u64) {
            Ok(0) => return Err(ended_early(object, offset + filled as u64)),
            Ok(got) => filled += got,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failure_of(object, error)),
        }
    }
    Ok(())
}

/// The table of frames that are being written. It is given up when there are too many, and the object then
/// has none.
#[derive(Debug, Default)]
pub(super) struct WrittenTable {
    entries: Vec<[u32; 2]>,
    is_given_up: bool,
}

impl WrittenTable {
    /// Adds a frame, by its bytes and those of its content.
    pub(super) fn add(&mut self, bytes: usize, content: usize) {
        let entry = [bytes, content].map(u32::try_from);
        match entry {
            [Ok(bytes), Ok(content)] if !self.is_given_up && self.entries.len() < MOST_WRITTEN => {
                self.entries.push([bytes, content]);
            }
            _ => (self.entries, self.is_given_up) = (Vec::new(), true),
        }
    }

    /// Bytes of memory taken.
    pub(super) fn memory(&self) -> usize {
        self.entries.capacity() * size_of::<[u32; 2]>()
    }

    /// Does without a table.
    pub(super) fn give_up(&mut self) {
        (self.entries, self.is_given_up) = (Vec::new(), true);
    }

    /// Appends the frame of the table.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if self.is_given_up {
            return;
        }
        let number = |number: usize| u32::try_from(number).expect("a table has few entries").to_le_bytes();
        out.extend_from_slice(&FRAME_MAGIC);
        out.extend_from_slice(&number(self.entries.len() * ENTRY_BYTES + FOOTER_BYTES));
        for [bytes, content] in &self.entries {
            out.extend_from_slice(&bytes.to_le_bytes());
            out.extend_from_slice(&content.to_le_bytes());
        }
        out.extend_from_slice(&number(self.entries.len()));
        out.push(0);
        out.extend_from_slice(&TABLE_MAGIC);
    }
}
