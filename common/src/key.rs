//! Order-preserving encoding of keys: comparing two encoded keys byte by byte (`memcmp`, a prefix
//! before its extension) orders them as their values, so sort, merge and grouping never decode.
//!
//! | type | encoding |
//! |---|---|
//! | unsigned integers | big endian |
//! | signed integers | big endian, sign bit flipped |
//! | floats | IEEE 754 total order of the bits, with one NaN (above all) and one zero |
//! | `bool`, `char`, `()` | one byte; the code point as `u32`; nothing |
//! | `str`, `[u8]` in last place | the bytes |
//! | `str`, `[u8]` before others | the bytes, `00` written `00 ff`, ended by `00 00` |
//! | options | `00`, or `01` and the inner key |
//! | tuples, structs | the members in order |
//! | enums (derived) | the variant's number as `u32`, then its members |
//!
//! The escape of `00` follows the tuple layer of FoundationDB.

use bumpalo::Bump;

use crate::datum::{Datum, Maybe, Pair, Triple};

/// Holds the few decoded bytes that cannot be borrowed from the encoding (strings with a NUL inside
/// a composite key); emptied after each key group.
pub type KeyArena = Bump;

/// Bytes that are not an encoded key of the expected type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot decode a key of type {type_name}: {reason}")]
pub struct KeyError {
    /// The Rust type.
    pub type_name: &'static str,
    /// What is wrong with the bytes.
    pub reason: &'static str,
}

/// A datum that can be a key.
///
/// Law: `encode(a)` sorts before `encode(b)` exactly if `a < b`; equal keys have equal bytes.
/// `#[derive(Key)]` writes this for structs and enums.
///
/// A type without an order is no key:
///
/// ```compile_fail
/// fn group_by<K: gristmill_common::key::Key>() {}
/// group_by::<std::collections::HashMap<String, u64>>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no key: records cannot be ordered by it",
    note = "integers, floats, `bool`, `char`, `str`, `[u8]`, `Pair`, `Triple` and `Maybe` of keys are keys",
    note = "`#[derive(Key)]` makes one of a struct or an enum whose members are keys"
)]
pub trait Key: Datum {
    /// How many members a key has: those of a tuple or struct, one for anything else.
    const MEMBERS: usize = 1;

    /// Moves `input`, an encoded key, past its first `members` members, which are fewer than all.
    ///
    /// # Errors
    ///
    /// If there are not so many, or the bytes are not such an encoding.
    fn pass_members(input: &mut &[u8], members: usize) -> Result<(), KeyError> {
        let _ = input;
        if members == 0 { Ok(()) } else { Err(key_error::<Self>("it has no leading members")) }
    }

    /// Appends the encoding of a key after which nothing follows.
    fn encode(key: &Self::Ref<'_>, out: &mut Vec<u8>) {
        Self::encode_part(key, out);
    }

    /// Appends the encoding of a key that others follow: no encoding is a prefix of another.
    fn encode_part(key: &Self::Ref<'_>, out: &mut Vec<u8>);

    /// The encoding, where the key in memory already is it: then nothing is copied.
    #[inline]
    fn as_encoded<'a>(key: &'a Self::Ref<'_>) -> Option<&'a [u8]> {
        let _ = key;
        None
    }

    /// Decodes what [`encode`](Self::encode) wrote; all of `bytes` belongs to it.
    ///
    /// # Errors
    ///
    /// If the bytes are not such an encoding.
    fn decode<'a>(bytes: &'a [u8], arena: &'a KeyArena) -> Result<Self::Ref<'a>, KeyError> {
        let mut rest = bytes;
        let key = Self::decode_part(&mut rest, arena)?;
        if rest.is_empty() { Ok(key) } else { Err(key_error::<Self>("bytes are left over")) }
    }

    /// Decodes what [`encode_part`](Self::encode_part) wrote and moves `input` past it.
    ///
    /// # Errors
    ///
    /// If the bytes are not such an encoding.
    fn decode_part<'a>(input: &mut &'a [u8], arena: &'a KeyArena) -> Result<Self::Ref<'a>, KeyError>;
}

/// The error of a key type that refuses its bytes, for hand-written and derived [`Key`]s.
pub fn key_error<K: ?Sized>(reason: &'static str) -> KeyError {
    KeyError { type_name: std::any::type_name::<K>(), reason }
}

fn take<'a, const N: usize, K>(input: &mut &'a [u8]) -> Result<&'a [u8; N], KeyError> {
    let (bytes, rest) = input.split_first_chunk::<N>().ok_or_else(|| key_error::<K>("cut short"))?;
    *input = rest;
    Ok(bytes)
}

