//! Keys made short. Numbers, dates, times and addresses consist of the sixteen bytes from `,` (2C) to
//! `;` (3B); a key of those alone is packed two bytes into one, which often lets it lie inside the
//! combiner's slot. Other keys stay as they are. Packed keys of
//! one length keep the order of their texts.
//!
//! Key: `00`, packed bytes (the first in the high half, an odd one padded with `0`), length; or `01`
//! and the text.

const PACKED: u8 = 0;
const PLAIN: u8 = 1;

/// The byte whose packed form is 0.
const FIRST: u8 = b',';

const ONES: u64 = 0x0101_0101_0101_0101;

/// Packs and unpacks key texts whose fields one separator joins.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyText {
    separator: u8,
    /// Whether `,` stands for the separator, which is none of the sixteen bytes itself.
    swapped: bool,
}

impl KeyText {
    pub(super) fn new(separator: u8) -> Self {
        Self { separator, swapped: !(FIRST..FIRST + 16).contains(&separator) }
    }

    /// Appends the key of a text.
    #[inline]
    pub(super) fn pack(self, text: &mut [u8], key: &mut Vec<u8>) {
        let begin = key.len();
        if self.swapped {
            self.swap(text);
        }
        key.push(PACKED);
        if text.len() <= usize::from(u8::MAX) && pack_all(text, key) {
            key.truncate(begin + 1 + text.len().div_ceil(2));
            key.push(text.len() as u8);
            return;
        }
        if self.swapped {
            self.swap(text);
        }
        key.truncate(begin);
        key.push(PLAIN);
        key.extend_from_slice(text);
    }

    /// Appends the text of a key.
    #[inline]
    pub(super) fn unpack(self, key: &[u8], text: &mut Vec<u8>) {
        let begin = text.len();
        match key {
            [PACKED, packed @ .., len] => {
                text.extend(packed.iter().flat_map(|byte| [FIRST + (byte >> 4), FIRST + (byte & 15)]));
                text.truncate(begin + usize::from(*len));
                if self.swapped {
                    self.swap(&mut text[begin..]);
                }
            }
            [_, plain @ ..] => text.extend_from_slice(plain),
            [] => {}
        }
    }

    /// Exchanges separator and `,`: its own inverse.
    fn swap(self, text: &mut [u8]) {
        for byte in text {
            if *byte == self.separator {
                *byte = FIRST;
            } else if *byte == FIRST {
                *byte = self.separator;
            }
        }
    }
}

/// Packs eight bytes at a time; `false` if one is not among the sixteen.
#[inline]
fn pack_all(text: &[u8], key: &mut Vec<u8>) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    for word in words {
        let Some(packed) = pack_word(u64::from_be_bytes(*word)) else { return false };
        key.extend_from_slice(&packed.to_be_bytes());
    }
    if !rest.is_empty() {
        let mut word = [FIRST; 8];
        word[..rest.len()].copy_from_slice(rest);
        let Some(packed) = pack_word(u64::from_be_bytes(word)) else { return false };
        key.extend_from_slice(&packed.to_be_bytes());
    }
    true
}

/// Eight bytes as eight halves, the first in the highest.
#[inline]
fn pack_word(word: u64) -> Option<u32> {
    let high = 0x80 * ONES;
    // With its high bit set no byte borrows from the next one.
    let halves = ((word | high) - u64::from(FIRST) * ONES) ^ high;
    if (word & high) | (halves & (0xf0 * ONES)) != 0 {
        return None;
    }
    let pairs = (halves | halves >> 4) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    Some((fours | fours >> 16) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packed(separator: u8, text: &str) -> Vec<u8> {
        let mut key = vec![];
        KeyText::new(separator).pack(&mut text.as_bytes().to_vec(), &mut key);
        key
    }

    #[test]
    fn addresses_and_numbers_fit_a_slot() {
        assert_eq!(packed(b',', "255.255.255.255,200").len(), 12);
        assert_eq!(packed(b'\t', "255.255.255.255\t200").len(), 12);
        assert_eq!(packed(b',', "EWR,1"), b"\x01EWR,1");
        assert_eq!(packed(b',', ""), b"\0\0");
    }

    proptest! {
        #[test]
        fn packed_keys_come_back_and_differ(
            texts in proptest::collection::vec("[0-9,.;:/\t|-]{0,30}|[a-z,0-9\t]{0,12}", 2..20),
            separator in proptest::sample::select(b",\t|.".to_vec()),
        ) {
            let keys: Vec<Vec<u8>> = texts.iter().map(|text| packed(separator, text)).collect();
            for (key, text) in keys.iter().zip(&texts) {
                let mut back = vec![];
                KeyText::new(separator).unpack(key, &mut back);
                prop_assert_eq!(&back, text.as_bytes());
            }
            for (a, x) in keys.iter().zip(&texts) {
                for (b, y) in keys.iter().zip(&texts) {
                    prop_assert_eq!(a == b, x == y);
                    if separator == b',' && a[0] == b[0] && x.len() == y.len() {
                        prop_assert_eq!(a.cmp(b), x.cmp(y));
                    }
                }
            }
        }
    }
}
