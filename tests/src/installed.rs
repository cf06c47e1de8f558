//! What some tests use beyond Rust, as far as it is there: what `.ci/tools` installed, or the machine has.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The folder of what was installed for tests, beside what cargo builds.
pub fn tools() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")).join("test-tools")
}

/// The Python with the libraries that tests use, or the machine's.
pub fn python() -> PathBuf {
    let ours = tools().join("python/bin/python");
    if ours.is_file() { ours } else { PathBuf::from("python3") }
}

/// Says that something is not tested, and why, to whoever reads what the test runner prints.
pub fn skipped(why: &str) {
    // The runner keeps what passing tests print, but not this. Nobody is told of what cannot be said.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
