//! Record types that a job can write, and their bytes in a part file.

use std::io::Write as _;
use std::marker::PhantomData;

use crate::datum::{Datum, Maybe, Pair, Triple};
use crate::formats::NoRow;
use crate::formats::row::{Open, Value};
use crate::formats::schema::{Column, Kind, Schema, SchemaError};
use crate::spec::OutputFormat;

/// A type of output records: what `reduce` (or a map-only `map`) puts, and how it is written.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how records are written",
    note = "`Text<K, V>` writes lines, `Csv<T>`, `JsonLines<T>` and `Parquet<T>` rows, `Raw` bytes as they are"
)]
pub trait Output: Send + Sync + 'static {
    /// The first field.
    type Key: Datum + ?Sized;
    /// The second field.
    type Value: Datum + ?Sized;

    /// Appends one record, with whatever ends it.
    fn write(key: &<Self::Key as Datum>::Ref<'_>, value: &<Self::Value as Datum>::Ref<'_>, out: &mut Vec<u8>);

    /// The format that records are in, if it is one that a job may be asked for; `None` for others.
    const FORMAT: Option<OutputFormat> = None;

    /// Appends what every part begins with, such as the names of columns; by default nothing.
    fn begin_part(out: &mut Vec<u8>) {
        let _ = out;
    }

    /// The columns of a record as a row, for jobs that are asked for another format; by default there are none.
    ///
    /// # Errors
    ///
    /// If records are no rows, or do not tell their columns.
    fn schema() -> Result<Schema, SchemaError> {
        Err(SchemaError::NoRows)
    }

    /// Appends one record as a [row](crate::formats::row) of these columns. Called only if there are any.
    ///
    /// # Errors
    ///
    /// If the record is no such row.
    fn write_row(
        key: &<Self::Key as Datum>::Ref<'_>,
        value: &<Self::Value as Datum>::Ref<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), NoRow> {
        let _ = (key, value, out);
        Err(NoRow::of_output())
    }
}

/// Text lines `key TAB value LF`; a unit value writes no TAB.
pub struct Text<K: ?Sized, V: ?Sized = ()>(PhantomData<K>, PhantomData<V>);

impl<K, V> Output for Text<K, V>
where
    K: TextField + Send + Sync + ?Sized,
    V: TextField + Send + Sync + ?Sized,
{
    type Key = K;
    type Value = V;

    #[inline]
    fn write(key: &K::Ref<'_>, value: &V::Ref<'_>, out: &mut Vec<u8>) {
        K::write_text(key, out);
        if !V::IS_UNIT {
            out.push(b'\t');
            V::write_text(value, out);
        }
        out.push(b'\n');
    }

    /// `key` and `value`; `key_1`, `key_2` and on, or `value_1` and on, where there are several.
    fn schema() -> Result<Schema, SchemaError> {
        let mut columns = Vec::new();
        for (name, kinds) in [("key", kinds_of::<K>()), ("value", kinds_of::<V>())] {
            let several = kinds.len() > 1;
            columns.extend(kinds.into_iter().enumerate().map(|(index, (kind, nullable))| {
                let name = if several { format!("{name}_{}", index + 1) } else { name.to_owned() };
                Column { name, kind, nullable }
            }));
        }
        Schema::new(columns)
    }

    #[inline]
    fn write_row(key: &K::Ref<'_>, value: &V::Ref<'_>, out: &mut Vec<u8>) -> Result<(), NoRow> {
        let row = Open::row(out);
        K::write_values(key, out);
        V::write_values(value, out);
        row.end(out);
        Ok(())
    }
}

fn kinds_of<F: TextField + ?Sized>() -> Vec<(Kind, bool)> {
    let mut kinds = Vec::new();
    F::kinds(&mut kinds);
    kinds
}

/// The bytes of key and value as they are, one record after the other with nothing between them: for
/// records that tell their own length.
pub struct Raw<K: ?Sized = [u8], V: ?Sized = [u8]>(PhantomData<K>, PhantomData<V>);

impl<K, V> Output for Raw<K, V>
where
    K: RawField + Send + Sync + ?Sized,
    V: RawField + Send + Sync + ?Sized,
{
    type Key = K;
    type Value = V;

    #[inline]
    fn write(key: &K::Ref<'_>, value: &V::Ref<'_>, out: &mut Vec<u8>) {
        let (key, value) = (K::bytes(key), V::bytes(value));
        out.reserve(key.len() + value.len());
        out.extend_from_slice(key);
        out.extend_from_slice(value);
    }
}

/// A datum that is a string of bytes.
pub trait RawField: Datum {
    /// The bytes.
    fn bytes<'a>(field: &'a Self::Ref<'_>) -> &'a [u8];
}

