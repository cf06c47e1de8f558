//! Bad input gets one clear error: what, why, what to try, and the documented exit code; no output
//! and no scratch.

use crate::harness::{Called, Sandbox};

/// A sandbox with inputs, and an output of somebody else.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.file("in/a.txt", "to be or not\n");
    sandbox.file("in/b.txt", "to be\n");
    sandbox.file("full/mine", "keep me\n");
    sandbox
}

#[track_caller]
fn check(args: &str, code: i32, expected: &[&str]) {
    let sandbox = sandbox();
    let before = sandbox.tree();
    let called = sandbox.call(args);
    assert_refused(&sandbox, &before, called, code, expected);
}

#[track_caller]
fn assert_refused(sandbox: &Sandbox, before: &[String], called: Called, code: i32, expected: &[&str]) {
    let called = called.expect_code(code);
    let work = sandbox.work();
    for text in expected {
        let text = text.replace("{work}", &work.to_string_lossy());
        assert!(called.stderr.contains(&text), "no {text:?} in:\n{}", called.stderr);
    }
    assert!(called.stderr.starts_with("error: "), "{}", called.stderr);
    assert_eq!(called.stdout, "");
    assert_eq!(sandbox.tree(), before, "{}", called.stderr);
    assert_eq!(sandbox.scratch(), [""; 0], "{}", called.stderr);
}

#[test]
fn inputs_that_cannot_be_are_rejected() {
    check("run word-count -i missing -o out", 3, &["error: no such input: {work}/missing\n"]);
    check("run word-count -i *.none -o out", 3, &["the pattern {work}/*.none matches nothing"]);
    check("run word-count -i in/[a -o out", 2, &["cannot understand the pattern {work}/in/[a"]);
    check("run word-count -i ftp://host/x -o out", 3, &["unknown scheme \"ftp\""]);
    check(
        "run word-count -i s3://bucket/key -o out",
        3,
        &["error: no credentials for s3://bucket/key: looked for AWS_ACCESS_KEY_ID"],
    );
    check("run word-count -i @missing.txt -o out", 3, &["no such input: {work}/missing.txt"]);
    check("run word-count -o out", 2, &["error: no input was given", "hint: name one with -i"]);
}

#[test]
fn outputs_that_cannot_be_are_rejected() {
    let exists = ["error: output {work}/full exists and is not empty", "hint: ", "--overwrite"];
    check("run word-count -i in -o full", 3, &exists);
    check("run word-count -i in -o in/out", 3, &["{work}/in/out", "inside input {work}/in"]);
    check("run word-count -i in -o in --overwrite", 3, &["error: output {work}/in"]);
    check("run word-count -i in -o in/a.txt", 3, &["error: output {work}/in/a.txt"]);
    check("run word-count -i in -o gs://bucket/out", 3, &["credentials", "gs://bucket/out"]);
    check("run word-count -i in -o /proc/out", 3, &["/proc/"]);
    check("run word-count -i in", 2, &["error: no output was given", "hint: name a new folder with -o"]);
}

#[test]
fn unknown_names_get_the_nearest_known_one() {
    check("run wordcount -i in -o out", 2, &["error: unknown job \"wordcount\"", "did you mean \"word-count\"?"]);
    check("submit wordcount -i in -o out", 2, &["error: unknown job \"wordcount\"", "did you mean \"word-count\"?"]);
    check("subimt word-count", 2, &["error: unknown command \"subimt\"", "did you mean \"submit\"?"]);
    check("run tally -i in -o out", 2, &["error: unknown job \"tally\"", "hint: --help lists the jobs"]);
    check("run word-count -i in -o out --reducer 3", 2, &["--reducer", "did you mean \"--reducers\"?"]);
    check("run word-count -i in -o out --pattern x", 2, &["unexpected argument '--pattern'"]);
}

