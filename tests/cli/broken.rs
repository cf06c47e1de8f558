//! The table of broken inputs: for each what is said, of which place of which file, with which code; and what becomes
//! of them where they are allowed.

use std::fs;

use gristmill_tests::data::parts;
use serde_json::{Value, json};

use crate::harness::{Called, Sandbox};

const TABLE: &str = "id,n\n1,2\n3,4\n5,6\n";

/// A sandbox with these files.
fn sandbox(files: &[(&str, &[u8])]) -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, content) in files {
        sandbox.file(name, "");
        fs::write(sandbox.path(name), content).expect("written");
    }
    sandbox
}

/// Checks what a job over broken files says: its exit code, the error's code, and what is in its message, where `{}`
/// stands for the folder of the files. Nothing is left, and the message is one line.
#[track_caller]
fn check(files: &[(&str, &[u8])], job: &str, (exit, code): (i32, &str), said: &str) {
    let sandbox = sandbox(files);
    let before = sandbox.tree();
    let called = sandbox.call(&format!("run {job} -o out --json")).expect_code(exit);
    let error = &called.json()["error"];
    let message = error["message"].as_str().unwrap_or_default();
    let said = said.replace("{}", &sandbox.work().display().to_string());
    assert!(message.contains(&said), "no {said:?} in:\n{message}");
    assert_eq!((&error["code"], message.lines().count()), (&json!(code), 1), "{called:#?}");
    assert_eq!(sandbox.tree(), before, "{message}");
    assert_eq!(sandbox.scratch(), [""; 0], "{message}");
}

/// What a copy of some text is as the only part of an output of this format, or compressed so.
fn copied(text: &str, flags: &str) -> Vec<u8> {
    let sandbox = sandbox(&[("in.csv", text.as_bytes())]);
    sandbox.call(&format!("run copy -i in.csv -o out {flags}")).expect_code(0);
    parts(&sandbox.path("out")).into_values().next().expect("a part")
}

/// A table as a Parquet file.
fn parquet() -> Vec<u8> {
    copied(TABLE, "--output-format parquet --types n=int64")
}

const BAD_RECORD: (i32, &str) = (1, "BAD_RECORD");
const DAMAGED: (i32, &str) = (1, "INPUT_DAMAGED");
const USAGE: (i32, &str) = (2, "USAGE");

#[test]
fn rows_that_are_none_are_named_by_file_and_offset() {
    let group = |name: &str, content: &str, options: &str, said: &str| {
        let job = format!("group-by --by id --agg sum:n -i {name} {options}");
        check(&[(name, content.as_bytes())], &job, BAD_RECORD, said);
    };
    group("ragged.csv", "id,n\n1,2\n3\n4,5\n", "", "(at {}/ragged.csv:9)");
    group("text.csv", "id,n\n1,2\n3,x\n", "", "(at {}/text.csv:9)");
    group("open.csv", "id,n\n1,2\n\"3,4\n5,6\n", "", "(at {}/open.csv:9)");
    group(
        "cut.jsonl",
        "{\"id\":1,\"n\":2}\n{\"id\":\n",
        "",
        "EOF while parsing a value at byte 6 (at {}/cut.jsonl:15)",
    );
    group("list.jsonl", "{\"id\":1,\"n\":2}\n[1,2]\n", "", "(at {}/list.jsonl:15)");

    let copy = |name: &str, content: &[u8], options: &str, said: &str| {
        let job = format!("copy --output-format parquet -i {name} {options}");
        check(&[(name, content)], &job, BAD_RECORD, said);
    };
    let typed = "--types n=int64";
    copy("text.csv", b"id,n\n1,2\n3,x\n", typed, "column \"n\": \"x\" is no int64 (at {}/text.csv:9)");
    copy(
        "short.csv",
        b"id,n\n1,2\n3\n",
        typed,
        "the row ends after 1 fields; column \"n\" is number 2 (at {}/short.csv:9)",
    );
    for long in ["3,4,5", "\"3\",4,5", "3,4,"] {
        let content = format!("id,n\n1,2\n{long}\n");
        copy(
            "long.csv",
            content.as_bytes(),
            typed,
            "the row has more than 2 fields, one for each column (at {}/long.csv:9)",
        );
    }
    copy(
        "large.jsonl",
        b"{\"id\":1}\n{\"id\":200}\n",
        "--types id=int8",
        "column \"id\": 200 is no int8 (at {}/large.jsonl:9)",
    );
    copy("far.jsonl", b"{\"x\":1.5}\n{\"x\":1e999}\n", "", "column \"x\": 1e999 is no double (at {}/far.jsonl:10)");
    check(&[("cut.dat", &[b'x'; 150])], "tera-sort -i cut.dat", BAD_RECORD, "(at {}/cut.dat:100)");
}

