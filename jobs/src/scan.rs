//! Splits a whole block into words without a branch per byte.

use gristmill_common::job::Result;

/// Bytes classified at once: the width of the bit set.
const WIDTH: usize = 64;

/// Calls `each` with every maximal run of bytes that are not ASCII white space (space, tab, LF, FF,
/// CR), in order: what `gristmill_common::job::words` gives.
///
/// Bytes are classified 64 at a time into a bit set, whose edges are the words' ends; so the cost
/// per byte is a few vector instructions and branches come once a word. The bit-set form of a
/// scanner is that of simdjson (Langdale and Lemire, "Parsing Gigabytes of JSON per Second", 2019).
///
/// # Errors
///
/// The first error of `each`.
#[inline]
pub(crate) fn for_each_word(bytes: &[u8], mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut word_start = 0;
    let mut inside = false;
    let (chunks, tail) = bytes.as_chunks::<WIDTH>();
    for (index, chunk) in chunks.iter().enumerate() {
        let in_word = !white_space(chunk);
        // A bit is set where a byte differs from the one before it: words start and end there.
        let mut edges = in_word ^ (in_word << 1 | u64::from(inside));
        while edges != 0 {
            let edge = index * WIDTH + edges.trailing_zeros() as usize;
            edges &= edges - 1;
            if inside {
                each(&bytes[word_start..edge])?;
            }
            inside = !inside;
            word_start = edge;
        }
    }
    let tail_start = bytes.len() - tail.len();
    for (index, byte) in tail.iter().enumerate() {
        if byte.is_ascii_whitespace() == inside {
            if inside {
                each(&bytes[word_start..tail_start + index])?;
            }
            inside = !inside;
            word_start = tail_start + index;
        }
    }
    if inside { each(&bytes[word_start..]) } else { Ok(()) }
}

/// The set of bytes that are white space; bit `n` is byte `n`.
#[inline]
fn white_space(chunk: &[u8; WIDTH]) -> u64 {
    let mut flags = [0_u8; WIDTH];
    for (flag, &byte) in flags.iter_mut().zip(chunk) {
        // `|` and not `||`: without branches the compiler compares whole vectors.
        *flag = u8::from((byte == b' ') | (byte == b'\n') | (byte == b'\t') | (byte == b'\r') | (byte == b'\x0c'));
    }
    let (groups, _) = flags.as_chunks::<8>();
    let mut set = 0;
    for (index, group) in groups.iter().enumerate() {
        // The product moves the lowest bit of each of the eight bytes into the top byte, in order.
        let gathered = u64::from_le_bytes(*group).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        set |= gathered << (8 * index);
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_common::job::{JobError, words};
    use proptest::prelude::*;

    fn scanned(bytes: &[u8]) -> Vec<&[u8]> {
        let mut found: Vec<(usize, usize)> = vec![];
        for_each_word(bytes, |word| {
            let start = word.as_ptr().addr() - bytes.as_ptr().addr();
            found.push((start, start + word.len()));
            Ok(())
        })
        .expect("no error");
        found.into_iter().map(|(start, end)| &bytes[start..end]).collect()
    }

    #[test]
    fn every_byte_separates_or_not_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..130 {
                let mut bytes = vec![b'x'; 130];
                bytes[place] = byte;
                assert_eq!(scanned(&bytes), words(&bytes).collect::<Vec<_>>(), "{byte:#x} at {place}");
            }
        }
    }

    #[test]
    fn an_error_ends_the_scan() {
        let mut seen = 0;
        let result = for_each_word(b"a b c", |_| {
            seen += 1;
            if seen == 2 { Err(JobError::new("enough")) } else { Ok(()) }
        });
        assert_eq!((result.is_err(), seen), (true, 2));
    }

    proptest! {
        #[test]
        fn words_of_any_bytes_are_those_of_the_plain_splitter(
            bytes in proptest::collection::vec(proptest::sample::select(b"abc\xff\0\x0b \t\n\x0c\r".to_vec()), 0..300),
        ) {
            prop_assert_eq!(scanned(&bytes), words(&bytes).collect::<Vec<_>>());
        }
    }
}
