//! The flags that every job has, and the job spec that they and the job's own options make. Checks
//! what can be checked without looking at any storage.

use std::path::Path;
use std::sync::Arc;

use clap::{ArgMatches, FromArgMatches as _};
use gristmill_common::failure::{Failure, FailureCode};
use gristmill_common::form::{Codec, Form};
use gristmill_common::job::PartOrder;
use gristmill_common::naming::{ParseUriError, Uri};
use gristmill_common::program::{InputSample, OptionError};
use gristmill_common::size::ByteSize;
use gristmill_common::spec::{self, JobShape, JobSpec, OnBadFile, OutputFormat, SideInput, StoreOptions};
use gristmill_common::storage::{InputError, Stores, expand_list_files, list_inputs, reader_for, sample_input};
use gristmill_common::text::{Delimiter, LineRule};
use gristmill_master::runtime::{SubmitError, list_and_plan};
use gristmill_worker::engine::{AnyJob, Reads, range_partitioning};
use serde_json::Value;

use super::error::{CliError, Exit};
use super::settings::Settings;
use super::shipped::Shipped;
use super::span::Span;
use super::{Context, rejection, usage_error};
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

    /// Reduce tasks, and so parts [default: the job's own number, or one for each 64 MiB of input, at most 512]
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

    /// What ends a text record: LF, before which one CR is dropped [default], any of LF, CRLF and CR, or LF
    /// outside double quotes, which makes each file one task
    #[arg(long, value_name = "RULE", value_enum, global = true, display_order = 7)]
    line_endings: Option<LineEndings>,

    /// Other text that ends a record (\n \r \t \0 \\ \xHH understood)
    #[arg(long, value_name = "STRING", global = true, conflicts_with = "line_endings", display_order = 8)]
    delimiter: Option<Delimiter>,

    /// Attempts a task may fail before the job does [default: 4]
    #[arg(long, value_name = "N", global = true, display_order = 9)]
    max_attempts: Option<u32>,

    /// Records that `map` may fail on: they are skipped, counted, and kept in OUTPUT/_bad [default: 0]
    #[arg(long, value_name = "N", global = true, display_order = 10)]
    max_bad_records: Option<u64>,

    /// How long one record, or one key group, may keep user code busy on a cluster, such as 30s or 2h; 0: for
    /// ever [default: 10m]
    #[arg(long, value_name = "TIME", global = true, display_order = 11)]
    record_timeout: Option<Span>,

    /// Whether a cluster gives attempts that lag far behind their peers a second one elsewhere; side
    /// effects of user code may then repeat [default: on]
    #[arg(long, value_name = "SWITCH", value_enum, global = true, display_order = 12)]
    speculation: Option<Switch>,

    /// Fail if attempts of one map task make different records, instead of making the rest again
    #[arg(long, global = true, display_order = 13)]
    require_deterministic: bool,

    /// A file that the job's code reads by this name; it travels with the job to the workers; may be repeated
    #[arg(long, value_name = "[NAME=]PATH", global = true, display_order = 14)]
    file: Vec<String>,

    /// Force parts to disk before they count; clusters always do
    #[arg(long, global = true, display_order = 15)]
    fsync: bool,

    /// The form of all input: plain, parquet, or the compression gzip, bzip2, zstd, lz4, snappy, xz or deflate
    /// [default: each file tells its own, by its name or its first bytes]
    #[arg(long, value_name = "FORM", global = true, display_order = 16)]
    input_form: Option<Form>,

    /// What becomes of the job if a file is damaged: it fails, or the file is left out from there on,
    /// and named in OUTPUT/_bad [default: fail]
    #[arg(long, value_name = "WHAT", value_enum, global = true, display_order = 17)]
    on_bad_file: Option<BadFile>,

    /// Write rows of another format than the job's own
    #[arg(long, value_name = "FORMAT", value_enum, global = true, display_order = 18)]
    output_format: Option<Format>,

    /// Compress parts: gzip, bzip2, zstd, lz4, snappy, xz or deflate
    #[arg(long, value_name = "CODEC", global = true, display_order = 19)]
    compression: Option<Codec>,

    /// Begin another part when one has this size [default: a task writes one part, however large]
    #[arg(long, value_name = "SIZE", global = true, display_order = 20)]
    part_size: Option<ByteSize>,

    #[command(flatten)]
    store: StoreArgs,
}

