//! What serde makes of a value as a row: each field of a struct is a column, in order. Which columns there are
//! is told by `probe.rs`; what does not fit a column is found out by the format.

use std::fmt::Display;

use serde::ser::{self, Serialize};

use super::calendar::Timestamp;
use super::coerce;
use super::row::{MAX_DEPTH, Open, Value, name};
use super::types::{DATE, INSTANT, digits_of_name};
use crate::decimal::Decimal;

/// A value that serde cannot make a row of.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NoRow(String);

impl NoRow {
    /// An output whose records are no rows.
    pub(crate) fn of_output() -> Self {
        NoRow("the job's records have no columns".to_owned())
    }

    /// A record that cannot be a row for this reason.
    pub fn new(reason: impl Into<String>) -> Self {
        NoRow(reason.into())
    }
}

impl ser::Error for NoRow {
    fn custom<T: Display>(message: T) -> Self {
        NoRow(message.to_string())
    }
}

/// Appends `value` as a row. A struct, or a tuple, is a column for each field; anything else is one column.
///
/// # Errors
///
/// If the type's `Serialize` fails, or it nests too deeply.
pub fn write_row<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), NoRow> {
    let row = Open::row(out);
    value.serialize(ToRow { out, depth: 0, means: Means::Itself })?;
    row.end(out);
    Ok(())
}

/// Appends what a value is in a row, at some depth; 0 is the row itself.
struct ToRow<'a> {
    out: &'a mut Vec<u8>,
    depth: usize,
    means: Means,
}

/// What text stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Means {
    Itself,
    /// A date.
    Date,
    /// A point in time, to the microsecond.
    Instant,
    /// A decimal number of so many digits in all, and behind the point.
    Fixed(u8, u8),
}

impl Means {
    fn of(self, text: &str) -> Option<Value<'_>> {
        let value = Value::Text(text);
        Some(match self {
            Means::Itself => value,
            Means::Date => Value::Date(coerce::to_date(&value)?),
            Means::Instant => {
                let units = coerce::to_timestamp(&value, 6)?;
                Value::Timestamp(Timestamp { units, digits: 6, utc: true })
            }
            Means::Fixed(precision, scale) => {
                Value::Decimal(Decimal { mantissa: coerce::to_decimal(&value, precision, scale)?, scale })
            }
        })
    }
}

impl<'a> ToRow<'a> {
    fn put(self, value: &Value<'_>) -> Result<(), NoRow> {
        value.encode(self.out);
        Ok(())
    }

    fn inner(&mut self) -> Result<ToRow<'_>, NoRow> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            return Err(NoRow(format!("it has more than {MAX_DEPTH} values inside one another")));
        }
        Ok(ToRow { out: self.out, depth, means: self.means })
    }

    fn open(self, begin: fn(&mut Vec<u8>) -> Open) -> Several<'a> {
        let open = begin(self.out);
        Several { to: self, open: Some(open), named: false }
    }

    /// The fields of the row itself, or what holds fields inside it.
    fn fields(self, begin: fn(&mut Vec<u8>) -> Open, named: bool) -> Several<'a> {
        if self.depth == 0 {
            return Several { to: self, open: None, named: false };
        }
        Several { named, ..self.open(begin) }
    }
}

/// What holds several values.
struct Several<'a> {
    to: ToRow<'a>,
    /// What ends behind them; nothing if they are the columns of the row.
    open: Option<Open>,
    /// Whether each follows its name.
    named: bool,
}

impl Several<'_> {
    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoRow> {
        value.serialize(self.to.inner()?)
    }

    fn finish(self) -> Result<(), NoRow> {
        if let Some(open) = self.open {
            open.end(self.to.out);
        }
        Ok(())
    }
}

impl ser::SerializeSeq for Several<'_> {
    type Ok = ();
    type Error = NoRow;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoRow> {
        self.add(value)
    }

    fn end(self) -> Result<(), NoRow> {
        self.finish()
    }
}

impl ser::SerializeTuple for Several<'_> {
    type Ok = ();
    type Error = NoRow;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoRow> {
        self.add(value)
    }

    fn end(self) -> Result<(), NoRow> {
        self.finish()
    }
}

impl ser::SerializeTupleStruct for Several<'_> {
    type Ok = ();
    type Error = NoRow;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoRow> {
        self.add(value)
    }

    fn end(self) -> Result<(), NoRow> {
        self.finish()
    }
}

