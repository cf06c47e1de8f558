//! `sort-lines`: all lines in byte order, over all parts; a line that occurs several times is written
//! as often.

use clap::Args;
use gristmill_common::prelude::*;
use serde::{Deserialize, Serialize};

/// Sorts all lines as bytes, over all parts
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SortLines {}

impl Program for SortLines {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(self))
    }
}

impl MapReduce for SortLines {
    type Input = Lines;
    type Key = [u8];
    type Value = ();
    type Combine = NoCombine;
    type Output = Text<[u8]>;
    const ORDER: PartOrder = PartOrder::Total;

    #[inline]
    fn map(&self, line: &[u8], out: &mut impl Emit<[u8], ()>) -> Result<()> {
        out.emit(line, ())
    }

    #[inline]
    fn reduce(&self, line: &[u8], copies: Values<()>, out: &mut impl Sink<[u8]>) -> Result<()> {
        copies.try_for_each(|()| out.put(line, ()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{check, check_options, output, rules};
    use proptest::prelude::*;

    #[test]
    fn lines_are_in_byte_order_and_as_often_as_they_occur() {
        check::<SortLines>(&[], &[("a", b"b\na\nb\r\n\na"), ("b", b"\xff\na")], b"\na\na\na\nb\nb\n\xff\n");
        check::<SortLines>(&[], &[("a", b"")], b"");
        check_options::<SortLines>(&[]);
    }

    proptest! {
        #[test]
        fn the_output_is_the_sorted_records(
            text in proptest::collection::vec(proptest::sample::select(b"ab\n\r\t\0".to_vec()), 0..120),
        ) {
            for rule in rules() {
                let mut lines: Vec<&[u8]> = rule.records(&text).collect();
                lines.sort_unstable();
                let expect: Vec<u8> = lines.into_iter().flat_map(|line| [line, b"\n"].concat()).collect();
                prop_assert_eq!(output(SortLines {}, &rule, &[("a", &text)]).parts.concat(), expect, "{}", rule);
            }
        }
    }
}