macro_rules! integer_keys {
    ($($name:ident as $bits:ident ^ $flip:expr;)*) => {$(
        impl Key for $name {
            #[inline]
            fn encode_part(key: &$name, out: &mut Vec<u8>) {
                out.extend_from_slice(&((*key as $bits) ^ $flip).to_be_bytes());
            }

            #[inline]
            fn decode_part<'a>(input: &mut &'a [u8], _arena: &'a KeyArena) -> Result<$name, KeyError> {
                Ok(($bits::from_be_bytes(*take::<_, $name>(input)?) ^ $flip) as $name)
            }
        }
    )*};
}

integer_keys! {
    u8 as u8 ^ 0;
    u16 as u16 ^ 0;
    u32 as u32 ^ 0;
    u64 as u64 ^ 0;
    u128 as u128 ^ 0;
    i8 as u8 ^ (1 << 7);
    i16 as u16 ^ (1 << 15);
    i32 as u32 ^ (1 << 31);
    i64 as u64 ^ (1 << 63);
    i128 as u128 ^ (1 << 127);
}

macro_rules! float_keys {
    ($($name:ident as $bits:ident, $sign:expr;)*) => {$(
        impl Key for $name {
            #[inline]
            fn encode_part(key: &$name, out: &mut Vec<u8>) {
                // One NaN and one zero, so that equal keys have equal bytes.
                let canonical = if key.is_nan() { $name::NAN.abs() } else { *key + 0.0 };
                let bits = canonical.to_bits();
                let ordered = if bits & $sign == 0 { bits | $sign } else { !bits };
                out.extend_from_slice(&ordered.to_be_bytes());
            }

            #[inline]
            fn decode_part<'a>(input: &mut &'a [u8], _arena: &'a KeyArena) -> Result<$name, KeyError> {
                let ordered = $bits::from_be_bytes(*take::<_, $name>(input)?);
                Ok($name::from_bits(if ordered & $sign != 0 { ordered & !$sign } else { !ordered }))
            }
        }
    )*};
}

float_keys! {
    f32 as u32, 1 << 31;
    f64 as u64, 1 << 63;
}

impl Key for bool {
    #[inline]
    fn encode_part(key: &bool, out: &mut Vec<u8>) {
        out.push(u8::from(*key));
    }

    #[inline]
    fn decode_part<'a>(input: &mut &'a [u8], _arena: &'a KeyArena) -> Result<bool, KeyError> {
        match take::<1, bool>(input)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(key_error::<bool>("neither 0 nor 1")),
        }
    }
}

impl Key for char {
    #[inline]
    fn encode_part(key: &char, out: &mut Vec<u8>) {
        u32::encode_part(&u32::from(*key), out);
    }

    #[inline]
    fn decode_part<'a>(input: &mut &'a [u8], arena: &'a KeyArena) -> Result<char, KeyError> {
        char::from_u32(u32::decode_part(input, arena)?).ok_or_else(|| key_error::<char>("not a code point"))
    }
}

impl Key for () {
    #[inline]
    fn encode_part((): &(), _out: &mut Vec<u8>) {}

    #[inline]
    fn decode_part<'a>(_input: &mut &'a [u8], _arena: &'a KeyArena) -> Result<(), KeyError> {
        Ok(())
    }
}

impl Key for [u8] {
    #[inline]
    fn encode(key: &&[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(key);
    }

    fn encode_part(key: &&[u8], out: &mut Vec<u8>) {
        let mut rest = *key;
        while let Some(nul) = memchr::memchr(0, rest) {
            out.extend_from_slice(&rest[..nul]);
            out.extend_from_slice(&[0, 0xff]);
            rest = &rest[nul + 1..];
        }
        out.extend_from_slice(rest);
        out.extend_from_slice(&[0, 0]);
    }

    #[inline]
    fn as_encoded<'a>(key: &'a &[u8]) -> Option<&'a [u8]> {
        Some(key)
    }

    #[inline]
    fn decode<'a>(bytes: &'a [u8], _arena: &'a KeyArena) -> Result<&'a [u8], KeyError> {
        Ok(bytes)
    }

    fn decode_part<'a>(input: &mut &'a [u8], arena: &'a KeyArena) -> Result<&'a [u8], KeyError> {
        let whole: &'a [u8] = input;
        let mut from = 0;
        let mut unescaped: Option<Vec<u8>> = None;
        loop {
            let nul = memchr::memchr(0, &whole[from..]).ok_or_else(|| key_error::<[u8]>("no end of the string"))?;
            let (content, mark) = (&whole[from..from + nul], whole.get(from + nul + 1));
            from += nul + 2;
            match mark {
                Some(0) => {
                    *input = &whole[from..];
                    return Ok(match unescaped {
                        None => content,
                        Some(mut bytes) => {
                            bytes.extend_from_slice(content);
                            arena.alloc_slice_copy(&bytes)
                        }
                    });
                }
                Some(0xff) => {
                    let bytes = unescaped.get_or_insert_default();
                    bytes.extend_from_slice(content);
                    bytes.push(0);
                }
                _ => return Err(key_error::<[u8]>("bad escape")),
            }
        }
    }
}

