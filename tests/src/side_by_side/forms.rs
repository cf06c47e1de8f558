//! Word count over the same text in each form that files may have, beside DuckDB, and over many small files: the
//! commands, the rounds, and the table. What the figures mean is told in `docs/performance.md`.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gristmill_common::time::Clock;

use super::measure::{Usage, measured};
use crate::installed::python;

/// Bytes of text.
const TEXT_BYTES: u64 = 400_000_000;

/// Files of it, and of the many small ones.
const FILES: usize = 32;
const SMALL_FILES: usize = 100_000;

/// Rounds, after one that is not counted.
const ROUNDS: usize = 5;

/// What is counted: its folder, the ending of its files, what `copy` is told to make it, whether DuckDB reads it.
const FORMS: [(&str, &str, &str, bool); 5] = [
    ("text", "", "", true),
    ("gzip", ".gz", "--compression gzip", true),
    ("zstd", ".zst", "--compression zstd", true),
    ("bzip2", ".bz2", "--compression bzip2", false),
    ("parquet", ".parquet", "--output-format parquet", true),
];

/// One program over one input.
struct Entry {
    name: String,
    command: Command,
    usages: Vec<Usage>,
}

/// Makes the data below `dir` unless it is there, runs all programs in turn, and prints the table.
///
/// # Errors
///
/// What could not be run or written.
pub fn compare(binary: &Path, dir: &Path) -> Result<String, String> {
    let input = |form: &str| dir.join("forms").join(form);
    prepare(binary, &input).map_err(|error| format!("cannot make the data in {}: {error}", dir.display()))?;
    let python = python();
    let out = dir.join("forms-out");
    let ours = |input: &Path| {
        let mut command = Command::new(binary);
        command.args(["run", "word-count", "--quiet", "-i"]).arg(input).arg("-o").arg(&out);
        command
    };
    let mut entries = Vec::new();
    let mut add = |name: String, command: Command| entries.push(Entry { name, command, usages: Vec::new() });
    for (form, ending, _, read_by_duckdb) in FORMS {
        add(format!("{form}: Gristmill"), ours(&input(form)));
        if read_by_duckdb {
            let pattern = input(form).join(format!("part-*{ending}"));
            add(format!("{form}: DuckDB"), duckdb(python.as_os_str(), &pattern, &out));
        }
    }
    add("bzip2, one file: Gristmill".to_owned(), ours(&input("one.bz2")));
    add(format!("{SMALL_FILES} files: Gristmill"), ours(&input("small")));
    let clock = Clock::start();
    for round in 0..=ROUNDS {
        for entry in &mut entries {
            let _ = fs::remove_dir_all(&out);
            let usage = measured(&clock, &mut entry.command).map_err(|error| format!("{}: {error}", entry.name))?;
            if round > 0 {
                entry.usages.push(usage);
            }
        }
    }
    let _ = fs::remove_dir_all(&out);
    Ok(table(&entries))
}

fn duckdb(python: &OsStr, pattern: &Path, out: &Path) -> Command {
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/side_by_side/word_count.py")).arg(pattern).arg(out);
    command
}

/// Makes each form of the text of the one before, so that all have the same words.
fn prepare(binary: &Path, input: &impl Fn(&str) -> PathBuf) -> io::Result<()> {
    let run = |args: &str, from: Option<&Path>, to: &Path| {
        let mut command = Command::new(binary);
        command.args(args.split_whitespace());
        if let Some(from) = from {
            command.arg("-i").arg(from);
        }
        let status = command.arg("-o").arg(to).stdout(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?} ended with {status}"))) }
    };
    let text = input("text");
    if !text.join("_SUCCESS").is_file() {
        let source = input("source");
        fs::create_dir_all(input(""))?;
        let _ = fs::remove_dir_all(&source);
        run(&format!("generate text --quiet --bytes {TEXT_BYTES} --files {FILES}"), None, &source)?;
        run("run copy --quiet --overwrite --split-size 16MiB", Some(&source), &text)?;
        fs::remove_dir_all(source)?;
    }
    for (form, _, how, _) in &FORMS[1..] {
        if !input(form).join("_SUCCESS").is_file() {
            run(&format!("run copy --quiet --overwrite --split-size 16MiB {how}"), Some(&text), &input(form))?;
        }
    }
    let one = input("one.bz2");
    if !one.is_file() {
        let mut parts: Vec<PathBuf> =
            fs::read_dir(input("bzip2"))?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
        parts.retain(|path| path.extension().is_some_and(|ending| ending == "bz2"));
        parts.sort_unstable();
        // Several streams after each other are one file.
        let all: Vec<u8> = parts.iter().map(fs::read).collect::<io::Result<Vec<_>>>()?.concat();
        fs::write(one, all)?;
    }
    if !input("small").join("099").is_dir() { cut(&text, &input("small")) } else { Ok(()) }
}

/// Cuts the text into small files of whole lines, a thousand in a folder.
fn cut(text: &Path, small: &Path) -> io::Result<()> {
    let mut parts: Vec<PathBuf> = fs::read_dir(text)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    parts.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("part-")));
    parts.sort_unstable();
    let least = (TEXT_BYTES as usize / SMALL_FILES).saturating_sub(60);
    let mut number = 0;
    for part in parts {
        let bytes = fs::read(part)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let from = least.min(rest.len());
            let end = rest[from..].iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| from + at + 1);
            let folder = small.join(format!("{:03}", number / 1000));
            if number % 1000 == 0 {
                fs::create_dir_all(&folder)?;
            }
            fs::write(folder.join(format!("{number:06}.txt")), &rest[..end])?;
            (number, rest) = (number + 1, &rest[end..]);
        }
    }
    Ok(())
}

/// For each entry the median of its wall time as a multiple of that of the first one in the same round.
fn table(entries: &[Entry]) -> String {
    let mut lines = vec!["| | wall / text | cores |".to_owned(), "|---|--:|--:|".to_owned()];
    for entry in entries {
        let ratios = entry.usages.iter().zip(&entries[0].usages).map(|(usage, base)| usage.wall / base.wall);
        let cores = entry.usages.iter().map(|usage| usage.processor / usage.wall);
        lines.push(format!("| {} | {:.2} | {:.1} |", entry.name, median(ratios), median(cores)));
    }
    lines.join("\n")
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
