//! Snappy in its two forms: the framing format, whose chunks have checksums, and Hadoop's blocks, which
//! have none. The first bytes tell which one it is.
//!
//! Hadoop's form is a sequence of blocks: the length of what a block holds (32 bits, big endian), then
//! chunks until that much has been decoded, each behind its length (32 bits, big endian).

use snap::raw::{Decoder as Raw, decompress_len};

use super::crc32c::masked_crc32c;
use super::stored::StoredBytes;
use super::{Decoder, Step, Trouble};

/// The chunk that a stream of the framing format begins with.
pub(super) const STREAM: [u8; 10] = *b"\xff\x06\x00\x00sNaPpY";

/// The most that a chunk of the framing format holds.
pub(super) const FRAME_BYTES: usize = 64 << 10;

/// The largest chunk of the framing format as it is stored: its checksum, and bytes that did not shrink.
const MAX_FRAME_STORED: usize = 4 + 76_490;

/// Kinds of chunks.
pub(super) const COMPRESSED: u8 = 0x00;
pub(super) const UNCOMPRESSED: u8 = 0x01;
const PADDING: u8 = 0xfe;
const STREAM_BEGINS: u8 = 0xff;

#[derive(Debug, Clone, Copy)]
enum Kind {
    Unknown,
    Frames,
    /// Hadoop's, and what is still to come of a block.
    Blocks {
        rest: usize,
    },
}

/// Decodes snappy.
pub(super) struct SnappyDecoder {
    kind: Kind,
    raw: Raw,
    most: u64,
    chunk: Vec<u8>,
    content: Vec<u8>,
    /// `content[given..]` comes next.
    given: usize,
}

impl SnappyDecoder {
    /// Decodes chunks that take at most `memory` bytes.
    pub(super) fn new(memory: u64) -> Self {
        let (chunk, content) = (Vec::new(), Vec::new());
        Self { kind: Kind::Unknown, raw: Raw::new(), most: memory, chunk, content, given: 0 }
    }

    /// Takes the next `bytes` of what is stored into `chunk`.
    fn take(&mut self, stored: &mut StoredBytes<'_>, bytes: usize) -> Result<(), Trouble> {
        self.chunk.resize(bytes, 0);
        if stored.take(&mut self.chunk)? < bytes { Err(Trouble::CutShort) } else { Ok(()) }
    }

    /// Decodes what `chunk` has from `from` on, `most` bytes of content at most.
    fn decode(&mut self, from: usize, most: usize) -> Result<(), Trouble> {
        let chunk = &self.chunk[from..];
        let damaged = |_| Trouble::damage("a chunk is damaged");
        let length = decompress_len(chunk).map_err(damaged)?;
        if length > most {
            return Err(Trouble::damage("a chunk holds more than it may"));
        }
        self.content.resize(length, 0);
        self.raw.decompress(chunk, &mut self.content).map_err(damaged)?;
        Ok(())
    }

    /// Decodes the next chunk of the framing format.
    fn next_frame(&mut self, stored: &mut StoredBytes<'_>) -> Result<(), Trouble> {
        let head: [u8; 4] = stored.take_array()?.ok_or(Trouble::CutShort)?;
        let bytes = (u32::from_le_bytes(head) >> 8) as usize;
        match head[0] {
            STREAM_BEGINS => {
                let is_one = stored.peek(6)? == &STREAM[4..] && bytes == 6;
                return if is_one && stored.skip(6) { Ok(()) } else { Err(Trouble::Garbage) };
            }
            kind @ (COMPRESSED | UNCOMPRESSED) => {
                if !(4..=MAX_FRAME_STORED).contains(&bytes) {
                    return Err(unknown_chunk());
                }
                self.take(stored, bytes)?;
                if kind == COMPRESSED {
                    self.decode(4, FRAME_BYTES)?;
                } else {
                    self.content.extend_from_slice(&self.chunk[4..]);
                }
            }
            PADDING => return if stored.skip(bytes as u64) { Ok(()) } else { Err(Trouble::CutShort) },
            // The format lets kinds from 80 on be skipped. Nobody writes any, and one bit makes one of content.
            _ => return Err(unknown_chunk()),
        }
        let expected = self.chunk.first_chunk().map(|check| u32::from_le_bytes(*check));
        if expected != Some(masked_crc32c(&self.content)) {
            self.content.clear();
            return Err(Trouble::damage("the checksum of a chunk does not match"));
        }
        Ok(())
    }

    /// Decodes the next chunk of Hadoop's form, of a block of which `rest` bytes are still to come.
    fn next_chunk(&mut self, stored: &mut StoredBytes<'_>, mut rest: usize) -> Result<(), Trouble> {
        let number = |stored: &mut StoredBytes<'_>| -> Result<usize, Trouble> {
            let bytes = stored.take_array()?.ok_or(Trouble::CutShort)?;
            Ok(u32::from_be_bytes(bytes) as usize)
        };
        if rest == 0 {
            rest = number(stored)?;
            self.kind = Kind::Blocks { rest };
            return Ok(());
        }
        let bytes = number(stored)?;
        if bytes as u64 > self.most {
            return Err(Trouble::damage("a chunk is larger than it can be"));
        }
        self.take(stored, bytes)?;
        if decompress_len(&self.chunk).is_ok_and(|length| length as u64 > self.most && length <= rest) {
            return Err(Trouble::Memory(Some(rest as u64)));
        }
        self.decode(0, rest)?;
        self.kind = Kind::Blocks { rest: rest - self.content.len() };
        Ok(())
    }

    /// Which form it is.
    fn look(stored: &mut StoredBytes<'_>) -> Result<Kind, Trouble> {
        let head = stored.peek(STREAM.len())?;
        if head == STREAM {
            return Ok(Kind::Frames);
        }
        // Hadoop's form begins with two lengths, of which only the second is bounded by the object's size.
        let Some(&[holds, chunk]) = head.as_chunks::<4>().0.first_chunk() else {
            return Err(if STREAM.starts_with(head) { Trouble::CutShort } else { Trouble::OtherForm });
        };
        let [holds, chunk] = [holds, chunk].map(u32::from_be_bytes);
        let left = stored.object().size.saturating_sub(8);
        if holds == 0 || chunk == 0 || u64::from(chunk) > left {
            Err(Trouble::OtherForm)
        } else {
            Ok(Kind::Blocks { rest: 0 })
        }
    }
}

#[cold]
fn unknown_chunk() -> Trouble {
    Trouble::damage("there is a chunk that cannot be, or something else follows its end")
}

impl Decoder for SnappyDecoder {
    fn next(&mut self, stored: &mut StoredBytes<'_>, into: &mut [u8]) -> Result<Step, Trouble> {
        loop {
            let rest = &self.content[self.given..];
            if !rest.is_empty() {
                let count = rest.len().min(into.len());
                into[..count].copy_from_slice(&rest[..count]);
                self.given += count;
                return Ok(Step::Bytes(count));
            }
            self.content.clear();
            self.given = 0;
            match self.kind {
                Kind::Unknown => self.kind = Self::look(stored)?,
                Kind::Frames | Kind::Blocks { rest: 0 } if stored.is_at_end() => return Ok(Step::End),
                Kind::Frames => self.next_frame(stored)?,
                Kind::Blocks { rest } => self.next_chunk(stored, rest)?,
            }
        }
    }

    fn memory(&self) -> usize {
        self.chunk.capacity() + self.content.capacity()
    }
}
