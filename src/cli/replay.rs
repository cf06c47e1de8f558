//! `gristmill replay`: one task of a cluster's job, run again on this machine from what its master has of
//! it: binary, files, and the pieces of input that the task reads. The job and its output are not touched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};
use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::ids::{AttemptId, JobId, Stage, TaskId};
use gristmill_common::naming::{part_file_name, staged_named_dir};
use gristmill_common::removal::remove_empty;
use gristmill_common::size::ByteSize;
use gristmill_common::task::{AttemptOutput, AttemptReport};
use gristmill_jobs::split_command;
use gristmill_master::runtime::{JobStatus, Recipe};
use gristmill_worker::memory::{default_budget, default_executor_memory};
use gristmill_worker::replay::{self, Replay, ReplayError, Replayed};
use serde_json::json;

use super::client::{ClientArgs, DEFAULT_MASTER, JobIdArgs, block_on};
use super::error::{CliError, Exit};
use super::interrupt::Interrupt;
use super::recorded::{Recorded, fetch};
use super::{Context, usage_error};
use crate::entry::JobTable;
use crate::local::{Scratch, ScratchError};
use crate::render::summary;

/// Flags of `replay`, besides the job and the master.
#[derive(Debug, clap::Args)]
struct ReplayArgs {
    /// The task, as failures and logs name it: m-3, r-0, or an attempt of it such as m-3.1
    #[arg(value_name = "TASK", value_parser = task)]
    task: AttemptId,

    /// Start the task's process with this, such as 'rust-gdb --args'
    #[arg(long, value_name = "COMMAND")]
    debugger: Option<String>,

    /// Keep the part that the task writes, in this new or empty folder
    #[arg(long, value_name = "FOLDER")]
    keep: Option<PathBuf>,

    /// Pass over bad records as the job did; else a map task fails at the first one
    #[arg(long)]
    skip: bool,

    /// Folder for binary, spills and map outputs [default: the system's temporary folder]
    #[arg(long, value_name = "SCRATCH")]
    dir: Option<PathBuf>,

    /// Memory that the task's process may have for its data, as of a worker [default: as a worker here]
    #[arg(long, value_name = "SIZE")]
    executor_memory: Option<ByteSize>,
}

/// A task, or an attempt of it; the first one if none is named.
fn task(text: &str) -> Result<AttemptId, String> {
    let task = |text: &str| text.parse::<TaskId>().map(|task| AttemptId { task, number: 0 });
    text.parse().or_else(|_| task(text)).map_err(|error| error.to_string())
}

pub(super) fn command(_jobs: &JobTable, program: &str) -> Command {
    let verb = ReplayArgs::augment_args(JobIdArgs::augment_args(Command::new("replay")));
    ClientArgs::augment_args(verb)
        .about("Run one task of a cluster's job again, on this machine; the job and its output stay as they are")
        .after_help(format!(
            "Examples:\n  {program} replay j-68ff1a2b3c4d m-3\n  {program} replay j-68ff1a2b3c4d r-0 --keep part\n  \
             {program} replay j-68ff1a2b3c4d m-3 --debugger 'rust-gdb --args'"
        ))
}

/// The command that replays the task because of which the job failed, if there is one and it can be.
pub(super) fn command_for(context: &Context, status: &JobStatus, master: &str) -> Option<String> {
    let task = status.view.failure.as_ref()?.task?;
    status.recipe?;
    Some(call(context, status.view.job, task, master))
}

/// The command that replays a task.
fn call(context: &Context, job: JobId, task: TaskId, master: &str) -> String {
    let at = if master == DEFAULT_MASTER { String::new() } else { format!(" --master {master}") };
    format!("{} replay {job} {task}{at}", context.program)
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let job = JobIdArgs::read(matches)?;
    let args = ReplayArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
    let debugger = debugger(args.debugger.as_deref())?;
    let interrupt =
        Interrupt::install().map_err(|error| CliError::new(Exit::Failed, "cannot start").because(&error))?;
    let dir = args.dir.clone().or_else(|| context.settings.get("dir")).unwrap_or_else(std::env::temp_dir);
    let name = format!("replay-{job}-{}", std::process::id());
    let scratch = Scratch::create(&context.current_dir.join(dir), &name).map_err(|error| no_scratch(&error))?;
    let recorded = block_on(fetch(context, matches, job, scratch.path()))?;
    let kept = args.keep.as_ref().map(|keep| context.current_dir.join(keep));
    let staging = kept.clone().unwrap_or_else(|| scratch.path().join("staged"));
    make_empty(&staging)?;
    let memory = args.executor_memory.or_else(|| context.settings.get("executor-memory"));
    let Recipe { spec, plan, .. } = &recorded.recipe;
    let replayed = replay::replay(&Replay {
        job,
        attempt: args.task,
        spec,
        plan,
        program: &recorded.program,
        scratch: &recorded.folder,
        staging: &staging,
        memory: memory.unwrap_or_else(|| default_executor_memory(default_budget())),
        skips: args.skip,
        debugger: &debugger,
        is_interrupted: &|| interrupt.is_asked(),
        stores: &context.stores,
        maps_at_once: maps_at_once(spec.attempt_bytes),
        making: &|maps| {
            let (task, what) = (args.task.task, summary::plural(maps as u64, "map task"));
            context.console.talk(format_args!("{task} reads what {what} made: making it again"));
        },
    });
    let ended = conclude(context, &args, &recorded, replayed, kept.as_deref());
    if kept.is_some() {
        // Nothing is in it if the task failed or wrote no part.
        let _in_use = remove_empty(&staging);
    }
    ended
}

