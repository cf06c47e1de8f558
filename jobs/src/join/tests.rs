//! `join`: both ways of doing it over hand-made rows.

use std::fs;

use gristmill_common::naming::Uri;
use gristmill_common::reference::ReferenceInput;
use gristmill_common::spec::JobShape;

use super::*;
use crate::oracle::{check_options, check_table, parsed, table_error};

const LEFT: &[u8] = b"id,user,note\n1,ann,x\n2,bob,\"y,z\"\n3,cid,\n4,,w\n5,ann,v\n";
const RIGHT_ROWS: &[u8] = b"name,user,tier\nAnn A,ann,1\n\"Bob, jr\",bob,2\nAnn B,ann,3\nEve,eve,4\nNobody,,5\n";

fn flags<'a>(how: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["--right", "r", "--on", "user", "--how", how], more].concat()
}

#[test]
fn rows_without_partners_are_written_as_asked() {
    let check = |how: &str, expect: &str| {
        check_table::<Join>(&flags(how, &[]), &[(1, "r", RIGHT_ROWS)], &[("l", LEFT)], expect.as_bytes());
    };
    let inner = "1,ann,x,Ann A,1\n1,ann,x,Ann B,3\n5,ann,v,Ann A,1\n5,ann,v,Ann B,3\n2,bob,\"y,z\",\"Bob, jr\",2\n";
    check("inner", inner);
    check("left", &format!("4,,w,,\n{inner}3,cid,,,\n"));
    check("right", &format!(",,,Nobody,5\n{inner},eve,,Eve,4\n"));
    check("full", &format!(",,,Nobody,5\n4,,w,,\n{inner}3,cid,,,\n,eve,,Eve,4\n"));
    check_options::<Join>(&flags("full", &["--right-columns", "a,b"]));
}

#[test]
fn keys_may_have_several_columns_and_other_names() {
    let flags = ["--right", "r", "--on", "a=x,b", "--columns", "a,b", "--right-columns", "b,x,c", "--null", "-"];
    let (left, right): (&[u8], &[u8]) = (b"1,2\n3,-\n2,1\n", b"2,1,p\n1,1,q\n-,3,r\n");
    check_table::<Join>(&flags, &[(1, "r", right)], &[("l", left)], b"1,2,p\n");
    let header = [&flags[..], &["--header", "--how", "full"]].concat();
    let expect = b"a,b,c\n3,-,r\n3,-,-\n1,1,q\n1,2,p\n2,1,-\n";
    check_table::<Join>(&header, &[(1, "r", right)], &[("l", left)], expect);
}

#[test]
fn an_empty_left_side_has_the_columns_of_the_key() {
    let check = |how: &str, expect: &[u8]| {
        let flags = flags(how, &["--header"]);
        check_table::<Join>(&flags, &[(1, "r", b"name,user\nAnn,ann\n\"Bob, jr\",\n")], &[("l", b"")], expect);
    };
    check("inner", b"user,name\n");
    check("right", b"user,name\n,\"Bob, jr\"\nann,Ann\n");
    check("full", b"user,name\n,\"Bob, jr\"\nann,Ann\n");
    let flags = ["--right", "r", "--on", "a=x,b,a=z", "--how", "right", "--header"];
    check_table::<Join>(&flags, &[(1, "r", b"b,x,c,z\n1,2,3,2\n")], &[("l", b"")], b"a,b,c\n2,1,3\n");
}

#[test]
fn byte_order_marks_do_not_part_rows() {
    let flags = ["--columns", "k,v", "--right-columns", "k,w", "--on", "k", "--right", "r"];
    let (left, right): (&[u8], &[u8]) = (b"\xef\xbb\xbf1,a\n2,b\n", b"\xef\xbb\xbf2,y\n1,x\n");
    check_table::<Join>(&flags, &[(1, "r", right)], &[("l", left)], b"1,a,x\n2,b,y\n");
    for rule in [LineRule::Lf, LineRule::Any] {
        assert_eq!(loaded_by(&flags, &rule, &[right], left), Ok("1,a,x\n2,b,y\n".to_owned()));
    }
}

