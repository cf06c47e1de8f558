//! The order of keys that a comparator of key fields asks for, as bytes: what is compared, encoded so
//! that comparing bytes compares it, and behind it the key itself. So the engine sorts as ever, and keys
//! that compare equal still come in one order.
//!
//! | part | bytes, each of them inverted where larger comes first |
//! |---|---|
//! | a key that ends before it | `00` |
//! | text | `01`, the text with `00` written `00 ff`, `00 00` |
//! | a number below 0 | `01 00`, then as the number without its sign, each byte inverted |
//! | 0, or no number | `01 01` |
//! | a number above 0 | `01 02`, digits before the point (`u32`, big endian), all digits without zeros at either end, `00` |

use super::key_fields::KeyField;

/// An order of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyOrder {
    fields: Vec<KeyField>,
    separator: Vec<u8>,
}

impl KeyOrder {
    /// The order by these parts of keys whose fields are parted by `separator`.
    pub(super) fn new(fields: Vec<KeyField>, separator: Vec<u8>) -> Self {
        Self { fields, separator }
    }

    /// Appends what is sorted by.
    pub(super) fn encode(&self, key: &[u8], out: &mut Vec<u8>) {
        for field in &self.fields {
            let from = out.len();
            match field.of(key, &self.separator) {
                None => out.push(0),
                Some(part) if field.numeric => {
                    out.push(1);
                    encode_number(part, out);
                }
                Some(part) => {
                    out.push(1);
                    encode_text(part, out);
                }
            }
            if field.reverse {
                out[from..].iter_mut().for_each(|byte| *byte = !*byte);
            }
        }
        out.extend_from_slice(key);
    }

    /// The key of what is sorted by; all of it, if it is nothing that was encoded here.
    pub(super) fn key_of<'k>(&self, encoded: &'k [u8]) -> &'k [u8] {
        self.pass(encoded).unwrap_or(encoded)
    }

    fn pass<'k>(&self, mut rest: &'k [u8]) -> Option<&'k [u8]> {
        for field in &self.fields {
            let mask = if field.reverse { 0xff } else { 0 };
            let (tag, behind) = rest.split_first()?;
            rest = behind;
            if tag ^ mask != 0 {
                rest = if field.numeric { pass_number(rest, mask)? } else { pass_text(rest, mask)? };
            }
        }
        Some(rest)
    }
}

fn encode_text(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        out.push(byte);
        if byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 0]);
}

fn pass_text(bytes: &[u8], mask: u8) -> Option<&[u8]> {
    let mut at = 0;
    loop {
        at += memchr::memchr(mask, bytes.get(at..)?)? + 2;
        if *bytes.get(at - 1)? == mask {
            return bytes.get(at..);
        }
    }
}

/// Encodes the decimal number that text begins with, behind blanks.
fn encode_number(text: &[u8], out: &mut Vec<u8>) {
    let text = text.trim_ascii_start();
    let (negative, text) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, rest) = text.split_at(digits(text));
    let fraction = rest.strip_prefix(b".").map_or(&[][..], |rest| &rest[..digits(rest)]);
    let whole = &whole[whole.iter().take_while(|&&digit| digit == b'0').count()..];
    let kept = fraction.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
    let fraction = &fraction[..kept];
    if whole.is_empty() && fraction.is_empty() {
        return out.push(1);
    }
    out.push(if negative { 0 } else { 2 });
    let from = out.len();
    out.extend_from_slice(&u32::try_from(whole.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(whole);
    out.extend_from_slice(fraction);
    out.push(0);
    if negative {
        out[from..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

fn pass_number(bytes: &[u8], mask: u8) -> Option<&[u8]> {
    let (sign, rest) = bytes.split_first()?;
    let end = match sign ^ mask {
        0 => !mask,
        2 => mask,
        _ => return Some(rest),
    };
    let digits = rest.get(4..)?;
    digits.get(memchr::memchr(end, digits)? + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(options: &str) -> KeyOrder {
        KeyOrder::new(KeyField::parse_all(options).expect(options), b"\t".to_vec())
    }

    fn sorted<'k>(options: &str, keys: &[&'k str]) -> Vec<&'k str> {
        let order = order(options);
        let mut encoded: Vec<(Vec<u8>, &str)> = keys
            .iter()
            .map(|&key| {
                let mut bytes = Vec::new();
                order.encode(key.as_bytes(), &mut bytes);
                assert_eq!(order.key_of(&bytes).escape_ascii().to_string(), key.as_bytes().escape_ascii().to_string());
                (bytes, key)
            })
            .collect();
        encoded.sort();
        encoded.into_iter().map(|(_, key)| key).collect()
    }

    #[test]
    fn keys_come_in_the_order_of_their_fields() {
        assert_eq!(sorted("-k2,2nr", &["a\t1", "b\t10", "c\t2", "d"]), ["b\t10", "c\t2", "a\t1", "d"]);
        assert_eq!(sorted("-k1,1r -k2,2n", &["a\t2", "b\t10", "b\t9", "a\t1"]), ["b\t9", "b\t10", "a\t1", "a\t2"]);
        assert_eq!(sorted("-k2,2", &["x\tb", "y\ta\0", "z\ta", "w"]), ["w", "z\ta", "y\ta\0", "x\tb"]);
        assert_eq!(
            sorted("-n", &["10", "9", "-1", "-1.5", "0.25", "0.3", "x", "  7", "-10", "007.10", "7.1", "1e9"]),
            ["-10", "-1.5", "-1", "x", "0.25", "0.3", "1e9", "  7", "007.10", "7.1", "9", "10"]
        );
        assert_eq!(sorted("", &["b", "a"]), ["a", "b"]);
    }

    proptest! {
        #[test]
        fn numbers_sort_as_numbers_and_texts_as_bytes(
            pairs in proptest::collection::vec((any::<i32>(), "[a\\x00\\xff]{0,3}"), 1..20),
            reverse in any::<bool>(),
        ) {
            let order = order(if reverse { "-k1,1nr -k2,2r" } else { "-k1,1n -k2,2" });
            let mut encoded: Vec<(Vec<u8>, _)> = pairs
                .iter()
                .map(|(number, text)| {
                    let mut bytes = vec![];
                    let key = format!("{number}\t{text}");
                    order.encode(key.as_bytes(), &mut bytes);
                    assert_eq!(order.key_of(&bytes), key.as_bytes());
                    (bytes, (*number, Some(text.as_str()).filter(|text| !text.is_empty())))
                })
                .collect();
            encoded.sort();
            let mut expect: Vec<(i32, Option<&str>)> = encoded.iter().map(|(_, pair)| *pair).collect();
            let seen = expect.clone();
            expect.sort_by(|a, b| if reverse { b.cmp(a) } else { a.cmp(b) });
            prop_assert_eq!(seen, expect);
        }
    }
}
