//! The flags that every job has, and the job spec that they and the job's own options make. Checks
//! what can be checked without looking at any storage.

use std::path::Path;
use std::sync::Arc;

use clap::{ArgMatches, FromArgMatches as _};
use gristmill_common::job::PartOrder;
use gristmill_common::naming::{ParseUriError, Uri};
use gristmill_common::size::ByteSize;
use gristmill_common::spec::{self, JobShape, JobSpec};
use gristmill_common::storage::{InputError, expand_list_files};
use gristmill_common::text::{Delimiter, LineRule};
use gristmill_master::runtime::{SubmitError, list_and_plan};
use gristmill_worker::engine::{AnyJob, range_partitioning};

use super::error::{CliError, Exit};
use super::settings::Settings;
use super::{Context, usage_error};
use crate::entry::{JobEntry, ReadOptionsError};

/// Flags of `run`, `submit` and `explain`; they may stand before or after the job's name.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct JobArgs {
    /// What to read, in this order: files, folders, globs ('logs/**/*.txt', 'a{1..9}'), or @LIST, a
    /// file with one input a line; may be repeated
    #[arg(short, long, value_name = "URI", num_args = 1.., global = true, display_order = 1)]
    input: Vec<String>,

    /// The folder to write: it must not exist, or be empty
    #[arg(short, long, value_name = "URI", global = true, display_order = 2)]
    output: Option<String>,

    /// Reduce tasks, and so parts [default: by the size of the input]
    #[arg(long, value_name = "N", global = true, display_order = 3)]
    reducers: Option<u32>,

    /// Replace an existing output, once the job has succeeded
    #[arg(long, global = true, display_order = 4)]
    overwrite: bool,

    /// Memory budget of a process, such as 2GiB; an attempt gets at most half of it
    /// [default: 160 MiB for each attempt]
    #[arg(long, value_name = "SIZE", global = true, display_order = 5)]
    pub(crate) memory: Option<ByteSize>,

    /// Bytes of input per map task [default: 64MiB]
    #[arg(long, value_name = "SIZE", global = true, display_order = 6)]
    split_size: Option<ByteSize>,

    /// What ends a text record: LF, before which one CR is dropped [default], or any of LF, CRLF and CR
    #[arg(long, value_name = "RULE", value_enum, global = true, display_order = 7)]
    line_endings: Option<LineEndings>,

    /// Other text that ends a record (\n \r \t \0 \\ \xHH understood)
    #[arg(long, value_name = "STRING", global = true, conflicts_with = "line_endings", display_order = 8)]
    delimiter: Option<Delimiter>,

    /// Attempts a task may fail before the job does [default: 4]
    #[arg(long, value_name = "N", global = true, display_order = 9)]
    max_attempts: Option<u32>,

    /// Force parts to disk before they count; clusters always do
    #[arg(long, global = true, display_order = 10)]
    fsync: bool,
}

// The two line rules that have names; plain comments, because documented values get a page of help
// each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LineEndings {
    Lf,
    Any,
}

/// A job of the command line: what to run, and the code that runs it.
pub(crate) struct JobRequest {
    /// The validated spec.
    pub(crate) spec: JobSpec,
    /// The job, built with the spec's options.
    pub(crate) job: Arc<dyn AnyJob>,
    /// The memory budget, if one was given.
    pub(crate) memory: Option<ByteSize>,
}

impl JobRequest {
    /// Reads the job named by the subcommand of a job verb, its flags and its options.
    ///
    /// # Errors
    ///
    /// A usage error, or a rejection if an input or the output is not a location.
    pub(crate) fn read(context: &Context, entry: &JobEntry, matches: &ArgMatches) -> Result<Self, CliError> {
        let args = JobArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
        let options = entry.options(matches).map_err(|error| match error {
            ReadOptionsError::Usage(error) => usage_error(&error),
            ReadOptionsError::Serialize(_) => CliError::usage("the job's options cannot be sent").because(&error),
        })?;
        let job = entry.build(&options).map_err(|error| CliError::usage(error.message))?;
        let memory = args.memory.or_else(|| context.settings.get("memory"));
        let mut spec = args.spec(entry.name(), job.shape(), &context.settings, &context.current_dir)?;
        spec.options = options;
        if let Some(budget) = memory {
            spec.attempt_bytes = spec::attempt_bytes_for(budget).map_err(|error| CliError::usage(error.to_string()))?;
        }
        spec.validate().map_err(|error| CliError::usage(error.to_string()))?;
        Ok(Self { spec, job, memory })
    }

    /// Completes the spec of a job whose parts are to be in order: plans it and finds, by a sample of
    /// the input, which keys each part takes. Other jobs stay as they are.
    ///
    /// # Errors
    ///
    /// If the job cannot be planned.
    pub(crate) fn divide_keys(&mut self) -> Result<(), SubmitError> {
        if self.job.order() == PartOrder::Total {
            let plan = list_and_plan(&self.spec)?;
            self.spec.reducers = Some(plan.reducers);
            self.spec.partitioning = range_partitioning(&*self.job, &self.spec, &plan);
        }
        Ok(())
    }
}

impl JobArgs {
    fn spec(&self, name: &str, shape: JobShape, settings: &Settings, here: &Path) -> Result<JobSpec, CliError> {
        if self.input.is_empty() {
            return Err(CliError::usage("no input was given").hint("name one with -i: -i books/*.txt"));
        }
        let Some(output) = &self.output else {
            return Err(CliError::usage("no output was given").hint("name a new folder with -o: -o counts"));
        };
        if shape == JobShape::MapOnly && self.reducers.is_some() {
            return Err(CliError::usage(format!("{name} has no reduce, so --reducers does not apply"))
                .hint("each map task writes a part; --split-size sets how many there are"));
        }
        let inputs = locations(&self.input, here)?;
        let output = Uri::parse(output, here).map_err(|error| bad_location(&error))?;
        let mut spec = JobSpec::new(name, shape, inputs, output);
        spec.overwrite = self.overwrite;
        spec.reducers = self.reducers;
        spec.split_size = self.split_size.or_else(|| settings.get("split-size")).unwrap_or(spec.split_size);
        spec.max_attempts = self.max_attempts.or_else(|| settings.get("max-attempts")).unwrap_or(spec.max_attempts);
        spec.fsync = self.fsync || settings.get("fsync").unwrap_or(false);
        spec.line_rule = match (&self.delimiter, self.line_endings) {
            (Some(delimiter), _) => LineRule::Delimiter(delimiter.clone()),
            (None, Some(LineEndings::Any)) => LineRule::Any,
            (None, Some(LineEndings::Lf) | None) => LineRule::Lf,
        };
        Ok(spec)
    }
}

/// The inputs that arguments name, list files read.
pub(super) fn locations(args: &[String], here: &Path) -> Result<Vec<Uri>, CliError> {
    expand_list_files(args, here).map_err(|error| match &error {
        InputError::BadArgument { source } => bad_location(source),
        _ => CliError::new(Exit::Rejected, error.to_string()),
    })
}

fn bad_location(error: &ParseUriError) -> CliError {
    let exit = match error {
        ParseUriError::UnknownScheme { .. } => Exit::Rejected,
        ParseUriError::Empty | ParseUriError::NotAbsolute { .. } => Exit::Usage,
    };
    CliError::new(exit, error.to_string())
}