impl Key for str {
    #[inline]
    fn encode(key: &&str, out: &mut Vec<u8>) {
        out.extend_from_slice(key.as_bytes());
    }

    #[inline]
    fn encode_part(key: &&str, out: &mut Vec<u8>) {
        <[u8] as Key>::encode_part(&key.as_bytes(), out);
    }

    #[inline]
    fn as_encoded<'a>(key: &'a &str) -> Option<&'a [u8]> {
        Some(key.as_bytes())
    }

    #[inline]
    fn decode<'a>(bytes: &'a [u8], _arena: &'a KeyArena) -> Result<&'a str, KeyError> {
        std::str::from_utf8(bytes).map_err(|_| key_error::<str>("not UTF-8"))
    }

    fn decode_part<'a>(input: &mut &'a [u8], arena: &'a KeyArena) -> Result<&'a str, KeyError> {
        let bytes = <[u8] as Key>::decode_part(input, arena)?;
        std::str::from_utf8(bytes).map_err(|_| key_error::<str>("not UTF-8"))
    }
}

macro_rules! owned_text_keys {
    ($($owned:ty => $lent:ty, $lend:expr, $own:expr;)*) => {$(
        impl Key for $owned {
            #[inline]
            fn encode(key: &$owned, out: &mut Vec<u8>) {
                <$lent as Key>::encode(&$lend(key), out);
            }

            #[inline]
            fn encode_part(key: &$owned, out: &mut Vec<u8>) {
                <$lent as Key>::encode_part(&$lend(key), out);
            }

            #[inline]
            fn decode<'a>(bytes: &'a [u8], arena: &'a KeyArena) -> Result<$owned, KeyError> {
                <$lent as Key>::decode(bytes, arena).map($own)
            }

            #[inline]
            fn decode_part<'a>(input: &mut &'a [u8], arena: &'a KeyArena) -> Result<$owned, KeyError> {
                <$lent as Key>::decode_part(input, arena).map($own)
            }
        }
    )*};
}

owned_text_keys! {
    String => str, String::as_str, str::to_owned;
    Vec<u8> => [u8], Vec::as_slice, <[u8]>::to_vec;
}

/// Moves `input` past an encoded member that others follow. For hand-written and derived [`Key`]s.
///
/// # Errors
///
/// If the bytes are not such an encoding.
pub fn pass<K: Key + ?Sized>(input: &mut &[u8]) -> Result<(), KeyError> {
    let arena = KeyArena::new();
    let mut rest = *input;
    K::decode_part(&mut rest, &arena)?;
    *input = &input[input.len() - rest.len()..];
    Ok(())
}

macro_rules! composite_keys {
    ($(impl($($param:ident: $bound:path),*) $name:ty { $($first:ident $at:tt),* ; $last:ident $last_at:tt })*) => {$(
        impl<$($param: $bound + ?Sized),*> Key for $name {
            const MEMBERS: usize = [$($at,)* $last_at].len();

            fn pass_members(input: &mut &[u8], members: usize) -> Result<(), KeyError> {
                $(if $at < members {
                    pass::<$first>(input)?;
                })*
                Ok(())
            }

            #[inline]
            fn encode(key: &Self::Ref<'_>, out: &mut Vec<u8>) {
                $($first::encode_part(&key.$at, out);)*
                $last::encode(&key.$last_at, out);
            }

            #[inline]
            fn encode_part(key: &Self::Ref<'_>, out: &mut Vec<u8>) {
                $($first::encode_part(&key.$at, out);)*
                $last::encode_part(&key.$last_at, out);
            }

            #[inline]
            fn decode<'a>(bytes: &'a [u8], arena: &'a KeyArena) -> Result<Self::Ref<'a>, KeyError> {
                let mut rest = bytes;
                Ok(($($first::decode_part(&mut rest, arena)?,)* $last::decode(rest, arena)?,))
            }

            #[inline]
            fn decode_part<'a>(input: &mut &'a [u8], arena: &'a KeyArena) -> Result<Self::Ref<'a>, KeyError> {
                Ok(($($first::decode_part(input, arena)?,)* $last::decode_part(input, arena)?,))
            }
        }
    )*};
}

