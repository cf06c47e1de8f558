//! `streaming`: Hadoop Streaming's command line over commands that every system has.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use gristmill_tests::cluster::eventually;
use gristmill_tests::installed::skipped;

use crate::harness::{Called, Sandbox};

const TEXT: &str = "to be or not to be\nthat is the question\n";

/// A word count in Python, as mapper and reducer; also what a streaming job may do besides.
const WORD_COUNT: &str = r#"#!/usr/bin/env python3
import os, sys
stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
if os.environ["mapreduce_task_ismap"] == "true":
    words = 0
    for line in stdin:
        for word in line.split():
            stdout.write(word + b"\t1\n")
            words += 1
    sys.stderr.write("reporter:counter:text,words,%d\n" % words)
else:
    last, count = None, 0
    for line in stdin:
        word, number = line.rstrip(b"\n").split(b"\t")
        if word != last and last is not None:
            stdout.write(b"%s\t%d\n" % (last, count))
            count = 0
        last, count = word, count + int(number)
    if last is not None:
        stdout.write(b"%s\t%d\n" % (last, count))
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.file("in/a.txt", TEXT);
    sandbox.file("in/b.txt", "to be\n");
    sandbox
}

/// Calls `streaming` over the folder `in`.
fn streaming(sandbox: &Sandbox, output: &str, args: &[&str]) -> Called {
    let mut command = sandbox.command("streaming -input in -output");
    Called::of(command.arg(output).args(args).output().expect("the binary starts"))
}

#[test]
fn commands_count_words() {
    let sandbox = sandbox();
    sandbox.call("run word-count -i in -o expected --reducers 1").expect_code(0);
    let mapper = r#"awk '{ for (i = 1; i <= NF; i++) print $i "\t1" }'"#;
    let reducer = r#"awk -F"\t" '{ n[$1] += $2 } END { for (word in n) print word "\t" n[word] | "LC_ALL=C sort" }'"#;
    let commands = ["-mapper", mapper, "-combiner", reducer, "-reducer", reducer];
    streaming(&sandbox, "one", &commands).expect_code(0);
    assert_eq!(sandbox.parts("one"), sandbox.parts("expected"));
    let more = ["-numReduceTasks", "3", "-D", "mapreduce.task.timeout=60000", "--threads", "2", "--json"];
    let called = streaming(&sandbox, "three", &[&commands[..], &more].concat()).expect_code(0);
    assert_eq!((&called.json()["parts"], &called.json()["records"]), (&3.into(), &8.into()));
    let mut words: Vec<String> = sandbox.parts("three").lines().map(str::to_owned).collect();
    words.sort();
    assert_eq!(words.join("\n") + "\n", sandbox.parts("expected"));
    assert_eq!(sandbox.scratch(), [""; 0]);
}

#[test]
fn python_counts_words() {
    if Command::new("python3").arg("--version").output().is_err() {
        skipped("there is no python3");
        return;
    }
    let sandbox = sandbox();
    sandbox.call("run word-count -i in -o expected --reducers 1").expect_code(0);
    sandbox.file("bin/count.py", WORD_COUNT);
    // It is not executable; Hadoop makes programs so.
    let args = ["-mapper", "bin/count.py", "-reducer", "python3 count.py", "-file", "bin/count.py", "--json"];
    let called = streaming(&sandbox, "out", &args).expect_code(0);
    assert_eq!(sandbox.parts("out"), sandbox.parts("expected"));
    assert_eq!(called.json()["counters"]["text:words"], 12);
}

#[test]
fn the_output_is_that_of_a_pipe_where_lines_are_keys() {
    let sandbox = sandbox();
    let keys = ["-D", "stream.map.output=keyonlytext", "-D", "stream.reduce.output=keyonlytext"];
    let commands = ["-mapper", "tr ' ' '\n'", "-reducer", "uniq -c"];
    streaming(&sandbox, "out", &[&commands[..], &keys].concat()).expect_code(0);
    let pipe = "cat in/* | tr ' ' '\n' | LC_ALL=C sort | uniq -c";
    let expect = Command::new("sh").args(["-c", pipe]).current_dir(sandbox.work()).output().expect("a shell");
    assert_eq!(sandbox.parts("out"), String::from_utf8_lossy(&expect.stdout));
    streaming(&sandbox, "lines", &["-mapper", "cat", "-reducer", "wc -l"]).expect_code(0);
    assert_eq!(sandbox.parts("lines").trim(), "3");
}

