//! Rows as they travel through the engine: made of files of columns for jobs that read them, and of what a
//! job puts for formats that write them. Values tell their own kind; what kind a column is to have is said
//! elsewhere.
//!
//! A row is its length in bytes as a little-endian `u32`, and then its values, one for each column. A value is
//! a tag and what belongs to it; *n* stands for LEB128, *z* for zigzag LEB128:
//!
//! | tag | value | then |
//! |---|---|---|
//! | 0 | not there: the file has no such column | |
//! | 1 | null | |
//! | 2, 3 | false, true | |
//! | 4, 5 | an integer of 64 bits, signed or not | *z*, *n* |
//! | 6, 7 | a float of 32 or 64 bits | its bits, little endian |
//! | 8 | a decimal number | digits behind the point, a byte; *z* |
//! | 9 | a date, in days since 1970 | *z* |
//! | 10 | a time of day, in nanoseconds | *n* |
//! | 11 | a timestamp | digits of its fraction of a second (0, 3, 6, 9), plus 128 if in UTC, a byte; *z* |
//! | 12, 13 | text in UTF-8, or bytes | length *n*; the bytes |
//! | 14 | a list | length in bytes, a `u32`; the values |
//! | 15 | a struct | the same, each value behind its name, which is text without a tag |
//! | 16 | a map | the same, each value behind its key |

use std::str;

use super::calendar::Timestamp;
use crate::decimal::Decimal;

/// Bytes of the length before a row.
const LENGTH_BYTES: usize = 4;

/// Lists, structs and maps inside one another. More are refused, since values are read recursively.
pub const MAX_DEPTH: usize = 64;

/// One value of a row, borrowed from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// The file has no such column.
    Absent,
    /// No value.
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A float of 32 bits.
    Float(f32),
    /// A float of 64 bits.
    Double(f64),
    /// An exact decimal number.
    Decimal(Decimal),
    /// Days since 1970.
    Date(i32),
    /// Nanoseconds since midnight.
    Time(u64),
    /// A point in time.
    Timestamp(Timestamp),
    /// Text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// Values.
    List(Items<'a>),
    /// Values with names.
    Struct(Items<'a>),
    /// Values with keys.
    Map(Items<'a>),
}

/// What a list, a struct or a map holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Items<'a>(&'a [u8]);

/// The values of a struct without their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unnamed<'a>(Items<'a>);

impl<'a> Unnamed<'a> {
    /// The next value.
    ///
    /// # Errors
    ///
    /// If the bytes are no value.
    pub fn next_value(&mut self) -> Result<Option<Value<'a>>, BadRow> {
        match self.0.next_name()? {
            Some(_) => self.0.next_value(),
            None => Ok(None),
        }
    }
}

/// A row that was not written here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a row")]
pub struct BadRow;

impl<'a> Items<'a> {
    /// The values of a row, without its length.
    pub fn of_row(framed: &'a [u8]) -> Result<Self, BadRow> {
        framed.get(LENGTH_BYTES..).map(Items).ok_or(BadRow)
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next value of a list or a row, or the next key or value of a map.
    ///
    /// # Errors
    ///
    /// If the bytes are no value.
    #[inline]
    pub fn next_value(&mut self) -> Result<Option<Value<'a>>, BadRow> {
        if self.0.is_empty() { Ok(None) } else { Value::decode(&mut self.0).map(Some) }
    }

    /// The values of a struct, each behind its name.
    pub fn unnamed(self) -> Unnamed<'a> {
        Unnamed(self)
    }

    /// The name of the next value of a struct.
    ///
    /// # Errors
    ///
    /// If the bytes are no name.
    #[inline]
    pub fn next_name(&mut self) -> Result<Option<&'a str>, BadRow> {
        if self.0.is_empty() { Ok(None) } else { text(&mut self.0).map(Some) }
    }
}

