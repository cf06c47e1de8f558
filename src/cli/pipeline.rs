//! A pipeline of the command line, its stages run one after the other, each a job like any other: here or
//! on a cluster, as `run` and `submit` say. Which stage is next is decided elsewhere
//! ([`crate::pipeline`]).

use clap::{ArgMatches, Args as _, FromArgMatches as _};
use gristmill_common::form::Codec;
use gristmill_common::ids::ContentId;
use gristmill_common::naming::Uri;
use gristmill_common::spec::{JobSpec, OnBadFile, SideInput};
use gristmill_common::text::LineRule;
use gristmill_common::time::WallTime;
use gristmill_master::runtime::verify::FinishedOutput;
use gristmill_master::runtime::{JobStatus, fresh_job_id, prepare};
use gristmill_master::scheduler::JobState;
use gristmill_worker::agent::own_binary;
use serde_json::Value;

use super::args::{General, JobRequest, bad_options, options};
use super::error::{CliError, Exit};
use super::interrupt::Interrupt;
use super::{Context, rejection, usage_error};
use crate::entry::{JobEntry, StageOptions};
use crate::pipeline::Planned;
use crate::pipeline::course::{Course, Data, Finished, NextRun};
use crate::pipeline::fingerprint::Fingerprint;
use crate::pipeline::folder::{Beginning, FolderError, PipelineFolder};
use crate::render::json;
use crate::render::stages::{self, PipelineEnd};

// Flags of pipelines alone; a plain comment, because a documented one would describe the pipeline.
#[derive(Debug, clap::Args)]
struct PipelineArgs {
    /// Begin with the first stage, whatever an earlier run of the same command has finished
    #[arg(long)]
    restart: bool,
}

/// Runs a job to its end, whichever that is; the text is a submission's key.
pub(super) type RunJob<'a> = dyn FnMut(JobRequest, &str) -> Result<JobStatus, CliError> + 'a;

/// The flags of a pipeline, for its subcommand.
pub(super) fn augment(command: clap::Command) -> clap::Command {
    PipelineArgs::augment_args(command)
}

/// The binary that this process runs.
pub(super) fn running_binary() -> Result<ContentId, CliError> {
    own_binary().map_err(|error| CliError::new(Exit::Failed, "cannot read this program's own file").because(&error))
}

/// A pipeline as it was asked for.
pub(super) struct PipelineCall<'a> {
    /// Its name.
    pub(super) name: &'a str,
    options: Value,
    /// Its stages.
    pub(super) planned: Planned,
    /// What the flags say of every stage, with the pipeline's inputs and output.
    general: General,
    restart: bool,
}

impl<'a> PipelineCall<'a> {
    /// Reads a pipeline's options and the flags of a job verb.
    ///
    /// # Errors
    ///
    /// A usage error, or a rejection if an input or the output is not a location.
    pub(super) fn read(context: &Context, entry: &'a JobEntry, matches: &ArgMatches) -> Result<Self, CliError> {
        let options = options(entry, matches)?;
        let planned = entry.plan(&options).map_err(bad_options)?;
        let general = General::read(context, entry.name(), matches)?;
        if general.spec.max_bad_records > 0 {
            let message = "a pipeline does not keep bad records, so --max-bad-records does not apply";
            return Err(
                CliError::usage(message).hint("have its first stage pass over what it cannot use, and count it")
            );
        }
        if general.spec.on_bad_file == OnBadFile::Skip {
            let message = "a pipeline does not keep what it leaves out, so --on-bad-file skip does not apply";
            return Err(
                CliError::usage(message).hint("copy what is well of the input first: run copy --on-bad-file skip")
            );
        }
        let args = PipelineArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
        Ok(Self { name: entry.name(), options, planned, general, restart: args.restart })
    }

    /// What the pipeline writes.
    pub(super) fn output(&self) -> &Uri {
        &self.general.spec.output
    }

    /// Checks that there are inputs and that the output may be written, without doing either.
    ///
    /// # Errors
    ///
    /// Why not.
    pub(super) fn check(&self, context: &Context) -> Result<(), CliError> {
        if self.output().local_path().is_none() {
            return Err(folder_error(&FolderError::NotLocal { output: self.output().clone() }));
        }
        // Claiming the output is the only sure check; the claim is given up at once and leaves nothing.
        let prepared = prepare(self.general.spec.clone(), fresh_job_id(&context.clock), &context.stores);
        let prepared = prepared.map_err(|error| rejection(&error))?;
        prepared.claim.undo().map_err(|error| CliError::of(Exit::Failed, &error))
    }

