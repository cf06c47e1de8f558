//! What stands between records on the pipes of commands: how key and value are written for a command,
//! and found in what it writes.

use gristmill_common::job::{JobError, Result};
use memchr::{memchr, memchr2};
use serde::{Deserialize, Serialize};

use super::key_fields::find;
use super::typed_bytes;

/// How records look on a pipe; Hadoop's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) enum Format {
    /// Lines `key SEPARATOR value`.
    #[default]
    Text,
    /// Lines that are keys, with no value.
    KeyOnlyText,
    /// Key and value, each behind its length (`u32`, big endian).
    RawBytes,
    /// Key and value as typed bytes, which tell their own length.
    TypedBytes,
}

impl Format {
    /// The format of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::Text,
            "keyonlytext" => Self::KeyOnlyText,
            "rawbytes" => Self::RawBytes,
            "typedbytes" => Self::TypedBytes,
            _ => return None,
        })
    }

    /// Whether records are lines.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::KeyOnlyText)
    }
}

/// How records are written for a command, or found in its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// How they look.
    pub(super) format: Format,
    /// What parts key and value in lines, and fields of keys.
    pub(super) separator: Vec<u8>,
    /// How many fields of a line are its key.
    pub(super) key_fields: usize,
}

impl Shape {
    /// Appends a record. A key or value in typed bytes is handed over as such.
    #[inline]
    pub(super) fn write(&self, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
        match self.format {
            Format::Text => {
                out.extend_from_slice(key);
                out.extend_from_slice(&self.separator);
                out.extend_from_slice(value);
                out.push(b'\n');
            }
            Format::KeyOnlyText => {
                out.extend_from_slice(key);
                out.push(b'\n');
            }
            Format::RawBytes => {
                for bytes in [key, value] {
                    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
                    out.extend_from_slice(bytes);
                }
            }
            Format::TypedBytes => {
                out.extend_from_slice(key);
                out.extend_from_slice(value);
            }
        }
    }

    /// Key and value of a line without its end. One with fewer separators is a key with an empty value.
    #[inline]
    pub(super) fn divide<'l>(&self, line: &'l [u8]) -> (&'l [u8], &'l [u8]) {
        if self.format == Format::KeyOnlyText {
            return (line, &[]);
        }
        let mut from = 0;
        for field in 1.. {
            let Some(place) = find(&line[from..], &self.separator) else { break };
            if field >= self.key_fields {
                return (&line[..from + place], &line[from + place + self.separator.len()..]);
            }
            from += place + self.separator.len();
        }
        (line, &[])
    }

    /// Hands every whole record in `bytes` to `to`, at the end a last line without end too. Tells how many
    /// bytes that were.
    ///
    /// # Errors
    ///
    /// That of `to`; or the bytes are no such records.
    #[inline]
    pub(super) fn for_each(
        &self,
        bytes: &[u8],
        at_end: bool,
        mut to: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<usize> {
        match self.format {
            Format::Text if self.key_fields == 1 && self.separator.len() == 1 => {
                for_each_pair(bytes, self.separator[0], at_end, to)
            }
            Format::Text | Format::KeyOnlyText => for_each_line(bytes, at_end, |line| {
                let (key, value) = self.divide(line);
                to(key, value)
            }),
            Format::RawBytes => {
                let mut rest = bytes;
                while let Some((key, value, behind)) = raw_record(rest) {
                    to(key, value)?;
                    rest = behind;
                }
                Ok(bytes.len() - rest.len())
            }
            Format::TypedBytes => {
                let mut rest = bytes;
                while let Some((key, behind)) = typed_bytes::split(rest).map_err(JobError::new)? {
                    let Some((value, behind)) = typed_bytes::split(behind).map_err(JobError::new)? else { break };
                    to(key, value)?;
                    rest = behind;
                }
                Ok(bytes.len() - rest.len())
            }
        }
    }
}

