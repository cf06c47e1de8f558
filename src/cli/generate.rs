//! `gristmill generate`: input to try things with, the same bytes for the same arguments.

use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};
use gristmill_common::size::ByteSize;
use serde_json::json;

use super::error::{CliError, Exit};
use super::{Context, usage_error};
use crate::entry::JobTable;
use crate::words::TextGenerator;

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

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    let text = TextArgs::augment_args(Command::new("text"))
        .about("English-like text whose words are as unevenly frequent as in a real one")
        .after_help(format!("Example:\n  {program} generate text -o books --files 8 --bytes 256MiB"));
    Command::new("generate")
        .about("Write input to try things with")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(text)
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let (_text, matches) = matches.subcommand().expect("clap demands a kind");
    let args = TextArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
    let output = context.current_dir.join(&args.output);
    let files = write_text(&output, args.files, args.bytes, args.seed, args.overwrite)?;
    if context.console.json {
        context.console.data(json!({ "output": output, "files": files, "bytes": args.bytes, "seed": args.seed }));
    } else {
        let plural = if files == 1 { "file" } else { "files" };
        context.console.talk(format_args!("wrote {} in {files} {plural}: {}", args.bytes, output.display()));
    }
    Ok(Exit::Succeeded)
}

/// Writes generated text to a file, or to `files` of them in a folder; answers how many there are.
pub(super) fn write_text(
    output: &Path,
    files: Option<u32>,
    size: ByteSize,
    seed: u64,
    overwrite: bool,
) -> Result<u32, CliError> {
    let failed = |path: &Path, error: io::Error| {
        CliError::new(Exit::Failed, format!("cannot write {}", path.display())).because(&error)
    };
    let count = files.unwrap_or(1);
    if files.is_some() {
        fs::create_dir_all(output).map_err(|error| failed(output, error))?;
    }
    for index in 0..count {
        let path = files.map_or_else(|| output.to_path_buf(), |_| output.join(format!("text-{index:05}.txt")));
        // A device or a pipe is no file that could be lost.
        let replaces =
            fs::metadata(&path).is_ok_and(|metadata| !overwrite && (metadata.is_file() || metadata.is_dir()));
        if replaces {
            return Err(CliError::new(Exit::Rejected, format!("{} exists", path.display()))
                .hint("name another output, or replace it with --overwrite"));
        }
        let share = size.bytes() / u64::from(count);
        let rest = if index == 0 { size.bytes() % u64::from(count) } else { 0 };
        let file = File::create(&path).map_err(|error| failed(&path, error))?;
        let mut file = BufWriter::with_capacity(1 << 20, file);
        TextGenerator::new(seed, u64::from(index))
            .write(share + rest, &mut file)
            .and_then(|()| io::Write::flush(&mut file))
            .map_err(|error| failed(&path, error))?;
    }
    Ok(count)
}
