//! One block: records packed behind a checksummed header, as `mod.rs` draws it.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{BLOCK_BYTES, RecordOrder, push_varint, read_varint};
use crate::engine::Compression;

/// Bytes of a block's header.
pub(super) const HEADER_BYTES: usize = 24;

const CODEC_RAW: u32 = 0;
const CODEC_LZ4: u32 = 1;

/// Bit of the codec field: the records are in no order.
const UNSORTED: u32 = 1 << 8;

/// Bit of the codec field: the block is the first one of a further run of its segment.
const BEGINS_RUN: u32 = 1 << 9;

/// A record as it lies in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in super::super) struct RecordRef<'a> {
    /// The encoded key.
    pub(in super::super) key: &'a [u8],
    /// The encoded value.
    pub(in super::super) value: &'a [u8],
}

/// Packs records into blocks at the end of a buffer, in place: an uncompressed record is copied once.
#[derive(Debug)]
pub(super) struct BlockPacker {
    /// Where the open block's records begin in the buffer, if there are any.
    body: usize,
    records: u32,
    packed: Vec<u8>,
    compression: Compression,
    order: RecordOrder,
    /// Whether the next block is the first one of a further run.
    begins_run: bool,
}

/// What [`BlockPacker::close`] wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ClosedBlock {
    /// Bytes with the header.
    pub(super) bytes: u64,
    pub(super) raw: u64,
    pub(super) records: u64,
    /// XXH3-64 of the raw bytes.
    pub(super) raw_hash: u64,
}

impl BlockPacker {
    pub(super) fn new(compression: Compression, order: RecordOrder) -> Self {
        Self { body: 0, records: 0, packed: Vec::new(), compression, order, begins_run: false }
    }

    /// Whether a record with this many bytes belongs into the next block.
    #[inline]
    pub(super) fn is_full_for(&self, record_bytes: usize, out: &[u8]) -> bool {
        self.records > 0 && out.len() - self.body + record_bytes > BLOCK_BYTES
    }

    /// Counts a record that is about to be appended to `out`.
    #[inline]
    fn begin_record(&mut self, out: &mut Vec<u8>) {
        if self.records == 0 {
            out.extend_from_slice(&[0; HEADER_BYTES]);
            self.body = out.len();
        }
        self.records += 1;
    }

    /// Adds a record whose lengths are already in front of it.
    #[inline]
    pub(super) fn push_framed(&mut self, record: &[u8], out: &mut Vec<u8>) {
        self.begin_record(out);
        out.extend_from_slice(record);
    }

    /// Adds a record.
    #[inline]
    pub(super) fn push(&mut self, record: RecordRef<'_>, out: &mut Vec<u8>) {
        self.begin_record(out);
        push_varint(record.key.len() as u32, out);
        push_varint(record.value.len() as u32, out);
        out.extend_from_slice(record.key);
        out.extend_from_slice(record.value);
    }

    /// Says whether the next block is the first one of a further run of its segment.
    pub(super) fn begin_segment(&mut self, further_run: bool) {
        self.begins_run = further_run;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Closes the block at the end of `out`; the next record begins a new one.
    pub(super) fn close(&mut self, out: &mut Vec<u8>) -> ClosedBlock {
        let raw = out.len() - self.body;
        let raw_hash = xxh3_64(&out[self.body..]);
        let (mut codec, mut payload_hash) = (CODEC_RAW, raw_hash);
        if self.compression == Compression::Lz4 {
            self.packed.resize(lz4_flex::block::get_maximum_output_size(raw), 0);
            let packed = lz4_flex::block::compress_into(&out[self.body..], &mut self.packed)
                .expect("the buffer has the size that LZ4 asks for");
            if packed <= raw - raw / 8 {
                codec = CODEC_LZ4;
                out.truncate(self.body);
                out.extend_from_slice(&self.packed[..packed]);
                payload_hash = xxh3_64(&self.packed[..packed]);
            }
        }
        if self.order == RecordOrder::Unsorted {
            codec |= UNSORTED;
        }
        if std::mem::take(&mut self.begins_run) {
            codec |= BEGINS_RUN;
        }
        let stored = out.len() - self.body;
        let fields = [stored as u32, raw as u32, self.records, codec];
        let header = &mut out[self.body - HEADER_BYTES..self.body];
        for (place, field) in header.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        header[16..].copy_from_slice(&checksum(fields, payload_hash).to_le_bytes());
        let closed = ClosedBlock {
            bytes: (HEADER_BYTES + stored) as u64,
            raw: raw as u64,
            records: u64::from(self.records),
            raw_hash,
        };
        self.records = 0;
        closed
    }
}

/// A parsed block header.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockHeader {
    fields: [u32; 4],
    checksum: u64,
}

