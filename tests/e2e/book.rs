//! The documents for readers who start: their commands are run in order, in an empty folder, as they are
//! typed there. What `cargo` builds is built without optimisation, and kept for the next run.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use gristmill_tests::cluster::run_to_end;
use gristmill_tests::data::parts;
use gristmill_tests::docs::sh_commands;
use gristmill_tests::stores::{ServerKind, StoreServer};
use gristmill_tests::waiting::run_to_end_within;

use crate::readme::Serving;
use crate::streaming::shell;
use crate::{GRISTMILL, root};

/// How long a command may take, all crates built on a busy machine included.
const BUILD_PATIENCE: Duration = Duration::from_secs(1500);

/// A reader in a folder of their own.
struct Reader {
    here: PathBuf,
    cluster: Option<(Serving, String)>,
}

impl Reader {
    /// Types a command; it must succeed.
    fn type_in(&mut self, line: &str) {
        if let Some(output) = self.call(line) {
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }

    /// Types a command and waits for its end, unless it serves or ends at once.
    fn call(&mut self, line: &str) -> Option<Output> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (program, args) = match words.as_slice() {
            ["cd", folder] => {
                self.here.push(folder);
                return None;
            }
            ["gristmill", "cluster", ..] => {
                self.cluster = Some(Serving::start(root(), &words));
                return None;
            }
            ["gristmill", args @ ..] => (GRISTMILL, args.to_vec()),
            // What is built here was fetched when this test was.
            ["cargo", verb, args @ ..] => {
                let args = args.iter().copied().filter(|arg| *arg != "--release");
                (env!("CARGO"), [*verb, "--offline", "--quiet"].into_iter().chain(args).collect())
            }
            other => panic!("nothing runs {other:?}"),
        };
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.here).stdin(Stdio::null());
        command.env_remove("GRISTMILL_TEST_DATA");
        command.env("CARGO_TARGET_DIR", root().join("target/book")).env("CARGO_PROFILE_DEV_DEBUG", "0");
        if let Some((_, url)) = &self.cluster {
            command.env("GRISTMILL_MASTER", url);
        }
        Some(run_to_end_within(BUILD_PATIENCE, command))
    }
}

#[test]
fn a_new_crate_is_tested_run_and_submitted_to_a_cluster_that_has_never_seen_it() {
    let text = std::fs::read_to_string(root().join("docs/getting-started.md")).expect("the document");
    let folder = tempfile::tempdir().expect("an empty folder");
    let mut reader = Reader { here: folder.path().to_owned(), cluster: None };
    let commands = sh_commands(&text);
    assert!(commands.len() >= 6, "only {commands:?}");
    commands.iter().for_each(|command| reader.type_in(command));
    let here = parts(&reader.here.join("counts"));
    assert!(!here.is_empty() && here == parts(&reader.here.join("counted")), "both ways give the same parts");
}

#[test]
fn a_cluster_is_started_process_by_process_and_used() {
    let text = std::fs::read_to_string(root().join("docs/running-a-cluster.md")).expect("the document");
    let folder = tempfile::tempdir().expect("an empty folder");
    let here = folder.path();
    symlink(root().join("examples"), here.join("examples")).expect("the texts of the repository");
    let mut master = None;
    let mut workers = vec![];
    for line in sh_commands(&text) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match (words.as_slice(), &master) {
            (["gristmill", "master", ..], None) => master = Some(Serving::start(here, &words)),
            (["gristmill", "worker", ..], Some((_, url))) => workers.push(Serving::worker(here, &words, url)),
            (["export", "GRISTMILL_MASTER=http://127.0.0.1:7420"], Some(_)) => {}
            (["gristmill", args @ ..], Some((_, url))) => {
                let mut command = Command::new(GRISTMILL);
                command.args(args).current_dir(here).env("GRISTMILL_MASTER", url).stdin(Stdio::null());
                let output = run_to_end(command);
                assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            }
            _ => panic!("nothing runs {line:?}"),
        }
    }
    assert_eq!(workers.len(), 2);
    assert!(!parts(&here.join("target/cluster/words")).is_empty());
}

#[test]
fn a_failure_is_read_replayed_and_passed_over_as_the_document_says() {
    let text = std::fs::read_to_string(root().join("docs/troubleshooting.md")).expect("the document");
    let folder = tempfile::tempdir().expect("an empty folder");
    std::fs::write(folder.path().join("events.jsonl"), first_text(&text)).expect("a scratch file");
    let mut reader = Reader { here: folder.path().to_owned(), cluster: None };
    let mut failures = Vec::new();
    for command in sh_commands(&text) {
        let job = if command.contains("JOB") { newest_job(&mut reader) } else { String::new() };
        let line = command.replace("JOB", &job);
        // What the document shows to fail, fails.
        let fails = ["submit", "replay"].iter().any(|verb| line.contains(verb));
        if fails && !line.contains("--max-bad-records") && !line.contains("--skip") {
            let output = reader.call(&line).expect("it ends");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{line}: {said}");
            assert!(said.contains("events.jsonl:34)"), "{line}: {said}");
            failures.push(said);
        } else {
            reader.type_in(&line);
        }
    }
    let [submitted, replayed] = &failures[..] else { panic!("{failures:?}") };
    assert!(submitted.contains("hint: replay it here: gristmill replay j-"), "{submitted}");
    assert!(replayed.contains("m-0 fails here as in the job: "), "{replayed}");
}

/// The content of a document's first block of text.
fn first_text(markdown: &str) -> &str {
    markdown.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a block of text")
}

#[test]
fn data_is_read_written_and_converted_as_the_document_says() {
    let text = std::fs::read_to_string(root().join("docs/data.md")).expect("the document");
    let (folder, orders) = (tempfile::tempdir().expect("an empty folder"), first_text(&text));
    std::fs::write(folder.path().join("orders.csv"), orders).expect("a scratch file");
    // Commands over a store need a server; without one the reason is printed, and they are left out.
    let server = StoreServer::start(ServerKind::Moto);
    let commands = sh_commands(&text);
    assert!(commands.len() >= 12, "only {commands:?}");
    for line in commands {
        let url = server.as_ref().map(StoreServer::url);
        let variables = match (&server, &url) {
            (Some(server), Some(url)) => [&server.credentials()[..], &[("AWS_ENDPOINT_URL", url)]].concat(),
            _ if line.contains("s3://") => continue,
            _ => vec![],
        };
        let output = shell(&line, folder.path(), &variables);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let back = parts(&folder.path().join("back"));
    assert_eq!(back.into_values().collect::<Vec<_>>(), [orders.as_bytes()], "converted there and back");
}

/// The id of the job that was submitted last.
fn newest_job(reader: &mut Reader) -> String {
    let output = reader.call("gristmill jobs --json").expect("it ends");
    let jobs: serde_json::Value = serde_json::from_slice(&output.stdout).expect("jobs in JSON");
    let newest = jobs["jobs"].as_array().and_then(|jobs| jobs.last()).expect("a job");
    newest["job"].as_str().expect("an id").to_owned()
}
