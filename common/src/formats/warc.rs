//! Web archives (WARC 1.0 and 1.1, ISO 28500): records of a header and a body each. Compressed ones are read like
//! others: gzip with a member for each record is gzip of several members.
//!
//! A record is `WARC/1.` and a version, lines `Name: value`, an empty line, as many bytes as `Content-Length` says,
//! and two line ends. All line ends are CRLF; a lone LF is taken too.

use memchr::memmem;

use crate::framing::Framing;
use crate::input::{Input, Provenance, RecordError};
use crate::text::{LineRule, RecordSpan};

/// What every record begins with.
const MAGIC: &[u8] = b"WARC/";

/// The longest header. One that is longer is none.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// Records of web archives. Where one begins is told only by those before, so an object is one task.
///
/// # Examples
///
/// ```
/// use gristmill_common::prelude::*;
///
/// /// The addresses that were answered.
/// struct Answered;
///
/// impl MapOnly for Answered {
///     type Input = Warc;
///     type Output = Text<[u8]>;
///
///     fn map(&self, record: WarcRecord<'_>, out: &mut impl Sink<[u8]>) -> Result<()> {
///         match (record.field("WARC-Type"), record.field("WARC-Target-URI")) {
///             (Some(b"response"), Some(address)) => out.put(address, ()),
///             _ => Ok(()),
///         }
///     }
/// }
/// ```
#[derive(Debug)]
pub enum Warc {}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarcRecord<'a> {
    /// The lines `Name: value`, with their line ends.
    pub header: &'a [u8],
    /// What the record holds.
    pub body: &'a [u8],
}

impl<'a> WarcRecord<'a> {
    /// The value of the first field of this name, whatever the case of its letters.
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields().find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// Names and values in order.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.header.split(|&byte| byte == b'\n').filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            Some((line[..colon].trim_ascii(), line[colon + 1..].trim_ascii()))
        })
    }
}

impl Input for Warc {
    type Record<'a> = WarcRecord<'a>;

    fn decode<'a>(bytes: &'a [u8], _from: Provenance<'a>) -> Result<WarcRecord<'a>, RecordError> {
        let Head { header, body, content } = match head(bytes) {
            Found::Head(head) => head,
            Found::More | Found::Nothing => return Err(RecordError::new("not a WARC record")),
        };
        let content = content.ok_or_else(|| RecordError::new("the WARC record has no Content-Length"))?;
        let end = body.checked_add(content).filter(|end| *end <= bytes.len());
        let end = end.ok_or_else(|| {
            RecordError::new(format!("the WARC record is cut short: {} of {content} bytes", bytes.len() - body))
        })?;
        Ok(WarcRecord { header, body: &bytes[body..end] })
    }

    fn framing(_rule: &LineRule, _role: u32) -> Framing<'_> {
        Framing::Warc
    }
}

/// What stands before a body.
struct Head<'a> {
    header: &'a [u8],
    /// Where the body begins.
    body: usize,
    /// Its bytes, if the header tells.
    content: Option<usize>,
}

enum Found<'a> {
    Head(Head<'a>),
    /// More bytes would tell.
    More,
    /// No record begins here.
    Nothing,
}

/// The header of the record at the beginning of `bytes`.
fn head(bytes: &[u8]) -> Found<'_> {
    if !bytes.starts_with(&MAGIC[..bytes.len().min(MAGIC.len())]) {
        return Found::Nothing;
    }
    let window = &bytes[..bytes.len().min(MAX_HEADER_BYTES)];
    let ends = [
        memmem::find(window, b"\n\r\n").map(|at| (at + 1, at + 3)),
        memmem::find(window, b"\n\n").map(|at| (at + 1, at + 2)),
    ];
    let Some((end, body)) = ends.into_iter().flatten().min() else {
        return if window.len() == MAX_HEADER_BYTES { Found::Nothing } else { Found::More };
    };
    let fields = memchr::memchr(b'\n', bytes).map_or(end, |at| at + 1).min(end);
    let header = &bytes[fields..end];
    let content = WarcRecord { header, body: b"" }.field("Content-Length");
    let content = content.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
    Found::Head(Head { header, body, content })
}

/// Bytes of the record at the beginning of `bytes`, with the line ends behind it: all of them if it is none, and
/// nothing if more may follow that belong to it.
fn framed_len(bytes: &[u8]) -> Option<usize> {
    match head(bytes) {
        Found::Nothing | Found::Head(Head { content: None, .. }) => Some(bytes.len()),
        Found::More => None,
        Found::Head(Head { body, content: Some(content), .. }) => {
            let end = body.checked_add(content)?;
            let rest = bytes.get(end..)?;
            // Two line ends. More are passed over too, since whatever begins with one is no record.
            let ends = rest.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            (ends < rest.len()).then_some(end + ends)
        }
    }
}

/// The longest prefix of whole records.
pub fn whole_records(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        match framed_len(&bytes[at..]) {
            Some(length) => at += length,
            None => break,
        }
    }
    at
}

/// The record that starts at `start` in a block of whole records.
pub fn record_at(block: &[u8], start: usize) -> RecordSpan {
    let next = framed_len(&block[start..]).map_or(block.len(), |length| start + length);
    RecordSpan { end: next, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: &str, body: &str) -> String {
        format!("WARC/1.0\r\nWARC-Type: {kind}\r\ncontent-length: {}\r\n\r\n{body}\r\n\r\n", body.len())
    }

    #[test]
    fn records_end_where_their_length_says() {
        let archive = [record("warcinfo", ""), record("response", "a\r\n\r\nWARC/1.0\r\n\r\n"), record("request", "x")];
        let bytes = archive.concat().into_bytes();
        let mut at = 0;
        let mut found = vec![];
        while at < bytes.len() {
            let span = record_at(&bytes, at);
            let record = Warc::decode(&bytes[at..span.end], Provenance::new("a", 0, 0)).expect("a record");
            let kind = record.field("warc-type").expect("a type");
            found.push((String::from_utf8_lossy(kind).into_owned(), record.body.len()));
            at = span.next;
        }
        let expect = [("warcinfo", 0), ("response", 17), ("request", 1)].map(|(kind, size)| (kind.to_owned(), size));
        assert_eq!(found, expect);
        // A record is whole only once another one is seen to begin.
        let two = archive[0].len() + archive[1].len();
        assert_eq!((whole_records(&bytes), whole_records(&bytes[..two + 3])), (two, two));
        for cut in 0..archive[0].len() {
            assert_eq!(whole_records(&bytes[..cut]), 0, "{cut}");
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let check = |bytes: &str, expect: &str| {
            let error = Warc::decode(bytes.as_bytes(), Provenance::new("a", 0, 0)).expect_err("no record");
            assert_eq!(error.to_string(), expect);
        };
        check("HTTP/1.1 200\r\n\r\n", "not a WARC record");
        check("WARC/1.0\r\nA: b\r\n\r\nbody", "the WARC record has no Content-Length");
        check("WARC/1.0\r\nContent-Length: 9\r\n\r\nbody", "the WARC record is cut short: 4 of 9 bytes");
        assert_eq!(whole_records(b"GET / and no end"), 16, "it is handed on as it is, and refused");
    }
}
