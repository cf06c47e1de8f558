//! `group-by` over hand-made rows.

use gristmill_common::text::LineRule;

use super::*;
use crate::oracle::{check_options, check_table, parsed, table_error};

const WEATHER: &[u8] =
    b"origin,month,temp,rain\nEWR,1,39.02,0\nEWR,1,NA,0.01\nJFK,1,39,\nEWR,2,-1.5,2\nEWR,1,39.01,0.2\n";

#[test]
fn aggregates_are_exact_and_skip_absent_values() {
    let check = |flags: &[&str], expect: &[u8]| {
        check_table::<GroupBy>(&[&["--null", "NA"], flags].concat(), &[], &[("w.csv", WEATHER)], expect);
    };
    check(&["--by", "origin"], b"EWR,4\nJFK,1\n");
    check(&["--by", "month", "--agg", "count,sum:temp"], b"1,4,117.03\n2,1,-1.5\n");
    check(
        &["--by", "origin,month", "--agg", "count:temp,mean:temp", "--scale", "3"],
        b"EWR,1,2,39.015\nEWR,2,1,-1.500\nJFK,1,1,39.000\n",
    );
    check(&["--by", "origin", "--agg", "min:temp,max:temp,count:rain>0"], b"EWR,-1.5,39.02,3\nJFK,39,39,0\n");
    check(&["--by", "origin", "--agg", "sum:rain,mean:rain,min:rain"], b"EWR,2.21,0.552500,0\nJFK,NA,NA,NA\n");
    check(&["--by", "temp", "--agg", "count:rain!=0"], b"-1.5,1\n39,0\n39.01,1\n39.02,0\nNA,1\n");
    check(&["--by", "month", "--header"], b"month,count\n1,4\n2,1\n");
    check_options::<GroupBy>(&["--by", "a"]);
}

#[test]
fn rows_are_the_same_with_and_without_quotes_and_for_every_line_end() {
    let flags = ["--columns", "k,v", "--by", "k", "--agg", "sum:v"];
    let plain = b"a,1\nb,2\na,3\n";
    let rows: [&[u8]; 4] = [plain, b"\"a\",1\nb,\"2\"\na,3", b"a,1\r\nb,2\r\n\r\n\na,3\r", b"a,1,x\nb,2,\"\"\na,3,y\n"];
    for text in rows {
        check_table::<GroupBy>(&flags, &[], &[("t", text)], b"a,4\nb,2\n");
    }
    let quoted = b"\"x,y\",1\n\"say \"\"no\"\"\",2\n\"x,y\",5\n";
    check_table::<GroupBy>(&flags, &[], &[("t", quoted)], b"\"say \"\"no\"\"\",2\n\"x,y\",6\n");
    let tabs = ["--columns", "k,v", "--by", "v,k", "--separator", "\\t", "--agg", "count"];
    check_table::<GroupBy>(&tabs, &[], &[("t", b"a,b\t1\na,b\t1\n7\t1\n")], b"1\t7\t1\n1\ta,b\t2\n");
}

#[test]
fn every_object_begins_with_the_header() {
    let flags = ["--by", "k"];
    let objects: [(&str, &[u8]); 4] =
        [("e", b""), ("a", b"\xef\xbb\xbfk,v\nx,1\n"), ("b", b"k,v\r\nx,2\n"), ("c", b"k,v")];
    check_table::<GroupBy>(&flags, &[], &objects, b"x,2\n");
    check_table::<GroupBy>(&flags, &[], &[("e", b"")], b"");
    let error = table_error::<GroupBy>(&flags, &[], &[("a", b"k,v\nx,1\n"), ("b", b"v,k\n1,x\n")]);
    assert_eq!(error, "the header \"v,k\" is not that of a, \"k,v\"");
}

#[test]
fn bad_rows_and_options_are_named() {
    let error = |flags: &[&str], text: &[u8]| table_error::<GroupBy>(flags, &[], &[("t", text)]);
    let sum = ["--by", "a", "--agg", "sum:b"];
    assert_eq!(
        error(&sum, b"a,b\nx,1\ny,z\n"),
        "column \"b\" has \"z\", which is no number (--null names text without a value)"
    );
    assert_eq!(error(&sum, b"a,b\nx,1\ny\n"), "the row ends after 1 fields; column \"b\" is number 2");
    assert_eq!(error(&sum, b"a,b\n\"x,1\n"), "a quoted field does not end in its line");
    assert_eq!(error(&sum, b"a,c\n"), "there is no column \"b\" (there are a, c)");
    assert_eq!(error(&sum, b"a,b,b\n"), "there are two columns named \"b\"");
    let unknown = ["--by", "a", "--columns", "a,b", "--agg", "median:b"];
    assert!(error(&unknown, b"").starts_with("--agg does not know \"median:b\""));
    let word = ["--by", "a", "--columns", "a,b", "--agg", "count:b>x"];
    assert_eq!(error(&word, b""), "--agg count:b>x: \"x\" is not a number");
    let big = b"k,99999999999999999999999999999999999999\nk,99999999999999999999999999999999999999\n";
    let flags = ["--by", "a", "--columns", "a,b", "--agg", "sum:b"];
    assert_eq!(error(&flags, big), "a sum overflows a decimal number of 38 digits");
    let program = parsed::<GroupBy>(&flags);
    let input = gristmill_common::reference::ReferenceInput { objects: &[], rule: &LineRule::Any, partitions: 1 };
    assert!(program.visit(input).is_ok());
}