composite_keys! {
    impl(A: Key, B: Key) Pair<A, B> { A 0; B 1 }
    impl(A: Key, B: Key, C: Key) Triple<A, B, C> { A 0, B 1; C 2 }
}

macro_rules! tuple_keys {
    ($($($param:ident $at:tt),* ; $last:ident $last_at:tt;)*) => {$(
        impl<$($param,)* $last> Key for ($($param,)* $last,)
        where
            Self: for<'r> Datum<Ref<'r> = Self>,
            $($param: Key + for<'r> Datum<Ref<'r> = $param>,)*
            $last: Key + for<'r> Datum<Ref<'r> = $last>,
        {
            const MEMBERS: usize = [$($at,)* $last_at].len();

            fn pass_members(input: &mut &[u8], members: usize) -> Result<(), KeyError> {
                let _ = (&input, members);
                $(if $at < members {
                    pass::<$param>(input)?;
                })*
                Ok(())
            }

            #[inline]
            fn encode(key: &Self, out: &mut Vec<u8>) {
                $($param::encode_part(&key.$at, out);)*
                $last::encode(&key.$last_at, out);
            }

            #[inline]
            fn encode_part(key: &Self, out: &mut Vec<u8>) {
                $($param::encode_part(&key.$at, out);)*
                $last::encode_part(&key.$last_at, out);
            }

            #[inline]
            #[allow(unused_mut, reason = "a tuple of one has no first members to read")]
            fn decode<'a>(bytes: &'a [u8], arena: &'a KeyArena) -> Result<Self, KeyError> {
                let mut rest = bytes;
                Ok(($($param::decode_part(&mut rest, arena)?,)* $last::decode(rest, arena)?,))
            }

            #[inline]
            fn decode_part<'a>(input: &mut &'a [u8], arena: &'a KeyArena) -> Result<Self, KeyError> {
                let _ = &input;
                Ok(($($param::decode_part(input, arena)?,)* $last::decode_part(input, arena)?,))
            }
        }
    )*};
}

tuple_keys! {
    ; A 0;
    A 0; B 1;
    A 0, B 1; C 2;
    A 0, B 1, C 2; D 3;
}

impl<A: Key + ?Sized> Key for Maybe<A> {
    #[inline]
    fn encode(key: &Self::Ref<'_>, out: &mut Vec<u8>) {
        out.push(u8::from(key.is_some()));
        if let Some(inner) = key {
            A::encode(inner, out);
        }
    }

    #[inline]
    fn encode_part(key: &Self::Ref<'_>, out: &mut Vec<u8>) {
        out.push(u8::from(key.is_some()));
        if let Some(inner) = key {
            A::encode_part(inner, out);
        }
    }

    #[inline]
    fn decode<'a>(bytes: &'a [u8], arena: &'a KeyArena) -> Result<Self::Ref<'a>, KeyError> {
        match bytes {
            [0] => Ok(None),
            [1, rest @ ..] => A::decode(rest, arena).map(Some),
            _ => Err(key_error::<Self>("the first byte is neither 0 nor 1")),
        }
    }

    #[inline]
    fn decode_part<'a>(input: &mut &'a [u8], arena: &'a KeyArena) -> Result<Self::Ref<'a>, KeyError> {
        if bool::decode_part(input, arena)? { A::decode_part(input, arena).map(Some) } else { Ok(None) }
    }
}

impl<A> Key for Option<A>
where
    Self: for<'r> Datum<Ref<'r> = Self>,
    A: Key + for<'r> Datum<Ref<'r> = A>,
{
    #[inline]
    fn encode(key: &Self, out: &mut Vec<u8>) {
        out.push(u8::from(key.is_some()));
        if let Some(inner) = key {
            A::encode(inner, out);
        }
    }

    #[inline]
    fn encode_part(key: &Self, out: &mut Vec<u8>) {
        out.push(u8::from(key.is_some()));
        if let Some(inner) = key {
            A::encode_part(inner, out);
        }
    }

    #[inline]
    fn decode<'a>(bytes: &'a [u8], arena: &'a KeyArena) -> Result<Self, KeyError> {
        <Maybe<A> as Key>::decode(bytes, arena)
    }

    #[inline]
    fn decode_part<'a>(input: &mut &'a [u8], arena: &'a KeyArena) -> Result<Self, KeyError> {
        <Maybe<A> as Key>::decode_part(input, arena)
    }
}

