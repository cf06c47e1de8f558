//! Each job in one process and on a cluster of the project's own binary, whose workers have never seen
//! this crate: the same parts, and the answer that another program gave.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gristmill_tests::cluster::{Cluster, run_to_end};
use gristmill_tests::data::{expected, parts, sorted_digest, trial_data};

/// This crate.
const ANSWERS: &str = env!("CARGO_BIN_EXE_answers");

/// A job and what it must give.
struct Row {
    job: &'static str,
    input: PathBuf,
    options: Vec<String>,
    check: fn(&Path, &Path),
}

/// The trial data, or what it was converted to.
struct Data {
    folder: PathBuf,
    /// Where the converted inputs are, each under its own path; those that are not there are as they were.
    converted: Option<PathBuf>,
}

impl Data {
    fn find() -> Option<Self> {
        Some(Self { folder: trial_data()?, converted: None })
    }

    /// An input.
    fn of(&self, path: &str) -> PathBuf {
        let converted = self.converted.as_ref().map(|folder| folder.join(path));
        converted.filter(|path| path.exists()).unwrap_or_else(|| self.folder.join(path))
    }

    fn rows(&self) -> Vec<Row> {
        let of = |path: &str| self.of(path);
        // Compressed, as such tables come.
        let (items, reviews) = (of("tpch/lineitem.tbl.gz"), of("csv/anonreviews.csv.bz2"));
        let flag = |flag: &str, path: &str| vec![flag.to_owned(), arg(&of(path)).to_owned()];
        let orders = || flag("--orders", "tpch/orders.tbl");
        // What travels with a job is a file that its code reads by itself.
        let customers = format!("customers={}", self.folder.join("tpch/customer.tbl").display());
        let shipped = [orders(), vec!["--file".to_owned(), customers]].concat();
        let several = || ["--reducers", "3", "--split-size", "400KiB"].map(str::to_owned).to_vec();
        let row = |job, input, options, check| Row { job, input, options, check };
        vec![
            row("mit-wc", of("text"), several(), |data, output| equal(data, "mit-wc.txt", output)),
            row("mit-indexer", of("text"), several(), |data, output| equal(data, "mit-indexer.txt", output)),
            row("bigrams", of("text"), several(), |data, output| equal(data, "bigrams.tsv", output)),
            row("word-stats", of("text"), vec![], |data, output| equal(data, "wordstats.tsv", output)),
            row("sessions", of("logs"), several(), count_sessions),
            row("visits", of("logs"), vec![], |data, output| equal(data, "log-sessions.tsv", output)),
            row("weather-airports", of("csv/weather.csv"), flag("--airports", "csv/airports.csv"), |data, output| {
                equal(data, "weather-join-airport.tsv", output);
            }),
            row("reviews", reviews, vec![], |data, output| equal(data, "reviews-rating.tsv", output)),
            row("temperatures", of("ncdc/1901.gz"), several(), |data, output| equal(data, "ncdc-1901-max.tsv", output)),
            row("temperatures", of("ncdc/sample.txt"), vec![], |data, output| {
                equal(data, "ncdc-sample-max.tsv", output)
            }),
            row("tpch-q1", items.clone(), several(), |data, output| equal(data, "tpch-q1.tsv", output)),
            row("tpch-q3", items.clone(), shipped, |data, output| {
                let answer = fs::read(data.join("expected/tpch-q3.top")).expect("the data has its answers");
                assert_eq!(text(output), String::from_utf8(answer).expect("text"), "in ranking order");
            }),
            row("tpch-q6", items.clone(), several(), |data, output| equal(data, "tpch-q6.tsv", output)),
            row("tpch-q12", items, orders(), |data, output| equal(data, "tpch-q12.tsv", output)),
            row("tpch-q13", of("tpch/customer.tbl"), orders(), |data, output| equal(data, "tpch-q13.tsv", output)),
        ]
    }
}

/// All lines of the output, sorted together, are the answer.
fn equal(data: &Path, answer: &str, output: &Path) {
    assert_eq!(sorted_digest(output, <[u8]>::to_vec), expected(data, answer), "{answer}");
}

