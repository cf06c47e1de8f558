//! `distinct`: each different line once. Lines are compared as bytes.

use clap::Args;
use gristmill_common::prelude::*;
use serde::{Deserialize, Serialize};

/// Writes each different line once
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distinct {}

impl Program for Distinct {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_reduce(self))
    }
}

impl MapReduce for Distinct {
    type Input = Lines;
    type Key = [u8];
    type Value = ();
    type Combine = First;
    type Output = Text<[u8]>;

    fn map(&self, line: &[u8], out: &mut impl Emit<[u8], ()>) -> Result<()> {
        out.emit(line, ())
    }

    fn reduce(&self, line: &[u8], _copies: Values<()>, out: &mut impl Sink<[u8]>) -> Result<()> {
        out.put(line, ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{check, check_options, output, rules};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_line_is_written_once_in_byte_order() {
        check::<Distinct>(&[], &[("a", b"b\na\nb\r\n\na"), ("b", b"\xff\na")], b"\na\nb\n\xff\n");
        check::<Distinct>(&[], &[("a", b"")], b"");
        check::<Distinct>(&[], &[("a", b"x \nx\nX")], b"X\nx\nx \n");
        check_options::<Distinct>(&[]);
    }

    proptest! {
        #[test]
        fn the_output_is_the_set_of_records(
            text in proptest::collection::vec(proptest::sample::select(b"ab\n\r\t\0".to_vec()), 0..120),
        ) {
            for rule in rules() {
                let set: BTreeSet<&[u8]> = rule.records(&text).collect();
                let expect: Vec<u8> = set.into_iter().flat_map(|line| [line, b"\n"].concat()).collect();
                prop_assert_eq!(output(Distinct {}, &rule, &[("a", &text)]).parts.concat(), expect, "{}", rule);
            }
        }
    }
}
