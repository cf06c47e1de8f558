//! The shipped program over real files, with real processes and real sockets: what users see.
//!
//! | module | shows |
//! |---|---|
//! | `answers` | the expected answers, and equal parts however a job is run |
//! | `book` | what a reader of `docs/` types first |
//! | `chaos` | ten seconds of faults |
//! | `conversions` | tables converted from each format to the next |
//! | `failover` | workers that are killed, stopped and resumed |
//! | `job_crates` | jobs of other binaries than the cluster's, and the files they come with |
//! | `lab` | the tests of a distributed systems course |
//! | `named_outputs` | a job with a thousand named outputs |
//! | `object_stores` | inputs in object stores, with and without faults |
//! | `store_outputs` | outputs in object stores: whole or not there, whoever is killed at which step |
//! | `tables` | jobs over delimited text |
//! | `user_code` | user code that fails in any way, or prints, on a cluster |
//! | `pipelines` | page ranks as expected; drivers that are killed between and within stages |
//! | `readme` | every command that the documents tell readers to type |
//! | `replay` | tasks of a cluster's jobs, run again here |
//! | `side_by_side` | our commands of the comparison with other engines |
//! | `streaming` | commands as mapper and reducer, here and on a cluster |

mod answers;
mod book;
mod certificates;
mod chaos;
mod conversions;
mod failover;
mod job_crates;
mod lab;
mod named_outputs;
mod object_stores;
mod pipelines;
mod readme;
mod replay;
mod side_by_side;
mod store_outputs;
mod streaming;
mod tables;
mod user_code;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program that is shipped.
const GRISTMILL: &str = env!("CARGO_BIN_EXE_gristmill");

/// A job crate beside the tests, which `cargo test` builds as an example.
fn example(name: &str) -> PathBuf {
    let debug = Path::new(GRISTMILL).parent().expect("binaries lie in a folder");
    let example = debug.join("examples").join(name);
    assert!(example.is_file(), "build {} first (cargo build --examples; cargo test does)", example.display());
    example
}

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Runs the program in the repository.
fn gristmill(args: &[&str]) -> Output {
    let mut command = Command::new(GRISTMILL);
    // They are for tests; to the program they would be unknown settings.
    command.env_remove("GRISTMILL_TEST_DATA").env_remove("GRISTMILL_TEST_ROUNDS");
    command.args(args).current_dir(root()).stdin(Stdio::null()).output().expect("the program starts")
}

/// Runs the program, which must succeed.
fn succeed(args: &[&str]) -> Output {
    let output = gristmill(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A path as an argument.
fn arg(path: &Path) -> &str {
    path.to_str().expect("test paths are UTF-8")
}

/// Text of about `megabytes`, made by the program itself.
fn generated_text(dir: &Path, megabytes: u32) -> PathBuf {
    let path = dir.join("text");
    succeed(&["generate", "text", "-o", arg(&path), "--bytes", &format!("{megabytes}MB"), "--files", "4"]);
    path
}
