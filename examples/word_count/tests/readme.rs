//! The command with which README.md runs this crate, as it is written.

use std::path::Path;
use std::process::Command;

use gristmill_tests::cluster::run_to_end;
use gristmill_tests::docs::sh_commands;

#[test]
fn the_readme_runs_this_crate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("there is a README");
    let commands = sh_commands(&readme);
    let args = commands.iter().find_map(|command| command.strip_prefix("cargo run --release -p word_count -- "));
    let args = args.expect("the README runs this crate").split_whitespace();
    let mut command = Command::new(env!("CARGO_BIN_EXE_word_count"));
    command.args(args).current_dir(&root);
    let output = run_to_end(command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(root.join("target/mine/_SUCCESS").is_file());
}
