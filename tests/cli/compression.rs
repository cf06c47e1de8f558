//! Compressed files in and out, as users meet them.

use std::fs;

use gristmill_tests::data::{parts, trial_data};
use serde_json::json;

use crate::harness::Sandbox;

/// The names of codecs, and the endings of their parts.
const CODECS: [(&str, &str); 7] = [
    ("gzip", "gz"),
    ("bzip2", "bz2"),
    ("zstd", "zst"),
    ("lz4", "lz4"),
    ("snappy", "sz"),
    ("xz", "xz"),
    ("deflate", "deflate"),
];

fn lines(count: usize) -> String {
    (0..count).map(|n| format!("{} {} the quick brown fox\n", n % 997, n * 7919 % 4093)).collect()
}

#[test]
fn words_of_compressed_files_are_those_of_their_content() {
    let Some(data) = trial_data() else { return };
    let sandbox = Sandbox::new();
    let run = |file: &str, output: &str, flags: &str| {
        let input = data.join(file);
        sandbox.call(&format!("run word-count -i {} -o {output} {flags}", input.display())).expect_code(0);
        parts(&sandbox.path(output))
    };
    let expect = run("messy/plain-20000.txt", "plain", "--reducers 2");
    for file in ["multi-member.gz", "multi-stream.bz2", "multi-frame.zst"] {
        for (how, flags) in [("whole", "--reducers 2"), ("split", "--reducers 2 --split-size 20kB")] {
            let output = format!("{file}-{how}");
            assert!(run(&format!("messy/{file}"), &output, flags) == expect, "{output}");
        }
    }
}

#[test]
fn damaged_files_fail_the_job_with_one_error_that_names_them() {
    let Some(data) = trial_data() else { return };
    let check = |file: &str, expect: &str| {
        let sandbox = Sandbox::new();
        let input = data.join("messy").join(file);
        let called = sandbox.call(&format!("run word-count -i {} -o out", input.display())).expect_code(1);
        let form = match file.rsplit('.').next() {
            Some("gz") => "gzip",
            Some("bz2") => "bzip2",
            _ => "zstd",
        };
        let said = format!("cannot read input {} as {form}: {expect} (at {}:", input.display(), input.display());
        assert!(called.stderr.contains(&said), "no {said:?} in:\n{}", called.stderr);
        let named = called.stderr.lines().filter(|line| line.contains(file)).count();
        assert_eq!(named, 1, "it is said once:\n{}", called.stderr);
        assert_eq!(sandbox.tree(), [""; 0], "nothing is left");
        assert_eq!(sandbox.scratch(), [""; 0]);
    };
    check("bad-crc.gz", "the checksum of what it holds does not match");
    check("truncated.gz", "it is cut short");
    check("not-really.gz", "it does not begin as such a file does");
    check("corrupt.bz2", "the checksum of a block does not match");
    check("truncated.zst", "it is cut short");
    check("trailing-garbage.gz", "what follows its end is something else");
}

