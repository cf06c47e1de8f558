//! Jobs of other binaries than the cluster's: sent along with them, run by workers that have never seen
//! them, kept while they are needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gristmill_tests::cluster::{Cluster, run_to_end};
use gristmill_tests::data::parts;

use crate::{GRISTMILL, example};

/// A folder with a text, and a cluster of this project's own binary.
struct Bench {
    dir: tempfile::TempDir,
    cluster: Cluster,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for number in 0..6 {
            let lines = format!("the fox {number}\nthe dog\nand the fox\n");
            fs::write(dir.path().join(format!("{number}.txt")), lines).expect("a scratch file");
        }
        Self { dir, cluster: Cluster::start(GRISTMILL, 3) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Submits a job of `binary` over the text to the cluster.
    fn submit(&self, binary: &Path, job: &str, output: &str, more: &[&str]) -> Output {
        let mut command = Command::new(binary);
        command.current_dir(self.dir.path()).args(["submit", job, "-i", "*.txt", "-o", output]).args(more);
        command.args(["--split-size", "1", "--reducers", "2", "--master", self.cluster.url()]);
        run_to_end(command)
    }

    fn lines(&self, output: &str) -> Vec<String> {
        let bytes: Vec<u8> = parts(&self.path(output)).into_values().flatten().collect();
        let mut lines: Vec<String> = String::from_utf8(bytes).expect("UTF-8").lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    }
}

const COUNTS: [&str; 10] = ["0\t1", "1\t1", "2\t1", "3\t1", "4\t1", "5\t1", "and\t6", "dog\t6", "fox\t12", "the\t18"];

#[test]
fn a_job_of_another_binary_runs_on_workers_that_have_never_seen_it() {
    let bench = Bench::new();
    for (round, binary) in [example("lab"), GRISTMILL.into(), example("lab")].iter().enumerate() {
        let output = format!("out-{round}");
        let ended = bench.submit(binary, "word-count", &output, &[]);
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{stderr}\n{}", bench.cluster.logs());
        assert_eq!(bench.lines(&output), COUNTS);
    }
    let logs = bench.cluster.logs();
    assert_eq!(logs.matches("file taken in").count(), 1, "the binary is sent once:\n{logs}");
    assert_eq!(logs.matches("file of a job fetched").count(), 3, "each worker fetches it once:\n{logs}");
}

#[test]
fn files_travel_with_their_job() {
    let bench = Bench::new();
    fs::write(bench.path("words"), "the\nand\n").expect("a scratch file");
    for (output, file) in [("out-1", "stop=words"), ("out-2", "stop=0.txt")] {
        let ended = bench.submit(&example("lab"), "stop-words", output, &["--file", file]);
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{stderr}\n{}", bench.cluster.logs());
    }
    let without = |words: &[&str]| -> Vec<&str> {
        COUNTS.into_iter().filter(|line| !words.iter().any(|word| line.starts_with(&format!("{word}\t")))).collect()
    };
    assert_eq!(bench.lines("out-1"), without(&["the", "and"]));
    assert_eq!(bench.lines("out-2"), without(&["the", "and", "fox", "dog", "0"]));
    let ended = bench.submit(&example("lab"), "stop-words", "out-3", &["--file", "stop=gone.txt"]);
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(3) && stderr.contains("cannot ship the file"), "{stderr}");
    let ended = bench.submit(&example("lab"), "stop-words", "out-3", &[]);
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(stderr.contains("no file named \"stop\" was shipped with the job"), "{stderr}");
    assert!(!bench.path("out-3").exists());
}
