//! `grep`: the lines in which a regular expression matches, or how often each match occurs.
//! Expressions are those of the `regex` crate: Unicode, no look-around, linear time; lines need not
//! be UTF-8.

use clap::Args;
use gristmill_common::prelude::*;
use gristmill_common::text::LineRule;
use memchr::{memchr, memrchr};
use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// Writes the lines that match a regular expression, or counts the matches
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grep {
    /// Regular expression; every line in which it matches is written
    #[arg(long, value_name = "RE")]
    pattern: String,

    /// Count how often each non-empty match occurs instead of writing lines
    #[arg(long)]
    #[serde(default)]
    count: bool,
}

impl Program for Grep {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        let regex = Regex::new(&self.pattern)
            .map_err(|error| OptionError::new(format!("--pattern is not a regular expression: {error}")))?;
        Ok(match self.count {
            true => visitor.map_reduce(CountMatches { regex }),
            false => visitor.map_only(MatchingLines::new(&self.pattern, regex)),
        })
    }
}

/// Writes matching lines as they are, in input order.
#[derive(Debug)]
struct MatchingLines {
    regex: Regex,
    /// Finds in whole blocks what `regex` finds in lines; absent if the expression can tell.
    in_blocks: Option<Regex>,
}

impl MatchingLines {
    fn new(pattern: &str, regex: Regex) -> Self {
        let in_blocks = if tells_lines_from_blocks(pattern) {
            None
        } else {
            RegexBuilder::new(pattern).multi_line(true).build().ok()
        };
        Self { regex, in_blocks }
    }

    /// Writes the matching lines of a block whose lines end at LF and hold no CR. A match in a line is
    /// one in the block; what is found may lie in several lines, and then the line decides.
    fn search(&self, in_blocks: &Regex, text: &[u8], out: &mut impl Sink<[u8]>) -> Result<()> {
        let mut from = 0;
        while from < text.len() {
            let Some(found) = in_blocks.find_at(text, from) else { break };
            let begin = memrchr(b'\n', &text[from..found.start()]).map_or(from, |at| from + at + 1);
            if begin == text.len() {
                break;
            }
            let end = memchr(b'\n', &text[found.start()..]).map_or(text.len(), |at| found.start() + at);
            let line = &text[begin..end];
            if found.end() <= end || self.regex.is_match(line) {
                out.put(line, ())?;
            }
            from = end + 1;
        }
        Ok(())
    }
}

/// Whether an expression may depend on where a text ends other than by `^` and `$`, which can be told
/// to mean lines. Says so too often rather than too rarely.
fn tells_lines_from_blocks(pattern: &str) -> bool {
    let switches_off = |group: &str| group.split([':', ')']).next().is_some_and(|flags| flags.contains('-'));
    pattern.contains("\\A")
        || pattern.contains("\\z")
        || pattern.contains("\\b{")
        || pattern.split("(?").skip(1).any(switches_off)
}

impl MapOnly for MatchingLines {
    type Input = Lines;
    type Output = Text<[u8]>;

    fn map(&self, line: &[u8], out: &mut impl Sink<[u8]>) -> Result<()> {
        if self.regex.is_match(line) { out.put(line, ()) } else { Ok(()) }
    }

    /// Searches the whole block at once where that finds the same lines.
    fn map_block(&self, block: &mut Block<'_, Lines>, out: &mut impl Sink<[u8]>) -> Result<()> {
        if let (Some(in_blocks), LineRule::Lf) = (&self.in_blocks, block.rule())
            && memchr(b'\r', block.rest()).is_none()
        {
            self.search(in_blocks, block.rest(), out)?;
            block.skip_to_end();
            return Ok(());
        }
        while let Some(record) = block.next_record() {
            self.map(record?, out)?;
        }
        Ok(())
    }
}

/// Counts the leftmost, non-overlapping matches within each line. Matches of nothing (`a*` in `b`)
/// are not counted: they say nothing about the text.
#[derive(Debug)]
struct CountMatches {
    regex: Regex,
}

