//! How records lie in spills and map outputs.
//!
//! ```text
//! file    := header run{partitions * runs} index trailer
//! header  := "GMSEGMT1" version:u16 value_format:u8 zero:u8 partitions:u32          16 bytes
//! run     := block*
//! block   := stored:u32 raw:u32 records:u32 codec:u32 checksum:u64 payload          24 bytes + stored
//! index   := { offset:u64 bytes:u64 records:u64 raw:u64 content_hash:u64 largest:u64 } per run
//! trailer := index_offset:u64 partitions:u32 runs-1:u32 checksum:u64 "GMSEGEND"     32 bytes
//! record  := key_len:varint value_len:varint key value
//! ```
//!
//! Integers are little endian. A file has the first runs of all partitions, then the second ones, and
//! so on; its index has them in the same order. The segment of a partition is its runs one behind the
//! other, in the order in which they were emitted: most files have one run of each. Since a run is
//! whole blocks, and the first block of a further one says so, a segment can be moved without being
//! read.
//!
//! `codec` is 0 (as is) or 1 (LZ4 block), plus 256 if the block's records are in no order, plus 512 if
//! the block is the first one of a second or later run. A block's checksum is XXH3-64 of the payload's
//! own XXH3-64 as eight bytes, seeded with the four fields before it; the trailer's is XXH3-64 of the
//! index, seeded with the index's offset. A record never spans blocks; a block holds about
//! [`BLOCK_BYTES`], or one larger record. Records of a run are sorted by key and, among equal keys, by
//! emission, unless its blocks say otherwise: then each key occurs once in it, and it is the only run.

mod block;
mod file;
mod finished;
mod pack;
mod reader;
#[cfg(test)]
mod tests;
mod varint;

pub(super) use block::{RecordRef, frame};
pub(super) use file::SegmentWriter;
pub use file::{MapOutput, SegmentRange};
pub use finished::Finished;
pub use pack::{MapOutputPack, MapOutputs};
pub(super) use reader::{Block, SegmentBlocks, SegmentCursor, Survey, survey};
pub(super) use varint::{push_varint, read_varint};

/// Raw bytes at which a block is closed. Larger blocks compress better and cost fewer reads, smaller
/// ones let a merge hold more segments in the same memory.
pub const BLOCK_BYTES: usize = 128 << 10;

/// How the records of a segment follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum RecordOrder {
    /// By key, and by emission among equal keys: segments can be merged.
    #[default]
    ByKey,
    /// In no order, each key once: whoever reads the segment folds by key.
    Unsorted,
}

/// A segment that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The file cannot be opened or read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are not what was written.
    #[error("{path} is damaged at byte {offset}: {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// Where.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
}

impl SegmentError {
    /// Whether the bytes are not there, or not what they were. False if they cannot be read for another
    /// reason, which may pass.
    pub fn is_loss(&self) -> bool {
        match self {
            SegmentError::Damaged { .. } => true,
            SegmentError::Read { source, .. } => {
                matches!(source.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof)
            }
        }
    }
}