/// Flags of verbs that reach other stores than the local file system.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct StoreArgs {
    /// The URL of the object store, where it is not the provider's own, such as http://127.0.0.1:9000
    #[arg(long, value_name = "URL", global = true, display_order = 21)]
    endpoint: Option<String>,

    /// The region of the object store
    #[arg(long, value_name = "NAME", global = true, display_order = 22)]
    region: Option<String>,

    /// Send requests to object stores without credentials
    #[arg(long, global = true, display_order = 23)]
    anonymous: bool,
}

impl StoreArgs {
    /// What the flags and settings come to.
    pub(crate) fn options(&self, settings: &Settings) -> StoreOptions {
        StoreOptions {
            endpoint: self.endpoint.clone().or_else(|| settings.get("endpoint")),
            region: self.region.clone().or_else(|| settings.get("region")),
            anonymous: self.anonymous || settings.get("anonymous").unwrap_or(false),
        }
    }
}

// What to do with a damaged file; plain comments, because documented values get a page of help each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum BadFile {
    Fail,
    Skip,
}

// The formats of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Csv,
    Json,
    Parquet,
}

// On or off; a plain comment, because documented values get a page of help each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Switch {
    On,
    Off,
}

// The line rules that have names; plain comments, because documented values get a page of help
// each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LineEndings {
    Lf,
    Any,
    Quoted,
}

/// A job of the command line: what to run, and the code that runs it.
pub(crate) struct JobRequest {
    /// The validated spec.
    pub(crate) spec: JobSpec,
    /// The job, built with the spec's options.
    pub(crate) job: Arc<dyn AnyJob>,
    /// The memory budget, if one was given.
    pub(crate) memory: Option<ByteSize>,
    /// The files that the job comes with.
    pub(crate) shipped: Shipped,
}

/// What the flags that every job has come to, before the job's own options are looked at.
#[derive(Clone)]
pub(crate) struct General {
    /// A spec without options and shape.
    pub(crate) spec: JobSpec,
    /// The memory budget, if one was given.
    pub(crate) memory: Option<ByteSize>,
    /// The files that the job comes with.
    pub(crate) shipped: Shipped,
}

impl General {
    /// Reads the flags of a job verb for the job of this name.
    ///
    /// # Errors
    ///
    /// A usage error, or a rejection if an input or the output is not a location.
    pub(crate) fn read(context: &Context, name: &str, matches: &ArgMatches) -> Result<Self, CliError> {
        let args = JobArgs::from_arg_matches(matches).map_err(|error| usage_error(&error))?;
        let memory = args.memory.or_else(|| context.settings.get("memory"));
        let mut spec = args.spec(name, &context.settings, &context.current_dir)?;
        if let Some(budget) = memory {
            spec.attempt_bytes = spec::attempt_bytes_for(budget).map_err(|error| CliError::usage(error.to_string()))?;
        }
        spec.validate().map_err(|error| CliError::usage(error.to_string()))?;
        let shipped = Shipped::read(&args.file, &context.current_dir)?;
        spec.files.clone_from(&shipped.files);
        Ok(Self { spec, memory, shipped })
    }
}

/// The options of a job or pipeline that the command line gives, as a spec carries them.
///
/// # Errors
///
/// If they do not parse.
pub(super) fn options(entry: &JobEntry, matches: &ArgMatches) -> Result<Value, CliError> {
    entry.options(matches).map_err(|error| match error {
        ReadOptionsError::Usage(error) => usage_error(&error),
        ReadOptionsError::Serialize(_) => CliError::usage("the job's options cannot be sent").because(&error),
    })
}

