//! Delimited text (CSV, TSV): records typed by serde, their columns found by name in any order, or as plain fields.
//! How one record is cut into fields is `fields.rs`'s business, where records end the line rule's.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
};

use super::coerce::parse_bool;
use super::de::{NoValue, from_row};
use super::fields::{Dialect, Place};
use super::probe::fields_of;
use super::row::{Items, Unnamed, Value};
use super::text::write_plain;
use crate::input::{Columns, Input, Provenance, Reading, RecordError};
use crate::text::BYTE_ORDER_MARK;

/// What delimited text looks like. A type of your own may say it; most are here.
///
/// # Examples
///
/// ```
/// use gristmill_common::prelude::*;
///
/// /// Fields between bars, without a header.
/// enum Bars {}
///
/// impl Shape for Bars {
///     const SEPARATOR: u8 = b'|';
///     const HEADER: bool = false;
/// }
///
/// type Orders = Csv<(u64, String), Bars>;
/// ```
pub trait Shape: Send + Sync + 'static {
    /// The byte between fields.
    const SEPARATOR: u8 = b',';
    /// Whether the first record of each object names the columns.
    const HEADER: bool = true;
    /// Whether fields may be quoted.
    const QUOTES: bool = true;
    /// Text of a field that has no value, besides none at all.
    const NULL: &'static str = "";
}

/// Commas between fields, after a header.
#[derive(Debug)]
pub enum Commas {}

/// TABs between fields, after a header.
#[derive(Debug)]
pub enum Tabs {}

/// Commas between fields, and no header.
#[derive(Debug)]
pub enum Headerless {}

impl Shape for Commas {}

impl Shape for Tabs {
    const SEPARATOR: u8 = b'\t';
}

impl Shape for Headerless {
    const HEADER: bool = false;
}

fn dialect<S: Shape>() -> Dialect {
    Dialect { separator: S::SEPARATOR, quotes: S::QUOTES }
}

/// Rows of delimited text (RFC 4180) as values of `T`: as an input, what `T`'s `Deserialize` makes of each, as an
/// output, what its `Serialize` does.
///
/// The fields of a struct are found by the names in the header, in whatever order each file has its columns, and in
/// every split of it; without a header they are the columns in order. A field without a value is `None`, or what
/// `serde(default)` says if there is no such column. A tuple takes the columns in order, a map all of them.
/// A line end inside quotes is part of a field only under `--line-endings quoted`. Read over a Parquet file, its
/// columns are those of the file.
///
/// # Examples
///
/// ```
/// use gristmill_common::prelude::*;
/// use gristmill_common::reference::{ReferenceInput, run_map_only};
/// # use gristmill_common::text::LineRule;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Reading {
///     station: String,
///     celsius: Option<f64>,
/// }
///
/// /// Leaves out what was not measured.
/// struct Measured;
///
/// impl MapOnly for Measured {
///     type Input = Csv<Reading>;
///     type Output = Csv<Reading>;
///
///     fn map(&self, reading: Reading, out: &mut impl Sink<Reading>) -> Result<()> {
///         if reading.celsius.is_some() { out.put(reading, ()) } else { Ok(()) }
///     }
/// }
///
/// let objects: [(&str, &[u8]); 2] = [("a", b"celsius,station\n1.5,north\n,south\n"), ("b", b"station,celsius\n\"e,w\",2\n")];
/// let input = ReferenceInput { objects: &objects, rule: &LineRule::Lf, partitions: 1 };
/// assert_eq!(run_map_only(&Measured, &input)?.parts, [b"station,celsius\nnorth,1.5\n\"e,w\",2\n"]);
/// # Ok::<(), JobError>(())
/// ```
pub struct Csv<T, S = Commas>(PhantomData<fn() -> (T, S)>);

/// What the header of an object says: the place of each column.
#[derive(Debug)]
struct Header {
    names: Vec<String>,
}

impl Header {
    fn read(record: &[u8], dialect: Dialect) -> Result<Self, RecordError> {
        let refused = |reason: &dyn fmt::Display| RecordError::new(format!("the header: {reason}"));
        let fields = dialect.all(without_mark(record)).map_err(|error| refused(&error))?;
        let names = fields.into_iter().map(String::from_utf8).collect::<Result<Vec<_>, _>>();
        Ok(Self { names: names.map_err(|_| refused(&"it is not UTF-8"))? })
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|other| other == name)
    }
}

