//! Tables that come compressed, converted from each format to the next: the same rows, and the same answers.

use std::path::{Path, PathBuf};

use gristmill_tests::data::{expected, parts, sorted_digest, trial_data};

use crate::{arg, succeed};

/// The columns of `lineitem`, behind whose last one stands another separator.
const LINE_ITEM: &str = "l_orderkey,l_partkey,l_suppkey,l_linenumber,l_quantity,l_extendedprice,l_discount,l_tax,\
                         l_returnflag,l_linestatus,l_shipdate,l_commitdate,l_receiptdate,l_shipinstruct,l_shipmode,\
                         l_comment,end";

/// Their types, where they are not text.
const LINE_ITEM_TYPES: &str = "l_orderkey=int64,l_partkey=int64,l_suppkey=int32,l_linenumber=int32,\
                               l_quantity=decimal(15,2),l_extendedprice=decimal(15,2),l_discount=decimal(4,2),\
                               l_tax=decimal(4,2),l_shipdate=date,l_commitdate=date,l_receiptdate=date";

/// A folder for outputs; each has its own name.
struct Outputs(tempfile::TempDir);

impl Outputs {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// Runs a job.
    fn run(&self, job: &str, name: &str, input: &Path, options: &[&str]) -> PathBuf {
        let output = self.0.path().join(name);
        succeed(&[&["run", job, "-i", arg(input), "-o", arg(&output)], options].concat());
        output
    }

    /// Converts an input; the name of the output begins with the format.
    fn convert(&self, name: &str, input: &Path, options: &[&str]) -> PathBuf {
        let format = name.split('-').next().unwrap_or(name);
        self.run("copy", name, input, &[&["--output-format", format], options].concat())
    }
}

/// All bytes of an output.
fn bytes(output: &Path) -> Vec<u8> {
    parts(output).into_values().flatten().collect()
}

/// `a,b` as `a TAB b`.
fn as_tabs(line: &[u8]) -> Vec<u8> {
    line.iter().map(|byte| if *byte == b',' { b'\t' } else { *byte }).collect()
}

#[test]
fn reviews_of_any_format_and_compression_give_the_expected_answers() {
    let Some(data) = trial_data() else { return };
    let outputs = Outputs::new();
    let source = data.join("csv/anonreviews.csv.bz2");
    let json = outputs.convert("json", &source, &["--types", "reviewerId=int64,vendorId=int64,rating=int8"]);
    let parquet = outputs.convert("parquet", &json, &["--compression", "zstd"]);
    let csv = outputs.convert("csv", &parquet, &["--compression", "zstd"]);
    let plain = outputs.run("copy", "plain", &source, &[]);
    assert!(bytes(&outputs.run("copy", "back", &csv, &[])) == bytes(&plain), "the same text comes back");

    let vendors = ["--by", "vendorId", "--agg", "count,sum:rating"];
    let months = ["--count", "--pattern", "[0-9]{4}-[0-9]{2}"];
    for (name, input) in [("bzip2", &source), ("json", &json), ("parquet", &parquet), ("zstd", &csv)] {
        let rows: &[&str] = if matches!(name, "json" | "parquet") { &["--delimited"] } else { &[] };
        for (split, how) in [("one", &[][..]), ("many", &["--split-size", "700kB", "--reducers", "2"])] {
            let run = |job, options: &[&str]| {
                outputs.run(job, &format!("{job}-{name}-{split}"), input, &[options, how].concat())
            };
            let vendors = run("group-by", &[&vendors[..], rows].concat());
            assert_eq!(sorted_digest(&vendors, as_tabs), expected(&data, "reviews-vendor.tsv"), "{name}, {split}");
            let months = run("grep", &months);
            assert_eq!(sorted_digest(&months, <[u8]>::to_vec), expected(&data, "reviews-month.tsv"), "{name}, {split}");
        }
    }
}

#[test]
fn decimals_and_dates_are_the_same_in_any_format() {
    let Some(data) = trial_data() else { return };
    let outputs = Outputs::new();
    let source = data.join("tpch/lineitem.tbl.gz");
    let table = ["--separator", "|", "--no-quotes", "--columns", LINE_ITEM];
    let typed = ["--types", LINE_ITEM_TYPES];
    let parquet = outputs.convert("parquet", &source, &[&table, &typed[..], &["--from", "delimited"]].concat());
    let json = outputs.convert("json", &parquet, &["--compression", "gzip"]);
    let csv = outputs.convert("csv", &parquet, &["--compression", "bzip2"]);
    for (name, input) in [("json", &json), ("csv", &csv)] {
        let again = outputs.convert(&format!("parquet-of-{name}"), input, &typed);
        assert!(bytes(&again) == bytes(&parquet), "the same rows of {name} are the same file");
    }
    let by = ["--by", "l_returnflag,l_linestatus"];
    let aggregates = ["--agg", "count,sum:l_quantity,sum:l_extendedprice,mean:l_discount,max:l_tax,count:l_tax>0.05"];
    let groups = |name: &str, input: &Path, options: &[&str]| {
        let options = [&by, &aggregates, options, &["--scale", "6", "--reducers", "1"]].concat();
        let text = String::from_utf8(bytes(&outputs.run("group-by", name, input, &options))).expect("text");
        // A sum has as many digits behind the point as what it is of, and columns of decimals have all of theirs.
        text.replace(".00,", ",").replace(".00|", "|")
    };
    let expect = groups("of-source", &source, &table).replace('|', ",");
    assert_eq!(expect.lines().count(), 4, "{expect}");
    for (name, input, options) in
        [("of-parquet", &parquet, &["--delimited"][..]), ("of-json", &json, &["--delimited"]), ("of-csv", &csv, &[])]
    {
        assert_eq!(groups(name, input, options), expect, "{name}");
    }
}