impl JobRequest {
    /// Reads the job named by the subcommand of a job verb, its flags and its options.
    ///
    /// # Errors
    ///
    /// A usage error, or a rejection if an input or the output is not a location.
    pub(crate) fn read(context: &Context, entry: &JobEntry, matches: &ArgMatches) -> Result<Self, CliError> {
        let options = options(entry, matches)?;
        let wishes = entry.wishes(&options).map_err(bad_options)?;
        if !wishes.looks && !wishes.looks_if_formatted {
            // Nothing else can change the options: what is wrong with them comes first.
            entry.build(&options).map_err(bad_options)?;
        }
        let general = General::read(context, entry.name(), matches)?;
        let reducers_asked = general.spec.reducers.is_some();
        let request = Self::complete(entry, options, general, context)?;
        if request.spec.shape == JobShape::MapOnly && reducers_asked {
            return Err(CliError::usage(format!("{} has no reduce, so --reducers does not apply", entry.name()))
                .hint("each map task writes a part; --split-size sets how many there are"));
        }
        Ok(request)
    }

    /// Shows the job its inputs, if it wants that, and builds it. A job without a reduce has no reduce
    /// tasks, whatever was asked for.
    ///
    /// # Errors
    ///
    /// If the options cannot be, alone or with these inputs.
    pub(crate) fn complete(
        entry: &JobEntry,
        options: Value,
        general: General,
        context: &Context,
    ) -> Result<Self, CliError> {
        let General { mut spec, memory, shipped } = general;
        let wishes = entry.wishes(&options).map_err(bad_options)?;
        spec.side_inputs = side_inputs(&wishes.side_inputs, &context.current_dir)?;
        let looks = wishes.looks || (wishes.looks_if_formatted && spec.output_format.is_some());
        let samples = if looks { samples(&spec, &context.stores)? } else { Vec::new() };
        let (options, mapped) = entry.look(&options, &spec, &samples).map_err(bad_options)?;
        spec.side_inputs.iter_mut().for_each(|side| side.mapped = mapped.contains(&side.role));
        let job = entry.build(&options).map_err(bad_options)?;
        if spec.max_bad_records > 0 && !job.maps_record_by_record() {
            let message = format!("{} cannot leave bad records out, so --max-bad-records does not apply", spec.job);
            return Err(CliError::usage(message).hint("have the commands pass over what they cannot use, and count it"));
        }
        spec.options = options;
        spec.shape = job.shape();
        spec.output_format = spec.output_format.or(job.output_format());
        job.check_output(&spec).map_err(|failure| CliError::usage(failure.message))?;
        spec.reducers = match spec.shape {
            JobShape::MapReduce => spec.reducers.or(wishes.reducers),
            JobShape::MapOnly => None,
        };
        spec.validate().map_err(|error| CliError::usage(error.to_string()))?;
        Ok(Self { spec, job, memory, shipped })
    }

    /// Completes the spec of a job whose parts are to be in order: plans it and finds, by a sample of
    /// the input, which keys each part takes. Other jobs stay as they are.
    ///
    /// # Errors
    ///
    /// If the job cannot be planned, or an input not be read.
    pub(crate) fn divide_keys(&mut self, context: &Context) -> Result<(), CliError> {
        if self.job.order() == PartOrder::Total {
            let plan = list_and_plan(&self.spec, &context.stores).map_err(|error| rejection(&error))?;
            self.spec.reducers = Some(plan.reducers);
            let reads = Reads { files: &self.shipped.paths, objects: &reader_for(&self.spec, &context.stores) };
            let partitioning = range_partitioning(&*self.job, &self.spec, &plan, &reads);
            self.spec.partitioning = partitioning.map_err(unreadable)?;
        }
        Ok(())
    }
}

