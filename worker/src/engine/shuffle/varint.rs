//! Lengths inside records: LEB128, seven bits a byte, lowest first, at most five bytes.

/// Appends `n`.
#[inline]
pub(in super::super) fn push_varint(mut n: u32, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Reads a number at `*at` and moves `*at` past it; `None` if it is cut short or too long.
#[inline]
pub(in super::super) fn read_varint(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let first = *bytes.get(*at)?;
    *at += 1;
    if first < 0x80 {
        return Some(u32::from(first));
    }
    let mut n = u32::from(first & 0x7f);
    for shift in [7, 14, 21, 28] {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if shift == 28 && byte > 0x0f {
            return None;
        }
        n |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_and_cuts_are_seen() {
        for n in [0, 1, 127, 128, 300, 16_383, 16_384, 1 << 28, u32::MAX] {
            let mut bytes = vec![];
            push_varint(n, &mut bytes);
            let mut at = 0;
            assert_eq!((read_varint(&bytes, &mut at), at), (Some(n), bytes.len()));
            assert_eq!(read_varint(&bytes[..bytes.len() - 1], &mut 0), None);
        }
        assert_eq!(read_varint(&[0xff, 0xff, 0xff, 0xff, 0x1f], &mut 0), None, "33 bits");
    }
}
