//! Parquet files of other libraries and ours: every type, read here and there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gristmill_tests::data::trial_data;
use gristmill_tests::installed::{python, skipped};

use crate::harness::{Called, Sandbox};

/// How libraries write, and which library each is.
const WRITERS: [(&str, &str); 5] = [
    ("duckdb", "duckdb"),
    ("duckdb-v2", "duckdb"),
    ("polars", "polars"),
    ("pyarrow", "pyarrow"),
    ("pyarrow-v2", "pyarrow"),
];

/// What `tables.py` writes, as JSON.
const ROWS: &str = r#"
{"i8":-128,"i16":-32768,"i32":-2147483648,"i64":-9223372036854775808,"u8":255,"u16":65535,"u32":4294967295,"u64":18446744073709551615,"f32":0.5,"f64":-1e+300,"flag":true,"d9":-1234567.89,"d18":12345678901234.5678,"d38":-9999999999999999999999999999.0123456789,"day":"1969-12-31","clock":"23:59:59.999999","ms":"1969-12-31T23:59:59.999","us":"2026-01-31T12:00:00.000001","utc":"2026-01-31T12:00:00.000005Z","text":"é, \"b\"\n","bytes":"\\xFF\u0000","ints":[1,null,-9223372036854775808],"texts":["","x",null],"lists":[[1],[],null,[null,2]],"pair":{"a":7,"b":null}}
{"i8":null,"i16":null,"i32":null,"i64":null,"u8":null,"u16":null,"u32":null,"u64":null,"f32":null,"f64":null,"flag":null,"d9":null,"d18":null,"d38":null,"day":null,"clock":null,"ms":null,"us":null,"utc":null,"text":null,"bytes":null,"ints":null,"texts":null,"lists":null,"pair":null}
{"i8":0,"i16":0,"i32":0,"i64":0,"u8":0,"u16":0,"u32":0,"u64":0,"f32":-0.25,"f64":0.1,"flag":false,"d9":0.00,"d18":0.0001,"d38":0.0000000000,"day":"0001-01-01","clock":"00:00:00","ms":"1970-01-01T00:00:00","us":"0001-01-01T00:00:00","utc":"1970-01-01T00:00:00Z","text":"","bytes":"","ints":[],"texts":[],"lists":[[]],"pair":{"a":null,"b":"x"}}
"#;

fn interop(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(name)
}

/// A Python, and the libraries it has. Says so and gives `None` if there is none.
fn libraries() -> Option<(PathBuf, Vec<String>)> {
    let python = python();
    let asked = Command::new(&python).arg(interop("tables.py")).arg("has").output();
    let libraries: Vec<String> = match &asked {
        Ok(output) => String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect(),
        Err(_) => vec![],
    };
    if libraries.is_empty() {
        skipped("no Python with duckdb, polars or pyarrow (.ci/tools installs them)");
        return None;
    }
    Some((python, libraries))
}

/// Runs `tables.py`, which must succeed; what it printed.
#[track_caller]
fn tables(python: &Path, args: &[&str]) -> String {
    let called = Command::new(python).arg(interop("tables.py")).args(args).output().expect("it starts");
    Called::of(called).expect_code(0).stdout
}

/// Copies a file that another library wrote to JSON and to a Parquet file of ours, and checks the JSON.
fn copied(sandbox: &Sandbox, writer: &str, file: &Path) -> PathBuf {
    let copy = |output: &str, format: &str| {
        let command = format!("run copy -i {} -o {output} --output-format {format}", file.display());
        sandbox.call(&command).expect_code(0);
    };
    copy(&format!("{writer}-json"), "json");
    let expect = ROWS.trim_start();
    // See `tables.py`.
    let expect = match writer.starts_with("duckdb-v2") {
        true => expect.replace("-2147483648", "-1073741824").replace("4294967295", "1073741824"),
        false => expect.to_owned(),
    };
    assert_eq!(sandbox.parts(&format!("{writer}-json")), expect, "{writer}");
    copy(&format!("{writer}-ours"), "parquet --compression zstd");
    sandbox.path(&format!("{writer}-ours/part-00000.parquet"))
}

#[test]
fn files_that_other_libraries_wrote_are_read() {
    let sandbox = Sandbox::new();
    for writer in ["duckdb", "duckdb-v2", "polars", "pyarrow-v2"] {
        let ours = copied(&sandbox, writer, &interop(&format!("{writer}.parquet")));
        copied(&sandbox, &format!("{writer}-again"), &ours);
    }
}

