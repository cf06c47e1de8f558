//! The documents for readers who start: their commands are run in order, in an empty folder, as they are
//! typed there. What `cargo` builds is built without optimisation, and kept for the next run.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use gristmill_tests::cluster::run_to_end;
use gristmill_tests::data::parts;
use gristmill_tests::docs::sh_commands;

use crate::readme::Serving;
use crate::{GRISTMILL, root};

/// A reader in a folder of their own.
struct Reader {
    here: PathBuf,
    cluster: Option<(Serving, String)>,
}

impl Reader {
    /// Types a command; it must succeed.
    fn type_in(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (program, args) = match words.as_slice() {
            ["cd", folder] => {
                self.here.push(folder);
                return;
            }
            ["gristmill", "cluster", ..] => {
                self.cluster = Some(Serving::start(&words));
                return;
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
        command.env("CARGO_TARGET_DIR", root().join("target/book"));
        if let Some((_, url)) = &self.cluster {
            command.env("GRISTMILL_MASTER", url);
        }
        let output = run_to_end(command);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
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