/// The first eight bytes of an encoded key as a number: comparing prefixes first decides most
/// comparisons without touching the keys. Shorter keys are padded with zeros, so equal prefixes
/// decide nothing.
#[inline]
pub fn key_prefix(encoded: &[u8]) -> u64 {
    match encoded.first_chunk::<8>() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => {
            let mut padded = [0; 8];
            padded[..encoded.len()].copy_from_slice(encoded);
            u64::from_be_bytes(padded)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Ordering;

    /// Encodes both keys both ways and checks order and return against `expect`.
    fn check<K>(a: K, b: K, expect: Ordering)
    where
        K: Key + for<'r> Datum<Ref<'r> = K> + PartialEq + std::fmt::Debug,
    {
        let arena = KeyArena::new();
        let (mut whole_a, mut whole_b, mut part_a, mut part_b) = (vec![], vec![], vec![], vec![]);
        K::encode(&a, &mut whole_a);
        K::encode(&b, &mut whole_b);
        K::encode_part(&a, &mut part_a);
        K::encode_part(&b, &mut part_b);
        assert_eq!(whole_a.cmp(&whole_b), expect, "{a:?} {b:?}");
        assert_eq!(part_a.cmp(&part_b), expect, "{a:?} {b:?}");
        assert!(expect == Ordering::Equal || !part_b.starts_with(&part_a), "{a:?} prefixes {b:?}");
        assert_eq!(K::decode(&whole_a, &arena).as_ref(), Ok(&a));
        part_a.push(7);
        let mut input = part_a.as_slice();
        assert_eq!(K::decode_part(&mut input, &arena).as_ref(), Ok(&a));
        assert_eq!(input, [7]);
    }

    proptest! {
        #[test]
        fn encoded_keys_sort_as_their_values(
            a: (u64, i64, (bool, char)), b: (u64, i64, (bool, char)),
            s: (String, Vec<u8>), t: (String, Vec<u8>),
            o: (Option<i8>, u8), p: (Option<i8>, u8),
            n in proptest::collection::vec(0_u8..3, 0..6), m in proptest::collection::vec(0_u8..3, 0..6),
        ) {
            check(a, b, a.cmp(&b));
            check(s.clone(), t.clone(), s.cmp(&t));
            check(o, p, o.cmp(&p));
            check((n.clone(), 1_u16), (m.clone(), 1_u16), n.cmp(&m));
            check(n.clone(), n, Ordering::Equal);
        }

        #[test]
        fn floats_sort_by_value(a: f64, b: f64) {
            let expect = (a + 0.0).total_cmp(&(b + 0.0));
            if !a.is_nan() && !b.is_nan() {
                check(a + 0.0, b + 0.0, expect);
            }
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            let arena = KeyArena::new();
            let _ = <Triple<str, Maybe<[u8]>, f32> as Key>::decode(&bytes, &arena);
            let _ = <(Option<String>, char, bool) as Key>::decode(&bytes, &arena);
        }
    }

    #[test]
    fn special_floats_have_one_form_each() {
        let bytes = |f: f64| {
            let mut out = vec![];
            f64::encode(&f, &mut out);
            out
        };
        let order = [f64::NEG_INFINITY, f64::MIN, -1.0, -0.0, f64::MIN_POSITIVE, 1.0, f64::INFINITY, f64::NAN];
        assert!(order.windows(2).all(|pair| bytes(pair[0]) < bytes(pair[1])));
        assert_eq!(bytes(0.0), bytes(-0.0));
        assert_eq!(bytes(-f64::NAN), bytes(f64::NAN));
    }

    #[test]
    fn composite_keys_lend_and_group_by_first_member() {
        type Visit = Pair<[u8], u64>;
        let arena = KeyArena::new();
        let mut bytes = vec![];
        Visit::encode(&(b"a\0b", 9), &mut bytes);
        assert_eq!(bytes, b"a\0\xffb\0\0\0\0\0\0\0\0\0\x09");
        assert_eq!(Visit::decode(&bytes, &arena), Ok((b"a\0b".as_slice(), 9)));
        assert!(Visit::decode(&bytes[..6], &arena).is_err());
    }

    #[test]
    fn prefixes_agree_with_byte_order() {
        assert!(key_prefix(b"abc") < key_prefix(b"abd"));
        assert_eq!(key_prefix(b"12345678x"), key_prefix(b"12345678y"));
        assert_eq!(key_prefix(b""), 0);
    }
}
