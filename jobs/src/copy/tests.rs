//! Copies as lines and as rows.

use super::*;
use crate::oracle::{check, check_options, output, parsed, rules};
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
            prop_assert_eq!(output(parsed::<Copy>(&[]), &rule, &[("a", &text)]).parts.concat(), expect, "{}", rule);
        }
    }
}
