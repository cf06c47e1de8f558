//! `cargo side-by-side`: builds the program as it is shipped and hands it to the runner that compares
//! engines, with all arguments; `forms` compares forms of files by itself. What they mean is told in `docs/performance.md`.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use gristmill_tests::side_by_side::{bench_dir, compare_forms, runner, runner_dir};

#[expect(clippy::print_stderr, clippy::print_stdout, reason = "this is a program")]
fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args == ["forms"] {
        return match build().and_then(|binary| compare_forms(&binary, &bench_dir())) {
            Ok(table) => {
                println!("{table}");
                ExitCode::SUCCESS
            }
            Err(message) => {
                eprintln!("error: {message}");
                ExitCode::FAILURE
            }
        };
    }
    match compare() {
        Ok(code) => code,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The runner's exit code.
fn compare() -> Result<ExitCode, String> {
    let dir = runner_dir()?;
    let binary = build()?;
    let status = runner(&dir, &binary, std::env::args().skip(1))
        .status()
        .map_err(|error| format!("cannot start the runner in {}: {error}", dir.display()))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Builds the shipped program. It lies in the folder of its profile, beside the folder of this one.
fn build() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let built = Command::new(cargo).args(["build", "--release", "--package", "gristmill"]).current_dir(root).status();
    if !built.is_ok_and(|status| status.success()) {
        return Err("cannot build gristmill".to_owned());
    }
    let this = std::env::current_exe().map_err(|error| format!("cannot tell where this program lies: {error}"))?;
    let profiles = this.parent().and_then(Path::parent).ok_or("this program lies in no profile's folder")?;
    Ok(profiles.join("release/gristmill"))
}