fn without_mark(record: &[u8]) -> &[u8] {
    record.strip_prefix(BYTE_ORDER_MARK).unwrap_or(record)
}

impl<T: DeserializeOwned + 'static, S: Shape> Input for Csv<T, S> {
    type Record<'a> = T;

    fn decode<'a>(bytes: &'a [u8], from: Provenance<'a>) -> Result<T, RecordError> {
        let undecodable = |error: NoValue| RecordError::new(error.to_string());
        if from.is_row {
            return from_row(bytes).map_err(undecodable);
        }
        let header = match from.heading {
            Some(heading) if S::HEADER => Some(heading.meaning(|record| Header::read(record, dialect::<S>()))?),
            None if S::HEADER => return Err(RecordError::new("the header of its file is not known")),
            _ => None,
        };
        let bytes = if from.offset == 0 { without_mark(bytes) } else { bytes };
        let row = TextRow::cut(bytes, dialect::<S>(), header, S::NULL)?;
        T::deserialize(&row).map_err(undecodable)
    }

    fn reading(_role: u32) -> Reading {
        Reading { heading: S::HEADER, columns: columns_of::<T>() }
    }

    #[inline]
    fn is_blank(bytes: &[u8], _role: u32) -> bool {
        bytes.is_empty()
    }
}

/// What a type takes of a file of columns.
pub(super) fn columns_of<T: DeserializeOwned>() -> Columns {
    fields_of::<T>().map_or(Columns::All, Columns::Named)
}

/// The fields of one record, and what they are called.
struct TextRow<'r> {
    record: &'r [u8],
    unescaped: Vec<u8>,
    /// Each field, and whether it was quoted.
    fields: Vec<(Place, bool)>,
    header: Option<&'r Header>,
    null: &'static str,
}

impl<'r> TextRow<'r> {
    fn cut(
        record: &'r [u8],
        dialect: Dialect,
        header: Option<&'r Header>,
        null: &'static str,
    ) -> Result<Self, RecordError> {
        let expected = header.map_or(8, |header| header.names.len());
        let mut row = Self { record, unescaped: Vec::new(), fields: Vec::with_capacity(expected), header, null };
        let mut at = Some(0);
        while let Some(start) = at {
            let quoted = dialect.quotes && record.get(start) == Some(&b'"');
            let (place, next) = dialect
                .field(record, start, &mut row.unescaped)
                .map_err(|error| RecordError::new(format!("field {}: {error}", row.fields.len() + 1)))?;
            row.fields.push((place, quoted));
            at = next;
        }
        Ok(row)
    }

    fn field(&self, index: usize) -> Option<Field<'_>> {
        let (place, quoted) = self.fields.get(index)?;
        let bytes = match place {
            Place::Record(range) => &self.record[range.clone()],
            Place::Unescaped(range) => &self.unescaped[range.clone()],
        };
        // The only field of a row is quoted even if there is no value: an empty line would be no row.
        let is_alone = self.fields.len() == 1;
        let is_null = bytes.is_empty() && (!quoted || is_alone) || !quoted && bytes == self.null.as_bytes();
        Some(Field { bytes, is_null })
    }

    /// The field of a struct that is the `index`th of its fields; none if there is no such column.
    fn named(&self, name: &str, index: usize) -> Result<Option<Field<'_>>, NoValue> {
        let place = match self.header {
            Some(header) => header.place(name),
            None => Some(index),
        };
        let Some(place) = place else { return Ok(None) };
        let short = || {
            let fields = self.fields.len();
            de::Error::custom(format!("the row ends after {fields} fields; column {name:?} is number {}", place + 1))
        };
        self.field(place).ok_or_else(short).map(Some)
    }
}

