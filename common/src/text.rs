//! Where a text record begins and ends: the one rule that the split planner, the split reader, the
//! sequential reference and the tests share. Works on byte slices; reads nothing itself.
//!
//! A record belongs to the split that holds its first byte. [`LineRule::first_start`] finds the
//! first record start of a window, so a split `[a, b)` owns the bytes from the first start at or
//! after `a` to the first start at or after `b`, and any cut of a file yields the same records.

use std::fmt;
use std::str::FromStr;

use memchr::{memchr, memchr2, memchr2_iter, memmem, memrchr};
use serde::{Deserialize, Serialize};

/// The UTF-8 byte order mark that [`LineRule::Any`] drops at the start of a file.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What ends a text record.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineRule {
    /// LF ends a record; one CR before it (or at the very end of the file) is dropped.
    #[default]
    Lf,
    /// LF, CRLF or a lone CR ends a record and a leading byte order mark is dropped: the rule of
    /// Hadoop's `LineRecordReader`.
    Any,
    /// LF ends a record unless it stands between an odd double quote and the next one; one CR before it
    /// is dropped. For tables whose fields hold line ends (RFC 4180). Only reading from the start tells which
    /// those are, so files are not cut.
    Quoted,
    /// These bytes end a record; nothing else is dropped.
    Delimiter(Delimiter),
}

/// A record delimiter of at least one byte. Prints and parses with `\n \r \t \0 \\ \xHH` escapes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Delimiter(Vec<u8>);

/// Text that is not a delimiter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDelimiterError {
    /// Nothing was given.
    #[error("a delimiter needs at least one byte")]
    Empty,
    /// A backslash is followed by something else than `n r t 0 \ xHH`.
    #[error("unknown escape {escape:?} in the delimiter (known: \\n \\r \\t \\0 \\\\ \\xHH)")]
    UnknownEscape {
        /// The escape as given.
        escape: String,
    },
}

impl FromStr for Delimiter {
    type Err = ParseDelimiterError;

    fn from_str(text: &str) -> Result<Self, ParseDelimiterError> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if c != '\\' {
                bytes.extend_from_slice(&rest.as_bytes()[..c.len_utf8()]);
                rest = &rest[c.len_utf8()..];
                continue;
            }
            let unknown = || ParseDelimiterError::UnknownEscape { escape: rest.chars().take(4).collect() };
            let (byte, len) = match rest.as_bytes().get(1) {
                Some(b'n') => (b'\n', 2),
                Some(b'r') => (b'\r', 2),
                Some(b't') => (b'\t', 2),
                Some(b'0') => (0, 2),
                Some(b'\\') => (b'\\', 2),
                Some(b'x') => {
                    let digits = rest.get(2..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                    let byte = digits.and_then(|d| u8::from_str_radix(d, 16).ok()).ok_or_else(unknown)?;
                    (byte, 4)
                }
                _ => return Err(unknown()),
            };
            bytes.push(byte);
            rest = &rest[len..];
        }
        if bytes.is_empty() { Err(ParseDelimiterError::Empty) } else { Ok(Self(bytes)) }
    }
}