impl BlockHeader {
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> Self {
        let field = |i: usize| u32::from_le_bytes([bytes[4 * i], bytes[4 * i + 1], bytes[4 * i + 2], bytes[4 * i + 3]]);
        let checksum = u64::from_le_bytes(*bytes.last_chunk().expect("24 bytes hold 8"));
        Self { fields: [field(0), field(1), field(2), field(3)], checksum }
    }

    /// Bytes of the payload as stored.
    pub(super) fn stored(&self) -> usize {
        self.fields[0] as usize
    }

    /// Bytes of the records.
    pub(super) fn raw(&self) -> usize {
        self.fields[1] as usize
    }

    /// The order of the records in the block.
    pub(super) fn order(&self) -> RecordOrder {
        if self.fields[3] & UNSORTED == 0 { RecordOrder::ByKey } else { RecordOrder::Unsorted }
    }

    /// Whether the block is the first one of a further run of its segment.
    pub(super) fn begins_run(&self) -> bool {
        self.fields[3] & BEGINS_RUN != 0
    }

    /// Checks the payload and makes `raw` its records. Nothing is allocated before the checksum has
    /// vouched for the lengths.
    ///
    /// # Errors
    ///
    /// What is wrong with the block.
    pub(super) fn open(&self, payload: &mut Vec<u8>, raw: &mut Vec<u8>) -> Result<(), &'static str> {
        if checksum(self.fields, xxh3_64(payload)) != self.checksum {
            return Err("a block's checksum does not match");
        }
        match self.fields[3] & !(UNSORTED | BEGINS_RUN) {
            CODEC_RAW if payload.len() == self.raw() => {
                std::mem::swap(payload, raw);
                Ok(())
            }
            CODEC_LZ4 => {
                raw.resize(self.raw(), 0);
                match lz4_flex::block::decompress_into(payload, raw) {
                    Ok(n) if n == self.raw() => Ok(()),
                    _ => Err("a block does not decompress"),
                }
            }
            _ => Err("a block's codec or length is unknown"),
        }
    }
}

/// The payload's hash bound to the fields, so that an uncompressed block is hashed once for checksum
/// and content.
fn checksum(fields: [u32; 4], payload_hash: u64) -> u64 {
    let low = u64::from(fields[0]) | u64::from(fields[1]) << 32;
    let high = u64::from(fields[2]) | u64::from(fields[3]) << 32;
    xxh3_64_with_seed(&payload_hash.to_le_bytes(), low ^ high.rotate_left(17))
}

/// The lengths in front of a record, for callers that keep records framed.
#[inline]
pub(in super::super) fn frame(key_len: usize, value_len: usize, out: &mut Vec<u8>) {
    push_varint(key_len as u32, out);
    push_varint(value_len as u32, out);
}

/// The record at `*at` of a block's raw bytes, and moves `*at` past it; `None` at a malformed one.
#[inline]
pub(super) fn record_at<'a>(raw: &'a [u8], at: &mut usize) -> Option<RecordRef<'a>> {
    let key_len = read_varint(raw, at)? as usize;
    let value_len = read_varint(raw, at)? as usize;
    let rest = raw.get(*at..)?;
    let (key, rest) = rest.split_at_checked(key_len)?;
    let value = rest.get(..value_len)?;
    *at += key_len + value_len;
    Some(RecordRef { key, value })
}