/// Joins with the right side in memory.
fn loaded(how: &str, line_rule: &LineRule, right: &[&[u8]], left: &[u8]) -> Result<String, String> {
    loaded_by(&flags(how, &[]), line_rule, right, left)
}

fn loaded_by(flags: &[&str], line_rule: &LineRule, right: &[&[u8]], left: &[u8]) -> Result<String, String> {
    let dir = tempfile::tempdir().expect("scratch");
    let objects = right.iter().enumerate().map(|(index, bytes)| {
        let path = dir.path().join(index.to_string());
        fs::write(&path, bytes).expect("written");
        InputObject {
            uri: Uri::from_path(&path),
            size: bytes.len() as u64,
            modified_micros: None,
            etag: None,
            form: None,
        }
    });
    let objects: Vec<InputObject> = objects.collect();
    let sample = |role: u32, objects: &[InputObject], bytes: &[u8]| {
        let first = line_rule.records(bytes).next().map(|record| (record.to_vec(), "first".to_owned()));
        InputSample { role, objects: objects.to_vec(), first_record: first, first_records: vec![], schema: None }
    };
    let uri = |text: &str| text.parse::<Uri>().expect("a path");
    let mut spec = JobSpec::new("join", JobShape::MapReduce, vec![uri("/l")], uri("/o"));
    spec.line_rule = line_rule.clone();
    let mut program = parsed::<Join>(flags);
    program.look(&spec, &[sample(0, &[], left), sample(1, &objects, right[0])]).map_err(|error| error.message)?;
    assert!(!program.maps_side_input(RIGHT), "a small right side is loaded");
    let input = ReferenceInput { objects: &[("l", left)], rule: line_rule, partitions: 1 };
    let output = program.visit(input).map_err(|error| error.message)?.map_err(|error| error.to_string())?;
    Ok(String::from_utf8(output.parts.concat()).expect("text"))
}

#[test]
fn a_small_right_side_gives_the_same_rows_in_the_order_of_the_left() {
    let inner =
        ["1,ann,x,Ann A,1\n1,ann,x,Ann B,3\n", "2,bob,\"y,z\",\"Bob, jr\",2\n", "5,ann,v,Ann A,1\n5,ann,v,Ann B,3\n"];
    for rule in [LineRule::Lf, LineRule::Any] {
        assert_eq!(loaded("inner", &rule, &[RIGHT_ROWS], LEFT), Ok(inner.concat()));
        let [one, two, five] = inner;
        assert_eq!(loaded("left", &rule, &[RIGHT_ROWS], LEFT), Ok(format!("{one}{two}3,cid,,,\n4,,w,,\n{five}")));
        let two_files: [&[u8]; 2] =
            [b"name,user,tier\nAnn A,ann,1\n\"Bob, jr\",bob,2\n", b"name,user,tier\nAnn B,ann,3\n"];
        assert_eq!(loaded("inner", &rule, &two_files, LEFT), Ok(inner.concat()));
    }
    let error =
        loaded("inner", &LineRule::Lf, &[b"user,tier\nann,1\n", b"user,b\n"], LEFT).expect_err("another header");
    assert!(error.contains("the header \"user,b\" is not that of first, \"user,tier\""), "{error}");
    let error = loaded("inner", &LineRule::Lf, &[b"name,tier\n"], LEFT).expect_err("no key");
    assert_eq!(error, "right side: there is no column \"user\" (there are name, tier)");
}

#[test]
fn too_many_right_rows_of_one_key_name_it() {
    let right = [b"user\n".as_slice(), &b"ann\n".repeat(1 << 20)].concat();
    let error = table_error::<Join>(&flags("inner", &[]), &[(1, "r", &right)], &[("l", LEFT)]);
    let expect =
        "the right side has more than 40.0 MiB of rows with the key \"ann\"; exchange the sides or raise --memory";
    assert_eq!(error, expect);
}