impl fmt::Display for Delimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in &self.0 {
            match byte {
                b'\n' => f.write_str("\\n")?,
                b'\r' => f.write_str("\\r")?,
                b'\t' => f.write_str("\\t")?,
                b'\\' => f.write_str("\\\\")?,
                0x20..=0x7e => write!(f, "{}", char::from(byte))?,
                _ => write!(f, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Delimiter {
    type Error = ParseDelimiterError;

    fn try_from(text: String) -> Result<Self, ParseDelimiterError> {
        text.parse()
    }
}

impl TryFrom<Vec<u8>> for Delimiter {
    type Error = ParseDelimiterError;

    /// Takes the bytes as they are, without escapes.
    fn try_from(bytes: Vec<u8>) -> Result<Self, ParseDelimiterError> {
        if bytes.is_empty() { Err(ParseDelimiterError::Empty) } else { Ok(Self(bytes)) }
    }
}

impl From<Delimiter> for String {
    fn from(delimiter: Delimiter) -> String {
        delimiter.to_string()
    }
}

impl Delimiter {
    /// The delimiter's bytes; never empty.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Where it first occurs.
    #[inline]
    fn find(&self, bytes: &[u8]) -> Option<usize> {
        match self.0.as_slice() {
            // Preparing the search for more bytes costs more than finding one.
            &[byte] => memchr(byte, bytes),
            more => memmem::find(bytes, more),
        }
    }

    /// Whether a proper prefix is also a suffix (`aa`, `abab`): then an occurrence in the middle of
    /// a file may not be a delimiter, and the file cannot be split.
    pub fn overlaps_itself(&self) -> bool {
        (1..self.0.len()).any(|n| self.0[..n] == self.0[self.0.len() - n..])
    }
}

/// One record inside a block of whole records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordSpan {
    /// Where the record's content ends (it starts where the search began).
    pub end: usize,
    /// Where the next record starts; the block's length after the last one.
    pub next: usize,
}

impl LineRule {
    /// Whether a file may be cut into several splits under this rule.
    pub fn is_splittable(&self) -> bool {
        match self {
            LineRule::Lf | LineRule::Any => true,
            LineRule::Quoted => false,
            LineRule::Delimiter(delimiter) => !delimiter.overlaps_itself(),
        }
    }

    /// How many bytes before a position decide whether a record starts there.
    pub fn look_behind(&self) -> usize {
        match self {
            LineRule::Lf | LineRule::Any | LineRule::Quoted => 1,
            LineRule::Delimiter(delimiter) => delimiter.0.len(),
        }
    }

    /// Bytes to drop at the start of a file that begins with `head`.
    pub fn preamble(&self, head: &[u8]) -> usize {
        match self {
            LineRule::Any if head.starts_with(BYTE_ORDER_MARK) => BYTE_ORDER_MARK.len(),
            LineRule::Lf | LineRule::Any | LineRule::Quoted | LineRule::Delimiter(_) => 0,
        }
    }

    /// The first position `p`, with `from <= p < window.len()`, at which a record starts.
    ///
    /// `window` must hold [`look_behind`](Self::look_behind) bytes before `from` (fewer at the start
    /// of the file, where position 0 is a start by definition and must not be asked for).
    pub fn first_start(&self, window: &[u8], from: usize) -> Option<usize> {
        match self {
            // Of a file that is not cut, the only stretch ends where the file does.
            LineRule::Quoted => None,
            LineRule::Lf => {
                let behind = from.checked_sub(1)?;
                memchr(b'\n', window.get(behind..)?).map(|i| behind + i + 1).filter(|&p| p < window.len())
            }
            LineRule::Any => {
                let mut at = from.checked_sub(1)?;
                loop {
                    at += memchr2(b'\n', b'\r', window.get(at..)?)?;
                    let start = at + 1;
                    let next = *window.get(start)?;
                    if window[at] == b'\n' || next != b'\n' {
                        return Some(start);
                    }
                    at = start; // The CR of a CRLF: the LF decides.
                }
            }
            LineRule::Delimiter(delimiter) => {
                let behind = from.saturating_sub(delimiter.0.len());
                let found = memmem::find(window.get(behind..)?, &delimiter.0)?;
                Some(behind + found + delimiter.0.len()).filter(|&p| p < window.len())
            }
        }
    }

    /// The longest prefix of `bytes` that surely consists of whole records, when `bytes` begins at
    /// a record start and more may follow.
    pub fn whole_records(&self, bytes: &[u8]) -> usize {
        match self {
            LineRule::Lf => memrchr(b'\n', bytes).map_or(0, |i| i + 1),
            LineRule::Quoted => {
                let mut quoted = false;
                let ends = memchr2_iter(b'"', b'\n', bytes).filter(|&at| {
                    quoted ^= bytes[at] == b'"';
                    !quoted && bytes[at] == b'\n'
                });
                ends.last().map_or(0, |at| at + 1)
            }
            LineRule::Any => {
                // A CR in last place may be half of a CRLF, so it decides nothing yet.
                let decided = bytes.strip_suffix(b"\r").unwrap_or(bytes);
                memchr::memrchr2(b'\n', b'\r', decided).map_or(0, |i| i + 1)
            }
            LineRule::Delimiter(delimiter) if delimiter.overlaps_itself() => {
                // Only reading from the start tells which occurrences are delimiters.
                memmem::find_iter(bytes, &delimiter.0).last().map_or(0, |i| i + delimiter.0.len())
            }
            LineRule::Delimiter(delimiter) => memmem::rfind(bytes, &delimiter.0).map_or(0, |i| i + delimiter.0.len()),
        }
    }

    /// The record that starts at `start` in `block`, a slice of whole records.
    ///
    /// # Panics
    ///
    /// If `start >= block.len()`.
    #[inline]
    pub fn record_at(&self, block: &[u8], start: usize) -> RecordSpan {
        let rest = &block[start..];
        match self {
            LineRule::Lf => line_ending_at(memchr(b'\n', rest), rest, start),
            LineRule::Quoted => {
                let mut quoted = false;
                let end = memchr2_iter(b'"', b'\n', rest).find(|&at| {
                    quoted ^= rest[at] == b'"';
                    !quoted && rest[at] == b'\n'
                });
                line_ending_at(end, rest, start)
            }
            LineRule::Any => match memchr2(b'\n', b'\r', rest) {
                Some(end) => {
                    let pair = rest[end] == b'\r' && rest.get(end + 1) == Some(&b'\n');
                    RecordSpan { end: start + end, next: start + end + 1 + usize::from(pair) }
                }
                None => RecordSpan { end: block.len(), next: block.len() },
            },
            LineRule::Delimiter(delimiter) => match delimiter.find(rest) {
                Some(end) => RecordSpan { end: start + end, next: start + end + delimiter.0.len() },
                None => RecordSpan { end: block.len(), next: block.len() },
            },
        }
    }

    /// All records of a whole file, in order.
    ///
    /// # Examples
    ///
    /// ```
    /// use gristmill_common::text::LineRule;
    ///
    /// let records: Vec<&[u8]> = LineRule::Lf.records(b"one\r\n\ntwo").collect();
    /// assert_eq!(records, [b"one".as_slice(), b"", b"two"]);
    /// ```
    pub fn records<'a>(&'a self, file: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + 'a {
        let mut start = self.preamble(file);
        std::iter::from_fn(move || {
            if start >= file.len() {
                return None;
            }
            let span = self.record_at(file, start);
            let record = &file[start..span.end];
            start = span.next;
            Some(record)
        })
    }
}

/// The line `rest`, which starts at `start` in its block and ends at an LF, if there is one.
#[inline]
fn line_ending_at(lf: Option<usize>, rest: &[u8], start: usize) -> RecordSpan {
    let (end, next) = lf.map_or((rest.len(), rest.len()), |i| (i, i + 1));
    let end = if end > 0 && rest[end - 1] == b'\r' { end - 1 } else { end };
    RecordSpan { end: start + end, next: start + next }
}

impl fmt::Display for LineRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LineRule::Lf => f.write_str("lf"),
            LineRule::Any => f.write_str("any"),
            LineRule::Quoted => f.write_str("quoted"),
            LineRule::Delimiter(delimiter) => write!(f, "delimiter {delimiter}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rules() -> Vec<LineRule> {
        let delimiter = |text: &str| LineRule::Delimiter(text.parse().expect("valid"));
        vec![LineRule::Lf, LineRule::Any, LineRule::Quoted, delimiter("\\n"), delimiter("ab"), delimiter("a")]
    }