#[test]
fn values_that_cannot_be_are_usage_errors() {
    let with = |flags: &str, expected: &[&str]| check(&format!("run word-count -i in -o out {flags}"), 2, expected);
    with("--reducers 0", &["cannot run with 0 reducers"]);
    with("--reducers -1", &["error: "]);
    with("--memory 1", &["1 B is too little memory"]);
    with("--memory much", &["\"much\" is not a size such as 64MiB"]);
    with("--memory 99999999TiB", &["is not a size"]);
    with("--split-size 0", &["a split needs at least 1 byte"]);
    with("--threads 0", &["--threads <N>"]);
    with("--max-attempts 0", &["a task needs at least 1 attempt"]);
    with("--delimiter=", &["a delimiter needs at least one byte"]);
    with("--delimiter \\q", &["unknown escape"]);
    with("--delimiter x --line-endings any", &["cannot be used with"]);
    with("--line-endings crlf", &["'crlf'", "possible values: lf, any"]);
    check("run grep -i in -o out", 2, &["--pattern <RE>"]);
    check("run grep -i in -o out --pattern (", 2, &["error: ", "pattern"]);
    check("run copy -i in -o out --reducers 3", 2, &["copy has no reduce", "--split-size"]);
    check("status 7", 2, &["\"7\" is not a job id such as j-"]);
}

#[test]
fn a_master_that_does_not_answer_is_named() {
    let args = "--master http://127.0.0.1:1 --reconnect 0";
    for verb in ["submit word-count -i in -o out", "status j-000000000001", "watch j-000000000001", "jobs", "workers"] {
        check(&format!("{verb} {args}"), 4, &["http://127.0.0.1:1"]);
    }
}

#[test]
fn settings_that_cannot_be_are_usage_errors() {
    let check = |file: &str, variable: (&str, &str), expected: &[&str]| {
        let sandbox = sandbox();
        sandbox.file("gristmill.toml", file);
        let before = sandbox.tree();
        let mut command = sandbox.command("run word-count -i in -o out");
        let called = Called::of(command.env(variable.0, variable.1).output().expect("the binary starts"));
        assert_refused(&sandbox, &before, called, 2, expected);
    };
    let none = ("GRISTMILL_MASTER", "");
    check("memmory = \"1GiB\"", none, &["unknown setting \"memmory\"", "gristmill.toml", "did you mean \"memory\"?"]);
    check("memory = 1", none, &["1 B is too little memory"]);
    check("threads = 0", none, &["threads", "not a number from 1 to"]);
    check("", ("GRISTMILL_THREADS", "0"), &["GRISTMILL_THREADS", "not a number from 1 to"]);
    check("", ("GRISTMILL_THREAD", "1"), &["\"GRISTMILL_THREAD\"", "did you mean \"threads\"?"]);
}

#[test]
fn errors_are_json_where_json_is_asked_for() {
    let sandbox = sandbox();
    let called = sandbox.call("run word-count -i missing -o out --json").expect_code(3);
    let error = &called.json()["error"];
    assert_eq!((&error["code"], &error["exit_code"]), (&"REJECTED".into(), &3.into()));
    let called = sandbox.call("run wordcount --json").expect_code(2);
    assert_eq!(called.json()["error"]["message"], "unknown job \"wordcount\"");
}

#[test]
fn records_and_pairs_of_the_limit_are_taken_and_one_byte_more_is_refused() {
    let sandbox = Sandbox::new();
    // A quarter of an attempt's memory, which is half of the budget.
    let limit = 4 << 20;
    sandbox.file("fits.txt", &format!("a\n{}\n", "x".repeat(limit)));
    sandbox.file("large.txt", &format!("a\n{}\n", "x".repeat(limit + 1)));
    for job in ["copy", "sort-lines", "distinct"] {
        let called = sandbox.call(&format!("run {job} -i fits.txt -o {job} --memory 32MiB"));
        called.expect_code(0);
        assert_eq!(sandbox.parts(job).len(), limit + 3);
    }
    let refused = |args: &str, expect: &[&str]| {
        let called = sandbox.call(args).expect_code(1);
        let size = "takes 4194305 bytes and the limit is 4194304 (4.00 MiB), a quarter of an attempt's memory (raise --memory)";
        for text in [&[size], expect].concat() {
            assert!(called.stderr.contains(text), "no {text:?} in:\n{}", called.stderr);
        }
    };
    let here = format!("{}/large.txt:2)", sandbox.work().display());
    for job in ["copy", "sort-lines", "distinct"] {
        refused(&format!("run {job} -i large.txt -o no --memory 32MiB"), &["a record takes", &here]);
    }
    // The word is as long as a pair may be, and the pair has a count besides.
    refused("run word-count -i fits.txt -o no --memory 32MiB", &["the folded pair of key \"xxx"]);
    sandbox.call("run word-count -i fits.txt -o counts --memory 64MiB").expect_code(0);
}
