//! Commands that every system has, as mapper and reducer, by the sequential reference.

use super::*;
use crate::oracle::{check, check_options, output, parsed};
use gristmill_common::reference::ReferenceInput;
use gristmill_common::text::LineRule;

const TEXT: &[(&str, &[u8])] = &[("a", b"the cat\nthe dog\n"), ("b", b"a cat\n\nlast")];

/// The error of a job over [`TEXT`].
fn error(flags: &[&str]) -> String {
    let input = ReferenceInput { objects: TEXT, rule: &LineRule::Any, partitions: 1 };
    match parsed::<Streaming>(flags).visit(input) {
        Ok(result) => result.expect_err("it fails").to_string(),
        Err(error) => error.message,
    }
}

#[test]
fn commands_map_and_reduce() {
    let words = &["--mapper", "tr -s ' ' '\n'", "--reducer", "uniq -c"];
    let out = output(parsed::<Streaming>(words), &LineRule::Any, TEXT).parts.concat();
    let out = String::from_utf8(out).expect("UTF-8");
    let counts: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(counts, [vec!["1", "a"], vec!["2", "cat"], vec!["1", "dog"], vec!["1", "last"], vec!["2", "the"]]);
    check::<Streaming>(&["--mapper", "cat"], TEXT, b"\t\na cat\t\nlast\t\nthe cat\t\nthe dog\t\n");
    check::<Streaming>(&[], TEXT, b"\t\na cat\t\nlast\t\nthe cat\t\nthe dog\t\n");
    check::<Streaming>(&["--mapper", "cat", "--reducer", "NONE"], &[("a", b"b\t1\r\na\n")], b"b\t1\na\t\n");
    check::<Streaming>(&["--mapper", "wc -l", "--numReduceTasks", "0"], &[("a", b"b\nc\n"), ("b", b"")], b"2\t\n0\t\n");
    check_options::<Streaming>(&["--mapper", "cat"]);
}

#[test]
fn lines_without_a_value_end_in_a_separator_unless_they_are_keys_only() {
    let plain = ["--mapper", "cat", "--reducer", "cat", "--property", "stream.map.output=keyonlytext"];
    check::<Streaming>(&plain, &[("a", b"b\ta\na\n")], b"a\t\nb\ta\n");
    let plain = [&plain[..], &["--property", "stream.reduce.output=keyonlytext"]].concat();
    check::<Streaming>(&plain, &[("a", b"b\ta\na\n")], b"a\nb\ta\n");
}

#[test]
fn separators_part_keys_and_values() {
    let flags = |properties: &[&str]| -> Vec<String> {
        let given = properties.iter().flat_map(|property| ["--property".to_owned(), (*property).to_owned()]);
        ["--mapper", "cat", "--reducer", "cat"].map(str::to_owned).into_iter().chain(given).collect()
    };
    let check = |properties: &[&str], expect: &str| {
        let flags = flags(properties);
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        check::<Streaming>(&flags, &[("a", b"b,2,x\na,10,y\na,1,z\nc\n")], expect.as_bytes());
    };
    check(&["stream.map.output.field.separator=,"], "a\t10,y\na\t1,z\nb\t2,x\nc\t\n");
    check(
        &["stream.map.output.field.separator=,", "stream.num.map.output.key.fields=2"],
        "a,1\tz\na,10\ty\nb,2\tx\nc\t\n",
    );
    check(
        &["stream.map.output.field.separator=,", "stream.reduce.input.field.separator=:"],
        "a:10,y\t\na:1,z\t\nb:2,x\t\nc:\t\n",
    );
    check(
        &["stream.reduce.output.field.separator=,", "mapreduce.output.textoutputformat.separator= = "],
        "a = 1,z\t\na = 10,y\t\nb = 2,x\t\nc\t = \n",
    );
    let by_number = [
        "mapreduce.job.output.key.comparator.class=org.apache.hadoop.mapred.lib.KeyFieldBasedComparator",
        "mapreduce.partition.keycomparator.options=-k2,2nr -k1,1",
        "mapreduce.map.output.key.field.separator=,",
    ];
    check(&by_number, "a,10,y\t\nb,2,x\t\na,1,z\t\nc\t\n");
}

