//! Typed bytes, the binary form of Hadoop's `org.apache.hadoop.typedbytes`: a type code, and what follows
//! it. Numbers are big endian.
//!
//! | code | type | bytes behind the code |
//! |---|---|---|
//! | 0, 50 to 200 | bytes | length (`u32`), bytes |
//! | 1, 2 | byte, boolean | 1 |
//! | 3, 5 | int, float | 4 |
//! | 4, 6 | long, double | 8 |
//! | 7 | string | length (`u32`), UTF-8 |
//! | 8 | vector | number of items (`u32`), items |
//! | 9 | list | items, 255 |
//! | 10 | map | number of pairs (`u32`), keys and values in turn |

use std::io::Write as _;

const LONG: u8 = 4;
const STRING: u8 = 7;
const VECTOR: u8 = 8;
const LIST: u8 = 9;
const MAP: u8 = 10;
const END: u8 = 255;

/// Values inside values. Deeper ones would need more stack than there may be.
const MAX_DEPTH: usize = 64;

/// A number.
pub(super) fn long(number: u64) -> [u8; 9] {
    let mut bytes = [LONG; 9];
    bytes[1..].copy_from_slice(&number.to_be_bytes());
    bytes
}

/// A string.
pub(super) fn string(text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![STRING];
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(text);
    bytes
}

/// A value, and what follows it.
pub(super) type Split<'a> = (&'a [u8], &'a [u8]);

/// The first value, and what follows it; `None` if it is not all there yet.
///
/// # Errors
///
/// If the bytes are no typed bytes.
pub(super) fn split(bytes: &[u8]) -> Result<Option<Split<'_>>, String> {
    Ok(length(bytes, MAX_DEPTH)?.and_then(|length| bytes.split_at_checked(length)))
}

/// How many bytes the first value takes, if that can be told yet.
fn length(bytes: &[u8], depth: usize) -> Result<Option<usize>, String> {
    let Some(&code) = bytes.first() else { return Ok(None) };
    let number = || Some(u32::from_be_bytes(*bytes.get(1..)?.first_chunk()?) as usize);
    let mut at = 5;
    let mut items = match code {
        1 | 2 => return Ok(Some(2)),
        3 | 5 => return Ok(Some(5)),
        4 | 6 => return Ok(Some(9)),
        0 | STRING | 50..=200 => return Ok(number().map(|length| 5 + length)),
        VECTOR => number(),
        MAP => number().map(|pairs| 2 * pairs),
        LIST => {
            at = 1;
            Some(usize::MAX)
        }
        other => return Err(format!("{other} is no type code of typed bytes")),
    };
    if depth == 0 {
        return Err(format!("typed bytes inside more than {MAX_DEPTH} others"));
    }
    while let Some(left) = items.filter(|&left| left > 0) {
        let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return Ok(None) };
        if code == LIST && rest[0] == END {
            return Ok(Some(at + 1));
        }
        let Some(length) = length(rest, depth - 1)? else { return Ok(None) };
        at += length;
        items = Some(left - 1);
    }
    Ok(items.map(|_| at))
}

/// Appends the text of a value that [`split`] gave.
pub(super) fn write_text(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    write_next(&mut rest, out);
}

fn write_next(rest: &mut &[u8], out: &mut Vec<u8>) {
    let Some((&code, behind)) = rest.split_first() else { return };
    *rest = behind;
    let written = match code {
        1 => write!(out, "{}", i8::from_be_bytes(take(rest))),
        2 => write!(out, "{}", take::<1>(rest) != [0]),
        3 => write!(out, "{}", i32::from_be_bytes(take(rest))),
        LONG => write!(out, "{}", i64::from_be_bytes(take(rest))),
        5 => write!(out, "{:?}", f32::from_be_bytes(take(rest))),
        6 => write!(out, "{:?}", f64::from_be_bytes(take(rest))),
        VECTOR | MAP => {
            let items = u64::from(u32::from_be_bytes(take(rest))) * if code == MAP { 2 } else { 1 };
            write_items(code, items, rest, out);
            Ok(())
        }
        LIST => {
            write_items(code, u64::MAX, rest, out);
            Ok(())
        }
        _ => {
            let length = u32::from_be_bytes(take(rest)) as usize;
            let (bytes, behind) = rest.split_at(length.min(rest.len()));
            *rest = behind;
            out.extend_from_slice(bytes);
            Ok(())
        }
    };
    written.expect("a Vec takes all bytes");
}

fn write_items(code: u8, items: u64, rest: &mut &[u8], out: &mut Vec<u8>) {
    let (open, close) = if code == MAP { (b'{', b'}') } else { (b'[', b']') };
    out.push(open);
    for item in 0..items {
        match rest.first() {
            None => break,
            Some(&END) if code == LIST => {
                *rest = &rest[1..];
                break;
            }
            Some(_) if item == 0 => {}
            Some(_) => out.extend_from_slice(if code == MAP && item % 2 == 1 { b"=" } else { b", " }),
        }
        write_next(rest, out);
    }
    out.push(close);
}

/// The next bytes; zeros where there are none.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    let (taken, behind) = rest.split_at(N.min(rest.len()));
    bytes[..taken.len()].copy_from_slice(taken);
    *rest = behind;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_tell_their_length_and_have_a_text() {
        let check = |value: &[u8], text: &str| {
            let followed = [value, b"rest"].concat();
            assert_eq!(split(&followed), Ok(Some((value, b"rest".as_slice()))), "{text}");
            for cut in 0..value.len() {
                assert_eq!(split(&value[..cut]), Ok(None), "{text} cut at {cut}");
            }
            let mut out = Vec::new();
            write_text(value, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), text);
        };
        check(&string(b"word"), "word");
        check(&long(7), "7");
        check(&[0, 0, 0, 0, 1, b'x'], "x");
        check(&[100, 0, 0, 0, 0], "");
        check(&[1, 0xff], "-1");
        check(&[2, 1], "true");
        check(&[3, 0, 0, 1, 0], "256");
        check(&[6, 0x3f, 0xf8, 0, 0, 0, 0, 0, 0], "1.5");
        check(&[8, 0, 0, 0, 2, 1, 1, 1, 2], "[1, 2]");
        check(&[9, 1, 1, 9, 255, 255], "[1, []]");
        check(&[10, 0, 0, 0, 1, 1, 1, 2, 0], "{1=false}");
        check(&[9, 255], "[]");
    }

    #[test]
    fn other_bytes_are_refused() {
        assert!(split(&[11]).is_err());
        assert!(split(&[255]).is_err());
        assert!(split(&[9; 100]).is_err(), "too deep");
        assert_eq!(split(&[]), Ok(None));
    }
}