#[test]
fn columns_that_are_not_there_are_usage_errors() {
    let table: (&str, &[u8]) = ("t.csv", TABLE.as_bytes());
    let parquet = parquet();
    let columns = "there is no column \"x\" (there are id, n)";
    check(&[table], "group-by --by x -i t.csv", USAGE, columns);
    check(&[table], "group-by --by id --agg sum:x -i t.csv", USAGE, columns);
    check(&[table], "top --by x -i t.csv", USAGE, columns);
    check(&[table], "copy --output-format csv --types x=int8 -i t.csv", USAGE, columns);
    check(&[("t.parquet", &parquet)], "group-by --by x -i t.parquet", USAGE, columns);
    check(&[("t.parquet", &parquet)], "top --by x -i t.parquet", USAGE, columns);
    check(&[("t.parquet", &parquet)], "copy --output-format csv --types x=int8 -i t.parquet", USAGE, columns);
}

#[test]
fn damaged_files_are_named_whatever_their_form() {
    let text: String = (0..5_000).map(|n| format!("{n},{}\n", n * 7919 % 4093)).collect();
    for (codec, ending) in
        [("gzip", "gz"), ("bzip2", "bz2"), ("zstd", "zst"), ("lz4", "lz4"), ("snappy", "sz"), ("xz", "xz")]
    {
        let whole = copied(&text, &format!("--compression {codec}"));
        let name = format!("in.csv.{ending}");
        let place = format!("(at {{}}/{name}:");
        let job = format!("word-count -i {name}");
        let said = format!("cannot read input {{}}/{name} as {codec}: ");
        for damaged in [&whole[..whole.len() / 2], &[&whole[..], b"more"].concat(), b"no such file"] {
            check(&[(&name, damaged)], &job, DAMAGED, &said);
            check(&[(&name, damaged)], &job, DAMAGED, &place);
        }
    }
    let whole = parquet();
    let file = |content: &[u8], options: &str, said: &str| {
        let job = format!("word-count -i in.parquet {options}");
        check(
            &[("in.parquet", content)],
            &job,
            DAMAGED,
            &format!("cannot read {{}}/in.parquet as a Parquet file: {said}"),
        );
    };
    file(&whole[..whole.len() / 2], "", "");
    file(&whole[..6], "", "");
    file(b"no such file", "", "");
    let mut damaged = whole.clone();
    damaged[4..60].fill(0xff);
    file(&damaged, "", "row group 0, column \"id\": ");
}

