//! What serde is handed of a row: a struct whose fields are its values, in the order of their columns. A value is
//! what the type asks for as long as nothing is lost by it: a decimal number may be asked for as text, as a float,
//! or as an integer if it is one; a timestamp as text, or as its count.

use std::fmt::Display;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
};

use super::calendar::Timestamp;
use super::coerce;
use super::row::{BadRow, Items, Value};
use super::schema::Kind;
use super::text::write_plain;
use super::types::{DATE, INSTANT, digits_of_name};

/// A row that is no value of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoValue {
    reason: String,
    /// The column, once it is known.
    column: Option<String>,
}

impl Display for NoValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.column {
            Some(column) => write!(f, "column {column:?}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for NoValue {}

impl de::Error for NoValue {
    fn custom<T: Display>(message: T) -> Self {
        NoValue { reason: message.to_string(), column: None }
    }

    fn missing_field(field: &'static str) -> Self {
        NoValue { reason: format!("there is no column {field:?}"), column: None }
    }
}

impl From<BadRow> for NoValue {
    fn from(error: BadRow) -> Self {
        de::Error::custom(error)
    }
}

impl NoValue {
    /// The same in this column, or inside it.
    pub(super) fn of_column(mut self, name: &str) -> Self {
        self.column = Some(match self.column {
            Some(inner) => format!("{name}.{inner}"),
            None => name.to_owned(),
        });
        self
    }
}

/// The value that a row is. Of a row without names the fields are those that the type asks for, in that order;
/// a row of one struct has them with their names.
///
/// # Errors
///
/// If it is none; names the column.
pub fn from_row<T: DeserializeOwned>(framed: &[u8]) -> Result<T, NoValue> {
    T::deserialize(Row { items: Items::of_row(framed)? })
}

/// A whole row.
struct Row<'a> {
    items: Items<'a>,
}

impl<'a> Row<'a> {
    /// The only value, if the row is one.
    fn only(self) -> Result<Of<'a>, NoValue> {
        let mut items = self.items;
        let value = items.next_value()?.unwrap_or(Value::Absent);
        match items.is_empty() {
            true => Ok(Of(value)),
            false => Err(de::Error::custom("the row has several columns, and the type takes one value")),
        }
    }
}

