//! Ready-made jobs against the expected answers, and the same bytes however they are run.

use std::fs;
use std::path::Path;

use gristmill_tests::cluster::Cluster;
use gristmill_tests::data::{expected, parts, sha256, sorted_digest, trial_data};

use crate::{GRISTMILL, arg, generated_text, succeed};

/// A job over the trial data, and the answer it must give.
struct Row {
    job: &'static str,
    options: &'static [&'static str],
    input: &'static str,
    answer: &'static str,
    /// Rewrites an output line to the answer's form.
    rewrite: fn(&[u8]) -> Vec<u8>,
}

fn as_it_is(line: &[u8]) -> Vec<u8> {
    line.to_vec()
}

/// `term TAB file,file` as the MIT lab's `term count file,file`.
fn as_mit_indexer(line: &[u8]) -> Vec<u8> {
    let line = std::str::from_utf8(line).expect("terms are letters");
    let (term, files) = line.split_once('\t').expect("a term and its files");
    format!("{term} {} {files}", files.split(',').count()).into_bytes()
}

const ROWS: [Row; 5] = [
    Row { job: "word-count", options: &[], input: "text", answer: "wordcount.tsv", rewrite: as_it_is },
    Row { job: "distinct", options: &[], input: "text", answer: "distinct-lines.txt", rewrite: as_it_is },
    Row { job: "inverted-index", options: &[], input: "text", answer: "mit-indexer.txt", rewrite: as_mit_indexer },
    Row {
        job: "grep",
        options: &["--count", "--pattern", "[A-Z][a-z]*ing"],
        input: "text",
        answer: "grep-ing.tsv",
        rewrite: as_it_is,
    },
    Row {
        job: "word-count",
        options: &[],
        input: "messy/blns.txt",
        answer: "wordcount-blns-ascii-ws.tsv",
        rewrite: as_it_is,
    },
];

fn check(data: &Path, row: &Row, output: &Path) {
    let seen = sorted_digest(output, row.rewrite);
    assert_eq!(seen, expected(data, row.answer), "{} over {}", row.job, row.input);
    assert!(output.join("_SUCCESS").is_file());
}

#[test]
fn ready_made_jobs_give_the_expected_answers_here_and_on_a_cluster() {
    let Some(data) = trial_data() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cluster = Cluster::start(GRISTMILL, 3);
    for (index, row) in ROWS.iter().enumerate() {
        let input = data.join(row.input);
        let here = dir.path().join(format!("here-{index}"));
        let there = dir.path().join(format!("there-{index}"));
        // Small splits and several reducers, so that there is something to shuffle.
        let common = ["-i", arg(&input), "--split-size", "100KiB", "--reducers", "3", "-o"];
        let command = |verb, output| [&[verb, row.job], &common[..], &[output], row.options].concat();
        succeed(&command("run", arg(&here)));
        check(&data, row, &here);
        let output = cluster.run(&command("submit", arg(&there)));
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), cluster.logs());
        check(&data, row, &there);
        assert_eq!(parts(&here), parts(&there), "{} here and on the cluster", row.job);
    }
}

#[test]
fn sorted_parts_follow_each_other_here_and_on_a_cluster() {
    let Some(data) = trial_data() else { return };
    let dir = tempfile::tempdir().expect("a temporary folder");
    let cluster = Cluster::start(GRISTMILL, 3);
    let summary = fs::read_to_string(data.join("expected/sort.tsv")).unwrap_or_default();
    let records = summary.lines().find_map(|line| line.strip_prefix("sorted_sha256\t")).map(str::to_owned);
    let lines = expected(&data, "sort-lines.txt").1;
    let rows = [("sort-lines", "text", Some(lines)), ("tera-sort", "sort/gensort-ascii-10000.dat", records)];
    for (job, input, answer) in rows {
        let answer = answer.unwrap_or_else(|| panic!("no answer for {job}"));
        let (here, there) = (dir.path().join(format!("{job}-here")), dir.path().join(format!("{job}-there")));
        let input = data.join(input);
        let common = ["-i", arg(&input), "--split-size", "100001", "--reducers", "4", "-o"];
        let command = |verb, output| [&[verb, job], &common[..], &[output]].concat();
        succeed(&command("run", arg(&here)));
        let output = cluster.run(&command("submit", arg(&there)));
        assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), cluster.logs());
        assert_eq!(parts(&here), parts(&there), "{job} here and on the cluster");
        let all: Vec<u8> = parts(&here).into_values().flatten().collect();
        assert_eq!(sha256(&all), answer, "{job}");
    }
}

#[test]
fn parts_are_equal_for_any_threads_memory_and_split_size() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let text = generated_text(dir.path(), 12);
    let mut first = None;
    for (index, options) in [
        &["--threads", "1"][..],
        &["--threads", "8"],
        &["--threads", "8", "--memory", "64MiB"],
        &["--memory", "2GiB"],
        &["--split-size", "1MiB", "--memory", "32MiB"],
    ]
    .into_iter()
    .enumerate()
    {
        let output = dir.path().join(format!("out-{index}"));
        let common = ["run", "word-count", "-i", arg(&text), "-o", arg(&output), "--reducers", "3"];
        succeed(&[&common[..], options].concat());
        let parts = parts(&output);
        assert_eq!(parts.len(), 3);
        assert_eq!(first.get_or_insert_with(|| parts.clone()), &parts, "{options:?}");
    }
}

#[test]
fn copy_keeps_records_under_each_line_rule() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let input = dir.path().join("mixed.txt");
    std::fs::write(&input, b"\xef\xbb\xbfone\r\ntwo\rthree\n\nfour;five\r").expect("a scratch file");
    let check = |name: &str, options: &[&str], expect: &[u8]| {
        for split in ["1", "3", "1000"] {
            let output = dir.path().join(format!("{name}-{split}"));
            let common = ["run", "copy", "-i", arg(&input), "-o", arg(&output), "--split-size", split];
            succeed(&[&common[..], options].concat());
            let all: Vec<u8> = parts(&output).into_values().flatten().collect();
            assert_eq!(
                all.escape_ascii().to_string(),
                expect.escape_ascii().to_string(),
                "{name} in splits of {split}"
            );
        }
    };
    check("lf", &[], b"\xef\xbb\xbfone\ntwo\rthree\n\nfour;five\n");
    check("any", &["--line-endings", "any"], b"one\ntwo\nthree\n\nfour;five\n");
    check("semicolon", &["--delimiter", ";"], b"\xef\xbb\xbfone\r\ntwo\rthree\n\nfour\nfive\r\n");
}
