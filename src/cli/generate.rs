//! `gristmill generate`: input to try things with, the same bytes for the same arguments.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};
use gristmill_common::size::ByteSize;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use serde_json::json;

use super::error::{CliError, Exit};
use super::{Context, usage_error};
use crate::entry::JobTable;
use crate::tera::{RECORD, RowGenerator};
use crate::words::TextGenerator;

/// Records that one thread writes at a time. Fewer fit a smaller cache, more cost fewer calls.
const ROWS_AT_ONCE: u64 = 8192;

/// Arguments of `generate text`.
#[derive(Debug, clap::Args)]
struct TextArgs {
    /// The file to write, or with --files the folder
    #[arg(short, long, value_name = "FILE_OR_DIR")]
    output: PathBuf,

    /// How much text in all, such as 100MiB
    #[arg(long, value_name = "SIZE")]
    bytes: ByteSize,

    /// Other seeds give other text
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Write this many files of even size into a folder
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    files: Option<u32>,

    /// Replace files that exist
    #[arg(long)]
    overwrite: bool,
}

/// Arguments of `generate tera`.
#[derive(Debug, clap::Args)]
struct TeraArgs {
    /// The file to write, or with --files the folder
    #[arg(short, long, value_name = "FILE_OR_DIR")]
    output: PathBuf,

    /// How many records in all, 100 bytes each
    #[arg(long, value_name = "N")]
    rows: u64,

    /// Write this many files of even size into a folder
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    files: Option<u32>,

    /// Replace files that exist
    #[arg(long)]
    overwrite: bool,
}

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    let text = TextArgs::augment_args(Command::new("text"))
        .about("English-like text whose words are as unevenly frequent as in a real one")
        .after_help(format!("Example:\n  {program} generate text -o books --files 8 --bytes 256MiB"));
    let tera = TeraArgs::augment_args(Command::new("tera"))
        .about("The 100-byte records of Hadoop's teragen, for tera-sort")
        .after_help(format!("Example:\n  {program} generate tera -o unsorted --files 8 --rows 10000000"));
    Command::new("generate")
        .about("Write input to try things with")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(text)
        .subcommand(tera)
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    match matches.subcommand().expect("clap demands a kind") {
        ("tera", matches) => tera(context, matches),
        (_text, matches) => text(context, matches),
    }
}

fn text(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let args = TextArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
    let output = context.current_dir.join(&args.output);
    let files = write_text(&output, args.files, args.bytes, args.seed, args.overwrite)?;
    if context.console.json {
        context.console.data(json!({ "output": output, "files": files, "bytes": args.bytes, "seed": args.seed }));
    } else {
        talk_of(context, &args.bytes, files, &output);
    }
    Ok(Exit::Succeeded)
}

fn tera(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let args = TeraArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
    let output = context.current_dir.join(&args.output);
    let files = u64::from(args.files.unwrap_or(1));
    let boundary = |index: u64| (u128::from(args.rows) * u128::from(index) / u128::from(files)) as u64;
    for (index, path) in (0..).zip(file_paths(&output, args.files, "tera", "dat")?) {
        let file = create(&path, args.overwrite)?;
        write_rows(&file, boundary(index), boundary(index + 1)).map_err(|error| cannot_write(&path, &error))?;
    }
    if context.console.json {
        context.console.data(json!({ "output": output, "files": files, "rows": args.rows }));
    } else {
        talk_of(context, &format_args!("{} records", args.rows), files as u32, &output);
    }
    Ok(Exit::Succeeded)
}

/// Writes records `from..to`: at the start of a file on all cores, and one after the other into a pipe or
/// a device, which may have no places to write at.
fn write_rows(file: &File, from: u64, to: u64) -> io::Result<()> {
    let fill = |buffer: &mut Vec<u8>, index: u64| {
        let first = from + index * ROWS_AT_ONCE;
        let rows = ROWS_AT_ONCE.min(to - first);
        buffer.resize(rows as usize * RECORD, 0);
        RowGenerator::at(first).fill(buffer);
        (first - from) * RECORD as u64
    };
    let pieces = 0..(to - from).div_ceil(ROWS_AT_ONCE);
    if file.metadata()?.is_file() {
        return pieces.into_par_iter().try_for_each_init(Vec::new, |buffer, index| {
            let at = fill(buffer, index);
            file.write_all_at(buffer, at)
        });
    }
    let (mut file, mut buffer) = (file, Vec::new());
    for index in pieces {
        fill(&mut buffer, index);
        file.write_all(&buffer)?;
    }
    Ok(())
}

fn talk_of(context: &Context, what: &dyn std::fmt::Display, files: u32, output: &Path) {
    let plural = if files == 1 { "file" } else { "files" };
    context.console.talk(format_args!("wrote {what} in {files} {plural}: {}", output.display()));
}

fn cannot_write(path: &Path, error: &io::Error) -> CliError {
    CliError::new(Exit::Failed, format!("cannot write {}", path.display())).because(error)
}

/// The files to write: `output` itself, or this many in the folder `output`, which is created.
fn file_paths(output: &Path, files: Option<u32>, name: &str, ending: &str) -> Result<Vec<PathBuf>, CliError> {
    let Some(files) = files else { return Ok(vec![output.to_path_buf()]) };
    fs::create_dir_all(output).map_err(|error| cannot_write(output, &error))?;
    Ok((0..files).map(|index| output.join(format!("{name}-{index:05}.{ending}"))).collect())
}

/// Creates a file, in place of another only if that is asked for.
fn create(path: &Path, overwrite: bool) -> Result<File, CliError> {
    // A device or a pipe is no file that could be lost.
    let replaces = fs::metadata(path).is_ok_and(|metadata| !overwrite && (metadata.is_file() || metadata.is_dir()));
    if replaces {
        return Err(CliError::new(Exit::Rejected, format!("{} exists", path.display()))
            .hint("name another output, or replace it with --overwrite"));
    }
    File::create(path).map_err(|error| cannot_write(path, &error))
}

/// Writes generated text to a file, or to `files` of them in a folder; answers how many there are.
pub(super) fn write_text(
    output: &Path,
    files: Option<u32>,
    size: ByteSize,
    seed: u64,
    overwrite: bool,
) -> Result<u32, CliError> {
    let count = files.unwrap_or(1);
    for (index, path) in (0..).zip(file_paths(output, files, "text", "txt")?) {
        let share = size.bytes() / u64::from(count);
        let rest = if index == 0 { size.bytes() % u64::from(count) } else { 0 };
        let mut file = BufWriter::with_capacity(1 << 20, create(&path, overwrite)?);
        TextGenerator::new(seed, index)
            .write(share + rest, &mut file)
            .and_then(|()| file.flush())
            .map_err(|error| cannot_write(&path, &error))?;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_pipe_gets_the_records_that_a_file_does() {
        let (from, to) = (5, 5 + 2 * ROWS_AT_ONCE + 7);
        let mut file = tempfile::tempfile().expect("scratch");
        write_rows(&file, from, to).expect("written");
        let mut expect = Vec::new();
        file.read_to_end(&mut expect).expect("read");
        assert_eq!(expect.len() as u64, (to - from) * RECORD as u64);

        let (mut reader, writer) = io::pipe().expect("a pipe");
        let read = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).map(|_| bytes)
        });
        write_rows(&File::from(OwnedFd::from(writer)), from, to).expect("written");
        let bytes = read.join().expect("no panic").expect("read");
        assert!(bytes == expect, "{} bytes differ from {}", bytes.len(), expect.len());
    }
}
