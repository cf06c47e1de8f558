//! An inverted index with positions: `word TAB file:offset,offset file:offset`, files and offsets in
//! order, as a search for phrases needs it.

use std::fmt::Write as _;

use gristmill::prelude::*;

use crate::mit::letter_runs;

/// Records are grouped by word and come by file and offset, however many there are.
pub(crate) struct Positions;

impl MapReduce for Positions {
    type Input = Located<Lines>;
    type Key = Triple<[u8], str, u64>;
    type Value = Pair<str, u64>;
    type Combine = NoCombine;
    type Output = Text<[u8], String>;
    const GROUPING: Grouping = Grouping::Leading(1);

    fn map(
        &self,
        (from, line): (Provenance<'_>, &[u8]),
        out: &mut impl Emit<Triple<[u8], str, u64>, Pair<str, u64>>,
    ) -> Result<()> {
        let file = from.object.rsplit('/').next().unwrap_or(from.object);
        let mut at = 0;
        let lower = line.to_ascii_lowercase();
        letter_runs(&lower).try_for_each(|word| {
            // Words come in turn, so the next one is where its first byte is found behind the last.
            at += lower[at..].windows(word.len()).position(|window| window == word).unwrap_or(0);
            let offset = from.offset + at as u64;
            at += word.len();
            out.emit((word, file, offset), (file, offset))
        })
    }

    fn reduce(
        &self,
        (word, _, _): (&[u8], &str, u64),
        mut places: Values<Pair<str, u64>>,
        out: &mut impl Sink<[u8], String>,
    ) -> Result<()> {
        let (mut list, mut last) = (String::new(), String::new());
        while let Some((file, offset)) = places.next_ref() {
            if last == file {
                write!(list, ",{offset}")?;
            } else {
                let space = if list.is_empty() { "" } else { " " };
                write!(list, "{space}{file}:{offset}")?;
                file.clone_into(&mut last);
            }
        }
        out.put(word, list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_where_they_begin() {
        let files = [("b/two", "Not to be; cannot not\n"), ("a/one", "to\nbe to\n")];
        let expect = "be\tone:3 two:7\ncannot\ttwo:11\nnot\ttwo:0,18\nto\tone:0,6 two:4\n";
        assert_eq!(gristmill::testing::run(&Positions, files).text(), expect);
        gristmill::check_job!(Positions, files);
    }
}
