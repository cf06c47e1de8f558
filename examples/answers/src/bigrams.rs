//! How often one word follows another within a line, and how often anything follows it:
//! `first second TAB pairs TAB pairs that begin with first`.

use gristmill::prelude::*;

use crate::mit::letter_runs;

/// Pairs of lower-cased words. Records are grouped by the first word and come in the order of the
/// second, so equal pairs follow each other. Each group is read twice, and may be larger than memory:
/// for its size, and for the pairs.
pub(crate) struct Bigrams;

impl MapReduce for Bigrams {
    type Input = Lines;
    type Key = Pair<[u8], [u8]>;
    /// The second word: `reduce` is handed the first key of a group, and no other.
    type Value = [u8];
    type Combine = NoCombine;
    type Output = Text<[u8], Pair<u64, u64>>;
    const GROUPING: Grouping = Grouping::Leading(1);

    fn map(&self, line: &[u8], out: &mut impl Emit<Pair<[u8], [u8]>, [u8]>) -> Result<()> {
        let line = line.to_ascii_lowercase();
        let words: Vec<&[u8]> = letter_runs(&line).collect();
        words.windows(2).try_for_each(|pair| out.emit((pair[0], pair[1]), pair[1]))
    }

    fn reduce(
        &self,
        (first, _): (&[u8], &[u8]),
        seconds: Values<[u8]>,
        out: &mut impl Sink<[u8], Pair<u64, u64>>,
    ) -> Result<()> {
        let mut seconds = seconds.keep()?;
        let all = seconds.len();
        let (mut last, mut pairs) = (Vec::new(), 0);
        let mut put = |second: &[u8], pairs: u64| match pairs {
            0 => Ok(()),
            _ => out.put(&[first, b" ", second].concat(), (pairs, all)),
        };
        seconds.for_each(|second| {
            if last != second {
                put(&last, pairs)?;
                (last, pairs) = (second.to_owned(), 0);
            }
            pairs += 1;
            Ok(())
        })?;
        put(&last, pairs)
    }
}