/// Program and arguments of the debugger; nothing without one.
fn debugger(command: Option<&str>) -> Result<Vec<String>, CliError> {
    let Some(command) = command else { return Ok(Vec::new()) };
    split_command(command).map_err(|reason| CliError::usage(format!("--debugger: {reason}")))
}

/// Map tasks for which this machine has cores and memory.
fn maps_at_once(attempt_bytes: ByteSize) -> usize {
    let fit = usize::try_from(default_budget().bytes() / attempt_bytes.bytes().max(1)).unwrap_or(usize::MAX);
    std::thread::available_parallelism().map_or(1, usize::from).min(fit).max(1)
}

fn no_scratch(error: &ScratchError) -> CliError {
    CliError::of(Exit::Rejected, error).hint("name another folder with --dir")
}

/// Makes the folder that takes the part.
fn make_empty(folder: &Path) -> Result<(), CliError> {
    let cannot = |error: io::Error| {
        CliError::new(Exit::Rejected, format!("cannot use the folder {}", folder.display())).because(&error)
    };
    fs::create_dir_all(folder).map_err(cannot)?;
    match fs::read_dir(folder).map_err(cannot)?.next() {
        Some(_) => Err(CliError::new(Exit::Rejected, format!("the folder {} is not empty", folder.display()))
            .hint("name a new one with --keep")),
        None => Ok(()),
    }
}

/// Tells how the task ended.
fn conclude(
    context: &Context,
    args: &ReplayArgs,
    recorded: &Recorded,
    replayed: Result<Replayed, ReplayError>,
    kept: Option<&Path>,
) -> Result<Exit, CliError> {
    let task = args.task.task;
    let ending = recorded.recipe.spec.part_ending();
    let before = recorded.status.view.failure.as_ref().filter(|failure| failure.task == Some(task));
    match replayed.map_err(|error| cannot_replay(context, recorded, &error))? {
        Replayed::Finished(report) => {
            let part = kept.map(|folder| keep(folder, &ending, task, &report)).transpose()?.flatten();
            succeeded(context, recorded, task, &report, part.as_deref());
            if let Some(failure) = before {
                context.console.talk(format_args!("it succeeded here; in the job it failed: {failure}"));
                context.console.talk(
                    "hint: user code may depend on the machine, the time or chance; a limit of the worker may be another",
                );
            }
            if kept.is_some() && part.is_none() {
                context.console.talk("nothing is kept: a map task of a job with a reduce writes no part");
            }
            Ok(Exit::Succeeded)
        }
        Replayed::Failed(failure) => Err(failed(context, recorded, task, &failure, before)),
        Replayed::Unfinished(position) => {
            let at = position.map(|position| format!(" (at {position})")).unwrap_or_default();
            Err(CliError::new(Exit::Failed, format!("the debugger ended before {task} did{at}")))
        }
    }
}

/// Gives the part that was staged, and those of named outputs, their places in an output.
fn keep(folder: &Path, ending: &str, task: TaskId, report: &AttemptReport) -> Result<Option<PathBuf>, CliError> {
    let AttemptOutput::Part(part) = &report.output else { return Ok(None) };
    let staged = folder.join(staged_named_dir(&part.staged_name));
    let named = (0..).zip(&part.named).map(|(number, named)| {
        let number: u32 = number;
        (staged.join(number.to_string()), folder.join(named.name.part_path(task.index, ending)))
    });
    let path = folder.join(part_file_name(task.index, ending));
    let first = (!part.left_out).then(|| (folder.join(&part.staged_name), path.clone()));
    let moves = named.chain(first);
    for (from, to) in moves {
        let above = to.parent().unwrap_or(folder);
        let moved = fs::create_dir_all(above).and_then(|()| fs::rename(&from, &to));
        moved.map_err(|error| CliError::new(Exit::Failed, format!("cannot keep {}", to.display())).because(&error))?;
    }
    if !part.named.is_empty() {
        // Empty by now; what cannot be removed disturbs nobody.
        let _ = fs::remove_dir(staged);
    }
    Ok(Some(if part.left_out { folder.to_owned() } else { path }))
}

