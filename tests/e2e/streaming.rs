//! Commands as mapper and reducer: the ones that the document tells readers to type, the same on a cluster
//! as here, and a program of mrjob.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use gristmill_tests::cluster::{Cluster, run_to_end};
use gristmill_tests::data::parts;
use gristmill_tests::docs::sh_commands;
use gristmill_tests::installed::skipped;

use crate::{GRISTMILL, root};

/// The folder of every output in the document.
const OUTPUTS: &str = "target/streaming";

/// Runs a shell command with our program on its PATH.
pub(crate) fn shell(text: &str, folder: &Path, variables: &[(&str, &str)]) -> Output {
    let programs = Path::new(GRISTMILL).parent().expect("binaries lie in a folder");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command.args(["-c", text]).current_dir(folder).env("PATH", path).env("GRISTMILL", GRISTMILL);
    command.env_remove("GRISTMILL_TEST_DATA").env_remove("GRISTMILL_TEST_ROUNDS");
    run_to_end({
        command.envs(variables.iter().copied());
        command
    })
}

#[track_caller]
fn succeed(text: &str, folder: &Path, variables: &[(&str, &str)]) -> Output {
    let output = shell(text, folder, variables);
    assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Whether there is what `probe` runs.
fn has(probe: &str) -> bool {
    shell(probe, root(), &[]).status.success()
}

fn bytes(output: &Path) -> Vec<u8> {
    parts(output).into_values().flatten().collect()
}

#[test]
fn every_command_of_the_document_runs_here_and_on_a_cluster() {
    let commands = sh_commands(&fs::read_to_string(root().join("docs/streaming.md")).expect("the document"));
    assert_eq!(commands.len(), 4);
    let python = has("python3 --version");
    if !python {
        skipped("in part: there is no python3");
    }
    let cluster = Cluster::start(GRISTMILL, 2);
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (number, command) in commands.iter().filter(|command| python || !command.contains("python3")).enumerate() {
        let name = |place: &str| dir.path().join(format!("{number}-{place}")).to_string_lossy().into_owned();
        let given = command.split_whitespace().find(|word| word.starts_with(OUTPUTS)).expect("an output");
        succeed(&command.replace(given, &name("here")), root(), &[]);
        let submitted = format!("{} --master {}", command.replace(given, &name("there")), cluster.url());
        let ended = shell(&submitted, root(), &[]);
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{submitted}: {stderr}\n{}", cluster.logs());
        let (here, there) = (bytes(name("here").as_ref()), bytes(name("there").as_ref()));
        assert!(!here.is_empty() && here == there, "{command}");
    }
    if python {
        let counted = bytes(&dir.path().join("1-here"));
        succeed(
            &format!("gristmill run word-count -i examples/data/books -o {}/words", dir.path().display()),
            root(),
            &[],
        );
        let sorted = |bytes: &[u8]| {
            let mut lines: Vec<Vec<u8>> = bytes.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&counted), sorted(&bytes(&dir.path().join("words"))));
    }
}

#[test]
fn a_command_that_fails_on_a_cluster_is_named_with_its_last_words() {
    let cluster = Cluster::start(GRISTMILL, 1);
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("in"), "x\n").expect("written");
    let fails = format!(
        "gristmill streaming -input in -output out -mapper \"sh -c 'cat >/dev/null; echo out of luck >&2; exit 9'\" --master {}",
        cluster.url()
    );
    let ended = shell(&fails, dir.path(), &[]);
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("ended with exit code 9; its stderr ended with: out of luck"), "{stderr}");
    assert!(!dir.path().join("out").exists());
}

#[test]
fn the_hadoop_for_mrjob_keeps_files() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let hadoop = root().join("examples/mrjob/hadoop");
    let folder = dir.path().join("hdfs").to_string_lossy().into_owned();
    let call = |args: &str| shell(&format!("{} {args}", hadoop.display()), dir.path(), &[("HDFS_FOLDER", &folder)]);
    let text = |args: &str| {
        let output = call(args);
        assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    fs::write(dir.path().join("a b"), "hello\n").expect("written");
    text("fs -mkdir -p hdfs:///tmp/x");
    text("fs -put 'a b' 'hdfs:///tmp/x/a b'");
    text("fs -touchz hdfs:///tmp/x/empty");
    assert_eq!(text("fs -cat 'hdfs:///tmp/x/a*'"), "hello\n");
    let listed = text("fs -ls -R hdfs:///tmp");
    assert!(listed.lines().any(|line| line.starts_with("-rw") && line.ends_with(" /tmp/x/a b")), "{listed}");
    let missing = call("fs -ls hdfs:///gone");
    assert!(!missing.status.success() && String::from_utf8_lossy(&missing.stderr).contains("No such file"));
    text("fs -rm -R -f -skipTrash hdfs:///tmp/x");
    assert!(!call("fs -ls hdfs:///tmp/x").status.success());
    assert!(text("version").starts_with("Hadoop 3"));
    text("jar any.jar -input 'a b' -output hdfs:///out -mapper cat -reducer NONE");
    assert_eq!(text("fs -cat 'hdfs:///out/part-*'"), "hello\t\n");
}

#[test]
fn a_program_of_mrjob_runs_unmodified() {
    if !has("python3 -c 'import mrjob.job'") {
        skipped("python3 has no mrjob (pip install mrjob 'setuptools<80')");
        return;
    }
    let dir = tempfile::tempdir().expect("a temporary folder");
    let folder = dir.path().join("hdfs").to_string_lossy().into_owned();
    for job in ["mr_word_freq_count", "mr_next_word_stats", "mr_most_used_word"] {
        let run = |runner: &str| {
            let call = format!("python3 -m mrjob.examples.{job} {runner} examples/data/books/*.txt");
            let output = succeed(&call, root(), &[("HDFS_FOLDER", &folder)]);
            let text = String::from_utf8(output.stdout).expect("UTF-8");
            let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
            lines.sort();
            lines
        };
        let ours = run("-r hadoop --hadoop-bin examples/mrjob/hadoop --hadoop-streaming-jar any.jar");
        assert!(!ours.is_empty());
        assert_eq!(ours, run("-r inline"), "{job}");
    }
}
