//! `copy`: writes every record as a line, in input order. Nothing is sorted or shuffled.

use clap::Args;
use gristmill_common::prelude::*;
use serde::{Deserialize, Serialize};

/// Writes every record as a line, in input order
#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copy {}

impl Program for Copy {
    fn visit<V: JobVisitor>(self, visitor: V) -> Result<V::Output, OptionError> {
        Ok(visitor.map_only(self))
    }
}

impl MapOnly for Copy {
    type Input = Lines;
    type Output = Text<[u8]>;

    fn map(&self, record: &[u8], out: &mut impl Sink<[u8]>) -> Result<()> {
        out.put(record, ())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{check, check_options, output, rules};
    use proptest::prelude::*;

    #[test]
    fn records_keep_their_order_and_bytes() {
        check::<Copy>(&[], &[("b", b"2\n1\r\n\n\xff"), ("a", b"0")], b"2\n1\n\n\xff\n0\n");
        check::<Copy>(&[], &[("a", b"")], b"");
        check_options::<Copy>(&[]);
    }

    proptest! {
        #[test]
        fn every_record_becomes_a_line(
            text in proptest::collection::vec(proptest::sample::select(b"ab\n\r\t\xef\xbb\xbf".to_vec()), 0..120),
        ) {
            for rule in rules() {
                let expect: Vec<u8> = rule.records(&text).flat_map(|line| [line, b"\n"].concat()).collect();
                prop_assert_eq!(output(Copy {}, &rule, &[("a", &text)]).parts.concat(), expect, "{}", rule);
            }
        }
    }
}