fn succeeded(context: &Context, recorded: &Recorded, task: TaskId, report: &AttemptReport, part: Option<&Path>) {
    let stats = &report.stats;
    if context.console.json {
        return context.console.data(json!({
            "job": recorded.status.view.job.to_string(),
            "task": task.to_string(),
            "state": "succeeded",
            "stats": stats,
            "counters": report.counters,
            "bad_records": report.bad.as_ref().map_or(0, |bad| bad.records),
            "part": part.map(|path| path.display().to_string()),
        }));
    }
    for line in summary::task_lines(task, report) {
        context.console.talk(line);
    }
    if let Some(part) = part {
        context.console.data(part.display());
    }
}

/// The task failed here too.
fn failed(
    context: &Context,
    recorded: &Recorded,
    task: TaskId,
    failure: &Failure,
    before: Option<&Failure>,
) -> CliError {
    let same = before.is_some_and(|before| {
        // What the master puts in front tells attempts and workers. Which of the requests for memory is the
        // first to be refused is chance, and so is its size.
        let words = failure.code == FailureCode::OutOfMemory || before.message.ends_with(&failure.message);
        before.code == failure.code && before.position == failure.position && words
    });
    let how = if same { "fails here as in the job" } else { "failed here" };
    let out_of_reach = matches!(failure.code, FailureCode::InputUnreadable | FailureCode::InputChanged);
    let exit = if out_of_reach && !same { Exit::Rejected } else { Exit::Failed };
    let mut error = CliError::new(exit, format!("{task} {how}: {failure}"));
    error.failure = Some(failure.code);
    error.job = Some(recorded.status.view.job);
    let again = call(context, recorded.status.view.job, task, &recorded.master);
    match failure.code {
        _ if out_of_reach => error.hint("a replay reads the job's inputs as they were when it was submitted"),
        FailureCode::UserPanic | FailureCode::UserError => {
            error.hint(format!("where it comes from: RUST_BACKTRACE=1 {again}, or --debugger 'rust-gdb --args'"))
        }
        FailureCode::ExecutorCrash | FailureCode::RecordTimeout => {
            error.hint(format!("see it happen: {again} --debugger 'rust-gdb --args'"))
        }
        FailureCode::OutOfMemory => error.hint("--executor-memory sets what it may have, as for a worker"),
        _ => error,
    }
}

/// The task could not be run.
fn cannot_replay(context: &Context, recorded: &Recorded, error: &ReplayError) -> CliError {
    let job = recorded.status.view.job;
    let of = |exit| CliError { job: Some(job), ..CliError::of(exit, error) };
    match error {
        ReplayError::NoSuchTask { task, .. } => match task.stage {
            Stage::Map => of(Exit::Usage).hint("map tasks are numbered in the order of the inputs"),
            Stage::Reduce => of(Exit::Usage).hint("reduce task r-N writes part N"),
        },
        ReplayError::Start { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
            of(Exit::Failed).hint("give a folder that programs may run in with --dir")
        }
        ReplayError::Start { .. } => of(Exit::Failed),
        ReplayError::Scratch { .. } => of(Exit::Rejected).hint("name another folder with --dir"),
        ReplayError::Input { map, failure, .. } => CliError { failure: Some(failure.code), ..of(Exit::Failed) }
            .hint(format!("look at that one first: {}", call(context, job, *map, &recorded.master))),
        ReplayError::Interrupted => of(Exit::Interrupted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_named_by_themselves_or_by_an_attempt() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(task(text).ok().map(|attempt| attempt.to_string()).as_deref(), expect, "{text}");
        };
        check("m-3", Some("m-3.0"));
        check("m-3.1", Some("m-3.1"));
        check("r-0.100000", Some("r-0.100000"));
        check("x-1", None);
        check("m-", None);
        check("3", None);
    }

    #[test]
    fn a_debugger_is_a_command_without_a_shell() {
        assert_eq!(debugger(None).expect("none"), [""; 0]);
        assert_eq!(debugger(Some("rust-gdb -q --args")).expect("one"), ["rust-gdb", "-q", "--args"]);
        assert_eq!(debugger(Some("env 'A=b c'")).expect("one"), ["env", "A=b c"]);
        assert_eq!(debugger(Some(" ")).expect_err("none").exit, Exit::Usage);
        assert_eq!(debugger(Some("'open")).expect_err("not closed").exit, Exit::Usage);
    }
}
