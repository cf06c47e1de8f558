//! `group-by` over hand-made rows.

use gristmill_common::text::LineRule;

use super::*;
use crate::oracle::{check_options, check_table, parsed, table_error, table_output};

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
fn means_of_sums_of_any_size_have_all_their_digits() {
    let check = |scale: &str, rows: &str, expect: &str| {
        let flags = ["--columns", "k,x", "--by", "k", "--agg", "sum:x,mean:x", "--scale", scale];
        check_table::<GroupBy>(&flags, &[], &[("t", rows.as_bytes())], expect.as_bytes());
    };
    let [one, two, three, four] = [1, 2, 3, 4].map(|digit| format!("{digit}{}", "0".repeat(33)));
    check("6", &format!("a,{one}\na,{three}\n"), &format!("a,{four},{two}.000000\n"));
    check(
        "18",
        &format!("a,-{one}\na,-{one}\na,-1\n"),
        &format!("a,-2{}1,-{}7.{}\n", "0".repeat(32), "6".repeat(32), "0".repeat(18)),
    );
    // The divisor of these two has more than 128 bits.
    let least = format!("0.{}1", "0".repeat(37));
    check("0", &format!("a,{least}\na,{least}\n"), &format!("a,0.{}2,0\n", "0".repeat(37)));
    check("0", &format!("a,0.9{}\na,0.1\na,0\n", "0".repeat(37)), &format!("a,1.{},0\n", "0".repeat(38)));
}

#[test]
fn a_byte_order_mark_is_in_no_field() {
    let flags = ["--columns", "n,w", "--by", "n"];
    let rows: [&[u8]; 4] = [
        b"\xef\xbb\xbf1,a\n2,b\n",
        b"\xef\xbb\xbf\"1\",a\n2,\"b\"\n",
        b"\xef\xbb\xbf1,a\r\n2,b\r\n",
        b"\xef\xbb\xbf\n1,a\n2,b",
    ];
    for text in rows {
        check_table::<GroupBy>(&flags, &[], &[("t", text), ("u", text)], b"1,2\n2,2\n");
    }
    // Only the first record of an object has one.
    check_table::<GroupBy>(&flags, &[], &[("t", b"1,a\n\xef\xbb\xbf1,a\n")], b"1,1\n\xef\xbb\xbf1,1\n");
    let error = table_error::<GroupBy>(&flags, &[], &[("t", b"\xef\xbb\xbf\"1,a\n")]);
    assert_eq!(error, "a quoted field does not end in its line");
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
    assert_eq!(error, "cannot read a record: the header \"v,k\" is not that of a, \"k,v\"");
}

