//! Jobs over tables against the expected answers: delimited text and JSON lines, here and on a cluster.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use gristmill_tests::cluster::Cluster;
use gristmill_tests::data::{expected, parts, sha256, sorted_digest, trial_data};

use crate::{GRISTMILL, arg, succeed};

/// What `weather-month.tsv` has, but for the form of its key.
const WEATHER_MONTH: [&str; 8] = [
    "--by",
    "origin,month",
    "--agg",
    "count,count:temp,mean:temp,max:wind_speed,count:precip>0",
    "--scale",
    "4",
    "--null",
    "NA",
];

fn fields(line: &[u8]) -> Vec<&str> {
    std::str::from_utf8(line).expect("text").trim_end().split(',').collect()
}

/// `EWR,1,742,…` as `EWR-01 TAB 742 TAB …`.
fn as_weather_month(line: &[u8]) -> Vec<u8> {
    let fields = fields(line);
    let month: u32 = fields[1].parse().expect("a month");
    format!("{}-{month:02}\t{}\n", fields[0], fields[2..].join("\t")).into_bytes()
}

fn as_weather_join(line: &[u8]) -> Vec<u8> {
    let fields = fields(line);
    format!("{}\t{}\t{}\n", fields[0], fields[2], fields[1]).into_bytes()
}

fn as_tabs(line: &[u8]) -> Vec<u8> {
    format!("{}\n", fields(line).join("\t")).into_bytes()
}

/// A folder for outputs; each has its own name.
struct Outputs(tempfile::TempDir);

impl Outputs {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs a job in one process.
    fn run(&self, job: &str, name: &str, input: &Path, options: &[&[&str]]) -> PathBuf {
        let output = self.path(name);
        succeed(&[&["run", job, "-i", arg(input), "-o", arg(&output)], options.concat().as_slice()].concat());
        output
    }

    /// Runs a job in one process and on a cluster, and compares the parts.
    fn run_both(&self, cluster: &Cluster, job: &str, name: &str, input: &Path, options: &[&[&str]]) -> PathBuf {
        let here = self.run(job, name, input, options);
        let there = self.path(&format!("{name}-there"));
        let submit = ["submit", job, "-i", arg(input), "-o", arg(&there)];
        let submitted = cluster.run(&[&submit, options.concat().as_slice()].concat());
        assert!(submitted.status.success(), "{}", String::from_utf8_lossy(&submitted.stderr));
        assert_eq!(parts(&here), parts(&there), "{job} {options:?}");
        here
    }
}

#[test]
fn group_by_join_and_top_give_the_expected_answers() {
    let outputs = Outputs::new();
    access_log_equals_a_plain_sum(&outputs);
    let Some(data) = trial_data() else { return };
    let cluster = Cluster::start(GRISTMILL, 2);
    weather_equals_the_answers(&outputs, &cluster, &data);
    words_equal_the_answers(&outputs, &data);
    reviews_equal_the_answers(&outputs, &data, &data.join("csv/anonreviews.csv.bz2"));
}

fn weather_equals_the_answers(outputs: &Outputs, cluster: &Cluster, data: &Path) {
    let (weather, airports) = (data.join("csv/weather.csv"), data.join("csv/airports.csv"));
    for (name, how) in [("one", &[][..]), ("many", &["--split-size", "50kB", "--reducers", "3"])] {
        let months = outputs.run_both(cluster, "group-by", name, &weather, &[&WEATHER_MONTH, how]);
        assert_eq!(sorted_digest(&months, as_weather_month), expected(data, "weather-month.tsv"));
    }
    let counts = outputs.run_both(cluster, "group-by", "counts", &weather, &[&["--by", "origin"]]);
    let joining = ["--columns", "origin,rows", "--right", arg(&airports), "--on", "origin=faa"];
    // Asking for reduce tasks has the small right side shuffled as a large one is.
    for (name, how) in [("loaded", &[][..]), ("shuffled", &["--reducers", "3"])] {
        let joined = outputs.run_both(cluster, "join", name, &counts, &[&joining, how]);
        assert_eq!(sorted_digest(&joined, as_weather_join), expected(data, "weather-join-airport.tsv"), "{name}");
    }
}