#[test]
fn keys_that_share_their_first_fields_share_a_part() {
    let flags = [
        "--mapper",
        "cat",
        "--reducer",
        "cat",
        "--partitioner",
        "org.apache.hadoop.mapred.lib.KeyFieldBasedPartitioner",
        "--property",
        "mapreduce.partition.keypartitioner.options=-k1,1",
        "--property",
        "mapreduce.map.output.key.field.separator=.",
    ];
    let text: String = (0..200).map(|n| format!("{}.{n}\n", n % 10)).collect();
    let objects = [("a", text.as_bytes())];
    let input = ReferenceInput { objects: &objects, rule: &LineRule::Any, partitions: 4 };
    let out = parsed::<Streaming>(&flags).visit(input).expect("options").expect("no error");
    let firsts = out.parts.iter().map(|part| {
        let part = String::from_utf8_lossy(part).into_owned();
        part.lines().map(|line| line[..1].to_owned()).collect::<std::collections::BTreeSet<_>>()
    });
    assert_eq!(firsts.map(|first| first.len()).sum::<usize>(), 10, "no first field is in two parts");
    assert!(out.parts.iter().filter(|part| !part.is_empty()).count() > 1);
}

#[test]
fn a_combiner_sees_its_records_in_order() {
    let sum = r#"awk -F"\t" '{ if ($1 != key && NR > 1) { print key "\t" sum; sum = 0 } key = $1; sum += $2 } END { if (NR) print key "\t" sum }'"#;
    let mapper = r#"awk '{ for (i = 1; i <= NF; i++) print $i "\t1" }'"#;
    let text: String = (0..20_000).map(|n| format!("w{} w{}\n", n % 7, n % 1000)).collect();
    let objects = [("a", text.as_bytes())];
    let run = |flags: &[&str]| output(parsed::<Streaming>(flags), &LineRule::Any, &objects);
    let plain = run(&["--mapper", mapper, "--reducer", sum]);
    let combined = run(&["--mapper", mapper, "--reducer", sum, "--combiner", sum]);
    assert_eq!(plain.parts, combined.parts);
    assert!(plain.parts[0].starts_with(b"w0\t2878\n"), "{}", String::from_utf8_lossy(&plain.parts[0]));
}

#[test]
fn stderr_counts_and_everything_is_told_of_a_failure() {
    let script = "echo reporter:counter:g,lines,2 >&2; echo out of luck >&2; cat";
    let counting = format!("sh -c '{script}'");
    let out = output(parsed::<Streaming>(&["--mapper", &counting]), &LineRule::Any, TEXT);
    assert_eq!(out.counters.get("g:lines"), 4, "each file has a mapper of its own");
    let failing = format!("sh -c '{script}; exit 3'");
    let text = error(&["--mapper", &failing]);
    assert!(text.starts_with("the mapper \"sh -c echo"), "{text}");
    assert!(text.ends_with("ended with exit code 3; its stderr ended with: out of luck"), "{text}");
    let lenient = ["--mapper", &failing, "--property", "stream.non.zero.exit.is.failure=false"];
    check::<Streaming>(&lenient, &[("a", b"x\n")], b"x\t\n");
    assert!(error(&["--mapper", "sh -c 'kill -9 $$'"]).contains("was ended by signal 9 and wrote nothing"));
    assert!(error(&["--mapper", "cat", "--reducer", "false"]).contains("the reducer \"false\" ended with exit code 1"));
    assert!(error(&["--mapper", "no-such-program"]).contains("cannot start the mapper \"no-such-program\": No such"));
}

