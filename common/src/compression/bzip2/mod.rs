//! bzip2: any number of streams of blocks, decoded from the beginning or from any block on. Each block is a
//! unit, and is checked before any of it is given.
//!
//! | file | responsibility |
//! |---|---|
//! | `bits.rs` | bits in order |
//! | `huffman.rs` | codes to symbols |
//! | `block.rs` | one block |
//! | `order.rs` | its bytes in their order |
//! | `checksum.rs` | the checksum |
//! | `scan.rs` | where blocks may begin |

mod bits;
mod block;
mod checksum;
mod huffman;
mod order;
mod scan;

use self::bits::Bits;
use self::block::Block;
pub(super) use self::scan::BlockScan;
use super::stored::StoredBytes;
use super::{Decoder, Step, Trouble};

/// What a block begins with.
const BLOCK_MAGIC: u64 = 0x3141_5926_5359;

/// What the end of a stream begins with.
const END_MAGIC: u64 = 0x1772_4538_5090;

/// Symbols of a block for each level of a stream.
const LEVEL_BYTES: usize = 100_000;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// A stream, the first one of the object or not.
    Stream { is_first: bool },
    /// A block, or a stream's end.
    Mark,
    /// The content of a block, which was told or was not.
    Content { begins: Option<u64> },
}

/// Decodes bzip2.
pub(super) struct Bzip2Decoder {
    at: At,
    bits: Bits,
    block: Block,
    most: usize,
    /// Of the blocks of the stream so far, if it was decoded from its beginning.
    checksum: Option<u32>,
}

impl Bzip2Decoder {
    /// Decodes an object from its beginning.
    pub(super) fn new() -> Self {
        let at = At::Stream { is_first: true };
        Self { at, bits: Bits::default(), block: Block::new(), most: block::MOST_BYTES, checksum: Some(0) }
    }

    /// Decodes an object from a block on, which is yet to be said.
    pub(super) fn inside() -> Self {
        Self { at: At::Mark, checksum: None, ..Self::new() }
    }

    /// Decodes the block that begins at this bit of the object; `stored` is at its byte.
    pub(super) fn begin_at(&mut self, stored: &mut StoredBytes<'_>, bit: u64) -> Result<(), Trouble> {
        (self.bits, self.most, self.checksum) = (Bits::default(), block::MOST_BYTES, None);
        self.bits.need(stored, (bit % 8) as u32)?;
        self.bits.pass((bit % 8) as u32);
        self.pass_mark(stored)?;
        if matches!(self.at, At::Content { .. }) { Ok(()) } else { Err(Trouble::damage("no block begins here")) }
    }

    /// Passes what a stream begins with.
    fn begin_stream(&mut self, stored: &mut StoredBytes<'_>, is_first: bool) -> Result<(), Trouble> {
        let head = stored.peek(4)?;
        if !b"BZh".starts_with(&head[..head.len().min(3)]) {
            return Err(if is_first { Trouble::OtherForm } else { Trouble::Garbage });
        }
        let level = match head {
            [.., level @ b'1'..=b'9'] if head.len() == 4 => usize::from(level - b'0'),
            [_, _, _, _] => return Err(Trouble::damage("a stream's header is not one")),
            _ => return Err(Trouble::CutShort),
        };
        stored.consume(4);
        (self.at, self.most, self.checksum) = (At::Mark, level * LEVEL_BYTES, Some(0));
        Ok(())
    }

    /// Decodes the block that begins here, or ends the stream that ends here.
    fn pass_mark(&mut self, stored: &mut StoredBytes<'_>) -> Result<(), Trouble> {
        let begins = self.bits.position(stored) / 8;
        match self.bits.take(stored, bits::MOST_BITS)? {
            BLOCK_MAGIC => {
                let checksum = self.block.decode(&mut self.bits, stored, self.most)?;
                self.checksum = self.checksum.map(|before| before.rotate_left(1) ^ checksum);
                self.at = At::Content { begins: Some(begins) };
            }
            END_MAGIC => {
                let expected = self.bits.take(stored, 32)? as u32;
                if self.checksum.is_some_and(|found| found != expected) {
                    return Err(Trouble::damage("the checksum of a stream does not match"));
                }
                self.bits.align(stored);
                self.at = At::Stream { is_first: false };
            }
            _ => return Err(Trouble::damage("there is no block where one should begin")),
        }
        Ok(())
    }
}

impl Decoder for Bzip2Decoder {
    fn next(&mut self, stored: &mut StoredBytes<'_>, into: &mut [u8]) -> Result<Step, Trouble> {
        loop {
            match self.at {
                At::Stream { is_first: false } if stored.is_at_end() => return Ok(Step::End),
                At::Stream { is_first } => self.begin_stream(stored, is_first)?,
                At::Mark => self.pass_mark(stored)?,
                At::Content { begins: Some(begins) } => {
                    self.at = At::Content { begins: None };
                    return Ok(Step::Unit(begins));
                }
                At::Content { begins: None } => {
                    let got = self.block.give(into);
                    if got > 0 {
                        return Ok(Step::Bytes(got));
                    }
                    self.at = At::Mark;
                }
            }
        }
    }

    fn memory(&self) -> usize {
        self.block.memory()
    }
}
