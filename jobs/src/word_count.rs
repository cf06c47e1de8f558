//! `word-count`: how often each word occurs. Words are runs of bytes between ASCII white space; their
//! case is kept and they need not be UTF-8.

use clap::Args;
use gristmill_common::prelude::*;
use gristmill_common::text::LineRule;
use serde::{Deserialize, Serialize};

use crate::scan::for_each_word;

/// Counts how often each word occurs
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WordCount {}

impl Program for WordCount {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(self))
    }
}

impl MapReduce for WordCount {
    type Input = Lines;
    type Key = [u8];
    type Value = u64;
    type Combine = Sum;
    type Output = Text<[u8], u64>;

    fn map(&self, line: &[u8], out: &mut impl Emit<[u8], u64>) -> Result<()> {
        for_each_word(line, |word| out.emit(word, 1))
    }

    fn reduce(&self, word: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
        out.put(word, counts.sum())
    }

    /// Scans the whole block at once where no word can lie in two records. The position in hand then
    /// stays at the block's first record, so a failure (only a word too large to be a record can
    /// cause one) names the block and not the line.
    fn map_block(&self, block: &mut Block<'_, Lines>, out: &mut impl Emit<[u8], u64>) -> Result<()> {
        if ends_at_white_space(block.rule()) {
            for_each_word(block.rest(), |word| out.emit(word, 1))?;
            block.skip_to_end();
            return Ok(());
        }
        while let Some(record) = block.next_record() {
            self.map(record?, out)?;
        }
        Ok(())
    }
}

/// Whether records end at white space only, so that a block's words are its records' words. The CR
/// that a rule drops is white space too, and a byte order mark is not part of any block.
fn ends_at_white_space(rule: &LineRule) -> bool {
    match rule {
        LineRule::Lf | LineRule::Any | LineRule::Quoted => true,
        LineRule::Delimiter(delimiter) => delimiter.bytes().iter().all(u8::is_ascii_whitespace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{check, check_options, output, rules};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn words_end_at_ascii_white_space_and_keep_their_bytes() {
        let rows: [(&[u8], &[u8]); 7] = [
            (b"", b""),
            (b" \t\n\r\n\x0c", b""),
            (b"to be or not to be", b"be\t2\nnot\t1\nor\t1\nto\t2\n"),
            (b"a\tb\x0cc\rd\r\ne", b"a\t1\nb\t1\nc\t1\nd\t1\ne\t1\n"),
            (b"a\x0bb\xc2\xa0c\xe2\x80\x83d", b"a\x0bb\xc2\xa0c\xe2\x80\x83d\t1\n"),
            (b"The the THE the", b"THE\t1\nThe\t1\nthe\t2\n"),
            (b"\xff\xfe x\0y \xff\xfe", b"x\0y\t1\n\xff\xfe\t2\n"),
        ];
        for (text, expect) in rows {
            check::<WordCount>(&[], &[("a", text)], expect);
        }
        check::<WordCount>(&[], &[("a", b"one two"), ("b", b""), ("c", b"two")], b"one\t1\ntwo\t2\n");
        check_options::<WordCount>(&[]);
    }

    proptest! {
        #[test]
        fn a_block_has_the_words_of_its_records(
            text in proptest::collection::vec(proptest::sample::select(b"aab\x0b\xef\xbb\xbf \t\n\r".to_vec()), 0..200),
        ) {
            for rule in rules() {
                let mut counts: BTreeMap<&[u8], u64> = BTreeMap::new();
                for record in rule.records(&text) {
                    for word in words(record) {
                        *counts.entry(word).or_default() += 1;
                    }
                }
                let mut expect = vec![];
                for (word, count) in counts {
                    Text::<[u8], u64>::write(&word, &count, &mut expect);
                }
                let part = output(WordCount {}, &rule, &[("a", &text)]).parts.concat();
                prop_assert_eq!(part, expect, "{}", rule);
            }
        }
    }
}
