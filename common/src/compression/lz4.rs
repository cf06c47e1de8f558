//! LZ4 frames (LZ4 frame format 1.6.x), any number of them, skippable ones among them. Blocks may be
//! linked. Frames of the legacy format and those that need a dictionary are refused by name.

use xxhash_rust::xxh32::{Xxh32, xxh32};

use super::stored::StoredBytes;
use super::zstd::is_skippable;
use super::{Decoder, Step, Trouble};

/// What a frame begins with.
pub(super) const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();

/// What a frame of the legacy format begins with.
const LEGACY_MAGIC: [u8; 4] = 0x184c_2102_u32.to_le_bytes();

/// How far back a block may refer.
const WINDOW_BYTES: usize = 64 << 10;

/// Says that a block is stored as it is.
pub(super) const UNCOMPRESSED: u32 = 1 << 31;

/// What a frame's header says.
#[derive(Debug, Clone, Copy)]
struct Header {
    is_linked: bool,
    has_block_checksums: bool,
    has_checksum: bool,
    size: Option<u64>,
    max_block: usize,
}

/// Decodes LZ4 frames.
pub(super) struct Lz4Decoder {
    /// Of the frame that is decoded.
    header: Option<Header>,
    is_first: bool,
    checksum: Xxh32,
    decoded: u64,
    /// A block as it is stored.
    block: Vec<u8>,
    /// The end of the blocks before, if this one may refer to it, then the block itself.
    content: Vec<u8>,
    /// `content[given..]` comes next.
    given: usize,
}

impl Lz4Decoder {
    pub(super) fn new() -> Self {
        Self {
            header: None,
            is_first: true,
            checksum: Xxh32::new(0),
            decoded: 0,
            block: Vec::new(),
            content: Vec::new(),
            given: 0,
        }
    }

    /// Begins a frame, or passes a skippable one.
    fn begin(&mut self, stored: &mut StoredBytes<'_>) -> Result<(), Trouble> {
        let other = if self.is_first { Trouble::OtherForm } else { Trouble::Garbage };
        let head = stored.peek(8)?;
        let Some((magic, rest)) = head.split_first_chunk::<4>() else {
            return Err(if MAGIC.starts_with(head) { Trouble::CutShort } else { other });
        };
        if is_skippable(*magic) {
            let Some(bytes) = rest.first_chunk() else { return Err(Trouble::CutShort) };
            let bytes = 8 + u64::from(u32::from_le_bytes(*bytes));
            self.is_first = false;
            return if stored.skip(bytes) { Ok(()) } else { Err(Trouble::CutShort) };
        }
        if *magic == LEGACY_MAGIC {
            return Err(Trouble::damage("it is of the legacy format, which is not read"));
        }
        if *magic != MAGIC {
            return Err(other);
        }
        stored.consume(MAGIC.len());
        self.header = Some(header(stored)?);
        self.is_first = false;
        self.checksum.reset(0);
        self.decoded = 0;
        self.content.clear();
        self.given = 0;
        Ok(())
    }

    /// Decodes the next block of the frame; whether there was one.
    fn next_block(&mut self, stored: &mut StoredBytes<'_>, header: Header) -> Result<bool, Trouble> {
        let word = u32::from_le_bytes(stored.take_array()?.ok_or(Trouble::CutShort)?);
        if word == 0 {
            return self.end_frame(stored, header).map(|()| false);
        }
        let bytes = (word & !UNCOMPRESSED) as usize;
        if bytes > header.max_block {
            return Err(Trouble::damage("a block is larger than its frame says"));
        }
        self.block.resize(bytes, 0);
        if stored.take(&mut self.block)? < bytes {
            return Err(Trouble::CutShort);
        }
        if header.has_block_checksums {
            let expected = stored.take_array()?.ok_or(Trouble::CutShort)?;
            if u32::from_le_bytes(expected) != xxh32(&self.block, 0) {
                return Err(Trouble::damage("the checksum of a block does not match"));
            }
        }
        let kept = if header.is_linked { self.content.len().min(WINDOW_BYTES) } else { 0 };
        self.content.drain(..self.content.len() - kept);
        if word & UNCOMPRESSED != 0 {
            self.content.extend_from_slice(&self.block);
        } else {
            self.content.resize(kept + header.max_block, 0);
            let (before, into) = self.content.split_at_mut(kept);
            let decoded = lz4_flex::block::decompress_into_with_dict(&self.block, into, before);
            let decoded = decoded.map_err(|_| Trouble::damage("a block is damaged"))?;
            self.content.truncate(kept + decoded);
        }
        self.given = kept;
        let content = &self.content[kept..];
        if header.has_checksum {
            self.checksum.update(content);
        }
        self.decoded += content.len() as u64;
        Ok(true)
    }

    fn end_frame(&mut self, stored: &mut StoredBytes<'_>, header: Header) -> Result<(), Trouble> {
        if header.has_checksum {
            let expected = stored.take_array()?.ok_or(Trouble::CutShort)?;
            if u32::from_le_bytes(expected) != self.checksum.digest() {
                return Err(Trouble::damage("the checksum of what it holds does not match"));
            }
        }
        if header.size.is_some_and(|size| size != self.decoded) {
            return Err(Trouble::damage("what it holds has not the length that it says"));
        }
        self.header = None;
        Ok(())
    }
}

/// Takes what follows the magic, up to the first block.
fn header(stored: &mut StoredBytes<'_>) -> Result<Header, Trouble> {
    let head = stored.peek(15)?;
    let Some(&[flags, sizes]) = head.first_chunk() else { return Err(Trouble::CutShort) };
    let flag = |bit: u8| flags & 1 << bit != 0;
    if flags >> 6 != 1 || flag(1) || sizes & 0x8f != 0 || sizes >> 4 < 4 {
        return Err(Trouble::damage("a frame's header is not one"));
    }
    if flag(0) {
        return Err(Trouble::damage("it needs a dictionary"));
    }
    let length = if flag(3) { 10 } else { 2 };
    let Some((&check, described)) = head.get(..=length).and_then(<[u8]>::split_last) else {
        return Err(Trouble::CutShort);
    };
    if check != (xxh32(described, 0) >> 8) as u8 {
        return Err(Trouble::damage("the checksum of a frame's header does not match"));
    }
    let size = described[2..].first_chunk().map(|size| u64::from_le_bytes(*size));
    stored.consume(length + 1);
    Ok(Header {
        is_linked: !flag(5),
        has_block_checksums: flag(4),
        has_checksum: flag(2),
        size,
        max_block: 1 << (8 + 2 * (sizes >> 4)),
    })
}

impl Decoder for Lz4Decoder {
    fn next(&mut self, stored: &mut StoredBytes<'_>, into: &mut [u8]) -> Result<Step, Trouble> {
        loop {
            let rest = &self.content[self.given..];
            if !rest.is_empty() {
                let count = rest.len().min(into.len());
                into[..count].copy_from_slice(&rest[..count]);
                self.given += count;
                return Ok(Step::Bytes(count));
            }
            match self.header {
                Some(header) => {
                    self.next_block(stored, header)?;
                }
                None if stored.is_at_end() && !self.is_first => return Ok(Step::End),
                None => self.begin(stored)?,
            }
        }
    }

    fn memory(&self) -> usize {
        self.block.capacity() + self.content.capacity()
    }
}
