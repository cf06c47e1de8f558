//! Tables that are converted from one format to another, and what jobs make of them.

use std::fs;

use crate::harness::Sandbox;

const ORDERS: &str = "id,name,price,day\n\
                      1,\"a, \"\"b\"\"\",12.50,2026-01-31\n\
                      2,,0.05,\n\
                      3,é,-7.00,1969-12-31\n";

const TYPES: &str = "--types id=int64,price=decimal(12,2),day=date";

/// The only part of an output, and its name.
fn part(sandbox: &Sandbox, output: &str) -> (String, Vec<u8>) {
    let names: Vec<String> = sandbox
        .tree()
        .into_iter()
        .filter_map(|name| Some(name.strip_prefix(&format!("{output}/"))?.to_owned()))
        .collect();
    let [part] = &names.iter().filter(|name| name.starts_with("part-")).collect::<Vec<_>>()[..] else {
        panic!("{names:?}")
    };
    (part.to_string(), fs::read(sandbox.path(output).join(part)).expect("a part"))
}

fn text(sandbox: &Sandbox, output: &str) -> String {
    String::from_utf8(part(sandbox, output).1).expect("text")
}

#[test]
fn tables_are_converted_there_and_back() {
    let sandbox = Sandbox::new();
    sandbox.file("orders.csv", ORDERS);
    let run = |args: &str| sandbox.call(&format!("run {args}")).expect_code(0);
    run(&format!("copy -i orders.csv -o parquet --output-format parquet {TYPES}"));
    let (name, bytes) = part(&sandbox, "parquet");
    assert_eq!((name.as_str(), &bytes[..4]), ("part-00000.parquet", b"PAR1".as_slice()));
    run("copy -i parquet -o json --output-format json");
    let json = "{\"id\":1,\"name\":\"a, \\\"b\\\"\",\"price\":12.50,\"day\":\"2026-01-31\"}\n\
                {\"id\":2,\"name\":null,\"price\":0.05,\"day\":null}\n\
                {\"id\":3,\"name\":\"é\",\"price\":-7.00,\"day\":\"1969-12-31\"}\n";
    assert_eq!((part(&sandbox, "json").0.as_str(), text(&sandbox, "json").as_str()), ("part-00000.jsonl", json));
    run(&format!("copy -i json -o parquet-2 --output-format parquet {TYPES}"));
    assert_eq!(part(&sandbox, "parquet-2").1, bytes, "the same rows are the same file");
    run("copy -i parquet-2 -o csv --output-format csv");
    assert_eq!((part(&sandbox, "csv").0.as_str(), text(&sandbox, "csv").as_str()), ("part-00000.csv", ORDERS));
    // Without a format, rows of a Parquet file are lines.
    run("copy -i parquet -o lines");
    assert_eq!((part(&sandbox, "lines").0.as_str(), text(&sandbox, "lines").as_str()), ("part-00000", json));
    sandbox.call("verify parquet").expect_code(0);
    assert!(sandbox.scratch().is_empty());
}

#[test]
fn lines_are_a_column_and_back() {
    let sandbox = Sandbox::new();
    sandbox.file("book.txt", "to be\nor \"not\"\n\nto be\n");
    let run = |args: &str| sandbox.call(&format!("run {args}")).expect_code(0);
    run("copy -i book.txt -o parquet --output-format parquet");
    run("copy -i parquet -o lines");
    assert_eq!(text(&sandbox, "lines"), "to be\nor \"not\"\n\nto be\n");
    run("word-count -i parquet -o counts --reducers 1");
    assert_eq!(text(&sandbox, "counts"), "\"not\"\t1\nbe\t2\nor\t1\nto\t2\n");
    run("word-count -i parquet -o counts.csv --reducers 1 --output-format csv");
    assert_eq!(text(&sandbox, "counts.csv"), "key,value\n\"\"\"not\"\"\",1\nbe,2\nor,1\nto,2\n");
}

