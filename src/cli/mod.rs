//! The command line: one file a verb. Here are the verbs' list, parsing, dispatch and exit codes.
//!
//! | files | verbs |
//! |---|---|
//! | `run.rs`, `submit.rs`, `explain.rs` | a job: here, on a cluster, or only its plan |
//! | `streaming/` | Hadoop Streaming's command line, put into that of the first row |
//! | `status.rs`, `watch.rs`, `cancel.rs`, `jobs.rs`, `workers.rs` | questions and orders to a master |
//! | `replay.rs` | one task of a job, run again on this machine |
//! | `master.rs`, `worker.rs`, `cluster.rs` | the processes of a cluster |
//! | `certs.rs` | certificates of a cluster |
//! | `new.rs` | a job crate to start from |
//! | `verify.rs` | whether an output is still what its job wrote |
//! | `doctor.rs` | what can be done at a location |
//! | `demo.rs`, `generate.rs`, `validate.rs`, `completions.rs` | to try it out |
//!
//! | file | shared by them |
//! |---|---|
//! | `args.rs` | flags of a job, and the spec they make |
//! | `pipeline.rs` | pipelines: their stages, each a job, one after the other |
//! | `settings.rs` | `gristmill.toml` and `GRISTMILL_*` |
//! | `shipped.rs` | files that travel with a job |
//! | `span.rs` | times as people type them |
//! | `error.rs` | exit codes and the error that verbs return |
//! | `service.rs`, `processes.rs` | what the processes of a cluster share; starting and ending them |
//! | `client.rs` | the master's URL, the connection, a job followed to its end |
//! | `recorded.rs` | what a master has of a job, fetched to this machine |
//! | `interrupt.rs` | Ctrl-C and SIGTERM |

mod args;
mod cancel;
mod certs;
mod client;
mod cluster;
mod completions;
mod demo;
mod doctor;
pub(crate) mod error;
mod explain;
mod generate;
mod interrupt;
mod jobs;
mod master;
mod new;
mod pipeline;
mod processes;
mod recorded;
mod replay;
mod run;
mod service;
mod settings;
mod shipped;
mod span;
mod status;
mod streaming;
mod submit;
mod validate;
mod verify;
mod watch;
mod worker;
mod workers;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};
use gristmill_common::spec::StoreOptions;
use gristmill_common::storage::{StoreEnvironment, Stores};
use gristmill_common::time::Clock;
use gristmill_master::runtime::{RefusalClass, SubmitError};
use gristmill_worker::executor::{EXECUTOR_VERB, run_child};

use crate::entry::{JobEntry, JobTable};
use crate::render;
use crate::render::console::Console;
use error::{CliError, Exit};
use settings::Settings;

/// What every verb is handed.
#[derive(Debug)]
pub(crate) struct Context {
    /// The two output streams.
    pub(crate) console: Console,
    /// File and environment settings.
    pub(crate) settings: Settings,
    /// The jobs of this binary.
    pub(crate) jobs: JobTable,
    /// What relative paths are relative to.
    pub(crate) current_dir: PathBuf,
    /// This process's clock.
    pub(crate) clock: Clock,
    /// Reaches object stores with this process's credentials.
    pub(crate) stores: Stores,
    /// How this binary was called, for examples and hints.
    pub(crate) program: String,
}

/// One verb of the command line.
struct Verb {
    name: &'static str,
    command: fn(&JobTable, &str) -> Command,
    execute: fn(&Context, &ArgMatches) -> Result<Exit, CliError>,
}