#[test]
fn bad_rows_and_options_are_named() {
    let error = |flags: &[&str], text: &[u8]| table_error::<GroupBy>(flags, &[], &[("t", text)]);
    let sum = ["--by", "a", "--agg", "sum:b"];
    assert_eq!(
        error(&sum, b"a,b\nx,1\ny,z\n"),
        "column \"b\" has \"z\", which is no number of up to 38 digits (--null names text without a value)"
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

const WEATHER_JSON: &[u8] = br#"{"origin":"EWR","month":1,"air":{"temp":39.02},"rain":0}
{"origin":"EWR","month":1,"air":{"temp":null},"rain":0.01}
{"origin":"JFK","month":1,"air":{"temp":39}}
{"origin":"EWR","month":2,"air":{"temp":-1.5},"rain":2}
{"rain":0.2,"air":{"dew":[1,2],"temp":39.01},"month":1,"origin":"EW\u0052"}
"#;

fn check_json(flags: &[&str], text: &[u8], expect: &[u8]) {
    check_table::<GroupBy>(flags, &[], &[("t.jsonl", text)], expect);
}

#[test]
fn objects_give_what_the_same_rows_in_delimited_text_give() {
    for (by, agg) in [
        ("origin", "count"),
        ("month", "count,sum:air.temp"),
        ("origin,month", "count:air.temp,mean:air.temp"),
        ("origin", "min:air.temp,max:air.temp,count:rain>0,sum:rain,mean:rain"),
        ("air.temp", "count:rain!=0,min:origin"),
    ] {
        let plain = |text: &str| text.replace("air.", "");
        let (plain_by, plain_agg) = (plain(by), plain(agg));
        let delimited = ["--by", &plain_by, "--agg", &plain_agg, "--null", "NA"];
        let expect = table_output::<GroupBy>(&delimited, &[], &[("w.csv", WEATHER)]).expect("groups");
        check_json(&["--by", by, "--agg", agg, "--null", "NA", "--delimited"], WEATHER_JSON, &expect);
    }
}

#[test]
fn groups_of_objects_are_objects_with_values_of_the_same_kinds() {
    check_json(
        &["--by", "origin,month", "--agg", "count,mean:air.temp,max:rain", "--scale", "3"],
        WEATHER_JSON,
        b"{\"origin\":\"EWR\",\"month\":1,\"count\":3,\"mean:air.temp\":39.015,\"max:rain\":0.2}\n\
          {\"origin\":\"EWR\",\"month\":2,\"count\":1,\"mean:air.temp\":-1.500,\"max:rain\":2}\n\
          {\"origin\":\"JFK\",\"month\":1,\"count\":1,\"mean:air.temp\":39.000,\"max:rain\":null}\n",
    );
    let kinds = br#"{"k":1}
{"k":"1"}
{"k":1.0}
{"k":null}
{}
{"k":""}
{"k":true}
{"k":"a\u0022,\n\u00e9"}
{"k":{"x": 1}}
"#;
    let mut groups: Vec<&str> = vec![
        r#"{"k":1,"count":1}"#,
        r#"{"k":"1","count":1}"#,
        r#"{"k":1.0,"count":1}"#,
        r#"{"k":null,"count":2}"#,
        r#"{"k":"","count":1}"#,
        r#"{"k":true,"count":1}"#,
        r#"{"k":"a\",\né","count":1}"#,
        r#"{"k":{"x": 1},"count":1}"#,
    ];
    let seen = table_output::<GroupBy>(&["--by", "k"], &[], &[("t.json", kinds)]).expect("groups");
    let seen = String::from_utf8(seen).expect("JSON");
    let mut lines: Vec<&str> = seen.lines().collect();
    lines.sort_unstable();
    groups.sort_unstable();
    assert_eq!(lines, groups);
    let numbers = br#"{"n":123456789012345678901234567890.25,"s":"9"}
{"n":"0.75","s":"b"}
{"n":1e3,"s":10}
{"n":"NA","s":""}"#;
    check_json(
        &["--by", "gone", "--agg", "sum:n,min:s,max:s,count:n,count:s", "--null", "NA"],
        numbers,
        b"{\"gone\":null,\"sum:n\":123456789012345678901234568891.00,\"min:s\":10,\"max:s\":\"b\",\"count:n\":3,\"count:s\":4}\n",
    );
}

#[test]
fn json_lines_are_known_by_name_or_first_byte() {
    let objects: [(&str, &[u8]); 3] =
        [("empty", b""), ("a.log", b"\xef\xbb\xbf{\"k\":\"x\"}\r\n\r\n  \n"), ("b.log", b"\xef\xbb\xbf{\"k\":\"x\"}")];
    check_table::<GroupBy>(&["--by", "k"], &[], &objects, b"{\"k\":\"x\",\"count\":2}\n");
    check_json(&["--by", "k"], b"\n{\"k\":\"x\"}\n", b"{\"k\":\"x\",\"count\":1}\n");
    check_json(&["--by", "k", "--format", "delimited"], b"k\nx\n", b"x,1\n");
    check_table::<GroupBy>(&["--by", "k", "--format", "json"], &[], &[("t", b"")], b"");
    check_json(
        &["--by", "k", "--delimited", "--header", "--separator", "|", "--null", "-"],
        b"{\"k\":\"x|y\"}\n{\"z\":1}\n",
        b"k|count\n-|1\n\"x|y\"|1\n",
    );
    check_options::<GroupBy>(&["--by", "a", "--format", "json", "--delimited"]);
}

#[test]
fn bad_objects_and_options_for_them_are_named() {
    let error = |flags: &[&str], text: &[u8]| table_error::<GroupBy>(flags, &[], &[("t.ndjson", text)]);
    let sum = ["--by", "a", "--agg", "sum:b"];
    let reason = "which is no number of up to 38 digits (--null names text without a value)";
    for (value, shown) in [("\"z\"", "z"), ("true", "true"), ("[1]", "[1]"), ("1e99", "1e99")] {
        let text = format!("{{\"b\":{value}}}");
        assert_eq!(error(&sum, text.as_bytes()), format!("column \"b\" has \"{shown}\", {reason}"));
    }
    assert_eq!(error(&sum, b"{\"a\":1}\na,b\n"), "not a JSON object: expected value at byte 1");
    let options = |more: &[&str]| error(&[&["--by", "a", "--format", "json"], more].concat(), b"");
    assert_eq!(options(&["--header"]), "--header is for delimited output: JSON lines name their fields");
    assert_eq!(options(&["--columns", "a"]), "--columns is for delimited text: JSON lines name their fields");
}
