//! What a key, a value or an output field *is* ([`Datum`], with its borrowed form), and how values
//! travel ([`Value`]). Keys have their own, order-preserving encoding in `key.rs`.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, DecodeError, EncodeError};

/// A type of keys, values or output fields, and the form in which user code sees one.
///
/// Unsized types and [`Pair`], [`Triple`], [`Maybe`] lend: `[u8]` is seen as `&[u8]` and
/// `Pair<[u8], u64>` as `(&[u8], u64)`, so nothing is allocated per record. Every type that is
/// `Serialize + DeserializeOwned` is seen as itself.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel in a job",
    note = "derive `serde::Serialize` and `serde::Deserialize` on a type that owns all it holds, or take `str`, `[u8]`, \
            `Pair`, `Triple` or `Maybe`, which lend"
)]
pub trait Datum: 'static {
    /// The form that `emit` takes and `reduce` is given.
    type Ref<'a>;
}

impl<T: Serialize + DeserializeOwned + 'static> Datum for T {
    type Ref<'a> = T;
}

impl Datum for str {
    type Ref<'a> = &'a str;
}

impl Datum for [u8] {
    type Ref<'a> = &'a [u8];
}

/// Two data of which either may lend: `Pair<[u8], u64>` is seen as `(&[u8], u64)`.
pub struct Pair<A: ?Sized, B: ?Sized>(PhantomData<(PhantomData<A>, PhantomData<B>)>);

/// Three data of which any may lend: `Triple<str, u64, [u8]>` is seen as `(&str, u64, &[u8])`.
pub struct Triple<A: ?Sized, B: ?Sized, C: ?Sized>(PhantomData<(PhantomData<A>, PhantomData<B>, PhantomData<C>)>);

/// A datum that may be absent and may lend: `Maybe<str>` is seen as `Option<&str>`.
pub struct Maybe<A: ?Sized>(PhantomData<A>);

impl<A: Datum + ?Sized, B: Datum + ?Sized> Datum for Pair<A, B> {
    type Ref<'a> = (A::Ref<'a>, B::Ref<'a>);
}

impl<A: Datum + ?Sized, B: Datum + ?Sized, C: Datum + ?Sized> Datum for Triple<A, B, C> {
    type Ref<'a> = (A::Ref<'a>, B::Ref<'a>, C::Ref<'a>);
}

impl<A: Datum + ?Sized> Datum for Maybe<A> {
    type Ref<'a> = Option<A::Ref<'a>>;
}

/// A datum that travels from map to reduce as a value.
///
/// Sized serde types are encoded by `codec.rs`; `str` and `[u8]` are their own bytes.
pub trait Value: Datum {
    /// Appends the encoding of `value`, which its container delimits.
    ///
    /// # Errors
    ///
    /// If the type's `Serialize` fails.
    fn encode(value: &Self::Ref<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// The encoding, where the value in memory already is it: then nothing is copied.
    #[inline]
    fn as_encoded<'a>(value: &'a Self::Ref<'_>) -> Option<&'a [u8]> {
        let _ = value;
        None
    }

    /// Decodes what [`encode`](Self::encode) wrote; all of `bytes` belongs to it.
    ///
    /// # Errors
    ///
    /// If the bytes are not such an encoding.
    fn decode(bytes: &[u8]) -> Result<Self::Ref<'_>, DecodeError>;

    /// Appends a form that delimits itself, for all but the last member of a composite.
    ///
    /// # Errors
    ///
    /// If the type's `Serialize` fails.
    fn encode_part(value: &Self::Ref<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Decodes what [`encode_part`](Self::encode_part) wrote and moves `input` past it.
    ///
    /// # Errors
    ///
    /// If the bytes are not such an encoding.
    fn decode_part<'a>(input: &mut &'a [u8]) -> Result<Self::Ref<'a>, DecodeError>;
}

impl<T: Serialize + DeserializeOwned + 'static> Value for T {
    #[inline]
    fn encode(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        codec::encode(value, out)
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<T, DecodeError> {
        codec::decode(bytes)
    }

    #[inline]
    fn encode_part(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        codec::encode(value, out)
    }

    #[inline]
    fn decode_part(input: &mut &[u8]) -> Result<T, DecodeError> {
        codec::decode_part(input)
    }
}

impl Value for [u8] {
    #[inline]
    fn encode(value: &&[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.extend_from_slice(value);
        Ok(())
    }

    #[inline]
    fn as_encoded<'a>(value: &'a &[u8]) -> Option<&'a [u8]> {
        Some(value)
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<&[u8], DecodeError> {
        Ok(bytes)
    }

    #[inline]
    fn encode_part(value: &&[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        codec::encode_len(value.len(), out);
        out.extend_from_slice(value);
        Ok(())
    }

    #[inline]
    fn decode_part<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
        let whole = input.len();
        codec::decode_len(input)
            .and_then(|len| input.split_at_checked(len))
            .map(|(bytes, rest)| {
                *input = rest;
                bytes
            })
            .ok_or_else(|| DecodeError { type_name: "[u8]", len: whole, reason: "cut short".to_owned() })
    }
}

impl Value for str {
    #[inline]
    fn encode(value: &&str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        <[u8] as Value>::encode(&value.as_bytes(), out)
    }

