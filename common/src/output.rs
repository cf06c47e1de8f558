//! Record types that a job can write, and their bytes in a part file.

use std::io::Write as _;
use std::marker::PhantomData;

use crate::datum::{Datum, Maybe, Pair, Triple};

/// A type of output records: what `reduce` (or a map-only `map`) puts, and how it is written.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how records are written",
    note = "`Text<K, V>` writes lines, `Raw` bytes as they are"
)]
pub trait Output: Send + Sync + 'static {
    /// The first field.
    type Key: Datum + ?Sized;
    /// The second field.
    type Value: Datum + ?Sized;

    /// Appends one record, with whatever ends it.
    fn write(key: &<Self::Key as Datum>::Ref<'_>, value: &<Self::Value as Datum>::Ref<'_>, out: &mut Vec<u8>);
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
}

impl TextField for () {
    const IS_UNIT: bool = true;

    #[inline]
    fn write_text((): &(), _out: &mut Vec<u8>) {}
}

impl TextField for [u8] {
    #[inline]
    fn write_text(field: &&[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(field);
    }
}

impl TextField for str {
    #[inline]
    fn write_text(field: &&str, out: &mut Vec<u8>) {
        out.extend_from_slice(field.as_bytes());
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
    ($($name:ident)*) => {$(
        impl TextField for $name {
            #[inline]
            fn write_text(field: &$name, out: &mut Vec<u8>) {
                write!(out, "{field}").expect("a Vec takes all bytes");
            }
        }
    )*};
}

displayed_fields!(u8 u16 u32 u128 i8 i16 i32 i64 i128 f32 f64 bool char);

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
}

/// An absent field is written as nothing.
impl<A: TextField + ?Sized> TextField for Maybe<A> {
    #[inline]
    fn write_text(field: &Self::Ref<'_>, out: &mut Vec<u8>) {
        if let Some(inner) = field {
            A::write_text(inner, out);
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
    fn text_lines_have_a_tab_only_before_a_value() {
        assert_eq!(line::<Text<[u8], u64>>(b"word", 18_446_744_073_709_551_615), "word\t18446744073709551615\n");
        assert_eq!(line::<Text<str>>("alone", ()), "alone\n");
        assert_eq!(line::<Text<u64, Triple<str, Maybe<u32>, f64>>>(0, ("a", None, 1.5)), "0\ta\t\t1.5\n");
        assert_eq!(line::<Text<Pair<str, i64>, bool>>(("k", -7), true), "k\t-7\ttrue\n");
    }
}
