//! A cluster whose processes show certificates: from nothing to a job in six commands, and what is refused.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gristmill_tests::waiting::{eventually, run_to_end};

const PROGRAM: &str = env!("CARGO_BIN_EXE_gristmill");

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn gristmill(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args).current_dir(dir).env_remove("GRISTMILL_CERTS").stdin(Stdio::null());
    command
}

fn start(dir: &Path, args: &[&str]) -> (Running, BufReader<std::process::ChildStdout>) {
    let mut child = gristmill(dir, args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("started");
    let out = BufReader::new(child.stdout.take().expect("piped"));
    (Running(child), out)
}

/// What a command that succeeds prints.
fn printed(dir: &Path, args: &[&str]) -> String {
    let output = run_to_end(gristmill(dir, args));
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

fn refused(dir: &Path, args: &[&str], code: i32, expect: &str) {
    let output = run_to_end(gristmill(dir, args));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), said.contains(expect)), (Some(code), true), "{args:?}: {said}");
}

#[test]
fn two_workers_join_and_count_words_and_others_are_refused_by_name() {
    let scratch = tempfile::tempdir().expect("scratch");
    let dir = scratch.path();
    fs::write(dir.join("text"), "to be or not to be\n".repeat(200)).expect("written");
    printed(dir, &["certs", "init"]);
    let master_args = ["master", "--listen", "127.0.0.1:0", "--state", "state", "--certs", "gristmill-certs/master"];
    let (_master, mut out) = start(dir, &master_args);
    let mut url = String::new();
    out.read_line(&mut url).expect("it says where it serves");
    let url = url.trim();
    assert!(url.starts_with("https://127.0.0.1:"), "{url:?}");
    let admin = ["--master", url, "--certs", "gristmill-certs/admin"];
    let with =
        |first: &[&'static str]| -> Vec<String> { first.iter().chain(&admin).map(|text| (*text).to_owned()).collect() };
    let run = |first: &[&'static str]| {
        let args = with(first);
        printed(dir, &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let tokens = run(&["certs", "join-token", "--count", "2"]);
    let tokens: Vec<&str> = tokens.lines().collect();
    let worker = |number: usize| {
        let name = format!("worker-{number}");
        let args = [
            "worker",
            "--master",
            url,
            "--dir",
            &name,
            "--slots",
            "1",
            "--shuffle",
            "network",
            "--join",
            tokens[number],
        ];
        start(dir, &args)
    };
    let _workers = [worker(0), worker(1)];
    let there = eventually(|| {
        let shown: serde_json::Value = serde_json::from_str(&run(&["workers", "--json"])).expect("JSON");
        shown["workers"].as_array().is_some_and(|workers| workers.len() == 2)
    });
    assert!(there, "both workers are there");
    run(&["submit", "word-count", "-i", "text", "-o", "out", "--reducers", "2", "--split-size", "1KiB"]);
    printed(dir, &["run", "word-count", "-i", "text", "-o", "here", "--reducers", "2"]);
    for part in ["part-00000", "part-00001"] {
        let read = |output: &str| fs::read(dir.join(output).join(part)).expect("there");
        assert_eq!(read("out"), read("here"), "{part}");
    }
    refused(dir, &["jobs", "--master", url], 5, "takes certificates, and none was given");
    refused(dir, &["certs", "init"], 1, "is there already");
    printed(dir, &["certs", "init", "--dir", "others"]);
    refused(dir, &["jobs", "--master", url, "--certs", "others/admin"], 5, "is foreign");
    let admin_as_worker = ["worker", "--master", url, "--dir", "w9", "--certs", "gristmill-certs/admin"];
    refused(dir, &admin_as_worker, 5, "wrong role");
    printed(dir, &["certs", "issue", "viewer/v", "--hours", "1"]);
    let viewer = ["--master", url, "--certs", "gristmill-certs/viewer-v"];
    printed(dir, &[&["jobs"], &viewer[..]].concat());
    refused(dir, &[&["cancel", "j-1"], &viewer[..]].concat(), 5, "a submitter's or an admin's is needed");
    let joined = ["worker", "--master", url, "--dir", "w8", "--join", tokens[0]];
    refused(dir, &joined, 5, "used token");
    fs::rename(dir.join("gristmill-certs/authority.key"), dir.join("offline.key")).expect("moved");
    refused(dir, &["certs", "issue", "viewer/w"], 2, "authority.key");
    run(&["jobs"]);
}
