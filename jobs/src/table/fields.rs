//! One record cut into fields, and fields written: RFC 4180 within a line. A field is quoted if it
//! begins with a quote; a quote inside is doubled. Line breaks inside fields do not exist here.

use std::ops::Range;

use memchr::memchr;

/// Where a field's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In the record.
    Record(Range<usize>),
    /// Among the unescaped bytes: the field had doubled quotes.
    Unescaped(Range<usize>),
}

impl Default for Place {
    fn default() -> Self {
        Place::Record(0..0)
    }
}

/// A record that is no row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FieldError {
    /// A quote is not closed.
    #[error("a quoted field does not end in its line")]
    Unclosed,
    /// A quote is closed in the middle of a field.
    #[error("text follows a closing quote")]
    AfterQuote,
}

/// Reads the field that starts at `at`; gives its place and where the next field starts, if there is
/// one.
pub(super) fn field(
    record: &[u8],
    at: usize,
    separator: u8,
    unescaped: &mut Vec<u8>,
) -> Result<(Place, Option<usize>), FieldError> {
    let rest = &record[at..];
    if rest.first() != Some(&b'"') {
        return Ok(match memchr(separator, rest) {
            Some(len) => (Place::Record(at..at + len), Some(at + len + 1)),
            None => (Place::Record(at..record.len()), None),
        });
    }
    let begin = unescaped.len();
    let mut from = at + 1;
    loop {
        let quote = from + memchr(b'"', &record[from..]).ok_or(FieldError::Unclosed)?;
        let next = match record.get(quote + 1) {
            Some(b'"') => {
                unescaped.extend_from_slice(&record[from..=quote]);
                from = quote + 2;
                continue;
            }
            Some(&byte) if byte == separator => Some(quote + 2),
            Some(_) => return Err(FieldError::AfterQuote),
            None => None,
        };
        if unescaped.len() == begin {
            return Ok((Place::Record(from..quote), next));
        }
        unescaped.extend_from_slice(&record[from..quote]);
        return Ok((Place::Unescaped(begin..unescaped.len()), next));
    }
}

/// All fields of a record.
pub(super) fn all(record: &[u8], separator: u8) -> Result<Vec<Vec<u8>>, FieldError> {
    let mut fields = Vec::new();
    let mut at = Some(0);
    let mut unescaped = Vec::new();
    while let Some(start) = at {
        let (place, next) = field(record, start, separator, &mut unescaped)?;
        fields.push(match place {
            Place::Record(range) => record[range].to_vec(),
            Place::Unescaped(range) => unescaped[range].to_vec(),
        });
        at = next;
    }
    Ok(fields)
}

/// Appends a field, quoted only where it must be.
#[inline]
pub(crate) fn write_field(field: &[u8], separator: u8, out: &mut Vec<u8>) {
    if field.iter().any(|&byte| byte == separator || matches!(byte, b'"' | b'\n' | b'\r')) {
        out.push(b'"');
        for piece in field.split_inclusive(|&byte| byte == b'"') {
            out.extend_from_slice(piece);
            if piece.ends_with(b"\"") {
                out.push(b'"');
            }
        }
        out.push(b'"');
    } else {
        out.extend_from_slice(field);
    }
}

/// Appends fields with separators between them.
pub(crate) fn write_fields<'a>(fields: impl IntoIterator<Item = &'a [u8]>, separator: u8, out: &mut Vec<u8>) {
    for (index, field) in fields.into_iter().enumerate() {
        if index > 0 {
            out.push(separator);
        }
        write_field(field, separator, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn quoted_fields_hold_separators_and_doubled_quotes() {
        let check = |record: &str, expect: Result<&[&str], FieldError>| {
            let fields = all(record.as_bytes(), b',');
            let fields = fields.map(|fields| fields.iter().map(|f| String::from_utf8_lossy(f).into_owned()).collect());
            assert_eq!(
                fields,
                expect.map(|fields| fields.iter().map(ToString::to_string).collect::<Vec<_>>()),
                "{record}"
            );
        };
        check("", Ok(&[""]));
        check("a,b", Ok(&["a", "b"]));
        check(",,", Ok(&["", "", ""]));
        check("\"a,b\",c", Ok(&["a,b", "c"]));
        check("\"\",\"\"\"\",x", Ok(&["", "\"", "x"]));
        check("\"say \"\"no\"\"\",2", Ok(&["say \"no\"", "2"]));
        check("a\"b,c", Ok(&["a\"b", "c"]));
        check("x,\"open", Err(FieldError::Unclosed));
        check("\"a\"b,c", Err(FieldError::AfterQuote));
    }

    proptest! {
        #[test]
        fn written_fields_are_read_back(
            fields in proptest::collection::vec("[a,\"|\t ]{0,6}", 1..6), separator in proptest::sample::select(b",\t|".to_vec()),
        ) {
            let mut record = vec![];
            write_fields(fields.iter().map(|field| field.as_bytes()), separator, &mut record);
            let back = all(&record, separator).expect("well formed");
            prop_assert_eq!(back, fields.iter().map(|field| field.as_bytes().to_vec()).collect::<Vec<_>>());
        }
    }
}