/// The answer tells how many addresses and sessions there are.
fn count_sessions(data: &Path, output: &Path) {
    let text = text(output);
    let mut addresses: Vec<&str> = text.lines().filter_map(|line| line.split('\t').next()).collect();
    let sessions = addresses.len();
    addresses.sort_unstable();
    addresses.dedup();
    let answer = fs::read_to_string(data.join("expected/log-sessions.tsv")).expect("the data has its answers");
    let counted = format!("distinct_ip\t{}\nsessions_gap_gt_1800s\t{sessions}\n", addresses.len());
    assert_eq!(counted, answer);
}

/// The parts one after the other.
fn text(output: &Path) -> String {
    String::from_utf8(parts(output).into_values().flatten().collect()).expect("text")
}

/// A path as an argument.
fn arg(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}

/// Runs jobs of this crate, here or on a cluster.
struct Runner<'a> {
    cluster: Option<&'a Cluster>,
}

impl Runner<'_> {
    /// Runs a job or a pipeline, which must succeed.
    fn run(&self, job: &str, input: &Path, output: &Path, options: &[&str]) {
        let mut command = Command::new(ANSWERS);
        command.env_remove("GRISTMILL_TEST_DATA").env_remove("GRISTMILL_TEST_ROUNDS");
        let verb = if self.cluster.is_some() { "submit" } else { "run" };
        command.args([verb, job, "-i", arg(input), "-o", arg(output)]).args(options);
        if let Some(cluster) = self.cluster {
            command.args(["--master", cluster.url()]);
        }
        let ended = run_to_end(command);
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        let logs = self.cluster.map(Cluster::logs).unwrap_or_default();
        assert!(ended.status.success(), "{verb} {job}: {said}\n{logs}");
    }

    /// Runs the job of a row and checks its answer.
    fn run_row(&self, row: &Row, output: &Path, data: &Data) {
        let options: Vec<&str> = row.options.iter().map(String::as_str).collect();
        self.run(row.job, &row.input, output, &options);
        (row.check)(&data.folder, output);
    }

    /// Runs a pipeline over a graph; gives the labels of all nodes that have one.
    fn labels(&self, pipeline: &str, edges: &Path, output: &Path, options: &[&str]) -> Vec<u64> {
        self.run(pipeline, edges, output, &[options, &["--reducers", "2"]].concat());
        let label = |line: &str| line.split('\t').nth(1)?.parse().ok();
        text(output).lines().map(|line| label(line).unwrap_or_else(|| panic!("no label in {line:?}"))).collect()
    }
}

/// How often each number occurs.
fn histogram(numbers: &[u64]) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for number in numbers {
        *counts.entry(*number).or_default() += 1;
    }
    counts
}

fn check_graph(data: &Path, runner: &Runner<'_>) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| dir.path().join(name);
    let edges = data.join("graph");
    let answer = |name: &str| fs::read_to_string(data.join("expected").join(name)).expect("the data has its answers");

    let distances = histogram(&runner.labels("graph-distances", &edges, &path("distances"), &["--source", "0"]));
    let lines: String = distances.iter().map(|(distance, nodes)| format!("{distance}\t{nodes}\n")).collect();
    assert_eq!(lines, answer("graph-bfs0.tsv"));

    let components = histogram(&runner.labels("graph-components", &edges, &path("components"), &[]));
    let largest = components.values().max().copied().unwrap_or(0);
    runner.run("graph-triangles", &edges, &path("triangles"), &[]);
    let facts = answer("graph-facts.tsv");
    let nodes: u64 = components.values().sum();
    for (name, count) in [("components", components.len() as u64), ("largest_component", largest), ("nodes", nodes)] {
        let fact = facts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
        assert_eq!(fact, Some(count.to_string().as_str()), "{name}");
    }
    let triangles = text(&path("triangles"));
    assert!(facts.contains(&triangles) && triangles.starts_with("triangles\t"), "{triangles}");
}