fn reviews_equal_the_answers(outputs: &Outputs, data: &Path, reviews: &Path) {
    let by_vendor = ["--by", "vendorId", "--agg", "count,sum:rating"];
    let split = ["--split-size", "2MB", "--reducers", "2"];
    let vendors = outputs.run("group-by", "vendors", reviews, &[&by_vendor, &split]);
    assert_eq!(sorted_digest(&vendors, as_tabs), expected(data, "reviews-vendor.tsv"));
    let columns = ["--columns", "vendor,n,stars", "--by", "n", "-k", "25"];
    for split in ["64MiB", "100"] {
        let top = outputs.run("top", &format!("top-{split}"), &vendors, &[&columns, &["--split-size", split]]);
        assert_eq!(ranked_digest(&top, as_tabs), expected(data, "reviews-vendor.top"));
    }
}

/// The most frequent words, some of which begin with a quote.
fn words_equal_the_answers(outputs: &Outputs, data: &Path) {
    let words = outputs.run("word-count", "words", &data.join("text"), &[]);
    let columns = ["--columns", "word,n", "--by", "n", "-k", "50", "--separator", "\\t", "--no-quotes"];
    let top = outputs.run("top", "top-words", &words, &[&columns]);
    assert_eq!(ranked_digest(&top, <[u8]>::to_vec), expected(data, "wordcount.top"));
}

/// Line count and SHA-256 of an output's lines, in their order.
fn ranked_digest(output: &Path, rewrite: impl Fn(&[u8]) -> Vec<u8>) -> (usize, String) {
    let all: Vec<u8> = parts(output).into_values().flatten().collect();
    let lines: Vec<Vec<u8>> = all.split_inclusive(|&byte| byte == b'\n').map(rewrite).collect();
    (lines.len(), sha256(&lines.concat()))
}

/// Rows of an access log with a few busy hosts.
fn access_log() -> impl Iterator<Item = (String, u32, u64)> {
    let mut seed = 1_u64;
    (0..20_000).map(move |_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let random = seed >> 33;
        let host = (random % 900) * (random % 7) / 6;
        let status = [200, 200, 304, 404, 500][random as usize / 7 % 5];
        (format!("10.{}.{}.1", host % 5, host), status, random % 100_003 * (random % 11))
    })
}

fn access_log_equals_a_plain_sum(outputs: &Outputs) {
    let (mut delimited, mut json) = (String::new(), String::new());
    let mut sums: BTreeMap<(String, u32), (u64, u64)> = BTreeMap::new();
    for (index, (host, status, bytes)) in access_log().enumerate() {
        let time = format!("2031-03-01T{:02}:00:00Z", index / 900);
        writeln!(delimited, "{time},{host},GET,/a/b,{status},{bytes},curl/8").expect("a String takes all text");
        let request = format!("\"request\":{{\"method\":\"GET\",\"host\":\"{host}\"}}");
        writeln!(json, "{{\"ts\":\"{time}\",{request},\"status\":{status},\"bytes\":{bytes}}}").expect("as above");
        let sum = sums.entry((host, status)).or_default();
        *sum = (sum.0 + 1, sum.1 + bytes);
    }
    let row = |((host, status), (count, bytes)): (&(String, u32), &(u64, u64))| {
        (
            format!("{host},{status},{count},{bytes}\n").into_bytes(),
            format!("{{\"request.host\":\"{host}\",\"status\":{status},\"count\":{count},\"sum:bytes\":{bytes}}}\n"),
        )
    };
    let (mut rows, mut objects): (Vec<_>, Vec<_>) = sums.iter().map(row).unzip();
    rows.sort_unstable();
    objects.sort_unstable();
    let (rows, objects) = ((rows.len(), sha256(&rows.concat())), (objects.len(), sha256(objects.concat().as_bytes())));
    let (csv, jsonl) = (outputs.path("log.csv"), outputs.path("log.jsonl"));
    fs::write(&csv, delimited).expect("a scratch file");
    fs::write(&jsonl, json).expect("a scratch file");
    let columns = ["--columns", "ts,host,method,path,status,bytes,agent", "--by", "host,status"];
    let paths = ["--by", "request.host,status"];
    for (index, how) in [&[][..], &["--split-size", "9999", "--reducers", "3"], &["--threads", "1"]].iter().enumerate()
    {
        let check = |name: &str, input: &Path, flags: &[&str], answer: &(usize, String)| {
            let aggregates = ["--agg", "count,sum:bytes"];
            let output = outputs.run("group-by", &format!("{name}-{index}"), input, &[flags, &aggregates, how]);
            assert_eq!(&sorted_digest(&output, <[u8]>::to_vec), answer, "{name} {how:?}");
        };
        check("rows", &csv, &columns, &rows);
        check("objects", &jsonl, &paths, &objects);
        check("objects-as-rows", &jsonl, &[&paths[..], &["--delimited"]].concat(), &rows);
    }
}