#[test]
fn parts_are_compressed_listed_verified_and_read_again() {
    let sandbox = Sandbox::new();
    sandbox.file("in.txt", &lines(30_000));
    sandbox.call("run word-count -i in.txt -o plain --reducers 2").expect_code(0);
    let expect = sandbox.parts("plain");
    for (codec, ending) in CODECS {
        let run = format!("run word-count -i in.txt -o {codec} --reducers 2 --compression {codec} --json");
        let job = sandbox.call(&run).expect_code(0).json();
        let names = [format!("part-00000.{ending}"), format!("part-00001.{ending}")];
        let stored = parts(&sandbox.path(codec));
        assert_eq!(stored.keys().collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
        assert_eq!(job["bytes"], json!(stored.values().map(Vec::len).sum::<usize>()), "{codec}: as stored");
        let success = fs::read(sandbox.path(codec).join("_SUCCESS")).expect("published");
        let manifest: serde_json::Value = serde_json::from_slice(&success).expect("JSON");
        assert_eq!(manifest["parts"][1]["path"], json!(names[1]));
        assert_eq!(manifest["spec"]["output_compression"], json!(codec));
        sandbox.call(&format!("verify {codec}")).expect_code(0);
        sandbox.call(&format!("run copy -i {codec} -o {codec}-back --split-size 3kB")).expect_code(0);
        assert!(sandbox.parts(&format!("{codec}-back")) == expect, "{codec}");
        assert_eq!(sandbox.scratch(), [""; 0]);
    }
}

#[test]
fn damaged_files_are_left_out_if_that_is_asked_for() {
    let sandbox = Sandbox::new();
    sandbox.file("text/a.txt", &lines(5_000));
    sandbox.call("run copy -i text -o in --compression gzip").expect_code(0);
    let whole = fs::read(sandbox.path("in/part-00000.gz")).expect("a part");
    fs::write(sandbox.path("in/part-00001.gz"), &whole[..whole.len() / 2]).expect("written");
    sandbox.file("in/part-00002", "a last line\n");
    let flags = "-o out --reducers 1 --on-bad-file skip";
    let called = sandbox.call(&format!("run word-count -i in {flags}")).expect_code(0);
    let said =
        format!("1 damaged file left out from where the damage is, named in {}", sandbox.path("out/_bad").display());
    assert!(called.stderr.contains(&said), "{}", called.stderr);
    let bad = fs::read_to_string(sandbox.path("out/_bad/part-m-00000.jsonl")).expect("it is named there");
    let bad: serde_json::Value = serde_json::from_str(&bad).expect("one line of JSON");
    let damaged = sandbox.path("in/part-00001.gz");
    assert_eq!((&bad["object"], &bad["code"]), (&json!(damaged), &json!("INPUT_DAMAGED")));
    assert_eq!(bad["offset"], json!(whole.len() / 2));
    assert!(sandbox.parts("out").contains("last\t1\n"), "what comes behind it is read");
    sandbox.call("verify out").expect_code(0);
    let called = sandbox.call("run page-rank -i in -o ranks --on-bad-file skip").expect_code(2);
    assert!(called.stderr.contains("a pipeline does not keep what it leaves out"), "{}", called.stderr);
}

#[test]
fn large_files_that_only_one_task_can_read_are_named() {
    let sandbox = Sandbox::new();
    sandbox.file("text/a.txt", &lines(50_000));
    for codec in ["gzip", "bzip2", "zstd"] {
        sandbox.call(&format!("run copy -i text -o {codec} --compression {codec}")).expect_code(0);
    }
    let plan = |input: &str| {
        let explained = sandbox.call(&format!("explain word-count -i {input} -o out --split-size 50kB --json"));
        let plan = explained.expect_code(0).json();
        (plan["map_tasks"].as_u64().expect("a number"), plan["warnings"].to_string())
    };
    let (tasks, warnings) = plan("gzip");
    assert_eq!(tasks, 1);
    let named = sandbox.path("gzip/part-00000.gz").display().to_string();
    assert!(warnings.contains(&named) && warnings.contains("read by one task each"), "{warnings}");
    for codec in ["bzip2", "zstd"] {
        let (tasks, warnings) = plan(codec);
        assert!(tasks > 1 && warnings == "[]", "{codec}: {tasks} tasks, {warnings}");
    }
}

#[test]
fn pipelines_and_tables_take_compressed_input_too() {
    let sandbox = Sandbox::new();
    let edges: String = (0..3_000).map(|n| format!("{}\t{}\n", n % 211, n * 37 % 211)).collect();
    sandbox.file("edges.txt", &edges);
    sandbox.call("run copy -i edges.txt -o edges --compression xz").expect_code(0);
    sandbox.call("run page-rank -i edges.txt -o plain --iterations 3 --reducers 2").expect_code(0);
    sandbox
        .call("run page-rank -i edges -o ranks --iterations 3 --reducers 2 --compression gzip --input-form xz")
        .expect_code(0);
    sandbox.call("run copy -i ranks -o back").expect_code(0);
    assert!(sandbox.parts("back") == sandbox.parts("plain"));

    sandbox.file("left.csv", "id,who\n1,ann\n2,bob\n");
    sandbox.file("right.csv", "id,tier\n1,gold\n2,tin\n");
    for name in ["left", "right"] {
        sandbox.call(&format!("run copy -i {name}.csv -o {name} --compression snappy")).expect_code(0);
    }
    for flags in ["", "--reducers 1"] {
        sandbox.call(&format!("run join -i left --right right --on id -o joined --overwrite {flags}")).expect_code(0);
        assert!(sandbox.parts("joined").contains("1,ann,gold\n"), "{}", sandbox.parts("joined"));
    }
}