impl RawField for () {
    #[inline]
    fn bytes((): &()) -> &[u8] {
        &[]
    }
}

impl RawField for [u8] {
    #[inline]
    fn bytes<'a>(field: &'a &[u8]) -> &'a [u8] {
        field
    }
}

impl RawField for str {
    #[inline]
    fn bytes<'a>(field: &'a &str) -> &'a [u8] {
        field.as_bytes()
    }
}

/// A datum that can stand in a text line. Bytes and strings are written as they are: a TAB or line
/// end inside them is the job's business.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand in a line of text",
    note = "put a `String` of it, or implement `TextField` for it"
)]
pub trait TextField: Datum {
    /// Whether the field has no text at all, so that no TAB is written before it.
    const IS_UNIT: bool = false;

    /// Appends the field's text.
    fn write_text(field: &Self::Ref<'_>, out: &mut Vec<u8>);

    /// Appends the kinds of the columns that the field is in formats that have columns, and whether a row may have no
    /// value in each; by default it is one of text.
    fn kinds(kinds: &mut Vec<(Kind, bool)>) {
        kinds.push((Kind::String, false));
    }

    /// Appends the values of those columns; by default its text.
    fn write_values(field: &Self::Ref<'_>, out: &mut Vec<u8>) {
        let mut text = Vec::new();
        Self::write_text(field, &mut text);
        Value::Bytes(&text).encode(out);
    }
}

impl TextField for () {
    const IS_UNIT: bool = true;

    fn kinds(_kinds: &mut Vec<(Kind, bool)>) {}

    fn write_values((): &(), _out: &mut Vec<u8>) {}

    #[inline]
    fn write_text((): &(), _out: &mut Vec<u8>) {}
}

impl TextField for [u8] {
    #[inline]
    fn write_text(field: &&[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(field);
    }

    #[inline]
    fn write_values(field: &&[u8], out: &mut Vec<u8>) {
        Value::Bytes(field).encode(out);
    }
}

impl TextField for str {
    #[inline]
    fn write_text(field: &&str, out: &mut Vec<u8>) {
        out.extend_from_slice(field.as_bytes());
    }

    #[inline]
    fn write_values(field: &&str, out: &mut Vec<u8>) {
        Value::Text(field).encode(out);
    }
}

impl TextField for String {
    #[inline]
    fn write_text(field: &String, out: &mut Vec<u8>) {
        out.extend_from_slice(field.as_bytes());
    }
}

impl TextField for Vec<u8> {
    #[inline]
    fn write_text(field: &Vec<u8>, out: &mut Vec<u8>) {
        out.extend_from_slice(field);
    }
}

macro_rules! displayed_fields {
    ($($name:ident $kind:expr, $value:ident $of:expr;)*) => {$(
        impl TextField for $name {
            #[inline]
            fn write_text(field: &$name, out: &mut Vec<u8>) {
                write!(out, "{field}").expect("a Vec takes all bytes");
            }

            fn kinds(kinds: &mut Vec<(Kind, bool)>) {
                kinds.push(($kind, false));
            }

            #[inline]
            fn write_values(field: &$name, out: &mut Vec<u8>) {
                Value::$value($of(*field)).encode(out);
            }
        }
    )*};
}

displayed_fields! {
    u8 Kind::Uint(8), Int i64::from;
    u16 Kind::Uint(16), Int i64::from;
    u32 Kind::Uint(32), Int i64::from;
    i8 Kind::Int(8), Int i64::from;
    i16 Kind::Int(16), Int i64::from;
    i32 Kind::Int(32), Int i64::from;
    i64 Kind::Int(64), Int i64::from;
    f32 Kind::Float, Float f32::from;
    f64 Kind::Double, Double f64::from;
    bool Kind::Bool, Bool bool::from;
}

macro_rules! shown_fields {
    ($($name:ident)*) => {$(
        impl TextField for $name {
            #[inline]
            fn write_text(field: &$name, out: &mut Vec<u8>) {
                write!(out, "{field}").expect("a Vec takes all bytes");
            }
        }
    )*};
}

// Integers of 128 bits have more digits than any column of numbers.
shown_fields!(u128 i128 char);

impl TextField for u64 {
    #[inline]
    fn write_text(field: &u64, out: &mut Vec<u8>) {
        // `write!` costs ten times this loop, and counts are the commonest output there is.
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = *field;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        out.extend_from_slice(&digits[at..]);
    }

    fn kinds(kinds: &mut Vec<(Kind, bool)>) {
        kinds.push((Kind::Uint(64), false));
    }