#[test]
fn groups_of_any_format_are_the_same_in_any_format() {
    let sandbox = Sandbox::new();
    sandbox.file("rows.csv", "k,n\na,1.25\nb,2\na,0.25\n,3\n");
    let run = |args: &str| sandbox.call(&format!("run {args}")).expect_code(0);
    run("copy -i rows.csv -o rows.parquet --output-format parquet --types n=decimal(9,2)");
    run("copy -i rows.csv -o rows.jsonl --output-format json --types n=double");
    for input in ["rows.csv", "rows.parquet", "rows.jsonl"] {
        let group = |output: &str, more: &str| {
            run(&format!("group-by -i {input} -o {input}-{output} --by k --agg count,sum:n,max:n --reducers 1 {more}"));
            format!("{input}-{output}")
        };
        let json = text(&sandbox, &group("json", "--output-format json --scale 2 --types max:n=double"));
        let mut lines: Vec<&str> = json.lines().collect();
        lines.sort_unstable();
        let expect = [
            "{\"k\":\"a\",\"count\":2,\"sum:n\":1.50,\"max:n\":1.25}",
            "{\"k\":\"b\",\"count\":1,\"sum:n\":2.00,\"max:n\":2.0}",
            "{\"k\":null,\"count\":1,\"sum:n\":3.00,\"max:n\":3.0}",
        ];
        assert_eq!(lines, expect, "{input}");
        let csv = text(&sandbox, &group("csv", "--output-format csv --scale 2 --types max:n=double"));
        let mut lines: Vec<&str> = csv.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, [",1,3.00,3", "a,2,1.50,1.25", "b,1,2.00,2", "k,count,sum:n,max:n"], "{input}");
        let parquet = group("parquet", "--output-format parquet --scale 2 --types max:n=double");
        run(&format!("copy -i {parquet} -o {input}-back --output-format json"));
        assert_eq!(text(&sandbox, &format!("{input}-back")), json, "{input}");
    }
}

/// The files of an output, relative to it and in order, but for its manifest.
fn files(sandbox: &Sandbox, output: &str) -> Vec<String> {
    fn walk(folder: &std::path::Path, below: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("UTF-8").to_owned();
            match path.is_dir() {
                true => walk(&path, &format!("{below}{name}/"), found),
                false if name != "_SUCCESS" => found.push(format!("{below}{name}")),
                false => {}
            }
        }
    }
    let mut found = Vec::new();
    walk(&sandbox.path(output), "", &mut found);
    found.sort_unstable();
    found
}

#[test]
fn rows_are_divided_among_folders_that_their_columns_name() {
    let sandbox = Sandbox::new();
    sandbox
        .file("rows.csv", "country,n,day\nDE,1,2026-01-01\nFR,2,2026-01-01\n,3,2026-01-02\nA/B,4,\nDE,5,2026-01-01\n");
    let run = |args: &str| sandbox.call(&format!("run {args}")).expect_code(0);
    run("copy -i rows.csv -o out --output-format csv --types day=date --partition-by country,day");
    let folders = [
        "country=A%2FB/day=__HIVE_DEFAULT_PARTITION__",
        "country=DE/day=2026-01-01",
        "country=FR/day=2026-01-01",
        "country=__HIVE_DEFAULT_PARTITION__/day=2026-01-02",
    ];
    let parts = folders.map(|folder| format!("{folder}/part-00000.csv"));
    assert_eq!(files(&sandbox, "out"), parts);
    let of = |part: &str| std::fs::read_to_string(sandbox.path("out").join(part)).expect("a part");
    assert_eq!(parts.map(|part| of(&part)), ["n\n4\n", "n\n1\n5\n", "n\n2\n", "n\n3\n"]);
    sandbox.call("verify out").expect_code(0);

    run("copy -i rows.csv -o parquet --output-format parquet");
    run("copy -i parquet -o again --output-format json --partition-by n");
    assert_eq!(files(&sandbox, "again").len(), 5);
    run(
        "group-by -i rows.csv -o groups --by country,day --agg sum:n --output-format json --partition-by country --reducers 1",
    );
    assert_eq!(files(&sandbox, "groups")[1], "country=DE/part-00000.jsonl");
    let group = std::fs::read_to_string(sandbox.path("groups/country=DE/part-00000.jsonl")).expect("a part");
    assert_eq!(group, "{\"day\":\"2026-01-01\",\"sum:n\":6.000000}\n");

    for (args, expect) in [
        ("copy -i rows.csv -o x --partition-by n", "--partition-by divides rows"),
        ("copy -i rows.csv -o x --output-format csv --partition-by m", "there is no column \"m\""),
        ("group-by -i rows.csv -o x --by day --partition-by day", "--partition-by divides rows"),
    ] {
        let called = sandbox.call(&format!("run {args}")).expect_code(2);
        assert!(called.stderr.contains(expect), "{args}: {}", called.stderr);
    }
}