/// The lines that an output has in `_bad`.
fn dead_letters(sandbox: &Sandbox) -> Vec<Value> {
    let bad = parts(&sandbox.path("out/_bad")).into_values().flatten().collect();
    let bad = String::from_utf8(bad).expect("text");
    bad.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn allowed_bad_rows_are_kept_aside_with_their_place() {
    let files: [(&str, &[u8]); 2] = [("in/a.csv", b"id,n\n1,2\n3\n4,x\n1,5\n"), ("in/b.csv", b"id,n\n1,2\n\n\"6\n")];
    let sandbox = sandbox(&files);
    let job = "run group-by --by id --agg sum:n -i in -o out --reducers 1";
    let called = sandbox.call(&format!("{job} --max-bad-records 2 --json")).expect_code(1);
    assert_eq!(called.json()["error"]["code"], "BAD_RECORD", "{called:#?}");
    assert!(!sandbox.path("out").exists());
    let called = sandbox.call(&format!("{job} --max-bad-records 3 --json")).expect_code(0);
    assert_eq!(sandbox.parts("out"), "1,9\n");
    let kept: Vec<(Value, Value, Value)> = dead_letters(&sandbox)
        .into_iter()
        .map(|bad| (bad["object"].clone(), bad["offset"].clone(), bad["record"].clone()))
        .collect();
    let path = |name: &str| json!(sandbox.path(name));
    let expect = [
        (path("in/a.csv"), json!(9), json!("3")),
        (path("in/a.csv"), json!(11), json!("4,x")),
        (path("in/b.csv"), json!(10), json!("\"6")),
    ];
    assert_eq!(kept, expect, "{called:#?}");
}

#[test]
fn damaged_files_may_be_left_out_whatever_their_form() {
    let whole = parquet();
    let packed = copied(&TABLE.repeat(1000).replace("\nid,n", ""), "--compression lz4");
    let mut damaged = whole.clone();
    damaged[4..60].fill(0xff);
    let check = |good: (&str, &[u8]), (name, bad): (&str, &[u8]), expect: &str| {
        let sandbox = sandbox(&[good, (name, bad)]);
        let job = "run group-by --by id --agg count --delimited -i in -o out --reducers 1 --json";
        let called = sandbox.call(job).expect_code(1);
        assert_eq!(called.json()["error"]["code"], "INPUT_DAMAGED", "{called:#?}");
        sandbox.call(&format!("{job} --on-bad-file skip")).expect_code(0);
        assert_eq!(sandbox.parts("out"), expect, "{name}");
        let letters = dead_letters(&sandbox);
        let [letter] = &letters[..] else { panic!("{letters:?}") };
        assert_eq!((&letter["object"], &letter["code"]), (&json!(sandbox.path(name)), &json!("INPUT_DAMAGED")));
    };
    let (columns, text) = (("in/a.parquet", &whole[..]), ("in/a.csv", TABLE.as_bytes()));
    check(columns, ("in/b.parquet", &whole[..whole.len() / 2]), "1,1\n3,1\n5,1\n");
    check(columns, ("in/b.parquet", &damaged), "1,1\n3,1\n5,1\n");
    check(columns, ("in/b.parquet", b"no such file"), "1,1\n3,1\n5,1\n");
    // Its only block ends too early, so that none of it counts.
    check(text, ("in/b.csv.lz4", &packed[..packed.len() / 2]), "1,1\n3,1\n5,1\n");
    // The job looks at the first one before it starts.
    check(("in/b.parquet", &whole), ("in/a.parquet", &whole[..whole.len() / 2]), "1,1\n3,1\n5,1\n");
    check(("in/b.csv", TABLE.as_bytes()), ("in/a.csv.lz4", &packed[..packed.len() / 2]), "1,1\n3,1\n5,1\n");
}

#[test]
fn a_file_that_is_changed_while_it_is_read_fails_the_job() {
    let check = |name: &str, change: &str| {
        // More than a pipe holds: reading goes on while the mapper works.
        let sandbox = sandbox(&[(name, TABLE.repeat(200_000).as_bytes())]);
        let path = sandbox.path(name).display().to_string();
        let mapper = format!("sh -c 'read line; {}; cat'", change.replace("FILE", &path));
        let mut command = sandbox.command("streaming -output out -numReduceTasks 0 --json -input");
        let called = Called::of(command.args([&path, "-mapper", &mapper]).output().expect("it starts")).expect_code(1);
        let error = &called.json()["error"];
        assert_eq!(error["code"], "INPUT_CHANGED", "{called:#?}");
        assert!(error["message"].as_str().is_some_and(|message| message.contains(&path)), "{called:#?}");
        assert!(!sandbox.path("out").exists());
    };
    check("grown.txt", "echo more >> FILE");
    check("cut.txt", "echo less > FILE");
    check("touched.txt", "touch -d 2001-01-01 FILE");
}
