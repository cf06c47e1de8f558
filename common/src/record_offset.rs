//! Where a record begins in an object's content, in 64 bits. Some blocks of compressed content are read
//! without what comes before them, so nobody knows how many bytes that is; their records are told apart
//! by the block, and rows of a file of columns by the row group. Finds no record.

use std::fmt;

/// Bits of the place in a block. A block of bzip2 holds at most 900,000 symbols, each of which stands for
/// less than 52 bytes, so that 26 bits hold every place in one.
const PLACE_BITS: u32 = 26;

/// Tells that the rest is a block and a place.
const IN_BLOCK: u64 = 1 << 63;

/// Tells that the rest is a row group and a place, if the bit before does not tell of a block.
const IN_ROW_GROUP: u64 = 1 << 62;

/// Bits of the place in a row group: rows as they are read, up to a tebibyte of them.
const ROW_PLACE_BITS: u32 = 40;

/// From this byte of an object on no block can be named.
pub const BLOCK_LIMIT: u64 = 1 << (63 - PLACE_BITS);

/// Where a record begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordOffset {
    /// So many bytes behind the beginning of the content.
    Content(u64),
    /// So many bytes behind the beginning of what a block holds.
    Block {
        /// Where the block begins in the object as it is stored; less than [`BLOCK_LIMIT`].
        block: u64,
        /// Less than 2^26.
        place: u64,
    },
    /// So many bytes of rows, as they are read, behind the beginning of a row group.
    RowGroup {
        /// Which, from 0 on; less than 2^22.
        group: u64,
        /// Less than 2^40.
        place: u64,
    },
}

impl RecordOffset {
    /// The number that says it; within one object records that follow each other have growing ones. What
    /// is beyond a limit is said as the largest that is not.
    pub fn bits(self) -> u64 {
        match self {
            RecordOffset::Content(offset) => offset.min(IN_ROW_GROUP - 1),
            RecordOffset::RowGroup { group, place } => {
                let group = group.min((1 << (62 - ROW_PLACE_BITS)) - 1);
                IN_ROW_GROUP | group << ROW_PLACE_BITS | place.min((1 << ROW_PLACE_BITS) - 1)
            }
            RecordOffset::Block { block, place } => {
                let place = place.min((1 << PLACE_BITS) - 1);
                IN_BLOCK | block.min(BLOCK_LIMIT - 1) << PLACE_BITS | place
            }
        }
    }

    /// What a number says.
    pub fn from_bits(bits: u64) -> Self {
        if bits & (IN_BLOCK | IN_ROW_GROUP) == 0 {
            return RecordOffset::Content(bits);
        }
        if bits & IN_BLOCK == 0 {
            let (group, place) = (bits & !IN_ROW_GROUP, bits & ((1 << ROW_PLACE_BITS) - 1));
            return RecordOffset::RowGroup { group: group >> ROW_PLACE_BITS, place };
        }
        RecordOffset::Block { block: (bits & !IN_BLOCK) >> PLACE_BITS, place: bits & ((1 << PLACE_BITS) - 1) }
    }
}

impl fmt::Display for RecordOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordOffset::Content(offset) => write!(f, "{offset}"),
            RecordOffset::Block { block, place } => write!(f, "byte {place} of the block at byte {block}"),
            RecordOffset::RowGroup { group, place } => write!(f, "byte {place} of the rows of row group {group}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_told_apart_and_read_back() {
        for offset in [
            RecordOffset::Content(0),
            RecordOffset::Content(u64::MAX >> 2),
            RecordOffset::RowGroup { group: 0, place: 0 },
            RecordOffset::RowGroup { group: (1 << 22) - 1, place: (1 << 40) - 1 },
            RecordOffset::Block { block: 0, place: 0 },
            RecordOffset::Block { block: 4, place: (1 << 26) - 1 },
            RecordOffset::Block { block: BLOCK_LIMIT - 1, place: 1 },
        ] {
            assert_eq!(RecordOffset::from_bits(offset.bits()), offset);
        }
        let before = RecordOffset::Block { block: 4, place: (1 << 26) - 1 }.bits();
        assert!(before < RecordOffset::Block { block: 5, place: 0 }.bits());
    }
}
