//! `gristmill run`: a job in this process.

use std::path::PathBuf;

use clap::{ArgMatches, Args as _, Command, FromArgMatches as _};
use gristmill_common::storage::reader_for;
use gristmill_master::runtime::{JobStatus, PreparedJob, fresh_job_id, prepare};
use gristmill_master::scheduler::JobState;
use gristmill_worker::engine::install_panic_hook;

use super::args::{JobArgs, JobRequest};
use super::error::{CliError, Exit};
use super::interrupt::Interrupt;
use super::pipeline::{self, PipelineCall};
use super::{Context, job_of, job_verb, rejection, usage_error};
use crate::entry::JobTable;
use crate::local::{self, LocalOptions, RunError};
use crate::render::progress::Progress;
use crate::render::{json, summary};

/// Flags that only `run` has.
#[derive(Debug, clap::Args)]
struct RunArgs {
    /// Threads to work with [default: one for each core]
    #[arg(long, value_name = "N", global = true, value_parser = threads, display_order = 20)]
    threads: Option<usize>,

    /// Folder for spills and map outputs [default: the system's temporary folder]
    #[arg(long, value_name = "SCRATCH", global = true, display_order = 21)]
    dir: Option<PathBuf>,
}

/// The most threads that make sense to anybody.
const MAX_THREADS: usize = 4096;

pub(super) fn command(jobs: &JobTable, program: &str) -> Command {
    let verb = RunArgs::augment_args(JobArgs::augment_args(Command::new("run")));
    job_verb(verb.about("Run a job in this process"), jobs, program)
}

pub(super) fn execute(context: &Context, matches: &ArgMatches) -> Result<Exit, CliError> {
    let (entry, matches) = job_of(context, matches);
    let args = RunArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
    if entry.is_pipeline() {
        let call = PipelineCall::read(context, entry, matches)?;
        let here = Here::start(context, args)?;
        return pipeline::drive(context, &call, &here.interrupt, &mut |request, _| here.run(request));
    }
    let request = JobRequest::read(context, entry, matches)?;
    report(context, &Here::start(context, args)?.run(request)?)
}

/// This process, ready to run jobs.
struct Here<'a> {
    context: &'a Context,
    args: RunArgs,
    interrupt: Interrupt,
}

impl<'a> Here<'a> {
    /// Takes over the signals and panics of the process.
    fn start(context: &'a Context, args: RunArgs) -> Result<Self, CliError> {
        let cannot_start = |error: &dyn std::error::Error| CliError::new(Exit::Failed, "cannot start").because(error);
        let interrupt = Interrupt::install().map_err(|error| cannot_start(&error))?;
        gristmill_sys::fatal::install().map_err(|error| cannot_start(&error))?;
        install_panic_hook();
        Ok(Self { context, args, interrupt })
    }

    /// Runs a job to its end, whichever that is.
    fn run(&self, mut request: JobRequest) -> Result<JobStatus, CliError> {
        let Self { context, args, interrupt } = self;
        let submitted = context.clock.wall();
        let id = fresh_job_id(&context.clock);
        request.divide_keys(context)?;
        let objects = reader_for(&request.spec, &context.stores);
        let prepared = prepare(request.spec, id, &context.stores).map_err(|error| rejection(&error))?;
        warn(context, &prepared);
        let scratch = args.dir.clone().or_else(|| context.settings.get("dir")).unwrap_or_else(std::env::temp_dir);
        let threads = args.threads.or_else(|| context.settings.get("threads"));
        let options = LocalOptions {
            threads: threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
            memory: request.memory,
            scratch: &context.current_dir.join(scratch),
            files: &request.shipped.paths,
            objects: &objects,
            clock: context.clock,
            submitted,
        };
        let mut progress = Progress::new(context.console, context.clock);
        let outcome =
            local::run(&*request.job, prepared, &options, &|| interrupt.is_asked(), &mut |view| progress.update(view));
        progress.finish();
        outcome.map_err(|error| cannot_run(&error))
    }
}

fn warn(context: &Context, prepared: &PreparedJob) {
    for warning in &prepared.plan.warnings {
        context.console.talk(format_args!("warning: {warning}"));
    }
}

fn cannot_run(error: &RunError) -> CliError {
    let exit = match error {
        RunError::DoesNotFit { .. } | RunError::Scratch(_) | RunError::ScratchFolder { .. } => Exit::Rejected,
        RunError::Threads { .. } | RunError::Undo(_) => Exit::Failed,
    };
    let problem = CliError::of(exit, error);
    match error {
        RunError::DoesNotFit { .. } => problem.hint("give the process more with --memory"),
        RunError::Scratch(_) | RunError::ScratchFolder { .. } => problem.hint("name another folder with --dir"),
        RunError::Threads { .. } => problem.hint("ask for fewer with --threads"),
        RunError::Undo(_) => problem,
    }
}

fn report(context: &Context, status: &JobStatus) -> Result<Exit, CliError> {
    let view = &status.view;
    match view.state {
        JobState::Succeeded => {
            let (now, peak) = (context.clock.wall(), summary::peak_rss());
            if context.console.json {
                let mut object = json::job(status, now);
                object["peak_rss_bytes"] = peak.map(|peak| peak.bytes()).into();
                context.console.data(object);
            }
            summary::show(context.console, status, now, peak);
            Ok(Exit::Succeeded)
        }
        JobState::Cancelled => Err(CliError::interrupted(view.job)),
        JobState::Failed => {
            Err(CliError::job_failed(view.job, view.failure.as_ref().expect("a failed job has a failure")))
        }
        JobState::Queued | JobState::Running | JobState::Committing => {
            unreachable!("the run ended with the job {:?}", view.state)
        }
    }
}

/// A number of threads that a run can have.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=MAX_THREADS) => Ok(threads),
        _ => Err(format!("not a number from 1 to {MAX_THREADS}")),
    }
}