/// The verbs in the order in which `--help` lists them.
const VERBS: &[Verb] = &[
    Verb { name: "run", command: run::command, execute: run::execute },
    Verb { name: "submit", command: submit::command, execute: submit::execute },
    Verb { name: "explain", command: explain::command, execute: explain::execute },
    Verb { name: streaming::STREAMING, command: streaming::command, execute: streaming::execute },
    Verb { name: "new", command: new::command, execute: new::execute },
    Verb { name: "status", command: status::command, execute: status::execute },
    Verb { name: "watch", command: watch::command, execute: watch::execute },
    Verb { name: "replay", command: replay::command, execute: replay::execute },
    Verb { name: "cancel", command: cancel::command, execute: cancel::execute },
    Verb { name: "jobs", command: jobs::command, execute: jobs::execute },
    Verb { name: "workers", command: workers::command, execute: workers::execute },
    Verb { name: "cluster", command: cluster::command, execute: cluster::execute },
    Verb { name: "master", command: master::command, execute: master::execute },
    Verb { name: "worker", command: worker::command, execute: worker::execute },
    Verb { name: "certs", command: certs::command, execute: certs::execute },
    Verb { name: "verify", command: verify::command, execute: verify::execute },
    Verb { name: "doctor", command: doctor::command, execute: doctor::execute },
    Verb { name: "demo", command: demo::command, execute: demo::execute },
    Verb { name: "generate", command: generate::command, execute: generate::execute },
    Verb { name: "validate", command: validate::command, execute: validate::execute },
    Verb { name: "completions", command: completions::command, execute: completions::execute },
];

/// The whole program of a job crate: the command line over its jobs.
///
/// The same binary runs them in one process (`run`), submits them to a cluster (`submit`), and is
/// started by workers to execute them, so nothing else belongs into its `main` function.
///
/// # Panics
///
/// If two jobs have the same name.
pub fn main(jobs: impl IntoIterator<Item = JobEntry>) -> ExitCode {
    let clock = Clock::start();
    #[cfg(feature = "allocator")]
    gristmill_sys::allocator::give_back_at_once();
    let jobs = JobTable::new(jobs);
    let args: Vec<OsString> = std::env::args_os().collect();
    if args.get(1).is_some_and(|verb| verb == EXECUTOR_VERB) {
        return run_child(&jobs, args.get(2).map(Path::new));
    }
    let told = |flag: &str| args.iter().any(|arg| arg == flag);
    // Errors of parsing obey these flags too, and parsing cannot tell them once it has failed.
    let console = Console { json: told("--json"), quiet: told("--quiet") || told("-q") };
    let exit = match start(clock, jobs, console, args) {
        Ok(exit) => exit,
        Err(error) => {
            render::error::show(console, &error);
            error.exit
        }
    };
    exit.into()
}

fn start(clock: Clock, jobs: JobTable, console: Console, args: Vec<OsString>) -> Result<Exit, CliError> {
    let program = args.first().map(Path::new).and_then(Path::file_name);
    let program = program.map_or_else(|| "gristmill".to_owned(), |name| name.to_string_lossy().into_owned());
    let current_dir =
        std::env::current_dir().map_err(|error| CliError::usage("cannot tell the current folder").because(&error))?;
    let args = streaming::translated(args, &jobs, &current_dir, console)?;
    let matches = match command(&jobs, &program).try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => {
            // `--help` and `--version`; coloured if stdout is a terminal.
            let _gone = error.print();
            return Ok(Exit::Succeeded);
        }
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand && !console.json => {
            let _gone = error.print();
            return Ok(Exit::Usage);
        }
        Err(error) => return Err(usage_error(&error)),
    };
    let console = Console { json: matches.get_flag("json"), quiet: matches.get_flag("quiet") };
    let variables =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let config = matches.get_one::<PathBuf>("config").map(PathBuf::as_path);
    let settings = Settings::load(config, &current_dir, variables)?;
    let stores = Stores::new(&StoreOptions::default(), StoreEnvironment::of_process());
    let context = Context { console, settings, jobs, current_dir, clock, stores, program };
    let (name, matches) = matches.subcommand().expect("clap demands a verb");
    let verb = VERBS.iter().find(|verb| verb.name == name).expect("clap knows only these verbs");
    (verb.execute)(&context, matches)
}