    #[inline]
    fn write_values(field: &u64, out: &mut Vec<u8>) {
        Value::Uint(*field).encode(out);
    }
}

/// An absent field is written as nothing.
impl<A: TextField + ?Sized> TextField for Maybe<A> {
    #[inline]
    fn write_text(field: &Self::Ref<'_>, out: &mut Vec<u8>) {
        if let Some(inner) = field {
            A::write_text(inner, out);
        }
    }

    fn kinds(kinds: &mut Vec<(Kind, bool)>) {
        kinds.extend(kinds_of::<A>().into_iter().map(|(kind, _)| (kind, true)));
    }

    fn write_values(field: &Self::Ref<'_>, out: &mut Vec<u8>) {
        match field {
            Some(inner) => A::write_values(inner, out),
            None => kinds_of::<A>().iter().for_each(|_| Value::Null.encode(out)),
        }
    }
}

/// Members are separated by TAB.
impl<A: TextField + ?Sized, B: TextField + ?Sized> TextField for Pair<A, B> {
    #[inline]
    fn write_text(field: &Self::Ref<'_>, out: &mut Vec<u8>) {
        A::write_text(&field.0, out);
        out.push(b'\t');
        B::write_text(&field.1, out);
    }

    fn kinds(kinds: &mut Vec<(Kind, bool)>) {
        A::kinds(kinds);
        B::kinds(kinds);
    }

    #[inline]
    fn write_values(field: &Self::Ref<'_>, out: &mut Vec<u8>) {
        A::write_values(&field.0, out);
        B::write_values(&field.1, out);
    }
}

/// Members are separated by TAB.
impl<A: TextField + ?Sized, B: TextField + ?Sized, C: TextField + ?Sized> TextField for Triple<A, B, C> {
    #[inline]
    fn write_text(field: &Self::Ref<'_>, out: &mut Vec<u8>) {
        A::write_text(&field.0, out);
        out.push(b'\t');
        B::write_text(&field.1, out);
        out.push(b'\t');
        C::write_text(&field.2, out);
    }

    fn kinds(kinds: &mut Vec<(Kind, bool)>) {
        A::kinds(kinds);
        B::kinds(kinds);
        C::kinds(kinds);
    }

    #[inline]
    fn write_values(field: &Self::Ref<'_>, out: &mut Vec<u8>) {
        A::write_values(&field.0, out);
        B::write_values(&field.1, out);
        C::write_values(&field.2, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line<O: Output>(key: <O::Key as Datum>::Ref<'_>, value: <O::Value as Datum>::Ref<'_>) -> String {
        let mut out = vec![];
        O::write(&key, &value, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn raw_records_have_nothing_between_their_bytes() {
        assert_eq!(line::<Raw>(b"key\n", b"value"), "key\nvalue");
        assert_eq!(line::<Raw<str, ()>>("alone", ()), "alone");
    }

    #[test]
    fn lines_have_columns() {
        type Rows = Text<Pair<str, [u8]>, Triple<u64, Maybe<Pair<i64, bool>>, f64>>;
        let schema = Rows::schema().expect("columns");
        let shown =
            schema.columns.iter().map(|c| format!("{} {}{}", c.name, c.kind, if c.nullable { "?" } else { "" }));
        let expect =
            ["key_1 string", "key_2 string", "value_1 uint64", "value_2 int64?", "value_3 bool?", "value_4 double"];
        assert_eq!(shown.collect::<Vec<_>>(), expect);
        let mut out = vec![];
        Rows::write_row(&("a", b"\xff"), &(7, None, 0.5), &mut out).expect("a row");
        let (mut row, mut values) = (crate::formats::row::Items::of_row(&out).expect("a row"), vec![]);
        while let Some(value) = row.next_value().expect("a value") {
            values.push(value);
        }
        let expect =
            [Value::Text("a"), Value::Bytes(b"\xff"), Value::Uint(7), Value::Null, Value::Null, Value::Double(0.5)];
        assert_eq!(values, expect);
        assert_eq!(Text::<str>::schema().expect("a column").columns, [Column::required("key", Kind::String)]);
        assert_eq!(Raw::<str, ()>::schema(), Err(SchemaError::NoRows));
    }

    #[test]
    fn text_lines_have_a_tab_only_before_a_value() {
        assert_eq!(line::<Text<[u8], u64>>(b"word", 18_446_744_073_709_551_615), "word\t18446744073709551615\n");
        assert_eq!(line::<Text<str>>("alone", ()), "alone\n");
        assert_eq!(line::<Text<u64, Triple<str, Maybe<u32>, f64>>>(0, ("a", None, 1.5)), "0\ta\t\t1.5\n");
        assert_eq!(line::<Text<Pair<str, i64>, bool>>(("k", -7), true), "k\t-7\ttrue\n");
    }
}