#[test]
fn commands_may_read_and_write_as_much_as_they_like() {
    let lines: String = (0..300_000).map(|n| format!("{n}\n")).collect();
    let objects = [("a", lines.as_bytes())];
    let run = |command: &str| {
        output(parsed::<Streaming>(&["--mapper", command, "--reducer", "NONE"]), &LineRule::Any, &objects)
            .parts
            .concat()
    };
    assert_eq!(run("true"), b"");
    assert_eq!(run("head -n 2"), b"0\t\n1\t\n");
    assert_eq!(run("sh -c 'exec <&-; echo x'"), b"x\t\n");
    assert_eq!(run("cat").len(), lines.len() + 300_000);
    let flood = "sh -c 'cat >&2; echo done'";
    let input = ReferenceInput { objects: &[("a", &lines.as_bytes()[..50_000])], rule: &LineRule::Any, partitions: 1 };
    let out =
        parsed::<Streaming>(&["--mapper", flood, "--reducer", "NONE"]).visit(input).expect("options").expect("runs");
    assert_eq!(out.parts.concat(), b"done\t\n");
    // Twenty bytes for each that is read: the command writes while it is written to.
    let many = run("awk '{ for (i = 0; i < 20; i++) print $0 }'");
    assert_eq!(many.len(), 20 * (lines.len() + 300_000));
}

#[test]
fn commands_know_their_task() {
    let command = "sh -c 'echo $mapreduce_map_input_file $mapreduce_task_ismap $mapreduce_task_partition $my_name $X; cat >/dev/null'";
    let flags = ["--mapper", command, "--reducer", "NONE", "--property", "my.name=v", "--cmdenv", "X=a=b"];
    check::<Streaming>(&flags, TEXT, b"a true 0 v a=b\t\nb true 0 v a=b\t\n");
    let here = ["--mapper", "sh -c 'pwd >&2; echo $TMPDIR; test -d $TMPDIR -a -w .'", "--reducer", "NONE"];
    output(parsed::<Streaming>(&here), &LineRule::Any, TEXT);
}

#[test]
fn records_may_be_bytes() {
    // Two records of a raw key and value, whatever is read.
    let raw = r"sh -c 'cat >/dev/null; printf \\000\\000\\000\\001b\\000\\000\\000\\001x\\000\\000\\000\\001a\\000\\000\\000\\000'";
    let flags = ["--mapper", raw, "--reducer", "cat", "--io", "rawbytes"];
    check::<Streaming>(&flags, &[("a", b"in\n")], b"a\t\nb\tx\n");
    let flags = ["--mapper", "cat", "--reducer", "cat", "--io", "typedbytes"];
    check::<Streaming>(&flags, &[("a", b"one\ntwo\n")], b"0\tone\n4\ttwo\n");
    let flags = ["--mapper", "printf abc", "--io", "rawbytes"];
    assert!(error(&flags).ends_with("ends in the middle of a record"), "{}", error(&flags));
    let pairs = ["--mapper", "cat", "--inputformat", "KeyValueTextInputFormat", "--reducer", "NONE"];
    check::<Streaming>(&pairs, &[("a", b"k\tv\nonly\n")], b"k\tv\nonly\t\n");
    let keys = ["--mapper", "cat", "--property", "stream.map.input.ignoreKey=false", "--reducer", "NONE"];
    check::<Streaming>(&keys, &[("a", b"ab\nc\n")], b"0\tab\n3\tc\n");
}

#[test]
fn options_that_cannot_be_are_named() {
    for (flags, expect) in [
        (["--mapper", "cat 'x"], "has a ' that is not closed"),
        (["--reducer", "aggregate"], "aggregate is a class of Hadoop"),
        (["--mapper", "org.apache.hadoop.mapred.lib.TokenCountMapper"], "there is no Java here"),
        (["--io", "avro"], "stream.map.input cannot be \"avro\": it takes text, rawbytes or typedbytes"),
        (["--inputformat", "SequenceFileInputFormat"], "there are TextInputFormat, KeyValueTextInputFormat"),
        (["--outputformat", "X"], "-outputformat cannot be X"),
        (["--partitioner", "org.apache.hadoop.mapred.lib.TotalOrderPartitioner"], "-partitioner cannot be TotalOrder"),
        (["--property", "x"], "-D takes NAME=VALUE, not \"x\""),
        (["--property", "mapreduce.job.reduces=many"], "mapreduce.job.reduces cannot be \"many\": it takes a number"),
        (["--property", "stream.map.output.field.separator="], "it takes at least one character"),
        (["--property", "stream.num.map.output.key.fields=0"], "it takes at least 1"),
        (["--cmdenv", "x"], "-cmdenv takes NAME=VALUE"),
    ] {
        let text = error(&flags);
        assert!(text.contains(expect), "{flags:?}: {text}");
    }
}