macro_rules! of_the_only_value {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
            self.only()?.$method(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for Row<'de> {
    type Error = NoValue;

    of_the_only_value! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_option
        deserialize_unit deserialize_map deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        let mut items = self.items;
        if let Ok(Some(Value::Struct(named))) = items.next_value()
            && items.is_empty()
            && fields.len() != 1
        {
            return Of(Value::Struct(named)).deserialize_struct(name, fields, visitor);
        }
        visitor.visit_map(Positional { items: self.items, fields: fields.iter(), name: "" })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_seq(Elements(self.items))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_seq(Elements(self.items))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        visitor.visit_seq(Elements(self.items))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, NoValue> {
        if matches!(name, DATE | INSTANT) || digits_of_name(name).is_some() {
            return self.only()?.deserialize_newtype_struct(name, visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, NoValue> {
        self.only()?.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }
}

/// The values of a row for the fields of a struct, one by one.
struct Positional<'a> {
    items: Items<'a>,
    fields: std::slice::Iter<'static, &'static str>,
    /// The field in hand.
    name: &'static str,
}

impl<'de> MapAccess<'de> for Positional<'de> {
    type Error = NoValue;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, NoValue> {
        loop {
            let Some(name) = self.fields.next() else { return Ok(None) };
            let mut rest = self.items;
            match rest.next_value()? {
                None => return Ok(None),
                Some(Value::Absent) => self.items = rest,
                Some(_) => {
                    self.name = name;
                    let key: StrDeserializer<'_, NoValue> = (*name).into_deserializer();
                    return seed.deserialize(key).map(Some);
                }
            }
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, NoValue> {
        let value = self.items.next_value()?.unwrap_or(Value::Absent);
        seed.deserialize(Of(value)).map_err(|error| error.of_column(self.name))
    }
}

/// The elements of a list, or the values of a row.
struct Elements<'a>(Items<'a>);

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = NoValue;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, NoValue> {
        let Some(value) = self.0.next_value()? else { return Ok(None) };
        seed.deserialize(Of(value)).map(Some)
    }
}

/// The fields of a struct with their names.
struct Named<'a> {
    items: Items<'a>,
    name: &'a str,
}

impl<'de> MapAccess<'de> for Named<'de> {
    type Error = NoValue;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, NoValue> {
        let Some(name) = self.items.next_name()? else { return Ok(None) };
        self.name = name;
        seed.deserialize(de::value::BorrowedStrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, NoValue> {
        let value = self.items.next_value()?.ok_or(BadRow)?;
        seed.deserialize(Of(value)).map_err(|error| error.of_column(self.name))
    }
}

/// The keys and values of a map.
struct Entries<'a>(Items<'a>);

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = NoValue;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, NoValue> {
        let Some(key) = self.0.next_value()? else { return Ok(None) };
        seed.deserialize(Of(key)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, NoValue> {
        seed.deserialize(Of(self.0.next_value()?.ok_or(BadRow)?))
    }
}

/// One value.
struct Of<'a>(Value<'a>);

impl Of<'_> {
    /// The value as text.
    fn text(&self) -> String {
        let mut text = Vec::new();
        write_plain(&self.0, &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    #[cold]
    fn unlike(&self, what: &str) -> NoValue {
        let shown = match self.0 {
            Value::Absent | Value::Null => "null".to_owned(),
            _ => format!("{:?}", self.text().chars().take(60).collect::<String>()),
        };
        de::Error::custom(format!("{shown} is no {what}"))
    }

    /// The integer that it is, or what counts a time.
    fn integer(&self, what: &str) -> Result<i128, NoValue> {
        let count = match self.0 {
            Value::Int(value) => return Ok(value.into()),
            Value::Date(days) => Some(days.into()),
            Value::Timestamp(Timestamp { units, .. }) => Some(units.into()),
            Value::Time(nanos) => Some(nanos.into()),
            // What was written as text is read as such.
            Value::Text(_) => None,
            ref value => coerce::to_integer(value),
        };
        count.ok_or_else(|| self.unlike(what))
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ty)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
            let value = self.integer(stringify!($type))?;
            visitor.$visit(<$type>::try_from(value).map_err(|_| self.unlike(stringify!($type)))?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Of<'de> {
    type Error = NoValue;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        match self.0 {
            Value::Absent | Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(value),
            Value::Int(value) => visitor.visit_i64(value),
            Value::Uint(value) => visitor.visit_u64(value),
            Value::Float(value) => visitor.visit_f32(value),
            Value::Double(value) => visitor.visit_f64(value),
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            Value::Decimal(_) | Value::Date(_) | Value::Time(_) | Value::Timestamp(_) => {
                visitor.visit_string(self.text())
            }
            Value::List(items) => visitor.visit_seq(Elements(items)),
            Value::Struct(items) => visitor.visit_map(Named { items, name: "" }),
            Value::Map(items) => visitor.visit_map(Entries(items)),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8 deserialize_i16 visit_i16 i16 deserialize_i32 visit_i32 i32 deserialize_i64 visit_i64 i64
        deserialize_i128 visit_i128 i128 deserialize_u8 visit_u8 u8 deserialize_u16 visit_u16 u16 deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64 deserialize_u128 visit_u128 u128
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        match self.0 {
            Value::Bool(value) => visitor.visit_bool(value),
            _ => Err(self.unlike("bool")),
        }
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        match self.0 {
            Value::Float(value) => visitor.visit_f32(value),
            _ => self.deserialize_f64(visitor),
        }
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        match self.0 {
            Value::Double(value) => visitor.visit_f64(value),
            Value::Text(_) => Err(self.unlike("float")),
            ref value => visitor.visit_f64(coerce::to_double(value).ok_or_else(|| self.unlike("float"))?),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        match self.0 {
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => visitor.visit_borrowed_str(text),
                Err(_) => Err(self.unlike("text in UTF-8")),
            },
            Value::Absent | Value::Null | Value::List(_) | Value::Struct(_) | Value::Map(_) => Err(self.unlike("text")),
            _ => visitor.visit_string(self.text()),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        match self.0 {
            Value::Text(text) => visitor.visit_borrowed_bytes(text.as_bytes()),
            Value::Bytes(bytes) => visitor.visit_borrowed_bytes(bytes),
            _ => Err(self.unlike("bytes")),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        if self.0.is_null() { visitor.visit_unit() } else { Err(self.unlike("null")) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, NoValue> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, NoValue> {
        let (count, what) = match (name, digits_of_name(name)) {
            (DATE, _) => (coerce::to_date(&self.0).map(i128::from), "date".to_owned()),
            (INSTANT, _) => {
                (coerce::to_timestamp(&self.0, 6).map(i128::from), "timestamp to the microsecond".to_owned())
            }
            (_, Some((precision, scale))) => {
                (coerce::to_decimal(&self.0, precision, scale), Kind::Decimal { precision, scale }.to_string())
            }
            _ => return visitor.visit_newtype_struct(self),
        };
        let count = count.ok_or_else(|| self.unlike(&what))?;
        visitor.visit_newtype_struct(de::value::I128Deserializer::new(count))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        match self.0 {
            Value::List(items) => visitor.visit_seq(Elements(items)),
            Value::Bytes(bytes) => visitor.visit_seq(de::value::SeqDeserializer::new(bytes.iter().copied())),
            _ => Err(self.unlike("list")),
        }
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

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        match self.0 {
            Value::Struct(items) => visitor.visit_map(Named { items, name: "" }),
            Value::Map(items) => visitor.visit_map(Entries(items)),
            _ => Err(self.unlike("map")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, NoValue> {
        let _ = (name, variants);
        match self.0 {
            Value::Text(text) => visitor.visit_enum(de::value::BorrowedStrDeserializer::new(text)),
            _ => Err(self.unlike("name of a variant")),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NoValue> {
        visitor.visit_unit()
    }
}