/// The fast way through lines `key SEPARATOR value`: every byte is looked at once.
#[inline]
fn for_each_pair(
    bytes: &[u8],
    separator: u8,
    at_end: bool,
    mut to: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<usize> {
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (key, behind) = match memchr2(separator, b'\n', rest) {
            Some(place) if rest[place] == separator => (place, place + 1),
            Some(place) => {
                to(&rest[..place], &[])?;
                at += place + 1;
                continue;
            }
            None if at_end => (rest.len(), rest.len()),
            None => break,
        };
        let Some(value) = memchr(b'\n', &rest[behind..]).or(at_end.then_some(rest.len() - behind)) else { break };
        to(&rest[..key], &rest[behind..behind + value])?;
        at += (behind + value + 1).min(rest.len());
    }
    Ok(at)
}

/// Hands every whole line to `to`, at the end a last one without end too.
#[inline]
pub(super) fn for_each_line(bytes: &[u8], at_end: bool, mut to: impl FnMut(&[u8]) -> Result<()>) -> Result<usize> {
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let Some(end) = memchr(b'\n', rest).or(at_end.then_some(rest.len())) else { break };
        to(&rest[..end])?;
        at += (end + 1).min(rest.len());
    }
    Ok(at)
}

/// Key, value and what follows; `None` if they are not all there yet.
fn raw_record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let part = |bytes: &[u8]| {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        Some(rest.split_at_checked(u32::from_be_bytes(*length) as usize)?.0.len())
    };
    let key = part(bytes)?;
    let (key, rest) = bytes[4..].split_at(key);
    let value = part(rest)?;
    let (value, rest) = rest[4..].split_at(value);
    Some((key, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(shape: &Shape, bytes: &[u8]) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let mut all = Vec::new();
        shape
            .for_each(bytes, true, |key, value| {
                all.push((text(key), text(value)));
                Ok(())
            })
            .expect("records");
        // However the bytes arrive, the records are the same.
        for cut in 0..=bytes.len() {
            let mut seen = Vec::new();
            let mut to = |key: &[u8], value: &[u8]| {
                seen.push((text(key), text(value)));
                Ok(())
            };
            let taken = shape.for_each(&bytes[..cut], false, &mut to).expect("records");
            let rest = shape.for_each(&bytes[taken..], true, &mut to).expect("records");
            assert_eq!(taken + rest, bytes.len(), "cut at {cut}");
            assert_eq!(seen, all, "cut at {cut}");
        }
        all
    }

    #[test]
    fn lines_are_divided_at_separators() {
        let check = |format: Format, separator: &str, key_fields: usize, expect: &[(&str, &str)]| {
            let shape = Shape { format, separator: separator.as_bytes().to_vec(), key_fields };
            let seen = records(&shape, b"a,b;;c\n\nk\t1,\nlast");
            let seen: Vec<(&str, &str)> = seen.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            assert_eq!(seen, expect, "{separator:?} {key_fields}");
        };
        check(Format::Text, "\t", 1, &[("a,b;;c", ""), ("", ""), ("k", "1,"), ("last", "")]);
        check(Format::Text, ",", 1, &[("a", "b;;c"), ("", ""), ("k\\t1", ""), ("last", "")]);
        check(Format::Text, ";;", 1, &[("a,b", "c"), ("", ""), ("k\\t1,", ""), ("last", "")]);
        check(Format::Text, ";", 2, &[("a,b;", "c"), ("", ""), ("k\\t1,", ""), ("last", "")]);
        check(Format::KeyOnlyText, ",", 1, &[("a,b;;c", ""), ("", ""), ("k\\t1,", ""), ("last", "")]);
    }

    #[test]
    fn what_is_written_is_found_again() {
        let typed = |text: &str| typed_bytes::string(text.as_bytes());
        for format in [Format::Text, Format::RawBytes, Format::TypedBytes] {
            let shape = Shape { format, separator: b"\t".to_vec(), key_fields: 1 };
            let mut bytes = Vec::new();
            for (key, value) in [("a", "1"), ("", ""), ("b", "")] {
                match format {
                    Format::TypedBytes => shape.write(&typed(key), &typed(value), &mut bytes),
                    _ => shape.write(key.as_bytes(), value.as_bytes(), &mut bytes),
                }
            }
            let seen = records(&shape, &bytes);
            assert_eq!(seen.len(), 3, "{format:?}");
            if format != Format::TypedBytes {
                assert_eq!(seen[0], ("a".to_owned(), "1".to_owned()));
            }
        }
    }
}
