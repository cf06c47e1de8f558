//! Every command in README.md is run as it is written, or by the test that is named here.

use std::process::{Command, Stdio};

use gristmill_tests::docs::sh_commands;

use crate::{GRISTMILL, root};

/// Commands that other tests run: this very test run, and those that need a cluster of their own.
const RUN_ELSEWHERE: [(&str, &str); 6] = [
    ("cargo test --workspace", "this test run"),
    ("gristmill cluster --workers 3", "cli: a cluster serves until it is told to stop"),
    ("gristmill submit word-count -i examples/data/books -o target/cluster-words --overwrite", "e2e::answers"),
    ("gristmill jobs", "e2e::failover"),
    ("gristmill workers", "e2e::failover"),
    ("cargo run --release -p word_count -- run word-count -i examples/data/books -o target/mine --overwrite", "example"),
];

#[test]
fn every_command_of_the_readme_runs() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("there is a README");
    let commands = sh_commands(&readme);
    assert!(commands.len() >= 6, "only {commands:?}");
    for command in commands {
        if RUN_ELSEWHERE.iter().any(|(elsewhere, _)| *elsewhere == command) {
            continue;
        }
        // The release build is the same program; building it here would only take minutes.
        let args = command
            .strip_prefix("cargo run --release -- ")
            .or_else(|| command.strip_prefix("gristmill "))
            .unwrap_or_else(|| panic!("nothing runs {command:?}"));
        let output = Command::new(GRISTMILL)
            .args(args.split_whitespace())
            .current_dir(root())
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
