//! One record cut into fields, and fields written: RFC 4180 within a line. A field is quoted if it
//! begins with a quote, unless no field is; a quote inside is doubled. Line breaks inside fields do not
//! exist here.

use std::ops::Range;

use memchr::memchr;

/// How the fields of a record are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// The byte between fields.
    pub separator: u8,
    /// Whether fields may be quoted; if not, a quote is a byte like any other.
    pub quotes: bool,
}

/// Where a field's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
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
pub enum FieldError {
    /// A quote is not closed.
    #[error("a quoted field does not end in its line")]
    Unclosed,
    /// A quote is closed in the middle of a field.
    #[error("text follows a closing quote")]
    AfterQuote,
}

impl Dialect {
    /// Reads the field that starts at `at`; gives its place and where the next field starts, if there is
    /// one.
    pub fn field(
        self,
        record: &[u8],
        at: usize,
        unescaped: &mut Vec<u8>,
    ) -> Result<(Place, Option<usize>), FieldError> {
        let rest = &record[at..];
        if !self.quotes || rest.first() != Some(&b'"') {
            return Ok(match memchr(self.separator, rest) {
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
                Some(&byte) if byte == self.separator => Some(quote + 2),
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
    pub fn all(self, record: &[u8]) -> Result<Vec<Vec<u8>>, FieldError> {
        let mut fields = Vec::new();
        let mut at = Some(0);
        let mut unescaped = Vec::new();
        while let Some(start) = at {
            let (place, next) = self.field(record, start, &mut unescaped)?;
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
    pub fn write_field(self, field: &[u8], out: &mut Vec<u8>) {
        if self.quotes && field.iter().any(|&byte| byte == self.separator || matches!(byte, b'"' | b'\n' | b'\r')) {
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
    pub fn write_fields<'a>(self, fields: impl IntoIterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
        for (index, field) in fields.into_iter().enumerate() {
            if index > 0 {
                out.push(self.separator);
            }
            self.write_field(field, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CSV: Dialect = Dialect { separator: b',', quotes: true };

    #[test]
    fn quoted_fields_hold_separators_and_doubled_quotes() {
        let check = |record: &str, expect: Result<&[&str], FieldError>| {
            let fields = CSV.all(record.as_bytes());
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

    #[test]
    fn without_quoting_a_quote_is_a_byte_like_any_other() {
        let dialect = Dialect { quotes: false, ..CSV };
        let fields: [&[u8]; 3] = [b"\"a", b"\"", b"b\"\"c"];
        assert_eq!(dialect.all(b"\"a,\",b\"\"c"), Ok(fields.map(<[u8]>::to_vec).to_vec()));
        let mut record = vec![];
        dialect.write_fields(fields, &mut record);
        assert_eq!(record, b"\"a,\",b\"\"c");
    }

    proptest! {
        #[test]
        fn written_fields_are_read_back(
            fields in proptest::collection::vec("[a,\"|\t ]{0,6}", 1..6), separator in proptest::sample::select(b",\t|".to_vec()),
        ) {
            let mut record = vec![];
            let dialect = Dialect { separator, quotes: true };
            dialect.write_fields(fields.iter().map(|field| field.as_bytes()), &mut record);
            let back = dialect.all(&record).expect("well formed");
            prop_assert_eq!(back, fields.iter().map(|field| field.as_bytes().to_vec()).collect::<Vec<_>>());
        }
    }
}