impl ser::SerializeMap for Several<'_> {
    type Ok = ();
    type Error = NoRow;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NoRow> {
        self.add(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NoRow> {
        self.add(value)
    }

    fn end(self) -> Result<(), NoRow> {
        self.finish()
    }
}

impl ser::SerializeStruct for Several<'_> {
    type Ok = ();
    type Error = NoRow;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), NoRow> {
        if self.named {
            name(key, self.to.out);
        }
        self.add(value)
    }

    fn skip_field(&mut self, _key: &'static str) -> Result<(), NoRow> {
        if !self.named {
            Value::Null.encode(self.to.out);
        }
        Ok(())
    }

    fn end(self) -> Result<(), NoRow> {
        self.finish()
    }
}

macro_rules! integers {
    ($($method:ident $type:ty)*) => {$(
        fn $method(self, value: $type) -> Result<(), NoRow> {
            self.serialize_i64(value.into())
        }
    )*};
}

impl<'a> ser::Serializer for ToRow<'a> {
    type Ok = ();
    type Error = NoRow;
    type SerializeSeq = Several<'a>;
    type SerializeTuple = Several<'a>;
    type SerializeTupleStruct = Several<'a>;
    type SerializeTupleVariant = ser::Impossible<(), NoRow>;
    type SerializeMap = Several<'a>;
    type SerializeStruct = Several<'a>;
    type SerializeStructVariant = ser::Impossible<(), NoRow>;

    integers! { serialize_i8 i8 serialize_i16 i16 serialize_i32 i32 serialize_u8 u8 serialize_u16 u16 serialize_u32 u32 }

    fn serialize_i64(self, value: i64) -> Result<(), NoRow> {
        self.put(&Value::Int(value))
    }

    fn serialize_u64(self, value: u64) -> Result<(), NoRow> {
        self.put(&i64::try_from(value).map_or(Value::Uint(value), Value::Int))
    }

    fn serialize_i128(self, value: i128) -> Result<(), NoRow> {
        self.put(&Value::Decimal(Decimal { mantissa: value, scale: 0 }))
    }

    fn serialize_u128(self, value: u128) -> Result<(), NoRow> {
        let value = i128::try_from(value).map_err(|_| NoRow(format!("{value} is too large for a row")))?;
        self.serialize_i128(value)
    }

    fn serialize_bool(self, value: bool) -> Result<(), NoRow> {
        self.put(&Value::Bool(value))
    }

    fn serialize_f32(self, value: f32) -> Result<(), NoRow> {
        self.put(&Value::Float(value))
    }

    fn serialize_f64(self, value: f64) -> Result<(), NoRow> {
        self.put(&Value::Double(value))
    }

    fn serialize_char(self, value: char) -> Result<(), NoRow> {
        self.put(&Value::Text(value.encode_utf8(&mut [0; 4])))
    }

    fn serialize_str(self, value: &str) -> Result<(), NoRow> {
        let meant = self.means.of(value).ok_or_else(|| NoRow(format!("{value:?} is not what its type shows")))?;
        self.put(&meant)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), NoRow> {
        self.put(&Value::Bytes(value))
    }

    fn serialize_none(self) -> Result<(), NoRow> {
        self.put(&Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), NoRow> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), NoRow> {
        self.put(&Value::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), NoRow> {
        self.put(&Value::Null)
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<(), NoRow> {
        self.put(&Value::Text(variant))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), NoRow> {
        let means = match (name, digits_of_name(name)) {
            (DATE, _) => Means::Date,
            (INSTANT, _) => Means::Instant,
            (_, Some((precision, scale))) => Means::Fixed(precision, scale),
            _ => self.means,
        };
        value.serialize(ToRow { means, ..self })
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _index: u32,
        variant: &'static str,
        _value: &T,
    ) -> Result<(), NoRow> {
        Err(no_column(name, variant))
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Several<'a>, NoRow> {
        Ok(self.open(Open::list))
    }

    fn serialize_tuple(self, _len: usize) -> Result<Several<'a>, NoRow> {
        Ok(self.fields(Open::list, false))
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Several<'a>, NoRow> {
        Ok(self.fields(Open::list, false))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<ser::Impossible<(), NoRow>, NoRow> {
        Err(no_column(name, variant))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Several<'a>, NoRow> {
        Ok(self.open(Open::map))
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Several<'a>, NoRow> {
        Ok(self.fields(Open::structure, true))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<ser::Impossible<(), NoRow>, NoRow> {
        Err(no_column(name, variant))
    }
}

fn no_column(name: &str, variant: &str) -> NoRow {
    NoRow(format!("the variant {variant} of {name} holds values, and no column has such"))
}