/// The whole command line.
fn command(jobs: &JobTable, program: &str) -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).global(true).action(ArgAction::SetTrue).display_order(90);
    Command::new("gristmill")
        .version(version())
        .about("MapReduce in ordinary Rust crates: on this machine, or the same binary on a cluster")
        .after_help(format!(
            "Example:\n  {program} run {}\n\n{}\n\nSizes: 64MiB, 2GiB (powers of 1024), 100MB (powers of 1000), or \
             bytes\n\nExit codes: 0 succeeded, 1 failed, 2 usage, 3 rejected before it started, 4 master \
             unreachable, 5 denied (certificate or right), 130 interrupted",
            jobs.entries().first().map_or_else(|| "JOB".to_owned(), JobEntry::call),
            Settings::help()
        ))
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .arg(flag("json").help("Print one JSON object on stdout, also for errors"))
        .arg(flag("quiet").short('q').help("Print nothing but errors to stderr"))
        .arg(
            Arg::new("config")
                .long("config")
                .value_name("FILE")
                .global(true)
                .display_order(91)
                .value_parser(clap::value_parser!(PathBuf))
                .help("The settings file [default: gristmill.toml, if there is one]"),
        )
        .subcommands(VERBS.iter().map(|verb| (verb.command)(jobs, program)))
}

/// The version, with the commit if the build was told it in `BUILD_COMMIT`.
fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("BUILD_COMMIT") {
        Some(commit) => format!("{version} ({commit})"),
        None => version.to_owned(),
    }
}

/// A verb whose subcommands are the jobs, each with the flags of the verb and its own options.
fn job_verb(verb: Command, jobs: &JobTable, program: &str) -> Command {
    let name = verb.get_name().to_owned();
    let example = |entry: &JobEntry| format!("Example:\n  {program} {name} {}", entry.call());
    let command = |entry: &JobEntry| match entry.is_pipeline() {
        true => pipeline::augment(entry.command()),
        false => entry.command(),
    };
    let commands = jobs.entries().iter().map(|entry| command(entry).after_help(example(entry)));
    verb.subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        // `-i a.txt word-count`: the job is not another input.
        .subcommand_precedence_over_arg(true)
        .subcommand_value_name("JOB")
        .after_help(jobs.entries().first().map_or_else(String::new, example))
        .subcommands(commands)
}

/// The job that a job verb was given, and its own matches.
fn job_of<'a>(context: &'a Context, matches: &'a ArgMatches) -> (&'a JobEntry, &'a ArgMatches) {
    let (name, matches) = matches.subcommand().expect("clap demands a job");
    (context.jobs.find(name).expect("clap knows only these jobs"), matches)
}

/// A job that cannot start.
fn rejection(error: &SubmitError) -> CliError {
    let exit = match error.class() {
        RefusalClass::Usage => Exit::Usage,
        RefusalClass::Rejected => Exit::Rejected,
    };
    let problem = CliError::of(exit, error);
    match error.hint() {
        Some(hint) => problem.hint(hint),
        None => problem,
    }
}

/// A parse error in our own form.
fn usage_error(error: &clap::Error) -> CliError {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(texts)) if !texts.is_empty() => Some(texts.join(", ")),
        _ => None,
    };
    let usage = error.get(ContextKind::Usage).map(|usage| usage.to_string()).unwrap_or_default();
    let usage = usage.trim().trim_start_matches("Usage:").trim().to_owned();
    let verb = usage.split(' ').nth(1).unwrap_or_default();
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return CliError::usage("a command or job is missing").hint("--help lists them");
    }
    let rendered = error.render().to_string();
    let first = rendered.lines().next().unwrap_or_default();
    let mut lists = None;
    let mut message = first.strip_prefix("error: ").unwrap_or(first).to_owned();
    if let (ErrorKind::InvalidSubcommand, Some(name)) = (error.kind(), text(ContextKind::InvalidSubcommand)) {
        let what = if JOB_VERBS.contains(&verb) { "job" } else { "command" };
        message = format!("unknown {what} {name:?}");
        lists = Some(format!("--help lists the {what}s"));
    }
    let mut problem = CliError::usage(message);
    if let Some(similar) = text(ContextKind::SuggestedSubcommand).or_else(|| text(ContextKind::SuggestedArg)) {
        problem = problem.hint(format!("did you mean {similar:?}?"));
    } else if let Some(lists) = lists {
        problem = problem.hint(lists);
    }
    if let Some(values) = text(ContextKind::ValidValue) {
        problem = problem.hint(format!("possible values: {values}"));
    }
    if usage.is_empty() { problem } else { problem.hint(format!("usage: {usage}")) }
}

/// The verbs whose subcommands are jobs.
const JOB_VERBS: [&str; 3] = ["run", "submit", "explain"];