/// A CSV file without quotes as JSON lines: numbers as they are written, `NA` as null.
fn as_json_lines(csv: &str) -> String {
    let mut lines = csv.lines();
    let names: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let is_number =
        |field: &str| field.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'-')) && !field.contains(':');
    let value = |field: &str| match field {
        "NA" => "null".to_owned(),
        number if is_number(number) && number.parse::<f64>().is_ok() => number.to_owned(),
        text => format!("\"{text}\""),
    };
    let object = |line: &str| {
        let fields: Vec<String> =
            names.iter().zip(line.split(',')).map(|(name, field)| format!("\"{name}\": {}", value(field))).collect();
        format!("{{{}}}\n", fields.join(", "))
    };
    lines.map(object).collect()
}

#[test]
fn json_lines_give_the_expected_answers_at_every_split_size() {
    let Some(data) = trial_data() else { return };
    let outputs = Outputs::new();
    let input = outputs.path("weather.jsonl");
    let weather = fs::read_to_string(data.join("csv/weather.csv")).expect("the data is complete");
    fs::write(&input, as_json_lines(&weather)).expect("a scratch file");
    let mut objects = None;
    for split in ["1000", "70001", "64MiB"] {
        let how = ["--split-size", split, "--reducers", "2"];
        let delimited = ["--delimited"];
        let rows = outputs.run("group-by", &format!("rows-{split}"), &input, &[&WEATHER_MONTH, &delimited, &how]);
        assert_eq!(sorted_digest(&rows, as_weather_month), expected(&data, "weather-month.tsv"), "{split}");
        let output = outputs.run("group-by", &format!("objects-{split}"), &input, &[&WEATHER_MONTH, &how]);
        assert_eq!(objects.get_or_insert_with(|| parts(&output)), &parts(&output), "{split}");
    }
}

#[test]
fn ties_are_ranked_alike_however_the_job_runs() {
    let outputs = Outputs::new();
    let input = outputs.path("rows.csv");
    let mut rows: Vec<(u32, String)> =
        (0..5000).map(|n| (n % 7, format!("row {},{}", n * 7919 % 5000, n % 7))).collect();
    let text: Vec<&str> = rows.iter().map(|(_, row)| row.as_str()).collect();
    fs::write(&input, text.join("\n")).expect("a scratch file");
    rows.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let expect: String = rows.iter().take(1000).map(|(_, row)| format!("{row}\n")).collect();
    for (index, how) in
        [&["--threads", "1"][..], &["--split-size", "777"], &["--split-size", "20kB", "--reducers", "5"]]
            .iter()
            .enumerate()
    {
        let options = ["--columns", "name,n", "--by", "n", "-k", "1000"];
        let top = outputs.run("top", &format!("top-{index}"), &input, &[&options, how]);
        let ranked: Vec<u8> = parts(&top).into_values().flatten().collect();
        assert_eq!(String::from_utf8(ranked).expect("text"), expect, "{how:?}");
    }
}