    /// Takes the folder in which what is done is kept, and says what that is.
    fn open(&self, context: &Context) -> Result<PipelineFolder, CliError> {
        let fingerprint = Fingerprint::of(running_binary()?, self.options.clone(), &self.general.spec, &context.stores);
        let fingerprint = fingerprint.map_err(|error| rejection(&error.into()))?;
        let outline = &self.planned.outline;
        let id = fresh_job_id(&context.clock);
        let (mut folder, beginning) = PipelineFolder::open(self.output(), outline, fingerprint, id, self.restart)
            .map_err(|error| folder_error(&error))?;
        if let Beginning::Anew(reason) = beginning {
            context.console.talk(format_args!("beginning anew: {reason}"));
        }
        let next = Course::of(outline, folder.finished()).next;
        if let Some(finished) = next.and_then(|next| self.published(&folder, &next)) {
            folder.record(finished).map_err(|error| folder_error(&error))?;
        }
        let done = folder.finished().len();
        if done > 0 {
            context.console.talk(format_args!("going on after {}", stages::finished_stages(done)));
        }
        Ok(folder)
    }

    /// Runs what is left to be done.
    fn run_stages(
        &self,
        context: &Context,
        folder: &mut PipelineFolder,
        interrupt: &Interrupt,
        run: &mut RunJob<'_>,
    ) -> Result<(), CliError> {
        let outline = &self.planned.outline;
        let mut checked = false;
        loop {
            let course = Course::of(outline, folder.finished());
            folder.remove_but(&course.needed).map_err(|error| folder_error(&error))?;
            let Some(next) = &course.next else { return Ok(()) };
            // The last stage finds out by itself; it may also be about to finish somewhere else.
            if !checked && next.stage != outline.last() {
                self.check(context)?;
                checked = true;
            }
            if interrupt.is_asked() {
                return Err(CliError::new(Exit::Interrupted, "interrupted between two stages"));
            }
            let status = run(self.request(context, folder, &course, next)?, &folder.key())?;
            if status.view.state != JobState::Succeeded {
                folder.record_failure().map_err(|error| folder_error(&error))?;
                return Err(self.ended_without_success(next, &status, interrupt));
            }
            let finished = self.finished(next, &status, context.clock.wall());
            context.console.talk(stages::line(&finished));
            folder.record(finished).map_err(|error| folder_error(&error))?;
        }
    }

    /// The job of a run.
    fn request(
        &self,
        context: &Context,
        folder: &PipelineFolder,
        course: &Course,
        next: &NextRun,
    ) -> Result<JobRequest, CliError> {
        let (stage, entry) = (&self.planned.outline.stages[next.stage], self.planned.job(next.stage));
        let so_far = course.so_far(&self.planned.outline, folder.finished(), next.round);
        let options = self.planned.options(next.stage, &so_far).map_err(bad_options)?;
        let wishes = entry.wishes(&options).map_err(bad_options)?;
        let mut general = self.general.clone();
        let spec = &mut general.spec;
        entry.name().clone_into(&mut spec.job);
        spec.inputs = self.locations(folder, &next.reads);
        spec.output = self.output_of(folder, next);
        // What lies where a stage writes that did not finish is no output.
        spec.overwrite |= next.stage != self.planned.outline.last();
        spec.reducers = stage.reducers.or(wishes.reducers).or(spec.reducers);
        if !next.reads.contains(&Data::Input) {
            spec.line_rule = LineRule::default();
        }
        if next.reads.iter().chain(&next.sides).any(|data| *data != Data::Input) {
            // What earlier stages wrote tells its form itself.
            spec.input_form = None;
        }
        if next.stage != self.planned.outline.last() {
            // What is asked of the output is not asked of what the next stage reads, which knows one format only
            // and is to be read fast, and by several tasks.
            spec.output_format = None;
            spec.output_compression = spec.output_compression.map(|_| Codec::Zstd);
        }
        let mut request = JobRequest::complete(entry, options, general, context)?;
        let roles = wishes.side_inputs.len() as u32 + 1..;
        for (role, side) in roles.zip(&next.sides) {
            let uris = self.locations(folder, std::slice::from_ref(side)).into_iter();
            request.spec.side_inputs.extend(uris.map(|uri| SideInput { role, uri, mapped: true }));
        }
        let options = StageOptions { pipeline: self.options.clone(), stage: request.spec.options };
        request.spec.options = serde_json::to_value(options).expect("both are JSON already");
        Ok(request)
    }

