//! `gristmill streaming`: the command line of Hadoop Streaming, put into that of `run streaming`, or of
//! `submit streaming` if a master is named. Nothing else of the program knows the options with one dash.
//!
//! | file | responsibility |
//! |---|---|
//! | `options.rs` | Hadoop's options and properties, and what becomes of each |
//! | `programs.rs` | whether the commands are where tasks will look for them |

mod options;
mod programs;

use std::ffi::OsString;
use std::path::Path;

use clap::{ArgMatches, Command};

use super::Context;
use super::error::{CliError, Exit};
use crate::entry::JobTable;
use crate::render::console::Console;

/// The verb, and the job that it is about.
pub(super) const STREAMING: &str = "streaming";

/// What `--help` shows.
const OPTIONS: &str = "\
Options of Hadoop Streaming:
  -input PATH[,PATH...]      what to read: files, folders, globs; may be repeated
  -output PATH               the folder to write
  -mapper COMMAND            reads lines, writes lines KEY TAB VALUE; without one, lines pass as they are
  -reducer COMMAND           reads such lines in the order of their keys; NONE: the mapper's output is the job's
  -combiner COMMAND          may reduce the output of each map task before it is shuffled
  -numReduceTasks N          reduce tasks, and so parts [default: 1]; 0 is as -reducer NONE
  -file PATH, -files PATH[#NAME],...
                             files that commands find in the folder they run in
  -archives PATH[#NAME],...  archives (tar, tar.gz, zip, jar) that they find there as folders
  -D NAME=VALUE              a property of Hadoop (docs/streaming.md lists those that matter), or your own
  -cmdenv NAME=VALUE         a variable of the commands
  -partitioner CLASS         HashPartitioner or KeyFieldBasedPartitioner
  -io FORMAT                 text, rawbytes or typedbytes
  -inputformat CLASS         TextInputFormat or KeyValueTextInputFormat
  -outputformat CLASS        TextOutputFormat
  -background                with --master: do not wait for the job's end
  -verbose                   show what is run in the end

Commands are parted into words without a shell; quotes keep words together. With --master URL the job runs
on that cluster, else here. All flags of run and submit are understood too:
--memory, --threads, --overwrite, --reducers, --split-size, --json, --detach, ...";

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    Command::new(STREAMING)
        .about("Run commands as mapper and reducer, as Hadoop Streaming does")
        .override_usage(format!("{program} {STREAMING} -input PATH -output PATH -mapper COMMAND -reducer COMMAND"))
        .after_help(format!(
            "{OPTIONS}\n\nExample:\n  {program} {STREAMING} -input 'books/*.txt' -output words -mapper \"tr -s ' ' '\\n'\" -reducer \
             'uniq -c'"
        ))
        .arg_required_else_help(true)
}

/// Never asked: [`translated`] has made another verb of it.
pub(super) fn execute(_context: &Context, _matches: &ArgMatches) -> Result<Exit, CliError> {
    Err(CliError::usage("no options were given").hint("--help lists them"))
}

/// The command line as the rest of the program knows it: unchanged, if it is not about this verb.
///
/// # Errors
///
/// If an option is unknown, or what it names cannot be.
pub(super) fn translated(
    args: Vec<OsString>,
    jobs: &JobTable,
    here: &Path,
    console: Console,
) -> Result<Vec<OsString>, CliError> {
    let Some(verb) = verb_at(&args).filter(|&at| args[at] == STREAMING) else { return Ok(args) };
    let (before, given) = (&args[..verb], &args[verb + 1..]);
    let help = |arg: &OsString| ["-h", "-help", "--help", "-info", "--info"].iter().any(|help| arg == help);
    if given.is_empty() || given.iter().any(help) {
        let help = (!given.is_empty()).then(|| OsString::from("--help"));
        return Ok(before.iter().cloned().chain([STREAMING.into()]).chain(help).collect());
    }
    if jobs.find(STREAMING).is_none() {
        let message = "this program has no job named streaming";
        return Err(CliError::usage(message).hint("the gristmill program itself has, and runs the same commands"));
    }
    let translation = options::translate(given, here)?;
    for note in &translation.notes {
        console.talk(note);
    }
    let verb = if translation.submits { "submit" } else { "run" };
    let words = [verb, STREAMING].into_iter().map(OsString::from);
    let flags = translation.flags.into_iter().map(OsString::from);
    let args: Vec<OsString> = before.iter().cloned().chain(words).chain(flags).collect();
    if translation.verbose {
        let shown: Vec<String> = args.iter().map(|arg| format!("{:?}", arg.to_string_lossy())).collect();
        console.talk(shown.join(" "));
    }
    Ok(args)
}

/// Where the verb stands: the first argument that is no flag of the whole program.
fn verb_at(args: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while args.get(at)?.to_string_lossy().starts_with('-') {
        at += if args[at] == "--config" { 2 } else { 1 };
    }
    Some(at)
}