#[test]
fn commands_find_their_files_and_variables() {
    let sandbox = sandbox();
    sandbox.file(
        "lib/say.sh",
        "#!/bin/sh\ncat >/dev/null\necho \"$(cat words.txt) $(cat pack/deep/x) $GREETING $mine\"\n",
    );
    sandbox.file("stop.txt", "stop");
    sandbox.file("deep/x", "packed");
    let tar = Command::new("tar").args(["-czf", "p.tgz", "deep"]).current_dir(sandbox.work()).status();
    assert!(tar.expect("tar starts").success());
    let files = ["-files", "lib/say.sh,stop.txt#words.txt", "-archives", "p.tgz#pack"];
    let args = ["-mapper", "./say.sh", "-reducer", "NONE", "-cmdenv", "GREETING=hello you", "-D", "mine=1"];
    streaming(&sandbox, "out", &[&files[..], &args].concat()).expect_code(0);
    // Each of the two files has a mapper of its own.
    assert_eq!(sandbox.parts("out"), "stop packed hello you 1\t\n".repeat(2));
    assert_eq!(sandbox.scratch(), [""; 0]);
}

#[test]
fn keys_are_partitioned_and_ordered_by_their_fields() {
    let sandbox = Sandbox::new();
    let rows: String = (0..100).map(|n| format!("{}.{}.x\n", n % 5, (n * 37) % 100)).collect();
    sandbox.file("in/rows", &rows);
    let package = "org.apache.hadoop.mapred.lib.KeyFieldBased";
    let comparator = format!("mapred.output.key.comparator.class={package}Comparator");
    let partitioner = format!("{package}Partitioner");
    let properties = [
        "stream.map.output.field.separator=.",
        "stream.num.map.output.key.fields=2",
        "map.output.key.field.separator=.",
        "mapreduce.partition.keypartitioner.options=-k1,1",
        "mapreduce.partition.keycomparator.options=-k1,1n -k2,2nr",
        &comparator,
    ];
    let properties: Vec<&str> = properties.iter().flat_map(|property| ["-D", property]).collect();
    let args = ["-mapper", "cat", "-reducer", "cat", "-partitioner", &partitioner, "-numReduceTasks", "2"];
    let called = streaming(&sandbox, "out", &[&properties[..], &args].concat()).expect_code(0);
    assert!(!called.stderr.contains("ignored"), "{}", called.stderr);
    let mut rows = Vec::new();
    let mut firsts = Vec::new();
    for part in ["out/part-00000", "out/part-00001"] {
        let text = std::fs::read_to_string(sandbox.path(part)).expect("a part");
        let part: Vec<(i32, i32)> = text
            .lines()
            .map(|line| line.strip_suffix("\tx").and_then(|key| key.split_once('.')).expect("key TAB value"))
            .map(|(one, two)| (one.parse().expect("a number"), -two.parse::<i32>().expect("a number")))
            .collect();
        assert!(part.is_sorted(), "{part:?}");
        let mut of_part: Vec<i32> = part.iter().map(|row| row.0).collect();
        of_part.dedup();
        firsts.extend(of_part);
        rows.extend(part);
    }
    assert_eq!((rows.len(), firsts.len()), (100, 5), "no first field is in two parts");
}

#[test]
fn failures_are_told_with_the_last_words_of_the_command() {
    let sandbox = sandbox();
    let before = sandbox.tree();
    let fails = "sh -c 'cat >/dev/null; seq 1 200000 >&2; echo reporter:counter:a,b,1 >&2; exit 7'";
    let called = streaming(&sandbox, "out", &["-mapper", fails, "--max-attempts", "1"]).expect_code(1);
    let told = "ended with exit code 7; its stderr ended with: 199993 | 199994 |";
    assert!(called.stderr.contains(told), "{}", &called.stderr[called.stderr.len().saturating_sub(2000)..]);
    assert_eq!(sandbox.tree(), before);
    let reducer = ["-mapper", "cat", "-reducer", "false", "--max-attempts", "1"];
    let called = streaming(&sandbox, "out", &reducer).expect_code(1);
    assert!(called.stderr.contains("the reducer \"false\" ended with exit code 1 and wrote nothing to stderr"));
    let lenient = ["-D", "stream.non.zero.exit.is.failure=false"];
    streaming(&sandbox, "out", &[&["-mapper", "false"][..], &lenient].concat()).expect_code(0);
    assert_eq!(sandbox.parts("out"), "");
    assert_eq!(sandbox.scratch(), [""; 0]);
}

