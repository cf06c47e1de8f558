//! How an object is divided into the pieces of an upload, and the entity tag that follows from theirs.
//! Pure.

use std::fmt::Write as _;
use std::ops::Range;

use md5::{Digest as _, Md5};

/// The least size of a piece that is not the last one. Stores want 5 MiB or more; more saves requests,
/// less saves memory and what has to be sent again.
const LEAST_PIECE_BYTES: u64 = 8 << 20;

/// Sizes of pieces are multiples of this.
const PIECE_UNIT_BYTES: u64 = 1 << 20;

/// The most pieces of an upload that stores take.
const MOST_PIECES: u64 = 10_000;

/// Hex digits of an MD5.
const MD5_DIGITS: usize = 32;

/// The pieces of an object of so many bytes, in order: all of one size but the last, since some stores
/// want that. An object without bytes has none.
pub fn pieces(bytes: u64) -> impl ExactSizeIterator<Item = Range<u64>> + Clone {
    let piece = LEAST_PIECE_BYTES.max(bytes.div_ceil(MOST_PIECES)).next_multiple_of(PIECE_UNIT_BYTES);
    let count = usize::try_from(bytes.div_ceil(piece)).expect("there are at most MOST_PIECES");
    (0..count).map(move |number| {
        let start = number as u64 * piece;
        start..bytes.min(start + piece)
    })
}

/// The entity tag that an S3 store gives an object made of pieces with these tags: the MD5 of their MD5s,
/// and how many they are. `None` if the tags are no MD5s, which stores that encrypt with keys of their
/// own do not give.
pub fn whole_tag(piece_tags: &[String]) -> Option<String> {
    let mut hash = Md5::new();
    for tag in piece_tags {
        let digits = tag.trim_matches('"');
        if digits.len() != MD5_DIGITS || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        for at in (0..MD5_DIGITS).step_by(2) {
            hash.update([u8::from_str_radix(&digits[at..at + 2], 16).ok()?]);
        }
    }
    let mut text = String::with_capacity(MD5_DIGITS + 6);
    for byte in hash.finalize() {
        write!(text, "{byte:02x}").expect("a String takes all text");
    }
    write!(text, "-{}", piece_tags.len()).expect("a String takes all text");
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_object_and_are_few_and_large_enough() {
        const MIB: u64 = 1 << 20;
        let check = |bytes: u64, count: usize, first: u64, last: u64| {
            let all: Vec<Range<u64>> = pieces(bytes).collect();
            assert_eq!((all.len(), pieces(bytes).len()), (count, count), "{bytes}");
            let ends = all.iter().map(|piece| piece.end);
            assert!(all.iter().map(|piece| piece.start).eq([0].into_iter().chain(ends).take(count)), "{bytes}");
            let size = |piece: Option<&Range<u64>>| piece.map_or(0, |piece| piece.end - piece.start);
            assert_eq!((size(all.first()), size(all.last())), (first, last), "{bytes}");
            assert_eq!(all.last().map_or(0, |piece| piece.end), bytes);
        };
        check(0, 0, 0, 0);
        check(1, 1, 1, 1);
        check(8 * MIB, 1, 8 * MIB, 8 * MIB);
        check(8 * MIB + 1, 2, 8 * MIB, 1);
        check(80_000 * MIB, 10_000, 8 * MIB, 8 * MIB);
        check(80_000 * MIB + 1, 8889, 9 * MIB, 8 * MIB + 1);
        // The largest object of S3.
        check(5 << 40, 9987, 525 * MIB, 230 * MIB);
    }

    #[test]
    fn the_tag_of_the_whole_follows_from_those_of_the_pieces() {
        // Of an upload of "a" and "b" to a server, by what an S3 client shows.
        let tags = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        let (a, b) = ("0cc175b9c0f1b6a831c399e269772661", "\"92eb5ffee6ae2fec3ad71c777531578f\"");
        let both = Md5::digest([
            0x0c, 0xc1, 0x75, 0xb9, 0xc0, 0xf1, 0xb6, 0xa8, 0x31, 0xc3, 0x99, 0xe2, 0x69, 0x77, 0x26, 0x61, 0x92, 0xeb,
            0x5f, 0xfe, 0xe6, 0xae, 0x2f, 0xec, 0x3a, 0xd7, 0x1c, 0x77, 0x75, 0x31, 0x57, 0x8f,
        ]);
        let text: String = both.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(whole_tag(&tags(&[a, b])), Some(format!("{text}-2")));
        for strange in ["", "\"\"", "0cc175b9c0f1b6a831c399e26977266", "0cc175b9c0f1b6a831c399e26977266x", "a-1"] {
            assert_eq!(whole_tag(&tags(&[a, strange])), None, "{strange}");
        }
        assert_eq!(whole_tag(&[]).as_deref(), Some("d41d8cd98f00b204e9800998ecf8427e-0"));
    }
}