#[test]
fn parts_have_the_size_that_is_asked_for() {
    let sandbox = Sandbox::new();
    // More than an encoder keeps to itself, however well it is compressed.
    let lines: String = (0..200_000).map(|n: u32| format!("{:x}\n", n.wrapping_mul(2_654_435_761))).collect();
    sandbox.file("lines.txt", &lines);
    let run = |args: &str| sandbox.call(&format!("run {args}")).expect_code(0);
    for more in ["", "--compression zstd", "--output-format json", "--output-format parquet"] {
        run(&format!("copy -i lines.txt -o out --overwrite --part-size 30KiB {more}"));
        let parts = files(&sandbox, "out");
        assert!(parts.len() > 1 && parts[1].starts_with("part-00000_00001"), "{more}: {parts:?}");
        sandbox.call("verify out").expect_code(0);
        run("copy -i out -o all --overwrite");
        let all = text(&sandbox, "all");
        assert_eq!(all.lines().count(), 200_000, "{more}");
        assert!(!more.is_empty() || all == lines);
    }
    sandbox.call("run copy -i lines.txt -o x --part-size 0").expect_code(2);
}

#[test]
fn numbers_of_json_keep_all_their_digits() {
    let sandbox = Sandbox::new();
    let rows = "{\"n\":12345678901234567890.0123456789,\"u\":18446744073709551615,\"d\":[0.10,-1e-3],\"x\":-1e300,\"t\":1.50,\"o\":{\"p\": 0.10}}\n\
                {\"n\":-0.0000000001,\"u\":1e3,\"d\":[],\"x\":-0.0,\"t\":\"b\",\"o\":[1.0]}\n";
    sandbox.file("rows.jsonl", rows);
    let types = "--types n=decimal(38,10),u=uint64,d=decimal(9,3)[],x=double,t=string,o=string";
    sandbox.call(&format!("run copy -i rows.jsonl -o parquet --output-format parquet {types}")).expect_code(0);
    sandbox.call("run copy -i parquet -o json --output-format json").expect_code(0);
    let expect = "{\"n\":12345678901234567890.0123456789,\"u\":18446744073709551615,\"d\":[0.100,-0.001],\"x\":-1e+300,\"t\":\"1.50\",\"o\":\"{\\\"p\\\": 0.10}\"}\n\
                  {\"n\":-0.0000000001,\"u\":1000,\"d\":[],\"x\":-0.0,\"t\":\"b\",\"o\":\"[1.0]\"}\n";
    assert_eq!(text(&sandbox, "json"), expect);
}

#[test]
fn conversions_that_cannot_be_are_refused_with_the_reason() {
    let sandbox = Sandbox::new();
    sandbox.file("orders.csv", ORDERS);
    sandbox.file("events.jsonl", "{\"a\":1}\n{\"a\":2,\"b\":true}\n");
    let refused = |args: &str, code: i32, expect: &str| {
        let called = sandbox.call(&format!("run {args}")).expect_code(code);
        assert!(called.stderr.contains(expect), "{args}: {}", called.stderr);
        assert!(!sandbox.path("out").exists());
    };
    let copy = "copy -i orders.csv -o out --output-format parquet";
    refused(
        &format!("{copy} --types cost=double"),
        2,
        "--types: there is no column \"cost\" (there are id, name, price, day)",
    );
    refused(&format!("{copy} --types id=number"), 2, "unknown type \"number\"");
    refused(&format!("{copy} --types name=int64"), 1, "column \"name\": \"a, \\\"b\\\"\" is no int64");
    refused(&format!("{copy} --compression bzip2"), 2, "pages are compressed with gzip, zstd, lz4 or snappy");
    refused("tera-sort -i orders.csv -o out --output-format csv", 2, "the job's records have no columns");
    sandbox.file("broken.parquet", "PAR1 and no more");
    refused("copy -i broken.parquet -o out", 1, "broken.parquet as a Parquet file: ");
}