#[test]
fn pipelines_give_the_expected_answers_about_a_graph() {
    let Some(data) = trial_data() else { return };
    check_graph(&data, &Runner { cluster: None });
    check_graph(&data, &Runner { cluster: Some(&Cluster::start(gristmill(), 2)) });
}

/// The project's own program.
fn gristmill() -> PathBuf {
    let gristmill = Path::new(ANSWERS).with_file_name("gristmill");
    assert!(gristmill.is_file(), "build {} first (cargo build; cargo test --workspace does)", gristmill.display());
    gristmill
}

#[test]
fn every_job_gives_the_expected_answer_here_and_on_a_cluster() {
    let Some(data) = Data::find() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cluster = Cluster::start(gristmill(), 3);
    for (index, row) in data.rows().iter().enumerate() {
        let outputs = [None, Some(&cluster)].map(|cluster| {
            let place = if cluster.is_some() { "there" } else { "here" };
            let output = dir.path().join(format!("{index}-{place}"));
            Runner { cluster }.run_row(row, &output, &data);
            output
        });
        let [here, there] = outputs.map(|output| parts(&output));
        assert_eq!(here, there, "{} here and on the cluster", row.job);
    }
}

/// Inputs whose lines are what their jobs read.
const LINES: [&str; 7] =
    ["text", "logs", "tpch/lineitem.tbl.gz", "tpch/orders.tbl", "tpch/customer.tbl", "ncdc/1901.gz", "ncdc/sample.txt"];

/// Inputs that begin with a header, which names their columns.
const TABLES: [&str; 3] = ["csv/weather.csv", "csv/airports.csv", "csv/anonreviews.csv.bz2"];

/// Copies an input with the project's own program.
fn copy(input: &Path, output: &Path, options: &[&str]) {
    let mut command = Command::new(gristmill());
    command.env_remove("GRISTMILL_TEST_DATA").env_remove("GRISTMILL_TEST_ROUNDS");
    fs::create_dir_all(output.parent().expect("below a folder")).expect("a folder");
    let ended = run_to_end({
        command.args(["run", "copy", "-i", arg(input), "-o", arg(output)]).args(options);
        command
    });
    assert!(ended.status.success(), "copy {}: {}", input.display(), String::from_utf8_lossy(&ended.stderr));
}

/// Converts every input to JSON lines, these to Parquet, and those back to text, compressed with zstd; gives the
/// folder of the last but one and that of the last.
fn convert_all(data: &Path, dir: &Path) -> [PathBuf; 2] {
    let [json, parquet, back] = ["json", "parquet", "back"].map(|form| dir.join(form));
    for input in LINES.iter().chain(&TABLES) {
        let is_table = TABLES.contains(input);
        let from: &[&str] = if is_table { &[] } else { &["--from", "lines"] };
        copy(&data.join(input), &json.join(input), &[&["--output-format", "json"], from].concat());
        copy(&json.join(input), &parquet.join(input), &["--output-format", "parquet"]);
        let as_text: &[&str] = if is_table { &["--output-format", "csv"] } else { &[] };
        copy(&parquet.join(input), &back.join(input), &[&["--compression", "zstd"], as_text].concat());
    }
    [parquet, back]
}

#[test]
fn every_job_gives_the_expected_answer_over_converted_data() {
    let Some(mut data) = Data::find() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let [parquet, back] = convert_all(&data.folder, dir.path());
    // These jobs read lines, and tables after their header; the rows of a file of columns are none of these.
    TABLES.iter().for_each(|table| fs::remove_dir_all(parquet.join(table)).expect("it was written"));
    for (form, folder) in [("parquet", parquet), ("back", back)] {
        data.converted = Some(folder);
        // The names of converted files are others, and this job writes them.
        for (index, row) in data.rows().iter().filter(|row| row.job != "mit-indexer").enumerate() {
            Runner { cluster: None }.run_row(row, &dir.path().join(format!("{form}-{index}")), &data);
        }
    }
}