    fn check(rule: &LineRule, file: &[u8], expect: &[&[u8]]) {
        assert_eq!(rule.records(file).collect::<Vec<_>>(), expect, "{rule} over {file:?}");
    }

    #[test]
    fn each_rule_ends_records_as_documented() {
        check(&LineRule::Lf, b"", &[]);
        check(&LineRule::Lf, b"\n", &[b""]);
        check(&LineRule::Lf, b"a\r\nb\r\r\nc\rd\n\re", &[b"a", b"b\r", b"c\rd", b"\re"]);
        check(&LineRule::Lf, b"end\r", &[b"end"]);
        check(&LineRule::Any, b"a\r\nb\r\r\nc\rd\n\re", &[b"a", b"b", b"", b"c", b"d", b"", b"e"]);
        check(&LineRule::Any, b"\xef\xbb\xbfx\ny", &[b"x", b"y"]);
        check(&LineRule::Any, b"\xef\xbb\xbf", &[]);
        let raw = LineRule::Delimiter("\\n".parse().expect("valid"));
        check(&raw, b"a\r\nb", &[b"a\r", b"b"]);
        let twice = LineRule::Delimiter("aa".parse().expect("valid"));
        check(&twice, b"xaaaya", &[b"x", b"aya"]);
        check(&LineRule::Quoted, b"a,\"b\nc\"\r\n\"\"\"\n\"\nd", &[b"a,\"b\nc\"", b"\"\"\"\n\"", b"d"]);
        check(&LineRule::Quoted, b"open \"\na\n", &[b"open \"\na\n"]);
    }