    /// Where a run writes.
    fn output_of(&self, folder: &PipelineFolder, next: &NextRun) -> Uri {
        let outline = &self.planned.outline;
        if next.stage == outline.last() {
            return self.output().clone();
        }
        folder.data(next.number, &outline.stages[next.stage].name)
    }

    /// Where data lies.
    fn locations(&self, folder: &PipelineFolder, data: &[Data]) -> Vec<Uri> {
        let of = |data: &Data| match data {
            Data::Input => self.general.spec.inputs.clone(),
            Data::Run(number) => vec![folder.data(*number, &folder.finished()[*number].stage)],
        };
        data.iter().flat_map(of).collect()
    }

    /// A run whose output is there although nobody took note of it: its process ended in between.
    fn published(&self, folder: &PipelineFolder, next: &NextRun) -> Option<Finished> {
        let output = FinishedOutput::open(&self.output_of(folder, next)).ok()?;
        let manifest = output.manifest();
        let is_of = |spec: &JobSpec| {
            spec.job == self.planned.job(next.stage).name()
                && spec.all_inputs().chain([&spec.output]).any(|uri| folder.holds(uri))
        };
        is_of(&manifest.spec).then(|| Finished {
            stage: self.planned.outline.stages[next.stage].name.clone(),
            round: next.round,
            job: manifest.job.clone(),
            counters: manifest.counters.clone(),
            records: manifest.parts.iter().map(|part| part.records).sum(),
            bytes: manifest.parts.iter().map(|part| part.bytes).sum(),
            wall_ms: 0,
        })
    }

    fn finished(&self, next: &NextRun, status: &JobStatus, now: WallTime) -> Finished {
        let (_, stats) = json::written(&status.view);
        Finished {
            stage: self.planned.outline.stages[next.stage].name.clone(),
            round: next.round,
            job: status.view.job.to_string(),
            counters: status.view.counters.clone(),
            records: stats.output_records,
            bytes: stats.output_bytes,
            wall_ms: json::wall_millis(status, now),
        }
    }

    fn ended_without_success(&self, next: &NextRun, status: &JobStatus, interrupt: &Interrupt) -> CliError {
        let view = &status.view;
        match &view.failure {
            Some(failure) => {
                let problem = CliError::job_failed(view.job, failure);
                let name = &self.planned.outline.stages[next.stage].name;
                CliError { message: format!("the stage {name} failed: {failure}"), ..problem }
            }
            None if interrupt.is_asked() => CliError::interrupted(view.job),
            None => CliError::new(Exit::Failed, format!("job {} was cancelled", view.job)),
        }
    }
}

/// Runs a pipeline to its end. What is done when it ends early is kept for the next time, unless that is
/// nothing.
///
/// # Errors
///
/// Why it ended early.
pub(super) fn drive(
    context: &Context,
    call: &PipelineCall<'_>,
    interrupt: &Interrupt,
    run: &mut RunJob<'_>,
) -> Result<Exit, CliError> {
    let started = context.clock.wall();
    let mut folder = call.open(context)?;
    let resumed = folder.finished().len();
    if let Err(error) = call.run_stages(context, &mut folder, interrupt, run) {
        return Err(give_up(folder, error));
    }
    let end = PipelineEnd {
        name: call.name,
        output: call.output(),
        finished: folder.finished().to_vec(),
        resumed,
        started,
        now: context.clock.wall(),
    };
    folder.remove().map_err(|error| folder_error(&error))?;
    stages::show(context.console, &end);
    Ok(Exit::Succeeded)
}

/// Leaves what is done, and says how to go on from it.
fn give_up(folder: PipelineFolder, error: CliError) -> CliError {
    let done = folder.finished().len();
    if done > 0 {
        let done = stages::finished_stages(done);
        return error.hint(format!("the same command goes on after {done}; with --restart it begins anew"));
    }
    // A job that a master may still run writes into the folder.
    if error.exit == Exit::Unreachable {
        return error;
    }
    match folder.remove() {
        Ok(()) => error,
        Err(left) => error.hint(left.to_string()),
    }
}

fn folder_error(error: &FolderError) -> CliError {
    let exit = match error {
        FolderError::NotLocal { .. } | FolderError::InUse { .. } => Exit::Rejected,
        FolderError::Io { .. } => Exit::Failed,
    };
    CliError::of(exit, error)
}