#[test]
fn what_cannot_be_is_refused_before_the_job_starts() {
    let sandbox = sandbox();
    sandbox.file("map.sh", "cat\n");
    let before = sandbox.tree();
    let check = |args: &[&str], code: i32, expected: &[&str]| {
        let called = streaming(&sandbox, "out", args).expect_code(code);
        for text in expected {
            assert!(called.stderr.contains(text), "no {text:?} in {}", called.stderr);
        }
        assert_eq!(sandbox.tree(), before);
    };
    check(
        &["-mapper", "no-such-program"],
        3,
        &["error: the mapper no-such-program is neither on PATH", "hint: ship it"],
    );
    check(&["-mapper", "./map.sh"], 3, &["the mapper ./map.sh does not travel with the job", "-file map.sh"]);
    check(&["-mapper", "cat", "-file", "gone"], 3, &["cannot ship the file", "gone"]);
    check(&["-mappper", "cat"], 2, &["error: unknown option -mappper", "hint: did you mean -mapper?"]);
    check(&["-mapper", "cat", "-reducer"], 2, &["the option -reducer needs a value"]);
    check(&["-mapper", "cat", "-io", "avro"], 2, &["stream.map.input cannot be \"avro\""]);
    check(&["-mapper", "cat", "-inputformat", "XmlInputFormat"], 2, &["-inputformat cannot be XmlInputFormat"]);
    check(&["-mapper", "cat", "-reducer", "aggregate"], 2, &["aggregate is a class of Hadoop"]);
    check(&["-mapper", "cat", "-numReduceTasks", "0", "--reducers", "2"], 2, &["streaming has no reduce"]);
}

#[test]
fn what_means_nothing_here_is_said_once() {
    let sandbox = sandbox();
    let args = ["-D", "mapreduce.job.name=x", "-lazyOutput", "-verbose", "-mapper", "sh in/a.txt", "-reducer", "NONE"];
    let args = [&args[..], &["-D", "stream.non.zero.exit.is.failure=false"]].concat();
    let called = streaming(&sandbox, "out", &args).expect_code(0);
    let ignored = "ignored, because it means nothing here: -D mapreduce.job.name, -lazyOutput\n";
    assert_eq!(called.stderr.matches(ignored).count(), 1, "{}", called.stderr);
    assert!(called.stderr.contains("in/a.txt is here, but does not travel with the job"), "{}", called.stderr);
    assert!(called.stderr.contains("\"run\" \"streaming\" \"--input=in\""), "{}", called.stderr);
    let help = sandbox.call("streaming -help").expect_code(0).stdout;
    assert!(help.contains("-numReduceTasks N") && help.contains("Example:\n"), "{help}");
    sandbox.call("streaming").expect_code(2);
}

#[test]
fn one_mapper_reads_a_stretch_of_a_file_however_many_blocks_it_has() {
    let sandbox = Sandbox::new();
    sandbox.call("generate text -o in --bytes 20MiB --files 2").expect_code(0);
    let args = ["-mapper", "sh -c 'wc -l'", "-reducer", "NONE", "--split-size", "8MiB", "--json"];
    let called = streaming(&sandbox, "out", &args).expect_code(0);
    let counts: Vec<u64> = sandbox.parts("out").lines().map(|line| line.trim().parse().expect("a number")).collect();
    let job = called.json();
    let tasks = job["stats"]["map"]["tasks"].as_u64().expect("a number") as usize;
    assert!(tasks > 2 && counts.len() == tasks, "{counts:?} of {tasks} tasks");
    assert_eq!(Some(counts.iter().sum()), job["stats"]["map"]["input_records"].as_u64());
}

#[test]
fn a_command_that_does_nothing_ends_with_its_job() {
    let sandbox = sandbox();
    let before = sandbox.tree();
    let mut command = sandbox.command("streaming -input in -output out -mapper");
    command.args(["sh -c 'echo started >&2; exec sleep 1000'", "-reducer", "NONE"]);
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary starts");
    let mut stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
    let mut line = String::new();
    while line != "started\n" {
        line.clear();
        assert_ne!(stderr.read_line(&mut line).expect("readable"), 0, "it ended too early");
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill starts").success());
    let mut status = None;
    let ended = eventually(|| {
        status = child.try_wait().expect("a child can be asked");
        status.is_some()
    });
    assert_eq!((ended, status.and_then(|status| status.code())), (true, Some(130)));
    assert_eq!(sandbox.tree(), before);
    assert_eq!(sandbox.scratch(), [""; 0]);
}

#[test]
fn bad_records_cannot_be_left_out_of_what_commands_make() {
    let sandbox = sandbox();
    // What a mapper has in hand when it ends is lost with it, so more than the bad record would be missing.
    let refused = streaming(&sandbox, "out", &["-mapper", "cat", "--max-bad-records", "1"]).expect_code(2);
    let says = "streaming cannot leave bad records out, so --max-bad-records does not apply";
    assert!(refused.stderr.contains(says), "{}", refused.stderr);
    let mut command = sandbox.command("streaming -input in -output out -mapper cat");
    let output = command.env("GRISTMILL_MAX_BAD_RECORDS", "1").output().expect("the binary starts");
    Called::of(output).expect_code(2);
    assert!(!sandbox.path("out").exists());
}