    #[inline]
    fn as_encoded<'a>(value: &'a &str) -> Option<&'a [u8]> {
        Some(value.as_bytes())
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<&str, DecodeError> {
        std::str::from_utf8(bytes).map_err(|e| DecodeError {
            type_name: "str",
            len: bytes.len(),
            reason: e.to_string(),
        })
    }

    #[inline]
    fn encode_part(value: &&str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        <[u8] as Value>::encode_part(&value.as_bytes(), out)
    }

    #[inline]
    fn decode_part<'a>(input: &mut &'a [u8]) -> Result<&'a str, DecodeError> {
        <str as Value>::decode(<[u8] as Value>::decode_part(input)?)
    }
}

impl<A: Value + ?Sized, B: Value + ?Sized> Value for Pair<A, B> {
    #[inline]
    fn encode(value: &Self::Ref<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        A::encode_part(&value.0, out)?;
        B::encode(&value.1, out)
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<Self::Ref<'_>, DecodeError> {
        let mut rest = bytes;
        Ok((A::decode_part(&mut rest)?, B::decode(rest)?))
    }

    #[inline]
    fn encode_part(value: &Self::Ref<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        A::encode_part(&value.0, out)?;
        B::encode_part(&value.1, out)
    }

    #[inline]
    fn decode_part<'a>(input: &mut &'a [u8]) -> Result<Self::Ref<'a>, DecodeError> {
        Ok((A::decode_part(input)?, B::decode_part(input)?))
    }
}

impl<A: Value + ?Sized, B: Value + ?Sized, C: Value + ?Sized> Value for Triple<A, B, C> {
    #[inline]
    fn encode(value: &Self::Ref<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        A::encode_part(&value.0, out)?;
        B::encode_part(&value.1, out)?;
        C::encode(&value.2, out)
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<Self::Ref<'_>, DecodeError> {
        let mut rest = bytes;
        Ok((A::decode_part(&mut rest)?, B::decode_part(&mut rest)?, C::decode(rest)?))
    }

    #[inline]
    fn encode_part(value: &Self::Ref<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        A::encode_part(&value.0, out)?;
        B::encode_part(&value.1, out)?;
        C::encode_part(&value.2, out)
    }

    #[inline]
    fn decode_part<'a>(input: &mut &'a [u8]) -> Result<Self::Ref<'a>, DecodeError> {
        Ok((A::decode_part(input)?, B::decode_part(input)?, C::decode_part(input)?))
    }
}

impl<A: Value + ?Sized> Value for Maybe<A> {
    #[inline]
    fn encode(value: &Self::Ref<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(u8::from(value.is_some()));
        value.as_ref().map_or(Ok(()), |inner| A::encode(inner, out))
    }

    #[inline]
    fn decode(bytes: &[u8]) -> Result<Self::Ref<'_>, DecodeError> {
        match bytes.split_first() {
            Some((0, [])) => Ok(None),
            Some((1, rest)) => A::decode(rest).map(Some),
            _ => Err(bad_tag(bytes.len())),
        }
    }

    #[inline]
    fn encode_part(value: &Self::Ref<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        out.push(u8::from(value.is_some()));
        value.as_ref().map_or(Ok(()), |inner| A::encode_part(inner, out))
    }

    #[inline]
    fn decode_part<'a>(input: &mut &'a [u8]) -> Result<Self::Ref<'a>, DecodeError> {
        let (tag, rest) = input.split_first().ok_or_else(|| bad_tag(0))?;
        *input = rest;
        match tag {
            0 => Ok(None),
            1 => A::decode_part(input).map(Some),
            _ => Err(bad_tag(rest.len() + 1)),
        }
    }
}

fn bad_tag(len: usize) -> DecodeError {
    DecodeError { type_name: "Maybe", len, reason: "the first byte is neither 0 nor 1".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = Triple<str, Maybe<[u8]>, Pair<u64, [u8]>>;

    #[test]
    fn composite_values_lend_and_come_back() {
        let row = ("key", Some(b"opt".as_slice()), (300_u64, b"tail".as_slice()));
        let mut bytes = vec![];
        Row::encode(&row, &mut bytes).expect("encodes");
        assert_eq!(bytes, b"\x03key\x01\x03opt\xfb\x2c\x01tail");
        assert_eq!(Row::decode(&bytes), Ok(row));
        assert!(Row::decode(&bytes[..6]).is_err());
    }

    #[test]
    fn parts_delimit_themselves() {
        let mut bytes = vec![];
        Row::encode_part(&("a", None, (1, b"x")), &mut bytes).expect("encodes");
        Row::encode_part(&("b", Some(b""), (2, b"")), &mut bytes).expect("encodes");
        let mut input = bytes.as_slice();
        assert_eq!(Row::decode_part(&mut input), Ok(("a", None, (1, b"x".as_slice()))));
        assert_eq!(Row::decode_part(&mut input), Ok(("b", Some(b"".as_slice()), (2, b"".as_slice()))));
        assert!(input.is_empty());
    }
}