    #[test]
    fn delimiters_understand_escapes_and_print_them_back() {
        let ok = |text: &str, bytes: &[u8], shown: &str| {
            let delimiter: Delimiter = text.parse().expect(text);
            assert_eq!((delimiter.bytes(), delimiter.to_string().as_str()), (bytes, shown));
        };
        ok("\\n", b"\n", "\\n");
        ok("\\x00|\\t", b"\0|\t", "\\x00|\\t");
        ok("é", "é".as_bytes(), "\\xc3\\xa9");
        assert_eq!("".parse::<Delimiter>(), Err(ParseDelimiterError::Empty));
        for bad in ["\\", "\\q", "\\x1", "\\xzz", "\\x+1"] {
            assert!(bad.parse::<Delimiter>().is_err(), "{bad}");
        }
        assert!("abab".parse::<Delimiter>().expect("valid").overlaps_itself());
        assert!(!"ab".parse::<Delimiter>().expect("valid").overlaps_itself());
    }

    /// The records of `[from, to)` found the way a split reader does it.
    fn records_of_split(rule: &LineRule, file: &[u8], from: usize, to: usize) -> Vec<Vec<u8>> {
        let start_at = |p: usize, limit: usize| match p {
            0 => Some(rule.preamble(file)),
            _ => rule.first_start(&file[..limit], p),
        };
        let Some(start) = start_at(from, to) else { return vec![] };
        let end = start_at(to, file.len()).unwrap_or(file.len());
        let mut records = vec![];
        let mut at = start;
        while at < end {
            let span = rule.record_at(&file[..end], at);
            records.push(file[at..span.end].to_vec());
            at = span.next;
        }
        records
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_records(
            file in proptest::collection::vec(proptest::sample::select(b"ab\n\r\"\xef\xbb\xbf".to_vec()), 0..60),
            size in 1_usize..20,
        ) {
            for rule in rules() {
                let whole: Vec<Vec<u8>> = rule.records(&file).map(<[u8]>::to_vec).collect();
                let size = if rule.is_splittable() { size } else { file.len().max(1) };
                let cut: Vec<Vec<u8>> = (0..file.len())
                    .step_by(size)
                    .flat_map(|from| records_of_split(&rule, &file, from, (from + size).min(file.len())))
                    .collect();
                prop_assert_eq!(&cut, &whole, "{} in splits of {}", rule, size);
            }
        }

        #[test]
        fn whole_records_never_cut_a_record(
            file in proptest::collection::vec(proptest::sample::select(b"ab\n\r\"".to_vec()), 0..40),
            at in 0_usize..40,
        ) {
            for rule in rules() {
                let prefix = rule.whole_records(&file[..at.min(file.len())]);
                let mut both: Vec<&[u8]> = rule.records(&file[..prefix]).collect();
                let rest: Vec<&[u8]> = rule.records(&file[prefix..]).collect();
                both.extend(rest);
                prop_assert_eq!(both, rule.records(&file).collect::<Vec<_>>(), "{} cut at {}", rule, prefix);
            }
        }
    }
}