impl MapReduce for CountMatches {
    type Input = Lines;
    type Key = [u8];
    type Value = u64;
    type Combine = Sum;
    type Output = Text<[u8], u64>;

    fn map(&self, line: &[u8], out: &mut impl Emit<[u8], u64>) -> Result<()> {
        for found in self.regex.find_iter(line).filter(|found| !found.is_empty()) {
            out.emit(found.as_bytes(), 1)?;
        }
        Ok(())
    }

    fn reduce(&self, found: &[u8], counts: Values<u64>, out: &mut impl Sink<[u8], u64>) -> Result<()> {
        out.put(found, counts.sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{check, check_options, parsed};
    use gristmill_common::reference::ReferenceInput;
    use proptest::prelude::*;

    #[test]
    fn matching_lines_are_written_as_they_are() {
        let lines = |pattern: &str, text: &[u8], expect: &[u8]| {
            check::<Grep>(&["--pattern", pattern], &[("a", text)], expect);
        };
        lines("b+", b"abc\nxyz\r\n\xffb\xfe\r\nb", b"abc\n\xffb\xfe\nb\n");
        lines("^b$", b"abc\nb\r\nb ", b"b\n");
        lines("", b"one\n\ntwo", b"one\n\ntwo\n");
        lines("é.", "aéb\né\n".as_bytes(), "aéb\n".as_bytes());
        lines(r"(?-u)\xff", b"a\xff\nb", b"a\xff\n");
        lines("x", b"", b"");
        check_options::<Grep>(&["--pattern", "x"]);
    }

    #[test]
    fn each_match_is_counted() {
        let counts = |pattern: &str, text: &[u8], expect: &[u8]| {
            check::<Grep>(&["--count", "--pattern", pattern], &[("a", text)], expect);
        };
        counts("[A-Z][a-z]*ing", b"King Being\nbring Ring King\nSinging", b"Being\t1\nKing\t2\nRing\t1\nSinging\t1\n");
        counts("aa", b"aaaaa\naa", b"aa\t3\n");
        counts("a*", b"baa\nb\na", b"a\t1\naa\t1\n");
        counts("a\nb", b"a\nb", b"");
        counts("a|ab", b"ab ab", b"a\t2\n");
        check_options::<Grep>(&["--count", "--pattern", "x"]);
    }

    #[test]
    fn a_bad_expression_names_the_option() {
        let program: Grep = parsed(&["--pattern", "a("]);
        let error =
            program.visit(ReferenceInput { objects: &[], rule: &LineRule::Lf, partitions: 1 }).expect_err("bad");
        assert!(error.message.starts_with("--pattern is not a regular expression: "), "{error}");
        assert!(error.message.contains("unclosed group"), "{error}");
    }

    proptest! {
        #[test]
        fn a_block_has_the_matching_lines_of_its_records(
            text in proptest::collection::vec(proptest::sample::select(b"aab. \n\n\xff\r".to_vec()), 0..80),
            with_cr in proptest::bool::weighted(0.1),
            pattern in proptest::sample::select(vec![
                "a", "^a", "b$", "^$", "", "a*", "\\s", "[^a]", "a\\s*b", "(?s).b", "\\bb", "\\Aa", "b\\z", "(?-m)^a", "b+?\\b", "\\B",
                "(?i)A.*B", "\\xff|ab", "(?-u)\\xff", "^[^b]*$", "x",
            ]),
        ) {
            let text: Vec<u8> = text.into_iter().filter(|&byte| with_cr || byte != b'\r').collect();
            let regex = Regex::new(pattern).expect("valid");
            let mut expect = vec![];
            for line in LineRule::Lf.records(&text).filter(|line| regex.is_match(line)) {
                expect.extend_from_slice(line);
                expect.push(b'\n');
            }
            check::<Grep>(&["--pattern", pattern], &[("a", &text)], &expect);
        }
    }
}