impl JobArgs {
    fn spec(&self, name: &str, settings: &Settings, here: &Path) -> Result<JobSpec, CliError> {
        if self.input.is_empty() {
            return Err(CliError::usage("no input was given").hint("name one with -i: -i books/*.txt"));
        }
        let Some(output) = &self.output else {
            return Err(CliError::usage("no output was given").hint("name a new folder with -o: -o counts"));
        };
        let inputs = locations(&self.input, here)?;
        let output = Uri::parse(output, here).map_err(|error| bad_location(&error))?;
        let mut spec = JobSpec::new(name, JobShape::MapReduce, inputs, output);
        spec.overwrite = self.overwrite;
        spec.reducers = self.reducers;
        spec.split_size = self.split_size.or_else(|| settings.get("split-size")).unwrap_or(spec.split_size);
        spec.max_attempts = self.max_attempts.or_else(|| settings.get("max-attempts")).unwrap_or(spec.max_attempts);
        let max_bad_records = self.max_bad_records.or_else(|| settings.get("max-bad-records"));
        spec.max_bad_records = max_bad_records.unwrap_or(spec.max_bad_records);
        let record_timeout = self.record_timeout.or_else(|| settings.get("record-timeout"));
        spec.record_timeout = record_timeout.map_or(spec.record_timeout, |Span(timeout)| timeout);
        spec.speculation = self.speculation != Some(Switch::Off);
        spec.require_deterministic = self.require_deterministic;
        spec.fsync = self.fsync || settings.get("fsync").unwrap_or(false);
        spec.line_rule = match (&self.delimiter, self.line_endings) {
            (Some(delimiter), _) => LineRule::Delimiter(delimiter.clone()),
            (None, Some(LineEndings::Any)) => LineRule::Any,
            (None, Some(LineEndings::Quoted)) => LineRule::Quoted,
            (None, Some(LineEndings::Lf) | None) => LineRule::Lf,
        };
        spec.input_form = self.input_form;
        spec.on_bad_file = match self.on_bad_file {
            Some(BadFile::Skip) => OnBadFile::Skip,
            Some(BadFile::Fail) | None => OnBadFile::Fail,
        };
        spec.output_format = self.output_format.map(|format| match format {
            Format::Csv => OutputFormat::Csv,
            Format::Json => OutputFormat::Json,
            Format::Parquet => OutputFormat::Parquet,
        });
        spec.output_compression = self.compression.or_else(|| settings.get("compression"));
        spec.part_size = self.part_size;
        spec.store = self.store.options(settings);
        Ok(spec)
    }
}

/// Options that cannot be.
pub(super) fn bad_options(error: OptionError) -> CliError {
    CliError::usage(error.message)
}

/// The inputs that arguments name, list files read.
pub(super) fn locations(args: &[String], here: &Path) -> Result<Vec<Uri>, CliError> {
    expand_list_files(args, here).map_err(|error| match &error {
        InputError::BadArgument { source } => bad_location(source),
        _ => CliError::new(Exit::Rejected, error.to_string()),
    })
}

/// The inputs that the job's own options name, the first one with role 1.
fn side_inputs(args: &[Vec<String>], here: &Path) -> Result<Vec<SideInput>, CliError> {
    let mut side_inputs = Vec::new();
    for (role, args) in (1..).zip(args) {
        let uris = locations(args, here)?;
        side_inputs.extend(uris.into_iter().map(|uri| SideInput { role, uri, mapped: true }));
    }
    Ok(side_inputs)
}

/// What every input of the job looks like.
fn samples(spec: &JobSpec, stores: &Stores) -> Result<Vec<InputSample>, CliError> {
    let (reader, stores) = (reader_for(spec, stores), stores.with_options(&spec.store));
    let sides = spec.mapped_side_inputs();
    let inputs = std::iter::once((0, &spec.inputs)).chain(sides.iter().map(|(&role, uris)| (role, uris)));
    let mut samples = Vec::new();
    for (role, uris) in inputs {
        let mut objects = list_inputs(uris, &stores).map_err(|error| rejection(&SubmitError::Input(error)))?;
        // Whoever reads them without the spec knows their form from this.
        objects.iter_mut().for_each(|object| object.form = object.form.or(spec.input_form));
        let sample = sample_input(role, objects, &spec.line_rule, spec.on_bad_file, reader.as_ref());
        samples.push(sample.map_err(unreadable)?);
    }
    Ok(samples)
}

/// What a look at an input came to that cannot be read: as if the job had met it, if it is damage.
fn unreadable(failure: Failure) -> CliError {
    let exit = if failure.code == FailureCode::InputDamaged { Exit::Failed } else { Exit::Rejected };
    CliError { failure: Some(failure.code), ..CliError::new(exit, failure.message) }
}

/// A location that cannot be.
pub(super) fn bad_location(error: &ParseUriError) -> CliError {
    let exit = match error {
        ParseUriError::UnknownScheme { .. } => Exit::Rejected,
        ParseUriError::Empty | ParseUriError::NotAbsolute { .. } => Exit::Usage,
    };
    CliError::new(exit, error.to_string())
}