/// Its pages have checksums, which most writers leave out.
#[test]
fn no_changed_byte_of_a_page_with_a_checksum_gives_other_rows() {
    let sandbox = Sandbox::new();
    let whole = fs::read(interop("pyarrow-v2.parquet")).expect("it is here");
    let mut by_checksum = 0;
    let (_, [a, b, c, d, ..]) = whole.split_last_chunk::<8>().expect("a file ends with the length of its footer");
    let pages = whole.len() - 8 - u32::from_le_bytes([*a, *b, *c, *d]) as usize;
    for at in (10..pages).step_by(pages / 16) {
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        fs::write(sandbox.path("in.parquet"), damaged).expect("written");
        let called = sandbox.call("run copy -i in.parquet -o out --output-format json --overwrite");
        match called.code {
            Some(0) => assert_eq!(sandbox.parts("out"), ROWS.trim_start(), "byte {at}"),
            _ => assert!(called.stderr.contains("in.parquet as a Parquet file: row group 0, column"), "{called:#?}"),
        }
        by_checksum += usize::from(called.stderr.contains("CRC checksum mismatch"));
    }
    assert!(by_checksum > 3, "{by_checksum}");
}

#[test]
fn other_libraries_read_our_files_as_they_read_their_own() {
    let Some((python, libraries)) = libraries() else { return };
    let sandbox = Sandbox::new();
    for (writer, library) in WRITERS.into_iter().filter(|(_, library)| libraries.iter().any(|name| name == library)) {
        let theirs = sandbox.path(&format!("{writer}.parquet"));
        let theirs = theirs.to_str().expect("UTF-8");
        tables(&python, &["write", writer, theirs]);
        let ours = copied(&sandbox, writer, Path::new(theirs));
        tables(&python, &["same", library, theirs, ours.to_str().expect("UTF-8")]);
    }
    let (has, all) = (libraries.len(), 3);
    if has < all {
        skipped(&format!("{} of the libraries (there are {})", all - has, libraries.join(", ")));
    }
}

#[test]
fn duckdb_finds_the_expected_answers_in_our_files() {
    let (Some((python, libraries)), Some(data)) = (libraries(), trial_data()) else { return };
    if !libraries.iter().any(|library| library == "duckdb") {
        skipped("no duckdb");
        return;
    }
    let sandbox = Sandbox::new();
    let names: Vec<String> = (0..17).map(|column| format!("c{column}")).collect();
    let decimals = ["c4", "c5", "c6", "c7"].map(|name| format!("{name}=decimal(15,2)")).join(",");
    let source = data.join("tpch/lineitem.tbl.gz").display().to_string();
    let command = format!(
        "run copy -i {source} -o items --from delimited --separator | --columns {} --types {decimals},c10=date \
         --output-format parquet --split-size 700kB --part-size 200kB",
        names.join(",")
    );
    sandbox.call(&command).expect_code(0);
    let files = sandbox.path("items/*.parquet").display().to_string();
    // Queries 1 and 6 of TPC-H.
    let queries = [
        (
            "tpch-q1.tsv",
            "SELECT c8 || '|' || c9, sum(c4)::DECIMAL(38,0), sum(c5), sum(c5 * (1 - c6)), sum(c5 * (1 - c6) * (1 + c7)), \
             avg(c4)::DECIMAL(18,6), avg(c5)::DECIMAL(18,6), avg(c6)::DECIMAL(18,6), count(*) \
             FROM t WHERE c10 <= DATE '1998-09-02' GROUP BY c8, c9 ORDER BY 1",
        ),
        (
            "tpch-q6.tsv",
            "SELECT 'revenue', sum(c5 * c6) FROM t WHERE c10 >= DATE '1994-01-01' AND c10 < DATE '1995-01-01' \
             AND c6 BETWEEN 0.05 AND 0.07 AND c4 < 24",
        ),
    ];
    for (answer, sql) in queries {
        let expect = fs::read_to_string(data.join("expected").join(answer)).expect("the data has its answers");
        assert_eq!(tables(&python, &["query", &files, sql]), expect, "{answer}");
    }
    let rows = tables(&python, &["query", &files, "SELECT count(*) FROM t"]);
    assert_eq!(rows, "60175\n");
}
