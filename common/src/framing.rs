//! Where the records of an object begin and end, whatever they are: lines, stretches of one length, rows,
//! or the whole object. Where lines end is the business of `text.rs`.

use crate::formats::{row, warc};
use crate::text::{LineRule, RecordSpan};

/// Where records begin and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing<'a> {
    /// Where this rule says.
    Text(&'a LineRule),
    /// At every multiple of this many bytes from the start of an object, at least one.
    Length(usize),
    /// Where the object does: one record, unless it is empty.
    Whole,
    /// Where a WARC record's own length says. Only reading from the start of the object tells.
    Warc,
    /// Where the length before each [row](crate::formats::row) says; the length is part of the record.
    Rows,
}

impl Framing<'_> {
    /// Bytes to drop at the start of an object that begins with `head`.
    pub fn preamble(&self, head: &[u8]) -> usize {
        match self {
            Framing::Text(rule) => rule.preamble(head),
            Framing::Length(_) | Framing::Whole | Framing::Warc | Framing::Rows => 0,
        }
    }

    /// Whether the records of a piece of an object can be found without those before. Of other framings all
    /// records belong to the piece that begins the object.
    pub fn is_splittable(&self) -> bool {
        match self {
            Framing::Text(rule) => rule.is_splittable(),
            Framing::Length(_) => true,
            Framing::Whole | Framing::Warc | Framing::Rows => false,
        }
    }

    /// The longest prefix of `bytes` that surely consists of whole records, when `bytes` begins at a record
    /// start and more may follow.
    pub fn whole_records(&self, bytes: &[u8]) -> usize {
        match self {
            Framing::Text(rule) => rule.whole_records(bytes),
            Framing::Length(length) => bytes.len() - bytes.len() % length,
            Framing::Whole => 0,
            Framing::Warc => warc::whole_records(bytes),
            Framing::Rows => row::whole_rows(bytes),
        }
    }

    /// The record that starts at `start` in `block`, which begins where a record does. A last record
    /// of a fixed length may be cut short; its type refuses it.
    ///
    /// # Panics
    ///
    /// If `start >= block.len()`.
    #[inline]
    pub fn record_at(&self, block: &[u8], start: usize) -> RecordSpan {
        let all = |end: usize| RecordSpan { end, next: end };
        match self {
            Framing::Text(rule) => rule.record_at(block, start),
            Framing::Length(length) => {
                assert!(start < block.len(), "a record starts in the block");
                all(block.len().min(start + length))
            }
            Framing::Whole => {
                assert!(start < block.len(), "a record starts in the block");
                all(block.len())
            }
            Framing::Warc => warc::record_at(block, start),
            Framing::Rows => all(start + row::framed_len(&block[start..])),
        }
    }
}

/// What is wrong with a last record of fewer bytes than its type has.
pub fn cut_short(bytes: usize, length: usize) -> String {
    format!("it is cut short: {bytes} of {length} bytes")
}
