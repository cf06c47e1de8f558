//! Every command that README.md tells readers to type is run here, on ports and with a build profile
//! of the tests' own.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use gristmill_tests::cluster::run_to_end;
use gristmill_tests::docs::sh_commands;

use crate::{GRISTMILL, root};

/// The command that is this very test run.
const THIS_RUN: &str = "cargo test --workspace";

/// How commands begin that run the example crate; its own tests run them.
const EXAMPLE: &str = "cargo run --release -p word_count -- ";

/// The program of a command of the document, with what differs in tests: the debug build, because
/// building the same sources again would only take minutes.
fn program(words: &[&str]) -> Command {
    let (program, args) = match words {
        ["cargo", "run", "--release", "--", args @ ..] | ["gristmill", args @ ..] => (GRISTMILL, args.to_vec()),
        other => panic!("nothing runs {other:?}"),
    };
    let mut command = Command::new(program);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command.env_remove("GRISTMILL_TEST_DATA");
    command
}

/// A process of a cluster as a document starts it, on a free port; ends with the value.
pub(crate) struct Serving(Child);

impl Serving {
    /// Starts the master, or the whole cluster, in a folder; gives its URL too.
    pub(crate) fn start(folder: &Path, words: &[&str]) -> (Self, String) {
        let mut child = program(words)
            .current_dir(folder)
            .env("GRISTMILL_LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let serving = Self(child);
        let line = stdout.lines().map_while(Result::ok).find(|line| line.contains("http://"));
        let line = line.expect("the cluster prints its URL");
        let url = line.split_whitespace().find(|word| word.starts_with("http://")).expect("a URL is a word");
        (serving, url.to_owned())
    }

    /// Starts a worker of the master at `url`, in a folder.
    pub(crate) fn worker(folder: &Path, words: &[&str], url: &str) -> Self {
        let mut command = program(words);
        command.current_dir(folder).env("GRISTMILL_MASTER", url).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("the program starts"))
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        // The signal of Ctrl-C; the cluster ends its own processes.
        let _ = Command::new("kill").args(["-s", "INT", &pid]).status();
        let _ = self.0.wait();
    }
}

#[test]
fn every_command_of_the_readme_runs() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("there is a README");
    let commands = sh_commands(&readme);
    assert!(commands.len() >= 8 && commands.iter().any(|command| command == THIS_RUN), "only {commands:?}");
    let mut cluster = None;
    for command in commands.iter().filter(|command| *command != THIS_RUN && !command.starts_with(EXAMPLE)) {
        let words: Vec<&str> = command.split_whitespace().collect();
        if words.starts_with(&["gristmill", "cluster"]) {
            cluster = Some(Serving::start(root(), &words));
            continue;
        }
        let mut program = program(&words);
        if let Some((_, url)) = &cluster {
            program.env("GRISTMILL_MASTER", url);
        }
        let output = run_to_end(program);
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(cluster.is_some(), "the document starts a cluster");
}