impl<'de> Deserializer<'de> for &TextRow<'_> {
    type Error = NoValue;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        match self.header {
            Some(header) => visitor.visit_map(NamedFields { row: self, names: header.names.iter(), index: 0 }),
            None => visitor.visit_seq(AllFields { row: self, index: 0 }),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        visitor.visit_map(StructFields { row: self, fields: fields.iter().enumerate(), next: None })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_seq(AllFields { row: self, index: 0 })
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, NoValue> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_some(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct map enum
        identifier ignored_any
    }
}

/// The fields of a struct, by name.
struct StructFields<'r, I> {
    row: &'r TextRow<'r>,
    fields: I,
    next: Option<(&'static str, Field<'r>)>,
}

impl<'de, I: Iterator<Item = (usize, &'static &'static str)>> MapAccess<'de> for StructFields<'_, I> {
    type Error = NoValue;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, NoValue> {
        for (index, name) in self.fields.by_ref() {
            if let Some(field) = self.row.named(name, index)? {
                self.next = Some((name, field));
                let name: de::value::StrDeserializer<'_, NoValue> = (*name).into_deserializer();
                return seed.deserialize(name).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, NoValue> {
        let (name, field) = self.next.take().expect("a value is asked for behind its key");
        seed.deserialize(field).map_err(|error| error.of_column(name))
    }
}

/// All fields of a record with the names of the header.
struct NamedFields<'r> {
    row: &'r TextRow<'r>,
    names: std::slice::Iter<'r, String>,
    index: usize,
}

impl<'de> MapAccess<'de> for NamedFields<'_> {
    type Error = NoValue;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, NoValue> {
        let Some(name) = self.names.next() else { return Ok(None) };
        self.index += 1;
        let name: de::value::StrDeserializer<'_, NoValue> = name.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, NoValue> {
        let field = self.row.field(self.index - 1);
        seed.deserialize(field.unwrap_or(Field { bytes: b"", is_null: true }))
    }
}

/// All fields of a record.
struct AllFields<'r> {
    row: &'r TextRow<'r>,
    index: usize,
}

impl<'de> SeqAccess<'de> for AllFields<'_> {
    type Error = NoValue;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, NoValue> {
        let Some(field) = self.row.field(self.index) else { return Ok(None) };
        self.index += 1;
        seed.deserialize(field).map(Some).map_err(|error| error.of_column(&self.index.to_string()))
    }
}

/// One field.
#[derive(Debug, Clone, Copy)]
struct Field<'f> {
    bytes: &'f [u8],
    /// Whether it has no value.
    is_null: bool,
}