impl<'a> Value<'a> {
    /// Whether there is no value.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Absent | Value::Null)
    }

    /// Appends a value that holds no others, or a copy of one that does.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Value::Absent => out.push(0),
            Value::Null => out.push(1),
            Value::Bool(value) => out.push(2 + u8::from(value)),
            Value::Int(value) => tagged_zigzag(4, value, out),
            Value::Uint(value) => {
                out.push(5);
                write_varint(value.into(), out);
            }
            Value::Float(value) => {
                out.push(6);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Value::Double(value) => {
                out.push(7);
                out.extend_from_slice(&value.to_le_bytes());
            }
            Value::Decimal(Decimal { mantissa, scale }) => {
                out.extend_from_slice(&[8, scale]);
                write_varint(((mantissa << 1) ^ (mantissa >> 127)) as u128, out);
            }
            Value::Date(days) => tagged_zigzag(9, days.into(), out),
            Value::Time(nanos) => {
                out.push(10);
                write_varint(nanos.into(), out);
            }
            Value::Timestamp(Timestamp { units, digits, utc }) => {
                out.extend_from_slice(&[11, digits | (u8::from(utc) << 7)]);
                write_varint(zigzag(units).into(), out);
            }
            Value::Text(text) => write_text(12, text.as_bytes(), out),
            Value::Bytes(bytes) => write_text(13, bytes, out),
            Value::List(items) => write_items(14, items, out),
            Value::Struct(items) => write_items(15, items, out),
            Value::Map(items) => write_items(16, items, out),
        }
    }

    /// Decodes the next value and moves `input` past it.
    ///
    /// # Errors
    ///
    /// If the bytes are no value.
    #[inline]
    pub fn decode(input: &mut &'a [u8]) -> Result<Self, BadRow> {
        let (&tag, rest) = input.split_first().ok_or(BadRow)?;
        *input = rest;
        Ok(match tag {
            0 => Value::Absent,
            1 => Value::Null,
            2 => Value::Bool(false),
            3 => Value::Bool(true),
            4 => Value::Int(read_zigzag(input)?),
            5 => Value::Uint(read_varint(input)?),
            6 => Value::Float(f32::from_le_bytes(chunk(input)?)),
            7 => Value::Double(f64::from_le_bytes(chunk(input)?)),
            8 => {
                let [scale] = chunk(input)?;
                let zigzag = read_varint_128(input)?;
                Value::Decimal(Decimal { mantissa: (zigzag >> 1) as i128 ^ -((zigzag & 1) as i128), scale })
            }
            9 => Value::Date(read_zigzag(input)?.try_into().map_err(|_| BadRow)?),
            10 => Value::Time(read_varint(input)?),
            11 => {
                let [form] = chunk(input)?;
                Value::Timestamp(Timestamp { units: read_zigzag(input)?, digits: form & 0x7f, utc: form & 0x80 != 0 })
            }
            12 => Value::Text(text(input)?),
            13 => Value::Bytes(bytes(input)?),
            14 => Value::List(items(input)?),
            15 => Value::Struct(items(input)?),
            16 => Value::Map(items(input)?),
            _ => return Err(BadRow),
        })
    }
}

/// What is being appended and will hold others: a row, a list, a struct or a map.
#[derive(Debug)]
#[must_use = "its length is written when it ends"]
pub struct Open {
    start: usize,
}

impl Open {
    /// Begins a row.
    #[inline]
    pub fn row(out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(&[0; LENGTH_BYTES]);
        Self { start: out.len() }
    }

    /// Begins a list.
    pub fn list(out: &mut Vec<u8>) -> Self {
        out.push(14);
        Self::row(out)
    }

    /// Begins a struct, whose values each follow a [`name`].
    pub fn structure(out: &mut Vec<u8>) -> Self {
        out.push(15);
        Self::row(out)
    }

    /// Begins a map, whose values each follow a key.
    pub fn map(out: &mut Vec<u8>) -> Self {
        out.push(16);
        Self::row(out)
    }

    /// Ends it behind all that was appended since.
    ///
    /// # Panics
    ///
    /// If that are more than 4 GiB: a record is at most a quarter of an attempt's memory, and is checked.
    #[inline]
    pub fn end(self, out: &mut [u8]) {
        let length = u32::try_from(out.len() - self.start).expect("a record is far smaller than 4 GiB");
        out[self.start - LENGTH_BYTES..self.start].copy_from_slice(&length.to_le_bytes());
    }
}

/// Appends the name of the value that follows in a struct.
pub fn name(text: &str, out: &mut Vec<u8>) {
    write_varint(text.len() as u128, out);
    out.extend_from_slice(text.as_bytes());
}

/// Bytes of the row at the beginning of `bytes`, its length included; all of them if they hold no whole row.
#[inline]
pub fn framed_len(bytes: &[u8]) -> usize {
    let length = bytes.first_chunk::<LENGTH_BYTES>().map(|length| u32::from_le_bytes(*length) as usize);
    length.map_or(bytes.len(), |length| (length + LENGTH_BYTES).min(bytes.len()))
}

/// The longest prefix of whole rows.
pub fn whole_rows(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(length) = bytes[at..].first_chunk::<LENGTH_BYTES>() {
        let next = at + LENGTH_BYTES + u32::from_le_bytes(*length) as usize;
        if next > bytes.len() {
            break;
        }
        at = next;
    }
    at
}

#[inline]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
fn tagged_zigzag(tag: u8, value: i64, out: &mut Vec<u8>) {
    out.push(tag);
    write_varint(zigzag(value).into(), out);
}

#[inline]
fn write_text(tag: u8, text: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    write_varint(text.len() as u128, out);
    out.extend_from_slice(text);
}

fn write_items(tag: u8, items: Items<'_>, out: &mut Vec<u8>) {
    out.push(tag);
    let open = Open::row(out);
    out.extend_from_slice(items.0);
    open.end(out);
}

