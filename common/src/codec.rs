//! How values become bytes: bincode 2, `standard()` configuration (variable-length integers, little
//! endian), with a decode limit. The only file that names bincode; `docs/adr/0002-bincode.md` tells
//! why it is pinned and how to leave it. Files and messages that hold such bytes record
//! [`VALUE_FORMAT`].

use std::any::Any;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Names the encoding of values inside files and messages; a new codec takes the next number.
pub const VALUE_FORMAT: u8 = 1;

/// The most bytes one decoded value may claim: raising it lets a hostile length allocate more
/// before it is found out, lowering it refuses honest values (a record is at most a quarter of an
/// attempt's memory).
pub const DECODE_LIMIT_BYTES: usize = 1 << 28;

/// A value that its own `Serialize` refused to encode.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode a value of type {type_name}: {reason}")]
pub struct EncodeError {
    /// The Rust type.
    pub type_name: &'static str,
    /// What the serializer said.
    pub reason: String,
}

/// Bytes that are not an encoded value of the expected type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot decode {len} bytes as {type_name}: {reason}")]
pub struct DecodeError {
    /// The Rust type.
    pub type_name: &'static str,
    /// How many bytes there were.
    pub len: usize,
    /// What is wrong with them.
    pub reason: String,
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<DECODE_LIMIT_BYTES>()
}

struct Append<'a>(&'a mut Vec<u8>);

impl bincode::enc::write::Writer for Append<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

/// Appends the encoding of `value` to `out`.
///
/// # Errors
///
/// If the type's `Serialize` fails, or needs what the format has not (a sequence of unknown length).
#[inline]
pub fn encode<T: Serialize + 'static>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    // serde hands a `Vec<u8>` over byte by byte; these are the same bytes in two copies.
    if let Some(bytes) = (value as &dyn Any).downcast_ref::<Vec<u8>>() {
        encode_len(bytes.len(), out);
        out.extend_from_slice(bytes);
        return Ok(());
    }
    let config = bincode::config::standard();
    bincode::serde::encode_into_writer(value, Append(out), config)
        .map_err(|error| EncodeError { type_name: std::any::type_name::<T>(), reason: error.to_string() })
}

/// Decodes one value from the front of `input` and moves `input` past it.
///
/// # Errors
///
/// If the bytes end early, are not a `T`, or claim more than [`DECODE_LIMIT_BYTES`].
#[inline]
pub fn decode_part<T: DeserializeOwned + 'static>(input: &mut &[u8]) -> Result<T, DecodeError> {
    let error = |reason: String, len: usize| DecodeError { type_name: std::any::type_name::<T>(), len, reason };
    let (value, used) =
        bincode::serde::decode_from_slice::<T, _>(input, config()).map_err(|e| error(e.to_string(), input.len()))?;
    *input = &input[used..];
    Ok(value)
}

/// Decodes one value that must fill `bytes` exactly.
///
/// # Errors
///
/// As [`decode_part`], and if bytes are left over.
#[inline]
pub fn decode<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, DecodeError> {
    let mut rest = bytes;
    let value = decode_part(&mut rest)?;
    if !rest.is_empty() {
        let reason = format!("{} bytes are left over", rest.len());
        return Err(DecodeError { type_name: std::any::type_name::<T>(), len: bytes.len(), reason });
    }
    Ok(value)
}

/// Appends a length the way bincode writes one.
#[inline]
pub fn encode_len(len: usize, out: &mut Vec<u8>) {
    let len = len as u64;
    match len {
        0..=250 => out.push(len as u8),
        251..=0xffff => {
            out.push(251);
            out.extend_from_slice(&(len as u16).to_le_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(252);
            out.extend_from_slice(&(len as u32).to_le_bytes());
        }
        _ => {
            out.push(253);
            out.extend_from_slice(&len.to_le_bytes());
        }
    }
}

/// Reads a length written by [`encode_len`] and moves `input` past it; `None` if it is cut short.
#[inline]
pub fn decode_len(input: &mut &[u8]) -> Option<usize> {
    let (&first, rest) = input.split_first()?;
    let (len, rest) = match first {
        0..=250 => (u64::from(first), rest),
        251 => (u64::from(u16::from_le_bytes(*rest.first_chunk()?)), &rest[2..]),
        252 => (u64::from(u32::from_le_bytes(*rest.first_chunk()?)), &rest[4..]),
        253 => (u64::from_le_bytes(*rest.first_chunk()?), &rest[8..]),
        _ => return None,
    };
    *input = rest;
    usize::try_from(len).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Visit {
        host: String,
        bytes: u64,
        ok: bool,
        ratio: f64,
        tags: Vec<u8>,
        next: Option<i32>,
    }

    fn golden<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug + 'static>(value: T, bytes: &[u8]) {
        let mut out = vec![];
        encode(&value, &mut out).expect("encodes");
        assert_eq!(out, bytes, "{value:?}");
        assert_eq!(decode::<T>(&out).expect("decodes"), value);
        assert!(decode::<T>(&[bytes, &[0]].concat()).is_err(), "left-over bytes are refused");
        for cut in 0..bytes.len() {
            assert!(decode::<T>(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn bytes_are_golden() {
        golden(7_u64, &[7]);
        golden(250_u64, &[250]);
        golden(251_u64, &[251, 251, 0]);
        golden(70_000_u64, &[252, 0x70, 0x11, 1, 0]);
        golden(u64::MAX, &[253, 255, 255, 255, 255, 255, 255, 255, 255]);
        golden(-3_i64, &[5]);
        golden(String::from("héy"), &[4, b'h', 0xc3, 0xa9, b'y']);
        golden((1_u8, -1_i32, 'x'), &[1, 1, b'x']);
        golden(vec![1_u8, 2, 255], &[3, 1, 2, 255]);
        let visit = Visit { host: "a".into(), bytes: 300, ok: true, ratio: 0.5, tags: vec![9, 8], next: Some(-1) };
        golden(visit, &[1, b'a', 251, 44, 1, 1, 0, 0, 0, 0, 0, 0, 224, 63, 2, 9, 8, 1, 1]);
    }

    #[test]
    fn lengths_agree_with_bincode() {
        for len in [0, 1, 250, 251, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000_usize] {
            let (mut ours, mut theirs) = (vec![], vec![]);
            encode_len(len, &mut ours);
            encode(&(len as u64), &mut theirs).expect("encodes");
            assert_eq!(ours, theirs);
            let mut input = ours.as_slice();
            assert_eq!((decode_len(&mut input), input.len()), (Some(len), 0));
            assert_eq!(decode_len(&mut &ours[..ours.len() - 1]), None);
        }
    }

    #[test]
    fn hostile_lengths_are_refused_without_allocating() {
        let mut bytes = vec![253];
        bytes.extend_from_slice(&(1_u64 << 40).to_le_bytes());
        assert!(decode::<Vec<u64>>(&bytes).is_err());
        assert!(decode::<String>(&bytes).is_err());
    }
}