impl<'f> Field<'f> {
    fn text(self) -> Result<&'f str, NoValue> {
        std::str::from_utf8(self.bytes).map_err(|_| de::Error::custom("it is not UTF-8"))
    }

    #[cold]
    fn unlike(self, what: &str) -> NoValue {
        let shown = self.bytes[..self.bytes.len().min(60)].escape_ascii();
        de::Error::custom(format!("\"{shown}\" is no {what}"))
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $type:ty)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
            let value = self.text()?.parse::<$type>().map_err(|_| self.unlike(stringify!($type)))?;
            visitor.$visit(value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Field<'_> {
    type Error = NoValue;

    parsed! {
        deserialize_i8 visit_i8 i8 deserialize_i16 visit_i16 i16 deserialize_i32 visit_i32 i32 deserialize_i64 visit_i64 i64
        deserialize_i128 visit_i128 i128 deserialize_u8 visit_u8 u8 deserialize_u16 visit_u16 u16 deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64 deserialize_u128 visit_u128 u128 deserialize_f32 visit_f32 f32
        deserialize_f64 visit_f64 f64 deserialize_char visit_char char
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        if self.is_null { visitor.visit_unit() } else { self.deserialize_str(visitor) }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_bool(parse_bool(self.text()?).ok_or_else(|| self.unlike("bool"))?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_bytes(self.bytes)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        if self.is_null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        if self.is_null { visitor.visit_unit() } else { Err(self.unlike("empty field")) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, NoValue> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        self.as_json(|json| json.deserialize_seq(visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, NoValue> {
        self.as_json(|json| json.deserialize_tuple(len, visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        self.as_json(|json| json.deserialize_tuple_struct(name, len, visitor))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        self.as_json(|json| json.deserialize_map(visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        self.as_json(|json| json.deserialize_struct(name, fields, visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        let name: de::value::StrDeserializer<'_, NoValue> = self.text()?.into_deserializer();
        visitor.visit_enum(name)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_unit()
    }
}

impl Field<'_> {
    /// Reads what holds several values, which stands in a field as JSON.
    fn as_json<R>(
        self,
        read: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::IoRead<&[u8]>>) -> serde_json::Result<R>,
    ) -> Result<R, NoValue> {
        // A reader lends nothing, which no lifetime here would allow.
        let mut json = serde_json::Deserializer::from_reader(self.bytes);
        let value = read(&mut json).and_then(|value| json.end().map(|()| value));
        value.map_err(|error| de::Error::custom(format!("it is not the JSON that is wanted: {error}")))
    }
}

/// Rows of delimited text as plain fields: nothing is looked for by name.
///
/// # Examples
///
/// ```
/// use gristmill_common::prelude::*;
///
/// /// Counts the hosts of a log of the form `host,time,…`.
/// struct Hosts;
///
/// impl MapReduce for Hosts {
///     type Input = Delimited<Headerless>;
/// #   type Key = [u8];
/// #   type Value = u64;
/// #   type Combine = Sum;
/// #   type Output = Text<[u8], u64>;
///     // ...
///     fn map(&self, mut fields: Fields<'_>, out: &mut impl Emit<[u8], u64>) -> Result<()> {
///         match fields.next() {
///             Some(host) => out.emit(&host?, 1),
///             None => Ok(()),
///         }
///     }
/// #   fn reduce(&self, host: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
/// #       out.put(host, counts.sum())
/// #   }
/// }
/// ```
pub struct Delimited<S = Commas>(PhantomData<fn() -> S>);

/// The fields of one row, in order.
#[derive(Debug, Clone)]
pub struct Fields<'a>(FieldsOf<'a>);

#[derive(Debug, Clone)]
enum FieldsOf<'a> {
    Text { record: &'a [u8], at: Option<usize>, dialect: Dialect },
    Row(Unnamed<'a>),
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Cow<'a, [u8]>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            FieldsOf::Text { record, at, dialect } => {
                let mut unescaped = Vec::new();
                let field = dialect.field(record, (*at)?, &mut unescaped);
                *at = field.as_ref().ok().and_then(|(_, next)| *next);
                Some(match field {
                    Ok((Place::Record(range), _)) => Ok(Cow::Borrowed(&record[range])),
                    Ok((Place::Unescaped(_), _)) => Ok(Cow::Owned(unescaped)),
                    Err(error) => Err(RecordError::new(error.to_string())),
                })
            }
            FieldsOf::Row(items) => match items.next_value() {
                Ok(None) => None,
                Ok(Some(Value::Text(text))) => Some(Ok(Cow::Borrowed(text.as_bytes()))),
                Ok(Some(value)) => {
                    let mut text = Vec::new();
                    write_plain(&value, &mut text);
                    Some(Ok(Cow::Owned(text)))
                }
                Err(error) => Some(Err(RecordError::new(error.to_string()))),
            },
        }
    }
}

impl<S: Shape> Input for Delimited<S> {
    type Record<'a> = Fields<'a>;

    #[inline]
    fn decode<'a>(bytes: &'a [u8], from: Provenance<'a>) -> Result<Fields<'a>, RecordError> {
        if from.is_row {
            let mut items = Items::of_row(bytes).map_err(|error| RecordError::new(error.to_string()))?;
            return match items.next_value() {
                Ok(Some(Value::Struct(named))) if items.is_empty() => Ok(Fields(FieldsOf::Row(named.unnamed()))),
                _ => Err(RecordError::new("a row without names")),
            };
        }
        let record = if from.offset == 0 { without_mark(bytes) } else { bytes };
        Ok(Fields(FieldsOf::Text { record, at: Some(0), dialect: dialect::<S>() }))
    }

    fn reading(_role: u32) -> Reading {
        Reading { heading: S::HEADER, columns: Columns::All }
    }

    #[inline]
    fn is_blank(bytes: &[u8], _role: u32) -> bool {
        bytes.is_empty()
    }
}

/// What is written, and how null differs from empty text, is tested where outputs are.
#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::super::types::{Date, Fixed};
    use super::*;
    use crate::heading::Heading;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Row {
        id: u64,
        #[serde(default)]
        name: String,
        price: Option<Fixed<8, 2>>,
        day: Option<Date>,
        tags: Option<Vec<String>>,
    }

    fn read<T: DeserializeOwned + 'static, S: Shape>(header: &str, record: &str) -> Result<T, String> {
        let heading = Heading::new(header.as_bytes().to_vec());
        let from = Provenance::new("a.csv", 7, 0).under(Some(&heading));
        Csv::<T, S>::decode(record.as_bytes(), from).map_err(|error| error.to_string())
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let row = |record: &str| read::<Row, Commas>("day,x,price,id,tags", record);
        let expect = Row {
            id: 7,
            name: String::new(),
            price: Some("12.50".parse().expect("a price")),
            day: None,
            tags: Some(vec!["a".to_owned(), "b".to_owned()]),
        };
        assert_eq!(row(r#",y,12.5,7,"[""a"",""b""]""#), Ok(expect));
        let check = |record: &str, expect: &str| assert_eq!(row(record), Err(expect.to_owned()), "{record}");
        check("2026-02-30,,,1,", "column \"day\": \"2026-02-30\" is no date");
        check(",,,x,", "column \"id\": \"x\" is no u64");
        check(",,,,", "column \"id\": \"\" is no u64");
        check(",,1.005,1,", "column \"price\": \"1.005\" is no decimal number of so many digits");
        check(",", "the row ends after 2 fields; column \"id\" is number 4");
        check("\"a\"b", "field 1: text follows a closing quote");
        check("a,\"b", "field 2: a quoted field does not end in its line");
        let error = read::<Row, Commas>("name", "x").expect_err("no id");
        assert_eq!(error, "there is no column \"id\"");
        assert_eq!(
            read::<Row, Commas>("\"", "x").expect_err("no header"),
            "the header: a quoted field does not end in its line"
        );
    }

    #[test]
    fn quoted_fields_are_text_and_never_null() {
        type Pair = (Option<String>, Option<String>);
        enum Na {}
        impl Shape for Na {
            const NULL: &'static str = "NA";
        }
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(read::<Pair, Na>("a,b", ",\"\""), Ok((None, some(""))));
        assert_eq!(read::<Pair, Na>("a,b", "NA,\"NA\""), Ok((None, some("NA"))));
        assert_eq!(read::<Pair, Na>("a,b", "\"x\ny\",\"\"\"\""), Ok((some("x\ny"), some("\""))));
        let map = read::<BTreeMap<String, Option<String>>, Tabs>("a\tb", "1\t").expect("a map");
        assert_eq!(map, [("a".to_owned(), some("1")), ("b".to_owned(), None)].into());
    }

    #[test]
    fn without_a_header_columns_are_taken_in_order() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Pair {
            a: bool,
            b: char,
        }
        let from = Provenance::new("a.csv", 0, 0);
        assert_eq!(Csv::<Pair, Headerless>::decode(b"\xef\xbb\xbftrue,x", from), Ok(Pair { a: true, b: 'x' }));
        let error = Csv::<Pair>::decode(b"true,x", from).expect_err("no header");
        assert_eq!(error.to_string(), "the header of its file is not known");
    }

    proptest! {
        #[test]
        fn fields_are_those_that_were_written(fields in proptest::collection::vec("[a,\"\r\n ]{0,5}", 1..6)) {
            let mut record = vec![];
            dialect::<Commas>().write_fields(fields.iter().map(String::as_bytes), &mut record);
            let found = Delimited::<Headerless>::decode(&record, Provenance::new("a", 1, 0)).expect("a row");
            let found: Vec<Vec<u8>> = found.map(|field| field.expect("a field").into_owned()).collect();
            prop_assert_eq!(found, fields.iter().map(|field| field.as_bytes().to_vec()).collect::<Vec<_>>());
            let typed: Vec<String> = read::<_, Headerless>("", std::str::from_utf8(&record).expect("text")).expect("a row");
            prop_assert_eq!(typed, fields);
        }
    }
}