#[inline]
fn write_varint(mut value: u128, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[inline]
fn read_varint(input: &mut &[u8]) -> Result<u64, BadRow> {
    if let Some((&byte, rest)) = input.split_first()
        && byte < 0x80
    {
        *input = rest;
        return Ok(byte.into());
    }
    read_varint_128(input)?.try_into().map_err(|_| BadRow)
}

fn read_varint_128(input: &mut &[u8]) -> Result<u128, BadRow> {
    let mut value = 0_u128;
    for shift in (0..).step_by(7).take(19) {
        let [byte] = chunk(input)?;
        value |= u128::from(byte & 0x7f).checked_shl(shift).ok_or(BadRow)?;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(BadRow)
}

#[inline]
fn read_zigzag(input: &mut &[u8]) -> Result<i64, BadRow> {
    let zigzag = read_varint(input)?;
    Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
}

#[inline]
fn chunk<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], BadRow> {
    let (chunk, rest) = input.split_first_chunk().ok_or(BadRow)?;
    *input = rest;
    Ok(*chunk)
}

#[inline]
fn bytes<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], BadRow> {
    let length = usize::try_from(read_varint(input)?).map_err(|_| BadRow)?;
    let (bytes, rest) = input.split_at_checked(length).ok_or(BadRow)?;
    *input = rest;
    Ok(bytes)
}

#[inline]
fn text<'a>(input: &mut &'a [u8]) -> Result<&'a str, BadRow> {
    str::from_utf8(bytes(input)?).map_err(|_| BadRow)
}

fn items<'a>(input: &mut &'a [u8]) -> Result<Items<'a>, BadRow> {
    let length = u32::from_le_bytes(chunk(input)?) as usize;
    let (items, rest) = input.split_at_checked(length).ok_or(BadRow)?;
    *input = rest;
    Ok(Items(items))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(values: &[Value<'_>]) -> Vec<u8> {
        let mut out = vec![];
        let row = Open::row(&mut out);
        values.iter().for_each(|value| value.encode(&mut out));
        row.end(&mut out);
        out
    }

    fn decoded(row: &[u8]) -> Result<Vec<Value<'_>>, BadRow> {
        let (mut items, mut values) = (Items::of_row(row)?, vec![]);
        while let Some(value) = items.next_value()? {
            values.push(value);
        }
        Ok(values)
    }

    #[test]
    fn every_kind_of_value_comes_back() {
        let timestamp = Timestamp { units: -1, digits: 6, utc: true };
        let values = [
            Value::Absent,
            Value::Null,
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::Uint(u64::MAX),
            Value::Float(0.1),
            Value::Double(-0.0),
            Value::Decimal(Decimal { mantissa: i128::MIN, scale: 38 }),
            Value::Date(-719_162),
            Value::Time(86_399_999_999_999),
            Value::Timestamp(timestamp),
            Value::Text("é"),
            Value::Bytes(b"\xff\0"),
        ];
        let row = encoded(&values);
        assert_eq!(decoded(&row), Ok(values.to_vec()));
        assert_eq!((framed_len(&row), whole_rows(&row)), (row.len(), row.len()));
        for cut in 1..row.len() {
            assert!(whole_rows(&row[..cut]) == 0 && framed_len(&row[..cut]) == cut);
        }
    }

    #[test]
    fn values_hold_others() {
        let mut row = vec![];
        let open = Open::row(&mut row);
        let structure = Open::structure(&mut row);
        name("a", &mut row);
        let list = Open::list(&mut row);
        Value::Int(1).encode(&mut row);
        Value::Null.encode(&mut row);
        list.end(&mut row);
        name("b", &mut row);
        Value::Text("x").encode(&mut row);
        structure.end(&mut row);
        Value::Int(7).encode(&mut row);
        open.end(&mut row);

        let values = decoded(&row).expect("a row");
        let [Value::Struct(mut fields), Value::Int(7)] = values[..] else { panic!("{values:?}") };
        assert_eq!(fields.next_name(), Ok(Some("a")));
        let Ok(Some(Value::List(mut items))) = fields.next_value() else { panic!("a list") };
        assert_eq!(items.next_value(), Ok(Some(Value::Int(1))));
        assert_eq!(items.next_value(), Ok(Some(Value::Null)));
        assert_eq!(items.next_value(), Ok(None));
        assert_eq!((fields.next_name(), fields.next_value()), (Ok(Some("b")), Ok(Some(Value::Text("x")))));
        assert_eq!(encoded(&values), row, "a value is copied with what it holds");
    }

    proptest! {
        #[test]
        fn damaged_rows_are_refused_or_read_but_never_more(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decoded(&bytes);
            prop_assert!(whole_rows(&bytes) <= bytes.len() && framed_len(&bytes) <= bytes.len());
        }
    }
}
